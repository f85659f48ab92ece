//! One query to the backend, with the project's key: from a permit to an answer that may be shown.
//!
//! What it does: sends a permitted query, within the caller's share of the backend's rate and once for all who ask the
//! same at the same time, and rewrites its answer. What it refuses to know: the caller's connection. Invariants: nothing
//! of an answer leaves here before credentials were blanked and it was rewritten by its operation's rule; a refused key of ours is never told to the
//! caller as the caller's fault; what is sensitive, and what is no read, is neither shared nor kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};

use super::fair_share::{self, RateBudget};
use super::{naming, reply};
use crate::accept::Call;
use crate::authorize::Permit;
use crate::call::echoes::EchoGuard;
use crate::forward::{self, Answer, Backend, Intake, Repeat, Replayable, Whole};
use crate::identify::Facts;
use crate::limits::{Account, Reservation, Spent};
use crate::media_type::MediaType;
use crate::memory::coalesce;
use crate::memory::coalesce::{Joined, Key, Reply, Source, Unanswered, Writing};
use crate::profiles::{OperationId, ResponseRule, Scope};
use crate::reason::Reason;
use crate::respond::Refusal;
use crate::route::{Lane, Route};
use crate::state::work::{SMALL_BYTES, Work};
use crate::state::{Shared, Snapshot};
use crate::transform::{self, Boundary, Inside, Links, Reference, Rewriting};
use crate::vault::Lease;

/// Who asks, and through which state: the same for all queries of one call.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub shared: &'a Arc<Shared>,
    pub snapshot: &'a Arc<Snapshot>,
    /// The caller that the answer is held for.
    pub account: &'a Account,
    /// Who asks: the budget of the backend's rates is divided among them.
    pub who: &'a Facts,
    /// What the backend's links become: scheme and authority of ours.
    pub ours: &'a str,
    /// The caller's head, of which a list is passed on.
    pub headers: &'a HeaderMap,
}

/// A permitted query, with all that goes with it.
pub(crate) struct Question<'a> {
    pub(crate) asker: Asker<'a>,
    pub call: &'a Call,
    pub permit: &'a Permit,
    pub route: Route,
    pub(crate) lease: Lease,
    pub body: Bytes,
    /// What the body names, if it was read already.
    pub named: Option<&'a BTreeSet<Reference>>,
}

/// Asks the backend, or takes the answer to the same question of another caller with the same permit.
pub(crate) async fn ask(question: Question<'_>) -> Result<Reply, Unanswered> {
    let Question {
        asker,
        call,
        permit,
        ..
    } = &question;
    let Asker {
        shared,
        snapshot,
        account,
        who,
        ..
    } = *asker;
    let checking = || naming::check(&question, shared.clock.now());
    Work::of(shared, who)
        .run(question.body.len() > SMALL_BYTES, checking)
        .await??;
    let operation = snapshot.profile.operation(permit.operation());
    let budget = fair_share::budget(snapshot, call, operation.id, permit.backend());
    let charge = || fair_share::admit(shared, snapshot, &budget, who);
    let is_shared = call.method == Method::GET && question.body.is_empty() && !operation.sensitive;
    let settings = snapshot.query_settings.clone();
    // What writes, and answers of a moment ago with it.
    let writing = !operation.permission.ends_with(".read");
    let _writing = writing.then(|| Writing::begin(&shared.sharing, permit.project()));
    if !is_shared || (!settings.coalesce && settings.cache.is_none()) {
        fair_share::in_turn(shared, &budget, who, charge).await?;
        return UpstreamQuery::new(question, budget.clone())?.run().await;
    }
    let key = Arc::new(key(&question));
    if let Some(most) = settings.cache
        && let Some(reply) = shared
            .sharing
            .kept(&key, most, shared.clock.now(), account.open())
    {
        shared.metrics.query_shared("cached");
        return Ok(reply);
    }
    if !settings.coalesce {
        fair_share::in_turn(shared, &budget, who, charge).await?;
        return UpstreamQuery::new(question, budget.clone())?
            .run_and_keep(&key)
            .await;
    }
    match fair_share::in_turn(shared, &budget, who, || {
        shared.sharing.join(shared.clock.now(), &key, charge)
    })
    .await?
    {
        Joined::Follow(waiting) => {
            shared.metrics.query_shared("coalesced");
            let outcome = waiting.outcome().await;
            if let Err(unanswered) = &outcome
                && unanswered.refusal.reason == Spent::Share.reason()
            {
                // The share that was spent is the other caller's.
                charge()?;
                return UpstreamQuery::new(question, budget.clone())?
                    .run_and_keep(&key)
                    .await;
            }
            outcome.map(|reply| Reply {
                source: Source::Coalesced,
                ..reply
            })
        }
        Joined::Alone => {
            UpstreamQuery::new(question, budget.clone())?
                .run_and_keep(&key)
                .await
        }
        Joined::Lead(leading, waiting) => {
            let errand = UpstreamQuery::new(question, budget.clone())?;
            // A task of its own: others wait for it, and must not fail because this caller goes away. It ends by
            // the upstream's own deadlines, or when no caller is left who waits for it.
            tokio::spawn(async move {
                tokio::select! {
                    outcome = errand.run_and_keep(&key) => leading.land(outcome),
                    () = leading.abandoned() => {}
                }
            });
            waiting.outcome().await
        }
    }
}

