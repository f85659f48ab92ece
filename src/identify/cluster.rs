//! A Kubernetes cluster as an issuer: who its tokens name as their issuer, and what its API server says of one.
//!
//! What it does: learns the issuer's string from the pod's own token, and has tokens reviewed (TokenReview,
//! `authentication.k8s.io/v1`). What it refuses to know: keys and signatures, which are judged before, and how judgements are
//! remembered. Invariants: no address but the API server's is asked, whatever a discovery document names; the pod's own
//! token goes there alone; an API server that cannot be asked is an outage and never a refusal, and `prefer` lets the
//! signature count only then, not because an address or the budget of questions is at its end.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use rustls::RootCertStore;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::clock::{Clock, UnixMillis};
use crate::egress::{OutboundBounds, OutboundClient};
use crate::media_type;
use crate::reason::Reason;
use crate::secret::SecretRef;

use super::Surroundings;
use super::cache::Evidence;
use super::consultations::{ConsultationBounds, Consultations, Opinion};
use super::event::{Event, Events, shown};
use super::facts::Facts;
use super::fetch::{self, RemoteFault};
use super::json;
use super::settings::{ClusterSettings, IssuerSettings, TokenReviewing};
use super::token::Unproven;

/// Between two readings of our own token because another one names an issuer that we do not know.
const READ_INTERVAL_MILLIS: i64 = 10_000;

/// Issuers that our own token has named. An API server takes tokens of several, and signs for the first.
const NAMES: usize = 4;

/// Questions under way at once.
const CONCURRENT_CALLS: u32 = 64;

/// `OutboundBounds::JUDGE`, and a moment.
const CALL_LIMIT: Duration = Duration::from_secs(6);

/// For how long a token is not asked about again.
const REVIEWED_LIMIT: Duration = Duration::from_secs(30);
const REFUSED_LIMIT: Duration = Duration::from_secs(5);

/// For how long, after an outage, `prefer` does not ask.
const AWAY_MILLIS: i64 = 5_000;

/// One cluster at work.
pub(super) struct Cluster {
    name: Arc<str>,
    audiences: Vec<String>,
    settings: ClusterSettings,
    own_token: SecretRef,
    clock: Clock,
    /// What tokens of this cluster name as their issuer; empty until our own could be read.
    names: ArcSwap<Vec<Arc<str>>>,
    read_at: AtomicI64,
    reviewer: Option<Reviewer>,
}

/// Who has tokens reviewed.
struct Reviewer {
    url: Uri,
    client: OutboundClient,
    consultations: Consultations,
    events: Events,
    /// Unix milliseconds until which the API server is taken to be away.
    away_until: AtomicI64,
}

impl Cluster {
    pub(super) fn open(
        issuer: &IssuerSettings,
        settings: &ClusterSettings,
        roots: Arc<RootCertStore>,
        surroundings: &Surroundings,
    ) -> Result<Self, RemoteFault> {
        let clock = surroundings.clock.clone();
        let reviewer = match settings.review {
            TokenReviewing::Off => None,
            TokenReviewing::On | TokenReviewing::Prefer => {
                let url = format!(
                    "{}/apis/authentication.k8s.io/v1/tokenreviews",
                    settings.api
                );
                let url = fetch::permitted(&url).map_err(RemoteFault::from)?;
                let client = OutboundClient::new(roots, &issuer.egress, OutboundBounds::JUDGE);
                let bounds = ConsultationBounds {
                    calls_per_second: settings.calls_per_second,
                    concurrent_calls: CONCURRENT_CALLS,
                    call_limit: CALL_LIMIT,
                    accepted_limit: REVIEWED_LIMIT,
                    refused_limit: REFUSED_LIMIT,
                };
                let runtime = surroundings.runtime.clone();
                Some(Reviewer {
                    url,
                    client: client.map_err(RemoteFault::from)?,
                    consultations: Consultations::new(bounds, clock.clone(), runtime),
                    events: surroundings.events.clone(),
                    away_until: AtomicI64::new(i64::MIN),
                })
            }
        };
        Ok(Cluster {
            name: Arc::from(issuer.name.as_str()),
            audiences: issuer.audiences.clone(),
            settings: settings.clone(),
            own_token: SecretRef::File(settings.token_file()),
            clock,
            names: ArcSwap::default(),
            read_at: AtomicI64::new(i64::MIN),
            reviewer,
        })
    }

