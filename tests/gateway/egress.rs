//! A CONNECT proxy between the gateway and everything that it calls. What it refuses to know: which hosts go straight;
//! `src/egress/tests` has the table.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use lightkeeper::clock::Clock;
use lightkeeper::otlp::Encoding;
use serde_json::json;
use testkit::certificates::San;
use testkit::server::ServerTls;
use testkit::world::webhook_secret;
use testkit::{
    DevelopmentCertificates, Emulator, EmulatorOptions, Endpoints, Format, LeafPlan, LegacySample,
    Sample, World,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::stage;
use crate::folder::Folder;

/// What the proxy's user says; base64 of it is what must come.
const CREDENTIALS: &str = "gateway:canary-of-the-proxy-51fe";
const AUTHORIZATION: &str =
    "proxy-authorization: Basic Z2F0ZXdheTpjYW5hcnktb2YtdGhlLXByb3h5LTUxZmU=\r\n";

/// What a proxy does with who asks for a tunnel.
#[derive(Clone, Copy, Debug)]
enum WireFormat {
    Pass,
    /// This, and hangs up.
    Say(&'static str),
    /// Nothing, ever.
    Silent,
    /// Lines without end.
    Babble,
    /// One byte of a good answer, and no other.
    Stall,
}

#[derive(Default)]
struct State {
    manner: Option<WireFormat>,
    /// Where hosts under `.invalid` lead.
    backend: Option<SocketAddr>,
    /// Heads of those who asked for a tunnel.
    heads: Vec<String>,
    /// What was sent into tunnels to such hosts.
    sent: Vec<u8>,
}

/// A proxy that runs as long as it is held.
struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Proxy {
            address,
            state,
            task,
        }
    }

    fn be(&self, manner: WireFormat) {
        self.state.lock().unwrap().manner = Some(manner);
    }

    fn leads_to(&self, backend: SocketAddr) {
        self.state.lock().unwrap().backend = Some(backend);
    }

    /// The hosts and ports that were asked for so far.
    fn asked(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state
            .heads
            .iter()
            .map(|head| head.split(' ').nth(1).unwrap_or_default().to_owned())
            .collect()
    }

    fn count(&self, place: &str) -> usize {
        self.asked().iter().filter(|asked| *asked == place).count()
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let place = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let (manner, backend) = {
        let mut state = state.lock().unwrap();
        state.heads.push(head);
        (state.manner.unwrap_or(WireFormat::Pass), state.backend)
    };
    let is_backend = place
        .split(':')
        .next()
        .is_some_and(|host| host.ends_with(".invalid"));
    // It may hang up on each of these.
    match manner {
        WireFormat::Say(answer) => drop(stream.write_all(answer.as_bytes()).await),
        WireFormat::Silent => std::future::pending().await,
        WireFormat::Babble => while stream.write_all(b"x-line: and so on\r\n").await.is_ok() {},
        WireFormat::Stall => {
            let _ = stream.write_all(b"H").await;
            std::future::pending().await
        }
        WireFormat::Pass => {
            let address = if is_backend {
                backend
            } else {
                place.parse().ok()
            };
            let Some(address) = address else { return };
            let mut behind = TcpStream::connect(address).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                .await
                .unwrap();
            let (mut from_caller, mut to_caller) = stream.split();
            let (mut from_host, mut to_host) = behind.split();
            let out = async {
                let mut space = vec![0; 16 << 10];
                while let Ok(count @ 1..) = from_caller.read(&mut space).await {
                    if is_backend {
                        state
                            .lock()
                            .unwrap()
                            .sent
                            .extend_from_slice(&space[..count]);
                    }
                    if to_host.write_all(&space[..count]).await.is_err() {
                        break;
                    }
                }
            };
            tokio::select! {
                () = out => {}
                _ = tokio::io::copy(&mut from_host, &mut to_caller) => {}
            }
        }
    }
}

/// A world that reaches everything through the proxy, and a backend over TLS whose names only the proxy can look up.
async fn world(folder: &Folder, proxy: &Proxy) -> World {
    let certificates = DevelopmentCertificates::new(&Clock::system()).unwrap();
    let names = ["ingest.acme.invalid", "api.acme.invalid"].map(|name| San::Dns(name.to_owned()));
    let leaf = LeafPlan {
        names: names.to_vec(),
        ..LeafPlan::server()
    };
    let leaf = certificates.authority.issue(&leaf).unwrap();
    std::fs::write(folder.join("ca.pem"), certificates.authority.certificate()).unwrap();
    std::fs::write(folder.join("proxy"), CREDENTIALS).unwrap();
    let upstream = |name: &str| {
        format!(
            "url: \"https://{name}\", ca: {}, timeouts: {{ connect: 700ms }}",
            folder.at("ca.pem")
        )
    };
    let mut plan = stage::plan(&[
        (r#"url: "{ingest}""#, &upstream("ingest.acme.invalid")),
        (r#"url: "{query}""#, &upstream("api.acme.invalid")),
    ]);
    // Another name than those that the backend can prove.
    let collector = format!("  collector: {{ {} }}\n", upstream("other.acme.invalid"));
    plan.config = plan
        .config
        .replacen("web:\n", &format!("{collector}web:\n"), 1);
    plan.more = format!(
        "egress: {{ proxy: {{ url: \"http://{}\", credentials: {{ file: {} }} }} }}",
        proxy.address,
        folder.at("proxy")
    );
    let tls = ServerTls {
        certificates: leaf.certificate,
        key: leaf.key,
        client_ca: None,
    };
    plan.emulator = EmulatorOptions {
        tls: Some(tls),
        ..EmulatorOptions::default()
    };
    let world = stage::start(plan).await;
    proxy.leads_to(world.emulator.address());
    world
}

/// An export over HTTP, one over gRPC, and a query: status or gRPC status, and the record's reason and detail.
async fn three(world: &World) -> Vec<(u32, String, Option<String>)> {
    let collector = world
        .plain_caller()
        .bearer(&world.issuer.token("checkout-collector"));
    let sample = Sample::traces("checkout", 1);
    let ann = world.plain_caller().bearer(&world.issuer.token("ann"));
    let answers = [
        collector.export(&sample, Encoding::Protobuf).await.unwrap(),
        collector.export_grpc(&sample).await.unwrap(),
        ann.get("/public/v0.2/acme/projects/shop-prod/streams")
            .await
            .unwrap(),
    ];
    let mut found = Vec::new();
    for answer in answers {
        let record = stage::record(world, &answer.header("lightkeeper-request-id").unwrap()).await;
        let status = answer.grpc_status().unwrap_or(u32::from(answer.status));
        let detail = record["detail"].as_str().map(str::to_owned);
        found.push((
            status,
            record["reason"].as_str().unwrap().to_owned(),
            detail,
        ));
    }
    found
}

fn ok() -> Vec<(u32, String, Option<String>)> {
    [200, 0, 200]
        .map(|status| (status, "ok".to_owned(), None))
        .to_vec()
}

/// Scenario: exports, a query, keys of an issuer and an alert leave through a proxy that wants credentials.
/// Guarantees: the proxy is told host and port, and looks names up itself; what goes to a host with TLS is TLS to that host's own
/// name, so that the proxy sees no path, no token and no telemetry; its credentials are in no answer, record or metric.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_leaves_through_the_proxy() {
    let (folder, proxy) = (Folder::new(), Proxy::start().await);
    let world = world(&folder, &proxy).await;
    assert_eq!(three(&world).await, ok());
    assert_eq!(three(&world).await, ok());
    let alert = world
        .plain_caller()
        .bearer(&webhook_secret("shop/checkout"));
    let alert = alert
        .post("/apps/shop/checkout/-/alerts", &json!({ "name": "late" }))
        .await
        .unwrap();
    assert_eq!(alert.status, 200);
    assert_eq!(world.receiver.received().len(), 1);

    // One connection each for the two lanes of the exports, kept for the second round; one for queries.
    assert_eq!(
        proxy.count("ingest.acme.invalid:443"),
        2,
        "{:?}",
        proxy.asked()
    );
    assert_eq!(
        proxy.count("api.acme.invalid:443"),
        1,
        "{:?}",
        proxy.asked()
    );
    let plain = |url: &str| {
        url.trim_start_matches("http://")
            .split('/')
            .next()
            .unwrap()
            .to_owned()
    };
    for place in [plain(world.issuer.url()), plain(&world.receiver.url())] {
        assert!(
            proxy.count(&place) >= 1,
            "{place} is not among {:?}",
            proxy.asked()
        );
    }
    assert_eq!(world.emulator.connections(), 3);
    {
        let state = proxy.state.lock().unwrap();
        for head in &state.heads {
            assert!(
                head.starts_with("CONNECT ") && head.contains(AUTHORIZATION),
                "{head}"
            );
            assert_eq!(head.lines().count(), 5, "{head}");
        }
        let token = Emulator::access_token("checkout-prod");
        for secret in [
            token.as_bytes(),
            b"Bearer",
            b"/v1/traces",
            b"HTTP/1.1",
            b"checkout",
            b"lightstep",
        ] {
            assert!(
                memchr::memmem::find(&state.sent, secret).is_none(),
                "{}",
                String::from_utf8_lossy(secret)
            );
        }
        assert!(state.sent.len() > 1000);
    }
    let (_, metrics) = stage::admin(&world, "/metrics").await;
    for told in [
        metrics,
        format!("{:?}", world.records()),
        format!("{:?}", world.emulator.captured()),
    ] {
        assert!(
            !told.contains("canary-of-the-proxy") && !told.contains("Z2F0ZXdheTpj"),
            "{told}"
        );
    }
    // A name that the backend cannot prove, however sure the proxy is.
    let collector = world
        .plain_caller()
        .bearer(&world.issuer.token("checkout-collector"));
    let before = world.emulator.heads();
    let report = collector
        .report(&LegacySample::of(Format::Reports, "checkout", 1))
        .await
        .unwrap();
    let record = stage::record(&world, &report.header("lightkeeper-request-id").unwrap()).await;
    assert_eq!(
        (&record["reason"], world.emulator.heads()),
        (&"upstream_not_verified".into(), before)
    );
    assert_eq!(proxy.count("other.acme.invalid:443"), 1);
}

/// Takes a port that was given back, without listening on it: another test's server would answer there.
async fn without_listener(address: std::net::SocketAddr) -> tokio::net::TcpSocket {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        match socket.bind(address) {
            Ok(()) => return socket,
            Err(fault) if tokio::time::Instant::now() > deadline => panic!("{address}: {fault}"),
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// Scenario: the proxy refuses, is silent, talks without end, hangs up before and behind its answer, and is not there.
/// Guarantees: each is told apart in record and metric, and from a backend that cannot be reached; callers are told to come
/// again; nothing reaches the backend; once the proxy lets through, the same calls are served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_gives_no_tunnel() {
    let (folder, proxy) = (Folder::new(), Proxy::start().await);
    let world = world(&folder, &proxy).await;
    let refused = |status: &str| {
        (
            502,
            14,
            "upstream_proxy_refused",
            Some(format!("the proxy answered {status}")),
        )
    };
    let cases = [
        (
            WireFormat::Say(
                "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n",
            ),
            refused("407: it wants other credentials"),
        ),
        (
            WireFormat::Say("HTTP/1.1 403 Filtered\r\ncontent-length: 2\r\n\r\nno"),
            refused("403"),
        ),
        (
            WireFormat::Say("HTTP/1.1 502 Bad Gateway\r\n\r\n"),
            refused("502"),
        ),
        (
            WireFormat::Say("HTTP/1.0 500 Unable to connect\r\n\r\n"),
            refused("500"),
        ),
        (WireFormat::Silent, (504, 4, "upstream_proxy_timeout", None)),
        (WireFormat::Stall, (504, 4, "upstream_proxy_timeout", None)),
        (
            WireFormat::Babble,
            (
                502,
                14,
                "upstream_proxy_broken",
                Some("the proxy gave no HTTP answer".to_owned()),
            ),
        ),
        (
            WireFormat::Say(""),
            (
                502,
                14,
                "upstream_proxy_broken",
                Some("the proxy gave no HTTP answer".to_owned()),
            ),
        ),
        (
            WireFormat::Say("HTTP/1.1 200 OK\r\n"),
            (
                502,
                14,
                "upstream_proxy_broken",
                Some("the proxy gave no HTTP answer".to_owned()),
            ),
        ),
        // A tunnel that ends at once: what could not be reached is the backend.
        (
            WireFormat::Say("HTTP/1.1 200 OK\r\n\r\n"),
            (502, 14, "upstream_unreachable", None),
        ),
    ];
    for (manner, (status, grpc, reason, detail)) in cases {
        proxy.be(manner);
        let found = three(&world).await;
        let expected =
            [status, grpc, status].map(|status| (status, reason.to_owned(), detail.clone()));
        assert_eq!(found, expected, "{manner:?}");
        assert_eq!(
            (world.emulator.heads(), world.emulator.connections()),
            (0, 0),
            "{manner:?}"
        );
    }
    let (_, page) = stage::admin(&world, "/metrics").await;
    for reason in [
        "upstream_proxy_refused",
        "upstream_proxy_timeout",
        "upstream_proxy_broken",
        "upstream_unreachable",
    ] {
        assert!(
            page.contains(&format!("reason=\"{reason}\"")),
            "{reason}: {page}"
        );
    }
    proxy.be(WireFormat::Pass);
    assert_eq!(three(&world).await, ok());
    assert_eq!(world.emulator.heads(), 3);

    // What rests goes on without the proxy's leave; what is new needs it.
    let address = proxy.address;
    drop(proxy);
    let _held = without_listener(address).await;
    world.emulator.stop().await;
    world.emulator.restart().await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    let expected = [502, 14, 502].map(|status| {
        (
            status,
            "upstream_proxy_unreachable".to_owned(),
            Some("the proxy cannot be reached".to_owned()),
        )
    });
    assert_eq!(three(&world).await, expected);
}

/// Scenario: connections rest in the pool, through the proxy, when a reload changes the way: other credentials, no proxy, the
/// proxy again, another part's exception. Guarantees: no connection made in one way is used in another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_one_way_are_not_used_in_another() {
    let (folder, proxy) = (Folder::new(), Proxy::start().await);
    std::fs::write(folder.join("proxy"), CREDENTIALS).unwrap();
    std::fs::write(folder.join("other"), "other:user").unwrap();
    let url = format!("http://{}", proxy.address);
    let through = |file: &str| {
        format!(
            "egress: {{ proxy: {{ url: \"{url}\", credentials: {{ file: {} }} }} }}",
            folder.at(file)
        )
    };
    let mut plan = stage::plan(&[]);
    plan.more = through("proxy");
    let world = stage::start(plan).await;
    let backend = world.emulator.address().to_string();
    let config = world.folder().join("lightkeeper.yaml");
    let first = std::fs::read_to_string(&config).unwrap();
    // (what the file says, tunnels to the backend, connections that the backend saw): each of the rounds asks twice.
    let steps = [
        (through("proxy"), 3, 3),
        (through("other"), 3, 3),
        ("egress: { proxy: off }".to_owned(), 0, 3),
        (
            format!("egress: {{ proxy: \"{url}\", no_proxy: [10.0.0.0/8] }}"),
            3,
            3,
        ),
        // The same way for the backend.
        (
            format!("egress: {{ proxy: \"{url}\", no_proxy: [10.0.0.0/8, elsewhere.example] }}"),
            0,
            0,
        ),
        (
            format!("egress: {{ proxy: \"{url}\", no_proxy: [127.0.0.0/8] }}"),
            0,
            3,
        ),
        // Loopback does not go to a proxy of the environment, whatever that is here: the way is the same.
        ("egress: { proxy: env }".to_owned(), 0, 0),
        (through("proxy"), 3, 3),
    ];
    for (step, (text, tunnels, connections)) in steps.into_iter().enumerate() {
        if step > 0 {
            stage::replace(&config, first.replace(&through("proxy"), &text));
            world.gateway.reload().await.unwrap();
        }
        let (asked, seen) = (proxy.count(&backend), world.emulator.connections());
        assert_eq!(three(&world).await, ok(), "{text}");
        assert_eq!(three(&world).await, ok(), "{text}");
        let found = (
            proxy.count(&backend) - asked,
            world.emulator.connections() - seen,
        );
        assert_eq!(found, (tunnels, connections), "step {step}: {text}");
    }
    let state = proxy.state.lock().unwrap();
    let others = state
        .heads
        .iter()
        .filter(|head| head.contains("proxy-authorization: Basic b3RoZXI6dXNlcg==\r\n"));
    assert!(
        others.filter(|head| head.contains(&backend)).count() == 3,
        "{:?}",
        state.heads
    );
}

/// Scenario: an issuer's keys can only be had through a proxy that refuses at first. Guarantees: callers are told to come
/// again, not that their tokens are bad; the issuer's last fault says that it was the proxy; once it lets through, they are served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_behind_a_proxy_that_refuses() {
    let proxy = Proxy::start().await;
    proxy.be(WireFormat::Say("HTTP/1.1 407 No\r\n\r\n"));
    let proxied = format!(
        "audiences: [lightkeeper]\n    proxy: \"http://{}\"",
        proxy.address
    );
    let plan = stage::plan(&[("audiences: [lightkeeper]", &proxied)]);
    let world = World::start_with(plan).await.unwrap();
    let fault = stage::eventually("the fault", || async {
        world
            .gateway
            .shared()
            .readiness()
            .issuers
            .iter()
            .find_map(|issuer| issuer.last_error.clone())
    });
    assert_eq!(fault.await, "proxy_refused");
    let collector = world
        .plain_caller()
        .bearer(&world.issuer.token("checkout-collector"));
    let sample = Sample::traces("checkout", 1);
    assert_eq!(
        collector
            .export(&sample, Encoding::Protobuf)
            .await
            .unwrap()
            .status,
        503
    );
    proxy.be(WireFormat::Pass);
    stage::eventually("an export that is served", || async {
        let answer = collector.export(&sample, Encoding::Protobuf).await.unwrap();
        (answer.status == 200).then_some(())
    })
    .await;
    // Upstreams go straight: the environment of these tests is not asked about loopback.
    assert_eq!(proxy.count(&world.emulator.address().to_string()), 0);
    assert!(
        world
            .emulator
            .captured()
            .iter()
            .all(|captured| captured.endpoints == Endpoints::IngestHttp)
    );
}
