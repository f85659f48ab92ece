//! Tokens that are bound to a key, end to end (RFC 9449, RFC 9728): who holds the key is let in, who stole the token is not.
//! What it refuses to know: what is wrong inside a proof; the room's own tests have that table.

use http::Method;
use lightkeeper::otlp::Encoding;
use serde_json::{Value, json};
use testkit::{Answer, Leaf, ProofKey, Sample, SampleCaller, World, WorldPlan};

use super::stage;

/// What callers know the plaintext listener by; it need not lead there.
const PUBLIC: &str = "https://gateway.example";
const TRACES: &str = "/v1/traces";
const GRPC: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const STREAMS: &str = "/public/v0.2/acme/projects/shop-prod/streams";
const METADATA: &str = "/.well-known/oauth-protected-resource";

fn plan() -> WorldPlan {
    let named = format!("    address: {{plain}}\n    public_url: {PUBLIC}\n");
    stage::plan(&[("    address: {plain}\n", &named)])
}

/// A token of one of the demonstration's principals, bound to a key.
fn bound(world: &World, name: &str, key: &ProofKey) -> String {
    let claims = world.issuer.claims_of(name);
    let claims = claims.set("cnf", json!({ "jkt": key.thumbprint() }));
    world.issuer.mint(claims, testkit::Algorithm::Rs256)
}

fn shows(world: &World, scheme: &str, token: &str, proof: Option<&str>) -> SampleCaller {
    let caller = world
        .plain_caller()
        .header("authorization", &format!("{scheme} {token}"));
    match proof {
        Some(proof) => caller.header("dpop", proof),
        None => caller,
    }
}

/// A way to ask: an export over HTTP/1.1, HTTP/2 or gRPC, a query, and the gateway's own page.
#[derive(Clone, Copy, Debug)]
enum Way {
    Http1,
    Http2,
    Grpc,
    Query,
    Own,
}

impl Way {
    const ALL: [Way; 5] = [Way::Http1, Way::Http2, Way::Grpc, Way::Query, Way::Own];

    fn call(self) -> (&'static str, &'static str) {
        match self {
            Way::Http1 | Way::Http2 => ("POST", TRACES),
            Way::Grpc => ("POST", GRPC),
            Way::Query => ("GET", STREAMS),
            Way::Own => ("GET", "/.lightkeeper/whoami"),
        }
    }

    fn principal(self) -> &'static str {
        match self {
            Way::Http1 | Way::Http2 | Way::Grpc => "checkout-collector",
            Way::Query | Way::Own => "ann",
        }
    }

    async fn ask(self, caller: SampleCaller) -> Answer {
        let sample = Sample::traces("checkout", 2);
        let answered = match self {
            Way::Http1 => caller.export(&sample, Encoding::Json).await,
            Way::Http2 => caller.http2().export(&sample, Encoding::Json).await,
            Way::Grpc => caller.export_grpc(&sample).await,
            Way::Query | Way::Own => caller.get(self.call().1).await,
        };
        answered.unwrap()
    }

    fn is_let_in(self, answer: &Answer) -> bool {
        match self {
            Way::Grpc => answer.status == 200 && answer.grpc_status() == Some(0),
            _ => answer.status == 200,
        }
    }

    /// Whether it is a refusal for want of proof: 401, or UNAUTHENTICATED without a body.
    fn is_unproven(self, answer: &Answer) -> bool {
        match self {
            Way::Grpc => {
                let is_trailers_only = answer.body.is_empty() && answer.trailers.is_empty();
                answer.status == 200 && answer.grpc_status() == Some(16) && is_trailers_only
            }
            _ => answer.status == 401,
        }
    }
}

