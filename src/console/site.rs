//! A browser's way in: logging in and out, and the pages behind.
//!
//! What it does: takes a call of the site from its evidence to an answer. What it refuses to know: the provider's
//! protocol, cookies' contents, what is on a page. Invariants: no page is shown without an identity; a browser is
//! sent only to the provider and to our own paths; a login that begins leaves no old session behind; what authorizes a
//! logout is proven like everything that a session changes.

use std::pin::Pin;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::csrf;
use super::pages;
use super::pages::PageContext;
use super::pushed::{self, PushReply, Pushed};
use crate::accept::{
    Call, CallbackRequest, Caller, ExplainRequest, Fault, Framed, PageRequest, Protocol,
    ReturnPath, SessionCookie, SiteRequest, path,
};
use crate::call::context::RequestContext;
use crate::call::exchange::Exchange;
use crate::call::record::RecordBuilder;
use crate::call::{answer, body, page};
use crate::identify::{ALGORITHMS, Identity, Login, Method, Rejection, RejectionKind};
use crate::limits::Limits;
use crate::media_type::{self, MediaType};
use crate::percent;
use crate::profiles::AUDIT_READ;
use crate::reason::{Class, Reason};
use crate::respond::Refusal;
use crate::view::Page;

/// The largest form that is read.
const FORM_LIMIT_BYTES: u64 = 8 << 10;
/// A year: the name of a file changes with its content.
const KEPT: &str = "public, max-age=31536000, immutable";

type Outcome = Result<(), Refusal>;

/// One call of the site.
struct Step<'e, 'a> {
    exchange: &'e mut Exchange<'a>,
    context: &'e RequestContext,
    record: &'e mut RecordBuilder,
    headers: HeaderMap,
    origin: String,
}

/// Answers a call of the site. Who asks is written down where it becomes known, because a login and a page wait long for
/// others.
pub(crate) async fn visit(
    exchange: &mut Exchange<'_>,
    context: &RequestContext,
    record: &mut RecordBuilder,
    caller: Caller,
    call: &Call,
    ask: &SiteRequest,
) -> Outcome {
    let headers = exchange.headers().clone();
    let origin = context.arrival().connection.origin(&call.authority);
    exchange.state.return_to = match ask {
        SiteRequest::Page(page) => ReturnPath::parse(&address(&call.path, page)),
        SiteRequest::Login { return_to, .. } => Some(return_to.clone()),
        _ => None,
    };
    let mut step = Step {
        exchange,
        context,
        record,
        headers,
        origin,
    };
    match ask {
        SiteRequest::Door => step.leave_for(ReturnPath::home().as_str(), "own").await,
        SiteRequest::Login { return_to, strayed } => step.login(caller, return_to, *strayed).await,
        SiteRequest::Callback(ask) => step.callback(caller, ask).await,
        SiteRequest::SignedOut => step.show(&Page::SignedOut).await,
        SiteRequest::Asset(name) => step.asset(name).await,
        SiteRequest::Configuration => step.configuration().await,
        SiteRequest::Metadata => step.metadata().await,
        SiteRequest::Logout => step.logout(caller).await,
        SiteRequest::BackchannelLogout => step.pushed(caller, Pushed::LogoutToken).await,
        SiteRequest::SecurityEvents => step.pushed(caller, Pushed::SecurityEvent).await,
        SiteRequest::Page(ask) => step.page(caller, call, ask).await,
    }
}

impl Step<'_, '_> {
    /// Who looks at pages. A session's call keeps it from idling out, and nothing on the way may mix its answer up with
    /// another's.
    fn looks(&mut self, identity: &Identity) {
        self.record.identity(identity);
        self.exchange.state.looks(identity);
    }

