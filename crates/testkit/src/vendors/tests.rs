//! The emulator against its own table: what each row takes and refuses. What it refuses to know: the gateway.

use super::*;
use crate::{Answer, Sample, SampleCaller};

const KEY: &str = "key-of-checkout-71c3";

/// A caller with all that a row asks for, but for the header that is left out.
fn caller(emulator: &VendorEmulator, row: &Row, key: &str, without: Option<&str>) -> SampleCaller {
    let headers = row.headers.iter();
    headers.filter(|wanted| Some(wanted.name) != without).fold(
        SampleCaller::new(&emulator.url()),
        |caller, wanted| {
            let value = wanted.value(key).unwrap_or_else(|| "any".to_owned());
            caller.header(wanted.name, &value)
        },
    )
}

async fn exported(caller: &SampleCaller, row: &Row, encoding: Encoding, items: usize) -> Answer {
    let sample = Sample::of(row.signal, "checkout", items);
    let path = row.path.unwrap();
    caller.export_to(path, &sample, encoding).await.unwrap()
}

/// Scenario: each row is asked as it says, and otherwise. Guarantees: it takes the first, and refuses all else with the row's
/// status; items are kept of what is taken alone.
#[tokio::test]
async fn each_row_takes_what_it_says_and_nothing_else() {
    for row in Row::all() {
        let named = format!("{} {}", row.backend, row.signal.name());
        let emulator = VendorEmulator::start(row.backend, KEY).await.unwrap();
        let good = caller(&emulator, row, KEY, None);
        let mut taken = 0;
        for encoding in [Encoding::Protobuf, Encoding::Json] {
            let answer = exported(&good, row, encoding, 3).await;
            let expected = if row.reads(encoding) { row.taken } else { 415 };
            assert_eq!(answer.status, expected, "{named} {encoding:?}");
            taken += u64::from(row.reads(encoding));
        }
        let sample = Sample::of(row.signal, "checkout", 3);
        let grpc = good.export_grpc(&sample).await.unwrap();
        let expected = if row.grpc { 0 } else { 12 };
        assert_eq!(grpc.grpc_status(), Some(expected), "{named}");
        taken += u64::from(row.grpc);
        for coding in Coding::ALL {
            let answer =
                exported(&good.clone().compressing(coding), row, row.encodings[0], 3).await;
            let is_taken = row.codings.contains(&coding);
            let expected = if is_taken { row.taken } else { 415 };
            assert_eq!(answer.status, expected, "{named} {coding:?}");
            taken += u64::from(is_taken);
        }
        if let Some(refused) = row.refused {
            let wrong = caller(&emulator, row, "another-key", None);
            let answer = exported(&wrong, row, row.encodings[0], 3).await;
            assert_eq!(answer.status, refused, "{named}");
        }
        for wanted in &row.headers {
            let without = caller(&emulator, row, KEY, Some(wanted.name));
            let answer = exported(&without, row, row.encodings[0], 3).await;
            let expected = row.refused.filter(|_| wanted.is_credential());
            assert_eq!(answer.status, expected.unwrap_or(wanted.missing), "{named}");
        }
        for bound in [row.packed, row.unpacked].into_iter().flatten() {
            let padding = "x".repeat(10_000);
            let large = Sample::of(row.signal, "checkout", bound / 10_000 + 1)
                .item_attribute("padding", &padding);
            let path = row.path.unwrap();
            let answer = good.export_to(path, &large, Encoding::Protobuf).await;
            assert_eq!(answer.unwrap().status, 413, "{named}");
            if row.unpacked == Some(bound) {
                let packed = good.clone().gzip();
                let answer = packed.export_to(path, &large, Encoding::Protobuf).await;
                assert_eq!(answer.unwrap().status, 413, "{named}");
            }
        }
        let items = emulator.items(row.signal);
        assert_eq!(items.len(), 3, "{named}");
        assert!(items.values().all(|times| *times == taken), "{named}");
        let other = Signal::ALL.into_iter().find(|one| *one != row.signal);
        assert!(emulator.items(other.unwrap()).is_empty(), "{named}");
    }
}

/// Scenario: a backend fails on request. Guarantees: each fault strikes one export that would be taken, and is told in its form.
#[tokio::test]
async fn a_backend_fails_on_request() {
    let row = Row::of("otlp")[0];
    let emulator = VendorEmulator::start("otlp", KEY).await.unwrap();
    let good = caller(&emulator, row, KEY, None);
    let partial = VendorFault::Partial {
        rejected: 2,
        message: "too old",
    };
    emulator.fail([
        VendorFault::Throttled("7"),
        VendorFault::Status(503),
        partial,
        VendorFault::Garbage,
        VendorFault::TakenUnsaid,
    ]);
    let throttled = exported(&good, row, Encoding::Json, 1).await;
    assert_eq!(throttled.status, 429);
    assert_eq!(throttled.header("retry-after").as_deref(), Some("7"));
    assert_eq!(exported(&good, row, Encoding::Json, 1).await.status, 503);
    for encoding in [Encoding::Json] {
        let answer = exported(&good, row, encoding, 1).await;
        let told = answer.partial_success().unwrap().unwrap();
        assert_eq!((told.rejected, told.message.as_str()), (2, "too old"));
    }
    let garbage = exported(&good, row, Encoding::Json, 1).await;
    assert!(garbage.status == 200 && garbage.partial_success().is_err());
    let sample = Sample::of(row.signal, "checkout", 1);
    let unsaid = good.export(&sample, Encoding::Json).await;
    assert!(unsaid.is_err());
    assert_eq!(exported(&good, row, Encoding::Json, 1).await.status, 200);
    emulator.bound_below(Some(100));
    assert_eq!(exported(&good, row, Encoding::Json, 9).await.status, 413);
    let statuses: Vec<u16> = emulator.intakes().iter().map(|one| one.status).collect();
    assert_eq!(statuses, [429, 503, 200, 200, 200, 200, 413]);
    emulator.set_key("another-key");
    let refused = good.export_grpc(&sample).await.unwrap();
    assert_eq!(refused.grpc_status(), Some(16));
    emulator.clear();
    assert!(emulator.intakes().is_empty());
}
