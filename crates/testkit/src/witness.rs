//! A witness of logs (C2SP `tlog-witness`), in small.
//!
//! What it does: takes checkpoints of one log, verifies the log's signature and that the tree goes on from what it saw last, and
//! countersigns. What it refuses to know: what the log holds. Invariants: it signs no tree that does not go on from the last one;
//! its verification is its own, so that it can be an oracle.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::net::TcpListener;

use super::server::{Connection, Reply, Server, Service, lock, whole};

const BODY_LIMIT_BYTES: usize = 64 << 10;
const LOG_KEY: u8 = 1;
const WITNESS_KEY: u8 = 4;

/// A running (or stopped) witness.
pub struct SampleWitness {
    server: Server,
    state: Arc<WitnessState>,
}

/// A log's name, id and public key.
type LogKey = (String, [u8; 4], Vec<u8>);

struct WitnessState {
    name: String,
    pair: Ed25519KeyPair,
    /// Of the log that it follows.
    log: Mutex<Option<LogKey>>,
    seen: Mutex<Seen>,
}

#[derive(Clone, Default)]
struct Seen {
    size: u64,
    root: Vec<u8>,
    /// Statuses of its answers, oldest first.
    answers: Vec<u16>,
}

impl SampleWitness {
    /// Starts on a free port of loopback.
    pub async fn start(name: &str, seed: [u8; 32]) -> Result<Self, String> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(any).await;
        let listener = listener.map_err(|error| format!("the witness cannot listen: {error}"))?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| "no seed".to_owned())?;
        let state = Arc::new(WitnessState {
            name: name.to_owned(),
            pair,
            log: Mutex::default(),
            seen: Mutex::default(),
        });
        let server = Server::start(listener, None, state.clone()).await;
        let server = server.map_err(|error| format!("the witness cannot serve: {error}"))?;
        Ok(SampleWitness { server, state })
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Its key as others are given it: `name+id+key`.
    pub fn key(&self) -> String {
        let public = self.state.pair.public_key().as_ref();
        let id = key_id(&self.state.name, WITNESS_KEY, public);
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let key = STANDARD.encode([&[WITNESS_KEY], public].concat());
        format!("{}+{id}+{key}", self.state.name)
    }

    /// Takes checkpoints of the log of this name that signs with the key of this seed.
    pub fn watch(&self, name: &str, seed: [u8; 32]) -> Result<(), String> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| "no seed".to_owned())?;
        let public = pair.public_key().as_ref();
        let id = key_id(name, LOG_KEY, public);
        *lock(&self.state.log) = Some((name.to_owned(), id, public.to_vec()));
        Ok(())
    }

    /// The size of the tree that it saw last.
    pub fn size(&self) -> u64 {
        lock(&self.state.seen).size
    }

    /// The statuses of its answers, oldest first.
    pub fn answers(&self) -> Vec<u16> {
        lock(&self.state.seen).answers.clone()
    }

    /// Forgets what it saw.
    pub fn forget(&self) {
        *lock(&self.state.seen) = Seen::default();
    }

    /// Claims to have seen so many.
    pub fn claim(&self, size: u64) {
        lock(&self.state.seen).size = size;
    }

    /// Connecting is refused from now on.
    pub async fn stop(&self) {
        self.server.stop().await;
    }

    /// Listens again on the same port.
    pub async fn restart(&self) -> Result<(), String> {
        let again = self.server.restart().await;
        again.map_err(|error| format!("the witness cannot listen again: {error}"))
    }
}

impl Service for WitnessState {
    fn answer(self: Arc<Self>, request: Request<Incoming>, _: Connection) -> Reply {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = Limited::new(body, BODY_LIMIT_BYTES).collect().await;
            let body = body
                .map(|body| body.to_bytes().to_vec())
                .unwrap_or_default();
            let (status, text) = match parts.uri.path() {
                "/add-checkpoint" => self.add(&String::from_utf8_lossy(&body)),
                _ => (StatusCode::NOT_FOUND, String::new()),
            };
            lock(&self.seen).answers.push(status.as_u16());
            let mut answer = Response::new(whole(text));
            *answer.status_mut() = status;
            answer
        })
    }
}

