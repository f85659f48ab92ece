//! Which backend an app's data goes to, and when.
//!
//! What it does: numbers the configured backends, and answers which of an app's is in force at a time. What it refuses to
//! know: what a backend is, and where. Invariants: a number means a place in one configuration's list; there is at least one
//! backend, and each app has exactly one at any time.

use std::sync::Arc;

use crate::clock::{UnixMillis, Window};

/// A place in the list of backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(pub(crate) u16);

impl BackendId {
    /// The place in the list.
    pub(crate) fn place(self) -> usize {
        usize::from(self.0)
    }
}

/// The configured backends by name, and which is which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendNames {
    names: Vec<Arc<str>>,
    /// Of apps that name none.
    pub default: BackendId,
    /// What is asked about the whole organization is asked of this one; the default one if none has a query API.
    pub queried: BackendId,
}

impl BackendNames {
    /// What the only backend of the short form is called.
    pub const ONLY: &'static str = "default";
    /// The most backends of one configuration.
    pub(crate) const LIMIT: usize = 64;

    /// In the file's order.
    pub fn new(names: impl IntoIterator<Item = Arc<str>>) -> Self {
        BackendNames {
            names: names.into_iter().collect(),
            default: BackendId::default(),
            queried: BackendId::default(),
        }
    }

    /// Whether one has to be told from another.
    pub fn are_several(&self) -> bool {
        self.names.len() > 1
    }

    /// The backend of this name.
    pub fn find(&self, name: &str) -> Option<BackendId> {
        self.iter()
            .find(|(_, known)| ***known == *name)
            .map(|(id, _)| id)
    }

    /// What a backend is called.
    pub fn name(&self, backend: BackendId) -> &str {
        self.names
            .get(backend.place())
            .map_or("unknown", |name| name)
    }

    /// The same where one has to be told from another.
    pub(crate) fn told(&self, backend: BackendId) -> Option<Arc<str>> {
        let names = self.are_several().then_some(&self.names);
        names?.get(backend.place()).cloned()
    }

    /// All of them, in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = (BackendId, &Arc<str>)> {
        (0..).map(BackendId).zip(&self.names)
    }
}

impl Default for BackendNames {
    fn default() -> Self {
        BackendNames::new([Arc::from(Self::ONLY)])
    }
}

/// A backend that an app names, and when it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BackendTerm {
    pub backend: BackendId,
    pub window: Window,
}

/// Another backend that gets an app's data too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlsoTerm {
    pub backend: BackendId,
    pub mode: AlsoMode,
}

/// What becomes of a call if the other backend does not take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlsoMode {
    /// Nothing: it is told loudly, and the call goes on.
    Mirror,
    /// The call is to be tried again.
    Require,
}

impl AlsoMode {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            AlsoMode::Mirror => "mirror",
            AlsoMode::Require => "require",
        }
    }
}

/// An app's backends: its own terms, then those above it, as far as they can count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BackendTerms(Vec<BackendTerm>);

impl BackendTerms {
    /// This term, and where it does not count what is above.
    pub(crate) fn over(own: Option<BackendTerm>, above: &BackendTerms) -> Self {
        let Some(own) = own else {
            return above.clone();
        };
        let mut terms = vec![own];
        if own.window != Window::default() {
            // As deep as the tree at most; what is said twice decides once.
            terms.extend(above.0.iter().filter(|term| **term != own));
        }
        BackendTerms(terms)
    }

    /// The backend at this time; `None`: the default one.
    pub(crate) fn at(&self, now: UnixMillis) -> Option<BackendId> {
        self.0
            .iter()
            .find(|term| term.window.contains(now))
            .map(|term| term.backend)
    }

    /// Every backend that is the app's at some time.
    pub(crate) fn all(&self, default: BackendId) -> impl Iterator<Item = BackendId> {
        let has_end = self
            .0
            .last()
            .is_some_and(|term| term.window == Window::default());
        let named = self.0.iter().map(|term| term.backend);
        named.chain((!has_end).then_some(default))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(backend: u16, from: Option<i64>, until: Option<i64>) -> BackendTerm {
        BackendTerm {
            backend: BackendId(backend),
            window: Window {
                from: from.map(UnixMillis),
                until: until.map(UnixMillis),
            },
        }
    }

    #[test]
    fn the_nearest_term_that_counts_decides() {
        let none = BackendTerms::default();
        let above = BackendTerms::over(Some(term(1, Some(10), Some(20))), &none);
        let beneath = BackendTerms::over(Some(term(2, Some(15), None)), &above);
        let fixed = BackendTerms::over(Some(term(3, None, None)), &beneath);
        let heir = BackendTerms::over(None, &beneath);
        for (terms, expected) in [
            (&none, [None, None, None, None]),
            (&above, [None, Some(1), Some(1), None]),
            (&beneath, [None, Some(1), Some(2), Some(2)]),
            (&heir, [None, Some(1), Some(2), Some(2)]),
            (&fixed, [Some(3); 4]),
        ] {
            let found = [9, 10, 15, 20].map(|now| terms.at(UnixMillis(now)));
            assert_eq!(found, expected.map(|one| one.map(BackendId)), "{terms:?}");
        }
        let all = |terms: &BackendTerms| -> Vec<u16> {
            terms.all(BackendId(0)).map(|one| one.0).collect()
        };
        assert_eq!(all(&none), [0]);
        assert_eq!(all(&beneath), [2, 1, 0]);
        assert_eq!(all(&fixed), [3]);
    }
}
