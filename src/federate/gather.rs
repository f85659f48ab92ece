//! Asking side by side.
//!
//! What it does: runs one future for each target, so many at once, until all have ended or the deadline has come. What it
//! refuses to know: what is asked. Invariants: answers stand in the order of the targets; dropping it, or its deadline,
//! ends every question that is still on its way.

use std::collections::HashMap;

use crate::reason::Reason;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// Why a target has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lapse {
    /// The deadline came first, perhaps before it was asked at all.
    Late,
    /// Asking it failed within ourselves.
    Lost,
}

impl Lapse {
    pub(crate) fn reason(self) -> Reason {
        match self {
            Lapse::Late => Reason::QueryDeadline,
            Lapse::Lost => Reason::InternalDefect,
        }
    }
}

/// Asks each target, `parallel` (at least one) at once.
pub(crate) async fn gather<T, R, F>(
    targets: Vec<T>,
    parallel: usize,
    deadline: Instant,
    ask: impl Fn(T) -> F,
) -> Vec<Result<R, Lapse>>
where
    R: Send + 'static,
    F: Future<Output = R> + Send + 'static,
{
    let mut answers: Vec<Result<R, Lapse>> = targets.iter().map(|_| Err(Lapse::Late)).collect();
    let mut waiting = targets.into_iter().enumerate();
    // Dropping the set aborts what is in it.
    let mut asked = JoinSet::new();
    let mut places = HashMap::new();
    let all = async {
        loop {
            while asked.len() < parallel.max(1)
                && let Some((place, target)) = waiting.next()
            {
                places.insert(asked.spawn(ask(target)).id(), place);
            }
            let (id, answer) = match asked.join_next_with_id().await {
                None => return,
                Some(Ok((id, answer))) => (id, Ok(answer)),
                Some(Err(broken)) => (broken.id(), Err(Lapse::Lost)),
            };
            if let Some(slot) = places.remove(&id).and_then(|place| answers.get_mut(place)) {
                *slot = answer;
            }
        }
    };
    // What came in time counts, whatever is missing.
    let _all_or_deadline = timeout_at(deadline, all).await;
    answers
}
