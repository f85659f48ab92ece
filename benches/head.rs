//! What it costs to judge a head and to read it into a typed call.
//!
//! `cargo bench --bench head`. Correctness tests never assert these times.

use std::net::SocketAddr;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{Request, request::Parts};
use lightkeeper::accept::head::{HeadLimits, inspect};
use lightkeeper::accept::{Connection, ListenerSettings, Serves, path, read};
use lightkeeper::limits::Limits;
use lightkeeper::profiles::Profile;

const EXPORT: &[u8] =
    b"POST /v1/traces HTTP/1.1\r\nHost: gateway.example:4318\r\nUser-Agent: OTel-OTLP-Exporter-Python/1.45.2\r\n\
Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\nContent-Type: application/x-protobuf\r\n\
Authorization: Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln\r\nContent-Length: 1024\r\n\r\n";

fn parts(method: &str, path: &str) -> Parts {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "gateway.example:4318")
        .header("user-agent", "OTel-OTLP-Exporter-Python/1.45.2")
        .header("accept", "*/*")
        .header("content-type", "application/x-protobuf")
        .header(
            "authorization",
            "Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln",
        );
    request
        .body(())
        .map(|request| request.into_parts().0)
        .unwrap_or_else(|_| Request::new(()).into_parts().0)
}

fn head(criterion: &mut Criterion) {
    let limits = HeadLimits {
        bytes: 64 << 10,
        lines: 100,
    };
    criterion.bench_function("inspect a raw export head", |bencher| {
        bencher.iter(|| inspect(std::hint::black_box(EXPORT), limits));
    });
    criterion.bench_function("normalise a query path", |bencher| {
        let path = "/public/v0.2/acme/projects/my%20project/streams/abc/timeseries";
        bencher.iter(|| path::segments(std::hint::black_box(path)));
    });
    let listener = ListenerSettings {
        name: "bench".to_owned(),
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        serves: Serves::ALL,
        tls: None,
        public_url: None,
        front: Default::default(),
    };
    let connection = Connection::new(
        Arc::new(listener),
        SocketAddr::from(([127, 0, 0, 1], 1)),
        false,
        None,
    );
    let (profile, limits) = (Profile::lightstep(), Limits::default());
    for (name, parts) in [
        ("read an export", parts("POST", "/v1/traces")),
        (
            "read an export to an app",
            parts("POST", "/apps/shop/checkout/-/v1/traces"),
        ),
        (
            "read a query",
            parts(
                "GET",
                "/public/v0.2/acme/projects/shop-prod/streams/abc/timeseries?resolution-ms=60000",
            ),
        ),
    ] {
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                read(
                    std::hint::black_box(&parts),
                    &connection,
                    &profile,
                    &[],
                    &limits,
                )
                .is_ok()
            });
        });
    }
}

criterion_group!(benches, head);
criterion_main!(benches);
