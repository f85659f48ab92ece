//! Scenario: hostile cookies, paths to return to, callbacks and methods at the gateway's own site. Guarantees: each is
//! refused cleanly with one record, no person is logged in by it, no browser is sent to another host, and nothing reaches the
//! backend.

mod heads;

use http::Method;
use testkit::{Answer, SampleCaller, World};

use super::ground::{self, Ground};
use super::wire;

const SESSION: &str = "__Host-lightkeeper-session";
const LOGIN: &str = "__Host-lightkeeper-login";

/// A browser at the plaintext listener of this machine: its address is all that it needs of the network.
struct Browser<'w> {
    world: &'w World,
    caller: SampleCaller,
}

impl Browser<'_> {
    async fn get(&self, path: &str, cookies: &str) -> Answer {
        let headers = [("cookie", cookies)];
        let headers = if cookies.is_empty() {
            &headers[..0]
        } else {
            &headers[..]
        };
        self.caller
            .send(Method::GET, path, headers, Vec::new())
            .await
            .unwrap()
    }

    /// Begins a login and lets the provider agree: the login's cookie, and the callback.
    async fn begin(&self, return_to: &str) -> (String, String) {
        let begun = self
            .get(&format!("/.lightkeeper/login?return_to={return_to}"), "")
            .await;
        let address = begun.header("location").unwrap();
        let path = address.strip_prefix(self.world.issuer.url()).unwrap();
        let answer = SampleCaller::new(self.world.issuer.url())
            .get(&format!("{path}&user=ann"))
            .await
            .unwrap();
        let callback = answer.header("location").unwrap();
        let callback = callback
            .strip_prefix(&self.world.plain_url())
            .unwrap()
            .to_owned();
        (given(&begun, LOGIN).unwrap(), callback)
    }
}

/// The `name=value` of a cookie that an answer sets.
fn given(answer: &Answer, name: &str) -> Option<String> {
    let lines = answer
        .headers
        .get_all("set-cookie")
        .iter()
        .map(|line| line.to_str().unwrap());
    let mut set =
        lines.filter(|line| line.starts_with(&format!("{name}=")) && !line.contains("Max-Age=0"));
    set.next()
        .map(|line| line.split(';').next().unwrap().to_owned())
}

/// Values of `return_to`, as they stand in the query.
const RETURNS: &[&str] = &[
    "https://evil.example/",
    "https:%2F%2Fevil.example%2F",
    "//evil.example",
    "%2F%2Fevil.example",
    "%2F%5Cevil.example",
    "%5C%5Cevil.example",
    "///evil.example",
    "https:evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "/",
    "/apps",
    "/public/v0.2/acme/projects",
    "/.lightkeeper",
    "/.lightkeeper/../public",
    "/.lightkeeper/%252e%252e/public",
    "/.lightkeeper/%2e%2e/public",
    "/.lightkeeper//evil.example",
    "/.lightkeeper/%5Cevil.example",
    "/.lightkeeper@evil.example/",
    "/.lightkeeper/%23@evil.example",
    "/.lightkeeper/login",
    "/.lightkeeper/login?return_to=/.lightkeeper/",
    "/.lightkeeper/logout",
    "/.lightkeeper/callback?code=a%26state=b",
    "/.lightkeeper/%22%3E%3Cscript%3E",
    "+/.lightkeeper/",
    "%20/.lightkeeper/",
    "/.Lightkeeper/",
    "",
];

/// Scenario: links that lead to a login and then elsewhere. Guarantees: everybody lands on the first page, whether they
/// log in or were logged in already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_sent_elsewhere_after_a_login() {
    let ground = Ground::new().await;
    let browser = Browser {
        world: &ground.world,
        caller: ground.world.plain_caller(),
    };
    let (login, callback) = browser.begin("https://evil.example/").await;
    let done = browser.get(&callback, &login).await;
    assert_eq!(
        (done.status, done.header("location").as_deref()),
        (303, Some("/.lightkeeper/")),
        "{}",
        done.text()
    );
    let session = given(&done, SESSION).unwrap();
    let mut faults = Vec::new();
    for wanted in RETURNS {
        let answer = browser
            .get(&format!("/.lightkeeper/login?return_to={wanted}"), &session)
            .await;
        if (answer.status, answer.header("location").as_deref()) != (303, Some("/.lightkeeper/")) {
            faults.push(format!(
                "{wanted}: {} {:?}",
                answer.status,
                answer.header("location")
            ));
        }
    }
    ground.nothing_upstream("logins");
    ground::none(&faults);
}

