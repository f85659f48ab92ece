//! The page of reason codes and events says what the types say.
//!
//! What it does: makes the page's columns of `Reason`'s table, and compares; `LIGHTKEEPER_BLESS=1 cargo test --test integration
//! documentation::` writes them anew. What it refuses to know: what stands in the other columns, and between the tables; they
//! are written by hand. Invariant: what a code means is worded in `src/reason/table.rs` alone.

use std::collections::BTreeSet;

use lightkeeper::reason::Reason;
use lightkeeper::telemetry::EventName;

const PAGE: &str = "docs/reason-codes.md";
const MEANING: &str = "meaning, and what the caller can do";

/// The cells of a table's line.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inside = line.strip_prefix("| ")?.strip_suffix('|')?;
    Some(inside.split('|').map(str::trim).collect())
}

/// The code of a row, which stands in its first cell.
fn code_of(row: &[&str]) -> Option<String> {
    let code = row.first()?.strip_prefix('`')?.strip_suffix('`')?;
    Some(code.to_owned())
}

fn find(code: &str) -> Option<Reason> {
    let mut all = Reason::ALL.iter().copied();
    all.find(|reason| reason.code() == code)
}

/// What a column says of a reason; `written` is what stands there.
fn cell(column: &str, reason: Reason, written: &str) -> String {
    let class = reason.class();
    // What a class says may be followed by another status and when that is sent.
    let also = written.split_once(',').map(|(_, also)| also);
    match (column, class) {
        (MEANING, _) => format!("{} {}", reason.meaning(), reason.advice())
            .trim_end()
            .to_owned(),
        ("HTTP", Some(class)) => {
            let also = also.map(|also| format!(",{also}"));
            format!("{}{}", class.status().as_u16(), also.unwrap_or_default())
        }
        // Only browsers log in.
        ("gRPC", Some(_)) if written.is_empty() && reason.code().starts_with("login_") => {
            String::new()
        }
        ("gRPC", Some(class)) => class.grpc_code().to_string(),
        // No call is answered with it.
        ("HTTP" | "gRPC", None) if !["as the backend", "200"].contains(&written) => String::new(),
        _ => written.to_owned(),
    }
}

/// The page with every column that follows from a reason made anew.
fn made(page: &str) -> String {
    let mut columns: Vec<&str> = Vec::new();
    let mut lines = Vec::new();
    for line in page.lines() {
        let row = cells(line).unwrap_or_default();
        if row.first() == Some(&"code") {
            columns.clone_from(&row);
        }
        match code_of(&row).and_then(|code| find(&code)) {
            Some(reason) => {
                let told = columns
                    .iter()
                    .zip(&row)
                    .map(|(column, written)| cell(column, reason, written));
                let told: Vec<String> = told.collect();
                lines.push(format!("| {} |", told.join(" | ")));
            }
            None => lines.push(line.to_owned()),
        }
    }
    lines.join("\n") + "\n"
}

/// Scenario: a row of the table is edited. Guarantees: the page has the same status, gRPC code, meaning and advice; a code that no
/// call is answered with has no status.
#[test]
fn reasons_are_documented_as_the_table_has_them() {
    let page = super::read(PAGE);
    assert!(page.contains(MEANING));
    testkit::golden::check(&super::root().join(PAGE), &made(&page))
        .unwrap_or_else(|difference| panic!("{difference}"));
}

/// Guarantees: what is made keeps what is written by hand, and nothing else.
#[test]
fn only_what_follows_from_a_reason_is_made() {
    let page = "| code | HTTP | gRPC | meaning, and what the caller can do | for operators |
|---|---|---|---|---|
| `over_quota` | 1, or 503 | 2 | Old. | Kept, as it is. |
| `login_busy` |  |  |  |  |
| `own_page` | 404 | 200 |  |  |
| `gone` | 1 | 2 | Old. | Kept. |
Words.
";
    let lines: Vec<String> = made(page).lines().map(str::to_owned).collect();
    let quota = "| `over_quota` | 429, or 503 | 8 | The quota of the app";
    assert!(lines[2].starts_with(quota), "{}", lines[2]);
    assert!(lines[2].ends_with(" | Kept, as it is. |"), "{}", lines[2]);
    assert!(lines[3].starts_with("| `login_busy` | 503 |  | Too many"));
    assert!(lines[4].starts_with("| `own_page` |  | 200 | A page"));
    assert_eq!(lines[5..], ["| `gone` | 1 | 2 | Old. | Kept. |", "Words."]);
}

/// Scenario: a reason is added, or taken away. Guarantees: the page of reason codes says so.
#[test]
fn every_reason_code_is_documented_and_no_other() {
    let page = super::read(PAGE);
    let codes: BTreeSet<String> = Reason::ALL
        .iter()
        .map(|reason| reason.code().to_owned())
        .collect();
    let rows = page.lines().filter_map(cells);
    let documented: BTreeSet<String> = rows.filter_map(|row| code_of(&row)).collect();
    same(&codes, &documented);
}

/// Scenario: an event is added, or goes. Guarantees: the page of reason codes says so, in its tables' column of events or as an
/// item of the list of events.
#[test]
fn every_event_is_documented_and_no_other() {
    let page = super::read(PAGE);
    let mut documented: BTreeSet<String> = BTreeSet::new();
    let mut column = None;
    for line in page.lines() {
        let row = cells(line).unwrap_or_default();
        if row.first() == Some(&"code") {
            column = row.iter().position(|column| *column == "event");
        }
        let named = match line.strip_prefix("- `") {
            Some(item) => item.split('`').next(),
            None => column.and_then(|column| row.get(column)?.strip_prefix('`')?.strip_suffix('`')),
        };
        documented.extend(named.map(str::to_owned));
    }
    let events = EventName::ALL.iter().map(|event| event.code().to_owned());
    same(&events.collect(), &documented);
}

fn same(codes: &BTreeSet<String>, documented: &BTreeSet<String>) {
    let missing: Vec<_> = codes.difference(documented).collect();
    let stale: Vec<_> = documented.difference(codes).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "not documented: {missing:?}; documented, but gone: {stale:?}"
    );
}
