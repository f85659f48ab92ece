//! A Lightstep emulator: ingest and query API of a small organization on one port.
//!
//! What it does: behaves as `docs/backends/lightstep.md` says that Lightstep does, over HTTP/1.1, h2c and
//! TLS; records what it receives; fails on request. What it refuses to know: the gateway. It has its own
//! tables of paths, so that it can be an oracle for the gateway's.
//! Invariants: every request that reaches it is captured, whatever it is answered; all it keeps is bounded.

mod alerts;
mod capture;
mod credentials;
mod exports;
mod faults;
mod ingest;
mod legacy;
mod limits;
mod organization;
mod otlp_json;
mod otlp_protobuf;
mod query;
mod serve;
mod telemetry;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::server::{Connection, Reply, Server, ServerTls, Service, lock};
use alerts::WebhookTarget;
use capture::Captures;
use credentials::{AccessTokens, ApiKey, ApiKeys};
use exports::Exports;
use faults::{Switches, Target};
use lightkeeper::clock::{Clock, UnixMillis};
use organization::Organization;

pub use capture::{Captured, Witness};
pub use credentials::Role;
pub use exports::{
    Attributes, Export, ExportedRecord, ExportedResource, ExportedScope, Legacy, Level,
};
pub use faults::Fault;
pub use organization::PROJECTS;
pub use query::{Row, rows};

/// Where an access token stands.
pub(crate) const TOKEN_HEADER: &str = "lightstep-access-token";
/// Where the query API begins; the organization follows.
const QUERY_PREFIX: &str = "/public/v0.2/";

/// A class of endpoints, for faults and captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoints {
    All,
    IngestHttp,
    IngestGrpc,
    Query,
    /// Of the queries those for the state of one condition; in captures they are queries.
    States,
}

/// How an emulator starts.
#[derive(Clone)]
pub struct EmulatorOptions {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// Absent: plaintext HTTP/1.1 and h2c.
    pub tls: Option<ServerTls>,
    /// The organization's name.
    pub organization: String,
    /// Projects besides the sample's, each with a few objects of most kinds.
    pub projects: Vec<String>,
    /// The base of absolute links; `None`: the emulator's own address. The real one writes
    /// `https://api.lightstep.com`.
    pub links_base: Option<String>,
    /// The largest request body. 16 MiB, as satellites are configured.
    pub body_limit_bytes: usize,
    /// The largest export after decompression. 64 MiB, as the OTLP specification says.
    pub decompressed_limit_bytes: usize,
    /// Requests (and decoded exports) kept; 0 keeps none, for measurements.
    pub captures: usize,
    /// Bytes of request bodies kept, and again of decoded exports.
    pub captured_bytes: usize,
    /// Limits of the query API by class (`general`, `timeseries`, `snapshots`, `spans`): how many in how many seconds,
    /// counted from the class's first request on. A class that is not here has no limit.
    pub rates: BTreeMap<&'static str, (u64, u64)>,
    /// How long a new or reactivated access token takes to work. The real one: up to 300.
    pub propagation_seconds: i64,
    /// A plain OTLP backend: tokens come as bearer tokens, and nowhere else.
    pub plain_otlp: bool,
    /// Sees every request as it has arrived, however many are kept.
    pub witness: Option<Witness>,
    pub clock: Clock,
}

impl Default for EmulatorOptions {
    fn default() -> Self {
        EmulatorOptions {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: None,
            organization: "acme".to_owned(),
            projects: Vec::new(),
            links_base: None,
            body_limit_bytes: 16 << 20,
            decompressed_limit_bytes: 64 << 20,
            captures: 4096,
            captured_bytes: 64 << 20,
            rates: BTreeMap::new(),
            propagation_seconds: 0,
            plain_otlp: false,
            witness: None,
            clock: Clock::system(),
        }
    }
}

/// A running emulator. Dropping it stops it.
pub struct Emulator {
    server: Server,
    state: Arc<State>,
}

struct State {
    options: EmulatorOptions,
    links_base: Mutex<String>,
    captures: Arc<Captures>,
    exports: Mutex<Exports>,
    switches: Switches,
    tokens: Mutex<AccessTokens>,
    keys: Mutex<ApiKeys>,
    organization: Mutex<Organization>,
    queries: AtomicU64,
    webhooks: Mutex<BTreeMap<String, WebhookTarget>>,
    /// Requests of each class's present time, and when it began.
    windows: Mutex<BTreeMap<&'static str, (u64, UnixMillis)>>,
    /// Whether requests that were struck by `Fault::Hold` are still held.
    holding: watch::Sender<bool>,
}

