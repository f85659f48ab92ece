//! Time series: series after series, told apart by labels.
//!
//! What it does: reads projects' answers to one query of time series, and joins them into one of the same shape. What it
//! refuses to know: the query. Invariants: each series gets the labels `app` and `project`, each log entry the members;
//! a backend's own of these names is kept as `original_app` and `original_project`; what all answers agree on (windows,
//! period) stands once, what they do not stands at each series.

use std::borrow::Cow;

use serde_json::Value;
use serde_json::value::RawValue;

use super::raw::{RawMembers, at};
use super::{MergeFault, Origin, Pile};
use crate::limits::Reservation;

/// The members that hold what is merged.
const SERIES: &str = "series";
const LOGS: &str = "logs";
const LABELS: &str = "group-labels";
const OURS: [&str; 2] = ["app", "project"];

/// Answers that were joined.
pub(crate) struct JoinedSeries {
    /// `{"attributes":{…}}`
    pub text: String,
    /// Its place in the memory budget.
    pub held: Vec<Reservation>,
    /// Which of them did not fit, by their places, and why.
    pub(crate) unfit: Vec<(usize, MergeFault)>,
}

/// One project's answer.
pub(crate) struct Series<'a> {
    origin: Origin,
    series: Vec<RawMembers<'a>>,
    logs: Vec<(&'a RawValue, RawMembers<'a>)>,
    /// Everything beside the two.
    rest: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Series<'a> {
    /// Reads an answer whose series lie in the object at `pointer`.
    pub(crate) fn read(origin: Origin, body: &'a [u8], pointer: &str) -> Result<Self, MergeFault> {
        let document: &RawValue = serde_json::from_slice(body).map_err(|_| MergeFault::Shape)?;
        let members = at(document, pointer)
            .and_then(RawMembers::of)
            .ok_or(MergeFault::Shape)?;
        if members.get(SERIES).is_none() && members.get(LOGS).is_none() {
            return Err(MergeFault::Shape);
        }
        let mut read = Series {
            origin,
            series: Vec::new(),
            logs: Vec::new(),
            rest: Vec::new(),
        };
        for (name, value) in members.0 {
            match &*name {
                SERIES => {
                    let entries: Option<Vec<&RawValue>> = parse(value)?;
                    let entries = entries.unwrap_or_default().into_iter();
                    let series =
                        entries.map(|entry| RawMembers::of(entry).ok_or(MergeFault::Shape));
                    read.series = series.collect::<Result<_, _>>()?;
                    read.series
                        .iter()
                        .try_for_each(|series| labels(series, &read.origin).map(drop))?;
                }
                LOGS => {
                    let entries: Option<Vec<(&RawValue, &RawValue)>> = parse(value)?;
                    let entries = entries.unwrap_or_default().into_iter();
                    let logs = entries.map(|(time, entry)| {
                        Ok((time, RawMembers::of(entry).ok_or(MergeFault::Shape)?))
                    });
                    read.logs = logs.collect::<Result<_, _>>()?;
                }
                _ => read.rest.push((name, value)),
            }
        }
        Ok(read)
    }

    /// How many series and log entries it has.
    pub(crate) fn count(&self) -> u64 {
        (self.series.len() + self.logs.len()) as u64
    }

    fn says(&self, name: &str, value: &RawValue) -> bool {
        self.rest
            .iter()
            .any(|(known, other)| known == name && other.get() == value.get())
    }

    fn written(&self, agreed: &[&str]) -> Result<Vec<String>, MergeFault> {
        let one = |series: &RawMembers<'_>| {
            let mut members = vec![(LABELS.to_owned(), labels(series, &self.origin)?)];
            let own = series.0.iter().filter(|(name, _)| name != LABELS);
            members.extend(own.map(|(name, value)| (name.to_string(), value.get().to_owned())));
            for (name, value) in self
                .rest
                .iter()
                .filter(|(name, _)| !agreed.contains(&&**name))
            {
                if series.get(name).is_none() {
                    members.push((name.to_string(), value.get().to_owned()));
                }
            }
            Ok(object(&members))
        };
        self.series.iter().map(one).collect()
    }

    fn logs_written(&self) -> Vec<String> {
        let one = |(time, entry): &(&RawValue, RawMembers<'_>)| {
            let mut members = vec![
                (
                    "app".to_owned(),
                    Value::from(self.origin.app.as_str()).to_string(),
                ),
                (
                    "project".to_owned(),
                    Value::from(&*self.origin.project).to_string(),
                ),
            ];
            members.extend(
                entry
                    .0
                    .iter()
                    .map(|(name, value)| (renamed(name), value.get().to_owned())),
            );
            format!("[{},{}]", time.get(), object(&members))
        };
        self.logs.iter().map(one).collect()
    }

    /// Joins answers.
    pub(crate) fn join(answers: &[Series<'_>], mut pile: Pile, mut logs: Pile) -> JoinedSeries {
        let agreed: Vec<(&str, &RawValue)> = answers.first().map_or_else(Vec::new, |first| {
            let all = |name: &str, value: &RawValue| {
                answers.iter().all(|answer| answer.says(name, value))
            };
            first
                .rest
                .iter()
                .filter(|(name, value)| all(name, value))
                .map(|(name, value)| (&**name, *value))
                .collect()
        });
        let names: Vec<&str> = agreed.iter().map(|(name, _)| *name).collect();
        let mut unfit = Vec::new();
        for (place, answer) in answers.iter().enumerate() {
            let added = answer.written(&names).and_then(|series| {
                pile.add(&series)?;
                logs.add(&answer.logs_written())
            });
            if let Err(fault) = added {
                unfit.push((place, fault));
            }
        }
        let mut members: Vec<(String, String)> = agreed
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.get().to_owned()))
            .collect();
        let (series, held) = pile.finish();
        let mut held = vec![held];
        members.push((SERIES.to_owned(), format!("[{series}]")));
        if !logs.is_empty() {
            let (logs, more) = logs.finish();
            members.push((LOGS.to_owned(), format!("[{logs}]")));
            held.push(more);
        }
        JoinedSeries {
            text: format!("{{\"attributes\":{}}}", object(&members)),
            held,
            unfit,
        }
    }
}

fn parse<'a, T: serde::Deserialize<'a>>(value: &'a RawValue) -> Result<T, MergeFault> {
    serde_json::from_str(value.get()).map_err(|_| MergeFault::Shape)
}

/// A series' labels with ours before them, as JSON.
fn labels(series: &RawMembers<'_>, origin: &Origin) -> Result<String, MergeFault> {
    let own: Option<Vec<String>> = series.get(LABELS).map(parse).transpose()?.flatten();
    let mut labels = vec![
        format!("app={}", origin.app),
        format!("project={}", origin.project),
    ];
    labels.extend(
        own.unwrap_or_default()
            .into_iter()
            .map(|label| match label.split_once('=') {
                Some((name, value)) => format!("{}={value}", renamed(name)),
                None => label,
            }),
    );
    Ok(Value::from(labels).to_string())
}

fn renamed(name: &str) -> String {
    if OURS.contains(&name) {
        format!("original_{name}")
    } else {
        name.to_owned()
    }
}

fn object(members: &[(String, String)]) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("{}:{value}", Value::from(name.as_str())))
        .collect();
    format!("{{{}}}", members.join(","))
}
