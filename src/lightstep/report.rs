//! One legacy report, read without decoding it, and written anew.
//!
//! What it does: asks the format's own file to walk the body, once to read and once for each writing. What
//! it refuses to know: any format's bytes. Invariant: a report that cannot be read gives nothing to write.

use std::fmt;

use bytes::Bytes;

use super::findings::Findings;
use super::{Format, Service, Token, crouton, firehose, lines, protobuf, tagged, zipkin};
use crate::otlp::Malformed;

/// A report over its decompressed body.
pub struct Report {
    format: Format,
    body: Bytes,
    findings: Findings,
}

impl Report {
    /// Reads a report. `body` is decompressed and, of a gRPC call, the message alone. Fails when it is not of
    /// this format at a level that is looked at.
    pub fn read(format: Format, body: Bytes) -> Result<Report, Malformed> {
        let mut findings = Findings::default();
        let found = &mut findings;
        match format {
            Format::Reports => protobuf::read(&protobuf::REPORTS, &body, found)?,
            Format::Metrics => protobuf::read(&protobuf::METRICS, &body, found)?,
            Format::ReportsJson => tagged::read(&tagged::REPORTS, &body, found)?,
            Format::ThriftJson => tagged::read(&tagged::THRIFT, &body, found)?,
            Format::ThriftBinary => crouton::read(&body, found)?,
            Format::Zipkin => zipkin::read(&body, found)?,
            Format::Bulk => lines::read(&body, found)?,
            Format::Firehose => firehose::read(&body, found)?,
        }
        Ok(Report {
            format,
            body,
            findings,
        })
    }

    /// The token that stands in the body; never logged.
    pub fn token(&self) -> Token<'_> {
        self.findings.token()
    }

    /// The service, by the names that the body gives.
    pub fn service(&self) -> Service<'_> {
        self.findings.service()
    }

    /// Spans, points or log lines.
    pub fn items(&self) -> u64 {
        self.findings.items
    }

    /// Tags with the prefix `lightkeeper.`, none of which is ever written.
    pub fn forged(&self) -> u64 {
        self.findings.forged
    }

    /// The most attributes that a resource in Firehose's exports has; other formats have none.
    pub(crate) fn most_attributes(&self) -> usize {
        self.findings.most_attributes
    }

    /// Firehose's `requestId`, which the answer must repeat.
    pub fn request_id(&self) -> Option<&str> {
        self.findings.request_id.as_deref()
    }

    /// An upper bound of the bytes that `write` gives with a token of this length and this stamp: to be
    /// reserved before. Zipkin, `_bulk` and Firehose have no place for a whole report's tags, so that they go onto
    /// each span, document or resource.
    pub fn written_bytes_at_most(&self, token_bytes: usize, stamp: &[(&str, &str)]) -> u64 {
        let growth = match self.format {
            Format::Reports | Format::Metrics => protobuf::growth(token_bytes, stamp),
            Format::ReportsJson | Format::ThriftJson => tagged::growth(token_bytes, stamp),
            Format::ThriftBinary => crouton::growth(token_bytes, stamp),
            Format::Zipkin => zipkin::growth(self.items(), token_bytes, stamp),
            Format::Bulk => lines::growth(self.items(), stamp),
            Format::Firehose => firehose::growth(self.findings.groups, stamp),
        };
        (self.body.len() as u64).saturating_add(growth as u64)
    }

    /// The report without any token that came, with `token` (printable ASCII) in `auth` or, of Zipkin, in each span's tag
    /// (the first API's JSON takes the head's token, and has none), without reserved tags, and with the stamp's tags: at
    /// the reporter or runtime, in Zipkin on each span, in `_bulk` in each document, in Firehose on each resource; these
    /// two hold no token. The message is the pieces in order; those that hold the token are wiped when dropped.
    pub fn write(&self, token: &[u8], stamp: &[(&str, &str)]) -> Result<Vec<Bytes>, Malformed> {
        let body = &self.body;
        // A `Secret` is printable ASCII, so that this holds for every token of ours.
        let what = "the token to write is not ASCII";
        let token = std::str::from_utf8(token).map_err(|_| Malformed { offset: 0, what })?;
        let whole = match self.format {
            Format::Reports => {
                return protobuf::write(&protobuf::REPORTS, body, token.as_bytes(), stamp);
            }
            Format::Metrics => {
                return protobuf::write(&protobuf::METRICS, body, token.as_bytes(), stamp);
            }
            Format::ThriftBinary => return crouton::write(body, token.as_bytes(), stamp),
            Format::Bulk | Format::Firehose if stamp.is_empty() && self.forged() == 0 => {
                return Ok(vec![body.clone()]);
            }
            Format::Bulk => return Ok(vec![lines::write(body, self.items(), stamp)?.into()]),
            Format::Firehose => {
                return Ok(vec![
                    firehose::write(body, self.findings.groups, stamp)?.into(),
                ]);
            }
            Format::ReportsJson => tagged::write(&tagged::REPORTS, body, token, stamp)?,
            Format::ThriftJson => tagged::write(&tagged::THRIFT, body, token, stamp)?,
            Format::Zipkin => zipkin::write(body, self.items(), token, stamp)?,
        };
        Ok(vec![Bytes::from_owner(whole)])
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Report")
            .field("format", &self.format)
            .field("items", &self.items())
            .finish()
    }
}
