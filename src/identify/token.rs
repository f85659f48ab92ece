//! The strict reading of a presented token, before anything in it is believed.
//!
//! What it does: takes a compact JWS apart (RFC 7515 section 3.1) and refuses every form that another
//! parser could read differently. What it refuses to know: keys, issuers, the time; it proves nothing.
//! Invariants: the claims of an `Unproven` are used only to choose the issuer until its signature has
//! been verified; no header but `alg`, `typ` and `kid` has any effect: `jku`, `x5u`, `jwk` and `x5c` are
//! ignored as RFC 7515 section 4 has it, so that no key ever comes from the token itself.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::event::shown;
use super::json;
use crate::media_type::jose_type;
use crate::reason::Reason;

/// The longest key id that is looked up, in bytes. Real ones are below 100.
const KEY_ID_LIMIT_BYTES: usize = 1024;

/// A token in canonical form whose signature has not been checked yet.
pub(super) struct Unproven<'a> {
    /// Header and payload as signed.
    pub signed: &'a str,
    /// Base64url, decodable, not empty.
    pub signature: &'a str,
    /// As the header spells it, for the issuer's byte-exact list.
    pub(crate) algorithm_name: String,
    pub algorithm: Algorithm,
    pub(crate) key_id: Option<String>,
    /// Lower case, without `application/` (RFC 7515 section 4.1.9); empty if absent.
    pub media_type: String,
    pub claims: Map<String, Value>,
}

impl<'a> Unproven<'a> {
    /// Reads `bytes`, which the caller has bounded.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Reason> {
        let charset =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !bytes.iter().all(charset) {
            return Err(Reason::TokenMalformed);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Reason::TokenMalformed)?;
        // Five parts would be an encrypted token (RFC 7516): refused like any other count.
        let (signed, signature) = text.rsplit_once('.').ok_or(Reason::TokenMalformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Reason::TokenMalformed)?;
        if payload.contains('.') {
            return Err(Reason::TokenMalformed);
        }

        let mut header = json::object(&decode(header)?).ok_or(Reason::TokenMalformed)?;
        // No extension is understood here, so any `crit` names one that is not.
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(Reason::TokenCritical);
        }
        if header.contains_key("enc") || header.contains_key("zip") {
            return Err(Reason::TokenMalformed);
        }
        let algorithm_name = string(&mut header, "alg")?.ok_or(Reason::TokenMalformed)?;
        let algorithm = Algorithm::parse(&algorithm_name).ok_or(Reason::TokenAlgorithm)?;
        let key_id = string(&mut header, "kid")?;
        if key_id
            .as_ref()
            .is_some_and(|id| id.len() > KEY_ID_LIMIT_BYTES)
        {
            return Err(Reason::TokenMalformed);
        }
        let media_type = jose_type(&string(&mut header, "typ")?.unwrap_or_default());

        if decode(signature)?.is_empty() {
            return Err(Reason::TokenMalformed);
        }
        let claims = json::object(&decode(payload)?).ok_or(Reason::TokenMalformed)?;
        Ok(Unproven {
            signed,
            signature,
            algorithm_name,
            algorithm,
            key_id,
            media_type,
            claims,
        })
    }
}

/// What a token says of itself, for `explain`: no part that is signed with, and nothing that is proven. `issuer`: the name of
/// the issuer that would judge such claims.
pub(super) fn glance<'i>(
    bytes: &[u8],
    issuer: impl FnOnce(&Map<String, Value>) -> Option<&'i str>,
) -> Vec<(&'static str, Value)> {
    let Ok(token) = Unproven::parse(bytes) else {
        return vec![("form", "no signed token".into())];
    };
    let text = |text: &str| Value::from(shown(text));
    let mut said = vec![
        ("form", "a signed token".into()),
        ("algorithm", text(&token.algorithm_name)),
        ("type", text(&token.media_type)),
        (
            "issuer",
            issuer(&token.claims).map_or(Value::Null, Value::from),
        ),
    ];
    if let Some(named) = token.claims.get("iss").and_then(Value::as_str) {
        said.push(("iss", text(named)));
    }
    if let Some(expires) = token
        .claims
        .get("exp")
        .filter(|expires| expires.is_number())
    {
        said.push(("exp", expires.clone()));
    }
    said
}

/// Whether `bytes` could be meant as a JWS at all: two dots. For headers that may also carry something else.
pub(super) fn is_shaped_like_one(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'.', bytes).count() == 2
}

/// Whether `bytes` say that they are a JWS: three parts, of which the first is a header.
pub(super) fn is_jws(bytes: &[u8]) -> bool {
    let header = bytes.split(|byte| *byte == b'.').next();
    is_shaped_like_one(bytes)
        && header
            .and_then(|header| URL_SAFE_NO_PAD.decode(header).ok())
            .is_some_and(|header| json::object(&header).is_some())
}

