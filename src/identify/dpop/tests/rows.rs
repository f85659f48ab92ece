//! One table: what can be wrong with a proof, and with where it is shown. What it refuses to know: nonces.

use super::*;

/// Scenario: a good proof for a good token, with one thing changed in the header, the claims, or the call. Guarantees: exactly
/// the proofs of RFC 9449 section 4.3 are taken, and each other is refused for its own reason.
#[tokio::test]
async fn one_thing_is_wrong() {
    let room = Room::new(&without_nonce(), |_| ());
    let token = room.token(&bound(&P256));
    let long = |bytes: usize| "j".repeat(bytes);
    let none = json!({});
    let private = P256.jwk_with(json!({"d": base64url([1; 32])}));
    let with = |more: Value| json!({ "jwk": P256.jwk_with(more) });
    let (malformed, key, time) = (
        Some("proof_malformed"),
        Some("proof_key"),
        Some("proof_time"),
    );
    let request = Some("proof_request");
    let rows = [
        ("nothing", none.clone(), none.clone(), None),
        (
            "another type",
            json!({"typ": "jwt"}),
            none.clone(),
            malformed,
        ),
        (
            "a type in capitals",
            json!({"typ": "DPOP+JWT"}),
            none.clone(),
            malformed,
        ),
        (
            "a whole media type",
            json!({"typ": "application/dpop+jwt"}),
            none.clone(),
            malformed,
        ),
        ("no type", json!({"typ": null}), none.clone(), malformed),
        (
            "no algorithm",
            json!({"alg": null}),
            none.clone(),
            malformed,
        ),
        ("none", json!({"alg": "none"}), none.clone(), malformed),
        (
            "a shared secret",
            json!({"alg": "HS256"}),
            none.clone(),
            malformed,
        ),
        (
            "an algorithm of other keys",
            json!({"alg": "ES384"}),
            none.clone(),
            key,
        ),
        (
            "an algorithm of RSA keys",
            json!({"alg": "RS256"}),
            none.clone(),
            key,
        ),
        ("no key", json!({"jwk": null}), none.clone(), malformed),
        (
            "a key that is text",
            json!({"jwk": "x"}),
            none.clone(),
            malformed,
        ),
        ("an empty key", json!({"jwk": {}}), none.clone(), key),
        (
            "a secret key",
            json!({"jwk": {"kty": "oct", "k": "AAAA"}}),
            none.clone(),
            key,
        ),
        (
            "a private key",
            json!({ "jwk": private }),
            none.clone(),
            key,
        ),
        (
            "a key with a chain",
            with(json!({"x5c": ["AA"]})),
            none.clone(),
            key,
        ),
        (
            "a key with a chain's address",
            with(json!({"x5u": "https://evil.example"})),
            none.clone(),
            key,
        ),
        (
            "a key with a certificate's digest",
            with(json!({"x5t#S256": "AA"})),
            none.clone(),
            key,
        ),
        (
            "a key to encrypt",
            with(json!({"use": "enc"})),
            none.clone(),
            key,
        ),
        (
            "a key to sign",
            with(json!({"key_ops": ["sign"]})),
            none.clone(),
            key,
        ),
        (
            "a key to verify",
            with(json!({"key_ops": ["verify"], "ext": true, "use": "sig"})),
            none.clone(),
            None,
        ),
        (
            "a key of another algorithm",
            with(json!({"alg": "ES384"})),
            none.clone(),
            key,
        ),
        (
            "a key of this algorithm",
            with(json!({"alg": "ES256", "kid": "mine"})),
            none.clone(),
            None,
        ),
        (
            "a point that is none",
            with(json!({"y": base64url([1; 32])})),
            none.clone(),
            key,
        ),
        (
            "another's key",
            json!({"jwk": forge::P384.jwk()}),
            none.clone(),
            key,
        ),
        (
            "a critical extension",
            json!({"crit": ["x"]}),
            none.clone(),
            malformed,
        ),
        (
            "an unencoded payload",
            json!({"b64": false}),
            none.clone(),
            malformed,
        ),
        (
            "a compressed payload",
            json!({"zip": "DEF"}),
            none.clone(),
            malformed,
        ),
        (
            "a set's address",
            json!({"jku": "https://evil.example"}),
            none.clone(),
            malformed,
        ),
        ("a chain", json!({"x5c": ["AA"]}), none.clone(), malformed),
        ("a key's id", json!({"kid": "k"}), none.clone(), None),
        ("no id", none.clone(), json!({"jti": null}), malformed),
        ("an empty id", none.clone(), json!({"jti": ""}), malformed),
        (
            "an id of 256 bytes",
            none.clone(),
            json!({"jti": long(256)}),
            None,
        ),
        (
            "an id of 257 bytes",
            none.clone(),
            json!({"jti": long(257)}),
            malformed,
        ),
        (
            "an id that is a number",
            none.clone(),
            json!({"jti": 1}),
            malformed,
        ),
        (
            "another method",
            none.clone(),
            json!({"htm": "GET"}),
            request,
        ),
        (
            "the method in small letters",
            none.clone(),
            json!({"htm": "post"}),
            request,
        ),
        ("no method", none.clone(), json!({"htm": null}), malformed),
        (
            "another path",
            none.clone(),
            json!({"htu": "https://gateway.example/v1/logs"}),
            request,
        ),
        (
            "another host",
            none.clone(),
            json!({"htu": "https://other.example/v1/traces"}),
            request,
        ),
        (
            "plain http",
            none.clone(),
            json!({"htu": "http://gateway.example/v1/traces"}),
            request,
        ),
        (
            "a query besides",
            none.clone(),
            json!({"htu": format!("{URL}?a=b")}),
            None,
        ),
        (
            "another spelling",
            none.clone(),
            json!({"htu": "https://Gateway.Example:443/v1/%74races"}),
            None,
        ),
        ("no address", none.clone(), json!({"htu": null}), malformed),
        ("no time", none.clone(), json!({"iat": null}), malformed),
        (
            "a time that is text",
            none.clone(),
            json!({"iat": NOW.to_string()}),
            malformed,
        ),
        (
            "a negative time",
            none.clone(),
            json!({"iat": -1}),
            malformed,
        ),
        (
            "a minute and the leeway ago",
            none.clone(),
            json!({"iat": NOW - 90}),
            None,
        ),
        (
            "a second more",
            none.clone(),
            json!({"iat": NOW - 91}),
            time,
        ),
        (
            "the leeway ahead",
            none.clone(),
            json!({"iat": NOW + 30}),
            None,
        ),
        (
            "a second more ahead",
            none.clone(),
            json!({"iat": NOW + 31}),
            time,
        ),
        (
            "an end in the past",
            none.clone(),
            json!({"exp": NOW - 30}),
            time,
        ),
        (
            "an end within the leeway",
            none.clone(),
            json!({"exp": NOW - 29}),
            None,
        ),
        (
            "a beginning in the future",
            none.clone(),
            json!({"nbf": NOW + 31}),
            time,
        ),
        (
            "no token",
            none.clone(),
            json!({"ath": null}),
            Some("proof_token"),
        ),
        (
            "another token",
            none.clone(),
            json!({"ath": token_hash(b"x")}),
            Some("proof_token"),
        ),
        (
            "the token's hash in hexadecimal",
            none.clone(),
            json!({"ath": "00"}),
            Some("proof_token"),
        ),
        (
            "a token that is a number",
            none.clone(),
            json!({"ath": 1}),
            malformed,
        ),
        (
            "a nonce that nobody gave",
            none.clone(),
            json!({"nonce": "x"}),
            Some("proof_nonce"),
        ),
        (
            "a nonce that is a number",
            none.clone(),
            json!({"nonce": 1}),
            malformed,
        ),
        (
            "more claims",
            none.clone(),
            json!({"iss": "me", "x": {"y": 1}}),
            None,
        ),
    ];
    for (number, (what, header, claims, expected)) in (0..).zip(rows) {
        // Each its own, unless the row is about it.
        let mut claims = members(claims);
        claims
            .entry("jti")
            .or_insert_with(|| json!(format!("row-{number}")));
        let claims = Value::Object(claims);
        let proof = Prover::usual().proof(&token, &header, &claims);
        let proof = presented(&[&proof], &Method::POST, Some(URL));
        let said = room.shows(Carrier::Dpop, &token, Some(proof)).await;
        assert_eq!(code(&said), expected, "{what}");
    }
}

