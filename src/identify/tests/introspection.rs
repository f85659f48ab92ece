//! Opaque tokens: what an introspection endpoint answers, and what becomes of it.
//!
//! What it does: lets an endpoint on loopback say everything it can, well and badly, and shows tokens. What it refuses to know:
//! how answers are remembered (`consultations.rs` has tests of its own), and what a request looks like (`tests/gateway`).
//! Invariant: compiled for tests only.

mod questions;

use std::time::Duration;

use http::HeaderValue;
use serde_json::{Value, json};

use super::super::forge::{
    Answer, Folder, ISSUER, Loopback, NOW, P256, RSA, World, caller, claims, issuer, verdict,
};
use super::super::{
    ClientProofSettings, Event, IntrospectionSettings, IssuerSettings, KeySource, Method,
};
use crate::accept::{Caller, Carrier, Presented};
use crate::secret::SecretRef;

const OPAQUE: &str = "ory_at_7Qd.x-Y_z~1+2/3==";

fn asked_at(url: String, folder: &Folder) -> IntrospectionSettings {
    IntrospectionSettings {
        url,
        client_id: "gateway".to_owned(),
        proof: ClientProofSettings::Secret(SecretRef::File(folder.write("secret", "s3cret"))),
        always: false,
        prefix: None,
        signed: false,
        cache: Duration::from_secs(60),
        calls_per_second: 1000,
    }
}

/// An issuer with keys in a file and an endpoint at `/introspect`.
fn settings(loopback: &Loopback, folder: &Folder) -> IssuerSettings {
    let keys =
        json!({"keys": [RSA.jwk_with(json!({"kid": "rs"})), P256.jwk_with(json!({"kid": "ec"}))]});
    let file = folder.write("jwks.json", keys.to_string());
    IssuerSettings {
        introspection: Some(asked_at(loopback.url("/introspect"), folder)),
        ..issuer(KeySource::File(file))
    }
}

fn active(changes: Value) -> Value {
    let mut answer = claims(changes);
    answer["active"] = true.into();
    answer
}

fn answers(loopback: &Loopback, answer: Answer) {
    loopback.page("/introspect", answer);
}

fn times_asked(loopback: &Loopback) -> usize {
    let shown = loopback.shown.lock().unwrap();
    shown
        .iter()
        .filter(|(path, _)| path == "/introspect")
        .count()
}

/// Scenario: an issuer that gives out no JWTs, whose discovery document and keys would be at hand. Guarantees: neither is asked
/// for, it is ready at once, its opaque tokens count, and a JWT that names it says why it does not.
#[tokio::test]
async fn an_issuer_of_opaque_tokens_has_no_keys() {
    let (folder, world) = (Folder::new(), World::new());
    let loopback = Loopback::start(json!([])).await;
    let settings = IssuerSettings {
        keys: KeySource::Nowhere,
        ..settings(&loopback, &folder)
    };
    let room = world.identifier(&[settings], None);
    let status = room.readiness().remove(0);
    assert!(
        status.tried && status.has_keys && status.keys == 0,
        "{status:?}"
    );
    let answer = Answer {
        status: 200,
        headers: vec![("content-type", "application/json".to_owned())],
        body: active(json!({})).to_string(),
    };
    answers(&loopback, answer);
    assert_eq!(verdict(&room, OPAQUE).await, Ok("ada".to_owned()));
    let jwt = RSA.token("RS256", "rs", json!({}));
    assert_eq!(verdict(&room, &jwt).await, Err("token_not_opaque"));
    let shown = loopback.shown.lock().unwrap();
    assert!(
        shown.iter().all(|(path, _)| path == "/introspect"),
        "{shown:?}"
    );
}

