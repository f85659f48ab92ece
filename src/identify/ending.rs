//! How proofs are ended: by what providers tell the room, and by the operator's file.
//!
//! What it does: has messages judged, remembers them, and takes their facts in. What it refuses to know: HTTP, records, pages.
//! Invariants: a message is taken once; its facts are in force before it is remembered, so that a message without room comes
//! again; nothing of a message that does not hold has any effect.

use std::sync::Arc;

use super::event::Event;
use super::jwks::IssuerStatus;
use super::pushed::PushedId;
use super::revocation::{ProofMarks, Revocation, RevocationList, RevocationSender};
use super::security_event::{self, SecurityEvent};
use super::settings::TransmitterSettings;
use super::token::Unproven;
use super::transmitter::{Transmitter, TransmitterFault};
use super::{Facts, Identifier, Identity};
use crate::clock::UnixMillis;
use crate::reason::Reason;

/// For how long a message is known to have come. What is taken again later changes nothing.
const TOLD_SECONDS: i64 = 24 * 3600;

/// A Security Event Token is small; one with a chain of claims about a device is not.
const EVENT_TOKEN_LIMIT_BYTES: usize = 64 * 1024;

/// What a message came to.
pub(crate) struct ToldRevocations {
    /// Of security events: the transmitter's name in our configuration.
    pub sender: Arc<str>,
    /// Of security events.
    pub events: Vec<SecurityEvent>,
    /// What is revoked from now on; none if it came before.
    pub revocations: Vec<Revocation>,
    pub is_repeated: bool,
}

impl Identifier {
    /// The same room, where what the file lists is revoked, and nothing that an earlier file listed. A login is added after
    /// it, and asks it too.
    pub(crate) fn with_revocations(self, listed: &Arc<RevocationList>) -> Identifier {
        let revocations = self.revocations.listing(listed.clone());
        Identifier {
            revocations,
            ..self
        }
    }

    /// The same room, which hears these transmitters and no others; reads their files and never waits for them. Reports all
    /// faults at once. `previous`: the room before, whose keys are kept where they still hold.
    pub(crate) fn with_transmitters(
        self,
        settings: &[TransmitterSettings],
        previous: Option<&Identifier>,
    ) -> Result<Identifier, Vec<TransmitterFault>> {
        let before = previous.map_or(&[][..], |previous| &previous.transmitters);
        let (mut transmitters, mut faults) = (Vec::new(), Vec::new());
        for one in settings {
            match Transmitter::open(one, &self.surroundings, &self.issuers, before) {
                Ok(transmitter) => transmitters.push(transmitter),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Identifier {
            transmitters,
            ..self
        })
    }

    /// Each transmitter's keys, for readiness and metrics.
    pub(crate) fn transmitters(&self) -> Vec<IssuerStatus> {
        let now = self.surroundings.clock.now();
        let status = |one: &Transmitter| one.source.status(now);
        self.transmitters.iter().map(status).collect()
    }

    /// Whether any transmitter may be heard.
    pub(crate) fn hears_events(&self) -> bool {
        !self.transmitters.is_empty()
    }

    /// Takes a logout token (OpenID Connect Back-Channel Logout 1.0). One that came before is refused, as section 2.6 has it.
    pub(crate) async fn logged_out(&self, token: &[u8]) -> Result<ToldRevocations, Reason> {
        let login = self.login.as_ref().ok_or(Reason::LoginNotOffered)?;
        let now = self.surroundings.clock.now();
        let told = login.logged_out(token, now).await?;
        let told = self.take(told.id, Vec::new(), told.revocations, now)?;
        if told.is_repeated {
            return Err(Reason::RevocationRepeated);
        }
        Ok(told)
    }

    /// Takes a Security Event Token. `shown`: the bearer token of the push. One that came before is told as such, because its
    /// sender may not have heard our answer (RFC 8935 section 2).
    pub(crate) async fn security_event(
        &self,
        token: &[u8],
        shown: Option<&[u8]>,
    ) -> Result<ToldRevocations, Reason> {
        if token.len() > EVENT_TOKEN_LIMIT_BYTES {
            return Err(Reason::TokenTooLarge);
        }
        let now = self.surroundings.clock.now();
        let token = Unproven::parse(token)?;
        let named = token.claims.get("iss").and_then(serde_json::Value::as_str);
        let sender = named.and_then(|named| {
            let mut all = self.transmitters.iter();
            all.find(|one| one.source.is_called(named))
        });
        let sender = sender.ok_or(Reason::TokenIssuerUnknown)?;
        sender.admits(shown)?;
        let told = security_event::judge(sender, self.login.as_ref(), token, now).await?;
        self.take(told.id, told.events, told.revocations, now)
    }

    fn take(
        &self,
        id: PushedId,
        events: Vec<SecurityEvent>,
        revocations: Vec<Revocation>,
        now: UnixMillis,
    ) -> Result<ToldRevocations, Reason> {
        let (key, until) = (id.key(), now.seconds().saturating_add(TOLD_SECONDS));
        let told = |revocations, is_repeated| ToldRevocations {
            sender: id.sender.clone(),
            events,
            revocations,
            is_repeated,
        };
        // One that was pushed out is taken again, so that no flood of messages keeps another's from counting.
        if self.memory.told.knows(&key) {
            return Ok(told(Vec::new(), true));
        }
        let sender = RevocationSender {
            name: &id.sender,
            senders: self.transmitters.len() + usize::from(self.login.is_some()),
        };
        let taken = self.revocations.heard.add(sender, &revocations, now);
        if taken.is_err() {
            self.surroundings.events.report(Event::RevocationsRefused {
                sender: id.sender.clone(),
            });
            return Err(Reason::RevocationsFull);
        }
        // Of two at once both have ended the same, and one is told so.
        let is_first = self.memory.told.add(&key, until, now.seconds());
        Ok(told(revocations, !is_first))
    }

    /// What the file lists that the room before did not have.
    pub(crate) fn revoked_since(&self, before: Option<&Identifier>) -> Vec<Revocation> {
        let none = RevocationList::default();
        let before = before.map_or(&none, |before| before.revocations.listed());
        let listed = self.revocations.listed();
        listed.beyond(before).cloned().collect()
    }

    /// How many revocations count now: of the file, and of what providers told.
    pub(crate) fn revoked(&self) -> (usize, usize) {
        let now = self.surroundings.clock.now();
        let listed = self.revocations.listed().len(now);
        (listed, self.revocations.heard.len(now))
    }

    /// Refuses an identity whose proof was ended. Asked with each call, since a remembered token, a session and a
    /// connection's certificate outlive what ends them.
    pub(super) fn unless_revoked(
        &self,
        identity: Identity,
        now: UnixMillis,
    ) -> Result<Identity, Reason> {
        if self.revocations.is_empty() {
            return Ok(identity);
        }
        let facts = identity.facts();
        let marks = match identity.session() {
            Some(session) => Some(session.marks(facts)),
            None => ProofMarks::of(facts),
        };
        self.revocations
            .judge(marks.as_ref(), facts.certificate.as_deref(), now)?;
        Ok(identity)
    }

    /// The same for facts of which no identity comes, for `explain`: what the file lists is all that is known there.
    pub(crate) fn revoked_for_explain(&self, facts: &Facts) -> Result<(), Reason> {
        let now = self.surroundings.clock.now();
        let marks = ProofMarks::of(facts);
        self.revocations
            .judge(marks.as_ref(), facts.certificate.as_deref(), now)
    }
}
