//! Security event tokens, good and forged, and what they end.
//!
//! What it does: lets a transmitter speak of the subjects of one of two issuers. What it refuses to know: how a token came.
//! Invariant: every row names one change to a token that holds, and the exact answer.

use serde_json::{Value, json};

use super::super::forge::{Folder, ISSUER, NOW, OTHER_RSA, RSA, TestKey, World, issuer, verdict};
use super::super::{Identifier, IssuerSettings, KeySource, TransmitterSettings};
use super::desk::Desk;
use crate::reason::Reason;
use crate::secret::SecretRef;

const TRANSMITTER: &str = "https://signals.example/";
const BEARER: &str = "what-was-agreed";
const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";

struct Stage {
    world: World,
    folder: Folder,
    issuers: [IssuerSettings; 2],
    identifier: Identifier,
}

/// `idp` and `other`, with one key; the transmitter `signals` speaks for `idp`.
fn stage(with_bearer: bool) -> Stage {
    let (world, folder) = (World::new(), Folder::new());
    let keys = |name: &str, key: &TestKey| {
        let keys = json!({"keys": [key.jwk_with(json!({"kid": "rs"}))]});
        KeySource::File(folder.write(name, keys.to_string()))
    };
    let idp = issuer(keys("idp.json", &RSA));
    let other = IssuerSettings {
        name: "other".to_owned(),
        issuer: "https://other.example/".to_owned(),
        ..idp.clone()
    };
    let transmitter = transmitter(&folder, with_bearer);
    let issuers = [idp, other];
    let identifier = world.identifier(&issuers, None);
    let identifier = identifier.with_transmitters(&[transmitter], None).unwrap();
    Stage {
        world,
        folder,
        issuers,
        identifier,
    }
}

/// `signals`, which speaks for `idp`.
fn transmitter(folder: &Folder, with_bearer: bool) -> TransmitterSettings {
    let keys = json!({"keys": [OTHER_RSA.jwk_with(json!({"kid": "rs"}))]});
    let keys = KeySource::File(folder.write("signals.json", keys.to_string()));
    let bearer = SecretRef::File(folder.write("bearer", BEARER));
    TransmitterSettings {
        source: IssuerSettings {
            name: "signals".to_owned(),
            issuer: TRANSMITTER.to_owned(),
            audiences: vec!["https://gateway.example".to_owned()],
            ..issuer(keys)
        },
        issuers: vec!["idp".to_owned()],
        token: with_bearer.then_some(bearer),
    }
}

/// A session-revoked about ada, with changes (`null` takes a member away).
fn event(key: &TestKey, header: Value, changes: Value) -> String {
    let whole = [
        json!({"alg": "RS256", "kid": "rs", "typ": "secevent+jwt"}),
        json!({"iss": TRANSMITTER, "aud": "https://gateway.example", "iat": NOW, "jti": "e-1",
               "sub_id": {"format": "iss_sub", "iss": ISSUER, "sub": "ada"},
               "events": {format!("{CAEP}session-revoked"): {"event_timestamp": NOW - 5}}}),
    ];
    key.token_of_changed("RS256", whole, [header, changes])
}

async fn told(identifier: &Identifier, token: &str) -> Result<usize, &'static str> {
    let told = identifier.security_event(token.as_bytes(), None).await;
    told.map(|told| told.revocations.len())
        .map_err(Reason::code)
}

