//! What an answer on one project may not say of another.
//!
//! What it does: blanks links into other projects of the query API, and the names in `relationships` that are other
//! projects'. What it refuses to know: who asks, and which operation answered. Invariants: a link is judged by its path,
//! whichever host it names, or none; bytes outside of what is blanked are kept.

use std::borrow::Cow;
use std::sync::Arc;

use memchr::memmem;
use serde_json::Value;

use super::REDACTED;
use super::links::in_strings;
use crate::percent;

/// Whose names an answer may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Boundary<'a> {
    /// `/public/v0.2`
    pub prefix: &'a str,
    pub organization: &'a str,
    pub inside: Inside<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Inside<'a> {
    /// The project that was asked.
    Project(&'a str),
    /// Those that the caller may see.
    Projects(&'a [Arc<str>]),
    /// All of the organization.
    Organization,
}

impl Boundary<'_> {
    pub(crate) fn has(&self, project: &str) -> bool {
        match self.inside {
            Inside::Project(asked) => project == asked,
            Inside::Projects(visible) => visible.iter().any(|name| **name == *project),
            Inside::Organization => true,
        }
    }

    /// Blanks foreign links in every string of a valid JSON document; also says how many.
    pub(crate) fn in_json<'t>(&self, json: &'t str) -> (Cow<'t, str>, u64) {
        let mut count = 0;
        let text = in_strings(json, |text| self.in_text(text, &mut count));
        (text, count)
    }

    /// Whether a text holds a link that would be blanked.
    pub(crate) fn mentions_foreign(&self, text: &str) -> bool {
        let mut count = 0;
        self.in_text(text, &mut count);
        count > 0
    }

    /// Whether a path of these decoded segments leads into the query API of this organization, and inside.
    pub(crate) fn is_way_inside(&self, segments: &[String]) -> bool {
        let mut segments = segments.iter().map(String::as_str);
        let prefix = self.prefix.split('/').filter(|segment| !segment.is_empty());
        prefix
            .into_iter()
            .all(|segment| segments.next() == Some(segment))
            && segments.next() == Some(self.organization)
            && match (segments.next(), segments.next()) {
                (Some("projects"), Some(project)) => self.has(project),
                _ => true,
            }
    }

    fn in_text<'t>(&self, text: &'t str, count: &mut u64) -> Cow<'t, str> {
        let mut out = String::new();
        let mut copied = 0;
        // Of the link, and of its path: the same for all that begins before them, so that no link is searched twice.
        let (mut end, mut path_end) = (0, 0);
        let next = |from: usize, is_end: fn(char) -> bool| {
            from + text
                .get(from..)
                .map_or(0, |rest| rest.find(is_end).unwrap_or(rest.len()))
        };
        for at in memmem::find_iter(text.as_bytes(), self.prefix) {
            let after = at + self.prefix.len();
            if end < after {
                end = next(after, ends_link);
            }
            if path_end < after {
                path_end = next(after, |each| ends_link(each) || each == '?' || each == '#');
            }
            if at < copied || !self.is_foreign(text.get(after..path_end).unwrap_or_default()) {
                continue;
            }
            let before = text.get(copied..at).unwrap_or_default();
            let start = copied
                + before
                    .rfind(ends_link)
                    .map_or(0, |delimiter| next_character(before, delimiter));
            out.push_str(text.get(copied..start).unwrap_or_default());
            out.push_str(REDACTED);
            copied = end;
            *count += 1;
        }
        if copied == 0 {
            return Cow::Borrowed(text);
        }
        out.push_str(text.get(copied..).unwrap_or_default());
        Cow::Owned(out)
    }

    /// Whether a path below the prefix leads to another project, or to another organization.
    fn is_foreign(&self, path: &str) -> bool {
        let mut segments = path.split('/');
        if segments.next() != Some("") {
            return false;
        }
        let organization = segments
            .next()
            .map(percent::decode_lossy)
            .unwrap_or_default();
        if organization.is_empty() {
            return false;
        }
        if organization != self.organization {
            return true;
        }
        let (kind, project) = (segments.next(), segments.next());
        match (kind, project) {
            (Some("projects"), Some(project)) if !project.is_empty() => {
                !self.has(&percent::decode_lossy(project))
            }
            _ => false,
        }
    }

    /// Blanks the ids of projects below `relationships` that are not inside; also says how many.
    pub(crate) fn in_relationships(&self, value: &mut Value) -> u64 {
        self.walk(value, false)
    }

    // Bounded by the parser's own depth.
    fn walk(&self, value: &mut Value, related: bool) -> u64 {
        match value {
            Value::Array(entries) => entries
                .iter_mut()
                .map(|entry| self.walk(entry, related))
                .sum(),
            Value::Object(members) => {
                let is_project =
                    related && members.get("type").is_some_and(|kind| kind == "project");
                let mut count = 0;
                for (name, member) in members.iter_mut() {
                    let names_project = (is_project && name == "id") || is_project_name(name);
                    match member {
                        Value::String(project)
                            if related && names_project && !self.has(project) =>
                        {
                            REDACTED.clone_into(project);
                            count += 1;
                        }
                        member => count += self.walk(member, related || name == "relationships"),
                    }
                }
                count
            }
            _ => 0,
        }
    }
}

