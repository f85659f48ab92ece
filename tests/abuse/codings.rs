//! Scenario: frames and codings that lie about what is in them, and bombs. Guarantees: one message, undone whole, or a
//! refusal with the status of the table; nothing refused goes upstream; memory has a bound while it is undone.

use std::time::Duration;

use http::Method;
use lightkeeper::otlp::Signal;
use testkit::{Answer, Coding, Format, LegacySample, Sample, SampleCaller};

use super::exports::{Via, caller, held_bytes, patient, recovers};

/// Frames that are not one message, codings that are not what they say. Guarantees: refused alike for exports and
/// reports, nothing upstream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_lie_are_refused() {
    let mut ground = patient("").await;
    let export = (
        Signal::Traces.grpc_path(),
        Sample::traces("checkout", 1).protobuf(),
    );
    let report = (
        Format::ReportsGrpc.path(),
        LegacySample::of(Format::ReportsGrpc, "checkout", 1).body(),
    );
    for (path, message) in [export, report] {
        for (name, coding, body, status, reason) in lying_frames(&message) {
            ground.world.emulator.clear();
            let mut headers = vec![("content-type", "application/grpc"), ("te", "trailers")];
            headers.extend(coding.map(|coding| ("grpc-encoding", coding)));
            let answer = caller(&ground)
                .http2()
                .send(Method::POST, path, &headers, body)
                .await
                .unwrap();
            let record = ground.calls(1).await.remove(0);
            let found = (
                answer.grpc_status(),
                record["reason"].as_str().unwrap_or_default(),
            );
            assert_eq!(found, (Some(status), reason), "{path} {name}: {record}");
            if status != 0 {
                ground.nothing_upstream(name);
            }
        }
    }
    recovers(&mut ground).await;
}

/// What it is, `grpc-encoding`, the body, gRPC's status and the reason.
type Frame = (
    &'static str,
    Option<&'static str>,
    Vec<u8>,
    u32,
    &'static str,
);

fn lying_frames(message: &[u8]) -> Vec<Frame> {
    let packed = Coding::Gzip.compress(message).unwrap();
    let frame = |flag: u8, length: usize, message: &[u8]| {
        [
            &[flag][..],
            &u32::try_from(length).unwrap().to_be_bytes(),
            message,
        ]
        .concat()
    };
    let good = frame(0, message.len(), message);
    let (malformed, undecodable) = ("malformed_grpc_frame", "body_undecodable");
    vec![
        ("good", None, good.clone(), 0, "ok"),
        (
            "uncompressed though announced",
            Some("gzip"),
            good.clone(),
            0,
            "ok",
        ),
        ("two messages", None, good.repeat(2), 3, malformed),
        (
            "a byte behind",
            None,
            [&good[..], &[0]].concat(),
            3,
            malformed,
        ),
        ("nothing", None, Vec::new(), 3, malformed),
        ("half a prefix", None, vec![0, 0, 0], 3, malformed),
        (
            "flag 2",
            None,
            frame(2, message.len(), message),
            3,
            malformed,
        ),
        (
            "flag 255",
            None,
            frame(255, message.len(), message),
            3,
            malformed,
        ),
        (
            "compressed with nothing",
            None,
            frame(1, packed.len(), &packed),
            3,
            malformed,
        ),
        (
            "compressed with identity",
            Some("identity"),
            frame(1, message.len(), message),
            3,
            malformed,
        ),
        (
            "length too small",
            None,
            frame(0, message.len() - 1, message),
            3,
            malformed,
        ),
        (
            "length too large",
            None,
            frame(0, message.len() + 1, message),
            3,
            malformed,
        ),
        (
            "length 4 GiB",
            None,
            frame(0, u32::MAX as usize, message),
            8,
            "body_too_large",
        ),
        (
            "not gzip",
            Some("gzip"),
            frame(1, message.len(), message),
            3,
            undecodable,
        ),
        (
            "gzip as zstd",
            Some("zstd"),
            frame(1, packed.len(), &packed),
            3,
            undecodable,
        ),
        ("empty gzip", Some("gzip"), frame(1, 0, b""), 3, undecodable),
        (
            "a list",
            Some("gzip, gzip"),
            frame(1, packed.len(), &packed),
            12,
            "content_encoding_unsupported",
        ),
        (
            "snappy",
            Some("snappy"),
            frame(1, packed.len(), &packed),
            12,
            "content_encoding_unsupported",
        ),
    ]
}

