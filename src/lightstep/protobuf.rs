//! Reports and metrics of Lightstep's own protobuf messages.
//!
//! What it does: walks `lightstep.collector.ReportRequest` and `lightstep.metrics.IngestRequest` (fields in
//! `Layout`), reads token, service and counts, and writes the message anew by splicing. What it refuses to
//! know: the protobuf wire format itself (`fields.rs`), whose token it is. Invariants: fields that are not
//! known, and their order, stay as they are; every `auth` is gone and at most one is written; several
//! `reporter` fields become one, as every decoder would merge them.

use std::ops::Range;

use bytes::Bytes;
use zeroize::Zeroizing;

use super::fields::{Fields, push_field, push_varint};
use super::findings::{Findings, TagKind};
use crate::otlp::{Malformed, Pieces};

/// Where a message keeps what is looked at: field numbers.
pub(super) struct Layout {
    /// The `Reporter`, whose tags are its field 4.
    reporter: u64,
    /// The `Auth`, whose token is its field 1.
    auth: Option<u64>,
    /// The spans or points.
    items: u64,
    /// Their tags or labels.
    item_tags: u64,
    /// Their logs, whose tags are field 2.
    item_logs: Option<u64>,
}

/// `lightstep.collector.ReportRequest`
pub(super) const REPORTS: Layout = Layout {
    reporter: 1,
    auth: Some(2),
    items: 3,
    item_tags: 6,
    item_logs: Some(7),
};

/// `lightstep.metrics.IngestRequest`
pub(super) const METRICS: Layout = Layout {
    reporter: 2,
    auth: None,
    items: 3,
    item_tags: 5,
    item_logs: None,
};

const REPORTER_TAGS: u64 = 4;
const LOG_TAGS: u64 = 2;
const ACCESS_TOKEN: u64 = 1;

/// Bytes around one stamped tag at most: three tags with lengths.
const TAG_OVERHEAD_BYTES: usize = 18;

pub(super) fn read(layout: &Layout, body: &[u8], findings: &mut Findings) -> Result<(), Malformed> {
    let mut fields = Fields::of(body, 0..body.len());
    while let Some(field) = fields.next()? {
        let number = field.number;
        if number == layout.reporter {
            reporter_without(body, field.bytes()?, &[], findings, &mut Vec::new())?;
        } else if Some(number) == layout.auth {
            auth(body, field.bytes()?, findings)?;
        } else if number == layout.items {
            findings.items += 1;
            item_without(layout, body, field.bytes()?, findings)?;
        }
    }
    Ok(())
}

/// How much longer the message may become.
pub(super) fn growth(token_bytes: usize, stamp: &[(&str, &str)]) -> usize {
    let tags = stamp
        .iter()
        .map(|(name, value)| name.len() + value.len() + TAG_OVERHEAD_BYTES);
    // The reporter's own tag and length come to at most 11 bytes, and grow by it when it is made anew.
    token_bytes + 24 + tags.sum::<usize>() + 11
}

pub(super) fn write(
    layout: &Layout,
    body: &Bytes,
    token: &[u8],
    stamp: &[(&str, &str)],
) -> Result<Vec<Bytes>, Malformed> {
    let mut unused = Findings::default();
    let mut reporter = reporter(layout, body, stamp, &mut unused)?;
    let mut auth_written = false;
    let mut pieces = Pieces::new(body);
    let mut fields = Fields::of(body, 0..body.len());
    while let Some(field) = fields.next()? {
        if field.number == layout.reporter {
            // The merged one stands where the first stood.
            if let Some(reporter) = reporter.take() {
                pieces.put(&reporter);
            }
        } else if Some(field.number) == layout.auth {
            if !auth_written {
                pieces.put_secret(auth_field(field.number, token));
                auth_written = true;
            }
        } else if field.number == layout.items {
            let whole = field.whole.clone();
            match item_without(layout, body, field.bytes()?, &mut unused)? {
                None => pieces.keep(whole),
                Some(item) => {
                    let mut head = Vec::with_capacity(12);
                    push_varint(&mut head, layout.items << 3 | 2);
                    push_varint(&mut head, item.len() as u64);
                    pieces.put(&head);
                    pieces.put(&item);
                }
            }
        } else {
            pieces.keep(field.whole);
        }
    }
    if let Some(reporter) = reporter {
        pieces.put(&reporter);
    }
    if let Some(number) = layout.auth.filter(|_| !auth_written) {
        pieces.put_secret(auth_field(number, token));
    }
    Ok(pieces.finish())
}

