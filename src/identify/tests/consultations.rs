//! Proofs that another party judges: what is remembered for which caller, and what a party may be asked.
//!
//! What it does: plays the party, willing, slow, gone or lying, on a clock that the test moves. What it refuses to know:
//! what a proof is. Invariants: every row names the answer and how often the party was asked; no test sleeps.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use proptest::prelude::*;
use tokio::sync::{Semaphore, oneshot};

use super::super::cache::Evidence;
use super::super::consultations::{ConsultationBounds, Consultations, Opinion, ProofBearer};
use super::super::doubts::Doubts;
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
        let (clock, now) = Clock::manual(UnixMillis(START));
        let runtime = tokio::runtime::Handle::current();
        Party {
            consultations: Consultations::new(bounds, clock, runtime),
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
    Arc::new(Facts {
        method: Method::Oidc,
        issuer: Arc::from("party"),
        subject: Arc::from(subject),
        subject_claim: None,
        groups: Vec::new(),
        claims: serde_json::Map::new(),
        certificate: None,
        attributes: Vec::new(),
        client_binding: None,
        aws: None,
        doubts: Doubts::default(),
        expires_unix_seconds: START / 1000 + lives_seconds,
    })
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

/// Scenario: more proofs than may be asked about, at once or in a second. Guarantees: the rest is an outage, what was
/// accepted goes on without a call, and a second later, or when places are free, others are heard.
#[tokio::test]
async fn questions_are_held_to_the_budget() {
    let party = Party::new(BOUNDS);
    assert_eq!(party.judge("kept", holds(900)).await, Ok("ada".to_owned()));
    for number in 1..50 {
        let address = IpAddr::V4(Ipv4Addr::from_bits(number / 4));
        let accepted = party
            .judge_from(address, &format!("proof {number}"), async { holds(900) })
            .await;
        assert_eq!(accepted, Ok("ada".to_owned()), "{number}");
    }
    assert_eq!(
        party.judge("one more", holds(900)).await,
        Err("proofs_busy")
    );
    assert_eq!(party.judge("kept", holds(900)).await, Ok("ada".to_owned()));
    party.pass(-3600);
    assert_eq!(
        party.judge("one more", holds(900)).await,
        Err("proofs_busy")
    );
    party.pass(1);
    assert_eq!(
        party.judge("one more", holds(900)).await,
        Ok("ada".to_owned())
    );
    assert_eq!(party.asked(), 51);

    let party = Party::new(BOUNDS);
    let gate = Arc::new(Semaphore::new(0));
    let slow = |number: u32| {
        let gate = gate.clone();
        let opinion = async move {
            let _open = gate.acquire().await;
            holds(900)
        };
        let party = &party;
        async move {
            let address = IpAddr::V4(Ipv4Addr::from_bits(number));
            party
                .judge_from(address, &format!("proof {number}"), opinion)
                .await
        }
    };
    let all = join_all((0..6).map(slow));
    let open = async {
        while party.asked() < 4 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1);
    };
    let (judged, ()) = tokio::join!(all, open);
    let busy = judged.iter().filter(|one| **one == Err("proofs_busy"));
    assert_eq!((busy.count(), party.asked()), (2, 4));
    assert_eq!(
        party.judge("proof 5", holds(900)).await,
        Ok("ada".to_owned())
    );
}

/// Scenario: an address that shows well-formed nonsense. Guarantees: after 64 refusals it waits, and the party is asked about
/// few of its proofs; other addresses and what was accepted before go on, and so do others at the address with a
/// credential that was accepted there; one that holds after the wait forgives all.
#[tokio::test]
async fn nonsense_spends_the_share_of_its_address() {
    let nonsense = || Opinion::Refused(Reason::TokenSignature);
    let party = Party::new(BOUNDS);
    assert_eq!(party.judge("kept", holds(9000)).await, Ok("ada".to_owned()));
    let signed = async |credential, proof: &str, opinion| {
        let bearer = ProofBearer {
            address: HERE,
            credential: Some(credential),
        };
        party.judge_from(bearer, proof, async { opinion }).await
    };
    let ada = || Ok("ada".to_owned());
    assert_eq!(signed("AKIAADA", "signed", holds(9000)).await, ada());
    // A tenth of the budget is left for all addresses that must wait.
    for number in 0..70 {
        party.pass(i64::from(number % 32 == 31));
        let told = party.judge(&format!("nonsense {number}"), nonsense()).await;
        assert_eq!(told, Err("token_signature"), "{number}");
    }
    let penalty = Err("proofs_penalty");
    assert_eq!(signed("AKIABOB", "signed too", holds(9000)).await, penalty);
    assert_eq!(signed("AKIAADA", "signed anew", holds(9000)).await, ada());
    let calls = party.asked();
    assert_eq!(party.judge("more", nonsense()).await, Err("proofs_penalty"));
    assert_eq!(party.asked(), calls);
    assert_eq!(party.judge("kept", nonsense()).await, Ok("ada".to_owned()));
    let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let told = party
        .judge_from(elsewhere, "good", async { holds(9000) })
        .await;
    assert_eq!(told, Ok("ada".to_owned()));
    party.pass(1);
    assert_eq!(
        party.judge("better", holds(9000)).await,
        Ok("ada".to_owned())
    );
    assert_eq!(
        party.judge("more", nonsense()).await,
        Err("token_signature")
    );
}

