//! `profiles:` and `upstreams.*.profile`, checked: which kind of backend stands behind the gateway.
//!
//! What it does: reads the files of profiles, and finds the one profile that the upstreams name. What it refuses to know: what is
//! in a profile. Invariants: what is named is what is served, or an error; a name is one profile's alone; an upstream that names
//! none is of the same kind as the others.

use std::path::Path;
use std::sync::Arc;

use super::contents::{FileFault, read as read_bytes, tried};
use super::raw::{RawCompression, RawConfig, RawService, RawUpstreams};
use super::report::{ConfigFindings, Content};
use crate::document::{Diagnostic, Spanned, name, names, nearest};
use crate::otlp::Signal;
use crate::profiles::Profile;
use crate::transform::IngestSettings;

/// The profile of all upstreams. A name that is not known is refused; the first known one stands in for it, so that the rest of
/// the file can be checked.
pub(crate) fn profile(
    report: &mut ConfigFindings<'_>,
    files: &[Spanned<String>],
    upstreams: &RawUpstreams,
) -> Arc<Profile> {
    let before = report.found.len();
    let own = from_files(report, files);
    // What an unread or refused file would be called is not known.
    let all_read = report.found.len() == before && (report.reads_profiles || files.is_empty());
    let doors = [
        ("ingest", &upstreams.ingest),
        ("query", &upstreams.query),
        ("collector", &upstreams.collector),
        ("logs", &upstreams.logs),
    ];
    let given: Vec<(&str, &Spanned<String>)> = doors
        .iter()
        .filter_map(|(which, door)| Some((*which, door.as_ref()?.profile.as_ref()?)))
        .collect();
    let known: Vec<&str> = Profile::NAMES
        .into_iter()
        .chain(own.iter().map(|profile| profile.name.as_str()))
        .collect();
    let is_known = |at: &Spanned<String>| known.contains(&at.value.as_str());
    for (which, at) in given.iter().filter(|(_, at)| all_read && !is_known(at)) {
        let hint = match nearest(&at.value, known.iter().copied()) {
            Some(word) => format!("did you mean {}?", name(word)),
            None => format!(
                "one of {}, or add its file to `profiles`",
                names(known.iter().copied())
            ),
        };
        let message = format!(
            "unknown word {} for `upstreams.{which}.profile`",
            name(&at.value)
        );
        report.error_with_hint(at, message, hint);
    }
    let sound = given.into_iter().filter(|(_, at)| is_known(at));
    let sound: Vec<(&str, &Spanned<String>)> = sound.collect();
    let names: Vec<&str> = sound.iter().map(|(_, at)| at.value.as_str()).collect();
    if let Some(odd) = odd_one(&names)
        && let (Some((first, named)), Some((which, at))) = (sound.first(), sound.get(odd))
    {
        let message = format!(
            "`upstreams.{which}.profile` is {}, but `upstreams.{first}.profile` is {}",
            name(&at.value),
            name(&named.value)
        );
        report.error_with_hint(
            at,
            message,
            "one gateway serves one kind of backend: name the same, or run another",
        );
    }
    glimpsed(names, &own)
}

/// What has no use where the backend has no query API.
pub(crate) fn without_query(report: &mut ConfigFindings<'_>, raw: &RawConfig, profile: &Profile) {
    let why = format!("profile {} has no query API", name(&profile.name));
    let listed = raw.listeners.iter().filter_map(|one| one.serves.as_ref());
    for at in listed
        .flatten()
        .filter(|one| one.value == RawService::Query)
    {
        let message = format!("`query` cannot be served: {why}");
        report.error_with_hint(at, message, "leave `query` out of `serves`");
    }
    if let Some(query) = &raw.upstreams.query {
        let message = format!("`upstreams.query` has no use: {why}");
        report.error_with_hint(&query.url, message, "remove it");
    }
}

