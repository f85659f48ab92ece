//! Every command line that help and documents show: what it does when it is typed as shown.
//!
//! `COMMANDS` is the one list: where each is run and with which exit status it ends, or why it is not run. A command that
//! is shown and not listed fails the test, and so does one that is listed and shown nowhere. It knows nothing of
//! what commands print.

use std::collections::BTreeSet;
use std::path::Path;

use clap::{CommandFactory as _, Parser as _};

use super::program::run_in;
use super::{first_configuration, repository};
use crate::folder::Folder;

#[derive(Clone, Copy)]
enum How {
    /// From the top of a checkout.
    Checkout(i32),
    /// In a folder with the README's first configuration.
    Trial(i32),
    /// In an empty folder.
    Empty(i32),
    /// Not at all, and why.
    Not(&'static str),
}

type Arguments = lightkeeper::cli::Arguments<::demo::Command>;

use How::{Checkout, Empty, Not, Trial};

const LOGIN: &str = "it asks a gateway, with a login: tests/developer runs it";
const TRAIL: &str = "no gateway has left a trail";
const STAYS: &str =
    "it stays, on a port of its own choice: serve_reloads_and_ends_on_signals runs it";

const REPORTS: &str = "it asks a gateway on a fixed port: gateway::dual asks one";

const COMMANDS: &[(&str, How)] = &[
    (
        "lightkeeper demo",
        Not("the_demo_tells_the_main_job runs it"),
    ),
    ("lightkeeper demo --stay", Not("it stays, on fixed ports")),
    ("lightkeeper certs certs", Empty(0)),
    ("lightkeeper issuer --listen 127.0.0.1:9400", Not(STAYS)),
    (
        "lightkeeper emulator --listen 127.0.0.1:9401 --captures received.jsonl --access-token checkout-prod=my-first-token \
         --access-token payments-prod=my-second-token --api-key viewer=my-read-key",
        Not(STAYS),
    ),
    ("lightkeeper check --config lightkeeper.yaml", Trial(0)),
    ("lightkeeper init", Empty(2)),
    (
        "lightkeeper init --backend otlp --url https://otlp.acme.example --issuer https://idp.acme.example --app \
         shop/checkout=checkout-prod --app shop/payments=payments-prod --subject 'system:serviceaccount:*'",
        Empty(0),
    ),
    (
        "lightkeeper check --skip-files --config deploy/examples/lightkeeper.yaml",
        Checkout(0),
    ),
    (
        "lightkeeper check --skip-files --config deploy/kubernetes/config/lightkeeper.yaml",
        Checkout(0),
    ),
    ("lightkeeper serve --config lightkeeper.yaml", Not(STAYS)),
    (
        "lightkeeper explain --config lightkeeper.yaml --claims '{\"sub\":\"system:serviceaccount:checkout:collector\"}' POST \
         /apps/shop/payments/-/v1/traces",
        Trial(3),
    ),
    (
        "lightkeeper explain --config lightkeeper.yaml --claims '{\"sub\":\"ann@acme.example\",\"groups\":[\"shop-developers\"]}' GET \
         /public/v0.2/acme/projects/payments-prod/streams",
        Trial(0),
    ),
    (
        "lightkeeper explain --config lightkeeper.yaml --token-file billing-token --header 'content-type: \
         application/octet-stream' POST /api/v2/reports",
        Not(
            "it wants the token and the line of the steps before: a_client_token_is_issued_once goes them",
        ),
    ),
    (
        "lightkeeper credentials list --config lightkeeper.yaml",
        Not("asks a gateway that runs"),
    ),
    (
        "lightkeeper credentials validate --config lightkeeper.yaml",
        Not("asks a backend; `gateway::stored` runs it"),
    ),
    (
        "lightkeeper migrate report --config lightkeeper.yaml",
        Not(REPORTS),
    ),
    (
        "lightkeeper migrate report --metrics http://127.0.0.1:9464/metrics",
        Not(REPORTS),
    ),
    (
        "lightkeeper audit key --config lightkeeper.yaml",
        Not("the configuration has no audit key"),
    ),
    (
        "lightkeeper audit verify --config lightkeeper.yaml",
        Trial(1),
    ),
    ("lightkeeper audit export --ocsf audit.jsonl", Not(TRAIL)),
    (
        "lightkeeper audit query --app shop --decision deny --since 2026-11-30T00:00:00Z audit.jsonl",
        Not(TRAIL),
    ),
    ("lightkeeper audit report audit.jsonl", Not(TRAIL)),
    ("lightkeeper schema config", Checkout(0)),
    ("lightkeeper schema policy", Checkout(0)),
    ("lightkeeper schema profile", Checkout(0)),
    ("lightkeeper schema revocations", Checkout(0)),
    (
        "lightkeeper token issue --name billing-php --binding checkout-pods",
        Empty(0),
    ),
    (
        "lightkeeper token issue --name billing-php --binding checkout-pods --until 2027-01-01T00:00:00Z",
        Empty(0),
    ),
    (
        "lightkeeper token issue --name billing-python --binding billing-clients",
        Empty(0),
    ),
    (
        "lightkeeper token issue --name billing-python --binding billing-clients --until 2027-01-01T00:00:00Z",
        Empty(0),
    ),
    ("lightkeeper login", Not(LOGIN)),
    ("lightkeeper login --dpop", Not(LOGIN)),
    (
        "lightkeeper login --gateway https://gateway.example",
        Not(LOGIN),
    ),
    (
        "lightkeeper login --gateway https://telemetry.acme.example",
        Not(LOGIN),
    ),
    ("lightkeeper logout", Not(LOGIN)),
    ("lightkeeper token", Not(LOGIN)),
    ("lightkeeper token --proof GET \"$url\"", Not(LOGIN)),
    ("lightkeeper connect", Not(LOGIN)),
    ("lightkeeper connect --listen 127.0.0.1:9411", Not(LOGIN)),
    (
        "lightkeeper connect --aws --audience lightkeeper:gateway.acme.example --gateway https://gateway --key-file /run/lightkeeper/key",
        Not("it serves until it is stopped, with a role of AWS's"),
    ),
    ("lightkeeper apps", Not(LOGIN)),
    ("lightkeeper alerts shop", Not(LOGIN)),
    (
        "lightkeeper query shop 'spans count | rate | group_by [\"service\"], sum' --since 2h",
        Not(LOGIN),
    ),
    (
        "lightkeeper query shop/checkout 'spans count | rate | group_by [\"service\"], sum' --since 2h",
        Not(LOGIN),
    ),
];

/// Documents whose commands are tried; examples show theirs in comments.
fn documents() -> Vec<(String, String)> {
    let root = repository();
    let read = |name: String| {
        (
            name.clone(),
            std::fs::read_to_string(root.join(&name)).unwrap(),
        )
    };
    let mut names: Vec<String> = [
        "README.md",
        "SECURITY.md",
        "certs/README.md",
        "deploy/kubernetes/README.md",
    ]
    .map(str::to_owned)
    .into();
    let mut folders = vec!["docs".to_owned(), "deploy/examples".to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{folder}/{}", entry.file_name().display());
            if entry.path().is_dir() {
                folders.push(name);
            } else if name.ends_with(".md") || name.ends_with(".yaml") {
                names.push(name);
            }
        }
    }
    names.into_iter().map(read).collect()
}

