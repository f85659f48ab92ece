//! What answers say that come early or are too large. What it refuses to know: the gateway around it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::HeaderValue;
use tokio::net::TcpListener;

use super::*;
use crate::accept::Framed;
use crate::forward::exchange::tests::{Halting, backend};
use crate::limits::Budget;

/// How a backend answers the first bytes of a call.
#[derive(Clone, Copy, Debug)]
struct Saying {
    http: u16,
    grpc: &'static str,
    /// The status stands in the head, and nothing follows.
    is_alone: bool,
    message_bytes: usize,
}

/// One call with such a body to a backend that answers so; it reads no more than the first bytes.
async fn call(
    first: usize,
    rest: usize,
    saying: Saying,
    intake: &mut Intake<'_>,
) -> Result<GrpcAnswer, ExchangeFault> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answered = Arc::new(AtomicBool::new(false));
    let said = answered.clone();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let said = said.clone();
            tokio::spawn(async move {
                let mut body = request.into_body();
                let _first = body.data().await;
                let status = HeaderValue::from_static(saying.grpc);
                let mut head = Response::builder()
                    .status(saying.http)
                    .header("content-type", "application/grpc");
                if saying.is_alone {
                    head = head.header("grpc-status", status.clone());
                }
                let mut stream = respond
                    .send_response(head.body(()).unwrap(), saying.is_alone)
                    .unwrap();
                said.store(true, Ordering::SeqCst);
                if saying.is_alone {
                    return body;
                }
                let mut message = Bytes::from(vec![0; saying.message_bytes]);
                while !message.is_empty() {
                    stream.reserve_capacity(message.len());
                    match poll_fn(|cx| stream.poll_capacity(cx)).await {
                        Some(Ok(granted)) => stream
                            .send_data(message.split_to(granted.min(message.len())), false)
                            .unwrap(),
                        _ => return body,
                    }
                }
                let _gone = stream.send_trailers(HeaderMap::from_iter([(
                    "grpc-status".parse().unwrap(),
                    status,
                )]));
                body
            });
        }
    });
    let backend = backend(port, Duration::from_secs(1));
    let piece = |length: usize| (length > 0).then(|| Bytes::from(vec![b'x'; length]));
    let mut body = Replayable::new(Halting {
        framed: Framed::Chunks,
        first: piece(first),
        rest: piece(rest),
        answered,
    });
    let head = Request::post("http://x/y").body(()).unwrap();
    let answer = exchange_grpc(&backend, head, &mut body, intake).await;
    serving.abort();
    answer
}

/// Scenario: answers that begin when the first bytes of a message have come, while more of it waits for the backend's
/// window, is still to come, or when all has come but the stream's end. Guarantees: status 0 counts only if the backend was
/// sent everything; a refusal counts always, and nothing more is waited for.
#[tokio::test]
async fn a_success_before_the_end_of_the_message_is_none() {
    const LARGE: usize = 1 << 20;
    let cut = Err(ExchangeFault::Backend(SendFault::Undecodable));
    for is_alone in [true, false] {
        for (first, rest, http, grpc, expected) in [
            (9, 0, 200, "0", Ok(Some(0))),
            (9, 1, 200, "0", cut),
            (LARGE, 0, 200, "0", cut),
            (LARGE, 1, 200, "0", cut),
            (9, 1, 200, "14", Ok(Some(14))),
            (LARGE, 0, 200, "8", Ok(Some(8))),
            (LARGE, 0, 503, "0", Ok(Some(0))),
        ] {
            let what = format!("{first} {rest} {http} {grpc} {is_alone}");
            let budget = Budget::new(1 << 20);
            let mut held = budget.gateway().open();
            let mut intake = Intake {
                limit_bytes: 1024,
                status_suffices: true,
                reservation: &mut held,
            };
            let saying = Saying {
                http,
                grpc,
                is_alone,
                message_bytes: 5,
            };
            let answer = call(first, rest, saying, &mut intake).await;
            assert_eq!(answer.map(|answer| grpc_code(&answer)), expected, "{what}");
        }
    }
}

/// Scenario: messages larger than what is taken of one, or than there is memory for. Guarantees: the status that follows
/// counts, because what was taken would come again for ever; nothing beyond the limits is held.
#[tokio::test]
async fn a_message_that_is_too_large_does_not_hide_the_status() {
    for (budget_bytes, grpc) in [(1 << 20, "0"), (2 << 10, "0"), (1 << 20, "14")] {
        for status_suffices in [true, false] {
            let what = format!("{budget_bytes} {grpc} {status_suffices}");
            let budget = Budget::new(budget_bytes);
            let mut held = budget.gateway().open();
            let mut intake = Intake {
                limit_bytes: 64 << 10,
                status_suffices,
                reservation: &mut held,
            };
            let saying = Saying {
                http: 200,
                grpc,
                is_alone: false,
                message_bytes: 5 << 20,
            };
            let answer = call(9, 0, saying, &mut intake).await;
            if status_suffices {
                let answer = answer.unwrap();
                assert_eq!(
                    (grpc_code(&answer), answer.body.len()),
                    (grpc.parse().ok(), 0),
                    "{what}"
                );
            } else {
                answer.unwrap_err();
            }
            assert!(budget.used_bytes() <= 64 << 10, "{what}");
        }
    }
}
