//! Scenario: raw HTTP/1.1 heads, framings and chunks that parsers disagree about. Guarantees: each is refused
//! with its status and reason, leaves one record, reaches no backend, and takes no later request with it.

mod framing;

use super::ground::{self, Ground};
use super::wire::{self, Reply};

/// What is sent, the status and the record's reason.
type Case = (&'static str, u16, &'static str);

const LINE: &str = "malformed_request_line";
const VERSION: &str = "http_version_unsupported";
const METHOD: &str = "method_unknown";
const TARGET: &str = "malformed_target";
const PATH: &str = "ambiguous_path";
const HEADER: &str = "malformed_header";
const CONFLICT: &str = "conflicting_headers";
const HOST: &str = "malformed_host";
const FRAMING: &str = "ambiguous_framing";
const CHUNK: &str = "malformed_chunk";
const EXPECT: &str = "expectation_unknown";
const CREDENTIALS: &str = "conflicting_credentials";

const REQUEST_LINES: &[Case] = &[
    ("GET  / HTTP/1.1\r\n{H}\r\n", 400, LINE),
    ("GET /  HTTP/1.1\r\n{H}\r\n", 400, LINE),
    ("GET / HTTP/1.1 \r\n{H}\r\n", 400, LINE),
    (" GET / HTTP/1.1\r\n{H}\r\n", 400, LINE),
    ("\tGET / HTTP/1.1\r\n{H}\r\n", 400, METHOD),
    ("GET\t/ HTTP/1.1\r\n{H}\r\n", 400, LINE),
    ("GET /\tHTTP/1.1\r\n{H}\r\n", 400, LINE),
    ("GET /\r\n{H}\r\n", 400, LINE),
    ("GET\r\n{H}\r\n", 400, LINE),
    ("/ HTTP/1.1\r\n{H}\r\n", 400, LINE),
    ("\r\nGET / HTTP/1.1\r\n{H}\r\n", 400, LINE),
    ("\r\n\r\nGET / HTTP/1.1\r\n{H}\r\n", 400, LINE),
    ("GET / HTTP/0.9\r\n{H}\r\n", 400, LINE),
    ("GET / HTTP/1.2\r\n{H}\r\n", 400, LINE),
    ("GET / HTTP/2.0\r\n{H}\r\n", 400, LINE),
    ("GET / HTTP/3\r\n{H}\r\n", 400, LINE),
    ("GET / HTTP/1\r\n{H}\r\n", 400, LINE),
    ("GET / HTTP/11\r\n{H}\r\n", 400, LINE),
    ("GET / HTTP/1.10\r\n{H}\r\n", 400, LINE),
    ("GET / HTTP/01.1\r\n{H}\r\n", 400, LINE),
    ("GET / http/1.1\r\n{H}\r\n", 400, LINE),
    ("GET / HTTP/1.1\0\r\n{H}\r\n", 400, LINE),
    ("GET / HTTQ/1.1\r\n{H}\r\n", 400, LINE),
    ("GET / RTSP/1.0\r\n{H}\r\n", 400, LINE),
    ("GET / HTTP/1,1\r\n{H}\r\n", 400, LINE),
    ("GET / HTTP/-1.1\r\n{H}\r\n", 400, LINE),
    ("GET / HTTP/+1.1\r\n{H}\r\n", 400, LINE),
    // Proxies speak it by default: they are told what to set.
    ("GET / HTTP/1.0\r\n{H}\r\n", 505, VERSION),
    ("GET / HTTP/1.0\r\n\r\n", 505, VERSION),
    (
        "POST /v1/traces HTTP/1.0\r\n{H}Connection: keep-alive\r\nContent-Length: 0\r\n\r\n",
        505,
        VERSION,
    ),
    (
        "POST /v1/traces HTTP/1.0\r\n{H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        505,
        VERSION,
    ),
    ("GET / HTTP/1.1\n{H}\r\n", 400, HEADER),
    ("GET / HTTP/1.1\r{H}\r\n", 400, HEADER),
    ("GET / HTTP/1.1\r\r\n{H}\r\n", 400, HEADER),
    ("{\"resourceSpans\":[]}\r\n\r\n", 400, LINE),
    ("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 400, LINE),
    ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\r\n\r\n", 400, LINE),
    ("SSH-2.0-OpenSSH_9.2\r\n\r\n", 400, LINE),
    ("EHLO gw\r\nMAIL FROM:<a@b>\r\n\r\n", 400, LINE),
];

const METHODS: &[Case] = &[
    ("get / HTTP/1.1\r\n{H}\r\n", 400, METHOD),
    ("Get / HTTP/1.1\r\n{H}\r\n", 400, METHOD),
    (
        "post /v1/traces HTTP/1.1\r\n{H}Content-Length: 0\r\n\r\n",
        400,
        METHOD,
    ),
    ("TRACE / HTTP/1.1\r\n{H}Cookie: a=b\r\n\r\n", 400, METHOD),
    ("TRACK / HTTP/1.1\r\n{H}\r\n", 400, METHOD),
    ("CONNECT evil:443 HTTP/1.1\r\n{H}\r\n", 400, METHOD),
    ("CONNECT / HTTP/1.1\r\n{H}\r\n", 400, METHOD),
    ("CONNECT gw:80 HTTP/1.1\r\nHost: gw:80\r\n\r\n", 400, METHOD),
    ("PROPFIND / HTTP/1.1\r\n{H}\r\n", 400, METHOD),
    ("DEBUG / HTTP/1.1\r\n{H}\r\n", 400, METHOD),
    ("PURGE / HTTP/1.1\r\n{H}\r\n", 400, METHOD),
    ("LINK / HTTP/1.1\r\n{H}\r\n", 400, METHOD),
    ("QUERY / HTTP/1.1\r\n{H}\r\n", 400, METHOD),
    ("M-SEARCH / HTTP/1.1\r\n{H}\r\n", 400, METHOD),
    ("GETT / HTTP/1.1\r\n{H}\r\n", 400, METHOD),
    ("GE / HTTP/1.1\r\n{H}\r\n", 400, METHOD),
    ("G\0ET / HTTP/1.1\r\n{H}\r\n", 400, METHOD),
    ("GET\u{b} / HTTP/1.1\r\n{H}\r\n", 400, METHOD),
    ("\u{feff}GET / HTTP/1.1\r\n{H}\r\n", 400, METHOD),
    ("G[ET / HTTP/1.1\r\n{H}\r\n", 400, METHOD),
    ("GET, / HTTP/1.1\r\n{H}\r\n", 400, METHOD),
    ("0 / HTTP/1.1\r\n{H}\r\n", 400, METHOD),
];

const TARGETS: &[Case] = &[
    ("OPTIONS * HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET * HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET evil:443 HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET gw HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    (
        "GET http://gw/.lightkeeper/whoami HTTP/1.1\r\n{H}\r\n",
        400,
        TARGET,
    ),
    ("GET http://evil/ HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET HTTP://gw/ HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    (
        "POST https://127.0.0.1:1/v1/traces HTTP/1.1\r\n{H}Content-Length: 0\r\n\r\n",
        400,
        TARGET,
    ),
    ("GET file:///etc/passwd HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET .lightkeeper/whoami HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET ?a HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET \\ HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET /\\evil HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET /a#b HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET /.lightkeeper/whoami# HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    (
        "GET /.lightkeeper/whoami?#x HTTP/1.1\r\n{H}\r\n",
        400,
        TARGET,
    ),
    ("GET /a\0b HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET /a\u{1}b HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET /a\u{7f}b HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET /a\u{1b}[2Jb HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET /caf\u{e9} HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET /\u{ff0e}\u{ff0e}/x HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET /a\"b HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET /a<b> HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET /a{b} HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET /a|b HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET /a^b HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET /a`b HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET /[a] HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET /a b HTTP/1.1\r\n{H}\r\n", 400, LINE),
    ("GET /a\u{b}b HTTP/1.1\r\n{H}\r\n", 400, TARGET),
    ("GET //evil/x HTTP/1.1\r\n{H}\r\n", 400, PATH),
    (
        "GET //gw/.lightkeeper/whoami HTTP/1.1\r\n{H}\r\n",
        400,
        PATH,
    ),
    ("GET /// HTTP/1.1\r\n{H}\r\n", 400, PATH),
];

const HOSTS: &[Case] = &[
    ("GET / HTTP/1.1\r\n\r\n", 400, HOST),
    (
        "GET / HTTP/1.1\r\nAuthorization: Bearer {A}\r\n\r\n",
        400,
        HOST,
    ),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost:  \r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: gw\r\nHost: gw\r\n\r\n", 400, HOST),
    (
        "GET / HTTP/1.1\r\nHost: gw\r\nhost: evil\r\n\r\n",
        400,
        HOST,
    ),
    ("GET / HTTP/1.1\r\nHost: gw, evil\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: gw evil\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: user@gw\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: gw/evil\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: gw\\evil\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: gw?x\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: gw#x\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: http://gw\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: gw:http\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: gw:\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: gw:99999\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: gw:-1\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: gw:80:80\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: []\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: [gw]\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: gw]\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: a..b\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: .\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: .gw\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: -\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: %67w\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: g\u{e9}w\r\n\r\n", 400, HOST),
    ("GET / HTTP/1.1\r\nHost: gw\0\r\n\r\n", 400, HEADER),
    ("GET / HTTP/1.1\r\nHost : gw\r\n\r\n", 400, HEADER),
    ("GET / HTTP/1.1\r\n Host: gw\r\n\r\n", 400, HEADER),
    (
        "GET / HTTP/1.1\r\nH_ost: gw\r\nHost: gw\r\n\r\n",
        400,
        HEADER,
    ),
];

const HEADER_LINES: &[Case] = &[
    ("{GET}X : y\r\n\r\n", 400, HEADER),
    ("{GET}X\t: y\r\n\r\n", 400, HEADER),
    ("{GET} X: y\r\n\r\n", 400, HEADER),
    ("{GET}\tX: y\r\n\r\n", 400, HEADER),
    ("{GET}X: y\r\n folded\r\n\r\n", 400, HEADER),
    ("{GET}X: y\r\n\tfolded: z\r\n\r\n", 400, HEADER),
    ("{GET}X:\r\n y\r\n\r\n", 400, HEADER),
    ("{GET}X\r\n\r\n", 400, HEADER),
    ("{GET}: y\r\n\r\n", 400, HEADER),
    ("{GET}X: a\0b\r\n\r\n", 400, HEADER),
    ("{GET}X\0: b\r\n\r\n", 400, HEADER),
    ("{GET}X: a\rb\r\n\r\n", 400, HEADER),
    ("{GET}X: a\r\r\n\r\n", 400, HEADER),
    ("{GET}X: a\nY: b\r\n\r\n", 400, HEADER),
    ("{GET}X: a\n\r\n", 400, HEADER),
    ("{GET}X: a\n\n", 400, HEADER),
    ("{GET}\n", 400, HEADER),
    ("{GET}X: a\u{1}\r\n\r\n", 400, HEADER),
    ("{GET}X: a\u{b}\r\n\r\n", 400, HEADER),
    ("{GET}X: a\u{c}\r\n\r\n", 400, HEADER),
    ("{GET}X: a\u{1b}[31m\r\n\r\n", 400, HEADER),
    ("{GET}X: a\u{7f}\r\n\r\n", 400, HEADER),
    ("{GET}X(y): a\r\n\r\n", 400, HEADER),
    ("{GET}X\"y: a\r\n\r\n", 400, HEADER),
    ("{GET}X/y: a\r\n\r\n", 400, HEADER),
    ("{GET}X[y]: a\r\n\r\n", 400, HEADER),
    ("{GET}X@y: a\r\n\r\n", 400, HEADER),
    ("{GET}X=y: a\r\n\r\n", 400, HEADER),
    ("{GET}X,y: a\r\n\r\n", 400, HEADER),
    ("{GET}X\u{e9}: a\r\n\r\n", 400, HEADER),
    ("{GET}X\u{7f}: a\r\n\r\n", 400, HEADER),
    ("{GET}lightstep_access_token: evil\r\n\r\n", 400, HEADER),
    ("{GET}Lightstep-Access_Token: evil\r\n\r\n", 400, HEADER),
    ("{GET}lightkeeper_app: shop\r\n\r\n", 400, HEADER),
    ("{GET}X_Forwarded_For: 1.2.3.4\r\n\r\n", 400, HEADER),
    ("{GET}_: a\r\n\r\n", 400, HEADER),
    (
        "{EXPORT}Content_Length: 5\r\nContent-Length: 0\r\n\r\n",
        400,
        HEADER,
    ),
    (
        "{EXPORT}Transfer_Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
        400,
        HEADER,
    ),
    ("GET / HTTP/1.1\r\n\u{b}Host: gw\r\n\r\n", 400, HEADER),
    ("GET / HTTP/1.1\r\nHost\u{a0}: gw\r\n\r\n", 400, HEADER),
    ("{GET}X: y\r\nZ\r\n\r\n", 400, HEADER),
    ("{GET}X: y\r\n\r \n\r\n", 400, HEADER),
];

const CONNECTIONS: &[Case] = &[
    (
        "{GET}Connection: lightstep-access-token\r\n\r\n",
        400,
        CONFLICT,
    ),
    (
        "{GET}Connection: LIGHTSTEP-ACCESS-TOKEN\r\n\r\n",
        400,
        CONFLICT,
    ),
    ("{GET}Connection: authorization\r\n\r\n", 400, CONFLICT),
    (
        "{GET}Connection: Authorization, close\r\n\r\n",
        400,
        CONFLICT,
    ),
    (
        "{GET}Connection: close, lightstep-access-token\r\n\r\n",
        400,
        CONFLICT,
    ),
    (
        "{GET}Connection: close\r\nConnection: lightstep-access-token\r\n\r\n",
        400,
        CONFLICT,
    ),
    (
        "{GET}connection: close\r\nCONNECTION: authorization\r\n\r\n",
        400,
        CONFLICT,
    ),
    (
        "{GET}Connection: close,,authorization\r\n\r\n",
        400,
        CONFLICT,
    ),
    (
        "{GET}Connection: keep-alive ,\tauthorization\r\n\r\n",
        400,
        CONFLICT,
    ),
    ("{GET}Connection: lightkeeper-app\r\n\r\n", 400, CONFLICT),
    (
        "{GET}Connection: lightkeeper-request-id\r\n\r\n",
        400,
        CONFLICT,
    ),
    ("{GET}Connection: x-lightstep-org\r\n\r\n", 400, CONFLICT),
    ("{GET}Connection: host\r\n\r\n", 400, CONFLICT),
    ("{GET}Connection: content-type\r\n\r\n", 400, CONFLICT),
    ("{GET}Connection: x-forwarded-for\r\n\r\n", 400, CONFLICT),
    ("{GET}Connection: \"close\"\r\n\r\n", 400, CONFLICT),
    (
        "{GET}Connection: close;authorization\r\n\r\n",
        400,
        CONFLICT,
    ),
    ("{GET}Connection: cl\u{e9}se\r\n\r\n", 400, CONFLICT),
    (
        "{EXPORT}Connection: content-length\r\nContent-Length: 5\r\n\r\nhello",
        400,
        CONFLICT,
    ),
    (
        "{EXPORT}Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        CONFLICT,
    ),
    (
        "{EXPORT}Connection: lightstep-access-token\r\nContent-Length: 5\r\n\r\nhello",
        400,
        CONFLICT,
    ),
    (
        "{EXPORT}Expect: bogus\r\nContent-Length: 5\r\n\r\nhello",
        400,
        EXPECT,
    ),
    (
        "{EXPORT}Expect: 100-continue, x\r\nContent-Length: 5\r\n\r\nhello",
        400,
        EXPECT,
    ),
    (
        "{EXPORT}Expect: 100\r\nContent-Length: 5\r\n\r\nhello",
        400,
        EXPECT,
    ),
    (
        "{EXPORT}Expect:\r\nContent-Length: 5\r\n\r\nhello",
        400,
        EXPECT,
    ),
    (
        "{EXPORT}Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        400,
        CONFLICT,
    ),
    ("{GET}TE: gzip\r\n\r\n", 400, CONFLICT),
    ("{GET}TE: trailers, deflate;q=0.5\r\n\r\n", 400, CONFLICT),
    ("{GET}TE: trailers\r\nTE: trailers\r\n\r\n", 400, CONFLICT),
    ("{GET}TE: chunked\r\n\r\n", 400, CONFLICT),
    (
        "{EXPORT}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        400,
        CONFLICT,
    ),
    (
        "{EXPORT}Content-Encoding: gzip\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}",
        400,
        CONFLICT,
    ),
    (
        "{EXPORT}lightkeeper-app: shop/checkout\r\nLightkeeper-App: shop/payments\r\nContent-Length: 0\r\n\r\n",
        400,
        CONFLICT,
    ),
    (
        "{EXPORT}lightkeeper-app: shop/checkout\r\nLightkeeper-App: shop/checkout\r\nContent-Length: 0\r\n\r\n",
        400,
        CONFLICT,
    ),
    ("{GET}authorization: Bearer {T}\r\n\r\n", 400, CREDENTIALS),
    ("{GET}lightstep-access-token: {T}\r\n\r\n", 400, CREDENTIALS),
    (
        "{GET}lightstep-access-token: a\r\nlightstep-access-token: b\r\n\r\n",
        400,
        CREDENTIALS,
    ),
];

/// Sends each case with a good request behind it and holds what comes back against the table.
async fn refuse_all(
    ground: &mut Ground,
    cases: impl IntoIterator<Item = (String, u16, &str)>,
) -> Vec<String> {
    let mut faults = Vec::new();
    for (text, status, reason) in cases {
        let sent = format!("{}{}", ground.fill(&text), ground.good());
        let began = std::time::Instant::now();
        let talk = wire::talk(ground.plain(), sent.as_bytes()).await;
        let mut fault = |what: String| faults.push(format!("{text:?}: {what}"));
        let replies = match wire::replies(&talk.bytes, &[text.starts_with("HEAD")]) {
            Ok(replies) => replies,
            Err(what) => {
                fault(format!("cannot be read: {what}"));
                continue;
            }
        };
        let records = ground.calls(replies.len()).await;
        if !talk.closed {
            fault(format!(
                "the connection is stuck after {:?}, answers {:?}",
                began.elapsed(),
                statuses(&replies)
            ));
        }
        // Either the connection ends with the refusal, or the request behind it gets its own answer.
        match replies.as_slice() {
            [first] if first.status == status => {}
            [first, second] if first.status == status && second.status == 200 => {
                if !second.body.starts_with(b"{\"certificate\"") {
                    fault(format!(
                        "another answer: {:?}",
                        String::from_utf8_lossy(&second.body)
                    ));
                }
            }
            _ => fault(format!("answered {:?}, not {status}", statuses(&replies))),
        }
        if replies
            .first()
            .is_some_and(|first| first.header("lightkeeper-request-id").is_none())
        {
            fault("the refusal is not ours".to_owned());
        }
        let reasons: Vec<_> = records
            .iter()
            .map(|record| record["reason"].as_str().unwrap_or_default())
            .collect();
        if reasons.first() != Some(&reason) || reasons.len() != replies.len() {
            fault(format!("recorded as {reasons:?}, not {reason}"));
        }
        for record in &records {
            let text = record.to_string();
            if text.contains(&ground.exporter) || text.contains(&ground.reader) {
                fault(format!("a token is in the record {text}"));
            }
        }
    }
    if ground.world.emulator.heads() > 0 {
        faults.push(format!("upstream: {:?}", ground.world.emulator.captured()));
    }
    ground.alive().await;
    faults
}

fn statuses(replies: &[Reply]) -> Vec<u16> {
    replies.iter().map(|reply| reply.status).collect()
}

async fn refuse_table(cases: &[Case]) {
    let mut ground = Ground::new().await;
    let cases = cases
        .iter()
        .map(|(text, status, reason)| ((*text).to_owned(), *status, *reason));
    let faults = refuse_all(&mut ground, cases).await;
    ground::none(&faults);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_lines_are_one_way_or_none() {
    refuse_table(REQUEST_LINES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_are_known_or_refused() {
    refuse_table(METHODS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_are_paths() {
    refuse_table(TARGETS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_are_one_name() {
    refuse_table(HOSTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_lines_are_strict() {
    refuse_table(HEADER_LINES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_options_take_no_header_away() {
    refuse_table(CONNECTIONS).await;
}
