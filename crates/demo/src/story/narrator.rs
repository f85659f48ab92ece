//! Tells each call from what really happened, and holds it against what the story says.
//!
//! What it does: makes a call, finds its audit record and what the emulator received, prints all three and
//! notes every difference to the expectation. What it refuses to know: which calls there are.
//! Invariants: nothing is printed that was not read from the answer, the record or the emulator; no
//! credential is printed, only its digest; a difference is never passed over.

use std::future::Future;
use std::time::Duration;

use serde_json::Value;

use super::deliveries::Delivery;
use super::ink::Ink;
use lightkeeper::reason::Reason;
use lightkeeper::secret::Secret;
use testkit::emulator::{self, Captured, Role};
use testkit::{Answer, CallFault, Emulator, World};

/// How long a record is waited for: it is written after the answer.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// One call of the story.
pub struct Step {
    pub title: String,
    /// Who calls, and what they show for it.
    pub caller: String,
    /// What the caller sends, as the caller would say it.
    pub asked: String,
    /// The caller's own credentials: none of them may go upstream.
    pub shown: Vec<String>,
    pub expected: Expected,
}

/// What must come of it.
pub struct Expected {
    pub answer: Status,
    pub reason: Reason,
    pub app: Option<&'static str>,
    pub project: Option<&'static str>,
    pub bindings: &'static [&'static str],
    /// Whether the caller may go on.
    pub permitted: bool,
    pub lent: Lent,
    /// What each project receives of an export.
    pub deliveries: Vec<Delivery>,
    /// The projects that are asked for one question to a part of the tree, in order of name.
    pub asking: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Http(u16),
    Grpc(u32),
}

/// Which credential goes upstream with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lent {
    /// The call goes nowhere.
    Nothing,
    /// This project's access token.
    AccessToken(&'static str),
    /// The organization's API key of a role.
    ApiKey(Role),
}

impl Expected {
    pub fn allowed(
        answer: Status,
        app: &'static str,
        bindings: &'static [&'static str],
        lent: Lent,
    ) -> Self {
        let project = match lent {
            Lent::AccessToken(project) => Some(project),
            Lent::ApiKey(_) | Lent::Nothing => None,
        };
        Expected {
            app: Some(app),
            project,
            bindings,
            permitted: true,
            lent,
            ..Self::refused(answer, Reason::Ok)
        }
    }

    /// What the gateway answers by itself.
    pub fn own(status: u16) -> Self {
        Expected {
            permitted: true,
            ..Self::refused(Status::Http(status), Reason::Ok)
        }
    }

    /// One question that each of these projects is asked.
    pub fn asking(self, asking: &'static [&'static str]) -> Self {
        Expected { asking, ..self }
    }

    /// An export that arrives so; `app` is the one above all that it goes to.
    pub fn delivered(
        answer: Status,
        app: &'static str,
        bindings: &'static [&'static str],
        deliveries: Vec<Delivery>,
    ) -> Self {
        let project = match deliveries.as_slice() {
            [only] => Some(only.project),
            _ => None,
        };
        Expected {
            project,
            deliveries,
            ..Self::allowed(answer, app, bindings, Lent::Nothing)
        }
    }

    pub fn of_project(self, project: &'static str) -> Self {
        Expected {
            project: Some(project),
            ..self
        }
    }

    pub fn refused(answer: Status, reason: Reason) -> Self {
        let (lent, deliveries) = (Lent::Nothing, Vec::new());
        let (app, project, bindings, asking) = (None, None, &[][..], &[][..]);
        Expected {
            answer,
            reason,
            app,
            project,
            bindings,
            permitted: false,
            lent,
            deliveries,
            asking,
        }
    }

    /// Permitted by these bindings to write to this app, and refused for a fault of the caller's.
    pub fn though_allowed(
        self,
        app: &'static str,
        project: &'static str,
        bindings: &'static [&'static str],
    ) -> Self {
        Expected {
            app: Some(app),
            project: Some(project),
            bindings,
            ..self
        }
    }

    /// Of this app and project, whatever the policy says of bindings.
    pub fn at(self, app: &'static str, project: &'static str) -> Self {
        Expected {
            app: Some(app),
            project: Some(project),
            ..self
        }
    }

    pub fn by(self, bindings: &'static [&'static str]) -> Self {
        Expected { bindings, ..self }
    }

    /// Requests that reach the backend.
    fn passing(&self) -> usize {
        match (self.asking.len(), self.deliveries.len()) {
            (0, 0) => usize::from(self.lent != Lent::Nothing),
            (asked, delivered) => asked + delivered,
        }
    }
}

/// Tells the story, and remembers what did not go as told.
pub struct Narrator<'w> {
    pub world: &'w World,
    pub ink: Ink,
    pub step: usize,
    pub permitted: u64,
    pub denied: u64,
    /// Requests that should have reached the backend.
    pub passed: u64,
    pub differences: Vec<String>,
    /// Every credential that a caller showed, for the search at the end.
    pub shown: Vec<String>,
}

