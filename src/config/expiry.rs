//! Certificates of the configuration whose time is over, or nearly.
//!
//! What it does: reads the files that hold trust anchors or the gateway's own certificates, and warns where none in a
//! file will be in date for long. What it refuses to know: what they are trusted for, the clock. Invariant: a file that
//! cannot be read is silent here, because its error is told where its contents are checked.

use std::path::{Path, PathBuf};

use super::report::{Content, NamedFile};
use crate::audit::timestamp;
use crate::clock::UnixMillis;
use crate::document::Diagnostic;
use crate::pem;

/// How long before its end a certificate is worth a word.
const AHEAD_SECONDS: i64 = 30 * 24 * 3600;

/// A file that holds certificates, and where the configuration names it.
#[derive(Clone, Debug)]
pub(crate) struct Dated {
    path: PathBuf,
    subject: String,
    line: u64,
    column: u64,
    /// Any of its certificates serves; otherwise the first counts.
    are_anchors: bool,
}

impl Dated {
    pub(crate) fn of(named: &NamedFile) -> Option<Self> {
        let are_anchors = match named.content {
            Content::Trust | Content::ClientAuthority { .. } => true,
            Content::Certificates => false,
            _ => return None,
        };
        let (path, subject) = (named.path.clone(), named.subject.clone());
        Some(Dated {
            path,
            subject,
            line: named.line,
            column: named.column,
            are_anchors,
        })
    }

    /// A warning if the time of what it holds is over at `now`, or soon.
    pub(crate) fn check(&self, file: &Path, now: UnixMillis) -> Option<Diagnostic> {
        let ends = self.ends()?;
        let at = timestamp(ends.saturating_mul(1000));
        let (what, hint) = match self.are_anchors {
            true => (
                "the last certificate in it",
                "put the next one beside it while both are in use",
            ),
            false => (
                "its certificate",
                "replace it; it is read anew within a second",
            ),
        };
        let words = match ends - now.seconds() {
            left if left < 0 => format!("`{}` is out of date: {what} ended at {at}", self.subject),
            left if left < AHEAD_SECONDS => format!(
                "`{}` is in date for few days: {what} ends at {at}",
                self.subject
            ),
            _ => return None,
        };
        Some(Diagnostic::warning(file, self.line, self.column, words).with_hint(hint))
    }

    /// The last second of the certificate that ends last, or of the first, in Unix time.
    fn ends(&self) -> Option<i64> {
        let certificates = pem::certificates_of(&self.path).ok()?;
        let ends = certificates.into_iter().filter_map(|certificate| {
            let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).ok()?;
            Some(parsed.validity().not_after.timestamp())
        });
        if self.are_anchors {
            ends.max()
        } else {
            { ends }.next()
        }
    }
}
