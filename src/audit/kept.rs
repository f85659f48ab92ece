//! What is kept of the tree beside the trail, and what a start makes of it.
//!
//! What it does: keeps the tree's edge with the place in the audit file up to which it goes, and takes it up again: the lines
//! behind that place are added, wherever the file was moved to in its folder. What it refuses to know: checkpoints' keys.
//! Invariants: what is kept is on the disk before a checkpoint states it; a line in part is taken off the file, and kept beside.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::lines::TrailReader;
use super::sequence::named_beside;
use super::sink::FilePlace;
use crate::transparency::{TreeEdge, TreeHash};

/// 64 roots and three numbers take less.
const KEPT_LIMIT_BYTES: u64 = 16 << 10;

/// The file beside.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptTree {
    size: u64,
    /// In base64, largest subtree first.
    roots: Vec<String>,
    file: FilePlace,
}

/// A tree's edge, and the place behind its last line.
#[derive(Clone, Debug)]
pub(super) struct KeptEdge {
    pub edge: TreeEdge,
    /// `None`: nothing was kept yet.
    pub file: Option<FilePlace>,
}

/// Where the edge of this trail is kept.
pub(super) fn tree_beside(audit: &Path) -> PathBuf {
    named_beside(audit, ".tree")
}

/// Reads what was kept. An error also for what is no edge.
pub(super) fn read(path: &Path) -> io::Result<KeptEdge> {
    let mut text = String::new();
    match File::open(path) {
        Ok(file) => file.take(KEPT_LIMIT_BYTES).read_to_string(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(KeptEdge {
                edge: TreeEdge::default(),
                file: None,
            });
        }
        Err(error) => return Err(error),
    };
    let kept: KeptTree = serde_json::from_str(&text)?;
    let roots = kept.roots.iter().map(|root| TreeHash::from_base64(root));
    let edge = roots
        .collect::<Option<Vec<_>>>()
        .and_then(|roots| TreeEdge::of(kept.size, roots))
        .ok_or(io::ErrorKind::InvalidData)?;
    Ok(KeptEdge {
        edge,
        file: Some(kept.file),
    })
}

/// Puts it in the place of what was kept before, on the disk.
pub(super) fn keep(path: &Path, edge: &TreeEdge, file: FilePlace) -> io::Result<()> {
    let kept = KeptTree {
        size: edge.size(),
        roots: edge.roots().iter().map(ToString::to_string).collect(),
        file,
    };
    replace(path, &serde_json::to_string(&kept)?)
}

/// The same of an edge that has no place in a file.
pub(super) fn keep_edge(path: &Path, edge: &TreeEdge) -> io::Result<()> {
    let nowhere = FilePlace {
        device: 0,
        inode: 0,
        length: 0,
    };
    keep(path, edge, nowhere)
}

/// Puts a line in the place of what a small file held, on the disk.
pub(super) fn replace(path: &Path, line: &str) -> io::Result<()> {
    let next = named_beside(path, ".next");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o640).custom_flags(libc::O_NOFOLLOW);
    }
    let mut out = options.open(&next)?;
    out.write_all(line.as_bytes())?;
    out.write_all(b"\n")?;
    out.sync_data()?;
    std::fs::rename(&next, path)?;
    File::open(folder(path))?.sync_all()
}

pub(super) fn folder(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// What a start found behind the place that was kept.
#[derive(Debug, Default)]
pub(super) struct FoundLines {
    /// Bytes of lines in part, which were cut off.
    pub cut_bytes: u64,
    /// Lines that are no records, or have a number that was there before.
    pub odd: u64,
    /// Whether the file that was written last is not there any more.
    pub is_moved_away: bool,
}

/// Adds the lines that were written since. `see`: called with each number and leaf, in ascending order, and the edge so far.
pub(super) fn add_lines(
    kept: &KeptEdge,
    audit: &Path,
    mut see: impl FnMut(u64, TreeHash),
) -> io::Result<FoundLines> {
    let mut found = FoundLines::default();
    let mut next = kept.edge.size();
    let now = File::open(audit).ok().as_ref().and_then(FilePlace::of);
    let mut parts: Vec<(PathBuf, u64)> = Vec::new();
    match (kept.file, now) {
        (Some(before), Some(now)) if before.is_of(now) => {
            // Emptied in its place: what was there is gone, and what is there comes behind it.
            let begin = if now.length < before.length {
                found.is_moved_away = true;
                0
            } else {
                before.length
            };
            parts.push((audit.to_owned(), begin));
        }
        (before, now) => {
            if let Some(before) = before {
                match moved(audit, before)? {
                    Some(path) => parts.push((path, before.length)),
                    None => found.is_moved_away = true,
                }
            }
            parts.extend(now.map(|_| (audit.to_owned(), 0)));
        }
    }
    for (path, begin) in parts {
        let mut reader = TrailReader::open_at(&path, begin)?;
        let mut end = begin;
        let mut unended = 0;
        while let Some(line) = reader.next_line()? {
            let length = line.text.len() as u64 + u64::from(line.is_ended);
            match line.seq().filter(|seq| *seq >= next) {
                Some(seq) => {
                    see(seq, TreeHash::of_leaf(line.text));
                    next = seq.saturating_add(1);
                }
                None => found.odd += u64::from(line.is_ended),
            }
            unended = if line.is_ended { 0 } else { unended + length };
            end += length;
        }
        if unended > 0 {
            cut(&path, end - unended, &named_beside(audit, ".cut"))?;
            found.cut_bytes += unended;
        }
    }
    Ok(found)
}

/// Where in its folder a file was moved to.
fn moved(audit: &Path, file: FilePlace) -> io::Result<Option<PathBuf>> {
    for entry in std::fs::read_dir(folder(audit))? {
        let entry = entry?;
        let Ok(found) = entry.metadata() else {
            continue;
        };
        if found.is_file() && FilePlace::found(&found).is_of(file) && found.len() >= file.length {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// Takes what is behind `length` off the file, and appends it to another.
fn cut(path: &Path, length: u64, beside: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    file.seek(SeekFrom::Start(length))?;
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    let mut kept = options.open(beside)?;
    io::copy(&mut file, &mut kept)?;
    kept.write_all(b"\n")?;
    kept.sync_data()?;
    file.set_len(length)?;
    file.sync_data()
}
