//! A login that is used, or an AWS role: the chosen gateway, and a token that is good now, with a proof where it is bound to a key.
//!
//! What it does: picks the gateway, renews its token when little of it is left, and shows it. What it refuses to know: what is asked
//! with it. Invariants: a refresh token is spent under the file's lock, after the file was read again, and the new one is on
//! disk before the access token is used; a token that still lives is used when it cannot be renewed for now.

use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use tokio::sync::Mutex;

use super::GatewayArguments;
use super::bound_key::{BoundKey, Proven};
use super::failure::Failure;
use super::provider::refresh;
use super::proving::{DPOP, copy, nonce_of};
use super::store::{Contents, Store, StoredLogin};
use super::text::clean;
use super::web::{Web, origin, unanswered};
use crate::cli::aws::AwsSigner;
use crate::clock::Clock;
use crate::lock;

/// Names the gateway where `--gateway` does not.
const GATEWAY_VARIABLE: &str = "LIGHTKEEPER_GATEWAY";
/// A token with less than this left is renewed, in seconds.
const LEAST_SECONDS: i64 = 60;
/// A signed call to AWS is shown for so long, in seconds: half of the least age that a gateway may be set to take.
const CALL_SECONDS: i64 = 30;
/// The gateway takes a nonce for a minute; one of this age is used where a request cannot be sent twice.
const NONCE_SECONDS: i64 = 45;

/// One gateway, and one developer or role.
pub(crate) struct ToolSession {
    pub gateway: String,
    /// For the query API's paths. `None`: a role's, which no login has told.
    pub organization: Option<String>,
    pub web: Web,
    source: TokenSource,
    clock: Clock,
    held: Mutex<Held>,
    /// What the gateway gave for the next proof, and when, in Unix seconds.
    nonce: lock::Mutex<Option<(String, i64)>>,
}

/// Where tokens come from.
enum TokenSource {
    Login(Store),
    Role(Box<AwsSigner>),
}

impl TokenSource {
    /// A token with less than this left is renewed, in seconds.
    fn least_seconds(&self) -> i64 {
        match self {
            TokenSource::Login(_) => LEAST_SECONDS,
            TokenSource::Role(_) => 1,
        }
    }
}

/// What is held of a login or a role.
#[derive(Clone)]
struct Held {
    evidence: ToolEvidence,
    /// When the token is shown for the last time, in Unix seconds.
    expires: i64,
}

/// What identifies the developer: a token, and the key that it is bound to.
#[derive(Clone)]
pub(crate) struct ToolEvidence {
    pub token: String,
    pub key: Option<Arc<BoundKey>>,
}

impl Held {
    fn of(store: &Store, entry: &StoredLogin) -> Result<Self, Failure> {
        let key = entry.key.as_ref();
        let key = key.map(|name| BoundKey::kept(&store.key_file(name)));
        Ok(Held {
            evidence: ToolEvidence {
                token: entry.access_token.clone(),
                key: key.transpose()?.map(Arc::new),
            },
            expires: entry.expires,
        })
    }
}

/// `--gateway`, else `LIGHTKEEPER_GATEWAY`, else that of the last login.
pub(crate) fn chosen(argument: Option<&str>, contents: &Contents) -> Result<String, Failure> {
    let variable = || {
        std::env::var(GATEWAY_VARIABLE)
            .ok()
            .filter(|value| !value.is_empty())
    };
    if let Some(text) = argument.map(str::to_owned).or_else(variable) {
        return origin(&text).map_err(|fault| Failure::new(fault.to_string()));
    }
    contents.default.clone().ok_or_else(|| {
        Failure::new("no gateway is chosen")
            .advise("log in first: lightkeeper login --gateway https://gateway.example")
    })
}

impl ToolSession {
    /// Of a person who has logged in.
    pub(crate) fn open(arguments: &GatewayArguments) -> Result<Self, Failure> {
        ToolSession::at(
            Store::locate()?,
            arguments.gateway.as_deref(),
            arguments.ca.clone(),
            Clock::system(),
        )
    }

