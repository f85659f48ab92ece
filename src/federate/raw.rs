//! JSON documents taken apart without being built.
//!
//! What it does: finds members and places (RFC 6901) in JSON text, and hands out the text. What it refuses to know: what
//! it means. Invariants: a name that stands twice in one object is refused, because two readers would choose
//! differently; numbers and texts leave as they came.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// An object's members, in their order.
pub(crate) struct RawMembers<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

/// A name; borrowed unless it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for RawMembers<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = RawMembers<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
                let mut names = std::collections::HashSet::new();
                while let Some((Name(name), value)) =
                    map.next_entry::<Name<'de>, &'de RawValue>()?
                {
                    if !names.insert(name.clone()) {
                        return Err(A::Error::custom("a name stands twice"));
                    }
                    members.push((name, value));
                }
                Ok(RawMembers(members))
            }
        }
        from.deserialize_map(Members)
    }
}

impl<'a> RawMembers<'a> {
    /// `None`: no object.
    pub(crate) fn of(value: &'a RawValue) -> Option<Self> {
        serde_json::from_str(value.get()).ok()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| *value)
    }
}

/// The value at a pointer through objects; an empty pointer is the value itself. The profile's pointers have no escapes.
pub(crate) fn at<'a>(value: &'a RawValue, pointer: &str) -> Option<&'a RawValue> {
    pointer
        .split('/')
        .skip(1)
        .try_fold(value, |value, name| RawMembers::of(value)?.get(name))
}

/// The text or number at a pointer, as text.
pub(crate) fn text_at(value: &RawValue, pointer: &str) -> Option<String> {
    match serde_json::from_str(at(value, pointer)?.get()).ok()? {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Number(number) => Some(number.to_string()),
        serde_json::Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}
