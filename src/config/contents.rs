//! Whether the files that the configuration names hold what they must.
//!
//! What it does: reads each named file once, bounded, and says what is wrong with it, where the
//! configuration names it. What it refuses to know: what the contents will be used for.
//! Invariants: nothing that was read reaches a message; what stands where the path of a key or secret should does so only if
//! it leads into a folder that exists, because a secret may have been pasted there.

use std::io::ErrorKind;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::exposure;
use super::report::{Content, NamedFile};
use crate::apps::AppPath;
use crate::document::{self, Diagnostic, ReadFault};
use crate::forward::PostAddress;
use crate::identify::WEBHOOK_SECRET_LEAST_BYTES;
use crate::identify::{AssertionKey, bundled_anchors, session_key_bytes, signing_certificates};
use crate::pem;
use crate::secret::{Secret, SecretFault, SecretRef};

/// The largest named file that is read, in bytes: revocation lists of large authorities have a few MiB.
pub(super) const CONTENT_LIMIT_BYTES: u64 = 16 << 20;

/// What is wrong with one file: the end of the sentence "`subject` …", and a hint.
pub(crate) struct FileFault(pub String, pub Option<String>);

impl From<&str> for FileFault {
    fn from(words: &str) -> Self {
        FileFault(words.to_owned(), None)
    }
}

/// Checks every named file.
pub(crate) fn check(file: &Path, named: &[NamedFile]) -> Vec<Diagnostic> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let single = named.iter().filter_map(|one| {
        check_one(one, folder)
            .err()
            .map(|fault| placed(file, one, fault))
    });
    let exposed = named.iter().filter_map(|one| exposed(file, one));
    single
        .chain(exposed)
        .chain(shared_webhooks(file, named))
        .collect()
}

/// A secret that others on the machine can have, or choose: a warning; of a key with which identities or TLS sessions are made,
/// an error.
fn exposed(file: &Path, named: &NamedFile) -> Option<Diagnostic> {
    let makes_others = match &named.content {
        Content::SessionKey(SecretRef::File(_))
        | Content::Key { .. }
        | Content::AssertionKey { .. } => true,
        Content::Secret(SecretRef::File(_))
        | Content::SecretUrl(SecretRef::File(_))
        | Content::ProxyCredentials(SecretRef::File(_))
        | Content::WebhookSecret {
            reference: SecretRef::File(_),
            ..
        } => false,
        _ => return None,
    };
    let exposure = exposure::of(&named.path)?;
    let finding = placed(
        file,
        named,
        FileFault(
            exposure.words().to_owned(),
            Some(exposure.hint().to_owned()),
        ),
    );
    if makes_others {
        return Some(finding);
    }
    let message = finding.message;
    Some(Diagnostic::warning(file, named.line, named.column, message).with_hint(exposure.hint()))
}

/// Where a key or secret was looked for, if that can be told.
fn looked_for(path: &Path, folder: &Path) -> Option<String> {
    let around = path
        .parent()
        .filter(|around| *around != folder && around.is_dir())?;
    (!around.as_os_str().is_empty()).then(|| format!("looked for {}", document::path(path)))
}

/// What is wrong with a secret, and where it was looked for if it is not there.
fn unread(fault: &SecretFault, path: &Path, folder: &Path) -> FileFault {
    let hint = matches!(fault, SecretFault::Unreadable(_))
        .then(|| looked_for(path, folder))
        .flatten();
    FileFault(fault.to_string(), hint)
}

/// A secret that two apps have would let either's webhooks speak for the other.
fn shared_webhooks(file: &Path, named: &[NamedFile]) -> Vec<Diagnostic> {
    let mut owners: Vec<(Zeroizing<Vec<u8>>, &AppPath)> = Vec::new();
    let mut found = Vec::new();
    for one in named {
        let Content::WebhookSecret { app, reference } = &one.content else {
            continue;
        };
        let Ok(secret) = reference.read() else {
            continue;
        };
        match owners
            .iter()
            .find(|(known, _)| ***known == *secret.expose())
        {
            Some((_, owner)) if *owner != app => {
                let words = format!("is the secret of app `{owner}` too");
                found.push(placed(
                    file,
                    one,
                    FileFault(words, Some("give each app a secret of its own".to_owned())),
                ));
            }
            Some(_) => {}
            None => owners.push((Zeroizing::new(secret.expose().to_vec()), app)),
        }
    }
    found
}

