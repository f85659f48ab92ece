//! Writes an export that is JSON as protobuf, and the other way round, by the tables of `schema.rs`.
//!
//! What it does: carries every field that the tables know, and counts what they do not: unknown JSON members and unknown
//! protobuf fields cannot be written in the other encoding. What it refuses to know: whose the export is, and who wants
//! which encoding. Invariants: the whole message is held to its encoding and its kinds (`to_protobuf.rs`, `to_json.rs`); no
//! step goes deeper than the brackets of a JSON text may; each byte of the input is looked at a bounded number of times;
//! memory is asked of the reservation before it is taken, and the result never exceeds its limit.

mod attribute;
mod number;
mod output;
mod schema;
mod text;
mod to_json;
mod to_protobuf;

use bytes::Bytes;

use self::output::BoundedOutput;
use super::{Encoding, Signal};
use crate::limits::{Reservation, Spent};

/// An export in another encoding.
#[derive(Debug)]
pub struct Transcoded {
    pub message: Bytes,
    /// Members or fields that are not known, each counted once with all that is in it: they are not in the message.
    pub unknown: u64,
}

/// Why an export cannot be written in another encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TranscodeFault {
    /// The field is the last one that was begun, by its name in JSON; empty before the first.
    #[error("`{field}`: {what}")]
    Malformed {
        field: &'static str,
        what: &'static str,
    },
    #[error("the export is larger than its limit in the other encoding")]
    TooLarge,
    #[error("no memory is left for it")]
    Memory(Spent),
}

/// Writes the export request in the other encoding than `encoding`, at most `limit_bytes` long. The reservation grows by the
/// memory of what is written.
pub fn transcode(
    signal: Signal,
    encoding: Encoding,
    message: &[u8],
    limit_bytes: u64,
    held: &mut Reservation,
) -> Result<Transcoded, TranscodeFault> {
    let request = schema::request(signal);
    match encoding {
        Encoding::Json => {
            // Names and quotes go; numbers stay about as long.
            let output = BoundedOutput::new(limit_bytes, message.len() / 2, held);
            to_protobuf::write(request, message, output)
        }
        Encoding::Protobuf => {
            // Names and quotes come.
            let output = BoundedOutput::new(limit_bytes, message.len().saturating_mul(3), held);
            to_json::write(request, message, output)
        }
    }
}

/// Why one field or the message's form is no good: told with the field that was begun.
#[derive(Clone, Copy, Debug)]
enum Fault {
    What(&'static str),
    TooLarge,
    Memory(Spent),
}

impl From<super::Malformed> for Fault {
    fn from(malformed: super::Malformed) -> Self {
        Fault::What(malformed.what)
    }
}

impl Fault {
    fn of(self, field: &'static str) -> TranscodeFault {
        match self {
            Fault::What(what) => TranscodeFault::Malformed { field, what },
            Fault::TooLarge => TranscodeFault::TooLarge,
            Fault::Memory(spent) => TranscodeFault::Memory(spent),
        }
    }
}

#[cfg(test)]
mod tests;
