//! What is asked of AWS: proofs that are wrong in one place each, and properties of what we write of those that are right.
//!
//! What it does: holds the table of tokens, and the oracle: the testkit's writing of AWS's format, and AWS's own signer. What it
//! refuses to know: answers. Invariant: nothing is asked here.

use std::sync::LazyLock;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use proptest::prelude::*;
use testkit::sigv4::{amz_date, as_token, encode};

use super::*;
use crate::accept::AWS_PROOF_PREFIX;

fn changed(whole: &[u8], from: &[u8], to: &[u8], row: &[&str]) -> Vec<u8> {
    match from {
        b"" => whole.to_vec(),
        b"$" => [whole, to].concat(),
        from => {
            let at = memchr::memmem::find(whole, from).unwrap_or_else(|| panic!("{row:?}"));
            [&whole[..at], to, &whole[at + from.len()..]].concat()
        }
    }
}

/// Scenario: tokens that are wrong in one place each. Guarantees: each is refused for the expected reason before AWS is asked,
/// and what is right is asked.
#[tokio::test]
async fn only_one_form_of_a_proof_is_asked_about() {
    let world = World::new();
    let room = room(&world, &[settings()], None);
    let good = format!(
        "https://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256\
         &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20270115%2Feu-west-1%2Fsts%2Faws4_request&X-Amz-Date=20270115T080000Z\
         &X-Amz-Expires=60&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id&X-Amz-Signature={}",
        "0123456789abcdef".repeat(4)
    );
    let encoded = |url: &[u8]| as_token_of(url);
    let mut asked = 0;
    for row in rows(include_str!("proofs.txt")) {
        let [expected, layer, from, to, _] = row.as_slice() else {
            panic!("{row:?}")
        };
        let (from, to) = (bytes(from), bytes(to));
        let token = match layer.trim() {
            "url" => encoded(&changed(good.as_bytes(), &from, &to, &row)).into_bytes(),
            _ => changed(encoded(good.as_bytes()).as_bytes(), &from, &to, &row),
        };
        let examined = examine(&room.aws, &token, UnixMillis(NOW * 1000));
        let told = examined
            .as_ref()
            .map_or_else(|reason| reason.code(), |_| "asked");
        assert_eq!(told, expected.trim(), "{row:?}");
        asked += usize::from(told == "asked");
    }
    assert!(asked > 5);
    for (bytes, expected) in [(4095, "asked"), (4097, "aws_proof_malformed")] {
        let token = sized(bytes);
        assert_eq!(token.len(), bytes);
        let examined = examine(&room.aws, token.as_bytes(), UnixMillis(NOW * 1000));
        let told = examined
            .as_ref()
            .map_or_else(|reason| reason.code(), |_| "asked");
        assert_eq!(told, expected, "{bytes}");
    }
    let nothing = examine(&[], as_token(&good).as_bytes(), UnixMillis(NOW * 1000));
    assert_eq!(nothing.err(), Some(Reason::TokenIssuerUnknown));
}

fn as_token_of(url: &[u8]) -> String {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(url);
    format!("k8s-aws-v1.{encoded}")
}

/// A good token of so many bytes.
fn sized(bytes: usize) -> String {
    let keys = |letters: usize| AwsKeys {
        session_token: Some("a".repeat(letters)),
        ..role().keys
    };
    let token = |letters: usize| call().token(&keys(letters));
    (1..4096)
        .map(token)
        .find(|token| token.len() == bytes)
        .unwrap_or_else(|| token(4096 - 1024))
}

/// A text of these letters.
fn of(
    letters: &'static str,
    length: std::ops::RangeInclusive<usize>,
) -> impl Strategy<Value = String> {
    let letters: Vec<char> = letters.chars().collect();
    proptest::collection::vec(proptest::sample::select(letters), length).prop_map(String::from_iter)
}

/// The parameters of a role's call, in their order.
const WRITTEN: [&str; 9] = [
    "Action",
    "Version",
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
];

