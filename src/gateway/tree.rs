//! One question to a part of the tree: which projects, each asked as if the caller had asked it alone, one answer.
//!
//! What it does: gives each project below an app its own permit, route, lease and answer, and has them merged. What it
//! refuses to know: how one project is asked, and how answers are joined. Invariants: a project that the caller may not
//! ask is not mentioned; one that was asked and failed is named; nobody is asked for without a permit of that project's.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use pingora_proxy::Session;
use tokio::time::Instant;

use super::asking::{self, Question, Reply};
use super::large::{SMALL_BYTES, Work};
use super::states::{self, States};
use super::walk::Walk;
use super::{Core, House, answer as written, lanes, naming};
use crate::accept::{Arrival, Ask, Call, Dialect, QueryAsk, TreeAsk};
use crate::apps::{AppPath, NodeId, Tree};
use crate::audit::Items;
use crate::authorize::{Denial, Permit};
use crate::clock::UnixMillis;
use crate::federate::{self, MergeFault, Merged, Missing, Origin, Pile, Series};
use crate::identify::{Facts, Identity};
use crate::limits::Account;
use crate::profiles::{OperationId, TreeResource, TreeShape, TreeSource, UiSpot};
use crate::reason::{Class, Reason};
use crate::respond::Refusal;
use crate::route;
use crate::transform::Reference;

/// The most of the backend's words that are passed on, in characters.
const WORDS_LIMIT: usize = 300;

/// What all questions of one call share.
pub(super) struct Asking {
    pub core: Arc<Core>,
    pub house: Arc<House>,
    account: Account,
    who: Facts,
    ours: String,
    headers: HeaderMap,
    body: Bytes,
    /// What the body names: the same for every project.
    named: BTreeSet<Reference>,
    pub now: UnixMillis,
    pub deadline: Instant,
    /// The most states that are asked for one by one.
    pub states_limit: usize,
}

impl Asking {
    /// Of questions that only read and have no body.
    pub fn reading(
        (core, house): (&Arc<Core>, &Arc<House>),
        account: &Account,
        who: &Facts,
        ours: &str,
        now: UnixMillis,
    ) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        Asking {
            core: core.clone(),
            house: house.clone(),
            account: account.clone(),
            who: who.clone(),
            ours: ours.to_owned(),
            headers,
            body: Bytes::new(),
            named: BTreeSet::new(),
            now,
            deadline: Instant::now() + house.query_settings.deadline,
            states_limit: states::ASKED_LIMIT,
        }
    }

    /// Waits no longer than this, and asks for no more states one by one.
    pub fn within(self, patience: Duration, states_limit: usize) -> Self {
        Asking { deadline: self.deadline.min(Instant::now() + patience), states_limit, ..self }
    }
}

/// One project, and one thing to ask it.
pub(super) struct Target {
    pub origin: Origin,
    /// Its place among the resource's sources.
    source: usize,
    call: Call,
    pub permit: Permit,
}

/// A project's answer; a success of the backend's.
pub(super) struct Arrived {
    /// Its place among the targets.
    pub place: usize,
    pub origin: Origin,
    pub source: usize,
    pub reply: Reply,
}

/// Why a project has none.
pub(super) struct Failed {
    pub class: Class,
    pub reason: Reason,
    pub status: Option<u16>,
    pub message: String,
}

