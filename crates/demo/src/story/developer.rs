//! A developer's browser, a whole subtree at once, and an alert that finds its people.
//!
//! What it does: lets pat log in at the gateway as a browser does, ann ask every project of the shop while one is down, and
//! the backend tell of an alert. What it refuses to know: how a call is told, what a page looks like. Invariants: no cookie and
//! no code is printed; who is told of an alert is read where it arrived.

use serde_json::Value;

use super::login;
use super::narrator::{Expected, Lent, Narrator, Status, Step, fingerprint, text};
use lightkeeper::audit::timestamp;
use lightkeeper::clock::Clock;
use lightkeeper::reason::Reason;
use testkit::emulator::{Captured, Fault, Role};
use testkit::world::{ONCALL_SECRET, webhook_secret};
use testkit::{Answer, Emulator};

const SESSION: &str = "__Host-lightkeeper-session=";
/// The alert of checkout-prod in the emulator's organization.
const ALERT: &str = "metric_alert-23";
const SHOP: [&str; 3] = ["checkout-prod", "payments-prod", "shop-prod"];

/// `ann`: her access token.
pub async fn tell(narrator: &mut Narrator<'_>, ann: &str) -> Result<(), String> {
    narrator.chapter(
        "The tree, as one",
        "pat is in the group payments-developers, and may read what that team has. ann asks all of the shop at once;\n\
         and an alert finds those who are on call, with links to where its cause may be.",
    );
    let session = browser(narrator).await?;
    pages(narrator, &session).await;
    subtree(narrator, ann).await;
    foreign(narrator).await;
    alert(narrator).await;
    Ok(())
}

fn step(title: &str, caller: &str, asked: &str, shown: &[&str], expected: Expected) -> Step {
    let shown = shown.iter().map(|secret| (*secret).to_owned()).collect();
    Step {
        title: title.to_owned(),
        caller: caller.to_owned(),
        asked: asked.to_owned(),
        shown,
        expected,
    }
}

/// Authorization code and PKCE, through the gateway's own login. Gives the session's cookie, as a browser sends it.
async fn browser(narrator: &mut Narrator<'_>) -> Result<String, String> {
    let world = narrator.world;
    let path = "/.lightkeeper/login?return_to=%2F.lightkeeper%2F";
    let told = step(
        "A browser comes to log in",
        "a browser",
        &format!("GET {path}"),
        &[],
        Expected::own(303),
    );
    let answer = narrator
        .call(told, world.caller().get(path))
        .await
        .ok_or("the login did not begin")?;
    let page = answer.header("location").ok_or("the login leads nowhere")?;
    narrator.line(
        "leads to",
        "the issuer's login page, with `state`, `nonce` and a PKCE challenge",
    );
    if !page.starts_with(world.issuer.url()) || !page.contains("code_challenge_method=S256") {
        narrator.differs("the browser should be sent to the issuer with a challenge".to_owned());
    }
    let transaction =
        cookie(&answer, "__Host-lightkeeper-login=").ok_or("the login left no cookie")?;
    let back = login::pick(&page, "pat").await?;
    let path = back
        .strip_prefix(&world.url())
        .ok_or("the issuer sends the browser elsewhere")?
        .to_owned();

    let told = step(
        "pat is back from the issuer",
        "pat's browser: a one-time code, and the cookie of this login",
        "GET /.lightkeeper/callback",
        &[&transaction],
        Expected::own(303),
    );
    let caller = world.caller().header("cookie", &transaction);
    let answer = narrator
        .call(told, caller.get(&path))
        .await
        .ok_or("the login did not end")?;
    let session = cookie(&answer, SESSION).ok_or("the login gave no session")?;
    narrator.line(
        "session",
        &format!("an encrypted cookie, SHA-256 {}...", fingerprint(&session)),
    );
    Ok(session)
}

