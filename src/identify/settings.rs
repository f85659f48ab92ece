//! The checked settings of this room. `config` builds them; nothing here parses files.

use std::path::PathBuf;
use std::time::Duration;

use super::claim_path::ClaimPath;
use super::client_token_hash::ClientTokenHash;
use super::proven::AttributeSource;
use crate::accept::{AssertionHeader, BundlePlace};
use crate::apps::AppPath;
use crate::egress::Egress;
use crate::secret::SecretRef;

/// One issuer that callers' tokens may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSettings {
    /// Our own name for it; policy subjects use it.
    pub name: String,
    /// The `iss` string, compared byte for byte (RFC 9068 section 4).
    pub issuer: String,
    /// At least one; a token must name one of them in its audience claim, and in `aud` where it has that besides.
    pub audiences: Vec<String>,
    /// JOSE names out of RS/PS/ES 256, 384, 512 and EdDSA.
    pub algorithms: Vec<String>,
    pub keys: KeySource,
    /// PEM file with the roots to trust when fetching; `None`: the system's.
    pub ca: Option<PathBuf>,
    pub key_access: KeyAccess,
    /// Which way leads to it, and to the addresses that its discovery document names.
    pub egress: Egress,
    /// The claims that may name the subject; the first that is there does (default `sub`). At least one.
    pub subject_claims: Vec<ClaimPath>,
    /// The claim that lists groups (default `groups`).
    pub groups_claim: ClaimPath,
    /// The claim that names the audience (default `aud`).
    pub audience_claim: ClaimPath,
    /// Accepted `typ` header values, lower case, without `application/`. Default: `at+jwt`, `jwt` and
    /// absent (shown as the empty string).
    pub types: Vec<String>,
    /// Whether an e-mail address counts that the issuer does not call verified.
    pub accepts_unverified_email: bool,
    /// The header in which a proxy states who calls, by a token of this issuer; besides where clients put theirs.
    pub header: Option<AssertionHeader>,
    /// Whether callers show access tokens or ID tokens.
    pub tokens: TokensTaken,
    /// Whether only tokens count that are bound to a key (RFC 9449).
    pub dpop_required: bool,
    /// The clients through which people log in at this issuer: they are no APIs.
    pub login_clients: Vec<String>,
    /// Clock skew; at most 5 minutes, default 30 s.
    pub leeway: Duration,
    /// For how long a token may be valid: `exp` less `iat`. Default 24 h.
    pub max_lifetime: Duration,
    /// How long keys are used when the issuer cannot be reached. Default 24 h.
    pub stale_keys: Duration,
    /// Refresh interval. Default 1 h, floor 60 s.
    pub refresh: Duration,
    /// Who is asked about its tokens that are no JWTs, or about all.
    pub introspection: Option<IntrospectionSettings>,
    /// The Kubernetes cluster whose tokens they are; `issuer` is then how the configuration calls it.
    pub cluster: Option<ClusterSettings>,
    /// The attributes of resources that its tokens prove; at most `PROVEN_ATTRIBUTES`, each once.
    pub attributes: Vec<AttributeSource>,
}

/// How keys are asked for where not all that ask are answered: a Kubernetes API server gives its keys to authenticated
/// callers, under a certificate of its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyAccess {
    /// A bearer token, read anew for each request, and sent to the configured origin alone.
    pub token: Option<SecretRef>,
    /// PEM file with the roots to trust, instead of `IssuerSettings::ca`.
    pub ca: Option<PathBuf>,
}

/// How proofs of possession are judged (`dpop`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DpopSettings {
    pub replay: ProofReplay,
    /// Whether proofs may come without a nonce of ours.
    pub nonce_optional: bool,
    /// Keys of 32 bytes (base64 or hexadecimal), from which those of nonces are derived; none: one of the process's own.
    pub keys: Vec<SecretRef>,
}

/// Where a proof must not be used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProofReplay {
    /// In one process.
    #[default]
    Local,
    /// Anywhere: a nonce is good in the process that gave it.
    Pinned,
}

