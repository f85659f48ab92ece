//! The store's client against a store, and what the shelf makes of its answers.
//!
//! What it does: holds tables of answers and of steps, one line a case. What it refuses to know: the backend. Invariants: every
//! line names the exact fault; what a fault shows is looked through for secrets.

use std::time::Duration;

use testkit::secret_store::{ACCOUNT_ROLE, ACCOUNT_TOKEN, ROLE_ID, SECRET_ID};
#[cfg(feature = "aws")]
use testkit::secret_store::{AWS_ROLE, SERVER_ID};
use testkit::{Mood, SecretStoreServer};

use super::*;
use crate::clock::Clock;
use crate::egress::Egress;
use crate::egress::OutboundBounds;
use crate::egress::hostile::{self, Breach};
use crate::secret::SecretRef;

const START: UnixMillis = UnixMillis(1_700_000_000_000);
const PATH: &str = "lightkeeper/checkout-prod";
const EVERY: Duration = Duration::from_secs(60);
const STALE: Duration = Duration::from_secs(600);

fn reference(path: &str, field: &str, version: Option<u64>) -> StoredRef {
    StoredRef {
        path: path.to_owned(),
        field: field.to_owned(),
        version,
    }
}

fn settings(url: &str, login: StoreLogin) -> StoreSettings {
    StoreSettings {
        url: url.to_owned(),
        namespace: Some("team".to_owned()),
        mount: "secret".to_owned(),
        login,
        ca: None,
        egress: Egress::Direct,
        every: EVERY,
        stale: STALE,
        probe: true,
    }
}

/// Files with what proves the gateway.
struct Proofs(tempfile::TempDir);

