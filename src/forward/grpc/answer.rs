//! A backend's answer to a gRPC call.
//!
//! What it does: reads message and trailers whole, within the limit, the budget and the deadline. What it refuses to know:
//! what either means. Invariant: nothing beyond the limits is held.

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use http::Response;
use tokio::time::{Instant as Deadline, timeout_at};

use super::GrpcAnswer;
use crate::forward::SendFault;
use crate::forward::send::Intake;

/// Reads the answer whole.
pub(super) async fn receive(
    answer: Response<RecvStream>,
    intake: &mut Intake<'_>,
    deadline: Deadline,
) -> Result<GrpcAnswer, SendFault> {
    let (head, mut stream) = answer.into_parts();
    if stream.is_end_stream() {
        return Ok(GrpcAnswer {
            status: head.status,
            headers: head.headers,
            body: Bytes::new(),
            trailers: None,
        });
    }
    let mut body = BytesMut::new();
    // The status comes last: where it suffices, a message that is too large is let go, and the status waited for.
    let mut is_dropped = false;
    loop {
        let data = match timeout_at(deadline, stream.data()).await {
            Err(_) => return Err(SendFault::TimedOut),
            Ok(Some(Err(_))) => return Err(SendFault::Unreachable),
            Ok(None) => break,
            Ok(Some(Ok(data))) => data,
        };
        if !is_dropped {
            let room = if (body.len() + data.len()) as u64 > intake.limit_bytes {
                Err(SendFault::TooLarge)
            } else {
                intake
                    .reservation
                    .grow(data.len() as u64)
                    .map_err(SendFault::Memory)
            };
            match room {
                Ok(()) => body.extend_from_slice(&data),
                Err(_) if intake.status_suffices => (is_dropped, body) = (true, BytesMut::new()),
                Err(fault) => return Err(fault),
            }
        }
        // A window that cannot be given back belongs to a stream that is over.
        let _ = stream.flow_control().release_capacity(data.len());
    }
    let trailers = match timeout_at(deadline, stream.trailers()).await {
        Err(_) => return Err(SendFault::TimedOut),
        Ok(Err(_)) => return Err(SendFault::Unreachable),
        Ok(Ok(trailers)) => trailers,
    };
    let trailers = Some(trailers.unwrap_or_default());
    Ok(GrpcAnswer {
        status: head.status,
        headers: head.headers,
        body: body.freeze(),
        trailers,
    })
}
