//! What can be known of a start before anything listens.
//!
//! What it does: furnishes a snapshot as a start would, and tries what a start needs of the machine: the audit file, the
//! addresses. What it refuses to know: files' syntax. Invariants: nothing is served, fetched, written or kept; an address
//! that is taken is no fault, because the gateway that is to be reloaded may have it.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::net::TcpSocket;

use super::{Settings, Snapshot};
use crate::audit::Trail;
use crate::causes::lines;
use crate::clock::Clock;
use crate::identify::Events;

/// Every fault that would keep this plan from being served. Must not run within a runtime.
pub(crate) fn examine(plan: &Settings, admin: SocketAddr, clock: &Clock) -> Vec<String> {
    let mut faults = Vec::new();
    // Tasks that the snapshot spawns need a runtime, and are never polled in this one: no key set is fetched.
    match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => {
            let _entered = runtime.enter();
            let built = Snapshot::build(plan, clock, &Events::ignored(), None);
            faults.extend(lines(&built.err().unwrap_or_default()));
        }
        Err(error) => faults.push(format!("the runtime cannot be started: {error}")),
    }
    faults.extend(Trail::probe(&plan.audit).err());
    let listeners = plan
        .listeners
        .iter()
        .map(|listener| (format!("listener `{}`", listener.name), listener.address));
    for (what, address) in listeners.chain([("admin".to_owned(), admin)]) {
        if let Err(error) = bindable(address) {
            faults.push(unbound(&what, address, &error));
        }
    }
    faults
}

/// One line for an address that cannot be listened on.
pub(crate) fn unbound(what: &str, address: SocketAddr, error: &std::io::Error) -> String {
    format!("{what} cannot bind {address}: {error}")
}

/// Binds as a listener would, without listening: no client can connect meanwhile.
fn bindable(address: SocketAddr) -> std::io::Result<()> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    match socket.bind(address) {
        Err(error) if error.kind() != ErrorKind::AddrInUse => Err(error),
        _ => Ok(()),
    }
}
