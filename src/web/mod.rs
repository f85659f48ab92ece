//! The site's pages: views become HTML.
//!
//! What it does: renders what `gateway::view` holds, and carries the site's own files. What it refuses to know:
//! sessions, tokens, the tree, sockets. Invariants: everything that is shown is escaped; nothing is loaded from
//! elsewhere; every page works without scripts.

use std::sync::Arc;

use crate::gateway::{Asset, Frame, Html, Page, Site};

/// The site.
pub fn site() -> Arc<dyn Site> {
    Arc::new(Console)
}

struct Console;

impl Site for Console {
    fn page(&self, _: &Frame, _: &Page) -> Html {
        Html::new()
    }

    fn asset(&self, _: &str) -> Option<Asset> {
        None
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }
}
