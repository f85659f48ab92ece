//! Amazon Data Firehose requests with a CloudWatch metric stream in them.
//!
//! What it does: walks `{"requestId", "timestamp", "records": [{"data"}, …]}` (Amazon Data Firehose, "HTTP endpoint
//! delivery request and response specifications"); each `data` is base64 of OTLP metrics exports, each after its
//! length as a varint (CloudWatch, "OpenTelemetry 0.7.0 format"). Reads services and counts, and writes the records
//! anew with stamped resources. What it refuses to know: tokens (they stand in the head) and how an export is walked
//! (`otlp`). Invariant: what is no such export is not let through, so that no resource goes out unread.

use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderName;

use super::fields::push_varint;
use super::findings::Findings;
use super::json::{self, Json, Once};
use crate::otlp::{Encoding, Export, Found, MAX_GROUPS, Malformed, Signal, Stamp, Wanted};

/// Where Firehose puts the key of its HTTP endpoint.
pub const FIREHOSE_KEY: HeaderName = HeaderName::from_static("x-amz-firehose-access-key");
/// Its name of a request.
pub const FIREHOSE_REQUEST: HeaderName = HeaderName::from_static("x-amz-firehose-request-id");
/// Of its requests' form.
pub const FIREHOSE_VERSION: HeaderName = HeaderName::from_static("x-amz-firehose-protocol-version");

/// Firehose's own ids are UUIDs.
const REQUEST_ID_LIMIT_BYTES: usize = 256;

/// Bytes round one stamped attribute, and round one stamped resource: tags and lengths.
const ATTRIBUTE_OVERHEAD_BYTES: usize = 20;
const RESOURCE_OVERHEAD_BYTES: usize = 24;

static WANTED: LazyLock<Arc<Wanted>> = LazyLock::new(|| Wanted::new(["service.name"]));

pub(super) fn read(body: &[u8], findings: &mut Findings) -> Result<(), Malformed> {
    Pass {
        json: Json::of(body)?,
        findings,
        out: None,
        stamp: &Stamp::default(),
    }
    .request()
}

/// How much longer the text may become.
pub(super) fn growth(groups: u64, stamp: &[(&str, &str)]) -> usize {
    let attribute =
        |(name, value): &(&str, &str)| name.len() + value.len() + ATTRIBUTE_OVERHEAD_BYTES;
    let each = stamp.iter().map(attribute).sum::<usize>() + RESOURCE_OVERHEAD_BYTES;
    // In base64, three bytes are four.
    usize::try_from(groups)
        .unwrap_or(usize::MAX)
        .saturating_mul(each / 3 * 4 + 8)
}

pub(super) fn write(
    body: &[u8],
    groups: u64,
    stamp: &[(&str, &str)],
) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::with_capacity(body.len().saturating_add(growth(groups, stamp)));
    let mut unused = Findings::default();
    let stamp = Stamp::new(stamp);
    Pass {
        json: Json::of(body)?,
        findings: &mut unused,
        out: Some(&mut out),
        stamp: &stamp,
    }
    .request()?;
    Ok(out)
}

/// One walk over a body, to read it (`out` is `None`) or to write it.
struct Pass<'a, 'o> {
    json: Json<'a>,
    findings: &'o mut Findings,
    out: Option<&'o mut Vec<u8>>,
    stamp: &'o Stamp,
}

