//! What is refused of one HTTP/2 connection before there is a call, told without adding up.
//!
//! What it does: tells of the first refusal for each reason at once, of every further one to be counted, and of their number
//! when the connection has ended. What it refuses to know: frames, records. Invariants: at most two records are asked for by
//! reason and connection, however many streams are refused; reasons are few and our own.

use std::sync::Arc;

use crate::reason::Reason;

/// Which refusal for its reason it is on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Times {
    /// To be counted and recorded.
    First,
    /// To be counted.
    Further,
    /// So many there were, more than one; to be recorded.
    All(u64),
}

/// Told of each. Must not block.
pub(crate) type Tell = Arc<dyn Fn(Reason, Times) + Send + Sync>;

/// The refusals on one connection.
pub(crate) struct Refused {
    tell: Tell,
    by_reason: Vec<(Reason, u64)>,
}

impl Refused {
    pub(crate) fn new(tell: Tell) -> Self {
        Refused {
            tell,
            by_reason: Vec::new(),
        }
    }

    pub(crate) fn note(&mut self, reason: Reason) {
        match self
            .by_reason
            .iter_mut()
            .find(|(known, _)| *known == reason)
        {
            Some((_, times)) => {
                *times += 1;
                (self.tell)(reason, Times::Further);
            }
            None => {
                self.by_reason.push((reason, 1));
                (self.tell)(reason, Times::First);
            }
        }
    }
}

impl Drop for Refused {
    fn drop(&mut self) {
        for (reason, times) in self.by_reason.iter().filter(|(_, times)| *times > 1) {
            (self.tell)(*reason, Times::All(*times));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Scenario: refusals of two kinds on one connection. Guarantees: each is told once to be counted; once, and if there were
    /// more with their number, to be recorded.
    #[test]
    fn refusals_are_counted_each_and_recorded_once() {
        let told: Arc<Mutex<Vec<_>>> = Arc::default();
        let heard = told.clone();
        let mut refused = Refused::new(Arc::new(move |reason, times| {
            heard.lock().unwrap().push((reason, times))
        }));
        let (often, once) = (Reason::Http2StreamRefused, Reason::Http2ProtocolError);
        [often, often, once, often]
            .into_iter()
            .for_each(|reason| refused.note(reason));
        drop(refused);
        let expected = [
            (often, Times::First),
            (often, Times::Further),
            (once, Times::First),
            (often, Times::Further),
            (often, Times::All(3)),
        ];
        assert_eq!(*told.lock().unwrap(), expected);
    }
}
