//! `audit.sinks`, checked.
//!
//! What it does: says where records go besides the trail's file. What it refuses to know: records, and how they are sent.
//! Invariants: each sink has a name of its own, which can be that of a file; nothing goes to another machine in plaintext unless
//! the configuration says so, and then with a warning; secrets are references.

use std::path::PathBuf;

use super::address::HttpUrl;
use super::alerts::header;
use super::egress::{own, route};
use super::limits::size_between;
use super::log_name::log_name;
use super::raw::{
    RawConfig, RawFacility, RawOtlpSink, RawResume, RawSink, RawSinkClient, RawSinkFailure,
    RawSyslogSink, RawTransport, RawWitness,
};
use super::report::{ConfigFindings, Content};
use crate::audit::{
    OtlpSinkSettings, SinkFailurePolicy, SinkKind, SinkSettings, SyslogSinkSettings, SyslogTls,
    WitnessSettings,
};
use crate::document::{Spanned, name};
use crate::egress::{Egress, host_and_port, is_this_machine};
use crate::otlp::LOGS_PATH;
use crate::transparency::WitnessKey;

/// The most sinks: each has a thread.
const SINK_LIMIT: usize = 8;
/// 6514 is the port of syslog over TLS (RFC 5425 section 4.1).
const SYSLOG_HINT: &str = "write it like `logs.example:6514`";

pub(super) fn sinks(
    report: &mut ConfigFindings<'_>,
    whole: &RawConfig,
    egress: &Egress,
) -> Vec<SinkSettings> {
    let raw = &whole.audit;
    if raw.sinks.is_empty() && raw.witnesses.is_empty() {
        return Vec::new();
    }
    if let Some(surplus) = raw.sinks.get(SINK_LIMIT) {
        report.error(
            surplus,
            format!("there may be {SINK_LIMIT} `audit.sinks` at most"),
        );
    }
    if raw.file.is_none()
        && let Some(first) = raw.sinks.first()
    {
        let message = "without `audit.file` records wait for sinks in memory alone, and there are no checkpoints";
        report.warning(first, message, "add `audit: { file: audit.jsonl }`");
    }
    let Some((log, instance)) = log_name(report, whole) else {
        return Vec::new();
    };
    let mut found: Vec<SinkSettings> = Vec::new();
    for (index, given) in raw.sinks.iter().enumerate() {
        let subject = format!("audit.sinks[{index}]");
        let has_file = raw.file.is_some();
        let Some(kind) = kind(report, given, &subject, has_file, egress) else {
            continue;
        };
        let own_name = match &given.value.name {
            Some(given) => report.own_name(given, &format!("{subject}.name")),
            None => Some(kind.word().to_owned()),
        };
        let Some(own_name) = own_name else { continue };
        if found.iter().any(|known| known.name == own_name) {
            let message = format!("two of `audit.sinks` are called {}", name(&own_name));
            let hint = "give each a `name`: metrics and the file beside the trail go by it";
            report.error_with_hint(given, message, hint);
        }
        let queue = given.value.queue.as_ref();
        let bytes = queue.and_then(|queue| queue.bytes.as_ref());
        let at = format!("{subject}.queue.bytes");
        found.push(SinkSettings {
            name: own_name,
            kind,
            on_failure: match given.value.on_failure {
                // The trail itself has every record.
                None | Some(RawSinkFailure::Drop) => SinkFailurePolicy::Drop,
                Some(RawSinkFailure::Refuse) => SinkFailurePolicy::Refuse,
            },
            // A few seconds of a busy gateway, as `audit.queue`.
            queue_records: queue
                .and_then(|queue| queue.records)
                .map_or(4096, u64::from),
            queue_bytes: size_between(report, bytes, &at, 16 << 20, 64 << 10..=1 << 30),
            resumes: given.value.resume != Some(RawResume::Memory),
            log: log.clone(),
            instance: instance.clone(),
        });
    }
    if let Some(surplus) = raw.witnesses.get(SINK_LIMIT) {
        report.error(
            surplus,
            format!("there may be {SINK_LIMIT} `audit.witnesses` at most"),
        );
    }
    for (index, given) in raw.witnesses.iter().enumerate() {
        let subject = format!("audit.witnesses[{index}]");
        if whole.vault.audit_keys.is_empty() {
            let message = format!("`{subject}` needs `vault.audit_keys`, which sign checkpoints");
            report.error(given, message);
        }
        let own_name = match &given.value.name {
            Some(given) => report.own_name(given, &format!("{subject}.name")),
            None => Some("witness".to_owned()),
        };
        let checked = witness(report, &given.value, &subject, egress);
        let (Some(own_name), Some(checked)) = (own_name, checked) else {
            continue;
        };
        if found.iter().any(|known| known.name == own_name) {
            let message = format!("two sinks or witnesses are called {}", name(&own_name));
            report.error_with_hint(given, message, "give each a `name`");
        }
        found.push(SinkSettings {
            name: own_name,
            kind: SinkKind::Witness(checked),
            on_failure: SinkFailurePolicy::Drop,
            queue_records: 1,
            queue_bytes: 0,
            resumes: true,
            log: log.clone(),
            instance: instance.clone(),
        });
    }
    found
}

