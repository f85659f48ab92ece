//! Reading and rewriting protobuf exports, against prost and by hand.
//!
//! Scenario: exports that prost encodes, mangled or damaged, are read and written; prost decodes both sides.
//! Guarantees: what is written is what editing the decoded message gives. What it does not show: that a
//! backend agrees with prost.

mod by_hand;
mod mangle;
mod random;
mod request;

use bytes::Bytes;
use proptest::prelude::*;

use self::mangle::{Dice, Level, Mangler};
use self::request::Request;
use crate::otlp::{Encoding, Export, Found, Malformed, RESERVED, Signal, Stamp, Wanted};

const OWN: &[(&str, &str)] = &[
    ("lightkeeper.app", "shop/checkout"),
    ("owner", "shop-leads"),
    ("ключ", ""),
];
const OTHER: &[(&str, &str)] = &[("service.name", "renamed")];

const WANTED: [&str; 3] = ["service.name", "k8s.namespace.name", "ключ"];

fn wanted() -> std::sync::Arc<Wanted> {
    Wanted::new(WANTED)
}

fn read(signal: Signal, body: &[u8]) -> Result<Export, Malformed> {
    Export::read(
        signal,
        Encoding::Protobuf,
        Bytes::copy_from_slice(body),
        &wanted(),
    )
}

fn written(export: &Export, chosen: &[(usize, &Stamp)]) -> Vec<u8> {
    export.write(chosen).concat()
}

/// Every group, with this stamp.
fn all<'a>(export: &Export, stamp: &'a Stamp) -> Vec<(usize, &'a Stamp)> {
    (0..export.groups().len())
        .map(|group| (group, stamp))
        .collect()
}

fn mangled(request: &Request, again: &[u8], seed: u64) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut mangler = Mangler {
        dice: Dice(seed | 1),
        signal: request.signal(),
        strewn: Vec::new(),
    };
    let mut body = mangler.mangle(Level::Request, &request.encode());
    if seed.is_multiple_of(4) {
        body.extend_from_slice(again);
    }
    (body, mangler.strewn)
}

/// A group whose resource comes in two fields with its scopes between them, of no signal in particular.
fn torn_group(one: &[u8], other: &[u8]) -> Vec<u8> {
    let mut group = Vec::new();
    for (tag, content) in [
        (0x1a, b"url".as_slice()),
        (0x0a, one),
        (0x12, b""),
        (0x0a, other),
        (0x12, b""),
    ] {
        group.push(tag);
        prost::encoding::encode_varint(content.len() as u64, &mut group);
        group.extend_from_slice(content);
    }
    let mut field = vec![0x0a];
    prost::encoding::encode_varint(group.len() as u64, &mut field);
    [field, group].concat()
}

