//! `issuers:`, checked.
//!
//! What it does: issuer strings, audiences and key sources. What it refuses to know:
//! how a token is verified. Invariants: no two issuers can be meant by one token; keys come over plain http only
//! from this machine.

use std::time::Duration;

use super::address::HttpUrl;
use super::assertions;
use super::claims::{claim, subject_claims};
use super::cluster::{cluster, is_cluster, without_cluster};
use super::egress::{first_asked, own, route};
use super::introspection::{ambiguities, introspection, only_opaque};
use super::issuer_parts::{
    ALGORITHMS, IN_PLAINTEXT, algorithms, attributes_from, fetched_url, own_name, place, texts,
    times,
};
use super::limits::{duration_between, hours};
use super::raw::{RawAws, RawEmailUnverified, RawIssuer, RawKeys, RawLogin, RawProof, RawTokens};
use super::report::{ConfigFindings, Content};
use super::spiffe::trust_domain;
use super::vault;
use crate::document::{Spanned, name};
use crate::egress::Egress;
use crate::identify::{ClusterSettings, IssuerSettings, KeyAccess, KeySource, TokensTaken};
use crate::media_type::jose_type;
use crate::secret::SecretRef;

/// `login`: how people log in. Its issuer is asked for more than its keys, and knows clients that are no APIs.
pub(crate) fn issuers(
    report: &mut ConfigFindings<'_>,
    raw: &[RawIssuer],
    login: Option<&RawLogin>,
    egress: &Egress,
) -> Vec<IssuerSettings> {
    let mut checked: Vec<IssuerSettings> = Vec::new();
    for (index, issuer) in raw.iter().enumerate() {
        let login = login.filter(|login| login.issuer.value == issuer.name.value);
        let clients = login.map(login_clients).unwrap_or_default();
        shared_audiences(report, index, issuer, &clients);
        let settings = match &issuer.spiffe {
            Some(spiffe) => trust_domain(report, index, issuer, spiffe, login.is_some(), egress),
            None => one(report, index, issuer, login.is_some()),
        };
        let Some(settings) = settings else { continue };
        let egress = match &issuer.spiffe {
            Some(_) => settings.egress.clone(),
            None => own(
                report,
                egress,
                issuer.proxy.as_ref(),
                &format!("issuers[{index}]"),
            ),
        };
        if let (Some((tls, host, port)), Some(at)) =
            (first_asked(&settings, login.is_some()), &issuer.issuer)
        {
            route(report, &egress, at, (tls, &host, port));
        }
        let login_clients = clients.into_iter().map(|(_, id)| id).collect();
        let settings = IssuerSettings {
            login_clients,
            egress,
            ..settings
        };
        let is_in_use = login.is_some()
            || settings.introspection.is_some()
            || settings.cluster.is_some()
            || (settings.key_access.ca.is_none() && !matches!(settings.keys, KeySource::File(_)));
        if let (Some(given), false) = (&issuer.ca, is_in_use) {
            let hint = "remove `ca`, or let the keys be found by discovery or `jwks: { url: … }`";
            let (why, hint) = match settings.keys {
                KeySource::File(_) => ("the keys are in a file", hint),
                _ => ("`jwks.ca` takes its place", "remove one of the two"),
            };
            report.error_with_hint(
                given,
                format!("`issuers[{index}].ca` has no use: {why}"),
                hint,
            );
        }
        if checked.iter().any(|other| other.name == settings.name) {
            report.error(
                &issuer.name,
                format!("two issuers are named {}", name(&settings.name)),
            );
        }
        if let Some(other) = checked.iter().find(|other| other.issuer == settings.issuer) {
            let hint =
                "a token must belong to exactly one issuer: join the two, with all their audiences";
            let (at, what) = match (&issuer.spiffe, &issuer.issuer) {
                (Some(spiffe), _) => (&spiffe.value.trust_domain, "trust domain"),
                (None, Some(at)) => (at, "`issuer`"),
                (None, None) => (&issuer.name, "`issuer`"),
            };
            report.error_with_hint(
                at,
                format!("issuer {} already has this {what}", name(&other.name)),
                hint,
            );
        }
        checked.push(settings);
    }
    ambiguities(report, raw);
    checked
}

