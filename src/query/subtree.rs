//! One question to a part of the tree: which projects, each asked as if the caller had asked it alone, one answer.
//!
//! What it does: gives each project below an app its own permit, route, lease and answer, and has them merged. What it
//! refuses to know: how one project is asked, and how answers are joined. Invariants: a project that the caller may not
//! ask is not mentioned; one that was asked and failed is named; no project is asked without a permit of its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{Method, StatusCode};

use super::alert_status;
use super::alert_status::States;
use super::fan_out::{Arrived, Asking, Failed, Gathered, Target, ask_all};
use super::naming;
use crate::accept::{Call, TreeRequest};
use crate::audit::Items;
use crate::call::answer as written;
use crate::call::body;
use crate::call::context::RequestContext;
use crate::call::exchange::Exchange;
use crate::call::outcome::{Outcome, PartEnd};
use crate::federate::{self, MergeFault, Merged, Missing, Origin, Pile, Series};
use crate::identify::Identity;
use crate::profiles::{TreeResource, TreeShape, TreeSource, UiSpot};
use crate::reason::Reason;
use crate::respond::Refusal;
use crate::state::work::{SMALL_BYTES, Work};

/// Answers a question to a part of the tree. `targets`: the permitted projects, in their order.
pub(crate) async fn answer(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    call: &Call,
    question: &Question<'_>,
    targets: Vec<Target>,
) -> Outcome {
    match answered(exchange, context, call, question, targets).await {
        Ok(outcome) => outcome,
        Err(refusal) => Outcome::from(refusal),
    }
}

/// A question to a part of the tree, and who asks it.
pub(crate) struct Question<'a> {
    pub ask: &'a TreeRequest,
    pub resource: &'a TreeResource,
    pub identity: &'a Identity,
}

async fn answered(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    call: &Call,
    question: &Question<'_>,
    targets: Vec<Target>,
) -> Result<Outcome, Refusal> {
    let Question {
        resource, identity, ..
    } = *question;
    let (snapshot, shared) = (context.snapshot(), context.shared());
    let mut reserved = context.account().open();
    let work = Work::of(shared, identity.facts());
    let body = body::read_query(exchange, work, &mut reserved).await?;
    let posts = call.method == Method::POST;
    if posts && body.is_empty() {
        return Err(Refusal::new(Reason::BodyMalformed));
    }
    let ours = context.arrival().connection.origin(&call.authority);
    let mut asking = Asking::reading(
        (shared, snapshot),
        context.account(),
        identity.facts(),
        &ours,
        context.now(),
    );
    if posts {
        let operation = resource.sources.first().map(|source| source.operation);
        let reading = || {
            operation.map_or(Ok(BTreeSet::new()), |operation| {
                naming::read(snapshot, operation, &body)
            })
        };
        asking.named = Work::of(shared, identity.facts())
            .run(body.len() > SMALL_BYTES, reading)
            .await??;
        asking.body = body;
    }
    let asking = Arc::new(asking);
    let gathered = async {
        let gathered = ask_all(&asking, targets).await;
        let states = match resource.shape {
            TreeShape::Alerts => alert_status::ask(&asking, identity, resource, &gathered).await,
            TreeShape::List | TreeShape::Series => States::default(),
        };
        (gathered, states)
    };
    // Dropping what gathers ends every question on its way.
    let (gathered, states) = match exchange.gone() {
        Some(closed) => tokio::select! {
            gathered = gathered => gathered,
            _ = closed => return Err(body::client_closed()),
        },
        None => gathered.await,
    };
    let bytes: usize = gathered
        .arrived
        .iter()
        .map(|one| one.reply.body.len())
        .sum();
    let merging = || merge(&asking, question, gathered, &states);
    let (whole, parts) = Work::of(shared, identity.facts())
        .run(bytes > SMALL_BYTES, merging)
        .await?;
    let states = states.into_parts();
    let upstream_status = parts.iter().rev().find_map(|part| part.upstream_status);
    exchange.state.known = Some(Outcome {
        parts,
        more: states,
        ..Outcome::of(Ok(())).with_status(upstream_status)
    });
    let answered = match whole {
        Ok(whole) => {
            let document = whole.document.into();
            let outcome =
                written::document_or_wait(exchange, whole.status, document, whole.wait_seconds)
                    .await;
            drop((whole.held, reserved));
            outcome.map_err(|_| body::client_closed())
        }
        Err(refusal) => Err(refusal),
    };
    Ok(exchange.state.settled(answered))
}