fn key(question: &Question<'_>) -> Key {
    let Question {
        asker,
        permit,
        route,
        body,
        ..
    } = question;
    let Asker {
        shared, snapshot, ..
    } = asker;
    Key {
        snapshot: snapshot.number,
        operation: permit.operation(),
        backend: route.backend(),
        project: route.project().map(str::to_owned),
        path_and_query: route.path_and_query().to_owned(),
        app: permit.app().clone(),
        bindings: permit.bindings().to_vec(),
        visible_projects: visible(question),
        named_in_full: permit.named_in_full(),
        ours: asker.ours.to_owned(),
        headers: coalesce::listed(&forward::taken_by_queries(
            &snapshot.profile,
            asker.headers,
            !body.is_empty(),
        )),
        writes: shared.sharing.writes(route.project()),
    }
}

/// The projects that an answer may speak of to this caller.
fn visible(question: &Question<'_>) -> Vec<Arc<str>> {
    let Question { asker, permit, .. } = question;
    let Asker {
        shared,
        snapshot,
        who,
        ..
    } = asker;
    let operation = snapshot.profile.operation(permit.operation());
    match operation.scope {
        Scope::Organization => snapshot
            .policy
            .projects_held(who, operation.id, shared.clock.now()),
        Scope::App | Scope::Project | Scope::Projects => permit.visible_projects().to_vec(),
    }
}

/// One exchange with the backend and what its answer is judged by; nothing in it is borrowed from the caller.
struct UpstreamQuery {
    shared: Arc<Shared>,
    snapshot: Arc<Snapshot>,
    account: Account,
    backend: Arc<Backend>,
    method: Method,
    operation: OperationId,
    budget: RateBudget,
    route: Route,
    lease: Lease,
    rule: ResponseRule,
    visible_projects: Vec<Arc<str>>,
    may_see_secrets: bool,
    ours: String,
    headers: HeaderMap,
    body: Bytes,
    /// For an answer that is large.
    work: Option<Work>,
}

impl UpstreamQuery {
    fn new(question: Question<'_>, budget: RateBudget) -> Result<Self, Refusal> {
        let visible_projects = visible(&question);
        let Question {
            asker,
            call,
            permit,
            route,
            lease,
            body,
            ..
        } = question;
        let (shared, snapshot) = (asker.shared, asker.snapshot);
        let backend = snapshot.endpoint(&route).cloned();
        let backend = backend.ok_or_else(|| Refusal::new(Reason::UpstreamNotConfigured))?;
        let Lane::Terminated(rule) = route.lane() else {
            return Err(Refusal::new(Reason::InternalDefect));
        };
        let operation = snapshot.profile.operation(permit.operation());
        Ok(UpstreamQuery {
            shared: shared.clone(),
            snapshot: snapshot.clone(),
            account: asker.account.clone(),
            backend,
            method: call.method.clone(),
            operation: operation.id,
            budget,
            route,
            lease,
            rule,
            visible_projects,
            // Who may write such a thing has not been given the reading of its secrets.
            may_see_secrets: operation.permission.ends_with(".read") && permit.named_in_full(),
            ours: asker.ours.to_owned(),
            headers: forward::taken_by_queries(&snapshot.profile, asker.headers, !body.is_empty()),
            body,
            work: Some(Work::of(shared, asker.who)),
        })
    }

    async fn run_and_keep(self, key: &Arc<Key>) -> Result<Reply, Unanswered> {
        let (shared, keeps) = (
            self.shared.clone(),
            self.snapshot.query_settings.cache.is_some(),
        );
        let reply = self.run().await?;
        if keeps {
            shared.sharing.keep(key, &reply, shared.clock.now());
        }
        Ok(reply)
    }

