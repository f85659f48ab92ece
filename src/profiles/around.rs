//! Where to look next from an alert.
//!
//! What it does: links into the backend's own pages around a time. What it refuses to know: who asks, and what alerts are.

use super::{Ui, UiPage, UiSpot};
use crate::clock::UnixMillis;

/// Where to look next.
pub(crate) struct Around {
    pub services: Option<String>,
    pub dashboards: Option<String>,
    pub traces: Option<String>,
}

impl Around {
    /// Around this time, or before now where it is not known. `since`: Unix milliseconds.
    pub(crate) fn of(ui: &Ui, project: &str, since: Option<i64>, now: UnixMillis) -> Self {
        let window = Some(ui.window(since, now.0));
        let link = |page| {
            ui.link(
                page,
                &UiSpot {
                    project,
                    window,
                    ..UiSpot::default()
                },
            )
        };
        Around {
            services: link(UiPage::Services),
            dashboards: link(UiPage::Dashboards),
            traces: link(UiPage::Explorer),
        }
    }
}
