//! `upstreams.*.profile`, checked: which kind of backend stands behind the gateway.
//!
//! What it does: finds the one profile that the upstreams name. What it refuses to know: what is in a profile. Invariant: what
//! is named is what is served, or an error; an upstream that names none is of the same kind as the others.

use std::sync::Arc;

use super::raw::{RawProfile, RawUpstreams};
use super::report::ConfigFindings;
use crate::document::{Spanned, name};
use crate::profiles::Profile;

/// The profile of all upstreams. A name that is not known has been refused with the file's form; the first known one stands
/// in for it, so that the rest of the file can be checked.
pub(crate) fn profile(report: &mut ConfigFindings<'_>, upstreams: &RawUpstreams) -> Arc<Profile> {
    let doors = [
        ("ingest", &upstreams.ingest),
        ("query", &upstreams.query),
        ("collector", &upstreams.collector),
        ("logs", &upstreams.logs),
    ];
    let given: Vec<(&str, &Spanned<RawProfile>)> = doors
        .iter()
        .filter_map(|(which, door)| Some((*which, door.as_ref()?.profile.as_ref()?)))
        .collect();
    let names: Vec<&str> = given.iter().map(|(_, at)| at.value.0.as_str()).collect();
    if let Some(odd) = odd_one(&names)
        && let (Some((first, named)), Some((which, at))) = (given.first(), given.get(odd))
    {
        let message = format!(
            "`upstreams.{which}.profile` is {}, but `upstreams.{first}.profile` is {}",
            name(&at.value.0),
            name(&named.value.0)
        );
        report.error_with_hint(
            at,
            message,
            "one gateway serves one kind of backend: name the same, or run another",
        );
    }
    glimpsed(names)
}

/// The first profile of these names that is known, or the default.
pub(crate) fn glimpsed<'n>(names: impl IntoIterator<Item = &'n str>) -> Arc<Profile> {
    names
        .into_iter()
        .find_map(Profile::named)
        .unwrap_or_else(Profile::standard)
}

/// The place of the first name that is not the first one.
fn odd_one(names: &[&str]) -> Option<usize> {
    names.iter().position(|name| Some(name) != names.first())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_upstreams_name_one_profile() {
        for (names, expected) in [
            (&[][..], None),
            (&["a"], None),
            (&["a", "a", "a"], None),
            (&["a", "a", "b", "a"], Some(2)),
            (&["a", "b"], Some(1)),
        ] {
            assert_eq!(odd_one(names), expected, "{names:?}");
        }
    }

    #[test]
    fn every_known_name_is_a_profile_of_that_name() {
        for known in Profile::NAMES {
            assert_eq!(
                Profile::named(known)
                    .map(|profile| profile.name.clone())
                    .as_deref(),
                Some(known)
            );
            assert_eq!(glimpsed(["unknown", known]).name, known);
        }
        for unknown in ["", "Lightstep", "lightstep ", "honeycomb", "../lightstep"] {
            assert!(Profile::named(unknown).is_none(), "{unknown:?}");
            assert_eq!(glimpsed([unknown]).name, Profile::NAMES[0]);
        }
    }
}
