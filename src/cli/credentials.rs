//! `lightkeeper credentials`: which there are, and whether the backend takes them.
//!
//! What it does: asks a running gateway's `admin` for the list, and tries all credentials from the files themselves. What it
//! refuses to know: how a credential is tried. Invariants: no secret is printed; exit status 1 exactly if one cannot be had, is
//! refused or could not be judged.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;
use http::{Request, StatusCode};
use rustls::RootCertStore;
use serde_json::Value;

use super::plan::{Examined, Start, examine};
use super::{ConfigArgument, Output, load};
use crate::causes::{chain, lines};
use crate::clock::Clock;
use crate::document::Diagnostic;
use crate::egress::{ClientFault, Egress, OutboundBounds, OutboundClient, OutboundFault};
use crate::state::credentials::{Validated, validate};

#[derive(Debug, Subcommand)]
pub enum CredentialsCommand {
    /// Ask the running gateway on this machine for its credentials: names, sources, states, digests, ages and uses.
    List {
        #[command(flatten)]
        config: ConfigArgument,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Read all credentials, from the store as well, and try each access token with an empty export. Exit status 0 if all are
    /// good, else 1.
    Validate {
        #[command(flatten)]
        config: ConfigArgument,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

/// Why a command cannot do its work.
#[derive(Debug, thiserror::Error)]
enum CredentialsFault {
    /// The findings, one a line.
    #[error("{0}")]
    Configuration(String),
    #[error("the runtime cannot be started")]
    Runtime(#[source] std::io::Error),
    #[error(transparent)]
    Client(#[from] ClientFault),
    #[error(transparent)]
    Request(#[from] http::Error),
    #[error("the gateway's admin at {admin} cannot be reached: {cause}")]
    Unreachable {
        admin: SocketAddr,
        cause: OutboundFault,
    },
    #[error("the gateway's admin at {admin} answers with {status}")]
    Status {
        admin: SocketAddr,
        status: StatusCode,
    },
    #[error("what answers at {0} is no gateway's admin")]
    Answer(SocketAddr),
}

pub(crate) fn credentials(command: &CredentialsCommand) -> ExitCode {
    let done = match command {
        CredentialsCommand::List { config, output } => list(config, *output),
        CredentialsCommand::Validate { config, output } => validated(config, *output),
    };
    done.unwrap_or_else(|fault| {
        eprintln!("{}", chain(&fault));
        ExitCode::FAILURE
    })
}

fn list(config: &ConfigArgument, output: Output) -> Result<ExitCode, CredentialsFault> {
    let clock = Clock::system();
    let loaded = load(&config.config, &clock);
    let Some(checked) = &loaded.checked else {
        return Err(refused(&loaded.findings));
    };
    let admin = reachable(checked.admin);
    let rows = runtime()?.block_on(asked(admin))?;
    match output {
        Output::Json => println!("{:#}", Value::Array(rows)),
        Output::Text => rows.iter().for_each(|row| println!("{}", line(row))),
    }
    Ok(ExitCode::SUCCESS)
}

/// Where an address that is listened on can be asked.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip().is_unspecified() {
        true => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port()),
        false => address,
    }
}

fn refused(findings: &[Diagnostic]) -> CredentialsFault {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    CredentialsFault::Configuration(lines.join("\n"))
}

async fn asked(admin: SocketAddr) -> Result<Vec<Value>, CredentialsFault> {
    let roots = Arc::new(RootCertStore::empty());
    let client = OutboundClient::new(roots, &Egress::Direct, OutboundBounds::COMMAND)?;
    let request = Request::get(format!("http://{admin}/credentials")).body(Vec::new())?;
    let answer = client.ask(request).await;
    let answer = answer.map_err(|cause| CredentialsFault::Unreachable { admin, cause })?;
    let status = answer.status();
    if status != StatusCode::OK {
        return Err(CredentialsFault::Status { admin, status });
    }
    serde_json::from_slice(answer.body()).map_err(|_| CredentialsFault::Answer(admin))
}

fn validated(config: &ConfigArgument, output: Output) -> Result<ExitCode, CredentialsFault> {
    let clock = Clock::system();
    let Examined { findings, start } = examine(&config.config, &clock);
    let Some(Start { plan, .. }) = start else {
        return Err(refused(&findings));
    };
    let found = runtime()?.block_on(validate(&plan, &clock));
    let found =
        found.map_err(|faults| CredentialsFault::Configuration(lines(&faults).join("\n")))?;
    let rows = found
        .iter()
        .map(|one| serde_json::to_value(one).unwrap_or_default());
    let rows: Vec<Value> = rows.collect();
    match output {
        Output::Json => println!("{:#}", Value::Array(rows)),
        Output::Text => rows.iter().for_each(|row| println!("{}", line(row))),
    }
    let all_good = found.iter().all(Validated::is_good);
    Ok(if all_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, CredentialsFault> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(CredentialsFault::Runtime)
}

/// `checkout-prod/access_token/0  current  taken  1a2b3c4d  version 3  age 61s  uses 12  vault `…``
fn line(row: &Value) -> String {
    let text = |key: &str| row.get(key).and_then(Value::as_str).map(str::to_owned);
    let number = |key: &str, word: &str, unit: &str| {
        let value = row.get(key).and_then(Value::as_i64)?;
        Some(format!("{word} {value}{unit}"))
    };
    let parts = [
        text("name"),
        text("state"),
        text("verdict"),
        text("fingerprint"),
        number("version", "version", ""),
        number("age_seconds", "age", "s"),
        number("confirmed_seconds", "confirmed", "s ago"),
        number("uses", "uses", ""),
        text("source"),
        text("why").map(|why| format!("({why})")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}
