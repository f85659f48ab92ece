//! The texts of a first configuration.
//!
//! What it does: writes configuration and policy from answers, says which files are for secrets, and what to do next. What it
//! refuses to know: where the answers came from. Invariants: every text of a person's is quoted, and what YAML does not print is
//! escaped; each secret has a file of its own, also where a disk does not tell small letters from capital ones.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;

use super::{AppProject, FirstSettings};
use crate::percent;

pub(super) const CONFIG: &str = "lightkeeper.yaml";
pub(super) const POLICY: &str = "policy.yaml";
pub(super) const SECRETS: &str = "secrets";
/// The issuer's name in both files.
const ISSUER: &str = "idp";
/// The key that queries are asked with. No project's file has a `+` and a word.
const READ_KEY: &str = "secrets/api-key+read";
/// Longer names become shorter, so that each disk takes them.
const FILE_NAME_BYTES: usize = 200;

/// As a string of JSON's, which is one of YAML's, too, but for what YAML does not print (YAML 1.2.2 section 5.1) and what YAML 1.1
/// takes for the end of a line: that is escaped.
fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    let mut quoted = String::with_capacity(json.len());
    for letter in json.chars() {
        match u32::from(letter) {
            code @ (0x7f..=0x9f | 0x2028 | 0x2029 | 0xfeff | 0xfffe | 0xffff) => {
                let _ = write!(quoted, "\\u{code:04x}");
            }
            _ => quoted.push(letter),
        }
    }
    quoted
}

