//! What a page shows, gathered for one visitor.
//!
//! What it does: will ask the rooms for what the visitor may see. What it refuses to know: HTML, sockets. Invariant:
//! nothing is in a page that its visitor may not see.

use std::sync::Arc;

use http::HeaderMap;

use super::{Core, House, Page, TreeView};
use crate::accept::PageAsk;
use crate::clock::UnixMillis;
use crate::identify::Identity;
use crate::respond::Refusal;

/// Who looks, and at what gateway.
#[expect(dead_code, reason = "what pages are gathered from")]
pub struct Visit<'a> {
    pub core: &'a Arc<Core>,
    pub house: &'a Arc<House>,
    pub identity: &'a Identity,
    pub now: UnixMillis,
    /// Scheme and authority by which the visitor knows us.
    pub ours: &'a str,
    pub request_id: &'a str,
    pub headers: &'a HeaderMap,
}

/// The content of a page.
pub async fn page(_: &Visit<'_>, _: &PageAsk) -> Result<Page, Refusal> {
    Ok(Page::Tree(TreeView::default()))
}
