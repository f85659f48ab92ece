//! Canaries: whatever the gateway writes while it works and while things go wrong is searched for every secret that
//! it holds or was shown. What it refuses to know: which of its parts could leak; it looks at all that comes out.

use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use http::Method;
use lightkeeper::otlp::Encoding;
use testkit::{
    Algorithm, Answer, CallFault, Emulator, Endpoints, Fault, Issuer, Leaf, Sample, SampleCaller,
    World, write_certificates,
};

use super::stage::{self, WorldPlan, eventually};
use crate::folder::Folder;

/// The header of a proxy's assertions.
const IAP: &str = "x-goog-iap-jwt-assertion";

/// The demonstration, where a proxy may state who calls.
fn plan() -> WorldPlan {
    let named = format!("    audiences: [lightkeeper]\n    header: {IAP}\nupstreams:");
    stage::plan(&[("    audiences: [lightkeeper]\nupstreams:", &named)])
}

/// What callers were given, and who gave it: the loads of all calls.
#[derive(Default)]
struct Heard {
    /// Heads, bodies and trailers of answers.
    answers: Vec<Vec<u8>>,
    /// Tokens that callers showed.
    shown: Vec<String>,
}

impl Heard {
    fn note(&mut self, outcome: Result<Answer, CallFault>) {
        match outcome {
            Ok(answer) => {
                let pairs = answer.headers.iter().chain(&answer.trailers);
                let lines = pairs.flat_map(|(name, value)| {
                    [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"].concat()
                });
                self.answers.push(lines.collect());
                self.answers.push(
                    answer
                        .json()
                        .map_or_else(|| answer.body.clone(), |json| json.to_string().into_bytes()),
                );
                self.answers.push(answer.body);
            }
            Err(CallFault::Broken { read, .. }) => self.answers.push(read),
            Err(_) => {}
        }
    }
}

/// Calls of every kind against a backend in every state, with good and bad evidence.
async fn mixed_load(target: &SampleCaller, issuer: &Issuer, emulator: &Emulator) -> Heard {
    let mut heard = Heard::default();
    let mint = |name: &str| {
        issuer.mint(
            issuer.claims_of(name).set("jti", format!("canary-{name}")),
            Algorithm::Rs256,
        )
    };
    let collector = mint("checkout-collector");
    let (ann, sam, terraform) = (mint("ann"), mint("sam"), mint("terraform"));
    let expired = issuer.mint(issuer.claims_of("ann").expires_in(-3600), Algorithm::Rs256);
    let unsigned = issuer.mint(issuer.claims_of("ann"), Algorithm::Unsigned);
    let opaque = "caller-opaque-secret-0b7e".to_owned();
    let faults = [
        None,
        Some(Fault::Echo),
        Some(Fault::status(401)),
        Some(Fault::status(403)),
        Some(Fault::status(500)),
        Some(Fault::PlainStatus { status: 502 }),
        Some(Fault::EarlyStatus { status: 413 }),
        Some(Fault::CloseBeforeHead),
        Some(Fault::CloseAfterHead),
        Some(Fault::Garbage),
        Some(Fault::Drip {
            bytes: 3,
            interval: Duration::from_millis(1),
        }),
    ];
    for fault in faults {
        emulator.heal();
        if let Some(fault) = fault {
            emulator.fail(Endpoints::All, fault);
        }
        let exporter = target.clone().bearer(&collector);
        let sample = Sample::traces("checkout", 2);
        heard.note(exporter.export(&sample, Encoding::Protobuf).await);
        heard.note(
            exporter
                .clone()
                .access_token(&opaque)
                .http2()
                .export(&sample, Encoding::Json)
                .await,
        );
        heard.note(exporter.export_grpc(&sample).await);
        heard.note(
            target
                .clone()
                .access_token(&collector)
                .export(&sample, Encoding::Json)
                .await,
        );
        heard.note(
            target
                .clone()
                .header(IAP, &collector)
                .export_grpc(&sample)
                .await,
        );
        for token in [&ann, &sam, &terraform] {
            let reader = target.clone().bearer(token);
            heard.note(reader.get("/public/v0.2/acme/projects").await);
            heard.note(
                reader
                    .get("/public/v0.2/acme/projects/checkout-prod/streams")
                    .await,
            );
            heard.note(
                reader
                    .get("/public/v0.2/acme/projects/checkout-prod/access_tokens")
                    .await,
            );
            let body =
                serde_json::json!({ "data": { "attributes": { "name": "n", "query": "q" } } });
            heard.note(
                reader
                    .post("/public/v0.2/acme/projects/checkout-prod/streams", &body)
                    .await,
            );
        }
    }
    emulator.heal();
    // Evidence that is refused, in each place where it can stand.
    for token in [&expired, &unsigned, &opaque, &ann] {
        for header in [
            "authorization",
            "lightstep-access-token",
            "cookie",
            "x-api-key",
            IAP,
        ] {
            let caller = target.clone().header(header, token);
            heard.note(caller.get("/public/v0.2/acme/projects").await);
            heard.note(
                caller
                    .export(&Sample::traces("checkout", 1), Encoding::Json)
                    .await,
            );
            heard.note(caller.export_grpc(&Sample::traces("checkout", 1)).await);
        }
        heard.note(
            target
                .clone()
                .header("authorization", &format!("Basic {token}"))
                .get("/apps")
                .await,
        );
        heard.note(
            target
                .get(&format!("/public/v0.2/acme/projects?access_token={token}"))
                .await,
        );
        heard.note(
            target
                .get(&format!("/public/v0.2/acme/projects?limit={token}"))
                .await,
        );
        let method = Method::from_bytes(b"BREW").unwrap();
        heard.note(
            target
                .clone()
                .bearer(token)
                .send(method, "/v1/traces", &[("x_bad", token)], Vec::new())
                .await,
        );
        let raw = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nAuthorization: {token}\r\n\r\n"
        );
        heard.answers.push(
            target
                .clone()
                .deadline(Duration::from_millis(300))
                .raw(raw.as_bytes())
                .await
                .unwrap(),
        );
        let raw = format!("GET / HTTP/1.1\r\nHost: a\r\n{token}\r\n\r\n");
        heard.answers.push(
            target
                .clone()
                .deadline(Duration::from_millis(300))
                .raw(raw.as_bytes())
                .await
                .unwrap(),
        );
    }
    heard.shown = vec![collector, ann, sam, terraform, expired, unsigned, opaque];
    heard
}

