//! Which files a trail has.
//!
//! What it does: finds the files that were rotated away, by their names beside the trail's own, and puts files in the order of their
//! first records. What it refuses to know: what records mean, and who asks. Invariant: a link, a folder or a pipe beside the
//! trail is none of its files.

use std::io;
use std::path::{Path, PathBuf};

use super::lines::TrailReader;

/// Files that are looked at of one folder; a trail that is rotated each hour has so many after a decade.
const FILES_LIMIT: usize = 100_000;
/// Lines in which a file's first record is looked for: the first may be a wrong one.
const HEAD_LINES: usize = 64;

/// One file, as it was looked at.
#[derive(Clone, Debug)]
pub(crate) struct TrailFile {
    pub path: PathBuf,
    /// As it is stored.
    pub bytes: u64,
    /// The number of its first line that is a record; `None`: it has none.
    pub first: Option<u64>,
}

impl TrailFile {
    pub(crate) fn look(path: &Path) -> io::Result<Self> {
        let mut reader = TrailReader::open(path)?;
        let bytes = std::fs::metadata(path)?.len();
        let mut first = None;
        for _ in 0..HEAD_LINES {
            let Some(line) = reader.next_line()? else {
                break;
            };
            first = line.seq();
            if first.is_some() {
                break;
            }
        }
        Ok(TrailFile {
            path: path.to_owned(),
            bytes,
            first,
        })
    }
}

/// Puts files in the order of their first records; those without any come last.
pub(crate) fn put_in_order(files: &mut [TrailFile]) {
    files.sort_by_key(|file| (file.first.is_none(), file.first));
}

/// The trail's own file, if it is there, and those beside it that were rotated away: by the gateway (`.NUMBER`, `.at-TIME`) or from
/// outside (`.1`, `-20261130`), also with `.gz` or `.zst`.
pub(crate) fn trail_files(audit: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if std::fs::metadata(audit).is_ok_and(|found| found.is_file()) {
        files.push(audit.to_owned());
    }
    let Some(own) = audit.file_name().and_then(|name| name.to_str()) else {
        return Ok(files);
    };
    let folder = super::kept::folder(audit);
    for entry in std::fs::read_dir(folder)?.take(FILES_LIMIT) {
        let entry = entry?;
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(own));
        if rest.is_some_and(is_rotated) && entry.file_type()?.is_file() {
            files.push(folder.join(name));
        }
    }
    files.sort();
    Ok(files)
}

/// Whether what is behind the trail's name marks a file that was rotated away.
fn is_rotated(ending: &str) -> bool {
    let plain = [".gz", ".zst"]
        .into_iter()
        .find_map(|packed| ending.strip_suffix(packed))
        .unwrap_or(ending);
    let Some(mark) = plain.strip_prefix(['.', '-']) else {
        return false;
    };
    let mark = mark.strip_prefix("at-").unwrap_or(mark);
    let is_sign = |sign: char| sign.is_ascii_digit() || matches!(sign, '-' | '_' | ':' | 'T' | 'Z');
    mark.starts_with(|first: char| first.is_ascii_digit()) && mark.chars().all(is_sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_files_are_known_by_their_names() {
        for (ending, expected) in [
            (".00000000000000000041", true),
            (".00000000000000000041.gz", true),
            (".at-1795980047120.zst", true),
            (".1", true),
            ("-20261130", true),
            ("-2026-11-30T08:00:00Z.gz", true),
            ("", false),
            (".gz", false),
            (".1.tmp", false),
            (".1.gz.gz", false),
            (".seq", false),
            (".tree", false),
            (".cut", false),
            (".policies", false),
            (".checkpoints", false),
            (".checkpoints.1", false),
            (".new-17", false),
            ("2", false),
        ] {
            assert_eq!(is_rotated(ending), expected, "{ending}");
        }
    }

    /// Scenario: a trail with rotated files, one packed; beside it what belongs to it and is no trail, a folder, a link and a pipe.
    /// Guarantees: the trail's files are found, in the order of their records, and nothing else is opened.
    #[test]
    fn a_trails_files_are_found() {
        let place = tempfile::tempdir().unwrap();
        let audit = place.path().join("audit.jsonl");
        assert!(trail_files(&audit).unwrap().is_empty());
        let put = |ending: &str, text: &[u8]| {
            std::fs::write(place.path().join(format!("audit.jsonl{ending}")), text).unwrap();
        };
        let record = |seq: u64| format!("{{\"seq\":{seq},\"event\":\"call\"}}\n").into_bytes();
        put("", &record(30));
        put(".2", &[b"broken\n".to_vec(), record(10)].concat());
        put(
            ".1.zst",
            &zstd::stream::encode_all(&record(20)[..], 1).unwrap(),
        );
        put(".seq", b"00000000000000000042 ended\n");
        put(".3", b"");
        std::fs::create_dir(place.path().join("audit.jsonl.4")).unwrap();
        std::os::unix::fs::symlink(&audit, place.path().join("audit.jsonl.5")).unwrap();
        let pipe = place.path().join("audit.jsonl.6");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let found = trail_files(&audit).unwrap();
        let mut files: Vec<TrailFile> = found
            .iter()
            .map(|path| TrailFile::look(path).unwrap())
            .collect();
        put_in_order(&mut files);
        let told: Vec<(String, Option<u64>)> = files
            .iter()
            .map(|file| {
                (
                    file.path
                        .file_name()
                        .unwrap()
                        .to_string_lossy()
                        .into_owned(),
                    file.first,
                )
            })
            .collect();
        // The second line of `.2` is its first record.
        let expected = [
            ("audit.jsonl.2", Some(10)),
            ("audit.jsonl.1.zst", Some(20)),
            ("audit.jsonl", Some(30)),
            ("audit.jsonl.3", None),
        ];
        assert_eq!(told, expected.map(|(name, first)| (name.to_owned(), first)));
        let refused = TrailFile::look(&pipe).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }
}
