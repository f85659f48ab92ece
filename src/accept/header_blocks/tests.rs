//! Header blocks that are followed, in whatever pieces they come, and what is written in their place. What it refuses to know:
//! what a header says.

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    [
        &[
            0,
            0,
            u8::try_from(payload.len()).unwrap(),
            kind,
            flags,
            0,
            0,
            0,
            stream,
        ],
        payload,
    ]
    .concat()
}

/// Walks over bytes that come in pieces, as the line does, and gives what passes.
fn passed(bytes: &[u8], piece: usize) -> Vec<u8> {
    let mut blocks = HeaderBlocks::new(64 << 10);
    let (mut held, mut out) = (Vec::new(), Vec::new());
    for bytes in bytes.chunks(piece) {
        held.extend_from_slice(bytes);
        loop {
            let step = blocks.walk(&held);
            out.extend(held.drain(..step.pass));
            let Some(change) = step.change else { break };
            let mut frame: Vec<u8> = held.drain(..change.bytes).collect();
            frame[..3].copy_from_slice(&change.length());
            frame.splice(
                change.place..change.place + change.cut,
                change.field.iter().copied(),
            );
            out.extend(frame);
        }
    }
    out.extend(held);
    out
}

/// Scenario: frames of all kinds, in pieces of any size. Guarantees: what is in order passes byte for byte.
#[test]
fn what_is_in_order_passes_unchanged() {
    let bytes = [
        PREFACE,
        &frame(4, 0, 0, b"\0\x03\0\0\0\x64"),
        &frame(HEADERS, END_HEADERS, 1, b"\x82\x86\x84\x41\x02gw"),
        &frame(0, 0, 1, b"\x00\x01#data: /#"),
        &frame(HEADERS, END_HEADERS | 1, 1, b"\x40\x01x\x01#"),
        &frame(HEADERS, 0, 3, b"\x82\x86\x44\x03/"),
        &frame(CONTINUATION, 0, 3, b"xy"),
        &frame(CONTINUATION, END_HEADERS, 3, b"\x41\x02gw"),
        &frame(
            HEADERS,
            END_HEADERS | PADDED | PRIORITY,
            5,
            b"\x02\0\0\0\x03\x10\x82\x86\x84##",
        ),
    ]
    .concat();
    for piece in [1, 2, 3, 8, 9, 10, 24, 25, 1024] {
        assert_eq!(passed(&bytes, piece), bytes, "pieces of {piece}");
    }
}

