//! Signed calls to AWS, attacked: what is asked at all, what is asked, and what is made of the answer.
//!
//! What it does: holds tables of tokens and answers, one line a case, and STS as the testkit has it against the room. What it
//! refuses to know: policy. Invariants: every line names the exact answer; tokens are signed by the testkit's own writing of
//! AWS's format, never by the room's.

mod written;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering;

use testkit::Mood;
use testkit::sigv4::{AwsKeys, PresignedCall};
use testkit::sts::{AwsCaller, Sts};

use super::super::event::Identification;
use super::super::forge::{NOW, World, caller, verdict};
use super::super::{Event, Identifier, Method};
use super::arn::ArnPatternFault;
use super::*;
use crate::egress::hostile;

const AUDIENCE: &str = "lightkeeper:gateway.acme.example";
const ACCOUNT: &str = "123456789012";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn settings() -> AwsSettings {
    AwsSettings {
        name: "aws".to_owned(),
        audience: AUDIENCE.to_owned(),
        accounts: vec![ACCOUNT.to_owned()],
        partition: "aws".to_owned(),
        regions: vec!["eu-west-1".to_owned(), "us-east-1".to_owned()],
        endpoints: StsEndpoints {
            global: false,
            fips: true,
            dual_stack: true,
        },
        max_age: Duration::from_secs(900),
        cache: Duration::from_secs(300),
        connect: None,
        ca: None,
        egress: Egress::Direct,
        calls_per_second: 50,
        concurrent_calls: 16,
        attributes: Vec::new(),
    }
}

/// The same, which asks the testkit's STS.
fn settings_at(sts: &Sts) -> AwsSettings {
    AwsSettings {
        connect: Some(("127.0.0.1".to_owned(), sts.address().port())),
        ca: Some(sts.ca()),
        ..settings()
    }
}

fn room(world: &World, settings: &[AwsSettings], previous: Option<&Identifier>) -> Identifier {
    world
        .identifier(&[], previous)
        .with_aws(settings, previous)
        .unwrap()
}

async fn start(world: &World, regions: &[&str]) -> Sts {
    let clock = world.surroundings.clock.clone();
    Sts::start(regions, move || clock.now().seconds())
        .await
        .unwrap()
}

fn role() -> AwsCaller {
    AwsCaller::role(ACCOUNT, "checkout", "i-0abc")
}

fn call() -> PresignedCall {
    PresignedCall::new("eu-west-1", AUDIENCE, NOW)
}

/// The rows of a table, without comments.
fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    table
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split(" | ").collect())
}

/// A cell with its escapes undone.
fn bytes(cell: &str) -> Vec<u8> {
    let mut read = Vec::new();
    let mut letters = cell.trim().bytes();
    while let Some(letter) = letters.next() {
        match (letter, letter == b'\\') {
            (_, false) => read.push(letter),
            (_, true) => match letters.next().unwrap() {
                b'r' => read.push(b'\r'),
                b'n' => read.push(b'\n'),
                b'0' => read.push(0),
                b'x' => {
                    let digits: Vec<u8> = letters.by_ref().take(2).collect();
                    let digits = std::str::from_utf8(&digits).unwrap();
                    read.push(u8::from_str_radix(digits, 16).unwrap());
                }
                other => read.push(other),
            },
        }
    }
    read
}

/// Scenario: every kind of answer, of STS, of a proxy in between, and of a party that lies. Guarantees: an identity is read from
/// one form alone, only STS's own words are a refusal, and all else is an outage.
#[tokio::test]
async fn an_answer_is_an_identity_a_refusal_or_an_outage() {
    let world = World::new();
    let room = room(&world, &[settings()], None);
    let issuer = room.aws.first().unwrap();
    let judged = |status: u16, body: &[u8]| {
        let opinion = issuer.read(StatusCode::from_u16(status).unwrap(), body, None, NOW + 900);
        match opinion {
            Opinion::Holds(facts) => facts.subject.to_string(),
            Opinion::Refused(reason) | Opinion::Unavailable(reason) => reason.code().to_owned(),
        }
    };
    for row in rows(include_str!("tests/answers.txt")) {
        let (expected, status) = (row[0].trim(), row[1].trim_end_matches(" |").trim());
        let body = row.get(2..).unwrap_or_default().join(" | ");
        let body = match body.strip_prefix("{caller ") {
            Some(words) => {
                let words = String::from_utf8(bytes(words.trim_end_matches('}'))).unwrap();
                let (arn, user) = words.split_once(' ').unwrap();
                let result = serde_json::json!({"Account": ACCOUNT, "Arn": arn, "UserId": user});
                serde_json::json!({"GetCallerIdentityResponse": {"GetCallerIdentityResult": result,
                                   "ResponseMetadata": {"RequestId": "x"}}})
                .to_string()
            }
            None => body,
        };
        let told = judged(status.parse().unwrap(), body.as_bytes());
        assert_eq!(told, expected, "{row:?}");
        // The classes decide what a caller is told.
        let class = Reason::ALL
            .iter()
            .find(|reason| reason.code() == told)
            .map(|reason| reason.class());
        let is_outage = class == Some(Some(crate::reason::Class::Unavailable));
        assert_eq!(is_outage, expected.ends_with("unavailable"), "{row:?}");
    }
    let long = format!("arn:aws:iam::{ACCOUNT}:user/{}ada", "team/".repeat(1000));
    let body = serde_json::json!({"GetCallerIdentityResponse": {"GetCallerIdentityResult":
        {"Account": ACCOUNT, "Arn": long, "UserId": "AIDACKCEVSQ6C2EXAMPLE"}}});
    assert_eq!(judged(200, body.to_string().as_bytes()), "aws_unavailable");
}