/// Scenario: exports and queries by every protocol, with a token that is bound to a key. Guarantees: a proof without a nonce
/// hears one, with it the call goes through and brings the next; the same proof again, a proof of another key, of another
/// call, of another gateway, and the bare token are refused, say so in the record, and send nothing upstream; what goes
/// upstream holds neither token nor proof.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_holder_of_the_key_is_let_in() {
    for world in [plan(), stage::streamed(plan())] {
        let world = stage::start(world).await;
        let (key, thief) = (ProofKey::generate().unwrap(), ProofKey::generate().unwrap());
        for way in Way::ALL {
            let (method, path) = way.call();
            let url = format!("{PUBLIC}{path}");
            let token = bound(&world, way.principal(), &key);
            let before = world.emulator.heads();
            let make = |key: &ProofKey, changes: Value| key.proof(method, &url, &token, changes);

            let first = make(&key, json!({}));
            let answer = way.ask(shows(&world, "DPoP", &token, Some(&first))).await;
            assert!(way.is_unproven(&answer), "{way:?} {answer:?}");
            let challenge = answer.header("www-authenticate").unwrap();
            assert!(
                challenge.starts_with("DPoP error=\"use_dpop_nonce\", algs=\""),
                "{way:?} {challenge}"
            );
            let nonce = answer.header("dpop-nonce").unwrap();
            assert_eq!(reason(&world, &answer).await, "proof_nonce", "{way:?}");
            assert_eq!(world.emulator.heads(), before, "{way:?}");

            let good = make(&key, json!({ "nonce": nonce }));
            let answer = way.ask(shows(&world, "dpop", &token, Some(&good))).await;
            assert!(way.is_let_in(&answer), "{way:?} {answer:?}");
            let nonce = answer.header("dpop-nonce").unwrap();
            if !matches!(way, Way::Own) {
                upstream_holds_no(&world, &[&token, &good], before).await;
            }

            let before = world.emulator.heads();
            let with = |changes: Value| {
                let mut claims = json!({ "nonce": nonce });
                claims
                    .as_object_mut()
                    .unwrap()
                    .extend(changes.as_object().unwrap().clone());
                claims
            };
            let by_address = format!("{}{path}", world.plain_url());
            for (what, scheme, proof, error, expected) in [
                (
                    "the proof again",
                    "DPoP",
                    Some(good.clone()),
                    "invalid_dpop_proof",
                    "proof_replayed",
                ),
                (
                    "no proof",
                    "DPoP",
                    None,
                    "invalid_dpop_proof",
                    "proof_missing",
                ),
                (
                    "a thief's proof",
                    "DPoP",
                    Some(make(&thief, with(json!({})))),
                    "invalid_dpop_proof",
                    "proof_key",
                ),
                (
                    "another call's",
                    "DPoP",
                    Some(make(&key, with(json!({"htu": format!("{url}x")})))),
                    "invalid_dpop_proof",
                    "proof_request",
                ),
                (
                    "the address by which it is asked",
                    "DPoP",
                    Some(make(&key, with(json!({ "htu": by_address })))),
                    "invalid_dpop_proof",
                    "proof_request",
                ),
                (
                    "another method",
                    "DPoP",
                    Some(make(&key, with(json!({"htm": "PUT"})))),
                    "invalid_dpop_proof",
                    "proof_request",
                ),
                (
                    "another token's",
                    "DPoP",
                    Some(make(&key, with(json!({"ath": "x"})))),
                    "invalid_dpop_proof",
                    "proof_token",
                ),
                (
                    "a forged nonce",
                    "DPoP",
                    Some(make(&key, json!({"nonce": "x"}))),
                    "use_dpop_nonce",
                    "proof_nonce",
                ),
                (
                    "the stolen token",
                    "Bearer",
                    None,
                    "invalid_token",
                    "token_bound",
                ),
                (
                    "the stolen token with a proof",
                    "Bearer",
                    Some(make(&key, with(json!({})))),
                    "invalid_dpop_proof",
                    "proof_scheme",
                ),
            ] {
                let answer = way
                    .ask(shows(&world, scheme, &token, proof.as_deref()))
                    .await;
                assert!(way.is_unproven(&answer), "{way:?}, {what}: {answer:?}");
                assert_eq!(reason(&world, &answer).await, expected, "{way:?}, {what}");
                let challenge = answer.header("www-authenticate");
                let told = challenge
                    .as_ref()
                    .is_some_and(|text| text.contains(&format!("error=\"{error}\"")));
                // gRPC has no challenge for who shows no proof.
                let is_silent = matches!(way, Way::Grpc) && scheme == "Bearer" && proof.is_none();
                assert_eq!(told, !is_silent, "{way:?}, {what}: {challenge:?}");
            }
            assert_eq!(
                world.emulator.heads(),
                before,
                "{way:?}: refused calls reach nobody"
            );
        }
    }
}

/// The reason in an answer's record.
async fn reason(world: &World, answer: &Answer) -> String {
    let id = answer.header("lightkeeper-request-id").unwrap();
    let record = stage::record(world, &id).await;
    record["reason"].as_str().unwrap().to_owned()
}

