//! The Merkle tree of RFC 6962 section 2.1 (the same as of RFC 9162), by its right edge alone.
//!
//! What it does: hashes leaves and nodes, and keeps of a growing tree the roots of its perfect subtrees: at most 64 hashes.
//! What it refuses to know: what a leaf means. Invariant: the edge tells the root of exactly the leaves that were given to it.

use std::fmt;

use aws_lc_rs::digest::{Context, Digest, SHA256, digest};
use base64::prelude::{BASE64_STANDARD, Engine as _};

/// A leaf up to this long is copied behind its mark, in bytes.
const SHORT_LEAF_BYTES: usize = 1023;

/// A hash of a tree: 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TreeHash([u8; 32]);

impl fmt::Debug for TreeHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for TreeHash {
    /// Base64, as it stands in checkpoints.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&BASE64_STANDARD.encode(self.0))
    }
}

impl TreeHash {
    /// Of the tree without leaves.
    pub(crate) fn of_nothing() -> Self {
        Self::finish(Context::new(&SHA256))
    }

    /// Of a leaf: SHA-256 of a zero byte and the leaf.
    pub(crate) fn of_leaf(leaf: &[u8]) -> Self {
        // In one piece, as most lines are, it takes no context from the heap.
        let mut text = [0; SHORT_LEAF_BYTES + 1];
        if let Some(room) = text.get_mut(1..=leaf.len()) {
            room.copy_from_slice(leaf);
            let whole = text.get(..=leaf.len()).unwrap_or_default();
            return Self::of_digest(&digest(&SHA256, whole));
        }
        let mut context = Context::new(&SHA256);
        context.update(&[0]);
        context.update(leaf);
        Self::finish(context)
    }

    /// Of a node: SHA-256 of a one byte, the left child and the right child.
    pub(crate) fn of_node(left: Self, right: Self) -> Self {
        let mut text = [1; 65];
        text.iter_mut()
            .skip(1)
            .zip(left.0.iter().chain(&right.0))
            .for_each(|(to, from)| *to = *from);
        Self::of_digest(&digest(&SHA256, &text))
    }

    fn finish(context: Context) -> Self {
        Self::of_digest(&context.finish())
    }

    fn of_digest(digest: &Digest) -> Self {
        let mut hash = [0; 32];
        hash.iter_mut()
            .zip(digest.as_ref())
            .for_each(|(to, from)| *to = *from);
        TreeHash(hash)
    }

    /// From base64 with padding; `None` for anything but 32 bytes.
    pub(crate) fn from_base64(text: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(text).ok()?;
        bytes.try_into().ok().map(TreeHash)
    }

    /// Its first two bytes, big end first: enough to tell which of a thousand leaves was changed by mistake.
    pub(crate) fn short(self) -> u16 {
        let [first, second, ..] = self.0;
        u16::from_be_bytes([first, second])
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The right edge of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TreeEdge {
    size: u64,
    /// The roots of the perfect subtrees, largest first: one for each bit of `size`.
    roots: Vec<TreeHash>,
    /// Roots of perfect trees of empty leaves, by height.
    empty: Vec<TreeHash>,
}

impl TreeEdge {
    /// An edge that was kept. `None`: it has not one root for each bit of `size`.
    pub(crate) fn of(size: u64, roots: Vec<TreeHash>) -> Option<Self> {
        (size.count_ones() as usize == roots.len()).then_some(TreeEdge {
            size,
            roots,
            empty: Vec::new(),
        })
    }

    /// The number of leaves.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn roots(&self) -> &[TreeHash] {
        &self.roots
    }

    /// The edge over the leaves from `begin` to just before `end`, if this one has its roots.
    pub(crate) fn part(&self, begin: u64, end: u64) -> Option<Self> {
        let size = end.checked_sub(begin)?;
        let mut roots = Vec::new();
        let (mut at, mut covered) = (0u64, 0u64);
        for (height, root) in bits(self.size).zip(&self.roots) {
            let width = 1u64 << height;
            let next = at.saturating_add(width);
            if begin <= at && next <= end {
                roots.push(*root);
                covered += width;
            }
            at = next;
        }
        TreeEdge::of(size, roots).filter(|_| covered == size)
    }

    /// Adds a leaf by its hash.
    pub(crate) fn push(&mut self, leaf: TreeHash) {
        self.push_subtree(0, leaf);
    }

    /// Adds empty leaves until there are `size`; nothing where there are as many already. Takes a few hundred hashes at most.
    pub(crate) fn fill_to(&mut self, size: u64) {
        while let Some(missing) = size.checked_sub(self.size).filter(|missing| *missing > 0) {
            // The largest perfect subtree that begins here and fits.
            let height = self.size.trailing_zeros().min(missing.ilog2());
            let subtree = self.of_empty(height);
            self.push_subtree(height, subtree);
        }
    }

    /// Adds the root of a perfect subtree of `2^height` leaves, where the size is a multiple of that.
    fn push_subtree(&mut self, height: u32, mut root: TreeHash) {
        let mut carry = self.size.checked_shr(height).unwrap_or_default();
        while carry & 1 == 1 {
            let Some(left) = self.roots.pop() else { break };
            root = TreeHash::of_node(left, root);
            carry >>= 1;
        }
        self.roots.push(root);
        self.size = self
            .size
            .saturating_add(1u64.checked_shl(height).unwrap_or_default());
    }

    fn of_empty(&mut self, height: u32) -> TreeHash {
        let mut last = match self.empty.last() {
            Some(last) => *last,
            None => {
                let leaf = TreeHash::of_leaf(b"");
                self.empty.push(leaf);
                leaf
            }
        };
        while self.empty.len() <= height as usize {
            last = TreeHash::of_node(last, last);
            self.empty.push(last);
        }
        self.empty.get(height as usize).copied().unwrap_or(last)
    }

    /// The root of the tree.
    pub(crate) fn root(&self) -> TreeHash {
        let mut from_right = self.roots.iter().rev();
        let Some(last) = from_right.next() else {
            return TreeHash::of_nothing();
        };
        from_right.fold(*last, |right, left| TreeHash::of_node(*left, right))
    }
}

/// The bits of a number, the highest first, by their places.
fn bits(number: u64) -> impl Iterator<Item = u32> {
    (0..u64::BITS)
        .rev()
        .filter(move |place| number >> place & 1 == 1)
}

#[cfg(test)]
pub(super) mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;

