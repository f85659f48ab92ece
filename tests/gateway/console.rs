//! What the console's pages hold for the demonstration's people: their own part, live numbers, recent calls, explanations,
//! and no word about anybody else's part. What it refuses to know: HTML.

use lightkeeper::accept::{ExplainRequest, PageRequest};
use lightkeeper::apps::AppPath;
use lightkeeper::console::pages::{PageContext, page};
use lightkeeper::explain;
use lightkeeper::identify::Identity;
use lightkeeper::otlp::{Encoding, Signal};
use lightkeeper::reason::Class;
use lightkeeper::respond::Refusal;
use lightkeeper::view::{AppView, DecisionsView, ExplainView, Page, Story, TreeView};
use testkit::{Sample, World};

use super::exports::{checkout, frontend};
use super::stage;

const EVERYBODY: [&str; 10] = [
    "ann",
    "pat",
    "sam",
    "lea",
    "eve",
    "checkout-collector",
    "payments-collector",
    "cluster-collector",
    "shop-frontend",
    "terraform",
];

pub const OURS: &str = "https://gw.acme.example";

pub fn path(text: &str) -> AppPath {
    AppPath::parse(text).unwrap()
}

/// A person of the demonstration, identified as in a call.
async fn identity(world: &World, name: &str) -> Identity {
    let house = world.gateway.shared().snapshot.load_full();
    let token = format!("authorization: Bearer {}", world.issuer.token(name));
    let parts = explain::head("GET", "/apps", &[token], &house.profile).unwrap();
    let (caller, _) = explain::read(&parts, &house.profile, &[], &house.limits).unwrap();
    house.identifier.identify(caller).await.unwrap()
}

pub async fn ask(world: &World, who: &str, ask: PageRequest) -> Result<Page, Refusal> {
    let core = world.gateway.shared();
    let house = core.snapshot.load_full();
    let identity = identity(world, who).await;
    let account = core.budget.gateway();
    let visit = PageContext {
        shared: core,
        snapshot: &house,
        account: &account,
        identity: &identity,
        now: core.clock.now(),
        ours: OURS,
    };
    page(&visit, &ask).await.map(|(page, _)| page)
}

pub async fn tree(world: &World, who: &str, filter: Option<&str>) -> TreeView {
    match ask(
        world,
        who,
        PageRequest::Tree {
            filter: filter.map(str::to_owned),
        },
    )
    .await
    {
        Ok(Page::Tree(view)) => view,
        other => panic!("{other:?}"),
    }
}

pub async fn app(world: &World, who: &str, app: &str) -> Result<AppView, Refusal> {
    match ask(world, who, PageRequest::App(path(app))).await? {
        Page::App(view) => Ok(*view),
        other => panic!("{other:?}"),
    }
}

async fn explain(world: &World, who: &str, asked: ExplainRequest) -> ExplainView {
    match ask(world, who, PageRequest::Explain(asked)).await {
        Ok(Page::Explain(view)) => *view,
        other => panic!("{other:?}"),
    }
}

pub async fn decisions(world: &World, who: &str, app: &str) -> Result<DecisionsView, Refusal> {
    match ask(world, who, PageRequest::Decisions(path(app))).await? {
        Page::Decisions(view) => Ok(view),
        other => panic!("{other:?}"),
    }
}

fn call(method: &str, asked: &str, app: &str, service: &str) -> ExplainRequest {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ExplainRequest {
        request_id: None,
        method: some(method),
        path: some(asked),
        app: some(app),
        service: some(service),
    }
}

