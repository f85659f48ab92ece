//! What a gateway tells the command line to log in with, and the identity provider behind it.
//!
//! What it does: reads the gateway's metadata (RFC 9728) or configuration, discovers the provider (OpenID Connect Discovery 1.0 section 4), verifies
//! ID tokens, refreshes (RFC 6749 section 6) and revokes (RFC 7009). What it refuses to know: browsers, files. Invariants: the
//! gateway's word is about itself (RFC 9728 section 3.3), and its issuer is one of its authorization servers; the document's issuer is the one that the gateway named, byte for byte; ID tokens count with an asymmetric signature only.

use std::sync::Arc;

use http::{Method, Request, StatusCode, header};
use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod,
    CoreErrorResponseType, CoreGrantType, CoreJsonWebKey, CoreJsonWebKeySet,
    CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm,
    CoreResponseMode, CoreResponseType, CoreSubjectIdentifierType, CoreTokenResponse,
    CoreTokenType,
};
use openidconnect::url::form_urlencoded;
use openidconnect::{
    AdditionalProviderMetadata, ClientId, DeviceAuthorizationUrl, DiscoveryError, ErrorResponse,
    IssuerUrl, Nonce, NonceVerifier, OAuth2TokenResponse as _, ProviderMetadata, RefreshToken,
    RequestTokenError, RevocationUrl, Scope, TokenResponse as _, TokenUrl,
};
use serde::{Deserialize, Serialize};

use super::audience::{self, aim};
use super::bound_key::BoundKey;
use super::failure::Failure;
use super::proving;
use super::store::StoredLogin;
use super::web::{Web, is_permitted_url, origin, unanswered};
use crate::accept::METADATA_PATH;
use crate::clock::Clock;
use crate::egress::OutboundFault;
use crate::media_type;

/// Tokens that do not say when they end are taken to live this long, in seconds.
const LIFETIME_SECONDS: u64 = 300;
/// What a gateway says of itself has a few hundred bytes.
const DOCUMENT_LIMIT_BYTES: usize = 256 << 10;
/// What ID tokens may be signed with: what can be verified without a shared secret.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// What a gateway says to the command line.
#[derive(Deserialize)]
pub(crate) struct Offered {
    pub organization: String,
    pub login: Option<OfferedLogin>,
}

/// What `/.lightkeeper/configuration` says.
#[derive(Deserialize)]
struct OwnConfiguration {
    /// The gateway's own address.
    resource: Option<String>,
    #[serde(flatten)]
    offered: Offered,
}

/// What the metadata of a protected resource say (RFC 9728 section 2).
#[derive(Deserialize)]
struct ResourceMetadata {
    resource: String,
    #[serde(default)]
    authorization_servers: Vec<String>,
    /// The member of our own: the standard has none for a client's identifier.
    lightkeeper: Option<Offered>,
}

/// How to log in.
#[derive(Deserialize)]
pub(crate) struct OfferedLogin {
    pub issuer: String,
    pub client_id: String,
    pub scopes: Vec<String>,
    /// What an access token for the gateway is for.
    pub audience: Option<String>,
}

/// Members of the discovery document beside those of OpenID Connect.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Further {
    /// RFC 8628 section 4.
    pub device_authorization_endpoint: Option<DeviceAuthorizationUrl>,
    /// RFC 8414 section 2.
    revocation_endpoint: Option<RevocationUrl>,
    code_challenge_methods_supported: Option<Vec<String>>,
    /// RFC 9449 section 5.1.
    dpop_signing_alg_values_supported: Option<Vec<String>>,
    /// RFC 9207 section 3.
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for Further {}

pub(crate) type Metadata = ProviderMetadata<
    Further,
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

/// A provider that was discovered, and how to log in there.
pub(crate) struct ToolProvider {
    pub organization: String,
    pub login: OfferedLogin,
    pub metadata: Metadata,
}

