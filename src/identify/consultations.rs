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
//! share of the questions, and strangers leave a part to callers that are known (`share`, `known`); what is no answer is never a
//! verdict, but it counts against the caller who causes it while others are answered; everything is bounded.

mod known;
mod remembered;
mod share;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::cache::Evidence;
use super::facts::Facts;
use crate::clock::{Clock, UnixMillis};
use crate::limits::{CallerKey, Penalties, address_block};
use crate::lock::Mutex;
use crate::reason::{Class, Reason};

use known::KnownCallers;
use remembered::{RememberedProofs, Weighed};
use share::{CallShares, PayerStanding};

/// All accepted proofs of one party together, by their estimated size.
const ACCEPTED_LIMIT_BYTES: u64 = 64 << 20;
/// All refused ones.
const REFUSED_LIMIT_BYTES: u64 = 4 << 20;

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
    accepted: RememberedProofs<Arc<Facts>>,
    refused: RememberedProofs<Reason>,
    /// Questions under way. Each holds a place, so that there are at most `concurrent_calls`.
    questions: Mutex<ahash::HashMap<Evidence, watch::Receiver<Option<Judgement>>>>,
    shares: Mutex<CallShares>,
    /// Addresses whose proofs were refused: a flood of well-formed nonsense spends its own share.
    penalties: Penalties,
    /// What others show where these come from does not hold them back.
    known: Mutex<KnownCallers>,
}

impl Weighed for Arc<Facts> {
    fn heap_bytes(&self) -> usize {
        self.weight_bytes()
    }
}

impl Weighed for Reason {
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// Who pays for a question.
#[derive(Clone, Copy)]
struct Payer {
    /// For a refusal: the address, or the known credential there.
    refusal: CallerKey,
    /// For the call: the address, or the identity that the known credential proved.
    call: CallerKey,
    address: CallerKey,
    /// The credential at this address.
    credential: Option<CallerKey>,
    standing: PayerStanding,
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
        Consultations::holding(ACCEPTED_LIMIT_BYTES, bounds, clock, runtime)
    }

    /// The same with room for that much of what was accepted.
    pub(super) fn holding(
        accepted_limit_bytes: u64,
        bounds: ConsultationBounds,
        clock: Clock,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        let now = clock.now();
        let accepted = RememberedProofs::new(accepted_limit_bytes, bounds.accepted_limit, now);
        let refused = RememberedProofs::new(REFUSED_LIMIT_BYTES, bounds.refused_limit, now);
        let shares = Mutex::new(CallShares::new(bounds, now));
        let known = Mutex::new(KnownCallers::new(now));
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
        let mut shares = consulting.shares.lock();
        if !shares.begin(payer.call, payer.standing, now) {
            return Err(Reason::ProofsBusy);
        }
        drop(shares);
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
        self.0.accepted.held()
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
        let payer = self.payer;
        match &judgement {
            Ok(facts) => {
                consulting.shares.lock().answered(payer.call, now);
                consulting.penalties.succeeded(payer.refusal);
                let identity = consulting.penalties.key(&*facts.subject);
                let mut known = consulting.known.lock();
                known.add(payer.address, payer.address, now);
                if let Some(credential) = payer.credential {
                    known.add(credential, identity, now);
                }
                drop(known);
                let end = UnixMillis(facts.expires_unix_seconds.saturating_mul(1000));
                consulting
                    .accepted
                    .add(self.evidence, facts.clone(), end, now);
            }
            Err(reason) if is_outage(*reason) => {
                // Where others are answered, it is what this one shows that finds no answer.
                if consulting.shares.lock().answers_others(payer.call, now) {
                    consulting.penalties.failed(payer.refusal, now);
                }
            }
            Err(reason) => {
                consulting.shares.lock().answered(payer.call, now);
                consulting.penalties.failed(payer.refusal, now);
                if payer.refusal == payer.address {
                    consulting.known.lock().forget(payer.address);
                }
                let end = UnixMillis(i64::MAX);
                consulting.refused.add(self.evidence, *reason, end, now);
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
        let mut known = self.known.lock();
        let accepted =
            credential.and_then(|credential| Some((credential, known.find(credential, now)?)));
        let standing = match accepted.is_some() || known.find(address, now).is_some() {
            true => PayerStanding::Known,
            false => PayerStanding::Stranger,
        };
        drop(known);
        let (refusal, call) = accepted.unwrap_or((address, address));
        let waits = self.penalties.standing(refusal, now).is_some();
        let may_share = || accepted.is_none() && self.shares.lock().take_restrained(now);
        match waits && !may_share() {
            true => Err(Reason::ProofsPenalty),
            false => Ok(Payer {
                refusal,
                call,
                address,
                credential,
                standing,
            }),
        }
    }

    fn remembered(&self, evidence: &Evidence, now: UnixMillis) -> Option<Judgement> {
        if let Some(facts) = self.accepted.find(evidence, now) {
            return Some(Ok(facts));
        }
        self.refused.find(evidence, now).map(Err)
    }
}

fn is_outage(reason: Reason) -> bool {
    reason.class() == Some(Class::Unavailable)
}

fn later(now: UnixMillis, by: Duration) -> UnixMillis {
    let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    UnixMillis(now.0.saturating_add(millis))
}