/// A change to a callback that the provider meant well, and the status and reason that it ends with.
type Forgery = (&'static str, fn(&str) -> String, u16, &'static str);

const FORGERIES: &[Forgery] = &[
    (
        "another state",
        |path| replaced(path, "state", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        400,
        "login_state_mismatch",
    ),
    (
        "an empty state",
        |path| replaced(path, "state", ""),
        400,
        "",
    ),
    ("no state", |path| without(path, "state"), 400, ""),
    (
        "another code",
        |path| replaced(path, "code", "AAAA"),
        400,
        "login_code_refused",
    ),
    ("no code", |path| without(path, "code"), 400, ""),
    (
        "a code with markup",
        |path| replaced(path, "code", "%3Cscript%3E"),
        400,
        "login_code_refused",
    ),
    (
        "another issuer",
        |path| replaced(path, "iss", "https%3A%2F%2Fevil.example"),
        400,
        "login_issuer_mismatch",
    ),
    (
        "no issuer",
        |path| without(path, "iss"),
        400,
        "login_issuer_mismatch",
    ),
    (
        "two codes",
        |path| format!("{path}&code=AAAA"),
        400,
        "login_callback_malformed",
    ),
    (
        "two states",
        |path| format!("{path}&state=AAAA"),
        400,
        "login_callback_malformed",
    ),
    (
        "two issuers",
        |path| format!("{path}&iss=https%3A%2F%2Fevil.example"),
        400,
        "login_callback_malformed",
    ),
    (
        "an error besides",
        |path| format!("{path}&error=access_denied"),
        0,
        "",
    ),
    (
        "another flow's token",
        |path| format!("{path}&id_token=a.b.c"),
        400,
        "login_callback_malformed",
    ),
    (
        "an error with markup",
        |path| {
            format!(
                "{}&error=%3Cscript%3Ealert(1)%3C%2Fscript%3E",
                without(path, "code")
            )
        },
        400,
        "",
    ),
    (
        "many pairs",
        |path| format!("{path}{}", "&a=b".repeat(70)),
        400,
        "malformed_query",
    ),
    (
        "a header in a value",
        |path| format!("{path}&x=%0d%0aset-cookie:%20a=b"),
        400,
        "malformed_query",
    ),
];

fn parts(path: &str) -> (String, Vec<(String, String)>) {
    let (path, query) = path.split_once('?').unwrap();
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap());
    (
        path.to_owned(),
        pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
    )
}

fn joined(path: &str, pairs: &[(String, String)]) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!("{path}?{}", pairs.join("&"))
}

fn replaced(callback: &str, name: &str, by: &str) -> String {
    let (path, mut pairs) = parts(callback);
    pairs
        .iter_mut()
        .filter(|(key, _)| key == name)
        .for_each(|(_, value)| by.clone_into(value));
    joined(&path, &pairs)
}

fn without(callback: &str, name: &str) -> String {
    let (path, mut pairs) = parts(callback);
    pairs.retain(|(key, _)| key != name);
    joined(&path, &pairs)
}