/// Codings of bodies: lists, names, ends, members, windows, wrong ones. Guarantees: one coding, undone whole, or a
/// refusal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codings_that_lie_are_refused() {
    let mut ground = patient("decompressed_body: 32MiB").await;
    let message = Sample::traces("checkout", 1).protobuf();
    let [_, gzip, zlib, zstd] = Coding::ALL.map(|coding| coding.compress(&message).unwrap());
    let (first, second) = message.split_at(message.len() / 2);
    let members = |coding: Coding| {
        [
            coding.compress(first).unwrap(),
            coding.compress(second).unwrap(),
        ]
        .concat()
    };
    let raw_deflate = zlib[2..zlib.len() - 4].to_vec();
    let behind = |body: &[u8]| [body, b"garbage"].concat();
    let wrong_sum = |body: &[u8]| {
        let mut body = body.to_vec();
        let at = body.len() - 6;
        body[at] ^= 1;
        body
    };
    let twice = Coding::Gzip.compress(&gzip).unwrap();
    let window = zstd_with_window(&message, 27);
    let skippable = [&b"\x50\x2a\x4d\x18\x04\0\0\0skip"[..], &zstd].concat();
    let (unsupported, undecodable) = ("content_encoding_unsupported", "body_undecodable");
    let cases: Vec<(&str, &str, Vec<u8>, u16, &str)> = vec![
        ("identity", "identity", message.clone(), 200, "ok"),
        ("in capitals", "GZIP", gzip.clone(), 200, "ok"),
        ("an old name", "x-gzip", gzip.clone(), 200, "ok"),
        ("a list", "gzip, gzip", twice.clone(), 415, unsupported),
        (
            "a list with nothing",
            "gzip,",
            gzip.clone(),
            415,
            unsupported,
        ),
        (
            "identity in a list",
            "identity, gzip",
            gzip.clone(),
            415,
            unsupported,
        ),
        (
            "with a parameter",
            "gzip;q=1",
            gzip.clone(),
            415,
            unsupported,
        ),
        ("brotli", "br", message.clone(), 415, unsupported),
        ("no name", "", message.clone(), 415, unsupported),
        ("twice under one name", "gzip", twice, 400, "body_malformed"),
        ("not compressed", "gzip", message.clone(), 400, undecodable),
        ("an empty body", "gzip", Vec::new(), 400, undecodable),
        (
            "gzip cut",
            "gzip",
            gzip[..gzip.len() - 1].to_vec(),
            400,
            undecodable,
        ),
        ("gzip and garbage", "gzip", behind(&gzip), 400, undecodable),
        (
            "gzip with a wrong sum",
            "gzip",
            wrong_sum(&gzip),
            400,
            undecodable,
        ),
        ("two members", "gzip", members(Coding::Gzip), 200, "ok"),
        ("zlib", "deflate", zlib.clone(), 200, "ok"),
        ("raw deflate", "deflate", raw_deflate, 400, undecodable),
        (
            "zlib and garbage",
            "deflate",
            behind(&zlib),
            400,
            undecodable,
        ),
        (
            "two zlib streams",
            "deflate",
            members(Coding::Deflate),
            400,
            undecodable,
        ),
        ("zstd", "zstd", zstd.clone(), 200, "ok"),
        (
            "zstd cut",
            "zstd",
            zstd[..zstd.len() - 1].to_vec(),
            400,
            undecodable,
        ),
        ("zstd and garbage", "zstd", behind(&zstd), 400, undecodable),
        ("two frames", "zstd", members(Coding::Zstd), 200, "ok"),
        ("a frame to skip", "zstd", skippable, 200, "ok"),
        ("a window of 128 MiB", "zstd", window, 400, undecodable),
        ("gzip as zstd", "zstd", gzip, 400, undecodable),
    ];
    for (name, coding, body, status, reason) in cases {
        ground.world.emulator.clear();
        let headers = [
            ("content-type", "application/x-protobuf"),
            ("content-encoding", coding),
        ];
        let answer = caller(&ground)
            .send(Method::POST, "/v1/traces", &headers, body)
            .await
            .unwrap();
        let record = ground.calls(1).await.remove(0);
        assert_eq!(
            (answer.status, record["reason"].as_str().unwrap_or_default()),
            (status, reason),
            "{name}: {record}"
        );
        if status == 200 {
            assert_eq!(ground.world.emulator.exports()[0].items(), 1, "{name}");
        } else {
            ground.nothing_upstream(name);
        }
    }
    recovers(&mut ground).await;
}

