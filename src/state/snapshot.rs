//! One immutable snapshot of all rooms.
//!
//! What it does: furnishes every room from checked settings, carrying over what must outlive a reload.
//! What it refuses to know: files' syntax, requests. Invariants: a snapshot is complete or does not exist;
//! it never changes, a reload builds the next one; calls in flight finish in theirs.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;

use super::{AlertSettings, BackendEndpoints, BackendSettings, QuerySettings, backends};
use crate::accept::{self, Call, Connection, ListenerSettings, OwnCertificate, TlsFault};
use crate::apps::{BackendId, BackendNames};
use crate::audit::AuditSettings;
use crate::authorize::{Permit, Policy};
use crate::clock::{Clock, UnixMillis};
use crate::forward::{Backend, BackendFault, ClientIdentity, DestinationFault, Webhook};
use crate::identify::{
    AuthorityFault, AwsSettings, ClientTokenSettings, ClientTrust, ClientVerifier, DpopSettings,
    Events, Identifier, IssuerFault, IssuerSettings, LoginFault, LoginSettings, NonceKeyFault,
    RevocationList, Surroundings, TransmitterFault, TransmitterSettings, WebhookFault,
    WebhookSettings,
};
use crate::limits::Limits;
use crate::profiles::{AlertLayout, Profile, Ui};
use crate::respond::Refusal;
use crate::route::{self, Route, RouteFault, Upstream};
use crate::transform::IngestSettings;
use crate::vault::{ExportSurroundings, OpenVaultFault, Vault, VaultSettings};
use crate::view::Site;

/// The next snapshot's number.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Everything that a snapshot is built from, checked.
pub struct Settings {
    pub organization: String,
    pub listeners: Vec<ListenerSettings>,
    pub issuers: Vec<IssuerSettings>,
    pub aws: Vec<AwsSettings>,
    pub client_tokens: Vec<ClientTokenSettings>,
    /// How callers prove that they hold a key.
    pub dpop: DpopSettings,
    /// How people log in with a browser.
    pub login: Option<LoginSettings>,
    pub webhooks: Vec<WebhookSettings>,
    pub alerts: AlertSettings,
    /// What the operator's file revokes.
    pub revocations: Arc<RevocationList>,
    pub transmitters: Vec<TransmitterSettings>,
    /// At least one.
    pub backends: Vec<BackendSettings>,
    pub backend_names: BackendNames,
    pub(crate) ingest_settings: IngestSettings,
    pub(crate) query_settings: QuerySettings,
    pub vault: VaultSettings,
    pub policy: Arc<Policy>,
    pub profile: Arc<Profile>,
    pub audit: AuditSettings,
    pub limits: Limits,
    /// Turns views into pages.
    pub site: Arc<dyn Site>,
    /// Files whose change means that a new plan should be made.
    pub files: Vec<PathBuf>,
    /// When reading them began: what changes later is not in here.
    pub(crate) read_at: UnixMillis,
}

/// The rooms, furnished.
pub struct Snapshot {
    /// Which no other snapshot of this process has.
    pub number: u64,
    pub organization: String,
    pub profile: Arc<Profile>,
    pub policy: Arc<Policy>,
    pub identifier: Identifier,
    pub vault: Vault,
    pub limits: Arc<Limits>,
    pub(crate) ingest_settings: Arc<IngestSettings>,
    /// How messages about alerts are read.
    pub(crate) alert_layout: AlertLayout,
    pub replay_window: Duration,
    /// By name.
    pub destinations: BTreeMap<String, Arc<Webhook>>,
    pub(crate) query_settings: Arc<QuerySettings>,
    /// Links into the backend's own pages.
    pub ui: Ui,
    pub listeners: Vec<Listener>,
    pub site: Arc<dyn Site>,
    /// By number.
    pub(super) backends: Vec<BackendEndpoints>,
}

/// One listener's part of the snapshot.
pub struct Listener {
    pub(crate) listener: Arc<ListenerSettings>,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// Swapped in once the whole snapshot stands.
    trust: Option<(Arc<ClientVerifier>, Option<ClientTrust>)>,
}

