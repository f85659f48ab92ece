//! A trail as tiles (C2SP `tlog-tiles`), which monitors walk.
//!
//! What it does: writes hash tiles, bundles of entries, and the checkpoint. What it refuses to know: what entries mean.
//! Invariants: one tile of each level is held at a time; the checkpoint is written last.

use std::path::{Path, PathBuf};

use super::fault::AuditFault;
use crate::transparency::{TreeEdge, TreeHash};

/// Hashes of a full tile, and entries of a full bundle.
const WIDTH: usize = 256;
/// An entry's length is told in 16 bits.
const ENTRY_LIMIT_BYTES: usize = 65_535;

/// Writes one tree.
pub(super) struct Tiles {
    folder: PathBuf,
    /// Hashes of the present tile of each level, and how many full ones there were.
    levels: Vec<(Vec<TreeHash>, u64)>,
    entries: Vec<u8>,
    size: u64,
}

impl Tiles {
    pub(super) fn new(folder: &Path) -> Self {
        Tiles {
            folder: folder.to_owned(),
            levels: Vec::new(),
            entries: Vec::new(),
            size: 0,
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Adds an entry.
    pub(super) fn add(&mut self, entry: &[u8]) -> Result<(), AuditFault> {
        let length = u16::try_from(entry.len()).map_err(|_| {
            AuditFault::Wrong("a line is longer than an entry of tiles can be, 65,535 bytes")
        })?;
        debug_assert!(entry.len() <= ENTRY_LIMIT_BYTES);
        self.entries.extend(length.to_be_bytes());
        self.entries.extend(entry);
        let number = self.size / WIDTH as u64;
        self.size += 1;
        if self.size.is_multiple_of(WIDTH as u64) {
            let bundle = std::mem::take(&mut self.entries);
            self.write(&format!("tile/entries/{}", path_of(number)), &bundle)?;
        }
        self.add_hash(0, TreeHash::of_leaf(entry))
    }

    fn add_hash(&mut self, level: usize, hash: TreeHash) -> Result<(), AuditFault> {
        if self.levels.len() <= level {
            self.levels.push((Vec::with_capacity(WIDTH), 0));
        }
        let Some((tile, full)) = self.levels.get_mut(level) else {
            return Ok(());
        };
        tile.push(hash);
        if tile.len() < WIDTH {
            return Ok(());
        }
        let (tile, number) = (std::mem::take(tile), *full);
        *full += 1;
        let root = root_of(&tile);
        self.write(&format!("tile/{level}/{}", path_of(number)), &flat(&tile))?;
        self.add_hash(level + 1, root)
    }

    /// Writes what is there in part, and the checkpoint.
    pub(super) fn finish(mut self, note: &str) -> Result<(), AuditFault> {
        let part = self.size % WIDTH as u64;
        if part > 0 {
            let bundle = std::mem::take(&mut self.entries);
            let number = path_of(self.size / WIDTH as u64);
            self.write(&format!("tile/entries/{number}.p/{part}"), &bundle)?;
        }
        for (level, (tile, full)) in self.levels.iter().enumerate() {
            if !tile.is_empty() {
                let name = format!("tile/{level}/{}.p/{}", path_of(*full), tile.len());
                self.write(&name, &flat(tile))?;
            }
        }
        self.write("checkpoint", note.as_bytes())
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), AuditFault> {
        let path = self.folder.join(name);
        let write = || -> std::io::Result<()> {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(&path, content)
        };
        write().map_err(AuditFault::unwritten(&path))
    }
}

fn flat(tile: &[TreeHash]) -> Vec<u8> {
    tile.iter().flat_map(|hash| *hash.bytes()).collect()
}

/// The root of a full tile.
fn root_of(tile: &[TreeHash]) -> TreeHash {
    let mut edge = TreeEdge::default();
    tile.iter().for_each(|hash| edge.push(*hash));
    edge.root()
}

/// A tile's number as its path: three digits each, all but the last after an `x`.
fn path_of(mut number: u64) -> String {
    let mut path = format!("{:03}", number % 1000);
    while number >= 1000 {
        number /= 1000;
        path = format!("x{:03}/{path}", number % 1000);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_path() {
        for (number, path) in [
            (0, "000"),
            (7, "007"),
            (999, "999"),
            (1000, "x001/000"),
            (1_234_067, "x001/x234/067"),
            (1_000_000_000, "x001/x000/x000/000"),
        ] {
            assert_eq!(path_of(number), path);
        }
    }

    /// Scenario: 70,000 entries. Guarantees: full and partial tiles stand where C2SP says, and their hashes come to the tree's root.
    #[test]
    fn tiles_come_to_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let mut tiles = Tiles::new(folder.path());
        let mut edge = TreeEdge::default();
        for entry in 0..70_000u32 {
            let entry = entry.to_string();
            tiles.add(entry.as_bytes()).unwrap();
            edge.push(TreeHash::of_leaf(entry.as_bytes()));
        }
        tiles.finish("note").unwrap();
        let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        let hashes = |name: &str| -> Vec<TreeHash> {
            read(name)
                .chunks_exact(32)
                .map(|hash| {
                    TreeHash::from_base64(&base64::Engine::encode(
                        &base64::prelude::BASE64_STANDARD,
                        hash,
                    ))
                    .unwrap()
                })
                .collect()
        };
        // 70,000 = 65,536 + 17 · 256 + 112
        let top = hashes("tile/2/000.p/1");
        let middle = hashes("tile/1/001.p/17");
        let bottom = hashes("tile/0/273.p/112");
        assert_eq!((top.len(), middle.len(), bottom.len()), (1, 17, 112));
        assert_eq!(root_of(&hashes("tile/1/000")), top[0]);
        assert_eq!(root_of(&hashes("tile/0/272")), middle[16]);
        let mut whole = TreeEdge::of(0, vec![]).unwrap();
        let mut sub = TreeEdge::default();
        middle.iter().for_each(|hash| sub.push(*hash));
        let mut low = TreeEdge::default();
        bottom.iter().for_each(|hash| low.push(*hash));
        whole = TreeEdge::of(
            70_000,
            [top, sub.roots().to_vec(), low.roots().to_vec()].concat(),
        )
        .unwrap_or(whole);
        assert_eq!(whole.root(), edge.root());
        let bundle = read("tile/entries/273.p/112");
        assert_eq!(&bundle[..7], b"\x00\x0569888");
        assert_eq!(read("checkpoint"), b"note");
    }
}