/// A frame that asks its reader for a window of this many bits.
fn zstd_with_window(plain: &[u8], bits: u32) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(bits).unwrap();
    encoder.include_contentsize(false).unwrap();
    std::io::Write::write_all(&mut encoder, plain).unwrap();
    encoder.finish().unwrap()
}

/// Bombs of each coding, many at once. Guarantees: 413, the budget never holds more than a fixed share for each, and the
/// process does not grow by what they would become.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bombs_stop_within_fixed_memory() {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/statm").unwrap();
        status.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    let mut ground = patient("").await;
    let zeros = vec![0; 256 << 20];
    let bombs = [Coding::Gzip, Coding::Deflate, Coding::Zstd]
        .map(|coding| (coding, tightest(coding, &zeros)));
    drop(zeros);
    for (coding, bomb) in bombs {
        for via in [Via::Http, Via::Json, Via::Grpc] {
            let (before, mut held, mut most) = (resident(), 0, 0);
            let mut calls = tokio::task::JoinSet::new();
            for _ in 0..6 {
                let (caller, bomb) = (caller(&ground), bomb.clone());
                calls.spawn(async move { sent_packed(via, &caller, bomb, coding).await });
            }
            let mut look = tokio::time::interval(Duration::from_millis(2));
            while !calls.is_empty() {
                tokio::select! {
                    _ = look.tick() => {
                        held = held.max(held_bytes(&ground));
                        most = most.max(resident().saturating_sub(before));
                    }
                    Some(answer) = calls.join_next() => {
                        let answer = answer.unwrap();
                        assert_eq!(via.status(&answer), via.of((413, 8)), "{coding:?} {via:?}: {}", answer.text());
                        assert!(!answer.headers.contains_key("grpc-status-details-bin"), "{coding:?}: told to retry");
                    }
                }
            }
            // Eight MiB go unjudged; by half more is asked for at once; the body itself.
            let each = (8 << 20) * 3 / 2 + (64 << 10) + bomb.len() as u64;
            assert!(
                held <= 6 * each,
                "{coding:?} {via:?}: {} MiB held",
                held >> 20
            );
            // And what other tests of this process hold meanwhile.
            assert!(
                most < 700 << 20,
                "{coding:?} {via:?}: {} MiB more",
                most >> 20
            );
            let records = ground.calls(6).await;
            assert!(
                records.iter().all(|record| record["reason"] == "body_bomb"),
                "{coding:?} {via:?}: {records:?}"
            );
        }
    }
    ground.nothing_upstream("bombs");
    recovers(&mut ground).await;
}

/// As small as the coding can say it.
fn tightest(coding: Coding, plain: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let best = flate2::Compression::best();
    match coding {
        Coding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), best);
            encoder
                .write_all(plain)
                .and_then(|()| encoder.finish())
                .unwrap()
        }
        Coding::Deflate => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), best);
            encoder
                .write_all(plain)
                .and_then(|()| encoder.finish())
                .unwrap()
        }
        Coding::Identity | Coding::Zstd => coding.compress(plain).unwrap(),
    }
}

/// A body that is packed already.
async fn sent_packed(via: Via, caller: &SampleCaller, packed: Vec<u8>, coding: Coding) -> Answer {
    let (path, kind, named) = match via {
        Via::Http => ("/v1/traces", "application/x-protobuf", "content-encoding"),
        Via::Json => ("/v1/traces", "application/json", "content-encoding"),
        Via::Grpc => (
            Signal::Traces.grpc_path(),
            "application/grpc",
            "grpc-encoding",
        ),
    };
    let headers = [
        ("content-type", kind),
        (named, coding.name()),
        ("te", "trailers"),
    ];
    if via != Via::Grpc {
        return caller
            .send(Method::POST, path, &headers[..2], packed)
            .await
            .unwrap();
    }
    let frame = [
        &[1][..],
        &u32::try_from(packed.len()).unwrap().to_be_bytes(),
        &packed,
    ]
    .concat();
    caller
        .clone()
        .http2()
        .send(Method::POST, path, &headers, frame)
        .await
        .unwrap()
}
