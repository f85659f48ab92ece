//! `issuer: kubernetes://…`: a cluster's API server as an issuer, with `kubernetes:` and `review:`.
//!
//! What it does: finds the API server's address and the folder of the pod's files. What it refuses to know: what stands in
//! them. Invariants: what the cluster says itself (keys, authority, issuer) is no setting beside it; a setting without effect
//! is an error.

use std::path::PathBuf;

use super::issuer_parts::place;
use super::raw::{RawIssuer, RawReview};
use super::report::{ConfigFindings, Content, NamedFile};
use crate::document::Spanned;
use crate::egress::host_and_port;
use crate::identify::{ClusterSettings, TokenReviewing};

const SCHEME: &str = "kubernetes://";

/// Where every pod finds its API server (Kubernetes, "Accessing the API from within a Pod").
const API_HOST: &str = "kubernetes.default.svc";

/// Where the kubelet puts a pod's token and authority.
const FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

const CALLS_PER_SECOND: u32 = 100;

/// Whether the issuer is meant to be a cluster.
pub(crate) fn is_cluster(issuer: &str) -> bool {
    issuer.starts_with("kubernetes:")
}

/// Reports settings that only clusters have.
pub(crate) fn without_cluster(report: &mut ConfigFindings<'_>, index: usize, raw: &RawIssuer) {
    let given = [
        ("kubernetes", raw.kubernetes.as_ref().map(place)),
        ("review", raw.review.as_ref().map(place)),
    ];
    for (key, at) in given.into_iter().filter_map(|(key, at)| Some((key, at?))) {
        let hint = "write `issuer: kubernetes:///` if the tokens are those of the cluster in which the gateway runs";
        report.error_with_hint(
            &at,
            format!("`issuers[{index}].{key}` has no use: the issuer is no `kubernetes://…`"),
            hint,
        );
    }
}

/// The cluster that the issuer names. `None`: it was reported.
pub(crate) fn cluster(
    report: &mut ConfigFindings<'_>,
    index: usize,
    raw: &RawIssuer,
    named: &Spanned<String>,
    has_login: bool,
) -> Option<ClusterSettings> {
    let subject = |key: &str| format!("issuers[{index}].{key}");
    if has_login {
        let message = "people cannot log in at a Kubernetes API server";
        let hint = "let `web.login.issuer` name an OIDC issuer";
        report.error_with_hint(named, message, hint);
    }
    for (key, at) in [
        ("jwks", raw.jwks.as_ref().map(place)),
        ("ca", raw.ca.as_ref().map(place)),
        ("introspection", raw.introspection.as_ref().map(place)),
    ] {
        let Some(at) = at else { continue };
        let message = format!(
            "`{}` has no use beside `issuer: kubernetes://…`",
            subject(key)
        );
        let hint = match key {
            "introspection" => "remove it; `review: on` asks the API server about tokens",
            _ => "remove it: the API server says it, and the pod's files vouch for it",
        };
        report.error_with_hint(&at, message, hint);
    }
    let Some((host, port)) = api_address(&named.value) else {
        let message = format!("`{}` is no address of an API server", subject("issuer"));
        let hint = "write `kubernetes:///` for the cluster in which the gateway runs, or `kubernetes://host:port`";
        report.error_with_hint(named, message, hint);
        return None;
    };
    let given = raw.kubernetes.as_ref();
    let (folder, at) = match given.and_then(|given| given.value.folder.as_ref()) {
        Some(folder) => {
            let path = report.resolve(folder, &folder.value, &subject("kubernetes.folder"))?;
            (path, place(folder))
        }
        None => (PathBuf::from(FOLDER), place(named)),
    };
    let settings = ClusterSettings {
        api: if host.contains(':') {
            format!("https://[{host}]:{port}")
        } else {
            format!("https://{host}:{port}")
        },
        folder,
        review: match raw.review.as_ref().map(|given| given.value) {
            None | Some(RawReview::Off) => TokenReviewing::Off,
            Some(RawReview::On) => TokenReviewing::On,
            Some(RawReview::Prefer) => TokenReviewing::Prefer,
        },
        calls_per_second: given
            .and_then(|given| given.value.calls_per_second)
            .unwrap_or(CALLS_PER_SECOND),
    };
    // The token beside it is renewed every hour and read each time: it is no file whose change means another configuration.
    report.named.push(NamedFile {
        path: settings.ca_file(),
        content: Content::Trust,
        subject: subject("kubernetes.folder"),
        line: at.line(),
        column: at.column(),
    });
    Some(settings)
}

fn api_address(issuer: &str) -> Option<(String, u16)> {
    let rest = issuer.strip_prefix(SCHEME)?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.is_empty() {
        return rest.ends_with('/').then(|| (API_HOST.to_owned(), 443));
    }
    if !authority.bytes().all(|byte| (0x21..=0x7e).contains(&byte))
        || authority.contains(['/', '@', '?', '#', '%'])
    {
        return None;
    }
    let (host, port) = host_and_port(authority)?;
    Some((host, port.unwrap_or(443)))
}
