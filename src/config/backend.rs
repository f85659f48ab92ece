//! `profiles:` and each `profile`, checked: which kinds of backends stand behind the gateway.
//!
//! What it does: reads the files of profiles, and finds the one profile that a backend and its endpoints name. What it refuses to know: what is
//! in a profile. Invariants: what is named is what is served, or an error; a name is one profile's alone; an endpoint that names
//! none is of the same kind as the others.

use std::path::Path;
use std::sync::Arc;

use super::backends::Doors;
use super::contents::{FileFault, read as read_bytes, tried};
use super::raw::RawCompression;
use super::report::{ConfigFindings, Content};
use crate::document::{Diagnostic, Spanned, name, names, nearest};
use crate::otlp::Signal;
use crate::profiles::Profile;
use crate::transform::IngestSettings;

/// The profiles that may be named.
pub(crate) struct KnownProfiles {
    own: Vec<Arc<Profile>>,
    /// Whether all files could be read: what an unread or refused one would be called is not known.
    all_read: bool,
}

impl KnownProfiles {
    pub(crate) fn of(report: &mut ConfigFindings<'_>, files: &[Spanned<String>]) -> Self {
        let before = report.found.len();
        let own = from_files(report, files);
        let all_read = report.found.len() == before && (report.reads_profiles || files.is_empty());
        KnownProfiles { own, all_read }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let own = self.own.iter().map(|profile| profile.name.as_str());
        Profile::NAMES.into_iter().chain(own)
    }

    /// The profile that is named at `subject`. One that is not known is refused; `None`.
    fn named(
        &self,
        report: &mut ConfigFindings<'_>,
        at: &Spanned<String>,
        subject: &str,
    ) -> Option<Arc<Profile>> {
        if self.names().any(|known| known == at.value) {
            return Some(glimpsed([at.value.as_str()], &self.own));
        }
        if self.all_read {
            let hint = match nearest(&at.value, self.names()) {
                Some(word) => format!("did you mean {}?", name(word)),
                None => format!(
                    "one of {}, or add its file to `profiles`",
                    names(self.names())
                ),
            };
            let message = format!("unknown word {} for `{subject}`", name(&at.value));
            report.error_with_hint(at, message, hint);
        }
        None
    }

    /// The profile of one backend: of `given`, which stands at `{subject}.profile`, or else of its endpoints. The first known
    /// one stands in for what is refused, so that the rest of the file can be checked; `false`: one does.
    pub(crate) fn of_backend(
        &self,
        report: &mut ConfigFindings<'_>,
        subject: &str,
        given: Option<&Spanned<String>>,
        doors: &Doors<'_>,
    ) -> (Arc<Profile>, bool) {
        let own = given.map(|at| (format!("{subject}.profile"), at));
        let at_doors = doors.each().into_iter().filter_map(|(which, door)| {
            Some((
                format!("{subject}.{which}.profile"),
                door?.value.profile.as_ref()?,
            ))
        });
        let mut first: Option<(String, &Spanned<String>, Arc<Profile>)> = None;
        let mut is_known = true;
        for (place, at) in own.into_iter().chain(at_doors) {
            let Some(profile) = self.named(report, at, &place) else {
                is_known = false;
                continue;
            };
            match &first {
                Some((known, named, _)) if named.value != at.value => {
                    let message = format!(
                        "`{place}` is {}, but `{known}` is {}",
                        name(&at.value),
                        name(&named.value)
                    );
                    let hint = if given.is_some() {
                        "a backend is of one kind: leave it out, or make it a backend of its own"
                    } else {
                        "a backend is of one kind: name the same, or list several under `backends`"
                    };
                    report.error_with_hint(at, message, hint);
                }
                Some(_) => {}
                None => first = Some((place, at, profile)),
            }
        }
        let profile = first.map_or_else(Profile::standard, |(_, _, profile)| profile);
        (profile, is_known)
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

/// What clients may ask of backends of all these profiles.
pub(crate) fn glimpsed_front<'n>(
    names: impl IntoIterator<Item = &'n str>,
    own: &[Arc<Profile>],
) -> Arc<Profile> {
    let all: Vec<Arc<Profile>> = names
        .into_iter()
        .map(|name| glimpsed([name], own))
        .collect();
    let first = all.iter().find(|one| one.has_query()).or(all.first());
    first.map_or_else(Profile::standard, |first| Profile::front(first, &all))
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

#[cfg(test)]
mod tests {
    use super::*;

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
        for unknown in ["", "Lightstep", "lightstep ", "acme-cloud", "../lightstep"] {
            assert!(Profile::named(unknown).is_none(), "{unknown:?}");
            assert_eq!(glimpsed([unknown], &[]).name, Profile::NAMES[0]);
        }
    }
}
