//! `lightkeeper demo`: the main job as a story, on real sockets.
//!
//! What it does: starts the embedded world, lets its callers export, query and be refused, and tells each
//! call from what really happened. What it refuses to know: how any of it is decided.
//! Invariants: whatever does not go as told ends with exit status 1 and says so; nothing listens but on
//! loopback; no credential is printed, but for the settings of `--stay`, which are there to be pasted.

mod batches;
mod deliveries;
mod developer;
mod exports;
mod ink;
mod login;
mod moves;
mod narrator;
mod possession;
mod queries;
mod refusals;
mod roles;
mod settings;
mod stay;
mod trail;

use std::time::Duration;

use ink::Ink;
use lightkeeper::telemetry::{self, LogFormat};
use narrator::{Narrator, credentials};
use testkit::{SampleCaller, World};

/// Tells the story; `stay` keeps the world running afterwards.
pub async fn demo(stay: bool) -> Result<(), String> {
    // The story is told by its records; the log would tell each call a second time.
    telemetry::start_logging(LogFormat::Text, "error");
    let ink = Ink::for_stdout();
    let plan = if stay {
        stay::plan()
    } else {
        stay::Plan::passing()
    };
    let world =
        World::start_with(trail::sealed(possession::with_listener(plan.world)).with_aws()).await?;
    let watching = tokio::spawn(world.gateway.clone().watch());
    let mut narrator = Narrator::new(&world, ink);
    introduce(&narrator);
    let told = tell(&mut narrator).await;
    if let Err(error) = told {
        narrator.differs(error);
    }
    if let Err(error) = trail::tell(&mut narrator).await {
        narrator.differs(error);
    }
    conclude(&mut narrator).await;
    let differences = narrator.differences;
    if differences.is_empty() && stay {
        stay::stay(&world, ink, &plan.remarks).await?;
    }
    watching.abort();
    world.gateway.stop().await;
    match differences.len() {
        0 => Ok(()),
        count => Err(format!(
            "{count} thing(s) did not go as told:\n  {}",
            differences.join("\n  ")
        )),
    }
}

async fn tell(narrator: &mut Narrator<'_>) -> Result<(), String> {
    let token = exports::tell(narrator).await?;
    batches::tell(narrator, &token).await?;
    let ann = queries::tell(narrator).await?;
    developer::tell(narrator, &ann).await?;
    roles::tell(narrator).await?;
    possession::tell(narrator).await?;
    refusals::tell(narrator, &token, &ann).await?;
    moves::tell(narrator).await
}

fn introduce(narrator: &Narrator<'_>) {
    let world = narrator.world;
    println!("{}", narrator.ink.bold("Lightkeeper, shown on real input"));
    println!(
        "The gateway alone holds tokens and API keys of the backend. Callers prove who they are;"
    );
    println!(
        "a policy says which part of the organization's tree of apps they may write to or read from.\n"
    );
    for (name, text) in [
        (
            "issuer",
            format!(
                "{} (OIDC: discovery, keys, tokens, logins)",
                world.issuer.url()
            ),
        ),
        (
            "gateway",
            format!(
                "{} (TLS, client certificates optional) and {}",
                world.url(),
                world.plain_url()
            ),
        ),
        (
            "backend",
            format!(
                "{} (an emulator of Lightstep: OTLP, its own older formats and the query API)",
                world.emulator.url()
            ),
        ),
        (
            "aws",
            "STS, in small: it checks signatures, and says who signed".to_owned(),
        ),
        (
            "files",
            format!(
                "{} (configuration, policy, secrets, certificates, audit trail; gone at the end)",
                world.folder().display()
            ),
        ),
    ] {
        narrator.line(name, &text);
    }
    println!(
        "\n   apps:  shop (shop-prod)  >  checkout (checkout-prod), payments (payments-prod), search"
    );
    println!("          platform (platform-prod)");
}

/// Sums up, and looks once more at everything that was left behind.
async fn conclude(narrator: &mut Narrator<'_>) {
    narrator.chapter("In the end", "What the gateway left behind, read back:\n");
    let world = narrator.world;
    let calls = narrator.permitted + narrator.denied;
    let records = world.records();
    let counted = records
        .iter()
        .filter(|record| narrator::text(record, "event") == "call")
        .count() as u64;
    if counted != calls {
        narrator.differs(format!("{calls} calls left {counted} records"));
    }
    narrator.line("records", &format!("{counted} for {calls} calls"));
    let metrics =
        SampleCaller::new(&format!("http://{}", world.admin)).deadline(Duration::from_secs(5));
    let page = match metrics.get("/metrics").await {
        Ok(answer) => answer.text(),
        Err(fault) => {
            narrator.differs(format!("the metrics: {fault}"));
            String::new()
        }
    };
    for (decision, calls) in [("allow", narrator.permitted), ("deny", narrator.denied)] {
        let counted = total(&page, decision);
        if counted != calls {
            narrator.differs(format!(
                "the metrics count {counted} calls with decision {decision}, not {calls}"
            ));
        }
        let name = if decision == "allow" {
            "allowed"
        } else {
            "denied"
        };
        narrator.line(name, &format!("{counted}, as the metrics have it"));
    }
    let heads = world.emulator.heads();
    if heads != narrator.passed {
        narrator.differs(format!(
            "the backend received {heads} requests, not {}",
            narrator.passed
        ));
    }
    narrator.line(
        "backend",
        &format!("received {heads} requests: the calls that passed, and nothing else"),
    );
    let trail: String = records.iter().map(ToString::to_string).collect();
    let secrets = credentials()
        .into_iter()
        .chain(narrator.shown.iter().cloned());
    let leaked = secrets
        .filter(|secret| trail.contains(secret.as_str()) || page.contains(secret.as_str()))
        .count();
    match leaked {
        0 => narrator.line(
            "secrets",
            "none in the records or the metrics, neither the callers' nor the backend's",
        ),
        count => narrator.differs(format!(
            "{count} credentials stand in the records or the metrics"
        )),
    }
    if narrator.differences.is_empty() {
        println!("\n{}", narrator.ink.good("Everything went as told."));
        println!(
            "\nNext: `lightkeeper demo --stay` keeps all this running, with a console to log in to;"
        );
        println!("the README leads from here to a first configuration of your own.");
    }
}

/// The sum of `lightkeeper_requests_total` with a decision.
fn total(page: &str, decision: &str) -> u64 {
    let label = format!("decision=\"{decision}\"");
    let lines = page
        .lines()
        .filter(|line| line.starts_with("lightkeeper_requests_total{") && line.contains(&label));
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}