    /// Sends the browser to the provider, or straight on if its session holds.
    async fn login(&mut self, caller: Caller, return_to: &ReturnPath, strayed: bool) -> Outcome {
        self.record.operation("login");
        if strayed {
            self.record
                .detail("the path to return to is not ours".to_owned());
        }
        let snapshot = self.context.snapshot().clone();
        let login = self.offered(snapshot.identifier.login())?;
        // The proxy has logged this browser in, and a session of ours would be refused beside its assertion.
        if caller
            .token
            .as_ref()
            .is_some_and(|token| token.assertion().is_some())
        {
            return self.leave_for(return_to.as_str(), "login").await;
        }
        if caller.session.is_some() {
            let caller = Caller {
                certificate: None,
                token: None,
                ..caller
            };
            if let Ok(identity) = snapshot.identifier.identify(caller).await {
                self.looks(&identity);
                return self.leave_for(return_to.as_str(), "login").await;
            }
            // Whatever becomes of this login, the old session does not come back (CVE-2026-34454).
            let [session, _] = Login::cleared();
            self.exchange.state.set_cookies.push(session);
        }
        let begun = boxed(login.begin(return_to, &self.origin, self.context.now())).await;
        let begun = begun.map_err(|fault| self.failed(fault))?;
        self.exchange.state.set_cookies.push(begun.cookie);
        self.leave_for(&begun.location, "login").await
    }

    /// The provider has sent the browser back.
    async fn callback(&mut self, caller: Caller, ask: &CallbackRequest) -> Outcome {
        self.record.operation("login");
        let snapshot = self.context.snapshot().clone();
        let login = self.offered(snapshot.identifier.login())?;
        let given = ask.transaction.as_ref().map(|cookie| cookie.as_str());
        let shared = self.context.shared().clone();
        let finished = boxed(login.finish(
            &ask.pairs,
            given,
            &self.origin,
            caller.address,
            &shared.clock,
        ))
        .await;
        if finished
            .as_ref()
            .map_or_else(|unfinished| unfinished.is_over, |_| true)
        {
            let [_, transaction] = Login::cleared();
            self.exchange.state.set_cookies.push(transaction);
        }
        let finished = finished.map_err(|unfinished| self.failed(unfinished.fault))?;
        self.context.shared().metrics.login(Reason::Ok);
        // The browser has one session: a copy of the one before must not live on. Not one of ours: nothing
        // is to be ended.
        if let Some(before) = &caller.session {
            let _ = login.retire(before, self.context.now());
        }
        self.record.login(&finished);
        self.exchange.state.set_cookies.push(finished.session);
        self.leave_for(finished.return_to.as_str(), "login").await
    }

    /// Ends a session here and at the provider.
    async fn logout(&mut self, caller: Caller) -> Outcome {
        self.record.operation("logout");
        csrf::same_origin(&self.headers, &self.origin)?;
        let snapshot = self.context.snapshot().clone();
        let cookie = caller.session.as_ref().map(|cookie| SessionCookie {
            value: cookie.value.clone(),
            origin: cookie.origin.clone(),
        });
        let caller = Caller {
            certificate: None,
            token: None,
            ..caller
        };
        let identity = match snapshot.identifier.identify(caller).await {
            Ok(identity) => identity,
            // One of our own pages outlived its session: what is left of it goes.
            Err(rejection) if rejection.kind != RejectionKind::Unavailable => {
                self.exchange.state.set_cookies.extend(Login::cleared());
                return self.turn_away(&rejection, "/.lightkeeper/signed-out").await;
            }
            Err(rejection) => return Err(Refusal::from(&rejection)),
        };
        self.looks(&identity);
        let (Some(session), Some(login), Some(cookie)) =
            (identity.session(), snapshot.identifier.login(), cookie)
        else {
            return Err(Refusal::new(Reason::InternalDefect));
        };
        let in_head = csrf::token(&self.headers)?.map(|token| Zeroizing::new(token.to_owned()));
        let given = match in_head {
            Some(token) => Some(token),
            None => self.form_token(&identity).await?,
        };
        if !given.is_some_and(|given| session.is_csrf(&given)) {
            return Err(csrf::missing());
        }
        let provider = boxed(login.end(&cookie, self.context.now())).await;
        // A renewed cookie must not outlive the session.
        self.exchange.state.set_cookies.clear();
        self.exchange.state.set_cookies.extend(Login::cleared());
        self.leave_for(
            provider.as_deref().unwrap_or("/.lightkeeper/signed-out"),
            "logout",
        )
        .await
    }

    /// A provider ends proofs.
    async fn pushed(&mut self, caller: Caller, pushed: Pushed) -> Outcome {
        self.record.operation(pushed.operation());
        let taken = boxed(pushed::take(self.exchange, self.context, pushed, caller)).await;
        let PushReply {
            status,
            headers,
            body,
            refusal,
            detail,
        } = taken?;
        match refusal {
            Some(refusal) => self.record.refused(refusal),
            None => self.record.own(),
        }
        detail
            .into_iter()
            .for_each(|detail| self.record.detail(detail));
        self.write(status, headers, body).await
    }

