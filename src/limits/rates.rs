//! A backend's rate limits, divided among those who ask.
//!
//! What it does: keeps for each class of calls one bucket for all of us, whose tokens go to seats: one for each key that
//! asked lately, and one, the reserve, for newcomers. What it refuses to know: what a class or a key stands for, and how
//! it is asked. Invariants: over any time a class admits at most its rate times that time, its stock (`Rate::stock`), and
//! never more than the backend said is left; a key that asks less than its share, the rate divided by the seats, is
//! admitted however much the others ask; its first call is paid from the reserve, then from what others saved beyond one call,
//! and else has its turn (`turn`) when its share has come to one call; classes and keys are bounded.
//!
//! Fresh tokens are dealt as max-min fairness has it: the same to each seat, and what a full seat cannot take to the
//! others, so that what one leaves unused another may use. A share that no seat can take is lost, as in any full bucket.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::UnixMillis;
use crate::lock::{Mutex, MutexGuard};

/// The most classes that are remembered; a profile has a handful, for each of its backends.
const CLASSES_LIMIT_ENTRIES: usize = 512;
/// The most keys of a class that have seats of their own; all others share one.
const SEATS_LIMIT_ENTRIES: usize = 512;
/// A word on a time that is longer than this and than the class's own is about another limit.
const TOLD_LIMIT: Duration = Duration::from_secs(10);
/// How long a newcomer's first call may wait for its turn. Beyond it, clients' own timeouts come near.
pub(crate) const TURN_LIMIT: Duration = Duration::from_secs(2);
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
        count
            .filter(|count| (1..=1_000_000).contains(count))
            .map(|count| Rate { count, per })
    }

    /// What may be saved up: one second's worth, or a tenth of what a longer time allows.
    fn burst(self) -> f64 {
        (self.per_milli() * 1000.0)
            .max(f64::from(self.count) / 10.0)
            .max(1.0)
    }

    /// What `keys` together may have saved up at most, the reserve included: the burst, but a call for each of them.
    #[cfg(test)]
    fn stock(self, keys: usize) -> f64 {
        let keys = f64::from(u32::try_from(keys).unwrap_or(u32::MAX));
        self.burst().max(keys) + self.reserve_size(keys > 0.0)
    }

    fn per_milli(self) -> f64 {
        f64::from(self.count) / (self.per.as_secs_f64() * 1000.0).max(1.0)
    }

    fn reserve_size(self, has_seats: bool) -> f64 {
        if has_seats {
            (self.burst() / 8.0).max(1.0)
        } else {
            self.burst()
        }
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
pub(crate) struct Told {
    pub limit: Option<u64>,
    pub remaining: u64,
    pub reset_seconds: u64,
}

/// The budgets of all classes.
#[derive(Debug, Default)]
pub struct Rates {
    // Held for arithmetic over at most a few hundred seats, never across an await.
    classes: Mutex<ahash::HashMap<Arc<str>, RateClass>>,
}

#[derive(Debug)]
struct RateClass {
    /// As configured.
    configured: Rate,
    /// The backend's own limit, if it is lower.
    lowered: Option<u32>,
    seats: ahash::HashMap<String, Seat>,
    /// For keys that ask next; everything while none asks.
    reserve: f64,
    /// What the backend says is left, and until when that holds.
    left: Option<(u64, UnixMillis)>,
    dealt: UnixMillis,
}

#[derive(Clone, Copy, Debug)]
struct Seat {
    tokens: f64,
    asked: UnixMillis,
    /// Whether a call was admitted since it came.
    served: bool,
    /// A call of it waits for its turn until then at most.
    waits_until: UnixMillis,
}

impl Rates {
    /// Admits one call of `who` to the class, or says when to come again. `configured` may change from call to call.
    pub(crate) fn take(
        &self,
        class: &str,
        configured: Rate,
        who: &str,
        now: UnixMillis,
    ) -> Result<Share, Share> {
        let mut classes = self.classes();
        if !classes.contains_key(class) {
            if classes.len() >= CLASSES_LIMIT_ENTRIES {
                classes.clear();
            }
            classes.insert(class.into(), RateClass::new(configured, now));
        }
        match classes.get_mut(class) {
            Some(class) => class.take(configured, who, now),
            None => Err(Share {
                limit: 1,
                remaining: 0,
                reset_seconds: 1,
            }),
        }
    }

    /// When the first call of `who`, which was not admitted, has its turn: no time if it can be asked again now. `None`: it
    /// has no turn, because it was served lately, waits already (`is_first` asks for another one), has no seat of its own, or would
    /// wait longer than `TURN_LIMIT`.
    pub fn turn(
        &self,
        class: &str,
        who: &str,
        now: UnixMillis,
        is_first: bool,
    ) -> Option<Duration> {
        self.classes().get_mut(class)?.turn(who, now, is_first)
    }

    /// Corrects a class by what the backend says. Nothing is raised: a limit or a remainder of the backend's counts if
    /// it is lower than ours. The time to its reset must be like the class's own: else it speaks of another limit, such
    /// as an hour's of one endpoint, which must not silence a whole class.
    pub(crate) fn corrected(&self, class: &str, told: Told, now: UnixMillis) {
        if let Some(class) = self.classes().get_mut(class) {
            class.corrected(told, now);
        }
    }

    /// The backend admits nothing in this class for so long.
    pub(crate) fn emptied(&self, class: &str, seconds: u64, now: UnixMillis) {
        if let Some(class) = self.classes().get_mut(class) {
            let most = class.configured.per.max(EMPTY_LIMIT);
            class.leave(0, Duration::from_secs(seconds.max(1)).min(most), now);
        }
    }

    fn classes(&self) -> MutexGuard<'_, ahash::HashMap<Arc<str>, RateClass>> {
        // Sound after every statement, so a panic elsewhere in a holder's thread spoils nothing.
        self.classes.lock()
    }
}

