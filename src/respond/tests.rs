//! Every refusal in every dialect: status, words, and whether the client is to come again. What it refuses to know: where
//! refusals come from.

use super::*;
use crate::lightstep::Format;
use crate::otlp::Encoding;
use crate::reason::{Class, Reason};

const CLASSES: [Class; 20] = [
    Class::NotAuthenticated,
    Class::BadCredential,
    Class::Denied,
    Class::Malformed,
    Class::MalformedBody,
    Class::AppUnclear,
    Class::RefusedUpstream,
    Class::Unknown,
    Class::NoQuery,
    Class::TooSlow,
    Class::BodyTooLarge,
    Class::HeadTooLarge,
    Class::Unsupported,
    Class::Version,
    Class::Throttled(7),
    Class::ThrottledAsUnavailable(7),
    Class::Unavailable,
    Class::UpstreamBroken,
    Class::UpstreamRefusesUs,
    Class::UpstreamTimeout,
];

/// Scenario: every refusal in every legacy format. Guarantees: the status of the table; a body that Python's
/// tracer keeps its spans for exactly where a retry is wanted; the same words, whatever the reason was.
#[test]
fn legacy_refusals_say_whether_to_come_again() {
    for class in CLASSES {
        for format in Format::ALL {
            let one = Refusal::classed(Reason::PathUnknown, class);
            let other = Refusal::classed(Reason::NotPermitted, class).because("c");
            let particulars = Particulars::default();
            let rendered = render(
                &one,
                Dialect::Legacy(format),
                "id",
                &particulars,
                ChallengeTerms::default(),
            );
            assert_eq!(rendered.status, class.status());
            assert_eq!(
                rendered.body,
                render(
                    &other,
                    Dialect::Legacy(format),
                    "id",
                    &particulars,
                    ChallengeTerms::default()
                )
                .body
            );
            let again = matches!(class.status().as_u16(), 429 | 502 | 503 | 504);
            let header =
                |name: HeaderName| rendered.headers.iter().find(|(known, _)| *known == name);
            assert_eq!(header(header::RETRY_AFTER).is_some(), again, "{class:?}");
            assert!(header(header::CONTENT_TYPE).is_some() && header(REQUEST_ID).is_some());
            if format == Format::Reports {
                let parses = lightstep::sanitize(format, &rendered.body, true).is_ok();
                assert_eq!(
                    (parses, rendered.body.is_empty()),
                    (!again, false),
                    "{class:?}"
                );
            }
        }
    }
}
/// Scenario: refusals with 400 for every kind of reason, in every dialect. Guarantees: each says whether it is the head,
/// the body or the app that must change, and only the last tells how to name an app.
#[test]
fn a_400_says_what_is_wrong() {
    let denial = |reason| {
        Refusal::from(&Denial {
            reason,
            bindings: Vec::new(),
        })
    };
    let rows: &[(Refusal, &str)] = &[
        (Fault::HeaderLine.into(), "the head"),
        (Fault::Path.into(), "the head"),
        (Fault::Host.into(), "the head"),
        (Fault::CredentialConflict.into(), "the head"),
        (Fault::TokenInUrl.into(), "the head"),
        (Fault::GrpcTimeout.into(), "the head"),
        (Fault::AppHeader.into(), "the head"),
        (Fault::Chunk.into(), "the body"),
        (Fault::BodyTruncated.into(), "the body"),
        (Fault::GrpcFrame.into(), "the body"),
        (CodingFault::Undecodable.into(), "the body"),
        (Refusal::new(Reason::BodyMalformed), "the body"),
        (denial(Reason::AppAmbiguous), "several apps"),
        (denial(Reason::ServiceAmbiguous), "several apps"),
        (Refusal::new(Reason::UpstreamRefused), "the backend"),
    ];
    let dialects = [
        Dialect::Grpc,
        Dialect::Otlp(Encoding::Json),
        Dialect::Otlp(Encoding::Protobuf),
    ]
    .into_iter()
    .chain([Dialect::Query, Dialect::Own])
    .chain(Format::ALL.map(Dialect::Legacy));
    for dialect in dialects {
        for (refusal, expected) in rows {
            let rendered = render(
                refusal,
                dialect,
                "id",
                &Particulars::default(),
                ChallengeTerms::default(),
            );
            let message = rendered
                .headers
                .iter()
                .find(|(name, _)| name == "grpc-message");
            let body = message.map_or(rendered.body.as_slice(), |(_, value)| value.as_bytes());
            let text = String::from_utf8_lossy(body);
            let what = format!("{dialect:?} {}: {text}", refusal.reason);
            assert_eq!(
                (refusal.class.status(), refusal.class.grpc_code()),
                (StatusCode::BAD_REQUEST, 3),
                "{what}"
            );
            // The answers to metrics reports have no words.
            assert!(text.contains(expected), "{what}");
            assert_eq!(
                text.contains("names its app"),
                *expected == "several apps",
                "{what}"
            );
        }
    }
}
