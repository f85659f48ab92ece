//! `lightkeeper login` and `lightkeeper logout`.
//!
//! What it does: proves who the developer is, by a browser on this machine (RFC 8252, authorization code with PKCE) or on another
//! one (device flow, RFC 8628), and keeps or forgets the tokens. What it refuses to know: how tokens are used. Invariants: the
//! gateway, its issuer and the URL are always printed; a token that other gateways take as well needs a yes; a code is exchanged with its verifier only, after `state` and `iss` were checked; the ID token must carry
//! this login's nonce; no token is printed.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use http::Request;
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreDeviceAuthorizationResponse};
use openidconnect::{AuthorizationCode, CsrfToken, Nonce, PkceCodeChallenge, RedirectUrl};

use super::audience::{aim, takers};
use super::bound_key::BoundKey;
use super::failure::Failure;
use super::loopback::{Loopback, Returned};
use super::provider::{ToolProvider, no_nonce, revoke, token_failure};
use super::proving;
use super::session::chosen;
use super::store::{Contents, Store, StoredLogin};
use super::text::clean;
use super::web::{ResponseFuture, Web, is_permitted_url};
use super::{GatewayArguments, LoginArguments};
use crate::clock::Clock;

/// Logs in and makes the gateway the default one.
pub(crate) async fn login(arguments: &LoginArguments) -> Result<(), Failure> {
    let store = Store::locate()?;
    let known = store.read()?;
    let gateway = chosen(arguments.gateway.gateway.as_deref(), &known)?;
    let ca = match &arguments.gateway.ca {
        Some(file) => Some(absolute(file)?),
        None => known
            .gateways
            .get(&gateway)
            .and_then(|entry| entry.ca.clone()),
    };
    let web = Web::new(ca.as_deref())?;
    let provider = ToolProvider::discover(&web, &gateway).await?;
    let login = &provider.login;
    let (issuer, audience) = (login.issuer.as_str(), login.audience.as_deref());
    let before = known.gateways.get(&gateway);
    let is_agreed = arguments.yes
        || before
            .is_some_and(|entry| entry.issuer == issuer && entry.audience.as_deref() == audience);
    let what = audience.map_or_else(String::new, |audience| {
        format!(", with a token for {}", clean(audience))
    });
    let organization = clean(&provider.organization);
    eprintln!(
        "Logging in for {gateway} ({organization}) at {}{what}.",
        clean(issuer)
    );
    if !is_agreed {
        agree(
            &gateway,
            issuer,
            &takers(&known, &gateway, issuer, audience, None),
        )
        .await?;
    }
    let asked = ToolLogin {
        web: &web,
        provider: &provider,
        key: bound_key(arguments, &provider)?,
        clock: Clock::system(),
    };
    let entry = match arguments.device {
        true => by_device(&asked).await?,
        false => by_browser(&asked, !arguments.no_browser).await?,
    };
    if !is_agreed {
        stay_apart(&web, &known, &gateway, &entry).await?;
    }
    let who = clean(&entry.who);
    let locked = store.lock().await?;
    let mut contents = locked.read()?;
    if let (Some(key), Some(name)) = (&asked.key, &entry.key) {
        key.keep(&store.key_file(name))?;
    }
    contents.default = Some(gateway.clone());
    let before = contents
        .gateways
        .insert(gateway.clone(), StoredLogin { ca, ..entry });
    locked.write(contents)?;
    if let Some(name) = before.and_then(|before| before.key) {
        BoundKey::forget(&store.key_file(&name))?;
    }
    let bound = if asked.key.is_some() {
        ", with a token that is bound to a key on this machine"
    } else {
        ""
    };
    eprintln!("logged in at {gateway} as {who}{bound}");
    Ok(())
}

/// A login under way.
struct ToolLogin<'a> {
    web: &'a Web,
    provider: &'a ToolProvider,
    /// What its tokens are to be bound to.
    key: Option<Arc<BoundKey>>,
    clock: Clock,
}

impl ToolLogin<'_> {
    /// Asks the provider, with a proof of the key at its token endpoint.
    fn asker(
        &self,
    ) -> Result<impl Fn(Request<Vec<u8>>) -> ResponseFuture + Send + Sync + use<>, Failure> {
        let endpoint = self.provider.token_url()?;
        let (web, key) = (self.web, self.key.as_ref());
        Ok(proving::asker(
            web,
            endpoint.url().as_str(),
            key,
            &self.clock,
        ))
    }
}

