//! Expectations that are files: what came out is compared with what was committed.
//!
//! What it does: tells the first line that differs, or writes the file anew where `LIGHTKEEPER_BLESS` is set, to be read as a
//! diff before it is committed. What it refuses to know: what stands in the file, and whether it is right.

use std::path::Path;

/// Compares `actual` with the text of the file.
pub fn check(file: &Path, actual: &str) -> Result<(), String> {
    let expected = std::fs::read_to_string(file).ok();
    if expected.as_deref() == Some(actual) {
        return Ok(());
    }
    if std::env::var_os("LIGHTKEEPER_BLESS").is_some() {
        return std::fs::write(file, actual)
            .map_err(|error| format!("{}: {error}", file.display()));
    }
    Err(difference(
        &file.display().to_string(),
        expected.as_deref().unwrap_or_default(),
        actual,
    ))
}

fn difference(file: &str, expected: &str, actual: &str) -> String {
    let differing = expected
        .lines()
        .zip(actual.lines())
        .position(|(one, other)| one != other);
    let at = differing.unwrap_or_else(|| expected.lines().count().min(actual.lines().count()));
    format!(
        "{file}:{}: differs from here on (LIGHTKEEPER_BLESS=1 takes it over)\n-{}\n+{}\nall of it:\n{actual}",
        at + 1,
        expected.lines().nth(at).unwrap_or("(end)"),
        actual.lines().nth(at).unwrap_or("(end)"),
    )
}
