//! The alert inlet: a message of the backend's webhook goes to the destinations that the app's own policy names.
//!
//! What it does: identifies the webhook, reads its message, notes the alert's state, adds what we know, and passes it on
//! to all destinations at once. What it refuses to know: how a destination is reached, and what people do then.
//! Invariants: "taken" is said only when every destination took the message: until then the backend comes again, and
//! only those get it that did not; a message that was passed on is not passed on again within the replay window, as far
//! as it is remembered (when the memory is full, the app with the most loses its oldest, which would be passed on once more: an alert
//! twice is better than none); nothing in a message decides where it goes.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::message::{DeepLinks, Enriched, owners};
use crate::accept::{AlertRequest, Caller, Protocol};
use crate::apps::NodeId;
use crate::audit::{Items, timestamp};
use crate::call::context::RequestContext;
use crate::call::echoes::EchoGuard;
use crate::call::exchange::Exchange;
use crate::call::outcome::{Outcome, PartEnd};
use crate::call::throttle::Throttle;
use crate::call::{answer, body};
use crate::clock::UnixMillis;
use crate::forward::{SendFault, Webhook};
use crate::identify::{Identity, strict_object};
use crate::limits::{Charge, Limits, Quota};
use crate::memory::PartKey;
use crate::memory::passing::Underway;
use crate::profiles::AlertMessage;
use crate::reason::Reason;
use crate::respond::Refusal;
use crate::state::{Shared, Snapshot};

/// What the record calls it.
pub(crate) const OPERATION: &str = "alerts.receive";

/// The largest message: far above any template, small enough to be passed on whole.
const MESSAGE_LIMIT_BYTES: u64 = 256 << 10;
/// What a message of many small values may take in memory, for each of its bytes.
const PARSED_BYTES_PER_BYTE: u64 = 16;

/// Messages about one app: one a second, and as many at once as come in a minute.
const RATE: Quota = Quota {
    items_per_second: Some(1),
    bytes_per_second: None,
    burst: Duration::from_secs(60),
};

/// What became of a message that is not to come again.
#[derive(Clone, Copy)]
enum Delivery {
    /// Every destination took it.
    Delivered,
    /// The app has no destination; its state is known.
    Kept,
    /// It was passed on already.
    Repeated,
}

impl Delivery {
    fn word(self) -> &'static str {
        match self {
            Delivery::Delivered => "delivered",
            Delivery::Kept => "kept",
            Delivery::Repeated => "repeated",
        }
    }
}

/// The app whose webhook this is. It proves nothing else.
pub(crate) fn identify(
    snapshot: &Snapshot,
    caller: Caller,
    ask: &AlertRequest,
) -> Result<(Identity, NodeId), Refusal> {
    let identified = snapshot.identifier.identify_webhook(caller, &ask.app);
    let identity = identified.map_err(|rejection| Refusal::from(&rejection))?;
    // A configuration is taken over only if all its webhooks' apps exist.
    let node = snapshot
        .policy
        .tree()
        .find(&ask.app)
        .ok_or_else(|| Refusal::new(Reason::AppUnknown))?;
    Ok((identity, node))
}

/// The destinations of an app's alerts.
fn destinations(snapshot: &Snapshot, node: NodeId) -> Vec<String> {
    snapshot
        .policy
        .tree()
        .node(node)
        .map(|node| node.destinations.clone())
        .unwrap_or_default()
}

/// Receives an identified webhook's message, passes it on and answers.
pub(crate) async fn receive(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    ask: &AlertRequest,
    (identity, node): (&Identity, NodeId),
) -> Outcome {
    let throttle = Throttle::identity(context, identity.facts());
    let taken = match throttle.check(context) {
        Ok(()) => take_in(exchange, context, ask, node).await,
        Err(refusal) => Err(refusal),
    };
    throttle.settle(context, &taken);
    let word = match &taken {
        Ok(delivery) => delivery.word(),
        Err(refusal) if refusal.class.is_callers() => "refused",
        Err(_) => "failed",
    };
    context.shared().metrics.alert(ask.app.as_str(), word);
    let answered = match taken {
        Ok(delivery) => {
            let page = json!({ "status": delivery.word() });
            answer::own(exchange, page)
                .await
                .map_err(|_| body::client_closed())
        }
        Err(refusal) => Err(refusal),
    };
    exchange.state.settled(answered)
}

