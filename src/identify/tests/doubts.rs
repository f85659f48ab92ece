//! Claims that are elsewhere, and addresses that are not verified, under policies that look at them and policies that
//! do not.
//!
//! What it does: shows the same token, session or login under changed policies. What it refuses to know: bindings. Invariant:
//! every row says what the policy looks at.

use serde_json::{Value, json};

use super::super::forge::{Answer, Folder, RSA, World, issuer, verdict};
use super::super::{ClaimPath, Identifier, IssuerSettings, KeySource, PolicyClaims};
use super::desk::Desk;

fn looks_at(groups: bool, claims: &[&str]) -> PolicyClaims {
    PolicyClaims {
        groups,
        claims: claims
            .iter()
            .map(|claim| ClaimPath::parse(claim).unwrap())
            .collect(),
        denied: Vec::new(),
    }
}

fn settings(folder: &Folder) -> IssuerSettings {
    let keys = folder.write(
        "jwks.json",
        Answer::keys(json!([RSA.jwk_with(json!({"kid": "rs"}))])).body,
    );
    issuer(KeySource::File(keys))
}

/// A room whose policy looks at this of the issuer's callers.
fn room(
    world: &World,
    settings: &IssuerSettings,
    policy: PolicyClaims,
    previous: Option<&Identifier>,
) -> Identifier {
    world
        .identifier(std::slice::from_ref(settings), previous)
        .with_policy_claims(vec![("idp".to_owned(), policy)])
}

/// Scenario: tokens that say of some claims that they are elsewhere. Guarantees: they are refused where the policy looks at
/// those claims, with a reason of its own, and are taken where it does not.
#[tokio::test]
async fn what_is_elsewhere_is_not_read_as_absent() {
    let world = World::new();
    let folder = Folder::new();
    let usual = settings(&folder);
    let roles = IssuerSettings {
        groups_claim: ClaimPath::name("roles"),
        ..usual.clone()
    };
    let of = |name: &str| json!({"_claim_names": {name: "src1"}, "_claim_sources": {"src1": {"endpoint": "https://g/x"}}});
    let both = json!({"groups": ["sre"], "_claim_names": {"groups": "src1"}});
    let (ok, elsewhere) = (|| Ok("ada".to_owned()), || Err("token_claims_elsewhere"));
    for (settings, claims, policy, expected) in [
        (&usual, json!({}), looks_at(true, &["team"]), ok()),
        (&usual, of("groups"), looks_at(true, &[]), elsewhere()),
        (&usual, of("groups"), looks_at(false, &[]), ok()),
        (&usual, of("groups"), looks_at(false, &["team"]), ok()),
        (
            &usual,
            of("groups"),
            looks_at(false, &["groups"]),
            elsewhere(),
        ),
        (&usual, both, looks_at(true, &[]), elsewhere()),
        (&usual, of("team"), looks_at(true, &[]), ok()),
        (&usual, of("team"), looks_at(true, &["team"]), elsewhere()),
        (&usual, of("roles"), looks_at(true, &[]), ok()),
        (&roles, of("roles"), looks_at(true, &[]), elsewhere()),
        (&roles, of("groups"), looks_at(true, &[]), ok()),
        (
            &usual,
            json!({"_claim_names": {}}),
            looks_at(true, &[]),
            ok(),
        ),
        (
            &usual,
            json!({"_claim_names": {}, "_claim_sources": {}}),
            looks_at(true, &["team"]),
            ok(),
        ),
        (
            &usual,
            json!({"_claim_names": ["groups"]}),
            looks_at(false, &[]),
            Err("token_claims"),
        ),
        (
            &usual,
            json!({"_claim_names": "groups"}),
            looks_at(false, &[]),
            Err("token_claims"),
        ),
        (
            &usual,
            json!({"hasgroups": true}),
            looks_at(true, &[]),
            elsewhere(),
        ),
        (
            &usual,
            json!({"hasgroups": "true"}),
            looks_at(true, &[]),
            elsewhere(),
        ),
        (
            &usual,
            json!({"hasgroups": 1}),
            looks_at(true, &[]),
            elsewhere(),
        ),
        (
            &usual,
            json!({"hasgroups": false}),
            looks_at(true, &[]),
            ok(),
        ),
        (
            &usual,
            json!({"hasgroups": "false"}),
            looks_at(true, &[]),
            ok(),
        ),
        (
            &usual,
            json!({"hasgroups": true}),
            looks_at(false, &[]),
            ok(),
        ),
        (
            &roles,
            json!({"hasgroups": true}),
            looks_at(true, &[]),
            ok(),
        ),
    ] {
        let identifier = room(&world, settings, policy.clone(), None);
        let token = RSA.token("RS256", "rs", claims.clone());
        for round in ["fresh", "remembered"] {
            assert_eq!(
                verdict(&identifier, &token).await,
                expected,
                "{claims} {policy:?}, {round}"
            );
        }
        let explained = identifier.identify_claims_for_explain(
            "idp",
            super::super::forge::claims(claims.clone())
                .as_object()
                .unwrap()
                .clone(),
        );
        assert_eq!(
            explained.err().map(|rejection| rejection.reason.code()),
            expected.err(),
            "{claims} explained"
        );
    }
    // Of a policy that is not known, anything may matter; of an issuer that it does not know, likewise.
    let untold = world.identifier(std::slice::from_ref(&usual), None);
    let stranger = world
        .identifier(std::slice::from_ref(&usual), None)
        .with_policy_claims(Vec::new());
    for identifier in [untold, stranger] {
        assert_eq!(
            verdict(&identifier, &RSA.token("RS256", "rs", of("groups"))).await,
            elsewhere()
        );
    }
}