/// Scenario: each kind of peer that keeps to no bound in STS's place. Guarantees: it is asked once, and it is an outage.
#[tokio::test]
async fn hostile_peers_are_outages() {
    let world = World::new();
    let room = room(&world, &[settings()], None);
    let issuer = room.aws.first().unwrap();
    for peer in hostile::peers(OutboundBounds::JUDGE) {
        let served = peer.serve().await;
        let request = Request::get(served.url("/")).body(Vec::new()).unwrap();
        let client = issuer.client.clone().within(peer.patience);
        let opinion = issuer.ask_with(&client, request, None, NOW + 900).await;
        assert!(
            matches!(opinion, Opinion::Unavailable(Reason::AwsUnavailable)),
            "{}: {opinion:?}",
            peer.what
        );
        assert_eq!(served.requests(), 1, "{}", peer.what);
    }
}

/// Scenario: a role's and a user's proofs against an STS that checks signatures; then proofs of other accounts, with other keys,
/// for other audiences, changed on the way. Guarantees: who is who; what STS got is what we write, without a byte of the caller's but
/// typed values; refusals cost one call, and repeats none.
#[tokio::test]
async fn sts_says_who_signed() {
    let world = World::new();
    let sts = start(&world, &["eu-west-1", "us-east-1"]).await;
    let user = AwsCaller::user(ACCOUNT, "ada");
    let stranger = AwsCaller::role("210987654321", "checkout", "i-0abc");
    for caller in [role(), user.clone(), stranger.clone()] {
        sts.add(caller);
    }
    let room = room(&world, &[settings_at(&sts)], None);
    let unknown = AwsCaller::user(ACCOUNT, "eve");
    let thief = AwsKeys {
        secret_key: "guessed".to_owned(),
        ..role().keys
    };
    let arn = |name: &str| Ok(format!("arn:aws:iam::{ACCOUNT}:{name}"));
    let elsewhere = PresignedCall::new("us-east-1", AUDIENCE, NOW);
    let theirs = PresignedCall::new("eu-west-1", "lightkeeper:other.example", NOW);
    let cluster = PresignedCall::new("eu-west-1", "prod", NOW);
    for (story, token, expected) in [
        ("a role", call().token(&role().keys), arn("role/checkout")),
        ("a user", call().token(&user.keys), arn("user/ada")),
        (
            "another region",
            elsewhere.token(&role().keys),
            arn("role/checkout"),
        ),
        (
            "a stranger",
            call().token(&stranger.keys),
            Err("aws_account_unknown"),
        ),
        (
            "unknown keys",
            call().token(&unknown.keys),
            Err("aws_refused"),
        ),
        ("a wrong secret", call().token(&thief), Err("aws_refused")),
        (
            "another gateway's",
            theirs.token(&role().keys),
            Err("aws_refused"),
        ),
        (
            "a cluster's",
            cluster.token(&role().keys),
            Err("aws_refused"),
        ),
    ] {
        let before = sts.calls().len();
        for _ in 0..3 {
            assert_eq!(verdict(&room, &token).await, expected, "{story}");
        }
        assert_eq!(sts.calls().len() - before, 1, "{story}");
    }
    let identity = room
        .identify(caller(Some(&call().token(&role().keys)), None))
        .await
        .unwrap();
    let facts = identity.facts();
    assert_eq!((facts.method, facts.method.name()), (Method::Aws, "aws"));
    assert_eq!(
        (&*facts.issuer, facts.expires_unix_seconds),
        ("aws", NOW + 900)
    );
    let aws = facts.aws.as_ref().unwrap();
    assert_eq!(
        (&*aws.account, aws.session.as_deref()),
        (ACCOUNT, Some("i-0abc"))
    );
    assert!(aws.unique_id.starts_with("AROA"));
    for one in sts.calls() {
        let mut names: Vec<&str> = one.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "host", "user-agent", "x-k8s-aws-id"]);
        let audience = one.headers.iter().find(|(name, _)| name == "x-k8s-aws-id");
        assert_eq!(audience.unwrap().1, AUDIENCE);
    }
    let told = |outcome| {
        world.count(|event| {
            *event
                == Event::Identified {
                    method: Some(Method::Aws),
                    outcome,
                }
        })
    };
    assert_eq!(
        (
            told(Identification::Accepted),
            told(Identification::Refused)
        ),
        (10, 15)
    );
}

