//! What is wrong with a profile's text.
//!
//! What it does: says in one line which row or value cannot be. What it refuses to know: how it was found. Invariant: each
//! fault repeats what is wrong as it is written.

use std::path::Path;

use http::Method;

use crate::document::quantity::BOUND_FORM;
use crate::document::{Diagnostic, Spanned};

/// Why a text is no profile.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProfileFault {
    #[error("`{0}` is no name of a profile")]
    Name(String),
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
    // A credential may have been pasted there: the text is not repeated.
    #[error("this text is no template")]
    Template,
    #[error("this template would put what is no path, or a credential, into a URL")]
    TemplatePath,
    #[error("`{0}` is a header that the gateway writes itself, or that is of one connection alone")]
    OwnHeader(String),
    #[error("exports of {0} would go out without a credential")]
    NoToken(&'static str),
    #[error("there is no header for our credential")]
    NoHeader,
    #[error("the backend wants no credential, but a header of {0} holds one")]
    TokenUnwanted(&'static str),
    #[error("reports carry a credential, and the backend wants none")]
    ReportsUnwanted,
    #[error("`{0}` is no name of a parameter")]
    ParameterName(String),
    #[error("parameter `{0}` stands in no address, path or header")]
    ParameterUnused(String),
    #[error("parameter `{0}` stands directly behind a host, and would change which it is")]
    BehindHost(String),
    #[error("parameter `{0}` ends a host, and may be anything")]
    HostOpen(String),
    #[error("the parameter cannot be this: {0}")]
    ParameterValue(&'static str),
    #[error("a bound is more than nothing")]
    Bound,
    #[error("{0} is no status of an answer to an export")]
    Status(u16),
    #[error("this answer has two meanings")]
    AnswerTwice,
    #[error("there is a query API, but no header for our key to it")]
    NoKey,
    #[error("`{0}` cannot be without a query API")]
    NeedsQuery(&'static str),
    #[error("exports of {0} would not be taken in any form")]
    NoForm(&'static str),
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
    #[error("the tree has two rows for `{0}`")]
    RowTwice(String),
    #[error("`{0}` asks nothing")]
    NothingAsked(String),
    #[error("`{resource}` has no row `{name}`")]
    NoRow { resource: String, name: String },
    #[error("{method} `{template}` is no operation on a project")]
    NoOperation { method: Method, template: String },
}

/// A fault and its place in the profile's text.
#[derive(Debug)]
pub(super) struct PlacedFault {
    fault: ProfileFault,
    line: u64,
    column: u64,
}

impl PlacedFault {
    /// As `check`, `serve` and a reload tell it.
    pub(super) fn told(&self, file: &Path) -> Diagnostic {
        // One line, whatever the text holds.
        let words = self.fault.to_string().replace(char::is_control, " ");
        let told = Diagnostic::error(file, self.line, self.column, words);
        match self.fault.hint() {
            "" => told,
            hint => told.with_hint(hint),
        }
    }
}

impl ProfileFault {
    /// Stands here.
    pub(super) fn at<T>(self, at: &Spanned<T>) -> PlacedFault {
        PlacedFault {
            fault: self,
            line: at.line(),
            column: at.column(),
        }
    }

    /// What to write instead; empty where the fault says it.
    fn hint(&self) -> &'static str {
        match self {
            ProfileFault::Name(_) => "write 1 to 63 letters, digits, `-`, `_` or `.`",
            ProfileFault::TokenScheme => "remove `scheme`",
            ProfileFault::Address(_) => {
                "write it like `https://ingest.example`; what stands in braces is one of `parameters`"
            }
            ProfileFault::Pointer(_) => "write it like `/alert/id` (RFC 6901)",
            ProfileFault::Prefix(_) => "write it like `/api/v1`, without placeholders",
            ProfileFault::HeaderName(_) => "write it like `x-api-key`",
            ProfileFault::Template => {
                "write text with `{token}`, `{project}`, `{app}`, `{signal}`, `{b64:user:{token}}` or one of `parameters`"
            }
            ProfileFault::TemplatePath => {
                "write it like `/v1/{signal}`; it may hold `{project}`, `{app}` and `parameters`, and the credential goes into a header"
            }
            ProfileFault::OwnHeader(_) => "leave it out",
            ProfileFault::NoToken(_) => "put `{token}` into one of their headers",
            ProfileFault::NoHeader => {
                "add `ingest.headers`, such as `{ authorization: \"Bearer {token}\" }`, or `credentials.access_token`"
            }
            ProfileFault::TokenUnwanted(_) => "take `{token}` out, or `credential: none`",
            ProfileFault::ReportsUnwanted => "take `legacy` out, or `credential: none`",
            ProfileFault::ParameterName(_) => {
                "write 1 to 32 small letters, digits and `_`; `token`, `project`, `app` and `signal` are taken"
            }
            ProfileFault::ParameterUnused(_) => "put its name in braces somewhere, or remove it",
            ProfileFault::BehindHost(_) => "put a `.` before it, and list its `values`, or a `/`",
            ProfileFault::HostOpen(_) => "list its `values`, or let text end the host",
            ProfileFault::ParameterValue(_) => {
                "in an address: letters, digits, `-`, `_` and `.`; in a path no slash"
            }
            ProfileFault::Bound => BOUND_FORM,
            ProfileFault::Status(_) => "write one of 200 to 299 and 400 to 599",
            ProfileFault::AnswerTwice => "leave it in one list",
            ProfileFault::NoKey => "add `credentials.api_key`, or write `query: off`",
            ProfileFault::NeedsQuery(_) => "leave the rows out",
            ProfileFault::NoForm(_) => {
                "list at least one protocol that the signal has a row of, one encoding and one compression, or leave the lists out"
            }
            ProfileFault::ReportFormat(_) => "see `lightkeeper schema profile` for the formats",
            ProfileFault::ReportType(_) => {
                "list in `types` the media types of this row that no other row of the path has"
            }
            ProfileFault::ExportPath(_) => "a path takes either exports or reports: remove one row",
            ProfileFault::TooManyOperations | ProfileFault::TooManyPermissions => "leave rows out",
            ProfileFault::NoProject(_) => {
                "put `{project}` into the path, or write `scope: organization`"
            }
            ProfileFault::NoSlash(_) => "begin it with `/`",
            ProfileFault::Segment(_) => {
                "write segments of text or `{name}`, none of them empty, `.` or `..`"
            }
            ProfileFault::OwnPermission(_) => "begin it with another word than `gateway`",
            ProfileFault::PermissionName(_) => {
                "write words with dots between: `query.streams.read`"
            }
            ProfileFault::Sensitivity(_) => "write `sensitive` in all rows of it, or in none",
            ProfileFault::Overlap { .. } => "leave one of them out",
            ProfileFault::Shape(_) => "see `lightkeeper schema profile` for the shapes",
            ProfileFault::Rate(_) => "write `100/s`, `60/min` or `600/h`",
            ProfileFault::NoRate(_) => "add it to `query.rates`, or name another",
            ProfileFault::Link(_) => {
                "begin it with `/`; it may hold `{project}`, `{id}`, `{name}`, `{from}` and `{to}`"
            }
            ProfileFault::RowTwice(_) => "leave one of them out",
            ProfileFault::NothingAsked(_) => "add `path` or `of`",
            ProfileFault::NoRow { .. } => "name rows that stand before it and have its method",
            ProfileFault::NoOperation { .. } => {
                "name the path of a row of `operations` that has `scope: project`"
            }
        }
    }
}
