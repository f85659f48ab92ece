//! Proxies that the environment names, before the whole program. What it refuses to know: what goes through them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::first_configuration;
use super::program::{Program, run_with};
use crate::folder::Folder;

/// A proxy that refuses; the first lines of what it is asked, and the credentials that came along.
fn refusing() -> (SocketAddr, Receiver<(String, Option<String>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let first = head.first().cloned().unwrap_or_default();
            let given = head
                .iter()
                .find_map(|line| Some(line.strip_prefix("proxy-authorization: ")?.to_owned()));
            // The test may have ended; the client may have gone.
            let _ = tell.send((first, given));
            let _ = (&stream).write_all(b"HTTP/1.1 403 Filtered\r\ncontent-length: 0\r\n\r\n");
        }
    });
    (address, told)
}

fn everything_elsewhere(folder: &Folder) {
    first_configuration(folder.path());
    for (from, to) in [
        ("127.0.0.1:4318", "127.0.0.1:0"),
        ("127.0.0.1:8443", "127.0.0.1:0"),
        ("127.0.0.1:9464", "127.0.0.1:0"),
        ("http://127.0.0.1:9400", "https://idp.acme.invalid"),
        ("http://127.0.0.1:9401", "https://backend.acme.invalid"),
    ] {
        folder.replace("lightkeeper.yaml", from, to);
    }
}

/// Scenario: `HTTPS_PROXY` with a user's password is set, nothing in the configuration speaks of it. Guarantees: `serve` asks
/// that proxy, with the credentials, for the issuer; it logs each way, and never the password; `check` shows the ways.
#[test]
fn serve_honours_the_environment() {
    let (folder, (address, told)) = (Folder::new(), refusing());
    everything_elsewhere(&folder);
    let config = folder.at("lightkeeper.yaml");
    let url = format!("http://user:canary-7f3a@{address}");
    let variables = [("HTTPS_PROXY", url.as_str()), ("NO_PROXY", "other.example")];
    let program = Program::start_in(&variables, &["serve", "--config", &config]);
    let (asked, given) = told.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(asked, "CONNECT idp.acme.invalid:443 HTTP/1.1");
    assert_eq!(given.as_deref(), Some("Basic dXNlcjpjYW5hcnktN2YzYQ=="));
    let via = address.to_string();
    for (call, to) in [
        ("upstream ingest", "backend.acme.invalid:443"),
        ("issuer trial", "idp.acme.invalid:443"),
    ] {
        program.any_log_line(|line| {
            line["call"] == call && line["to"] == to && line["proxy"] == via.as_str()
        });
    }
    program.any_log_line(|line| {
        line["fault"] == "proxy_refused" && line.to_string().contains("answered 403")
    });
    program.signal("TERM");
    assert_eq!(program.status(Duration::from_secs(60)), 0);
    let log = program.log();
    assert!(
        !log.contains("canary-7f3a") && !log.contains("dXNlcjpj"),
        "{log}"
    );

    let checked = run_with(&variables, &["check", "--config", &config]);
    for words in [
        format!("upstream ingest -> backend.acme.invalid:443 via proxy {via}"),
        format!("issuer trial -> idp.acme.invalid:443 via proxy {via}"),
    ] {
        assert!(
            checked.out.contains(&words),
            "{}{}",
            checked.out,
            checked.err
        );
    }
    assert!(!(checked.out + &checked.err).contains("canary-7f3a"));
    let straight = [
        ("HTTPS_PROXY", url.as_str()),
        ("NO_PROXY", "idp.acme.invalid,.acme.invalid"),
    ];
    let checked = run_with(
        &straight,
        &["check", "--config", &config, "--output", "json"],
    );
    let ways = checked.json()["egress"].as_array().unwrap().clone();
    assert!(
        ways.len() >= 3 && ways.iter().all(|way| way["proxy"].is_null()),
        "{ways:?}"
    );
    // A kind of proxy that cannot be used is not gone around.
    let other = [("ALL_PROXY", "socks5://user:canary-7f3a@127.0.0.1:9")];
    let checked = run_with(&other, &["check", "--config", &config]);
    assert_eq!(checked.status, 1);
    assert!(
        checked
            .err
            .contains("the environment's `ALL_PROXY` must begin with `http://`"),
        "{}",
        checked.err
    );
    assert!(!checked.err.contains("canary-7f3a"), "{}", checked.err);
}

/// Scenario: a developer's command line behind a proxy. Guarantees: the gateway is asked through it, and the error says that
/// it was the proxy that refused; a gateway on loopback, or one that `NO_PROXY` names, is asked straight.
#[test]
fn the_command_line_honours_the_environment() {
    let (address, told) = refusing();
    let folder = Folder::new();
    let url = format!("http://user:canary-7f3a@{address}");
    let home = folder.at("");
    let around = |no_proxy| {
        [
            ("HTTPS_PROXY", url.as_str()),
            ("NO_PROXY", no_proxy),
            ("HOME", &home),
            ("XDG_CONFIG_HOME", &home),
        ]
    };
    let login =
        |gateway: &str, no_proxy| run_with(&around(no_proxy), &["login", "--gateway", gateway]);
    let refused = login("https://gateway.acme.invalid", "");
    assert_ne!(refused.status, 0);
    let said = refused.out + &refused.err;
    assert!(
        said.contains(&format!("proxy {address}: the proxy answered 403"))
            && !said.contains("canary"),
        "{said}"
    );
    let (asked, given) = told.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(
        (asked.as_str(), given.is_some()),
        ("CONNECT gateway.acme.invalid:443 HTTP/1.1", true)
    );
    for (gateway, no_proxy) in [
        ("https://127.0.0.1:9", ""),
        ("https://gateway.acme.invalid", "acme.invalid"),
    ] {
        assert_ne!(login(gateway, no_proxy).status, 0);
        assert!(told.try_recv().is_err(), "{gateway}");
    }
}
