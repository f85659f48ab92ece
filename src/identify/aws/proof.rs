//! A signed call to AWS that a caller made for us to send: its form, and how it is sent.
//!
//! What it does: takes a token apart into typed values, and writes the call anew from them. What it refuses to know: whether the
//! signature holds, which only AWS can say; which hosts and audiences count. Invariants: the caller's own text is never sent,
//! only values that this file has read, written by this file; each parameter is known, stands once, and has one spelling, so
//! that STS and we cannot read two different things (CVE-2022-2385, CVE-2020-16250); nothing is written to a log.
//!
//! The form is that of tokens for EKS (`aws eks get-token`): `k8s-aws-v1.` and the unpadded base64url of the URL of a presigned
//! `GetCallerIdentity`, whose signature covers the header `x-k8s-aws-id`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use time::{Date, Month, PrimitiveDateTime, Time};
use zeroize::Zeroizing;

use crate::accept::AWS_PROOF_PREFIX;
use crate::percent;

/// A whole token. Those of the longest sessions stay below it, and verifiers of EKS take no larger one.
const TOKEN_LIMIT_BYTES: usize = 4096;
/// What a presigned call may live (`X-Amz-Expires`), in seconds. STS pays no heed to it.
const EXPIRES_LIMIT_SECONDS: u16 = 900;

const ACTION: &str = "GetCallerIdentity";
const VERSION: &str = "2011-06-15";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SIGNED_HEADERS: &str = "host;x-k8s-aws-id";

/// What a token says, of the right form. Nothing of it is proven.
pub(super) struct AwsProof {
    /// As written; the caller of this file compares it with the hosts that count.
    pub host: Zeroizing<String>,
    pub region: String,
    /// The public half of the credential.
    access_key: String,
    /// `20261130T004500Z`.
    date: String,
    pub signed_unix_seconds: i64,
    expires: u16,
    security_token: Option<Zeroizing<String>>,
    signature: String,
}

/// The parameters of a presigned call, each as it is written, unescaped.
#[derive(Default)]
struct Parameters {
    action: Option<Zeroizing<String>>,
    version: Option<Zeroizing<String>>,
    algorithm: Option<Zeroizing<String>>,
    credential: Option<Zeroizing<String>>,
    date: Option<Zeroizing<String>>,
    expires: Option<Zeroizing<String>>,
    security_token: Option<Zeroizing<String>>,
    signed_headers: Option<Zeroizing<String>>,
    signature: Option<Zeroizing<String>>,
}

impl Parameters {
    /// `None`: one is unknown, stands twice, or is not written in the one spelling.
    fn read(query: &str) -> Option<Self> {
        let mut found = Parameters::default();
        for pair in query.split('&') {
            let (name, written) = pair.split_once('=')?;
            let place = match name {
                "Action" => &mut found.action,
                "Version" => &mut found.version,
                "X-Amz-Algorithm" => &mut found.algorithm,
                "X-Amz-Credential" => &mut found.credential,
                "X-Amz-Date" => &mut found.date,
                "X-Amz-Expires" => &mut found.expires,
                "X-Amz-Security-Token" => &mut found.security_token,
                "X-Amz-SignedHeaders" => &mut found.signed_headers,
                "X-Amz-Signature" => &mut found.signature,
                _ => return None,
            };
            let value: Vec<u8> = percent::decode(written)?.collect();
            let value = Zeroizing::new(String::from_utf8(value).ok()?);
            let is_spelt_so =
                Zeroizing::new(percent::encode(&value).to_string()).as_str() == written;
            if !is_spelt_so || place.replace(value).is_some() {
                return None;
            }
        }
        Some(found)
    }
}

impl AwsProof {
    /// Who signed, as far as it can be told before AWS says: the access key, and the token without which a session's key is
    /// worth nothing. The key alone stands in logs, and who read it there is not who was accepted with it.
    pub(super) fn credential(&self) -> Zeroizing<String> {
        let token = self.security_token.as_ref().map_or("", |token| token);
        Zeroizing::new(format!("{} {token}", self.access_key))
    }

