//! JWT-SVIDs, end to end: workloads of a SPIFFE trust domain that show tokens where others show certificates. What it
//! refuses to know: which tokens are JWT-SVIDs; the room's own tests know.

use lightkeeper::clock::Clock;
use serde_json::{Value, json};
use testkit::server::ServerTls;
use testkit::workload_api::{WorkloadAnswers, WorkloadApi};
use testkit::{
    Algorithm, Answer, Authority, Issuer, IssuerOptions, Leaf, SampleCaller, World, WorldPlan,
};

use super::stage::{self, eventually};
use crate::folder::Folder;

/// Of the demonstration's collector, whose certificate says the same.
const COLLECTOR: &str = "spiffe://prod.acme.example/ns/checkout/sa/collector";

/// The bundle that a SPIRE server would write of these keys: each says what it is for (but in one that an agent gives), and none
/// its algorithm.
fn bundle(keys: &Issuer, used_for: &str) -> String {
    let mut set = keys.jwks();
    for key in set["keys"].as_array_mut().unwrap() {
        key.as_object_mut().unwrap().remove("alg");
        key["use"] = used_for.into();
        if used_for.is_empty() {
            key.as_object_mut().unwrap().remove("use");
        }
    }
    set["spiffe_sequence"] = 12.into();
    set["spiffe_refresh_hint"] = 300.into();
    set.to_string()
}

/// A JWT-SVID as SPIRE makes it: five minutes, no `iss`.
fn svid(keys: &Issuer, id: &str, changes: Value) -> String {
    let claims = keys
        .claims(id)
        .without("iss")
        .audiences(&["lightkeeper"])
        .expires_in(300)
        .merge(changes);
    keys.mint(claims, Algorithm::Es256)
}

/// The demonstration's world, whose policy has IDs of the trust domain with an issuer and without, with a bundle of these
/// keys.
async fn world(keys: &Issuer, folder: &Folder) -> World {
    std::fs::write(folder.join("bundle.json"), bundle(keys, "jwt-svid")).unwrap();
    world_by(&format!("{{ file: \"{}\" }}", folder.at("bundle.json"))).await
}

/// The same, with a bundle from this place.
async fn world_by(place: &str) -> World {
    let issuers = format!(
        "issuers:\n  - {{ name: mesh, spiffe: {{ trust_domain: prod.acme.example, bundle: {place} }}, \
         audiences: [lightkeeper] }}"
    );
    let mut plan: WorldPlan = stage::plan(&[("issuers:", &issuers)]);
    for binding in [
        r#"{ name: by-token, subjects: [{ issuer: mesh, spiffe: "spiffe://prod.acme.example/ns/tokens/**" }], role: reporter, apps: [platform] }"#,
        r#"{ name: by-subject, subjects: [{ issuer: mesh, subject: "spiffe://prod.acme.example/ns/subjects/**" }], role: reporter, apps: [platform] }"#,
        r#"{ name: by-claim, subjects: [{ issuer: mesh, claims: { env: prod } }], role: reporter, apps: [shop/payments] }"#,
        r#"{ name: by-certificate, subjects: [{ issuer: workloads, spiffe: "spiffe://prod.acme.example/ns/certificates/**" }], role: reporter, apps: [platform] }"#,
        r#"{ name: by-any-certificate, subjects: [{ issuer: mtls, spiffe: "spiffe://prod.acme.example/ns/certificates/**" }], role: reporter, apps: [platform] }"#,
        r#"{ name: not-these, effect: deny, subjects: [{ spiffe: "spiffe://prod.acme.example/ns/checkout/sa/denied" }], permissions: [ingest.*], apps: [/] }"#,
    ] {
        plan = stage::bind(plan, binding);
    }
    stage::start(plan).await
}

async fn export(caller: &SampleCaller) -> Answer {
    stage::export(caller, "some-service").await
}

