//! A receiver of syslog over TCP or TLS, with octet counting.
//!
//! What it does: takes messages apart by their lengths and keeps them, and fails on request: it reads nothing, or hangs up in the
//! middle of a message. What it refuses to know: what a message says. Invariant: what it keeps is bounded.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::server::{ServerTls, lock};

/// Messages that are kept, and the longest one.
const MESSAGES_LIMIT: usize = 100_000;
const MESSAGE_LIMIT_BYTES: usize = 1 << 20;

/// How a receiver of syslog behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyslogMood {
    Reads,
    /// Connections are taken, and nothing is read.
    Idles,
    /// Connections end after so many bytes.
    HangsUp(usize),
}

/// A running (or stopped) receiver. Dropping it stops it.
pub struct SyslogReceiver {
    address: SocketAddr,
    heard: Arc<SyslogHeard>,
    tls: Option<TlsAcceptor>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

struct SyslogHeard {
    messages: Mutex<Vec<String>>,
    mood: Mutex<SyslogMood>,
    accepted: AtomicU64,
    malformed: AtomicUsize,
}

impl SyslogReceiver {
    /// Listens on a free port of loopback.
    pub async fn start(tls: Option<&ServerTls>) -> io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let tls = match tls {
            Some(tls) => {
                let mut config = tls.server_config()?;
                Arc::make_mut(&mut config).alpn_protocols.clear();
                Some(TlsAcceptor::from(config))
            }
            None => None,
        };
        let receiver = SyslogReceiver {
            address: listener.local_addr()?,
            heard: Arc::new(SyslogHeard {
                messages: Mutex::default(),
                mood: Mutex::new(SyslogMood::Reads),
                accepted: AtomicU64::new(0),
                malformed: AtomicUsize::new(0),
            }),
            tls,
            accepting: Mutex::new(None),
        };
        receiver.accept_on(listener);
        Ok(receiver)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections so far.
    pub fn accepted(&self) -> u64 {
        self.heard.accepted.load(Ordering::SeqCst)
    }

    /// Messages that were no messages.
    pub fn malformed(&self) -> usize {
        self.heard.malformed.load(Ordering::SeqCst)
    }

    /// What came, oldest first, without the lengths.
    pub fn messages(&self) -> Vec<String> {
        lock(&self.heard.messages).clone()
    }

    /// Of connections from now on.
    pub fn behave(&self, mood: SyslogMood) {
        *lock(&self.heard.mood) = mood;
    }

    /// Connecting is refused from now on, and connections end.
    pub async fn stop(&self) {
        let accepting = lock(&self.accepting).take();
        if let Some(accepting) = accepting {
            accepting.abort();
            // Its end is what makes "refused" certain.
            let _aborted = accepting.await;
        }
    }

    /// Listens again on the same port.
    pub async fn restart(&self) -> io::Result<()> {
        self.stop().await;
        let listener = TcpListener::bind(self.address).await?;
        self.accept_on(listener);
        Ok(())
    }

    fn accept_on(&self, listener: TcpListener) {
        let (heard, tls) = (self.heard.clone(), self.tls.clone());
        let accepting = tokio::spawn(async move {
            // Ends with this task.
            let mut lines = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                heard.accepted.fetch_add(1, Ordering::SeqCst);
                lines.spawn(one_line(stream, tls.clone(), heard.clone()));
            }
        });
        *lock(&self.accepting) = Some(accepting);
    }
}

impl Drop for SyslogReceiver {
    fn drop(&mut self) {
        if let Some(accepting) = lock(&self.accepting).take() {
            accepting.abort();
        }
    }
}

async fn one_line(stream: TcpStream, tls: Option<TlsAcceptor>, heard: Arc<SyslogHeard>) {
    match tls {
        None => read(stream, &heard).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                read(stream, &heard).await;
            }
        }
    }
}

async fn read(mut stream: impl AsyncRead + Unpin, heard: &SyslogHeard) {
    let most = match *lock(&heard.mood) {
        SyslogMood::Reads => usize::MAX,
        SyslogMood::HangsUp(bytes) => bytes,
        SyslogMood::Idles => 0,
    };
    if most == 0 {
        return std::future::pending().await;
    }
    let (mut bytes, mut pending) = (0, Vec::new());
    let mut space = vec![0; 16 << 10];
    while let Ok(count @ 1..) = stream.read(&mut space).await {
        let Some(read) = space.get(..count.min(most.saturating_sub(bytes))) else {
            return;
        };
        bytes += count;
        pending.extend_from_slice(read);
        loop {
            match first(&pending) {
                FoundFrame::Part => break,
                FoundFrame::Malformed => {
                    heard.malformed.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                FoundFrame::Whole(message, length) => {
                    let mut messages = lock(&heard.messages);
                    if messages.len() < MESSAGES_LIMIT {
                        messages.push(message);
                    }
                    pending.drain(..length);
                }
            }
        }
        if bytes >= most {
            return;
        }
    }
    if !pending.is_empty() {
        heard.malformed.fetch_add(1, Ordering::SeqCst);
    }
}

enum FoundFrame {
    Part,
    Malformed,
    /// With what it takes of the bytes.
    Whole(String, usize),
}

/// `MSG-LEN SP SYSLOG-MSG` (RFC 5425 section 4.3).
fn first(bytes: &[u8]) -> FoundFrame {
    let Some(space) = bytes.iter().position(|byte| *byte == b' ') else {
        return if bytes.len() > 8 {
            FoundFrame::Malformed
        } else {
            FoundFrame::Part
        };
    };
    let length = bytes.get(..space).and_then(|digits| {
        let text = std::str::from_utf8(digits).ok()?;
        text.parse::<usize>()
            .ok()
            .filter(|_| !text.starts_with('0'))
    });
    let Some(length) = length.filter(|length| *length <= MESSAGE_LIMIT_BYTES) else {
        return FoundFrame::Malformed;
    };
    let end = space + 1 + length;
    match bytes.get(space + 1..end) {
        None => FoundFrame::Part,
        Some(message) => match String::from_utf8(message.to_vec()) {
            Ok(message) => FoundFrame::Whole(message, end),
            Err(_) => FoundFrame::Malformed,
        },
    }
}
