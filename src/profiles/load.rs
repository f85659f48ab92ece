//! From a profile's text to a `Profile`.
//!
//! What it does: checks every row of the YAML, tells every mistake in its place, and lays out the index that matching uses.
//! What it refuses to know: where the text comes from. Invariant: a table in which two rows could match one path, or
//! in which one permission is sensitive in one row and not in another, is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use http::{HeaderName, Method};

use super::answers::Answers;
use super::fault::{PlacedFault, ProfileFault};
use super::matching::{self, RowBucket};
use super::raw::{ProfileFile, RawAlertLayout, RawLegacy, RawOperation, RawScope};
use super::raw_ingest::IngestFile;
use super::{
    AlertLayout, Credential, IngestPath, LegacyReport, Operation, OperationId, PermissionId,
    Profile, RateRule, ResponseRule, Scope, Segment,
};
use super::{exports, parameters, tree};
use crate::document::{self, Diagnostic, Spanned};
use crate::lightstep::Format;
use crate::limits::Rate;
use crate::otlp::Signal;

impl Profile {
    /// Reads a profile that stands in `file`, which is only named. `Err`: all mistakes, each in its place.
    pub fn load(file: &Path, text: &str) -> Result<Profile, Vec<Diagnostic>> {
        let raw = document::load::<ProfileFile>(file, text)?;
        let mut found = Vec::new();
        let profile = build(raw, &mut found);
        if found.is_empty() {
            return Ok(profile);
        }
        let mut told: Vec<Diagnostic> = found.iter().map(|fault| fault.told(file)).collect();
        told.sort_by_key(|one| (one.line, one.column));
        told.truncate(MISTAKE_LIMIT);
        Err(told)
    }
}

/// The most mistakes that are told of one file.
const MISTAKE_LIMIT: usize = 100;

fn build(raw: ProfileFile, found: &mut Vec<PlacedFault>) -> Profile {
    let mut profile = Profile::empty(&raw.name.value);
    if !is_name(&profile.name) {
        found.push(ProfileFault::Name(profile.name.clone()).at(&raw.name));
    }
    let credentials = raw.credentials;
    let at_name = raw.name.as_ref().map(drop);
    if let Some(scheme) = credentials
        .access_token
        .as_ref()
        .and_then(|token| token.scheme.as_ref())
    {
        found.push(ProfileFault::TokenScheme.at(scheme));
    }
    profile.access_token_header = credentials
        .access_token
        .and_then(|token| kept(found, header(&token.header)));
    let names = parameters::names(&raw.parameters);
    let mut address = |given: Option<Spanned<String>>| {
        let read = given.map(|given| parameters::address(given, &raw.parameters));
        read.and_then(|read| kept(found, read)).unwrap_or_default()
    };
    profile.addresses.ingest = address(Some(raw.addresses.ingest));
    profile.addresses.grpc = address(raw.addresses.grpc);
    profile.addresses.query = address(raw.addresses.query);
    let (operations, places) = operations(raw.operations, found);
    profile.operations = operations;
    profile.alerts = raw
        .alerts
        .on()
        .map(|layout| alerts(layout, found))
        .unwrap_or_default();
    match (raw.query.on(), credentials.api_key) {
        (Some(query), Some(api_key)) => {
            profile.has_query = true;
            profile.tenant_header = kept(found, header(&query.tenant_header));
            if let Some(name) = kept(found, header(&api_key.header)) {
                profile.api_key_header = name;
            }
            profile.api_key_scheme = api_key.scheme.map(|scheme| scheme.value);
            profile.query_prefix = kept(found, prefix(query.prefix)).unwrap_or_default();
            let hosts = query.link_hosts.iter();
            profile.link_hosts = hosts.map(|host| host.to_ascii_lowercase()).collect();
            profile.rates = rates(query.rates, &profile.operations, &places, found);
        }
        (Some(_), None) => found.push(ProfileFault::NoKey.at(&at_name)),
        (None, _) => {
            if let Some(place) = places.get(Signal::ALL.len()) {
                found.push(ProfileFault::NeedsQuery("operations").at(place));
            }
        }
    }
    let mut raw_ingest = raw.ingest;
    let token = profile.access_token_header.clone();
    profile.exports = exports::read(&mut raw_ingest, token.as_ref(), &names, &at_name, found);
    parameters::read(&mut profile, raw.parameters, found);
    if let Some(at) = &raw_ingest.credential {
        profile.wants_credential = false;
        if !raw_ingest.legacy.is_empty() || !raw_ingest.legacy_grpc.is_empty() {
            found.push(ProfileFault::ReportsUnwanted.at(at));
        }
    }
    profile.answers = Answers::read(std::mem::take(&mut raw_ingest.answers), found);
    ingest(&mut profile, raw_ingest, found);
    found.extend(profile.without_ways(&at_name));
    number_permissions(&mut profile, &places, found);
    profile.buckets = buckets(&profile.operations, &places, found);
    tree::furnish(
        &mut profile,
        raw.ui.on(),
        raw.tree.on().unwrap_or_default(),
        found,
    );
    profile
}

