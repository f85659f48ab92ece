//! Proofs that another party judges: what is remembered for which caller, and what a party may be asked.
//!
//! What it does: plays the party, willing, slow, gone or lying, on a clock that the test moves. What it refuses to know:
//! what a proof is. Invariants: every row names the answer and how often the party was asked; no test sleeps.

mod shares;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::super::cache::Evidence;
use super::super::consultations::{ConsultationBounds, Consultations, Opinion, ProofBearer};
use super::super::facts::{CertificateFacts, Facts, Method};
use crate::accept::AssertionHeader;
use crate::clock::{Clock, UnixMillis};
use crate::reason::Reason;

const BOUNDS: ConsultationBounds = ConsultationBounds {
    calls_per_second: 50,
    concurrent_calls: 4,
    call_limit: Duration::from_secs(60),
    accepted_limit: Duration::from_secs(300),
    refused_limit: Duration::from_secs(10),
};
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const START: i64 = 1_800_000_000_000;

struct Party {
    consultations: Consultations,
    now: Arc<AtomicI64>,
    asked: Arc<AtomicUsize>,
}

impl Party {
    fn new(bounds: ConsultationBounds) -> Self {
        Party::holding(u64::MAX, bounds)
    }

    /// One of which so much is remembered.
    fn holding(accepted_limit_bytes: u64, bounds: ConsultationBounds) -> Self {
        let (clock, now) = Clock::manual(UnixMillis(START));
        let runtime = tokio::runtime::Handle::current();
        Party {
            consultations: Consultations::holding(accepted_limit_bytes, bounds, clock, runtime),
            now,
            asked: Arc::default(),
        }
    }

    fn pass(&self, seconds: i64) {
        self.now.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// What `judge` says of a proof, by its subject or the code.
    async fn judge(&self, token: &str, opinion: Opinion) -> Result<String, &'static str> {
        self.judge_from(HERE, token, async move { opinion }).await
    }

    async fn judge_from(
        &self,
        bearer: impl Into<ProofBearer<'_>>,
        token: &str,
        opinion: impl Future<Output = Opinion> + Send + 'static,
    ) -> Result<String, &'static str> {
        let evidence = Evidence::of(token.as_bytes(), None, None);
        let now = UnixMillis(self.now.load(Ordering::Relaxed));
        let asked = self.asked.clone();
        let ask = move || {
            asked.fetch_add(1, Ordering::Relaxed);
            opinion
        };
        let judged = self.consultations.judge(&evidence, bearer, now, ask).await;
        judged
            .map(|facts| facts.subject.to_string())
            .map_err(Reason::code)
    }
}

fn facts(subject: &str, lives_seconds: i64) -> Arc<Facts> {
    Arc::new(Facts::bare(
        Method::Oidc,
        "party",
        subject,
        START / 1000 + lives_seconds,
    ))
}

fn holds(lives_seconds: i64) -> Opinion {
    Opinion::Holds(facts("ada", lives_seconds))
}

/// Scenario: one proof twice, some seconds apart; the party says one thing first and accepts it then. Guarantees: what is
/// remembered for how long; outages are not remembered, and stay apart from refusals whatever reason comes with them.
#[tokio::test]
async fn a_judgement_is_remembered_for_its_time() {
    let ada = || Ok("ada".to_owned());
    for (story, first, told, after, again, calls) in [
        ("fresh", holds(900), ada(), 299, ada(), 1),
        ("asked anew", holds(900), ada(), 300, ada(), 2),
        ("the clock set back", holds(900), ada(), -61, ada(), 2),
        ("set right", holds(900), ada(), -59, ada(), 1),
        ("not beyond its end", holds(60), ada(), 59, ada(), 1),
        ("its end", holds(60), ada(), 60, ada(), 2),
        (
            "over already",
            holds(0),
            Err("token_expired"),
            9,
            Err("token_expired"),
            1,
        ),
        (
            "refused",
            Opinion::Refused(Reason::TokenSignature),
            Err("token_signature"),
            9,
            Err("token_signature"),
            1,
        ),
        (
            "refused, and asked anew",
            Opinion::Refused(Reason::TokenSignature),
            Err("token_signature"),
            10,
            ada(),
            2,
        ),
        (
            "an outage",
            Opinion::Unavailable(Reason::KeysUnavailable),
            Err("keys_unavailable"),
            0,
            ada(),
            2,
        ),
        (
            "an outage that calls itself a refusal",
            Opinion::Refused(Reason::KeysUnavailable),
            Err("keys_unavailable"),
            0,
            ada(),
            2,
        ),
        (
            "a refusal that calls itself an outage",
            Opinion::Unavailable(Reason::TokenSignature),
            Err("internal_defect"),
            0,
            ada(),
            2,
        ),
    ] {
        let party = Party::new(BOUNDS);
        assert_eq!(party.judge("proof", first).await, told, "{story}");
        party.pass(after);
        assert_eq!(party.judge("proof", holds(10_000)).await, again, "{story}");
        assert_eq!(party.asked(), calls, "{story}");
    }
}

