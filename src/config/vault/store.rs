//! `vault.store`, checked.
//!
//! What it does: where credentials of the backend are asked for, and by what the gateway proves itself there. What it refuses
//! to know: which secrets are asked for. Invariant: secrets go over TLS, or not beyond this machine.

use std::time::Duration;

use super::super::address::HttpUrl;
use super::super::egress::{own, route};
use super::super::limits::duration_between;
use super::super::raw::{RawStore, RawStoreLogin};
use super::super::report::{ConfigFindings, Content};
use super::aws;
use super::secret;
use crate::document::Spanned;
use crate::egress::Egress;
use crate::secret::SecretRef;
use crate::stores::{StoreLogin, StoreSettings, is_store_path};

/// What Kubernetes mounts.
const ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// `None`: reported.
pub(super) fn store(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<RawStore>,
    egress: &Egress,
) -> Option<StoreSettings> {
    let raw = &at.value;
    let url = url(report, &raw.url);
    let namespace = named(report, raw.namespace.as_ref(), "namespace", "");
    let mount = named(report, raw.mount.as_ref(), "mount", "secret");
    let login = login(report, &raw.login);
    let every = duration_between(
        report,
        raw.every.as_ref(),
        "vault.store.every",
        MINUTE,
        Duration::from_secs(5)..=60 * MINUTE,
    );
    let stale = duration_between(
        report,
        raw.stale.as_ref(),
        "vault.store.stale",
        DAY,
        MINUTE..=30 * DAY,
    );
    let ca = match &raw.ca {
        Some(given) => Some(report.path(given, "vault.store.ca", Content::Trust)?),
        None => None,
    };
    let egress = own(report, egress, raw.proxy.as_ref(), "vault.store");
    let url = url?;
    route(report, &egress, &raw.url, (url.tls, &url.host, url.port));
    Some(StoreSettings {
        url: raw.url.value.trim_end_matches('/').to_owned(),
        namespace: namespace.filter(|name| !name.is_empty()),
        mount: mount?,
        login: login?,
        ca,
        egress,
        every,
        stale,
        probe: raw.probe.is_none_or(|given| given.0),
    })
}

fn url(report: &mut ConfigFindings<'_>, at: &Spanned<String>) -> Option<HttpUrl> {
    match HttpUrl::parse(&at.value) {
        Ok(url) if url.tls || url.is_loopback() => Some(url),
        Ok(_) => {
            let message = "`vault.store.url` must be `https`: secrets come from there";
            report.error_with_hint(at, message, "`http` is taken on loopback alone");
            None
        }
        Err(fault) => {
            report.error(at, format!("`vault.store.url` {fault}"));
            None
        }
    }
}

/// A path in the store, or what stands for none.
fn named(
    report: &mut ConfigFindings<'_>,
    given: Option<&Spanned<String>>,
    key: &str,
    standard: &str,
) -> Option<String> {
    let Some(given) = given else {
        return Some(standard.to_owned());
    };
    if is_store_path(&given.value) {
        return Some(given.value.clone());
    }
    let message =
        format!("`vault.store.{key}` must be segments of letters, digits and `-_.`, apart by `/`");
    report.error(given, message);
    None
}

fn login(report: &mut ConfigFindings<'_>, at: &Spanned<RawStoreLogin>) -> Option<StoreLogin> {
    match &at.value {
        RawStoreLogin::Approle(raw) => {
            let mount = named(report, raw.mount.as_ref(), "login.approle.mount", "approle");
            let role_id = secret(report, &raw.role_id, "vault.store.login.approle.role_id");
            let secret_id = secret(
                report,
                &raw.secret_id,
                "vault.store.login.approle.secret_id",
            );
            Some(StoreLogin::AppRole {
                mount: mount?,
                role_id: role_id?,
                secret_id: secret_id?,
                wrapped: raw.wrapped.is_some_and(|given| given.0),
            })
        }
        RawStoreLogin::Kubernetes(raw) => {
            let standard = "kubernetes";
            let mount = named(
                report,
                raw.mount.as_ref(),
                "login.kubernetes.mount",
                standard,
            );
            let token = match &raw.token {
                Some(given) => secret(report, given, "vault.store.login.kubernetes.token"),
                // Not looked for by `check`: the cluster mounts it where the gateway runs.
                None => Some(SecretRef::File(ACCOUNT_TOKEN.into())),
            };
            Some(StoreLogin::Kubernetes {
                mount: mount?,
                role: raw.role.value.clone(),
                token: token?,
            })
        }
        RawStoreLogin::Aws(raw) => {
            let mount = named(report, raw.mount.as_ref(), "login.aws.mount", "aws");
            aws::login(report, at, raw, mount).map(StoreLogin::Aws)
        }
        RawStoreLogin::Token(given) => {
            secret(report, given, "vault.store.login.token").map(StoreLogin::Token)
        }
    }
}
