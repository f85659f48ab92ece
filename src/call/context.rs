//! One call's state on its way through the rooms, and its record at the end.
//!
//! What it does: carries what earlier rooms found to later ones, counts bytes, and leaves exactly one
//! record, one log line and one count, whatever way the call ends. What it refuses to know: the framework.
//! Invariants: dropping a walk that began leaves its record too; no field ever holds a token.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::Method;

use super::log;
use super::visitor::visitor;
use crate::accept::{
    Arrival, Call, Dialect, OwnRequest, PageRequest, RequestKind, ReturnPath, ShownCertificate, SiteRequest,
};
use crate::apps::AppPath;
use crate::audit::{Items, PartRecord, Record, Slot, Who, timestamp};
use crate::authorize::{Denial, Permit};
use crate::clock::UnixMillis;
use crate::identify::{Facts, Finished, Identity, Method as Proof, Session, SetCookie};
use crate::limits::Account;
use crate::memory::recent;
use crate::memory::recent::{Caller, Ended};
use crate::reason::Reason;
use crate::respond::Refusal;
use crate::route::Route;
use crate::state::{Shared, Snapshot};
use crate::telemetry;
use crate::view::Visitor;

/// One call.
pub struct Walk {
    shared: Arc<Shared>,
    pub snapshot: Arc<Snapshot>,
    began: Instant,
    began_at: UnixMillis,
    pub request_id: String,
    pub arrival: Option<Arrival>,
    slot: Option<Slot>,
    /// The caller that memory is taken for.
    account: Account,
    pub dialect: Dialect,
    pub refusal: Option<Refusal>,
    method: Option<Method>,
    broken_method: String,
    path: String,
    who: Option<Who>,
    caller: Option<Caller>,
    /// The app of the policy that was asked for, permitted or not.
    meant: Option<AppPath>,
    operation: Option<String>,
    pub(super) app: Option<String>,
    pub(super) project: Option<String>,
    pub(super) bindings: Vec<Arc<str>>,
    pub(super) permitted: bool,
    pub(super) upstream: Option<&'static str>,
    pub status: Option<u16>,
    pub grpc_status: Option<u16>,
    pub upstream_status: Option<u16>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    items: Option<Items>,
    pub(super) parts: Vec<PartRecord>,
    /// For the record of a call that went well but for something.
    detail: Option<String>,
    /// What answers to Firehose repeat.
    pub firehose_request: Option<String>,
    /// Scheme and authority by which the caller knows us, once the head is understood.
    pub origin: Option<String>,
    /// Who looks at a page.
    pub visitor: Option<Visitor>,
    /// What a person can do about a refusal, where the class alone does not say it.
    pub advice: Option<&'static str>,
    /// Where a login leads back to.
    pub return_to: Option<ReturnPath>,
    /// Whether a session's cookie decided who the caller is.
    pub by_session: bool,
    /// Cookies that go with the answer, whatever it is.
    pub set_cookies: Vec<SetCookie>,
    begun: bool,
    ended: bool,
}

