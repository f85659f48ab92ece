//! `web:` and `vault.session_keys`, checked.
//!
//! What it does: how people log in, how long they stay, and which keys seal that. What it refuses to know: the
//! provider, the keys. Invariants: a login names an issuer of this file and has a key; a session is never idle for
//! longer than it lives; nothing that may be a secret reaches a message.

use std::time::Duration;

use super::address::HttpUrl;
use super::limits::{duration_between, hours};
use super::raw::{RawCli, RawConfig, RawGroups, RawLogin, RawSecret, RawService, RawSession};
use super::report::{ConfigFindings, Content};
use super::vault;
use crate::document::{Spanned, name, names, nearest};
use crate::identify::{CliSettings, LoginSettings, PolicyClaims};
use crate::secret::SecretRef;

/// The most session keys: the current one, the last, and some patience.
const KEY_LIMIT: usize = 8;

/// The login, if there is one, under the checked `vault.session_keys`. `None` also where an error was reported.
pub(crate) fn login(
    report: &mut ConfigFindings<'_>,
    raw: &RawConfig,
    keys: Vec<SecretRef>,
) -> Option<LoginSettings> {
    let Some(login) = &raw.web.login else {
        let seals_nonces = raw.listeners.iter().any(|one| one.public_url.is_some());
        if let (Some(first), false) = (raw.vault.session_keys.first(), seals_nonces) {
            report.warning(
                first,
                "`vault.session_keys` has no use without `web.login` or a listener's `public_url`",
                "remove it, or add one of the two",
            );
        }
        return None;
    };
    joined(report, raw, login);
    let text = |at: &Spanned<String>| at.value.clone();
    client_id(report, &login.client_id, "web.login.client_id");
    let client_secret = login
        .client_secret
        .as_ref()
        .map(|given| vault::secret(report, given, "web.login.client_secret"));
    let scopes = scopes(
        report,
        login.scopes.as_deref(),
        "web.login.scopes",
        &["openid", "profile", "email"],
    );
    if let Some(first) = login.scopes.as_ref().and_then(|given| given.first())
        && !scopes.iter().any(|scope| scope == "openid")
    {
        let hint =
            "without it the provider gives no ID token (OpenID Connect Core section 3.1.2.1)";
        report.error_with_hint(first, "`web.login.scopes` must name `openid`", hint);
    }
    let (lifetime, idle) = lifetimes(report, &login.session);
    let cli = login.cli.as_ref().map(|cli| self::cli(report, cli));
    Some(LoginSettings {
        issuer: text(&login.issuer),
        client_id: text(&login.client_id),
        client_secret: match client_secret {
            Some(checked) => Some(checked?),
            None => None,
        },
        scopes,
        groups_from_userinfo: login.groups == Some(RawGroups::Userinfo),
        lifetime,
        idle,
        keys,
        // The policy is not read yet.
        policy_claims: PolicyClaims::default(),
        cli,
    })
}

/// What only the rest of the file can say.
fn joined(report: &mut ConfigFindings<'_>, raw: &RawConfig, login: &RawLogin) {
    let known = || raw.issuers.iter().map(|issuer| issuer.name.value.as_str());
    let issuer = raw
        .issuers
        .iter()
        .find(|issuer| issuer.name.value == login.issuer.value);
    if issuer.is_none() {
        let hint = match nearest(&login.issuer.value, known()) {
            Some(near) => format!("did you mean {}?", name(near)),
            None if raw.issuers.is_empty() => "add the provider to `issuers`".to_owned(),
            None => format!("one of {}", names(known())),
        };
        let message = format!(
            "`web.login.issuer` names no issuer: {}",
            name(&login.issuer.value)
        );
        report.error_with_hint(&login.issuer, message, hint);
    }
    if let (Some(issuer), Some(audience)) = (
        issuer,
        login.cli.as_ref().and_then(|cli| cli.audience.as_ref()),
    ) && !issuer
        .audiences
        .iter()
        .any(|known| known.value == audience.value)
    {
        let hint = format!(
            "add it to the `audiences` of issuer {}",
            name(&issuer.name.value)
        );
        let message = "`web.login.cli.audience` is none that the issuer's tokens are accepted with";
        report.error_with_hint(audience, message, hint);
    }
    own_audience(report, raw, login);
    if raw.vault.session_keys.is_empty() {
        let hint = "make one with `openssl rand -base64 32`, and add `vault: { session_keys: [{ file: … }] }`";
        report.error_with_hint(
            &login.issuer,
            "`web.login` needs `vault.session_keys`, which seal the sessions",
            hint,
        );
    }
    let serves_web = raw.listeners.iter().any(|listener| {
        listener
            .serves
            .as_ref()
            .is_none_or(|serves| serves.iter().any(|one| one.value == RawService::Web))
    });
    if !serves_web {
        let hint = "add `web` to the `serves` of a listener, or remove `web.login`";
        report.warning(
            &login.issuer,
            "no person can log in, because no listener serves `web`",
            hint,
        );
    }
}

