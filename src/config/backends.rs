//! `upstreams:`, or `backends:` and `default_backend:`, checked.
//!
//! What it does: brings both forms into one, says which backend is which, and what clients may ask of all of them. What it
//! refuses to know: which app's data goes where, and what profiles' parameters mean. Invariants: there is at least one backend;
//! each name is one backend's; all that are queried have one query API.

use std::sync::Arc;
use std::time::Duration;

use super::backend::KnownProfiles;
use super::raw::{RawBackend, RawConfig, RawListener, RawService, RawUpstream, RawUpstreams};
use super::report::{ConfigFindings, OWN_NAME_FORM, is_own_name};
use super::upstreams::upstream;
use crate::apps::BackendNames;
use crate::document::{Entries, Spanned, name, names, nearest};
use crate::egress::Egress;
use crate::profiles::Profile;
use crate::state::{BackendSettings, Upstreams};

/// The endpoints of one backend, as written.
#[derive(Clone, Copy, Default)]
pub(crate) struct Doors<'r> {
    pub ingest: Option<&'r Spanned<RawUpstream>>,
    pub grpc: Option<&'r Spanned<RawUpstream>>,
    pub query: Option<&'r Spanned<RawUpstream>>,
    pub collector: Option<&'r Spanned<RawUpstream>>,
    pub logs: Option<&'r Spanned<RawUpstream>>,
}

impl<'r> Doors<'r> {
    fn of_upstreams(raw: &'r RawUpstreams) -> Self {
        Doors {
            ingest: raw.ingest.as_ref(),
            grpc: raw.grpc.as_ref(),
            query: raw.query.as_ref(),
            collector: raw.collector.as_ref(),
            logs: raw.logs.as_ref(),
        }
    }

    fn of_backend(raw: &'r RawBackend) -> Self {
        Doors {
            ingest: raw.ingest.as_ref(),
            grpc: raw.grpc.as_ref(),
            query: raw.query.as_ref(),
            collector: raw.collector.as_ref(),
            logs: raw.logs.as_ref(),
        }
    }

    /// With their keys.
    pub(crate) fn each(&self) -> [(&'static str, Option<&'r Spanned<RawUpstream>>); 5] {
        [
            ("ingest", self.ingest),
            ("grpc", self.grpc),
            ("query", self.query),
            ("collector", self.collector),
            ("logs", self.logs),
        ]
    }
}

/// One backend, as written in either form.
pub(crate) struct WrittenBackend<'r> {
    pub name: Arc<str>,
    /// What its keys are called: `upstreams`, `backends.honey`.
    pub subject: String,
    /// Where its name stands; the short form has none.
    pub at: Option<&'r Spanned<String>>,
    pub profile: Arc<Profile>,
    /// Whether the profile is the one that was named. If not, that was told: what another one would want is not.
    pub is_known: bool,
    /// Whether the profile has no place left open. If not, that was told: what is missing for it is not.
    is_filled: bool,
    pub doors: Doors<'r>,
    /// Where exports go, if that is not written but in the profile.
    implied: Option<Spanned<RawUpstream>>,
    /// The same over gRPC, if that is elsewhere.
    implied_grpc: Option<Spanned<RawUpstream>>,
}

impl WrittenBackend<'_> {
    /// Where exports go.
    pub(crate) fn ingest(&self) -> Option<&Spanned<RawUpstream>> {
        self.doors.ingest.or(self.implied.as_ref())
    }

    /// Where exports over gRPC go, if elsewhere.
    fn grpc(&self) -> Option<&Spanned<RawUpstream>> {
        self.doors.grpc.or(self.implied_grpc.as_ref())
    }

    /// Whether it can be asked.
    fn is_queried(&self) -> bool {
        self.profile.has_query() && self.doors.query.is_some()
    }

    /// Whether its address would have come from the profile, if that were the right one and whole.
    fn lacks_its_profiles(&self, door: &Spanned<RawUpstream>) -> bool {
        door.value.url.is_none() && !(self.is_known && self.is_filled)
    }
}

/// All of them.
pub(crate) struct WrittenBackends<'r> {
    pub list: Vec<WrittenBackend<'r>>,
    pub names: BackendNames,
    /// What clients may ask.
    pub front: Arc<Profile>,
}

