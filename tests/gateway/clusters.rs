//! A Kubernetes cluster as an issuer, end to end, before an API server over TLS: whose tokens are the cluster's, what a review
//! adds, and what is written on telemetry. What it refuses to know: which reviews count; the room's own tests know. The API
//! server is a double: no Kubernetes runs here.

use lightkeeper::clock::Clock;
use lightkeeper::otlp::Encoding;
use serde_json::{Value, json};
use testkit::{
    Algorithm, Answer, DevelopmentCertificates, Issuer, IssuerFault, Receiver, Sample,
    SampleCaller, TokenJudge, TokenWord, World,
};

use super::stage;
use crate::folder::Folder;

/// What the cluster's tokens name as their issuer: an address that is not served here.
pub const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";
const FRONTEND: &str = "system:serviceaccount:shop:frontend";

pub struct ApiServer {
    judge: TokenJudge,
    keys: Issuer,
    /// Where the discovery document leads, and the gateway may not go.
    outside: Receiver,
    folder: Folder,
    own: String,
}

impl ApiServer {
    async fn start() -> Self {
        let keys = Issuer::start().await.unwrap();
        let server = Self::start_with(keys.jwks()).await;
        ApiServer { keys, ..server }
    }

    /// One whose keys are these.
    pub async fn start_with(jwks: Value) -> Self {
        let certificates = DevelopmentCertificates::new(&Clock::system()).unwrap();
        let refused = TokenWord::review(json!({ "error": "no such pod" }));
        let judge = TokenJudge::start(Some(&certificates.server_tls(false)), refused)
            .await
            .unwrap();
        let keys = Issuer::start().await.unwrap();
        let outside = Receiver::start(([127, 0, 0, 1], 0).into()).await.unwrap();
        judge.page("/openid/v1/jwks", jwks);
        let discovery = json!({ "issuer": CLUSTER, "jwks_uri": format!("{}/keys", outside.url()) });
        judge.page("/.well-known/openid-configuration", discovery);
        let folder = Folder::new();
        let own = keys.mint(
            keys.claims("system:serviceaccount:gateway:lightkeeper")
                .issuer(CLUSTER),
            Algorithm::Rs256,
        );
        std::fs::write(folder.join("token"), &own).unwrap();
        std::fs::write(folder.join("ca.crt"), certificates.authority.certificate()).unwrap();
        judge.want(&format!("Bearer {own}"));
        ApiServer {
            judge,
            keys,
            outside,
            folder,
            own,
        }
    }

    /// The lines of an issuer that is this cluster.
    pub fn setting(&self) -> String {
        format!(
            "  issuer: kubernetes://localhost:{}\n    kubernetes: {{ folder: \"{}\" }}",
            self.judge.address().port(),
            self.folder.at("")
        )
    }

    /// The demonstration's world, where this cluster is an issuer.
    async fn world(&self, review: &str) -> World {
        let issuer = format!(
            "issuers:\n  - name: cluster\n    audiences: [lightkeeper]\n  {}\n    review: {review}\n    attributes_from: \
             {{ k8s.namespace.name: /kubernetes.io/namespace, k8s.pod.name: /kubernetes.io/pod/name, k8s.pod.uid: \
             /kubernetes.io/pod/uid, k8s.node.name: /kubernetes.io/node/name }}",
            self.setting()
        );
        let plan = stage::plan(&[("issuers:", &issuer)]);
        let binding = format!(
            "{{ name: pods, subjects: [{{ issuer: cluster, subject: \"{FRONTEND}\" }}], role: reporter, apps: [shop] }}"
        );
        stage::start(stage::bind(plan, &binding)).await
    }

    /// A pod's projected token; the cluster has such a pod.
    fn pod(&self, name: &str) -> String {
        let place = json!({"namespace": "shop", "pod": {"name": name, "uid": format!("u-{name}")}, "node": {"name": "node-3"},
                           "serviceaccount": {"name": "frontend", "uid": "s-1"}});
        let claims = self
            .keys
            .claims(FRONTEND)
            .issuer(CLUSTER)
            .audiences(&["lightkeeper"]);
        let token = self
            .keys
            .mint(claims.set("kubernetes.io", place), Algorithm::Rs256);
        let status = json!({"authenticated": true, "audiences": ["lightkeeper"], "user": {"username": FRONTEND, "uid": "s-1"}});
        self.judge.say(&token, TokenWord::review(status));
        token
    }
}

async fn export(caller: &SampleCaller) -> Answer {
    let sample = Sample::traces("checkout", 1)
        .attribute("k8s.namespace.name", "payments")
        .attribute("k8s.pod.uid", "forged");
    caller.export(&sample, Encoding::Protobuf).await.unwrap()
}

