//! Development certificates: an authority, a server, clients good and bad, and a revocation list.
//!
//! What it does: makes them in memory for tests and writes a folder of them for `lightkeeper certs`.
//! What it refuses to know: who will trust them. Invariants: client leaves keep the rules for X.509-SVIDs
//! (one URI SAN, critical key usage with `digitalSignature`, `clientAuth`, not an authority; SPIFFE
//! X509-SVID sections 4 and 5); key files are made readable by their owner alone; nothing existing is
//! overwritten unless that was asked for.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevocationReason, RevokedCertParams, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use super::server::ServerTls;
use lightkeeper::clock::Clock;

/// The identity of the sample collector.
pub const COLLECTOR_SPIFFE_ID: &str = "spiffe://prod.acme.example/ns/checkout/sa/collector";
/// The identity of the sample client whose certificate is revoked.
pub const REVOKED_SPIFFE_ID: &str = "spiffe://prod.acme.example/ns/checkout/sa/retired";
/// The name of the sample client without a SPIFFE ID.
pub const CLIENT_DNS_NAME: &str = "batch.acme.example";

/// A certificate authority that issues leaves directly.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    now: OffsetDateTime,
    serial: AtomicU64,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Leaf {
    pub certificate: String,
    pub key: String,
    serial: u64,
}

impl Leaf {
    /// Reads `{name}.pem` and `{name}.key` of a folder that `write_certificates` wrote.
    pub fn read(folder: &Path, name: &str) -> Result<Self, String> {
        let text = |ending: &str| {
            let path = folder.join(format!("{name}.{ending}"));
            std::fs::read_to_string(&path)
                .map_err(|error| format!("`{}` cannot be read: {error}", path.display()))
        };
        // The serial number matters to the authority that revokes it, which is not here.
        Ok(Leaf {
            certificate: text("pem")?,
            key: text("key")?,
            serial: 0,
        })
    }

    /// What a revocation names it by: its serial number, with colons, and the SHA-256 of its public key in hexadecimal.
    pub fn marks(&self) -> Result<(String, String), String> {
        let unread = |error: &dyn std::fmt::Display| format!("the certificate: {error}");
        let (_, pem) = x509_parser::pem::parse_x509_pem(self.certificate.as_bytes())
            .map_err(|error| unread(&error))?;
        let parsed = pem.parse_x509().map_err(|error| unread(&error))?;
        let key = aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            parsed.tbs_certificate.subject_pki.raw,
        );
        let key = key.as_ref().iter().map(|byte| format!("{byte:02x}"));
        Ok((parsed.raw_serial_as_string(), key.collect()))
    }
}

/// A name in a certificate.
#[derive(Clone, Debug)]
pub enum San {
    Uri(String),
    Dns(String),
    Ip(IpAddr),
    Email(String),
}

/// What a leaf says. Change a good one to get a bad one.
#[derive(Clone, Debug)]
pub struct LeafPlan {
    pub common_name: Option<String>,
    pub names: Vec<San>,
    pub server: bool,
    pub client: bool,
    /// Marks it as an authority with `keyCertSign`, which no leaf may be.
    pub authority: bool,
    /// Leaves `digitalSignature` out.
    pub without_signature_usage: bool,
    /// Days from now, negative: in the past.
    pub from_days: i64,
    pub until_days: i64,
}

impl LeafPlan {
    fn new(common_name: &str, names: Vec<San>) -> Self {
        LeafPlan {
            common_name: Some(common_name.to_owned()),
            names,
            server: false,
            client: false,
            authority: false,
            without_signature_usage: false,
            from_days: -1,
            until_days: 365,
        }
    }

    /// A client with these names.
    pub fn client(common_name: &str, names: Vec<San>) -> Self {
        LeafPlan {
            client: true,
            ..Self::new(common_name, names)
        }
    }

    /// A workload with this SPIFFE ID.
    pub fn spiffe(id: &str) -> Self {
        let last = id.rsplit('/').next().unwrap_or_default();
        Self::client(last, vec![San::Uri(id.to_owned())])
    }

    /// A server on this machine.
    pub fn server() -> Self {
        let names = vec![
            San::Dns("localhost".to_owned()),
            San::Ip(Ipv4Addr::LOCALHOST.into()),
            San::Ip(Ipv6Addr::LOCALHOST.into()),
        ];
        LeafPlan {
            server: true,
            ..Self::new("localhost", names)
        }
    }
}

impl Authority {
    /// A new self-signed authority, valid from yesterday for five years.
    pub fn new(name: &str, clock: &Clock) -> Result<Self, String> {
        let now = OffsetDateTime::from_unix_timestamp(clock.now().seconds())
            .map_err(|error| error.to_string())?;
        let mut params = params(Some(name), now, -1, 5 * 365);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(failed)?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(failed)?;
        Ok(Authority {
            issuer,
            now,
            serial: AtomicU64::new(1),
        })
    }

