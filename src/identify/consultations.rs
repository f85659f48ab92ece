//! Proofs that another party judges: a signed call to AWS, an opaque token, a token that its cluster is asked about.
//!
//! What it does: asks about a proof at most once at a time, remembers what was said, and holds all questions within a budget.
//! What it refuses to know: who is asked, and how: `judge` is handed a closure that asks. How it is used: one `Consultations`
//! for each party (so that a key need not name it), made anew when the party's settings change; cheap checks first, then
//! `judge(&evidence, address, now, || async move { … })`, which answers like every verifier of the room.
//! Invariants: the three opinions stay apart: a `Refused` whose reason is of the class "unavailable" is an outage, an
//! `Unavailable` is never a refusal, and no outage is remembered; a judgement is found again only under the digest of all
//! evidence that it was made on (token, header, certificate), and never after the proof's end (`Facts::expires_unix_seconds`);
//! what was refused is kept apart from what was accepted, so that strangers never push an identity out; a question goes on
//! when the caller who began it has left, because others wait for it; one caller that shows ever new proofs spends its own
//! share of the questions (`share`); everything is bounded.

mod share;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::watch;

use super::cache::Evidence;
use super::facts::Facts;
use crate::clock::{Clock, UnixMillis};
use crate::limits::{CallerKey, Penalties, address_block};
use crate::lock::Mutex;
use crate::reason::{Class, Reason};

use share::CallShares;

/// All accepted proofs of one party together, by their estimated size.
const ACCEPTED_LIMIT_BYTES: u64 = 64 << 20;
/// All refused ones.
const REFUSED_LIMIT_BYTES: u64 = 4 << 20;
/// Credentials that were accepted; each is two numbers.
const KNOWN_LIMIT_ENTRIES: u64 = 65_536;
/// One that is not used for so long is known no more. Sessions of AWS's roles live half a day.
const KNOWN_LIMIT: Duration = Duration::from_secs(43_200);
/// What an entry takes besides what it holds: key, hash table, orders of use and age.
const ENTRY_BYTES: usize = 256;

/// What one party may be asked, and for how long its word counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConsultationBounds {
    pub calls_per_second: u32,
    /// Questions under way at once.
    pub concurrent_calls: u32,
    /// The longest that one question may take, whatever its own client allows.
    pub call_limit: Duration,
    /// For how long a proof that was accepted is not asked about again.
    pub accepted_limit: Duration,
    /// The same of one that was refused: a few seconds.
    pub refused_limit: Duration,
}

/// Whose proof it is, as far as that can be known before it is judged.
#[derive(Clone, Copy)]
pub(super) struct ProofBearer<'a> {
    pub address: IpAddr,
    /// What the proof calls its credential. Nothing of it is proven.
    pub credential: Option<&'a str>,
}

impl From<IpAddr> for ProofBearer<'_> {
    fn from(address: IpAddr) -> Self {
        ProofBearer {
            address,
            credential: None,
        }
    }
}

/// What the party said of a proof.
#[derive(Debug)]
pub(super) enum Opinion {
    /// It holds, until its facts expire.
    Holds(Arc<Facts>),
    /// It does not hold.
    Refused(Reason),
    /// Nothing was said, or nothing that can be read.
    Unavailable(Reason),
}

/// Facts, or why there are none.
pub(super) type Judgement = Result<Arc<Facts>, Reason>;

/// The proofs of one party. Clones share everything.
#[derive(Clone)]
pub(super) struct Consultations(Arc<Consulting>);

struct Consulting {
    bounds: ConsultationBounds,
    clock: Clock,
    runtime: tokio::runtime::Handle,
    accepted: Cache<Evidence, Accepted, ahash::RandomState>,
    refused: Cache<Evidence, RefusedProof, ahash::RandomState>,
    /// Questions under way. Each holds a place, so that there are at most `concurrent_calls`.
    questions: Mutex<ahash::HashMap<Evidence, watch::Receiver<Option<Judgement>>>>,
    shares: Mutex<CallShares>,
    /// Addresses whose proofs were refused: a flood of well-formed nonsense spends its own share.
    penalties: Penalties,
    /// Credentials that were accepted, each with its address, and whose they are: what others there show does not hold them
    /// back.
    known: Cache<CallerKey, CallerKey, ahash::RandomState>,
}

