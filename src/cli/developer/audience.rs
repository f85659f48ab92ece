//! Which gateway a token is for.
//!
//! What it does: tells whether an audience belongs to one gateway, asks for tokens with it (RFC 8707 section 2), and
//! finds the other gateways that would take such a token. What it refuses to know: the network, files, terminals.
//! Invariants: an audience that is a web address is the gateway's own, else no token is asked for; a token that names
//! other audiences than such a one is not kept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::url::Url;
use serde_json::Value;

use super::failure::Failure;
use super::store::Contents;

/// Refuses an audience of another gateway's (RFC 9700 section 4.9.1): a token for it would be good there.
pub(crate) fn own(audience: Option<&str>, gateway: &str) -> Result<(), Failure> {
    match audience.and_then(web_address) {
        Some(place) if place.origin().ascii_serialization() != gateway => {
            Err(Failure::denied(format!("`{gateway}` asks for a token that is for `{place}`")).advise(
                "its `web.login.cli.audience` must be its own address, as its `public_url` says, or a name that is no web address",
            ))
        }
        _ => Ok(()),
    }
}

/// Parameters that ask for a token for the gateway: `audience`, as several providers call it, and `resource` (RFC 8707
/// section 2), which must be an absolute URI.
pub(crate) fn aim(audience: Option<&str>) -> Vec<(&'static str, String)> {
    let Some(audience) = audience else {
        return Vec::new();
    };
    let mut parameters = vec![("audience", audience.to_owned())];
    if Url::parse(audience).is_ok_and(|url| url.fragment().is_none()) {
        parameters.push(("resource", audience.to_owned()));
    }
    parameters
}

/// Refuses a token that the issuer made for other audiences than the web address that was asked for.
pub(crate) fn kept(audience: Option<&str>, token: &str, issuer: &str) -> Result<(), Failure> {
    let (Some(audience), Some(named)) = (
        audience.filter(|audience| web_address(audience).is_some()),
        named(token),
    ) else {
        return Ok(());
    };
    if named.iter().any(|one| one == audience) {
        return Ok(());
    }
    let said = format!(
        "the issuer `{issuer}` gave a token for `{}`, not for `{audience}`",
        named.join("`, `")
    );
    Err(Failure::denied(said).advise(
        "the issuer must know `resource` or `audience`, or always name the gateway's address",
    ))
}

/// The other gateways where the person is logged in, and where a token is good that this issuer gives for `audience`.
/// `token`: the one that it gave.
pub(crate) fn takers<'c>(
    contents: &'c Contents,
    gateway: &str,
    issuer: &str,
    audience: Option<&str>,
    token: Option<&str>,
) -> Vec<&'c str> {
    let same = |one: &str, other: &str| one.trim_end_matches('/') == other.trim_end_matches('/');
    let given = token.and_then(named).unwrap_or_default();
    let is_given = |wanted: &str| given.iter().any(|one| one == wanted);
    let others = contents
        .gateways
        .iter()
        .filter(|(name, entry)| *name != gateway && same(&entry.issuer, issuer));
    others
        .filter(|(_, entry)| match (entry.audience.as_deref(), audience) {
            (Some(theirs), ours) => ours == Some(theirs) || is_given(theirs),
            (None, ours) => {
                let theirs = named(&entry.access_token).unwrap_or_default();
                ours.is_none() || theirs.iter().any(|one| ours == Some(one) || is_given(one))
            }
        })
        .map(|(name, _)| name.as_str())
        .collect()
}

/// The audiences of a token that is a JWT. Nothing is verified: it came from the issuer. A gateway takes no other tokens.
fn named(token: &str) -> Option<Vec<String>> {
    let payload = token
        .split('.')
        .nth(1)
        .filter(|_| token.split('.').count() == 3)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    match claims.get("aud")? {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(several) => several
            .iter()
            .map(|one| one.as_str().map(str::to_owned))
            .collect(),
        _ => None,
    }
}

