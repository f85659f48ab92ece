//! Attributes that a sender's token proves, end to end: what is written on resources, what of the sender's own words is left,
//! and whose telemetry it is. What it refuses to know: how claims are found, and how a body is spliced.

use lightkeeper::otlp::{Encoding, Signal};
use serde_json::{Value, json};
use testkit::{Algorithm, Answer, Format, LegacySample, Sample, SampleCaller, World};

use super::stage;

/// Names of which the token proves two and lacks one, and one that only the policy speaks of.
const NAMESPACE: &str = "k8s.namespace.name";
const POD: &str = "k8s.pod.uid";
const NODE: &str = "k8s.node.name";

async fn world() -> World {
    let sources = "audiences: [lightkeeper]\n    attributes_from:\n      k8s.namespace.name: /kubernetes.io/namespace\n      \
                   k8s.pod.uid: /kubernetes.io/pod/uid\n      k8s.node.name: /kubernetes.io/node/name";
    let mut plan = stage::plan(&[("audiences: [lightkeeper]", sources)]);
    let marked = "match: { k8s.namespace.name: payments }";
    let payments = "payments: { project: payments-prod";
    assert!(plan.policy.contains(payments), "{}", plan.policy);
    plan.policy = plan.policy.replace(
        payments,
        &format!("by-namespace: {{ {marked} }}\n      {payments}"),
    );
    stage::start(plan).await
}

/// A token of the demonstration's frontend that says where its bearer runs.
fn token(world: &World, place: Value) -> String {
    let claims = world.issuer.claims_of("shop-frontend");
    world.issuer.mint(
        claims.merge(json!({ "kubernetes.io": place })),
        Algorithm::Rs256,
    )
}

async fn sent(caller: &SampleCaller, sample: &Sample, grpc: bool, encoding: Encoding) -> Answer {
    if grpc {
        return caller.export_grpc(sample).await.unwrap();
    }
    caller.export(sample, encoding).await.unwrap()
}

/// Scenario: a sender says of itself what its token proves otherwise, and what its token does not prove at all; in each
/// signal and encoding, over HTTP and gRPC. Guarantees: the backend gets the proven values once; a name of the list that
/// the token does not fill is not there; everything else is as it was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_senders_word_does_not_stand_as_proven() {
    let world = world().await;
    let place = json!({"namespace": "shop", "pod": {"uid": "u-1"}});
    let caller = world.plain_caller().bearer(&token(&world, place));
    for signal in Signal::ALL {
        for (grpc, encoding) in [
            (false, Encoding::Protobuf),
            (false, Encoding::Json),
            (true, Encoding::Protobuf),
        ] {
            for spoofs in [false, true] {
                world.emulator.clear();
                let mut sample = Sample::of(signal, "checkout", 2).attribute("team", "blue");
                if spoofs {
                    sample = sample
                        .attribute(NAMESPACE, "payments")
                        .attribute(NAMESPACE, "shop")
                        .attribute(POD, "u-2")
                        .attribute(NODE, "node-7");
                }
                let answer = sent(&caller, &sample, grpc, encoding).await;
                let exports = world.emulator.exports();
                let what = format!("{signal:?} {encoding:?} {grpc} {spoofs}: {answer:?}");
                assert_eq!(exports.len(), 1, "{what}");
                assert_eq!(exports[0].project, "checkout-prod", "{what}");
                let resource = &exports[0].resources[0];
                assert_eq!(resource.values(NAMESPACE), ["shop"], "{what}");
                assert_eq!(resource.values(POD), ["u-1"], "{what}");
                assert!(resource.values(NODE).is_empty(), "{what}");
                assert_eq!(resource.values("team"), ["blue"], "{what}");
                assert_eq!(resource.items, 2, "{what}");
            }
        }
    }
}

/// Scenario: an app is marked by the namespace; a sender names the namespace of another app, or none. Guarantees: the app
/// is the one of the proven namespace, whatever the resource says; a token without one marks no app by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_is_found_by_what_is_proven() {
    let world = world().await;
    for (proven, said, expected) in [
        (Some("payments"), None, Some("shop/by-namespace")),
        (Some("payments"), Some("shop"), Some("shop/by-namespace")),
        (Some("shop"), Some("payments"), None),
        (None, Some("payments"), None),
    ] {
        world.emulator.clear();
        let place = proven.map_or(json!({}), |name| json!({ "namespace": name }));
        let caller = world.plain_caller().bearer(&token(&world, place));
        let mut sample = Sample::empty(Signal::Traces).anonymous(1);
        if let Some(said) = said {
            sample = sample.attribute(NAMESPACE, said);
        }
        let answer = caller.export(&sample, Encoding::Protobuf).await.unwrap();
        let exports = world.emulator.exports();
        let app = exports
            .first()
            .map(|export| export.resources[0].values("lightkeeper.app")[0]);
        assert_eq!(app, expected, "{proven:?} {said:?}: {answer:?}");
    }
}

/// Scenario: the same sender's legacy report, with tags of its own. Guarantees: proven values replace them; what the token
/// does not prove is empty, because not every such format can lose a tag.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_legacy_report_is_stamped_as_proven() {
    let world = world().await;
    let token = token(&world, json!({"namespace": "shop", "pod": {"uid": "u-1"}}));
    let report = LegacySample::of(Format::Zipkin, "checkout", 1)
        .tag(NAMESPACE, "payments")
        .tag(NODE, "node-7")
        .token(&token);
    let caller = world.plain_caller().bearer(&token);
    let answer = caller.report(&report).await.unwrap();
    let captured = world.emulator.captured();
    let body = String::from_utf8_lossy(&captured[0].body).into_owned();
    assert_eq!(answer.status / 100, 2, "{answer:?}");
    assert_eq!(captured[0].method, "POST");
    let spans: Value = serde_json::from_str(&body).unwrap();
    let tags = &spans[0]["tags"];
    assert_eq!(
        (&tags[NAMESPACE], &tags[POD], &tags[NODE]),
        (&json!("shop"), &json!("u-1"), &json!("")),
        "{body}"
    );
}
