//! Numbers and identifiers, between their texts in JSON and their values.
//!
//! What it does: reads whole numbers and doubles as the JSON mapping of protobuf has them, and writes them. What it refuses to know: where a
//! text stands. Invariants: a whole number is exact or refused; a finite double is never read as an infinite one.

/// A whole number: its sign and its amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WholeNumber {
    pub negative: bool,
    pub amount: u64,
}

impl WholeNumber {
    /// Digits, or a number of JSON's that is whole, as `3.0` or `3e2`.
    pub(crate) fn read(text: &[u8]) -> Option<WholeNumber> {
        let (negative, digits) = match text {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        let (mut amount, mut rest) = (0_u64, digits);
        while let Some((chunk, behind)) = rest.split_first_chunk()
            && let Some(eight) = eight_digits(*chunk)
        {
            amount = amount.checked_mul(100_000_000)?.checked_add(eight)?;
            rest = behind;
        }
        for byte in rest {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return Self::fraction(text);
            }
            amount = amount.checked_mul(10)?.checked_add(u64::from(digit))?;
        }
        (!digits.is_empty()).then_some(WholeNumber { negative, amount })
    }

    /// The place of a name.
    pub(crate) fn named(names: &[&str], text: &[u8]) -> Option<WholeNumber> {
        let place = names.iter().position(|name| name.as_bytes() == text)?;
        Some(WholeNumber {
            negative: false,
            amount: place as u64,
        })
    }

    /// With a fraction of nothing, or an exponent.
    fn fraction(text: &[u8]) -> Option<WholeNumber> {
        if !is_number(text) {
            return None;
        }
        let (negative, text) = match text {
            [b'-', text @ ..] => (true, text),
            text => (false, text),
        };
        let is_exponent = |byte: &u8| matches!(byte, b'e' | b'E');
        let (digits, exponent) = match text.iter().position(is_exponent) {
            Some(at) => (text.get(..at)?, text.get(at + 1..)?),
            None => (text, &b"0"[..]),
        };
        let point = digits.iter().position(|byte| *byte == b'.');
        let behind_point = point.map_or(0, |at| digits.len() - at - 1);
        let mut amount = 0_u128;
        for digit in digits.iter().filter(|byte| **byte != b'.') {
            let digit = u128::from(digit.wrapping_sub(b'0'));
            amount = amount.checked_mul(10)?.checked_add(digit)?;
        }
        let exponent: i64 = str::from_utf8(exponent).ok()?.parse().ok()?;
        let mut shift = exponent.checked_sub(i64::try_from(behind_point).ok()?)?;
        // Each step makes it larger or leaves less of it, so that there are few.
        while amount != 0 && shift != 0 {
            if shift > 0 {
                amount = amount.checked_mul(10)?;
                shift -= 1;
            } else if amount.is_multiple_of(10) {
                amount /= 10;
                shift += 1;
            } else {
                return None;
            }
        }
        Some(WholeNumber {
            negative,
            amount: u64::try_from(amount).ok()?,
        })
    }

    pub(crate) fn unsigned(self, most: u64) -> Option<u64> {
        (self.amount <= most && (!self.negative || self.amount == 0)).then_some(self.amount)
    }

    /// `most`: the largest value; the least is the one below its negative.
    pub(crate) fn signed(self, most: i64) -> Option<i64> {
        let most = most.unsigned_abs();
        if self.negative {
            (self.amount <= most + 1).then_some(0_i64.wrapping_sub_unsigned(self.amount))
        } else {
            (self.amount <= most).then_some(self.amount as i64)
        }
    }
}

/// What eight digits say; `None`: something else is among them. Two, four and eight digits are put together at once.
fn eight_digits(text: [u8; 8]) -> Option<u64> {
    const LOWS: u64 = u64::from_le_bytes([0x0f; 8]);
    const THREES: u64 = u64::from_le_bytes([b'0'; 8]);
    let word = u64::from_le_bytes(text);
    let above_nine = word.wrapping_add(u64::from_le_bytes([6; 8]));
    if word & !LOWS != THREES || above_nine & !LOWS != THREES {
        return None;
    }
    let pairs = (word & LOWS).wrapping_mul(10 << 8 | 1) >> 8;
    let fours = (pairs & 0x00ff_00ff_00ff_00ff).wrapping_mul(100 << 16 | 1) >> 16;
    Some((fours & 0x0000_ffff_0000_ffff).wrapping_mul(10_000 << 32 | 1) >> 32)
}

