//! `lightkeeper check`: every mistake at once.
//!
//! What it does: prints the findings of configuration and policy, and of what `serve` would make of them. What it refuses to
//! know: how they were found. Invariant: exit status 1 exactly if one of them is an error.

use std::path::Path;
use std::process::ExitCode;

use super::Output;
use super::plan::{Examined, examine, load_alone};
use crate::clock::Clock;
use crate::document::{Diagnostic, Severity};

/// `skip_files`: what the configuration names, but for the policy, is not read.
pub fn check(path: &Path, skip_files: bool, output: Output) -> ExitCode {
    let clock = Clock::system();
    let (findings, version) = if skip_files {
        let loaded = load_alone(path, &clock);
        let version = loaded.policy.as_ref().map(|policy| policy.version().to_owned());
        (loaded.findings, version)
    } else {
        let Examined { findings, start } = examine(path, &clock);
        (findings, start.map(|start| start.plan.policy.version().to_owned()))
    };
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    match output {
        Output::Json => {
            let findings: Vec<_> = findings.iter().map(object).collect();
            println!("{:#}", serde_json::json!({ "ok": errors == 0, "skip_files": skip_files, "findings": findings }));
        }
        Output::Text => {
            for finding in &findings {
                eprintln!("{finding}");
            }
            let warnings = findings.len() - errors;
            let scope = if skip_files { "; the files and variables that it names were not read" } else { "" };
            match version.filter(|_| errors == 0) {
                Some(version) => {
                    println!("{} is valid: policy {version}, {warnings} warning(s){scope}", path.display());
                }
                None => eprintln!("{} is refused: {errors} error(s), {warnings} warning(s){scope}", path.display()),
            }
        }
    }
    if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