/// What was captured since holds none of these.
async fn upstream_holds_no(world: &World, secrets: &[&str], before: u64) {
    assert!(world.emulator.heads() > before);
    for captured in world.emulator.captured() {
        let text = format!("{captured:?}");
        assert!(!text.to_ascii_lowercase().contains("dpop"), "{text}");
        for secret in secrets {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

/// Scenario: anybody asks listeners with and without a name for their metadata, and is challenged. Guarantees: the document of
/// RFC 9728 at the first, nothing at the second; challenges lead to it; no identity is needed, and none is given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_with_a_name_says_how_to_prove_oneself() {
    let world = stage::start(plan()).await;
    let answer = world.plain_caller().get(METADATA).await.unwrap();
    let document: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        (answer.status, &document["resource"]),
        (200, &json!(PUBLIC))
    );
    assert_eq!(
        document["authorization_servers"],
        json!([world.issuer.url()])
    );
    assert_eq!(document["bearer_methods_supported"], json!(["header"]));
    let login = json!({
        "issuer": world.issuer.url(),
        "client_id": "lightkeeper-cli",
        "scopes": document["lightkeeper"]["login"]["scopes"],
        "audience": document["lightkeeper"]["login"]["audience"],
    });
    let offer = json!({ "organization": "acme", "login": login });
    assert_eq!(document["lightkeeper"], offer);
    assert_eq!(document["dpop_bound_access_tokens_required"], json!(false));
    assert_eq!(
        document["tls_client_certificate_bound_access_tokens"],
        json!(false)
    );
    let algorithms = document["dpop_signing_alg_values_supported"]
        .as_array()
        .unwrap();
    assert!(algorithms.contains(&json!("ES256")) && !algorithms.contains(&json!("none")));
    assert!(
        algorithms
            .iter()
            .all(|name| !name.as_str().unwrap().starts_with("HS"))
    );

    let nobody = world.plain_caller().get(STREAMS).await.unwrap();
    let challenges: Vec<&str> = nobody
        .headers
        .get_all("www-authenticate")
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect();
    assert_eq!(nobody.status, 401);
    let place = format!("Bearer realm=\"lightkeeper\", resource_metadata=\"{PUBLIC}{METADATA}\"");
    assert_eq!(challenges[0], place);
    assert!(
        challenges[1].starts_with("DPoP algs=\"") && challenges.len() == 2,
        "{challenges:?}"
    );

    for (method, path) in [
        (Method::POST, METADATA),
        (Method::GET, "/.well-known/openid-configuration"),
    ] {
        let answer = world
            .plain_caller()
            .send(method, path, &[], Vec::new())
            .await
            .unwrap();
        assert_eq!(answer.status, 401, "{path}");
    }
    let unnamed = world.caller().get(METADATA).await.unwrap();
    assert_eq!(unnamed.status, 401, "a listener without a name");
    assert!(unnamed.headers.get_all("www-authenticate").iter().count() == 1);
}

/// Scenario: a bound token and a good proof come to a listener without a name, and an issuer's tokens must be bound.
/// Guarantees: without a name no proof is taken, whatever `Host` says; where bound tokens are demanded, no bearer token counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_bindings_can_be_demanded() {
    let mut plan = plan();
    plan.config = plan.config.replace(
        "audiences: [lightkeeper]",
        "audiences: [lightkeeper]\n    dpop: required",
    );
    let world = stage::start(plan).await;
    let key = ProofKey::generate().unwrap();
    let token = bound(&world, "ann", &key);
    let here = format!("{}{STREAMS}", world.url());
    let proof = key.proof("GET", &here, &token, json!({}));
    let caller = world
        .caller()
        .header("authorization", &format!("DPoP {token}"))
        .header("dpop", &proof);
    let answer = caller.get(STREAMS).await.unwrap();
    assert_eq!(
        (answer.status, reason(&world, &answer).await),
        (401, "proof_address".to_owned())
    );
    let answer = world
        .plain_caller()
        .bearer(&world.issuer.token("ann"))
        .get(STREAMS)
        .await
        .unwrap();
    assert_eq!(
        (answer.status, reason(&world, &answer).await),
        (401, "token_unbound".to_owned())
    );
    let document = world.plain_caller().get(METADATA).await.unwrap();
    let document: Value = serde_json::from_slice(&document.body).unwrap();
    assert_eq!(document["dpop_bound_access_tokens_required"], json!(true));
}

