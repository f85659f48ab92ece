//! `connect`: tools that know a base URL only act as the developer, and nothing else on the machine does.

use http::Method;
use testkit::{Issuer, IssuerOptions, SampleCaller, World};

use super::desk::{Desk, Program};
use super::front::Front;

/// The program, its address, and the key that it printed.
pub fn connect(desk: &Desk, more: &[&str]) -> (Program, String, String) {
    let arguments = [&["connect", "--listen", "127.0.0.1:0"][..], more].concat();
    let program = desk.start(&arguments);
    let line = program.out.wait(|line| line.starts_with("Listening on "));
    let base = line.split_whitespace().nth(2).unwrap().to_owned();
    let line = program.out.wait(|line| line.contains("LIGHTSTEP_API_KEY="));
    let key = line.split_once("LIGHTSTEP_API_KEY=").unwrap().1.to_owned();
    (program, base, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_read_and_write_as_the_developer() {
    let world = World::start().await.unwrap();
    let desk = Desk::new();
    desk.log_in(&world.plain_url(), "ann").await;
    let (program, base, key) = connect(&desk, &[]);
    let bearer = format!("bearer {key}");
    let tool = SampleCaller::new(&base)
        .header("authorization", &bearer)
        .header("x-lightstep-org", "acme");
    for (path, status) in [
        ("/public/v0.2/acme/projects/checkout-prod/streams", 200),
        ("/public/v0.2/acme/projects/platform-prod/streams", 403),
        ("/apps/shop", 200),
        ("/.lightkeeper/whoami", 200),
    ] {
        let answer = tool.get(path).await.unwrap();
        assert_eq!(answer.status, status, "{path} {}", answer.text());
        assert!(answer.header("lightkeeper-request-id").is_some(), "{path}");
    }
    program.interrupt();
    let ended = program.end();
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(
        ended.out.contains("LIGHTSTEP_API_URL=http://127.0.0.1:"),
        "{ended:?}"
    );
}

/// Scenario: what a tool sends, beside what the gateway sees. The token changes by itself; paths and bodies do not.
#[tokio::test(flavor = "multi_thread")]
async fn requests_pass_unchanged_but_for_the_credential() {
    let options = IssuerOptions {
        lifetime_seconds: 30,
        ..IssuerOptions::default()
    };
    let issuer = Issuer::start_with(options).await.unwrap();
    let front = Front::of(issuer.url(), Vec::new()).await;
    let desk = Desk::new();
    desk.log_in(&front.url(), "ann").await;
    let (_program, base, key) = connect(&desk, &[]);
    let body: Vec<u8> = (0..3 << 20).map(|at: u32| at.to_le_bytes()[0]).collect();
    let tool = SampleCaller::new(&base).chunked();
    let headers = [
        ("authorization", "Bearer any"),
        ("cookie", "a=b"),
        ("lightstep-access-token", &key),
        ("connection", "x-mine"),
        ("x-mine", "1"),
        ("x-other", "2"),
        ("content-type", "application/x-protobuf"),
    ];
    let target = "/a%2Fb/../c;d?x=%20y&x=1&&z";
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let answer = tool
            .send(Method::POST, target, &headers, body.clone())
            .await
            .unwrap();
        assert_eq!((answer.status, answer.body == body), (200, true));
        assert_eq!(
            (answer.header("x-hop"), answer.header("connection")),
            (None, None),
            "a header of the connection came back"
        );
        let seen = front.seen().pop().unwrap();
        assert_eq!((seen.target.as_str(), seen.body == body), (target, true));
        assert_eq!(
            seen.headers["host"].to_str().unwrap(),
            front.url().trim_start_matches("http://")
        );
        let names = ["cookie", "lightstep-access-token", "x-mine"];
        assert!(
            names.iter().all(|name| !seen.headers.contains_key(*name)),
            "{:?}",
            seen.headers
        );
        assert_eq!(
            (
                &seen.headers["x-other"],
                seen.headers.get_all("authorization").iter().count()
            ),
            (&"2".parse().unwrap(), 1)
        );
        assert!(!format!("{seen:?}").contains(&key), "the key went on");
        tokens.push(seen.headers["authorization"].to_str().unwrap().to_owned());
    }
    assert!(
        tokens.iter().all(|token| token.starts_with("Bearer ey")),
        "{tokens:?}"
    );
    assert_ne!(
        tokens[0], tokens[1],
        "a token that is about to end is renewed"
    );
    let moved = SampleCaller::new(&base)
        .bearer(&key)
        .get("/moved")
        .await
        .unwrap();
    assert_eq!(
        moved.header("location").unwrap(),
        format!("{base}/elsewhere?a=b")
    );
}

/// Scenario: a page in the developer's browser, a name that was rebound to this address, and other misuse. Nothing of it
/// reaches the gateway.
#[tokio::test(flavor = "multi_thread")]
async fn pages_and_foreign_names_are_refused() {
    let issuer = Issuer::start().await.unwrap();
    let front = Front::of(issuer.url(), Vec::new()).await;
    let desk = Desk::new();
    desk.log_in(&front.url(), "ann").await;
    let (_program, base, key) = connect(&desk, &[]);
    let host = base.trim_start_matches("http://");
    for (head, status) in [
        (
            format!("GET /a HTTP/1.1\r\nHost: {host}\r\nOrigin: https://evil.example\r\n"),
            403,
        ),
        (
            format!("GET /a HTTP/1.1\r\nHost: {host}\r\nSec-Fetch-Site: cross-site\r\n"),
            403,
        ),
        ("GET /a HTTP/1.1\r\nHost: evil.example\r\n".to_owned(), 421),
        (
            format!("GET /a HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n"),
            421,
        ),
        ("GET /a HTTP/1.1\r\n".to_owned(), 421),
        (
            format!("GET http://{host}/a HTTP/1.1\r\nHost: {host}\r\n"),
            400,
        ),
        (format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n"), 400),
        (format!("OPTIONS * HTTP/1.1\r\nHost: {host}\r\n"), 400),
    ] {
        let head = format!("{head}Authorization: Bearer {key}\r\nConnection: close\r\n\r\n");
        let answer = SampleCaller::new(&base).raw(head.as_bytes()).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{head}: {answer}"
        );
        assert!(
            !answer.to_lowercase().contains("access-control"),
            "{answer}"
        );
    }
    assert!(front.seen().is_empty(), "{:?}", front.seen());
    let fine = SampleCaller::new(&base)
        .bearer(&key)
        .get("/a")
        .await
        .unwrap();
    assert_eq!(fine.status, 200);
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80", "localhost:80"] {
        assert_eq!(
            desk.run(&["connect", "--listen", address]).status,
            2,
            "{address}"
        );
    }
    desk.change(&front.url(), |login| login["expires"] = 0.into());
    assert_eq!(Desk::new().run(&["connect"]).status, 1, "not logged in");
    drop(front);
    let gone = SampleCaller::new(&base)
        .bearer(&key)
        .get("/a")
        .await
        .unwrap();
    assert!(
        gone.status == 502 && gone.text().contains("cannot be reached"),
        "{}",
        gone.text()
    );
}

