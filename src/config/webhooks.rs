//! `vault.webhooks:`, checked.
//!
//! What it does: the secrets that the backend's webhooks present, by app. What it refuses to know: the secrets, and the
//! policy; whether an app exists is asked once both files have been read. Invariant: what stands in a secret's place
//! reaches no message.

use super::raw::RawSecret;
use super::report::{ConfigFindings, Content};
use super::vault::reference;
use crate::apps::AppPath;
use crate::document::{Diagnostic, Entries, Spanned, name, nearest};
use crate::identify::{WEBHOOK_SECRETS, WebhookSettings};

/// Checked secrets of one app, and where the file names the app.
#[derive(Clone, Debug)]
pub(crate) struct PlacedWebhook {
    pub settings: WebhookSettings,
    place: (u64, u64),
}

pub(crate) fn webhooks(
    report: &mut ConfigFindings<'_>,
    raw: &Entries<Vec<Spanned<RawSecret>>>,
) -> Vec<PlacedWebhook> {
    let mut checked: Vec<PlacedWebhook> = Vec::new();
    for (app, secrets) in raw {
        let Some(path) = AppPath::parse(&app.value) else {
            let hint = "write the app's path from the top, `shop/checkout`";
            report.error_with_hint(
                app,
                format!("{} cannot be the path of an app", name(&app.value)),
                hint,
            );
            continue;
        };
        let subject = format!("vault.webhooks.{path}");
        if let Some(surplus) = secrets.get(WEBHOOK_SECRETS) {
            report.error(
                surplus,
                format!("at most {WEBHOOK_SECRETS} webhook secrets of an app may overlap"),
            );
        }
        if secrets.is_empty() {
            report.error_with_hint(
                app,
                format!("`{subject}` has no secret"),
                "name one, or remove the line",
            );
        }
        let given = secrets.iter().enumerate().filter_map(|(index, given)| {
            reference(report, given, &format!("{subject}[{index}]"), |reference| {
                Content::WebhookSecret {
                    app: path.clone(),
                    reference,
                }
            })
        });
        let settings = WebhookSettings {
            secrets: given.collect(),
            app: path,
        };
        checked.push(PlacedWebhook {
            settings,
            place: (app.line(), app.column()),
        });
    }
    checked
}

impl PlacedWebhook {
    /// What only the policy can say: an error if there is no such app.
    pub(crate) fn check(&self, file: &std::path::Path, apps: &[&AppPath]) -> Option<Diagnostic> {
        let app = &self.settings.app;
        if apps.contains(&app) {
            return None;
        }
        let message = format!("the policy has no app {}", name(app.as_str()));
        let found = Diagnostic::error(file, self.place.0, self.place.1, message);
        Some(
            match nearest(app.as_str(), apps.iter().map(|known| known.as_str())) {
                Some(word) => found.with_hint(format!("did you mean {}?", name(word))),
                None => {
                    found.with_hint("apps are named by their path from the top, `shop/checkout`")
                }
            },
        )
    }
}
