//! A role of AWS exports.
//!
//! What it does: lets a function in AWS export with nothing but the role that it has, and others try with what they signed for a
//! cluster, or in another account. What it refuses to know: how a signature is judged. Invariant: everything is signed here,
//! with the keys of the callers themselves.

use super::deliveries::Delivery;
use super::narrator::{Expected, Narrator, Status, Step};
use lightkeeper::clock::Clock;
use lightkeeper::otlp::Encoding;
use lightkeeper::reason::Reason;
use testkit::sigv4::PresignedCall;
use testkit::world::{AWS_ACCOUNT, AWS_AUDIENCE, AWS_REGION};
use testkit::{AwsCaller, Sample};

const PATH: &str = "/v1/traces";

pub async fn tell(narrator: &mut Narrator<'_>) -> Result<(), String> {
    narrator.chapter(
        "A role of AWS is enough",
        "A function has an IAM role and no token. It signs a call to AWS for the gateway (`aws eks get-token` does), and AWS says who signed.",
    );
    let sts = narrator.world.sts.as_ref().ok_or("AWS is missing")?;
    let function = sts.add(AwsCaller::role(AWS_ACCOUNT, "checkout-lambda", "i-0abc"));
    let stranger = sts.add(AwsCaller::role("210987654321", "checkout-lambda", "i-0abc"));
    let now = Clock::system().now().seconds();
    let signed = |caller: &AwsCaller, audience: &str| {
        PresignedCall::new(AWS_REGION, audience, now).token(&caller.keys)
    };
    let allowed = || {
        let delivery = Delivery::to("checkout-prod").of("checkout", 1, "shop/checkout");
        Expected::delivered(
            Status::Http(200),
            "shop/checkout",
            &["checkout-lambdas"],
            vec![delivery],
        )
    };
    let proof = signed(&function, AWS_AUDIENCE);
    let rows = [
        (
            "The function exports as its role",
            "role/checkout-lambda: a call to AWS, signed for this gateway",
            proof.clone(),
            allowed(),
        ),
        (
            "And again, without a question to AWS",
            "role/checkout-lambda: the same, a moment later",
            proof,
            allowed(),
        ),
        (
            "What was signed for a cluster opens nothing here",
            "role/checkout-lambda: a token for the EKS cluster `prod`",
            signed(&function, "prod"),
            Expected::refused(Status::Http(401), Reason::AwsRefused),
        ),
        (
            "The same role in another account is another role",
            "role/checkout-lambda of account 210987654321",
            signed(&stranger, AWS_AUDIENCE),
            Expected::refused(Status::Http(403), Reason::AwsAccountUnknown),
        ),
    ];
    let asked_before = sts.calls().len();
    for (title, who, token, expected) in rows {
        let step = Step {
            title: title.to_owned(),
            caller: who.to_owned(),
            asked: format!("POST {PATH} with `Authorization: Bearer k8s-aws-v1.…`"),
            shown: vec![token.clone()],
            expected,
        };
        let caller = narrator.world.plain_caller().bearer(&token);
        let sample = Sample::traces("checkout", 1);
        narrator
            .call(step, caller.export(&sample, Encoding::Protobuf))
            .await;
    }
    let asked = sts.calls().len() - asked_before;
    if asked != 3 {
        narrator.differs(format!("AWS was asked {asked} times, not 3"));
    }
    narrator.line("aws", &format!("asked {asked} times for 4 calls"));
    Ok(())
}