/// One reason why a snapshot cannot be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotFault {
    #[error("listener `{name}`")]
    ClientTrust {
        name: String,
        #[source]
        cause: AuthorityFault,
    },
    #[error("listener `{name}`")]
    Tls {
        name: String,
        #[source]
        cause: TlsFault,
    },
    #[error(transparent)]
    Issuer(#[from] IssuerFault),
    #[error(transparent)]
    Login(#[from] LoginFault),
    #[error(transparent)]
    Nonces(#[from] NonceKeyFault),
    #[error(transparent)]
    Transmitter(#[from] TransmitterFault),
    #[error("webhooks {0}")]
    Webhook(WebhookFault),
    #[error(transparent)]
    Destination(#[from] DestinationFault),
    #[error(transparent)]
    Vault(#[from] OpenVaultFault),
    #[error("upstream {name}")]
    Backend {
        name: String,
        #[source]
        cause: BackendFault,
    },
}

impl Snapshot {
    /// Builds the next snapshot, or tells every reason why it cannot be. Must run within the runtime.
    pub(crate) fn build(
        plan: &Settings,
        clock: &Clock,
        events: &Events,
        previous: Option<&Snapshot>,
    ) -> Result<Snapshot, Vec<SnapshotFault>> {
        let mut faults: Vec<SnapshotFault> = Vec::new();
        let surroundings = Surroundings {
            clock: clock.clone(),
            token_bytes: plan.limits.token_bytes,
            events: events.clone(),
            runtime: tokio::runtime::Handle::current(),
        };
        let listeners = listeners(plan, &surroundings, previous, &mut faults);
        let verifiers = listeners
            .iter()
            .filter_map(|listener| Some(listener.trust.as_ref()?.0.clone()))
            .collect();
        let previous_identifier = previous.map(|snapshot| &snapshot.identifier);
        let identifier =
            Identifier::new(&plan.issuers, verifiers, surroundings, previous_identifier)
                .map(|identifier| {
                    let names = plan.issuers.iter().map(|issuer| issuer.name.clone());
                    let claims = names
                        .map(|name| (name.clone(), plan.policy.claims_of(&name)))
                        .collect();
                    identifier
                        .with_client_tokens(&plan.client_tokens)
                        .with_policy_claims(claims)
                        .with_revocations(&plan.revocations)
                })
                .map_err(|found| faults.extend(found.into_iter().map(SnapshotFault::from)))
                .ok()
                .and_then(|identifier| {
                    let known = identifier.with_aws(&plan.aws, previous_identifier);
                    known
                        .map_err(|found| faults.extend(found.into_iter().map(SnapshotFault::from)))
                        .ok()
                })
                .and_then(|identifier| {
                    let login = identifier.with_login(plan.login.as_ref(), previous_identifier);
                    login
                        .map_err(|found| faults.extend(found.into_iter().map(SnapshotFault::from)))
                        .ok()
                });
        let identifier = identifier.and_then(|identifier| {
            let judging = identifier.with_possession(&plan.dpop, previous_identifier);
            judging
                .map_err(|found| faults.extend(found.into_iter().map(SnapshotFault::from)))
                .ok()
        });
        let identifier = identifier.and_then(|identifier| {
            let known = identifier.with_webhooks(&plan.webhooks);
            known
                .map_err(|found| {
                    faults.extend(found.into_iter().map(SnapshotFault::Webhook));
                })
                .ok()
        });
        let identifier = identifier.and_then(|identifier| {
            let known = identifier.with_transmitters(&plan.transmitters, previous_identifier);
            known
                .map_err(|found| faults.extend(found.into_iter().map(SnapshotFault::from)))
                .ok()
        });
        let mut destinations = BTreeMap::new();
        for settings in &plan.alerts.destinations {
            let earlier = previous.and_then(|snapshot| snapshot.destinations.get(&settings.name));
            match Webhook::open(settings, earlier.map(Arc::as_ref)) {
                Ok(webhook) => drop(destinations.insert(settings.name.clone(), Arc::new(webhook))),
                Err(fault) => faults.push(fault.into()),
            }
        }
        let tree = plan.policy.tree();
        let home = |project: &str| {
            let node = tree.home(project).and_then(|node| tree.node(node));
            node.map(|node| node.path.as_str().to_owned())
        };
        let profiles: Vec<&Profile> = plan.backends.iter().map(|one| &*one.profile).collect();
        let around = ExportSurroundings {
            profiles: &profiles,
            names: &plan.backend_names,
            home: &home,
        };
        let earlier = previous.map(|snapshot| &snapshot.vault);
        let vault = Vault::open(&plan.vault, &around, clock.clone(), earlier)
            .map_err(|found| faults.extend(found.into_iter().map(SnapshotFault::from)))
            .ok();
        let names = &plan.backend_names;
        let backends = backends::open(&plan.backends, names, previous, &mut faults);
        match (identifier, vault) {
            (Some(identifier), Some(vault)) if faults.is_empty() => Ok(Snapshot {
                number: NUMBER.fetch_add(1, Ordering::Relaxed),
                organization: plan.organization.clone(),
                profile: plan.profile.clone(),
                policy: plan.policy.clone(),
                identifier,
                vault,
                limits: Arc::new(plan.limits.clone()),
                ingest_settings: Arc::new(plan.ingest_settings.clone()),
                alert_layout: plan.alerts.fields.over(&plan.profile.alerts),
                replay_window: plan.alerts.replay_window,
                destinations,
                ui: Ui::new(&plan.profile, &plan.query_settings.ui),
                query_settings: Arc::new(plan.query_settings.clone()),
                listeners,
                site: plan.site.clone(),
                backends,
            }),
            _ => Err(faults),
        }
    }

    /// Takes over the new trust anchors and revocation lists: from here on, open connections and
    /// handshakes are judged by them.
    pub(crate) fn settle(&mut self) {
        for listener in &mut self.listeners {
            if let Some((verifier, trust)) = &mut listener.trust
                && let Some(trust) = trust.take()
            {
                verifier.replace(trust);
            }
        }
    }

    /// Lets a connection's calls be judged by its listener's present settings.
    pub(crate) fn at_listener(&self, connection: &Connection) {
        let known = connection.listener();
        let present = self
            .listeners
            .iter()
            .map(|listener| &listener.listener)
            .find(|listener| Arc::ptr_eq(listener, &known) || listener.name == known.name);
        if let Some(present) = present {
            connection.take_over(present);
        }
    }

    /// The sockets of the Workload API from which our own certificates come, and whether a listener needs it.
    pub(crate) fn own_svids(&self) -> BTreeMap<PathBuf, bool> {
        let upstreams = self.backends.iter().flat_map(|backend| {
            Upstream::ALL
                .into_iter()
                .filter_map(|kind| backend.endpoint(kind))
        });
        let clients = upstreams.filter_map(|endpoint| match &endpoint.settings.client {
            Some(ClientIdentity::WorkloadApi(socket)) => Some((socket.clone(), false)),
            _ => None,
        });
        let listeners = self.listeners.iter();
        let servers = listeners.filter_map(|one| match &one.listener.tls.as_ref()?.own {
            OwnCertificate::WorkloadApi(socket) => Some((socket.clone(), true)),
            OwnCertificate::Files { .. } => None,
        });
        // A listener's need comes last, and stays.
        clients.chain(servers).collect()
    }

    /// Hands what exports carry of the vault's surroundings.
    pub(crate) fn with_surroundings<T>(
        &self,
        hand: impl FnOnce(&ExportSurroundings<'_>) -> T,
    ) -> T {
        let tree = self.policy.tree();
        let home = |project: &str| {
            let node = tree.home(project).and_then(|node| tree.node(node));
            node.map(|node| node.path.as_str().to_owned())
        };
        let profiles: Vec<&Profile> = self.backends.iter().map(|one| &*one.profile).collect();
        hand(&ExportSurroundings {
            profiles: &profiles,
            names: self.policy.backends(),
            home: &home,
        })
    }

    /// One of the backends.
    pub(crate) fn backend(&self, backend: BackendId) -> Option<&BackendEndpoints> {
        self.backends.get(backend.place())
    }

    /// What is known of a backend's kind.
    pub(crate) fn profile_of(&self, backend: BackendId) -> &Profile {
        self.backend(backend)
            .map_or(&*self.profile, |backend| &*backend.profile)
    }

    /// Where a route leads; `None` only for what no listener serves.
    pub(crate) fn endpoint(&self, route: &Route) -> Option<&Arc<Backend>> {
        self.backend(route.backend())?.endpoint(route.upstream())
    }

    /// Whether something can be asked of a backend.
    pub(crate) fn is_asked(&self, backend: BackendId) -> bool {
        self.backend(backend).is_some_and(|backend| {
            backend.profile.has_query() && backend.endpoint(Upstream::Query).is_some()
        })
    }

    /// The route of a permitted call.
    pub(crate) fn route(&self, permit: &Permit, call: &Call) -> Result<Route, Refusal> {
        let names = self.policy.backends();
        let profiles = (&*self.profile, self.profile_of(permit.backend()));
        let route = route::route(permit, call, profiles, &self.organization).and_then(|route| {
            let is_lost = names.are_several()
                && route.upstream() == Upstream::Query
                && !self.is_asked(route.backend());
            if is_lost {
                Err(RouteFault::NoQueryApi)
            } else {
                Ok(route)
            }
        });
        route.map_err(|fault| {
            let refusal = Refusal::new(fault.reason());
            match names.told(permit.backend()) {
                Some(backend) => refusal.because(format!("of backend `{backend}`")),
                None => refusal,
            }
        })
    }
}

/// Builds every listener's TLS. A listener that keeps its name keeps its verifier, so that chains which
/// it verified earlier are judged by the new trust.
fn listeners(
    plan: &Settings,
    surroundings: &Surroundings,
    previous: Option<&Snapshot>,
    faults: &mut Vec<SnapshotFault>,
) -> Vec<Listener> {
    let known: HashMap<&str, &Arc<ClientVerifier>> = previous
        .iter()
        .flat_map(|snapshot| &snapshot.listeners)
        .filter_map(|listener| Some((listener.listener.name.as_str(), &listener.trust.as_ref()?.0)))
        .collect();
    let mut listeners = Vec::with_capacity(plan.listeners.len());
    for listener in &plan.listeners {
        let mut trust = None;
        if let Some(clients) = listener.tls.as_ref().and_then(|tls| tls.clients.as_ref()) {
            let earlier = known.get(listener.name.as_str());
            let read = ClientTrust::read(clients, surroundings, earlier.map(|one| &***one));
            match (read, earlier) {
                (Ok(fresh), Some(verifier)) => trust = Some(((*verifier).clone(), Some(fresh))),
                (Ok(fresh), None) => {
                    trust = Some((
                        ClientVerifier::new(&listener.name, fresh, surroundings.events.clone()),
                        None,
                    ))
                }
                (Err(cause), _) => faults.push(SnapshotFault::ClientTrust {
                    name: listener.name.clone(),
                    cause,
                }),
            }
        }
        let verifier = trust
            .as_ref()
            .map(|(verifier, _)| verifier.clone() as Arc<dyn ClientCertVerifier>);
        let tls = listener.tls.as_ref().and_then(|settings| {
            accept::server_config(settings, verifier)
                .map_err(|cause| {
                    faults.push(SnapshotFault::Tls {
                        name: listener.name.clone(),
                        cause,
                    });
                })
                .ok()
                .map(Arc::new)
        });
        listeners.push(Listener {
            listener: Arc::new(listener.clone()),
            tls,
            trust,
        });
    }
    listeners
}