/// The value, or the fault among the others.
fn kept<T>(found: &mut Vec<PlacedFault>, read: Result<T, PlacedFault>) -> Option<T> {
    read.map_err(|fault| found.push(fault)).ok()
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=63).contains(&text.len()) && text.bytes().all(allowed)
}

fn ingest(profile: &mut Profile, raw: IngestFile, found: &mut Vec<PlacedFault>) {
    for row in raw.http {
        let path = row.path.value;
        let (path, minor) = match path.strip_suffix("{minor}") {
            Some(path) => (path.to_owned(), true),
            None => (path, false),
        };
        let signal = Signal::from(row.signal);
        profile.ingest.push(IngestPath {
            path,
            minor,
            operation: export(signal),
            signal,
        });
    }
    for row in raw.grpc {
        let signal = Signal::from(row.signal);
        profile.grpc.push((row.path.value, export(signal), signal));
    }
    let mut paths: Vec<Spanned<String>> = raw.legacy.iter().map(|row| row.path.clone()).collect();
    let mut rows = |raw: Vec<RawLegacy>| -> Vec<LegacyReport> {
        let rows = raw.into_iter();
        rows.filter_map(|row| kept(found, legacy(row))).collect()
    };
    profile.legacy = rows(raw.legacy);
    profile.legacy_grpc = rows(raw.legacy_grpc);
    check_legacy(profile, &paths, found);
    paths.extend(raw.token_in_url.iter().cloned());
    profile.token_in_url = raw
        .token_in_url
        .into_iter()
        .map(|path| path.value)
        .collect();
    for path in paths {
        if profile.match_ingest(&path.value).is_some() {
            found.push(ProfileFault::ExportPath(path.value.clone()).at(&path));
        }
    }
}

fn alerts(raw: RawAlertLayout, found: &mut Vec<PlacedFault>) -> AlertLayout {
    let mut pointers = |given: Vec<Spanned<String>>| {
        for pointer in given.iter().filter(|one| !one.value.starts_with('/')) {
            found.push(ProfileFault::Pointer(pointer.value.clone()).at(pointer));
        }
        given.into_iter().map(|one| one.value).collect()
    };
    AlertLayout {
        id: pointers(raw.id),
        name: pointers(raw.name),
        state: pointers(raw.state),
        time: pointers(raw.time),
        states: raw.states,
    }
}

/// Of whole segments, so that what follows it is the organization.
fn prefix(text: Spanned<String>) -> Result<String, PlacedFault> {
    let segments = template(&text)?;
    let literal = segments
        .iter()
        .all(|segment| matches!(segment, Segment::Literal(_)));
    if literal {
        Ok(text.value)
    } else {
        Err(ProfileFault::Prefix(text.value.clone()).at(&text))
    }
}

fn header(name: &Spanned<String>) -> Result<HeaderName, PlacedFault> {
    HeaderName::from_bytes(name.value.as_bytes())
        .map_err(|_| ProfileFault::HeaderName(name.value.clone()).at(name))
}

fn legacy(raw: RawLegacy) -> Result<LegacyReport, PlacedFault> {
    let signal = Signal::from(raw.signal);
    let format = Format::ALL
        .into_iter()
        .find(|format| format.name() == raw.format.0);
    Ok(LegacyReport {
        format: format.ok_or_else(|| ProfileFault::ReportFormat(raw.format.0).at(&raw.path))?,
        operation: export(signal),
        signal,
        host: raw.upstream.into(),
        token: raw.token.into(),
        types: raw
            .types
            .iter()
            .map(|name| name.to_ascii_lowercase())
            .collect(),
        path: raw.path.value,
    })
}

