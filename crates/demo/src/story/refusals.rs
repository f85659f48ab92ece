//! Everything that must not pass, each with its reason.
//!
//! What it does: lets callers try what they may not. What it refuses to know: how a call is told.
//! Invariants: what is refused reaches nothing behind the gateway; what the caller is told is less than what
//! the record says.

use http::Method;
use serde_json::json;

use super::narrator::{Expected, Narrator, Status, Step, text};
use lightkeeper::otlp::Encoding;
use lightkeeper::reason::Reason;
use testkit::{Algorithm, Leaf, Sample, SampleCaller};

/// One byte more than `limits.body`, whose default is 16 MiB.
const TOO_LARGE_BYTES: usize = (16 << 20) + 1;
const PROTOBUF: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];

fn step(title: &str, caller: &str, asked: &str, shown: &[&str], expected: Expected) -> Step {
    Step {
        title: title.to_owned(),
        caller: caller.to_owned(),
        asked: asked.to_owned(),
        shown: shown.iter().map(|secret| (*secret).to_owned()).collect(),
        expected,
    }
}

pub async fn tell(narrator: &mut Narrator<'_>, token: &str, ann: &str) -> Result<(), String> {
    narrator.chapter(
        "What does not pass",
        "Callers are told little; the precise reason is a stable code in the record, the log and the metric.",
    );
    unproven(narrator, token).await?;
    not_permitted(narrator, token, ann).await;
    ambiguous(narrator, token, ann).await;
    revoked(narrator).await
}

/// Callers that are not identified.
async fn unproven(narrator: &mut Narrator<'_>, token: &str) -> Result<(), String> {
    let world = narrator.world;
    let sample = Sample::traces("checkout", 1);
    let is = |reason| Expected::refused(Status::Http(401), reason);

    let told = step(
        "No credential",
        "a stranger",
        "POST /v1/traces",
        &[],
        is(Reason::NoCredential),
    );
    narrator
        .call(
            told,
            world.plain_caller().export(&sample, Encoding::Protobuf),
        )
        .await;

    let claims = world
        .issuer
        .claims_of("checkout-collector")
        .issued_in(-7200)
        .expires_in(-3600);
    let expired = world.issuer.mint(claims, Algorithm::Rs256);
    let told = step(
        "An expired token",
        "checkout-collector: a token that ended an hour ago",
        "POST /v1/traces",
        &[&expired],
        is(Reason::TokenExpired),
    );
    narrator
        .call(
            told,
            world
                .plain_caller()
                .bearer(&expired)
                .export(&sample, Encoding::Protobuf),
        )
        .await;

    let forged = forged(token).ok_or("the token has no signature to forge")?;
    let told = step(
        "A forged signature, over gRPC",
        "a stranger: checkout-collector's claims under a signature that is not the issuer's",
        sample.signal().grpc_path(),
        &[&forged],
        Expected::refused(Status::Grpc(16), Reason::TokenSignature),
    );
    narrator
        .call(
            told,
            world.plain_caller().bearer(&forged).export_grpc(&sample),
        )
        .await;
    Ok(())
}

/// The same header and claims with the signature's bytes turned round.
fn forged(token: &str) -> Option<String> {
    let (signed, signature) = token.rsplit_once('.')?;
    // The last character carries spare bits and stays where it is.
    let (body, last) = signature.split_at_checked(signature.len().checked_sub(1)?)?;
    Some(format!(
        "{signed}.{}{last}",
        body.chars().rev().collect::<String>()
    ))
}

/// It is known who it is, and the policy says no.
async fn not_permitted(narrator: &mut Narrator<'_>, token: &str, ann: &str) {
    let world = narrator.world;
    let sample = Sample::traces("payments", 1);
    let (collector, developer) = (
        "checkout-collector: its bearer token",
        "ann@acme.example: logged in",
    );
    let query = |reason| Expected::refused(Status::Http(403), reason);

    let told = step(
        "Another team's app, named in the URL",
        collector,
        "POST /apps/shop/payments/-/v1/traces",
        &[token],
        query(Reason::NotPermitted),
    );
    let caller = world.plain_caller().bearer(token);
    narrator
        .call(
            told,
            caller.export_to("/apps/shop/payments/-/v1/traces", &sample, Encoding::Json),
        )
        .await;

    let told = step(
        "Another team's app, named in gRPC metadata",
        collector,
        &format!(
            "{} with `lightkeeper-app: shop/payments`",
            sample.signal().grpc_path()
        ),
        &[token],
        Expected::refused(Status::Grpc(7), Reason::NotPermitted),
    );
    narrator
        .call(
            told,
            caller
                .header("lightkeeper-app", "shop/payments")
                .export_grpc(&sample),
        )
        .await;

    let ann_calls = world.caller().bearer(ann);
    for (title, path, reason) in [
        (
            "Another team's project",
            "/public/v0.2/acme/projects/platform-prod/streams",
            Reason::NotPermitted,
        ),
        (
            "A project that does not exist: from outside the same",
            "/public/v0.2/acme/projects/atlantis/streams",
            Reason::ProjectUnknown,
        ),
        (
            "A sensitive operation, which `query.*.read` does not give",
            "/public/v0.2/acme/projects/checkout-prod/access_tokens",
            Reason::SensitiveNotNamed,
        ),
    ] {
        let told = step(
            title,
            developer,
            &format!("GET {path}"),
            &[ann],
            query(reason),
        );
        narrator.call(told, ann_calls.get(path)).await;
    }

    let path = "/public/v0.2/acme/projects/payments-prod/dashboards";
    let told = step(
        "A deny beats every allow",
        developer,
        &format!("POST {path}"),
        &[ann],
        query(Reason::DeniedByBinding).by(&["hands-off-payments-dashboards"]),
    );
    narrator
        .call(
            told,
            ann_calls.post(
                path,
                &json!({ "data": { "attributes": { "name": "mine" } } }),
            ),
        )
        .await;
}

