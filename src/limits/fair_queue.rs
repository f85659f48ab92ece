//! A few places for work that many can cause: taken in turn, by address or by another key.
//!
//! What it does: gives out places, makes those wait who come when all are taken, and serves the keys that wait one after
//! the other. What it refuses to know: what a place is for, and what a key that is no address stands for. Invariants:
//! never more places are taken than there are, in all and by one key; a place is free for the next no sooner than
//! `held_at_least` after it was taken, so that places divided by that time bound the pace; a key waits behind at most
//! one of each other key at a time; when too many wait, the last of the longest line is turned away.

use std::collections::VecDeque;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::lock::{Mutex, MutexGuard};

/// How many, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FairQueueBounds {
    /// Places that are taken at once.
    pub places: usize,
    /// Of them by one key.
    pub(crate) places_per_address: usize,
    /// How many wait at once.
    pub waiting: usize,
    /// Of them with one key.
    pub(crate) waiting_per_address: usize,
    /// The longest wait.
    pub patience: Duration,
    /// The shortest time from taking a place to its next use.
    pub(crate) held_at_least: Duration,
}

/// The places and those who wait for them.
#[derive(Clone, Debug)]
pub struct FairQueue<K: QueueKey = IpAddr>(Arc<QueueState<K>>);

/// What tells those apart who wait.
pub trait QueueKey: Copy + Eq + Hash + Send + Sync + 'static {}

impl<K: Copy + Eq + Hash + Send + Sync + 'static> QueueKey for K {}

#[derive(Debug)]
struct QueueState<K: QueueKey> {
    bounds: FairQueueBounds,
    state: Mutex<State<K>>,
}

#[derive(Debug)]
struct State<K: QueueKey> {
    taken: usize,
    waiting: usize,
    /// Those that hold a place or wait for one.
    addresses: ahash::HashMap<K, Line<K>>,
    /// Those that wait, in the order in which they are served.
    order: VecDeque<K>,
}

#[derive(Debug)]
struct Line<K: QueueKey> {
    taken: usize,
    waiting: VecDeque<oneshot::Sender<Turn<K>>>,
}

impl<K: QueueKey> Default for Line<K> {
    fn default() -> Self {
        Line {
            taken: 0,
            waiting: VecDeque::new(),
        }
    }
}

/// A place that was taken; dropping it gives the place back.
#[derive(Debug)]
pub struct Turn<K: QueueKey = IpAddr>(Arc<HeldTurn<K>>);

#[derive(Debug)]
struct HeldTurn<K: QueueKey> {
    queue: Arc<QueueState<K>>,
    address: K,
}

/// The addresses that one client is likely to have: an IPv6 client commonly has a whole /64 (RFC 6177 section 2).
pub(crate) fn address_block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

impl FairQueue {
    /// A place for a call from this address, at once or in its turn. `None`: too many wait, or it took too long.
    pub async fn take(&self, address: IpAddr) -> Option<Turn> {
        self.take_as(address_block(address)).await
    }
}

impl<K: QueueKey> FairQueue<K> {
    pub(crate) fn new(bounds: FairQueueBounds) -> Self {
        let state = State {
            taken: 0,
            waiting: 0,
            addresses: ahash::HashMap::default(),
            order: VecDeque::new(),
        };
        FairQueue(Arc::new(QueueState {
            bounds,
            state: Mutex::new(state),
        }))
    }

    /// The same for whatever a key stands for.
    pub async fn take_as(&self, key: K) -> Option<Turn<K>> {
        let bounds = &self.0.bounds;
        let place = match self.0.take_at_once(key) {
            Some(place) => place,
            None => {
                let promised = self.0.join(key)?;
                let waiting = tokio::time::timeout(bounds.patience, promised);
                waiting.await.ok()?.ok()?
            }
        };
        if !bounds.held_at_least.is_zero() {
            let (kept, time) = (place.0.clone(), bounds.held_at_least);
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                drop(kept);
            });
        }
        Some(place)
    }

    /// How many places there are.
    pub fn places(&self) -> usize {
        self.0.bounds.places
    }

    /// How many wait now.
    pub fn waiting(&self) -> usize {
        self.0.locked().waiting
    }
}

impl<K: QueueKey> QueueState<K> {
    /// A place where none waits and one is free: what standing in line would come to, without a line.
    fn take_at_once(self: &Arc<Self>, address: K) -> Option<Turn<K>> {
        let bounds = &self.bounds;
        let mut state = self.locked();
        if state.waiting > 0
            || state.taken >= bounds.places
            || bounds.waiting.min(bounds.waiting_per_address) == 0
        {
            return None;
        }
        let line = state.addresses.entry(address).or_default();
        if line.taken >= bounds.places_per_address {
            state.forget_if_idle(address);
            return None;
        }
        line.taken += 1;
        state.taken += 1;
        Some(Turn(Arc::new(HeldTurn {
            queue: self.clone(),
            address,
        })))
    }

