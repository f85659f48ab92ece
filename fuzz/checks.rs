//! What must hold for any bytes that a caller or a backend sends: one check per target.
//!
//! What it does: calls the library as the gateway does, and asserts what the gateway relies on: no panic, no
//! output beyond what the input can grow to, and what was read can be written and read again with the same
//! counts. What it refuses to know: where the bytes come from; `cargo fuzz` and `tests/fuzz.rs` both use it.
//! Invariant: a check is a function of its bytes alone, so that whatever fails can be run again.

mod cutting;

use bytes::Bytes;
use lightkeeper::identify::{ReadProof, is_same_address};
use lightkeeper::lightstep::{Format, Report, Token};
use lightkeeper::limits::Budget;
use lightkeeper::otlp::{Encoding, Export, PartialSuccess, RESERVED, Signal, Stamp, Wanted};
use lightkeeper::otlp::{frame, read_answer, transcode, unframe, write_answer};
use lightkeeper::transform::{Coding, compress, decompress};

pub use self::cutting::cutting;

/// A target: a name, and what must hold. The name is that of its corpus under `fuzz/corpus` and of its
/// binary under `fuzz/fuzz_targets`. A new format is one line here and one file there.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: &[Target] = &[
    ("protobuf", protobuf),
    ("json", json),
    ("transcode", transcoding),
    ("cut", cutting),
    ("answer", answer),
    ("grpc_frame", grpc_frame),
    ("decompress", decompression),
    ("thrift", thrift),
    ("report", report),
    ("report_json", report_json),
    ("lines", lines),
    ("proof", proof),
];

/// OTLP/protobuf exports.
pub fn protobuf(data: &[u8]) {
    exports(Encoding::Protobuf, data);
}

/// OTLP/JSON exports.
pub fn json(data: &[u8]) {
    exports(Encoding::Json, data);
}

/// Exports on their way into the other encoding: what crosses can come back, says nothing unknown, and crosses to the same again.
pub fn transcoding(data: &[u8]) {
    const LIMIT_BYTES: u64 = 1 << 20;
    let wanted = Wanted::new([]);
    for signal in Signal::ALL {
        for (encoding, other, times) in [
            (Encoding::Json, Encoding::Protobuf, 5),
            (Encoding::Protobuf, Encoding::Json, 20),
        ] {
            let budget = Budget::new(u64::MAX);
            let mut held = budget.gateway().open();
            let mut cross =
                |encoding, data: &[u8]| transcode(signal, encoding, data, LIMIT_BYTES, &mut held);
            let Ok(crossed) = cross(encoding, data) else {
                continue;
            };
            assert!(
                crossed.message.len() <= times * data.len() + 2,
                "it grew beyond its names"
            );
            let read = |encoding, data: Bytes| Export::read(signal, encoding, data, &wanted);
            if read(encoding, Bytes::copy_from_slice(data)).is_ok() {
                read(other, crossed.message.clone()).expect("what crossed can be read");
            }
            let back = cross(other, &crossed.message).expect("what crossed can come back");
            let again = cross(encoding, &back.message).expect("what came back can cross");
            assert_eq!((back.unknown, again.unknown), (0, 0));
            assert_eq!(again.message, crossed.message);
        }
    }
}

/// The first is replaced, the second is new to most, the third is what only the gateway may write.
const STAMP: &[(&str, &str)] = &[
    ("service.name", "a \"name\""),
    ("owner", "team"),
    ("lightkeeper.app", "shop"),
];

