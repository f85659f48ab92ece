//! Holds the documentation to the code: every reason code is documented, nothing else is, and the statuses
//! are those that are sent.
//!
//! Codes that have a list of their own are taken from it; the others are read out of the rooms' sources, so
//! that a new one cannot be forgotten.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot be set up has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use lightkeeper::authorize::{Denial, DenialReason};
use lightkeeper::config;
use lightkeeper::identify::{LoginFault, Reason, Rejection};
use lightkeeper::respond::Refusal;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn is_code(word: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    word.starts_with(|first: char| first.is_ascii_lowercase()) && word.bytes().all(allowed)
}

/// The text up to the closing quote, if a code starts here.
fn quoted(text: &str) -> Option<&str> {
    text.trim_start().strip_prefix('"')?.split('"').next().filter(|word| is_code(word))
}

/// Every code that follows one of these texts in a source.
fn after<'t>(source: &'t str, texts: &[&str]) -> Vec<&'t str> {
    texts.iter().flat_map(|text| source.split(text).skip(1).filter_map(quoted)).collect()
}

/// The rooms' sources without their tests.
fn sources() -> Vec<(String, String)> {
    let mut folders = vec![root().join("src")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            if path.is_dir() && !["src/demo", "src/config", "src/document"].contains(&name.as_str()) {
                folders.push(path);
            } else if name.ends_with(".rs") && !name.ends_with("/tests.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((name, text.split("#[cfg(test)]").next().unwrap().to_owned()));
            }
        }
    }
    found
}

/// Every reason code that the product can write.
fn codes() -> BTreeSet<String> {
    let mut codes: BTreeSet<String> = BTreeSet::new();
    codes.extend(Reason::ALL.iter().map(|reason| reason.code().to_owned()));
    codes.extend(LoginFault::ALL.iter().map(|fault| fault.code().to_owned()));
    codes.extend(DenialReason::ALL.iter().map(|reason| reason.code().to_owned()));
    for (path, source) in sources() {
        let mut found = Vec::new();
        for call in source.split("Refusal::new(").skip(1) {
            found.extend(call.split_once(',').and_then(|(_, rest)| quoted(rest)));
        }
        if source.contains("fn reason(self) -> &'static str") {
            found.extend(after(&source, &["=> "]));
        }
        match path.as_str() {
            "src/accept/edge.rs" | "src/accept/census.rs" => {
                found.extend(after(&source, &["=> ", "return Err(", "failed(", "refused(peer, "]));
            }
            "src/accept/frames.rs" => found.extend(after(&source, &["=> Some("])),
            "src/gateway/walk.rs" => found.extend(after(&source, &["(None, Some(_)) => ", "(None, None) => "])),
            "src/gateway/explaining.rs" => found.extend(after(&source, &["\"reason\": ", "Judged::Nothing("])),
            "src/gateway/serve.rs" => {
                found.extend(after(&source, &["reason: ", "AcceptFailed { detail } => (\"accept_failed\", "]))
            }
            _ => {}
        }
        for call in source.split(".event(").skip(1) {
            found.extend(call.split_once(',').and_then(|(_, rest)| quoted(rest)));
        }
        codes.extend(found.into_iter().map(str::to_owned));
    }
    codes
}

/// The documented codes with the columns behind them; a code may stand in several tables.
fn documented() -> BTreeMap<String, Vec<Vec<String>>> {
    let text = std::fs::read_to_string(root().join("docs/reason-codes.md")).unwrap();
    let mut rows: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let columns: Vec<String> = line.trim_matches('|').split(" | ").map(|column| column.trim().to_owned()).collect();
        rows.entry(columns[0].trim_matches('`').to_owned()).or_default().push(columns[1..].to_vec());
    }
    rows
}

/// Scenario: somebody adds a refusal, or takes one away. Guarantees: the table of reason codes says so.
#[test]
fn every_reason_code_is_documented_and_no_other() {
    let (codes, documented) = (codes(), documented());
    assert!(codes.len() > 80, "only {} codes were found: {codes:?}", codes.len());
    let missing: Vec<_> = codes.iter().filter(|code| !documented.contains_key(*code)).collect();
    let stale: Vec<_> = documented.keys().filter(|code| !codes.contains(*code)).collect();
    assert!(missing.is_empty() && stale.is_empty(), "not documented: {missing:?}; documented, but gone: {stale:?}");
}

/// Every event that the product can record or count.
fn events() -> BTreeSet<String> {
    let mut events = BTreeSet::new();
    for (path, source) in sources() {
        let mut found = after(&source, &[".event(", "event: "]);
        if path == "src/gateway/serve.rs" {
            let (_, witness) = source.split_once("fn witness(").unwrap();
            found.extend(after(witness, &["=> (", "=> {\n                ("]));
        }
        events.extend(found.into_iter().map(str::to_owned));
    }
    events
}

