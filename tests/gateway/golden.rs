//! Golden cases: each file in `cases/` says who asks what of which world, and, below `---`, what the upstream
//! saw, what the caller got and what was recorded. What it refuses to know: why an expectation is right; its
//! file says that in its first lines.
//!
//! A case's lines: `as` (whose token), `certificate`, `via` (`plain h1`, `plain h2`, `tls h1`, `tls h2`), `ask`,
//! `header`, `body`, `fault` (what the emulator does), `links` (the base of its links), `limits`, `ingest`, `config old =>
//! new`, `binding`, `alone` (a world of its own, because the call changes the organization, or raises an event that comes once
//! a minute), `unfinished` (whether
//! the upstream sees the beginning of the request is a matter of luck).

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use lightkeeper::otlp::{Encoding, Signal};
use serde_json::Value;
use testkit::emulator::Captured;
use testkit::{
    Algorithm, Answer, CallFault, Coding, Endpoints, Fault, Leaf, Sample, SampleCaller, World,
    WorldPlan, golden,
};

use super::stage::{self, eventually};

const PARTING: &str = "---\n";

/// One file.
#[derive(Debug)]
struct Case {
    file: std::path::PathBuf,
    text: String,
    lines: Vec<(String, String)>,
}

impl Case {
    fn read(file: std::path::PathBuf) -> Self {
        let whole = std::fs::read_to_string(&file).unwrap();
        let text = whole.split(PARTING).next().unwrap_or_default().to_owned();
        assert!(
            text.starts_with("# "),
            "{} does not say what it guarantees",
            file.display()
        );
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        let pair = |line: &str| {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            (word.to_owned(), rest.trim().to_owned())
        };
        let lines = lines.map(pair).collect();
        Case { file, text, lines }
    }

    fn all<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        self.lines
            .iter()
            .filter(move |(known, _)| known == word)
            .map(|(_, rest)| rest.as_str())
    }

    fn one<'a>(&'a self, word: &'a str) -> Option<&'a str> {
        self.all(word).next()
    }

    /// Cases with the same world share it.
    fn world(&self) -> String {
        let words = ["config", "limits", "ingest", "binding"];
        let lines = self
            .lines
            .iter()
            .filter(|(word, _)| words.contains(&word.as_str()));
        let alone = self.one("alone").map(|_| self.file.display().to_string());
        lines
            .map(|(word, rest)| format!("{word} {rest}\n"))
            .chain(alone)
            .collect()
    }

    fn plan(&self) -> WorldPlan {
        let edits: Vec<_> = self
            .all("config")
            .map(|edit| edit.split_once(" => ").unwrap())
            .collect();
        let edits: Vec<(String, String)> = edits
            .iter()
            .map(|(old, new)| ((*old).to_owned(), new.replace("\\n", "\n")))
            .collect();
        let edits: Vec<_> = edits
            .iter()
            .map(|(old, new)| (old.as_str(), new.as_str()))
            .collect();
        let mut plan = stage::plan(&edits);
        let more = |word: &str| {
            self.one(word)
                .map(|settings| format!("{word}: {settings}\n"))
        };
        plan.more = [more("limits"), more("ingest")]
            .into_iter()
            .flatten()
            .collect();
        self.all("binding").fold(plan, stage::bind)
    }
}

/// Scenario: every case. Guarantees: what each file says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_become_what_their_cases_say() {
    let mut files: Vec<_> = std::fs::read_dir(stage::beside("cases"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let only = std::env::var("LIGHTKEEPER_CASE").unwrap_or_default();
    files.retain(|file| {
        file.extension().is_some_and(|kind| kind == "case")
            && file.display().to_string().contains(&only)
    });
    let mut groups: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    for case in files.into_iter().map(Case::read) {
        groups.entry(case.world()).or_default().push(case);
    }
    let mut running = tokio::task::JoinSet::new();
    // A world's start computes keys; more of them at once would starve each other's deadlines.
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(2));
    for cases in groups.into_values() {
        let places = places.clone();
        running.spawn(async move {
            let _place = places.acquire().await.unwrap();
            let world = stage::start(cases[0].plan()).await;
            let mut complaints = Vec::new();
            for case in cases {
                let actual = format!("{}{PARTING}{}", case.text, run(&world, &case).await);
                complaints.extend(golden::check(&case.file, &actual).err());
            }
            complaints
        });
    }
    let complaints: Vec<String> = running.join_all().await.into_iter().flatten().collect();
    assert!(
        complaints.is_empty(),
        "{} cases differ\n{}",
        complaints.len(),
        complaints.join("\n")
    );
}

