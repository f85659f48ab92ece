//! HTTP/2 by hand (RFC 9113, RFC 7541): frames as bytes, so that wrong ones can be sent.
//!
//! What it does: writes frames and header blocks without any judgement, reads the server's frames and says
//! how a stream ended. What it refuses to know: what is right. Invariant: every wait has a deadline.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const ACK: u8 = 1;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How a stream, or the connection under it, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Status(u16),
    Reset(u32),
    GoAway(u32),
    Closed,
    Silence,
}

impl std::fmt::Display for End {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Status(status) => write!(formatter, "{status}"),
            End::Reset(code) => write!(formatter, "reset {code}"),
            End::GoAway(code) => write!(formatter, "goaway {code}"),
            End::Closed => formatter.write_str("closed"),
            End::Silence => formatter.write_str("silence"),
        }
    }
}

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(9 + payload.len());
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block: literals without indexing and without Huffman coding (RFC 7541 section 6.2.2).
pub fn block<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name.as_ref(), value.as_ref()] {
            integer(text.len(), &mut bytes);
            bytes.extend_from_slice(text);
        }
    }
    bytes
}

/// RFC 7541 section 5.1 with a prefix of 7 bits.
fn integer(value: usize, into: &mut Vec<u8>) {
    if value < 127 {
        into.push(u8::try_from(value).unwrap());
        return;
    }
    into.push(127);
    let mut rest = value - 127;
    while rest >= 128 {
        into.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    into.push(u8::try_from(rest).unwrap());
}

/// A connection after our preface and settings.
pub struct Line {
    stream: TcpStream,
    read: Vec<u8>,
    over: bool,
    /// RST_STREAM and GOAWAY frames seen.
    pub resets: Vec<(u32, u32)>,
    pub goaway: Option<u32>,
    pub pongs: usize,
    /// Statuses by stream, as far as they can be read.
    pub statuses: Vec<(u32, Option<u16>)>,
    pub data_bytes: usize,
    /// Empty ones included.
    pub data_frames: usize,
    pub settings: Vec<(u16, u32)>,
}

impl Line {
    pub async fn open(address: SocketAddr) -> Self {
        Self::open_with(address, &[]).await
    }

    /// `settings`: ours, as pairs.
    pub async fn open_with(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        stream
            .write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &payload)].concat())
            .await
            .unwrap();
        Line {
            stream,
            read: Vec::new(),
            over: false,
            resets: Vec::new(),
            goaway: None,
            pongs: 0,
            statuses: Vec::new(),
            data_bytes: 0,
            data_frames: 0,
            settings: Vec::new(),
        }
    }

    /// Sends bytes; the other side may have had enough of us.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = tokio::time::timeout(Duration::from_secs(5), self.stream.write_all(bytes)).await;
        matches!(sent, Ok(Ok(())))
    }

    /// Opens a stream with a whole header block and, unless `body` is `None`, one DATA frame.
    pub async fn request<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        id: u32,
        fields: &[(N, V)],
        body: Option<&[u8]>,
    ) -> bool {
        let end = if body.is_none() { END_STREAM } else { 0 };
        let mut bytes = frame(HEADERS, END_HEADERS | end, id, &block(fields));
        if let Some(body) = body {
            bytes.extend(frame(DATA, END_STREAM, id, body));
        }
        self.send(&bytes).await
    }

    /// How a stream ends.
    pub async fn end_of(&mut self, id: u32, limit: Duration) -> End {
        let reading = async {
            loop {
                if let Some((_, status)) = self.statuses.iter().find(|(stream, _)| *stream == id) {
                    return End::Status(status.unwrap_or(0));
                }
                if let Some((_, code)) = self.resets.iter().find(|(stream, _)| *stream == id) {
                    return End::Reset(*code);
                }
                if let Some(code) = self.goaway.filter(|code| *code != 0) {
                    return End::GoAway(code);
                }
                if self.over {
                    return End::Closed;
                }
                self.step().await;
            }
        };
        tokio::time::timeout(limit, reading)
            .await
            .unwrap_or(End::Silence)
    }

    /// Reads until the connection ends; false: it did not within the limit.
    pub async fn drain(&mut self, limit: Duration) -> bool {
        let reading = async {
            while !self.over {
                self.step().await;
            }
        };
        tokio::time::timeout(limit, reading).await.is_ok()
    }

    /// Reads until the condition holds or the connection ends; false: neither within the limit.
    pub async fn until(&mut self, limit: Duration, holds: impl Fn(&Line) -> bool) -> bool {
        let reading = async {
            while !self.over && !holds(self) {
                self.step().await;
            }
            holds(self)
        };
        tokio::time::timeout(limit, reading).await.unwrap_or(false)
    }

    /// Takes in one more read.
    async fn step(&mut self) {
        let mut buffer = vec![0; 64 << 10];
        match self.stream.read(&mut buffer).await {
            Ok(0) | Err(_) => self.over = true,
            Ok(count) => self.read.extend_from_slice(&buffer[..count]),
        }
        let mut at = 0;
        let mut answers = Vec::new();
        while self.read.len() >= at + 9 {
            let head = &self.read[at..at + 9];
            let length =
                usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap();
            if self.read.len() < at + 9 + length {
                break;
            }
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let payload = self.read[at + 9..at + 9 + length].to_vec();
            at += 9 + length;
            let word = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
            match kind {
                DATA => {
                    self.data_bytes += length;
                    self.data_frames += 1;
                }
                HEADERS if !self.statuses.iter().any(|(known, _)| *known == stream) => {
                    self.statuses.push((stream, status(&payload)));
                }
                RST_STREAM => self.resets.push((stream, word(0))),
                GOAWAY => self.goaway = Some(word(4)),
                SETTINGS if flags & ACK == 0 => {
                    for pair in payload.chunks_exact(6) {
                        let value = u32::from_be_bytes(pair[2..].try_into().unwrap());
                        self.settings
                            .push((u16::from_be_bytes([pair[0], pair[1]]), value));
                    }
                    answers.extend(frame(SETTINGS, ACK, 0, &[]));
                }
                PING if flags & ACK == 0 => answers.extend(frame(PING, ACK, 0, &payload)),
                PING => self.pongs += 1,
                _ => {}
            }
        }
        self.read.drain(..at);
        if !answers.is_empty() {
            self.send(&answers).await;
        }
    }
}

