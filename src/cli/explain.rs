//! `lightkeeper explain`: each stage's result, and the bindings that decided.
//!
//! What it does: takes a made-up call through the same rooms and prints what each says. What it refuses
//! to know: how to forward anything; no credential is lent. Invariants: claims and certificates that are
//! not verified yield facts only, never an identity; the token is not printed.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue, Method, Request, Version};
use serde_json::{Value, json};

use super::{ExplainArguments, Loaded, Output, load};
use crate::accept::{self, Ask, Call, Caller, Connection, IngestAsk, ListenerSettings, Serves};
use crate::apps::Mark;
use crate::authorize::{Assignment, By, Considered, Effect, Policy, Target, Verdict};
use crate::clock::{Clock, UnixMillis};
use crate::document::Diagnostic;
use crate::identify::{Events, Facts, Identifier, Surroundings, certificate_facts_for_explain};
use crate::profiles::{OperationId, Profile, Scope};

/// How long an issuer's keys are waited for.
const KEYS_TIMEOUT: Duration = Duration::from_secs(10);

/// The result of each stage, in the order of the walk.
struct Story {
    stages: Vec<(&'static str, Value)>,
    allowed: bool,
}

/// Stops the walk: the stage that refused has told why.
struct Refused;

pub fn explain(arguments: &ExplainArguments) -> ExitCode {
    let clock = Clock::system();
    let loaded = load(&arguments.config.config, &clock);
    if loaded.has_errors() {
        for finding in loaded.findings.iter().filter(|finding| Diagnostic::is_error(finding)) {
            eprintln!("{finding}");
        }
        return ExitCode::FAILURE;
    }
    if let Err(error) = super::prepare_process() {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(walk(arguments, &loaded, &clock)) {
        Ok(story) => {
            print(&story, arguments.output);
            if story.allowed { ExitCode::SUCCESS } else { ExitCode::from(3) }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

async fn walk(arguments: &ExplainArguments, loaded: &Loaded, clock: &Clock) -> Result<Story, String> {
    let mut story = Story { stages: Vec::new(), allowed: false };
    // A stage that refuses ends the walk; the story so far is the explanation.
    let _ = stages(arguments, loaded, clock, &mut story).await?;
    Ok(story)
}

async fn stages(
    arguments: &ExplainArguments,
    loaded: &Loaded,
    clock: &Clock,
    story: &mut Story,
) -> Result<Result<(), Refused>, String> {
    let (Some(checked), Some(policy)) = (&loaded.checked, &loaded.policy) else {
        return Err("the configuration is not complete".to_owned());
    };
    let profile = &loaded.profile;
    let parts = request(arguments, profile)?;
    let connection = connection();
    let (caller, call) = match accept::read(&parts, &connection, profile, &checked.limits) {
        Ok(read) => read,
        Err(refused) => return Ok(story.refuse("accept", json!({ "reason": refused.fault.reason() }))),
    };
    story.tell("accept", accepted(&call, profile));
    let surroundings = Surroundings {
        clock: clock.clone(),
        token_bytes: checked.limits.token_bytes,
        events: Events::ignored(),
        runtime: tokio::runtime::Handle::current(),
    };
    let identifier = Identifier::new(&checked.issuers, Vec::new(), surroundings, None)
        .map_err(|faults| faults.iter().map(|fault| format!("issuer {fault}")).collect::<Vec<_>>().join("\n"))?
        .with_client_tokens(&checked.client_tokens());
    let facts = match facts(arguments, checked, &identifier, caller).await? {
        Ok(facts) => facts,
        Err(reason) => return Ok(story.refuse("identify", json!({ "reason": reason }))),
    };
    story.tell("identify", identified(&facts, arguments));
    let Some((operation, target)) = asked(&call, profile, &checked.organization) else {
        let reason = match &call.ask {
            Ask::Own(_) => {
                story.allowed = true;
                story.tell("authorize", json!({ "decision": "allow", "reason": "own_page" }));
                return Ok(Ok(()));
            }
            Ask::Unacceptable(fault) => fault.reason(),
            Ask::Query(_) => "organization_unknown",
            Ask::Site(_) | Ask::Tree(_) | Ask::Alert(_) | Ask::Unknown | Ask::Ingest(_) | Ask::Legacy(_) => {
                "path_unknown"
            }
        };
        return Ok(story.refuse("authorize", json!({ "decision": "deny", "reason": reason })));
    };
    if let (false, Ask::Ingest(ask)) = (arguments.attributes.is_empty(), &call.ask) {
        return assigned(arguments, policy, profile, &facts, ask, clock.now(), story);
    }
    if !arguments.attributes.is_empty() {
        return Err("`--attribute` speaks of a resource, and this is no export".to_owned());
    }
    let verdict = policy.evaluate(&facts, operation, target, clock.now());
    story.allowed = verdict.allowed;
    story.tell("authorize", decided(&verdict, policy));
    if !verdict.allowed {
        return Ok(Err(Refused));
    }
    story.tell("route", routed(&verdict, profile, operation));
    Ok(Ok(()))
}

/// The rest of the walk for one resource of an export.
fn assigned(
    arguments: &ExplainArguments,
    policy: &Policy,
    profile: &Profile,
    facts: &Facts,
    ask: &IngestAsk,
    now: UnixMillis,
    story: &mut Story,
) -> Result<Result<(), Refused>, String> {
    let attributes: Vec<(&str, &str)> = arguments
        .attributes
        .iter()
        .map(|given| given.split_once('=').filter(|(name, _)| !name.is_empty()))
        .collect::<Option<_>>()
        .ok_or("an attribute is written as `name=value`")?;
    let mark = |name: &str| {
        let mut values = attributes.iter().filter(|(given, _)| *given == name).map(|(_, value)| *value);
        match (values.next(), values.next()) {
            (None, _) => Mark::Absent,
            (Some(value), None) => Mark::Text(value.into()),
            (Some(_), Some(_)) => Mark::Ambiguous,
        }
    };
    let assignment = policy.explain_assignment(facts, ask.operation, ask.app.as_ref(), &mark, now);
    // The head passes if there is anything that the caller may write to; which app it is, is decided by the resource.
    let mut head = policy.evaluate(facts, ask.operation, Target::App(ask.app.as_ref()), now);
    head.allowed = assignment.reached;
    head.reason = if assignment.reached { None } else { assignment.verdict.reason };
    story.tell("authorize", decided(&head, policy));
    if !assignment.reached {
        return Ok(Err(Refused));
    }
    story.allowed = assignment.verdict.allowed;
    story.tell("assign", told(&assignment));
    if !assignment.verdict.allowed {
        return Ok(Err(Refused));
    }
    story.tell("route", routed(&assignment.verdict, profile, ask.operation));
    Ok(Ok(()))
}

fn told(assignment: &Assignment) -> Value {
    let Assignment { verdict, owner, service, marks, by, .. } = assignment;
    let default_of = match by {
        Some(By::DefaultApp(binding)) => Some(binding.as_str()),
        Some(By::Named | By::Owner | By::OnlyApp) | None => None,
    };
    json!({
        "decision": if verdict.allowed { "allow" } else { "deny" },
        "reason": verdict.reason.map_or("ok", crate::authorize::DenialReason::code),
        "owner": owner.as_ref().map(crate::apps::AppPath::as_str),
        "owner_service": service,
        "owner_match": marks.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
        "app": verdict.app.as_ref().map(crate::apps::AppPath::as_str),
        "by": by.as_ref().map(By::name),
        "default_of": default_of,
        "bindings": verdict.bindings.iter().map(|name| &**name).collect::<Vec<_>>(),
    })
}

fn routed(verdict: &Verdict, profile: &Profile, operation: OperationId) -> Value {
    let credential = profile.operation(operation).credential;
    json!({ "project": verdict.project.as_deref(), "credential": format!("{credential:?}") })
}

/// The head that the arguments describe. What every client of an export sends is filled in.
fn request(arguments: &ExplainArguments, profile: &Profile) -> Result<http::request::Parts, String> {
    let method = Method::from_bytes(arguments.method.as_bytes())
        .map_err(|_| format!("`{}` is not a method: write GET, POST, …", arguments.method))?;
    let mut request = Request::builder()
        .method(method)
        .uri(&arguments.path)
        .body(())
        .map_err(|_| format!("`{}` is not a path: write it as /v1/traces", arguments.path))?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("gateway"));
    for header in &arguments.headers {
        let (name, value) =
            header.split_once(':').ok_or_else(|| format!("`{header}` is not a header: write `name: value`"))?;
        let name: HeaderName = name.trim().parse().map_err(|_| format!("`{name}` is not a header name"))?;
        let value = value.trim().parse().map_err(|_| format!("the value of `{name}` cannot be sent"))?;
        headers.append(name, value);
    }
    let grpc = ["/opentelemetry.proto.", "/lightstep.collector."].iter().any(|word| arguments.path.contains(word));
    if !headers.contains_key(CONTENT_TYPE) && arguments.method == "POST" && !arguments.path.starts_with("/public/") {
        let inner = arguments.path.find("/-/").and_then(|at| arguments.path.get(at + 2..)).unwrap_or(&arguments.path);
        let legacy = profile.legacy(inner).next().and_then(|row| row.types.first());
        let media_type = if grpc { "application/grpc" } else { "application/x-protobuf" };
        let media_type = HeaderValue::from_str(legacy.map_or(media_type, String::as_str));
        headers.extend(media_type.map(|media_type| (CONTENT_TYPE, media_type)));
    }
    if let Some(file) = &arguments.token_file {
        let token = std::fs::read_to_string(file).map_err(|error| format!("`{}`: {error}", file.display()))?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| format!("`{}` holds no token", file.display()))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    if grpc {
        *request.version_mut() = Version::HTTP_2;
    }
    Ok(request.into_parts().0)
}

fn connection() -> Connection {
    let listener = ListenerSettings {
        name: "explain".to_owned(),
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        serves: Serves { ingest: true, query: true, web: true },
        tls: None,
        public_url: None,
    };
    Connection::new(Arc::new(listener), SocketAddr::from(([127, 0, 0, 1], 0)), false, None)
}

/// What is known of the caller, or the reason why nothing is.
async fn facts(
    arguments: &ExplainArguments,
    checked: &crate::config::Checked,
    identifier: &Identifier,
    caller: Caller,
) -> Result<Result<Facts, &'static str>, String> {
    if let Some(file) = &arguments.certificate {
        let chain = accept::certificates(file)?;
        let leaf = chain.first().ok_or("the file holds no certificate")?;
        return Ok(certificate_facts_for_explain(leaf).map_err(|rejection| rejection.reason));
    }
    if let Some(claims) = &arguments.claims {
        let text = match claims.trim_start().starts_with('{') {
            true => claims.clone(),
            false => std::fs::read_to_string(Path::new(claims)).map_err(|error| format!("`{claims}`: {error}"))?,
        };
        let Ok(Value::Object(claims)) = serde_json::from_str(&text) else {
            return Err("the claims are not a JSON object".to_owned());
        };
        let named = claims.get("iss").and_then(Value::as_str);
        let issuer = match &arguments.issuer {
            Some(name) => Some(name.as_str()),
            None => checked
                .issuers
                .iter()
                .find(|issuer| named == Some(&issuer.issuer) || (named.is_none() && checked.issuers.len() == 1))
                .map(|issuer| issuer.name.as_str()),
        };
        let Some(issuer) = issuer else {
            return Err("no configured issuer has the claims' `iss`: name one with --issuer".to_owned());
        };
        return Ok(identifier.identify_claims_for_explain(issuer, claims).map_err(|rejection| rejection.reason));
    }
    identifier.settled(KEYS_TIMEOUT).await;
    let identity = identifier.identify(caller).await;
    Ok(identity.map(|identity| identity.facts().clone()).map_err(|rejection| rejection.reason))
}

fn asked<'a>(call: &'a Call, profile: &Profile, organization: &str) -> Option<(OperationId, Target<'a>)> {
    match &call.ask {
        Ask::Ingest(ask) => Some((ask.operation, Target::App(ask.app.as_ref()))),
        Ask::Legacy(ask) => Some((ask.operation, Target::App(ask.app.as_ref()))),
        Ask::Query(ask) if ask.organization == organization => {
            let target = match profile.operation(ask.operation).scope {
                Scope::Project | Scope::App => Target::Project(ask.project.as_deref()?),
                Scope::Organization => Target::Organization,
                Scope::Projects => Target::Projects,
            };
            Some((ask.operation, target))
        }
        Ask::Query(_)
        | Ask::Own(_)
        | Ask::Site(_)
        | Ask::Tree(_)
        | Ask::Alert(_)
        | Ask::Unknown
        | Ask::Unacceptable(_) => None,
    }
}

fn accepted(call: &Call, profile: &Profile) -> Value {
    let operation = match &call.ask {
        Ask::Ingest(ask) => Some(profile.operation(ask.operation)),
        Ask::Legacy(ask) => Some(profile.operation(ask.operation)),
        Ask::Query(ask) => Some(profile.operation(ask.operation)),
        Ask::Own(_) | Ask::Site(_) | Ask::Tree(_) | Ask::Alert(_) | Ask::Unknown | Ask::Unacceptable(_) => None,
    };
    json!({
        "method": call.method.as_str(),
        "path": call.path,
        "operation": operation.map(|operation| operation.permission.as_str()),
        "sensitive": operation.map(|operation| operation.sensitive),
    })
}

fn identified(facts: &Facts, arguments: &ExplainArguments) -> Value {
    json!({
        "verified": arguments.claims.is_none() && arguments.certificate.is_none(),
        "method": facts.method.name(),
        "issuer": &*facts.issuer,
        "subject": &*facts.subject,
        "groups": facts.groups,
        "spiffe": facts.certificate.as_ref().and_then(|certificate| certificate.spiffe.as_deref()),
    })
}

fn decided(verdict: &Verdict, policy: &Policy) -> Value {
    json!({
        "decision": if verdict.allowed { "allow" } else { "deny" },
        "reason": verdict.reason.map_or("ok", crate::authorize::DenialReason::code),
        "app": verdict.app.as_ref().map(crate::apps::AppPath::as_str),
        "project": verdict.project.as_deref(),
        "bindings": verdict.bindings.iter().map(|name| &**name).collect::<Vec<_>>(),
        "visible_projects": verdict.visible_projects.iter().map(|name| &**name).collect::<Vec<_>>(),
        "considered": verdict.trace.iter().map(considered).collect::<Vec<_>>(),
        "policy_version": policy.version(),
    })
}

fn considered(considered: &Considered) -> Value {
    json!({
        "binding": &*considered.binding,
        "effect": match considered.effect { Effect::Allow => "allow", Effect::Deny => "deny" },
        "subject": considered.subject,
        "holds_permission": considered.permission,
        "reaches_app": considered.place,
    })
}

impl Story {
    fn tell(&mut self, stage: &'static str, what: Value) {
        self.stages.push((stage, what));
    }

    fn refuse(&mut self, stage: &'static str, what: Value) -> Result<(), Refused> {
        self.tell(stage, what);
        Err(Refused)
    }
}

fn print(story: &Story, output: Output) {
    let decision = if story.allowed { "allow" } else { "deny" };
    match output {
        Output::Json => {
            let stages: serde_json::Map<String, Value> =
                story.stages.iter().map(|(stage, what)| ((*stage).to_owned(), what.clone())).collect();
            println!("{:#}", json!({ "decision": decision, "stages": stages }));
        }
        Output::Text => {
            for (stage, what) in &story.stages {
                println!("{stage}");
                for (name, value) in what.as_object().into_iter().flatten() {
                    match value {
                        Value::Null => {}
                        Value::Array(entries) if entries.is_empty() => {}
                        Value::Array(entries) => {
                            println!("  {name}:");
                            entries.iter().for_each(|entry| println!("    - {}", plain(entry)));
                        }
                        value => println!("  {name}: {}", plain(value)),
                    }
                }
            }
            println!("{decision}");
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect::<Vec<_>>().join(" ")
        }
        value => value.to_string(),
    }
}