    /// The leaves of the reference tests of Certificate Transparency (RFC 6962's own implementation).
    pub(crate) const LEAVES: [&str; 8] = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    /// Roots of the first n of them.
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    pub(crate) fn leaves() -> Vec<Vec<u8>> {
        LEAVES
            .iter()
            .map(|leaf| HEXLOWER.decode(leaf.as_bytes()).unwrap())
            .collect()
    }

    /// RFC 6962 section 2.1, word for word.
    pub(crate) fn naive(leaves: &[Vec<u8>]) -> TreeHash {
        match leaves {
            [] => TreeHash::of_nothing(),
            [leaf] => TreeHash::of_leaf(leaf),
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                TreeHash::of_node(naive(&leaves[..split]), naive(&leaves[split..]))
            }
        }
    }

    /// Scenario: the reference leaves, one after the other. Guarantees: the known roots.
    #[test]
    fn the_known_roots_come_out() {
        let mut edge = TreeEdge::default();
        for (size, root) in ROOTS.iter().enumerate() {
            assert_eq!(&HEXLOWER.encode(&edge.root().0), root, "{size}");
            assert_eq!(edge.size(), size as u64);
            if let Some(leaf) = leaves().get(size) {
                edge.push(TreeHash::of_leaf(leaf));
            }
        }
    }

    proptest! {
        /// Scenario: any leaves, with runs of empty ones between, the edge kept and taken up again in the middle. Guarantees: the
        /// root is that of RFC 6962's own words.
        #[test]
        fn the_edge_is_the_naive_tree(runs in proptest::collection::vec((any::<u16>(), 0usize..70), 0..12)) {
            let mut edge = TreeEdge::default();
            let mut all: Vec<Vec<u8>> = Vec::new();
            for (leaf, empty) in runs {
                let leaf = leaf.to_be_bytes().to_vec();
                edge.push(TreeHash::of_leaf(&leaf));
                all.push(leaf);
                all.resize(all.len() + empty, Vec::new());
                edge.fill_to(all.len() as u64);
                prop_assert_eq!(edge.root(), naive(&all));
                edge = TreeEdge::of(edge.size(), edge.roots().to_vec()).unwrap();
            }
        }
    }

    /// Scenario: an edge that does not fit its size, and filling back. Guarantees: none is taken up, and nothing shrinks.
    #[test]
    fn an_edge_fits_its_size() {
        let hash = TreeHash::of_nothing();
        assert!(TreeEdge::of(3, vec![hash]).is_none() && TreeEdge::of(0, vec![hash]).is_none());
        let mut edge = TreeEdge::of(3, vec![hash, hash]).unwrap();
        edge.fill_to(2);
        assert_eq!(edge.size(), 3);
        edge.fill_to(u64::MAX);
        assert_eq!((edge.size(), edge.roots().len()), (u64::MAX, 64));
    }
}