impl RateClass {
    fn new(configured: Rate, now: UnixMillis) -> Self {
        let reserve = configured.burst();
        RateClass {
            configured,
            lowered: None,
            seats: ahash::HashMap::default(),
            reserve,
            left: None,
            dealt: now,
        }
    }

    fn rate(&self) -> Rate {
        let count = self.lowered.map_or(self.configured.count, |lowered| {
            lowered.min(self.configured.count)
        });
        Rate {
            count: count.max(1),
            ..self.configured
        }
    }

    fn take(&mut self, configured: Rate, who: &str, now: UnixMillis) -> Result<Share, Share> {
        if self.configured != configured {
            *self = RateClass {
                left: self.left,
                ..RateClass::new(configured, now)
            };
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
            return Err(Share {
                limit,
                remaining: 0,
                reset_seconds: millis.div_ceil(1000).max(1),
            });
        }
        let seat = self.seats.get_mut(key);
        let tokens = seat.as_ref().map_or(0.0, |seat| seat.tokens);
        match seat {
            Some(seat) if seat.tokens >= 1.0 => {
                seat.tokens -= 1.0;
                seat.served = true;
                if let Some((left, _)) = &mut self.left {
                    *left -= 1;
                }
                let full = (rate.burst() / seats).max(1.0);
                let missing = (full - (tokens - 1.0)).max(0.0);
                Ok(Share {
                    limit,
                    remaining: (tokens - 1.0) as u64,
                    reset_seconds: seconds(missing, share_per_milli),
                })
            }
            // The reserve's seat takes its part, too, until it is full.
            _ => Err(Share {
                limit,
                remaining: 0,
                reset_seconds: seconds(1.0 - tokens, rate.per_milli() / (seats + 1.0)).max(1),
            }),
        }
    }

    fn turn(&mut self, who: &str, now: UnixMillis, is_first: bool) -> Option<Duration> {
        self.deal(now);
        let seats = f64::from(u32::try_from(self.seats.len()).unwrap_or(u32::MAX));
        let share_per_milli = self.rate().per_milli() / (seats + 1.0);
        if self
            .left
            .is_some_and(|(left, until)| left == 0 && until > now)
        {
            return None;
        }
        let seat = self.seats.get_mut(who).filter(|seat| !seat.served)?;
        let millis = ((1.0 - seat.tokens).max(0.0) / share_per_milli).ceil();
        let limit = TURN_LIMIT.as_millis() as f64;
        if millis > limit || (is_first && seat.waits_until > now) {
            return None;
        }
        if is_first {
            seat.waits_until = UnixMillis(now.0.saturating_add(limit as i64));
        }
        Some(Duration::from_millis(millis as u64))
    }

    /// The key of the seat for `who`, which gets one if it had none. A newcomer's first call is paid from the
    /// reserve, and what is missing by those who have saved the most: each keeps one call.
    fn seat_of<'a>(&mut self, who: &'a str, now: UnixMillis) -> &'a str {
        if self.seats.contains_key(who) {
            return who;
        }
        self.rise(now);
        let key = if self.seats.len() >= SEATS_LIMIT_ENTRIES {
            THE_REST
        } else {
            who
        };
        let mut first = self.reserve.min(1.0);
        self.reserve -= first;
        // Those without a seat of their own would come as newcomers each time.
        while first < 1.0 && key == who {
            let richest = self
                .seats
                .values_mut()
                .max_by(|one, other| one.tokens.total_cmp(&other.tokens));
            let Some(richest) = richest.filter(|seat| seat.tokens > 1.0) else {
                break;
            };
            let given = (richest.tokens - 1.0).min(1.0 - first);
            richest.tokens -= given;
            first += given;
        }
        let fresh = Seat {
            tokens: 0.0,
            asked: now,
            served: false,
            waits_until: UnixMillis(i64::MIN),
        };
        self.seats.entry(key.to_owned()).or_insert(fresh).tokens += first;
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
            let hungry = self
                .seats
                .values()
                .filter(|seat| seat.tokens < size)
                .count();
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
        let until = UnixMillis(
            now.0
                .saturating_add(i64::try_from(reset.as_millis()).unwrap_or(0)),
        );
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
mod tests;
