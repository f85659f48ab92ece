//! Questions whose body names another project than their path: what each caller may name, and how. What it refuses to know:
//! how names are found in a body; `transform::named` has every spelling.

use http::Method;
use serde_json::{Value, json};
use testkit::{Answer, Endpoints, Fault, World};

use super::stage;

const CONDITION: &str = "/public/v0.2/acme/projects/payments-prod/conditions/7";

async fn ask(world: &World, who: &str, method: Method, path: &str, body: &str) -> Answer {
    let caller = world.plain_caller().bearer(&world.issuer.token(who));
    let path = if path.starts_with("/apps") {
        path.to_owned()
    } else {
        format!("/public/v0.2/acme{path}")
    };
    caller
        .send(
            method,
            &path,
            &[("content-type", "application/json")],
            body.as_bytes().to_vec(),
        )
        .await
        .unwrap()
}

/// A rule that alerts when another project's condition holds.
fn rule(condition: &str) -> String {
    let related = json!({ "links": { "related": condition } });
    json!({ "data": { "type": "alerting_rule", "relationships": { "condition": related } } })
        .to_string()
}

fn text(text: &str) -> String {
    json!({ "data": { "type": "dashboard", "attributes": { "name": "n", "description": text } } })
        .to_string()
}

/// Scenario: bodies name projects in relations and in texts, by path, by our address and by the backend's, escaped and encoded.
/// Guarantees: what their callers may name goes on as it is; all else is refused with one answer for what is forbidden and
/// what does not exist, and the backend hears nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_names_only_what_its_caller_may() {
    // Ann may write to all of the shop, but for dashboards of its payments; the pipeline to the checkout alone.
    let world = stage::start(stage::plan(&[])).await;
    world.emulator.fail(
        Endpoints::Query,
        Fault::Say {
            status: 200,
            content_type: "application/json",
            body: r#"{"data":{}}"#.to_owned(),
        },
    );
    let (ours, theirs) = (world.plain_url(), world.emulator.url());
    let escaped = rule(CONDITION)
        .replace('/', "\\/")
        .replace("payments", "p\\u0061yments");
    let rules = "/projects/checkout-prod/alerting_rules";
    let dashboards = "/projects/shop-prod/dashboards";
    let other_dashboard = "/public/v0.2/acme/projects/payments-prod/dashboards/1";
    let post = Method::POST;
    let unknown = ask(&world, "ann", Method::GET, "/projects/no-such/streams", "").await;
    assert_eq!(unknown.status, 403);
    let unknown = unknown.text();
    for (who, path, body, allowed) in [
        (
            "terraform",
            rules,
            rule("/public/v0.2/acme/projects/checkout-prod/conditions/7"),
            true,
        ),
        ("terraform", rules, rule(CONDITION), false),
        (
            "terraform",
            rules,
            rule(&format!("{ours}{CONDITION}")),
            false,
        ),
        (
            "terraform",
            rules,
            rule(&format!("{theirs}{CONDITION}")),
            false,
        ),
        (
            "terraform",
            rules,
            rule("projects/payments-prod/conditions/7"),
            false,
        ),
        (
            "terraform",
            rules,
            rule(&CONDITION.replace("payments", "%70ayments")),
            false,
        ),
        (
            "terraform",
            rules,
            rule(&CONDITION.replace("payments-prod", "checkout-prod/../payments-prod")),
            false,
        ),
        (
            "terraform",
            rules,
            rule(&CONDITION.replace("payments-prod", "no-such")),
            false,
        ),
        (
            "terraform",
            rules,
            rule(&CONDITION.replace(
                "acme/projects/payments-prod",
                "rival/projects/checkout-prod",
            )),
            false,
        ),
        ("terraform", rules, escaped, false),
        (
            "terraform",
            "/projects/checkout-prod/metric_dashboards",
            text(&format!("see {theirs}{CONDITION}.")),
            false,
        ),
        ("ann", rules, rule(CONDITION), true),
        (
            "ann",
            rules,
            rule(&CONDITION.replace("payments-prod", "platform-prod")),
            false,
        ),
        // Reading destinations must be named in full.
        (
            "ann",
            rules,
            rule("/public/v0.2/acme/projects/payments-prod/destinations/1"),
            false,
        ),
        (
            "lea",
            rules,
            rule("/public/v0.2/acme/projects/payments-prod/destinations/1"),
            true,
        ),
        // A text asks to be read; a relation ties both together.
        (
            "ann",
            dashboards,
            text(&format!("see {other_dashboard}")),
            true,
        ),
        ("ann", dashboards, rule(other_dashboard), false),
        // What only reads, too, alone and in a part of the tree.
        (
            "pat",
            "/projects/payments-prod/telemetry/query_timeseries",
            text("/public/v0.2/acme/projects/shop-prod"),
            false,
        ),
        (
            "pat",
            "/apps/shop/payments/-/query_timeseries",
            text("/public/v0.2/acme/projects/shop-prod"),
            false,
        ),
    ] {
        let before = world.emulator.heads();
        let answer = ask(&world, who, post.clone(), path, &body).await;
        let record = stage::record(&world, &answer.header("lightkeeper-request-id").unwrap()).await;
        if allowed {
            assert_eq!(
                (answer.status, world.emulator.heads() - before),
                (200, 1),
                "{who} {body}: {}",
                answer.text()
            );
            assert_eq!(
                world.emulator.captured().last().unwrap().body,
                body.as_bytes()
            );
            continue;
        }
        assert_eq!(
            (answer.status, world.emulator.heads() - before),
            (403, 0),
            "{who} {path} {body}"
        );
        assert_eq!(
            record["reason"], "foreign_project_named",
            "{who} {body}: {record:#}"
        );
        // A part of the tree is answered in a form of its own.
        assert!(
            path.starts_with("/apps") || answer.text() == unknown,
            "{who} {body}: {}",
            answer.text()
        );
    }
    for body in ["{", r#"{"data":{}}{"data":{}}"#, "nonsense"] {
        let answer = ask(&world, "ann", post.clone(), rules, body).await;
        let record = stage::record(&world, &answer.header("lightkeeper-request-id").unwrap()).await;
        assert_eq!(
            (answer.status, &record["reason"]),
            (400, &Value::from("body_malformed")),
            "{body}"
        );
    }
}

