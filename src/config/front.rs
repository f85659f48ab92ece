//! `health` of a listener, checked: what stands before the gateway, and what it may have without an identity.
//!
//! What it does: the paths of probes. What it refuses to know: sockets, calls.
//! Invariant: no path of a probe is one that the gateway serves to identified callers.

use schemars::JsonSchema;
use serde::Deserialize;

use super::forms::RawSwitch;
use super::raw::RawListener;
use super::report::Report;
use crate::accept::{FrontSettings, HealthSettings};
use crate::document::Spanned;

/// Health checks on the serving port, answered without an identity and without a record.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawHealth {
    /// `GET` and `HEAD` of this path answer 200 or 503, as `/readyz` of `admin` would; default: no path does.
    pub path: Option<Spanned<String>>,
    /// Whether `grpc.health.v1.Health` is served, `Check` and `Watch`; default `off`.
    pub grpc: Option<RawSwitch>,
}

const PATH_FORM: &str = "write it like `/healthz`: `/` and letters, digits, `-`, `_`, `.` or `~`";

/// What listener `index` says of what stands before it.
pub fn front(report: &mut Report<'_>, index: usize, raw: &RawListener) -> FrontSettings {
    let subject = |key: &str| format!("listeners[{index}].{key}");
    FrontSettings { health: health(report, raw.health.as_ref(), &subject("health")) }
}

fn health(report: &mut Report<'_>, raw: Option<&Spanned<RawHealth>>, subject: &str) -> HealthSettings {
    let Some(raw) = raw else { return HealthSettings::default() };
    let grpc = raw.value.grpc.is_some_and(|switch| switch.0);
    if raw.value.path.is_none() && !grpc {
        let hint = "write `health: { path: /healthz, grpc: on }`, or leave it out";
        report.error_with_hint(raw, format!("`{subject}` names nothing to answer"), hint);
    }
    let path = raw.value.path.as_ref().and_then(|path| {
        let fault = health_path_fault(&path.value);
        match fault {
            None => return Some(path.value.clone()),
            Some((fault, hint)) => report.error_with_hint(path, format!("`{subject}.path` {fault}"), hint),
        }
        None
    });
    HealthSettings { path, grpc }
}

/// What is wrong with the path of a probe, and what to write.
fn health_path_fault(path: &str) -> Option<(&'static str, &'static str)> {
    let Some(rest) = path.strip_prefix('/') else { return Some(("is not a path", PATH_FORM)) };
    let is_plain = |word: &str| {
        !matches!(word, "" | "." | "..")
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte))
    };
    // The root alone is what some load balancers ask for unless told otherwise.
    if !rest.is_empty() && !rest.split('/').all(is_plain) {
        return Some(("is not a path", PATH_FORM));
    }
    let first = rest.split('/').next().unwrap_or_default();
    if [".lightkeeper", "apps", "public"].iter().any(|served| first.eq_ignore_ascii_case(served)) {
        return Some(("is a path that identified callers are served at", "choose another, `/healthz` for instance"));
    }
    None
}
