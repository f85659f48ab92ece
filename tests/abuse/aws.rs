//! Scenario: signed calls to AWS that no tool of AWS's would make, by the real port, and a flood of well-formed ones. Guarantees: what
//! is not of the one form reaches neither AWS nor the backend, and all of it looks alike; a flood asks AWS about few, holds no memory,
//! and spends its own share.

use std::collections::BTreeSet;

use lightkeeper::clock::Clock;
use testkit::sigv4::{AwsKeys, PresignedCall, as_token};
use testkit::world::{AWS_ACCOUNT, AWS_AUDIENCE, AWS_REGION};
use testkit::{AwsCaller, WorldPlan};

use super::exports::held_bytes;
use super::ground::{self, Ground};
use super::wire;

fn role() -> AwsCaller {
    AwsCaller::role(AWS_ACCOUNT, "checkout-lambda", "i-0abc")
}

async fn ground() -> Ground {
    // The gateway's own penalty would keep most of a flood from being judged at all.
    let plan = WorldPlan {
        more: "limits: { penalty: off }".to_owned(),
        ..WorldPlan::default()
    };
    let ground = Ground::plan(plan.with_aws()).await;
    ground.world.sts.as_ref().unwrap().add(role());
    ground
}

fn asked(ground: &Ground) -> usize {
    ground.world.sts.as_ref().unwrap().calls().len()
}