/// Scenario: everybody looks at everything. Guarantees that the tree's rows are the nodes that `/apps` shows, node by node,
/// that every one of them has its page, and that all others are refused like one that does not exist.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_sees_the_same_tree_as_node_by_node() {
    let world = stage::start(stage::plan(&[])).await;
    let house = world.gateway.shared().snapshot.load_full();
    let now = world.gateway.shared().clock.now();
    for who in EVERYBODY {
        let facts = identity(&world, who).await.facts().clone();
        let rows = tree(&world, who, None).await.rows;
        let shown: Vec<&str> = rows.iter().map(|row| row.app.as_str()).collect();
        let mut expected = Vec::new();
        for (_, node) in house.policy.tree().nodes() {
            let view = house.policy.view(&facts, &node.path, now);
            let page = app(&world, who, node.path.as_str()).await;
            let Some(view) = view else {
                let unheard = app(&world, who, "unheard").await.unwrap_err();
                assert_eq!(page.unwrap_err(), unheard, "{who} {}", node.path);
                assert_eq!(
                    (unheard.class, unheard.reason.code()),
                    (Class::Denied, "app_unknown")
                );
                continue;
            };
            let page = page.unwrap();
            assert_eq!(
                page.project.as_deref(),
                view.project.as_deref(),
                "{who} {}",
                node.path
            );
            let permissions: Vec<_> = page
                .grants
                .iter()
                .map(|grant| grant.permission.clone())
                .collect();
            assert_eq!(permissions, view.permissions, "{who} {}", node.path);
            let beneath: Vec<_> = page.apps.iter().map(|(app, _)| path(app)).collect();
            assert_eq!(beneath, view.apps, "{who} {}", node.path);
            assert!(!page.owners.is_empty() <= !page.grants.is_empty());
            expected.push(node.path.as_str());
        }
        assert_eq!(shown, expected, "{who}");
    }
}

/// Scenario: people look for parts of names. Guarantees that hits come with what leads to them, and nothing hidden is hit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_filter_keeps_hits_and_what_leads_to_them() {
    let world = stage::start(stage::plan(&[])).await;
    for (who, filter, expected) in [
        ("ann", "CHECK", &["/", "shop", "shop/checkout"][..]),
        ("ann", "shop-LEADS", &["/", "shop"]),
        (
            "ann",
            "  ",
            &["/", "shop", "shop/checkout", "shop/payments"],
        ),
        ("ann", "platform", &[]),
        (
            "ann",
            "shop",
            &["/", "shop", "shop/checkout", "shop/payments"],
        ),
        ("sam", "platform", &["/", "platform"]),
        ("pat", "shop-leads", &[]),
        ("pat", "shop/p", &["/", "shop", "shop/payments"]),
        ("pat", "checkout", &[]),
        ("eve", "shop", &[]),
    ] {
        let rows = tree(&world, who, Some(filter)).await.rows;
        let shown: Vec<&str> = rows.iter().map(|row| row.app.as_str()).collect();
        assert_eq!(shown, expected, "{who} {filter}");
    }
    let marks = |rows: &TreeView, app: &str| {
        rows.rows
            .iter()
            .find(|row| row.app == app)
            .map(|row| (row.can_write, row.can_read, row.can_audit))
    };
    assert_eq!(marks(&tree(&world, "ann", None).await, "shop/search"), None);
    assert_eq!(
        marks(&tree(&world, "ann", None).await, "shop/checkout"),
        Some((true, true, false))
    );
    assert_eq!(
        marks(&tree(&world, "lea", None).await, "shop/checkout"),
        Some((true, true, true))
    );
    assert_eq!(
        marks(&tree(&world, "pat", None).await, "shop"),
        Some((false, false, false))
    );
    assert_eq!(
        marks(
            &tree(&world, "checkout-collector", None).await,
            "shop/checkout"
        ),
        Some((true, false, false))
    );
}