impl<'a> Pass<'a, '_> {
    fn put(&mut self, text: &str) {
        if let Some(out) = &mut self.out {
            out.extend_from_slice(text.as_bytes());
        }
    }

    fn separate(&mut self, first: &mut bool) {
        if !std::mem::replace(first, false) {
            self.put(",");
        }
    }

    fn request(&mut self) -> Result<(), Malformed> {
        let json = self.json;
        let (mut id, mut records, mut first) = (Once(false), Once(false), true);
        self.put("{");
        json.members(json.whole(), &mut |member| {
            self.separate(&mut first);
            self.put(member.raw_name);
            self.put(":");
            match member.folded().as_str() {
                "requestid" => {
                    id.seen(json, &member)?;
                    let Some(text) =
                        json::text(member.value).filter(|id| id.len() <= REQUEST_ID_LIMIT_BYTES)
                    else {
                        return Err(json.malformed(member.value, "`requestId` is no short text"));
                    };
                    self.findings.request_id = Some(text.into_owned());
                }
                "records" => {
                    records.seen(json, &member)?;
                    return self.records(member.value);
                }
                _ => {}
            }
            self.put(member.value);
            Ok(())
        })?;
        self.put("}");
        if id.0 && records.0 {
            Ok(())
        } else {
            Err(json.malformed(json.whole(), "`requestId` or `records` is missing"))
        }
    }

    fn records(&mut self, part: &'a str) -> Result<(), Malformed> {
        let json = self.json;
        let mut first = true;
        self.put("[");
        json.elements(part, &mut |record| {
            self.separate(&mut first);
            self.record(record)
        })?;
        self.put("]");
        Ok(())
    }

    fn record(&mut self, part: &'a str) -> Result<(), Malformed> {
        let json = self.json;
        let (mut data, mut first) = (Once(false), true);
        self.put("{");
        json.members(part, &mut |member| {
            self.separate(&mut first);
            self.put(member.raw_name);
            self.put(":");
            if member.folded() == "data" {
                data.seen(json, &member)?;
                return self.data(member.value);
            }
            self.put(member.value);
            Ok(())
        })?;
        self.put("}");
        Ok(())
    }

    fn data(&mut self, part: &'a str) -> Result<(), Malformed> {
        let json = self.json;
        let text =
            json::text(part).ok_or_else(|| json.malformed(part, "a record's data is no text"))?;
        let data = STANDARD
            .decode(&*text)
            .map_err(|_| json.malformed(part, "a record's data is not base64"))?;
        let mut rest = Bytes::from(data);
        let mut written = Vec::new();
        while !rest.is_empty() {
            let message = message(&mut rest)
                .ok_or_else(|| json.malformed(part, "a record's data is cut short"))?;
            let export = Export::read(Signal::Metrics, Encoding::Protobuf, message, &WANTED)
                .map_err(|_| json.malformed(part, "a record's data is no metrics export"))?;
            self.note(&export);
            if self.findings.groups > MAX_GROUPS as u64 {
                return Err(json.malformed(part, "there are more resource groups than are read"));
            }
            if self.out.is_some() {
                let chosen: Vec<(usize, &Stamp)> = (0..export.groups().len())
                    .map(|group| (group, self.stamp))
                    .collect();
                let pieces = export.write(&chosen);
                push_varint(
                    &mut written,
                    pieces.iter().map(Bytes::len).sum::<usize>() as u64,
                );
                pieces
                    .iter()
                    .for_each(|piece| written.extend_from_slice(piece));
            }
        }
        self.put("\"");
        if self.out.is_some() {
            self.put(&STANDARD.encode(written));
        }
        self.put("\"");
        Ok(())
    }

    fn note(&mut self, export: &Export) {
        self.findings.items += export.items();
        self.findings.forged += export.forged();
        self.findings.groups += export.groups().len() as u64;
        self.findings.most_attributes = self.findings.most_attributes.max(export.most_attributes());
        for group in 0..export.groups().len() {
            match export.attribute(group, "service.name") {
                Found::Absent => {}
                Found::Text(name) => self.findings.note_item_service(&name),
                Found::Other | Found::Ambiguous => self.findings.note_unclear_service(),
            }
        }
    }
}

/// Takes a length and as many bytes.
fn message(rest: &mut Bytes) -> Option<Bytes> {
    let mut length = 0_usize;
    for (place, byte) in rest.iter().take(5).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            let end = length
                .checked_add(place + 1)
                .filter(|end| *end <= rest.len())?;
            return Some(rest.split_to(end).slice(place + 1..));
        }
    }
    None
}