fn exports(encoding: Encoding, data: &[u8]) {
    let names = ["service.name", "host.name", "owner"];
    let wanted = Wanted::new(names);
    let body = Bytes::copy_from_slice(data);
    for signal in Signal::ALL {
        let read = |body: Bytes| Export::read(signal, encoding, body, &wanted);
        let Ok(export) = read(body.clone()) else {
            continue;
        };
        let counts = |export: &Export| {
            export
                .groups()
                .iter()
                .map(|group| group.items)
                .collect::<Vec<_>>()
        };
        let items = counts(&export);
        assert_eq!(export.items(), items.iter().sum::<u64>());
        assert!(
            items.len() + items.iter().sum::<u64>() as usize <= data.len(),
            "more items than bytes"
        );

        let write = |from: &Export, stamp: &Stamp, every: usize| {
            let chosen: Vec<(usize, &Stamp)> = (0..items.len())
                .step_by(every)
                .map(|index| (index, stamp))
                .collect();
            let written = Bytes::from(from.write(&chosen).concat());
            let again = read(written.clone()).expect("what was written can be read");
            assert_eq!(
                counts(&again),
                items.iter().copied().step_by(every).collect::<Vec<_>>()
            );
            (written, again)
        };

        let (same, again) = write(&export, &Stamp::default(), 1);
        assert!(same.len() <= data.len(), "it grew without a stamp");
        assert_eq!(again.forged(), 0);
        // In protobuf, several resources of a group become one, as every decoder merges them.
        if export.forged() == 0 && same != body {
            assert!(
                encoding == Encoding::Protobuf && same.len() < data.len(),
                "it changed without a reason"
            );
        }
        assert_eq!(
            write(&again, &Stamp::default(), 1).0,
            same,
            "it changed again"
        );
        for (index, name) in (0..items.len()).flat_map(|index| names.map(move |name| (index, name)))
        {
            assert_eq!(
                again.attribute(index, name),
                export.attribute(index, name),
                "group {index}, {name}"
            );
        }

        let stamp = Stamp::new(STAMP);
        for every in [1, 2] {
            let (stamped, again) = write(&export, &stamp, every);
            // The stamp's own bytes, and the lengths or brackets around it.
            assert!(
                stamped.len() <= data.len() + again.groups().len() * 400,
                "it grew beyond its stamps"
            );
            assert_eq!(
                again.forged(),
                again.groups().len() as u64,
                "a stamp is missing, or more than it is there"
            );
            for (index, (name, value)) in (0..again.groups().len())
                .flat_map(|index| STAMP.iter().map(move |pair| (index, *pair)))
            {
                if !name.starts_with(RESERVED) {
                    let found = again.attribute(index, name);
                    assert_eq!(
                        found,
                        lightkeeper::otlp::Found::Text(value.into()),
                        "group {index}, {name}"
                    );
                }
            }
        }
    }
}

/// Answers of a backend to an export.
pub fn answer(data: &[u8]) {
    for (signal, encoding) in Signal::ALL
        .into_iter()
        .flat_map(|s| [(s, Encoding::Protobuf), (s, Encoding::Json)])
    {
        let Ok(partial) = read_answer(signal, encoding, data) else {
            continue;
        };
        assert!(
            partial != Some(PartialSuccess::default()),
            "nothing is said as something"
        );
        assert!(
            partial
                .as_ref()
                .is_none_or(|partial| partial.rejected <= i64::MAX as u64)
        );
        for encoding in [Encoding::Protobuf, Encoding::Json] {
            let written = write_answer(signal, encoding, partial.as_ref());
            assert_eq!(
                read_answer(signal, encoding, &written).as_ref(),
                Ok(&partial)
            );
        }
    }
}

/// Bodies of unary gRPC calls.
pub fn grpc_frame(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    if let Ok((compressed, message)) = unframe(&body) {
        assert_eq!(message.len() + 5, data.len());
        assert_eq!(frame(compressed, vec![message]).concat(), data);
    }
    let (start, end) = data.split_at(data.len() / 2);
    let framed = frame(true, [start, end].map(Bytes::copy_from_slice).into());
    assert_eq!(unframe(&framed.concat().into()), Ok((true, body)));
}