/// Plays one case and tells everything that came of it.
async fn run(world: &World, case: &Case) -> String {
    world.emulator.clear();
    world.emulator.heal();
    world
        .emulator
        .set_links_base(case.one("links").unwrap_or(&world.emulator.url()));
    for switch in case.all("fault") {
        let (endpoints, fault, times) = fault(switch);
        match times {
            Some(times) => world.emulator.fail_times(endpoints, fault, times),
            None => world.emulator.fail(endpoints, fault),
        }
    }
    let before = stage::records(world, 1).await.len();
    let (method, path) = case.one("ask").unwrap().split_once(' ').unwrap();
    let mut caller = caller(world, case);
    if let Some(name) = case.one("as") {
        caller = caller.bearer(&world.issuer.token(name));
    }
    for header in case.all("header") {
        let (name, value) = header.split_once(": ").unwrap();
        caller = caller.header(name, &with_tokens(world, value));
    }
    let json = case
        .all("header")
        .any(|header| header.contains("application/json"));
    let body = body(
        case.one("body").unwrap_or_default(),
        if json {
            Encoding::Json
        } else {
            Encoding::Protobuf
        },
    );
    let outcome = caller
        .send(
            Method::from_bytes(method.as_bytes()).unwrap(),
            path,
            &[],
            body.clone(),
        )
        .await;

    let made = eventually(
        &format!("the record of {} ({outcome:?})", case.file.display()),
        || async {
            let new = world.records().split_off(before);
            new.iter()
                .any(|record| record["event"] == "call")
                .then_some(new)
        },
    )
    .await;
    let call = made
        .iter()
        .find(|record| record["event"] == "call")
        .unwrap();
    if let Ok(answer) = &outcome {
        assert_eq!(
            answer.header("lightkeeper-request-id").as_deref(),
            call["request_id"].as_str(),
            "{case:?}"
        );
    }
    let captured = eventually("the captures", || async {
        let captured = world.emulator.captured();
        (captured.len() as u64 == world.emulator.heads()).then_some(captured)
    })
    .await;
    let mut told = String::new();
    if case.one("unfinished").is_some() {
        // The refusal may overtake the head on its way.
        assert!(
            captured.iter().all(|captured| !captured.complete),
            "{case:?}"
        );
        told.push_str("upstream saw no whole request\n\n");
    } else {
        told.push_str(if captured.is_empty() {
            "upstream saw nothing\n"
        } else {
            ""
        });
        captured
            .iter()
            .for_each(|captured| told.push_str(&upstream(captured, &body)));
    }
    told.push_str(&answer(&outcome));
    let cut_short =
        case.one("unfinished").is_some() || captured.iter().any(|captured| !captured.complete);
    for mut record in made {
        if cut_short {
            // How much of the body was read by then is the network's to say.
            record["bytes_in"] = "…".into();
        }
        told.push_str(&format!("\nrecord\n{:#}\n", steady(record)));
    }
    neutral(world, &told)
}

fn caller(world: &World, case: &Case) -> SampleCaller {
    let via = case.one("via").unwrap_or("plain h1");
    let mut caller = if via.starts_with("tls") {
        world.caller()
    } else {
        world.plain_caller()
    };
    if via.ends_with("h2") {
        caller = caller.http2();
    }
    match case.one("certificate") {
        Some(name) => caller.certificate(&Leaf::read(&world.folder().join("certs"), name).unwrap()),
        None => caller,
    }
}