/// Bytes that are put into a proof: pieces of other requests, and of none.
fn change() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "&",
        "=",
        "%",
        "#",
        "/",
        "?",
        "\r\n",
        "A",
        "0",
        "%2F",
        "&X-Amz-Date=",
        "&Action=AssumeRole",
        "x-amz-",
        "@",
    ];
    let piece =
        proptest::sample::select(pieces.to_vec()).prop_map(|piece| piece.as_bytes().to_vec());
    prop_oneof![piece, proptest::collection::vec(any::<u8>(), 0..3)]
}

/// A room that is opened once, for properties.
static ROOM: LazyLock<Identifier> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let world = runtime.block_on(async { World::new() });
    room(&world, &[settings()], None)
});

/// The URL of a call, its parameters in the order in which they are signed.
fn signed_by_aws(
    keys: &Credentials,
    region: &str,
    audience: &str,
    seconds: i64,
    expires: u64,
) -> String {
    let identity = keys.clone().into();
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(Duration::from_secs(expires));
    let at = std::time::UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap());
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("sts")
        .time(at)
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let host = format!("sts.{region}.amazonaws.com");
    let url = format!("https://{host}/?Action=GetCallerIdentity&Version=2011-06-15");
    let headers = [("host", host.as_str()), ("x-k8s-aws-id", audience)];
    let request = SignableRequest::new("GET", &url, headers.into_iter(), SignableBody::empty());
    let (signed, _) = sign(request.unwrap(), &parameters).unwrap().into_parts();
    let mut pairs: Vec<String> = signed
        .params()
        .iter()
        .map(|(name, value)| format!("&{name}={}", encode(value)))
        .collect();
    pairs.sort_by_key(|pair| (pair.starts_with("&X-Amz-Signature="), pair.clone()));
    url + &pairs.concat()
}

