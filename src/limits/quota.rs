//! How much may be sent: rates with bursts, in items and in bytes.
//!
//! What it does: keeps a bucket for each key, and takes an export's cost out of all buckets that it concerns, or out of
//! none. What it refuses to know: what the keys stand for, and who sends. Invariants: over any time a key is admitted at
//! most its rate times that time, its burst, and one export; there are at most `BUCKETS_LIMIT_ENTRIES` buckets.
//!
//! A bucket that holds anything admits an export whole and may owe the rest (token bucket with debt): an export that is
//! larger than the burst still gets through, and pays for it afterwards.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::UnixMillis;
use crate::lock::{Mutex, MutexGuard};

/// The most keys that are remembered. A policy has fewer apps and bindings.
pub(crate) const BUCKETS_LIMIT_ENTRIES: usize = 262_144;

/// What a key may send. At least one of the rates is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Spans, data points and log records.
    pub items_per_second: Option<u64>,
    /// Of the decompressed export.
    pub bytes_per_second: Option<u64>,
    /// How much of the rates may be saved up.
    pub burst: Duration,
}

/// What one export costs one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    pub key: Arc<str>,
    pub quota: Quota,
    pub items: u64,
    pub bytes: u64,
}

/// A key has used up its quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Over {
    /// Until something is admitted again; at least 1.
    pub retry_after_seconds: u64,
    /// The key that must wait the longest.
    pub key: Arc<str>,
}

/// Where the buckets are kept: in this process, or shared by several replicas.
#[async_trait]
pub(crate) trait Meter: Send + Sync {
    /// Takes all charges, or none if one of the keys is over its quota.
    async fn take(&self, charges: &[Charge], now: UnixMillis) -> Result<(), Over>;

    /// Whether one of the keys is over its quota already, so that nothing more of it need be read.
    async fn look(&self, keys: &[(Arc<str>, Quota)], now: UnixMillis) -> Result<(), Over>;
}

/// Buckets of this process alone.
#[derive(Debug, Default)]
pub(crate) struct LocalMeter {
    // Held for a few additions per charge, never across an await.
    buckets: Mutex<ahash::HashMap<Arc<str>, Bucket>>,
}

/// Levels are thousandths, so that a rate per second is one per millisecond and nothing is rounded.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    items: i128,
    bytes: i128,
    filled: UnixMillis,
}

/// A clock that is set back further than this is believed; concurrent callers' times differ by less.
const CLOCK_TOLERANCE_MILLIS: i64 = 10_000;

impl LocalMeter {
    pub(crate) fn new() -> Self {
        LocalMeter::default()
    }

    fn buckets(&self) -> MutexGuard<'_, ahash::HashMap<Arc<str>, Bucket>> {
        // The map is sound after every statement, so a panic elsewhere in a holder's thread spoils nothing.
        self.buckets.lock()
    }
}

#[async_trait]
impl Meter for LocalMeter {
    async fn take(&self, charges: &[Charge], now: UnixMillis) -> Result<(), Over> {
        if charges.is_empty() {
            return Ok(());
        }
        let mut buckets = self.buckets();
        make_room(&mut buckets, charges.len());
        let mut over = None;
        for Charge { key, quota, .. } in charges {
            let bucket = buckets
                .entry(key.clone())
                .or_insert_with(|| Bucket::full(quota, now));
            bucket.fill(quota, now);
            over = longer(over, key, bucket.wait_millis(quota));
        }
        if let Some(over) = over {
            return Err(over.into());
        }
        for charge in charges {
            if let Some(bucket) = buckets.get_mut(&charge.key) {
                bucket.items = bucket.items.saturating_sub(i128::from(charge.items) * 1000);
                bucket.bytes = bucket.bytes.saturating_sub(i128::from(charge.bytes) * 1000);
            }
        }
        Ok(())
    }

    async fn look(&self, keys: &[(Arc<str>, Quota)], now: UnixMillis) -> Result<(), Over> {
        if keys.is_empty() {
            return Ok(());
        }
        let buckets = self.buckets();
        let mut over = None;
        for (key, quota) in keys {
            if let Some(mut bucket) = buckets.get(key).copied() {
                bucket.fill(quota, now);
                over = longer(over, key, bucket.wait_millis(quota));
            }
        }
        over.map_or(Ok(()), |over| Err(over.into()))
    }
}

/// The longest wait so far, and whose it is.
struct Wait(u64, Arc<str>);

impl From<Wait> for Over {
    fn from(Wait(millis, key): Wait) -> Self {
        Over {
            retry_after_seconds: millis.div_ceil(1000).max(1),
            key,
        }
    }
}

fn longer(over: Option<Wait>, key: &Arc<str>, millis: Option<u64>) -> Option<Wait> {
    match (over, millis) {
        (over, None) => over,
        (Some(over), Some(millis)) if over.0 >= millis => Some(over),
        (_, Some(millis)) => Some(Wait(millis, key.clone())),
    }
}

