//! Tokens about which their issuer is asked (RFC 7662), signed answers included (RFC 9701).
//!
//! What it does: asks an issuer's endpoint about a token, and takes the claims out of an answer that says the token is active.
//! What it refuses to know: what the claims are worth (`claims.rs` judges them like a JWT's), and how answers are remembered
//! (`consultations.rs`). Invariants: nothing but `"active": true` is active; an answer that cannot be read, that is not
//! signed where it should be, or that says nothing is an outage and never a refusal; the token goes to the configured
//! address alone, and into no message.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use rustls::RootCertStore;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::clock::{Clock, UnixMillis};
use crate::egress::{OutboundBounds, OutboundClient};
use crate::media_type::{self, MediaType};
use crate::percent;
use crate::reason::Reason;

use super::cache::Evidence;
use super::claims;
use super::client_proof::{AssertionKey, AssertionKeyFault, ClientProof, UnprovenClient};
use super::consultations::{ConsultationBounds, Consultations, Opinion};
use super::dpop::Thumbprint;
use super::event::{Event, Events, shown};
use super::facts::{Facts, Method, ShownLeaf};
use super::fetch::{self, RemoteFault};
use super::file::{self, UnreadableFile};
use super::jwks::LiveKeys;
use super::settings::{ClientProofSettings, IntrospectionSettings, IssuerSettings};
use super::token::Unproven;
use super::{Surroundings, json, kind, signature};

/// How old a signed answer may be, besides the issuer's leeway: it was asked for just now.
const SIGNED_AGE_SECONDS: i64 = 60;

/// Questions under way at once, of one issuer.
const CONCURRENT_CALLS: u32 = 32;

/// An answer, with the keys for a signed one: `OutboundBounds::JUDGE` and `FORCED_WAIT`.
const CALL_LIMIT: Duration = Duration::from_secs(9);

/// For how long a token is not asked about again that is not active.
const INACTIVE_LIMIT: Duration = Duration::from_secs(5);

/// RFC 9701 section 5.
const SIGNED_ANSWER: &str = "application/token-introspection+jwt";
const SIGNED_ANSWER_TYPE: &str = "token-introspection+jwt";

/// A private key in PEM.
const KEY_LIMIT_BYTES: u64 = 64 << 10;

/// One issuer's endpoint.
pub(super) struct Introspector {
    name: Arc<str>,
    /// Those of the issuer.
    issuer: IssuerSettings,
    settings: IntrospectionSettings,
    url: Uri,
    client: OutboundClient,
    proof: ClientProof,
    /// By which signed answers are verified.
    live: Arc<LiveKeys>,
    consultations: Consultations,
    clock: Clock,
    events: Events,
}

