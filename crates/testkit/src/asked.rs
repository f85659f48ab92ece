//! A server that is asked what a token is worth: an introspection endpoint (RFC 7662), or a cluster's API server (TokenReview).
//!
//! What it does: answers about each token what it is told to, wants to be shown a proof of who asks, records every question,
//! and fails on request. What it refuses to know: the gateway, and what its answers will be used for. Invariants: what it
//! keeps is bounded; a question without the proof is answered with 401, whatever the token.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::issuer::IssuerFault;
use super::server::{Connection, Payload, Reply, Server, ServerTls, Service, lock, whole};
use super::urls::Form;

/// Questions that are kept, the last ones.
const QUESTIONS_LIMIT: usize = 4096;
const BODY_LIMIT_BYTES: usize = 1 << 20;

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Question {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// The token that it is about; empty if it is about none.
    pub token: String,
    /// Whether the connection showed a client certificate.
    pub has_certificate: bool,
}

impl Question {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// A member of the form.
    pub fn field(&self, name: &str) -> Option<String> {
        Form::parse(&self.body).value(name).map(str::to_owned)
    }
}

/// What is answered: content type and body, with 200.
#[derive(Clone, Debug)]
pub struct TokenWord {
    pub content_type: &'static str,
    pub body: String,
}

impl TokenWord {
    pub fn json(value: &Value) -> Self {
        TokenWord {
            content_type: "application/json",
            body: value.to_string(),
        }
    }

    /// A review with this status.
    pub fn review(status: Value) -> Self {
        TokenWord::json(&json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "metadata": { "creationTimestamp": null }, "spec": {}, "status": status,
        }))
    }
}

/// A running server. Dropping it stops it.
pub struct TokenJudge {
    server: Server,
    state: Arc<State>,
}

struct State {
    /// What `authorization` must be; `None`: a client certificate, or nothing.
    wanted: Mutex<Option<String>>,
    words: Mutex<HashMap<String, TokenWord>>,
    otherwise: Mutex<TokenWord>,
    pages: Mutex<HashMap<String, Value>>,
    fault: Mutex<Option<IssuerFault>>,
    questions: Mutex<Vec<Question>>,
}

impl TokenJudge {
    /// Starts on a free loopback port. `otherwise`: what is said of tokens of which it knows nothing.
    pub async fn start(tls: Option<&ServerTls>, otherwise: TokenWord) -> Result<Self, String> {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let failed = |error| format!("the judge of tokens cannot listen: {error}");
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let state = Arc::new(State {
            wanted: Mutex::default(),
            words: Mutex::default(),
            otherwise: Mutex::new(otherwise),
            pages: Mutex::default(),
            fault: Mutex::default(),
            questions: Mutex::default(),
        });
        let tls = tls
            .map(ServerTls::server_config)
            .transpose()
            .map_err(failed)?;
        let server = Server::start(listener, tls, state.clone())
            .await
            .map_err(failed)?;
        Ok(TokenJudge { server, state })
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub fn url(&self) -> String {
        let address = self.server.address();
        if self.server.is_tls() {
            format!("https://localhost:{}", address.port())
        } else {
            format!("http://{address}")
        }
    }

    /// Wants this `authorization` of who asks.
    pub fn want(&self, authorization: &str) {
        *lock(&self.state.wanted) = Some(authorization.to_owned());
    }

    /// Answers this about a token.
    pub fn say(&self, token: &str, word: TokenWord) {
        lock(&self.state.words).insert(token.to_owned(), word);
    }

    /// Knows nothing of a token any more.
    pub fn forget(&self, token: &str) {
        lock(&self.state.words).remove(token);
    }

    /// A document that can be had by GET.
    pub fn page(&self, path: &str, document: Value) {
        lock(&self.state.pages).insert(path.to_owned(), document);
    }

    /// Fails from now on, or answers again.
    pub fn fail(&self, fault: Option<IssuerFault>) {
        *lock(&self.state.fault) = fault;
    }

    /// All requests, oldest first.
    pub fn questions(&self) -> Vec<Question> {
        lock(&self.state.questions).clone()
    }

    /// Those about tokens.
    pub fn asked(&self) -> Vec<Question> {
        let mut questions = self.questions();
        questions.retain(|question| !question.token.is_empty());
        questions
    }

    pub fn clear(&self) {
        lock(&self.state.questions).clear();
    }

    /// Connecting is refused from now on.
    pub async fn stop(&self) {
        self.server.stop().await;
    }

    /// Listens again on the same port.
    pub async fn restart(&self) -> Result<(), String> {
        let failed = |error| format!("the judge of tokens cannot listen again: {error}");
        self.server.restart().await.map_err(failed)
    }
}

impl State {
    async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: Connection,
    ) -> Response<Payload> {
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, BODY_LIMIT_BYTES).collect().await else {
            return respond(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", "");
        };
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        let of_review = |body: &str| {
            let review: Value = serde_json::from_str(body).ok()?;
            Some(review.get("spec")?.get("token")?.as_str()?.to_owned())
        };
        let token = Form::parse(&body)
            .value("token")
            .map(str::to_owned)
            .or_else(|| of_review(&body))
            .unwrap_or_default();
        let pairs = head.headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        });
        let question = Question {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            headers: pairs.collect(),
            body,
            token,
            has_certificate: !connection.client_certificates.is_empty(),
        };
        let (token, path) = (question.token.clone(), question.path.clone());
        let shown = question.header("authorization").map(str::to_owned);
        {
            let mut questions = lock(&self.questions);
            if questions.len() == QUESTIONS_LIMIT {
                questions.remove(0);
            }
            questions.push(question);
        }
        let fault = *lock(&self.fault);
        if let Some(fault) = fault
            && let Some(answer) = fault.answer(&connection).await
        {
            return answer;
        }
        let wanted = lock(&self.wanted).clone();
        if wanted.is_some() && wanted != shown {
            return respond(StatusCode::UNAUTHORIZED, "application/json", "{}");
        }
        if head.method == Method::GET {
            let page = lock(&self.pages).get(&path).cloned();
            return match page {
                Some(page) => respond(StatusCode::OK, "application/json", page.to_string()),
                None => respond(StatusCode::NOT_FOUND, "application/json", "{}"),
            };
        }
        let known = lock(&self.words).get(&token).cloned();
        let word = known.unwrap_or_else(|| lock(&self.otherwise).clone());
        respond(StatusCode::OK, word.content_type, word.body)
    }
}

impl Service for State {
    fn answer(self: Arc<Self>, request: Request<Incoming>, connection: Connection) -> Reply {
        Box::pin(self.serve(request, connection))
    }
}

fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Payload> {
    let mut response = Response::new(whole(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
