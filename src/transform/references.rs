//! What an answer's head refers to: `Location` and `Link`.
//!
//! What it does: takes such a reference apart, judges it as a link of a body is judged, and writes it anew. What it
//! refuses to know: who asks, and what stands there. Invariants: what is written was rebuilt from decoded parts, leads to
//! the gateway's query API, to the same organization and inside the same boundary; all else is left out, repaired never.

use super::boundary::is_project_name;
use super::{Boundary, Links};
use crate::accept::path;
use crate::percent;

/// Links of one answer that are looked at; the others are left out.
const LINKS_LIMIT_ENTRIES: usize = 32;

/// What a `Location` becomes (RFC 9110 section 10.2.2); `None`: nothing that may be followed.
pub(crate) fn location(value: &str, links: &Links, boundary: &Boundary<'_>) -> Option<String> {
    target(value.trim(), links, boundary)
}

/// What a `Link` becomes (RFC 8288 section 3), and how many links of it were left out. Of a link's parameters, `rel` and
/// `type` stay. One with an `anchor` speaks of another document, and goes.
pub(crate) fn link(value: &str, links: &Links, boundary: &Boundary<'_>) -> (Option<String>, u64) {
    let (mut kept, mut dropped) = (Vec::new(), 0);
    let mut rest = value;
    for _ in 0..LINKS_LIMIT_ENTRIES {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            break;
        }
        let Some((one, after)) = Written::read(rest) else {
            break;
        };
        rest = after;
        match one.judged(links, boundary) {
            Some(text) => kept.push(text),
            None => dropped += 1,
        }
    }
    dropped += u64::from(!rest.trim_matches([' ', '\t', ',']).is_empty());
    (
        Some(kept.join(", ")).filter(|text| !text.is_empty()),
        dropped,
    )
}

/// A reference to the query API, written anew.
fn target(text: &str, links: &Links, boundary: &Boundary<'_>) -> Option<String> {
    // A path alone; `//host/path` names another host (RFC 3986 section 4.2).
    let relative = Some(text).filter(|text| text.starts_with('/') && !text.starts_with("//"));
    let rest = match relative {
        Some(path) => path,
        None => links.after_origin(text)?,
    };
    // A fragment is the client's own business.
    let rest = rest.split('#').next().unwrap_or_default();
    let (path, query) = rest
        .split_once('?')
        .map_or((rest, None), |(path, query)| (path, Some(query)));
    let segments = path::segments(path).ok()?;
    if !boundary.is_way_inside(&segments) {
        return None;
    }
    let mut written = relative.map_or_else(|| links.ours().to_owned(), |_| String::new());
    written.push_str(&path::join(segments.iter().map(String::as_str)));
    let pairs = query
        .filter(|query| !query.is_empty())
        .map_or(Ok(Vec::new()), path::pairs)
        .ok()?;
    for (index, (name, value)) in pairs.iter().enumerate() {
        if boundary.mentions_foreign(value) || (is_project_name(name) && !boundary.has(value)) {
            return None;
        }
        written.push(if index == 0 { '?' } else { '&' });
        written.extend(percent::encode(name));
        written.push('=');
        written.extend(percent::encode(value));
    }
    Some(written)
}

/// One link of a `Link` header.
struct Written<'a> {
    target: &'a str,
    relation: Option<String>,
    media_type: Option<String>,
    has_anchor: bool,
}

impl<'a> Written<'a> {
    /// The link at the start of `text`, and what follows it; `None` if it cannot be read in one way.
    fn read(text: &'a str) -> Option<(Written<'a>, &'a str)> {
        let (target, mut rest) = text.strip_prefix('<')?.split_once('>')?;
        let mut link = Written {
            target,
            relation: None,
            media_type: None,
            has_anchor: false,
        };
        loop {
            rest = rest.trim_start_matches([' ', '\t']);
            let Some(after) = rest.strip_prefix(';') else {
                return (rest.is_empty() || rest.starts_with(',')).then_some((link, rest));
            };
            let after = after.trim_start_matches([' ', '\t']);
            let end = after
                .find(['=', ';', ',', ' ', '\t'])
                .unwrap_or(after.len());
            let (name, after) = after.split_at_checked(end)?;
            let after = after.trim_start_matches([' ', '\t']);
            let (value, after) = match after.strip_prefix('=') {
                None => (String::new(), after),
                Some(after) => value(after.trim_start_matches([' ', '\t']))?,
            };
            rest = after;
            match name.to_ascii_lowercase().as_str() {
                // Occurrences after the first are ignored by readers (RFC 8288 section 3.3).
                "rel" => drop(link.relation.get_or_insert(value)),
                "type" => drop(link.media_type.get_or_insert(value)),
                "anchor" | "anchor*" => link.has_anchor = true,
                _ => {}
            }
        }
    }

    fn judged(&self, links: &Links, boundary: &Boundary<'_>) -> Option<String> {
        let plain = |text: &String, more: &[u8]| {
            text.bytes().all(|byte| {
                byte.is_ascii_alphanumeric() || b".-".contains(&byte) || more.contains(&byte)
            })
        };
        let target = target(self.target.trim(), links, boundary).filter(|_| !self.has_anchor)?;
        // A relation that is a URI names what stands elsewhere (RFC 8288 section 2.1.2).
        let relation = self
            .relation
            .as_ref()
            .filter(|relation| plain(relation, b" "))?;
        let media_type = self.media_type.as_ref().filter(|kind| plain(kind, b"/+"));
        let media_type = media_type.map_or_else(String::new, |kind| format!("; type=\"{kind}\""));
        Some(format!("<{target}>; rel=\"{relation}\"{media_type}"))
    }
}

