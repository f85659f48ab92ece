//! The calls that ended last, for people who ask why.
//!
//! What it does: keeps what is told of a finished call, and finds it by request id or by app. What it refuses to know: who
//! may see it, and the audit trail, which is elsewhere and complete: this is one process's short memory, lost with it.
//! Invariants: bounded in calls and in bytes; neither calls of unidentified callers nor exports that go well, of which there
//! are thousands a second, can push out the others; of the latter few are kept, so that they cost nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use crate::apps::AppPath;
use crate::identify::Facts;
use crate::lock::Mutex;
use crate::reason::Reason;

/// How many calls of identified callers are kept.
const CALLS: usize = 4096 - STRANGERS - SMOOTH;
/// How many of others.
const STRANGERS: usize = 512;
/// How many exports that went well.
const SMOOTH: usize = 256;
/// Once there are so many, one is kept in this time, in milliseconds.
const SMOOTH_EVERY_MS: i64 = 100;
/// What each of these may take, in bytes.
const BYTES: usize = 8 << 20;
/// How much of a path is kept, in bytes.
const PATH_BYTES: usize = 512;

/// One finished call.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Unix milliseconds, when it began.
    pub at: i64,
    pub request_id: Box<str>,
    pub who: Option<Caller>,
    pub http_method: Box<str>,
    /// Canonical, without query values.
    pub path: Box<str>,
    pub operation: Option<Box<str>>,
    /// The app that it was permitted for, else the one that it was meant for, if there is such a one.
    pub app: Option<AppPath>,
    /// Whether `app` is where it was permitted.
    pub permitted: bool,
    pub decision: &'static str,
    pub reason: Reason,
    pub bindings: Vec<Arc<str>>,
    pub status: Option<u16>,
}

/// Who called, proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub issuer: Arc<str>,
    pub subject: Arc<str>,
    /// Two claims may name two callers alike.
    subject_claim: Option<Arc<str>>,
}

impl Caller {
    pub(crate) fn of(facts: &Facts) -> Self {
        Caller {
            issuer: facts.issuer.clone(),
            subject: facts.subject.clone(),
            subject_claim: facts.subject_claim.clone(),
        }
    }

    #[cfg(test)]
    pub(super) fn named(issuer: &str, subject: &str) -> Self {
        Caller {
            issuer: Arc::from(issuer),
            subject: Arc::from(subject),
            subject_claim: None,
        }
    }

    /// Whether these facts are of the same caller.
    pub(crate) fn is(&self, facts: &Facts) -> bool {
        self.issuer == facts.issuer
            && self.subject == facts.subject
            && self.subject_claim == facts.subject_claim
    }
}

/// The last calls of this process.
pub(crate) struct Recent {
    known: Mutex<Ring>,
    strangers: Mutex<Ring>,
    smooth: Mutex<Ring>,
    smooth_kept: AtomicUsize,
    /// Unix milliseconds.
    smooth_next: AtomicI64,
}

struct Ring {
    calls: VecDeque<Arc<Ended>>,
    bytes: usize,
    limit: usize,
}

impl Default for Recent {
    fn default() -> Self {
        let ring = |limit| {
            Mutex::new(Ring {
                calls: VecDeque::new(),
                bytes: 0,
                limit,
            })
        };
        Recent {
            known: ring(CALLS),
            strangers: ring(STRANGERS),
            smooth: ring(SMOOTH),
            smooth_kept: AtomicUsize::new(0),
            smooth_next: AtomicI64::new(i64::MIN),
        }
    }
}

