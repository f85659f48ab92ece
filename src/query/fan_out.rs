//! One question to many projects.
//!
//! What it does: finds the projects at and beneath an app that the caller may ask, and asks them side by side within
//! the bounds. What it refuses to know: what the answers are made into. Invariants: each project has its own permit,
//! route and lease; every one that was asked is among the answers or among the failures.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use tokio::time::Instant;

use super::alert_status;
use super::proxy::{self, Asker, Question};
use crate::accept::{Call, Dialect, QueryRequest, RequestKind, TreeRequest};
use crate::authorize::{Denial, Permit};
use crate::clock::UnixMillis;
use crate::federate::{self, MergeFault, Missing, Origin, origins};
use crate::forward::retry_after;
use crate::identify::{Facts, Identity};
use crate::limits::Account;
use crate::memory::coalesce::Reply;
use crate::profiles::{OperationId, TreeResource};
use crate::reason::{Class, Reason};
use crate::respond::Refusal;
use crate::state::{Shared, Snapshot};
use crate::transform::Reference;

/// The most of the backend's words that are passed on, in characters.
const WORDS_LIMIT: usize = 300;

/// What all questions of one call share.
pub(crate) struct Asking {
    pub shared: Arc<Shared>,
    pub snapshot: Arc<Snapshot>,
    pub account: Account,
    who: Facts,
    ours: String,
    headers: HeaderMap,
    pub body: Bytes,
    /// What the body names: the same for every project.
    pub named: BTreeSet<Reference>,
    pub now: UnixMillis,
    pub deadline: Instant,
    /// The most states that are asked for one by one.
    pub(crate) states_limit: usize,
}

impl Asking {
    /// Of questions that only read and have no body.
    pub(crate) fn reading(
        (shared, snapshot): (&Arc<Shared>, &Arc<Snapshot>),
        account: &Account,
        who: &Facts,
        ours: &str,
        now: UnixMillis,
    ) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        Asking {
            shared: shared.clone(),
            snapshot: snapshot.clone(),
            account: account.clone(),
            who: who.clone(),
            ours: ours.to_owned(),
            headers,
            body: Bytes::new(),
            named: BTreeSet::new(),
            now,
            deadline: Instant::now() + snapshot.query_settings.deadline,
            states_limit: alert_status::ASKED_LIMIT,
        }
    }

    /// Waits no longer than this, and asks for no more states one by one.
    pub(crate) fn within(self, patience: Duration, states_limit: usize) -> Self {
        Asking {
            deadline: self.deadline.min(Instant::now() + patience),
            states_limit,
            ..self
        }
    }

    fn asker(&self) -> Asker<'_> {
        Asker {
            shared: &self.shared,
            snapshot: &self.snapshot,
            account: &self.account,
            who: &self.who,
            ours: &self.ours,
            headers: &self.headers,
        }
    }
}

/// One project, and one thing to ask it.
pub(crate) struct Target {
    pub origin: Origin,
    /// Its place among the resource's sources.
    source: usize,
    call: Call,
    pub permit: Permit,
}

/// A project's answer; a success of the backend's.
pub(crate) struct Arrived {
    /// Its place among the targets.
    pub place: usize,
    pub origin: Origin,
    pub source: usize,
    pub reply: Reply,
}

/// Why a project has none.
pub(crate) struct Failed {
    pub class: Class,
    pub reason: Reason,
    pub status: Option<u16>,
    /// When the backend may be asked again, if it said so, in seconds.
    pub wait_seconds: Option<u64>,
    pub message: String,
}

/// The permitted ones of them, each with all that it is asked.
pub(crate) fn targets(
    snapshot: &Snapshot,
    identity: &Identity,
    ask: &TreeRequest,
    resource: &TreeResource,
    now: UnixMillis,
) -> Result<Vec<Target>, Denial> {
    let deny = |reason| Denial {
        reason,
        bindings: Vec::new(),
    };
    let mut targets = Vec::new();
    let mut refused = None;
    for origin in origins(snapshot.policy.tree(), &ask.app).map_err(deny)? {
        for (source, row) in resource.sources.iter().enumerate() {
            match target(
                snapshot,
                identity,
                now,
                (&origin, source),
                row.operation,
                (Vec::new(), ask.query.clone()),
            ) {
                Ok(target) => targets.push(target),
                Err(denial) => drop(refused.get_or_insert(denial)),
            }
        }
    }
    if targets.is_empty() {
        return Err(refused.unwrap_or_else(|| deny(Reason::AppWithoutProject)));
    }
    Ok(targets)
}