/// Scenario: an event is added, or goes. Guarantees: the page of reason codes says so, in its tables' second column or as an
/// item of the list of events.
#[test]
fn every_event_is_documented_and_no_other() {
    let text = std::fs::read_to_string(root().join("docs/reason-codes.md")).unwrap();
    let (_, text) = text.split_once("\n## Before there is a request\n").unwrap();
    let mut documented: BTreeSet<String> = BTreeSet::new();
    for line in text.lines() {
        let named = match line.strip_prefix("- `") {
            Some(item) => item.split('`').next(),
            None if line.starts_with("| `") => line.split(" | ").nth(1).map(|event| event.trim_matches('`')),
            None => None,
        };
        documented.extend(named.map(str::to_owned));
    }
    let events = events();
    assert!(events.len() > 10 && events.contains("stream_refused"), "{events:?}");
    let missing: Vec<_> = events.difference(&documented).collect();
    let stale: Vec<_> = documented.difference(&events).collect();
    assert!(missing.is_empty() && stale.is_empty(), "not documented: {missing:?}; documented, but gone: {stale:?}");
}

/// Scenario: an operator reads which status a reason has. Guarantees: it is the one that is sent.
#[test]
fn documented_statuses_are_those_that_are_sent() {
    let documented = documented();
    let rejections = Reason::ALL.iter().map(|reason| (reason.code(), Refusal::from(&Rejection::from(*reason))));
    let denials = DenialReason::ALL
        .iter()
        .map(|reason| (reason.code(), Refusal::from(&Denial { reason: *reason, bindings: Vec::new() })));
    for (code, refusal) in rejections.chain(denials) {
        let sent = [refusal.class.status().as_u16().to_string(), refusal.class.grpc_code().to_string()];
        assert_eq!(documented[code][0][..2], sent, "{code}");
    }
}

/// Every metric is named in the README, and what it names exists.
#[test]
fn every_metric_is_documented() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let source = std::fs::read_to_string(root().join("src/telemetry.rs")).unwrap();
    let mut names: BTreeSet<String> = source
        .split("\"lightkeeper_")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .filter(|name| is_code(name))
        .map(|name| format!("lightkeeper_{name}"))
        .collect();
    for call in ["counter(", "gauge("] {
        names.extend(after(&source, &[call]).iter().map(|name| format!("lightkeeper_{name}")));
    }
    assert!(names.len() > 15, "{names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !readme.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "not in the README: {missing:?}");
    let named = readme.split("`lightkeeper_").skip(1).filter_map(|rest| rest.split('`').next());
    let gone: Vec<_> = named.filter(|name| !names.contains(&format!("lightkeeper_{name}"))).collect();
    assert!(gone.is_empty(), "in the README, but gone: {gone:?}");
}

/// Those of the process, whose names are not ours. Guarantees: the page has those that the README names, and what is built.
#[cfg(target_os = "linux")]
#[test]
fn every_metric_of_the_process_is_documented() {
    let page = String::from_utf8(lightkeeper::telemetry::Metrics::new().unwrap().render()).unwrap();
    let names = |text: &str, start: &str, end: char| -> BTreeSet<String> {
        text.split(start).skip(1).filter_map(|rest| Some(format!("process_{}", rest.split_once(end)?.0))).collect()
    };
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert_eq!(names(&page, "# HELP process_", ' '), names(&readme, "`process_", '`'));
    for name in names(&page, "# HELP process_", ' ') {
        let value = page.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse::<f64>().ok()).unwrap();
        assert!(value > 0.0 || name.contains("cpu"), "{name} {value}");
    }
    let version = format!(
        "lightkeeper_build_info{{arch=\"{}\",os=\"linux\",version=\"{}\"}} 1",
        std::env::consts::ARCH,
        env!("CARGO_PKG_VERSION")
    );
    assert!(page.lines().any(|line| line == version), "{page}");
}

/// Links in the documents that lead into the repository lead somewhere.
#[test]
fn links_within_the_repository_lead_somewhere() {
    let own = ["README.md", "ARCHITECTURE.md", "SECURITY.md", "CHANGELOG.md", "deploy/kubernetes/README.md"];
    let pages = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages: Vec<PathBuf> = own.iter().map(|name| root().join(name)).chain(pages).collect();
    assert!(pages.len() > 12, "{pages:?}");
    for path in pages {
        let document = path.strip_prefix(root()).unwrap().display();
        let text = std::fs::read_to_string(&path).unwrap();
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let file = target.split('#').next().unwrap();
            assert!(folder.join(file).exists(), "{document}: `{target}` leads nowhere");
        }
    }
}

/// Every page of `docs/` can be found from the README.
#[test]
fn the_readme_leads_to_every_page() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = format!("docs/{}", entry.unwrap().file_name().display());
        assert!(readme.contains(&format!("]({name})")), "the README does not lead to `{name}`");
    }
}

/// Scenario: somebody copies a whole configuration out of the README. Guarantees: it is accepted without a warning.
#[test]
fn configurations_in_the_readme_are_accepted() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let blocks = readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let whole: Vec<&str> = blocks.filter(|block| block.starts_with("organization:")).collect();
    assert!(!whole.is_empty(), "the README has no whole configuration");
    for text in whole {
        let (checked, found) = config::parse(Path::new("lightkeeper.yaml"), text);
        assert!(checked.is_some() && found.is_empty(), "{found:?}");
    }
}
