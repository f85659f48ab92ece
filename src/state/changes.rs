//! What a reload changed, in one line for its record.
//!
//! What it does: compares two houses part by part, and the digests of their files. What it refuses to know: contents: a secret is
//! told of by its fingerprint. Invariant: each list names at most `LISTED` things, and says how many more there are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Snapshot;
use crate::apps::AppPath;
use crate::clock::UnixMillis;
use crate::document;
use crate::route::Upstream;

/// How many things of one kind are named.
const LISTED: usize = 8;

/// The largest file that any part of the gateway reads.
pub(crate) const WATCHED_LIMIT_BYTES: u64 = 16 << 20;

/// Each file's digest; `None`: it could not be read.
pub(crate) type Digests = BTreeMap<PathBuf, Option<[u8; 32]>>;

/// What changes when a file is written, replaced or pointed elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    file: (u64, u64),
    modified: (i64, i64),
    bytes: u64,
}

impl Mark {
    /// Whether the file was changed after this time, in Unix milliseconds.
    pub(crate) fn is_after(self, unix_millis: i64) -> bool {
        self.modified_millis() > unix_millis
    }

    fn modified_millis(self) -> i64 {
        self.modified
            .0
            .saturating_mul(1000)
            .saturating_add(self.modified.1 / 1_000_000)
    }
}

/// What each file looks like; `None`: it is not there.
pub(crate) fn marks(files: &[PathBuf]) -> Vec<Option<Mark>> {
    use std::os::unix::fs::MetadataExt as _;
    let mark = |file: &PathBuf| {
        let found = std::fs::metadata(file).ok()?;
        Some(Mark {
            file: (found.dev(), found.ino()),
            modified: (found.mtime(), found.mtime_nsec()),
            bytes: found.size(),
        })
    };
    files.iter().map(mark).collect()
}

/// Reads and digests files.
pub(crate) fn digests(files: &[PathBuf]) -> Digests {
    let digest = |file: &PathBuf| {
        // What is larger than that is read by none.
        let content = document::read(file, WATCHED_LIMIT_BYTES).ok()?;
        <[u8; 32]>::try_from(
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &content).as_ref(),
        )
        .ok()
    };
    files
        .iter()
        .map(|file| (file.clone(), digest(file)))
        .collect()
}

/// `policy a -> b; credentials: shop/access_token/0 1a2b3c4d -> 5e6f7a8b; files: /etc/lightkeeper/policy.yaml`
pub(crate) fn changes(
    before: &Snapshot,
    after: &Snapshot,
    (known, read): (&Digests, &Digests),
    now: UnixMillis,
) -> String {
    let mut told = vec![format!(
        "policy {} -> {}",
        before.policy.version(),
        after.policy.version()
    )];
    let listeners = |snapshot: &Snapshot| {
        snapshot
            .listeners
            .iter()
            .map(|listener| (listener.listener.name.clone(), listener.listener.clone()))
            .collect::<BTreeMap<_, _>>()
    };
    tell(
        &mut told,
        "listeners",
        differing(&listeners(before), &listeners(after)),
    );
    tell(
        &mut told,
        "issuers",
        differing(&before.identifier.issuers(), &after.identifier.issuers()),
    );
    tell(&mut told, "upstreams", upstreams(before, after));
    let before_names = before.policy.backends();
    let after_names = after.policy.backends();
    let kinds = |snapshot: &Snapshot| -> BTreeMap<String, String> {
        let each = snapshot.backends.iter();
        each.map(|one| (one.name.to_string(), one.profile.name.clone()))
            .collect()
    };
    if before_names.are_several() || after_names.are_several() {
        tell(
            &mut told,
            "backends",
            differing(&kinds(before), &kinds(after)),
        );
        told.extend(moved(before, after, now));
    }
    let names = |snapshot: &Snapshot| {
        snapshot
            .destinations
            .keys()
            .map(|name| (name.clone(), ()))
            .collect::<BTreeMap<_, _>>()
    };
    tell(
        &mut told,
        "destinations",
        differing(&names(before), &names(after)),
    );
    tell(
        &mut told,
        "credentials",
        rotated(
            &before.vault.fingerprints(before_names),
            &after.vault.fingerprints(after_names),
        ),
    );
    let mut settings = Vec::new();
    for (name, same) in [
        ("limits", before.limits == after.limits),
        ("ingest", before.ingest_settings == after.ingest_settings),
        ("query", before.query_settings == after.query_settings),
    ] {
        settings.extend((!same).then(|| name.to_owned()));
    }
    tell(&mut told, "settings", settings);
    let file = |(file, _): (&PathBuf, _)| file.display().to_string();
    let mut files: Vec<String> = read
        .iter()
        .filter(|(path, digest)| known.get(*path) != Some(*digest))
        .map(file)
        .collect();
    files.extend(
        known
            .iter()
            .filter(|(path, _)| !read.contains_key(*path))
            .map(|one| format!("{} (not any more)", file(one))),
    );
    tell(&mut told, "files", files);
    told.join("; ")
}