/// `name=value` of a cookie that is set.
fn cookie(answer: &Answer, name: &str) -> Option<String> {
    let all = answer
        .headers
        .get_all("set-cookie")
        .into_iter()
        .filter_map(|line| line.to_str().ok());
    let mut pairs = all
        .filter_map(|line| line.split(';').next())
        .filter(|pair| pair.starts_with(name));
    pairs
        .find(|pair| pair.len() > name.len())
        .map(str::to_owned)
}

/// The console's first page.
async fn pages(narrator: &mut Narrator<'_>, session: &str) {
    let world = narrator.world;
    let path = "/.lightkeeper/";
    let told = step(
        "The tree as pat may see it",
        "pat's browser: the session's cookie",
        "GET /.lightkeeper/",
        &[session],
        Expected::own(200),
    );
    let caller = world.caller().header("cookie", session);
    if let Some(answer) = narrator.call(told, caller.get(path)).await {
        let page = answer.text();
        let (seen, hidden): (Vec<&str>, Vec<&str>) =
            ["shop", "shop/payments", "shop/checkout", "platform"]
                .into_iter()
                .partition(|app| page.contains(&format!("\"/.lightkeeper/apps/{app}\"")));
        narrator.line(
            "page",
            &format!("shows {}; not {}", seen.join(", "), hidden.join(", ")),
        );
        if seen != ["shop", "shop/payments"] {
            narrator.differs("pat should see the way to payments, and no other app".to_owned());
        }
    }
}

