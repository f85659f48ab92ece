//! `query:` and `upstreams.query.ui`, checked.
//!
//! What it does: how the gateway asks the backend on behalf of callers. What it refuses to know: what is asked.
//! Invariant: nothing is unlimited; a link base is an `http(s)` URL without user, query or fragment.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::address::HttpUrl;
use super::limits::duration_between;
use super::raw::RawUpstreams;
use super::report::Report;
use crate::document::Spanned;
use crate::document::quantity::RawDuration;
use crate::federate::QuerySettings;
use crate::profiles::UiBase;

/// How the backend is asked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawQuery {
    /// Projects that are asked at once for one question to a part of the tree; default 8.
    #[schemars(range(min = 1, max = 64))]
    pub parallel: Option<u8>,
    /// After it, projects that have not answered are told as late; at most `10m`, default `20s`.
    pub deadline: Option<Spanned<RawDuration>>,
}

pub fn query(report: &mut Report<'_>, raw: &RawQuery, upstreams: &RawUpstreams) -> QuerySettings {
    let default = QuerySettings::default();
    QuerySettings {
        parallel_projects: raw.parallel.map_or(default.parallel_projects, usize::from),
        deadline: duration_between(
            report,
            raw.deadline.as_ref(),
            "query.deadline",
            default.deadline,
            Duration::from_millis(1)..=Duration::from_secs(600),
        ),
        ui: ui(report, upstreams),
    }
}

fn ui(report: &mut Report<'_>, upstreams: &RawUpstreams) -> UiBase {
    let others = [("ingest", &upstreams.ingest), ("collector", &upstreams.collector), ("logs", &upstreams.logs)];
    for (which, door) in others {
        if let Some(at) = door.as_ref().and_then(|door| door.ui.as_ref()) {
            let hint = "put it at `upstreams.query`, or remove it";
            report.error_with_hint(at, format!("`upstreams.{which}.ui` has no use: links are made for queries"), hint);
        }
    }
    match upstreams.query.as_ref().and_then(|door| door.ui.as_ref()) {
        None => UiBase::Profile,
        Some(at) if at.value == "off" => UiBase::Off,
        Some(at) => match HttpUrl::parse(&at.value) {
            Ok(_) => UiBase::At(at.value.trim_end_matches('/').to_owned()),
            Err(fault) => {
                let hint = "write it like `https://app.lightstep.com`, or `off`";
                report.error_with_hint(at, format!("`upstreams.query.ui` {fault}"), hint);
                UiBase::Off
            }
        },
    }
}