/// Scenario: one workload exports with a JWT-SVID, then with a certificate for the same ID, then with both; others with
/// tokens that their policy's subjects speak of and that they do not; and tokens that are forged.
/// Guarantees: an ID without an issuer counts from either; one of an authority or of `mtls` never from a token; the record
/// and the stamp name the ID and who vouched for it; no token is recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_exports_with_its_jwt_svid() {
    let (keys, folder) = (Issuer::start().await.unwrap(), Folder::new());
    let world = world(&keys, &folder).await;
    let token = svid(&keys, COLLECTOR, json!({}));
    let leaf = Leaf::read(&world.folder().join("certs"), "collector").unwrap();
    for (method, issuer, caller) in [
        ("jwt_svid", "mesh", world.plain_caller().bearer(&token)),
        ("jwt_svid", "mesh", world.caller().bearer(&token)),
        ("mtls", "workloads", world.caller().certificate(&leaf)),
        (
            "jwt_svid",
            "mesh",
            world.caller().certificate(&leaf).bearer(&token),
        ),
    ] {
        world.emulator.clear();
        let answer = export(&caller).await;
        let record = stage::recorded(&world, &answer).await;
        assert_eq!(
            (answer.status, &record["reason"]),
            (200, &json!("ok")),
            "{record:#}"
        );
        let identity = &record["identity"];
        assert_eq!(
            (
                &identity["method"],
                &identity["issuer"],
                &identity["subject"]
            ),
            (&json!(method), &json!(issuer), &json!(COLLECTOR))
        );
        assert_eq!(record["bindings"], json!(["checkout-pods"]), "{record:#}");
        let exports = world.emulator.exports();
        let resource = &exports[0].resources[0];
        assert_eq!(exports[0].project, "checkout-prod");
        assert_eq!(resource.values("lightkeeper.identity"), [COLLECTOR]);
        assert_eq!(resource.values("lightkeeper.identity.issuer"), [issuer]);
        assert_eq!(resource.values("lightkeeper.identity.method"), [method]);
    }
    let id = |path: &str| format!("spiffe://prod.acme.example/ns/{path}");
    let minted = |path: &str| svid(&keys, &id(path), json!({}));
    let changed = |changes: Value| svid(&keys, COLLECTOR, changes);
    let iss = world.issuer.url().to_owned();
    for (what, token, status, reason, bindings) in [
        (
            "by its issuer",
            minted("tokens/sa/a"),
            200,
            "ok",
            json!(["by-token"]),
        ),
        (
            "by its subject",
            minted("subjects/sa/a"),
            200,
            "ok",
            json!(["by-subject"]),
        ),
        (
            "by a claim",
            svid(&keys, &id("x"), json!({"env": "prod"})),
            200,
            "ok",
            json!(["by-claim"]),
        ),
        (
            "as a certificate's",
            minted("certificates/sa/a"),
            403,
            "no_writable_app",
            json!([]),
        ),
        (
            "denied",
            minted("checkout/sa/denied"),
            403,
            "no_writable_app",
            json!(["not-these"]),
        ),
        (
            "bound to nothing",
            minted("other/sa/a"),
            403,
            "no_writable_app",
            json!([]),
        ),
        (
            "of another trust domain",
            svid(&keys, "spiffe://other.example/a", json!({})),
            401,
            "token_issuer_unknown",
            json!([]),
        ),
        (
            "for another",
            changed(json!({"aud": ["another"]})),
            401,
            "token_audience",
            json!([]),
        ),
        (
            "with an OIDC issuer's `iss`",
            changed(json!({"iss": iss})),
            401,
            "token_signature",
            json!([]),
        ),
        (
            "by an OIDC issuer",
            svid(&world.issuer, COLLECTOR, json!({})),
            401,
            "token_signature",
            json!([]),
        ),
    ] {
        let answer = export(&world.plain_caller().bearer(&token)).await;
        let record = stage::recorded(&world, &answer).await;
        assert_eq!(
            (answer.status, record["reason"].as_str().unwrap()),
            (status, reason),
            "{what}"
        );
        if status != 403 {
            assert_eq!(
                record.get("bindings").cloned().unwrap_or(json!([])),
                bindings,
                "{what}"
            );
        }
        assert!(
            status != 401 || record.get("identity").is_none(),
            "{what}: {record:#}"
        );
        assert!(!record.to_string().contains(&token), "{what}");
    }
}