fn web_address(audience: &str) -> Option<Url> {
    Url::parse(audience)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::store::StoredLogin;
    use super::*;

    const ISSUER: &str = "https://idp.example";

    fn jwt(audience: Value) -> String {
        format!(
            "e30.{}.c2ln",
            URL_SAFE_NO_PAD.encode(json!({ "aud": audience }).to_string())
        )
    }

    #[test]
    fn only_uris_are_asked_for_as_a_resource() {
        for (audience, names) in [
            (None, vec![]),
            (Some("lightkeeper"), vec!["audience"]),
            (
                Some("https://gateway.example"),
                vec!["audience", "resource"],
            ),
            (Some("urn:acme:gateway"), vec!["audience", "resource"]),
            (Some("https://gateway.example/#part"), vec!["audience"]),
        ] {
            let asked: Vec<&str> = aim(audience).into_iter().map(|(name, _)| name).collect();
            assert_eq!(asked, names, "{audience:?}");
        }
    }

    #[test]
    fn a_web_address_is_the_gateways_own() {
        for (audience, fine) in [
            (None, true),
            (Some("lightkeeper"), true),
            (Some("urn:acme:gateway"), true),
            (Some("https://gateway.example"), true),
            (Some("https://gateway.example/api"), true),
            (Some("https://Gateway.example:443/"), true),
            (Some("http://gateway.example"), false),
            (Some("https://gateway.example:8443"), false),
            (Some("https://gateway.example.evil.example"), false),
            (Some("https://other.example"), false),
            (Some("HTTPS://other.example"), false),
        ] {
            let status = own(audience, "https://gateway.example").map_err(|failure| failure.status);
            assert_eq!(status, if fine { Ok(()) } else { Err(3) }, "{audience:?}");
        }
    }

    #[test]
    fn a_token_for_somewhere_else_is_not_kept() {
        let (ours, name) = (Some("https://gateway.example"), Some("lightkeeper"));
        for (audience, token, fine) in [
            (ours, jwt(json!("https://gateway.example")), true),
            (
                ours,
                jwt(json!(["account", "https://gateway.example"])),
                true,
            ),
            (ours, jwt(json!("lightkeeper")), false),
            (ours, jwt(json!([])), false),
            (ours, "opaque".to_owned(), true),
            (ours, "not.base64!.jwt".to_owned(), true),
            (name, jwt(json!("else")), true),
            (None, jwt(json!("else")), true),
        ] {
            assert_eq!(
                kept(audience, &token, ISSUER).is_ok(),
                fine,
                "{audience:?} {token}"
            );
        }
    }

    #[test]
    fn gateways_that_would_take_the_same_token_are_found() {
        let entry = |issuer: &str, audience: Option<&str>, token: Value| StoredLogin {
            ca: None,
            organization: "acme".to_owned(),
            issuer: issuer.to_owned(),
            client_id: "lightkeeper-cli".to_owned(),
            audience: audience.map(str::to_owned),
            token_endpoint: String::new(),
            revocation_endpoint: None,
            who: "ann".to_owned(),
            access_token: jwt(token),
            expires: 0,
            refresh_token: None,
            key: None,
        };
        let mut contents = Contents::default();
        for (name, entry) in [
            (
                "https://named",
                entry(ISSUER, Some("lightkeeper"), json!("lightkeeper")),
            ),
            (
                "https://tied",
                entry(ISSUER, Some("https://tied"), json!("https://tied")),
            ),
            (
                "https://fixed",
                entry("https://idp.example/", None, json!(["fixed", "account"])),
            ),
            (
                "https://elsewhere",
                entry(
                    "https://other.example",
                    Some("lightkeeper"),
                    json!("lightkeeper"),
                ),
            ),
        ] {
            contents.gateways.insert(name.to_owned(), entry);
        }
        for (gateway, audience, token, expected) in [
            (
                "https://evil",
                Some("lightkeeper"),
                None,
                vec!["https://named"],
            ),
            ("https://named", Some("lightkeeper"), None, vec![]),
            ("https://evil", Some("https://evil"), None, vec![]),
            (
                "https://evil",
                Some("https://evil"),
                Some(json!("https://evil")),
                vec![],
            ),
            (
                "https://evil",
                Some("https://evil"),
                Some(json!("https://tied")),
                vec!["https://tied"],
            ),
            (
                "https://evil",
                Some("urn:evil"),
                Some(json!(["urn:evil", "account"])),
                vec!["https://fixed"],
            ),
            ("https://evil", Some("fixed"), None, vec!["https://fixed"]),
            ("https://evil", None, None, vec!["https://fixed"]),
            (
                "https://evil",
                None,
                Some(json!("lightkeeper")),
                vec!["https://fixed", "https://named"],
            ),
        ] {
            let token = token.map(jwt);
            let found = takers(&contents, gateway, ISSUER, audience, token.as_deref());
            assert_eq!(found, expected, "{gateway} {audience:?} {token:?}");
        }
    }
}
