//! Opaque tokens, end to end: what the gateway asks an issuer, who that makes of a caller, and what an outage of the issuer
//! is. What it refuses to know: which answers count; the room's own tests know.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use testkit::{
    Answer, DevelopmentCertificates, IssuerFault, Sample, SampleCaller, TokenJudge, TokenWord,
    World,
};

use super::stage;
use crate::folder::Folder;

/// Of the demonstration's frontend, and as its authorization server made it.
const OPAQUE: &str = "ory_at_canary.Zq-1_~+/8=";
const FRONTEND: &str = "system:serviceaccount:shop:frontend";
const BASIC: &str = "Basic Z2F0ZXdheTpjYW5hcnktczNjcmV0";

fn inactive() -> TokenWord {
    TokenWord::json(&json!({ "active": false }))
}

/// What the issuer says of a workload's token.
pub fn active(world: &World, subject: &str) -> TokenWord {
    let claims = world
        .issuer
        .claims(subject)
        .set("active", true)
        .set("token_type", "Bearer");
    TokenWord::json(&Value::from(claims))
}

/// The demonstration's world, whose issuer has an endpoint there; `proof`: the settings by which the gateway proves itself.
async fn world(judge: &TokenJudge, proof: &str, more: &str) -> World {
    let asked = asked(judge, proof, more);
    stage::start(stage::plan(&[("audiences: [lightkeeper]", &asked)])).await
}

/// The setting, in the place of the issuer's audiences.
pub fn asked(judge: &TokenJudge, proof: &str, more: &str) -> String {
    let url = judge.url();
    format!(
        "audiences: [lightkeeper]\n    introspection: {{ url: \"{url}/introspect\", client_id: gateway, {proof}{more} }}"
    )
}

pub fn by_secret(folder: &Folder) -> String {
    std::fs::write(folder.join("secret"), "canary-s3cret\n").unwrap();
    format!("client_secret: {{ file: \"{}\" }}", folder.at("secret"))
}

async fn export(caller: &SampleCaller) -> Answer {
    stage::export(caller, "checkout").await
}

/// Scenario: a workload with an opaque token exports over HTTP/1.1, HTTP/2 and gRPC, in clear and over TLS. Guarantees: the
/// issuer is asked once, in the standard's form, with the gateway's proof; the record and the stamp name the subject and
/// the method; the token and the secret stand in no record, and go nowhere else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_exports_with_an_opaque_token() {
    let folder = Folder::new();
    let judge = TokenJudge::start(None, inactive()).await.unwrap();
    judge.want(BASIC);
    let world = world(&judge, &by_secret(&folder), "").await;
    judge.say(OPAQUE, active(&world, FRONTEND));
    let plain = world.plain_caller().bearer(OPAQUE);
    for (what, caller, grpc) in [
        ("HTTP/1.1", plain.clone(), false),
        ("TLS", world.caller().bearer(OPAQUE), false),
        ("HTTP/2", world.caller().bearer(OPAQUE).http2(), false),
        ("gRPC", plain.clone(), true),
    ] {
        world.emulator.clear();
        let answer = if grpc {
            caller
                .export_grpc(&Sample::traces("checkout", 1))
                .await
                .unwrap()
        } else {
            export(&caller).await
        };
        let record = stage::recorded(&world, &answer).await;
        assert_eq!(record["reason"], "ok", "{what}: {record:#}");
        let identity = &record["identity"];
        assert_eq!(
            (
                &identity["method"],
                &identity["issuer"],
                &identity["subject"]
            ),
            (&json!("introspection"), &json!("acme"), &json!(FRONTEND)),
            "{what}"
        );
        let exports = world.emulator.exports();
        let resource = &exports[0].resources[0];
        assert_eq!(
            resource.values("lightkeeper.identity"),
            [FRONTEND],
            "{what}"
        );
        assert_eq!(
            resource.values("lightkeeper.identity.method"),
            ["introspection"],
            "{what}"
        );
    }
    let asked = judge.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    let question = &asked[0];
    assert_eq!(
        (&*question.method, &*question.path),
        ("POST", "/introspect")
    );
    assert_eq!(question.field("token").as_deref(), Some(OPAQUE));
    assert_eq!(
        question.field("token_type_hint").as_deref(),
        Some("access_token")
    );
    assert_eq!(
        question.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(question.header("accept"), Some("application/json"));
    assert_eq!(question.field("client_secret"), None);
    let sent = String::from_utf8_lossy(&world.emulator.wire()).into_owned();
    let trail = format!("{:?}", world.records());
    for secret in [OPAQUE, "canary-s3cret", "Y2FuYXJ5LXMzY3JldA"] {
        assert!(
            !sent.contains(secret) && !trail.contains(secret),
            "{secret}"
        );
    }
}

