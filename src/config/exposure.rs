//! Whether others on the machine may read or write a file that holds a secret.
//!
//! What it does: judges a file by its mode, its folders and who put it there. What it refuses to know: what the secret is for.
//! Invariants: what the owner's group may read is no finding, because that is how a group is given a secret; a file in a folder that
//! others may not enter is out of their reach, whatever its own mode; only modes are looked at, never contents.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path};

/// What others may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exposure {
    /// Every user of the machine may read it.
    Readable,
    /// Others than its owner may write it, and with it choose the secret.
    Writable,
}

impl Exposure {
    /// The end of the sentence "the file …".
    pub(crate) fn words(self) -> &'static str {
        match self {
            Exposure::Readable => "names a file that every user of the machine may read",
            Exposure::Writable => "names a file that others than its owner may write",
        }
    }

    pub(crate) fn hint(self) -> &'static str {
        match self {
            Exposure::Readable => {
                "`chmod 600` it, or keep it in a folder that only the gateway's user may enter"
            }
            Exposure::Writable => "`chmod go-w` it: who can write it chooses the secret",
        }
    }
}

/// What others may do with the file at `path`; `None` also where there is none.
pub(crate) fn of(path: &Path) -> Option<Exposure> {
    let path = path.canonicalize().ok()?;
    let file = std::fs::metadata(&path)
        .ok()
        .filter(std::fs::Metadata::is_file)?;
    let folders = path
        .ancestors()
        .skip(1)
        .map(|folder| std::fs::metadata(folder).map_or(0, |found| found.mode()));
    // Where there is no such list, there is no finding the less.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    judge(
        file.mode(),
        folders,
        is_given(&path, &mounts) && file.uid() == 0,
    )
}

/// Whether a container's runtime puts secrets there: world-readable unless told otherwise, in a place of the container's own, where no
/// other user of the machine looks. Kubernetes does it below a folder whose name begins with two dots and to which `..data` points, or
/// as a mount of one file (`subPath`); Docker and Podman in `/run/secrets`. `mounts`: proc_pid_mountinfo(5).
fn is_given(path: &Path, mounts: &str) -> bool {
    path.starts_with("/run/secrets")
        || path.components().any(|part| match part {
            Component::Normal(name) => name.as_encoded_bytes().starts_with(b".."),
            _ => false,
        })
        || mounts.lines().any(|mount| {
            mount
                .split(' ')
                .nth(4)
                .is_some_and(|place| Path::new(place) == path)
        })
}

fn judge(mode: u32, folders: impl Iterator<Item = u32>, given: bool) -> Option<Exposure> {
    let (mut group_enters, mut others_enter) = (true, true);
    for folder in folders {
        others_enter &= folder & 0o001 != 0;
        group_enters &= folder & 0o011 != 0;
    }
    if (others_enter && mode & 0o002 != 0) || (group_enters && mode & 0o020 != 0) {
        Some(Exposure::Writable)
    } else if others_enter && mode & 0o004 != 0 && !given {
        Some(Exposure::Readable)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_judged_with_its_folders() {
        use Exposure::{Readable, Writable};
        let open: &[u32] = &[0o755, 0o1777, 0o755];
        let of_group: &[u32] = &[0o750, 0o755];
        let private: &[u32] = &[0o755, 0o700, 0o755];
        for (mode, folders, given, expected) in [
            (0o600, open, false, None),
            (0o400, open, false, None),
            (0o640, open, false, None),
            (0o440, open, true, None),
            (0o644, open, false, Some(Readable)),
            (0o444, open, false, Some(Readable)),
            (0o644, open, true, None),
            (0o660, open, false, Some(Writable)),
            (0o666, open, true, Some(Writable)),
            (0o602, open, false, Some(Writable)),
            (0o644, of_group, false, None),
            (0o664, of_group, false, Some(Writable)),
            (0o666, private, false, None),
        ] {
            assert_eq!(
                judge(mode, folders.iter().copied(), given),
                expected,
                "{mode:o} in {folders:?} {given}"
            );
        }
    }

    #[test]
    fn secrets_that_a_container_is_given_are_known_by_their_place() {
        let mounts = "22 1 0:21 / / rw - overlay none rw\n\
                      40 22 8:1 /pods/1/secrets/key /etc/lightkeeper/mounted-key ro shared:1 - tmpfs tmpfs rw\n\
                      41 22 8:1 /etc/lightkeeper/session-key /etc/lightkeeper ro - ext4 /dev/sda1 rw\n";
        for (path, expected) in [
            ("/etc/lightkeeper/mounted-key", true),
            ("/etc/lightkeeper/session-key", false),
            (
                "/var/run/secrets/lk/..2026_11_28_15_00_00.123456/session-key",
                true,
            ),
            ("/run/secrets/session-key", true),
            ("/run/secrets/lk/session-key", true),
            ("/run/secrets-of-others/session-key", false),
            ("/srv/run/secrets/session-key", false),
            ("/etc/lightkeeper/.hidden/session-key", false),
        ] {
            assert_eq!(is_given(Path::new(path), mounts), expected, "{path}");
        }
    }
}
