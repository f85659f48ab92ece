//! A SPIFFE agent's Workload API, as far as this process asks it.
//!
//! What it does: answers on a Unix socket with what it is told, again whenever that changes. What it refuses to know: who
//! asks, and what the answers are worth. Invariant: a call without `workload.spiffe.io: true` gets
//! nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::SendStream;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the agent gives.
#[derive(Clone, Debug, Default)]
pub struct WorkloadAnswers {
    /// ID, chain, PKCS#8 key and the bundle of its trust domain; certificates as DER behind DER.
    pub svids: Vec<[Vec<u8>; 4]>,
    /// Other trust domains' bundles.
    pub federated: Vec<(String, Vec<u8>)>,
    /// Trust domains' key sets.
    pub jwt: Vec<(String, Vec<u8>)>,
    /// Instead of all: a gRPC status, or bytes that stand for a message.
    pub status: Option<u16>,
    pub raw: Option<Vec<u8>>,
    /// Bytes that stand for a message with its length; empty: the answer begins, and nothing comes.
    pub frame: Option<Vec<u8>>,
    /// Says it again and again, as fast as it is taken.
    pub endless: bool,
}

/// A running agent; gone when it is dropped, its socket included.
pub struct WorkloadApi {
    socket: PathBuf,
    answers: watch::Sender<WorkloadAnswers>,
    streams: Arc<AtomicUsize>,
    sent_bytes: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl WorkloadApi {
    /// Listens at a path where nothing is.
    pub fn start(socket: &Path, answers: WorkloadAnswers) -> std::io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let (answers, told) = watch::channel(answers);
        let streams = Arc::new(AtomicUsize::new(0));
        let sent_bytes = Arc::new(AtomicUsize::new(0));
        let (counted, sent) = (streams.clone(), sent_bytes.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((wire, _)) = listener.accept().await {
                let (told, counted) = (told.clone(), counted.clone());
                let sent = sent.clone();
                connections.spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(wire).await else {
                        return;
                    };
                    let mut calls = JoinSet::new();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        counted.fetch_add(1, Ordering::SeqCst);
                        calls.spawn(answer(request, respond, told.clone(), sent.clone()));
                    }
                });
            }
        });
        Ok(WorkloadApi {
            socket: socket.to_owned(),
            answers,
            streams,
            sent_bytes,
            _tasks: tasks,
        })
    }

    /// Answers so from now on, on streams that stand as well.
    pub fn say(&self, answers: WorkloadAnswers) {
        self.answers.send_replace(answers);
    }

    /// How many calls there were.
    pub fn streams(&self) -> usize {
        self.streams.load(Ordering::SeqCst)
    }

    /// Of all answers, as far as they were taken.
    pub fn sent_bytes(&self) -> usize {
        self.sent_bytes.load(Ordering::SeqCst)
    }
}

impl Drop for WorkloadApi {
    fn drop(&mut self) {
        // Nothing is there to tell that it could not be removed.
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Ends when who asks goes away.
async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    mut told: watch::Receiver<WorkloadAnswers>,
    sent: Arc<AtomicUsize>,
) {
    let is_known = request.headers().get("workload.spiffe.io");
    let status = match is_known.is_some_and(|value| value == "true") {
        true => told.borrow().status,
        false => Some(3),
    };
    let head = Response::builder().header("content-type", "application/grpc");
    if let Some(status) = status {
        let head = head.header("grpc-status", status.to_string());
        let _ = head.body(()).map(|head| respond.send_response(head, true));
        return;
    }
    let Ok(head) = head.body(()) else { return };
    let Ok(mut stream) = respond.send_response(head, false) else {
        return;
    };
    loop {
        let answers = told.borrow_and_update().clone();
        if let Some(status) = answers.status {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", status.into());
            let _ = stream.send_trailers(trailers);
            return;
        }
        let framed = answers.framed(request.uri().path());
        loop {
            if give(&mut stream, framed.clone(), &sent).await.is_none() {
                return;
            }
            if !answers.endless || told.has_changed().unwrap_or(true) {
                break;
            }
        }
        if told.changed().await.is_err() {
            return;
        }
    }
}

/// Sends what is taken, as it is taken.
async fn give(stream: &mut SendStream<Bytes>, mut bytes: Bytes, sent: &AtomicUsize) -> Option<()> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
        let part = bytes.split_to(room?.ok()?.min(bytes.len()));
        sent.fetch_add(part.len(), Ordering::SeqCst);
        stream.send_data(part, false).ok()?;
    }
    Some(())
}

impl WorkloadAnswers {
    fn framed(&self, path: &str) -> Bytes {
        if let Some(frame) = &self.frame {
            return frame.clone().into();
        }
        let message = self.message(path);
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        [&[0][..], &length.to_be_bytes(), &message].concat().into()
    }

    fn message(&self, path: &str) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let entry = |number, (name, bundle): &(String, Vec<u8>)| {
            let name = format!("spiffe://{name}");
            field(
                number,
                &[field(1, name.as_bytes()), field(2, bundle)].concat(),
            )
        };
        if path.ends_with("/FetchJWTBundles") {
            return self.jwt.iter().flat_map(|one| entry(1, one)).collect();
        }
        let svid = |parts: &[Vec<u8>; 4]| {
            let fields = (1..)
                .zip(parts)
                .flat_map(|(number, part)| field(number, part));
            field(1, &fields.collect::<Vec<_>>())
        };
        let svids = self.svids.iter().flat_map(svid);
        svids
            .chain(self.federated.iter().flat_map(|one| entry(3, one)))
            .collect()
    }
}

/// A length-delimited field of protobuf, with a number below 16.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut all = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        all.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    all.push(u8::try_from(length).unwrap_or_default());
    all.extend(content);
    all
}
