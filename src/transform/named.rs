//! Which projects a question's body names.
//!
//! What it does: walks a JSON body and gathers what names a project: members that the profile says hold one, what stands
//! in `relationships`, and paths of the query API in any text. What it refuses to know: who asks, and what they may.
//! Invariants: members that stand twice are all seen, and names are compared without regard to case, dashes and
//! underscores, because backends read them so; a path that cannot be read in one way is told as such, never passed over.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::boundary::{ends_link, folded, is_project_name};
use crate::accept::path;

/// Different references of one body; more are refused.
const REFERENCES_LIMIT_ENTRIES: usize = 256;

/// One project that a body names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reference {
    /// By its name, where the body says whose something is.
    Project(String),
    /// By a path of the query API: the decoded segments after the organization, `projects` first.
    Path {
        segments: Vec<String>,
        is_relation: bool,
    },
    /// A path of the query API that leads to another organization, or that two readers may read differently.
    Unclear,
}

/// Why a body cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedFault {
    /// It is not one JSON document.
    Malformed,
    /// It names too many.
    TooMany,
}

/// Where names are looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Naming<'a> {
    /// `/public/v0.2`
    pub prefix: &'a str,
    pub organization: &'a str,
    /// Members of this operation's body whose text, or whose own members' names, are projects.
    pub members: &'a [String],
}

/// Gathers what a body names; an empty one names nothing.
pub(crate) fn named(body: &[u8], naming: Naming<'_>) -> Result<BTreeSet<Reference>, NamedFault> {
    let mut found = BTreeSet::new();
    if body.is_empty() {
        return Ok(found);
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let walk = NameSearch {
        naming,
        found: &mut found,
        place: Position::Plain,
    };
    // What follows a document could be read by a backend that stops earlier or later.
    let read = walk.deserialize(&mut reader).and_then(|_| reader.end());
    match read {
        _ if found.len() > REFERENCES_LIMIT_ENTRIES => Err(NamedFault::TooMany),
        Ok(()) => Ok(found),
        Err(_) => Err(NamedFault::Malformed),
    }
}

/// What a value may name by standing where it stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    Plain,
    /// Beneath `relationships`.
    Relation,
    /// The value of a member that names projects.
    Names,
}

struct NameSearch<'w, 'a> {
    naming: Naming<'a>,
    found: &'w mut BTreeSet<Reference>,
    place: Position,
}

impl NameSearch<'_, '_> {
    fn within(&mut self, place: Position) -> NameSearch<'_, '_> {
        NameSearch {
            naming: self.naming,
            found: self.found,
            place,
        }
    }

    fn note<E: serde::de::Error>(&mut self, reference: Reference) -> Result<(), E> {
        self.found.insert(reference);
        if self.found.len() > REFERENCES_LIMIT_ENTRIES {
            Err(E::custom("too many references"))
        } else {
            Ok(())
        }
    }

    fn text<E: serde::de::Error>(&mut self, text: &str, place: Position) -> Result<(), E> {
        if place == Position::Names && !text.is_empty() {
            self.note(Reference::Project(text.to_owned()))?;
        }
        let is_relation = place != Position::Plain;
        for reading in readings(text) {
            for reference in paths(&reading, self.naming, is_relation) {
                self.note(reference)?;
            }
        }
        Ok(())
    }

    /// What the value of a member stands for. Beneath a member that names projects an object's own members are named by
    /// projects, but for those by which an object says what it is.
    fn place_of<E: serde::de::Error>(&mut self, name: &str) -> Result<Position, E> {
        let folded = folded(name);
        if self.place == Position::Names {
            return match folded.as_str() {
                "id" | "name" | "data" => Ok(Position::Names),
                "type" | "links" | "related" | "self" | "attributes" => Ok(Position::Relation),
                _ => self
                    .note(Reference::Project(name.to_owned()))
                    .map(|()| Position::Relation),
            };
        }
        let is_listed = self
            .naming
            .members
            .iter()
            .any(|member| self::folded(member) == folded);
        Ok(match self.place {
            _ if is_listed => Position::Names,
            Position::Relation if is_project_name(name) => Position::Names,
            Position::Plain if folded != "relationships" => Position::Plain,
            _ => Position::Relation,
        })
    }
}

