//! Scenario: a backend that echoes, garbles, redirects, floods and lies about its framing. Guarantees: our
//! credential never comes back, nothing of its hop-by-hop or session headers is passed on, and every answer
//! that the client gets is one whole answer of ours.

use std::sync::Arc;
use std::time::Duration;

use lightkeeper::otlp::Encoding;
use testkit::{Emulator, Endpoints, Fault, Sample, WorldPlan};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::ground::{self, Ground};
use super::wire;

/// A backend of canned bytes; `{KEY}` is the credential that came with the request.
struct Backend {
    url: String,
    answer: Arc<std::sync::Mutex<Vec<u8>>>,
}

impl Backend {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer: Arc<std::sync::Mutex<Vec<u8>>> = Arc::default();
        let given = answer.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let answer = given.lock().unwrap().clone();
                tokio::spawn(async move {
                    let mut read = Vec::new();
                    let mut buffer = [0; 4096];
                    // One request a connection; its body is small and comes with the head, or does not matter.
                    while memchr::memmem::find(&read, b"\r\n\r\n").is_none() {
                        match stream.read(&mut buffer).await {
                            Ok(0) | Err(_) => return,
                            Ok(count) => read.extend_from_slice(&buffer[..count]),
                        }
                    }
                    let head = String::from_utf8_lossy(&read).into_owned();
                    let key = [
                        "lightstep-access-token: ",
                        "authorization: bearer ",
                        "authorization: Bearer ",
                    ]
                    .iter()
                    .find_map(|name| {
                        Some(head.split_once(name)?.1.split("\r\n").next()?.to_owned())
                    })
                    .unwrap_or_default();
                    let mut rest = answer.as_slice();
                    while let Some(at) = memchr::memmem::find(rest, b"{KEY}") {
                        // Parted, so that the credential comes in two pieces.
                        let (first, second) = key.split_at(key.len() / 2);
                        for piece in [&rest[..at], first.as_bytes(), second.as_bytes()] {
                            if stream.write_all(piece).await.is_err() {
                                return;
                            }
                            tokio::task::yield_now().await;
                        }
                        rest = &rest[at + 5..];
                    }
                    let _gone = stream.write_all(rest).await;
                    let _gone = stream.shutdown().await;
                });
            }
        });
        Backend { url, answer }
    }

    fn answers(&self, bytes: &[u8]) {
        *self.answer.lock().unwrap() = bytes.to_vec();
    }
}

