//! The table of what backends take, read from its text.
//!
//! What it does: reads `table.txt`, and makes of a row the headers that a key belongs into. What it refuses to know: how a
//! request is judged by them; the product's profiles. Invariant: each line is a row or a comment, which a test holds.

use std::sync::OnceLock;

use base64::Engine as _;

use crate::coding::Coding;
use lightkeeper::otlp::{Encoding, Signal};

/// The lines of the table that are rows.
fn lines() -> impl Iterator<Item = &'static str> {
    let lines = include_str!("table.txt").lines();
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// What one backend takes of one signal.
#[derive(Clone, Debug)]
pub struct Row {
    pub backend: &'static str,
    pub signal: Signal,
    /// Over HTTP, after the host; `None`: HTTP is not spoken.
    pub path: Option<&'static str>,
    pub grpc: bool,
    /// Of bodies over HTTP.
    pub encodings: Vec<Encoding>,
    pub codings: Vec<Coding>,
    /// Bytes of a body as sent.
    pub packed: Option<usize>,
    /// Bytes of a body after decompression.
    pub unpacked: Option<usize>,
    /// The status of success over HTTP.
    pub taken: u16,
    /// The status for a credential that is not taken; `None`: none is asked for.
    pub refused: Option<u16>,
    pub headers: Vec<Wanted>,
}

/// A header that must be there, once.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub name: &'static str,
    /// `*`: any value; else with `{key}` and `{b64:…}`.
    value: &'static str,
    /// The status if it is missing.
    pub missing: u16,
}

impl Row {
    /// All rows, in the table's order.
    pub fn all() -> &'static [Row] {
        static ROWS: OnceLock<Vec<Row>> = OnceLock::new();
        ROWS.get_or_init(|| lines().filter_map(Row::read).collect())
    }

    /// The rows of one backend.
    pub fn of(backend: &str) -> Vec<&'static Row> {
        let all = Row::all().iter();
        all.filter(|row| row.backend == backend).collect()
    }

    /// The names of all backends, each once, in the table's order.
    pub fn backends() -> Vec<&'static str> {
        let mut names: Vec<&str> = Row::all().iter().map(|row| row.backend).collect();
        names.dedup();
        names
    }

    fn read(line: &'static str) -> Option<Row> {
        let mut rest = line;
        let mut next = || {
            let (word, after) = rest.trim_start().split_once(' ')?;
            rest = after;
            Some(word)
        };
        let dashed = |word: &'static str| (word != "-").then_some(word);
        let number = |word: &'static str| dashed(word).map(|word| word.parse().ok()).ok_or(());
        let backend = next()?;
        let signal = next()?;
        let signal = Signal::ALL.into_iter().find(|one| one.name() == signal)?;
        let path = dashed(next()?);
        let grpc = next()? == "yes";
        let encodings = next()?.split(',').map(|word| match word {
            "protobuf" => Some(Encoding::Protobuf),
            "json" => Some(Encoding::Json),
            _ => None,
        });
        let encodings = encodings.collect::<Option<_>>()?;
        let codings = next()?
            .split(',')
            .map(|word| Coding::named(word.as_bytes()));
        let mut codings = codings.collect::<Option<Vec<_>>>()?;
        codings.push(Coding::Identity);
        let packed = number(next()?).unwrap_or_default();
        let unpacked = number(next()?).unwrap_or_default();
        let taken = next()?.parse().ok()?;
        let refused = dashed(next()?).map(|word| word.parse().ok());
        let headers = dashed(rest.trim()).into_iter();
        let headers = headers.flat_map(|all| all.split(" ; ")).map(Wanted::read);
        Some(Row {
            backend,
            signal,
            path,
            grpc,
            encodings,
            codings,
            packed,
            unpacked,
            taken,
            refused: match refused {
                Some(status) => Some(status?),
                None => None,
            },
            headers: headers.collect::<Option<_>>()?,
        })
    }

    /// Whether a body in this encoding is taken over HTTP.
    pub fn reads(&self, encoding: Encoding) -> bool {
        self.path.is_some() && self.encodings.contains(&encoding)
    }
}

impl Wanted {
    fn read(text: &'static str) -> Option<Wanted> {
        let (name, value) = text.trim().split_once(": ")?;
        let (missing, name) = name.split_once(' ').unwrap_or(("400", name));
        Some(Wanted {
            name,
            value,
            missing: missing.parse().ok()?,
        })
    }

    /// Whether the credential stands in it.
    pub fn is_credential(&self) -> bool {
        self.value.contains("{key}")
    }

    /// The value for a key; `None`: any will do.
    pub fn value(&self, key: &str) -> Option<String> {
        (self.value != "*").then(|| filled(self.value, key))
    }
}

fn filled(text: &str, key: &str) -> String {
    let text = text.replace("{key}", key);
    let Some((before, rest)) = text.split_once("{b64:") else {
        return text;
    };
    let (plain, after) = rest.rsplit_once('}').unwrap_or((rest, ""));
    let coded = base64::engine::general_purpose::STANDARD.encode(plain);
    format!("{before}{coded}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_whole() {
        let row = |backend: &str, signal: Signal| {
            let rows = Row::of(backend);
            rows.into_iter()
                .find(|row| row.signal == signal)
                .unwrap()
                .clone()
        };
        let datadog = row("datadog", Signal::Metrics);
        assert_eq!(
            (datadog.packed, datadog.unpacked),
            (Some(500_000), Some(5_000_000))
        );
        assert_eq!((datadog.taken, datadog.refused), (202, Some(403)));
        assert!(!datadog.grpc && datadog.reads(Encoding::Json));
        let grafana = row("grafana-cloud", Signal::Logs);
        assert_eq!(grafana.path, Some("/otlp/v1/logs"));
        let [credential] = &grafana.headers[..] else {
            panic!("{grafana:?}")
        };
        assert_eq!(
            credential.value("k").unwrap(),
            "Basic MTIzNDU2Oms=" // 123456:k
        );
        let observe = row("observe", Signal::Traces);
        let told: Vec<_> = observe
            .headers
            .iter()
            .map(|one| (one.name, one.value("k"), one.missing, one.is_credential()))
            .collect();
        let bearer = Some("Bearer k".to_owned());
        assert_eq!(
            told,
            [
                ("authorization", bearer, 400, true),
                ("x-observe-target-package", None, 415, false)
            ]
        );
        let victoria = row("victoria-logs", Signal::Logs);
        assert!(victoria.headers.is_empty() && victoria.refused.is_none());
        let unread: Vec<_> = lines().filter(|line| Row::read(line).is_none()).collect();
        assert!(unread.is_empty(), "{unread:?}");
        assert!(Row::backends().len() > 20);
        // Whatever asks for a credential says what becomes of a wrong one, and the other way round.
        for row in Row::all() {
            let asks = row.headers.iter().any(Wanted::is_credential);
            assert_eq!(asks, row.refused.is_some(), "{row:?}");
        }
    }
}
