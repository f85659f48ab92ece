//! One mistake in a file, with its place and, where possible, its cure.
//!
//! What it does: holds and renders `file:line:column: error: message`, with a hint on the next line.
//! What it refuses to know: what the file is for. Invariant: no scalar that may be a secret is put
//! into it; names of keys go through `name`, which bounds and cleans them.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

/// How bad it is: an error refuses the file, a warning does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Error,
    Warning,
}

/// One finding. Lines and columns count from 1, in characters; 0 means that only the file is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub(crate) severity: Severity,
    pub file: PathBuf,
    pub line: u64,
    pub column: u64,
    /// Lower case, no full stop, user's names in backticks.
    pub message: String,
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(file: &Path, line: u64, column: u64, message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Error,
            file: file.to_owned(),
            line,
            column,
            message: message.into(),
            hint: None,
        }
    }

    /// A warning at a place.
    pub fn warning(file: &Path, line: u64, column: u64, message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Warning,
            ..Self::error(file, line, column, message)
        }
    }

    /// The same with advice on how to mend it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether the file is refused because of this.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl Display for Diagnostic {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(formatter, "{}:{}:", self.line, self.column)?;
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(formatter, " {severity}: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(formatter, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// The longest name that a message repeats, in characters.
const NAME_LIMIT_CHARS: usize = 64;

/// A name out of a file, fit for a message: in backticks, bounded, without control characters.
pub(crate) fn name(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(NAME_LIMIT_CHARS)
        .map(|letter| {
            if letter.is_control() || letter == '`' {
                '\u{fffd}'
            } else {
                letter
            }
        })
        .collect();
    if text.chars().nth(NAME_LIMIT_CHARS).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// A path that was tried, fit for a message: in backticks and whole, because a cut one cannot be looked for.
pub(crate) fn path(path: &Path) -> String {
    let shown: String = path
        .to_string_lossy()
        .chars()
        .map(|letter| {
            if letter.is_control() || letter == '`' {
                '\u{fffd}'
            } else {
                letter
            }
        })
        .collect();
    format!("`{shown}`")
}

/// Several names for a message: `a`, `b`, `c`.
pub(crate) fn names<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts.into_iter().map(name).collect::<Vec<_>>().join(", ")
}
