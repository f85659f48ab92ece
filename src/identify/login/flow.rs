//! The three steps of a login: begin, finish, end.
//!
//! What it does: joins provider, transaction and session (OpenID Connect Core section 3.1, RFC 9700 section 2.1). What
//! it refuses to know: HTTP towards the browser. Invariants: a transaction is exchanged once at most, and spent by that,
//! whatever comes of it; nothing of the callback is used before `state` holds, and nothing is asked of the provider
//! before; no text of the provider's leaves.

use std::net::IpAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use openidconnect::core::CoreAuthenticationFlow;
use openidconnect::{CsrfToken, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope};
use serde_json::{Map, Value};

use super::id_token::{self, Expected};
use super::provider::ProviderDocument;
use super::session::{LoginMarks, SealedSession};
use super::transaction::Transaction;
use super::{Begun, Finished, Login, Unfinished, random_text};
use crate::accept::{ReturnPath, SessionCookie};
use crate::clock::{Clock, UnixMillis};
use crate::identify::claim_path::{ClaimPath, FoundClaim};
use crate::identify::doubts::{self, Doubt, EMAIL};
use crate::identify::facts::Facts;
use crate::reason::Reason;

/// An origin that is longer cannot be one.
const ORIGIN_LIMIT_BYTES: usize = 300;

/// Pairs of one callback; providers add a few of their own.
const PAIRS_LIMIT: usize = 32;

/// One value of a callback. Codes of some providers are small tokens of their own.
const VALUE_LIMIT_BYTES: usize = 8 * 1024;

