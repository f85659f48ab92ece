//! What providers push: that a session is over at the identity provider, that a subject's proofs have ended.
//!
//! What it does: reads a message within bounds, has it judged, and makes the answer that its sender's protocol wants (OpenID
//! Connect Back-Channel Logout 1.0 section 2.8, RFC 8935 sections 2.2 to 2.4). What it refuses to know: what a message says.
//! Invariants: a message is read in the turn of its address, because its sender proves nothing before; what a sender could
//! mend is told to it once, as a 400; what it could not is 503, so that the message comes again.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;

use crate::accept::{Caller, Carrier, Protocol, path};
use crate::call::body;
use crate::call::context::RequestContext;
use crate::call::exchange::Exchange;
use crate::identify::ToldRevocations;
use crate::limits::Limits;
use crate::media_type::{self, MediaType};
use crate::reason::{Class, Reason};
use crate::respond::Refusal;
use crate::state::RevocationWay;

/// A form with a logout token, or a security event token.
const BODY_LIMIT_BYTES: u64 = 64 << 10;

/// What was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    LogoutToken,
    SecurityEvent,
}

/// What is answered, and what the record says of it.
pub(super) struct PushReply {
    pub status: StatusCode,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
    pub refusal: Option<Refusal>,
    pub detail: Option<String>,
}

impl Pushed {
    pub(super) fn operation(self) -> &'static str {
        match self {
            Pushed::LogoutToken => "backchannel_logout",
            Pushed::SecurityEvent => "security_event",
        }
    }
}

/// Reads a message, and takes what it says. An error is none of the message's.
pub(super) async fn take(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    pushed: Pushed,
    caller: Caller,
) -> Result<PushReply, Refusal> {
    let snapshot = context.snapshot().clone();
    let identifier = &snapshot.identifier;
    let is_offered = match pushed {
        Pushed::LogoutToken => identifier.login().is_some(),
        Pushed::SecurityEvent => identifier.hears_events(),
    };
    if !is_offered {
        return Err(Refusal::new(Reason::PathUnknown));
    }
    if !is_form(exchange.headers(), pushed) {
        return refused(pushed, Reason::MediaTypeUnsupported);
    }
    let turn = context.shared().unproven.take(caller.address).await;
    let _turn = turn.ok_or_else(|| Refusal::new(Reason::UnprovenReadsBusy))?;
    let mut reserved = context.account().open();
    let limits = Limits {
        body_bytes: snapshot.limits.body_bytes.min(BODY_LIMIT_BYTES),
        ..(*snapshot.limits).clone()
    };
    let body = body::read_within(exchange, Protocol::Http, &mut reserved, &limits).await?;
    let told = match pushed {
        Pushed::LogoutToken => match logout_token(&body) {
            Some(token) => identifier.logged_out(token.as_bytes()).await,
            None => Err(Reason::BodyMalformed),
        },
        Pushed::SecurityEvent => {
            let token = caller.token.as_ref();
            let shown = token.filter(|token| token.carrier == Carrier::Authorization);
            let shown = shown.map(|token| token.bytes());
            identifier.security_event(body.trim_ascii(), shown).await
        }
    };
    match told {
        Ok(told) => Ok(taken(exchange, context, pushed, &told)),
        Err(reason) => refused(pushed, reason),
    }
}

fn is_form(headers: &HeaderMap, pushed: Pushed) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let wanted = match pushed {
        Pushed::LogoutToken => media_type::FORM,
        Pushed::SecurityEvent => media_type::SECURITY_EVENT,
    };
    let is_wanted = MediaType::parse(kind.unwrap_or_default()).is_some_and(|kind| kind.is(wanted));
    is_wanted && !headers.contains_key(header::CONTENT_ENCODING)
}

/// The one logout token of a form; other pairs mean nothing (Back-Channel Logout section 2.5).
fn logout_token(body: &[u8]) -> Option<String> {
    let pairs = path::pairs(str::from_utf8(body).ok()?).ok()?;
    let mut tokens = pairs.into_iter().filter(|(key, _)| key == "logout_token");
    match (tokens.next(), tokens.next()) {
        (Some((_, token)), None) => Some(token),
        _ => None,
    }
}