/// Scenario: callers who show one proof while it is asked about; the first goes away. Guarantees: one question, and the
/// others are answered by it; a party that breaks off is told as a defect, and the next caller asks anew.
#[tokio::test]
async fn those_who_wait_do_not_depend_on_the_first() {
    let party = Arc::new(Party::new(BOUNDS));
    let (say, hear) = oneshot::channel::<Opinion>();
    let first = {
        let party = party.clone();
        let opinion = async move { hear.await.expect("the test says it") };
        tokio::spawn(async move { party.judge_from(HERE, "proof", opinion).await })
    };
    while party.asked() == 0 {
        tokio::task::yield_now().await;
    }
    let others: Vec<_> = (0..8)
        .map(|_| {
            let party = party.clone();
            tokio::spawn(async move {
                party
                    .judge("proof", Opinion::Refused(Reason::TokenSignature))
                    .await
            })
        })
        .collect();
    first.abort();
    assert!(first.await.is_err_and(|error| error.is_cancelled()));
    say.send(holds(900)).unwrap();
    for other in others {
        assert_eq!(other.await.unwrap(), Ok("ada".to_owned()));
    }
    assert_eq!(party.asked(), 1);

    let broken = async { panic!("a party's client has a defect") };
    assert_eq!(
        party.judge_from(HERE, "other", broken).await,
        Err("internal_defect")
    );
    assert_eq!(party.judge("other", holds(900)).await, Ok("ada".to_owned()));
}

/// Scenario: a party that never answers. Guarantees: the wait ends as an outage.
#[tokio::test(start_paused = true)]
async fn a_silent_party_is_an_outage() {
    let party = Party::new(BOUNDS);
    let silent = std::future::pending();
    assert_eq!(
        party.judge_from(HERE, "proof", silent).await,
        Err("proofs_timeout")
    );
    assert_eq!(party.judge("proof", holds(900)).await, Ok("ada".to_owned()));
}

/// Scenario: more callers than there is room for, three times in turn, and one who comes all the time. Guarantees: what is held
/// stays within its bound; each is told of its own identity; those that were pushed out are asked about anew, and the one who
/// comes all the time is not.
#[tokio::test]
async fn what_is_pushed_out_is_asked_about_anew() {
    const ROOM_BYTES: u64 = 32 << 10;
    let bounds = ConsultationBounds {
        calls_per_second: 1_000_000,
        ..BOUNDS
    };
    let party = Party::holding(ROOM_BYTES, bounds);
    let shown = async |name: String| {
        let said = name.clone();
        let opinion = async move { Opinion::Holds(facts(&said, 900)) };
        let told = party.judge_from(HERE, &name, opinion).await;
        assert_eq!(told, Ok(name));
    };
    for _ in 0..3 {
        for number in 0..200 {
            shown(format!("caller {number}")).await;
            shown("always there".to_owned()).await;
            assert!(party.consultations.held().1 <= ROOM_BYTES, "{number}");
        }
    }
    let (held, _) = party.consultations.held();
    assert!((10..200).contains(&held), "{held}");
    let others = party.asked() - 1;
    assert!(others >= 3 * (200 - 64), "{others} of 600");
}