/// Scenario: callbacks that are forged in one place. Guarantees: each is a page that says to log in again, sets no session,
/// shows nothing of what it was given, and removes the login's cookie where it was looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_callbacks_log_nobody_in() {
    let mut ground = Ground::new().await;
    let mut faults = Vec::new();
    for (name, forge, status, reason) in FORGERIES {
        let browser = Browser {
            world: &ground.world,
            caller: ground.world.plain_caller(),
        };
        let (login, callback) = browser.begin("").await;
        let answer = browser.get(&forge(&callback), &login).await;
        // The record of the login's beginning may come after this one's.
        let records = ground.calls(2).await;
        let id = answer.header("lightkeeper-request-id").unwrap_or_default();
        let told = records.iter().find(|record| record["request_id"] == id);
        let told = told
            .map(|record| record["reason"].clone())
            .unwrap_or_default();
        let page = answer.text();
        let clean = (answer.status == *status
            || (*status == 0 && matches!(answer.status, 400 | 403)))
            && (told == *reason || reason.is_empty())
            && given(&answer, SESSION).is_none()
            && answer.header("location").is_none()
            && !page.contains("<script>alert")
            && !page.contains("evil.example");
        if !clean {
            faults.push(format!(
                "{name}: {} {told} {:?}",
                answer.status, answer.headers
            ));
        }
    }
    ground.nothing_upstream("callbacks");
    ground::none(&faults);
}

/// Scenario: whole callbacks in the wrong browser, at the wrong time or twice. Guarantees: a login ends once, in the
/// browser that began it, at the origin where it began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callbacks_work_once_and_where_they_belong() {
    let ground = Ground::new().await;
    let browser = Browser {
        world: &ground.world,
        caller: ground.world.plain_caller(),
    };
    let (mine, to_me) = browser.begin("").await;
    let (theirs, to_them) = browser.begin("").await;
    let refused = |answer: &Answer| answer.status == 400 && given(answer, SESSION).is_none();
    assert!(
        refused(&browser.get(&to_me, "").await),
        "without the cookie"
    );
    let swapped = browser.get(&to_them, &mine).await;
    assert!(
        refused(&swapped) && swapped.header("set-cookie").is_none(),
        "swapped"
    );
    assert_eq!(
        browser.get(&to_me, &mine).await.status,
        303,
        "another's link ends no login under way"
    );
    assert!(refused(&browser.get(&to_me, &mine).await), "replayed");
    let as_session = theirs.replace(LOGIN, SESSION);
    assert_eq!(
        browser
            .get("/.lightkeeper/whoami", &as_session)
            .await
            .status,
        401,
        "a login's cookie is no session"
    );
    // The same listener by another name is another origin.
    let port = ground.plain().port();
    let elsewhere = SampleCaller::new(&format!("http://localhost:{port}"));
    let elsewhere = elsewhere
        .send(
            Method::GET,
            &to_them,
            &[("cookie", theirs.as_str())],
            Vec::new(),
        )
        .await
        .unwrap();
    assert!(refused(&elsewhere), "at another origin");
    let (own, callback) = browser.begin("").await;
    let done = browser.get(&callback, &own).await;
    let session = given(&done, SESSION).unwrap();
    assert!(refused(&browser.get(&callback, &own).await), "replayed");
    assert_eq!(
        browser.get("/.lightkeeper/whoami", &session).await.status,
        200
    );
    let elsewhere = SampleCaller::new(&format!("http://localhost:{port}"));
    let moved = elsewhere
        .send(
            Method::GET,
            "/.lightkeeper/whoami",
            &[("cookie", session.as_str())],
            Vec::new(),
        )
        .await;
    assert_eq!(moved.unwrap().status, 401, "a session is one origin's");
    let as_login = session.replace(SESSION, LOGIN);
    let (_, callback) = browser.begin("").await;
    assert!(
        refused(&browser.get(&callback, &as_login).await),
        "a session is no login's cookie"
    );
    for at in [0, session.len() / 2, session.len() - 1] {
        let mut bytes = session.clone().into_bytes();
        let at = at.max(SESSION.len() + 1);
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(bytes).unwrap();
        assert_eq!(
            browser.get("/.lightkeeper/whoami", &forged).await.status,
            401,
            "changed at {at}"
        );
    }
    ground.nothing_upstream("callbacks");
}

