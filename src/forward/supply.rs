//! Where a request's body comes from, and how much of it can be sent again.
//!
//! What it does: gives body pieces, remembering the first of them for a second try. What it refuses to
//! know: connections. Invariant: what is remembered is bounded; a body that outgrew it is not sent twice.

use std::future::Future;

use bytes::Bytes;
use tokio::sync::watch;

use crate::accept::{Fault, Framed};

/// What a body may hold and still be sent a second time, in bytes.
const REPLAY_LIMIT_BYTES: usize = 64 * 1024;

/// Gives a body piece by piece.
pub(crate) trait Supply: Send {
    /// The next piece, never empty; `None` at the end. The fault is the caller's.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, Fault>> + Send;

    fn framed(&self) -> Framed;

    /// Waits until the caller has gone and does not want the answer; for ever where that cannot be seen.
    fn gone(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// The same where nothing of the body has been sent, so that giving up loses nothing.
    fn gone_before(&mut self) -> impl Future<Output = ()> + Send {
        self.gone()
    }

    /// Begins again from the first piece; false where the pieces are not held any more.
    fn again(&mut self) -> bool {
        false
    }
}

/// A body that is in memory already.
pub(crate) struct Whole(pub Bytes);

impl Supply for Whole {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let body = std::mem::take(&mut self.0);
        Ok((!body.is_empty()).then_some(body))
    }

    fn framed(&self) -> Framed {
        Framed::Length(self.0.len() as u64)
    }
}

/// A body in memory, in pieces that belong to a larger one.
pub(crate) struct Pieces {
    pieces: Vec<Bytes>,
    bytes: u64,
    at: usize,
    caller_gone: Option<watch::Receiver<bool>>,
}

impl Pieces {
    pub(crate) fn new(mut pieces: Vec<Bytes>) -> Self {
        pieces.retain(|piece| !piece.is_empty());
        Pieces {
            bytes: pieces.iter().map(|piece| piece.len() as u64).sum(),
            pieces,
            at: 0,
            caller_gone: None,
        }
    }

    /// `caller_gone`: true once the caller has gone. What has begun to be sent is sent to its end, because what became of it
    /// must be known; what has not is given up.
    pub(crate) fn unless(mut self, caller_gone: watch::Receiver<bool>) -> Self {
        self.caller_gone = Some(caller_gone);
        self
    }
}

impl Supply for Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let piece = self.pieces.get(self.at).cloned();
        self.at += usize::from(piece.is_some());
        Ok(piece)
    }

    fn framed(&self) -> Framed {
        Framed::Length(self.bytes)
    }

    async fn gone_before(&mut self) {
        let told = match &mut self.caller_gone {
            Some(gone) => gone.wait_for(|gone| *gone).await.is_ok(),
            None => false,
        };
        if !told {
            std::future::pending().await
        }
    }

    fn again(&mut self) -> bool {
        self.at = 0;
        true
    }
}

/// A body that can be begun again as long as little of it has been given.
pub(crate) struct Replayable<S> {
    supply: S,
    framed: Framed,
    kept: Vec<Bytes>,
    kept_bytes: usize,
    outgrown: bool,
    at: usize,
}

impl<S: Supply> Replayable<S> {
    pub(crate) fn new(supply: S) -> Self {
        Replayable {
            framed: supply.framed(),
            supply,
            kept: Vec::new(),
            kept_bytes: 0,
            outgrown: false,
            at: 0,
        }
    }

    pub(crate) fn framed(&self) -> Framed {
        self.framed
    }

    /// Waits until the caller has gone.
    pub(crate) async fn gone(&mut self) {
        self.supply.gone().await;
    }

    /// Waits until the caller has gone, where nothing of the body has been sent.
    pub(crate) async fn gone_before(&mut self) {
        self.supply.gone_before().await;
    }

    /// Begins again; false if too much has been given to remember.
    pub(crate) fn rewind(&mut self) -> bool {
        self.at = 0;
        if self.outgrown && self.supply.again() {
            self.outgrown = false;
            self.kept = Vec::new();
            self.kept_bytes = 0;
        }
        !self.outgrown
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        if let Some(piece) = self.kept.get(self.at) {
            self.at += 1;
            return Ok(Some(piece.clone()));
        }
        let piece = self.supply.next().await?;
        if let Some(piece) = piece.as_ref().filter(|_| !self.outgrown) {
            self.kept_bytes += piece.len();
            if self.kept_bytes > REPLAY_LIMIT_BYTES {
                self.outgrown = true;
                self.kept = Vec::new();
            } else {
                self.kept.push(piece.clone());
                self.at = self.kept.len();
            }
        }
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: bodies small and large are given, begun again, and given once more. Guarantees: what is held in
    /// memory anyway can always be sent a second time.
    #[tokio::test]
    async fn pieces_can_be_sent_again_whatever_their_size() {
        for size in [
            1,
            REPLAY_LIMIT_BYTES - 1,
            REPLAY_LIMIT_BYTES + 1,
            3 * REPLAY_LIMIT_BYTES,
        ] {
            let pieces = vec![
                Bytes::from(vec![7; size]),
                Bytes::new(),
                Bytes::from_static(b"end"),
            ];
            let mut body = Replayable::new(Pieces::new(pieces.clone()));
            assert_eq!(body.framed(), Framed::Length(size as u64 + 3));
            for _ in 0..3 {
                let mut whole = Vec::new();
                while let Some(piece) = body.next().await.unwrap() {
                    whole.extend_from_slice(&piece);
                }
                assert_eq!(whole.len(), size + 3, "{size}");
                assert!(whole.ends_with(b"end"));
                assert!(body.rewind());
            }
        }
    }
}
