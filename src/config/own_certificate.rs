//! Where a certificate of the gateway's own is, of a listener or for an upstream, checked.
//!
//! What it does: takes the files or the socket that are given. What it refuses to know: what a certificate says.
//! Invariant: exactly one of both is given, and files come in pairs.

use std::path::{Path, PathBuf};

use super::report::{ConfigFindings, Content};
use crate::document::Spanned;

const HINT: &str = "write `certificate: server.pem` and `key: server.key`, or `workload_api: unix:///run/spire/agent.sock`";

/// A pair of files, or a socket.
pub(crate) enum WrittenCertificate {
    Files { certificate: PathBuf, key: PathBuf },
    WorkloadApi(PathBuf),
}

/// What is written of it.
pub(crate) struct GivenCertificate<'a> {
    pub certificate: Option<&'a Spanned<String>>,
    pub key: Option<&'a Spanned<String>>,
    pub workload_api: Option<&'a Spanned<String>>,
}

/// `subject` is where it stands, at `at`. `None`: it was reported.
pub(crate) fn own_certificate<T>(
    report: &mut ConfigFindings<'_>,
    subject: &str,
    at: &Spanned<T>,
    given: &GivenCertificate<'_>,
) -> Option<WrittenCertificate> {
    match (given.certificate, given.key, given.workload_api) {
        (Some(certificate), Some(key), None) => {
            let checked = report.path(
                certificate,
                &format!("{subject}.certificate"),
                Content::Certificates,
            );
            let belongs = Content::Key {
                certificate: checked.clone().unwrap_or_default(),
            };
            let key = report.path(key, &format!("{subject}.key"), belongs);
            Some(WrittenCertificate::Files {
                certificate: checked?,
                key: key?,
            })
        }
        (None, None, Some(address)) => {
            let socket = socket(report, address, &format!("{subject}.workload_api"));
            socket.map(WrittenCertificate::WorkloadApi)
        }
        (Some(_), None, None) => {
            report.error_with_hint(at, format!("missing key `key` in `{subject}`"), HINT);
            None
        }
        (None, Some(_), None) => {
            report.error_with_hint(
                at,
                format!("missing key `certificate` in `{subject}`"),
                HINT,
            );
            None
        }
        (None, None, None) | (_, _, Some(_)) => {
            let message =
                format!("`{subject}` needs either `certificate` with `key`, or `workload_api`");
            report.error_with_hint(at, message, HINT);
            None
        }
    }
}

/// A Unix socket's path (SPIFFE Workload Endpoint section 4: `unix:` and an absolute path).
pub(crate) fn socket(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<String>,
    subject: &str,
) -> Option<PathBuf> {
    let path = at
        .value
        .strip_prefix("unix:")
        .map(|rest| match rest.strip_prefix("//") {
            Some(path) => path,
            None => rest,
        });
    match path.map(Path::new).filter(|path| path.is_absolute()) {
        Some(path) => Some(path.to_owned()),
        None => {
            let message = format!("`{subject}` must be `unix:` and an absolute path");
            report.error_with_hint(at, message, "write it like `unix:///run/spire/agent.sock`");
            None
        }
    }
}
