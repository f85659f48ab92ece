//! The unverified evidence of who calls.
//!
//! What it does: carries the presented token and the client's certificate chain to `identify`.
//! What it refuses to know: whether any of it is true. Invariant: not `Clone`; evidence is judged once.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderValue;
use rustls_pki_types::CertificateDer;

/// What a client showed of itself.
pub struct Caller {
    /// At most one token: two different ones are refused before a `Caller` exists.
    pub token: Option<Presented>,
    /// The chain of the TLS handshake, which proved possession of the leaf's key. `Some` only if the
    /// listener's verifier accepted it then; `identify` asks whether it still would.
    pub certificate: Option<Arc<ClientChain>>,
    /// The client's address as the socket has it.
    pub address: IpAddr,
}

/// A token and where it stood.
pub struct Presented {
    value: HeaderValue,
    start: usize,
    pub carrier: Carrier,
}

/// The header that carried a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    Authorization,
    /// `lightstep-access-token`, for SDKs that can only set that.
    AccessToken,
}

impl Presented {
    /// `start` is where the token begins in `value` (after the scheme).
    pub fn new(value: HeaderValue, start: usize, carrier: Carrier) -> Self {
        Presented { value, start, carrier }
    }

    /// The token's bytes; never empty, never logged.
    pub fn bytes(&self) -> &[u8] {
        self.value.as_bytes().get(self.start..).unwrap_or_default()
    }
}

/// A client certificate chain, leaf first, as received in the handshake.
pub struct ClientChain {
    pub certificates: Vec<CertificateDer<'static>>,
    /// The name of the listener whose trust anchors verified it.
    pub listener: Arc<str>,
}
