//! X.509-SVIDs by the bundles of their trust domains.
//!
//! What it does: lets trust domains vouch for workloads of their own and of others', and changes, hides and spoils their
//! bundles. What it refuses to know: sockets of clients. Invariant: each certificate of these tests is good in itself.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testkit::workload_api::{WorkloadAnswers, WorkloadApi};

use super::super::forge::{Answer, Folder, Loopback, NOW, P256, World};
use super::super::{ClientTrust, ClientVerifier, Identifier};
use super::authority::{Authority, chain, dns, present, said, settings, uri};
use crate::accept::{
    AnchorPlace, BundlePlace, BundleSettings, CertificateDemand, ClientAuthority,
    ClientCertificates, ClientChain,
};
use crate::clock::UnixMillis;
use crate::egress::Egress;

const OURS: &str = "spiffe://prod.acme.example/ns/checkout/sa/otel";
const THEIRS: &str = "spiffe://partner.example/etl";

/// A key of a bundle, as SPIRE writes it.
fn key(authority: &Authority) -> Value {
    P256.jwk_with(json!({"use": "x509-svid", "x5c": [STANDARD.encode(authority.der())]}))
}

fn bundle(keys: Value) -> String {
    json!({"keys": keys, "spiffe_sequence": 7, "spiffe_refresh_hint": 120}).to_string()
}

/// The authority of a trust domain whose bundle is there.
fn of(name: &str, domain: &str, place: BundlePlace) -> ClientAuthority {
    ClientAuthority {
        anchors: AnchorPlace::Bundle(BundleSettings {
            place,
            ca: None,
            egress: Egress::Direct,
        }),
        trust_domains: vec![domain.to_owned()],
        dns: Vec::new(),
        ..settings(name, Default::default(), None)
    }
}

fn clients(authorities: Vec<ClientAuthority>) -> ClientCertificates {
    ClientCertificates {
        authorities,
        demand: CertificateDemand::Optional,
    }
}

fn verifier(world: &World, clients: &ClientCertificates) -> Arc<ClientVerifier> {
    let trust = ClientTrust::read(clients, &world.surroundings, None).unwrap();
    ClientVerifier::new("gateway", trust, world.surroundings.events.clone())
}

fn workload(authority: &Authority, id: &str) -> Arc<ClientChain> {
    let names = vec![uri(id)];
    chain(authority.leaf(1, |leaf| leaf.subject_alt_names = names).0)
}

/// Scenario: two trust domains, each by a bundle in a file, and workloads with IDs of either from either's authority.
/// Guarantees: a chain of one domain's bundle speaks for that domain alone, even where the other's ID is asked for, and for
/// SPIFFE IDs alone; a key for tokens anchors nothing.
#[tokio::test]
async fn each_bundle_speaks_for_its_own_trust_domain() {
    let (world, folder) = (World::new(), Folder::new());
    let one = |name: &str| Authority::new(name, |_| ());
    let (ours, next, theirs, tokens) = (one("ours"), one("next"), one("theirs"), one("tokens"));
    let for_tokens = json!({"use": "jwt-svid", "kid": "t", "x5c": [STANDARD.encode(tokens.der())]});
    let mine = json!([key(&ours), key(&next), P256.jwk_with(for_tokens)]);
    let places = [
        ("mine", "prod.acme.example", bundle(mine)),
        ("partner", "partner.example", bundle(json!([key(&theirs)]))),
    ];
    let authorities = places.map(|(name, domain, text)| {
        let file = BundlePlace::File(folder.write(&format!("{name}.json"), text));
        of(name, domain, file)
    });
    let verifier = verifier(&world, &clients(authorities.into()));
    let named = |name| {
        let names = vec![name];
        chain(ours.leaf(1, |leaf| leaf.subject_alt_names = names).0)
    };
    let by_subject = ours.leaf(1, |leaf| {
        leaf.distinguished_name.push(rcgen::DnType::CommonName, "a");
    });
    let crossed = Err("certificate_out_of_scope");
    let rows = [
        ("ours", workload(&ours, OURS), Ok(OURS)),
        ("ours by the next key", workload(&next, OURS), Ok(OURS)),
        ("theirs", workload(&theirs, THEIRS), Ok(THEIRS)),
        ("theirs by ours", workload(&ours, THEIRS), crossed),
        ("ours by theirs", workload(&theirs, OURS), crossed),
        (
            "another's",
            workload(&ours, "spiffe://a.example/b"),
            crossed,
        ),
        ("a host", named(dns("a.example")), crossed),
        ("a subject", chain(by_subject.0), crossed),
        (
            "by a key for tokens",
            workload(&tokens, OURS),
            Err("certificate_untrusted"),
        ),
    ];
    for (what, chain, expected) in rows {
        let found = said(&verifier, &chain, present());
        assert_eq!(found.as_deref(), expected.as_ref().map(|id| *id), "{what}");
    }
}

