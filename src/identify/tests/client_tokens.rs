//! Client tokens: who they are, and when they count no more.
//!
//! What it does: judges tokens by several configurations and at several times. What it refuses to know:
//! headers' grammar. Invariant: every refusal is for the expected reason.

use http::HeaderValue;
use serde_json::json;

use super::super::client_token::NewClientToken;
use super::super::client_token_hash::ClientTokenHash;
use super::super::forge::{Answer, Folder, NOW, RSA, World, caller, issuer, verdict};
use super::super::{CLIENT_TOKENS, ClientTokenSettings, Event, Identifier, KeySource, Method};
use crate::accept::{Caller, Carrier, Presented};

fn settings(name: &str, token: &str, until_unix_seconds: Option<i64>) -> ClientTokenSettings {
    let hash = ClientTokenHash::of(token.as_bytes());
    ClientTokenSettings {
        name: name.to_owned(),
        hash,
        binding: format!("{name}-binding"),
        until_unix_seconds,
    }
}

fn carried(token: &str, carrier: Carrier) -> Caller {
    let token = Presented::new(HeaderValue::from_str(token).unwrap(), 0, carrier);
    Caller {
        token: Some(token),
        ..caller(None, None)
    }
}

/// A room with an issuer, and these client tokens.
fn room(
    world: &World,
    tokens: &[ClientTokenSettings],
    previous: Option<&Identifier>,
) -> (Identifier, Folder) {
    let folder = Folder::new();
    let keys = folder.write(
        "jwks.json",
        Answer::keys(json!([RSA.jwk_with(json!({"kid": "k"}))])).body,
    );
    (
        world
            .identifier(&[issuer(KeySource::File(keys))], previous)
            .with_client_tokens(tokens),
        folder,
    )
}

/// Scenario: a known token in either header. Guarantees: its holder is who the configuration says, in each use
/// anew, and each use is told.
#[tokio::test]
async fn a_client_token_is_its_holder() {
    let world = World::new();
    let made = NewClientToken::make().unwrap();
    let (identifier, _folder) = room(&world, &[settings("php", made.expose(), None)], None);
    for carrier in [Carrier::Authorization, Carrier::AccessToken] {
        let identity = identifier
            .identify(carried(made.expose(), carrier))
            .await
            .unwrap();
        let facts = identity.facts();
        assert_eq!(
            (facts.method, facts.method.name()),
            (Method::ClientToken, "client_token")
        );
        assert_eq!((&*facts.issuer, &*facts.subject), (CLIENT_TOKENS, "php"));
        assert_eq!(facts.client_binding.as_deref(), Some("php-binding"));
        assert_eq!(facts.expires_unix_seconds, i64::MAX);
        assert!(facts.groups.is_empty() && facts.claims.is_empty() && facts.certificate.is_none());
    }
    let used = |event: &Event| matches!(event, Event::ClientTokenUsed { name, at } if &**name == "php" && at.0 == NOW * 1000);
    assert_eq!(world.count(used), 2);
    assert_eq!(identifier.tokens.len(), 0);
}

/// Scenario: tokens that are nearly right. Guarantees: nothing but the whole token counts, what begins as a client
/// token is judged as nothing else, and what does not is never looked up.
#[tokio::test]
async fn only_the_whole_token_counts() {
    let world = World::new();
    let made = NewClientToken::make().unwrap();
    let token = made.expose();
    let jwt = RSA.token("RS256", "k", json!({}));
    let opaque = "ingest-token-of-a-project";
    let (identifier, _folder) = room(
        &world,
        &[settings("php", token, None), settings("odd", opaque, None)],
        None,
    );
    let (none_known, _folder) = room(&world, &[], None);
    let unknown = || Err("client_token_unknown");
    for (what, shown, expected) in [
        ("the token", token.to_owned(), Ok("php".to_owned())),
        ("longer", format!("{token}A"), unknown()),
        (
            "shorter",
            token.get(..token.len() - 1).unwrap().to_owned(),
            unknown(),
        ),
        ("upper case", token.to_uppercase(), Err("token_malformed")),
        (
            "without its prefix",
            token.get(3..).unwrap().to_owned(),
            Err("token_malformed"),
        ),
        ("its prefix alone", "lk_".to_owned(), unknown()),
        ("its hash", made.hash.to_string(), Err("token_malformed")),
        (
            "its hash with the prefix",
            format!("lk_{}", made.hash),
            unknown(),
        ),
        ("an issuer's token", jwt.clone(), Ok("ada".to_owned())),
        (
            "an issuer's token behind the prefix",
            format!("lk_{jwt}"),
            unknown(),
        ),
        (
            "a known digest without the prefix",
            opaque.to_owned(),
            Err("token_malformed"),
        ),
        (
            "too large",
            format!("lk_{}", "x".repeat(16 << 10)),
            Err("token_too_large"),
        ),
    ] {
        assert_eq!(verdict(&identifier, &shown).await, expected, "{what}");
    }
    assert_eq!(verdict(&none_known, token).await, unknown());
    let beside = |shown: &str| carried(shown, Carrier::AccessToken);
    let reason = async |caller| {
        identifier
            .identify(caller)
            .await
            .err()
            .map(|rejection| rejection.reason.code())
    };
    assert_eq!(
        reason(beside("lk_wrong")).await,
        Some("client_token_unknown")
    );
    assert_eq!(reason(beside(opaque)).await, Some("no_credential"));
}

/// Scenario: a token's time comes. Guarantees: it is refused from that second on, by the clock of each use.
#[tokio::test]
async fn a_client_token_ends_in_time() {
    let world = World::new();
    let made = NewClientToken::make().unwrap();
    let (identifier, _folder) = room(
        &world,
        &[settings("php", made.expose(), Some(NOW + 60))],
        None,
    );
    for (second, expected) in [
        (NOW + 59, Ok("php".to_owned())),
        (NOW + 60, Err("client_token_expired")),
        (NOW + 61, Err("client_token_expired")),
        (NOW, Ok("php".to_owned())),
    ] {
        world.move_to(second);
        assert_eq!(
            verdict(&identifier, made.expose()).await,
            expected,
            "{}",
            second - NOW
        );
    }
    let identity = identifier
        .identify(caller(Some(made.expose()), None))
        .await
        .unwrap();
    assert_eq!(identity.facts().expires_unix_seconds, NOW + 60);
}

/// Scenario: lines are deleted, exchanged and moved. Guarantees: the next room knows its own lines only, though it
/// takes over what the one before remembered of issuers' tokens.
#[tokio::test]
async fn a_deleted_line_ends_its_token() {
    let world = World::new();
    let (one, other) = (
        NewClientToken::make().unwrap(),
        NewClientToken::make().unwrap(),
    );
    let (first, _folder) = room(&world, &[settings("php", one.expose(), None)], None);
    assert_eq!(verdict(&first, one.expose()).await, Ok("php".to_owned()));
    let (second, _folder) = room(
        &world,
        &[settings("php", other.expose(), None)],
        Some(&first),
    );
    assert_eq!(
        verdict(&second, one.expose()).await,
        Err("client_token_unknown")
    );
    assert_eq!(verdict(&second, other.expose()).await, Ok("php".to_owned()));
    let (third, _folder) = room(
        &world,
        &[settings("cron", one.expose(), None)],
        Some(&second),
    );
    assert_eq!(verdict(&third, one.expose()).await, Ok("cron".to_owned()));
    assert_eq!(verdict(&first, one.expose()).await, Ok("php".to_owned()));
}
