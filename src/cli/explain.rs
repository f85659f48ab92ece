//! `lightkeeper explain`: each stage's result, and the bindings that decided.
//!
//! What it does: takes a made-up call through the same rooms and prints what each says. What it refuses
//! to know: how to forward anything; no credential is lent. Invariants: claims and certificates that are
//! not verified yield facts only, never an identity; the token is not printed.

mod past;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use http::HeaderValue;
use http::header::AUTHORIZATION;
use http::request::Parts;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use self::past::PastFault;
use super::{ExplainArguments, Loaded, Output, load};
use crate::accept::{Call, Caller, ClientAuthority, RequestKind};
use crate::apps::{BackendId, Glob, Mark};
use crate::causes::chain;
use crate::clock::{Clock, UnixMillis};
use crate::config::{WayOut, upstream_way, ways_out};
use crate::document::{self, Diagnostic, ReadFault};
use crate::explain;
use crate::explain::{DescribedHeadFault, Judged, Marks, Stages};
use crate::identify::{
    AuthorityFault, ClientTrust, Events, Facts, Identifier, IssuerFault, Surroundings,
};
use crate::pem::{self, PemFault};
use crate::profiles::{Host, Profile};
use crate::reason::Reason;
use crate::route;
use crate::telemetry::text;
use crate::transform::proven_mark;

/// How long an issuer's keys are waited for.
const KEYS_TIMEOUT: Duration = Duration::from_secs(10);

/// The result of each stage, in the order of a request.
struct Explanation {
    stages: Stages,
    allowed: bool,
}

