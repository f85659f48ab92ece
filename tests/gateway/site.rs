//! People at the gateway's own site: logging in and out with a browser, what a session opens, and what it must prove
//! before it changes anything. What it refuses to know: how sessions are sealed, what pages look like.

mod proofs;

use std::collections::BTreeMap;

use http::Method;
use testkit::{Answer, SampleCaller, World};

use super::stage;

pub const SESSION: &str = "__Host-lightkeeper-session";
const LOGIN: &str = "__Host-lightkeeper-login";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const SAME_ORIGIN: (&str, &str) = ("sec-fetch-site", "same-origin");

/// What a browser does: keeps cookies, follows no redirect by itself so that each can be looked at.
pub struct Browser<'w> {
    world: &'w World,
    caller: SampleCaller,
    pub jar: BTreeMap<String, String>,
}

impl<'w> Browser<'w> {
    pub fn new(world: &'w World) -> Self {
        Browser {
            world,
            caller: world.caller(),
            jar: BTreeMap::new(),
        }
    }

    /// With another cookie for the session.
    pub fn holding(world: &'w World, session: &str) -> Self {
        let jar = BTreeMap::from([(SESSION.to_owned(), session.to_owned())]);
        Browser {
            jar,
            ..Browser::new(world)
        }
    }

    fn session(&self) -> String {
        self.jar[SESSION].clone()
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let cookies: Vec<String> = self
            .jar
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let cookies = cookies.join("; ");
        let mut headers = headers.to_vec();
        if !cookies.is_empty() {
            headers.push(("cookie", &cookies));
        }
        let answer = self
            .caller
            .send(method, path, &headers, body.as_bytes().to_vec())
            .await
            .unwrap();
        for line in answer.headers.get_all("set-cookie") {
            let line = line.to_str().unwrap();
            let (pair, attributes) = line.split_once("; ").unwrap();
            for attribute in ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"] {
                assert!(
                    attributes.split("; ").any(|known| known == attribute),
                    "{attributes}"
                );
            }
            assert!(
                !attributes.to_ascii_lowercase().contains("domain"),
                "{attributes}"
            );
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    /// A person picks a name on the provider's page; where the provider sends the browser then, without our origin.
    pub async fn at_provider(&self, address: &str, person: &str) -> String {
        let path = address.strip_prefix(self.world.issuer.url()).unwrap();
        let answer = SampleCaller::new(self.world.issuer.url())
            .get(&format!("{path}&user={person}"))
            .await
            .unwrap();
        let location = answer.header("location").unwrap();
        location.strip_prefix(&self.world.url()).unwrap().to_owned()
    }

    /// The whole way; where it ends.
    pub async fn log_in(&mut self, person: &str, return_to: &str) -> String {
        let answer = self
            .get(&format!("/.lightkeeper/login?return_to={return_to}"))
            .await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        let callback = self.at_provider(&location(&answer), person).await;
        let answer = self.get(&callback).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        assert!(
            self.jar.contains_key(SESSION) && !self.jar.contains_key(LOGIN),
            "{:?}",
            self.jar.keys()
        );
        location(&answer)
    }

    /// The token that a page of this session holds.
    async fn csrf(&mut self) -> String {
        let page = self.get("/.lightkeeper/").await.text();
        let (_, rest) = page
            .split_once("name=\"csrf\" value=\"")
            .expect("a page with a form");
        rest.split('"').next().unwrap().to_owned()
    }
}

pub fn location(answer: &Answer) -> String {
    answer
        .header("location")
        .unwrap_or_else(|| panic!("leads nowhere: {} {}", answer.status, answer.text()))
}

pub async fn reason(world: &World, answer: &Answer) -> String {
    let record = stage::record(world, &answer.header("lightkeeper-request-id").unwrap()).await;
    record["reason"].as_str().unwrap().to_owned()
}

/// Scenario: ann opens a page, logs in, looks around, logs out, and an old cookie turns up again. Guarantees: she ends
/// where she began; each step leaves its record, and none of them a code, a state or a cookie; what is logged out stays so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_login_from_the_first_page_to_a_dead_cookie() {
    let world = stage::start(stage::plan(&[])).await;
    let mut browser = Browser::new(&world);
    let first = browser.get("/.lightkeeper/apps/shop").await;
    assert_eq!(
        (first.status, location(&first).as_str()),
        (
            303,
            "/.lightkeeper/login?return_to=%2F.lightkeeper%2Fapps%2Fshop"
        )
    );
    let record = stage::record(&world, &first.header("lightkeeper-request-id").unwrap()).await;
    assert_eq!(
        (&record["decision"], &record["reason"], &record["status"]),
        (&"deny".into(), &"no_credential".into(), &303.into())
    );

