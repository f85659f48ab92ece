//! AWS roles, end to end: calls to AWS that workloads signed, in every place for a token, over every protocol, and what becomes of
//! them when AWS does not answer. What it refuses to know: which signed calls are right; the room's own tests know.

use std::sync::atomic::Ordering;
use std::time::Duration;

use lightkeeper::clock::Clock;
use lightkeeper::otlp::Encoding;
use serde_json::json;
use testkit::sigv4::PresignedCall;
use testkit::world::{AWS_ACCOUNT, AWS_AUDIENCE, AWS_REGION};
use testkit::{
    Answer, AwsCaller, Carrier, Format, LegacySample, Mood, Sample, SampleCaller, Sts, World,
    WorldPlan,
};

use super::stage;

fn lambda() -> AwsCaller {
    AwsCaller::role(AWS_ACCOUNT, "checkout-lambda", "i-0abc")
}

fn arn() -> String {
    format!("arn:aws:iam::{AWS_ACCOUNT}:role/checkout-lambda")
}

/// What a record says of the role's session besides.
fn principal() -> serde_json::Value {
    let user_id = lambda().user_id;
    let (unique_id, session) = user_id.split_once(':').unwrap();
    json!({"account": AWS_ACCOUNT, "unique_id": unique_id, "session": session})
}

fn sts(world: &World) -> &Sts {
    world.sts.as_ref().unwrap()
}

/// The demonstration's world with AWS, where the role is known.
async fn world() -> World {
    let world = stage::start(stage::plan(&[]).with_aws()).await;
    sts(&world).add(lambda());
    world
}

async fn export(caller: &SampleCaller) -> Answer {
    stage::export(caller, "some-service").await
}

/// Scenario: a role exports over HTTP/1.1, HTTP/2 and gRPC, with its proof in either header, in plain text and over TLS; and in each
/// legacy format with its proof in each place that the format knows. Guarantees: all arrives in its app's project, stamped with the
/// role; AWS is asked once; neither the proof nor what is in it goes anywhere else or is written down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_exports_in_every_carrier() {
    let world = world().await;
    let token = world.aws_token(&lambda(), &Clock::system());
    for caller in [world.plain_caller(), world.caller()] {
        for caller in [caller.clone().bearer(&token), caller.access_token(&token)] {
            for (what, answer) in [
                ("http/1.1", export(&caller).await),
                ("http/2", export(&caller.clone().http2()).await),
                (
                    "grpc",
                    caller
                        .export_grpc(&Sample::traces("some-service", 1))
                        .await
                        .unwrap(),
                ),
            ] {
                let record = stage::recorded(&world, &answer).await;
                assert_eq!(record["reason"], "ok", "{what}: {record:#}");
                assert_eq!(
                    record["identity"],
                    json!({"method": "aws", "issuer": "aws", "subject": arn(), "aws": principal()}),
                    "{what}"
                );
                assert_eq!(record["bindings"], json!(["checkout-lambdas"]));
            }
        }
    }
    let exports = world.emulator.exports();
    assert_eq!(exports.len(), 12);
    for export in &exports {
        assert_eq!(export.project, "checkout-prod");
        let resource = &export.resources[0];
        assert_eq!(resource.values("lightkeeper.identity"), [arn()]);
        assert_eq!(resource.values("lightkeeper.identity.issuer"), ["aws"]);
        assert_eq!(resource.values("lightkeeper.identity.method"), ["aws"]);
    }
    for format in Format::ALL {
        for carrier in format.carriers() {
            // Evidence never stands in a point's labels.
            if (format, *carrier) == (Format::Metrics, Carrier::Tag) {
                continue;
            }
            let before = world.emulator.exports().len();
            let mut sample = LegacySample::of(format, "checkout", 3).carrying(*carrier, &token);
            if *carrier != Carrier::Header {
                sample = sample.carrying(Carrier::Header, "developer");
            }
            let answer = world.plain_caller().report(&sample).await.unwrap();
            let record = stage::recorded(&world, &answer).await;
            let told = format!("{format:?} {carrier:?}: {record:#}");
            assert_eq!(record["reason"], "ok", "{told}");
            assert_eq!(record["identity"]["subject"], arn(), "{told}");
            let exports = world.emulator.exports();
            assert_eq!(exports.len(), before + 1, "{told}");
            assert_eq!(exports.last().unwrap().project, "checkout-prod", "{told}");
        }
    }
    assert_eq!(sts(&world).calls().len(), 1);
    let (_, metrics) = stage::admin(&world, "/metrics").await;
    let trail = std::fs::read_to_string(world.folder().join("audit.jsonl")).unwrap();
    let keys = lambda().keys;
    let session = keys.session_token.unwrap();
    for secret in [token.as_str(), &session, &keys.access_key] {
        assert!(!trail.contains(secret) && !metrics.contains(secret));
        let is_there = |one: &testkit::Captured| one.contains(secret.as_bytes());
        assert!(!world.emulator.captured().iter().any(is_there));
    }
}

