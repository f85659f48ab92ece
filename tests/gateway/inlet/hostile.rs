//! Messages that are to do harm, and too many of them. What it refuses to know: whose secret came with them.

use super::*;

/// Scenario: messages and heads that are broken or mean harm, all with the right secret. Guarantees: each is refused with
/// its reason or passed on as it is; none chooses where anything goes, writes a header, or gets into a link.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_cannot_do_harm() {
    let world = stage::start(plan(&[])).await;
    let caller = webhook(&world, "shop");
    let deep = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let lists = format!("{{\"a\":{}{}}}", "[".repeat(60_000), "]".repeat(60_000));
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(256 << 10));
    let json = "application/json";
    for (what, path, content_type, body, status, expected) in [
        ("empty", SHOP, json, "", 400, "alert_malformed"),
        ("text", SHOP, json, "firing", 400, "alert_malformed"),
        ("a list", SHOP, json, "[]", 400, "alert_malformed"),
        ("two", SHOP, json, "{}{}", 400, "alert_malformed"),
        (
            "twice the same",
            SHOP,
            json,
            r#"{"name":"a","name":"b"}"#,
            400,
            "alert_malformed",
        ),
        (
            "hidden twice",
            SHOP,
            json,
            r#"{"name":"a","n\u0061me":"b"}"#,
            400,
            "alert_malformed",
        ),
        (
            "deep",
            SHOP,
            json,
            deep(17).as_str(),
            400,
            "alert_malformed",
        ),
        (
            "deep lists",
            SHOP,
            json,
            lists.as_str(),
            400,
            "alert_malformed",
        ),
        ("large", SHOP, json, large.as_str(), 413, "body_too_large"),
        (
            "a form",
            SHOP,
            "application/x-www-form-urlencoded",
            "{}",
            415,
            "media_type_unsupported",
        ),
        ("no type", SHOP, "", "{}", 415, "media_type_unsupported"),
        (
            "protobuf",
            SHOP,
            "application/x-protobuf",
            "{}",
            415,
            "media_type_unsupported",
        ),
        (
            "query",
            "/apps/shop/-/alerts?a=b",
            json,
            "{}",
            400,
            "malformed_query",
        ),
        (
            "secret in the URL",
            "/apps/shop/-/alerts?token=x",
            json,
            "{}",
            400,
            "conflicting_credentials",
        ),
        (
            "parent path",
            "/apps/shop/../shop/-/alerts",
            json,
            "{}",
            400,
            "ambiguous_path",
        ),
        (
            "encoded slash",
            "/apps/shop%2Fcheckout/-/alerts",
            json,
            "{}",
            400,
            "ambiguous_path",
        ),
        (
            "no app's name",
            "/apps/Shop/-/alerts",
            json,
            "{}",
            401,
            "token_malformed",
        ),
    ] {
        let answer = caller
            .send(
                Method::POST,
                path,
                &[("content-type", content_type)],
                body.as_bytes().to_vec(),
            )
            .await
            .unwrap();
        assert_eq!(
            reason(&world, &answer).await,
            (status, expected.to_owned()),
            "{what}"
        );
        assert_eq!(
            answer.header("content-type").as_deref(),
            Some("application/json"),
            "{what}"
        );
    }
    let packed = caller
        .send(
            Method::POST,
            SHOP,
            &[JSON[0], ("content-encoding", "gzip")],
            b"x".to_vec(),
        )
        .await
        .unwrap();
    assert_eq!(
        reason(&world, &packed).await,
        (415, "content_encoding_unsupported".to_owned())
    );
    let raw = format!("{{\"a\":\"{}\"}}", "\u{fffd}");
    let mut broken = raw.into_bytes();
    broken[6] = 0xff;
    assert_eq!(
        reason(&world, &post(&caller, SHOP, &broken).await).await.1,
        "alert_malformed"
    );
    assert_eq!(told(&world.receiver), [""; 0]);
}

