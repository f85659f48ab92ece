//! JSON taken apart one level at a time, without reading what is not asked for.
//!
//! What it does: hands out the members of an object and the elements of an array as the text they are, so
//! that whatever is not changed goes out as it came (numbers above 2^53 among it). What it refuses to know:
//! what a member means. Invariants: the syntax of every byte is checked by `serde_json`, whose depth is
//! bounded; nothing is gathered: a caller sees each part and keeps what it wants.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::otlp::{Malformed, folded};

/// A body, to tell where in it a part lies.
#[derive(Clone, Copy)]
pub(super) struct Json<'a> {
    body: &'a str,
}

/// One member of an object.
pub(super) struct Member<'a> {
    /// As it stands in the body, with its quotes.
    pub(crate) raw_name: &'a str,
    /// Decoded.
    pub name: Cow<'a, str>,
    /// As it stands in the body.
    pub value: &'a str,
}

impl Member<'_> {
    /// The name as the most lenient reader takes it, see [`folded`].
    pub(crate) fn folded(&self) -> String {
        folded(&self.name)
    }
}

/// A member that may stand once.
#[derive(Default)]
pub(super) struct Once(pub bool);

impl Once {
    pub(crate) fn seen(&mut self, json: Json<'_>, member: &Member<'_>) -> Result<(), Malformed> {
        if std::mem::replace(&mut self.0, true) {
            return Err(json.malformed(member.raw_name, "a member stands twice"));
        }
        Ok(())
    }
}

impl<'a> Json<'a> {
    pub(crate) fn of(body: &'a [u8]) -> Result<Json<'a>, Malformed> {
        match std::str::from_utf8(body) {
            Ok(body) => Ok(Json { body }),
            Err(error) => Err(Malformed {
                offset: error.valid_up_to(),
                what: "the body is not UTF-8",
            }),
        }
    }

    pub(crate) fn whole(self) -> &'a str {
        self.body
    }

    /// What is wrong with a part of the body.
    pub(crate) fn malformed(self, part: &str, what: &'static str) -> Malformed {
        Malformed {
            offset: self.offset(part),
            what,
        }
    }

    fn offset(self, part: &str) -> usize {
        (part.as_ptr() as usize)
            .saturating_sub(self.body.as_ptr() as usize)
            .min(self.body.len())
    }

    /// Calls `each` for every member of the object that `part` is; `null` is an object without members.
    pub(crate) fn members(
        self,
        part: &'a str,
        each: &mut dyn FnMut(Member<'a>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        if is_null(part) {
            return Ok(());
        }
        let mut fault = None;
        let visit = ObjectText {
            json: self,
            each,
            fault: &mut fault,
        };
        let mut reader = serde_json::Deserializer::from_str(part);
        let done = reader.deserialize_map(visit).and_then(|()| reader.end());
        self.outcome(part, done, fault, "this should be an object")
    }

    /// Calls `each` for every element of the array that `part` is; `null` is an array without elements.
    pub(crate) fn elements(
        self,
        part: &'a str,
        each: &mut dyn FnMut(&'a str) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        if is_null(part) {
            return Ok(());
        }
        let mut fault = None;
        let visit = Elements {
            each,
            fault: &mut fault,
        };
        let mut reader = serde_json::Deserializer::from_str(part);
        let done = reader.deserialize_seq(visit).and_then(|()| reader.end());
        self.outcome(part, done, fault, "this should be an array")
    }

    fn outcome(
        self,
        part: &str,
        done: serde_json::Result<()>,
        fault: Option<Malformed>,
        kind: &'static str,
    ) -> Result<(), Malformed> {
        match (fault, done) {
            (Some(fault), _) => Err(fault),
            (None, Ok(())) => Ok(()),
            (None, Err(error)) => {
                let what = if error.is_data() {
                    kind
                } else {
                    "this is not JSON"
                };
                // serde_json counts lines and columns from one.
                let line = part
                    .split_inclusive('\n')
                    .take(error.line().saturating_sub(1))
                    .map(str::len)
                    .sum::<usize>();
                let offset = self.offset(part) + line + error.column().saturating_sub(1);
                Err(Malformed {
                    offset: offset.min(self.body.len()),
                    what,
                })
            }
        }
    }
}

