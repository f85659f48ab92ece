//! Pingora as it comes: one thread, `http_proxy_service`, nothing but an upstream.
//!
//! It is the floor that the gateway is compared with: no identity, no policy, no header is touched. It
//! refuses to know everything but one address. Invariant: no setting that Pingora does not choose itself,
//! save h2c, which gRPC needs.

use std::net::SocketAddr;

use async_trait::async_trait;
use pingora_core::Result;
use pingora_core::apps::HttpServerOptions;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

struct Bare {
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, session: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        let mut peer = HttpPeer::new(self.upstream, false, String::new());
        if session.is_http2() {
            peer.options.set_http_version(2, 2); // gRPC's trailers need it
        }
        Ok(Box::new(peer))
    }
}

pub fn serve(listen: SocketAddr, upstream: SocketAddr) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let conf = ServerConf {
        threads: 1,
        grace_period_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut proxy = http_proxy_service(&server.configuration, Bare { upstream });
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    proxy.app_logic_mut().expect("not started").server_options = Some(options);
    proxy.add_tcp(&listen.to_string());
    server.add_service(proxy);
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    server.run_forever();
}