impl Emulator {
    /// Starts on a free loopback port with default options.
    pub async fn start() -> Result<Self, String> {
        Self::start_with(EmulatorOptions::default()).await
    }

    pub async fn start_with(options: EmulatorOptions) -> Result<Self, String> {
        let listener = TcpListener::bind(options.address).await.map_err(|error| {
            format!(
                "the emulator cannot listen on `{}`: {error}",
                options.address
            )
        })?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let tls = options
            .tls
            .as_ref()
            .map(ServerTls::server_config)
            .transpose()
            .map_err(|error| error.to_string())?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let links_base = options
            .links_base
            .clone()
            .unwrap_or_else(|| format!("{scheme}://{address}"));
        let mut tokens = AccessTokens::default();
        for project in organization::PROJECTS
            .into_iter()
            .chain(options.projects.iter().map(String::as_str))
        {
            tokens.add(
                project,
                &Self::access_token(project),
                "default",
                UnixMillis(i64::MIN),
            );
        }
        let keys = [Role::Viewer, Role::Editor, Role::Admin].into_iter();
        let keys = keys.map(|role| ApiKey {
            value: Self::api_key(role).to_owned(),
            role,
            project: None,
        });
        let state = Arc::new(State {
            links_base: Mutex::new(links_base),
            captures: Arc::new(Captures::new(
                options.captures,
                options.captured_bytes,
                options.witness.clone(),
            )),
            exports: Mutex::default(),
            switches: Switches::default(),
            tokens: Mutex::new(tokens),
            keys: Mutex::new(ApiKeys(keys.collect())),
            organization: Mutex::new(Organization::sample(&options.projects)),
            queries: AtomicU64::new(0),
            webhooks: Mutex::default(),
            windows: Mutex::default(),
            holding: watch::Sender::new(false),
            options,
        });
        let server = Server::start(listener, tls, state.clone())
            .await
            .map_err(|error| error.to_string())?;
        Ok(Emulator { server, state })
    }

    /// `http(s)://127.0.0.1:port`: the base of both the ingest and the query side.
    pub fn url(&self) -> String {
        let scheme = if self.server.is_tls() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.server.address())
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The access token with which a project of the sample organization starts.
    pub fn access_token(project: &str) -> String {
        format!("ingest-token-of-{project}-5f1d")
    }

