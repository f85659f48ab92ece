//! A cluster as an issuer: whose tokens are its, and what a review says of one.
//!
//! What it does: plays an API server on loopback that says everything it can, well and badly, and the files of a pod. What it
//! refuses to know: TLS and the wire (`tests/gateway` has an API server of its own). Invariant: compiled for tests only.

use serde_json::{Value, json};

use super::super::forge::{Answer, Folder, Loopback, NOW, OTHER_RSA, RSA, World, issuer, verdict};
use super::super::{
    ClusterSettings, Event, Identifier, IssuerSettings, KeySource, Method, TokenReviewing,
};

const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";
const PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const POD: &str = "system:serviceaccount:shop:web";

/// A cluster whose keys are in a file, and whose API server is on loopback.
fn settings(loopback: &Loopback, folder: &Folder, review: TokenReviewing) -> IssuerSettings {
    let keys = json!({"keys": [RSA.jwk_with(json!({"kid": "rs"}))]});
    let file = folder.write("jwks.json", keys.to_string());
    IssuerSettings {
        issuer: "kubernetes://kubernetes.default.svc:443".to_owned(),
        cluster: Some(ClusterSettings {
            api: loopback.url(""),
            folder: folder.join(""),
            review,
            calls_per_second: 1000,
        }),
        ..issuer(KeySource::File(file))
    }
}

fn token(changes: Value) -> String {
    let mut claims = json!({"iss": CLUSTER, "sub": POD});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    RSA.token("RS256", "rs", claims)
}

/// The pod's own token, as the kubelet writes it.
fn own(folder: &Folder, iss: &str) {
    folder.write(
        "token",
        OTHER_RSA.token("RS256", "own", json!({"iss": iss})),
    );
}

fn reviewed(status: Value) -> Answer {
    Answer {
        status: 201,
        ..Answer::json(
            json!({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {}, "spec": {}, "status": status}),
        )
    }
}

fn authenticated() -> Value {
    json!({"authenticated": true, "audiences": ["lightkeeper"],
           "user": {"username": POD, "uid": "u", "groups": ["system:serviceaccounts"], "extra": {"authentication.kubernetes.io/pod-name": ["web-1"]}}})
}

async fn said(identifier: &Identifier, token: &str) -> Result<String, &'static str> {
    verdict(identifier, token).await
}

/// Scenario: the pod's token is not there, comes, and names another issuer later; tokens of the cluster, of others and of
/// no issuer are shown meanwhile. Guarantees: while nothing is known a token is an outage; what our own token names is the
/// cluster's, the name before it too; the file is read again for an unknown name, and not for each.
#[tokio::test]
async fn the_issuer_is_the_one_of_our_own_token() {
    let (folder, world) = (Folder::new(), World::new());
    let loopback = Loopback::start(json!([])).await;
    let identifier = world.identifier(&[settings(&loopback, &folder, TokenReviewing::Off)], None);
    let named = |iss: &str| token(json!({"iss": iss}));
    let (next, other) = ("https://next.example", "https://other.example");
    let literal = "kubernetes://kubernetes.default.svc:443";
    for (second, own_issuer, iss, expected) in [
        (0, None, CLUSTER, Err("keys_unavailable")),
        (5, Some(CLUSTER), CLUSTER, Err("keys_unavailable")),
        (11, None, CLUSTER, Ok(POD)),
        (12, None, literal, Err("token_issuer_unknown")),
        (13, Some(next), next, Err("token_issuer_unknown")),
        (22, None, next, Ok(POD)),
        (23, None, CLUSTER, Ok(POD)),
        (24, None, other, Err("token_issuer_unknown")),
        (60, None, other, Err("token_issuer_unknown")),
    ] {
        world.move_to(NOW + second);
        if let Some(iss) = own_issuer {
            own(&folder, iss);
        }
        let found = said(&identifier, &named(iss)).await;
        assert_eq!(found.as_deref().map_err(|code| *code), expected, "{second}");
    }
    for nonsense in [
        "",
        "x.y.z",
        "{}",
        &token(json!({"iss": 7})),
        &token(json!({"iss": ""})),
    ] {
        folder.write("token", nonsense);
        world.move_to(NOW + 200);
        assert_eq!(
            said(&identifier, &named(other)).await,
            Err("token_issuer_unknown")
        );
        assert_eq!(said(&identifier, &named(next)).await.as_deref(), Ok(POD));
    }
}