/// One path and media type has one format.
fn check_legacy(profile: &Profile, paths: &[Spanned<String>], found: &mut Vec<PlacedFault>) {
    for (place, (row, path)) in profile.legacy.iter().zip(paths).enumerate() {
        let earlier = profile
            .legacy
            .iter()
            .take(place)
            .filter(|other| other.path == row.path);
        if row.types.is_empty()
            || earlier
                .flat_map(|other| &other.types)
                .any(|known| row.types.contains(known))
        {
            found.push(ProfileFault::ReportType(row.path.clone()).at(path));
        }
    }
}

/// The exports come first in the table, in the order of `Signal::ALL`.
fn export(signal: Signal) -> OperationId {
    OperationId(match signal {
        Signal::Traces => 0,
        Signal::Metrics => 1,
        Signal::Logs => 2,
    })
}

/// The rows, and the place of each one's path; those of exports have none.
fn operations(
    raw: Vec<RawOperation>,
    found: &mut Vec<PlacedFault>,
) -> (Vec<Operation>, Vec<Spanned<()>>) {
    let mut places = vec![Spanned::new((), 0, 0); Signal::ALL.len()];
    let mut operations: Vec<Operation> = Signal::ALL
        .iter()
        .map(|signal| Operation {
            id: export(*signal),
            permission: format!("ingest.{}", signal.name()),
            permission_id: PermissionId(0),
            sensitive: false,
            credential: Credential::AccessToken,
            scope: Scope::App,
            query_keys: Vec::new(),
            names_projects: Vec::new(),
            response: ResponseRule::Empty,
            rate: RateRule::default(),
            method: Method::POST,
            template: format!("OTLP {}", signal.name()),
            segments: Vec::new(),
        })
        .collect();
    for row in raw {
        let place = row.path.as_ref().map(drop);
        let Ok(id) = u16::try_from(operations.len()) else {
            found.push(ProfileFault::TooManyOperations.at(&place));
            break;
        };
        let read = template(&row.path).and_then(|segments| {
            let names_project = segments.contains(&Segment::Project);
            if matches!(row.scope, RawScope::Project) && !names_project {
                return Err(ProfileFault::NoProject(row.path.value.clone()).at(&place));
            }
            Ok((
                segments,
                response(&row.response.0).map_err(|fault| fault.at(&place))?,
            ))
        });
        let Some((segments, response)) = kept(found, read) else {
            continue;
        };
        places.push(place);
        operations.push(Operation {
            id: OperationId(id),
            permission: row.permission,
            permission_id: PermissionId(0),
            sensitive: row.sensitive,
            credential: row.key.into(),
            scope: row.scope.into(),
            query_keys: row.query_keys.into_iter().map(query_key).collect(),
            names_projects: row.names_projects,
            response,
            rate: row.rate.into(),
            method: row.method.into(),
            template: row.path.value,
            segments,
        });
    }
    (operations, places)
}

fn template(at: &Spanned<String>) -> Result<Vec<Segment>, PlacedFault> {
    let path = &at.value;
    let inner = path
        .strip_prefix('/')
        .ok_or_else(|| ProfileFault::NoSlash(path.clone()).at(at))?;
    inner
        .split('/')
        .map(|segment| {
            match segment
                .strip_prefix('{')
                .and_then(|rest| rest.strip_suffix('}'))
            {
                Some("project") => Ok(Segment::Project),
                Some(_) => Ok(Segment::Parameter),
                None if matching::is_value(segment) => Ok(Segment::Literal(segment.to_owned())),
                None => Err(ProfileFault::Segment(path.clone()).at(at)),
            }
        })
        .collect()
}

