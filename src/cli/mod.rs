//! The command line: what an operator types, and what is printed.
//!
//! What it does: reads arguments and runs the commands on the gateway's files, and those of developers on a
//! gateway far away. What it refuses to know: the
//! commands that a binary adds (those of the demonstration). Invariants: exit status 0 for yes, 1 for wrong files
//! or a failed start, 2 for wrong arguments, 3 for a denial; nothing secret is printed.

mod argument;
mod audit;
mod aws;
mod check;
mod credentials;
mod developer;
mod explain;
mod help;
mod init;
mod migrate;
mod plan;
mod serve;
mod token;

pub(crate) use plan::Loaded;
pub use plan::load;
pub(crate) use serve::serve;
pub use serve::{KeyLog, prepare_cryptography, prepare_process};
pub(crate) use token::TokenCommand;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Args, FromArgMatches, Parser, Subcommand, ValueEnum};

use audit::AuditCommand;
use credentials::CredentialsCommand;
use developer::{
    AppsArguments, ConnectArguments, GatewayArguments, ListArguments, LoginArguments,
    QueryArguments, ResourceArguments, WhoamiArguments,
};
use init::InitArguments;
use migrate::MigrateCommand;

/// What is typed. `More` are commands that a binary adds to those of the product.
#[derive(Debug, Parser)]
#[command(
    name = "lightkeeper",
    version,
    about = "An identity-aware gateway for telemetry: proves who calls, decides by a policy file which part of the \
             organization's tree of apps they may write to or read from, and puts the project's own token on the request",
    long_about = None,
    help_template = help::template::<More>(),
    after_help = help::first_steps::<More>()
)]
pub struct Arguments<More: Subcommand> {
    #[command(subcommand)]
    pub command: Commands<More>,
}

#[derive(Debug, Subcommand)]
pub enum Commands<More: Subcommand> {
    #[command(flatten)]
    Product(Box<Command>),
    #[command(flatten)]
    More(More),
}

/// No commands but those of the product.
#[derive(Clone, Copy, Debug)]
pub enum NoMore {}

impl FromArgMatches for NoMore {
    fn from_arg_matches(_: &ArgMatches) -> Result<Self, clap::Error> {
        Err(clap::Error::new(clap::error::ErrorKind::InvalidSubcommand))
    }

    fn update_from_arg_matches(&mut self, _: &ArgMatches) -> Result<(), clap::Error> {
        match *self {}
    }
}

impl Subcommand for NoMore {
    fn augment_subcommands(command: clap::Command) -> clap::Command {
        command
    }

    fn augment_subcommands_for_update(command: clap::Command) -> clap::Command {
        command
    }

    fn has_subcommand(_: &str) -> bool {
        false
    }
}

/// The commands of the product.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a first configuration and policy; asks at a terminal for what arguments do not say.
    #[command(
        after_help = "Exit status: 0 written, 1 not written or with mistakes, 2 wrong or missing arguments."
    )]
    Init(InitArguments),
    /// Serve: accept exports and queries, decide, forward. SIGHUP reloads, SIGTERM drains and stops.
    Serve(ConfigArgument),
    /// Find every mistake in the configuration and the policy. Exit status 0 without errors, else 1.
    Check {
        #[command(flatten)]
        config: ConfigArgument,
        /// Leave the files and variables unread that the configuration names, but for the policy: on a machine that does not
        /// have them.
        #[arg(long)]
        skip_files: bool,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Tell, stage by stage, what would become of a call. Exit status 0 for allow, 3 for deny.
    Explain(ExplainArguments),
    /// Tell how far a move from one backend to another is.
    Migrate {
        #[command(subcommand)]
        command: MigrateCommand,
    },
    /// Verify, prove, search and export an audit trail.
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Show the backend's credentials, and try them; never their values.
    Credentials {
        #[command(subcommand)]
        command: CredentialsCommand,
    },
    /// Log in at a gateway, in the browser or with a code.
    #[command(
        after_help = "Then `lightkeeper apps`, or `lightkeeper connect` for Terraform, Grafana and scripts."
    )]
    Login(LoginArguments),
    /// Forget the tokens of a login, and withdraw them at the issuer.
    Logout(GatewayArguments),
    /// Print an access token of one's own, for scripts; `token issue` makes one for a client.
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "curl -H \"Authorization: Bearer $(lightkeeper token)\" https://gateway.example/.lightkeeper/whoami\n\
                      curl -H @<(lightkeeper token --proof GET URL) URL"
    )]
    Token {
        #[command(flatten)]
        gateway: GatewayArguments,
        /// Print the headers for one call to the gateway instead: `Authorization` and, where the token is bound to a key,
        /// `DPoP` with a proof for this method and URL.
        #[arg(long, num_args = 2, value_names = ["METHOD", "URL"])]
        proof: Option<Vec<String>>,
        /// Sign a call to AWS instead, with the credentials that AWS's own tools would find here: what proves an AWS role to a
        /// gateway, for 15 minutes.
        #[arg(long, requires = "audience", conflicts_with_all = ["proof", "gateway"])]
        aws: bool,
        /// With `--aws`: the gateway's audience, `lightkeeper:gateway.acme.example`.
        #[arg(long, requires = "aws")]
        audience: Option<String>,
        /// With `--aws`: the region to sign for; default: that of the environment or of the profile.
        #[arg(long, requires = "aws")]
        region: Option<String>,
        #[command(subcommand)]
        command: Option<TokenCommand>,
    },
    /// Open a local port that adds one's identity, for tools that know a base URL and a key, which it prints.
    Connect(ConnectArguments),
    /// Tell who one is to the gateway.
    Whoami(WhoamiArguments),
    /// Show the tree of apps, with marks: `r` for what can be read, `w` for what can be written.
    Apps(AppsArguments),
    /// Ask all projects of a part of the tree for timeseries.
    #[command(
        after_help = "Exit status: 0 whole, 4 partial (the missing projects are told), 3 denied, 1 failed."
    )]
    Query(QueryArguments),
    /// Show the alerts of a part of the tree.
    Alerts(ListArguments),
    /// Show the services of a part of the tree.
    Services(ListArguments),
    /// Show streams, dashboards, … of a part of the tree.
    List(ResourceArguments),
    /// Print the JSON schema of a file, for editors.
    Schema { file: SchemaOf },
}

