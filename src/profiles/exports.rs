//! What a backend takes of one signal's exports, and what goes with them.
//!
//! What it does: reads `ingest.base`, `headers`, `accepts` and `signals` of a profile, and fills the templates in for one project and
//! token. What it refuses to know: how an export is sent. Invariants: exports of every signal carry a credential in a header, unless the
//! profile says that the backend wants none; what
//! is filled in is made when a credential is read, never for a call.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderName, HeaderValue};

use super::bounds::Bounds;
use super::fault::{PlacedFault, ProfileFault};
use super::raw_ingest::{
    IngestFile, RawAcceptedCompression, RawAccepts, RawEncoding, RawExport, RawOneSignal,
    RawProtocol,
};
use super::template::{self, ExportValues, Template};
use crate::document::{Entries, Spanned};
use crate::otlp::{Encoding, Signal};

/// Of one signal: the forms that are taken, headers, and the path if it is not the client's.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExportForm {
    pub accepts: Accepts,
    headers: Vec<(HeaderName, Template)>,
    base: Option<Template>,
    path: Option<Template>,
    http_bounds: Bounds,
    grpc_bounds: Bounds,
}

/// The forms of OTLP that a backend takes. What comes in another one is put into one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepts {
    pub http: bool,
    pub grpc: bool,
    pub protobuf: bool,
    pub json: bool,
    pub identity: bool,
    pub gzip: bool,
    pub deflate: bool,
    pub zstd: bool,
}

impl Default for Accepts {
    fn default() -> Self {
        Accepts {
            http: true,
            grpc: true,
            protobuf: true,
            json: true,
            identity: true,
            gzip: true,
            deflate: true,
            zstd: true,
        }
    }
}

impl Accepts {
    /// Whether an export in this form is taken; gRPC's messages are protobuf.
    pub(crate) fn takes(&self, grpc: bool, encoding: Encoding) -> bool {
        let is_sent = if grpc { self.grpc } else { self.http };
        let is_read = match encoding {
            Encoding::Protobuf => self.protobuf,
            Encoding::Json => self.json,
        };
        is_sent && is_read
    }

    /// What either takes.
    pub(super) fn or(self, other: Accepts) -> Accepts {
        Accepts {
            http: self.http || other.http,
            grpc: self.grpc || other.grpc,
            protobuf: self.protobuf || other.protobuf,
            json: self.json || other.json,
            identity: self.identity || other.identity,
            gzip: self.gzip || other.gzip,
            deflate: self.deflate || other.deflate,
            zstd: self.zstd || other.zstd,
        }
    }

    fn read(raw: RawAccepts) -> Self {
        let protocol = |one| raw.protocols.as_ref().is_none_or(|all| all.contains(&one));
        let encoding = |one| raw.encodings.as_ref().is_none_or(|all| all.contains(&one));
        let coding = |one| {
            raw.compressions
                .as_ref()
                .is_none_or(|all| all.contains(&one))
        };
        Accepts {
            http: protocol(RawProtocol::Http),
            grpc: protocol(RawProtocol::Grpc),
            protobuf: encoding(RawEncoding::Protobuf),
            json: encoding(RawEncoding::Json),
            identity: coding(RawAcceptedCompression::Identity),
            gzip: coding(RawAcceptedCompression::Gzip),
            deflate: coding(RawAcceptedCompression::Deflate),
            zstd: coding(RawAcceptedCompression::Zstd),
        }
    }

    /// Whether anything can be sent; the gateway falls back on `gzip` and `identity`.
    pub(super) fn is_usable(&self) -> bool {
        let plain = self.http && (self.protobuf || self.json) || self.grpc && self.protobuf;
        plain && (self.identity || self.gzip)
    }
}

impl ExportForm {
    /// The headers for one project and token. `None`: a value has bytes that no header can carry.
    pub(crate) fn headers(
        &self,
        values: &ExportValues<'_>,
    ) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let filled = |(name, template): &(HeaderName, Template)| {
            Some((name.clone(), template.header(values)?))
        };
        self.headers.iter().map(filled).collect()
    }

    /// How much of the signal the backend takes at once.
    pub(crate) fn bounds(&self, grpc: bool) -> Bounds {
        if grpc {
            self.grpc_bounds
        } else {
            self.http_bounds
        }
    }

    /// Puts values in the place of parameters.
    pub(super) fn fill<'v>(&mut self, value: &dyn Fn(&str) -> Option<&'v str>) {
        let headers = self.headers.iter_mut().map(|(_, template)| template);
        let paths = self.base.iter_mut().chain(&mut self.path);
        headers
            .chain(paths)
            .for_each(|template| template.fill(value));
    }

    pub(super) fn path_holds(&self, parameter: &str) -> bool {
        let mut paths = self.base.iter().chain(&self.path);
        paths.any(|template| template.holds_parameter(parameter))
    }

    pub(super) fn header_holds(&self, parameter: &str) -> bool {
        let mut headers = self.headers.iter();
        headers.any(|(_, template)| template.holds_parameter(parameter))
    }

    /// Whether the path over HTTP is the profile's own, whatever the client asked.
    pub(super) fn has_own_path(&self) -> bool {
        self.path.is_some()
    }

    /// What the backend is asked over HTTP instead of the client's path: what stands before it, and a path of its own.
    pub(crate) fn target(&self, values: &ExportValues<'_>) -> (String, Option<String>) {
        let filled = |template: &Template| template.path(values);
        let base = self.base.as_ref().map(filled).unwrap_or_default();
        (base, self.path.as_ref().map(filled))
    }
}