/// A compression that the backend does not take for some signal.
pub(crate) fn compression(
    report: &mut ConfigFindings<'_>,
    raw: Option<&Spanned<RawCompression>>,
    ingest: &IngestSettings,
    profile: &Profile,
) {
    let takes = |signal: &Signal| {
        let accepts = profile.exports(*signal).accepts;
        let asked = ingest.compression.coding();
        asked.is_none_or(|coding| coding.is_taken(accepts))
    };
    let refused = Signal::ALL.into_iter().find(|signal| !takes(signal));
    if let (Some(signal), Some(at)) = (refused, raw) {
        let message = format!(
            "the backend of profile {} does not take {} in this `ingest.compression`",
            name(&profile.name),
            signal.name()
        );
        report.error_with_hint(
            at,
            message,
            "remove it: what is not taken goes out as `gzip` or `identity`",
        );
    }
}

/// The first profile of these names that is known, or the default.
pub(crate) fn glimpsed<'n>(
    names: impl IntoIterator<Item = &'n str>,
    own: &[Arc<Profile>],
) -> Arc<Profile> {
    let of_files = |name: &str| own.iter().find(|profile| profile.name == name).cloned();
    names
        .into_iter()
        .find_map(|name| Profile::named(name).or_else(|| of_files(name)))
        .unwrap_or_else(Profile::standard)
}

/// Why a file is no profile.
pub(crate) enum ProfileFileFault {
    /// It cannot be had.
    Unread(FileFault),
    /// Its mistakes.
    Wrong(Vec<Diagnostic>),
}

/// The profile in this file.
pub(crate) fn read(file: &Path) -> Result<Arc<Profile>, ProfileFileFault> {
    let bytes = read_bytes(file, tried(file)).map_err(ProfileFileFault::Unread)?;
    let text = str::from_utf8(&bytes)
        .map_err(|_| ProfileFileFault::Unread("names a file that is not text in UTF-8".into()))?;
    match Profile::load(file, text) {
        Ok(profile) => Ok(Arc::new(profile)),
        Err(found) => Err(ProfileFileFault::Wrong(found)),
    }
}

/// The profiles of these files, each of another name.
fn from_files(report: &mut ConfigFindings<'_>, files: &[Spanned<String>]) -> Vec<Arc<Profile>> {
    let mut own: Vec<(usize, Arc<Profile>)> = Vec::new();
    for (place, at) in files.iter().enumerate() {
        let subject = format!("profiles[{place}]");
        let Some(file) = report.path(at, &subject, Content::Profile) else {
            continue;
        };
        if !report.reads_profiles {
            continue;
        }
        let profile = match read(&file) {
            Ok(profile) => profile,
            Err(ProfileFileFault::Unread(FileFault(words, hint))) => {
                let message = format!("`{subject}` {words}");
                match hint {
                    Some(hint) => report.error_with_hint(at, message, hint),
                    None => report.error(at, message),
                }
                continue;
            }
            Err(ProfileFileFault::Wrong(found)) => {
                report.found.extend(found);
                continue;
            }
        };
        let earlier = own.iter().find(|(_, one)| one.name == profile.name);
        let whose = match earlier {
            Some((other, _)) => format!("`profiles[{other}]`"),
            None if Profile::NAMES.contains(&profile.name.as_str()) => {
                "a built-in profile".to_owned()
            }
            None => {
                own.push((place, profile));
                continue;
            }
        };
        let message = format!(
            "the profile of `{subject}` is called {}, as {whose} is",
            name(&profile.name)
        );
        report.error_with_hint(at, message, "give it another `name`");
    }
    own.into_iter().map(|(_, profile)| profile).collect()
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
            assert_eq!(glimpsed(["unknown", known], &[]).name, known);
        }
        for unknown in ["", "Lightstep", "lightstep ", "honeycomb", "../lightstep"] {
            assert!(Profile::named(unknown).is_none(), "{unknown:?}");
            assert_eq!(glimpsed([unknown], &[]).name, Profile::NAMES[0]);
        }
    }
}