/// Scenario: one token, remembered from the first call on, while the policy is reloaded. Guarantees: the policy in force
/// decides each time.
#[tokio::test]
async fn a_remembered_token_is_held_against_the_policy_in_force() {
    let world = World::new();
    let folder = Folder::new();
    let settings = settings(&folder);
    let token = RSA.token("RS256", "rs", json!({"_claim_names": {"groups": "src1"}}));
    let mut identifier = room(&world, &settings, looks_at(false, &[]), None);
    for (groups, expected) in [
        (false, Ok("ada".to_owned())),
        (true, Err("token_claims_elsewhere")),
        (false, Ok("ada".to_owned())),
    ] {
        identifier = room(&world, &settings, looks_at(groups, &[]), Some(&identifier));
        assert_eq!(verdict(&identifier, &token).await, expected, "{groups}");
        assert_eq!(identifier.tokens.len(), 1, "the token stays remembered");
    }
}

/// Scenario: addresses with every form of the word about them, as the subject, as the groups, and where a binding names
/// the claim. Guarantees: only what is verified counts, unless the issuer's addresses are accepted.
#[tokio::test]
async fn an_address_counts_only_if_it_is_verified() {
    let world = World::new();
    let folder = Folder::new();
    let usual = settings(&folder);
    let subject = IssuerSettings {
        subject_claims: vec![ClaimPath::name("email")],
        ..usual.clone()
    };
    let groups = IssuerSettings {
        groups_claim: ClaimPath::name("email"),
        ..usual.clone()
    };
    let accepting = IssuerSettings {
        accepts_unverified_email: true,
        ..subject.clone()
    };
    let none = looks_at(true, &["team"]);
    let email = looks_at(false, &["email"]);
    let with = |verified: Value| json!({"email": "a@b.example", "email_verified": verified});
    for (verified, counts) in [
        (json!(true), true),
        (json!("true"), true),
        (json!(false), false),
        (json!("false"), false),
        (json!(null), false),
        (json!("TRUE"), false),
        (json!("yes"), false),
        (json!(1), false),
        (json!([true]), false),
    ] {
        let token = RSA.token("RS256", "rs", with(verified.clone()));
        let or_refused = |who: &str| {
            if counts {
                Ok(who.to_owned())
            } else {
                Err("token_email_unverified")
            }
        };
        for (settings, policy, expected) in [
            (&subject, &none, or_refused("a@b.example")),
            (&groups, &none, or_refused("ada")),
            (&usual, &email, or_refused("ada")),
            (&usual, &none, Ok("ada".to_owned())),
            (&accepting, &email, Ok("a@b.example".to_owned())),
        ] {
            let identifier = room(&world, settings, policy.clone(), None);
            assert_eq!(
                verdict(&identifier, &token).await,
                expected,
                "{verified} {} {policy:?}",
                settings.subject_claims[0]
            );
        }
    }
    let without = RSA.token("RS256", "rs", json!({"email_verified": false}));
    assert_eq!(
        verdict(&room(&world, &usual, email, None), &without).await,
        Ok("ada".to_owned()),
        "there is no address"
    );
    assert_eq!(
        verdict(&room(&world, &subject, none, None), &without).await,
        Err("token_claims")
    );
}