impl<'w> Narrator<'w> {
    pub fn new(world: &'w World, ink: Ink) -> Self {
        Narrator {
            world,
            ink,
            step: 0,
            permitted: 0,
            denied: 0,
            passed: 0,
            differences: Vec::new(),
            shown: Vec::new(),
        }
    }

    pub fn chapter(&self, title: &str, words: &str) {
        println!("\n\n{}\n{words}", self.ink.bold(title));
    }

    pub fn headline(&mut self, title: &str) {
        self.step += 1;
        println!("\n{}", self.ink.bold(&format!("{:>2}. {title}", self.step)));
    }

    pub fn line(&self, name: &str, text: &str) {
        println!("   {} {text}", self.ink.dim(&format!("{name:<9}")));
    }

    pub fn differs(&mut self, what: String) {
        println!("   {} {what}", self.ink.bad("NOT AS TOLD:"));
        self.differences.push(format!("step {}: {what}", self.step));
    }

    /// Makes the call and tells it. `None`: it brought no answer, which is noted as a difference.
    pub async fn call(
        &mut self,
        step: Step,
        call: impl Future<Output = Result<Answer, CallFault>>,
    ) -> Option<Answer> {
        self.headline(&step.title);
        self.line("caller", &step.caller);
        self.line("asks", &step.asked);
        self.shown.extend(step.shown.iter().cloned());
        let emulator = &self.world.emulator;
        let (heads, kept, taken) = (
            emulator.heads(),
            emulator.captured().len(),
            emulator.exports().len(),
        );
        let answer = match call.await {
            Ok(answer) => answer,
            Err(fault) => {
                self.differs(fault.to_string());
                return None;
            }
        };
        if step.expected.permitted {
            self.permitted += 1;
        } else {
            self.denied += 1;
        }
        self.passed += step.expected.passing() as u64;
        self.answered(&answer, step.expected.answer);
        let record = self.record_of(&answer).await;
        match &record {
            Some(record) => self.decided(record, &step.expected),
            None => self.differs(
                "there is no audit record with the answer's `lightkeeper-request-id`".to_owned(),
            ),
        }
        let received = emulator.captured().split_off(kept);
        if !step.expected.asking.is_empty() {
            self.gathered(&received, &step);
        } else if step.expected.deliveries.is_empty() {
            self.received(&received, emulator.heads().saturating_sub(heads), &step);
        } else {
            let exports = emulator.exports().split_off(taken);
            self.delivered(&step, &received, &exports, &record.unwrap_or_default());
        }
        Some(answer)
    }

    fn answered(&mut self, answer: &Answer, expected: Status) {
        let found = match expected {
            Status::Http(_) => Status::Http(answer.status),
            // An answer without a gRPC status has none of its numbers.
            Status::Grpc(_) => Status::Grpc(answer.grpc_status().unwrap_or(u32::MAX)),
        };
        if found != expected {
            self.differs(format!(
                "the caller got {found:?}, not {expected:?}: {}",
                answer.text()
            ));
        }
        for secret in credentials() {
            if answer.contains(secret.as_bytes()) {
                self.differs("a credential of the gateway's came back to the caller".to_owned());
            }
        }
    }

    /// The call's record, as soon as it is written.
    async fn record_of(&self, answer: &Answer) -> Option<Value> {
        let id = answer.header("lightkeeper-request-id")?;
        self.record(|record| text(record, "request_id") == id).await
    }