#[derive(Clone)]
struct Accepted {
    facts: Arc<Facts>,
    asked_again_from: UnixMillis,
}

#[derive(Clone, Copy)]
struct RefusedProof {
    reason: Reason,
    asked_again_from: UnixMillis,
}

/// Who pays for a question.
#[derive(Clone, Copy)]
struct Payer {
    /// For a refusal: the address, or the known credential there.
    refusal: CallerKey,
    /// For the call: the address, or the identity that the known credential proved.
    call: CallerKey,
    /// The credential at this address.
    credential: Option<CallerKey>,
}

/// The duty to answer those who wait. Dropped without an answer, they are told of a defect.
struct Consultation {
    consulting: Arc<Consulting>,
    evidence: Evidence,
    answer: watch::Sender<Option<Judgement>>,
    payer: Payer,
}

impl Drop for Consultation {
    fn drop(&mut self) {
        self.consulting.shares.lock().end(self.payer.call);
        self.consulting.questions.lock().remove(&self.evidence);
    }
}

impl Consultations {
    pub(super) fn new(
        bounds: ConsultationBounds,
        clock: Clock,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        let accepted = Cache::builder()
            .weigher(|_, entry: &Accepted| {
                u32::try_from(entry.facts.weight_bytes() + ENTRY_BYTES).unwrap_or(u32::MAX)
            })
            .max_capacity(ACCEPTED_LIMIT_BYTES)
            .time_to_live(bounds.accepted_limit)
            .build_with_hasher(ahash::RandomState::new());
        let refused = Cache::builder()
            .weigher(|_, _: &RefusedProof| u32::try_from(ENTRY_BYTES).unwrap_or(u32::MAX))
            .max_capacity(REFUSED_LIMIT_BYTES)
            .time_to_live(bounds.refused_limit)
            .build_with_hasher(ahash::RandomState::new());
        let shares = Mutex::new(CallShares::new(bounds, clock.now()));
        let known = Cache::builder()
            .max_capacity(KNOWN_LIMIT_ENTRIES)
            .time_to_idle(KNOWN_LIMIT)
            .build_with_hasher(ahash::RandomState::new());
        Consultations(Arc::new(Consulting {
            bounds,
            clock,
            runtime,
            accepted,
            refused,
            questions: Mutex::default(),
            shares,
            penalties: Penalties::new(),
            known,
        }))
    }

    /// What is known of a proof without a question.
    pub(super) fn remembered(&self, evidence: &Evidence, now: UnixMillis) -> Option<Judgement> {
        self.0.remembered(evidence, now)
    }

    /// What is known of a proof, or what `ask` comes to. `ask` is called at most once at a time for one `evidence`, and what
    /// it returns is driven to its end (or `call_limit`) on the room's runtime, whether or not the caller still waits.
    pub(super) async fn judge<'c, A>(
        &self,
        evidence: &Evidence,
        bearer: impl Into<ProofBearer<'c>>,
        now: UnixMillis,
        ask: impl FnOnce() -> A,
    ) -> Judgement
    where
        A: Future<Output = Opinion> + Send + 'static,
    {
        if let Some(judgement) = self.0.remembered(evidence, now) {
            return judgement;
        }
        let mut answer = self.join(evidence, bearer.into(), now, ask)?;
        match answer.wait_for(Option::is_some).await {
            Ok(judgement) => judgement.clone().unwrap_or(Err(Reason::InternalDefect)),
            Err(_) => Err(Reason::InternalDefect),
        }
    }

    /// What is remembered of a proof.
    pub(super) fn known(&self, evidence: &Evidence, now: UnixMillis) -> Option<Judgement> {
        self.0.remembered(evidence, now)
    }

    /// The answer of the question that is under way, or of one that begins.
    fn join<A>(
        &self,
        evidence: &Evidence,
        bearer: ProofBearer<'_>,
        now: UnixMillis,
        ask: impl FnOnce() -> A,
    ) -> Result<watch::Receiver<Option<Judgement>>, Reason>
    where
        A: Future<Output = Opinion> + Send + 'static,
    {
        let consulting = &self.0;
        let mut questions = consulting.questions.lock();
        if let Some(answer) = questions.get(evidence) {
            return Ok(answer.clone());
        }
        // One may have ended since: it is remembered before it leaves the map.
        if let Some(judgement) = consulting.remembered(evidence, now) {
            return Ok(watch::channel(Some(judgement)).1);
        }
        let payer = consulting.payer(bearer, now)?;
        if !consulting.shares.lock().begin(payer.call, now) {
            return Err(Reason::ProofsBusy);
        }
        let (sender, answer) = watch::channel(None);
        questions.insert(*evidence, answer.clone());
        drop(questions);
        let question = Consultation {
            consulting: consulting.clone(),
            evidence: *evidence,
            answer: sender,
            payer,
        };
        let asked = ask();
        let limit = consulting.bounds.call_limit;
        consulting.runtime.spawn(async move {
            let opinion = tokio::time::timeout(limit, asked).await;
            question.settle(opinion.unwrap_or(Opinion::Unavailable(Reason::ProofsTimeout)));
        });
        Ok(answer)
    }

    /// How many accepted proofs are remembered, and how many bytes they are taken for.
    #[cfg(test)]
    pub(super) fn held(&self) -> (u64, u64) {
        self.0.accepted.run_pending_tasks();
        (
            self.0.accepted.entry_count(),
            self.0.accepted.weighted_size(),
        )
    }
}

