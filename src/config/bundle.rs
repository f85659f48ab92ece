//! The bundle of a SPIFFE trust domain, of an issuer of JWT-SVIDs or of an authority for client certificates, checked.
//!
//! What it does: takes the one place that is given, and the way there. What it refuses to know: what stands in a bundle.
//! Invariants: exactly one place is named; what has no effect at it is an error; a bundle never comes in plaintext from
//! another machine.

use super::address::HttpUrl;
use super::egress::{host_of, own, route};
use super::issuer_parts::{IN_PLAINTEXT, fetched_url, place};
use super::own_certificate::socket;
use super::raw::RawBundle;
use super::report::{ConfigFindings, Content};
use crate::accept::{BundlePlace, BundleSettings};
use crate::document::Spanned;
use crate::egress::Egress;

const HINT: &str = "write `{ file: bundle.json }`, `{ url: https://… }` or `{ workload_api: unix:///run/spire/agent.sock }`";

/// `subject` is where it stands; `content` what a file must hold. `None`: it was reported.
pub(crate) fn bundle(
    report: &mut ConfigFindings<'_>,
    subject: &str,
    raw: &Spanned<RawBundle>,
    content: Content,
    egress: &Egress,
) -> Option<BundleSettings> {
    let at = |key: &str| format!("{subject}.{key}");
    let RawBundle {
        file,
        url,
        workload_api,
        ca,
        proxy,
    } = &raw.value;
    let egress = own(report, egress, proxy.as_ref(), subject);
    let is_fetched = url.is_some();
    if !is_fetched {
        let unused = [
            ("ca", ca.as_ref().map(place)),
            ("proxy", proxy.as_ref().map(place)),
        ];
        for (key, given) in unused {
            if let Some(given) = given {
                let message = format!("`{}` has no use: the bundle is not fetched", at(key));
                report.error_with_hint(&given, message, "remove it");
            }
        }
    }
    let found = match (file, url, workload_api) {
        (Some(file), None, None) => {
            let path = report.path(file, &at("file"), content);
            path.map(BundlePlace::File)
        }
        (None, None, Some(address)) => {
            let socket = socket(report, address, &at("workload_api"));
            socket.map(BundlePlace::WorkloadApi)
        }
        (None, Some(url), None) => {
            let parsed = HttpUrl::parse_with_query(&url.value);
            let checked = fetched_url(report, url, &url.value, parsed, &at("url"), IN_PLAINTEXT);
            if let Some((tls, host, port)) = checked.as_deref().and_then(host_of) {
                route(report, &egress, url, (tls, &host, port));
            }
            checked.map(BundlePlace::Url)
        }
        _ => {
            let message = format!("`{subject}` needs exactly one of `file`, `url`, `workload_api`");
            report.error_with_hint(raw, message, HINT);
            None
        }
    };
    let ca = match ca {
        Some(_) if !is_fetched => None,
        Some(given) => Some(report.path(given, &at("ca"), Content::Trust)?),
        None => None,
    };
    Some(BundleSettings {
        place: found?,
        ca,
        egress: if is_fetched { egress } else { Egress::Direct },
    })
}