impl Login {
    /// Begins a login. `origin`: scheme and authority that the browser uses; the redirect address is
    /// `{origin}/.lightkeeper/callback`.
    pub async fn begin(
        &self,
        return_to: &ReturnPath,
        origin: &str,
        now: UnixMillis,
    ) -> Result<Begun, Reason> {
        let redirect = redirect(origin)?;
        let known = self.provider.known(now).await?;
        let random = || random_text::<32>().ok_or(Reason::LoginUnsealed);
        let transaction = Transaction {
            state: random()?,
            nonce: random()?,
            verifier: random()?,
            return_to: return_to.as_str().to_owned(),
            stamp: self.stamp.clone(),
            begun: now.seconds(),
        };
        let verifier = PkceCodeVerifier::new(transaction.verifier.clone());
        let (state, nonce) = (transaction.state.clone(), transaction.nonce.clone());
        let client = known.client(&self.settings.client_id, None, redirect);
        // `openid` is asked for by the library itself.
        let scopes = self
            .settings
            .scopes
            .iter()
            .filter(|scope| *scope != "openid");
        let (location, _, _) = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                || CsrfToken::new(state),
                || Nonce::new(nonce),
            )
            .add_scopes(scopes.map(|scope| Scope::new(scope.clone())))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .url();
        Ok(Begun {
            location: location.into(),
            cookie: transaction.seal(&self.keys, origin)?,
        })
    }

    /// Finishes a login. `answer`: the callback's query pairs, decoded, as they came; `transaction`: the login cookie;
    /// `address`: where the call came from. The provider is asked only for a login that began here, that was not
    /// exchanged before, and whose `state` the answer holds; and only in the turn of its address.
    pub async fn finish(
        &self,
        answer: &[(String, String)],
        transaction: Option<&str>,
        origin: &str,
        address: IpAddr,
        clock: &Clock,
    ) -> Result<Finished, Unfinished> {
        let open = |fault| Unfinished {
            fault,
            is_over: false,
        };
        let over = |fault| Unfinished {
            fault,
            is_over: true,
        };
        let redirect = redirect(origin).map_err(open)?;
        let now = clock.now();
        let transaction =
            Transaction::open(&self.keys, transaction, origin, &self.stamp, now).map_err(over)?;
        if self
            .memory
            .spent
            .contains(&transaction.state, transaction.ends())
        {
            return Err(over(Reason::LoginTransactionSpent));
        }
        // A link of another site's can make the browser send an answer with its cookie: it must not end the login.
        let answer = CallbackAnswer::read(answer).map_err(open)?;
        let state = answer.state.unwrap_or_default();
        verify_slices_are_equal(state.as_bytes(), transaction.state.as_bytes())
            .map_err(|_| open(Reason::LoginStateMismatch))?;
        let known = self.provider.known(now).await.map_err(open)?;
        let code = answer
            .code(&self.issuer.settings().issuer, known.names_itself)
            .map_err(over)?;
        let turn = self
            .exchanges
            .take(address)
            .await
            .ok_or(open(Reason::LoginBusy))?;
        let now = clock.now();
        if !self
            .memory
            .spent
            .add(&transaction.state, transaction.ends(), now.seconds())
        {
            return Err(over(Reason::LoginTransactionSpent));
        }
        let finished = self
            .exchange(code, &transaction, &known, redirect, origin, now)
            .await
            .map_err(over);
        drop(turn);
        finished
    }

    /// Exchanges the code, and makes the session of the person it was given for.
    async fn exchange(
        &self,
        code: &str,
        transaction: &Transaction,
        known: &ProviderDocument,
        redirect: RedirectUrl,
        origin: &str,
        now: UnixMillis,
    ) -> Result<Finished, Reason> {
        let client = known.client(&self.settings.client_id, self.secret.as_ref(), redirect);
        let tokens = self
            .provider
            .exchange(&client, code, &transaction.verifier)
            .await?;
        let expected = Expected {
            client_id: &self.settings.client_id,
            nonce: &transaction.nonce,
            access_token: &tokens.access_token,
        };
        let claims = id_token::judge(&self.issuer, &tokens.id_token, &expected, now).await?;
        // As they are signed; userinfo says nothing of them.
        let signed = id_token::marks(&claims)?;
        let facts = self.person(claims, known, &tokens.access_token).await?;
        let proof = LoginMarks {
            account: signed.account.filter(|account| **account != *facts.subject),
            ..signed
        };
        // Otherwise the browser would be sent to and fro.
        self.revocations.judge(Some(&proof.of(&facts)), None, now)?;
        facts
            .doubts
            .settled_by(Some(&self.settings.policy_claims), &facts.claims)
            .map_err(|doubt| match doubt {
                Doubt::Elsewhere => Reason::LoginClaimsElsewhere,
                Doubt::EmailUnverified => Reason::LoginEmailUnverified,
                Doubt::Unreadable => Reason::LoginIdTokenClaims,
            })?;
        let session = SealedSession::begin(
            (&facts, proof),
            &self.settings.policy_claims.claims,
            &self.stamp,
            self.lifetimes(),
            now,
        );
        let session = session.ok_or(Reason::LoginUnsealed)?;
        Ok(Finished {
            return_to: transaction.return_path(),
            session: session.seal(&self.keys, origin, self.lifetimes())?,
            issuer: facts.issuer.to_string(),
            subject: facts.subject.to_string(),
            subject_claim: facts.subject_claim.clone(),
        })
    }

    /// Ends a session here only; `None`: it is none of ours.
    pub(crate) fn retire(&self, session: &SessionCookie, now: UnixMillis) -> Option<()> {
        // One that is over or idle is ended too: its lifetimes may be made longer again.
        let kept = SealedSession::open(&self.keys, &session.value, &session.origin)?;
        self.memory
            .revoked
            .add(&kept.id, kept.latest_end(), now.seconds());
        Some(())
    }

    /// Ends a session here, and tells where the browser goes to end it at the provider (RP-Initiated Logout 1.0), if
    /// the provider offers that.
    pub async fn end(&self, session: &SessionCookie, now: UnixMillis) -> Option<String> {
        self.retire(session, now)?;
        let known = self.provider.known(now).await.ok()?;
        let back = format!("{}/.lightkeeper/signed-out", session.origin);
        let mut place = openidconnect::url::Url::parse(known.end_session.as_deref()?).ok()?;
        place
            .query_pairs_mut()
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("post_logout_redirect_uri", &back);
        Some(place.into())
    }

    /// Who the claims are about, with what userinfo adds where it is asked.
    async fn person(
        &self,
        mut claims: Map<String, Value>,
        known: &ProviderDocument,
        access_token: &str,
    ) -> Result<Facts, Reason> {
        if self.settings.groups_from_userinfo {
            let said = self.provider.userinfo(known, access_token).await?;
            // Core section 5.3.2: else it is about another person, whose token was put in place of ours.
            if said.get("sub").and_then(Value::as_str) != claims.get("sub").and_then(Value::as_str)
            {
                return Err(Reason::LoginUserinfoSubject);
            }
            join(&mut claims, said, &self.issuer.settings().groups_claim)
                .map_err(|_| Reason::LoginIdTokenClaims)?;
        }
        self.issuer.person(claims).map_err(|reason| match reason {
            Reason::TokenEmailUnverified => Reason::LoginEmailUnverified,
            Reason::TokenClaimsElsewhere => Reason::LoginClaimsElsewhere,
            _ => Reason::LoginIdTokenClaims,
        })
    }
}

