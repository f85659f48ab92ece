//! The answer to an export, as its caller's protocol has it.
//!
//! What it does: writes what the backends said, or what we made of it. What it refuses to know: what was sent. Invariants:
//! of a backend's head only a list is passed on; every answer has passed the echo guard before.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::dropped;
use super::format::WireFormat;
use crate::accept::Protocol;
use crate::call::answer;
use crate::call::exchange::{BrokenOff, Exchange};
use crate::forward::{Answer, GrpcAnswer, retry_after_told};
use crate::media_type;
use crate::otlp::{self, Encoding};

/// What of an export's answer head is passed on, besides `Retry-After`.
const EXPORT_TAKES: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];

/// Passes on the answer to an export.
pub(crate) async fn export(exchange: &mut Exchange<'_>, said: &Answer) -> Result<(), BrokenOff> {
    exchange.state.status = Some(said.status.as_u16());
    let mut headers = Vec::with_capacity(EXPORT_TAKES.len() + 2);
    for name in EXPORT_TAKES {
        headers.extend(said.headers.get(&name).map(|value| (name, value.clone())));
    }
    headers.extend(retry_after_told(&said.headers).map(|value| (header::RETRY_AFTER, value)));
    answer::write(exchange, said.status, headers, said.body.clone()).await
}

/// Answers an export of several parts, or one that we have something to say on. `message`: an
/// `Export*ServiceResponse`; `dropped`: what backends say that they dropped, for gRPC's trailers.
pub(crate) async fn exported(
    exchange: &mut Exchange<'_>,
    manner: WireFormat,
    message: Vec<u8>,
    dropped: HeaderMap,
) -> Result<(), BrokenOff> {
    exchange.state.status = Some(200);
    if manner.protocol == Protocol::Grpc {
        exchange.state.grpc_status = Some(0);
        let head = (
            StatusCode::OK,
            Some(HeaderValue::from_static(media_type::GRPC)),
        );
        let body: Bytes = otlp::frame(false, vec![message.into()]).concat().into();
        let mut trailers = dropped;
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        return answer::grpc(exchange, head, body, trailers).await;
    }
    let content_type = match manner.encoding {
        Encoding::Protobuf => media_type::PROTOBUF,
        Encoding::Json => media_type::JSON,
    };
    let headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static(content_type))];
    answer::write(exchange, StatusCode::OK, headers, message.into()).await
}

/// What of a gRPC answer is passed on, in head or trailers.
const GRPC_TAKES: [HeaderName; 3] = [
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
];

/// Passes on a gRPC answer.
pub(crate) async fn grpc(exchange: &mut Exchange<'_>, said: GrpcAnswer) -> Result<(), BrokenOff> {
    exchange.state.status = Some(said.status.as_u16());
    let dropped = dropped::told(&said);
    let kept = |from: &HeaderMap| {
        let kept = GRPC_TAKES
            .into_iter()
            .filter_map(|name| Some((name.clone(), from.get(&name)?.clone())));
        kept.chain(
            dropped
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        )
        .collect::<HeaderMap>()
    };
    let content_type = said.headers.get(header::CONTENT_TYPE).cloned();
    let Some(trailers) = said.trailers else {
        let content_type = content_type.map(|value| (header::CONTENT_TYPE, value));
        let kept = kept(&said.headers);
        let kept = kept
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()));
        return answer::trailers_only(exchange, said.status, content_type.into_iter().chain(kept))
            .await;
    };
    answer::grpc(
        exchange,
        (said.status, content_type),
        said.body,
        kept(&trailers),
    )
    .await
}