/// Guarantees: what is no bundle of certificates is refused whole, and an entry that is none is left out.
#[tokio::test]
async fn a_bundle_is_read_strictly() {
    let (world, folder) = (World::new(), Folder::new());
    let ours = Authority::new("ours", |_| ());
    let leaf = ours.leaf(1, |leaf| leaf.subject_alt_names = vec![uri(OURS)]);
    let der = STANDARD.encode(ours.der());
    let x5c = |x5c: Value| json!({"kty": "EC", "use": "x509-svid", "x5c": x5c});
    let many = vec![key(&ours); 101];
    let rows = [
        ("good", bundle(json!([key(&ours)])), Ok(())),
        (
            "with entries that are none",
            bundle(json!([x5c(json!("AA")), x5c(json!([])), {}, key(&ours)])),
            Ok(()),
        ),
        ("no JSON", "keys".to_owned(), Err("keys_malformed")),
        ("no keys", "{}".to_owned(), Err("keys_malformed")),
        ("a text", bundle(json!(["a"])), Err("keys_malformed")),
        (
            "twice",
            format!("{{\"keys\": [], \"keys\": [{}]}}", key(&ours)),
            Err("keys_malformed"),
        ),
        ("many", bundle(json!(many)), Err("keys_too_many")),
        ("empty", bundle(json!([])), Err("keys_none_usable")),
        (
            "two certificates",
            bundle(json!([x5c(json!([der, der]))])),
            Err("keys_none_usable"),
        ),
        (
            "base64url",
            bundle(json!([x5c(json!(["_-8"]))])),
            Err("keys_none_usable"),
        ),
        (
            "a leaf",
            bundle(json!([x5c(json!([STANDARD.encode(&leaf.0)]))])),
            Err("keys_none_usable"),
        ),
        (
            "for another use",
            bundle(json!([{"use": "sig", "x5c": [der]}])),
            Err("keys_none_usable"),
        ),
    ];
    for (what, text, expected) in rows {
        let place = BundlePlace::File(folder.write("bundle.json", text));
        let only = clients(vec![of("mine", "prod.acme.example", place)]);
        let read = ClientTrust::read(&only, &world.surroundings, None).map(drop);
        let told = read.map_err(|fault| crate::causes::chain(&fault));
        match (told, expected) {
            (Ok(()), Ok(())) => {}
            (Err(told), Err(code)) => assert!(told.ends_with(code), "{what}: {told}"),
            (told, _) => panic!("{what}: {told:?}"),
        }
    }
}

