//! From a profile's text to a `Profile`.
//!
//! What it does: checks every row of the YAML, and lays out the index that matching uses.
//! What it refuses to know: where the text comes from. Invariant: a table in which two rows could match one path, or
//! in which one permission is sensitive in one row and not in another, is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::{HeaderName, Method};

use super::matching::{self, RowBucket};
use super::raw::{ProfileFile, RawLegacy, RawOperation, RawScope};
use super::tree;
use super::{
    AlertLayout, Credential, IngestPath, LegacyReport, Operation, OperationId, PermissionId,
    Profile, ProfileFault, RateRule, ResponseRule, Scope, Segment,
};
use crate::lightstep::Format;
use crate::limits::Rate;
use crate::otlp::Signal;

impl Profile {
    /// Reads a profile.
    pub fn parse(text: &str) -> Result<Profile, ProfileFault> {
        let raw: ProfileFile =
            serde_saphyr::from_str(text).map_err(|error| ProfileFault::Yaml(Box::new(error)))?;
        if raw.credentials.access_token.scheme.is_some() {
            return Err(ProfileFault::TokenScheme);
        }
        let mut profile = Profile {
            addresses: raw.addresses.checked()?,
            tenant_header: header(&raw.query.tenant_header)?,
            access_token_header: header(&raw.credentials.access_token.header)?,
            api_key_header: header(&raw.credentials.api_key.header)?,
            api_key_scheme: raw.credentials.api_key.scheme,
            query_prefix: prefix(raw.query.prefix)?,
            link_hosts: raw
                .query
                .link_hosts
                .iter()
                .map(|host| host.to_ascii_lowercase())
                .collect(),
            alerts: alerts(raw.alerts)?,
            operations: operations(raw.operations)?,
            ..Profile::empty(&raw.name)
        };
        profile.rates = rates(raw.query.rates, &profile.operations)?;
        for row in raw.ingest.http {
            let (path, minor) = match row.path.strip_suffix("{minor}") {
                Some(path) => (path.to_owned(), true),
                None => (row.path, false),
            };
            let signal = Signal::from(row.signal);
            profile.ingest.push(IngestPath {
                path,
                minor,
                operation: export(signal),
                signal,
            });
        }
        for row in raw.ingest.grpc {
            let signal = Signal::from(row.signal);
            profile.grpc.push((row.path, export(signal), signal));
        }
        profile.legacy = raw
            .ingest
            .legacy
            .into_iter()
            .map(legacy)
            .collect::<Result<_, _>>()?;
        profile.legacy_grpc = raw
            .ingest
            .legacy_grpc
            .into_iter()
            .map(legacy)
            .collect::<Result<_, _>>()?;
        profile.token_in_url = raw.ingest.token_in_url;
        check_legacy(&profile)?;
        number_permissions(&mut profile)?;
        profile.buckets = buckets(&profile.operations)?;
        tree::furnish(&mut profile, raw.ui, raw.tree)?;
        Ok(profile)
    }
}

fn alerts(layout: AlertLayout) -> Result<AlertLayout, ProfileFault> {
    for pointer in [&layout.id, &layout.name, &layout.state, &layout.time]
        .into_iter()
        .flatten()
    {
        if !pointer.starts_with('/') {
            return Err(ProfileFault::Pointer(pointer.clone()));
        }
    }
    Ok(layout)
}

/// Of whole segments, so that what follows it is the organization.
fn prefix(text: String) -> Result<String, ProfileFault> {
    let segments = template(&text)?;
    let literal = segments
        .iter()
        .all(|segment| matches!(segment, Segment::Literal(_)));
    if literal {
        Ok(text)
    } else {
        Err(ProfileFault::Prefix(text))
    }
}

fn header(name: &str) -> Result<HeaderName, ProfileFault> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| ProfileFault::HeaderName(name.to_owned()))
}

fn legacy(raw: RawLegacy) -> Result<LegacyReport, ProfileFault> {
    let signal = Signal::from(raw.signal);
    let format = Format::ALL
        .into_iter()
        .find(|format| format.name() == raw.format);
    Ok(LegacyReport {
        format: format.ok_or(ProfileFault::ReportFormat(raw.format))?,
        operation: export(signal),
        signal,
        host: raw.upstream.into(),
        token: raw.token.into(),
        types: raw
            .types
            .iter()
            .map(|name| name.to_ascii_lowercase())
            .collect(),
        path: raw.path,
    })
}

/// One path and media type has one format, and no path is also an export's.
fn check_legacy(profile: &Profile) -> Result<(), ProfileFault> {
    for (place, row) in profile.legacy.iter().enumerate() {
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
            return Err(ProfileFault::ReportType(row.path.clone()));
        }
    }
    let paths = profile
        .legacy
        .iter()
        .map(|row| &row.path)
        .chain(&profile.token_in_url);
    for path in paths {
        if profile.match_ingest(path).is_some() {
            return Err(ProfileFault::ExportPath(path.clone()));
        }
    }
    Ok(())
}