    /// The token in the form that a page without scripts sends.
    async fn form_token(
        &mut self,
        identity: &Identity,
    ) -> Result<Option<Zeroizing<String>>, Refusal> {
        let kind = self
            .headers
            .get(header::CONTENT_TYPE)
            .map(HeaderValue::as_bytes)
            .unwrap_or_default();
        let is_empty = self.exchange.framed() == Framed::Length(0);
        if is_empty || !MediaType::parse(kind).is_some_and(|kind| kind.is(media_type::FORM)) {
            return Ok(None);
        }
        let mut reserved = self.context.proven(identity.facts()).account().open();
        let snapshot = self.context.snapshot().clone();
        let limits = Limits {
            body_bytes: snapshot.limits.body_bytes.min(FORM_LIMIT_BYTES),
            ..(*snapshot.limits).clone()
        };
        let body = body::read_within(self.exchange, Protocol::Http, &mut reserved, &limits).await?;
        let text = str::from_utf8(&body).map_err(|_| Refusal::from(Fault::Query))?;
        let mut tokens = path::pairs(text)?
            .into_iter()
            .filter(|(key, _)| key == "csrf")
            .map(|(_, value)| value);
        match (tokens.next(), tokens.next()) {
            (token, None) => Ok(token.map(Zeroizing::new)),
            (_, Some(_)) => Err(csrf::missing()),
        }
    }

    /// A page, for this caller.
    async fn page(&mut self, caller: Caller, call: &Call, ask: &PageRequest) -> Outcome {
        // The permission that the page needs, where it shows what others did.
        let operation = match ask {
            PageRequest::Decisions(_) | PageRequest::Trail(_) => AUDIT_READ,
            PageRequest::Tree { .. } | PageRequest::App(_) | PageRequest::Explain(_) => "own",
        };
        self.record.operation(operation);
        let snapshot = self.context.snapshot().clone();
        // Software that shows a token or certificate would not know what to do at a login, and a login would not mend
        // what it shows.
        let is_browser = caller.token.is_none() && caller.certificate.is_none();
        let identity = match snapshot.identifier.identify(caller).await {
            Ok(identity) => identity,
            Err(rejection)
                if is_browser
                    && rejection.kind != RejectionKind::Unavailable
                    && page::can_log_in(self.exchange) =>
            {
                let mut login = "/.lightkeeper/login?return_to=".to_owned();
                login.extend(percent::encode(&address(&call.path, ask)));
                return self.turn_away(&rejection, &login).await;
            }
            Err(rejection) => return Err(Refusal::from(&rejection)),
        };
        self.looks(&identity);
        if let Some(proven) = identity.session() {
            csrf::check(&self.headers, &call.method, &self.origin, proven)?;
        } else if identity.facts().method == Method::Assertion {
            csrf::check_assertion(&self.headers, &call.method, &self.origin)?;
        }
        let shared = self.context.shared().clone();
        let account = self.context.proven(identity.facts()).account().clone();
        let visit = PageContext {
            shared: &shared,
            snapshot: &snapshot,
            account: &account,
            identity: &identity,
            now: self.context.now(),
            ours: &self.origin,
        };
        let (page, asked) = pages::page(&visit, ask).await?;
        self.record.asked(asked);
        if matches!(&page, Page::Explain(view) if view.is_anothers) {
            self.record.operation(AUDIT_READ);
        }
        self.write_page(&page).await
    }

    async fn show(&mut self, page: &Page) -> Outcome {
        self.record.operation("own");
        self.write_page(page).await
    }

    async fn write_page(&mut self, page: &Page) -> Outcome {
        self.record.own();
        let html = self
            .context
            .snapshot()
            .site
            .page(&page::frame(self.exchange), page);
        let mut headers = page::headers(self.exchange);
        headers.push((
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        ));
        self.write(StatusCode::OK, headers, html.into_bytes().into())
            .await
    }

