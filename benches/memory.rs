//! What ten thousand remembered sessions of AWS roles hold.
//!
//! What it does: lets each be identified once, and counts the bytes that are allocated more than before. What it refuses to know:
//! time, sockets of callers, policy. Invariant: what is counted is held by the room; the party that was asked keeps nothing.

#![allow(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up should stop"
)]

use std::alloc::System;
use std::net::Ipv4Addr;
use std::time::Duration;

use http::HeaderValue;
use lightkeeper::accept::{Caller, Carrier, Presented};
use lightkeeper::clock::{Clock, UnixMillis};
use lightkeeper::identify::{AwsSettings, Events, Identifier, StsEndpoints, Surroundings};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use testkit::sigv4::PresignedCall;
use testkit::{AwsCaller, Sts};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const NOW: i64 = 1_800_000_000;
const ACCOUNT: &str = "123456789012";
const AUDIENCE: &str = "lightkeeper:gateway.acme.example";
const CALLERS: usize = 10_000;
/// What they may hold at most.
const LIMIT_BYTES: usize = 10 << 20;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let sts = runtime
        .block_on(Sts::start(&["eu-west-1"], || NOW))
        .unwrap();
    let tokens: Vec<HeaderValue> = (0..CALLERS)
        .map(|number| {
            let name = format!("checkout-workers-{number}");
            let session = format!("i-0123456789abcdef{number}");
            let caller = sts.add(AwsCaller::role(ACCOUNT, &name, &session));
            let token = PresignedCall::new("eu-west-1", AUDIENCE, NOW).token(&caller.keys);
            format!("Bearer {token}").parse().unwrap()
        })
        .collect();
    let settings = AwsSettings {
        name: "aws".to_owned(),
        audience: AUDIENCE.to_owned(),
        accounts: vec![ACCOUNT.to_owned()],
        partition: "aws".to_owned(),
        regions: vec!["eu-west-1".to_owned()],
        endpoints: StsEndpoints::default(),
        max_age: Duration::from_secs(900),
        cache: Duration::from_secs(300),
        connect: Some(("127.0.0.1".to_owned(), sts.address().port())),
        ca: Some(sts.ca()),
        egress: Default::default(),
        calls_per_second: 1_000_000,
        concurrent_calls: 16,
        attributes: Vec::new(),
    };
    let (clock, _) = Clock::manual(UnixMillis(NOW * 1000));
    let surroundings = Surroundings {
        clock,
        token_bytes: 16 << 10,
        events: Events::ignored(),
        runtime: runtime.handle().clone(),
    };
    let room = Identifier::new(&[], Vec::new(), surroundings, None)
        .unwrap()
        .with_aws(&[settings], None)
        .unwrap();
    let identify = |token: &HeaderValue| {
        let caller = Caller {
            token: Some(Presented::new(token.clone(), 7, Carrier::Authorization)),
            certificate: None,
            session: None,
            proof: None,
            address: Ipv4Addr::LOCALHOST.into(),
        };
        drop(runtime.block_on(room.identify(caller)).unwrap());
    };
    // The first opens the connection.
    identify(tokens.first().unwrap());
    sts.forget();
    let before = held();
    tokens.iter().for_each(identify);
    assert_eq!(sts.calls().len(), CALLERS - 1, "each was asked about once");
    sts.forget();
    let more = held().saturating_sub(before);
    println!(
        "memory/aws: {CALLERS} callers hold {more} bytes ({:.2} MiB, {:.2} of the limit), {} each",
        more as f64 / f64::from(1 << 20),
        more as f64 / LIMIT_BYTES as f64,
        more / CALLERS
    );
    assert!(more <= LIMIT_BYTES, "{more} bytes, more than {LIMIT_BYTES}");
}

/// Bytes that are allocated and not freed.
fn held() -> usize {
    let counted = COUNTED.stats();
    counted
        .bytes_allocated
        .saturating_sub(counted.bytes_deallocated)
}
