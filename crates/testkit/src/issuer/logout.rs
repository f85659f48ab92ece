//! The issuer's end of a login: RP-initiated logout.
//!
//! What it does: what OpenID Connect RP-Initiated Logout 1.0 section 2 asks for a client that names itself and an
//! address to come back to. What it refuses to know: sessions; this issuer keeps none. Invariant: no browser is sent to an
//! address that is not loopback, or for a client that is not known.

use http::{HeaderValue, Response, StatusCode, header};

use super::flows::{WEB_CLIENT, is_loopback};
use super::{State, page};
use crate::server::{Payload, whole};
use crate::urls::{Form, encode};

impl State {
    /// The end session endpoint.
    pub(super) fn logout(&self, ask: &Form) -> Response<Payload> {
        let Some(back) = ask.value("post_logout_redirect_uri") else {
            return page(StatusCode::OK, "<h1>Signed out of acme</h1>");
        };
        if ask.value("client_id") != Some(WEB_CLIENT) || !is_loopback(back) {
            return page(
                StatusCode::BAD_REQUEST,
                "the address to come back to is not registered",
            );
        }
        let mut location = back.to_owned();
        if let Some(state) = ask.value("state") {
            location.push_str(&format!(
                "{}state={}",
                if back.contains('?') { '&' } else { '?' },
                encode(state)
            ));
        }
        let Ok(location) = HeaderValue::from_str(&location) else {
            return page(
                StatusCode::BAD_REQUEST,
                "the address to come back to is none",
            );
        };
        let mut response = Response::new(whole(""));
        *response.status_mut() = StatusCode::SEE_OTHER;
        response.headers_mut().insert(header::LOCATION, location);
        response
    }
}