/// What is wrong with the settings or files of an endpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntrospectionFault {
    #[error(transparent)]
    File(#[from] UnreadableFile),
    #[error(transparent)]
    Remote(#[from] RemoteFault),
    #[error("`{}` {fault}", .path.display())]
    AssertionKey {
        path: PathBuf,
        fault: AssertionKeyFault,
    },
}

/// Why an answer is none.
struct NoAnswer {
    reason: Reason,
    detail: String,
}

impl NoAnswer {
    fn answer(detail: &str) -> Self {
        NoAnswer {
            reason: Reason::IntrospectionAnswer,
            detail: detail.to_owned(),
        }
    }
}

impl From<UnprovenClient> for NoAnswer {
    fn from(fault: UnprovenClient) -> Self {
        NoAnswer {
            reason: Reason::IntrospectionClient,
            detail: fault.to_string(),
        }
    }
}

/// What a token says, and the key whose proof it needs besides.
pub(super) type ProvenToken = (Arc<Facts>, Option<Thumbprint>);

/// What the endpoint says of a token.
enum TokenState {
    Active(Map<String, Value>),
    Inactive,
}

impl Introspector {
    /// Reads the files of the proof. `live`: the issuer's keys.
    pub(super) fn open(
        issuer: &IssuerSettings,
        settings: &IntrospectionSettings,
        roots: Arc<RootCertStore>,
        live: &Arc<LiveKeys>,
        surroundings: &Surroundings,
    ) -> Result<Self, IntrospectionFault> {
        let url = fetch::permitted(&settings.url).map_err(RemoteFault::from)?;
        let (egress, bounds) = (&issuer.egress, OutboundBounds::JUDGE);
        let (proof, client) = match &settings.proof {
            ClientProofSettings::Secret(reference) => (
                ClientProof::Secret(reference.clone()),
                OutboundClient::new(roots, egress, bounds),
            ),
            ClientProofSettings::Key {
                file,
                algorithm,
                key_id,
            } => {
                let text = Zeroizing::new(file::read(file, KEY_LIMIT_BYTES)?);
                let key = AssertionKey::read(&text, algorithm.as_deref(), key_id.clone());
                let key = key.map_err(|fault| IntrospectionFault::AssertionKey {
                    path: file.clone(),
                    fault,
                })?;
                (
                    ClientProof::Assertion(key),
                    OutboundClient::new(roots, egress, bounds),
                )
            }
            ClientProofSettings::Certificate { certificate, key } => (
                ClientProof::Certificate,
                OutboundClient::with_certificate(roots, (certificate, key), egress, bounds),
            ),
        };
        let client = client.map_err(RemoteFault::from)?;
        let bounds = ConsultationBounds {
            calls_per_second: settings.calls_per_second,
            concurrent_calls: CONCURRENT_CALLS,
            call_limit: CALL_LIMIT,
            accepted_limit: settings.cache,
            refused_limit: INACTIVE_LIMIT,
        };
        let (clock, runtime) = (surroundings.clock.clone(), surroundings.runtime.clone());
        Ok(Introspector {
            name: Arc::from(issuer.name.as_str()),
            issuer: issuer.clone(),
            settings: settings.clone(),
            url,
            client,
            proof,
            live: live.clone(),
            consultations: Consultations::new(bounds, clock.clone(), runtime),
            clock,
            events: surroundings.events.clone(),
        })
    }

    /// Whether JWTs are asked about as well.
    pub(super) fn asks_always(&self) -> bool {
        self.settings.always
    }

    /// What the endpoint says of `token`.
    async fn ask(&self, token: &[u8]) -> Result<TokenState, NoAnswer> {
        let now = self.clock.now();
        let text = std::str::from_utf8(token).map_err(|_| NoAnswer::answer("no text"))?;
        let mut form = Zeroizing::new(String::with_capacity(token.len() + 1024));
        form.push_str("token=");
        form.push_str(&Zeroizing::new(percent::encode(text).to_string()));
        form.push_str("&token_type_hint=access_token");
        let who = (&*self.settings.client_id, &*self.issuer.issuer);
        let authorization = self.proof.add_to(&mut form, who, now)?;
        let accept = if self.settings.signed {
            SIGNED_ANSWER
        } else {
            media_type::JSON
        };
        let request = Request::post(self.url.clone())
            .header(header::ACCEPT, accept)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.as_bytes().to_vec());
        let mut request = request.map_err(|_| NoAnswer::answer("no request can be made"))?;
        if let Some(value) = authorization {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let answer = self.client.ask(request).await.map_err(|fault| NoAnswer {
            reason: Reason::IntrospectionUnavailable,
            detail: fault.to_string(),
        })?;
        let members = match answer.status() {
            StatusCode::OK if self.settings.signed => self.signed(&answer, now).await?,
            StatusCode::OK => json::object(answer.body())
                .ok_or_else(|| NoAnswer::answer("the answer is no JSON object of one reading"))?,
            // RFC 7662 section 2.3, RFC 6749 section 5.2: it is us who may not ask.
            status @ (StatusCode::BAD_REQUEST
            | StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN) => {
                return Err(NoAnswer {
                    reason: Reason::IntrospectionClient,
                    detail: format!("status {}", status.as_u16()),
                });
            }
            status => {
                return Err(NoAnswer {
                    reason: Reason::IntrospectionUnavailable,
                    detail: format!("status {}", status.as_u16()),
                });
            }
        };
        state(members)
    }

    /// The members of a signed answer (RFC 9701 section 5).
    async fn signed(
        &self,
        answer: &Response<Vec<u8>>,
        now: UnixMillis,
    ) -> Result<Map<String, Value>, NoAnswer> {
        let is_signed = answer
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|value| MediaType::glimpse(value.as_bytes()).is(SIGNED_ANSWER));
        if !is_signed {
            return Err(NoAnswer::answer("the answer is not signed"));
        }
        let settings = &self.issuer;
        let token = Unproven::parse(answer.body())
            .ok()
            .filter(|token| token.media_type == SIGNED_ANSWER_TYPE)
            .filter(|token| settings.algorithms.contains(&token.algorithm_name))
            .ok_or_else(|| NoAnswer::answer("the answer is no signed introspection"))?;
        signature::verify(&self.live, &token, now)
            .await
            .map_err(|reason| NoAnswer {
                reason: match reason {
                    Reason::KeysUnavailable => reason,
                    _ => Reason::IntrospectionAnswer,
                },
                detail: format!("the answer's signature: {}", reason.code()),
            })?;
        let mut claims = token.claims;
        let is_from = claims.get("iss").and_then(Value::as_str) == Some(&*settings.issuer);
        let client_id = &*self.settings.client_id;
        let is_for_us = match claims.get("aud") {
            Some(Value::String(one)) => one == client_id,
            Some(Value::Array(several)) => several.iter().any(|one| one == client_id),
            _ => false,
        };
        if !is_from || !is_for_us {
            return Err(NoAnswer::answer(
                "the signed answer is another issuer's, or for another client",
            ));
        }
        let leeway = i64::try_from(settings.leeway.as_secs()).unwrap_or(0);
        let age = claims::date(&claims, "iat")
            .ok()
            .flatten()
            .map(|issued| now.seconds().saturating_sub(issued));
        if !age.is_some_and(|age| (-leeway..=SIGNED_AGE_SECONDS + leeway).contains(&age)) {
            return Err(NoAnswer::answer("the signed answer is not of now"));
        }
        match claims.remove("token_introspection") {
            Some(Value::Object(members)) => Ok(members),
            _ => Err(NoAnswer::answer(
                "the signed answer has no `token_introspection`",
            )),
        }
    }

    fn unavailable(&self, NoAnswer { reason, detail }: NoAnswer) -> Opinion {
        self.events.report(Event::ConsultationFailed {
            issuer: self.name.clone(),
            reason,
            detail: shown(&detail),
        });
        Opinion::Unavailable(reason)
    }

    /// Judges an opaque token: what its issuer says of it, as if the token said it.
    pub(super) async fn introspected(
        self: &Arc<Self>,
        token: &[u8],
        leaf: ShownLeaf<'_>,
        (evidence, address, now): (&Evidence, IpAddr, UnixMillis),
    ) -> Result<ProvenToken, Reason> {
        let asker = self.clone();
        let ask = || {
            let token = Zeroizing::new(token.to_vec());
            let certificate = leaf.certificate.cloned();
            let fingerprint = leaf.fingerprint.map(str::to_owned);
            async move {
                let claims = match asker.ask(&token).await {
                    Ok(TokenState::Active(claims)) => claims,
                    Ok(TokenState::Inactive) => return Opinion::Refused(Reason::TokenInactive),
                    Err(fault) => return asker.unavailable(fault),
                };
                let leaf = ShownLeaf {
                    certificate: certificate.as_ref(),
                    fingerprint: fingerprint.as_deref(),
                };
                match asker.judge_answer(claims, leaf, asker.clock.now()) {
                    Ok(facts) => Opinion::Holds(Arc::new(facts)),
                    Err(reason) => Opinion::Refused(reason),
                }
            }
        };
        let consultations = &self.consultations;
        let facts = consultations.judge(evidence, address, now, ask).await?;
        let key = claims::binding(&facts.claims, leaf.fingerprint)?;
        Ok((facts, key))
    }

    /// Judges a JWT whose signature holds: its issuer must call it active as well. The token's own claims count.
    pub(super) async fn still_active(
        self: &Arc<Self>,
        token: &[u8],
        facts: &Arc<Facts>,
        (evidence, address, now): (&Evidence, IpAddr, UnixMillis),
    ) -> Result<Arc<Facts>, Reason> {
        let asker = self.clone();
        let ask = || {
            let token = Zeroizing::new(token.to_vec());
            let facts = facts.clone();
            async move {
                match asker.ask(&token).await {
                    Ok(TokenState::Active(said)) if contradicts(&facts.claims, &said) => {
                        let fault = NoAnswer::answer("the answer is about another token");
                        asker.unavailable(fault)
                    }
                    Ok(TokenState::Active(_)) => Opinion::Holds(facts),
                    Ok(TokenState::Inactive) => Opinion::Refused(Reason::TokenInactive),
                    Err(fault) => asker.unavailable(fault),
                }
            }
        };
        let consultations = &self.consultations;
        consultations.judge(evidence, address, now, ask).await
    }

    /// The claims of an answer, judged as those of a JWT. An answer need not name its issuer, whose endpoint was asked; one
    /// that names another is about another's token.
    fn judge_answer(
        &self,
        claims: Map<String, Value>,
        leaf: ShownLeaf<'_>,
        now: UnixMillis,
    ) -> Result<Facts, Reason> {
        let settings = &self.issuer;
        match claims.get("iss") {
            None => {}
            Some(Value::String(named)) if *named == settings.issuer => {}
            Some(Value::String(_)) => return Err(Reason::TokenIssuerUnknown),
            Some(_) => return Err(Reason::TokenClaims),
        }
        if !kind::is_access_answer(&claims) || !kind::is_taken(settings, "", &claims) {
            return Err(Reason::TokenType);
        }
        let (facts, _) = claims::facts(settings, &self.name, claims, leaf, now)?;
        Ok(Facts {
            method: Method::Introspection,
            ..facts
        })
    }
}