/// Reads `body`, and holds all that can be asked against what prost decodes of it.
fn agrees(signal: Signal, body: &[u8]) -> Result<Export, TestCaseError> {
    let mut decoded = Request::decode(signal, body).expect("prost decodes what is tested");
    let export =
        read(signal, body).map_err(|malformed| TestCaseError::fail(malformed.to_string()))?;
    prop_assert_eq!(
        export
            .groups()
            .iter()
            .map(|group| group.items)
            .collect::<Vec<_>>(),
        decoded.items()
    );
    prop_assert_eq!(export.items(), decoded.items().iter().sum::<u64>());
    for group in 0..export.groups().len() {
        for name in WANTED {
            prop_assert_eq!(
                export.attribute(group, name),
                decoded.attribute(group, name),
                "{} {}",
                group,
                name
            );
        }
        prop_assert_eq!(export.attribute(group, "lightkeeper.app"), Found::Absent);
    }
    prop_assert_eq!(export.forged(), decoded.strip());

    let (none, own, other) = (Stamp::new(&[]), Stamp::new(OWN), Stamp::new(OTHER));
    for (stamp, attributes) in [(&none, &[] as &[_]), (&own, OWN), (&other, OTHER)] {
        let chosen: Vec<_> = (0..export.groups().len())
            .map(|group| (group, attributes))
            .collect();
        let output = written(&export, &all(&export, stamp));
        prop_assert_eq!(
            Request::decode(signal, &output),
            Ok(decoded.select(&chosen))
        );
    }
    Ok(export)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_prost_encodes_is_read_and_rewritten_as_prost_would(request in random::request()) {
        let body = request.encode();
        let export = agrees(request.signal(), &body)?;
        if export.forged() == 0 {
            prop_assert_eq!(written(&export, &all(&export, &Stamp::new(&[]))), body);
        }
    }

    #[test]
    fn what_protobuf_allows_is_read_and_rewritten_as_prost_would(
        request in random::request(), one in random::resource(), other in random::resource(), seed: u64,
    ) {
        use prost::Message as _;
        let torn = torn_group(&one.encode_to_vec(), &other.encode_to_vec());
        let (body, strewn) = mangled(&request, &torn, seed);
        let export = agrees(request.signal(), &body)?;
        let output = written(&export, &all(&export, &Stamp::new(OWN)));
        for unknown in strewn {
            let found = output.windows(unknown.len()).filter(|bytes| *bytes == unknown).count();
            prop_assert!(found > 0, "{:?} is lost", unknown);
        }
    }

    #[test]
    fn the_parts_of_a_split_are_the_whole(request in random::request(), seed: u64, parts in 1..4u64) {
        let signal = request.signal();
        let (body, _) = mangled(&request, &[], seed);
        let mut decoded = Request::decode(signal, &body).unwrap();
        let export = read(signal, &body).unwrap();
        decoded.strip();
        let stamps = [Stamp::new(OWN), Stamp::new(OTHER), Stamp::new(&[])];
        let attributes = [OWN, OTHER, &[]];
        let part_of = |group: usize| ((seed >> (group * 2)) % parts) as usize;
        let mut items = 0;
        for part in 0..parts as usize {
            let of_part = || (0..export.groups().len()).filter(|group| part_of(*group) == part);
            let chosen: Vec<_> = of_part().map(|group| (group, &stamps[group % 3])).collect();
            let expected: Vec<_> = of_part().map(|group| (group, attributes[group % 3])).collect();
            let output = Request::decode(signal, &written(&export, &chosen)).unwrap();
            items += output.items().iter().sum::<u64>();
            prop_assert_eq!(output, decoded.select(&expected));
        }
        prop_assert_eq!(items, export.items());
    }

    #[test]
    fn damage_never_panics_and_never_passes_reserved_attributes_on(
        request in random::request(), seed: u64, flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (mut body, _) = mangled(&request, &[], seed);
        for (at, with) in flips {
            if !body.is_empty() {
                let at = at.index(body.len());
                body[at] ^= with;
            }
        }
        for signal in Signal::ALL {
            survives(signal, &body)?;
        }
    }

    #[test]
    fn any_bytes_are_survived(body in prop::collection::vec(prop_oneof![0..0x20u8, any::<u8>()], 0..200)) {
        for signal in Signal::ALL {
            survives(signal, &body)?;
        }
    }

    #[test]
    fn every_truncation_is_survived(request in random::request(), seed: u64) {
        let (body, _) = mangled(&request, &[], seed);
        let step = 1 + body.len() / 300;
        for end in (0..body.len()).step_by(step) {
            survives(request.signal(), &body[..end])?;
        }
    }
}

/// If the body is read, and prost decodes it, then prost decodes what is written, and finds nothing reserved.
fn survives(signal: Signal, body: &[u8]) -> Result<(), TestCaseError> {
    let Ok(export) = read(signal, body) else {
        return Ok(());
    };
    for stamp in [Stamp::new(&[]), Stamp::new(&[("owner", "shop-leads")])] {
        let output = written(&export, &all(&export, &stamp));
        let rewritten = read(signal, &output)
            .map_err(|malformed| TestCaseError::fail(malformed.to_string()))?;
        prop_assert_eq!(rewritten.forged(), 0);
        prop_assert_eq!(rewritten.items(), export.items());
        if Request::decode(signal, body).is_ok() {
            let mut decoded = Request::decode(signal, &output)
                .map_err(|error| TestCaseError::fail(format!("no longer decoded: {error}")))?;
            prop_assert_eq!(decoded.strip(), 0, "{} left", RESERVED);
        }
    }
    Ok(())
}
