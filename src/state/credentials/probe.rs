//! Trying an access token with an export that holds no telemetry.
//!
//! What it does: sends it as exports are sent, and says what the answer means of the token. What it refuses to know: what
//! becomes of the token. Invariant: an answer that does not speak of the token, in the profile's words, is no verdict.

use std::time::Duration;

use bytes::Bytes;
use http::header;

use crate::forward::{self, Intake, Repeat, Replayable, Whole};
use crate::limits::Reservation;
use crate::profiles::AnswerMeaning;
use crate::route::Upstream;
use crate::state::Snapshot;
use crate::vault::Trial;

/// The whole of one try.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer to nothing.
const ANSWER_LIMIT_BYTES: u64 = 64 << 10;

/// What the backend says of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenVerdict {
    Taken,
    Refused,
    /// It did not answer, or speaks of something else.
    Unknown,
}

impl TokenVerdict {
    pub(crate) fn code(self) -> &'static str {
        match self {
            TokenVerdict::Taken => "taken",
            TokenVerdict::Refused => "refused",
            TokenVerdict::Unknown => "unknown",
        }
    }

    /// Why the token is not to serve; `None`: it is.
    pub(crate) fn why(self) -> Option<&'static str> {
        match self {
            TokenVerdict::Taken => None,
            TokenVerdict::Refused => Some("the backend refuses it"),
            TokenVerdict::Unknown => Some("the backend does not say whether it takes it"),
        }
    }
}

/// Asks the backend.
pub(super) async fn probe(
    snapshot: &Snapshot,
    trial: &Trial,
    held: &mut Reservation,
) -> TokenVerdict {
    let backend = snapshot
        .backend(trial.backend)
        .and_then(|backend| backend.endpoint(Upstream::Ingest));
    let Some(backend) = backend else {
        return TokenVerdict::Unknown;
    };
    let head = forward::empty_export(backend, trial);
    let mut body = Replayable::new(Whole(Bytes::new()));
    let mut intake = Intake {
        limit_bytes: ANSWER_LIMIT_BYTES,
        status_suffices: true,
        reservation: held,
    };
    let asking = forward::exchange(backend, &head, Repeat::Idempotent, &mut body, &mut intake);
    let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, asking).await else {
        return TokenVerdict::Unknown;
    };
    let media_type = answer.headers.get(header::CONTENT_TYPE);
    // Something else answers in the backend's place.
    if media_type.is_some_and(|value| value.as_bytes().starts_with(b"text/html")) {
        return TokenVerdict::Unknown;
    }
    let answers = &snapshot.profile_of(trial.backend).answers;
    match answers.of_status(answer.status.as_u16()) {
        AnswerMeaning::Success => TokenVerdict::Taken,
        AnswerMeaning::CredentialRefused => TokenVerdict::Refused,
        _ => TokenVerdict::Unknown,
    }
}
