//! What a developer is told when a command fails, and the exit status of it.
//!
//! What it does: carries a message, what to do about it, and a status. What it refuses to know: how it is printed, and
//! every secret. Invariant: text that came over the network is cleaned of control characters before it is kept here.

use std::process::ExitCode;

use super::text::clean;

/// The command failed.
pub(crate) const FAILED: u8 = 1;
/// The gateway or the provider said no.
pub(crate) const DENIED: u8 = 3;
/// The answer is incomplete: some projects failed.
pub(crate) const PARTIAL: u8 = 4;

/// The longest message that is passed on from elsewhere, in characters.
const LIMIT_CHARACTERS: usize = 600;

/// Why a command ends without what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub status: u8,
    pub message: String,
    /// What to type or change.
    pub advice: Option<String>,
    /// Whether the login has ended: more tries cannot help.
    pub(crate) login_needed: bool,
}

impl Failure {
    pub(crate) fn new(message: impl AsRef<str>) -> Self {
        let message = clean(message.as_ref())
            .chars()
            .take(LIMIT_CHARACTERS)
            .collect();
        Failure {
            status: FAILED,
            message,
            advice: None,
            login_needed: false,
        }
    }

    pub(crate) fn denied(message: impl AsRef<str>) -> Self {
        Failure {
            status: DENIED,
            ..Failure::new(message)
        }
    }

    /// Tokens are gone, expired or withdrawn.
    pub(crate) fn log_in(gateway: &str, message: impl AsRef<str>) -> Self {
        let failure = Failure {
            login_needed: true,
            ..Failure::new(message)
        };
        failure.advise(format!(
            "log in again: lightkeeper login --gateway {gateway}"
        ))
    }

    pub(crate) fn advise(mut self, advice: impl AsRef<str>) -> Self {
        self.advice = Some(clean(advice.as_ref()));
        self
    }

    /// Prints on standard error and gives the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("{}", self.message);
        if let Some(advice) = &self.advice {
            eprintln!("{advice}");
        }
        ExitCode::from(self.status)
    }
}
