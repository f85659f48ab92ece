//! A call's signature in its headers, by AWS's own signer.
//!
//! What it does: reads keys that are kept here, and signs with `aws-sigv4`. What it refuses to know: how a call is sent.
//! Invariant: what is signed is what is given: method `POST`, path `/`, these headers and this body.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use http::{HeaderName, HeaderValue};

use super::chain::{instant, lasting};
use super::{AwsCall, AwsFault, AwsKeyRefs};
use crate::clock::UnixMillis;
use crate::secret::Secret;

/// Reads them now.
pub(super) fn kept(keys: &AwsKeyRefs) -> Result<Credentials, AwsFault> {
    let text = |secret: &Secret| String::from_utf8_lossy(secret.expose()).into_owned();
    let (access_key, secret_key) = (keys.access_key.open()?, keys.secret_key.open()?);
    let session = keys.session.as_ref().map(|session| session.open());
    let session = session.transpose()?.as_ref().map(text);
    let secret_key = zeroize::Zeroizing::new(text(&secret_key));
    Ok(lasting(&text(&access_key), &secret_key, session.as_deref()))
}

pub(super) fn headers(
    call: &AwsCall<'_>,
    region: &str,
    credentials: Credentials,
    now: UnixMillis,
) -> Result<Vec<(HeaderName, HeaderValue)>, AwsFault> {
    let unsigned = |fault: Box<dyn std::error::Error + Send + Sync>| AwsFault::Unsigned(fault);
    let identity = credentials.into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(call.service)
        .time(instant(now)?)
        .settings(SigningSettings::default())
        .build()
        .map_err(|fault| unsigned(fault.into()))?
        .into();
    let url = format!("https://{}/", call.host);
    let host = [("host", call.host)].into_iter();
    let headers = host.chain(call.headers.iter().copied());
    let body = SignableBody::Bytes(call.body);
    let request = SignableRequest::new("POST", &url, headers, body);
    let request = request.map_err(|fault| unsigned(fault.into()))?;
    let signed = sign(request, &parameters).map_err(|fault| unsigned(fault.into()))?;
    let (instructions, _) = signed.into_parts();
    let mut found = Vec::new();
    for (name, value) in instructions.headers() {
        let name = HeaderName::from_bytes(name.as_bytes());
        let name = name.map_err(|fault| unsigned(fault.into()))?;
        let mut value = HeaderValue::from_str(value).map_err(|fault| unsigned(fault.into()))?;
        value.set_sensitive(true);
        found.push((name, value));
    }
    Ok(found)
}
