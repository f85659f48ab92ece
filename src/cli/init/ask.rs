//! The answers for a first configuration.
//!
//! What it does: takes what arguments say, and asks a person at a terminal for the rest. What it refuses to know: what becomes of
//! the answers. Invariants: nothing is asked without a terminal at both ends; an answer is read as the argument would be.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;

use super::{AUDIENCE, FirstSettings, InitArguments, LISTEN, parse_app, parse_backend};
use crate::cli::argument::ArgumentFault;
use crate::profiles::Profile;

/// Why there are no answers.
pub(super) enum InitUnanswered {
    /// These arguments are needed, and there is no terminal to ask at.
    Missing(Vec<&'static str>),
    /// The person ended the questions.
    Ended,
}

/// A question, and how its answer is read.
struct Prompt<'a, T> {
    words: &'a str,
    /// What an empty answer means.
    default: Option<&'a str>,
    read: fn(&str) -> Result<T, ArgumentFault>,
}

impl<T> Prompt<'_, T> {
    /// Asks until the answer can be read.
    fn ask(&self) -> Result<T, InitUnanswered> {
        loop {
            let default = self
                .default
                .map_or_else(String::new, |text| format!(" [{text}]"));
            eprint!("{}{default}: ", self.words);
            let _shown = std::io::stderr().flush();
            let mut line = String::new();
            match std::io::stdin().read_line(&mut line) {
                Ok(read) if read > 0 => {}
                _ => return Err(InitUnanswered::Ended),
            }
            let answer = line.trim();
            let answer = if answer.is_empty() {
                self.default.unwrap_or_default()
            } else {
                answer
            };
            match (self.read)(answer) {
                Ok(value) => return Ok(value),
                Err(fault) => eprintln!("{fault}"),
            }
        }
    }
}

pub(super) fn complete(given: &InitArguments) -> Result<FirstSettings, InitUnanswered> {
    let is_asked = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    match is_asked {
        true => asked(given),
        false => told(given),
    }
}

fn told(given: &InitArguments) -> Result<FirstSettings, InitUnanswered> {
    let profile = given.backend.as_deref().and_then(Profile::named);
    let needs_url = profile.as_ref().is_some_and(|profile| needs_url(profile));
    let needs_name = profile.as_ref().is_some_and(|profile| profile.has_query());
    let missing = [
        ("--backend NAME", profile.is_none()),
        ("--url URL", needs_url && given.url.is_none()),
        (
            "--organization NAME",
            needs_name && given.organization.is_none(),
        ),
        ("--issuer URL", given.issuer.is_none()),
        ("--app PATH=PROJECT", given.apps.is_empty()),
    ];
    let missing: Vec<_> = missing
        .into_iter()
        .filter(|(_, is_missing)| *is_missing)
        .collect();
    let (Some(profile), Some(issuer), true) = (profile, given.issuer.clone(), missing.is_empty())
    else {
        return Err(InitUnanswered::Missing(
            missing.into_iter().map(|(words, _)| words).collect(),
        ));
    };
    Ok(answers(given, profile, issuer))
}

fn asked(given: &InitArguments) -> Result<FirstSettings, InitUnanswered> {
    let profile = match given.backend.as_deref().and_then(Profile::named) {
        Some(profile) => profile,
        None => {
            eprintln!("Backends: {}", Profile::NAMES.join(", "));
            let named = Prompt {
                words: "Which backend takes your telemetry?",
                default: None,
                read: parse_backend,
            };
            Profile::named(&named.ask()?).ok_or(InitUnanswered::Ended)?
        }
    };
    let issuer = match &given.issuer {
        Some(issuer) => issuer.clone(),
        None => Prompt {
            words: "Whose tokens are believed? The URL of an OIDC issuer, as `iss` says it",
            default: None,
            read: text,
        }
        .ask()?,
    };
    let mut answers = answers(given, profile, issuer);
    if answers.url.is_none() && needs_url(&answers.profile) {
        let question = Prompt {
            words: "The backend's address, `https://…`",
            default: None,
            read: text,
        };
        answers.url = Some(question.ask()?);
    }
    if given.organization.is_none() && answers.profile.has_query() {
        let question = Prompt {
            words: "The organization's name at the backend",
            default: None,
            read: text,
        };
        answers.organization = question.ask()?;
    }
    if given.audience.is_none() {
        let question = Prompt {
            words: "What `aud` of those tokens says",
            default: Some(AUDIENCE),
            read: text,
        };
        answers.audience = question.ask()?;
    }
    while given.apps.is_empty() {
        let first = answers.apps.is_empty();
        let words = match first {
            true => "An app and its project at the backend, `shop/checkout=checkout-prod`",
            false => "Another one; nothing ends the list",
        };
        let read = match first {
            true => |text: &str| parse_app(text).map(Some),
            false => |text: &str| match text {
                "" => Ok(None),
                text => parse_app(text).map(Some),
            },
        };
        match (Prompt {
            words,
            default: None,
            read,
        })
        .ask()?
        {
            Some(app) => answers.apps.push(app),
            None => break,
        }
    }
    if given.subject.is_none() {
        let question = Prompt {
            words: "Whose tokens may export, by their `sub`, `system:serviceaccount:shop:*`; nothing: none yet",
            default: None,
            read: |text| Ok((!text.is_empty()).then(|| text.to_owned())),
        };
        answers.subject = question.ask()?;
    }
    Ok(answers)
}

/// What arguments say, and defaults.
fn answers(given: &InitArguments, profile: Arc<Profile>, issuer: String) -> FirstSettings {
    let or =
        |given: &Option<String>, default: &str| given.clone().unwrap_or_else(|| default.to_owned());
    FirstSettings {
        with: given.with.clone(),
        url: given.url.clone(),
        issuer,
        audience: or(&given.audience, AUDIENCE),
        apps: given.apps.clone(),
        subject: given.subject.clone(),
        organization: or(&given.organization, "organization"),
        listen: given.listen.unwrap_or(LISTEN),
        profile,
    }
}

/// Whether the profile's own address stands for any.
fn needs_url(profile: &Profile) -> bool {
    profile.addresses.ingest.ends_with(".example")
}

fn text(text: &str) -> Result<String, ArgumentFault> {
    match text.is_empty() {
        true => Err(ArgumentFault::Form("a text that is not empty")),
        false => Ok(text.to_owned()),
    }
}