/// Scenario: a hundred calls at once with a token that is new; then one that is not active, and one without
/// form. Guarantees: the issuer is asked once about each; what has no form is asked about never.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_asks_once() {
    let folder = Folder::new();
    let judge = TokenJudge::start(None, inactive()).await.unwrap();
    let world = world(&judge, &by_secret(&folder), "").await;
    judge.say(OPAQUE, active(&world, FRONTEND));
    judge.fail(Some(IssuerFault::Slow(Duration::from_millis(200))));
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let caller = world.plain_caller().bearer(OPAQUE);
        calls.spawn(async move { export(&caller).await.status });
    }
    while let Some(status) = calls.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!(judge.asked().len(), 1);
    judge.fail(None);
    for (token, reason, asked) in [
        ("revoked", "token_inactive", 2),
        ("revoked", "token_inactive", 2),
        ("with,comma", "conflicting_credentials", 2),
        ("with:colon", "token_malformed", 2),
    ] {
        let answer = export(&world.plain_caller().bearer(token)).await;
        let record = stage::recorded(&world, &answer).await;
        assert_eq!(record["reason"], reason, "{token}");
        assert_eq!(judge.asked().len(), asked, "{token}");
    }
    // The backend's own token is not shown to the issuer.
    let placeholder = world.plain_caller().access_token("some-lightstep-token");
    assert_eq!(export(&placeholder).await.status, 401);
    assert_eq!(judge.asked().len(), 2);
}

/// Scenario: the endpoint is down, broken, a portal's page, huge, refuses the gateway, and is back; over HTTP and gRPC.
/// Guarantees: each outage is 503 or UNAVAILABLE with its reason and never 401, nothing of it is remembered, and what was
/// accepted before goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_never_the_callers_fault() {
    let folder = Folder::new();
    let judge = TokenJudge::start(None, inactive()).await.unwrap();
    judge.want(BASIC);
    let world = world(&judge, &by_secret(&folder), "").await;
    judge.say(OPAQUE, active(&world, FRONTEND));
    judge.say("known", active(&world, FRONTEND));
    let known = world.plain_caller().bearer("known");
    assert_eq!(export(&known).await.status, 200);
    let caller = world.plain_caller().bearer(OPAQUE);
    for (fault, reason) in [
        (IssuerFault::Unavailable, "introspection_unavailable"),
        (IssuerFault::Close, "introspection_unavailable"),
        (IssuerFault::Garbage, "introspection_answer"),
        (IssuerFault::Huge(1 << 20), "introspection_unavailable"),
    ] {
        judge.fail(Some(fault));
        let answer = export(&caller).await;
        assert_eq!(answer.status, 503, "{fault:?}");
        assert!(answer.header("retry-after").is_some(), "{fault:?}");
        assert_eq!(
            stage::recorded(&world, &answer).await["reason"],
            reason,
            "{fault:?}"
        );
        let answer = caller
            .export_grpc(&Sample::traces("checkout", 1))
            .await
            .unwrap();
        assert_eq!(answer.grpc_status(), Some(14), "{fault:?}");
        assert_eq!(export(&known).await.status, 200, "{fault:?}");
    }
    judge.fail(None);
    judge.want("Basic other");
    let answer = export(&caller).await;
    assert_eq!(
        stage::recorded(&world, &answer).await["reason"],
        "introspection_client"
    );
    judge.stop().await;
    let answer = export(&caller).await;
    assert_eq!(
        stage::recorded(&world, &answer).await["reason"],
        "introspection_unavailable"
    );
    judge.restart().await.unwrap();
    judge.want(BASIC);
    assert_eq!(export(&caller).await.status, 200);
    let failed = "lightkeeper_events_total{event=\"consultation_failed\"}";
    assert!(stage::metric(&world, failed).await >= 10.0);
}