async fn take_in(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    ask: &AlertRequest,
    node: NodeId,
) -> Result<Delivery, Refusal> {
    if let Some(fault) = ask.fault {
        return Err(fault.into());
    }
    let (snapshot, shared) = (context.snapshot(), context.shared());
    let app = ask.app.as_str();
    let charge = Charge {
        key: format!("alerts of {app}").into(),
        quota: RATE,
        items: 1,
        bytes: 0,
    };
    let over = shared.meter.take(&[charge], shared.clock.now()).await;
    over.map_err(|over| Refusal::wait(Reason::AlertRate, over.retry_after_seconds))?;
    let mut held = context.account().open();
    let limits = Limits {
        body_bytes: snapshot.limits.body_bytes.min(MESSAGE_LIMIT_BYTES),
        ..(*snapshot.limits).clone()
    };
    let body = body::read_within(exchange, Protocol::Http, &mut held, &limits).await?;
    held.grow((body.len() as u64).saturating_mul(PARSED_BYTES_PER_BYTE))?;
    // What is passed on leaves the gateway, and what is remembered is shown.
    let body = EchoGuard::new(shared, snapshot, "alert").body(body);
    let malformed = || Refusal::new(Reason::AlertMalformed);
    let message = Value::Object(strict_object(&body).ok_or_else(malformed)?);
    let told = AlertMessage::read(&message, &snapshot.alert_layout);
    drop(message);
    let now = shared.clock.now();
    let window = i64::try_from(snapshot.replay_window.as_millis()).unwrap_or(i64::MAX);
    if told
        .time
        .is_some_and(|time| time.0.abs_diff(now.0) > window.unsigned_abs())
    {
        return Err(Refusal::new(Reason::AlertStale));
    }
    let sender = shared.passed_on.sender(app);
    let whole = PartKey::new(sender, &["alert", app], std::slice::from_ref(&body));
    let underway = Underway::begin(&shared.passing, whole);
    let underway = underway.ok_or_else(|| Refusal::new(Reason::AlertUnderway))?;
    if shared.passed_on.find(&whole, now).is_some() {
        return Ok(Delivery::Repeated);
    }
    shared.alert_states.note(&ask.app, &told, now);
    let names = destinations(snapshot, node);
    if names.is_empty() {
        return Ok(Delivery::Kept);
    }
    let until = UnixMillis(now.0.saturating_add(window));
    // As long as its own time, which may lie ahead of ours, would let it in.
    let welcome = told
        .time
        .map(|time| UnixMillis(time.0.saturating_add(window).saturating_add(1)));
    let until = welcome.map_or(until, |welcome| until.max(welcome));
    let request_id = &exchange.state.request_id;
    let enriched = enriched(context, request_id, ask, node, &body, &told).ok_or_else(malformed)?;
    pass_on(exchange, context, &names, app, &body, enriched, until).await?;
    shared.passed_on.remember(whole, None, until, now);
    for webhook in names
        .iter()
        .filter_map(|name| snapshot.destinations.get(name))
    {
        shared
            .passed_on
            .forget(&destination_key(shared, app, webhook, &body));
    }
    drop(underway);
    Ok(Delivery::Delivered)
}

/// Names a message at one destination: one that has moved is another one.
fn destination_key(shared: &Shared, app: &str, webhook: &Webhook, body: &Bytes) -> PartKey {
    let scope = ["alert", app, &webhook.name, webhook.place()];
    PartKey::new(
        shared.passed_on.sender(app),
        &scope,
        std::slice::from_ref(body),
    )
}