/// Scenario: sound messages whose names and members mean harm. Guarantees: they are passed on where the policy says, in a
/// head and with links that know nothing of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_get_into_no_head_and_no_link() {
    let world = stage::start(plan(&[])).await;
    let caller = webhook(&world, "shop").header("x-forwarded-host", "evil.example");
    let evil = "x\r\nset-cookie: a=b\r\n\r\n<script>../../%2e%2e\u{202e}";
    for body in [
        json!({ "name": evil, "id": evil, "state": evil, "app": "platform", "project": "platform-prod" }),
        json!({ "url": "http://169.254.169.254/", "destinations": ["pager"], "links": { "console": "http://evil/" } }),
        json!({ "organization": "evil", "owners": ["evil@example"], "request_id": "1", "name": ["a"], "state": {} }),
    ] {
        world.receiver.clear();
        let answer = post(&caller, SHOP, body.to_string().as_bytes()).await;
        assert_eq!(
            answer.json(),
            Some(json!({"status": "delivered"})),
            "{body}"
        );
        let received = world.receiver.received();
        let [message] = received.as_slice() else {
            panic!("{received:?}")
        };
        assert_eq!(
            (message.path.as_str(), message.headers.len()),
            ("/oncall", 6)
        );
        let whole = message.json().unwrap();
        assert_eq!(whole["alert"], body);
        assert_eq!(
            (
                &whole["organization"],
                &whole["app"],
                &whole["project"],
                &whole["links"]["console"]
            ),
            (
                &json!("acme"),
                &json!("shop"),
                &json!("shop-prod"),
                &json!("https://telemetry.acme.example/.lightkeeper/apps/shop")
            )
        );
        for link in whole["links"]
            .as_object()
            .unwrap()
            .values()
            .map(|link| link.as_str().unwrap())
        {
            let ours = [
                "https://telemetry.acme.example/.lightkeeper/",
                "https://app.lightstep.com/shop-prod/",
            ];
            assert!(ours.iter().any(|ours| link.starts_with(ours)), "{link}");
            assert!(
                link.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/?=&%".contains(&byte)),
                "{link}"
            );
        }
        assert!(
            !whole["name"].to_string().contains("\\r")
                && !whole["state"].to_string().contains("\\n")
        );
    }
    let tls = world.caller().bearer(&webhook_secret("shop"));
    assert_eq!(
        post(&tls, SHOP, br#"{"name":"no public name"}"#)
            .await
            .status,
        200
    );
    let last = world.receiver.received().pop().unwrap().json().unwrap();
    assert!(
        last["links"]["console"].is_null(),
        "the caller's word for us is no link"
    );
}

/// Scenario: one app's webhook tells more than may be told. Guarantees: it is told to wait and how long, and no other app
/// is; after that time it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_may_tell_so_much_and_no_more() {
    const NOON: i64 = 1_795_348_800_000;
    let (clock, hand) = Clock::manual(lightkeeper::clock::UnixMillis(NOON));
    let world = World::start_with(WorldPlan {
        clock,
        ..plan(&[("shop", "")])
    })
    .await
    .unwrap();
    let mut line = webhook(&world, "shop").connect().await.unwrap();
    for number in 0..60 {
        let body = json!({ "name": number }).to_string().into_bytes();
        assert_eq!(
            line.send(Method::POST, SHOP, &JSON, body)
                .await
                .unwrap()
                .status,
            200,
            "{number}"
        );
    }
    let caller = webhook(&world, "shop");
    let answer = post(&caller, SHOP, b"{}").await;
    assert_eq!(
        reason(&world, &answer).await,
        (429, "alert_rate".to_owned())
    );
    assert_eq!(answer.header("retry-after").as_deref(), Some("1"));
    assert_eq!(
        post(&webhook(&world, "shop/checkout"), CHECKOUT, b"{}")
            .await
            .status,
        200
    );
    hand.store(NOON + 1_001, Ordering::SeqCst);
    assert_eq!(post(&caller, SHOP, b"{}").await.status, 200);
}