/// Scenario: one role signs anew for each of its calls, with one credential from many addresses, or with many from one; and callers
/// of tokens without a credential do the same from one address. Guarantees: it gets three quarters of a second's calls at once, and
/// the others are heard all the same, each at its own address, up to the whole budget; those known at the flood's address too.
#[tokio::test]
async fn one_identity_spends_its_own_share() {
    type Flood = fn(u32) -> (u32, Option<String>);
    let floods: [(&str, Flood); 3] = [
        ("one credential, many addresses", |number| {
            (1 + number, Some("ASIAEVE".to_owned()))
        }),
        ("many credentials, one address", |number| {
            (1, Some(format!("ASIAEVE{number}")))
        }),
        ("no credential", |_| (1, None)),
    ];
    for (story, flood) in floods {
        let party = Party::new(BOUNDS);
        let signed =
            async |address: u32, credential: Option<&str>, proof: &str, who: &'static str| {
                let bearer = ProofBearer {
                    address: IpAddr::V4(Ipv4Addr::from_bits(address)),
                    credential,
                };
                let opinion = async move { Opinion::Holds(facts(who, 900)) };
                party.judge_from(bearer, proof, opinion).await
            };
        let ada = || Ok("ada".to_owned());
        assert_eq!(signed(1, Some("AKIAADA"), "before", "ada").await, ada());
        // Each address of a role has been used once before.
        for number in 0..200 {
            let (address, credential) = flood(number);
            party.pass(i64::from(number % 5 == 4));
            let _ = signed(
                address,
                credential.as_deref(),
                &format!("old {number}"),
                "eve",
            )
            .await;
        }
        party.pass(1);
        let mut heard = 0;
        for number in 0..200 {
            let (address, credential) = flood(number);
            let told = signed(
                address,
                credential.as_deref(),
                &format!("new {number}"),
                "eve",
            )
            .await;
            heard += usize::from(told.is_ok());
        }
        assert_eq!(heard, 38, "{story}");
        assert_eq!(
            signed(1, Some("AKIAADA"), "after", "ada").await,
            ada(),
            "{story}"
        );
        let mut others = 0;
        for number in 0..20 {
            let told = signed(
                1000 + number,
                Some("AKIABOB"),
                &format!("bob's {number}"),
                "bob",
            )
            .await;
            others += usize::from(told.is_ok());
        }
        assert_eq!(others, 11, "{story}");
    }
}

/// Scenario: a party answers none, and one caller shows ever new proofs. Guarantees: a quarter of the questions under way is left for
/// the others.
#[tokio::test]
async fn one_caller_takes_not_all_places() {
    let bounds = ConsultationBounds {
        concurrent_calls: 16,
        ..BOUNDS
    };
    let party = Arc::new(Party::new(bounds));
    let mut waiting = Vec::new();
    let mut refused = 0;
    for number in 0..40 {
        let (party, before) = (party.clone(), party.asked());
        let one = party.clone();
        let task = tokio::spawn(async move {
            one.judge_from(HERE, &format!("{number}"), std::future::pending())
                .await
        });
        while party.asked() == before && !task.is_finished() {
            tokio::task::yield_now().await;
        }
        match task.is_finished() {
            true => refused += usize::from(task.await.unwrap() == Err("proofs_busy")),
            false => waiting.push(task),
        }
    }
    assert_eq!((waiting.len(), refused), (12, 28));
    let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let told = party
        .judge_from(elsewhere, "other", async { holds(900) })
        .await;
    assert_eq!(told, Ok("ada".to_owned()));
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

    /// Scenario: callers show proofs that are pieces of each other, all at once and again, with any header and certificate;
    /// the party answers in any order, and refuses some. Guarantees: no caller is told of the identity or refusal of another.
    #[test]
    fn no_evidence_is_answered_for_another(
        calls in proptest::collection::vec((shown(), 0_usize..4), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let bounds = ConsultationBounds { calls_per_second: 1000, concurrent_calls: 1000, ..BOUNDS };
        runtime.block_on(async {
            let (clock, _now) = Clock::manual(UnixMillis(START));
            let untimed = ConsultationBounds { call_limit: Duration::MAX, ..bounds };
            let consultations =
                Consultations::new(untimed, clock, tokio::runtime::Handle::current());
            let told = calls.iter().map(|(shown, turns)| {
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
            for (told, expected) in join_all(told).await {
                assert_eq!(told, expected);
            }
        });
    }
}
