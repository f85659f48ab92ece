//! What a request leaves in the trail, as it is collected.
//!
//! What it does: collects what the steps found, and leaves exactly one record, one log line and one count, whatever way the
//! request ends. What it refuses to know: the framework, how a step found it. Invariants: dropping a request that began
//! leaves its record too; no field ever holds a token.

mod ending;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::Method;

use super::exchange::AnswerState;
use super::outcome::Outcome;
use crate::accept::{
    Arrival, Call, OwnRequest, PageRequest, RequestKind, ShownCertificate, SiteRequest,
};
use crate::apps::{AppPath, BackendId, BackendNames};
use crate::audit::{AwsPrincipal, Items, PartRecord, Slot, Who};
use crate::authorize::{Denial, Permit};
use crate::clock::UnixMillis;
use crate::identify::{Facts, Finished, Identity, Method as Proof};
use crate::memory::recent::Caller;
use crate::respond::Refusal;
use crate::route::Upstream;
use crate::state::{Shared, Snapshot};
use crate::transform::{Part, Split};

/// What was asked of the backend for a page, for its record.
#[derive(Debug, Default)]
pub struct Asked {
    pub parts: Vec<PartRecord>,
    pub bindings: Vec<Arc<str>>,
}

impl Asked {
    /// One part for each project that is asked, and the bindings that allow it, each once.
    pub fn add<'a>(&mut self, names: &BackendNames, permits: impl Iterator<Item = &'a Permit>) {
        for permit in permits {
            for binding in permit.bindings() {
                if !self.bindings.contains(binding) {
                    self.bindings.push(binding.clone());
                }
            }
            self.parts.push(PartRecord {
                project: permit.project().map(Into::into),
                backend: names.told(permit.backend()).as_deref().map(Into::into),
                ..PartRecord::unsent(vec![permit.app().as_str().into()])
            });
        }
    }
}

/// A request in flight. Dropped, it leaves its record.
pub(crate) struct InFlight {
    pub answer: AnswerState,
    pub record: RecordBuilder,
}

impl InFlight {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        shared.in_flight.fetch_add(1, Ordering::Relaxed);
        let now = shared.clock.now();
        InFlight {
            answer: AnswerState::new(shared.request_id_at(now)),
            record: RecordBuilder::new(shared, now),
        }
    }

    /// Leaves the record, once.
    pub(crate) fn end(&mut self) {
        self.record.end(&mut self.answer);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.end();
        // After the record: a stop waits for this count before it closes the trail.
        self.record.shared.in_flight.fetch_sub(1, Ordering::Release);
    }
}

/// What is found out about one request.
pub(crate) struct RecordBuilder {
    shared: Arc<Shared>,
    snapshot: Arc<Snapshot>,
    began: Instant,
    began_at: UnixMillis,
    arrival: Option<Arrival>,
    slot: Option<Slot>,
    refusal: Option<Refusal>,
    method: Option<Method>,
    broken_method: String,
    path: String,
    who: Option<Who>,
    /// What was proven of the caller.
    facts: Option<Arc<Facts>>,
    caller: Option<Caller>,
    /// The app of the policy that was asked for, permitted or not.
    meant: Option<AppPath>,
    operation: Option<String>,
    app: Option<String>,
    project: Option<String>,
    /// If there are several.
    backend: Option<Arc<str>>,
    bindings: Vec<Arc<str>>,
    permitted: bool,
    upstream: Option<&'static str>,
    upstream_status: Option<u16>,
    items: Option<Items>,
    parts: Vec<PartRecord>,
    /// For a request that went well but for something.
    detail: Option<String>,
    begun: bool,
    ended: bool,
}

