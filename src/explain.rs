//! What would become of a call: the same rooms, without a caller's evidence and without a backend.
//!
//! What it does: makes a head of what a person typed, has it read and judged on facts, and tells each stage. What it refuses
//! to know: whether the facts were proven, and who may read the story. Invariants: pure; nothing of it is a power, no
//! credential is lent; what it finds is what the gateway would decide.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Version};
use serde_json::{Value, json};

use crate::accept::{
    self, AssertionHeader, Call, Caller, Connection, ListenerSettings, RequestKind, Serves,
    TreeRequest,
};
use crate::apps::{AlsoTerm, AppPath, BackendId, Mark};
use crate::authorize::{Assignment, By, Considered, Effect, Policy, Target, Verdict};
use crate::clock::UnixMillis;
use crate::federate;
use crate::federate::Origin;
use crate::identify::Facts;
use crate::limits::Limits;
use crate::profiles::{Credential, OperationId, Profile, Scope, TreeSource};
use crate::reason::Reason;

/// What a resource says under an attribute's name.
pub type Marks<'m> = &'m dyn Fn(&str) -> Mark<'m>;

/// The result of each stage, in the order of a request: the stage's name, and what it says.
pub(crate) type Stages = Vec<(&'static str, Value)>;

/// What becomes of everybody else's evidence at an alert inlet.
pub(crate) const INLET_REASON: Reason = Reason::WebhookUnknown;
/// What counts there.
pub(crate) const INLET_EVIDENCE: &str =
    "the app's webhook secret, as `Authorization: Bearer`; who calls does not count";

/// What was found.
#[derive(Debug)]
pub(crate) enum Judged {
    /// A page of the gateway's own, which every identified caller may see.
    OwnPage,
    /// No operation, for this reason.
    Nothing(Reason),
    Decided {
        operation: OperationId,
        verdict: Verdict,
    },
    /// A question to a part of the tree: what each of its projects would be asked. Those that say no are left out of an
    /// answer.
    Parts(Vec<(OperationId, Verdict)>),
    /// An alert inlet: an app's webhook secret is the only evidence, and no person or workload has one.
    Inlet,
    /// An export of one resource: the head's verdict, then the resource's.
    Assigned {
        operation: OperationId,
        head: Verdict,
        assignment: Box<Assignment>,
    },
}

/// Why what a person describes is no head.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescribedHeadFault {
    #[error("`{0}` is not a method: write GET, POST, …")]
    Method(String),
    #[error("`{0}` is not a path: write it as /v1/traces")]
    Path(String),
    #[error("`{0}` is not a header: write `name: value`")]
    Header(String),
    #[error("`{0}` is not a header name")]
    Name(String),
    #[error("the value of `{0}` cannot be sent")]
    Value(HeaderName),
}

/// The head that a person describes. What every client of an export sends is filled in.
pub fn head(
    method: &str,
    path: &str,
    headers: &[String],
    profile: &Profile,
) -> Result<Parts, DescribedHeadFault> {
    let parsed = Method::from_bytes(method.as_bytes())
        .map_err(|_| DescribedHeadFault::Method(method.to_owned()))?;
    let mut request = Request::builder()
        .method(parsed)
        .uri(path)
        .body(())
        .map_err(|_| DescribedHeadFault::Path(path.to_owned()))?;
    let into = request.headers_mut();
    into.insert(HOST, HeaderValue::from_static("gateway"));
    for header in headers {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| DescribedHeadFault::Header(header.clone()))?;
        let name: HeaderName = name
            .trim()
            .parse()
            .map_err(|_| DescribedHeadFault::Name(name.to_owned()))?;
        let value = value
            .trim()
            .parse()
            .map_err(|_| DescribedHeadFault::Value(name.clone()))?;
        into.append(name, value);
    }
    let grpc = profile.is_grpc_method(addressed(path));
    if !into.contains_key(CONTENT_TYPE) && method == "POST" && !is_query(path, profile) {
        let legacy = profile
            .legacy(addressed(path))
            .next()
            .and_then(|row| row.types.first());
        let media_type = if grpc {
            "application/grpc"
        } else {
            "application/x-protobuf"
        };
        let media_type = HeaderValue::from_str(legacy.map_or(media_type, String::as_str));
        into.extend(media_type.map(|media_type| (CONTENT_TYPE, media_type)));
    }
    if grpc {
        *request.version_mut() = Version::HTTP_2;
    }
    Ok(request.into_parts().0)
}

fn is_query(path: &str, profile: &Profile) -> bool {
    profile.has_query() && path.split('/').nth(1) == Some(profile.query_root())
}