/// Scenario: exports come, some of them refused. Guarantees that their numbers stand at their app and above it, for those
/// who may see them; and that who sent is told only to those who may read or audit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_numbers_are_shown_to_those_who_may_see_them() {
    let world = stage::start(stage::plan(&[])).await;
    let mixed = Sample::of(Signal::Traces, "checkout", 3)
        .and("payments", 2)
        .and("checkout-web", 1);
    let answer = frontend(&world)
        .export(&mixed, Encoding::Protobuf)
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    let own = Sample::of(Signal::Logs, "checkout", 6);
    assert_eq!(
        checkout(&world)
            .export(&own, Encoding::Json)
            .await
            .unwrap()
            .status,
        200
    );
    let broken = checkout(&world)
        .send(
            http::Method::POST,
            "/v1/traces",
            &[("content-type", "application/x-protobuf")],
            b"\xff".to_vec(),
        )
        .await
        .unwrap();
    assert_eq!(broken.status, 400);
    let ann = stage::eventually("the failed export's count", || async {
        let view = tree(&world, "ann", None).await;
        let failed = view.rows.iter().any(|row| {
            row.live
                .as_ref()
                .is_some_and(|live| live.errors_per_minute > 0)
        });
        failed.then_some(view)
    })
    .await;
    let items = |view: &TreeView, app: &str| {
        let row = view.rows.iter().find(|row| row.app == app)?;
        row.live
            .as_ref()
            .map(|live| (live.items_per_second * 60.0).round() as u64)
    };
    assert_eq!(
        items(&ann, "shop/checkout"),
        Some(mixed_items(&["checkout", "checkout-web"], &mixed) + own.items() as u64)
    );
    assert_eq!(
        items(&ann, "shop"),
        Some(mixed.items() as u64 + own.items() as u64)
    );
    assert_eq!(items(&ann, "shop/search"), None, "nothing came");
    assert_eq!(items(&ann, "/"), None, "the root is not hers");
    let pat = tree(&world, "pat", None).await;
    assert_eq!(
        (items(&pat, "shop"), items(&pat, "shop/payments").is_some()),
        (None, true)
    );
    let sam = tree(&world, "sam", None).await;
    assert_eq!(items(&sam, "/"), items(&ann, "shop"));

    let names = |view: &AppView| -> Vec<(String, usize)> {
        view.services
            .iter()
            .map(|service| (service.name.clone(), service.senders.len()))
            .collect()
    };
    let expected = [("checkout".to_owned(), 2), ("checkout-web".to_owned(), 1)];
    assert_eq!(
        names(&app(&world, "ann", "shop/checkout").await.unwrap()),
        expected
    );
    let silent = [("checkout".to_owned(), 0), ("checkout-web".to_owned(), 0)];
    assert_eq!(
        names(
            &app(&world, "checkout-collector", "shop/checkout")
                .await
                .unwrap()
        ),
        silent
    );
    assert_eq!(names(&app(&world, "pat", "shop").await.unwrap()), []);
    let view = app(&world, "ann", "shop/checkout").await.unwrap();
    let mut senders: Vec<&str> = view.services[0]
        .senders
        .iter()
        .map(|sender| sender.subject.as_str())
        .collect();
    senders.sort_unstable();
    assert_eq!(
        senders,
        [
            "system:serviceaccount:checkout:collector",
            "system:serviceaccount:shop:frontend"
        ]
    );
}

fn mixed_items(services: &[&str], sample: &Sample) -> u64 {
    // Three, two and one resource's worth of the same kind.
    let share = sample.items() as u64 / 6;
    services
        .iter()
        .map(|name| {
            if *name == "checkout" {
                3 * share
            } else {
                share
            }
        })
        .sum()
}

/// Scenario: an app's page offers settings. Guarantees that each is there only for who may use it, and holds no secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_offered_to_who_may_use_them() {
    let world = stage::start(stage::plan(&[])).await;
    for (who, at, expected) in [
        (
            "ann",
            "shop/checkout",
            &["curl", "Terraform", "Grafana"][..],
        ),
        ("ann", "shop", &["curl", "Terraform", "Grafana"]),
        (
            "cluster-collector",
            "shop/search",
            &["OpenTelemetry SDK", "OpenTelemetry Collector"],
        ),
        (
            "checkout-collector",
            "shop/checkout",
            &["OpenTelemetry SDK", "OpenTelemetry Collector"],
        ),
        ("pat", "shop", &[]),
        ("eve", "/", &[]),
    ] {
        let view = app(&world, who, at).await.unwrap();
        let titles: Vec<&str> = view
            .snippets
            .iter()
            .map(|snippet| snippet.title.as_str())
            .collect();
        assert_eq!(titles, expected, "{who} {at}");
        for snippet in &view.snippets {
            assert!(snippet.text.contains(OURS), "{}", snippet.text);
            assert!(!snippet.text.contains("eyJ"), "{}", snippet.text);
        }
    }
    let view = app(&world, "ann", "shop/checkout").await.unwrap();
    assert!(
        view.snippets[0]
            .text
            .contains("/public/v0.2/acme/projects/checkout-prod/streams"),
        "{:?}",
        view.snippets
    );
    let view = app(&world, "checkout-collector", "shop/checkout")
        .await
        .unwrap();
    assert!(
        view.snippets[0]
            .text
            .contains("OTEL_EXPORTER_OTLP_ENDPOINT='https://gw.acme.example/apps/shop/checkout/-'")
    );
}

