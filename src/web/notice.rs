//! Pages that say one thing: signed out, and everything that went wrong.
//!
//! What it does: turns a status and public words into a page that says what can be done now. What it refuses to know:
//! causes. Invariant: only a visitor without a name is asked to log in.

use maud::{Markup, html};

use super::layout::{PageBody, SitePlace, log_in_url};
use super::pieces::{Escaped, explain_url, words};
use crate::view::{FaultView, Frame};

pub(crate) fn signed_out(frame: &Frame) -> PageBody {
    let main = html! {
        div.notice {
            h1 { "You are logged out" }
            p { "This browser holds no session of " (Escaped(&frame.organization)) "’s gateway any more." }
            @if frame.can_log_in { p { a.button.primary href=(log_in_url(None)) { "Log in again" } } }
        }
    };
    body("Logged out", main)
}

pub(crate) fn fault(frame: &Frame, view: &FaultView) -> PageBody {
    let title = title(view.status);
    let nobody = frame.visitor.is_none();
    let main = html! {
        div.notice {
            p.status-line { (view.status) }
            h1 { (title) }
            p.words { (words(&view.words)) }
            @if let Some(advice) = &view.advice { p { (words(advice)) } }
            div.actions {
                @if nobody && frame.can_log_in {
                    a.button.primary href=(log_in_url(view.return_to.as_deref())) { @if view.status == 401 { "Log in" } @else { "Log in again" } }
                }
                @if !nobody { a.button href="/.lightkeeper/" { "To your apps" } }
                @if !nobody && view.status == 403 && !frame.request_id.is_empty() {
                    a.button href=(explain_url(&frame.request_id)) { "Why was I refused?" }
                }
            }
        }
    };
    body(title, main)
}

fn body(title: &str, main: Markup) -> PageBody {
    PageBody {
        title: title.to_owned(),
        place: SitePlace::Elsewhere,
        is_place: false,
        live: false,
        path: None,
        main,
    }
}

/// What a status (RFC 9110 §15) means to a person.
fn title(status: u16) -> &'static str {
    match status {
        400 => "That could not be read",
        401 => "Log in to go on",
        403 => "That is not yours to see",
        404 => "There is nothing here",
        405 => "That cannot be done here",
        413 => "That was too much",
        429 => "That was too often",
        502 => "What the gateway asked did not answer well",
        503 => "Not just now",
        504 => "What the gateway asked took too long",
        _ => "That did not work",
    }
}
