//! How many connections are open, in total and from each address.
//!
//! What it does: gives places and takes them back. What it refuses to know: what a connection is for.
//! Invariants: a place is given back whatever way a connection ends; one that a proxy opened counts as its client's once
//! the proxy has said whose it is, and until then among those that wait, which have half of all places at most, and those of
//! one address no more of that half than they leave.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::limits::{Limits, address_block};
use crate::lock::Mutex;
use crate::reason::Reason;

/// Counts open connections over all listeners.
#[derive(Default)]
pub struct ConnectionLimiter {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    total: u32,
    by_address: HashMap<IpAddr, u32>,
    /// Of proxies whose header has not come yet.
    unnamed: HashMap<IpAddr, u32>,
    unnamed_total: u32,
}

impl Counts {
    /// Counts one more of an address, unless there are enough.
    fn enter(&mut self, address: IpAddr, named: bool, limits: &Limits) -> Result<(), Reason> {
        let (counts, limit) = match named {
            true => (&mut self.by_address, limits.connections_per_address),
            // Silent ones of one machine must hold up no other proxy.
            false => (
                &mut self.unnamed,
                (limits.connections / 2)
                    .max(1)
                    .saturating_sub(self.unnamed_total),
            ),
        };
        let here = counts.get(&address).copied().unwrap_or_default();
        if here >= limit {
            return Err(Reason::ConnectionsPerAddress);
        }
        counts.insert(address, here + 1);
        self.unnamed_total += u32::from(!named);
        Ok(())
    }

    fn leave(&mut self, address: IpAddr, named: bool) {
        let counts = if named {
            &mut self.by_address
        } else {
            &mut self.unnamed
        };
        self.unnamed_total = self.unnamed_total.saturating_sub(u32::from(!named));
        match counts.get_mut(&address) {
            Some(here) if *here > 1 => *here -= 1,
            _ => drop(counts.remove(&address)),
        }
    }
}

/// One counted connection; dropping it gives the place back.
pub(crate) struct ConnectionPlace {
    connection_limiter: Arc<ConnectionLimiter>,
    /// `None`: counted in the total alone.
    counted: Option<(IpAddr, bool)>,
}

impl ConnectionLimiter {
    /// Open connections now.
    pub fn total(&self) -> u32 {
        self.counts.lock().total
    }

    /// A place for a connection. `named`: the address is the client's, not a proxy's.
    pub(super) fn enter(
        self: &Arc<Self>,
        address: IpAddr,
        named: bool,
        limits: &Limits,
    ) -> Result<ConnectionPlace, Reason> {
        let address = address_block(address);
        let mut counts = self.counts.lock();
        if counts.total >= limits.connections {
            return Err(Reason::ConnectionsTotal);
        }
        counts.enter(address, named, limits)?;
        counts.total += 1;
        Ok(ConnectionPlace {
            connection_limiter: self.clone(),
            counted: Some((address, named)),
        })
    }
}

impl ConnectionPlace {
    /// From here on the connection is this client's.
    pub(super) fn name(&mut self, client: IpAddr, limits: &Limits) -> Result<(), Reason> {
        let client = address_block(client);
        let mut counts = self.connection_limiter.counts.lock();
        if let Some((address, named)) = self.counted.take() {
            counts.leave(address, named);
        }
        counts.enter(client, true, limits)?;
        self.counted = Some((client, true));
        Ok(())
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let mut counts = self.connection_limiter.counts.lock();
        counts.total = counts.total.saturating_sub(1);
        if let Some((address, named)) = self.counted {
            counts.leave(address, named);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: connections from addresses that one host can have. Guarantees: they count as one address.
    #[test]
    fn a_host_with_many_addresses_is_one_address() {
        let limits = Limits {
            connections_per_address: 2,
            ..Limits::default()
        };
        for (addresses, expected) in [
            (
                ["192.0.2.1", "192.0.2.1", "192.0.2.1"],
                Some(Reason::ConnectionsPerAddress),
            ),
            (["192.0.2.1", "192.0.2.2", "192.0.2.3"], None),
            (
                ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:0:1"],
                Some(Reason::ConnectionsPerAddress),
            ),
            (
                ["2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:3::1"],
                None,
            ),
        ] {
            let census = Arc::new(ConnectionLimiter::default());
            let places =
                addresses.map(|address| census.enter(address.parse().unwrap(), true, &limits));
            assert_eq!(places[2].as_ref().err().copied(), expected, "{addresses:?}");
            drop(places);
            assert_eq!(
                (census.total(), census.counts.lock().by_address.len()),
                (0, 0),
                "{addresses:?}"
            );
        }
    }

    /// Scenario: connections that a proxy opens, for one client and for many. Guarantees: each counts as its client's once
    /// that is known; those that wait have bounds of their own, for all of them and for each address, which leave places to
    /// clients and to other proxies; all is given back.
    #[test]
    fn a_proxys_connections_are_its_clients() {
        let limits = Limits {
            connections: 16,
            connections_per_address: 2,
            ..Limits::default()
        };
        let census = Arc::new(ConnectionLimiter::default());
        let (proxy, client): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [192, 0, 2, 7].into());
        let mut waiting: Vec<_> = (0..5)
            .map(|_| census.enter(proxy, false, &limits))
            .collect();
        assert_eq!(
            waiting.pop().unwrap().err(),
            Some(Reason::ConnectionsPerAddress),
            "half of a half"
        );
        let other = IpAddr::from([10, 0, 0, 2]);
        let others: Vec<_> = (0..3)
            .map(|_| census.enter(other, false, &limits))
            .collect();
        assert_eq!(
            others.iter().map(Result::is_ok).collect::<Vec<_>>(),
            [true, true, false],
            "of what is left"
        );
        drop(others);
        let mut waiting: Vec<_> = waiting.into_iter().map(Result::unwrap).collect();
        let named: Vec<_> = waiting
            .iter_mut()
            .map(|place| place.name(client, &limits))
            .collect();
        assert_eq!(
            named,
            [
                Ok(()),
                Ok(()),
                Err(Reason::ConnectionsPerAddress),
                Err(Reason::ConnectionsPerAddress)
            ]
        );
        assert!(
            census.enter(client, true, &limits).is_err(),
            "the client has two"
        );
        assert!(
            census.enter(proxy, true, &limits).is_ok(),
            "the proxy has none"
        );
        drop(waiting);
        let counts = census.counts.lock();
        assert_eq!(
            (counts.total, counts.by_address.len(), counts.unnamed.len()),
            (0, 0, 0)
        );
        assert_eq!(counts.unnamed_total, 0);
    }
}
