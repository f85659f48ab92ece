//! Holds the documentation to the code: what is there is documented, and nothing else is.
//!
//! Metrics and fields of records are read out of the sources, so that a new one cannot be forgotten. Reason codes and events are
//! in `documentation/reasons.rs`.

mod reasons;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lightkeeper::config;
use lightkeeper::profiles::Profile;

fn root() -> PathBuf {
    testkit::top().to_owned()
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

/// Every page beneath `docs/`.
fn pages() -> Vec<PathBuf> {
    let (mut folders, mut pages) = (vec![root().join("docs")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// Where the links of a document lead within the repository.
fn targets(document: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(document).unwrap();
    // What stands in a fence is a program's, and leads nowhere.
    let outside = |(number, part): (usize, &'_ str)| (number % 2 == 0).then(|| part.to_owned());
    let text: String = text
        .split("\n```")
        .enumerate()
        .filter_map(outside)
        .collect();
    let folder = document.parent().unwrap();
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let inner = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    inner
        .map(|target| folder.join(target.split('#').next().unwrap()))
        .collect()
}

fn is_code(word: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    word.starts_with(|first: char| first.is_ascii_lowercase()) && word.bytes().all(allowed)
}

/// The text up to the closing quote, if a code starts here.
fn quoted(text: &str) -> Option<&str> {
    text.trim_start()
        .strip_prefix('"')?
        .split('"')
        .next()
        .filter(|word| is_code(word))
}

/// Every code that follows one of these texts in a source.
fn after<'t>(source: &'t str, texts: &[&str]) -> Vec<&'t str> {
    texts
        .iter()
        .flat_map(|text| source.split(text).skip(1).filter_map(quoted))
        .collect()
}

/// Every metric is named on its page, and what the page names exists.
#[test]
fn every_metric_is_documented() {
    let page = read("docs/reference/metrics.md");
    let files = [
        "",
        "/registry",
        "/legs",
        "/revocations",
        "/sinks",
        "/stores",
    ]
    .map(|file| read(&format!("src/telemetry{file}.rs")));
    let source = files.concat();
    let mut names: BTreeSet<String> = source
        .split("\"lightkeeper_")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .filter(|name| is_code(name))
        .map(|name| format!("lightkeeper_{name}"))
        .collect();
    for call in ["counter(", "gauge("] {
        names.extend(
            after(&source, &[call])
                .iter()
                .map(|name| format!("lightkeeper_{name}")),
        );
    }
    assert!(names.len() > 15, "{names:?}");
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !page.contains(&format!("`{name}`")))
        .collect();
    assert!(missing.is_empty(), "not documented: {missing:?}");
    let named = page
        .split("`lightkeeper_")
        .skip(1)
        .filter_map(|rest| rest.split('`').next());
    let gone: Vec<_> = named
        .filter(|name| !names.contains(&format!("lightkeeper_{name}")))
        .collect();
    assert!(gone.is_empty(), "documented, but gone: {gone:?}");
}

/// What the backticks of a page hold, words and parts of paths (`tls.key`) alike.
fn words(page: &str) -> BTreeSet<&str> {
    let spans = page.split('`').skip(1).step_by(2);
    spans
        .flat_map(|span| {
            span.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        })
        .collect()
}

/// Scenario: a setting is added. Guarantees: the page of the configuration names its key.
#[test]
fn every_setting_is_documented() {
    let page = read("docs/reference/configuration.md");
    let (schema, known) = (config::config_schema(), words(&page));
    let definitions = schema["$defs"]
        .as_object()
        .unwrap()
        .values()
        .chain([&schema]);
    let keys: BTreeSet<&String> = definitions
        .filter_map(|definition| definition["properties"].as_object())
        .flat_map(|keys| keys.keys())
        .collect();
    assert!(keys.len() > 100, "{keys:?}");
    let missing: Vec<_> = keys
        .iter()
        .filter(|key| !known.contains(key.as_str()))
        .collect();
    assert!(missing.is_empty(), "not documented: {missing:?}");
}

/// Scenario: a permission is added, or becomes sensitive. Guarantees: the page of permissions names its resource, and among the
/// sensitive ones those that are.
#[test]
fn every_permission_is_documented() {
    let page = read("docs/reference/permissions.md");
    let (known, profile) = (words(&page), Profile::lightstep());
    let resources = profile
        .permissions()
        .iter()
        .filter_map(|name| name.split('.').nth(1));
    let missing: BTreeSet<&str> = resources.filter(|name| !known.contains(name)).collect();
    assert!(missing.is_empty(), "not documented: {missing:?}");
    let row = page
        .lines()
        .find(|line| line.starts_with("| **sensitive**"))
        .unwrap();
    let named: BTreeSet<String> = row
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    let all = profile.permissions().iter().cloned();
    let sensitive: BTreeSet<String> = all.filter(|name| profile.is_sensitive(name)).collect();
    assert_eq!(named, sensitive);
}

/// Scenario: a field is added to the audit record. Guarantees: the page of the record names it.
#[test]
fn every_field_of_a_record_is_documented() {
    let (page, source) = (
        read("docs/reference/records.md"),
        read("src/audit/record.rs"),
    );
    let known = words(&page);
    let structs = ["Record", "Who", "PartRecord", "Items"];
    let bodies = structs.map(|name| {
        source
            .split_once(&format!("pub struct {name} {{\n"))
            .unwrap()
            .1
            .split_once("\n}")
            .unwrap()
            .0
    });
    let fields: BTreeSet<&str> = bodies
        .iter()
        .flat_map(|body| body.lines())
        .filter_map(|line| Some(line.trim().strip_prefix("pub ")?.split_once(':')?.0))
        .collect();
    assert!(fields.len() > 25, "{fields:?}");
    let missing: Vec<_> = fields
        .iter()
        .filter(|field| !known.contains(**field))
        .collect();
    assert!(missing.is_empty(), "not documented: {missing:?}");
}

/// Those of the process, whose names are not ours. Guarantees: the page of metrics has those that are there, and no other.
#[cfg(target_os = "linux")]
#[test]
fn every_metric_of_the_process_is_documented() {
    let page = String::from_utf8(lightkeeper::telemetry::Metrics::new().unwrap().render()).unwrap();
    let names = |text: &str, start: &str, end: char| -> BTreeSet<String> {
        text.split(start)
            .skip(1)
            .filter_map(|rest| Some(format!("process_{}", rest.split_once(end)?.0)))
            .collect()
    };
    assert_eq!(
        names(&page, "# HELP process_", ' '),
        names(&read("docs/reference/metrics.md"), "`process_", '`')
    );
    for name in names(&page, "# HELP process_", ' ') {
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix(&name)?.trim().parse::<f64>().ok())
            .unwrap();
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
    let own = [
        "README.md",
        "ARCHITECTURE.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "benches/README.md",
        "deploy/kubernetes/README.md",
    ];
    let all: Vec<PathBuf> = own
        .iter()
        .map(|name| root().join(name))
        .chain(pages())
        .collect();
    assert!(all.len() > 25, "{all:?}");
    for document in all {
        for target in targets(&document) {
            assert!(
                target.exists(),
                "{}: `{}` leads nowhere",
                document.display(),
                target.display()
            );
        }
    }
}

/// Scenario: a reader starts at the README and follows links. Guarantees: every page of `docs/` can be found.
#[test]
fn the_readme_leads_to_every_page() {
    let (mut open, mut found) = (vec![root().join("README.md")], BTreeSet::new());
    while let Some(document) = open.pop() {
        let document = document.canonicalize().unwrap();
        if document.extension().is_some_and(|ending| ending == "md")
            && found.insert(document.clone())
        {
            open.extend(targets(&document));
        }
    }
    let lost: Vec<PathBuf> = pages()
        .into_iter()
        .filter(|page| !found.contains(&page.canonicalize().unwrap()))
        .collect();
    assert!(lost.is_empty(), "no link leads to {lost:?}");
}

/// Guarantees: the README is what a newcomer reads at once; tables to look things up in are in `docs/reference/`.
#[test]
fn the_readme_is_short() {
    let bytes = read("README.md").len();
    assert!(bytes <= 12 * 1024, "{bytes} bytes");
}

/// Scenario: an operator copies a whole configuration out of a page. Guarantees: it is accepted without a warning.
#[test]
fn whole_configurations_in_documents_are_accepted() {
    let mut whole = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        let blocks = text
            .split("```yaml\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next());
        for block in blocks.filter(|block| block.starts_with("organization:")) {
            let (checked, found) = config::parse(Path::new("lightkeeper.yaml"), block);
            assert!(
                checked.is_some() && found.is_empty(),
                "{}: {found:?}",
                page.display()
            );
            whole += 1;
        }
    }
    assert!(whole > 0, "no page has a whole configuration");
}

/// Scenario: the toolchain is raised. Guarantees: the manifest claims the version that is built, and no older one.
#[test]
fn the_manifest_claims_the_toolchain_that_is_built() {
    let toolchain = read("rust-toolchain.toml");
    let (_, rest) = toolchain.split_once("channel = \"").unwrap();
    let channel = rest.split('"').next().unwrap();
    assert!(
        channel.starts_with(&format!("{}.", env!("CARGO_PKG_RUST_VERSION"))),
        "{channel}"
    );
}

/// The paths of the repository's files that a document names in backticks, each with where it may be. A name without a folder
/// stands beside the path named before it.
fn named_files(text: &str) -> Vec<(String, Vec<String>)> {
    let is_path = |word: &str| {
        word.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte))
    };
    let mut folder = String::new();
    let mut named = Vec::new();
    // Fenced blocks are examples, not words.
    let prose: String = text.split("```").step_by(2).collect();
    for word in prose
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| is_path(word))
    {
        let inside = word.rsplit_once('/').map(|(folder, _)| folder.to_owned());
        let is_file = word.ends_with(".rs");
        if let Some(inside) = inside.filter(|_| is_file || word.ends_with('/')) {
            folder = inside;
        }
        if is_file && word.len() > 3 {
            let path = if word.contains('/') {
                word.to_owned()
            } else {
                format!("{folder}/{word}")
            };
            named.push((
                word.to_owned(),
                vec![path.clone(), format!("src/{path}"), format!("src/{word}")],
            ));
        }
    }
    named
}