/// Scenario: each answer that an API server may give. Guarantees: only an authenticated token of the same user, for an audience
/// of ours, counts; what says no is 401, what says nothing is 503 with `on`, and with `prefer` leaves the signature's word.
#[tokio::test]
async fn a_review_counts_only_for_us_and_for_the_same_user() {
    let (folder, world) = (Folder::new(), World::new());
    let loopback = Loopback::start(json!([])).await;
    own(&folder, CLUSTER);
    let without = |name: &str| {
        let mut status = authenticated();
        status.as_object_mut().unwrap().remove(name);
        status
    };
    let with = |name: &str, value: Value| {
        let mut status = authenticated();
        status[name] = value;
        status
    };
    let raw = |status, body: &str| Answer {
        status,
        headers: Vec::new(),
        body: body.to_owned(),
    };
    let (no, unusable) = (Err("token_inactive"), Err("review_answer"));
    let wrong = Err("token_audience");
    for (what, answer, expected) in [
        ("authenticated", reviewed(authenticated()), Ok(POD)),
        (
            "status 200",
            Answer {
                status: 200,
                ..reviewed(authenticated())
            },
            Ok(POD),
        ),
        (
            "several audiences",
            reviewed(with("audiences", json!(["x", "gateway"]))),
            Ok(POD),
        ),
        ("not", reviewed(json!({"authenticated": false})), no),
        ("left out", reviewed(json!({"error": "pod is gone"})), no),
        ("null", reviewed(with("authenticated", json!(null))), no),
        (
            "another audience",
            reviewed(with("audiences", json!(["https://kubernetes.default.svc"]))),
            wrong,
        ),
        ("no audience", reviewed(with("audiences", json!([]))), wrong),
        ("audiences left out", reviewed(without("audiences")), wrong),
        (
            "a text",
            reviewed(with("authenticated", json!("true"))),
            unusable,
        ),
        (
            "audiences a text",
            reviewed(with("audiences", json!("lightkeeper"))),
            unusable,
        ),
        (
            "another user",
            reviewed(with("user", json!({"username": "system:admin"}))),
            unusable,
        ),
        ("no user", reviewed(without("user")), unusable),
        (
            "no name",
            reviewed(with("user", json!({"uid": "u"}))),
            unusable,
        ),
        (
            "another kind",
            Answer::json(json!({"kind": "Status", "status": authenticated()})),
            unusable,
        ),
        (
            "no status",
            Answer::json(json!({"kind": "TokenReview"})),
            unusable,
        ),
        (
            "a member twice",
            raw(
                201,
                r#"{"kind":"TokenReview","status":{"authenticated":false,"authenticated":true}}"#,
            ),
            unusable,
        ),
        ("a page", raw(200, "<html>"), unusable),
        ("unauthorized", raw(401, "{}"), Err("review_forbidden")),
        ("forbidden", raw(403, "{}"), Err("review_forbidden")),
        ("not found", raw(404, "{}"), Err("review_unavailable")),
        ("too many", raw(429, "{}"), Err("review_unavailable")),
        ("down", raw(500, "{}"), Err("review_unavailable")),
        (
            "too large",
            raw(201, &" ".repeat(70_000)),
            Err("review_unavailable"),
        ),
    ] {
        loopback.page(PATH, answer);
        for review in [TokenReviewing::On, TokenReviewing::Prefer] {
            let identifier = world.identifier(&[settings(&loopback, &folder, review)], None);
            let skipped = |event: &Event| matches!(event, Event::ReviewSkipped { .. });
            let before = world.count(skipped);
            let found = said(&identifier, &token(json!({}))).await;
            let is_outage = matches!(
                expected,
                Err("review_answer" | "review_forbidden" | "review_unavailable")
            );
            let falls_back = is_outage && review == TokenReviewing::Prefer;
            let expected = if falls_back { Ok(POD) } else { expected };
            assert_eq!(
                found.as_deref().map_err(|code| *code),
                expected,
                "{what} {review:?}"
            );
            assert_eq!(
                world.count(skipped) - before,
                usize::from(falls_back),
                "{what} {review:?}"
            );
        }
    }
}

