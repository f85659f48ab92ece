//! Backends as data: paths, operations, header placement, sensitive operations.
//!
//! What it does: reads a backend's profile (`lightstep.yaml`, or a file of the operator's) once and finds the operation that a path asks for.
//! What it refuses to know: who calls, which organization or project is ours, any credential.
//! Invariants: what no row matches is no operation; literals match byte for byte; a value that could change a
//! path's shape (`.`, `..`, empty, with a slash or control character) fills no placeholder; paths are rebuilt with one
//! canonical percent-encoding.

mod alerts;
mod answers;
mod around;
mod bounds;
mod exports;
mod fault;
mod forms;
mod front;
mod load;
mod matching;
mod parameters;
mod rates;
mod raw;
mod raw_ingest;
mod shipped;
mod template;
mod tree;

pub(crate) use alerts::AlertLayout;
pub use alerts::AlertMessage;
pub(crate) use answers::{AnswerMeaning, Answers};
pub(crate) use around::Around;
pub use bounds::Bounds;
pub(crate) use exports::{Accepts, ExportForm};
pub(crate) use forms::ExportPath;
pub use parameters::{ParameterFault, ProfileParameter};
pub(crate) use rates::RateRule;
pub use raw::profile_schema;
pub(crate) use template::ExportValues;
pub(crate) use tree::{StateSource, TreeResource, TreeSource, Ui, UiPage, UiSpot};
pub use tree::{TreeShape, UiBase};

use std::sync::{Arc, OnceLock};

use http::{HeaderName, Method};

use crate::lightstep::Format;
use crate::limits::Rate;
use crate::otlp::Signal;
use crate::percent;

/// To see who was allowed and denied what, lately, in a part of the tree.
pub(crate) const AUDIT_READ: &str = "gateway.audit.read";

/// Permissions that are the gateway's and no backend's. They mean something at every app, and are sensitive.
pub(crate) const OWN_PERMISSIONS: [&str; 1] = [AUDIT_READ];

/// A row of the profile's operation table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationId(pub u16);

/// A permission's place in `Profile::permissions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PermissionId(pub u16);

/// Everything that is known of one kind of backend.
#[derive(Clone, Debug)]
pub struct Profile {
    pub name: String,
    /// Where it is.
    pub addresses: Addresses,
    parameters: Vec<ProfileParameter>,
    /// Whether exports carry a credential.
    pub(crate) wants_credential: bool,
    /// What answers to exports mean.
    pub(crate) answers: Answers,
    /// Where clients put an access token, alone; `None`: nowhere but where tokens stand anyway.
    pub access_token_header: Option<HeaderName>,
    /// What the backend takes, and what goes with it, in the order of `Signal::ALL`.
    exports: [ExportForm; 3],
    has_query: bool,
    /// Where an API key is put.
    pub(crate) api_key_header: HeaderName,
    /// What stands before the key and a space, `bearer`; `None`: nothing.
    pub(crate) api_key_scheme: Option<String>,
    /// Where clients of the query API name the organization.
    pub tenant_header: Option<HeaderName>,
    /// `/public/v0.2`: the query API is at `{query_prefix}/{organization}/…`.
    pub query_prefix: String,
    /// Hosts of the backend that absolute links in answers point at, lower case.
    pub(crate) link_hosts: Vec<String>,
    /// How its webhooks' messages are read.
    pub alerts: AlertLayout,
    rates: Vec<(Arc<str>, Rate)>,
    operations: Vec<Operation>,
    permissions: Vec<String>,
    sensitive: Vec<bool>,
    ingest: Vec<IngestPath>,
    grpc: Vec<(String, OperationId, Signal)>,
    legacy: Vec<LegacyReport>,
    legacy_grpc: Vec<LegacyReport>,
    token_in_url: Vec<String>,
    buckets: Vec<matching::RowBucket>,
    tree: Vec<TreeResource>,
    ui_base: String,
    ui_around_ms: i64,
    ui_pages: Vec<(UiPage, String)>,
}

/// The backend's usual addresses.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    pub ingest: String,
    /// Where OTLP over gRPC goes; empty: as `ingest`.
    pub grpc: String,
    pub query: String,
}