fn placed(file: &Path, named: &NamedFile, FileFault(words, hint): FileFault) -> Diagnostic {
    let message = format!("`{}` {words}", named.subject);
    let diagnostic = Diagnostic::error(file, named.line, named.column, message);
    match hint {
        Some(hint) => diagnostic.with_hint(hint),
        None => diagnostic,
    }
}

fn check_one(named: &NamedFile, folder: &Path) -> Result<(), FileFault> {
    let unread = |fault: SecretFault| unread(&fault, &named.path, folder);
    match &named.content {
        Content::Secret(reference) => reference.read().map(drop).map_err(unread),
        Content::SessionKey(reference) => session_key(&reference.read().map_err(unread)?),
        Content::WebhookSecret { reference, .. } => match reference.read() {
            Ok(secret) if secret.expose().len() < WEBHOOK_SECRET_LEAST_BYTES => {
                let hint = "make one with `openssl rand -hex 32`";
                Err(FileFault(
                    format!("has fewer than {WEBHOOK_SECRET_LEAST_BYTES} bytes"),
                    Some(hint.to_owned()),
                ))
            }
            Ok(_) => Ok(()),
            Err(fault) => Err(unread(fault)),
        },
        Content::ProxyCredentials(reference) => match reference.read() {
            Ok(secret) if !secret.expose().contains(&b':') => {
                Err("must hold `user:password`".into())
            }
            Ok(_) => Ok(()),
            Err(fault) => Err(unread(fault)),
        },
        Content::SecretUrl(reference) => match reference.read() {
            Ok(url) => PostAddress::parse(&String::from_utf8_lossy(url.expose()))
                .map(drop)
                .map_err(FileFault::from),
            Err(fault) => Err(unread(fault)),
        },
        Content::Created => created(&named.path),
        // Its mistakes were told when it was read.
        Content::Profile => Ok(()),
        Content::Policy | Content::RevokedProofs => read(&named.path, tried(&named.path)).map(drop),
        Content::Certificates => certificates(&read(&named.path, tried(&named.path))?).map(drop),
        Content::Key { certificate } => {
            let bytes = read(&named.path, looked_for(&named.path, folder))?;
            key(&bytes, certificate)
        }
        Content::AssertionKey { algorithm } => {
            let bytes = read(&named.path, looked_for(&named.path, folder))?;
            AssertionKey::read(&bytes, algorithm.as_deref(), None)
                .map(drop)
                .map_err(|fault| FileFault(fault.to_string(), None))
        }
        Content::Trust => trust(&read(&named.path, tried(&named.path))?),
        Content::ClientAuthority { single } => {
            client_authority(&read(&named.path, tried(&named.path))?, *single)
        }
        Content::Revocations => revocations(&read(&named.path, tried(&named.path))?),
        Content::Keys => keys(&read(&named.path, tried(&named.path))?).map(drop),
        Content::Bundle => bundle(&read(&named.path, tried(&named.path))?, "jwt-svid"),
        Content::AuthorityBundle => {
            let bytes = read(&named.path, tried(&named.path))?;
            bundle(&bytes, "x509-svid")?;
            bundled_anchors(&bytes).map_err(FileFault::from)
        }
    }
}

pub(crate) fn tried(path: &Path) -> Option<String> {
    Some(format!("looked for {}", document::path(path)))
}

/// The bytes of a file; `hint` says where it was looked for.
pub(crate) fn read(path: &Path, hint: Option<String>) -> Result<Zeroizing<Vec<u8>>, FileFault> {
    let fault = |words: String| FileFault(words, hint.clone());
    let unreadable = |kind: ErrorKind| match kind {
        ErrorKind::NotFound => fault("names a file that does not exist".to_owned()),
        kind => fault(format!("names a file that cannot be read: {kind}")),
    };
    document::read(path, CONTENT_LIMIT_BYTES).map_err(|read| match read {
        ReadFault::TooLarge => fault(format!(
            "names a file that is larger than {} MiB",
            CONTENT_LIMIT_BYTES >> 20
        )),
        ReadFault::NotAFile => fault("names something that is not a file".to_owned()),
        ReadFault::Unreadable(kind) => unreadable(kind),
    })
}

fn session_key(secret: &Secret) -> Result<(), FileFault> {
    let hint = "make one with `openssl rand -base64 32`";
    let wrong = || {
        FileFault(
            "must be 32 bytes, written in base64 or hexadecimal".to_owned(),
            Some(hint.to_owned()),
        )
    };
    session_key_bytes(secret).map(drop).ok_or_else(wrong)
}