impl Walk {
    pub fn new(shared: &Arc<Shared>) -> Self {
        shared.in_flight.fetch_add(1, Ordering::Relaxed);
        Walk {
            snapshot: shared.snapshot.load_full(),
            shared: shared.clone(),
            began: Instant::now(),
            began_at: shared.clock.now(),
            request_id: shared.request_id(),
            arrival: None,
            slot: None,
            account: shared.budget.gateway(),
            dialect: Dialect::Own,
            refusal: None,
            method: None,
            broken_method: String::new(),
            path: String::new(),
            who: None,
            caller: None,
            meant: None,
            operation: None,
            app: None,
            project: None,
            bindings: Vec::new(),
            permitted: false,
            upstream: None,
            status: None,
            grpc_status: None,
            upstream_status: None,
            bytes_in: 0,
            bytes_out: 0,
            items: None,
            parts: Vec::new(),
            detail: None,
            firehose_request: None,
            origin: None,
            visitor: None,
            advice: None,
            return_to: None,
            by_session: false,
            set_cookies: Vec::new(),
            begun: false,
            ended: false,
        }
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The caller that memory is taken for: its address, and its identity once that is proven.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// When the call's head had come.
    pub fn now(&self) -> UnixMillis {
        self.began_at
    }

    /// From here on, the call leaves a record.
    pub fn begin(&mut self, arrival: Arrival) {
        self.account = arrival.account(&self.shared.budget);
        self.arrival = Some(arrival);
        self.begun = true;
    }

    /// A head that nothing but its method and path is known of.
    pub fn note_broken(&mut self, method: String, path: String, dialect: Dialect) {
        self.broken_method = method;
        self.path = path;
        self.dialect = dialect;
    }

    pub fn note_call(&mut self, call: &Call) {
        self.method = Some(call.method.clone());
        self.path.clone_from(&call.path);
        self.dialect = call.dialect;
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
            let resource = self.snapshot.profile.tree_resource(&call.method, &ask.resource);
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
                let home = ask.project.as_deref().and_then(|project| policy.tree().home(project));
                return policy.tree().node(home?).map(|node| node.path.clone());
            }
            RequestKind::Own(OwnRequest::Apps(app) | OwnRequest::Subtree(app))
            | RequestKind::Site(SiteRequest::Page(PageRequest::App(app) | PageRequest::Decisions(app))) => Some(app),
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

    pub fn note_operation(&mut self, name: &str) {
        self.operation = Some(name.to_owned());
    }

    pub fn note_identity(&mut self, facts: &Facts) {
        self.account = self.account.proven((facts.method, &facts.issuer, &facts.subject));
        self.caller = Some(Caller::of(facts));
        self.who = Some(Who {
            method: facts.method.name(),
            issuer: (&*facts.issuer).into(),
            subject: (&*facts.subject).into(),
            subject_claim: facts.subject_claim.as_deref().map(Into::into),
            certificate: facts.certificate.as_ref().map(|certificate| ShownCertificate {
                ca: Some(certificate.ca.to_string()),
                sha256: certificate.fingerprint.clone(),
            }),
        });
    }

    /// A session's call: it is kept from idling out, and no cache on the way may mix its answer up with another's.
    pub fn note_session(&mut self, session: &Session) {
        self.by_session = true;
        self.set_cookies.extend(session.renewed.clone());
    }

    /// Who looks at pages.
    pub fn note_visitor(&mut self, identity: &Identity) {
        self.note_identity(identity.facts());
        self.visitor = Some(visitor(identity));
        if let Some(session) = identity.session() {
            self.note_session(session);
        }
    }

    /// Who has just logged in.
    pub fn note_login(&mut self, finished: &Finished) {
        let (issuer, subject) = (finished.issuer.as_str().into(), finished.subject.as_str().into());
        let subject_claim = finished.subject_claim.as_deref().map(Into::into);
        self.who = Some(Who { method: Proof::Session.name(), issuer, subject, subject_claim, certificate: None });
    }

    pub fn note_permit(&mut self, permit: &Permit) {
        self.app = Some(permit.app().to_string());
        self.project = permit.project().map(str::to_owned);
        self.bindings = permit.bindings().to_vec();
        self.permitted = true;
    }

    /// What the record should say besides the reason.
    pub fn note_detail(&mut self, detail: Option<String>) {
        self.detail = detail;
    }

    /// Whether the body was understood.
    pub fn is_read(&self) -> bool {
        self.items.is_some()
    }

    /// How many items the backend has, and how many were refused, by whomever.
    pub fn note_items(&mut self, accepted: u64, rejected: u64) {
        self.items = Some(Items { accepted, rejected });
    }

    /// How many items of an export the backend has taken.
    pub fn accepted_items(&self) -> u64 {
        self.items.map_or(0, |items| items.accepted)
    }

    /// Whether the backend answered an export with a success.
    pub fn is_taken(&self) -> bool {
        let status = self.upstream_status.or(self.status);
        status.is_some_and(|status| (200..300).contains(&status)) && self.grpc_status.is_none_or(|code| code == 0)
    }

    /// An export was refused, or failed, after its app was known.
    pub fn count_failure(&self) {
        if let Some(app) = self.app.as_deref().and_then(AppPath::parse) {
            self.shared.live.failed(&app, self.shared.clock.now());
        }
    }

    /// The gateway's own pages and logins need no permit: they show the caller what is the caller's.
    pub fn note_own(&mut self) {
        self.permitted = true;
    }

    pub fn note_denial(&mut self, denial: &Denial) {
        self.bindings.clone_from(&denial.bindings);
    }

    pub fn note_route(&mut self, route: &Route) {
        self.upstream = Some(route.upstream().name());
    }

    pub fn keep_slot(&mut self, slot: Option<Slot>) {
        self.slot = slot;
    }

    pub fn is_permitted(&self) -> bool {
        self.permitted
    }

    /// What people are told who ask why.
    fn keep_in_mind(&self, decision: &'static str, reason: Reason) {
        let smooth = recent::is_smooth(self.operation.as_deref(), reason);
        if smooth && !self.shared.recent.wants_smooth(self.began_at.0) {
            return;
        }
        let permitted = self.app.as_deref().and_then(AppPath::parse);
        self.shared.recent.keep(Ended {
            at: self.began_at.0,
            request_id: self.request_id.as_str().into(),
            who: self.caller.clone(),
            http_method: self.method.as_ref().map_or(self.broken_method.as_str(), |method| method.as_str()).into(),
            path: self.path.as_str().into(),
            operation: self.operation.as_deref().map(Box::from),
            permitted: permitted.is_some(),
            app: permitted.or_else(|| self.meant.clone()),
            decision,
            reason,
            bindings: self.bindings.clone(),
            status: self.status,
        });
    }

    /// The certificate of a caller that was not identified.
    fn shown_certificate(&self) -> Option<ShownCertificate> {
        let chain = self.arrival.as_ref().and_then(|arrival| arrival.connection.chain.as_ref());
        match self.who {
            None => self.snapshot.identifier.shown_certificate(chain?),
            Some(_) => None,
        }
    }

    /// Leaves the record, once.
    pub fn end(&mut self) {
        if std::mem::replace(&mut self.ended, true) || !self.begun {
            return;
        }
        let duration = self.began.elapsed();
        // A permitted call that we end for the caller's own fault went nowhere: that is a denial too.
        // Once the backend has answered, it was not we who ended it.
        let ended_by_us = self.upstream_status.is_none() && self.refusal.as_ref().is_some_and(Refusal::is_denial);
        let decision = if self.permitted && !ended_by_us { "allow" } else { "deny" };
        let reason = match (&self.refusal, self.status) {
            (Some(refusal), _) => refusal.reason,
            (None, Some(_)) => Reason::Ok,
            (None, None) => Reason::CutOff,
        };
        let operation = self.operation.as_deref().unwrap_or("unknown");
        // An app path in a metric is always one of the policy's.
        let app = self.app.as_deref().unwrap_or("none");
        self.shared.metrics.finished(&telemetry::Finished {
            operation,
            app,
            decision,
            reason,
            upstream: self.upstream.unwrap_or("none"),
            upstream_status: self.upstream_status,
            duration,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            items: self.items.map_or((0, 0), |items| (items.accepted, items.rejected)),
        });
        self.keep_in_mind(decision, reason);
        let record = Record {
            seq: 0,
            time: timestamp(self.began_at.0),
            request_id: std::mem::take(&mut self.request_id),
            event: "call",
            listener: self.arrival.as_ref().map(|arrival| arrival.connection.listener.name.clone()),
            client_address: self.arrival.as_ref().map(|arrival| arrival.client.to_string()),
            certificate: self.shown_certificate(),
            identity: self.who.take(),
            http_method: Some(self.method.as_ref().map_or(self.broken_method.as_str(), Method::as_str).into()),
            path: Some(self.path.as_str().into()),
            operation: self.operation.as_deref().map(Into::into),
            app: self.app.as_deref().map(Into::into),
            project: self.project.as_deref().map(Into::into),
            decision: Some(decision),
            reason,
            detail: self
                .refusal
                .as_ref()
                .and_then(|refusal| refusal.detail.as_deref())
                .or(self.detail.as_deref())
                .map(Into::into),
            bindings: self.bindings.iter().map(|binding| (&**binding).into()).collect(),
            policy_version: self.snapshot.policy.version().to_owned(),
            status: self.status,
            grpc_status: self.grpc_status,
            upstream_status: self.upstream_status,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            items: self.items,
            parts: std::mem::take(&mut self.parts),
            duration_us: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
        };
        log::log(&record);
        match (self.slot.take(), &self.arrival) {
            (Some(slot), _) => self.shared.trail.fill(slot, record),
            (None, Some(arrival)) => self.shared.trail.note_refusal(arrival.client.ip, record),
            (None, None) => self.shared.trail.note(record),
        }
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        self.end();
        // After the record: a stop waits for this count before it closes the trail.
        self.shared.in_flight.fetch_sub(1, Ordering::Release);
    }
}
