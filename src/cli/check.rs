//! `lightkeeper check`: every mistake at once.
//!
//! What it does: prints the findings of configuration and policy. What it refuses to know: how they were
//! found. Invariant: exit status 1 exactly if one of them is an error.

use std::path::Path;
use std::process::ExitCode;

use super::{Output, load};
use crate::clock::Clock;
use crate::document::Severity;

pub fn check(path: &Path, output: Output) -> ExitCode {
    let loaded = load(path, &Clock::system());
    match output {
        Output::Json => {
            let findings: Vec<_> = loaded
                .findings
                .iter()
                .map(|finding| {
                    serde_json::json!({
                        "severity": match finding.severity { Severity::Error => "error", Severity::Warning => "warning" },
                        "file": finding.file.display().to_string(),
                        "line": finding.line,
                        "column": finding.column,
                        "message": finding.message,
                        "hint": finding.hint,
                    })
                })
                .collect();
            println!("{:#}", serde_json::json!({ "ok": !loaded.has_errors(), "findings": findings }));
        }
        Output::Text => {
            for finding in &loaded.findings {
                eprintln!("{finding}");
            }
            let errors = loaded.findings.iter().filter(|finding| finding.is_error()).count();
            let warnings = loaded.findings.len() - errors;
            match &loaded.policy {
                Some(policy) if errors == 0 => {
                    println!("{} is valid: policy {}, {warnings} warning(s)", path.display(), policy.version());
                }
                _ => eprintln!("{} is refused: {errors} error(s), {warnings} warning(s)", path.display()),
            }
        }
    }
    if loaded.has_errors() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