/// Scenario: STS goes, and comes back; the configuration is read anew, with and without a change. Guarantees: new proofs meet an
/// outage, those that were accepted go on for `cache` and no longer, and never beyond their age; what was remembered survives a
/// reading without a change, and an account that is taken away counts no more at once.
#[tokio::test]
async fn an_outage_spares_those_who_were_accepted() {
    let world = World::new();
    let sts = start(&world, &["eu-west-1"]).await;
    sts.add(role());
    let first = room(&world, &[settings_at(&sts)], None);
    let arn = format!("arn:aws:iam::{ACCOUNT}:role/checkout");
    let kept = call().token(&role().keys);
    assert_eq!(verdict(&first, &kept).await, Ok(arn.clone()));
    let same = room(&world, &[settings_at(&sts)], Some(&first));
    assert_eq!(same.issuers(), first.issuers());
    let fresh = PresignedCall::new("eu-west-1", AUDIENCE, NOW + 1).token(&role().keys);
    for fault in [
        Mood::Severed,
        Mood::Answer {
            status: 500,
            body: "{}".to_owned(),
        },
        Mood::Answer {
            status: 400,
            body: r#"{"Error":{"Code":"Throttling"}}"#.to_owned(),
        },
        Mood::Answer {
            status: 200,
            body: " ".repeat(65 << 10),
        },
    ] {
        sts.fail(Some(fault.clone()));
        assert_eq!(
            verdict(&same, &fresh).await,
            Err("aws_unavailable"),
            "{fault:?}"
        );
        assert_eq!(verdict(&same, &kept).await, Ok(arn.clone()), "{fault:?}");
    }
    sts.stop().await;
    assert_eq!(verdict(&same, &fresh).await, Err("aws_unavailable"));
    world.move_to(NOW + 299);
    assert_eq!(verdict(&same, &kept).await, Ok(arn.clone()));
    world.move_to(NOW + 300);
    assert_eq!(verdict(&same, &kept).await, Err("aws_unavailable"));
    sts.fail(None);
    sts.restart().await.unwrap();
    assert_eq!(verdict(&same, &kept).await, Ok(arn.clone()));
    world.move_to(NOW + 599);
    assert_eq!(verdict(&same, &kept).await, Ok(arn.clone()));
    world.move_to(NOW + 899);
    assert_eq!(verdict(&same, &kept).await, Ok(arn.clone()));
    world.move_to(NOW + 900);
    assert_eq!(verdict(&same, &kept).await, Err("token_expired"));

    world.time.store(NOW * 1000, Ordering::Relaxed);
    let other = AwsSettings {
        accounts: vec!["210987654321".to_owned()],
        ..settings_at(&sts)
    };
    let next = room(&world, &[other], Some(&same));
    assert_eq!(verdict(&next, &kept).await, Err("aws_account_unknown"));
    assert_eq!(
        verdict(&room_without(&world, &next), &kept).await,
        Err("token_issuer_unknown")
    );
}

fn room_without(world: &World, previous: &Identifier) -> Identifier {
    room(world, &[], Some(previous))
}

/// Scenario: at the address of a role that was accepted, others show its access key, which they read in a log, without its
/// session's token or with one of their own. Guarantees: their refusals are their address's; the role goes on with proofs that
/// are new.
#[tokio::test]
async fn an_access_key_from_a_log_holds_no_role_back() {
    let world = World::new();
    let sts = start(&world, &["eu-west-1"]).await;
    sts.add(role());
    let patient = AwsSettings {
        calls_per_second: 1000,
        ..settings_at(&sts)
    };
    let room = room(&world, &[patient], None);
    let arn = || Ok(format!("arn:aws:iam::{ACCOUNT}:role/checkout"));
    assert_eq!(verdict(&room, &call().token(&role().keys)).await, arn());
    let at = |second| PresignedCall::new("eu-west-1", AUDIENCE, NOW - second);
    for second in 0..90 {
        let guessed = AwsKeys {
            secret_key: "guessed".to_owned(),
            session_token: (second % 2 == 0).then(|| "guessed".to_owned()),
            ..role().keys
        };
        let told = verdict(&room, &at(second).token(&guessed)).await;
        let is_refused = matches!(told, Err("aws_refused" | "proofs_penalty"));
        assert!(is_refused, "{told:?}");
    }
    for second in 1..90 {
        let own = at(second).token(&role().keys);
        assert_eq!(verdict(&room, &own).await, arn(), "{second} s ago");
    }
}

