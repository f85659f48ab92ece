//! Formats whose bodies pass nearly as they came: Elasticsearch's `_bulk`, and Firehose requests.
//!
//! What it does: checks their form, counts what they carry, reads the service that documents name, and takes
//! reserved names out of documents. What it refuses to know: tokens (both formats have them in the head),
//! what the documents say otherwise, and what a Firehose record holds. Invariant: a body that is let through
//! has one reading: every line is an action or its document.

use bytes::Bytes;

use super::findings::{COMPONENT_NAME, Findings};
use super::json::{self, Json, Member, Once};
use super::pieces::Pieces;
use crate::otlp::{Malformed, RESERVED};

/// Reads pairs of lines: `{"create":{…}}` or `{"index":{…}}`, then the document (Elasticsearch, "Bulk API").
pub(super) fn read_bulk(body: &[u8], findings: &mut Findings) -> Result<(), Malformed> {
    each_pair(body, findings, &mut |_, _| {})
}

/// The same lines, the documents without reserved names.
pub(super) fn write_bulk(body: &Bytes) -> Result<Vec<Bytes>, Malformed> {
    let mut pieces = Pieces::new(body);
    let mut at = 0;
    each_pair(body, &mut Findings::default(), &mut |kept, edited| {
        pieces.keep(at..at + kept);
        at += kept;
        if let Some((line, document)) = edited {
            pieces.put(&document);
            at += line;
        }
    })?;
    Ok(pieces.finish())
}

/// What becomes of a pair: how many of its bytes stay as they are, and then the length of a line and what
/// stands in its place.
type Done<'d> = &'d mut dyn FnMut(usize, Option<(usize, Vec<u8>)>);

fn each_pair(body: &[u8], findings: &mut Findings, done: Done<'_>) -> Result<(), Malformed> {
    let json = Json::of(body)?;
    let mut lines = json.whole().split_inclusive('\n');
    while let Some(action) = lines.next() {
        check_action(json, action)?;
        let Some(document) = lines.next() else {
            return Err(json.malformed(action, "an action has no document"));
        };
        findings.items += 1;
        if read_document(json, document, findings)? {
            done(action.len(), Some((document.len(), without_reserved(json, document)?)));
        } else {
            done(action.len() + document.len(), None);
        }
    }
    Ok(())
}

fn check_action(json: Json<'_>, line: &str) -> Result<(), Malformed> {
    let mut known = 0;
    let mut all = 0;
    if json::is_null(line) {
        return Err(json.malformed(line, "an action is no object"));
    }
    json.members(line, &mut |member| {
        all += 1;
        // What deletes or updates has no place where logs are written.
        known += usize::from(matches!(&*member.name, "create" | "index"));
        json.members(member.value, &mut |_| Ok(()))
    })?;
    if (known, all) == (1, 1) { Ok(()) } else { Err(json.malformed(line, "an action is not `create` or `index`")) }
}

/// The service is `service.name` as one name or nested, `service`, or the tag of Lightstep's own. Tells whether there are reserved names.
fn read_document(json: Json<'_>, line: &str, findings: &mut Findings) -> Result<bool, Malformed> {
    if json::is_null(line) {
        return Err(json.malformed(line, "a document is no object"));
    }
    let note = |value: &str, findings: &mut Findings| match json::text(value) {
        Some(name) => findings.note_service(&name),
        None if json::is_null(value) => {}
        None => findings.note_unclear_service(),
    };
    let mut reserved = 0;
    json.members(line, &mut |member| {
        match &*member.name {
            _ if is_reserved(&member) => reserved += 1,
            "service.name" | COMPONENT_NAME => note(member.value, findings),
            "service" if member.value.starts_with('{') => {
                json.members(member.value, &mut |inner| {
                    if inner.name == "name" {
                        note(inner.value, findings);
                    }
                    Ok(())
                })?;
            }
            "service" => note(member.value, findings),
            _ => {}
        }
        Ok(())
    })?;
    findings.forged += reserved;
    Ok(reserved > 0)
}

/// As one name, or as the object that a backend flattens to such names.
fn is_reserved(member: &Member<'_>) -> bool {
    member.name.starts_with(RESERVED) || RESERVED.strip_suffix('.') == Some(&member.name)
}

fn without_reserved(json: Json<'_>, line: &str) -> Result<Vec<u8>, Malformed> {
    let mut kept = Vec::with_capacity(line.len());
    json.members(line, &mut |member| {
        if !is_reserved(&member) {
            kept.push(if kept.is_empty() { b'{' } else { b',' });
            for part in [member.raw_name, ":", member.value] {
                kept.extend_from_slice(part.as_bytes());
            }
        }
        Ok(())
    })?;
    if kept.is_empty() {
        kept.push(b'{');
    }
    kept.extend_from_slice(b"}\n");
    Ok(kept)
}

/// Reads `{"requestId", "timestamp", "records": [{"data"}, …]}` (Amazon Data Firehose, "HTTP endpoint
/// delivery request and response specifications").
pub(super) fn read_firehose(body: &[u8], findings: &mut Findings) -> Result<(), Malformed> {
    let json = Json::of(body)?;
    let (mut id, mut records) = (Once(false), Once(false));
    json.members(json.whole(), &mut |member| {
        match &*member.name {
            "requestId" => {
                id.seen(json, &member)?;
                let Some(text) = json::text(member.value).filter(|id| id.len() <= REQUEST_ID_LIMIT_BYTES) else {
                    return Err(json.malformed(member.value, "`requestId` is no short text"));
                };
                findings.request_id = Some(text.into_owned());
            }
            "records" => {
                records.seen(json, &member)?;
                json.elements(member.value, &mut |record| {
                    findings.items += 1;
                    json.members(record, &mut |_| Ok(()))
                })?;
            }
            _ => {}
        }
        Ok(())
    })?;
    if id.0 && records.0 { Ok(()) } else { Err(json.malformed(json.whole(), "`requestId` or `records` is missing")) }
}

/// Firehose's own ids are UUIDs.
const REQUEST_ID_LIMIT_BYTES: usize = 256;
