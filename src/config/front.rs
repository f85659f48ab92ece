//! `health`, `proxy_protocol`, `forwarded` and `cors` of a listener, checked: what stands before the gateway.
//!
//! What it does: the paths of probes, the networks of proxies, the origins of pages. What it refuses to know: sockets, calls.
//! Invariants: no path of a probe is one that the gateway serves to identified callers; a network is written as it is
//! meant, without bits behind its prefix; an origin is
//! what a browser sends, letter by letter, never a pattern.

use std::time::Duration;

use super::address::HttpUrl;
use super::limits::{duration_between, hours};
use super::raw::{RawCors, RawForwardedHeader, RawHealth, RawListener};
use super::report::ConfigFindings;
use crate::accept::{
    CorsSettings, ForwardedHeader, ForwardedSettings, FrontSettings, HealthSettings, Network,
    NetworkFault, Networks,
};
use crate::document::{Spanned, name};
use crate::profiles::Profile;

const ORIGIN_FORM: &str = "write it as a browser sends it: `https://shop.acme.example`, with a port only if it is not the scheme's";
const NETWORK_FORM: &str = "write it like `10.0.0.0/8`, `192.0.2.7` or `2001:db8::/32`";
const WIDE_HINT: &str =
    "name the networks of the proxies alone, `10.0.12.0/24` or `2001:db8:12::/48` for instance";
const PATH_FORM: &str = "write it like `/healthz`: `/` and letters, digits, `-`, `_`, `.` or `~`";

/// What listener `index` says of what stands before it.
pub(crate) fn front(
    report: &mut ConfigFindings<'_>,
    index: usize,
    raw: &RawListener,
) -> FrontSettings {
    let subject = |key: &str| format!("listeners[{index}].{key}");
    let health = health(report, raw.health.as_ref(), &subject("health"));
    let proxies = raw.proxy_protocol.as_ref().map_or(&[][..], |raw| &raw.from);
    let proxy_protocol = networks(report, proxies, &subject("proxy_protocol.from"));
    let forwarded = raw.forwarded.as_ref().map(|raw| ForwardedSettings {
        from: networks(report, &raw.from, &subject("forwarded.from")),
        header: match raw.header {
            None | Some(RawForwardedHeader::XForwardedFor) => ForwardedHeader::XForwardedFor,
            Some(RawForwardedHeader::Forwarded) => ForwardedHeader::Forwarded,
        },
    });
    let cors = raw
        .cors
        .as_ref()
        .map(|raw| cors(report, raw, &subject("cors")));
    FrontSettings {
        health,
        proxy_protocol,
        forwarded,
        cors,
    }
}

fn cors(report: &mut ConfigFindings<'_>, raw: &RawCors, subject: &str) -> CorsSettings {
    let mut origins: Vec<String> = Vec::with_capacity(raw.origins.len());
    for (index, given) in raw.origins.iter().enumerate() {
        match origin_fault(&given.value) {
            None => origins.push(given.value.clone()),
            Some(fault) => {
                report.error_with_hint(
                    given,
                    format!("`{subject}.origins[{index}]` {fault}"),
                    ORIGIN_FORM,
                );
            }
        }
    }
    let max_age = duration_between(
        report,
        raw.max_age.as_ref(),
        &format!("{subject}.max_age"),
        hours(1),
        Duration::ZERO..=hours(24),
    );
    CorsSettings { origins, max_age }
}

/// Why a text is no origin as browsers send it (RFC 6454 section 6.2).
fn origin_fault(text: &str) -> Option<&'static str> {
    if text.contains('*') {
        return Some("must not be a pattern: each origin is named");
    }
    let Some((scheme, authority)) = text
        .split_once("://")
        .filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
    else {
        return Some("is not an origin");
    };
    if authority.contains(['/', '?', '#']) {
        return Some("must end with the host or port");
    }
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some("must be in lower case, as browsers write it");
    }
    let default = if scheme == "https" { ":443" } else { ":80" };
    if authority.ends_with(default) {
        return Some("must not name the scheme's own port, which browsers leave out");
    }
    HttpUrl::parse(text).is_err().then_some("is not an origin")
}

fn networks(report: &mut ConfigFindings<'_>, raw: &[Spanned<String>], subject: &str) -> Networks {
    let mut checked = Vec::with_capacity(raw.len());
    for (index, given) in raw.iter().enumerate() {
        match Network::parse(&given.value) {
            Ok(network) => {
                let message = match (network.is_everything(), network.is_wide()) {
                    (true, _) => Some("lets everybody say which address is theirs"),
                    (false, true) => Some(
                        "holds more than any organization's own network: strangers in it may say which address is theirs",
                    ),
                    (false, false) => None,
                };
                if let Some(message) = message {
                    report.warning(given, format!("`{subject}[{index}]` {message}"), WIDE_HINT);
                }
                checked.push(network);
            }
            Err(NetworkFault::HostBits(network)) => {
                let hint = format!(
                    "the network is {}; one address stands alone",
                    name(&network.to_string())
                );
                report.error_with_hint(
                    given,
                    format!("`{subject}[{index}]` has bits behind its prefix"),
                    hint,
                );
            }
            Err(NetworkFault::Form) => {
                report.error_with_hint(
                    given,
                    format!("`{subject}[{index}]` is not a network"),
                    NETWORK_FORM,
                );
            }
        }
    }
    Networks::new(checked)
}

fn health(
    report: &mut ConfigFindings<'_>,
    raw: Option<&Spanned<RawHealth>>,
    subject: &str,
) -> HealthSettings {
    let Some(raw) = raw else {
        return HealthSettings::default();
    };
    let grpc = raw.value.grpc.is_some_and(|switch| switch.0);
    if raw.value.path.is_none() && !grpc {
        let hint = "write `health: { path: /healthz, grpc: on }`, or leave it out";
        report.error_with_hint(raw, format!("`{subject}` names nothing to answer"), hint);
    }
    let path = raw.value.path.as_ref().and_then(|path| {
        let fault = health_path_fault(&path.value);
        match fault {
            None => return Some(path.value.clone()),
            Some((fault, hint)) => {
                report.error_with_hint(path, format!("`{subject}.path` {fault}"), hint)
            }
        }
        None
    });
    HealthSettings { path, grpc }
}

/// What is wrong with the path of a probe, and what to write.
fn health_path_fault(path: &str) -> Option<(&'static str, &'static str)> {
    let Some(rest) = path.strip_prefix('/') else {
        return Some(("is not a path", PATH_FORM));
    };
    let is_plain = |word: &str| {
        !matches!(word, "" | "." | "..")
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte))
    };
    // The root alone is what some load balancers ask for unless told otherwise.
    if !rest.is_empty() && !rest.split('/').all(is_plain) {
        return Some(("is not a path", PATH_FORM));
    }
    let first = rest.split('/').next().unwrap_or_default();
    let of_backends = Profile::built_in()
        .filter(|profile| profile.has_query())
        .any(|profile| first.eq_ignore_ascii_case(profile.query_root()));
    if of_backends
        || [".lightkeeper", "apps"]
            .iter()
            .any(|served| first.eq_ignore_ascii_case(served))
    {
        return Some((
            "is a path that identified callers are served at",
            "choose another, `/healthz` for instance",
        ));
    }
    None
}
