//! The JSON half against serde_json: what is read, found and written is what parsing the whole text,
//! editing it and comparing documents gives. It refuses to know how the walk goes.

use proptest::prelude::*;
use serde_json::Value;

mod exports;
mod oracle;
mod tables;

use bytes::Bytes;

use self::exports::any_text;
use self::oracle::{expected_attribute, groups, member, paths, stamped};
use crate::otlp::{Encoding, Export, Found, Malformed, Signal, Stamp, Wanted};

const WANTED: [&str; 3] = ["service.name", "host", "k8s.\"pod\""];

fn read_text(signal: Signal, text: &str) -> Result<Export, Malformed> {
    Export::read(
        signal,
        Encoding::Json,
        Bytes::copy_from_slice(text.as_bytes()),
        &Wanted::new(WANTED),
    )
}

fn written(export: &Export, chosen: &[(usize, &Stamp)]) -> String {
    let pieces = export.write(chosen);
    assert!(pieces.iter().all(|piece| !piece.is_empty()));
    String::from_utf8(pieces.concat()).unwrap()
}

fn is_subsequence(short: &str, long: &str) -> bool {
    let mut long = long.bytes();
    short.bytes().all(|byte| long.any(|other| other == byte))
}

const STAMPS: [&[(&str, &str)]; 3] = [
    &[],
    &[("lightkeeper.app", "shop"), ("owner", "a \"b\" \\ 😀")],
    &[
        ("host", "h"),
        ("lightkeeper.identity", "system:serviceaccount:x"),
        ("tab\t", "\n"),
    ],
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Scenario: an export in any spelling that JSON allows. Guarantees: items, reserved attributes and
    /// wanted attributes are what the parsed document says.
    #[test]
    fn what_is_read_is_what_the_document_says((signal, text) in any_text()) {
        let mut document: Value = serde_json::from_str(&text).unwrap();
        let export = read_text(signal, &text).unwrap();
        let mut expected = groups(signal, &mut document);
        let items: Vec<u64> = export.groups().iter().map(|group| group.items).collect();
        assert_eq!(items, expected.iter().map(|(_, items, _)| *items).collect::<Vec<_>>(), "{}", text);
        assert_eq!(export.items(), items.iter().sum::<u64>());
        assert_eq!(export.forged(), expected.iter().map(|(_, _, forged)| forged).sum::<u64>(), "{}", text);
        for (index, (group, _, _)) in expected.iter_mut().enumerate() {
            for name in WANTED {
                assert_eq!(export.attribute(index, name), expected_attribute(group, name), "{} {}", name, text);
            }
            assert_eq!(export.attribute(index, "owner"), Found::Absent);
        }
        assert_eq!(export.attribute(items.len(), WANTED[0]), Found::Absent);
    }

    /// Scenario: some of its groups are written anew, in some order, with stamps. Guarantees: the document is
    /// the one that editing the parsed one gives, and can be read again.
    #[test]
    fn what_is_written_is_what_editing_the_document_gives(
        (signal, text) in any_text(),
        choice in proptest::collection::vec((0_usize..5, 0_usize..3), 0..6),
    ) {
        let mut document: Value = serde_json::from_str(&text).unwrap();
        let export = read_text(signal, &text).unwrap();
        let expected = groups(signal, &mut document);
        let stamps = STAMPS.map(Stamp::new);
        let chosen: Vec<(usize, &Stamp)> = choice.iter().map(|(group, stamp)| (*group, &stamps[*stamp])).collect();
        let output = written(&export, &chosen);
        let kept: Vec<&(usize, usize)> = choice.iter().filter(|(group, _)| *group < expected.len()).collect();
        let edited = kept.iter().map(|(group, stamp)| stamped(expected[*group].0.clone(), STAMPS[*stamp])).collect();
        if let Some(place) = member(&mut document, paths(signal).0) {
            *place = Value::Array(edited);
        }
        assert_eq!(serde_json::from_str::<Value>(&output).unwrap(), document, "{}\n{}", text, output);

        let again = read_text(signal, &output).unwrap();
        let items: Vec<u64> = again.groups().iter().map(|group| group.items).collect();
        assert_eq!(items, kept.iter().map(|(group, _)| expected[*group].1).collect::<Vec<_>>());
        assert_eq!(again.forged(), kept.iter().filter(|(_, stamp)| *stamp > 0).count() as u64);
    }

    /// Scenario: all groups, nothing to stamp. Guarantees: nothing but the reserved attributes and their commas
    /// goes, and without any the text is the same to the byte.
    #[test]
    fn what_needs_no_change_is_not_changed((signal, text) in any_text()) {
        let export = read_text(signal, &text).unwrap();
        let all: Vec<(usize, Stamp)> = (0..export.groups().len()).map(|index| (index, Stamp::default())).collect();
        let all: Vec<(usize, &Stamp)> = all.iter().map(|(index, stamp)| (*index, stamp)).collect();
        let output = written(&export, &all);
        assert!(is_subsequence(&output, &text), "{}\n{}", text, output);
        assert_eq!(output == text, export.forged() == 0, "{}\n{}", text, output);
    }
}
