//! Whose evidence counts, wherever it stands. What it refuses to know: whether it holds.

use super::*;

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
    use Evidence::{Conflict, None as Absent, Token};
    let table: Vec<(&str, Vec<String>, bool, Evidence)> = vec![
        ("/api/v2/reports", vec![], false, Absent(true)),
        ("/api/v2/reports", vec![token("")], false, Absent(true)),
        ("/api/v2/reports", vec![], true, Absent(false)),
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
            Absent(false),
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
        ("/api/v2/reports", vec![key(JWT)], false, Absent(true)),
        (
            "/api/v2/reports",
            vec![basic(&format!(":{JWT}"))],
            false,
            Token("", false),
        ),
        ("/_bulk", vec![], false, Absent(false)),
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
        ("/_bulk", vec![basic("user:opaque")], true, Absent(false)),
        ("/_bulk", vec![basic("user:")], false, Absent(false)),
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
        ("/metrics", vec![], false, Absent(false)),
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
            (None, Absent(first)) => assert_eq!(told.1, *first, "{path} {headers:?}"),
            (token, _) => panic!("{path} {headers:?}: {expected:?} {:?}", token.is_some()),
        }
    }
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
            proof: None,
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
