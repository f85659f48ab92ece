//! Texts, as JSON has them.
//!
//! What it does: puts a text between quotes, with escapes where it must have them. What it refuses to know: where a text stands.
//! Invariant: what is written is UTF-8, and a text that is not is refused.

use super::Fault;
use super::number::put_hexadecimal;
use super::output::BoundedOutput;
use crate::otlp::json::{ordinary, special};

#[inline]
pub(super) fn put_text(output: &mut BoundedOutput<'_>, text: &[u8]) -> Result<(), Fault> {
    if is_plain(text) {
        return quoted(output, text);
    }
    put_any_text(output, text)
}

#[inline]
fn quoted(output: &mut BoundedOutput<'_>, text: &[u8]) -> Result<(), Fault> {
    output.append(text.len().saturating_add(2), |bytes| {
        bytes.push(b'"');
        bytes.extend_from_slice(text);
        bytes.push(b'"');
    })
}

#[inline(never)]
fn put_any_text(output: &mut BoundedOutput<'_>, text: &[u8]) -> Result<(), Fault> {
    if std::str::from_utf8(text).is_err() {
        return Err(Fault::What("a text that is not UTF-8"));
    }
    if ordinary(text) == text.len() {
        return quoted(output, text);
    }
    output.put_byte(b'"')?;
    let mut rest = text;
    loop {
        let (plain, special) = rest.split_at(ordinary(rest).min(rest.len()));
        output.put(plain)?;
        let Some((byte, behind)) = special.split_first() else {
            break;
        };
        rest = behind;
        let letter = match byte {
            b'"' | b'\\' => *byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            control => {
                output.put(b"\\u00")?;
                output.append(2, |bytes| put_hexadecimal(bytes, &[*control]))?;
                continue;
            }
        };
        output.put(&[b'\\', letter])?;
    }
    output.put_byte(b'"')
}

/// Whether a text is ASCII and needs no escapes.
#[inline]
pub(super) fn is_plain(text: &[u8]) -> bool {
    let is_odd = |byte: &u8| (byte.cast_signed() < 0x20) | (*byte == b'"') | (*byte == b'\\');
    if let Some(last) = text.last_chunk::<16>() {
        // Without a branch for each byte: compilers make single instructions of sixteen.
        let any_odd = |bytes: &[u8; 16]| bytes.iter().fold(false, |any, byte| any | is_odd(byte));
        let (chunks, _) = text.as_chunks::<16>();
        return !chunks.iter().any(any_odd) && !any_odd(last);
    }
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
        return is_plain_word(first) & is_plain_word(last);
    }
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        let first = u64::from(u32::from_le_bytes(*first));
        return is_plain_word(first << 32 | u64::from(u32::from_le_bytes(*last)));
    }
    !text.iter().any(is_odd)
}

#[inline]
fn is_plain_word(word: u64) -> bool {
    const NOT_ASCII: u64 = u64::from_le_bytes([0x80; 8]);
    word & NOT_ASCII | special(word) == 0
}