/// The text of a JSON string; `None` for anything else.
pub(super) fn text(part: &str) -> Option<Cow<'_, str>> {
    match serde_json::from_str::<&str>(part) {
        Ok(plain) => Some(Cow::Borrowed(plain)),
        // One with escapes cannot be borrowed.
        Err(_) => serde_json::from_str::<String>(part).ok().map(Cow::Owned),
    }
}

pub(super) fn is_null(part: &str) -> bool {
    part.trim_ascii() == "null"
}

/// Appends a string, escaped and in quotes.
pub(super) fn push_string(into: &mut Vec<u8>, text: &str) {
    // Writing a string into memory cannot fail.
    let _ = serde_json::to_writer(into, text);
}

/// How long a string is when escaped and quoted, at most (RFC 8259 section 7).
pub(super) fn string_bytes_at_most(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        0..=0x1f => 6,
        _ => 1,
    };
    2 + text.bytes().map(escaped).sum::<usize>()
}

struct ObjectText<'a, 'f> {
    json: Json<'a>,
    each: &'f mut dyn FnMut(Member<'a>) -> Result<(), Malformed>,
    fault: &'f mut Option<Malformed>,
}

impl<'a> Visitor<'a> for ObjectText<'a, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((name, value)) = map.next_entry::<&'a RawValue, &'a RawValue>()? {
            let Some(decoded) = text(name.get()) else {
                *self.fault = Some(
                    self.json
                        .malformed(name.get(), "a member's name is no text"),
                );
                return Err(A::Error::custom("name"));
            };
            let member = Member {
                raw_name: name.get(),
                name: decoded,
                value: value.get(),
            };
            if let Err(fault) = (self.each)(member) {
                *self.fault = Some(fault);
                return Err(A::Error::custom("member"));
            }
        }
        Ok(())
    }
}

struct Elements<'a, 'f> {
    each: &'f mut dyn FnMut(&'a str) -> Result<(), Malformed>,
    fault: &'f mut Option<Malformed>,
}

impl<'a> Visitor<'a> for Elements<'a, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(element) = seq.next_element::<&'a RawValue>()? {
            if let Err(fault) = (self.each)(element.get()) {
                *self.fault = Some(fault);
                return Err(A::Error::custom("element"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(body: &str) -> Result<Vec<(String, String)>, Malformed> {
        let json = Json::of(body.as_bytes())?;
        let mut found = Vec::new();
        json.members(body, &mut |member| {
            found.push((member.name.into_owned(), member.value.to_owned()));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn members_come_as_they_are() {
        let found =
            names(" {\"a\": 18446744073709551616.10 ,\"\\u0062\" : {\"x\":[1, 2]}, \"a\":null}\n")
                .unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("a", "18446744073709551616.10"),
                ("b", "{\"x\":[1, 2]}"),
                ("a", "null")
            ]
        );
        assert_eq!(names("null").unwrap(), []);
    }

    #[test]
    fn what_is_no_object_is_malformed_where_it_is() {
        let nested = format!("{{\"a\":{}", "[".repeat(100_000));
        for (body, offset) in [
            ("", 0),
            ("[]", 0),
            ("{\"a\":1", 5),
            ("{\"a\":1}x", 7),
            ("{\n\"a\":\n tru}", 11),
            ("{\"\\ud800\":1}", 1),
            ("{a:1}", 1),
            (nested.as_str(), nested.len() - 1),
        ] {
            let malformed = names(body).unwrap_err();
            assert_eq!(
                malformed.offset,
                offset,
                "{malformed}: {}",
                body.get(..20.min(body.len())).unwrap()
            );
        }
        assert_eq!(
            Json::of(b"{\"\xff\"")
                .err()
                .map(|malformed| malformed.offset),
            Some(2)
        );
    }
}
