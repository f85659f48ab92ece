//! A token that is bound to a key is stolen.
//!
//! What it does: lets its owner export with proofs of possession (RFC 9449), and a thief try with all that can be read on the
//! way. What it refuses to know: how proofs are judged. Invariant: what the owner sends is what the thief repeats.

use serde_json::{Value, json};

use super::deliveries::Delivery;
use super::narrator::{Expected, Narrator, Status, Step};
use lightkeeper::otlp::Encoding;
use lightkeeper::reason::Reason;
use testkit::{Algorithm, Answer, ProofKey, Sample, SampleCaller, WorldPlan};

/// What clients call the listener at which proofs are taken.
const PUBLIC: &str = "https://telemetry.acme.example";
const LISTENER: &str = "named";
const PATH: &str = "/v1/traces";

/// The plan with that listener.
pub fn with_listener(mut plan: WorldPlan) -> WorldPlan {
    let listener = format!(
        "  - name: {LISTENER}\n    address: 127.0.0.1:0\n    serves: [ingest]\n    public_url: {PUBLIC}\nadmin:"
    );
    plan.config = plan.config.replacen("admin:", &listener, 1);
    plan
}

/// A call of the story.
struct Try<'a> {
    title: &'a str,
    caller: &'a str,
    scheme: &'a str,
    token: &'a str,
    proof: Option<&'a str>,
    expected: Expected,
}

pub async fn tell(narrator: &mut Narrator<'_>) -> Result<(), String> {
    narrator.chapter(
        "A stolen token is worth nothing",
        "It is bound to a key (DPoP, RFC 9449), and each call needs a new proof of that key. Its owner alone has the key.",
    );
    let address = narrator.world.address(LISTENER);
    let address = address.ok_or("the listener with a name is missing")?;
    let caller = SampleCaller::new(&format!("http://{address}"));
    let (key, own) = (ProofKey::generate()?, ProofKey::generate()?);
    let issuer = &narrator.world.issuer;
    let claims = issuer.claims_of("checkout-collector");
    let claims = claims.set("cnf", json!({ "jkt": key.thumbprint() }));
    let token = issuer.mint(claims, Algorithm::Rs256);
    let make = |key: &ProofKey, changes: Value| {
        key.proof("POST", &format!("{PUBLIC}{PATH}"), &token, changes)
    };
    let is = |reason| Expected::refused(Status::Http(401), reason);

    let first = make(&key, json!({}));
    let asked = Try {
        title: "A first call is told the nonce that proofs need",
        caller: "checkout-collector: a bound token and a proof of its key",
        scheme: "DPoP",
        token: &token,
        proof: Some(&first),
        expected: is(Reason::ProofNonce),
    };
    let answer = export(narrator, &caller, asked).await;
    let nonce = answer.and_then(|answer| answer.header("dpop-nonce"));
    let nonce = nonce.ok_or("the gateway gave no nonce")?;

    let proof = make(&key, json!({ "nonce": nonce }));
    let delivery = Delivery::to("checkout-prod").of("checkout", 1, "shop/checkout");
    let allowed = Expected::delivered(
        Status::Http(200),
        "shop/checkout",
        &["checkout-pods"],
        vec![delivery],
    );
    let thief_proof = make(&own, json!({ "nonce": nonce }));
    let rows = [
        (
            "With it the call goes through",
            "checkout-collector: the same token and a new proof",
            "DPoP",
            Some(&proof),
            allowed,
        ),
        (
            "The stolen token by itself",
            "a thief: the token, read in a log",
            "Bearer",
            None,
            is(Reason::TokenBound),
        ),
        (
            "The stolen token with a proof of another key",
            "a thief: the token, and a key of the thief's own",
            "DPoP",
            Some(&thief_proof),
            is(Reason::ProofKey),
        ),
        (
            "The whole call again, token and proof",
            "a thief: everything that the owner sent, read on its way",
            "DPoP",
            Some(&proof),
            is(Reason::ProofReplayed),
        ),
    ];
    for (title, who, scheme, proof, expected) in rows {
        let asked = Try {
            title,
            caller: who,
            scheme,
            token: &token,
            proof: proof.map(String::as_str),
            expected,
        };
        export(narrator, &caller, asked).await;
    }
    Ok(())
}

async fn export(
    narrator: &mut Narrator<'_>,
    caller: &SampleCaller,
    asked: Try<'_>,
) -> Option<Answer> {
    let header = format!("{} {}", asked.scheme, asked.token);
    let mut caller = caller.clone().header("authorization", &header);
    let mut shown = vec![asked.token.to_owned()];
    if let Some(proof) = asked.proof {
        caller = caller.header("dpop", proof);
        shown.push(proof.to_owned());
    }
    let with = asked.proof.map_or("", |_| " and `DPoP: …`");
    let step = Step {
        title: asked.title.to_owned(),
        caller: asked.caller.to_owned(),
        asked: format!("POST {PATH} with `Authorization: {} …`{with}", asked.scheme),
        shown,
        expected: asked.expected,
    };
    let sample = Sample::traces("checkout", 1);
    narrator
        .call(step, caller.export(&sample, Encoding::Protobuf))
        .await
}
