//! Colours that are seen together differ enough (WCAG 2.2, 1.4.3 and 1.4.11), in light and in dark.
//!
//! What it does: computes the ratios from the style sheet's own colours. What it refuses to know: where on a page a pair
//! is seen; the tables say that it is.

const CSS: &str = include_str!("../assets/site.css");

/// Text on its ground: 4.5 or more.
const TEXT: &[(&str, &str)] = &[
    ("text", "page"),
    ("text", "surface"),
    ("text", "sunken"),
    ("text", "accent-soft"),
    ("text", "warn-soft"),
    ("text", "bad-soft"),
    ("muted", "page"),
    ("muted", "surface"),
    ("muted", "sunken"),
    ("muted", "accent-soft"),
    ("accent", "page"),
    ("accent", "surface"),
    ("accent", "accent-soft"),
    ("accent-strong", "page"),
    ("accent-strong", "surface"),
    ("accent-strong", "accent-soft"),
    ("on-accent", "accent"),
    ("on-accent", "accent-strong"),
    ("ok", "ok-soft"),
    ("bad", "bad-soft"),
    ("bad", "surface"),
    ("bad", "accent-soft"),
    ("warn", "warn-soft"),
];

/// Borders of controls, marks and the focus ring on their ground: 3 or more.
const PARTS: &[(&str, &str)] = &[
    ("control", "surface"),
    ("control", "page"),
    ("accent", "page"),
    ("accent", "surface"),
    ("accent", "sunken"),
    ("ok", "page"),
    ("bad", "surface"),
];

/// Names, with red, green and blue.
type Colours<'a> = Vec<(&'a str, [u8; 3])>;

/// `--name: #rrggbb;` of one block of the style sheet.
fn colours(block: &str) -> Colours<'_> {
    let lines = block.lines().filter_map(|line| {
        line.trim()
            .strip_prefix("--")?
            .strip_suffix(';')?
            .split_once(": #")
    });
    let byte = |hex: &str, at: usize| u8::from_str_radix(hex.get(at..at + 2).unwrap(), 16).unwrap();
    lines
        .map(|(name, hex)| (name, [byte(hex, 0), byte(hex, 2), byte(hex, 4)]))
        .collect()
}

fn schemes() -> [(&'static str, Colours<'static>); 2] {
    let (light, rest) = CSS
        .split_once("@media (prefers-color-scheme: dark)")
        .unwrap();
    let dark = rest.split("\n}\n").next().unwrap();
    [("light", colours(light)), ("dark", colours(dark))]
}

/// Relative luminance, WCAG 2.2.
fn luminance(rgb: [u8; 3]) -> f64 {
    let [red, green, blue] = rgb.map(|byte| {
        let channel = f64::from(byte) / 255.0;
        if channel <= 0.04045 {
            channel / 12.92
        } else {
            ((channel + 0.055) / 1.055).powf(2.4)
        }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn the_measure_is_the_standard_one() {
    assert!((contrast([0, 0, 0], [255, 255, 255]) - 21.0).abs() < 1e-9);
    assert!((contrast([0x77, 0x77, 0x77], [255, 255, 255]) - 4.478).abs() < 0.001);
}

#[test]
fn colours_differ_enough() {
    let mut weak = Vec::new();
    for (scheme, colours) in schemes() {
        let colour = |name: &str| {
            let found = colours.iter().find(|(known, _)| *known == name);
            found.unwrap_or_else(|| panic!("no --{name} in {scheme}")).1
        };
        for (pairs, least) in [(TEXT, 4.5), (PARTS, 3.0)] {
            for (front, ground) in pairs {
                let ratio = contrast(colour(front), colour(ground));
                if ratio < least {
                    weak.push(format!(
                        "{scheme}: {front} on {ground} is {ratio:.2}, {least} needed"
                    ));
                }
            }
        }
    }
    assert!(weak.is_empty(), "{weak:#?}");
}

#[test]
fn both_schemes_have_all_colours_and_rules_use_only_those() {
    let [(_, light), (_, dark)] = schemes();
    let names = |colours: &[(&'static str, [u8; 3])]| {
        colours.iter().map(|(name, _)| *name).collect::<Vec<_>>()
    };
    assert_eq!(names(&light), names(&dark));
    let rules = CSS.split_once("/* ---- ground */").unwrap().1;
    let literal = rules
        .lines()
        .filter(|line| line.contains(": #") || line.contains(" #fff"))
        .collect::<Vec<_>>();
    assert!(literal.is_empty(), "{literal:?}");
}
