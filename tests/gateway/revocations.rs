//! Proofs that are ended while callers hold them: by the operator's file, by the provider's logout, by security events. What
//! it refuses to know: what is wrong with a forged message; the room's own tests know.

use http::Method;
use lightkeeper::otlp::Encoding;
use serde_json::{Value, json};
use testkit::calls::Line;
use testkit::{Algorithm, Answer, Issuer, Leaf, Sample, SampleCaller, World};

use super::site::{Browser, SESSION};
use super::stage::{self, eventually};

const COLLECTOR: &str = "checkout-collector";
const EMPTY: &str = "version: 1\nrevocations: []\n";
const LOGOUT: &str = "/.lightkeeper/backchannel-logout";
const EVENTS: &str = "/.lightkeeper/ssf/events";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const SET: (&str, &str) = ("content-type", "application/secevent+jwt");
const AGREED: (&str, &str) = ("authorization", "Bearer what-was-agreed");
pub const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";

/// The demonstration's world with a file of revocations.
fn with_file() -> stage::WorldPlan {
    let mut plan = stage::plan(&[]);
    plan.more = "revocations: { file: revocations.yaml }".to_owned();
    plan.files = vec![("revocations.yaml".to_owned(), EMPTY.to_owned())];
    plan
}

/// The same, where `signals` transmits security events about the issuer's people.
fn with_transmitter(signals: &Issuer) -> stage::WorldPlan {
    let mut plan = stage::plan(&[]);
    plan.more = format!(
        "ssf: [{{ name: signals, issuer: \"{}\", jwks: {{ url: \"{}\" }}, audience: \"https://gateway.example\", \
         issuers: [acme], token: {{ file: push-token }} }}]",
        signals.url(),
        signals.jwks_url()
    );
    plan.files = vec![("push-token".to_owned(), "what-was-agreed".to_owned())];
    plan
}

/// Both.
pub fn with_all(signals: &Issuer) -> stage::WorldPlan {
    let (mut plan, file) = (with_transmitter(signals), with_file());
    plan.more = format!("{}\n{}", plan.more, file.more);
    plan.files.extend(file.files);
    plan
}

async fn again(line: &mut Line) -> Answer {
    let body = Sample::traces("some-service", 1).protobuf();
    let headers = [("content-type", "application/x-protobuf")];
    line.send(Method::POST, "/v1/traces", &headers, body)
        .await
        .unwrap()
}

async fn grpc(caller: &SampleCaller) -> Option<u32> {
    let answer = caller.export_grpc(&Sample::traces("some-service", 1)).await;
    answer.unwrap().grpc_status()
}

async fn status(caller: &SampleCaller) -> u16 {
    let answer = caller
        .export(&Sample::traces("some-service", 1), Encoding::Protobuf)
        .await;
    answer.unwrap().status
}

async fn reason(world: &World, answer: &Answer) -> String {
    let record = stage::record(world, &answer.header("lightkeeper-request-id").unwrap()).await;
    record["reason"].as_str().unwrap().to_owned()
}

/// The events of ended proofs, once there are `count`.
async fn ended(world: &World, count: usize) -> Vec<Value> {
    eventually(&format!("{count} ended proofs"), || async {
        let events: Vec<Value> = world
            .records()
            .into_iter()
            .filter(|record| record["event"] == "proof_ended")
            .collect();
        (events.len() >= count).then_some(events)
    })
    .await
}

async fn push(world: &World, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let caller = world.plain_caller();
    let sent = caller.send(Method::POST, path, headers, body.as_bytes().to_vec());
    sent.await.unwrap()
}

/// Waits until the transmitter's keys are there.
pub async fn hears_events(world: &World) {
    eventually("the transmitter's keys", || async {
        let (_, page) = stage::admin(world, "/readyz").await;
        let page: Value = serde_json::from_str(&page).unwrap();
        (page["transmitters"][0]["has_keys"] == true).then_some(())
    })
    .await;
}

/// As the transmitter of `with_transmitter` pushes.
pub async fn push_event(world: &World, token: &str) -> Answer {
    push(world, EVENTS, &[SET, AGREED], token).await
}

pub async fn push_logout(world: &World, token: &str) -> Answer {
    push(world, LOGOUT, &[FORM], &format!("logout_token={token}")).await
}