impl Proofs {
    fn new() -> Self {
        Proofs(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> SecretRef {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        SecretRef::File(path)
    }

    fn approle(&self, secret_id: &str, wrapped: bool) -> StoreLogin {
        StoreLogin::AppRole {
            mount: "approle".to_owned(),
            role_id: self.write("role-id", ROLE_ID),
            secret_id: self.write("secret-id", secret_id),
            wrapped,
        }
    }
}

fn open(url: &str, login: StoreLogin) -> Kv2 {
    Kv2::open(&settings(url, login)).unwrap()
}

fn number_and_text(version: &SecretVersion) -> (u64, String) {
    let text = String::from_utf8(version.secret.expose().to_vec()).unwrap();
    (version.number, text)
}

/// Scenario: a secret gets versions, of which some are deleted. Guarantees: the newest and the one before come, a version that
/// is asked for alone, nothing where nothing is newer; the namespace is sent.
#[tokio::test]
async fn the_newest_version_and_the_one_before_are_found() {
    let server = SecretStoreServer::start(|| START.seconds()).await.unwrap();
    let proofs = Proofs::new();
    let store = open(&server.url(), proofs.approle(SECRET_ID, false));
    let newest = reference(PATH, "token", None);
    let mut seen = Vec::new();
    for (text, deletes, known) in [
        ("one", None, None),
        ("two", None, Some(1)),
        ("three", Some(2), Some(2)),
        ("four\n", None, None),
    ] {
        let number = server.put(PATH, &[("token", text), ("other", "x")]);
        if let Some(version) = deletes {
            server.delete(PATH, version);
        }
        let found = store.fetch(&newest, known, START).await.unwrap().unwrap();
        assert_eq!(found.current.number, number);
        seen.push((
            number_and_text(&found.current).1,
            found.previous.as_ref().map(number_and_text),
        ));
        assert!(
            store
                .fetch(&newest, Some(number), START)
                .await
                .unwrap()
                .is_none()
        );
    }
    let told = |number, text: &str| Some((number, text.to_owned()));
    assert_eq!(
        seen,
        [
            ("one".to_owned(), None),
            ("two".to_owned(), told(1, "one")),
            ("three".to_owned(), None),
            ("four".to_owned(), told(3, "three")),
        ]
    );
    let pinned = reference(PATH, "token", Some(1));
    let found = store.fetch(&pinned, None, START).await.unwrap().unwrap();
    assert_eq!(number_and_text(&found.current), (1, "one".to_owned()));
    assert!(found.previous.is_none());
    assert!(
        server
            .calls()
            .iter()
            .all(|call| call.namespace.as_deref() == Some("team"))
    );
}

/// Scenario: each way in which a store gives no secret. Guarantees: the fault says which, tells those of the whole store from
/// those of one secret, and shows nothing of what was sent or read.
#[tokio::test]
async fn each_failure_has_its_fault() {
    let proofs = Proofs::new();
    let answer = |status, body: &str| {
        Some(Mood::Answer {
            status,
            body: body.to_owned(),
        })
    };
    let status = |status| Some(Mood::status(status));
    let rows = [
        (
            "absent",
            None,
            "lightkeeper/none",
            "token",
            "missing",
            false,
        ),
        (
            "deleted",
            None,
            "lightkeeper/deleted",
            "token",
            "deleted",
            false,
        ),
        (
            "forbidden",
            None,
            "lightkeeper/forbidden",
            "token",
            "denied",
            false,
        ),
        ("no field", None, PATH, "none", "no_field", false),
        (
            "no text",
            None,
            "lightkeeper/blank",
            "token",
            "unusable",
            false,
        ),
        (
            "sealed",
            Some(Mood::sealed()),
            PATH,
            "token",
            "sealed",
            true,
        ),
        ("standby", status(429), PATH, "token", "standby", true),
        (
            "performance standby",
            status(473),
            PATH,
            "token",
            "standby",
            true,
        ),
        ("recovery", status(472), PATH, "token", "standby", true),
        ("behind", status(412), PATH, "token", "behind", true),
        ("broken", status(500), PATH, "token", "status", true),
        ("moved", status(307), PATH, "token", "status", true),
        (
            "severed",
            Some(Mood::Severed),
            PATH,
            "token",
            "unreachable",
            true,
        ),
        (
            "nonsense",
            answer(200, "canary-5151"),
            PATH,
            "token",
            "answer",
            false,
        ),
        ("empty", answer(200, "{}"), PATH, "token", "answer", false),
        (
            "another version",
            answer(
                200,
                r#"{"data":{"data":{"token":"canary-5151"},"metadata":{"version":0}}}"#,
            ),
            PATH,
            "token",
            "answer",
            false,
        ),
        (
            "destroyed",
            answer(
                200,
                r#"{"data":{"data":null,"metadata":{"version":3,"destroyed":true}}}"#,
            ),
            PATH,
            "token",
            "deleted",
            false,
        ),
        (
            "a number",
            answer(
                200,
                r#"{"data":{"data":{"token":5151},"metadata":{"version":3}}}"#,
            ),
            PATH,
            "token",
            "no_field",
            false,
        ),
    ];
    for (what, mood, path, field, code, of_the_store) in rows {
        let server = SecretStoreServer::start(|| START.seconds()).await.unwrap();
        server.put(PATH, &[("token", "canary-5151")]);
        server.put("lightkeeper/deleted", &[("token", "canary-5151")]);
        server.delete("lightkeeper/deleted", 1);
        server.put("lightkeeper/forbidden", &[("token", "canary-5151")]);
        server.forbid("lightkeeper/forbidden");
        server.put("lightkeeper/blank", &[("token", "canary 5151")]);
        let store = open(&server.url(), proofs.approle(SECRET_ID, false));
        // Logged in before it fails.
        let good = store
            .fetch(&reference(PATH, "token", None), None, START)
            .await;
        assert!(good.is_ok(), "{what}");
        server.fail(mood);
        let fault = store
            .fetch(&reference(path, field, None), None, START)
            .await;
        let fault = fault.unwrap_err();
        assert_eq!(fault.code(), code, "{what}");
        assert_eq!(fault.is_of_the_store(), of_the_store, "{what}");
        let shown = format!("{fault} {fault:?}");
        assert!(
            !shown.contains("5151") && !shown.contains(SECRET_ID),
            "{shown}"
        );
    }
}

/// Scenario: each login, right and wrong. Guarantees: the right ones read; a wrong one is told as such, a wrapped secret ID
/// that another opened as an alarm, which stays one until another is delivered.
#[tokio::test]
async fn each_login_is_tried() {
    let proofs = Proofs::new();
    let kubernetes = |role: &str, token: &str| StoreLogin::Kubernetes {
        mount: "kubernetes".to_owned(),
        role: role.to_owned(),
        token: proofs.write(token, token),
    };
    let missing = || SecretRef::File(proofs.0.path().join("none"));
    let rows = [
        ("approle", proofs.approle(SECRET_ID, false), None),
        ("kubernetes", kubernetes(ACCOUNT_ROLE, ACCOUNT_TOKEN), None),
        (
            "another role",
            kubernetes("other", ACCOUNT_TOKEN),
            Some("login_refused"),
        ),
        (
            "another account",
            kubernetes(ACCOUNT_ROLE, "other"),
            Some("login_refused"),
        ),
        (
            "no such token",
            StoreLogin::Token(proofs.write("token", "hvs.other")),
            Some("denied"),
        ),
        ("no token", StoreLogin::Token(missing()), Some("own_proof")),
    ];
    for (what, login, expected) in rows {
        let server = SecretStoreServer::start(|| START.seconds()).await.unwrap();
        server.put(PATH, &[("token", "one")]);
        let store = open(&server.url(), login);
        let found = store
            .fetch(&reference(PATH, "token", None), None, START)
            .await;
        assert_eq!(found.err().map(|fault| fault.code()), expected, "{what}");
    }
    let server = SecretStoreServer::start(|| START.seconds()).await.unwrap();
    server.put(PATH, &[("token", "one")]);
    let wanted = reference(PATH, "token", None);
    let refused = open(&server.url(), proofs.approle("other-id", false));
    let fault = refused.fetch(&wanted, None, START).await.unwrap_err();
    assert_eq!(fault.code(), "login_refused");
    for (token, is_known, expected) in [
        ("wrap-1", true, None),
        ("wrap-1", true, Some("unwrap")),
        ("wrap-2", false, Some("unwrap")),
    ] {
        if is_known && expected.is_none() {
            server.wrap(token);
        }
        let store = open(&server.url(), proofs.approle(token, true));
        for _ in 0..2 {
            let found = store.fetch(&wanted, None, START).await;
            assert_eq!(found.err().map(|fault| fault.code()), expected, "{token}");
        }
    }
    // Each once, however often it was asked.
    let unwraps = server.calls();
    let unwraps = unwraps.iter().filter(|call| call.path.ends_with("/unwrap"));
    assert_eq!(unwraps.count(), 3);
}

/// Scenario: the gateway logs in with a call to AWS that it signed: as a role and as a user, for another Vault, for none, with
/// another's key, and with a clock that is wrong. Guarantees: what another writing of AWS's format finds right logs in; all
/// else is told as a login that is refused; no fault shows a key.
#[cfg(feature = "aws")]
#[tokio::test]
async fn a_signed_call_to_aws_logs_in() {
    use crate::aws::{AwsKeyRefs, AwsSigning};
    use testkit::AwsCaller;

    let proofs = Proofs::new();
    let role = AwsCaller::role("123456789012", "lightkeeper", "i-0abc");
    let user = AwsCaller::user("123456789012", "ada");
    let forged = {
        let mut caller = role.clone();
        caller.keys.secret_key = "canary-of-another".to_owned();
        caller
    };
    let unknown = AwsCaller::role("999999999999", "other", "i-0def");
    let eu = ("sts.eu-west-1.amazonaws.com", "eu-west-1");
    let global = ("sts.amazonaws.com", "us-east-1");
    let refused = Some("login_refused");
    let rows = [
        ("a role", &role, eu, Some(SERVER_ID), AWS_ROLE, 0, None),
        ("a user", &user, global, Some(SERVER_ID), AWS_ROLE, 0, None),
        (
            "another Vault",
            &role,
            eu,
            Some("other"),
            AWS_ROLE,
            0,
            refused,
        ),
        ("no Vault", &role, eu, None, AWS_ROLE, 0, refused),
        (
            "another role",
            &role,
            eu,
            Some(SERVER_ID),
            "other",
            0,
            refused,
        ),
        (
            "a wrong key",
            &forged,
            eu,
            Some(SERVER_ID),
            AWS_ROLE,
            0,
            refused,
        ),
        (
            "unknown",
            &unknown,
            eu,
            Some(SERVER_ID),
            AWS_ROLE,
            0,
            refused,
        ),
        ("late", &role, eu, Some(SERVER_ID), AWS_ROLE, 600, refused),
    ];
    for (what, caller, (host, region), server_id, vault_role, late, expected) in rows {
        let server = SecretStoreServer::start(|| START.seconds()).await.unwrap();
        server.put(PATH, &[("token", "one")]);
        server.know(&role);
        server.know(&user);
        let session = caller.keys.session_token.as_ref();
        let keys = AwsKeyRefs {
            access_key: proofs.write("access-key", &caller.keys.access_key),
            secret_key: proofs.write("secret-key", &caller.keys.secret_key),
            session: session.map(|token| proofs.write("session", token)),
        };
        let store = open(
            &server.url(),
            StoreLogin::Aws(AwsLogin {
                mount: "aws".to_owned(),
                role: vault_role.to_owned(),
                server_id: server_id.map(str::to_owned),
                host: host.to_owned(),
                signing: AwsSigning {
                    region: region.to_owned(),
                    keys: Some(keys),
                },
            }),
        );
        let now = UnixMillis(START.0 + late * 1000);
        let found = store
            .fetch(&reference(PATH, "token", None), None, now)
            .await;
        let fault = found.err();
        assert_eq!(fault.as_ref().map(StoreFault::code), expected, "{what}");
        let shown = format!("{fault:?}");
        assert!(!shown.contains(&caller.keys.secret_key), "{what}: {shown}");
    }
}

/// Scenario: tokens end, are revoked and cannot be renewed. Guarantees: a token is renewed after two thirds of its life; one
/// that was ended is replaced by one login; a login is not made for each question.
#[tokio::test]
async fn a_login_is_kept_alive() {
    let (clock, now) = Clock::manual(START);
    let server = {
        let clock = clock.clone();
        SecretStoreServer::start(move || clock.now().seconds())
    };
    let server = server.await.unwrap();
    server.put(PATH, &[("token", "one")]);
    server.lease(60);
    let proofs = Proofs::new();
    let store = open(&server.url(), proofs.approle(SECRET_ID, false));
    let wanted = reference(PATH, "token", None);
    let counts = |end: &str| {
        let calls = server.calls();
        calls.iter().filter(|call| call.path.ends_with(end)).count()
    };
    // Seconds on; what ends before; logins and renewals since the start.
    for (seconds, ends, logins, renewals) in [
        (0, false, 1, 0),
        (39, false, 1, 0),
        (2, false, 1, 1),
        (41, false, 1, 2),
        (1, true, 2, 2),
        (600, false, 3, 3),
    ] {
        now.fetch_add(seconds * 1000, std::sync::atomic::Ordering::Relaxed);
        if ends {
            server.revoke_all();
        }
        let found = store.fetch(&wanted, None, clock.now()).await;
        assert!(found.is_ok(), "{seconds}");
        assert_eq!(
            (counts("/login"), counts("/renew-self")),
            (logins, renewals),
            "{seconds}"
        );
    }
}

/// Scenario: each kind of peer that keeps to no bound is the store. Guarantees: what it does ends in a fault.
#[tokio::test]
async fn hostile_peers_meet_the_bounds() {
    let proofs = Proofs::new();
    for peer in hostile::peers(OutboundBounds::STORE) {
        if matches!(peer.breach, Breach::Silence) {
            // The whole deadline would be waited for; `egress` tries it.
            continue;
        }
        let served = peer.serve().await;
        let url = served.url("");
        let store = open(url.trim_end_matches('/'), proofs.approle(SECRET_ID, false));
        let told = store
            .fetch(&reference(PATH, "token", None), None, START)
            .await;
        assert!(told.is_err(), "{}", peer.what);
    }
}

fn versions(number: u64, previous: Option<u64>) -> Option<Versions> {
    let version = |number: u64| SecretVersion {
        number,
        secret: Arc::new(Secret::new(format!("secret-{number}").into_bytes()).unwrap()),
    };
    Some(Versions {
        current: version(number),
        previous: previous.map(version),
    })
}

/// What comes next in a secret's life.
enum Step {
    Offer(u64),
    Same,
    Fail,
    Promote(u64),
    Refuse(u64),
    Later(i64),
}

/// Scenario: a secret's life, step by step. Guarantees: a new version serves only when it is promoted; the one before stays
/// beside it; what the store does not confirm serves until it is stale, and comes back when the store does; the store going
/// back takes a version away that waited.
#[test]
fn a_secret_lives_from_pending_to_gone() {
    use Step::*;
    let shelf = Shelf::default();
    let wanted = reference(PATH, "token", None);
    shelf.retain(std::slice::from_ref(&wanted));
    let mut now = START;
    let rows: [(Step, ShelfState, &[u64]); 14] = [
        (Fail, ShelfState::Absent, &[]),
        (Offer(2), ShelfState::Current, &[2, 1]),
        (Offer(3), ShelfState::Pending, &[2, 1]),
        (Refuse(3), ShelfState::Refused, &[2, 1]),
        (Promote(4), ShelfState::Refused, &[2, 1]),
        (Same, ShelfState::Refused, &[2, 1]),
        (Promote(3), ShelfState::Current, &[3, 2]),
        (Offer(4), ShelfState::Pending, &[3, 2]),
        (Offer(3), ShelfState::Current, &[3, 2]),
        (Fail, ShelfState::Unconfirmed, &[3, 2]),
        (Later(599), ShelfState::Unconfirmed, &[3, 2]),
        (Fail, ShelfState::Unconfirmed, &[3, 2]),
        (Later(1), ShelfState::Stale, &[]),
        (Same, ShelfState::Current, &[3, 2]),
    ];
    for (row, (step, state, serving)) in rows.into_iter().enumerate() {
        match step {
            Offer(number) => {
                shelf.offer(&wanted, versions(number, number.checked_sub(1)), now, EVERY);
            }
            Same => drop(shelf.offer(&wanted, None, now, EVERY)),
            Fail => drop(shelf.failed(&wanted, &StoreFault::Sealed, now, (EVERY, STALE))),
            Promote(number) => drop(shelf.promote(&wanted, number, now)),
            Refuse(number) => drop(shelf.refuse(&wanted, number, ("refused", now))),
            Later(seconds) => {
                now = UnixMillis(now.0 + seconds * 1000);
                shelf.failed(&wanted, &StoreFault::Sealed, now, (EVERY, STALE));
            }
        }
        let entry = shelf.entries().remove(&wanted).unwrap();
        let served: Vec<u64> = shelf
            .serving(&wanted)
            .iter()
            .map(|one| one.number)
            .collect();
        assert_eq!(
            (entry.state(), served.as_slice()),
            (state, serving),
            "step {row}"
        );
    }
    shelf.retain(&[]);
    assert!(shelf.entries().is_empty());
}

#[test]
fn paths_are_plain_segments() {
    for (path, is_one) in [
        ("secret", true),
        ("a/b-c/d_e.f", true),
        ("", false),
        ("/a", false),
        ("a//b", false),
        ("a/../b", false),
        ("a?version=1", false),
        ("a b", false),
        ("ä", false),
    ] {
        assert_eq!(is_store_path(path), is_one, "{path}");
    }
}
