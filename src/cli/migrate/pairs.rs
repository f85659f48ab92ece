//! Counters of pairs of backends, read from pages of metrics and compared.
//!
//! What it does: reads the one metric that counts both legs, adds up what several gateways counted, and says how the legs stand. What it
//! refuses to know: where a page came from. Invariants: what is not that metric is passed over; a line of it that cannot be read is
//! a fault, because a comparison without it would be wrong; a bounded number of pairs.

use std::collections::BTreeMap;

/// The metric's name.
const METRIC: &str = "lightkeeper_leg_items_total";
/// LegPairs that are compared at once.
const PAIRS: usize = 65_536;

/// Why a page cannot be compared.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PageFault {
    #[error("line {0} of the metrics cannot be read")]
    Line(usize),
    #[error("the metrics have more than {PAIRS} pairs of backends")]
    TooMany,
}

/// What became of one leg's items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LegCounts {
    pub sent: u64,
    pub accepted: u64,
    pub rejected: u64,
    pub refused: u64,
    pub dropped: u64,
}

/// Two backends, and the data of a project that goes to both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LegPair {
    pub project: String,
    pub signal: String,
    pub primary: String,
    pub other: String,
    /// `mirror`, `require`, or both if that changed.
    pub mode: String,
    /// Of the app's backend.
    pub first: LegCounts,
    /// Of the other one.
    pub second: LegCounts,
}

/// All of them, in order.
#[derive(Debug, Default)]
pub(super) struct LegPairs(Vec<LegPair>);

impl LegCounts {
    fn of(&mut self, result: &str) -> Option<&mut u64> {
        Some(match result {
            "sent" => &mut self.sent,
            "accepted" => &mut self.accepted,
            "rejected" => &mut self.rejected,
            "refused" => &mut self.refused,
            "dropped" => &mut self.dropped,
            _ => return None,
        })
    }

    fn ended(&self) -> u64 {
        let ends = [self.accepted, self.rejected, self.refused, self.dropped];
        ends.into_iter().fold(0, u64::saturating_add)
    }
}

impl LegPair {
    /// Items that are on their way to the other backend.
    pub(super) fn waiting(&self) -> u64 {
        match self.mode.as_str() {
            "mirror" => self.second.sent.saturating_sub(self.second.ended()),
            // What a caller sends again is sent again.
            _ => 0,
        }
    }

    /// By how much the other backend is ahead, or behind.
    pub(super) fn difference(&self) -> i128 {
        i128::from(self.second.accepted) - i128::from(self.first.accepted)
    }

    pub(super) fn percent(&self) -> Option<f64> {
        let whole = self.first.accepted;
        (whole > 0).then(|| self.difference() as f64 * 100.0 / whole as f64)
    }

    /// Whether the other backend has as much, or will once it took what waits.
    pub(super) fn is_even(&self) -> bool {
        self.difference() + i128::from(self.waiting()) == 0
    }

