//! Nonces: given, demanded, forged, old, of other replicas. What it refuses to know: headers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::super::nonce::{NonceKeys, NonceState};
use super::*;
use crate::secret::SecretRef;

fn shared(folder: &Folder, bytes: &[u8]) -> Vec<SecretRef> {
    let file = |byte: &u8| folder.write(&format!("key-{byte}"), STANDARD.encode([*byte; 32]));
    bytes
        .iter()
        .map(|byte| SecretRef::File(file(byte)))
        .collect()
}

/// What the room says to a proof with this nonce and id: the reason against it, and the next nonce.
async fn shows(
    room: &Room,
    id: &str,
    nonce: Option<&str>,
) -> (Option<&'static str>, Option<String>) {
    let token = room.token(&bound(&P256));
    let claims = json!({"jti": id, "nonce": nonce});
    let proof = Prover::usual().proof(&token, &json!({}), &claims);
    let proof = presented(&[&proof], &Method::POST, Some(URL));
    let said = room.shows(Carrier::Dpop, &token, Some(proof)).await;
    let next = match &said {
        Ok(identity) => identity.nonce().cloned(),
        Err(rejection) => rejection.nonce.clone(),
    };
    (code(&said), next.map(|nonce| nonce.text().to_owned()))
}

/// Scenario: replicas with shared keys and without, each of which remembers proofs or pins them. Guarantees: a proof without
/// a nonce hears one and passes with it; a nonce of another replica counts where proofs are remembered locally and keys are
/// shared, and nowhere else; each answer brings the next one; a refusal for want of a nonce uses no proof up.
#[tokio::test]
async fn a_nonce_is_demanded_given_and_good_where_it_should_be() {
    let folder = Folder::new();
    let keys = shared(&folder, &[1, 2]);
    let turned = shared(&folder, &[2, 1]);
    let other = shared(&folder, &[3]);
    let (local, pinned) = (ProofReplay::Local, ProofReplay::Pinned);
    for (what, replay, here, there, crosses) in [
        ("local, shared keys", local, &keys, &keys, true),
        ("local, rotating keys", local, &keys, &turned, true),
        ("local, other keys", local, &keys, &other, false),
        ("local, no keys", local, &Vec::new(), &Vec::new(), false),
        ("pinned, shared keys", pinned, &keys, &keys, false),
        ("pinned, no keys", pinned, &Vec::new(), &Vec::new(), false),
    ] {
        let room = |keys: &[SecretRef]| {
            let settings = DpopSettings {
                replay,
                nonce_optional: false,
                keys: keys.to_vec(),
            };
            Room::new(&settings, |_| ())
        };
        let (one, two) = (room(here), room(there));
        let (refused, nonce) = shows(&one, "1", None).await;
        assert_eq!(refused, Some("proof_nonce"), "{what}");
        let nonce = nonce.unwrap();
        let (refused, next) = shows(&one, "1", Some(&nonce)).await;
        assert_eq!(refused, None, "{what}: the same proof with the nonce");
        assert_ne!(next.as_ref(), Some(&nonce), "{what}");
        let (refused, _) = shows(&one, "2", Some(&next.unwrap())).await;
        assert_eq!(refused, None, "{what}: the next one");
        assert_eq!(
            shows(&one, "1", Some(&nonce)).await.0,
            Some("proof_replayed"),
            "{what}"
        );
        let (refused, own) = shows(&two, "1", Some(&nonce)).await;
        let expected = (!crosses).then_some("proof_nonce");
        assert_eq!(refused, expected, "{what}: at the other replica");
        assert_eq!(
            shows(&two, "3", own.as_deref()).await.0,
            None,
            "{what}: with its own nonce"
        );
    }
}

