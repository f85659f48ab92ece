//! Alerts of a part of the tree: what state each is in, and where to look next.
//!
//! What it does: asks for the states that the backend tells one by one, falls back on what it told us by itself, and makes the links from an alert to what may
//! explain it. What it refuses to know: how alerts are listed. Invariants: a state that the backend does not have is `unknown`, as the
//! profile says; one that it could not be asked for is, too, and the reason stands among the errors; so many are asked at most.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::fan_out::{Arrived, Asking, Failed, Gathered, side_by_side, target};
use crate::apps::AppPath;
use crate::audit::{PartRecord, timestamp};
use crate::authorize::Permit;
use crate::federate::{self, Item, Missing};
use crate::identify::Identity;
use crate::memory::coalesce::Reply;
use crate::profiles::{Around, StateSource, TreeResource, TreeSource};
use crate::reason::Reason;

/// States asked one by one for one question. More alerts than people look at.
pub(crate) const ASKED_LIMIT: usize = 500;

/// What was found beside the lists.
#[derive(Default)]
pub(crate) struct States {
    /// By the answer's place and the item's id.
    found: HashMap<(usize, String), State>,
    pub missing: Vec<(usize, Missing)>,
    /// What became of the questions, by the place of the list that they are about.
    parts: BTreeMap<usize, PartRecord>,
}

impl States {
    /// One part for each list whose states were asked for.
    pub(crate) fn into_parts(self) -> Vec<PartRecord> {
        self.parts.into_values().collect()
    }

    fn part(&mut self, place: usize, permit: &Permit) -> &mut PartRecord {
        self.parts.entry(place).or_insert_with(|| PartRecord {
            project: permit.project().map(Into::into),
            reason: Reason::Ok,
            ..PartRecord::unsent(vec![permit.app().as_str().into()])
        })
    }

    /// A question was answered, or why it was not: the first failure stays.
    fn count(&mut self, place: usize, answer: Result<Option<u16>, &Failed>) {
        let Some(part) = self.parts.get_mut(&place) else {
            return;
        };
        let is_well = part.reason == Reason::Ok;
        match answer {
            Ok(status) => {
                part.items.accepted += 1;
                if is_well {
                    part.upstream_status = status.or(part.upstream_status);
                }
            }
            Err(failed) => {
                part.items.rejected += 1;
                if is_well {
                    (part.reason, part.upstream_status) = (failed.reason, failed.status);
                }
            }
        }
    }
}

#[derive(Clone, Default)]
struct State {
    word: Option<String>,
    since: Option<String>,
}

