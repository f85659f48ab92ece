//! The queues of copies, before backends that say what they are told to. What it refuses to know: how a copy is made.

use super::*;
use crate::limits::Budget;

/// Answers in turn; the last for ever.
struct Scripted {
    answers: VecDeque<Attempt>,
    /// How long each try takes.
    takes: Duration,
}

impl Errand for Scripted {
    fn attempt(&mut self) -> Trying<'_> {
        let answer = match self.answers.len() {
            0 | 1 => self.answers.front().copied(),
            _ => self.answers.pop_front(),
        };
        let takes = self.takes;
        Box::pin(async move {
            pass(takes).await;
            answer.unwrap()
        })
    }
}

/// Keeps what it is told, and when.
struct Told {
    begun: Instant,
    ends: Mutex<Vec<(u64, u64, MirrorEnd)>>,
}

impl MirrorWitness for Told {
    fn ended(&self, leg: &Leg, end: MirrorEnd) {
        let seconds = self.begun.elapsed().as_secs();
        self.ends.lock().push((leg.items, seconds, end));
    }
}

/// So much of the paused time.
async fn pass(time: Duration) {
    let never = std::future::pending::<()>();
    assert!(timeout_at(Instant::now() + time, never).await.is_err());
}

struct Bench {
    mirrors: Arc<Mirrors>,
    told: Arc<Told>,
    budget: Arc<Budget>,
    settings: MirrorSettings,
}

impl Bench {
    fn new(settings: MirrorSettings) -> Self {
        Bench {
            mirrors: Arc::default(),
            told: Arc::new(Told {
                begun: Instant::now(),
                ends: Mutex::default(),
            }),
            budget: Budget::new(1 << 20),
            settings,
        }
    }

    /// Offers a copy of so many bytes and items for a backend.
    fn offer(
        &self,
        backend: &str,
        (bytes, items): (u64, u64),
        takes: u64,
        answers: &[Attempt],
    ) -> Result<(), Reason> {
        let leg = Leg {
            backend: backend.into(),
            against: "first".into(),
            project: "shop".into(),
            signal: Signal::Traces,
            items,
        };
        let errand = Scripted {
            answers: answers.iter().copied().collect(),
            takes: Duration::from_secs(takes),
        };
        let witness: Arc<dyn MirrorWitness> = self.told.clone();
        let account = self.budget.spare();
        let make = || -> Box<dyn Errand> { Box::new(errand) };
        self.mirrors
            .offer(&witness, &self.settings, &account, (leg, bytes), make)
    }

    async fn ends(&self) -> Vec<(u64, u64, MirrorEnd)> {
        self.mirrors.emptied(Instant::now() + HOUR).await;
        assert_eq!(self.budget.used_bytes(), 0);
        std::mem::take(&mut *self.told.ends.lock())
    }
}

const HOUR: Duration = Duration::from_secs(3600);
const TAKEN: Attempt = Attempt::Taken { rejected: 0 };
const DONE: MirrorEnd = MirrorEnd::Taken { rejected: 0 };
const AGAIN: Attempt = Attempt::Again(Reason::UpstreamUnavailable, None);

fn settings(buffer_bytes: u64, parallel: usize, patience: u64) -> MirrorSettings {
    MirrorSettings {
        buffer_bytes,
        parallel,
        patience: Duration::from_secs(patience),
    }
}

/// Scenario: backends that take a copy at once, later, in part, never, and not at all. Guarantees: what may be tried again is, after
/// pauses that grow or that the backend names, for as long as patience lasts; each copy ends once.
#[tokio::test(start_paused = true)]
async fn a_copy_is_tried_for_as_long_as_patience_lasts() {
    let late = |why| MirrorEnd::Dropped(Reason::MirrorLate, why);
    let down = Some(Reason::UpstreamUnavailable);
    let told = Attempt::Again(Reason::UpstreamThrottled, Some(Duration::from_secs(20)));
    let refused = Reason::UpstreamRefused;
    type Case<'a> = (&'a [Attempt], u64, u64, MirrorEnd);
    let cases: &[Case<'_>] = &[
        (&[TAKEN], 0, 0, DONE),
        (
            &[Attempt::Taken { rejected: 2 }],
            0,
            0,
            MirrorEnd::Taken { rejected: 2 },
        ),
        (&[AGAIN, AGAIN, TAKEN], 0, 3, DONE),
        (&[told, TAKEN], 0, 20, DONE),
        (
            &[Attempt::Refused(refused)],
            0,
            0,
            MirrorEnd::Refused(refused),
        ),
        // 1 + 2 + 4 + 8 + 15 + 15, and then no room for another 15.
        (&[AGAIN], 0, 45, late(down)),
        // A try that hangs is cut off.
        (&[TAKEN], 90, 60, late(None)),
        (&[told], 0, 40, late(Some(Reason::UpstreamThrottled))),
    ];
    for (answers, takes, seconds, end) in cases {
        let bench = Bench::new(settings(100, 4, 60));
        bench.offer("x", (10, 5), *takes, answers).unwrap();
        assert_eq!(bench.ends().await, [(5, *seconds, *end)], "{answers:?}");
    }
}

