//! Attributes to put on resources, encoded once and written many times.
//!
//! What it does: holds the bytes of string attributes as a `Resource` of either encoding has them, and the
//! names that they replace. What it refuses to know: where the attributes come from. Invariant: the bytes
//! of both encodings say the same attributes in the same order.

use std::ops::Range;
use std::sync::OnceLock;

use super::{Encoding, push_varint};

/// Attributes that are put on a resource; those of the caller with the same names give way to them.
#[derive(Clone, Debug, Default)]
pub struct Stamp {
    protobuf: Vec<u8>,
    /// Where in `protobuf` each name and its value stand.
    attributes: Vec<(Range<usize>, Range<usize>)>,
    /// Made when it is first asked for: few exports are JSON.
    json: OnceLock<String>,
    /// Names that go without a replacement.
    dropped: Vec<Box<[u8]>>,
    /// Bit n: some name is n bytes long (63: that or longer). Most names are told apart by it.
    lengths: u64,
}

impl Stamp {
    /// A stamp of (name, string value) pairs. The names should differ from each other.
    pub fn new(attributes: &[(&str, &str)]) -> Stamp {
        let mut stamp = Stamp {
            protobuf: Vec::with_capacity(64 * attributes.len()),
            attributes: Vec::with_capacity(attributes.len()),
            ..Stamp::default()
        };
        for (name, value) in attributes {
            let places = stamp.push_protobuf(name, value);
            stamp.attributes.push(places);
            stamp.lengths |= length_bit(name.as_bytes());
        }
        stamp
    }

    /// The same, and attributes of the caller's with these names go.
    pub(crate) fn dropping<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Stamp {
        for name in names {
            self.lengths |= length_bit(name.as_bytes());
            self.dropped.push(name.as_bytes().into());
        }
        self
    }

    /// Whether it puts nothing on a resource.
    pub fn is_empty(&self) -> bool {
        self.attributes.is_empty()
    }

    /// How many bytes it adds to a resource at most, with what surrounds it: for those who must make room first.
    pub(crate) fn growth_bytes(&self, encoding: Encoding) -> u64 {
        // Lengths that grow, or the members and commas of an object that was not there.
        const AROUND_BYTES: usize = 40;
        let own = match encoding {
            Encoding::Protobuf => self.protobuf.len(),
            Encoding::Json => self.json().len(),
        };
        (own + AROUND_BYTES) as u64
    }

    /// The attributes as fields 1 (`attributes`) of a protobuf `Resource`, to be put behind its other fields.
    pub(super) fn protobuf(&self) -> &[u8] {
        &self.protobuf
    }

    /// The attributes as elements of a JSON `attributes` array, joined by commas, with no comma at the ends.
    pub(super) fn json(&self) -> &str {
        self.json.get_or_init(|| {
            let element = |(name, value): &(Range<usize>, Range<usize>)| {
                let text = |place| String::from_utf8_lossy(self.at(place));
                let value = serde_json::json!({ "stringValue": text(value) });
                serde_json::json!({ "key": text(name), "value": value }).to_string()
            };
            self.attributes
                .iter()
                .map(element)
                .collect::<Vec<_>>()
                .join(",")
        })
    }

    /// Whether an attribute of the caller's with this name gives way to the stamp, or goes.
    pub(super) fn replaces(&self, name: &[u8]) -> bool {
        self.lengths & length_bit(name) != 0
            && (self.attributes.iter().any(|(own, _)| self.at(own) == name)
                || self.dropped.iter().any(|dropped| **dropped == *name))
    }

    /// A name or a value.
    fn at(&self, place: &Range<usize>) -> &[u8] {
        self.protobuf.get(place.clone()).unwrap_or_default()
    }

    /// `KeyValue { key = 1, value = 2: AnyValue { string_value = 1 } }` in field 1. Where the name and the value stand.
    fn push_protobuf(&mut self, name: &str, value: &str) -> (Range<usize>, Range<usize>) {
        let any_value = 1 + varint_width(value.len()) + value.len();
        let key_value =
            1 + varint_width(name.len()) + name.len() + 1 + varint_width(any_value) + any_value;
        let into = &mut self.protobuf;
        for (tag, length) in [(0x0a, key_value), (0x0a, name.len())] {
            into.push(tag);
            push_varint(into, length as u64);
        }
        let put = |into: &mut Vec<u8>, text: &str| {
            into.extend_from_slice(text.as_bytes());
            into.len() - text.len()..into.len()
        };
        let name = put(into, name);
        for (tag, length) in [(0x12, any_value), (0x0a, value.len())] {
            into.push(tag);
            push_varint(into, length as u64);
        }
        (name, put(into, value))
    }
}

/// The bit of `Stamp::lengths` for this name.
pub(super) fn length_bit(name: &[u8]) -> u64 {
    1 << name.len().min(63)
}

/// How many bytes the least varint of `value` takes.
pub(super) fn varint_width(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use prost::Message as _;

    use super::*;

    #[test]
    fn both_encodings_say_the_attributes() {
        let long = "x".repeat(20_000);
        for attributes in [
            &[][..],
            &[("owner", "shop")],
            &[
                ("lightkeeper.app", "shop/checkout"),
                ("owner", ""),
                ("a \"quoted\" ключ", "\u{1}\\\n"),
            ],
            &[
                (long.as_str(), long.get(..127).unwrap()),
                ("b", long.get(..128).unwrap()),
                ("c", long.as_str()),
            ],
        ] {
            let stamp = Stamp::new(attributes);
            assert_eq!(stamp.is_empty(), attributes.is_empty());
            let resource = Resource::decode(stamp.protobuf()).unwrap();
            let json: Vec<serde_json::Value> =
                serde_json::from_str(&format!("[{}]", stamp.json())).unwrap();
            assert_eq!(
                (resource.attributes.len(), json.len()),
                (attributes.len(), attributes.len())
            );
            for ((pair, json), (name, value)) in
                resource.attributes.into_iter().zip(json).zip(attributes)
            {
                assert_eq!(pair.key, *name);
                assert_eq!(
                    pair.value.unwrap().value,
                    Some(Value::StringValue((*value).to_owned()))
                );
                assert_eq!(
                    json,
                    serde_json::json!({ "key": name, "value": { "stringValue": value } })
                );
                assert!(stamp.replaces(name.as_bytes()));
                assert!(!stamp.replaces(format!("{name}x").as_bytes()));
            }
        }
    }

    #[test]
    fn a_name_goes_without_a_replacement() {
        let stamp = Stamp::new(&[("owner", "shop")]).dropping(["k8s.pod.uid", "x"]);
        for (name, goes) in [
            ("owner", true),
            ("k8s.pod.uid", true),
            ("x", true),
            ("y", false),
            ("k8s.pod.ui", false),
            ("k8s.pod.uie", false),
        ] {
            assert_eq!(stamp.replaces(name.as_bytes()), goes, "{name}");
        }
        let one = Resource::decode(stamp.protobuf()).unwrap();
        assert_eq!(one.attributes.len(), 1);
        assert!(Stamp::default().dropping(["x"]).is_empty());
    }

    #[test]
    fn widths_are_those_of_prost() {
        for bits in 0..63 {
            for value in [(1usize << bits) - 1, 1 << bits, (1 << bits) + 1] {
                assert_eq!(
                    varint_width(value),
                    prost::encoding::encoded_len_varint(value as u64),
                    "{value}"
                );
            }
        }
    }
}