/// Scenario: blocks that would be taken for something else, alone, padded, in several frames. Guarantees: each gets the
/// field that refuses it, behind all others, and what follows passes.
#[test]
fn what_would_be_misread_is_refused() {
    let good = frame(HEADERS, END_HEADERS, 9, b"\x82\x86\x84");
    type Frames<'a> = &'a [Vec<u8>];
    let cases: &[(Frames<'_>, Frames<'_>)] = &[
        (
            &[frame(HEADERS, END_HEADERS, 1, b"\x82\x86\x04\x03/#x")],
            &[frame(
                HEADERS,
                END_HEADERS,
                1,
                &[&b"\x82\x86\x04\x03/#x"[..], REFUSED_FIELD].concat(),
            )],
        ),
        (
            &[frame(
                HEADERS,
                END_HEADERS | PADDED,
                1,
                b"\x03\x04\x03/#x\0\0\0",
            )],
            &[frame(
                HEADERS,
                END_HEADERS | PADDED,
                1,
                &[&b"\x03\x04\x03/#x"[..], REFUSED_FIELD, b"\0\0\0"].concat(),
            )],
        ),
        (
            &[
                frame(HEADERS, 0, 1, b"\x82\x04\x03/"),
                frame(CONTINUATION, END_HEADERS, 1, b"#x"),
            ],
            &[
                frame(HEADERS, 0, 1, b"\x82\x04\x03/"),
                frame(
                    CONTINUATION,
                    END_HEADERS,
                    1,
                    &[&b"#x"[..], REFUSED_FIELD].concat(),
                ),
            ],
        ),
        // Trailers, in one frame and in two.
        (
            &[
                frame(HEADERS, END_HEADERS, 1, b"\x82\x86\x84"),
                frame(HEADERS, 1, 1, b"\x82"),
                frame(CONTINUATION, END_HEADERS, 1, b""),
            ],
            &[
                frame(HEADERS, END_HEADERS, 1, b"\x82\x86\x84"),
                frame(HEADERS, 1, 1, b"\x82"),
                frame(CONTINUATION, END_HEADERS, 1, MALFORMED_FIELD),
            ],
        ),
        (
            &[
                frame(HEADERS, END_HEADERS, 1, b"\x82\x86\x84"),
                frame(HEADERS, END_HEADERS | 1, 1, b"\x82"),
            ],
            &[
                frame(HEADERS, END_HEADERS, 1, b"\x82\x86\x84"),
                frame(
                    HEADERS,
                    END_HEADERS | 1,
                    1,
                    &[&b"\x82"[..], MALFORMED_FIELD].concat(),
                ),
            ],
        ),
    ];
    for (sent, expected) in cases {
        let bytes = [&[PREFACE.to_vec()], *sent, std::slice::from_ref(&good)]
            .concat()
            .concat();
        let expected = [&[PREFACE.to_vec()], *expected, std::slice::from_ref(&good)]
            .concat()
            .concat();
        for piece in [1, 7, 1024] {
            assert_eq!(
                passed(&bytes, piece),
                expected,
                "{sent:?}, pieces of {piece}"
            );
        }
    }
}

/// Scenario: names of a mesh's clusters in `:authority`, in every form of a block. Guarantees: the framework gets one
/// that it takes, of the same length, and all else as it came; what stands in an earlier frame is left alone.
#[test]
fn an_authority_that_is_no_host_is_replaced() {
    let plain = b"\x82\x86\x84\x41\x03a|b\x10\x01x\x01|".as_slice();
    let changed = b"\x82\x86\x84\x41\x03a!b\x10\x01x\x01|".as_slice();
    let padded = |block: &[u8]| [&b"\x02\0\0\0\x03\x10"[..], block, b"||"].concat();
    let flags = END_HEADERS | PADDED | PRIORITY;
    let cases = [
        (
            frame(HEADERS, END_HEADERS, 1, plain),
            frame(HEADERS, END_HEADERS, 1, changed),
        ),
        (
            frame(HEADERS, flags, 1, &padded(plain)),
            frame(HEADERS, flags, 1, &padded(changed)),
        ),
        (
            [
                frame(HEADERS, 0, 1, b"\x82\x86"),
                frame(CONTINUATION, END_HEADERS, 1, b"\x84\x41\x03a|b"),
            ]
            .concat(),
            [
                frame(HEADERS, 0, 1, b"\x82\x86"),
                frame(CONTINUATION, END_HEADERS, 1, b"\x84\x41\x03a!b"),
            ]
            .concat(),
        ),
        (
            [
                frame(HEADERS, 0, 1, b"\x41\x03a|b"),
                frame(CONTINUATION, END_HEADERS, 1, b"\x84"),
            ]
            .concat(),
            [
                frame(HEADERS, 0, 1, b"\x41\x03a|b"),
                frame(CONTINUATION, END_HEADERS, 1, b"\x84"),
            ]
            .concat(),
        ),
        // In Huffman code, which becomes longer or shorter.
        (
            frame(HEADERS, END_HEADERS, 1, b"\x41\x83\x1f\xfc\x8f\x84"),
            frame(HEADERS, END_HEADERS, 1, b"\x41\x03a!b\x84"),
        ),
    ];
    let good = frame(HEADERS, END_HEADERS, 9, b"\x82\x86\x84");
    for (sent, expected) in cases {
        let bytes = [PREFACE, &sent, &good].concat();
        for piece in [1, 7, 1024] {
            assert_eq!(
                passed(&bytes, piece),
                [PREFACE, &expected, &good].concat(),
                "{sent:?}, pieces of {piece}"
            );
        }
    }
}

