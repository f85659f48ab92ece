//! Where a developer's tokens are kept: one file that no other user may read.
//!
//! What it does: finds, reads, locks and replaces the file. What it refuses to know: what tokens are for. Invariants: a file that
//! others may read or write is refused, not repaired; it is replaced whole, by renaming; only who holds the lock can write, so
//! that two commands never spend one refresh token.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::failure::Failure;

/// Names another file.
const PLACE_VARIABLE: &str = "LIGHTKEEPER_CREDENTIALS";
/// Larger than hundreds of gateways.
const FILE_LIMIT_BYTES: u64 = 1 << 20;
/// Longer than another command needs to refresh.
const LOCK_TIMEOUT: Duration = Duration::from_secs(120);
const LOCK_RETRY: Duration = Duration::from_millis(50);
const VERSION: u32 = 1;

/// Everything that is kept.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Contents {
    version: u32,
    /// The gateway of the last login.
    pub default: Option<String>,
    /// By origin.
    pub gateways: BTreeMap<String, StoredLogin>,
}

/// A login at one gateway.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct StoredLogin {
    /// Further authorities to trust, PEM.
    pub ca: Option<PathBuf>,
    pub organization: String,
    pub issuer: String,
    pub client_id: String,
    pub audience: Option<String>,
    pub token_endpoint: String,
    pub revocation_endpoint: Option<String>,
    /// For people: an e-mail address, a name or the subject.
    pub who: String,
    pub access_token: String,
    /// Unix seconds.
    pub expires: i64,
    pub refresh_token: Option<String>,
    /// Of the key that both tokens are bound to: the last part of its file's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// The file's place.
#[derive(Clone)]
pub(crate) struct Store {
    path: PathBuf,
}

/// The right to write.
pub(crate) struct Locked<'a> {
    store: &'a Store,
    // Closing it unlocks.
    _lock: File,
}

impl Store {
    /// `LIGHTKEEPER_CREDENTIALS`, else `credentials.json` in `$XDG_CONFIG_HOME/lightkeeper` or `~/.config/lightkeeper`.
    pub(crate) fn locate() -> Result<Self, Failure> {
        let folder = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        if let Some(path) = std::env::var_os(PLACE_VARIABLE).filter(|path| !path.is_empty()) {
            return Ok(Store::at(PathBuf::from(path)));
        }
        let base =
            folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")));
        let base = base.ok_or_else(|| {
            Failure::new("there is no folder for tokens")
                .advise(format!("set HOME, XDG_CONFIG_HOME or {PLACE_VARIABLE}"))
        })?;
        Ok(Store::at(base.join("lightkeeper/credentials.json")))
    }

    pub(crate) fn at(path: PathBuf) -> Self {
        Store { path }
    }

    /// What is kept now; nothing, if there is no file.
    pub(crate) fn read(&self) -> Result<Contents, Failure> {
        let said = |what: &str| Failure::new(format!("`{}` {what}", self.path.display()));
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Contents::default()),
            Err(error) => return Err(said(&format!("cannot be read: {error}"))),
        };
        let metadata = file
            .metadata()
            .map_err(|error| said(&format!("cannot be read: {error}")))?;
        if !metadata.is_file() || metadata.mode() & 0o077 != 0 {
            let advice = format!(
                "chmod 600 {0}, and log in again if another person could have read it",
                self.path.display()
            );
            return Err(said("holds tokens and may be used by others").advise(advice));
        }
        let mut text = String::new();
        let read = file.take(FILE_LIMIT_BYTES).read_to_string(&mut text);
        read.map_err(|error| said(&format!("cannot be read: {error}")))?;
        let broken = || said("is broken").advise("delete it and log in again");
        // The parser's own message could quote a token.
        let contents: Contents = serde_json::from_str(&text).map_err(|_| broken())?;
        if contents.version == VERSION {
            Ok(contents)
        } else {
            Err(broken())
        }
    }

    /// Waits until no other command holds the lock.
    pub(crate) async fn lock(&self) -> Result<Locked<'_>, Failure> {
        let path = self.beside(".lock");
        let unusable =
            |error: std::io::Error| Failure::new(format!("`{}`: {error}", path.display()));
        if let Some(folder) = self
            .path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(unusable)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(unusable)?;
        let waiting = async {
            let mut ticks = tokio::time::interval(LOCK_RETRY);
            loop {
                ticks.tick().await;
                match file.try_lock() {
                    Ok(()) => return Ok(()),
                    Err(TryLockError::WouldBlock) => {}
                    Err(TryLockError::Error(error)) => return Err(unusable(error)),
                }
            }
        };
        let busy = || {
            Failure::new(format!(
                "another command has held `{}` for too long",
                path.display()
            ))
        };
        tokio::time::timeout(LOCK_TIMEOUT, waiting)
            .await
            .map_err(|_| busy())??;
        Ok(Locked {
            store: self,
            _lock: file,
        })
    }

    /// Where the key of this name is kept: in a file of its own.
    pub(crate) fn key_file(&self, name: &str) -> PathBuf {
        let plain = name.replace(|one: char| !one.is_ascii_alphanumeric() && one != '-', "_");
        self.beside(&format!(".{plain}.key"))
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    }
}