/// Scenario: security event tokens, each wrong in one way. Guarantees: each check of RFC 8417 and of the framework has its
/// line; no other kind of token is one; a subject of an issuer that the transmitter does not speak for is refused.
#[tokio::test]
async fn each_check_of_a_security_event_token() {
    let stage = stage(false);
    let revoked = |event: Value| json!({format!("{CAEP}session-revoked"): event});
    let subject = |subject: Value| json!({ "sub_id": subject });
    let complex = |mut members: Value| {
        members["format"] = json!("complex");
        subject(members)
    };
    for (number, (changes, expected)) in [
        (json!({}), Ok(1)),
        (json!({"aud": ["a", "https://gateway.example"]}), Ok(1)),
        (json!({"txn": "t", "toe": NOW}), Ok(1)),
        (subject(json!({"format": "email", "email": "Ada@acme.example"})), Ok(1)),
        (subject(json!({"format": "opaque", "id": "ada"})), Ok(1)),
        (json!({"events": {"https://other.example/event": {}}}), Ok(0)),
        (json!({"events": {VERIFICATION: {"state": "s"}}, "sub_id": {"format": "opaque", "id": "stream-1"}}), Ok(0)),
        (json!({"events": {VERIFICATION: {}}, "sub_id": null}), Ok(0)),
        (json!({"events": {format!("{CAEP}credential-change"): {"change_type": "revoke"}}}), Ok(1)),
        (json!({"events": {format!("{CAEP}token-claims-change"): {"claims": {"role": "ro"}}}}), Ok(1)),
        (json!({"events": {format!("{CAEP}device-compliance-change"): {}}, "sub_id": {"format": "complex"}}), Ok(0)),
        (json!({"events": revoked(json!({}))}), Ok(1)),
        (json!({"iss": ISSUER}), Err("token_issuer_unknown")),
        (json!({"iss": null}), Err("token_issuer_unknown")),
        (json!({"aud": "https://other.example"}), Err("token_audience")),
        (json!({"aud": null}), Err("token_claims")),
        (json!({"aud": [1]}), Err("token_claims")),
        (json!({"iat": null}), Err("token_claims")),
        (json!({"iat": NOW + 31}), Err("token_not_yet_valid")),
        (json!({"iat": NOW - 24 * 3600}), Ok(1)),
        (json!({"iat": NOW - 25 * 3600}), Err("security_event_old")),
        (json!({"iat": 0}), Err("security_event_old")),
        (json!({"iat": i64::MIN}), Err("token_claims")),
        (json!({"jti": null}), Err("token_claims")),
        (json!({"jti": ""}), Err("token_claims")),
        (json!({"sub": "ada"}), Err("token_type")),
        (json!({"exp": NOW + 60}), Err("token_type")),
        (json!({"events": null}), Err("token_claims")),
        (json!({"events": {}}), Err("token_claims")),
        (json!({"events": []}), Err("token_claims")),
        (json!({"events": revoked(json!(null))}), Err("token_claims")),
        (json!({"events": revoked(json!({"event_timestamp": "now"}))}), Err("token_claims")),
        (json!({"sub_id": null}), Err("token_claims")),
        (subject(json!("ada")), Err("token_claims")),
        (subject(json!({"format": "iss_sub", "iss": ISSUER})), Err("token_claims")),
        (subject(json!({"format": "iss_sub", "iss": ISSUER, "sub": ""})), Err("token_claims")),
        (subject(json!({"format": "email"})), Err("token_claims")),
        (subject(json!({"format": "opaque", "id": "x".repeat(1025)})), Err("token_claims")),
        (complex(json!({"user": {"format": "opaque", "id": "ada"}})), Ok(1)),
        (complex(json!({"session": {"format": "opaque", "id": "s-1"}})), Ok(1)),
        (complex(json!({"user": {"format": "email", "email": "ada@acme.example"}, "session": {"format": "opaque", "id": "s-1"}})), Ok(1)),
        (complex(json!({})), Err("token_claims")),
        (complex(json!({"user": "ada"})), Err("token_claims")),
        (complex(json!({"user": {"format": "opaque"}})), Err("token_claims")),
        (complex(json!({"session": {"format": "email", "email": "ada@acme.example"}})), Err("revocation_subject")),
        (complex(json!({"user": {"format": "complex", "user": {"format": "opaque", "id": "ada"}}})), Err("revocation_subject")),
        (complex(json!({"user": {"format": "opaque", "id": "ada"}, "device": {"format": "opaque", "id": "d-1"}})), Err("revocation_subject")),
        (complex(json!({"user": {"format": "opaque", "id": "ada"}, "tenant": {"format": "opaque", "id": "t-1"}})), Err("revocation_subject")),
        (complex(json!({"device": {"format": "opaque", "id": "d-1"}})), Err("revocation_subject")),
        (complex(json!({"user": {"format": "iss_sub", "iss": "https://other.example/", "sub": "ada"}})), Err("revocation_foreign")),
        (subject(json!({"format": "iss_sub", "iss": "https://other.example/", "sub": "ada"})), Err("revocation_foreign")),
        (subject(json!({"format": "iss_sub", "iss": TRANSMITTER, "sub": "ada"})), Err("revocation_foreign")),
    ]
    .into_iter()
    .enumerate()
    {
        let mut changes = changes;
        if changes.get("jti").is_none() {
            changes["jti"] = json!(format!("c-{number}"));
        }
        let token = event(&OTHER_RSA, json!({}), changes.clone());
        assert_eq!(told(&stage.identifier, &token).await, expected, "{changes}");
    }
    for (number, (header, expected)) in [
        (json!({"typ": "application/secevent+jwt"}), Ok(1)),
        (json!({"typ": "JWT"}), Err("token_type")),
        (json!({"typ": null}), Err("token_type")),
        (json!({"typ": "logout+jwt"}), Err("token_type")),
        (json!({"alg": "none"}), Err("token_algorithm")),
        (json!({"kid": "rs-2"}), Err("token_key_unknown")),
    ]
    .into_iter()
    .enumerate()
    {
        let changes = json!({"jti": format!("h-{number}")});
        let token = event(&OTHER_RSA, header.clone(), changes);
        assert_eq!(told(&stage.identifier, &token).await, expected, "{header}");
    }
    // The issuer's own key is not the transmitter's, and the transmitter's tokens identify no caller.
    let forged = event(&RSA, json!({}), json!({"jti": "f"}));
    assert_eq!(
        told(&stage.identifier, &forged).await,
        Err("token_signature")
    );
    let caller = OTHER_RSA.token(
        "RS256",
        "rs",
        json!({"iss": TRANSMITTER, "aud": "https://gateway.example"}),
    );
    assert_eq!(
        verdict(&stage.identifier, &caller).await,
        Err("token_issuer_unknown")
    );
    for token in ["", "a.b.c", &"a".repeat(65 << 10)] {
        assert!(told(&stage.identifier, token).await.is_err());
    }
}

