//! The profiles that are built in: one table of names and texts.
//!
//! What it does: reads a built-in profile when it is first asked for, once. What it refuses to know: what they say. Invariants: the
//! first is taken where none is named; a text that cannot be read, which a test excludes, makes a profile that knows no operation.

use std::path::Path;
use std::sync::{Arc, LazyLock, OnceLock};

use super::Profile;
use crate::lightstep::Format;

/// Name and text, in the order in which they are listed.
const TEXTS: [(&str, &str); Profile::NAMES.len()] = [
    ("lightstep", include_str!("lightstep.yaml")),
    ("otlp", include_str!("otlp.yaml")),
    ("honeycomb", include_str!("shipped/honeycomb.yaml")),
    ("grafana-cloud", include_str!("shipped/grafana-cloud.yaml")),
    ("datadog", include_str!("shipped/datadog.yaml")),
    ("newrelic", include_str!("shipped/newrelic.yaml")),
    ("dash0", include_str!("shipped/dash0.yaml")),
    ("dynatrace", include_str!("shipped/dynatrace.yaml")),
    ("splunk", include_str!("shipped/splunk.yaml")),
    ("chronosphere", include_str!("shipped/chronosphere.yaml")),
    ("elastic", include_str!("shipped/elastic.yaml")),
    ("signoz", include_str!("shipped/signoz.yaml")),
    ("axiom", include_str!("shipped/axiom.yaml")),
    ("uptrace", include_str!("shipped/uptrace.yaml")),
    ("logfire", include_str!("shipped/logfire.yaml")),
    ("observe", include_str!("shipped/observe.yaml")),
    ("tempo", include_str!("shipped/tempo.yaml")),
    ("mimir", include_str!("shipped/mimir.yaml")),
    ("loki", include_str!("shipped/loki.yaml")),
    (
        "victoria-metrics",
        include_str!("shipped/victoria-metrics.yaml"),
    ),
    ("victoria-logs", include_str!("shipped/victoria-logs.yaml")),
    (
        "victoria-traces",
        include_str!("shipped/victoria-traces.yaml"),
    ),
    ("prometheus", include_str!("shipped/prometheus.yaml")),
    ("jaeger", include_str!("shipped/jaeger.yaml")),
];

static READ: [OnceLock<Arc<Profile>>; TEXTS.len()] = [const { OnceLock::new() }; TEXTS.len()];

/// The built-in profiles by what is looked for in them: each call's path is, and most have nothing that others have not.
struct KnownPaths {
    queries: Vec<&'static Profile>,
    exports: Vec<&'static Profile>,
    legacy: Vec<&'static Profile>,
}

static KNOWN_PATHS: LazyLock<KnownPaths> = LazyLock::new(|| {
    let mut known = KnownPaths {
        queries: Vec::new(),
        exports: Vec::new(),
        legacy: Vec::new(),
    };
    for profile in Profile::built_in() {
        if profile.has_query() {
            known.queries.push(profile);
        }
        if !profile.legacy.is_empty() {
            known.legacy.push(profile);
        }
        let is_known = |path: &str| {
            let mut taking = known.exports.iter();
            taking.any(|profile| profile.looks_like_export(path))
        };
        // A row for minor versions is one of its own.
        let has_more = profile
            .ingest
            .iter()
            .any(|row| row.minor || !is_known(&row.path));
        if has_more {
            known.exports.push(profile);
        }
    }
    known
});

impl Profile {
    /// The names of the built-in profiles; the first is taken where none is named.
    pub(crate) const NAMES: [&str; 24] = [
        "lightstep",
        "otlp",
        "honeycomb",
        "grafana-cloud",
        "datadog",
        "newrelic",
        "dash0",
        "dynatrace",
        "splunk",
        "chronosphere",
        "elastic",
        "signoz",
        "axiom",
        "uptrace",
        "logfire",
        "observe",
        "tempo",
        "mimir",
        "loki",
        "victoria-metrics",
        "victoria-logs",
        "victoria-traces",
        "prometheus",
        "jaeger",
    ];

    /// The built-in profile of this name.
    pub fn named(name: &str) -> Option<Arc<Profile>> {
        let mut table = TEXTS.iter().zip(&READ);
        let ((name, text), read) = table.find(|((known, _), _)| *known == name)?;
        Some(read.get_or_init(|| shipped(name, text)).clone())
    }

    /// The profile that is taken where none is named.
    pub fn standard() -> Arc<Profile> {
        Profile::lightstep()
    }

