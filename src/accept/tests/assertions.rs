//! Proxies' assertions beside all other evidence. What it refuses to know: what they say.

use super::*;

/// Scenario: proxies' assertions alone, beside every other evidence, repeated, in lists and in other spellings, over HTTP/1.1 and
/// as gRPC metadata. Guarantees: one alone is an assertion, also where the same token stands elsewhere, so that the narrower
/// rule holds; of two nothing is chosen; a header that no issuer names is nothing.
#[test]
fn assertions_are_never_chosen_from() {
    const IAP: &str = "x-goog-iap-jwt-assertion";
    let named = [IAP, "cf-access-jwt-assertion"].map(|name| AssertionHeader::parse(name).unwrap());
    let iap = |token: &str| format!("X-Goog-IAP-JWT-Assertion: {token}");
    let access = |token: &str| format!("cf-access-jwt-assertion: {token}");
    let bearer = |token: &str| format!("authorization: Bearer {token}");
    let carried = |token: &str| format!("lightstep-access-token: {token}");
    let session = "cookie: __Host-lightkeeper-session=x".to_owned();
    let scheme = format!("Bearer {JWT}");
    /// The assertion that counts; `""`: none, but another credential or nothing.
    type Row<'r> = (Vec<String>, bool, Result<&'r str, Fault>);
    let table: Vec<Row<'_>> = vec![
        (vec![iap(JWT)], false, Ok(JWT)),
        (vec![iap(JWT)], true, Ok(JWT)),
        (vec![iap("opaque")], false, Ok("opaque")),
        (vec![iap(&scheme)], false, Ok(&scheme)),
        (vec![iap(JWT), iap(JWT)], false, Ok(JWT)),
        (vec![iap(JWT), bearer(JWT)], false, Ok(JWT)),
        (vec![bearer(JWT), iap(JWT), carried(JWT)], false, Ok(JWT)),
        (vec![iap(JWT), carried("developer")], false, Ok(JWT)),
        (
            vec![iap(JWT), iap(OTHER_JWT)],
            false,
            Err(Fault::CredentialConflict),
        ),
        (
            vec![iap(JWT), iap("")],
            false,
            Err(Fault::CredentialConflict),
        ),
        (
            vec![iap(&format!("{JWT},{JWT}"))],
            false,
            Err(Fault::CredentialConflict),
        ),
        (
            vec![iap(&format!("{JWT}, {OTHER_JWT}"))],
            false,
            Err(Fault::CredentialConflict),
        ),
        (
            vec![iap(JWT), access(OTHER_JWT)],
            false,
            Err(Fault::CredentialConflict),
        ),
        (
            vec![iap(JWT), access(JWT)],
            false,
            Err(Fault::CredentialConflict),
        ),
        (
            vec![iap(JWT), bearer(OTHER_JWT)],
            false,
            Err(Fault::CredentialConflict),
        ),
        (
            vec![iap(OTHER_JWT), bearer(JWT)],
            true,
            Err(Fault::CredentialConflict),
        ),
        (
            vec![iap(JWT), "authorization: Basic YTpi".to_owned()],
            false,
            Err(Fault::CredentialConflict),
        ),
        (
            vec![iap("opaque"), bearer(JWT)],
            false,
            Err(Fault::CredentialConflict),
        ),
        (
            vec![iap(""), bearer(JWT)],
            false,
            Err(Fault::CredentialConflict),
        ),
        (
            vec![iap(JWT), carried(OTHER_JWT)],
            false,
            Err(Fault::CredentialConflict),
        ),
        (
            vec![iap(JWT), carried("lk_abc")],
            false,
            Err(Fault::CredentialConflict),
        ),
        (
            vec![iap(JWT), session.clone()],
            false,
            Err(Fault::CookieConflict),
        ),
        (
            vec![bearer(JWT), session],
            false,
            Err(Fault::CredentialConflict),
        ),
        (
            vec!["x_goog_iap_jwt_assertion: x".to_owned()],
            false,
            Err(Fault::HeaderLine),
        ),
        (
            vec!["x-goog_iap-jwt-assertion: x".to_owned(), bearer(JWT)],
            false,
            Err(Fault::HeaderLine),
        ),
        (
            vec![format!("x-amzn-oidc-accesstoken: {JWT}")],
            false,
            Ok(""),
        ),
        (
            vec![bearer(JWT), format!("x-amzn-oidc-accesstoken: {OTHER_JWT}")],
            false,
            Ok(""),
        ),
    ];
    for (headers, certificate, expected) in table {
        for (path, media_type) in [
            ("/v1/traces", "application/x-protobuf"),
            (
                "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                "application/grpc",
            ),
        ] {
            let headers = [headers.clone(), vec![format!("content-type: {media_type}")]].concat();
            let got = head_of(&format!("POST {path}"), &headers, certificate, &named);
            let got = got
                .as_ref()
                .map_err(|refused| refused.fault)
                .map(|(caller, _)| {
                    let assertion = caller
                        .token
                        .as_ref()
                        .filter(|token| token.assertion().is_some());
                    assertion.map_or(&b""[..], Presented::bytes)
                });
            assert_eq!(got, expected.map(str::as_bytes), "{headers:?}");
        }
    }
    // With an assertion in the head, no body is read to find out who calls, and none says otherwise.
    let headers = [
        iap("opaque"),
        "content-type: application/octet-stream".to_owned(),
    ];
    let (caller, call) = head_of("POST /api/v2/reports", &headers, false, &named).unwrap();
    assert!(matches!(call.kind, RequestKind::Legacy(ask) if !ask.body_first));
    assert!(matches!(
        with_body_token(caller, JWT.as_bytes()),
        Err(Fault::CredentialConflict)
    ));
}
