//! What a backend's message says of an alert, and what we add to it.
//!
//! What it does: reads a message by the profile's pointers or the operator's, and writes the message that destinations
//! get. What it refuses to know: who sent it, who gets it. Invariants: the original is passed on as it came; what is read
//! out of it is bounded, and gets into no URL but percent-encoded; no part of it decides where anything is sent.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::House;
use crate::accept::path;
use crate::apps::{AppPath, NodeId};
use crate::clock::UnixMillis;
use crate::forward::DestinationSettings;
use crate::profiles::{AlertLayout, Ui, UiPage, UiSpot};

/// How much is kept of a name, an id or a state, in characters.
const TEXT_LIMIT: usize = 256;

/// `alerts:` of the configuration, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertSettings {
    /// Each name once.
    pub destinations: Vec<DestinationSettings>,
    /// From `1m` to `1h`.
    pub replay_window: Duration,
    pub fields: AlertFieldSettings,
}

/// JSON pointers; `None`: the profile's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertFieldSettings {
    pub id: Option<String>,
    pub name: Option<String>,
    pub state: Option<String>,
    pub time: Option<String>,
}

impl Default for AlertSettings {
    fn default() -> Self {
        AlertSettings {
            destinations: Vec::new(),
            // A webhook that is tried again comes within minutes.
            replay_window: Duration::from_secs(600),
            fields: AlertFieldSettings::default(),
        }
    }
}

impl AlertFieldSettings {
    /// The profile's layout, with the operator's pointers instead of its own.
    pub fn over(&self, profile: &AlertLayout) -> AlertLayout {
        let mut layout = profile.clone();
        for (given, pointers) in [
            (&self.id, &mut layout.id),
            (&self.name, &mut layout.name),
            (&self.state, &mut layout.state),
            (&self.time, &mut layout.time),
        ] {
            if let Some(pointer) = given {
                *pointers = vec![pointer.clone()];
            }
        }
        layout
    }
}

/// What a message says of itself, as far as it does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub id: Option<String>,
    pub name: Option<String>,
    /// `firing`, `ok`, `no_data`, or the backend's own word.
    pub state: Option<String>,
    pub time: Option<UnixMillis>,
}

impl Told {
    pub fn read(message: &Value, layout: &AlertLayout) -> Self {
        let text = |pointers: &[String]| AlertLayout::find(pointers, message).map(|value| bounded(&plain(value)));
        Told {
            id: text(&layout.id),
            name: text(&layout.name),
            state: text(&layout.state).map(|word| layout.state(&word).to_owned()),
            time: AlertLayout::find(&layout.time, message).and_then(moment),
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn bounded(text: &str) -> String {
    text.chars().map(|each| if each.is_control() { ' ' } else { each }).take(TEXT_LIMIT).collect()
}

/// RFC 3339, or Unix seconds, or what is too large for seconds as milliseconds. A time in another form is none: templates
/// are people's own.
fn moment(value: &Value) -> Option<UnixMillis> {
    /// The year 2286 in seconds, 1970 in milliseconds.
    const SECONDS_LIMIT: i64 = 10_000_000_000;
    let number = match value {
        Value::String(text) => match OffsetDateTime::parse(text.trim(), &Rfc3339) {
            Ok(moment) => return i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok().map(UnixMillis),
            Err(_) => text.trim().parse().ok()?,
        },
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|seconds| seconds as i64))?,
        _ => return None,
    };
    Some(UnixMillis(if number.abs() < SECONDS_LIMIT { number.saturating_mul(1000) } else { number }))
}

/// The message that destinations get.
#[derive(Serialize)]
pub struct Enriched<'a> {
    pub organization: &'a str,
    pub app: &'a str,
    pub owners: &'a [String],
    pub project: Option<&'a str>,
    /// RFC 3339.
    pub received: String,
    pub request_id: &'a str,
    /// The original, byte for byte.
    pub alert: &'a RawValue,
    pub state: Option<&'a str>,
    pub name: Option<&'a str>,
    pub links: DeepLinks,
}

/// Where to look next. Absent: nobody knows, or it needs a name of ours that the operator did not give.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeepLinks {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dashboards: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
}

