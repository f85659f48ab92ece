//! The first room: transport and head become a `Caller` (unverified evidence) and a `Call` (parsed ask).
//!
//! What it does: owns the accept loop, the strict HTTP/1.1 head, and the one normalisation of path and
//! headers. What it refuses to know: identities, policy, projects' credentials.
//! Invariants: ambiguity is refused here, once, and never repaired; nothing later sees the client's own
//! path string; a `Caller` is moved into `identify` and cannot be used twice.

mod arrival;
mod assertion;
mod call;
mod caller;
mod calls;
mod connection_limiter;
mod chunks;
mod client_address;
mod connection;
mod cookies;
mod edge;
mod evidence;
mod fault;
mod frames;
mod front;
mod handshake;
pub mod head;
mod header_blocks;
mod hpack;
mod http1;
mod kind;
mod legacy;
mod guarded_connection;
mod networks;
pub mod path;
mod proof;
mod proxy_protocol;
mod read;
mod refused;
mod settings;
mod cross_origin;
mod site;
mod stream;
mod tls;
mod transport;
mod tree;

pub(crate) use arrival::Arrival;
pub use assertion::AssertionHeader;
pub(crate) use assertion::AssertionHeaderFault;
pub(crate) use call::{
    AlertRequest, Call, Dialect, IngestRequest, LegacyRequest, OwnRequest, Protocol, QueryRequest,
    RequestKind, TreeRequest,
};
pub(crate) use caller::{AWS_PROOF_PREFIX, CLIENT_TOKEN_PREFIX, ClientChain};
pub use caller::{Caller, Carrier, Presented, PresentedProof, ProofLines, SessionCookie};
pub(crate) use calls::Calls;
pub(crate) use chunks::Chunks;
pub(crate) use client_address::client_address;
pub use connection::Connection;
pub(crate) use connection_limiter::ConnectionLimiter;
pub(crate) use cookies::{LOGIN_COOKIE, SESSION_COOKIE};
pub(crate) use cross_origin::is_for_pages;
pub(crate) use edge::{Edge, EdgeEvent, Stage, Terms, Witness, reached};
pub(crate) use evidence::{Shown, with_body_token};
pub(crate) use fault::Fault;
pub use front::{CorsSettings, ForwardedHeader, ForwardedSettings, FrontSettings, HealthSettings};
pub(crate) use handshake::{ShownCertificate, refused_in_handshake};
pub(crate) use header_blocks::FRAME_LIMIT_BYTES;
pub use http1::BrokenHead;
pub(crate) use http1::{Body, Http1App, Http1Call};
pub(crate) use kind::{APP_HEADER, is_json};
pub(crate) use legacy::firehose_request;
pub(crate) use networks::NetworkFault;
pub use networks::{Network, Networks};
use read::glimpse_dialect;
pub use read::read;
pub(crate) use refused::Times;
pub use settings::{
    AnchorPlace, BundlePlace, BundleSettings, CertificateDemand, ClientAuthority,
    ClientCertificates, ListenerSettings, OwnCertificate, Serves, TlsSettings,
};
pub(crate) use site::{CallbackRequest, METADATA_PATH, SiteRequest};
pub use site::{ExplainRequest, PageRequest, ReturnPath, TrailRequest};
pub(crate) use tls::{TlsFault, server_config};

/// How a body was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framed {
    Length(u64),
    /// Its end is found when it comes.
    Chunks,
}

/// The methods that some operation has. `CONNECT`, `TRACE` and everything else is refused unseen.
fn is_known_method(method: &[u8]) -> bool {
    [
        &b"GET"[..],
        b"POST",
        b"PUT",
        b"PATCH",
        b"DELETE",
        b"HEAD",
        b"OPTIONS",
    ]
    .contains(&method)
}

/// RFC 9110 section 5.6.2 `tchar`, without `_`: proxies and CGI-like backends read `a_b` as `a-b`.
fn is_header_name_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.'
        | b'^' | b'`' | b'|' | b'~')
}

/// RFC 9110 section 5.5: visible ASCII, blank, tab, and `obs-text`.
fn is_header_value_byte(byte: u8) -> bool {
    byte == b'\t' || (0x20..=0x7e).contains(&byte) || byte >= 0x80
}

/// Whether a header value holds nothing else. Values are long (tokens), so they are judged a block at a time.
fn is_header_value(value: &[u8]) -> bool {
    const BLOCK_BYTES: usize = 32;
    let mut blocks = value.chunks_exact(BLOCK_BYTES);
    let is_good = |block: &[u8]| {
        block
            .iter()
            .fold(true, |all, byte| all & is_header_value_byte(*byte))
    };
    blocks.all(is_good) && is_good(blocks.remainder())
}

#[cfg(test)]
mod tests;