/// One question to one project, if the caller may ask it. `values`: the path's parameters and the query's pairs.
pub(crate) fn target(
    snapshot: &Snapshot,
    identity: &Identity,
    now: UnixMillis,
    (origin, source): (&Origin, usize),
    operation: OperationId,
    values: (Vec<String>, Vec<(String, String)>),
) -> Result<Target, Denial> {
    let row = snapshot.profile.operation(operation);
    let (parameters, query) = values;
    let call = Call {
        method: row.method.clone(),
        path: row.path(Some(&origin.project), &parameters),
        authority: String::new(),
        dialect: Dialect::Query,
        kind: RequestKind::Query(QueryRequest {
            operation,
            organization: snapshot.organization.clone(),
            project: Some(origin.project.to_string()),
            parameters,
            query,
        }),
    };
    let permit = snapshot.policy.authorize(identity, &call, now)?;
    Ok(Target {
        origin: origin.clone(),
        source,
        call,
        permit,
    })
}

/// What came of all targets, by their places.
pub(crate) struct Gathered {
    pub arrived: Vec<Arrived>,
    pub failed: Vec<(usize, Origin, usize, Failed)>,
}

pub(crate) async fn ask_all(asking: &Arc<Asking>, targets: Vec<Target>) -> Gathered {
    let from: Vec<(Origin, usize)> = targets
        .iter()
        .map(|target| (target.origin.clone(), target.source))
        .collect();
    let answers = side_by_side(asking, targets).await;
    let mut gathered = Gathered {
        arrived: Vec::new(),
        failed: Vec::new(),
    };
    for (place, ((origin, source), answer)) in from.into_iter().zip(answers).enumerate() {
        match answer {
            Ok(reply) => gathered.arrived.push(Arrived {
                place,
                origin,
                source,
                reply,
            }),
            Err(failed) => gathered.failed.push((place, origin, source, failed)),
        }
    }
    gathered
}

/// Asks all targets within the bounds; the answers are in their order.
pub(crate) async fn side_by_side(
    asking: &Arc<Asking>,
    targets: Vec<Target>,
) -> Vec<Result<Reply, Failed>> {
    let parallel = asking.snapshot.query_settings.parallel_projects;
    let answers = federate::gather(targets, parallel, asking.deadline, |target| {
        one(asking.clone(), target)
    })
    .await
    .into_iter();
    answers
        .map(|answer| answer.unwrap_or_else(|lapse| Err(Failed::from(lapse.reason()))))
        .collect()
}

async fn one(asking: Arc<Asking>, target: Target) -> Result<Reply, Failed> {
    let Target { call, permit, .. } = &target;
    let snapshot = &asking.snapshot;
    let route = snapshot.route(permit, call).map_err(Failed::from)?;
    let lease = snapshot
        .vault
        .lend(permit, &route)
        .map_err(|fault| Failed::from(Refusal::from(fault)))?;
    let question = Question {
        asker: asking.asker(),
        call,
        permit,
        route,
        lease,
        body: asking.body.clone(),
        named: Some(&asking.named),
    };
    let reply = proxy::ask(question).await.map_err(|unanswered| Failed {
        status: unanswered.upstream_status,
        ..Failed::from(unanswered.refusal)
    })?;
    if reply.status.is_success() {
        Ok(reply)
    } else {
        Err(Failed::said(&reply))
    }
}

impl Failed {
    fn new(class: Class, reason: Reason) -> Self {
        Failed {
            class,
            reason,
            status: None,
            wait_seconds: None,
            message: class.words().to_owned(),
        }
    }

    /// The backend said no, in its own words.
    fn said(reply: &Reply) -> Self {
        #[derive(serde::Deserialize)]
        struct Errors {
            errors: Vec<String>,
        }
        let words = serde_json::from_slice::<Errors>(&reply.body)
            .ok()
            .and_then(|said| said.errors.into_iter().next());
        let words = words.map(|words| {
            words
                .chars()
                .filter(|each| !each.is_control())
                .take(WORDS_LIMIT)
                .collect()
        });
        let message = words.unwrap_or_else(|| {
            reply
                .status
                .canonical_reason()
                .unwrap_or("refused")
                .to_lowercase()
        });
        let status = Some(reply.status.as_u16());
        let wait_seconds = reply
            .headers
            .contains_key(header::RETRY_AFTER)
            .then(|| retry_after(&reply.headers));
        Failed {
            status,
            wait_seconds,
            message,
            ..Failed::from(MergeFault::Status)
        }
    }

    pub(crate) fn missing(
        &self,
        origin: &Origin,
        resource: Option<&str>,
        item: Option<&str>,
    ) -> Missing {
        Missing {
            origin: origin.clone(),
            resource: resource.map(str::to_owned),
            item: item.map(str::to_owned),
            reason: self.reason,
            status: self.status,
            message: self.message.clone(),
        }
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Failed::new(refusal.class, refusal.reason)
    }
}

impl From<Reason> for Failed {
    fn from(reason: Reason) -> Self {
        Failed::from(Refusal::new(reason))
    }
}

impl From<MergeFault> for Failed {
    fn from(fault: MergeFault) -> Self {
        Failed::from(fault.reason())
    }
}