/// Scenario: who gives out roles everywhere but in one project names that one, as each of these operations does.
/// Guarantees: refused there, and nowhere else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_are_given_where_they_may_be() {
    let bindings = [
        "{ name: roles, subjects: [{ issuer: acme, subject: sam@acme.example }], apps: [/], permissions: \
         [query.roles.read, query.roles.write] }",
        "{ name: not-payments, effect: deny, subjects: [{ any: true }], apps: [shop/payments], permissions: \
         [query.roles.read, query.roles.write] }",
    ];
    let world = stage::start(bindings.into_iter().fold(stage::plan(&[]), stage::bind)).await;
    world.emulator.fail(
        Endpoints::Query,
        Fault::Say {
            status: 200,
            content_type: "application/json",
            body: r#"{"data":{"attributes":{"mappings":[]}}}"#.to_owned(),
        },
    );
    for (project, status) in [
        ("shop-prod", 200),
        ("platform-prod", 200),
        ("payments-prod", 403),
        ("no-such", 403),
    ] {
        let role =
            json!({ "data": { "role-name": "Editor", "project-name": project, "users": ["eve"] } });
        let mapping =
            json!({ "saml-attribute-key": "groups", "project-roles": { project: "Editor" } });
        let mappings = json!({ "data": { "attributes": { "mappings": [mapping] } } });
        let of_project = format!("/role-binding?role-name=Editor&project={project}");
        for (method, path, body) in [
            (Method::POST, "/role-binding", role.to_string()),
            (Method::POST, "/saml-group-mappings", mappings.to_string()),
            (Method::GET, of_project.as_str(), String::new()),
        ] {
            let answer = ask(&world, "sam", method, path, &body).await;
            assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
        }
    }
    let none =
        json!({ "data": { "role-name": "Editor", "project-name": "", "users": [] } }).to_string();
    assert_eq!(
        ask(&world, "sam", Method::POST, "/role-binding", &none)
            .await
            .status,
        200
    );
}
