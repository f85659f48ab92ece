//! What is known of one downstream connection.
//!
//! What it does: is shared by what judges raw bytes and by the requests, which read what the handshake proved.
//! What it refuses to know: requests' contents, identities.
//! Invariant: it outlives neither its connection nor the requests on it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use tokio::sync::Notify;

use super::client_address::ClientAddress;
use super::{ClientChain, Dialect, Fault, ListenerSettings};
use crate::limits::{Account, Budget};
use crate::lock::Mutex;

/// One accepted connection.
pub struct Connection {
    pub listener: Arc<ListenerSettings>,
    /// The client, as the socket has it or a trusted proxy's PROXY header.
    pub peer: SocketAddr,
    pub http2: bool,
    /// The client's certificate chain, if the handshake verified one.
    pub chain: Option<Arc<ClientChain>>,
    /// The client's address as records have it, once it was asked for.
    peer_text: OnceLock<String>,
    closing: AtomicBool,
    continue_wanted: AtomicBool,
    broken: Mutex<Option<BrokenHead>>,
    waker: Mutex<Option<Waker>>,
    account: OnceLock<Account>,
    /// Calls under way.
    calls: AtomicU32,
    /// It is to take no further call.
    spoilt: Notify,
}

/// A head that was refused before it was parsed, as far as it could be read.
#[derive(Debug)]
pub struct BrokenHead {
    pub fault: Fault,
    pub dialect: Dialect,
    /// At most 16 bytes, a token, or empty.
    pub method: String,
    /// Without a query, as it came: its record escapes and cuts it.
    pub path: String,
}

impl Connection {
    pub fn new(
        listener: Arc<ListenerSettings>,
        peer: SocketAddr,
        http2: bool,
        chain: Option<Arc<ClientChain>>,
    ) -> Self {
        Connection {
            listener,
            peer,
            http2,
            chain,
            peer_text: OnceLock::new(),
            closing: AtomicBool::new(false),
            continue_wanted: AtomicBool::new(false),
            broken: Mutex::new(None),
            waker: Mutex::new(None),
            account: OnceLock::new(),
            calls: AtomicU32::new(0),
            spoilt: Notify::new(),
        }
    }

    /// Scheme and authority by which this call's sender knows us: the operator's name for the listener, else what the
    /// call itself names (`Call::authority`).
    pub fn origin(&self, authority: &str) -> String {
        let scheme = if self.listener.tls.is_some() {
            "https"
        } else {
            "http"
        };
        match &self.listener.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("{scheme}://{authority}"),
        }
    }

    /// The client's address as records have it.
    pub(super) fn peer_text(&self) -> &str {
        self.peer_text
            .get_or_init(|| ClientAddress::from(self.peer).to_string())
    }

    /// The account of its calls until their identity is proven.
    pub(super) fn account(&self, budget: &Arc<Budget>) -> &Account {
        self.account.get_or_init(|| budget.unproven(self.peer.ip()))
    }

    /// Counts a call; false where as many as may be are under way.
    pub(super) fn begin_call(&self, most: u32) -> bool {
        self.calls
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |calls| {
                (calls < most).then_some(calls + 1)
            })
            .is_ok()
    }

    pub(super) fn end_call(&self) {
        self.calls.fetch_sub(1, Ordering::AcqRel);
    }

    /// Nothing that comes can be understood any more: calls under way may end, others go elsewhere.
    pub(super) fn spoil(&self) {
        self.spoilt.notify_one();
    }

    /// Waits until it is.
    pub(super) async fn spoilt(&self) {
        self.spoilt.notified().await;
    }

    /// The request may send its body: tell a client that waits to be told (RFC 9110 section 10.1.1).
    pub fn allow_continue(&self) {
        self.continue_wanted.store(true, Ordering::Release);
    }

    pub(super) fn take_continue(&self) -> bool {
        self.continue_wanted.load(Ordering::Acquire)
            && self.continue_wanted.swap(false, Ordering::AcqRel)
    }

    /// Asks the connection to close once the request in flight, if any, has been answered.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether no further request is wanted on this connection.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Remembers the task to wake when `close` is called while the stream waits for a head.
    pub(super) fn sleep_with(&self, waker: &Waker) {
        let mut kept = self.waker.lock();
        match kept.as_ref() {
            Some(known) if known.will_wake(waker) => {}
            _ => *kept = Some(waker.clone()),
        }
    }

    pub(super) fn break_head(&self, head: BrokenHead) {
        *self.broken.lock() = Some(head);
    }

    /// The refused head that the request just begun stands for, once.
    pub fn take_broken_head(&self) -> Option<BrokenHead> {
        if self.http2 {
            return None;
        }
        self.broken.lock().take()
    }
}
