//! Tables of heads: which legacy report each asks to send, and whose evidence counts.
//!
//! What it does: reads heads as the framework hands them over. What it refuses to know: identities.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, Request, Version};
use zeroize::Zeroizing;

use super::read::RefusedHead;
use super::*;
use crate::lightstep::Format;
use crate::limits::Limits;
use crate::profiles::Profile;

const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln";
const OTHER_JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ5In0.c2ln";

/// Reads a head: method and path, headers as `name: value` lines.
fn head(line: &str, headers: &[String], certificate: bool) -> Result<(Caller, Call), RefusedHead> {
    head_of(line, headers, certificate, &[])
}

/// The same where issuers name headers of assertions.
fn head_of(
    line: &str,
    headers: &[String],
    certificate: bool,
    assertions: &[AssertionHeader],
) -> Result<(Caller, Call), RefusedHead> {
    let (method, path) = line.split_once(' ').unwrap();
    let grpc = headers
        .iter()
        .any(|header| header.contains("application/grpc"));
    let mut request = Request::builder()
        .method(Method::from_bytes(method.as_bytes()).unwrap())
        .uri(path);
    request = request
        .version(if grpc {
            Version::HTTP_2
        } else {
            Version::HTTP_11
        })
        .header("host", "gateway");
    for header in headers {
        let (name, value) = header.split_once(": ").unwrap();
        let name: HeaderName = name.parse().unwrap();
        request = request.header(name, HeaderValue::from_str(value).unwrap());
    }
    let listener = ListenerSettings {
        name: "test".to_owned(),
        address: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
        serves: Serves::ALL,
        tls: None,
        public_url: None,
        front: Default::default(),
    };
    let chain = certificate.then(|| {
        Arc::new(ClientChain {
            certificates: Vec::new(),
            listener: "test".into(),
        })
    });
    let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let connection = Connection::new(Arc::new(listener), peer, grpc, chain);
    let parts = request.body(()).unwrap().into_parts().0;
    read(
        &parts,
        &connection,
        &Profile::lightstep(),
        assertions,
        &Limits::default(),
    )
}

