//! What comes in lately: live numbers for each app, for people who look.
//!
//! What it does: counts items, bytes and failures of each app's last minute, and remembers which services sent and who
//! sent as them. What it refuses to know: the tree, and who may see what; metrics and the audit trail are other places.
//! Invariants: every map has a bound; counting costs one short lock for each app of an export and takes no memory once
//! app, service and sender are known; a service is known from exports that were accepted only.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::apps::AppPath;
use crate::clock::UnixMillis;
use crate::identify::Facts;
use crate::lock::Mutex;

/// Over how many seconds is told.
const SECONDS: usize = 60;
/// How many services of one app are known at once.
const SERVICES_PER_APP: usize = 128;
/// How many services of all apps are known at once: what this all may take is some 30 MiB.
const SERVICES: usize = 8192;
/// How many senders of one service are known at once.
const SENDERS_PER_SERVICE: usize = 16;
/// How much of a service's name is kept, in bytes.
const NAME_BYTES: usize = 256;
/// How many apps one shard knows: the policies of an earlier time may have had others.
const APPS_PER_SHARD: usize = 2048;
const SHARDS: usize = 16;
/// After this long, a place may be taken by another service.
const STALE_SECONDS: i64 = 60;
/// After this long, a service is not shown any more.
const FORGOTTEN_SECONDS: i64 = 24 * 3600;

/// The numbers of this process.
pub(crate) struct LiveStats {
    shards: [Mutex<ahash::HashMap<AppPath, App>>; SHARDS],
    hasher: ahash::RandomState,
    services: AtomicUsize,
}

/// What one export, or its part, brought to one app.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StatsUpdate<'a> {
    /// Each service's name and items; what is left of `items` belongs to none that is known.
    pub services: &'a [(Box<str>, u64)],
    pub items: u64,
    pub bytes: u64,
}

/// The last minute of one app, or of several together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Minute {
    pub items: u64,
    pub bytes: u64,
    pub errors: u64,
    /// When something was accepted last.
    pub(crate) last_seen: Option<UnixMillis>,
}

/// One service of an app.
#[derive(Clone, Debug)]
pub(crate) struct ServiceStats {
    pub name: String,
    /// Of the last minute.
    pub items: u64,
    pub(crate) last_seen: UnixMillis,
    /// The latest first.
    pub senders: Vec<Sender>,
}

/// Who sent, as it was proven.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    pub issuer: Arc<str>,
    pub subject: Arc<str>,
    pub method: &'static str,
    pub(crate) last_seen: UnixMillis,
}

#[derive(Default)]
struct App {
    seconds: Ring<Second>,
    last_seen: Option<UnixMillis>,
    services: ahash::HashMap<Box<str>, LiveService>,
}

#[derive(Clone, Copy, Default)]
struct Second {
    items: u64,
    bytes: u64,
    errors: u64,
}

struct LiveService {
    seconds: Ring<u32>,
    last_seen: UnixMillis,
    senders: Vec<Sender>,
}

/// One place for each of the last seconds, with the second that it tells of.
struct Ring<T>([(i64, T); SECONDS]);

impl<T: Copy + Default> Default for Ring<T> {
    fn default() -> Self {
        Ring([(i64::MIN, T::default()); SECONDS])
    }
}

impl<T: Copy + Default> Ring<T> {
    /// The place of a second, empty unless something was counted in it.
    fn at(&mut self, second: i64) -> Option<&mut T> {
        let place = usize::try_from(second.rem_euclid(SECONDS as i64)).unwrap_or_default();
        let (of, value) = self.0.get_mut(place)?;
        if *of != second {
            (*of, *value) = (second, T::default());
        }
        Some(value)
    }

    /// What was counted in the minute that ends with this second.
    fn minute(&self, second: i64) -> impl Iterator<Item = T> {
        let within = second.saturating_sub(SECONDS as i64)..second;
        self.0
            .iter()
            .filter(move |(of, _)| within.contains(&of.saturating_sub(1)))
            .map(|(_, value)| *value)
    }
}

impl Default for LiveStats {
    fn default() -> Self {
        LiveStats {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: ahash::RandomState::new(),
            services: AtomicUsize::new(0),
        }
    }
}

impl LiveStats {
    /// Something was accepted for an app.
    pub(crate) fn accepted(
        &self,
        app: &AppPath,
        sender: &Facts,
        beat: &StatsUpdate<'_>,
        now: UnixMillis,
    ) {
        self.with(app, now, |known| {
            known.last_seen = Some(now);
            if let Some(second) = known.seconds.at(now.seconds()) {
                second.items = second.items.saturating_add(beat.items);
                second.bytes = second.bytes.saturating_add(beat.bytes);
            }
            for (name, items) in beat.services {
                self.serve(known, bounded(name), *items, sender, now);
            }
        });
    }

    /// An export, or its part, for an app was refused, or failed.
    pub(crate) fn failed(&self, app: &AppPath, now: UnixMillis) {
        self.with(app, now, |known| {
            if let Some(second) = known.seconds.at(now.seconds()) {
                second.errors = second.errors.saturating_add(1);
            }
        });
    }

