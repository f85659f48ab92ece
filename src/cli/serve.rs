//! `lightkeeper serve`: the process around the gateway.
//!
//! What it does: prepares the process, starts the gateway and its admin listener, and maps signals to reload
//! and stop. What it refuses to know: requests. Invariants: the crypto provider is installed before
//! anything uses TLS; a panic never prints what it was about.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::load;
use super::plan::{Examined, Start, examine};
use crate::causes::chain;
use crate::clock::Clock;
use crate::config::LogFormat;
use crate::gateway::{Gateway, Loader};
use crate::state::StartFault;
use crate::{admin, telemetry};

/// The process would write its session keys to a file.
#[derive(Debug, thiserror::Error)]
#[error("SSLKEYLOGFILE is set: session keys would be written to a file; unset it")]
pub struct KeyLog;

/// One reason why the process does not serve.
#[derive(Debug, thiserror::Error)]
enum ServeFault {
    #[error("the runtime cannot be started")]
    Runtime(#[source] std::io::Error),
    #[error("signals cannot be handled")]
    Signals(#[source] std::io::Error),
    #[error(transparent)]
    Start(#[from] StartFault),
    #[error(transparent)]
    Admin(#[from] admin::AdminFault),
}

/// What must be true of the process before any key or token is touched.
pub fn prepare_process() -> Result<(), KeyLog> {
    prepare_panics();
    prepare_cryptography()
}

fn prepare_panics() {
    std::panic::set_hook(Box::new(|panic| {
        // The payload may hold data of a call; the place is enough to find the defect.
        telemetry::note_panic();
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(place, "panic: this is a defect, please report it");
    }));
}

/// The part of it that TLS needs, for a process that is not ours alone (a test's).
pub fn prepare_cryptography() -> Result<(), KeyLog> {
    if std::env::var_os("SSLKEYLOGFILE").is_some() {
        return Err(KeyLog);
    }
    // A provider that is installed already is ours too: nothing else in this process installs one first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Ok(())
}

pub(crate) fn serve(path: &Path) -> ExitCode {
    match run(path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(faults) => {
            for fault in faults {
                eprintln!("{}", chain(&fault));
            }
            eprintln!("not started");
            ExitCode::FAILURE
        }
    }
}

/// The faults are those that are not told yet.
fn run(path: &Path) -> Result<(), Vec<ServeFault>> {
    prepare_panics();
    let clock = Clock::system();
    let Examined { findings, start } = examine(path, &clock);
    for finding in findings {
        eprintln!("{finding}");
    }
    let Some(Start {
        plan,
        admin: admin_address,
        threads,
        log,
        ways,
    }) = start
    else {
        return Err(Vec::new());
    };
    let format = match log.format {
        LogFormat::Json => telemetry::LogFormat::Json,
        LogFormat::Text => telemetry::LogFormat::Text,
    };
    telemetry::start_logging(format, &log.level.to_string().to_ascii_lowercase());
    for way in ways {
        tracing::info!(
            call = way.what,
            to = way.to,
            proxy = way.proxy.as_deref().unwrap_or("none"),
            "way out"
        );
    }
    raise_descriptors(plan.limits.connections);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("gateway")
        .enable_all()
        .build()
        .map_err(|error| vec![ServeFault::Runtime(error)])?;
    let loader = loader(path.to_owned(), clock.clone());
    runtime.block_on(async move {
        // Before anything listens: a signal that comes early must not end the process the hard way.
        let signals = Signals::install().map_err(|error| vec![ServeFault::Signals(error)])?;
        let gateway = Gateway::start(plan, loader, clock).await;
        let gateway = gateway
            .map_err(|faults| faults.into_iter().map(ServeFault::from).collect::<Vec<_>>())?;
        admin::serve(admin_address, gateway.shared().clone())
            .map_err(|fault| vec![fault.into()])?;
        until_stopped(gateway, signals).await;
        Ok(())
    })
}

/// Descriptors besides those of clients: two backends' connections, files, listeners.
const OTHER_DESCRIPTORS: u64 = 2048;

/// Each connection is a descriptor. The soft limit is commonly 1,024, for the sake of `select(2)`, which is not used here; a
/// program that can do with more raises it to the hard one (systemd.exec(5), `LimitNOFILE`).
fn raise_descriptors(connections: u32) {
    let wanted = u64::from(connections) + OTHER_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current != limit.maximum && setrlimit(Resource::Nofile, raised).is_err() {
        tracing::warn!(
            limit = limit.current,
            "the limit of file descriptors cannot be raised to the hard one"
        );
    }
    // None: there is no limit.
    if let Some(limit) = getrlimit(Resource::Nofile)
        .current
        .filter(|limit| *limit < wanted)
    {
        let hint = "raise it (LimitNOFILE, ulimit -n), or lower `limits.connections`";
        tracing::warn!(
            limit,
            wanted,
            hint,
            "fewer file descriptors than connections may take"
        );
    }
}

/// Reads the same files again on each reload.
fn loader(path: PathBuf, clock: Clock) -> Loader {
    Arc::new(move || load(&path, &clock).plan())
}

/// The signals that we answer.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn install() -> std::io::Result<Self> {
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

async fn until_stopped(gateway: Arc<Gateway>, mut signals: Signals) {
    let watching = tokio::spawn(gateway.clone().watch());
    loop {
        tokio::select! {
            _ = signals.hangup.recv() => {
                // Its failure is logged, counted and recorded where it happens.
                let _ = gateway.reload().await;
            }
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
        }
    }
    gateway.stop().await;
    watching.abort();
}
