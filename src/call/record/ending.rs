//! The end of a request, whatever way it came.
//!
//! What it does: makes one record, one log line and one count of what was collected. What it refuses to know: who collected it.
//! Invariant: a second end leaves nothing.

use std::sync::Arc;

use http::Method;

use super::RecordBuilder;
use crate::accept::{Arrival, ShownCertificate};
use crate::apps::AppPath;
use crate::audit::{ClaimFact, Record, Who, WhoFacts, timestamp};
use crate::authorize::SpokenFacts;
use crate::call::exchange::AnswerState;
use crate::call::log;
use crate::memory::recent::{self, Ended};
use crate::reason::Reason;
use crate::respond::Refusal;
use crate::telemetry::{self, EventName};

impl RecordBuilder {
    /// Counts what the backend answered: to each part of a call, or to the call. What has parts without an upstream is an
    /// alert, whose destinations are no backend.
    fn count_answers(&self) {
        let Some(upstream) = self.upstream else {
            return;
        };
        let mut statuses = self
            .parts
            .iter()
            .filter_map(|part| part.upstream_status)
            .peekable();
        let only = self.upstream_status.filter(|_| statuses.peek().is_none());
        for status in statuses.chain(only) {
            self.shared.metrics.answered(upstream, status);
        }
        // Empty where there is one backend.
        let of_parts = self.parts.iter().filter_map(|part| {
            let items = (part.items.accepted, part.items.rejected);
            Some((part.backend.as_deref()?, part.upstream_status, items))
        });
        let of_all = self.backend.as_deref().filter(|_| self.parts.is_empty());
        let of_all = of_all.map(|backend| {
            let items = self.items.unwrap_or_default();
            let items = (items.accepted, items.rejected);
            (backend, self.upstream_status, items)
        });
        for (backend, status, items) in of_parts.chain(of_all) {
            let to = (backend, upstream);
            self.shared.metrics.answered_by(to, status, items);
        }
    }

    /// What people are told who ask why.
    fn keep_in_mind(&self, answer: &AnswerState, decision: &'static str, reason: Reason) {
        let smooth = recent::is_smooth(self.operation.as_deref(), reason);
        if smooth && !self.shared.recent.wants_smooth(self.began_at.0) {
            return;
        }
        let permitted = self.app.as_deref().and_then(AppPath::parse);
        self.shared.recent.keep(Ended {
            at: self.began_at.0,
            request_id: answer.request_id.as_str().into(),
            who: self.caller.clone(),
            http_method: self
                .method
                .as_ref()
                .map_or(self.broken_method.as_str(), |method| method.as_str())
                .into(),
            path: self.path.as_str().into(),
            operation: self.operation.as_deref().map(Box::from),
            permitted: permitted.is_some(),
            app: permitted.or_else(|| self.meant.clone()),
            decision,
            reason,
            bindings: self.bindings.clone(),
            status: answer.status,
        });
    }

    /// The certificate of a caller that was not identified.
    fn shown_certificate(&self) -> Option<ShownCertificate> {
        let chain = self
            .arrival
            .as_ref()
            .and_then(|arrival| arrival.connection.chain.as_ref());
        match self.who {
            None => self.snapshot.identifier.shown_certificate(chain?),
            Some(_) => None,
        }
    }

    /// Who called, with the facts by which the policy speaks of them.
    fn who(&mut self) -> Option<Who> {
        let mut who = self.who.take()?;
        if let Some(facts) = &self.facts {
            let spoken = self.snapshot.policy.spoken_facts(facts, &self.bindings);
            who.facts = (!spoken.is_empty()).then(|| Box::new(told(spoken)));
        }
        Some(who)
    }

    /// Leaves the record, once.
    pub(super) fn end(&mut self, answer: &mut AnswerState) {
        if std::mem::replace(&mut self.ended, true) || !self.begun {
            return;
        }
        // The request was cut off while it was answered.
        if let Some(known) = answer.known.take() {
            let _ = self.outcome(known);
        }
        let duration = self.began.elapsed();
        // A permitted call that we end for the caller's own fault went nowhere: that is a denial too.
        // Once the backend has answered, it was not we who ended it.
        let ended_by_us =
            self.upstream_status.is_none() && self.refusal.as_ref().is_some_and(Refusal::is_denial);
        let decision = if self.permitted && !ended_by_us {
            "allow"
        } else {
            "deny"
        };
        let reason = match (&self.refusal, answer.status) {
            (Some(refusal), _) => refusal.reason,
            (None, Some(_)) if !answer.is_being_written => Reason::Ok,
            // Without an answer, or within it.
            (None, _) => Reason::CutOff,
        };
        let operation = self.operation.as_deref().unwrap_or("unknown");
        // An app path in a metric is always one of the policy's.
        let app = self.app.as_deref().unwrap_or("none");
        self.shared.metrics.finished(&telemetry::Finished {
            operation,
            app,
            decision,
            reason,
            duration,
            bytes_in: answer.bytes_in,
            bytes_out: answer.bytes_out,
            items: self
                .items
                .map_or((0, 0), |items| (items.accepted, items.rejected)),
        });
        self.count_answers();
        self.keep_in_mind(answer, decision, reason);
        let record = Record {
            seq: 0,
            time: timestamp(self.began_at.0),
            request_id: std::mem::take(&mut answer.request_id),
            event: EventName::Call,
            listener: self
                .arrival
                .as_ref()
                .map(|arrival| arrival.connection.listener().name.clone()),
            client_address: self.arrival.as_ref().map(Arrival::client_text),
            certificate: self.shown_certificate(),
            identity: self.who(),
            http_method: Some(
                self.method
                    .as_ref()
                    .map_or(self.broken_method.as_str(), Method::as_str)
                    .into(),
            ),
            path: Some(self.path.as_str().into()),
            operation: self.operation.as_deref().map(Into::into),
            // Of what was not permitted, where it was meant to go: who tried it is asked by that.
            app: self
                .app
                .as_deref()
                .or(self.meant.as_ref().map(AppPath::as_str))
                .map(Into::into),
            project: self.project.as_deref().map(Into::into),
            backend: self.backend.as_deref().map(Into::into),
            decision: Some(decision),
            reason,
            detail: self
                .refusal
                .as_ref()
                .and_then(|refusal| refusal.detail.as_deref())
                .or(self.detail.as_deref())
                .map(Into::into),
            bindings: self
                .bindings
                .iter()
                .map(|binding| (&**binding).into())
                .collect(),
            policy_version: self.snapshot.policy.version().to_owned(),
            status: answer.status,
            grpc_status: answer.grpc_status,
            upstream_status: self.upstream_status,
            bytes_in: answer.bytes_in,
            bytes_out: answer.bytes_out,
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

/// The same as a record has it.
fn told(spoken: SpokenFacts) -> WhoFacts {
    let SpokenFacts {
        groups,
        claims,
        spiffe,
        dns,
        x509_subject,
        is_cut,
    } = spoken;
    let fact = |(path, text): (Arc<str>, String)| ClaimFact {
        claim: (&*path).into(),
        value: text.into(),
    };
    WhoFacts {
        groups: groups.into_iter().map(Into::into).collect(),
        claims: claims.into_iter().map(fact).collect(),
        spiffe: spiffe.map(Into::into),
        dns: dns.into_iter().map(Into::into).collect(),
        x509_subject: x509_subject.map(Into::into),
        cut: is_cut,
    }
}
