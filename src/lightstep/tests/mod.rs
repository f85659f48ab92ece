//! Every legacy format against tables and other readers: messages declared for `prost`, values of `serde_json`,
//! and a Thrift reader of its own.
//!
//! What it does: holds what all formats promise alike, on one sample each. What it refuses to know: how the
//! formats are walked.

mod answers;
mod json;
mod protobuf;
mod thrift;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Format, Report, Service, Token};
use crate::otlp::Malformed;

/// The caller's token in all samples, and the one that replaces it.
pub(super) const THEIRS: &str = "caller-token-4711";
pub(super) const OURS: &[u8] = b"project\"token\\0815";

pub(super) fn read(format: Format, body: &[u8]) -> Result<Report, Malformed> {
    Report::read(format, Bytes::copy_from_slice(body))
}

pub(super) fn written(report: &Report, stamp: &[(&str, &str)]) -> Vec<u8> {
    let pieces = report.write(OURS, stamp).unwrap();
    let whole = pieces.concat();
    let bound = report.written_bytes_at_most(OURS.len(), stamp);
    assert!(
        whole.len() as u64 <= bound,
        "{} bytes, {bound} at most",
        whole.len()
    );
    whole
}

pub(super) fn holds(body: &[u8], text: &str) -> bool {
    memchr::memmem::find(body, text.as_bytes()).is_some()
}

/// One report of each format, with a token where the format may carry one, two items, and forged tags.
pub(super) fn samples() -> Vec<(Format, Vec<u8>)> {
    vec![
        (Format::Reports, protobuf::sample()),
        (
            Format::ReportsJson,
            json::REPORT.replace("THEIRS", THEIRS).into_bytes(),
        ),
        (
            Format::ThriftJson,
            json::THRIFT.replace("THEIRS", THEIRS).into_bytes(),
        ),
        (Format::ThriftBinary, thrift::sample()),
        (Format::Metrics, protobuf::metrics_sample()),
        (
            Format::Zipkin,
            json::ZIPKIN.replace("THEIRS", THEIRS).into_bytes(),
        ),
        (Format::Bulk, json::BULK.as_bytes().to_vec()),
        (Format::Firehose, json::firehose().into_bytes()),
    ]
}

/// Scenario: a report of each format comes. Guarantees: token, service and count are found; what is written
/// is of the same format, holds our token wherever one may stand, and not a byte of the caller's.
#[test]
fn every_format_is_read_and_written() {
    for (format, body) in samples() {
        let report = read(format, &body).unwrap();
        let name = format.name();
        let has_token = format.may_carry_token();
        assert!(
            report.token()
                == if has_token {
                    Token::One(THEIRS.as_bytes())
                } else {
                    Token::None
                },
            "{name}"
        );
        assert_eq!(report.service(), Service::Name("shop"), "{name}");
        assert_eq!(report.items(), 2, "{name}");
        let forged = match format {
            Format::Metrics | Format::Zipkin | Format::Bulk | Format::Firehose => 2,
            _ => 3,
        };
        assert_eq!(report.forged(), forged, "{name}");
        let out = written(
            &report,
            &[
                ("lightkeeper.app", "shop/\"checkout\""),
                ("owner", "team é"),
            ],
        );
        assert!(!holds(&out, THEIRS), "{name}");
        let again = read(format, &out).unwrap();
        // Of this one the backend takes the head's token.
        let has_token = has_token && format != Format::ThriftJson;
        assert!(
            again.token()
                == if has_token {
                    Token::One(OURS)
                } else {
                    Token::None
                },
            "{name}"
        );
        assert_eq!(
            (again.service(), again.items()),
            (Service::Name("shop"), 2),
            "{name}"
        );
        let stamped = match format {
            Format::Zipkin | Format::Bulk | Format::Firehose => 2,
            _ => 1,
        };
        assert_eq!(
            again.forged(),
            stamped,
            "{name}: ours are the only ones that are left"
        );
        assert!(!holds(&out, "forged"), "{name}");
    }
}

/// Scenario: a report ends early, at each of its bytes. Guarantees: it is malformed, or a whole report of
/// fewer fields or lines, and then nothing of the caller's token goes out.
#[test]
fn what_ends_early_is_malformed_or_less() {
    for (format, body) in samples() {
        let mut whole = 0;
        for end in 0..body.len() {
            let part = body.get(..end).unwrap();
            match read(format, part) {
                Err(malformed) => assert!(
                    malformed.offset <= end,
                    "{} at {end}: {malformed}",
                    format.name()
                ),
                Ok(report) => {
                    whole += 1;
                    assert!(
                        !holds(&written(&report, &[("lightkeeper.app", "x")]), THEIRS),
                        "{} {end}",
                        format.name()
                    );
                }
            }
        }
        let expected = match format {
            // One for each field that may be the last.
            Format::Reports | Format::Metrics => 1..=8,
            // The text before the last line's end, or after its closing brace, is whole.
            Format::Bulk | Format::Firehose => 0..=4,
            _ => 0..=1,
        };
        assert!(expected.contains(&whole), "{}: {whole}", format.name());
    }
}

/// Scenario: what is not of a format comes to it. Guarantees: it is malformed.
#[test]
fn what_is_not_of_the_format_is_malformed() {
    for (format, body) in samples() {
        for other in Format::ALL {
            let same = matches!(
                (format, other),
                // Both are objects whose members may all be missing.
                (
                    Format::ReportsJson | Format::ThriftJson | Format::Firehose,
                    Format::ReportsJson | Format::ThriftJson
                )
            );
            assert!(
                same || format == other || read(other, &body).is_err(),
                "{} as {}",
                format.name(),
                other.name()
            );
        }
        for garbage in [&b"\x00"[..], b"null", b"\xff\xfe", b"{", b"<html>"] {
            assert!(
                read(format, garbage).is_err(),
                "{} {garbage:?}",
                format.name()
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Scenario: bytes of a report are changed, cut out and put in at random. Guarantees: no panic; whatever is
    /// still read is written so that it is read again with our token and nothing reserved.
    #[test]
    fn damage_is_refused_or_harmless(
        which in 0..8_usize,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
    ) {
        let (format, mut body) = samples().swap_remove(which);
        for (place, byte, how) in damage {
            let at = place.index(body.len());
            match how {
                0 => body[at] = byte,
                1 => drop(body.remove(at)),
                _ => body.insert(at, byte),
            }
        }
        if let Ok(report) = read(format, &body) {
            let out = written(&report, &[]);
            let again = read(format, &out).unwrap();
            prop_assert_eq!((again.service(), again.items()), (report.service(), report.items()));
            prop_assert_eq!(again.forged(), 0);
            prop_assert!(again.token() == Token::One(OURS) || again.token() == Token::None);
            // v0's JSON gets none where `auth` was damaged: its header carries it.
            let gets = report.token() != Token::None && format != Format::ThriftJson;
            prop_assert!(again.token() == Token::One(OURS) || !gets);
        }
    }
}
