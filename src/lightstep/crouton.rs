//! A `Report` call of the first API, in Thrift's binary protocol.
//!
//! What it does: walks the call's arguments (1 `auth` { 1 `access_token` }, 2 `request` { 1 `runtime` { 3
//! `group_name`, 4 `attrs` }, 3 `span_records` { 8 `attributes`, 10 `log_records` }, 4 `log_records` { 13
//! `fields` } }), reads token, service and counts, and writes the call anew by splicing. What it refuses to
//! know: the encoding (`thrift.rs`), whose token it is. Invariants: fields that are looked at stand once and
//! have their type; all others stay as they are.

use std::ops::Range;

use bytes::Bytes;
use zeroize::Zeroizing;

use super::findings::{Findings, TagKind};
use super::thrift::{Cursor, Field, code, kind, push_field, push_length, push_string};
use crate::otlp::{Malformed, Pieces};

/// Bytes of one stamped tag besides its texts, and of the fields around them.
const TAG_OVERHEAD_BYTES: usize = 15;

pub(super) fn read(body: &[u8], findings: &mut Findings) -> Result<(), Malformed> {
    Pass {
        cursor: Cursor::new(body),
        findings,
        pieces: None,
        kept: 0,
        token: b"",
        stamp: &[],
    }
    .call()
}

/// How much longer the call may become.
pub(super) fn growth(token: usize, stamp: &[(&str, &str)]) -> usize {
    token
        + 64
        + stamp
            .iter()
            .map(|(name, value)| name.len() + value.len() + TAG_OVERHEAD_BYTES)
            .sum::<usize>()
}

pub(super) fn write(
    body: &Bytes,
    token: &[u8],
    stamp: &[(&str, &str)],
) -> Result<Vec<Bytes>, Malformed> {
    let mut unused = Findings::default();
    let mut pass = Pass {
        cursor: Cursor::new(body),
        findings: &mut unused,
        pieces: Some(Pieces::new(body)),
        kept: 0,
        token,
        stamp,
    };
    pass.call()?;
    pass.keep_to(body.len());
    Ok(pass.pieces.map(Pieces::finish).unwrap_or_default())
}

/// One walk over a call, to read it (`pieces` is `None`) or to write it.
struct Pass<'a, 'o> {
    cursor: Cursor<'a>,
    findings: &'o mut Findings,
    pieces: Option<Pieces<'a>>,
    /// Up to where the body has been kept or left out.
    kept: usize,
    token: &'o [u8],
    stamp: &'o [(&'o str, &'o str)],
}

/// A field that may stand once.
#[derive(Default)]
struct Once(bool);

impl Once {
    fn seen(&mut self, field: Field) -> Result<(), Malformed> {
        if std::mem::replace(&mut self.0, true) {
            return Err(Malformed {
                offset: field.start,
                what: "a field stands twice",
            });
        }
        Ok(())
    }
}

/// What a tag says.
struct Tag<'a> {
    key: &'a [u8],
    value: &'a [u8],
    /// Where it begins.
    start: usize,
}

