//! Prost's and serde's word on what crosses. What it refuses to know: single values and bounds (`tables.rs`).

use opentelemetry_proto::tonic::collector::{logs, metrics, trace};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::any::{Chance, Wish, export};
use super::{to_json, to_protobuf};
use crate::otlp::Signal;

type Traces = trace::v1::ExportTraceServiceRequest;
type Metrics = metrics::v1::ExportMetricsServiceRequest;
type Logs = logs::v1::ExportLogsServiceRequest;

/// What the two are asked with: prost's own text shows NaN as itself, which is not equal to itself.
trait Oracle:
    std::fmt::Debug + prost::Message + Default + Serialize + DeserializeOwned + PartialEq
{
}
impl<T: std::fmt::Debug + prost::Message + Default + Serialize + DeserializeOwned + PartialEq>
    Oracle for T
{
}

const SIGNALS: [Signal; 3] = Signal::ALL;

/// Scenario: any export, fields in any order, messages in parts, numbers packed or not, doubles that are no numbers, fields that
/// no table has. Guarantees: what comes back from JSON is to prost what it was; unknown fields are counted.
fn there_and_back<M: Oracle>(signal: Signal, seed: u64, disorder: bool) {
    let wish = Wish {
        disorder,
        unknown: true,
        odd: true,
    };
    let (message, unknown) = export(signal, wish, &mut Chance(seed | 1));
    let before = M::decode(&message[..]).unwrap();
    let (text, counted) = to_json(signal, &message).unwrap();
    assert!(
        if disorder {
            counted <= unknown
        } else {
            counted == unknown
        },
        "{text}"
    );
    serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let (back, none) = to_protobuf(signal, &text).unwrap();
    let after = M::decode(&back[..]).unwrap();
    assert_eq!(format!("{before:?}"), format!("{after:?}"), "{text}");
    assert_eq!(none, 0);
    // A second time nothing changes.
    assert_eq!(to_json(signal, &back).unwrap(), (text, 0));
}

/// Scenario: any export that serde's structures can hold. Guarantees: serde reads our JSON as what prost reads, and we read
/// serde's as that, too: the tables have no name, number or kind of their own.
fn as_serde_has_it<M: Oracle>(signal: Signal, seed: u64, disorder: bool) {
    let wish = Wish {
        disorder,
        unknown: false,
        odd: false,
    };
    let (message, _) = export(signal, wish, &mut Chance(seed | 1));
    let expected = M::decode(&message[..]).unwrap();
    let (text, unknown) = to_json(signal, &message).unwrap();
    assert_eq!(unknown, 0);
    let read: M = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(read == expected, "{text}\n{expected:?}\n{read:?}");
    let text = serde_json::to_string(&expected).unwrap();
    let (message, unknown) =
        to_protobuf(signal, &text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(unknown, 0, "{text}");
    let read = M::decode(&message[..]).unwrap();
    assert!(read == expected, "{text}\n{expected:?}\n{read:?}");
}

proptest::proptest! {
    #[test]
    fn what_crosses_twice_is_what_it_was(seed: u64, disorder: bool) {
        for signal in SIGNALS {
            match signal {
                Signal::Traces => there_and_back::<Traces>(signal, seed, disorder),
                Signal::Metrics => there_and_back::<Metrics>(signal, seed, disorder),
                Signal::Logs => there_and_back::<Logs>(signal, seed, disorder),
            }
        }
    }

    #[test]
    fn serde_and_prost_read_what_is_written(seed: u64, disorder: bool) {
        for signal in SIGNALS {
            match signal {
                Signal::Traces => as_serde_has_it::<Traces>(signal, seed, disorder),
                Signal::Metrics => as_serde_has_it::<Metrics>(signal, seed, disorder),
                Signal::Logs => as_serde_has_it::<Logs>(signal, seed, disorder),
            }
        }
    }
}
