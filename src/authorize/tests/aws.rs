//! Subjects that speak of AWS's roles and users.
//!
//! What it does: reads subjects, and compares them with callers of AWS and with others. What it refuses to know: how AWS is asked.
//! Invariant: each row names what is said of a subject, or exactly which callers it matches.

use std::path::Path;
use std::sync::Arc;

use super::super::{AwsAccounts, Policy, PolicySurroundings};
use super::{Target, UnixMillis, export, member};
use crate::accept::RequestKind;
use crate::apps::AppPath;
use crate::document::Diagnostic;
use crate::identify::{AwsFacts, Facts, Method, PrincipalKind};
use crate::profiles::Profile;

fn load(subject: &str, effect: &str, aws: &[AwsAccounts]) -> (Option<Policy>, Vec<String>) {
    let profile = Profile::lightstep();
    let issuers: Vec<String> = ["okta"]
        .into_iter()
        .chain(aws.iter().map(|one| one.name.as_str()))
        .map(str::to_owned)
        .collect();
    let around = PolicySurroundings {
        profile: &profile,
        organization: "acme",
        issuers: &issuers,
        trust_domains: &[],
        authorities: &[],
        aws,
        destinations: &[],
        backends: &crate::apps::BackendNames::default(),
        now: UnixMillis(0),
    };
    let text = format!(
        "version: 1\napps: {{ shop: {{ project: shop }} }}\nbindings:\n  - {{ name: a, {effect}subjects: [{subject}], \
         permissions: [ingest.*], apps: [shop] }}\n"
    );
    let (policy, found) = Policy::load(Path::new("p"), &text, &around);
    let line = |each: &Diagnostic| {
        format!("{each}")
            .split_once(": ")
            .unwrap()
            .1
            .replace("\n  ", " ")
    };
    (policy, found.iter().map(line).collect())
}

fn accounts() -> Vec<AwsAccounts> {
    vec![
        AwsAccounts {
            name: "aws".to_owned(),
            partition: "aws".to_owned(),
            accounts: vec!["123456789012".to_owned()],
        },
        AwsAccounts {
            name: "china".to_owned(),
            partition: "aws-cn".to_owned(),
            accounts: vec!["210987654321".to_owned()],
        },
    ]
}

/// A caller of AWS by its canonical ARN.
fn caller(arn: &str, session: Option<&str>) -> Facts {
    let kind = match arn.split([':', '/']).nth(5) {
        Some("role") => PrincipalKind::Role,
        Some("user") => PrincipalKind::User,
        Some("root") => PrincipalKind::Root,
        _ => PrincipalKind::FederatedUser,
    };
    let issuer = match arn.starts_with("arn:aws:") {
        true => "aws",
        false => "china",
    };
    Facts {
        method: Method::Aws,
        issuer: Arc::from(issuer),
        subject: Arc::from(arn),
        aws: Some(Arc::new(AwsFacts {
            kind,
            account: arn.split(':').nth(4).unwrap().into(),
            unique_id: "AROACKCEVSQ6C2EXAMPLE".into(),
            session: session.map(Into::into),
        })),
        ..member("none")
    }
}

