//! Claims that name and permit callers, end to end: where the subject stands, what a binding looks at, and what cannot be told.
//! What it refuses to know: every form of a claim set; the rooms' own tests know.

use lightkeeper::otlp::Encoding;
use serde_json::{Value, json};
use testkit::{Algorithm, Answer, Issuer, Sample, World};

use super::stage::{self, eventually};

/// The demonstration's world with a second issuer, `ci`, whose settings go on with `more`, and one more binding.
async fn world(ci: &Issuer, more: &str, bindings: &[&str]) -> World {
    let issuer = format!(
        "issuers:\n  - {{ name: ci, issuer: \"{}\", audiences: [lightkeeper]{more} }}",
        ci.url()
    );
    let plan = bindings
        .iter()
        .fold(stage::plan(&[("issuers:", &issuer)]), |plan, binding| {
            stage::bind(plan, binding)
        });
    let world = stage::start(plan).await;
    eventually("the issuers' keys", || async {
        world
            .gateway
            .shared()
            .readiness()
            .issuers
            .iter()
            .all(|issuer| issuer.has_keys)
            .then_some(())
    })
    .await;
    world
}

/// One export by a token of `ci` with these claims.
async fn export(world: &World, ci: &Issuer, claims: &Value) -> (Answer, Value) {
    let token = ci.mint(
        ci.claims("ci:plain").merge(claims.clone()),
        Algorithm::Rs256,
    );
    let caller = world.plain_caller().bearer(&token);
    let answer = caller
        .export(&Sample::traces("some-service", 1), Encoding::Protobuf)
        .await
        .unwrap();
    let record = stage::record(world, &answer.header("lightkeeper-request-id").unwrap()).await;
    (answer, record)
}

/// Scenario: an issuer whose subject is the first of a pointer and two names that is there. Guarantees: the record, the
/// permission and the stamp know the caller by that one; a way that leads through a text is refused, not passed over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_subject_is_the_first_that_is_there() {
    let ci = Issuer::start().await.unwrap();
    let more = ", claims: { subject: [/act/sub, azp, sub] }";
    let binding = r#"{ name: ci, subjects: [{ issuer: ci, subject: "ci:*" }], role: reporter, apps: [platform] }"#;
    let world = world(&ci, more, &[binding]).await;
    for (claims, subject) in [
        (
            json!({"act": {"sub": "ci:nested"}, "azp": "ci:azp"}),
            Some("ci:nested"),
        ),
        (
            json!({"act": {"other": 1}, "azp": "ci:azp"}),
            Some("ci:azp"),
        ),
        (json!({}), Some("ci:plain")),
        (json!({"act": "ci:nested", "azp": "ci:azp"}), None),
        (json!({"act": {"sub": ["ci:nested"]}}), None),
        (json!({"act": {"sub": ""}}), None),
    ] {
        world.emulator.clear();
        let (answer, record) = export(&world, &ci, &claims).await;
        assert_eq!(
            answer.status,
            if subject.is_some() { 200 } else { 401 },
            "{claims}: {record}"
        );
        assert_eq!(
            record["identity"]["subject"].as_str(),
            subject,
            "{claims}: {record}"
        );
        let exports = world.emulator.exports();
        let stamped = exports
            .iter()
            .flat_map(|export| export.resources[0].values("lightkeeper.identity"));
        assert_eq!(
            stamped.collect::<Vec<_>>(),
            subject.into_iter().collect::<Vec<_>>(),
            "{claims}"
        );
    }
}

/// Scenario: a binding permits by a pattern at a claim within another, beside bindings by subject and by other claims.
/// Guarantees: whose list holds a match may export, over the socket; a value that only resembles one, and one elsewhere, opens
/// nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pattern_at_a_pointer_permits_over_the_socket() {
    let ci = Issuer::start().await.unwrap();
    let world = world(
        &ci,
        "",
        &[
            r#"{ name: other, subjects: [{ issuer: ci, subject: "ci:other", claims: { team: a } }], role: reporter, apps: [shop] }"#,
            r#"{ name: by-role, subjects: [{ issuer: ci, claims: { "/realm_access/roles": { like: "obs-*" } } }], role: reporter, apps: [platform] }"#,
        ],
    )
    .await;
    for (claims, status) in [
        (json!({"realm_access": {"roles": ["obs-writer"]}}), 200),
        (json!({"realm_access": {"roles": ["x", "obs-"]}}), 200),
        (json!({"realm_access": {"roles": "obs-writer"}}), 200),
        (
            json!({"realm_access": {"roles": ["obs/writer", "obs-a/b", "my-obs-writer", "OBS-writer"]}}),
            403,
        ),
        (json!({"realm_access": {"roles": []}}), 403),
        (json!({"realm_access": "obs-writer"}), 403),
        (
            json!({"roles": ["obs-writer"], "/realm_access/roles": ["obs-writer"]}),
            403,
        ),
        (json!({"team": "a"}), 403),
        (json!({}), 403),
    ] {
        let (answer, record) = export(&world, &ci, &claims).await;
        assert_eq!(answer.status, status, "{claims}: {record}");
        let bindings = if status == 200 {
            json!(["by-role"])
        } else {
            json!([])
        };
        assert_eq!(record["bindings"], bindings, "{claims}: {record}");
    }
}

/// Scenario: a binding denies by a claim within another, and tokens hold it, another one, none, or something on the way
/// that cannot be read. Guarantees: the deny holds where the claim is there, and where it cannot be told; it takes nothing
/// from those who do not have it; without it, what cannot be told matters to none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deny_holds_where_its_claim_cannot_be_told() {
    let ci = Issuer::start().await.unwrap();
    let allow = r#"{ name: ci, subjects: [{ issuer: ci, subject: "ci:*" }], role: reporter, apps: [platform] }"#;
    let deny = r#"{ name: leavers, effect: deny, subjects: [{ issuer: ci, claims: { "/realm_access/roles": { like: "left-*" } } }], permissions: ["ingest.*"], apps: [/] }"#;
    let (with, without) = (
        world(&ci, "", &[allow, deny]).await,
        world(&ci, "", &[allow]).await,
    );
    for (claims, denied) in [
        (json!({}), None),
        (json!({"realm_access": {}}), None),
        (json!({"realm_access": {"roles": ["writer"]}}), None),
        (
            json!({"realm_access": {"roles": ["writer", "left-2026"]}}),
            Some((403, "no_writable_app")),
        ),
        (
            json!({"realm_access": {"roles": "left-2026"}}),
            Some((403, "no_writable_app")),
        ),
        (
            json!({"realm_access": "left-2026"}),
            Some((401, "token_claims")),
        ),
        (
            json!({"realm_access": ["left-2026"]}),
            Some((401, "token_claims")),
        ),
        (
            json!({"realm_access": {"roles": [["left-2026"]]}}),
            Some((401, "token_claims")),
        ),
        (
            json!({"realm_access": {"roles": {"0": "left-2026"}}}),
            Some((401, "token_claims")),
        ),
    ] {
        let (answer, record) = export(&with, &ci, &claims).await;
        let (status, reason) = denied.unwrap_or((200, "ok"));
        assert_eq!(
            (answer.status, &record["reason"]),
            (status, &reason.into()),
            "{claims}: {record}"
        );
        let (answer, record) = export(&without, &ci, &claims).await;
        assert_eq!(answer.status, 200, "{claims} without the deny: {record}");
    }
}
