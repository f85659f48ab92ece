//! The policies that decided, kept beside the trail.
//!
//! What it does: keeps each policy's text under the SHA-256 of its bytes, and finds the one of a record's version again. What it refuses to
//! know: what a policy says. Invariants: a file of that folder is whole, and is never written again; what is found has the digest
//! that its name says, and is the only one of its version.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::AuditSettings;
use super::sequence::named_beside;
use crate::authorize::{Policy, policy_digest};
use crate::causes::chain;

const SUFFIX: &str = ".yaml";
/// Nothing larger is taken for a policy, in bytes.
const LIMIT_BYTES: u64 = 64 << 20;

/// Why a policy is not to be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeptPolicyFault {
    #[error("no policy of version `{version}` is kept in `{}`", .folder.display())]
    Unknown { version: String, folder: PathBuf },
    #[error("several policies in `{}` have versions that begin with `{version}`", .folder.display())]
    Several { version: String, folder: PathBuf },
    #[error("`{}` was changed: its bytes have another digest than its name says", .0.display())]
    Changed(PathBuf),
    #[error("`{}`", .path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
}

/// A policy that was found.
#[derive(Debug)]
pub(crate) struct KeptPolicy {
    pub file: PathBuf,
    pub text: String,
}

/// The folder of a trail's policies.
fn folder(audit: &Path) -> PathBuf {
    named_beside(audit, ".policies")
}

/// Keeps the policy beside the trail, if that is a file, and says so behind an event's words if it `is_new` or cannot be kept. A disk that does
/// not take it holds up no policy: what a policy withdraws must not go on.
pub(crate) fn told_kept(audit: &AuditSettings, policy: &Policy, is_new: bool) -> String {
    let digest = policy.sha256();
    let file = audit.file.as_deref();
    let kept = file.map(|file| keep_policy(file, policy.source(), digest));
    match kept.transpose() {
        Ok(_) if is_new => format!("; policy sha256:{digest}"),
        Ok(_) => String::new(),
        Err(fault) => {
            let fault = chain(&fault);
            tracing::error!(
                fault,
                "the policy is not kept beside the audit trail: past decisions cannot be explained by it"
            );
            format!("; policy sha256:{digest}, which is not kept: {fault}")
        }
    }
}