    async fn asset(&mut self, name: &str) -> Outcome {
        self.record.operation("own");
        let asset = self
            .context
            .snapshot()
            .site
            .asset(name)
            .ok_or_else(|| Refusal::new(Reason::PathUnknown))?;
        self.record.own();
        let mut headers = page::headers(self.exchange);
        headers.push((header::CACHE_CONTROL, HeaderValue::from_static(KEPT)));
        headers.push((
            header::CONTENT_TYPE,
            HeaderValue::from_static(asset.content_type),
        ));
        self.write(StatusCode::OK, headers, asset.body.into()).await
    }

    /// What the command line needs to log in, of a listener without a name as well.
    async fn configuration(&mut self) -> Outcome {
        self.record.operation("own");
        self.record.own();
        let mut document = self.offer();
        // RFC 9728 section 2: whose configuration it is.
        if let Some(members) = document.as_object_mut() {
            members.insert("resource".to_owned(), self.origin.as_str().into());
        }
        answer::own(self.exchange, document)
            .await
            .map_err(|_| body::client_closed())
    }

    /// How the command line logs in: nothing that a login page would not tell. `login` is null where it may not.
    fn offer(&self) -> Value {
        let snapshot = self.context.snapshot();
        let login = snapshot
            .identifier
            .login()
            .and_then(|login| login.configuration(&self.origin))
            .map(|cli| {
                json!({
                    "issuer": cli.issuer_url,
                    "client_id": cli.client_id,
                    "scopes": cli.scopes,
                    "audience": cli.audience,
                })
            });
        json!({ "organization": snapshot.organization, "login": login })
    }

    /// Who issues tokens for this gateway, and how they are shown (RFC 9728 section 2): nothing that a challenge would not
    /// tell.
    async fn metadata(&mut self) -> Outcome {
        self.record.operation("own");
        self.record.own();
        let snapshot = self.context.snapshot().clone();
        let listener = self.context.arrival().connection.listener().clone();
        let clients = listener.tls.as_ref().and_then(|tls| tls.clients.as_ref());
        let document = json!({
            "resource": self.origin,
            "authorization_servers": snapshot.identifier.authorization_servers(),
            "bearer_methods_supported": ["header"],
            "dpop_signing_alg_values_supported": ALGORITHMS,
            "dpop_bound_access_tokens_required": snapshot.identifier.wants_bound_tokens(),
            "tls_client_certificate_bound_access_tokens": clients.is_some(),
            // No member of the standard has a client's identifier; section 2 lets resources add their own.
            "lightkeeper": self.offer(),
        });
        answer::own(self.exchange, document)
            .await
            .map_err(|_| body::client_closed())
    }

    /// The login, if there is one and browsers may use it here.
    fn offered<'l>(&mut self, login: Option<&'l Login>) -> Result<&'l Login, Refusal> {
        let login = login.ok_or_else(|| Refusal::new(Reason::LoginNotOffered))?;
        if !page::is_private(&self.origin) {
            self.exchange.state.advice =
                Some("Open this page with https:// in front: a login is never sent in the clear.");
            return Err(Refusal::new(Reason::LoginInTheClear));
        }
        Ok(login)
    }

    /// A login that failed, with what the person may do about it.
    fn failed(&mut self, reason: Reason) -> Refusal {
        self.context.shared().metrics.login(reason);
        let refusal = Refusal::new(reason);
        self.exchange.state.advice = Some(match (reason, refusal.class) {
            (Reason::LoginBusy, _) => {
                "Many people log in now. Reload this page in a moment: this login can still be finished."
            }
            (_, Class::Unavailable) => {
                "The identity provider does not answer as it should. Who is logged in stays so."
            }
            (Reason::LoginAccessDenied, _) => {
                "The identity provider says no. Log in again, perhaps as another person."
            }
            (Reason::LoginClaimsElsewhere, _) => {
                "The identity provider does not say which groups you are in, perhaps because they are too many. Logging in \
                 again changes nothing: an operator must have it send the groups that count here."
            }
            (Reason::LoginEmailUnverified, _) => {
                "Your e-mail address is not verified at the identity provider. Verify it there, then log in again."
            }
            _ => {
                "This login cannot be finished: it is too old, used already, or not this browser's. Log in again."
            }
        });
        refusal
    }

    /// Sends the browser elsewhere because this call was permitted.
    async fn leave_for(&mut self, location: &str, operation: &str) -> Outcome {
        self.record.operation(operation);
        self.record.own();
        self.redirect(location).await
    }

    /// Sends the browser elsewhere instead of refusing it; the record says why.
    async fn turn_away(&mut self, rejection: &Rejection, location: &str) -> Outcome {
        self.record.refused(Refusal::from(rejection));
        self.redirect(location).await
    }

    async fn redirect(&mut self, location: &str) -> Outcome {
        let mut headers = page::headers(self.exchange);
        let location =
            HeaderValue::from_str(location).map_err(|_| Refusal::new(Reason::InternalDefect))?;
        headers.push((header::LOCATION, location));
        self.write(StatusCode::SEE_OTHER, headers, bytes::Bytes::new())
            .await
    }

    async fn write(
        &mut self,
        status: StatusCode,
        headers: Vec<(http::HeaderName, HeaderValue)>,
        body: bytes::Bytes,
    ) -> Outcome {
        let written = answer::page(self.exchange, status, headers, body).await;
        written.map_err(|_| body::client_closed())
    }
}

