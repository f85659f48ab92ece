//! The last known state of each app's alerts.
//!
//! What it does: remembers what the backend last told of each alert, and answers for a part of the tree. What it refuses
//! to know: who may ask. Invariants: nothing decides by it, and it is lost with the process: it is what we were told, not
//! what is; at most `ALARMS_PER_APP` alerts of an app and `ALARM_APPS` apps are remembered, those that do not fire and
//! were told of longest ago forgotten first; what is older than what we know changes nothing.

use std::collections::BTreeMap;

use crate::apps::AppPath;
use crate::clock::UnixMillis;
use crate::lock::{Mutex, MutexGuard};
use crate::profiles::AlertMessage;

/// Alerts that are remembered of one app.
pub(crate) const ALARMS_PER_APP: usize = 256;
/// Apps of which alerts are remembered. Only apps with a webhook secret can have any.
pub(crate) const ALARM_APPS: usize = 4096;

/// The state that counts as firing.
pub(crate) const FIRING: &str = "firing";

/// One alert, as it was last told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertState {
    pub app: AppPath,
    /// The backend's id, else the alert's name, else `unnamed`.
    pub id: String,
    pub name: String,
    /// `firing`, `ok`, `no_data`, `unknown`, or the backend's own word.
    pub state: String,
    /// When it came into this state, as far as we were told.
    pub since: UnixMillis,
    /// When it was last told of.
    pub told: UnixMillis,
}

impl AlertState {
    pub(crate) fn is_firing(&self) -> bool {
        self.state == FIRING
    }
}

/// All that is remembered.
#[derive(Default)]
pub struct AlertStates(Mutex<BTreeMap<AppPath, Vec<AlertState>>>);

impl AlertStates {
    /// Takes note of a message about an alert of `app`.
    pub fn note(&self, app: &AppPath, told: &AlertMessage, now: UnixMillis) {
        let at = told.time.unwrap_or(now);
        let id = told
            .id
            .as_deref()
            .or(told.name.as_deref())
            .unwrap_or("unnamed");
        let state = told.state.as_deref().unwrap_or("unknown");
        let mut apps = self.lock();
        if !apps.contains_key(app) && apps.len() >= ALARM_APPS {
            let latest = |alarms: &Vec<AlertState>| alarms.iter().map(|alarm| alarm.told).max();
            let quietest = apps
                .iter()
                .min_by_key(|(_, alarms)| latest(alarms))
                .map(|(app, _)| app.clone());
            quietest.and_then(|app| apps.remove(&app));
        }
        let alarms = apps.entry(app.clone()).or_default();
        if let Some(known) = alarms.iter_mut().find(|alarm| alarm.id == id) {
            if at < known.told {
                return;
            }
            if known.state != state {
                state.clone_into(&mut known.state);
                known.since = at;
            }
            if let Some(name) = &told.name {
                name.clone_into(&mut known.name);
            }
            known.told = at;
            return;
        }
        if alarms.len() >= ALARMS_PER_APP {
            let stalest = alarms
                .iter()
                .enumerate()
                .min_by_key(|(_, alarm)| (alarm.is_firing(), alarm.told));
            if let Some((place, _)) = stalest {
                alarms.swap_remove(place);
            }
        }
        alarms.push(AlertState {
            app: app.clone(),
            id: id.to_owned(),
            name: told.name.as_deref().unwrap_or(id).to_owned(),
            state: state.to_owned(),
            since: at,
            told: at,
        });
    }

    /// How many alerts fire at `app` and beneath.
    pub fn firing(&self, app: &AppPath) -> u64 {
        self.counts()
            .iter()
            .filter(|(path, _)| app.contains(path))
            .map(|(_, firing)| firing)
            .sum()
    }

    /// How many alerts fire at each app of which any is known.
    pub(crate) fn counts(&self) -> BTreeMap<AppPath, u64> {
        let apps = self.lock();
        let firing = |alarms: &Vec<AlertState>| {
            alarms.iter().filter(|alarm| alarm.is_firing()).count() as u64
        };
        apps.iter()
            .map(|(app, alarms)| (app.clone(), firing(alarms)))
            .collect()
    }

