//! The operator's file of revocations: read strictly, with every mistake in its place.
//!
//! What it does: turns the file's text into what is revoked, or into all of its mistakes. What it refuses to know: where the
//! text comes from, and what is done with the list. Invariants: a list exists only without errors and never changes; at most
//! `LIMIT_ENTRIES` entries; an entry whose time is over is a warning and revokes nothing.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::raw::{RawRevocation, RawRevocations};
use super::table::RevocationTable;
use super::{Revocation, RevocationKind, VALUE_LIMIT_BYTES};
use crate::clock::UnixMillis;
use crate::document::{self, Diagnostic, Spanned, name, names, nearest};
use crate::identify::facts::CLIENT_TOKENS;

/// Entries of one file. What was revoked long ago has expired by itself.
const LIMIT_ENTRIES: usize = 20_000;
/// RFC 5280 section 4.1.2.2: a serial number has 20 bytes at most.
const SERIAL_LIMIT_BYTES: usize = 20;
/// The most known names that a hint lists.
const LISTED_LIMIT: usize = 24;

const WAYS: &str =
    "write `issuer` with one of `jti`, `subject`, `sid` and `serial`, or `spki` alone";
const TIME_FORM: &str = "write it as `2027-01-01T00:00:00Z`";

/// What a file of revocations is checked against.
#[derive(Clone, Copy)]
pub struct RevocationSurroundings<'a> {
    /// The names of the configured issuers of tokens.
    pub issuers: &'a [String],
    /// The names of the authorities for client certificates.
    pub authorities: &'a [String],
    /// Names beside those of which a subject alone can be named, because their proofs have no id.
    pub others: &'a [String],
    /// For warnings about entries whose time is over.
    pub now: UnixMillis,
}

/// What the file lists. Made by `RevocationList::load`; never changes. The default lists nothing.
#[derive(Default)]
pub struct RevocationList {
    entries: Vec<Revocation>,
    table: RevocationTable,
}

impl RevocationList {
    /// Reads a list. `text` stands in `file`, which is only named. There is one if no finding is an error.
    pub fn load(
        file: &Path,
        text: &str,
        around: &RevocationSurroundings<'_>,
    ) -> (Option<RevocationList>, Vec<Diagnostic>) {
        let raw: RawRevocations = match document::load(file, text) {
            Ok(raw) => raw,
            Err(found) => return (None, found),
        };
        let mut check = ListCheck {
            file,
            around: *around,
            found: Vec::new(),
        };
        let entries = check.entries(&raw);
        let found = check.found;
        if found.iter().any(Diagnostic::is_error) {
            return (None, found);
        }
        let mut table = RevocationTable::default();
        for entry in &entries {
            table.put(entry);
        }
        (Some(RevocationList { entries, table }), found)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    pub(super) fn table(&self) -> &RevocationTable {
        &self.table
    }

    /// How many entries count at `now`.
    pub(crate) fn len(&self, now: UnixMillis) -> usize {
        let counts = |entry: &&Revocation| now.seconds() < entry.until;
        self.entries.iter().filter(counts).count()
    }

    /// What this list revokes and the one before did not.
    pub(crate) fn beyond<'l>(
        &'l self,
        before: &'l RevocationList,
    ) -> impl Iterator<Item = &'l Revocation> {
        let known: HashSet<&Revocation> = before.entries.iter().collect();
        self.entries
            .iter()
            .filter(move |entry| !known.contains(entry))
    }
}

/// A check under way.
struct ListCheck<'a> {
    file: &'a Path,
    around: RevocationSurroundings<'a>,
    found: Vec<Diagnostic>,
}

