//! `query:` and `upstreams.query.ui`, checked.
//!
//! What it does: reads how queries are shared, limited and spread. What it refuses to know: what is asked.
//! Invariants: nothing is unlimited; a rate is given to a class that the backend's profile knows, or it is an error; a
//! link base is an `http(s)` URL without user, query or fragment.

use std::sync::Arc;
use std::time::Duration;

use super::address::HttpUrl;
use super::limits::duration_between;
use super::raw::{RawQuery, RawUpstreams};
use super::report::ConfigFindings;
use crate::document::{Entries, Spanned, name, names, nearest};
use crate::limits::Rate;
use crate::profiles::{Profile, UiBase};
use crate::state::QuerySettings;

pub(crate) fn query(
    report: &mut ConfigFindings<'_>,
    raw: &RawQuery,
    upstreams: &RawUpstreams,
    profile: &Profile,
) -> QuerySettings {
    let default = QuerySettings::default();
    let longest = |seconds| Duration::ZERO..=Duration::from_secs(seconds);
    let cached = duration_between(
        report,
        raw.cache.as_ref(),
        "query.cache",
        Duration::ZERO,
        longest(60),
    );
    QuerySettings {
        coalesce: raw.coalesce.map_or(default.coalesce, |given| given.0),
        cache: Some(cached).filter(|cached| !cached.is_zero()),
        rates: rates(report, &raw.rates, profile),
        parallel_projects: raw.parallel.map_or(default.parallel_projects, usize::from),
        deadline: duration_between(
            report,
            raw.deadline.as_ref(),
            "query.deadline",
            default.deadline,
            Duration::from_millis(1)..=Duration::from_secs(600),
        ),
        ui: ui(report, upstreams, profile),
    }
}

fn rates(
    report: &mut ConfigFindings<'_>,
    raw: &Entries<Spanned<String>>,
    profile: &Profile,
) -> Vec<(Arc<str>, Rate)> {
    let classes: Vec<&str> = profile
        .rates()
        .iter()
        .map(|(class, _)| class.as_ref())
        .collect();
    let mut checked = Vec::new();
    for (class, given) in &raw.0 {
        if !classes.contains(&class.value.as_str()) {
            let hint = match nearest(&class.value, classes.iter().copied()) {
                Some(word) => format!("did you mean {}?", name(word)),
                None => format!("the profile has {}", names(classes.iter().copied())),
            };
            report.error_with_hint(
                class,
                format!("the backend has no rate class {}", name(&class.value)),
                hint,
            );
        }
        match Rate::parse(&given.value) {
            Some(rate) => checked.push((Arc::from(class.value.as_str()), rate)),
            None => report.error_with_hint(
                given,
                format!("`query.rates.{}` is not a rate", class.value),
                "write `100/s`, `60/min` or `600/h`",
            ),
        }
    }
    checked
}

fn ui(report: &mut ConfigFindings<'_>, upstreams: &RawUpstreams, profile: &Profile) -> UiBase {
    let others = [
        ("ingest", &upstreams.ingest),
        ("collector", &upstreams.collector),
        ("logs", &upstreams.logs),
    ];
    for (which, door) in others {
        if let Some(at) = door.as_ref().and_then(|door| door.ui.as_ref()) {
            let hint = "put it at `upstreams.query`, or remove it";
            report.error_with_hint(
                at,
                format!("`upstreams.{which}.ui` has no use: links are made for queries"),
                hint,
            );
        }
    }
    match upstreams.query.as_ref().and_then(|door| door.ui.as_ref()) {
        None => UiBase::Profile,
        Some(at) if at.value == "off" => UiBase::Off,
        Some(at) => match HttpUrl::parse(&at.value) {
            Ok(_) => UiBase::At(at.value.trim_end_matches('/').to_owned()),
            Err(fault) => {
                let hint = format!("write it like `{}`, or `off`", profile.ui_base());
                report.error_with_hint(at, format!("`upstreams.query.ui` {fault}"), hint);
                UiBase::Off
            }
        },
    }
}