    /// The first record that is as asked, as soon as it is written.
    pub async fn record(&self, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        let found = async {
            loop {
                if let Some(record) = self.world.records().into_iter().find(&wanted) {
                    return record;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(PATIENCE, found).await.ok()
    }

    /// Prints the record's decision and compares it.
    fn decided(&mut self, record: &Value, expected: &Expected) {
        let decision = text(record, "decision");
        let word = match (decision, text(record, "reason")) {
            ("allow", "ok") => self.ink.good("ALLOW"),
            ("allow", _) => self.ink.refused("REFUSE, though the policy allows it:"),
            _ => self.ink.refused("DENY"),
        };
        let status = match record.get("grpc_status").and_then(Value::as_u64) {
            Some(code) => format!("gRPC {code}"),
            None => format!(
                "HTTP {}",
                record
                    .get("status")
                    .and_then(Value::as_u64)
                    .unwrap_or_default()
            ),
        };
        self.line(
            "decided",
            &format!("{word} {}, {status}", self.ink.bold(text(record, "reason"))),
        );
        if let Some(who) = record.get("identity").filter(|who| !who.is_null()) {
            let who = format!(
                "{} ({}, {})",
                text(who, "subject"),
                text(who, "method"),
                text(who, "issuer")
            );
            self.line("identity", &who);
        }
        let bindings: Vec<&str> = record
            .get("bindings")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut where_to = Vec::new();
        for (name, value) in [
            ("operation", text(record, "operation")),
            ("binding", &bindings.join(", ")),
            ("app", text(record, "app")),
            ("project", text(record, "project")),
        ] {
            if !value.is_empty() {
                where_to.push(format!("{name} {value}"));
            }
        }
        if !where_to.is_empty() {
            self.line("matched", &where_to.join(", "));
        }
        let wanted_decision = if expected.permitted { "allow" } else { "deny" };
        for (name, found, wanted) in [
            ("decision", decision, wanted_decision),
            ("reason", text(record, "reason"), expected.reason.code()),
            // Of what was refused the record says where it was meant to go, which is no part of the story.
            (
                "app",
                match expected.app {
                    None if !expected.permitted => "",
                    _ => text(record, "app"),
                },
                expected.app.unwrap_or_default(),
            ),
            (
                "project",
                text(record, "project"),
                expected.project.unwrap_or_default(),
            ),
            (
                "bindings",
                &bindings.join(", "),
                &expected.bindings.join(", "),
            ),
        ] {
            if found != wanted {
                self.differs(format!("the record's {name} is `{found}`, not `{wanted}`"));
            }
        }
    }

    /// Prints what went upstream and compares it.
    fn received(&mut self, received: &[Captured], heads: u64, step: &Step) {
        let [request] = received else {
            let wanted = step.expected.passing();
            if wanted != 0 || heads != 0 || !received.is_empty() {
                self.differs(format!(
                    "the backend received {heads} requests, not {wanted}"
                ));
            } else {
                self.line("backend", "received nothing");
            }
            return;
        };
        self.line(
            "backend",
            &format!("received {} {}", request.method, request.path),
        );
        let mut lent = 0;
        for (name, value) in credential_headers(request) {
            let (told, whose) = whose(&value);
            self.line("", &format!("{name}: {told}"));
            lent += usize::from(whose == Some(step.expected.lent));
        }
        if lent != 1 || credential_headers(request).count() != 1 {
            self.differs(format!(
                "the backend should have got one credential, {:?}",
                step.expected.lent
            ));
        }
        match step
            .shown
            .iter()
            .any(|secret| request.contains(secret.as_bytes()))
        {
            true => self.differs("the caller's own credential went upstream".to_owned()),
            false if step.shown.is_empty() => {}
            false => self.line("", "the caller's own credential: absent from head and body"),
        }
        if step.expected.passing() == 0 {
            self.differs("a refused call reached the backend".to_owned());
        }
    }
}

/// A record's text, or nothing.
pub fn text<'r>(record: &'r Value, name: &str) -> &'r str {
    record.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Every credential of the backend's that the gateway holds.
pub fn credentials() -> Vec<String> {
    let tokens = emulator::PROJECTS
        .iter()
        .map(|project| Emulator::access_token(project));
    let keys = [Role::Viewer, Role::Editor, Role::Admin]
        .into_iter()
        .map(|role| Emulator::api_key(role).to_owned());
    tokens.chain(keys).collect()
}

pub fn credential_headers(request: &Captured) -> impl Iterator<Item = (&'static str, String)> + '_ {
    ["authorization", "lightstep-access-token", "cookie"]
        .into_iter()
        .flat_map(|name| {
            request
                .header(name)
                .into_iter()
                .map(move |value| (name, value))
        })
}

/// Whose credential stands in a header, told without showing it.
pub fn whose(value: &str) -> (String, Option<Lent>) {
    let (scheme, bare) = value
        .split_once(' ')
        .map_or(("", value), |(scheme, bare)| (scheme, bare));
    let mut known = emulator::PROJECTS
        .into_iter()
        .map(|project| {
            (
                Emulator::access_token(project),
                Lent::AccessToken(project),
                format!("{project}'s token"),
            )
        })
        .chain(
            [Role::Viewer, Role::Editor, Role::Admin]
                .into_iter()
                .map(|role| {
                    (
                        Emulator::api_key(role).to_owned(),
                        Lent::ApiKey(role),
                        format!(
                            "the organization's {} API key",
                            format!("{role:?}").to_lowercase()
                        ),
                    )
                }),
        );
    let found = known.find(|(credential, _, _)| credential == bare);
    let digest = fingerprint(bare);
    let blank = if scheme.is_empty() { "" } else { " " };
    match found {
        Some((_, lent, name)) => (
            format!("{scheme}{blank}[{name}, SHA-256 {digest}...]"),
            Some(lent),
        ),
        None => (
            format!("{scheme}{blank}[unknown, SHA-256 {digest}...]"),
            None,
        ),
    }
}

/// The first digits of a credential's digest, as records and logs have them.
pub fn fingerprint(credential: &str) -> String {
    Secret::new(credential.as_bytes().to_vec())
        .map_or_else(|_| "none".to_owned(), |secret| secret.fingerprint())
}
