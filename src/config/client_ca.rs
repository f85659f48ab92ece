//! `listeners[].tls.client_ca`: whose client certificates count, and for what, checked.
//!
//! What it does: takes both forms, checks names and patterns, and finds authorities that could not be told apart. What it
//! refuses to know: what stands in the files. Invariants: two authorities never have one name, with each other or with an
//! issuer; the short form stands alone, because nothing says which of several authorities may speak for what (SPIFFE
//! Trust Domain and Bundle section 4).

use super::bundle::bundle;
use super::contents::CONTENT_LIMIT_BYTES;
use super::raw::{RawClientAuthority, RawClientCa, RawConfig, RawDemand, RawTls};
use super::report::{ConfigFindings, Content};
use crate::accept::{
    AnchorPlace, CertificateDemand, ClientAuthority, ClientCertificates, ListenerSettings,
};
use crate::apps::Glob;
use crate::document::{self, Diagnostic, Spanned, name, names};
use crate::egress::Egress;
use crate::identify::{
    CLIENT_CERTIFICATES, CLIENT_TOKENS, WEBHOOKS, is_trust_domain, own_trust_domain,
};

/// Every DNS name: what the only authority of a configuration may give.
const EVERY_HOST: &str = "**";

const ANCHORS_HINT: &str = "write `{ name: prod, file: ca.pem, … }`, or `{ name: prod, trust_domains: [prod.acme.example], bundle: { file: bundle.json } }`";

const LIST_HINT: &str = "write a list: `client_ca: [{ name: clients, file: ca.pem, trust_domains: [prod.acme.example], dns: [\"*.acme.example\"] }]`";

/// Checks one listener's demands on clients. `None`: it was reported, or there are none.
pub(crate) fn client_certificates(
    report: &mut ConfigFindings<'_>,
    index: usize,
    raw: &RawTls,
    egress: &Egress,
) -> Option<ClientCertificates> {
    let subject = |key: &str| format!("listeners[{index}].tls.{key}");
    let demand = match raw.client_certificate.as_ref().map(|demand| demand.value) {
        None | Some(RawDemand::Optional) => CertificateDemand::Optional,
        Some(RawDemand::Required) => CertificateDemand::Required,
        Some(RawDemand::Any) => CertificateDemand::Any,
    };
    let Some(given) = &raw.client_ca else {
        let authorities = Vec::new();
        return (demand == CertificateDemand::Any).then_some(ClientCertificates {
            authorities,
            demand,
        });
    };
    let authorities = match &given.value {
        RawClientCa::File(path) => {
            let path = Spanned::new(path.clone(), given.line(), given.column());
            let file = report.path(
                &path,
                &subject("client_ca"),
                Content::ClientAuthority { single: true },
            );
            let crl = optional(&raw.client_crl, |lists| {
                report.path(lists, &subject("client_crl"), Content::Revocations)
            });
            let every_host = Glob::parse(EVERY_HOST, '.').ok()?;
            vec![ClientAuthority {
                name: CLIENT_CERTIFICATES.to_owned(),
                anchors: AnchorPlace::Pem(file?),
                trust_domains: Vec::new(),
                dns: vec![every_host],
                crl: crl?,
                short: true,
            }]
        }
        RawClientCa::List(list) => {
            if let Some(lists) = &raw.client_crl {
                let message = format!(
                    "`{}` stands beside a list of authorities",
                    subject("client_crl")
                );
                report.error_with_hint(lists, message, "give each authority its own `crl`");
            }
            let mut checked: Vec<ClientAuthority> = Vec::new();
            for (place, authority) in list.iter().enumerate() {
                let Some(settings) = one(
                    report,
                    &format!("listeners[{index}].tls.client_ca[{place}]"),
                    authority,
                    egress,
                ) else {
                    continue;
                };
                if checked.iter().any(|other| other.name == settings.name) {
                    report.error(
                        &authority.name,
                        format!("two authorities are named {}", name(&settings.name)),
                    );
                }
                checked.push(settings);
            }
            checked
        }
    };
    Some(ClientCertificates {
        authorities,
        demand,
    })
}

/// `Some(None)`: not given; `None`: reported.
fn optional<T, U>(given: &Option<T>, check: impl FnOnce(&T) -> Option<U>) -> Option<Option<U>> {
    match given {
        Some(given) => check(given).map(Some),
        None => Some(None),
    }
}

