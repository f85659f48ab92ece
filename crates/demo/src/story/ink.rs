//! Colour, where the output is a terminal.
//!
//! What it does: marks words for a terminal. What it refuses to know: what they say.
//! Invariant: without a terminal, or with `NO_COLOR` set, words stay bytes as they are.

use std::io::IsTerminal as _;

/// How words are marked.
#[derive(Clone, Copy, Debug)]
pub struct Ink {
    coloured: bool,
}

impl Ink {
    pub fn for_stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Ink {
            coloured: std::io::stdout().is_terminal() && !unwanted,
        }
    }

    pub fn bold(self, text: &str) -> String {
        self.mark("1", text)
    }

    pub fn dim(self, text: &str) -> String {
        self.mark("2", text)
    }

    pub fn good(self, text: &str) -> String {
        self.mark("1;32", text)
    }

    /// A refusal that was wanted.
    pub fn refused(self, text: &str) -> String {
        self.mark("1;33", text)
    }

    pub fn bad(self, text: &str) -> String {
        self.mark("1;31", text)
    }

    fn mark(self, code: &str, text: &str) -> String {
        if self.coloured {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