/// Scenario: each legacy client's request line and content type. Guarantees: the format, permission's signal and
/// path of its row; everything else is unknown or unacceptable, and refused in the client's own language.
#[test]
fn legacy_asks_are_told_apart_by_path_and_type() {
    let binary = "application/octet-stream";
    let json = "application/json";
    /// Request line, content type, and the format and signal or the reason.
    type Row = (
        &'static str,
        &'static str,
        Result<(Format, &'static str), &'static str>,
    );
    let cases: &[Row] = &[
        (
            "POST /api/v2/reports",
            binary,
            Ok((Format::Reports, "traces")),
        ),
        (
            "POST /api/v2/reports",
            "Application/Octet-Stream; x=1",
            Ok((Format::Reports, "traces")),
        ),
        (
            "POST /api/v2/reports",
            "application/x-protobuf",
            Ok((Format::Reports, "traces")),
        ),
        (
            "POST /api/v2/reports",
            "application/json; charset=utf-8",
            Ok((Format::ReportsJson, "traces")),
        ),
        (
            "POST /api/v0/reports",
            json,
            Ok((Format::ThriftJson, "traces")),
        ),
        (
            "POST /_rpc/v1/reports/binary",
            "application/x-thrift",
            Ok((Format::ThriftBinary, "traces")),
        ),
        ("POST /metrics", binary, Ok((Format::Metrics, "metrics"))),
        ("POST /api/v2/spans", json, Ok((Format::Zipkin, "traces"))),
        ("POST /_bulk", json, Ok((Format::Bulk, "logs"))),
        (
            "POST /_bulk",
            "application/x-ndjson",
            Ok((Format::Bulk, "logs")),
        ),
        ("POST /cwstream", json, Ok((Format::Firehose, "metrics"))),
        (
            "POST /lightstep.collector.CollectorService/Report",
            "application/grpc+proto",
            Ok((Format::Reports, "traces")),
        ),
        (
            "POST /api/v2/reports",
            "text/plain",
            Err("media_type_unsupported"),
        ),
        ("POST /api/v2/reports", "", Err("media_type_unsupported")),
        (
            "POST /api/v2/reports",
            "application/grpc",
            Err("media_type_unsupported"),
        ),
        ("POST /api/v2/spans", binary, Err("media_type_unsupported")),
        (
            "POST /lightstep.collector.CollectorService/Report",
            binary,
            Err("media_type_unsupported"),
        ),
        ("GET /api/v2/reports", binary, Err("unknown")),
        ("PUT /_bulk", json, Err("unknown")),
        ("POST /api/v2/Reports", binary, Err("unknown")),
        ("POST /api/v1/spans", json, Err("unknown")),
        ("POST /api/v2/reports/x", binary, Err("unknown")),
        (
            "POST /lightstep.metrics.MetricsService/Report",
            "application/grpc",
            Err("unknown"),
        ),
        ("POST /api/v2/reports?x=1", binary, Err("malformed_query")),
        (
            "POST /api/v2/reports?access_token=x",
            binary,
            Err("conflicting_credentials"),
        ),
        (
            "GET /_rpc/v1/reports/uri_encoded?auth=%7B%22access_token%22%3A%22x%22%7D&report=%C3%A9",
            "",
            { Err("token_in_url") },
        ),
        (
            "GET /_rpc/v1/reports/uri_encoded?access_token=x",
            "",
            Err("token_in_url"),
        ),
        ("GET /_rpc/v1/reports/uri_encoded", "", Err("token_in_url")),
        (
            "POST /_rpc/v1/reports/uri_encoded",
            json,
            Err("token_in_url"),
        ),
    ];
    for (line, content_type, expected) in cases {
        for app in ["", "/apps/shop/checkout/-"] {
            let (method, path) = line.split_once(' ').unwrap();
            let headers = match *content_type {
                "" => Vec::new(),
                given => vec![format!("content-type: {given}")],
            };
            let got = head(&format!("{method} {app}{path}"), &headers, false);
            match (got, expected) {
                (
                    Ok((
                        _,
                        Call {
                            kind: RequestKind::Legacy(ask),
                            dialect,
                            ..
                        },
                    )),
                    Ok((format, signal)),
                ) => {
                    assert_eq!(
                        (ask.format, ask.signal.name()),
                        (*format, *signal),
                        "{line}"
                    );
                    assert_eq!(ask.upstream_path, path, "{line}");
                    assert_eq!(ask.app.is_some(), !app.is_empty(), "{line}");
                    let grpc = ask.protocol == Protocol::Grpc;
                    assert_eq!(
                        dialect,
                        if grpc {
                            Dialect::Grpc
                        } else {
                            Dialect::Legacy(*format)
                        },
                        "{line}"
                    );
                }
                (Ok((_, call)), Err(expected)) => match call.kind {
                    RequestKind::Unknown => assert_eq!(*expected, "unknown", "{line}"),
                    RequestKind::Unacceptable(fault) => {
                        assert_eq!(fault.reason().code(), *expected, "{line}")
                    }
                    other => panic!("{line}: {other:?}"),
                },
                (Err(refused), Err(expected)) => {
                    assert_eq!(refused.fault.reason().code(), *expected, "{line}")
                }
                (got, _) => panic!("{line}: {:?}", got.err()),
            }
        }
    }
    let encodings = [("gzip", true), ("", true), ("gzip, zstd", false)];
    for (encoding, taken) in encodings {
        let headers = [
            format!("content-type: {json}"),
            format!("content-encoding: {encoding}"),
        ];
        let (_, call) = head("POST /api/v0/reports", &headers, false).unwrap();
        assert_eq!(
            matches!(call.kind, RequestKind::Legacy(_)),
            taken,
            "{encoding}"
        );
    }
    let ids = [
        ("ed4acda5-034f", Some("ed4acda5-034f".to_owned())),
        ("", Some(String::new())),
    ];
    for (id, expected) in ids {
        let headers = http::HeaderMap::from_iter([(
            http::HeaderName::from_static("x-amz-firehose-request-id"),
            http::HeaderValue::from_static(id),
        )]);
        assert_eq!(super::firehose_request(&headers), expected);
    }
}

/// What a row expects of the evidence.
#[derive(Debug)]
enum Evidence {
    /// This token counts, and whether the body is read before the caller is known.
    Token(&'static str, bool),
    /// None does.
    None(bool),
    Conflict,
}

/// Scenario: tokens in every place that clients know. Guarantees: one that could be ours counts wherever it
/// stands, placeholders count only alone, two different ones are refused; without evidence the body comes first.
#[test]
fn evidence_counts_wherever_it_stands() {
    let basic = |pair: &str| {
        use base64::Engine as _;
        format!(
            "authorization: Basic {}",
            base64::engine::general_purpose::STANDARD.encode(pair)
        )
    };
    let token = |token: &str| format!("LightStep-Access-Token: {token}");
    let bearer = |token: &str| format!("authorization: Bearer {token}");
    let key = |token: &str| format!("X-Amz-Firehose-Access-Key: {token}");
    use Evidence::{Conflict, None as Nobody, Token};
    let table: Vec<(&str, Vec<String>, bool, Evidence)> = vec![
        ("/api/v2/reports", vec![], false, Nobody(true)),
        ("/api/v2/reports", vec![token("")], false, Nobody(true)),
        ("/api/v2/reports", vec![], true, Nobody(false)),
        (
            "/api/v2/reports",
            vec![token("empty")],
            false,
            Token("empty", true),
        ),
        (
            "/api/v2/reports",
            vec![token("developer")],
            true,
            Nobody(false),
        ),
        (
            "/api/v2/reports",
            vec![token(JWT)],
            false,
            Token(JWT, false),
        ),
        (
            "/api/v2/reports",
            vec![token("lk_abc")],
            false,
            Token("lk_abc", false),
        ),
        ("/api/v2/reports", vec![token(JWT)], true, Token(JWT, false)),
        (
            "/api/v2/reports",
            vec![token("empty"), bearer(JWT)],
            false,
            Token(JWT, false),
        ),
        (
            "/api/v2/reports",
            vec![token(JWT), bearer(JWT)],
            false,
            Token(JWT, false),
        ),
        (
            "/api/v2/reports",
            vec![token(OTHER_JWT), bearer(JWT)],
            false,
            Conflict,
        ),
        (
            "/api/v2/reports",
            vec![token("lk_abc"), bearer(JWT)],
            false,
            Conflict,
        ),
        (
            "/api/v2/reports",
            vec![token(JWT), token(JWT)],
            false,
            Token(JWT, false),
        ),
        (
            "/api/v2/reports",
            vec![token(JWT), token(OTHER_JWT)],
            false,
            Conflict,
        ),
        (
            "/api/v2/reports",
            vec![token("empty"), token("developer")],
            false,
            Conflict,
        ),
        (
            "/api/v2/reports",
            vec![bearer(JWT), bearer(JWT)],
            false,
            Token(JWT, false),
        ),
        (
            "/api/v2/reports",
            vec![bearer(JWT), bearer(JWT), bearer(JWT), token(JWT)],
            false,
            Token(JWT, false),
        ),
        (
            "/api/v2/reports",
            vec![bearer(JWT), bearer(JWT), bearer(OTHER_JWT)],
            false,
            Conflict,
        ),
        (
            "/api/v2/reports",
            vec![bearer(JWT), bearer(&format!("{JWT} "))],
            false,
            Conflict,
        ),
        (
            "/api/v2/reports",
            vec![bearer(JWT), format!("authorization: {JWT}")],
            false,
            Conflict,
        ),
        // A scheme is one in every spelling; what it introduces is not.
        (
            "/api/v2/reports",
            vec![bearer(JWT), format!("authorization: bearer {JWT}")],
            false,
            Token(JWT, false),
        ),
        (
            "/api/v2/reports",
            vec![format!("authorization: BEARER   {JWT}"), bearer(JWT)],
            false,
            Token(JWT, false),
        ),
        (
            "/api/v2/reports",
            vec![bearer(JWT), format!("authorization: bearer {OTHER_JWT}")],
            false,
            Conflict,
        ),
        (
            "/api/v2/reports",
            vec![bearer("opaque"), "authorization: bearer Opaque".to_owned()],
            false,
            Conflict,
        ),
        (
            "/api/v2/reports",
            vec![bearer(JWT), format!("authorization: basic {JWT}")],
            false,
            Conflict,
        ),
        (
            "/api/v2/reports",
            vec![bearer(JWT), "authorization: bearer".to_owned()],
            false,
            Conflict,
        ),
        (
            "/api/v2/reports",
            vec![bearer("opaque")],
            false,
            Token("opaque", false),
        ),
        // Basic and Firehose's key are evidence only where their clients put it.
        ("/api/v2/reports", vec![key(JWT)], false, Nobody(true)),
        (
            "/api/v2/reports",
            vec![basic(&format!(":{JWT}"))],
            false,
            Token("", false),
        ),
        ("/_bulk", vec![], false, Nobody(false)),
        (
            "/_bulk",
            vec![basic(&format!(":{JWT}"))],
            false,
            Token(JWT, false),
        ),
        (
            "/_bulk",
            vec![basic(&format!("anybody:{JWT}"))],
            false,
            Token(JWT, false),
        ),
        (
            "/_bulk",
            vec![basic("user:lk_a:b")],
            false,
            Token("lk_a:b", false),
        ),
        (
            "/_bulk",
            vec![basic("user:opaque")],
            false,
            Token("opaque", false),
        ),
        ("/_bulk", vec![basic("user:opaque")], true, Nobody(false)),
        ("/_bulk", vec![basic("user:")], false, Nobody(false)),
        ("/_bulk", vec![basic("no colon")], false, Token("", false)),
        (
            "/_bulk",
            vec![basic(&format!(":{JWT}")), token("empty")],
            false,
            Token(JWT, false),
        ),
        (
            "/_bulk",
            vec![basic(&format!(":{JWT}")), token(OTHER_JWT)],
            false,
            Conflict,
        ),
        (
            "/_bulk",
            vec![basic(&format!(":{JWT}")), basic(&format!(":{JWT}"))],
            false,
            Token(JWT, false),
        ),
        (
            "/_bulk",
            vec![basic(&format!(":{JWT}")), basic(&format!("a:{JWT}"))],
            false,
            Conflict,
        ),
        (
            "/_bulk",
            vec![
                basic(&format!(":{JWT}")),
                basic(&format!(":{JWT}")).replace("Basic", "basic"),
            ],
            false,
            Token(JWT, false),
        ),
        (
            "/_bulk",
            vec![
                basic(&format!(":{JWT}")),
                basic(&format!(":{JWT}")).to_lowercase(),
            ],
            false,
            Conflict,
        ),
        ("/_bulk", vec![bearer(JWT)], false, Token(JWT, false)),
        ("/cwstream", vec![key(JWT)], false, Token(JWT, false)),
        (
            "/cwstream",
            vec![key("opaque")],
            false,
            Token("opaque", false),
        ),
        (
            "/cwstream",
            vec![key(JWT), token(OTHER_JWT)],
            false,
            Conflict,
        ),
        (
            "/cwstream",
            vec![key(JWT), key(JWT)],
            false,
            Token(JWT, false),
        ),
        ("/cwstream", vec![key(JWT), key(OTHER_JWT)], false, Conflict),
        ("/metrics", vec![], false, Nobody(false)),
        ("/metrics", vec![token(JWT)], false, Token(JWT, false)),
    ];
    for (path, mut headers, certificate, expected) in table {
        let binary = ["/api/v2/reports", "/metrics"].contains(&path);
        let media_type = if binary {
            "application/octet-stream"
        } else {
            "application/json"
        };
        headers.push(format!("content-type: {media_type}"));
        let got = head(&format!("POST {path}"), &headers, certificate);
        let told = match got {
            Err(refused) => {
                assert!(
                    matches!(expected, Conflict),
                    "{path} {headers:?}: {refused:?}"
                );
                assert_eq!(refused.fault, Fault::CredentialConflict);
                continue;
            }
            Ok((
                caller,
                Call {
                    kind: RequestKind::Legacy(ask),
                    ..
                },
            )) => (caller.token, ask.body_first),
            Ok((_, call)) => panic!("{call:?}"),
        };
        match (&told.0, &expected) {
            (Some(presented), Token("", first)) => {
                // Another scheme: the whole value goes on, and fails where it is judged.
                assert!(
                    presented.bytes().starts_with(b"Basic ") && *first == told.1,
                    "{path} {headers:?}"
                );
            }
            (Some(presented), Token(token, first)) => {
                assert_eq!(presented.bytes(), token.as_bytes(), "{path} {headers:?}");
                assert_eq!(told.1, *first, "{path} {headers:?}");
            }
            (None, Nobody(first)) => assert_eq!(told.1, *first, "{path} {headers:?}"),
            (token, _) => panic!("{path} {headers:?}: {expected:?} {:?}", token.is_some()),
        }
    }
}

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

/// Scenario: a report's body holds a token besides what the head shows. Guarantees: the same rule as within a
/// head, whether the body is read before or after the caller is known.
#[test]
fn a_token_in_the_body_is_judged_like_one_in_the_head() {
    let caller = |token: &str, certificate: bool| {
        let bytes = Zeroizing::new(token.as_bytes().to_vec());
        Caller {
            token: (!token.is_empty()).then(|| Presented::owned(bytes, Carrier::AccessToken)),
            certificate: certificate.then(|| {
                Arc::new(ClientChain {
                    certificates: Vec::new(),
                    listener: "test".into(),
                })
            }),
            session: None,
            address: std::net::IpAddr::from([127, 0, 0, 1]),
        }
    };
    for (shown, certificate, body, completed, agrees) in [
        ("", false, "", Some(""), true),
        ("", false, JWT, Some(JWT), true),
        ("", false, "lk_abc", Some("lk_abc"), true),
        ("", false, "opaque", Some("opaque"), true),
        ("empty", false, JWT, Some(JWT), true),
        ("empty", false, "opaque", Some("empty"), true),
        (JWT, false, JWT, Some(JWT), true),
        (JWT, false, "opaque", Some(JWT), true),
        (JWT, false, "", Some(JWT), true),
        (JWT, false, OTHER_JWT, None, false),
        (JWT, false, "lk_abc", None, false),
        ("lk_abc", false, JWT, None, false),
        ("", true, "opaque", Some(""), true),
        // A caller that is known by the certificate alone does not become another afterwards.
        ("", true, JWT, Some(JWT), false),
        (JWT, true, JWT, Some(JWT), true),
    ] {
        let told = format!("{shown} {certificate} {body}");
        assert_eq!(
            caller(shown, certificate)
                .shown()
                .agrees_with(body.as_bytes())
                .is_ok(),
            agrees,
            "{told}"
        );
        match with_body_token(caller(shown, certificate), body.as_bytes()) {
            Ok(done) => {
                let token = done.token.as_ref().map_or(&b""[..], Presented::bytes);
                assert_eq!(Some(token), completed.map(str::as_bytes), "{told}");
                assert_eq!(done.certificate.is_some(), certificate, "{told}");
            }
            Err(fault) => assert_eq!(
                (fault, completed),
                (Fault::CredentialConflict, None),
                "{told}"
            ),
        }
    }
}
