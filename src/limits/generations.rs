//! A bounded map that forgets the least recent.
//!
//! What it does: keeps values in two generations: what is asked for moves to the younger one, and when that is full it becomes
//! the older one, whose own are forgotten. What it refuses to know: what a value is for, and the time. Invariants: what is held
//! weighs `limit` at most; an entry outlives what is added or asked for after it up to half of that, unless `turn` is called;
//! what weighs more than that half is not held.

use std::hash::Hash;

#[derive(Debug)]
pub(crate) struct Generations<K, V> {
    half: usize,
    weigh: fn(&V) -> usize,
    young: ahash::HashMap<K, V>,
    young_weight: usize,
    old: ahash::HashMap<K, V>,
    old_weight: usize,
}

impl<K: Copy + Eq + Hash, V> Generations<K, V> {
    pub(crate) fn within(limit_entries: usize) -> Self {
        Generations::weighing(limit_entries, |_| 1)
    }

    /// One whose values weigh `limit` at most together.
    pub(crate) fn weighing(limit: usize, weigh: fn(&V) -> usize) -> Self {
        Generations {
            half: limit / 2,
            weigh,
            young: ahash::HashMap::default(),
            young_weight: 0,
            old: ahash::HashMap::default(),
            old_weight: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// What all values weigh together.
    #[cfg(test)]
    pub(crate) fn weight(&self) -> usize {
        self.young_weight + self.old_weight
    }

    pub(crate) fn find(&mut self, key: K) -> Option<&mut V> {
        if let Some(value) = self.take_old(key) {
            self.put(key, value);
        }
        self.young.get_mut(&key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.remove(key);
        self.put(key, value);
    }

    pub(crate) fn remove(&mut self, key: K) {
        if let Some(value) = self.young.remove(&key) {
            self.young_weight = self.young_weight.saturating_sub((self.weigh)(&value));
        }
        self.take_old(key);
    }

    /// Makes the younger generation the older one: what was not asked for since the last turn is forgotten.
    pub(crate) fn turn(&mut self) {
        self.old = std::mem::take(&mut self.young);
        self.old_weight = std::mem::take(&mut self.young_weight);
    }

    fn take_old(&mut self, key: K) -> Option<V> {
        let value = self.old.remove(&key)?;
        self.old_weight = self.old_weight.saturating_sub((self.weigh)(&value));
        Some(value)
    }

    /// Puts what is in neither generation into the younger one.
    fn put(&mut self, key: K, value: V) {
        let weight = (self.weigh)(&value);
        if weight > self.half {
            return;
        }
        if self.young_weight.saturating_add(weight) > self.half {
            self.turn();
        }
        self.young_weight += weight;
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: a map for sixteen. Guarantees: it never holds more; what is asked for stays while others come and go, and of
    /// the others the latest stay.
    #[test]
    fn the_least_recent_go_first() {
        let mut map = Generations::within(16);
        map.insert(0, "kept");
        for key in 1..100_i32 {
            map.insert(key, "passing");
            assert!(map.len() <= 16, "{key}");
            assert_eq!(map.find(0), Some(&mut "kept"), "{key}");
            let latest = (key - 2).max(1);
            assert_eq!(map.find(latest), Some(&mut "passing"), "{key}");
        }
        assert_eq!(map.find(50), None);
        map.remove(0);
        assert_eq!(map.find(0), None);
    }

    /// Guarantees: what is asked for between two turns stays, and nothing else.
    #[test]
    fn a_turn_forgets_what_was_not_asked_for() {
        let mut map = Generations::within(8);
        map.insert("asked for", 1);
        map.insert("left", 2);
        map.turn();
        assert_eq!(map.find("asked for"), Some(&mut 1));
        map.turn();
        assert_eq!(map.find("asked for"), Some(&mut 1));
        assert_eq!(map.find("left"), None);
        map.insert("asked for", 3);
        assert_eq!(map.find("asked for"), Some(&mut 3));
        assert_eq!(map.len(), 1);
    }

    /// Scenario: values of different weights, more than there is room for, one of them put again with another weight.
    /// Guarantees: the weight stays within the limit and is that of what is held; what is too heavy is not held.
    #[test]
    fn weights_are_kept_within_the_limit() {
        let mut map = Generations::weighing(100, |weight: &usize| *weight);
        for key in 0..500_usize {
            map.insert(key % 70, key % 23 + 1);
            assert!(map.weight() <= 100, "{key}");
            assert_eq!(map.find(key % 70), Some(&mut (key % 23 + 1)));
        }
        let held: usize = (0..70).filter_map(|key| map.find(key).copied()).sum();
        assert!(held <= 100 && map.weight() <= 100);
        map.insert(1, 51);
        assert_eq!(map.find(1), None);
        (0..70).for_each(|key| map.remove(key));
        assert_eq!((map.len(), map.weight()), (0, 0));
    }
}
