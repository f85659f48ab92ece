//! Bad sources for every rule, to show that it bites; good ones, to show that it bites nothing else.
//!
//! Rules that look at all files together are in `bites/together.rs`.

mod together;

use super::rules::{self, Allowance, Exemption};

/// Scenario: one source, one rule. `want` is a part of the only complaint, or empty for none.
fn check(rule: impl Fn(&str, &str) -> Vec<String>, path: &str, text: &str, want: &str) {
    let got = rule(path, text);
    match want {
        "" => assert!(got.is_empty(), "{path} {text:?}: {got:?}"),
        want => assert!(
            got.len() == 1 && got[0].contains(want),
            "{path} {text:?}: wanted {want:?}, got {got:?}"
        ),
    }
}

#[test]
fn stand_ins_bite() {
    for (path, text, want) in [
        (
            "crates/testkit/src/issuer/mod.rs",
            "use lightkeeper::clock::Clock;",
            "",
        ),
        (
            "crates/testkit/src/issuer/mod.rs",
            "use lightkeeper::identify::Identity;",
            "names `identify`",
        ),
        (
            "crates/testkit/src/calls.rs",
            "fn f() { lightkeeper::gateway::Gateway::new() }",
            "calls.rs:1",
        ),
        (
            "crates/testkit/src/world.rs",
            "use lightkeeper::gateway::Gateway;",
            "",
        ),
        (
            "crates/demo/src/story/mod.rs",
            "use lightkeeper::cli::load;",
            "",
        ),
        (
            "crates/testkit/src/calls.rs",
            "// lightkeeper::gateway\nlet a = \"lightkeeper::gateway\";",
            "",
        ),
    ] {
        check(rules::stand_ins, path, text, want);
    }
}

#[test]
fn backends_words_bite() {
    let words = rules::BackendWords {
        anywhere: vec!["acme".to_owned(), "x-acme-org".to_owned()],
        paths: vec![
            "/public".to_owned(),
            "v0.2".to_owned(),
            "/metrics".to_owned(),
        ],
    };
    let allowed = [Allowance {
        file: "src/admin.rs",
        word: "/metrics",
        times: 1,
        reason: "the gateway's own page of numbers",
    }];
    for (path, text, want) in [
        (
            "src/forward/head.rs",
            "const A: &str = \"x-acme-org\";",
            "head.rs:1: `acme`",
        ),
        (
            "src/config/a.rs",
            "\n\nlet hint = \"like https://api.ACME.com\";",
            "a.rs:3",
        ),
        ("src/accept/a.rs", "match x { [\"v0.2\"] => {} }", "`v0.2`"),
        (
            "src/accept/a.rs",
            "path.starts_with(\"/public/\")",
            "`/public`",
        ),
        ("src/accept/a.rs", "let a = r#\"/public/x\"#;", "`/public`"),
        (
            "src/accept/a.rs",
            "\"/publications\"; \"v0.20\"; \"to the public\";",
            "",
        ),
        ("src/accept/a.rs", "// \"/public\" of acme\nfn f() {}", ""),
        ("src/accept/a.rs", "use crate::acme::Format;", ""),
        (
            "src/accept/a.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests { const A: &str = \"acme\"; }",
            "",
        ),
        (
            "src/accept/a.rs",
            "#[cfg(test)]\nmod tests { fn f() {} }\nconst A: &str = \"acme\";",
            "a.rs:3",
        ),
        ("src/accept/tests.rs", "\"acme\"", ""),
        ("src/profiles/mod.rs", "let a = \"acme\";", ""),
        ("src/lightstep/mod.rs", "let a = \"acme\";", ""),
        ("src/admin.rs", "let a = \"/metrics\";", ""),
        (
            "src/admin.rs",
            "let a = (\"/metrics\", \"/metrics\");",
            "`/metrics`",
        ),
        ("src/admin.rs", "", "more than needed"),
    ] {
        check(
            |path, text| rules::backends_words(path, text, &words, &allowed),
            path,
            text,
            want,
        );
    }
}

