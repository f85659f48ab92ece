//! A part of the tree moves from one backend to another, while its callers go on.
//!
//! What it does: starts a world of its own with two backends, lets callers of all forms send without a pause, writes one line
//! into the policy, and looks for every span at both backends. What it refuses to know: how the gateway decides where a part goes.
//! Invariants: the callers are told of nothing and change nothing; a span whose export was answered with a success is looked for by its id, and
//! counts only if it is at one backend, once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::narrator::Narrator;
use lightkeeper::otlp::Encoding;
use testkit::emulator::EmulatorOptions;
use testkit::{Emulator, Sample, SampleCaller, World, WorldPlan};

/// The projects of the part that moves, and what the second backend calls its tokens.
const PROJECTS: [(&str, &str); 3] = [
    ("shop-prod", "next-shop"),
    ("checkout-prod", "next-checkout"),
    ("payments-prod", "next-payments"),
];
/// Where the line goes, and the line.
const HOME: &str = "    project: shop-prod\n";
const LINE: &str = "    backend: next\n";
/// Exports that a backend must have taken before the story goes on.
const EXPORTS: usize = 60;
/// How long a step is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What the callers sent, and what they were told.
#[derive(Default)]
struct Sent {
    exports: u64,
    /// Of exports that were answered with a success.
    spans: BTreeSet<u64>,
    /// What else was answered.
    others: Vec<String>,
}

#[derive(Clone, Copy)]
enum Form {
    Protobuf,
    Json,
    Grpc,
}

/// Tells it. What differs is noted with the story's own differences.
pub async fn tell(narrator: &mut Narrator<'_>) -> Result<(), String> {
    narrator.chapter(
        "The shop leaves for another backend",
        "A second gateway, with two backends: Lightstep, and one that takes plain OTLP and is called `next`. Three callers\n\
         send all the while, over HTTP as protobuf, as JSON, and over gRPC. They know the gateway's address and nothing else.",
    );
    let next = Emulator::start_with(EmulatorOptions {
        plain_otlp: true,
        projects: PROJECTS.map(|(_, there)| there.to_owned()).to_vec(),
        ..EmulatorOptions::default()
    })
    .await?;
    let world = World::start_with(plan(&next)).await?;
    let watching = tokio::spawn(world.gateway.clone().watch());
    let told = moved(narrator, &world, &next).await;
    watching.abort();
    world.gateway.stop().await;
    told
}

/// The demonstration's world, with two backends.
fn plan(next: &Emulator) -> WorldPlan {
    let mut plan = WorldPlan::default();
    let there = format!(
        "  next: {{ profile: otlp, ingest: {{ url: \"{}\" }} }}\ndefault_backend: main\n",
        next.url()
    );
    plan.config = plan
        .config
        .replace(
            "upstreams:\n",
            "backends:\n  main:\n    profile: lightstep\n",
        )
        .replace("  ingest: { profile: lightstep, url", "    ingest: { url")
        .replace("  query: { profile: lightstep, url", "    query: { url")
        .replacen("web:\n", &format!("{there}web:\n"), 1);
    for (project, there) in PROJECTS {
        let here = format!("{project}: {{ access_token: [{{ file: secrets/{project} }}] }}");
        let both = format!(
            "{project}: {{ access_token: [{{ file: secrets/{project} }}], backends: {{ next: {{ access_token: [{{ file: \
             secrets/{there} }}] }} }} }}"
        );
        plan.config = plan.config.replace(&here, &both);
    }
    plan.emulator.projects = PROJECTS.map(|(_, there)| there.to_owned()).to_vec();
    plan
}

async fn moved(narrator: &mut Narrator<'_>, world: &World, next: &Emulator) -> Result<(), String> {
    let ended = Arc::new(AtomicBool::new(false));
    let seeds = Arc::new(AtomicU64::new(1_000));
    let token = world.issuer.token("cluster-collector");
    let callers = [Form::Protobuf, Form::Json, Form::Grpc].map(|form| {
        let caller = world.plain_caller().bearer(&token);
        tokio::spawn(load(caller, form, seeds.clone(), ended.clone()))
    });
    let went = steps(narrator, world, next).await;
    ended.store(true, Ordering::Relaxed);
    let mut sent = Sent::default();
    for caller in callers {
        let of_one = caller.await.map_err(|error| error.to_string())?;
        sent.exports += of_one.exports;
        sent.spans.extend(of_one.spans);
        sent.others.extend(of_one.others);
    }
    went?;
    compared(narrator, &sent, world, next);
    Ok(())
}

