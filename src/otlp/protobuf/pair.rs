//! One `KeyValue`: its name, and what it says if that is plain.
//!
//! What it does: judges what two readers might read differently (several keys, several values, several
//! members of the value's oneof) as the less convenient of the two. What it refuses to know: which names
//! matter. Invariant: a pair counts as reserved, or as named so, if any of its keys is.

use crate::otlp::group::{Malformed, RESERVED};
use crate::otlp::wanted::AttributeSaid;
use crate::otlp::wire::{Cursor, Field};

const KEY: u32 = 1;
const VALUE: u32 = 2;
/// `key_strindex`: stands for the key in profiles, and must not be given elsewhere.
const KEY_INDEX: u32 = 3;
/// `AnyValue.string_value`.
const STRING: u32 = 1;

/// A `KeyValue` (`opentelemetry/proto/common/v1`) whose own fields have been read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair<'a> {
    /// The last key; an absent one is an empty name.
    key: &'a [u8],
    fields: Cursor<'a>,
    value: Option<Field<'a>>,
    several_keys: bool,
    several_values: bool,
    key_index: bool,
    /// Some key begins with the reserved prefix.
    pub reserved: bool,
}

impl<'a> Pair<'a> {
    #[inline(always)]
    pub(crate) fn read(field: &Field<'a>) -> Result<Pair<'a>, Malformed> {
        let mut cursor = field.message()?;
        let mut pair = Pair {
            key: &[],
            fields: cursor,
            value: None,
            several_keys: false,
            several_values: false,
            key_index: false,
            reserved: false,
        };
        let mut keys = 0u32;
        while let Some(field) = cursor.field()? {
            match field.number {
                KEY => {
                    pair.key = field.bytes()?;
                    pair.reserved |= pair.key.starts_with(RESERVED.as_bytes());
                    keys = keys.saturating_add(1);
                }
                VALUE => {
                    field.bytes()?;
                    pair.several_values |= pair.value.is_some();
                    pair.value = Some(field);
                }
                KEY_INDEX => pair.key_index = true,
                _ => {}
            }
        }
        pair.several_keys = keys > 1;
        Ok(pair)
    }

    /// The only key, if there are not several.
    pub(crate) fn only_key(&self) -> Option<&'a [u8]> {
        (!self.several_keys).then_some(self.key)
    }

    /// Whether some key of this pair is chosen.
    pub(crate) fn any_key(&self, chosen: impl Fn(&[u8]) -> bool) -> bool {
        if self.several_keys {
            self.keys().any(|key| chosen(key.content))
        } else {
            chosen(self.key)
        }
    }

    /// All keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        let mut fields = self.fields;
        std::iter::from_fn(move || fields.known_field()).filter(|field| field.number == KEY)
    }

    /// What the value is, judged by the fields of its `AnyValue`.
    pub(crate) fn said(&self) -> Result<AttributeSaid, Malformed> {
        if self.several_keys || self.several_values || self.key_index {
            return Ok(AttributeSaid::Ambiguous);
        }
        let Some(value) = &self.value else {
            return Ok(AttributeSaid::Other);
        };
        let mut members = value.message()?;
        let Some(member) = members.field()? else {
            return Ok(AttributeSaid::Other);
        };
        let text = (member.number == STRING)
            .then(|| member.bytes())
            .transpose()?;
        let mut several = false;
        while members.field()?.is_some() {
            several = true;
        }
        Ok(match text {
            _ if several => AttributeSaid::Ambiguous,
            None => AttributeSaid::Other,
            Some(text) if std::str::from_utf8(text).is_err() => AttributeSaid::Ambiguous,
            Some(_) => AttributeSaid::Text(member.content_range().into()),
        })
    }
}
