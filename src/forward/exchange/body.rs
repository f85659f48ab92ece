//! The body of a backend's answer over HTTP/1.1.
//!
//! What it does: reads it to the end that its head names, within the limit and the budget. What it refuses to know: what it
//! means. Invariant: nothing beyond its end is taken from the connection.

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::Inbound;
use super::head::AnswerFraming;
use crate::forward::SendFault;
use crate::forward::send::Intake;

/// Reads the body whole.
pub(super) async fn read_body(
    framing: &AnswerFraming,
    inbound: &mut Inbound<'_>,
    intake: &mut Intake<'_>,
    deadline: Instant,
) -> Result<Bytes, SendFault> {
    let limit = usize::try_from(intake.limit_bytes).unwrap_or(usize::MAX);
    let mut counted = 0;
    match *framing {
        AnswerFraming::Length(length) => {
            let length = usize::try_from(length).map_err(|_| SendFault::TooLarge)?;
            if length > limit {
                return Err(SendFault::TooLarge);
            }
            while inbound.bytes.len() < length {
                intake.count(&mut counted, inbound.bytes.len())?;
                inbound.more(deadline).await?;
            }
            intake.count(&mut counted, length)?;
            Ok(inbound.bytes.split_to(length).freeze())
        }
        AnswerFraming::Chunked => read_chunks(inbound, intake, limit, deadline).await,
        AnswerFraming::UntilEnd => loop {
            intake.count(&mut counted, inbound.bytes.len())?;
            if inbound.bytes.len() > limit {
                return Err(SendFault::TooLarge);
            }
            match inbound.more(deadline).await {
                Ok(()) => {}
                Err(SendFault::Unreachable) if inbound.ended => {
                    return Ok(inbound.bytes.split().freeze());
                }
                Err(fault) => return Err(fault),
            }
        },
    }
}

async fn read_chunks(
    inbound: &mut Inbound<'_>,
    intake: &mut Intake<'_>,
    limit: usize,
    deadline: Instant,
) -> Result<Bytes, SendFault> {
    let mut chunks = crate::accept::Chunks::new();
    let mut body = BytesMut::new();
    loop {
        while let Some(data) = chunks
            .take(&mut inbound.bytes)
            .map_err(|_| SendFault::Undecodable)?
        {
            if body.len() + data.len() > limit {
                return Err(SendFault::TooLarge);
            }
            intake
                .reservation
                .grow(data.len() as u64)
                .map_err(SendFault::Memory)?;
            body.extend_from_slice(&data);
        }
        if chunks.is_done() {
            return Ok(body.freeze());
        }
        inbound.more(deadline).await?;
    }
}
