//! Access token or ID token: what a signed claim set says that it is.
//!
//! What it does: tells the two apart by their marks, and judges by the issuer's `tokens`. What it refuses to know: keys,
//! audiences, times. Invariants: a logout token is taken never; a token without any mark is taken, because service-account
//! tokens, CI tokens and JWT-SVIDs have none; a token that bears both marks is taken only where any is.

use serde_json::{Map, Value};

use super::settings::{IssuerSettings, TokensTaken};

/// Hashes that only ID tokens have (OpenID Connect Core sections 3.1.3.6 and 3.3.2.11, FAPI 1.0 part 2 section 5.1.1).
const HASHES: [&str; 3] = ["at_hash", "c_hash", "s_hash"];

/// What an access token may be used for: RFC 8693 section 4.2, and the same by the name that some providers use.
const SCOPES: [&str; 2] = ["scope", "scp"];

/// Whether the issuer's setting lets a token of this kind in. `media_type`: the header's `typ`, lower case, without
/// `application/`.
pub(super) fn is_taken(
    settings: &IssuerSettings,
    media_type: &str,
    claims: &Map<String, Value>,
) -> bool {
    // Only logout tokens have `events` (OpenID Connect Back-Channel Logout section 2.4).
    if claims.contains_key("events") {
        return false;
    }
    match settings.tokens {
        TokensTaken::Any => true,
        TokensTaken::Access => !is_id_token(settings, media_type, claims),
        TokensTaken::Id => !is_access_token(media_type, claims),
    }
}

/// Whether an answer about a token (RFC 7662 section 2.2) can be about an access token. Endpoints answer about refresh tokens
/// as well, and each has its own way to say so. A token that needs a proof of possession must name the key.
pub(super) fn is_access_answer(claims: &Map<String, Value>) -> bool {
    let is_refresh = [
        ("token_use", "refresh_token"),
        ("token_use", "refresh"),
        ("typ", "Refresh"),
        ("typ", "Offline"),
    ];
    if is_refresh
        .iter()
        .any(|(claim, value)| says(claims, claim, value))
    {
        return false;
    }
    match claims.get("token_type") {
        None => true,
        Some(Value::String(named)) if named.eq_ignore_ascii_case("bearer") => true,
        Some(Value::String(named)) if named.eq_ignore_ascii_case("dpop") => claims
            .get("cnf")
            .is_some_and(|confirmation| confirmation.get("jkt").is_some()),
        Some(_) => false,
    }
}

fn is_id_token(settings: &IssuerSettings, media_type: &str, claims: &Map<String, Value>) -> bool {
    if is_marked_id(claims) {
        return true;
    }
    // Some providers copy `nonce` into access tokens, which they mark as such.
    if is_marked_access(media_type, claims) {
        return false;
    }
    claims.contains_key("nonce")
        || (!has_any(claims, &SCOPES) && is_for_its_own_client(settings, claims))
}

fn is_access_token(media_type: &str, claims: &Map<String, Value>) -> bool {
    is_marked_access(media_type, claims)
        || (has_any(claims, &SCOPES) && !is_marked_id(claims) && !claims.contains_key("nonce"))
}

/// By the provider's own word: Cognito has `token_use`, Keycloak `typ` among the claims.
fn is_marked_id(claims: &Map<String, Value>) -> bool {
    says(claims, "token_use", "id") || says(claims, "typ", "ID") || has_any(claims, &HASHES)
}

/// RFC 9068 section 2.1: `at+jwt` keeps the two apart. Or the provider's own word.
fn is_marked_access(media_type: &str, claims: &Map<String, Value>) -> bool {
    media_type == "at+jwt" || says(claims, "token_use", "access") || says(claims, "typ", "Bearer")
}

/// An ID token is for the client that it was issued to (OpenID Connect Core section 2, `aud` and `azp`), an access token for
/// an API (RFC 9068 section 2.2). A client through which people log in is no API.
fn is_for_its_own_client(settings: &IssuerSettings, claims: &Map<String, Value>) -> bool {
    let Some(party) = claims.get("azp").and_then(Value::as_str) else {
        return false;
    };
    let is_meant = match claims.get("aud") {
        Some(Value::String(audience)) => audience == party,
        Some(Value::Array(audiences)) => audiences.iter().any(|audience| audience == party),
        _ => false,
    };
    is_meant && settings.login_clients.iter().any(|client| client == party)
}

fn says(claims: &Map<String, Value>, claim: &str, value: &str) -> bool {
    claims.get(claim).and_then(Value::as_str) == Some(value)
}

