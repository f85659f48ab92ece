//! Which forms of OTLP lead to a backend, and where.
//!
//! What it does: takes the standard paths for every signal that the backend takes by whatever protocol, because what comes in one form goes out in another;
//! says at which path a signal's exports are taken over a protocol. What it refuses to know: how one form becomes another. Invariant: a path that goes out
//! is one of the profile's own rows, or of its `signals`.

use super::fault::{PlacedFault, ProfileFault};
use super::matching::minor_version;
use super::{OperationId, Profile};
use crate::document::Spanned;
use crate::otlp::{Encoding, Signal};

/// What a backend is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExportPath<'p> {
    /// The path that the client asked.
    AsAsked,
    At(&'p str),
}

impl Profile {
    /// What the backend is asked over gRPC (`grpc`) or HTTP, of a client that asked `asked`: the same, where the backend has it for the signal, else the
    /// backend's first; `None`: it takes none of the signal so.
    pub(crate) fn way_out(
        &self,
        signal: Signal,
        grpc: bool,
        asked: &str,
    ) -> Option<ExportPath<'_>> {
        if grpc {
            let mut rows = self.grpc.iter().filter(|row| row.2 == signal);
            let is_known = rows.clone().any(|row| row.0 == asked);
            return match is_known {
                true => Some(ExportPath::AsAsked),
                false => rows.next().map(|row| ExportPath::At(&row.0)),
            };
        }
        let mut rows = self.ingest.iter().filter(|row| row.signal == signal);
        let is_known = rows.clone().any(|row| row.is(asked));
        if is_known || self.exports(signal).has_own_path() {
            // A path of the signal's own stands in its place.
            return Some(ExportPath::AsAsked);
        }
        rows.find(|row| !row.minor)
            .map(|row| ExportPath::At(&row.path))
    }

    /// Whether exports of the signal go out in this form.
    pub(crate) fn takes(&self, signal: Signal, grpc: bool, encoding: Encoding) -> bool {
        self.exports(signal).accepts.takes(grpc, encoding) && self.has_rows(signal, grpc)
    }

    /// The same for who cannot be reached over gRPC: over HTTP goes what can.
    pub(crate) fn over_http(&self) -> Profile {
        let mut profile = self.clone();
        for form in &mut profile.exports {
            form.accepts.grpc &= !form.accepts.http;
        }
        profile
    }

    /// Whether exports of the signal go out in any form.
    pub(crate) fn takes_signal(&self, signal: Signal) -> bool {
        let forms = [
            (false, Encoding::Protobuf),
            (false, Encoding::Json),
            (true, Encoding::Protobuf),
        ];
        forms
            .iter()
            .any(|(grpc, encoding)| self.takes(signal, *grpc, *encoding))
    }

    fn has_rows(&self, signal: Signal, grpc: bool) -> bool {
        if grpc {
            self.grpc.iter().any(|row| row.2 == signal)
        } else {
            self.exports(signal).has_own_path()
                || self.ingest.iter().any(|row| row.signal == signal)
        }
    }

    /// A fault for each signal that has rows, none of them of a protocol that is taken.
    pub(super) fn without_ways(&self, at: &Spanned<()>) -> Vec<PlacedFault> {
        let is_stranded = |signal: &Signal| {
            let has_rows = self.has_rows(*signal, false) || self.has_rows(*signal, true);
            has_rows && !self.takes_signal(*signal) && self.exports(*signal).accepts.is_usable()
        };
        let stranded = Signal::ALL.into_iter().filter(is_stranded);
        stranded
            .map(|signal| ProfileFault::NoForm(signal.name()).at(at))
            .collect()
    }

    /// The signal of a standard path, of OTLP/HTTP or gRPC, that is no row of its own; its row is the one that the other rows of the signal have.
    pub(super) fn of_standard_path(&self, path: &str, grpc: bool) -> Option<(OperationId, Signal)> {
        let signal = Signal::ALL.into_iter().find(|signal| {
            if grpc {
                signal.grpc_path() == path
            } else {
                path.strip_prefix("/v1/") == Some(signal.name())
            }
        })?;
        let http = self.ingest.iter().map(|row| (row.operation, row.signal));
        let rows = http.chain(self.grpc.iter().map(|row| (row.1, row.2)));
        rows.into_iter().find(|(_, known)| *known == signal)
    }
}