/// Scenario: a listener takes client certificates that no authority vouches for, and tokens are bound to certificate, key, or
/// both. Guarantees: such a certificate identifies no caller and is in no token's way; a token that is bound counts with the
/// very certificate and proof that it is bound to, all of them; ours that is revoked gets no connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_no_authority_is_worth_its_key() {
    let mut plan = stage::plan(&[("client_certificate: optional", "client_certificate: any")]);
    let named = format!("    address: {{tls}}\n    public_url: {PUBLIC}\n");
    plan.config = plan.config.replace("    address: {tls}\n", &named);
    let world = stage::start(plan).await;
    let certs = world.folder().join("certs");
    let leaf = |name: &str| Leaf::read(&certs, name).unwrap();
    let (stranger, ours) = (leaf("untrusted-client"), leaf("collector"));
    let key = ProofKey::generate().unwrap();
    let thumbprint = |leaf: &Leaf| {
        use base64::Engine as _;
        let der = &testkit::server::certificates(&leaf.certificate).unwrap()[0];
        let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(sum)
    };
    let token = |cnf: Value| {
        let claims = world.issuer.claims_of("ann").set("cnf", cnf);
        world.issuer.mint(claims, testkit::Algorithm::Rs256)
    };
    let free = world.issuer.token("ann");
    let by_stranger = token(json!({ "x5t#S256": thumbprint(&stranger) }));
    let by_ours = token(json!({ "x5t#S256": thumbprint(&ours) }));
    let by_both = token(json!({ "x5t#S256": thumbprint(&stranger), "jkt": key.thumbprint() }));
    let page = "/.lightkeeper/whoami";
    let url = format!("{PUBLIC}{page}");
    let first = key.proof("GET", &url, &by_both, json!({}));
    let dpop = |token: &str| {
        world
            .caller()
            .header("authorization", &format!("DPoP {token}"))
    };
    let asked = dpop(&by_both).header("dpop", &first).certificate(&stranger);
    let answer = asked.get(page).await.unwrap();
    let nonce = answer.header("dpop-nonce").unwrap();
    let proof = || key.proof("GET", &url, &by_both, json!({ "nonce": nonce }));
    let bearer = |token: &str| world.caller().bearer(token);
    for (what, caller, expected) in [
        (
            "the certificate alone",
            world.caller().certificate(&stranger),
            Some("no_credential"),
        ),
        (
            "beside a free token",
            bearer(&free).certificate(&stranger),
            None,
        ),
        (
            "its own token",
            bearer(&by_stranger).certificate(&stranger),
            None,
        ),
        (
            "its token with another",
            bearer(&by_stranger).certificate(&ours),
            Some("token_bound"),
        ),
        ("its token alone", bearer(&by_stranger), Some("token_bound")),
        (
            "ours with its token",
            bearer(&by_ours).certificate(&ours),
            None,
        ),
        (
            "another's token",
            bearer(&by_ours).certificate(&stranger),
            Some("token_bound"),
        ),
        (
            "both",
            dpop(&by_both)
                .header("dpop", &proof())
                .certificate(&stranger),
            None,
        ),
        (
            "the proof alone",
            dpop(&by_both).header("dpop", &proof()),
            Some("token_bound"),
        ),
        (
            "the proof with another",
            dpop(&by_both).header("dpop", &proof()).certificate(&ours),
            Some("token_bound"),
        ),
        (
            "the certificate without proof",
            bearer(&by_both).certificate(&stranger),
            Some("token_bound"),
        ),
    ] {
        // Twice: the second time the token is remembered, beside the certificate that it came with.
        for caller in [caller.clone(), caller] {
            let answer = caller.get(page).await.unwrap();
            let reason = reason(&world, &answer).await;
            let replayed = expected.is_none() && reason == "proof_replayed";
            let is_good = expected.map_or(answer.status == 200, |reason_| reason == reason_);
            assert!(is_good || replayed, "{what}: {reason} {answer:?}");
            if answer.status == 200 {
                let record =
                    stage::record(&world, &answer.header("lightkeeper-request-id").unwrap()).await;
                let vouched = record["identity"]["certificate"]["sha256"].is_string();
                assert_eq!(vouched, what == "ours with its token", "{what}: {record}");
            }
        }
    }
    let revoked = world.caller().bearer(&free).certificate(&leaf("revoked"));
    assert!(revoked.get(page).await.is_err());
    // Its key is revoked: by a list of this configuration, while connections stay open.
    let mut open = bearer(&by_stranger)
        .certificate(&stranger)
        .connect()
        .await
        .unwrap();
    let (_, key) = stranger.marks().unwrap();
    let list = format!(
        "version: 1\nrevocations: [{{ spki: \"sha256:{key}\", until: 2126-01-01T00:00:00Z }}]\n"
    );
    std::fs::write(world.folder().join("revocations.yaml"), list).unwrap();
    let config = world.folder().join("lightkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        format!("{text}\nrevocations: {{ file: revocations.yaml }}\n"),
    )
    .unwrap();
    world.gateway.reload().await.unwrap();
    for (what, caller, expected) in [
        (
            "its own token",
            bearer(&by_stranger).certificate(&stranger),
            401,
        ),
        (
            "beside a free token",
            bearer(&free).certificate(&stranger),
            401,
        ),
        (
            "another certificate",
            bearer(&by_ours).certificate(&ours),
            200,
        ),
        ("no certificate", bearer(&free), 200),
    ] {
        let answer = caller.get(page).await.unwrap();
        assert_eq!(answer.status, expected, "{what}");
        if expected == 401 {
            assert_eq!(reason(&world, &answer).await, "proof_revoked", "{what}");
        }
    }
    let answer = open.send(Method::GET, page, &[], Vec::new()).await.unwrap();
    assert_eq!(answer.status, 401, "an open connection");
}

