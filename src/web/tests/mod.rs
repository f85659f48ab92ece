//! The pages, rendered: what they look like (golden files), what hostile text becomes in them, and their colours.
//!
//! What it does: holds the tests of all pages together. What it refuses to know: sockets, sessions.

use super::site;
use crate::view::{Frame, Page};

mod contrast;
mod golden;
mod hostile;
mod markup;
mod samples;

/// A page as it is sent.
fn rendered(frame: &Frame, page: &Page) -> String {
    site().page(frame, page)
}