/// Requests that could be read in two ways, or that are too much.
async fn ambiguous(narrator: &mut Narrator<'_>, token: &str, ann: &str) {
    let world = narrator.world;
    let sample = Sample::traces("checkout", 1);
    let malformed = |reason| Expected::refused(Status::Http(400), reason);
    let developer = "ann@acme.example: logged in";

    let path = "/public/v0.2/acme/secrets";
    let told = step(
        "A path that no table knows",
        developer,
        &format!("GET {path}"),
        &[ann],
        Expected::refused(Status::Http(404), Reason::PathUnknown),
    );
    narrator
        .call(told, world.caller().bearer(ann).get(path))
        .await;

    let path = "/public/v0.2/acme/projects/checkout-prod/..%2fplatform-prod/streams";
    let told = step(
        "A path with a trick in it",
        developer,
        &format!("GET {path}"),
        &[ann],
        malformed(Reason::AmbiguousPath),
    );
    narrator
        .call(told, world.caller().bearer(ann).get(path))
        .await;

    let other = world.issuer.token("payments-collector");
    let told = step(
        "Two credentials",
        "checkout-collector's token and payments-collector's token in one request",
        "POST /v1/traces with two `authorization` headers",
        &[token, &other],
        malformed(Reason::ConflictingCredentials),
    );
    let both = world.plain_caller().bearer(token).bearer(&other);
    narrator
        .call(told, both.export(&sample, Encoding::Protobuf))
        .await;

    let told = step(
        "A body over the limit",
        "checkout-collector: its bearer token",
        &format!("POST /v1/traces, {TOO_LARGE_BYTES} bytes"),
        &[token],
        Expected::refused(Status::Http(413), Reason::BodyTooLarge).though_allowed(
            "shop/checkout",
            "checkout-prod",
            &["checkout-pods"],
        ),
    );
    let caller: SampleCaller = world.plain_caller().bearer(token);
    let body = vec![0; TOO_LARGE_BYTES];
    narrator
        .call(
            told,
            caller.send(Method::POST, "/v1/traces", &PROTOBUF, body),
        )
        .await;
}

/// A handshake that fails leaves a record too, though no request ever was.
async fn revoked(narrator: &mut Narrator<'_>) -> Result<(), String> {
    let world = narrator.world;
    narrator.headline("A revoked certificate");
    narrator.line(
        "caller",
        "retired: a client certificate that the revocation list names",
    );
    narrator.line("asks", "a TLS connection");
    let leaf = Leaf::read(&world.folder().join("certs"), "revoked")?;
    let heads = world.emulator.heads();
    if world
        .caller()
        .certificate(&leaf)
        .export_grpc(&Sample::traces("checkout", 1))
        .await
        .is_ok()
    {
        narrator.differs("the connection was accepted".to_owned());
    }
    match narrator
        .record(|record| text(record, "event") == "handshake_failed")
        .await
    {
        Some(record) => {
            let words = format!(
                "{} {}",
                narrator.ink.refused("DENY"),
                narrator.ink.bold(text(&record, "reason"))
            );
            narrator.line("decided", &format!("{words}, {}", text(&record, "event")));
            if text(&record, "reason") != Reason::CertificateRevoked.code() {
                narrator.differs("the record's reason is not `certificate_revoked`".to_owned());
            }
        }
        None => narrator.differs("there is no record of the handshake".to_owned()),
    }
    match world.emulator.heads() == heads {
        true => narrator.line("backend", "received nothing"),
        false => narrator.differs("the backend received a request".to_owned()),
    }
    Ok(())
}