impl<'de> DeserializeSeed<'de> for NameSearch<'_, '_> {
    /// The text, where it is one: an object's `type` and `id` are judged together.
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NameSearch<'_, '_> {
    type Value = Option<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: serde::de::Error>(mut self, text: &str) -> Result<Self::Value, E> {
        let place = self.place;
        self.text(text, place)?;
        // Longer ones are neither a kind nor a project's name.
        Ok((text.len() <= 512).then(|| text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut entries: A) -> Result<Self::Value, A::Error> {
        let place = self.place;
        while entries.next_element_seed(self.within(place))?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Self::Value, A::Error> {
        let (mut is_project, mut ids) = (false, Vec::new());
        while let Some(name) = members.next_key::<Cow<'_, str>>()? {
            let place = self.place_of(&name)?;
            let beside = if self.place == Position::Plain {
                Position::Plain
            } else {
                Position::Relation
            };
            self.text(&name, beside)?;
            let value = members.next_value_seed(self.within(place))?;
            match (folded(&name).as_str(), value) {
                ("type", Some(kind)) => {
                    is_project |= matches!(folded(&kind).as_str(), "project" | "projects")
                }
                ("id", Some(id)) if ids.len() < REFERENCES_LIMIT_ENTRIES => ids.push(id),
                _ => {}
            }
        }
        if is_project && self.place != Position::Plain {
            for id in ids {
                self.note(Reference::Project(id))?;
            }
        }
        Ok(None)
    }
}

/// The ways in which a text may be read: as it is, with percent-encoding and the escapes of JSON within it undone (once
/// and twice), and each of these with dot segments resolved. All of them count: one reading says nothing about another.
fn readings(text: &str) -> Vec<Cow<'_, str>> {
    let mut readings = vec![Cow::Borrowed(text)];
    if text.contains(['%', '\\']) {
        let once = unescaped(text);
        let twice = unescaped(&once);
        readings.extend([once, twice].map(Cow::Owned));
    }
    let is_crooked = |reading: &Cow<'_, str>| {
        reading.contains("/.") || reading.contains("//") || reading.contains('\\')
    };
    let resolved: Vec<String> = readings
        .iter()
        .filter(|reading| is_crooked(reading))
        .map(|reading| resolved(reading))
        .collect();
    readings.extend(resolved.into_iter().map(Cow::Owned));
    readings.dedup();
    readings
}

/// The text with those escapes undone that a path could hide behind. What ends a link stays as it is written, so that
/// `shop%20prod` is one segment in every reading.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['%', '\\']) {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let digits = |from: usize, count: usize| {
            let digits = escape.get(from..from + count)?;
            let value = u8::from_str_radix(digits, 16)
                .ok()
                .filter(|_| !digits.starts_with('+'))?;
            let of_a_path = value.is_ascii_alphanumeric() || b"/._-~%?#\\".contains(&value);
            of_a_path.then_some((char::from(value), from + count))
        };
        let undone = match escape.as_bytes() {
            [b'%', ..] => digits(1, 2),
            [_, b'u', ..] => digits(2, 4),
            [_, b'/', ..] => Some(('/', 2)),
            _ => None,
        };
        let (character, length) =
            undone.unwrap_or((if escape.starts_with('%') { '%' } else { '\\' }, 1));
        out.push(character);
        rest = escape.get(length..).unwrap_or_default();
    }
    out + rest
}

/// Each link of a text without dot and empty segments (RFC 3986 section 5.2.4), backslashes read as slashes (as browsers
/// do).
fn resolved(text: &str) -> String {
    let plain = text.replace('\\', "/");
    let links = plain.split_inclusive(ends_link).map(|link| {
        let mut kept: Vec<&str> = Vec::new();
        for segment in link.split('/') {
            match segment {
                "" | "." => {}
                ".." => drop(kept.pop()),
                segment => kept.push(segment),
            }
        }
        format!("/{}", kept.join("/"))
    });
    links.collect()
}

/// The paths of the query API in one reading of a text. What is unclear refuses the whole body, so that nothing is looked
/// for behind it: a link has few segments, and is not read again from each of them.
fn paths(text: &str, naming: Naming<'_>, is_relation: bool) -> Vec<Reference> {
    let mut found = Vec::new();
    let lower = text.to_ascii_lowercase();
    for (at, prefix) in lower.match_indices(&naming.prefix.to_ascii_lowercase()) {
        let rest = text.get(at + prefix.len()..).unwrap_or_default();
        if !rest.starts_with('/') {
            continue;
        }
        // The end of a sentence belongs to no path.
        let rest = path_at_start(rest).trim_end_matches(['.', ':', ';', '!', '*', '/']);
        if rest.is_empty() {
            continue;
        }
        match path::segments(rest).as_deref() {
            Ok([organization, rest @ ..]) if organization == naming.organization => {
                found.extend(to_project(rest, is_relation));
            }
            Ok([]) => {}
            Ok(_) | Err(_) => return vec![Reference::Unclear],
        }
    }
    if !is_relation || !found.is_empty() {
        return found;
    }
    // A relation may name what it relates to by a shorter path.
    for (at, word) in lower.match_indices("projects/") {
        let begins = text
            .get(..at)
            .is_some_and(|before| before.is_empty() || before.ends_with('/'));
        let rest = if begins {
            text.get(at + word.len()..).map_or("", path_at_start)
        } else {
            ""
        };
        if rest.is_empty() {
            continue;
        }
        match path::segments(&format!("/projects/{rest}")) {
            Ok(segments) => found.extend(to_project(&segments, true)),
            Err(_) => return vec![Reference::Unclear],
        }
    }
    found
}

/// A path up to its query, its fragment or the end of the link.
fn path_at_start(text: &str) -> &str {
    text.split(|each| ends_link(each) || each == '?' || each == '#')
        .next()
        .unwrap_or_default()
}

fn to_project(segments: &[String], is_relation: bool) -> Option<Reference> {
    let is_project = segments
        .first()
        .is_some_and(|first| first.eq_ignore_ascii_case("projects"));
    (is_project && segments.len() > 1).then(|| Reference::Path {
        segments: segments.to_vec(),
        is_relation,
    })
}

#[cfg(test)]
mod tests;
