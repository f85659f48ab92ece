//! Elasticsearch's `_bulk`: lines of JSON, each document after its action.
//!
//! What it does: checks the form, counts the documents, reads the services that they name, and writes each with the
//! stamp's members: a body of this format has no place but its documents. What it refuses to know: tokens (they
//! stand in the head) and what a document says otherwise. Invariants: a body that is let through has one reading:
//! every line is an action or its document; no document keeps a reserved member; the names of its service that stand in
//! a document, in any place and spelling that some reader knows, agree or settle nothing.

use super::findings::{Findings, Names};
use super::json::{self, Json, Member};
use crate::otlp::{Malformed, RESERVED};

/// Reads pairs of lines: `{"create":{…}}` or `{"index":{…}}`, then the document (Elasticsearch, "Bulk API").
pub(super) fn read(body: &[u8], findings: &mut Findings) -> Result<(), Malformed> {
    Pass {
        json: Json::of(body)?,
        findings,
        out: None,
        ours: b"",
        stamp: &[],
    }
    .lines()
}

/// How much longer the text may become.
pub(super) fn growth(items: u64, stamp: &[(&str, &str)]) -> usize {
    let member = |(name, value): &(&str, &str)| {
        json::string_bytes_at_most(name) + json::string_bytes_at_most(value) + 2
    };
    usize::try_from(items)
        .unwrap_or(usize::MAX)
        .saturating_mul(stamp.iter().map(member).sum())
}

/// `items` is what reading found, so that all memory is taken at once.
pub(super) fn write(body: &[u8], items: u64, stamp: &[(&str, &str)]) -> Result<Vec<u8>, Malformed> {
    let mut ours = Vec::with_capacity(growth(1, stamp));
    for (index, (name, value)) in stamp.iter().enumerate() {
        if index > 0 {
            ours.push(b',');
        }
        json::push_string(&mut ours, name);
        ours.push(b':');
        json::push_string(&mut ours, value);
    }
    let each = usize::try_from(items)
        .unwrap_or(usize::MAX)
        .saturating_mul(ours.len() + 1);
    let mut out = Vec::with_capacity(body.len().saturating_add(each));
    let mut unused = Findings::default();
    Pass {
        json: Json::of(body)?,
        findings: &mut unused,
        out: Some(&mut out),
        ours: &ours,
        stamp,
    }
    .lines()?;
    Ok(out)
}

/// One walk over a body, to read it (`out` is `None`) or to write it.
struct Pass<'a, 'o> {
    json: Json<'a>,
    findings: &'o mut Findings,
    out: Option<&'o mut Vec<u8>>,
    /// The members to put into every document.
    ours: &'o [u8],
    stamp: &'o [(&'o str, &'o str)],
}

impl<'a> Pass<'a, '_> {
    fn put(&mut self, text: &[u8]) {
        if let Some(out) = &mut self.out {
            out.extend_from_slice(text);
        }
    }

    fn lines(&mut self) -> Result<(), Malformed> {
        let json = self.json;
        let mut lines = json.whole().split_inclusive('\n');
        while let Some(action) = lines.next() {
            check_action(json, action)?;
            self.put(action.as_bytes());
            let Some(document) = lines.next() else {
                return Err(json.malformed(action, "an action has no document"));
            };
            self.findings.items += 1;
            self.document(document)?;
        }
        Ok(())
    }

    fn document(&mut self, line: &'a str) -> Result<(), Malformed> {
        let json = self.json;
        if json::is_null(line) {
            return Err(json.malformed(line, "a document is no object"));
        }
        let mut names = Names::None;
        let mut first = true;
        self.put(b"{");
        json.members(line, &mut |member| {
            match member.folded().as_str() {
                "service.name" | "lightstep.componentname" => note(&mut names, member.value),
                "service" if member.value.starts_with('{') => {
                    nested(json, member.value, "name", &mut names)?
                }
                "service" => note(&mut names, member.value),
                // To Elasticsearch, `{"a.b": 1}` and `{"a": {"b": 1}}` are the same document.
                "lightstep" if member.value.starts_with('{') => {
                    nested(json, member.value, "componentname", &mut names)?;
                }
                "lightstep" if member.value.starts_with('[') => names.add(None),
                _ if is_reserved(&member) => {
                    self.findings.forged += 1;
                    return Ok(());
                }
                _ => {}
            }
            if !self.stamp.iter().any(|(name, _)| *name == member.name) {
                self.separate(&mut first);
                for part in [member.raw_name, ":", member.value] {
                    self.put(part.as_bytes());
                }
            }
            Ok(())
        })?;
        if !self.ours.is_empty() {
            self.separate(&mut first);
            self.put(self.ours);
        }
        self.put(b"}");
        self.put(if line.ends_with('\n') { b"\n" } else { b"" });
        self.findings.note_names(&names);
        Ok(())
    }

    fn separate(&mut self, first: &mut bool) {
        if !std::mem::replace(first, false) {
            self.put(b",");
        }
    }
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
    if (known, all) == (1, 1) {
        Ok(())
    } else {
        Err(json.malformed(line, "an action is not `create` or `index`"))
    }
}

fn note(names: &mut Names, value: &str) {
    if !json::is_null(value) {
        names.add(json::text(value).as_deref());
    }
}

/// Notes the member of this name of an object in a document.
fn nested(json: Json<'_>, part: &str, name: &str, names: &mut Names) -> Result<(), Malformed> {
    json.members(part, &mut |inner| {
        if inner.folded() == name {
            note(names, inner.value);
        }
        Ok(())
    })
}

/// To Elasticsearch, `{"a.b": 1}` and `{"a": {"b": 1}}` are the same document.
fn is_reserved(member: &Member<'_>) -> bool {
    let nested = RESERVED
        .strip_suffix('.')
        .is_some_and(|prefix| prefix == member.name);
    member.name.starts_with(RESERVED) || (nested && member.value.starts_with(['{', '[']))
}