/// Bodies in every content coding.
pub fn decompression(data: &[u8]) {
    const LIMIT_BYTES: u64 = 128 << 10;
    let body = Bytes::copy_from_slice(data);
    for coding in Coding::ALL {
        let budget = Budget::new(u64::MAX);
        let mut reservation = budget.gateway().open();
        let result = decompress(coding, &body, LIMIT_BYTES, &mut reservation);
        assert!(
            budget.used_bytes() <= LIMIT_BYTES + 1,
            "more was taken than the limit"
        );
        let Ok(plain) = result else { continue };
        assert!(plain.len() as u64 <= LIMIT_BYTES);
        let coded = compress(coding, std::slice::from_ref(&plain)).expect("any bytes can be coded");
        assert_eq!(
            decompress(coding, &coded, LIMIT_BYTES, &mut reservation),
            Ok(plain),
            "{coding:?}"
        );
    }
}

/// Thrift's binary protocol: the first API's reports.
pub fn thrift(data: &[u8]) {
    reports(Format::ThriftBinary, data);
}

/// Lightstep's own protobuf messages.
pub fn report(data: &[u8]) {
    reports(Format::Reports, data);
    reports(Format::Metrics, data);
}

/// Reports as JSON: proto3 JSON, Thrift's structs, Zipkin.
pub fn report_json(data: &[u8]) {
    reports(Format::ReportsJson, data);
    reports(Format::ThriftJson, data);
    reports(Format::Zipkin, data);
}

/// What has its token in the head: `_bulk` and Firehose. Without forged tags, and if nothing is to be added, it passes
/// as it came.
pub fn lines(data: &[u8]) {
    for format in [Format::Bulk, Format::Firehose] {
        reports(format, data);
        if let Ok(report) = Report::read(format, Bytes::copy_from_slice(data))
            && report.forged() == 0
        {
            assert_eq!(
                report
                    .write(b"ours", &[])
                    .expect("what was read can be written")
                    .concat(),
                data
            );
        }
    }
}

/// Proofs of possession: a line, and an address behind the first line break.
pub fn proof(data: &[u8]) {
    let cut = data.iter().position(|byte| *byte == b'\n');
    let (line, rest) = data.split_at(cut.unwrap_or(data.len()));
    let address = String::from_utf8_lossy(rest.get(1..).unwrap_or_default());
    let asked = "https://gateway.example/v1/traces";
    for (one, other) in [(&*address, asked), (&*address, &*address)] {
        let is_same = is_same_address(one, other);
        assert_eq!(is_same, is_same_address(other, one), "in one direction");
        let longer = format!("{one}?a#b");
        assert!(!is_same || is_same_address(&longer, other) || longer.len() > 8 << 10);
    }
    if let Ok(read) = ReadProof::read(line, asked) {
        assert_eq!(read.thumbprint.len(), 43, "no SHA-256 in base64url");
        assert_eq!(line.iter().filter(|byte| **byte == b'.').count(), 2);
        assert!(line.is_ascii() && read.method.len() <= line.len());
        // A line has one reading, and one byte more is another line.
        assert_eq!(ReadProof::read(line, asked), Ok(read.clone()));
        let longer = [line, b"A"].concat();
        assert!(!ReadProof::read(&longer, asked).is_ok_and(|longer| longer.is_signed));
        let cut = ReadProof::read(&line[..line.len() - 1], asked);
        assert!(!cut.is_ok_and(|cut| cut.is_signed), "a signature was cut");
    }
}

fn reports(format: Format, data: &[u8]) {
    const OURS: &[u8] = b"a-token-of-ours";
    let Ok(report) = Report::read(format, Bytes::copy_from_slice(data)) else {
        return;
    };
    assert!(report.items() <= data.len() as u64, "more items than bytes");
    for stamp in [&[], STAMP] {
        let written = report
            .write(OURS, stamp)
            .expect("what was read can be written")
            .concat();
        let most = report.written_bytes_at_most(OURS.len(), stamp);
        assert!(
            written.len() as u64 <= most,
            "{format:?}: {} bytes, and {most} were said",
            written.len()
        );
        let again = Report::read(format, written.into()).expect("what was written can be read");
        assert_eq!(again.items(), report.items(), "{format:?}");
        assert!(
            matches!(again.token(), Token::None | Token::One(OURS)),
            "{format:?}: a token that is not ours"
        );
        assert!(
            !stamp.is_empty() || again.forged() == 0,
            "{format:?}: a reserved tag stays"
        );
    }
}
