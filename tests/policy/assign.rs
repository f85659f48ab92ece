//! What becomes of each resource of an export: a table to read, and properties that hold for every policy.

use super::*;

use lightkeeper::apps::Mark;
use lightkeeper::authorize::{Assignment, By};
use lightkeeper::reason::Reason;

/// `name=value` for text, `name?` for what is given in two ways, `-` for nothing.
fn mark<'a>(resource: &'a str) -> impl Fn(&str) -> Mark<'a> {
    move |name| {
        let found = resource
            .split_whitespace()
            .find_map(|word| match word.strip_suffix('?') {
                Some(given) => (given == name).then_some(Mark::Ambiguous),
                None => word
                    .split_once('=')
                    .filter(|(given, _)| *given == name)
                    .map(|(_, value)| Mark::Text(value.into())),
            });
        found.unwrap_or(Mark::Absent)
    }
}

fn assign(policy: &Policy, who: &Facts, app: Option<&str>, resource: &str) -> Assignment {
    let app = app.map(|app| AppPath::parse(app).unwrap());
    policy.explain_assignment(
        who,
        operation("ingest.traces", Scope::App),
        app.as_ref(),
        &mark(resource),
        NOW,
    )
}

fn told(assignment: &Assignment) -> String {
    let Assignment {
        verdict,
        reached,
        by,
        ..
    } = assignment;
    let bindings: Vec<&str> = verdict.bindings.iter().map(|name| &**name).collect();
    match (verdict.reason, by) {
        (Some(reason), _) => {
            let bindings = if bindings.is_empty() {
                String::new()
            } else {
                format!(" [{}]", bindings.join(", "))
            };
            format!(
                "{}{}{bindings}",
                if *reached { "" } else { "/" },
                reason.code()
            )
        }
        (None, Some(by)) => {
            assert!(*reached && verdict.allowed && !bindings.is_empty());
            let default_of = if let By::DefaultApp(binding) = by {
                format!(" of {binding}")
            } else {
                String::new()
            };
            format!(
                "{} ({}{default_of})",
                verdict.app.as_ref().unwrap(),
                by.name()
            )
        }
        (None, None) => "-".to_owned(),
    }
}

/// Scenario: senders of all kinds, and resources of all kinds. Guarantees that the committed table says where each goes.
#[test]
fn the_table_says_where_each_resource_goes() {
    let path = root().join("tests/policy/assigned.txt");
    let text = std::fs::read_to_string(&path).unwrap();
    let policy =
        load_sound(&std::fs::read_to_string(root().join("tests/policy/assigned.yaml")).unwrap());
    assert_eq!(
        policy
            .watched()
            .iter()
            .map(|name| &**name)
            .collect::<Vec<_>>(),
        ["service.name", "k8s.namespace.name"]
    );
    let mut found = String::new();
    let mut rows = 0;
    for line in text.lines() {
        let fields: Vec<&str> = line
            .split("  ")
            .map(str::trim)
            .filter(|field| !field.is_empty())
            .collect();
        match fields.as_slice() {
            [caller, app, resource, ..] if *caller != "caller" && !line.starts_with('#') => {
                let who = facts(&format!("oidc issuer=cluster-a subject={caller}"));
                let assignment = assign(
                    &policy,
                    &who,
                    Some(*app).filter(|app| *app != "-"),
                    resource,
                );
                found.push_str(&format!(
                    "{caller:<11}{app:<15}{resource:<52}{}\n",
                    told(&assignment)
                ));
                rows += 1;
            }
            _ => found.push_str(&format!("{line}\n")),
        }
    }
    assert!(rows > 45, "the table has lost its rows");
    expect(&path, &found);
}

