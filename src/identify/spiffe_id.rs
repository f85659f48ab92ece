//! SPIFFE IDs as texts.
//!
//! What it does: tells which texts are the IDs of workloads and the names of trust domains, and whose an ID claims to be.
//! What it refuses to know: what the ID stands in, and who may issue it. Invariant: nothing is repaired; an ID in another
//! case, with an escape or with dots for segments is none.

const SCHEME: &str = "spiffe://";

/// SPIFFE-ID section 2.3.
const SPIFFE_ID_LIMIT_BYTES: usize = 2048;

/// SPIFFE-ID section 2.1.
const TRUST_DOMAIN_LIMIT_BYTES: usize = 255;

/// SPIFFE-ID section 2: scheme and trust domain in lower case, a path of plain segments, nothing else. A
/// trust domain's own ID (without a path) names a bundle and no workload (X.509-SVID section 5.2).
pub(super) fn is_spiffe_id(id: &str) -> bool {
    let Some(rest) = id.strip_prefix(SCHEME) else {
        return false;
    };
    let Some((domain, path)) = rest.split_once('/') else {
        return false;
    };
    let in_path = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let segment =
        |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(in_path);
    id.len() <= SPIFFE_ID_LIMIT_BYTES && is_trust_domain(domain) && path.split('/').all(segment)
}

/// SPIFFE-ID section 2.1.
pub(crate) fn is_trust_domain(name: &str) -> bool {
    let allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.')
    };
    (1..=TRUST_DOMAIN_LIMIT_BYTES).contains(&name.len()) && name.bytes().all(allowed)
}

/// What stands between the scheme and the path of a text that is a SPIFFE ID, a pattern of such, or neither.
pub(crate) fn trust_domain_of(id: &str) -> Option<&str> {
    id.strip_prefix(SCHEME)?.split('/').next()
}