/// Keeps the text beside the trail, if the trail is a file; says where. What is there already stays as it is.
fn keep_policy(audit: &Path, text: &str, digest: &str) -> Result<Option<PathBuf>, KeptPolicyFault> {
    let is_file = fs::metadata(audit).is_ok_and(|found| found.is_file());
    if !is_file {
        return Ok(None);
    }
    let folder = folder(audit);
    let file = folder.join(digest.to_owned() + SUFFIX);
    let at = |path: &Path| {
        let path = path.to_owned();
        |cause| KeptPolicyFault::File { path, cause }
    };
    let is_there = fs::metadata(&file).is_ok_and(|found| found.is_file());
    if is_there && fs::read(&file).is_ok_and(|kept| kept == text.as_bytes()) {
        return Ok(Some(file));
    }
    fs::create_dir_all(&folder).map_err(at(&folder))?;
    // A name of this process's own: another gateway may keep the same policy at the same time.
    let new = folder.join(format!(".new-{}", std::process::id()));
    let written = write_whole(&new, text.as_bytes())
        .and_then(|()| fs::rename(&new, &file))
        .and_then(|()| File::open(&folder)?.sync_all());
    if written.is_err() {
        // What is left of it is written over the next time.
        drop(fs::remove_file(&new));
    }
    written.map_err(at(&file))?;
    Ok(Some(file))
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    drop(fs::remove_file(path));
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The policy whose digest begins with a record's version.
pub(crate) fn kept_policy(audit: &Path, version: &str) -> Result<KeptPolicy, KeptPolicyFault> {
    let folder = folder(audit);
    let unknown = || KeptPolicyFault::Unknown {
        version: version.to_owned(),
        folder: folder.clone(),
    };
    let entries = fs::read_dir(&folder).map_err(|_| unknown())?;
    let mut found: Option<(PathBuf, String)> = None;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let digest = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        let Some(digest) =
            digest.filter(|digest| !version.is_empty() && digest.starts_with(version))
        else {
            continue;
        };
        if found.replace((entry.path(), digest.to_owned())).is_some() {
            return Err(KeptPolicyFault::Several {
                version: version.to_owned(),
                folder,
            });
        }
    }
    let (file, digest) = found.ok_or_else(unknown)?;
    let is_whole = |found: fs::Metadata| found.is_file() && found.len() <= LIMIT_BYTES;
    if !fs::metadata(&file).is_ok_and(is_whole) {
        return Err(KeptPolicyFault::Changed(file));
    }
    let text = fs::read_to_string(&file).map_err(|cause| KeptPolicyFault::File {
        path: file.clone(),
        cause,
    })?;
    if policy_digest(&text) != digest {
        return Err(KeptPolicyFault::Changed(file));
    }
    Ok(KeptPolicy { file, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep_policy(audit: &Path, text: &str) -> Result<Option<PathBuf>, KeptPolicyFault> {
        super::keep_policy(audit, text, &policy_digest(text))
    }

    /// Scenario: a policy is kept twice, and another; then files of the folder are changed, doubled, half written and taken away.
    /// Guarantees: the text that decided is found by its version, and never another.
    #[test]
    fn a_policy_is_found_by_its_version_and_as_it_was() {
        let place = tempfile::tempdir().unwrap();
        let audit = place.path().join("audit.jsonl");
        assert!(
            matches!(keep_policy(&audit, "a"), Ok(None)),
            "there is no trail"
        );
        fs::write(&audit, "").unwrap();
        let first = keep_policy(&audit, "version: 1\n").unwrap().unwrap();
        let again = keep_policy(&audit, "version: 1\n").unwrap().unwrap();
        assert_eq!(first, again);
        keep_policy(&audit, "version: 1 # another\n").unwrap();
        let folder = first.parent().unwrap();
        assert_eq!(fs::read_dir(folder).unwrap().count(), 2);
        let digest = policy_digest("version: 1\n");
        let version = digest.get(..16).unwrap();
        assert_eq!(kept_policy(&audit, version).unwrap().text, "version: 1\n");
        let word = |version: &str| match kept_policy(&audit, version) {
            Ok(_) => "found",
            Err(KeptPolicyFault::Unknown { .. }) => "unknown",
            Err(KeptPolicyFault::Several { .. }) => "several",
            Err(KeptPolicyFault::Changed(_)) => "changed",
            Err(KeptPolicyFault::File { .. }) => "unreadable",
        };
        assert_eq!(word(""), "unknown");
        assert_eq!(word("0123456789abcdef"), "unknown");
        assert_eq!(word("../audit"), "unknown");
        let double = folder.join(format!("{version}{}{SUFFIX}", "0".repeat(48)));
        fs::write(&double, "version: 2\n").unwrap();
        assert_eq!(word(version), "several");
        fs::remove_file(&double).unwrap();
        fs::write(&first, "version: 1\nbindings: []\n").unwrap();
        assert_eq!(word(version), "changed");
        // What was changed is written anew when the policy is taken over again.
        keep_policy(&audit, "version: 1\n").unwrap();
        assert_eq!(word(version), "found");
        fs::write(&first, b"\xff").unwrap();
        assert_eq!(word(version), "unreadable");
        fs::remove_file(&first).unwrap();
        assert_eq!(word(version), "unknown");
    }

    /// Scenario: the trail is no file, its folder cannot be written, or a file stands where the folder should be. Guarantees: nothing is kept
    /// beside a device, and a fault is told.
    #[test]
    fn what_cannot_be_kept_is_told() {
        assert!(matches!(keep_policy(Path::new("/dev/null"), "a"), Ok(None)));
        let place = tempfile::tempdir().unwrap();
        let audit = place.path().join("audit.jsonl");
        fs::write(&audit, "").unwrap();
        fs::write(place.path().join("audit.jsonl.policies"), "").unwrap();
        let fault = keep_policy(&audit, "a").unwrap_err();
        assert!(
            fault.to_string().contains("audit.jsonl.policies"),
            "{fault}"
        );
    }
}