/// The id of a token, which the issuer makes.
pub fn id_of(token: &str) -> String {
    use base64::Engine as _;
    let claims = token.split('.').nth(1).unwrap();
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(claims)
        .unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["jti"].as_str().unwrap().to_owned()
}

/// Scenario: a collector exports over an open connection and over gRPC; its token's id, then its certificate's serial number
/// and key, are written into the file while the gateway watches it. Guarantees: the next calls are refused, on the open
/// connection too, each with a record; its neighbour is served; every entry is a record, a count, and part of the gauge; a line
/// that is taken out counts no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_ends_what_it_lists() {
    let world = stage::start(with_file()).await;
    tokio::spawn(world.gateway.clone().watch());
    let list = |lines: &str| {
        let text = format!("version: 1\nrevocations:\n{lines}");
        stage::replace(&world.folder().join("revocations.yaml"), text);
    };
    let until = "until: 2126-01-01T00:00:00Z";
    let token = world.issuer.token(COLLECTOR);
    let caller = world.plain_caller().bearer(&token);
    let neighbour = world.plain_caller().bearer(&world.issuer.token(COLLECTOR));
    let mut open = caller.connect().await.unwrap();
    let mut open_too = neighbour.connect().await.unwrap();
    assert_eq!(again(&mut open).await.status, 200);
    assert_eq!(again(&mut open_too).await.status, 200);
    assert_eq!(grpc(&caller.clone().http2()).await, Some(0));

    list(&format!(
        "  - {{ issuer: acme, jti: \"{}\", {until} }}\n",
        id_of(&token)
    ));
    let refused = eventually("the token's end", || async {
        let status = status(&caller).await;
        (status == 401).then_some(status)
    })
    .await;
    assert_eq!(refused, 401);
    let answer = again(&mut open).await;
    assert_eq!(
        (answer.status, reason(&world, &answer).await.as_str()),
        (401, "proof_revoked")
    );
    assert_eq!(grpc(&caller.clone().http2()).await, Some(16));
    assert_eq!(again(&mut open_too).await.status, 200);
    let events = ended(&world, 1).await;
    assert_eq!(events[0]["reason"], "revoked_by_file");
    let detail = events[0]["detail"].as_str().unwrap();
    assert_eq!(
        detail,
        format!(
            "jti {} of acme, until 2126-01-01T00:00:00.000Z",
            id_of(&token)
        )
    );
    stage::counts(
        &world,
        r#"lightkeeper_revocations_total{kind="jti",source="file"}"#,
        1.0,
    )
    .await;
    stage::counts(
        &world,
        r#"lightkeeper_revocation_entries{source="file"}"#,
        1.0,
    )
    .await;

    // The certificate: by its serial number, then by its key.
    let leaf = Leaf::read(&world.folder().join("certs"), "collector").unwrap();
    let (serial, key) = leaf.marks().unwrap();
    let holder = world.caller().certificate(&leaf);
    for line in [
        format!("  - {{ issuer: workloads, serial: \"{serial}\", {until} }}\n"),
        format!("  - {{ spki: \"sha256:{key}\", {until} }}\n"),
        format!(
            "  - {{ issuer: workloads, subject: \"{}\", issued_before: 2100-01-01T00:00:00Z, {until} }}\n",
            testkit::certificates::COLLECTOR_SPIFFE_ID
        ),
    ] {
        let mut open = holder.connect().await.unwrap();
        assert_eq!(again(&mut open).await.status, 200, "{line}");
        list(&line);
        eventually("the certificate's end", || async {
            (status(&holder).await == 401).then_some(())
        })
        .await;
        assert_eq!(again(&mut open).await.status, 401, "{line}");
        // It must hold beside a token, too.
        assert_eq!(status(&holder.clone().bearer(&token)).await, 401, "{line}");
        assert_eq!(
            status(&caller).await,
            200,
            "{line}: the token's line is gone"
        );
        stage::replace(&world.folder().join("revocations.yaml"), EMPTY);
        eventually("the certificate's return", || async {
            (status(&holder).await == 200).then_some(())
        })
        .await;
    }
}

