//! A part on its way out: from the caller's form into one that the backend takes.
//!
//! What it does: writes the message in the other encoding where it must, compresses and frames it, and says so in its head.
//! What it refuses to know: how a part was made, and who takes it. Invariants: what the backend takes as it came leaves as it came, byte for byte
//! and without a copy; nothing is lost but what the other encoding cannot say, and that is counted.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use super::format::{PartFormat, WireFormat};
use crate::accept::{Fault, Protocol};
use crate::call::body::GRPC_ENCODING;
use crate::forward;
use crate::limits::{Limits, Reservation};
use crate::otlp::{self, Encoding, TranscodeFault, Transcoded};
use crate::profiles::Profile;
use crate::reason::Reason;
use crate::respond::Refusal;
use crate::route::Route;
use crate::transform::{self, Coding};

/// What goes out.
pub(crate) struct Outgoing {
    pub headers: HeaderMap,
    pub body: Vec<Bytes>,
    /// Members or fields that the other encoding cannot say.
    pub unknown: u64,
}

/// Makes what goes out of a message in the caller's encoding. `headers`: what goes on of the caller's head, if it leaves in the caller's own form.
pub(crate) fn make(
    format: WireFormat,
    leaving: PartFormat,
    headers: &HeaderMap,
    message: Vec<Bytes>,
    limit_bytes: u64,
    held: &mut Reservation,
) -> Result<Outgoing, Refusal> {
    let mut formed = form(format, leaving, headers, message, limit_bytes, held)?;
    formed.body = pack(
        &mut formed.headers,
        leaving.protocol,
        leaving.coding,
        formed.body,
        held,
    )?;
    Ok(formed)
}

/// The same, before it is compressed and framed.
pub(crate) fn form(
    format: WireFormat,
    leaving: PartFormat,
    headers: &HeaderMap,
    message: Vec<Bytes>,
    limit_bytes: u64,
    held: &mut Reservation,
) -> Result<Outgoing, Refusal> {
    if leaving.is_of(format) {
        return Ok(Outgoing {
            headers: headers.clone(),
            body: message,
            unknown: 0,
        });
    }
    let (body, unknown) = encoded(format, leaving.encoding, message, limit_bytes, held)?;
    Ok(Outgoing {
        headers: headers_of(leaving),
        body,
        unknown,
    })
}

/// What every head in this form has.
pub(super) fn headers_of(leaving: PartFormat) -> HeaderMap {
    forward::taken(leaving.protocol, leaving.media_type(), &HeaderMap::new())
}

/// How long a message may be in another encoding than it came in, in which names are longer, or numbers.
pub(crate) fn limit_bytes(limits: &Limits) -> u64 {
    const TIMES: u64 = 4;
    limits.decompressed_body_bytes.saturating_mul(TIMES)
}

/// The route in the form in which a part leaves.
pub(crate) fn way(
    route: Route,
    format: WireFormat,
    leaving: PartFormat,
    profile: &Profile,
) -> Result<Route, Refusal> {
    let is_grpc = leaving.protocol == Protocol::Grpc;
    let way = profile.way_out(format.signal, is_grpc, route.path_and_query());
    let way = way.ok_or_else(|| Refusal::new(Reason::FormNotTaken))?;
    Ok(route.leaving(leaving.protocol, way))
}

/// What a record says of what the other encoding could not carry.
pub(crate) fn not_carried(unknown: u64) -> Option<String> {
    (unknown > 0).then(|| {
        format!("{unknown} unknown fields were left out, which the backend's encoding cannot carry")
    })
}

/// The message in this encoding.
fn encoded(
    format: WireFormat,
    encoding: Encoding,
    message: Vec<Bytes>,
    limit_bytes: u64,
    held: &mut Reservation,
) -> Result<(Vec<Bytes>, u64), Refusal> {
    if encoding == format.encoding {
        return Ok((message, 0));
    }
    let joined;
    // Given back when the message has been read.
    let mut beside = held.beside();
    let whole = match message.as_slice() {
        [] => &[],
        [only] => only.as_ref(),
        pieces => {
            let length: usize = pieces.iter().map(Bytes::len).sum();
            beside.grow(length as u64)?;
            joined = pieces.concat();
            joined.as_slice()
        }
    };
    let Transcoded { message, unknown } =
        otlp::transcode(format.signal, format.encoding, whole, limit_bytes, held)
            .map_err(refused)?;
    Ok((vec![message], unknown))
}

pub(super) fn refused(fault: TranscodeFault) -> Refusal {
    match fault {
        TranscodeFault::Malformed { .. } => {
            Refusal::new(Reason::BodyMalformed).because(fault.to_string())
        }
        TranscodeFault::TooLarge => Fault::BodyTooLarge.into(),
        TranscodeFault::Memory(spent) => spent.into(),
    }
}

/// Compresses and frames what goes out, and says so in its head.
pub(crate) fn pack(
    headers: &mut HeaderMap,
    protocol: Protocol,
    leaving: Coding,
    pieces: Vec<Bytes>,
    held: &mut Reservation,
) -> Result<Vec<Bytes>, Refusal> {
    let name = match protocol {
        Protocol::Http => header::CONTENT_ENCODING,
        Protocol::Grpc => GRPC_ENCODING,
    };
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(&name);
    let compressed = leaving != Coding::Identity;
    if compressed {
        headers.insert(name, HeaderValue::from_static(leaving.name()));
    }
    let pieces = if compressed {
        let packed = transform::compress(leaving, &pieces)?;
        held.grow(packed.len() as u64)?;
        vec![packed]
    } else {
        pieces
    };
    Ok(match protocol {
        Protocol::Http => pieces,
        Protocol::Grpc => otlp::frame(compressed, pieces),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::Signal;

    /// Scenario: a message in pieces whose form is taken. Guarantees: the pieces that leave are those that came, not copies.
    #[test]
    fn what_is_taken_leaves_as_it_came() {
        let format = WireFormat {
            signal: Signal::Logs,
            encoding: Encoding::Json,
            protocol: Protocol::Http,
            deadline: None,
        };
        let leaving = PartFormat {
            protocol: Protocol::Http,
            encoding: Encoding::Json,
            coding: Coding::Identity,
            is_recoded: false,
        };
        let budget = crate::limits::Budget::new(0);
        let message = vec![
            Bytes::from_static(b"{\"newer\":"),
            Bytes::from_static(b"1}"),
        ];
        let kind = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]);
        let mut held = budget.gateway().open();
        let made = make(format, leaving, &headers, message.clone(), 0, &mut held).unwrap();
        assert_eq!((made.headers, made.unknown), (headers, 0));
        let places = |pieces: &[Bytes]| {
            pieces
                .iter()
                .map(|piece| piece.as_ptr())
                .collect::<Vec<_>>()
        };
        assert_eq!(places(&made.body), places(&message));
    }
}