/// The exports come first in the table, in the order of `Signal::ALL`.
fn export(signal: Signal) -> OperationId {
    OperationId(match signal {
        Signal::Traces => 0,
        Signal::Metrics => 1,
        Signal::Logs => 2,
    })
}

fn operations(raw: Vec<RawOperation>) -> Result<Vec<Operation>, ProfileFault> {
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
        let id = u16::try_from(operations.len()).map_err(|_| ProfileFault::TooManyOperations)?;
        let segments = template(&row.path)?;
        let names_project = segments.contains(&Segment::Project);
        if matches!(row.scope, RawScope::Project) && !names_project {
            return Err(ProfileFault::NoProject(row.path));
        }
        operations.push(Operation {
            id: OperationId(id),
            permission: row.permission,
            permission_id: PermissionId(0),
            sensitive: row.sensitive,
            credential: row.key.into(),
            scope: row.scope.into(),
            query_keys: row.query_keys.into_iter().map(query_key).collect(),
            names_projects: row.names_projects,
            response: response(&row.response)?,
            rate: row.rate.into(),
            method: row.method.into(),
            template: row.path,
            segments,
        });
    }
    Ok(operations)
}

fn template(path: &str) -> Result<Vec<Segment>, ProfileFault> {
    let inner = path
        .strip_prefix('/')
        .ok_or_else(|| ProfileFault::NoSlash(path.to_owned()))?;
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
                None => Err(ProfileFault::Segment(path.to_owned())),
            }
        })
        .collect()
}

/// Sorts the permissions' names, the gateway's own among them, gives each operation its number, and holds that
/// sensitivity is a permission's.
fn number_permissions(profile: &mut Profile) -> Result<(), ProfileFault> {
    let mut sensitive: BTreeMap<String, bool> = super::OWN_PERMISSIONS
        .iter()
        .map(|name| ((*name).to_owned(), true))
        .collect();
    for operation in &profile.operations {
        if operation.permission.starts_with("gateway.") {
            return Err(ProfileFault::OwnPermission(operation.permission.clone()));
        }
        if operation
            .permission
            .split('.')
            .any(|word| word.is_empty() || word.contains('*'))
        {
            return Err(ProfileFault::PermissionName(operation.permission.clone()));
        }
        if *sensitive
            .entry(operation.permission.clone())
            .or_insert(operation.sensitive)
            != operation.sensitive
        {
            return Err(ProfileFault::Sensitivity(operation.permission.clone()));
        }
    }
    (profile.permissions, profile.sensitive) = sensitive.into_iter().unzip();
    let permissions = std::mem::take(&mut profile.permissions);
    for operation in &mut profile.operations {
        let place = permissions
            .binary_search(&operation.permission)
            .unwrap_or(usize::MAX);
        operation.permission_id =
            PermissionId(u16::try_from(place).map_err(|_| ProfileFault::TooManyPermissions)?);
    }
    profile.permissions = permissions;
    Ok(())
}

/// Groups the query rows by method and length, and picks for each group the segment that tells most rows apart.
fn buckets(operations: &[Operation]) -> Result<Vec<RowBucket>, ProfileFault> {
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
                return Err(ProfileFault::Overlap {
                    method: one.method.clone(),
                    one: one.template.clone(),
                    other: other.template.clone(),
                });
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
    Ok(buckets)
}

fn response(text: &str) -> Result<ResponseRule, ProfileFault> {
    let known = ResponseRule::ALL.iter().find(|(name, _)| *name == text);
    known
        .map(|(_, rule)| *rule)
        .ok_or_else(|| ProfileFault::Shape(text.to_owned()))
}

/// Reads the classes' rates, and holds that every operation's class is one of them.
fn rates(
    raw: BTreeMap<String, String>,
    operations: &[Operation],
) -> Result<Vec<(Arc<str>, Rate)>, ProfileFault> {
    let read = |(class, text): (String, String)| match Rate::parse(&text) {
        Some(rate) => Ok((Arc::from(class), rate)),
        None => Err(ProfileFault::Rate(text)),
    };
    let rates: Vec<(Arc<str>, Rate)> = raw.into_iter().map(read).collect::<Result<_, _>>()?;
    let unknown = |class: &&Arc<str>| !rates.iter().any(|(known, _)| known == *class);
    match operations
        .iter()
        .flat_map(|operation| operation.rate.classes())
        .find(unknown)
    {
        Some(class) => Err(ProfileFault::NoRate(class.to_string())),
        None => Ok(rates),
    }
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
