//! What a claim set leaves open: claims that are elsewhere, and an e-mail address that its issuer does not vouch for.
//!
//! What it does: finds both in a claim set, and tells which of them matter to a policy. What it refuses to know: bindings,
//! signatures, and how to fetch what is elsewhere. Invariants: what is open is never read as absent where the policy looks
//! at it, because the value that is missing could be the one that is denied; the policy in force decides, not the one under
//! which a token was judged or a session began.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::claim_path::{ClaimPath, FoundClaim};
use super::settings::{IssuerSettings, PolicyClaims};
use crate::reason::Reason;

/// OpenID Connect Core section 5.1.
pub(super) const EMAIL: &str = "email";

/// What is open in a set of claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubts {
    groups_elsewhere: bool,
    /// The way to the groups leads through a value that is neither an object nor a list.
    groups_unreadable: bool,
    /// The names of claims.
    elsewhere: BTreeSet<String>,
    /// There is an address, and neither the issuer nor our configuration stands for it.
    email_unverified: bool,
}

/// Why facts cannot be held against a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    Elsewhere,
    /// Groups, or a claim by which the policy denies.
    Unreadable,
    EmailUnverified,
}

impl Doubts {
    pub(super) fn of(
        settings: &IssuerSettings,
        claims: &Map<String, Value>,
    ) -> Result<Self, Reason> {
        let elsewhere = elsewhere(claims)?;
        Ok(Doubts {
            groups_elsewhere: elsewhere.contains(settings.groups_claim.top()),
            groups_unreadable: settings.groups_claim.find(claims) == FoundClaim::WrongType,
            elsewhere,
            email_unverified: claims.contains_key(EMAIL) && !vouches_for_email(settings, claims),
        })
    }

    /// Those of a session, which keeps no other claim that a policy looks at.
    pub(super) fn of_session(groups_open: bool) -> Self {
        Doubts {
            groups_elsewhere: groups_open,
            ..Doubts::default()
        }
    }

    /// Whether the groups cannot be told.
    pub(super) fn groups_open(&self) -> bool {
        self.groups_elsewhere || self.groups_unreadable
    }

    /// Whether the claim set says of this claim, or of the one that it stands in, that it is somewhere else.
    pub(super) fn is_elsewhere(&self, claim: &ClaimPath) -> bool {
        self.elsewhere.contains(claim.top())
    }

    /// Whether a policy can decide by these claims without what is open. `None`: nothing is known of the policy, which may
    /// look at all.
    pub(super) fn settled_by(
        &self,
        policy: Option<&PolicyClaims>,
        claims: &Map<String, Value>,
    ) -> Result<(), Doubt> {
        // Of what is elsewhere, any part may be what the policy looks at.
        let looks_at = |claim: &str| {
            policy.is_none_or(|policy| policy.claims.iter().any(|path| path.top() == claim))
        };
        let looks_at_groups = policy.is_none_or(|policy| policy.groups);
        if (self.groups_elsewhere && looks_at_groups)
            || self.elsewhere.iter().any(|claim| looks_at(claim))
        {
            return Err(Doubt::Elsewhere);
        }
        let denied = policy.map(|policy| &*policy.denied).unwrap_or_default();
        if (self.groups_unreadable && looks_at_groups)
            || denied.iter().any(|path| path.is_unreadable(claims))
        {
            return Err(Doubt::Unreadable);
        }
        if self.email_unverified && looks_at(EMAIL) {
            return Err(Doubt::EmailUnverified);
        }
        Ok(())
    }
}

/// The names of the claims that are not here but somewhere: aggregated and distributed claims (OpenID Connect Core section
/// 5.6.2), and `hasgroups`, by which Microsoft Entra says of short tokens that groups were left out.
pub(super) fn elsewhere(claims: &Map<String, Value>) -> Result<BTreeSet<String>, Reason> {
    let mut names: BTreeSet<String> = match claims.get("_claim_names") {
        None => BTreeSet::new(),
        Some(Value::Object(sources)) => sources.keys().cloned().collect(),
        Some(_) => return Err(Reason::TokenClaims),
    };
    let left_out = match claims.get("hasgroups") {
        None | Some(Value::Bool(false)) => false,
        Some(Value::String(text)) => text != "false",
        Some(_) => true,
    };
    if left_out {
        names.insert("groups".to_owned());
    }
    Ok(names)
}

/// Whether the e-mail address may stand for a person: the issuer calls it verified (OpenID Connect Core section 5.1; Cognito
/// writes the word as a string), or the configuration says that its addresses need no such word.
pub(super) fn vouches_for_email(settings: &IssuerSettings, claims: &Map<String, Value>) -> bool {
    settings.accepts_unverified_email
        || match claims.get("email_verified") {
            Some(Value::Bool(verified)) => *verified,
            Some(Value::String(text)) => text == "true",
            // Absent is not verified: who asks the provider for single claims (section 5.5) chooses what is absent.
            _ => false,
        }
}