/// What the backend sends; the statuses that an export and a query may get.
const ANSWERS: &[(&str, &[u16], &[u16])] = &[
    (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        &[200],
        &[200],
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        &[200],
        &[200],
    ),
    (
        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        &[200, 502],
        &[200, 502],
    ),
    // echoes
    (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\nX: {KEY}\r\n\r\n{}",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nEcho: {KEY}\r\nETag: \"{KEY}\"\r\nLast-Modified: {KEY}\r\nRetry-After: {KEY}\r\nX-RateLimit-Limit: {KEY}\r\nLocation: http://x/{KEY}\r\nLink: <http://x/{KEY}>\r\nLightstep-Access-Token: {KEY}\r\nAuthorization: {KEY}\r\nContent-Length: 2\r\n\r\n{}",
        &[200],
        &[200],
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Type: application/{KEY}\r\nContent-Length: 2\r\n\r\n{}",
        &[200],
        &[200, 502],
    ),
    (
        "HTTP/1.1 200 {KEY}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        &[200],
        &[200],
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{\"a\":\"{KEY}\"}",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{\"errors\":[\"{KEY}\"]}",
        &[400],
        &[400],
    ),
    (
        "HTTP/1.1 500 Bad\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<b>{KEY}</b>",
        &[502],
        &[500, 502],
    ),
    (
        "HTTP/1.1 401 No\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{\"errors\":[\"{KEY}\"]}",
        &[503],
        &[503],
    ),
    (
        "HTTP/1.1 403 No\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{\"errors\":[\"{KEY}\"]}",
        &[503],
        &[503],
    ),
    // hop-by-hop and session headers
    (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close, content-type, lightkeeper-request-id\r\nKeep-Alive: timeout=99\r\nProxy-Authenticate: Basic\r\nProxy-Connection: x\r\nTrailer: X\r\nUpgrade: h2c\r\nSet-Cookie: a=b\r\nSet-Cookie2: a=b\r\nServer: evil\r\nVia: evil\r\nX-Powered-By: evil\r\nAccess-Control-Allow-Origin: *\r\nStrict-Transport-Security: max-age=0\r\nWWW-Authenticate: Basic\r\nAlt-Svc: h3=\"evil\"\r\nLightkeeper-Request-Id: forged\r\nContent-Length: 2\r\n\r\n{}",
        &[200],
        &[200],
    ),
    // redirects and odd statuses
    (
        "HTTP/1.1 301 Moved\r\nLocation: http://evil/\r\nContent-Length: 0\r\n\r\n",
        &[502],
        &[502],
    ),
    (
        "HTTP/1.1 307 Moved\r\nLocation: //evil/\r\nContent-Length: 0\r\n\r\n",
        &[502],
        &[502],
    ),
    ("HTTP/1.1 304 Same\r\n\r\n", &[502], &[502]),
    (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        &[502],
        &[502],
    ),
    (
        "HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n",
        &[502],
        &[502],
    ),
    (
        "HTTP/1.1 600 What\r\nContent-Length: 0\r\n\r\n",
        &[502],
        &[502],
    ),
    (
        "HTTP/1.1 000 What\r\nContent-Length: 0\r\n\r\n",
        &[502],
        &[502],
    ),
    (
        "HTTP/1.1 -1 What\r\nContent-Length: 0\r\n\r\n",
        &[502],
        &[502],
    ),
    (
        "HTTP/1.1 20 What\r\nContent-Length: 0\r\n\r\n",
        &[502],
        &[502],
    ),
    // framings
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n{}",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n{}",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\n{}",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n{}",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551617\r\n\r\n{}",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n{}",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n{}",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\n{}\r\n0\r\n\r\n",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        &[200],
        &[502],
    ),
    // garbage
    ("", &[502], &[502]),
    ("garbage\r\n\r\n", &[502], &[502]),
    ("\0\0\0\0", &[502], &[502]),
    ("HTTP/2.0 200 OK\r\n\r\n", &[200], &[502]),
    ("HTTP/1.1\r\n\r\n", &[502], &[502]),
    ("SSH-2.0-x\r\n", &[502], &[502]),
    ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", &[200], &[502]),
    (
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nX y: a\r\nContent-Length: 0\r\n\r\n",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        &[200],
        &[502],
    ),
    // the same, and no success, or another one's
    ("HTTP/1.1 500 Bad\r\nno colon\r\n\r\n", &[502], &[502]),
    (
        "HTTP/1.1 200 OK\r\nno colon\r\nContent-Type: text/html\r\n\r\n<html>",
        &[502],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n{}",
        &[502],
        &[200, 502],
    ),
    (
        "HTTP/1.1 200 {KEY}\r\nno colon\r\nContent-Type: a/{KEY}\r\nX: {KEY}\r\n\r\n{KEY}",
        &[200],
        &[502],
    ),
    // a second answer behind the first
    (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nX: smuggled\r\nContent-Length: 2\r\n\r\n{}",
        &[200],
        &[200],
    ),
    (
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
        &[200],
        &[204],
    ),
    // encodings that were not offered, or are none
    (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n{}",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip, gzip\r\nContent-Length: 2\r\n\r\n{}",
        &[200],
        &[502],
    ),
    // not what a query answers
    (
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>",
        &[502],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n{}{}",
        &[200],
        &[502],
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n\u{fffd}",
        &[200],
        &[502],
    ),
];

const SECRETS: [&str; 4] = [
    "ingest-token-of-",
    "api-key-viewer",
    "api-key-editor",
    "api-key-admin",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_backend_gets_nothing_through() {
    let backend = Backend::start().await;
    let config = testkit::world::CONFIG
        .replace("\"{ingest}\"", &backend.url)
        .replace("\"{query}\"", &backend.url);
    let mut ground = Ground::plan(WorldPlan {
        config,
        ..WorldPlan::default()
    })
    .await;
    let mut faults = Vec::new();
    let large = |length: usize| {
        format!(
            "HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n",
            "x".repeat(length)
        )
    };
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n",
        "X: y\r\n".repeat(500)
    );
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(5000);
    let bomb = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        let zeros = vec![b' '; 1 << 20];
        (0..64).for_each(|_| std::io::Write::write_all(&mut encoder, &zeros).unwrap());
        let packed = encoder.finish().unwrap();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            packed.len()
        );
        [head.as_bytes(), &packed].concat()
    };
    let more: [(Vec<u8>, &[u16], &[u16]); 4] = [
        (large(100_000).into_bytes(), &[200], &[502]),
        (many.into_bytes(), &[200], &[502]),
        (interim.into_bytes(), &[502], &[502]),
        (bomb, &[200], &[502]),
    ];
    let cases = ANSWERS
        .iter()
        .map(|(answer, export, query)| (answer.as_bytes().to_vec(), *export, *query))
        .chain(more);
    for (answer, export, query) in cases {
        backend.answers(&answer);
        let shown: String = String::from_utf8_lossy(&answer).chars().take(120).collect();
        for (request, expected) in [
            (
                ground.fill("{EXPORT}Content-Length: 6\r\n\r\n\n\x04\x12\x02\x12\0"),
                export,
            ),
            (
                ground.fill(
                    "GET /public/v0.2/acme/projects/checkout-prod/streams HTTP/1.1\r\n{H}\r\n",
                ),
                query,
            ),
        ] {
            let sent = format!("{request}{}", ground.good());
            let talk = wire::talk(ground.plain(), sent.as_bytes()).await;
            let text = String::from_utf8_lossy(&talk.bytes).into_owned();
            if SECRETS.iter().any(|secret| text.contains(secret)) {
                faults.push(format!("{shown:?}: our credential came back in {text:?}"));
            }
            match wire::replies(&talk.bytes, &[]).as_deref() {
                Ok([first, rest @ ..]) => {
                    if !expected.contains(&first.status)
                        || rest.iter().any(|reply| reply.status != 200)
                        || rest.len() > 1
                    {
                        faults.push(format!(
                            "{shown:?}: {} not {expected:?}, then {rest:?}",
                            first.status
                        ));
                    }
                    for name in [
                        "set-cookie",
                        "set-cookie2",
                        "server",
                        "via",
                        "keep-alive",
                        "upgrade",
                        "trailer",
                        "alt-svc",
                        "proxy-authenticate",
                        "x",
                        "echo",
                        "access-control-allow-origin",
                        "strict-transport-security",
                        "authorization",
                        "lightstep-access-token",
                    ] {
                        if first.header(name).is_some() {
                            faults.push(format!("{shown:?}: `{name}` was passed on"));
                        }
                    }
                    let ids = first
                        .headers
                        .iter()
                        .filter(|(name, _)| name == "lightkeeper-request-id")
                        .count();
                    if ids != 1 || first.header("lightkeeper-request-id") == Some("forged") {
                        faults.push(format!("{shown:?}: {ids} request ids"));
                    }
                }
                other => faults.push(format!("{shown:?}: {other:?}")),
            }
            let records = ground.calls(2).await;
            if records.iter().any(|record| {
                SECRETS
                    .iter()
                    .any(|secret| record.to_string().contains(secret))
            }) {
                faults.push(format!("{shown:?}: our credential is in a record"));
            }
        }
    }
    ground.alive().await;
    ground::none(&faults);
}

