//! The answers for a first configuration.
//!
//! What it does: takes what arguments say, and asks a person at a terminal for the rest. What it refuses to know: what becomes of
//! the answers. Invariants: nothing is asked without a terminal at both ends; an answer is read as the argument would be.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;

use super::{AUDIENCE, AppProject, FirstSettings, InitArguments, LISTEN, parse_app, parse_backend};
use crate::cli::argument::ArgumentFault;
use crate::profiles::{ParameterFault, Profile, ProfileParameter};

/// Why there are no answers.
pub(super) enum InitUnanswered {
    /// These arguments are needed, and there is no terminal to ask at.
    Missing(Vec<String>),
    /// The profile's parameters cannot be these.
    Parameters(Vec<ParameterFault>),
    /// Two of them speak of one thing.
    Twice(ArgumentFault),
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
    let mut missing: Vec<String> = Vec::new();
    let mut want = |words: &str, is_missing: bool| {
        if is_missing {
            missing.push(words.to_owned());
        }
    };
    want("--backend NAME", profile.is_none());
    if let Some(profile) = &profile {
        for parameter in unsaid(given, profile).filter(|one| one.default.is_none()) {
            want(&format!("--with {}=…", parameter.name), true);
        }
        want("--url URL", is_hint(profile) && given.url.is_none());
        want(
            "--organization NAME",
            profile.has_query() && given.organization.is_none(),
        );
    }
    want("--issuer URL", given.issuer.is_none());
    want("--app PATH=PROJECT", given.apps.is_empty());
    match (profile, given.issuer.clone()) {
        (Some(profile), Some(issuer)) if missing.is_empty() => {
            filled(answers(given, profile, issuer))
        }
        _ => Err(InitUnanswered::Missing(missing)),
    }
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
    let ask = |words: &str, default: Option<&str>| {
        Prompt {
            words,
            default,
            read: text,
        }
        .ask()
    };
    let mut with = Vec::new();
    for parameter in unsaid(given, &profile) {
        let values = match &parameter.values[..] {
            [] => String::new(),
            values => format!(" ({})", values.join(", ")),
        };
        let words = format!("`{}`, {}{values}", parameter.name, parameter.about);
        let value = ask(&words, parameter.default.as_deref())?;
        if parameter.default.as_ref() != Some(&value) {
            with.push((parameter.name.clone(), value));
        }
    }
    let issuer = match &given.issuer {
        Some(issuer) => issuer.clone(),
        None => ask(
            "Whose tokens are believed? The URL of an OIDC issuer, as `iss` says it",
            None,
        )?,
    };
    let mut answers = answers(given, profile, issuer);
    answers.with.extend(with);
    if answers.url.is_none() && is_hint(&answers.profile) {
        answers.url = Some(ask("The backend's address, `https://…`", None)?);
    }
    if given.organization.is_none() && answers.profile.has_query() {
        answers.organization = ask("The organization's name at the backend", None)?;
    }
    if given.audience.is_none() {
        answers.audience = ask("What `aud` of those tokens says", Some(AUDIENCE))?;
    }
    while given.apps.is_empty() {
        let (words, read): (_, fn(&str) -> _) = match answers.apps.is_empty() {
            true => (
                "An app and its project at the backend, `shop/checkout=checkout-prod`",
                |text| parse_app(text).map(Some),
            ),
            false => ("Another one; nothing ends the list", |text| match text {
                "" => Ok(None),
                text => parse_app(text).map(Some),
            }),
        };
        let prompt = Prompt {
            words,
            default: None,
            read,
        };
        match prompt.ask()? {
            Some(app) => match conflict(&answers.apps, &app) {
                Some(fault) => eprintln!("{fault}"),
                None => answers.apps.push(app),
            },
            None => break,
        }
    }
    if given.subject.is_none() {
        let prompt = Prompt {
            words: "Whose tokens may export, by their `sub`, `system:serviceaccount:shop:*`; nothing: none yet",
            default: None,
            read: |text| Ok((!text.is_empty()).then(|| text.to_owned())),
        };
        answers.subject = prompt.ask()?;
    }
    filled(answers)
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

/// What is wrong with an app and its project beside those that are known.
fn conflict(known: &[AppProject], new: &AppProject) -> Option<ArgumentFault> {
    if known.iter().any(|one| one.app == new.app) {
        return Some(ArgumentFault::AppTwice(new.app.as_str().to_owned()));
    }
    let has_home = known.iter().any(|one| one.project == new.project);
    has_home.then(|| ArgumentFault::ProjectTwice(new.project.clone()))
}

/// What is said twice.
fn twice(answers: &FirstSettings) -> Option<ArgumentFault> {
    let mut keys = BTreeSet::new();
    let again = answers.with.iter().find(|(key, _)| !keys.insert(key));
    if let Some((key, _)) = again {
        return Some(ArgumentFault::ParameterTwice(key.clone()));
    }
    let apps = answers.apps.iter().enumerate();
    let earlier = |place| answers.apps.get(..place).unwrap_or_default();
    apps.into_iter()
        .find_map(|(place, app)| conflict(earlier(place), app))
}

/// With the profile's parameters in their places.
fn filled(answers: FirstSettings) -> Result<FirstSettings, InitUnanswered> {
    if let Some(fault) = twice(&answers) {
        return Err(InitUnanswered::Twice(fault));
    }
    let pairs = answers.with.iter();
    let pairs: Vec<(&str, &str)> = pairs.map(|(key, value)| (&**key, &**value)).collect();
    match answers.profile.filled(&pairs) {
        Ok(profile) => Ok(FirstSettings { profile, ..answers }),
        Err(faults) => Err(InitUnanswered::Parameters(faults)),
    }
}

/// The profile's parameters that no argument gives.
fn unsaid<'p>(
    given: &InitArguments,
    profile: &'p Profile,
) -> impl Iterator<Item = &'p ProfileParameter> {
    let said: Vec<String> = given.with.iter().map(|(key, _)| key.clone()).collect();
    let all = profile.parameters().iter();
    all.filter(move |parameter| !said.contains(&parameter.name))
}

/// Whether the profile's own address stands for any.
fn is_hint(profile: &Profile) -> bool {
    profile.addresses.is_hint()
}

fn text(text: &str) -> Result<String, ArgumentFault> {
    match text.is_empty() {
        true => Err(ArgumentFault::Form("a text that is not empty")),
        false => Ok(text.to_owned()),
    }
}