/// A new key, if tokens are to be bound to one.
fn bound_key(
    arguments: &LoginArguments,
    provider: &ToolProvider,
) -> Result<Option<Arc<BoundKey>>, Failure> {
    if !arguments.dpop {
        return Ok(None);
    }
    provider.binds_tokens()?;
    BoundKey::fresh().map(|key| Some(Arc::new(key)))
}

/// Asks whether a gateway may have a token that others take as well: its operator could use it there.
async fn agree(gateway: &str, issuer: &str, takers: &[&str]) -> Result<(), Failure> {
    let Some(first) = takers.first() else {
        return Ok(());
    };
    let (issuer, others) = (clean(issuer), takers.join(", "));
    let risk = format!(
        "a token of {issuer} for {gateway} is good at {others} as well: {gateway} could use it there as you"
    );
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let advice = format!("if you trust it as you trust {first}: log in with --yes");
        return Err(Failure::denied(risk).advise(advice));
    }
    eprint!("{risk}.\nGo on? [y/N] ");
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    match answer.await {
        Ok(Ok(line)) if matches!(line.trim(), "y" | "Y" | "yes") => Ok(()),
        _ => Err(Failure::denied(format!("not logged in at {gateway}"))),
    }
}

/// The same question about the token that the issuer gave in fact, which is withdrawn if the answer is no.
async fn stay_apart(
    web: &Web,
    known: &Contents,
    gateway: &str,
    entry: &StoredLogin,
) -> Result<(), Failure> {
    let asked = takers(
        known,
        gateway,
        &entry.issuer,
        entry.audience.as_deref(),
        None,
    );
    let given = takers(
        known,
        gateway,
        &entry.issuer,
        entry.audience.as_deref(),
        Some(&entry.access_token),
    );
    let more: Vec<&str> = given
        .into_iter()
        .filter(|taker| !asked.contains(taker))
        .collect();
    let agreed = agree(gateway, &entry.issuer, &more).await;
    if agreed.is_err() {
        // It is kept nowhere; where the issuer cannot be told, it ends by itself.
        let _ = revoke(web, entry).await;
    }
    agreed
}

/// Forgets the tokens, whether or not the provider can be told.
pub(crate) async fn logout(arguments: &GatewayArguments) -> Result<(), Failure> {
    let store = Store::locate()?;
    let locked = store.lock().await?;
    let mut contents = locked.read()?;
    let gateway = chosen(arguments.gateway.as_deref(), &contents)?;
    let Some(entry) = contents.gateways.remove(&gateway) else {
        eprintln!("not logged in at {gateway}");
        return Ok(());
    };
    if contents.default.as_ref() == Some(&gateway) {
        contents.default = contents.gateways.keys().next().cloned();
    }
    locked.write(contents)?;
    drop(locked);
    if let Some(name) = &entry.key {
        BoundKey::forget(&store.key_file(name))?;
    }
    let ca = arguments.ca.as_deref().or(entry.ca.as_deref());
    let revoked = match Web::new(ca) {
        Ok(web) => revoke(&web, &entry).await,
        Err(failure) => Err(failure),
    };
    eprintln!("logged out at {gateway}");
    match revoked {
        Ok(true) => Ok(()),
        Ok(false) => {
            eprintln!("the issuer has no revocation endpoint: tokens end by themselves");
            Ok(())
        }
        Err(failure) => {
            Err(failure.advise("the tokens are deleted here, but may still be good elsewhere"))
        }
    }
}

fn absolute(file: &Path) -> Result<PathBuf, Failure> {
    std::fs::canonicalize(file)
        .map_err(|error| Failure::new(format!("`{}` cannot be read: {error}", file.display())))
}