    /// The last minute of one app, without those beneath; `None`: nothing ever came.
    pub(crate) fn minute(&self, app: &AppPath, now: UnixMillis) -> Option<Minute> {
        let shard = self.shard(app)?.lock();
        let known = shard.get(app)?;
        let mut minute = Minute {
            last_seen: known.last_seen,
            ..Minute::default()
        };
        for second in known.seconds.minute(now.seconds()) {
            minute.items = minute.items.saturating_add(second.items);
            minute.bytes = minute.bytes.saturating_add(second.bytes);
            minute.errors = minute.errors.saturating_add(second.errors);
        }
        Some(minute)
    }

    /// The services of one app, by name.
    pub(crate) fn services(&self, app: &AppPath, now: UnixMillis) -> Vec<ServiceStats> {
        let Some(shard) = self.shard(app) else {
            return Vec::new();
        };
        let shard = shard.lock();
        let services = shard.get(app).map(|known| &known.services);
        let lately =
            |seen: UnixMillis| now.seconds().saturating_sub(seen.seconds()) < FORGOTTEN_SECONDS;
        let mut told: Vec<ServiceStats> = services
            .into_iter()
            .flatten()
            .filter(|(_, service)| lately(service.last_seen))
            .map(|(name, service)| {
                let mut senders = service.senders.clone();
                senders.sort_by_key(|sender| std::cmp::Reverse(sender.last_seen.0));
                ServiceStats {
                    name: name.to_string(),
                    items: service.seconds.minute(now.seconds()).map(u64::from).sum(),
                    last_seen: service.last_seen,
                    senders,
                }
            })
            .collect();
        drop(shard);
        told.sort_by(|one, other| one.name.cmp(&other.name));
        told
    }

    fn shard(&self, app: &AppPath) -> Option<&Mutex<ahash::HashMap<AppPath, App>>> {
        let hash = self.hasher.hash_one(app);
        self.shards
            .get(usize::try_from(hash % SHARDS as u64).unwrap_or_default())
    }

    fn with(&self, app: &AppPath, now: UnixMillis, count: impl FnOnce(&mut App)) {
        let Some(shard) = self.shard(app) else { return };
        let mut shard = shard.lock();
        if let Some(known) = shard.get_mut(app) {
            return count(known);
        }
        if shard.len() >= APPS_PER_SHARD {
            let lately = |known: &App| known.seconds.minute(now.seconds()).next().is_some();
            let before: usize = shard.values().map(|known| known.services.len()).sum();
            shard.retain(|_, known| lately(known));
            let after: usize = shard.values().map(|known| known.services.len()).sum();
            self.services.fetch_sub(before - after, Ordering::Relaxed);
            if shard.len() >= APPS_PER_SHARD {
                return;
            }
        }
        count(shard.entry(app.clone()).or_default());
    }

    fn serve(&self, app: &mut App, name: &str, items: u64, sender: &Facts, now: UnixMillis) {
        let service = match app.services.get_mut(name) {
            Some(service) => service,
            None => {
                if !self.has_room(app, now) {
                    return;
                }
                let fresh = LiveService {
                    seconds: Ring::default(),
                    last_seen: now,
                    senders: Vec::new(),
                };
                app.services.entry(name.into()).or_insert(fresh)
            }
        };
        service.last_seen = now;
        if let Some(second) = service.seconds.at(now.seconds()) {
            *second = second.saturating_add(u32::try_from(items).unwrap_or(u32::MAX));
        }
        service.sent_by(sender, now);
    }

    /// Makes room for one more service, where a place may be taken, and counts it.
    fn has_room(&self, app: &mut App, now: UnixMillis) -> bool {
        if app.services.len() < SERVICES_PER_APP {
            let more = |count: usize| (count < SERVICES).then_some(count + 1);
            if self
                .services
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
                .is_ok()
            {
                return true;
            }
        }
        // Another's place: the number stays the same.
        let stalest = app
            .services
            .iter()
            .min_by_key(|(_, service)| service.last_seen.0);
        let stale =
            |seen: UnixMillis| now.seconds().saturating_sub(seen.seconds()) >= STALE_SECONDS;
        match stalest
            .filter(|(_, service)| stale(service.last_seen))
            .map(|(name, _)| name.clone())
        {
            Some(name) => app.services.remove(&name).is_some(),
            None => false,
        }
    }
}

impl LiveService {
    fn sent_by(&mut self, sender: &Facts, now: UnixMillis) {
        let method = sender.method.name();
        let known = self.senders.iter_mut().find(|known| {
            known.method == method
                && known.subject == sender.subject
                && known.issuer == sender.issuer
        });
        if let Some(known) = known {
            known.last_seen = now;
            return;
        }
        let fresh = Sender {
            issuer: sender.issuer.clone(),
            subject: sender.subject.clone(),
            method,
            last_seen: now,
        };
        if self.senders.len() < SENDERS_PER_SERVICE {
            self.senders.push(fresh);
        } else if let Some(stalest) = self
            .senders
            .iter_mut()
            .min_by_key(|known| known.last_seen.0)
        {
            *stalest = fresh;
        }
    }
}

impl Minute {
    /// Takes in another app's.
    pub(crate) fn add(&mut self, other: Minute) {
        self.items = self.items.saturating_add(other.items);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.errors = self.errors.saturating_add(other.errors);
        self.last_seen = self.last_seen.max(other.last_seen);
    }
}

/// The beginning of a name, whole characters.
fn bounded(name: &str) -> &str {
    let mut end = name.len().min(NAME_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests;