pub(crate) fn explain(arguments: &ExplainArguments) -> ExitCode {
    let clock = Clock::system();
    let loaded = load(&arguments.config.config, &clock);
    if loaded.has_errors() {
        for finding in loaded
            .findings
            .iter()
            .filter(|finding| Diagnostic::is_error(finding))
        {
            eprintln!("{finding}");
        }
        return ExitCode::FAILURE;
    }
    if let Err(error) = super::prepare_process() {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(walk(arguments, &loaded, &clock)) {
        Ok(story) => {
            print(&story, arguments.output);
            if story.allowed {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(3)
            }
        }
        Err(error) => {
            eprintln!("{}", chain(&error));
            ExitCode::from(2)
        }
    }
}

/// Why nothing can be explained.
#[derive(Debug, thiserror::Error)]
enum ExplainFault {
    #[error("the configuration is not complete")]
    Incomplete,
    #[error(transparent)]
    Past(#[from] PastFault),
    #[error(transparent)]
    Head(#[from] DescribedHeadFault),
    #[error("{}", issuers(.0))]
    Issuers(Vec<IssuerFault>),
    #[error("`--attribute` speaks of a resource, and this is no export")]
    NoExport,
    #[error("an attribute is written as `name=value`")]
    Attribute,
    #[error("`{}`", .path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: ReadFault,
    },
    #[error("`{}` holds no token", .0.display())]
    NoToken(PathBuf),
    #[error(transparent)]
    Certificate(#[from] PemFault),
    #[error("the claims are not a JSON object")]
    Claims,
    #[error(
        "no configured issuer has the claims' `iss`, or the trust domain of their `sub`: name one with --issuer"
    )]
    NoIssuer,
    #[error(transparent)]
    Authority(#[from] AuthorityFault),
    #[error("no listener asks for client certificates: none has `client_ca`")]
    NoClientAuthority,
}

fn issuers(faults: &[IssuerFault]) -> String {
    let lines = faults
        .iter()
        .map(|fault| format!("issuer {}", chain(fault)));
    lines.collect::<Vec<_>>().join("\n")
}

/// A token, claims or certificates; the gateway itself takes no head as large.
const ARGUMENT_LIMIT_BYTES: u64 = 16 << 20;

/// The text of a file that an argument names, which may be a pipe.
fn text_of(path: &Path) -> Result<String, ExplainFault> {
    let fault = |cause| ExplainFault::File {
        path: path.to_owned(),
        cause,
    };
    let mut content = document::read_any(path, ARGUMENT_LIMIT_BYTES).map_err(fault)?;
    String::from_utf8(std::mem::take(&mut *content))
        .map_err(|_| fault(ReadFault::Unreadable(io::ErrorKind::InvalidData)))
}

async fn walk(
    arguments: &ExplainArguments,
    loaded: &Loaded,
    clock: &Clock,
) -> Result<Explanation, ExplainFault> {
    let (Some(checked), Some(policy)) = (&loaded.checked, &loaded.policy) else {
        return Err(ExplainFault::Incomplete);
    };
    if let Some(record) = &arguments.record {
        return Ok(past::walk(record, &arguments.trail, loaded, clock)?);
    }
    let profile = &loaded.profile;
    let parts = request(arguments, profile)?;
    let mut story = Explanation {
        stages: Vec::new(),
        allowed: false,
    };
    let assertions: Vec<_> = checked
        .issuers
        .iter()
        .filter_map(|issuer| issuer.header.clone())
        .collect();
    let (caller, call) = match explain::read(&parts, profile, &assertions, &checked.limits) {
        Ok(read) => read,
        Err(reason) => return Ok(story.refuse("accept", reason)),
    };
    story
        .stages
        .push(("accept", explain::accepted(&call, profile)));
    let surroundings = Surroundings {
        clock: clock.clone(),
        token_bytes: checked.limits.token_bytes,
        events: Events::ignored(),
        runtime: tokio::runtime::Handle::current(),
    };
    let identifier = Identifier::new(&checked.issuers, Vec::new(), surroundings, None)
        .map_err(ExplainFault::Issuers)?
        .with_aws(&checked.aws, None)
        .map_err(ExplainFault::Issuers)?
        .with_client_tokens(&checked.client_tokens())
        .with_revocations(&loaded.revocations)
        .with_policy_claims(
            checked
                .issuers
                .iter()
                .map(|issuer| (issuer.name.clone(), policy.claims_of(&issuer.name)))
                .collect(),
        );
    let said = identifier.glance_for_explain(&caller);
    let facts = match facts(arguments, checked, &identifier, caller, clock.now()).await? {
        Ok(facts) => facts,
        Err(reason) => return Ok(story.unidentified(reason, said)),
    };
    let mut identified = explain::identified(
        &facts,
        arguments.claims.is_none() && arguments.certificate.is_none(),
    );
    if let (Some(members), Some(authority)) =
        (identified.as_object_mut(), authority_of(&facts, checked))
    {
        members.insert("speaks_for".to_owned(), speaks_for(authority));
    }
    story.stages.push(("identify", identified));
    let has_resource = !arguments.attributes.is_empty();
    let attributes = match &call.kind {
        RequestKind::Ingest(_) if has_resource => attributes(arguments)?,
        _ => Vec::new(),
    };
    let mark = |name: &str| {
        if let Some(proven) = proven_mark(&facts, name) {
            return proven;
        }
        let mut values = attributes
            .iter()
            .filter(|(given, _)| *given == name)
            .map(|(_, value)| *value);
        match (values.next(), values.next()) {
            (None, _) => Mark::Absent,
            (Some(value), None) => Mark::Text(value.into()),
            (Some(_), Some(_)) => Mark::Ambiguous,
        }
    };
    let marks: Option<Marks<'_>> = if attributes.is_empty() {
        None
    } else {
        Some(&mark)
    };
    let judged = explain::judge(
        policy,
        profile,
        &checked.organization,
        &facts,
        &call,
        marks,
        clock.now(),
    );
    if has_resource && matches!(judged, Judged::Decided { .. }) {
        return Err(ExplainFault::NoExport);
    }
    story.allowed = judged.allowed();
    story.stages.extend(judged.stages(policy, profile));
    let backend = judged.backend().unwrap_or(checked.backend_names.queried);
    let target = checked.backends.get(backend.place());
    let untaken = target
        .filter(|_| judged.backend().is_some())
        .and_then(|target| route::untaken(&call.kind, (profile, &target.profile)));
    if let Some(fault) = untaken {
        story.allowed = false;
        story.stages.push((
            "route",
            json!({ "decision": "deny", "reason": fault.reason() }),
        ));
    }
    if let Some(way) = way_out(&call, checked, backend).filter(|_| story.allowed) {
        story.stages.push((
            "egress",
            json!({ "to": way.to, "proxy": way.proxy.as_deref().unwrap_or("none") }),
        ));
    }
    Ok(story)
}

/// Which way an allowed call would leave; `None` for what is answered here.
fn way_out(call: &Call, checked: &crate::config::Checked, backend: BackendId) -> Option<WayOut> {
    let names = &checked.backend_names;
    let upstreams = &checked.backends.get(backend.place())?.upstreams;
    let or_ingest = |given, name| if given { name } else { "ingest" };
    let which = match &call.kind {
        RequestKind::Ingest(_) => "ingest",
        RequestKind::Legacy(ask) => match ask.host {
            Host::Ingest => "ingest",
            Host::Collector => or_ingest(upstreams.collector.is_some(), "collector"),
            Host::Logs => or_ingest(upstreams.logs.is_some(), "logs"),
        },
        RequestKind::Query(_) | RequestKind::Tree(_) => "query",
        _ => return None,
    };
    let what = upstream_way(names.told(backend).as_deref(), which);
    ways_out(checked).into_iter().find(|way| way.what == what)
}

fn attributes(arguments: &ExplainArguments) -> Result<Vec<(&str, &str)>, ExplainFault> {
    let parted = |given: &'_ str| {
        given
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .is_some()
    };
    if !arguments.attributes.iter().all(|given| parted(given)) {
        return Err(ExplainFault::Attribute);
    }
    Ok(arguments
        .attributes
        .iter()
        .filter_map(|given| given.split_once('='))
        .collect())
}