/// RFC 7662 section 2.2. Members that are `null` are absent.
fn state(mut members: Map<String, Value>) -> Result<TokenState, NoAnswer> {
    json::drop_nulls(&mut members);
    match members.remove("active") {
        Some(Value::Bool(true)) => Ok(TokenState::Active(members)),
        Some(Value::Bool(false)) => Ok(TokenState::Inactive),
        _ => Err(NoAnswer::answer(
            "the answer's `active` is neither true nor false",
        )),
    }
}

/// Whether an answer names another token than the one that was asked about.
fn contradicts(token: &Map<String, Value>, said: &Map<String, Value>) -> bool {
    ["iss", "sub", "jti"]
        .into_iter()
        .any(|name| match (token.get(name), said.get(name)) {
            (Some(ours), Some(theirs)) => ours != theirs,
            _ => false,
        })
}

/// Whether a token can be what an issuer is asked about: RFC 6750 section 2.1.
pub(super) fn is_bearer_token(token: &[u8]) -> bool {
    let end = token.iter().rposition(|byte| *byte != b'=');
    let body = end.and_then(|end| token.get(..=end)).unwrap_or_default();
    !body.is_empty()
        && body
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte))
}

/// A value for `prefix` that no JWT and no token of ours begins with.
pub(crate) fn is_opaque_prefix(text: &str) -> bool {
    text.len() >= 3
        && text.len() <= 64
        && !["ey", "ew", crate::accept::CLIENT_TOKEN_PREFIX]
            .iter()
            .any(|taken| text.starts_with(taken))
        && is_bearer_token(text.as_bytes())
        && HeaderValue::from_str(text).is_ok()
}