/// `{token:ann}`, and tokens that are wrong in one way.
fn with_tokens(world: &World, value: &str) -> String {
    let Some((before, rest)) = value.split_once('{') else {
        return value.to_owned();
    };
    let (place, after) = rest.split_once('}').unwrap();
    let (kind, name) = place.split_once(':').unwrap();
    let claims = world.issuer.claims_of(name);
    let claims = match kind {
        "token" => claims,
        "expired" => claims.expires_in(-3600),
        "elsewhere" => claims.audience("somebody-else"),
        "unreachable" => claims.issuer("http://127.0.0.1:9"),
        _ => panic!("no such token: {kind}"),
    };
    format!(
        "{before}{}{after}",
        world.issuer.mint(claims, Algorithm::Rs256)
    )
}

/// `traces checkout 3`, `gzip …`, `frame …`, `json {…}`, `text …`, `zeros 1000`.
fn body(words: &str, encoding: Encoding) -> Vec<u8> {
    let (word, rest) = words.split_once(' ').unwrap_or((words, ""));
    let signal = Signal::ALL.into_iter().find(|signal| signal.name() == word);
    if let Some(signal) = signal {
        let (service, items) = rest.split_once(' ').unwrap();
        return Sample::of(signal, service, items.parse().unwrap()).encode(encoding);
    }
    match word {
        "" => Vec::new(),
        "gzip" => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, &body(rest, encoding)).unwrap();
            encoder.finish().unwrap()
        }
        "frame" => {
            let message = body(rest, encoding);
            let mut frame = vec![u8::from(rest.starts_with("gzip"))];
            frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
            frame.extend_from_slice(&message);
            frame
        }
        "json" | "text" => rest.as_bytes().to_vec(),
        "zeros" => vec![0; rest.parse().unwrap()],
        _ => panic!("no such body: {words}"),
    }
}

/// `ingest-http status 429 retry-after 7`, `query slow`, `ingest-grpc partial 2 words`, `… times 1`.
fn fault(words: &str) -> (Endpoints, Fault, Option<u64>) {
    let (words, times) = match words.split_once(" times ") {
        Some((words, times)) => (words, Some(times.parse().unwrap())),
        None => (words, None),
    };
    let words: Vec<&str> = words.split(' ').collect();
    let number = |text: &str| text.parse().unwrap();
    let endpoints = match words[0] {
        "ingest-http" => Endpoints::IngestHttp,
        "ingest-grpc" => Endpoints::IngestGrpc,
        "query" => Endpoints::Query,
        other => panic!("no such endpoints: {other}"),
    };
    let fault = match &words[1..] {
        ["status", status, "retry-after", seconds] => Fault::Status {
            status: number(status) as u16,
            retry_after_seconds: Some(number(seconds)),
        },
        ["status", status] => Fault::status(number(status) as u16),
        ["early", status] => Fault::EarlyStatus {
            status: number(status) as u16,
        },
        ["plain", status] => Fault::PlainStatus {
            status: number(status) as u16,
        },
        ["slow"] => Fault::Slow(Duration::from_secs(60)),
        ["close"] => Fault::CloseBeforeHead,
        ["cut"] => Fault::CloseAfterHead,
        ["partial", rejected, message @ ..] => Fault::PartialSuccess {
            rejected: number(rejected) as i64,
            message: message.join(" "),
        },
        ["echo"] => Fault::Echo,
        ["garbage"] => Fault::Garbage,
        ["huge", bytes] => Fault::Huge(number(bytes)),
        other => panic!("no such fault: {other:?}"),
    };
    (endpoints, fault, times)
}

fn upstream(captured: &Captured, sent: &[u8]) -> String {
    let mut told = format!(
        "upstream saw\n{} {} {:?}\n",
        captured.method, captured.path, captured.version
    );
    let unpacked = unpacked(captured).filter(|_| captured.body != sent);
    let mut headers: Vec<String> = captured
        .headers
        .iter()
        // How well a compressor does depends on the machine.
        .map(|(name, value)| match (name.as_str(), &unpacked) {
            ("content-length", Some(_)) => "content-length: …\n".to_owned(),
            // What is left of the caller's own; `media.rs` says what it may be.
            ("grpc-timeout", _) => "grpc-timeout: …\n".to_owned(),
            (name, _) => format!("{name}: {}\n", value.escape_ascii()),
        })
        .chain(
            captured
                .authority
                .iter()
                .filter(|_| captured.version == http::Version::HTTP_2)
                .map(|a| format!(":authority: {a}\n")),
        )
        .collect();
    headers.sort();
    told.extend(headers);
    told.push_str(&match (captured.complete, captured.body == sent) {
        (false, _) => "(the body did not come to its end)\n".to_owned(),
        (true, true) if sent.is_empty() => String::new(),
        (true, true) => format!("(the body as it was sent, {} bytes)\n", sent.len()),
        (true, false) => match &unpacked {
            Some(plain) => format!("(decompressed)\n{}", shown(plain)),
            None => shown(&captured.body),
        },
    });
    told.push('\n');
    told
}

