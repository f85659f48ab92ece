//! The secrets by which a backend's webhooks are told from anybody else's.
//!
//! What it does: holds each app's secrets as digests, and judges what was presented at an app's alert inlet. What it
//! refuses to know: what an alert says, and where it goes. Invariants: a secret counts at its own app's inlet and nowhere
//! else; every judgement compares one digest with `WEBHOOK_SECRETS` others, whichever of them fits, and whether or not
//! there is such an app, so that neither the answer nor its time tells one case from another.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::{constant_time, digest};

use super::facts::{Facts, Method, WEBHOOKS};
use super::settings::WebhookSettings;
use crate::apps::AppPath;
use crate::reason::Reason;
use crate::secret::SecretFault;

/// The most secrets of one app that may overlap: the current one, the last, and some patience.
pub(crate) const WEBHOOK_SECRETS: usize = 4;

/// The shortest secret. NIST SP 800-63B-4 section 3.1.2.2 takes 112 bits for what cannot be searched.
pub(crate) const WEBHOOK_SECRET_LEAST_BYTES: usize = 16;

type Digest = [u8; 32];

/// No text with this digest can be found.
const NOBODYS: Digest = [0; 32];

/// The webhook secrets of one configuration.
pub(super) struct Webhooks(HashMap<AppPath, KnownSecrets, ahash::RandomState>);

struct KnownSecrets {
    facts: Arc<Facts>,
    digests: [Digest; WEBHOOK_SECRETS],
}

/// What is wrong with an app's secrets, without what was read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WebhookFault {
    #[error("of app `{app}`: at most {} may overlap", WEBHOOK_SECRETS)]
    TooMany { app: AppPath },
    #[error("of app `{app}`: secret {number} {fault}")]
    Secret {
        app: AppPath,
        number: usize,
        fault: WebhookSecretFault,
    },
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WebhookSecretFault {
    #[error(transparent)]
    Unreadable(#[from] SecretFault),
    #[error("has fewer than {} bytes", WEBHOOK_SECRET_LEAST_BYTES)]
    Short,
    #[error("is another app's too")]
    Shared,
}

impl Webhooks {
    pub(super) fn none() -> Self {
        Webhooks(HashMap::default())
    }

    /// Reads every secret, or tells why some cannot be used.
    pub(super) fn read(settings: &[WebhookSettings]) -> Result<Self, Vec<WebhookFault>> {
        let mut faults = Vec::new();
        let mut owners: HashMap<Digest, &AppPath> = HashMap::new();
        let mut known: HashMap<AppPath, KnownSecrets, ahash::RandomState> = HashMap::default();
        for one in settings {
            let mut digests = [NOBODYS; WEBHOOK_SECRETS];
            if one.secrets.len() > WEBHOOK_SECRETS {
                faults.push(WebhookFault::TooMany {
                    app: one.app.clone(),
                });
            }
            for ((place, reference), number) in digests.iter_mut().zip(&one.secrets).zip(1..) {
                let mut fault = |fault| {
                    faults.push(WebhookFault::Secret {
                        app: one.app.clone(),
                        number,
                        fault,
                    });
                };
                match reference.read() {
                    Err(cause) => fault(cause.into()),
                    Ok(secret) if secret.expose().len() < WEBHOOK_SECRET_LEAST_BYTES => {
                        fault(WebhookSecretFault::Short);
                    }
                    Ok(secret) => *place = digest_of(secret.expose()),
                }
                if *place != NOBODYS
                    && owners
                        .insert(*place, &one.app)
                        .is_some_and(|owner| *owner != one.app)
                {
                    fault(WebhookSecretFault::Shared);
                }
            }
            let facts = Facts::bare(Method::Webhook, WEBHOOKS, one.app.as_str(), i64::MAX);
            known.insert(
                one.app.clone(),
                KnownSecrets {
                    facts: Arc::new(facts),
                    digests,
                },
            );
        }
        if faults.is_empty() {
            Ok(Webhooks(known))
        } else {
            Err(faults)
        }
    }

    /// Who presents this at the inlet of `app`.
    pub(super) fn judge(&self, presented: &[u8], app: &AppPath) -> Result<Arc<Facts>, Reason> {
        let presented = digest_of(presented);
        let known = self.0.get(app);
        let digests = known.map_or(&[NOBODYS; WEBHOOK_SECRETS], |known| &known.digests);
        let fits = digests.iter().fold(false, |fits, stored| {
            // Both sides are evaluated: `|`, not `||`.
            fits | constant_time::verify_slices_are_equal(stored, &presented).is_ok()
        });
        known
            .filter(|_| fits)
            .map(|known| known.facts.clone())
            .ok_or(Reason::WebhookUnknown)
    }
}

fn digest_of(bytes: &[u8]) -> Digest {
    digest::digest(&digest::SHA256, bytes)
        .as_ref()
        .first_chunk()
        .copied()
        .unwrap_or(NOBODYS)
}
