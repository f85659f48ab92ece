//! Claims that stand elsewhere than usual: further in, under the first of several names, or as the audience.
//!
//! What it does: shows tokens of providers that nest, leave out and rename claims, and hostile ones of the same shapes. What it
//! refuses to know: bindings. Invariant: every row names what is configured, what is shown and the exact answer.

use serde_json::{Value, json};

use super::super::forge::{Answer, Folder, RSA, World, caller, issuer, verdict};
use super::super::{ClaimPath, Identifier, IssuerSettings, KeySource, PolicyClaims};
use super::desk::Desk;

fn paths(texts: &[&str]) -> Vec<ClaimPath> {
    texts
        .iter()
        .map(|text| ClaimPath::parse(text).unwrap())
        .collect()
}

fn looks_at(groups: bool, claims: &[&str]) -> PolicyClaims {
    PolicyClaims {
        groups,
        claims: paths(claims),
        denied: Vec::new(),
    }
}

fn usual(folder: &Folder) -> IssuerSettings {
    let keys = folder.write(
        "jwks.json",
        Answer::keys(json!([RSA.jwk_with(json!({"kid": "rs"}))])).body,
    );
    issuer(KeySource::File(keys))
}

fn room(world: &World, settings: &IssuerSettings, policy: &PolicyClaims) -> Identifier {
    world
        .identifier(std::slice::from_ref(settings), None)
        .with_policy_claims(vec![("idp".to_owned(), policy.clone())])
}