impl WitnessState {
    fn add(&self, body: &str) -> (StatusCode, String) {
        let no = |status| (status, String::new());
        let Some(asked) = CheckpointAsk::of(body) else {
            return no(StatusCode::BAD_REQUEST);
        };
        let Some((name, id, key)) = lock(&self.log).clone() else {
            return no(StatusCode::NOT_FOUND);
        };
        if asked.origin != name {
            return no(StatusCode::NOT_FOUND);
        }
        let is_signed = asked.signatures.iter().any(|(by, signature)| {
            *by == name
                && signature.get(..4) == Some(id.as_slice())
                && UnparsedPublicKey::new(&ED25519, &key)
                    .verify(
                        asked.text.as_bytes(),
                        signature.get(4..).unwrap_or_default(),
                    )
                    .is_ok()
        });
        if !is_signed {
            return no(StatusCode::FORBIDDEN);
        }
        let mut seen = lock(&self.seen);
        if asked.old > asked.size {
            return no(StatusCode::BAD_REQUEST);
        }
        if asked.old != seen.size {
            return (StatusCode::CONFLICT, format!("{}\n", seen.size));
        }
        if !goes_on(
            (asked.old, &seen.root),
            &asked.proof,
            (asked.size, &asked.root),
        ) {
            return no(StatusCode::UNPROCESSABLE_ENTITY);
        }
        (seen.size, seen.root) = (asked.size, asked.root);
        (StatusCode::OK, self.line(&asked.text))
    }

    fn line(&self, text: &str) -> String {
        let time: u64 = 1_800_000_000;
        let signature = self
            .pair
            .sign(format!("cosignature/v1\ntime {time}\n{text}").as_bytes());
        let id = key_id(&self.name, WITNESS_KEY, self.pair.public_key().as_ref());
        let blob = [id.as_slice(), &time.to_be_bytes(), signature.as_ref()].concat();
        format!("\u{2014} {} {}\n", self.name, STANDARD.encode(blob))
    }
}

/// A request, taken apart.
struct CheckpointAsk {
    old: u64,
    proof: Vec<Vec<u8>>,
    text: String,
    origin: String,
    size: u64,
    root: Vec<u8>,
    signatures: Vec<(String, Vec<u8>)>,
}

impl CheckpointAsk {
    fn of(body: &str) -> Option<Self> {
        let (head, note) = body.split_once("\n\n")?;
        let mut lines = head.lines();
        let old = lines.next()?.strip_prefix("old ")?.parse().ok()?;
        let proof: Option<Vec<_>> = lines.map(|hash| STANDARD.decode(hash).ok()).collect();
        let (text, signatures) = note.split_once("\n\n")?;
        let text = format!("{text}\n");
        let mut stated = text.lines();
        let signatures = signatures.lines().map(|line| {
            let (name, signature) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
            Some((name.to_owned(), STANDARD.decode(signature).ok()?))
        });
        Some(CheckpointAsk {
            old,
            proof: proof.filter(|proof| proof.len() <= 63)?,
            origin: stated.next()?.to_owned(),
            size: stated.next()?.parse().ok()?,
            root: STANDARD.decode(stated.next()?).ok()?,
            signatures: signatures.collect::<Option<_>>()?,
            text,
        })
    }
}

fn key_id(name: &str, kind: u8, public: &[u8]) -> [u8; 4] {
    let hash = digest(&SHA256, &[name.as_bytes(), b"\n", &[kind], public].concat());
    let mut id = [0; 4];
    id.iter_mut()
        .zip(hash.as_ref())
        .for_each(|(to, from)| *to = *from);
    id
}

fn node(left: &[u8], right: &[u8]) -> Vec<u8> {
    digest(&SHA256, &[&[1], left, right].concat())
        .as_ref()
        .to_vec()
}

/// Whether a tree goes on from an earlier one: recomputes both roots from the proof, top down (RFC 6962 section 2.1.2).
fn goes_on((old, old_root): (u64, &[u8]), proof: &[Vec<u8>], (size, root): (u64, &[u8])) -> bool {
    if old == 0 || old == size {
        return proof.is_empty() && (old == 0 || old_root == root);
    }
    let mut rest = proof.to_vec();
    let both = roots(old, size, true, old_root, &mut rest);
    rest.is_empty() && both.is_some_and(|(earlier, later)| earlier == old_root && later == root)
}

/// The roots of the first `old` of `size` leaves and of all of them; hashes are taken from the proof's end.
fn roots(
    old: u64,
    size: u64,
    is_whole: bool,
    old_root: &[u8],
    proof: &mut Vec<Vec<u8>>,
) -> Option<(Vec<u8>, Vec<u8>)> {
    if old == size {
        let hash = if is_whole {
            old_root.to_vec()
        } else {
            proof.pop()?
        };
        return Some((hash.clone(), hash));
    }
    let split = 1_u64 << (size - 1).ilog2();
    let sibling = proof.pop()?;
    if old <= split {
        let (earlier, left) = roots(old, split, is_whole, old_root, proof)?;
        Some((earlier, node(&left, &sibling)))
    } else {
        let (right_earlier, right) = roots(old - split, size - split, false, old_root, proof)?;
        Some((node(&sibling, &right_earlier), node(&sibling, &right)))
    }
}