/// The whole answer.
struct Whole {
    status: StatusCode,
    /// When the caller may ask again, where all were told to wait.
    wait_seconds: Option<u64>,
    document: String,
    /// What of the memory budget it stands on.
    held: Vec<crate::limits::Reservation>,
}

/// The whole answer, and what became of each question.
fn merge(
    asking: &Asking,
    question: &Question<'_>,
    gathered: Gathered,
    states: &States,
) -> (Result<Whole, Refusal>, Vec<PartEnd>) {
    let Question { ask, resource, .. } = *question;
    let Gathered {
        arrived,
        mut failed,
    } = gathered;
    let mut ends = Vec::with_capacity(arrived.len() + failed.len());
    let pile = || Pile::new(asking.snapshot.limits.response_bytes, asking.account.open());
    let mut fresh = Vec::new();
    let (name, content, held) = match resource.shape {
        TreeShape::Series => {
            let (content, held) =
                series(resource, &arrived, (pile(), pile()), &mut ends, &mut fresh);
            ("data", content, held)
        }
        TreeShape::List | TreeShape::Alerts => {
            let (content, held) = list(
                asking,
                resource,
                &arrived,
                pile(),
                &mut ends,
                &mut fresh,
                states,
            );
            ("items", content, vec![held])
        }
    };
    for (place, fault) in fresh {
        if let Some(one) = arrived.iter().find(|one| one.place == place) {
            let status = Some(one.reply.status.as_u16());
            failed.push((
                place,
                one.origin.clone(),
                one.source,
                Failed {
                    status,
                    ..Failed::from(fault)
                },
            ));
        }
    }
    failed.sort_by_key(|(place, ..)| *place);
    let none = Items::default();
    ends.extend(failed.iter().map(|(place, _, _, failed)| PartEnd {
        place: *place,
        items: none,
        reason: failed.reason,
        upstream_status: failed.status,
    }));
    let total = arrived.len()
        + failed
            .iter()
            .filter(|(place, ..)| arrived.iter().all(|one| one.place != *place))
            .count();
    let (status, wait_seconds) = match failed.len() == total {
        true => match all_failed(&failed) {
            Ok(said) => said,
            Err(refusal) => return (Err(refusal), ends),
        },
        false => (StatusCode::OK, None),
    };
    let several = resource.sources.len() > 1;
    let mut missing: Vec<(usize, Missing)> = failed
        .iter()
        .map(|(place, origin, source, failed)| {
            let source = resource
                .sources
                .get(*source)
                .filter(|_| several)
                .map(|source| source.resource.as_str());
            (*place, failed.missing(origin, source, None))
        })
        .chain(states.missing.iter().cloned())
        .collect();
    missing.sort_by_key(|(place, _)| *place);
    let missing: Vec<Missing> = missing.into_iter().map(|(_, missing)| missing).collect();
    let mut asked: Vec<(usize, &Origin)> =
        arrived.iter().map(|one| (one.place, &one.origin)).collect();
    asked.extend(failed.iter().map(|(place, origin, ..)| (*place, origin)));
    asked.sort_by_key(|(place, _)| *place);
    let mut projects: Vec<&str> = asked.iter().map(|(_, origin)| &*origin.project).collect();
    projects.dedup();
    let merged = Merged {
        app: &ask.app,
        resource: &resource.name,
        projects,
        missing: &missing,
        content: (name, content),
    };
    (
        Ok(Whole {
            status,
            wait_seconds,
            document: merged.write(),
            held,
        }),
        ends,
    )
}

