//! Finding the vault's credentials in what comes back from a backend.
//!
//! What it does: looks for all credentials at once, in any case, as they are, in UTF-16 of either order, as hexadecimal
//! digits, as base64 digits at any alignment, once or twice, and behind percent-encoding, JSON escapes and character
//! references of HTML and XML. What it refuses to know: what an answer means, and what is done about a find, and every other
//! way to write a text. Invariants: one pass over a text for all credentials, and one more for each layer of escapes, of
//! which there are at most `LAYERS`; a credential has at most 27 spellings, made once; blanking keeps a text's length and stays within JSON strings; a credential no longer
//! than a word (`SHORTEST_BYTES`) is not looked for, because it would be found in ordinary text. The automaton holds the
//! ends of the credentials as long as its vault lives, and does not wipe them.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, Input};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use super::grams::Grams;
use crate::secret::Secret;

/// Shorter ones could be words (`developer` is the token of a developer satellite).
pub(crate) const SHORTEST_BYTES: usize = 12;
/// The end of each spelling that the automaton knows; what stands before it is compared on a hit. It bounds memory, and
/// ends differ more than beginnings do: API keys that are JWTs begin alike.
const NEEDLE_BYTES: usize = 16;
/// Escapes within escapes that are undone: a JSON text inside of a JSON string, with percent-encoding inside of it.
const LAYERS: usize = 3;
/// What a blanked credential becomes, byte for byte.
const BLANK: u8 = b'*';

/// Whose a credential is. Never the credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// None for keys of the whole organization.
    pub project: Option<Arc<str>>,
    /// Whether it is an access token, which some callers may read; otherwise an API key.
    pub(crate) is_access_token: bool,
    /// First digits of its digest.
    pub fingerprint: String,
}

/// One way to write a credential.
struct Spelling {
    text: Zeroizing<Vec<u8>>,
    /// A place in `Search::owners`.
    owner: usize,
}

/// All credentials of a vault, ready to be looked for.
pub(crate) struct Search {
    /// The ends of all spellings, each once, without regard to case. `None`: more than an automaton can hold (2^31 bytes);
    /// they are looked for one by one.
    needles: Option<AhoCorasick>,
    /// Where in a text the automaton has to look; `None`: everywhere.
    grams: Option<Grams>,
    /// By needle: the spellings that end with it.
    spellings: Vec<Vec<Spelling>>,
    owners: Vec<Owner>,
}

/// What was found in a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Finds<'a> {
    /// In order, none touching another.
    places: Vec<Range<usize>>,
    owners: Vec<&'a Owner>,
}

impl Finds<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whose credentials, each once.
    pub(crate) fn owners(&self) -> &[&Owner] {
        &self.owners
    }

    /// The text with every find blanked.
    pub(crate) fn blank(&self, text: &[u8]) -> Vec<u8> {
        let mut blanked = text.to_vec();
        for place in &self.places {
            if let Some(found) = blanked.get_mut(place.clone()) {
                found.fill(BLANK);
            }
        }
        blanked
    }
}

