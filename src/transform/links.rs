//! Absolute links to the backend become links to the gateway.
//!
//! What it does: replaces the backend's origins in text and in the strings of a JSON document.
//! What it refuses to know: which operation answered. Invariants: a client that follows a link from an
//! answer stays with the gateway; bytes outside of such links are kept.

use std::borrow::Cow;

use memchr::memmem;

/// Which origins are replaced, and by what.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    /// Lower-case `host[:port]`.
    authorities: Vec<String>,
    /// `https://gateway.example`, without a trailing slash.
    ours: String,
}

impl Links {
    pub(crate) fn new(authorities: impl IntoIterator<Item = String>, ours: String) -> Self {
        Links {
            authorities: authorities
                .into_iter()
                .map(|authority| authority.to_ascii_lowercase())
                .collect(),
            ours,
        }
    }

    /// Scheme and authority of the gateway.
    pub(crate) fn ours(&self) -> &str {
        &self.ours
    }

    /// What follows an origin of the backend's that stands at the very start.
    pub(crate) fn after_origin<'a>(&self, text: &'a str) -> Option<&'a str> {
        let at = memmem::find(text.as_bytes(), b"://")?;
        let (start, end) = self.origin_around(text.as_bytes(), at)?;
        text.get(end..).filter(|_| start == 0)
    }

    /// Replaces the origins in plain text.
    pub(crate) fn in_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut out = String::new();
        let mut copied = 0;
        for at in memmem::find_iter(text.as_bytes(), b"://") {
            let Some((start, end)) = self.origin_around(text.as_bytes(), at) else {
                continue;
            };
            if start < copied {
                continue;
            }
            out.push_str(text.get(copied..start).unwrap_or_default());
            out.push_str(&self.ours);
            copied = end;
        }
        if copied == 0 {
            return Cow::Borrowed(text);
        }
        out.push_str(text.get(copied..).unwrap_or_default());
        Cow::Owned(out)
    }

    /// Replaces the origins in every string of a valid JSON document, member names included.
    pub(crate) fn in_json<'a>(&self, json: &'a str) -> Cow<'a, str> {
        in_strings(json, |text| self.in_text(text))
    }

    /// The bounds of an origin of the backend's whose `://` stands at `at`.
    fn origin_around(&self, text: &[u8], at: usize) -> Option<(usize, usize)> {
        let before = text.get(..at)?;
        let scheme = ["https", "http"].iter().find(|scheme| {
            before
                .len()
                .checked_sub(scheme.len())
                .and_then(|start| before.get(start..))
                .is_some_and(|end| end.eq_ignore_ascii_case(scheme.as_bytes()))
        })?;
        let after = text.get(at + 3..)?;
        let authority = self.authorities.iter().find(|authority| {
            after
                .get(..authority.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(authority.as_bytes()))
                && ends_authority(after.get(authority.len()..).unwrap_or_default())
        })?;
        let mut end = at + 3 + authority.len();
        if !authority.contains(':') {
            // The scheme's own port may be spelled out.
            for port in [":443", ":80"] {
                if text
                    .get(end..)
                    .is_some_and(|rest| rest.starts_with(port.as_bytes()))
                {
                    end += port.len();
                    break;
                }
            }
        }
        Some((at - scheme.len(), end))
    }
}

/// Changes text in every string of a valid JSON document, member names included. What `change` looks for cannot span
/// a quote.
pub(super) fn in_strings<'a>(
    json: &'a str,
    mut change: impl FnMut(&str) -> Cow<'_, str>,
) -> Cow<'a, str> {
    if !may_hide_text(json) {
        // What looks like a link is one, and cannot span two strings.
        return match change(json) {
            Cow::Borrowed(_) => Cow::Borrowed(json),
            Cow::Owned(changed) => Cow::Owned(changed),
        };
    }
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    let mut is_changed = false;
    while let Some(quote) = rest.find('"') {
        let Some(length) = string_length(rest.as_bytes().get(quote..).unwrap_or_default()) else {
            break;
        };
        let token = rest.get(quote..quote + length).unwrap_or_default();
        out.push_str(rest.get(..quote).unwrap_or_default());
        match serde_json::from_str::<Cow<'_, str>>(token) {
            Ok(text) => match change(&text) {
                Cow::Borrowed(_) => out.push_str(token),
                Cow::Owned(changed) => {
                    is_changed = true;
                    out.push_str(&serde_json::Value::String(changed).to_string());
                }
            },
            Err(_) => out.push_str(token),
        }
        rest = rest.get(quote + length..).unwrap_or_default();
    }
    out.push_str(rest);
    if is_changed {
        Cow::Owned(out)
    } else {
        Cow::Borrowed(json)
    }
}