/// Sorts the permissions' names, the gateway's own among them, gives each operation its number, and holds that
/// sensitivity is a permission's.
fn number_permissions(profile: &mut Profile, places: &[Spanned<()>], found: &mut Vec<PlacedFault>) {
    let mut sensitive: BTreeMap<String, bool> = super::OWN_PERMISSIONS
        .iter()
        .map(|name| ((*name).to_owned(), true))
        .collect();
    for (operation, place) in profile.operations.iter().zip(places) {
        let name = &operation.permission;
        let mut words = name.split('.');
        let fault = if name.starts_with("gateway.") {
            ProfileFault::OwnPermission(name.clone())
        } else if words.any(|word| word.is_empty() || word.contains('*')) {
            ProfileFault::PermissionName(name.clone())
        } else if *sensitive.entry(name.clone()).or_insert(operation.sensitive)
            != operation.sensitive
        {
            ProfileFault::Sensitivity(name.clone())
        } else {
            continue;
        };
        found.push(fault.at(place));
    }
    (profile.permissions, profile.sensitive) = sensitive.into_iter().unzip();
    let permissions = std::mem::take(&mut profile.permissions);
    for (operation, place) in profile.operations.iter_mut().zip(places) {
        let number = permissions
            .binary_search(&operation.permission)
            .unwrap_or(usize::MAX);
        match u16::try_from(number) {
            Ok(number) => operation.permission_id = PermissionId(number),
            // Of what was refused above, or of too many.
            Err(_) if found.is_empty() => found.push(ProfileFault::TooManyPermissions.at(place)),
            Err(_) => {}
        }
    }
    profile.permissions = permissions;
}

/// Groups the query rows by method and length, and picks for each group the segment that tells most rows apart.
fn buckets(
    operations: &[Operation],
    places: &[Spanned<()>],
    found: &mut Vec<PlacedFault>,
) -> Vec<RowBucket> {
    let mut groups: BTreeMap<(String, usize), Vec<&Operation>> = BTreeMap::new();
    for operation in operations
        .iter()
        .filter(|operation| !operation.segments.is_empty())
    {
        groups
            .entry((operation.method.to_string(), operation.segments.len()))
            .or_default()
            .push(operation);
    }
    let mut buckets = Vec::new();
    for ((_, length), rows) in groups {
        for (place, one) in rows.iter().enumerate() {
            if let Some(other) = rows
                .iter()
                .skip(place + 1)
                .find(|row| matching::overlap(&one.segments, &row.segments))
            {
                let fault = ProfileFault::Overlap {
                    method: one.method.clone(),
                    one: one.template.clone(),
                    other: other.template.clone(),
                };
                found.extend(places.get(usize::from(other.id.0)).map(|at| fault.at(at)));
            }
        }
        let literal = |row: &Operation, place: usize| match row.segments.get(place) {
            Some(Segment::Literal(literal)) => Some(literal.clone()),
            _ => None,
        };
        let variety = |place: &usize| {
            rows.iter()
                .filter_map(|row| literal(row, *place))
                .collect::<BTreeSet<_>>()
                .len()
        };
        let Some(first) = rows.first() else { continue };
        let pivot = (0..length).max_by_key(variety).unwrap_or(0);
        buckets.push(RowBucket {
            method: first.method.clone(),
            segments: length,
            pivot,
            rows: rows
                .iter()
                .map(|row| (literal(row, pivot), row.id))
                .collect(),
        });
    }
    buckets
}

fn response(text: &str) -> Result<ResponseRule, ProfileFault> {
    let known = ResponseRule::ALL.iter().find(|(name, _)| *name == text);
    known
        .map(|(_, rule)| *rule)
        .ok_or_else(|| ProfileFault::Shape(text.to_owned()))
}

/// Reads the classes' rates, and holds that every operation's class is one of them.
fn rates(
    raw: BTreeMap<String, Spanned<String>>,
    operations: &[Operation],
    places: &[Spanned<()>],
    found: &mut Vec<PlacedFault>,
) -> Vec<(Arc<str>, Rate)> {
    let mut rates: Vec<(Arc<str>, Rate)> = Vec::with_capacity(raw.len());
    for (operation, place) in operations.iter().zip(places).skip(Signal::ALL.len()) {
        let mut classes = operation.rate.classes();
        if let Some(class) = classes.find(|class| !raw.contains_key(class.as_ref())) {
            found.push(ProfileFault::NoRate(class.to_string()).at(place));
        }
    }
    for (class, text) in raw {
        match Rate::parse(&text.value) {
            Some(rate) => rates.push((Arc::from(class), rate)),
            None => found.push(ProfileFault::Rate(text.value.clone()).at(&text)),
        }
    }
    rates
}

/// `percentile*` may repeat, `limit` may not.
fn query_key(text: String) -> super::QueryKey {
    match text.strip_suffix('*') {
        Some(name) => super::QueryKey {
            name: name.to_owned(),
            repeats: true,
        },
        None => super::QueryKey {
            name: text,
            repeats: false,
        },
    }
}