/// Scenario: the same in logins. Guarantees: the login is refused with a reason of its own where the policy looks; where it
/// does not, the session begins, and ends when the policy begins to look.
#[tokio::test]
async fn a_login_leaves_nothing_open_that_the_policy_looks_at() {
    let open = |groups: bool, claims: &'static [&'static str]| {
        Desk::open_with(move |settings, _| settings.policy_claims = looks_at(groups, claims))
    };
    let (strict, lenient, by_email) = (
        open(true, &[]).await,
        open(false, &[]).await,
        open(false, &["email"]).await,
    );
    for (claims, of_strict, of_lenient, of_email) in [
        (json!({}), "ok", "ok", "ok"),
        (
            json!({"_claim_names": {"groups": "s"}}),
            "login_claims_elsewhere",
            "ok",
            "ok",
        ),
        (
            json!({"groups": ["dev"], "_claim_names": {"groups": "s"}}),
            "login_claims_elsewhere",
            "ok",
            "ok",
        ),
        (json!({"_claim_names": {"team": "s"}}), "ok", "ok", "ok"),
        (
            json!({"_claim_names": {"email": "s"}}),
            "ok",
            "ok",
            "login_claims_elsewhere",
        ),
        (
            json!({"_claim_names": []}),
            "login_id_token_claims",
            "login_id_token_claims",
            "login_id_token_claims",
        ),
        (
            json!({"hasgroups": true}),
            "login_claims_elsewhere",
            "ok",
            "ok",
        ),
        (
            json!({"email_verified": false}),
            "ok",
            "ok",
            "login_email_unverified",
        ),
        (json!({"email_verified": "true"}), "ok", "ok", "ok"),
    ] {
        for (desk, expected) in [
            (&strict, of_strict),
            (&lenient, of_lenient),
            (&by_email, of_email),
        ] {
            let said = desk.login(claims.clone()).await.err().unwrap_or("ok");
            assert_eq!(said, expected, "{claims} {:?}", desk.settings.policy_claims);
        }
    }
    let mut desk = lenient;
    let plain = desk.login(json!({})).await.unwrap();
    let overage = desk
        .login(json!({"_claim_names": {"groups": "s"}}))
        .await
        .unwrap();
    let mut told = desk.settings.clone();
    for groups in [false, true, false] {
        told.policy_claims.groups = groups;
        desk.reload(Some(told.clone()));
        let expected = if groups {
            Err("session_claims_elsewhere")
        } else {
            Ok("ada".to_owned())
        };
        assert_eq!(desk.verdict(&overage).await, expected, "{groups}");
        assert_eq!(desk.verdict(&plain).await, Ok("ada".to_owned()), "{groups}");
    }

    let mut desk = Desk::open().await;
    desk.issuer.subject_claims = vec![ClaimPath::name("email")];
    desk.reload(Some(desk.settings.clone()));
    for (claims, expected) in [
        (json!({}), "ok"),
        (json!({"email_verified": false}), "login_email_unverified"),
        (json!({"email_verified": null}), "login_email_unverified"),
    ] {
        assert_eq!(
            desk.login(claims.clone()).await.err().unwrap_or("ok"),
            expected,
            "{claims}"
        );
    }
}

/// Scenario: userinfo says the groups, or says of them, too, that they are elsewhere; and speaks of addresses. Guarantees:
/// groups that are there settle what the ID token left open, and a word about one address is none about another.
#[tokio::test]
async fn userinfo_settles_only_what_it_says() {
    let desk = Desk::open_with(|settings, _| {
        settings.groups_from_userinfo = true;
        settings.policy_claims = looks_at(true, &["email"]);
    });
    let desk = desk.await;
    let over = json!({"_claim_names": {"groups": "s"}});
    let plain = json!({});
    let silent = json!({"email_verified": null});
    let nameless = json!({"email": null, "email_verified": true});
    for (id_token, userinfo, expected) in [
        (&plain, json!({"groups": ["ops"]}), "ok"),
        (&over, json!({"groups": ["ops"]}), "ok"),
        (&over, json!({}), "login_claims_elsewhere"),
        (
            &plain,
            json!({"_claim_names": {"groups": "s"}}),
            "login_claims_elsewhere",
        ),
        (&plain, json!({"hasgroups": true}), "login_claims_elsewhere"),
        (
            &over,
            json!({"groups": ["ops"], "_claim_names": {"groups": "s"}}),
            "login_claims_elsewhere",
        ),
        (
            &json!({"_claim_names": {"team": "s"}}),
            json!({"_claim_names": {"groups": "s"}}),
            "login_claims_elsewhere",
        ),
        (&plain, json!({"_claim_names": 1}), "login_id_token_claims"),
        (
            &silent,
            json!({"email_verified": true}),
            "login_email_unverified",
        ),
        (
            &silent,
            json!({"email": "eve@acme.example", "email_verified": true}),
            "login_email_unverified",
        ),
        (
            &silent,
            json!({"email": "ada@acme.example", "email_verified": true}),
            "ok",
        ),
        (
            &plain,
            json!({"email": "ada@acme.example", "email_verified": false}),
            "ok",
        ),
        (
            &nameless,
            json!({"email": "eve@acme.example"}),
            "login_email_unverified",
        ),
        (
            &nameless,
            json!({"email": "eve@acme.example", "email_verified": true}),
            "ok",
        ),
    ] {
        let mut said = json!({"sub": "ada"});
        said.as_object_mut()
            .unwrap()
            .extend(userinfo.as_object().unwrap().clone());
        desk.provider.page("/userinfo", Answer::json(said));
        assert_eq!(
            desk.login(id_token.clone()).await.err().unwrap_or("ok"),
            expected,
            "{id_token} {userinfo}"
        );
    }
}
