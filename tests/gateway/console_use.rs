//! What the console's pages are for: alerts and where they lead, and settings that work as they are pasted. What it refuses to
//! know: who may see which page.

use http::Method;
use lightkeeper::otlp::{Encoding, Signal};
use lightkeeper::profiles::AlertMessage;
use lightkeeper::view::TreeView;
use testkit::{Fault, Sample};

use super::console::{OURS, app, path, tree};
use super::stage;

/// Scenario: the inlet was told of alerts, the backend lists some, and then it is dead. Guarantees: the tree counts those that
/// are the visitor's to read, and so does a parent; a page shows each alert once, with links; a backend that does not
/// answer is named, and what was told is still there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_are_shown_to_those_who_may_read_them() {
    let world = stage::start(stage::plan(&[])).await;
    let firing = |view: &TreeView, app: &str| {
        view.rows
            .iter()
            .find(|row| row.app == app)
            .and_then(|row| row.firing)
    };
    assert_eq!(
        firing(&tree(&world, "ann", None).await, "shop"),
        None,
        "nobody told of anything"
    );
    let core = world.gateway.shared();
    let listed = app(&world, "ann", "shop/checkout").await.unwrap().alerts;
    assert!(!listed.is_empty());
    for (at, name, state) in [
        ("shop/checkout", "latency", "firing"),
        ("shop/checkout", "errors", "ok"),
        ("shop/payments", "ledger", "firing"),
        ("platform", "disks", "firing"),
        ("shop/checkout", listed[0].name.as_str(), "ok"),
    ] {
        let word = |text: &str| Some(text.to_owned());
        let told = AlertMessage {
            id: None,
            name: word(name),
            state: word(state),
            time: None,
        };
        core.alert_states.note(&path(at), &told, core.clock.now());
    }
    for (who, at, expected) in [
        ("ann", "shop", Some(2)),
        ("ann", "shop/checkout", Some(1)),
        ("ann", "/", Some(2)),
        ("pat", "shop", Some(1)),
        ("pat", "shop/payments", Some(1)),
        ("sam", "/", Some(3)),
        ("sam", "platform", Some(1)),
        ("sam", "shop/search", None),
        ("checkout-collector", "shop/checkout", None),
        ("eve", "/", None),
    ] {
        assert_eq!(
            firing(&tree(&world, who, None).await, at),
            expected,
            "{who} {at}"
        );
    }
    let view = app(&world, "ann", "shop").await.unwrap();
    assert_eq!(view.alert_errors, [""; 0]);
    assert_eq!(view.alerts[0].state, "firing");
    let mine: Vec<_> = view
        .alerts
        .iter()
        .map(|row| (row.app.as_str(), row.name.as_str()))
        .collect();
    for told in [
        ("shop/checkout", "latency"),
        ("shop/payments", "ledger"),
        ("shop/checkout", "errors"),
    ] {
        assert!(mine.contains(&told), "{mine:?}");
    }
    assert!(
        mine.len() > 3 && mine.iter().all(|(app, _)| app.starts_with("shop")),
        "{mine:?}"
    );
    let unique: std::collections::BTreeSet<_> = mine.iter().collect();
    assert_eq!(unique.len(), mine.len(), "{mine:?}");
    for row in &view.alerts {
        let titles: Vec<_> = row.links.iter().map(|link| link.title.as_str()).collect();
        assert!(
            titles.ends_with(&["Services", "Dashboards", "Traces"]),
            "{row:?}"
        );
        assert!(
            row.links.iter().all(|link| link.url.contains(&row.project)),
            "{row:?}"
        );
    }
    let titles: Vec<_> = view.links.iter().map(|link| link.title.as_str()).collect();
    assert_eq!(
        titles,
        [
            "Services",
            "Dashboards",
            "Alerts",
            "Traces of the last hour"
        ]
    );
    let pats = app(&world, "pat", "shop").await.unwrap();
    assert!(
        pats.alerts.iter().all(|row| row.app == "shop/payments") && !pats.alerts.is_empty(),
        "{:?}",
        pats.alerts
    );
    assert!(pats.links.is_empty());
    assert!(
        app(&world, "checkout-collector", "shop/checkout")
            .await
            .unwrap()
            .alerts
            .is_empty()
    );

    world.emulator.fail_queries("shop-prod", Fault::Reset);
    world
        .emulator
        .fail_queries("checkout-prod", Fault::status(503));
    world.emulator.fail_queries("payments-prod", Fault::Held);
    let view = app(&world, "ann", "shop").await.unwrap();
    let told: Vec<_> = view.alerts.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(
        told,
        ["latency", "ledger", listed[0].name.as_str(), "errors"]
    );
    for line in [
        "`shop-prod`: the backend cannot be reached: try again later (`upstream_unreachable`)",
        "(`upstream_status`)",
        "`payments-prod`: the backend did not answer in time (`query_deadline`)",
    ] {
        assert!(
            view.alert_errors.iter().any(|error| error.contains(line)),
            "{line}: {:?}",
            view.alert_errors
        );
    }
    world.emulator.heal();
}

