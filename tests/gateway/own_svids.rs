//! The gateway's own certificate out of a SPIFFE agent, behind a listener that serves. What it refuses to know: what an agent may
//! say; the module's own tests know.

use http::Method;
use lightkeeper::clock::Clock;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;
use testkit::certificates::San;
use testkit::workload_api::{WorkloadAnswers, WorkloadApi};
use testkit::{Authority, LeafPlan, SampleCaller, World, server};

use super::stage::{self, eventually};
use crate::folder::Folder;

const ID: &str = "spiffe://prod.acme.example/gateway";
const WHOAMI: &str = "/.lightkeeper/whoami";

fn authority(name: &str) -> Authority {
    Authority::new(name, &Clock::system()).unwrap()
}

/// What an agent gives that has a certificate of this authority for the gateway.
fn by(authority: &Authority) -> WorkloadAnswers {
    let mut plan = LeafPlan::server();
    plan.names.push(San::Uri(ID.to_owned()));
    let leaf = authority.issue(&plan).unwrap();
    let der = |pem: &str| server::certificates(pem).unwrap()[0].to_vec();
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    WorkloadAnswers {
        svids: vec![[
            ID.into(),
            der(&leaf.certificate),
            key.secret_der().to_vec(),
            der(&authority.certificate()),
        ]],
        ..WorkloadAnswers::default()
    }
}

/// A caller that trusts this authority alone.
fn trusting(world: &World, authority: &Authority) -> SampleCaller {
    SampleCaller::new(&world.url()).trusting(&authority.certificate())
}

async fn shows(world: &World, authority: &Authority) {
    eventually("a handshake by this authority", || async {
        let caller = trusting(world, authority);
        caller.get(WHOAMI).await.is_ok().then_some(())
    })
    .await;
}

fn events(world: &World, name: &str) -> Vec<Value> {
    let records = world.records().into_iter();
    records.filter(|record| record["event"] == name).collect()
}

/// Scenario: an agent gives the listener's certificate, then another while a connection is open, goes, and is back with a third.
/// Guarantees: each handshake shows the last certificate that came, without a reload; connections go on; while the agent
/// is away the last one serves; its loss and its return are told once in the trail, in the metrics and by `/readyz`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_certificate_is_renewed_behind_a_listener() {
    let folder = Folder::new();
    let socket = folder.join("agent.sock");
    let (one, two, three) = (authority("one"), authority("two"), authority("three"));
    let agent = WorkloadApi::start(&socket, by(&one)).unwrap();
    let place = format!("      workload_api: \"unix://{}\"\n", socket.display());
    let world = stage::start(stage::plan(&[(
        "      certificate: certs/server.pem\n      key: certs/server.key\n",
        &place,
    )]))
    .await;
    shows(&world, &one).await;
    let mut lines = Vec::new();
    for caller in [trusting(&world, &one), trusting(&world, &one).http2()] {
        lines.push(caller.connect().await.unwrap());
    }

    agent.say(by(&two));
    shows(&world, &two).await;
    assert!(trusting(&world, &one).get(WHOAMI).await.is_err());
    for line in &mut lines {
        let answer = line.send(Method::GET, WHOAMI, &[], Vec::new()).await;
        assert_eq!(answer.unwrap().status, 401);
    }
    assert_eq!(events(&world, "source_lost"), [] as [Value; 0]);

    drop(agent);
    let lost = stage::event(&world, "source_lost").await;
    let told = format!(
        "certificate of ours from `{}`: workload_api_unreachable",
        socket.display()
    );
    assert_eq!(
        (lost["reason"].as_str(), lost["detail"].as_str()),
        (Some("source_silent"), Some(&*told))
    );
    shows(&world, &two).await;
    assert_eq!(stage::admin(&world, "/readyz").await.0, 200);

    let _agent = WorkloadApi::start(&socket, by(&three)).unwrap();
    shows(&world, &three).await;
    let back = stage::event(&world, "source_returned").await;
    assert_eq!(back["reason"], "source_answers");
    for name in ["source_lost", "source_returned"] {
        let counted = format!("lightkeeper_events_total{{event=\"{name}\"}}");
        stage::counts(&world, &counted, 1.0).await;
        assert_eq!(events(&world, name).len(), 1);
    }
    for line in &mut lines {
        let answer = line.send(Method::GET, WHOAMI, &[], Vec::new()).await;
        assert_eq!(answer.unwrap().status, 401);
    }
}

/// Scenario: the agent has nothing for this process when the gateway starts, and is given something later.
/// Guarantees: no handshake succeeds and the gateway is not ready, which says why, until the certificate comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_without_a_certificate_waits_for_one() {
    let folder = Folder::new();
    let socket = folder.join("agent.sock");
    let nothing = WorkloadAnswers {
        status: Some(7),
        ..WorkloadAnswers::default()
    };
    let agent = WorkloadApi::start(&socket, nothing).unwrap();
    let place = format!("      workload_api: \"unix://{}\"\n", socket.display());
    let world = stage::start(stage::plan(&[(
        "      certificate: certs/server.pem\n      key: certs/server.key\n",
        &place,
    )]))
    .await;
    let lost = stage::event(&world, "source_lost").await;
    let detail = lost["detail"].as_str().unwrap();
    assert!(detail.ends_with("workload_api_no_identity"), "{detail}");
    let (status, told) = stage::admin(&world, "/readyz").await;
    assert_eq!(status, 503, "{told}");
    assert!(told.contains("workload_api_no_identity"), "{told}");
    let one = authority("one");
    assert!(trusting(&world, &one).get(WHOAMI).await.is_err());
    agent.say(by(&one));
    shows(&world, &one).await;
    stage::event(&world, "source_returned").await;
    assert_eq!(stage::admin(&world, "/readyz").await.0, 200);
}
