//! Hostile text in every field of every page: it is shown, and it does nothing.
//!
//! What it does: renders each page from such text and reads the result back. What it refuses to know: how a page is
//! written. Invariant: every text of `view` is filled here.

use super::markup::check;
use super::{rendered, samples};
use crate::reason::Reason;
use crate::view::*;

/// What a token, a policy or telemetry may hold.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "<script>alert(1)</script>",
        "</title><script src=//evil.example/a.js></script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "\" autofocus onfocus=\"alert(1)",
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)//https://",
        "data:text/html,<script>alert(1)</script>",
        "//evil.example/",
        "/\\evil.example/",
        "/\t/evil.example/",
        "https://evil.example/\" onclick=\"alert(1)",
        "<!-- --><svg/onload=alert(1)>",
        "{{7*7}} ${alert(1)} <%= 1 %>",
        "\u{202e}nimda\u{2066}\u{200b}\0\u{1b}[31m",
        "hx-get=/x hx-trigger=load",
        "&lt;b&gt; &amp;",
        "",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.push("<".repeat(20_000));
    texts.push("a".repeat(100_000));
    texts
}

fn pairs(text: &str) -> Vec<(String, String)> {
    vec![(text.to_owned(), text.to_owned())]
}

fn frame(text: &str) -> Frame {
    let t = || text.to_owned();
    let visitor = Visitor {
        name: t(),
        issuer: t(),
        subject: t(),
        method: "session",
        groups: vec![t(), t()],
        expires: Some(t()),
        csrf: Some(t()),
    };
    Frame {
        organization: t(),
        visitor: Some(visitor),
        request_id: t(),
        can_log_in: true,
        time: t(),
    }
}

fn live(text: &str) -> Option<LiveView> {
    let t = || Some(text.to_owned());
    Some(LiveView {
        items_per_second: f64::NAN,
        bytes_per_second: f64::MAX,
        errors_per_minute: u64::MAX,
        last_seen: t(),
        last_seen_ago: t(),
    })
}

fn tree(text: &str) -> TreeView {
    let t = || text.to_owned();
    let row = TreeRow {
        app: t(),
        name: t(),
        depth: usize::MAX,
        project: Some(t()),
        owners: vec![t(), t(), t()],
        can_write: true,
        can_read: true,
        can_audit: true,
        live: live(text),
        firing: Some(u64::MAX),
    };
    TreeView {
        filter: Some(t()),
        rows: vec![row],
        alert_errors: vec![t()],
    }
}

fn app(text: &str) -> AppView {
    let t = || text.to_owned();
    let link = || Link {
        title: t(),
        url: t(),
    };
    let sender = SenderRow {
        subject: t(),
        issuer: t(),
        method: "mtls",
        last_seen_ago: t(),
    };
    let service = ServiceRow {
        name: t(),
        items_per_second: -1.0,
        last_seen: Some(t()),
        last_seen_ago: Some(t()),
        link: Some(t()),
        senders: vec![sender],
    };
    let alert = AlertRow {
        name: t(),
        app: t(),
        project: t(),
        state: t(),
        since: Some(t()),
        links: vec![link(), link()],
    };
    AppView {
        app: t(),
        name: t(),
        trail: pairs(text),
        project: Some(t()),
        project_home: Some(t()),
        backend: Some(t()),
        legs: vec![LegRow {
            backend: t(),
            mode: "mirror",
            items: Some(LegItems {
                sent: u64::MAX,
                ..LegItems::default()
            }),
        }],
        owners: vec![t()],
        apps: pairs(text),
        live: live(text),
        services: vec![service],
        grants: vec![GrantRow {
            permission: t(),
            bindings: vec![t(), t()],
        }],
        snippets: vec![
            Snippet {
                title: t(),
                text: t(),
            },
            Snippet {
                title: t(),
                text: t(),
            },
        ],
        links: vec![link()],
        alerts: vec![alert],
        alert_errors: vec![t()],
        is_unasked: true,
        can_audit: true,
    }
}

fn decision(text: &str) -> DecisionRow {
    let t = || text.to_owned();
    DecisionRow {
        time: t(),
        request_id: t(),
        subject: t(),
        issuer: t(),
        http_method: t(),
        path: t(),
        operation: t(),
        app: t(),
        decision: t(),
        reason: Reason::NotPermitted,
        bindings: vec![t(), t()],
        status: Some(0),
    }
}