/// Scenario: another user of the machine knows the port. Guarantees: without the key, 401 in the words of the tool, and
/// nothing reaches the gateway; the key is another with each start, unless a file keeps it; `--open` warns.
#[tokio::test(flavor = "multi_thread")]
async fn others_on_this_machine_do_not_act_as_the_developer() {
    let issuer = Issuer::start().await.unwrap();
    let front = Front::of(issuer.url(), Vec::new()).await;
    let desk = Desk::new();
    desk.log_in(&front.url(), "ann").await;
    let (_first, base, key) = connect(&desk, &[]);
    let (_second, other_base, other_key) = connect(&desk, &[]);
    assert!(key.len() == 43 && key != other_key);
    let wrong = format!("Bearer {other_key}");
    for presented in [
        None,
        Some("any"),
        Some("Bearer any"),
        Some(wrong.as_str()),
        Some(""),
    ] {
        for (path, kind, body) in [
            (
                "/public/v0.2/acme/projects",
                "application/json",
                r#"{"errors":["lightkeeper connect: present the key"#,
            ),
            (
                "/v1/traces",
                "application/json",
                r#"{"code":16,"message":"lightkeeper connect: present the key"#,
            ),
            ("/v1/traces", "application/x-protobuf", "\u{8}\u{10}"),
        ] {
            let mut headers = vec![("content-type", kind)];
            headers.extend(presented.map(|value| ("authorization", value)));
            let answer = SampleCaller::new(&base)
                .send(Method::POST, path, &headers, Vec::new())
                .await
                .unwrap();
            assert_eq!(
                (answer.status, answer.header("content-type").as_deref()),
                (401, Some(kind)),
                "{presented:?}"
            );
            assert!(answer.text().starts_with(body), "{}", answer.text());
            assert!(
                answer
                    .header("www-authenticate")
                    .unwrap()
                    .starts_with("Bearer"),
                "{presented:?}"
            );
            assert!(!answer.text().contains(&key));
        }
    }
    assert!(front.seen().is_empty(), "{:?}", front.seen());
    assert_eq!(
        SampleCaller::new(&other_base)
            .bearer(&other_key)
            .get("/a")
            .await
            .unwrap()
            .status,
        200
    );

    let file = desk
        .credentials()
        .with_file_name("connect-key")
        .display()
        .to_string();
    let kept = [
        connect(&desk, &["--key-file", &file]).2,
        connect(&desk, &["--key-file", &file]).2,
    ];
    assert_eq!(kept[0], kept[1]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), kept[0]);
    let (open, base, key) = connect(&desk, &["--open"]);
    open.err
        .wait(|line| line.starts_with("warning: with --open every user"));
    assert_eq!(key, "any");
    assert_eq!(
        SampleCaller::new(&base).get("/a").await.unwrap().status,
        200
    );
    assert_eq!(
        desk.run(&["connect", "--open", "--key-file", &file]).status,
        2
    );
}
