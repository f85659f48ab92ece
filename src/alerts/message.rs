//! What a backend's message says of an alert, and what we add to it.
//!
//! What it does: reads a message by the profile's pointers or the operator's, and writes the message that destinations
//! get. What it refuses to know: who sent it, who gets it. Invariants: the original is passed on as it came; what is read
//! out of it is bounded, and gets into no URL but percent-encoded; no part of it decides where anything is sent.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::accept::path;
use crate::apps::{AppPath, NodeId};
use crate::clock::UnixMillis;
use crate::profiles::{AlertMessage, Ui, UiPage, UiSpot};
use crate::state::Snapshot;

/// The message that destinations get.
#[derive(Serialize)]
pub(crate) struct Enriched<'a> {
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

/// Where to look next. Absent: it is not known, or it needs a name of ours that the operator did not give.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct DeepLinks {
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
    pub(crate) fn of(
        public: Option<&str>,
        app: &AppPath,
        ui: &Ui,
        project: Option<&str>,
        told: &AlertMessage,
        now: UnixMillis,
    ) -> Self {
        let at = told.time.unwrap_or(now).0;
        let window = Some(ui.window(Some(at), now.0));
        let link = |page| {
            ui.link(
                page,
                &UiSpot {
                    project: project?,
                    id: told.id.as_deref(),
                    name: None,
                    window,
                },
            )
        };
        let console = public.map(|public| {
            let segments = app
                .as_str()
                .split('/')
                .filter(|segment| !segment.is_empty());
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

/// The people to ask about an app: its own owners, or else its nearest ancestor's.
pub(crate) fn owners(snapshot: &Snapshot, node: NodeId) -> &[String] {
    let tree = snapshot.policy.tree();
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

    #[test]
    fn links_lead_to_us_by_the_operators_word_only() {
        let app = |text| AppPath::parse(text).unwrap();
        let (ui, told, now) = (
            Ui::new(&Profile::lightstep(), &UiBase::Profile),
            AlertMessage::default(),
            UnixMillis(0),
        );
        let console =
            |public, path| DeepLinks::of(public, &app(path), &ui, None, &told, now).console;
        assert_eq!(
            console(Some("https://gw"), "shop/checkout").as_deref(),
            Some("https://gw/.lightkeeper/apps/shop/checkout")
        );
        assert_eq!(
            console(Some("https://gw"), "/").as_deref(),
            Some("https://gw/.lightkeeper/")
        );
        assert_eq!(
            DeepLinks::of(None, &app("shop"), &ui, None, &told, now),
            DeepLinks::default()
        );
        let told = AlertMessage {
            id: Some("a/../<b>".to_owned()),
            time: Some(UnixMillis(30 * 60_000)),
            ..AlertMessage::default()
        };
        let links = DeepLinks::of(None, &app("shop"), &ui, Some("shop prod"), &told, now);
        let at = |rest: &str| Some(format!("https://app.lightstep.com/shop%20prod/{rest}"));
        assert_eq!(
            (links.services, links.dashboards),
            (at("service-directory"), at("dashboards"))
        );
        assert_eq!(
            links.traces,
            at("explorer?start_micros=0&end_micros=3600000000")
        );
        assert_eq!(links.alert, at("alerts/a%2F..%2F%3Cb%3E"));
    }
}
