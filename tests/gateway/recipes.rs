//! The recipes of docs/providers.md: each issuer is configured and each subject bound as the page has them, and a token
//! of the claims that it shows does what it says, where the issuer names a header in that. What it refuses to know: which
//! providers there are.

use lightkeeper::otlp::Encoding;
use serde_json::{Value, json};
use testkit::{Algorithm, Issuer, Sample};

use super::clusters::{ApiServer, CLUSTER};
use super::stage;
use crate::folder::Folder;

const PAGE: &str = include_str!("../../docs/providers.md");

struct Recipe {
    title: &'static str,
    issuer: &'static str,
    claims: Value,
    subject: &'static str,
}

/// The text of the one block that opens with this word.
fn block(section: &'static str, word: &str) -> &'static str {
    let opening = format!("```{word}\n");
    assert_eq!(
        section.matches(&opening).count(),
        1,
        "one block of `{word}`: {section}"
    );
    section
        .split_once(&opening)
        .and_then(|(_, rest)| rest.split_once("```"))
        .unwrap()
        .0
}

/// What stands behind `key` in an issuer's block.
fn setting(issuer: &'static str, key: &str) -> Option<&'static str> {
    issuer
        .lines()
        .find_map(|line| line.split_once(&format!("{key}: ")))
        .map(|(_, value)| value.trim_matches('"'))
}

fn recipes() -> Vec<Recipe> {
    PAGE.split("\n## ")
        .skip(1)
        .map(|section| {
            let issuer = block(section, "yaml issuer");
            let mut claims: Value = serde_json::from_str(block(section, "json token")).unwrap();
            if let Some(named) = setting(issuer, "  issuer") {
                let of_cluster = named.starts_with("kubernetes:");
                claims["iss"] = if of_cluster { CLUSTER } else { named }.into();
            }
            Recipe {
                title: section.lines().next().unwrap(),
                issuer,
                claims,
                subject: block(section, "yaml subject").trim(),
            }
        })
        .collect()
}

/// The claim that holds the audience.
fn audience(recipe: &Recipe) -> &'static str {
    if recipe.issuer.contains("audience: client_id") {
        "client_id"
    } else {
        "aud"
    }
}

/// The line of an issuer's block by which it gets keys of one issuer here: by URL, of an API server, or in a trust domain's
/// bundle.
fn keys_of(recipe: &Recipe, keys: &Issuer, server: &ApiServer, folder: &Folder) -> String {
    if recipe.issuer.contains("issuer: kubernetes:") {
        return server.setting();
    }
    let Some(spiffe) = recipe
        .issuer
        .lines()
        .find(|line| line.starts_with("  spiffe:"))
    else {
        return format!("  jwks: {{ url: \"{}\" }}", keys.jwks_url());
    };
    let mut set = keys.jwks();
    for key in set["keys"].as_array_mut().unwrap() {
        key["use"] = "jwt-svid".into();
    }
    std::fs::write(folder.join("bundle.json"), set.to_string()).unwrap();
    let (before, after) = spiffe.split_once("file: ").unwrap();
    let (_, after) = after.split_once(' ').unwrap();
    format!("{before}file: \"{}\" {after}", folder.at("bundle.json"))
}

/// Changes each text within.
fn change(value: &mut Value) {
    match value {
        Value::String(text) => text.push_str("-other"),
        Value::Array(values) => values.iter_mut().for_each(change),
        Value::Object(members) => members.values_mut().for_each(change),
        _ => {}
    }
}

/// Scenario: all of the page's issuers at one gateway, with keys of one issuer here. Guarantees: the shown token may
/// write; with other claims it may not; with another audience it is no token of ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_recipe_takes_the_token_that_it_shows() {
    let keys = Issuer::start().await.unwrap();
    let server = ApiServer::start_with(keys.jwks()).await;
    let folder = Folder::new();
    let recipes = recipes();
    assert!(recipes.len() >= 20, "{}", recipes.len());
    let mut issuers = "issuers:".to_owned();
    for recipe in &recipes {
        // No pod of the recipe's is there to be reviewed.
        let is_of_keys = |line: &&str| {
            let starts = ["  jwks:", "  spiffe:", "  issuer: kubernetes:", "  review:"];
            starts.iter().any(|start| line.starts_with(start))
        };
        for line in recipe.issuer.lines().filter(|line| !is_of_keys(line)) {
            issuers.push_str(&format!("\n  {line}"));
        }
        issuers.push_str(&format!("\n  {}", keys_of(recipe, &keys, &server, &folder)));
    }
    let mut plan = stage::plan(&[("issuers:", &issuers)]);
    for (number, recipe) in recipes.iter().enumerate() {
        let subject = recipe.subject;
        let binding = format!(
            "{{ name: r{number}, subjects: [{subject}], role: reporter, apps: [platform] }}"
        );
        plan = stage::bind(plan, &binding);
    }
    let world = stage::start(plan).await;
    for recipe in &recipes {
        let shown = keys
            .claims("")
            .without("sub")
            .without("iss")
            .merge(recipe.claims.clone());
        let shown = if audience(recipe) == "aud" {
            shown
        } else {
            shown.without("aud")
        };
        let mut other = recipe.claims.clone();
        for (name, value) in other.as_object_mut().unwrap() {
            if !["iss", "aud", "token_use", "typ", audience(recipe)].contains(&name.as_str()) {
                change(value);
            }
        }
        let cases = [
            (shown.clone(), 200, "ok"),
            (shown.clone().merge(other), 403, "no_writable_app"),
            (
                shown.set(audience(recipe), json!("another")),
                401,
                "token_audience",
            ),
        ];
        for (claims, status, reason) in cases {
            let token = keys.mint(claims, Algorithm::Rs256);
            let caller = match setting(recipe.issuer, "  header") {
                Some(header) => world.plain_caller().header(header, &token),
                None => world.plain_caller().bearer(&token),
            };
            let answer = caller
                .export(&Sample::traces("some-service", 1), Encoding::Protobuf)
                .await
                .unwrap();
            let record =
                stage::record(&world, &answer.header("lightkeeper-request-id").unwrap()).await;
            assert_eq!(
                (answer.status, record["reason"].as_str().unwrap()),
                (status, reason),
                "{}",
                recipe.title
            );
        }
    }
}