impl Search {
    pub(crate) fn new<'a>(held: impl IntoIterator<Item = (Owner, &'a Secret)>) -> Self {
        let mut owners = Vec::new();
        let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut spellings: Vec<Vec<Spelling>> = Vec::new();
        for (owner, secret) in held {
            let place = owners.len();
            owners.push(owner);
            for text in written(secret.expose()) {
                let needle = text
                    .get(text.len().saturating_sub(NEEDLE_BYTES)..)
                    .unwrap_or_default();
                let at = *places
                    .entry(needle.to_ascii_lowercase())
                    .or_insert(spellings.len());
                if at == spellings.len() {
                    spellings.push(Vec::new());
                }
                spellings.get_mut(at).into_iter().for_each(|known| {
                    known.push(Spelling {
                        text: text.clone(),
                        owner: place,
                    })
                });
            }
        }
        let mut needles: Vec<(Vec<u8>, usize)> = places.into_iter().collect();
        needles.sort_by_key(|(_, at)| *at);
        let needles = needles.iter().map(|(needle, _)| needle.as_slice());
        let grams = Grams::new(needles.clone());
        let needles = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(needles)
            .ok();
        Search {
            needles,
            grams,
            spellings,
            owners,
        }
    }

    /// Every credential in a text, but for the access tokens of the project whose tokens the reader may see.
    pub(crate) fn find(&self, text: &[u8], shown: Option<&str>) -> Finds<'_> {
        // No spelling of a credential is shorter than the shortest credential.
        if text.len() < SHORTEST_BYTES {
            return Finds::default();
        }
        let mut owners = BTreeSet::new();
        let mut places = self.find_plain(text, shown, &mut owners);
        let mut inner = unescaped(text);
        if places.is_empty() && inner.is_none() {
            return Finds::default();
        }
        let mut layers: Vec<Cow<'_, [u8]>> = vec![Cow::Borrowed(text)];
        while let Some(layer) = inner {
            let mut found = self.find_plain(&layer, shown, &mut owners);
            for outer in layers.iter().rev() {
                found = sources(outer, merged(found));
            }
            places.append(&mut found);
            layers.push(Cow::Owned(layer));
            inner = layers
                .last()
                .filter(|_| layers.len() <= LAYERS)
                .and_then(|layer| unescaped(layer));
        }
        Finds {
            places: merged(places),
            owners: owners
                .iter()
                .filter_map(|owner| self.owners.get(*owner))
                .collect(),
        }
    }

    fn find_plain(
        &self,
        text: &[u8],
        shown: Option<&str>,
        owners: &mut BTreeSet<usize>,
    ) -> Vec<Range<usize>> {
        let mut places: Vec<Range<usize>> = Vec::new();
        self.each_hit(text, |spelling, end| {
            let Some(start) = end.checked_sub(spelling.text.len()) else {
                return;
            };
            let found = text.get(start..end).unwrap_or_default();
            let may_be_shown = shown.is_some()
                && self.owners.get(spelling.owner).is_some_and(|owner| {
                    owner.is_access_token && owner.project.as_deref() == shown
                });
            if may_be_shown || !found.eq_ignore_ascii_case(&spelling.text) {
                return;
            }
            owners.insert(spelling.owner);
            match places.last_mut() {
                // Credentials in a row are one place, so that a text full of them costs no more memory than itself.
                Some(last) if last.end >= start && last.start <= start => last.end = end,
                _ => places.push(start..end),
            }
        });
        places
    }

    /// Hands each spelling whose end was found to `visit`, with the place after it.
    fn each_hit(&self, text: &[u8], mut visit: impl FnMut(&Spelling, usize)) {
        if let Some(needles) = &self.needles {
            let mut look = |stretch: Range<usize>| {
                // Overlapping: a needle that begins within another is found, too.
                // The default kind of match never refuses that.
                let Ok(hits) = needles.try_find_overlapping_iter(Input::new(text).range(stretch))
                else {
                    return;
                };
                for hit in hits {
                    let spellings = self.spellings.get(hit.pattern().as_usize());
                    spellings
                        .into_iter()
                        .flatten()
                        .for_each(|spelling| visit(spelling, hit.end()));
                }
            };
            match &self.grams {
                Some(grams) => grams.stretches(text).for_each(look),
                None => look(0..text.len()),
            }
            return;
        }
        for spelling in self.spellings.iter().flatten() {
            for start in 0..=text.len().saturating_sub(spelling.text.len()) {
                visit(spelling, start + spelling.text.len());
            }
        }
    }
}

/// How a credential may be written; none of one that is too short.
fn written(secret: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    if secret.len() < SHORTEST_BYTES {
        return Vec::new();
    }
    let mut wide = Zeroizing::new(Vec::with_capacity(2 * secret.len()));
    secret.iter().for_each(|byte| wide.extend([*byte, 0]));
    // Both orders have these bytes, and the last NUL before or after them.
    wide.pop();
    let mut all = vec![
        Zeroizing::new(secret.to_vec()),
        Zeroizing::new(HEXLOWER.encode(secret).into_bytes()),
        wide,
    ];
    let once = digits(secret);
    let twice = once.iter().flat_map(|once| digits(once));
    for text in twice.collect::<Vec<_>>().into_iter().chain(once) {
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all
}

/// A text in base64, as far as it does not depend on its neighbours there.
fn digits(text: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut all = Vec::new();
    // Base64 writes three bytes as four digits: what precedes the credential in the encoded text shifts it (RFC 4648
    // section 4). Digits that depend on its neighbours are left out at both ends.
    for (before, skipped) in [(0, 0), (1, 2), (2, 3)] {
        let shifted = Zeroizing::new([&vec![0; before], text].concat());
        let digits = shifted.len() * 8 / 6;
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let encoded = Zeroizing::new(engine.encode(&*shifted));
            let text = Zeroizing::new(
                encoded
                    .as_bytes()
                    .get(skipped..digits)
                    .unwrap_or_default()
                    .to_vec(),
            );
            if !all.contains(&text) {
                all.push(text);
            }
        }
    }
    all
}

