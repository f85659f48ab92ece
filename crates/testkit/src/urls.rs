//! Percent-encoding (RFC 3986) and HTML forms, as the embedded parts need them.
//!
//! What it does: decodes and encodes one component, splits a form or query string. What it refuses to
//! know: the gateway's own canonical form; an oracle must not share the code that it checks.
//! Invariant: decoding never fails; a broken escape stays as it is.

/// Decodes `%XX`; bytes that are not UTF-8 become U+FFFD.
pub fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = match (first, after) {
            (b'%', [high, low, tail @ ..]) => hex(*high)
                .zip(hex(*low))
                .map(|(high, low)| (high << 4 | low, tail)),
            _ => None,
        };
        let (byte, tail) = escaped.unwrap_or((first, after));
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// Encodes all but RFC 3986's unreserved characters.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The pairs of an `application/x-www-form-urlencoded` text (a query string, a form body), in order.
#[derive(Clone, Debug, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    pub fn parse(text: &str) -> Self {
        let part = |text: &str| decode(&text.replace('+', " "));
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Form(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(k, v)| (part(k), part(v)))
                .collect(),
        )
    }

    /// The first value of a name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_survive_a_round_trip_and_broken_escapes_stay() {
        for (text, decoded) in [
            ("a%2Fb", "a/b"),
            ("%", "%"),
            ("%2", "%2"),
            ("%zz", "%zz"),
            ("%C3%A4", "ä"),
            ("100%25", "100%"),
        ] {
            assert_eq!(decode(text), decoded);
            assert_eq!(decode(&encode(decoded)), decoded);
        }
        let form = Form::parse("a=1+2&b&a=3");
        assert_eq!(
            (form.value("a"), form.value("b"), form.value("c")),
            (Some("1 2"), Some(""), None)
        );
    }
}
