//! Messages that are being passed on now.
//!
//! What it does: keeps a second message like one under way from being passed on beside it. What it refuses to know: what
//! a message says. Invariant: what was begun ends when its holder is dropped.

use std::collections::HashSet;
use std::sync::Arc;

use super::delivered::PartKey;
use crate::lock::Mutex;

/// Messages that are being passed on now, so that a second one like it waits for what becomes of the first.
#[derive(Default)]
pub(crate) struct Passing(Mutex<HashSet<PartKey>>);

/// One of them; dropping it ends it, whatever happened.
pub(crate) struct Underway(Arc<Passing>, PartKey);

impl Underway {
    /// `None`: it is being passed on already.
    pub(crate) fn begin(passing: &Arc<Passing>, key: PartKey) -> Option<Self> {
        let mut known = passing.0.lock();
        known.insert(key).then(|| Underway(passing.clone(), key))
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.0.lock().remove(&self.1);
    }
}
