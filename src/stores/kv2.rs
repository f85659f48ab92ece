//! HashiCorp Vault's secrets engine KV, version 2 (<https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2>).
//!
//! What it does: reads a secret's newest version and the one before. What it refuses to know: how the gateway logs in
//! (`login.rs`), and what a version is for. Invariants: a refusal of the token is met with one new login and no more; an
//! answer counts only if it is the version that was asked for; what was read is in no fault.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use rustls::RootCertStore;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::login::LoginKeeper;
use super::{
    OpenStoreFault, SecretStore, SecretVersion, StoreFault, StoreSettings, StoredRef, Versions,
};
use crate::clock::UnixMillis;
use crate::egress::{OutboundBounds, OutboundClient};
use crate::media_type;
use crate::pem;
use crate::secret::Secret;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
/// Without it an agent that forwards requests refuses them, if it is set so.
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

/// What is asked of the store, and how.
pub(super) struct StoreWire {
    client: OutboundClient,
    url: String,
    namespace: Option<HeaderValue>,
}

/// A secrets engine of one Vault.
pub(crate) struct Kv2 {
    settings: StoreSettings,
    wire: StoreWire,
    login: LoginKeeper,
}

#[derive(Deserialize)]
struct ReadAnswer {
    data: ReadSecret,
}

#[derive(Deserialize)]
struct ReadSecret {
    #[serde(default)]
    data: Option<serde_json::Map<String, serde_json::Value>>,
    metadata: VersionMetadata,
}

#[derive(Deserialize)]
struct VersionMetadata {
    version: u64,
    #[serde(default)]
    deletion_time: String,
    #[serde(default)]
    destroyed: bool,
}

impl Kv2 {
    /// Reads the roots, and asks nothing.
    pub(crate) fn open(settings: &StoreSettings) -> Result<Self, OpenStoreFault> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(match &settings.ca {
            Some(file) => pem::chain(file)?,
            None => pem::system_roots(),
        });
        let client = OutboundClient::new(Arc::new(roots), &settings.egress, OutboundBounds::STORE)?;
        let namespace = settings.namespace.as_deref();
        Ok(Kv2 {
            wire: StoreWire {
                client,
                url: settings.url.clone(),
                namespace: namespace.and_then(|name| HeaderValue::from_str(name).ok()),
            },
            login: LoginKeeper::new(settings.login.clone()),
            settings: settings.clone(),
        })
    }

    pub(crate) fn settings(&self) -> &StoreSettings {
        &self.settings
    }

    /// One version, or the newest.
    async fn version(
        &self,
        reference: &StoredRef,
        version: Option<u64>,
        now: UnixMillis,
    ) -> Result<SecretVersion, StoreFault> {
        let path = format!("/v1/{}/data/{}", self.settings.mount, reference.path);
        let path = match version {
            Some(version) => format!("{path}?version={version}"),
            None => path,
        };
        let token = self.login.token(&self.wire, now).await?;
        let mut answer = self
            .wire
            .ask(Method::GET, &path, Some(&token), None)
            .await?;
        // An expired token is refused as a forbidden path is.
        if answer.status() == 403 && self.login.forget(&token).await {
            let token = self.login.token(&self.wire, now).await?;
            answer = self
                .wire
                .ask(Method::GET, &path, Some(&token), None)
                .await?;
        }
        match answer.status().as_u16() {
            200 => {}
            403 => return Err(StoreFault::Denied),
            404 if has_metadata(answer.body()) => return Err(StoreFault::Deleted),
            404 => return Err(StoreFault::Missing),
            status => return Err(of_status(status)),
        }
        let ReadAnswer { data } = parsed(answer.body())?;
        if data.metadata.destroyed || !data.metadata.deletion_time.is_empty() {
            return Err(StoreFault::Deleted);
        }
        let number = data.metadata.version;
        if number == 0 || version.is_some_and(|asked| asked != number) {
            return Err(StoreFault::Answer);
        }
        let mut fields = data.data.ok_or(StoreFault::Answer)?;
        let Some(serde_json::Value::String(text)) = fields.remove(&reference.field) else {
            return Err(StoreFault::NoField);
        };
        let secret = Secret::of_text(text.into_bytes()).map_err(StoreFault::Unusable)?;
        Ok(SecretVersion {
            number,
            secret: Arc::new(secret),
        })
    }
}

#[async_trait::async_trait]
impl SecretStore for Kv2 {
    async fn fetch(
        &self,
        reference: &StoredRef,
        known: Option<u64>,
        now: UnixMillis,
    ) -> Result<Option<Versions>, StoreFault> {
        let current = self.version(reference, reference.version, now).await?;
        if known == Some(current.number) {
            return Ok(None);
        }
        let before = current.number.checked_sub(1).filter(|before| *before > 0);
        let previous = match before.filter(|_| reference.version.is_none()) {
            // The overlap is a help; without it the current one serves alone.
            Some(before) => self.version(reference, Some(before), now).await.ok(),
            None => None,
        };
        Ok(Some(Versions { current, previous }))
    }
}

impl StoreWire {
    /// Asks, whatever the answer's status. `body`: JSON.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&Secret>,
        body: Option<Vec<u8>>,
    ) -> Result<Response<Zeroizing<Vec<u8>>>, StoreFault> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(REQUEST, "true")
            .header(header::ACCEPT, media_type::JSON);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, media_type::JSON);
        }
        if let Some(namespace) = &self.namespace {
            request = request.header(NAMESPACE, namespace);
        }
        if let Some(token) = token {
            let mut value =
                HeaderValue::from_bytes(token.expose()).map_err(|_| StoreFault::Answer)?;
            value.set_sensitive(true);
            request = request.header(TOKEN, value);
        }
        let request = request.body(body.unwrap_or_default());
        let request = request.map_err(|_| StoreFault::Answer)?;
        let answer = self.client.ask(request).await?;
        Ok(answer.map(Zeroizing::new))
    }
}

/// What a status says that means the same for all questions.
pub(super) fn of_status(status: u16) -> StoreFault {
    match status {
        412 => StoreFault::Behind,
        429 | 472 | 473 => StoreFault::Standby,
        503 => StoreFault::Sealed,
        other => StoreFault::Status(other),
    }
}

pub(super) fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, StoreFault> {
    serde_json::from_slice(body).map_err(|_| StoreFault::Answer)
}

/// Of a 404: whether there was such a version.
fn has_metadata(body: &[u8]) -> bool {
    parsed::<ReadAnswer>(body).is_ok()
}
