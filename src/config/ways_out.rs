//! Where the gateway's own calls go, for people to read.
//!
//! What it does: names each way of a checked configuration once, with its proxy. What it refuses to know: how a tunnel
//! is made. Invariant: an address that is a secret is not shown.

use std::fmt;

use super::checked::Checked;
use super::client_ca::authorities;
use super::egress::{first_asked, host_of};
use crate::accept::{AnchorPlace, BundlePlace};
use crate::audit::SinkKind;
use crate::egress::Egress;
use crate::forward::{DestinationUrl, PostAddress, UpstreamSettings};

/// Where one kind of calls goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WayOut {
    /// `upstream ingest`, `upstream honey ingest`, `issuer okta`, `store`, `transmitter signals`, `destination oncall`,
    /// `audit sink siem`.
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
pub(crate) fn ways_out(checked: &Checked) -> Vec<WayOut> {
    let several = checked.backend_names.are_several();
    let upstreams = checked.backends.iter().flat_map(|backend| {
        let upstreams = &backend.upstreams;
        let each = [
            ("ingest", &upstreams.ingest),
            ("grpc", &upstreams.grpc),
            ("query", &upstreams.query),
            ("collector", &upstreams.collector),
            ("logs", &upstreams.logs),
        ];
        each.into_iter().filter_map(move |(which, given)| {
            let what = upstream_way(several.then_some(&*backend.name), which);
            Some(of_upstream(what, given.as_ref()?))
        })
    });
    let login = checked.login.as_ref().map(|login| login.issuer.as_str());
    let issuers = checked.issuers.iter().filter_map(|issuer| {
        let (tls, host, port) = first_asked(issuer, login == Some(issuer.name.as_str()))?;
        Some(way(
            format!("issuer {}", issuer.name),
            &issuer.egress,
            (tls, &host, port),
        ))
    });
    let aws = checked.aws.iter().flat_map(|one| {
        let hosts = one.hosts().into_iter().map(|sts| (sts.host, 443));
        let asked: Vec<(String, u16)> = match &one.connect {
            Some(place) => vec![place.clone()],
            None => hosts.collect(),
        };
        asked.into_iter().map(|(host, port)| {
            way(
                format!("aws {}", one.name),
                &one.egress,
                (true, &host, port),
            )
        })
    });
    let store = checked.vault.store.iter().filter_map(|store| {
        let (tls, host, port) = host_of(&store.url)?;
        Some(way("store".to_owned(), &store.egress, (tls, &host, port)))
    });
    let transmitters = checked.transmitters.iter().filter_map(|transmitter| {
        let source = &transmitter.source;
        let (tls, host, port) = first_asked(source, false)?;
        let what = format!("transmitter {}", source.name);
        Some(way(what, &source.egress, (tls, &host, port)))
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
    let endpoints = checked.issuers.iter().filter_map(|issuer| {
        let to = host_of(&issuer.introspection.as_ref()?.url)?;
        let what = format!("introspection {}", issuer.name);
        Some(way(what, &issuer.egress, (to.0, &to.1, to.2)))
    });
    let sinks = checked.audit.sinks.iter().filter_map(|sink| {
        let (egress, (tls, host, port)) = match &sink.kind {
            SinkKind::Stdout => return None,
            SinkKind::Otlp(otlp) => (&otlp.egress, host_of(&otlp.url)?),
            SinkKind::Witness(witness) => (&witness.egress, host_of(&witness.url)?),
            SinkKind::Syslog(syslog) => {
                let tls = syslog.tls.is_some();
                (&syslog.egress, (tls, syslog.host.clone(), syslog.port))
            }
        };
        let what = format!("audit sink {}", sink.name);
        Some(way(what, egress, (tls, &host, port)))
    });
    let mut all: Vec<WayOut> = upstreams
        .chain(issuers)
        .chain(endpoints)
        .chain(aws)
        .chain(store)
        .chain(transmitters)
        .chain(destinations)
        .chain(sinks)
        .collect();
    for authority in checked.listeners.iter().flat_map(authorities) {
        if let AnchorPlace::Bundle(bundle) = &authority.anchors
            && let BundlePlace::Url(url) = &bundle.place
            && let Some((tls, host, port)) = host_of(url)
        {
            let what = format!("authority {}", authority.name);
            let found = way(what, &bundle.egress, (tls, &host, port));
            if !all.contains(&found) {
                all.push(found);
            }
        }
    }
    all
}

/// What the way to an endpoint is called. `backend`: its name, where there are several.
pub(crate) fn upstream_way(backend: Option<&str>, which: &str) -> String {
    match backend {
        Some(backend) => format!("upstream {backend} {which}"),
        None => format!("upstream {which}"),
    }
}

fn of_upstream(what: String, settings: &UpstreamSettings) -> WayOut {
    WayOut {
        what,
        to: place(&settings.host, settings.port),
        proxy: settings.proxy.as_ref().map(|proxy| proxy.authority()),
    }
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
