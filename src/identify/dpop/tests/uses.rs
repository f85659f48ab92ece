//! Where tokens and proofs are used: schemes, other tokens, again. What it refuses to know: the form of a proof.

use super::*;

/// Scenario: bound and unbound tokens by each scheme, with and without a proof. Guarantees: a bound token is no bearer token,
/// an unbound one proves nothing by a proof, and a proof stands beside nothing else; where an issuer's tokens must be bound,
/// no other counts.
#[tokio::test]
async fn each_token_comes_by_its_own_scheme() {
    let open = Room::new(&without_nonce(), |_| ());
    let strict = Room::new(&without_nonce(), |issuer| issuer.dpop_required = true);
    let (key, nothing) = (bound(&P256), json!(null));
    let unknown = json!({"jkt": thumbprint(&P256).text(), "kid": "x"});
    let bearer = Carrier::Authorization;
    let (unbound, wrong) = (Some("token_unbound"), Some("token_bound"));
    let rows = [
        ("bound, by proof", &key, Carrier::Dpop, true, None, None),
        (
            "bound, as bearer",
            &key,
            bearer.clone(),
            false,
            wrong,
            wrong,
        ),
        (
            "bound, in the backend's header",
            &key,
            Carrier::AccessToken,
            false,
            wrong,
            wrong,
        ),
        (
            "unbound, by proof",
            &nothing,
            Carrier::Dpop,
            true,
            unbound,
            unbound,
        ),
        (
            "unbound, as bearer",
            &nothing,
            bearer.clone(),
            false,
            None,
            unbound,
        ),
        (
            "bound, as bearer with a proof",
            &key,
            bearer.clone(),
            true,
            Some("proof_scheme"),
            Some("proof_scheme"),
        ),
        (
            "unbound, as bearer with a proof",
            &nothing,
            bearer,
            true,
            Some("proof_scheme"),
            Some("proof_scheme"),
        ),
        (
            "bound, in the backend's header with a proof",
            &key,
            Carrier::AccessToken,
            true,
            Some("proof_scheme"),
            Some("proof_scheme"),
        ),
        (
            "bound to something unknown besides",
            &unknown,
            Carrier::Dpop,
            true,
            wrong,
            wrong,
        ),
    ];
    // Twice, because the second time the token is remembered.
    for round in 0..2 {
        for (number, (what, cnf, carrier, with_proof, in_open, in_strict)) in (0..).zip(&rows) {
            for (room, expected) in [(&open, in_open), (&strict, in_strict)] {
                let token = room.token(cnf);
                let id = json!({"jti": format!("{round}-{number}")});
                let proof = Prover::usual().proof(&token, &json!({}), &id);
                let proof = with_proof.then(|| presented(&[&proof], &Method::POST, Some(URL)));
                let said = room.shows(carrier.clone(), &token, proof).await;
                assert_eq!(code(&said), *expected, "{what}, round {round}");
            }
        }
    }
    let caller = |token: Option<Presented>| Caller {
        token,
        proof: Some(Box::new(presented(&["x"], &Method::POST, Some(URL)))),
        ..forge::caller(None, None)
    };
    let own = Presented::new(
        HeaderValue::from_static("lk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        0,
        Carrier::Dpop,
    );
    assert_eq!(
        code(&open.identifier.identify(caller(None)).await),
        Some("proof_scheme"),
        "alone"
    );
    let said = open.identifier.identify(caller(Some(own))).await;
    assert_eq!(code(&said), Some("token_unbound"), "a client token");
}

/// Scenario: one proof is shown again, for a token that is remembered; and what was made for one call is shown with another.
/// Guarantees: a proof passes once within its time, whatever else was refused in between; a remembered token is good for
/// nothing without a proof of its own call; refused proofs take no room.
#[tokio::test]
async fn a_proof_is_for_one_call() {
    let room = Room::new(&without_nonce(), |_| ());
    let (first, second) = (room.token(&bound(&P256)), {
        let cnf = bound(&P256);
        RSA.token("RS256", "k", json!({"cnf": cnf, "sub": "ben"}))
    });
    let make =
        |token: &str, id: &str| Prover::usual().proof(token, &json!({}), &json!({ "jti": id }));
    let (one, two) = (make(&first, "1"), make(&first, "2"));
    let (post, get) = (Method::POST, Method::GET);
    let elsewhere = "https://gateway.example/v1/logs";
    let another = "https://other.example/v1/traces";
    let rows = [
        (
            "another method",
            &first,
            &one,
            &get,
            URL,
            Some("proof_request"),
        ),
        (
            "another address",
            &first,
            &one,
            &post,
            elsewhere,
            Some("proof_request"),
        ),
        (
            "another gateway",
            &first,
            &one,
            &post,
            another,
            Some("proof_request"),
        ),
        (
            "another token of the same key",
            &second,
            &one,
            &post,
            URL,
            Some("proof_token"),
        ),
        ("its own call", &first, &one, &post, URL, None),
        ("again", &first, &one, &post, URL, Some("proof_replayed")),
        ("a second proof", &first, &two, &post, URL, None),
        ("again", &first, &two, &post, URL, Some("proof_replayed")),
        (
            "the first again",
            &first,
            &one,
            &post,
            URL,
            Some("proof_replayed"),
        ),
    ];
    for (what, token, proof, method, url, expected) in rows {
        let said = room
            .shows(
                Carrier::Dpop,
                token,
                Some(presented(&[proof], method, Some(url))),
            )
            .await;
        assert_eq!(code(&said), expected, "{what}");
    }
    let used: usize = room
        .identifier
        .memory
        .proofs
        .iter()
        .map(|used| used.len())
        .sum();
    assert_eq!(used, 2, "refused proofs take no room");
    // A reload keeps what was used.
    let reloaded = room
        .world
        .identifier(std::slice::from_ref(&room.settings), Some(&room.identifier));
    let reloaded = reloaded
        .with_possession(&without_nonce(), Some(&room.identifier))
        .unwrap();
    let room = Room {
        identifier: reloaded,
        ..room
    };
    let said = room
        .shows(
            Carrier::Dpop,
            &first,
            Some(presented(&[&one], &post, Some(URL))),
        )
        .await;
    assert_eq!(code(&said), Some("proof_replayed"), "after a reload");
    // When it would be too old anyway, its room is free again.
    room.world.move_to(NOW + 91);
    let said = room
        .shows(
            Carrier::Dpop,
            &first,
            Some(presented(&[&one], &post, Some(URL))),
        )
        .await;
    assert_eq!(code(&said), Some("proof_time"));
}

/// Scenario: ada shows one proof of a key, and then as many of another key as one identity has room for. Guarantees: both keys
/// share the room, so that no number of keys fills a share; the first proof stays used; another identity's proofs hold.
#[tokio::test]
async fn the_keys_of_one_identity_share_its_room() {
    const ROOM: usize = 2048;
    let room = Room::new(&without_nonce(), |_| ());
    let shares = room.identifier.memory.proofs.len();
    let share = |key: &TestKey| thumbprint(key).share(shares);
    let second: &'static TestKey = loop {
        let key = forge::another_p256();
        if share(&key) == share(&P256) {
            break Box::leak(Box::new(key));
        }
    };
    let of = |key: &'static TestKey, subject: &str| {
        let token = RSA.token("RS256", "k", json!({ "cnf": bound(key), "sub": subject }));
        let algorithm = "ES256";
        (Prover { key, algorithm }, token)
    };
    let shows = async |(prover, token): &(Prover, String), id: &str, issued: i64| {
        let claims = json!({"jti": id, "iat": issued});
        let proof = prover.proof(token, &json!({}), &claims);
        let proof = presented(&[&proof], &Method::POST, Some(URL));
        code(&room.shows(Carrier::Dpop, token, Some(proof)).await)
    };
    let (first, flood, other) = (of(&P256, "ada"), of(second, "ada"), of(second, "ben"));
    assert_eq!(shows(&first, "first", NOW - 5).await, None);
    for number in 0..ROOM {
        let id = format!("flood {number}");
        assert_eq!(shows(&flood, &id, NOW).await, None, "{number}");
    }
    let used = room.identifier.memory.proofs.iter();
    let used: usize = used.map(|used| used.len()).sum();
    assert_eq!(used, ROOM, "one identity has one room");
    assert_eq!(
        shows(&first, "first", NOW - 5).await,
        Some("proof_replayed")
    );
    assert_eq!(shows(&other, "other", NOW - 5).await, None);
}

/// Scenario: a token ends, and its proofs go on. Guarantees: the best proof makes no token live longer.
#[tokio::test]
async fn a_proof_keeps_no_token_alive() {
    let room = Room::new(&without_nonce(), |_| ());
    let token = room.token(&bound(&P256));
    for (at, expected) in [
        (NOW, None),
        (NOW + 329, None),
        (NOW + 330, Some("token_expired")),
    ] {
        room.world.move_to(at);
        let claims = json!({"jti": at.to_string(), "iat": at});
        let proof = Prover::usual().proof(&token, &json!({}), &claims);
        let said = room
            .shows(
                Carrier::Dpop,
                &token,
                Some(presented(&[&proof], &Method::POST, Some(URL))),
            )
            .await;
        assert_eq!(code(&said), expected, "{at}");
    }
}
