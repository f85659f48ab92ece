//! Scenario: a gRPC backend that takes, refuses or drops single streams, in frames written by hand. Guarantees: an
//! export goes out again only where the backend said that it did not process it (RFC 9113 sections 6.8 and 8.7), and
//! then at most twice; in every other case the exporter is told to come again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use lightkeeper::demo::{Sample, World, WorldPlan};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::frames::{self, ACK, END_HEADERS, END_STREAM};

const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;

/// What becomes of one stream.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Answer,
    /// `RST_STREAM` with this code.
    Reset(u32),
    /// `GOAWAY` whose last stream is the one before this.
    GoAwayBefore,
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
}

impl Backend {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend = Backend {
            url: format!("http://{}", listener.local_addr().unwrap()),
            turns: Arc::default(),
            asked: Arc::default(),
        };
        let (turns, asked) = (backend.turns.clone(), backend.asked.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, turns.clone(), asked.clone()));
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
    stream.write_all(&frames::frame(frames::SETTINGS, 0, 0, &[])).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await?;
        let (kind, flags, id) = (head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
        match kind {
            frames::SETTINGS if flags & ACK == 0 => {
                stream.write_all(&frames::frame(frames::SETTINGS, ACK, 0, &[])).await?;
            }
            frames::PING if flags & ACK == 0 => {
                stream.write_all(&frames::frame(frames::PING, ACK, 0, &payload)).await?;
            }
            frames::DATA if flags & END_STREAM != 0 => {
                asked.fetch_add(1, Ordering::SeqCst);
                let turn = turns.lock().unwrap().pop_front().unwrap_or(Turn::Answer);
                let go_away = |last: u32| {
                    let payload = [last.to_be_bytes(), NO_ERROR.to_be_bytes()].concat();
                    frames::frame(frames::GOAWAY, 0, 0, &payload)
                };
                match turn {
                    Turn::Answer => stream.write_all(&answer(id)).await?,
                    Turn::Reset(code) => {
                        stream.write_all(&frames::frame(frames::RST_STREAM, 0, id, &code.to_be_bytes())).await?;
                    }
                    Turn::GoAwayBefore => stream.write_all(&go_away(id.saturating_sub(2))).await?,
                    Turn::GoAwayAfter => {
                        stream.write_all(&go_away(id)).await?;
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
        frames::frame(frames::HEADERS, END_HEADERS | END_STREAM, id, &frames::block(&[("grpc-status", "0")])),
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_was_not_processed_goes_out_again() {
    use Turn::{Answer, Close, GoAwayAfter, GoAwayBefore, Reset};
    let backend = Backend::start().await;
    let mut plan = WorldPlan::default();
    plan.config = plan.config.replace("{ingest}", &backend.url);
    let world = World::start_with(plan).await.unwrap();
    let caller = world.plain_caller().bearer(&world.issuer.token("checkout-collector"));
    let refused = Reset(REFUSED_STREAM);
    let cases: &[(&[Turn], u32, usize)] = &[
        (&[Answer], 0, 1),
        (&[refused], 0, 2),
        (&[refused, refused], 0, 3),
        (&[refused, refused, refused, Answer], 14, 3),
        (&[GoAwayBefore], 0, 2),
        (&[GoAwayBefore, refused], 0, 3),
        (&[Reset(INTERNAL_ERROR)], 14, 1),
        (&[GoAwayAfter], 14, 1),
        (&[Close], 14, 1),
    ];
    for reused in [true, false] {
        for (turns, status, times) in cases {
            // Ends what connections there are, or leaves one at rest.
            backend.play(&[if reused { Answer } else { Close }]);
            caller.export_grpc(&Sample::traces("checkout", 1)).await.unwrap();
            backend.play(turns);
            let answer = caller.export_grpc(&Sample::traces("checkout", 1)).await.unwrap();
            let found = (answer.grpc_status(), backend.asked.load(Ordering::SeqCst));
            assert_eq!(found, (Some(*status), *times), "{turns:?}, reused: {reused}: {:?}", answer.grpc_message());
        }
    }
}
