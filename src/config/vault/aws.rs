//! What the vault's settings say of AWS, checked.
//!
//! What it does: regions, hosts and keys with which calls are signed. What it refuses to know: the keys, and what is asked.
//! Invariant: a build that cannot sign refuses what needs a signature.

use super::super::raw::{RawAwsKeys, RawAwsLogin};
use super::super::report::ConfigFindings;
use super::secret;
use crate::aws::{AwsKeyRefs, AwsSigning, IS_BUILT, NOT_BUILT};
use crate::document::Spanned;
use crate::identify::regional_host;
use crate::stores::AwsLogin;

/// Where the global STS is, and the region that signs for it.
const GLOBAL: (&str, &str) = ("sts.amazonaws.com", "us-east-1");
const HEADER_LIMIT_BYTES: usize = 255;

/// `None`: reported.
pub(super) fn login<T>(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<T>,
    raw: &RawAwsLogin,
    mount: Option<String>,
) -> Option<AwsLogin> {
    built(report, at, "vault.store.login.aws")?;
    let subject = "vault.store.login.aws";
    let (host, region) = match &raw.region {
        None => (GLOBAL.0.to_owned(), GLOBAL.1.to_owned()),
        Some(given) => (
            sts_host(report, given, &format!("{subject}.region"))?,
            given.value.clone(),
        ),
    };
    let keys = keys(report, raw.keys.as_ref(), &format!("{subject}.keys"));
    if let Some(server) = &raw.server_id
        && !is_header_text(&server.value)
    {
        let message = format!("`{subject}.server_id` must be printable characters without spaces");
        report.error(server, message);
        return None;
    }
    Some(AwsLogin {
        mount: mount?,
        role: raw.role.value.clone(),
        server_id: raw.server_id.as_ref().map(|given| given.value.clone()),
        host,
        signing: AwsSigning {
            region,
            keys: keys?,
        },
    })
}

/// `None`: this build cannot sign, which is reported.
pub(super) fn built<T>(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<T>,
    subject: &str,
) -> Option<()> {
    if !IS_BUILT {
        report.error(at, format!("`{subject}`: {NOT_BUILT}"));
    }
    IS_BUILT.then_some(())
}

/// The host of a region's STS. `None`: reported.
pub(super) fn sts_host(
    report: &mut ConfigFindings<'_>,
    region: &Spanned<String>,
    subject: &str,
) -> Option<String> {
    let host = regional_host(&region.value);
    if host.is_none() {
        let message = format!("`{subject}` must be a region of AWS");
        report.error_with_hint(region, message, "such as `eu-west-1`");
    }
    host
}

/// `Some(None)`: none are given. `None`: reported.
pub(super) fn keys(
    report: &mut ConfigFindings<'_>,
    raw: Option<&RawAwsKeys>,
    subject: &str,
) -> Option<Option<AwsKeyRefs>> {
    let Some(raw) = raw else { return Some(None) };
    let access_key = secret(report, &raw.access_key, &format!("{subject}.access_key"));
    let secret_key = secret(report, &raw.secret_key, &format!("{subject}.secret_key"));
    let session = match &raw.session {
        Some(given) => Some(secret(report, given, &format!("{subject}.session"))?),
        None => None,
    };
    Some(Some(AwsKeyRefs {
        access_key: access_key?,
        secret_key: secret_key?,
        session,
    }))
}

fn is_header_text(text: &str) -> bool {
    (1..=HEADER_LIMIT_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}