/// A number, held to JSON's grammar (RFC 8259 section 6).
pub(super) fn double(text: &[u8]) -> Option<f64> {
    is_number(text).then(|| double_of_number(text)).flatten()
}

/// What is known to follow the grammar.
pub(super) fn double_of_number(text: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    value.is_finite().then_some(value)
}

fn is_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let Some(mut rest) = after_digits(text) else {
        return false;
    };
    if text.starts_with(b"0") && text.len() - rest.len() > 1 {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let Some(behind) = after_digits(fraction) else {
            return false;
        };
        rest = behind;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let digits = match exponent {
            [b'+' | b'-', digits @ ..] => digits,
            digits => digits,
        };
        let Some(behind) = after_digits(digits) else {
            return false;
        };
        rest = behind;
    }
    rest.is_empty()
}

/// What is behind at least one digit.
fn after_digits(text: &[u8]) -> Option<&[u8]> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.get(count..).filter(|_| count > 0)
}

/// The most bytes that `put_unsigned` and `put_signed` write.
pub(super) const WHOLE_BYTES: usize = 20;
/// The most bytes that `put_double` writes.
pub(super) const DOUBLE_BYTES: usize = 32;

pub(super) fn put_unsigned(into: &mut Vec<u8>, value: u64) {
    const EIGHT: u64 = 100_000_000;
    if value < EIGHT {
        return put_short(into, value);
    }
    let (high, low) = (value / EIGHT, value % EIGHT);
    if high < EIGHT {
        put_short(into, high);
    } else {
        put_short(into, high / EIGHT);
        into.extend_from_slice(&digits_of_eight(high % EIGHT));
    }
    into.extend_from_slice(&digits_of_eight(low));
}

/// At most eight digits, without zeros before them.
#[inline]
fn put_short(into: &mut Vec<u8>, value: u64) {
    if value < 10 {
        return into.push(b'0' + value as u8);
    }
    let digits = digits_of_eight(value);
    let word = u64::from_le_bytes(digits) ^ u64::from_le_bytes([b'0'; 8]);
    let zeros = word.trailing_zeros() as usize / 8;
    into.extend_from_slice(digits.get(zeros..).unwrap_or_default());
}

/// Eight digits of what is less than 100,000,000. It is parted into fours, twos and ones, all parts of a kind at once; 10,486 /
/// 2^20 is a hundredth, and 103 / 2^10 a tenth, of what is less than 10,000 and 100.
#[inline]
fn digits_of_eight(value: u64) -> [u8; 8] {
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | (fours - hundreds * 100) << 16;
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    let ones = tens | (twos - tens * 10) << 8;
    (ones | u64::from_le_bytes([b'0'; 8])).to_le_bytes()
}
pub(super) fn put_signed(into: &mut Vec<u8>, value: i64) {
    if value < 0 {
        into.push(b'-');
    }
    put_unsigned(into, value.unsigned_abs());
}

/// The shortest text that is read as the same value; what is no number is a text of its own (protobuf.dev, "ProtoJSON").
pub(super) fn put_double(into: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        into.extend_from_slice(b"\"NaN\"");
    } else if value == f64::INFINITY {
        into.extend_from_slice(b"\"Infinity\"");
    } else if value == f64::NEG_INFINITY {
        into.extend_from_slice(b"\"-Infinity\"");
    } else {
        // A finite number into memory: it cannot fail.
        drop(serde_json::to_writer(into, &value));
    }
}

/// The value of a hexadecimal digit of either case; anything else is above 15.
#[inline]
pub(super) fn hexadecimal(digit: u8) -> u8 {
    const VALUES: [u8; 256] = values();
    VALUES.get(usize::from(digit)).copied().unwrap_or(0xff)
}

const fn values() -> [u8; 256] {
    let mut values = [0xff; 256];
    let mut rest = values.as_mut_slice();
    let mut byte = 0_u8;
    while let Some((value, behind)) = rest.split_first_mut() {
        *value = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => 0xff,
        };
        byte = byte.wrapping_add(1);
        rest = behind;
    }
    values
}

pub(super) fn put_hexadecimal(into: &mut Vec<u8>, bytes: &[u8]) {
    const PAIRS: [[u8; 2]; 256] = hexadecimal_pairs();
    let start = into.len();
    into.resize(start + 2 * bytes.len(), 0);
    let (places, _) = into
        .get_mut(start..)
        .unwrap_or_default()
        .as_chunks_mut::<2>();
    for (place, byte) in places.iter_mut().zip(bytes) {
        *place = PAIRS.get(usize::from(*byte)).copied().unwrap_or_default();
    }
}

