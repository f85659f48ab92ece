//! The commands that need the embedded parts: `certs`, `demo`, `emulator`, `issuer`.
//!
//! What it does: starts a part, prints one line with its address, and keeps it until SIGINT or SIGTERM.
//! What it refuses to know: what a part does. Invariant: standard output holds what a script reads,
//! standard error the rest.

use std::fs::OpenOptions;
use std::future::Future;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use clap::{Args, Subcommand};
use lightkeeper::causes::chain;
use lightkeeper::cli::prepare_process;
use lightkeeper::clock::Clock;
use serde_json::{Map, Value, json};
use testkit::emulator::{Captured, Emulator, EmulatorOptions, Role, Witness};
use testkit::issuer::{Issuer, IssuerOptions};
use testkit::server::lock;
use testkit::write_certificates;

use crate::signal::until_signalled;
use crate::story;

/// The commands of the demonstration.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a development CA, server and client certificates into a folder.
    Certs {
        folder: PathBuf,
        /// Replace files that are there.
        #[arg(long)]
        force: bool,
    },
    /// Show the main job on embedded parts: an OIDC issuer, a Lightstep emulator, the gateway, sample callers.
    Demo {
        /// Keep running, and print settings to paste.
        #[arg(long)]
        stay: bool,
    },
    /// Run the embedded Lightstep emulator alone.
    Emulator {
        #[command(flatten)]
        listen: ListenArguments,
        /// Append a JSON line for each request received.
        #[arg(long, value_name = "FILE")]
        captures: Option<PathBuf>,
        /// One more access token, `PROJECT=TOKEN`; may be given more than once.
        #[arg(long = "access-token", value_name = "PROJECT=TOKEN")]
        access_tokens: Vec<String>,
        /// One more API key, `viewer=KEY`, `editor=KEY` or `admin=KEY`; may be given more than once.
        #[arg(long = "api-key", value_name = "ROLE=KEY")]
        api_keys: Vec<String>,
    },
    /// Run the embedded OIDC issuer alone (sample people and workloads; never for production).
    Issuer(ListenArguments),
}

/// Where an embedded part listens. Each caller that reaches it has its tokens, so that only this machine may.
#[derive(Clone, Copy, Debug, Args)]
pub struct ListenArguments {
    /// Loopback only. Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Listen on an address that others can reach: each of them gets tokens for every name.
    #[arg(long)]
    pub i_know_what_i_do: bool,
}

impl ListenArguments {
    /// The address, or why not there.
    pub fn address(self) -> Result<SocketAddr, String> {
        if self.listen.ip().is_loopback() || self.i_know_what_i_do {
            return Ok(self.listen);
        }
        Err(format!(
            "{} is no loopback address: every client that reaches it gets tokens for any person; if that is meant, add --i-know-what-i-do",
            self.listen
        ))
    }
}

/// Runs one of the commands.
pub fn run(command: Command) -> ExitCode {
    match command {
        Command::Certs { folder, force } => certs(&folder, force),
        Command::Demo { stay } => in_runtime(story::demo(stay)),
        Command::Emulator {
            listen,
            captures,
            access_tokens,
            api_keys,
        } => guarded(listen, |address| {
            in_runtime(emulator(
                address,
                captures.as_deref(),
                access_tokens,
                api_keys,
            ))
        }),
        Command::Issuer(listen) => guarded(listen, |address| in_runtime(issuer(address))),
    }
}

fn certs(folder: &Path, force: bool) -> ExitCode {
    match write_certificates(folder, force, &Clock::system()) {
        Ok(files) => {
            files.iter().for_each(|file| println!("{}", file.display()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            if error.ends_with("exists already") {
                eprintln!("  hint: `--force` replaces what is there");
            }
            ExitCode::FAILURE
        }
    }
}

fn in_runtime(part: impl Future<Output = Result<(), String>>) -> ExitCode {
    let run = || {
        prepare_process().map_err(|fault| chain(&fault))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| format!("the runtime cannot be started: {error}"))?;
        runtime.block_on(part)
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what listens, where it may.
fn guarded(listen: ListenArguments, run: impl FnOnce(SocketAddr) -> ExitCode) -> ExitCode {
    match listen.address() {
        Ok(address) => run(address),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

async fn issuer(listen: SocketAddr) -> Result<(), String> {
    let issuer = Issuer::start_with(IssuerOptions {
        address: listen,
        ..IssuerOptions::default()
    })
    .await?;
    println!("issuer {}", issuer.url());
    until_signalled().await
}

async fn emulator(
    listen: SocketAddr,
    captures: Option<&Path>,
    access_tokens: Vec<String>,
    api_keys: Vec<String>,
) -> Result<(), String> {
    let witness = captures.map(appending).transpose()?;
    let emulator = Emulator::start_with(EmulatorOptions {
        address: listen,
        witness,
        ..EmulatorOptions::default()
    })
    .await?;
    for pair in &access_tokens {
        let (project, token) = pair
            .split_once('=')
            .ok_or("`--access-token` is written as PROJECT=TOKEN")?;
        emulator.add_access_token(project, token);
    }
    for pair in &api_keys {
        let (role, key) = pair
            .split_once('=')
            .ok_or("`--api-key` is written as ROLE=KEY")?;
        let role = match role {
            "viewer" => Role::Viewer,
            "editor" => Role::Editor,
            "admin" => Role::Admin,
            _ => {
                return Err(format!(
                    "`{role}` is no role: write viewer, editor or admin"
                ));
            }
        };
        emulator.add_api_key(key, role, None);
    }
    println!("emulator {}", emulator.url());
    until_signalled().await
}

/// Appends one JSON line for each request, written as soon as the request has arrived.
fn appending(path: &Path) -> Result<Witness, String> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    let file = file.map_err(|error| format!("`{}` cannot be written: {error}", path.display()))?;
    let file = Mutex::new(file);
    Ok(Arc::new(move |captured: &Captured| {
        let mut line = capture_line(captured).to_string();
        line.push('\n');
        // The emulator goes on: a reader of the file will miss the line and look here.
        if let Err(error) = lock(&file).write_all(line.as_bytes()) {
            eprintln!("a capture cannot be written: {error}");
        }
    }))
}

/// Values of one name are joined by commas, as RFC 9110 section 5.3 has it.
fn capture_line(captured: &Captured) -> Value {
    let mut headers: Map<String, Value> = Map::new();
    for (name, value) in &captured.headers {
        let value = String::from_utf8_lossy(value);
        let joined = match headers.get(name).and_then(Value::as_str) {
            Some(first) => format!("{first}, {value}"),
            None => value.into_owned(),
        };
        headers.insert(name.clone(), joined.into());
    }
    json!({
        "method": captured.method,
        "path": captured.path,
        "headers": headers,
        "body_base64": base64::engine::general_purpose::STANDARD.encode(&captured.body),
        "project": captured.project,
    })
}