impl<'r> WrittenBackends<'r> {
    pub(crate) fn read(report: &mut ConfigFindings<'_>, raw: &'r RawConfig) -> Self {
        let known = KnownProfiles::of(report, &raw.profiles);
        let list = match (&raw.upstreams, &raw.backends) {
            (Some(_), Some(at)) => {
                report.error_with_hint(
                    at,
                    "there are both `upstreams` and `backends`",
                    "make what stands under `upstreams` one of the `backends`",
                );
                several(report, &known, &at.value)
            }
            (None, Some(at)) => {
                if at.value.0.is_empty() {
                    report.error_with_hint(
                        at,
                        "`backends` is empty",
                        "name one: `backends: { main: { profile: otlp, ingest: { url: … } } }`",
                    );
                }
                several(report, &known, &at.value)
            }
            (upstreams, None) => vec![only(report, &known, upstreams.as_ref())],
        };
        let list = if list.is_empty() {
            vec![only(report, &known, None)]
        } else {
            list
        };
        let mut names = BackendNames::new(list.iter().map(|one| one.name.clone()));
        default(report, raw, &mut names);
        let is_default = |one: &&WrittenBackend<'_>| names.find(&one.name) == Some(names.default);
        let in_order = || {
            let first = list.iter().filter(is_default);
            first.chain(list.iter().filter(|one| !is_default(one)))
        };
        let asked = in_order()
            .find(|one| one.is_queried())
            .or_else(|| in_order().find(|one| one.profile.has_query()))
            .or_else(|| in_order().next());
        let queried = asked.and_then(|one| names.find(&one.name));
        let front = match asked {
            Some(asked) => Profile::front(&asked.profile, in_order().map(|one| &one.profile)),
            None => Profile::standard(),
        };
        names.queried = queried.unwrap_or(names.default);
        let written = WrittenBackends { list, names, front };
        written.one_query_api(report);
        written
    }

    /// The one that is asked about the organization.
    pub(crate) fn queried(&self) -> Option<&WrittenBackend<'r>> {
        self.list.get(self.names.queried.place())
    }

    /// Whether each profile is the one that was named, so that what all of them have together is known.
    pub(crate) fn are_all_known(&self) -> bool {
        self.list.iter().all(|one| one.is_known)
    }

    fn one_query_api(&self, report: &mut ConfigFindings<'_>) {
        let Some(asked) = self.queried().filter(|asked| asked.is_known) else {
            return;
        };
        let known = self.list.iter().filter(|one| one.is_known);
        for other in known.filter(|one| one.is_queried()) {
            if let Some(door) = other.doors.query
                && other.profile.name != asked.profile.name
            {
                let message = format!(
                    "`{}.query` has the query API of profile {}, but `{}.query` has that of {}",
                    other.subject,
                    name(&other.profile.name),
                    asked.subject,
                    name(&asked.profile.name)
                );
                report.error_with_hint(
                    &place(door),
                    message,
                    "one gateway has one query API: leave `query` out of one of them",
                );
            }
        }
    }

    /// The settings of all.
    pub(crate) fn checked(
        &self,
        report: &mut ConfigFindings<'_>,
        egress: &Egress,
    ) -> Vec<BackendSettings> {
        let list = self.list.iter();
        list.map(|one| settings(report, one, egress)).collect()
    }

    /// What has no use where backends have no query API.
    pub(crate) fn without_query(&self, report: &mut ConfigFindings<'_>, raw: &RawConfig) {
        let why = |profile: &Profile| format!("profile {} has no query API", name(&profile.name));
        if !self.front.has_query() {
            let listed = raw.listeners.iter().filter_map(|one| one.serves.as_ref());
            let served = listed
                .flatten()
                .filter(|one| one.value == RawService::Query);
            for at in served {
                let why = if self.names.are_several() {
                    "no backend has a query API".to_owned()
                } else {
                    why(&self.front)
                };
                let message = format!("`query` cannot be served: {why}");
                report.error_with_hint(at, message, "leave `query` out of `serves`");
            }
        }
        for one in self.list.iter().filter(|one| !one.profile.has_query()) {
            if let Some(query) = one.doors.query {
                let message = format!("`{}.query` has no use: {}", one.subject, why(&one.profile));
                report.error_with_hint(&place(query), message, "remove it");
            }
        }
    }

    /// Endpoints that some listener needs.
    pub(crate) fn needed(&self, report: &mut ConfigFindings<'_>, raw: &RawConfig) {
        for one in self.list.iter().filter(|one| one.is_known) {
            let doors = &one.doors;
            let reports = doors.collector.is_some() && doors.logs.is_some();
            let exports = one.ingest().is_some() || !one.is_filled;
            let is_asked = self.queried().is_some_and(|asked| asked.name == one.name);
            let (ingest, query) = (&one.profile.addresses.ingest, &one.profile.addresses.query);
            let needed = [
                (RawService::Ingest, "ingest", "ingest", !exports, ingest),
                (
                    RawService::Legacy,
                    "legacy",
                    "ingest",
                    !exports && !reports,
                    ingest,
                ),
                (
                    RawService::Query,
                    "query",
                    "query",
                    is_asked && one.profile.has_query() && doors.query.is_none(),
                    query,
                ),
            ];
            for (service, word, door, is_missing, url) in needed {
                let listeners = raw.listeners.iter().filter(|_| is_missing);
                for listener in listeners {
                    missing(report, one, listener, (service, word, door), url);
                }
            }
        }
    }
}