    /// In words.
    pub(super) fn verdict(&self) -> String {
        let (difference, waiting) = (self.difference(), self.waiting());
        let waits = (waiting > 0).then(|| format!("{waiting} wait"));
        if self.is_even() {
            return match waits {
                None => "even".to_owned(),
                Some(waits) => format!("even so far: {waits}"),
            };
        }
        let side = if difference > 0 { "ahead" } else { "behind" };
        let why = |count: u64, word: &str| (count > 0).then(|| format!("{count} {word}"));
        let LegCounts {
            rejected,
            refused,
            dropped,
            ..
        } = self.second;
        let whys: Vec<String> = [
            waits,
            why(rejected, "rejected"),
            why(refused, "refused"),
            why(dropped, "dropped"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let by = difference.unsigned_abs();
        match whys.as_slice() {
            [] => format!("{side} by {by}"),
            whys => format!("{side} by {by} ({})", whys.join(", ")),
        }
    }
}

impl LegPairs {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn all(&self) -> &[LegPair] {
        &self.0
    }

    /// Adds what a page counts.
    pub(super) fn add(&mut self, page: &str) -> Result<(), PageFault> {
        for (index, line) in page.lines().enumerate() {
            let Some(rest) = line.trim().strip_prefix(METRIC) else {
                continue;
            };
            // Another metric whose name begins alike.
            if !rest.starts_with(['{', ' ', '\t']) {
                continue;
            }
            let (labels, value) = sample(rest).ok_or(PageFault::Line(index + 1))?;
            self.count(&labels, value)
                .ok_or(PageFault::Line(index + 1))?;
            if self.0.len() > PAIRS {
                return Err(PageFault::TooMany);
            }
        }
        Ok(())
    }

    /// `None`: a label is not there, or says something unknown.
    fn count(&mut self, labels: &BTreeMap<String, String>, value: u64) -> Option<()> {
        let label = |name: &str| labels.get(name).map(String::as_str);
        let (backend, against) = (label("backend")?, label("against")?);
        let leg = label("leg")?;
        let is_primary = leg == "primary";
        let (primary, other) = match is_primary {
            true => (backend, against),
            false => (against, backend),
        };
        let (project, signal) = (label("project")?, label("signal")?);
        let key = |pair: &LegPair| {
            (
                pair.project.as_str(),
                pair.signal.as_str(),
                pair.primary.as_str(),
                pair.other.as_str(),
            )
                .cmp(&(project, signal, primary, other))
        };
        let place = match self.0.binary_search_by(key) {
            Ok(place) => place,
            Err(place) => {
                let pair = LegPair {
                    project: project.to_owned(),
                    signal: signal.to_owned(),
                    primary: primary.to_owned(),
                    other: other.to_owned(),
                    ..LegPair::default()
                };
                self.0.insert(place, pair);
                place
            }
        };
        let pair = self.0.get_mut(place)?;
        let counts = match leg {
            "primary" => &mut pair.first,
            "mirror" | "require" => {
                if pair.mode.is_empty() {
                    leg.clone_into(&mut pair.mode);
                } else if pair.mode != leg {
                    "mirror, require".clone_into(&mut pair.mode);
                }
                &mut pair.second
            }
            _ => return None,
        };
        let count = counts.of(label("result")?)?;
        *count = count.saturating_add(value);
        Some(())
    }
}

/// Labels and value of a line, after the metric's name (Prometheus, "Text-based format").
fn sample(rest: &str) -> Option<(BTreeMap<String, String>, u64)> {
    let mut labels = BTreeMap::new();
    let mut rest = rest.trim_start().strip_prefix('{')?;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if let Some(after) = rest.strip_prefix('}') {
            rest = after;
            break;
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
        labels.insert(name.trim().to_owned(), value);
        rest = after;
    }
    let value = rest.split_whitespace().next()?;
    Some((labels, whole(value)?))
}

/// The text up to the closing quote, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    loop {
        match letters.next()? {
            (at, '"') => return Some((value, text.get(at + 1..)?)),
            (_, '\\') => value.push(match letters.next()?.1 {
                'n' => '\n',
                letter @ ('\\' | '"') => letter,
                _ => return None,
            }),
            (_, letter) => value.push(letter),
        }
    }
}