/// What stands behind an app's address.
pub fn addressed(path: &str) -> &str {
    path.find("/-/")
        .and_then(|at| path.get(at + 2..))
        .unwrap_or(path)
}

/// Reads the head as on a listener that serves everything. The error is a reason code.
pub fn read(
    parts: &Parts,
    profile: &Profile,
    assertions: &[AssertionHeader],
    limits: &Limits,
) -> Result<(Caller, Call), Reason> {
    let listener = ListenerSettings {
        name: "explain".to_owned(),
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        serves: Serves::ALL,
        tls: None,
        public_url: None,
        front: Default::default(),
    };
    let connection = Connection::new(
        Arc::new(listener),
        SocketAddr::from(([127, 0, 0, 1], 0)),
        false,
        None,
    );
    accept::read(parts, &connection, profile, assertions, limits)
        .map_err(|refused| refused.fault.reason())
}

/// Judges a call. `marks`: what the only resource of an export says.
pub(crate) fn judge(
    policy: &Policy,
    profile: &Profile,
    organization: &str,
    facts: &Facts,
    call: &Call,
    marks: Option<Marks<'_>>,
    now: UnixMillis,
) -> Judged {
    let Some((operation, target)) = asked(call, profile, organization) else {
        return match &call.kind {
            RequestKind::Own(_) | RequestKind::Site(_) => Judged::OwnPage,
            RequestKind::Unacceptable(fault) => Judged::Nothing(fault.reason()),
            RequestKind::Query(_) => Judged::Nothing(Reason::OrganizationUnknown),
            RequestKind::Tree(ask) => parts(policy, profile, facts, &call.method, ask, now),
            RequestKind::Alert(_) => Judged::Inlet,
            RequestKind::Unknown | RequestKind::Ingest(_) | RequestKind::Legacy(_) => {
                Judged::Nothing(Reason::PathUnknown)
            }
        };
    };
    let (Some(marks), Target::App(app)) = (marks, target) else {
        return Judged::Decided {
            operation,
            verdict: policy.evaluate(facts, operation, target, now),
        };
    };
    let assignment = policy.explain_assignment(facts, operation, app, marks, now);
    // The head passes if there is anything that the caller may write to; which app it is, is decided by the resource.
    let mut head = policy.evaluate(facts, operation, Target::App(app), now);
    head.allowed = assignment.reached;
    head.reason = if assignment.reached {
        None
    } else {
        assignment.verdict.reason
    };
    Judged::Assigned {
        operation,
        head,
        assignment: Box::new(assignment),
    }
}

impl Judged {
    pub(crate) fn allowed(&self) -> bool {
        match self {
            Judged::OwnPage => true,
            Judged::Nothing(_) | Judged::Inlet => false,
            Judged::Parts(parts) => parts.iter().any(|(_, verdict)| verdict.allowed),
            Judged::Decided { verdict, .. } => verdict.allowed,
            Judged::Assigned { assignment, .. } => assignment.reached && assignment.verdict.allowed,
        }
    }

    /// The bindings that decided.
    pub(crate) fn bindings(&self) -> Vec<String> {
        let of = |verdict: &Verdict| -> Vec<String> {
            let names = verdict.bindings.iter();
            names.map(|name| name.to_string()).collect()
        };
        match self {
            Judged::OwnPage | Judged::Nothing(_) | Judged::Inlet => Vec::new(),
            Judged::Parts(parts) => {
                let allowed = parts.iter().filter(|(_, verdict)| verdict.allowed);
                allowed.flat_map(|(_, verdict)| of(verdict)).collect()
            }
            Judged::Decided { verdict, .. } => of(verdict),
            Judged::Assigned { assignment, .. } => of(&assignment.verdict),
        }
    }

    /// Why it is denied, if it is.
    pub(crate) fn denial(&self) -> Option<Reason> {
        match self {
            Judged::OwnPage => None,
            Judged::Nothing(reason) => Some(*reason),
            Judged::Inlet => Some(INLET_REASON),
            Judged::Parts(_) if self.allowed() => None,
            Judged::Parts(parts) => parts.first().and_then(|(_, verdict)| verdict.reason),
            Judged::Decided { verdict, .. } => verdict.reason,
            Judged::Assigned {
                head, assignment, ..
            } => head.reason.or(assignment.verdict.reason),
        }
    }

    /// The backend that it would go to, if it is one call to one of them.
    pub(crate) fn backend(&self) -> Option<BackendId> {
        match self {
            Judged::Decided { verdict, .. } if verdict.allowed => Some(verdict.backend),
            Judged::Assigned { assignment, .. } if self.allowed() => {
                Some(assignment.verdict.backend)
            }
            _ => None,
        }
    }