/// Asks for the state of each item whose list does not tell it.
pub(crate) async fn ask(
    asking: &Arc<Asking>,
    identity: &Identity,
    resource: &TreeResource,
    gathered: &Gathered,
) -> States {
    let mut states = States::default();
    let mut targets = Vec::new();
    let mut from = Vec::new();
    for one in &gathered.arrived {
        let Some(source) = resource.sources.get(one.source) else {
            continue;
        };
        // What the backend told us of its own accord; what it answers below is newer.
        // An app beneath with a project of its own speaks of its own alerts, whatever ids it names.
        let tree = asking.snapshot.policy.tree();
        let speaks = |app: &AppPath| {
            tree.find(app).and_then(|node| tree.project_of(node)) == Some(&one.origin.project)
        };
        for alarm in asking
            .shared
            .alert_states
            .of(&one.origin.app)
            .into_iter()
            .filter(|alarm| speaks(&alarm.app))
        {
            let state = State {
                word: Some(alarm.state),
                since: Some(timestamp(alarm.since.0)),
            };
            states.found.entry((one.place, alarm.id)).or_insert(state);
        }
        let Some((state, operation)) = source
            .state
            .as_ref()
            .and_then(|state| Some((state, state.operation?)))
        else {
            continue;
        };
        // What is no list is told when lists are merged.
        let items = federate::items(&one.reply.body, &source.items).unwrap_or_default();
        for id in items.iter().filter_map(|item| item.text(&source.id)) {
            let values = (vec![id.clone()], Vec::new());
            let target = target(
                &asking.snapshot,
                identity,
                asking.now,
                (&one.origin, one.source),
                operation,
                values,
            );
            let Ok(target) = target else { continue };
            states.part(one.place, &target.permit);
            if targets.len() < asking.states_limit {
                targets.push(target);
                from.push((one.place, one.origin.clone(), state, source, id));
                continue;
            }
            let failed = Failed::from(federate::MergeFault::TooMany);
            states.count(one.place, Err(&failed));
            let missing = failed.missing(&one.origin, Some(&source.resource), None);
            states.missing.push((one.place, missing));
            break;
        }
    }
    let answers = side_by_side(asking, targets).await;
    for ((place, origin, state, source, id), answer) in from.into_iter().zip(answers) {
        let status = answer.as_ref().ok().and_then(Reply::upstream_status);
        let read = answer.and_then(|reply| {
            let document: Result<&RawValue, _> = serde_json::from_slice(&reply.body);
            let document = document.map_err(|_| Failed::from(federate::MergeFault::Shape))?;
            let at = |pointer: &str| federate::text_at(document, pointer);
            Ok(State {
                word: at(&state.at).map(|word| said(state, word)),
                since: at(&state.since),
            })
        });
        states.count(place, read.as_ref().map(|_| status));
        match read {
            // The backend knows of no state: it is what we were told, or `unknown`, and nothing is missing.
            Ok(State { word: None, .. }) => {}
            Ok(mut found) => {
                // The backend tells the state alone; we may have been told when it began.
                let told = states
                    .found
                    .remove(&(place, id.clone()))
                    .filter(|told| told.word == found.word);
                found.since = found.since.or(told.and_then(|told| told.since));
                states.found.insert((place, id), found);
            }
            Err(failed) => states.missing.push((
                place,
                failed.missing(&origin, Some(&source.resource), Some(&id)),
            )),
        }
    }
    states
}

/// The backend's word for a state, or ours.
fn said(source: &StateSource, word: String) -> String {
    source.says.get(&word).cloned().unwrap_or(word)
}

/// What is known of an alert besides what its list says of every item.
pub(crate) struct Known {
    pub state: String,
    /// RFC 3339, as the backend or we wrote it.
    pub since: Option<String>,
    /// Down the tree, around its time.
    pub around: Around,
}

/// What is known of one item.
pub(crate) fn known(
    asking: &Asking,
    one: &Arrived,
    source: &TreeSource,
    item: &Item<'_>,
    id: Option<&str>,
    states: &States,
) -> Known {
    let told = id
        .and_then(|id| states.found.get(&(one.place, id.to_owned())))
        .cloned();
    let listed = source
        .state
        .as_ref()
        .filter(|state| state.operation.is_none())
        .and_then(|state| {
            Some(State {
                word: Some(said(state, item.text(&state.at)?)),
                since: item.text(&state.since),
            })
        });
    let state = listed.or(told).unwrap_or_default();
    let since = state
        .since
        .as_deref()
        .and_then(|since| OffsetDateTime::parse(since, &Rfc3339).ok());
    let since =
        since.and_then(|since| i64::try_from(since.unix_timestamp_nanos() / 1_000_000).ok());
    Known {
        state: state.word.unwrap_or_else(|| "unknown".to_owned()),
        around: Around::of(&asking.snapshot.ui, &one.origin.project, since, asking.now),
        since: state.since,
    }
}

/// What an alert says besides what every item does: its state, since when, and links down the tree.
pub(crate) fn members(known: Known) -> Vec<(&'static str, Value)> {
    let Around {
        services,
        dashboards,
        traces,
    } = known.around;
    vec![
        ("state", known.state.into()),
        ("since", known.since.into()),
        (
            "links",
            json!({ "services": services, "dashboards": dashboards, "traces": traces }),
        ),
    ]
}