/// Reports what issuers are to prove of resources that are not read.
pub(crate) fn without_stamp(
    report: &mut ConfigFindings<'_>,
    issuers: &[RawIssuer],
    accounts: &[RawAws],
) {
    let of_issuers = issuers.iter().map(|issuer| &issuer.attributes_from);
    let of_accounts = accounts.iter().map(|account| &account.attributes_from);
    let of_accounts = of_accounts.enumerate().map(|one| ("aws", one));
    let of_issuers = of_issuers.enumerate().map(|one| ("issuers", one));
    let written = of_issuers.chain(of_accounts);
    for (section, (index, entries)) in written {
        if let Some((first, _)) = entries.0.first() {
            let message = format!(
                "`{section}[{index}].attributes_from` cannot be kept: with `ingest.stamp: off` exports pass unread"
            );
            let hint = "leave it out, or have exports read (`stamp: on`)";
            report.error_with_hint(first, message, hint);
        }
    }
}

/// The clients of a login, each with the key that names it.
fn login_clients(login: &RawLogin) -> Vec<(&'static str, String)> {
    let web = ("web.login.client_id", login.client_id.value.clone());
    let cli = login
        .cli
        .as_ref()
        .map(|cli| ("web.login.cli.client_id", cli.client_id.value.clone()));
    std::iter::once(web).chain(cli).collect()
}

