//! Thrift's binary protocol, strict: a small reader and writer of whole messages.
//!
//! What it does: turns a message into a tree of values and back (Thrift's "Binary protocol encoding"). What it
//! refuses to know: what a field means; the gateway's own reader. Invariants: reading never goes deeper than
//! `DEPTH`, never past the end, and never reserves memory for elements that have not come.

/// Structs, lists and maps inside one another.
const DEPTH: usize = 32;
/// The strict protocol's version 1, in the upper half of the first word.
const VERSION_1: u32 = 0x8001_0000;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Call = 1,
    Reply = 2,
    Exception = 3,
}

/// A call or an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub kind: Kind,
    pub name: String,
    pub sequence: i32,
    /// The arguments, or the result.
    pub fields: Fields,
}

/// A struct's fields as they came, copies of one number too.
pub type Fields = Vec<(i16, Thrift)>;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Thrift {
    Bool(bool),
    Byte(i8),
    Double(f64),
    I16(i16),
    I32(i32),
    I64(i64),
    /// Text or bytes: the protocol does not say which.
    Binary(Vec<u8>),
    Struct(Fields),
    /// The elements' type and the elements; a set is written as a list.
    List(u8, Vec<Thrift>),
    Map(u8, u8, Vec<(Thrift, Thrift)>),
}

impl Thrift {
    pub fn text(text: &str) -> Self {
        Thrift::Binary(text.as_bytes().to_vec())
    }

    pub fn structs(elements: Vec<Fields>) -> Self {
        Thrift::List(12, elements.into_iter().map(Thrift::Struct).collect())
    }

