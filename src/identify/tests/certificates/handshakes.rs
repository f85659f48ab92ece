//! Trust in handshakes, and trust that cannot be read. What it refuses to know: sockets; handshakes run in memory.

use super::*;

/// Both ends of a handshake in memory; the server's view of it.
fn handshake(
    verifier: &Arc<ClientVerifier>,
    client: Option<(CertificateDer<'static>, KeyPair)>,
) -> bool {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let own = rcgen::generate_simple_self_signed(["gateway.example".to_owned()]).unwrap();
    let key = |pair: &KeyPair| PrivateKeyDer::try_from(pair.serialize_der()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.clone())
        .with_single_cert(vec![own.cert.der().clone()], key(&own.signing_key))
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match client {
        Some((leaf, pair)) => builder
            .with_client_auth_cert(vec![leaf], key(&pair))
            .unwrap(),
        None => builder.with_no_client_auth(),
    };
    let name = ServerName::try_from("gateway.example").unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut server = rustls::ServerConnection::new(Arc::new(server)).unwrap();
    for _ in 0..4 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut incoming = wire.as_slice();
        while !incoming.is_empty() {
            server.read_tls(&mut incoming).unwrap();
            if server.process_new_packets().is_err() {
                return false;
            }
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut incoming = wire.as_slice();
        while !incoming.is_empty() {
            client.read_tls(&mut incoming).unwrap();
            if client.process_new_packets().is_err() {
                return false;
            }
        }
    }
    !server.is_handshaking()
}

/// The library asks the machine's clock in a handshake, so these certificates are valid for very long.
#[tokio::test]
async fn handshakes_follow_the_present_trust_and_failures_are_told() {
    let world = World::new();
    let lasting = |params: &mut CertificateParams| {
        (params.not_before, params.not_after) = (at(0), at(4_000_000_000))
    };
    let authority = Authority::new("acme", lasting);
    let verifier = ClientVerifier::new(
        "gateway",
        authority.trust(None),
        world.surroundings.events.clone(),
    );
    let leaf = |authority: &Authority, serial| {
        authority.leaf(serial, |params| {
            lasting(params);
            params.subject_alt_names = vec![uri(WORKLOAD)];
        })
    };
    assert!(handshake(&verifier, Some(leaf(&authority, 1))));
    assert!(handshake(&verifier, None), "optional");
    assert!(!handshake(
        &verifier,
        Some(leaf(&Authority::new("evil", lasting), 1))
    ));

    let list = {
        let params = CertificateRevocationListParams {
            this_update: at(1),
            next_update: at(4_000_000_000),
            crl_number: SerialNumber::from(2_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(1_u64),
                revocation_time: at(1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&authority.issuer).unwrap().pem().unwrap()
    };
    let folder = Folder::new();
    let ca = folder.write("ca.pem", authority.issuer.pem());
    let settings = ClientCertificates {
        demand: crate::accept::CertificateDemand::Required,
        ..only(ca, Some(folder.write("list.pem", list)))
    };
    assert!(
        verifier.replace(ClientTrust::read(&settings, &World::new().surroundings, None).unwrap())
    );
    assert!(!handshake(&verifier, Some(leaf(&authority, 1))), "revoked");
    assert!(handshake(&verifier, Some(leaf(&authority, 2))));
    assert!(!handshake(&verifier, None), "required now");
    let any = ClientCertificates {
        demand: crate::accept::CertificateDemand::Any,
        ..settings.clone()
    };
    assert!(verifier.replace(ClientTrust::read(&any, &World::new().surroundings, None).unwrap()));
    let stranger = Authority::new("evil", lasting);
    assert!(handshake(&verifier, Some(leaf(&stranger, 1))), "any");
    assert!(handshake(&verifier, Some(leaf(&authority, 2))) && handshake(&verifier, None));
    assert!(
        !handshake(&verifier, Some(leaf(&authority, 1))),
        "revoked, and ours"
    );
    let alone = ClientCertificates {
        authorities: Vec::new(),
        ..any
    };
    assert!(verifier.replace(ClientTrust::read(&alone, &World::new().surroundings, None).unwrap()));
    assert!(
        handshake(&verifier, Some(leaf(&stranger, 1))),
        "any, of no authority"
    );

    let refused = |event: &Event| match event {
        Event::ClientCertificateRefused { listener, reason } => {
            Some((listener.to_string(), reason.code()))
        }
        _ => None,
    };
    let told: Vec<_> = world
        .events
        .lock()
        .unwrap()
        .iter()
        .filter_map(refused)
        .collect();
    let expected = [
        "certificate_untrusted",
        "certificate_revoked",
        "certificate_revoked",
    ]
    .map(|reason| ("gateway".to_owned(), reason));
    assert_eq!(told, expected);
    assert_eq!(
        format!("{verifier:?}"),
        r#"ClientVerifier { listener: "gateway", .. }"#,
        "what may be logged of it"
    );
}

#[tokio::test]
async fn trust_that_cannot_be_read_is_told_with_its_file() {
    let folder = Folder::new();
    let good = folder.write("ca.pem", Authority::new("acme", |_| ()).issuer.pem());
    let leaf = folder.write(
        "leaf.pem",
        Authority::new("leaf", |params| params.is_ca = IsCa::ExplicitNoCa)
            .issuer
            .pem(),
    );
    let mute = Authority::new("mute", |params| {
        params.key_usages = vec![KeyUsagePurpose::CrlSign]
    });
    let mute = folder.write("mute.pem", mute.issuer.pem());
    let empty = folder.write("empty.pem", "");
    let broken = folder.write(
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let broken_list = folder.write(
        "broken-list.pem",
        "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
    );
    for (ca, crl, part) in [
        (
            folder.join("nowhere.pem"),
            None,
            "nowhere.pem` cannot be read",
        ),
        (empty.clone(), None, "empty.pem` holds no certificate"),
        (
            broken,
            None,
            "broken.pem` holds an authority that cannot be used",
        ),
        (
            leaf,
            None,
            "leaf.pem` holds an authority that cannot be used: its basic constraints do not say",
        ),
        (
            mute,
            None,
            "mute.pem` holds an authority that cannot be used: its key usage does not allow",
        ),
        (
            good.clone(),
            Some(empty),
            "empty.pem` holds no revocation list",
        ),
        (
            good.clone(),
            Some(broken_list),
            "broken-list.pem` holds a revocation list that cannot be read",
        ),
    ] {
        let fault = causes::chain(
            &ClientTrust::read(&only(ca, crl), &World::new().surroundings, None)
                .err()
                .unwrap(),
        );
        assert!(fault.contains(part), "{fault}");
    }
}
