//! Patterns over names that have a separator: `*` stays within one segment, `**` crosses.
//!
//! What it does: reads a pattern once and matches text in time linear in the text for a given pattern, without
//! backtracking and without allocating. What it refuses to know: what the names mean.
//! Invariants: bytes are compared exactly; there is no escape, so a pattern cannot name a literal `*`; a pattern is
//! at most `GLOB_LIMIT_BYTES` long.

/// The longest pattern, in bytes. It bounds the matcher's state, which lives on the stack.
pub(crate) const GLOB_LIMIT_BYTES: usize = 511;

const WORDS: usize = (GLOB_LIMIT_BYTES + 1).div_ceil(64);

/// A pattern. What stands before its first wildcard is kept apart, because most texts are told apart by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: String,
    prefix_bytes: usize,
    separator: u8,
    rest: Rest,
}

/// What follows the literal prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rest {
    /// Nothing: the pattern is a literal.
    Nothing,
    /// One wildcard and a literal tail: the usual pattern, matched without states.
    Wildcard {
        crosses: bool,
        tail: Vec<u8>,
    },
    Steps(Vec<GlobStep>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GlobStep {
    Byte(u8),
    Within,
    Across,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobFault {
    #[error("a pattern must not be empty")]
    Empty,
    #[error("a pattern has at most {} bytes", GLOB_LIMIT_BYTES)]
    TooLong,
    #[error("more than two `*` in a row mean nothing")]
    ThreeStars,
    #[error("a pattern must not hold control characters")]
    Control,
}

impl Glob {
    /// Reads a pattern whose segments are parted by `separator` (`/` for identities, `.` for DNS names).
    pub fn parse(text: &str, separator: char) -> Result<Glob, GlobFault> {
        if text.is_empty() {
            return Err(GlobFault::Empty);
        }
        if text.len() > GLOB_LIMIT_BYTES {
            return Err(GlobFault::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(GlobFault::Control);
        }
        if text.contains("***") {
            return Err(GlobFault::ThreeStars);
        }
        let separator = u8::try_from(separator).unwrap_or(b'/');
        let prefix_bytes = text.find('*').unwrap_or(text.len());
        let rest = Self::rest(text.get(prefix_bytes..).unwrap_or_default());
        Ok(Glob {
            text: text.to_owned(),
            prefix_bytes,
            separator,
            rest,
        })
    }

    fn rest(text: &str) -> Rest {
        if text.is_empty() {
            return Rest::Nothing;
        }
        let steps = steps(text);
        let tail: Option<Vec<u8>> = steps
            .iter()
            .skip(1)
            .map(|step| match step {
                GlobStep::Byte(byte) => Some(*byte),
                GlobStep::Within | GlobStep::Across => None,
            })
            .collect();
        match tail {
            Some(tail) => Rest::Wildcard {
                crosses: steps.first() == Some(&GlobStep::Across),
                tail,
            },
            None => Rest::Steps(steps),
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What every matching text begins with.
    pub fn prefix(&self) -> &str {
        self.text.get(..self.prefix_bytes).unwrap_or_default()
    }

    /// Whether the pattern matches itself and nothing else.
    pub(crate) fn is_literal(&self) -> bool {
        self.rest == Rest::Nothing
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        let Some(rest) = text.as_bytes().strip_prefix(self.prefix().as_bytes()) else {
            return false;
        };
        match &self.rest {
            Rest::Nothing => rest.is_empty(),
            Rest::Wildcard { crosses, tail } => rest
                .strip_suffix(tail.as_slice())
                .is_some_and(|middle| *crosses || memchr::memchr(self.separator, middle).is_none()),
            Rest::Steps(steps) => self.walk(steps, rest),
        }
    }

    /// Whether some text matches both patterns, which must have the same separator. Takes time in proportion to the
    /// product of their lengths.
    pub fn meets(&self, other: &Glob) -> bool {
        if !(self.prefix().starts_with(other.prefix()) || other.prefix().starts_with(self.prefix()))
        {
            return false;
        }
        match (self.is_literal(), other.is_literal()) {
            (true, _) => return other.matches(&self.text),
            (false, true) => return self.matches(&other.text),
            (false, false) => {}
        }
        let (one, two) = (steps(&self.text), steps(&other.text));
        let admits = |step: &GlobStep, byte: u8| match step {
            GlobStep::Byte(own) => *own == byte,
            GlobStep::Within => byte != self.separator,
            GlobStep::Across => true,
        };
        // A place `(a, b)`: some text accounts for the first `a` steps of the one and the first `b` of the other.
        let mut seen = vec![false; (one.len() + 1) * (two.len() + 1)];
        let mut open = vec![(0, 0)];
        while let Some((a, b)) = open.pop() {
            match seen.get_mut(a * (two.len() + 1) + b) {
                Some(seen) if !*seen => *seen = true,
                _ => continue,
            }
            match (one.get(a), two.get(b)) {
                (None, None) => return true,
                (Some(GlobStep::Byte(byte)), Some(step)) if admits(step, *byte) => {
                    open.push((a + 1, b + usize::from(matches!(step, GlobStep::Byte(_)))));
                }
                (Some(step), Some(GlobStep::Byte(byte))) if admits(step, *byte) => {
                    open.push((a, b + 1))
                }
                _ => {}
            }
            // A wildcard may stand for nothing more.
            if matches!(one.get(a), Some(GlobStep::Within | GlobStep::Across)) {
                open.push((a + 1, b));
            }
            if matches!(two.get(b), Some(GlobStep::Within | GlobStep::Across)) {
                open.push((a, b + 1));
            }
        }
        false
    }

    /// Follows all ways through the pattern at once: bit `n` of the state says that the first `n` steps can account for
    /// the text so far. Each byte visits each set bit once.
    fn walk(&self, steps: &[GlobStep], text: &[u8]) -> bool {
        let mut state = StateSet::default();
        state.reach(0, steps);
        for byte in text {
            let mut next = StateSet::default();
            for at in state.set() {
                match steps.get(at) {
                    Some(GlobStep::Byte(expected)) if expected == byte => next.reach(at + 1, steps),
                    Some(GlobStep::Within) if *byte != self.separator => next.reach(at, steps),
                    Some(GlobStep::Across) => next.reach(at, steps),
                    _ => {}
                }
            }
            if next.is_empty() {
                return false;
            }
            state = next;
        }
        state.has(steps.len())
    }
}

fn steps(text: &str) -> Vec<GlobStep> {
    let mut steps = Vec::with_capacity(text.len());
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        steps.push(match byte {
            b'*' if bytes.next_if_eq(&b'*').is_some() => GlobStep::Across,
            b'*' => GlobStep::Within,
            byte => GlobStep::Byte(byte),
        });
    }
    steps
}

#[derive(Default)]
struct StateSet([u64; WORDS]);

impl StateSet {
    /// Sets a state, and those that follow it without a byte: a wildcard may stand for nothing.
    fn reach(&mut self, at: usize, steps: &[GlobStep]) {
        let mut at = at;
        loop {
            if let Some(word) = self.0.get_mut(at / 64) {
                *word |= 1 << (at % 64);
            }
            match steps.get(at) {
                Some(GlobStep::Within | GlobStep::Across) => at += 1,
                _ => return,
            }
        }
    }

    fn has(&self, at: usize) -> bool {
        self.0
            .get(at / 64)
            .is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn set(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(place, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                if left == 0 {
                    return None;
                }
                let bit = left.trailing_zeros() as usize;
                left &= left - 1;
                Some(place * 64 + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wildcards_stay_within_their_segment_unless_doubled() {
        for (pattern, text, expected) in [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("*", "", true),
            ("*", "abc", true),
            ("*", "a/b", false),
            ("**", "a/b", true),
            ("a/*/c", "a/b/c", true),
            ("a/*/c", "a/b/b/c", false),
            ("a/**/c", "a/b/b/c", true),
            ("a/**/c", "a/c", false),
            ("a/**", "a/", true),
            ("a/**", "a", false),
            ("spiffe://td/ns/*/sa/*", "spiffe://td/ns/x/sa/y", true),
            ("spiffe://td/ns/*/sa/*", "spiffe://td/ns/x/y/sa/y", false),
            ("spiffe://td/ns/*", "spiffe://td.evil/ns/x", false),
            (
                "system:serviceaccount:checkout:*",
                "system:serviceaccount:checkout:api",
                true,
            ),
            (
                "system:serviceaccount:checkout:*",
                "system:serviceaccount:checkout-evil:api",
                false,
            ),
            (
                "repo:acme/*:ref:**",
                "repo:acme/shop:ref:refs/heads/main",
                true,
            ),
            ("**a*b**", "x/ayb/z", true),
            ("**a*b**", "x/a/b/z", false),
            ("*a*", "bab", true),
            ("é*", "éa", true),
        ] {
            assert_eq!(
                Glob::parse(pattern, '/').unwrap().matches(text),
                expected,
                "{pattern} {text}"
            );
        }
        assert!(
            Glob::parse("*.acme.example", '.')
                .unwrap()
                .matches("a.acme.example")
        );
        assert!(
            !Glob::parse("*.acme.example", '.')
                .unwrap()
                .matches("a.b.acme.example")
        );
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for (text, fault) in [
            ("", GlobFault::Empty),
            ("a***", GlobFault::ThreeStars),
            ("a\n", GlobFault::Control),
            (&"x".repeat(GLOB_LIMIT_BYTES + 1), GlobFault::TooLong),
        ] {
            assert_eq!(Glob::parse(text, '/'), Err(fault));
        }
        assert!(Glob::parse(&"x".repeat(GLOB_LIMIT_BYTES), '/').is_ok());
    }

    /// Tries every way; exponential, and obviously right.
    fn oracle(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', b'*', rest @ ..] => (0..=text.len()).any(|taken| oracle(rest, &text[taken..])),
            [b'*', rest @ ..] => (0..=text.len())
                .take_while(|taken| !text[..*taken].contains(&b'/'))
                .any(|taken| oracle(rest, &text[taken..])),
            [byte, rest @ ..] => text.first() == Some(byte) && oracle(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn the_matcher_agrees_with_trying_every_way(pattern in "[ab/*]{1,9}", text in "[ab/]{0,9}") {
            if let Ok(glob) = Glob::parse(&pattern, '/') {
                prop_assert_eq!(glob.matches(&text), oracle(pattern.as_bytes(), text.as_bytes()));
            }
        }
    }

    /// Every text of up to five of `ab/`.
    fn texts() -> Vec<String> {
        let mut texts = vec![String::new()];
        let mut from = 0;
        for _ in 0..5 {
            let to = texts.len();
            for place in from..to {
                texts.extend(["a", "b", "/"].map(|letter| format!("{}{letter}", texts[place])));
            }
            from = to;
        }
        texts
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Two patterns that meet do so in a text in which each byte is named by one of them.
        #[test]
        fn patterns_meet_where_a_text_matches_both(one in "[ab/*]{1,3}", two in "[ab/*]{1,2}") {
            if let (Ok(one), Ok(two)) = (Glob::parse(&one, '/'), Glob::parse(&two, '/')) {
                let expected = texts().iter().any(|text| one.matches(text) && two.matches(text));
                prop_assert_eq!(one.meets(&two), expected, "{} {}", one.as_str(), two.as_str());
                prop_assert_eq!(two.meets(&one), expected, "{} {}", two.as_str(), one.as_str());
            }
        }
    }

    /// Scenario: a pattern and a text that make a backtracking matcher run for years.
    #[test]
    fn a_hostile_text_takes_no_longer_than_its_length() {
        let glob = Glob::parse(&"*a".repeat(200), '/').unwrap();
        assert!(!glob.matches(&"a".repeat(199)));
        assert!(glob.matches(&"a".repeat(2_000)));
        assert!(!glob.matches(&("a".repeat(2_000) + "b")));
    }
}
