//! The PROXY protocol, versions 1 and 2: how a proxy tells the client's address before anything else.
//!
//! What it does: takes the header off a connection of a network that is trusted to send one, TLS or not, and leaves every
//! byte behind it. What it refuses to know: who is trusted, and what follows.
//! Invariants: a header is required where it is read at all; no byte behind it is taken; nothing that a header announces
//! is held in memory, but addresses. Source: HAProxy, "The PROXY protocol", versions 1 and 2.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::client_address::decimal_port;

/// Section 2.1: the longest line of version 1, with its end.
const V1_LIMIT_BYTES: usize = 107;
/// The shortest header of either version is longer.
const SIGNATURE_BYTES: usize = 12;
/// Section 2.2.
const V2_SIGNATURE: [u8; SIGNATURE_BYTES] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The connection ended within the header, or these are no such header's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MalformedHeader;

impl From<io::Error> for MalformedHeader {
    fn from(_: io::Error) -> Self {
        MalformedHeader
    }
}

/// Reads the header. The address is the client's; `None`: the proxy speaks for itself (LOCAL), or tells no address.
pub(crate) async fn read_header(
    tcp: &mut TcpStream,
) -> Result<Option<SocketAddr>, MalformedHeader> {
    let mut start = [0; SIGNATURE_BYTES];
    let count = tcp.read(&mut start).await?;
    let (read, rest) = start.split_at_mut(count);
    // What can be no header is not waited for.
    if !V2_SIGNATURE.starts_with(read)
        && !b"PROXY "
            .iter()
            .zip(&*read)
            .all(|(one, other)| one == other)
    {
        return Err(MalformedHeader);
    }
    tcp.read_exact(rest).await?;
    if start == V2_SIGNATURE {
        version2(tcp).await
    } else {
        version1(tcp, &start).await
    }
}

async fn version1(
    tcp: &mut TcpStream,
    start: &[u8; SIGNATURE_BYTES],
) -> Result<Option<SocketAddr>, MalformedHeader> {
    let mut line = start.to_vec();
    while !line.ends_with(b"\n") {
        let room = V1_LIMIT_BYTES
            .checked_sub(line.len())
            .filter(|room| *room > 0)
            .ok_or(MalformedHeader)?;
        // Looked at first, so that nothing behind the line is taken.
        let mut space = [0; V1_LIMIT_BYTES];
        let count = tcp.peek(space.get_mut(..room).unwrap_or_default()).await?;
        if count == 0 {
            return Err(MalformedHeader);
        }
        let seen = space.get(..count).unwrap_or_default();
        let whole = memchr::memchr(b'\n', seen).map_or(count, |at| at + 1);
        let held = line.len();
        line.resize(held + whole, 0);
        tcp.read_exact(line.get_mut(held..).unwrap_or_default())
            .await?;
    }
    parse_v1(&line)
}

/// Section 2.1. A line whose first words are `PROXY UNKNOWN` ends where it ends.
fn parse_v1(line: &[u8]) -> Result<Option<SocketAddr>, MalformedHeader> {
    let text = line
        .strip_suffix(b"\r\n")
        .and_then(|text| str::from_utf8(text).ok())
        .ok_or(MalformedHeader)?;
    let words: Vec<&str> = text.split(' ').collect();
    let (addresses, ports) = match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => return Ok(None),
        ["PROXY", "TCP4", source, destination, ports @ ..] => {
            let is_right = destination.parse::<Ipv4Addr>().is_ok();
            (
                source.parse().ok().map(IpAddr::V4).filter(|_| is_right),
                ports,
            )
        }
        ["PROXY", "TCP6", source, destination, ports @ ..] => {
            let is_right = destination.parse::<Ipv6Addr>().is_ok();
            (
                source.parse().ok().map(IpAddr::V6).filter(|_| is_right),
                ports,
            )
        }
        _ => return Err(MalformedHeader),
    };
    match (addresses, ports) {
        (Some(source), [port, destination]) if decimal_port(destination).is_some() => {
            let port = decimal_port(port).ok_or(MalformedHeader)?;
            Ok(Some(SocketAddr::new(source, port)))
        }
        _ => Err(MalformedHeader),
    }
}

