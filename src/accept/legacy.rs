//! Asks of formats that are older than OpenTelemetry.
//!
//! What it does: tells by path and media type in which form a legacy report comes. What it refuses to know:
//! tokens, and what is in a report. Invariant: the path that the backend is asked is the profile's literal.

use std::time::Duration;

use http::HeaderMap;
use http::request::Parts;

use super::call::{LegacyRequest, Protocol, RequestKind};
use super::{Fault, kind};
use crate::apps::AppPath;
use crate::lightstep::{FIREHOSE_REQUEST, Format};
use crate::media_type;
use crate::profiles::{LegacyReport, Profile, TokenPlace};

/// Firehose's own ids are UUIDs.
const FIREHOSE_REQUEST_LIMIT_BYTES: usize = 256;

/// How an ask came out, and where its token may stand besides the usual headers.
pub(super) struct FoundReport {
    pub kind: RequestKind,
    pub token: TokenPlace,
}

/// Finds the legacy report that a POST to `inner` stands for; `None` if it is none.
pub(super) fn ask(
    parts: &Parts,
    profile: &Profile,
    inner: &str,
    app: Option<AppPath>,
) -> Result<Option<FoundReport>, Fault> {
    let (row, taken, protocol) = match profile.legacy_grpc(inner) {
        Some(row) => (
            row,
            kind::takes_grpc(parts).then_some(media_type::GRPC),
            Protocol::Grpc,
        ),
        None => {
            let sent = kind::media_type(&parts.headers);
            let word = |row: &'_ LegacyReport| {
                sent.and_then(|sent| row.types.iter().position(|known| sent.is(known)))
            };
            let fitting = profile
                .legacy(inner)
                .find_map(|row| Some((row, row.types.get(word(row)?)?.as_str())));
            let row = fitting
                .map(|(row, _)| row)
                .or_else(|| profile.legacy(inner).next());
            let Some(row) = row else { return Ok(None) };
            (row, fitting.map(|(_, word)| word), Protocol::Http)
        }
    };
    let ask = match taken {
        None => RequestKind::Unacceptable(Fault::MediaType),
        Some(_) if !kind::is_content_encoding(&parts.headers) => {
            RequestKind::Unacceptable(Fault::ContentEncoding)
        }
        Some(media_type) => {
            let patience = kind::patience(protocol, &parts.headers)?;
            RequestKind::Legacy(report(row, protocol, media_type, patience, app))
        }
    };
    Ok(Some(FoundReport {
        kind: ask,
        token: row.token,
    }))
}

fn report(
    row: &LegacyReport,
    protocol: Protocol,
    media_type: &str,
    patience: Option<Duration>,
    app: Option<AppPath>,
) -> LegacyRequest {
    LegacyRequest {
        media_type: media_type.into(),
        patience,
        operation: row.operation,
        signal: row.signal,
        format: row.format,
        protocol,
        host: row.host,
        token: row.token,
        upstream_path: row.path.clone(),
        app,
        // Known when the evidence of the head is.
        body_first: false,
    }
}

/// The name that Firehose gave its request, which every answer repeats.
pub(crate) fn firehose_request(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(FIREHOSE_REQUEST)?.to_str().ok()?;
    (id.len() <= FIREHOSE_REQUEST_LIMIT_BYTES).then(|| id.to_owned())
}

/// The format that a path speaks of, if it is one of a built-in profile's: even a head that cannot be read, before it is known
/// which backend is served, is answered in its client's language.
pub(super) fn glimpse_format(path: &str, json: bool) -> Option<Format> {
    let path = path.split('?').next().unwrap_or_default();
    let inner = match path
        .strip_prefix("/apps/")
        .and_then(|rest| rest.split_once("/-/"))
    {
        Some((_, inner)) => inner,
        None => path.strip_prefix('/')?,
    };
    Profile::some_legacy_format(inner, json)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: a row of the profile gets another path or format. Guarantees: refusals are in its language.
    #[test]
    fn every_legacy_row_is_glimpsed() {
        let profile = Profile::lightstep();
        for row in profile.legacy_reports() {
            for media_type in &row.types {
                let json = media_type.ends_with("json");
                let app = format!("/apps/shop/-{}?x=1", row.path);
                for path in [row.path.as_str(), app.as_str()] {
                    assert_eq!(
                        glimpse_format(path, json),
                        Some(row.format),
                        "{path} {media_type}"
                    );
                }
            }
        }
        for path in [
            "",
            "/",
            "/apps/metrics",
            "/apps/-/metrics/",
            "/x/metrics",
            "metrics",
            "/v1/metrics",
        ] {
            assert_eq!(glimpse_format(path, false), None, "{path}");
        }
    }
}
