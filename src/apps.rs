//! The organization's tree of apps.
//!
//! What it does: names nodes (`AppPath`) and answers, in constant time, whether one lies beneath
//! another, which project a node writes to and at which backend, and which node owns a resource. What it refuses to know: who may do what.
//! Invariants: a tree is built once and never changes; a project has exactly one home.

mod backend;
mod glob;
mod ownership;
mod prefixes;
mod rivals;
mod tree;

pub use backend::{AlsoMode, AlsoTerm, BackendId, BackendNames};
pub(crate) use backend::{BackendTerm, BackendTerms};
pub use glob::Glob;
pub use ownership::Mark;
pub(crate) use ownership::{Owner, Ownership, SERVICE_NAME};
pub(crate) use prefixes::Prefixes;
pub(crate) use rivals::{Claimant, rivals};
pub(crate) use tree::{Description, Node, NodeId, Planting, Tree, TreeFault};

/// A node's place in the tree: segments joined by `/`, without a leading slash; the root is empty and
/// shown as `/`. A segment is 1 to 63 of `a-z 0-9 - _ .`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppPath(String);

impl AppPath {
    /// The longest path, in bytes.
    pub const LIMIT_BYTES: usize = 512;

    /// The whole organization.
    pub fn root() -> Self {
        AppPath(String::new())
    }

    /// Reads `/`, `shop` or `shop/checkout`; `None` for anything that is not canonical.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "/" {
            return Some(Self::root());
        }
        if text.len() > Self::LIMIT_BYTES || !text.split('/').all(Self::is_segment) {
            return None;
        }
        Some(AppPath(text.to_owned()))
    }

    /// Whether `text` may be one segment of a path.
    pub(crate) fn is_segment(text: &str) -> bool {
        text.len() <= 63
            && text
                .bytes()
                .next()
                .is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit())
            && text.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte)
            })
    }

    /// The child of this node that is called `segment`.
    pub fn child(&self, segment: &str) -> Option<Self> {
        if !Self::is_segment(segment) {
            return None;
        }
        Some(AppPath(if self.0.is_empty() {
            segment.to_owned()
        } else {
            format!("{}/{segment}", self.0)
        }))
    }

    /// Whether `other` is this node or lies beneath it. A tree answers the same in constant time.
    pub fn contains(&self, other: &AppPath) -> bool {
        match other.0.strip_prefix(self.0.as_str()) {
            Some(rest) => self.0.is_empty() || rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }

    /// The lowest node that both lie at or beneath.
    pub fn shared(&self, other: &AppPath) -> AppPath {
        let same = self
            .0
            .split('/')
            .zip(other.0.split('/'))
            .take_while(|(one, other)| one == other);
        let segments: Vec<&str> = same.map(|(segment, _)| segment).collect();
        AppPath(segments.join("/"))
    }

    /// How many segments it has.
    pub fn depth(&self) -> usize {
        if self.0.is_empty() {
            0
        } else {
            self.0.split('/').count()
        }
    }

    /// The node above; `None` for the root.
    pub fn parent(&self) -> Option<AppPath> {
        if self.0.is_empty() {
            return None;
        }
        Some(AppPath(
            self.0
                .rsplit_once('/')
                .map(|(above, _)| above.to_owned())
                .unwrap_or_default(),
        ))
    }

    /// The last segment; of the root, nothing.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// As shown to people: `/` for the root.
    pub fn as_str(&self) -> &str {
        if self.0.is_empty() { "/" } else { &self.0 }
    }
}

impl std::fmt::Display for AppPath {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}
