//! Key sets that may enter, and those that must not.
//!
//! What it does: one table for each kind of key, with the bounds of what is taken. What it refuses to know: tokens. Invariant:
//! each row changes one thing of a sound key.

use serde_json::json;

use super::super::forge::{ED, OTHER_RSA, P256, P384, P521, RSA, TestKey, base64url};
use super::*;

fn usable(jwk: Value, allowed: &[&str]) -> Option<Algorithm> {
    let allowed: Vec<_> = allowed
        .iter()
        .map(|name| Algorithm::parse(name).unwrap())
        .collect();
    let set = KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes(), &allowed).ok()?;
    Some(set.keys[0].algorithm)
}

#[test]
fn one_key_has_one_algorithm() {
    for (jwk, allowed, expected) in [
        (RSA.jwk(), vec!["RS256", "PS256"], Some(Algorithm::Rs256)),
        (RSA.jwk(), vec!["PS512", "RS256"], Some(Algorithm::Ps512)),
        (RSA.jwk(), vec!["ES256"], None),
        (
            RSA.jwk_with(json!({"alg": "PS256"})),
            vec!["RS256", "PS256"],
            Some(Algorithm::Ps256),
        ),
        (RSA.jwk_with(json!({"alg": "PS256"})), vec!["RS256"], None),
        (
            RSA.jwk_with(json!({"alg": "ES256"})),
            vec!["RS256", "ES256"],
            None,
        ),
        (
            RSA.jwk_with(json!({"alg": "RSA-OAEP"})),
            vec!["RS256"],
            None,
        ),
        (RSA.jwk_with(json!({"alg": "HS256"})), vec!["RS256"], None),
        (P256.jwk(), vec!["ES256"], Some(Algorithm::Es256)),
        (
            P256.jwk_with(json!({"alg": "ES384"})),
            vec!["ES256", "ES384"],
            None,
        ),
        (
            P256.jwk_with(json!({"crv": "P-384"})),
            vec!["ES256", "ES384"],
            None,
        ),
        (
            P256.jwk_with(json!({"crv": "secp256k1"})),
            vec!["ES256"],
            None,
        ),
        (P521.jwk(), vec!["ES512"], Some(Algorithm::Es512)),
        (ED.jwk(), vec!["EdDSA"], Some(Algorithm::Ed25519)),
        (ED.jwk_with(json!({"crv": "X25519"})), vec!["EdDSA"], None),
    ] {
        assert_eq!(usable(jwk.clone(), &allowed), expected, "{jwk} {allowed:?}");
    }
}

