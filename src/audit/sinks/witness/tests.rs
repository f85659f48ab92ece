//! Proofs out of a trail's files, as a witness gets them. What it refuses to know: the network.

use super::*;
use crate::audit::seal::tests::TestTrail;
use crate::transparency::verify_consistency;

/// Scenario: a trail with empty leaves and a rotation; every earlier and every later size. Guarantees: each proof holds for the roots
/// of both; a tree that was gone back to is the same as one that grew.
#[test]
fn each_tree_is_proven_to_go_on_from_each() {
    let mut trail = TestTrail::new(1000);
    trail.run(5);
    trail.run(6);
    std::fs::rename(trail.path("audit.jsonl"), trail.path("audit.jsonl.1")).unwrap();
    trail.run(7);
    let audit = trail.path("audit.jsonl");
    let count = sealed(&trail);
    assert!(count > 18, "{count}");
    let at = |size| grown(&audit, TreeEdge::default(), size, |_, _| {}).unwrap();
    for size in 1..=count {
        for seen in 0..size {
            let tree = WitnessedTree {
                audit: audit.clone(),
                path: trail.path("unused"),
                edge: at(seen),
            };
            let proof = tree.proof(size).unwrap();
            assert_eq!(proof.edge, at(size));
            let earlier = (seen, at(seen).root());
            let later = (size, at(size).root());
            assert!(
                verify_consistency(earlier, &proof.hashes, later),
                "{seen} {size}"
            );
        }
    }
    let mut tree = WitnessedTree {
        audit: audit.clone(),
        path: trail.path("audit.jsonl.w.witness"),
        edge: at(9),
    };
    for size in [9, 14, 3, 0, count] {
        tree.go_to(size).unwrap();
        assert_eq!(tree.edge, at(size));
    }
    tree.keep().unwrap();
    assert_eq!(WitnessedTree::open(&audit, "w").unwrap().size(), count);
}

/// What the last checkpoint states.
fn sealed(trail: &TestTrail) -> u64 {
    let checkpoints = trail.checkpoints();
    let (_, last) = crate::transparency::sealed_texts(&checkpoints)
        .last()
        .unwrap();
    last.lines().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_size_is_a_number_on_a_line() {
    for (body, expected) in [
        ("0\n", Some(0)),
        ("20852163\n", Some(20_852_163)),
        ("", None),
        ("\n", None),
        ("7", None),
        ("-7\n", None),
        ("+7\n", None),
        ("7\n7\n", None),
        ("99999999999999999999\n", None),
    ] {
        assert_eq!(size_of(body.as_bytes()), expected, "{body:?}");
    }
}

#[test]
fn lines_of_others_are_left_out_of_a_note() {
    let own = "acme/gw-1\n7\nroot\n\n\u{2014} acme/gw-1 c2ln\n\u{2014} acme/gw-1 c2ln\n";
    let with = format!("{own}\u{2014} witness.example/w1 c2ln\n");
    assert_eq!(
        (own_note(&with), own_note(own)),
        (own.to_owned(), own.to_owned())
    );
}