impl Consultation {
    /// Remembers an opinion, then tells those who wait.
    fn settle(self, opinion: Opinion) {
        let consulting = &self.consulting;
        let now = consulting.clock.now();
        let judgement = match opinion {
            Opinion::Holds(facts) if facts.expires_unix_seconds <= now.seconds() => {
                Err(Reason::TokenExpired)
            }
            Opinion::Holds(facts) => Ok(facts),
            Opinion::Refused(reason) => Err(reason),
            Opinion::Unavailable(reason) if is_outage(reason) => Err(reason),
            Opinion::Unavailable(_) => Err(Reason::InternalDefect),
        };
        match &judgement {
            Ok(facts) => {
                consulting.penalties.succeeded(self.payer.refusal);
                if let Some(credential) = self.payer.credential {
                    let identity = consulting.penalties.key(&*facts.subject);
                    consulting.known.insert(credential, identity);
                }
                let end = UnixMillis(facts.expires_unix_seconds.saturating_mul(1000));
                let accepted = Accepted {
                    facts: facts.clone(),
                    asked_again_from: end.min(later(now, consulting.bounds.accepted_limit)),
                };
                consulting.accepted.insert(self.evidence, accepted);
            }
            Err(reason) if is_outage(*reason) => {}
            Err(reason) => {
                consulting.penalties.failed(self.payer.refusal, now);
                let refused = RefusedProof {
                    reason: *reason,
                    asked_again_from: later(now, consulting.bounds.refused_limit),
                };
                consulting.refused.insert(self.evidence, refused);
            }
        }
        self.answer.send_replace(Some(judgement));
    }
}

impl Consulting {
    /// Who pays; or that it must wait.
    fn payer(&self, bearer: ProofBearer<'_>, now: UnixMillis) -> Result<Payer, Reason> {
        let block = address_block(bearer.address);
        let address = self.penalties.key(block);
        let credential = bearer.credential;
        let credential = credential.map(|credential| self.penalties.key((block, credential)));
        let known =
            credential.and_then(|credential| Some((credential, self.known.get(&credential)?)));
        let (refusal, call) = known.unwrap_or((address, address));
        let waits = self.penalties.standing(refusal, now).is_some();
        let may_share = || known.is_none() && self.shares.lock().take_restrained(now);
        match waits && !may_share() {
            true => Err(Reason::ProofsPenalty),
            false => Ok(Payer {
                refusal,
                call,
                credential,
            }),
        }
    }

    fn remembered(&self, evidence: &Evidence, now: UnixMillis) -> Option<Judgement> {
        if let Some(accepted) = self.accepted.get(evidence) {
            if now < accepted.asked_again_from {
                return Some(Ok(accepted.facts));
            }
            self.accepted.invalidate(evidence);
        }
        let refused = self.refused.get(evidence)?;
        (now < refused.asked_again_from).then_some(Err(refused.reason))
    }
}

fn is_outage(reason: Reason) -> bool {
    reason.class() == Some(Class::Unavailable)
}

fn later(now: UnixMillis, by: Duration) -> UnixMillis {
    let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    UnixMillis(now.0.saturating_add(millis))
}
