//! Which calls take which proxy, as tables; what proxies may answer. What it refuses to know: what is sent through.

mod client;
pub(crate) mod hostile;

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service as _;
use zeroize::Zeroizing;

use super::connector::{Connector, ProxyError};
use super::{Egress, Environment, NoProxy, ProxyCredentials, ProxySettings, TunnelFault};

/// The lines of a table: columns between bars.
fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let rows = table.lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| line.split('|').map(str::trim).collect())
}

fn environment(variables: &str) -> Environment {
    let set: Vec<(&str, &str)> = variables
        .split(' ')
        .filter_map(|one| one.split_once('='))
        .collect();
    Environment::read(|name| {
        set.iter()
            .find(|(set, _)| *set == name)
            .map(|(_, value)| OsString::from(value))
    })
}

/// Scenario: each list of exceptions meets each host of the table, out of the environment and out of the configuration.
/// Guarantees: what goes straight is exactly what the list names, at dots and bits; loopback goes straight whatever the
/// environment says, and through a proxy that the configuration names.
#[test]
fn hosts_without_a_proxy() {
    for row in rows(include_str!("no_proxy.txt")) {
        let [list, host, port, expected] = row[..] else {
            panic!("{row:?}")
        };
        let port = port.parse().unwrap();
        let set = Environment::read(|name| match name {
            "HTTPS_PROXY" => Some("http://p.example:3128".into()),
            "NO_PROXY" => Some(list.into()),
            _ => None,
        });
        let egress = Egress::Environment {
            environment: set,
            no_proxy: NoProxy::default(),
        };
        let straight = egress.route(true, host, port).unwrap().is_none();
        assert_eq!(
            if straight { "straight" } else { "proxied" },
            expected,
            "{row:?}"
        );

        let proxy = Arc::new(ProxySettings {
            host: "p.example".into(),
            port: 3128,
            credentials: None,
        });
        let egress = Egress::Through {
            proxy,
            no_proxy: NoProxy::parse(list),
        };
        let named = egress.route(true, host, port).unwrap().is_none();
        assert_eq!(named, straight && !list.is_empty(), "{row:?}");
    }
}

/// Scenario: each set of variables. Guarantees: the proxy is the one that curl would take; what cannot be used is an error
/// only where it would be; no error shows a value.
#[test]
fn proxies_of_the_environment() {
    for row in rows(include_str!("environment.txt")) {
        let [variables, scheme, expected] = row[..] else {
            panic!("{row:?}")
        };
        let egress = Egress::Environment {
            environment: environment(variables),
            no_proxy: NoProxy::default(),
        };
        let found = match egress.route(scheme == "https", "backend.example", 443) {
            Ok(None) => "none".to_owned(),
            Ok(Some(proxy)) => {
                let given = match &proxy.credentials {
                    Some(ProxyCredentials::Given(given)) => {
                        format!("+{}", String::from_utf8_lossy(given))
                    }
                    _ => String::new(),
                };
                proxy.authority() + &given
            }
            Err(unusable) => unusable.to_string().replace("the environment's ", ""),
        };
        assert_eq!(found, expected, "{row:?}");
        assert!(!format!("{egress:?}").contains("canary"), "{egress:?}");
    }
}

/// A proxy that gives this answer to each connection, in pieces, and then what comes of the host behind; what it was told
/// comes back when it ends. `None` at the end: it stays and says no more.
async fn proxy(
    pieces: &[&[u8]],
    then: Option<&'static [u8]>,
) -> (u16, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut told = Vec::new();
        while !told.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut told).await.unwrap();
        }
        for piece in pieces {
            // It may have hung up by now.
            let _ = stream.write_all(&piece).await;
            tokio::task::yield_now().await;
        }
        match then {
            Some(then) => stream.write_all(then).await.unwrap_or_default(),
            None => std::future::pending().await,
        }
        String::from_utf8(told).unwrap()
    });
    (port, task)
}

fn settings(port: u16, credentials: Option<&str>) -> ProxySettings {
    let credentials =
        credentials.map(|text| ProxyCredentials::Given(Zeroizing::new(text.as_bytes().to_vec())));
    ProxySettings {
        host: "127.0.0.1".into(),
        port,
        credentials,
    }
}

