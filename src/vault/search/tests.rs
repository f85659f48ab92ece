//! Credentials that are found in whatever spelling, and texts that are none. What it refuses to know: where answers come from.

use super::*;

const TOKEN: &str = "ingest/Token+of?shop~5f1d";
const KEY: &str = "api-key-of-acme-83ac";

fn owner(project: Option<&str>, fingerprint: &str) -> Owner {
    let is_access_token = project.is_some();
    Owner {
        project: project.map(Arc::from),
        is_access_token,
        fingerprint: fingerprint.to_owned(),
    }
}

fn search(secrets: &[(Owner, &str)]) -> Search {
    let secrets: Vec<(Owner, Secret)> = secrets
        .iter()
        .map(|(owner, secret)| {
            (
                owner.clone(),
                Secret::new(secret.as_bytes().to_vec()).unwrap(),
            )
        })
        .collect();
    Search::new(
        secrets
            .iter()
            .map(|(owner, secret)| (owner.clone(), secret)),
    )
}

fn both() -> Search {
    search(&[(owner(Some("shop"), "t"), TOKEN), (owner(None, "k"), KEY)])
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn json(text: &str) -> String {
    text.chars()
        .map(|each| format!("\\u{:04x}", u32::from(each)))
        .collect()
}

fn decimal(text: &str) -> String {
    let each = text.chars();
    each.map(|each| format!("&#{};", u32::from(each))).collect()
}

fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> String {
    let bytes: Vec<u8> = text.encode_utf16().flat_map(order).collect();
    String::from_utf8(bytes).unwrap()
}

/// Guarantees: a credential is found however it is written, with any neighbours, and nothing else is blanked.
#[test]
fn a_credential_is_found_in_every_coding() {
    let search = both();
    let hex: String = TOKEN.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut writings = vec![
        TOKEN.to_owned(),
        TOKEN.to_uppercase(),
        TOKEN.to_lowercase(),
        hex.clone(),
        hex.to_uppercase(),
        percent(TOKEN),
        percent(TOKEN).to_lowercase(),
        TOKEN.replace('/', "%2f").replace('+', "%2B"),
        json(TOKEN),
        json(TOKEN).to_uppercase().replace("\\U", "\\u"),
        TOKEN.replace('/', "\\/"),
        json(&percent(TOKEN)),
        percent(&json(TOKEN)),
        json(&json(TOKEN)),
        TOKEN.replace('/', "\\\\\\/"),
        json(&percent(&hex)),
        TOKEN.replace('/', "&#47;"),
        TOKEN.replace('/', "&#x2F;").replace('+', "&#x0002b;"),
        TOKEN.replace('/', "&#X2f;"),
        TOKEN.replace('/', "\\u002f"),
        TOKEN.replace('/', "&amp;#47;"),
        TOKEN.replace('/', "&amp;amp;#x2F;"),
        TOKEN.replace('/', "\\u0026#47;"),
        decimal(TOKEN),
        percent(&decimal(TOKEN)),
        decimal(&STANDARD_NO_PAD.encode(TOKEN)),
        json(&utf16(TOKEN, u16::to_le_bytes)),
        percent(&utf16(TOKEN, u16::to_be_bytes)),
        utf16(TOKEN, u16::to_le_bytes).replace('\0', "&#0;"),
    ];
    for before in ["", "x", "xy", "bearer ", ":", "user:"] {
        let whole = format!("{before}{TOKEN}");
        writings.push(STANDARD_NO_PAD.encode(&whole));
        writings.push(URL_SAFE_NO_PAD.encode(&whole));
        writings.push(percent(&STANDARD_NO_PAD.encode(format!("{whole}tail"))));
        for outer in ["", "x", "xy", "Basic "] {
            for inner in [
                STANDARD_NO_PAD.encode(&whole),
                URL_SAFE_NO_PAD.encode(&whole),
            ] {
                let whole = format!("{outer}{inner}=");
                writings.push(STANDARD_NO_PAD.encode(&whole));
                writings.push(URL_SAFE_NO_PAD.encode(&whole));
            }
        }
    }
    // Escapes that hide nothing are left as they are before the first that does.
    let places = ["=:", "\\n\\tline\\n\\n=:"];
    let each = writings
        .iter()
        .flat_map(|written| places.map(|place| (written, place)));
    for (written, place) in each {
        let text = format!("{{\"é before\":\"{place}{written}-after\\n\"}}");
        let finds = search.find(text.as_bytes(), None);
        assert_eq!(finds.owners(), [&owner(Some("shop"), "t")], "{text}");
        let blanked = finds.blank(text.as_bytes());
        assert_eq!(blanked.len(), text.len());
        assert!(search.find(&blanked, None).is_empty());
        let blanked = String::from_utf8(blanked).unwrap();
        assert!(
            blanked.contains(&format!("é before\":\"{place}")) && blanked.contains("-after\\n\"}"),
            "{blanked}"
        );
        assert!(
            serde_json::from_str::<serde_json::Value>(&blanked).is_ok(),
            "{blanked}"
        );
        assert!(
            blanked.matches('*').count() >= TOKEN.len(),
            "{written} {blanked}"
        );
    }
}

/// Scenario: bytes that are no UTF-8: an answer in UTF-16, in either order. Guarantees: found, blanked at the same length.
#[test]
fn a_credential_is_found_in_wide_text() {
    let search = both();
    for order in [u16::to_le_bytes, u16::to_be_bytes] {
        let text = format!("{{\"é\":\"{KEY}\"}}");
        let bytes: Vec<u8> = text.encode_utf16().flat_map(order).collect();
        let finds = search.find(&bytes, None);
        assert_eq!(finds.owners(), [&owner(None, "k")]);
        let blanked = finds.blank(&bytes);
        assert_eq!(blanked.len(), bytes.len());
        assert!(search.find(&blanked, None).is_empty());
        assert_eq!(blanked[..12], bytes[..12]);
    }
}

/// Guarantees: what the head of `search.rs` does not promise is not found: a third time in base64, names that XML does not have,
/// numbers without an end.
#[test]
fn what_is_promised_has_an_end() {
    let thrice = |text: &str| {
        let once = STANDARD_NO_PAD.encode(text);
        STANDARD_NO_PAD.encode(STANDARD_NO_PAD.encode(once))
    };
    for text in [
        thrice(TOKEN),
        TOKEN.replace('/', "&sol;"),
        TOKEN.replace('/', "&#47"),
        TOKEN.replace('/', "&#000000047;"),
        TOKEN.replace('/', "&#+47;"),
        TOKEN.replace('/', "&#x;"),
    ] {
        assert!(both().find(text.as_bytes(), None).is_empty(), "{text}");
    }
}

/// Guarantees: text without a credential stays; so does a part of one, and one too short to be told from a word.
#[test]
fn what_is_no_credential_is_not_found() {
    let search = search(&[
        (owner(Some("shop"), "t"), TOKEN),
        (owner(Some("dev"), "d"), "developer"),
    ]);
    let (behind, before) = (TOKEN.split_at(1).1, TOKEN.split_at(TOKEN.len() - 1).0);
    for text in [
        "",
        "developer",
        "%",
        "%4",
        "\\",
        "\\u",
        "\\u00zz",
        "%+41",
        "&",
        "&#",
        "&#;",
        "&#x",
        "&amp",
        "&#99999999;",
        behind,
        before,
    ] {
        assert!(search.find(text.as_bytes(), None).is_empty(), "{text}");
    }
    assert!(Search::new([]).find(TOKEN.as_bytes(), None).is_empty());
}

/// Guarantees: all credentials of a text are found, side by side and overlapping, each owner once; what a reader may
/// see of one project stays, and nothing else does.
#[test]
fn many_credentials_are_found_at_once() {
    let inner = "of?shop~5f1d";
    let search = search(&[
        (owner(Some("shop"), "t"), TOKEN),
        (owner(Some("pay"), "p"), inner),
        (owner(Some("next"), "n"), "5f1d-and-the-next"),
        (owner(None, "k"), KEY),
    ]);
    let text = format!("{KEY}{TOKEN}-and-the-next, {KEY}");
    let finds = search.find(text.as_bytes(), None);
    assert_eq!(finds.owners().len(), 4);
    let stars = |count| "*".repeat(count);
    let expected = format!(
        "{}, {}",
        stars(KEY.len() + TOKEN.len() + "-and-the-next".len()),
        stars(KEY.len())
    );
    assert_eq!(finds.blank(text.as_bytes()), expected.as_bytes());

    let finds = search.find(format!("{TOKEN} {KEY}").as_bytes(), Some("shop"));
    let names: Vec<&str> = finds
        .owners()
        .iter()
        .map(|owner| owner.fingerprint.as_str())
        .collect();
    assert_eq!(names, ["p", "k"]);
    assert!(both().find(TOKEN.as_bytes(), Some("shop")).is_empty());
    assert!(!both().find(KEY.as_bytes(), Some("shop")).is_empty());
}

/// Guarantees: a credential is found at every place of a longer text, and the automaton need not see all of that text.
#[test]
fn a_credential_is_found_at_every_place() {
    let search = both();
    for before in 0..48 {
        let text = [
            vec![b'.'; before],
            KEY.as_bytes().to_vec(),
            b"{}, ".repeat(100),
        ]
        .concat();
        assert_eq!(
            search.find(&text, None).places.as_slice(),
            std::slice::from_ref(&(before..before + KEY.len()))
        );
    }
    assert!(search.grams.is_some());
}

/// Guarantees: without an automaton the same is found, and without a choice of where to look.
#[test]
fn credentials_are_found_one_by_one_as_well() {
    let slow = Search {
        needles: None,
        ..both()
    };
    let whole = Search {
        grams: None,
        ..both()
    };
    for text in [
        TOKEN.to_uppercase(),
        percent(KEY),
        String::new(),
        format!("{TOKEN}{KEY}"),
        "nothing".to_owned(),
    ] {
        assert_eq!(
            slow.find(text.as_bytes(), None),
            both().find(text.as_bytes(), None),
            "{text}"
        );
        assert_eq!(
            whole.find(text.as_bytes(), None),
            both().find(text.as_bytes(), None),
            "{text}"
        );
    }
}

proptest::proptest! {
    /// Scenario: any text around a credential whose characters are each written in one of the ways, or not at all.
    /// Guarantees: found, blanked within its place, at the same length.
    #[test]
    fn a_mixture_of_codings_hides_nothing(
        before in "[ -~é]{0,20}",
        after in "[ -~é]{0,20}",
        ways in proptest::collection::vec(0_usize..5, KEY.len()),
    ) {
        let search = both();
        let written: String = KEY
            .chars()
            .zip(ways)
            .map(|(each, way)| match way {
                0 => each.to_string(),
                1 => percent(&each.to_string()),
                2 => json(&each.to_string()),
                3 => decimal(&each.to_string()),
                _ => each.to_uppercase().to_string(),
            })
            .collect();
        // A half escape before it would take its first characters for its own.
        let before = before.replace(['%', '\\', '&'], "");
        let text = format!("{before}{written}{after}");
        let finds = search.find(text.as_bytes(), None);
        let key = owner(None, "k");
        proptest::prop_assert_eq!(finds.owners(), &[&key][..]);
        let blanked = finds.blank(text.as_bytes());
        proptest::prop_assert_eq!(blanked.len(), text.len());
        proptest::prop_assert!(blanked.starts_with(before.as_bytes()) && blanked.ends_with(after.as_bytes()));
        proptest::prop_assert!(search.find(&blanked, None).is_empty());
    }
}