    let login = browser.get(&location(&first)).await;
    assert_eq!(login.status, 303, "{}", login.text());
    let transaction = browser.jar[LOGIN].clone();
    let callback = browser.at_provider(&location(&login), "ann").await;
    let back = browser.get(&callback).await;
    assert_eq!(
        (back.status, location(&back).as_str()),
        (303, "/.lightkeeper/apps/shop")
    );
    assert!(!browser.jar.contains_key(LOGIN));
    let record = stage::record(&world, &back.header("lightkeeper-request-id").unwrap()).await;
    assert_eq!(
        (&record["operation"], &record["decision"], &record["reason"]),
        (&"login".into(), &"allow".into(), &"ok".into())
    );
    assert_eq!(
        (
            &record["identity"]["method"],
            &record["identity"]["subject"]
        ),
        (&"session".into(), &"ann@acme.example".into())
    );

    let page = browser.get("/.lightkeeper/apps/shop").await;
    assert_eq!(
        (page.status, page.header("content-type").as_deref()),
        (200, Some("text/html; charset=utf-8"))
    );
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("vary", "cookie"),
    ] {
        assert_eq!(page.header(name).as_deref(), Some(value), "{name}");
        assert_eq!(page.headers.get_all(name).iter().count(), 1, "{name}");
    }
    assert!(
        page.header("content-security-policy")
            .is_some_and(|policy| policy.starts_with("default-src 'none'"))
    );
    assert!(
        !page
            .headers
            .keys()
            .any(|name| name.as_str().starts_with("access-control-"))
    );
    let whoami = browser.get("/.lightkeeper/whoami").await.json().unwrap();
    assert_eq!(
        (&whoami["method"], &whoami["subject"]),
        (&"session".into(), &"ann@acme.example".into())
    );

    // Who is logged in already is sent straight on, also while the provider is away.
    world.issuer.set_down(true);
    let again = browser
        .get("/.lightkeeper/login?return_to=/.lightkeeper/decisions")
        .await;
    assert_eq!(
        (again.status, location(&again).as_str()),
        (303, "/.lightkeeper/decisions")
    );
    world.issuer.set_down(false);

    let old = browser.session();
    let csrf = browser.csrf().await;
    let out = browser
        .send(
            Method::POST,
            "/.lightkeeper/logout",
            &[FORM, SAME_ORIGIN],
            &format!("csrf={csrf}"),
        )
        .await;
    assert_eq!(out.status, 303, "{}", out.text());
    assert!(browser.jar.is_empty(), "{:?}", browser.jar.keys());
    let end = location(&out);
    assert!(
        end.starts_with(&format!("{}/logout?", world.issuer.url())) && end.contains("signed-out"),
        "{end}"
    );
    assert_eq!(browser.get("/.lightkeeper/signed-out").await.status, 200);

    let mut thief = Browser::holding(&world, &old);
    let refused = thief.get("/.lightkeeper/whoami").await;
    assert_eq!(
        (refused.status, reason(&world, &refused).await.as_str()),
        (401, "session_revoked")
    );
    let turned = thief.get("/.lightkeeper/").await;
    assert_eq!((turned.status, turned.header("vary")), (303, None));
    thief.get("/.lightkeeper/login").await;
    assert!(
        !thief.jar.contains_key(SESSION),
        "a login leaves no old session behind"
    );

    stage::counts(&world, "lightkeeper_logins_total{outcome=\"ok\"}", 1.0).await;
    let trail = std::fs::read_to_string(world.folder().join("audit.jsonl")).unwrap();
    let code = callback
        .split_once("code=")
        .unwrap()
        .1
        .split('&')
        .next()
        .unwrap();
    let state = callback
        .split_once("state=")
        .unwrap()
        .1
        .split('&')
        .next()
        .unwrap();
    for secret in [code, state, &transaction, &old, &csrf] {
        assert!(!trail.contains(secret), "the trail holds `{secret}`");
    }
}