/// Scenario: proofs that AWS refuses, of another account, for another gateway, too old, of another form, and two at once; over
/// HTTP and gRPC. Guarantees: 401 or 403 with the reason in the record, nothing sent upstream; all of one status look alike.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_aws_refuses_is_refused() {
    let world = world().await;
    let now = Clock::system().now().seconds();
    let stranger = sts(&world).add(AwsCaller::role("210987654321", "checkout-lambda", "i-0abc"));
    let unbound = sts(&world).add(AwsCaller::user(AWS_ACCOUNT, "ada"));
    let unknown = AwsCaller::role(AWS_ACCOUNT, "nobody", "i-0abc");
    let signed = |call: PresignedCall, caller: &AwsCaller| call.token(&caller.keys);
    let call = |audience: &str, at: i64| PresignedCall::new(AWS_REGION, audience, at);
    let good = signed(call(AWS_AUDIENCE, now), &lambda());
    for (token, status, grpc, reason) in [
        (
            signed(call(AWS_AUDIENCE, now), &stranger),
            403,
            7,
            "aws_account_unknown",
        ),
        (
            signed(call(AWS_AUDIENCE, now), &unbound),
            403,
            7,
            "no_writable_app",
        ),
        (
            signed(call(AWS_AUDIENCE, now), &unknown),
            401,
            16,
            "aws_refused",
        ),
        (
            signed(call("lightkeeper:other.example", now), &lambda()),
            401,
            16,
            "aws_refused",
        ),
        (
            signed(call("prod-cluster", now), &lambda()),
            401,
            16,
            "aws_refused",
        ),
        (
            signed(call(AWS_AUDIENCE, now - 960), &lambda()),
            401,
            16,
            "token_expired",
        ),
        (
            signed(call(AWS_AUDIENCE, now + 900), &lambda()),
            401,
            16,
            "token_not_yet_valid",
        ),
        (
            signed(
                PresignedCall::new("us-east-1", AWS_AUDIENCE, now),
                &lambda(),
            ),
            401,
            16,
            "aws_host_unknown",
        ),
        (format!("{good}x"), 401, 16, "aws_proof_malformed"),
        ("k8s-aws-v1.".to_owned(), 401, 16, "aws_proof_malformed"),
    ] {
        let caller = world.plain_caller().bearer(&token);
        let answer = export(&caller).await;
        let record = stage::recorded(&world, &answer).await;
        assert_eq!(
            (answer.status, &record["reason"]),
            (status, &json!(reason)),
            "{record:#}"
        );
        assert!(!answer.text().contains("AWS"), "{answer:?}");
        let answer = caller
            .export_grpc(&Sample::traces("some-service", 1))
            .await
            .unwrap();
        assert_eq!(answer.grpc_status(), Some(grpc), "{reason}");
    }
    let other = world.issuer.token("checkout-collector");
    let both = world.plain_caller().bearer(&good).access_token(&other);
    let record = stage::recorded(&world, &export(&both).await).await;
    assert_eq!(record["reason"], "conflicting_credentials");
    assert!(world.emulator.exports().is_empty());
    let (_, metrics) = stage::admin(&world, "/metrics").await;
    for line in [
        r#"lightkeeper_identifications_total{method="aws",outcome="accepted"} 2"#,
        r#"lightkeeper_identifications_total{method="aws",outcome="refused"} 18"#,
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

/// Scenario: AWS breaks off, is slow beyond patience, sends what is too large or makes no sense, throttles, and is gone. Guarantees:
/// callers are told to come again (503, UNAVAILABLE), never that they are wrong; who was accepted goes on until the proof is asked
/// about anew; when AWS is back, all go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_aws_refuses_no_caller() {
    let (clock, hand) = Clock::manual(Clock::system().now());
    let plan = WorldPlan {
        clock: clock.clone(),
        ..stage::plan(&[])
    };
    let world = stage::start(plan.with_aws()).await;
    sts(&world).add(lambda());
    let pass = |seconds: i64| hand.fetch_add(seconds * 1000, Ordering::Relaxed);
    let kept = world
        .plain_caller()
        .bearer(&world.aws_token(&lambda(), &clock));
    assert_eq!(export(&kept).await.status, 200);
    for fault in [
        Mood::Severed,
        Mood::Slow(Duration::from_secs(30)),
        Mood::Answer {
            status: 200,
            body: " ".repeat(2 << 20),
        },
        Mood::Answer {
            status: 200,
            body: "<html>".to_owned(),
        },
        Mood::Answer {
            status: 302,
            body: String::new(),
        },
        Mood::Answer {
            status: 400,
            body: r#"{"Error":{"Code":"Throttling"}}"#.to_owned(),
        },
    ] {
        sts(&world).fail(Some(fault.clone()));
        pass(1);
        let fresh = world
            .plain_caller()
            .bearer(&world.aws_token(&lambda(), &clock));
        let answer = export(&fresh).await;
        let record = stage::recorded(&world, &answer).await;
        let reason = record["reason"].as_str().unwrap();
        assert_eq!(answer.status, 503, "{fault:?} {record:#}");
        assert!(
            ["aws_unavailable", "proofs_timeout"].contains(&reason),
            "{reason}"
        );
        assert!(answer.header("retry-after").is_some());
        assert_eq!(export(&kept).await.status, 200, "{fault:?}");
    }
    sts(&world).stop().await;
    pass(1);
    let fresh = world
        .plain_caller()
        .bearer(&world.aws_token(&lambda(), &clock));
    let answer = fresh
        .export_grpc(&Sample::traces("some-service", 1))
        .await
        .unwrap();
    assert_eq!(answer.grpc_status(), Some(14));
    pass(300);
    assert_eq!(export(&kept).await.status, 503);
    sts(&world).fail(None);
    sts(&world).restart().await.unwrap();
    assert_eq!(export(&kept).await.status, 200);
    assert_eq!(export(&fresh).await.status, 200);
}

