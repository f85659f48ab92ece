//! Token requests with a proof of the key that the tokens will be bound to (RFC 9449 section 5).
//!
//! What it does: adds a proof to what is sent to the token endpoint, and repeats it once with the issuer's nonce. What it
//! refuses to know: grants. Invariants: no other address gets a proof; without a key nothing is changed.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use serde_json::Value;

use super::bound_key::{BoundKey, Proven};
use super::web::{ResponseFuture, Web};
use crate::clock::Clock;
use crate::lock::Mutex;

pub(crate) const DPOP: HeaderName = HeaderName::from_static("dpop");
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// The longest nonce that is taken from a server.
const NONCE_LIMIT_BYTES: usize = 1024;

/// The nonce that an answer brings.
pub(crate) fn nonce_of(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(DPOP_NONCE)?.to_str().ok()?;
    (1..=NONCE_LIMIT_BYTES)
        .contains(&value.len())
        .then(|| value.to_owned())
}

/// `Web::asker`, with a proof for each request to `endpoint`.
pub(crate) fn asker(
    web: &Web,
    endpoint: &str,
    key: Option<&Arc<BoundKey>>,
    clock: &Clock,
) -> impl Fn(Request<Vec<u8>>) -> ResponseFuture + Send + Sync + use<> {
    let (web, endpoint, key, clock) = (
        web.clone(),
        endpoint.to_owned(),
        key.cloned(),
        clock.clone(),
    );
    let nonce: Arc<Mutex<Option<String>>> = Arc::default();
    move |request| {
        let key = key.clone().filter(|_| request.uri() == endpoint.as_str());
        let (web, clock, nonce) = (web.clone(), clock.clone(), nonce.clone());
        let url = endpoint
            .split(['?', '#'])
            .next()
            .unwrap_or_default()
            .to_owned();
        Box::pin(async move {
            let Some(key) = key else {
                return web.ask(request).await;
            };
            let again = copy(&request);
            let known = nonce.lock().clone();
            let first = web
                .ask(proven(request, &key, &url, known.as_deref(), &clock))
                .await?;
            let given = nonce_of(first.headers());
            if given.is_some() {
                nonce.lock().clone_from(&given);
            }
            match given.filter(|_| wants_nonce(&first)) {
                Some(given) => {
                    web.ask(proven(again, &key, &url, Some(&given), &clock))
                        .await
                }
                None => Ok(first),
            }
        })
    }
}

/// Whether a token endpoint refused for want of its nonce alone (section 8).
fn wants_nonce(answer: &Response<Vec<u8>>) -> bool {
    let document: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    answer.status() == StatusCode::BAD_REQUEST
        && document.get("error").and_then(Value::as_str) == Some("use_dpop_nonce")
}

/// The request with a proof; without one, if none can be made, which the issuer refuses.
fn proven(
    mut request: Request<Vec<u8>>,
    key: &BoundKey,
    url: &str,
    nonce: Option<&str>,
    clock: &Clock,
) -> Request<Vec<u8>> {
    let proven = Proven {
        method: request.method().as_str(),
        url,
        token: None,
        nonce,
    };
    if let Ok(proof) = key.prove(&proven, clock) {
        request.headers_mut().insert(DPOP, proof);
    }
    request
}

pub(crate) fn copy(request: &Request<Vec<u8>>) -> Request<Vec<u8>> {
    let mut copy = Request::new(request.body().clone());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}
