//! The same for rules that look at all files together.

use super::super::HALVES;
use super::super::rules;
use super::super::structure::{self, Cycle, Repeat};
use super::check;

/// Scenario: some files, one rule over all. `want` as in `check`.
fn check_all(
    rule: impl Fn(&[(String, String)]) -> Vec<String>,
    files: &[(&str, &str)],
    want: &str,
) {
    let owned: Vec<(String, String)> = files
        .iter()
        .map(|(path, text)| (path.to_string(), text.to_string()))
        .collect();
    check(|_, _| rule(&owned), "src", &format!("{files:?}"), want);
}

#[test]
fn mints_bite() {
    let room = "src/identify/mod.rs";
    let good =
        "#[derive(Debug)]\npub struct Identity { a: u8 }\nimpl Identity { fn mint() -> Self {} }";
    for (files, want) in [
        (vec![(room, good)], ""),
        (
            vec![(room, "pub struct Identity;")],
            "`Identity` has 0 mints",
        ),
        (
            vec![(room, good), ("src/identify/a.rs", "fn mint() {}")],
            "`Identity` has 2 mints",
        ),
        (
            vec![(room, good), ("src/gateway/a.rs", "fn mint() {}")],
            "outside the rooms",
        ),
        (
            vec![
                (room, good),
                ("crates/testkit/src/issuer/mod.rs", "pub fn mint() {}"),
            ],
            "",
        ),
        (
            vec![
                (room, good),
                ("src/gateway/a.rs", "// fn mint\nfn minted() {}"),
            ],
            "",
        ),
        (
            vec![(
                room,
                "#[derive(Debug, Clone)]\npub struct Identity;\nfn mint() {}",
            )],
            "derives `Clone`",
        ),
        (
            vec![(room, "pub struct Identity;\npub fn mint() {}")],
            "is public",
        ),
        (
            vec![(
                room,
                "pub struct Identity;\nfn mint() {}\nimpl Clone for Identity {}",
            )],
            "implements `Clone`",
        ),
        (
            vec![
                ("src/audit/mod.rs", "pub struct Lease;"),
                ("src/vault/a.rs", "fn mint() {}"),
            ],
            "belongs in the room `vault`",
        ),
    ] {
        check_all(rules::mints, &files, want);
    }
}

#[test]
fn the_framework_bites() {
    let listed = ["src/gateway/phases.rs"];
    let named = (
        "src/gateway/phases.rs",
        "use pingora_proxy::{ProxyHttp, Session};",
    );
    for (files, want) in [
        (vec![named], ""),
        (
            vec![
                named,
                ("src/gateway/admit.rs", "use pingora_proxy::Session;"),
            ],
            "admit.rs:1: names pingora",
        ),
        (
            vec![named, ("src/audit/mod.rs", "\nuse pingora_core::Error;")],
            "src/audit/mod.rs:2: names pingora",
        ),
        (
            vec![named, ("src/accept/tls.rs", "use x::ProxyHttp;")],
            "names `ProxyHttp`",
        ),
        (
            vec![
                named,
                (
                    "src/audit/mod.rs",
                    "// as pingora does\n#[cfg(test)]\nmod tests { use pingora_core::A; }",
                ),
            ],
            "",
        ),
        (
            vec![("src/gateway/phases.rs", "")],
            "take it out of the list",
        ),
    ] {
        check_all(|files| structure::framework(files, &listed), &files, want);
    }
    let lines = [
        ("src/gateway/a.rs", "\n\n"),
        ("src/gateway/tests.rs", "\n\n\n"),
        ("src/cli/a.rs", "\n\n"),
    ];
    check_all(
        |files| structure::folder_lines(files, "src/gateway/", 2),
        &lines,
        "",
    );
    check_all(
        |files| structure::folder_lines(files, "src/gateway/", 1),
        &lines,
        "2 lines, 1 allowed",
    );
}

#[test]
fn ways_out_bite() {
    for (path, text, want) in [
        (
            "src/identify/fetch.rs",
            "\nuse hyper_util::client::legacy::Client;",
            "src/identify/fetch.rs:2: `hyper_util::client`: ask with",
        ),
        (
            "src/cli/web.rs",
            "use hyper_rustls::HttpsConnector;",
            "`hyper_rustls`",
        ),
        (
            "src/health.rs",
            "fn f() { tokio::net::TcpStream::connect(x) }",
            "`TcpStream::connect`",
        ),
        (
            "src/forward/webhook.rs",
            "use tokio_rustls::TlsConnector;",
            "`TlsConnector`",
        ),
        ("src/egress/a.rs", "use hyper_rustls::HttpsConnector;", ""),
        ("src/forward/pool.rs", "TcpStream::connect(x)", ""),
        (
            "src/a/b.rs",
            "// hyper_rustls\nuse hyper_util::rt::TokioIo;",
            "",
        ),
        ("src/a/tests/b.rs", "TcpStream::connect(x)", ""),
        (
            "src/a/b.rs",
            "#[cfg(test)]\nmod tests { fn f() { TcpStream::connect(x) } }",
            "",
        ),
    ] {
        check_all(
            |files| structure::ways_out(files, &["src/egress/", "src/forward/pool.rs"]),
            &[(path, text)],
            want,
        );
    }
}

#[test]
fn mutable_contexts_bite() {
    let changing = "fn f(a: u8, walk: &mut Walk) {}\nfn g(walk: &Walk) { h(&mut Walk) }\nfn h(&mut self, b: &mut Walker);";
    for (most, want) in [
        (1, ""),
        (0, "1 signatures change the context, 0 allowed: src/a.rs:1"),
        (2, "lower the number 2"),
    ] {
        check_all(
            |files| structure::mutable_contexts(files, &["Walk"], most),
            &[("src/a.rs", changing)],
            want,
        );
    }
    check_all(
        |files| structure::mutable_contexts(files, &["Walk"], 0),
        &[("src/a/tests.rs", changing)],
        "",
    );
}