/// Scenario: sets in which one id stands more than once. Guarantees: id and algorithm together find a key or nothing; the
/// same key twice is one; two different keys of one id and algorithm are none, and an entry that must not be used takes
/// the others of its id along.
#[test]
fn an_id_may_stand_for_one_key_of_each_algorithm() {
    let a = |members: Value| {
        let mut jwk = RSA.jwk_with(json!({"kid": "a"}));
        jwk.as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        jwk
    };
    let b = |members: Value| {
        let mut jwk = OTHER_RSA.jwk_with(json!({"kid": "a"}));
        jwk.as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        jwk
    };
    let all =
        ["RS256", "RS384", "PS256", "ES256", "EdDSA"].map(|name| Algorithm::parse(name).unwrap());
    let named = |alg: &str| a(json!({ "alg": alg }));
    for (what, keys, found) in [
        (
            "a key once for each algorithm",
            json!([named("RS256"), named("RS384"), named("PS256")]),
            "RS256 RS384 PS256",
        ),
        (
            "one not allowed beside",
            json!([named("RS256"), named("RS512")]),
            "RS256",
        ),
        (
            "one unknown beside",
            json!([named("RS256"), named("RSA-OAEP-256"), named("RS1")]),
            "RS256",
        ),
        (
            "one for encryption beside",
            json!([named("RS256"), b(json!({"alg": "RS256", "use": "enc"}))]),
            "RS256",
        ),
        ("twins", json!([named("RS256"), named("RS256")]), "RS256"),
        (
            "twins, one with `use`",
            json!([named("RS256"), a(json!({"alg": "RS256", "use": "sig"}))]),
            "RS256",
        ),
        (
            "triplets",
            json!([named("RS256"), named("RS256"), named("RS256")]),
            "RS256",
        ),
        (
            "two keys for two algorithms",
            json!([named("RS256"), b(json!({"alg": "PS256"}))]),
            "RS256 PS256",
        ),
        (
            "two kinds",
            json!([named("RS256"), P256.jwk_with(json!({"kid": "a"}))]),
            "RS256 ES256",
        ),
        (
            "two keys, one algorithm",
            json!([named("RS256"), b(json!({"alg": "RS256"}))]),
            "",
        ),
        (
            "two keys, one of them twice",
            json!([named("RS256"), named("RS256"), b(json!({"alg": "RS256"}))]),
            "",
        ),
        (
            "two keys, and another algorithm",
            json!([named("RS256"), b(json!({"alg": "RS256"})), named("PS256")]),
            "PS256",
        ),
        (
            "without `alg`, twice",
            json!([a(json!({})), a(json!({}))]),
            "RS256",
        ),
        (
            "without `alg`, then with the usual one",
            json!([a(json!({})), named("RS256")]),
            "RS256",
        ),
        (
            "without `alg`, then with another",
            json!([a(json!({})), named("PS256")]),
            "PS256",
        ),
        (
            "with `alg`, then without",
            json!([named("PS256"), a(json!({}))]),
            "PS256",
        ),
        (
            "without `alg`, and another key with",
            json!([a(json!({})), b(json!({"alg": "PS256"}))]),
            "",
        ),
        (
            "without `alg`, and another key without",
            json!([a(json!({})), b(json!({}))]),
            "",
        ),
        (
            "two curves' keys without `alg`",
            json!([a(json!({})), P256.jwk_with(json!({"kid": "a"}))]),
            "RS256 ES256",
        ),
        (
            "a published private key",
            json!([named("RS256"), a(json!({"alg": "RS384", "d": "AQAB"}))]),
            "",
        ),
        (
            "a weak key",
            json!([
                named("RS256"),
                b(json!({"alg": "RS384", "n": base64url([0xff; 128])}))
            ]),
            "",
        ),
        (
            "a key for signing only",
            json!([
                named("RS256"),
                b(json!({"alg": "RS384", "key_ops": ["sign"]}))
            ]),
            "",
        ),
        (
            "a shared key",
            json!([named("RS256"), {"kty": "oct", "kid": "a", "k": "AA", "alg": "HS256"}]),
            "",
        ),
        (
            "`alg` as a number",
            json!([named("RS256"), b(json!({"alg": 1}))]),
            "",
        ),
    ] {
        // One more key, so that the set is never empty.
        let keys: Vec<Value> = keys
            .as_array()
            .unwrap()
            .iter()
            .cloned()
            .chain([ED.jwk_with(json!({"kid": "z"}))])
            .collect();
        for order in [keys.clone(), keys.into_iter().rev().collect()] {
            let set = KeySet::parse(json!({ "keys": order }).to_string().as_bytes(), &all).unwrap();
            let names = ["RS256", "RS384", "PS256", "ES256"];
            let fits = |name: &&str| {
                matches!(
                    set.find(Some("a"), Algorithm::parse(name).unwrap()),
                    FoundKey::Key(_)
                )
            };
            assert_eq!(
                names.into_iter().filter(fits).collect::<Vec<_>>().join(" "),
                found,
                "{what}"
            );
            let other = matches!(
                set.find(Some("a"), Algorithm::Ed25519),
                FoundKey::OtherAlgorithm
            );
            assert_eq!(
                other,
                !found.is_empty(),
                "{what}: a key that is not there may be asked for"
            );
        }
    }
}

