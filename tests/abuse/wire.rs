//! Bytes to and from a socket, and a strict reading of HTTP/1.1 answers.
//!
//! What it does: sends bytes as they are, reads until the other side closes, and cuts what came into answers.
//! What it refuses to know: what an answer should be. Invariant: every conversation has a deadline.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a conversation may take before it counts as stuck.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What came back, and whether the other side ended the connection.
#[derive(Debug)]
pub struct Talk {
    pub bytes: Vec<u8>,
    pub closed: bool,
}

/// One HTTP/1.1 answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Everything that may not tell one refusal from another: without the request's id and the date.
    pub fn comparable(&self) -> (u16, Vec<(String, String)>, String) {
        let id = self
            .header("lightkeeper-request-id")
            .unwrap_or("no id")
            .to_owned();
        let mut headers = self.headers.clone();
        headers.retain(|(name, _)| name != "lightkeeper-request-id" && name != "date");
        (
            self.status,
            headers,
            String::from_utf8_lossy(&self.body).replace(&id, "ID"),
        )
    }
}

/// Writes bytes on a connection of its own and reads to the end.
pub async fn talk(address: SocketAddr, bytes: &[u8]) -> Talk {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    converse(stream, &[bytes], PATIENCE).await
}

/// The same in pieces that arrive apart.
pub async fn talk_in_pieces(address: SocketAddr, pieces: &[&[u8]]) -> Talk {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    converse(stream, pieces, PATIENCE).await
}

/// Sends the pieces while reading; ends when the other side closes or the patience is over.
pub async fn converse<S: AsyncRead + AsyncWrite>(
    stream: S,
    pieces: &[&[u8]],
    patience: Duration,
) -> Talk {
    let (mut from, mut to) = tokio::io::split(stream);
    let mut read = Vec::new();
    let send = async {
        // Between two pieces, the one before leaves as a segment of its own.
        let mut apart = tokio::time::interval(Duration::from_millis(2));
        for piece in pieces {
            apart.tick().await;
            // A refusal may close before all is sent.
            if to.write_all(piece).await.is_err() || to.flush().await.is_err() {
                return;
            }
        }
    };
    let receive = async {
        let mut buffer = vec![0; 16 << 10];
        loop {
            match from.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => read.extend_from_slice(&buffer[..count]),
            }
        }
    };
    let both = async { tokio::join!(send, receive) };
    let closed = tokio::time::timeout(patience, both).await.is_ok();
    Talk {
        bytes: read,
        closed,
    }
}

/// Cuts bytes into answers. `bodiless` says for each whether its request was a HEAD.
pub fn replies(bytes: &[u8], bodiless: &[bool]) -> Result<Vec<Reply>, String> {
    let mut rest = bytes;
    let mut replies = Vec::new();
    while !rest.is_empty() {
        let head = bodiless.get(replies.len()).copied().unwrap_or(false);
        let (reply, left) = reply(rest, head)?;
        if reply.status >= 200 {
            replies.push(reply);
        }
        rest = left;
    }
    Ok(replies)
}

fn reply(bytes: &[u8], bodiless: bool) -> Result<(Reply, &[u8]), String> {
    let shown = || String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")
        .ok_or_else(|| format!("no head in {:?}", shown()))?;
    let head =
        std::str::from_utf8(&bytes[..end]).map_err(|_| format!("not text: {:?}", shown()))?;
    let mut rest = &bytes[end + 4..];
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    if !first.starts_with("HTTP/1.") {
        return Err(format!("no answer begins here: {:?}", shown()));
    }
    let status = first
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or(format!("status in {first}"))?;
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line
            .split_once(": ")
            .ok_or_else(|| format!("header line {line:?}"))?;
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut reply = Reply {
        status,
        headers,
        body: Vec::new(),
    };
    if bodiless || status < 200 || status == 204 {
        return Ok((reply, rest));
    }
    let lengths = reply
        .headers
        .iter()
        .filter(|(name, _)| name == "content-length")
        .count();
    let codings = reply
        .headers
        .iter()
        .filter(|(name, _)| name == "transfer-encoding")
        .count();
    if lengths + codings != 1 {
        return Err(format!(
            "{lengths} lengths and {codings} codings in {head:?}"
        ));
    }
    if let Some(length) = reply.header("content-length") {
        let length: usize = length.parse().map_err(|_| format!("length {length:?}"))?;
        if rest.len() < length {
            return Err(format!("body of {length} ends after {}", rest.len()));
        }
        reply.body = rest[..length].to_vec();
        return Ok((reply, &rest[length..]));
    }
    loop {
        let line = memchr::memmem::find(rest, b"\r\n").ok_or("chunk size is cut")?;
        let size = std::str::from_utf8(&rest[..line]).map_err(|_| "chunk size")?;
        let size = usize::from_str_radix(size, 16).map_err(|_| format!("chunk size {size:?}"))?;
        rest = &rest[line + 2..];
        if rest.len() < size + 2 {
            return Err("chunk is cut".to_owned());
        }
        reply.body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
        if size == 0 {
            return Ok((reply, rest));
        }
    }
}

/// Sends everything, then says that no more comes, and reads to the end.
pub async fn hang_up_after(mut stream: TcpStream, bytes: &[u8]) -> Talk {
    let mut read = Vec::new();
    let exchange = async {
        stream.write_all(bytes).await?;
        stream.shutdown().await?;
        stream.read_to_end(&mut read).await
    };
    let ended = tokio::time::timeout(PATIENCE, exchange).await;
    Talk {
        bytes: read,
        closed: ended.is_ok(),
    }
}

/// The first bytes of what is answered, with the connection left open by us.
pub async fn first_bytes(address: SocketAddr, bytes: &[u8], count: usize) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut read = vec![0; count];
    stream.write_all(bytes).await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, stream.read_exact(&mut read)).await;
    if !matches!(ended, Ok(Ok(_))) {
        return format!("{ended:?}");
    }
    String::from_utf8_lossy(&read).into_owned()
}