async fn version2(tcp: &mut TcpStream) -> Result<Option<SocketAddr>, MalformedHeader> {
    let mut head = [0; 4];
    tcp.read_exact(&mut head).await?;
    let [version, family, high, low] = head;
    let announced = usize::from(u16::from_be_bytes([high, low]));
    let addresses_bytes = match (version, family) {
        // A proxy's own connection: its addresses, if any, are not looked at.
        (0x20, _) => 0,
        // Not said, or of a local socket.
        (0x21, 0x00 | 0x31) => 0,
        (0x21, 0x11) => 12,
        (0x21, 0x21) => 36,
        // No other version is known, and no datagram comes over TCP.
        _ => return Err(MalformedHeader),
    };
    let mut addresses = [0; 36];
    let mut rest = announced
        .checked_sub(addresses_bytes)
        .ok_or(MalformedHeader)?;
    tcp.read_exact(addresses.get_mut(..addresses_bytes).unwrap_or_default())
        .await?;
    // Further values (section 2.2) say nothing that is believed here.
    let mut skipped = [0; 1024];
    while rest > 0 {
        let count = tcp
            .read(skipped.get_mut(..rest.min(1024)).unwrap_or_default())
            .await?;
        if count == 0 {
            return Err(MalformedHeader);
        }
        rest -= count;
    }
    Ok(match addresses_bytes {
        12 => {
            let [a, b, c, d, _, _, _, _, high, low, ..] = addresses;
            Some(SocketAddr::from((
                [a, b, c, d],
                u16::from_be_bytes([high, low]),
            )))
        }
        36 => {
            let source: Option<[u8; 16]> = addresses.first_chunk().copied();
            let [.., high, low, _, _] = addresses;
            source.map(|source| SocketAddr::from((source, u16::from_be_bytes([high, low]))))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    /// What becomes of bytes that come in pieces, and what is left behind the header.
    async fn read(pieces: &[&[u8]]) -> (Result<Option<SocketAddr>, MalformedHeader>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        client.set_nodelay(true).unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let send = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
        };
        let receive = async {
            let found = read_header(&mut server).await;
            let mut left = Vec::new();
            server.read_to_end(&mut left).await.unwrap();
            (found, left)
        };
        tokio::join!(send, receive).1
    }

    fn v2(version: u8, family: u8, length: usize, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(length).unwrap().to_be_bytes();
        [&V2_SIGNATURE[..], &[version, family], &length, rest].concat()
    }

    /// Scenario: headers as proxies send them, and as they must not be. Guarantees: the address of the first, a refusal of
    /// the others, whole or in pieces of any size; what stands behind a header is all left.
    #[tokio::test]
    async fn headers_are_read_to_their_end_or_refused() {
        let four: &[u8] = &[192, 0, 2, 7, 10, 0, 0, 1, 0xdc, 4, 0x10, 0xde];
        let mut six = [0; 36];
        six[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
        six[15] = 7;
        six[32..].copy_from_slice(&[0xdc, 4, 0x10, 0xde]);
        let mut mapped = [0; 36];
        mapped[10..16].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 7]);
        let longest = format!(
            "PROXY TCP6 {0} {0} 65535 65535\r\n",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
        );
        let unknown = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 16));
        let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 15));
        let values = [four, &[4; 0xffff - 12]].concat();
        let here = |text: &str| Ok(Some(text.parse().unwrap()));
        let malformed = Err(MalformedHeader);
        type Case = (Vec<u8>, Result<Option<SocketAddr>, MalformedHeader>);
        let cases: Vec<Case> = vec![
            (
                b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 4318\r\n".to_vec(),
                here("192.0.2.7:56324"),
            ),
            (
                b"PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n".to_vec(),
                here("[2001:db8::7]:1"),
            ),
            (
                longest.into_bytes(),
                here("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), Ok(None)),
            (b"PROXY UNKNOWN ffff::1 any thing 1\r\n".to_vec(), Ok(None)),
            (unknown.into_bytes(), Ok(None)),
            (v2(0x21, 0x11, 12, four), here("192.0.2.7:56324")),
            (
                v2(0x21, 0x11, 20, &[four, &[4, 0, 5, 1, 2, 3, 4, 5]].concat()),
                here("192.0.2.7:56324"),
            ),
            (v2(0x21, 0x11, 0xffff, &values), here("192.0.2.7:56324")),
            (v2(0x21, 0x21, 36, &six), here("[2001:db8::7]:56324")),
            (v2(0x21, 0x21, 36, &mapped), here("[::ffff:192.0.2.7]:0")),
            (v2(0x21, 0x00, 0, b""), Ok(None)),
            (v2(0x21, 0x31, 216, &[0; 216]), Ok(None)),
            (v2(0x20, 0x00, 0, b""), Ok(None)),
            (v2(0x20, 0x11, 12, four), Ok(None)),
            (v2(0x20, 0xff, 3, b"abc"), Ok(None)),
        ];
        for (bytes, expected) in &cases {
            let behind = b"\r\nGET / HTTP/1.1\r\n";
            let whole = [bytes, &behind[..]].concat();
            assert_eq!(
                read(&[&whole]).await,
                (*expected, behind.to_vec()),
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
            if bytes.len() < 200 {
                let single: Vec<&[u8]> = whole.chunks(1).collect();
                assert_eq!(
                    read(&single).await,
                    (*expected, behind.to_vec()),
                    "{:?}",
                    String::from_utf8_lossy(bytes)
                );
                for end in 1..bytes.len() {
                    assert_eq!(
                        read(&[&bytes[..end]]).await.0,
                        malformed,
                        "cut at {end}: {bytes:?}"
                    );
                }
            }
        }
        for bytes in [
            Vec::new(),
            too_long.into_bytes(),
            [b"PROXY UNKNOWN".to_vec(), vec![b' '; 200_000]].concat(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 4318\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 56324\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 4318 1\r\n".to_vec(),
            b"PROXY TCP4  192.0.2.7 10.0.0.1 56324 4318\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 4318 \r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 4318\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 +1 4318\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 -1 4318\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.256 10.0.0.1 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.02.7 10.0.0.1 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 x 1 2\r\n".to_vec(),
            b"PROXY TCP4 ::1 ::1 1 2\r\n".to_vec(),
            b"PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n".to_vec(),
            b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n".to_vec(),
            b"PROXY tcp4 192.0.2.7 10.0.0.1 1 2\r\n".to_vec(),
            b"PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n".to_vec(),
            b"PROXY UNKNOWNS\r\n".to_vec(),
            b"PROXY\tTCP4 192.0.2.7 10.0.0.1 1 2\r\n".to_vec(),
            b"proxy TCP4 192.0.2.7 10.0.0.1 1 2\r\n".to_vec(),
            b"PROXY \xff\xff\xff\xff\xff\xff\xff\xff\r\n".to_vec(),
            b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n".to_vec(),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03aaaaaaa".to_vec(),
            b"\r\n\r\n\0\r\nQUIT\r!\x11\0\x0c".to_vec(),
            v2(0x11, 0x11, 12, four),
            v2(0x22, 0x11, 12, four),
            v2(0x31, 0x11, 12, four),
            v2(0x21, 0x12, 12, four),
            v2(0x21, 0x22, 36, &six),
            v2(0x21, 0x13, 12, four),
            v2(0x21, 0x41, 12, four),
            v2(0x21, 0x11, 11, four),
            v2(0x21, 0x21, 12, four),
            v2(0x21, 0x11, 0xffff, four),
            v2(0x20, 0x00, 0xffff, four),
        ] {
            assert_eq!(
                read(&[&bytes]).await.0,
                malformed,
                "{:?}",
                String::from_utf8_lossy(&bytes)
            );
        }
    }
}
