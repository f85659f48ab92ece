//! Places for watches of health.
//!
//! What it does: counts the watches of each network and of all. What it refuses to know: what a watch is told.
//! Invariants: neither one network nor all together hold more than their bound; a dropped place is given back.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::limits::address_block;
use crate::lock::Mutex;

/// Watches that are open at once. A gRPC client holds one for each backend that it has of us.
const WATCHES_LIMIT: usize = 256;

const WATCHES_PER_ADDRESS_LIMIT: usize = 16;

/// Places for watches.
#[derive(Default)]
pub(crate) struct Watches {
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// A watch's place; dropping it gives it back.
pub(crate) struct WatchPlace {
    watches: Arc<Watches>,
    address: IpAddr,
}

impl Watches {
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<WatchPlace> {
        let address = address_block(address);
        let mut counts = self.by_address.lock();
        let here = counts.get(&address).copied().unwrap_or_default();
        if here >= WATCHES_PER_ADDRESS_LIMIT || counts.values().sum::<usize>() >= WATCHES_LIMIT {
            return None;
        }
        counts.insert(address, here + 1);
        Some(WatchPlace {
            watches: self.clone(),
            address,
        })
    }
}

impl Drop for WatchPlace {
    fn drop(&mut self) {
        let mut counts = self.watches.by_address.lock();
        match counts.get_mut(&self.address) {
            Some(here) if *here > 1 => *here -= 1,
            _ => drop(counts.remove(&self.address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: watches from one address, then from many. Guarantees: neither takes more than its share; a place that is
    /// given back is a place, and nothing is remembered of an address without one.
    #[test]
    fn watches_are_bounded() {
        let watches = Arc::new(Watches::default());
        let address = |number: usize| IpAddr::from([192, 0, 2, u8::try_from(number).unwrap()]);
        let take = |number: usize, count: usize| -> Vec<_> {
            (0..count)
                .map_while(|_| watches.take(address(number)))
                .collect()
        };
        let alone = take(1, 1000);
        assert_eq!(alone.len(), WATCHES_PER_ADDRESS_LIMIT);
        let others: Vec<_> = (2..250).flat_map(|number| take(number, 1000)).collect();
        assert_eq!(alone.len() + others.len(), WATCHES_LIMIT);
        assert!(watches.take(address(250)).is_none());
        drop(alone);
        assert!(watches.take(address(250)).is_some());
        drop(others);
        assert!(watches.by_address.lock().is_empty());
    }
}
