//! A socket of the Workload API that answers well, badly, again, and not at all.
//!
//! What it does: lets an agent come, change, refuse, lie and go. What it refuses to know: who uses what it gives. Invariant:
//! waiting is for what a feed tells.

use std::path::PathBuf;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use testkit::workload_api::{WorkloadAnswers, WorkloadApi};
use time::OffsetDateTime;

use super::{JwtBundles, WorkloadFault, WorkloadFeed, X509Context, own_seconds};
use crate::clock::{Clock, UnixMillis};

const ID: &str = "spiffe://prod.acme.example/gateway";
const SOON: Duration = Duration::from_secs(20);

/// An identity that ends so many seconds from now.
fn svid(left: i64) -> [Vec<u8>; 4] {
    let mut params = CertificateParams::default();
    let now = OffsetDateTime::from_unix_timestamp(Clock::system().now().seconds()).unwrap();
    params.not_before = now - time::Duration::days(1);
    params.not_after = now + time::Duration::seconds(left);
    let key = KeyPair::generate().unwrap();
    let own = params.self_signed(&key).unwrap().der().to_vec();
    [ID.into(), own.clone(), key.serialize_der(), own]
}

fn with(svids: Vec<[Vec<u8>; 4]>) -> WorkloadAnswers {
    WorkloadAnswers {
        svids,
        ..WorkloadAnswers::default()
    }
}