impl RecordBuilder {
    fn new(shared: &Arc<Shared>, now: UnixMillis) -> Self {
        RecordBuilder {
            snapshot: shared.snapshot.load_full(),
            shared: shared.clone(),
            began: Instant::now(),
            began_at: now,
            arrival: None,
            slot: None,
            refusal: None,
            method: None,
            broken_method: String::new(),
            path: String::new(),
            who: None,
            facts: None,
            caller: None,
            meant: None,
            operation: None,
            app: None,
            project: None,
            backend: None,
            bindings: Vec::new(),
            permitted: false,
            upstream: None,
            upstream_status: None,
            items: None,
            parts: Vec::new(),
            detail: None,
            begun: false,
            ended: false,
        }
    }

    /// The snapshot that the request is judged by.
    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// When the request's head had come.
    pub(crate) fn now(&self) -> UnixMillis {
        self.began_at
    }

    /// Where the request came in.
    pub(crate) fn arrived(&mut self, arrival: Arrival) {
        self.arrival = Some(arrival);
    }

    /// From here on, the request leaves a record.
    pub(crate) fn begin(&mut self) {
        self.begun = true;
    }

    pub(crate) fn arrival(&self) -> Option<&Arrival> {
        self.arrival.as_ref()
    }

    pub(crate) fn arrival_mut(&mut self) -> Option<&mut Arrival> {
        self.arrival.as_mut()
    }

    /// A head that nothing but its method and path is known of.
    pub(crate) fn broken(&mut self, method: String, path: String) {
        self.broken_method = method;
        self.path = path;
    }

    /// What is asked.
    pub(crate) fn call(&mut self, call: &Call) {
        self.method = Some(call.method.clone());
        self.path.clone_from(&call.path);
        let operation = match &call.kind {
            RequestKind::Ingest(ask) => Some(ask.operation),
            RequestKind::Legacy(ask) => Some(ask.operation),
            RequestKind::Query(ask) => Some(ask.operation),
            RequestKind::Own(_)
            | RequestKind::Site(_)
            | RequestKind::Tree(_)
            | RequestKind::Alert(_)
            | RequestKind::Unknown
            | RequestKind::Unacceptable(_) => None,
        };
        self.meant = self.meant_by(&call.kind);
        self.operation = operation.map(|id| self.snapshot.profile.operation(id).permission.clone());
        if let RequestKind::Tree(ask) = &call.kind {
            let resource = self
                .snapshot
                .profile
                .tree_resource(&call.method, &ask.resource);
            self.operation = resource.map(|resource| resource.label.clone());
        }
    }

    /// The app that an ask is about, if the policy has it.
    fn meant_by(&self, ask: &RequestKind) -> Option<AppPath> {
        let policy = &self.snapshot.policy;
        let app = match ask {
            RequestKind::Ingest(ask) => ask.app.as_ref(),
            RequestKind::Legacy(ask) => ask.app.as_ref(),
            RequestKind::Query(ask) if ask.organization == self.snapshot.organization => {
                let home = ask
                    .project
                    .as_deref()
                    .and_then(|project| policy.tree().home(project));
                return policy.tree().node(home?).map(|node| node.path.clone());
            }
            RequestKind::Own(OwnRequest::Apps(app) | OwnRequest::Subtree(app))
            | RequestKind::Site(SiteRequest::Page(
                PageRequest::App(app) | PageRequest::Decisions(app),
            )) => Some(app),
            RequestKind::Site(SiteRequest::Page(PageRequest::Trail(ask))) => Some(&ask.app),
            RequestKind::Tree(ask) => Some(&ask.app),
            RequestKind::Alert(ask) => Some(&ask.app),
            RequestKind::Query(_)
            | RequestKind::Own(OwnRequest::Whoami)
            | RequestKind::Site(_)
            | RequestKind::Unknown
            | RequestKind::Unacceptable(_) => None,
        };
        app.filter(|app| policy.tree().find(app).is_some()).cloned()
    }

    pub(crate) fn operation(&mut self, name: &str) {
        self.operation = Some(name.to_owned());
    }

    pub(crate) fn slot(&mut self, slot: Option<Slot>) {
        self.slot = slot;
    }