    fn at(
        store: Store,
        gateway: Option<&str>,
        ca: Option<PathBuf>,
        clock: Clock,
    ) -> Result<Self, Failure> {
        let contents = store.read()?;
        let gateway = chosen(gateway, &contents)?;
        let entry = entry(&contents, &gateway)?;
        let web = Web::new(ca.as_deref().or(entry.ca.as_deref()))?;
        let held = Mutex::new(Held::of(&store, entry)?);
        Ok(ToolSession {
            organization: Some(entry.organization.clone()),
            gateway,
            web,
            source: TokenSource::Login(store),
            clock,
            held,
            nonce: lock::Mutex::default(),
        })
    }

    /// Of an AWS role, whose calls `signer` signs. No login is needed; one gives the gateway where none is named.
    pub(crate) fn of_role(
        arguments: &GatewayArguments,
        signer: AwsSigner,
    ) -> Result<Self, Failure> {
        let contents = Store::locate().and_then(|store| store.read());
        let gateway = chosen(arguments.gateway.as_deref(), &contents.unwrap_or_default())
            .map_err(|failure| failure.advise("name it: --gateway https://gateway.example"))?;
        let nothing = Held {
            evidence: ToolEvidence {
                token: String::new(),
                key: None,
            },
            expires: 0,
        };
        Ok(ToolSession {
            gateway,
            organization: None,
            web: Web::new(arguments.ca.as_deref())?,
            source: TokenSource::Role(Box::new(signer)),
            clock: Clock::system(),
            held: Mutex::new(nothing),
            nonce: lock::Mutex::default(),
        })
    }

    /// A token that lives for a while yet, if one can be had, and its key.
    pub(crate) async fn evidence(&self) -> Result<ToolEvidence, Failure> {
        let mut held = self.held.lock().await;
        if self.left(held.expires) < self.source.least_seconds() {
            *held = match &self.source {
                TokenSource::Login(store) => self.renew(store, held.clone()).await?,
                TokenSource::Role(signer) => self.sign(signer).await?,
            };
        }
        Ok(held.evidence.clone())
    }

    async fn sign(&self, signer: &AwsSigner) -> Result<Held, Failure> {
        let now = self.clock.now();
        let token = signer.token(now).await?;
        Ok(Held {
            evidence: ToolEvidence {
                token: token.to_string(),
                key: None,
            },
            expires: now.seconds().saturating_add(CALL_SECONDS),
        })
    }

    /// Puts what identifies the developer on a request's head, for this method and URL, in place of what is there.
    pub(crate) fn show(
        &self,
        evidence: &ToolEvidence,
        headers: &mut HeaderMap,
        method: &str,
        url: &str,
    ) -> Result<(), Failure> {
        let (scheme, proof) = match &evidence.key {
            None => ("Bearer", None),
            Some(key) => {
                let nonce = self.nonce.lock().clone();
                let proven = Proven {
                    method,
                    url: url.split(['?', '#']).next().unwrap_or_default(),
                    token: Some(&evidence.token),
                    nonce: nonce.as_ref().map(|(nonce, _)| nonce.as_str()),
                };
                ("DPoP", Some(key.prove(&proven, &self.clock)?))
            }
        };
        let unfit = |_| Failure::new("the token cannot be sent");
        let mut value =
            HeaderValue::try_from(format!("{scheme} {}", evidence.token)).map_err(unfit)?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
        headers.remove(DPOP);
        headers.extend(proof.map(|proof| (DPOP, proof)));
        Ok(())
    }

    /// Takes the nonce over that an answer of the gateway's brings. Whether the answer is a refusal for want of it alone.
    pub(crate) fn heard(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let Some(nonce) = nonce_of(headers) else {
            return false;
        };
        *self.nonce.lock() = Some((nonce, self.clock.now().seconds()));
        let mut challenges = headers.get_all(header::WWW_AUTHENTICATE).iter();
        status == StatusCode::UNAUTHORIZED
            && challenges.any(|line| {
                line.to_str()
                    .is_ok_and(|line| line.contains("use_dpop_nonce"))
            })
    }

