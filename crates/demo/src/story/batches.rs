//! Exports that the gateway reads: taken apart, stamped, cleaned of what their sender may not say.
//!
//! What it does: lets a cluster's collector send batches of several services, and a tracer from before
//! OpenTelemetry its report. What it refuses to know: how a call is told. Invariant: every span of these
//! batches is looked for at the backend, by its id.

use std::collections::BTreeMap;

use super::deliveries::Delivery;
use super::login;
use super::narrator::{Expected, Narrator, Status, Step};
use lightkeeper::otlp::Encoding;
use testkit::samples::FORGED;
use testkit::{Answer, Coding, Fault, Format, LegacySample, Partial, Sample};

const COLLECTOR: &str = "cluster-collector: a bearer token of its service account";
const BINDING: &[&str] = &["cluster-collectors"];

/// `token` is checkout-collector's.
pub async fn tell(narrator: &mut Narrator<'_>, token: &str) -> Result<(), String> {
    let world = narrator.world;
    narrator.chapter(
        "A cluster's collector sends for everybody",
        "It may write to the app shop and to all beneath, so its batches hold many services. The gateway reads them:\n\
         each part goes to its own project, and every resource says who really sent it.",
    );
    let issuer = world.issuer.url();
    let cluster =
        login::client_credentials(issuer, "cluster-collector", "cluster-collector-secret").await?;
    split(narrator, &cluster).await;
    forged(narrator, &cluster).await;
    foreign(narrator, &cluster).await;
    tracer(narrator, token).await;
    Ok(())
}

/// One batch, two projects.
async fn split(narrator: &mut Narrator<'_>, cluster: &str) {
    let sample = Sample::traces("checkout", 2)
        .and("payments", 3)
        .and("ledger-core", 1)
        .seed(1);
    let step = Step {
        title: "One batch of three services, over gRPC and compressed".to_owned(),
        caller: COLLECTOR.to_owned(),
        asked: format!(
            "{}: checkout (2 spans), payments (3), ledger-core (1)",
            sample.signal().grpc_path()
        ),
        shown: vec![cluster.to_owned()],
        expected: Expected::delivered(
            Status::Grpc(0),
            "shop",
            BINDING,
            vec![
                Delivery::to("checkout-prod").of("checkout", 2, "shop/checkout"),
                Delivery::to("payments-prod")
                    .of("payments", 3, "shop/payments")
                    .of("ledger-core", 1, "shop/payments"),
            ],
        ),
    };
    let caller = narrator
        .world
        .caller()
        .bearer(cluster)
        .compressing(Coding::Gzip);
    let answer = narrator.call(step, caller.export_grpc(&sample)).await;
    told_whole(narrator, answer.as_ref());
    once_each(narrator, &sample.span_ids());
}

/// What only the gateway may say.
async fn forged(narrator: &mut Narrator<'_>, cluster: &str) {
    let sample = Sample::traces("checkout", 2).forged().seed(2);
    let names: Vec<&str> = FORGED.iter().map(|(name, _)| *name).collect();
    let step = Step {
        title: "An identity that its sender made up".to_owned(),
        caller: COLLECTOR.to_owned(),
        asked: format!(
            "POST /v1/traces: checkout, which claims {}",
            names.join(", ")
        ),
        shown: vec![cluster.to_owned()],
        expected: Expected::delivered(
            Status::Http(200),
            "shop/checkout",
            BINDING,
            vec![Delivery::to("checkout-prod").of("checkout", 2, "shop/checkout")],
        ),
    };
    let kept = narrator.world.emulator.captured().len();
    let caller = narrator.world.plain_caller().bearer(cluster);
    let answer = narrator
        .call(step, caller.export(&sample, Encoding::Protobuf))
        .await;
    told_whole(narrator, answer.as_ref());
    let received = narrator.world.emulator.captured().split_off(kept);
    let claims: Vec<&str> = FORGED.iter().map(|(_, value)| *value).collect();
    match received.iter().any(|request| {
        claims
            .iter()
            .any(|claim| request.contains(claim.as_bytes()))
    }) {
        true => narrator.differs("a forged identity reached the backend".to_owned()),
        false => narrator.line(
            "forged",
            "gone from resource, scope, spans, events and links",
        ),
    }
    once_each(narrator, &sample.span_ids());
}

