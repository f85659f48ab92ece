//! `egress:` and each `proxy:`, checked.
//!
//! What it does: says which proxy the gateway's own calls take. What it refuses to know: tunnels.
//! Invariants: a proxy's password is a reference; what stands in a URL's place never reaches a message; a part of the
//! configuration that names its own proxy, or `off`, is led by nothing else.

use std::sync::Arc;

use super::raw::{PROXY_HINT, RawEgress, RawProxy};
use super::report::{ConfigFindings, Content};
use super::vault::reference;
use crate::accept::BundlePlace;
use crate::document::{Spanned, name};
use crate::egress::{Egress, NoProxy, ProxyCredentials, ProxySettings, ProxyUrl};
use crate::identify::{IssuerSettings, KeySource};

/// The way of everything that names none of its own.
pub(crate) fn egress(report: &mut ConfigFindings<'_>, raw: &RawEgress) -> Egress {
    let mut no_proxy = NoProxy::default();
    for (index, entry) in raw.no_proxy.iter().enumerate() {
        if !no_proxy.add(&entry.value) {
            let message = format!(
                "`egress.no_proxy[{index}]` is no host, address or network: {}",
                name(&entry.value)
            );
            let hint = "write `.cluster.local` (a name and all beneath it), `10.1.2.3`, `10.0.0.0/8`, `host.example:8443` or `*`";
            report.error_with_hint(entry, message, hint);
        }
    }
    let environment = |report: &ConfigFindings<'_>, no_proxy| Egress::Environment {
        environment: report.environment().clone(),
        no_proxy,
    };
    match &raw.proxy {
        None => environment(report, no_proxy),
        Some(given) => proxy(report, given, "egress.proxy", no_proxy.clone())
            .unwrap_or_else(|| environment(report, no_proxy)),
    }
}

/// The way of one part of the configuration: its own, or else the common one.
pub(crate) fn own(
    report: &mut ConfigFindings<'_>,
    common: &Egress,
    given: Option<&Spanned<RawProxy>>,
    subject: &str,
) -> Egress {
    let own = given.and_then(|given| {
        proxy(
            report,
            given,
            &format!("{subject}.proxy"),
            NoProxy::default(),
        )
    });
    own.unwrap_or_else(|| common.clone())
}

/// `None`: reported.
fn proxy(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<RawProxy>,
    subject: &str,
    no_proxy: NoProxy,
) -> Option<Egress> {
    let (text, credentials) = match &at.value {
        RawProxy::Text(word) if word == "off" => return Some(Egress::Direct),
        RawProxy::Text(word) if word == "env" => {
            return Some(Egress::Environment {
                environment: report.environment().clone(),
                no_proxy,
            });
        }
        RawProxy::Text(url) => (url, None),
        RawProxy::Known(known) => (&known.url, known.credentials.as_ref()),
    };
    let url = match ProxyUrl::parse(text) {
        Ok(url) if text.contains("://") => url,
        Ok(_) => {
            report.error_with_hint(
                at,
                format!("`{subject}` is neither `env`, `off` nor a URL"),
                PROXY_HINT,
            );
            return None;
        }
        Err(fault) => {
            report.error_with_hint(at, format!("`{subject}` {fault}"), PROXY_HINT);
            return None;
        }
    };
    if url.credentials.is_some() {
        let hint = "write where they are kept: `{ url: http://proxy.example:3128, credentials: { file: path } }`";
        report.error_with_hint(
            at,
            format!("`{subject}` must not hold a user or password"),
            hint,
        );
        return None;
    }
    let Some(port) = url.port else {
        report.error_with_hint(
            at,
            format!("`{subject}` needs a port"),
            "write it like `http://proxy.example:3128`",
        );
        return None;
    };
    let credentials = match credentials {
        None => None,
        Some(given) => {
            let subject = format!("{subject}.credentials");
            Some(ProxyCredentials::Reference(reference(
                report,
                given,
                &subject,
                Content::ProxyCredentials,
            )?))
        }
    };
    Some(Egress::Through {
        proxy: Arc::new(ProxySettings {
            host: url.host,
            port,
            credentials,
        }),
        no_proxy,
    })
}

/// The proxy to a host that stands at `at`; a variable that names none we can use is reported.
pub(crate) fn route<T>(
    report: &mut ConfigFindings<'_>,
    egress: &Egress,
    at: &Spanned<T>,
    (tls, host, port): (bool, &str, u16),
) -> Option<Arc<ProxySettings>> {
    match egress.route(tls, host, port) {
        Ok(proxy) => proxy.cloned(),
        Err(unusable) => {
            let hint = "unset it, name the host in `egress.no_proxy`, or say `proxy: off` here or in `egress`";
            report.error_with_hint(at, format!("{unusable}, and would lead to this host"), hint);
            None
        }
    }
}

/// Whether TLS, host and port of what is asked of an issuer first; nothing, where its keys are a file and no login uses it
/// there. What its discovery document names takes the same rules.
pub(crate) fn first_asked(issuer: &IssuerSettings, logs_in: bool) -> Option<(bool, String, u16)> {
    let url = match &issuer.keys {
        KeySource::Url(url) if !logs_in => url,
        KeySource::File(_) | KeySource::Nowhere if !logs_in => return None,
        KeySource::Bundle {
            bundle: BundlePlace::Url(url),
            ..
        } => url,
        KeySource::Bundle { .. } => return None,
        _ => &issuer.issuer,
    };
    host_of(url)
}

/// Whether TLS, host and port of a URL.
pub(crate) fn host_of(url: &str) -> Option<(bool, String, u16)> {
    let url: http::Uri = url.parse().ok()?;
    let tls = url.scheme_str()? == "https";
    let host = url
        .host()?
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_ascii_lowercase();
    Some((
        tls,
        host,
        url.port_u16().unwrap_or(if tls { 443 } else { 80 }),
    ))
}