/// Scenario: strangers show a hundred thousand proofs that do not hold. Guarantees: they take no place from what was
/// accepted.
#[tokio::test]
async fn refusals_push_no_identity_out() {
    let bounds = ConsultationBounds {
        calls_per_second: 1_000_000,
        ..BOUNDS
    };
    let party = Party::new(bounds);
    assert_eq!(party.judge("kept", holds(900)).await, Ok("ada".to_owned()));
    for number in 0..100_000_u32 {
        let address = IpAddr::V4(Ipv4Addr::from_bits(number));
        let refused = async { Opinion::Refused(Reason::TokenSignature) };
        let told = party
            .judge_from(address, &format!("{number}"), refused)
            .await;
        assert_eq!(told, Err("token_signature"));
    }
    assert_eq!(
        party
            .judge("kept", Opinion::Refused(Reason::TokenSignature))
            .await,
        Ok("ada".to_owned())
    );
    assert_eq!(party.consultations.held().0, 1);
}

/// A token, the header in which a proxy states it, and a certificate: one that an authority vouches for by a SPIFFE ID or a
/// DNS name, or one that none does.
type Shown = (String, Option<&'static str>, Option<(Vouching, String)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vouching {
    Spiffe,
    Dns,
    Lone,
}

/// Few texts, so that pieces of one proof are found in others at other places.
fn shown() -> impl Strategy<Value = Shown> {
    (
        "[ab]{0,3}",
        proptest::option::of(prop_oneof![Just("x-a"), Just("x-ab"), Just("x-b")]),
        proptest::option::of((
            prop_oneof![
                Just(Vouching::Spiffe),
                Just(Vouching::Dns),
                Just(Vouching::Lone)
            ],
            "[ab]{0,3}",
        )),
    )
}

fn evidence((token, header, certificate): &Shown) -> Evidence {
    let header = header.map(|name| AssertionHeader::parse(name).unwrap());
    let vouched = certificate
        .as_ref()
        .filter(|(vouching, _)| *vouching != Vouching::Lone)
        .map(|(vouching, name)| (*vouching == Vouching::Spiffe, name))
        .map(|(is_spiffe, name)| CertificateFacts {
            ca: Arc::from("ca"),
            spiffe: is_spiffe.then(|| name.clone()),
            dns: if is_spiffe {
                Vec::new()
            } else {
                vec![name.clone()]
            },
            subject: String::new(),
            fingerprint: "00".to_owned(),
            serial: String::new(),
            key: String::new(),
            not_before: 0,
            not_after: 0,
        });
    let evidence = Evidence::of(token.as_bytes(), header.as_ref(), vouched.as_ref());
    match certificate {
        Some((Vouching::Lone, fingerprint)) => evidence.beside(fingerprint),
        _ => evidence,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Scenario: callers show proofs that are pieces of each other, all at once and then again, with any header and certificate;
    /// the party answers in any order, and refuses some; there is room for all, for some or for none. Guarantees: no caller is
    /// told of the identity or refusal of another.
    #[test]
    fn no_evidence_is_answered_for_another(
        calls in proptest::collection::vec((shown(), 0_usize..4), 1..40),
        room_bytes in prop_oneof![Just(0), Just(4_000), Just(u64::MAX)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let bounds = ConsultationBounds { calls_per_second: 1000, concurrent_calls: 1000, ..BOUNDS };
        runtime.block_on(async {
            let (clock, _now) = Clock::manual(UnixMillis(START));
            let untimed = ConsultationBounds { call_limit: Duration::MAX, ..bounds };
            let runtime = tokio::runtime::Handle::current();
            let consultations = Consultations::holding(room_bytes, untimed, clock, runtime);
            let told = || calls.iter().map(|(shown, turns)| {
                let (consultations, name, turns) = (consultations.clone(), format!("{shown:?}"), *turns);
                let is_refused = shown.0.starts_with('b');
                async move {
                    let said = name.clone();
                    let ask = || async move {
                        for _ in 0..turns {
                            tokio::task::yield_now().await;
                        }
                        if is_refused {
                            Opinion::Refused(Reason::TokenSignature)
                        } else {
                            Opinion::Holds(facts(&said, 900))
                        }
                    };
                    let judged = consultations.judge(&evidence(shown), HERE, UnixMillis(START), ask).await;
                    let expected = if is_refused { Err(Reason::TokenSignature) } else { Ok(name) };
                    (judged.map(|facts| facts.subject.to_string()), expected)
                }
            });
            for _ in 0..2 {
                for (told, expected) in join_all(told()).await {
                    assert_eq!(told, expected);
                }
                consultations.held();
            }
        });
    }
}
