//! What an export carries to a backend besides its body: headers and a path, written as templates.
//!
//! What it does: reads `Bearer {token}` and the like once, and fills them in for one project. What it refuses to know: where
//! tokens come from, and how a head is sent. Invariants: a path holds no token, and a value in it is percent-encoded; a header's
//! name is none that the gateway writes or that frames a message; what holds a token is wiped, and its header never logged.

use std::collections::BTreeSet;

use base64::Engine as _;
use http::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::fault::ProfileFault;
use crate::otlp::Signal;
use crate::percent;

/// Headers that the gateway writes itself, or that are of one connection alone (RFC 9110 section 7.6.1).
const OWN_HEADERS: [&str; 23] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

/// Beginnings of names that are the gateway's, gRPC's, a proxy's, or HTTP/2's.
const OWN_BEGINNINGS: [&str; 4] = ["lightkeeper-", "grpc-", "x-forwarded-", ":"];

/// Deeper than any credential is coded.
const DEEPEST: usize = 4;

/// Text with places for what is known of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Token,
    Project,
    App,
    Signal,
    /// A parameter that has no value yet.
    Parameter(String),
    /// A parameter's value.
    Value(String),
    /// Standard base64 with padding (RFC 4648 section 4).
    Base64(Vec<Piece>),
}

/// What fills a template's places.
#[derive(Clone, Copy)]
pub(crate) struct ExportValues<'a> {
    pub token: &'a [u8],
    pub project: &'a str,
    /// The app that the project is declared at.
    pub app: &'a str,
    pub signal: Signal,
}

impl Template {
    /// Reads a template; what is between braces is a name, or `b64:` and a template. `parameters`: names besides the known.
    pub(super) fn parse(text: &str, parameters: &BTreeSet<String>) -> Result<Self, ProfileFault> {
        let fault = || ProfileFault::Template;
        let printable = |byte: u8| (b' '..=b'~').contains(&byte);
        if !text.bytes().all(printable) || text.trim() != text {
            return Err(fault());
        }
        let (pieces, rest) = pieces(text, 0, parameters).ok_or_else(fault)?;
        if rest.is_empty() {
            Ok(Template(pieces))
        } else {
            Err(fault())
        }
    }

    pub(super) fn holds_token(&self) -> bool {
        holds(&self.0, &|piece| *piece == Piece::Token)
    }

    /// Whether this parameter stands in it, without a value.
    pub(super) fn holds_parameter(&self, name: &str) -> bool {
        holds(
            &self.0,
            &|piece| matches!(piece, Piece::Parameter(known) if known == name),
        )
    }

    /// Puts values in the place of parameters.
    pub(super) fn fill<'v>(&mut self, value: &dyn Fn(&str) -> Option<&'v str>) {
        fill(&mut self.0, value);
    }

    /// As a header's value. `None`: a value has bytes that no header can carry.
    pub(crate) fn header(&self, values: &ExportValues<'_>) -> Option<HeaderValue> {
        let mut written = Zeroizing::new(Vec::with_capacity(256));
        write(&self.0, values, false, &mut written);
        let mut value = HeaderValue::from_bytes(&written).ok()?;
        value.set_sensitive(self.holds_token());
        Some(value)
    }

    /// As a path: no token, and values percent-encoded.
    pub(crate) fn path(&self, values: &ExportValues<'_>) -> String {
        let mut written = Zeroizing::new(Vec::with_capacity(64));
        let values = ExportValues {
            token: b"",
            ..*values
        };
        write(&self.0, &values, true, &mut written);
        String::from_utf8_lossy(&written).into_owned()
    }

    /// Whether it is a path: literal segments and whole places, without a token.
    pub(super) fn is_path(&self) -> bool {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
        let begins = matches!(self.0.first(), Some(Piece::Text(text)) if text.starts_with('/'));
        let pieces = self.0.iter().all(|piece| match piece {
            Piece::Text(text) => text.bytes().all(plain),
            Piece::Project | Piece::App | Piece::Signal => true,
            Piece::Parameter(_) | Piece::Value(_) => true,
            Piece::Token | Piece::Base64(_) => false,
        });
        let words = ExportValues {
            token: b"",
            project: "p",
            app: "a",
            signal: Signal::Traces,
        };
        let example = self.path(&words);
        let mut segments = example.split('/').skip(1);
        begins && pieces && segments.all(|segment| !matches!(segment, "" | "." | ".."))
    }
}

/// The name of a header that a profile may put on a request.
pub(super) fn header_name(text: &str) -> Result<HeaderName, ProfileFault> {
    let lower = text.to_ascii_lowercase();
    let own = OWN_HEADERS.contains(&lower.as_str())
        || OWN_BEGINNINGS.iter().any(|own| lower.starts_with(own));
    if own {
        return Err(ProfileFault::OwnHeader(text.to_owned()));
    }
    HeaderName::from_bytes(lower.as_bytes()).map_err(|_| ProfileFault::HeaderName(text.to_owned()))
}

