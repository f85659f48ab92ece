//! Which of the backend's limits an operation counts against.
//!
//! What it does: finds the class of a typed ask. What it refuses to know: how much of a class is left, and who asks.
//! Invariant: what cannot be told counts against the tighter class.

use std::sync::Arc;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Below this, an asked time is short (rate limits page of the API's documentation).
const SHORT_RANGE: time::Duration = time::Duration::minutes(10);

/// How the class is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RateRule {
    /// It is always this one.
    Of(Arc<str>),
    /// By the time between two query parameters.
    Range {
        from: String,
        to: String,
        short: Arc<str>,
        long: Arc<str>,
    },
}

impl Default for RateRule {
    fn default() -> Self {
        RateRule::Of(Arc::from("general"))
    }
}

impl RateRule {
    /// The class for a question with these decoded query pairs.
    pub(crate) fn class(&self, query: &[(String, String)]) -> &Arc<str> {
        match self {
            RateRule::Of(class) => class,
            RateRule::Range {
                from,
                to,
                short,
                long,
            } => {
                let time = |key: &str| {
                    let (_, value) = query.iter().find(|(known, _)| known == key)?;
                    OffsetDateTime::parse(value, &Rfc3339).ok()
                };
                match (time(from), time(to)) {
                    (Some(from), Some(to)) if from <= to && to - from < SHORT_RANGE => short,
                    _ => long,
                }
            }
        }
    }

    /// Every class that it may name.
    pub(super) fn classes(&self) -> impl Iterator<Item = &Arc<str>> {
        let (one, other) = match self {
            RateRule::Of(class) => (class, None),
            RateRule::Range { short, long, .. } => (short, Some(long)),
        };
        std::iter::once(one).chain(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_asked_time_tells_the_class() {
        let (short, long) = (Arc::from("short"), Arc::from("long"));
        let rule = RateRule::Range {
            from: "oldest".to_owned(),
            to: "youngest".to_owned(),
            short,
            long,
        };
        let at = |minute: &str| format!("2026-01-01T00:{minute}Z");
        for (oldest, youngest, expected) in [
            (at("00:00"), at("09:59"), "short"),
            (at("00:00"), at("10:00"), "long"),
            (at("10:00"), at("00:00"), "long"),
            ("2026-01-01T01:00:00+01:00".to_owned(), at("05:00"), "short"),
            ("yesterday".to_owned(), at("05:00"), "long"),
            (String::new(), String::new(), "long"),
        ] {
            let query = [
                ("oldest".to_owned(), oldest.clone()),
                ("youngest".to_owned(), youngest.clone()),
            ];
            assert_eq!(**rule.class(&query), *expected, "{oldest} {youngest}");
        }
        assert_eq!(**rule.class(&[]), *"long");
        assert_eq!(**RateRule::default().class(&[]), *"general");
    }
}