fn explain(text: &str, request_id: &str) -> ExplainView {
    let t = || text.to_owned();
    let stage = Stage {
        room: t(),
        outcome: Reason::NotPermitted,
        details: pairs(text),
    };
    ExplainView {
        is_anothers: false,
        request_id: request_id.to_owned(),
        method: t(),
        path: t(),
        app: t(),
        service: t(),
        mistake: Some(t()),
        found: Some(decision(text)),
        remembered_since: Some(t()),
        story: Some(Story {
            allowed: false,
            stages: vec![stage],
            advice: Some(t()),
        }),
    }
}

fn pages(text: &str) -> Vec<Page> {
    let t = || text.to_owned();
    vec![
        Page::Tree(tree(text)),
        Page::Tree(TreeView {
            rows: Vec::new(),
            ..tree(text)
        }),
        Page::App(Box::new(app(text))),
        Page::Explain(Box::new(explain(text, text))),
        Page::Explain(Box::new(explain(text, ""))),
        Page::Decisions(DecisionsView {
            app: t(),
            trail: pairs(text),
            rows: vec![decision(text)],
            remembered_since: Some(t()),
            search: None,
        }),
        Page::Decisions(DecisionsView {
            app: t(),
            trail: pairs(text),
            rows: Vec::new(),
            remembered_since: None,
            search: Some(Box::new(SearchView {
                request_id: t(),
                subject: t(),
                issuer: t(),
                operation: t(),
                decision: t(),
                reason: t(),
                status: t(),
                since: t(),
                until: t(),
                back_to: Some(t()),
                bytes: u64::MAX,
                is_whole: false,
                mistake: Some(t()),
            })),
        }),
        Page::SignedOut,
        Page::Fault(FaultView {
            status: 999,
            words: t(),
            advice: Some(t()),
            return_to: Some(t()),
        }),
    ]
}

#[test]
fn hostile_text_is_shown_and_does_nothing() {
    for text in texts() {
        for page in pages(&text) {
            let html = rendered(&frame(&text), &page);
            let at = || text.chars().take(40).collect::<String>();
            if let Err(fault) = check(&html) {
                panic!("{:?} in {page:.60?}: {fault}", at());
            }
            // What turns text round, or hides, is written out; only what a form was filled with goes back as it came.
            let shown = html
                .split("value=\"")
                .map(|part| part.split_once('"').map_or(part, |(_, rest)| rest));
            let hidden = shown
                .flat_map(str::chars)
                .find(|c| "\u{202e}\u{2066}\u{200b}\0\u{1b}".contains(*c));
            assert_eq!(hidden, None, "{:?} in {page:.60?}", at());
        }
    }
}

#[test]
fn sample_pages_keep_the_rules() {
    for (name, frame, page) in samples::all() {
        let html = rendered(&frame, &page);
        let tags = check(&html).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let scripts = tags.iter().filter(|tag| tag.name == "script").count();
        assert_eq!(
            scripts,
            if matches!(page, Page::Tree(_)) { 2 } else { 1 },
            "{name}"
        );
        assert!(
            tags.iter().any(|tag| tag.get("class") == Some("skip")),
            "{name}"
        );
        let logs_out = tags
            .iter()
            .any(|tag| tag.get("action") == Some("/.lightkeeper/logout"));
        assert_eq!(logs_out, frame.visitor.is_some(), "{name}");
        for cell in tags.iter().filter(|tag| tag.name == "td") {
            assert!(
                cell.get("data-label")
                    .is_some_and(|label| !label.is_empty()),
                "{name}: a cell without a label"
            );
        }
    }
}

#[test]
fn only_those_who_can_are_offered_it() {
    let mut frame = samples::frame();
    frame.visitor.as_mut().unwrap().csrf = None;
    let html = rendered(&frame, &Page::Tree(samples::tree()));
    assert!(
        !html.contains("/.lightkeeper/logout"),
        "no session, nothing to log out of"
    );
    let nowhere = Frame {
        can_log_in: false,
        ..samples::stranger()
    };
    for page in [
        Page::SignedOut,
        Page::Fault(samples::fault(401, "no credential", None)),
    ] {
        assert!(
            !rendered(&nowhere, &page).contains("/.lightkeeper/login"),
            "{page:?}"
        );
        assert!(
            rendered(&samples::stranger(), &page).contains("/.lightkeeper/login"),
            "{page:?}"
        );
    }
    let decisions = |view: AppView| {
        rendered(&samples::frame(), &Page::App(Box::new(view))).contains("/.lightkeeper/decisions/")
    };
    assert!(decisions(samples::app()) && !decisions(samples::bare_app()));
}

#[test]
fn a_login_comes_back_to_its_page() {
    let html = rendered(&samples::stranger(), &Page::Decisions(samples::decisions()));
    assert!(html.contains("/.lightkeeper/login?return_to=%2F.lightkeeper%2Fdecisions%2Fshop\""));
}