/// Base64url without padding, other alphabets, ignored characters or set trailing bits (RFC 7515 section 2).
fn decode(part: &str) -> Result<Vec<u8>, Reason> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| Reason::TokenMalformed)
}

/// A member that must be a string if it is there.
fn string(header: &mut Map<String, Value>, name: &str) -> Result<Option<String>, Reason> {
    match header.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Reason::TokenMalformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    fn refusal(token: &str) -> Option<&'static str> {
        Unproven::parse(token.as_bytes()).err().map(Reason::code)
    }

    #[test]
    fn only_the_canonical_form_is_read() {
        let header = encoded(r#"{"alg":"RS256"}"#);
        let payload = encoded(r#"{"iss":"x"}"#);
        // 15 bytes of header need no padding; a payload of 11 leaves 4 unused bits in its last character.
        let trailing_bits = {
            let mut text = payload.clone();
            let last = text.pop().unwrap();
            text.push(char::from(u8::try_from(last).unwrap() + 1));
            text
        };
        let padded = format!("{payload}=");
        for (token, expected) in [
            (format!("{header}.{payload}.AAAA"), None),
            (format!("{header}.{payload}."), Some("token_malformed")),
            (format!("{header}.{payload}"), Some("token_malformed")),
            (format!("{header}.{payload}.AAAA."), Some("token_malformed")),
            (
                format!("{header}.{payload}.AAAA.AAAA.AAAA"),
                Some("token_malformed"),
            ),
            (format!(".{payload}.AAAA"), Some("token_malformed")),
            (format!("{header}..AAAA"), Some("token_malformed")),
            ("..".to_owned(), Some("token_malformed")),
            (format!("{header}.{padded}.AAAA"), Some("token_malformed")),
            (
                format!("{header}.{trailing_bits}.AAAA"),
                Some("token_malformed"),
            ),
            (format!("{header}.{payload}.AAAB="), Some("token_malformed")),
            (format!("{header}.{payload}.AA+/"), Some("token_malformed")),
            (format!("{header}.{payload}.AA AA"), Some("token_malformed")),
            (format!("{header}.{payload}.A"), Some("token_malformed")),
            (format!("{header}.{payload}.AAB"), Some("token_malformed")),
            (
                format!("{{\"payload\":\"{payload}\"}}"),
                Some("token_malformed"),
            ),
            (
                format!("{header}.{}.AAAA", encoded("[]")),
                Some("token_malformed"),
            ),
            (
                format!("{header}.{}.AAAA", encoded("{\"iss\":\"a\",\"iss\":\"b\"}")),
                Some("token_malformed"),
            ),
            ("é.é.é".to_owned(), Some("token_malformed")),
        ] {
            assert_eq!(refusal(&token), expected, "{token}");
        }
    }

    #[test]
    fn the_header_has_one_reading() {
        for (header, expected) in [
            (r#"{"alg":"RS256","kid":"a","typ":"JWT"}"#, None),
            (
                r#"{"alg":"RS256","jwk":{"kty":"oct"},"jku":"https://x","x5u":"https://x","x5c":["x"]}"#,
                None,
            ),
            (r#"{"alg":"none"}"#, Some("token_algorithm")),
            (r#"{"alg":"noNE"}"#, Some("token_algorithm")),
            (r#"{"alg":"HS256"}"#, Some("token_algorithm")),
            (r#"{"alg":"rs256"}"#, Some("token_algorithm")),
            (r#"{"alg":""}"#, Some("token_algorithm")),
            (r#"{"typ":"JWT"}"#, Some("token_malformed")),
            (r#"{"alg":["RS256"]}"#, Some("token_malformed")),
            (r#"{"alg":"RS256","alg":"none"}"#, Some("token_malformed")),
            (
                r#"{"alg":"RS256","x":{"a":1,"a":1}}"#,
                Some("token_malformed"),
            ),
            (r#"{"alg":"RS256","kid":1}"#, Some("token_malformed")),
            (r#"{"alg":"RS256","typ":null}"#, Some("token_malformed")),
            (r#"{"alg":"RS256","crit":["exp"]}"#, Some("token_critical")),
            (r#"{"alg":"RS256","crit":[]}"#, Some("token_critical")),
            (r#"{"alg":"RS256","b64":false}"#, Some("token_critical")),
            (r#"{"alg":"RS256","b64":true}"#, Some("token_critical")),
            (r#"{"alg":"RS256","zip":"DEF"}"#, Some("token_malformed")),
            (
                r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#,
                Some("token_malformed"),
            ),
        ] {
            assert_eq!(
                refusal(&format!("{}.{}.AAAA", encoded(header), encoded("{}"))),
                expected,
                "{header}"
            );
        }
        let long = format!(
            r#"{{"alg":"RS256","kid":"{}"}}"#,
            "k".repeat(KEY_ID_LIMIT_BYTES + 1)
        );
        assert_eq!(
            refusal(&format!("{}.{}.AAAA", encoded(&long), encoded("{}"))),
            Some("token_malformed")
        );
    }
}