/// Scenario: attributes and quotas on some levels of a tree. Guarantees what is inherited and what is overridden.
#[test]
fn attributes_and_quotas_come_down_the_tree() {
    let policy =
        load_sound(&std::fs::read_to_string(root().join("tests/policy/assigned.yaml")).unwrap());
    for (app, attributes, quotas) in [
        ("/", "", ""),
        (
            "shop",
            "deployment.environment.name=production owner=shop",
            "app:shop 1000 1048576 10",
        ),
        (
            "shop/checkout",
            "deployment.environment.name=production owner=checkout-team tier=1",
            "app:shop 1000 1048576 10",
        ),
        (
            "shop/checkout/web",
            "deployment.environment.name=production owner=checkout-team tier=1",
            "app:shop/checkout/web 10 - 10, app:shop 1000 1048576 10",
        ),
        ("platform", "", ""),
    ] {
        let node = policy.tree().find(&AppPath::parse(app).unwrap()).unwrap();
        let stamped: Vec<String> = policy
            .stamp_attributes(node)
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(stamped.join(" "), attributes, "{app}");
        let rate = |rate: Option<u64>| rate.map_or("-".to_owned(), |rate| rate.to_string());
        let list = |bindings: &[&str]| {
            let bindings: Vec<Arc<str>> = bindings.iter().map(|name| Arc::from(*name)).collect();
            let each = policy
                .quotas(node, &bindings)
                .into_iter()
                .map(|(key, quota)| {
                    let burst = quota.burst.as_secs();
                    format!(
                        "{key} {} {} {burst}",
                        rate(quota.items_per_second),
                        rate(quota.bytes_per_second)
                    )
                });
            each.collect::<Vec<_>>().join(", ")
        };
        assert_eq!(list(&[]), quotas, "{app}");
        let of_binding = "binding:collector 500 - 60";
        let expected = if quotas.is_empty() {
            of_binding.to_owned()
        } else {
            format!("{quotas}, {of_binding}")
        };
        assert_eq!(list(&["shop", "collector", "unheard"]), expected, "{app}");
    }
}

const CLAIMS: [&str; 8] = [
    "",
    "services: [x]",
    "services: [\"x*\"]",
    "services: [\"*\"]",
    "match: { k: p }",
    "match: { k: \"p*\" }",
    "services: [x], match: { k: p }",
    "services: [\"*\"], match: { k: \"*\" }",
];
const UNKNOWN: [&str; 3] = ["", ", unknown_services: reject", ", default_app: {}"];
const RESOURCES: [&str; 9] = [
    "-",
    "service.name=x",
    "service.name=xy",
    "service.name=z",
    "k=p",
    "service.name=x k=p",
    "service.name=x k=pq",
    "service.name?",
    "service.name=x k?",
];
const CALLS: [Option<&str>; 5] = [None, Some("a"), Some("a/b"), Some("d"), Some("d/e")];

/// Bindings as in `policy_of`, with what each does with unknown services; `None` if two apps are rivals.
fn claiming(draws: &[(Draw, usize)], claims: &[usize]) -> Option<Policy> {
    let claim = |place: usize| CLAIMS[claims[place]].to_owned();
    let with = |place: usize, rest: &str| {
        [claim(place), rest.to_owned()]
            .into_iter()
            .filter(|text| !text.is_empty())
    };
    let app = |place: usize, rest: &str| with(place, rest).collect::<Vec<_>>().join(", ");
    let mut text = format!(
        "version: 1\napps:\n  a: {{ {} }}\n  d: {{ {} }}\nbindings:\n",
        app(
            0,
            &format!(
                "project: pa, apps: {{ b: {{ {} }} }}",
                app(1, &format!("apps: {{ c: {{ {} }} }}", app(2, "")))
            )
        ),
        app(
            3,
            &format!("apps: {{ e: {{ {} }} }}", app(4, "project: pe"))
        ),
    );
    for (place, ((deny, subject, permission, app), unknown)) in draws.iter().enumerate() {
        let unknown = if *deny || !PERMISSIONS[*permission].starts_with("ingest") {
            ""
        } else {
            UNKNOWN[*unknown]
        };
        // Only these lie in a project as a whole.
        let unknown = if ["a", "a/b", "a/b/c", "d/e"].contains(&APPS[*app]) {
            unknown
        } else {
            ""
        };
        text.push_str(&format!(
            "  - {{ name: b{place}, effect: {}, subjects: [{{ {} }}], permissions: [\"{}\"], apps: [{}]{} }}\n",
            if *deny { "deny" } else { "allow" },
            SUBJECTS[*subject],
            PERMISSIONS[*permission],
            APPS[*app],
            unknown.replace("{}", APPS[*app]),
        ));
    }
    let (policy, found) = load("policy.yaml", &text);
    let tied = found
        .iter()
        .filter(|each| each.is_error())
        .all(|each| each.message.contains("claim the same"));
    assert!(tied, "{}\n{text}", render(&found));
    policy
}