impl DpopSettings {
    pub(crate) fn needs_nonce(&self) -> bool {
        !self.nonce_optional || self.replay == ProofReplay::Pinned
    }
}

/// An introspection endpoint (RFC 7662).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntrospectionSettings {
    pub url: String,
    /// What the issuer calls us.
    pub client_id: String,
    pub proof: ClientProofSettings,
    /// JWTs are asked about as well, after their signature was found good.
    pub always: bool,
    /// What the issuer's opaque tokens begin with; `None`: all that no other issuer's prefix fits.
    pub prefix: Option<String>,
    /// Answers are signed (RFC 9701); others do not count.
    pub signed: bool,
    /// For how long an answer that a token is active counts.
    pub cache: Duration,
    pub calls_per_second: u32,
}

/// By what the gateway proves who it is to an introspection endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientProofSettings {
    /// HTTP Basic.
    Secret(SecretRef),
    /// `private_key_jwt`: a PEM file, and the JOSE algorithm where the kind of key leaves a choice.
    Key {
        file: PathBuf,
        algorithm: Option<String>,
        key_id: Option<String>,
    },
    /// The connection's client certificate.
    Certificate { certificate: PathBuf, key: PathBuf },
}

/// A Kubernetes cluster, as the pod in which the gateway runs sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// `https://host:port` of the API server.
    pub api: String,
    /// Where the pod has its `token` and `ca.crt`.
    pub folder: PathBuf,
    pub review: TokenReviewing,
    /// TokenReviews.
    pub calls_per_second: u32,
}

impl ClusterSettings {
    /// The pod's own token, which the kubelet renews.
    pub(crate) fn token_file(&self) -> PathBuf {
        self.folder.join("token")
    }

    /// The authority of the API server's certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }
}

/// Whether a cluster is asked about tokens whose signature holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenReviewing {
    Off,
    /// Without its word no token counts.
    On,
    /// While it cannot be asked, the signature counts alone.
    Prefer,
}

/// By what a policy tells the callers of one issuer apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyClaims {
    /// Whether any binding names a group.
    pub groups: bool,
    /// The claims that bindings name.
    pub claims: Vec<ClaimPath>,
    /// Those of them that bindings name which deny.
    pub denied: Vec<ClaimPath>,
}

/// Which of an issuer's tokens identify callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokensTaken {
    /// All but those that show to be ID tokens.
    Access,
    /// All but those that show to be access tokens.
    Id,
    /// Both.
    Any,
}

/// One client token, of which nothing but a digest is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTokenSettings {
    /// Who holds it, in records, metrics and policy subjects; unique.
    pub name: String,
    /// Unique.
    pub hash: ClientTokenHash,
    /// The policy's binding that it was issued for.
    pub binding: String,
    /// It is refused from then on.
    pub until_unix_seconds: Option<i64>,
}

/// A transmitter of security events: another's word, by which proofs of our issuers end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransmitterSettings {
    /// Its name, `iss`, keys, and the one audience that we are to it.
    pub source: IssuerSettings,
    /// The names of the issuers whose subjects it speaks for; at least one.
    pub issuers: Vec<String>,
    /// What its pushes show as a bearer token.
    pub token: Option<SecretRef>,
}

/// The secrets that a backend's webhooks present for one app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSettings {
    pub app: AppPath,
    /// At most `WEBHOOK_SECRETS`; all of them count.
    pub secrets: Vec<SecretRef>,
}

/// Where an issuer's keys are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// `{issuer}/.well-known/openid-configuration` names the JWKS URL.
    Discovery,
    Url(String),
    File(PathBuf),
    /// There are none, because the issuer signs no tokens: it is asked about each.
    Nowhere,
    /// The bundle of a SPIFFE trust domain, whose tokens are JWT-SVIDs: they are told by their subject and need no `iss`;
    /// `IssuerSettings::issuer` is the trust domain's own ID.
    Bundle {
        bundle: BundlePlace,
        trust_domain: String,
    },
}
