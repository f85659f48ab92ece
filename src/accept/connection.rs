//! What is known of one downstream connection.
//!
//! What it does: is shared by what judges raw bytes and by the requests, which read what the handshake proved.
//! What it refuses to know: requests' contents, identities.
//! Invariant: it outlives neither its connection nor the requests on it.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::Notify;

use super::client_address::ClientAddress;
use super::{ClientChain, ListenerSettings};
use crate::limits::{Account, Budget};
use crate::lock::Mutex;

/// One accepted connection.
pub struct Connection {
    /// As the newest configuration has it that a call of this connection began with.
    listener: ArcSwap<ListenerSettings>,
    is_tls: bool,
    /// The client, as the socket has it or a trusted proxy's PROXY header.
    pub peer: SocketAddr,
    pub http2: bool,
    /// The client's certificate chain, if the handshake verified one.
    pub chain: Option<Arc<ClientChain>>,
    /// The client's address as records have it, once it was asked for.
    peer_text: OnceLock<String>,
    closing: AtomicBool,
    retiring: AtomicBool,
    continue_wanted: AtomicBool,
    waker: Mutex<Option<Waker>>,
    account: OnceLock<Account>,
    /// Of its calls' records.
    record_accounts: OnceLock<[Account; 2]>,
    /// Calls under way.
    calls: AtomicU32,
    /// It is to take no further call.
    spoilt: Notify,
}

impl Connection {
    pub fn new(
        listener: Arc<ListenerSettings>,
        peer: SocketAddr,
        http2: bool,
        chain: Option<Arc<ClientChain>>,
    ) -> Self {
        Connection {
            is_tls: listener.tls.is_some(),
            listener: ArcSwap::new(listener),
            peer,
            http2,
            chain,
            peer_text: OnceLock::new(),
            closing: AtomicBool::new(false),
            retiring: AtomicBool::new(false),
            continue_wanted: AtomicBool::new(false),
            waker: Mutex::new(None),
            account: OnceLock::new(),
            record_accounts: OnceLock::new(),
            calls: AtomicU32::new(0),
            spoilt: Notify::new(),
        }
    }

    /// What its listener serves, and how.
    pub fn listener(&self) -> Guard<Arc<ListenerSettings>> {
        self.listener.load()
    }

    /// A call begins under a configuration in which the listener has these settings: what was withdrawn by a reload is
    /// withdrawn on open connections, too.
    pub(crate) fn take_over(&self, settings: &Arc<ListenerSettings>) {
        if !Arc::ptr_eq(&self.listener.load(), settings) {
            self.listener.store(settings.clone());
        }
    }

    /// Scheme and authority by which this call's sender knows us: the operator's name for the listener, else what the
    /// call itself names (`Call::authority`).
    pub fn origin(&self, authority: &str) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        match &self.listener().public_url {
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

    /// What its calls' records take their room of, as `of` has it for its address.
    pub(super) fn record_accounts(&self, of: impl FnOnce(IpAddr) -> [Account; 2]) -> &[Account; 2] {
        self.record_accounts.get_or_init(|| of(self.peer.ip()))
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

    /// Asks the connection to end with its next answer. A request that is on its way already is answered.
    pub(super) fn retire(&self) {
        self.retiring.store(true, Ordering::Release);
    }

    /// Whether its next answer is its last.
    pub fn is_retiring(&self) -> bool {
        self.retiring.load(Ordering::Acquire) || self.is_closing()
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
}