/// The head that the arguments describe.
fn request(arguments: &ExplainArguments, profile: &Profile) -> Result<Parts, ExplainFault> {
    let mut parts = explain::head(
        arguments.method.as_deref().unwrap_or_default(),
        arguments.path.as_deref().unwrap_or_default(),
        &arguments.headers,
        profile,
    )?;
    if let Some(file) = &arguments.token_file {
        let token = text_of(file)?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| ExplainFault::NoToken(file.clone()))?;
        value.set_sensitive(true);
        parts.headers.insert(AUTHORIZATION, value);
    }
    Ok(parts)
}

/// What is known of the caller, or the reason why nothing is.
async fn facts(
    arguments: &ExplainArguments,
    checked: &crate::config::Checked,
    identifier: &Identifier,
    caller: Caller,
    now: UnixMillis,
) -> Result<Result<Facts, Reason>, ExplainFault> {
    if let Some(file) = &arguments.certificate {
        let chain = pem::chain(file)?;
        let holder = by_certificate(&chain, checked, identifier.surroundings(), now).await?;
        let counts = |facts| identifier.revoked_for_explain(&facts).map(|()| facts);
        return Ok(holder.and_then(counts));
    }
    if let Some(claims) = &arguments.claims {
        let text = match claims.trim_start().starts_with('{') {
            true => claims.clone(),
            false => text_of(Path::new(claims))?,
        };
        let Ok(Value::Object(claims)) = serde_json::from_str(&text) else {
            return Err(ExplainFault::Claims);
        };
        let issuer = match &arguments.issuer {
            Some(name) => Some(name.as_str()),
            // Claims that are typed for the only OIDC issuer need not say whose they are.
            None => identifier
                .issuer_for_explain(&claims)
                .or(match checked.issuers.as_slice() {
                    [only] if only.trust_domain().is_none() && !claims.contains_key("iss") => {
                        Some(&only.name)
                    }
                    _ => None,
                }),
        };
        let Some(issuer) = issuer else {
            return Err(ExplainFault::NoIssuer);
        };
        let told = identifier
            .identify_claims_for_explain(issuer, claims)
            .map_err(|rejection| rejection.reason);
        let counts = |facts| identifier.revoked_for_explain(&facts).map(|()| facts);
        return Ok(told.and_then(counts));
    }
    identifier.settled(KEYS_TIMEOUT).await;
    let identity = identifier.identify(caller).await;
    Ok(identity
        .map(|identity| identity.facts().clone())
        .map_err(|rejection| rejection.reason))
}