/// Scenario: logouts from elsewhere, without proof, with too much of it, and from a page that outlived its session.
/// Guarantees: only our own page ends a session; a refused one leaves it alive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_our_own_page_logs_out() {
    let world = stage::start(stage::plan(&[])).await;
    let mut browser = Browser::new(&world);
    browser.log_in("ann", "").await;
    let csrf = browser.csrf().await;
    let form = format!("csrf={csrf}");
    let long = format!("{form}&more={}", "a".repeat(8 << 10));
    let twice = format!("{form}&{form}");
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, u16, &'a str);
    let rows: [Row<'_>; 9] = [
        (&[FORM], &form, 403, "csrf_origin"),
        (
            &[FORM, ("sec-fetch-site", "cross-site")],
            &form,
            403,
            "csrf_origin",
        ),
        (
            &[FORM, ("origin", "https://evil.example")],
            &form,
            403,
            "csrf_origin",
        ),
        (&[FORM, SAME_ORIGIN], "", 403, "csrf_missing"),
        (&[FORM, SAME_ORIGIN], "csrf=", 403, "csrf_missing"),
        (&[FORM, SAME_ORIGIN], &twice, 403, "csrf_missing"),
        (&[FORM, SAME_ORIGIN], &long, 413, "body_too_large"),
        (&[FORM, SAME_ORIGIN], "csrf=%zz", 400, "malformed_query"),
        (
            &[SAME_ORIGIN, ("content-type", "text/plain")],
            &form,
            403,
            "csrf_missing",
        ),
    ];
    for (headers, body, status, expected) in rows {
        let answer = browser
            .send(Method::POST, "/.lightkeeper/logout", headers, body)
            .await;
        let found = (answer.status, reason(&world, &answer).await);
        assert_eq!(found, (status, expected.to_owned()), "{headers:?}");
        assert_eq!(
            answer.header("content-type").as_deref(),
            Some("text/html; charset=utf-8"),
            "{headers:?}"
        );
        assert_eq!(
            browser.get("/.lightkeeper/whoami").await.status,
            200,
            "{headers:?}"
        );
    }
    let anonymous = Browser::new(&world)
        .send(Method::POST, "/.lightkeeper/logout", &[FORM], "")
        .await;
    assert_eq!(
        (anonymous.status, anonymous.header("set-cookie")),
        (403, None),
        "nobody is logged out from elsewhere"
    );
    let mut stale = Browser::holding(&world, "stale");
    let answer = stale
        .send(
            Method::POST,
            "/.lightkeeper/logout",
            &[FORM, SAME_ORIGIN],
            &form,
        )
        .await;
    assert_eq!(
        (answer.status, location(&answer).as_str()),
        (303, "/.lightkeeper/signed-out")
    );
    assert!(stale.jar.is_empty());
    let scripted = [SAME_ORIGIN, ("lightkeeper-csrf", csrf.as_str())];
    assert_eq!(
        browser
            .send(Method::POST, "/.lightkeeper/logout", &scripted, "")
            .await
            .status,
        303
    );
    assert!(browser.jar.is_empty());
}

/// Scenario: what is for anybody, and callers without a browser. Guarantees: files are kept for good, the command line is
/// told how to log in, software with bad evidence is told so instead of being sent to a login, unknown things are pages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_site_for_everybody_else() {
    let world = stage::start(stage::plan(&[])).await;
    let mut nobody = Browser::new(&world);
    let page = nobody.get("/.lightkeeper/signed-out").await;
    let text = page.text();
    let rest = text.split("/.lightkeeper/assets/").nth(1).unwrap();
    let asset = nobody
        .get(&format!(
            "/.lightkeeper/assets/{}",
            rest.split('"').next().unwrap()
        ))
        .await;
    let kept = asset.header("cache-control");
    assert_eq!(
        (asset.status, kept.as_deref()),
        (200, Some("public, max-age=31536000, immutable"))
    );
    let told = nobody
        .get("/.lightkeeper/configuration")
        .await
        .json()
        .unwrap();
    assert_eq!(
        (&told["organization"], &told["login"]["client_id"]),
        (&"acme".into(), &"lightkeeper-cli".into())
    );
    assert_eq!(
        (&told["login"]["issuer"], &told["resource"]),
        (&world.issuer.url().into(), &world.url().into())
    );
    let door = nobody.get("/.lightkeeper").await;
    assert_eq!(
        (door.status, location(&door).as_str()),
        (303, "/.lightkeeper/")
    );

    let bad = world.caller().bearer("eyJhbGciOiJSUzI1NiJ9.e30.c2ln");
    let good = world.caller().bearer(&world.issuer.token("ann"));
    let rows = [
        (&world.caller(), "/.lightkeeper/other", 401, "no_credential"),
        (
            &world.caller(),
            "/.lightkeeper/assets/none.css",
            404,
            "path_unknown",
        ),
        (&bad, "/.lightkeeper/", 401, "token_issuer_unknown"),
        (&good, "/.lightkeeper/", 200, "ok"),
        (&good, "/.lightkeeper/apps/shop/checkout", 200, "ok"),
        (&good, "/.lightkeeper/apps/platform", 403, "app_unknown"),
        (&good, "/.lightkeeper/other", 404, "path_unknown"),
    ];
    for (caller, path, status, expected) in rows {
        let answer = caller.get(path).await.unwrap();
        let found = (answer.status, reason(&world, &answer).await);
        assert_eq!(found, (status, expected.to_owned()), "{path}");
        assert_eq!(
            answer.header("content-type").as_deref(),
            Some("text/html; charset=utf-8"),
            "{path}"
        );
        assert!(
            answer.header("content-security-policy").is_some() && !answer.body.is_empty(),
            "{path}"
        );
    }
}