impl ToolProvider {
    /// Asks the gateway, then the issuer that it names.
    pub(crate) async fn discover(web: &Web, gateway: &str) -> Result<Self, Failure> {
        let offered = offered(web, gateway).await?;
        let none = || {
            Failure::new(format!("`{gateway}` offers no login"))
                .advise("ask its operator for `web.login`")
        };
        let login = offered.login.ok_or_else(none)?;
        audience::own(login.audience.as_deref(), gateway)?;
        let issuer = IssuerUrl::new(login.issuer.clone());
        let issuer = issuer
            .map_err(|_| Failure::new(format!("the issuer `{}` is not a URL", login.issuer)))?;
        let ask = web.asker();
        let metadata =
            Metadata::discover_async(issuer, &ask)
                .await
                .map_err(|error| match error {
                    DiscoveryError::Request(fault) => {
                        unanswered(&fault, &format!("the issuer `{}`", login.issuer))
                    }
                    other => Failure::new(format!(
                        "the issuer `{}` cannot be discovered: {other}",
                        login.issuer
                    )),
                })?;
        let refused = |what: &str| Failure::new(format!("the issuer `{}` {what}", login.issuer));
        if !is_permitted_url(metadata.authorization_endpoint().url()) {
            return Err(refused(
                "has an authorization endpoint that is neither `https` nor loopback",
            ));
        }
        let further = metadata.additional_metadata();
        if further
            .code_challenge_methods_supported
            .as_ref()
            .is_some_and(|methods| !methods.iter().any(|m| m == "S256"))
        {
            return Err(refused("does not know PKCE's `S256`"));
        }
        Ok(ToolProvider {
            organization: offered.organization,
            login,
            metadata,
        })
    }

    pub(crate) fn client_id(&self) -> ClientId {
        ClientId::new(self.login.client_id.clone())
    }

    /// What is asked for beside `openid`, which the client adds itself.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = Scope> {
        self.login
            .scopes
            .iter()
            .filter(|scope| *scope != "openid")
            .map(|scope| Scope::new(scope.clone()))
    }

    /// Whether answers without `iss` are refused.
    pub(crate) fn names_itself(&self) -> bool {
        self.metadata
            .additional_metadata()
            .authorization_response_iss_parameter_supported
    }

    /// Refuses an issuer that does not bind tokens to keys of our kind.
    pub(crate) fn binds_tokens(&self) -> Result<(), Failure> {
        let further = self.metadata.additional_metadata();
        let algorithms = further.dpop_signing_alg_values_supported.as_deref();
        if algorithms.is_some_and(|known| known.iter().any(|name| name == "ES256")) {
            return Ok(());
        }
        let said = format!("the issuer `{}` binds no tokens to keys", self.login.issuer);
        Err(Failure::new(said).advise("log in without --dpop"))
    }

    pub(crate) fn token_url(&self) -> Result<TokenUrl, Failure> {
        let none = || {
            Failure::new(format!(
                "the issuer `{}` has no token endpoint",
                self.login.issuer
            ))
        };
        self.metadata.token_endpoint().cloned().ok_or_else(none)
    }

    /// The new entry, once the ID token proves who logged in.
    pub(crate) fn entry(
        &self,
        tokens: &CoreTokenResponse,
        nonce: impl NonceVerifier,
        key: Option<&BoundKey>,
        clock: &Clock,
    ) -> Result<StoredLogin, Failure> {
        let none = || {
            Failure::new(format!(
                "the issuer `{}` gave no ID token",
                self.login.issuer
            ))
        };
        let id_token = tokens.id_token().ok_or_else(none)?;
        let client =
            CoreClient::from_provider_metadata(self.metadata.clone(), self.client_id(), None);
        let verifier = client.id_token_verifier().set_allowed_algs(ALGORITHMS);
        let claims = id_token.claims(&verifier, nonce);
        let claims =
            claims.map_err(|error| Failure::new(format!("the ID token is refused: {error}")))?;
        let name = claims.preferred_username().map(|name| name.as_str());
        let who = claims
            .email()
            .map(|email| email.as_str())
            .or(name)
            .unwrap_or(claims.subject().as_str());
        let mut entry = StoredLogin {
            ca: None,
            organization: self.organization.clone(),
            issuer: self.login.issuer.clone(),
            client_id: self.login.client_id.clone(),
            audience: self.login.audience.clone(),
            token_endpoint: self.token_url()?.url().to_string(),
            revocation_endpoint: self
                .metadata
                .additional_metadata()
                .revocation_endpoint
                .as_ref()
                .map(|endpoint| endpoint.url().to_string()),
            who: who.to_owned(),
            access_token: String::new(),
            expires: 0,
            refresh_token: None,
            key: key.map(BoundKey::thumbprint),
        };
        take(&mut entry, tokens, clock)?;
        Ok(entry)
    }
}