/// Scenario: one configuration at two replicas; a role shows one proof at both, again and again until it ends. Guarantees: it is good at
/// each, AWS is asked once by each and once more when its word is old, and it ends at both at the same second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_is_good_at_every_replica() {
    let (clock, hand) = Clock::manual(Clock::system().now());
    let plan = || WorldPlan {
        clock: clock.clone(),
        ..stage::plan(&[])
    };
    let one = stage::start(plan().with_aws()).await;
    let sts = sts(&one);
    sts.add(lambda());
    let other = stage::start(plan().with_aws_of(sts)).await;
    let token = one.aws_token(&lambda(), &clock);
    let callers = [&one, &other].map(|world| world.plain_caller().bearer(&token));
    for (seconds, status, calls) in [
        (0, 200, 2),
        (1, 200, 2),
        (298, 200, 2),
        (1, 200, 4),
        (599, 200, 6),
        (1, 401, 6),
        (3600, 401, 6),
    ] {
        hand.fetch_add(seconds * 1000, Ordering::Relaxed);
        for caller in &callers {
            for _ in 0..2 {
                let answer = export(caller).await;
                assert_eq!(answer.status, status, "{seconds}: {}", answer.text());
            }
        }
        assert_eq!(sts.calls().len(), calls, "{seconds}");
    }
    for world in [&one, &other] {
        assert_eq!(world.emulator.exports().len(), 10);
    }
}

/// Scenario: the gateway stamps what AWS tells of a caller; a role and a user export, and say something else of themselves. Guarantees:
/// the resource holds AWS's word once, and nothing under the name of what AWS did not tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_aws_tells_of_a_caller_is_stamped() {
    let sources = ", attributes_from: { aws.session: session, cloud.account.id: account, aws.unique: unique_id }";
    let mut plan = stage::plan(&[]).with_aws_and(sources);
    plan.policy.push_str(&format!(
        "  - {{ name: users, subjects: [{{ aws: \"arn:aws:iam::{AWS_ACCOUNT}:user/ada\" }}], role: reporter, apps: [shop/checkout] }}\n"
    ));
    let world = stage::start(plan).await;
    for caller in [lambda(), AwsCaller::user(AWS_ACCOUNT, "ada")] {
        sts(&world).add(caller.clone());
        world.emulator.clear();
        let token = world.aws_token(&caller, &Clock::system());
        let sample = Sample::traces("some-service", 1)
            .attribute("aws.session", "i-forged")
            .attribute("aws.unique", "AIDAFORGED");
        let sender = world.plain_caller().bearer(&token);
        let answer = sender.export(&sample, Encoding::Protobuf).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let exports = world.emulator.exports();
        let resource = &exports[0].resources[0];
        let (unique, session) = match caller.user_id.split_once(':') {
            Some((unique, session)) => (unique, vec![session]),
            None => (caller.user_id.as_str(), Vec::new()),
        };
        assert_eq!(resource.values("aws.session"), session);
        assert_eq!(resource.values("aws.unique"), [unique]);
        assert_eq!(resource.values("cloud.account.id"), [AWS_ACCOUNT]);
    }
}

/// Scenario: AWS names a caller in a way that no policy can write: an instance's own identity, a user beneath a path with a colon.
/// Guarantees: it is refused like who may do nothing, and not told to come again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_name_here_is_denied() {
    let world = world().await;
    for (arn, user_id) in [
        (
            "sts::123456789012:assumed-role/aws:ec2-instance/i-0abc",
            "123456789012:aws:ec2-instance:i-0abc",
        ),
        ("iam::123456789012:user/a:b/eve", "AIDACKCEVSQ6C2EXAMPLE"),
    ] {
        let caller = AwsCaller {
            arn: format!("arn:aws:{arn}"),
            user_id: user_id.to_owned(),
            ..AwsCaller::user(AWS_ACCOUNT, &format!("odd{}", user_id.len()))
        };
        sts(&world).add(caller.clone());
        let token = world.aws_token(&caller, &Clock::system());
        let answer = export(&world.plain_caller().bearer(&token)).await;
        let record = stage::recorded(&world, &answer).await;
        assert_eq!(answer.status, 403, "{record:#}");
        assert_eq!(record["reason"], "aws_caller_unnamed", "{record:#}");
    }
}
