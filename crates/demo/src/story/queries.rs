//! A developer logs in and queries.
//!
//! What it does: lets ann log in through the issuer's pages and read what is her team's. What it refuses to
//! know: how a call is told. Invariant: what she sees is held against what her groups may see.

use serde_json::Value;

use super::login;
use super::narrator::{Expected, Lent, Narrator, Status, Step};
use testkit::emulator::Role;

/// What shop-developers may see.
const VISIBLE: [&str; 3] = ["checkout-prod", "payments-prod", "shop-prod"];

/// Gives ann's token for later.
pub async fn tell(narrator: &mut Narrator<'_>) -> Result<String, String> {
    let world = narrator.world;
    narrator.chapter(
        "A developer queries",
        "ann is in the group shop-developers: an editor of the app shop and of all beneath it.",
    );
    let login = login::log_in(world.issuer.url(), "ann").await?;
    let ann = world.caller().bearer(&login.access_token);
    let caller = format!(
        "{}: logged in by authorization code and PKCE",
        login.subject
    );

    let step = Step {
        title: "Which projects are there?".to_owned(),
        caller: caller.clone(),
        asked: "GET /public/v0.2/acme/projects".to_owned(),
        shown: vec![login.access_token.clone()],
        expected: Expected::allowed(
            Status::Http(200),
            "/",
            &["shop-developers"],
            Lent::ApiKey(Role::Viewer),
        ),
    };
    if let Some(answer) = narrator
        .call(step, ann.get("/public/v0.2/acme/projects"))
        .await
    {
        let mut seen = ids(&answer.json().unwrap_or_default());
        seen.sort();
        narrator.line(
            "she sees",
            &format!(
                "{} (the backend has platform-prod as well)",
                seen.join(", ")
            ),
        );
        if seen != VISIBLE {
            narrator.differs(format!("she should see {}", VISIBLE.join(", ")));
        }
        // The backend writes links to itself; a client that follows one must come back to the gateway.
        let text = answer.text();
        if text.contains(&world.emulator.url()) || !text.contains(&world.url()) {
            narrator.differs("a link in the answer does not lead to the gateway".to_owned());
        } else {
            narrator.line(
                "links",
                &format!("in the answer lead to {}, not to the backend", world.url()),
            );
        }
    }

    let path = "/public/v0.2/acme/projects/checkout-prod/streams";
    let step = Step {
        title: "The streams of her project".to_owned(),
        caller,
        asked: format!("GET {path}"),
        shown: vec![login.access_token.clone()],
        expected: Expected::allowed(
            Status::Http(200),
            "shop/checkout",
            &["shop-developers"],
            Lent::ApiKey(Role::Viewer),
        )
        .of_project("checkout-prod"),
    };
    if let Some(answer) = narrator.call(step, ann.get(path)).await {
        let streams = ids(&answer.json().unwrap_or_default());
        narrator.line(
            "she reads",
            &format!("{} stream(s): {}", streams.len(), streams.join(", ")),
        );
        if streams.is_empty() {
            narrator.differs("there should be streams".to_owned());
        }
    }
    Ok(login.access_token)
}

/// The `id`s of a JSON:API list.
fn ids(document: &Value) -> Vec<String> {
    let list = document.get("data").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.get("id")?.as_str()?.to_owned()))
        .collect()
}