    /// Who asks.
    pub(crate) fn identity(&mut self, identity: &Identity) {
        let facts = identity.shared_facts();
        self.facts = Some(facts.clone());
        self.caller = Some(Caller::of(facts));
        self.who = Some(Who {
            method: facts.method.name(),
            issuer: (&*facts.issuer).into(),
            subject: (&*facts.subject).into(),
            subject_claim: facts.subject_claim.as_deref().map(Into::into),
            certificate: facts
                .certificate
                .as_ref()
                .map(|certificate| ShownCertificate {
                    ca: Some(certificate.ca.to_string()),
                    sha256: certificate.fingerprint.clone(),
                }),
            aws: facts.aws.as_ref().map(|aws| {
                Box::new(AwsPrincipal {
                    account: (&*aws.account).into(),
                    unique_id: (&*aws.unique_id).into(),
                    session: aws.session.as_deref().map(Into::into),
                })
            }),
            // What decides is known at the end.
            facts: None,
        });
    }

    /// Who has just logged in.
    pub(crate) fn login(&mut self, finished: &Finished) {
        let (issuer, subject) = (
            finished.issuer.as_str().into(),
            finished.subject.as_str().into(),
        );
        let subject_claim = finished.subject_claim.as_deref().map(Into::into);
        self.who = Some(Who {
            method: Proof::Session.name(),
            issuer,
            subject,
            subject_claim,
            certificate: None,
            aws: None,
            facts: None,
        });
    }

    pub(crate) fn permit(&mut self, permit: &Permit) {
        self.app = Some(permit.app().to_string());
        self.project = permit.project().map(str::to_owned);
        self.backend = self.snapshot.policy.backends().told(permit.backend());
        self.bindings = permit.bindings().to_vec();
        self.permitted = true;
    }

    /// What forbids it; gives the refusal that says so.
    pub(crate) fn denied(&mut self, denial: &Denial) -> Refusal {
        self.bindings.clone_from(&denial.bindings);
        Refusal::from(denial)
    }

    /// The gateway's own pages and logins need no permit: they show the caller what is the caller's.
    pub(crate) fn own(&mut self) {
        self.permitted = true;
    }

    pub(crate) fn upstream(&mut self, upstream: Upstream) {
        self.upstream = Some(upstream.name());
    }

    /// An export that was taken apart: its app is the one above all apps in it, its project the only one.
    pub(crate) fn split(&mut self, split: &Split) {
        let permits = || split.parts.iter().flat_map(Part::permits);
        let snapshot = self.snapshot.clone();
        let names = snapshot.policy.backends();
        let mut apps = permits().map(|permit| permit.app().clone());
        if let Some(first) = apps.next() {
            self.permitted = true;
            self.upstream = Some(Upstream::Ingest.name());
            self.app = Some(
                apps.fold(first, |above, app| above.shared(&app))
                    .to_string(),
            );
        }
        if let [only] = split.parts.as_slice() {
            self.project = only.project().map(str::to_owned);
            self.backend = only.backend().and_then(|backend| names.told(backend));
        }
        for binding in permits().flat_map(Permit::bindings) {
            if !self.bindings.contains(binding) {
                self.bindings.push(binding.clone());
            }
        }
        let told = |part: &Part, backend: Option<BackendId>, leg| {
            let apps = part.permits().map(|permit| permit.app().as_str().into());
            let backend = backend.and_then(|backend| names.told(backend));
            PartRecord {
                project: part.project().map(Into::into),
                backend: backend.as_deref().map(Into::into),
                leg,
                ..PartRecord::unsent(apps.collect())
            }
        };
        // Those for other backends after all that are not.
        let others = split.parts.iter().flat_map(|part| {
            let also = part.also().iter();
            also.map(move |leg| told(part, Some(leg.permit.backend()), Some(leg.mode.name())))
        });
        let parts = split
            .parts
            .iter()
            .map(|part| told(part, part.backend(), None));
        let parts: Vec<PartRecord> = parts.chain(others).collect();
        if parts.len() > 1 {
            self.parts = parts;
        }
        self.items(0, split.rejected.items);
    }