/// Members that name a project by a plain string.
pub(crate) fn is_project_name(name: &str) -> bool {
    name.len() <= 16 && ["project", "projectname", "projectid"].contains(&folded(name).as_str())
}

/// A member's name as a lenient reader compares it: without regard to case, underscores and dashes.
pub(super) fn folded(name: &str) -> String {
    crate::otlp::folded(name).replace('-', "")
}

pub(super) fn ends_link(character: char) -> bool {
    matches!(
        character,
        '"' | '\'' | '`' | '\\' | '<' | '>' | '(' | ')' | '[' | ']' | '{' | '}' | ',' | '|'
    ) || character.is_whitespace()
}

fn next_character(text: &str, at: usize) -> usize {
    at + text
        .get(at..)
        .and_then(|rest| rest.chars().next())
        .map_or(1, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_into_other_projects_are_blanked() {
        let inside = Inside::Project("shop prod");
        let boundary = Boundary {
            prefix: "/public/v0.2",
            organization: "acme",
            inside,
        };
        for (json, expected) in [
            (
                r#"{"a":"https://api.x/public/v0.2/acme/projects/shop%20prod/streams/1"}"#,
                None,
            ),
            (r#"{"a":"https://api.x/public/v0.2/acme/projects"}"#, None),
            (
                r#"{"a":"https://api.x/public/v0.2/acme/projects/pay"}"#,
                Some(r#"{"a":"[redacted]"}"#),
            ),
            (
                r#"{"a":"/public/v0.2/acme/projects/pay/x?y=1"}"#,
                Some(r#"{"a":"[redacted]"}"#),
            ),
            (
                r#"{"a":"/public/v0.2/acme/projects/shop prod"}"#,
                Some(r#"{"a":"[redacted] prod"}"#),
            ),
            (
                r#"{"a":"/public/v0.2/acme/projects/p%61y"}"#,
                Some(r#"{"a":"[redacted]"}"#),
            ),
            (
                r#"{"a":"\/public\/v0.2\/acme\/projects\/pay"}"#,
                Some(r#"{"a":"[redacted]"}"#),
            ),
            (
                r#"{"a":"/public/v0.2/\u0061cme/projects/pay\n"}"#,
                Some(r#"{"a":"[redacted]\n"}"#),
            ),
            (
                r#"{"a":"/public/v0.2/rival/projects/shop%20prod"}"#,
                Some(r#"{"a":"[redacted]"}"#),
            ),
            (
                r#"{"a":"see https://x/public/v0.2/acme/projects/pay, or /b"}"#,
                Some(r#"{"a":"see [redacted], or /b"}"#),
            ),
            (
                r#"{"a":"é/public/v0.2/acme/projects/pay","b":1.50}"#,
                Some(r#"{"a":"[redacted]","b":1.50}"#),
            ),
            (
                r#"{"a":"/public/v0.2/acme/projects?x=/public/v0.2/acme/projects/pay&y"}"#,
                Some(r#"{"a":"[redacted]"}"#),
            ),
            (
                r#"{"a":"/public/v0.2/acme/projects/shop%20prod/public/v0.2/rival"}"#,
                Some(r#"{"a":"[redacted]"}"#),
            ),
            (r#"{"a":"/public/v0.20/rival"}"#, None),
            (r#"{"a":"/public/v0.2/"}"#, None),
        ] {
            let (text, count) = boundary.in_json(json);
            assert_eq!(text, expected.unwrap_or(json));
            assert_eq!(count, u64::from(expected.is_some()), "{json}");
        }
    }

    /// Scenario: one link of 65,536 prefixes, in which nothing is foreign. Guarantees: it is searched once.
    #[test]
    fn a_link_is_not_searched_again_from_each_of_its_parts() {
        let boundary = Boundary {
            prefix: "/public/v0.2",
            organization: "acme",
            inside: Inside::Project("shop"),
        };
        for each in ["/public/v0.2x", "/public/v0.2/acme/x", "/public/v0.2/acme?"] {
            assert_eq!(
                boundary
                    .in_json(&format!(r#"{{"a":"{}"}}"#, each.repeat(1 << 16)))
                    .1,
                0,
                "{each}"
            );
        }
    }

    #[test]
    fn names_of_other_projects_in_relationships_are_blanked() {
        let boundary = Boundary {
            prefix: "/p",
            organization: "acme",
            inside: Inside::Project("shop"),
        };
        for (json, expected) in [
            (
                r#"{"relationships":{"project":{"data":{"id":"pay","type":"project"}}}}"#,
                Some(1),
            ),
            (
                r#"{"relationships":{"project":{"data":[{"id":"shop","type":"project"}]}}}"#,
                None,
            ),
            (
                r#"{"data":[{"relationships":{"project":"pay","other":{"project-name":"pay"}}}]}"#,
                Some(2),
            ),
            (
                r#"{"relationships":{"stream":{"data":{"id":"pay","type":"stream"}}}}"#,
                None,
            ),
            (r#"{"attributes":{"project":"pay"}}"#, None),
        ] {
            let mut value: Value = serde_json::from_str(json).unwrap();
            assert_eq!(
                boundary.in_relationships(&mut value),
                expected.unwrap_or(0),
                "{json}"
            );
            assert_eq!(
                value.to_string().contains(REDACTED),
                expected.is_some(),
                "{json}"
            );
        }
    }
}
