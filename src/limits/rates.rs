//! A backend's rate limits, divided among those who ask.
//!
//! What it does: keeps for each class of calls one bucket for all of us, whose tokens go to seats: one for each key that
//! asked lately, and one, the reserve, for newcomers. What it refuses to know: what a class or a key stands for, and how
//! it is asked. Invariants: over any time a class admits at most its rate times that time, its stock (`Rate::stock`), and
//! never more than the backend said is left; a key that asks less than its share, the rate divided by the seats, is
//! admitted however much the others ask; classes and keys are bounded.
//!
//! Fresh tokens are dealt as max-min fairness has it: the same to each seat, and what a full seat cannot take to the
//! others, so that what one leaves unused another may use. A share that no seat can take is lost, as in any full bucket.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::UnixMillis;

/// The most classes that are remembered; a profile has a handful.
const CLASSES_LIMIT_ENTRIES: usize = 64;
/// The most keys of a class that have seats of their own; all others share one.
const SEATS_LIMIT_ENTRIES: usize = 512;
/// A word on a time that is longer than this and than the class's own is about another limit.
const TOLD_LIMIT: Duration = Duration::from_secs(10);
/// How long a class is empty at most after a refusal of the backend's, unless its own time is longer.
const EMPTY_LIMIT: Duration = Duration::from_secs(60);
/// A clock that is set back further than this is believed.
const CLOCK_TOLERANCE_MILLIS: i64 = 10_000;
/// The key of all who have no seat of their own; no caller's key is empty.
const THE_REST: &str = "";

/// So many calls in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub count: u32,
    /// A second, a minute or an hour.
    pub per: Duration,
}

impl Rate {
    /// Reads `100/s`, `60/min` or `600/h`.
    pub fn parse(text: &str) -> Option<Rate> {
        let (count, per) = text.split_once('/')?;
        let per = Duration::from_secs(match per {
            "s" => 1,
            "min" => 60,
            "h" => 3600,
            _ => return None,
        });
        let digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
        let count = if digits { count.parse().ok() } else { None };
        count.filter(|count| (1..=1_000_000).contains(count)).map(|count| Rate { count, per })
    }

    /// What may be saved up: one second's worth, or a tenth of what a longer time allows.
    fn burst(self) -> f64 {
        (self.per_milli() * 1000.0).max(f64::from(self.count) / 10.0).max(1.0)
    }

    /// What `keys` together may have saved up at most, the reserve included: the burst, but a call for each of them.
    pub fn stock(self, keys: usize) -> f64 {
        let keys = f64::from(u32::try_from(keys).unwrap_or(u32::MAX));
        self.burst().max(keys) + self.reserve_size(keys > 0.0)
    }

    fn per_milli(self) -> f64 {
        f64::from(self.count) / (self.per.as_secs_f64() * 1000.0).max(1.0)
    }

    fn reserve_size(self, has_seats: bool) -> f64 {
        if has_seats { (self.burst() / 8.0).max(1.0) } else { self.burst() }
    }

    /// How long after its last call a key still has its seat.
    fn memory_millis(self) -> i64 {
        let seconds = self.per.as_secs().clamp(10, 600);
        i64::try_from(seconds * 1000).unwrap_or(600_000)
    }
}

/// What a key may have of a class now: for the `X-RateLimit-*` headers and `Retry-After`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Calls in the class's time; at least 1.
    pub limit: u64,
    /// Calls left now.
    pub remaining: u64,
    /// Until another call is admitted (of a refusal), or until the share is full again.
    pub reset_seconds: u64,
}

/// What the backend says of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub limit: Option<u64>,
    pub remaining: u64,
    pub reset_seconds: u64,
}

/// The budgets of all classes.
#[derive(Debug, Default)]
pub struct Rates {
    // Held for arithmetic over at most a few hundred seats, never across an await.
    classes: Mutex<ahash::HashMap<Arc<str>, Class>>,
}

#[derive(Debug)]
struct Class {
    /// As configured.
    configured: Rate,
    /// The backend's own limit, if it is lower.
    lowered: Option<u32>,
    seats: ahash::HashMap<String, Seat>,
    /// For those who come; everything while nobody asks.
    reserve: f64,
    /// What the backend says is left, and until when that holds.
    left: Option<(u64, UnixMillis)>,
    dealt: UnixMillis,
}

#[derive(Clone, Copy, Debug)]
struct Seat {
    tokens: f64,
    asked: UnixMillis,
}

