//! Content codings of bodies: their names, and what can be wrong with a coded body.
//!
//! What it does: knows `identity`, `gzip`, `deflate` and `zstd` by their names in HTTP (RFC 9110 section
//! 8.4.1) and gRPC (`grpc-encoding`), and what OpenTelemetry's Collector sends over HTTP besides.
//! What it refuses to know: how a coding is undone and put on (`decompress`, `compress`), what a body means, and the status
//! that answers a fault (`respond` has the table). Invariant: a name that is not on the list is no coding.

mod compress;
mod decompress;
mod snappy;

pub use compress::compress;
pub use decompress::decompress;

use crate::limits::Spent;
use crate::profiles::Accepts;
use crate::reason::Reason;

/// How the bytes of a body are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    Identity,
    /// RFC 1952, any number of members.
    Gzip,
    /// DEFLATE in the zlib format of RFC 1950, as RFC 9110 section 8.4.1.2 has it.
    Deflate,
    /// RFC 8878, any number of frames, no dictionary.
    Zstd,
    /// One block, or the framing format around blocks: the Collector has called either `snappy`. It is undone and never
    /// made: a backend could not tell which of the two it gets.
    Snappy,
}

impl Coding {
    /// Whether a backend that takes these forms takes bodies in this coding.
    pub(crate) fn is_taken(self, accepts: Accepts) -> bool {
        match self {
            Coding::Identity => accepts.identity,
            Coding::Gzip => accepts.gzip,
            Coding::Deflate => accepts.deflate,
            Coding::Zstd => accepts.zstd,
            // No profile names it; as it comes it passes where all is taken.
            Coding::Snappy => accepts == Accepts::default(),
        }
    }
}

/// Why a body could not be decompressed, or compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodingFault {
    /// More output than the limit.
    TooLarge,
    /// Output out of all proportion to the input.
    Bomb,
    /// Not one whole body of its coding.
    Undecodable,
    /// There is no room for it.
    Memory(Spent),
}

impl CodingFault {
    pub(crate) fn reason(self) -> Reason {
        match self {
            CodingFault::TooLarge => Reason::BodyTooLarge,
            CodingFault::Bomb => Reason::BodyBomb,
            CodingFault::Undecodable => Reason::BodyUndecodable,
            CodingFault::Memory(spent) => spent.reason(),
        }
    }
}

/// Names in `Content-Encoding` and `grpc-encoding`. RFC 9110 section 8.4.1.3: `x-gzip` is the same as `gzip`.
const NAMES: [(Coding, &str); 5] = [
    (Coding::Identity, "identity"),
    (Coding::Gzip, "gzip"),
    (Coding::Deflate, "deflate"),
    (Coding::Zstd, "zstd"),
    (Coding::Gzip, "x-gzip"),
];

impl Coding {
    /// Those that are made as well, and that gRPC's messages come in.
    pub const ALL: [Coding; 4] = [
        Coding::Identity,
        Coding::Gzip,
        Coding::Deflate,
        Coding::Zstd,
    ];

    /// The coding of this name, in either case (RFC 9110 section 8.4.1); one name, not a list.
    pub fn named(name: &[u8]) -> Option<Coding> {
        NAMES
            .iter()
            .find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name))
            .map(|(coding, _)| *coding)
    }

    /// The same of `Content-Encoding`, with the Collector's own names: `zlib` is what it sends as `deflate` (RFC 1950).
    pub(crate) fn of_content(name: &[u8]) -> Option<Coding> {
        const COLLECTORS: [(Coding, &str); 3] = [
            (Coding::Deflate, "zlib"),
            (Coding::Snappy, "snappy"),
            (Coding::Snappy, "x-snappy-framed"),
        ];
        let own = COLLECTORS
            .iter()
            .find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name));
        Coding::named(name).or(own.map(|(coding, _)| *coding))
    }

    /// The name to send.
    pub fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(coding, _)| *coding == self)
            .map_or("identity", |(_, name)| name)
    }
}

#[cfg(test)]
mod tests;
