//! The site's pages: views become HTML.
//!
//! What it does: renders what `view` holds, and carries the site's own files. What it refuses to know:
//! sessions, tokens, the tree, sockets. Invariants: everything that is shown is escaped; nothing is loaded from
//! elsewhere; every page works without scripts; no page holds a script or a style of its own.

use std::sync::Arc;

use crate::view::{Asset, Frame, Html, Page, Site};

mod app;
mod assets;
mod decisions;
mod explain;
mod layout;
mod notice;
mod pieces;
mod safety;
mod tree;

#[cfg(test)]
mod tests;

/// The site.
pub(crate) fn site() -> Arc<dyn Site> {
    Arc::new(Console)
}

struct Console;

impl Site for Console {
    fn page(&self, frame: &Frame, page: &Page) -> Html {
        let body = match page {
            Page::Tree(view) => tree::page(frame, view),
            Page::App(view) => app::page(view),
            Page::Explain(view) => explain::page(view),
            Page::Decisions(view) => decisions::page(view),
            Page::SignedOut => notice::signed_out(frame),
            Page::Fault(view) => notice::fault(frame, view),
        };
        layout::document(frame, &body).into_string()
    }

    fn asset(&self, name: &str) -> Option<Asset> {
        assets::find(name)
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        safety::HEADERS
    }
}