/// One row: something that can be asked of the backend.
#[derive(Clone, Debug)]
pub struct Operation {
    pub id: OperationId,
    /// What is needed to ask it: `ingest.traces`, `query.streams.read`.
    pub permission: String,
    pub(crate) permission_id: PermissionId,
    /// The permission is granted only where it is named in full.
    pub sensitive: bool,
    pub credential: Credential,
    pub scope: Scope,
    /// Query parameters that are passed on; any other is none of the operation's.
    pub(crate) query_keys: Vec<QueryKey>,
    /// Members of the body, and query parameters, whose value names a project, or has members that are named by projects.
    pub(crate) names_projects: Vec<String>,
    pub response: ResponseRule,
    /// Which of the backend's limits counts.
    pub rate: RateRule,
    pub method: Method,
    /// As in the table: `/projects/{project}/streams/{id}`; for ingest the words `OTLP traces`.
    pub template: String,
    segments: Vec<Segment>,
}

/// One query parameter that an operation knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueryKey {
    pub name: String,
    /// Whether it may stand more than once.
    pub repeats: bool,
}

/// Which credential of ours goes with an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    /// The project's ingest token.
    AccessToken,
    /// API keys by what they may do.
    Read,
    Write,
    Admin,
}

/// Where the permission is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// At the app that is written to.
    App,
    /// At the home of the project in the path.
    Project,
    /// At the root.
    Organization,
    /// At any project's home; the answer is narrowed to those.
    Projects,
}

/// What an operation answers: the shape that a good answer must have at the top, and what is done to it beside the
/// links, which are pointed at the gateway in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResponseRule {
    /// Nothing.
    Empty,
    /// The word `OK!`, and nothing else.
    Text,
    /// `data`: a list of objects.
    List,
    /// `data`: one object.
    Item,
    /// `data.items`: a list of objects.
    Items,
    /// `data.status`: a list of objects.
    Report,
    /// `data.queries`: a list of objects.
    Queries,
    /// `data`: lists of objects by key.
    Attributes,
    /// `data`: one project; only what is known of one.
    Project,
    /// `data`: a list of projects; only those that the caller may see.
    Projects,
    /// `data`: one token or a list, redacted.
    AccessTokens,
    /// `data`: one destination or a list, secrets redacted.
    Destinations,
    /// `data`: who has a role; one or a list.
    RoleBinding,
    /// `data.attributes.mappings`: a list.
    SamlMappings,
    /// One user, with or without `data`.
    User,
}

impl ResponseRule {
    /// As the profile spells it.
    pub(crate) const ALL: [(&'static str, ResponseRule); 15] = [
        ("empty", ResponseRule::Empty),
        ("text", ResponseRule::Text),
        ("list", ResponseRule::List),
        ("item", ResponseRule::Item),
        ("items", ResponseRule::Items),
        ("report", ResponseRule::Report),
        ("queries", ResponseRule::Queries),
        ("attributes", ResponseRule::Attributes),
        ("project", ResponseRule::Project),
        ("projects", ResponseRule::Projects),
        ("access_tokens", ResponseRule::AccessTokens),
        ("destinations", ResponseRule::Destinations),
        ("role_binding", ResponseRule::RoleBinding),
        ("saml_mappings", ResponseRule::SamlMappings),
        ("user", ResponseRule::User),
    ];
}

/// One segment of a query template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// `{project}`
    Project,
    /// Any other placeholder.
    Parameter,
}

/// One OTLP/HTTP path; with `minor`, one or two digits follow it.
#[derive(Clone, Debug)]
struct IngestPath {
    path: String,
    minor: bool,
    operation: OperationId,
    signal: Signal,
}

/// A way in that is older than OpenTelemetry: one path in one form.
#[derive(Clone, Debug)]
pub struct LegacyReport {
    /// Of HTTP the path, of gRPC the method; also what the backend is asked.
    pub path: String,
    pub format: Format,
    pub operation: OperationId,
    pub signal: Signal,
    pub host: Host,
    pub token: TokenPlace,
    /// Media types that a client may give the body, lower case; none for gRPC.
    pub types: Vec<String>,
}

/// Which of the backend's addresses takes a legacy report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// The one that takes exports.
    Ingest,
    /// The one that takes tracers' reports.
    Collector,
    /// The one that takes logs.
    Logs,
}

/// Where in the head clients put the access token besides the profile's own header, and where ours is put too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenPlace {
    Header,
    /// Also as the password of HTTP Basic; the user's name means nothing.
    Password,
    /// Also in `X-Amz-Firehose-Access-Key`.
    FirehoseKey,
}

impl Profile {
    /// Whether the backend can be asked at all.
    pub fn has_query(&self) -> bool {
        self.has_query
    }

