//! Reports that are JSON objects: the proto3 JSON of `ReportRequest`, and the first API's Thrift structs.
//!
//! What it does: walks both by one table of names, reads token, service and counts, and writes the object
//! anew with everything that is not changed as the text it was. What it refuses to know: JSON's syntax
//! (`json.rs`), whose token it is. Invariants: members that are looked at stand once, under any of their
//! spellings; numbers are never parsed.

use zeroize::Zeroizing;

use super::findings::{Findings, TagKind};
use super::json::{self, Json, Member, Once};
use crate::otlp::Malformed;

/// The names of a format, folded as `json::folded` does, and as they are written.
pub(super) struct Names {
    /// The sender of all items: `reporter`, `runtime`.
    sender: &'static str,
    sender_tags: &'static str,
    /// The member of the sender that is the service's name, besides its tag.
    sender_name: Option<&'static str>,
    items: &'static str,
    item_tags: &'static str,
    item_logs: &'static str,
    /// Logs that belong to no item.
    logs: Option<&'static str>,
    log_tags: &'static str,
    key: &'static str,
    /// The text of a value, and all members that a value may be in.
    text: &'static str,
    values: &'static [&'static str],
    written: Written,
}

struct Written {
    sender_tags: &'static str,
    key: &'static str,
    text: &'static str,
    /// The token's member in `auth`, which is written always. `None`: the backend takes the head's token, and no `auth`
    /// is written.
    access_token: Option<&'static str>,
}

/// proto3 JSON of `lightstep.collector.ReportRequest`.
pub(super) const REPORTS: Names = Names {
    sender: "reporter",
    sender_tags: "tags",
    sender_name: None,
    items: "spans",
    item_tags: "tags",
    item_logs: "logs",
    logs: None,
    log_tags: "fields",
    key: "key",
    text: "stringvalue",
    values: &[
        "stringvalue",
        "intvalue",
        "doublevalue",
        "boolvalue",
        "jsonvalue",
    ],
    written: Written {
        sender_tags: "tags",
        key: "key",
        text: "stringValue",
        access_token: Some("accessToken"),
    },
};

/// `ReportRequest` of `crouton.thrift` as plain JSON.
pub(super) const THRIFT: Names = Names {
    sender: "runtime",
    sender_tags: "attrs",
    sender_name: Some("groupname"),
    items: "spanrecords",
    item_tags: "attributes",
    item_logs: "logrecords",
    logs: Some("logrecords"),
    log_tags: "fields",
    key: "key",
    text: "value",
    values: &["value"],
    written: Written {
        sender_tags: "attrs",
        key: "Key",
        text: "Value",
        access_token: None,
    },
};

const AUTH: &str = "auth";
const ACCESS_TOKEN: &str = "accesstoken";

pub(super) fn read(
    names: &'static Names,
    body: &[u8],
    findings: &mut Findings,
) -> Result<(), Malformed> {
    Pass {
        json: Json::of(body)?,
        names,
        findings,
        out: None,
        token: "",
        stamp: &[],
    }
    .report()
}

/// How much longer the text may become.
pub(super) fn growth(token: usize, stamp: &[(&str, &str)]) -> usize {
    let tag = |(name, value): &(&str, &str)| {
        json::string_bytes_at_most(name) + json::string_bytes_at_most(value) + 32
    };
    2 * token + 128 + stamp.iter().map(tag).sum::<usize>()
}

pub(super) fn write(
    names: &'static Names,
    body: &[u8],
    token: &str,
    stamp: &[(&str, &str)],
) -> Result<Zeroizing<Vec<u8>>, Malformed> {
    // Large enough from the start: memory that was outgrown would keep a copy of the token.
    let mut out = Zeroizing::new(Vec::with_capacity(body.len() + growth(token.len(), stamp)));
    let mut unused = Findings::default();
    Pass {
        json: Json::of(body)?,
        names,
        findings: &mut unused,
        out: Some(&mut out),
        token,
        stamp,
    }
    .report()?;
    Ok(out)
}

/// One walk over a body, to read it (`out` is `None`) or to write it.
struct Pass<'a, 'o> {
    json: Json<'a>,
    names: &'static Names,
    findings: &'o mut Findings,
    out: Option<&'o mut Vec<u8>>,
    token: &'o str,
    stamp: &'o [(&'o str, &'o str)],
}