/// Scenario: a request on a stream whose requests are over. Guarantees: it passes: the framework knows which error it is.
#[test]
fn blocks_on_closed_streams_are_not_trailers() {
    let block = b"\x82\x86\x84";
    for end in [
        frame(HEADERS, END_HEADERS | END_STREAM, 3, block),
        [
            frame(HEADERS, END_HEADERS, 3, block),
            frame(DATA, END_STREAM, 3, b"x"),
        ]
        .concat(),
        [
            frame(HEADERS, END_HEADERS, 3, block),
            frame(RST_STREAM, 0, 3, b"\0\0\0\x08"),
        ]
        .concat(),
    ] {
        for stream in [3, 1] {
            let bytes = [
                PREFACE,
                &end,
                &frame(HEADERS, END_HEADERS | END_STREAM, stream, block),
            ]
            .concat();
            assert_eq!(passed(&bytes, 5), bytes, "{end:?}");
        }
    }
}

/// Scenario: a block in ever more frames, of a client that does not end it. Guarantees: what is kept of it stays within the
/// bound; from there on no block passes as it came, not even one that begins anew; below the bound it passes.
#[test]
fn what_is_kept_of_a_block_is_bounded() {
    let list_bytes = 64 << 10;
    let bound = 2 * list_bytes;
    // A field without a name in the table, as long as the frames make it.
    let part = [b'x'; 200];
    let start = frame(HEADERS, 0, 1, b"\x82\x86\x84\x10\x01x\x7f\x80\x80\x40");
    let more = frame(CONTINUATION, 0, 1, &part);
    let mut blocks = HeaderBlocks::new(list_bytes);
    assert_eq!(blocks.walk(PREFACE).pass, PREFACE.len());
    assert_eq!(blocks.walk(&start).pass, start.len());
    for frames in 1..bound / part.len() {
        let step = blocks.walk(&more);
        assert_eq!(
            (step.pass, step.change),
            (more.len(), None),
            "frame {frames}"
        );
        assert!(
            blocks.block.len() <= bound && !blocks.lost,
            "{} bytes in frame {frames}",
            blocks.block.len()
        );
    }
    for _ in 0..2 * bound / part.len() {
        assert_eq!(blocks.walk(&more).pass, more.len());
        assert!(
            blocks.block.len() <= bound && blocks.block.capacity() <= 2 * bound,
            "{}",
            blocks.block.capacity()
        );
    }
    assert!(blocks.lost && blocks.is_within(0));
    let last = blocks.walk(&frame(CONTINUATION, END_HEADERS, 1, &part));
    assert_eq!(
        last.change.map(|change| change.field),
        Some(MALFORMED_FIELD.into())
    );
    let next = blocks.walk(&frame(HEADERS, END_HEADERS, 3, b"\x82\x86\x84"));
    assert_eq!(
        next.change.map(|change| change.field),
        Some(MALFORMED_FIELD.into())
    );
}

/// Scenario: a block that is not read, by its faulty index or because its stream depends on itself, and then others.
/// Guarantees: from there on no block passes as it came: the tables of both sides may differ.
#[test]
fn what_cannot_be_followed_is_not_passed() {
    for first in [
        frame(HEADERS, END_HEADERS, 1, b"\xbe"),
        frame(
            HEADERS,
            END_HEADERS | PRIORITY,
            1,
            b"\0\0\0\x01\x10\x82\x44\x01/",
        ),
        frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff\x82"),
    ] {
        let bytes = [
            PREFACE,
            &first,
            &frame(HEADERS, END_HEADERS, 3, b"\x82\x86\x84"),
        ]
        .concat();
        let last = frame(
            HEADERS,
            END_HEADERS,
            3,
            &[&b"\x82\x86\x84"[..], MALFORMED_FIELD].concat(),
        );
        assert!(passed(&bytes, 1024).ends_with(&last), "{first:?}");
    }
}