impl super::IngestPath {
    fn is(&self, path: &str) -> bool {
        match path.strip_prefix(self.path.as_str()) {
            Some(rest) if self.minor => minor_version(rest).is_some(),
            Some(rest) => rest.is_empty(),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn profile(rows: &str) -> Profile {
        let text = format!(
            "name: own\naddresses: {{ ingest: \"https://o.example\" }}\ningest:\n  headers: {{ a: \"{{token}}\" }}\n{rows}query: off\n"
        );
        Profile::load(Path::new("own.yaml"), &text).unwrap()
    }

    /// Scenario: a backend with rows of one protocol. Guarantees: clients of the other come in by the standard path; what goes out
    /// goes where the profile says, and a signal that it does not take has no way in or out.
    #[test]
    fn one_protocol_lets_in_both() {
        let (grpc, http) = (Signal::Traces.grpc_path(), "/v1/traces");
        let over_http = profile("  http: [{ path: /in/traces, signal: traces }]\n");
        let found = over_http.match_grpc(grpc);
        assert_eq!(found.map(|found| found.1), Some(Signal::Traces));
        for (asked, out) in [
            (grpc, ExportPath::At("/in/traces")),
            (http, ExportPath::At("/in/traces")),
            ("/in/traces", ExportPath::AsAsked),
        ] {
            let way = |grpc| over_http.way_out(Signal::Traces, grpc, asked);
            assert_eq!((way(false), way(true)), (Some(out), None), "{asked}");
        }
        assert!(over_http.match_ingest(http).is_some());
        assert!(over_http.match_ingest("/v1/logs").is_none());
        assert!(over_http.match_grpc(Signal::Logs.grpc_path()).is_none());
        assert_eq!(over_http.way_out(Signal::Logs, false, "/v1/logs"), None);
        let over_grpc = profile(&format!("  grpc: [{{ path: {grpc}, signal: traces }}]\n"));
        let found = over_grpc.match_ingest(http);
        let found = found.map(|found| (found.1, found.2));
        assert_eq!(found, Some((Signal::Traces, http.to_owned())));
        let way = over_grpc.way_out(Signal::Traces, true, http);
        assert_eq!(way, Some(ExportPath::At(grpc)));
        assert!(!over_grpc.takes(Signal::Traces, false, Encoding::Protobuf));
        assert!(over_grpc.takes(Signal::Traces, true, Encoding::Protobuf));
        let text = "name: own\naddresses: { ingest: \"https://o.example\" }\ningest:\n  headers: { a: \"{token}\" }\n  accepts: { protocols: [grpc] }\n  http: [{ path: /v1/logs, signal: logs }]\nquery: off\n";
        let found = Profile::load(Path::new("own.yaml"), text).unwrap_err();
        let words: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(words.len() == 1 && words[0].contains("logs"), "{words:?}");
        let versions = Profile::lightstep();
        for asked in ["/v1/traces", "/traces/otlp/v0.9", "/api/v2/otel/trace"] {
            let way = versions.way_out(Signal::Traces, false, asked);
            assert_eq!(way, Some(ExportPath::AsAsked));
        }
        for asked in ["/traces/otlp/v0.9", "/logs/otlp", "/v1/logsx"] {
            let way = versions.way_out(Signal::Logs, false, asked);
            assert_eq!(way, Some(ExportPath::At("/v1/logs")));
        }
        let plain = Profile::named("otlp").unwrap();
        let way = plain.way_out(Signal::Traces, true, "/other.Service/Export");
        assert_eq!(way, Some(ExportPath::At(grpc)));
    }
}
