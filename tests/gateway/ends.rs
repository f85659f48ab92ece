//! What has ended is refused in every form of use: on new connections and on open ones, over each protocol, by a browser, and
//! through `connect`. What it refuses to know: what else a message or a file may say; `revocations` does.
//!
//! Each row says how long it took from the word to the refusal (`--nocapture` shows it); a second is promised, and not asserted.

use std::time::Instant;

use http::Method;
use lightkeeper::clock::Clock;
use serde_json::{Value, json};
use testkit::calls::Line;
use testkit::{AwsCaller, Issuer, Leaf, Sample, SampleCaller, TokenJudge, TokenWord};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::introspection;
use super::revocations::{
    CAEP, event, hears_events, id_of, logout_token, push_event, push_logout, with_all,
};
use super::site::{Browser, SESSION};
use super::stage::{self, eventually};
use crate::developer::connecting::connect;
use crate::developer::desk::Desk;
use crate::folder::Folder;

const WHOAMI: &str = "/.lightkeeper/whoami";
const GRPC: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const OPAQUE: &str = "ory_at_canary.Zq-1_~+/8=";
const FRONTEND: &str = "system:serviceaccount:shop:frontend";
const ACCOUNT: &str = testkit::world::AWS_ACCOUNT;

/// A way in which a proof goes on being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UseForm {
    /// What the gateway remembers of the proof is all that these calls have in common.
    NewConnections,
    OpenHttp1,
    /// The same with a body in each call.
    OpenHttp1Export,
    OpenHttp2,
    /// A channel of gRPC.
    OpenGrpc,
}

/// A session proves nothing where workloads come in.
const OF_BROWSERS: [UseForm; 3] = [
    UseForm::NewConnections,
    UseForm::OpenHttp1,
    UseForm::OpenHttp2,
];
const ALL: [UseForm; 5] = [
    UseForm::NewConnections,
    UseForm::OpenHttp1,
    UseForm::OpenHttp1Export,
    UseForm::OpenHttp2,
    UseForm::OpenGrpc,
];

/// How a proof is ended.
enum ProofEnd {
    /// A line of the file.
    Listed(String),
    /// A security event about this subject.
    Told(Value),
    /// A logout of this subject.
    LoggedOut(&'static str),
}

struct OngoingUse {
    form: UseForm,
    caller: SampleCaller,
    line: Option<Line>,
}

impl OngoingUse {
    async fn begin(form: UseForm, caller: &SampleCaller) -> Self {
        let caller = match form {
            UseForm::OpenHttp2 | UseForm::OpenGrpc => caller.clone().http2(),
            _ => caller.clone(),
        };
        let line = match form {
            UseForm::NewConnections => None,
            _ => Some(caller.connect().await.unwrap()),
        };
        OngoingUse { form, caller, line }
    }

