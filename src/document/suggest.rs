//! "Did you mean …": the nearest of the known words.
//!
//! What it does: edit distance over short words. What it refuses to know: where the words come from.
//! Invariant: bounded work, however long the stranger's word is.

/// Longer words are no typing slips of ours, in characters.
const WORD_LIMIT_CHARS: usize = 64;

/// The known word that `given` was probably meant to be: at most one slip for each three letters.
pub(crate) fn nearest<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let given = fold(given)?;
    known
        .into_iter()
        .filter_map(|word| {
            let folded = fold(word)?;
            let allowed = (given.len().max(folded.len()) / 3).max(1);
            let distance = distance(&given, &folded);
            (distance <= allowed && distance < folded.len()).then_some((distance, word))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Case and the choice between `-` and `_` are no slips at all.
fn fold(word: &str) -> Option<Vec<char>> {
    let folded: Vec<char> = word
        .chars()
        .take(WORD_LIMIT_CHARS + 1)
        .map(|letter| {
            if letter == '-' {
                '_'
            } else {
                letter.to_ascii_lowercase()
            }
        })
        .collect();
    (folded.len() <= WORD_LIMIT_CHARS).then_some(folded)
}

/// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, letter) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in right.iter().enumerate() {
            let at =
                |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX - 1);
            let mut best = (at(&above, column) + usize::from(letter != other))
                .min(at(&above, column + 1) + 1)
                .min(at(&current, column) + 1);
            let swapped = row > 0
                && column > 0
                && left.get(row - 1) == Some(other)
                && right.get(column - 1) == Some(letter);
            if swapped {
                best = best.min(at(&before, column - 1) + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut above, current);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_mended_and_strangers_are_not() {
        let known = ["address", "name", "tls", "serves", "public_url"];
        for (given, expected) in [
            ("adress", Some("address")),
            ("addresss", Some("address")),
            ("nmae", Some("name")),
            ("tsl", Some("tls")),
            ("public-url", Some("public_url")),
            ("Serves", Some("serves")),
            ("x", None),
            ("", None),
            ("certificate", None),
        ] {
            assert_eq!(nearest(given, known), expected, "{given}");
        }
        assert_eq!(nearest(&"a".repeat(100_000), known), None);
    }
}