fn witness(
    report: &mut ConfigFindings<'_>,
    raw: &RawWitness,
    subject: &str,
    egress: &Egress,
) -> Option<WitnessSettings> {
    let at = |key: &str| format!("{subject}.{key}");
    let egress = own(report, egress, raw.proxy.as_ref(), subject);
    let url = https(report, &raw.url, &at("url"), &egress);
    let key = WitnessKey::parse(&raw.key.value)
        .map_err(|fault| report.error(&raw.key, format!("`{}`: {fault}", at("key"))));
    let (ca, _) = trust(report, raw.ca.as_ref(), None, &at);
    url?;
    Some(WitnessSettings {
        url: raw.url.value.trim_end_matches('/').to_owned(),
        key: key.ok()?,
        ca: ca?,
        egress,
    })
}

fn kind(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<RawSink>,
    subject: &str,
    has_file: bool,
    egress: &Egress,
) -> Option<SinkKind> {
    match (&at.value.stdout, &at.value.otlp, &at.value.syslog) {
        (Some(_), None, None) if !has_file => {
            let message = "without `audit.file` the trail is on standard output already";
            let hint = "leave this sink out, or add `audit: { file: audit.jsonl }`";
            report.error_with_hint(at, message, hint);
            None
        }
        (Some(_), None, None) => Some(SinkKind::Stdout),
        (None, Some(given), None) => otlp(report, given, subject, egress).map(SinkKind::Otlp),
        (None, None, Some(given)) => syslog(report, given, subject, egress).map(SinkKind::Syslog),
        _ => {
            let message = format!("`{subject}` needs exactly one of `stdout`, `otlp`, `syslog`");
            let hint = "write `- stdout: {}`, `- otlp: { url: https://… }` or `- syslog: { address: \"logs.example:6514\" }`";
            report.error_with_hint(at, message, hint);
            None
        }
    }
}

fn otlp(
    report: &mut ConfigFindings<'_>,
    raw: &RawOtlpSink,
    subject: &str,
    egress: &Egress,
) -> Option<OtlpSinkSettings> {
    let at = |key: &str| format!("{subject}.otlp.{key}");
    let egress = own(
        report,
        egress,
        raw.proxy.as_ref(),
        &format!("{subject}.otlp"),
    );
    let url = https(report, &raw.url, &at("url"), &egress);
    let headers = raw.headers.iter().enumerate();
    let headers: Vec<_> = headers
        .map(|(index, given)| header(report, given, &at(&format!("headers[{index}]"))))
        .collect();
    let (ca, certificate) = trust(report, raw.ca.as_ref(), raw.client.as_ref(), &at);
    let given = raw.url.value.trim_end_matches('/');
    Some(OtlpSinkSettings {
        url: match url?.path.trim_end_matches('/') {
            "" => format!("{given}{LOGS_PATH}"),
            _ => raw.url.value.clone(),
        },
        headers: headers.into_iter().collect::<Option<_>>()?,
        ca: ca?,
        certificate: certificate?,
        egress,
    })
}

/// A URL to which something is sent. `None`: reported.
fn https(
    report: &mut ConfigFindings<'_>,
    given: &Spanned<String>,
    subject: &str,
    egress: &Egress,
) -> Option<HttpUrl> {
    match HttpUrl::parse(&given.value) {
        Ok(url) if url.tls || url.is_loopback() => {
            route(report, egress, given, (url.tls, &url.host, url.port));
            Some(url)
        }
        Ok(_) => {
            let message = format!("`{subject}` must be `https` (`http` only on loopback)");
            report.error(given, message);
            None
        }
        Err(fault) => {
            let hint = "write it like `https://logs.example:4318`";
            report.error_with_hint(given, format!("`{subject}` {fault}"), hint);
            None
        }
    }
}

type Trust = (Option<Option<PathBuf>>, Option<Option<(PathBuf, PathBuf)>>);

