//! The issuer as a provider of logins: its discovery document, token endpoint and userinfo.
//!
//! What it does: reads and keeps the document (OpenID Connect Discovery section 4), exchanges a code, asks userinfo.
//! What it refuses to know: cookies, sessions, whether an ID token holds. Invariants: only addresses that the issuer's
//! own document names are asked, within `OutboundBounds::ISSUER`; discovery is tried once at a time, and not again for a few seconds after it failed; the last good document
//! outlives failures.

use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::{Request, StatusCode, Uri, header};
use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod, CoreGrantType,
    CoreJsonWebKey, CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm, CoreResponseMode, CoreResponseType, CoreSubjectIdentifierType,
};
use openidconnect::{
    AdditionalProviderMetadata, AsyncHttpClient, AuthType, AuthorizationCode, ClientId,
    ClientSecret, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, PkceCodeVerifier,
    ProviderMetadata, RedirectUrl, RequestTokenError, TokenUrl,
};
use rustls::RootCertStore;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::clock::UnixMillis;
use crate::egress::{Egress, OutboundBounds, OutboundClient, OutboundFault};
use crate::identify::fetch::{self, RemoteFault};
use crate::identify::json;
use crate::lock::Mutex;
use crate::media_type;
use crate::reason::Reason;
use crate::secret::Secret;

/// The document is read again after this long.
const REFRESH_SECONDS: i64 = 3600;

/// After a try that failed, the next waits this long.
const RETRY_SECONDS: i64 = 5;

/// An address that a browser is sent to.
const ADDRESS_LIMIT_BYTES: usize = 2048;

/// What the document has beyond OpenID Connect Discovery section 3.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Beyond {
    /// RFC 8414 section 2.
    code_challenge_methods_supported: Option<Vec<String>>,
    /// RFC 9207 section 3.
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    /// OpenID Connect RP-Initiated Logout section 2.1.
    end_session_endpoint: Option<String>,
}

impl AdditionalProviderMetadata for Beyond {}

type Document = ProviderMetadata<
    Beyond,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// An OAuth client for one login: it knows where to send the browser and where to exchange the code.
pub(crate) type CodeClient = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
    EndpointNotSet,
>;

/// A document that was read and holds.
pub(crate) struct ProviderDocument {
    document: Document,
    token: TokenUrl,
    userinfo: Option<Uri>,
    /// Where logins are ended, if the provider offers that.
    pub(crate) end_session: Option<String>,
    /// Whether every answer of the authorization endpoint names its issuer.
    pub(crate) names_itself: bool,
    read_at_seconds: i64,
}

impl ProviderDocument {
    /// Checks a document's bytes for the issuer called `issuer`.
    pub(crate) fn parse(issuer: &str, bytes: &[u8], now: UnixMillis) -> Result<Self, Reason> {
        let fault = Reason::LoginProviderMetadata;
        let mut members = json::object(bytes).ok_or(fault)?;
        json::drop_nulls(&mut members);
        if members.get("issuer").and_then(Value::as_str) != Some(issuer) {
            return Err(fault);
        }
        let document: Document =
            serde_json::from_value(Value::Object(members)).map_err(|_| fault)?;
        let beyond = document.additional_metadata();
        // Absent means unknown, and most providers that leave it out do S256; listed without it means a downgrade.
        let methods = beyond.code_challenge_methods_supported.as_ref();
        if methods.is_some_and(|methods| !methods.iter().any(|method| method == "S256")) {
            return Err(fault);
        }
        let usable = |url: &str| {
            url.len() <= ADDRESS_LIMIT_BYTES && !url.contains('#') && fetch::permitted(url).is_ok()
        };
        let token = document
            .token_endpoint()
            .filter(|url| usable(url.as_str()))
            .ok_or(fault)?
            .clone();
        if !usable(document.authorization_endpoint().as_str()) {
            return Err(fault);
        }
        let userinfo = document
            .userinfo_endpoint()
            .and_then(|url| fetch::permitted(url.as_str()).ok());
        let end_session = beyond
            .end_session_endpoint
            .clone()
            .filter(|url| usable(url));
        let names_itself = beyond.authorization_response_iss_parameter_supported;
        Ok(ProviderDocument {
            token,
            userinfo,
            end_session,
            names_itself,
            read_at_seconds: now.seconds(),
            document,
        })
    }

