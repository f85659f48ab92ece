//! Opaque tokens: what an introspection endpoint answers, and what becomes of it.
//!
//! What it does: lets an endpoint on loopback say everything it can, well and badly, and shows tokens. What it refuses to know:
//! how answers are remembered (`consultations.rs` has tests of its own), and what a request looks like (`tests/gateway`).
//! Invariant: compiled for tests only.

use std::time::Duration;

use http::HeaderValue;
use serde_json::{Value, json};

use super::super::cache::Evidence;
use super::super::forge::{
    Answer, Folder, ISSUER, Loopback, NOW, P256, RSA, World, caller, claims, issuer, verdict,
};
use super::super::{
    ClientProofSettings, Event, Identifier, IntrospectionSettings, IssuerSettings, KeySource,
    Method,
};
use crate::accept::{Caller, Carrier, Presented};
use crate::egress::{OutboundBounds, hostile};
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

fn signed(
    header: Value,
    changes: Value,
    key: &super::super::forge::TestKey,
    algorithm: &str,
) -> Answer {
    let mut full = json!({"alg": algorithm, "kid": "rs", "typ": "token-introspection+jwt"});
    merge(&mut full, header);
    let mut claims = json!({"iss": ISSUER, "aud": "gateway", "iat": NOW, "token_introspection": active(json!({}))});
    merge(&mut claims, changes);
    Answer {
        status: 200,
        headers: vec![(
            "content-type",
            "application/token-introspection+jwt".to_owned(),
        )],
        body: key.token_of_texts(algorithm, &full.to_string(), &claims.to_string()),
    }
}

fn merge(into: &mut Value, changes: Value) {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(name);
        } else {
            into[name] = value.clone();
        }
    }
}

/// Scenario: answers signed and not, by and for others, and of other times. Guarantees: where answers must be signed, only the issuer's
/// own, for this client, of now, count; all others are outages, whatever they say.
#[tokio::test]
async fn a_signed_answer_is_the_issuers_own_for_us_and_of_now() {
    let (folder, world) = (Folder::new(), World::new());
    let loopback = Loopback::start(json!([])).await;
    let mut settings = settings(&loopback, &folder);
    settings.introspection.as_mut().unwrap().signed = true;
    let other = &super::super::forge::OTHER_RSA;
    let typed = |content_type: &str| Answer {
        headers: vec![("content-type", content_type.to_owned())],
        ..signed(json!({}), json!({}), &RSA, "RS256")
    };
    let rs = |header: Value, claims: Value| signed(header, claims, &RSA, "RS256");
    let none = || json!({});
    let unusable = Err("introspection_answer");
    for (what, answer, expected) in [
        ("signed", rs(none(), none()), Ok("ada")),
        (
            "by another of its keys",
            signed(json!({"kid": "ec"}), none(), &P256, "ES256"),
            Ok("ada"),
        ),
        (
            "for several",
            rs(none(), json!({"aud": ["x", "gateway"]})),
            Ok("ada"),
        ),
        (
            "a minute old",
            rs(none(), json!({"iat": NOW - 60})),
            Ok("ada"),
        ),
        (
            "with parameters",
            typed("application/token-introspection+jwt; charset=utf-8"),
            Ok("ada"),
        ),
        (
            "inactive",
            rs(none(), json!({"token_introspection": {"active": false}})),
            Err("token_inactive"),
        ),
        (
            "inner audience",
            rs(
                none(),
                json!({"token_introspection": active(json!({"aud": "other"}))}),
            ),
            Err("token_audience"),
        ),
        ("not signed", Answer::json(active(json!({}))), unusable),
        ("called JSON", typed("application/json"), unusable),
        ("called a JWT", typed("application/jwt"), unusable),
        ("another type", rs(json!({"typ": "JWT"}), none()), unusable),
        ("no type", rs(json!({"typ": null}), none()), unusable),
        (
            "an access token",
            rs(json!({"typ": "at+jwt"}), none()),
            unusable,
        ),
        (
            "another's key",
            signed(none(), none(), other, "RS256"),
            unusable,
        ),
        (
            "unsigned",
            {
                let mut answer = rs(none(), none());
                answer.body = answer.body.rsplit_once('.').unwrap().0.to_owned() + ".";
                answer
            },
            unusable,
        ),
        (
            "HMAC",
            signed(json!({"alg": "HS256"}), none(), &RSA, "RS256"),
            unusable,
        ),
        (
            "another issuer's",
            rs(none(), json!({"iss": "https://other.example"})),
            unusable,
        ),
        ("no issuer", rs(none(), json!({"iss": null})), unusable),
        (
            "for another client",
            rs(none(), json!({"aud": "lightkeeper"})),
            unusable,
        ),
        ("for nobody", rs(none(), json!({"aud": null})), unusable),
        ("old", rs(none(), json!({"iat": NOW - 120})), unusable),
        ("of later", rs(none(), json!({"iat": NOW + 120})), unusable),
        ("of no time", rs(none(), json!({"iat": null})), unusable),
        (
            "about nothing",
            rs(none(), json!({"token_introspection": null})),
            unusable,
        ),
        (
            "about a text",
            rs(none(), json!({"token_introspection": "x", "active": true})),
            unusable,
        ),
        (
            "without `active`",
            rs(none(), json!({"token_introspection": {"sub": "ada"}})),
            unusable,
        ),
    ] {
        let identifier = world.identifier(std::slice::from_ref(&settings), None);
        answers(&loopback, answer);
        let found = verdict(&identifier, OPAQUE).await;
        assert_eq!(found.as_deref().map_err(|code| *code), expected, "{what}");
    }
}