impl Rates {
    /// Admits one call of `who` to the class, or says when to come again. `configured` may change from call to call.
    pub fn take(&self, class: &str, configured: Rate, who: &str, now: UnixMillis) -> Result<Share, Share> {
        let mut classes = self.classes();
        if !classes.contains_key(class) {
            if classes.len() >= CLASSES_LIMIT_ENTRIES {
                classes.clear();
            }
            classes.insert(class.into(), Class::new(configured, now));
        }
        match classes.get_mut(class) {
            Some(class) => class.take(configured, who, now),
            None => Err(Share { limit: 1, remaining: 0, reset_seconds: 1 }),
        }
    }

    /// Corrects a class by what the backend says. Nothing is raised: a limit or a remainder of the backend's counts if
    /// it is lower than ours. The time to its reset must be like the class's own: else it speaks of another limit, such
    /// as an hour's of one endpoint, which must not silence a whole class.
    pub fn corrected(&self, class: &str, told: Told, now: UnixMillis) {
        if let Some(class) = self.classes().get_mut(class) {
            class.corrected(told, now);
        }
    }

    /// The backend admits nothing in this class for so long.
    pub fn emptied(&self, class: &str, seconds: u64, now: UnixMillis) {
        if let Some(class) = self.classes().get_mut(class) {
            let most = class.configured.per.max(EMPTY_LIMIT);
            class.leave(0, Duration::from_secs(seconds.max(1)).min(most), now);
        }
    }

    fn classes(&self) -> MutexGuard<'_, ahash::HashMap<Arc<str>, Class>> {
        // Sound after every statement, so a panic elsewhere in a holder's thread spoils nothing.
        self.classes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Class {
    fn new(configured: Rate, now: UnixMillis) -> Self {
        let reserve = configured.burst();
        Class { configured, lowered: None, seats: ahash::HashMap::default(), reserve, left: None, dealt: now }
    }

    fn rate(&self) -> Rate {
        let count = self.lowered.map_or(self.configured.count, |lowered| lowered.min(self.configured.count));
        Rate { count: count.max(1), ..self.configured }
    }

    fn take(&mut self, configured: Rate, who: &str, now: UnixMillis) -> Result<Share, Share> {
        if self.configured != configured {
            *self = Class { left: self.left, ..Class::new(configured, now) };
        }
        let key = self.seat_of(who, now);
        self.deal(now);
        if let Some(seat) = self.seats.get_mut(key) {
            seat.asked = now;
        }
        let rate = self.rate();
        let seats = f64::from(u32::try_from(self.seats.len()).unwrap_or(u32::MAX)).max(1.0);
        let share_per_milli = rate.per_milli() / seats;
        let limit = (f64::from(rate.count) / seats).floor().max(1.0) as u64;
        self.left = self.left.filter(|(_, until)| *until > now);
        if let Some((0, until)) = self.left {
            let millis = u64::try_from(until.0.saturating_sub(now.0)).unwrap_or(0);
            return Err(Share { limit, remaining: 0, reset_seconds: millis.div_ceil(1000).max(1) });
        }
        let seat = self.seats.get_mut(key);
        let tokens = seat.as_ref().map_or(0.0, |seat| seat.tokens);
        match seat {
            Some(seat) if seat.tokens >= 1.0 => {
                seat.tokens -= 1.0;
                if let Some((left, _)) = &mut self.left {
                    *left -= 1;
                }
                let full = (rate.burst() / seats).max(1.0);
                let missing = (full - (tokens - 1.0)).max(0.0);
                Ok(Share { limit, remaining: (tokens - 1.0) as u64, reset_seconds: seconds(missing, share_per_milli) })
            }
            // The reserve's seat takes its part, too, until it is full.
            _ => Err(Share {
                limit,
                remaining: 0,
                reset_seconds: seconds(1.0 - tokens, rate.per_milli() / (seats + 1.0)).max(1),
            }),
        }
    }

    /// The key of the seat for `who`, which gets one if it had none. A newcomer's first call is paid from the reserve.
    fn seat_of<'a>(&mut self, who: &'a str, now: UnixMillis) -> &'a str {
        if self.seats.contains_key(who) {
            return who;
        }
        self.rise(now);
        let key = if self.seats.len() >= SEATS_LIMIT_ENTRIES { THE_REST } else { who };
        let first = self.reserve.min(1.0);
        let seat = self.seats.entry(key.to_owned()).or_insert(Seat { tokens: 0.0, asked: now });
        seat.tokens += first;
        self.reserve -= first;
        key
    }

    /// Those who have not asked for a while leave their seats; what they had goes to the reserve, and from there on.
    fn rise(&mut self, now: UnixMillis) {
        let from = now.0.saturating_sub(self.configured.memory_millis());
        let mut given_back = 0.0;
        self.seats.retain(|_, seat| {
            let stays = seat.asked.0 >= from;
            if !stays {
                given_back += seat.tokens;
            }
            stays
        });
        self.reserve += given_back;
    }

    /// Deals what has become due, and what seats hold beyond their size, to all seats alike.
    fn deal(&mut self, now: UnixMillis) {
        let rate = self.rate();
        let passed = now.0.saturating_sub(self.dealt.0);
        if !(-CLOCK_TOLERANCE_MILLIS..0).contains(&passed) {
            self.dealt = now;
        }
        let count = f64::from(u32::try_from(self.seats.len()).unwrap_or(u32::MAX));
        let size = (rate.burst() / count.max(1.0)).max(1.0);
        let reserve_size = rate.reserve_size(count > 0.0);
        // Millions of milliseconds are exact.
        let mut fresh = rate.per_milli() * passed.clamp(0, 86_400_000) as f64;
        let over = (self.reserve - reserve_size).max(0.0);
        self.reserve -= over;
        fresh += over;
        for seat in self.seats.values_mut() {
            let over = (seat.tokens - size).max(0.0);
            seat.tokens -= over;
            fresh += over;
        }
        // Each round fills a seat or deals everything; what is left after the last one is the dust of rounding.
        for _ in 0..=self.seats.len() + 1 {
            let hungry = self.seats.values().filter(|seat| seat.tokens < size).count();
            let hungry = hungry + usize::from(self.reserve < reserve_size);
            if hungry == 0 || fresh <= f64::EPSILON {
                return;
            }
            let each = fresh / f64::from(u32::try_from(hungry).unwrap_or(u32::MAX));
            for seat in self.seats.values_mut() {
                let more = each.min(size - seat.tokens).max(0.0);
                seat.tokens += more;
                fresh -= more;
            }
            let more = each.min(reserve_size - self.reserve).max(0.0);
            self.reserve += more;
            fresh -= more;
        }
    }

    fn corrected(&mut self, told: Told, now: UnixMillis) {
        let reset = Duration::from_secs(told.reset_seconds);
        if reset > self.configured.per.max(TOLD_LIMIT) {
            return;
        }
        if let Some(limit) = told.limit.and_then(|limit| u32::try_from(limit).ok())
            && limit > 0
            && reset * 2 >= self.configured.per
        {
            self.lowered = (limit < self.configured.count).then_some(limit);
        }
        self.leave(told.remaining, reset, now);
    }

    fn leave(&mut self, remaining: u64, reset: Duration, now: UnixMillis) {
        let until = UnixMillis(now.0.saturating_add(i64::try_from(reset.as_millis()).unwrap_or(0)));
        self.left = match self.left.filter(|(_, until)| *until > now) {
            // Answers may overtake each other: of two words on one time, the lower counts.
            Some((left, known)) if left < remaining => Some((left, known)),
            Some((left, known)) if left == remaining => Some((left, known.max(until))),
            Some(_) | None => Some((remaining, until)),
        };
    }
}

