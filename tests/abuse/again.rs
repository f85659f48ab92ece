//! Scenario: a gRPC backend that takes, refuses or drops single streams, in frames written by hand. Guarantees: an
//! export goes out again only where the backend said that it did not process it (RFC 9113 sections 6.8 and 8.7), and
//! then at most five times; in every other case the exporter is told to come again. Nothing is lost or doubled where a
//! backend takes one stream at a time and renews its connections.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use testkit::{Sample, World, WorldPlan};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::frames::{self, ACK, END_HEADERS, END_STREAM};

const SOON: Duration = Duration::from_secs(30);

const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// What becomes of one stream.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Answer,
    /// `RST_STREAM` with this code.
    Reset(u32),
    /// `GOAWAY` whose last stream is the one before this.
    GoAwayBefore,
    /// The same with `ENHANCE_YOUR_CALM`.
    TooMuch,
    /// `GOAWAY` whose last stream is this one; then the connection ends.
    GoAwayAfter,
    /// The connection ends.
    Close,
}

/// A backend that plays its turns, whatever connections they come on, and then answers.
struct Backend {
    url: String,
    turns: Arc<Mutex<VecDeque<Turn>>>,
    asked: Arc<AtomicUsize>,
    connections: Arc<Connections>,
}

/// How many are open, and have been at once.
#[derive(Default)]
struct Connections {
    open: AtomicUsize,
    most: AtomicUsize,
}

impl Backend {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend = Backend {
            url: format!("http://{}", listener.local_addr().unwrap()),
            turns: Arc::default(),
            asked: Arc::default(),
            connections: Arc::default(),
        };
        let (turns, asked, connections) = (
            backend.turns.clone(),
            backend.asked.clone(),
            backend.connections.clone(),
        );
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (turns, asked, connections) =
                    (turns.clone(), asked.clone(), connections.clone());
                tokio::spawn(async move {
                    connections.most.fetch_max(
                        connections.open.fetch_add(1, Ordering::SeqCst) + 1,
                        Ordering::SeqCst,
                    );
                    let _gone = serve(stream, turns, asked).await;
                    connections.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        backend
    }

    fn play(&self, turns: &[Turn]) {
        *self.turns.lock().unwrap() = turns.iter().copied().collect();
        self.asked.store(0, Ordering::SeqCst);
    }
}

/// One connection; ends with an error of the socket's when the gateway closes it.
async fn serve(
    mut stream: TcpStream,
    turns: Arc<Mutex<VecDeque<Turn>>>,
    asked: Arc<AtomicUsize>,
) -> std::io::Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    stream
        .write_all(&frames::frame(frames::SETTINGS, 0, 0, &[]))
        .await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await?;
        let (kind, flags, id) = (
            head[3],
            head[4],
            u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
        );
        match kind {
            frames::SETTINGS if flags & ACK == 0 => {
                stream
                    .write_all(&frames::frame(frames::SETTINGS, ACK, 0, &[]))
                    .await?;
            }
            frames::PING if flags & ACK == 0 => {
                stream
                    .write_all(&frames::frame(frames::PING, ACK, 0, &payload))
                    .await?;
            }
            frames::DATA if flags & END_STREAM != 0 => {
                asked.fetch_add(1, Ordering::SeqCst);
                let turn = turns.lock().unwrap().pop_front().unwrap_or(Turn::Answer);
                let go_away = |last: u32, code: u32| {
                    let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
                    frames::frame(frames::GOAWAY, 0, 0, &payload)
                };
                match turn {
                    Turn::Answer => stream.write_all(&answer(id)).await?,
                    Turn::Reset(code) => {
                        stream
                            .write_all(&frames::frame(
                                frames::RST_STREAM,
                                0,
                                id,
                                &code.to_be_bytes(),
                            ))
                            .await?;
                    }
                    Turn::GoAwayBefore => {
                        stream
                            .write_all(&go_away(id.saturating_sub(2), NO_ERROR))
                            .await?
                    }
                    Turn::TooMuch => {
                        stream
                            .write_all(&go_away(id.saturating_sub(2), ENHANCE_YOUR_CALM))
                            .await?
                    }
                    Turn::GoAwayAfter => {
                        stream.write_all(&go_away(id, NO_ERROR)).await?;
                        return stream.shutdown().await;
                    }
                    Turn::Close => return stream.shutdown().await,
                }
            }
            _ => {}
        }
    }
}

