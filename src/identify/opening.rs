//! What a configuration says becomes the room.
//!
//! What it does: opens issuers, accounts, logins, secrets and proofs of possession, and takes over from the room before what did
//! not change. What it refuses to know: callers. Invariants: all faults are reported at once; no issuer and no provider is
//! waited for; what is configured differently keeps nothing of what it was.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::accept::AssertionHeader;

use super::aws::{AwsIssuer, AwsSettings};
use super::cache::TokenCache;
use super::client_token::ClientTokens;
use super::dpop::{NonceKeyFault, Possession};
use super::issuer::{Issuer, IssuerCause, IssuerFault};
use super::login::{Login, LoginFault, LoginSettings};
use super::mtls::ClientVerifier;
use super::revocation::Revocations;
use super::settings::{
    ClientTokenSettings, DpopSettings, IssuerSettings, PolicyClaims, WebhookSettings,
};
use super::webhook::{WebhookFault, Webhooks};
use super::{Identifier, Surroundings};

impl Identifier {
    /// Reads the issuers' files and begins to fetch keys; never waits for an issuer. Reports all faults at
    /// once. `verifiers`: those of the listeners that ask for client certificates. `previous`: the same
    /// room under the configuration before: an issuer that did not change keeps its keys, its task and its
    /// verified tokens.
    pub fn new(
        settings: &[IssuerSettings],
        verifiers: Vec<Arc<ClientVerifier>>,
        surroundings: Surroundings,
        previous: Option<&Identifier>,
    ) -> Result<Identifier, Vec<IssuerFault>> {
        let mut issuers: Vec<Arc<Issuer>> = Vec::with_capacity(settings.len());
        let mut faults = Vec::new();
        for one in settings {
            let earlier = previous.and_then(|previous| previous.issuer(&one.name));
            match Issuer::open(one, &surroundings, earlier) {
                Err(fault) => faults.push(fault),
                Ok(issuer) => {
                    let twin = issuers.iter().find(|other| {
                        other.name == issuer.name || other.settings().issuer == one.issuer
                    });
                    if let Some(twin) = twin {
                        faults.push(IssuerFault {
                            issuer: one.name.clone(),
                            cause: IssuerCause::Twin(twin.name.clone()),
                        });
                    }
                    issuers.push(issuer);
                }
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let tokens = previous.filter(|previous| !assigns_otherwise(&previous.issuers, &issuers));
        let tokens = tokens.map_or_else(TokenCache::new, |previous| previous.tokens.clone());
        let mut assertion_headers: Vec<AssertionHeader> = Vec::new();
        for header in settings.iter().filter_map(|issuer| issuer.header.as_ref()) {
            if !assertion_headers.contains(header) {
                assertion_headers.push(header.clone());
            }
        }
        let memory = previous.map_or_else(Arc::default, |previous| previous.memory.clone());
        // What providers told stays; what the file lists is listed anew.
        let revocations = previous.map_or_else(Revocations::default, |previous| {
            previous.revocations.listing(Arc::default())
        });
        Ok(Identifier {
            issuers,
            aws: Vec::new(),
            verifiers,
            tokens,
            client_tokens: ClientTokens::new(&[]),
            login: None,
            memory,
            revocations,
            transmitters: Vec::new(),
            webhooks: Webhooks::none(),
            possession: None,
            policy_claims: None,
            assertion_headers,
            surroundings,
        })
    }

    /// The same room, which knows what the policy looks at, by issuer: claims that are elsewhere, or not vouched for, are no
    /// fault where it does not.
    pub(crate) fn with_policy_claims(
        self,
        policy_claims: Vec<(String, PolicyClaims)>,
    ) -> Identifier {
        Identifier {
            policy_claims: Some(policy_claims),
            ..self
        }
    }

    /// The same room, which knows these client tokens and no others.
    pub fn with_client_tokens(self, settings: &[ClientTokenSettings]) -> Identifier {
        Identifier {
            client_tokens: ClientTokens::new(settings),
            ..self
        }
    }

    /// The same room, which knows the callers of these AWS accounts and no others; reads files and asks nothing. Reports all
    /// faults at once. `previous`: the room before; what did not change keeps what it remembers.
    pub fn with_aws(
        self,
        settings: &[AwsSettings],
        previous: Option<&Identifier>,
    ) -> Result<Identifier, Vec<IssuerFault>> {
        let mut aws = Vec::with_capacity(settings.len());
        let mut faults = Vec::new();
        for one in settings {
            let mut earlier = previous.iter().flat_map(|previous| &previous.aws);
            let earlier = earlier.find(|earlier| earlier.name() == one.name);
            match AwsIssuer::open(one, &self.surroundings, earlier) {
                Ok(issuer) => aws.push(issuer),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() {
            Ok(Identifier { aws, ..self })
        } else {
            Err(faults)
        }
    }

    /// The same room, where people log in as `settings` say; reads the keys and secrets and never waits for the
    /// provider. Reports all faults at once. `previous`: the room before, whose knowledge of the provider is kept
    /// where it still holds.
    pub fn with_login(
        self,
        settings: Option<&LoginSettings>,
        previous: Option<&Identifier>,
    ) -> Result<Identifier, Vec<LoginFault>> {
        let previous = previous.and_then(|previous| previous.login.as_ref());
        let open = |settings| {
            let remembered = (self.memory.clone(), self.revocations.clone());
            Login::open(settings, &self.issuers, remembered, previous)
        };
        let login = settings.map(open).transpose()?;
        Ok(Identifier { login, ..self })
    }

    /// The same room, which judges proofs of possession as `settings` say. Reports all faults at once. `previous`: the room
    /// before, whose nonces stay good where no key is configured.
    pub fn with_possession(
        self,
        settings: &DpopSettings,
        previous: Option<&Identifier>,
    ) -> Result<Identifier, Vec<NonceKeyFault>> {
        let previous = previous.and_then(|previous| previous.possession.as_ref());
        let possession = Possession::open(settings, self.memory.clone(), previous)?;
        Ok(Identifier {
            possession: Some(possession),
            ..self
        })
    }

    /// The same room, which knows these webhook secrets and no others; or what is wrong with each that cannot be used.
    pub(crate) fn with_webhooks(
        self,
        settings: &[WebhookSettings],
    ) -> Result<Identifier, Vec<WebhookFault>> {
        Ok(Identifier {
            webhooks: Webhooks::read(settings)?,
            ..self
        })
    }
}

/// Whether a token may now be another issuer's: it is its trust domain's only where no issuer has its `iss`.
fn assigns_otherwise(before: &[Arc<Issuer>], now: &[Arc<Issuer>]) -> bool {
    let named = |issuers: &[Arc<Issuer>]| -> BTreeSet<String> {
        issuers
            .iter()
            .map(|issuer| issuer.settings().issuer.clone())
            .collect()
    };
    now.iter()
        .any(|issuer| issuer.settings().trust_domain().is_some())
        && named(before) != named(now)
}
