//! Questions to a gateway, and what to tell when it does not answer them.
//!
//! What it does: asks as the developer and turns refusals into words, advice and an exit status. What it refuses to know: what is
//! asked. Invariants: the token goes to the chosen gateway only; a refusal's request id is told; nothing of a refusal is shown
//! that could move a cursor.

use http::{Method, Request, Response, StatusCode, header};
use openidconnect::url::form_urlencoded;
use serde_json::Value;

use super::failure::Failure;
use super::session::ToolSession;
use super::text::clean;
use crate::apps::AppPath;
use crate::cli::argument::ArgumentFault;
use crate::media_type;

/// Asks for a JSON document. `query` pairs are encoded; `body` is sent as JSON.
pub(crate) async fn ask(
    session: &ToolSession,
    method: Method,
    path: &str,
    query: &[(&str, &str)],
    body: Option<&Value>,
) -> Result<Value, Failure> {
    let answer = send(session, method, path, query, body).await?;
    match answer.status() {
        StatusCode::OK => serde_json::from_slice(answer.body()).map_err(|_| {
            Failure::new(format!(
                "`{}` answers something else than JSON{}",
                session.gateway,
                mark(&answer)
            ))
        }),
        _ => Err(refused(session, &answer)),
    }
}

/// The same, whatever the status is.
async fn send(
    session: &ToolSession,
    method: Method,
    path: &str,
    query: &[(&str, &str)],
    body: Option<&Value>,
) -> Result<Response<Vec<u8>>, Failure> {
    let mut target = format!("{}{path}", session.gateway);
    if !query.is_empty() {
        target.push('?');
        target.push_str(
            &form_urlencoded::Serializer::new(String::new())
                .extend_pairs(query)
                .finish(),
        );
    }
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header(header::ACCEPT, media_type::JSON);
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, media_type::JSON);
    }
    let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
    // The error could quote a header.
    let request = request
        .body(body)
        .map_err(|_| Failure::new(format!("`{path}` cannot be asked for")))?;
    session.ask(request).await
}

/// What a refusal says, and what to do about it.
fn refused(session: &ToolSession, answer: &Response<Vec<u8>>) -> Failure {
    let status = answer.status();
    let what = format!("{}: {}{}", status.as_u16(), message(answer), mark(answer));
    match status {
        StatusCode::UNAUTHORIZED => Failure::log_in(&session.gateway, what),
        StatusCode::FORBIDDEN => {
            Failure::denied(what).advise("`lightkeeper apps` shows what is yours")
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let failure = Failure::new(what);
            match answer
                .headers()
                .get(header::RETRY_AFTER)
                .and_then(|after| after.to_str().ok())
            {
                Some(after) => failure.advise(format!("try again after {after} s")),
                None => failure,
            }
        }
        _ => Failure::new(what),
    }
}

/// The words of an error in any of the forms that gateways and backends use.
fn message(answer: &Response<Vec<u8>>) -> String {
    let document: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let first = document
        .get("errors")
        .and_then(|errors| errors.get(0))
        .and_then(Value::as_str);
    let own = || {
        document
            .get("message")
            .or(document.get("error"))
            .and_then(Value::as_str)
    };
    let usual = || answer.status().canonical_reason().unwrap_or("refused");
    let words = first.or_else(own).unwrap_or_else(usual);
    // The gateway's hint to exporters would mislead a person.
    words
        .split_once("; an export names")
        .map_or(words, |(words, _)| words)
        .to_owned()
}

fn mark(answer: &Response<Vec<u8>>) -> String {
    let id = answer
        .headers()
        .get("lightkeeper-request-id")
        .and_then(|id| id.to_str().ok());
    id.map_or_else(String::new, |id| format!(" (request id {id})"))
}

/// An app on the command line: `shop/checkout`, also as `/shop/checkout/`; the root is `/`.
pub(crate) fn parse_app(text: &str) -> Result<AppPath, ArgumentFault> {
    let trimmed = text.trim_matches('/');
    let app = AppPath::parse(if trimmed.is_empty() { "/" } else { trimmed });
    app.ok_or_else(|| ArgumentFault::App(clean(text)))
}

/// An app's place in a URL: `/apps`, `/apps/shop/checkout`.
pub(crate) fn app_url(app: &AppPath) -> String {
    match app.as_str() {
        "/" => "/apps".to_owned(),
        path => format!("/apps/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_are_named_with_or_without_slashes() {
        for (text, url) in [
            ("shop", Some("/apps/shop")),
            ("/shop/checkout/", Some("/apps/shop/checkout")),
            ("/", Some("/apps")),
            ("", Some("/apps")),
            ("Shop", None),
            ("shop/../platform", None),
            ("shop/-/streams", None),
            ("shop?x=1", None),
            ("shop%2fcheckout", None),
        ] {
            assert_eq!(
                parse_app(text).ok().map(|app| app_url(&app)).as_deref(),
                url,
                "{text}"
            );
        }
    }
}