/// Scenario: a file is renamed or moved. Guarantees: the documents that lead through the sources name it anew.
#[test]
fn files_that_documents_name_exist() {
    let mut missing = Vec::new();
    let documents = [
        "ARCHITECTURE.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "docs/glossary.md",
    ]
    .map(|name| root().join(name));
    let decisions = pages()
        .into_iter()
        .filter(|page| page.starts_with(root().join("docs/decisions")));
    let mut count = 0;
    for document in documents.into_iter().chain(decisions) {
        for (word, places) in named_files(&std::fs::read_to_string(&document).unwrap()) {
            count += 1;
            if !places.iter().any(|place| root().join(place).is_file()) {
                missing.push(format!(
                    "{}: `{word}`, not found as {}",
                    document.display(),
                    places.join(", ")
                ));
            }
        }
    }
    assert!(
        missing.is_empty() && count > 50,
        "{count} files named; missing:\n{}",
        missing.join("\n")
    );
}

#[test]
fn files_that_documents_name_are_found() {
    let text = "| `accept/read.rs`, `path.rs` | `identify/`, beside `mtls.rs` |\n```text\n`no.rs`\n```\n`clock.rs` `.rs` `a b.rs`";
    let named = named_files(text);
    let first: Vec<&str> = named.iter().map(|(_, places)| places[0].as_str()).collect();
    assert_eq!(
        first,
        [
            "accept/read.rs",
            "accept/path.rs",
            "identify/mtls.rs",
            "identify/clock.rs"
        ]
    );
    assert_eq!(
        named[3].1,
        ["identify/clock.rs", "src/identify/clock.rs", "src/clock.rs"]
    );
}