impl<'a> Pass<'a, '_> {
    /// Keeps the body up to here.
    fn keep_to(&mut self, end: usize) {
        if let Some(pieces) = &mut self.pieces {
            pieces.keep(self.kept..end);
        }
        self.kept = end;
    }

    /// Keeps the body up to the range and leaves the range out.
    fn leave_out(&mut self, range: Range<usize>) {
        self.keep_to(range.start);
        self.kept = range.end;
    }

    fn put(&mut self, bytes: &[u8]) {
        if let Some(pieces) = &mut self.pieces {
            pieces.put(bytes);
        }
    }

    fn call(&mut self) -> Result<(), Malformed> {
        let (message, _) = self.cursor.message()?;
        if message != kind::CALL {
            return Err(Malformed {
                offset: 0,
                what: "the message is not a call",
            });
        }
        let arguments = self.cursor.at;
        let (mut auth, mut request) = (Once(false), Once(false));
        // A call without `auth` gets one first.
        if self.lacks(1)? {
            self.keep_to(arguments);
            let mut head = Vec::with_capacity(3);
            push_field(&mut head, code::STRUCT, 1);
            self.put(&head);
            self.put_token();
            self.put(&[code::STOP]);
        }
        while let Some(field) = self.cursor.field()? {
            match field.id {
                1 => {
                    auth.seen(field)?;
                    self.cursor.expect(field, code::STRUCT)?;
                    self.auth()?;
                }
                2 => {
                    request.seen(field)?;
                    self.cursor.expect(field, code::STRUCT)?;
                    self.request()?;
                }
                _ => self.cursor.step_over(field.code)?,
            }
        }
        if !request.0 {
            return Err(self.cursor.malformed("the call has no request"));
        }
        if !self.cursor.is_at_end() {
            return Err(self.cursor.malformed("something follows the message"));
        }
        Ok(())
    }

    /// Whether the struct that begins here has no field with this number, so that one is to be written.
    fn lacks(&self, id: i16) -> Result<bool, Malformed> {
        if self.pieces.is_none() {
            return Ok(false);
        }
        let mut ahead = self.cursor;
        while let Some(field) = ahead.field()? {
            if field.id == id {
                return Ok(false);
            }
            ahead.step_over(field.code)?;
        }
        Ok(true)
    }

    /// Reads the caller's token and writes ours as the first field.
    fn auth(&mut self) -> Result<(), Malformed> {
        self.keep_to(self.cursor.at);
        self.put_token();
        let mut token = Once(false);
        while let Some(field) = self.cursor.field()? {
            if field.id != 1 {
                self.cursor.step_over(field.code)?;
                continue;
            }
            token.seen(field)?;
            self.cursor.expect(field, code::STRING)?;
            let value = self.cursor.string()?;
            self.findings.note_token(value);
            self.leave_out(field.start..self.cursor.at);
        }
        Ok(())
    }

    fn put_token(&mut self) {
        if let Some(pieces) = &mut self.pieces {
            // Exactly as long as needed, so that nothing of the token stays in memory that was outgrown.
            let mut field = Zeroizing::new(Vec::with_capacity(self.token.len() + 7));
            push_string(&mut field, 1, self.token);
            pieces.put_secret(field);
        }
    }

    fn request(&mut self) -> Result<(), Malformed> {
        let (mut runtime, mut spans, mut logs) = (Once(false), Once(false), Once(false));
        if !self.stamp.is_empty() && self.lacks(1)? {
            self.keep_to(self.cursor.at);
            let mut field = Vec::new();
            push_field(&mut field, code::STRUCT, 1);
            self.push_attributes(&mut field);
            field.push(code::STOP);
            self.put(&field);
        }
        while let Some(field) = self.cursor.field()? {
            match field.id {
                1 => {
                    runtime.seen(field)?;
                    self.cursor.expect(field, code::STRUCT)?;
                    self.runtime()?;
                }
                3 => {
                    spans.seen(field)?;
                    self.cursor.expect(field, code::LIST)?;
                    for _ in 0..self.cursor.structs()? {
                        self.findings.items += 1;
                        self.tagged(8, Some(10))?;
                    }
                }
                4 => {
                    logs.seen(field)?;
                    self.cursor.expect(field, code::LIST)?;
                    for _ in 0..self.cursor.structs()? {
                        self.tagged(13, None)?;
                    }
                }
                _ => self.cursor.step_over(field.code)?,
            }
        }
        Ok(())
    }

    fn runtime(&mut self) -> Result<(), Malformed> {
        let (mut name, mut attributes) = (Once(false), Once(false));
        if !self.stamp.is_empty() && self.lacks(4)? {
            self.keep_to(self.cursor.at);
            let mut field = Vec::new();
            self.push_attributes(&mut field);
            self.put(&field);
        }
        while let Some(field) = self.cursor.field()? {
            match field.id {
                3 => {
                    name.seen(field)?;
                    self.cursor.expect(field, code::STRING)?;
                    let value = self.cursor.string()?;
                    self.findings.note_service(utf8(value, field.start)?);
                }
                4 => {
                    attributes.seen(field)?;
                    self.cursor.expect(field, code::LIST)?;
                    self.tags(true)?;
                }
                _ => self.cursor.step_over(field.code)?,
            }
        }
        Ok(())
    }

    /// A struct that has tags, and maybe a list of structs that have some (field 13).
    fn tagged(&mut self, tags: i16, logs: Option<i16>) -> Result<(), Malformed> {
        let (mut seen_tags, mut seen_logs) = (Once(false), Once(false));
        while let Some(field) = self.cursor.field()? {
            if field.id == tags {
                seen_tags.seen(field)?;
                self.cursor.expect(field, code::LIST)?;
                self.tags(false)?;
            } else if Some(field.id) == logs {
                seen_logs.seen(field)?;
                self.cursor.expect(field, code::LIST)?;
                for _ in 0..self.cursor.structs()? {
                    self.tagged(13, None)?;
                }
            } else {
                self.cursor.step_over(field.code)?;
            }
        }
        Ok(())
    }

    /// A list of tags without those that may not stay; the runtime's with the stamp's at its end.
    fn tags(&mut self, of_runtime: bool) -> Result<(), Malformed> {
        let head = self.cursor.at;
        let count = self.cursor.structs()?;
        let first = self.cursor.at;
        let mut gone = 0;
        for _ in 0..count {
            let tag = self.tag()?;
            gone += usize::from(!self.stays(&tag, of_runtime)?);
        }
        let added = if of_runtime { self.stamp.len() } else { 0 };
        if self.pieces.is_none() || (gone == 0 && added == 0) {
            return Ok(());
        }
        self.leave_out(head..first);
        let mut list = vec![code::STRUCT];
        push_length(&mut list, count - gone + added);
        self.put(&list);
        // Once more, now that the list's head could be written.
        let end = self.cursor.at;
        self.cursor.at = first;
        for _ in 0..count {
            let tag = self.tag()?;
            if !self.stays(&tag, of_runtime)? {
                self.leave_out(tag.start..self.cursor.at);
            }
        }
        self.keep_to(end);
        if of_runtime {
            let mut tags = Vec::new();
            self.push_tags(&mut tags);
            self.put(&tags);
        }
        Ok(())
    }

    /// A `KeyValue`: 1 `Key`, 2 `Value`.
    fn tag(&mut self) -> Result<Tag<'a>, Malformed> {
        let mut tag = Tag {
            key: b"",
            value: b"",
            start: self.cursor.at,
        };
        let (mut key, mut value) = (Once(false), Once(false));
        while let Some(field) = self.cursor.field()? {
            let (once, place) = match field.id {
                1 => (&mut key, &mut tag.key),
                2 => (&mut value, &mut tag.value),
                _ => {
                    self.cursor.step_over(field.code)?;
                    continue;
                }
            };
            once.seen(field)?;
            self.cursor.expect(field, code::STRING)?;
            *place = self.cursor.string()?;
        }
        Ok(tag)
    }

    fn stays(&mut self, tag: &Tag<'_>, of_runtime: bool) -> Result<bool, Malformed> {
        match TagKind::of(tag.key) {
            TagKind::Carrier => {
                self.findings.note_token(tag.value);
                return Ok(false);
            }
            TagKind::Reserved => {
                self.findings.forged += 1;
                return Ok(false);
            }
            TagKind::ComponentName if of_runtime => {
                self.findings.note_service(utf8(tag.value, tag.start)?)
            }
            TagKind::ComponentName => self.findings.note_item_service(utf8(tag.value, tag.start)?),
            TagKind::Plain => {}
        }
        Ok(!of_runtime
            || !self
                .stamp
                .iter()
                .any(|(name, _)| name.as_bytes() == tag.key))
    }

    /// The whole field `attrs` with the stamp alone.
    fn push_attributes(&self, into: &mut Vec<u8>) {
        push_field(into, code::LIST, 4);
        into.push(code::STRUCT);
        push_length(into, self.stamp.len());
        self.push_tags(into);
    }

    fn push_tags(&self, into: &mut Vec<u8>) {
        for (name, value) in self.stamp {
            push_string(into, 1, name.as_bytes());
            push_string(into, 2, value.as_bytes());
            into.push(code::STOP);
        }
    }
}

/// A service's name.
fn utf8(name: &[u8], offset: usize) -> Result<&str, Malformed> {
    std::str::from_utf8(name).map_err(|_| Malformed {
        offset,
        what: "a service name is not UTF-8",
    })
}
