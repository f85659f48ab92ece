//! A request's body that may have to be sent twice.
//!
//! What it does: reads a body up to a bound, and hands on what is longer as it comes. What it refuses to know: why a request is
//! repeated. Invariants: no more is held than the bound and one frame; no byte is lost or changes its place.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};

use crate::egress::SendBody;

/// What was read of a body.
pub(super) enum HeldBody {
    /// All of it.
    Whole(Bytes),
    /// It is longer than the bound, or ends in trailers: what was read, then the rest.
    Streams(SendBody),
}

/// Reads at most `limit_bytes` of a body; with 0 only one that is empty is held.
pub(super) async fn hold<B>(mut body: B, limit_bytes: usize) -> Result<HeldBody, hyper::Error>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Send + Unpin + 'static,
{
    let mut read = BytesMut::new();
    loop {
        if body.is_end_stream() {
            return Ok(HeldBody::Whole(read.freeze()));
        }
        // A body that says how long it is need not be begun.
        let is_long = body.size_hint().lower() > (limit_bytes.saturating_sub(read.len())) as u64;
        let next = match is_long {
            true => None,
            false => match body.frame().await.transpose()? {
                Some(frame) => Some(frame),
                None => return Ok(HeldBody::Whole(read.freeze())),
            },
        };
        match next.map(Frame::into_data) {
            Some(Ok(data)) => {
                read.extend_from_slice(data.chunk());
                if read.len() <= limit_bytes {
                    continue;
                }
                return Ok(HeldBody::Streams(resumed(read, None, body)));
            }
            Some(Err(trailers)) => {
                return Ok(HeldBody::Streams(resumed(read, Some(trailers), body)));
            }
            None => return Ok(HeldBody::Streams(resumed(read, None, body))),
        }
    }
}

fn resumed<B>(read: BytesMut, next: Option<Frame<Bytes>>, rest: B) -> SendBody
where
    B: Body<Data = Bytes, Error = hyper::Error> + Send + Unpin + 'static,
{
    let read = Some(read.freeze()).filter(|read| !read.is_empty());
    Resumed { read, next, rest }.boxed_unsync()
}

/// A body whose beginning was read.
struct Resumed<B> {
    read: Option<Bytes>,
    next: Option<Frame<Bytes>>,
    rest: B,
}

impl<B> Body for Resumed<B>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(read) = self.read.take() {
            return Poll::Ready(Some(Ok(Frame::data(read))));
        }
        if let Some(next) = self.next.take() {
            return Poll::Ready(Some(Ok(next)));
        }
        Pin::new(&mut self.rest).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_none() && self.next.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.size_hint();
        let read = self.read.as_ref().map_or(0, |read| read.len() as u64);
        let mut all = SizeHint::new();
        all.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper() {
            all.set_upper(upper.saturating_add(read));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http::{HeaderMap, HeaderValue};

    use super::*;

    /// Frames that come one by one, of which the length is known or not.
    struct Frames {
        frames: VecDeque<Frame<Bytes>>,
        length: Option<u64>,
    }

    impl Body for Frames {
        type Data = Bytes;
        type Error = hyper::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
            let frame = self.frames.pop_front();
            if let (Some(length), Some(data)) = (
                self.length,
                frame.as_ref().and_then(|frame| frame.data_ref()),
            ) {
                self.length = Some(length - data.len() as u64);
            }
            Poll::Ready(frame.map(Ok))
        }

        fn size_hint(&self) -> SizeHint {
            self.length.map_or_else(SizeHint::new, SizeHint::with_exact)
        }
    }

    /// Scenario: bodies of several lengths around a bound of eight bytes, in frames, of known length or not, with trailers or
    /// without. Guarantees: what fits is held whole; the rest streams; all bytes and trailers come, in their order.
    #[tokio::test]
    async fn what_fits_is_held_and_nothing_is_lost() {
        for (frames, is_known, trailers, limit_bytes, is_held) in [
            (&[][..], false, false, 8, true),
            (&[], true, false, 8, true),
            (&["1234", "5678"], false, false, 8, true),
            (&["1234", "5678"], true, false, 8, true),
            (&["1234", "56789"], false, false, 8, false),
            (&["1234", "56789"], true, false, 8, false),
            (&["1234", "5678", "9", "abc"], false, false, 8, false),
            (&["", "1", ""], false, false, 8, true),
            (&["123456789"], false, false, 8, false),
            (&["1234"], false, true, 8, false),
            (&["1234", "56789"], false, true, 8, false),
            (&["1"], true, false, 0, false),
            (&["1"], false, false, 0, false),
            (&[], true, false, 0, true),
        ] {
            let what = format!("{frames:?} {is_known} {trailers} {limit_bytes}");
            let whole = frames.concat();
            let mut parts: VecDeque<_> = frames
                .iter()
                .map(|text| Frame::data(Bytes::from_static(text.as_bytes())))
                .collect();
            if trailers {
                let mut map = HeaderMap::new();
                map.insert("x-end", HeaderValue::from_static("1"));
                parts.push_back(Frame::trailers(map));
            }
            let length = is_known.then_some(whole.len() as u64);
            let body = Frames {
                frames: parts,
                length,
            };
            let held = hold(body, limit_bytes).await.unwrap();
            let (bytes, ended) = match held {
                HeldBody::Whole(bytes) => {
                    assert!(is_held, "{what}");
                    (bytes, false)
                }
                HeldBody::Streams(body) => {
                    assert!(!is_held, "{what}");
                    assert_eq!(body.size_hint().exact(), length, "{what}");
                    let all = body.collect().await.unwrap();
                    let ended = all.trailers().is_some();
                    (all.to_bytes(), ended)
                }
            };
            assert_eq!((&*bytes, ended), (whole.as_bytes(), trailers), "{what}");
        }
    }
}