    /// Takes a token apart. `None`: it is not of the form, and nothing more is said of it.
    pub(super) fn parse(token: &[u8]) -> Option<Self> {
        if token.len() > TOKEN_LIMIT_BYTES {
            return None;
        }
        let encoded = token.strip_prefix(AWS_PROOF_PREFIX.as_bytes())?;
        let url = Zeroizing::new(String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()?);
        let (host, query) = url.strip_prefix("https://")?.split_once("/?")?;
        let given = Parameters::read(query)?;
        let is = |given: &Option<Zeroizing<String>>, expected: &str| {
            given
                .as_ref()
                .is_some_and(|given| given.as_str() == expected)
        };
        let is_the_call = is(&given.action, ACTION)
            && is(&given.version, VERSION)
            && is(&given.algorithm, ALGORITHM)
            && is(&given.signed_headers, SIGNED_HEADERS);
        if !is_the_call {
            return None;
        }
        let credential = given.credential?;
        let [access_key, day, region, service, end] = scope(&credential)?;
        let date = given.date?;
        let signed_unix_seconds = instant(&date)?;
        let is_scope = date.get(..8) == Some(day) && service == "sts" && end == "aws4_request";
        let signature = given.signature?;
        if !is_scope || !is_access_key(access_key) || !is_signature(&signature) {
            return None;
        }
        if given
            .security_token
            .as_ref()
            .is_some_and(|token| !is_security_token(token))
        {
            return None;
        }
        Some(AwsProof {
            host: Zeroizing::new(host.to_owned()),
            region: region.to_owned(),
            access_key: access_key.to_owned(),
            date: date.to_string(),
            signed_unix_seconds,
            expires: expires(&given.expires?)?,
            security_token: given.security_token,
            signature: signature.to_string(),
        })
    }

    /// The URL to ask at `host`, which is ours and equal to the token's: parameters sorted, each in RFC 3986's one spelling,
    /// the signature behind them.
    pub(super) fn url(&self, host: &str) -> Zeroizing<String> {
        let AwsProof {
            access_key,
            date,
            region,
            expires,
            signature,
            ..
        } = self;
        let day = date.get(..8).unwrap_or_default();
        let credential = format!("{access_key}/{day}/{region}/sts/aws4_request");
        let security_token = self.security_token.as_ref().map(|token| {
            let token = percent::encode(token);
            Zeroizing::new(format!("&X-Amz-Security-Token={token}"))
        });
        let security_token = security_token.as_ref().map_or("", |text| text.as_str());
        Zeroizing::new(format!(
            "https://{host}/?Action={ACTION}&Version={VERSION}&X-Amz-Algorithm={ALGORITHM}\
             &X-Amz-Credential={}&X-Amz-Date={date}&X-Amz-Expires={expires}{security_token}\
             &X-Amz-SignedHeaders={}&X-Amz-Signature={signature}",
            percent::encode(&credential),
            percent::encode(SIGNED_HEADERS),
        ))
    }
}

/// `AKIA…/20261130/eu-west-1/sts/aws4_request`.
fn scope(credential: &str) -> Option<[&str; 5]> {
    let mut parts = credential.split('/');
    let found = [
        parts.next()?,
        parts.next()?,
        parts.next()?,
        parts.next()?,
        parts.next()?,
    ];
    parts.next().is_none().then_some(found)
}

/// Unix seconds of `20261130T004500Z`.
fn instant(text: &str) -> Option<i64> {
    let digits = |from: usize, to: usize| -> Option<u16> {
        let part = text.get(from..to)?;
        let is_number = part.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| part.parse().ok())?
    };
    let byte = |from: usize, to: usize| -> Option<u8> { u8::try_from(digits(from, to)?).ok() };
    if text.len() != 16 || text.get(8..9) != Some("T") || text.get(15..) != Some("Z") {
        return None;
    }
    let month = Month::try_from(byte(4, 6)?).ok()?;
    let date = Date::from_calendar_date(i32::from(digits(0, 4)?), month, byte(6, 8)?).ok()?;
    let time = Time::from_hms(byte(9, 11)?, byte(11, 13)?, byte(13, 15)?).ok()?;
    Some(
        PrimitiveDateTime::new(date, time)
            .assume_utc()
            .unix_timestamp(),
    )
}

/// 0 to 900 in the one spelling.
fn expires(text: &str) -> Option<u16> {
    let seconds: u16 = text.parse().ok()?;
    let is_plain = seconds.to_string() == text;
    (is_plain && seconds <= EXPIRES_LIMIT_SECONDS).then_some(seconds)
}

fn is_access_key(text: &str) -> bool {
    (16..=128).contains(&text.len())
        && text.starts_with('A')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

fn is_signature(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Base64.
fn is_security_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
}
