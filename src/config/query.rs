//! `query:` and `upstreams.query.ui`, checked.
//!
//! What it does: reads how queries are shared, limited and spread. What it refuses to know: what is asked.
//! Invariants: nothing is unlimited; a rate is given to a class that the backend's profile knows, or it is an error; a
//! link base is an `http(s)` URL without user, query or fragment.

use std::sync::Arc;
use std::time::Duration;

use super::address::HttpUrl;
use super::backends::WrittenBackends;
use super::limits::duration_between;
use super::raw::RawQuery;
use super::report::ConfigFindings;
use crate::document::{Entries, Spanned, name, names, nearest};
use crate::limits::Rate;
use crate::profiles::{Profile, UiBase};
use crate::state::QuerySettings;

pub(crate) fn query(
    report: &mut ConfigFindings<'_>,
    raw: &RawQuery,
    backends: &WrittenBackends<'_>,
) -> QuerySettings {
    // What the right profile would have is not known.
    let asked = backends.queried().filter(|asked| asked.is_known);
    let profile = asked.map(|_| &*backends.front);
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
        ui: ui(report, backends),
    }
}

fn rates(
    report: &mut ConfigFindings<'_>,
    raw: &Entries<Spanned<String>>,
    profile: Option<&Profile>,
) -> Vec<(Arc<str>, Rate)> {
    let rates = profile.into_iter().flat_map(|profile| profile.rates());
    let classes: Vec<&str> = rates.map(|(class, _)| class.as_ref()).collect();
    let mut checked = Vec::new();
    for (class, given) in &raw.0 {
        if profile.is_some() && !classes.contains(&class.value.as_str()) {
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

fn ui(report: &mut ConfigFindings<'_>, backends: &WrittenBackends<'_>) -> UiBase {
    let asked = backends.queried().map(|asked| &asked.name);
    let mut ui = UiBase::Profile;
    for one in &backends.list {
        for (which, door) in one.doors.each() {
            let Some(at) = door.and_then(|door| door.value.ui.as_ref()) else {
                continue;
            };
            let subject = format!("{}.{which}.ui", one.subject);
            if which != "query" {
                let hint = format!("put it at `{}.query`, or remove it", one.subject);
                let message = format!("`{subject}` has no use: links are made for queries");
                report.error_with_hint(at, message, hint);
            } else if asked != Some(&one.name) && backends.are_all_known() {
                let message = format!("`{subject}` has no use: links lead to one backend's pages");
                report.error_with_hint(at, message, "remove it");
            } else {
                ui = base(report, at, &subject, &backends.front);
            }
        }
    }
    ui
}

fn base(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<String>,
    subject: &str,
    profile: &Profile,
) -> UiBase {
    if at.value == "off" {
        return UiBase::Off;
    }
    match HttpUrl::parse(&at.value) {
        Ok(_) => UiBase::At(at.value.trim_end_matches('/').to_owned()),
        Err(fault) => {
            let hint = format!("write it like `{}`, or `off`", profile.ui_base());
            report.error_with_hint(at, format!("`{subject}` {fault}"), hint);
            UiBase::Off
        }
    }
}
