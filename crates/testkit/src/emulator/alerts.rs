//! The emulator's webhooks: it tells an address of an alert.
//!
//! What it does: keeps for each project where its alerts are told and with which secret, and posts a message there, as
//! the real one does with a custom header. What it refuses to know: who is told. Invariant: a message is posted once; who
//! wants it again fires it again.

use serde_json::{Value, json};

use super::{Emulator, lock};
use crate::answers::Answer;
use crate::calls::SampleCaller;

/// Where a project's alerts are told.
#[derive(Clone, Debug)]
pub(super) struct WebhookTarget {
    /// Scheme and authority.
    base: String,
    path: String,
    secret: String,
}

impl Emulator {
    /// Tells a project's alerts from now on by `POST {base}{path}` with `Authorization: Bearer {secret}`.
    pub fn set_webhook(&self, project: &str, base: &str, path: &str, secret: &str) {
        let target = WebhookTarget {
            base: base.to_owned(),
            path: path.to_owned(),
            secret: secret.to_owned(),
        };
        lock(&self.state.webhooks).insert(project.to_owned(), target);
    }

    /// The message of an alert, in the layout of the emulator's own template. `time`: RFC 3339.
    pub fn alert(project: &str, name: &str, state: &str, time: &str) -> Value {
        json!({
            "alert": {
                "id": format!("alert-{name}"),
                "name": name,
                "state": state,
                "time": time,
            },
            "project": project,
            "note": "more than 1 % of calls fail",
        })
    }

    /// Tells of an alert of this project, and gives the answer.
    pub async fn fire_alert(
        &self,
        project: &str,
        name: &str,
        state: &str,
    ) -> Result<Answer, String> {
        let time =
            time::OffsetDateTime::from_unix_timestamp(self.state.options.clock.now().seconds())
                .ok()
                .and_then(|moment| {
                    moment
                        .format(&time::format_description::well_known::Rfc3339)
                        .ok()
                })
                .unwrap_or_default();
        let target = lock(&self.state.webhooks).get(project).cloned();
        let target =
            target.ok_or_else(|| format!("no webhook is told of alerts of `{project}`"))?;
        let caller = SampleCaller::new(&target.base).bearer(&target.secret);
        let answer = caller
            .post(&target.path, &Self::alert(project, name, state, &time))
            .await;
        answer.map_err(|fault| fault.to_string())
    }
}
