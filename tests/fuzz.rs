//! Every fuzz target's check, over its corpus and over mutations of it.
//!
//! The checks are those of `cargo fuzz` (`fuzz/checks.rs`); here they see the committed corpora and a
//! number of mutations that are the same on each run, so that a regression shows without a fuzzer.

#[path = "../fuzz/checks.rs"]
mod checks;

use std::path::PathBuf;

/// Mutations of each target's corpus.
const MUTATIONS: usize = 20_000;

/// Longer inputs say nothing that shorter ones do not.
const MOST_BYTES: usize = 4 << 10;

fn fuzz_folder() -> PathBuf {
    testkit::top().join("fuzz")
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = fuzz_folder().join("corpus").join(target);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// xorshift64: the same on every machine and run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    /// A range within `length` bytes; short ones most of the time.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        let most = if self.below(3) > 0 { 8 } else { length };
        start..start + self.below(most.min(length - start) + 1)
    }
}

/// One to four small changes, parts of other inputs among them.
fn mutated(corpus: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut data = corpus[chance.below(corpus.len())].clone();
    for _ in 0..=chance.below(4) {
        let range = chance.range(data.len());
        match chance.below(8) {
            0 if !data.is_empty() => {
                let at = chance.below(data.len());
                data[at] ^= 1 << chance.below(8);
            }
            1 if !data.is_empty() => {
                let at = chance.below(data.len());
                data[at] =
                    [0, 1, 0x7f, 0x80, 0xff, b'"', b'\\', b'{', b']', b','][chance.below(10)];
            }
            2 => drop(data.drain(range)),
            3 => data.truncate(range.start),
            4 => {
                let again = data[range.clone()].to_vec();
                data.splice(range.start..range.start, again);
            }
            5 => drop(data.splice(range, [0x80; 11].into_iter().take(chance.below(12)))),
            _ => {
                let other = &corpus[chance.below(corpus.len())];
                let part = other[chance.range(other.len())].to_vec();
                data.splice(range, part);
            }
        }
    }
    data.truncate(MOST_BYTES);
    data
}

/// Says which input failed, in a form that can be pasted into a test.
struct Shown<'a>(&'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the input was b\"{}\"", self.0.escape_ascii());
        }
    }
}

/// Scenario: a corpus, and small changes to it. Guarantees: the target's check holds for all of them.
fn smoke(target: &str) {
    let (_, check) = checks::TARGETS
        .iter()
        .find(|(name, _)| *name == target)
        .expect("a target of this name");
    let corpus = corpus(target);
    for data in &corpus {
        let shown = Shown(data);
        check(shown.0);
    }
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    for _ in 0..MUTATIONS {
        let data = mutated(&corpus, &mut chance);
        let shown = Shown(&data);
        check(shown.0);
    }
}

macro_rules! smokes {
    ($($target:ident)*) => {
        $(#[test]
        fn $target() {
            smoke(stringify!($target));
        })*

        const SMOKED: &[&str] = &[$(stringify!($target)),*];
    };
}

smokes!(protobuf json transcode cut answer grpc_frame decompress thrift report report_json lines proof);

/// Scenario: a developer adds a target, or forgets a part of one. Guarantees: each has a smoke, a binary and a
/// small corpus.
#[test]
fn every_target_is_whole() {
    let names: Vec<&str> = checks::TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, SMOKED);
    let manifest = std::fs::read_to_string(fuzz_folder().join("Cargo.toml")).unwrap();
    for name in names {
        assert!(
            fuzz_folder()
                .join("fuzz_targets")
                .join(name)
                .with_extension("rs")
                .is_file(),
            "{name} has no binary"
        );
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "{name} is not in the manifest"
        );
        let corpus = corpus(name);
        assert!(corpus.len() >= 10, "{name} has {} inputs", corpus.len());
        assert!(
            corpus.iter().all(|data| data.len() <= MOST_BYTES),
            "{name} has a long input"
        );
    }
}