/// A secret as it is, and as it looks when bytes are shown in other ways.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    use base64::Engine as _;
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let base64 = base64::engine::general_purpose::STANDARD_NO_PAD.encode(secret);
    let list = format!("{:?}", secret.as_bytes());
    // The last digits of a base64 text depend on what follows.
    [
        secret,
        &hex,
        base64.get(..base64.len() - 2).unwrap(),
        list.trim_matches(['[', ']']),
    ]
    .map(|form| form.as_bytes().to_vec())
    .into()
}

fn search(outputs: &[(&str, Vec<u8>)], secrets: &[String]) {
    let mut found = Vec::new();
    for secret in secrets {
        // A token's first part is its header, which is no secret; its signature is.
        let tail = secret
            .rsplit('.')
            .next()
            .filter(|tail| tail.len() > 20)
            .unwrap_or(secret);
        for form in forms(secret).into_iter().chain(forms(tail)) {
            for (name, output) in outputs {
                if let Some(at) = memchr::memmem::find(output, &form) {
                    let around = &output[at.saturating_sub(200)..output.len().min(at + 40)];
                    found.push(format!("{name}: …{}…", String::from_utf8_lossy(around)));
                }
            }
        }
    }
    assert!(
        found.is_empty(),
        "{} leaks\n{}",
        found.len(),
        found.join("\n")
    );
}

/// Scenario: the mixed load on a gateway in this process, and then a reload of each secret's file with nonsense in it.
/// Guarantees: no answer, record, metric, probe or error holds a credential of the backend's or of a caller's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_comes_out_holds_a_secret() {
    let world: World = stage::start(plan()).await;
    let heard = mixed_load(&world.caller(), &world.issuer, &world.emulator).await;
    let mut outputs: Vec<(&str, Vec<u8>)> = heard
        .answers
        .into_iter()
        .map(|answer| ("answer", answer))
        .collect();
    assert!(outputs.len() > 300, "{} answers", outputs.len());
    let mut secrets = stage::backend_credentials();
    secrets.extend(heard.shown);
    let broken = "broken secret-with-blanks-5512";
    stage::replace(&world.folder().join("secrets/shop-prod"), broken);
    outputs.push((
        "reload's errors",
        world
            .gateway
            .reload()
            .await
            .unwrap_err()
            .join("\n")
            .into_bytes(),
    ));
    secrets.push("secret-with-blanks-5512".to_owned());
    for page in ["/metrics", "/readyz"] {
        outputs.push((page, stage::admin(&world, page).await.1.into_bytes()));
    }
    world.gateway.stop().await;
    outputs.push((
        "audit trail",
        std::fs::read(world.folder().join("audit.jsonl")).unwrap(),
    ));
    assert!(world.records().len() > 100);
    search(&outputs, &secrets);
}