impl DeepLinks {
    /// `public`: what clients call us, by the operator's word. The caller's word (its `Host`) would let it choose where
    /// people click. `now`: when the message came, should it not say its time.
    pub fn of(
        public: Option<&str>,
        app: &AppPath,
        ui: &Ui,
        project: Option<&str>,
        told: &Told,
        now: UnixMillis,
    ) -> Self {
        let at = told.time.unwrap_or(now).0;
        let window = Some(ui.window(Some(at), now.0));
        let link = |page| ui.link(page, &UiSpot { project: project?, id: told.id.as_deref(), name: None, window });
        let console = public.map(|public| {
            let segments = app.as_str().split('/').filter(|segment| !segment.is_empty());
            match path::join(segments).as_str() {
                "/" => format!("{public}/.lightkeeper/"),
                path => format!("{public}/.lightkeeper/apps{path}"),
            }
        });
        DeepLinks {
            console,
            services: link(UiPage::Services),
            dashboards: link(UiPage::Dashboards),
            traces: link(UiPage::Explorer),
            alert: link(UiPage::Alert),
        }
    }
}

/// Whom to ask about an app: its own owners, or else its nearest ancestor's.
pub fn owners(house: &House, node: NodeId) -> &[String] {
    let tree = house.policy.tree();
    let mut here = tree.node(node);
    while let Some(node) = here {
        if !node.owners.is_empty() {
            return &node.owners;
        }
        here = node.parent.and_then(|parent| tree.node(parent));
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profiles::{Profile, UiBase};
    use serde_json::json;

    #[test]
    fn times_are_read_in_three_forms_and_no_other() {
        // 2026-11-22T12:00:00Z
        let noon = Some(UnixMillis(1_795_348_800_000));
        for (value, expected) in [
            (json!("2026-11-22T12:00:00Z"), noon),
            (json!("2026-11-22T13:00:00.000+01:00"), noon),
            (json!(1_795_348_800), noon),
            (json!(1_795_348_800.9), noon),
            (json!(1_795_348_800_000_i64), noon),
            (json!("1795348800"), noon),
            (json!("22 November"), None),
            (json!(true), None),
            (json!(u64::MAX), Some(UnixMillis(i64::MAX))),
        ] {
            assert_eq!(moment(&value), expected, "{value}");
        }
    }

    #[test]
    fn what_is_read_is_bounded_and_of_one_line() {
        let layout = AlertFieldSettings { id: Some("/a/0/b".to_owned()), ..AlertFieldSettings::default() };
        let layout = layout.over(&AlertLayout { name: vec!["/name".to_owned()], ..AlertLayout::default() });
        let told = Told::read(&json!({"a": [{"b": 7}], "name": format!("x\r\ny{}", "z".repeat(1000))}), &layout);
        assert_eq!(told.id.as_deref(), Some("7"));
        let name = told.name.unwrap();
        assert!(name.starts_with("x  yz") && name.chars().count() == TEXT_LIMIT, "{name}");
        assert_eq!((told.state, told.time), (None, None));
    }

    #[test]
    fn links_lead_to_us_by_the_operators_word_only() {
        let app = |text| AppPath::parse(text).unwrap();
        let (ui, told, now) = (Ui::new(&Profile::lightstep(), &UiBase::Profile), Told::default(), UnixMillis(0));
        let console = |public, path| DeepLinks::of(public, &app(path), &ui, None, &told, now).console;
        assert_eq!(
            console(Some("https://gw"), "shop/checkout").as_deref(),
            Some("https://gw/.lightkeeper/apps/shop/checkout")
        );
        assert_eq!(console(Some("https://gw"), "/").as_deref(), Some("https://gw/.lightkeeper/"));
        assert_eq!(DeepLinks::of(None, &app("shop"), &ui, None, &told, now), DeepLinks::default());
        let told = Told { id: Some("a/../<b>".to_owned()), time: Some(UnixMillis(30 * 60_000)), ..Told::default() };
        let links = DeepLinks::of(None, &app("shop"), &ui, Some("shop prod"), &told, now);
        let at = |rest: &str| Some(format!("https://app.lightstep.com/shop%20prod/{rest}"));
        assert_eq!((links.services, links.dashboards), (at("service-directory"), at("dashboards")));
        assert_eq!(links.traces, at("explorer?start_micros=0&end_micros=3600000000"));
        assert_eq!(links.alert, at("alerts/a%2F..%2F%3Cb%3E"));
    }
}