/// A count, in whatever form a counter's value may be written.
fn whole(text: &str) -> Option<u64> {
    if let Ok(count) = text.parse() {
        return Some(count);
    }
    // Beyond this, not every whole number is one.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let count: f64 = text.parse().ok()?;
    ((0.0..=EXACT).contains(&count) && count.fract() == 0.0).then_some(count as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(backend: &str, against: &str, leg: &str, result: &str, value: &str) -> String {
        format!(
            "{METRIC}{{against=\"{against}\",backend=\"{backend}\",leg=\"{leg}\",project=\"shop\",result=\"{result}\",signal=\"traces\"}} {value}\n"
        )
    }

    fn pair(lines: &[String]) -> LegPair {
        let mut pairs = LegPairs::default();
        pairs.add(&lines.concat()).unwrap();
        assert_eq!(pairs.all().len(), 1, "{pairs:?}");
        pairs.0.remove(0)
    }

    /// Scenario: what two backends took. Guarantees: the verdict says which is behind, by how much and why; what waits is not lost yet.
    #[test]
    fn a_verdict_says_which_is_behind_and_why() {
        let first = |accepted: &str| {
            vec![
                line("a", "b", "primary", "sent", accepted),
                line("a", "b", "primary", "accepted", accepted),
            ]
        };
        let second = |leg: &str, results: &[(&str, &str)]| -> Vec<String> {
            let each = results.iter();
            each.map(|(result, value)| line("b", "a", leg, result, value))
                .collect()
        };
        for (accepted, leg, results, verdict, is_even) in [
            (
                "10",
                "mirror",
                &[("sent", "10"), ("accepted", "10")][..],
                "even",
                true,
            ),
            (
                "10",
                "mirror",
                &[("sent", "10"), ("accepted", "7")],
                "even so far: 3 wait",
                true,
            ),
            (
                "10",
                "mirror",
                &[
                    ("sent", "10"),
                    ("accepted", "4"),
                    ("dropped", "3"),
                    ("refused", "1"),
                ],
                "behind by 6 (2 wait, 1 refused, 3 dropped)",
                false,
            ),
            (
                "10",
                "require",
                &[("sent", "20"), ("accepted", "8"), ("rejected", "2")],
                "behind by 2 (2 rejected)",
                false,
            ),
            (
                "10",
                "require",
                &[("sent", "12"), ("accepted", "12")],
                "ahead by 2",
                false,
            ),
            ("1e3", "mirror", &[("accepted", "1000.0")], "even", true),
            ("10", "mirror", &[], "behind by 10", false),
        ] {
            let pair = pair(&[first(accepted), second(leg, results)].concat());
            assert_eq!(
                (pair.verdict().as_str(), pair.is_even()),
                (verdict, is_even)
            );
        }
    }

    /// Scenario: two gateways, and a move back. Guarantees: gateways' counts add up; each direction is a pair of its own; what a label
    /// holds is what was escaped.
    #[test]
    fn pages_add_up_and_directions_stay_apart() {
        let page = [
            "# HELP lightkeeper_leg_items_total Items.\n# TYPE lightkeeper_leg_items_total counter\n".to_owned(),
            "lightkeeper_leg_items_total_created{} 1\nprocess_open_fds 7\n\n".to_owned(),
            line("a", "b", "primary", "accepted", "3"),
            line("b", "a", "mirror", "accepted", "3"),
            line("b", "a", "primary", "accepted", "5"),
            line("a", "b", "require", "accepted", "4"),
            "lightkeeper_leg_items_total{backend=\"a\",against=\"\\\"\\\\\\n\", leg=\"primary\",project=\"x\",signal=\"logs\",result=\"sent\",} 2 1700000000\n".to_owned(),
        ]
        .concat();
        let mut pairs = LegPairs::default();
        pairs.add(&page).unwrap();
        pairs.add(&page).unwrap();
        let told: Vec<_> = pairs
            .all()
            .iter()
            .map(|pair| (pair.primary.as_str(), pair.other.as_str(), pair.verdict()))
            .collect();
        let expected = [
            ("a", "b", "even".to_owned()),
            ("b", "a", "behind by 2".to_owned()),
            ("a", "\"\\\n", "even".to_owned()),
        ];
        assert_eq!(told, expected);
        assert_eq!(pairs.all()[0].first.accepted, 6);
    }

    /// Scenario: pages that are cut, wrong or hostile. Guarantees: no comparison is made of half a page.
    #[test]
    fn what_cannot_be_read_is_a_fault() {
        let good = line("a", "b", "primary", "sent", "1");
        for wrong in [
            "lightkeeper_leg_items_total 3".to_owned(),
            "lightkeeper_leg_items_total{backend=\"a\"} 3".to_owned(),
            "lightkeeper_leg_items_total{backend=\"a".to_owned(),
            good.replace("primary", "third"),
            good.replace("sent", "lost"),
            good.replace("} 1", "} NaN"),
            good.replace("} 1", "} -1"),
            good.replace("} 1", "} 1.5"),
            good.replace("} 1", "}"),
            good.replace("\"a\"", "\"\\x\""),
        ] {
            let page = format!("{good}{wrong}\n");
            assert_eq!(
                LegPairs::default().add(&page),
                Err(PageFault::Line(2)),
                "{wrong}"
            );
        }
    }
}