/// Scenario: the same load on the program itself, at its most talkative log level, JSON and text; then it is stopped.
/// Guarantees: nothing that it prints holds a secret, and it prints about each of the backend's refusals.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_printed_holds_a_secret() {
    for format in ["json", "text"] {
        let folder = Folder::new();
        let (issuer, emulator) = (
            Issuer::start().await.unwrap(),
            Emulator::start().await.unwrap(),
        );
        furnish(&folder, &issuer, &emulator, format);
        let file = |name: &str| std::fs::File::create(folder.at(name)).unwrap();
        let program = Program(Mutex::new(
            std::process::Command::new(env!("CARGO_BIN_EXE_lightkeeper"))
                .args(["serve", "--config", &folder.at("lightkeeper.yaml")])
                .env("RUST_BACKTRACE", "full")
                .env("RUST_LOG", "trace")
                .stdin(Stdio::null())
                .stdout(file("stdout"))
                .stderr(file("stderr"))
                .spawn()
                .unwrap(),
        ));
        let printed = || {
            ["stdout", "stderr"]
                .map(|name| std::fs::read_to_string(folder.at(name)).unwrap())
                .concat()
        };
        let address =
            eventually("the listener's address", || async { listening(&printed()) }).await;
        let authority = std::fs::read_to_string(folder.at("certs/ca.pem")).unwrap();
        let target =
            SampleCaller::new(&format!("https://localhost:{address}")).trusting(&authority);
        let warm = target.clone().bearer(&issuer.token("ann"));
        eventually("keys", || async {
            (warm.get("/apps").await.ok()?.status == 200).then_some(())
        })
        .await;
        let heard = mixed_load(&target, &issuer, &emulator).await;
        let certificate = Leaf::read(&folder.join("certs"), "revoked").unwrap();
        target
            .clone()
            .certificate(&certificate)
            .get("/apps")
            .await
            .unwrap_err();

        program.ask_to_stop();
        let status = eventually("the program's end", || async {
            program.0.lock().unwrap().try_wait().unwrap()
        })
        .await;
        assert!(status.success(), "{status}");
        let printed = printed();
        let refusals = printed
            .lines()
            .filter(|line| line.contains("the backend refuses one of our credentials"))
            .count();
        assert!(refusals >= 1, "{refusals} in {printed}");
        assert!(
            printed.lines().count() > 100 && !printed.contains("panic"),
            "{printed}"
        );
        let mut secrets = stage::backend_credentials();
        secrets.extend(heard.shown);
        let key = std::fs::read_to_string(folder.at("certs/server.key")).unwrap();
        secrets.push(key.lines().nth(1).unwrap().to_owned());
        let trail = std::fs::read(folder.at("audit.jsonl")).unwrap();
        search(
            &[("printed", printed.into_bytes()), ("audit trail", trail)],
            &secrets,
        );
    }
}

/// The running program; killed if a test ends without it.
struct Program(Mutex<std::process::Child>);

impl Program {
    fn ask_to_stop(&self) {
        let id = self.0.lock().unwrap().id().to_string();
        assert!(
            std::process::Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has usually ended by itself.
        let _ = self.0.lock().map(|mut child| child.kill());
    }
}

/// The port of the TLS listener, out of either form of the log.
fn listening(printed: &str) -> Option<u16> {
    let line = printed
        .lines()
        .find(|line| line.contains("listening") && line.contains("gateway"))?;
    let (_, rest) = line.split_once("127.0.0.1:")?;
    rest.split(|digit: char| !digit.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// The demonstration's files, for a process of its own.
fn furnish(folder: &Folder, issuer: &Issuer, emulator: &Emulator, format: &str) {
    let plan = plan();
    let mut config = plan.config;
    let loopback = "127.0.0.1:0";
    for (place, value) in [
        ("{issuer}", issuer.url()),
        ("{ingest}", emulator.url().as_str()),
        ("{query}", emulator.url().as_str()),
        ("{plain}", loopback),
        ("{tls}", loopback),
        ("{admin}", loopback),
        ("{receiver}", "http://127.0.0.1:9"),
        (
            "{more}",
            &format!("log: {{ format: {format}, level: trace }}"),
        ),
    ] {
        config = config.replace(place, value);
    }
    std::fs::create_dir_all(folder.at("secrets")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.at(name), text).unwrap();
    for (name, digits) in [
        ("session-key", "5e"),
        ("webhook-shop", "0a"),
        ("webhook-shop-checkout", "0b"),
        ("oncall", "0c"),
    ] {
        write(&format!("secrets/{name}"), &digits.repeat(32));
    }
    for project in testkit::emulator::PROJECTS {
        write(
            &format!("secrets/{project}"),
            &Emulator::access_token(project),
        );
    }
    use testkit::emulator::Role;
    for (name, role) in [
        ("read", Role::Viewer),
        ("write", Role::Editor),
        ("admin", Role::Admin),
    ] {
        write(&format!("secrets/api-key-{name}"), Emulator::api_key(role));
    }
    write_certificates(
        &folder.join("certs"),
        false,
        &lightkeeper::clock::Clock::system(),
    )
    .unwrap();
    write("policy.yaml", &plan.policy);
    write("lightkeeper.yaml", &config);
}
