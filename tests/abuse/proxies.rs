//! Scenario: what stands before the gateway: load balancers that probe, proxies that speak for clients, and those who pretend
//! to be one. Guarantees: each test tells its own.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::ground::{Ground, eventually};

const SOON: Duration = Duration::from_secs(20);

/// Load balancers open connections and close them, well or by a reset, to see whether somebody listens. They are counted,
/// and leave no record; one that said a byte leaves what it left before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_without_a_byte_are_counted_alone() {
    let mut ground = Ground::new().await;
    let core = ground.world.gateway.core().clone();
    for listener in ["gateway", "plain"] {
        let address = ground.world.address(listener).unwrap();
        for number in 0..20 {
            let probe = TcpStream::connect(address).await.unwrap();
            if number % 2 == 0 {
                probe.set_zero_linger().unwrap();
            }
        }
        let line = format!("lightkeeper_connections_unused_total{{listener=\"{listener}\"}} 20\n");
        let is_counted = || String::from_utf8(core.metrics_page()).unwrap().contains(&line);
        eventually("every probe counted", SOON, is_counted).await;
    }
    let mut spoke = TcpStream::connect(ground.world.address("gateway").unwrap()).await.unwrap();
    spoke.write_all(b"\x16").await.unwrap();
    drop(spoke);
    let records = ground.records_of_all(1).await;
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["reason"], "handshake_closed");
    ground.alive().await;
}