/// Forgets the keys that were asked of the longest ago, once there are too many.
fn make_room(buckets: &mut ahash::HashMap<Arc<str>, Bucket>, more: usize) {
    if buckets.len().saturating_add(more) <= BUCKETS_LIMIT_ENTRIES {
        return;
    }
    let mut times: Vec<UnixMillis> = buckets.values().map(|bucket| bucket.filled).collect();
    let middle = times.len() / 2;
    let (_, median, _) = times.select_nth_unstable(middle);
    let median = *median;
    buckets.retain(|_, bucket| bucket.filled > median);
}

impl Bucket {
    fn full(quota: &Quota, now: UnixMillis) -> Self {
        Bucket {
            items: capacity(quota.items_per_second, quota),
            bytes: capacity(quota.bytes_per_second, quota),
            filled: now,
        }
    }

    fn fill(&mut self, quota: &Quota, now: UnixMillis) {
        let passed = now.0.saturating_sub(self.filled.0);
        if !(-CLOCK_TOLERANCE_MILLIS..=0).contains(&passed) {
            self.filled = now;
        }
        let fill = |level: i128, rate: Option<u64>| {
            let more = i128::from(rate.unwrap_or(0)) * i128::from(passed.max(0));
            level.saturating_add(more).min(capacity(rate, quota))
        };
        self.items = fill(self.items, quota.items_per_second);
        self.bytes = fill(self.bytes, quota.bytes_per_second);
    }

    /// How long until both levels are above nothing; `None`: they are.
    fn wait_millis(&self, quota: &Quota) -> Option<u64> {
        let wait = |level: i128, rate: Option<u64>| {
            let rate = i128::from(rate.filter(|rate| *rate > 0)?);
            (level <= 0).then(|| u64::try_from(-level / rate + 1).unwrap_or(u64::MAX))
        };
        wait(self.items, quota.items_per_second).max(wait(self.bytes, quota.bytes_per_second))
    }
}

