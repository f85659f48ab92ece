//! Hostile heads at the pages and steps of a login. What it refuses to know: the login itself.

use super::*;

/// Request line, further header lines, statuses that are clean, and the reason in the record. `{S}` and `{L}` are the
/// cookies' names, `{A}` is a good token, `{LONG}` 4097 letters.
const HEADS: &[(&str, &str, u16, &str)] = &[
    (
        "GET /.lightkeeper/",
        "Cookie: {S}=a; {S}=b",
        400,
        "cookie_conflict",
    ),
    (
        "GET /.lightkeeper/",
        "Cookie: {S}=a; {S}=a",
        400,
        "cookie_conflict",
    ),
    (
        "GET /.lightkeeper/",
        "Cookie: {S}=a\r\nCookie: x=y; {S}=b",
        400,
        "cookie_conflict",
    ),
    (
        "GET /.lightkeeper/",
        "Cookie: {S}=\r\nCookie: {S}=b",
        400,
        "cookie_conflict",
    ),
    (
        "GET /.lightkeeper/callback?code=a",
        "Cookie: {L}=a; {L}=b",
        400,
        "cookie_conflict",
    ),
    (
        "GET /.lightkeeper/",
        "Cookie: {S}={LONG}",
        400,
        "cookie_conflict",
    ),
    (
        "GET /.lightkeeper/",
        "Cookie: {S}=a b",
        400,
        "cookie_conflict",
    ),
    (
        "GET /.lightkeeper/",
        "Cookie: {S}=a\u{e9}",
        400,
        "cookie_conflict",
    ),
    (
        "GET /.lightkeeper/whoami",
        "Cookie: {S}=a; {S}=b",
        400,
        "cookie_conflict",
    ),
    (
        "POST /v1/traces",
        "Cookie: {S}=a; {S}=b\r\nContent-Length: 0",
        400,
        "cookie_conflict",
    ),
    (
        "GET /.lightkeeper/whoami",
        "Cookie: {S}=a\r\nAuthorization: Bearer {A}",
        400,
        "conflicting_credentials",
    ),
    (
        "GET /.lightkeeper/whoami",
        "Cookie: {S}=a\r\nLightstep-Access-Token: {A}",
        400,
        "conflicting_credentials",
    ),
    (
        "GET /.lightkeeper/whoami",
        "Cookie: {S}=a\r\nLightstep-Access-Token: developer",
        400,
        "conflicting_credentials",
    ),
    (
        "GET /.lightkeeper/",
        "Cookie: {S}=a\r\nAuthorization: Basic YTpi",
        400,
        "conflicting_credentials",
    ),
    (
        "GET /.lightkeeper/whoami",
        "Cookie: {S}=a",
        401,
        "session_invalid",
    ),
    (
        "GET /.lightkeeper/whoami",
        "Cookie: {S}={A}",
        401,
        "session_invalid",
    ),
    (
        "GET /.lightkeeper/whoami",
        "Cookie: {S}=AAAA.AAAA.AAAA.AAAA",
        401,
        "session_invalid",
    ),
    (
        "GET /.lightkeeper/whoami",
        "Cookie: {S}=%00%0d%0a",
        401,
        "session_invalid",
    ),
    (
        "GET /.lightkeeper/whoami",
        "Cookie: {S}=\"a\"",
        401,
        "session_invalid",
    ),
    (
        "GET /.lightkeeper/whoami",
        "Cookie: __host-lightkeeper-session=a; lightkeeper-session=b",
        401,
        "no_credential",
    ),
    (
        "GET /.lightkeeper/whoami",
        "Cookie: {L}=a",
        401,
        "no_credential",
    ),
    (
        "GET /.lightkeeper/whoami",
        "Cookie: ;;;=;==;{S}",
        401,
        "no_credential",
    ),
    (
        "GET /public/v0.2/acme/projects",
        "Cookie: {S}=a",
        401,
        "session_invalid",
    ),
    (
        "DELETE /public/v0.2/acme/projects/shop-prod/streams/1",
        "Cookie: {S}=a",
        401,
        "session_invalid",
    ),
    (
        "POST /v1/traces",
        "Cookie: {S}=a\r\nContent-Length: 0",
        401,
        "no_credential",
    ),
    (
        "POST /.lightkeeper/logout",
        "Cookie: {S}=a\r\nContent-Length: 0",
        403,
        "csrf_origin",
    ),
    ("HEAD /.lightkeeper/", "", 401, "no_credential"),
    ("HEAD /.lightkeeper/login", "", 401, "no_credential"),
    (
        "OPTIONS /.lightkeeper/",
        "Origin: https://evil.example\r\nAccess-Control-Request-Method: POST",
        401,
        "no_credential",
    ),
    (
        "PUT /.lightkeeper/apps/shop",
        "Content-Length: 0",
        401,
        "no_credential",
    ),
    ("DELETE /.lightkeeper/", "", 401, "no_credential"),
    (
        "POST /.lightkeeper/login",
        "Content-Length: 0",
        401,
        "no_credential",
    ),
    (
        "POST /.lightkeeper/callback?code=a&state=b",
        "Content-Length: 0",
        401,
        "no_credential",
    ),
    ("GET /.lightkeeper/logout", "", 401, "no_credential"),
    ("TRACE /.lightkeeper/", "", 400, "method_unknown"),
    ("GET /.lightkeeper/apps/", "", 400, "ambiguous_path"),
    ("GET /.lightkeeper//", "", 400, "ambiguous_path"),
    ("GET //.lightkeeper/", "", 400, "ambiguous_path"),
    (
        "GET /.lightkeeper/assets/../whoami",
        "",
        400,
        "ambiguous_path",
    ),
    (
        "GET /.lightkeeper/assets/%2e%2e%2fwhoami",
        "",
        400,
        "ambiguous_path",
    ),
    ("GET /.lightkeeper/assets/none.css", "", 404, "path_unknown"),
    (
        "GET /.lightkeeper/login?return_to=a&return_to=b",
        "",
        400,
        "malformed_query",
    ),
    (
        "GET /.lightkeeper/login?return_to=%0d%0aset-cookie:a=b",
        "",
        400,
        "malformed_query",
    ),
    (
        "GET /.lightkeeper/login?return_to=%c3%28",
        "",
        400,
        "malformed_query",
    ),
    ("GET /.lightkeeper/login?next=/", "", 400, "malformed_query"),
    (
        "GET /.lightkeeper/login?access_token=a",
        "",
        400,
        "conflicting_credentials",
    ),
    (
        "GET /.lightkeeper/callback?access_token=a&state=b",
        "",
        400,
        "conflicting_credentials",
    ),
    (
        "GET /.lightkeeper/callback?code={LONG}{LONG}",
        "",
        400,
        "malformed_query",
    ),
    (
        "GET /.lightkeeper/callback?code=%00&state=b",
        "",
        400,
        "malformed_query",
    ),
    (
        "GET /.lightkeeper/explain?path={LONG}",
        "",
        400,
        "malformed_query",
    ),
    (
        "GET /.lightkeeper/signed-out?to=https://evil.example",
        "",
        400,
        "malformed_query",
    ),
    (
        "GET /.lightkeeper/login",
        "Host: evil.example",
        400,
        "malformed_host",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_heads_are_refused_cleanly() {
    let mut ground = Ground::new().await;
    let mut faults = Vec::new();
    for (line, headers, status, reason) in HEADS {
        let headers = if headers.is_empty() {
            String::new()
        } else {
            format!("{headers}\r\n")
        };
        let text =
            format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n");
        let text = text
            .replace("{S}", SESSION)
            .replace("{L}", LOGIN)
            .replace("{LONG}", &"a".repeat(4097));
        let talk = wire::talk(ground.plain(), ground.fill(&text).as_bytes()).await;
        let replies = wire::replies(&talk.bytes, &[line.starts_with("HEAD")]).unwrap_or_default();
        let records = ground.calls(1).await;
        let fits = match (replies.as_slice(), records.as_slice()) {
            ([reply], [record]) => {
                let cors = reply
                    .headers
                    .iter()
                    .any(|(name, _)| name.starts_with("access-control-"));
                let cookies = reply
                    .headers
                    .iter()
                    .filter(|(name, _)| name == "set-cookie");
                reply.status == *status
                    && record["reason"] == *reason
                    && record["decision"] == "deny"
                    && !cors
                    && cookies
                        .into_iter()
                        .all(|(_, value)| value.contains("Max-Age=0"))
            }
            _ => false,
        };
        if !fits || !talk.closed {
            faults.push(format!("{line} {headers:?}: {replies:?} {records:?}"));
        }
    }
    ground.nothing_upstream("the site");
    ground.alive().await;
    ground::none(&faults);
}