    /// Whether a call is refused. `None`: the connection is closed.
    async fn is_refused(&mut self) -> Option<bool> {
        let Some(line) = &mut self.line else {
            let answer = self.caller.get(WHOAMI).await.unwrap();
            return Some(is_401(answer.status));
        };
        let sample = Sample::traces("some-service", 1).protobuf();
        let protobuf = [("content-type", "application/x-protobuf")];
        let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
        let sent = match self.form {
            UseForm::OpenGrpc => {
                let length = u32::try_from(sample.len()).unwrap().to_be_bytes();
                let message = [&[0_u8][..], &length, &sample].concat();
                line.send(Method::POST, GRPC, &grpc, message).await
            }
            UseForm::OpenHttp1Export => {
                line.send(Method::POST, "/v1/traces", &protobuf, sample)
                    .await
            }
            _ => line.send(Method::GET, WHOAMI, &[], Vec::new()).await,
        };
        let answer = sent.ok()?;
        Some(match self.form {
            UseForm::OpenGrpc => answer.grpc_status().unwrap() == 16,
            _ => is_401(answer.status),
        })
    }
}

/// What is let in may still lack a permission, or name no app.
fn is_401(status: u16) -> bool {
    assert!(status < 500, "{status}");
    status == 401
}

/// Scenario: callers of each kind use one proof in each form that it has, again and again, while it is ended: by a line of the
/// file, by a security event, by a logout. Guarantees: every form is refused, and refused from then on or its connection
/// closed; no form is refused before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_of_use_ends_with_its_proof() {
    let (folder, desk) = (Folder::new(), Desk::new());
    let signals = Issuer::start().await.unwrap();
    let inactive = TokenWord::json(&json!({ "active": false }));
    let judge = TokenJudge::start(None, inactive).await.unwrap();
    let asked = introspection::asked(&judge, &introspection::by_secret(&folder), "");
    let mut plan = with_all(&signals);
    plan.config = plan.config.replace("audiences: [lightkeeper]", &asked);
    let world = stage::start(plan.with_aws()).await;
    tokio::spawn(world.gateway.clone().watch());
    hears_events(&world).await;
    judge.say(OPAQUE, introspection::active(&world, FRONTEND));
    let role = AwsCaller::role(ACCOUNT, "checkout-lambda", "i-0abc");
    world.sts.as_ref().unwrap().add(role.clone());
    let leaf = Leaf::read(&world.folder().join("certs"), "collector").unwrap();
    let (serial, _) = leaf.marks().unwrap();
    let token = |name: &str| world.issuer.token(name);
    let bearer = |token: &str| world.caller().bearer(token);
    let session = async |person: &str| {
        let mut browser = Browser::new(&world);
        browser.log_in(person, "").await;
        let cookie = format!("{SESSION}={}", browser.jar[SESSION]);
        world.caller().header("cookie", &cookie)
    };
    desk.log_in(&world.plain_url(), "lea").await;
    let (_program, base, key) = connect(&desk, &[]);
    let tool = SampleCaller::new(&base).bearer(&key);
    let jti = token("checkout-collector");
    let until = "until: 2126-01-01T00:00:00Z";
    let subject = |issuer: &str, subject: &str| {
        ProofEnd::Listed(format!(
            "{{ issuer: {issuer}, subject: \"{subject}\", issued_before: 2100-01-01T00:00:00Z, {until} }}"
        ))
    };
    let named = |subject: &str| {
        ProofEnd::Told(json!({"format": "iss_sub", "iss": world.issuer.url(), "sub": subject}))
    };
    let listed = |line: String| ProofEnd::Listed(format!("{{ {line}, {until} }}"));
    let arn = format!("arn:aws:iam::{ACCOUNT}:role/checkout-lambda");
    let aws = world.aws_token(&role, &Clock::system());
    let address = json!({"format": "email", "email": "Pat@acme.example"});
    let rows = [
        (
            "a token",
            bearer(&jti),
            &ALL[..],
            listed(format!("issuer: acme, jti: \"{}\"", id_of(&jti))),
        ),
        (
            "an opaque token",
            bearer(OPAQUE),
            &ALL,
            subject("acme", FRONTEND),
        ),
        ("a role of AWS", bearer(&aws), &ALL, subject("aws", &arn)),
        (
            "a certificate",
            world.caller().certificate(&leaf),
            &ALL,
            listed(format!("issuer: workloads, serial: \"{serial}\"")),
        ),
        (
            "a session",
            session("sam").await,
            &OF_BROWSERS,
            subject("acme", "sam@acme.example"),
        ),
        (
            "`connect`",
            tool,
            &OF_BROWSERS[..2],
            subject("acme", "lea@acme.example"),
        ),
        (
            "a token",
            bearer(&token("payments-collector")),
            &ALL,
            named("system:serviceaccount:payments:collector"),
        ),
        (
            "a session",
            session("pat").await,
            &OF_BROWSERS,
            ProofEnd::Told(address),
        ),
        (
            "a token",
            bearer(&token("cluster-collector")),
            &ALL,
            ProofEnd::LoggedOut("system:serviceaccount:observability:collector"),
        ),
        (
            "a session",
            session("ann").await,
            &OF_BROWSERS,
            ProofEnd::LoggedOut("ann@acme.example"),
        ),
    ];
    let mut list = String::new();
    for (what, caller, forms, end) in rows {
        let mut uses = Vec::new();
        for form in forms {
            uses.push(OngoingUse::begin(*form, &caller).await);
        }
        for one in &mut uses {
            assert_eq!(
                one.is_refused().await,
                Some(false),
                "{what}, {:?}",
                one.form
            );
        }
        let since = Instant::now();
        let by = match end {
            ProofEnd::Listed(line) => {
                list.push_str(&format!("  - {line}\n"));
                let text = format!("version: 1\nrevocations:\n{list}");
                stage::replace(&world.folder().join("revocations.yaml"), text);
                "the file"
            }
            ProofEnd::Told(subject) => {
                let now = world.gateway.shared().clock.now().seconds();
                let revoked = format!("{CAEP}session-revoked");
                let answer = push_event(&world, &event(&signals, &revoked, subject, now)).await;
                assert_eq!(answer.status, 202, "{what}");
                "a security event"
            }
            ProofEnd::LoggedOut(subject) => {
                let answer = push_logout(&world, &logout_token(&world.issuer, subject)).await;
                assert_eq!(answer.status, 200, "{what}");
                "a logout"
            }
        };
        let mut ended = JoinSet::new();
        for one in uses {
            let story = format!("{what} ended by {by}, {:?}", one.form);
            ended.spawn(until_refused(story, one, since));
        }
        ended.join_all().await;
    }
}

/// Uses a proof until it is refused, and once more.
async fn until_refused(story: String, one: OngoingUse, since: Instant) {
    let one = Mutex::new(one);
    eventually(&story, || async {
        let mut one = one.lock().await;
        match one.is_refused().await {
            Some(refused) => refused.then_some(()),
            // The line of an export that is refused closes behind its unread body, and may take the answer with it.
            None => (one.form == UseForm::OpenHttp1Export).then_some(()),
        }
    })
    .await;
    let took = since.elapsed().as_millis();
    let then = one.lock().await.is_refused().await;
    assert_ne!(then, Some(false), "{story}: let in again");
    let after = if then.is_none() { "closed" } else { "open" };
    println!("{story}: refused after {took} ms, then {after}");
}