fn reviews(loopback: &Loopback) -> usize {
    let shown = loopback.shown.lock().unwrap();
    shown.iter().filter(|(path, _)| path == PATH).count()
}

/// Scenario: a pod is deleted while its token holds, by signature, for minutes more; then the API server goes and comes back.
/// Guarantees: the token ends with the review that is remembered, 30 seconds at most; a token whose signature does not
/// hold is reviewed nowhere; while the server is away `prefer` asks every five seconds, and `on` says so; a refusal is
/// never undone by an outage that follows from too many refusals.
#[tokio::test]
async fn a_deleted_pod_ends_with_its_review() {
    let (folder, world) = (Folder::new(), World::new());
    let loopback = Loopback::start(json!([])).await;
    own(&folder, CLUSTER);
    let on = world.identifier(&[settings(&loopback, &folder, TokenReviewing::On)], None);
    let prefer = world.identifier(
        &[settings(&loopback, &folder, TokenReviewing::Prefer)],
        None,
    );
    let token = token(json!({}));
    let down = Answer {
        status: 503,
        ..Answer::json("")
    };
    let gone = reviewed(json!({"authenticated": false}));
    for (second, answer, by_on, by_prefer, asked) in [
        (0, reviewed(authenticated()), Ok(POD), Ok(POD), 2),
        (29, gone.clone(), Ok(POD), Ok(POD), 0),
        (
            31,
            gone.clone(),
            Err("token_inactive"),
            Err("token_inactive"),
            2,
        ),
        (
            32,
            reviewed(authenticated()),
            Err("token_inactive"),
            Err("token_inactive"),
            0,
        ),
        (37, down.clone(), Err("review_unavailable"), Ok(POD), 2),
        (38, down.clone(), Err("review_unavailable"), Ok(POD), 1),
        (
            43,
            gone.clone(),
            Err("token_inactive"),
            Err("token_inactive"),
            2,
        ),
        (49, reviewed(authenticated()), Ok(POD), Ok(POD), 2),
    ] {
        world.move_to(NOW + second);
        loopback.page(PATH, answer);
        let before = reviews(&loopback);
        for (identifier, expected) in [(&on, by_on), (&prefer, by_prefer)] {
            let found = said(identifier, &token).await;
            assert_eq!(found.as_deref().map_err(|code| *code), expected, "{second}");
        }
        assert_eq!(reviews(&loopback) - before, asked, "{second}");
    }
    let before = reviews(&loopback);
    let forged = OTHER_RSA.token("RS256", "rs", json!({"iss": CLUSTER, "sub": POD}));
    assert_eq!(said(&on, &forged).await, Err("token_signature"));
    assert_eq!(reviews(&loopback), before);
    // A flood of tokens of deleted pods ends in a penalty, which is no outage of the API server.
    loopback.page(PATH, gone);
    let mut last = Ok(String::new());
    for number in 0..200 {
        let token = super::super::forge::RSA.token(
            "RS256",
            "rs",
            json!({"iss": CLUSTER, "sub": POD, "jti": number.to_string()}),
        );
        last = said(&prefer, &token).await;
        assert!(last.is_err(), "{number}: {last:?}");
    }
    assert_eq!(last, Err("proofs_penalty"));
    let facts = on
        .identify(super::super::forge::caller(Some(&token), None))
        .await;
    assert_eq!(facts.unwrap().facts().method, Method::Oidc);
}
