//! The demonstration organization: who works there and which workloads run there.
//!
//! What it does: lists them with the claims that their tokens carry. What it refuses to know: what any
//! of them may do; that is the policy's business. Invariant: names are unique.

use serde_json::{Value, json};

/// A person who logs in, or a workload that fetches tokens with its own client id and secret.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The login name of a person, the client id of a workload.
    pub name: &'static str,
    /// The `sub` claim.
    pub subject: &'static str,
    /// The `groups` claim; empty: the claim is absent.
    pub groups: &'static [&'static str],
    /// Present for people.
    pub email: Option<&'static str>,
    /// Present for workloads: the client secret.
    pub secret: Option<&'static str>,
}

/// Everybody.
pub const PRINCIPALS: [Principal; 10] = [
    person("ann", "ann@acme.example", &["shop-developers"]),
    person("pat", "pat@acme.example", &["payments-developers"]),
    person("sam", "sam@acme.example", &["sre"]),
    person(
        "lea",
        "lea@acme.example",
        &["shop-leads", "shop-developers"],
    ),
    person("eve", "eve@acme.example", &[]),
    workload(
        "checkout-collector",
        "system:serviceaccount:checkout:collector",
        "checkout-collector-secret",
    ),
    workload(
        "payments-collector",
        "system:serviceaccount:payments:collector",
        "payments-collector-secret",
    ),
    workload(
        "cluster-collector",
        "system:serviceaccount:observability:collector",
        "cluster-collector-secret",
    ),
    workload(
        "shop-frontend",
        "system:serviceaccount:shop:frontend",
        "shop-frontend-secret",
    ),
    workload("terraform", "ci:terraform", "terraform-secret"),
];

const fn person(
    name: &'static str,
    email: &'static str,
    groups: &'static [&'static str],
) -> Principal {
    Principal {
        name,
        subject: email,
        groups,
        email: Some(email),
        secret: None,
    }
}

const fn workload(name: &'static str, subject: &'static str, secret: &'static str) -> Principal {
    Principal {
        name,
        subject,
        groups: &[],
        email: None,
        secret: Some(secret),
    }
}

impl Principal {
    /// Found by its name or its subject.
    pub fn find(name: &str) -> Option<&'static Principal> {
        PRINCIPALS
            .iter()
            .find(|principal| principal.name == name || principal.subject == name)
    }

    pub fn is_person(&self) -> bool {
        self.secret.is_none()
    }

    /// The claims that say who this is.
    pub fn claims(&self) -> Value {
        let mut claims = json!({ "sub": self.subject });
        if let Some(members) = claims.as_object_mut() {
            if !self.groups.is_empty() {
                members.insert("groups".into(), json!(self.groups));
            }
            if let Some(email) = self.email {
                members.insert("email".into(), email.into());
                members.insert("email_verified".into(), true.into());
                members.insert("preferred_username".into(), self.name.into());
                members.insert("name".into(), self.name.into());
            } else {
                members.insert("client_id".into(), self.name.into());
            }
        }
        claims
    }
}