/// Scenario: a pod exports with its projected token, and calls itself another pod. Guarantees: the cluster's keys, authority and
/// issuer come from the pod's files and the API server alone; the address that its discovery document names is never asked;
/// the telemetry says where the token was made, and not what the sender says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_exports_with_its_projected_token() {
    let server = ApiServer::start().await;
    let world = server.world("off").await;
    let token = server.pod("web-1");
    for caller in [
        world.plain_caller().bearer(&token),
        world.caller().bearer(&token),
        world.caller().bearer(&token).http2(),
    ] {
        world.emulator.clear();
        let answer = export(&caller).await;
        let record = stage::recorded(&world, &answer).await;
        assert_eq!(record["reason"], "ok", "{record:#}");
        assert_eq!(record["identity"]["issuer"], "cluster");
        let exports = world.emulator.exports();
        let resource = &exports[0].resources[0];
        for (name, value) in [
            ("k8s.namespace.name", "shop"),
            ("k8s.pod.name", "web-1"),
            ("k8s.pod.uid", "u-web-1"),
            ("k8s.node.name", "node-3"),
            ("lightkeeper.identity", FRONTEND),
        ] {
            assert_eq!(resource.values(name), [value], "{name}");
        }
    }
    let grpc = world.plain_caller().bearer(&token);
    let answer = grpc
        .export_grpc(&Sample::traces("checkout", 1))
        .await
        .unwrap();
    assert_eq!(answer.grpc_status(), Some(0));
    assert!(server.outside.received().is_empty());
    let questions = server.judge.questions();
    assert!(
        questions
            .iter()
            .all(|question| question.path == "/openid/v1/jwks")
    );
    let bearer = format!("Bearer {}", server.own);
    assert!(
        questions
            .iter()
            .all(|question| question.header("authorization") == Some(&bearer))
    );
    // A token of the same name by keys of its own is refused.
    let claims = world
        .issuer
        .claims(FRONTEND)
        .issuer(CLUSTER)
        .audiences(&["lightkeeper"]);
    let forged = world.issuer.mint(claims, Algorithm::Rs256);
    assert_eq!(
        export(&world.plain_caller().bearer(&forged)).await.status,
        401
    );
}

/// Scenario: reviews; a pod that is deleted; an API server that fails in each way, stops and is back. Guarantees: `on` lets no
/// token in that was not reviewed, 503 while none can be; `prefer` lets a token in by its signature then, says so in a
/// counter, and refuses again once the server is back; the review names our audience, and no one but the server sees the token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_review_ends_what_a_signature_cannot() {
    let server = ApiServer::start().await;
    for review in ["on", "prefer"] {
        let world = server.world(review).await;
        let [here, gone] = [server.pod("here"), server.pod("gone")];
        server.judge.forget(&gone);
        server.judge.clear();
        let status = |token: &str| {
            let caller = world.plain_caller().bearer(token);
            async move { export(&caller).await }
        };
        for _ in 0..3 {
            assert_eq!(status(&here).await.status, 200, "{review}");
        }
        let answer = status(&gone).await;
        assert_eq!(
            stage::recorded(&world, &answer).await["reason"],
            "token_inactive",
            "{review}"
        );
        let asked = server.judge.asked();
        assert_eq!(asked.len(), 2, "{review}");
        let spec: Value = serde_json::from_str(&asked[0].body).unwrap();
        assert_eq!(spec["spec"]["audiences"], json!(["lightkeeper"]));
        assert_eq!(asked[0].path, "/apis/authentication.k8s.io/v1/tokenreviews");
        for (number, fault) in [
            IssuerFault::Unavailable,
            IssuerFault::Garbage,
            IssuerFault::Huge(1 << 20),
            IssuerFault::Close,
        ]
        .into_iter()
        .enumerate()
        {
            server.judge.fail(Some(fault));
            let token = server.pod(&format!("{review}-{number}"));
            let expected = if review == "on" { 503 } else { 200 };
            assert_eq!(status(&token).await.status, expected, "{review} {fault:?}");
            assert_eq!(status(&here).await.status, 200, "{review} {fault:?}");
        }
        server.judge.fail(None);
        let skipped = "lightkeeper_events_total{event=\"review_skipped\"}";
        let times = stage::metric(&world, skipped).await;
        assert!(
            if review == "on" {
                times == 0.0
            } else {
                times >= 4.0
            },
            "{review} {times}"
        );
        stage::eventually("the deleted pod is refused", || async {
            (status(&gone).await.status == 401).then_some(())
        })
        .await;
        assert!(!format!("{:?}", world.records()).contains(&here));
    }
}