    /// Its own certificate, in PEM.
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// Its key, in PEM.
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Issues a leaf with a fresh P-256 key.
    pub fn issue(&self, plan: &LeafPlan) -> Result<Leaf, String> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
        let mut params = params(
            plan.common_name.as_deref(),
            self.now,
            plan.from_days,
            plan.until_days,
        );
        params.serial_number = Some(SerialNumber::from(serial));
        params.use_authority_key_identifier_extension = true;
        params.is_ca = if plan.authority {
            IsCa::Ca(BasicConstraints::Unconstrained)
        } else {
            IsCa::ExplicitNoCa
        };
        if !plan.without_signature_usage {
            params.key_usages.push(KeyUsagePurpose::DigitalSignature);
        }
        if plan.authority {
            params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        }
        if plan.server {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        if plan.client {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        for name in &plan.names {
            params.subject_alt_names.push(match name {
                San::Uri(uri) => SanType::URI(uri.as_str().try_into().map_err(failed)?),
                San::Dns(dns) => SanType::DnsName(dns.as_str().try_into().map_err(failed)?),
                San::Email(email) => {
                    SanType::Rfc822Name(email.as_str().try_into().map_err(failed)?)
                }
                San::Ip(address) => SanType::IpAddress(*address),
            });
        }
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(Leaf {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            serial,
        })
    }

    /// A leaf for a server on this machine: localhost, 127.0.0.1, ::1.
    pub fn server(&self) -> Result<Leaf, String> {
        self.issue(&LeafPlan::server())
    }

    /// A workload's leaf.
    pub fn spiffe(&self, id: &str) -> Result<Leaf, String> {
        self.issue(&LeafPlan::spiffe(id))
    }

    /// A revocation list (PEM) of these leaves, due again in a year.
    pub fn revocation_list(&self, revoked: &[&Leaf]) -> Result<String, String> {
        self.revocation_list_until(revoked, 365)
    }

    /// The same, due again in so many days; negative: overdue.
    pub fn revocation_list_until(&self, revoked: &[&Leaf], days: i64) -> Result<String, String> {
        let this_update = self.now + Duration::days(days.min(0)) - Duration::days(1);
        let entry = |leaf: &&Leaf| RevokedCertParams {
            serial_number: SerialNumber::from(leaf.serial),
            revocation_time: this_update,
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update,
            next_update: self.now + Duration::days(days),
            crl_number: SerialNumber::from(self.serial.load(Ordering::Relaxed)),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params
            .signed_by(&self.issuer)
            .and_then(|list| list.pem())
            .map_err(failed)
    }
}

fn params(
    common_name: Option<&str>,
    now: OffsetDateTime,
    from_days: i64,
    until_days: i64,
) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(name) = common_name {
        params
            .distinguished_name
            .push(DnType::OrganizationName, "acme");
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params.not_before = now + Duration::days(from_days);
    params.not_after = now + Duration::days(until_days);
    params
}

fn failed(error: rcgen::Error) -> String {
    format!("the certificate cannot be made: {error}")
}

/// All development certificates, in memory.
pub struct DevelopmentCertificates {
    pub authority: Authority,
    pub server: Leaf,
    /// `COLLECTOR_SPIFFE_ID`.
    pub collector: Leaf,
    /// `CLIENT_DNS_NAME`.
    pub client: Leaf,
    /// `REVOKED_SPIFFE_ID`; good but for the list.
    pub revoked: Leaf,
    /// Names `revoked`, in PEM.
    pub revocation_list: String,
    pub untrusted_authority: Authority,
    /// Claims `COLLECTOR_SPIFFE_ID`, but its authority is not ours.
    pub untrusted_client: Leaf,
}

impl DevelopmentCertificates {
    pub fn new(clock: &Clock) -> Result<Self, String> {
        let authority = Authority::new("acme development authority", clock)?;
        let untrusted_authority = Authority::new("a stranger's authority", clock)?;
        let revoked = authority.spiffe(REVOKED_SPIFFE_ID)?;
        let dns = vec![San::Dns(CLIENT_DNS_NAME.to_owned())];
        Ok(DevelopmentCertificates {
            server: authority.server()?,
            collector: authority.spiffe(COLLECTOR_SPIFFE_ID)?,
            client: authority.issue(&LeafPlan::client(CLIENT_DNS_NAME, dns))?,
            revocation_list: authority.revocation_list(&[&revoked])?,
            revoked,
            untrusted_client: untrusted_authority.spiffe(COLLECTOR_SPIFFE_ID)?,
            authority,
            untrusted_authority,
        })
    }

    /// A server's TLS with the server leaf; `mutual`: clients must show a leaf of our authority.
    pub fn server_tls(&self, mutual: bool) -> ServerTls {
        ServerTls {
            certificates: self.server.certificate.clone(),
            key: self.server.key.clone(),
            client_ca: mutual.then(|| self.authority.certificate()),
        }
    }

    /// The files and their contents.
    fn files(&self) -> Vec<(&'static str, String)> {
        vec![
            ("ca.pem", self.authority.certificate()),
            ("ca.key", self.authority.key()),
            ("server.pem", self.server.certificate.clone()),
            ("server.key", self.server.key.clone()),
            ("collector.pem", self.collector.certificate.clone()),
            ("collector.key", self.collector.key.clone()),
            ("client.pem", self.client.certificate.clone()),
            ("client.key", self.client.key.clone()),
            ("revoked.pem", self.revoked.certificate.clone()),
            ("revoked.key", self.revoked.key.clone()),
            ("clients.crl", self.revocation_list.clone()),
            ("untrusted-ca.pem", self.untrusted_authority.certificate()),
            (
                "untrusted-client.pem",
                self.untrusted_client.certificate.clone(),
            ),
            ("untrusted-client.key", self.untrusted_client.key.clone()),
        ]
    }
}

/// Writes the development certificates into a folder, which is made if it is not there, and returns the
/// files. Without `force`, one file that exists already keeps all from being written.
pub fn write_certificates(
    folder: &Path,
    force: bool,
    clock: &Clock,
) -> Result<Vec<PathBuf>, String> {
    let certificates = DevelopmentCertificates::new(clock)?;
    let files: Vec<(PathBuf, String)> = certificates
        .files()
        .into_iter()
        .map(|(name, text)| (folder.join(name), text))
        .collect();
    // `symlink_metadata`: a dangling link is something that exists, too.
    if let Some((path, _)) = files
        .iter()
        .find(|(path, _)| !force && path.symlink_metadata().is_ok())
    {
        return Err(format!("`{}` exists already", path.display()));
    }
    std::fs::create_dir_all(folder)
        .map_err(|error| format!("`{}` cannot be made: {error}", folder.display()))?;
    for (path, text) in &files {
        write(path, text, force)
            .map_err(|error| format!("`{}` cannot be written: {error}", path.display()))?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

fn write(path: &Path, text: &str, force: bool) -> std::io::Result<()> {
    if force && path.symlink_metadata().is_ok() {
        // Removed, not truncated: an old key file's wider mode must not pass to the new key.
        std::fs::remove_file(path)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        let secret = path.extension().is_some_and(|extension| extension == "key");
        options.mode(if secret { 0o600 } else { 0o644 });
    }
    options.open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::prelude::*;

    #[test]
    fn a_client_leaf_keeps_the_rules_for_x509_svids() {
        let certificates = DevelopmentCertificates::new(&Clock::system()).unwrap();
        let (_, pem) = parse_x509_pem(certificates.collector.certificate.as_bytes()).unwrap();
        let leaf = pem.parse_x509().unwrap();
        assert!(!leaf.is_ca());
        let usage = leaf.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.digital_signature());
        assert!(!usage.value.key_cert_sign() && !usage.value.crl_sign());
        assert!(
            leaf.extended_key_usage()
                .unwrap()
                .unwrap()
                .value
                .client_auth
        );
        let names = &leaf
            .subject_alternative_name()
            .unwrap()
            .unwrap()
            .value
            .general_names;
        assert_eq!(names[..], [GeneralName::URI(COLLECTOR_SPIFFE_ID)]);
    }

    #[test]
    fn the_list_names_the_revoked_leaf_alone() {
        let certificates = DevelopmentCertificates::new(&Clock::system()).unwrap();
        let (_, list) = parse_x509_pem(certificates.revocation_list.as_bytes()).unwrap();
        let (_, list) = parse_x509_crl(&list.contents).unwrap();
        let (_, revoked) = parse_x509_pem(certificates.revoked.certificate.as_bytes()).unwrap();
        let serials: Vec<_> = list
            .iter_revoked_certificates()
            .map(|entry| entry.raw_serial().to_vec())
            .collect();
        assert_eq!(
            serials,
            [revoked.parse_x509().unwrap().raw_serial().to_vec()]
        );
    }

    /// Scenario: the folder is written, written again, and written again by force.
    /// Guarantees: keys are private, and nothing is lost without being asked for.
    #[cfg(unix)]
    #[test]
    fn files_are_private_and_not_overwritten_unasked() {
        use std::os::unix::fs::PermissionsExt as _;
        let own = tempfile::tempdir().unwrap();
        let folder = own.path().join("certs");
        let files = write_certificates(&folder, false, &Clock::system()).unwrap();
        for path in &files {
            let mode = path.metadata().unwrap().permissions().mode() & 0o777;
            let expected = if path.extension().unwrap() == "key" {
                0o600
            } else {
                0o644
            };
            assert_eq!(mode & expected, mode, "{}", path.display());
        }
        let first = std::fs::read(folder.join("ca.pem")).unwrap();
        assert!(
            write_certificates(&folder, false, &Clock::system())
                .unwrap_err()
                .ends_with("exists already")
        );
        assert_eq!(std::fs::read(folder.join("ca.pem")).unwrap(), first);
        std::fs::set_permissions(
            folder.join("ca.key"),
            std::fs::Permissions::from_mode(0o644),
        )
        .unwrap();
        write_certificates(&folder, true, &Clock::system()).unwrap();
        assert_ne!(std::fs::read(folder.join("ca.pem")).unwrap(), first);
        assert_eq!(
            folder
                .join("ca.key")
                .metadata()
                .unwrap()
                .permissions()
                .mode()
                & 0o777,
            0o600
        );
    }
}
