//! Scenario: an agent of the Workload API that turns hostile while the gateway lives by it: noise, lies about lengths,
//! compression, too much, nothing, and answers without end. Guarantees: the last good certificate and the last good keys
//! serve on; others' calls are answered; memory stays bounded; what is good again counts again.

use std::time::Duration;

use lightkeeper::clock::Clock;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use testkit::certificates::San;
use testkit::workload_api::{WorkloadAnswers, WorkloadApi};
use testkit::{Authority, LeafPlan, SampleCaller, WorldPlan, server};

use super::ground::{Ground, eventually};

const SOON: Duration = Duration::from_secs(20);
const ID: &str = "spiffe://prod.acme.example/gateway";

/// A certificate of this process, and a trust domain's keys.
fn good(authority: &Authority) -> WorkloadAnswers {
    let mut plan = LeafPlan::server();
    plan.names.push(San::Uri(ID.to_owned()));
    let leaf = authority.issue(&plan).unwrap();
    let der = |pem: &str| server::certificates(pem).unwrap()[0].to_vec();
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    let own = der(&authority.certificate());
    WorkloadAnswers {
        svids: vec![[
            ID.into(),
            der(&leaf.certificate),
            key.secret_der().to_vec(),
            own,
        ]],
        ..WorkloadAnswers::default()
    }
}

fn hostile() -> Vec<(&'static str, WorkloadAnswers)> {
    let raw = |raw: &[u8]| WorkloadAnswers {
        raw: Some(raw.to_vec()),
        ..WorkloadAnswers::default()
    };
    let frame = |frame: &[u8]| WorkloadAnswers {
        frame: Some(frame.to_vec()),
        ..WorkloadAnswers::default()
    };
    let status = |status| WorkloadAnswers {
        status: Some(status),
        ..WorkloadAnswers::default()
    };
    let endless = |answers| WorkloadAnswers {
        endless: true,
        ..answers
    };
    vec![
        ("noise", raw(&[0xff; 512])),
        ("a field cut short", raw(&[0x0a, 0x7f, 0])),
        ("four gigabytes", frame(&[0, 0xff, 0xff, 0xff, 0xff, 10])),
        ("compressed", frame(&[1, 0, 0, 0, 0])),
        ("five megabytes", raw(&vec![0; 5 << 20])),
        ("no identity", status(7)),
        ("an unknown status", status(99)),
        ("noise without end", endless(raw(&[0xff; 512]))),
        ("no one's certificate", raw(&[0x0a, 0])),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_agent_takes_nothing_that_was_good() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let authority = Authority::new("agent", &Clock::system()).unwrap();
    let agent = WorkloadApi::start(&socket, good(&authority)).unwrap();
    let mut plan = WorldPlan::default();
    let place = format!("      workload_api: \"unix://{}\"\n", socket.display());
    let files = "      certificate: certs/server.pem\n      key: certs/server.key\n";
    assert!(plan.config.contains(files));
    plan.config = plan.config.replace(files, &place);
    let mut ground = Ground::plan(plan).await;
    let url = ground.world.url();
    let by = |authority: &Authority| SampleCaller::new(&url).trusting(&authority.certificate());
    let shown = |caller: SampleCaller| async move {
        let mut look = tokio::time::interval(Duration::from_millis(5));
        let shown = async {
            while caller.get("/.lightkeeper/whoami").await.is_err() {
                look.tick().await;
            }
        };
        tokio::time::timeout(SOON, shown).await.unwrap();
    };
    shown(by(&authority)).await;
    let mut last = authority;
    for (what, answers) in hostile() {
        let before = agent.streams();
        agent.say(answers);
        // It is asked again: the answer was heard, and refused.
        eventually(what, SOON, || agent.streams() > before).await;
        assert!(
            by(&last).get("/.lightkeeper/whoami").await.is_ok(),
            "{what}"
        );
        ground.alive().await;
        let next = Authority::new(what, &Clock::system()).unwrap();
        agent.say(good(&next));
        shown(by(&next)).await;
        last = next;
    }
    ground.nothing_upstream("agents");
    // The pace at which the gateway takes it bounds what an endless agent can send.
    assert!(agent.sent_bytes() < 64 << 20, "{}", agent.sent_bytes());
}