proptest! {
    /// Scenario: proofs of any keys, sessions and times, their parameters in any order. Guarantees: what is asked is what was
    /// signed, byte for byte, in the one order; so that AWS checks the signature over what we wrote.
    #[test]
    fn what_is_asked_is_what_was_signed(
        access_key in of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 15..=40),
        secret_key in of("abcXYZ019+/", 20..=40),
        session in proptest::option::of(of("abcXYZ019+/=", 1..=600)),
        seconds in 0_i64..4_000_000_000,
        expires in 0_u32..=900,
        region in proptest::sample::select(vec!["eu-west-1", "us-east-1", "ap-southeast-4"]),
        order in proptest::collection::vec(any::<u16>(), 9..=9),
    ) {
        let keys = AwsKeys { access_key: format!("A{access_key}"), secret_key, session_token: session };
        let signed = PresignedCall { expires, ..PresignedCall::new(region, AUDIENCE, seconds) };
        let url = signed.url(&keys);
        let (address, query) = url.split_once('?').unwrap();
        let mut pairs: Vec<(u16, &str)> = order.into_iter().zip(query.split('&')).collect();
        pairs.sort_unstable();
        let shuffled: Vec<&str> = pairs.into_iter().map(|(_, pair)| pair).collect();
        let token = as_token(&format!("{address}?{}", shuffled.join("&")));
        let proof = AwsProof::parse(token.as_bytes()).unwrap();
        let asked = proof.url(&signed.host).to_string();
        prop_assert_eq!(&asked, &url);
        prop_assert_eq!(proof.signed_unix_seconds, seconds);
        prop_assert!(url.contains(&encode(&amz_date(seconds))));
    }

    /// Scenario: proofs that AWS's own signer makes of any typed values. Guarantees: what is asked is what was signed, byte for byte.
    #[test]
    fn what_is_asked_is_what_awss_own_signer_signed(
        access_key in "A[A-Z0-9]{15,40}",
        secret in "[a-zA-Z0-9+/]{20,40}",
        session in proptest::option::of("[a-zA-Z0-9+/]{1,900}={0,2}"),
        seconds in 0_i64..4_000_000_000,
        expires in 1_u64..=900,
        region in proptest::sample::select(vec!["eu-west-1", "us-east-1", "ap-southeast-4"]),
    ) {
        let keys = Credentials::new(access_key, secret, session, None, "test");
        let url = signed_by_aws(&keys, region, AUDIENCE, seconds, expires);
        let proof = AwsProof::parse(as_token(&url).as_bytes()).unwrap();
        let host = format!("sts.{region}.amazonaws.com");
        let asked = proof.url(&host);
        prop_assert_eq!(asked.as_str(), url.as_str());
        prop_assert_eq!(&*proof.host, host.as_str());
        prop_assert_eq!(&proof.region, region);
        prop_assert_eq!(proof.signed_unix_seconds, seconds);
    }

    /// Scenario: a good proof in which any bytes are put, taken away or exchanged at any places. Guarantees: where AWS is still asked,
    /// nothing is sent but our own words and values of the few forms that are known, each from its own parameter.
    #[test]
    fn nothing_is_sent_but_typed_values(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), 0_usize..3, change()), 1..4),
    ) {
        let mut url = call().url(&role().keys).into_bytes();
        for (at, taken, put) in &changes {
            let at = at.index(url.len());
            let end = (at + taken).min(url.len());
            drop(url.splice(at..end, put.iter().copied()));
        }
        let token = as_token_of(&url);
        let Ok(checked) = examine(&ROOM.aws, token.as_bytes(), UnixMillis(NOW * 1000)) else {
            return Ok(());
        };
        let request = checked.issuer.request(&checked.proof, checked.host).unwrap();
        let names: Vec<&str> = request.headers().keys().map(HeaderName::as_str).collect();
        prop_assert_eq!(names, ["x-k8s-aws-id", "accept"]);
        prop_assert_eq!(&request.headers()["x-k8s-aws-id"], AUDIENCE);
        prop_assert_eq!(request.method(), http::Method::GET);
        prop_assert!(request.body().is_empty());
        let sent = request.uri().to_string();
        let (place, query) = sent.split_once("/?").unwrap();
        let host = place.strip_prefix("https://").unwrap();
        let is_ours = ROOM.aws.iter().any(|issuer| issuer.host(host).is_some());
        prop_assert!(is_ours, "{}", place);
        let is = |value: &str, fits: fn(u8) -> bool| !value.is_empty() && value.bytes().all(fits);
        for (pair, name) in query.split('&').zip(WRITTEN) {
            let (written, value) = pair.split_once('=').unwrap();
            prop_assert_eq!(written, name);
            prop_assert!(match name {
                "Action" => value == "GetCallerIdentity",
                "Version" => value == "2011-06-15",
                "X-Amz-Algorithm" => value == "AWS4-HMAC-SHA256",
                "X-Amz-SignedHeaders" => value == "host%3Bx-k8s-aws-id",
                "X-Amz-Expires" => value.len() <= 3 && is(value, |byte| byte.is_ascii_digit()),
                "X-Amz-Date" => value.len() == 16 && is(value, |byte| byte.is_ascii_digit() || b"TZ".contains(&byte)),
                "X-Amz-Signature" => value.len() == 64 && is(value, |byte| byte.is_ascii_hexdigit()),
                "X-Amz-Security-Token" => {
                    let plain = value.replace("%2F", "/").replace("%2B", "+").replace("%3D", "=");
                    is(&plain, |byte| byte.is_ascii_alphanumeric() || b"/+=".contains(&byte))
                }
                _ => {
                    let parts: Vec<&str> = value.split("%2F").collect();
                    let [key, day, region, "sts", "aws4_request"] = parts[..] else { return Err(TestCaseError::fail(sent.clone())) };
                    is(key, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
                        && day.len() == 8 && is(day, |byte| byte.is_ascii_digit()) && region == checked.host.region
                }
            }, "{}", sent);
        }
        prop_assert_eq!(query.split('&').count(), WRITTEN.len());
    }

    /// Scenario: any bytes behind the prefix, encoded or not. Guarantees: no panic, and no proof.
    #[test]
    fn nonsense_is_no_proof(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(AwsProof::parse(as_token_of(&bytes).as_bytes()).is_none());
        prop_assert!(AwsProof::parse(&[AWS_PROOF_PREFIX.as_bytes(), &bytes].concat()).is_none());
        let url = [b"https://sts.eu-west-1.amazonaws.com/?".as_slice(), &bytes].concat();
        prop_assert!(AwsProof::parse(as_token_of(&url).as_bytes()).is_none());
    }
}