/// The one line, and what comes before and after.
async fn steps(narrator: &mut Narrator<'_>, world: &World, next: &Emulator) -> Result<(), String> {
    until("exports at Lightstep", || {
        world.emulator.exports().len() >= EXPORTS
    })
    .await?;
    narrator.line(
        "before",
        "all of the shop goes to Lightstep, each part with its project's token there",
    );
    if !next.exports().is_empty() {
        narrator.differs("the second backend had something before the move".to_owned());
    }
    let path = world.folder().join("policy.yaml");
    let policy = std::fs::read_to_string(&path).map_err(|error| format!("the policy: {error}"))?;
    if !policy.contains(HOME) {
        return Err("the policy has another form than the story".to_owned());
    }
    let edited = policy.replacen(HOME, &format!("{HOME}{LINE}"), 1);
    let version = || {
        world
            .gateway
            .shared()
            .snapshot
            .load()
            .policy
            .version()
            .to_owned()
    };
    let before = version();
    let written = Instant::now();
    let beside = path.with_extension("new");
    std::fs::write(&beside, edited)
        .and_then(|()| std::fs::rename(&beside, &path))
        .map_err(|error| format!("the policy: {error}"))?;
    narrator.line(
        "the line",
        &format!("`{}`, at the app shop in policy.yaml", LINE.trim()),
    );
    until("the policy's reload", || version() != before).await?;
    narrator.line(
        "taken over",
        &format!(
            "after {} ms, without a restart; no caller was told",
            written.elapsed().as_millis()
        ),
    );
    until("exports at the second backend", || {
        next.exports().len() >= EXPORTS
    })
    .await?;
    narrator.line(
        "after",
        "the shop and all beneath it go to `next`, with the tokens of there",
    );
    Ok(())
}

/// Nothing lost, nothing doubled.
fn compared(narrator: &mut Narrator<'_>, sent: &Sent, world: &World, next: &Emulator) {
    if let Some(first) = sent.others.first() {
        narrator.differs(format!(
            "{} exports were not answered with a success, the first: {first}",
            sent.others.len()
        ));
    }
    let (here, there) = (world.emulator.span_ids(), next.span_ids());
    let count = |wanted: &dyn Fn(u64, u64) -> bool| {
        let times = |id: &u64| {
            let at = |ids: &std::collections::BTreeMap<u64, u64>| ids.get(id).copied().unwrap_or(0);
            (at(&here), at(&there))
        };
        let counted = sent.spans.iter().map(times);
        counted
            .filter(|(here, there)| wanted(*here, *there))
            .count()
    };
    let old = count(&|here, there| (here, there) == (1, 0));
    let new = count(&|here, there| (here, there) == (0, 1));
    let lost = count(&|here, there| here + there == 0);
    let doubled = count(&|here, there| here + there > 1);
    narrator.line(
        "sent",
        &format!(
            "{} spans in {} exports of three callers; every answer was a success",
            sent.spans.len(),
            sent.exports
        ),
    );
    narrator.line("Lightstep", &format!("has {old} of them, each once"));
    narrator.line("next", &format!("has {new} of them, each once"));
    narrator.line("lost", &lost.to_string());
    narrator.line("doubled", &doubled.to_string());
    if lost + doubled > 0 || old == 0 || new == 0 || old + new != sent.spans.len() {
        narrator.differs(format!(
            "of {} spans {lost} are lost and {doubled} doubled",
            sent.spans.len()
        ));
    }
}

/// One caller, which sends until it is told to end.
async fn load(
    caller: SampleCaller,
    form: Form,
    seeds: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
) -> Sent {
    let mut sent = Sent::default();
    while !ended.load(Ordering::Relaxed) {
        let seed = seeds.fetch_add(1, Ordering::Relaxed);
        let sample = Sample::traces("frontend", 1)
            .and("checkout", 2)
            .and("payments", 3)
            .seed(seed);
        let answer = match form {
            Form::Protobuf => caller.export(&sample, Encoding::Protobuf).await,
            Form::Json => caller.export(&sample, Encoding::Json).await,
            Form::Grpc => caller.export_grpc(&sample).await,
        };
        sent.exports += 1;
        match answer {
            Ok(answer)
                if answer.status == 200 && answer.grpc_status().is_none_or(|code| code == 0) =>
            {
                sent.spans.extend(sample.span_ids());
            }
            Ok(answer) => sent
                .others
                .push(format!("{} {}", answer.status, answer.text())),
            Err(fault) => sent.others.push(fault.to_string()),
        }
    }
    sent
}

async fn until(what: &str, is_there: impl Fn() -> bool) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    while !is_there() {
        if Instant::now() > end {
            return Err(format!("never came: {what}"));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}
