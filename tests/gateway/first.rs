//! The main job, end to end.

use lightkeeper::demo::{Sample, World};
use lightkeeper::otlp::Encoding;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn main_job() {
    lightkeeper::telemetry::start_logging(lightkeeper::telemetry::LogFormat::Text, "info");
    let world = World::start().await.unwrap();
    let token = world.issuer.token("checkout-collector");
    for encoding in [Encoding::Protobuf, Encoding::Json] {
        let answer =
            world.plain_caller().bearer(&token).export(&Sample::traces("checkout", 3), encoding).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = world.caller().bearer(&token).export(&Sample::traces("checkout", 3), encoding).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let answer = world.plain_caller().http2().bearer(&token).export_grpc(&Sample::traces("checkout", 3)).await.unwrap();
    assert_eq!(answer.grpc_status(), Some(0), "{answer:?}");
    let answer = world.caller().http2().bearer(&token).export_grpc(&Sample::traces("checkout", 3)).await.unwrap();
    assert_eq!(answer.grpc_status(), Some(0), "{answer:?}");
    let ann = world.issuer.token("ann");
    let answer = world.caller().bearer(&ann).get("/public/v0.2/acme/projects").await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    println!("{}", answer.text());
    let answer = world.caller().bearer(&ann).get("/public/v0.2/acme/projects/checkout-prod/streams").await.unwrap();
    println!("{} {}", answer.status, answer.text());
    let answer = world.caller().get("/public/v0.2/acme/projects").await.unwrap();
    println!("{} {} {:?}", answer.status, answer.text(), answer.headers);
    let answer = world.caller().http2().export_grpc(&Sample::traces("checkout", 3)).await.unwrap();
    println!("{answer:?}");
    let answer = world.caller().bearer(&ann).get("/.lightkeeper/whoami").await.unwrap();
    println!("{} {}", answer.status, answer.text());
    let answer = world.caller().bearer(&ann).get("/apps/shop").await.unwrap();
    println!("{} {}", answer.status, answer.text());
    let big = vec![b'x'; 3_000_000];
    let answer = world.plain_caller().bearer(&token).header("content-type","application/x-protobuf").raw(format!("POST /v1/traces HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n{}", big.len(), String::from_utf8(big).unwrap()).as_bytes()).await;
    println!("{:?}", answer.map(|a| String::from_utf8_lossy(&a).to_string()));
    for captured in world.emulator.captured() {
        println!(
            "{} {} {:?} {}",
            captured.method,
            captured.path,
            captured.headers.iter().map(|(n, v)| format!("{n}: {}", String::from_utf8_lossy(v))).collect::<Vec<_>>(),
            captured.body.len()
        );
    }
    world.gateway.stop().await;
    for record in world.records() {
        println!("{record}");
    }
}