/// The status in a response's header block, if it stands first and is no reference to an earlier one.
fn status(block: &[u8]) -> Option<u16> {
    let mut rest = block;
    while rest.first()? & 0xe0 == 0x20 {
        rest = rest.get(1..)?;
    }
    match *rest.first()? {
        // RFC 7541 appendix A.
        0x88 => Some(200),
        0x89 => Some(204),
        0x8a => Some(206),
        0x8b => Some(304),
        0x8c => Some(400),
        0x8d => Some(404),
        0x8e => Some(500),
        // A literal with the name of entry 8.
        0x48 | 0x08 | 0x18 => {
            let length = *rest.get(1)?;
            let value = rest.get(2..2 + usize::from(length & 0x7f))?;
            if length & 0x80 == 0 {
                std::str::from_utf8(value).ok()?.parse().ok()
            } else {
                digits(value)
            }
        }
        _ => None,
    }
}

/// Three digits in RFC 7541's Huffman code: `0`-`2` have 5 bits, `3`-`9` have 6.
fn digits(bytes: &[u8]) -> Option<u16> {
    let bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1))
        .collect();
    let mut at = 0;
    let mut number = 0;
    for _ in 0..3 {
        let take = |count: usize| {
            bits.get(at..at + count).map(|bits| {
                bits.iter()
                    .fold(0_u16, |sum, bit| sum * 2 + u16::from(*bit))
            })
        };
        let digit = match take(5)? {
            short @ 0..=2 => {
                at += 5;
                short
            }
            _ => {
                let long = take(6)?;
                at += 6;
                long.checked_sub(0x19)? + 3
            }
        };
        number = number * 10 + digit;
    }
    Some(number)
}