/// Scenario: a bundle at an endpoint comes, has another key, is gone for a day, and comes back; the configuration is read
/// again meanwhile.
/// Guarantees: no chain is refused as the caller's fault while there is no bundle; a key that the bundle lost counts no more on
/// the same connection; a bundle that cannot be read counts for a day; a reload does not fetch anew.
#[tokio::test]
async fn a_bundle_of_an_endpoint_is_kept_in_step() {
    let world = World::new();
    let (old, new) = (Authority::new("old", |_| ()), Authority::new("new", |_| ()));
    let endpoint = Loopback::start(json!([])).await;
    endpoint.answer_with(Answer::json(bundle(json!([key(&old)]))));
    let place = BundlePlace::Url(endpoint.url("/keys"));
    let clients = clients(vec![of("mine", "prod.acme.example", place)]);
    let verifier = verifier(&world, &clients);
    let identifier = || {
        let verifiers = vec![verifier.clone()];
        Identifier::new(&[], verifiers, world.surroundings.clone(), None).unwrap()
    };
    let (by_old, by_new) = (workload(&old, OURS), workload(&new, OURS));
    let unavailable = Err("keys_unavailable");
    assert_eq!(said(&verifier, &by_old, present()), unavailable);
    assert!(!identifier().takes_certificates());
    verifier.settled().await;
    assert_eq!(said(&verifier, &by_old, present()).as_deref(), Ok(OURS));
    assert_eq!(
        said(&verifier, &by_new, present()),
        Err("certificate_untrusted")
    );
    let status = identifier().readiness();
    assert_eq!((&*status[0].issuer, status[0].keys), ("mine", 1));
    assert!(identifier().takes_certificates());

    let again = ClientTrust::read(&clients, &world.surroundings, Some(&verifier)).unwrap();
    assert!(!verifier.replace(again));
    assert_eq!(endpoint.fetched(), 1);

    // As the bundle's hint says.
    endpoint.answer_with(Answer::json(bundle(json!([key(&new)]))));
    pass(121).await;
    while said(&verifier, &by_old, present()).is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        said(&verifier, &by_old, present()),
        Err("certificate_untrusted")
    );
    assert_eq!(said(&verifier, &by_new, present()).as_deref(), Ok(OURS));

    endpoint.answer_with(Answer::json("gone"));
    pass(121).await;
    while identifier().readiness()[0].last_fault.is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(said(&verifier, &by_new, present()).as_deref(), Ok(OURS));
    let later = UnixMillis((NOW + 24 * 3600 + 1) * 1000);
    assert_eq!(said(&verifier, &by_new, later), unavailable);
    world.move_to(later.seconds());
    assert!(!identifier().takes_certificates());
}

/// Lets timers run out, and nothing else wait for them.
async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

/// Scenario: an agent gives the bundles of two trust domains, and workloads come from both and from a third; then one of
/// the domains has another authority, and the agent goes and comes back.
/// Guarantees: a bundle speaks for its own domain alone; a change counts without a reload, on connections that are open; the last
/// counts while the agent is away; a domain of which it has no bundle is our fault.
#[tokio::test]
async fn bundles_of_an_agent_are_kept_in_step() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let one = |name: &str| Authority::new(name, |_| ());
    let (ours, theirs, next) = (one("ours"), one("theirs"), one("next"));
    let gives = |mine: &Authority, partners: &Authority| WorkloadAnswers {
        federated: vec![
            ("prod.acme.example".to_owned(), mine.der().to_vec()),
            ("partner.example".to_owned(), partners.der().to_vec()),
        ],
        ..WorkloadAnswers::default()
    };
    let agent = WorkloadApi::start(&socket, gives(&ours, &theirs)).unwrap();
    let domains = [
        ("mine", "prod.acme.example"),
        ("partner", "partner.example"),
        ("none", "third.example"),
    ];
    let authorities =
        domains.map(|(name, domain)| of(name, domain, BundlePlace::WorkloadApi(socket.clone())));
    let verifier = verifier(&world, &clients(authorities.into()));
    verifier.settled().await;
    let unavailable = Err("keys_unavailable");
    let (mine, partners) = (workload(&ours, OURS), workload(&theirs, THEIRS));
    let (crossed, renewed) = (workload(&theirs, OURS), workload(&next, THEIRS));
    assert_eq!(said(&verifier, &mine, present()).as_deref(), Ok(OURS));
    assert_eq!(said(&verifier, &partners, present()).as_deref(), Ok(THEIRS));
    // The third domain's authority could be the one that vouches for these.
    assert_eq!(said(&verifier, &crossed, present()), unavailable);
    assert_eq!(said(&verifier, &renewed, present()), unavailable);

    agent.say(gives(&ours, &next));
    while said(&verifier, &renewed, present()).is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(said(&verifier, &partners, present()), unavailable);
    drop(agent);
    let failing = |verifier: &ClientVerifier| {
        let states = verifier.bundles(present());
        states.iter().all(|state| state.last_fault.is_some())
    };
    while !failing(&verifier) {
        tokio::task::yield_now().await;
    }
    assert_eq!(said(&verifier, &renewed, present()).as_deref(), Ok(THEIRS));
    let _agent = WorkloadApi::start(&socket, gives(&next, &theirs)).unwrap();
    while said(&verifier, &partners, present()).is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(said(&verifier, &mine, present()), unavailable);
}