    /// A question to a part of the tree, and the permits for its projects.
    pub(crate) fn tree<'a>(&mut self, app: &AppPath, permits: impl Iterator<Item = &'a Permit>) {
        self.permitted = true;
        self.upstream = Some(Upstream::Query.name());
        self.app = Some(app.to_string());
        let mut asked = Asked {
            parts: std::mem::take(&mut self.parts),
            bindings: std::mem::take(&mut self.bindings),
        };
        asked.add(self.snapshot.policy.backends(), permits);
        (self.parts, self.bindings) = (asked.parts, asked.bindings);
        if let [only] = self.parts.as_slice() {
            self.project = only.project.as_deref().map(str::to_owned);
        }
    }

    /// A page for which the backend was asked.
    pub(crate) fn asked(&mut self, asked: Asked) {
        if !asked.parts.is_empty() {
            self.upstream = Some(Upstream::Query.name());
            (self.parts, self.bindings) = (asked.parts, asked.bindings);
        }
    }

    /// A webhook's message about an alert of this app: its secret is the grant.
    pub(crate) fn alert(&mut self, app: &AppPath, project: Option<&str>) {
        self.app = Some(app.to_string());
        self.project = project.map(str::to_owned);
        self.permitted = true;
    }

    /// Where an alert's message goes.
    fn destinations(&mut self, names: &[String]) {
        let part = |name: &String| PartRecord {
            destination: Some(name.as_str().into()),
            ..PartRecord::unsent(self.app.iter().map(|app| app.as_str().into()).collect())
        };
        self.parts = names.iter().map(part).collect();
    }

    /// What the record should say besides the reason.
    pub(crate) fn detail(&mut self, detail: String) {
        self.detail = Some(detail);
    }

    /// How many items the backend has, and how many were refused, by it or by the gateway.
    pub(crate) fn items(&mut self, accepted: u64, rejected: u64) {
        self.items = Some(Items { accepted, rejected });
    }

    /// How many items of an export the backend has taken.
    pub(crate) fn accepted_items(&self) -> u64 {
        self.items.map_or(0, |items| items.accepted)
    }

    /// Whether an app and a permit are known.
    pub(crate) fn is_permitted(&self) -> bool {
        self.permitted
    }

    /// Whether the body was understood.
    pub(crate) fn is_read(&self) -> bool {
        self.items.is_some()
    }

    /// What came of the request; gives on whether its caller was answered.
    pub(crate) fn outcome(&mut self, outcome: Outcome) -> Result<(), Refusal> {
        let Outcome {
            answered,
            upstream_status,
            items,
            parts,
            more,
            destinations,
            detail,
        } = outcome;
        if !destinations.is_empty() {
            self.destinations(&destinations);
        }
        self.upstream_status = upstream_status.or(self.upstream_status);
        self.items = items.or(self.items);
        self.detail = detail.or(self.detail.take());
        for end in parts {
            if let Some(part) = self.parts.get_mut(end.place) {
                (part.items, part.reason, part.upstream_status) =
                    (end.items, end.reason, end.upstream_status);
            }
        }
        self.parts.extend(more);
        answered
    }

    /// The request is refused, or what answers it says so.
    pub(crate) fn refused(&mut self, refusal: Refusal) {
        self.refusal = Some(refusal);
    }

    /// The same, if no refusal is known that came before.
    pub(crate) fn refused_unless_known(&mut self, refusal: Refusal) {
        self.refusal.get_or_insert(refusal);
    }

    /// An export was refused, or failed, after its app was known.
    pub(crate) fn count_failure(&self) {
        if let Some(app) = self.app.as_deref().and_then(AppPath::parse) {
            self.shared.live.failed(&app, self.shared.clock.now());
        }
    }
}