/// Scenario: each answer that an endpoint may give about an opaque token. Guarantees: only a boolean `active: true` whose
/// claims hold like a JWT's identifies; what says no is 401, what says nothing is 503, and neither is taken for the other.
#[tokio::test]
async fn an_answer_counts_like_a_jwt_or_not_at_all() {
    let (folder, world) = (Folder::new(), World::new());
    let loopback = Loopback::start(json!([])).await;
    let settings = settings(&loopback, &folder);
    let json_of = |status, body: String| Answer {
        status,
        headers: vec![("content-type", "application/json".to_owned())],
        body,
    };
    let unusable = Err("introspection_answer");
    let rows: Vec<(&str, Answer, Result<&str, &str>)> = vec![
        ("active", Answer::json(active(json!({}))), Ok("ada")),
        (
            "no `iss`",
            Answer::json(active(json!({"iss": null}))),
            Ok("ada"),
        ),
        (
            "bearer",
            Answer::json(active(json!({"token_type": "bEARER"}))),
            Ok("ada"),
        ),
        (
            "null members",
            json_of(
                200,
                active(json!({})).to_string().replace('}', ",\"nbf\":null}"),
            ),
            Ok("ada"),
        ),
        (
            "several audiences",
            Answer::json(active(json!({"aud": ["x", "gateway"]}))),
            Ok("ada"),
        ),
        (
            "inactive",
            Answer::json(json!({"active": false})),
            Err("token_inactive"),
        ),
        (
            "inactive with claims",
            Answer::json(json!({"active": false, "sub": "ada"})),
            Err("token_inactive"),
        ),
        (
            "another issuer's",
            Answer::json(active(json!({"iss": "https://other.example"}))),
            Err("token_issuer_unknown"),
        ),
        (
            "`iss` of another type",
            Answer::json(active(json!({"iss": [ISSUER]}))),
            Err("token_claims"),
        ),
        (
            "for another",
            Answer::json(active(json!({"aud": "other"}))),
            Err("token_audience"),
        ),
        (
            "for nobody",
            Answer::json(active(json!({"aud": null}))),
            Err("token_audience"),
        ),
        (
            "expired",
            Answer::json(active(json!({"exp": NOW - 60}))),
            Err("token_expired"),
        ),
        (
            "without end",
            Answer::json(active(json!({"exp": null}))),
            Err("token_claims"),
        ),
        (
            "not yet",
            Answer::json(active(json!({"nbf": NOW + 60}))),
            Err("token_not_yet_valid"),
        ),
        (
            "too long",
            Answer::json(active(json!({"exp": NOW + 10 * 86400}))),
            Err("token_lifetime"),
        ),
        (
            "without subject",
            Answer::json(active(json!({"sub": null}))),
            Err("token_claims"),
        ),
        (
            "bound to a key",
            Answer::json(active(json!({"cnf": {"jkt": "x"}, "token_type": "DPoP"}))),
            Err("token_bound"),
        ),
        (
            "bound to a certificate",
            Answer::json(active(
                json!({"cnf": {"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}}),
            )),
            Err("token_bound"),
        ),
        (
            "DPoP without a key",
            Answer::json(active(json!({"token_type": "DPoP"}))),
            Err("token_type"),
        ),
        (
            "of another type",
            Answer::json(active(json!({"token_type": "N_A"}))),
            Err("token_type"),
        ),
        (
            "type of another type",
            Answer::json(active(json!({"token_type": 1}))),
            Err("token_type"),
        ),
        (
            "a refresh token, Hydra",
            Answer::json(active(json!({"token_use": "refresh_token"}))),
            Err("token_type"),
        ),
        (
            "a refresh token, Keycloak",
            Answer::json(active(json!({"typ": "Refresh"}))),
            Err("token_type"),
        ),
        (
            "an ID token",
            Answer::json(active(json!({"token_use": "id"}))),
            Err("token_type"),
        ),
        (
            "`active` a text",
            Answer::json(
                active(json!({"active": "true"}))
                    .to_string()
                    .replace("true", "\"true\""),
            ),
            unusable,
        ),
        (
            "`active` a number",
            json_of(200, r#"{"active":1}"#.to_owned()),
            unusable,
        ),
        (
            "`active` null",
            json_of(200, r#"{"active":null}"#.to_owned()),
            unusable,
        ),
        ("no `active`", Answer::json(claims(json!({}))), unusable),
        (
            "`active` twice",
            json_of(200, r#"{"active":false,"active":true}"#.to_owned()),
            unusable,
        ),
        ("a list", json_of(200, "[true]".to_owned()), unusable),
        ("a page", json_of(200, "<html>".to_owned()), unusable),
        ("nothing", json_of(200, String::new()), unusable),
        (
            "a JWT unasked",
            json_of(200, RSA.token("RS256", "rs", json!({}))),
            unusable,
        ),
        (
            "bad request",
            json_of(400, r#"{"error":"invalid_request"}"#.to_owned()),
            Err("introspection_client"),
        ),
        (
            "unauthorized",
            json_of(401, r#"{"active":true}"#.to_owned()),
            Err("introspection_client"),
        ),
        (
            "forbidden",
            json_of(403, String::new()),
            Err("introspection_client"),
        ),
        (
            "not found",
            json_of(404, String::new()),
            Err("introspection_unavailable"),
        ),
        (
            "created",
            json_of(201, active(json!({})).to_string()),
            Err("introspection_unavailable"),
        ),
        (
            "elsewhere",
            Answer {
                status: 307,
                headers: vec![("location", loopback.url("/keys"))],
                body: String::new(),
            },
            Err("introspection_unavailable"),
        ),
        (
            "too many",
            json_of(429, String::new()),
            Err("introspection_unavailable"),
        ),
        (
            "down",
            json_of(503, String::new()),
            Err("introspection_unavailable"),
        ),
        (
            "too large",
            json_of(
                200,
                format!("{{\"active\":true,\"pad\":\"{}\"}}", "x".repeat(64 << 10)),
            ),
            Err("introspection_unavailable"),
        ),
    ];
    for (number, (what, answer, expected)) in rows.into_iter().enumerate() {
        // A room for each: an address whose tokens are refused is asked about less and less.
        let identifier = world.identifier(std::slice::from_ref(&settings), None);
        answers(&loopback, answer);
        let token = format!("{OPAQUE}{}", "=".repeat(number % 2));
        let found = verdict(&identifier, &token).await;
        assert_eq!(found.as_deref().map_err(|code| *code), expected, "{what}");
    }
    let failed = |event: &Event| matches!(event, Event::ConsultationFailed { .. });
    assert_eq!(world.count(failed), 18);
}

/// Scenario: an active token. Guarantees: its facts are those of the answer, by a method of their own, and without `active`;
/// the endpoint is asked once a minute; what was inactive is asked about again after 5 seconds.
#[tokio::test]
async fn facts_are_those_of_the_answer() {
    let (folder, world) = (Folder::new(), World::new());
    let loopback = Loopback::start(json!([])).await;
    let identifier = world.identifier(&[settings(&loopback, &folder)], None);
    answers(
        &loopback,
        Answer::json(active(json!({"client_id": "cli", "scope": "a b"}))),
    );
    let identity = identifier
        .identify(caller(Some(OPAQUE), None))
        .await
        .unwrap();
    let facts = identity.facts();
    assert_eq!(
        (facts.method, &*facts.issuer),
        (Method::Introspection, "idp")
    );
    assert_eq!(
        (&*facts.subject, &facts.groups[..]),
        ("ada", &["sre".to_owned(), "dev".to_owned()][..])
    );
    assert_eq!(facts.expires_unix_seconds, NOW + 300);
    assert_eq!(facts.claims.get("client_id"), Some(&json!("cli")));
    assert!(!facts.claims.contains_key("active"));
    assert_eq!(
        loopback.shown.lock().unwrap()[0].1.as_deref(),
        Some("Basic Z2F0ZXdheTpzM2NyZXQ=")
    );
    for (second, answer, expected, asked) in [
        (30, json!({"active": false}), Ok("ada"), 1),
        (59, json!({"active": false}), Ok("ada"), 1),
        (61, json!({"active": false}), Err("token_inactive"), 2),
        (65, active(json!({})), Err("token_inactive"), 2),
        (67, active(json!({})), Ok("ada"), 3),
        (126, json!({"active": false}), Ok("ada"), 3),
        (128, json!({"active": false}), Err("token_inactive"), 4),
    ] {
        world.move_to(NOW + second);
        answers(&loopback, Answer::json(answer));
        let found = verdict(&identifier, OPAQUE).await;
        assert_eq!(found.as_deref().map_err(|code| *code), expected, "{second}");
        assert_eq!(times_asked(&loopback), asked, "{second}");
    }
}

fn presented(token: &str, carrier: Carrier) -> Caller {
    let value = HeaderValue::from_str(token).unwrap();
    Caller {
        token: Some(Presented::new(value, 0, carrier)),
        ..caller(None, None)
    }
}

/// Scenario: tokens of every form, in `Authorization` and in the place of the backend's own token, where two issuers have an
/// endpoint and one of them a prefix. Guarantees: a JWT is asked about nowhere; an opaque token at one issuer alone; the
/// backend's own token nowhere, whatever it begins with.
#[tokio::test]
async fn a_token_is_asked_about_at_one_issuer_or_none() {
    let (folder, world) = (Folder::new(), World::new());
    let one = Loopback::start(json!([])).await;
    let other = Loopback::start(json!([])).await;
    for (loopback, subject) in [(&one, "of-one"), (&other, "of-other")] {
        answers(
            loopback,
            Answer::json(active(json!({"sub": subject, "iss": null}))),
        );
    }
    let first = IssuerSettings {
        name: "one".to_owned(),
        ..settings(&one, &folder)
    };
    let mut second = IssuerSettings {
        name: "other".to_owned(),
        issuer: "https://other.example/".to_owned(),
        ..settings(&other, &folder)
    };
    second.introspection.as_mut().unwrap().prefix = Some("oth.er_".to_owned());
    let identifier = world.identifier(&[first, second], None);
    let jwt = RSA.token("RS256", "rs", json!({}));
    let shaped = format!("{}.x.y", super::super::forge::base64url("{}"));
    let header = || Carrier::Authorization;
    let backend = || Carrier::AccessToken;
    for (token, carrier, expected, asked) in [
        (OPAQUE, header(), Ok("of-one"), [1, 0]),
        ("oth.er_a.b", header(), Ok("of-other"), [1, 1]),
        ("oth.er_", header(), Ok("of-other"), [1, 2]),
        ("a.b.c", header(), Ok("of-one"), [2, 2]),
        ("a.b.c.d.e", header(), Ok("of-one"), [3, 2]),
        (&jwt, header(), Ok("ada"), [3, 2]),
        (&shaped, header(), Err("token_malformed"), [3, 2]),
        ("with blank", header(), Err("token_malformed"), [3, 2]),
        ("a=b", header(), Err("token_malformed"), [3, 2]),
        ("===", header(), Err("token_malformed"), [3, 2]),
        ("lk_x", header(), Err("client_token_malformed"), [3, 2]),
        (OPAQUE, backend(), Err("no_credential"), [3, 2]),
        ("oth.er_ab", backend(), Err("no_credential"), [3, 2]),
        ("oth.er_a.b", backend(), Err("token_malformed"), [3, 2]),
        (&jwt, backend(), Ok("ada"), [3, 2]),
    ] {
        let judged = identifier.identify(presented(token, carrier)).await;
        let found = judged
            .map(|identity| identity.facts().subject.to_string())
            .map_err(|rejection| rejection.reason.code());
        let found = found.as_deref().map_err(|code| *code);
        if expected == Err("client_token_malformed") {
            assert!(found.is_err(), "{token}");
        } else {
            assert_eq!(found, expected, "{token}");
        }
        assert_eq!([times_asked(&one), times_asked(&other)], asked, "{token}");
    }
}