/// Answers a question to a part of the tree.
pub async fn answer(
    session: &mut Session,
    walk: &mut Walk,
    arrival: &Arrival,
    call: &Call,
    ask: &TreeAsk,
    identity: &Identity,
) -> Result<(), Refusal> {
    let (house, core, now) = (walk.house.clone(), walk.core().clone(), walk.now());
    let resource = house.profile.tree_resource(&call.method, &ask.resource);
    let resource = resource.ok_or_else(|| Refusal::new(Reason::PathUnknown))?;
    let targets = targets(&house, identity, ask, resource, now).map_err(|denial| {
        walk.note_denial(&denial);
        Refusal::from(&denial)
    })?;
    walk.note_tree(&ask.app, targets.iter().map(|target| &target.permit));
    let mut reserved = walk.account().open();
    let work = Work::of(&core, identity.facts());
    let body = lanes::read_query(session, walk, arrival, work, &mut reserved).await?;
    let posts = call.method == Method::POST;
    if posts && body.is_empty() {
        return Err(Refusal::new(Reason::BodyMalformed));
    }
    let ours = arrival.connection.origin(&call.authority);
    let mut asking = Asking::reading((&core, &house), walk.account(), identity.facts(), &ours, now);
    if posts {
        let operation = resource.sources.first().map(|source| source.operation);
        let reading = || operation.map_or(Ok(BTreeSet::new()), |operation| naming::read(&house, operation, &body));
        asking.named = Work::of(&core, identity.facts()).run(body.len() > SMALL_BYTES, reading).await??;
        asking.body = body;
    }
    let asking = Arc::new(asking);
    let gathered = async {
        let gathered = ask_all(&asking, targets).await;
        let states = match resource.shape {
            TreeShape::Alerts => states::ask(&asking, identity, resource, &gathered).await,
            TreeShape::List | TreeShape::Series => States::default(),
        };
        (gathered, states)
    };
    // Dropping what gathers ends every question on its way.
    let (gathered, states) = match session.downstream_session.watch_h2_stream_close() {
        Some(closed) => tokio::select! {
            gathered = gathered => gathered,
            _ = closed => return Err(lanes::client_closed()),
        },
        None => gathered.await,
    };
    let bytes: usize = gathered.arrived.iter().map(|one| one.reply.body.len()).sum();
    let merging = || merge(&asking, walk, ask, resource, gathered, &states);
    let whole = Work::of(&core, identity.facts()).run(bytes > SMALL_BYTES, merging).await??;
    let outcome = written::document(session, walk, whole.status, whole.document.into()).await;
    drop((whole.held, reserved));
    outcome.map_err(|_| lanes::client_closed())
}

/// The projects at and beneath an app, in the tree's order: its own or its nearest ancestor's first.
pub(super) fn origins(tree: &Tree, app: &AppPath) -> Result<Vec<Origin>, Reason> {
    let node = tree.find(app).ok_or(Reason::AppUnknown)?;
    let above = tree.project_of(node).and_then(|project| Some((tree.home(project)?, project)));
    let above = above.filter(|(home, _)| !tree.contains(node, *home));
    let beneath = tree.homes().filter(|(home, _)| tree.contains(node, *home));
    let origin = |(home, project): (NodeId, &Arc<str>)| {
        Some(Origin { app: tree.node(home)?.path.clone(), project: project.clone() })
    };
    Ok(above.into_iter().chain(beneath).filter_map(origin).collect())
}

