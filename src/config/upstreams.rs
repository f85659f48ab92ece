//! One endpoint of a backend, checked.
//!
//! What it does: its URL, our certificate for it, and waiting times. What it refuses to know:
//! connections. Invariant: an upstream path prefix is canonical, so that rebuilt paths stay so.

use std::time::Duration;

use super::address::HttpUrl;
use super::egress::{own, route};
use super::limits::{duration_between, hours};
use super::own_certificate::{GivenCertificate, WrittenCertificate, own_certificate};
use super::raw::{RawClient, RawUpstream};
use super::report::{ConfigFindings, Content};
use crate::document::Spanned;
use crate::egress::Egress;
use crate::forward::{ClientIdentity, UpstreamSettings};
use crate::profiles::Profile;

/// `place` is what it is called, `upstreams.ingest`; `read` how long its answers may take by default.
pub(crate) fn upstream(
    report: &mut ConfigFindings<'_>,
    place: &str,
    raw: &Spanned<RawUpstream>,
    read: Duration,
    egress: &Egress,
    profile: &Profile,
) -> Option<UpstreamSettings> {
    let subject = |key: &str| format!("{place}.{key}");
    let at = written(report, place, raw, profile)?;
    let raw = &raw.value;
    let url = url(report, &at, &subject("url"), profile);
    let plaintext = url.as_ref().is_some_and(|(url, _)| !url.tls);
    let ca = raw.ca.as_ref().map(|ca| {
        only_over_tls(report, plaintext, ca, &subject("ca"));
        report.path(ca, &subject("ca"), Content::Trust)
    });
    let client = raw.client.as_ref().map(|client| {
        only_over_tls(report, plaintext, client, &subject("client"));
        client_identity(report, &subject("client"), client)
    });
    let egress = own(report, egress, raw.proxy.as_ref(), place);
    let proxy = match &url {
        Some((url, _)) => route(report, &egress, &at, (url.tls, &url.host, url.port)),
        None => None,
    };
    let given = &raw.timeouts;
    let mut timeout = |given: Option<&_>, key: &str, default: Duration| {
        let subject = format!("{place}.timeouts.{key}");
        duration_between(
            report,
            given,
            &subject,
            default,
            Duration::from_millis(1)..=hours(1),
        )
    };
    let connect_timeout = timeout(given.connect.as_ref(), "connect", Duration::from_secs(5));
    let read_timeout = timeout(given.read.as_ref(), "read", read);
    let write_timeout = timeout(given.write.as_ref(), "write", Duration::from_secs(30));
    let idle_timeout = timeout(given.idle.as_ref(), "idle", Duration::from_secs(60));
    let (url, base_path) = url?;
    Some(UpstreamSettings {
        tls: url.tls,
        host: url.host,
        port: url.port,
        base_path,
        ca: match ca {
            Some(checked) => Some(checked?),
            None => None,
        },
        client: match client {
            Some(checked) => Some(checked?),
            None => None,
        },
        proxy,
        connect_timeout,
        read_timeout,
        write_timeout,
        idle_timeout,
    })
}

/// The address that is given, or the profile's own.
fn written(
    report: &mut ConfigFindings<'_>,
    place: &str,
    raw: &Spanned<RawUpstream>,
    profile: &Profile,
) -> Option<Spanned<String>> {
    if let Some(given) = &raw.value.url {
        return Some(given.clone());
    }
    let addresses = &profile.addresses;
    let usual = match place.rsplit('.').next() {
        Some("ingest") => addresses.usual_ingest(),
        Some("grpc") => addresses.usual_grpc(),
        _ => None,
    };
    if usual.is_none() {
        let message = format!("`{place}` has no `url`");
        let hint = format!("add it: `{{ url: {} }}`", addresses.ingest);
        report.error_with_hint(raw, message, hint);
    }
    usual.map(|usual| raw.as_ref().map(|_| usual.to_owned()))
}

fn url(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<String>,
    subject: &str,
    profile: &Profile,
) -> Option<(HttpUrl, String)> {
    let url = match HttpUrl::parse(&at.value) {
        Ok(url) => url,
        Err(fault) => {
            let hint = format!("write it like `{}`", profile.addresses.ingest);
            report.error_with_hint(at, format!("`{subject}` {fault}"), hint);
            return None;
        }
    };
    let base_path = url.path.strip_suffix('/').unwrap_or(&url.path).to_owned();
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let canonical = base_path.split('/').skip(1).all(|segment| {
        !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(unreserved)
    });
    if !canonical {
        let hint =
            "segments of letters, digits, `-`, `.`, `_` and `~`, none of them empty, `.` or `..`";
        report.error_with_hint(
            at,
            format!("the path of `{subject}` is not canonical"),
            hint,
        );
        return None;
    }
    if !url.tls && !url.is_loopback() {
        let message =
            format!("`{subject}` sends the backend's credentials in plaintext to another machine");
        report.warning(at, message, "use `https`");
    }
    Some((url, base_path))
}

fn only_over_tls<T>(
    report: &mut ConfigFindings<'_>,
    plaintext: bool,
    at: &Spanned<T>,
    subject: &str,
) {
    if plaintext {
        report.error_with_hint(
            at,
            format!("`{subject}` has no use: the URL is plain `http`"),
            "use `https`, or remove it",
        );
    }
}

/// A certificate of ours, with the place of its setting. `None`: it was reported.
pub(crate) fn client_identity(
    report: &mut ConfigFindings<'_>,
    place: &str,
    at: &Spanned<RawClient>,
) -> Option<ClientIdentity> {
    let raw = &at.value;
    let given = GivenCertificate {
        certificate: raw.certificate.as_ref(),
        key: raw.key.as_ref(),
        workload_api: raw.workload_api.as_ref(),
    };
    match own_certificate(report, place, at, &given)? {
        WrittenCertificate::Files { certificate, key } => {
            Some(ClientIdentity::Files { certificate, key })
        }
        WrittenCertificate::WorkloadApi(socket) => Some(ClientIdentity::WorkloadApi(socket)),
    }
}