/// The command line asks for no token for another's web address (RFC 9700 section 4.9.1).
fn own_audience(report: &mut ConfigFindings<'_>, raw: &RawConfig, login: &RawLogin) {
    let Some(audience) = login.cli.as_ref().and_then(|cli| cli.audience.as_ref()) else {
        return;
    };
    let origin = |text: &str| {
        HttpUrl::parse(text)
            .ok()
            .map(|url| (url.tls, url.host.to_ascii_lowercase(), url.port))
    };
    let Some(wanted) = origin(&audience.value) else {
        return;
    };
    let mut public = raw
        .listeners
        .iter()
        .filter_map(|listener| origin(&listener.public_url.as_ref()?.value))
        .peekable();
    if public.peek().is_some() && !public.any(|own| own == wanted) {
        let message = "`web.login.cli.audience` is the address of no listener";
        let hint = "an audience that is a web address must be a listener's `public_url`, so that no other gateway can ask for it";
        report.error_with_hint(audience, message, hint);
    }
}

/// `vault.session_keys`.
pub(crate) fn session_keys(
    report: &mut ConfigFindings<'_>,
    raw: &[Spanned<RawSecret>],
) -> Vec<SecretRef> {
    if let Some(surplus) = raw.get(KEY_LIMIT) {
        report.error(
            surplus,
            format!("at most {KEY_LIMIT} session keys may overlap"),
        );
    }
    let keys = raw.iter().enumerate();
    keys.filter_map(|(index, key)| {
        vault::reference(
            report,
            key,
            &format!("vault.session_keys[{index}]"),
            Content::SessionKey,
        )
    })
    .collect()
}

fn lifetimes(report: &mut ConfigFindings<'_>, raw: &RawSession) -> (Duration, Duration) {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let lifetime = "web.login.session.lifetime";
    let lifetime = duration_between(
        report,
        raw.lifetime.as_ref(),
        lifetime,
        hours(8),
        minutes(5)..=hours(168),
    );
    let idle = "web.login.session.idle";
    let idle = duration_between(
        report,
        raw.idle.as_ref(),
        idle,
        minutes(30).min(lifetime),
        minutes(2)..=lifetime,
    );
    (lifetime, idle)
}

fn cli(report: &mut ConfigFindings<'_>, raw: &RawCli) -> CliSettings {
    client_id(report, &raw.client_id, "web.login.cli.client_id");
    let scopes = scopes(
        report,
        raw.scopes.as_deref(),
        "web.login.cli.scopes",
        &["openid", "offline_access"],
    );
    if let Some(audience) = raw
        .audience
        .as_ref()
        .filter(|audience| audience.value.is_empty())
    {
        report.error(audience, "`web.login.cli.audience` must not be empty");
    }
    let audience = raw.audience.as_ref().map(|audience| audience.value.clone());
    CliSettings {
        client_id: raw.client_id.value.clone(),
        scopes,
        audience,
    }
}

/// RFC 6749 appendix A.1: visible ASCII and spaces.
fn client_id(report: &mut ConfigFindings<'_>, at: &Spanned<String>, subject: &str) {
    let visible = at.value.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
    if !visible || !(1..=255).contains(&at.value.len()) {
        report.error(
            at,
            format!("`{subject}` must be 1 to 255 characters of printable ASCII"),
        );
    }
}

/// RFC 6749 appendix A.4: visible ASCII but `"` and `\`.
fn scopes(
    report: &mut ConfigFindings<'_>,
    given: Option<&[Spanned<String>]>,
    subject: &str,
    default: &[&str],
) -> Vec<String> {
    let Some(given) = given else {
        return default.iter().map(|scope| (*scope).to_owned()).collect();
    };
    for (index, scope) in given.iter().enumerate() {
        let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if !(1..=255).contains(&scope.value.len()) || !scope.value.bytes().all(allowed) {
            report.error(
                scope,
                format!(
                    "`{subject}[{index}]` must be one scope: visible ASCII without `\"` and `\\`"
                ),
            );
        }
    }
    given.iter().map(|scope| scope.value.clone()).collect()
}
