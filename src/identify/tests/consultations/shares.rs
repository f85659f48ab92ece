//! What each caller may cause a party to be asked: shares of the questions, and waits for those who show nonsense.
//!
//! What it does: plays callers of one party, known ones, strangers and floods. What it refuses to know: how long an answer
//! counts. Invariants: the numbers are exact; no test sleeps.

use tokio::sync::Semaphore;

use super::*;

/// Scenario: more proofs than may be asked about, at once or in a second. Guarantees: the rest is an outage, what was
/// accepted goes on without a call, and a second later, or when places are free, others are heard.
#[tokio::test]
async fn questions_are_held_to_the_budget() {
    let ada = || Ok("ada".to_owned());
    let party = Party::new(BOUNDS);
    assert_eq!(party.judge("kept", holds(900)).await, ada());
    for number in 1..60 {
        let address = IpAddr::V4(Ipv4Addr::from_bits(number / 4));
        let proof = format!("proof {number}");
        let told = party
            .judge_from(address, &proof, async { holds(900) })
            .await;
        let expected = match number {
            ..40 => ada(),
            // At addresses of which nothing is known yet.
            _ => Err("proofs_busy"),
        };
        assert_eq!(told, expected, "{number}");
    }
    for number in 1..5 {
        let renewed = party.judge(&format!("anew {number}"), holds(900)).await;
        assert_eq!(renewed, ada(), "{number}");
    }
    assert_eq!(
        party.judge("one more", holds(900)).await,
        Err("proofs_busy")
    );
    assert_eq!(party.judge("kept", holds(900)).await, ada());
    party.pass(-3600);
    assert_eq!(
        party.judge("one more", holds(900)).await,
        Err("proofs_busy")
    );
    party.pass(1);
    assert_eq!(party.judge("one more", holds(900)).await, ada());
    assert_eq!(party.asked(), 45);

    let party = Party::new(BOUNDS);
    assert_eq!(party.judge("before", holds(900)).await, ada());
    let gate = Arc::new(Semaphore::new(0));
    let slow = |address: IpAddr, number: u32| {
        let gate = gate.clone();
        let opinion = async move {
            let _open = gate.acquire().await;
            holds(900)
        };
        let party = &party;
        async move {
            party
                .judge_from(address, &format!("proof {number}"), opinion)
                .await
        }
    };
    let strangers = (0..6).map(|number| slow(IpAddr::V4(Ipv4Addr::from_bits(number)), number));
    let all = join_all(strangers.chain([slow(HERE, 6)]));
    let open = async {
        while party.asked() < 5 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1);
    };
    let (judged, ()) = tokio::join!(all, open);
    let busy = judged.iter().filter(|one| **one == Err("proofs_busy"));
    assert_eq!((busy.count(), party.asked()), (3, 5));
    assert_eq!(judged.last(), Some(&ada()));
    assert_eq!(party.judge("proof 5", holds(900)).await, ada());
}

/// Scenario: twenty addresses show nonsense, each as much as it may, while ten roles come with a new session, second after second,
/// each from where it was accepted before. Guarantees: every role is served; the nonsense gets no more than three quarters.
#[tokio::test]
async fn strangers_leave_a_part_to_those_who_are_known() {
    let party = Party::new(BOUNDS);
    let shown = async |address: u32, credential: String, opinion| {
        let bearer = ProofBearer {
            address: IpAddr::V4(Ipv4Addr::from_bits(address)),
            credential: Some(&credential),
        };
        let proof = format!("proof of {credential}");
        party.judge_from(bearer, &proof, async { opinion }).await
    };
    let roles = async |session: u32| {
        for role in 0..10 {
            let told = shown(role, format!("ASIA{role}{session}"), holds(900)).await;
            assert_eq!(
                told,
                Ok("ada".to_owned()),
                "{role} in its session {session}"
            );
        }
    };
    roles(0).await;
    for second in 1..10 {
        party.pass(1);
        let mut heard = 0;
        for number in 0..100 {
            let credential = format!("ASIAEVE{second}.{number}");
            let nonsense = Opinion::Refused(Reason::TokenSignature);
            let told = shown(100 + number % 20, credential, nonsense).await;
            heard += usize::from(told == Err("token_signature"));
        }
        assert_eq!(heard, 38, "{second}");
        roles(second).await;
    }
}

/// Scenario: what one address shows finds no answer, once while others are answered and once while none is. Guarantees: there
/// it waits like one that shows nonsense, until something of it holds; an outage makes no one wait.
#[tokio::test]
async fn a_caller_that_alone_finds_no_answer_waits() {
    let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    for (story, others_are_answered, expected) in [
        ("an outage", false, "keys_unavailable"),
        ("its own", true, "proofs_penalty"),
    ] {
        let party = Party::new(BOUNDS);
        let mut last = Ok(String::new());
        for number in 0..80 {
            party.pass(i64::from(number % 10 == 9 && number < 60));
            let failing = Opinion::Unavailable(Reason::KeysUnavailable);
            last = party.judge(&format!("odd {number}"), failing).await;
            if others_are_answered && number % 4 == 0 {
                let proof = format!("good {number}");
                let told = party.judge_from(elsewhere, &proof, async { holds(900) });
                assert_eq!(told.await, Ok("ada".to_owned()), "{story}");
            }
        }
        assert_eq!(last, Err(expected), "{story}");
        party.pass(1);
        let told = party.judge("good", holds(900)).await;
        assert_eq!(told, Ok("ada".to_owned()), "{story}");
        let failing = Opinion::Unavailable(Reason::KeysUnavailable);
        let told = party.judge("odd again", failing).await;
        assert_eq!(told, Err("keys_unavailable"), "{story}");
    }
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
        party.pass(i64::from(number % 16 == 15));
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
/// of tokens without a credential do the same from one address. Guarantees: it gets half of a second's calls at once, and
/// the others are heard all the same, each at its own address, up to three quarters; those known at the flood's address to the end.
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
        assert_eq!(heard, 26, "{story}");
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
        for number in 0..4 {
            let proof = format!("after all {number}");
            let told = signed(1, Some("AKIAADA"), &proof, "ada").await;
            assert_eq!(told, ada(), "{story}");
        }
    }
}

/// Scenario: a party answers none, and one caller shows ever new proofs. Guarantees: half of the questions under way is left for
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
    assert_eq!((waiting.len(), refused), (8, 32));
    let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let told = party
        .judge_from(elsewhere, "other", async { holds(900) })
        .await;
    assert_eq!(told, Ok("ada".to_owned()));
}