/// A login's steps are large, few and slow: they have no place in the state of every call.
fn boxed<'f, T>(
    step: impl Future<Output = T> + Send + 'f,
) -> Pin<Box<dyn Future<Output = T> + Send + 'f>> {
    Box::pin(step)
}

/// Path and query of a page, rebuilt.
fn address(path: &str, ask: &PageRequest) -> String {
    let pairs: Vec<(&str, &Option<String>)> = match ask {
        PageRequest::Tree { filter } => vec![("filter", filter)],
        PageRequest::Explain(ExplainRequest {
            request_id,
            method,
            path,
            app,
            service,
        }) => {
            vec![
                ("request_id", request_id),
                ("method", method),
                ("path", path),
                ("app", app),
                ("service", service),
            ]
        }
        PageRequest::Trail(ask) => vec![
            ("request_id", &ask.request_id),
            ("subject", &ask.subject),
            ("issuer", &ask.issuer),
            ("operation", &ask.operation),
            ("decision", &ask.decision),
            ("reason", &ask.reason),
            ("status", &ask.status),
            ("since", &ask.since),
            ("until", &ask.until),
        ],
        PageRequest::App(_) | PageRequest::Decisions(_) => Vec::new(),
    };
    let mut address = path.to_owned();
    for (key, value) in pairs
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.as_ref()?)))
    {
        address.push(if address.contains('?') { '&' } else { '?' });
        address.push_str(key);
        address.push('=');
        address.extend(percent::encode(value));
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept::TrailRequest;
    use crate::apps::AppPath;

    /// Scenario: a page is opened before logging in. Guarantees: the login leads back to the very same page.
    #[test]
    fn pages_have_an_address_to_return_to() {
        let some = |text: &str| Some(text.to_owned());
        let rows = [
            (
                "/.lightkeeper/",
                PageRequest::Tree { filter: None },
                "/.lightkeeper/",
            ),
            (
                "/.lightkeeper/",
                PageRequest::Tree {
                    filter: some("a b&c/..//d"),
                },
                "/.lightkeeper/?filter=a%20b%26c%2F..%2F%2Fd",
            ),
            (
                "/.lightkeeper/apps/shop",
                PageRequest::App(AppPath::parse("shop").unwrap()),
                "/.lightkeeper/apps/shop",
            ),
            (
                "/.lightkeeper/explain",
                PageRequest::Explain(ExplainRequest {
                    method: some("GET"),
                    path: some("/v1/x?y"),
                    ..ExplainRequest::default()
                }),
                "/.lightkeeper/explain?method=GET&path=%2Fv1%2Fx%3Fy",
            ),
            (
                "/.lightkeeper/decisions/shop",
                PageRequest::Trail(Box::new(TrailRequest {
                    subject: some("a b"),
                    until: some("2026-11-30"),
                    ..TrailRequest::of(AppPath::parse("shop").unwrap())
                })),
                "/.lightkeeper/decisions/shop?subject=a%20b&until=2026-11-30",
            ),
        ];
        for (path, ask, expected) in rows {
            let address = address(path, &ask);
            assert_eq!(address, expected);
            assert_eq!(
                ReturnPath::parse(&address).as_ref().map(ReturnPath::as_str),
                Some(expected)
            );
        }
    }
}