/// The forms of all signals. `token`: the header that our token goes into alone, unless headers are given.
pub(super) fn read(
    raw: &mut IngestFile,
    token: Option<&HeaderName>,
    parameters: &BTreeSet<String>,
    at: &Spanned<()>,
    found: &mut Vec<PlacedFault>,
) -> [ExportForm; 3] {
    let base = raw
        .base
        .take()
        .and_then(|base| path(&base, parameters, found));
    let before = found.len();
    let common = headers(&raw.headers, parameters, found);
    let is_common_read = found.len() == before;
    let accepts = std::mem::take(&mut raw.accepts);
    let signals = std::mem::take(&mut raw.signals);
    let no_credential = raw.credential.as_ref();
    let rows = (&raw.http, &raw.grpc);
    let mut form = |signal: Signal, own: Option<RawOneSignal>| {
        let own = own.unwrap_or_default();
        let mut all: BTreeMap<&str, (HeaderName, Template)> = BTreeMap::new();
        let before = found.len();
        let special = headers(&own.headers, parameters, found);
        let is_read = is_common_read && found.len() == before;
        for (name, template) in common.iter().chain(&special) {
            all.insert(name.as_str(), (name.clone(), template.clone()));
        }
        let holds_token = all.values().any(|(_, template)| template.holds_token());
        match no_credential {
            Some(at) if holds_token => {
                found.push(ProfileFault::TokenUnwanted(signal.name()).at(at));
            }
            Some(_) => {}
            None if common.is_empty() && special.is_empty() && is_read => {
                match (token, Template::parse("{token}", parameters)) {
                    (Some(name), Ok(template)) => {
                        all.insert(name.as_str(), (name.clone(), template));
                    }
                    _ => found.push(ProfileFault::NoHeader.at(at)),
                }
            }
            None if is_read && !holds_token => {
                found.push(ProfileFault::NoToken(signal.name()).at(at));
            }
            None => {}
        }
        let bounds = Bounds::of_signal(&own, found);
        let accepts = Accepts::read(own.accepts.unwrap_or_else(|| accepts.clone()));
        if !accepts.is_usable() {
            found.push(ProfileFault::NoForm(signal.name()).at(at));
        }
        let mut of_rows = |rows: &[RawExport]| {
            let mut bounds = bounds;
            for row in rows {
                if Signal::from(row.signal) == signal {
                    bounds = bounds.and_row(row, found);
                }
            }
            bounds
        };
        ExportForm {
            accepts,
            headers: all.into_values().collect(),
            base: base.clone(),
            http_bounds: of_rows(rows.0),
            grpc_bounds: of_rows(rows.1),
            path: own.path.and_then(|given| path(&given, parameters, found)),
        }
    };
    [
        form(Signal::Traces, signals.traces),
        form(Signal::Metrics, signals.metrics),
        form(Signal::Logs, signals.logs),
    ]
}

fn headers(
    raw: &Entries<Spanned<String>>,
    parameters: &BTreeSet<String>,
    found: &mut Vec<PlacedFault>,
) -> Vec<(HeaderName, Template)> {
    let mut read = Vec::with_capacity(raw.0.len());
    for (name, value) in &raw.0 {
        let name = template::header_name(&name.value).map_err(|fault| fault.at(name));
        let value = Template::parse(&value.value, parameters).map_err(|fault| fault.at(value));
        match (name, value) {
            (Ok(name), Ok(value)) => read.push((name, value)),
            (name, value) => found.extend(name.err().into_iter().chain(value.err())),
        }
    }
    read
}

fn path(
    at: &Spanned<String>,
    parameters: &BTreeSet<String>,
    found: &mut Vec<PlacedFault>,
) -> Option<Template> {
    match Template::parse(&at.value, parameters) {
        Ok(template) if template.is_path() => Some(template),
        Ok(_) => {
            found.push(ProfileFault::TemplatePath.at(at));
            None
        }
        Err(fault) => {
            found.push(fault.at(at));
            None
        }
    }
}