    /// Stands in line, and is served at once if a place is free.
    fn join(self: &Arc<Self>, address: K) -> Option<oneshot::Receiver<Turn<K>>> {
        let (sender, promised) = oneshot::channel();
        {
            let mut state = self.locked();
            if state.waiting >= self.bounds.waiting
                || state.line(address) >= self.bounds.waiting_per_address
            {
                state.forget_those_who_left();
            }
            if state.line(address) >= self.bounds.waiting_per_address {
                return None;
            }
            if state.waiting >= self.bounds.waiting {
                state.shorten_the_longest(address)?;
            }
            let line = state.addresses.entry(address).or_default();
            line.waiting.push_back(sender);
            let is_first = line.waiting.len() == 1;
            state.waiting += 1;
            if is_first {
                state.order.push_back(address);
            }
        }
        self.serve();
        Some(promised)
    }

    /// Gives free places to those who wait.
    fn serve(self: &Arc<Self>) {
        while let Some((address, sender)) = self.next() {
            // A place that comes too late is dropped here, which serves the next.
            let _ = sender.send(Turn(Arc::new(HeldTurn {
                queue: self.clone(),
                address,
            })));
        }
    }

    /// Whose turn it is, if there is a place for them; it is counted as taken.
    fn next(&self) -> Option<(K, oneshot::Sender<Turn<K>>)> {
        let mut state = self.locked();
        let mut passed_over = 0;
        while state.taken < self.bounds.places && passed_over < state.order.len() {
            let address = state.order.pop_front()?;
            let Some(line) = state.addresses.get_mut(&address) else {
                continue;
            };
            if line.taken >= self.bounds.places_per_address {
                state.order.push_back(address);
                passed_over += 1;
                continue;
            }
            let Some(sender) = line.waiting.pop_front() else {
                continue;
            };
            let is_left = sender.is_closed();
            line.taken += usize::from(!is_left);
            let others_wait = !line.waiting.is_empty();
            state.waiting = state.waiting.saturating_sub(1);
            state.taken += usize::from(!is_left);
            if others_wait {
                state.order.push_back(address);
            } else {
                state.forget_if_idle(address);
            }
            if !is_left {
                return Some((address, sender));
            }
        }
        None
    }

    fn locked(&self) -> MutexGuard<'_, State<K>> {
        // The counts are sound after every statement that can panic: there is none in between.
        self.state.lock()
    }
}

impl<K: QueueKey> State<K> {
    fn line(&self, address: K) -> usize {
        self.addresses
            .get(&address)
            .map_or(0, |line| line.waiting.len())
    }

    /// Callers that no longer wait keep no place in line.
    fn forget_those_who_left(&mut self) {
        for line in self.addresses.values_mut() {
            line.waiting.retain(|sender| !sender.is_closed());
        }
        self.waiting = self.addresses.values().map(|line| line.waiting.len()).sum();
        let addresses = &self.addresses;
        self.order.retain(|address| {
            addresses
                .get(address)
                .is_some_and(|line| !line.waiting.is_empty())
        });
        self.addresses
            .retain(|_, line| line.taken > 0 || !line.waiting.is_empty());
    }

    /// Turns the last of the longest line away, for the sake of an address whose line is shorter.
    fn shorten_the_longest(&mut self, newcomer: K) -> Option<()> {
        let own = self.line(newcomer);
        let (_, longest) = self
            .addresses
            .iter_mut()
            .max_by_key(|(_, line)| line.waiting.len())?;
        if longest.waiting.len() <= own + 1 {
            return None;
        }
        drop(longest.waiting.pop_back());
        self.waiting = self.waiting.saturating_sub(1);
        Some(())
    }

    fn forget_if_idle(&mut self, address: K) {
        if self
            .addresses
            .get(&address)
            .is_some_and(|line| line.taken == 0 && line.waiting.is_empty())
        {
            self.addresses.remove(&address);
        }
    }
}