/// Scenario: everybody has calls explained that concern apps and projects which are not theirs, and the same calls with names
/// that nothing has. Guarantees that both are told in the same words, and that no binding of others is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_explanation_tells_nothing_about_what_is_not_the_visitors() {
    let world = stage::start(stage::plan(&[])).await;
    let house = world.gateway.shared().snapshot.load_full();
    let now = world.gateway.shared().clock.now();
    let mut compared = 0;
    for who in EVERYBODY {
        let facts = identity(&world, who).await.facts().clone();
        for (_, node) in house.policy.tree().nodes() {
            let view = house.policy.view(&facts, &node.path, now);
            if view
                .as_ref()
                .is_some_and(|view| !view.permissions.is_empty())
            {
                continue;
            }
            // What only leads to others may be asked, for those others; and what belongs to a project that may be read.
            let is_step = view.is_some() || node.declared_project().is_none();
            let project = node
                .declared_project()
                .map_or("none-prod", |project| project);
            let real = [node.path.as_str(), project];
            let unheard = ["zz", "zz-prod"];
            if node.path == AppPath::root() {
                continue;
            }
            let [real, unheard] = [
                told(&world, who, real, is_step).await,
                told(&world, who, unheard, is_step).await,
            ];
            assert_eq!(real, unheard, "{who} {}", node.path);
            compared += real.len();
        }
    }
    assert!(compared > 100, "{compared}");
    let other = explain(
        &world,
        "pat",
        call(
            "GET",
            "/public/v0.2/other/projects/checkout-prod/streams",
            "",
            "",
        ),
    )
    .await;
    let hidden = explain(
        &world,
        "pat",
        call(
            "GET",
            "/public/v0.2/acme/projects/checkout-prod/streams",
            "",
            "",
        ),
    )
    .await;
    let words = |view: ExplainView| written(&view.story.unwrap()).replace("/other/", "/acme/");
    let (other, hidden) = (words(other), words(hidden));
    // What the operation is called may be told: it is in the backend's own documentation.
    assert!(other.contains("not_permitted") && hidden.contains("not_permitted"));
    let foreign = explain(
        &world,
        "payments-collector",
        call("POST", "/v1/traces", "", "checkout"),
    )
    .await;
    let foreign = written(&foreign.story.unwrap());
    assert!(
        foreign.contains("service_unknown") && !foreign.contains("shop/checkout"),
        "{foreign}"
    );
}

/// All that a story says, what its stages came to by their codes.
fn written(story: &Story) -> String {
    let codes = story.stages.iter().map(|stage| stage.outcome.code());
    format!("{:?} {story:?}", codes.collect::<Vec<_>>())
}

/// What is told of calls that concern this app and this project, their names taken out.
async fn told(world: &World, who: &str, [app, project]: [&str; 2], is_step: bool) -> Vec<String> {
    let mut asks = vec![
        call("POST", "/v1/traces", app, ""),
        call("POST", "/v1/traces", app, "checkout"),
        call("POST", &format!("/apps/{app}/-/v1/metrics"), "", "payments"),
        call(
            "GET",
            &format!("/public/v0.2/acme/projects/{project}/streams"),
            "",
            "",
        ),
        call(
            "GET",
            &format!("/public/v0.2/acme/projects/{project}/access_tokens"),
            "",
            "",
        ),
        call(
            "POST",
            &format!("/public/v0.2/acme/projects/{project}/dashboards"),
            "",
            "",
        ),
        call("GET", &format!("/apps/{app}"), "", ""),
        call("POST", &format!("/apps/{app}/-/alerts"), "", ""),
    ];
    if !is_step {
        asks.push(call("GET", &format!("/apps/{app}/-/streams"), "", ""));
        asks.push(call("GET", &format!("/apps/{app}/-/alerts"), "", ""));
    }
    let mut stories = Vec::new();
    for asked in asks {
        let paths = [asked.path.clone().unwrap_or_default()];
        let story = explain(world, who, asked).await.story;
        let mut text = format!("{story:?}");
        for path in paths {
            text = text.replace(&path, "PATH");
        }
        assert!(
            !text.contains(&format!("{project:?}")) && !text.contains(&format!("{app:?}")),
            "{who} {text}"
        );
        stories.push(text);
    }
    stories
}