/// Scenario: a token comes twice, and an earlier reading's transmitter after a reload. Guarantees: the second is told as such and
/// changes nothing; what was heard outlives the reload, with keys and memory.
#[tokio::test]
async fn a_token_that_comes_again_is_acknowledged() {
    let stage = stage(false);
    let token = event(&OTHER_RSA, json!({}), json!({}));
    let first = stage
        .identifier
        .security_event(token.as_bytes(), None)
        .await
        .unwrap();
    assert!(!first.is_repeated && first.revocations.len() == 1);
    let again = stage
        .identifier
        .security_event(token.as_bytes(), None)
        .await
        .unwrap();
    assert!(again.is_repeated && again.revocations.is_empty());
    let fresh = stage
        .world
        .identifier(&stage.issuers, Some(&stage.identifier));
    assert_eq!(told(&fresh, &token).await, Err("token_issuer_unknown"));
    let ada = RSA.token("RS256", "rs", json!({}));
    assert_eq!(verdict(&fresh, &ada).await, Err("proof_revoked"));
    drop(stage.folder);
}

/// Scenario: sessions live for a week and tokens for a day; events about ada come after days. Guarantees: one is taken as long as
/// there may be a session that it ends, and remembered until the last session of its time is over.
#[tokio::test]
async fn an_event_is_remembered_as_long_as_sessions_live() {
    const HOUR: i64 = 3600;
    let week = std::time::Duration::from_secs(168 * 3600);
    let desk = Desk::open_with(|settings, _| settings.lifetime = week).await;
    let transmitters = [transmitter(&desk.folder, false)];
    let room = desk.identifier.with_transmitters(&transmitters, None);
    let room = room.unwrap();
    for (hours, expected) in [
        (0, Ok(vec![NOW + 168 * HOUR])),
        (167, Ok(vec![NOW + 168 * HOUR])),
        (169, Err(Reason::SecurityEventOld)),
    ] {
        let changes = json!({"iat": NOW - hours * HOUR, "jti": format!("old {hours}"),
                             "sub_id": {"format": "opaque", "id": "ada"}});
        let token = event(&OTHER_RSA, json!({}), changes);
        let told = room.security_event(token.as_bytes(), None).await;
        let until: Result<Vec<i64>, Reason> =
            told.map(|told| told.revocations.iter().map(|one| one.until).collect());
        assert_eq!(until, expected, "{hours} hours");
    }
}