    /// A client for one login that comes back to `redirect`.
    pub(crate) fn client(
        &self,
        client_id: &str,
        secret: Option<&Secret>,
        redirect: RedirectUrl,
    ) -> CodeClient {
        let client = CoreClient::new(
            ClientId::new(client_id.to_owned()),
            self.document.issuer().clone(),
            CoreJsonWebKeySet::default(),
        );
        let client = client
            .set_auth_uri(self.document.authorization_endpoint().clone())
            .set_token_uri(self.token.clone())
            .set_redirect_uri(redirect);
        let Some(secret) = secret else { return client };
        let client = client.set_client_secret(ClientSecret::new(
            String::from_utf8_lossy(secret.expose()).into_owned(),
        ));
        // Basic is the default where nothing is said (OpenID Connect Discovery section 3).
        let posted = self
            .document
            .token_endpoint_auth_methods_supported()
            .is_some_and(|methods| {
                methods.contains(&CoreClientAuthMethod::ClientSecretPost)
                    && !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
            });
        if posted {
            client.set_auth_type(AuthType::RequestBody)
        } else {
            client
        }
    }

    fn is_fresh(&self, now: UnixMillis) -> bool {
        (0..REFRESH_SECONDS).contains(&now.seconds().saturating_sub(self.read_at_seconds))
    }
}

/// What the token endpoint gave; wiped when dropped.
pub(crate) struct Tokens {
    pub id_token: Zeroizing<String>,
    pub access_token: Zeroizing<String>,
}

/// The provider, asked over the network.
pub(crate) struct Provider {
    client: OutboundClient,
    issuer: String,
    document: Uri,
    known: ArcSwapOption<ProviderDocument>,
    /// The last try that failed: when, in Unix seconds, and how.
    failed: tokio::sync::Mutex<Option<(i64, Reason)>>,
}

impl Provider {
    pub(crate) fn new(
        issuer: &str,
        roots: Arc<RootCertStore>,
        egress: &Egress,
    ) -> Result<Self, RemoteFault> {
        Ok(Provider {
            client: OutboundClient::new(roots, egress, OutboundBounds::ISSUER)?,
            issuer: issuer.to_owned(),
            document: fetch::discovery_document(issuer)?,
            known: ArcSwapOption::empty(),
            failed: tokio::sync::Mutex::new(None),
        })
    }

    /// The document as far as it is known, without asking.
    pub(crate) fn remembered(&self) -> Option<Arc<ProviderDocument>> {
        self.known.load_full()
    }

    /// The document: the one that is fresh, else one that is read now, else the last good one.
    pub(crate) async fn known(&self, now: UnixMillis) -> Result<Arc<ProviderDocument>, Reason> {
        if let Some(known) = self.remembered().filter(|known| known.is_fresh(now)) {
            return Ok(known);
        }
        // One try at a time; a login that waited finds what it brought.
        let mut failed = self.failed.lock().await;
        let known = self.remembered();
        if let Some(known) = known.as_ref().filter(|known| known.is_fresh(now)) {
            return Ok(known.clone());
        }
        let fault = match *failed {
            Some((at, fault)) if (0..RETRY_SECONDS).contains(&now.seconds().saturating_sub(at)) => {
                fault
            }
            _ => match self.discover(now).await {
                Ok(fresh) => {
                    let fresh = Arc::new(fresh);
                    self.known.store(Some(fresh.clone()));
                    *failed = None;
                    return Ok(fresh);
                }
                Err(fault) => {
                    *failed = Some((now.seconds(), fault));
                    fault
                }
            },
        };
        known.ok_or(fault)
    }

    async fn discover(&self, now: UnixMillis) -> Result<ProviderDocument, Reason> {
        let request = Request::get(self.document.clone())
            .header(header::ACCEPT, media_type::JSON)
            .body(Vec::new())
            .map_err(|_| Reason::LoginProviderUnreachable)?;
        let answer = self
            .client
            .ask(request)
            .await
            .map_err(|_| Reason::LoginProviderUnreachable)?;
        match answer.status() {
            StatusCode::OK => ProviderDocument::parse(&self.issuer, answer.body(), now),
            _ => Err(Reason::LoginProviderUnreachable),
        }
    }