/// Scenario: people have their own calls explained. Guarantees the decision, and which bindings say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_explanation_tells_why() {
    let world = stage::start(stage::plan(&[])).await;
    let dashboards = "/public/v0.2/acme/projects/payments-prod/dashboards";
    for (who, asked, allowed, words) in [
        (
            "ann",
            call(
                "GET",
                "/public/v0.2/acme/projects/checkout-prod/streams",
                "",
                "",
            ),
            true,
            &["shop-developers", "checkout-prod"][..],
        ),
        (
            "ann",
            call("", &format!("https://gw.acme.example{dashboards}"), "", ""),
            true,
            &["shop-developers"],
        ),
        (
            "ann",
            call("post", dashboards, "", ""),
            false,
            &["denied_by_binding", "hands-off-payments-dashboards"],
        ),
        (
            "ann",
            call(
                "GET",
                "/public/v0.2/acme/projects/shop-prod/access_tokens",
                "",
                "",
            ),
            false,
            &["sensitive_not_named"],
        ),
        (
            "lea",
            call(
                "GET",
                "/public/v0.2/acme/projects/shop-prod/access_tokens",
                "",
                "",
            ),
            true,
            &["shop-stewards"],
        ),
        (
            "checkout-collector",
            call("", "/v1/traces", "", "checkout"),
            true,
            &["owner", "checkout-pods", "accesstoken"],
        ),
        (
            "checkout-collector",
            call("", "/v1/traces", "shop/checkout", ""),
            true,
            &["checkout-pods"],
        ),
        (
            "cluster-collector",
            call("", "/v1/traces", "", "unheard"),
            false,
            &["app_ambiguous", "you may write to", "shop/search"],
        ),
        (
            "ann",
            call("", "/apps/shop/-/streams", "", ""),
            true,
            &[
                "federate",
                "query.streams.read",
                "shop-developers",
                "shop-prod",
                "checkout-prod",
                "payments-prod",
            ],
        ),
        (
            "ann",
            call("", "/apps/shop/-/alerts", "", ""),
            true,
            &["query.metric_alerts.read", "query.conditions.read"],
        ),
        (
            "pat",
            call("", "/apps/shop/-/streams", "", ""),
            true,
            &["federate", "payments-prod"],
        ),
        (
            "eve",
            call("", "/apps/shop/-/streams", "", ""),
            false,
            &["not_permitted"],
        ),
        (
            "eve",
            call("GET", "/.lightkeeper/whoami", "", ""),
            true,
            &["own"],
        ),
        (
            "eve",
            call("GET", "/unheard", "", ""),
            false,
            &["path_unknown"],
        ),
        (
            "eve",
            call("GET", "/public//v0.2", "", ""),
            false,
            &["ambiguous_path"],
        ),
    ] {
        let view = explain(&world, who, asked).await;
        let story = view
            .story
            .unwrap_or_else(|| panic!("{who}: {:?}", view.mistake));
        let text = written(&story);
        assert_eq!(story.allowed, allowed, "{who} {text}");
        assert!(
            words.iter().all(|word| text.contains(word)),
            "{who} {words:?} {text}"
        );
        assert!(story.advice.is_some(), "{who} {text}");
    }
    for (asked, words) in [
        (call("no method", "/v1/traces", "", ""), "is not a method"),
        (call("GET", "not a path", "", ""), "is not a path"),
        (call("GET", "/v1/traces", "a\nb", ""), "cannot be sent"),
    ] {
        let view = explain(&world, "eve", asked).await;
        assert!(
            view.story.is_none() && view.mistake.is_some_and(|mistake| mistake.contains(words)),
            "{words}"
        );
    }
    let inlet = explain(
        &world,
        "ann",
        call("POST", "/apps/shop/checkout/-/alerts", "", ""),
    )
    .await
    .story
    .unwrap();
    assert!(
        !inlet.allowed && format!("{inlet:?}").contains("webhook secret"),
        "{inlet:?}"
    );
    let empty = explain(&world, "eve", ExplainRequest::default()).await;
    assert!(empty.story.is_none() && empty.mistake.is_none() && empty.found.is_none());
}

