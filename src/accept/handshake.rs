//! What a handshake's verifier found out about a certificate that it refuses.
//!
//! What it does: takes the verifier's words to the accept loop, which otherwise learns an alert's name alone.
//! What it refuses to know: why a certificate is refused. Invariant: what is told belongs to the handshake that is under
//! way on this task, and to no other.

use std::cell::RefCell;

use crate::reason::Reason;
use serde::Serialize;

/// A client certificate, as records tell of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownCertificate {
    /// The authority that its chain leads to, if it leads to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Of the leaf's DER, lower-case hexadecimal.
    pub sha256: String,
}

tokio::task_local! {
    static REFUSED: RefCell<Option<(Reason, ShownCertificate)>>;
}

/// Tells the accept loop of a certificate that is refused, with a stable code. Outside of a handshake, nothing happens.
pub(crate) fn refused_in_handshake(reason: Reason, certificate: ShownCertificate) {
    // The error means that no handshake is under way on this task.
    let _ = REFUSED.try_with(|place| place.replace(Some((reason, certificate))));
}

/// Runs a handshake, and gives what its verifier told.
pub(super) async fn listened<F: Future>(
    handshake: F,
) -> (F::Output, Option<(Reason, ShownCertificate)>) {
    let listening = async {
        let outcome = handshake.await;
        (outcome, REFUSED.with(RefCell::take))
    };
    REFUSED.scope(RefCell::new(None), listening).await
}