/// Scenario: the bundle's file is replaced by nonsense, by one without a key for tokens, and by one with the next keys.
/// Guarantees: what cannot be used is told in record and metric, and the keys before stay; the next keys count as soon as
/// the file is noticed, and the last ones no longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_is_read_anew_when_it_changes() {
    let (keys, folder) = (Issuer::start().await.unwrap(), Folder::new());
    let world = world(&keys, &folder).await;
    let file = folder.join("bundle.json");
    let token = svid(&keys, COLLECTOR, json!({}));
    let first = world.plain_caller().bearer(&token);
    assert_eq!(export(&first).await.status, 200);

    for (round, broken) in ["{".to_owned(), bundle(&keys, "x509-svid")]
        .into_iter()
        .enumerate()
    {
        stage::replace(&file, broken);
        let errors = world.gateway.reload().await.unwrap_err().join("\n");
        assert!(
            errors.contains("`issuers[0].spiffe.bundle.file`"),
            "{errors}"
        );
        assert_eq!(export(&first).await.status, 200);
        stage::counts(&world, "lightkeeper_last_reload_successful", 0.0).await;
        eventually("the failure's record", || async {
            let failures = world
                .records()
                .into_iter()
                .filter(|record| record["event"] == "reload_failed");
            let told = failures.filter(|record| {
                record["detail"]
                    .as_str()
                    .unwrap()
                    .contains("spiffe.bundle.file")
            });
            (told.count() == round + 1).then_some(())
        })
        .await;
    }

    stage::replace(&file, bundle(&keys, "jwt-svid"));
    super::vault::follow_files(&world).await;
    assert_eq!(export(&first).await.status, 200);
    keys.rotate(false).unwrap();
    stage::replace(&file, bundle(&keys, "jwt-svid"));
    let next = world
        .plain_caller()
        .bearer(&svid(&keys, COLLECTOR, json!({})));
    eventually("an export under the next key", || async {
        (export(&next).await.status == 200).then_some(())
    })
    .await;
    let answer = export(&first).await;
    assert_eq!(
        (
            answer.status,
            &stage::recorded(&world, &answer).await["reason"]
        ),
        (401, &json!("token_key_unknown"))
    );
}

/// Where a bundle comes from while the gateway runs, and how another is put there.
enum LiveBundle {
    Endpoint(Issuer),
    Agent(WorkloadApi),
}

impl LiveBundle {
    fn hold(&self, bundle: &str) {
        match self {
            LiveBundle::Endpoint(endpoint) => {
                endpoint.set_jwks(Some(serde_json::from_str(bundle).unwrap()));
            }
            LiveBundle::Agent(agent) => agent.say(given(bundle)),
        }
    }
}

fn given(bundle: &str) -> WorkloadAnswers {
    WorkloadAnswers {
        jwt: vec![("prod.acme.example".to_owned(), bundle.into())],
        ..WorkloadAnswers::default()
    }
}

/// Scenario: the bundle comes from an endpoint and from an agent; a workload shows a token; then the trust domain has other
/// keys.
/// Guarantees: either place's keys verify tokens, for the audience alone; the next keys count without a reload, and those before no
/// longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bundles_of_endpoints_and_agents_verify_tokens() {
    let folder = Folder::new();
    let authority = Authority::new("endpoint", &Clock::system()).unwrap();
    let leaf = authority.server().unwrap();
    std::fs::write(folder.join("ca.pem"), authority.certificate()).unwrap();
    let tls = ServerTls {
        certificates: leaf.certificate,
        key: leaf.key,
        client_ca: None,
    };
    let options = IssuerOptions {
        tls: Some(tls),
        ..IssuerOptions::default()
    };
    let endpoint = Issuer::start_with(options).await.unwrap();
    let socket = folder.join("agent.sock");
    let agent = WorkloadApi::start(&socket, WorkloadAnswers::default()).unwrap();
    let url = endpoint.jwks_url();
    for (place, used_for, live) in [
        (
            format!("{{ url: \"{url}\", ca: \"{}\" }}", folder.at("ca.pem")),
            "jwt-svid",
            LiveBundle::Endpoint(endpoint),
        ),
        (
            format!("{{ workload_api: \"unix://{}\" }}", socket.display()),
            "",
            LiveBundle::Agent(agent),
        ),
    ] {
        let keys = Issuer::start().await.unwrap();
        live.hold(&bundle(&keys, used_for));
        let world = world_by(&place).await;
        let first = world
            .plain_caller()
            .bearer(&svid(&keys, COLLECTOR, json!({})));
        let taken = |caller: SampleCaller| async move {
            eventually("an export by a token", || async {
                (export(&caller).await.status == 200).then_some(())
            })
            .await;
        };
        taken(first.clone()).await;
        let elsewhere = svid(&keys, COLLECTOR, json!({"aud": ["another"]}));
        let answer = export(&world.plain_caller().bearer(&elsewhere)).await;
        let reason = &stage::recorded(&world, &answer).await["reason"];
        assert_eq!((answer.status, reason), (401, &json!("token_audience")));

        keys.rotate(false).unwrap();
        live.hold(&bundle(&keys, used_for));
        let next = svid(&keys, COLLECTOR, json!({}));
        taken(world.plain_caller().bearer(&next)).await;
        let answer = export(&first).await;
        let reason = &stage::recorded(&world, &answer).await["reason"];
        assert_eq!(
            (answer.status, reason),
            (401, &json!("token_key_unknown")),
            "{place}"
        );
    }
}
