//! How callers come by their tokens: a workload by client credentials, a person by logging in.
//!
//! What it does: is an OAuth client of the issuer, by other people's code (`openidconnect`) where a person
//! logs in, and by hand where a workload asks. What it refuses to know: the gateway.
//! Invariants: the authorization code is exchanged with its PKCE verifier only; state, nonce and the ID
//! token are checked before the access token is used.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Uri, header};
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata};
use openidconnect::{
    AuthorizationCode, ClientId, CsrfToken, HttpRequest, HttpResponse, IssuerUrl, Nonce,
    OAuth2TokenResponse as _, PkceCodeChallenge, RedirectUrl, Scope, TokenResponse as _,
};

use testkit::calls::{CallFault, SampleCaller};
use testkit::urls::Form;

/// The client as which people log in; public, so PKCE alone protects the code.
const CLIENT: &str = "lightkeeper-web";
/// Nothing listens there: the redirect is read where it is answered.
const REDIRECT: &str = "http://127.0.0.1:8085/callback";

/// A person who has logged in.
pub struct Login {
    pub access_token: String,
    /// Out of the verified ID token.
    pub subject: String,
}

/// RFC 6749 section 4.4: the workload's own id and secret for a token.
pub async fn client_credentials(
    issuer: &str,
    client: &str,
    secret: &str,
) -> Result<String, String> {
    let basic = format!("Basic {}", STANDARD.encode(format!("{client}:{secret}")));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let caller = SampleCaller::new(issuer).header("authorization", &basic);
    let answer = caller
        .send(
            Method::POST,
            "/token",
            &form,
            b"grant_type=client_credentials".to_vec(),
        )
        .await;
    let answer = answer.map_err(|fault| format!("the issuer's token endpoint: {fault}"))?;
    let token = answer
        .json()
        .and_then(|document| Some(document.get("access_token")?.as_str()?.to_owned()));
    token.ok_or_else(|| {
        format!(
            "the issuer gives `{client}` no token: {} {}",
            answer.status,
            answer.text()
        )
    })
}

/// RFC 6749 section 4.1 with RFC 7636: authorization code and PKCE. `person` is picked on the login page.
pub async fn log_in(issuer: &str, person: &str) -> Result<Login, String> {
    let said = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
    let issuer =
        IssuerUrl::new(issuer.to_owned()).map_err(|error| said("the issuer's address", &error))?;
    let metadata = CoreProviderMetadata::discover_async(issuer, &fetch)
        .await
        .map_err(|error| said("discovery", &error))?;
    let redirect = RedirectUrl::new(REDIRECT.to_owned())
        .map_err(|error| said("the redirect address", &error))?;
    let client =
        CoreClient::from_provider_metadata(metadata, ClientId::new(CLIENT.to_owned()), None)
            .set_redirect_uri(redirect);
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (page, state, nonce) = client
        .authorize_url(
            CoreAuthenticationFlow::AuthorizationCode,
            CsrfToken::new_random,
            Nonce::new_random,
        )
        .add_scope(Scope::new("groups".to_owned()))
        .add_extra_param("login_hint", person)
        .set_pkce_challenge(challenge)
        .url();
    let callback = browse(page.as_str()).await?;
    if callback.value("state") != Some(state.secret()) {
        return Err("the login came back with another state".to_owned());
    }
    let code = callback
        .value("code")
        .ok_or("the login came back without a code")?;
    let tokens = client
        .exchange_code(AuthorizationCode::new(code.to_owned()))
        .map_err(|error| said("the token endpoint", &error))?
        .set_pkce_verifier(verifier)
        .request_async(&fetch)
        .await
        .map_err(|error| said("the code's exchange", &error))?;
    let id_token = tokens.id_token().ok_or("the issuer gave no ID token")?;
    let claims = id_token
        .claims(&client.id_token_verifier(), &nonce)
        .map_err(|error| said("the ID token", &error))?;
    Ok(Login {
        access_token: tokens.access_token().secret().clone(),
        subject: claims.subject().to_string(),
    })
}

/// What a browser does: opens the page and follows where it is sent.
async fn browse(page: &str) -> Result<Form, String> {
    let (base, path) = split(page).ok_or("the login page has no address")?;
    let answer = SampleCaller::new(&base)
        .get(&path)
        .await
        .map_err(|fault| format!("the login page: {fault}"))?;
    let location = answer
        .header("location")
        .filter(|location| location.starts_with(REDIRECT));
    let location = location
        .ok_or_else(|| format!("the login page answers {} {}", answer.status, answer.text()))?;
    Ok(Form::parse(location.split_once('?').unwrap_or_default().1))
}

/// Picks a person on the issuer's page; where the browser is sent then.
pub async fn pick(page: &str, person: &str) -> Result<String, String> {
    let (base, path) = split(page).ok_or("the login page has no address")?;
    let answer = SampleCaller::new(&base)
        .get(&format!("{path}&user={person}"))
        .await;
    let answer = answer.map_err(|fault| format!("the login page: {fault}"))?;
    answer
        .header("location")
        .ok_or_else(|| format!("the login page answers {} {}", answer.status, answer.text()))
}

/// The HTTP client that `openidconnect` is given: no redirects are followed.
async fn fetch(request: HttpRequest) -> Result<HttpResponse, CallFault> {
    let (head, body) = request.into_parts();
    let (base, path) =
        split(&head.uri.to_string()).ok_or_else(|| CallFault::Setup("no address".to_owned()))?;
    let headers: Vec<(&str, &str)> = head
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect();
    let answer = SampleCaller::new(&base)
        .send(head.method, &path, &headers, body)
        .await?;
    let mut response = http::Response::builder().status(answer.status);
    if let Some(kind) = answer.headers.get(header::CONTENT_TYPE) {
        response = response.header(header::CONTENT_TYPE, kind.clone());
    }
    response
        .body(answer.body)
        .map_err(|error| CallFault::Setup(error.to_string()))
}

/// `scheme://authority` and path with query.
fn split(address: &str) -> Option<(String, String)> {
    let uri: Uri = address.parse().ok()?;
    let path = uri
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    Some((
        format!("{}://{}", uri.scheme_str()?, uri.authority()?),
        path,
    ))
}