    /// All built-in profiles.
    pub fn built_in() -> impl Iterator<Item = &'static Arc<Profile>> {
        let table = TEXTS.iter().zip(&READ);
        table.map(|((name, text), read)| read.get_or_init(|| shipped(name, text)))
    }

    /// Whether a path is one of the query API of some built-in profile.
    pub(crate) fn some_looks_like_query(path: &str) -> bool {
        let mut asked = KNOWN_PATHS.queries.iter();
        asked.any(|profile| profile.looks_like_query(path))
    }

    /// Whether a path is one for exports of some built-in profile.
    pub(crate) fn some_looks_like_export(path: &str) -> bool {
        let mut taking = KNOWN_PATHS.exports.iter();
        taking.any(|profile| profile.looks_like_export(path))
    }

    /// The format that some built-in profile has for a legacy path.
    pub(crate) fn some_legacy_format(inner: &str, json: bool) -> Option<Format> {
        let mut taking = KNOWN_PATHS.legacy.iter();
        taking.find_map(|profile| profile.legacy_format(inner, json))
    }

    /// The profile of Lightstep.
    pub fn lightstep() -> Arc<Profile> {
        let [(name, text), ..] = TEXTS;
        let [read, ..] = &READ;
        read.get_or_init(|| shipped(name, text)).clone()
    }
}

/// Should a built-in text be unreadable, the profile knows no operation at all, and everything is refused.
fn shipped(name: &str, text: &str) -> Arc<Profile> {
    let read = Profile::load(Path::new(name), text);
    Arc::new(read.unwrap_or_else(|found| {
        let fault = found.first().map(ToString::to_string).unwrap_or_default();
        tracing::error!(
            fault,
            "a built-in profile is unreadable: every operation is refused"
        );
        Profile::empty(name)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: a profile is added to the table. Guarantees: its text is read without a fault, is of its name, and is filled by
    /// one word for each parameter that has no default; where it goes is known then, or a mere hint.
    #[test]
    fn every_built_in_text_is_a_profile_of_its_name() {
        let names: Vec<&str> = TEXTS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, Profile::NAMES);
        for (name, text) in TEXTS {
            let read = Profile::load(Path::new(name), text);
            let read = Arc::new(read.unwrap_or_else(|found| panic!("{name}: {found:?}")));
            assert_eq!(read.name, name);
            let wanted = read.parameters().iter();
            let given: Vec<(&str, &str)> = wanted
                .filter(|parameter| parameter.default.is_none())
                .map(|parameter| (parameter.name.as_str(), "word1"))
                .collect();
            let filled = read.filled(&given).unwrap();
            let address = &filled.addresses.ingest;
            let is_hint = filled.addresses.is_hint();
            assert_eq!(
                filled.addresses.usual_ingest().is_none(),
                is_hint,
                "{name}: {address}"
            );
            // gRPC's own address is as real as the other one.
            let grpc = &filled.addresses.grpc;
            let is_real = grpc.is_empty() || filled.addresses.usual_grpc().is_none() == is_hint;
            assert!(is_real, "{name}: {grpc}");
            for parameter in read.parameters() {
                assert!(!parameter.about.is_empty(), "{name}: {}", parameter.name);
            }
        }
        assert!(Profile::named("nothing").is_none());
    }

    /// Scenario: each path that some profile has, and others. Guarantees: what is looked for in few profiles is found as in all.
    #[test]
    fn known_paths_are_those_of_all_profiles() {
        let paths = Profile::built_in().flat_map(|profile| {
            let exports = profile.ingest.iter().map(|row| row.path.clone());
            exports.chain(profile.legacy.iter().map(|row| row.path.clone()))
        });
        let others = [
            "/",
            "",
            "/v1/trace",
            "/public/v0.2/acme/projects",
            "/apps/x/-/v1/logs",
        ];
        for path in paths.chain(others.map(str::to_owned)) {
            let all = |looks: fn(&Profile, &str) -> bool| {
                Profile::built_in().any(|profile| looks(profile, &path))
            };
            let (query, export) = (Profile::looks_like_query, Profile::looks_like_export);
            assert_eq!(Profile::some_looks_like_query(&path), all(query), "{path}");
            assert_eq!(
                Profile::some_looks_like_export(&path),
                all(export),
                "{path}"
            );
            let inner = path.strip_prefix('/').unwrap_or(&path);
            for json in [false, true] {
                let mut each = Profile::built_in();
                let legacy = each.find_map(|profile| profile.legacy_format(inner, json));
                assert_eq!(Profile::some_legacy_format(inner, json), legacy, "{path}");
            }
        }
    }
}
