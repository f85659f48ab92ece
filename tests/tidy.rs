//! Holds the rules of the code that the compiler does not: import order, module headers, sizes, mints,
//! the clock, the words of tests, and what may be committed.
//!
//! The rules are in `tidy/rules.rs` (one file) and `tidy/structure.rs` (all files together), the reading of Rust as text in `tidy/source.rs`; this file walks the
//! repository and keeps the exemptions, and `tidy/bites.rs` feeds bad sources to every rule to show that it bites.
//! Invariant: an exemption carries its reason, and its number may only be lowered.

#![expect(clippy::string_slice, reason = "test code")]

mod bites;
mod rules;
mod source;
mod structure;

use std::process::Command;

use lightkeeper::lightstep;
use lightkeeper::profiles::Profile;
use lightkeeper::reason::Reason;
use rules::{Allowance, Exemption};
use structure::{Cycle, Repeat};

/// Rust files above 800 lines. May only shrink.
const LONG_FILES: &[Exemption] = &[];

/// Functions of the product above 150 lines. May only shrink.
const LONG_FUNCTIONS: &[Exemption] = &[];

/// Words that a test may use after all. May only shrink.
const TEST_WORDS: &[Allowance] = &[];

const EVENT: &str = "the name of the event, not its reason";
const SETTING: &str = "the name of a setting of the configuration";
const MEMBER: &str = "a member of the token endpoint's answer (RFC 6749 section 5.1)";

/// Words that are a reason's code, and mean something else there. May only shrink.
const REASON_WORDS: &[Allowance] = &[
    Allowance {
        file: "src/identify/kind.rs",
        word: "token_type",
        times: 1,
        reason: "a member of an introspection's answer (RFC 7662 section 2.2)",
    },
    Allowance {
        file: "src/telemetry/events.rs",
        word: "accept_failed",
        times: 1,
        reason: EVENT,
    },
    Allowance {
        file: "src/telemetry/events.rs",
        word: "handshake_failed",
        times: 1,
        reason: EVENT,
    },
    Allowance {
        file: "src/telemetry/events.rs",
        word: "upstream_page",
        times: 1,
        reason: EVENT,
    },
    Allowance {
        file: "src/config/limits.rs",
        word: "handshake_timeout",
        times: 1,
        reason: SETTING,
    },
    Allowance {
        file: "src/config/limits.rs",
        word: "body_timeout",
        times: 1,
        reason: SETTING,
    },
    Allowance {
        file: "src/identify/login/provider.rs",
        word: "token_type",
        times: 1,
        reason: MEMBER,
    },
    Allowance {
        file: "src/identify/login/flow.rs",
        word: "token_type",
        times: 1,
        reason: MEMBER,
    },
];

/// Every file that is or would be committed, with its text if it is one, and its length in bytes.
fn committed() -> Vec<(String, Option<String>, u64)> {
    let top = testkit::top();
    let listing = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(top)
        .output()
        .expect("git is needed to list what is committed");
    assert!(
        listing.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&listing.stderr)
    );
    let names = String::from_utf8(listing.stdout).expect("file names are UTF-8");
    names
        .split('\0')
        .filter(|name| !name.is_empty())
        .filter_map(|name| {
            let bytes = std::fs::read(top.join(name)).ok()?; // a file that is deleted but not yet committed
            let length = bytes.len() as u64;
            Some((name.to_owned(), String::from_utf8(bytes).ok(), length))
        })
        .collect()
}

fn rust_files() -> Vec<(String, String)> {
    let rust = committed()
        .into_iter()
        .filter(|(path, _, _)| path.ends_with(".rs"));
    let files: Vec<_> = rust
        .filter_map(|(path, text, _)| Some((path, text?)))
        .collect();
    assert!(files.len() > 10, "found only {} Rust files", files.len());
    files
}

fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn each(rule: impl Fn(&str, &str) -> Vec<String>, only: &str) {
    none(
        rust_files()
            .iter()
            .filter(|(path, _)| path.starts_with(only))
            .flat_map(|(p, t)| rule(p, t))
            .collect(),
    );
}

#[test]
fn modules_import_only_to_their_left() {
    each(rules::imports, "src/");
}

#[test]
fn the_library_lists_its_modules_in_order() {
    each(rules::declarations, "src/lib.rs");
}

#[test]
fn the_map_tells_the_order() {
    let words = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let map = std::fs::read_to_string(testkit::top().join("ARCHITECTURE.md")).unwrap();
    let block = map
        .split("```text\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("a block with the order");
    assert_eq!(
        words(block),
        words(rules::ORDER),
        "ARCHITECTURE.md and tests/tidy/rules.rs differ"
    );
}

#[test]
fn files_open_with_what_they_do() {
    each(rules::header, "src/");
    each(rules::header, "crates/");
    each(rules::header, "tests/");
    each(rules::header, "benches/");
}

#[test]
fn files_and_functions_are_short() {
    each(|path, text| rules::file_length(path, text, LONG_FILES), "");
    each(
        |path, text| rules::function_length(path, text, LONG_FUNCTIONS),
        "src/",
    );
    each(
        |path, text| rules::function_length(path, text, LONG_FUNCTIONS),
        "crates/",
    );
    let paths: Vec<String> = rust_files().into_iter().map(|(path, _)| path).collect();
    none(rules::stale(LONG_FILES, &paths));
    none(rules::stale(LONG_FUNCTIONS, &paths));
}

#[test]
fn one_file_reads_the_clock() {
    each(rules::clock, "");
}

#[test]
fn tests_wait_for_events_and_are_all_run() {
    each(|path, text| rules::test_words(path, text, TEST_WORDS), "");
}

#[test]
fn committed_files_are_small_and_name_no_machine() {
    let mut complaints = Vec::new();
    for (path, text, length) in committed() {
        complaints.extend(rules::bytes(&path, length));
        complaints.extend(
            text.iter()
                .flat_map(|text| rules::machine_paths(&path, text)),
        );
    }
    none(complaints);
}

#[test]
fn powers_have_one_mint() {
    none(rules::mints(&rust_files()));
}

#[test]
fn stand_ins_know_no_room() {
    each(rules::stand_ins, "crates/");
}

/// Where the framework is named. May only shrink.
const FRAMEWORK: &[&str] = &[
    "src/accept/stream.rs",
    "src/call/exchange.rs",
    "src/gateway/phases.rs",
    "src/gateway/serve.rs",
];

/// Who makes connections: the client of our own calls, and the pool of what is forwarded.
const WAYS_OUT: &[&str] = &[
    "src/egress/",
    "src/forward/pool.rs",
    "src/workload_api/stream.rs",
];

#[test]
fn own_calls_have_one_client() {
    none(structure::ways_out(&rust_files(), WAYS_OUT));
}

/// Packages in `Cargo.lock`. May only be lowered, or raised together with the reason why a new one is worth it:
/// `const-hex` is of opentelemetry-proto's JSON, the oracle of the transcoder's tests alone; 32 of them are
/// AWS's own search for credentials and its signer (`docs/decisions/6-…`), which the image leaves out; `stats_alloc` counts what
/// is held, in a bench; seven are Cloudflare's reader of transparency logs and what it brings, the second oracle of the trail in tests.
const PACKAGES: usize = 499;

#[test]
fn dependencies_are_counted() {
    let lock = std::fs::read_to_string(testkit::top().join("Cargo.lock")).unwrap();
    none(rules::packages(&lock, PACKAGES));
}

/// Lines of `src/gateway`. May only be lowered, to 1,000.
const GATEWAY_LINES: usize = 1000;

/// Signatures through which a request's context can be changed. May only be lowered.
const MUTABLE_CONTEXTS: usize = 5;

/// The names of that context.
const CONTEXTS: &[&str] = &["RequestContext", "RecordBuilder"];

#[test]
fn the_framework_stays_at_the_edge() {
    let files = rust_files();
    none(structure::framework(&files, FRAMEWORK));
    none(structure::folder_lines(
        &files,
        "src/gateway/",
        GATEWAY_LINES,
    ));
    none(structure::mutable_contexts(
        &files,
        CONTEXTS,
        MUTABLE_CONTEXTS,
    ));
}

/// Circles of files. May only shrink.
const CYCLES: &[Cycle] = &[];

#[test]
fn imports_make_no_circles() {
    none(structure::cycles(&rust_files(), CYCLES));
}

const FOLDERS_OWN: &str = "a reader of one wire format, which no file outside its folder can name";
const HALVES: &str = "seen in one call only, and named with its module where both could be meant";

/// Names that types of several rooms share. May only shrink.
const REPEATS: &[Repeat] = &[
    Repeat {
        name: "Asked",
        rooms: 2,
        reason: HALVES,
    },
    Repeat {
        name: "Caller",
        rooms: 2,
        reason: "the unproven caller of a head, and the proven one of a finished call",
    },
    Repeat {
        name: "Cursor",
        rooms: 2,
        reason: FOLDERS_OWN,
    },
    Repeat {
        name: "Field",
        rooms: 2,
        reason: FOLDERS_OWN,
    },
    Repeat {
        name: "Finished",
        rooms: 2,
        reason: "a login that ended well, and a call's words for the log",
    },
    Repeat {
        name: "LogFormat",
        rooms: 2,
        reason: "the setting, and what a cupboard takes that knows no configuration",
    },
    Repeat {
        name: "Mark",
        rooms: 2,
        reason: "a resource's mark by its attributes, and privately a file's on the disk",
    },
    Repeat {
        name: "Node",
        rooms: 2,
        reason: "a node of the tree of apps, and one of a document's: both trees' own word",
    },
    Repeat {
        name: "Outcome",
        rooms: 3,
        reason: "an alias of a room for its own kind of result",
    },
    Repeat {
        name: "Owner",
        rooms: 2,
        reason: "the app that owns a resource, and the place that a credential belongs to",
    },
    Repeat {
        name: "Pieces",
        rooms: 2,
        reason: "slices of a body as they are written, and the same on their way out",
    },
    Repeat {
        name: "Stage",
        rooms: 2,
        reason: "a stage of stopping, and one of a call's story on a page",
    },
    Repeat {
        name: "Target",
        rooms: 2,
        reason: "what an operation is decided on, and one project of a fan-out",
    },
    Repeat {
        name: "Whole",
        rooms: 2,
        reason: "a body in memory, and privately a merged answer",
    },
];

#[test]
fn a_types_name_means_one_thing() {
    none(structure::type_names(&rust_files(), REPEATS));
}

#[test]
fn comments_say_who() {
    for folder in ["src/", "crates/", "tests/", "benches/"] {
        each(rules::comment_words, folder);
    }
}

#[test]
fn what_the_product_tells_says_who() {
    for folder in ["src/", "crates/"] {
        each(rules::literal_words, folder);
    }
}

#[test]
fn pages_say_who() {
    let pages = committed().into_iter();
    let pages = pages.filter(|(path, _, _)| path.ends_with(".md"));
    let read = pages.filter_map(|(path, text, _)| Some((path, text?)));
    let read: Vec<_> = read.collect();
    assert!(read.len() > 10, "found only {} pages", read.len());
    none(
        read.iter()
            .flat_map(|(path, text)| rules::page_words(path, text))
            .collect(),
    );
}

#[test]
fn reasons_are_values() {
    let codes: Vec<&str> = Reason::ALL
        .iter()
        .map(|reason| reason.code())
        .filter(|code| code.contains('_'))
        .collect();
    each(
        |path, text| rules::reasons(path, text, &codes, REASON_WORDS),
        "src/",
    );
    let paths: Vec<String> = rust_files().into_iter().map(|(path, _)| path).collect();
    none(
        REASON_WORDS
            .iter()
            .filter(|a| !paths.iter().any(|path| path == a.file))
            .map(|a| a.file.to_owned())
            .collect(),
    );
}

const LINES: &str = "an operator's lines: the diagnostics of documents, which are data";

/// Where an error is a text after all. May only shrink.
const TEXT_ERRORS: &[Allowance] = &[
    Allowance {
        file: "src/cli/developer/loopback.rs",
        word: "String",
        times: 1,
        reason: "the provider's `error`, a value of its answer (RFC 6749 section 4.1.2.1)",
    },
    Allowance {
        file: "src/cli/developer/provider.rs",
        word: "String",
        times: 1,
        reason: "what `NonceVerifier` of `openidconnect` returns",
    },
    Allowance {
        file: "src/cli/plan.rs",
        word: "Vec<String>",
        times: 1,
        reason: LINES,
    },
    Allowance {
        file: "src/gateway/serve.rs",
        word: "Vec<String>",
        times: 3,
        reason: LINES,
    },
];

#[test]
fn errors_are_types() {
    each(
        |path, text| rules::text_errors(path, text, TEXT_ERRORS),
        "src/",
    );
    let paths: Vec<String> = rust_files().into_iter().map(|(path, _)| path).collect();
    none(
        TEXT_ERRORS
            .iter()
            .filter(|a| !paths.iter().any(|path| path == a.file))
            .map(|a| a.file.to_owned())
            .collect(),
    );
}

/// Where a backend's word may stand after all. May only shrink.
const BACKENDS_WORDS: &[Allowance] = &[
    Allowance {
        file: "src/accept/assertion.rs",
        word: "lightstep",
        times: 2,
        reason: "prefixes of names that no assertion may take, whatever is served",
    },
    Allowance {
        file: "src/admin.rs",
        word: "/metrics",
        times: 1,
        reason: "Prometheus' path on our own admin port; a legacy path of the backend is spelled alike",
    },
    Allowance {
        file: "src/cli/developer/connect.rs",
        word: "lightstep",
        times: 1,
        reason: "the names of tools and their variables (Terraform, Grafana), printed for people to paste",
    },
    Allowance {
        file: "src/config/vault.rs",
        word: "lightstep",
        times: 1,
        reason: "an example of a variable's name in a hint",
    },
    Allowance {
        file: "src/console/pages/snippets.rs",
        word: "lightstep",
        times: 1,
        reason: "Terraform's provider by its registry's name, in text to paste",
    },
];

#[test]
fn backends_words_stand_in_profiles() {
    let mut words = rules::BackendWords {
        anywhere: Vec::new(),
        paths: Vec::new(),
    };
    let firehose = [
        lightstep::FIREHOSE_KEY,
        lightstep::FIREHOSE_REQUEST,
        lightstep::FIREHOSE_VERSION,
    ];
    words.anywhere.extend(firehose.map(|name| name.to_string()));
    // `otlp` is the protocol's word, and its paths are the specification's.
    for profile in Profile::built_in().filter(|profile| profile.has_query()) {
        words.anywhere.push(profile.name.clone());
        let headers = [&profile.tenant_header, &profile.access_token_header];
        let names = headers.into_iter().flatten().map(ToString::to_string);
        words.anywhere.extend(names);
        words
            .paths
            .extend(profile.query_prefix.split('/').skip(1).map(str::to_owned));
        words.paths.push(format!("/{}", profile.query_root()));
        words
            .paths
            .extend(profile.legacy_reports().iter().map(|row| row.path.clone()));
    }
    each(
        |path, text| rules::backends_words(path, text, &words, BACKENDS_WORDS),
        "src/",
    );
}
