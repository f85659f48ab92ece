//! Where a request's body comes from, and how much of it can be sent again.
//!
//! What it does: gives body pieces, remembering the first of them for a second try. What it refuses to
//! know: connections. Invariant: what is remembered is bounded; a body that outgrew it is not sent twice.

use std::future::Future;

use bytes::Bytes;

use crate::accept::{Fault, Framed};

/// What a body may hold and still be sent a second time, in bytes.
const REPLAY_LIMIT_BYTES: usize = 64 * 1024;

/// Gives a body piece by piece.
pub trait Supply: Send {
    /// The next piece, never empty; `None` at the end. The fault is the caller's.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, Fault>> + Send;

    fn framed(&self) -> Framed;

    /// Waits until the caller has gone and nobody wants the answer; for ever where that cannot be seen.
    fn gone(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// A body that is in memory already.
pub struct Whole(pub Bytes);

impl Supply for Whole {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let body = std::mem::take(&mut self.0);
        Ok((!body.is_empty()).then_some(body))
    }

    fn framed(&self) -> Framed {
        Framed::Length(self.0.len() as u64)
    }
}

/// A body that can be begun again as long as little of it has been given.
pub struct Replayable<S> {
    supply: S,
    framed: Framed,
    kept: Vec<Bytes>,
    kept_bytes: usize,
    outgrown: bool,
    at: usize,
}

impl<S: Supply> Replayable<S> {
    pub fn new(supply: S) -> Self {
        Replayable { framed: supply.framed(), supply, kept: Vec::new(), kept_bytes: 0, outgrown: false, at: 0 }
    }

    /// A body that is never sent a second time: what it asks for may not be done twice.
    pub fn once(supply: S) -> Self {
        Replayable { outgrown: true, ..Self::new(supply) }
    }

    pub fn framed(&self) -> Framed {
        self.framed
    }

    /// Waits until the caller has gone.
    pub async fn gone(&mut self) {
        self.supply.gone().await;
    }

    /// Begins again; false if that must not be, or too much has been given to remember.
    pub fn rewind(&mut self) -> bool {
        self.at = 0;
        !self.outgrown
    }

    pub async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
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