/// What all failures come to: what the backend said to all, where that is the caller's to mend, or a refusal. A caller that
/// is to wait waits for the project that wants the longest.
fn all_failed(
    failed: &[(usize, Origin, usize, Failed)],
) -> Result<(StatusCode, Option<u64>), Refusal> {
    let Some((.., first)) = failed.first() else {
        return Ok((StatusCode::OK, None));
    };
    let same = |field: fn(&Failed) -> (Reason, Option<u16>)| {
        failed.iter().all(|(.., one)| field(one) == field(first))
    };
    let status = first
        .status
        .filter(|_| first.reason == MergeFault::Status.reason())
        .filter(|status| (400..500).contains(status));
    if let Some(status) = status.and_then(|status| StatusCode::from_u16(status).ok())
        && same(|one| (one.reason, one.status))
    {
        let wait_seconds = failed.iter().filter_map(|(.., one)| one.wait_seconds).max();
        return Ok((status, wait_seconds));
    }
    if same(|one| (one.reason, None)) {
        let classes = failed.iter().map(|(.., one)| one.class);
        let slowest = classes.max_by_key(|class| class.retry_after_seconds());
        return Err(Refusal::classed(
            first.reason,
            slowest.unwrap_or(first.class),
        ));
    }
    let reasons: Vec<String> = failed
        .iter()
        .take(8)
        .map(|(_, origin, _, one)| format!("{}: {}", origin.project, one.reason))
        .collect();
    Err(Refusal::new(Reason::ProjectsFailed).because(reasons.join(", ")))
}

type Unfit = Vec<(usize, MergeFault)>;

fn list(
    asking: &Asking,
    resource: &TreeResource,
    arrived: &[Arrived],
    mut pile: Pile,
    ends: &mut Vec<PartEnd>,
    unfit: &mut Unfit,
    states: &States,
) -> (String, crate::limits::Reservation) {
    for one in arrived {
        let Some(source) = resource.sources.get(one.source) else {
            continue;
        };
        let added = federate::items(&one.reply.body, &source.items).and_then(|items| {
            let entries: Vec<String> = items
                .iter()
                .map(|item| {
                    let id = item.text(&source.id);
                    let link = link(
                        asking,
                        &one.origin,
                        source,
                        id.as_deref(),
                        item.text(&source.name).as_deref(),
                    );
                    let more = match resource.shape {
                        TreeShape::Alerts => alert_status::members(alert_status::known(
                            asking,
                            one,
                            source,
                            item,
                            id.as_deref(),
                            states,
                        )),
                        TreeShape::List | TreeShape::Series => Vec::new(),
                    };
                    item.write(&one.origin, link.as_deref(), &more)
                })
                .collect();
            pile.add(&entries).map(|()| entries.len())
        });
        match added {
            Ok(count) => ends.push(good(one, count as u64)),
            Err(fault) => unfit.push((one.place, fault)),
        }
    }
    let (text, held) = pile.finish();
    (format!("[{text}]"), held)
}

pub(crate) fn link(
    asking: &Asking,
    origin: &Origin,
    source: &TreeSource,
    id: Option<&str>,
    name: Option<&str>,
) -> Option<String> {
    let spot = UiSpot {
        project: &origin.project,
        id,
        name,
        window: None,
    };
    asking.snapshot.ui.link(source.page?, &spot)
}

fn series(
    resource: &TreeResource,
    arrived: &[Arrived],
    (pile, logs): (Pile, Pile),
    ends: &mut Vec<PartEnd>,
    unfit: &mut Unfit,
) -> (String, Vec<crate::limits::Reservation>) {
    let mut read = Vec::new();
    let mut places = Vec::new();
    for one in arrived {
        let Some(source) = resource.sources.get(one.source) else {
            continue;
        };
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
            None => ends.push(good(one, series.count())),
            Some((_, fault)) => unfit.push((one.place, *fault)),
        }
    }
    (joined.text, joined.held)
}

fn good(one: &Arrived, count: u64) -> PartEnd {
    let items = Items {
        accepted: count,
        rejected: 0,
    };
    PartEnd {
        place: one.place,
        items,
        reason: Reason::Ok,
        upstream_status: one.reply.upstream_status(),
    }
}