/// Puts new tokens into an entry. Without a new refresh token the old one stays good (RFC 6749 section 6).
fn take(entry: &mut StoredLogin, tokens: &CoreTokenResponse, clock: &Clock) -> Result<(), Failure> {
    is_of_kind(entry, tokens.token_type())?;
    audience::kept(
        entry.audience.as_deref(),
        tokens.access_token().secret(),
        &entry.issuer,
    )?;
    let lifetime = tokens
        .expires_in()
        .map_or(LIFETIME_SECONDS, |lifetime| lifetime.as_secs());
    entry
        .access_token
        .clone_from(tokens.access_token().secret());
    entry.expires = clock
        .now()
        .seconds()
        .saturating_add(i64::try_from(lifetime).unwrap_or(i64::MAX));
    if let Some(refresh) = tokens.refresh_token() {
        entry.refresh_token = Some(refresh.secret().clone());
    }
    Ok(())
}

/// A token that is bound where none was asked for cannot be used, and one that is not bound would be good in anybody's hands.
fn is_of_kind(entry: &StoredLogin, kind: &CoreTokenType) -> Result<(), Failure> {
    let is_bound = match kind {
        CoreTokenType::Extension(name) => name.eq_ignore_ascii_case("dpop"),
        _ => false,
    };
    match (entry.key.is_some(), is_bound) {
        (true, false) => Err(Failure::denied(format!(
            "the issuer `{}` gave a token that is bound to no key",
            entry.issuer
        ))
        .advise(
            "it may have to be told that this client's tokens are bound; or log in without --dpop",
        )),
        (false, true) => Err(Failure::denied(format!(
            "the issuer `{}` gave a token that is bound to a key",
            entry.issuer
        ))
        .advise("log in with --dpop")),
        _ => Ok(()),
    }
}

/// What the gateway's metadata say (RFC 9728), or its configuration, where it has no name of its own and so no metadata.
async fn offered(web: &Web, gateway: &str) -> Result<Offered, Failure> {
    let strange =
        |what: &str| Failure::new(format!("`{gateway}` {what}: is it a Lightkeeper gateway?"));
    let (status, body) = told(web, gateway, METADATA_PATH).await?;
    match status {
        StatusCode::OK => {}
        // A listener without a name, or a gateway that does not know the standard.
        StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND => {
            return configured(web, gateway).await;
        }
        other => {
            let what = format!("answers {} instead of its metadata", other.as_u16());
            return Err(strange(&what));
        }
    }
    let metadata: ResourceMetadata = serde_json::from_slice(&body)
        .map_err(|_| strange("answers something else than its metadata"))?;
    is_own(&metadata.resource, gateway)?;
    let offered = metadata
        .lightkeeper
        .ok_or_else(|| strange("does not say how the command line logs in"))?;
    let servers = &metadata.authorization_servers;
    match &offered.login {
        Some(login) if !servers.contains(&login.issuer) => Err(Failure::denied(format!(
            "`{gateway}` wants a login at `{}`, which is none of its authorization servers",
            login.issuer
        ))),
        _ => Ok(offered),
    }
}

async fn configured(web: &Web, gateway: &str) -> Result<Offered, Failure> {
    let strange =
        |what: &str| Failure::new(format!("`{gateway}` {what}: is it a Lightkeeper gateway?"));
    let (status, body) = told(web, gateway, "/.lightkeeper/configuration").await?;
    if status != StatusCode::OK {
        return Err(strange(&format!(
            "answers {} instead of its configuration",
            status.as_u16()
        )));
    }
    let configuration: OwnConfiguration = serde_json::from_slice(&body)
        .map_err(|_| strange("answers something else than its configuration"))?;
    is_own(&configuration.resource.unwrap_or_default(), gateway)?;
    Ok(configuration.offered)
}

/// RFC 9728 section 3.3: what is said of another resource must not be used.
fn is_own(named: &str, gateway: &str) -> Result<(), Failure> {
    if origin(named).ok().as_deref() == Some(gateway) {
        return Ok(());
    }
    let said = format!("`{gateway}` gives the configuration of another gateway, `{named}`");
    Err(Failure::denied(said)
        .advise("log in at its own address, which is the `public_url` of its listener"))
}

