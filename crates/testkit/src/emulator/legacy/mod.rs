//! The emulator's legacy side: Lightstep's own report formats, and others' that it takes.
//!
//! What it does: reads a report whole, looks for an access token at every place where one may stand, and takes
//! it if all of them open the same project. What it refuses to know: the gateway's readers of these formats.
//! Invariants: every token that is there is checked, so that a report in which one place was forgotten is
//! refused; no token is kept with what was read.

mod answer;
mod binary;
mod json;

use base64::Engine as _;
use http::{HeaderMap, HeaderValue, Method, Response, Version, header, request};

use super::exports::{Attributes, Export, ExportedRecord, ExportedResource, ExportedScope, Legacy};
use super::faults::Fault;
use super::{State, TOKEN_HEADER};
use crate::coding::Coding;
use crate::formats::{Carrier, FIREHOSE_KEY, FIREHOSE_REQUEST, Format, TOKEN_TAGS};
use crate::server::{Payload, lock};
use answer::Reply;
use lightkeeper::otlp::Signal;

/// What stands in place of a token in what is kept.
const REDACTED: &str = "[access token]";

/// Why a report is refused: HTTP status and public words.
pub(super) type Refused = (u16, &'static str);

/// A report, read.
#[derive(Default)]
struct Reading {
    resources: Vec<ExportedResource>,
    /// Where each token stood, and the token; gone with the request.
    tokens: Vec<(Carrier, String)>,
    /// Spans that must carry a token of their own, and one does not.
    bare: bool,
    /// What Firehose or Thrift want back.
    sequence: i32,
    request_id: String,
}

impl Reading {
    /// A tag as it is kept; a token is taken out of it.
    fn tag(&mut self, name: String, value: String) -> (String, String) {
        if TOKEN_TAGS.contains(&name.as_str()) {
            self.tokens.push((Carrier::Tag, value));
            return (name, REDACTED.to_owned());
        }
        (name, value)
    }

    fn tags(&mut self, pairs: impl IntoIterator<Item = (String, String)>) -> Attributes {
        pairs
            .into_iter()
            .map(|(name, value)| self.tag(name, value))
            .collect()
    }

    fn add(
        &mut self,
        service: Option<String>,
        attributes: Attributes,
        records: Vec<ExportedRecord>,
    ) {
        let items = records.len() as u64;
        let scopes = vec![ExportedScope {
            records,
            ..ExportedScope::default()
        }];
        self.resources.push(ExportedResource {
            service,
            attributes,
            items,
            scopes,
            schema_url: String::new(),
        });
    }
}

/// A report that may be taken, and how it is answered.
pub(super) struct Opened {
    format: Format,
    export: Result<Export, Refused>,
    reply: Reply,
}

impl Opened {
    pub(super) fn project(&self) -> Option<&str> {
        self.export
            .as_ref()
            .ok()
            .map(|export| export.project.as_str())
    }
}

/// The format of a request, if it is one of these.
pub(super) fn format(head: &request::Parts) -> Option<Format> {
    Format::of(head.uri.path(), &super::ingest::media_type(&head.headers))
}

impl State {
    /// Reads a report and checks its tokens.
    pub(super) fn open(&self, format: Format, head: &request::Parts, body: &[u8]) -> Opened {
        let mut reply = Reply {
            now: self.options.clock.now(),
            ..Reply::default()
        };
        if let Some(id) = head
            .headers
            .get(FIREHOSE_REQUEST)
            .and_then(|value| value.to_str().ok())
        {
            id.clone_into(&mut reply.request_id);
        }
        let export = self
            .reading(format, head, body)
            .and_then(|(reading, coding)| {
                reply.sequence = reading.sequence;
                if reply.request_id.is_empty() {
                    reading.request_id.clone_into(&mut reply.request_id);
                }
                let export = self.checked(format, head, reading, coding)?;
                reply.items = export.items();
                Ok(export)
            });
        Opened {
            format,
            export,
            reply,
        }
    }

    /// Takes an opened report, or says why not.
    pub(super) fn report(&self, opened: Opened, fault: Option<&Fault>) -> Response<Payload> {
        let Opened {
            format,
            export,
            reply,
        } = opened;
        match export {
            Err((status, message)) => answer::refused(format, &reply, status, message, None),
            Ok(export) => {
                lock(&self.exports).keep(
                    export,
                    self.options.captures,
                    self.options.captured_bytes,
                );
                answer::accepted(format, &reply, fault == Some(&Fault::DisableCommand))
            }
        }
    }

    /// A refusal in the format's own words, before anything is read.
    pub(super) fn report_refusal(
        &self,
        format: Format,
        status: u16,
        retry: Option<u64>,
    ) -> Response<Payload> {
        let reply = Reply {
            now: self.options.clock.now(),
            ..Reply::default()
        };
        answer::refused(format, &reply, status, "refused by a failure switch", retry)
    }

    fn reading(
        &self,
        format: Format,
        head: &request::Parts,
        body: &[u8],
    ) -> Result<(Reading, Coding), Refused> {
        if head.method != Method::POST
            || (format == Format::ReportsGrpc && head.version != Version::HTTP_2)
        {
            return Err((405, "reports are posted"));
        }
        let plain = match format {
            Format::ReportsGrpc => self.unframe(&head.headers, body),
            _ => self.decompress(&head.headers, header::CONTENT_ENCODING.as_str(), body),
        };
        let (plain, coding) = plain.map_err(|(status, _, words)| (status, words))?;
        let reading = match format {
            Format::Reports | Format::ReportsGrpc => binary::report(&plain),
            Format::Metrics => binary::metrics(&plain),
            Format::ThriftBinary => binary::thrift(&plain),
            Format::ReportsJson => json::report(&plain),
            Format::ThriftJson => json::thrift(&plain),
            Format::Zipkin => json::zipkin(&plain),
            Format::Bulk => json::bulk(&plain),
            Format::Firehose => json::firehose(&plain),
        };
        Ok((reading.ok_or((400, "undecodable report"))?, coding))
    }

    /// All tokens of head and body must open one project.
    fn checked(
        &self,
        format: Format,
        head: &request::Parts,
        reading: Reading,
        coding: Coding,
    ) -> Result<Export, Refused> {
        let invalid = (401, "invalid access token");
        let mut tokens = head_tokens(&head.headers)?;
        if reading.bare && tokens.is_empty() {
            return Err(invalid);
        }
        tokens.extend(reading.tokens);
        let mut project: Option<String> = None;
        for (_, token) in &tokens {
            let opened = lock(&self.tokens)
                .project(token, self.options.clock.now())
                .ok_or(invalid)?;
            if project.get_or_insert_with(|| opened.clone()) != &opened {
                return Err((400, "access tokens of two projects"));
            }
        }
        let mut carriers: Vec<Carrier> = tokens.into_iter().map(|(carrier, _)| carrier).collect();
        carriers.sort_unstable();
        carriers.dedup();
        Ok(Export {
            project: project.ok_or(invalid)?,
            signal: match format {
                Format::Metrics | Format::Firehose => Signal::Metrics,
                Format::Bulk => Signal::Logs,
                _ => Signal::Traces,
            },
            resources: reading.resources,
            coding,
            grpc: format == Format::ReportsGrpc,
            message: Vec::new(),
            legacy: Some(Legacy { format, carriers }),
        })
    }

    /// The project that the head's tokens open, if they do.
    pub(super) fn project_of_head(&self, headers: &HeaderMap) -> Option<String> {
        let tokens = head_tokens(headers).ok()?;
        let (_, token) = tokens.first()?;
        lock(&self.tokens).project(token, self.options.clock.now())
    }
}

/// The tokens that stand in a head. Which of two headers Lightstep would take is not documented; a test must
/// notice that there were two.
fn head_tokens(headers: &HeaderMap) -> Result<Vec<(Carrier, String)>, Refused> {
    let mut tokens = Vec::new();
    for (name, carrier) in [
        (TOKEN_HEADER, Carrier::Header),
        (FIREHOSE_KEY, Carrier::FirehoseKey),
        (header::AUTHORIZATION.as_str(), Carrier::Basic),
    ] {
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next() else { continue };
        if values.next().is_some() {
            return Err((401, "two access tokens of a kind"));
        }
        let token = match carrier {
            Carrier::Basic => basic_password(value),
            _ => value.to_str().ok().map(str::to_owned),
        };
        tokens.push((carrier, token.ok_or((401, "invalid access token"))?));
    }
    Ok(tokens)
}

/// RFC 7617: what follows the first colon.
fn basic_password(value: &HeaderValue) -> Option<String> {
    let (scheme, pair) = value.to_str().ok()?.split_once(' ')?;
    let pair = base64::engine::general_purpose::STANDARD
        .decode(pair)
        .ok()?;
    let pair = String::from_utf8(pair).ok()?;
    scheme
        .eq_ignore_ascii_case("basic")
        .then(|| Some(pair.split_once(':')?.1.to_owned()))?
}