/// Whether escapes of a JSON text could hide a link: only `\/` and `\u` stand for characters of one. The
/// others are common in answers (quoted queries) and must not cost a walk over every string.
pub(super) fn may_hide_text(json: &str) -> bool {
    memchr::memchr_iter(b'\\', json.as_bytes())
        .any(|at| matches!(json.as_bytes().get(at + 1), Some(b'/' | b'u')))
}

/// Whether an authority can end before `rest`: no longer name, no other port.
fn ends_authority(rest: &[u8]) -> bool {
    match rest.first() {
        None => true,
        Some(b':') => {
            let digits = rest
                .iter()
                .skip(1)
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            let port = rest.get(1..=digits).unwrap_or_default();
            digits == 0 || port == b"443" || port == b"80"
        }
        Some(byte) => !(byte.is_ascii_alphanumeric() || b"-._~%@".contains(byte)),
    }
}

/// The length of the JSON string token at the start of `bytes`, both quotes included.
fn string_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        let step = memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        at += step;
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_the_backend_lead_to_the_gateway() {
        let links = Links::new(
            ["api.lightstep.com".to_owned(), "127.0.0.1:9000".to_owned()],
            "https://gw".to_owned(),
        );
        for (text, expected) in [
            (
                r#"{"self":"https://api.lightstep.com/a"}"#,
                r#"{"self":"https://gw/a"}"#,
            ),
            (
                r#"{"self":"HTTPS://API.Lightstep.com/a"}"#,
                r#"{"self":"https://gw/a"}"#,
            ),
            (
                r#"{"self":"https://api.lightstep.com:443/a"}"#,
                r#"{"self":"https://gw/a"}"#,
            ),
            (
                r#"{"self":"http://127.0.0.1:9000"}"#,
                r#"{"self":"https://gw"}"#,
            ),
            (
                r#"{"self":"https:\/\/api.lightstep.com\/a"}"#,
                r#"{"self":"https://gw/a"}"#,
            ),
            (
                r#"{"self":"https://\u0061pi.lightstep.com/a\n"}"#,
                r#"{"self":"https://gw/a\n"}"#,
            ),
            (
                r#"{"see":"at https://api.lightstep.com/a, or (https://api.lightstep.com)"}"#,
                r#"{"see":"at https://gw/a, or (https://gw)"}"#,
            ),
            (
                r#"{"a":"https://api.lightstep.com.evil/a"}"#,
                r#"{"a":"https://api.lightstep.com.evil/a"}"#,
            ),
            (
                r#"{"a":"https://api.lightstep.com:444/"}"#,
                r#"{"a":"https://api.lightstep.com:444/"}"#,
            ),
            (
                r#"{"a":"https://app.lightstep.com/x"}"#,
                r#"{"a":"https://app.lightstep.com/x"}"#,
            ),
            (
                r#"{"a":"ftp://api.lightstep.com/x"}"#,
                r#"{"a":"ftp://api.lightstep.com/x"}"#,
            ),
            (
                r#"{"a":"\"","b":"https://api.lightstep.com"}"#,
                r#"{"a":"\"","b":"https://gw"}"#,
            ),
            (
                r#"{"n":1.0,"big":18446744073709551616}"#,
                r#"{"n":1.0,"big":18446744073709551616}"#,
            ),
        ] {
            assert_eq!(links.in_json(text), expected);
        }
    }

    proptest::proptest! {
        /// Scenario: any JSON value. Guarantees: a document without links keeps its meaning.
        #[test]
        fn other_json_keeps_its_meaning(text in "[ -~\\n\\t\u{e9}]{0,40}", number in proptest::num::i64::ANY) {
            let value = serde_json::json!({ "a": [text, number], "b": { "c": null } });
            let links = Links::new(["api.lightstep.com".to_owned()], "https://gw".to_owned());
            let rewritten = links.in_json(&value.to_string()).into_owned();
            assert_eq!(serde_json::from_str::<serde_json::Value>(&rewritten).unwrap(), value);
        }
    }
}