/// What a good call's URL is changed in: this becomes that.
const CHANGES: &[(&str, &str)] = &[
    ("https://", "http://"),
    ("https://", "https://x@"),
    ("https://", "https://evil.example/?x=https://"),
    ("amazonaws.com", "amazonaws.com.evil.example"),
    ("amazonaws.com", "amazonaws.com."),
    ("amazonaws.com", "amazonaws.com:443"),
    ("amazonaws.com", "AMAZONAWS.COM"),
    ("amazonaws.com/", "amazonaws.com/latest/meta-data"),
    ("amazonaws.com/", "amazonaws.com\r\nHost: evil.example\r\n/"),
    ("sts.eu-west-1", "s3.eu-west-1"),
    ("sts.eu-west-1", "127.0.0.1"),
    ("sts.eu-west-1", "sts.us-east-1"),
    ("sts.eu-west-1.amazonaws.com", "sts.amazonaws.com"),
    ("sts.eu-west-1.amazonaws.com", "169.254.169.254"),
    ("sts.eu-west-1.amazonaws.com", "[::1]"),
    ("GetCallerIdentity", "AssumeRole"),
    ("GetCallerIdentity", "GetCallerIdentity&Action=AssumeRole"),
    ("GetCallerIdentity", "GetCallerIdentity&action=AssumeRole"),
    ("GetCallerIdentity", "GetCallerIdentity&RoleArn=x"),
    ("GetCallerIdentity", "GetCallerIdentity%00"),
    ("GetCallerIdentity", "GetCallerIdentity#"),
    ("2011-06-15", "2011-06-16"),
    ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
    ("%2Fsts%2F", "%2Fs3%2F"),
    ("%2Fsts%2F", "%2fsts%2f"),
    ("%2Fsts%2F", "/sts/"),
    ("%2Feu-west-1%2F", "%2Fus-east-1%2F"),
    ("host%3Bx-k8s-aws-id", "host"),
    ("host%3Bx-k8s-aws-id", "host%3Bx-amz-target%3Bx-k8s-aws-id"),
    ("host%3Bx-k8s-aws-id", "x-k8s-aws-id%3Bhost"),
    ("X-Amz-Expires=60", "X-Amz-Expires=901"),
    ("X-Amz-Expires=60", "X-Amz-Expires=+60"),
    ("X-Amz-Expires=60", "X-Amz-Expires=060"),
    ("X-Amz-Expires=60", "X-Amz-Expires="),
    ("X-Amz-Expires=60", "X-Amz-Expires=99999999999999999999"),
    ("X-Amz-Date=2", "X-Amz-Date=3"),
    ("X-Amz-Signature=", "X-Amz-Signature=00"),
    ("X-Amz-Signature=", "X-Amz-Signature=\r\n"),
    (
        "X-Amz-Security-Token=",
        "X-Amz-Security-Token=%0D%0AX-Evil%3A1",
    ),
    (
        "X-Amz-Security-Token=",
        "X-Amz-Security-Token=x&X-Amz-Security-Token=",
    ),
    ("X-Amz-Security-Token=", "x-amz-security-token="),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_crooked_call_reaches_aws() {
    let mut ground = ground().await;
    let good = PresignedCall::new(AWS_REGION, AWS_AUDIENCE, Clock::system().now().seconds());
    let url = good.url(&role().keys);
    let mut tokens: Vec<(String, String)> = CHANGES
        .iter()
        .map(|(from, to)| {
            assert!(url.contains(from), "{from}");
            (
                format!("{from} -> {to}"),
                as_token(&url.replacen(from, to, 1)),
            )
        })
        .collect();
    let whole = as_token(&url);
    for (what, token) in [
        ("nothing", "k8s-aws-v1.".to_owned()),
        ("padding", format!("{whole}=")),
        ("another version", whole.replace("v1", "v2")),
        ("standard alphabet", format!("{whole}+/+/")),
        ("a second part", format!("{whole}.{whole}")),
        ("too large", as_token(&format!("{url}{}", "0".repeat(4000)))),
        (
            "far too large",
            format!("k8s-aws-v1.{}", "A".repeat(12_000)),
        ),
        ("no text", "k8s-aws-v1._____w".to_owned()),
        (
            "an empty query",
            as_token("https://sts.eu-west-1.amazonaws.com/?"),
        ),
        (
            "many parameters",
            as_token(&format!(
                "https://sts.eu-west-1.amazonaws.com/?{}",
                "a=b&".repeat(700)
            )),
        ),
    ] {
        tokens.push((what.to_owned(), token));
    }
    let mut faults = Vec::new();
    let mut looks = BTreeSet::new();
    for (what, token) in &tokens {
        let sent = format!(
            "POST /v1/traces HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\nContent-Type: application/x-protobuf\r\n\
             Connection: close\r\nContent-Length: 6\r\n\r\n\n\x04\x12\x02\x12\0"
        );
        let talk = wire::talk(ground.plain(), sent.as_bytes()).await;
        match wire::replies(&talk.bytes, &[])
            .unwrap_or_default()
            .as_slice()
        {
            [reply] if reply.status == 401 => _ = looks.insert(reply.comparable()),
            replies => faults.push(format!("{what}: {replies:?}")),
        }
        let records = ground.calls(1).await;
        if !records[0]["identity"].is_null() || records[0].to_string().contains(token.as_str()) {
            faults.push(format!("{what}: {}", records[0]));
        }
        if asked(&ground) > 0 {
            faults.push(format!("{what}: AWS was asked"));
            break;
        }
    }
    if looks.len() != 1 {
        faults.push(format!("401s differ: {looks:?}"));
    }
    ground.nothing_upstream("crooked calls");
    ground.alive().await;
    ground::none(&faults);
}

/// Calls of the one form, each another, with keys that AWS does not know.
fn stranger(number: i64, now: i64) -> String {
    let keys = AwsKeys {
        access_key: format!("ASIA{number:016}"),
        secret_key: "guessed".to_owned(),
        session_token: Some("A".repeat(1500)),
    };
    PresignedCall::new(AWS_REGION, AWS_AUDIENCE, now - number % 60).token(&keys)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_strangers_asks_aws_about_few() {
    let mut ground = ground().await;
    let now = Clock::system().now().seconds();
    for number in 0..2000 {
        let caller = ground.world.plain_caller().bearer(&stranger(number, now));
        let answer = caller.get("/.lightkeeper/whoami").await.unwrap();
        assert!([401, 503].contains(&answer.status), "{}", answer.text());
    }
    // 64 refusals are free; what follows has a tenth of fifty calls a second.
    let seconds = usize::try_from(Clock::system().now().seconds() - now).unwrap();
    let calls = asked(&ground);
    assert!(calls <= 70 + 6 * (seconds + 1), "{calls} in {seconds} s");
    assert_eq!(held_bytes(&ground), 0);
    ground.nothing_upstream("strangers");
    ground.alive().await;
}
