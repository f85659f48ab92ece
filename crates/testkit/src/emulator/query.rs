//! The emulator's query API: which paths there are, who may use them, and the objects behind them.
//!
//! What it does: the rows of `docs/backends/lightstep.md` (operations), with Lightstep's statuses, error bodies, rate-limit
//! headers, absolute links and gzip. What it refuses to know: exports.
//! Invariants: the key is checked before anything of the organization is looked at; an unknown
//! organization answers 401 like a wrong key (`docs/backends/lightstep.md`, query API).

mod table;

use std::io::Write as _;

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request};
use serde_json::{Value, json};

use super::State;
use super::credentials::Role;
use super::faults::{Fault, echo_document, echo_into, typed};
use super::limits::Standing;
use super::organization::{self as of, Collection, Organization};
use crate::server::{Payload, lock, repeated, whole};
use crate::urls::{Form, decode, encode};

pub(super) use table::Act;
pub use table::{Row, rows};

use table::TABLE;

/// The project that a path names, if it names one.
pub(super) fn project_in(path: &str) -> Option<String> {
    let mut segments = path.strip_prefix(super::QUERY_PREFIX)?.split('/').skip(1);
    (segments.next()? == "projects")
        .then(|| segments.next().map(decode))
        .flatten()
}

/// What a query is answered with: Terraform asks for the JSON:API name, everybody else for JSON.
pub(super) fn content_type(headers: &HeaderMap) -> &'static str {
    let accept = headers
        .get(header::ACCEPT)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    let api = memchr::memmem::find(accept, b"application/vnd.api+json").is_some();
    if api {
        "application/vnd.api+json"
    } else {
        "application/json"
    }
}

/// A question whose key and path are known.
pub(super) struct Question<'a> {
    /// The decoded segments that matched a `*`.
    pub stars: Vec<String>,
    pub query: Form,
    pub body: &'a Value,
}

