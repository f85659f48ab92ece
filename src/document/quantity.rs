//! Sizes and durations as people write them.
//!
//! What it does: reads `16MiB` and `30s`. What it refuses to know: which setting it reads for.
//! Invariant: nothing is rounded, guessed or wrapped; a unit that could mean two things is refused.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// What a size may look like, for hints.
pub(crate) const SIZE_FORM: &str = "write `64KiB`, `16MiB`, `1GiB` or a number of bytes";
/// What a duration may look like, for hints.
pub(crate) const DURATION_FORM: &str = "write `250ms`, `30s`, `5m` or `1h`";

/// A size as written: `16MiB`, or a number of bytes.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct RawSize(pub String);

impl JsonSchema for RawSize {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "description": "bytes, or with a unit: `64KiB`, `16MiB`, `1GiB`",
            "pattern": "^[0-9]+(KiB|MiB|GiB)?$",
            "minimum": 0,
            "x-hint": "write `64KiB`, `16MiB`, `1GiB` or a number of bytes",
        })
    }
}

/// What a bound may look like, for hints.
pub(crate) const BOUND_FORM: &str = "write `3.2MB`, `500KB`, `4MiB` or a number of bytes";

/// A size as backends' owners write it: `3.2MB` is 3,200,000 bytes, `4MiB` is 4,194,304.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct RawBound(pub String);

impl JsonSchema for RawBound {
    fn schema_name() -> Cow<'static, str> {
        "Bound".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "description": "bytes, or with a unit: `3.2MB` (3,200,000 bytes), `500KB`, `4MiB`",
            "pattern": "^([0-9]+|[0-9]+(\\.[0-9]{1,6})?(KB|MB|GB|KiB|MiB|GiB))$",
            "minimum": 0,
            "x-hint": "write `3.2MB`, `500KB`, `4MiB` or a number of bytes",
        })
    }
}

/// A duration as written: `30s`.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct RawDuration(pub String);

impl JsonSchema for RawDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "with a unit: `250ms`, `30s`, `5m`, `1h`",
            "pattern": "^[0-9]+(ms|s|m|h)$",
            "x-hint": "write `250ms`, `30s`, `5m` or `1h`",
        })
    }
}

/// Bytes of `16MiB`, `64KiB`, `1GiB` or a plain number.
pub(crate) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// Bytes of `3.2MB`, `500KB`, `4MiB` or a plain number. A fraction of a byte is cut off.
pub(crate) fn bound(text: &str) -> Option<u64> {
    const MICRO: u128 = 1_000_000;
    let (whole, rest) = split(text)?;
    let (micros, unit) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(rest) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (fraction, unit) = rest.split_at_checked(digits)?;
            let padded = format!("{fraction:0<6}");
            let is_sound = (1..=6).contains(&digits) && !unit.is_empty();
            (is_sound.then_some(padded)?.parse::<u128>().ok()?, unit)
        }
    };
    let factor: u128 = match unit {
        "" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    let bytes = (u128::from(whole) * MICRO + micros) * factor / MICRO;
    u64::try_from(bytes).ok()
}

/// The duration of `250ms`, `30s`, `5m` or `1h`; a number without a unit is none.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

/// A size for a message, in the largest unit that divides it.
pub(crate) fn show_size(bytes: u64) -> String {
    for (unit, factor) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= factor && bytes.is_multiple_of(factor) {
            return format!("`{}{unit}`", bytes / factor);
        }
    }
    format!("`{bytes}`")
}

/// A duration for a message, in the largest unit that divides it.
pub(crate) fn show_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    for (unit, factor) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if milliseconds >= factor && milliseconds.is_multiple_of(factor) {
            return format!("`{}{unit}`", milliseconds / factor);
        }
    }
    if milliseconds == 0 {
        "`0s`".to_owned()
    } else {
        format!("`{milliseconds}ms`")
    }
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", Some(0)),
            ("16777216", Some(16 << 20)),
            ("16MiB", Some(16 << 20)),
            ("64KiB", Some(64 << 10)),
            ("1GiB", Some(1 << 30)),
            ("17179869184GiB", None),
            ("99999999999999999999", None),
            ("16MB", None),
            ("16M", None),
            ("16 MiB", None),
            ("16mib", None),
            ("-1", None),
            ("1.5GiB", None),
            ("MiB", None),
            ("", None),
            ("１MiB", None),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
    }

    #[test]
    fn bounds() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1000", Some(1000)),
            ("3.2MB", Some(3_200_000)),
            ("500KB", Some(500_000)),
            ("0.5MiB", Some(1 << 19)),
            ("4MiB", Some(4 << 20)),
            ("1.000001KB", Some(1000)),
            ("1GB", Some(1_000_000_000)),
            ("1.5", None),
            ("1.MB", None),
            (".5MB", None),
            ("1.0000001MB", None),
            ("1mb", None),
            ("1 MB", None),
            ("18446744073709551615GB", None),
            ("", None),
        ] {
            assert_eq!(bound(text), expected, "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, expected) in [
            ("250ms", Some(250)),
            ("30s", Some(30_000)),
            ("5m", Some(300_000)),
            ("1h", Some(3_600_000)),
            ("0s", Some(0)),
            ("30", None),
            ("0", None),
            ("1d", None),
            ("1h30m", None),
            ("1.5s", None),
            ("-1s", None),
            ("99999999999999999h", None),
            ("s", None),
        ] {
            assert_eq!(
                duration(text),
                expected.map(Duration::from_millis),
                "{text}"
            );
        }
    }

    #[test]
    fn shown_as_written() {
        assert_eq!(
            [show_size(1 << 20), show_size(1536 << 10), show_size(7)],
            ["`1MiB`", "`1536KiB`", "`7`"]
        );
        let shown =
            [0, 250, 90_000, 300_000, 3_600_000].map(|ms| show_duration(Duration::from_millis(ms)));
        assert_eq!(shown, ["`0s`", "`250ms`", "`90s`", "`5m`", "`1h`"]);
    }
}
