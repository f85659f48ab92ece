//! What the trail's log is called: of which gateway its records and checkpoints are.
//!
//! What it does: takes `audit.name` and `audit.instance`, or what stands for them. What it refuses to know: records.
//! Invariant: both can stand in a log's name, whatever the host is called.

use super::raw::RawConfig;
use super::report::ConfigFindings;

/// `audit.name` and `audit.instance`. `None`: reported.
pub(super) fn log_name(
    report: &mut ConfigFindings<'_>,
    whole: &RawConfig,
) -> Option<(String, String)> {
    let raw = &whole.audit;
    let name = raw.name.as_ref().unwrap_or(&whole.organization);
    let name = report.own_name(name, "audit.name");
    let instance = match &raw.instance {
        Some(given) => report.own_name(given, "audit.instance"),
        None => Some(host_name()),
    };
    name.zip(instance)
}

/// The host's name, with what a log's name cannot hold left out.
fn host_name() -> String {
    let found = rustix::system::uname();
    let name = found.nodename().to_string_lossy();
    let plain: String = name
        .chars()
        .filter(|sign| sign.is_ascii_alphanumeric() || "-_.".contains(*sign))
        .take(63)
        .collect();
    if plain.is_empty() {
        "gateway".to_owned()
    } else {
        plain
    }
}