/// The help page of every command.
fn help() -> Vec<(String, String)> {
    fn pages(command: &mut clap::Command, name: &str, found: &mut Vec<(String, String)>) {
        found.push((
            format!("{name} --help"),
            command.render_long_help().to_string(),
        ));
        for under in command.get_subcommands_mut() {
            let name = format!("{name} {}", under.get_name());
            pages(under, &name, found);
        }
    }
    let mut found = Vec::new();
    pages(&mut Arguments::command(), "lightkeeper", &mut found);
    found
}

/// The pieces of a document that are code: spans, and the lines of blocks, those that end in `\` joined with the next.
fn code(name: &str, text: &str) -> Vec<String> {
    let is_example = name.ends_with(".yaml");
    let (mut code, mut prose) = (Vec::new(), String::new());
    let (mut block, mut begun) = (false, String::new());
    for line in text.lines() {
        let line = line.trim_start();
        if line.starts_with("```") {
            block = !block;
        } else if block {
            match line.strip_suffix('\\') {
                Some(part) => begun.push_str(part),
                None => code.push(std::mem::take(&mut begun) + line),
            }
        } else if !is_example {
            prose.push_str(line);
            prose.push(' ');
        } else if let Some(comment) = line.split_once('#').map(|(_, comment)| comment) {
            prose.push_str(comment.trim_start_matches('#').trim_start());
            prose.push(' ');
        }
    }
    code.extend(prose.split('`').skip(1).step_by(2).map(str::to_owned));
    code
}