/// An endpoint that this listener needs is not there.
fn missing(
    report: &mut ConfigFindings<'_>,
    one: &WrittenBackend<'_>,
    listener: &RawListener,
    (service, word, door): (RawService, &str, &str),
    url: &str,
) {
    let hint = match one.at {
        None => format!(
            "add `upstreams: {{ {door}: {{ url: {url} }} }}`, or leave `{word}` out of `serves`"
        ),
        Some(_) => format!(
            "add `{door}: {{ url: {url} }}` to `{}`, or leave `{word}` out of `serves`",
            one.subject
        ),
    };
    let message = format!(
        "listener {} serves `{word}`, but there is no `{}.{door}`",
        name(&listener.name.value),
        one.subject
    );
    match &listener.serves {
        // Said of `ingest` already.
        None if service == RawService::Legacy => {}
        None => report.error_with_hint(&listener.name, message, hint),
        Some(given) => {
            if let Some(at) = given.iter().find(|given| given.value == service) {
                report.error_with_hint(at, message, hint);
            }
        }
    }
}

/// The short form.
fn only<'r>(
    report: &mut ConfigFindings<'_>,
    known: &KnownProfiles,
    raw: Option<&'r RawUpstreams>,
) -> WrittenBackend<'r> {
    let doors = raw.map(Doors::of_upstreams).unwrap_or_default();
    let (profile, is_known) = known.of_backend(report, "upstreams", None, &doors);
    let mut written = doors.each().into_iter().filter_map(|(_, door)| door);
    let at = written.next().map(place);
    let with = raw.map(|raw| &raw.with);
    let (profile, is_filled) = filled(report, (profile, is_known), with, at.as_ref());
    let implied_grpc = doors
        .ingest
        .and_then(|at| grpc_address(&profile, &doors, at));
    WrittenBackend {
        name: Arc::from(BackendNames::ONLY),
        subject: "upstreams".to_owned(),
        at: None,
        profile: reached(profile, doors.grpc.is_some() || implied_grpc.is_some()),
        is_known,
        is_filled,
        doors,
        implied: None,
        implied_grpc,
    }
}

/// Where what is said of an endpoint stands.
fn place(door: &Spanned<RawUpstream>) -> Spanned<()> {
    match &door.value.url {
        Some(url) => url.as_ref().map(drop),
        None => door.as_ref().map(drop),
    }
}

fn several<'r>(
    report: &mut ConfigFindings<'_>,
    known: &KnownProfiles,
    raw: &'r Entries<RawBackend>,
) -> Vec<WrittenBackend<'r>> {
    if let Some((surplus, _)) = raw.0.get(BackendNames::LIMIT) {
        report.error(
            surplus,
            format!("there are at most {} backends", BackendNames::LIMIT),
        );
    }
    let mut list: Vec<WrittenBackend<'r>> = Vec::with_capacity(raw.0.len());
    for (at, backend) in raw.0.iter().take(BackendNames::LIMIT) {
        if !is_own_name(&at.value) {
            report.error(at, format!("a backend's name must be {OWN_NAME_FORM}"));
        }
        let subject = format!("backends.{}", at.value);
        let doors = Doors::of_backend(backend);
        let (profile, is_known) =
            known.of_backend(report, &subject, Some(&backend.profile), &doors);
        let at_profile = backend.profile.as_ref().map(drop);
        let (with, at_profile) = (Some(&backend.with), Some(&at_profile));
        let (profile, is_filled) = filled(report, (profile, is_known), with, at_profile);
        let implied = doors.ingest.is_none().then(|| address(&profile, at));
        let implied_grpc = grpc_address(&profile, &doors, at);
        list.push(WrittenBackend {
            name: Arc::from(at.value.as_str()),
            subject,
            at: Some(at),
            implied: implied.flatten(),
            profile: reached(profile, doors.grpc.is_some() || implied_grpc.is_some()),
            implied_grpc,
            is_known,
            is_filled,
            doors,
        });
    }
    list
}