/// The permitted ones of them, each with all that it is asked.
pub(super) fn targets(
    house: &House,
    identity: &Identity,
    ask: &TreeAsk,
    resource: &TreeResource,
    now: UnixMillis,
) -> Result<Vec<Target>, Denial> {
    let deny = |reason| Denial { reason, bindings: Vec::new() };
    let mut targets = Vec::new();
    let mut refused = None;
    for origin in origins(house.policy.tree(), &ask.app).map_err(deny)? {
        for (source, row) in resource.sources.iter().enumerate() {
            match target(house, identity, now, (&origin, source), row.operation, (Vec::new(), ask.query.clone())) {
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
pub(super) fn target(
    house: &House,
    identity: &Identity,
    now: UnixMillis,
    (origin, source): (&Origin, usize),
    operation: OperationId,
    values: (Vec<String>, Vec<(String, String)>),
) -> Result<Target, Denial> {
    let row = house.profile.operation(operation);
    let (parameters, query) = values;
    let call = Call {
        method: row.method.clone(),
        path: row.path(Some(&origin.project), &parameters),
        authority: String::new(),
        dialect: Dialect::Query,
        ask: Ask::Query(QueryAsk {
            operation,
            organization: house.organization.clone(),
            project: Some(origin.project.to_string()),
            parameters,
            query,
        }),
    };
    let permit = house.policy.authorize(identity, &call, now)?;
    Ok(Target { origin: origin.clone(), source, call, permit })
}

/// What came of all targets, by their places.
pub(super) struct Gathered {
    pub arrived: Vec<Arrived>,
    pub failed: Vec<(usize, Origin, usize, Failed)>,
}

pub(super) async fn ask_all(asking: &Arc<Asking>, targets: Vec<Target>) -> Gathered {
    let from: Vec<(Origin, usize)> = targets.iter().map(|target| (target.origin.clone(), target.source)).collect();
    let answers = side_by_side(asking, targets).await;
    let mut gathered = Gathered { arrived: Vec::new(), failed: Vec::new() };
    for (place, ((origin, source), answer)) in from.into_iter().zip(answers).enumerate() {
        match answer {
            Ok(reply) => gathered.arrived.push(Arrived { place, origin, source, reply }),
            Err(failed) => gathered.failed.push((place, origin, source, failed)),
        }
    }
    gathered
}

/// Asks all targets within the bounds; the answers are in their order.
pub(super) async fn side_by_side(asking: &Arc<Asking>, targets: Vec<Target>) -> Vec<Result<Reply, Failed>> {
    let parallel = asking.house.query_settings.parallel_projects;
    let answers =
        federate::gather(targets, parallel, asking.deadline, |target| one(asking.clone(), target)).await.into_iter();
    answers.map(|answer| answer.unwrap_or_else(|lapse| Err(Failed::from(lapse.reason())))).collect()
}

async fn one(asking: Arc<Asking>, target: Target) -> Result<Reply, Failed> {
    let Asking { core, house, account, who, ours, headers, body, named, .. } = &*asking;
    let Target { call, permit, .. } = &target;
    let defect = || Failed::from(Reason::InternalDefect);
    let route = route::route(permit, call, &house.profile, &house.organization).ok_or_else(defect)?;
    let lease = house.vault.lend(permit, &route).map_err(|fault| Failed::from(Refusal::from(fault)))?;
    let (body, named) = (body.clone(), Some(named));
    let question = Question { core, house, account, call, who, permit, route, lease, ours, headers, body, named };
    let reply = asking::ask(question)
        .await
        .map_err(|unanswered| Failed { status: unanswered.upstream_status, ..Failed::from(unanswered.refusal) })?;
    if reply.status.is_success() { Ok(reply) } else { Err(Failed::said(&reply)) }
}

impl Failed {
    fn new(class: Class, reason: Reason) -> Self {
        Failed { class, reason, status: None, message: class.words().to_owned() }
    }

    /// The backend said no, in its own words.
    fn said(reply: &Reply) -> Self {
        #[derive(serde::Deserialize)]
        struct Errors {
            errors: Vec<String>,
        }
        let words = serde_json::from_slice::<Errors>(&reply.body).ok().and_then(|said| said.errors.into_iter().next());
        let words = words.map(|words| words.chars().filter(|each| !each.is_control()).take(WORDS_LIMIT).collect());
        let message = words.unwrap_or_else(|| reply.status.canonical_reason().unwrap_or("refused").to_lowercase());
        let status = Some(reply.status.as_u16());
        Failed { status, message, ..Failed::from(MergeFault::Status) }
    }

    pub fn missing(&self, origin: &Origin, resource: Option<&str>, item: Option<&str>) -> Missing {
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

/// The whole answer.
struct Whole {
    status: StatusCode,
    document: String,
    /// What of the memory budget it stands on.
    held: Vec<crate::limits::Reservation>,
}

fn merge(
    asking: &Asking,
    walk: &mut Walk,
    ask: &TreeAsk,
    resource: &TreeResource,
    gathered: Gathered,
    states: &States,
) -> Result<Whole, Refusal> {
    let Gathered { arrived, mut failed } = gathered;
    let pile = || Pile::new(asking.house.limits.response_bytes, asking.account.open());
    let mut fresh = Vec::new();
    let (name, content, held) = match resource.shape {
        TreeShape::Series => {
            let (content, held) = series(resource, &arrived, (pile(), pile()), walk, &mut fresh);
            ("data", content, held)
        }
        TreeShape::List | TreeShape::Alerts => {
            let (content, held) = list(asking, resource, &arrived, pile(), walk, &mut fresh, states);
            ("items", content, vec![held])
        }
    };
    for (place, fault) in fresh {
        if let Some(one) = arrived.iter().find(|one| one.place == place) {
            let status = Some(one.reply.status.as_u16());
            failed.push((place, one.origin.clone(), one.source, Failed { status, ..Failed::from(fault) }));
        }
    }
    failed.sort_by_key(|(place, ..)| *place);
    let none = Items { accepted: 0, rejected: 0 };
    for (place, _, _, failed) in &failed {
        walk.note_part(*place, none, failed.reason, failed.status);
    }
    let total =
        arrived.len() + failed.iter().filter(|(place, ..)| arrived.iter().all(|one| one.place != *place)).count();
    let status = if failed.len() == total { all_failed(&failed)? } else { StatusCode::OK };
    let several = resource.sources.len() > 1;
    let mut missing: Vec<(usize, Missing)> = failed
        .iter()
        .map(|(place, origin, source, failed)| {
            let source = resource.sources.get(*source).filter(|_| several).map(|source| source.resource.as_str());
            (*place, failed.missing(origin, source, None))
        })
        .chain(states.missing.iter().cloned())
        .collect();
    missing.sort_by_key(|(place, _)| *place);
    let missing: Vec<Missing> = missing.into_iter().map(|(_, missing)| missing).collect();
    let mut asked: Vec<(usize, &Origin)> = arrived.iter().map(|one| (one.place, &one.origin)).collect();
    asked.extend(failed.iter().map(|(place, origin, ..)| (*place, origin)));
    asked.sort_by_key(|(place, _)| *place);
    let mut projects: Vec<&str> = asked.iter().map(|(_, origin)| &*origin.project).collect();
    projects.dedup();
    let merged =
        Merged { app: &ask.app, resource: &resource.name, projects, missing: &missing, content: (name, content) };
    Ok(Whole { status, document: merged.write(), held })
}

/// What all failures come to: what the backend said to all, where that is the caller's to mend, or a refusal.
fn all_failed(failed: &[(usize, Origin, usize, Failed)]) -> Result<StatusCode, Refusal> {
    let Some((.., first)) = failed.first() else { return Ok(StatusCode::OK) };
    let same = |field: fn(&Failed) -> (Reason, Option<u16>)| failed.iter().all(|(.., one)| field(one) == field(first));
    let status = first
        .status
        .filter(|_| first.reason == MergeFault::Status.reason())
        .filter(|status| (400..500).contains(status));
    if let Some(status) = status.and_then(|status| StatusCode::from_u16(status).ok())
        && same(|one| (one.reason, one.status))
    {
        return Ok(status);
    }
    if same(|one| (one.reason, None)) {
        return Err(Refusal::classed(first.reason, first.class));
    }
    let reasons: Vec<String> =
        failed.iter().take(8).map(|(_, origin, _, one)| format!("{}: {}", origin.project, one.reason)).collect();
    Err(Refusal::new(Reason::ProjectsFailed).because(reasons.join(", ")))
}

type Unfit = Vec<(usize, MergeFault)>;

fn list(
    asking: &Asking,
    resource: &TreeResource,
    arrived: &[Arrived],
    mut pile: Pile,
    walk: &mut Walk,
    unfit: &mut Unfit,
    states: &States,
) -> (String, crate::limits::Reservation) {
    for one in arrived {
        let Some(source) = resource.sources.get(one.source) else { continue };
        let added = federate::items(&one.reply.body, &source.items).and_then(|items| {
            let entries: Vec<String> = items
                .iter()
                .map(|item| {
                    let id = item.text(&source.id);
                    let link = link(asking, &one.origin, source, id.as_deref(), item.text(&source.name).as_deref());
                    let more = match resource.shape {
                        TreeShape::Alerts => {
                            states::members(states::known(asking, one, source, item, id.as_deref(), states))
                        }
                        TreeShape::List | TreeShape::Series => Vec::new(),
                    };
                    item.write(&one.origin, link.as_deref(), &more)
                })
                .collect();
            pile.add(&entries).map(|()| entries.len())
        });
        match added {
            Ok(count) => note_good(walk, one, count as u64),
            Err(fault) => unfit.push((one.place, fault)),
        }
    }
    let (text, held) = pile.finish();
    (format!("[{text}]"), held)
}

pub(super) fn link(
    asking: &Asking,
    origin: &Origin,
    source: &TreeSource,
    id: Option<&str>,
    name: Option<&str>,
) -> Option<String> {
    let spot = UiSpot { project: &origin.project, id, name, window: None };
    asking.house.ui.link(source.page?, &spot)
}

fn series(
    resource: &TreeResource,
    arrived: &[Arrived],
    (pile, logs): (Pile, Pile),
    walk: &mut Walk,
    unfit: &mut Unfit,
) -> (String, Vec<crate::limits::Reservation>) {
    let mut read = Vec::new();
    let mut places = Vec::new();
    for one in arrived {
        let Some(source) = resource.sources.get(one.source) else { continue };
        match Series::read(one.origin.clone(), &one.reply.body, &source.items) {
            Ok(series) => {
                places.push(one);
                read.push(series);
            }
            Err(fault) => unfit.push((one.place, fault)),
        }
    }
    let joined = Series::join(&read, pile, logs);
    for (at, (one, series)) in places.into_iter().zip(&read).enumerate() {
        match joined.unfit.iter().find(|(place, _)| *place == at) {
            None => note_good(walk, one, series.count()),
            Some((_, fault)) => unfit.push((one.place, *fault)),
        }
    }
    (joined.text, joined.held)
}

fn note_good(walk: &mut Walk, one: &Arrived, count: u64) {
    let items = Items { accepted: count, rejected: 0 };
    walk.note_part(one.place, items, Reason::Ok, Some(one.reply.status.as_u16()));
}