/// What stands between two words, once.
fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let (_, rest) = text
        .split_once(before)
        .unwrap_or_else(|| panic!("{before} is not in {text}"));
    rest.split_once(after)
        .unwrap_or_else(|| panic!("{after} is not in {text}"))
        .0
}

/// Scenario: everybody pastes the settings of their app's page, with a token where it says `$(lightkeeper token)`.
/// Guarantees: each address, header and path of them works as it stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_work_as_they_are_pasted() {
    let world = stage::start(stage::plan(&[])).await;
    let pasted =
        |text: &str, who: &str| text.replace("$(lightkeeper token)", &world.issuer.token(who));
    let text = |view: &lightkeeper::view::AppView, title: &str| {
        view.snippets
            .iter()
            .find(|snippet| snippet.title == title)
            .unwrap()
            .text
            .clone()
    };
    let local = |url: &str| url.strip_prefix(OURS).unwrap().to_owned();

    let view = app(&world, "ann", "shop/checkout").await.unwrap();
    let curl = pasted(&text(&view, "curl"), "ann");
    let (name, value) = between(&curl, "-H \"", "\"").split_once(": ").unwrap();
    let (url, header) = (local(between(&curl, "  '", "'")), [(name, value)]);
    let answer = world
        .plain_caller()
        .send(Method::GET, &url, &header, Vec::new())
        .await
        .unwrap();
    assert_eq!(answer.status, 200, "{url}: {}", answer.text());
    let login = between(&curl, "--gateway ", "\n");
    assert_eq!(login, OURS);

    let terraform = pasted(&text(&view, "Terraform"), "ann");
    let base = local(between(&terraform, "LIGHTSTEP_API_URL='", "'"));
    let key = between(&terraform, "LIGHTSTEP_API_KEY=\"", "\"");
    let organization = between(&terraform, "organization = \"", "\"");
    // As the provider's client puts it together.
    let url = format!("{base}/public/v0.2/{organization}/projects/checkout-prod/metric_dashboards");
    let bearer = format!("bearer {key}");
    let header = [
        ("authorization", bearer.as_str()),
        ("accept", "application/vnd.api+json"),
    ];
    let answer = world
        .plain_caller()
        .send(Method::GET, &url, &header, Vec::new())
        .await
        .unwrap();
    assert_eq!(answer.status, 200, "{url}: {}", answer.text());

    let grafana = text(&view, "Grafana");
    let url = between(&grafana, "url: http://127.0.0.1:9411", "\n");
    let ann = world.plain_caller().bearer(&world.issuer.token("ann"));
    assert_eq!(
        ann.get(&format!("{url}/streams")).await.unwrap().status,
        200
    );

    let who = "checkout-collector";
    let view = app(&world, who, "shop/checkout").await.unwrap();
    let sdk = pasted(&text(&view, "OpenTelemetry SDK"), who);
    let endpoint = local(between(&sdk, "OTEL_EXPORTER_OTLP_ENDPOINT='", "'"));
    let (name, value) = between(&sdk, "OTEL_EXPORTER_OTLP_HEADERS=\"", "\"")
        .split_once('=')
        .unwrap();
    // Values are percent-encoded there, as in W3C Baggage.
    let value = value.replace("%20", " ");
    let service = between(&sdk, "OTEL_SERVICE_NAME=", "\n");
    let body = Sample::of(Signal::Traces, service, 2).encode(Encoding::Protobuf);
    let header = [
        (name, value.as_str()),
        ("content-type", "application/x-protobuf"),
    ];
    let answer = world
        .plain_caller()
        .send(
            Method::POST,
            &format!("{endpoint}/v1/traces"),
            &header,
            body,
        )
        .await
        .unwrap();
    assert_eq!(answer.status, 200, "{endpoint}: {}", answer.text());
    let collector = text(&view, "OpenTelemetry Collector");
    assert_eq!(local(between(&collector, "endpoint: \"", "\"")), endpoint);
}