/// An empty message and status 0.
fn answer(id: u32) -> Vec<u8> {
    let head = frames::block(&[(":status", "200"), ("content-type", "application/grpc")]);
    [
        frames::frame(frames::HEADERS, END_HEADERS, id, &head),
        frames::frame(frames::DATA, 0, id, &[0; 5]),
        frames::frame(
            frames::HEADERS,
            END_HEADERS | END_STREAM,
            id,
            &frames::block(&[("grpc-status", "0")]),
        ),
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_was_not_processed_goes_out_again() {
    use Turn::{Answer, Close, GoAwayAfter, GoAwayBefore, Reset, TooMuch};
    let backend = Backend::start().await;
    let mut plan = WorldPlan::default();
    plan.config = plan.config.replace("{ingest}", &backend.url);
    let world = World::start_with(plan).await.unwrap();
    let caller = world
        .plain_caller()
        .bearer(&world.issuer.token("checkout-collector"));
    let refused = Reset(REFUSED_STREAM);
    let cases: &[(&[Turn], u32, usize)] = &[
        (&[Answer], 0, 1),
        (&[refused], 0, 2),
        (&[refused, refused], 0, 3),
        (&[refused, refused, refused, GoAwayBefore, refused], 0, 6),
        (
            &[refused, refused, refused, refused, refused, refused, Answer],
            14,
            6,
        ),
        (&[GoAwayBefore], 0, 2),
        (&[GoAwayBefore, refused], 0, 3),
        // It is asked too much already.
        (&[TooMuch], 14, 1),
        (&[refused, TooMuch], 14, 2),
        (&[Reset(INTERNAL_ERROR)], 14, 1),
        (&[GoAwayAfter], 14, 1),
        (&[Close], 14, 1),
    ];
    for reused in [true, false] {
        for (turns, status, times) in cases {
            // Ends what connections there are, or leaves one at rest.
            backend.play(&[if reused { Answer } else { Close }]);
            caller
                .export_grpc(&Sample::traces("checkout", 1))
                .await
                .unwrap();
            backend.play(turns);
            let answer = caller
                .export_grpc(&Sample::traces("checkout", 1))
                .await
                .unwrap();
            let found = (answer.grpc_status(), backend.asked.load(Ordering::SeqCst));
            assert_eq!(
                found,
                (Some(*status), *times),
                "{turns:?}, reused: {reused}: {:?}",
                answer.grpc_message()
            );
        }
    }
}

/// Scenario: two hundred exports at once to a backend that takes none. Guarantees: each goes out six times at most, over a
/// bounded number of connections at once; then its exporter is told to come again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_takes_nothing_is_not_dialled_by_each_call() {
    const CALLS: usize = 200;
    let backend = Backend::start().await;
    let mut plan = WorldPlan::default();
    plan.config = plan.config.replace("{ingest}", &backend.url);
    let world = World::start_with(plan).await.unwrap();
    let caller = world
        .plain_caller()
        .bearer(&world.issuer.token("checkout-collector"))
        .deadline(SOON);
    backend.play(&[Turn::Reset(REFUSED_STREAM); 6 * CALLS]);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..CALLS {
        let caller = caller.clone();
        calls.spawn(async move {
            caller
                .export_grpc(&Sample::traces("checkout", 1))
                .await
                .unwrap()
                .grpc_status()
        });
    }
    while let Some(status) = calls.join_next().await {
        assert_eq!(status.unwrap(), Some(14));
    }
    let asked = backend.asked.load(Ordering::SeqCst);
    // Fewer where one had no connection of its own within `timeouts.connect`.
    assert!((CALLS..=6 * CALLS).contains(&asked), "{asked}");
    let most = backend.connections.most.load(Ordering::SeqCst);
    // Those that are just being closed, a busy backend sees for longer; without a bound there were as many as calls besides.
    assert!(most <= 2 * 64, "{most} connections at once");
    backend.play(&[]);
    assert_eq!(
        caller
            .export_grpc(&Sample::traces("checkout", 1))
            .await
            .unwrap()
            .grpc_status(),
        Some(0)
    );
}

/// What a backend has taken, by its bytes, and how many connections it has had.
#[derive(Default)]
struct Taken {
    messages: Mutex<HashMap<Vec<u8>, usize>>,
    connections: AtomicUsize,
}

/// One connection of a backend that takes one stream at a time. It refuses some, and ends the connection by GOAWAY after a
/// few: as the protocol wants it (RFC 9113 section 6.8), or at once, by the number of the last stream that was taken.
async fn one_at_a_time(stream: TcpStream, taken: Arc<Taken>) {
    const STREAMS: usize = 5;
    let number = taken.connections.fetch_add(1, Ordering::SeqCst);
    let mut settings = h2::server::Builder::new();
    let Ok(mut connection) = settings
        .max_concurrent_streams(1)
        .handshake::<_, bytes::Bytes>(stream)
        .await
    else {
        return;
    };
    let mut count = 0;
    while let Some(Ok((request, mut answering))) = connection.accept().await {
        count += 1;
        if (number + count).is_multiple_of(7) {
            answering.send_reset(h2::Reason::REFUSED_STREAM);
            continue;
        }
        if count == STREAMS {
            connection.graceful_shutdown();
        }
        let taken = taken.clone();
        tokio::spawn(async move {
            let (mut body, mut message) = (request.into_body(), Vec::new());
            while let Some(data) = body.data().await {
                let Ok(data) = data else { return };
                body.flow_control().release_capacity(data.len()).unwrap();
                message.extend_from_slice(&data);
            }
            *taken.messages.lock().unwrap().entry(message).or_default() += 1;
            let head = http::Response::builder()
                .header("content-type", "application/grpc")
                .body(())
                .unwrap();
            let mut stream = answering.send_response(head, false).unwrap();
            stream
                .send_data(bytes::Bytes::from_static(&[0; 5]), false)
                .unwrap();
            let trailers = [(
                http::HeaderName::from_static("grpc-status"),
                http::HeaderValue::from_static("0"),
            )];
            stream
                .send_trailers(trailers.into_iter().collect())
                .unwrap();
        });
    }
}

/// Scenario: several hundred exports, many at once, to such a backend. Guarantees: every one is answered with success, and
/// is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_takes_one_stream_at_a_time_gets_all_of_them_once() {
    const TASKS: u64 = 40;
    const EACH: u64 = 10;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let taken = Arc::new(Taken::default());
    let serving = taken.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(one_at_a_time(stream, serving.clone()));
        }
    });
    let mut plan = WorldPlan::default();
    plan.config = plan.config.replace("{ingest}", &url);
    let world = Arc::new(World::start_with(plan).await.unwrap());
    let token = world.issuer.token("checkout-collector");
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let caller = world.plain_caller().bearer(&token);
        tasks.spawn(async move {
            let mut faults = Vec::new();
            for export in 0..EACH {
                let sample = Sample::traces("checkout", 1).seed(task * EACH + export + 1);
                let answer = caller.export_grpc(&sample).await.unwrap();
                if answer.grpc_status() != Some(0) {
                    faults.push((answer.grpc_status(), answer.grpc_message()));
                }
            }
            faults
        });
    }
    let faults: Vec<_> = tasks.join_all().await.concat();
    assert!(
        faults.is_empty(),
        "{} of {}: {faults:?}",
        faults.len(),
        TASKS * EACH
    );
    let messages = taken.messages.lock().unwrap();
    let doubled = messages.values().filter(|count| **count > 1).count();
    assert_eq!((messages.len() as u64, doubled), (TASKS * EACH, 0));
    assert!(
        taken.connections.load(Ordering::SeqCst) > 50,
        "the connections were renewed"
    );
}