    /// The alerts at `app` and beneath: those that fire first, then by app and name.
    pub fn of(&self, app: &AppPath) -> Vec<AlertState> {
        let apps = self.lock();
        let beneath = apps
            .iter()
            .filter(|(path, _)| app.contains(path))
            .flat_map(|(_, alarms)| alarms);
        let mut found: Vec<AlertState> = beneath.cloned().collect();
        found.sort_by(|one, other| {
            let key = |alarm: &AlertState| (!alarm.is_firing(), alarm.app.clone());
            key(one)
                .cmp(&key(other))
                .then_with(|| (&one.name, &one.id).cmp(&(&other.name, &other.id)))
        });
        found
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<AppPath, Vec<AlertState>>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(text: &str) -> AppPath {
        AppPath::parse(text).unwrap()
    }

    fn told(name: &str, state: &str, time: Option<i64>) -> AlertMessage {
        let word = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        AlertMessage {
            id: None,
            name: word(name),
            state: word(state),
            time: time.map(UnixMillis),
        }
    }

    fn shown(alarms: &[AlertState]) -> Vec<String> {
        let line = |alarm: &AlertState| {
            format!(
                "{} {} {} {}",
                alarm.app, alarm.id, alarm.state, alarm.since.0
            )
        };
        alarms.iter().map(line).collect()
    }

    /// Scenario: alerts of parent and children come, change, and come late. Guarantees: a parent sees its children's, and
    /// no other's; a state has begun when it was first told; what is late changes nothing.
    #[test]
    fn each_alert_is_known_by_its_last_state() {
        let alarms = AlertStates::default();
        let now = UnixMillis(1000);
        alarms.note(&app("shop"), &told("errors", "ok", Some(10)), now);
        alarms.note(
            &app("shop/checkout"),
            &told("latency", "firing", Some(20)),
            now,
        );
        alarms.note(
            &app("shop/checkout"),
            &told("latency", "firing", Some(30)),
            now,
        );
        alarms.note(&app("shop/checkout"), &told("latency", "ok", Some(25)), now);
        alarms.note(&app("shopping"), &told("", "", None), now);
        assert_eq!(
            shown(&alarms.of(&app("shop"))),
            ["shop/checkout latency firing 20", "shop errors ok 10"]
        );
        assert_eq!(
            shown(&alarms.of(&app("shop/checkout"))),
            ["shop/checkout latency firing 20"]
        );
        assert_eq!(alarms.of(&AppPath::root()).len(), 3);
        assert_eq!(
            shown(&alarms.of(&app("shopping"))),
            ["shopping unnamed unknown 1000"]
        );
        assert_eq!(
            (alarms.firing(&app("shop")), alarms.firing(&app("shopping"))),
            (1, 0)
        );
        alarms.note(&app("shop/checkout"), &told("latency", "ok", Some(40)), now);
        assert_eq!(
            shown(&alarms.of(&app("shop/checkout"))),
            ["shop/checkout latency ok 40"]
        );
        assert_eq!(alarms.firing(&AppPath::root()), 0);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_fires_stays_longest() {
        let alarms = AlertStates::default();
        alarms.note(
            &app("shop"),
            &told("first", "firing", Some(0)),
            UnixMillis(0),
        );
        for number in 0..ALARMS_PER_APP as i64 + 10 {
            alarms.note(
                &app("shop"),
                &told(&format!("a{number}"), "ok", Some(number)),
                UnixMillis(0),
            );
        }
        let known = alarms.of(&app("shop"));
        assert_eq!(
            (known.len(), known[0].id.as_str()),
            (ALARMS_PER_APP, "first")
        );
        assert!(known.iter().all(|alarm| alarm.id != "a0"));
        for number in 0..ALARM_APPS as i64 {
            alarms.note(
                &app(&format!("b{number}")),
                &told("a", "ok", Some(1000 + number)),
                UnixMillis(0),
            );
        }
        assert_eq!(alarms.of(&AppPath::root()).len(), ALARM_APPS);
        assert!(alarms.of(&app("shop")).is_empty());
    }
}