    /// RFC 6749 section 4.1.3 with RFC 7636 section 4.5. The library makes the request and reads refusals; tokens are
    /// taken from the answer as it came, by our strict reader. What the library thinks of the ID token's claims does not
    /// count: it wants standard types of claims that are not needed here, which some providers do not keep to.
    pub(crate) async fn exchange(
        &self,
        client: &CodeClient,
        code: &str,
        verifier: &str,
    ) -> Result<Tokens, Reason> {
        let exchange = CodeExchange {
            provider: self,
            came: Mutex::new(None),
        };
        let asked = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.to_owned()))
            .request_async(&exchange)
            .await;
        let came = exchange.came.into_inner();
        let status = came.as_ref().map(HttpResponse::status);
        let unread = |error: &RequestTokenError<_, _>| {
            matches!(error, RequestTokenError::Parse(..)) && status == Some(StatusCode::OK)
        };
        if let Some(error) = asked.err().filter(|error| !unread(error)) {
            return Err(match error {
                RequestTokenError::Request(_) => Reason::LoginProviderUnreachable,
                RequestTokenError::ServerResponse(said) => {
                    match said.error().to_string().as_str() {
                        "invalid_client" | "unauthorized_client" => Reason::LoginClientRefused,
                        _ => Reason::LoginCodeRefused,
                    }
                }
                _ if status.is_some_and(|status| status.is_server_error()) => {
                    Reason::LoginProviderUnreachable
                }
                _ => Reason::LoginProviderAnswer,
            });
        }
        let body = Zeroizing::new(came.ok_or(Reason::LoginProviderAnswer)?.into_body());
        let mut members = json::object(&body).ok_or(Reason::LoginProviderAnswer)?;
        let mut text = |name: &str| match members.remove(name) {
            Some(Value::String(text)) => Some(Zeroizing::new(text)),
            _ => None,
        };
        // RFC 6749 section 7.1: a token of another type is not to be used.
        let kind = text("token_type").filter(|kind| kind.eq_ignore_ascii_case("bearer"));
        let access_token = text("access_token")
            .filter(|_| kind.is_some())
            .ok_or(Reason::LoginProviderAnswer)?;
        Ok(Tokens {
            id_token: text("id_token").ok_or(Reason::LoginIdTokenMalformed)?,
            access_token,
        })
    }

    /// OpenID Connect Core section 5.3: what userinfo says, as JSON. Who it is about is the caller's to compare.
    pub(crate) async fn userinfo(
        &self,
        known: &ProviderDocument,
        access_token: &str,
    ) -> Result<Map<String, Value>, Reason> {
        let fault = Reason::LoginProviderAnswer;
        let place = known
            .userinfo
            .clone()
            .ok_or(Reason::LoginProviderMetadata)?;
        let bearer = Zeroizing::new(format!("Bearer {access_token}"));
        let mut bearer = http::HeaderValue::from_str(&bearer).map_err(|_| fault)?;
        bearer.set_sensitive(true);
        let request = Request::get(place)
            .header(header::ACCEPT, media_type::JSON)
            .header(header::AUTHORIZATION, bearer)
            .body(Vec::new())
            .map_err(|_| fault)?;
        let answer = self
            .client
            .ask(request)
            .await
            .map_err(|_| Reason::LoginProviderUnreachable)?;
        match answer.status() {
            StatusCode::OK => json::object(answer.body()).ok_or(fault),
            status if status.is_server_error() => Err(Reason::LoginProviderUnreachable),
            _ => Err(fault),
        }
    }
}

/// The library's HTTP client for one exchange, which keeps the answer as it came.
struct CodeExchange<'p> {
    provider: &'p Provider,
    came: Mutex<Option<HttpResponse>>,
}

impl<'c> AsyncHttpClient<'c> for CodeExchange<'_> {
    type Error = OutboundFault;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, OutboundFault>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let answer = self.provider.client.ask(request).await?;
            *self.came.lock() = Some(answer.clone());
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::egress::hostile::{self, Breach};

    /// Scenario: each kind of peer that keeps to no bound serves the discovery document, the token endpoint or userinfo.
    /// Guarantees: it is asked once, and is no provider; a redirect is an answer that is none of theirs.
    #[tokio::test]
    async fn hostile_peers_meet_the_bounds() {
        let now = UnixMillis(1_000_000_000);
        for peer in hostile::peers(OutboundBounds::ISSUER) {
            let served = peer.serve().await;
            let issuer = served.url("");
            let roots = Arc::new(RootCertStore::empty());
            let mut provider = Provider::new(&issuer, roots, &Egress::Direct).unwrap();
            provider.client = provider.client.within(peer.patience);
            let document = json!({
                "issuer": issuer,
                "authorization_endpoint": served.url("/authorize"),
                "token_endpoint": served.url("/token"),
                "userinfo_endpoint": served.url("/userinfo"),
                "jwks_uri": served.url("/keys"),
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            });
            let document = document.to_string();
            let known = ProviderDocument::parse(&issuer, document.as_bytes(), now).unwrap();
            let redirect = RedirectUrl::new("https://gateway.example/callback".to_owned());
            let client = known.client("console", None, redirect.unwrap());
            let answered = match peer.breach {
                Breach::Redirect => Reason::LoginProviderAnswer,
                Breach::Large | Breach::NoHttp | Breach::Silence => {
                    Reason::LoginProviderUnreachable
                }
            };
            let discovered = provider.known(now).await.err();
            let exchanged = provider.exchange(&client, "code", "verifier").await.err();
            let told = provider.userinfo(&known, "token").await.err();
            let found = [discovered, exchanged, told];
            let expected = [Reason::LoginProviderUnreachable, answered, answered];
            assert_eq!(found, expected.map(Some), "{}", peer.what);
            assert_eq!(served.requests(), 3, "{}", peer.what);
        }
    }
}
