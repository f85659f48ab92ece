//! The developer's commands: log in once, then ask gateways as oneself.
//!
//! What it does: declares their arguments and runs them. What it refuses to know: configuration and policy files; it meets a
//! gateway over the network like any other client. Invariants: results go to standard output and everything else to standard
//! error; exit status 0 for whole answers, 4 for partial ones, 3 for a denial, 1 for any other failure.

mod ask;
mod audience;
mod bound_key;
mod connect;
pub(super) mod failure;
mod held;
mod key;
mod loopback;
mod login;
mod provider;
mod proving;
mod query;
mod session;
mod store;
pub(super) mod text;
mod tree;
pub(super) mod web;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

pub(super) use self::ask::parse_app;
use self::connect::parse_listen;
use self::failure::Failure;
use self::query::{Moment, parse_moment, parse_period, parse_resource};
use self::session::ToolSession;
use super::Output;
use super::aws::AwsSigner;
use crate::apps::AppPath;
use crate::clock::Clock;

/// Which gateway is meant.
#[derive(Debug, Args)]
pub struct GatewayArguments {
    /// The gateway, `https://gateway.example`; default: `LIGHTKEEPER_GATEWAY`, or that of the last login.
    #[arg(long, value_name = "URL", value_parser = web::origin)]
    pub gateway: Option<String>,
    /// Further certificate authorities to trust, PEM; default: those of the login.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct LoginArguments {
    #[command(flatten)]
    pub gateway: GatewayArguments,
    /// Approve on another machine: prints an address and a code (for machines without a browser).
    #[arg(long)]
    pub device: bool,
    /// Print the login page's address without opening it.
    #[arg(long, conflicts_with = "device")]
    pub(crate) no_browser: bool,
    /// Bind the tokens to a key that stays on this machine, in a file of its own: who steals the tokens has nothing. The
    /// issuer must know DPoP (RFC 9449), and the gateway its own name.
    #[arg(long)]
    pub dpop: bool,
    /// Log in without a question where another gateway takes the same token.
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct ConnectArguments {
    #[command(flatten)]
    pub gateway: GatewayArguments,
    /// Where tools on this machine connect; loopback only. Port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9411", value_parser = parse_listen)]
    pub listen: SocketAddr,
    /// Keep the key that tools must present in this file, made on first use; default: a new key with each start.
    #[arg(long, value_name = "FILE", conflicts_with = "open")]
    pub key_file: Option<PathBuf>,
    /// Ask no key of tools: every user of this machine acts as you while it runs.
    #[arg(long)]
    pub open: bool,
    /// Act as an AWS role instead of with a login: with calls to AWS, signed with the credentials that AWS's own tools would find
    /// here, a new one every half minute.
    #[arg(long, requires = "audience")]
    pub aws: bool,
    /// With `--aws`: the gateway's audience, `lightkeeper:gateway.acme.example`.
    #[arg(long, requires = "aws")]
    pub audience: Option<String>,
    /// With `--aws`: the region to sign for; default: that of the environment or of the profile.
    #[arg(long, requires = "aws")]
    pub region: Option<String>,
}

#[derive(Debug, Args)]
pub struct WhoamiArguments {
    #[command(flatten)]
    pub gateway: GatewayArguments,
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct AppsArguments {
    #[command(flatten)]
    pub gateway: GatewayArguments,
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
    /// The part of the tree, `shop/checkout`.
    #[arg(value_name = "PATH", default_value = "/", value_parser = parse_app)]
    pub app: AppPath,
}

/// A question to a part of the tree.
#[derive(Debug, Args)]
pub struct ListArguments {
    #[command(flatten)]
    pub gateway: GatewayArguments,
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
    /// The part of the tree, `shop/checkout`.
    #[arg(value_name = "PATH", default_value = "/", value_parser = parse_app)]
    pub app: AppPath,
}

#[derive(Debug, Args)]
pub struct ResourceArguments {
    /// `streams`, `dashboards`, `metric_dashboards`, `conditions`, …
    #[arg(value_parser = parse_resource)]
    pub resource: String,
    #[command(flatten)]
    pub list: ListArguments,
}

#[derive(Debug, Args)]
pub struct QueryArguments {
    #[command(flatten)]
    pub gateway: GatewayArguments,
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
    /// The beginning: so long before the end (`15m`, `1h`, `2d`), or a time, RFC 3339.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_moment)]
    pub(crate) since: Moment,
    /// The end, likewise; default: now.
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub until: Option<Moment>,
    /// The time from one point to the next.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_period)]
    pub period: String,
    /// The part of the tree, `shop/checkout`; `/` for all of it.
    #[arg(value_name = "PATH", value_parser = parse_app)]
    pub app: AppPath,
    /// The question, in UQL: `spans count | rate | group_by [], sum`.
    #[arg(value_name = "UQL")]
    pub uql: String,
}

pub(crate) fn login(arguments: &LoginArguments) -> ExitCode {
    run(async { login::login(arguments).await.map(|()| 0) })
}

pub(crate) fn logout(arguments: &GatewayArguments) -> ExitCode {
    run(async { login::logout(arguments).await.map(|()| 0) })
}

/// Prints one access token, alone. `proof`: a method and a URL for which two headers are printed instead.
pub(crate) fn token(arguments: &GatewayArguments, proof: Option<&[String]>) -> ExitCode {
    run(async {
        let session = ToolSession::open(arguments)?;
        if let Some([method, url]) = proof {
            for (name, value) in session.shown_for(method, url).await? {
                println!("{name}: {}", text::clean(&value));
            }
            return Ok(0);
        }
        let evidence = session.evidence().await?;
        if evidence.key.is_some() {
            eprintln!(
                "this token is bound to a key, and good with a proof for each call: `lightkeeper token --proof METHOD URL`"
            );
        }
        println!("{}", text::clean(&evidence.token));
        Ok(0)
    })
}

/// Prints a role's signed call to AWS, alone.
pub(crate) fn role_token(audience: &str, region: Option<&str>) -> ExitCode {
    run(async {
        let signer = AwsSigner::open(audience, region).await?;
        println!("{}", signer.token(Clock::system().now()).await?.as_str());
        Ok(0)
    })
}

pub(crate) fn connect(arguments: &ConnectArguments) -> ExitCode {
    run(async {
        let session = match (arguments.aws, &arguments.audience) {
            (true, Some(audience)) => {
                let signer = AwsSigner::open(audience, arguments.region.as_deref()).await?;
                ToolSession::of_role(&arguments.gateway, signer)?
            }
            _ => ToolSession::open(&arguments.gateway)?,
        };
        connect::connect(session, arguments).await.map(|()| 0)
    })
}

pub(crate) fn whoami(arguments: &WhoamiArguments) -> ExitCode {
    run(async {
        tree::whoami(&ToolSession::open(&arguments.gateway)?, arguments.output)
            .await
            .map(|()| 0)
    })
}

pub(crate) fn apps(arguments: &AppsArguments) -> ExitCode {
    run(async {
        tree::apps(
            &ToolSession::open(&arguments.gateway)?,
            &arguments.app,
            arguments.output,
        )
        .await
        .map(|()| 0)
    })
}

/// `resource` is one that the gateway merges: `alerts`, `services`, …
pub(crate) fn list(resource: &str, arguments: &ListArguments) -> ExitCode {
    run(async { query::list(&ToolSession::open(&arguments.gateway)?, resource, arguments).await })
}

pub(crate) fn query(arguments: &QueryArguments) -> ExitCode {
    run(async { query::query(&ToolSession::open(&arguments.gateway)?, arguments).await })
}

/// Runs a command to its exit status.
pub(super) fn run(command: impl Future<Output = Result<u8, Failure>>) -> ExitCode {
    // Another provider of cryptography cannot have been installed before.
    if let Err(error) = super::prepare_cryptography() {
        return Failure::new(error.to_string()).report();
    }
    match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => match runtime.block_on(command) {
            Ok(status) => ExitCode::from(status),
            Err(failure) => failure.report(),
        },
        Err(error) => Failure::new(format!("the runtime cannot be started: {error}")).report(),
    }
}