/// Scenario: time passes, and settings are read again. Guarantees: a nonce lives a minute; a reload keeps those that were
/// given, with keys or without, as long as the key that sealed them is there.
#[tokio::test]
async fn a_nonce_lives_a_minute_and_over_a_reload() {
    let folder = Folder::new();
    let of = |keys: &[SecretRef]| DpopSettings {
        keys: keys.to_vec(),
        replay: ProofReplay::Pinned,
        nonce_optional: false,
    };
    let (with, without, gone) = (shared(&folder, &[1]), Vec::new(), shared(&folder, &[2]));
    for (what, before, after, later, expected) in [
        ("a minute, no keys", &without, &without, 60, None),
        (
            "a second more, no keys",
            &without,
            &without,
            61,
            Some("proof_nonce"),
        ),
        ("a minute, keys", &with, &with, 60, None),
        ("a second more, keys", &with, &with, 61, Some("proof_nonce")),
        ("the key is gone", &with, &gone, 1, Some("proof_nonce")),
        ("keys come", &without, &with, 1, Some("proof_nonce")),
    ] {
        let room = Room::new(&of(before), |_| ());
        let nonce = shows(&room, "1", None).await.1.unwrap();
        let reloaded = room
            .world
            .identifier(std::slice::from_ref(&room.settings), Some(&room.identifier));
        let identifier = reloaded
            .with_possession(&of(after), Some(&room.identifier))
            .unwrap();
        let room = Room { identifier, ..room };
        room.world.move_to(NOW + later);
        let token = room.token(&bound(&P256));
        let claims = json!({"jti": "2", "nonce": nonce, "iat": NOW + later});
        let proof = Prover::usual().proof(&token, &json!({}), &claims);
        let proof = presented(&[&proof], &Method::POST, Some(URL));
        assert_eq!(
            code(&room.shows(Carrier::Dpop, &token, Some(proof)).await),
            expected,
            "{what}"
        );
    }
}

/// Scenario: nonces that are cut, changed, of another key or of a session. Guarantees: none is good, and none panics.
#[test]
fn what_is_no_nonce_is_bad() {
    let folder = Folder::new();
    let keys = NonceKeys::read(&shared(&folder, &[1]), None).unwrap();
    let (mine, other) = (thumbprint(&P256), thumbprint(&RSA));
    let good = keys.give(&mine, now()).unwrap().text().to_owned();
    let later = UnixMillis((NOW + 31) * 1000);
    let ahead = keys.give(&mine, later).unwrap().text().to_owned();
    let changed = |at: usize| {
        let mut text = good.clone().into_bytes();
        text[at] = if text[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(text).unwrap()
    };
    assert_eq!(keys.state(&good, &mine, now()), NonceState::Ours);
    assert_eq!(
        keys.state(&good, &other, now()),
        NonceState::Bad,
        "of another key"
    );
    assert_eq!(
        keys.state(&ahead, &mine, now()),
        NonceState::Bad,
        "from the future"
    );
    assert_eq!(
        keys.state(&ahead, &mine, UnixMillis((NOW + 1) * 1000)),
        NonceState::Ours
    );
    for at in 0..good.len() {
        assert_eq!(
            keys.state(&changed(at), &mine, now()),
            NonceState::Bad,
            "byte {at}"
        );
        assert_eq!(
            keys.state(good.split_at(at).0, &mine, now()),
            NonceState::Bad,
            "cut at {at}"
        );
    }
    for text in [
        &format!("{good}="),
        &format!("{good}A"),
        &"A".repeat(100_000),
    ] {
        assert_eq!(keys.state(text, &mine, now()), NonceState::Bad);
    }
    // The session's own key does not open it: what seals nonces is derived from it.
    let again = NonceKeys::read(&shared(&folder, &[1]), None).unwrap();
    assert_eq!(again.state(&good, &mine, now()), NonceState::OfReplica);
}

proptest! {
    /// Guarantees: whatever is shown as a nonce, it is bad and nothing panics.
    #[test]
    fn any_text_is_judged(text in ".{0,200}") {
        let keys = NonceKeys::read(&[], None).unwrap();
        prop_assert_eq!(keys.state(&text, &thumbprint(&P256), now()), NonceState::Bad);
    }

    /// Guarantees: whatever stands in the header, it is no proof and nothing panics.
    #[test]
    fn any_line_is_judged(line in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(super::super::proof::Proof::parse(&line).is_err());
    }
}