/// The facts of a certificate's holder, at the first listener that would take it; otherwise the first listener's
/// reason. The chain is judged as in a handshake; that the holder has the key, nothing proves here.
async fn by_certificate(
    chain: &[CertificateDer<'_>],
    checked: &crate::config::Checked,
    surroundings: &Surroundings,
    now: UnixMillis,
) -> Result<Result<Facts, Reason>, ExplainFault> {
    let mut refused = None;
    for clients in checked
        .listeners
        .iter()
        .filter_map(|listener| listener.tls.as_ref()?.clients.as_ref())
    {
        let trust = ClientTrust::read(clients, surroundings, None)?;
        // What came of it tells the chain's judgement.
        let _ = tokio::time::timeout(KEYS_TIMEOUT, trust.settled()).await;
        match trust.facts_for_explain(chain, now) {
            Ok(facts) => return Ok(Ok(facts)),
            Err(rejection) => refused = refused.or(Some(rejection.reason)),
        }
    }
    refused.map(Err).ok_or(ExplainFault::NoClientAuthority)
}

/// The authority that vouches for a caller's certificate.
fn authority_of<'a>(
    facts: &Facts,
    checked: &'a crate::config::Checked,
) -> Option<&'a ClientAuthority> {
    let ca = &facts.certificate.as_ref()?.ca;
    let clients = checked
        .listeners
        .iter()
        .filter_map(|listener| listener.tls.as_ref()?.clients.as_ref());
    clients
        .flat_map(|clients| &clients.authorities)
        .find(|authority| *authority.name == **ca)
}

/// What an authority may speak for, and whether the configuration says so or it was inferred.
fn speaks_for(authority: &ClientAuthority) -> Value {
    json!({
        "trust_domains": authority.trust_domains,
        "dns": authority.dns.iter().map(Glob::as_str).collect::<Vec<_>>(),
        "inferred": authority.short,
    })
}

impl Explanation {
    /// The same of evidence that identifies no caller, with what it says of itself.
    fn unidentified(mut self, reason: Reason, said: Vec<(&'static str, Value)>) -> Self {
        let mut told = serde_json::Map::new();
        told.insert("reason".to_owned(), json!(reason));
        told.insert("meaning".to_owned(), reason.meaning().into());
        if !said.is_empty() {
            let said = said
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value));
            told.insert("presented".to_owned(), Value::Object(said.collect()));
        }
        self.stages.push(("identify", Value::Object(told)));
        self
    }

    /// The stage that refuses is the last; the story so far is the explanation.
    fn refuse(mut self, stage: &'static str, reason: Reason) -> Self {
        self.stages.push((stage, json!({ "reason": reason })));
        self
    }
}

fn print(story: &Explanation, output: Output) {
    let decision = if story.allowed { "allow" } else { "deny" };
    match output {
        Output::Json => {
            let stages: serde_json::Map<String, Value> = story
                .stages
                .iter()
                .map(|(stage, what)| ((*stage).to_owned(), what.clone()))
                .collect();
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
                            entries
                                .iter()
                                .for_each(|entry| println!("    - {}", plain(entry)));
                        }
                        value => println!("  {name}: {}", plain(value)),
                    }
                }
            }
            println!("{decision}");
        }
    }
}

/// Of a text that is printed.
const TEXT_LIMIT_BYTES: usize = 16 << 10;

fn plain(value: &Value) -> String {
    match value {
        // Out of a record that may be forged, too: nothing that a terminal takes for an order.
        Value::String(said) => text::line(said, TEXT_LIMIT_BYTES).into_owned(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| format!("{name}={}", plain(value)))
            .collect::<Vec<_>>()
            .join(" "),
        value => value.to_string(),
    }
}