/// The one reporter to write: all that the body has, merged, and the stamp. `None`: none came and none is
/// needed.
fn reporter(
    layout: &Layout,
    body: &[u8],
    stamp: &[(&str, &str)],
    unused: &mut Findings,
) -> Result<Option<Vec<u8>>, Malformed> {
    let mut merged = Vec::new();
    let mut found = false;
    let mut fields = Fields::of(body, 0..body.len());
    while let Some(field) = fields.next()? {
        if field.number == layout.reporter {
            found = true;
            reporter_without(body, field.bytes()?, stamp, unused, &mut merged)?;
        }
    }
    if !found && stamp.is_empty() {
        return Ok(None);
    }
    for (name, value) in stamp {
        let mut tag = Vec::with_capacity(name.len() + value.len() + TAG_OVERHEAD_BYTES);
        push_field(&mut tag, 1, &[name.as_bytes()]);
        push_field(&mut tag, 2, &[value.as_bytes()]);
        push_field(&mut merged, REPORTER_TAGS, &[&tag]);
    }
    let mut field = Vec::with_capacity(merged.len() + 11);
    push_field(&mut field, layout.reporter, &[&merged]);
    Ok(Some(field))
}

/// Exactly as long as needed, so that no copy of the token stays behind in memory that was outgrown.
fn auth_field(number: u64, token: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut head = Vec::with_capacity(11);
    push_varint(&mut head, ACCESS_TOKEN << 3 | 2);
    push_varint(&mut head, token.len() as u64);
    let mut field = Zeroizing::new(Vec::with_capacity(token.len() + 2 * 11));
    push_field(&mut field, number, &[&head, token]);
    field
}

fn auth(body: &[u8], message: Range<usize>, findings: &mut Findings) -> Result<(), Malformed> {
    let mut fields = Fields::of(body, message);
    while let Some(field) = fields.next()? {
        if field.number == ACCESS_TOKEN {
            findings.note_token(body.get(field.bytes()?).unwrap_or_default());
        }
    }
    Ok(())
}

/// Appends the reporter's fields without tags that may not stay.
fn reporter_without(
    body: &[u8],
    message: Range<usize>,
    stamp: &[(&str, &str)],
    findings: &mut Findings,
    into: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let mut fields = Fields::of(body, message);
    while let Some(field) = fields.next()? {
        let whole = body.get(field.whole.clone()).unwrap_or_default();
        if field.number == REPORTER_TAGS {
            let tag = Tag::read(body, field.bytes()?)?;
            tag.note(findings)?;
            tag.note_service(findings, Findings::note_service)?;
            if tag.goes() || stamp.iter().any(|(name, _)| name.as_bytes() == tag.name) {
                continue;
            }
        }
        into.extend_from_slice(whole);
    }
    Ok(())
}

/// A span's or point's message without the tags that may not stay; `None` if all may.
fn item_without(
    layout: &Layout,
    body: &[u8],
    message: Range<usize>,
    findings: &mut Findings,
) -> Result<Option<Vec<u8>>, Malformed> {
    let mut edited = Edited::new(body, message.clone());
    let mut fields = Fields::of(body, message);
    while let Some(field) = fields.next()? {
        let (number, whole) = (field.number, field.whole.clone());
        if number == layout.item_tags {
            let tag = Tag::read(body, field.bytes()?)?;
            tag.note(findings)?;
            tag.note_service(findings, Findings::note_item_service)?;
            if tag.goes() {
                edited.replace(whole, &[]);
            }
        } else if Some(number) == layout.item_logs
            && let Some(log) = log_without(body, field.bytes()?, findings)?
        {
            let mut replacement = Vec::with_capacity(log.len() + 11);
            push_field(&mut replacement, number, &[&log]);
            edited.replace(whole, &replacement);
        }
    }
    Ok(edited.finish())
}

