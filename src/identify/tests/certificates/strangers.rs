//! Certificates of no authority, and those that are made to look so. What it refuses to know: sockets.

use rustls::server::danger::ClientCertVerifier as _;
use rustls_pki_types::UnixTime;

use super::*;

/// Scenario: a listener takes certificates of no authority; a certificate of ours is revoked, and its holder sends it without
/// the certificate above it, or with so many of its own making that no path is looked for to the end. Guarantees: it is
/// refused as revoked each time, and one that no list names is worth its key.
#[tokio::test]
async fn a_revoked_certificate_is_not_taken_as_one_of_no_authority() {
    let world = World::new();
    let (above, folder) = (Authority::new("acme", |_| ()), Folder::new());
    let beneath = above.beneath(1, |_| ());
    let leaf = |authority: &Authority, serial| {
        let named = authority.leaf(serial, |leaf| leaf.subject_alt_names = vec![uri(WORKLOAD)]);
        named.0
    };
    let lists = [&above, &beneath].map(|authority| authority.revoking(&[7], NOW + 600));
    let settings = ClientCertificates {
        demand: crate::accept::CertificateDemand::Any,
        ..only(
            folder.write("ca.pem", above.issuer.pem()),
            Some(folder.write("lists.pem", lists.concat())),
        )
    };
    let trust = ClientTrust::read(&settings, &world.surroundings, None).unwrap();
    let verifier = ClientVerifier::new("gateway", trust, world.surroundings.events.clone());
    // Each signs the next: there are far more paths than a path builder looks at.
    let twins: Vec<_> = (0..12)
        .map(|_| Authority::new("acme", |_| ()).der())
        .collect();
    let with = |leaf: CertificateDer<'static>, others: &[CertificateDer<'static>]| {
        let certificates = std::iter::once(leaf).chain(others.iter().cloned());
        Arc::new(ClientChain {
            certificates: certificates.collect(),
            listener: Arc::from("gateway"),
        })
    };
    let revoked = Err(Reason::CertificateRevoked);
    for (what, chain, expected) in [
        (
            "of ours",
            with(leaf(&beneath, 2), &[beneath.der()]),
            Ok(true),
        ),
        (
            "revoked",
            with(leaf(&beneath, 7), &[beneath.der()]),
            revoked,
        ),
        ("revoked, alone", with(leaf(&beneath, 7), &[]), revoked),
        (
            "revoked, among many",
            with(leaf(&above, 7), &twins),
            revoked,
        ),
        ("alone", with(leaf(&beneath, 2), &[]), Ok(false)),
        (
            "another's of that number",
            with(leaf(&Authority::new("evil", |_| ()), 7), &[]),
            Ok(false),
        ),
    ] {
        let holder = verifier.holder(&chain, present());
        let is_vouched = holder.map(|holder| holder.vouched.is_some());
        assert_eq!(is_vouched, expected, "{what}");
        let (leaf, others) = chain.certificates.split_first().unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW.unsigned_abs()));
        let handshake = verifier.verify_client_cert(leaf, others, now);
        assert_eq!(handshake.is_ok(), expected.is_ok(), "{what}");
    }
}