/// Scenario: what is no proof at all, or stands in another number or place. Guarantees: refused with a reason, never a panic;
/// a call without a proof, a second one beside it, and a listener without a name are no way around it.
#[tokio::test]
async fn it_does_not_have_the_form() {
    let room = Room::new(&without_nonce(), |_| ());
    let token = room.token(&bound(&P256));
    let made = |id: &str| Prover::usual().proof(&token, &json!({}), &json!({"jti": id}));
    let good = made("form");
    let [head, claims, signature] =
        <[&str; 3]>::try_from(good.split('.').collect::<Vec<_>>()).unwrap();
    let flipped = {
        let first = if signature.starts_with('A') { "B" } else { "A" };
        format!("{head}.{claims}.{first}{}", signature.split_at(1).1)
    };
    let long = format!("{head}.{claims}.{}", "A".repeat(8 << 10));
    let padded = format!("{head}=.{claims}.{signature}");
    let encrypted = format!("{good}.AA.AA");
    let twice = base64url(r#"{"typ":"dpop+jwt","typ":"dpop+jwt","alg":"ES256","jwk":{}}"#);
    let twice = format!("{twice}.{claims}.{signature}");
    let deep = format!("{}.{claims}.{signature}", base64url("[".repeat(4000)));
    let (malformed, url) = (Some("proof_malformed"), Some(URL));
    type Row<'a> = (&'a str, Vec<&'a str>, Option<&'a str>, Option<&'a str>);
    let rows: [Row; 16] = [
        ("none", vec![], url, Some("proof_missing")),
        ("two", vec![&good, &good], url, malformed),
        ("two that differ", vec![&good, "x"], url, malformed),
        ("empty", vec![""], url, malformed),
        ("a word", vec!["x"], url, malformed),
        ("dots", vec![".."], url, malformed),
        ("two parts", vec!["e30.e30"], url, malformed),
        ("five parts", vec![&encrypted], url, malformed),
        ("padded", vec![&padded], url, malformed),
        ("a member twice", vec![&twice], url, malformed),
        ("nested without end", vec![&deep], url, malformed),
        ("larger than 8 KiB", vec![&long], url, malformed),
        (
            "another signature",
            vec![&flipped],
            url,
            Some("proof_signature"),
        ),
        ("two in one line", vec!["a.b.c, a.b.c"], url, malformed),
        (
            "no name of the listener",
            vec![&good],
            None,
            Some("proof_address"),
        ),
        ("the good one, after all of these", vec![&good], url, None),
    ];
    for (what, lines, url, expected) in rows {
        let proof = presented(&lines, &Method::POST, url);
        let said = room.shows(Carrier::Dpop, &token, Some(proof)).await;
        assert_eq!(code(&said), expected, "{what}");
    }
}

/// Scenario: keys of every kind prove possession. Guarantees: each asymmetric algorithm is taken, and a proof of one key never
/// holds for a token of another.
#[tokio::test]
async fn every_asymmetric_algorithm_proves_possession() {
    let room = Room::new(&without_nonce(), |_| ());
    let rows: [(&'static TestKey, &'static str); 11] = [
        (&RSA, "RS256"),
        (&RSA, "RS384"),
        (&RSA, "RS512"),
        (&RSA, "PS256"),
        (&RSA, "PS384"),
        (&RSA, "PS512"),
        (&P256, "ES256"),
        (&forge::P384, "ES384"),
        (&forge::P521, "ES512"),
        (&forge::ED, "EdDSA"),
        (&forge::ED, "Ed25519"),
    ];
    for (key, algorithm) in rows {
        let prover = Prover { key, algorithm };
        let id = json!({ "jti": algorithm });
        let own = room.token(&bound(key));
        let stolen = room.token(&bound(&forge::OTHER_RSA));
        for (token, expected) in [(&own, None), (&stolen, Some("proof_key"))] {
            let proof = prover.proof(token, &json!({}), &id);
            let proof = presented(&[&proof], &Method::POST, Some(URL));
            let said = room.shows(Carrier::Dpop, token, Some(proof)).await;
            assert_eq!(code(&said), expected, "{algorithm}");
        }
    }
}