#[test]
fn imports_bite() {
    for (path, text, want) in [
        (
            "src/apps.rs",
            "use crate::otlp::Signal;",
            "`apps` imports `otlp`",
        ),
        ("src/accept/call.rs", "use crate::apps::AppPath;", ""),
        ("src/accept/call.rs", "use crate::accept::Caller;", ""),
        (
            "src/accept/mod.rs",
            "\n\nfn f(i: &crate::identify::Identity) {}",
            "src/accept/mod.rs:3",
        ),
        (
            "src/identify/a.rs",
            "use crate::{apps::{A, B}, config::Raw, secret};",
            "`identify` imports `config`",
        ),
        (
            "src/identify/a.rs",
            "use crate :: { apps , secret :: { A } };",
            "",
        ),
        (
            "src/vault/a.rs",
            "// use crate::gateway::X;\n/* crate::cli */ /// crate::config\n",
            "",
        ),
        ("src/vault/a.rs", r#"const A: &str = "crate::gateway";"#, ""),
        (
            "src/vault/a.rs",
            r##"const A: &str = r#"" crate::gateway "#;"##,
            "",
        ),
        (
            "src/vault/a.rs",
            "const Q: char = '\"'; use crate::gateway::X; const R: char = '\"';",
            "imports `gateway`",
        ),
        (
            "src/vault/a.rs",
            "fn f<'a>(x: &'a str) { crate::cli::run(x) }",
            "imports `cli`",
        ),
        (
            "src/vault/a.rs",
            "#[cfg(test)]\nmod tests { use crate::gateway::X; fn f() {} }\n",
            "",
        ),
        (
            "src/vault/a.rs",
            "#[cfg(test)]\nuse crate::gateway::X;\nuse crate::admin::Y;",
            "imports `admin`",
        ),
        (
            "src/vault/a.rs",
            "use crate::helpers::X;",
            "no module of the order",
        ),
        ("src/helpers.rs", "", "no place in the order"),
        (
            "src/vault/a.rs",
            "use super::super::gateway::X;",
            "reaches the crate's root",
        ),
        (
            "src/vault/mod.rs",
            "use super::gateway::X;",
            "reaches the crate's root",
        ),
        ("src/vault/a.rs", "use super::Lease;", ""),
        ("src/lib.rs", "pub use crate::cli::X;", ""),
    ] {
        check(rules::imports, path, text, want);
    }
}

#[test]
fn declarations_bite() {
    for (text, want) in [
        (
            "pub mod apps;\npub mod clock;\npub mod accept;\npub mod audit;\npub mod cli;",
            "",
        ),
        ("pub mod accept;\npub mod clock;", "`clock` stands below"),
        ("pub mod utils;", "no place in the order"),
        ("// pub mod utils;", ""),
    ] {
        check(rules::declarations, "src/lib.rs", text, want);
    }
}

#[test]
fn headers_bite() {
    for (path, text, want) in [
        (
            "src/apps.rs",
            "//! Reads heads. Refuses to know who asks.\n",
            "",
        ),
        (
            "src/apps.rs",
            "//! Reads heads, in `a.b` form.\n//!\n//! Knows nobody.\nuse x;",
            "",
        ),
        ("src/apps.rs", "//! Reads heads.\n", "two sentences"),
        (
            "src/apps.rs",
            "// Reads heads. Knows nobody.\n",
            "two sentences",
        ),
        (
            "src/apps.rs",
            "use x;\n//! Reads heads. Knows nobody.\n",
            "two sentences",
        ),
        ("src/apps.rs", "", "two sentences"),
        ("tests/a.rs", "//! Exports while the issuer is away.\n", ""),
        ("tests/a.rs", "//! exports\n", "its scenario"),
    ] {
        check(rules::header, path, text, want);
    }
}

#[test]
fn lengths_bite() {
    let exempt = |what, lines| {
        vec![Exemption {
            what,
            lines,
            reason: "one table, read from top to bottom",
        }]
    };
    let file = |lines: usize| "\n".repeat(lines);
    for (lines, exemptions, want) in [
        (800, vec![], ""),
        (801, vec![], "801 lines, 800 allowed"),
        (900, exempt("src/a.rs", 900), ""),
        (900, exempt("src/b.rs", 900), "900 lines, 800 allowed"),
        (901, exempt("src/a.rs", 900), "may only shrink"),
        (850, exempt("src/a.rs", 900), "lower the exemption"),
        (700, exempt("src/a.rs", 900), "take it out"),
        (
            900,
            vec![Exemption {
                what: "src/a.rs",
                lines: 900,
                reason: "big",
            }],
            "says no reason",
        ),
    ] {
        check(
            |path, text| rules::file_length(path, text, &exemptions),
            "src/a.rs",
            &file(lines),
            want,
        );
    }
    let function = |lines: usize| {
        format!(
            "const X: fn(u8) = f;\nfn f(x: [u8; 3]) {{{}}}\n",
            "\n".repeat(lines - 1)
        )
    };
    for (text, exemptions, want) in [
        (function(150), vec![], ""),
        (function(151), vec![], "src/a.rs:2: `f`: 151 lines"),
        (function(151), exempt("src/a.rs::f", 151), ""),
        (
            format!("#[cfg(test)] mod tests {{ {} }}", function(300)),
            vec![],
            "",
        ),
        (
            format!(
                "trait T {{ fn a(&self);\n{}fn b(&self); }}",
                "\n".repeat(300)
            ),
            vec![],
            "",
        ),
    ] {
        check(
            |path, text| rules::function_length(path, text, &exemptions),
            "src/a.rs",
            &text,
            want,
        );
    }
    assert_eq!(
        rules::stale(&exempt("src/a.rs::f", 1), &["src/b.rs".to_owned()]).len(),
        1
    );
    assert_eq!(
        rules::stale(&exempt("src/a.rs::f", 1), &["src/a.rs".to_owned()]).len(),
        0
    );
}

#[test]
fn the_clock_bites() {
    for (path, text, want) in [
        (
            "src/audit/mod.rs",
            "let t = std::time::SystemTime::now();",
            "take a `clock::Clock`",
        ),
        (
            "src/audit/mod.rs",
            "let t = OffsetDateTime::now_utc();",
            "take a `clock::Clock`",
        ),
        (
            "src/audit/mod.rs",
            "// SystemTime::now\nlet t = Instant::now();",
            "",
        ),
        ("src/clock.rs", "SystemTime::now()", ""),
    ] {
        check(rules::clock, path, text, want);
    }
}

#[test]
fn test_words_bite() {
    let allowed = [Allowance {
        file: "tests/a.rs",
        word: "sleep",
        times: 1,
        reason: "shows a slow client on purpose",
    }];
    let rule = |path: &str, text: &str| rules::test_words(path, text, &allowed);
    for (path, text, want) in [
        ("tests/b.rs", "thread::sleep(x);", "wait for the event"),
        ("tests/a.rs", "thread::sleep(x);", ""),
        ("tests/a.rs", "sleep(x); sleep(y);", "wait for the event"),
        ("tests/a.rs", "", "more than needed"),
        ("src/a/b.rs", "async fn slow() { sleep(x).await }", ""),
        (
            "src/a/b.rs",
            "#[cfg(test)] mod tests { fn f() { tokio::time::sleep(x) } }",
            "wait for the event",
        ),
        (
            "src/a/tests.rs",
            "tokio::time::sleep(x)",
            "wait for the event",
        ),
        ("tests/b.rs", "#[test]\n#[ignore]\nfn f() {}", "not run"),
        (
            "tests/b.rs",
            "#[test]\n#[ignore = \"slow\"]\nfn f() {}",
            "not run",
        ),
        (
            "tests/b.rs",
            "#[test]\n#[should_panic]\nfn f() {}",
            "never panics",
        ),
        ("tests/b.rs", "todo!()", "what is missing"),
        (
            "tests/b.rs",
            "let folder = std::env::temp_dir().join(\"a\");",
            "`tempfile` makes",
        ),
        (
            "tests/b.rs",
            "if std::env::var_os(\"LIGHTKEEPER_BLESS\").is_some() {}",
            "`testkit::golden`",
        ),
        (
            "tests/b.rs",
            "std::env::set_current_dir(folder)",
            "other tests run",
        ),
        (
            "tests/b.rs",
            "drop(std::panic::take_hook())",
            "other tests run",
        ),
        ("src/a/b.rs", "fn f() { std::env::var_os(\"HOME\") }", ""),
        ("src/a/b.rs", "fn f() { todo!() }", "committed"),
        ("tests/b.rs", "fn sleepy() { /* sleep */ }", ""),
    ] {
        check(rule, path, text, want);
    }
}

#[test]
fn machine_paths_bite() {
    // Built here, so that this file names none itself.
    let folder = |name: &str| format!("/{name}");
    for (text, want) in [
        (format!("cd {}/main", folder("work")), "README.md:1"),
        (format!("\n\"{}/.cargo\"", folder("root")), "README.md:2"),
        (format!("`{}/me`", folder("home")), "README.md:1"),
        (format!("cd {}", folder("root")), "README.md:1"),
        (
            "/workload /rooted src/home/x https://x.example/home/ {prefix}/root/".to_owned(),
            "",
        ),
        ("dir/work a-/root".to_owned(), ""),
    ] {
        check(rules::machine_paths, "README.md", &text, want);
    }
    assert_eq!(rules::bytes("a", 512 << 10).len(), 0);
    assert_eq!(rules::bytes("a", (512 << 10) + 1).len(), 1);
}

#[test]
fn text_errors_bite() {
    let allowed = [Allowance {
        file: "src/admin.rs",
        word: "String",
        times: 1,
        reason: "a value of another program's answer",
    }];
    let rule = |path: &str, text: &str| rules::text_errors(path, text, &allowed);
    for (text, want) in [
        ("fn f() -> Result<u8, String> {}", "a.rs:1: `String`"),
        ("\nfn f() -> io::Result<(), Vec<String>> {}", "a.rs:2"),
        ("dyn Fn() -> Result<\n  (u8, u8),\n  String,\n>", "`String`"),
        ("b.collect::<Result<_, String>>();", "`String`"),
        ("Result<fn(u8) -> u8, String>;", "`String`"),
        ("Result<Result<u8, String>, Fault>;", "`String`"),
        ("-> Result<Map<u8, String>, Fault> {}", ""),
        ("-> Result<String> {} // Result<u8, String>", ""),
        (
            "#[cfg(test)]\nmod a { fn f() -> Result<u8, String> {} }",
            "",
        ),
    ] {
        check(rule, "src/vault/a.rs", text, want);
    }
    let one = "fn f() -> Result<u8, String> {}";
    for path in ["src/vault/tests.rs", "crates/demo/src/a.rs", "src/admin.rs"] {
        check(rule, path, one, "");
    }
    check(rule, "src/admin.rs", &format!("{one}\n{one}"), "admin.rs:2");
    check(rule, "src/admin.rs", "", "more than needed");
}

#[test]
fn packages_bite() {
    let lock = "[[package]]\nname = \"a\"\n\n[[package]]\nname = \"[[package]]\"\n";
    assert!(rules::packages(lock, 2).is_empty());
    for known in [1, 3] {
        let complaints = rules::packages(lock, known);
        assert!(
            complaints[0].contains("Cargo.lock: 2 packages"),
            "{complaints:?}"
        );
    }
}

#[test]
fn comment_words_bite() {
    for (text, want) in [
        ("/// Refuses whoever waits.\nfn f() {}", "a.rs:1: `whoever`"),
        ("fn f() {} // x\n// Nobody's.", "a.rs:2: `nobody`"),
        ("/* for\n whom */", "a.rs:2: `whom`"),
        ("let a = \"// nobody\"; const NOBODY: u8 = 0;", ""),
        ("// nobodys", ""),
    ] {
        check(rules::comment_words, "src/a.rs", text, want);
    }
    for (path, text, want) in [
        (
            "src/a.rs",
            "let a = \"ask\n whoever\";",
            "src/a.rs:2: `whoever`",
        ),
        (
            "src/a.rs",
            "let a = r#\"Nobody's\"#;",
            "src/a.rs:1: `nobody`",
        ),
        ("src/a.rs", "// nobody\nlet nobody = \"nobodys\";", ""),
        (
            "src/a.rs",
            "#[cfg(test)]\nmod tests { const A: &str = \"nobody\"; }",
            "",
        ),
        ("src/a/tests/b.rs", "let a = \"nobody\";", ""),
    ] {
        check(rules::literal_words, path, text, want);
    }
    for (text, want) in [
        ("# A\n\nWhoever asks.", "a.md:3: `whoever`"),
        ("| a | somebody's |", "a.md:1: `somebody`"),
        ("```yaml\na: {} # nobody\n```", "a.md:2: `nobody`"),
        ("# Of whom", "a.md:1: `whom`"),
        ("whichever caller, whoms, no-one", ""),
    ] {
        check(rules::page_words, "docs/a.md", text, want);
    }
}

#[test]
fn reasons_bite() {
    let allowed = [Allowance {
        file: "src/a/c.rs",
        word: "over_quota",
        times: 1,
        reason: "the name of a setting",
    }];
    let rule = |path: &str, text: &str| rules::reasons(path, text, &["over_quota"], &allowed);
    for (path, text, want) in [
        (
            "src/a/b.rs",
            "let r = \"over_quota\";",
            "src/a/b.rs:1: `over_quota` as text",
        ),
        (
            "src/a/b.rs",
            "let r = \"over_quota: x\"; // \"over_quota\"",
            "",
        ),
        (
            "src/a/b.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests { const A: &str = \"over_quota\"; }",
            "",
        ),
        (
            "src/a/b.rs",
            "#[cfg(test)]\nmod tests { fn f() {} }\nconst A: &str = \"over_quota\";",
            "b.rs:3",
        ),
        ("src/a/c.rs", "let r = \"over_quota\";", ""),
        ("src/a/c.rs", "", "more than needed"),
        ("src/reason/table.rs", "\"over_quota\"", ""),
        ("src/a/tests.rs", "\"over_quota\"", ""),
        ("tests/a.rs", "\"over_quota\"", ""),
        (
            "src/a/b.rs",
            "struct A { reason: &'static str }",
            "a reason as text",
        ),
        ("src/a/b.rs", "fn f(reason: &str) {}", "a reason as text"),
        (
            "src/a/b.rs",
            "fn reason(self) -> &'static str {}",
            "a reason as text",
        ),
        ("src/a/b.rs", "fn f(reason: &Reason) {}", ""),
        (
            "src/a/b.rs",
            "if refusal.reason.code().starts_with(\"upstream_\") {}",
            "logic on a code's text",
        ),
        (
            "src/a/b.rs",
            "if refusal.reason.code() == text {}",
            "a reason as text",
        ),
    ] {
        check(rule, path, text, want);
    }
}