/// Scenario: two gateways with one configuration and `replay: pinned`, between which a caller moves, over HTTP/1.1, HTTP/2 and
/// gRPC. Guarantees: a proof with a nonce of the one is answered by the other with its own, and uses nothing up; with that it
/// passes; each proof passes once in the whole, at whichever gateway it is shown, and however often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_passes_once_at_all_gateways_together() {
    let mut plan = plan();
    plan.more = "dpop: { replay: pinned }".to_owned();
    let world = stage::start(plan).await;
    let second = world.replica().await.unwrap();
    let second = second.addresses().iter().find(|(name, _)| name == "plain");
    let second = SampleCaller::new(&format!("http://{}", second.unwrap().1));
    let gateways = [world.plain_caller(), second];
    for way in [Way::Http1, Way::Http2, Way::Grpc] {
        let key = ProofKey::generate().unwrap();
        let (method, path) = way.call();
        let url = format!("{PUBLIC}{path}");
        let token = bound(&world, way.principal(), &key);
        let proof = |nonce: Option<&str>| {
            let claims = nonce.map_or(json!({}), |nonce| json!({ "nonce": nonce }));
            key.proof(method, &url, &token, claims)
        };
        let ask = async |gateway: usize, proof: &str| {
            let caller = gateways[gateway].clone();
            let caller = caller.header("authorization", &format!("DPoP {token}"));
            let answer = way.ask(caller.header("dpop", proof)).await;
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            let wants_nonce = challenge.contains("use_dpop_nonce");
            let nonce = answer.header("dpop-nonce");
            (way.is_let_in(&answer), wants_nonce, nonce)
        };
        // Each gateway gives its own; the other answers with another.
        let (is_in, wants, first) = ask(0, &proof(None)).await;
        assert!(!is_in && wants, "{way:?}");
        let (mut here, mut nonce) = (0, first.unwrap());
        for _ in 0..3 {
            let there = 1 - here;
            let moved = proof(Some(&nonce));
            let (is_in, wants, other) = ask(there, &moved).await;
            assert!(!is_in && wants, "{way:?}: the nonce of the other");
            let other = other.unwrap();
            assert_ne!(other, nonce, "{way:?}");
            let good = proof(Some(&other));
            let mut passed = 0;
            for gateway in [here, there, here, there, there] {
                let (is_in, wants, _) = ask(gateway, &good).await;
                passed += usize::from(is_in);
                assert_eq!(wants, gateway == here, "{way:?}");
            }
            assert_eq!(passed, 1, "{way:?}: one proof");
            // What was refused for want of a nonce was not used up where it belongs.
            let (is_in, _, next) = ask(here, &moved).await;
            assert!(is_in, "{way:?}: at its own gateway");
            drop(next);
            let (_, _, given) = ask(there, &proof(None)).await;
            (here, nonce) = (there, given.unwrap());
        }
    }
}
