//! A backend that costs little: reads each body to its end and answers, over HTTP/1.1 and h2c on one port.
//!
//! It remembers the head of the last request, which a second port tells as JSON, so that the script can
//! check that a contender does the job. It refuses to know who asks. Invariant: one thread.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

/// The last request's path and headers.
type Seen = Arc<Mutex<(String, HeaderMap)>>;
type Answer = Response<BoxBody<Bytes, Infallible>>;

pub async fn serve(listen: SocketAddr, seen_listen: SocketAddr) {
    let seen = Seen::default();
    let json: Bytes = query_answer().into();
    let backend = {
        let seen = seen.clone();
        accept(listen, move |request| {
            answer(request, seen.clone(), json.clone())
        })
    };
    let teller = accept(seen_listen, move |_| tell(seen.clone()));
    tokio::join!(backend, teller);
}

async fn accept<F, R>(listen: SocketAddr, service: F)
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Answer> + Send + 'static,
{
    let listener = TcpListener::bind(listen).await.expect("the port is free");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let _ = stream.set_nodelay(true);
        let service = service.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = service(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder
                .http2()
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(4 << 20);
            let _ = builder
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(mut request: Request<Incoming>, seen: Seen, json: Bytes) -> Answer {
    while let Some(frame) = request.body_mut().frame().await {
        if frame.is_err() {
            break;
        }
    }
    let grpc = request
        .headers()
        .get("content-type")
        .is_some_and(|kind| kind.as_bytes() == b"application/grpc");
    let method = request.method().clone();
    *seen.lock().expect("no holder panics") =
        (request.uri().path().to_owned(), request.headers().clone());
    if method == Method::GET {
        return typed("application/json", Full::new(json).boxed());
    }
    if !grpc {
        return typed("application/x-protobuf", Full::new(Bytes::new()).boxed());
    }
    // An empty message: not compressed, length zero.
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let message = Full::new(Bytes::from_static(&[0; 5]));
    typed(
        "application/grpc",
        message.with_trailers(async { Some(Ok(trailers)) }).boxed(),
    )
}

fn typed(kind: &'static str, body: BoxBody<Bytes, Infallible>) -> Answer {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static(kind));
    response
}

async fn tell(seen: Seen) -> Answer {
    let (path, headers) = seen.lock().expect("no holder panics").clone();
    let pairs: Vec<(String, String)> = headers
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    let told = serde_json::json!({ "path": path, "headers": pairs }).to_string();
    typed("application/json", Full::new(told.into()).boxed())
}

/// About 2 KiB in the shape of a list of streams, with absolute links as the backend writes them.
fn query_answer() -> String {
    let stream = |number: u32| {
        serde_json::json!({
            "type": "stream",
            "id": format!("s{number:07}"),
            "attributes": { "name": format!("checkout latency {number}"), "query": "service IN (\"checkout\")" },
            "links": { "self": format!("https://api.lightstep.com/public/v0.2/acme/projects/team-5/streams/s{number:07}") },
        })
    };
    serde_json::json!({ "data": (0..8).map(stream).collect::<Vec<_>>() }).to_string()
}
