//! `listeners:` and `admin:`, checked.
//!
//! What it does: addresses, names, TLS and demands on clients. What it refuses to know: sockets.
//! Invariant: no two listeners can want the same address.

use std::net::{IpAddr, SocketAddr};

use super::address::HttpUrl;
use super::client_ca::client_certificates;
use super::front::front;
use super::own_certificate::{GivenCertificate, WrittenCertificate, own_certificate};
use super::raw::{RawAdmin, RawDemand, RawListener, RawService, RawTls, RawTlsVersion};
use super::report::ConfigFindings;
use crate::accept::{ListenerSettings, OwnCertificate, Serves, TlsSettings};
use crate::document::{Spanned, name};
use crate::egress::Egress;

/// Where probes and metrics are served unless the file says otherwise: 9464 is the port that
/// OpenTelemetry's Prometheus exporters use, and loopback discloses nothing.
const ADMIN_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9464);

pub(crate) fn listeners(
    report: &mut ConfigFindings<'_>,
    raw: &[RawListener],
    admin: &RawAdmin,
    egress: &Egress,
) -> (Vec<ListenerSettings>, SocketAddr) {
    let mut checked: Vec<ListenerSettings> = Vec::new();
    for (index, listener) in raw.iter().enumerate() {
        let Some(settings) = one(report, index, listener, egress) else {
            continue;
        };
        if checked.iter().any(|other| other.name == settings.name) {
            report.error(
                &listener.name,
                format!("two listeners are named {}", name(&settings.name)),
            );
        }
        if let Some(other) = checked
            .iter()
            .find(|other| collide(other.address, settings.address))
        {
            report.error(
                &listener.address,
                format!("listener {} already has this address", name(&other.name)),
            );
        }
        checked.push(settings);
    }
    let mut admin_address = ADMIN_ADDRESS;
    if let Some(given) = &admin.address
        && let Some(address) = socket(report, given, "admin.address")
    {
        admin_address = address;
        if let Some(other) = checked.iter().find(|other| collide(other.address, address)) {
            report.error(
                given,
                format!("listener {} already has this address", name(&other.name)),
            );
        }
    }
    (checked, admin_address)
}

fn one(
    report: &mut ConfigFindings<'_>,
    index: usize,
    raw: &RawListener,
    egress: &Egress,
) -> Option<ListenerSettings> {
    let subject = |key: &str| format!("listeners[{index}].{key}");
    let own_name = report.own_name(&raw.name, &subject("name"));
    let address = socket(report, &raw.address, &subject("address"));
    let serves = serves(raw.serves.as_deref());
    let tls = raw
        .tls
        .as_ref()
        .map(|tls| tls_settings(report, index, &raw.name, tls, egress));
    let public_url = raw
        .public_url
        .as_ref()
        .map(|url| public_url(report, url, &subject("public_url")));
    let front = front(report, index, raw);
    if tls.is_none() && address.is_some_and(|address| !address.ip().is_loopback()) {
        report.warning(
            &raw.address,
            format!("`listeners[{index}]` takes credentials in plaintext from other machines"),
            "add `tls:`, or listen on a loopback address",
        );
    }
    Some(ListenerSettings {
        name: own_name?,
        address: address?,
        serves,
        tls: match tls {
            Some(checked) => Some(checked?),
            None => None,
        },
        public_url: match public_url {
            Some(checked) => Some(checked?),
            None => None,
        },
        front,
    })
}

fn serves(raw: Option<&[Spanned<RawService>]>) -> Serves {
    let has = |service| raw.is_none_or(|given| given.iter().any(|one| one.value == service));
    Serves {
        ingest: has(RawService::Ingest),
        query: has(RawService::Query),
        web: has(RawService::Web),
        legacy: has(RawService::Legacy),
    }
}

fn socket(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<String>,
    subject: &str,
) -> Option<SocketAddr> {
    match at.value.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            let message = format!("`{subject}` must be an IP address and a port");
            report.error_with_hint(
                at,
                message,
                "write it like `127.0.0.1:8443`, `0.0.0.0:8443` or `[::]:8443`",
            );
            None
        }
    }
}

/// Port 0 asks for any free port and collides with nothing; "every address" collides with each. That of IPv6 takes IPv4's with
/// it, unless the system is told otherwise (RFC 3493 section 5.3).
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let (left, right) = (one.ip().to_canonical(), other.ip().to_canonical());
    let covers =
        |every: IpAddr, one: IpAddr| every.is_unspecified() && (every.is_ipv6() || one.is_ipv4());
    one.port() != 0
        && one.port() == other.port()
        && (left == right || covers(left, right) || covers(right, left))
}

fn tls_settings(
    report: &mut ConfigFindings<'_>,
    index: usize,
    at: &Spanned<String>,
    raw: &RawTls,
    egress: &Egress,
) -> Option<TlsSettings> {
    let subject = |key: &str| format!("listeners[{index}].tls.{key}");
    let given = GivenCertificate {
        certificate: raw.certificate.as_ref(),
        key: raw.key.as_ref(),
        workload_api: raw.workload_api.as_ref(),
    };
    let own = own_certificate(report, &format!("listeners[{index}].tls"), at, &given);
    let takes_any = |demand: &Spanned<RawDemand>| demand.value == RawDemand::Any;
    let clients = match &raw.client_ca {
        Some(_) => Some(client_certificates(report, index, raw, egress)),
        None if raw.client_certificate.as_ref().is_some_and(takes_any) => {
            if let Some(lists) = &raw.client_crl {
                needs_client_ca(report, lists, &subject("client_crl"));
            }
            Some(client_certificates(report, index, raw, egress))
        }
        None => {
            if let Some(demand) = &raw.client_certificate {
                needs_client_ca(report, demand, &subject("client_certificate"));
            }
            if let Some(lists) = &raw.client_crl {
                needs_client_ca(report, lists, &subject("client_crl"));
            }
            None
        }
    };
    Some(TlsSettings {
        own: match own? {
            WrittenCertificate::Files { certificate, key } => {
                OwnCertificate::Files { certificate, key }
            }
            WrittenCertificate::WorkloadApi(socket) => OwnCertificate::WorkloadApi(socket),
        },
        only_tls13: raw.minimum == Some(RawTlsVersion::Tls13),
        clients: match clients {
            Some(checked) => Some(checked?),
            None => None,
        },
    })
}

fn needs_client_ca<T>(report: &mut ConfigFindings<'_>, at: &Spanned<T>, subject: &str) {
    let hint =
        "name the certificates that clients' certificates must chain to: `client_ca: ca.pem`";
    report.error_with_hint(at, format!("`{subject}` needs `client_ca` beside it"), hint);
}

fn public_url(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<String>,
    subject: &str,
) -> Option<String> {
    let fault = match HttpUrl::parse(&at.value) {
        Ok(url) if url.path.is_empty() || url.path == "/" => {
            return Some(at.value.trim_end_matches('/').to_owned());
        }
        Ok(_) => "must not have a path",
        Err(fault) => fault,
    };
    report.error_with_hint(
        at,
        format!("`{subject}` {fault}"),
        "write it like `https://telemetry.acme.example`",
    );
    None
}