/// Scenario: `always`, and JWTs that hold, that do not, and that their issuer took back. Guarantees: a JWT that does not hold
/// is asked about nowhere; one that holds counts with its own claims, while the endpoint calls it active; an answer about
/// another token is an outage.
#[tokio::test]
async fn a_jwt_is_asked_about_once_it_holds() {
    let (folder, world) = (Folder::new(), World::new());
    let loopback = Loopback::start(json!([])).await;
    let mut settings = settings(&loopback, &folder);
    settings.introspection.as_mut().unwrap().always = true;
    let jwt = |changes| RSA.token("RS256", "rs", changes);
    for (what, token, answer, expected, asked) in [
        (
            "active",
            jwt(json!({})),
            json!({"active": true}),
            Ok("ada"),
            1,
        ),
        (
            "with its claims",
            jwt(json!({"jti": "1"})),
            active(json!({"jti": "1", "aud": "other"})),
            Ok("ada"),
            1,
        ),
        (
            "taken back",
            jwt(json!({})),
            json!({"active": false}),
            Err("token_inactive"),
            1,
        ),
        (
            "of another",
            jwt(json!({})),
            active(json!({"sub": "bob"})),
            Err("introspection_answer"),
            1,
        ),
        (
            "of another issuer",
            jwt(json!({})),
            active(json!({"iss": "x"})),
            Err("introspection_answer"),
            1,
        ),
        (
            "another",
            jwt(json!({"jti": "1"})),
            active(json!({"jti": "2"})),
            Err("introspection_answer"),
            1,
        ),
        (
            "down",
            jwt(json!({})),
            json!([]),
            Err("introspection_answer"),
            1,
        ),
        (
            "expired",
            jwt(json!({"exp": NOW - 60})),
            json!({"active": true}),
            Err("token_expired"),
            0,
        ),
        (
            "forged",
            super::super::forge::OTHER_RSA.token("RS256", "rs", json!({})),
            json!({"active": true}),
            Err("token_signature"),
            0,
        ),
        ("opaque", OPAQUE.to_owned(), active(json!({})), Ok("ada"), 1),
    ] {
        let identifier = world.identifier(std::slice::from_ref(&settings), None);
        answers(&loopback, Answer::json(answer));
        let before = times_asked(&loopback);
        for _ in 0..2 {
            let found = verdict(&identifier, &token).await;
            assert_eq!(found.as_deref().map_err(|code| *code), expected, "{what}");
        }
        let times = if expected == Err("introspection_answer") {
            2
        } else {
            asked
        };
        assert_eq!(times_asked(&loopback) - before, times, "{what}");
    }
    // What is remembered of the signature does not stand in for the question.
    let identifier = world.identifier(std::slice::from_ref(&settings), None);
    answers(&loopback, Answer::json(json!({"active": true})));
    let token = jwt(json!({}));
    assert_eq!(verdict(&identifier, &token).await.as_deref(), Ok("ada"));
    world.move_to(NOW + 61);
    answers(&loopback, Answer::json(json!({"active": false})));
    assert_eq!(verdict(&identifier, &token).await, Err("token_inactive"));
}