impl<K: QueueKey> Drop for HeldTurn<K> {
    fn drop(&mut self) {
        {
            let mut state = self.queue.locked();
            state.taken = state.taken.saturating_sub(1);
            if let Some(line) = state.addresses.get_mut(&self.address) {
                line.taken = line.taken.saturating_sub(1);
            }
            state.forget_if_idle(self.address);
        }
        self.queue.serve();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn queue(
        places: usize,
        places_per_address: usize,
        waiting: usize,
        held_at_least: Duration,
    ) -> FairQueue {
        let waiting_per_address = waiting.min(8);
        FairQueue::new(FairQueueBounds {
            places,
            places_per_address,
            waiting,
            waiting_per_address,
            patience: HOUR,
            held_at_least,
        })
    }

    fn address(number: u8) -> IpAddr {
        [192, 0, 2, number].into()
    }

    type Waiting = Pin<Box<dyn Future<Output = Option<Turn>> + Send>>;

    /// Begins to take a place, and says what came of it so far.
    fn ask(queue: &FairQueue, number: u8) -> (Waiting, Poll<Option<Turn>>) {
        let queue = queue.clone();
        let mut waiting: Waiting = Box::pin(async move { queue.take(address(number)).await });
        let now = look(&mut waiting);
        (waiting, now)
    }

    fn look(waiting: &mut Waiting) -> Poll<Option<Turn>> {
        waiting
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
    }

    fn taken(now: Poll<Option<Turn>>) -> Turn {
        match now {
            Poll::Ready(Some(place)) => place,
            other => panic!("no place: {other:?}"),
        }
    }

    #[tokio::test]
    async fn addresses_are_served_in_turn_however_many_of_one_wait() {
        let queue = queue(1, 1, 100, Duration::ZERO);
        let held = taken(ask(&queue, 1).1);
        let mut flood: Vec<Waiting> = (0..5).map(|_| ask(&queue, 1).0).collect();
        let mut others: Vec<Waiting> = (2..4).map(|number| ask(&queue, number).0).collect();
        let mut late = ask(&queue, 1).0;
        assert_eq!(queue.waiting(), 8);
        drop(held);
        let held = taken(look(&mut flood[0]));
        assert!(look(&mut others[0]).is_pending());
        drop(held);
        let held = taken(look(&mut others[0]));
        drop(held);
        let held = taken(look(&mut others[1]));
        for waiting in &mut flood[1..] {
            assert!(look(waiting).is_pending());
        }
        drop(held);
        for waiting in &mut flood[1..] {
            drop(taken(look(waiting)));
        }
        drop(taken(look(&mut late)));
        let state = queue.0.locked();
        assert!(
            state.taken == 0 && state.addresses.is_empty() && state.order.is_empty(),
            "{state:?}"
        );
    }

    #[tokio::test]
    async fn one_address_never_holds_all_places() {
        let queue = queue(4, 3, 100, Duration::ZERO);
        let held: Vec<Turn> = (0..3).map(|_| taken(ask(&queue, 1).1)).collect();
        let (mut fourth, now) = ask(&queue, 1);
        assert!(now.is_pending());
        let other = taken(ask(&queue, 2).1);
        drop(other);
        assert!(look(&mut fourth).is_pending(), "a place is left for others");
        drop(held);
        drop(taken(look(&mut fourth)));
    }

    #[tokio::test]
    async fn a_place_is_used_again_only_after_its_time() {
        let slow = queue(2, 2, 10, HOUR);
        drop((taken(ask(&slow, 1).1), taken(ask(&slow, 2).1)));
        assert!(
            ask(&slow, 3).1.is_pending(),
            "two within the hour, and no more"
        );
        let quick = queue(1, 1, 10, Duration::from_millis(5));
        drop(taken(ask(&quick, 1).1));
        assert!(quick.take(address(2)).await.is_some());
    }

    #[tokio::test]
    async fn who_left_or_came_too_late_holds_nothing() {
        let queue = queue(1, 1, 2, Duration::ZERO);
        let held = taken(ask(&queue, 1).1);
        let (left, _) = ask(&queue, 2);
        let (mut stays, _) = ask(&queue, 3);
        drop(left);
        let (next, now) = ask(&queue, 4);
        assert!(now.is_pending(), "who left makes room");
        drop(held);
        let held = taken(look(&mut stays));
        drop(held);
        // A place that was promised and never fetched goes to the next.
        let (mut last, _) = ask(&queue, 5);
        drop(next);
        drop(taken(look(&mut last)));
        let impatient = FairQueue::new(FairQueueBounds {
            patience: Duration::from_millis(1),
            ..queue.0.bounds
        });
        let _held = taken(ask(&impatient, 1).1);
        assert!(impatient.take(address(2)).await.is_none());
    }

    #[tokio::test]
    async fn the_longest_line_is_the_first_to_be_shortened() {
        let queue = queue(1, 1, 8, Duration::ZERO);
        let held = taken(ask(&queue, 9).1);
        let mut flood: Vec<Waiting> = (0..8).map(|_| ask(&queue, 1).0).collect();
        assert!(
            matches!(ask(&queue, 1).1, Poll::Ready(None)),
            "no room for more of the same"
        );
        let (mut other, now) = ask(&queue, 2);
        assert!(now.is_pending(), "room for another address");
        assert!(
            matches!(look(&mut flood[7]), Poll::Ready(None)),
            "the last of the longest line had to go"
        );
        drop(held);
        drop(taken(look(&mut flood[0])));
        drop(taken(look(&mut other)));
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        for (address, block) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::", "2001:db8:1:2::"),
            ("::1", "::"),
        ] {
            assert_eq!(
                address_block(address.parse().unwrap()),
                block.parse::<IpAddr>().unwrap(),
                "{address}"
            );
        }
    }
}
