//! An error with what caused it, as people read it.
//!
//! What it does: follows an error's sources and prints them in one line. What it refuses to know: what went wrong. Invariant:
//! an error's own words leave its source out, so that each cause is printed once.

use std::error::Error;

/// The error and its causes, outermost first.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// `no tunnel: proxy p:3128: timed out`.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let words: Vec<String> = causes(error).map(ToString::to_string).collect();
    words.join(": ")
}

/// A line for each error.
pub fn lines<E: Error + 'static>(errors: &[E]) -> Vec<String> {
    errors.iter().map(|error| chain(error)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the file cannot be read")]
    struct Unreadable(#[source] std::io::Error);

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("listener `{0}`")]
        Of(&'static str, #[source] Unreadable),
        #[error(transparent)]
        As(Unreadable),
        #[error("nothing was asked")]
        Alone,
    }

    #[test]
    fn each_cause_is_told_once() {
        let cause = || Unreadable(std::io::Error::other("no such disk"));
        let errors = [Outer::Of("a", cause()), Outer::As(cause()), Outer::Alone];
        let told = [
            "listener `a`: the file cannot be read: no such disk",
            "the file cannot be read: no such disk",
            "nothing was asked",
        ];
        assert_eq!(lines(&errors), told);
        assert_eq!(causes(&errors[0]).count(), 3);
    }
}