impl ListCheck<'_> {
    fn error<T>(&mut self, at: &Spanned<T>, message: impl Into<String>, hint: impl Into<String>) {
        let found = Diagnostic::error(self.file, at.line(), at.column(), message);
        self.found.push(found.with_hint(hint));
    }

    fn entries(&mut self, raw: &RawRevocations) -> Vec<Revocation> {
        if raw.version.value != 1 {
            self.error(&raw.version, "`version` is not 1", "write `version: 1`");
        }
        let found = raw.revocations.len();
        if let Some(said) = raw
            .entries
            .as_ref()
            .filter(|said| usize::try_from(said.value).ok() != Some(found))
        {
            let message = format!("`entries` says {}, and there are {found}", said.value);
            let hint = "the file may have been cut: write it whole beside this one, and rename it";
            self.error(said, message, hint);
        }
        if let Some(surplus) = raw.revocations.get(LIMIT_ENTRIES) {
            let message = format!("more than {LIMIT_ENTRIES} revocations");
            let hint = "remove those whose `until` is over, or end many at once by `subject`, or by a key of the issuer's";
            self.error(surplus, message, hint);
        }
        let mut entries: Vec<Revocation> = Vec::new();
        let mut known: HashSet<(RevocationKind, Arc<str>, Arc<str>)> = HashSet::new();
        for (index, raw) in raw.revocations.iter().take(LIMIT_ENTRIES).enumerate() {
            let Some(entry) = self.entry(index, raw) else {
                continue;
            };
            if !known.insert((entry.kind, entry.issuer.clone(), entry.value.clone())) {
                let message = format!("`revocations[{index}]` names what another line names");
                self.error(
                    raw,
                    message,
                    "join the two: the later `issued_before` and `until`",
                );
            }
            if entry.until > self.around.now.seconds() {
                entries.push(entry);
                continue;
            }
            let message = format!("`revocations[{index}]` is over: it revokes nothing any more");
            let over = Diagnostic::warning(self.file, raw.line(), raw.column(), message);
            let hint = "remove the line, or move `until` if the proof is still good";
            self.found.push(over.with_hint(hint));
        }
        entries
    }

    /// One entry; `None`: it was reported.
    fn entry(&mut self, index: usize, at: &Spanned<RawRevocation>) -> Option<Revocation> {
        let raw = &at.value;
        let until = self.time(&raw.until, &format!("revocations[{index}].until"));
        let ways = [
            (RevocationKind::Token, &raw.jti),
            (RevocationKind::Subject, &raw.subject),
            (RevocationKind::Session, &raw.sid),
            (RevocationKind::Serial, &raw.serial),
            (RevocationKind::Key, &raw.spki),
        ];
        let mut given = ways
            .into_iter()
            .filter_map(|(kind, value)| Some((kind, value.as_ref()?)));
        let (Some((kind, value)), None) = (given.next(), given.next()) else {
            let message = format!("`revocations[{index}]` must name one kind of proof");
            self.error(at, message, WAYS);
            return None;
        };
        let subject = format!("revocations[{index}].{}", kind.name());
        let issuer = self.issuer(index, at, kind);
        let issued_before = self.issued_before(index, at, kind);
        let value = match kind {
            RevocationKind::Serial => self.serial(value, &subject),
            RevocationKind::Key => self.key(value, &subject),
            _ => self.text(value, &subject),
        };
        Some(Revocation {
            kind,
            issuer: issuer?,
            value: value?,
            issued_before: issued_before?,
            until: until?,
        })
    }

    /// `issued_before` belongs to a subject, which will prove itself anew; the outer `None`: it was reported.
    fn issued_before(
        &mut self,
        index: usize,
        at: &Spanned<RawRevocation>,
        kind: RevocationKind,
    ) -> Option<Option<i64>> {
        let subject = format!("revocations[{index}].issued_before");
        match (&at.value.issued_before, kind) {
            (Some(given), RevocationKind::Subject) => self.time(given, &subject).map(Some),
            (None, RevocationKind::Subject) => {
                let message =
                    format!("`revocations[{index}]` needs `issued_before` beside `subject`");
                let hint = "what the issuer says of the subject from then on counts: a subject that is never to come \
                            back is denied by the policy";
                self.error(at, message, hint);
                None
            }
            (Some(given), _) => {
                let message = format!("`{subject}` has no use beside `{}`", kind.name());
                self.error(
                    given,
                    message,
                    "remove it: the proof that is named never counts again",
                );
                None
            }
            (None, _) => Some(None),
        }
    }

    fn issuer(
        &mut self,
        index: usize,
        at: &Spanned<RawRevocation>,
        kind: RevocationKind,
    ) -> Option<Arc<str>> {
        let subject = format!("revocations[{index}].issuer");
        let given = match (&at.value.issuer, kind) {
            (None, RevocationKind::Key) => return Some(Arc::from("")),
            (Some(given), RevocationKind::Key) => {
                let message = format!("`{subject}` has no use beside `spki`");
                self.error(
                    given,
                    message,
                    "remove it: the key counts for no authority any more",
                );
                return None;
            }
            (None, _) => {
                let message = format!("`revocations[{index}]` needs `issuer`");
                self.error(at, message, WAYS);
                return None;
            }
            (Some(given), _) => given,
        };
        let (issuers, authorities) = (self.around.issuers, self.around.authorities);
        let known: Vec<&str> = match kind {
            RevocationKind::Serial => authorities.iter().map(String::as_str).collect(),
            RevocationKind::Subject => issuers
                .iter()
                .chain(authorities)
                .chain(self.around.others)
                .map(String::as_str)
                .collect(),
            _ => issuers.iter().map(String::as_str).collect(),
        };
        if known.contains(&given.value.as_str()) {
            return Some(Arc::from(given.value.as_str()));
        }
        let what = match kind {
            RevocationKind::Serial => "authority of client certificates",
            RevocationKind::Subject => "issuer and no authority of client certificates",
            _ => "issuer",
        };
        let message = format!("there is no {what} {}", name(&given.value));
        let hint = match nearest(&given.value, known.iter().copied()) {
            _ if given.value == CLIENT_TOKENS => {
                "a client token is revoked by deleting its line in the configuration".to_owned()
            }
            Some(near) => format!("did you mean {}?", name(near)),
            None if known.is_empty() => "the configuration has none".to_owned(),
            None => {
                let listed = names(known.iter().copied().take(LISTED_LIMIT));
                format!("one of {listed}")
            }
        };
        self.error(given, message, hint);
        None
    }

    fn text(&mut self, at: &Spanned<String>, subject: &str) -> Option<Arc<str>> {
        let is_good = (1..=VALUE_LIMIT_BYTES).contains(&at.value.len())
            && !at.value.chars().any(char::is_control);
        if is_good {
            return Some(Arc::from(at.value.as_str()));
        }
        let message = format!(
            "`{subject}` must be 1 to {VALUE_LIMIT_BYTES} bytes without control characters"
        );
        self.error(
            at,
            message,
            "write it as the proof has it: it is compared byte for byte",
        );
        None
    }

    fn serial(&mut self, at: &Spanned<String>, subject: &str) -> Option<Arc<str>> {
        let digits: String = at.value.chars().filter(|letter| *letter != ':').collect();
        let is_even = digits.len().is_multiple_of(2);
        let even = if is_even {
            digits
        } else {
            format!("0{digits}")
        };
        let read = HEXLOWER_PERMISSIVE.decode(even.as_bytes()).ok();
        // One more byte: numbers whose first bit is set have a zero before it in DER.
        let read = read.filter(|read| (1..=SERIAL_LIMIT_BYTES + 1).contains(&read.len()));
        if read.is_none() {
            let message = format!("`{subject}` is no serial number in hexadecimal");
            let hint = "`openssl x509 -in cert.pem -noout -serial` prints it; quote it, so that digits alone stay text";
            self.error(at, message, hint);
        }
        read.map(|read| Arc::from(serial_text(&read).as_str()))
    }

    fn key(&mut self, at: &Spanned<String>, subject: &str) -> Option<Arc<str>> {
        let digits = at.value.strip_prefix("sha256:");
        let sum = digits.and_then(|digits| HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok());
        let sum = sum.filter(|sum| sum.len() == 32);
        if sum.is_none() {
            let message = format!("`{subject}` is not a digest");
            let hint = "write `sha256:` and what `openssl x509 -in cert.pem -noout -pubkey | openssl pkey -pubin \
                        -outform der | openssl dgst -sha256` prints";
            self.error(at, message, hint);
        }
        sum.map(|sum| Arc::from(HEXLOWER.encode(&sum).as_str()))
    }

    /// Unix seconds of an RFC 3339 time, a part of one counted as a whole: nothing is revoked for less than was written.
    fn time(&mut self, at: &Spanned<String>, subject: &str) -> Option<i64> {
        let read = OffsetDateTime::parse(&at.value, &Rfc3339).ok();
        if read.is_none() {
            self.error(at, format!("`{subject}` is no RFC 3339 time"), TIME_FORM);
        }
        read.map(|time| {
            let part = i64::from(time.nanosecond() > 0);
            time.unix_timestamp().saturating_add(part)
        })
    }
}

/// A serial number as records of certificates write it: lower-case hexadecimal without leading zeros.
pub(in crate::identify) fn serial_text(bytes: &[u8]) -> String {
    let text = HEXLOWER.encode(bytes);
    let number = text.trim_start_matches('0');
    if number.is_empty() { "0" } else { number }.to_owned()
}