fn has_any(claims: &Map<String, Value>, names: &[&str]) -> bool {
    names.iter().any(|name| claims.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::super::forge::issuer;
    use super::super::settings::KeySource;
    use super::*;

    /// Scenario: tokens as providers make them, and tokens that contradict themselves, under each setting. Guarantees: what
    /// says that it is an ID token is no access token and the reverse, and what says nothing is taken by all.
    #[test]
    fn each_kind_is_taken_where_the_issuer_says() {
        use TokensTaken::{Access, Any, Id};
        let none: &[TokensTaken] = &[];
        for (what, typ, claims, taken) in [
            ("no mark", "jwt", json!({}), &[Access, Id, Any][..]),
            ("no type", "", json!({}), &[Access, Id, Any]),
            (
                "Kubernetes service account",
                "",
                json!({"aud": ["lightkeeper"], "jti": "x", "kubernetes.io": {"namespace": "shop"}}),
                &[Access, Id, Any],
            ),
            (
                "GitHub Actions",
                "jwt",
                json!({"repository": "acme/shop", "ref": "refs/heads/main"}),
                &[Access, Id, Any],
            ),
            (
                "GitLab job",
                "jwt",
                json!({"namespace_path": "acme", "job_id": "7"}),
                &[Access, Id, Any],
            ),
            (
                "JWT-SVID",
                "jwt",
                json!({"sub": "spiffe://td/a", "aud": ["lightkeeper"]}),
                &[Access, Id, Any],
            ),
            (
                "Google service account",
                "jwt",
                json!({"aud": "https://gw", "azp": "1", "email": "a@b"}),
                &[Access, Id, Any],
            ),
            (
                "IAP assertion",
                "jwt",
                json!({"aud": "/projects/1", "azp": "/projects/1"}),
                &[Access, Id, Any],
            ),
            (
                "RFC 9068",
                "at+jwt",
                json!({"client_id": "web", "scope": "openid"}),
                &[Access, Any],
            ),
            (
                "Keycloak access token",
                "jwt",
                json!({"typ": "Bearer", "azp": "web", "nonce": "n"}),
                &[Access, Any],
            ),
            (
                "Cognito access token",
                "",
                json!({"token_use": "access", "client_id": "web"}),
                &[Access, Any],
            ),
            (
                "Entra, one registration",
                "jwt",
                json!({"aud": "web", "azp": "web", "scp": "read"}),
                &[Access, Any],
            ),
            (
                "Okta access token",
                "",
                json!({"cid": "web", "scp": ["openid"]}),
                &[Access, Any],
            ),
            (
                "access token for an API",
                "jwt",
                json!({"aud": "lightkeeper", "azp": "cli"}),
                &[Access, Id, Any],
            ),
            ("nonce", "jwt", json!({"nonce": "n"}), &[Id, Any]),
            (
                "nonce of any type",
                "jwt",
                json!({"nonce": null}),
                &[Id, Any],
            ),
            (
                "nonce and scope",
                "jwt",
                json!({"nonce": "n", "scope": "openid"}),
                &[Id, Any],
            ),
            ("at_hash", "jwt", json!({"at_hash": "h"}), &[Id, Any]),
            ("c_hash", "jwt", json!({"c_hash": "h"}), &[Id, Any]),
            ("s_hash", "jwt", json!({"s_hash": "h"}), &[Id, Any]),
            ("Keycloak ID token", "jwt", json!({"typ": "ID"}), &[Id, Any]),
            (
                "Cognito ID token",
                "",
                json!({"token_use": "id"}),
                &[Id, Any],
            ),
            (
                "for the login client",
                "jwt",
                json!({"aud": "web", "azp": "web"}),
                &[Id, Any],
            ),
            (
                "for the command line's",
                "jwt",
                json!({"aud": ["lightkeeper", "cli"], "azp": "cli"}),
                &[Id, Any],
            ),
            (
                "for another client",
                "jwt",
                json!({"aud": "other", "azp": "other"}),
                &[Access, Id, Any],
            ),
            (
                "to one client, for another",
                "jwt",
                json!({"aud": "web", "azp": "cli"}),
                &[Access, Id, Any],
            ),
            ("both marks", "at+jwt", json!({"typ": "ID"}), &[Any]),
            (
                "both marks, hash",
                "at+jwt",
                json!({"at_hash": "h"}),
                &[Any],
            ),
            (
                "both marks, claims",
                "jwt",
                json!({"typ": "Bearer", "token_use": "id"}),
                &[Any],
            ),
            (
                "logout token",
                "jwt",
                json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
                none,
            ),
        ] {
            let claims = claims.as_object().unwrap();
            for tokens in [Access, Id, Any] {
                let settings = IssuerSettings {
                    tokens,
                    login_clients: vec!["web".to_owned(), "cli".to_owned()],
                    ..issuer(KeySource::File(PathBuf::new()))
                };
                assert_eq!(
                    is_taken(&settings, typ, claims),
                    taken.contains(&tokens),
                    "{what}, {tokens:?}"
                );
            }
        }
    }
}