/// Scenario: groups at a pointer, in tokens that have them there, elsewhere, in another form, or where something else stands
/// in the way. Guarantees: they are read, absent or refused; what cannot be told is refused where the policy looks at groups,
/// and is as good as absent where it does not.
#[tokio::test]
async fn groups_further_in_are_found_absent_or_cannot_be_told() {
    let world = World::new();
    let folder = Folder::new();
    let settings = IssuerSettings {
        groups_claim: paths(&["/realm_access/roles"]).remove(0),
        ..usual(&folder)
    };
    let none: &[&str] = &[];
    for (claims, with_groups, without) in [
        (
            json!({"realm_access": {"roles": ["writer", "x"]}}),
            Ok(&["writer", "x"][..]),
            Ok(&["writer", "x"][..]),
        ),
        (
            json!({"realm_access": {"roles": "writer"}}),
            Ok(&["writer"]),
            Ok(&["writer"]),
        ),
        (json!({"realm_access": {"roles": []}}), Ok(none), Ok(none)),
        (json!({"realm_access": {}}), Ok(none), Ok(none)),
        (json!({}), Ok(none), Ok(none)),
        (
            json!({"realm_access.roles": ["writer"], "/realm_access/roles": ["writer"]}),
            Ok(none),
            Ok(none),
        ),
        (
            json!({"realm_access": "roles"}),
            Err("token_claims"),
            Ok(none),
        ),
        (
            json!({"realm_access": ["roles"]}),
            Err("token_claims"),
            Ok(none),
        ),
        (json!({"realm_access": 7}), Err("token_claims"), Ok(none)),
        (
            json!({"realm_access": {"roles": {"0": "writer"}}}),
            Err("token_claims"),
            Err("token_claims"),
        ),
        (
            json!({"realm_access": {"roles": [1]}}),
            Err("token_claims"),
            Err("token_claims"),
        ),
        (
            json!({"realm_access": {"roles": [""]}}),
            Err("token_claims"),
            Err("token_claims"),
        ),
        (
            json!({"_claim_names": {"realm_access": "s"}}),
            Err("token_claims_elsewhere"),
            Ok(none),
        ),
        (
            json!({"realm_access": {"roles": ["x"]}, "_claim_names": {"realm_access": "s"}}),
            Err("token_claims_elsewhere"),
            Ok(&["x"]),
        ),
        (
            json!({"_claim_names": {"groups": "s"}, "hasgroups": true}),
            Ok(none),
            Ok(none),
        ),
    ] {
        for (policy, expected) in [
            (looks_at(true, &[]), with_groups),
            (looks_at(false, &["team"]), without),
        ] {
            let identifier = room(&world, &settings, &policy);
            let token = RSA.token("RS256", "rs", claims.clone());
            let said = identifier.identify(caller(Some(&token), None)).await;
            let said = said
                .map(|identity| identity.facts().groups.clone())
                .map_err(|rejection| rejection.reason.code());
            let said = said
                .as_ref()
                .map(|groups| groups.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(
                said,
                expected.as_ref().map(|groups| groups.to_vec()),
                "{claims} {policy:?}"
            );
        }
    }
}

/// Scenario: a binding denies by a claim within another, and tokens hold another kind of value there, or on the way.
/// Guarantees: what cannot be told is refused, because it could be what is denied; where no binding denies by it, or where
/// it can be told, the token is taken.
#[tokio::test]
async fn a_denied_claim_that_cannot_be_told_is_refused() {
    let world = World::new();
    let folder = Folder::new();
    let settings = usual(&folder);
    let allows = looks_at(false, &["/ctx/env"]);
    let denies = PolicyClaims {
        denied: paths(&["/ctx/env"]),
        ..allows.clone()
    };
    for (ctx, is_told) in [
        (json!({"env": "blocked"}), true),
        (json!({"env": ["blocked", 7, null]}), true),
        (json!({"env": 7}), true),
        (json!({}), true),
        (json!([{"env": "blocked"}]), false),
        (json!("blocked"), false),
        (json!(1), false),
        (json!({"env": {"x": "blocked"}}), false),
        (json!({"env": [["blocked"]]}), false),
        (json!({"env": [{"x": "blocked"}]}), false),
    ] {
        for (policy, expected) in [
            (&allows, Ok(())),
            (&denies, if is_told { Ok(()) } else { Err("token_claims") }),
        ] {
            let identifier = room(&world, &settings, policy);
            let token = RSA.token("RS256", "rs", json!({"ctx": ctx.clone()}));
            let said = identifier.identify(caller(Some(&token), None)).await;
            assert_eq!(
                said.map(|_| ())
                    .map_err(|rejection| rejection.reason.code()),
                expected,
                "{ctx}"
            );
        }
    }
}

/// Scenario: bindings look at a claim within another, and the token says that the outer one, or another, is elsewhere.
/// Guarantees: any part of what is elsewhere is open.
#[tokio::test]
async fn what_is_elsewhere_covers_all_that_is_within() {
    let world = World::new();
    let folder = Folder::new();
    let settings = usual(&folder);
    let elsewhere = Err("token_claims_elsewhere");
    for (claim, named, expected) in [
        (
            "/kubernetes.io/namespace",
            "kubernetes.io",
            elsewhere.clone(),
        ),
        (
            "/kubernetes.io/namespace",
            "/kubernetes.io/namespace",
            Ok("ada".to_owned()),
        ),
        (
            "/kubernetes.io/namespace",
            "namespace",
            Ok("ada".to_owned()),
        ),
        ("/team", "team", elsewhere.clone()),
        ("team", "team", elsewhere),
    ] {
        let identifier = room(&world, &settings, &looks_at(false, &[claim]));
        let token = RSA.token("RS256", "rs", json!({"_claim_names": {named: "s"}}));
        assert_eq!(
            verdict(&identifier, &token).await,
            expected,
            "{claim} {named}"
        );
    }
}

/// Scenario: several claims may name the subject. Guarantees: the first that is there does, and is said to; one that is there
/// and cannot, or is elsewhere, leaves the token without a subject and not with another's.
#[tokio::test]
async fn the_first_claim_that_is_there_names_the_subject() {
    let world = World::new();
    let folder = Folder::new();
    let list: &[&str] = &["sub", "azp", "/client/id"];
    let invalid = Err("token_claims");
    for (claims, listed, expected) in [
        (json!({"azp": "web"}), list, Ok("ada by sub")),
        (
            json!({"sub": null, "azp": "web", "client": {"id": "c"}}),
            list,
            Ok("web by azp"),
        ),
        (
            json!({"sub": null, "client": {"id": "c"}}),
            list,
            Ok("c by /client/id"),
        ),
        (json!({"sub": null}), list, invalid),
        (json!({"sub": "", "azp": "web"}), list, invalid),
        (json!({"sub": 7, "azp": "web"}), list, invalid),
        (json!({"sub": ["ada"], "azp": "web"}), list, invalid),
        (json!({"sub": {"id": "ada"}, "azp": "web"}), list, invalid),
        (json!({"sub": "a\nb", "azp": "web"}), list, invalid),
        (
            json!({"sub": "a".repeat(1025), "azp": "web"}),
            list,
            invalid,
        ),
        (
            json!({"sub": null, "azp": "", "client": {"id": "c"}}),
            list,
            invalid,
        ),
        (json!({"sub": null, "client": "c"}), list, invalid),
        (
            json!({"sub": null, "azp": "web", "_claim_names": {"sub": "s"}}),
            list,
            Err("token_claims_elsewhere"),
        ),
        (
            json!({"_claim_names": {"azp": "s"}}),
            list,
            Ok("ada by sub"),
        ),
        (json!({"azp": "web"}), &["sub"], Ok("ada by nothing")),
        (
            json!({"client": {"id": "c"}}),
            &["/client/id"],
            Ok("c by nothing"),
        ),
        (json!({"client": "c"}), &["/client/id"], invalid),
        (
            json!({"email": "a@b.example"}),
            &["email", "sub"],
            Err("token_email_unverified"),
        ),
        (
            json!({"email": "a@b.example"}),
            &["sub", "email"],
            Ok("ada by sub"),
        ),
        (
            json!({"email": "a@b.example"}),
            &["/email"],
            Err("token_email_unverified"),
        ),
        (
            json!({"email": "a@b.example", "email_verified": true}),
            &["/email"],
            Ok("a@b.example by nothing"),
        ),
    ] {
        let settings = IssuerSettings {
            subject_claims: paths(listed),
            ..usual(&folder)
        };
        let identifier = room(&world, &settings, &looks_at(false, &[]));
        let token = RSA.token("RS256", "rs", claims.clone());
        let said = identifier
            .identify(caller(Some(&token), None))
            .await
            .map_err(|rejection| rejection.reason.code());
        let said = said.map(|identity| {
            let facts = identity.facts();
            format!(
                "{} by {}",
                facts.subject,
                facts.subject_claim.as_deref().unwrap_or("nothing")
            )
        });
        assert_eq!(
            said.as_deref().map_err(|reason| *reason),
            expected,
            "{claims} {listed:?}"
        );
    }
}

/// Scenario: the audience stands in another claim than `aud`, in tokens with and without `aud`. Guarantees: the configured claim
/// must name us, and so must `aud` where it is.
#[tokio::test]
async fn the_configured_claim_names_the_audience_and_aud_never_contradicts_it() {
    let world = World::new();
    let folder = Folder::new();
    let (ok, other, invalid) = (
        Ok("ada".to_owned()),
        Err("token_audience"),
        Err("token_claims"),
    );
    for (claim, claims, expected) in [
        (
            "client_id",
            json!({"aud": null, "client_id": "lightkeeper"}),
            &ok,
        ),
        (
            "client_id",
            json!({"aud": null, "client_id": ["x", "gateway"]}),
            &ok,
        ),
        ("client_id", json!({"client_id": "lightkeeper"}), &ok),
        (
            "client_id",
            json!({"aud": "other", "client_id": "lightkeeper"}),
            &other,
        ),
        (
            "client_id",
            json!({"aud": ["other", "gateway"], "client_id": "lightkeeper"}),
            &ok,
        ),
        (
            "client_id",
            json!({"aud": 7, "client_id": "lightkeeper"}),
            &invalid,
        ),
        (
            "client_id",
            json!({"aud": null, "client_id": "other"}),
            &other,
        ),
        ("client_id", json!({}), &other),
        ("client_id", json!({"aud": null}), &other),
        ("client_id", json!({"aud": null, "client_id": 7}), &invalid),
        (
            "client_id",
            json!({"aud": null, "client_id": ["lightkeeper", 7]}),
            &invalid,
        ),
        ("client_id", json!({"aud": null, "client_id": ""}), &other),
        ("client_id", json!({"aud": null, "client_id": {}}), &invalid),
        (
            "/client/id",
            json!({"aud": null, "client": {"id": "gateway"}}),
            &ok,
        ),
        (
            "/client/id",
            json!({"aud": null, "client": "gateway"}),
            &invalid,
        ),
        ("/client/id", json!({"aud": null, "client": {}}), &other),
        ("/aud", json!({}), &ok),
        ("/aud", json!({"aud": "other"}), &other),
        ("/aud/0", json!({"aud": ["lightkeeper", "other"]}), &ok),
        ("/aud/1", json!({"aud": ["lightkeeper", "other"]}), &other),
    ] {
        let settings = IssuerSettings {
            audience_claim: paths(&[claim]).remove(0),
            ..usual(&folder)
        };
        let identifier = room(&world, &settings, &looks_at(true, &[]));
        let said = verdict(&identifier, &RSA.token("RS256", "rs", claims.clone())).await;
        assert_eq!(&said, expected, "{claim} {claims}");
    }
}

/// Scenario: a login under a policy that looks at claims further in. Guarantees: the session keeps just these, remembers which
/// claim named its subject, and does not outlive a change of the list.
#[tokio::test]
async fn a_session_keeps_the_claims_within_claims_that_the_policy_looks_at() {
    let open = Desk::open_with(|settings, _| {
        settings.policy_claims = looks_at(true, &["/org/unit", "/org/sites/0"])
    });
    let mut desk = open.await;
    desk.issuer.subject_claims = paths(&["upn", "sub"]);
    desk.issuer.groups_claim = paths(&["/realm_access/roles"]).remove(0);
    desk.reload(Some(desk.settings.clone()));
    let shown = json!({"realm_access": {"roles": ["writer"]}, "org": {"unit": "shop", "sites": ["a"], "secret": "x"}});
    let session = desk.login(shown.clone()).await.unwrap();
    let identity = desk.show(&session).await.unwrap();
    let facts = identity.facts();
    assert_eq!(facts.claims["org"], json!({"unit": "shop", "sites": ["a"]}));
    assert_eq!(
        (facts.groups.as_slice(), facts.subject_claim.as_deref()),
        (&["writer".to_owned()][..], Some("sub"))
    );

    assert_eq!(
        desk.login(json!({"realm_access": "x"})).await.err(),
        Some("login_id_token_claims")
    );
    let claims_elsewhere = desk.login(json!({"_claim_names": {"org": "s"}})).await;
    assert_eq!(claims_elsewhere.err(), Some("login_claims_elsewhere"));
    assert_eq!(
        desk.login(json!({"_claim_names": {"upn": "s"}}))
            .await
            .err(),
        Some("login_claims_elsewhere")
    );

    // A policy that begins to look at groups ends a session whose groups could not be told.
    let mut lenient = desk.settings.clone();
    lenient.policy_claims.groups = false;
    desk.reload(Some(lenient));
    let untold = desk.login(json!({"realm_access": "x"})).await.unwrap();
    assert_eq!(desk.verdict(&untold).await, Ok("ada".to_owned()));
    let mut strict = desk.settings.clone();
    strict.policy_claims.groups = true;
    desk.reload(Some(strict.clone()));
    assert_eq!(desk.verdict(&untold).await, Err("session_claims_elsewhere"));
    assert_eq!(desk.verdict(&session).await, Ok("ada".to_owned()));

    desk.issuer.subject_claims = paths(&["sub", "upn"]);
    desk.reload(Some(strict));
    assert_eq!(
        desk.verdict(&session).await,
        Err("session_invalid"),
        "people may be called otherwise"
    );
}

/// Scenario: userinfo says the groups, which stand within another claim. Guarantees: it says them alone, and nothing that is
/// signed beside them is replaced by what is not.
#[tokio::test]
async fn userinfo_says_groups_further_in_and_nothing_beside_them() {
    let open = Desk::open_with(|settings, _| {
        settings.groups_from_userinfo = true;
        settings.policy_claims = looks_at(true, &["/access/unit"]);
    });
    let mut desk = open.await;
    desk.issuer.groups_claim = paths(&["/access/roles"]).remove(0);
    desk.reload(Some(desk.settings.clone()));
    let signed = json!({"access": {"roles": ["signed"], "unit": "shop"}});
    for (id_token, userinfo, expected) in [
        (
            signed.clone(),
            json!({"access": {"roles": ["said"], "unit": "evil"}}),
            Ok((vec!["said"], Some("shop"))),
        ),
        (signed.clone(), json!({}), Ok((vec![], Some("shop")))),
        (
            json!({}),
            json!({"access": {"roles": ["said"]}}),
            Ok((vec!["said"], None)),
        ),
        (
            signed.clone(),
            json!({"access": "x"}),
            Err("login_id_token_claims"),
        ),
        (
            json!({"access": "x"}),
            json!({"access": {"roles": ["said"]}}),
            Err("login_id_token_claims"),
        ),
        (
            signed,
            json!({"_claim_names": {"access": "s"}}),
            Err("login_claims_elsewhere"),
        ),
        (
            json!({"_claim_names": {"access": "s"}}),
            json!({"access": {"roles": ["said"]}}),
            Err("login_claims_elsewhere"),
        ),
    ] {
        let mut said = json!({"sub": "ada"});
        said.as_object_mut()
            .unwrap()
            .extend(userinfo.as_object().unwrap().clone());
        desk.provider.page("/userinfo", Answer::json(said));
        let session = match desk.login(id_token.clone()).await {
            Ok(session) => session,
            Err(fault) => {
                assert_eq!(Err(fault), expected, "{id_token} {userinfo}");
                continue;
            }
        };
        let identity = desk.show(&session).await.unwrap();
        let facts = identity.facts();
        let groups = facts.groups.iter().map(String::as_str).collect();
        let unit = facts
            .claims
            .get("access")
            .and_then(|access| access.get("unit"))
            .and_then(Value::as_str);
        assert_eq!(Ok((groups, unit)), expected, "{id_token} {userinfo}");
    }
}
