//! `egress:` and each `proxy:`, as they are written and checked; and what goes where.
//!
//! What it does: says which proxy the gateway's own calls take, and tells people so. What it refuses to know: tunnels.
//! Invariants: a proxy's password is a reference; what stands in a URL's place never reaches a message; a part of the
//! configuration that names its own proxy, or `off`, is led by nothing else.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::checked::Checked;
use super::raw::RawSecret;
use super::report::{ConfigFindings, Content};
use super::vault::reference;
use crate::document::{Spanned, name};
use crate::egress::{Egress, NoProxy, ProxyCredentials, ProxySettings, ProxyUrl};
use crate::forward::{DestinationUrl, PostAddress, UpstreamSettings};
use crate::identify::{IssuerSettings, KeySource};

const PROXY_HINT: &str =
    "write `env`, `off`, `http://proxy.example:3128`, or `{ url: …, credentials: { file: path } }`";

/// Through which proxy the gateway's own calls leave.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Egress")]
pub struct RawEgress {
    /// `env` (`HTTPS_PROXY`, `http_proxy`, `ALL_PROXY` and `NO_PROXY`, as curl reads them), `off`, or a proxy's URL; default `env`.
    pub proxy: Option<Spanned<RawProxy>>,
    /// Hosts that are reached straight: names with all beneath them, addresses, networks (`10.0.0.0/8`), with a port if need
    /// be, or `*`; beside what `NO_PROXY` names where the proxy is the environment's.
    #[serde(default)]
    pub no_proxy: Vec<Spanned<String>>,
}

/// A word, a URL, or a URL with credentials.
pub enum RawProxy {
    Text(String),
    Known(RawKnownProxy),
}

/// A proxy that wants to know its callers.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ProxyWithCredentials")]
pub struct RawKnownProxy {
    /// `http://proxy.example:3128`.
    pub url: String,
    /// Where `user:password` is kept.
    pub credentials: Option<Spanned<RawSecret>>,
}

/// A password may have been written into the URL.
impl fmt::Debug for RawProxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RawProxy(…)")
    }
}

impl<'de> Deserialize<'de> for RawProxy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EitherForm;

        impl<'de> Visitor<'de> for EitherForm {
            type Value = RawProxy;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("`env`, `off`, a URL, or a mapping with `url`")
            }

            // `off` is a boolean to some readers of YAML.
            fn visit_bool<E>(self, on: bool) -> Result<Self::Value, E> {
                Ok(RawProxy::Text(if on { "on" } else { "off" }.to_owned()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(RawProxy::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                RawKnownProxy::deserialize(MapAccessDeserializer::new(map)).map(RawProxy::Known)
            }
        }

        deserializer.deserialize_any(EitherForm)
    }
}

impl JsonSchema for RawProxy {
    fn schema_name() -> Cow<'static, str> {
        "Proxy".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let known = generator.subschema_for::<RawKnownProxy>();
        json_schema!({ "anyOf": [{ "type": "string" }, known], "x-hint": PROXY_HINT })
    }
}

/// The way of everything that names none of its own.
pub fn egress(report: &mut ConfigFindings<'_>, raw: &RawEgress) -> Egress {
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
pub fn own(
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
pub fn route<T>(
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

/// Where one kind of calls goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WayOut {
    /// `upstream ingest`, `issuer okta`, `destination oncall`.
    pub what: String,
    /// `host:port`; empty where the address is a secret.
    pub to: String,
    /// The proxy's `host:port`; `None`: straight.
    pub proxy: Option<String>,
}

impl fmt::Display for WayOut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} -> ", self.what)?;
        if !self.to.is_empty() {
            write!(formatter, "{} ", self.to)?;
        }
        match &self.proxy {
            Some(proxy) => write!(formatter, "via proxy {proxy}"),
            None => formatter.write_str("direct"),
        }
    }
}

/// Everything that the gateway calls of its own, each once.
pub fn ways_out(checked: &Checked) -> Vec<WayOut> {
    let upstreams = &checked.upstreams;
    let upstreams = [
        ("ingest", &upstreams.ingest),
        ("query", &upstreams.query),
        ("collector", &upstreams.collector),
        ("logs", &upstreams.logs),
    ];
    let upstreams = upstreams
        .into_iter()
        .filter_map(|(which, given)| Some(of_upstream(which, given.as_ref()?)));
    let login = checked.login.as_ref().map(|login| login.issuer.as_str());
    let issuers = checked.issuers.iter().filter_map(|issuer| {
        let (tls, host, port) = first_asked(issuer, login == Some(issuer.name.as_str()))?;
        Some(way(
            format!("issuer {}", issuer.name),
            &issuer.egress,
            (tls, &host, port),
        ))
    });
    let destinations = checked
        .alerts
        .destinations
        .iter()
        .filter_map(|destination| {
            let (text, is_secret) = match &destination.url {
                DestinationUrl::Written(url) => (url.clone(), false),
                DestinationUrl::From(reference) => (
                    String::from_utf8_lossy(reference.read().ok()?.expose()).into_owned(),
                    true,
                ),
            };
            let address = PostAddress::parse(&text).ok()?;
            let to = (address.tls, address.host.as_str(), address.port);
            let way = way(
                format!("destination {}", destination.name),
                &destination.egress,
                to,
            );
            Some(if is_secret {
                WayOut {
                    to: String::new(),
                    ..way
                }
            } else {
                way
            })
        });
    upstreams.chain(issuers).chain(destinations).collect()
}

fn of_upstream(which: &str, settings: &UpstreamSettings) -> WayOut {
    WayOut {
        what: format!("upstream {which}"),
        to: place(&settings.host, settings.port),
        proxy: settings.proxy.as_ref().map(|proxy| proxy.authority()),
    }
}

/// Whether TLS, host and port of what is asked of an issuer first; nothing, where its keys are a file and no login uses it
/// there. What its discovery document names takes the same rules.
pub fn first_asked(issuer: &IssuerSettings, logs_in: bool) -> Option<(bool, String, u16)> {
    let url = match &issuer.keys {
        KeySource::Url(url) if !logs_in => url,
        KeySource::File(_) if !logs_in => return None,
        KeySource::Bundle { .. } => return None,
        _ => &issuer.issuer,
    };
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

fn way(what: String, egress: &Egress, (tls, host, port): (bool, &str, u16)) -> WayOut {
    let proxy = egress
        .route(tls, host, port)
        .ok()
        .flatten()
        .map(|proxy| proxy.authority());
    WayOut {
        what,
        to: place(host, port),
        proxy,
    }
}

fn place(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}
