//! Webhook secrets: whose they are, where they count, and which cannot be used.
//!
//! What it does: judges evidence at alert inlets. What it refuses to know: messages. Invariant: every refusal is for the
//! expected reason.

use std::sync::Arc;

use http::HeaderValue;

use super::super::forge::{Folder, World, caller};
use super::super::{Identifier, Method, WEBHOOKS, WebhookSettings};
use crate::accept::{Caller, Carrier, ClientChain, Presented};
use crate::apps::AppPath;
use crate::causes::lines;
use crate::secret::SecretRef;

const SHOP: &str = "secret-of-shop-0123";
const NEXT: &str = "secret-of-shop-4567";
const CHECKOUT: &str = "secret-of-checkout-0123";

fn app(path: &str) -> AppPath {
    AppPath::parse(path).unwrap()
}

fn settings(folder: &Folder, apps: &[(&str, &[&str])]) -> Vec<WebhookSettings> {
    let mut number = 0;
    let mut keep = |secret: &str| {
        number += 1;
        SecretRef::File(folder.write(&format!("secret-{number}"), secret))
    };
    apps.iter()
        .map(|(path, secrets)| WebhookSettings {
            app: app(path),
            secrets: secrets.iter().map(|secret| keep(secret)).collect(),
        })
        .collect()
}

fn told(identifier: &Identifier, caller: Caller, path: &str) -> Result<String, &'static str> {
    let identity = identifier.identify_webhook(caller, &app(path));
    identity
        .map(|identity| identity.facts().subject.to_string())
        .map_err(|rejection| rejection.reason.code())
}

/// Scenario: every secret at every app's inlet, and other evidence. Guarantees: each counts at its own app's only, all of
/// an app's count, and it alone is evidence there; elsewhere it is no token of anybody's.
#[tokio::test]
async fn a_secret_counts_at_its_own_inlet() {
    let (world, folder) = (World::new(), Folder::new());
    let known = settings(
        &folder,
        &[("shop", &[SHOP, NEXT]), ("shop/checkout", &[CHECKOUT])],
    );
    let identifier = world.identifier(&[], None).with_webhooks(&known).unwrap();
    let zeros = "0".repeat(32);
    for (secret, path, counts) in [
        (SHOP, "shop", true),
        (NEXT, "shop", true),
        (CHECKOUT, "shop", false),
        (SHOP, "shop/checkout", false),
        (CHECKOUT, "shop/checkout", true),
        (SHOP, "shop/payments", false),
        (SHOP, "/", false),
        ("", "shop", false),
        (zeros.as_str(), "platform", false),
    ] {
        let expected = if counts {
            Ok(path.to_owned())
        } else {
            Err("webhook_unknown")
        };
        assert_eq!(
            told(&identifier, caller(Some(secret), None), path),
            expected,
            "{secret} at {path}"
        );
    }
    let carried = Presented::new(HeaderValue::from_static(SHOP), 0, Carrier::AccessToken);
    let carried = Caller {
        token: Some(carried),
        ..caller(None, None)
    };
    let chain = || {
        Some(Arc::new(ClientChain {
            certificates: Vec::new(),
            listener: Arc::from("a"),
        }))
    };
    let large = "x".repeat((16 << 10) + 1);
    for (what, caller, expected) in [
        ("nothing", caller(None, None), "no_credential"),
        ("another header", carried, "webhook_evidence"),
        ("a certificate", caller(None, chain()), "webhook_evidence"),
        (
            "a certificate beside",
            caller(Some(SHOP), chain()),
            "webhook_evidence",
        ),
        ("too large", caller(Some(&large), None), "token_too_large"),
    ] {
        assert_eq!(told(&identifier, caller, "shop"), Err(expected), "{what}");
    }
    let identity = identifier
        .identify_webhook(caller(Some(SHOP), None), &app("shop"))
        .unwrap();
    assert_eq!(
        (identity.facts().method, &*identity.facts().issuer),
        (Method::Webhook, WEBHOOKS)
    );
    let elsewhere = identifier.identify(caller(Some(SHOP), None)).await.err();
    assert_eq!(
        elsewhere.map(|rejection| rejection.reason.code()),
        Some("token_malformed")
    );
    let none = world.identifier(&[], None);
    assert_eq!(
        told(&none, caller(Some(SHOP), None), "shop"),
        Err("webhook_unknown")
    );
}

/// Scenario: secrets that are missing, short, shared or too many. Guarantees: each is named by its app and number, and
/// nothing of it is repeated.
#[tokio::test]
async fn secrets_that_cannot_be_used_are_named() {
    let (world, folder) = (World::new(), Folder::new());
    let mut known = settings(
        &folder,
        &[
            ("shop", &[SHOP, "short-7f3a"]),
            ("platform", &[SHOP]),
            ("search", &[CHECKOUT, CHECKOUT, CHECKOUT, CHECKOUT, NEXT]),
        ],
    );
    known.push(WebhookSettings {
        app: app("lost"),
        secrets: vec![SecretRef::File("nowhere/canary-7f3a".into())],
    });
    let faults = world
        .identifier(&[], None)
        .with_webhooks(&known)
        .err()
        .unwrap();
    assert_eq!(
        lines(&faults),
        [
            "of app `shop`: secret 2 has fewer than 16 bytes",
            "of app `platform`: secret 1 is another app's too",
            "of app `search`: at most 4 may overlap",
            "of app `lost`: secret 1 cannot be read: entity not found",
        ]
    );
}