/// A service of an app outside the collector's subtree.
async fn foreign(narrator: &mut Narrator<'_>, cluster: &str) {
    let own = Sample::traces("checkout", 2).seed(3);
    let sample = own.clone().and("ingress", 3);
    let step = Step {
        title: "A service that is not the collector's to write for".to_owned(),
        caller: COLLECTOR.to_owned(),
        asked: "POST /v1/traces as JSON: checkout (2 spans), ingress (3), which is platform's"
            .to_owned(),
        shown: vec![cluster.to_owned()],
        expected: Expected::delivered(
            Status::Http(200),
            "shop/checkout",
            BINDING,
            vec![Delivery::to("checkout-prod").of("checkout", 2, "shop/checkout")],
        ),
    };
    let caller = narrator.world.plain_caller().bearer(cluster);
    let answer = narrator
        .call(step, caller.export(&sample, Encoding::Json))
        .await;
    match answer.map(|answer| answer.partial_success()) {
        Some(Ok(Some(Partial {
            rejected: 3,
            message,
        }))) if message.contains("ingress") => {
            narrator.line(
                "told",
                &format!("partial success: 3 rejected, \"{message}\""),
            );
        }
        Some(other) => narrator.differs(format!(
            "the answer should reject ingress's 3 spans, not say {other:?}"
        )),
        None => {}
    }
    once_each(narrator, &own.span_ids());
    let arrived = narrator.world.emulator.span_ids();
    if sample
        .span_ids()
        .iter()
        .filter(|id| arrived.contains_key(*id))
        .count()
        != own.items()
    {
        narrator.differs("a foreign service's spans reached the backend".to_owned());
    }
}

/// A tracer that can set an access token and nothing else.
async fn tracer(narrator: &mut Narrator<'_>, token: &str) {
    let world = narrator.world;
    let sample = LegacySample::of(Format::Reports, "checkout", 2)
        .token(token)
        .seed(4);
    let step = Step {
        title: "A tracer from before OpenTelemetry".to_owned(),
        caller: "checkout's old tracer: its service's token where it used to have the project's"
            .to_owned(),
        asked: format!(
            "POST {}: a report with the token in its head and in its body",
            sample.format().path()
        ),
        shown: vec![token.to_owned()],
        expected: Expected::delivered(
            Status::Http(200),
            "shop/checkout",
            &["checkout-pods"],
            vec![Delivery::to("checkout-prod").of("checkout", 2, "shop/checkout")],
        ),
    };
    // A backend may tell a tracer to stop for good. It is not its place.
    world
        .emulator
        .fail_project_times("checkout-prod", Fault::DisableCommand, 1);
    if let Some(answer) = narrator
        .call(step, world.plain_caller().report(&sample))
        .await
    {
        match answer.report_response() {
            Some(response) if response.errors.is_empty() && response.commands.is_empty() => {
                narrator.line(
                    "told",
                    "accepted; the backend's command to stop for good was dropped",
                );
            }
            other => narrator.differs(format!(
                "the tracer should be told of success, not {other:?}"
            )),
        }
    }
    once_each(narrator, &sample.span_ids());
}

fn told_whole(narrator: &mut Narrator<'_>, answer: Option<&Answer>) {
    if let Some(answer) = answer {
        match answer.partial_success() {
            Ok(None) => narrator.line("told", "all accepted"),
            other => narrator.differs(format!(
                "the answer should be a full success, not {other:?}"
            )),
        }
    }
}

/// Nothing lost, nothing doubled.
fn once_each(narrator: &mut Narrator<'_>, ids: &[u64]) {
    let arrived = narrator.world.emulator.span_ids();
    let times: BTreeMap<u64, u64> = ids
        .iter()
        .map(|id| (*id, arrived.get(id).copied().unwrap_or_default()))
        .collect();
    if times.values().any(|times| *times != 1) || times.len() != ids.len() {
        narrator.differs(format!("each span should have arrived once, not {times:?}"));
    }
}
