//! What crosses between the encodings, held against prost and serde, and against tables of what must be refused. What it refuses to know: the
//! transcoder's insides.

mod any;
mod oracle;
mod tables;

use super::{TranscodeFault, Transcoded, transcode};
use crate::limits::Budget;
use crate::otlp::{Encoding, Signal};

const LIMIT_BYTES: u64 = 1 << 24;

/// In the other encoding.
fn crossed(
    signal: Signal,
    encoding: Encoding,
    message: &[u8],
) -> Result<Transcoded, TranscodeFault> {
    let budget = Budget::new(u64::MAX);
    let mut held = budget.gateway().open();
    let crossed = transcode(signal, encoding, message, LIMIT_BYTES, &mut held);
    if let Ok(crossed) = &crossed {
        assert!(budget.used_bytes() >= crossed.message.len() as u64);
    }
    crossed
}

fn to_json(signal: Signal, message: &[u8]) -> Result<(String, u64), TranscodeFault> {
    let crossed = crossed(signal, Encoding::Protobuf, message)?;
    let text = String::from_utf8(crossed.message.to_vec()).unwrap();
    Ok((text, crossed.unknown))
}

fn to_protobuf(signal: Signal, text: &str) -> Result<(Vec<u8>, u64), TranscodeFault> {
    let crossed = crossed(signal, Encoding::Json, text.as_bytes())?;
    Ok((crossed.message.to_vec(), crossed.unknown))
}
