//! Strict JSON for what strangers signed or published.
//!
//! What it does: reads one JSON object and refuses what two parsers may read differently: a member
//! named twice at any level (RFC 7515 section 4, RFC 7519 section 4), text after the object, and nesting
//! deeper than `DEPTH_LIMIT_LEVELS`. What it refuses to know: what the members mean.
//! Invariant: what it returns has one reading only; the caller has bounded the input's size.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Nesting of objects and arrays, the outermost included. Tokens and key sets need four.
pub(super) const DEPTH_LIMIT_LEVELS: u8 = 16;

/// Reads `bytes` as one object; `None` for anything else. The cause is not kept: it would quote a token.
pub(crate) fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    let mut source = serde_json::Deserializer::from_slice(bytes);
    let value = Strict {
        levels_left: DEPTH_LIMIT_LEVELS,
    }
    .deserialize(&mut source)
    .ok()?;
    source.end().ok()?;
    match value {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

/// Takes members away that are `null`: serializers that write every member say so of those that are absent.
pub(super) fn drop_nulls(members: &mut Map<String, Value>) {
    members.retain(|_, value| !value.is_null());
}

/// Builds a value and counts the levels that may still be opened.
#[derive(Clone, Copy)]
struct Strict {
    levels_left: u8,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        match self.levels_left.checked_sub(1) {
            Some(levels_left) => Ok(Strict { levels_left }),
            None => Err(E::custom("nested too deeply")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a json value without duplicate members")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inner)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is named twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels))
    }

    #[test]
    fn only_an_object_with_one_reading_is_taken() {
        let deepest = nested(usize::from(DEPTH_LIMIT_LEVELS));
        let too_deep = nested(usize::from(DEPTH_LIMIT_LEVELS) + 1);
        for (text, taken) in [
            ("{}", true),
            (r#" {"a":1,"b":[true,null,"x",1.5,-3]} "#, true),
            (deepest.as_str(), true),
            (too_deep.as_str(), false),
            ("", false),
            ("[]", false),
            ("\"a\"", false),
            ("{}{}", false),
            ("{} x", false),
            (r#"{"a":1,"a":1}"#, false),
            (r#"{"a":1,"\u0061":2}"#, false),
            (r#"{"a":{"b":1,"b":2}}"#, false),
            (r#"{"a":[{"b":1,"b":2}]}"#, false),
            (r#"{"a":1,}"#, false),
            (r#"{"a":1e400}"#, false),
            (r#"{"a":NaN}"#, false),
            (r#"{"a":"\ud800"}"#, false),
            ("{\"a\":\"\u{1}\"}", false),
        ] {
            assert_eq!(object(text.as_bytes()).is_some(), taken, "{text}");
        }
        assert!(object(b"{\"a\":\"\xff\"}").is_none(), "not utf-8");
    }
}