/// Scenario: the gateway proves itself by an assertion, and by its certificate. Guarantees: the assertion is for the issuer,
/// by the key that is configured, short-lived and a new one each time; a certificate's connection names the client alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_proves_itself_without_a_shared_secret() {
    let folder = Folder::new();
    let clock = lightkeeper::clock::Clock::system();
    let certificates = DevelopmentCertificates::new(&clock).unwrap();
    let leaf = certificates
        .authority
        .spiffe("spiffe://prod.acme.example/gateway")
        .unwrap();
    std::fs::write(folder.join("client.pem"), &leaf.certificate).unwrap();
    std::fs::write(folder.join("client.key"), &leaf.key).unwrap();
    std::fs::write(folder.join("ca.pem"), certificates.authority.certificate()).unwrap();
    let judge = TokenJudge::start(None, inactive()).await.unwrap();
    let key = format!(
        "private_key_jwt: {{ key: \"{}\", key_id: k1 }}",
        folder.at("client.key")
    );
    let first = world(&judge, &key, ", cache: 0s").await;
    judge.say(OPAQUE, active(&first, FRONTEND));
    let mut seen = Vec::new();
    for _ in 0..2 {
        assert_eq!(
            export(&first.plain_caller().bearer(OPAQUE)).await.status,
            200
        );
        let question = judge.asked().pop().unwrap();
        assert_eq!(question.header("authorization"), None);
        assert_eq!(question.field("client_id").as_deref(), Some("gateway"));
        assert_eq!(
            question.field("client_assertion_type").as_deref(),
            Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
        );
        let assertion = question.field("client_assertion").unwrap();
        let part = |number: usize| -> Value {
            let part = assertion.split('.').nth(number).unwrap();
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        let (header, claims) = (part(0), part(1));
        assert_eq!(header, json!({"alg": "ES256", "typ": "JWT", "kid": "k1"}));
        assert_eq!(
            (&claims["iss"], &claims["sub"]),
            (&json!("gateway"), &json!("gateway"))
        );
        assert_eq!(claims["aud"], first.issuer.url());
        let lives = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert_eq!(lives, 60);
        seen.push(claims["jti"].clone());
    }
    assert!(seen[0] != seen[1], "an assertion is used once");

    let judge = TokenJudge::start(Some(&certificates.server_tls(true)), inactive())
        .await
        .unwrap();
    let proof = format!(
        "mtls: {{ certificate: \"{}\", key: \"{}\" }}",
        folder.at("client.pem"),
        folder.at("client.key")
    );
    let url = judge.url();
    let asked = format!(
        "audiences: [lightkeeper]\n    ca: \"{}\"\n    introspection: {{ url: \"{url}/introspect\", client_id: gateway, {proof} }}",
        folder.at("ca.pem")
    );
    let second = stage::start(stage::plan(&[("audiences: [lightkeeper]", &asked)])).await;
    judge.say(OPAQUE, active(&second, FRONTEND));
    let answer = export(&second.plain_caller().bearer(OPAQUE)).await;
    assert_eq!(
        answer.status,
        200,
        "{:?}",
        stage::recorded(&second, &answer).await
    );
    let question = judge.asked().pop().unwrap();
    assert!(question.has_certificate);
    assert_eq!(question.field("client_id").as_deref(), Some("gateway"));
    assert_eq!(question.field("client_assertion"), None);
}