/// Scenario: the push must show a bearer token. Guarantees: without it, or with another, nothing is taken.
#[tokio::test]
async fn a_push_shows_what_was_agreed() {
    let stage = stage(true);
    let token = event(&OTHER_RSA, json!({}), json!({}));
    for shown in [
        None,
        Some(&b""[..]),
        Some(b"what-was-agree"),
        Some(b"what-was-agreed?"),
    ] {
        let told = stage
            .identifier
            .security_event(token.as_bytes(), shown)
            .await;
        assert_eq!(told.err(), Some(Reason::PushUnproven), "{shown:?}");
    }
    let ada = RSA.token("RS256", "rs", json!({}));
    assert_eq!(verdict(&stage.identifier, &ada).await, Ok("ada".to_owned()));
    let told = stage
        .identifier
        .security_event(token.as_bytes(), Some(BEARER.as_bytes()))
        .await;
    assert!(told.is_ok_and(|told| told.revocations.len() == 1));
}

/// Scenario: tokens of ada, of her with another address, of eve, and of ada at the other issuer, all in the cache; then one event.
/// Guarantees: what was issued before the event's time ends, for the subject in each form; what was issued later, other
/// subjects, and the other issuer's do not; a time in the future ends nothing of the future.
#[tokio::test]
async fn an_event_ends_what_was_issued_before_it() {
    let far = NOW + 1_000_000;
    for (what, subject, at, ends) in [
        (
            "iss_sub",
            json!({"format": "iss_sub", "iss": ISSUER, "sub": "ada"}),
            NOW - 5,
            [true, false, false, false],
        ),
        (
            "opaque",
            json!({"format": "opaque", "id": "ada"}),
            NOW - 5,
            [true, false, false, false],
        ),
        (
            "email",
            json!({"format": "email", "email": "ADA@acme.example"}),
            NOW - 5,
            [true, false, false, false],
        ),
        (
            "iss_sub, earlier",
            json!({"format": "iss_sub", "iss": ISSUER, "sub": "ada"}),
            NOW - 11,
            [false; 4],
        ),
        (
            "iss_sub, the same second",
            json!({"format": "iss_sub", "iss": ISSUER, "sub": "ada"}),
            NOW - 10,
            [true, false, false, false],
        ),
        (
            "iss_sub, in the future",
            json!({"format": "iss_sub", "iss": ISSUER, "sub": "ada"}),
            far,
            [true, true, false, false],
        ),
        (
            "another",
            json!({"format": "email", "email": "eve@acme.example"}),
            NOW - 5,
            [false, false, true, false],
        ),
    ] {
        let stage = stage(false);
        let tokens = [
            json!({"email": "ada@acme.example"}),
            json!({"email": "ada@acme.example", "iat": NOW - 4}),
            json!({"sub": "eve", "email": "Eve@acme.example"}),
            json!({"iss": "https://other.example/", "email": "ada@acme.example"}),
        ]
        .map(|mut claims| {
            claims["email_verified"] = json!(true);
            RSA.token("RS256", "rs", claims)
        });
        for token in &tokens {
            assert!(verdict(&stage.identifier, token).await.is_ok(), "{what}");
        }
        let changes = json!({"sub_id": subject, "events": {format!("{CAEP}session-revoked"): {"event_timestamp": at}}});
        let token = event(&OTHER_RSA, json!({}), changes);
        assert_eq!(told(&stage.identifier, &token).await, Ok(1), "{what}");
        for (token, ends) in tokens.iter().zip(ends) {
            let judged = verdict(&stage.identifier, token).await;
            assert_eq!(judged == Err("proof_revoked"), ends, "{what}: {judged:?}");
        }
        // A minute later, a token of that minute.
        stage.world.move_to(NOW + 60);
        let later = RSA.token("RS256", "rs", json!({"iat": NOW + 60, "exp": NOW + 300}));
        assert!(verdict(&stage.identifier, &later).await.is_ok(), "{what}");
    }
}