/// Whole seconds until so many tokens have come.
fn seconds(tokens: f64, per_milli: f64) -> u64 {
    let seconds = (tokens / per_milli.max(f64::MIN_POSITIVE) / 1000.0).ceil();
    // Clamped, so that the cast says what it means.
    seconds.clamp(0.0, 86_400.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        Rate::parse(text).unwrap()
    }

    #[test]
    fn rates_have_one_spelling() {
        for (text, expected) in [
            ("100/s", Some((100, 1))),
            ("60/min", Some((60, 60))),
            ("600/h", Some((600, 3600))),
            ("0/s", None),
            ("-1/s", None),
            ("+1/s", None),
            ("1.5/s", None),
            ("1/day", None),
            ("1 /s", None),
            ("1000001/s", None),
            ("99999999999999/s", None),
            ("/s", None),
            ("s", None),
        ] {
            let read = Rate::parse(text).map(|rate| (rate.count, rate.per.as_secs()));
            assert_eq!(read, expected, "{text}");
        }
    }

    proptest::proptest! {
        /// Scenario: somebody hammers, others come one after the other and ask steadily, each less than its share; any
        /// class. Guarantees: every modest call is admitted, all together stay within rate and stock, and what the
        /// modest leave, the greedy one gets.
        #[test]
        fn nobody_starves_and_the_limit_holds(
            class in proptest::sample::select(vec!["100/s", "15/s", "600/h", "60/min", "60/h"]),
            modest in 1_usize..7,
            pressure in 2_usize..6,
            seed in 0_u64..1000,
        ) {
            let rate = rate(class);
            let rates = Rates::default();
            // All seats, the reserve's too.
            let seats = (modest + 2) as f64;
            let pause = (seats / rate.per_milli() / 0.9).ceil() as i64;
            let end = pause * 12;
            let step = (1.0 / rate.per_milli() / pressure as f64).max(1.0) as i64;
            let mut due: Vec<i64> = (0..modest).map(|who| pause * (who as i64 + 1) + (seed as i64 * 7) % pause).collect();
            let (mut greedy, mut admitted, mut refused) = (0_u64, 0_u64, Vec::new());
            let mut at = 0;
            while at < end {
                let now = UnixMillis(1_000_000 + at);
                for (who, due) in due.iter_mut().enumerate() {
                    while *due <= at {
                        *due += pause;
                        match rates.take("c", rate, &format!("modest {who}"), now) {
                            Ok(_) => admitted += 1,
                            Err(_) => refused.push((who, at)),
                        }
                    }
                }
                greedy += u64::from(rates.take("c", rate, "greedy", now).is_ok());
                at += step;
            }
            assert!(refused.is_empty(), "{refused:?}");
            let total = (greedy + admitted) as f64;
            let most = rate.per_milli() * end as f64 + rate.stock(modest + 1);
            assert!(total <= most + 1.0, "{total} of {most}");
            let least = rate.per_milli() * end as f64 * 0.9 - seats;
            assert!(total >= least, "{total}, at least {least}");
        }
    }

    /// Scenario: the backend knows better. Guarantees: row by row how much is admitted at once, and when again.
    #[test]
    fn the_backend_lowers_what_is_left_and_never_raises_it() {
        let told = |limit, remaining, reset_seconds| Some(Told { limit, remaining, reset_seconds });
        let burst = |rates: &Rates, now| {
            (0..1000).take_while(|_| rates.take("c", rate("100/s"), "who", UnixMillis(now)).is_ok()).count()
        };
        // What is said first, what then, what is admitted after it at once, and a second later.
        let cases: &[(Option<Told>, Option<Told>, usize, usize)] = &[
            (None, None, 87, 100),
            (told(Some(100), 3, 5), None, 3, 0),
            (told(Some(100), 0, 5), None, 0, 0),
            (told(Some(100), 3, 1), None, 3, 100),
            (told(None, 5000, 5), None, 87, 100),
            (told(Some(5000), 5000, 5), None, 87, 100),
            // Out of order: the lower word counts.
            (told(None, 2, 9), told(None, 40, 9), 2, 0),
            (told(None, 40, 9), told(None, 2, 9), 2, 0),
            (told(Some(10), 5000, 1), None, 9, 10),
            (told(Some(0), 5000, 1), None, 87, 100),
            // An hour's limit of something else.
            (told(Some(60), 0, 3000), None, 87, 100),
        ];
        for (first, then, at_once, later) in cases {
            let rates = Rates::default();
            let now = 1_000_000;
            assert!(rates.take("c", rate("100/s"), "who", UnixMillis(now)).is_ok());
            for told in [first, then].into_iter().flatten() {
                rates.corrected("c", *told, UnixMillis(now));
            }
            let admitted = burst(&rates, now);
            assert!(admitted.abs_diff(*at_once) <= 1, "{first:?} {then:?}: {admitted}");
            let admitted = burst(&rates, now + 1000);
            assert!(admitted.abs_diff(*later) <= 1, "{first:?} {then:?}, later: {admitted}");
        }
        let rates = Rates::default();
        assert!(rates.take("c", rate("100/s"), "who", UnixMillis(0)).is_ok());
        rates.emptied("c", 7, UnixMillis(0));
        let refused = rates.take("c", rate("100/s"), "who", UnixMillis(2500)).unwrap_err();
        assert_eq!((refused.remaining, refused.reset_seconds), (0, 5));
        assert!(rates.take("c", rate("100/s"), "who", UnixMillis(7000)).is_ok());
    }

    /// Scenario: more keys than there are seats, and more classes than are kept. Guarantees: both maps stay bounded,
    /// and somebody without a seat is still served in time.
    #[test]
    fn keys_and_classes_are_bounded() {
        let rates = Rates::default();
        for number in 0..3000 {
            let _ = rates.take("c", rate("100/s"), &format!("who {number}"), UnixMillis(1000));
            let _ = rates.take(&format!("class {}", number % 100), rate("100/s"), "who", UnixMillis(1000));
        }
        let _ = rates.take("c", rate("100/s"), "late", UnixMillis(1000));
        let classes = rates.classes();
        assert!(classes.len() <= CLASSES_LIMIT_ENTRIES);
        assert!(classes.values().all(|class| class.seats.len() <= SEATS_LIMIT_ENTRIES + 1));
        drop(classes);
        let served =
            (0..100).any(|tenth| rates.take("c", rate("100/s"), "late", UnixMillis(1000 + tenth * 100)).is_ok());
        assert!(served);
    }
}