impl Recent {
    /// Whether one more export that went well is worth keeping, at `at` (Unix milliseconds).
    pub(crate) fn wants_smooth(&self, at: i64) -> bool {
        if self.smooth_kept.load(Ordering::Relaxed) < SMOOTH {
            self.smooth_kept.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        let next = self.smooth_next.load(Ordering::Relaxed);
        // A clock that was set back must not end it.
        let due = at >= next || next.saturating_sub(at) > SMOOTH_EVERY_MS;
        if due {
            self.smooth_next
                .store(at.saturating_add(SMOOTH_EVERY_MS), Ordering::Relaxed);
        }
        due
    }

    /// Keeps a call; the oldest ones make room.
    pub(crate) fn keep(&self, mut ended: Ended) {
        if ended.path.len() > PATH_BYTES {
            ended.path = ended
                .path
                .chars()
                .scan(0, |bytes, each| within(bytes, each, PATH_BYTES))
                .collect();
        }
        let ring = match (&ended.who, ended.is_smooth()) {
            (Some(_), true) => &self.smooth,
            (Some(_), false) => &self.known,
            (None, _) => &self.strangers,
        };
        let gone = ring.lock().push(Arc::new(ended));
        // Freed after the lock is.
        drop(gone);
    }

    /// The call with this request id.
    pub(crate) fn find(&self, request_id: &str) -> Option<Arc<Ended>> {
        [&self.known, &self.strangers, &self.smooth]
            .into_iter()
            .find_map(|ring| {
                let ring = ring.lock();
                ring.calls
                    .iter()
                    .rev()
                    .find(|call| &*call.request_id == request_id)
                    .cloned()
            })
    }

    /// When the oldest call that is kept of identified callers began, in Unix milliseconds.
    pub(crate) fn since(&self) -> Option<i64> {
        self.known.lock().calls.front().map(|call| call.at)
    }

    /// Calls of an app and all beneath it that `shown` lets pass, the newest first, at most `limit`. Those of no app are the
    /// root's.
    pub(crate) fn beneath(
        &self,
        app: &AppPath,
        limit: usize,
        shown: impl Fn(&AppPath) -> bool,
    ) -> Vec<Arc<Ended>> {
        let root = AppPath::root();
        let fits = |call: &&Arc<Ended>| {
            let of = call.app.as_ref().unwrap_or(&root);
            app.contains(of) && shown(of)
        };
        let mut found: Vec<Arc<Ended>> = Vec::new();
        for ring in [&self.known, &self.strangers, &self.smooth] {
            let ring = ring.lock();
            found.extend(ring.calls.iter().rev().filter(fits).take(limit).cloned());
        }
        found.sort_by_key(|call| std::cmp::Reverse(call.at));
        found.truncate(limit);
        found
    }
}

impl Ring {
    /// What had to go for it.
    fn push(&mut self, call: Arc<Ended>) -> Vec<Arc<Ended>> {
        let mut gone = Vec::new();
        self.bytes += call.bytes();
        self.calls.push_back(call);
        while self.calls.len() > self.limit || self.bytes > BYTES {
            let Some(oldest) = self.calls.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
            gone.push(oldest);
        }
        gone
    }
}

/// Whether a call with this operation and reason is an export that went well.
pub(crate) fn is_smooth(operation: Option<&str>, reason: Reason) -> bool {
    reason == Reason::Ok && operation.is_some_and(|operation| operation.starts_with("ingest."))
}

impl Ended {
    fn is_smooth(&self) -> bool {
        is_smooth(self.operation.as_deref(), self.reason)
    }