    async fn run(mut self) -> Result<Reply, Unanswered> {
        let UpstreamQuery {
            snapshot,
            backend,
            route,
            lease,
            ..
        } = &self;
        let organization = &snapshot.organization;
        let head = forward::http1(
            &self.method,
            route,
            lease,
            backend,
            &snapshot.profile,
            organization,
            &self.headers,
        )
        .map_err(|_| Refusal::new(Reason::InternalDefect))?;
        let mut held = self.account.open();
        let mut intake = Intake {
            limit_bytes: snapshot.limits.response_bytes,
            status_suffices: false,
            reservation: &mut held,
        };
        let repeat = Repeat::of(&self.method);
        let mut body = Replayable::new(Whole(std::mem::take(&mut self.body)));
        let answer = forward::exchange(&self.backend, &head, repeat, &mut body, &mut intake).await;
        let answer = answer.map_err(Refusal::from)?;
        let status = answer.status.as_u16();
        fair_share::learn(&self.shared, &self.budget, &answer);
        let failed = |refusal| Unanswered {
            refusal,
            upstream_status: Some(status),
        };
        let is_large = answer.body.len()
            > if is_coded(&answer) {
                SMALL_BYTES / 16
            } else {
                SMALL_BYTES
            };
        let work = self.work.take();
        let reply = || self.reply(answer, held);
        match work {
            Some(mut work) => work
                .run(is_large, reply)
                .await
                .and_then(|reply| reply)
                .map_err(failed),
            None => reply().map_err(failed),
        }
    }

    fn reply(&self, mut answer: Answer, mut held: Reservation) -> Result<Reply, Refusal> {
        let status = answer.status.as_u16();
        if matches!(status, 401 | 403) {
            let names = self.snapshot.policy.backends();
            self.shared.credential_refused(
                names.told(self.route.backend()).as_deref(),
                self.route.project().unwrap_or("none"),
                &self.lease.fingerprint(),
            );
            return Err(Refusal::new(Reason::CredentialRefusedByUpstream));
        }
        if !forward::is_usable(status) {
            return Err(Refusal::new(Reason::UpstreamAnswerUnusable));
        }
        let plain = match answer
            .headers
            .get(header::CONTENT_ENCODING)
            .map(|value| value.as_bytes())
        {
            None | Some(b"identity") => answer.body.clone(),
            Some(b"gzip") => {
                forward::gunzip(&answer.body, self.snapshot.limits.response_bytes, &mut held)?
            }
            Some(_) => return Err(forward::SendFault::Undecodable.into()),
        };
        let operation = self.snapshot.profile.operation(self.operation);
        // Who may read a project's tokens in full is not shown anything else of ours.
        let shown = self
            .route
            .project()
            .filter(|_| self.rule == ResponseRule::AccessTokens && self.may_see_secrets);
        let mut guard =
            EchoGuard::new(&self.shared, &self.snapshot, &operation.permission).showing(shown);
        guard.headers(&mut answer.headers);
        let plain = guard.body(plain);
        drop(guard);
        let links = links(&self.snapshot.profile.link_hosts, &self.backend, &self.ours);
        let inside = match (operation.scope, self.route.project()) {
            (_, Some(project)) => Inside::Project(project),
            // What was just made is in no policy yet.
            (Scope::Organization, None) if self.rule == ResponseRule::Project => {
                Inside::Organization
            }
            (_, None) => Inside::Projects(&self.visible_projects),
        };
        let (prefix, organization) = (
            &*self.snapshot.profile.query_prefix,
            &*self.snapshot.organization,
        );
        let declared = is_json(&answer);
        let rewriting = Rewriting {
            rule: self.rule,
            links: &links,
            boundary: Boundary {
                prefix,
                organization,
                inside,
            },
            visible_projects: &self.visible_projects,
            may_see_secrets: self.may_see_secrets,
            is_json: declared,
            status,
        };
        let rewritten = transform::rewrite(plain, &rewriting)?;
        let (mut headers, foreign) =
            reply::query_headers(&answer.headers, &links, &rewriting.boundary);
        self.shared
            .metrics
            .foreign_references(rewritten.foreign + foreign);
        if rewritten.body.is_empty() {
            headers.remove(header::CONTENT_TYPE);
        } else if !answer.status.is_success() && !declared {
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            );
        }
        let (status, body) = (answer.status, rewritten.body);
        Ok(Reply {
            status,
            headers,
            body,
            held: Arc::new(held),
            source: Source::Asked,
        })
    }
}

fn is_coded(answer: &Answer) -> bool {
    answer.headers.contains_key(header::CONTENT_ENCODING)
}

fn is_json(answer: &Answer) -> bool {
    let value = answer.headers.get(header::CONTENT_TYPE);
    value.is_some_and(|value| MediaType::glimpse(value.as_bytes()).is_json_like())
}

fn links(hosts: &[String], backend: &Backend, ours: &str) -> Links {
    Links::new(
        hosts.iter().cloned().chain([backend.authority.clone()]),
        ours.to_owned(),
    )
}
