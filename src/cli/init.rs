//! `lightkeeper init`: a first configuration.
//!
//! What it does: takes answers from arguments, asks a person for those that are missing, and writes a configuration, a policy and
//! empty files for secrets that `check` accepts once they are filled. What it refuses to know: any secret; it asks for none.
//! Invariants: a file that is there is replaced only with `--force`, and a file for a secret never; without a terminal nothing is
//! asked; what `check` would not accept is not written.

mod ask;
mod files;

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::argument::ArgumentFault;
use super::plan::{load_alone, load_texts};
use crate::apps::AppPath;
use crate::clock::Clock;
use crate::config::is_foreign_name;
use crate::profiles::Profile;
use ask::InitUnanswered;

/// Where clients connect, unless it is said.
const LISTEN: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(
    std::net::Ipv4Addr::LOCALHOST,
    4318,
));

/// What callers' tokens are meant for, unless it is said.
const AUDIENCE: &str = "lightkeeper";

#[derive(Debug, Args)]
pub struct InitArguments {
    /// The backend: a built-in profile.
    #[arg(long, value_name = "NAME", value_parser = parse_backend)]
    pub(crate) backend: Option<String>,
    /// A parameter of the backend's profile, `region=eu1`; may be given more than once.
    #[arg(long = "with", value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub(crate) with: Vec<(String, String)>,
    /// The backend's address; default: the profile's.
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// Whose tokens are believed: an OIDC issuer, as the tokens' `iss` says it.
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: Option<String>,
    /// What the tokens' `aud` says; default: `lightkeeper`.
    #[arg(long)]
    pub(crate) audience: Option<String>,
    /// An app and its project at the backend, `shop/checkout=checkout-prod`; may be given more than once.
    #[arg(long = "app", value_name = "PATH=PROJECT", value_parser = parse_app)]
    pub(crate) apps: Vec<AppProject>,
    /// Whose tokens may export, by their subject: `system:serviceaccount:shop:*`; default: none yet.
    #[arg(long, value_name = "GLOB")]
    pub(crate) subject: Option<String>,
    /// The organization's name at the backend, where the backend has one.
    #[arg(long, value_name = "NAME")]
    pub(crate) organization: Option<String>,
    /// Where clients connect, in plaintext; default: `127.0.0.1:4318`.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// The folder that the files are written into.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) output: PathBuf,
    /// Replace a configuration and a policy that are there.
    #[arg(long)]
    pub(crate) force: bool,
}

/// An app and its project.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AppProject {
    pub app: AppPath,
    pub project: String,
}

/// Every answer.
pub(crate) struct FirstSettings {
    /// Filled in.
    pub profile: Arc<Profile>,
    pub with: Vec<(String, String)>,
    /// `None`: the profile's own.
    pub url: Option<String>,
    pub issuer: String,
    pub audience: String,
    pub apps: Vec<AppProject>,
    pub subject: Option<String>,
    pub organization: String,
    pub listen: SocketAddr,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
enum InitFault {
    #[error("`{}` is there already: `--force` replaces it", .0.display())]
    IsThere(PathBuf),
    #[error("`{}` cannot be written: {}", .path.display(), .source.kind())]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
}

pub(crate) fn init(arguments: &InitArguments) -> ExitCode {
    let answers = match ask::complete(arguments) {
        Ok(answers) => answers,
        Err(InitUnanswered::Missing(missing)) => {
            eprintln!(
                "without a terminal, say it with arguments: {}",
                missing.join(", ")
            );
            return ExitCode::from(2);
        }
        Err(InitUnanswered::Parameters(faults)) => {
            for fault in faults {
                eprintln!("{fault}\n  hint: {}", fault.hint());
            }
            return ExitCode::from(2);
        }
        Err(InitUnanswered::Twice(fault)) => {
            eprintln!("{fault}");
            return ExitCode::from(2);
        }
        Err(InitUnanswered::Ended) => {
            eprintln!("nothing was written");
            return ExitCode::from(2);
        }
    };
    let folder = &arguments.output;
    let (config, clock) = (folder.join(files::CONFIG), Clock::system());
    let texts = [files::config(&answers), files::policy(&answers)];
    let foreseen = load_texts(&config, &texts, &clock);
    if foreseen.has_errors() {
        for finding in &foreseen.findings {
            eprintln!("{finding}");
        }
        eprintln!("nothing was written: these answers would make files with the mistakes above");
        return ExitCode::FAILURE;
    }
    if let Err(fault) = write_all(folder, &answers, texts, arguments.force) {
        eprintln!("{fault}");
        return ExitCode::FAILURE;
    }
    let findings = load_alone(&config, &clock).findings;
    for finding in &findings {
        eprintln!("{finding}");
    }
    println!("{}", files::next_steps(folder, &answers));
    match findings.iter().any(crate::document::Diagnostic::is_error) {
        true => {
            eprintln!("the files are written, and have the mistakes above");
            ExitCode::FAILURE
        }
        false => ExitCode::SUCCESS,
    }
}

fn write_all(
    folder: &Path,
    answers: &FirstSettings,
    [config, policy]: [String; 2],
    force: bool,
) -> Result<(), InitFault> {
    let texts = [
        (folder.join(files::CONFIG), config),
        (folder.join(files::POLICY), policy),
    ];
    if let Some((there, _)) = texts
        .iter()
        .find(|(path, _)| !force && path.symlink_metadata().is_ok())
    {
        return Err(InitFault::IsThere(there.clone()));
    }
    let secrets = folder.join(files::SECRETS);
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&secrets);
    made.map_err(|source| InitFault::Write {
        path: secrets,
        source,
    })?;
    for (path, text) in &texts {
        if force && path.symlink_metadata().is_ok() {
            let removed = std::fs::remove_file(path);
            removed.map_err(|source| InitFault::Write {
                path: path.clone(),
                source,
            })?;
        }
        create(path, text, 0o644)?;
    }
    for secret in files::secrets(answers) {
        match create(&folder.join(secret), "", 0o600) {
            // It may hold a secret already.
            Err(InitFault::Write { source, .. })
                if source.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
    }
    Ok(())
}

fn create(path: &Path, text: &str, mode: u32) -> Result<(), InitFault> {
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(mode).open(path);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| InitFault::Write {
        path: path.to_owned(),
        source,
    })
}

fn parse_backend(text: &str) -> Result<String, ArgumentFault> {
    match Profile::NAMES.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(ArgumentFault::Backend(Profile::NAMES.join(", "))),
    }
}

fn parse_pair(text: &str) -> Result<(String, String), ArgumentFault> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or(ArgumentFault::Form("`region=eu1`"))?;
    Ok((key.to_owned(), value.to_owned()))
}

fn parse_app(text: &str) -> Result<AppProject, ArgumentFault> {
    let fault = ArgumentFault::Form("`shop/checkout=checkout-prod`");
    let Some((app, project)) = text.split_once('=') else {
        return Err(fault);
    };
    let app = super::developer::parse_app(app)?;
    match (app.depth() > 0, is_foreign_name(project)) {
        (false, _) => Err(fault),
        (true, false) => Err(ArgumentFault::Project),
        (true, true) => Ok(AppProject {
            app,
            project: project.to_owned(),
        }),
    }
}