/// The same by the emulator's switches, over each way of calling.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_backend_never_shows_our_credential() {
    let mut ground = Ground::new().await;
    let mut faults = Vec::new();
    let secrets: Vec<String> = vec![
        Emulator::access_token("checkout-prod"),
        "api-key-viewer-83ac".to_owned(),
    ];
    for fault in [
        Fault::Echo,
        Fault::Garbage,
        Fault::status(401),
        Fault::status(403),
        Fault::status(500),
        Fault::PlainStatus { status: 403 },
        Fault::PlainStatus { status: 502 },
        Fault::PlainStatus { status: 301 },
        Fault::CloseBeforeHead,
        Fault::CloseAfterHead,
        Fault::Huge(100 << 10),
        Fault::Drip {
            bytes: 5,
            interval: Duration::from_millis(5),
        },
    ] {
        ground.world.emulator.fail(Endpoints::All, fault.clone());
        let sample = Sample::traces("checkout", 2);
        let (plain, tls) = (ground.world.plain_caller(), ground.world.caller());
        let reader = ground.reader.clone();
        let answers = [
            plain
                .clone()
                .bearer(&ground.exporter)
                .export(&sample, Encoding::Protobuf)
                .await,
            tls.clone()
                .http2()
                .bearer(&ground.exporter)
                .export(&sample, Encoding::Json)
                .await,
            plain
                .clone()
                .bearer(&ground.exporter)
                .export_grpc(&sample)
                .await,
            tls.clone()
                .bearer(&ground.exporter)
                .export_grpc(&sample)
                .await,
            plain
                .bearer(&reader)
                .get("/public/v0.2/acme/projects/checkout-prod/streams")
                .await,
            tls.http2()
                .bearer(&reader)
                .get("/public/v0.2/acme/projects")
                .await,
        ];
        for (index, answer) in answers.iter().enumerate() {
            if let Ok(answer) = answer {
                if secrets
                    .iter()
                    .any(|secret| answer.contains(secret.as_bytes()))
                {
                    faults.push(format!("{fault:?} {index}: our credential came back"));
                }
                let denied = matches!(answer.status, 401 | 403)
                    || matches!(answer.grpc_status(), Some(7 | 16));
                if denied {
                    faults.push(format!(
                        "{fault:?} {index}: {} {:?} drops data",
                        answer.status,
                        answer.grpc_status()
                    ));
                }
                for name in [
                    "lightstep-access-token",
                    "authorization",
                    "echo-authorization",
                    "set-cookie",
                ] {
                    if answer.headers.contains_key(name) || answer.trailers.contains_key(name) {
                        faults.push(format!("{fault:?} {index}: `{name}` was passed on"));
                    }
                }
            }
        }
        for record in ground.calls(6).await {
            if secrets
                .iter()
                .any(|secret| record.to_string().contains(secret))
            {
                faults.push(format!("{fault:?}: {record}"));
            }
        }
    }
    ground.world.emulator.heal();
    ground.alive().await;
    ground::none(&faults);
}
