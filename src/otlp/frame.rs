//! The frame around a gRPC message: a flag, a length, the message.
//!
//! What it does: takes the one message out of a unary call's body, and puts one in ("gRPC over HTTP2",
//! Length-Prefixed-Message). What it refuses to know: what a message means, and how it is compressed.
//! Invariants: a body is exactly one message, to the byte; neither direction copies one.

use bytes::{Bytes, BytesMut};

use super::Malformed;

/// One byte of flag, four of length, most significant first.
const PREFIX_BYTES: usize = 5;

/// A first piece below this length is copied behind the prefix; that is cheaper than sending five bytes
/// by themselves.
const COALESCED_BYTES: usize = 4 << 10;

/// The one message of a unary call, and whether it is compressed (with what `grpc-encoding` says).
/// Malformed: no message, a flag other than 0 and 1, a message that is cut short, and whatever follows it.
pub fn unframe(body: &Bytes) -> Result<(bool, Bytes), Malformed> {
    let Some(([flag, length @ ..], message)) = body.split_first_chunk::<PREFIX_BYTES>() else {
        return Err(Malformed {
            offset: body.len(),
            what: "a gRPC message without its prefix",
        });
    };
    let compressed = match flag {
        0 => false,
        1 => true,
        _ => {
            return Err(Malformed {
                offset: 0,
                what: "a gRPC message with an unknown flag",
            });
        }
    };
    match usize::try_from(u32::from_be_bytes(*length)) {
        Ok(length) if length == message.len() => Ok((compressed, body.slice(PREFIX_BYTES..))),
        Ok(length) if length < message.len() => Err(Malformed {
            offset: PREFIX_BYTES + length,
            what: "bytes behind the gRPC message",
        }),
        _ => Err(Malformed {
            offset: body.len(),
            what: "a gRPC message that is cut short",
        }),
    }
}

/// The pieces of one message as a body. A message of 4 GiB or more gets a length that no peer takes;
/// `limits.body` keeps far below.
pub fn frame(compressed: bool, pieces: Vec<Bytes>) -> Vec<Bytes> {
    let total: usize = pieces.iter().map(Bytes::len).sum();
    let mut framed = Vec::with_capacity(pieces.len() + 1);
    let mut pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
    let first = pieces.next().unwrap_or_default();
    let copied = if first.len() < COALESCED_BYTES {
        first.len()
    } else {
        0
    };
    let mut start = BytesMut::with_capacity(PREFIX_BYTES + copied);
    start.extend_from_slice(&[u8::from(compressed)]);
    start.extend_from_slice(&u32::try_from(total).unwrap_or(u32::MAX).to_be_bytes());
    if copied > 0 {
        start.extend_from_slice(&first);
        framed.push(start.freeze());
    } else {
        framed.push(start.freeze());
        framed.extend(Some(first).filter(|first| !first.is_empty()));
    }
    framed.extend(pieces);
    framed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_exactly_one_message() {
        type Case<'a> = (&'a [u8], Result<(bool, &'a [u8]), usize>);
        let cases: &[Case<'_>] = &[
            (&[0, 0, 0, 0, 0], Ok((false, b""))),
            (&[1, 0, 0, 0, 0], Ok((true, b""))),
            (&[0, 0, 0, 0, 2, 7, 8], Ok((false, &[7, 8]))),
            (&[1, 0, 0, 0, 1, 7], Ok((true, &[7]))),
            (&[], Err(0)),
            (&[0, 0, 0, 0], Err(4)),
            (&[0, 0, 0, 0, 1], Err(5)),
            (&[0, 0, 0, 0, 2, 7], Err(6)),
            (&[0, 0xff, 0xff, 0xff, 0xff, 7], Err(6)),
            (&[0, 1, 0, 0, 0, 7], Err(6)),
            (&[0, 0, 0, 0, 0, 7], Err(5)),
            (&[0, 0, 0, 0, 1, 7, 0, 0, 0, 0, 1, 7], Err(6)),
            (&[2, 0, 0, 0, 0], Err(0)),
            (&[0x80, 0, 0, 0, 1, 7], Err(0)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff], Err(0)),
        ];
        for (body, expected) in cases {
            let got = unframe(&Bytes::copy_from_slice(body)).map_err(|malformed| malformed.offset);
            let expected =
                expected.map(|(compressed, message)| (compressed, Bytes::copy_from_slice(message)));
            assert_eq!(got, expected, "{body:?}");
        }
    }

    proptest::proptest! {
        /// Scenario: any pieces. Guarantees: they come back as one message; long ones have not been copied,
        /// and no piece is empty.
        #[test]
        fn pieces_become_one_message(lengths in proptest::collection::vec(0_usize..9_000, 0..5), compressed: bool) {
            let pieces: Vec<Bytes> = lengths.iter().map(|length| Bytes::from(vec![*length as u8; *length])).collect();
            let framed = frame(compressed, pieces.clone());
            assert!(framed.iter().all(|piece| !piece.is_empty()));
            let long = |all: &[Bytes]| -> Vec<_> {
                all.iter().filter(|piece| piece.len() >= 5_000).map(|piece| piece.as_ptr()).collect()
            };
            assert_eq!(long(&framed), long(&pieces));
            let message = unframe(&framed.concat().into()).unwrap();
            assert_eq!(message, (compressed, pieces.concat().into()));
        }
    }
}