#[derive(Debug, Args)]
pub struct ConfigArgument {
    /// The configuration, `lightkeeper.yaml`.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

#[derive(Debug, Args)]
pub struct ExplainArguments {
    #[command(flatten)]
    pub config: ConfigArgument,
    /// A call of the past, by its request id: what its record says, and what the policy of then decides on it.
    #[arg(long, value_name = "REQUEST_ID", group = "evidence", conflicts_with_all = ["method", "path", "headers", "attributes"])]
    pub record: Option<String>,
    /// A file of the audit trail to look for the record in; may be given more than once. Default: `audit.file`, and
    /// the files beside it that were rotated away.
    #[arg(long, value_name = "FILE", requires = "record")]
    pub trail: Vec<PathBuf>,
    /// A file with a token; it is verified as in a call.
    #[arg(long, value_name = "FILE", group = "evidence")]
    pub(crate) token_file: Option<PathBuf>,
    /// A claim set, as JSON or as a file with it; nothing is verified.
    #[arg(long, value_name = "JSON", group = "evidence")]
    pub claims: Option<String>,
    /// A client certificate, PEM, with its intermediates: judged as in a handshake, by the `client_ca` of the first
    /// listener that takes it. Possession of its key is not asked for.
    #[arg(long, value_name = "FILE", group = "evidence")]
    pub certificate: Option<PathBuf>,
    /// Whose claims they are, by name; default: the issuer that their `iss` names, or the only one.
    #[arg(long, requires = "claims")]
    pub issuer: Option<String>,
    /// A request header, `name: value`; may be given more than once.
    #[arg(long = "header", value_name = "HEADER")]
    pub headers: Vec<String>,
    /// A resource attribute of an export, `service.name=checkout`; may be given more than once. Tells which app the resource
    /// would belong to.
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    pub attributes: Vec<String>,
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
    /// `GET`, `POST`, …
    #[arg(required_unless_present = "record")]
    pub method: Option<String>,
    /// `/v1/traces`, `/public/v0.2/acme/projects`, …
    #[arg(required_unless_present = "record")]
    pub path: Option<String>,
}

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SchemaOf {
    Config,
    Policy,
    Profile,
    Revocations,
}

/// Runs a command of the product; gives back one that the binary added.
pub fn run<More: Subcommand>(arguments: Arguments<More>) -> Result<ExitCode, More> {
    let command = match arguments.command {
        Commands::Product(command) => *command,
        Commands::More(more) => return Err(more),
    };
    Ok(match command {
        Command::Init(arguments) => init::init(&arguments),
        Command::Serve(argument) => serve(&argument.config),
        Command::Check {
            config,
            skip_files,
            output,
        } => check::check(&config.config, skip_files, output),
        Command::Explain(arguments) => explain::explain(&arguments),
        Command::Audit { command } => audit::audit(&command),
        Command::Credentials { command } => credentials::credentials(&command),
        Command::Migrate { command } => migrate::migrate(&command),
        Command::Token {
            command: Some(command),
            ..
        } => token::token(&command),
        Command::Token {
            aws: true,
            audience,
            region,
            ..
        } => developer::role_token(audience.as_deref().unwrap_or_default(), region.as_deref()),
        Command::Token {
            gateway,
            proof,
            command: None,
            ..
        } => developer::token(&gateway, proof.as_deref()),
        Command::Login(arguments) => developer::login(&arguments),
        Command::Logout(arguments) => developer::logout(&arguments),
        Command::Connect(arguments) => developer::connect(&arguments),
        Command::Whoami(arguments) => developer::whoami(&arguments),
        Command::Apps(arguments) => developer::apps(&arguments),
        Command::Query(arguments) => developer::query(&arguments),
        Command::Alerts(arguments) => developer::list("alerts", &arguments),
        Command::Services(arguments) => developer::list("services", &arguments),
        Command::List(arguments) => developer::list(&arguments.resource, &arguments.list),
        Command::Schema { file } => {
            let schema = match file {
                SchemaOf::Config => crate::config::config_schema(),
                SchemaOf::Policy => crate::authorize::policy_schema(),
                SchemaOf::Profile => crate::profiles::profile_schema(),
                SchemaOf::Revocations => crate::identify::revocations_schema(),
            };
            println!("{schema:#}");
            ExitCode::SUCCESS
        }
    })
}