/// Scenario: each kind of peer that keeps to no bound stands where the endpoint should. Guarantees: each is an outage, and is
/// asked once.
#[tokio::test]
async fn hostile_peers_meet_the_bounds() {
    // Side by side: some are silent until the deadline.
    let mut tried = tokio::task::JoinSet::new();
    for peer in hostile::peers(OutboundBounds::JUDGE) {
        tried.spawn(async move {
            let (folder, world) = (Folder::new(), World::new());
            let loopback = Loopback::start(json!([])).await;
            let served = peer.serve().await;
            let mut settings = settings(&loopback, &folder);
            settings.introspection = Some(asked_at(served.url("/introspect"), &folder));
            let identifier = world.identifier(&[settings], None);
            let found = verdict(&identifier, OPAQUE).await;
            assert_eq!(found, Err("introspection_unavailable"), "{}", peer.what);
            assert_eq!(served.requests(), 1, "{}", peer.what);
        });
    }
    let mut count = 0;
    while let Some(tried) = tried.join_next().await {
        tried.unwrap();
        count += 1;
    }
    assert!(count > 3);
}

/// Scenario: a secret and a key that are not there, a key that cannot sign, an address that may not be asked. Guarantees: a
/// secret is looked for when it is needed, and then we are at fault; what can be told at once is told at once, without
/// what the file holds.
#[tokio::test]
async fn a_proof_that_cannot_be_made_is_our_fault() {
    let (folder, world) = (Folder::new(), World::new());
    let loopback = Loopback::start(json!([])).await;
    let with = |proof| {
        let mut settings = settings(&loopback, &folder);
        settings.introspection.as_mut().unwrap().proof = proof;
        settings
    };
    let missing = ClientProofSettings::Secret(SecretRef::File(folder.join("none")));
    let identifier = world.identifier(&[with(missing)], None);
    assert_eq!(
        verdict(&identifier, OPAQUE).await,
        Err("introspection_client")
    );
    assert_eq!(times_asked(&loopback), 0);
    for (file, algorithm, words) in [
        (folder.join("none"), None, "cannot be read"),
        (
            folder.write("text", "canary"),
            None,
            "holds no PEM private key",
        ),
    ] {
        let key = ClientProofSettings::Key {
            file,
            algorithm,
            key_id: None,
        };
        let opened = Identifier::new(&[with(key)], Vec::new(), world.surroundings.clone(), None);
        let fault = opened.err().unwrap().remove(0);
        let told = crate::causes::chain(&fault);
        assert!(told.contains(words) && !told.contains("canary"), "{told}");
    }
    let far = asked_at("http://idp.example/introspect".to_owned(), &folder);
    let far = IssuerSettings {
        introspection: Some(far),
        ..settings(&loopback, &folder)
    };
    let opened = Identifier::new(&[far], Vec::new(), world.surroundings.clone(), None);
    assert!(opened.is_err());
    // Evidence tells places and certificates apart, so that one answer is never another's.
    let header = crate::accept::AssertionHeader::parse("x-assertion").ok();
    let keys = [
        Evidence::of(OPAQUE.as_bytes(), None, None),
        Evidence::of(&OPAQUE.as_bytes()[1..], None, None),
        Evidence::of(OPAQUE.as_bytes(), header.as_ref(), None),
    ];
    assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[1] != keys[2]);
}