impl<'a> Pass<'a, '_> {
    fn put(&mut self, text: &str) {
        if let Some(out) = &mut self.out {
            out.extend_from_slice(text.as_bytes());
        }
    }

    fn put_string(&mut self, text: &str) {
        if let Some(out) = &mut self.out {
            json::push_string(out, text);
        }
    }

    /// A comma, unless this is the first.
    fn separate(&mut self, first: &mut bool) {
        if !std::mem::replace(first, false) {
            self.put(",");
        }
    }

    fn put_name(&mut self, name: &str) {
        self.put_string(name);
        self.put(":");
    }

    fn put_member(&mut self, member: &Member<'a>) {
        self.put(member.raw_name);
        self.put(":");
        self.put(member.value);
    }

    fn report(&mut self) -> Result<(), Malformed> {
        let (json, names) = (self.json, self.names);
        let (mut sender, mut items, mut auth, mut logs) =
            (Once(false), Once(false), Once(false), Once(false));
        if json::is_null(json.whole()) {
            return Err(json.malformed(json.whole(), "this should be an object"));
        }
        let mut first = true;
        self.put("{");
        json.members(json.whole(), &mut |member| {
            let name = member.folded();
            if name == AUTH {
                auth.seen(json, &member)?;
                self.their_token(member.value)?;
                return Ok(());
            }
            self.separate(&mut first);
            match name {
                name if name == names.sender => {
                    sender.seen(json, &member)?;
                    self.put_name(names.sender);
                    self.sender(member.value)
                }
                name if name == names.items => {
                    items.seen(json, &member)?;
                    self.put(member.raw_name);
                    self.put(":");
                    self.items(member.value)
                }
                name if Some(name.as_str()) == names.logs => {
                    logs.seen(json, &member)?;
                    self.put(member.raw_name);
                    self.put(":");
                    self.logs(member.value)
                }
                _ => {
                    self.put_member(&member);
                    Ok(())
                }
            }
        })?;
        if !sender.0 && !self.stamp.is_empty() {
            self.separate(&mut first);
            self.put_name(names.sender);
            self.sender("null")?;
        }
        if let Some(access_token) = names.written.access_token {
            self.separate(&mut first);
            self.put_name(AUTH);
            self.put("{");
            self.put_name(access_token);
            self.put_string(self.token);
            self.put("}");
        }
        self.put("}");
        Ok(())
    }

    /// Reads the caller's token, which goes.
    fn their_token(&mut self, part: &'a str) -> Result<(), Malformed> {
        let json = self.json;
        let mut token = Once(false);
        json.members(part, &mut |member| {
            if member.folded() == ACCESS_TOKEN {
                token.seen(json, &member)?;
                match json::text(member.value) {
                    Some(text) => self.findings.note_token(text.as_bytes()),
                    None if json::is_null(member.value) => {}
                    None => return Err(json.malformed(member.value, "a token is no text")),
                }
            }
            Ok(())
        })
    }

    fn sender(&mut self, part: &'a str) -> Result<(), Malformed> {
        let (json, names) = (self.json, self.names);
        let (mut tags, mut named, mut first) = (Once(false), Once(false), true);
        self.put("{");
        json.members(part, &mut |member| {
            self.separate(&mut first);
            let name = member.folded();
            if name == names.sender_tags {
                tags.seen(json, &member)?;
                self.put_name(names.written.sender_tags);
                return self.tags(member.value, true);
            }
            if Some(name.as_str()) == names.sender_name {
                named.seen(json, &member)?;
                self.service(member.value);
            }
            self.put_member(&member);
            Ok(())
        })?;
        if !tags.0 && !self.stamp.is_empty() {
            self.separate(&mut first);
            self.put_name(names.written.sender_tags);
            self.tags("null", true)?;
        }
        self.put("}");
        Ok(())
    }

    fn service(&mut self, value: &str) {
        match json::text(value) {
            Some(name) => self.findings.note_service(&name),
            None if json::is_null(value) => {}
            None => self.findings.note_unclear_service(),
        }
    }

    fn items(&mut self, part: &'a str) -> Result<(), Malformed> {
        let (json, names) = (self.json, self.names);
        let mut first = true;
        self.put("[");
        json.elements(part, &mut |item| {
            self.findings.items += 1;
            self.separate(&mut first);
            self.with_tags(item, names.item_tags, Some(names.item_logs))
        })?;
        self.put("]");
        Ok(())
    }

    fn logs(&mut self, part: &'a str) -> Result<(), Malformed> {
        let (json, names) = (self.json, self.names);
        let mut first = true;
        self.put("[");
        json.elements(part, &mut |log| {
            self.separate(&mut first);
            self.with_tags(log, names.log_tags, None)
        })?;
        self.put("]");
        Ok(())
    }

    /// An object that has tags, and maybe logs that have some.
    fn with_tags(
        &mut self,
        part: &'a str,
        tags: &str,
        logs: Option<&str>,
    ) -> Result<(), Malformed> {
        let json = self.json;
        let (mut seen_tags, mut seen_logs, mut first) = (Once(false), Once(false), true);
        if json::is_null(part) {
            self.put(part);
            return Ok(());
        }
        self.put("{");
        json.members(part, &mut |member| {
            self.separate(&mut first);
            let name = member.folded();
            if name != tags && Some(name.as_str()) != logs {
                self.put_member(&member);
                return Ok(());
            }
            self.put(member.raw_name);
            self.put(":");
            if name == tags {
                seen_tags.seen(json, &member)?;
                self.tags(member.value, false)
            } else {
                seen_logs.seen(json, &member)?;
                self.logs(member.value)
            }
        })?;
        self.put("}");
        Ok(())
    }

    /// A list of tags without those that may not stay; the sender's with the stamp's at its end.
    fn tags(&mut self, part: &'a str, of_sender: bool) -> Result<(), Malformed> {
        let json = self.json;
        let mut first = true;
        self.put("[");
        json.elements(part, &mut |tag| {
            if self.stays(tag, of_sender)? {
                self.separate(&mut first);
                self.put(tag);
            }
            Ok(())
        })?;
        if of_sender {
            for (name, value) in self.stamp {
                self.separate(&mut first);
                self.put("{");
                self.put_name(self.names.written.key);
                self.put_string(name);
                self.put(",");
                self.put_name(self.names.written.text);
                self.put_string(value);
                self.put("}");
            }
        }
        self.put("]");
        Ok(())
    }

    /// Notes what a tag says, and whether it may stay.
    fn stays(&mut self, part: &'a str, of_sender: bool) -> Result<bool, Malformed> {
        let (json, names) = (self.json, self.names);
        let (mut key, mut value) = (None, None);
        json.members(part, &mut |member| {
            let name = member.folded();
            let slot = match name.as_str() {
                name if name == names.key => &mut key,
                name if names.values.contains(&name) => &mut value,
                _ => return Ok(()),
            };
            if slot
                .replace((name == names.text || name == names.key, member.value))
                .is_some()
            {
                return Err(json.malformed(member.raw_name, "a tag has two names or values"));
            }
            Ok(())
        })?;
        let key = key.and_then(|(_, key)| json::text(key)).unwrap_or_default();
        match TagKind::of(key.as_bytes()) {
            TagKind::Carrier => {
                if let Some(token) = value
                    .filter(|(is_text, _)| *is_text)
                    .and_then(|(_, value)| json::text(value))
                {
                    self.findings.note_token(token.as_bytes());
                }
                Ok(false)
            }
            TagKind::Reserved => {
                self.findings.forged += 1;
                Ok(false)
            }
            TagKind::ComponentName if of_sender => {
                match value {
                    Some((true, value)) => self.service(value),
                    _ => self.findings.note_unclear_service(),
                }
                Ok(!self.stamp.iter().any(|(name, _)| *name == key))
            }
            TagKind::ComponentName => {
                match value
                    .filter(|(is_text, _)| *is_text)
                    .and_then(|(_, value)| json::text(value))
                {
                    Some(name) => self.findings.note_item_service(&name),
                    None => self.findings.note_unclear_service(),
                }
                Ok(true)
            }
            TagKind::Plain => Ok(!of_sender || !self.stamp.iter().any(|(name, _)| *name == key)),
        }
    }
}