/// Tells of what was taken, and acknowledges it.
fn taken(
    exchange: &Exchange<'_>,
    context: &RequestContext,
    pushed: Pushed,
    told: &ToldRevocations,
) -> PushReply {
    let shared = context.shared();
    let call = exchange.state.request_id.as_str();
    let (way, status) = match pushed {
        Pushed::LogoutToken => (RevocationWay::Logout(call), StatusCode::OK),
        Pushed::SecurityEvent => (
            RevocationWay::Event(&told.sender, call),
            StatusCode::ACCEPTED,
        ),
    };
    let outcome = if told.is_repeated {
        "repeated"
    } else {
        "taken"
    };
    for event in &told.events {
        let metrics = &shared.metrics;
        metrics.security_event(&told.sender, event.name(), outcome);
    }
    shared.revoked(way, &told.revocations);
    let names: Vec<&str> = told.events.iter().map(|event| event.name()).collect();
    let detail = match pushed {
        Pushed::LogoutToken => None,
        Pushed::SecurityEvent => Some(format!("{}: {}, {outcome}", told.sender, names.join(", "))),
    };
    PushReply {
        status,
        headers: Vec::new(),
        body: Bytes::new(),
        refusal: None,
        detail,
    }
}

/// What a message that is not taken is answered with.
fn refused(pushed: Pushed, reason: Reason) -> Result<PushReply, Refusal> {
    let refusal = Refusal::new(reason);
    if refusal.class == Class::Unavailable {
        return Err(refusal);
    }
    let json = HeaderValue::from_static(media_type::JSON);
    let mut headers = vec![(header::CONTENT_TYPE, json)];
    let body = match pushed {
        Pushed::LogoutToken => json!({
            "error": "invalid_request",
            "error_description": "the logout token is not valid here",
        }),
        Pushed::SecurityEvent => {
            let language = HeaderValue::from_static("en");
            headers.push((header::CONTENT_LANGUAGE, language));
            let (err, description) = event_fault(reason);
            json!({ "err": err, "description": description })
        }
    };
    Ok(PushReply {
        status: StatusCode::BAD_REQUEST,
        headers,
        body: body.to_string().into(),
        refusal: Some(refusal),
        detail: None,
    })
}

/// RFC 8935 section 2.4.
fn event_fault(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::TokenIssuerUnknown => ("invalid_issuer", "the issuer is not known here"),
        Reason::TokenAudience => ("invalid_audience", "the token is for another audience"),
        Reason::TokenAlgorithm | Reason::TokenKeyUnknown | Reason::TokenSignature => {
            ("invalid_key", "the signature does not hold")
        }
        Reason::PushUnproven => (
            "authentication_failed",
            "the push does not show what was agreed",
        ),
        Reason::RevocationForeign => (
            "access_denied",
            "the subject is none that this transmitter speaks for",
        ),
        _ => (
            "invalid_request",
            "the body is no security event token that is read here",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: forms as providers send them, and others. Guarantees: one token is taken, whatever stands beside it; none, and
    /// two, are none.
    #[test]
    fn a_form_has_one_logout_token() {
        for (form, expected) in [
            ("logout_token=a.b.c", Some("a.b.c")),
            (
                "state=x&logout_token=a.b.c&logout_token_hint=y",
                Some("a.b.c"),
            ),
            ("logout_token=a.b.c&logout_token=a.b.c", None),
            ("logout_token=a.b.c&logout_token=", None),
            ("Logout_token=a.b.c", None),
            ("token=a.b.c", None),
            ("", None),
            ("logout_token=%zz", None),
            ("logout_token=a;logout_token=b", None),
        ] {
            assert_eq!(logout_token(form.as_bytes()).as_deref(), expected, "{form}");
        }
        assert_eq!(logout_token(b"logout_token=\xff"), None);
    }

    /// Guarantees: each way in which a security event token fails has the code of RFC 8935 that its sender can act on.
    #[test]
    fn each_fault_has_its_code() {
        for (reason, expected) in [
            (Reason::TokenMalformed, "invalid_request"),
            (Reason::TokenType, "invalid_request"),
            (Reason::TokenClaims, "invalid_request"),
            (Reason::TokenTooLarge, "invalid_request"),
            (Reason::RevocationSubject, "invalid_request"),
            (Reason::MediaTypeUnsupported, "invalid_request"),
            (Reason::TokenSignature, "invalid_key"),
            (Reason::TokenKeyUnknown, "invalid_key"),
            (Reason::TokenAlgorithm, "invalid_key"),
            (Reason::TokenIssuerUnknown, "invalid_issuer"),
            (Reason::TokenAudience, "invalid_audience"),
            (Reason::PushUnproven, "authentication_failed"),
            (Reason::RevocationForeign, "access_denied"),
        ] {
            let reply = refused(Pushed::SecurityEvent, reason).unwrap();
            let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!(
                (reply.status.as_u16(), &body["err"]),
                (400, &json!(expected)),
                "{reason}"
            );
            assert!(body["description"].is_string());
        }
        for reason in [Reason::KeysUnavailable, Reason::RevocationsFull] {
            for pushed in [Pushed::SecurityEvent, Pushed::LogoutToken] {
                let refusal = refused(pushed, reason).err().unwrap();
                assert_eq!(refusal.class, Class::Unavailable, "{reason}");
            }
        }
    }
}