/// Warns of audiences that are login clients: an ID token of a login names its client in `aud` (OpenID Connect Core section
/// 2), so that the audience does not keep it from being shown as an access token.
fn shared_audiences(
    report: &mut ConfigFindings<'_>,
    index: usize,
    raw: &RawIssuer,
    clients: &[(&'static str, String)],
) {
    // ID tokens name their client in `aud` and `azp` (OpenID Connect Core section 2), and in no other claim.
    let other = raw
        .claims
        .audience
        .as_ref()
        .is_some_and(|claim| !["aud", "azp"].contains(&claim.value.as_str()));
    if raw.tokens == Some(RawTokens::Id) || other {
        return;
    }
    for (place, audience) in raw.audiences.iter().enumerate() {
        if let Some((key, _)) = clients.iter().find(|(_, client)| *client == audience.value) {
            let message = format!(
                "`issuers[{index}].audiences[{place}]` is also `{key}`: ID tokens of logins are for this audience, too"
            );
            let hint = "register the gateway's API at the provider under a name of its own, and name that here and in \
                        `web.login.cli.audience`; or, if callers are to show ID tokens, say `tokens: id`";
            report.warning(audience, message, hint);
        }
    }
}

fn one(
    report: &mut ConfigFindings<'_>,
    index: usize,
    raw: &RawIssuer,
    has_login: bool,
) -> Option<IssuerSettings> {
    let subject = |key: &str| format!("issuers[{index}].{key}");
    let own_name = own_name(report, index, raw);
    let Some(named) = &raw.issuer else {
        let hint =
            "write the `iss` of its tokens, or `spiffe: { trust_domain: …, bundle: { file: … } }`";
        report.error_with_hint(
            &raw.name,
            format!("`issuers[{index}]` needs `issuer` or `spiffe`"),
            hint,
        );
        return None;
    };
    let has_place = raw
        .jwks
        .as_ref()
        .is_some_and(|keys| keys.value.file.is_some() || keys.value.url.is_some());
    let is_cluster = is_cluster(&named.value);
    let cluster = if is_cluster {
        cluster(report, index, raw, named, has_login)
    } else {
        without_cluster(report, index, raw);
        None
    };
    let only_opaque = !is_cluster && only_opaque(report, index, raw, has_login);
    let introspection = match &raw.introspection {
        Some(given) if !is_cluster => Some(introspection(report, index, given)),
        _ => None,
    };
    let issuer = if is_cluster {
        cluster
            .as_ref()
            .map(|cluster| cluster.api.replacen("https", "kubernetes", 1))
    } else if (!has_place && !only_opaque) || has_login {
        discovered(report, named, &subject("issuer"), has_login)
    } else {
        compared(report, named, &subject("issuer"))
    };
    let audiences = texts(report, &raw.audiences, &subject("audiences"));
    let algorithms = algorithms(report, raw, &ALGORITHMS);
    let keys = match (&raw.jwks, &cluster) {
        (_, Some(cluster)) => Some(keys_of(cluster)),
        (Some(given), None) => key_source(report, given, &format!("issuers[{index}]")),
        (None, None) if only_opaque => Some((KeySource::Nowhere, KeyAccess::default())),
        (None, None) => Some((KeySource::Discovery, KeyAccess::default())),
    };
    let ca = match &raw.ca {
        _ if is_cluster => None,
        Some(given) => Some(report.path(given, &subject("ca"), Content::Trust)?),
        None => None,
    };
    let subject_claims = subject_claims(
        report,
        raw.claims.subject.as_ref(),
        &subject("claims.subject"),
    );
    let groups_claim = claim(
        report,
        raw.claims.groups.as_ref(),
        &subject("claims.groups"),
        "groups",
    );
    let audience_claim = claim(
        report,
        raw.claims.audience.as_ref(),
        &subject("claims.audience"),
        "aud",
    );
    let refresh = duration_between(
        report,
        raw.refresh.as_ref(),
        &subject("refresh"),
        hours(1),
        Duration::from_secs(60)..=hours(24),
    );
    let stale_keys = duration_between(
        report,
        raw.stale_keys.as_ref(),
        &subject("stale_keys"),
        hours(24).max(refresh),
        refresh..=hours(168),
    );
    let (leeway, max_lifetime) = times(report, index, raw);
    let (keys, key_access) = keys?;
    Some(IssuerSettings {
        name: own_name?,
        issuer: issuer?,
        audiences,
        algorithms,
        keys,
        ca,
        key_access,
        subject_claims,
        groups_claim: groups_claim?,
        audience_claim: audience_claim?,
        types: types(raw.types.as_deref()),
        header: match &raw.header {
            Some(given) => Some(assertions::header(report, given, &subject("header"))?),
            None => None,
        },
        accepts_unverified_email: raw.email_unverified == Some(RawEmailUnverified::Accept),
        tokens: match raw.tokens {
            // RFC 9068 section 5: what is for a client is not for an API.
            None | Some(RawTokens::Access) => TokensTaken::Access,
            Some(RawTokens::Id) => TokensTaken::Id,
            Some(RawTokens::Any) => TokensTaken::Any,
        },
        // The caller knows both.
        egress: Egress::Direct,
        dpop_required: raw.dpop == Some(RawProof::Required),
        login_clients: Vec::new(),
        leeway,
        max_lifetime,
        stale_keys,
        refresh,
        introspection: match introspection {
            Some(checked) => Some(checked?),
            None => None,
        },
        cluster,
        attributes: attributes_from(report, raw, index),
    })
}

/// Where an API server has its keys. What its discovery document calls `jwks_uri` may lead out of the cluster.
fn keys_of(cluster: &ClusterSettings) -> (KeySource, KeyAccess) {
    let access = KeyAccess {
        token: Some(SecretRef::File(cluster.token_file())),
        ca: Some(cluster.ca_file()),
    };
    (
        KeySource::Url(format!("{}/openid/v1/jwks", cluster.api)),
        access,
    )
}

/// Where keys are, as `jwks` of what stands at `owner` says. `None`: it was reported.
pub(crate) fn key_source(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<RawKeys>,
    owner: &str,
) -> Option<(KeySource, KeyAccess)> {
    let subject = |key: &str| format!("{owner}.jwks.{key}");
    let RawKeys {
        file,
        url,
        token,
        ca,
    } = &at.value;
    let whole = format!("{owner}.jwks");
    let source = match (file, url) {
        (Some(_), Some(_)) => {
            let hint = "write `{ file: jwks.json }` or `{ url: https://… }`";
            report.error_with_hint(
                at,
                format!("`{whole}` needs exactly one of `file`, `url`"),
                hint,
            );
            None
        }
        (None, None) if token.is_none() && ca.is_none() => {
            let hint = "write `{ file: jwks.json }` or `{ url: https://… }`, or leave it out: keys are found by discovery";
            report.error_with_hint(at, format!("`{whole}` says nothing"), hint);
            None
        }
        (None, None) => Some(KeySource::Discovery),
        (None, Some(url)) => {
            let parsed = HttpUrl::parse_with_query(&url.value);
            fetched_url(
                report,
                url,
                &url.value,
                parsed,
                &subject("url"),
                IN_PLAINTEXT,
            )
            .map(KeySource::Url)
        }
        (Some(file), None) => {
            let unused = [
                ("token", token.as_ref().map(place)),
                ("ca", ca.as_ref().map(place)),
            ];
            for (key, place) in unused
                .into_iter()
                .filter_map(|(key, place)| Some((key, place?)))
            {
                report.error(
                    &place,
                    format!("`{}` has no use: the keys are in a file", subject(key)),
                );
            }
            report
                .path(file, &subject("file"), Content::Keys)
                .map(KeySource::File)
        }
    };
    let token = match token {
        Some(given) => Some(vault::secret(report, given, &subject("token"))?),
        None => None,
    };
    let ca = match ca {
        Some(given) => Some(report.path(given, &subject("ca"), Content::Trust)?),
        None => None,
    };
    Some((source?, KeyAccess { token, ca }))
}

/// The longest `issuer` that is only compared, in bytes.
const ISSUER_LIMIT_BYTES: usize = 1024;

/// An `issuer` at which something is discovered, its keys or how people log in.
fn discovered(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<String>,
    subject: &str,
    has_login: bool,
) -> Option<String> {
    let hint = if has_login {
        IN_PLAINTEXT
    } else {
        "plain `http` is only accepted for a loopback address; where tokens only say so, and the keys are elsewhere, name \
         their place: `jwks: { url: https://… }` or `jwks: { file: jwks.json }`"
    };
    fetched_url(
        report,
        at,
        &at.value,
        HttpUrl::parse(&at.value),
        subject,
        hint,
    )
}

/// An `issuer` that is only compared with `iss`: AD FS writes `http://{host}/adfs/services/trust`, and Google has written
/// `accounts.google.com`.
pub(crate) fn compared(
    report: &mut ConfigFindings<'_>,
    at: &Spanned<String>,
    subject: &str,
) -> Option<String> {
    if (1..=ISSUER_LIMIT_BYTES).contains(&at.value.len()) && !at.value.contains(char::is_control) {
        return Some(at.value.clone());
    }
    report.error(
        at,
        format!("`{subject}` must be 1 to {ISSUER_LIMIT_BYTES} bytes without control characters"),
    );
    None
}

/// RFC 9068 section 2.1 (`at+jwt`), RFC 7519 section 5.1 (`JWT`), and none at all, as many issuers send;
/// `application/` may be left out (RFC 7515 section 4.1.9).
fn types(given: Option<&[Spanned<String>]>) -> Vec<String> {
    let Some(given) = given else {
        return ["at+jwt", "jwt", ""].map(str::to_owned).to_vec();
    };
    given.iter().map(|text| jose_type(&text.value)).collect()
}