    /// The organization's API key of a role.
    pub fn api_key(role: Role) -> &'static str {
        match role {
            Role::Viewer => "api-key-viewer-83ac",
            Role::Editor => "api-key-editor-c40e",
            Role::Admin => "api-key-admin-19b7",
        }
    }

    /// Adds an access token that works after the propagation time.
    pub fn add_access_token(&self, project: &str, value: &str) {
        lock(&self.state.tokens).add(project, value, value, self.state.works_from());
    }

    /// Deactivates (at once) or reactivates (after the propagation time) an access token.
    pub fn set_access_token_active(&self, value: &str, active: bool) {
        lock(&self.state.tokens).set_active(value, active, self.state.works_from());
    }

    /// Adds an API key, for one project or (`None`) for the whole organization.
    pub fn add_api_key(&self, value: &str, role: Role, project: Option<&str>) {
        let key = ApiKey {
            value: value.to_owned(),
            role,
            project: project.map(str::to_owned),
        };
        lock(&self.state.keys).0.push(key);
    }

    pub fn revoke_api_key(&self, value: &str) {
        lock(&self.state.keys).0.retain(|key| key.value != value);
    }

    /// Writes absolute links with this base from now on.
    pub fn set_links_base(&self, base: &str) {
        base.clone_into(&mut lock(&self.state.links_base));
    }

    /// Lets every further request of a class fail.
    pub fn fail(&self, endpoints: Endpoints, fault: Fault) {
        self.state
            .switches
            .set(Target::Endpoints(endpoints), fault, None);
    }

    /// Lets the next `times` requests of a class fail.
    pub fn fail_times(&self, endpoints: Endpoints, fault: Fault, times: u64) {
        self.state
            .switches
            .set(Target::Endpoints(endpoints), fault, Some(times));
    }

    /// Lets every further export with an access token of this project fail, in any format, before any failure
    /// of its class.
    pub fn fail_project(&self, project: &str, fault: Fault) {
        self.state
            .switches
            .set(Target::Project(project.to_owned()), fault, None);
    }

    /// Lets the next `times` exports with an access token of this project fail.
    pub fn fail_project_times(&self, project: &str, fault: Fault, times: u64) {
        self.state
            .switches
            .set(Target::Project(project.to_owned()), fault, Some(times));
    }

    /// Lets every further query on this project fail, before any failure of its class.
    pub fn fail_queries(&self, project: &str, fault: Fault) {
        self.state
            .switches
            .set(Target::Queries(project.to_owned()), fault, None);
    }

    /// Ends the failure of one project's queries.
    pub fn heal_queries(&self, project: &str) {
        self.state
            .switches
            .heal(Some(&Target::Queries(project.to_owned())));
    }

    /// Holds every further request of a class, once it was read and captured, until `release`.
    pub fn hold(&self, endpoints: Endpoints) {
        self.state.holding.send_replace(true);
        self.fail(endpoints, Fault::Hold);
    }

    /// Answers what was held, and holds nothing more. Other failures end, too.
    pub fn release(&self) {
        self.heal();
        self.state.holding.send_replace(false);
    }

    /// Ends all failures.
    pub fn heal(&self) {
        self.state.switches.heal(None);
    }

    /// Ends the failure of one project.
    pub fn heal_project(&self, project: &str) {
        self.state
            .switches
            .heal(Some(&Target::Project(project.to_owned())));
    }

    /// Everything received since the start or the last `clear`, oldest first. A request stands here once
    /// its body has come to an end, of whatever kind.
    pub fn captured(&self) -> Vec<Captured> {
        self.state.captures.all()
    }

    /// `captured`, as soon as it holds `count` requests; fewer when the deadline passes first.
    pub async fn wait_for(&self, count: usize, deadline: Duration) -> Vec<Captured> {
        self.state.captures.wait_for(count, deadline).await
    }

    /// Request heads seen since the start or the last `clear`, also of requests still on their way: the
    /// number to compare with 0 when nothing may have gone upstream.
    pub fn heads(&self) -> u64 {
        self.state.captures.heads()
    }

    /// Connections accepted since the start.
    pub fn connections(&self) -> u64 {
        self.server.accepted()
    }

    /// The bytes that clients sent, after TLS; the first 4 MiB since the last `clear`.
    pub fn wire(&self) -> Vec<u8> {
        self.server.wire()
    }

    /// The exports that were accepted, oldest first, as many as are kept.
    pub fn exports(&self) -> Vec<Export> {
        lock(&self.state.exports).all()
    }

    /// Every span id that was accepted since the start or the last `clear`, in any format, and how often: each
    /// once, when nothing was lost and nothing doubled. Ids are big-endian numbers; one of a wrong length is 0.
    /// Counted also for exports that are no longer kept.
    pub fn span_ids(&self) -> BTreeMap<u64, u64> {
        lock(&self.state.exports).spans()
    }

    /// Forgets what was received.
    pub fn clear(&self) {
        self.state.captures.clear();
        *lock(&self.state.exports) = Exports::default();
        self.server.clear_wire();
    }

    /// Connecting is refused from now on.
    pub async fn stop(&self) {
        self.server.stop().await;
    }

    /// Listens again on the same port.
    pub async fn restart(&self) -> Result<(), String> {
        self.server
            .restart()
            .await
            .map_err(|error| format!("the emulator cannot listen again: {error}"))
    }
}

/// Runs an emulator until the future is dropped; `started` is called once it listens.
pub async fn run_emulator(
    options: EmulatorOptions,
    started: impl FnOnce(&Emulator),
) -> Result<(), String> {
    let emulator = Emulator::start_with(options).await?;
    started(&emulator);
    std::future::pending().await
}

impl State {
    fn works_from(&self) -> UnixMillis {
        UnixMillis(self.options.clock.now().0 + self.options.propagation_seconds * 1000)
    }
}

impl Service for State {
    fn answer(self: Arc<Self>, request: Request<Incoming>, connection: Connection) -> Reply {
        Box::pin(self.serve(request, connection))
    }
}