    /// Whether `iss` means this cluster. Our own token is read again for a name that is not known, once in a while.
    pub(super) fn is_called(&self, iss: &str) -> bool {
        let knows = || self.names.load().iter().any(|name| **name == *iss);
        if knows() {
            return true;
        }
        let now = self.clock.now().0;
        let read_at = self.read_at.load(Ordering::Relaxed);
        let waited = now.saturating_sub(read_at);
        // A clock that was set back makes no one wait.
        let may_read = !(0..READ_INTERVAL_MILLIS).contains(&waited);
        let is_first = || {
            let swap =
                self.read_at
                    .compare_exchange(read_at, now, Ordering::Relaxed, Ordering::Relaxed);
            swap.is_ok()
        };
        if !may_read || !is_first() {
            return false;
        }
        self.learn();
        knows()
    }

    /// Whether no name is known, so that any token may be of this cluster.
    pub(super) fn is_nameless(&self) -> bool {
        self.names.load().is_empty()
    }

    /// Has a token reviewed whose signature holds, if that is wanted.
    pub(super) async fn reviewed(
        self: &Arc<Self>,
        token: &[u8],
        facts: Arc<Facts>,
        (evidence, address, now): (&Evidence, IpAddr, UnixMillis),
    ) -> Result<Arc<Facts>, Reason> {
        let Some(reviewer) = &self.reviewer else {
            return Ok(facts);
        };
        if let Some(judged) = reviewer.consultations.known(evidence, now) {
            return judged;
        }
        let prefers = self.settings.review == TokenReviewing::Prefer;
        if prefers && reviewer.is_away(now) {
            self.skip(reviewer);
            return Ok(facts);
        }
        let ask = || {
            let (cluster, facts) = (self.clone(), facts.clone());
            let token = Zeroizing::new(token.to_vec());
            async move { cluster.ask(&token, facts).await }
        };
        let consultations = &reviewer.consultations;
        match consultations.judge(evidence, address, now, ask).await {
            Err(reason) if prefers && says_nothing(reason) => {
                self.skip(reviewer);
                Ok(facts)
            }
            judged => judged,
        }
    }

    fn skip(&self, reviewer: &Reviewer) {
        let issuer = self.name.clone();
        reviewer.events.report(Event::ReviewSkipped { issuer });
    }

    async fn ask(&self, token: &[u8], facts: Arc<Facts>) -> Opinion {
        let Some(reviewer) = &self.reviewer else {
            return Opinion::Unavailable(Reason::InternalDefect);
        };
        let asked = reviewer.ask(&self.audiences, &self.own_token, token, facts);
        match asked.await {
            Ok(opinion) => opinion,
            Err(Unreviewed { reason, detail }) => {
                let until = self.clock.now().0.saturating_add(AWAY_MILLIS);
                reviewer.away_until.store(until, Ordering::Relaxed);
                reviewer.events.report(Event::ConsultationFailed {
                    issuer: self.name.clone(),
                    reason,
                    detail: shown(&detail),
                });
                Opinion::Unavailable(reason)
            }
        }
    }

    fn learn(&self) {
        let Some(name) = self.own_issuer() else {
            return;
        };
        let known = self.names.load();
        if known.contains(&name) {
            return;
        }
        // The newest first; the oldest falls off.
        let names = std::iter::once(name).chain(known.iter().cloned());
        self.names.store(Arc::new(names.take(NAMES).collect()));
    }

    /// The `iss` of our own token: the kubelet wrote it for us, which is why its signature need not be checked.
    fn own_issuer(&self) -> Option<Arc<str>> {
        let token = self.own_token.read().ok()?;
        let claims = Unproven::parse(token.expose()).ok()?.claims;
        let name = claims
            .get("iss")?
            .as_str()
            .filter(|name| !name.is_empty())?;
        Some(Arc::from(name))
    }
}

