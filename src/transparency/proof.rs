//! Proofs that a leaf is in a tree, and that a tree goes on from an earlier one.
//!
//! What it does: says of which ranges of leaves a proof's hashes are, so that one pass over the leaves makes it, and verifies
//! proofs. What it refuses to know: where leaves come from. Invariants: ranges do not overlap; a proof that is longer or shorter
//! than its tree wants is none.

use std::ops::Range;

use super::tree::{TreeEdge, TreeHash};

/// The leaves beneath one hash of a proof, and what was seen of them.
pub(crate) struct LeafRange {
    leaves: Range<u64>,
    edge: TreeEdge,
}

impl LeafRange {
    fn of(leaves: Range<u64>) -> Self {
        LeafRange {
            leaves,
            edge: TreeEdge::default(),
        }
    }

    /// Takes what is left of the first leaves of the tree, before the first that is seen. Whether it tells the hash of this range's
    /// part of them: not where the range ends among them, unless their edge has its root.
    pub(crate) fn begin_with(&mut self, gone: &TreeEdge) -> bool {
        let end = self.leaves.end.min(gone.size());
        if end <= self.leaves.start {
            return true;
        }
        let edge = gone.part(self.leaves.start, end);
        let is_told = edge.is_some();
        self.edge = edge.unwrap_or_default();
        is_told
    }

    /// Takes the leaf at this index of the tree, if it is one of the range; indices come in ascending order, and those left out
    /// are empty leaves.
    pub(crate) fn see(&mut self, index: u64, leaf: TreeHash) {
        if self.leaves.contains(&index) {
            self.edge.fill_to(index - self.leaves.start);
            self.edge.push(leaf);
        }
    }

    /// The hash, once every leaf was seen.
    pub(crate) fn root(mut self) -> TreeHash {
        self.edge
            .fill_to(self.leaves.end.saturating_sub(self.leaves.start));
        self.edge.root()
    }
}

/// The largest power of two below `size`, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (size.max(2) - 1).ilog2()
}

/// The ranges of the proof that leaf `index` is in the tree of `size` leaves, in the proof's order (RFC 6962 section 2.1.1).
/// Empty where there is no such leaf.
pub(crate) fn inclusion_ranges(index: u64, size: u64) -> Vec<LeafRange> {
    let mut ranges = Vec::new();
    let (mut begin, mut end) = (0, size);
    while index < size && end - begin > 1 {
        let middle = begin + split(end - begin);
        if index < middle {
            ranges.push(LeafRange::of(middle..end));
            end = middle;
        } else {
            ranges.push(LeafRange::of(begin..middle));
            begin = middle;
        }
    }
    ranges.reverse();
    ranges
}

/// The ranges of the proof that the tree of `size` leaves goes on from that of its first `from` (RFC 6962 section 2.1.2). Empty
/// where nothing is to be proven: `from` is 0 or `size`, or beyond.
pub(crate) fn consistency_ranges(from: u64, size: u64) -> Vec<LeafRange> {
    let mut ranges = Vec::new();
    if from == 0 || from >= size {
        return ranges;
    }
    let (mut begin, mut end) = (0, size);
    while from != end {
        let middle = begin + split(end - begin);
        if from <= middle {
            ranges.push(LeafRange::of(middle..end));
            end = middle;
        } else {
            ranges.push(LeafRange::of(begin..middle));
            begin = middle;
        }
    }
    // The root of a whole left part is the earlier root itself, which the verifier has.
    if begin > 0 {
        ranges.push(LeafRange::of(begin..end));
    }
    ranges.reverse();
    ranges
}