/// Scenario: proxies answer in every way. Guarantees: any 2xx opens the tunnel, whatever its head says of a body, and the
/// first byte behind the head is the host's; everything else is told apart.
#[tokio::test]
async fn answers_of_proxies() {
    let endless = [b"HTTP/1.1 200 OK\r\n".as_slice(), &b"x: y\r\n".repeat(4096)].concat();
    let line = [b"HTTP/1.1 200 ".as_slice(), &b"k".repeat(20 << 10)].concat();
    let many = [
        b"HTTP/1.1 200 OK\r\n".as_slice(),
        &b"x: y\r\n".repeat(101),
        b"\r\n",
    ]
    .concat();
    let interim = b"HTTP/1.1 103 Early\r\n\r\n".repeat(2000);
    let dripped: Vec<&[u8]> = b"HTTP/1.1 200 OK\r\nvia: p\r\n\r\n".chunks(1).collect();
    type Case<'a> = (&'a str, Vec<&'a [u8]>, Result<(), TunnelFault>);
    let cases: Vec<Case<'_>> = vec![
        (
            "plain",
            vec![b"HTTP/1.1 200 Connection established\r\n\r\n"],
            Ok(()),
        ),
        (
            "old",
            vec![b"HTTP/1.0 200 OK\r\nProxy-agent: tinyproxy\r\n\r\n"],
            Ok(()),
        ),
        ("created", vec![b"HTTP/1.1 201 Created\r\n\r\n"], Ok(())),
        ("no reason", vec![b"HTTP/1.1 200\r\n\r\n"], Ok(())),
        (
            "a body that is none",
            vec![b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\ntransfer-encoding: chunked\r\n\r\n"],
            Ok(()),
        ),
        ("byte by byte", dripped, Ok(())),
        ("bare line feeds", vec![b"HTTP/1.1 200 OK\n\n"], Ok(())),
        (
            "interim",
            vec![b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"],
            Ok(()),
        ),
        (
            "wants credentials",
            vec![b"HTTP/1.1 407 No\r\nproxy-authenticate: Basic\r\n\r\n"],
            Err(TunnelFault::Refused(407)),
        ),
        (
            "forbids",
            vec![b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno"],
            Err(TunnelFault::Refused(403)),
        ),
        (
            "reaches nothing",
            vec![b"HTTP/1.1 502 Bad Gateway\r\n\r\n"],
            Err(TunnelFault::Refused(502)),
        ),
        (
            "redirects",
            vec![b"HTTP/1.1 302 Found\r\nlocation: http://login.evil.test/\r\n\r\n"],
            Err(TunnelFault::Refused(302)),
        ),
        (
            "another protocol",
            vec![b"HTTP/1.1 101 Switching\r\n\r\n"],
            Err(TunnelFault::Broken),
        ),
        ("hangs up", vec![], Err(TunnelFault::Broken)),
        (
            "hangs up midway",
            vec![b"HTTP/1.1 200 OK\r\nvia"],
            Err(TunnelFault::Broken),
        ),
        (
            "no HTTP",
            vec![b"SSH-2.0-OpenSSH_9.2\r\n\r\n"],
            Err(TunnelFault::Broken),
        ),
        (
            "TLS",
            vec![b"\x15\x03\x03\x00\x02\x02\x28\n\n"],
            Err(TunnelFault::Broken),
        ),
        (
            "a status that is none",
            vec![b"HTTP/1.1 2x0 OK\r\n\r\n"],
            Err(TunnelFault::Broken),
        ),
        (
            "a head without end",
            vec![&endless],
            Err(TunnelFault::Broken),
        ),
        ("a line without end", vec![&line], Err(TunnelFault::Broken)),
        ("too many lines", vec![&many], Err(TunnelFault::Broken)),
        (
            "interim answers without end",
            vec![&interim],
            Err(TunnelFault::Broken),
        ),
    ];
    for (what, pieces, expected) in cases {
        let (port, told) = proxy(&pieces, Some(b"!")).await;
        let opened = settings(port, None).open().unwrap();
        let mut tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let found = opened.tunnel(&mut tcp, "backend.example", 443).await;
        assert_eq!(found, expected, "{what}");
        if expected.is_ok() {
            assert_eq!(tcp.read_u8().await.unwrap(), b'!', "{what}");
        }
        drop(tcp);
        let told = told.await.unwrap();
        let head = "CONNECT backend.example:443 HTTP/1.1\r\nhost: backend.example:443\r\n";
        assert!(
            told.starts_with(head) && !told.contains("authorization"),
            "{what}: {told}"
        );
    }
}

/// Scenario: a client's connector before a proxy that wants credentials, one that is silent, one that is not there, and hosts
/// of every form. Guarantees: the head names host and port as CONNECT wants them, and carries the credentials once; silence
/// ends within the connector's timeout; the fault says which proxy it was, without the credentials.
#[tokio::test]
async fn a_connector_goes_through_its_proxy() {
    let through = |port, credentials| Egress::Through {
        proxy: Arc::new(settings(port, credentials)),
        no_proxy: NoProxy::parse("straight.example"),
    };
    for (url, place) in [
        ("https://backend.example/x", "backend.example:443"),
        ("http://backend.example/x", "backend.example:80"),
        ("https://backend.example:8443", "backend.example:8443"),
        ("https://[2001:db8::1]/", "[2001:db8::1]:443"),
    ] {
        let (port, told) = proxy(&[b"HTTP/1.1 200 OK\r\n\r\n"], Some(b"!")).await;
        let mut connector =
            Connector::new(&through(port, Some("us:er word")), Duration::from_secs(20)).unwrap();
        let mut tcp = connector
            .call(url.parse().unwrap())
            .await
            .unwrap()
            .into_inner();
        assert_eq!(tcp.read_u8().await.unwrap(), b'!');
        let expected = format!(
            "CONNECT {place} HTTP/1.1\r\nhost: {place}\r\nuser-agent: lightkeeper/{}\r\n\
             proxy-authorization: Basic dXM6ZXIgd29yZA==\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(told.await.unwrap(), expected);
    }
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let (silent, _task) = proxy(&[b"HTTP/1.1 20"], None).await;
    let (refusing, _told) = proxy(&[b"HTTP/1.1 407 No\r\n\r\n"], Some(b"")).await;
    for (port, fault) in [
        (free, TunnelFault::Unreachable),
        (silent, TunnelFault::TimedOut),
        (refusing, TunnelFault::Refused(407)),
    ] {
        let mut connector = Connector::new(
            &through(port, Some("user:word")),
            Duration::from_millis(200),
        )
        .unwrap();
        let error = connector
            .call("https://backend.example/".parse().unwrap())
            .await
            .unwrap_err();
        let found = error.downcast_ref::<ProxyError>().unwrap();
        assert_eq!(found.fault, fault);
        let shown = format!("{error} {error:?}");
        assert!(
            shown.contains(&format!("127.0.0.1:{port}")) && !shown.contains("word"),
            "{shown}"
        );
    }
}