    /// The stages after the caller was identified, for a person who may read the whole policy.
    pub(crate) fn stages(&self, policy: &Policy, profile: &Profile) -> Stages {
        match self {
            Judged::OwnPage => vec![(
                "authorize",
                json!({ "decision": "allow", "reason": Reason::OwnPage }),
            )],
            Judged::Nothing(reason) => {
                vec![("authorize", json!({ "decision": "deny", "reason": reason }))]
            }
            Judged::Inlet => {
                vec![(
                    "authorize",
                    json!({ "decision": "deny", "reason": INLET_REASON, "evidence": INLET_EVIDENCE }),
                )]
            }
            Judged::Parts(parts) => {
                let reason = parts
                    .first()
                    .and_then(|(_, verdict)| verdict.reason)
                    .unwrap_or(Reason::Ok);
                let (decision, reason) = if self.allowed() {
                    ("allow", Reason::Ok)
                } else {
                    ("deny", reason)
                };
                let version = policy.version();
                let parts: Vec<Value> = parts
                    .iter()
                    .map(|(operation, verdict)| part(*operation, verdict, policy, profile))
                    .collect();
                vec![
                    (
                        "authorize",
                        json!({ "decision": decision, "reason": reason, "policy_version": version }),
                    ),
                    ("federate", json!({ "projects": parts })),
                ]
            }
            Judged::Decided { operation, verdict } => {
                let mut stages = vec![("authorize", decided(verdict, policy))];
                if verdict.allowed {
                    stages.push(("route", routed(verdict, policy, profile, *operation)));
                }
                stages
            }
            Judged::Assigned {
                operation,
                head,
                assignment,
            } => {
                let mut stages = vec![("authorize", decided(head, policy))];
                if assignment.reached {
                    stages.push(("assign", told(assignment)));
                }
                if self.allowed() {
                    let verdict = &assignment.verdict;
                    stages.push(("route", routed(verdict, policy, profile, *operation)));
                }
                stages
            }
        }
    }
}

/// What a question to a part of the tree comes to.
fn parts(
    policy: &Policy,
    profile: &Profile,
    facts: &Facts,
    method: &Method,
    ask: &TreeRequest,
    now: UnixMillis,
) -> Judged {
    let Some(resource) = profile.tree_resource(method, &ask.resource) else {
        return Judged::Nothing(Reason::PathUnknown);
    };
    let origins = match federate::origins(policy.tree(), &ask.app) {
        Ok(origins) if origins.is_empty() => return Judged::Nothing(Reason::AppWithoutProject),
        Ok(origins) => origins,
        Err(reason) => return Judged::Nothing(reason),
    };
    let questions = origins
        .iter()
        .flat_map(|origin| resource.sources.iter().map(move |source| (origin, source)));
    let judge = |(origin, source): (&Origin, &TreeSource)| {
        (
            source.operation,
            policy.evaluate(
                facts,
                source.operation,
                Target::Project(&origin.project),
                now,
            ),
        )
    };
    Judged::Parts(questions.map(judge).collect())
}

fn part(operation: OperationId, verdict: &Verdict, policy: &Policy, profile: &Profile) -> Value {
    let told = json!({
        "project": verdict.project.as_deref(),
        "app": verdict.app.as_ref().map(AppPath::as_str),
        "permission": profile.operation(operation).permission,
        "decision": if verdict.allowed { "allow" } else { "deny" },
        "reason": verdict.reason.unwrap_or(Reason::Ok),
        "bindings": verdict.bindings.iter().map(|name| &**name).collect::<Vec<_>>(),
    });
    at_backend(told, verdict, policy)
}

/// Names the backend, where there are several.
fn at_backend(mut told: Value, verdict: &Verdict, policy: &Policy) -> Value {
    if let Some(backend) = policy.backends().told(verdict.backend)
        && let Some(members) = told.as_object_mut()
    {
        members.insert("backend".to_owned(), json!(&*backend));
    }
    told
}