/// One escape or plain byte at `at`: what it stands for, and its length. A character outside of ASCII becomes a byte
/// that no credential holds, so that each unit stands for one byte.
fn unit(text: &[u8], at: usize) -> (u8, usize) {
    let byte = |place: usize| text.get(place).copied().unwrap_or_default();
    let digits = |from: usize, count: usize| {
        let digits = std::str::from_utf8(text.get(from..from + count)?).ok()?;
        let all = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        u32::from_str_radix(digits, 16).ok().filter(|_| all)
    };
    match (byte(at), byte(at + 1)) {
        // RFC 3986 section 2.1.
        (b'%', _) => match digits(at + 1, 2) {
            Some(value) => (u8::try_from(value).unwrap_or_default(), 3),
            None => (b'%', 1),
        },
        // RFC 8259 section 7.
        (b'\\', b'u') => match digits(at + 2, 4) {
            Some(value) => (
                u8::try_from(value)
                    .ok()
                    .filter(u8::is_ascii)
                    .unwrap_or_default(),
                6,
            ),
            None => (b'\\', 1),
        },
        (b'\\', escaped @ (b'/' | b'"' | b'\\')) => (escaped, 2),
        (b'\\', b'b' | b'f' | b'n' | b'r' | b't') => (0, 2),
        (b'&', _) => reference(text.get(at..).unwrap_or_default()).unwrap_or((b'&', 1)),
        (plain, _) => (plain, 1),
    }
}

/// The character reference with which a text begins: what it stands for, and its length. Of the names those that XML has; HTML
/// has some 2,000 more, and none of those that escaping libraries write.
fn reference(text: &[u8]) -> Option<(u8, usize)> {
    const NAMES: [(&[u8], u8); 5] = [
        (b"&amp;", b'&'),
        (b"&lt;", b'<'),
        (b"&gt;", b'>'),
        (b"&quot;", b'"'),
        (b"&apos;", b'\''),
    ];
    // With leading zeros.
    const MOST_DIGITS: usize = 8;
    let Some(number) = text.strip_prefix(b"&#") else {
        let named = NAMES.iter().find(|(name, _)| text.starts_with(name));
        return named.map(|(name, byte)| (*byte, name.len()));
    };
    let (radix, number) = match number {
        [b'x' | b'X', rest @ ..] => (16, rest),
        _ => (10, number),
    };
    let end = number
        .iter()
        .take(MOST_DIGITS + 1)
        .position(|byte| *byte == b';')?;
    let digits = std::str::from_utf8(number.get(..end)?).ok()?;
    let is_number = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let value = u32::from_str_radix(digits, radix)
        .ok()
        .filter(|_| is_number)?;
    let byte = u8::try_from(value).ok().filter(u8::is_ascii);
    Some((
        byte.unwrap_or_default(),
        text.len() - number.len() + end + 1,
    ))
}

/// The first escape that could hide a credential: before it nothing is undone.
fn first_escape(text: &[u8]) -> Option<usize> {
    // The others are common in answers (quoted queries, line ends) and stand for what few credentials hold.
    let hides = |at: usize| match (text.get(at), text.get(at + 1)) {
        (Some(b'%' | b'&'), _) => unit(text, at).1 > 1,
        (_, Some(b'/' | b'u' | b'\\' | b'"')) => true,
        _ => false,
    };
    memchr::memchr3_iter(b'%', b'\\', b'&', text).find(|at| hides(*at))
}

/// The text with one layer of escapes undone; `None` if it has none that could hide a credential.
fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut next = first_escape(text)?;
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    loop {
        out.extend_from_slice(text.get(at..next).unwrap_or_default());
        if next >= text.len() {
            return Some(out);
        }
        let (byte, length) = unit(text, next);
        out.push(byte);
        at = next + length;
        let rest = text.get(at..).unwrap_or_default();
        next = memchr::memchr3(b'%', b'\\', b'&', rest).map_or(text.len(), |step| at + step);
    }
}

/// Where in a text the ranges of its unescaped form stand. Ranges are in order.
fn sources(text: &[u8], ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    // Before the first escape that hides something nothing was changed, line ends neither, and after it each unit is one byte.
    let first = first_escape(text).unwrap_or(text.len());
    let (mut at, mut out) = (first, first);
    let mut to = |target: usize| {
        if target < first {
            return target;
        }
        while out < target && at < text.len() {
            at += unit(text, at).1;
            out += 1;
        }
        at
    };
    ranges
        .into_iter()
        .map(|range| to(range.start)..to(range.end))
        .collect()
}

/// In order, with those that touch or overlap as one.
fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests;