/// A parameter's value at the start of `text`, a token or a quoted string (RFC 9110 section 5.6), and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (token, rest) =
            text.split_at_checked(text.find([';', ',', ' ', '\t']).unwrap_or(text.len()))?;
        return Some((token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            plain => value.push(plain),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::Inside;
    use super::*;

    const PATH: &str = "/public/v0.2/acme/projects/shop/streams/1";

    fn links() -> Links {
        Links::new(["api.lightstep.com".to_owned()], "https://gw".to_owned())
    }

    fn boundary() -> Boundary<'static> {
        Boundary {
            prefix: "/public/v0.2",
            organization: "acme",
            inside: Inside::Project("shop"),
        }
    }

    /// Guarantees: reference by reference, where it leads afterwards, or that it is left out.
    #[test]
    fn a_location_leads_to_the_gateway_or_nowhere() {
        let ours = format!("https://gw{PATH}");
        for (value, expected) in [
            (
                format!("https://api.lightstep.com{PATH}"),
                Some(ours.as_str()),
            ),
            (format!("HTTPS://API.lightstep.com:443{PATH}"), Some(&ours)),
            (format!("https://api.lightstep.com{PATH}#part"), Some(&ours)),
            (PATH.to_owned(), Some(PATH)),
            (
                "/public/v0.2/acme/projects/%73hop".to_owned(),
                Some("/public/v0.2/acme/projects/shop"),
            ),
            (
                "/public/v0.2/acme/projects/shop?a=b%20c&limit=1".to_owned(),
                Some("/public/v0.2/acme/projects/shop?a=b%20c&limit=1"),
            ),
            (
                "/public/v0.2/acme/projects".to_owned(),
                Some("/public/v0.2/acme/projects"),
            ),
            // Other hosts, also by tricks.
            (format!("https://evil.example{PATH}"), None),
            (format!("//api.lightstep.com{PATH}"), None),
            (
                format!("https://api.lightstep.com@evil.example{PATH}"),
                None,
            ),
            (format!("https://api.lightstep.com.evil{PATH}"), None),
            (format!("https://user@api.lightstep.com{PATH}"), None),
            (format!("see https://api.lightstep.com{PATH}"), None),
            (format!("ftp://api.lightstep.com{PATH}"), None),
            ("https://api.lightstep.com".to_owned(), None),
            // Other projects, organizations and APIs.
            ("/public/v0.2/acme/projects/pay/streams/1".to_owned(), None),
            (
                "https://api.lightstep.com/public/v0.2/acme/projects/p%61y".to_owned(),
                None,
            ),
            ("/public/v0.2/acme/projects/shop/../pay".to_owned(), None),
            ("/public/v0.2/acme/projects//pay".to_owned(), None),
            ("/public/v0.2/rival/projects/shop".to_owned(), None),
            ("/public/v0.1/acme/projects/shop".to_owned(), None),
            ("/elsewhere".to_owned(), None),
            ("../pay".to_owned(), None),
            (
                "/public/v0.2/acme/projects/shop?project=pay".to_owned(),
                None,
            ),
            (
                "/public/v0.2/acme/projects/shop?next=%2Fpublic%2Fv0.2%2Facme%2Fprojects%2Fpay"
                    .to_owned(),
                None,
            ),
            (String::new(), None),
        ] {
            assert_eq!(
                location(&value, &links(), &boundary()).as_deref(),
                expected,
                "{value}"
            );
        }
    }

    /// Guarantees: of several links those stay that lead inside, with what is known of them.
    #[test]
    fn links_are_judged_one_by_one() {
        let ours = format!("<https://gw{PATH}>; rel=\"next\"");
        let theirs = format!("<https://api.lightstep.com{PATH}>");
        for (value, expected, dropped) in [
            (format!("{theirs}; rel=next"), Some(ours.as_str()), 0),
            (
                format!("{theirs};rel=\"next\";title=\"of pay, not shop\""),
                Some(&ours),
                0,
            ),
            (
                format!("</public/v0.2/acme/projects/pay>; rel=prev, {theirs}; rel=next"),
                Some(&ours),
                1,
            ),
            (
                format!("{theirs}; rel=next, <https://evil.example/x>; rel=\"up\""),
                Some(&ours),
                1,
            ),
            (
                format!("{theirs}; rel=\"https://evil.example/relation\""),
                None,
                1,
            ),
            (
                format!("{theirs}; rel=next; anchor=\"/public/v0.2/acme/projects/pay\""),
                None,
                1,
            ),
            (format!("{theirs}; title=x"), None, 1),
            (format!("{theirs}; rel=\"next"), None, 1),
            ("nonsense".to_owned(), None, 1),
            (String::new(), None, 0),
        ] {
            assert_eq!(
                link(&value, &links(), &boundary()),
                (expected.map(str::to_owned), dropped),
                "{value}"
            );
        }
        let typed = link(
            &format!("<{PATH}>; rel=self; type=\"application/vnd.api+json\""),
            &links(),
            &boundary(),
        );
        assert_eq!(
            typed.0,
            Some(format!(
                "<{PATH}>; rel=\"self\"; type=\"application/vnd.api+json\""
            ))
        );
        let many = link(
            &vec![format!("<{PATH}>; rel=self"); 40].join(", "),
            &links(),
            &boundary(),
        );
        assert_eq!(many.0.map(|text| text.matches('<').count()), Some(32));
    }
}
