//! `lightkeeper check`: every mistake at once.
//!
//! What it does: prints the findings of configuration and policy, and of what `serve` would make of them, and which way the
//! gateway's own calls would go. What it refuses to
//! know: how they were found. Invariant: exit status 1 exactly if one of them is an error.

use std::path::Path;
use std::process::ExitCode;

use super::Output;
use super::plan::{Examined, examine, load_alone};
use crate::clock::Clock;
use crate::config::{WayOut, ways_out};
use crate::document::{Diagnostic, Severity};
use crate::profiles::Profile;

/// `skip_files`: what the configuration names, but for the policy, is not read.
pub(crate) fn check(path: &Path, skip_files: bool, output: Output) -> ExitCode {
    let clock = Clock::system();
    let (findings, version, ways, profile) = if skip_files {
        let loaded = load_alone(path, &clock);
        let version = loaded
            .policy
            .as_ref()
            .map(|policy| policy.version().to_owned());
        let ways = loaded.checked.as_ref().map(ways_out).unwrap_or_default();
        (loaded.findings, version, ways, loaded.profile)
    } else {
        let Examined { findings, start } = examine(path, &clock);
        let told = start.map(|start| {
            let version = start.plan.policy.version().to_owned();
            (version, start.ways, start.plan.profile)
        });
        match told {
            Some((version, ways, profile)) => (findings, Some(version), ways, profile),
            None => (findings, None, Vec::new(), Profile::standard()),
        }
    };
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    // Of what is refused, it is not known.
    let has_query_api = (errors == 0).then(|| profile.has_query());
    match output {
        Output::Json => {
            let findings: Vec<_> = findings.iter().map(object).collect();
            let way = |way: &WayOut| serde_json::json!({ "what": way.what, "to": way.to, "proxy": way.proxy });
            let egress: Vec<_> = ways.iter().map(way).collect();
            println!(
                "{:#}",
                serde_json::json!({
                    "ok": errors == 0,
                    "skip_files": skip_files,
                    "findings": findings,
                    "egress": egress,
                    "has_query_api": has_query_api,
                })
            );
        }
        Output::Text => {
            for finding in &findings {
                eprintln!("{finding}");
            }
            let warnings = findings.len() - errors;
            let scope = if skip_files {
                "; the files and variables that it names were not read"
            } else {
                ""
            };
            match version.filter(|_| errors == 0) {
                Some(version) => {
                    println!(
                        "{} is valid: policy {version}, {warnings} warning(s){scope}",
                        path.display()
                    );
                    if !profile.has_query() {
                        println!(
                            "  the backend of profile `{}` has no query API: it takes telemetry alone",
                            profile.name
                        );
                    }
                    ways.iter().for_each(|way| println!("  {way}"));
                }
                None => eprintln!(
                    "{} is refused: {errors} error(s), {warnings} warning(s){scope}",
                    path.display()
                ),
            }
        }
    }
    if errors == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn object(finding: &Diagnostic) -> serde_json::Value {
    serde_json::json!({
        "severity": match finding.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "file": finding.file.display().to_string(),
        "line": finding.line,
        "column": finding.column,
        "message": finding.message,
        "hint": finding.hint,
    })
}