/// Scenario: ada has tokens of two sessions and of none, eve has one that names the first session, too; then one event about a
/// complex subject. Guarantees: what all named members fit has ended, and nothing else.
#[tokio::test]
async fn a_complex_subject_means_all_its_members_at_once() {
    let opaque = |id: &str| json!({"format": "opaque", "id": id});
    let account = json!({"format": "iss_sub", "iss": ISSUER, "sub": "ada"});
    let email = json!({"format": "email", "email": "ADA@acme.example"});
    for (what, members, ends) in [
        (
            "a user",
            json!({"user": account}),
            [true, true, true, false],
        ),
        (
            "a session",
            json!({"session": opaque("s-1")}),
            [true, false, false, true],
        ),
        (
            "both",
            json!({"user": account, "session": opaque("s-1")}),
            [true, false, false, false],
        ),
        (
            "by address",
            json!({"user": email, "session": opaque("s-2")}),
            [false, true, false, false],
        ),
        (
            "agreed on",
            json!({"user": opaque("eve"), "session": opaque("s-1")}),
            [false, false, false, true],
        ),
        (
            "no such pair",
            json!({"user": opaque("eve"), "session": opaque("s-2")}),
            [false; 4],
        ),
        (
            "shifted",
            json!({"user": opaque("adas"), "session": opaque("-1")}),
            [false; 4],
        ),
    ] {
        let stage = stage(false);
        let tokens = [
            json!({"email": "ada@acme.example", "sid": "s-1"}),
            json!({"email": "ada@acme.example", "sid": "s-2"}),
            json!({"email": "ada@acme.example"}),
            json!({"sub": "eve", "email": "eve@acme.example", "sid": "s-1"}),
        ]
        .map(|mut claims| {
            claims["email_verified"] = json!(true);
            RSA.token("RS256", "rs", claims)
        });
        let mut subject = members;
        subject["format"] = json!("complex");
        let token = event(&OTHER_RSA, json!({}), json!({ "sub_id": subject }));
        assert_eq!(told(&stage.identifier, &token).await, Ok(1), "{what}");
        for (number, (token, ends)) in tokens.iter().zip(ends).enumerate() {
            let judged = verdict(&stage.identifier, token).await;
            assert_eq!(
                judged == Err("proof_revoked"),
                ends,
                "{what} {number}: {judged:?}"
            );
        }
    }
}

/// Scenario: a transmitter whose secret is not there, and one that speaks for an issuer that is not. Guarantees: both are told,
/// and the room is not made.
#[tokio::test]
async fn faults_of_transmitters_are_told_together() {
    let stage = stage(false);
    let source = IssuerSettings {
        name: "signals".to_owned(),
        issuer: TRANSMITTER.to_owned(),
        ..stage.issuers[0].clone()
    };
    let lacking = [
        TransmitterSettings {
            source: source.clone(),
            issuers: vec!["idp".to_owned()],
            token: Some(SecretRef::File(stage.folder.join("none"))),
        },
        TransmitterSettings {
            source,
            issuers: vec!["nowhere".to_owned()],
            token: None,
        },
    ];
    let fresh = stage.world.identifier(&stage.issuers, None);
    let faults = fresh.with_transmitters(&lacking, None).err().unwrap();
    let told: Vec<String> = faults
        .iter()
        .map(|fault| crate::causes::chain(fault))
        .collect();
    assert!(
        told[0].contains("ssf `signals`: token")
            && told[1].contains("there is no issuer `nowhere`"),
        "{told:?}"
    );
}