/// What a bucket holds when it is full: at least one unit, and nothing where there is no rate.
fn capacity(rate: Option<u64>, quota: &Quota) -> i128 {
    let millis = i128::try_from(quota.burst.as_millis()).unwrap_or(i128::MAX >> 64);
    rate.map_or(0, |rate| i128::from(rate).saturating_mul(millis).max(1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quota(items: u64, bytes: u64, burst_seconds: u64) -> Quota {
        let rate = |rate: u64| (rate > 0).then_some(rate);
        Quota {
            items_per_second: rate(items),
            bytes_per_second: rate(bytes),
            burst: Duration::from_secs(burst_seconds),
        }
    }

    fn charge(key: &str, quota: Quota, items: u64, bytes: u64) -> Charge {
        Charge {
            key: key.into(),
            quota,
            items,
            bytes,
        }
    }

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(future)
    }

    fn over<T: std::fmt::Debug>(result: Result<T, Over>) -> Option<(String, u64)> {
        result
            .err()
            .map(|over| (over.key.to_string(), over.retry_after_seconds))
    }

    /// Scenario: exports to apps of one tree, told as time, charges and the answer. Guarantees: debt, waits, and that
    /// nothing is taken unless all is.
    #[test]
    fn a_bucket_admits_while_it_holds_anything_and_owes_the_rest() {
        let (shop, web) = (quota(10, 0, 10), quota(0, 1000, 2));
        let meter = LocalMeter::new();
        let both = |items, bytes| {
            vec![
                charge("app:shop/web", web, items, bytes),
                charge("app:shop", shop, items, bytes),
            ]
        };
        for (seconds, charges, expected) in [
            (0, both(50, 100), None),
            (0, both(49, 100), None),
            (0, both(21, 0), None),
            // 20 items owed, 1,800 bytes left; a second gives back 10 items.
            (0, both(1, 1), Some(("app:shop", 3))),
            (1, both(1, 1), Some(("app:shop", 2))),
            (2, both(1, 1), Some(("app:shop", 1))),
            // What was refused took nothing of the other.
            (2, vec![charge("app:shop/web", web, 0, 2000)], None),
            (3, vec![charge("app:shop/web", web, 0, 5000)], None),
            (3, both(1, 1), Some(("app:shop/web", 5))),
            (7, both(1, 0), Some(("app:shop/web", 1))),
            (8, both(1, 0), None),
            // The burst is saved up, and no more than it.
            (1000, both(99, 1999), None),
            (1000, both(1, 1), None),
            (1000, both(0, 0), Some(("app:shop/web", 1))),
            (1000, vec![], None),
        ] {
            let now = UnixMillis(seconds * 1000);
            let keys: Vec<(Arc<str>, Quota)> = charges
                .iter()
                .map(|charge| (charge.key.clone(), charge.quota))
                .collect();
            let expected = expected.map(|(key, seconds): (&str, u64)| (key.to_owned(), seconds));
            assert_eq!(
                over(wait(meter.look(&keys, now))),
                expected,
                "look at {seconds}: {charges:?}"
            );
            assert_eq!(
                over(wait(meter.take(&charges, now))),
                expected,
                "{seconds}: {charges:?}"
            );
        }
    }

    #[test]
    fn a_look_opens_no_bucket_and_a_changed_quota_keeps_the_debt() {
        let meter = LocalMeter::new();
        let slow = quota(1, 0, 1);
        assert_eq!(
            wait(meter.look(&[("a".into(), slow)], UnixMillis(0))),
            Ok(())
        );
        assert!(meter.buckets().is_empty());
        assert_eq!(
            wait(meter.take(&[charge("a", slow, 101, 0)], UnixMillis(0))),
            Ok(())
        );
        let fast = quota(10, 0, 1);
        assert_eq!(
            over(wait(meter.take(&[charge("a", slow, 1, 0)], UnixMillis(0)))),
            Some(("a".to_owned(), 101))
        );
        assert_eq!(
            over(wait(meter.take(&[charge("a", fast, 1, 0)], UnixMillis(0)))),
            Some(("a".to_owned(), 11))
        );
    }

    /// Scenario: a clock that is set back by a day, or read out of order. Guarantees that no caller waits for it to catch up.
    #[test]
    fn a_clock_that_is_set_back_holds_nobody_up() {
        let meter = LocalMeter::new();
        let rate = quota(1, 0, 1);
        let day = 86_400_000;
        let take = |millis| {
            over(wait(
                meter.take(&[charge("a", rate, 3, 0)], UnixMillis(millis)),
            ))
        };
        assert_eq!(take(day), None);
        assert_eq!(take(day - 5000), Some(("a".to_owned(), 3)));
        assert_eq!(take(day + 2000), Some(("a".to_owned(), 1)));
        assert_eq!(take(0), Some(("a".to_owned(), 1)));
        assert_eq!(take(1000), None);
    }

    #[test]
    fn old_buckets_make_room() {
        let meter = LocalMeter::new();
        let rate = quota(1, 0, 1);
        for number in 0..BUCKETS_LIMIT_ENTRIES + 10 {
            let now = UnixMillis(i64::try_from(number).unwrap());
            wait_in(&meter, &charge(&format!("k{number}"), rate, 9, 0), now);
        }
        let buckets = meter.buckets();
        assert!(
            (BUCKETS_LIMIT_ENTRIES / 4..=BUCKETS_LIMIT_ENTRIES).contains(&buckets.len()),
            "{}",
            buckets.len()
        );
        let last = format!("k{}", BUCKETS_LIMIT_ENTRIES + 9);
        assert!(buckets.contains_key(last.as_str()) && !buckets.contains_key("k0"));
    }

    fn wait_in(meter: &LocalMeter, charge: &Charge, now: UnixMillis) {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let taken = meter
            .take(std::slice::from_ref(charge), now)
            .as_mut()
            .poll(&mut context);
        assert_eq!(taken, std::task::Poll::Ready(Ok(())));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Over any stretch of any sequence, what is admitted is at most rate times time, the burst, and the last export;
        /// and a caller that waits as long as told is admitted, but not before.
        #[test]
        fn the_rate_holds_over_any_time(
            (rate, burst) in (1_u64..20, 1_u64..5),
            steps in proptest::collection::vec((0_i64..3000, 0_u64..40), 1..40)
        ) {
            let meter = LocalMeter::new();
            let quota = quota(rate, 0, burst);
            let mut now = 0;
            let mut admitted: Vec<(i64, u64)> = Vec::new();
            for (passed, items) in steps {
                now += passed;
                match wait(meter.take(&[charge("a", quota, items, items)], UnixMillis(now))) {
                    Ok(()) => admitted.push((now, items)),
                    Err(over) => {
                        let told = i64::try_from(over.retry_after_seconds).unwrap() * 1000;
                        let key = [("a".into(), quota)];
                        prop_assert_eq!(wait(meter.look(&key, UnixMillis(now + told))), Ok(()));
                        prop_assert!(wait(meter.look(&key, UnixMillis(now + told - 1000))).is_err());
                    }
                }
            }
            for (place, (begin, _)) in admitted.iter().enumerate() {
                let mut sum = 0;
                for (end, items) in &admitted[place..] {
                    sum += items * 1000;
                    let time = rate * u64::try_from(end - begin).unwrap();
                    prop_assert!(sum <= time + rate * burst * 1000 + items * 1000, "{:?}", admitted);
                }
            }
        }
    }
}