    /// What the backend takes of this signal's exports, and what goes with them.
    pub(crate) fn exports(&self, signal: Signal) -> &ExportForm {
        let [traces, metrics, logs] = &self.exports;
        match signal {
            Signal::Traces => traces,
            Signal::Metrics => metrics,
            Signal::Logs => logs,
        }
    }

    /// How much of a signal the backend takes at once, over gRPC or HTTP.
    pub fn bounds(&self, signal: Signal, grpc: bool) -> Bounds {
        self.exports(signal).bounds(grpc)
    }

    /// How much the backend takes of an organization, by class.
    pub fn rates(&self) -> &[(Arc<str>, Rate)] {
        &self.rates
    }

    /// The row with this id.
    ///
    /// An id that this profile did not hand out names no row; the answer is then a row that asks for a permission that
    /// no caller can hold.
    pub fn operation(&self, id: OperationId) -> &Operation {
        self.operations
            .get(usize::from(id.0))
            .unwrap_or_else(|| Operation::unknown())
    }

    /// All rows, in the order of their ids.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The names of all permissions, sorted, each once.
    pub fn permissions(&self) -> &[String] {
        &self.permissions
    }

    /// The permission of this name.
    pub(crate) fn permission(&self, name: &str) -> Option<PermissionId> {
        let place = self
            .permissions
            .binary_search_by(|known| known.as_str().cmp(name))
            .ok()?;
        u16::try_from(place).ok().map(PermissionId)
    }

    /// Whether a permission must be named in full to be granted. An unknown one must.
    pub fn is_sensitive(&self, permission: &str) -> bool {
        self.permission(permission)
            .and_then(|id| self.sensitive.get(usize::from(id.0)))
            .copied()
            .unwrap_or(true)
    }

    fn empty(name: &str) -> Profile {
        Profile {
            name: name.to_owned(),
            addresses: Addresses::default(),
            parameters: Vec::new(),
            wants_credential: true,
            answers: Answers::default(),
            tenant_header: None,
            access_token_header: None,
            exports: Default::default(),
            has_query: false,
            api_key_header: http::header::AUTHORIZATION,
            api_key_scheme: None,
            query_prefix: String::new(),
            link_hosts: Vec::new(),
            alerts: AlertLayout::default(),
            rates: Vec::new(),
            operations: Vec::new(),
            permissions: OWN_PERMISSIONS.map(str::to_owned).to_vec(),
            sensitive: vec![true; OWN_PERMISSIONS.len()],
            ingest: Vec::new(),
            grpc: Vec::new(),
            legacy: Vec::new(),
            legacy_grpc: Vec::new(),
            token_in_url: Vec::new(),
            buckets: Vec::new(),
            tree: Vec::new(),
            ui_base: String::new(),
            ui_around_ms: 0,
            ui_pages: Vec::new(),
        }
    }
}

impl Operation {
    /// The path of this operation after `{query_prefix}/{organization}`, beginning with `/`: every value
    /// percent-encoded (RFC 3986 unreserved characters stay, all others become `%XX`). Empty if a value is missing or
    /// left over: the backend knows nothing there. Ingest operations have none.
    pub fn path(&self, project: Option<&str>, parameters: &[String]) -> String {
        let mut path = String::with_capacity(self.template.len() + 32);
        let mut parameters = parameters.iter();
        for segment in &self.segments {
            let value = match segment {
                Segment::Literal(literal) => Some(literal.as_str()),
                Segment::Project => project,
                Segment::Parameter => parameters.next().map(String::as_str),
            };
            let Some(value) = value.filter(|value| matching::is_value(value)) else {
                return String::new();
            };
            path.push('/');
            path.extend(percent::encode(value));
        }
        if parameters.next().is_some() {
            String::new()
        } else {
            path
        }
    }

    fn unknown() -> &'static Operation {
        static UNKNOWN: OnceLock<Operation> = OnceLock::new();
        UNKNOWN.get_or_init(|| Operation {
            id: OperationId(u16::MAX),
            permission: "unknown".to_owned(),
            permission_id: PermissionId(u16::MAX),
            sensitive: true,
            credential: Credential::Admin,
            scope: Scope::Organization,
            query_keys: Vec::new(),
            names_projects: Vec::new(),
            response: ResponseRule::Empty,
            rate: RateRule::default(),
            method: Method::GET,
            template: String::new(),
            segments: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests;
