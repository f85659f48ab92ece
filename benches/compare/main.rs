//! The programs of the comparison: an upstream, a load generator, a bare Pingora, and the tokens.
//!
//! `benches/compare/run` starts them, pins them to cores and measures; each is one subcommand of this one
//! binary. They refuse to know what is measured beside them. All of it stays on loopback, is bounded in
//! requests or lives until its standard input closes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a tool of ours that fails loudly"
)]

mod bare;
mod load;
mod tokens;
mod upstream;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

#[derive(Parser)]
enum Program {
    /// Answers as a backend would: reads the body, 200; 2 KiB of JSON for a GET.
    Upstream {
        listen: SocketAddr,
        seen: SocketAddr,
    },
    /// Pingora's own proxy with nothing but an upstream.
    Bare {
        listen: SocketAddr,
        upstream: SocketAddr,
    },
    /// A bounded closed loop of requests; prints one JSON object.
    Load(load::Plan),
    /// Opens connections and leaves them idle until standard input closes.
    Idle {
        target: SocketAddr,
        connections: usize,
    },
    /// Writes `jwks.json` and the good and bad tokens.
    Tokens { directory: PathBuf, now: i64 },
}

fn main() {
    // `cargo bench` starts every bench with `--bench`; the comparison needs its script.
    if std::env::args()
        .nth(1)
        .is_none_or(|first| first == "--bench")
    {
        println!("compare: run benches/compare/run");
        return;
    }
    match Program::parse() {
        Program::Upstream { listen, seen } => {
            single(async move { ends_with_stdin(upstream::serve(listen, seen)).await })
        }
        Program::Bare { listen, upstream } => bare::serve(listen, upstream),
        Program::Load(plan) => single(load::run(plan)),
        Program::Idle {
            target,
            connections,
        } => single(async move { ends_with_stdin(load::idle(target, connections)).await }),
        Program::Tokens { directory, now } => tokens::write(&directory, now),
    }
}

/// One thread, as every contender has.
fn single(task: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(task);
}

/// Runs until the parent closes our standard input or dies.
async fn ends_with_stdin(task: impl Future<Output = ()>) {
    let closed =
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    tokio::select! {
        () = task => {}
        _ = closed => {}
    }
}
