//! The operator's door: metrics and probes.
//!
//! What it does: serves `/metrics /startupz /livez /readyz` on a listener, a thread and a runtime of its
//! own, so that neither a flood of calls nor a scrape disturbs the other. What it refuses to know: calls,
//! credentials, and how to change anything. Invariants: read-only; nothing secret is ever shown.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::gateway::Core;

/// Scrapers and probes at once; more are closed.
const CONNECTIONS_LIMIT: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Binds, and serves on a thread of its own until the process ends. Gives the bound address.
pub fn serve(address: SocketAddr, core: Arc<Core>) -> Result<SocketAddr, String> {
    let unbound = |error| format!("admin cannot bind {address}: {error}");
    let socket = std::net::TcpListener::bind(address).map_err(unbound)?;
    socket.set_nonblocking(true).map_err(unbound)?;
    let bound = socket.local_addr().map_err(unbound)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("admin cannot start: {error}"))?;
    let run = move || {
        runtime.block_on(async move {
            match TcpListener::from_std(socket) {
                Ok(socket) => accept(socket, core).await,
                Err(error) => tracing::error!(%error, "admin cannot accept"),
            }
        });
    };
    std::thread::Builder::new().name("admin".to_owned()).spawn(run).map_err(|error| error.to_string())?;
    tracing::info!(address = %bound, "admin listening");
    Ok(bound)
}

async fn accept(socket: TcpListener, core: Arc<Core>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_LIMIT));
    loop {
        let Ok((stream, _)) = socket.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let core = core.clone();
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(|request| {
                let answer = answer(&request, &core);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(stream), service);
            // A prober that breaks off is nobody's concern.
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
        });
    }
}

fn answer(request: &Request<Incoming>, core: &Core) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET is served here\n".into());
    }
    match request.uri().path() {
        "/metrics" => text(StatusCode::OK, "text/plain; version=0.0.4", core.metrics_page().into()),
        // This listener starts after the gateway's: being here means that both have started.
        "/startupz" => text(StatusCode::OK, "text/plain", "started\n".into()),
        "/livez" => text(StatusCode::OK, "text/plain", "alive\n".into()),
        "/readyz" => {
            let readiness = core.readiness();
            let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            text(status, "application/json", serde_json::to_vec(&readiness).unwrap_or_default().into())
        }
        _ => text(StatusCode::NOT_FOUND, "text/plain", "/metrics /startupz /livez /readyz\n".into()),
    }
}

fn text(status: StatusCode, media_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