    /// About what it takes; names that others share count as if they were its own.
    fn bytes(&self) -> usize {
        let who = self
            .who
            .as_ref()
            .map_or(0, |who| who.issuer.len() + who.subject.len());
        let app = self.app.as_ref().map_or(0, |app| app.as_str().len());
        let texts = self.request_id.len() + self.http_method.len() + self.path.len() + who + app;
        let operation = self
            .operation
            .as_ref()
            .map_or(0, |operation| operation.len());
        size_of::<Ended>() + texts + operation + self.bindings.len() * size_of::<Arc<str>>()
    }
}

fn within(bytes: &mut usize, each: char, limit: usize) -> Option<char> {
    *bytes += each.len_utf8();
    (*bytes <= limit).then_some(each)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(number: usize, who: Option<&str>, app: Option<&str>) -> Ended {
        Ended {
            at: number as i64,
            request_id: format!("id-{number}").into(),
            who: who.map(|subject| Caller::named("okta", subject)),
            http_method: "GET".into(),
            path: "/apps".into(),
            operation: None,
            app: app.map(|app| AppPath::parse(app).unwrap()),
            permitted: true,
            decision: "allow",
            reason: Reason::Ok,
            bindings: Vec::new(),
            status: Some(200),
        }
    }

    /// Scenario: exports go well by the thousand while a caller is refused. Guarantees: the refusal is still found, some of the
    /// exports too, and most of them were not even asked for.
    #[test]
    fn what_goes_well_pushes_nothing_out() {
        let recent = Recent::default();
        recent.keep(Ended {
            reason: Reason::NotPermitted,
            ..ended(0, Some("ann"), None)
        });
        let mut kept = 0;
        for number in 1..20_000 {
            if recent.wants_smooth(number as i64 / 10) {
                kept += 1;
                recent.keep(Ended {
                    operation: Some("ingest.traces".into()),
                    ..ended(number, Some("pod"), None)
                });
            }
        }
        assert_eq!(
            recent.find("id-0").map(|call| call.reason),
            Some(Reason::NotPermitted)
        );
        assert_eq!(kept, SMOOTH + 20);
        assert_eq!(
            recent.beneath(&AppPath::root(), 9999, |_| true).len(),
            SMOOTH + 1
        );
        assert!(recent.wants_smooth(0), "a clock that was set back");
    }

    #[test]
    fn calls_are_found_by_id_and_by_subtree() {
        let recent = Recent::default();
        for (number, app) in [
            Some("shop"),
            Some("shop/checkout"),
            None,
            Some("shopping"),
            Some("/"),
        ]
        .into_iter()
        .enumerate()
        {
            recent.keep(ended(number, Some("ann"), app));
        }
        recent.keep(ended(5, None, None));
        let ids = |app: &str, limit: usize| -> Vec<i64> {
            recent
                .beneath(&AppPath::parse(app).unwrap(), limit, |_| true)
                .iter()
                .map(|call| call.at)
                .collect()
        };
        assert_eq!(ids("/", 100), [5, 4, 3, 2, 1, 0]);
        assert_eq!(ids("/", 2), [5, 4]);
        assert_eq!(ids("shop", 100), [1, 0]);
        assert_eq!(ids("shop/checkout", 100), [1]);
        assert_eq!(ids("platform", 100), [0; 0]);
        assert_eq!(recent.find("id-3").map(|call| call.at), Some(3));
        assert_eq!(
            recent.find("id-5").map(|call| call.who.is_none()),
            Some(true)
        );
        assert!(recent.find("id-6").is_none() && recent.find("").is_none());
    }

    /// Scenario: floods of calls, of large ones, and of strangers' ones. Guarantees the bounds, and who is pushed out.
    #[test]
    fn the_memory_is_bounded_and_strangers_push_out_nobody_else() {
        let recent = Recent::default();
        recent.keep(ended(0, Some("ann"), None));
        for number in 1..=5000 {
            recent.keep(ended(number, None, None));
        }
        assert!(
            recent.find("id-0").is_some()
                && recent.find("id-4488").is_none()
                && recent.find("id-4489").is_some()
        );
        for number in 10_000..10_000 + CALLS {
            recent.keep(ended(number, Some("ann"), None));
        }
        assert!(recent.find("id-0").is_none() && recent.find("id-10000").is_some());
        let large = "a".repeat(64 << 10);
        for number in 20_000..20_200 {
            recent.keep(ended(number, Some(&large), None));
        }
        let ring = recent.known.lock();
        assert!(
            ring.bytes <= BYTES && ring.calls.len() < 200 && ring.calls.len() > 100,
            "{}",
            ring.calls.len()
        );
        assert_eq!(
            ring.bytes,
            ring.calls.iter().map(|call| call.bytes()).sum::<usize>()
        );
        drop(ring);
        recent.keep(Ended {
            path: "é".repeat(400).into(),
            ..ended(7, Some("ann"), None)
        });
        assert_eq!(
            recent.find("id-7").map(|call| call.path.len()),
            Some(PATH_BYTES)
        );
    }
}
