//! Values filed under the literal prefix of a pattern.
//!
//! What it does: hands out what is filed under any prefix of a text. What it refuses to know: the patterns; those handed
//! out still have to be compared. Invariant: every value whose prefix begins the text is handed out, once.

use std::collections::BTreeMap;

/// Values by prefix: filled by `slot`, then `settle`d, then asked.
///
/// Sorted, the prefixes of a text that are in the set form a chain: the last prefix that is not above the text in byte
/// order, or one of its own prefixes. One binary search and a short climb find all of them.
#[derive(Debug)]
pub(crate) struct Prefixes<T> {
    growing: BTreeMap<String, Vec<T>>,
    sorted: Vec<Prefix<T>>,
}

#[derive(Debug)]
struct Prefix<T> {
    text: String,
    /// The longest proper prefix of `text` that is in the set.
    parent: Option<usize>,
    values: Vec<T>,
}

impl<T> Default for Prefixes<T> {
    fn default() -> Self {
        Prefixes {
            growing: BTreeMap::new(),
            sorted: Vec::new(),
        }
    }
}

impl<T> Prefixes<T> {
    /// What is filed under this prefix so far.
    pub(crate) fn slot(&mut self, prefix: &str) -> &mut Vec<T> {
        self.growing.entry(prefix.to_owned()).or_default()
    }

    /// Ends the filling.
    pub(crate) fn settle(&mut self) {
        let mut chain: Vec<usize> = Vec::new();
        for (text, values) in std::mem::take(&mut self.growing) {
            while let Some(last) = chain.last().and_then(|place| self.sorted.get(*place)) {
                if text.starts_with(&last.text) {
                    break;
                }
                chain.pop();
            }
            let parent = chain.last().copied();
            chain.push(self.sorted.len());
            self.sorted.push(Prefix {
                text,
                parent,
                values,
            });
        }
    }

    /// Hands every value whose prefix `text` begins with to `visit`, longer prefixes first.
    pub(crate) fn candidates<'a>(&'a self, text: &str, visit: &mut impl FnMut(&'a T)) {
        let mut place = self
            .sorted
            .partition_point(|prefix| prefix.text.as_str() <= text)
            .checked_sub(1);
        while let Some(prefix) = place.and_then(|place| self.sorted.get(place)) {
            if text.starts_with(&prefix.text) {
                prefix.values.iter().for_each(&mut *visit);
            }
            place = prefix.parent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_begins_a_text_is_found_and_nothing_else(
            prefixes in proptest::collection::vec("[ab]{0,4}", 0..12), text in "[ab]{0,5}"
        ) {
            let mut filed = Prefixes::default();
            for (place, prefix) in prefixes.iter().enumerate() {
                filed.slot(prefix).push(place);
            }
            filed.settle();
            let mut found = Vec::new();
            filed.candidates(&text, &mut |place| found.push(*place));
            found.sort_unstable();
            let all = prefixes.iter().enumerate().filter(|(_, prefix)| text.starts_with(prefix.as_str()));
            prop_assert_eq!(found, all.map(|(place, _)| place).collect::<Vec<_>>());
        }
    }
}
