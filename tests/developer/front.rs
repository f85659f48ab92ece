//! A stand-in for a gateway: tells its login, keeps what it is asked, and answers by path. It checks nothing. In what it
//! tells, `{own}` is its own address, which it also gives as `resource` where no other is given.

use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use testkit::server::{Connection, Payload, Reply, Server, Service, whole};
use tokio::net::TcpListener;

/// A running stand-in.
pub struct Front {
    server: Server,
    state: Arc<State>,
}

struct State {
    configuration: Value,
    /// Status and body of the metadata (RFC 9728); without it there are none.
    metadata: Option<(u16, String)>,
    /// By path.
    answers: Vec<(&'static str, u16, Value)>,
    seen: Mutex<Vec<Seen>>,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub target: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Front {
    pub async fn start(configuration: Value, answers: Vec<(&'static str, u16, Value)>) -> Self {
        Front::with(configuration, None, answers).await
    }

    /// One that describes itself by metadata alone; its configuration would be refused.
    pub async fn described(status: u16, metadata: String) -> Self {
        Front::with(json!({}), Some((status, metadata)), Vec::new()).await
    }

    async fn with(
        configuration: Value,
        metadata: Option<(u16, String)>,
        answers: Vec<(&'static str, u16, Value)>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = Arc::new(State {
            configuration,
            metadata,
            answers,
            seen: Mutex::default(),
        });
        let server = Server::start(listener, None, state.clone()).await.unwrap();
        Front { server, state }
    }

    /// One that offers the issuer's login.
    pub async fn of(issuer: &str, answers: Vec<(&'static str, u16, Value)>) -> Self {
        let login = json!({
            "issuer": issuer, "client_id": "lightkeeper-cli", "scopes": ["openid", "offline_access"], "audience": "lightkeeper",
        });
        Front::start(json!({ "organization": "acme", "login": login }), answers).await
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// What was asked beside the configuration.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }
}

impl State {
    async fn serve(self: Arc<Self>, request: Request<Incoming>) -> Response<Payload> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        if path == "/.lightkeeper/configuration" {
            let own = format!("http://{}", head.headers["host"].to_str().unwrap());
            let mut told = self.configuration.clone();
            if let Some(members) = told.as_object_mut() {
                members
                    .entry("resource")
                    .or_insert_with(|| own.clone().into());
            }
            return Response::new(whole(told.to_string().replace("{own}", &own)));
        }
        if path == "/.well-known/oauth-protected-resource" {
            let own = format!("http://{}", head.headers["host"].to_str().unwrap());
            let (status, text) = self.metadata.clone().unwrap_or((404, String::new()));
            let mut response = Response::new(whole(text.replace("{own}", &own)));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            let location = HeaderValue::from_static("/.lightkeeper/configuration");
            response.headers_mut().insert("location", location);
            return response;
        }
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        let target = head.uri.path_and_query().unwrap().to_string();
        self.seen.lock().unwrap().push(Seen {
            target,
            headers: head.headers,
            body: body.clone(),
        });
        let known = self.answers.iter().find(|(known, _, _)| *known == path);
        let mut response = match known {
            Some((_, _, text)) => Response::new(whole(text.to_string())),
            None => Response::new(whole(body)),
        };
        *response.status_mut() =
            StatusCode::from_u16(known.map_or(200, |(_, status, _)| *status)).unwrap();
        let headers = response.headers_mut();
        headers.insert("lightkeeper-request-id", HeaderValue::from_static("req-1"));
        headers.insert("x-hop", HeaderValue::from_static("1"));
        headers.insert("connection", HeaderValue::from_static("x-hop"));
        if path == "/moved" {
            let host = self.seen.lock().unwrap().last().unwrap().headers["host"]
                .to_str()
                .unwrap()
                .to_owned();
            headers.insert(
                "location",
                HeaderValue::from_str(&format!("http://{host}/elsewhere?a=b")).unwrap(),
            );
        }
        response
    }
}

impl Service for State {
    fn answer(self: Arc<Self>, request: Request<Incoming>, _: Connection) -> Reply {
        Box::pin(self.serve(request))
    }
}