impl Locked<'_> {
    pub(crate) fn read(&self) -> Result<Contents, Failure> {
        self.store.read()
    }

    /// Replaces the file.
    pub(crate) fn write(&self, mut contents: Contents) -> Result<(), Failure> {
        contents.version = VERSION;
        let text = serde_json::to_vec_pretty(&contents)
            .map_err(|_| Failure::new("tokens cannot be written"))?;
        let next = self.store.beside(".next");
        replace(&self.store.path, &next, &text).map_err(|error| {
            Failure::new(format!(
                "`{}` cannot be written: {error}",
                self.store.path.display()
            ))
        })
    }
}

fn replace(path: &Path, next: &Path, text: &[u8]) -> std::io::Result<()> {
    // Left by a command that was killed: no other command writes while this one holds the lock.
    match fs::remove_file(next) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(next)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(next, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn entry() -> StoredLogin {
        StoredLogin {
            ca: None,
            organization: "acme".to_owned(),
            issuer: "https://idp.example".to_owned(),
            client_id: "lightkeeper-cli".to_owned(),
            audience: None,
            token_endpoint: "https://idp.example/token".to_owned(),
            revocation_endpoint: None,
            who: "ann".to_owned(),
            access_token: "canary-access".to_owned(),
            expires: 10,
            refresh_token: Some("canary-refresh".to_owned()),
            key: None,
        }
    }

    #[tokio::test]
    async fn files_that_others_can_read_and_broken_files_are_refused() {
        let own = tempfile::tempdir().unwrap();
        let folder = own.path().join("not-yet");
        let path = folder.join("deep/credentials.json");
        let store = Store::at(path.clone());
        assert!(store.read().unwrap().gateways.is_empty());
        let mut contents = Contents::default();
        contents
            .gateways
            .insert("https://gateway.example".to_owned(), entry());
        store.lock().await.unwrap().write(contents).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(&folder.join("deep"))), (0o600, 0o700));
        for (mode, fine) in [
            (0o600, true),
            (0o400, true),
            (0o640, false),
            (0o604, false),
            (0o620, false),
            (0o666, false),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(store.read().is_ok(), fine, "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for text in [
            "",
            "{",
            "[]",
            r#"{"version":2,"default":null,"gateways":{}}"#,
            r#"{"version":1,"gateways":{"a":"canary"}}"#,
        ] {
            fs::write(&path, text).unwrap();
            let failure = store.read().err().unwrap();
            assert!(
                failure.message.contains("broken") && !failure.message.contains("canary"),
                "{text}: {failure:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_left_over_file_is_replaced_and_one_writer_waits_for_the_other() {
        let own = tempfile::tempdir().unwrap();
        let folder = own.path().join("not-yet");
        let store = Store::at(folder.join("credentials.json"));
        let first = store.lock().await.unwrap();
        fs::write(store.beside(".next"), "half of a file").unwrap();
        let mut second = Box::pin(store.lock());
        let waited = tokio::time::timeout(LOCK_RETRY * 4, &mut second).await;
        assert!(waited.is_err(), "two hold the lock");
        first
            .write(Contents {
                default: Some("a".to_owned()),
                ..Contents::default()
            })
            .unwrap();
        drop(first);
        let second = second.await.unwrap();
        assert_eq!(second.read().unwrap().default.as_deref(), Some("a"));
    }
}