fn asked<'a>(
    call: &'a Call,
    profile: &Profile,
    organization: &str,
) -> Option<(OperationId, Target<'a>)> {
    match &call.kind {
        RequestKind::Ingest(ask) => Some((ask.operation, Target::App(ask.app.as_ref()))),
        RequestKind::Legacy(ask) => Some((ask.operation, Target::App(ask.app.as_ref()))),
        RequestKind::Query(ask) if ask.organization == organization => {
            let target = match profile.operation(ask.operation).scope {
                Scope::Project | Scope::App => Target::Project(ask.project.as_deref()?),
                Scope::Organization => Target::Organization,
                Scope::Projects => Target::Projects,
            };
            Some((ask.operation, target))
        }
        RequestKind::Query(_)
        | RequestKind::Own(_)
        | RequestKind::Site(_)
        | RequestKind::Tree(_)
        | RequestKind::Alert(_)
        | RequestKind::Unknown
        | RequestKind::Unacceptable(_) => None,
    }
}

/// What `accept` says.
pub fn accepted(call: &Call, profile: &Profile) -> Value {
    let operation = match &call.kind {
        RequestKind::Ingest(ask) => Some(profile.operation(ask.operation)),
        RequestKind::Legacy(ask) => Some(profile.operation(ask.operation)),
        RequestKind::Query(ask) => Some(profile.operation(ask.operation)),
        RequestKind::Own(_)
        | RequestKind::Site(_)
        | RequestKind::Tree(_)
        | RequestKind::Alert(_)
        | RequestKind::Unknown
        | RequestKind::Unacceptable(_) => None,
    };
    json!({
        "method": call.method.as_str(),
        "path": call.path,
        "operation": operation.map(|operation| operation.permission.as_str()),
        "sensitive": operation.map(|operation| operation.sensitive),
    })
}

/// What `identify` says.
pub fn identified(facts: &Facts, verified: bool) -> Value {
    let mut told = json!({
        "verified": verified,
        "method": facts.method.name(),
        "issuer": &*facts.issuer,
        "subject": &*facts.subject,
        "subject_claim": facts.subject_claim.as_deref(),
        "groups": facts.groups,
        "spiffe": facts.spiffe_id(),
        "aws": facts.aws.as_ref().map(|aws| json!({
            "account": &*aws.account,
            "unique_id": &*aws.unique_id,
            "session": aws.session.as_deref(),
        })),
        "certificate": facts.certificate.as_ref().map(|certificate| json!({
            "ca": &*certificate.ca,
            "sha256": certificate.fingerprint,
        })),
    });
    let proven = facts
        .attributes
        .iter()
        .map(|attribute| json!({ "name": &*attribute.name, "value": attribute.value.as_deref() }));
    if let (Some(members), false) = (told.as_object_mut(), facts.attributes.is_empty()) {
        members.insert("attributes".to_owned(), proven.collect());
    }
    told
}

fn decided(verdict: &Verdict, policy: &Policy) -> Value {
    json!({
        "decision": if verdict.allowed { "allow" } else { "deny" },
        "reason": verdict.reason.unwrap_or(Reason::Ok),
        "app": verdict.app.as_ref().map(AppPath::as_str),
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

fn told(assignment: &Assignment) -> Value {
    let Assignment {
        verdict,
        owner,
        service,
        marks,
        by,
        ..
    } = assignment;
    let default_of = match by {
        Some(By::DefaultApp(binding)) => Some(binding.as_str()),
        Some(By::Named | By::Owner | By::OnlyApp) | None => None,
    };
    json!({
        "decision": if verdict.allowed { "allow" } else { "deny" },
        "reason": verdict.reason.unwrap_or(Reason::Ok),
        "owner": owner.as_ref().map(AppPath::as_str),
        "owner_service": service,
        "owner_match": marks.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
        "app": verdict.app.as_ref().map(AppPath::as_str),
        "by": by.as_ref().map(By::name),
        "default_of": default_of,
        "bindings": verdict.bindings.iter().map(|name| &**name).collect::<Vec<_>>(),
    })
}

fn routed(verdict: &Verdict, policy: &Policy, profile: &Profile, operation: OperationId) -> Value {
    let credential = profile.operation(operation).credential;
    let mut told =
        json!({ "project": verdict.project.as_deref(), "credential": format!("{credential:?}") });
    let also = also(verdict, policy);
    if credential == Credential::AccessToken
        && !also.is_empty()
        && let Some(members) = told.as_object_mut()
    {
        members.insert("also".to_owned(), also.into());
    }
    at_backend(told, verdict, policy)
}

/// The other backends that get the app's data too.
fn also(verdict: &Verdict, policy: &Policy) -> Vec<Value> {
    let node = verdict.app.as_ref().and_then(|app| policy.tree().find(app));
    let legs = node.into_iter();
    let legs = legs.flat_map(|node| policy.also_beside(node, verdict.backend));
    let told = |leg: AlsoTerm| json!({ "backend": policy.backends().name(leg.backend), "mode": leg.mode.name() });
    legs.map(told).collect()
}