/// Whether the proof leads from a leaf's hash to the root (RFC 9162 section 2.1.3.2).
pub(crate) fn verify_inclusion(
    (index, leaf): (u64, TreeHash),
    proof: &[TreeHash],
    (size, root): (u64, TreeHash),
) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, leaf);
    for step in proof {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = TreeHash::of_node(*step, hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = TreeHash::of_node(hash, *step);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == root
}

/// Whether the proof leads from an earlier root to a later one (RFC 9162 section 2.1.4.2).
pub(crate) fn verify_consistency(
    (from, earlier): (u64, TreeHash),
    proof: &[TreeHash],
    (size, later): (u64, TreeHash),
) -> bool {
    if from > size {
        return false;
    }
    if from == size || from == 0 {
        return proof.is_empty() && (from == 0 || earlier == later);
    }
    let mut steps = proof.iter().copied();
    let begin = if from.is_power_of_two() {
        Some(earlier)
    } else {
        steps.next()
    };
    let Some(begin) = begin else { return false };
    let (mut at, mut last) = (from - 1, size - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    let (mut old, mut new) = (begin, begin);
    for step in steps {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            old = TreeHash::of_node(step, old);
            new = TreeHash::of_node(step, new);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            new = TreeHash::of_node(new, step);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && old == earlier && new == later
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::super::tree::tests::{leaves, naive};
    use super::*;

    fn proof_of(mut ranges: Vec<LeafRange>, leaves: &[Vec<u8>]) -> Vec<TreeHash> {
        for (index, leaf) in leaves
            .iter()
            .enumerate()
            .filter(|(_, leaf)| !leaf.is_empty())
        {
            ranges
                .iter_mut()
                .for_each(|range| range.see(index as u64, TreeHash::of_leaf(leaf)));
        }
        ranges.into_iter().map(LeafRange::root).collect()
    }

    /// Scenario: trees of every small size, of which every beginning is gone but for its edge. Guarantees: each leaf that is there is
    /// proven as before, and so is the growth from every size that is not gone; what cannot be told any more is said.
    #[test]
    fn what_is_there_is_proven_when_the_beginning_is_gone() {
        let edge_of = |leaves: &[Vec<u8>]| {
            let mut edge = TreeEdge::default();
            leaves
                .iter()
                .for_each(|leaf| edge.push(TreeHash::of_leaf(leaf)));
            edge
        };
        let all: Vec<Vec<u8>> = (1..=40u8).map(|leaf| vec![leaf; 3]).collect();
        for size in 1..=all.len() {
            for gone in 0..=size {
                let edge = edge_of(&all[..gone]);
                let proof = |mut ranges: Vec<LeafRange>| -> Option<Vec<TreeHash>> {
                    let told = ranges.iter_mut().all(|range| range.begin_with(&edge));
                    for (index, leaf) in all.iter().enumerate().take(size).skip(gone) {
                        let leaf = TreeHash::of_leaf(leaf);
                        ranges
                            .iter_mut()
                            .for_each(|range| range.see(index as u64, leaf));
                    }
                    told.then(|| ranges.into_iter().map(LeafRange::root).collect())
                };
                let root = edge_of(&all[..size]).root();
                for (index, leaf) in all.iter().enumerate().take(size).skip(gone) {
                    let hashes = proof(inclusion_ranges(index as u64, size as u64));
                    let place = (index as u64, TreeHash::of_leaf(leaf));
                    let holds = hashes.is_some_and(|hashes| {
                        verify_inclusion(place, &hashes, (size as u64, root))
                    });
                    assert!(holds, "{index} of {size} without {gone}");
                }
                for from in 1..=size {
                    let earlier = (from as u64, edge_of(&all[..from]).root());
                    let hashes = proof(consistency_ranges(from as u64, size as u64));
                    let holds = hashes
                        .map(|hashes| verify_consistency(earlier, &hashes, (size as u64, root)));
                    match from >= gone {
                        true => assert_eq!(holds, Some(true), "{from} of {size} without {gone}"),
                        false => assert_ne!(holds, Some(false), "{from} of {size} without {gone}"),
                    }
                }
            }
        }
    }

    fn hex(proof: &[TreeHash]) -> Vec<String> {
        proof
            .iter()
            .map(|hash| HEXLOWER.encode(hash.bytes()))
            .collect()
    }

    /// Scenario: the proofs that the reference tests of Certificate Transparency hold, by leaf (counted from 1) and size.
    /// Guarantees: ours are the same.
    #[test]
    fn the_known_proofs_come_out() {
        let leaves = leaves();
        for (leaf, size, known) in [
            (1, 1, &[] as &[&str]),
            (
                1,
                8,
                &[
                    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
                ],
            ),
            (
                6,
                8,
                &[
                    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                ],
            ),
            (
                3,
                3,
                &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
            ),
        ] {
            let part = &leaves[..size as usize];
            assert_eq!(
                hex(&proof_of(inclusion_ranges(leaf - 1, size), part)),
                known,
                "{leaf} of {size}"
            );
        }
        for (from, size, known) in [
            (1, 1, &[] as &[&str]),
            (
                1,
                8,
                &[
                    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
                ],
            ),
            (
                6,
                8,
                &[
                    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                ],
            ),
            (
                2,
                5,
                &[
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                ],
            ),
        ] {
            let part = &leaves[..size as usize];
            assert_eq!(
                hex(&proof_of(consistency_ranges(from, size), part)),
                known,
                "{from} to {size}"
            );
        }
    }

    /// Scenario: every leaf of every tree, and every earlier tree, up to 40 leaves; each proof as it is, with a hash changed, left
    /// out and added, for another leaf, and for another size. Guarantees: only the right one holds.
    #[test]
    fn only_the_right_proof_holds() {
        let leaves: Vec<Vec<u8>> = (0u8..40)
            .map(|leaf| if leaf % 7 == 3 { vec![] } else { vec![leaf] })
            .collect();
        let roots: Vec<TreeHash> = (0..=leaves.len())
            .map(|size| naive(&leaves[..size]))
            .collect();
        let wrong = |proof: &[TreeHash]| {
            let mut all = vec![[proof, &[TreeHash::of_nothing()]].concat()];
            for at in 0..proof.len() {
                let mut changed = proof.to_vec();
                changed[at] = TreeHash::of_nothing();
                let mut less = proof.to_vec();
                less.remove(at);
                all.extend([changed, less]);
            }
            all
        };
        for size in 1..leaves.len() {
            let tree = (size as u64, roots[size]);
            let part = &leaves[..size];
            for index in 0..size {
                let proof = proof_of(inclusion_ranges(index as u64, size as u64), part);
                let leaf = |index: usize| (index as u64, TreeHash::of_leaf(&leaves[index]));
                assert!(
                    verify_inclusion(leaf(index), &proof, tree),
                    "{index} {size}"
                );
                let other = (leaf(index).0 ^ 1, leaf(index).1);
                assert!(!verify_inclusion(other, &proof, tree), "{index} {size}");
                assert!(!verify_inclusion(
                    leaf(index),
                    &proof,
                    (tree.0, roots[size + 1])
                ));
                for wrong in wrong(&proof) {
                    assert!(
                        !verify_inclusion(leaf(index), &wrong, tree),
                        "{index} {size}"
                    );
                }
            }
            for from in 1..=size {
                let proof = proof_of(consistency_ranges(from as u64, size as u64), part);
                let earlier = (from as u64, roots[from]);
                assert!(verify_consistency(earlier, &proof, tree), "{from} {size}");
                let forked = (earlier.0, roots[from - 1]);
                assert!(!verify_consistency(forked, &proof, tree), "{from} {size}");
                for wrong in wrong(&proof) {
                    assert!(!verify_consistency(earlier, &wrong, tree), "{from} {size}");
                }
            }
        }
    }

    proptest! {
        /// Scenario: any numbers and hashes. Guarantees: no panic, no proof of a leaf that is not there, no endless list.
        #[test]
        fn no_numbers_break_it(index: u64, size: u64, steps in 0usize..70) {
            let proof = vec![TreeHash::of_nothing(); steps];
            let tree = (size, TreeHash::of_nothing());
            prop_assert!(!verify_inclusion((index, TreeHash::of_nothing()), &proof, tree) || size == 1);
            verify_consistency((index, TreeHash::of_nothing()), &proof, tree);
            prop_assert!(inclusion_ranges(index, size).len() <= 64);
            prop_assert!(consistency_ranges(index, size).len() <= 65);
        }
    }
}