/// Scenario: the file is broken while a token is revoked. Guarantees: the last good list holds; `/readyz` says what is wrong and
/// where, with a hint; the metric of reloads says so; `check` would say the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_file_keeps_the_last_good_list() {
    let world = stage::start(with_file()).await;
    let path = world.folder().join("revocations.yaml");
    let token = world.issuer.token(COLLECTOR);
    let caller = world.plain_caller().bearer(&token);
    assert_eq!(status(&caller).await, 200);
    let line = format!(
        "version: 1\nrevocations:\n  - {{ issuer: acme, jti: \"{}\", until: 2126-01-01T00:00:00Z }}\n",
        id_of(&token)
    );
    stage::replace(&path, &line);
    world.gateway.reload().await.unwrap();
    assert_eq!(status(&caller).await, 401);
    stage::replace(&path, line.replace("issuer: acme", "issuer: acne"));
    let errors = world.gateway.reload().await.unwrap_err().join("\n");
    let place = "revocations.yaml:3:15: error: there is no issuer `acne`";
    assert!(errors.contains(place), "{errors}");
    assert_eq!(status(&caller).await, 401);
    let (_, ready) = stage::admin(&world, "/readyz").await;
    assert!(ready.contains("revocations.yaml:3:15"), "{ready}");
    stage::counts(&world, "lightkeeper_last_reload_successful", 0.0).await;
    std::fs::remove_file(&path).unwrap();
    assert!(world.gateway.reload().await.is_err());
    assert_eq!(status(&caller).await, 401);
    stage::replace(&path, EMPTY);
    world.gateway.reload().await.unwrap();
    assert_eq!(status(&caller).await, 200);
}

/// A logout token of the world's issuer.
pub fn logout_token(issuer: &Issuer, subject: &str) -> String {
    let claims = issuer.claims(subject).audience("lightkeeper-web").set(
        "events",
        json!({"http://schemas.openid.net/event/backchannel-logout": {}}),
    );
    issuer.mint_with(json!({"typ": "logout+jwt"}), claims, Algorithm::Rs256)
}

/// Scenario: ann has a session and a token, and so has sam; the provider sends a logout token for ann, again, and forged ones.
/// Guarantees: hers end at once, his do not; the answers are those of the specification, kept by no cache; each logout is a
/// record; she can log in anew; a reload forgets nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_back_channel_logout_ends_session_and_tokens() {
    let world = stage::start(stage::plan(&[])).await;
    let (mut ann, mut sam) = (Browser::new(&world), Browser::new(&world));
    ann.log_in("ann", "").await;
    sam.log_in("sam", "").await;
    let old = ann.jar[SESSION].clone();
    let query = |person: &str| {
        let caller = world.plain_caller().bearer(&world.issuer.token(person));
        async move { caller.get("/apps").await.unwrap().status }
    };
    let token = world.plain_caller().bearer(&world.issuer.token("ann"));
    assert_eq!(token.get("/apps").await.unwrap().status, 200);
    assert_eq!(ann.get("/.lightkeeper/whoami").await.status, 200);

    let told = logout_token(&world.issuer, "ann@acme.example");
    let stranger = Issuer::start().await.unwrap();
    let forged = logout_token(&stranger, "ann@acme.example");
    let access = world.issuer.token("ann");
    for (body, headers, expected) in [
        (
            format!("logout_token={forged}"),
            FORM,
            "token_issuer_unknown",
        ),
        (format!("logout_token={access}"), FORM, "token_type"),
        (format!("token={told}"), FORM, "body_malformed"),
        (String::new(), FORM, "body_malformed"),
        (
            format!("logout_token={told}"),
            ("content-type", "text/plain"),
            "media_type_unsupported",
        ),
    ] {
        let answer = push(&world, LOGOUT, &[headers], &body).await;
        assert_eq!(answer.status, 400, "{expected}: {}", answer.text());
        assert_eq!(answer.header("cache-control").as_deref(), Some("no-store"));
        assert_eq!(answer.json().unwrap()["error"], "invalid_request");
        assert_eq!(reason(&world, &answer).await, expected);
    }
    assert_eq!(ann.get("/.lightkeeper/whoami").await.status, 200);
    let long = format!("logout_token={}", "a".repeat(70 << 10));
    assert_eq!(push(&world, LOGOUT, &[FORM], &long).await.status, 413);

    let body = format!("logout_token={told}");
    let answer = push(&world, LOGOUT, &[FORM], &body).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    assert_eq!(answer.header("cache-control").as_deref(), Some("no-store"));
    let repeated = push(&world, LOGOUT, &[FORM], &body).await;
    assert_eq!(
        (repeated.status, reason(&world, &repeated).await.as_str()),
        (400, "revocation_repeated")
    );
    for round in 0..2 {
        let refused = Browser::holding(&world, &old)
            .get("/.lightkeeper/whoami")
            .await;
        assert_eq!(
            (refused.status, reason(&world, &refused).await.as_str()),
            (401, "proof_revoked"),
            "{round}"
        );
        assert_eq!(token.get("/apps").await.unwrap().status, 401, "{round}");
        assert_eq!(sam.get("/.lightkeeper/whoami").await.status, 200, "{round}");
        assert_eq!(query("sam").await, 200, "{round}");
        world.gateway.reload().await.unwrap();
    }
    let call = answer.header("lightkeeper-request-id").unwrap();
    let events = ended(&world, 1).await;
    assert_eq!(events.len(), 1);
    let detail = events[0]["detail"].as_str().unwrap();
    assert_eq!(events[0]["reason"], "revoked_by_logout");
    assert!(
        detail.starts_with("sub ann@acme.example of acme, issued before ")
            && detail.contains(&call),
        "{detail}"
    );
    let record = stage::record(&world, &call).await;
    assert_eq!(
        (&record["operation"], &record["decision"], &record["reason"]),
        (&json!("backchannel_logout"), &json!("allow"), &json!("ok"))
    );
    let trail = std::fs::read_to_string(world.folder().join("audit.jsonl")).unwrap();
    assert!(!trail.contains(&told) && !trail.contains(&old));
    stage::counts(
        &world,
        r#"lightkeeper_revocations_total{kind="sub",source="backchannel_logout"}"#,
        1.0,
    )
    .await;
    stage::counts(
        &world,
        r#"lightkeeper_revocation_entries{source="network"}"#,
        1.0,
    )
    .await;
    // A browser with the ended session is led to the login.
    let turned = Browser::holding(&world, &old).get("/.lightkeeper/").await;
    assert_eq!(turned.status, 303);
}