/// One question, three projects, one of them down.
async fn subtree(narrator: &mut Narrator<'_>, ann: &str) {
    let world = narrator.world;
    let path = "/apps/shop/-/streams";
    let told = step(
        "A whole subtree at once, while one project fails",
        "ann@acme.example: logged in",
        &format!("GET {path}"),
        &[ann],
        Expected::allowed(
            Status::Http(200),
            "shop",
            &["shop-developers"],
            Lent::ApiKey(Role::Viewer),
        )
        .asking(&SHOP),
    );
    world
        .emulator
        .fail_queries("payments-prod", Fault::status(503));
    let answer = narrator
        .call(told, world.caller().bearer(ann).get(path))
        .await;
    world.emulator.heal_queries("payments-prod");
    let document = answer.and_then(|answer| answer.json()).unwrap_or_default();
    let list = |name: &str| {
        document
            .get(name)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let (items, errors) = (list("items"), list("errors"));
    for item in &items {
        narrator.line(
            "she reads",
            &format!(
                "{} of {}: {}",
                text(item, "id"),
                text(item, "app"),
                text(item, "link")
            ),
        );
    }
    for error in &errors {
        narrator.line(
            "missing",
            &format!(
                "{} ({}): {}",
                text(error, "project"),
                text(error, "app"),
                text(error, "reason")
            ),
        );
    }
    let partial = document.get("partial").and_then(Value::as_bool);
    narrator.line(
        "partial",
        &partial.map_or_else(|| "not said".to_owned(), |partial| partial.to_string()),
    );
    let named: Vec<&str> = errors.iter().map(|error| text(error, "project")).collect();
    let linked = items
        .iter()
        .all(|item| text(item, "link").starts_with("https://"));
    if partial != Some(true) || named != ["payments-prod"] || items.is_empty() || !linked {
        narrator.differs(
            "the answer should hold two projects with links, and name payments-prod as missing"
                .to_owned(),
        );
    }
}

/// A part of the tree that is not one's own.
async fn foreign(narrator: &mut Narrator<'_>) {
    let world = narrator.world;
    let pat = world.issuer.token("pat");
    let path = "/apps/shop/checkout/-/alerts";
    let told = step(
        "Another team's part of the tree",
        "pat@acme.example: logged in",
        &format!("GET {path}"),
        &[&pat],
        Expected::refused(Status::Http(403), Reason::NotPermitted),
    );
    narrator
        .call(told, world.caller().bearer(&pat).get(path))
        .await;
}

/// The backend's webhook: with its own secret, and with another app's.
async fn alert(narrator: &mut Narrator<'_>) {
    let world = narrator.world;
    let path = "/apps/shop/checkout/-/alerts";
    let now = timestamp(Clock::system().now().0);
    let mut message = Emulator::alert("checkout-prod", "checkout latency", "critical", &now);
    // The one that the backend lists, so that a question for alerts shows it firing.
    if let Some(id) = message.pointer_mut("/alert/id") {
        *id = ALERT.into();
    }
    let stolen = webhook_secret("shop");
    let told = step(
        "An alert with another app's secret",
        "a stranger: the webhook secret of shop",
        &format!("POST {path}"),
        &[&stolen],
        Expected::refused(Status::Http(401), Reason::WebhookUnknown),
    );
    narrator
        .call(
            told,
            world.plain_caller().bearer(&stolen).post(path, &message),
        )
        .await;
    let early = world.receiver.received().len();
    if early != 0 {
        narrator.differs("a destination was told of an alert that was refused".to_owned());
    }

    let secret = webhook_secret("shop/checkout");
    let told = step(
        "An alert comes in, and goes on to those on call",
        "the backend's webhook: the secret of shop/checkout",
        &format!("POST {path}"),
        &[&secret],
        Expected::own(200).at("shop/checkout", "checkout-prod"),
    );
    narrator
        .call(
            told,
            world.plain_caller().bearer(&secret).post(path, &message),
        )
        .await;
    let received = world.receiver.received().split_off(early);
    let [told] = received.as_slice() else {
        narrator.differs(format!(
            "on-call should have got one message, not {}",
            received.len()
        ));
        return;
    };
    let document = told.json().unwrap_or_default();
    let owners = document
        .pointer("/owners/0")
        .and_then(Value::as_str)
        .unwrap_or_default();
    narrator.line(
        "on-call",
        &format!(
            "got `{}`, {}, of {}; owners {owners}",
            text(&document, "name"),
            text(&document, "state"),
            text(&document, "app")
        ),
    );
    for name in ["services", "dashboards", "traces"] {
        let link = document
            .pointer(&format!("/links/{name}"))
            .and_then(Value::as_str)
            .unwrap_or_default();
        narrator.line(name, link);
        if !link.starts_with("https://app.lightstep.com/checkout-prod/") {
            narrator.differs(format!("the link to {name} does not lead to checkout-prod"));
        }
    }
    let whole = String::from_utf8_lossy(&told.body).into_owned();
    let ours = told.header("authorization") == Some(format!("Bearer {ONCALL_SECRET}").as_str());
    if text(&document, "state") != "firing" || !ours || whole.contains(&secret) {
        narrator.differs(
            "on-call should be told by the gateway's own word, without the webhook's secret"
                .to_owned(),
        );
    }
}

impl Narrator<'_> {
    /// Prints which projects were asked for one question, and compares them and the credential.
    pub fn gathered(&mut self, received: &[Captured], step: &Step) {
        let mut projects: Vec<&str> = received
            .iter()
            .filter_map(|request| request.project.as_deref())
            .collect();
        projects.sort_unstable();
        self.line(
            "backend",
            &format!("was asked of {}, at once", projects.join(", ")),
        );
        if projects != step.expected.asking {
            self.differs(format!(
                "{} should have been asked",
                step.expected.asking.join(", ")
            ));
        }
        for request in received {
            let lent: Vec<Option<Lent>> = super::narrator::credential_headers(request)
                .map(|(_, value)| super::narrator::whose(&value).1)
                .collect();
            if lent != [Some(step.expected.lent)]
                || step
                    .shown
                    .iter()
                    .any(|secret| request.contains(secret.as_bytes()))
            {
                self.differs(
                    "each should have got the organization's key, and nothing of the caller's"
                        .to_owned(),
                );
            }
        }
    }
}
