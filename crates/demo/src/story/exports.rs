//! Workloads export: by token, by certificate, and with an old token that is replaced.
//!
//! What it does: lets the checkout team's collector send traces in three ways. What it refuses to know: how
//! a call is told. Invariant: what is sent is real OTLP, made and read by `opentelemetry-proto`.

use super::deliveries::Delivery;
use super::login;
use super::narrator::{Expected, Narrator, Status, Step};
use lightkeeper::otlp::Encoding;
use testkit::{Emulator, Leaf, Sample};

const SPANS: usize = 3;

/// Gives the collector's token for later.
pub async fn tell(narrator: &mut Narrator<'_>) -> Result<String, String> {
    let world = narrator.world;
    narrator.chapter(
        "A workload exports",
        "The checkout team's collector may write to the app shop/checkout, and to nothing else.",
    );
    let token = login::client_credentials(
        world.issuer.url(),
        "checkout-collector",
        "checkout-collector-secret",
    )
    .await?;
    let sample = Sample::traces("checkout", SPANS);
    let allowed = |status| {
        let delivery = Delivery::to("checkout-prod").of("checkout", SPANS as u64, "shop/checkout");
        Expected::delivered(status, "shop/checkout", &["checkout-pods"], vec![delivery])
    };

    let step = Step {
        title: "Traces over OTLP/HTTP, with a token of its own".to_owned(),
        caller: "checkout-collector: a bearer token that it fetched by client credentials"
            .to_owned(),
        asked: format!(
            "POST /v1/traces over TLS, {SPANS} spans in {} bytes of protobuf",
            sample.protobuf().len()
        ),
        shown: vec![token.clone()],
        expected: allowed(Status::Http(200)),
    };
    let caller = world.caller().bearer(&token);
    narrator
        .call(step, caller.export(&sample, Encoding::Protobuf))
        .await;

    let leaf = Leaf::read(&world.folder().join("certs"), "collector")?;
    let step = Step {
        title: "Traces over OTLP/gRPC, with a certificate and no token at all".to_owned(),
        caller:
            "checkout-collector: a client certificate with the SPIFFE ID of its service account"
                .to_owned(),
        asked: format!("{} over mTLS", sample.signal().grpc_path()),
        shown: Vec::new(),
        expected: allowed(Status::Grpc(0)),
    };
    narrator
        .call(step, world.caller().certificate(&leaf).export_grpc(&sample))
        .await;

    let old = Emulator::access_token("payments-prod");
    let step = Step {
        title: "An SDK that still carries an old project token".to_owned(),
        caller:
            "checkout-collector: its bearer token; beside it the token of another team's project"
                .to_owned(),
        asked: "POST /v1/traces with `lightstep-access-token`: payments-prod's token".to_owned(),
        shown: vec![token.clone(), old.clone()],
        expected: allowed(Status::Http(200)),
    };
    let caller = world.plain_caller().bearer(&token).access_token(&old);
    narrator
        .call(step, caller.export(&sample, Encoding::Protobuf))
        .await;

    let accepted: usize = world.emulator.exports().len();
    if accepted != 3 {
        narrator.differs(format!("the backend accepted {accepted} exports, not 3"));
    }
    Ok(token)
}
