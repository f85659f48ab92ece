//! What can be known of a start before anything listens.
//!
//! What it does: furnishes a snapshot as a start would, and tries what a start needs of the machine: the audit file, the
//! addresses. What it refuses to know: files' syntax. Invariants: nothing is served, fetched, written or kept; an address
//! that is taken is no fault, because the gateway that is to be reloaded may have it.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::net::TcpSocket;

use super::snapshot::SnapshotFault;
use super::{Settings, Snapshot};
use crate::audit::{Trail, TrailFault};
use crate::clock::Clock;
use crate::identify::Events;

/// One reason why a gateway does not start.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StartFault(#[from] StartCause);

#[derive(Debug, thiserror::Error)]
pub(crate) enum StartCause {
    #[error("the runtime cannot be started")]
    Runtime(#[source] io::Error),
    #[error("metrics cannot be set up")]
    Metrics(#[from] prometheus::Error),
    #[error(transparent)]
    Snapshot(#[from] SnapshotFault),
    #[error(transparent)]
    Trail(#[from] TrailFault),
    #[error(transparent)]
    Unbound(#[from] Unbound),
    /// Of a socket that was bound.
    #[error(transparent)]
    Address(#[from] io::Error),
}

impl StartFault {
    pub(crate) fn of(cause: impl Into<StartCause>) -> Self {
        StartFault(cause.into())
    }

    pub(crate) fn all<C: Into<StartCause>>(causes: Vec<C>) -> Vec<Self> {
        causes.into_iter().map(Self::of).collect()
    }
}

/// Every fault that would keep this plan from being served. Must not run within a runtime.
pub(crate) fn examine(plan: &Settings, admin: SocketAddr, clock: &Clock) -> Vec<StartFault> {
    let mut faults = Vec::new();
    // Tasks that the snapshot spawns need a runtime, and are never polled in this one: no key set is fetched.
    match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => {
            let _entered = runtime.enter();
            let built = Snapshot::build(plan, clock, &Events::ignored(), None);
            faults.extend(StartFault::all(built.err().unwrap_or_default()));
        }
        Err(error) => faults.push(StartFault::of(StartCause::Runtime(error))),
    }
    faults.extend(Trail::probe(&plan.audit).err().map(StartFault::of));
    let listeners = plan
        .listeners
        .iter()
        .map(|listener| (format!("listener `{}`", listener.name), listener.address));
    for (what, address) in listeners.chain([("admin".to_owned(), admin)]) {
        if let Err(cause) = bindable(address) {
            faults.push(StartFault::of(Unbound {
                what,
                address,
                cause,
            }));
        }
    }
    faults
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot bind {address}")]
pub struct Unbound {
    pub(crate) what: String,
    pub(crate) address: SocketAddr,
    #[source]
    pub(crate) cause: io::Error,
}

/// Binds as a listener would, without listening: no client can connect meanwhile.
fn bindable(address: SocketAddr) -> io::Result<()> {
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