async fn told(web: &Web, gateway: &str, path: &str) -> Result<(StatusCode, Vec<u8>), Failure> {
    let request = Request::get(format!("{gateway}{path}")).header(header::ACCEPT, media_type::JSON);
    let request = request
        .body(Vec::new())
        .map_err(|error| Failure::new(error.to_string()))?;
    let answer = web
        .ask(request)
        .await
        .map_err(|fault| unanswered(&fault, &format!("the gateway `{gateway}`")))?;
    if answer.body().len() > DOCUMENT_LIMIT_BYTES {
        return Err(Failure::new(format!(
            "`{gateway}` answers more than {} KiB: is it a Lightkeeper gateway?",
            DOCUMENT_LIMIT_BYTES >> 10
        )));
    }
    Ok((answer.status(), answer.into_body()))
}

/// Spends the entry's refresh token for new tokens, which are in the entry afterwards.
pub(crate) async fn refresh(
    web: &Web,
    gateway: &str,
    entry: &mut StoredLogin,
    key: Option<&Arc<BoundKey>>,
    clock: &Clock,
) -> Result<(), Failure> {
    let Some(refresh) = entry.refresh_token.clone().map(RefreshToken::new) else {
        return Err(Failure::log_in(
            gateway,
            format!("the login at `{gateway}` has expired"),
        ));
    };
    let broken = |_| Failure::log_in(gateway, "the provider's addresses are broken");
    let issuer = IssuerUrl::new(entry.issuer.clone()).map_err(broken)?;
    let endpoint = TokenUrl::new(entry.token_endpoint.clone()).map_err(broken)?;
    let client = CoreClient::new(
        ClientId::new(entry.client_id.clone()),
        issuer,
        CoreJsonWebKeySet::new(Vec::new()),
    );
    let client = client.set_token_uri(endpoint);
    let mut request = client.exchange_refresh_token(&refresh);
    for (name, value) in aim(entry.audience.as_deref()) {
        request = request.add_extra_param(name, value);
    }
    let ask = proving::asker(web, &entry.token_endpoint, key, clock);
    match request.request_async(&ask).await {
        Ok(tokens) => take(entry, &tokens, clock),
        Err(RequestTokenError::ServerResponse(error))
            if *error.error() == CoreErrorResponseType::InvalidGrant =>
        {
            Err(Failure::log_in(
                gateway,
                format!("the login at `{gateway}` has ended"),
            ))
        }
        Err(error) => Err(token_failure(
            "the login cannot be renewed",
            &entry.issuer,
            error,
        )),
    }
}

/// What to tell of a token endpoint's refusal. Answers that cannot be read are not shown: they may hold tokens.
pub(crate) fn token_failure<E: ErrorResponse + 'static>(
    what: &str,
    issuer: &str,
    error: RequestTokenError<OutboundFault, E>,
) -> Failure {
    match error {
        RequestTokenError::ServerResponse(error) => {
            Failure::denied(format!("{what}: the issuer says {error}"))
        }
        RequestTokenError::Request(fault) => unanswered(&fault, &format!("the issuer `{issuer}`")),
        RequestTokenError::Parse(..) => {
            Failure::new(format!("{what}: the issuer's answer cannot be read"))
        }
        RequestTokenError::Other(cause) => Failure::new(format!("{what}: {cause}")),
    }
}

/// Tells the provider that the refresh token (or else the access token) is of no use any more. `Ok(false)`: it has no endpoint
/// for that.
pub(crate) async fn revoke(web: &Web, entry: &StoredLogin) -> Result<bool, Failure> {
    let Some(endpoint) = &entry.revocation_endpoint else {
        return Ok(false);
    };
    let (token, hint) = match &entry.refresh_token {
        Some(token) => (token, "refresh_token"),
        None => (&entry.access_token, "access_token"),
    };
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("token", token)
        .append_pair("token_type_hint", hint)
        .append_pair("client_id", &entry.client_id)
        .finish();
    let request = Request::builder()
        .method(Method::POST)
        .uri(endpoint)
        .header(header::CONTENT_TYPE, media_type::FORM)
        .body(form.into_bytes())
        .map_err(|error| Failure::new(error.to_string()))?;
    let answer = web
        .ask(request)
        .await
        .map_err(|fault| unanswered(&fault, &format!("the issuer `{}`", entry.issuer)))?;
    match answer.status() {
        StatusCode::OK => Ok(true),
        status => Err(Failure::new(format!(
            "the issuer answers {} to the revocation",
            status.as_u16()
        ))),
    }
}

/// No nonce was asked for: the device flow has none.
pub(crate) fn no_nonce(_: Option<&Nonce>) -> Result<(), String> {
    Ok(())
}