/// The message with what we know; `None` if it cannot be written.
fn enriched(
    context: &RequestContext,
    request_id: &str,
    ask: &AlertRequest,
    node: NodeId,
    body: &Bytes,
    told: &AlertMessage,
) -> Option<Bytes> {
    let snapshot = context.snapshot();
    let project = snapshot
        .policy
        .tree()
        .project_of(node)
        .map(|project| &**project);
    let listener = context.arrival().connection.listener();
    let public = listener.public_url.as_deref();
    let message = Enriched {
        organization: &snapshot.organization,
        app: ask.app.as_str(),
        owners: owners(snapshot, node),
        project,
        received: timestamp(context.now().0),
        request_id,
        alert: serde_json::from_slice(body).ok()?,
        state: told.state.as_deref(),
        name: told.name.as_deref(),
        links: DeepLinks::of(public, &ask.app, &snapshot.ui, project, told, context.now()),
    };
    serde_json::to_vec(&message).ok().map(Bytes::from)
}

/// Sends the message to every destination that does not have it; fails if one did not take it.
async fn pass_on(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    names: &[String],
    app: &str,
    body: &Bytes,
    message: Bytes,
    until: UnixMillis,
) -> Result<(), Refusal> {
    let (snapshot, shared) = (context.snapshot(), context.shared());
    // Before anything leaves: the call may be cut while a destination is waited for.
    exchange.state.known = Some(Outcome {
        destinations: names.to_vec(),
        ..Outcome::of(Ok(()))
    });
    let ended = |exchange: &mut Exchange<'_>, end| {
        exchange
            .state
            .known
            .iter_mut()
            .for_each(|known| known.parts.push(end))
    };
    let mut tasks = JoinSet::new();
    let mut missing = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let Some(webhook) = snapshot.destinations.get(name).cloned() else {
            missing.push(name.as_str());
            continue;
        };
        let key = destination_key(shared, app, &webhook, body);
        if shared.passed_on.find(&key, shared.clock.now()).is_some() {
            ended(exchange, end(place, true, Reason::Remembered, None));
            continue;
        }
        missing.push(name.as_str());
        let (shared, message, account) =
            (shared.clone(), message.clone(), context.account().clone());
        tasks.spawn(async move {
            let mut held = account.open();
            let posted = webhook.post(&message, &mut held).await;
            if posted.is_ok_and(|status| (200..=299).contains(&status)) {
                // Here, not where the answers are awaited: the call may be cut before all have come.
                shared
                    .passed_on
                    .remember(key, None, until, shared.clock.now());
            }
            (place, posted)
        });
    }
    while let Some(joined) = tasks.join_next().await {
        // One whose task panicked stays missing.
        let Ok((place, posted)) = joined else {
            continue;
        };
        let (took, reason, status) = judge(posted);
        ended(exchange, end(place, took, reason, status));
        if took {
            missing.retain(|name| names.get(place).is_none_or(|told| told != name));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    tracing::warn!(
        app,
        destinations = missing.join(" "),
        "an alert was not taken by all destinations"
    );
    let detail = format!("not taken by {}", missing.join(", "));
    Err(Refusal::new(Reason::DestinationFailed).because(detail))
}

fn end(place: usize, took: bool, reason: Reason, upstream_status: Option<u16>) -> PartEnd {
    PartEnd {
        place,
        items: Items {
            accepted: u64::from(took),
            rejected: 0,
        },
        reason,
        upstream_status,
    }
}

/// Whether a destination took the message, the code for the record, and what it answered.
fn judge(posted: Result<u16, SendFault>) -> (bool, Reason, Option<u16>) {
    match posted {
        Ok(status @ 200..=299) => (true, Reason::Ok, Some(status)),
        Ok(status) => (false, Reason::DestinationRefused, Some(status)),
        Err(fault) => (false, fault.reason(), None),
    }
}
