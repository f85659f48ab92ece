//! Media types of bodies (RFC 9110 section 8.3).
//!
//! What it does: reads a `Content-Type` once, and names what the gateway writes itself. What it refuses to know: which
//! bodies are taken where. Invariants: a value that is no media type, or that names another charset than UTF-8 or two
//! of them, is none; parameters are read and never passed on, so what leaves is one of the constants here or a row of
//! a profile.

/// OTLP/HTTP and legacy reports in protobuf.
pub(crate) const PROTOBUF: &str = "application/x-protobuf";
pub(crate) const JSON: &str = "application/json";
/// JSON:API's own name for its JSON, which Terraform's client uses.
pub(crate) const JSON_API: &str = "application/vnd.api+json";
/// gRPC with messages in protobuf, which is what the bare name means (gRPC over HTTP/2, "Content-Type").
pub(crate) const GRPC: &str = "application/grpc";
/// What only people read.
pub(crate) const HTML: &str = "text/html";
pub(crate) const HTML_UTF8: &str = "text/html; charset=utf-8";
pub(crate) const TEXT: &str = "text/plain";
pub(crate) const TEXT_UTF8: &str = "text/plain; charset=utf-8";
pub(crate) const BINARY: &str = "application/octet-stream";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
/// A security event token (RFC 8417 section 7.2).
pub(crate) const SECURITY_EVENT: &str = "application/secevent+jwt";

/// One media type without its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MediaType<'a> {
    essence: &'a [u8],
}

impl<'a> MediaType<'a> {
    /// Reads the value of a `Content-Type`. `None`: it is no media type, or its text is not in UTF-8.
    pub(crate) fn parse(value: &'a [u8]) -> Option<Self> {
        let (essence, mut rest) = match value.iter().position(|byte| *byte == b';') {
            Some(at) => value.split_at_checked(at)?,
            None => (value, &[][..]),
        };
        let essence = essence.trim_ascii();
        let slash = essence.iter().position(|byte| *byte == b'/')?;
        let (kind, subtype) = essence.split_at_checked(slash)?;
        if !is_token(kind) || !is_token(subtype.get(1..)?) {
            return None;
        }
        let mut has_charset = false;
        while let Some(after) = rest.strip_prefix(b";") {
            let (parameter, left) = parameter(after.trim_ascii_start())?;
            rest = left.trim_ascii_start();
            let Some((name, value)) = parameter else {
                continue;
            };
            if name.eq_ignore_ascii_case(b"charset") {
                let is_utf8 =
                    value.eq_ignore_ascii_case(b"utf-8") || value.eq_ignore_ascii_case(b"utf8");
                if has_charset || !is_utf8 {
                    return None;
                }
                has_charset = true;
            }
        }
        rest.is_empty().then_some(MediaType { essence })
    }

    /// What an answer of a backend calls itself, well formed or not: its body is judged by strict readers anyway.
    pub(crate) fn glimpse(value: &'a [u8]) -> Self {
        MediaType {
            essence: value
                .split(|byte| *byte == b';')
                .next()
                .unwrap_or_default()
                .trim_ascii(),
        }
    }

    /// Media types are compared without case.
    pub(crate) fn is(self, known: &str) -> bool {
        self.essence.eq_ignore_ascii_case(known.as_bytes())
    }

    /// Words, of whatever kind.
    pub(crate) fn is_text(self) -> bool {
        self.essence
            .first_chunk::<5>()
            .is_some_and(|start| start.eq_ignore_ascii_case(b"text/"))
    }

    pub(crate) fn is_json(self) -> bool {
        self.is(JSON)
    }

    /// JSON by one of the names that OTLP exporters send.
    pub(crate) fn is_otlp_json(self) -> bool {
        self.is_json() || self.is("application/x-json")
    }

    /// Protobuf by one of the names that OTLP exporters send.
    pub(crate) fn is_otlp_protobuf(self) -> bool {
        self.is(PROTOBUF) || self.is("application/protobuf")
    }

    /// The name of a JSON document in our own spelling; `None` if it is another kind.
    pub(crate) fn json_document(self) -> Option<&'static str> {
        [JSON, JSON_API].into_iter().find(|known| self.is(known))
    }

    /// Any type that says of itself that it is JSON (RFC 6839 section 3.1).
    pub(crate) fn is_json_like(self) -> bool {
        self.is_json()
            || self
                .essence
                .last_chunk::<5>()
                .is_some_and(|end| end.eq_ignore_ascii_case(b"+json"))
    }

    /// gRPC with messages in protobuf.
    pub(crate) fn is_grpc(self) -> bool {
        self.is(GRPC) || self.is("application/grpc+proto")
    }

    /// gRPC with messages of any kind.
    pub(crate) fn is_grpc_of_any_kind(self) -> bool {
        const PREFIX: &[u8] = b"application/grpc+";
        self.is(GRPC)
            || self
                .essence
                .get(..PREFIX.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
    }
}