fn one(
    report: &mut ConfigFindings<'_>,
    subject: &str,
    raw: &RawClientAuthority,
    egress: &Egress,
) -> Option<ClientAuthority> {
    let reserved = [CLIENT_CERTIFICATES, CLIENT_TOKENS, WEBHOOKS];
    let own_name = report.own_name(&raw.name, &format!("{subject}.name"));
    if reserved.contains(&raw.name.value.as_str()) {
        let hint = format!(
            "policies and records use {} for others; choose another name",
            names(reserved)
        );
        report.error_with_hint(
            &raw.name,
            format!("the name {} is reserved", name(&raw.name.value)),
            hint,
        );
    }
    let anchors = anchors(report, subject, raw, egress);
    let crl = optional(&raw.crl, |lists| {
        report.path(lists, &format!("{subject}.crl"), Content::Revocations)
    });
    let trust_domains = raw
        .trust_domains
        .iter()
        .filter_map(|given| trust_domain(report, given))
        .collect();
    let dns = raw
        .dns
        .iter()
        .filter_map(|given| hosts(report, given))
        .collect();
    Some(ClientAuthority {
        name: own_name?,
        anchors: anchors?,
        trust_domains,
        dns,
        crl: crl?,
        short: false,
    })
}

/// The one place that is given: a PEM file, or a trust domain's bundle, which speaks for that domain and nothing else.
fn anchors(
    report: &mut ConfigFindings<'_>,
    subject: &str,
    raw: &RawClientAuthority,
    egress: &Egress,
) -> Option<AnchorPlace> {
    let given = match (&raw.file, &raw.bundle) {
        (Some(file), None) => {
            let content = Content::ClientAuthority { single: false };
            let path = report.path(file, &format!("{subject}.file"), content);
            return path.map(AnchorPlace::Pem);
        }
        (None, Some(given)) => given,
        (Some(_), Some(_)) | (None, None) => {
            let message = format!("`{subject}` needs exactly one of `file`, `bundle`");
            report.error_with_hint(&raw.name, message, ANCHORS_HINT);
            return None;
        }
    };
    if raw.trust_domains.len() != 1 {
        let message =
            format!("`{subject}.bundle` is of one trust domain, the only one of `trust_domains`");
        report.error_with_hint(given, message, ANCHORS_HINT);
    }
    for host in &raw.dns {
        let message =
            format!("`{subject}.dns` has no use beside `bundle`: it vouches for SPIFFE IDs alone");
        report.error_with_hint(host, message, "remove it");
    }
    let content = Content::AuthorityBundle;
    let checked = bundle(report, &format!("{subject}.bundle"), given, content, egress);
    checked.map(AnchorPlace::Bundle)
}

fn trust_domain(report: &mut ConfigFindings<'_>, given: &Spanned<String>) -> Option<String> {
    if is_trust_domain(&given.value) {
        return Some(given.value.clone());
    }
    let message =
        "a trust domain is written in full, of `a-z 0-9 . - _`, without `spiffe://` and wildcards";
    report.error_with_hint(given, message, "write it like `prod.acme.example`");
    None
}

/// A pattern of host names, in lower case (RFC 4343).
fn hosts(report: &mut ConfigFindings<'_>, given: &Spanned<String>) -> Option<Glob> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte);
    let fault = match Glob::parse(&given.value.to_ascii_lowercase(), '.') {
        Ok(glob) if given.value.bytes().all(allowed) => return Some(glob),
        Ok(_) => "a pattern of DNS names has letters, digits, `-`, `_`, `.` and `*`".to_owned(),
        Err(fault) => fault.to_string(),
    };
    report.error_with_hint(given, fault, "write it like `*.svc.acme.example`");
    None
}

/// Checks that join authorities of several listeners, and issuers.
pub(crate) fn across(
    report: &mut ConfigFindings<'_>,
    raw: &RawConfig,
    listeners: &[ListenerSettings],
) {
    let known: Vec<&ClientAuthority> = listeners.iter().flat_map(authorities).collect();
    let several = known.iter().any(|one| {
        known
            .iter()
            .any(|other| one.anchors != other.anchors || one.short != other.short)
    });
    let mut seen: Vec<&ClientAuthority> = Vec::new();
    for (index, listener) in raw.listeners.iter().enumerate() {
        let Some(given) = listener.tls.as_ref().and_then(|tls| tls.client_ca.as_ref()) else {
            continue;
        };
        let list = match &given.value {
            RawClientCa::File(_) if several => {
                let message = format!(
                    "`listeners[{index}].tls.client_ca` does not say what its authority may speak for, and it is not the only one"
                );
                report.error_with_hint(given, message, LIST_HINT);
                continue;
            }
            RawClientCa::File(_) => continue,
            RawClientCa::List(list) => list,
        };
        for authority in list {
            if raw
                .issuers
                .iter()
                .any(|issuer| issuer.name.value == authority.name.value)
            {
                let message = format!(
                    "an issuer of tokens is named {} already",
                    name(&authority.name.value)
                );
                report.error_with_hint(
                    &authority.name,
                    message,
                    "policies call both `issuer`: choose another name",
                );
            }
            let of_listener = listeners
                .iter()
                .filter(|settings| settings.name == listener.name.value);
            let settings = of_listener
                .flat_map(authorities)
                .find(|settings| settings.name == authority.name.value);
            let Some(settings) = settings else { continue };
            match seen.iter().find(|other| other.name == settings.name) {
                Some(other) if *other != settings => {
                    let message = format!(
                        "another listener has another authority {}",
                        name(&settings.name)
                    );
                    let hint = "policies and records tell authorities apart by their names: write the same, or name it otherwise";
                    report.error_with_hint(&authority.name, message, hint);
                }
                Some(_) => {}
                None => {
                    for other in &seen {
                        overlap(report, &authority.name, settings, other);
                    }
                    seen.push(settings);
                }
            }
        }
    }
}