fn created(path: &Path) -> Result<(), FileFault> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let hint = format!("create {}", document::path(folder));
        return Err(FileFault(
            "stands in a folder that does not exist".to_owned(),
            Some(hint),
        ));
    }
    if path.is_dir() {
        Err("names a folder".into())
    } else {
        Ok(())
    }
}

fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileFault> {
    match pem::certificates(bytes) {
        Ok(chain) if chain.is_empty() => Err("holds no PEM certificate".into()),
        Ok(chain) => Ok(chain),
        Err(_) => Err("is not well-formed PEM".into()),
    }
}

fn key(bytes: &[u8], certificate: &Path) -> Result<(), FileFault> {
    let key = pem::private_key(bytes).map_err(|_| {
        FileFault(
            "holds no PEM private key".to_owned(),
            Some("an encrypted key must be decrypted first".to_owned()),
        )
    })?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let signer = provider.key_provider.load_private_key(key);
    let signer =
        signer.map_err(|_| FileFault::from("holds a private key of a kind that TLS cannot use"))?;
    // What is wrong with the certificate itself is said at its own key.
    let Ok(chain) = read(certificate, None).and_then(|bytes| certificates(&bytes)) else {
        return Ok(());
    };
    match CertifiedKey::new(chain, signer).keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err(FileFault(
            "does not belong to the certificate".to_owned(),
            Some("the server's own certificate must stand first in its file".to_owned()),
        )),
        Err(_) => Err("stands beside a certificate that cannot be decoded".into()),
    }
}

fn trust(bytes: &[u8]) -> Result<(), FileFault> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(bytes)? {
        roots
            .add(certificate)
            .map_err(|_| FileFault::from("holds a certificate that cannot be a trust anchor"))?;
    }
    Ok(())
}

fn client_authority(bytes: &[u8], single: bool) -> Result<(), FileFault> {
    trust(bytes)?;
    match signing_certificates(bytes) {
        Err(why) => Err(FileFault(format!("holds a certificate that is no authority: {why}"), None)),
        Ok(count) if single && count > 1 => Err(FileFault(
            format!("holds {count} authorities, and nothing says which of them may speak for what"),
            Some(
                "write a list, with a file for each: `client_ca: [{ name: prod, file: prod-ca.pem, trust_domains: \
                 [prod.acme.example] }, { name: partner, file: partner-ca.pem, dns: [\"*.partner.example\"] }]`"
                    .to_owned(),
            ),
        )),
        Ok(_) => Ok(()),
    }
}

fn revocations(bytes: &[u8]) -> Result<(), FileFault> {
    let lists =
        pem::revocation_lists(bytes).map_err(|_| FileFault::from("is not well-formed PEM"))?;
    if lists.is_empty() {
        return Err("holds no PEM revocation list".into());
    }
    for list in lists {
        x509_parser::parse_x509_crl(&list)
            .map_err(|_| FileFault::from("holds a revocation list that cannot be decoded"))?;
    }
    Ok(())
}

/// RFC 7517 section 5: an object with a list `keys`.
fn keys(bytes: &[u8]) -> Result<Vec<serde_json::Value>, FileFault> {
    let mut set: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|_| FileFault::from("is not JSON"))?;
    // A member that is `null` is absent.
    let has =
        |key: &serde_json::Value, name: &str| key.get(name).is_some_and(|member| !member.is_null());
    match set
        .get_mut("keys")
        .and_then(serde_json::Value::as_array_mut)
    {
        Some(keys) if keys.is_empty() => Err("holds no keys".into()),
        Some(keys) if keys.iter().any(|key| has(key, "d") || has(key, "k")) => Err(FileFault(
            "holds a private or shared key".to_owned(),
            Some(
                "only the issuer may have it: export the public keys, and change this one"
                    .to_owned(),
            ),
        )),
        Some(keys) => Ok(std::mem::take(keys)),
        None => Err("is not a JSON Web Key Set: it has no list `keys`".into()),
    }
}

/// Of a bundle's keys, those for one use: JWT-SVID section 6, X.509-SVID section 6.
fn bundle(bytes: &[u8], used_for: &str) -> Result<(), FileFault> {
    let is_for_this =
        |key: &serde_json::Value| key.get("use").is_some_and(|named| named == used_for);
    let what = match used_for {
        "jwt-svid" => "JWT-SVIDs",
        _ => "X.509-SVIDs",
    };
    match keys(bytes)?.iter().any(is_for_this) {
        true => Ok(()),
        false => Err(FileFault(
            format!("holds no key for {what} (`use: {used_for}`)"),
            Some("`spire-server bundle show -format spiffe` writes the whole bundle".to_owned()),
        )),
    }
}