/// A status and a document, or a status and the words of the error.
pub(super) type Outcome = Result<(StatusCode, Value), (StatusCode, &'static str)>;

pub(super) fn ok(document: Value) -> Outcome {
    Ok((StatusCode::OK, document))
}

pub(super) const NO_OBJECT: (StatusCode, &str) = (StatusCode::NOT_FOUND, "no such object");
const OVER: (StatusCode, &str) = (StatusCode::TOO_MANY_REQUESTS, "rate limit exceeded");
pub(super) const BAD: (StatusCode, &str) = (StatusCode::BAD_REQUEST, "malformed request");

impl State {
    pub(super) fn query(
        &self,
        head: &request::Parts,
        body: &[u8],
        fault: Option<&Fault>,
    ) -> Response<Payload> {
        let kind = content_type(&head.headers);
        match fault {
            Some(Fault::Echo) => {
                let mut response =
                    self.document(&head.headers, StatusCode::OK, &echo_document(&head.headers));
                echo_into(response.headers_mut(), &head.headers);
                return response;
            }
            Some(Fault::Garbage) => return typed(whole(&b"\xff\xfe{\"data\": [tru"[..]), kind),
            Some(Fault::Huge(bytes)) => return typed(repeated(b' ', *bytes), kind),
            _ => {}
        }
        let standing = self.count(head);
        let outcome = if standing.is_over {
            Err(OVER)
        } else {
            self.outcome(head, body)
        };
        let mut response = self.told(head, kind, outcome);
        standing.write(response.headers_mut());
        response
    }

    fn told(
        &self,
        head: &request::Parts,
        kind: &'static str,
        outcome: Outcome,
    ) -> Response<Payload> {
        match outcome {
            Ok((StatusCode::NO_CONTENT, _)) => {
                let mut response = self.text(&head.headers, StatusCode::NO_CONTENT, "", kind);
                response.headers_mut().remove(header::CONTENT_TYPE);
                response
            }
            Ok((status, Value::String(text))) => {
                self.text(&head.headers, status, &text, "text/plain")
            }
            Ok((status, document)) => self.document(&head.headers, status, &document),
            Err((status, words)) => {
                self.document(&head.headers, status, &json!({ "errors": [words] }))
            }
        }
    }

    /// A refusal by a failure switch.
    pub(super) fn query_refusal(
        &self,
        headers: &HeaderMap,
        status: u16,
        retry_after_seconds: Option<u64>,
    ) -> Response<Payload> {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let words = status
            .canonical_reason()
            .unwrap_or("failed")
            .to_ascii_lowercase();
        let mut response = self.document(headers, status, &json!({ "errors": [words] }));
        if let Some(seconds) = retry_after_seconds {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn outcome(&self, head: &request::Parts, body: &[u8]) -> Outcome {
        const NO_ACCESS: (StatusCode, &str) = (
            StatusCode::UNAUTHORIZED,
            "key does not provide access, or organization does not exist",
        );
        let mut authorizations = head.headers.get_all(header::AUTHORIZATION).iter();
        let (Some(authorization), None) = (authorizations.next(), authorizations.next()) else {
            return Err(NO_ACCESS);
        };
        let authorization = authorization.to_str().map_err(|_| NO_ACCESS)?;
        let key = lock(&self.keys)
            .presented(authorization)
            .cloned()
            .ok_or(NO_ACCESS)?;
        let below = head
            .uri
            .path()
            .strip_prefix(super::QUERY_PREFIX)
            .unwrap_or_default();
        let (organization, path) = below.split_at(below.find('/').unwrap_or(below.len()));
        if decode(organization) != self.options.organization {
            return Err(NO_ACCESS);
        }
        let (role, act, stars) = find(&head.method, path)?;
        if key.role < role {
            return Err((StatusCode::FORBIDDEN, "the key's role does not allow this"));
        }
        if key.project.is_some() && key.project.as_ref() != stars.first() {
            return Err((StatusCode::FORBIDDEN, "the key is for another project"));
        }
        let document = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(body).map_err(|_| BAD)?
        };
        let question = Question {
            stars,
            query: Form::parse(head.uri.query().unwrap_or_default()),
            body: &document,
        };
        let mut organization = lock(&self.organization);
        match question.stars.first() {
            Some(project) => self.in_project(&mut organization, project, act, &question),
            None => self.in_organization(&mut organization, act, &question),
        }
    }

    fn in_organization(
        &self,
        organization: &mut Organization,
        act: Act,
        question: &Question<'_>,
    ) -> Outcome {
        let text = |pointer: &str| {
            question
                .body
                .pointer(pointer)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let binding = |role: &str, project: &str, users: &[Value]| json!({ "data": { "role-name": role, "project-name": project, "users": users } });
        match act {
            Act::Test => ok("OK!".into()),
            Act::Projects => {
                let all = organization.projects.keys().map(|name| self.project(name));
                ok(
                    json!({ "data": all.collect::<Vec<_>>(), "links": { "self": self.link("/projects") } }),
                )
            }
            Act::CreateProject => {
                let name = text("/data/name")
                    .or_else(|| text("/data/attributes/name"))
                    .ok_or(BAD)?;
                if !organization.add_project(&name) {
                    return Err((StatusCode::CONFLICT, "the project exists"));
                }
                ok(json!({ "data": self.project(&name) }))
            }
            Act::RoleBinding => {
                let role = question.query.value("role-name").ok_or(BAD)?;
                let project = question.query.value("project").unwrap_or_default();
                let users = organization
                    .role_bindings
                    .get(&(role.to_owned(), project.to_owned()));
                ok(binding(
                    role,
                    project,
                    users.map(Vec::as_slice).unwrap_or_default(),
                ))
            }
            Act::SetRoleBinding => {
                let role = text("/data/role-name")
                    .or_else(|| text("/data/attributes/role-name"))
                    .ok_or(BAD)?;
                let project =
                    text("/data/project-name").or_else(|| text("/data/attributes/project-name"));
                let project = project.unwrap_or_default();
                let users = question
                    .body
                    .pointer("/data/users")
                    .or(question.body.pointer("/data/attributes/users"));
                let users = users.and_then(Value::as_array).cloned().ok_or(BAD)?;
                let answer = binding(&role, &project, &users);
                // Roles and projects are few; the map cannot outgrow their product by more than a test does.
                if organization.role_bindings.len() < 1000 {
                    organization.role_bindings.insert((role, project), users);
                }
                ok(answer)
            }
            Act::SamlMappings => {
                ok(json!({ "data": { "attributes": { "mappings": organization.saml_mappings } } }))
            }
            Act::SetSamlMappings => {
                let mappings = question
                    .body
                    .pointer("/data/attributes/mappings")
                    .and_then(Value::as_array)
                    .ok_or(BAD)?;
                organization.saml_mappings.clone_from(mappings);
                ok(json!({ "data": { "attributes": { "mappings": mappings } } }))
            }
            Act::CreateUser => {
                if !question.body.is_object() {
                    return Err(BAD);
                }
                if !organization.add_user(question.body.clone()) {
                    return Err((StatusCode::CONFLICT, "the user exists"));
                }
                ok(question.body.clone())
            }
            _ => Err(BAD),
        }
    }

    fn in_project(
        &self,
        organization: &mut Organization,
        name: &str,
        act: Act,
        question: &Question<'_>,
    ) -> Outcome {
        const NO_PROJECT: (StatusCode, &str) = (StatusCode::NOT_FOUND, "project not found");
        if let Act::Create(collection) = act {
            return self.create(organization, name, collection, question);
        }
        if matches!(act, Act::DeleteProject) {
            return organization
                .projects
                .remove(name)
                .map(|_| (StatusCode::NO_CONTENT, Value::Null))
                .ok_or(NO_PROJECT);
        }
        let project = organization.projects.get_mut(name).ok_or(NO_PROJECT)?;
        let id = question
            .stars
            .get(1)
            .map(String::as_str)
            .unwrap_or_default();
        match act {
            Act::Project => ok(json!({ "data": self.project(name) })),
            Act::AccessTokens => {
                let tokens = lock(&self.tokens);
                let own = tokens.0.iter().filter(|token| token.project == name);
                let shown = own.map(|token| {
                    let state = if token.active {
                        "active"
                    } else {
                        "deactivated"
                    };
                    json!({
                        "id": token.value, "type": "access_token",
                        "attributes": { "name": token.name, "state": state },
                    })
                });
                ok(json!({ "data": shown.collect::<Vec<_>>() }))
            }
            Act::CreateAccessToken => {
                let label = question
                    .body
                    .pointer("/data/attributes/name")
                    .and_then(Value::as_str)
                    .ok_or(BAD)?;
                let mut tokens = lock(&self.tokens);
                if tokens.0.len() >= 1000 {
                    return Err((StatusCode::TOO_MANY_REQUESTS, "too many access tokens"));
                }
                let value = format!("ingest-token-{}-of-{name}", tokens.0.len() + 1);
                tokens.add(name, &value, label, self.works_from());
                ok(
                    json!({ "data": { "id": value, "type": "access_token", "attributes": { "name": label } } }),
                )
            }
            Act::List(collection) => {
                let all = project
                    .list(collection)
                    .iter()
                    .map(|object| self.object(name, collection, object));
                let own = self.link(&format!("/projects/{}/{}", encode(name), collection.path));
                ok(json!({ "data": all.collect::<Vec<_>>(), "links": { "self": own } }))
            }
            Act::Get(collection) => {
                let object = project.object(collection, id).ok_or(NO_OBJECT)?;
                ok(json!({ "data": self.object(name, collection, object) }))
            }
            Act::Update(collection) => {
                let object = project.object_mut(collection, id).ok_or(NO_OBJECT)?;
                update(collection, object, question.body)?;
                ok(json!({ "data": self.object(name, collection, object) }))
            }
            Act::Delete(collection) if project.delete(collection, id) => {
                Ok((StatusCode::NO_CONTENT, Value::Null))
            }
            Act::Delete(_) => Err(NO_OBJECT),
            Act::StreamConditions => {
                project.object(of::STREAMS, id).ok_or(NO_OBJECT)?;
                let own = project.list(of::CONDITIONS).iter().filter(|condition| {
                    condition
                        .pointer("/relationships/stream/data/id")
                        .is_some_and(|stream| stream == id)
                });
                let own = own.map(|condition| self.object(name, of::CONDITIONS, condition));
                ok(json!({ "data": own.collect::<Vec<_>>() }))
            }
            act => self.telemetry(project, act, question),
        }
    }

    fn create(
        &self,
        organization: &mut Organization,
        name: &str,
        collection: Collection,
        question: &Question<'_>,
    ) -> Outcome {
        let project = organization
            .projects
            .get(name)
            .ok_or((StatusCode::NOT_FOUND, "project not found"))?;
        let data = question
            .body
            .get("data")
            .filter(|data| data.is_object())
            .cloned()
            .ok_or(BAD)?;
        let same = |pointers: &[&str]| {
            let objects = project.list(collection).iter();
            objects
                .into_iter()
                .find(|known| {
                    pointers
                        .iter()
                        .all(|at| known.pointer(at) == data.pointer(at))
                })
                .cloned()
        };
        if collection == of::STREAMS {
            data.pointer("/attributes/query")
                .and_then(Value::as_str)
                .ok_or(BAD)?;
            // Creating a stream is idempotent by its query.
            if let Some(known) = same(&["/attributes/query"]) {
                return ok(json!({ "data": self.object(name, collection, &known) }));
            }
        }
        if collection == of::WF_LINKS && same(&["/attributes/name", "/attributes/url"]).is_some() {
            return Err((
                StatusCode::FORBIDDEN,
                "a link of this name and address exists",
            ));
        }
        let full = (StatusCode::TOO_MANY_REQUESTS, "too many objects");
        let created = organization.create(name, collection, data).ok_or(full)?;
        ok(json!({ "data": self.object(name, collection, &created) }))
    }

    /// An absolute address below the organization.
    pub(super) fn link(&self, path: &str) -> String {
        let organization = encode(&self.options.organization);
        format!(
            "{}{}{organization}{path}",
            lock(&self.links_base),
            super::QUERY_PREFIX
        )
    }

    fn project(&self, name: &str) -> Value {
        let own = format!("/projects/{}", encode(name));
        let related =
            |word: &str| json!({ "links": { "related": self.link(&format!("{own}/{word}")) } });
        json!({
            "id": name, "type": "project",
            "attributes": { "name": name },
            "links": { "self": self.link(&own) },
            "relationships": { "streams": related("streams"), "dashboards": related("dashboards") },
        })
    }

    fn object(&self, project: &str, collection: Collection, object: &Value) -> Value {
        let mut object = object.clone();
        let id = object.get("id").and_then(Value::as_str).unwrap_or_default();
        let home = format!("/projects/{}", encode(project));
        let own = self.link(&format!("{home}/{}/{}", collection.path, encode(id)));
        let related = json!({ "links": { "related": self.link(&home) } });
        if let Some(members) = object.as_object_mut() {
            members.insert("links".into(), json!({ "self": own }));
            let relationships = members.entry("relationships").or_insert_with(|| json!({}));
            if let Some(relationships) = relationships.as_object_mut() {
                relationships.insert("project".into(), related);
            }
        }
        object
    }

    fn document(
        &self,
        headers: &HeaderMap,
        status: StatusCode,
        document: &Value,
    ) -> Response<Payload> {
        self.text(
            headers,
            status,
            &document.to_string(),
            content_type(headers),
        )
    }

    fn text(
        &self,
        headers: &HeaderMap,
        status: StatusCode,
        text: &str,
        kind: &'static str,
    ) -> Response<Payload> {
        let asked = headers
            .get(header::ACCEPT_ENCODING)
            .map(HeaderValue::as_bytes)
            .unwrap_or_default();
        let gzip =
            memchr::memmem::find(asked, b"gzip").is_some() && status != StatusCode::NO_CONTENT;
        let mut response = if gzip {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            // Writing into memory does not fail.
            let written = encoder
                .write_all(text.as_bytes())
                .and_then(|()| encoder.finish());
            let mut response = typed(whole(written.unwrap_or_default()), kind);
            response
                .headers_mut()
                .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response
        } else {
            typed(whole(text.to_owned()), kind)
        };
        *response.status_mut() = status;
        let headers = response.headers_mut();
        Standing::UNLIMITED.write(headers);
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        response
    }
}

fn find(
    method: &Method,
    path: &str,
) -> Result<(Role, Act, Vec<String>), (StatusCode, &'static str)> {
    let segments: Vec<&str> = path.split('/').collect();
    let mut known = false;
    for (verb, template, role, act) in TABLE.iter() {
        let parts: Vec<&str> = template.split('/').collect();
        let fits = parts.len() == segments.len()
            && parts
                .iter()
                .zip(&segments)
                .all(|(part, segment)| (*part == "*" && !segment.is_empty()) || part == segment);
        if fits && verb == method {
            let stars = parts
                .iter()
                .zip(&segments)
                .filter(|(part, _)| **part == "*");
            return Ok((
                *role,
                *act,
                stars.map(|(_, segment)| decode(segment)).collect(),
            ));
        }
        known |= fits;
    }
    Err(match known {
        true => (StatusCode::METHOD_NOT_ALLOWED, "method not allowed"),
        false => (StatusCode::NOT_FOUND, "not found"),
    })
}

/// PATCH and PUT: what the document names replaces what was there.
fn update(
    collection: Collection,
    object: &mut Value,
    body: &Value,
) -> Result<(), (StatusCode, &'static str)> {
    let data = body.get("data").and_then(Value::as_object).ok_or(BAD)?;
    let query = |value: Option<&Value>| value.and_then(|value| value.pointer("/query")).cloned();
    let (old, new) = (
        query(object.get("attributes")),
        query(data.get("attributes")),
    );
    if collection == of::STREAMS && new.is_some() && new != old {
        return Err((
            StatusCode::BAD_REQUEST,
            "a stream's query cannot be changed",
        ));
    }
    let Some(members) = object.as_object_mut() else {
        return Err(BAD);
    };
    for (name, value) in data
        .iter()
        .filter(|(name, _)| !["id", "type", "links"].contains(&name.as_str()))
    {
        match (
            members.get_mut(name).and_then(Value::as_object_mut),
            value.as_object(),
        ) {
            (Some(old), Some(new)) => old.extend(new.clone()),
            _ => {
                members.insert(name.clone(), value.clone());
            }
        }
    }
    Ok(())
}
