//! How many calls are under way, in total, from each address and on each connection.
//!
//! What it does: gives places and takes them back. What it refuses to know: what a call is for, and who its caller proves to
//! be: a place is taken before anything is asked. Invariants: a place is given back whatever way a call ends, and not
//! before, so that a stream that was reset counts until its call has ended; an address never takes another's places.

use std::net::IpAddr;
use std::sync::Arc;

use super::connection::Connection;
use crate::limits::{Limits, Spent, address_block};
use crate::lock::Mutex;

/// Counts calls over all listeners.
pub struct Calls {
    counts: Mutex<Counts>,
    /// `limits.streams` of the start: what clients are told when they connect does not change by a reload.
    streams: u32,
}

#[derive(Default)]
struct Counts {
    total: u32,
    by_address: ahash::HashMap<IpAddr, u32>,
}

/// One counted call; dropping it gives the place back.
pub(crate) struct CallPlace {
    calls: Arc<Calls>,
    connection: Arc<Connection>,
    address: IpAddr,
}

impl Calls {
    pub fn new(streams: u32) -> Self {
        Calls {
            counts: Mutex::default(),
            streams,
        }
    }

    /// A place for a call. An address has as many as it may have connections, and all together as many as there may be
    /// connections (or as many as one connection may have streams, where that is more): over HTTP/1.1 there are never more,
    /// and HTTP/2 is no way around it. A connection has twice as many as it may have streams: one that was reset, or has just
    /// been answered, is no stream any more, and its call may be under way.
    pub(crate) fn enter(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        client: IpAddr,
        limits: &Limits,
    ) -> Result<Arc<CallPlace>, Spent> {
        let address = address_block(client);
        let mut counts = self.counts.lock();
        let here = counts.by_address.get(&address).copied().unwrap_or_default();
        if here >= limits.connections_per_address.max(self.streams) {
            return Err(Spent::Share);
        }
        if counts.total >= limits.connections.max(self.streams) {
            return Err(Spent::Total);
        }
        if !connection.begin_call(self.streams.saturating_mul(2)) {
            return Err(Spent::Share);
        }
        counts.total += 1;
        counts.by_address.insert(address, here + 1);
        Ok(Arc::new(CallPlace {
            calls: self.clone(),
            connection: connection.clone(),
            address,
        }))
    }
}

impl Drop for CallPlace {
    fn drop(&mut self) {
        self.connection.end_call();
        let mut counts = self.calls.counts.lock();
        counts.total = counts.total.saturating_sub(1);
        match counts.by_address.get_mut(&self.address) {
            Some(here) if *here > 1 => *here -= 1,
            _ => drop(counts.by_address.remove(&self.address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept::{FrontSettings, ListenerSettings, Serves};

    fn connection(peer: &str) -> Arc<Connection> {
        let address = ([127, 0, 0, 1], 0).into();
        let listener = ListenerSettings {
            name: "a".to_owned(),
            address,
            serves: Serves::ALL,
            tls: None,
            public_url: None,
            front: FrontSettings::default(),
        };
        Arc::new(Connection::new(
            Arc::new(listener),
            peer.parse().unwrap(),
            true,
            None,
        ))
    }

    /// Scenario: calls on connections of few addresses, until each bound is reached. Guarantees: each bound holds, the code
    /// says whose it is, and a place that is given back is a place; nothing is remembered of an address without calls.
    #[test]
    fn calls_are_bounded_by_connection_address_and_total() {
        let limits = Limits {
            connections: 7,
            connections_per_address: 5,
            ..Limits::default()
        };
        let calls = Arc::new(Calls::new(2));
        let enter =
            |connection: &Arc<Connection>| calls.enter(connection, connection.peer.ip(), &limits);
        let many = |connection: &Arc<Connection>| -> Vec<_> {
            (0..10).map_while(|_| enter(connection).ok()).collect()
        };
        let (first, second) = (connection("[2001:db8::1]:1"), connection("[2001:db8::2]:1"));
        let mut held = many(&first);
        assert_eq!(
            (held.len(), enter(&first).err()),
            (4, Some(Spent::Share)),
            "twice its streams"
        );
        held.extend(many(&second));
        assert_eq!(
            (held.len(), enter(&second).err()),
            (5, Some(Spent::Share)),
            "one /64 is one address"
        );
        let other = connection("192.0.2.1:1");
        held.extend(many(&other));
        assert_eq!((held.len(), enter(&other).err()), (7, Some(Spent::Total)));
        assert_eq!(
            enter(&first).err(),
            Some(Spent::Share),
            "its own share is used up as well"
        );
        held.pop();
        assert!(enter(&other).is_ok());
        held.clear();
        let counts = calls.counts.lock();
        assert_eq!((counts.total, counts.by_address.len()), (0, 0));
    }
}
