//! What the local proxy takes, strips and says. What it refuses to know: how a session is kept.

use super::*;

#[test]
fn only_tools_on_this_machine_are_served() {
    let address: SocketAddr = "127.0.0.1:9411".parse().unwrap();
    let ours = ("host", "127.0.0.1:9411");
    let (key, keyless) = (LocalKey::fresh().unwrap(), [401, 200]);
    for (target, headers, status) in [
        ("/a", vec![ours], 200),
        ("/a?b=c", vec![("host", "LocalHost:9411")], 200),
        ("/a", vec![ours, ("sec-fetch-site", "none")], 200),
        ("/a", vec![], 421),
        ("/a", vec![("host", "127.0.0.1")], 421),
        ("/a", vec![("host", "127.0.0.1:80")], 421),
        ("/a", vec![("host", "evil.example:9411")], 421),
        ("/a", vec![("host", "localhost.evil.example:9411")], 421),
        ("/a", vec![ours, ours], 421),
        ("/a", vec![ours, ("host", "evil.example")], 421),
        ("/a", vec![ours, ("origin", "http://127.0.0.1:9411")], 403),
        ("/a", vec![ours, ("origin", "null")], 403),
        ("/a", vec![ours, ("sec-fetch-site", "cross-site")], 403),
        ("/a", vec![ours, ("sec-fetch-site", "same-origin")], 403),
        ("http://127.0.0.1:9411/a", vec![ours], 400),
        ("*", vec![ours], 400),
    ] {
        let mut request = Request::builder().uri(target);
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        let judged = |request: &Request<()>, key: Option<&LocalKey>| {
            judge(request, address, key).map_or_else(|(status, _)| status.as_u16(), |()| 200)
        };
        let request = request.body(()).unwrap();
        // With no key, with the key, and with `--open`.
        let expected = if status == 200 {
            keyless
        } else {
            [status, status]
        };
        assert_eq!(
            [judged(&request, Some(&key)), judged(&request, None)],
            expected,
            "{target} {headers:?}"
        );
        let (mut head, ()) = request.into_parts();
        head.headers
            .insert("authorization", key.expose().parse().unwrap());
        assert_eq!(
            judged(&Request::from_parts(head, ()), Some(&key)),
            status,
            "{target} {headers:?}"
        );
    }
}

#[test]
fn errors_are_in_the_tools_own_words() {
    for (path, kind, expected) in [
        (
            "/public/v0.2/acme/projects",
            "application/json",
            "application/json {\"errors\":[\"no\"]}",
        ),
        (
            "/apps/shop/-/v1/traces",
            "application/json",
            "application/json {\"code\":16,\"message\":\"no\"}",
        ),
        (
            "/v1/logs",
            "application/x-protobuf",
            "application/x-protobuf \u{8}\u{10}\u{12}\u{2}no",
        ),
        (
            "/traces/otlp/v0.9",
            "",
            "application/x-protobuf \u{8}\u{10}\u{12}\u{2}no",
        ),
        (
            "/api/v2/reports",
            "application/x-protobuf",
            "application/json {\"errors\":[\"no\"]}",
        ),
    ] {
        let request = Request::post(path)
            .header("content-type", kind)
            .body(())
            .unwrap();
        let (kind, body) = ErrorFormat::of(&request).write(StatusCode::UNAUTHORIZED, "no");
        assert_eq!(
            format!("{kind} {}", String::from_utf8(body).unwrap()),
            expected,
            "{path}"
        );
    }
}

#[test]
fn headers_of_the_connection_stay_behind() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("connection", "keep-alive, x-mine"),
        ("connection", "close"),
        ("keep-alive", "timeout=5"),
        ("x-mine", "1"),
        ("te", "trailers"),
        ("upgrade", "h2c"),
        ("transfer-encoding", "chunked"),
        ("x-other", "1"),
        ("content-type", "application/json"),
    ] {
        headers.append(name, value.parse().unwrap());
    }
    strip(&mut headers);
    let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["content-type", "x-other"]);
}

#[test]
fn links_in_heads_lead_here() {
    for (text, expected) in [
        ("https://gw.example/a?b", "http://here/a?b"),
        (
            "<https://gw.example/a>; rel=next, <https://gw.example/b>",
            "<http://here/a>; rel=next, <http://here/b>",
        ),
        ("https://gw.example", "http://here"),
        ("https://gw.example.evil/a", "https://gw.example.evil/a"),
        ("https://gw.example:8443/a", "https://gw.example:8443/a"),
        ("/a", "/a"),
    ] {
        assert_eq!(
            relocate(text, "https://gw.example", "http://here"),
            expected,
            "{text}"
        );
    }
}

#[test]
fn only_loopback_is_listened_on() {
    for (text, allowed) in [
        ("127.0.0.1:0", true),
        ("[::1]:9411", true),
        ("127.5.5.5:9411", true),
        ("0.0.0.0:9411", false),
        ("[::]:9411", false),
        ("192.168.0.1:9411", false),
        ("localhost:9411", false),
        ("9411", false),
    ] {
        assert_eq!(parse_listen(text).is_ok(), allowed, "{text}");
    }
}
