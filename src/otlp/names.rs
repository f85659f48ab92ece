//! Names of JSON members, as the most lenient reader takes them.
//!
//! What it does: says which names some reader takes for one. Go's `encoding/json` matches names under Unicode's simple
//! case folding, where `ſ` (U+017F) is an s and the Kelvin sign (U+212A) a k; no other letter folds to an ASCII one.
//! proto3 JSON knows a field by two names, `accessToken` and `access_token`. What it refuses to know: which names
//! matter, and whether another spelling is taken or refused. Invariant: this is the only rule of its kind: OTLP/JSON
//! and the legacy formats ask it.

/// The name as the most lenient reader takes it. Two names that fold to one are one to some reader.
pub(crate) fn folded(name: &str) -> String {
    letters(name).collect()
}

/// Whether some reader takes the two names for one.
pub(crate) fn alike(one: &str, other: &str) -> bool {
    letters(one).eq(letters(other))
}

fn letters(name: &str) -> impl Iterator<Item = char> {
    let fold = |letter: char| match letter {
        'ſ' => 's',
        '\u{212a}' => 'k',
        letter => letter.to_ascii_lowercase(),
    };
    name.chars().filter(|letter| *letter != '_').map(fold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_some_reader_takes_for_one_are_alike() {
        for name in [
            "access_token",
            "accessToken",
            "AccessToken",
            "ACCESS_TOKEN",
            "acce\u{17f}\u{17f}To\u{212a}en",
        ] {
            assert_eq!(folded(name), "accesstoken");
            assert!(alike(name, "accessToken"), "{name}");
        }
        for name in [
            "",
            "access",
            "access-token",
            "accessTokens",
            "acc\u{e9}ssToken",
            "access\u{131}oken",
        ] {
            assert!(!alike(name, "accessToken"), "{name}");
        }
    }

    /// Scenario: every letter there is. Guarantees: those that Unicode's case mappings lead to an ASCII letter are the
    /// ones that are folded. The dotted capital İ and its like map to two letters or fold to themselves, so that no
    /// reader takes them for one.
    #[test]
    fn no_other_letter_becomes_an_ascii_letter() {
        let lone =
            |mut letters: Box<dyn Iterator<Item = char>>| match (letters.next(), letters.next()) {
                (Some(letter), None) => Some(letter),
                _ => None,
            };
        for letter in ('\u{80}'..=char::MAX).filter(|letter| !matches!(letter, 'ı' | 'İ')) {
            let lower = lone(Box::new(letter.to_lowercase()));
            let through_upper = lone(Box::new(letter.to_uppercase()))
                .and_then(|up| lone(Box::new(up.to_lowercase())));
            let ascii = [lower, through_upper]
                .into_iter()
                .flatten()
                .find(char::is_ascii);
            let expected = ascii.map_or_else(|| letter.to_string(), |ascii| ascii.to_string());
            assert_eq!(folded(&letter.to_string()), expected, "{letter:?}");
        }
    }
}
