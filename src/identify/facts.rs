//! What can be known of a caller: plain values, no power.
//!
//! What it does: holds issuer, subject, groups, claims and certificate names, for policy, `explain` and
//! the record. What it refuses to know: how they were proven. Invariant: holding `Facts` permits
//! nothing; only an `Identity` does.

use std::sync::Arc;

use super::doubts::Doubts;
use super::proven::ProvenAttribute;

/// How a caller was identified. When a token and a certificate come together, the token decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    Oidc,
    /// A token of an OIDC issuer which a proxy before the gateway put into the header that the issuer names.
    Assertion,
    Mtls,
    /// A JWT-SVID: a token that names a workload by its SPIFFE ID.
    JwtSvid,
    /// A token that says nothing by itself, and what its issuer's introspection endpoint said of it.
    Introspection,
    /// A token of our own making, for clients that can hold nothing but a fixed string.
    ClientToken,
    /// A browser's sealed session, begun by a login at an OIDC issuer.
    Session,
    /// A call to AWS that its caller signed, and of which AWS said who that is.
    Aws,
    /// A secret of the backend's webhooks, which counts at one app's alert inlet.
    Webhook,
}

impl Method {
    /// In the order of their declaration.
    pub(crate) const ALL: [Method; 9] = [
        Method::Oidc,
        Method::Assertion,
        Method::Mtls,
        Method::JwtSvid,
        Method::Introspection,
        Method::ClientToken,
        Method::Session,
        Method::Aws,
        Method::Webhook,
    ];

    /// The one of this name, as records have it.
    pub(crate) fn named(name: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Method::Oidc => "oidc",
            Method::Assertion => "assertion",
            Method::Mtls => "mtls",
            Method::JwtSvid => "jwt_svid",
            Method::Introspection => "introspection",
            Method::ClientToken => "client_token",
            Method::Session => "session",
            Method::Aws => "aws",
            Method::Webhook => "webhook",
        }
    }
}

/// The issuer of all client certificates, for policies; and for records where the only authority has no name.
pub(crate) const CLIENT_CERTIFICATES: &str = "mtls";

/// The issuer of all client tokens, for policies and records; like `mtls`, no configured issuer has this name.
pub const CLIENT_TOKENS: &str = "client_tokens";

/// The issuer of all webhook secrets, for records; no configured issuer has this name, and no policy speaks of it.
pub(crate) const WEBHOOKS: &str = "webhooks";

/// What is known of a caller. What is said of OIDC holds for assertions, too.
#[derive(Clone, Debug)]
pub struct Facts {
    pub method: Method,
    /// Issuers' tokens and sessions: the issuer's name in our configuration. mTLS: the authority's. Client tokens: `CLIENT_TOKENS`.
    /// AWS: the name of the accounts in our configuration. Webhooks: `WEBHOOKS`.
    pub issuer: Arc<str>,
    /// OIDC and sessions: the subject claim. JWT-SVIDs: the SPIFFE ID. mTLS: the SPIFFE ID, else the first DNS name, else
    /// the subject name. AWS: the canonical ARN. Client tokens: the token's name. Webhooks: the app's path.
    pub subject: Arc<str>,
    /// OIDC and sessions: the claim that named the subject, where the issuer's configuration leaves it to the token.
    pub subject_claim: Option<Arc<str>>,
    /// OIDC and sessions: the strings of the groups claim. JWT-SVIDs and mTLS: none.
    pub groups: Vec<String>,
    /// OIDC and JWT-SVIDs: the whole claim set. Sessions: `name`, `email` and `preferred_username`. mTLS: empty.
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// The verified certificate: the identity itself (mTLS) or what came along with a token.
    pub certificate: Option<Arc<CertificateFacts>>,
    /// Client tokens: the name of the binding that the token was issued for, which speaks of its bearer whatever its
    /// subjects say. Otherwise none, and without meaning.
    pub client_binding: Option<Arc<str>>,
    /// AWS: what is known besides the canonical ARN, which is the subject. Otherwise none.
    pub aws: Option<Arc<AwsFacts>>,
    /// Attributes of resources that only the token may speak of: those of its issuer's `attributes_from`.
    pub attributes: Vec<ProvenAttribute>,
    /// What the claims leave open. Facts of an `Identity` leave nothing open that the policy in force looks at.
    pub doubts: Doubts,
    /// OIDC and JWT-SVIDs: `exp` in Unix seconds. AWS: when the signature is too old. Sessions: their absolute end. mTLS: the certificate's notAfter. Client tokens: `until`, or `i64::MAX`.
    pub expires_unix_seconds: i64,
}

impl Facts {
    /// Those of a caller of which no more is known.
    pub(crate) fn bare(
        method: Method,
        issuer: &str,
        subject: &str,
        expires_unix_seconds: i64,
    ) -> Self {
        Facts {
            method,
            issuer: Arc::from(issuer),
            subject: Arc::from(subject),
            subject_claim: None,
            groups: Vec::new(),
            claims: serde_json::Map::new(),
            certificate: None,
            client_binding: None,
            aws: None,
            attributes: Vec::new(),
            doubts: Doubts::default(),
            expires_unix_seconds,
        }
    }