/// Adds to an ID token's claims what userinfo says, which alone says the groups.
fn join(
    signed: &mut Map<String, Value>,
    mut said: Map<String, Value>,
    groups: &ClaimPath,
) -> Result<(), Reason> {
    if groups.find(&said) == FoundClaim::WrongType {
        return Err(Reason::TokenClaims);
    }
    groups.take(signed);
    let groups_said = groups.take(&mut said);
    // What either calls elsewhere is, unless it is the groups, and userinfo has them.
    let mut elsewhere = doubts::elsewhere(signed)?;
    // What stands beside the groups is not settled by them.
    if groups_said.is_some() && groups.is(groups.top()) {
        elsewhere.remove(groups.top());
    }
    elsewhere.extend(doubts::elsewhere(&said)?);
    for name in ["_claim_names", "hasgroups"] {
        signed.remove(name);
        said.remove(name);
    }
    if !elsewhere.is_empty() {
        let sources = elsewhere
            .into_iter()
            .map(|name| (name, Value::Null))
            .collect();
        signed.insert("_claim_names".to_owned(), Value::Object(sources));
    }
    // An address and the word about it belong together.
    match (signed.get(EMAIL), said.get(EMAIL)) {
        (None, _) => drop(signed.remove("email_verified")),
        (Some(one), other) if Some(one) != other => drop(said.remove("email_verified")),
        _ => {}
    }
    for (name, value) in said {
        // What is signed is not replaced by what is not.
        signed.entry(name).or_insert(value);
    }
    let placed = groups_said.is_none_or(|value| groups.put(signed, value));
    if placed {
        Ok(())
    } else {
        Err(Reason::TokenClaims)
    }
}

fn redirect(origin: &str) -> Result<RedirectUrl, Reason> {
    let scheme = origin
        .strip_prefix("https://")
        .or(origin.strip_prefix("http://"));
    let authority = scheme
        .filter(|authority| !authority.is_empty())
        .ok_or(Reason::LoginOrigin)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if origin.len() > ORIGIN_LIMIT_BYTES || !authority.bytes().all(plain) {
        return Err(Reason::LoginOrigin);
    }
    RedirectUrl::new(format!("{origin}/.lightkeeper/callback")).map_err(|_| Reason::LoginOrigin)
}

/// The callback's pairs (RFC 6749 section 4.1.2, RFC 9207 section 2). Unknown pairs are ignored, as section
/// 4.1.2 has it, once.
struct CallbackAnswer<'a> {
    state: Option<&'a str>,
    code: Option<&'a str>,
    issuer: Option<&'a str>,
    error: Option<&'a str>,
}

impl<'a> CallbackAnswer<'a> {
    fn read(pairs: &'a [(String, String)]) -> Result<Self, Reason> {
        let fault = Reason::LoginCallbackMalformed;
        let mut answer = CallbackAnswer {
            state: None,
            code: None,
            issuer: None,
            error: None,
        };
        let mut seen = std::collections::HashSet::new();
        if pairs.len() > PAIRS_LIMIT {
            return Err(fault);
        }
        for (name, value) in pairs {
            if !seen.insert(name.as_str()) || value.len() > VALUE_LIMIT_BYTES {
                return Err(fault);
            }
            let place = match name.as_str() {
                "state" => &mut answer.state,
                "code" => &mut answer.code,
                "iss" => &mut answer.issuer,
                "error" => &mut answer.error,
                // Tokens in the front channel belong to flows that did not begin here.
                "id_token" | "access_token" | "token_type" | "response" => return Err(fault),
                _ => continue,
            };
            *place = Some(value.as_str()).filter(|value| !value.is_empty());
            if place.is_none() {
                return Err(fault);
            }
        }
        match (answer.code, answer.error) {
            (Some(_), None) | (None, Some(_)) => Ok(answer),
            _ => Err(fault),
        }
    }

    /// The code, if the answer is the issuer's own and no error.
    fn code(&self, issuer: &str, names_itself: bool) -> Result<&'a str, Reason> {
        match self.issuer {
            Some(named) if named == issuer => {}
            None if !names_itself => {}
            _ => return Err(Reason::LoginIssuerMismatch),
        }
        match (self.code, self.error) {
            (Some(code), None) => Ok(code),
            (_, Some("access_denied")) => Err(Reason::LoginAccessDenied),
            _ => Err(Reason::LoginProviderRefused),
        }
    }
}
