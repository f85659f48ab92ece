//! The forms of an export: the caller's, and the one in which a part leaves.
//!
//! What it does: chooses a form that the backend takes. What it refuses to know: how one form becomes another. Invariants: the caller's own form is
//! kept where it is taken; a form that is chosen has a way to the backend.

use tokio::time::Instant;

use crate::accept::Protocol;
use crate::media_type;
use crate::otlp::{Encoding, Signal};
use crate::profiles::Profile;
use crate::transform::{Coding, Compression};

/// How a body is written: on the caller's side, or the backend's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WireFormat {
    pub signal: Signal,
    pub encoding: Encoding,
    pub protocol: Protocol,
    /// When the caller stops waiting, if it said so.
    pub deadline: Option<Instant>,
}

/// The form in which a part leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartFormat {
    pub protocol: Protocol,
    pub encoding: Encoding,
    pub coding: Coding,
    /// Whether that is another compression than it came in.
    pub is_recoded: bool,
}

impl PartFormat {
    /// Chooses: the caller's own form if the backend takes it, else its protocol with another encoding, else the other protocol; protobuf before
    /// JSON. `came`: how the body was compressed. `None`: the backend has no way for the signal at all.
    pub(crate) fn chosen(
        format: WireFormat,
        came: Coding,
        profile: &Profile,
        compression: Compression,
    ) -> Option<PartFormat> {
        use Encoding::{Json, Protobuf};
        use Protocol::{Grpc, Http};
        let own = (format.protocol, format.encoding);
        let others: &[(Protocol, Encoding)] = match own {
            (Http, Protobuf) => &[(Http, Json), (Grpc, Protobuf)],
            (Http, Json) => &[(Http, Protobuf), (Grpc, Protobuf)],
            (Grpc, _) => &[(Http, Protobuf), (Http, Json)],
        };
        let takes = |(protocol, encoding): &(Protocol, Encoding)| {
            profile.takes(format.signal, *protocol == Grpc, *encoding)
        };
        let (protocol, encoding) = std::iter::once(own)
            .chain(others.iter().copied())
            .find(takes)?;
        let accepts = profile.exports(format.signal).accepts;
        let coding = compression.leaving(came, accepts);
        Some(PartFormat {
            protocol,
            encoding,
            coding,
            is_recoded: coding != came,
        })
    }

    /// Whether protocol and encoding are the caller's.
    pub(crate) fn is_of(self, format: WireFormat) -> bool {
        (self.protocol, self.encoding) == (format.protocol, format.encoding)
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self.protocol {
            Protocol::Http => self.encoding.media_type(),
            Protocol::Grpc => media_type::GRPC,
        }
    }
}

impl WireFormat {
    /// The same on the backend's side.
    pub(crate) fn leaving(self, leaving: PartFormat) -> WireFormat {
        WireFormat {
            encoding: leaving.encoding,
            protocol: leaving.protocol,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn profile(accepts: &str) -> Profile {
        let text = format!(
            "name: own\naddresses: {{ ingest: \"https://o.example\" }}\ningest:\n  headers: {{ a: \"{{token}}\" }}\n  accepts: {{ {accepts} }}\n  http: [{{ path: /v1/logs, signal: logs }}]\n  grpc: [{{ path: {}, signal: logs }}]\nquery: off\n",
            Signal::Logs.grpc_path()
        );
        Profile::load(Path::new("own.yaml"), &text).unwrap()
    }

    /// Scenario: callers of every form before backends of every set of forms. Guarantees: a form that is taken stays; else the protocol stays; protobuf
    /// comes before JSON.
    #[test]
    fn the_nearest_form_is_chosen() {
        use Encoding::{Json, Protobuf};
        use Protocol::{Grpc, Http};
        let forms = [(Grpc, Protobuf), (Http, Protobuf), (Http, Json)];
        for (accepts, expected) in [
            ("", forms),
            (
                "protocols: [http]",
                [(Http, Protobuf), (Http, Protobuf), (Http, Json)],
            ),
            ("protocols: [grpc]", [(Grpc, Protobuf); 3]),
            ("encodings: [json]", [(Http, Json); 3]),
            (
                "encodings: [protobuf]",
                [(Grpc, Protobuf), (Http, Protobuf), (Http, Protobuf)],
            ),
            ("protocols: [http], encodings: [json]", [(Http, Json); 3]),
        ] {
            let profile = profile(accepts);
            for ((protocol, encoding), expected) in forms.into_iter().zip(expected) {
                let format = WireFormat {
                    signal: Signal::Logs,
                    encoding,
                    protocol,
                    deadline: None,
                };
                let chosen =
                    |format| PartFormat::chosen(format, Coding::Gzip, &profile, Compression::Same);
                let found = chosen(format).map(|found| (found.protocol, found.encoding));
                assert_eq!(
                    found,
                    Some(expected),
                    "{accepts}: {protocol:?} {encoding:?}"
                );
                let other = WireFormat {
                    signal: Signal::Traces,
                    ..format
                };
                assert_eq!(chosen(other), None);
            }
        }
    }
}