    /// The SPIFFE ID that was proven: a JWT-SVID's own, which decides like every token, else the certificate's.
    pub(crate) fn spiffe_id(&self) -> Option<&str> {
        match self.method {
            Method::JwtSvid => Some(&self.subject),
            Method::Oidc
            | Method::Assertion
            | Method::Introspection
            | Method::Mtls
            | Method::ClientToken
            | Method::Session
            | Method::Aws
            | Method::Webhook => self.certificate.as_ref()?.spiffe.as_deref(),
        }
    }

    /// About how much memory they take, for stores that are bounded in bytes.
    pub(super) fn weight_bytes(&self) -> usize {
        let names = self.groups.iter().map(|group| group.len() + TEXT_BYTES);
        let certificate = self.certificate.as_ref().map_or(0, |certificate| {
            let names = certificate.dns.iter().map(|name| name.len() + TEXT_BYTES);
            size_of::<CertificateFacts>()
                + names.sum::<usize>()
                + certificate.spiffe.as_ref().map_or(0, String::len)
                + certificate.subject.len()
                + certificate.fingerprint.len()
        });
        let aws = self.aws.as_ref().map_or(0, |aws| {
            let session = aws.session.as_ref().map_or(0, |session| session.len());
            size_of::<AwsFacts>() + aws.account.len() + aws.unique_id.len() + session + TEXT_BYTES
        });
        let proven = self.attributes.iter().map(|attribute| {
            size_of::<ProvenAttribute>() + attribute.value.as_ref().map_or(0, |value| value.len())
        });
        size_of::<Facts>()
            + aws
            + proven.sum::<usize>()
            + self.subject.len()
            + names.sum::<usize>()
            + members_bytes(&self.claims)
            + certificate
    }
}

/// What a text takes besides its bytes: pointer, length, capacity, and the allocator's share.
const TEXT_BYTES: usize = 32;
/// The leaf of a map of JSON, which has room for eleven members.
const LEAF_BYTES: usize = 11 * (size_of::<String>() + size_of::<serde_json::Value>()) + 16;

/// Claims are read by a parser that bounds their depth, so that this ends.
fn members_bytes(members: &serde_json::Map<String, serde_json::Value>) -> usize {
    let inside = members
        .iter()
        .map(|(name, value)| name.len() + value_bytes(value));
    // Leaves are at least half full.
    members.len().div_ceil(6) * LEAF_BYTES + inside.sum::<usize>()
}

fn value_bytes(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len() + TEXT_BYTES,
        Value::Array(values) => {
            let inside = values.iter().map(value_bytes);
            values.len() * size_of::<Value>() + inside.sum::<usize>()
        }
        Value::Object(members) => members_bytes(members),
    }
}

/// What kind of caller AWS speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrincipalKind {
    /// A session of a role.
    Role,
    User,
    /// The account itself, which may do everything in it.
    Root,
    /// A session that a user named freely (`GetFederationToken`).
    FederatedUser,
}

impl PrincipalKind {
    /// Whether only a policy that names it in full may speak of it.
    pub(crate) fn is_named_in_full(self) -> bool {
        match self {
            PrincipalKind::Root | PrincipalKind::FederatedUser => true,
            PrincipalKind::Role | PrincipalKind::User => false,
        }
    }
}

/// What AWS says of a caller besides its canonical ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsFacts {
    pub kind: PrincipalKind,
    /// Twelve digits.
    pub account: Box<str>,
    /// The role's or user's own, which a successor of the same name does not get.
    pub unique_id: Box<str>,
    /// The name of a role's session, chosen by its caller.
    pub session: Option<Box<str>>,
}

/// What a verified client certificate says, as far as its authority may say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The name of the authority that anchors its chain; `mtls` where the configuration gives it none.
    pub ca: Arc<str>,
    /// The URI SAN, if it is a SPIFFE ID (X.509-SVID rules) of a trust domain of the authority.
    pub spiffe: Option<String>,
    /// The DNS SANs that are the authority's to give.
    pub dns: Vec<String>,
    /// The subject's distinguished name, RFC 4514 style.
    pub subject: String,
    /// SHA-256 of the leaf's DER, lower-case hexadecimal.
    pub fingerprint: String,
    /// The serial number that its authority gave it, lower-case hexadecimal without leading zeros.
    pub serial: String,
    /// SHA-256 of its SubjectPublicKeyInfo's DER, lower-case hexadecimal.
    pub key: String,
    /// Unix seconds.
    pub not_before: i64,
    /// Unix seconds.
    pub not_after: i64,
}

impl CertificateFacts {
    /// Who its holder is, where nothing but the certificate says so: the SPIFFE ID, else the first DNS name, else the
    /// subject's name.
    pub(crate) fn holder(&self) -> &str {
        let named = self.spiffe.as_ref().or(self.dns.first());
        named.unwrap_or(&self.subject)
    }
}

/// What a certificate says to a token that came along.
#[derive(Clone, Copy, Default)]
pub(super) struct ShownLeaf<'a> {
    /// What an authority vouches for.
    pub certificate: Option<&'a Arc<CertificateFacts>>,
    /// Of the leaf, vouched for or not: possession of its key was proven in the handshake.
    pub fingerprint: Option<&'a str>,
}
