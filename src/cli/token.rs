//! `lightkeeper token`: credentials for clients, from the command line.
//!
//! What it does: makes a client token and shows it once, beside the line that makes the gateway know it.
//! What it refuses to know: the configuration; it changes no file. Invariant: the token goes to standard
//! output and nowhere else.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::Output;
use super::argument::ArgumentFault;
use crate::clock::Clock;
use crate::config;
use crate::identify::NewClientToken;
use crate::profiles::Profile;

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a client token, for a client that can hold nothing but a fixed string.
    ///
    /// The token is printed once, alone, on standard output, so that `TOKEN=$(lightkeeper token issue …)` holds it;
    /// it is kept nowhere. The line for `client_tokens:` in lightkeeper.yaml, which holds no more than its digest, is
    /// printed on standard error. No configuration is needed, and none is changed.
    #[command(after_help = after_help())]
    Issue(IssueArguments),
}

fn after_help() -> String {
    let profile = Profile::standard();
    let header = profile
        .access_token_header
        .as_ref()
        .map_or("", |name| name.as_str());
    format!(
        "The client sends it as `{header}`, or as `authorization: Bearer …`. It may do what the binding allows. To revoke it, \
         delete its line."
    )
}

#[derive(Debug, Args)]
pub struct IssueArguments {
    /// Who will hold it, in records and metrics; each name once.
    #[arg(long, value_parser = parse_name)]
    pub(crate) name: String,
    /// The policy's binding that will speak of its holder.
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) binding: String,
    /// It is refused from then on, RFC 3339; default: when its line is deleted.
    #[arg(long, value_name = "TIME", value_parser = parse_until)]
    pub(crate) until: Option<String>,
    /// `json`: token and line in one object on standard output.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

pub(crate) fn token(command: &TokenCommand) -> ExitCode {
    match command {
        TokenCommand::Issue(arguments) => issue(arguments),
    }
}

fn issue(arguments: &IssueArguments) -> ExitCode {
    let Ok(made) = NewClientToken::make() else {
        eprintln!("the system gives no randomness: no token was made");
        return ExitCode::FAILURE;
    };
    let line = line(arguments, &made);
    match arguments.output {
        Output::Json => {
            let told = json!({
                "token": made.expose(),
                "name": arguments.name,
                "hash": made.hash.to_string(),
                "binding": arguments.binding,
                "until": arguments.until,
                "line": line,
            });
            println!("{told:#}");
        }
        Output::Text => {
            println!("{}", made.expose());
            eprintln!(
                "This is shown once. Put this line beneath `client_tokens:` in lightkeeper.yaml:\n\n  {line}\n"
            );
        }
    }
    ExitCode::SUCCESS
}

/// One entry of `client_tokens:`. JSON's strings are YAML's, so that a name like `on` or `1.5` stays text.
fn line(arguments: &IssueArguments, made: &NewClientToken) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let until = arguments
        .until
        .as_ref()
        .map_or_else(String::new, |until| format!(", until: {}", quoted(until)));
    let (name, hash, binding) = (
        quoted(&arguments.name),
        quoted(&made.hash.to_string()),
        quoted(&arguments.binding),
    );
    format!("- {{ name: {name}, hash: {hash}, binding: {binding}{until} }}")
}

fn parse_name(text: &str) -> Result<String, ArgumentFault> {
    config::is_own_name(text)
        .then(|| text.to_owned())
        .ok_or(ArgumentFault::Name)
}

fn parse_until(text: &str) -> Result<String, ArgumentFault> {
    match config::parse_time(text) {
        None => Err(ArgumentFault::Form("`2027-01-01T00:00:00Z`")),
        Some(until) if until <= Clock::system().now().seconds() => Err(ArgumentFault::Over),
        Some(_) => Ok(text.to_owned()),
    }
}