/// Scenario: subjects that are wrong in what they say of AWS. Guarantees: what can match no caller, or more than is meant, is an
/// error that says what to write.
#[test]
fn what_leaves_an_account_open_is_refused() {
    let write = "hint: write `arn:aws:iam::123456789012:role/checkout-*`";
    let one = "hint: one subject for each account: `arn:aws:iam::123456789012:…`";
    for (subject, expected) in [
        (r#"{ aws: "arn:aws:iam::123456789012:role/checkout-*" }"#, vec![]),
        (r#"{ issuer: aws, aws: "arn:aws:iam::123456789012:role/*" }"#, vec![]),
        (r#"{ aws: "arn:aws:iam::123456789012:role/a", unique_id: AROA1, session: "i-*" }"#, vec![]),
        (r#"{ aws: "arn:aws:iam::123456789012:root" }"#, vec![]),
        ("{ issuer: aws }", vec![]),
        (r#"{ issuer: aws, subject: "arn:aws:iam::123456789012:role/a" }"#, vec![]),
        (r#"{ aws: "arn:aws:iam::123456789012:role/a", dns: a.example }"#, vec![]),
        (
            r#"{ aws: "*" }"#,
            vec![format!("error: an ARN has six parts, parted by `:` {write}")],
        ),
        (
            r#"{ aws: "arn:aws:iam::*:role/checkout" }"#,
            vec![format!("error: partition and account are written in full, without wildcards {one}")],
        ),
        (
            r#"{ aws: "arn:aws:iam::999999999999:role/checkout" }"#,
            vec![
                "error: this subject can never match: no `aws` has the account `999999999999` of the partition `aws` hint: the \
                 configuration has `123456789012`, `210987654321`; add it to `accounts` of `aws`"
                    .to_owned(),
            ],
        ),
        (
            r#"{ aws: "arn:aws-cn:iam::123456789012:role/checkout" }"#,
            vec![
                "error: this subject can never match: no `aws` has the account `123456789012` of the partition `aws-cn` hint: \
                 the configuration has `123456789012`, `210987654321`; add it to `accounts` of `aws`"
                    .to_owned(),
            ],
        ),
        (
            r#"{ aws: "arn:aws:sts::123456789012:assumed-role/checkout/i-0abc" }"#,
            vec![
                "error: a session's ARN changes with each session: a role is meant by its own hint: write \
                 `arn:aws:iam::123456789012:role/NAME`; a session's name stands in `session`"
                    .to_owned(),
            ],
        ),
        (
            r#"{ session: "i-*" }"#,
            vec![format!("error: `session` needs `aws` beside it: it says nothing alone {write}")],
        ),
        (
            r#"{ issuer: aws, unique_id: AROA1 }"#,
            vec![format!("error: `unique_id` needs `aws` beside it: it says nothing alone {write}")],
        ),
        (
            r#"{ issuer: okta, aws: "arn:aws:iam::123456789012:role/checkout" }"#,
            vec![
                "error: this subject can never match: its issuer knows no callers of AWS hint: leave `issuer` out, or name one of \
                 the configuration's `aws`"
                    .to_owned(),
            ],
        ),
        (
            "{ issuer: aws, group: sre }",
            vec![
                "error: this subject can never match: a caller of AWS has neither groups nor claims hint: name the role by `aws`, \
                 its session by `session`"
                    .to_owned(),
            ],
        ),
        (
            r#"{ any: true, aws: "arn:aws:iam::123456789012:role/checkout" }"#,
            vec!["error: `any: true` already names everybody hint: leave it out, or leave the rest out".to_owned()],
        ),
    ] {
        let (policy, said) = load(subject, "", &accounts());
        assert_eq!(said, expected, "{subject}");
        assert_eq!(policy.is_some(), expected.is_empty(), "{subject}");
    }
    let (_, said) = load(r#"{ aws: "arn:aws:iam::123456789012:role/a" }"#, "", &[]);
    assert_eq!(said.len(), 1);
    assert!(
        said[0].ends_with("hint: the configuration has no `aws`"),
        "{said:?}"
    );
}

/// Scenario: subjects against callers of AWS, and against another issuer's caller of the same name. Guarantees: exactly the
/// expected ones match, through the index; nothing that is left open gives anything to an account's root user or to who named itself,
/// and a denial that is left open takes from them too.
#[test]
fn a_subject_speaks_of_the_callers_that_it_names() {
    let callers = [
        (
            "checkout-a",
            caller("arn:aws:iam::123456789012:role/checkout-a", Some("i-1")),
        ),
        (
            "checkout-b",
            caller("arn:aws:iam::123456789012:role/checkout-b", Some("ada")),
        ),
        (
            "user",
            caller("arn:aws:iam::123456789012:user/team/ada", None),
        ),
        ("root", caller("arn:aws:iam::123456789012:root", None)),
        (
            "named",
            caller("arn:aws:sts::123456789012:federated-user/ada", Some("ada")),
        ),
        (
            "china",
            caller("arn:aws-cn:iam::210987654321:role/checkout-a", Some("i-1")),
        ),
        (
            "token",
            Facts {
                subject: Arc::from("arn:aws:iam::123456789012:role/checkout-a"),
                ..member("none")
            },
        ),
    ];
    let everyone = "checkout-a checkout-b user root named china token";
    for (subject, allows, denies) in [
        (
            r#"{ aws: "arn:aws:iam::123456789012:role/checkout-a" }"#,
            "checkout-a",
            "checkout-a",
        ),
        (
            r#"{ aws: "arn:aws:iam::123456789012:role/*" }"#,
            "checkout-a checkout-b",
            "checkout-a checkout-b",
        ),
        (
            r#"{ aws: "arn:aws:iam::123456789012:role/*", session: "i-*" }"#,
            "checkout-a",
            "checkout-a",
        ),
        (
            r#"{ aws: "arn:aws:iam::123456789012:role/*", unique_id: AROACKCEVSQ6C2OTHER1 }"#,
            "",
            "",
        ),
        (r#"{ aws: "arn:aws:iam::123456789012:user/*" }"#, "", ""),
        (
            r#"{ aws: "arn:aws:iam::123456789012:user/team/*" }"#,
            "user",
            "user",
        ),
        (
            r#"{ aws: "arn:aws:iam::123456789012:root" }"#,
            "root",
            "root",
        ),
        (
            r#"{ aws: "arn:aws:sts::123456789012:federated-user/ada" }"#,
            "named",
            "named",
        ),
        (
            r#"{ aws: "arn:aws-cn:iam::210987654321:role/*" }"#,
            "china",
            "china",
        ),
        (
            "{ issuer: aws }",
            "checkout-a checkout-b user",
            "checkout-a checkout-b user root named",
        ),
        (
            r#"{ issuer: aws, subject: "**" }"#,
            "checkout-a checkout-b user",
            "checkout-a checkout-b user root named",
        ),
        (
            r#"{ issuer: aws, subject: "arn:aws:iam::123456789012:root" }"#,
            "root",
            "root",
        ),
        (
            r#"{ issuer: okta, subject: "arn:aws:iam::123456789012:role/checkout-a" }"#,
            "token",
            "token",
        ),
        (
            r#"{ issuer: china, aws: "arn:aws:iam::123456789012:role/*" }"#,
            "",
            "",
        ),
        ("{ issuer: mtls }", "", ""),
        (
            "{ any: true }",
            "checkout-a checkout-b user china token",
            everyone,
        ),
    ] {
        let RequestKind::Ingest(logs) = export(None) else {
            panic!()
        };
        let shop = AppPath::parse("shop").unwrap();
        let target = Target::App(Some(&shop));
        for (effect, expected) in [("", allows), ("effect: deny, ", denies)] {
            let (policy, said) = load(subject, effect, &accounts());
            let policy = policy.unwrap_or_else(|| panic!("{said:?}"));
            let matched: Vec<&str> = callers
                .iter()
                .filter(|(_, facts)| {
                    !policy
                        .evaluate(facts, logs.operation, target, UnixMillis(0))
                        .trace
                        .is_empty()
                })
                .map(|(name, _)| *name)
                .collect();
            assert_eq!(matched.join(" "), expected, "{subject} {effect}");
        }
    }
}
