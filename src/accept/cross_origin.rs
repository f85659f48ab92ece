//! What pages of other origins may ask of a listener.
//!
//! What it does: tells whether a path and method are of what the listener serves to them: exports, reports and queries. What it
//! refuses to know: who asks. Invariant: the path is read as the call's own will be, by the same reading.

use http::header::{CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderValue, Method, Request};

use super::call::RequestKind;
use super::connection::Connection;
use super::read::read;
use crate::limits::Limits;
use crate::media_type;
use crate::profiles::Profile;

/// Bodies that pages send.
const MEDIA_TYPES: [&str; 3] = [media_type::JSON, media_type::PROTOBUF, media_type::BINARY];

/// Whether `method` on the request's target is served to pages.
pub(crate) fn is_for_pages(
    request: &Parts,
    method: &Method,
    connection: &Connection,
    profile: &Profile,
    limits: &Limits,
) -> bool {
    let Some(target) = request.uri.path_and_query() else {
        return false;
    };
    MEDIA_TYPES.iter().any(|media_type| {
        let asked = Request::builder()
            .method(method)
            .uri(target.as_str())
            .header(HOST, HeaderValue::from_static("localhost"))
            .header(CONTENT_TYPE, HeaderValue::from_static(media_type));
        let Ok(asked) = asked.body(()) else {
            return false;
        };
        match read(&asked.into_parts().0, connection, profile, &[], limits) {
            Ok((_, call)) => match call.kind {
                RequestKind::Ingest(_)
                | RequestKind::Legacy(_)
                | RequestKind::Query(_)
                | RequestKind::Tree(_) => true,
                RequestKind::Own(_)
                | RequestKind::Site(_)
                | RequestKind::Alert(_)
                | RequestKind::Unknown
                | RequestKind::Unacceptable(_) => false,
            },
            Err(_) => false,
        }
    })
}
