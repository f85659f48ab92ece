//! The place on this machine where a browser comes back after a login (RFC 8252 section 7.3).
//!
//! What it does: listens on 127.0.0.1, answers one browser's return with a page, and refuses everything else. What it refuses to
//! know: providers, tokens. Invariants: only a request with this login's `state` ends the wait, whatever else comes; heads,
//! connections and time are bounded; no page shows anything of the request.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use openidconnect::url::form_urlencoded;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::failure::Failure;
use crate::lock::Mutex;
use crate::media_type;

/// The path is the same for every login: providers compare it, and leave only the port free (RFC 8252 section 7.3). `state` is
/// what cannot be guessed.
const PATH: &str = "/callback";
/// A person signs in, perhaps with a second factor.
const WAIT: Duration = Duration::from_secs(300);
const CONNECTIONS: usize = 16;
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const HEAD_LIMIT_BYTES: usize = 16 << 10;

/// A listener for one login.
pub(crate) struct Loopback {
    listener: TcpListener,
    address: SocketAddr,
}

/// What the browser brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Returned {
    /// The authorization code, or the provider's `error`.
    pub code: Result<String, String>,
    /// The issuer that answered (RFC 9207).
    pub issuer: Option<String>,
}

impl Loopback {
    /// On a free port.
    pub(crate) async fn bind() -> Result<Self, Failure> {
        let unusable = |error: std::io::Error| {
            Failure::new(format!("no port can be had on 127.0.0.1: {error}")).advise("use --device")
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        Ok(Loopback { listener, address })
    }

    /// Where the provider sends the browser.
    pub(crate) fn redirect(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// Waits for the browser, and until its page is written.
    pub(crate) async fn wait(self, state: &str) -> Result<Returned, Failure> {
        let late = |_| {
            Failure::new("no browser came back from the login page in time")
                .advise("without a browser here: --device")
        };
        tokio::time::timeout(WAIT, self.serve(state))
            .await
            .map_err(late)?
    }

    async fn serve(self, state: &str) -> Result<Returned, Failure> {
        let expected: Arc<(String, String)> =
            Arc::new((self.address.to_string(), state.to_owned()));
        let mut open: JoinSet<Option<Returned>> = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if open.len() < CONNECTIONS => {
                    let (stream, _) = accepted.map_err(|error| Failure::new(format!("listening failed: {error}")))?;
                    open.spawn(converse(stream, expected.clone()));
                }
                Some(ended) = open.join_next() => {
                    if let Ok(Some(returned)) = ended {
                        return Ok(returned);
                    }
                }
            }
        }
    }
}