/// Waits until a feed says this.
async fn until<T: super::WorkloadAnswer>(
    feed: &WorkloadFeed<T>,
    what: &str,
    holds: impl Fn(&WorkloadFeed<T>) -> bool,
) {
    let waiting = async {
        loop {
            let turns = feed.turns();
            if holds(feed) {
                return;
            }
            feed.after(turns).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.expect(what);
}

fn leaf(feed: &WorkloadFeed<X509Context>) -> Option<Vec<u8>> {
    feed.own().map(|own| own.cert[0].to_vec())
}

/// Scenario: an agent comes after it was asked, gives another certificate, one that cannot be read, and one that is out of
/// date; it goes, and comes back.
/// Guarantees: the last good answer counts, while the socket is away too, and until its end; many that use a socket ask once;
/// what cannot be read changes nothing.
#[tokio::test]
async fn what_an_agent_gives_is_kept_in_step() {
    let folder = tempfile::tempdir().unwrap();
    let socket: PathBuf = folder.path().join("agent.sock");
    let feed = WorkloadFeed::<X509Context>::open(&socket);
    let away = |feed: &WorkloadFeed<_>| feed.fault() == Some(WorkloadFault::Unreachable);
    until(&feed, "no agent", away).await;
    let now = Clock::system().now();
    let none = Err("workload_api_unreachable");
    assert_eq!((leaf(&feed), own_seconds(&socket, now)), (None, none));

    let (one, two) = (svid(3600), svid(7200));
    let agent = WorkloadApi::start(&socket, with(vec![one.clone()])).unwrap();
    until(&feed, "first", |feed| leaf(feed) == Some(one[1].clone())).await;
    let again = WorkloadFeed::<X509Context>::open(&socket);
    assert!(std::sync::Arc::ptr_eq(&feed, &again));
    assert_eq!(agent.streams(), 1);
    assert!((3000..=3600).contains(&own_seconds(&socket, now).unwrap()));
    let later = UnixMillis(now.0 + 4_000_000);
    assert_eq!(own_seconds(&socket, later), Err("it is out of date"));

    agent.say(with(vec![two.clone(), one.clone()]));
    until(&feed, "second", |feed| leaf(feed) == Some(two[1].clone())).await;
    assert_eq!(agent.streams(), 1);

    let mixed = [
        two[0].clone(),
        one[1].clone(),
        two[2].clone(),
        two[3].clone(),
    ];
    agent.say(with(vec![mixed]));
    let malformed = |feed: &WorkloadFeed<_>| feed.fault() == Some(WorkloadFault::Malformed);
    until(&feed, "another's key", malformed).await;
    assert_eq!(leaf(&feed), Some(two[1].clone()));

    drop(agent);
    until(&feed, "away", away).await;
    assert_eq!(leaf(&feed), Some(two[1].clone()));
    let agent = WorkloadApi::start(&socket, with(vec![one.clone()])).unwrap();
    until(&feed, "back", |feed| leaf(feed) == Some(one[1].clone())).await;
    assert_eq!(feed.fault(), None);

    agent.say(with(vec![svid(-60)]));
    until(&feed, "out of date", |feed| leaf(feed).is_none()).await;
}

/// Guarantees: each way of an agent to give nothing has its word, and none ends the process or is taken for an answer.
#[tokio::test]
async fn hostile_agents_meet_the_bounds() {
    let raw = |raw: Vec<u8>| WorkloadAnswers {
        raw: Some(raw),
        ..WorkloadAnswers::default()
    };
    let status = |status| WorkloadAnswers {
        status: Some(status),
        ..WorkloadAnswers::default()
    };
    let mut broken = svid(60);
    broken[2] = b"no key".to_vec();
    let mut nameless = svid(60);
    nameless[0] = b"spiffe://".to_vec();
    let mut trailing = svid(60);
    trailing[1].push(0);
    let rows = [
        ("no registration", status(7), WorkloadFault::NoIdentity),
        ("not there", status(12), WorkloadFault::Refused),
        ("unavailable", status(14), WorkloadFault::Unreachable),
        (
            "large",
            raw(vec![0; (4 << 20) + 1]),
            WorkloadFault::TooLarge,
        ),
        ("noise", raw(vec![0xff; 100]), WorkloadFault::Malformed),
        ("cut", raw(vec![0x0a, 0x7f, 0]), WorkloadFault::Malformed),
        ("a number", raw(vec![0x08, 1]), WorkloadFault::Malformed),
        ("no key", with(vec![broken]), WorkloadFault::Malformed),
        ("no domain", with(vec![nameless]), WorkloadFault::Malformed),
        (
            "a byte more",
            with(vec![trailing]),
            WorkloadFault::Malformed,
        ),
        ("many", with(vec![svid(60); 65]), WorkloadFault::TooLarge),
    ];
    for (what, answers, expected) in rows {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent.sock");
        let _agent = WorkloadApi::start(&socket, answers).unwrap();
        let feed = WorkloadFeed::<X509Context>::open(&socket);
        until(&feed, what, |feed| feed.turns() > 0).await;
        assert_eq!(feed.fault(), Some(expected), "{what}");
        assert!(feed.last().is_none(), "{what}");
    }
}

/// Scenario: agents that begin an answer and do not go on, or promise one that is too large; each gives a good one in the end.
/// Guarantees: what does not come in time is a fault, what is too large is refused by its length alone, and each heals.
#[tokio::test(start_paused = true)]
async fn slow_and_greedy_agents_end_in_time() {
    let rows = [
        ("nothing", vec![], WorkloadFault::TimedOut),
        ("half a length", vec![0, 0, 0], WorkloadFault::TimedOut),
        (
            "half a message",
            vec![0, 0, 0, 0, 9, 10],
            WorkloadFault::TimedOut,
        ),
        (
            "more than there is",
            vec![0, 0xff, 0xff, 0xff, 0xff, 10],
            WorkloadFault::TooLarge,
        ),
        ("compressed", vec![1, 0, 0, 0, 0], WorkloadFault::Malformed),
    ];
    for (what, frame, expected) in rows {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent.sock");
        let answers = WorkloadAnswers {
            frame: Some(frame),
            ..WorkloadAnswers::default()
        };
        let agent = WorkloadApi::start(&socket, answers).unwrap();
        let feed = WorkloadFeed::<X509Context>::open(&socket);
        until(&feed, what, |feed| feed.turns() > 0).await;
        assert_eq!(feed.fault(), Some(expected), "{what}");
        let good = svid(3600);
        drop(agent);
        let _agent = WorkloadApi::start(&socket, with(vec![good.clone()])).unwrap();
        until(&feed, what, |feed| leaf(feed) == Some(good[1].clone())).await;
        assert_eq!(feed.fault(), None, "{what}");
    }
}

/// Scenario: an agent is there, and takes no call.
/// Guarantees: the call ends in time.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_taken_ends_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let _mute = tokio::net::UnixListener::bind(&socket).unwrap();
    let feed = WorkloadFeed::<X509Context>::open(&socket);
    until(&feed, "the end of a call", |feed| feed.turns() > 0).await;
    assert_eq!(feed.fault(), Some(WorkloadFault::TimedOut));
}

/// Scenario: an agent says the same again and again, as fast as it is taken, on a clock that waits for nothing else.
/// Guarantees: it is heard once in each `PACE`, and what is not heard yet stays with the agent, but for a window.
#[tokio::test(start_paused = true)]
async fn an_endless_answer_is_heard_at_a_pace() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let answers = WorkloadAnswers {
        endless: true,
        ..with(vec![svid(3600)])
    };
    let agent = WorkloadApi::start(&socket, answers).unwrap();
    let feed = WorkloadFeed::<X509Context>::open(&socket);
    let begun = tokio::time::Instant::now();
    until(&feed, "a hundred answers", |feed| feed.turns() >= 100).await;
    assert!(begun.elapsed() >= 99 * super::PACE);
    let sent = agent.sent_bytes();
    assert!(sent < 4 << 20, "{sent}");
    assert_eq!((agent.streams(), feed.fault()), (1, None));
}

/// Guarantees: bundles are told apart by their trust domains, with the scheme or without.
#[tokio::test]
async fn bundles_go_by_their_trust_domains() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let own = svid(60);
    let answers = WorkloadAnswers {
        svids: vec![own.clone()],
        federated: vec![("partner.example".to_owned(), b"theirs".to_vec())],
        jwt: vec![("prod.acme.example".to_owned(), b"{}".to_vec())],
        ..WorkloadAnswers::default()
    };
    let _agent = WorkloadApi::start(&socket, answers).unwrap();
    let feed = WorkloadFeed::<X509Context>::open(&socket);
    until(&feed, "certificates", |feed| feed.last().is_some()).await;
    let bundles = feed.last().unwrap().bundles.clone();
    assert_eq!(bundles["prod.acme.example"], own[3]);
    assert_eq!(&*bundles["partner.example"], b"theirs");
    let feed = WorkloadFeed::<JwtBundles>::open(&socket);
    until(&feed, "keys", |feed| feed.last().is_some()).await;
    assert_eq!(&*feed.last().unwrap().0["prod.acme.example"], b"{}");
}
