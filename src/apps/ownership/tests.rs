//! Who owns what, by table and against trying every app.
//!
//! What it does: plants small trees and asks for owners. What it refuses to know: policies; their files are tested in
//! `tests/policy.rs`.

use super::*;
use crate::apps::{AppPath, Description, Planting, rivals};
use proptest::prelude::*;

/// One app: its path (parents come first), its services, its `match`.
type App<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, &'a str)]);

fn plant(apps: &[App<'_>]) -> Tree {
    let glob = |text: &str| Glob::parse(text, '/').unwrap();
    let mut planting = Planting::default();
    let mut open: Vec<&str> = Vec::new();
    for (path, services, marks) in apps {
        let segments: Vec<&str> = path.split('/').collect();
        while !segments.starts_with(&open) {
            open.pop();
            planting.leave();
        }
        for segment in &segments[open.len()..] {
            planting.enter(segment).unwrap();
        }
        open = segments;
        let services = services.iter().map(|text| glob(text)).collect();
        let marks = marks
            .iter()
            .map(|(name, text)| ((*name).to_owned(), glob(text)))
            .collect();
        planting
            .describe(Description {
                services,
                marks,
                ..Description::default()
            })
            .unwrap();
    }
    planting.finish()
}

/// `name=value` for text, `name?` for what is ambiguous.
fn mark<'a>(resource: &'a [&'a str]) -> impl Fn(&str) -> Mark<'a> {
    move |name| {
        for word in resource {
            if word.strip_suffix('?') == Some(name) {
                return Mark::Ambiguous;
            }
            if let Some((_, value)) = word.split_once('=').filter(|(given, _)| *given == name) {
                return Mark::Text(value.into());
            }
        }
        Mark::Absent
    }
}

const SHOP: &[App<'static>] = &[
    ("shop", &["shop-*"], &[]),
    ("shop/checkout", &["checkout", "checkout-*"], &[]),
    ("shop/checkout/web", &["checkout-web*"], &[]),
    (
        "shop/payments",
        &["payments", "checkout-payments"],
        &[("ns", "payments")],
    ),
    ("shop/search", &[], &[("ns", "search*")]),
    (
        "shop/search/index",
        &["indexer"],
        &[("ns", "search"), ("tier", "batch")],
    ),
    ("shop/same", &["shop-*"], &[]),
    ("platform", &["*"], &[]),
    ("platform/edge", &["*-edge"], &[]),
    (
        "platform/nodes",
        &[],
        &[("ns", "kube-system"), ("node", "*")],
    ),
];

/// Scenario: one tree, and resources of all kinds. Guarantees the order in which apps are more specific.
#[test]
fn the_most_specific_app_owns_a_resource() {
    let tree = plant(SHOP);
    assert_eq!(rivals(&tree), []);
    let ownership = Ownership::of(&tree);
    assert_eq!(
        ownership
            .watched()
            .iter()
            .map(|name| &**name)
            .collect::<Vec<_>>(),
        ["service.name", "ns", "tier", "node"]
    );
    for (resource, expected) in [
        (&["service.name=checkout"][..], Ok(Some("shop/checkout"))),
        (&["service.name=checkout-api"], Ok(Some("shop/checkout"))),
        (
            &["service.name=checkout-web2"],
            Ok(Some("shop/checkout/web")),
        ),
        // A pattern of equal rank: the app beneath.
        (&["service.name=shop-x"], Ok(Some("shop/same"))),
        // More text before the wildcard wins over more text altogether, more text over less.
        (&["service.name=checkout-edge"], Ok(Some("shop/checkout"))),
        (&["service.name=a-edge"], Ok(Some("platform/edge"))),
        (&["service.name=other"], Ok(Some("platform"))),
        (&["service.name="], Ok(Some("platform"))),
        (&["service.name=a/b"], Ok(None)),
        (&["service.name=Checkout"], Ok(Some("platform"))),
        // With `match` both must hold, and it weighs more than the service.
        (&["service.name=payments"], Ok(Some("platform"))),
        (
            &["service.name=payments", "ns=payments"],
            Ok(Some("shop/payments")),
        ),
        (
            &["service.name=checkout-payments", "ns=payments"],
            Ok(Some("shop/payments")),
        ),
        (
            &["service.name=checkout", "ns=payments"],
            Ok(Some("shop/checkout")),
        ),
        (
            &["service.name=checkout", "ns=search-2"],
            Ok(Some("shop/search")),
        ),
        (&["ns=search"], Ok(Some("shop/search"))),
        (
            &["service.name=indexer", "ns=search", "tier=batch"],
            Ok(Some("shop/search/index")),
        ),
        (
            &["service.name=indexer", "ns=search"],
            Ok(Some("shop/search")),
        ),
        (&["ns=kube-system", "node=n1"], Ok(Some("platform/nodes"))),
        (&["ns=kube-system"], Ok(None)),
        (&["node=n1"], Ok(None)),
        (&[], Ok(None)),
        // What can be read in two ways settles nothing, where it could settle something.
        (&["service.name?"], Err(Unclear)),
        (&["service.name?", "ns=payments"], Err(Unclear)),
        (
            &["service.name?", "ns=kube-system", "node=n1"],
            Err(Unclear),
        ),
        (&["service.name=checkout", "ns?"], Err(Unclear)),
        (
            &["service.name=checkout", "node?"],
            Ok(Some("shop/checkout")),
        ),
        (
            &["service.name=checkout", "tier?"],
            Ok(Some("shop/checkout")),
        ),
        (
            &["service.name=indexer", "ns=search", "tier?"],
            Err(Unclear),
        ),
        (
            &["service.name=indexer", "ns=payments", "tier?"],
            Ok(Some("platform")),
        ),
        (&["other?"], Ok(None)),
    ] {
        let path = |owner: Owner<'_>| tree.node(owner.node).unwrap().path.as_str();
        assert_eq!(
            ownership
                .owner(&mark(resource))
                .map(|owner| owner.map(path)),
            expected,
            "{resource:?}"
        );
    }
    let resource = ["service.name=indexer", "ns=search", "tier=batch"];
    let owner = ownership.owner(&mark(&resource)).unwrap().unwrap();
    assert_eq!((owner.service, owner.marks.len()), (Some("indexer"), 2));
}

/// Scenario: an attribute that is ambiguous, and an app that no reading of it could outrank. Guarantees an answer.
#[test]
fn doubt_counts_only_where_it_could_outrank() {
    let tree = plant(&[("a", &["x"], &[]), ("b", &[], &[("k", "p"), ("l", "q")])]);
    let ownership = Ownership::of(&tree);
    let b = tree.find(&AppPath::parse("b").unwrap());
    let certain = ownership
        .owner(&mark(&["service.name?", "k=p", "l=q"]))
        .unwrap();
    assert_eq!(certain.map(|owner| owner.node), b);
    assert_eq!(
        ownership.owner(&mark(&["service.name?", "k=p"])),
        Err(Unclear)
    );
}

/// Scenario: pairs of apps. Guarantees that they are rivals exactly if some resource could be either's.
#[test]
fn rivals_are_those_that_could_tie() {
    for (one, other, expected) in [
        ((&["x"][..], &[][..]), (&["x"][..], &[][..]), true),
        ((&["x"], &[]), (&["y"], &[]), false),
        ((&["x"], &[]), (&["x*"], &[]), false),
        ((&["x-*"], &[]), (&["x-*"], &[]), true),
        ((&["x-*"], &[]), (&["y-*"], &[]), false),
        ((&["x-*"], &[]), (&["x*"], &[]), false),
        ((&["*a"], &[]), (&["*b"], &[]), false),
        ((&["*a*"], &[]), (&["*b*"], &[]), true),
        ((&["x*a"], &[]), (&["x*b"], &[]), false),
        ((&["x*aa"], &[]), (&["x*ba"], &[]), false),
        ((&["x/*"], &[]), (&["x/**"], &[]), true),
        ((&["a", "b"], &[]), (&["c", "b"], &[]), true),
        ((&["x"], &[("k", "p")]), (&["x"], &[]), false),
        ((&["x"], &[("k", "p")]), (&["x"], &[("k", "p")]), true),
        ((&["x"], &[("k", "p")]), (&["x"], &[("k", "q")]), false),
        ((&["x"], &[("k", "p")]), (&["x"], &[("l", "q")]), true),
        ((&["x"], &[("k", "p*")]), (&["x"], &[("k", "p")]), false),
        ((&["x"], &[("k", "p*")]), (&["x"], &[("k", "*q")]), true),
        ((&[], &[("k", "p")]), (&[], &[("k", "p")]), true),
        ((&[], &[("k", "p")]), (&[], &[("l", "p")]), true),
        ((&[], &[("k", "p")]), (&[], &[("k", "q")]), false),
        ((&[], &[("k", "p")]), (&["x"], &[("k", "p")]), false),
        ((&[], &[]), (&[], &[]), false),
    ] {
        let apart = plant(&[("a", one.0, one.1), ("b", other.0, other.1)]);
        assert_eq!(!rivals(&apart).is_empty(), expected, "{one:?} {other:?}");
        let beneath = plant(&[("a", one.0, one.1), ("a/b", other.0, other.1)]);
        assert_eq!(rivals(&beneath), [], "{one:?} above {other:?}");
    }
}

const PATHS: [&str; 5] = ["a", "a/b", "a/b/c", "d", "d/e"];
const SERVICES: [&str; 10] = ["x", "y", "x*", "x-*", "*", "*-y", "*x*", "*y*", "x/*", "**"];
const MARKS: [(&str, &str); 5] = [("k", "p"), ("k", "p*"), ("k", "*"), ("l", "p"), ("l", "*")];
/// Some text for each pair of patterns above that meets.
const VALUES: [Option<&str>; 12] = [
    None,
    Some(""),
    Some("x"),
    Some("y"),
    Some("x-y"),
    Some("xy"),
    Some("x-xy-y"),
    Some("x/y"),
    Some("z-y"),
    Some("zx"),
    Some("zy"),
    Some("zxy"),
];
const OTHERS: [Option<&str>; 4] = [None, Some("p"), Some("pq"), Some("r")];

/// How specific an app is for a resource, from the written texts alone.
fn specificity(
    services: &[&str],
    marks: &[(&str, &str)],
    resource: &dyn Fn(&str) -> Option<&'static str>,
) -> Option<(usize, usize, u8, usize, usize)> {
    let fits = |pattern: &str, name| {
        resource(name).is_some_and(|text| Glob::parse(pattern, '/').unwrap().matches(text))
    };
    if services.is_empty() && marks.is_empty()
        || !marks.iter().all(|(name, pattern)| fits(pattern, name))
    {
        return None;
    }
    let exact = marks
        .iter()
        .filter(|(_, pattern)| !pattern.contains('*'))
        .count();
    let of_service = |text: &str| {
        let kind = if text.contains('*') { 1 } else { 2 };
        (
            marks.len(),
            exact,
            kind,
            text.split('*').next().unwrap().len(),
            text.replace('*', "").len(),
        )
    };
    if services.is_empty() {
        return Some((marks.len(), exact, 0, 0, 0));
    }
    services
        .iter()
        .filter(|text| fits(text, SERVICE_NAME))
        .map(|text| of_service(text))
        .max()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever apps say: without rivals the owner is the one that comparing all apps finds, and there are rivals if and
    /// only if comparing leaves two.
    #[test]
    fn the_owner_is_found_as_by_trying_every_app(
        drawn in proptest::collection::vec(
            (proptest::sample::subsequence(&SERVICES[..], 0..3), proptest::sample::subsequence(&MARKS[..], 0..2)), 5..=5
        )
    ) {
        let apps: Vec<App<'_>> =
            PATHS.iter().zip(&drawn).map(|(path, (services, marks))| (*path, &services[..], &marks[..])).collect();
        let tree = plant(&apps);
        let ownership = Ownership::of(&tree);
        let decided = rivals(&tree).is_empty();
        let mut tied = false;
        for service in VALUES {
            for k in OTHERS {
                for l in OTHERS {
                    let resource = |name: &str| match name {
                        SERVICE_NAME => service,
                        "k" => k,
                        _ => l,
                    };
                    let claims = apps.iter().filter_map(|(path, services, marks)| {
                        Some((specificity(services, marks, &resource)?, *path))
                    });
                    let claims: Vec<_> = claims.collect();
                    let highest = claims.iter().map(|(rank, _)| *rank).max();
                    let mut best: Vec<&str> =
                        claims.iter().filter(|(rank, _)| Some(*rank) == highest).map(|(_, path)| *path).collect();
                    best.sort_by_key(|path| path.len());
                    let deepest = best.last().copied();
                    tied |= best.iter().any(|path| !deepest.unwrap().starts_with(path));
                    if decided {
                        let marks = |name: &str| resource(name).map_or(Mark::Absent, |text| Mark::Text(text.into()));
                        let owner = ownership.owner(&marks).unwrap();
                        let owner = owner.map(|owner| tree.node(owner.node).unwrap().path.as_str());
                        prop_assert_eq!(owner, deepest, "{:?} {:?} {:?}", service, k, l);
                    }
                }
            }
        }
        prop_assert_eq!(tied, !decided, "{:?}", apps);
    }
}