/// Scenario: more than fits, to one backend, to another, and beside callers that need the memory. Guarantees: the bound is each backend's
/// own; all of them leave half of the budget; what ended makes room.
#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_not_taken_in() {
    let full = Err(Reason::MirrorFull);
    let bench = Bench::new(settings(400 << 10, 1, 60));
    let offer = |backend, kib: u64| bench.offer(backend, (kib << 10, 1), 1, &[TAKEN]);
    assert_eq!(offer("x", 401), full);
    assert_eq!((offer("x", 300), offer("x", 101)), (Ok(()), full));
    assert_eq!(offer("x", 100), Ok(()));
    assert_eq!((offer("y", 113), offer("y", 112)), (full, Ok(())));
    let waits: Vec<(String, u64)> = bench
        .mirrors
        .states()
        .iter()
        .map(|queue| (queue.backend.to_string(), queue.bytes >> 10))
        .collect();
    assert_eq!(waits, [("x".to_owned(), 400), ("y".to_owned(), 112)]);
    assert_eq!(bench.ends().await.len(), 3);
    assert_eq!(offer("x", 400), Ok(()));
    assert_eq!(bench.ends().await.len(), 1);
}

/// Scenario: a backend that is down, with more copies than are sent at once. Guarantees: those behind age out with those before them,
/// however long the queue is; a backend that is back is sent what is young enough.
#[tokio::test(start_paused = true)]
async fn what_waits_behind_ages_too() {
    let bench = Bench::new(settings(1000, 1, 10));
    for items in 1..=5 {
        bench.offer("x", (10, items), 0, &[AGAIN]).unwrap();
    }
    pass(Duration::from_secs(5)).await;
    bench.offer("x", (10, 6), 0, &[TAKEN]).unwrap();
    let ends = bench.ends().await;
    let lost: Vec<u64> = ends
        .iter()
        .filter(|(.., end)| *end != DONE)
        .map(|(items, ..)| *items)
        .collect();
    assert_eq!(lost, [1, 2, 3, 4, 5]);
    assert!(
        ends.iter().all(|(_, seconds, _)| *seconds <= 10),
        "{ends:?}"
    );
    assert_eq!(
        ends.last().map(|(items, _, end)| (*items, *end)),
        Some((6, DONE))
    );
}

/// Scenario: the gateway stops with copies that will be sent, and with copies that hang. Guarantees: the drain waits for them until its
/// end, then each is told as dropped; nothing is taken in afterwards.
#[tokio::test(start_paused = true)]
async fn a_drain_sends_what_it_can_and_tells_the_rest() {
    let bench = Bench::new(settings(1000, 1, 600));
    for items in 1..=3 {
        bench.offer("x", (10, items), 2, &[TAKEN]).unwrap();
    }
    bench
        .mirrors
        .drain(Instant::now() + Duration::from_secs(5))
        .await;
    let late = MirrorEnd::Dropped(Reason::MirrorLate, None);
    assert_eq!(
        bench.ends().await,
        [(1, 2, DONE), (2, 4, DONE), (3, 5, late)]
    );
    assert_eq!(
        bench.offer("x", (10, 4), 0, &[TAKEN]),
        Err(Reason::MirrorLate)
    );
}

/// Scenario: copies are dropped faster than events are raised. Guarantees: all of them are in what is told at last.
#[test]
fn what_was_dropped_adds_up() {
    let mirrors = Mirrors::default();
    let x: Arc<str> = "x".into();
    for items in [2, 3] {
        mirrors.dropped(&x, Reason::MirrorFull, items);
    }
    mirrors.dropped(&x, Reason::MirrorLate, 1);
    let told = mirrors.untold(&x, Reason::MirrorFull);
    assert_eq!(
        told,
        Dropped {
            copies: 2,
            items: 5
        }
    );
    let left = Dropped {
        copies: 1,
        items: 1,
    };
    assert_eq!(mirrors.all_untold(), [(x, Reason::MirrorLate, left)]);
}