/// The endpoints that are not the same, or not there any more; with their backends' names where there are several.
fn upstreams(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let mut found = Vec::new();
    for one in &after.backends {
        let earlier = match (before.backends.as_slice(), after.backends.as_slice()) {
            ([only], [_]) => Some(only),
            (all, _) => all.iter().find(|earlier| earlier.name == one.name),
        };
        // A backend that came is told of as a whole.
        let Some(earlier) = earlier else {
            continue;
        };
        let kinds = [
            Upstream::Ingest,
            Upstream::Grpc,
            Upstream::Query,
            Upstream::Collector,
            Upstream::Logs,
        ];
        let differing = kinds.into_iter().filter(|kind| {
            let same = match (earlier.endpoint(*kind), one.endpoint(*kind)) {
                (Some(before), Some(after)) => before.is_same_as(after),
                (None, None) => true,
                _ => false,
            };
            !same
        });
        found.extend(differing.map(|kind| match after.backends.len() {
            1 => kind.name().to_owned(),
            _ => format!("{} {}", one.name, kind.name()),
        }));
    }
    // Exports over gRPC are told of as exports.
    found.dedup();
    found
}

/// `backend of /shop is now honey`: of the topmost apps whose data goes elsewhere from now on.
fn moved(before: &Snapshot, after: &Snapshot, now: UnixMillis) -> Vec<String> {
    let names = |snapshot: &Snapshot, app: &AppPath| {
        let node = snapshot.policy.tree().find(app)?;
        let backend = snapshot.policy.backend_of(node, now);
        Some(snapshot.policy.backends().name(backend).to_owned())
    };
    let mut found = Vec::new();
    let mut more = 0;
    // The topmost app of the subtree that was told of last, and where it went: what goes with it is not told again.
    let mut last: Option<(AppPath, Option<String>, String)> = None;
    for (_, node) in after.policy.tree().nodes() {
        let (earlier, present) = (names(before, &node.path), names(after, &node.path));
        let Some(present) = present else { continue };
        let is_told = last.as_ref().is_some_and(|(above, from, to)| {
            above.contains(&node.path) && *from == earlier && *to == present
        });
        if earlier.is_none() || earlier.as_ref() == Some(&present) || is_told {
            continue;
        }
        if found.len() < LISTED {
            let app = node.path.as_str().trim_start_matches('/');
            found.push(format!("backend of /{app} is now {present}"));
        } else {
            more += 1;
        }
        last = Some((node.path.clone(), earlier, present));
    }
    if more > 0 {
        found.push(format!("and of {more} more"));
    }
    found
}

fn tell(told: &mut Vec<String>, kind: &str, mut names: Vec<String>) {
    if names.is_empty() {
        return;
    }
    let more = names.len().saturating_sub(LISTED);
    names.truncate(LISTED);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    told.push(format!("{kind}: {}{more}", names.join(", ")));
}

/// The names of what came, went or changed.
fn differing<V: PartialEq>(
    before: &BTreeMap<String, V>,
    after: &BTreeMap<String, V>,
) -> Vec<String> {
    let here = after
        .iter()
        .filter_map(|(name, value)| match before.get(name) {
            None => Some(format!("{name} (new)")),
            Some(earlier) => (earlier != value).then(|| name.clone()),
        });
    let gone = before
        .keys()
        .filter(|name| !after.contains_key(*name))
        .map(|name| format!("{name} (not any more)"));
    here.chain(gone).collect()
}

fn rotated(before: &[(String, String)], after: &[(String, String)]) -> Vec<String> {
    let before: BTreeMap<&str, &str> = before
        .iter()
        .map(|(name, print)| (name.as_str(), print.as_str()))
        .collect();
    let after: BTreeMap<&str, &str> = after
        .iter()
        .map(|(name, print)| (name.as_str(), print.as_str()))
        .collect();
    let here = after
        .iter()
        .filter_map(|(name, print)| match before.get(name) {
            None => Some(format!("{name} {print} (new)")),
            Some(earlier) => (earlier != print).then(|| format!("{name} {earlier} -> {print}")),
        });
    let gone = before
        .iter()
        .filter(|(name, _)| !after.contains_key(*name))
        .map(|(name, print)| format!("{name} {print} (not any more)"));
    here.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_went_and_changed_is_named_within_a_bound() {
        let map = |pairs: &[(&str, u8)]| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), *value))
                .collect()
        };
        let before: BTreeMap<String, u8> = map(&[("same", 1), ("changed", 1), ("old", 1)]);
        let after: BTreeMap<String, u8> = map(&[("same", 1), ("changed", 2), ("new", 1)]);
        assert_eq!(
            differing(&before, &after),
            ["changed", "new (new)", "old (not any more)"]
        );
        let prints = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs
                .iter()
                .map(|(name, print)| ((*name).to_owned(), (*print).to_owned()))
                .collect()
        };
        let (before, after) = (
            prints(&[("a/0", "11"), ("b/0", "22")]),
            prints(&[("a/0", "33"), ("c/0", "44")]),
        );
        assert_eq!(
            rotated(&before, &after),
            ["a/0 11 -> 33", "c/0 44 (new)", "b/0 22 (not any more)"]
        );
        let mut told = Vec::new();
        tell(
            &mut told,
            "files",
            (0..20).map(|number| number.to_string()).collect(),
        );
        tell(&mut told, "issuers", Vec::new());
        assert_eq!(told, ["files: 0, 1, 2, 3, 4, 5, 6, 7 and 12 more"]);
    }
}