    pub fn as_text(&self) -> Option<&str> {
        match self {
            Thrift::Binary(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    pub fn as_fields(&self) -> Option<&[(i16, Thrift)]> {
        match self {
            Thrift::Struct(fields) => Some(fields),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Thrift]> {
        match self {
            Thrift::List(_, elements) => Some(elements),
            _ => None,
        }
    }

    fn code(&self) -> u8 {
        match self {
            Thrift::Bool(_) => 2,
            Thrift::Byte(_) => 3,
            Thrift::Double(_) => 4,
            Thrift::I16(_) => 6,
            Thrift::I32(_) => 8,
            Thrift::I64(_) => 10,
            Thrift::Binary(_) => 11,
            Thrift::Struct(_) => 12,
            Thrift::Map(..) => 13,
            Thrift::List(..) => 15,
        }
    }

    fn write(&self, into: &mut Vec<u8>) {
        match self {
            Thrift::Bool(value) => into.push(u8::from(*value)),
            Thrift::Byte(value) => into.extend(value.to_be_bytes()),
            Thrift::Double(value) => into.extend(value.to_be_bytes()),
            Thrift::I16(value) => into.extend(value.to_be_bytes()),
            Thrift::I32(value) => into.extend(value.to_be_bytes()),
            Thrift::I64(value) => into.extend(value.to_be_bytes()),
            Thrift::Binary(bytes) => {
                write_length(bytes.len(), into);
                into.extend_from_slice(bytes);
            }
            Thrift::Struct(fields) => write_fields(fields, into),
            Thrift::List(code, elements) => {
                into.push(*code);
                write_length(elements.len(), into);
                elements.iter().for_each(|element| element.write(into));
            }
            Thrift::Map(key, value, entries) => {
                into.extend([*key, *value]);
                write_length(entries.len(), into);
                for (key, value) in entries {
                    key.write(into);
                    value.write(into);
                }
            }
        }
    }
}

fn write_length(length: usize, into: &mut Vec<u8>) {
    into.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

fn write_fields(fields: &[(i16, Thrift)], into: &mut Vec<u8>) {
    for (number, value) in fields {
        into.push(value.code());
        into.extend(number.to_be_bytes());
        value.write(into);
    }
    into.push(0);
}

/// All values of a field, in order.
pub fn all(fields: &[(i16, Thrift)], number: i16) -> impl Iterator<Item = &Thrift> {
    fields
        .iter()
        .filter(move |(known, _)| *known == number)
        .map(|(_, value)| value)
}

impl Message {
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((VERSION_1 | self.kind as u32).to_be_bytes());
        Thrift::text(&self.name).write(&mut bytes);
        bytes.extend(self.sequence.to_be_bytes());
        write_fields(&self.fields, &mut bytes);
        bytes
    }

    /// One message and nothing behind it; `None` if it is not that.
    pub fn read(bytes: &[u8]) -> Option<Message> {
        let mut reader = Reader(bytes);
        let word = u32::from_be_bytes(*reader.take()?);
        let kind = [Kind::Call, Kind::Reply, Kind::Exception]
            .into_iter()
            .find(|kind| word == VERSION_1 | *kind as u32);
        let name = reader.value(11, DEPTH)?.as_text()?.to_owned();
        let sequence = i32::from_be_bytes(*reader.take()?);
        let fields = reader.fields(DEPTH)?;
        reader.0.is_empty().then_some(Message {
            kind: kind?,
            name,
            sequence,
            fields,
        })
    }
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take<const N: usize>(&mut self) -> Option<&'b [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| *byte)
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(i32::from_be_bytes(*self.take()?)).ok()
    }

    fn fields(&mut self, depth: usize) -> Option<Fields> {
        let mut fields = Vec::new();
        loop {
            let code = self.byte()?;
            if code == 0 {
                return Some(fields);
            }
            let number = i16::from_be_bytes(*self.take()?);
            fields.push((number, self.value(code, depth)?));
        }
    }

    fn value(&mut self, code: u8, depth: usize) -> Option<Thrift> {
        let deeper = depth.checked_sub(1)?;
        Some(match code {
            2 => Thrift::Bool(self.byte()? != 0),
            3 => Thrift::Byte(i8::from_be_bytes(*self.take()?)),
            4 => Thrift::Double(f64::from_be_bytes(*self.take()?)),
            6 => Thrift::I16(i16::from_be_bytes(*self.take()?)),
            8 => Thrift::I32(i32::from_be_bytes(*self.take()?)),
            10 => Thrift::I64(i64::from_be_bytes(*self.take()?)),
            11 => {
                let length = self.length()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Thrift::Binary(bytes.to_vec())
            }
            12 => Thrift::Struct(self.fields(deeper)?),
            13 => {
                let (key, value) = (self.byte()?, self.byte()?);
                let mut entries = Vec::new();
                for _ in 0..self.length()? {
                    entries.push((self.value(key, deeper)?, self.value(value, deeper)?));
                }
                Thrift::Map(key, value, entries)
            }
            14 | 15 => {
                let element = self.byte()?;
                let mut elements = Vec::new();
                for _ in 0..self.length()? {
                    elements.push(self.value(element, deeper)?);
                }
                Thrift::List(element, elements)
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_a_round_trip_and_no_prefix_is_one() {
        let fields = vec![
            (1, Thrift::Struct(vec![(1, Thrift::text("token"))])),
            (
                2,
                Thrift::structs(vec![
                    vec![(1, Thrift::I64(-1)), (9, Thrift::Bool(true))],
                    vec![],
                ]),
            ),
            (
                3,
                Thrift::Map(11, 8, vec![(Thrift::text("k"), Thrift::I32(7))]),
            ),
            (3, Thrift::Double(0.5)),
            (4, Thrift::Byte(-2)),
            (5, Thrift::I16(300)),
        ];
        let message = Message {
            kind: Kind::Call,
            name: "Report".to_owned(),
            sequence: 5,
            fields,
        };
        let bytes = message.write();
        assert!(bytes.starts_with(b"\x80\x01\x00\x01\x00\x00\x00\x06Report"));
        assert_eq!(Message::read(&bytes), Some(message));
        for length in 0..bytes.len() {
            assert_eq!(
                Message::read(bytes.get(..length).unwrap()),
                None,
                "{length}"
            );
        }
        assert_eq!(Message::read(&[&bytes[..], &[0]].concat()), None);
    }

    #[test]
    fn nesting_and_lengths_are_bounded() {
        let head = b"\x80\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00";
        let nested = [&head[..], &[12, 0, 1].repeat(100_000)].concat();
        assert_eq!(Message::read(&nested), None);
        let long = [&head[..], b"\x0f\x00\x01\x0a\x7f\xff\xff\xff"].concat();
        assert_eq!(Message::read(&long), None);
        let negative = [&head[..], b"\x0b\x00\x01\xff\xff\xff\xff\x00"].concat();
        assert_eq!(Message::read(&negative), None);
    }
}