/// A security event token.
pub fn event(signals: &Issuer, event: &str, subject: Value, at: i64) -> String {
    let claims = signals
        .claims("")
        .audience("https://gateway.example")
        .without("sub")
        .without("exp")
        .set("sub_id", subject)
        .set("events", json!({event: {"event_timestamp": at}}));
    signals.mint_with(json!({"typ": "secevent+jwt"}), claims, Algorithm::Rs256)
}

/// Scenario: a transmitter pushes events about a collector and about ann, wrong ones, and one about another issuer's subject.
/// Guarantees: what it speaks for ends at once, on the open connection too; everything else goes on; the answers are those of
/// RFC 8935; verification and unknown events are acknowledged and counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_security_event_ends_proofs() {
    let signals = Issuer::start().await.unwrap();
    let ci = Issuer::start().await.unwrap();
    let mut plan = with_transmitter(&signals);
    plan.config = plan.config.replace(
        "issuers:\n",
        &format!(
            "issuers:\n  - {{ name: ci, issuer: \"{}\", audiences: [lightkeeper] }}\n",
            ci.url()
        ),
    );
    let plan = stage::bind(
        plan,
        r#"{ name: ci, subjects: [{ issuer: ci, subject: "**" }], role: reporter, apps: [platform] }"#,
    );
    let world = stage::start(plan).await;
    hears_events(&world).await;
    let agreed = AGREED;
    let subject = testkit::issuer::PRINCIPALS
        .iter()
        .find(|principal| principal.name == COLLECTOR)
        .unwrap()
        .subject;
    let now = world.gateway.shared().clock.now().seconds();
    let revoked = format!("{CAEP}session-revoked");
    let named = |issuer: &Issuer| json!({"format": "iss_sub", "iss": issuer.url(), "sub": subject});
    let caller = world.plain_caller().bearer(&world.issuer.token(COLLECTOR));
    let others = world
        .plain_caller()
        .bearer(&ci.mint(ci.claims(subject), Algorithm::Rs256));
    let mut open = caller.connect().await.unwrap();
    assert_eq!(again(&mut open).await.status, 200);
    assert_eq!(status(&others).await, 200);
    assert_eq!(grpc(&caller.clone().http2()).await, Some(0));

    let good = event(&signals, &revoked, named(&world.issuer), now);
    let foreign = event(&signals, &revoked, named(&ci), now);
    let forged = event(&ci, &revoked, named(&world.issuer), now);
    let logout = logout_token(&world.issuer, subject);
    for (headers, body, err, why) in [
        (vec![SET], &good, "authentication_failed", "push_unproven"),
        (
            vec![SET, ("authorization", "Bearer what-else")],
            &good,
            "authentication_failed",
            "push_unproven",
        ),
        (
            vec![SET, agreed],
            &foreign,
            "access_denied",
            "revocation_foreign",
        ),
        (
            vec![SET, agreed],
            &forged,
            "invalid_issuer",
            "token_issuer_unknown",
        ),
        (
            vec![SET, agreed],
            &logout,
            "invalid_issuer",
            "token_issuer_unknown",
        ),
        (
            vec![FORM, agreed],
            &good,
            "invalid_request",
            "media_type_unsupported",
        ),
    ] {
        let answer = push(&world, EVENTS, &headers, body).await;
        let told = answer.json().unwrap();
        assert_eq!((answer.status, &told["err"]), (400, &json!(err)), "{why}");
        assert_eq!(answer.header("content-language").as_deref(), Some("en"));
        assert_eq!(reason(&world, &answer).await, why);
    }
    assert_eq!(again(&mut open).await.status, 200);

    for (uri, label) in [
        (
            "https://schemas.openid.net/secevent/ssf/event-type/verification".to_owned(),
            "verification",
        ),
        ("https://other.example/event".to_owned(), "unknown"),
        (revoked.clone(), "session-revoked"),
    ] {
        let token = event(&signals, &uri, named(&world.issuer), now);
        for outcome in ["taken", "repeated"] {
            let answer = push(&world, EVENTS, &[SET, agreed], &token).await;
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (202, ""),
                "{label}"
            );
            let metric = format!(
                "lightkeeper_security_events_total{{event=\"{label}\",outcome=\"{outcome}\",transmitter=\"signals\"}}"
            );
            stage::counts(&world, &metric, 1.0).await;
        }
        let expected = if label == "session-revoked" { 401 } else { 200 };
        assert_eq!(again(&mut open).await.status, expected, "{label}");
    }
    assert_eq!(grpc(&caller.clone().http2()).await, Some(16));
    assert_eq!(status(&others).await, 200);
    let events = ended(&world, 1).await;
    let detail = events[0]["detail"].as_str().unwrap();
    assert_eq!(
        (events.len(), &events[0]["reason"]),
        (1, &json!("revoked_by_event"))
    );
    assert!(
        detail.contains(&format!("sub {subject} of acme")) && detail.contains("by signals in call"),
        "{detail}"
    );

    // A session, by its address.
    let mut ann = Browser::new(&world);
    ann.log_in("ann", "").await;
    let old = ann.jar[SESSION].clone();
    let address = json!({"format": "email", "email": "Ann@acme.example"});
    let change = format!("{CAEP}credential-change");
    let later = world.gateway.shared().clock.now().seconds();
    let token = event(&signals, &change, address, later);
    assert_eq!(
        push(&world, EVENTS, &[SET, agreed], &token).await.status,
        202
    );
    let refused = Browser::holding(&world, &old)
        .get("/.lightkeeper/whoami")
        .await;
    assert_eq!(
        (refused.status, reason(&world, &refused).await.as_str()),
        (401, "proof_revoked")
    );
}

/// Scenario: neither a login nor a transmitter is configured. Guarantees: there is nothing to push to, and nothing is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_pushed_where_nothing_is_heard() {
    let world = stage::start(stage::plan(&[])).await;
    let answer = push(&world, EVENTS, &[SET], "a.b.c").await;
    assert_eq!(
        (answer.status, reason(&world, &answer).await.as_str()),
        (404, "path_unknown")
    );
    assert!(answer.json().unwrap()["error"].is_string());
}

/// Scenario: an upload is under way when its token is revoked. Guarantees: what was permitted before is finished, the next call
/// is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_under_way_is_finished() {
    let world = stage::start(stage::streamed(with_file())).await;
    let token = world.issuer.token(COLLECTOR);
    let upload = stage::Upload::begin(&world, &token).await;
    let line = format!(
        "version: 1\nrevocations:\n  - {{ issuer: acme, jti: \"{}\", until: 2126-01-01T00:00:00Z }}\n",
        id_of(&token)
    );
    stage::replace(&world.folder().join("revocations.yaml"), line);
    world.gateway.reload().await.unwrap();
    assert_eq!(status(&world.plain_caller().bearer(&token)).await, 401);
    let answer = upload.finish().await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
