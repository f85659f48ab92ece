//! Authorities of this room's tests, and what they hand out.
//!
//! What it does: issues certificates good and bad, at every depth, and lists of those that are revoked. What it refuses to
//! know: what the room says of them. Invariant: all times are told from the tests' present.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use super::super::forge::{Folder, NOW, World};
use super::super::{ClientTrust, ClientVerifier};
use crate::accept::{AnchorPlace, ClientAuthority, ClientCertificates, ClientChain};
use crate::apps::Glob;
use crate::clock::UnixMillis;
use crate::reason::Reason;

pub(crate) const WORKLOAD: &str = "spiffe://prod.acme.example/ns/checkout/sa/default";

pub(crate) fn at(second: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(second).unwrap()
}

pub(crate) fn present() -> UnixMillis {
    UnixMillis(NOW * 1000)
}

/// An authority and what it hands out.
pub(crate) struct Authority {
    pub issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (at(NOW - 86_400), at(NOW + 86_400 * 365));
        change(&mut params);
        Authority {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(),
        }
    }

    pub(crate) fn leaf(
        &self,
        serial: u64,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (CertificateDer<'static>, KeyPair) {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.serial_number = Some(SerialNumber::from(serial));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (at(NOW - 3600), at(NOW + 3600));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        (
            params.signed_by(&key, &self.issuer).unwrap().der().clone(),
            key,
        )
    }

    /// An authority beneath this one; what it is called is what it signs as.
    pub(crate) fn beneath(
        &self,
        serial: u64,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Authority {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "beneath");
        params.serial_number = Some(SerialNumber::from(serial));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (at(NOW - 3600), at(NOW + 600));
        change(&mut params);
        let issuer =
            CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.issuer).unwrap();
        Authority { issuer }
    }

    /// An authority that this one and another have certified, and its certificate of the other.
    pub(crate) fn beneath_both(&self, other: &Authority) -> (Authority, CertificateDer<'static>) {
        let shared = self.beneath(1, |_| ());
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "beneath");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (at(NOW - 3600), at(NOW + 600));
        let twin = params
            .signed_by(shared.issuer.key(), &other.issuer)
            .unwrap()
            .der()
            .clone();
        (shared, twin)
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        let certificate: &rcgen::Certificate = self.issuer.as_ref();
        certificate.der().clone()
    }

    pub(crate) fn workload(&self, serial: u64) -> Arc<ClientChain> {
        chain(
            self.leaf(serial, |params| {
                params.subject_alt_names = vec![uri(WORKLOAD)]
            })
            .0,
        )
    }

    pub(crate) fn revoking(&self, serials: &[u64], next_update: i64) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: at(NOW - 60),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: at(NOW - 3600),
            next_update: at(next_update),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    pub(crate) fn trust(&self, list: Option<String>) -> ClientTrust {
        let folder = Folder::new();
        let crl = list.map(|list| folder.write("list.pem", list));
        let ca = folder.write("ca.pem", self.issuer.pem());
        ClientTrust::read(&only(ca, crl), &World::new().surroundings, None).unwrap()
    }
}

/// An authority of the configuration that may speak for the workload's trust domain and for every host.
pub(crate) fn settings(name: &str, file: PathBuf, crl: Option<PathBuf>) -> ClientAuthority {
    let (trust_domains, dns) = (
        vec!["prod.acme.example".to_owned()],
        vec![Glob::parse("**", '.').unwrap()],
    );
    ClientAuthority {
        name: name.to_owned(),
        anchors: AnchorPlace::Pem(file),
        trust_domains,
        dns,
        crl,
        short: false,
    }
}

/// The same, alone at its listener.
pub(crate) fn only(file: PathBuf, crl: Option<PathBuf>) -> ClientCertificates {
    ClientCertificates {
        authorities: vec![settings("prod", file, crl)],
        demand: crate::accept::CertificateDemand::Optional,
    }
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub(crate) fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

pub(crate) fn chain(leaf: CertificateDer<'static>) -> Arc<ClientChain> {
    Arc::new(ClientChain {
        certificates: vec![leaf],
        listener: Arc::from("gateway"),
    })
}

pub(crate) fn said(
    verifier: &ClientVerifier,
    chain: &Arc<ClientChain>,
    now: UnixMillis,
) -> Result<String, &'static str> {
    let facts = verifier
        .holder(chain, now)
        .map_err(Reason::code)?
        .vouched
        .map(|(certificate, _)| certificate)
        .ok_or("unvouched")?;
    Ok(facts
        .spiffe
        .clone()
        .or(facts.dns.first().cloned())
        .unwrap_or(facts.subject.clone()))
}