/// One connection, one request.
async fn converse(stream: TcpStream, expected: Arc<(String, String)>) -> Option<Returned> {
    let found: Arc<Mutex<Option<Returned>>> = Arc::default();
    let service = {
        let found = found.clone();
        service_fn(move |request: Request<Incoming>| {
            let (answer, returned) = judge(&request, &expected.0, &expected.1);
            if returned.is_some() {
                *found.lock() = returned;
            }
            async move { Ok::<_, Infallible>(answer) }
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_LIMIT_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A connection that breaks has brought nothing, or has brought it already.
    let _ = connection.await;
    found.lock().take()
}

fn judge<B>(
    request: &Request<B>,
    host: &str,
    state: &str,
) -> (Response<Full<Bytes>>, Option<Returned>) {
    let hosts: Vec<&[u8]> = request
        .headers()
        .get_all(header::HOST)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if hosts != [host.as_bytes()] || request.uri().authority().is_some() {
        return (
            page(
                StatusCode::MISDIRECTED_REQUEST,
                "This is not the address that was asked for.",
            ),
            None,
        );
    }
    if request.method() != Method::GET || request.uri().path() != PATH {
        return (page(StatusCode::NOT_FOUND, "There is nothing here."), None);
    }
    match returned(request.uri().query().unwrap_or_default(), state) {
        None => (
            page(
                StatusCode::BAD_REQUEST,
                "This does not belong to the login that is under way.",
            ),
            None,
        ),
        Some(returned) => {
            let text = match returned.code {
                Ok(_) => "The login has come back to the terminal. This page can be closed.",
                Err(_) => "The login was refused; the terminal says more. This page can be closed.",
            };
            (page(StatusCode::OK, text), Some(returned))
        }
    }
}

/// The pairs of a return, if it is this login's. A parameter that comes twice is refused (RFC 6749 section 3.1).
fn returned(query: &str, state: &str) -> Option<Returned> {
    let (mut given, mut code, mut error, mut issuer) = (None, None, None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let place = match &*name {
            "state" => &mut given,
            "code" => &mut code,
            "error" => &mut error,
            "iss" => &mut issuer,
            _ => continue,
        };
        if place.replace(value.into_owned()).is_some() {
            return None;
        }
    }
    let given = given?;
    aws_lc_rs::constant_time::verify_slices_are_equal(given.as_bytes(), state.as_bytes()).ok()?;
    let code = match (code, error) {
        (Some(code), None) if !code.is_empty() => Ok(code),
        (None, Some(error)) => Err(error),
        _ => return None,
    };
    Some(Returned { code, issuer })
}

fn page(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>lightkeeper</title>\
         <meta name=\"color-scheme\" content=\"light dark\"><h1>lightkeeper</h1><p>{text}</p></html>"
    );
    let mut response = Response::new(Full::from(html));
    *response.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, media_type::HTML_UTF8),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_logins_return_ends_the_wait() {
        let good = Some(Ok("c".to_owned()));
        for (query, expected) in [
            ("code=c&state=s3cret", good.clone()),
            ("code=c&state=s3cret&session_state=x", good),
            (
                "error=access_denied&state=s3cret",
                Some(Err("access_denied".to_owned())),
            ),
            ("code=c&state=other", None),
            ("code=c&state=s3cre", None),
            ("code=c&state=", None),
            ("code=c", None),
            ("state=s3cret", None),
            ("code=&state=s3cret", None),
            ("code=c&error=e&state=s3cret", None),
            ("code=c&code=d&state=s3cret", None),
            ("code=c&state=s3cret&state=s3cret", None),
            ("code=c&state=s3cret&iss=a&iss=b", None),
            ("", None),
        ] {
            assert_eq!(
                returned(query, "s3cret").map(|returned| returned.code),
                expected,
                "{query}"
            );
        }
        let named = returned("code=c&state=s&iss=https%3A%2F%2Fidp.example", "s");
        assert_eq!(
            named.unwrap().issuer.as_deref(),
            Some("https://idp.example")
        );
    }

    #[test]
    fn other_hosts_methods_and_paths_are_refused() {
        let fine = "/callback?code=c&state=s";
        for (method, target, host, status) in [
            ("GET", fine, "127.0.0.1:8", 200),
            ("GET", fine, "localhost:8", 421),
            ("GET", fine, "127.0.0.1:9", 421),
            ("GET", fine, "evil.example", 421),
            (
                "GET",
                "http://127.0.0.1:8/callback?code=c&state=s",
                "127.0.0.1:8",
                421,
            ),
            ("POST", fine, "127.0.0.1:8", 404),
            ("GET", "/callback/?code=c&state=s", "127.0.0.1:8", 404),
            ("GET", "/favicon.ico", "127.0.0.1:8", 404),
            ("GET", "/callback?code=c&state=<script>", "127.0.0.1:8", 400),
        ] {
            let target = target.replace('<', "%3C").replace('>', "%3E");
            let request = Request::builder()
                .method(method)
                .uri(target)
                .header("host", host)
                .body(())
                .unwrap();
            let (answer, returned) = judge(&request, "127.0.0.1:8", "s");
            assert_eq!(
                (answer.status().as_u16(), returned.is_some()),
                (status, status == 200),
                "{request:?}"
            );
        }
        let twice = Request::get(fine)
            .header("host", "127.0.0.1:8")
            .header("host", "evil.example")
            .body(())
            .unwrap();
        assert!(judge(&twice, "127.0.0.1:8", "s").1.is_none());
    }
}