/// The cells of a table's rows beneath this heading.
fn cells<'p>(page: &'p str, heading: &str) -> Vec<Vec<&'p str>> {
    let (_, section) = page.split_once(heading).unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with("| "));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

fn spans(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Scenario: a field, a command or a test that stands in the table of SOC 2 criteria is renamed. Guarantees: the table names every
/// criterion of the two series that it is about, and nothing that is not there.
#[test]
fn the_table_of_criteria_names_what_is_there() {
    use clap::CommandFactory as _;
    let page = read("docs/audit.md");
    let rows = cells(&page, "## SOC 2");
    let criteria: Vec<&str> = rows
        .iter()
        .filter_map(|row| row[0].split(' ').next())
        .collect();
    let expected = [
        "CC6.1", "CC6.2", "CC6.3", "CC6.4", "CC6.5", "CC6.6", "CC6.7", "CC6.8", "CC7.1", "CC7.2",
        "CC7.3", "CC7.4", "CC8.1",
    ];
    assert_eq!(criteria, expected);
    let records = read("docs/reference/records.md");
    let fields = words(&records);
    let mut sources = String::new();
    let mut folders = ["tests", "src"].map(|name| root().join(name)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_source = path
                .extension()
                .is_some_and(|ending| ending == "rs" || ending == "py");
            let is_fetched =
                path.to_string_lossy().contains("/.venv") || path.ends_with("node_modules");
            if path.is_dir() && !is_fetched {
                folders.push(path);
            } else if is_source {
                sources.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut wrong = Vec::new();
    for row in &rows {
        let [criterion, _, shown, typed, tests, left] = row.as_slice() else {
            panic!("{row:?}");
        };
        let held = spans(tests);
        for field in spans(shown)
            .iter()
            .filter(|field| !fields.contains(**field))
        {
            wrong.push(format!("{criterion}: no field `{field}`"));
        }
        for typed in spans(typed).iter().filter(|typed| !typed.starts_with("--")) {
            let mut command = lightkeeper::cli::Arguments::<lightkeeper::cli::NoMore>::command();
            for word in typed.split(' ').skip(1) {
                match command.find_subcommand(word) {
                    Some(under) => command = under.clone(),
                    None => wrong.push(format!("{criterion}: no command `{typed}`")),
                }
            }
        }
        for test in &held {
            let is_there = ["fn", "def"]
                .iter()
                .any(|word| sources.contains(&format!("{word} {test}(")));
            if !is_there {
                wrong.push(format!("{criterion}: no test `{test}`"));
            }
        }
        let is_left_out = *left == "all of it" || left.starts_with("all of it,");
        assert!(is_left_out || !held.is_empty(), "{criterion} has no test");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
