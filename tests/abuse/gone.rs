//! Scenario: callers who ask, go away, and ask again, while the backend hangs. Guarantees: a call counts at its connection until
//! it has ended, whether its stream still stands or not, so that going away is no way to have more calls at the backend.

use std::sync::atomic::Ordering;
use std::time::Duration;

use testkit::{Endpoints, Fault};

use super::frames::{self, End, Line, frame};
use super::ground::{Ground, eventually};

const SOON: Duration = Duration::from_secs(20);
const CANCEL: [u8; 4] = [0, 0, 0, 8];
const STREAMS: u32 = 5;
const HEADER_TABLE_SIZE: u16 = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_reset_counts_until_its_call_has_ended() {
    let mut ground = Ground::with_limits(&format!("streams: {STREAMS}, penalty: off")).await;
    let core = ground.world.gateway.shared().clone();
    ground.world.emulator.fail(Endpoints::All, Fault::Held);
    let bearer = format!("Bearer {}", ground.exporter);
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "gw"),
        (":path", "/v1/traces"),
        ("content-type", "application/x-protobuf"),
        ("authorization", bearer.as_str()),
    ];
    let body = b"\n\x04\x12\x02\x12\0";
    // Without a table, each status stands in its own block.
    let mut line = Line::open_with(ground.plain(), &[(HEADER_TABLE_SIZE, 0)]).await;
    let mut ids = (1..).step_by(2);
    // Twice as many as may be open: those that were just answered may still be ending.
    for round in 1..=2_u64 {
        let opened: Vec<u32> = ids.by_ref().take(5).collect();
        for id in &opened {
            line.request(*id, &fields, Some(body)).await;
        }
        let all = round * u64::from(STREAMS);
        eventually("they are at the backend", SOON, || {
            ground.world.emulator.heads() == all
        })
        .await;
        for id in &opened {
            line.send(&frame(frames::RST_STREAM, 0, *id, &CANCEL)).await;
        }
    }
    for id in ids.by_ref().take(10) {
        line.request(id, &fields, Some(body)).await;
        assert_eq!(line.end_of(id, SOON).await, End::Status(429));
        assert_eq!(
            ground.calls(1).await.remove(0)["reason"],
            "memory_share_spent"
        );
    }
    assert_eq!(ground.world.emulator.heads(), 10);
    assert_eq!(core.in_flight.load(Ordering::Relaxed), 10);
    // Another connection of the same caller has places of its own.
    let mut other = Line::open(ground.plain()).await;
    other.request(1, &fields, Some(body)).await;
    eventually("another connection's call", SOON, || {
        ground.world.emulator.heads() == 11
    })
    .await;
    ground.world.emulator.heal();
    assert_eq!(other.end_of(1, SOON).await, End::Status(200));
    eventually("calls ended", SOON, || {
        core.in_flight.load(Ordering::Relaxed) == 0
    })
    .await;
    let id = ids.next().unwrap();
    line.request(id, &fields, Some(body)).await;
    assert_eq!(line.end_of(id, SOON).await, End::Status(200));
    ground.calls(12).await;
    ground.alive().await;
}