/// Warns of two authorities that may speak for one name: a policy that names no `issuer` takes the word of either.
fn overlap(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<String>,
    one: &ClientAuthority,
    other: &ClientAuthority,
) {
    let domain = one
        .trust_domains
        .iter()
        .find(|domain| other.trust_domains.contains(domain));
    let hosts = one
        .dns
        .iter()
        .find_map(|mine| Some((mine, other.dns.iter().find(|theirs| theirs.meets(mine))?)));
    let both = format!(
        "the authorities {} and {} may both speak for",
        name(&other.name),
        name(&one.name)
    );
    let hint = "leave it to one of them; where both are meant, subjects of the policy say which: `{ issuer: …, … }`";
    if let Some(domain) = domain {
        report.warning(
            at,
            format!("{both} the trust domain {}", name(domain)),
            hint,
        );
    }
    if let Some((mine, theirs)) = hosts {
        let pattern = match mine.as_str() == theirs.as_str() {
            true => name(mine.as_str()),
            false => format!(
                "some name that fits {} and {}",
                name(theirs.as_str()),
                name(mine.as_str())
            ),
        };
        report.warning(at, format!("{both} {pattern}"), hint);
    }
}

/// A listener's authorities for client certificates.
pub(crate) fn authorities(listener: &ListenerSettings) -> impl Iterator<Item = &ClientAuthority> {
    listener
        .tls
        .iter()
        .flat_map(|tls| &tls.clients)
        .flat_map(|clients| &clients.authorities)
}

/// Says of a short form what it binds its authority to, and binds it: the trust domain that its own certificate names, or
/// else those that the policy names, as far as nothing else is configured for them (`spoken_for`); and every DNS name,
/// because there is no other authority whose names could be meant.
pub(crate) fn infer(
    listeners: &mut [ListenerSettings],
    file: &std::path::Path,
    place: impl Fn(&str) -> (u64, u64),
    named_by_policy: &[&str],
    spoken_for: &[&str],
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (index, listener) in listeners.iter_mut().enumerate() {
        let (line, column) = place(&listener.name);
        let clients = listener.tls.as_mut().and_then(|tls| tls.clients.as_mut());
        for authority in clients
            .into_iter()
            .flat_map(|clients| &mut clients.authorities)
            .filter(|one| one.short)
        {
            // What is wrong with the file is told where it is named.
            let own = match &authority.anchors {
                AnchorPlace::Pem(file) => document::read(file, CONTENT_LIMIT_BYTES).ok(),
                AnchorPlace::Bundle(_) => None,
            };
            let own = own.and_then(|pem| own_trust_domain(&pem));
            let source = if own.is_some() {
                "its certificate names"
            } else {
                "the policy names"
            };
            let domains = own.map_or_else(
                || named_by_policy.iter().map(|&one| one.to_owned()).collect(),
                |one| vec![one],
            );
            let subject = format!("`listeners[{index}].tls.client_ca`");
            let message = match domains.is_empty() {
                true if !spoken_for.is_empty() => format!(
                    "{subject} speaks for no SPIFFE trust domain, because its certificate names none, and `issuers` has those \
                     that the policy names: {}",
                    names(spoken_for.iter().copied())
                ),
                true => format!(
                    "{subject} speaks for no SPIFFE trust domain, because neither its certificate nor the policy names one"
                ),
                false => {
                    let domains = names(domains.iter().map(String::as_str));
                    format!("{subject} speaks for the trust domains that {source}: {domains}")
                }
            };
            authority.trust_domains = domains;
            let message = format!("{message}; and for every DNS name");
            found.push(Diagnostic::warning(file, line, column, message).with_hint(LIST_HINT));
        }
    }
    found
}
