//! `lightkeeper migrate`: how far a move from one backend to another is.
//!
//! What it does: reads the metrics of one gateway or several, and prints both legs of every pair of backends side by side. What it
//! refuses to know: what a backend holds; it compares what gateways counted. Invariants: it asks admin listeners and nothing else;
//! exit status 0 if all pairs are even, 3 if one is not, 1 if that cannot be told.

mod pairs;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::{Request, StatusCode};
use serde_json::json;

use super::Output;
use super::developer::failure::Failure;
use super::developer::web::{Web, unanswered};
use super::developer::{run, text};
use super::plan::load_alone;
use crate::clock::Clock;
use pairs::{LegCounts, LegPair, LegPairs};

/// One pair is not even.
const UNEVEN: u8 = 3;
/// The largest page of metrics that is read from a file.
const PAGE_BYTES: u64 = 32 << 20;

#[derive(Debug, Subcommand)]
pub enum MigrateCommand {
    /// Compare what two backends took of the apps that go to both.
    ///
    /// It reads the counters of `also`, which begin anew with each start of a gateway, and adds up those of all gateways that are
    /// named. Each project and signal is a line: what its backend took, what the other one took, and the difference.
    #[command(after_help = "Exit status: 0 even, 3 not even, 1 it cannot be told.")]
    Report(ReportArguments),
}

#[derive(Debug, Args)]
pub struct ReportArguments {
    /// The gateway's configuration: its admin listener is asked, on this machine.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "metrics",
        conflicts_with = "metrics"
    )]
    pub(crate) config: Option<PathBuf>,
    /// A gateway's metrics, `http://127.0.0.1:9464/metrics`, or a file with a page of them; given once for each gateway.
    #[arg(long, value_name = "URL")]
    pub(crate) metrics: Vec<String>,
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

pub(crate) fn migrate(command: &MigrateCommand) -> ExitCode {
    match command {
        MigrateCommand::Report(arguments) => run(report(arguments)),
    }
}

async fn report(arguments: &ReportArguments) -> Result<u8, Failure> {
    let places = match &arguments.config {
        Some(path) => vec![admin_of(path)?],
        None => arguments.metrics.clone(),
    };
    let mut pairs = LegPairs::default();
    for place in &places {
        let page = page(place).await?;
        pairs
            .add(&page)
            .map_err(|fault| Failure::new(format!("`{place}`: {fault}")))?;
    }
    if pairs.is_empty() {
        let advice = "an app of the policy needs `also`, and data since the gateway's start";
        return Err(Failure::new("no app has sent anything to two backends").advise(advice));
    }
    let is_even = pairs.all().iter().all(LegPair::is_even);
    match arguments.output {
        Output::Json => println!("{}", text::json(&document(&pairs, is_even))),
        Output::Text => print!("{}", table(&pairs)),
    }
    Ok(if is_even { 0 } else { UNEVEN })
}

/// The page of metrics of the gateway of this configuration.
fn admin_of(path: &std::path::Path) -> Result<String, Failure> {
    let loaded = load_alone(path, &Clock::system());
    let checked = loaded.checked.ok_or_else(|| {
        Failure::new(format!("`{}` is refused", path.display())).advise(format!(
            "lightkeeper check --skip-files --config {}",
            path.display()
        ))
    })?;
    Ok(format!("http://{}/metrics", reachable(checked.admin)))
}

/// The address at which what listens there is reached from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let host = match address.ip() {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    SocketAddr::new(host, address.port())
}

async fn page(place: &str) -> Result<String, Failure> {
    if !place.contains("://") {
        let unreadable =
            |error: &dyn std::fmt::Display| Failure::new(format!("`{place}`: {error}"));
        let length = std::fs::metadata(place).map_err(|error| unreadable(&error))?;
        if length.len() > PAGE_BYTES {
            return Err(unreadable(&"is no page of metrics: it is too large"));
        }
        return std::fs::read_to_string(place).map_err(|error| unreadable(&error));
    }
    let request = Request::get(place)
        .body(Vec::new())
        .map_err(|_| Failure::new(format!("`{place}` is no URL")))?;
    let answer = Web::new(None)?.ask(request).await;
    let answer = answer.map_err(|fault| unanswered(&fault, &format!("`{place}`")))?;
    if answer.status() != StatusCode::OK {
        let status = answer.status().as_u16();
        return Err(Failure::new(format!("`{place}` answers {status}")));
    }
    String::from_utf8(answer.into_body())
        .map_err(|_| Failure::new(format!("`{place}` is no page of metrics")))
}

fn table(pairs: &LegPairs) -> String {
    let names = [
        "PROJECT",
        "SIGNAL",
        "BACKEND",
        "TOOK",
        "OTHER",
        "MODE",
        "TOOK",
        "DIFFERENCE",
        "",
    ];
    let row = |pair: &LegPair| {
        vec![
            text::clean(&pair.project),
            text::clean(&pair.signal),
            text::clean(&pair.primary),
            pair.first.accepted.to_string(),
            text::clean(&pair.other),
            text::clean(&pair.mode),
            pair.second.accepted.to_string(),
            pair.percent()
                .map_or("-".to_owned(), |percent| format!("{percent:+.2} %")),
            pair.verdict(),
        ]
    };
    let rows: Vec<Vec<String>> = pairs.all().iter().map(row).collect();
    text::table(&names, &rows, None)
}

fn document(pairs: &LegPairs, is_even: bool) -> serde_json::Value {
    let counts = |backend: &str, counts: &LegCounts| {
        json!({
            "backend": backend,
            "sent": counts.sent,
            "accepted": counts.accepted,
            "rejected": counts.rejected,
            "refused": counts.refused,
            "dropped": counts.dropped,
        })
    };
    let pair = |pair: &LegPair| {
        json!({
            "project": pair.project,
            "signal": pair.signal,
            "mode": pair.mode,
            "primary": counts(&pair.primary, &pair.first),
            "other": counts(&pair.other, &pair.second),
            "waiting": pair.waiting(),
            "difference": pair.difference(),
            "percent": pair.percent(),
            "even": pair.is_even(),
            "verdict": pair.verdict(),
        })
    };
    let pairs: Vec<_> = pairs.all().iter().map(pair).collect();
    json!({ "even": is_even, "pairs": pairs })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees: a listener on every address is asked on this machine.
    #[test]
    fn the_admin_listener_is_asked_on_this_machine() {
        for (address, expected) in [
            ("0.0.0.0:9464", "127.0.0.1:9464"),
            ("[::]:9464", "[::1]:9464"),
            ("10.0.0.1:9464", "10.0.0.1:9464"),
        ] {
            assert_eq!(reachable(address.parse().unwrap()).to_string(), expected);
        }
    }
}
