//! The table of the query API: each operation with its path and what the key must allow.
//!
//! What it does: has the rows. What it refuses to know: what an operation does; it only names it.

use std::sync::LazyLock;

use http::Method;

use crate::emulator::credentials::Role;
use crate::emulator::organization::{self as of, Collection};

/// What a row of the table does.
#[derive(Clone, Copy, Debug)]
pub(in crate::emulator) enum Act {
    Test,
    Projects,
    CreateProject,
    Project,
    DeleteProject,
    AccessTokens,
    CreateAccessToken,
    ReportingStatus,
    Services,
    List(Collection),
    Create(Collection),
    Get(Collection),
    Update(Collection),
    Delete(Collection),
    StreamConditions,
    StreamTimeseries,
    ConditionStatus,
    SnoozeValidate,
    QueryTranslation,
    QueryTimeseries,
    Attributes,
    StoredTraces,
    ServiceDiagram,
    RoleBinding,
    SetRoleBinding,
    SamlMappings,
    SetSamlMappings,
    CreateUser,
}

/// One row of `docs/backends/lightstep.md` (operations): method, path below the organization (`*` is any one segment), what
/// the key must allow, what happens.
pub type Row = (Method, &'static str, Role);

/// All rows, for tests that walk the table.
pub fn rows() -> Vec<Row> {
    TABLE
        .iter()
        .map(|(method, path, role, _)| (method.clone(), path.as_str(), *role))
        .collect()
}

/// What can be done with each collection and its objects. Inferred service rules and notebooks have no list
/// in any source; alerting rules and destinations have no update verb, snapshots no removal.
const COLLECTIONS: [(Collection, &[&str]); 13] = [
    (of::STREAMS, &["list", "create", "get", "patch", "delete"]),
    (
        of::CONDITIONS,
        &["list", "create", "get", "patch", "delete"],
    ),
    (of::ALERTING_RULES, &["list", "create", "get", "delete"]),
    (
        of::DASHBOARDS,
        &["list", "create", "get", "patch", "delete"],
    ),
    (
        of::METRIC_DASHBOARDS,
        &["list", "create", "get", "put", "delete"],
    ),
    (
        of::METRIC_ALERTS,
        &["list", "create", "get", "put", "delete"],
    ),
    (of::DESTINATIONS, &["list", "create", "get", "delete"]),
    (
        of::SNOOZE_RULES,
        &["list", "create", "get", "put", "delete"],
    ),
    (
        of::EVENT_QUERIES,
        &["list", "create", "get", "put", "delete"],
    ),
    (
        of::INFERRED_SERVICE_RULES,
        &["create", "get", "put", "delete"],
    ),
    (of::SNAPSHOTS, &["list", "create", "get"]),
    (of::WF_LINKS, &["list", "create", "get", "patch", "delete"]),
    (of::NOTEBOOKS, &["create"]),
];

pub(super) static TABLE: LazyLock<Vec<(Method, String, Role, Act)>> = LazyLock::new(|| {
    let mut rows: Vec<_> = singles()
        .map(|(method, path, role, act)| (method, path.to_owned(), role, act))
        .into();
    for (collection, operations) in COLLECTIONS {
        let all = format!("/projects/*/{}", collection.path);
        for operation in operations {
            let one = format!("{all}/*");
            rows.push(match *operation {
                "list" => (
                    Method::GET,
                    all.clone(),
                    Role::Viewer,
                    Act::List(collection),
                ),
                "create" => (
                    Method::POST,
                    all.clone(),
                    Role::Editor,
                    Act::Create(collection),
                ),
                "get" => (Method::GET, one, Role::Viewer, Act::Get(collection)),
                "patch" => (Method::PATCH, one, Role::Editor, Act::Update(collection)),
                "put" => (Method::PUT, one, Role::Editor, Act::Update(collection)),
                _ => (Method::DELETE, one, Role::Editor, Act::Delete(collection)),
            });
        }
    }
    rows
});

/// The rows that are not operations on one collection's objects.
fn singles() -> [(Method, &'static str, Role, Act); 26] {
    use Role::{Admin, Editor, Viewer};
    [
        (Method::GET, "/test", Viewer, Act::Test),
        (Method::POST, "/test", Editor, Act::Test),
        (Method::GET, "/projects", Viewer, Act::Projects),
        (Method::POST, "/projects", Admin, Act::CreateProject),
        (Method::GET, "/projects/*", Viewer, Act::Project),
        (Method::DELETE, "/projects/*", Admin, Act::DeleteProject),
        (
            Method::GET,
            "/projects/*/access_tokens",
            Admin,
            Act::AccessTokens,
        ),
        (
            Method::POST,
            "/projects/*/access_tokens",
            Admin,
            Act::CreateAccessToken,
        ),
        (
            Method::GET,
            "/projects/*/reporting-status",
            Viewer,
            Act::ReportingStatus,
        ),
        (
            Method::GET,
            "/projects/*/directory/services",
            Viewer,
            Act::Services,
        ),
        (
            Method::GET,
            "/projects/*/streams/*/conditions",
            Viewer,
            Act::StreamConditions,
        ),
        (
            Method::GET,
            "/projects/*/streams/*/timeseries",
            Viewer,
            Act::StreamTimeseries,
        ),
        (
            Method::GET,
            "/projects/*/conditions/*/status",
            Viewer,
            Act::ConditionStatus,
        ),
        (
            Method::POST,
            "/projects/*/snooze_rules_validate",
            Viewer,
            Act::SnoozeValidate,
        ),
        (
            Method::POST,
            "/projects/*/query_translation",
            Viewer,
            Act::QueryTranslation,
        ),
        (
            Method::POST,
            "/projects/*/telemetry/query_timeseries",
            Viewer,
            Act::QueryTimeseries,
        ),
        (
            Method::POST,
            "/projects/*/telemetry/attributes",
            Viewer,
            Act::Attributes,
        ),
        (
            Method::GET,
            "/projects/*/stored-traces",
            Viewer,
            Act::StoredTraces,
        ),
        (
            Method::GET,
            "/projects/*/snapshots/*/service-diagram",
            Viewer,
            Act::ServiceDiagram,
        ),
        // The swagger spells this one in the singular.
        (
            Method::DELETE,
            "/projects/*/dashboard/*",
            Editor,
            Act::Delete(of::DASHBOARDS),
        ),
        (Method::GET, "/role-binding", Admin, Act::RoleBinding),
        (Method::POST, "/role-binding", Admin, Act::SetRoleBinding),
        (
            Method::GET,
            "/saml-group-mappings",
            Admin,
            Act::SamlMappings,
        ),
        (
            Method::POST,
            "/saml-group-mappings",
            Admin,
            Act::SetSamlMappings,
        ),
        (Method::POST, "/users", Admin, Act::CreateUser),
        (Method::POST, "/Users", Admin, Act::CreateUser),
    ]
}