/// The anchors, and the certificate that we show; the outer `None`: reported.
fn trust(
    report: &mut ConfigFindings<'_>,
    ca: Option<&Spanned<String>>,
    client: Option<&Spanned<RawSinkClient>>,
    at: &impl Fn(&str) -> String,
) -> Trust {
    let ca = ca.map(|given| report.path(given, &at("ca"), Content::Trust));
    let client = client.map(|given| {
        let RawSinkClient { certificate, key } = &given.value;
        let certificate = report.path(
            certificate,
            &at("client.certificate"),
            Content::Certificates,
        );
        let content = Content::Key {
            certificate: certificate.clone().unwrap_or_default(),
        };
        let key = report.path(key, &at("client.key"), content);
        certificate.zip(key)
    });
    // Absent is well; given and not found is not.
    let ca = match ca {
        None => Some(None),
        Some(found) => found.map(Some),
    };
    let client = match client {
        None => Some(None),
        Some(found) => found.map(Some),
    };
    (ca, client)
}

fn syslog(
    report: &mut ConfigFindings<'_>,
    raw: &RawSyslogSink,
    subject: &str,
    egress: &Egress,
) -> Option<SyslogSinkSettings> {
    let at = |key: &str| format!("{subject}.syslog.{key}");
    let egress = own(
        report,
        egress,
        raw.proxy.as_ref(),
        &format!("{subject}.syslog"),
    );
    let place = match host_and_port(&raw.address.value) {
        Some((host, Some(port))) => Some((host, port)),
        _ => {
            let message = format!("`{}` is no host with a port", at("address"));
            report.error_with_hint(&raw.address, message, SYSLOG_HINT);
            None
        }
    };
    let is_tls = raw.transport != Some(RawTransport::Tcp);
    if let Some((host, port)) = &place {
        route(report, &egress, &raw.address, (is_tls, host, *port));
        if !is_tls && !is_this_machine(host) {
            let message = format!(
                "`{}` is another machine: records go there in plaintext",
                at("address")
            );
            report.warning(&raw.address, message, "leave `transport: tcp` out");
        }
    }
    if !is_tls {
        let unused = [
            (raw.server_name.as_ref(), "server_name"),
            (raw.ca.as_ref(), "ca"),
        ];
        for (given, key) in unused {
            if let Some(given) = given {
                let message = format!("`{}` has no use with `transport: tcp`", at(key));
                report.error_with_hint(given, message, "remove one of them");
            }
        }
        if let Some(given) = &raw.client {
            let message = format!("`{}` has no use with `transport: tcp`", at("client"));
            report.error_with_hint(given, message, "remove one of them");
        }
    }
    let (ca, certificate) = trust(report, raw.ca.as_ref(), raw.client.as_ref(), &at);
    let app_name = match &raw.app_name {
        None => Some("lightkeeper".to_owned()),
        Some(given) => {
            let text = &given.value;
            let is_name =
                (1..=48).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
            if !is_name {
                let message = format!("`{}` must be 1 to 48 printable ASCII signs", at("app_name"));
                report.error(given, message);
            }
            is_name.then(|| text.clone())
        }
    };
    let server_name = raw.server_name.as_ref();
    let name = server_name.map_or_else(
        || place.as_ref().map(|(host, _)| host.clone()),
        |given| Some(given.value.clone()),
    );
    if let Some(given) = server_name
        && rustls::pki_types::ServerName::try_from(given.value.as_str()).is_err()
    {
        let message = format!("`{}` is no host name or address", at("server_name"));
        report.error(given, message);
    }
    let (host, port) = place?;
    Some(SyslogSinkSettings {
        host,
        port,
        tls: match is_tls {
            false => None,
            true => Some(SyslogTls {
                server_name: name?,
                ca: ca?,
                certificate: certificate?,
            }),
        },
        facility: facility(raw.facility),
        app_name: app_name?,
        egress,
    })
}

/// RFC 5424 table 1.
fn facility(given: Option<RawFacility>) -> u8 {
    match given {
        Some(RawFacility::User) => 1,
        Some(RawFacility::Daemon) => 3,
        Some(RawFacility::Auth) => 4,
        Some(RawFacility::Authpriv) => 10,
        // What such records are.
        Some(RawFacility::Audit) | None => 13,
        Some(RawFacility::Local0) => 16,
        Some(RawFacility::Local1) => 17,
        Some(RawFacility::Local2) => 18,
        Some(RawFacility::Local3) => 19,
        Some(RawFacility::Local4) => 20,
        Some(RawFacility::Local5) => 21,
        Some(RawFacility::Local6) => 22,
        Some(RawFacility::Local7) => 23,
    }
}
