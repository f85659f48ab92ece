//! What is wrong with a profile's text.
//!
//! What it does: says in one line which row or value cannot be. What it refuses to know: how it was found. Invariant: each
//! fault repeats what is wrong as it is written.

use http::Method;

/// Why a text is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileFault {
    #[error(transparent)]
    Yaml(Box<serde_saphyr::Error>),
    #[error("an access token is put without a scheme")]
    TokenScheme,
    #[error("`{0}` is no address")]
    Address(String),
    #[error("`{0}` is no JSON pointer")]
    Pointer(String),
    #[error("`{0}` is no prefix of paths")]
    Prefix(String),
    #[error("`{0}` is no header name")]
    HeaderName(String),
    #[error("`{0}` is no format of reports")]
    ReportFormat(String),
    #[error("`{0}` has no media type of its own in one of its rows")]
    ReportType(String),
    #[error("`{0}` is an export's path")]
    ExportPath(String),
    #[error("too many operations")]
    TooManyOperations,
    #[error("too many permissions")]
    TooManyPermissions,
    #[error("`{0}` has the scope of a project but names none")]
    NoProject(String),
    #[error("`{0}` does not begin with a slash")]
    NoSlash(String),
    #[error("`{0}` has a segment that no path can have")]
    Segment(String),
    #[error("`{0}` is the gateway's own, and no backend's")]
    OwnPermission(String),
    #[error("`{0}` is no permission's name")]
    PermissionName(String),
    #[error("`{0}` is sensitive in one row and not in another")]
    Sensitivity(String),
    #[error("{method} `{one}` and `{other}` could match one path")]
    Overlap {
        method: Method,
        one: String,
        other: String,
    },
    #[error("`{0}` is no shape of an answer")]
    Shape(String),
    #[error("`{0}` is not a rate")]
    Rate(String),
    #[error("`{0}` has no rate")]
    NoRate(String),
    #[error("`{0}` is no template of a link")]
    Link(String),
    #[error("links to what happened round a time show nothing: `around_minutes` is 0")]
    NoTimeAround,
    #[error("the tree has two rows for `{0}`")]
    RowTwice(String),
    #[error("`{resource}` has no row `{name}`")]
    NoRow { resource: String, name: String },
    #[error("{method} `{template}` is no operation on a project")]
    NoOperation { method: Method, template: String },
}
