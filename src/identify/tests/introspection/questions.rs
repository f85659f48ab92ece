//! How an issuer is asked, and what it signs: signed answers, JWTs that are asked about besides, peers that keep to no bound, and
//! proofs of ours that cannot be made.
//!
//! What it does: goes on with the parent's endpoint. What it refuses to know: what claims mean. Invariant: compiled for tests
//! only.

use super::*;
use crate::egress::{OutboundBounds, hostile};
use crate::identify::Identifier;
use crate::identify::cache::Evidence;

fn signed(
    header: Value,
    changes: Value,
    key: &crate::identify::forge::TestKey,
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
    let other = &crate::identify::forge::OTHER_RSA;
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
            crate::identify::forge::OTHER_RSA.token("RS256", "rs", json!({})),
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