/// Why a review says nothing.
struct Unreviewed {
    reason: Reason,
    detail: String,
}

impl Reviewer {
    async fn ask(
        &self,
        audiences: &[String],
        own_token: &SecretRef,
        token: &[u8],
        facts: Arc<Facts>,
    ) -> Result<Opinion, Unreviewed> {
        let failed = |reason, detail: String| Unreviewed { reason, detail };
        let text = std::str::from_utf8(token).unwrap_or_default();
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": { "token": text, "audiences": audiences },
        });
        let secret = own_token
            .open()
            .map_err(|fault| failed(Reason::ReviewForbidden, fault.to_string()))?;
        let bearer = Zeroizing::new([b"Bearer ", secret.expose()].concat());
        let mut bearer = HeaderValue::from_bytes(&bearer)
            .map_err(|_| failed(Reason::ReviewForbidden, "no header".to_owned()))?;
        bearer.set_sensitive(true);
        let request = Request::post(self.url.clone())
            .header(header::ACCEPT, media_type::JSON)
            .header(header::CONTENT_TYPE, media_type::JSON)
            .header(header::AUTHORIZATION, bearer)
            .body(review.to_string().into_bytes())
            .map_err(|_| failed(Reason::ReviewAnswer, "no request can be made".to_owned()))?;
        let answer = self.client.ask(request).await;
        let answer =
            answer.map_err(|fault| failed(Reason::ReviewUnavailable, fault.to_string()))?;
        match answer.status() {
            StatusCode::OK | StatusCode::CREATED => {}
            status => {
                // RBAC: without `system:auth-delegator` it is us who may not ask.
                let reason = match status {
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Reason::ReviewForbidden,
                    _ => Reason::ReviewUnavailable,
                };
                return Err(failed(reason, format!("status {}", status.as_u16())));
            }
        }
        let answer = json::object(answer.body());
        opinion(answer, audiences, facts)
            .ok_or_else(|| failed(Reason::ReviewAnswer, "the answer is no review".to_owned()))
    }

    fn is_away(&self, now: UnixMillis) -> bool {
        let until = self.away_until.load(Ordering::Relaxed);
        (until.saturating_sub(AWAY_MILLIS)..until).contains(&now.0)
    }
}

/// What a review's answer says; `None`: nothing that can be read.
fn opinion(
    answer: Option<Map<String, Value>>,
    audiences: &[String],
    facts: Arc<Facts>,
) -> Option<Opinion> {
    let mut answer = answer?;
    if answer.get("kind").and_then(Value::as_str) != Some("TokenReview") {
        return None;
    }
    let Some(Value::Object(mut status)) = answer.remove("status") else {
        return None;
    };
    json::drop_nulls(&mut status);
    match status.get("authenticated") {
        Some(Value::Bool(true)) => {}
        // Go's encoder leaves out what is false.
        None | Some(Value::Bool(false)) => return Some(Opinion::Refused(Reason::TokenInactive)),
        Some(_) => return None,
    }
    let named = match status.get("audiences") {
        // A server that knows nothing of audiences vouches for its own alone.
        None => false,
        Some(Value::Array(named)) => named
            .iter()
            .any(|named| audiences.iter().any(|ours| named == ours)),
        Some(_) => return None,
    };
    if !named {
        return Some(Opinion::Refused(Reason::TokenAudience));
    }
    let user = status.get("user")?.get("username")?.as_str()?;
    // The signature said who it is; a review of another token is none.
    let is_same = facts.claims.get("sub").and_then(Value::as_str) == Some(user);
    is_same.then_some(Opinion::Holds(facts))
}

/// Whether the API server itself could not be asked. Who exceeds the budget of questions, or comes from an address whose tokens
/// were refused, must not gain by it.
fn says_nothing(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ReviewUnavailable
            | Reason::ReviewForbidden
            | Reason::ReviewAnswer
            | Reason::ProofsTimeout
    )
}
