//! Callers who send too much, or nothing but failures.
//!
//! What it does: holds exports against their quotas, and answers callers that keep failing from the head alone.
//! What it refuses to know: how quotas and failures are counted. Invariants: a caller is told when to come again; who is
//! permitted is never told that they are not; failures count against the verified identity that they are of, and never
//! against an address, behind which others stand.

use std::sync::Arc;

use super::context::RequestContext;
use crate::apps::NodeId;
use crate::authorize::{Policy, Reach};
use crate::identify::Facts;
use crate::limits::{CallerKey, Charge, Over, Quota, QuotaStatus};
use crate::otlp::Export;
use crate::reason::{Blame, Class, Reason};
use crate::respond::Refusal;
use crate::transform::Split;

/// Refuses an export whose quota is used up already, before its body is read.
pub(crate) async fn look(context: &RequestContext, reach: &Reach) -> Result<(), Refusal> {
    let quotas = context.snapshot().policy.quotas_in_any_case(reach);
    if quotas.is_empty() {
        return Ok(());
    }
    context
        .shared()
        .meter
        .look(&quotas, context.shared().clock.now())
        .await
        .map_err(|over| over_quota(context, &over))
}

/// Takes what a split export costs, or refuses all of it.
pub(crate) async fn take(
    context: &RequestContext,
    export: &Export,
    bytes: u64,
    split: &Split,
) -> Result<(), Refusal> {
    let mut charges = Vec::new();
    let total = split.parts.iter().map(|part| part.items()).sum::<u64>();
    for part in &split.parts {
        for ((node, items), permit) in part.items_by_node(export).into_iter().zip(part.permits()) {
            // Bytes are shared out by items: one resource's share need not be exact.
            let share = match (total, charges.is_empty()) {
                (0, true) => bytes,
                (0, false) => 0,
                (total, _) => share(bytes, items, total),
            };
            add(
                &mut charges,
                &context.snapshot().policy,
                node,
                permit.bindings(),
                (items, share),
            );
        }
    }
    settle(context, &charges).await
}

/// Takes what a report of one app costs.
pub(crate) async fn take_one(
    context: &RequestContext,
    node: NodeId,
    bindings: &[Arc<str>],
    items: u64,
    bytes: u64,
) -> Result<(), Refusal> {
    let mut charges = Vec::new();
    add(
        &mut charges,
        &context.snapshot().policy,
        node,
        bindings,
        (items, bytes),
    );
    settle(context, &charges).await
}

fn share(bytes: u64, items: u64, total: u64) -> u64 {
    let share = u128::from(bytes) * u128::from(items) / u128::from(total.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

fn add(
    charges: &mut Vec<Charge>,
    policy: &Policy,
    node: NodeId,
    bindings: &[Arc<str>],
    (items, bytes): (u64, u64),
) {
    for (key, quota) in policy.quotas(node, bindings) {
        match charges.iter_mut().find(|charge| charge.key == key) {
            Some(charge) => {
                charge.items += items;
                charge.bytes += bytes;
            }
            None => charges.push(charge(key, quota, items, bytes)),
        }
    }
}

fn charge(key: Arc<str>, quota: Quota, items: u64, bytes: u64) -> Charge {
    Charge {
        key,
        quota,
        items,
        bytes,
    }
}

async fn settle(context: &RequestContext, charges: &[Charge]) -> Result<(), Refusal> {
    if charges.is_empty() {
        return Ok(());
    }
    context
        .shared()
        .meter
        .take(charges, context.shared().clock.now())
        .await
        .map_err(|over| over_quota(context, &over))
}

fn over_quota(context: &RequestContext, over: &Over) -> Refusal {
    let class = match context.snapshot().limits.quota_status {
        QuotaStatus::TooManyRequests => Class::Throttled(over.retry_after_seconds),
        QuotaStatus::ServiceUnavailable => Class::ThrottledAsUnavailable(over.retry_after_seconds),
    };
    Refusal::classed(Reason::OverQuota, class).because(format!("quota of {}", over.key))
}

/// Who is counted.
#[derive(Clone, Copy)]
pub(crate) struct Throttle(Option<CallerKey>);

impl Throttle {
    /// A verified caller.
    pub(crate) fn identity(context: &RequestContext, facts: &Facts) -> Self {
        let penalties = &context.shared().penalties;
        Throttle(
            context
                .snapshot()
                .limits
                .penalty
                .then(|| penalties.key(("identity", &facts.issuer, &facts.subject))),
        )
    }

    /// A verified caller that need not wait.
    pub(crate) fn admit(context: &RequestContext, facts: &Facts) -> Result<Self, Refusal> {
        let throttle = Throttle::identity(context, facts);
        throttle.check(context).map(|()| throttle)
    }

    /// Refuses a caller that must still wait. Asked once for each attempt.
    pub(crate) fn check(self, context: &RequestContext) -> Result<(), Refusal> {
        match self.waits(context) {
            Some(seconds) => Err(Refusal::wait(Reason::Penalty, seconds)),
            None => Ok(()),
        }
    }

    fn waits(self, context: &RequestContext) -> Option<u64> {
        context
            .shared()
            .penalties
            .standing(self.0?, context.shared().clock.now())
    }

    /// Counts how an attempt ended. Only the caller's own faults count, and not that it was told to wait.
    pub(crate) fn settle<T>(self, context: &RequestContext, outcome: &Result<T, Refusal>) {
        let Some(key) = self.0 else { return };
        match outcome {
            Ok(_) => context.shared().penalties.succeeded(key),
            Err(refusal) => self.count(context, refusal),
        }
    }

    /// Counts a refusal.
    pub(crate) fn count(self, context: &RequestContext, refusal: &Refusal) {
        let is_theirs = matches!(refusal.reason.blame(), Blame::Backend | Blame::Connection);
        let is_told_to_wait = matches!(
            refusal.class,
            Class::Throttled(_) | Class::ThrottledAsUnavailable(_)
        );
        let spares = is_told_to_wait || is_theirs;
        if let Some(key) = self.0
            && refusal.class.is_callers()
            && !spares
        {
            context
                .shared()
                .penalties
                .failed(key, context.shared().clock.now());
        }
    }
}
