//! `audit report`: records, counted.
//!
//! What it does: counts what matches by event, decision, reason, operation, app and subject. What it refuses to know: seals.
//! Invariant: of each list so many names are held at most, and what did not fit is told.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::fault::AuditFault;
use super::query::MatchArguments;
use super::walk::{in_order, walk};
use super::{Output, TrailArguments};
use crate::telemetry::text;

/// Of a name that is printed.
const NAME_LIMIT_BYTES: usize = 512;
/// Names of one list that are held.
const NAMES_LIMIT: usize = 100_000;

#[derive(Debug, Args)]
pub struct TrailReportArguments {
    #[command(flatten)]
    pub(crate) matching: MatchArguments,
    /// Of each list, the names with the most records.
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    pub(crate) top: usize,
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) trail: TrailArguments,
}

/// What is counted, and where it stands in a record.
const LISTS: [(&str, &str); 6] = [
    ("events", "/event"),
    ("decisions", "/decision"),
    ("reasons", "/reason"),
    ("operations", "/operation"),
    ("apps", "/app"),
    ("subjects", "/identity/subject"),
];

#[derive(Default)]
struct Counted {
    names: HashMap<String, u64>,
    /// Of names that did not fit.
    others: u64,
}

impl Counted {
    fn count(&mut self, name: &str) {
        if let Some(count) = self.names.get_mut(name) {
            *count += 1;
        } else if self.names.len() < NAMES_LIMIT && name.len() <= NAME_LIMIT_BYTES * 8 {
            self.names.insert(name.to_owned(), 1);
        } else {
            self.others += 1;
        }
    }

    /// The names with the most, those with as many by their alphabet.
    fn top(&self, count: usize) -> Vec<(&str, u64)> {
        let mut all: Vec<(&str, u64)> = self
            .names
            .iter()
            .map(|(name, count)| (&**name, *count))
            .collect();
        all.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
        all.truncate(count);
        all
    }
}

pub(super) fn report(arguments: &TrailReportArguments) -> Result<ExitCode, AuditFault> {
    let filter = arguments.matching.filter()?;
    let files = in_order(&arguments.trail)?;
    let mut lists: Vec<Counted> = LISTS.iter().map(|_| Counted::default()).collect();
    let (mut records, mut odd) = (0u64, 0u64);
    let (mut first, mut last) = (None, None);
    let mut items = [0u64; 2];
    walk(&files, arguments.trail.quiet, |_, line| {
        let Some(record) = filter.find(line.text) else {
            odd += u64::from(line.seq().is_none());
            return Ok(ControlFlow::<()>::Continue(()));
        };
        records += 1;
        for ((_, pointer), list) in LISTS.iter().zip(&mut lists) {
            if let Some(name) = record.pointer(pointer).and_then(Value::as_str) {
                list.count(name);
            }
        }
        for (sum, key) in items.iter_mut().zip(["/items/accepted", "/items/rejected"]) {
            let count = record
                .pointer(key)
                .and_then(Value::as_u64)
                .unwrap_or_default();
            *sum = sum.saturating_add(count);
        }
        if let Some(time) = record.get("time").and_then(Value::as_str) {
            first.get_or_insert_with(|| time.to_owned());
            last = Some(time.to_owned());
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let [accepted, rejected] = items;
    match arguments.output {
        Output::Json => {
            let lists: serde_json::Map<String, Value> = LISTS
                .iter()
                .zip(&lists)
                .map(|((name, _), list)| {
                    let top: Vec<Value> = list
                        .top(arguments.top)
                        .into_iter()
                        .map(|(name, count)| json!({ "name": name, "records": count }))
                        .collect();
                    (
                        (*name).to_owned(),
                        json!({ "names": list.names.len(), "not_held": list.others, "top": top }),
                    )
                })
                .collect();
            let told = json!({
                "records": records, "from": first, "to": last, "not_records": odd,
                "items": { "accepted": accepted, "rejected": rejected }, "lists": lists,
            });
            println!("{told:#}");
        }
        Output::Text => {
            println!(
                "{records} records, from {} to {}",
                text::line(first.as_deref().unwrap_or("-"), NAME_LIMIT_BYTES),
                text::line(last.as_deref().unwrap_or("-"), NAME_LIMIT_BYTES)
            );
            println!("{accepted} items accepted, {rejected} rejected");
            if odd > 0 {
                println!("{odd} lines are no records");
            }
            for ((name, _), list) in LISTS.iter().zip(&lists) {
                println!("\n{name} ({})", list.names.len());
                for (name, count) in list.top(arguments.top) {
                    // A trail that is not what it was may name anything.
                    println!("{count:>12}  {}", text::line(name, NAME_LIMIT_BYTES));
                }
                if list.others > 0 {
                    println!("{:>12}  of names that were too many", list.others);
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