    /// Asks the gateway as the developer, once more if it wants its nonce.
    pub(crate) async fn ask(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, Failure> {
        let evidence = self.evidence().await?;
        let url = request.uri().to_string();
        let gateway = || format!("the gateway `{}`", self.gateway);
        for is_last in [false, true] {
            let mut asked = copy(&request);
            let method = request.method().as_str();
            self.show(&evidence, asked.headers_mut(), method, &url)?;
            let answer = self.web.ask(asked).await;
            let answer = answer.map_err(|fault| unanswered(&fault, &gateway()))?;
            if !self.heard(answer.status(), answer.headers()) || is_last {
                return Ok(answer);
            }
        }
        Err(Failure::new(format!("{} cannot be asked", gateway())))
    }

    /// Makes sure that there is a nonce for a request that cannot be sent twice.
    pub(crate) async fn prepare(&self, evidence: &ToolEvidence) -> Result<(), Failure> {
        let given = self.nonce.lock().as_ref().map(|(_, at)| *at);
        let is_fresh = given.is_some_and(|at| -self.left(at) < NONCE_SECONDS);
        if evidence.key.is_none() || is_fresh {
            return Ok(());
        }
        let page = format!("{}/.lightkeeper/whoami", self.gateway);
        let request = Request::get(page).body(Vec::new());
        let request = request.map_err(|error| Failure::new(error.to_string()))?;
        self.ask(request).await.map(drop)
    }

    /// The headers for one call to the gateway, by name.
    pub(crate) async fn shown_for(
        &self,
        method: &str,
        url: &str,
    ) -> Result<Vec<(&'static str, String)>, Failure> {
        let is_ours = url
            .strip_prefix(self.gateway.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']));
        if !is_ours {
            let said = format!("`{}` is no address of `{}`", clean(url), self.gateway);
            return Err(Failure::denied(said).advise("name another gateway with --gateway"));
        }
        let evidence = self.evidence().await?;
        self.prepare(&evidence).await?;
        let mut headers = HeaderMap::new();
        self.show(&evidence, &mut headers, method, url)?;
        let text = |name: HeaderName| {
            let value = headers.get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let lines = [
            ("Authorization", text(header::AUTHORIZATION)),
            ("DPoP", text(DPOP)),
        ];
        Ok(lines
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect())
    }

    fn left(&self, expires: i64) -> i64 {
        expires.saturating_sub(self.clock.now().seconds())
    }

    async fn renew(&self, store: &Store, held: Held) -> Result<Held, Failure> {
        let locked = store.lock().await?;
        let mut contents = locked.read()?;
        let mut entry = entry(&contents, &self.gateway)?.clone();
        // Another command may have been quicker.
        if self.left(entry.expires) < LEAST_SECONDS {
            // Another command may have logged in with another key.
            let key = Held::of(store, &entry)?.evidence.key;
            let (web, clock) = (&self.web, &self.clock);
            match refresh(web, &self.gateway, &mut entry, key.as_ref(), clock).await {
                Ok(()) => {}
                Err(_) if self.left(held.expires) > 0 => return Ok(held),
                Err(failure) => return Err(failure),
            }
            contents
                .gateways
                .insert(self.gateway.clone(), entry.clone());
            locked.write(contents)?;
        }
        Held::of(store, &entry)
    }
}

fn entry<'a>(contents: &'a Contents, gateway: &str) -> Result<&'a StoredLogin, Failure> {
    let missing = || {
        let mut failure = Failure::log_in(gateway, format!("not logged in at `{gateway}`"));
        failure.advice = Some(format!(
            "log in first: lightkeeper login --gateway {gateway}"
        ));
        failure
    };
    contents.gateways.get(gateway).ok_or_else(missing)
}

#[cfg(all(test, feature = "aws"))]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::clock::UnixMillis;

    const NOW: i64 = 1_800_000_000;

    /// Scenario: a role's proofs over time. Guarantees: one serves for half a minute, half of the least age that a gateway may be
    /// set to take, and then there is another, with what the credentials are by then.
    #[tokio::test]
    async fn a_role_shows_a_proof_for_half_a_minute() {
        let (clock, hand) = Clock::manual(UnixMillis(NOW * 1000));
        let arguments = GatewayArguments {
            gateway: Some("https://gateway.example".to_owned()),
            ca: None,
        };
        let signer = AwsSigner::of_keys("lightkeeper:gateway.example", "eu-west-1");
        let session = ToolSession {
            clock,
            ..ToolSession::of_role(&arguments, signer).unwrap()
        };
        let mut shown = Vec::new();
        for (second, changes) in [
            (0, true),
            (29, false),
            (30, true),
            (59, false),
            (3600, true),
        ] {
            hand.store((NOW + second) * 1000, Ordering::Relaxed);
            let token = session.evidence().await.unwrap().token;
            assert_eq!(shown.last() != Some(&token), changes, "{second}");
            shown.push(token);
        }
    }
}
