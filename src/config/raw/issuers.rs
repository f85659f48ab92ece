//! `issuers:`, as they are written: by OpenID Connect, or of a SPIFFE trust domain.
//!
//! What it does: mirrors one issuer with its keys or its bundle. What it refuses to know: which settings go together.
//! Invariant: a secret is a reference.

use schemars::JsonSchema;
use serde::Deserialize;

use super::asking::{RawCluster, RawIntrospection, RawReview};
use super::claims::RawClaims;
use super::egress::RawProxy;
use super::forms::RawSecret;
use crate::document::quantity::RawDuration;
use crate::document::{Entries, Spanned};

/// One issuer of tokens: by OpenID Connect, or of a SPIFFE trust domain.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Issuer")]
pub(crate) struct RawIssuer {
    /// Our own name for it, which policy subjects use.
    pub name: Spanned<String>,
    /// The `iss` of its tokens, compared byte for byte. An `https` URL, or any text where `jwks` says where the keys are. Or
    /// `kubernetes:///`: the cluster in which the gateway runs, `kubernetes://host:port`: the one whose API server is there.
    pub issuer: Option<Spanned<String>>,
    /// Instead of `issuer`: the SPIFFE trust domain whose workloads show JWT-SVIDs.
    pub spiffe: Option<Spanned<RawSpiffe>>,
    /// The audiences of tokens: at least one of these must stand in `aud` (or in `claims.audience`).
    #[schemars(length(min = 1), extend("x-hint" = "name what the tokens are issued for, such as `[lightkeeper]`"))]
    pub audiences: Vec<Spanned<String>>,
    /// Accepted signature algorithms; default: all asymmetric ones that are supported, of JWT-SVIDs those of their standard.
    #[schemars(length(min = 1))]
    pub algorithms: Option<Vec<Spanned<String>>>,
    /// Where its keys are found; default: by OIDC discovery.
    pub jwks: Option<Spanned<RawKeys>>,
    /// PEM file: the roots to trust when keys are fetched; default: the system's.
    pub ca: Option<Spanned<String>>,
    /// The proxy to this issuer alone; default: as `egress` has it.
    pub proxy: Option<Spanned<RawProxy>>,
    /// Which claims hold the subject, the groups and the audience.
    #[serde(default)]
    pub claims: RawClaims,
    /// Accepted `typ` header values; `""` accepts tokens without one. Default: `at+jwt`, `jwt` and `""`.
    #[schemars(length(min = 1))]
    pub types: Option<Vec<Spanned<String>>>,
    /// The header in which a proxy before the gateway states who calls, by a token of this issuer:
    /// `x-goog-iap-jwt-assertion`. Default: none; clients' tokens stand in `Authorization`.
    pub header: Option<Spanned<String>>,
    /// Which tokens identify callers; default `access`. See docs/issuers.md for how the kinds are told apart.
    pub tokens: Option<RawTokens>,
    /// What becomes of an e-mail address, as the subject or in a claim that the policy names, that the issuer does not call
    /// verified (`email_verified`); default `refuse`.
    pub email_unverified: Option<RawEmailUnverified>,
    /// Whether its tokens must be bound to a key (DPoP, RFC 9449); default `optional`: those that are bound need a proof with
    /// every call, others need none.
    pub dpop: Option<RawProof>,
    /// Accepted clock skew, at most `5m`; default `30s`.
    pub leeway: Option<Spanned<RawDuration>>,
    /// For how long a token may be valid, from `1m` to `9000h`; default `24h`.
    pub max_lifetime: Option<Spanned<RawDuration>>,
    /// How long keys are used while the issuer cannot be reached; default `24h`.
    pub stale_keys: Option<Spanned<RawDuration>>,
    /// How often keys are fetched anew, at least `60s`; default `1h`.
    pub refresh: Option<Spanned<RawDuration>>,
    /// Who says what tokens are worth that are no JWTs (RFC 7662); default: no party is asked.
    pub introspection: Option<Spanned<RawIntrospection>>,
    /// Of `issuer: kubernetes://…`: where the pod's files are, and how often the API server may be asked.
    pub kubernetes: Option<Spanned<RawCluster>>,
    /// Of `issuer: kubernetes://…`: whether the API server is asked about each token (TokenReview); `prefer`: while it cannot be
    /// asked, the signature counts alone. Default `off`.
    pub review: Option<Spanned<RawReview>>,
    /// Attributes that are written on exports' resources as the token proves them, each with the claim that does:
    /// `k8s.namespace.name: /kubernetes.io/namespace`. What the sender says under these names never counts. At most 16.
    #[serde(default)]
    pub attributes_from: Entries<Spanned<String>>,
}

/// Which of an issuer's tokens identify callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "TokenKind")]
pub(crate) enum RawTokens {
    /// Access tokens: whatever does not show to be an ID token.
    Access,
    /// ID tokens: whatever does not show to be an access token.
    Id,
    /// Both.
    Any,
}

/// What becomes of an e-mail address that the issuer does not call verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "EmailUnverified")]
pub(crate) enum RawEmailUnverified {
    /// The token or login is refused.
    Refuse,
    /// It counts: for issuers whose users cannot set their addresses themselves.
    Accept,
}

/// Whether an issuer's tokens must be bound to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "BoundTokens")]
pub(crate) enum RawProof {
    /// Tokens that are not bound count as well.
    Optional,
    /// Only tokens with a key's thumbprint count.
    Required,
}

/// Where an issuer's keys are, and how they are asked for. Without `file` and `url` they are found by discovery.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "KeySet", extend("x-hint" = "write `{ file: jwks.json }` or `{ url: https://… }`"))]
pub(crate) struct RawKeys {
    /// A JWKS file (RFC 7517).
    pub file: Option<Spanned<String>>,
    /// A JWKS URL.
    pub url: Option<Spanned<String>>,
    /// A bearer token that is shown when they are fetched, as a Kubernetes API server wants it; read anew each time, and sent
    /// to the origin of `url` (or of `issuer`) alone.
    pub token: Option<Spanned<RawSecret>>,
    /// PEM file: the roots to trust when they are fetched; default: those of the issuer's `ca`.
    pub ca: Option<Spanned<String>>,
}

/// A SPIFFE trust domain.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    rename = "TrustDomain",
    extend("x-hint" = "write `{ trust_domain: prod.acme.example, bundle: { file: bundle.json } }`")
)]
pub(crate) struct RawSpiffe {
    /// Its name, without `spiffe://`.
    pub trust_domain: Spanned<String>,
    /// Where its keys are.
    pub bundle: Spanned<RawBundle>,
}

/// The bundle of a trust domain.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Bundle", extend("x-hint" = "write `{ file: bundle.json }` or `{ url: https://… }`"))]
pub(crate) struct RawBundle {
    /// A file in SPIFFE's form: a JWKS, whose keys say by `use` what they are for. One of `file`, `url` and `workload_api`.
    pub file: Option<Spanned<String>>,
    /// Its bundle endpoint, with a server certificate of the Web's (`https_web`); asked as often as the bundle's
    /// `spiffe_refresh_hint` says.
    pub url: Option<Spanned<String>>,
    /// The socket of the SPIFFE Workload API, `unix:///run/spire/agent.sock`.
    pub workload_api: Option<Spanned<String>>,
    /// PEM file: the roots to trust when it is fetched; default: the system's.
    pub ca: Option<Spanned<String>>,
    /// The proxy to its endpoint alone; default: as `egress` has it.
    pub proxy: Option<Spanned<RawProxy>>,
}
