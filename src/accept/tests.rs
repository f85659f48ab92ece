//! Tables of heads: which legacy report each asks to send, and whose evidence counts.
//!
//! What it does: reads heads as the framework hands them over. What it refuses to know: identities.

mod assertions;
mod evidence;
mod legacy;

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, Request, Version};
use zeroize::Zeroizing;

use super::read::RefusedHead;
use super::*;
use crate::lightstep::Format;
use crate::limits::Limits;
use crate::profiles::Profile;

const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln";
const OTHER_JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ5In0.c2ln";

/// Reads a head: method and path, headers as `name: value` lines.
fn head(line: &str, headers: &[String], certificate: bool) -> Result<(Caller, Call), RefusedHead> {
    head_of(line, headers, certificate, &[])
}

/// The same where issuers name headers of assertions.
fn head_of(
    line: &str,
    headers: &[String],
    certificate: bool,
    assertions: &[AssertionHeader],
) -> Result<(Caller, Call), RefusedHead> {
    let (method, path) = line.split_once(' ').unwrap();
    let grpc = headers
        .iter()
        .any(|header| header.contains("application/grpc"));
    let mut request = Request::builder()
        .method(Method::from_bytes(method.as_bytes()).unwrap())
        .uri(path);
    request = request
        .version(if grpc {
            Version::HTTP_2
        } else {
            Version::HTTP_11
        })
        .header("host", "gateway");
    for header in headers {
        let (name, value) = header.split_once(": ").unwrap();
        let name: HeaderName = name.parse().unwrap();
        request = request.header(name, HeaderValue::from_str(value).unwrap());
    }
    let listener = ListenerSettings {
        name: "test".to_owned(),
        address: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
        serves: Serves::ALL,
        tls: None,
        public_url: None,
        front: Default::default(),
    };
    let chain = certificate.then(|| {
        Arc::new(ClientChain {
            certificates: Vec::new(),
            listener: "test".into(),
        })
    });
    let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let connection = Connection::new(Arc::new(listener), peer, grpc, chain);
    let parts = request.body(()).unwrap().into_parts().0;
    read(
        &parts,
        &connection,
        &Profile::lightstep(),
        assertions,
        &Limits::default(),
    )
}