#[test]
fn circles_bite() {
    let a_b = ("src/x/a.rs", "use super::b::B; struct A;");
    let b_a = ("src/x/b.rs", "use crate::x::a::A; struct B;");
    let gathered = (
        "src/x/mod.rs",
        "mod a; mod b; mod c; pub use a::A; pub use b::B; pub(crate) use self::c::{C as D};",
    );
    let own = (
        "src/x/mod.rs",
        "mod a; mod b; use a::A; pub struct X; fn f() { b::f() }",
    );
    for (files, want) in [
        // Two files of one folder are one idea; two of different folders, or three, are not.
        (vec![a_b, b_a, gathered], ""),
        (
            vec![
                a_b,
                ("src/x/b.rs", "use super::c::C;"),
                ("src/x/c.rs", "fn f() { super::a::f() }"),
            ],
            "a circle of 3 files",
        ),
        (
            vec![
                gathered,
                ("src/x/a.rs", "use crate::y::Y;"),
                ("src/y.rs", "use crate::x::A;"),
            ],
            "a circle of 2 files",
        ),
        // Through a name that `mod.rs` passes on, under whatever name it does, and through a module's own name.
        (
            vec![
                gathered,
                a_b,
                ("src/x/b.rs", "use super::D;"),
                ("src/x/c.rs", "use super::{A as Z, *};"),
            ],
            "a circle of 3",
        ),
        (
            vec![
                gathered,
                a_b,
                ("src/x/b.rs", "use super::c; fn f() { c::g() }"),
                ("src/x/c.rs", "use super::A;"),
            ],
            "of 3",
        ),
        (
            vec![
                gathered,
                a_b,
                ("src/x/b.rs", "use super::c; use super::{self};"),
                ("src/x/c.rs", "use super::A;"),
            ],
            "",
        ),
        (
            vec![
                gathered,
                a_b,
                ("src/x/b.rs", "use super::c; fn f() { c::c() }"),
                ("src/x/c.rs", "use super::A;"),
            ],
            "of 3",
        ),
        // A module is made of its children; what they use of it counts, and closes no circle by that alone.
        (
            vec![
                own,
                ("src/x/a.rs", "use super::X;"),
                ("src/x/b.rs", "use super::X; use super::a::A;"),
            ],
            "",
        ),
        // Neither tests nor words count.
        (
            vec![
                a_b,
                ("src/x/b.rs", "use super::c::C;"),
                (
                    "src/x/c.rs",
                    "// super::a::A\n#[cfg(test)]\nmod tests { use crate::x::a::A; }",
                ),
            ],
            "",
        ),
        (
            vec![
                a_b,
                ("src/x/b.rs", "use super::c::C;"),
                ("src/x/c/tests.rs", "use crate::x::a::A;"),
                ("src/x/c.rs", ""),
            ],
            "",
        ),
    ] {
        check_all(|files| structure::cycles(files, &[]), &files, want);
    }
    let reason = "one idea that takes three files to tell";
    let three = [
        a_b,
        ("src/x/b.rs", "use super::c::C;"),
        ("src/x/c.rs", "fn f() { super::a::f() }"),
    ];
    for (files, reason, want) in [
        (&["src/x/a.rs", "src/x/b.rs", "src/x/c.rs"][..], reason, ""),
        (&["src/x/a.rs", "src/x/b.rs"], reason, "a circle of 3 files"),
        (
            &["src/x/a.rs", "src/x/b.rs", "src/x/c.rs", "src/x/d.rs"],
            reason,
            "src/x/d.rs: is in no circle any more",
        ),
        (
            &["src/x/a.rs", "src/x/b.rs", "src/x/c.rs"],
            "big",
            "says no reason",
        ),
    ] {
        check_all(
            |all| structure::cycles(all, &[Cycle { files, reason }]),
            &three,
            want,
        );
    }
}

#[test]
fn type_names_bite() {
    let shown = ("src/a/x.rs", "pub(crate) struct Place { a: u8 }");
    let private = (
        "src/b.rs",
        "// struct Place\n#[derive(Debug)]\nenum Place { A }",
    );
    for (files, want) in [
        (
            vec![shown, private],
            "src/a/x.rs:1, src/b.rs:3: `Place` means several things",
        ),
        (vec![shown, ("src/b.rs", "type Place = u8;")], "`Place`"),
        (vec![shown, ("src/b.rs", "trait Place {}")], "`Place`"),
        // One room, only private ones, those of tests, and what stands within something else.
        (vec![shown, ("src/a/y.rs", "pub struct Place;")], ""),
        (vec![private, ("src/c.rs", "struct Place;")], ""),
        (
            vec![
                shown,
                ("src/b.rs", "#[cfg(test)]\nmod tests { struct Place; }"),
            ],
            "",
        ),
        (vec![shown, ("src/b/tests.rs", "struct Place;")], ""),
        (
            vec![
                shown,
                (
                    "src/b.rs",
                    "impl Iterator for A { type Place = u8; }\nfn f() { struct Place; }\nstruct Places;",
                ),
            ],
            "",
        ),
    ] {
        check_all(|files| structure::type_names(files, &[]), &files, want);
    }
    for (rooms, reason, want) in [
        (2, HALVES, ""),
        (3, HALVES, "`Place`: 2 rooms declare it; lower"),
        (2, "old", "with a reason"),
    ] {
        let allowed = [Repeat {
            name: "Place",
            rooms,
            reason,
        }];
        check_all(
            |files| structure::type_names(files, &allowed),
            &[shown, private],
            want,
        );
    }
}