const fn hexadecimal_pairs() -> [[u8; 2]; 256] {
    const fn digit(value: u8) -> u8 {
        if value < 10 {
            b'0' + value
        } else {
            b'a' + value - 10
        }
    }
    let mut pairs = [[0; 2]; 256];
    let mut rest = pairs.as_mut_slice();
    let mut byte = 0_u8;
    while let Some((pair, behind)) = rest.split_first_mut() {
        *pair = [digit(byte >> 4), digit(byte & 15)];
        byte = byte.wrapping_add(1);
        rest = behind;
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_exact_or_refused() {
        let whole = |negative, amount| Some(WholeNumber { negative, amount });
        for (text, expected) in [
            ("0", whole(false, 0)),
            ("-0", whole(true, 0)),
            ("18446744073709551615", whole(false, u64::MAX)),
            ("18446744073709551616", None),
            ("-9223372036854775808", whole(true, 1 << 63)),
            ("3.0", whole(false, 3)),
            ("-3e2", whole(true, 300)),
            ("9007199254740992.0", whole(false, 1 << 53)),
            ("9007199254740993.0", whole(false, (1 << 53) + 1)),
            ("1.7e18", whole(false, 1_700_000_000_000_000_000)),
            (
                "1700000000000000000.000",
                whole(false, 1_700_000_000_000_000_000),
            ),
            ("18446744073709551615.0", whole(false, u64::MAX)),
            ("18446744073709551616.0", None),
            ("1500e-2", whole(false, 15)),
            ("1501e-2", None),
            ("0e99999999", whole(false, 0)),
            ("0.00e-99999999", whole(false, 0)),
            ("1e99999999999999999999", None),
            ("1e-40", None),
            ("12345678", whole(false, 12_345_678)),
            (
                "-1234567890123456789",
                whole(true, 1_234_567_890_123_456_789),
            ),
            ("12345678.0", whole(false, 12_345_678)),
            ("1234567.0", whole(false, 1_234_567)),
            ("1234567/", None),
            ("1234567:", None),
            ("12345*78", None),
            ("1234567890:", None),
            ("\u{fb}234567", None),
            ("1e400", None),
            ("1.5", None),
            ("", None),
            ("-", None),
            ("+1", None),
            (" 1", None),
            ("0x1", None),
            ("1.", None),
            (".5e1", None),
            ("5e", None),
            ("01.0", None),
            ("NaN", None),
        ] {
            assert_eq!(WholeNumber::read(text.as_bytes()), expected, "{text}");
        }
        let read = |text: &str| WholeNumber::read(text.as_bytes()).unwrap();
        assert_eq!(read("-1").unsigned(5), None);
        assert_eq!(read("-0").unsigned(5), Some(0));
        assert_eq!(read("6").unsigned(5), None);
        assert_eq!(
            read("-2147483648").signed(i32::MAX.into()),
            Some(i32::MIN.into())
        );
        assert_eq!(read("-2147483649").signed(i32::MAX.into()), None);
        assert_eq!(
            read("-9223372036854775808").signed(i64::MAX),
            Some(i64::MIN)
        );
        assert_eq!(read("9223372036854775808").signed(i64::MAX), None);
    }

    proptest::proptest! {
        #[test]
        fn numbers_are_written_as_others_write_them(bits: u64, shift in 0_u32..64) {
            let value = bits >> shift;
            let mut text = Vec::new();
            put_unsigned(&mut text, value);
            assert_eq!(text, value.to_string().as_bytes());
            assert!(text.len() <= WHOLE_BYTES);
            let mut text = Vec::new();
            put_signed(&mut text, value as i64);
            assert_eq!(text, (value as i64).to_string().as_bytes());
            let (double_value, mut text) = (f64::from_bits(bits), Vec::new());
            put_double(&mut text, double_value);
            assert!(text.len() <= DOUBLE_BYTES);
            if double_value.is_finite() {
                assert_eq!(double(&text).unwrap().to_bits(), bits);
            }
            let mut text = Vec::new();
            put_hexadecimal(&mut text, &bits.to_be_bytes());
            assert_eq!(text, format!("{bits:016x}").as_bytes());
        }
    }
}
