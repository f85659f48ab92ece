//! The key of a local port: what a tool must present so that it acts as the developer.
//!
//! What it does: makes a key, or keeps one in a file, and compares what a request presents with it. What it refuses to
//! know: ports, gateways. Invariants: 256 random bits; compared in constant time; a file that others may read or write
//! is refused; the key is on no request that goes on.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, header};
use zeroize::Zeroizing;

use super::failure::Failure;
use super::proving::DPOP;
use crate::lightstep::FIREHOSE_KEY;
use crate::profiles::Profile;

/// Where tools put a credential. None of it goes on to the gateway: two credentials are a refusal there.
pub(crate) fn credentials() -> Vec<HeaderName> {
    let own = Profile::built_in().flat_map(|one| {
        one.access_token_header
            .clone()
            .into_iter()
            .chain([one.api_key_header.clone()])
    });
    [header::AUTHORIZATION, header::COOKIE, FIREHOSE_KEY, DPOP]
        .into_iter()
        .chain(own)
        .collect()
}

const KEY_BYTES: usize = 32;
/// The length of a key's text.
const KEY_CHARACTERS: usize = 43;

/// A key, as tools present it.
pub(crate) struct LocalKey(Zeroizing<String>);

impl LocalKey {
    /// A new one.
    pub(crate) fn fresh() -> Result<Self, Failure> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        aws_lc_rs::rand::fill(bytes.as_mut_slice())
            .map_err(|_| Failure::new("the machine gives no random bytes for a key"))?;
        Ok(LocalKey(Zeroizing::new(
            URL_SAFE_NO_PAD.encode(bytes.as_slice()),
        )))
    }

    /// The one that the file keeps; a new one is written to it where there is no file.
    pub(crate) fn kept(file: &Path) -> Result<Self, Failure> {
        let said = |what: &str| Failure::new(format!("`{}` {what}", file.display()));
        let unusable =
            |error: std::io::Error| said(&format!("cannot be used for the key: {error}"));
        match OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(file)
        {
            Ok(mut created) => {
                let key = LocalKey::fresh()?;
                created
                    .write_all(key.0.as_bytes())
                    .and_then(|()| created.sync_all())
                    .map_err(unusable)?;
                return Ok(key);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(unusable(error)),
        }
        let opened = File::open(file).map_err(unusable)?;
        let metadata = opened.metadata().map_err(unusable)?;
        if !metadata.is_file() || metadata.mode() & 0o077 != 0 {
            return Err(said("holds the key and may be used by others")
                .advise("delete it, and a new key is made"));
        }
        let mut text = Zeroizing::new(String::new());
        opened
            .take(256)
            .read_to_string(&mut text)
            .map_err(unusable)?;
        let key = text.trim_end();
        let is_key = URL_SAFE_NO_PAD
            .decode(key)
            .is_ok_and(|bytes| bytes.len() == KEY_BYTES);
        match is_key && key.len() == KEY_CHARACTERS {
            true => Ok(LocalKey(Zeroizing::new(key.to_owned()))),
            false => Err(said("holds no key").advise("delete it, and a new key is made")),
        }
    }

    /// For the settings that are printed.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Whether a request presents the key in one of the places where tools put a credential.
    pub(crate) fn is_presented(&self, headers: &HeaderMap) -> bool {
        let mut places = credentials()
            .into_iter()
            .filter(|name| *name != header::COOKIE);
        places.any(|name| {
            headers
                .get_all(name)
                .iter()
                .any(|value| self.is(value.as_bytes()))
        })
    }

    /// `key`, `Bearer key`, or a password beside any name (RFC 7617 section 2).
    fn is(&self, value: &[u8]) -> bool {
        let value = value.trim_ascii();
        let (scheme, rest) = match value.iter().position(|byte| *byte == b' ') {
            Some(at) => value.split_at(at),
            None => (&b""[..], value),
        };
        let rest = rest.trim_ascii();
        if scheme.eq_ignore_ascii_case(b"basic") {
            let pair = Zeroizing::new(STANDARD.decode(rest).unwrap_or_default());
            let password = pair
                .iter()
                .position(|byte| *byte == b':')
                .and_then(|at| pair.get(at + 1..));
            return password.is_some_and(|password| self.equals(password));
        }
        (scheme.is_empty() || scheme.eq_ignore_ascii_case(b"bearer")) && self.equals(rest)
    }

    fn equals(&self, given: &[u8]) -> bool {
        verify_slices_are_equal(given, self.0.as_bytes()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_key_counts_where_tools_put_theirs() {
        let key = LocalKey::fresh().unwrap();
        let text = key.expose().to_owned();
        assert_eq!(text.len(), KEY_CHARACTERS);
        assert_ne!(text, LocalKey::fresh().unwrap().expose());
        let basic = |pair: String| format!("Basic {}", STANDARD.encode(pair));
        for (headers, fits) in [
            (vec![("authorization", text.clone())], true),
            (vec![("authorization", format!("Bearer {text}"))], true),
            (vec![("authorization", format!("bearer  {text}"))], true),
            (vec![("authorization", basic(format!("any:{text}")))], true),
            (vec![("lightstep-access-token", text.clone())], true),
            (vec![("x-amz-firehose-access-key", text.clone())], true),
            (
                vec![
                    ("authorization", "Bearer any".to_owned()),
                    ("lightstep-access-token", text.clone()),
                ],
                true,
            ),
            (vec![], false),
            (vec![("authorization", String::new())], false),
            (vec![("authorization", "Bearer any".to_owned())], false),
            (vec![("authorization", "Bearer".to_owned())], false),
            (
                vec![("authorization", format!("Bearer {}", text.split_at(1).1))],
                false,
            ),
            (vec![("authorization", format!("Bearer {text}x"))], false),
            (vec![("authorization", format!("Token {text}"))], false),
            (vec![("authorization", basic(text.clone()))], false),
            (vec![("authorization", basic(format!("{text}:any")))], false),
            (vec![("cookie", format!("key={text}"))], false),
            (vec![("x-other", text.clone())], false),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in &headers {
                map.append(*name, value.parse().unwrap());
            }
            assert_eq!(key.is_presented(&map), fits, "{headers:?}");
        }
    }

    #[test]
    fn a_kept_key_is_its_owners() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let first = LocalKey::kept(&file).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(LocalKey::kept(&file).unwrap().expose(), first.expose());
        for mode in [0o640, 0o604, 0o660] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(
                LocalKey::kept(&file)
                    .err()
                    .unwrap()
                    .message
                    .contains("others"),
                "{mode:o}"
            );
        }
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        for text in ["", "short", &"=".repeat(43), &"a".repeat(300)] {
            std::fs::write(&file, text).unwrap();
            assert!(
                LocalKey::kept(&file)
                    .err()
                    .unwrap()
                    .message
                    .contains("no key"),
                "{text}"
            );
        }
    }
}