/// Scenario: a caller without an account begins logins and invents their codes, again and again, while others behind
/// the same address log in. Guarantees: the others get in while the flood lasts, each at the first try; of the flood each
/// code is exchanged once, in its turn; a login that ended well and its session are not concerned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_invented_codes_locks_out_no_other() {
    const FLOOD: usize = 300;
    let mut ground = Ground::new().await;
    let honest = std::sync::atomic::AtomicBool::new(true);
    let flood = || async {
        let browser = Browser {
            world: &ground.world,
            caller: ground.world.plain_caller(),
        };
        let mut statuses = Vec::new();
        while honest.load(std::sync::atomic::Ordering::Relaxed) && statuses.len() < FLOOD {
            let begun = browser.get("/.lightkeeper/login", "").await;
            let address = begun.header("location").unwrap();
            let (_, state) = address.split_once("state=").unwrap();
            let state = state.split('&').next().unwrap();
            let issuer = ground
                .world
                .issuer
                .url()
                .replace(':', "%3A")
                .replace('/', "%2F");
            let callback =
                format!("/.lightkeeper/callback?code=invented&state={state}&iss={issuer}");
            statuses.push(
                browser
                    .get(&callback, &given(&begun, LOGIN).unwrap())
                    .await
                    .status,
            );
        }
        statuses
    };
    let others = async {
        let mut statuses = Vec::new();
        while statuses.len() < 30 {
            let browser = Browser {
                world: &ground.world,
                caller: ground.world.plain_caller(),
            };
            let (own, callback) = browser.begin("").await;
            let done = browser.get(&callback, &own).await;
            let session = given(&done, SESSION).unwrap_or_default();
            statuses.push((
                done.status,
                browser.get("/.lightkeeper/whoami", &session).await.status,
            ));
        }
        honest.store(false, std::sync::atomic::Ordering::Relaxed);
        statuses
    };
    let (one, two, three, four, others) = tokio::join!(flood(), flood(), flood(), flood(), others);
    assert!(
        others.iter().all(|statuses| *statuses == (303, 200)),
        "{others:?}"
    );
    let flood = [one, two, three, four].concat();
    assert!(
        flood.len() > 65 && flood.iter().all(|status| *status == 400),
        "{} of the flood: {flood:?}",
        flood.len()
    );
    ground.nothing_upstream("logins");
    let records = ground.calls(2 * flood.len() + 3 * others.len()).await;
    let refused = records
        .iter()
        .filter(|record| record["reason"] == "login_code_refused")
        .count();
    assert_eq!(refused, flood.len());
}

/// Scenario: names by which a gateway is called. Guarantees: a login never begins in the clear, except on this machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_login_in_the_clear() {
    let mut ground = Ground::new().await;
    for (host, status, reason) in [
        ("localhost", 303, "ok"),
        ("LOCALHOST:80", 303, "ok"),
        ("127.0.0.1", 303, "ok"),
        ("[::1]:8080", 303, "ok"),
        ("gateway.acme.example", 400, "login_in_the_clear"),
        ("localhost.evil.example", 400, "login_in_the_clear"),
        ("127.0.0.1.evil.example", 400, "login_in_the_clear"),
        ("127.0.0.2", 400, "login_in_the_clear"),
        ("0", 400, "login_in_the_clear"),
        ("evil@localhost", 400, "malformed_host"),
        ("localhost/evil", 400, "malformed_host"),
        ("", 400, "malformed_host"),
    ] {
        let text = format!(
            "GET /.lightkeeper/login HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        );
        let talk = wire::talk(ground.plain(), text.as_bytes()).await;
        let replies = wire::replies(&talk.bytes, &[]).unwrap();
        let records = ground.calls(1).await;
        assert_eq!(
            (replies[0].status, records[0]["reason"].as_str()),
            (status, Some(reason)),
            "{host}"
        );
        let leads = replies[0]
            .header("location")
            .map(|location| location.starts_with(ground.world.issuer.url()));
        assert_eq!(leads, (status == 303).then_some(true), "{host}");
    }
    ground.nothing_upstream("hosts");
}