/// Scenario: calls are made and looked up. Guarantees that a call is found by who made it and by who may audit there, that
/// its maker learns nothing more from it than before, and that everybody else is told that there is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recent_calls_are_shown_to_their_makers_and_to_auditors() {
    let world = stage::start(stage::plan(&[])).await;
    let caller = |who: &str| world.plain_caller().bearer(&world.issuer.token(who));
    let mut ids = Vec::new();
    for (who, asked) in [
        ("ann", "/public/v0.2/acme/projects/checkout-prod/streams"),
        ("pat", "/public/v0.2/acme/projects/checkout-prod/streams"),
        ("pat", "/public/v0.2/acme/projects/unheard-prod/streams"),
        ("ann", "/public/v0.2/acme/projects/shop-prod/access_tokens"),
        ("eve", "/unheard"),
    ] {
        let answer = caller(who).get(asked).await.unwrap();
        ids.push(answer.header("lightkeeper-request-id").unwrap());
    }
    stage::records(&world, ids.len() + 1).await;
    let find = |who: &'static str, id: &str| {
        let asked = ExplainRequest {
            request_id: Some(id.to_owned()),
            ..ExplainRequest::default()
        };
        let world = &world;
        async move {
            let view = explain(world, who, asked).await;
            (view.found, view.mistake)
        }
    };
    let (_, nothing) = find("eve", "no-such-id").await;
    for (place, who, expected) in [
        (0, "ann", Some(("ok", "shop/checkout"))),
        (0, "lea", Some(("ok", "shop/checkout"))),
        (0, "sam", Some(("ok", "shop/checkout"))),
        (0, "pat", None),
        (0, "terraform", None),
        (1, "pat", Some(("not_permitted", ""))),
        (1, "lea", Some(("not_permitted", "shop/checkout"))),
        (1, "ann", None),
        (2, "pat", Some(("not_permitted", ""))),
        (2, "lea", None),
        (2, "sam", Some(("project_unknown", ""))),
        (3, "ann", Some(("sensitive_not_named", "shop"))),
        (4, "eve", Some(("path_unknown", ""))),
        (4, "sam", Some(("path_unknown", ""))),
        (4, "lea", None),
    ] {
        let (found, mistake) = find(who, &ids[place]).await;
        let told = found
            .as_ref()
            .map(|row| (row.reason.code(), row.app.as_str()));
        assert_eq!(told, expected, "{place} {who}");
        assert_eq!(
            mistake,
            if expected.is_none() {
                nothing.clone()
            } else {
                None
            },
            "{place} {who}"
        );
    }
    for (who, at, expected) in [
        ("sam", "/", Ok(5)),
        ("sam", "shop", Ok(3)),
        ("lea", "shop", Ok(3)),
        ("lea", "shop/checkout", Ok(2)),
        ("lea", "shop/payments", Ok(0)),
        ("lea", "/", Err("not_permitted")),
        ("ann", "shop", Err("not_permitted")),
        ("pat", "shop", Err("not_permitted")),
        ("pat", "shop/checkout", Err("app_unknown")),
        ("pat", "unheard", Err("app_unknown")),
        ("eve", "shop", Err("app_unknown")),
    ] {
        let told = decisions(&world, who, at).await;
        assert!(
            told.as_ref()
                .err()
                .is_none_or(|refusal| refusal.class == Class::Denied)
        );
        assert_eq!(
            told.map(|view| view.rows.len())
                .map_err(|refusal| refusal.reason.code()),
            expected,
            "{who} {at}"
        );
    }
    let view = decisions(&world, "sam", "/").await.unwrap();
    assert!(view.rows.is_sorted_by(|one, other| one.time >= other.time));
    super::console_search::the_trail_shows_the_same(&world, &ids).await;
}
