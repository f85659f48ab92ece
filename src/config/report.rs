//! What is collected while a file is checked: findings, and the other files that it names.
//!
//! What it does: places messages, resolves relative paths, and remembers what each named file must hold.
//! What it refuses to know: which settings there are. Invariant: a value's text reaches a message only
//! through `name`, and the text of a path to a key or secret never does.

use std::path::{Path, PathBuf};

use crate::apps::AppPath;
use crate::document::{Diagnostic, Spanned};
use crate::egress::Environment;
use crate::secret::SecretRef;

/// A file that the configuration names.
pub(crate) struct NamedFile {
    pub path: PathBuf,
    pub content: Content,
    /// The key that names it, `listeners[0].tls.key`.
    pub subject: String,
    pub line: u64,
    pub column: u64,
}

/// What a named file must hold.
pub(crate) enum Content {
    /// A PEM certificate chain.
    Certificates,
    /// A PEM private key that belongs to the chain in this file.
    Key { certificate: PathBuf },
    /// A PEM private key that signs assertions, by this JOSE algorithm if one is named.
    AssertionKey { algorithm: Option<String> },
    /// PEM trust anchors.
    Trust,
    /// PEM anchors of one authority for client certificates; `single`: one certificate, because nothing tells several apart.
    ClientAuthority { single: bool },
    /// PEM revocation lists.
    Revocations,
    /// A JSON Web Key Set.
    Keys,
    /// The bundle of a SPIFFE trust domain, with keys for JWT-SVIDs.
    Bundle,
    /// The same, with certificates for X.509-SVIDs.
    AuthorityBundle,
    /// What is revoked, which is checked elsewhere.
    RevokedProofs,
    /// The policy, which is checked elsewhere.
    Policy,
    /// A backend's profile, which is read where it is named.
    Profile,
    /// A secret.
    Secret(SecretRef),
    /// A secret that is a key of 32 bytes.
    SessionKey(SecretRef),
    /// A secret that a webhook of this app presents: long enough, and no other app's.
    WebhookSecret { app: AppPath, reference: SecretRef },
    /// A secret that is a proxy's `user:password`.
    ProxyCredentials(SecretRef),
    /// The URL of a destination.
    SecretUrl(SecretRef),
    /// Nothing yet: it will be created in a folder that must exist.
    Created,
}

/// What a name of our own making looks like.
pub(crate) const OWN_NAME_FORM: &str = "1 to 63 letters, digits, `-`, `_` or `.`";

/// Whether this can be a name of our own making.
pub(crate) fn is_own_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=63).contains(&text.len()) && text.bytes().all(allowed)
}

/// What a name out of the backend looks like.
pub(crate) const FOREIGN_NAME_FORM: &str = "1 to 255 bytes without spaces or `/`";

/// Whether this can be a name out of the backend: any text that can be one path segment.
pub(crate) fn is_foreign_name(text: &str) -> bool {
    let parts = |letter: char| letter.is_control() || letter.is_whitespace() || letter == '/';
    (1..=255).contains(&text.len()) && text != "." && text != ".." && !text.contains(parts)
}

pub(crate) struct ConfigFindings<'a> {
    file: &'a Path,
    folder: PathBuf,
    environment: Environment,
    /// Whether files of profiles are read.
    pub reads_profiles: bool,
    /// Whether there is a store of secrets.
    pub(crate) has_store: bool,
    pub found: Vec<Diagnostic>,
    pub named: Vec<NamedFile>,
}

impl<'a> ConfigFindings<'a> {
    pub(crate) fn new(file: &'a Path, environment: Environment) -> Self {
        let folder = file.parent().map(Path::to_owned).unwrap_or_default();
        ConfigFindings {
            file,
            folder,
            environment,
            reads_profiles: false,
            has_store: false,
            found: Vec::new(),
            named: Vec::new(),
        }
    }

    /// The file that is being checked.
    pub(crate) fn file(&self) -> &'a Path {
        self.file
    }

    /// The proxies that the environment names.
    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    pub(crate) fn error<T>(&mut self, at: &Spanned<T>, message: impl Into<String>) {
        self.found.push(Diagnostic::error(
            self.file,
            at.line(),
            at.column(),
            message,
        ));
    }

    pub(crate) fn error_with_hint<T>(
        &mut self,
        at: &Spanned<T>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.found
            .push(Diagnostic::error(self.file, at.line(), at.column(), message).with_hint(hint));
    }

    pub(crate) fn warning<T>(
        &mut self,
        at: &Spanned<T>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.found
            .push(Diagnostic::warning(self.file, at.line(), at.column(), message).with_hint(hint));
    }

    /// Resolves a path that stands at `at`, and remembers what the file must hold. `None`: reported.
    pub(crate) fn path(
        &mut self,
        at: &Spanned<String>,
        subject: &str,
        content: Content,
    ) -> Option<PathBuf> {
        let path = self.resolve(at, &at.value, subject)?;
        self.named.push(NamedFile {
            path: path.clone(),
            content,
            subject: subject.to_owned(),
            line: at.line(),
            column: at.column(),
        });
        Some(path)
    }

    /// A path relative to the file that names it. `None`: reported.
    pub(crate) fn resolve<T>(
        &mut self,
        at: &Spanned<T>,
        text: &str,
        subject: &str,
    ) -> Option<PathBuf> {
        if text.is_empty() {
            self.error(at, format!("`{subject}` must not be empty"));
            return None;
        }
        if text.contains("-----BEGIN") || text.contains(char::is_control) {
            let message =
                format!("`{subject}` must be the path of a file, not what the file holds");
            self.error_with_hint(
                at,
                message,
                "put the text into a file of its own and name that file",
            );
            return None;
        }
        Some(self.folder.join(text))
    }

    /// A name of our own making: 1 to 63 of `A-Z a-z 0-9 - _ .`. `None`: reported.
    pub(crate) fn own_name(&mut self, at: &Spanned<String>, subject: &str) -> Option<String> {
        if is_own_name(&at.value) {
            return Some(at.value.clone());
        }
        self.error(at, format!("`{subject}` must be {OWN_NAME_FORM}"));
        None
    }

    /// A name out of the backend. `None`: reported.
    pub(crate) fn foreign_name(&mut self, at: &Spanned<String>, subject: &str) -> Option<String> {
        if is_foreign_name(&at.value) {
            return Some(at.value.clone());
        }
        self.error(at, format!("`{subject}` must be {FOREIGN_NAME_FORM}"));
        None
    }
}