/// Scenario: the provider is away, or says no. Guarantees: who is logged in stays so; a login shows a page that says whose
/// fault it is, and leaves no cookie of a login behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_does_not_log_in() {
    let world = stage::start(stage::plan(&[])).await;
    let mut known = Browser::new(&world);
    known.log_in("ann", "").await;
    let mut browser = Browser::new(&world);
    let begun = browser.get("/.lightkeeper/login").await;
    let denied = browser
        .at_provider(&location(&begun), "nobody-by-this-name")
        .await;
    let answer = browser.get(&denied).await;
    assert_eq!(
        (answer.status, reason(&world, &answer).await.as_str()),
        (403, "login_access_denied")
    );
    assert!(browser.jar.is_empty());

    let begun = browser.get("/.lightkeeper/login").await;
    let callback = browser.at_provider(&location(&begun), "ann").await;
    world.issuer.set_down(true);
    let answer = browser.get(&callback).await;
    assert_eq!(
        (answer.status, reason(&world, &answer).await.as_str()),
        (503, "login_provider_unreachable")
    );
    assert!(browser.jar.is_empty());
    assert_eq!(known.get("/.lightkeeper/").await.status, 200);
    let record = stage::record(&world, &answer.header("lightkeeper-request-id").unwrap()).await;
    assert_eq!(record["decision"], "deny");
}

/// Scenario: no login is configured. Guarantees: pages ask for other evidence, and there is no way in that leads nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_login() {
    let mut plan = stage::plan(&[]);
    let (before, rest) = plan.config.split_once("web:\n").unwrap();
    let (_, after) = rest.split_once("vault:\n").unwrap();
    plan.config = format!("{before}vault:\n{after}");
    let world = stage::start(plan).await;
    let mut browser = Browser::holding(&world, "left-over");
    for (path, status, expected) in [
        ("/.lightkeeper/", 401, "session_invalid"),
        ("/.lightkeeper/login", 404, "login_not_offered"),
        (
            "/.lightkeeper/callback?code=a&state=b",
            404,
            "login_not_offered",
        ),
    ] {
        let answer = browser.get(path).await;
        assert_eq!(
            (answer.status, reason(&world, &answer).await.as_str()),
            (status, expected),
            "{path}"
        );
    }
    let told = browser
        .get("/.lightkeeper/configuration")
        .await
        .json()
        .unwrap();
    assert!(told["login"].is_null());
}

/// Scenario: a login begins in one tab; in another a person is logged in meanwhile, and a copy of that session is kept; then
/// the first login ends. Guarantees: the session that the browser had is ended with it, the new one works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_login_ends_the_session_before() {
    let world = stage::start(stage::plan(&[])).await;
    let mut browser = Browser::new(&world);
    let begun = browser.get("/.lightkeeper/login").await;
    let callback = browser.at_provider(&location(&begun), "pat").await;
    let transaction = browser.jar[LOGIN].clone();
    browser.jar.clear();
    browser.log_in("ann", "/.lightkeeper/").await;
    let copy = browser.session();
    browser.jar.insert(LOGIN.to_owned(), transaction);
    assert_eq!(browser.get(&callback).await.status, 303);
    let page = browser.get("/.lightkeeper/whoami").await;
    assert!(page.text().contains("pat@acme.example"), "{}", page.text());
    let mut thief = Browser::holding(&world, &copy);
    let answer = thief.get("/.lightkeeper/whoami").await;
    assert_eq!(
        (answer.status, reason(&world, &answer).await.as_str()),
        (401, "session_revoked")
    );
}

/// Scenario: a person looks for a name that is not ASCII, before and after logging in; others send bytes that are no text.
/// Guarantees: the login leads back to the very same page; the page shows what was looked for; the rest is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_in_any_language_are_looked_for() {
    let world = stage::start(stage::plan(&[])).await;
    let mut browser = Browser::new(&world);
    let wanted = "/.lightkeeper/?filter=K%C3%B6ln%20%F0%9F%94%AD";
    let login = location(&browser.get(wanted).await);
    let (_, return_to) = login.split_once("return_to=").unwrap();
    assert_eq!(browser.log_in("ann", return_to).await, wanted);
    let page = browser.get(wanted).await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("Köln 🔭"), "{}", page.text());
    for broken in ["%FF", "%C0%AF", "%0D%0Aset-cookie", "%C2%85", "%00"] {
        let answer = browser
            .get(&format!("/.lightkeeper/?filter={broken}"))
            .await;
        assert_eq!(
            (answer.status, reason(&world, &answer).await.as_str()),
            (400, "malformed_query"),
            "{broken}"
        );
    }
}
