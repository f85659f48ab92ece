//! The console's search of the audit trail: who finds which calls. What it refuses to know: HTML.

use lightkeeper::accept::{PageRequest, TrailRequest};
use lightkeeper::respond::Refusal;
use lightkeeper::view::{DecisionsView, Page};
use testkit::World;

use super::console::{self, decisions, path};
use super::stage;

async fn trail(world: &World, who: &str, ask: TrailRequest) -> Result<DecisionsView, Refusal> {
    match console::ask(world, who, PageRequest::Trail(Box::new(ask))).await? {
        Page::Decisions(view) => Ok(view),
        other => panic!("{other:?}"),
    }
}

/// Who finds which of the calls in the trail: those that the memory shows the same person, and no others.
pub async fn the_trail_shows_the_same(world: &World, ids: &[String]) {
    for id in ids {
        stage::record(world, id).await;
    }
    let of = |app: &str| TrailRequest::of(path(app));
    let some = |text: &str| Some(text.to_owned());
    for (who, at) in [
        ("sam", "/"),
        ("sam", "shop"),
        ("lea", "shop"),
        ("lea", "shop/checkout"),
        ("lea", "shop/payments"),
        ("lea", "/"),
        ("ann", "shop"),
        ("pat", "shop/checkout"),
        ("pat", "unheard"),
        ("eve", "shop"),
    ] {
        let shown = |told: Result<DecisionsView, Refusal>| {
            let told = told.map(|view| {
                let ids = view.rows.iter().map(|row| row.request_id.clone());
                ids.collect::<std::collections::BTreeSet<String>>()
            });
            told.map_err(|refusal| refusal.reason.code())
        };
        let remembered = shown(decisions(world, who, at).await);
        assert_eq!(
            shown(trail(world, who, of(at)).await),
            remembered,
            "{who} {at}"
        );
    }
    let whole = trail(world, "sam", of("/")).await.unwrap();
    let search = whole.search.unwrap();
    assert!(search.is_whole && search.bytes > 500 && search.back_to.is_some());
    for (ask, rows) in [
        (
            TrailRequest {
                request_id: some(&ids[0]),
                ..of("/")
            },
            1,
        ),
        (
            TrailRequest {
                request_id: some("unheard"),
                ..of("/")
            },
            0,
        ),
        (
            TrailRequest {
                until: some("2020-01-01"),
                ..of("/")
            },
            0,
        ),
        (
            TrailRequest {
                reason: some("\"},{\"x\":\""),
                ..of("/")
            },
            0,
        ),
        (
            TrailRequest {
                subject: some("\u{0}\u{202e}"),
                ..of("/")
            },
            0,
        ),
    ] {
        let found = trail(world, "sam", ask).await.unwrap();
        assert_eq!(found.rows.len(), rows, "{:?}", found.search);
    }
    for (ask, mistake) in [
        (
            TrailRequest {
                since: some("yesterday"),
                ..of("/")
            },
            "is no time",
        ),
        (
            TrailRequest {
                status: some("4O3"),
                ..of("/")
            },
            "is no status",
        ),
    ] {
        let told = trail(world, "sam", ask).await.unwrap().search.unwrap();
        assert!(told.mistake.unwrap().contains(mistake));
    }
}
