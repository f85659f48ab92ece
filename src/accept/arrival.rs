//! What the accept loop tells the requests of a connection.
//!
//! What it does: names the connection, its client and the request's place. What it refuses to know: heads, identities.
//! Invariant: a place is one request's, never its connection's.

use std::net::IpAddr;
use std::sync::Arc;

use super::calls::CallPlace;
use super::client_address::ClientAddress;
use super::connection::Connection;
use super::http1::Body;
use crate::limits::{Account, Budget, Spent};

/// Where a request came in.
#[derive(Clone)]
pub(crate) struct Arrival {
    pub connection: Arc<Connection>,
    /// Whose request it is: the connection's, or as a trusted proxy's header says.
    pub client: ClientAddress,
    /// Its place among the calls at once, or why it has none.
    pub place: Result<Arc<CallPlace>, Spent>,
    body: Option<Body>,
}

impl Arrival {
    /// `body`: of HTTP/1.1; the framework reads that of HTTP/2.
    pub(super) fn new(connection: Arc<Connection>, body: Option<Body>) -> Self {
        let client = connection.peer.into();
        // Each request asks for a place of its own.
        let place = Err(Spent::Total);
        Arrival {
            connection,
            client,
            place,
            body,
        }
    }

    /// The client's address as records have it.
    pub(crate) fn client_text(&self) -> String {
        if self.client == ClientAddress::from(self.connection.peer) {
            self.connection.peer_text().to_owned()
        } else {
            self.client.to_string()
        }
    }

    /// The account of this request until its identity is proven.
    pub(crate) fn account(&self, budget: &Arc<Budget>) -> Account {
        if self.client.ip == self.connection.peer.ip() {
            self.connection.account(budget).clone()
        } else {
            budget.unproven(self.client.ip)
        }
    }

    /// What its record's place and memory are taken of, as `of` has it for an address: asked once for each connection, since
    /// calls come one after the other.
    pub(crate) fn record_accounts(&self, of: impl FnOnce(IpAddr) -> [Account; 2]) -> [Account; 2] {
        if self.client.ip == self.connection.peer.ip() {
            self.connection.record_accounts(of).clone()
        } else {
            of(self.client.ip)
        }
    }

    /// The body of the request in flight; `None` on HTTP/2, where the framework reads it.
    pub(crate) fn body(&self) -> Option<&Body> {
        self.body.as_ref()
    }
}