/// Where a profile says that exports go, if that is a real address.
fn address(profile: &Profile, at: &Spanned<String>) -> Option<Spanned<RawUpstream>> {
    let url = profile.addresses.usual_ingest()?;
    Some(implied(url, at))
}

/// The profile as far as the backend can be reached: where gRPC has an address of its own that is not known, all goes over HTTP.
fn reached(profile: Arc<Profile>, has_grpc: bool) -> Arc<Profile> {
    match has_grpc || profile.addresses.grpc.is_empty() {
        true => profile,
        false => Arc::new(profile.over_http()),
    }
}

/// Where a profile says that exports over gRPC go, if that is a real address, and the configuration does not say where others go.
fn grpc_address<T>(
    profile: &Profile,
    doors: &Doors<'_>,
    at: &Spanned<T>,
) -> Option<Spanned<RawUpstream>> {
    let given = doors.ingest.is_some_and(|door| door.value.url.is_some());
    let url = profile.addresses.usual_grpc()?;
    (!given && doors.grpc.is_none()).then(|| implied(url, at))
}

fn implied<T>(url: &str, at: &Spanned<T>) -> Spanned<RawUpstream> {
    at.as_ref().map(|_| RawUpstream {
        profile: None,
        url: Some(at.as_ref().map(|_| url.to_owned())),
        ca: None,
        client: None,
        proxy: None,
        timeouts: Default::default(),
        ui: None,
    })
}

/// The profile with the values that are given for its parameters, and whether they fit. `at`: where a value that is not there is
/// told of. What stands in for another profile has other parameters, and is left as it is.
fn filled(
    report: &mut ConfigFindings<'_>,
    (profile, is_known): (Arc<Profile>, bool),
    with: Option<&Entries<Spanned<String>>>,
    at: Option<&Spanned<()>>,
) -> (Arc<Profile>, bool) {
    if !is_known {
        return (profile, false);
    }
    let entries = || with.into_iter().flatten();
    let given: Vec<(&str, &str)> = entries()
        .map(|(name, value)| (name.value.as_str(), value.value.as_str()))
        .collect();
    let faults = match profile.filled(&given) {
        Ok(filled) => return (filled, true),
        Err(faults) => faults,
    };
    for fault in faults {
        let value = entries()
            .find(|(name, _)| name.value == fault.name())
            .map(|(_, value)| value);
        let value = value.filter(|_| fault.is_of_a_value());
        let value = value.map(|value| value.as_ref().map(drop));
        if let Some(at) = value.as_ref().or(at) {
            report.error_with_hint(at, fault.to_string(), fault.hint());
        }
    }
    (profile, false)
}

/// Says which of several backends is the default one.
fn default(report: &mut ConfigFindings<'_>, raw: &RawConfig, names_of: &mut BackendNames) {
    let known = || names_of.iter().map(|(_, known)| &**known);
    match (&raw.default_backend, &raw.backends) {
        (Some(at), _) => {
            let found = names_of.find(&at.value);
            if found.is_none() {
                let hint = match nearest(&at.value, known()) {
                    Some(word) => format!("did you mean {}?", name(word)),
                    None => format!("one of {}", names(known())),
                };
                let message = format!("unknown word {} for `default_backend`", name(&at.value));
                report.error_with_hint(at, message, hint);
            }
            names_of.default = found.unwrap_or_default();
        }
        (None, Some(at)) if names_of.are_several() => {
            let hint = format!(
                "add `default_backend`: one of {}, for the data of apps that name none",
                names(known())
            );
            report.error_with_hint(
                at,
                "there are several backends, and no `default_backend`",
                hint,
            );
        }
        _ => {}
    }
}

fn settings(
    report: &mut ConfigFindings<'_>,
    written: &WrittenBackend<'_>,
    egress: &Egress,
) -> BackendSettings {
    let mut door = |raw: Option<&Spanned<RawUpstream>>, which: &str, read_seconds: u64| {
        let raw = raw.filter(|door| !written.lacks_its_profiles(door))?;
        upstream(
            report,
            &format!("{}.{which}", written.subject),
            raw,
            Duration::from_secs(read_seconds),
            egress,
            &written.profile,
        )
    };
    BackendSettings {
        name: written.name.clone(),
        profile: written.profile.clone(),
        upstreams: Upstreams {
            ingest: door(written.ingest(), "ingest", 30),
            grpc: door(written.grpc(), "grpc", 30),
            // Queries may take long: Terraform's client waits 60 s.
            query: door(written.doors.query, "query", 60),
            collector: door(written.doors.collector, "collector", 30),
            logs: door(written.doors.logs, "logs", 30),
        },
    }
}
