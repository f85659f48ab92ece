//! AWS's signatures (Signature Version 4), for presigned calls of `GetCallerIdentity`, and in the header of other calls.
//!
//! What it does: presigns as a workload's AWS library does, written from AWS's documentation of the format, and computes what a
//! signature must be. What it refuses to know: the gateway, and who has which keys. Invariant: what is signed is what is given;
//! nothing is repaired.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use time::OffsetDateTime;
use time::macros::format_description;

/// What a workload signs with.
#[derive(Clone, Debug)]
pub struct AwsKeys {
    pub access_key: String,
    pub secret_key: String,
    /// Those of a role have one.
    pub session_token: Option<String>,
}

/// A presigned call that is to be made. Change a good one to get a bad one.
#[derive(Clone, Debug)]
pub struct PresignedCall {
    pub host: String,
    pub region: String,
    pub service: String,
    pub action: String,
    /// The header that is signed along, `x-k8s-aws-id`.
    pub audience: String,
    pub unix_seconds: i64,
    pub expires: u32,
}

impl PresignedCall {
    /// To a region's own endpoint in the partition `aws`.
    pub fn new(region: &str, audience: &str, unix_seconds: i64) -> Self {
        PresignedCall {
            host: format!("sts.{region}.amazonaws.com"),
            region: region.to_owned(),
            service: "sts".to_owned(),
            action: "GetCallerIdentity".to_owned(),
            audience: audience.to_owned(),
            unix_seconds,
            expires: 60,
        }
    }

    /// Its URL.
    pub fn url(&self, keys: &AwsKeys) -> String {
        let date = amz_date(self.unix_seconds);
        let day = date.get(..8).unwrap_or_default();
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let mut parameters = vec![
            ("Action", self.action.clone()),
            ("Version", "2011-06-15".to_owned()),
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("X-Amz-Credential", format!("{}/{scope}", keys.access_key)),
            ("X-Amz-Date", date.clone()),
            ("X-Amz-Expires", self.expires.to_string()),
        ];
        if let Some(token) = &keys.session_token {
            parameters.push(("X-Amz-Security-Token", token.clone()));
        }
        parameters.push(("X-Amz-SignedHeaders", "host;x-k8s-aws-id".to_owned()));
        let query = parameters
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect::<Vec<_>>()
            .join("&");
        let signed = Signed {
            method: "GET",
            body: b"",
            query: &query,
            headers: &[("host", &self.host), ("x-k8s-aws-id", &self.audience)],
            date: &date,
            scope: &scope,
        };
        let signature = signed.signature(&keys.secret_key);
        format!("https://{}/?{query}&X-Amz-Signature={signature}", self.host)
    }

    /// The token that `aws eks get-token` prints.
    pub fn token(&self, keys: &AwsKeys) -> String {
        as_token(&self.url(keys))
    }
}

/// A URL as a token.
pub fn as_token(url: &str) -> String {
    format!("k8s-aws-v1.{}", URL_SAFE_NO_PAD.encode(url))
}

/// What a signature covers.
pub struct Signed<'a> {
    pub method: &'a str,
    pub body: &'a [u8],
    /// Sorted and encoded, without the signature.
    pub query: &'a str,
    /// Names in lower case, sorted.
    pub headers: &'a [(&'a str, &'a str)],
    /// `20261130T004500Z`.
    pub date: &'a str,
    /// `20261130/eu-west-1/sts/aws4_request`.
    pub scope: &'a str,
}

impl Signed<'_> {
    /// In lower-case hexadecimal.
    pub fn signature(&self, secret_key: &str) -> String {
        let lines: String = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| *name).collect();
        let canonical = format!(
            "{}\n/\n{}\n{lines}\n{}\n{}",
            self.method,
            self.query,
            names.join(";"),
            hex(digest::digest(&digest::SHA256, self.body).as_ref())
        );
        let text = format!(
            "AWS4-HMAC-SHA256\n{}\n{}\n{}",
            self.date,
            self.scope,
            hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref())
        );
        let mut key = format!("AWS4{secret_key}").into_bytes();
        for part in self.scope.split('/') {
            key = mac(&key, part.as_bytes());
        }
        hex(&mac(&key, text.as_bytes()))
    }
}

/// A request to `/` whose signature stands in its header `authorization`, as it came.
pub struct HeaderSigned<'a> {
    pub method: &'a str,
    /// Names in lower case.
    pub headers: &'a [(String, String)],
    pub body: &'a [u8],
    /// Which must stand in the signature's scope.
    pub service: &'a str,
}

/// For how long a signature in a header holds, in seconds to either side.
const SKEW_SECONDS: i64 = 300;

impl HeaderSigned<'_> {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The names of the headers that are signed.
    pub fn signed_names(&self) -> Vec<&str> {
        let parameter = self.parameter("SignedHeaders");
        parameter.map_or_else(Vec::new, |names| names.split(';').collect())
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let given = self.header("authorization")?;
        let parts = given.strip_prefix("AWS4-HMAC-SHA256 ")?.split(", ");
        let mut pairs = parts.filter_map(|part| part.split_once('='));
        Some(pairs.find(|(known, _)| *known == name)?.1)
    }

    /// The access key that signed, whose keys `known` finds; or AWS's code for why none did. `now`: Unix seconds.
    pub fn signer(
        &self,
        known: impl Fn(&str) -> Option<AwsKeys>,
        now: i64,
    ) -> Result<String, &'static str> {
        let wanting = "MissingAuthenticationTokenException";
        let credential = self.parameter("Credential").ok_or(wanting)?;
        let (access_key, scope) = credential.split_once('/').ok_or(wanting)?;
        let keys = known(access_key).ok_or("UnrecognizedClientException")?;
        if self.header("x-amz-security-token") != keys.session_token.as_deref() {
            return Err("UnrecognizedClientException");
        }
        let wrong = "InvalidSignatureException";
        let date = self.header("x-amz-date").ok_or(wrong)?;
        let in_time = amz_date(now - SKEW_SECONDS).as_str() <= date
            && date <= amz_date(now + SKEW_SECONDS).as_str();
        let is_scope = matches!(scope.split('/').collect::<Vec<_>>()[..],
            [day, _, service, "aws4_request"] if date.starts_with(day) && service == self.service);
        let names = self.signed_names();
        let needed = ["host", "x-amz-date"];
        if !in_time || !is_scope || !needed.iter().all(|name| names.contains(name)) {
            return Err(wrong);
        }
        let headers: Vec<(&str, &str)> = names
            .iter()
            .map(|name| (*name, self.header(name).unwrap_or_default().trim()))
            .collect();
        let signed = Signed {
            method: self.method,
            body: self.body,
            query: "",
            headers: &headers,
            date,
            scope,
        };
        if self.parameter("Signature") == Some(&signed.signature(&keys.secret_key)) {
            Ok(access_key.to_owned())
        } else {
            Err(wrong)
        }
    }
}

/// `20261130T004500Z`
pub fn amz_date(unix_seconds: i64) -> String {
    let form = format_description!("[year][month][day]T[hour][minute][second]Z");
    OffsetDateTime::from_unix_timestamp(unix_seconds)
        .ok()
        .and_then(|time| time.format(form).ok())
        .unwrap_or_default()
}

/// RFC 3986's unreserved characters as they are, all others as `%XX`.
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn mac(key: &[u8], data: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data)
        .as_ref()
        .to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