/// The pieces up to the end, or up to the brace that closes an inner template, and what follows.
fn pieces<'t>(
    mut text: &'t str,
    depth: usize,
    parameters: &BTreeSet<String>,
) -> Option<(Vec<Piece>, &'t str)> {
    let mut pieces = Vec::new();
    loop {
        let end = text.find(['{', '}']).unwrap_or(text.len());
        let (plain, rest) = text.split_at_checked(end)?;
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain.to_owned()));
        }
        let Some(inner) = rest.strip_prefix('{') else {
            // The end, or the end of an inner template.
            return (rest.is_empty() == (depth == 0)).then_some((pieces, rest));
        };
        if let Some(coded) = inner.strip_prefix("b64:") {
            if depth >= DEEPEST {
                return None;
            }
            let (coded, after) = self::pieces(coded, depth + 1, parameters)?;
            pieces.push(Piece::Base64(coded));
            text = after.strip_prefix('}')?;
            continue;
        }
        let (name, after) = inner.split_once('}')?;
        pieces.push(match name {
            "token" => Piece::Token,
            "project" => Piece::Project,
            "app" => Piece::App,
            "signal" => Piece::Signal,
            name if parameters.contains(name) => Piece::Parameter(name.to_owned()),
            _ => return None,
        });
        text = after;
    }
}

fn holds(pieces: &[Piece], is_it: &dyn Fn(&Piece) -> bool) -> bool {
    pieces.iter().any(|piece| match piece {
        Piece::Base64(inner) => holds(inner, is_it),
        piece => is_it(piece),
    })
}

fn fill<'v>(pieces: &mut [Piece], value: &dyn Fn(&str) -> Option<&'v str>) {
    for piece in pieces {
        match piece {
            Piece::Parameter(name) => {
                if let Some(value) = value(name) {
                    *piece = Piece::Value(value.to_owned());
                }
            }
            Piece::Base64(inner) => fill(inner, value),
            _ => {}
        }
    }
}

fn write(pieces: &[Piece], values: &ExportValues<'_>, encode: bool, into: &mut Vec<u8>) {
    let put = |value: &str, into: &mut Vec<u8>| match encode {
        true => percent::encode(value).for_each(|piece| into.extend_from_slice(piece.as_bytes())),
        false => into.extend_from_slice(value.as_bytes()),
    };
    for piece in pieces {
        match piece {
            Piece::Text(text) => into.extend_from_slice(text.as_bytes()),
            Piece::Token => into.extend_from_slice(values.token),
            Piece::Project => put(values.project, into),
            Piece::App => put(values.app, into),
            Piece::Signal => put(values.signal.name(), into),
            // A parameter without a value is served nowhere; its name stands for it in a profile's own checks.
            Piece::Parameter(value) | Piece::Value(value) => put(value, into),
            Piece::Base64(inner) => {
                let mut plain = Zeroizing::new(Vec::with_capacity(256));
                write(inner, values, false, &mut plain);
                let coded =
                    Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(&*plain));
                into.extend_from_slice(coded.as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: ExportValues<'static> = ExportValues {
        token: b"secret",
        project: "shop prod",
        app: "shop/checkout",
        signal: Signal::Metrics,
    };

    #[test]
    fn a_template_is_filled_or_refused() {
        for (text, expected) in [
            ("{token}", Some("secret")),
            ("Bearer {token}", Some("Bearer secret")),
            ("Basic {b64:user:{token}}", Some("Basic dXNlcjpzZWNyZXQ=")),
            (
                "Basic {b64:{project}:{token}}",
                Some("Basic c2hvcCBwcm9kOnNlY3JldA=="),
            ),
            ("{app}/{signal}", Some("shop/checkout/metrics")),
            ("true", Some("true")),
            ("{b64:{b64:a}}", Some("WVE9PQ==")),
            ("{tokn}", None),
            ("{token", None),
            ("token}", None),
            ("{}", None),
            ("{b64:{token}", None),
            ("a\r\nb: c", None),
            (" {token}", None),
            ("{b64:{b64:{b64:{b64:{b64:a}}}}}", None),
        ] {
            let read = Template::parse(text, &BTreeSet::new()).ok();
            let written = read.and_then(|template| template.header(&VALUES));
            let written = written.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(written, expected, "{text:?}");
        }
        assert!(
            Template::parse("Bearer {b64:{token}}", &BTreeSet::new())
                .unwrap()
                .header(&VALUES)
                .unwrap()
                .is_sensitive()
        );
    }

    #[test]
    fn a_path_has_whole_segments_and_no_token() {
        for (text, expected) in [
            ("/v1/{signal}", Some("/v1/metrics")),
            ("/insert/{project}/v1", Some("/insert/shop%20prod/v1")),
            ("/of-{app}", Some("/of-shop%2Fcheckout")),
            ("/v1/{token}", None),
            ("/v1/{b64:x}", None),
            ("/v1/{b64:{token}}", None),
            ("v1", None),
            ("{project}", None),
            ("/", None),
            ("/a//b", None),
            ("/a/../b", None),
            ("/a?b={project}", None),
            ("/a#b", None),
            ("/a/", None),
        ] {
            let read = Template::parse(text, &BTreeSet::new())
                .ok()
                .filter(Template::is_path);
            let written = read.map(|template| template.path(&VALUES));
            assert_eq!(written.as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn the_gateways_own_headers_are_no_profiles() {
        for (name, expected) in [
            ("X-Api-Key", Some("x-api-key")),
            ("authorization", Some("authorization")),
            ("Lightkeeper-App", None),
            ("grpc-timeout", None),
            ("Host", None),
            ("content-length", None),
            ("Transfer-Encoding", None),
            ("x-forwarded-for", None),
            (":path", None),
            ("a b", None),
            ("", None),
        ] {
            let read = header_name(name).ok();
            assert_eq!(read.as_ref().map(HeaderName::as_str), expected, "{name:?}");
        }
    }
}
