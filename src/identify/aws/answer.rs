//! What STS says to a call of `GetCallerIdentity`.
//!
//! What it does: tells an identity, a refusal and everything else apart. What it refuses to know: what was asked, and who may
//! call. Invariants: an identity is one strict JSON object with all three words in it, and nothing that another format would
//! read otherwise (CVE-2020-16250); only STS's own words for "this signature does not hold" are a refusal; whatever else comes,
//! throttling, faults, pages of a proxy in between, is an outage and never the caller's fault.

use http::StatusCode;
use serde_json::{Map, Value};

use super::super::json;

/// STS's codes for a signature that does not hold, or not any more.
const REFUSALS: [&str; 8] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "MissingAuthenticationToken",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

/// The longest word that is looked at.
const WORD_LIMIT_BYTES: usize = 2048;

/// An answer, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StsAnswer {
    Caller {
        account: String,
        arn: String,
        user_id: String,
    },
    /// The signature does not hold.
    Refused,
    /// Anything else.
    Unreadable,
}

/// Reads an answer whose body is bounded.
pub(super) fn read(status: StatusCode, body: &[u8]) -> StsAnswer {
    let Some(members) = json::object(body) else {
        return StsAnswer::Unreadable;
    };
    let read = match status {
        StatusCode::OK => caller(&members),
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            refusal(&members)
        }
        _ => None,
    };
    read.unwrap_or(StsAnswer::Unreadable)
}

fn caller(members: &Map<String, Value>) -> Option<StsAnswer> {
    let result = members
        .get("GetCallerIdentityResponse")?
        .get("GetCallerIdentityResult")?
        .as_object()?;
    let word = |name: &str| {
        let word = result.get(name)?.as_str()?;
        (1..=WORD_LIMIT_BYTES)
            .contains(&word.len())
            .then(|| word.to_owned())
    };
    Some(StsAnswer::Caller {
        account: word("Account")?,
        arn: word("Arn")?,
        user_id: word("UserId")?,
    })
}

fn refusal(members: &Map<String, Value>) -> Option<StsAnswer> {
    let code = members.get("Error")?.get("Code")?.as_str()?;
    REFUSALS.contains(&code).then_some(StsAnswer::Refused)
}
