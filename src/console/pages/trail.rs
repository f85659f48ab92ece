//! Decisions that the audit trail holds.
//!
//! What it does: looks through the trail for calls that a visitor asks for, on a thread of its own, and says how far back. What it refuses to
//! know: how files are read. Invariants: the same calls are shown as of the memory of recent ones: those of apps in which the visitor may
//! audit; one search of a visitor runs at a time, and ends when its visitor has gone or its bounds are reached.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Viewer;
use crate::accept::TrailRequest;
use crate::apps::AppPath;
use crate::audit::{NewestRecords, NoMoment, RecordConditions, RecordFilter, SearchBounds, newest};
use crate::memory::recent::Caller;
use crate::memory::searches::SearchBusy;
use crate::reason::Reason;
use crate::respond::Refusal;
use crate::view::{DecisionRow, DecisionsView, SearchView};

/// How many are shown.
const ROWS: usize = 200;
/// How much of the trail is looked at.
const BYTES: u64 = 256 << 20;
const PATIENCE: Duration = Duration::from_secs(3);

/// Ends the search when its page is given up.
struct CancelledWithPage(Arc<AtomicBool>);

impl Drop for CancelledWithPage {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The apps whose calls are shown.
struct ShownApps {
    apps: HashSet<String>,
    /// Those of no app as well.
    rootless: bool,
}

impl ShownApps {
    fn holds(&self, record: &Value) -> bool {
        match record.get("app").and_then(Value::as_str) {
            Some(app) => self.apps.contains(app),
            None => self.rootless,
        }
    }
}

/// What the trail holds of a subtree's decisions, the newest first.
pub(super) async fn search(
    sight: &Viewer<'_>,
    ask: &TrailRequest,
) -> Result<DecisionsView, Refusal> {
    let app = &ask.app;
    sight.must_see(app)?;
    if !sight.may_audit(app) {
        return Err(Refusal::new(Reason::NotPermitted));
    }
    let mut view = DecisionsView {
        app: app.to_string(),
        trail: sight.trail(app),
        rows: Vec::new(),
        remembered_since: None,
        search: None,
    };
    let mut told = asked(ask);
    match look(sight, ask).await {
        Ok(found) => {
            view.rows = found.found;
            // Files overlap in time where calls are long.
            view.rows.sort_by(|one, other| other.time.cmp(&one.time));
            told.back_to = found.back_to;
            told.bytes = found.bytes;
            told.is_whole = found.is_whole;
        }
        Err(fault) => told.mistake = Some(fault.to_string()),
    }
    view.search = Some(Box::new(told));
    Ok(view)
}

/// What was asked, as the form shows it again.
fn asked(ask: &TrailRequest) -> SearchView {
    let given = |field: &Option<String>| field.clone().unwrap_or_default();
    SearchView {
        request_id: given(&ask.request_id),
        subject: given(&ask.subject),
        issuer: given(&ask.issuer),
        operation: given(&ask.operation),
        decision: given(&ask.decision),
        reason: given(&ask.reason),
        status: given(&ask.status),
        since: given(&ask.since),
        until: given(&ask.until),
        ..SearchView::default()
    }
}

/// Why nothing is looked at, in words for the visitor.
#[derive(Debug, thiserror::Error)]
enum SearchFault {
    #[error("`{0}` is no status: write a number, as `403`")]
    Status(String),
    #[error(transparent)]
    Time(#[from] NoMoment),
    #[error("this gateway's trail goes to no file that could be searched")]
    NoFile,
    #[error("a search of yours still runs: try again in a few seconds")]
    Own,
    #[error("others search the trail just now: try again in a few seconds")]
    Others,
    #[error("the trail cannot be read now: the gateway's log says why")]
    Unread(#[source] std::io::Error),
    #[error("the search broke off")]
    BrokenOff(#[source] tokio::task::JoinError),
}

/// What is looked for.
fn filter(ask: &TrailRequest) -> Result<RecordFilter, SearchFault> {
    let read = |status: &String| {
        let number = status.parse().ok();
        number.ok_or_else(|| SearchFault::Status(status.clone()))
    };
    Ok(RecordFilter::new(&RecordConditions {
        event: Some("call".to_owned()),
        request_id: ask.request_id.clone(),
        subject: ask.subject.clone(),
        issuer: ask.issuer.clone(),
        operation: ask.operation.clone(),
        decision: ask.decision.clone(),
        reason: ask.reason.clone(),
        status: ask.status.as_ref().map(read).transpose()?,
        since: ask.since.clone(),
        until: ask.until.clone(),
        ..RecordConditions::default()
    })?)
}

/// The rows.
async fn look(
    sight: &Viewer<'_>,
    ask: &TrailRequest,
) -> Result<NewestRecords<DecisionRow>, SearchFault> {
    let filter = filter(ask)?;
    let file = sight.shared.trail.file().ok_or(SearchFault::NoFile)?;
    let place = sight.shared.searches.begin(Caller::of(sight.facts));
    let place = place.map_err(|busy| match busy {
        SearchBusy::Own => SearchFault::Own,
        SearchBusy::Others => SearchFault::Others,
    })?;
    let shown = ShownApps {
        apps: sight
            .rows
            .iter()
            .filter(|row| ask.app.contains(&row.app) && sight.may_audit(&row.app))
            .map(|row| row.app.to_string())
            .collect(),
        rootless: ask.app == AppPath::root(),
    };
    let is_cancelled = Arc::new(AtomicBool::new(false));
    let guard = CancelledWithPage(is_cancelled.clone());
    let searched = tokio::task::spawn_blocking(move || {
        // Held until the search has ended, which may be after its visitor has gone.
        let _place = place;
        let bounds = SearchBounds {
            bytes: BYTES,
            until: Instant::now() + PATIENCE,
            found: ROWS,
            since: filter.since(),
            is_cancelled: &is_cancelled,
        };
        newest(&file, &bounds, |line| {
            let record = filter.find(line).filter(|record| shown.holds(record))?;
            row(&record)
        })
    })
    .await;
    drop(guard);
    let found = searched.map_err(SearchFault::BrokenOff)?;
    found.map_err(|error| {
        tracing::warn!(%error, "the audit trail cannot be searched");
        SearchFault::Unread(error)
    })
}

/// A call's record as a row. `None`: its reason is one that this version does not know.
fn row(record: &Value) -> Option<DecisionRow> {
    let text = |pointer: &str| {
        let found = record.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let bindings = record.get("bindings").and_then(Value::as_array);
    let bindings = bindings.into_iter().flatten().filter_map(Value::as_str);
    let status = record.get("status").and_then(Value::as_u64);
    Some(DecisionRow {
        time: text("/time"),
        request_id: text("/request_id"),
        subject: text("/identity/subject"),
        issuer: text("/identity/issuer"),
        http_method: text("/http_method"),
        path: text("/path"),
        operation: text("/operation"),
        app: text("/app"),
        decision: text("/decision"),
        reason: Reason::find(&text("/reason"))?,
        bindings: bindings.map(str::to_owned).collect(),
        status: status.and_then(|status| u16::try_from(status).ok()),
    })
}