/// The `typ` of a JOSE header, by which two are compared: without case, and without the `application/` that may be left
/// out (RFC 7515 section 4.1.9).
pub(crate) fn jose_type(typ: &str) -> String {
    let lower = typ.to_ascii_lowercase();
    lower
        .strip_prefix("application/")
        .map(str::to_owned)
        .unwrap_or(lower)
}

/// A parameter's name and value.
type Parameter<'a> = (&'a [u8], &'a [u8]);

/// The parameter at the beginning, which may be missing (RFC 9110 section 5.6.6), and what follows it. A quoted value
/// with an escape is none that decides anything here, and refused.
fn parameter(text: &[u8]) -> Option<(Option<Parameter<'_>>, &[u8])> {
    let end = text
        .iter()
        .position(|byte| !is_token_byte(*byte))
        .unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    if name.is_empty() {
        return Some((None, rest));
    }
    let rest = rest.strip_prefix(b"=")?;
    if let Some(quoted) = rest.strip_prefix(b"\"") {
        let end = quoted.iter().position(|byte| *byte == b'"')?;
        let (value, rest) = quoted.split_at_checked(end)?;
        return (!value.contains(&b'\\')).then_some((Some((name, value)), rest.get(1..)?));
    }
    let end = rest
        .iter()
        .position(|byte| !is_token_byte(*byte))
        .unwrap_or(rest.len());
    let (value, rest) = rest.split_at_checked(end)?;
    (!value.is_empty()).then_some((Some((name, value)), rest))
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_token_byte(*byte))
}

/// RFC 9110 section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: values of `Content-Type` as clients write them. Guarantees: parameters change nothing, but a charset
    /// that is not UTF-8, two of them, and what is no media type at all are refused.
    #[test]
    fn a_media_type_is_read_whole() {
        for (value, essence) in [
            ("application/json", Some("application/json")),
            (" application/json ", Some("application/json")),
            ("Application/JSON; Charset=UTF-8", Some("Application/JSON")),
            ("application/json;charset=utf8", Some("application/json")),
            (
                "application/json; charset=\"utf-8\"",
                Some("application/json"),
            ),
            (
                "application/json ; a=b; c=\"d;e\" ;charset=utf-8;",
                Some("application/json"),
            ),
            ("application/json;;", Some("application/json")),
            (
                "application/x-protobuf; messageType=x.Y",
                Some("application/x-protobuf"),
            ),
            ("application/json; charset=utf-16", None),
            ("application/json; charset=utf-16le", None),
            ("application/json; charset=iso-8859-1", None),
            ("application/json; charset=us-ascii", None),
            ("application/json; charset=\"utf-16\"", None),
            ("application/json; charset=\"utf-\\8\"", None),
            ("application/json; charset=", None),
            ("application/json; charset", None),
            ("application/json; charset =utf-8", None),
            ("application/json; charset= utf-8", None),
            ("application/json; charset=utf-8; charset=utf-16", None),
            ("application/json; charset=utf-8; charset=utf-8", None),
            ("application/json; CHARSET=utf-7", None),
            ("application/json; a=\"b", None),
            ("application/json, text/html", None),
            ("application/json; a=b, text/html", None),
            ("application /json", None),
            ("application/", None),
            ("/json", None),
            ("application", None),
            ("", None),
            (";charset=utf-8", None),
        ] {
            let read = MediaType::parse(value.as_bytes());
            assert_eq!(
                read.map(|read| read.essence),
                essence.map(str::as_bytes),
                "{value}"
            );
        }
    }

    #[test]
    fn grpc_in_protobuf_is_told_from_other_kinds() {
        for (value, protobuf, any) in [
            ("application/grpc", true, true),
            ("Application/gRPC+Proto", true, true),
            ("application/grpc+json", false, true),
            ("application/grpc+thrift", false, true),
            ("application/grpc+", false, true),
            ("application/grpc-web", false, false),
            ("application/grpc-web+proto", false, false),
            ("application/json", false, false),
        ] {
            let read = MediaType::parse(value.as_bytes()).unwrap();
            assert_eq!(
                (read.is_grpc(), read.is_grpc_of_any_kind()),
                (protobuf, any),
                "{value}"
            );
        }
        assert!(MediaType::glimpse(b"application/vnd.api+JSON; x").is_json_like());
    }

    #[test]
    fn types_are_compared_as_media_types() {
        for (typ, expected) in [
            ("JWT", "jwt"),
            ("at+jwt", "at+jwt"),
            ("application/at+JWT", "at+jwt"),
            ("text/jwt", "text/jwt"),
            ("", ""),
        ] {
            assert_eq!(jose_type(typ), expected);
        }
    }
}
