//! Text from the network, made fit for a terminal, and tables of it.
//!
//! What it does: takes out what could move a cursor, colour, or turn text around, and aligns columns. What it refuses to
//! know: what the text means. Invariant: nothing that this module returns holds a control character but line ends of its own.

use std::fs::File;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::telemetry::text::is_hidden;

/// Between two columns.
const GAP: &str = "  ";
/// A column is never cut shorter than this, in characters.
const NARROWEST: usize = 8;

/// One line: white space becomes a space each, everything else hostile goes.
pub(crate) fn clean(text: &str) -> String {
    let spaced = text.chars().map(|character| {
        if matches!(character, '\n' | '\r' | '\t') {
            ' '
        } else {
            character
        }
    });
    spaced.filter(|character| !is_hidden(*character)).collect()
}

/// A document as JSON in which hostile characters are escaped, so that it means the same.
pub(crate) fn json(document: &Value) -> String {
    let mut safe = String::new();
    for character in format!("{document:#}").chars() {
        // Line ends stand between members only: within strings they are escaped already.
        if character != '\n' && is_hidden(character) {
            // Beyond U+FFFF as two (RFC 8259 section 7).
            let units = character
                .encode_utf16(&mut [0; 2])
                .iter()
                .map(|unit| format!("\\u{unit:04x}"))
                .collect::<String>();
            safe.push_str(&units);
        } else {
            safe.push(character);
        }
    }
    safe
}

/// A value as one cell.
pub(crate) fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => clean(text),
        Some(Value::Array(values)) => values
            .iter()
            .map(|value| cell(Some(value)))
            .collect::<Vec<_>>()
            .join(", "),
        Some(other) => clean(&other.to_string()),
    }
}

/// Aligned columns below their names; each line cut to `width` characters if there is one. Columns that are empty in every row
/// are left out.
pub(crate) fn table(names: &[&str], rows: &[Vec<String>], width: Option<usize>) -> String {
    let length =
        |row: &[String], column: usize| row.get(column).map_or(0, |cell| cell.chars().count());
    let mut columns: Vec<(usize, usize)> = names
        .iter()
        .enumerate()
        .filter_map(|(column, name)| {
            let longest = rows
                .iter()
                .map(|row| length(row, column))
                .max()
                .unwrap_or(0);
            (longest > 0 || rows.is_empty()).then_some((column, longest.max(name.chars().count())))
        })
        .collect();
    if let Some(width) = width {
        narrow(&mut columns, width);
    }
    let mut lines = String::new();
    let heads: Vec<String> = names.iter().map(|name| name.to_uppercase()).collect();
    for row in std::iter::once(&heads).chain(rows) {
        let mut line = String::new();
        for (place, (column, wide)) in columns.iter().enumerate() {
            if place > 0 {
                line.push_str(GAP);
            }
            let cell = cut(row.get(*column).map_or("", String::as_str), *wide);
            line.push_str(&cell);
            line.extend(std::iter::repeat_n(
                ' ',
                wide.saturating_sub(cell.chars().count()),
            ));
        }
        lines.push_str(line.trim_end());
        lines.push('\n');
    }
    lines
}

/// Takes from the widest column until the line fits, or nothing can be taken.
fn narrow(columns: &mut [(usize, usize)], width: usize) {
    let gaps = GAP.len() * columns.len().saturating_sub(1);
    loop {
        let total: usize = columns.iter().map(|(_, wide)| *wide).sum::<usize>() + gaps;
        let Some(widest) = columns.iter_mut().max_by_key(|(_, wide)| *wide) else {
            return;
        };
        if total <= width || widest.1 <= NARROWEST {
            return;
        }
        widest.1 = widest
            .1
            .saturating_sub(total - width)
            .max(NARROWEST)
            .max(widest.1 / 2);
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// The width of the terminal that standard output is, in characters; `None` for a pipe or file, which is never cut.
pub(crate) fn width() -> Option<usize> {
    use std::io::IsTerminal as _;
    if !std::io::stdout().is_terminal() {
        return None;
    }
    if let Some(columns) = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok())
    {
        return Some(columns);
    }
    let terminal = File::open("/dev/tty").ok()?;
    let size = Command::new("stty")
        .arg("size")
        .stdin(Stdio::from(terminal))
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let columns = String::from_utf8(size.stdout)
        .ok()?
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()?;
    (columns > 0).then_some(columns)
}

#[cfg(test)]
mod tests {
    use serde_json::json as value;

    use super::*;

    #[test]
    fn nothing_that_moves_a_cursor_is_printed() {
        for (text, cleaned) in [
            ("plain", "plain"),
            ("\u{1b}[31mred\u{1b}[0m", "[31mred[0m"),
            ("\u{1b}]0;title\u{7}x", "]0;titlex"),
            ("a\nb\tc\rd", "a b c d"),
            ("a\u{9b}2Jb", "a2Jb"),
            ("safe\u{202e}txt.exe", "safetxt.exe"),
            ("a\u{0}b\u{7f}c", "abc"),
            ("über – ok", "über – ok"),
        ] {
            assert_eq!(clean(text), cleaned, "{text:?}");
        }
        let hostile = value!({ "a\u{9b}": "\u{1b}[2J\u{202e}\n" });
        let printed = json(&hostile);
        assert!(
            printed
                .chars()
                .all(|character| character == '\n' || !is_hidden(character)),
            "{printed:?}"
        );
        assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), hostile);
    }

    #[test]
    fn columns_are_aligned_and_cut_to_the_terminal() {
        let row = |cells: &[&str]| {
            cells
                .iter()
                .map(|cell| (*cell).to_owned())
                .collect::<Vec<_>>()
        };
        let rows = [
            row(&["shop", "", "a long name of a stream"]),
            row(&["shop/checkout", "", "b"]),
        ];
        let names = ["app", "gone", "name"];
        for (width, expected) in [
            (
                None,
                "APP            NAME\nshop           a long name of a stream\nshop/checkout  b\n",
            ),
            (
                Some(25),
                "APP           NAME\nshop          a long nam…\nshop/checko…  b\n",
            ),
            (Some(1), "APP       NAME\nshop      a long …\nshop/ch…  b\n"),
        ] {
            assert_eq!(table(&names, &rows, width), expected, "{width:?}");
        }
        assert_eq!(table(&["a", "b"], &[], None), "A  B\n");
    }
}
