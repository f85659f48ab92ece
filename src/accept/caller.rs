//! The unverified evidence of who calls.
//!
//! What it does: carries the presented token and the client's certificate chain to `identify`, and refuses two of one kind.
//! What it refuses to know: whether any of it is true. Invariant: not `Clone`; evidence is judged once.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::{AssertionHeader, Fault};

/// What a client showed of itself.
pub struct Caller {
    /// At most one token: two different ones are refused before a `Caller` exists.
    pub token: Option<Presented>,
    /// The chain of the TLS handshake, which proved possession of the leaf's key. `Some` only if the
    /// listener's verifier accepted it then; `identify` asks whether it still would.
    pub certificate: Option<Arc<ClientChain>>,
    /// A browser's session. Never beside a token: that is refused before a `Caller` exists.
    pub session: Option<SessionCookie>,
    /// A proof of possession, and what it must be about. `Some` if one came, or if the token's scheme needs one.
    pub proof: Option<Box<PresentedProof>>,
    /// The client's address, as the connection has it until a trusted proxy's header says better.
    pub address: IpAddr,
}

/// The sealed session of a browser, unopened.
pub struct SessionCookie {
    pub value: Zeroizing<String>,
    /// Scheme and authority that the browser used, to which the session is sealed.
    pub origin: String,
}

/// What came for a proof, and what it must be about. Judged once, like the token beside it.
pub struct PresentedProof {
    pub lines: ProofLines,
    pub method: Method,
    /// `public_url` of the listener and the canonical path; `None` where the listener has no name of its own.
    pub url: Option<String>,
}

/// The `dpop` lines of a head.
pub enum ProofLines {
    None,
    One(HeaderValue),
    /// RFC 9449 section 4.3: there must not be more than one.
    Several,
}

/// What every client token begins with, so that it is told from an issuer's token (which cannot: base64url of a
/// JSON object begins with `ey` or `ew`) and found by secret scanners.
pub(crate) const CLIENT_TOKEN_PREFIX: &str = "lk_";

/// What every signed call to AWS begins with that a caller shows as a token: the form of tokens for EKS. No signed token of an
/// issuer does, because `-` and `.` stand where its header would begin.
pub(crate) const AWS_PROOF_PREFIX: &str = "k8s-aws-v1.";

/// A token and where it stood.
pub struct Presented {
    value: TokenBytes,
    start: usize,
    pub carrier: Carrier,
}

enum TokenBytes {
    Header(HeaderValue),
    /// Decoded, or from a body.
    Owned(Zeroizing<Vec<u8>>),
}

/// The place that carried a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carrier {
    Authorization,
    /// The same by the scheme `DPoP` (RFC 9449 section 7.1): the token counts with a proof alone.
    Dpop,
    /// `lightstep-access-token`, for SDKs that can only set that, or another place of the backend's own token: a
    /// Basic password, Firehose's access key, a legacy report's body.
    AccessToken,
    /// The header of a proxy's assertion, which counts for the issuers alone that name it.
    Assertion(AssertionHeader),
}

/// The one line of this name, if there is any. A line that is repeated is one: some exporters write their token both as a
/// configured header and by an authenticator.
pub(super) fn only<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    is_same: fn(&HeaderValue, &HeaderValue) -> bool,
) -> Result<Option<&'h HeaderValue>, Fault> {
    let mut lines = headers.get_all(name).iter();
    let Some(first) = lines.next() else {
        return Ok(None);
    };
    if lines.all(|line| is_same(first, line)) {
        Ok(Some(first))
    } else {
        Err(Fault::CredentialConflict)
    }
}

impl Presented {
    /// `start` is where the token begins in `value` (after the scheme).
    pub fn new(value: HeaderValue, start: usize, carrier: Carrier) -> Self {
        Presented {
            value: TokenBytes::Header(value),
            start,
            carrier,
        }
    }

    /// A token that stands in no header as it is. Wiped when dropped.
    pub fn owned(token: Zeroizing<Vec<u8>>, carrier: Carrier) -> Self {
        Presented {
            value: TokenBytes::Owned(token),
            start: 0,
            carrier,
        }
    }

    /// The token's bytes; never empty, never logged.
    pub fn bytes(&self) -> &[u8] {
        let value = match &self.value {
            TokenBytes::Header(value) => value.as_bytes(),
            TokenBytes::Owned(token) => token,
        };
        value.get(self.start..).unwrap_or_default()
    }

    /// The header, if a proxy's assertion stood there.
    pub fn assertion(&self) -> Option<&AssertionHeader> {
        match &self.carrier {
            Carrier::Assertion(header) => Some(header),
            Carrier::Authorization | Carrier::Dpop | Carrier::AccessToken => None,
        }
    }

    /// Whether this is meant as a signed call to AWS, well or not.
    pub(crate) fn is_aws_proof(&self) -> bool {
        self.bytes().starts_with(AWS_PROOF_PREFIX.as_bytes())
    }

    /// Whether this is meant as a client token, well or not.
    pub(crate) fn is_client_token(&self) -> bool {
        self.bytes().starts_with(CLIENT_TOKEN_PREFIX.as_bytes())
    }
}

/// A client certificate chain, leaf first, as received in the handshake.
pub struct ClientChain {
    pub certificates: Vec<CertificateDer<'static>>,
    /// The name of the listener whose trust anchors verified it.
    pub listener: Arc<str>,
}