/// Scenario: sets that name absent members as `null`. Guarantees: such a member is none, neither good nor bad.
#[test]
fn a_member_that_is_null_is_absent() {
    for (what, members, taken) in [
        ("private", json!({"d": null, "p": null}), true),
        ("shared", json!({"k": null}), true),
        ("purpose", json!({"use": null}), true),
        ("operations", json!({"key_ops": null}), true),
        ("algorithm", json!({"alg": null}), true),
        ("id", json!({"kid": null}), true),
        (
            "chain",
            json!({"x5c": null, "x5t": null, "x5u": null}),
            true,
        ),
        ("modulus", json!({"n": null}), false),
        ("kind", json!({"kty": null}), false),
        (
            "a private key all the same",
            json!({"d": "AQAB", "p": null}),
            false,
        ),
        ("another purpose", json!({"use": "null"}), false),
    ] {
        assert_eq!(
            usable(RSA.jwk_with(members), &["RS256"]).is_some(),
            taken,
            "{what}"
        );
    }
    let with_null = KeySet::parse(br#"{"keys":null}"#, &[Algorithm::Rs256]).err();
    assert_eq!(with_null, Some(KeySetFault::Malformed));
}

#[test]
fn keys_that_prove_nothing_do_not_enter() {
    let bits = |count: usize| {
        let mut modulus = vec![0xff; count / 8];
        modulus[0] = 0x80;
        base64url(modulus)
    };
    // Powers of 65537 have the structure of CVE-2017-15361 modulo every prime.
    let mut power = vec![1_u8];
    for _ in 0..128 {
        let mut carry = 0_u32;
        for byte in power.iter_mut().rev() {
            let product = u32::from(*byte) * 65_537 + carry;
            *byte = (product & 0xff) as u8;
            carry = product >> 8;
        }
        while carry > 0 {
            power.insert(0, (carry & 0xff) as u8);
            carry >>= 8;
        }
    }
    let all = super::super::ALGORITHMS;
    for (what, jwk, taken) in [
        ("sound", RSA.jwk(), true),
        (
            "leading zero",
            RSA.jwk_with(
                json!({"n": base64url([vec![0], bytes(RSA.jwk().as_object().unwrap(), "n").unwrap()].concat())}),
            ),
            true,
        ),
        ("2048 bits", RSA.jwk_with(json!({"n": bits(2048)})), true),
        ("2040 bits", RSA.jwk_with(json!({"n": bits(2040)})), false),
        ("1024 bits", RSA.jwk_with(json!({"n": bits(1024)})), false),
        ("16384 bits", RSA.jwk_with(json!({"n": bits(16384)})), false),
        ("roca", RSA.jwk_with(json!({"n": base64url(&power)})), false),
        ("no exponent", RSA.jwk_with(json!({"e": null})), false),
        ("padding", RSA.jwk_with(json!({"e": "AQAB="})), false),
        ("private", RSA.jwk_with(json!({"d": "AQAB"})), false),
        ("for encryption", RSA.jwk_with(json!({"use": "enc"})), false),
        ("for signing only", RSA.jwk_with(json!({"key_ops": ["sign"]})), false),
        ("operations as text", RSA.jwk_with(json!({"key_ops": "verify"})), false),
        ("number as id", RSA.jwk_with(json!({"kid": 1})), false),
        ("symmetric", json!({"kty": "oct", "k": base64url([1; 32]), "alg": "HS256"}), false),
        ("unknown kind", json!({"kty": "AKP", "alg": "ML-DSA-44"}), false),
        ("no kind", json!({"kid": "a"}), false),
    ] {
        assert_eq!(usable(jwk, &all).is_some(), taken, "{what}");
    }
}

/// Scenario: Ed25519 keys under which signatures hold that were never made, and other spellings of keys. Guarantees: only
/// the canonical form of a point of large order enters.
#[test]
fn an_ed25519_key_has_large_order_and_one_form() {
    let hex = |text: &str| -> Vec<u8> {
        let digits = text
            .as_bytes()
            .chunks(2)
            .map(|digits| std::str::from_utf8(digits).unwrap());
        digits
            .map(|digits| u8::from_str_radix(digits, 16).unwrap())
            .collect()
    };
    let with_sign = |mut point: Vec<u8>| {
        point[31] |= 0x80;
        point
    };
    let ones = |least: u8| [vec![least], vec![0xff; 30], vec![0x7f]].concat();
    let zeros = |least: u8| [vec![least], vec![0; 31]].concat();
    let sound = bytes(ED.jwk().as_object().unwrap(), "x").unwrap();
    // RFC 8032 section 7.1, TEST 1.
    let example = hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    let eighth = hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05");
    let other_eighth = hex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a");
    let mut rows = vec![
        ("a fresh key", sound.clone(), true),
        ("the RFC's example", example, true),
        ("y of 3", zeros(3), true),
        ("short", vec![1; 31], false),
        ("long", vec![1; 33], false),
        ("empty", Vec::new(), false),
    ];
    for (what, point) in [
        ("order 1", zeros(1)),
        ("order 2", ones(0xec)),
        ("order 4", zeros(0)),
        ("order 8", eighth),
        ("order 8, the other", other_eighth),
        ("y of the prime, for 0", ones(0xed)),
        ("y of the prime and 1, for 1", ones(0xee)),
        ("y of the prime and 3, for 3", ones(0xf0)),
        ("the largest y", ones(0xff)),
    ] {
        rows.push((what, point.clone(), false));
        rows.push((what, with_sign(point), false));
    }
    for (what, point, taken) in rows {
        let jwk = ED.jwk_with(json!({"x": base64url(&point)}));
        assert_eq!(
            usable(jwk, &["EdDSA"]).is_some(),
            taken,
            "{what}: {point:02x?}"
        );
    }
}

/// Scenario: RSA keys at and beyond the bounds of modulus and exponent. Guarantees: both are odd, the modulus has 2048
/// to 8192 bits, the exponent 2 to 33.
#[test]
fn an_rsa_key_has_a_plausible_modulus_and_exponent() {
    let modulus = |bits: usize, last: u8| {
        let mut modulus = vec![0xa5; bits.div_ceil(8)];
        modulus[0] = 1 << ((bits - 1) % 8);
        *modulus.last_mut().unwrap() = last;
        base64url(modulus)
    };
    for (what, n, taken) in [
        ("2048 bits", modulus(2048, 0xa5), true),
        ("2047 bits", modulus(2047, 0xa5), false),
        ("8192 bits", modulus(8192, 0xa5), true),
        ("8193 bits", modulus(8193, 0xa5), false),
        ("even", modulus(2048, 0xa4), false),
        ("zero", base64url([0; 256]), false),
        ("one", base64url([1]), false),
        ("empty", String::new(), false),
    ] {
        assert_eq!(
            usable(RSA.jwk_with(json!({"n": n})), &["RS256"]).is_some(),
            taken,
            "modulus: {what}"
        );
    }
    for (what, e, taken) in [
        ("3", &[3][..], true),
        ("65537", &[1, 0, 1], true),
        ("65537 after zeros", &[0, 0, 1, 0, 1], true),
        ("33 bits", &[1, 0xff, 0xff, 0xff, 0xff], true),
        ("34 bits", &[2, 0, 0, 0, 1], false),
        ("64 bits", &[0x80, 0, 0, 0, 0, 0, 0, 1], false),
        ("0", &[0], false),
        ("1", &[1], false),
        ("1 after zeros", &[0, 0, 1], false),
        ("2", &[2], false),
        ("65536", &[1, 0, 0], false),
        ("empty", &[], false),
    ] {
        let jwk = RSA.jwk_with(json!({"e": base64url(e)}));
        assert_eq!(usable(jwk, &["RS256"]).is_some(), taken, "exponent: {what}");
    }
}

/// Scenario: for each curve, coordinates that are no point, or a point in another spelling. Guarantees: none enters.
#[test]
fn a_key_on_a_curve_is_a_point_of_it_in_full_width() {
    let coordinates = |key: &TestKey| {
        let jwk = key.jwk();
        ["x", "y"].map(|name| bytes(jwk.as_object().unwrap(), name).unwrap())
    };
    let curves: [(&TestKey, &str, usize); 3] = [
        (&P256, "ES256", 32),
        (&P384, "ES384", 48),
        (&P521, "ES512", 66),
    ];
    for (key, algorithm, width) in curves {
        let [x, y] = coordinates(key);
        let last_bit = |number: &[u8]| {
            let mut number = number.to_vec();
            *number.last_mut().unwrap() ^= 1;
            number
        };
        for (what, x, y, taken) in [
            ("the key", x.clone(), y.clone(), true),
            ("another y", x.clone(), last_bit(&y), false),
            ("another x", last_bit(&x), y.clone(), false),
            ("zero and zero", vec![0; width], vec![0; width], false),
            ("beyond the prime", vec![0xff; width], y.clone(), false),
            ("y beyond the prime", x.clone(), vec![0xff; width], false),
            ("short", x[1..].to_vec(), y.clone(), false),
            ("long", [vec![0], x.clone()].concat(), y.clone(), false),
            ("y short", x.clone(), y[1..].to_vec(), false),
            ("y long", x.clone(), [vec![0], y.clone()].concat(), false),
            ("empty", Vec::new(), y.clone(), false),
            ("no y", x.clone(), Vec::new(), false),
        ] {
            let jwk = key.jwk_with(json!({"x": base64url(&x), "y": base64url(&y)}));
            assert_eq!(
                usable(jwk, &[algorithm]).is_some(),
                taken,
                "{algorithm}: {what}"
            );
        }
    }
    // 2^521 - 1 is the prime, and 66 bytes hold more: `x` and the prime together are the same point, spelled otherwise.
    let [x, y] = coordinates(&P521);
    let mut more = x.clone();
    let prime: Vec<u8> = [vec![0x01], vec![0xff; 65]].concat();
    let mut carry = 0_u16;
    for (byte, add) in more.iter_mut().rev().zip(prime.iter().rev()) {
        let sum = u16::from(*byte) + u16::from(*add) + carry;
        (*byte, carry) = ((sum & 0xff) as u8, sum >> 8);
    }
    let jwk = P521.jwk_with(json!({"x": base64url(&more), "y": base64url(&y)}));
    assert_eq!(usable(jwk, &["ES512"]), None, "not reduced");
    // A point of one curve is none of another.
    let [x, y] = coordinates(&P256).map(|number| [vec![0; 16], number].concat());
    let jwk = json!({"kty": "EC", "crv": "P-384", "x": base64url(x), "y": base64url(y)});
    assert_eq!(usable(jwk, &["ES384"]), None, "another curve's");
}

#[test]
fn a_set_is_whole_or_a_fault() {
    let many = vec![ED.jwk(); KEYS_LIMIT + 1];
    for (document, expected) in [
        ("{}".to_owned(), KeySetFault::Malformed),
        ("[]".to_owned(), KeySetFault::Malformed),
        (r#"{"keys":{}}"#.to_owned(), KeySetFault::Malformed),
        (r#"{"keys":["a"]}"#.to_owned(), KeySetFault::Malformed),
        (
            r#"{"keys":[],"keys":[]}"#.to_owned(),
            KeySetFault::Malformed,
        ),
        ("<html>".to_owned(), KeySetFault::Malformed),
        (r#"{"keys":[]}"#.to_owned(), KeySetFault::NoUsableKey),
        (json!({ "keys": many }).to_string(), KeySetFault::TooMany),
    ] {
        let fault = KeySet::parse(document.as_bytes(), &[Algorithm::Ed25519]).err();
        assert_eq!(fault, Some(expected), "{document:.40}");
    }
}

#[test]
fn the_stamp_follows_the_usable_content() {
    let parse = |keys: Value| {
        KeySet::parse(
            json!({ "keys": keys }).to_string().as_bytes(),
            &[Algorithm::Rs256, Algorithm::Es256],
        )
        .unwrap()
    };
    let (a, b) = (
        RSA.jwk_with(json!({"kid": "a"})),
        OTHER_RSA.jwk_with(json!({"kid": "b"})),
    );
    let first = parse(json!([a, b]));
    for (what, keys, same) in [
        ("same", json!([a, b]), true),
        ("another order", json!([b, a]), true),
        (
            "an unusable one more",
            json!([a, b, {"kty": "oct", "k": "AA"}]),
            true,
        ),
        (
            "one more",
            json!([a, b, P256.jwk_with(json!({"kid": "c"}))]),
            false,
        ),
        ("one less", json!([a]), false),
        (
            "ids swapped",
            json!([
                RSA.jwk_with(json!({"kid": "b"})),
                OTHER_RSA.jwk_with(json!({"kid": "a"}))
            ]),
            false,
        ),
    ] {
        assert_eq!(
            parse(keys).continuing(Some(&first)).stamp == first.stamp,
            same,
            "{what}"
        );
    }
}