fn draws(most: usize) -> impl Strategy<Value = Vec<(Draw, usize)>> {
    // More allows than denies, and mostly of exports, so that something is assigned.
    let draw = (
        proptest::bool::weighted(0.2),
        0..SUBJECTS.len(),
        0..3_usize,
        0..APPS.len(),
    );
    proptest::collection::vec((draw, 0..UNKNOWN.len()), 1..most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Wherever a resource goes, `decide` lets its sender write there by name; an app that is named is where it goes; and
    /// an owner that its sender may not write to is never passed over.
    #[test]
    fn a_resource_goes_only_where_its_sender_may_write(
        draws in draws(8), claims in proptest::collection::vec(0..CLAIMS.len(), 5..=5)
    ) {
        let Some(policy) = claiming(&draws, &claims) else { return Ok(()) };
        for who in CALLERS {
            let who = facts(who);
            for call in CALLS {
                for resource in RESOURCES {
                    let assignment = assign(&policy, &who, call, resource);
                    let may = |app: &str| decide(&policy, &who, "ingest.traces", &format!("app {app}"), NOW);
                    if assignment.by.is_some() {
                        let app = assignment.verdict.app.as_ref().unwrap();
                        prop_assert!(may(app.as_str()).allowed, "{:?} {} {}", call, resource, app);
                        prop_assert!(call.is_none_or(|call| call == app.as_str()));
                        prop_assert_eq!(&assignment.verdict.project, &may(app.as_str()).project);
                        if let Some(owner) = &assignment.owner {
                            let reason = may(owner.as_str()).reason;
                            prop_assert!(reason.is_none_or(|reason| reason == Reason::AppWithoutProject));
                        }
                    }
                    prop_assert_eq!(assignment.by.is_some(), assignment.verdict.allowed);
                }
            }
        }
    }

    /// Whatever is added as a deny, no resource goes to an app that its sender could not write it to before.
    #[test]
    fn an_added_deny_never_grants_a_resource(
        draws in draws(6), claims in proptest::collection::vec(0..CLAIMS.len(), 5..=5),
        (subject, permission, app) in (0..SUBJECTS.len(), 0..3_usize, 0..APPS.len())
    ) {
        let Some(before) = claiming(&draws, &claims) else { return Ok(()) };
        let mut more = draws.clone();
        more.push(((true, subject, permission, app), 0));
        let after = claiming(&more, &claims).unwrap();
        for who in CALLERS {
            let who = facts(who);
            for call in CALLS {
                for resource in RESOURCES {
                    let later = assign(&after, &who, call, resource);
                    let Some(app) = later.verdict.app.as_ref().filter(|_| later.by.is_some()) else { continue };
                    let earlier = assign(&before, &who, call, resource);
                    // A deny may leave one writable app out of several; which that is was writable by name before.
                    let asked = matches!(earlier.verdict.reason, Some(Reason::AppAmbiguous));
                    let earlier = if asked { assign(&before, &who, Some(app.as_str()), resource) } else { earlier };
                    prop_assert!(earlier.by.is_some(), "{:?} {}", call, resource);
                    prop_assert_eq!(earlier.verdict.app.as_ref(), Some(app));
                }
            }
        }
    }
}