fn log_without(
    body: &[u8],
    message: Range<usize>,
    findings: &mut Findings,
) -> Result<Option<Vec<u8>>, Malformed> {
    let mut edited = Edited::new(body, message.clone());
    let mut fields = Fields::of(body, message);
    while let Some(field) = fields.next()? {
        let whole = field.whole.clone();
        if field.number == LOG_TAGS {
            let tag = Tag::read(body, field.bytes()?)?;
            tag.note(findings)?;
            tag.note_service(findings, Findings::note_item_service)?;
            if tag.goes() {
                edited.replace(whole, &[]);
            }
        }
    }
    Ok(edited.finish())
}

/// A message of which some fields are replaced. Most are not touched, and then nothing is copied.
struct Edited<'a> {
    body: &'a [u8],
    message: Range<usize>,
    copy: Option<Vec<u8>>,
    done: usize,
}

impl<'a> Edited<'a> {
    fn new(body: &'a [u8], message: Range<usize>) -> Self {
        Edited {
            body,
            done: message.start,
            message,
            copy: None,
        }
    }

    fn replace(&mut self, field: Range<usize>, with: &[u8]) {
        let copy = self.copy.get_or_insert_with(Vec::new);
        copy.extend_from_slice(self.body.get(self.done..field.start).unwrap_or_default());
        copy.extend_from_slice(with);
        self.done = field.end;
    }

    fn finish(self) -> Option<Vec<u8>> {
        let mut copy = self.copy?;
        copy.extend_from_slice(
            self.body
                .get(self.done..self.message.end)
                .unwrap_or_default(),
        );
        Some(copy)
    }
}

/// A `KeyValue`: field 1 the key, field 2 the value if it is a string.
struct Tag<'a> {
    kind: TagKind,
    name: &'a [u8],
    value: Option<&'a [u8]>,
    /// Key or value stand once and plainly.
    clear: bool,
    offset: usize,
}

impl<'a> Tag<'a> {
    fn read(body: &'a [u8], message: Range<usize>) -> Result<Tag<'a>, Malformed> {
        let mut tag = Tag {
            kind: TagKind::Plain,
            name: b"",
            value: None,
            clear: true,
            offset: message.start,
        };
        let (mut keys, mut values) = (0, 0);
        let mut fields = Fields::of(body, message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => {
                    keys += 1;
                    tag.name = body.get(field.bytes()?).unwrap_or_default();
                    // A reader might take any of several names: the one that counts most here decides.
                    tag.kind = tag.kind.max(TagKind::of(tag.name));
                }
                2 => {
                    values += 1;
                    tag.value = Some(body.get(field.bytes()?).unwrap_or_default());
                }
                // The other members of the `oneof`.
                3..=6 => values += 1,
                _ => {}
            }
        }
        tag.clear = keys <= 1 && values <= 1;
        Ok(tag)
    }

    fn goes(&self) -> bool {
        matches!(self.kind, TagKind::Carrier | TagKind::Reserved)
    }

    fn note(&self, findings: &mut Findings) -> Result<(), Malformed> {
        match (self.kind, self.value) {
            (TagKind::Carrier, Some(_)) if !self.clear => {
                return Err(Malformed {
                    offset: self.offset,
                    what: "a token is given twice in one tag",
                });
            }
            (TagKind::Carrier, Some(value)) => findings.note_token(value),
            (TagKind::Reserved, _) => findings.forged += 1,
            (TagKind::Carrier | TagKind::ComponentName | TagKind::Plain, _) => {}
        }
        Ok(())
    }

    /// `note`: whose name it is.
    fn note_service(
        &self,
        findings: &mut Findings,
        note: fn(&mut Findings, &str),
    ) -> Result<(), Malformed> {
        match self.value {
            _ if self.kind != TagKind::ComponentName => {}
            Some(name) if self.clear => {
                let what = "a service name is not UTF-8";
                note(
                    findings,
                    std::str::from_utf8(name).map_err(|_| Malformed {
                        offset: self.offset,
                        what,
                    })?,
                );
            }
            _ => findings.note_unclear_service(),
        }
        Ok(())
    }
}