/// The projects, each once.
fn projects(answers: &FirstSettings) -> Vec<&str> {
    let mut names: Vec<&str> = answers
        .apps
        .iter()
        .map(|one| one.project.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The file for a project's token, named after it.
fn secret(answers: &FirstSettings, project: &str) -> String {
    const WORDS_BYTES: usize = 64;
    const DIGITS: usize = 16;
    let name = percent::encode(project).to_string();
    let is_twin = |other: &&str| *other != project && other.eq_ignore_ascii_case(project);
    if name.len() <= FILE_NAME_BYTES && !projects(answers).iter().any(is_twin) {
        return format!("{SECRETS}/{name}");
    }
    let digits = HEXLOWER.encode(digest::digest(&digest::SHA256, project.as_bytes()).as_ref());
    let words: String = name.chars().take(WORDS_BYTES).collect();
    let digits: String = digits.chars().take(DIGITS).collect();
    format!("{SECRETS}/{words}+{digits}")
}

/// The files for secrets, relative to the configuration.
pub(super) fn secrets(answers: &FirstSettings) -> Vec<String> {
    let mut files: Vec<String> = match answers.profile.wants_credential {
        true => {
            let projects = projects(answers).into_iter();
            projects.map(|one| secret(answers, one)).collect()
        }
        false => Vec::new(),
    };
    if answers.profile.has_query() {
        files.push(READ_KEY.to_owned());
    }
    files
}

/// `lightkeeper.yaml`.
pub(super) fn config(answers: &FirstSettings) -> String {
    let profile = &answers.profile;
    let mut backend = String::new();
    if !answers.with.is_empty() {
        let pair = |(key, value): &(String, String)| format!("{}: {}", quoted(key), quoted(value));
        let pairs: Vec<String> = answers.with.iter().map(pair).collect();
        let _ = writeln!(backend, "    with: {{ {} }}", pairs.join(", "));
    }
    if let Some(url) = &answers.url {
        let _ = writeln!(backend, "    ingest: {{ url: {} }}", quoted(url));
    }
    let mut vault = String::new();
    if profile.wants_credential {
        vault.push_str("  projects:\n");
        for project in projects(answers) {
            let (name, file) = (quoted(project), quoted(&secret(answers, project)));
            let _ = writeln!(
                vault,
                "    {name}: {{ access_token: [{{ file: {file} }}] }}"
            );
        }
    }
    if profile.has_query() {
        let url = quoted(&profile.addresses.query);
        let _ = writeln!(backend, "    query: {{ url: {url} }}");
        vault.push_str("  # For queries; `write` and `admin` stand beside it.\n");
        let _ = writeln!(vault, "  api_keys: {{ read: {{ file: {READ_KEY} }} }}");
    }
    let vault = match vault.is_empty() {
        true => "# The backend wants no credential.\nvault: {}\n".to_owned(),
        false => format!(
            "# The backend's credentials, each in a file of its own. No client holds one.\nvault:\n{vault}"
        ),
    };
    format!(
        "\
# A first configuration. `lightkeeper check` finds its mistakes; docs/reference/configuration.md has every key.
organization: {organization}

# Where clients connect, in plaintext: for others than those of this machine, add `tls` (docs/certificates.md).
listeners:
  - {{ name: gateway, address: {listen} }}

# Whose tokens are believed. Settings for most providers: docs/providers.md
issuers:
  - name: {ISSUER}
    issuer: {issuer}
    audiences: [{audience}]

# Where telemetry goes. What the backend takes and wants: docs/backends/{name}.md
backends:
  {name}:
    profile: {name}
{backend}
{vault}
# Who may do what.
policy: {POLICY}

# A record of every call.
audit: {{ file: audit.jsonl }}
",
        organization = quoted(&answers.organization),
        listen = quoted(&answers.listen.to_string()),
        issuer = quoted(&answers.issuer),
        audience = quoted(&answers.audience),
        name = profile.name,
    )
}

/// A node of the tree in the making.
#[derive(Default)]
struct PolicyNode<'a> {
    project: Option<&'a str>,
    beneath: BTreeMap<&'a str, PolicyNode<'a>>,
}

/// `policy.yaml`.
pub(super) fn policy(answers: &FirstSettings) -> String {
    let mut top = PolicyNode::default();
    for AppProject { app, project } in &answers.apps {
        let mut node = &mut top;
        for segment in app.as_str().split('/') {
            node = node.beneath.entry(segment).or_default();
        }
        node.project = Some(project);
    }
    let mut tree = String::new();
    let is_many = answers.apps.len() > 1;
    write_tree(&top, 1, is_many, &mut tree);
    let permissions = match answers.profile.has_query() {
        true => "[\"ingest.*\", \"query.*.read\"]",
        false => "[\"ingest.*\"]",
    };
    let binding = |subject: &str| {
        format!(
            "  - name: workloads\n    subjects: [{{ issuer: {ISSUER}, subject: {} }}]\n    permissions: {permissions}\n    \
             apps: [/]\n",
            quoted(subject)
        )
    };
    let bindings = match &answers.subject {
        Some(subject) => format!("bindings:\n{}", binding(subject)),
        None => {
            let example = format!("bindings:\n{}", binding("system:serviceaccount:shop:*"));
            let lines = example.lines().map(|line| format!("# {line}\n"));
            let lines: String = lines.collect();
            format!(
                "# Until there is a binding, all are denied. One may look like this:\n{lines}bindings: []\n"
            )
        }
    };
    let services = match is_many {
        true => "\n# `services`: the `service.name`s that mark an app.",
        false => "",
    };
    format!(
        "\
# The tree of apps, and who may do what where; what nothing allows is denied. docs/policy.md{services}
version: 1
apps:
{tree}
{bindings}"
    )
}

fn write_tree(node: &PolicyNode<'_>, depth: usize, is_many: bool, into: &mut String) {
    for (name, child) in &node.beneath {
        let space = "  ".repeat(depth);
        let _ = writeln!(into, "{space}{}:", quoted(name));
        if let Some(project) = child.project {
            let _ = writeln!(into, "{space}  project: {}", quoted(project));
            if is_many {
                let _ = writeln!(into, "{space}  services: [{}]", quoted(name));
            }
        }
        if !child.beneath.is_empty() {
            let _ = writeln!(into, "{space}  apps:");
            write_tree(child, depth + 2, is_many, into);
        }
    }
}

/// What is printed when the files are there.
pub(super) fn next_steps(folder: &Path, answers: &FirstSettings) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    let (config, policy) = (at(CONFIG), at(POLICY));
    let mut steps = Vec::new();
    let files = secrets(answers);
    if !files.is_empty() {
        let files: String = files
            .iter()
            .map(|file| format!("\n     {}", at(file)))
            .collect();
        let name = &answers.profile.name;
        steps.push(format!(
            "Put the backend's credentials into these files, each alone in its own (docs/backends/{name}.md says which):{files}"
        ));
    }
    if answers.subject.is_none() {
        steps.push(format!(
            "Say in {policy} who may export: until then all are denied."
        ));
    }
    steps.push(format!("lightkeeper check --config {config}"));
    steps.push(format!("lightkeeper serve --config {config}"));
    steps.push(format!(
        "Point clients at http://{}, with their own tokens of {} (docs/clients.md).",
        answers.listen, answers.issuer
    ));
    let steps = steps
        .iter()
        .zip(1..)
        .map(|(step, number)| format!("\n  {number}. {step}"));
    format!(
        "{config} and {policy} are written. Next:{}",
        steps.collect::<String>()
    )
}