/// Authorization code with PKCE, through a browser on this machine.
async fn by_browser(asked: &ToolLogin<'_>, open: bool) -> Result<StoredLogin, Failure> {
    let provider = asked.provider;
    let loopback = Loopback::bind().await?;
    let redirect =
        RedirectUrl::new(loopback.redirect()).map_err(|error| Failure::new(error.to_string()))?;
    let client =
        CoreClient::from_provider_metadata(provider.metadata.clone(), provider.client_id(), None)
            .set_redirect_uri(redirect)
            .set_token_uri(provider.token_url()?);
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let flow = CoreAuthenticationFlow::AuthorizationCode;
    let mut request = client.authorize_url(flow, CsrfToken::new_random, Nonce::new_random);
    request = request
        .set_pkce_challenge(challenge)
        .add_scopes(provider.scopes());
    let aimed = aim(provider.login.audience.as_deref());
    for (name, value) in &aimed {
        request = request.add_extra_param(*name, value.clone());
    }
    let (page, state, nonce) = request.url();
    eprintln!("Log in with this page:\n\n  {page}\n");
    if open {
        open_browser(page.as_str());
    }
    let returned = loopback.wait(state.secret()).await?;
    let code = judge(returned, provider)?;
    let mut exchange = client
        .exchange_code(AuthorizationCode::new(code))
        .set_pkce_verifier(verifier);
    for (name, value) in aimed {
        exchange = exchange.add_extra_param(name, value);
    }
    let ask = asked.asker()?;
    let tokens = exchange.request_async(&ask).await;
    let tokens =
        tokens.map_err(|error| token_failure("the login failed", &provider.login.issuer, error))?;
    provider.entry(&tokens, &nonce, asked.key.as_deref(), &asked.clock)
}

/// The code, if it is this issuer's (RFC 9207 section 2.4).
fn judge(returned: Returned, provider: &ToolProvider) -> Result<String, Failure> {
    let issuer = &provider.login.issuer;
    match returned.issuer {
        Some(named) if named != *issuer => {
            return Err(Failure::denied(format!(
                "the answer is of another issuer, `{named}`, than `{issuer}`"
            )));
        }
        None if provider.names_itself() => {
            return Err(Failure::denied(format!(
                "the answer does not name its issuer, as `{issuer}` should"
            )));
        }
        _ => {}
    }
    returned
        .code
        .map_err(|error| Failure::denied(format!("the login was refused: {error}")))
}

/// Without anything to open it with, the printed URL has to do.
fn open_browser(page: &str) {
    let mac = cfg!(target_os = "macos");
    let display = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    if !mac && !display {
        return;
    }
    let program = if mac { "open" } else { "xdg-open" };
    let command = Command::new(program)
        .arg(page)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if command.is_err() && std::io::stderr().is_terminal() {
        eprintln!("no browser could be opened: copy the address");
    }
}

/// The device authorization grant: a person approves on another machine.
async fn by_device(asked: &ToolLogin<'_>) -> Result<StoredLogin, Failure> {
    let provider = asked.provider;
    let issuer = &provider.login.issuer;
    let endpoint = provider
        .metadata
        .additional_metadata()
        .device_authorization_endpoint
        .clone();
    let none = || {
        Failure::new(format!("the issuer `{issuer}` has no device flow"))
            .advise("log in without --device")
    };
    let client =
        CoreClient::from_provider_metadata(provider.metadata.clone(), provider.client_id(), None)
            .set_device_authorization_url(endpoint.ok_or_else(none)?)
            .set_token_uri(provider.token_url()?);
    let ask = asked.asker()?;
    let mut request = client.exchange_device_code().add_scopes(provider.scopes());
    let aimed = aim(provider.login.audience.as_deref());
    for (name, value) in &aimed {
        request = request.add_extra_param(*name, value.clone());
    }
    let details = request.request_async(&ask).await;
    let details: CoreDeviceAuthorizationResponse =
        details.map_err(|error| token_failure("the device flow cannot begin", issuer, error))?;
    if !is_permitted_url(details.verification_uri().url()) {
        return Err(Failure::denied(format!(
            "the issuer's page `{}` is not `https`",
            details.verification_uri().as_str()
        )));
    }
    let page = clean(details.verification_uri().as_str());
    let code = clean(details.user_code().secret());
    eprintln!("On any machine, open this page and enter the code:\n\n  {page}\n  {code}\n");
    eprintln!(
        "The code is good for {} minutes.",
        details.expires_in().as_secs().div_ceil(60)
    );
    let mut request = client.exchange_device_access_token(&details);
    for (name, value) in aimed {
        request = request.add_extra_param(name, value);
    }
    let tokens = request.request_async(&ask, tokio::time::sleep, None).await;
    let tokens = tokens.map_err(|error| token_failure("the login failed", issuer, error))?;
    provider.entry(&tokens, no_nonce, asked.key.as_deref(), &asked.clock)
}