/// Scenario: many callers at once show the same new proof. Guarantees: AWS is asked once.
#[tokio::test]
async fn one_proof_is_one_question() {
    let world = World::new();
    let sts = start(&world, &["eu-west-1"]).await;
    sts.add(role());
    sts.fail(Some(Mood::Slow(Duration::from_millis(50))));
    let room = room(&world, &[settings_at(&sts)], None);
    let token = call().token(&role().keys);
    let all = (0..32).map(|_| verdict(&room, &token));
    for told in futures_util::future::join_all(all).await {
        assert_eq!(told, Ok(format!("arn:aws:iam::{ACCOUNT}:role/checkout")));
    }
    assert_eq!(sts.calls().len(), 1);
}

/// Scenario: ten thousand sessions of roles are remembered. Guarantees: by the estimate that bounds the store they take at most
/// 10 MiB.
#[tokio::test]
async fn ten_thousand_callers_fit() {
    let world = World::new();
    let many = AwsSettings {
        calls_per_second: 1_000_000,
        ..settings()
    };
    let room = room(&world, &[many], None);
    let issuer = room.aws.first().unwrap();
    for number in 0..10_000 {
        let arn = format!(
            "arn:aws:sts::{ACCOUNT}:assumed-role/checkout-workers-{number}/i-0123456789abcdef{number}"
        );
        let user = format!("AROACKCEVSQ6C2EXAMPLE:i-0123456789abcdef{number}");
        let StsWords::Named(principal) = StsWords::read(&arn, ACCOUNT, &user) else {
            panic!("{arn}")
        };
        let opinion = issuer.opinion(&principal, None, NOW + 900);
        let evidence = Evidence::of(arn.as_bytes(), None, None);
        let now = UnixMillis(NOW * 1000);
        let judged = issuer
            .proven
            .judge(&evidence, HERE, now, || async { opinion })
            .await;
        assert!(judged.is_ok());
    }
    let (count, weight) = issuer.proven.held();
    assert_eq!(count, 10_000);
    assert!(weight <= 10 << 20, "{weight}");
}

#[test]
fn a_pattern_leaves_neither_account_nor_partition_open() {
    for (text, expected) in [
        ("arn:aws:iam::123456789012:role/checkout", None),
        ("arn:aws:iam::123456789012:role/*", None),
        ("arn:aws-cn:iam::123456789012:user/team/*", None),
        ("arn:aws:iam::123456789012:root", None),
        ("arn:aws:sts::123456789012:federated-user/ada", None),
        ("", Some(ArnPatternFault::Parts)),
        ("*", Some(ArnPatternFault::Parts)),
        ("arn:aws:iam::123456789012", Some(ArnPatternFault::Parts)),
        (
            "arn:aws:iam::123456789012:role/a:b",
            Some(ArnPatternFault::Parts),
        ),
        (
            "ARN:aws:iam::123456789012:role/a",
            Some(ArnPatternFault::Parts),
        ),
        (
            "arn:*:iam::123456789012:role/a",
            Some(ArnPatternFault::Wildcard),
        ),
        ("arn:aws:iam::*:role/a", Some(ArnPatternFault::Wildcard)),
        (
            "arn:aws:iam::12345678901*:role/a",
            Some(ArnPatternFault::Wildcard),
        ),
        (
            "arn:aws:*::123456789012:role/a",
            Some(ArnPatternFault::Service),
        ),
        (
            "arn:aws:iam:*:123456789012:role/a",
            Some(ArnPatternFault::Service),
        ),
        (
            "arn:aws:iam::123456789012:*",
            Some(ArnPatternFault::Service),
        ),
        (
            "arn:aws:iam::123456789012:role",
            Some(ArnPatternFault::Service),
        ),
        (
            "arn:aws:iam::123456789012:role/",
            Some(ArnPatternFault::Service),
        ),
        (
            "arn:aws:iam::123456789012:root/x",
            Some(ArnPatternFault::Service),
        ),
        (
            "arn:aws:iam::123456789012:role/team/a",
            Some(ArnPatternFault::RolePath),
        ),
        (
            "arn:aws:iam::123456789012:role/**",
            Some(ArnPatternFault::Crossing),
        ),
        (
            "arn:aws:sts::123456789012:assumed-role/a/b",
            Some(ArnPatternFault::Session),
        ),
        (
            "arn:aws:sts::123456789012:federated-user/*",
            Some(ArnPatternFault::Named),
        ),
    ] {
        assert_eq!(ArnPattern::read(text).err(), expected, "{text}");
    }
}
