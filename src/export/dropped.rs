//! What a backend dropped of an export that it took, as it says in a gRPC answer's trailers.
//!
//! What it does: takes these trailers out of an answer, counts the items, and adds up what several parts' answers say. What
//! it refuses to know: whose exports they were. Invariants: only names with the prefix pass, so many and so long; a count
//! is added to a count, and never invented.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::forward::GrpcAnswer;

/// `otlp-points-dropped`, `otlp-metrics-dropped`, `otlp-invalid-*`: Lightstep's own, which its exporters read.
const PREFIX: &str = "otlp-";
/// Trailers of one answer that pass.
const NAMES_LIMIT_ENTRIES: usize = 16;
/// Of each value; longer ones are left out.
const VALUE_LIMIT_BYTES: usize = 1024;

/// What an answer says of what was dropped.
pub(crate) fn told(answer: &GrpcAnswer) -> HeaderMap {
    let all = answer.trailers.as_ref().unwrap_or(&answer.headers).iter();
    let fitting = all.filter(|(name, value)| {
        name.as_str().starts_with(PREFIX) && value.len() <= VALUE_LIMIT_BYTES
    });
    fitting
        .take(NAMES_LIMIT_ENTRIES)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// How many items that is at least: points, or else metrics, of which each has one.
pub(crate) fn items(told: &HeaderMap) -> u64 {
    let count = |name: &str| told.get(name).and_then(number);
    count("otlp-points-dropped")
        .or(count("otlp-metrics-dropped"))
        .unwrap_or(0)
}

/// Adds what another part's answer says: counts to counts, words to words.
pub(crate) fn add(to: &mut HeaderMap, told: &HeaderMap) {
    for (name, value) in told {
        let sum = match to.get(name) {
            Some(known) if known == value && number(known).is_none() => continue,
            Some(known) => joined(known, value),
            None if to.len() < NAMES_LIMIT_ENTRIES => Some(value.clone()),
            None => None,
        };
        sum.into_iter().for_each(|sum| put(to, name, sum));
    }
}

/// What two backends say of the same items: the larger counts, the words of both.
pub(crate) fn wider(to: &mut HeaderMap, told: &HeaderMap) {
    for (name, value) in told {
        match (to.get(name).and_then(number), number(value)) {
            (Some(known), Some(count)) if known >= count => {}
            (Some(_), Some(_)) => put(to, name, value.clone()),
            _ => add(to, &HeaderMap::from_iter([(name.clone(), value.clone())])),
        }
    }
}

fn put(to: &mut HeaderMap, name: &HeaderName, value: HeaderValue) {
    to.insert(name.clone(), value);
}

fn joined(one: &HeaderValue, other: &HeaderValue) -> Option<HeaderValue> {
    if let (Some(one), Some(other)) = (number(one), number(other)) {
        return Some(HeaderValue::from(one.saturating_add(other)));
    }
    let text = [one.as_bytes(), b", ", other.as_bytes()].concat();
    HeaderValue::from_bytes(&text)
        .ok()
        .filter(|text| text.len() <= VALUE_LIMIT_BYTES)
}

fn number(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn counts_add_up_and_words_are_joined() {
        let mut sum = HeaderMap::new();
        for part in [
            map(&[("otlp-points-dropped", "3"), ("otlp-invalid-names", "a")]),
            map(&[
                ("otlp-points-dropped", "4"),
                ("otlp-invalid-names", "b"),
                ("otlp-metrics-dropped", "1"),
            ]),
            map(&[("otlp-points-dropped", "many"), ("otlp-invalid-names", "b")]),
        ] {
            add(&mut sum, &part);
        }
        let expected = [
            ("otlp-points-dropped", "7, many"),
            ("otlp-invalid-names", "a, b, b"),
            ("otlp-metrics-dropped", "1"),
        ];
        assert_eq!(sum, map(&expected));
        let other = map(&[
            ("otlp-points-dropped", "2"),
            ("otlp-metrics-dropped", "4"),
            ("otlp-invalid-names", "c"),
            ("otlp-invalid-units", "x"),
        ]);
        let mut both = map(&[
            ("otlp-points-dropped", "3"),
            ("otlp-metrics-dropped", "1"),
            ("otlp-invalid-names", "a"),
        ]);
        wider(&mut both, &other);
        let expected = [
            ("otlp-points-dropped", "3"),
            ("otlp-metrics-dropped", "4"),
            ("otlp-invalid-names", "a, c"),
            ("otlp-invalid-units", "x"),
        ];
        assert_eq!(both, map(&expected));
    }

    #[test]
    fn what_was_dropped_is_counted_where_it_is_a_number() {
        for (pairs, count) in [
            (&[][..], 0),
            (&[("otlp-points-dropped", "3")][..], 3),
            (&[("otlp-metrics-dropped", "2")], 2),
            (
                &[("otlp-points-dropped", "3"), ("otlp-metrics-dropped", "2")],
                3,
            ),
            (&[("otlp-points-dropped", "-3")], 0),
            (&[("otlp-points-dropped", "99999999999999999999999")], 0),
            (&[("otlp-invalid-names", "5")], 0),
        ] {
            assert_eq!(items(&map(pairs)), count, "{pairs:?}");
        }
        let mut many = HeaderMap::new();
        for number in 0..40 {
            many.insert(
                HeaderName::try_from(format!("otlp-{number}")).unwrap(),
                HeaderValue::from_static("1"),
            );
        }
        many.insert("x-other", HeaderValue::from_static("1"));
        let answer = GrpcAnswer {
            status: http::StatusCode::OK,
            headers: HeaderMap::new(),
            body: bytes::Bytes::new(),
            trailers: Some(many),
        };
        let told = told(&answer);
        assert_eq!(
            (told.len(), told.contains_key("x-other")),
            (NAMES_LIMIT_ENTRIES, false)
        );
    }
}