/// A compressed body, or gRPC message, as it was before.
fn unpacked(captured: &Captured) -> Option<Vec<u8>> {
    let named = |name: &str| Coding::named(captured.header(name).first()?.as_bytes());
    match named("grpc-encoding") {
        Some(coding) => coding.decompress(captured.body.get(5..)?, 1 << 20).ok(),
        None => named("content-encoding")?
            .decompress(&captured.body, 1 << 20)
            .ok(),
    }
}

fn answer(outcome: &Result<Answer, CallFault>) -> String {
    let answer = match outcome {
        Ok(answer) => answer,
        Err(CallFault::Broken { status, read, .. }) => {
            return format!(
                "caller got\n{status}\n(the answer broke off after `{}`)\n",
                read.escape_ascii()
            );
        }
        Err(CallFault::NoAnswer(_)) => return "caller got no answer\n".to_owned(),
        Err(other) => panic!("{other}"),
    };
    let mut told = format!("caller got\n{} {:?}\n", answer.status, answer.version);
    let mut headers: Vec<String> = answer.headers.iter().map(header).collect();
    headers.sort();
    told.extend(headers);
    told.push_str(&shown(&answer.body));
    let mut trailers: Vec<String> = answer
        .trailers
        .iter()
        .map(|pair| format!("trailer {}", header(pair)))
        .collect();
    trailers.sort();
    told.extend(trailers);
    told
}

fn header((name, value): (&http::HeaderName, &http::HeaderValue)) -> String {
    match name.as_str() {
        // The last counts the world's queries, which other cases make too.
        "lightkeeper-request-id" | "date" | "x-ratelimit-remaining" => format!("{name}: …\n"),
        name => format!("{name}: {}\n", value.as_bytes().escape_ascii()),
    }
}

fn shown(body: &[u8]) -> String {
    if body.is_empty() {
        return String::new();
    }
    match serde_json::from_slice::<Value>(body) {
        Ok(mut document) if document.is_object() || document.is_array() => {
            for volatile in ["request_id", "expires"] {
                document
                    .get_mut(volatile)
                    .into_iter()
                    .for_each(|member| *member = "…".into());
            }
            format!("{document:#}\n")
        }
        _ => format!("{}\n", body.escape_ascii()),
    }
}

/// A record without what differs from run to run.
fn steady(mut record: Value) -> Value {
    // Certificates are made anew for each world.
    for holder in ["", "/identity"] {
        if let Some(Value::String(sum)) =
            record.pointer_mut(&format!("{holder}/certificate/sha256"))
        {
            assert_eq!(sum.len(), 64);
            "(of the leaf)".clone_into(sum);
        }
    }
    let members = record.as_object_mut().unwrap();
    for volatile in ["seq", "time", "request_id", "duration_us", "policy_version"] {
        assert!(
            members.remove(volatile).is_some(),
            "the record has no `{volatile}`"
        );
    }
    if let Some(address) = members.remove("client_address") {
        assert!(
            address.as_str().unwrap().starts_with("127.0.0.1:"),
            "{address}"
        );
    }
    record
}

/// Names in place of ports.
fn neutral(world: &World, text: &str) -> String {
    let mut text = text.to_owned();
    for (address, name) in [
        (world.emulator.address().to_string(), "upstream.test"),
        (world.plain_url().replace("http://", ""), "plain.test"),
        (world.url().replace("https://", ""), "gateway.test"),
        (world.issuer.address().to_string(), "issuer.test"),
    ] {
        text = text.replace(&address, name);
    }
    text
}
