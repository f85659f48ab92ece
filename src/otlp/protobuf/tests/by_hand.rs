//! Exports made by hand: what no encoder writes, and what it is taken for. Refuses to know how they are read.

use super::*;
use crate::otlp::MAX_GROUPS;
use crate::otlp::protobuf::GroupPlace;
use crate::otlp::wanted::AttributeValue;
use crate::otlp::wire::MAX_GROUP_DEPTH;

/// A length-delimited field.
fn field(number: u32, content: impl AsRef<[u8]>) -> Vec<u8> {
    let mut field = Vec::new();
    prost::encoding::encode_key(
        number,
        prost::encoding::WireType::LengthDelimited,
        &mut field,
    );
    prost::encoding::encode_varint(content.as_ref().len() as u64, &mut field);
    field.extend_from_slice(content.as_ref());
    field
}

fn join(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

/// A `KeyValue` with a string value, as field `number` of something.
fn pair(number: u32, key: &str, value: &str) -> Vec<u8> {
    field(number, join(&[field(1, key), field(2, field(1, value))]))
}

/// A request of one group with one resource of this content.
fn of_resource(content: &[u8]) -> Vec<u8> {
    field(1, field(1, content))
}

#[test]
fn broken_bodies_are_malformed_where_they_break() {
    let deep = |depth: usize| [vec![0x1b; depth], vec![0x1c; depth]].concat();
    let overlong = [&[0x18][..], &[0xff; 9], &[0x02]].concat();
    let of_metric = |content: &[u8]| field(1, field(2, field(2, content)));
    for (signal, body, offset, what) in [
        (
            Signal::Traces,
            b"\x0a".to_vec(),
            1,
            "a varint ends beyond its message",
        ),
        (
            Signal::Traces,
            b"\x0a\x80".to_vec(),
            1,
            "a varint ends beyond its message",
        ),
        (
            Signal::Traces,
            b"\x0a\x05\x12\x01".to_vec(),
            0,
            "a field ends beyond its message",
        ),
        (
            Signal::Traces,
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec(),
            0,
            "a field ends beyond its message",
        ),
        (
            Signal::Traces,
            overlong,
            1,
            "a varint is larger than 64 bits",
        ),
        (
            Signal::Traces,
            [&[0x18][..], &[0x80; 10], &[0x00]].concat(),
            1,
            "a varint is larger than 64 bits",
        ),
        (
            Signal::Traces,
            b"\x02\x00".to_vec(),
            0,
            "a field has the number 0",
        ),
        (
            Signal::Traces,
            b"\x18\x01\x8a\x80\x80\x80\x10\x00".to_vec(),
            2,
            "a field tag is larger than 32 bits",
        ),
        (
            Signal::Traces,
            b"\x1e\x00".to_vec(),
            0,
            "a field has an unknown wire type",
        ),
        (
            Signal::Traces,
            b"\x1f\x00".to_vec(),
            0,
            "a field has an unknown wire type",
        ),
        (
            Signal::Traces,
            b"\x1d\x00\x00\x00".to_vec(),
            0,
            "a field ends beyond its message",
        ),
        (
            Signal::Traces,
            b"\x19\x00\x00\x00\x00\x00\x00\x00".to_vec(),
            0,
            "a field ends beyond its message",
        ),
        (
            Signal::Traces,
            b"\x1c".to_vec(),
            0,
            "a group ends that is not open",
        ),
        (
            Signal::Traces,
            b"\x1b".to_vec(),
            1,
            "a field ends beyond its message",
        ),
        (
            Signal::Traces,
            b"\x1b\x1f\x1c".to_vec(),
            1,
            "a field has an unknown wire type",
        ),
        (
            Signal::Traces,
            b"\x1b\x24".to_vec(),
            1,
            "a group ends that is not open",
        ),
        (
            Signal::Traces,
            b"\x1b\x1a\x05\x1c".to_vec(),
            1,
            "a field ends beyond its message",
        ),
        (
            Signal::Traces,
            deep(MAX_GROUP_DEPTH + 1),
            MAX_GROUP_DEPTH,
            "groups are nested too deep",
        ),
        // Known fields with another wire type, at every level that is looked at.
        (
            Signal::Traces,
            b"\x08\x00".to_vec(),
            0,
            "a known field has another wire type",
        ),
        (
            Signal::Traces,
            b"\x0b\x0c".to_vec(),
            0,
            "a known field has another wire type",
        ),
        (
            Signal::Traces,
            field(1, b"\x08\x00"),
            2,
            "a known field has another wire type",
        ),
        (
            Signal::Traces,
            field(1, b"\x10\x00"),
            2,
            "a known field has another wire type",
        ),
        (
            Signal::Traces,
            field(1, b"\xc0\x3e\x00"),
            2,
            "a known field has another wire type",
        ),
        (
            Signal::Traces,
            of_resource(b"\x08\x00"),
            4,
            "a known field has another wire type",
        ),
        (
            Signal::Traces,
            of_resource(&field(1, b"\x08\x00")),
            6,
            "a known field has another wire type",
        ),
        (
            Signal::Traces,
            of_resource(&field(1, b"\x10\x00")),
            6,
            "a known field has another wire type",
        ),
        (
            Signal::Traces,
            of_resource(&field(
                1,
                join(&[field(1, "service.name"), field(2, b"\x08\x00")]),
            )),
            22,
            "a known field has another wire type",
        ),
        (
            Signal::Logs,
            field(1, field(2, b"\x10\x00")),
            4,
            "a known field has another wire type",
        ),
        (
            Signal::Metrics,
            of_metric(b"\x28\x00"),
            6,
            "a known field has another wire type",
        ),
        (
            Signal::Metrics,
            of_metric(&field(7, b"\x08\x00")),
            8,
            "a known field has another wire type",
        ),
        (
            Signal::Metrics,
            of_metric(&field(11, b"\x0a\x05")),
            8,
            "a field ends beyond its message",
        ),
        // Below that only where a reserved name may be.
        (
            Signal::Logs,
            field(
                1,
                field(
                    2,
                    field(2, join(&[field(3, "lightkeeper."), b"\x32\x10".to_vec()])),
                ),
            ),
            20,
            "a field ends beyond its message",
        ),
    ] {
        let malformed = read(signal, &body).map(|export| export.items());
        assert_eq!(
            malformed,
            Err(Malformed { offset, what }),
            "{signal:?} {body:x?}"
        );
    }
}

#[test]
fn odd_bodies_are_read() {
    let deep = [vec![0x1b; MAX_GROUP_DEPTH], vec![0x1c; MAX_GROUP_DEPTH]].concat();
    let point = field(1, "");
    let points = |data: &[(u32, usize)]| {
        let metric: Vec<Vec<u8>> = data
            .iter()
            .map(|(kind, count)| field(*kind, point.repeat(*count)))
            .collect();
        field(1, field(2, field(2, metric.concat())))
    };
    for (signal, body, items) in [
        (Signal::Traces, vec![], vec![]),
        (Signal::Traces, b"\x0a\x00".to_vec(), vec![0]),
        (
            Signal::Traces,
            b"\x8a\x80\x80\x80\x00\x80\x80\x00".to_vec(),
            vec![0],
        ),
        (Signal::Traces, deep, vec![]),
        (
            Signal::Traces,
            b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec(),
            vec![],
        ),
        (
            Signal::Traces,
            field(
                1,
                join(&[field(2, field(2, "")), field(1000, field(2, "").repeat(2))]),
            ),
            vec![3],
        ),
        // Deeper than is looked at: the backend's to judge.
        (
            Signal::Traces,
            field(1, field(2, field(2, b"\x4a\x7f"))),
            vec![1],
        ),
        (Signal::Metrics, points(&[]), vec![0]),
        (Signal::Metrics, points(&[(5, 2), (7, 3)]), vec![3]),
        (Signal::Metrics, points(&[(5, 2), (5, 3)]), vec![5]),
        (Signal::Metrics, points(&[(5, 2), (7, 3), (5, 1)]), vec![1]),
        (Signal::Metrics, points(&[(9, 2), (10, 0)]), vec![0]),
    ] {
        let export = read(signal, &body).unwrap();
        assert_eq!(
            export
                .groups()
                .iter()
                .map(|group| group.items)
                .collect::<Vec<_>>(),
            items,
            "{body:x?}"
        );
        assert_eq!(written(&export, &all(&export, &Stamp::new(&[]))), body);
    }
}

#[test]
fn attributes_given_in_odd_ways_are_never_text() {
    let text = |value: &str| field(2, field(1, value));
    let name = || field(1, "service.name");
    let one = |parts: &[Vec<u8>]| field(1, join(parts));
    let plain = || one(&[name(), text("shop")]);
    for (resource, found) in [
        (vec![], Found::Absent),
        (plain(), Found::Text("shop".into())),
        (one(&[text("shop"), name()]), Found::Text("shop".into())),
        (one(&[name(), text("")]), Found::Text("".into())),
        (
            one(&[name(), field(9, "x"), text("shop")]),
            Found::Text("shop".into()),
        ),
        (join(&[plain(), plain()]), Found::Text("shop".into())),
        (one(&[field(1, "service.nam")]), Found::Absent),
        (
            one(&[field(1, "service.name2"), text("shop")]),
            Found::Absent,
        ),
        (one(&[text("shop")]), Found::Absent),
        (one(&[name()]), Found::Other),
        (one(&[name(), field(2, "")]), Found::Other),
        (one(&[name(), field(2, b"\x18\x05")]), Found::Other),
        (one(&[name(), field(2, field(7, "shop"))]), Found::Other),
        (
            join(&[plain(), one(&[name(), text("cart")])]),
            Found::Ambiguous,
        ),
        (join(&[plain(), one(&[name()])]), Found::Ambiguous),
        (join(&[one(&[name()]), one(&[name()])]), Found::Ambiguous),
        (one(&[name(), text("shop"), text("shop")]), Found::Ambiguous),
        (one(&[name(), name(), text("shop")]), Found::Ambiguous),
        (
            one(&[name(), field(1, "other"), text("shop")]),
            Found::Ambiguous,
        ),
        (
            one(&[field(1, "other"), name(), text("shop")]),
            Found::Ambiguous,
        ),
        (
            one(&[
                name(),
                field(2, join(&[field(1, "shop"), field(1, "cart")])),
            ]),
            Found::Ambiguous,
        ),
        (
            one(&[
                name(),
                field(2, join(&[field(1, "shop"), b"\x10\x01".to_vec()])),
            ]),
            Found::Ambiguous,
        ),
        (
            one(&[
                name(),
                field(2, join(&[b"\x10\x01".to_vec(), field(1, "shop")])),
            ]),
            Found::Ambiguous,
        ),
        (
            one(&[name(), field(2, field(1, b"\xff"))]),
            Found::Ambiguous,
        ),
        (
            one(&[name(), text("shop"), b"\x18\x01".to_vec()]),
            Found::Ambiguous,
        ),
    ] {
        let export = read(Signal::Logs, &of_resource(&resource)).unwrap();
        assert_eq!(export.attribute(0, "service.name"), found, "{resource:x?}");
        assert_eq!(export.attribute(1, "service.name"), Found::Absent);
        // The same, told by two resource fields of one group, and by none of the next group.
        let torn = [
            field(1, join(&[field(1, ""), field(1, &resource)])),
            field(1, ""),
        ]
        .concat();
        let export = read(Signal::Logs, &torn).unwrap();
        assert_eq!(export.attribute(0, "service.name"), found, "{torn:x?}");
        assert_eq!(export.attribute(1, "service.name"), Found::Absent);
    }
}

#[test]
fn an_attribute_goes_if_any_of_its_keys_is_reserved_or_replaced() {
    let keys = |keys: &[&str]| {
        field(
            1,
            keys.iter()
                .flat_map(|key| field(1, key))
                .collect::<Vec<u8>>(),
        )
    };
    let stamp = Stamp::new(&[("owner", "me")]);
    for (resource, forged, kept) in [
        (keys(&["lightkeeper.", "a"]), 1, vec![]),
        (keys(&["a", "lightkeeper.x"]), 1, vec![]),
        (
            keys(&["a", "lightkeeper", "xlightkeeper."]),
            0,
            keys(&["a", "lightkeeper", "xlightkeeper."]),
        ),
        (keys(&["owner"]), 0, vec![]),
        (keys(&["owner", "b"]), 0, vec![]),
        (keys(&["a", "owner"]), 0, vec![]),
        (keys(&["owner2", "owne"]), 0, keys(&["owner2", "owne"])),
    ] {
        let export = read(Signal::Traces, &of_resource(&resource)).unwrap();
        assert_eq!(export.forged(), forged, "{resource:x?}");
        let expected = of_resource(&[kept, pair(1, "owner", "me")].concat());
        assert_eq!(written(&export, &[(0, &stamp)]), expected);
    }
}

#[test]
fn what_is_written_is_told_byte_by_byte() {
    let stamp = Stamp::new(&[("owner", "me")]);
    let none = Stamp::new(&[]);
    let own = pair(1, "owner", "me");
    let scoped = || {
        field(
            2,
            join(&[
                field(1, pair(3, "lightkeeper.app", "x")),
                field(2, pair(9, "a", "b")),
            ]),
        )
    };
    let clean = || field(2, join(&[field(1, ""), field(2, pair(9, "a", "b"))]));
    let loose = || b"\x18\x07".to_vec();
    for (body, chosen, expected) in [
        // A group without a resource gets one, unless there is nothing to put on it.
        (
            field(1, clean()),
            vec![(0, &stamp)],
            field(1, join(&[field(1, &own), clean()])),
        ),
        (field(1, clean()), vec![(0, &none)], field(1, clean())),
        // Several resources become one where the first was, stamped or not.
        (
            field(
                1,
                join(&[
                    clean(),
                    field(1, pair(1, "a", "b")),
                    clean(),
                    field(1, b"\x10\x01"),
                    field(3, "u"),
                ]),
            ),
            vec![(0, &stamp)],
            field(
                1,
                join(&[
                    clean(),
                    field(
                        1,
                        join(&[pair(1, "a", "b"), b"\x10\x01".to_vec(), own.clone()]),
                    ),
                    clean(),
                    field(3, "u"),
                ]),
            ),
        ),
        (
            field(1, join(&[field(1, ""), clean(), field(1, "")])),
            vec![(0, &none)],
            field(1, join(&[field(1, ""), clean()])),
        ),
        // What is reserved goes at scope level, here between two resources, and in the older field.
        (
            field(1, join(&[field(1, ""), scoped(), field(1, ""), scoped()])),
            vec![(0, &none)],
            field(1, join(&[field(1, ""), clean(), clean()])),
        ),
        (
            field(1, field(1000, field(1, pair(3, "lightkeeper.", "")))),
            vec![(0, &none)],
            field(1, field(1000, field(1, ""))),
        ),
        // Nested names and values are no attribute names.
        (
            of_resource(&field(
                1,
                join(&[
                    field(1, "a"),
                    field(2, field(6, pair(1, "lightkeeper.app", ""))),
                ]),
            )),
            vec![(0, &none)],
            of_resource(&field(
                1,
                join(&[
                    field(1, "a"),
                    field(2, field(6, pair(1, "lightkeeper.app", ""))),
                ]),
            )),
        ),
        // Tags longer than they need be stay; lengths do not.
        (
            b"\x8a\x00\x89\x00\x8a\x80\x00\x84\x00\x10\x01\x10\x02".to_vec(),
            vec![(0, &stamp)],
            [b"\x8a\x00\x17\x8a\x80\x00\x13\x10\x01\x10\x02", &own[..]].concat(),
        ),
        // What is no group goes with any choice of groups, in its place.
        (
            join(
                &[
                    loose(),
                    field(1, "a"),
                    loose(),
                    loose(),
                    field(1, "b"),
                    loose(),
                ]
                .map(|part| match part[0] {
                    0x0a => field(1, ""),
                    _ => part,
                }),
            ),
            vec![(1, &none)],
            join(&[loose(), loose(), loose(), field(1, ""), loose()]),
        ),
        (join(&[field(1, ""), loose()]), vec![], loose()),
        (field(1, ""), vec![(7, &stamp)], vec![]),
        (
            field(1, ""),
            vec![(0, &none), (0, &stamp)],
            join(&[field(1, ""), of_resource(&own)]),
        ),
    ] {
        let export = read(Signal::Traces, &body).unwrap();
        assert_eq!(written(&export, &chosen), expected, "{body:x?}");
    }
}

#[test]
fn large_ranges_are_slices_of_the_body() {
    let large = field(2, field(2, vec![0x1a; 1]).repeat(3000));
    let body = Bytes::from(field(
        1,
        join(&[field(1, pair(1, "service.name", "shop")), large.clone()]),
    ));
    let export = Export::read(Signal::Logs, Encoding::Protobuf, body.clone(), &wanted());
    // 0x1a alone is a broken record, which is not looked at.
    let export = export.unwrap();
    assert_eq!(export.items(), 3000);
    let (none, own) = (Stamp::new(&[]), Stamp::new(OWN));
    for (stamp, lengths) in [(&none, vec![body.len()]), (&own, vec![0, large.len()])] {
        let pieces = export.write(&[(0, stamp)]);
        assert_eq!(pieces.len(), lengths.len());
        let (last, length) = (pieces.last().unwrap(), *lengths.last().unwrap());
        assert_eq!(
            (last.as_ptr(), last.len()),
            (body[body.len() - length..].as_ptr(), length)
        );
    }
}

#[test]
fn what_is_remembered_of_hostile_bodies_is_bounded() {
    use crate::otlp::group::Group;
    use crate::otlp::protobuf::write::Edit;
    assert_eq!(size_of::<GroupPlace>() + size_of::<Group>(), 32);
    assert_eq!(size_of::<AttributeValue>(), 16);
    assert_eq!(size_of::<Edit>(), 8);

    let most = field(1, "").repeat(MAX_GROUPS);
    assert_eq!(
        read(Signal::Traces, &most).unwrap().groups().len(),
        MAX_GROUPS
    );
    let more = [most, field(1, "")].concat();
    let malformed = Malformed {
        offset: 2 * MAX_GROUPS,
        what: "there are more resource groups than are read",
    };
    assert_eq!(
        read(Signal::Traces, &more).map(|export| export.items()),
        Err(malformed)
    );

    // One value for each name, however often it is given.
    let often = of_resource(&pair(1, "service.name", "shop").repeat(1000));
    let Ok(export) = crate::otlp::protobuf::read(Signal::Traces, &Bytes::from(often), &wanted())
    else {
        panic!("the body is read")
    };
    assert_eq!(export.plan.values.len(), 1);
}