/// The words of a shell's line from here to where the command ends; `None`: a quote is not closed.
fn words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in text.chars() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (Some(_), letter) => word.get_or_insert_default().push(letter),
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(letter);
            }
            (None, ' ') => words.extend(word.take()),
            (None, '#') if word.is_none() => break,
            (None, '&' | '|' | ')' | ';') => break,
            (None, '>') => {
                // `2> file`: the number belongs to the redirection.
                if word.as_deref() == Some("2") {
                    word = None;
                }
                break;
            }
            (None, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// The commands of our own within a piece of code. What stands for something else (`FILE`, `…`, `<PATH>`) makes it a form.
fn commands(code: &str) -> Vec<Vec<String>> {
    let code = match code
        .split_once("cargo run ")
        .and_then(|(_, rest)| rest.split_once("-- "))
    {
        Some((_, arguments)) => format!("lightkeeper {arguments}"),
        None => code.to_owned(),
    };
    let known: Vec<String> = Arguments::command()
        .get_subcommands()
        .map(|one| one.get_name().to_owned())
        .collect();
    let starts = code.match_indices("lightkeeper ").map(|(at, _)| at);
    let whole = starts.filter(|at| *at == 0 || code[..*at].ends_with([' ', '(', '/']));
    let found = whole.filter_map(|at| words(&code[at..]));
    let named = found.filter(|words| words.get(1).is_some_and(|name| known.contains(name)));
    let is_form = |word: &String| {
        let letters = word.trim_matches(|letter: char| !letter.is_ascii_alphabetic());
        word.contains(['…', '<', '[']) && !word.contains(' ') && !word.starts_with('{')
            || letters.len() > 1
                && !["GET", "POST"].contains(&letters)
                && letters.bytes().all(|byte| byte.is_ascii_uppercase())
    };
    named.filter(|words| !words.iter().any(is_form)).collect()
}

/// A command's name alone, in prose, where it needs more: the command is meant, not a line to type.
fn is_mention(words: &[String]) -> bool {
    let mut command = Arguments::command();
    let is_name = words
        .iter()
        .skip(1)
        .all(|word| match command.find_subcommand(word) {
            Some(under) => {
                command = under.clone();
                true
            }
            None => false,
        });
    is_name && Arguments::try_parse_from(words).is_err()
}

/// Scenario: a newcomer types every command that help and documents show. Guarantees: each has arguments that the program
/// knows, and ends as the list says; the list has all of them and no other.
#[test]
fn what_is_shown_can_be_typed() {
    let trial = Folder::new();
    first_configuration(trial.path());
    let listed: Vec<(Vec<String>, How)> = COMMANDS
        .iter()
        .map(|(line, how)| (words(line).unwrap(), *how))
        .collect();
    let mut shown: BTreeSet<Vec<String>> = BTreeSet::new();
    let mut wrong: Vec<String> = Vec::new();
    for (name, text) in documents().into_iter().chain(help()) {
        for words in code(&name, &text)
            .iter()
            .flat_map(|code| commands(code))
            .filter(|words| !is_mention(words))
        {
            if !listed.iter().any(|(known, _)| *known == words) {
                wrong.push(format!("{name}: `{}` is not listed", words.join(" ")));
            }
            shown.insert(words);
        }
    }
    for (words, how) in &listed {
        let line = words.join(" ");
        if !shown.contains(words) {
            wrong.push(format!("`{line}` is shown nowhere"));
        }
        if let Err(error) = Arguments::try_parse_from(words) {
            wrong.push(format!("`{line}`: {error}"));
        }
        let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let run = |folder: &Path, expected: i32| {
            let ended = run_in(folder, &arguments);
            (ended.status != expected)
                .then(|| format!("`{line}`: {}\n{}{}", ended.status, ended.out, ended.err))
        };
        wrong.extend(match *how {
            Checkout(status) => run(&repository(), status),
            Trial(status) => run(trial.path(), status),
            Empty(status) => run(Folder::new().path(), status),
            Not(reason) => reason.is_empty().then(|| format!("`{line}`: no reason")),
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(shown.len() > 20, "{shown:?}");
}

/// Scenario: the ways in which documents show commands. Guarantees: each is found as it would be typed; forms and names are no
/// commands.
#[test]
fn commands_are_found_as_they_are_shown() {
    for (name, text, expected) in [
        (
            "a.md",
            "Run `lightkeeper schema config` and `lightkeeper\nschema policy`.",
            vec!["schema config", "schema policy"],
        ),
        (
            "a.md",
            "```sh\nlightkeeper serve --config a \\\n  --output json 2> log & # now\n```",
            vec!["serve --config a --output json"],
        ),
        (
            "a.md",
            "```sh\nT=$(lightkeeper token)   # once\ncurl \"$(lightkeeper token)\"\n```",
            vec!["token", "token"],
        ),
        (
            "a.md",
            "```sh\ncargo run --release -- demo --stay\n```",
            vec!["demo --stay"],
        ),
        (
            "a.md",
            "`lightkeeper explain --token-file FILE`, `lightkeeper token issue …`, `lightkeeper.yaml`",
            vec![],
        ),
        ("a.md", "lightkeeper demo, in prose", vec![]),
        (
            "a.yaml",
            "# Type `lightkeeper certs\n# certs`.\nkey: `lightkeeper demo`",
            vec!["certs certs"],
        ),
    ] {
        let code = code(name, text);
        let found = code
            .iter()
            .flat_map(|code| commands(code))
            .map(|words| words[1..].join(" "));
        assert_eq!(found.collect::<Vec<_>>(), expected, "{text}");
    }
    assert!(is_mention(&[
        "lightkeeper".to_owned(),
        "explain".to_owned()
    ]));
    assert!(!is_mention(&["lightkeeper".to_owned(), "demo".to_owned()]));
}
