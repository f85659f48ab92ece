//! Amazon Resource Names (ARNs) of those who call, as STS says them and as policies name them.
//!
//! What it does: takes STS's three words about a caller apart and makes one canonical name of them; reads patterns of such
//! names. What it refuses to know: configuration, and how STS was asked. Invariants: a name is canonical or there is none; of a
//! role it holds no path and no session, because STS does not tell the one and the caller chooses the other; partition, service
//! and account of a pattern are literal; words that contradict each other are no answer, and words about a caller that no pattern
//! can name are an answer about that caller.

use super::super::facts::PrincipalKind;

/// The longest ARN that is looked at.
const ARN_LIMIT_BYTES: usize = 2048;

/// Who STS says has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Principal<'a> {
    pub kind: PrincipalKind,
    pub partition: &'a str,
    pub account: &'a str,
    /// `arn:aws:iam::123456789012:role/checkout`.
    pub canonical: String,
    /// Not given to a successor of the same name.
    pub unique_id: &'a str,
    /// The name that the session was given.
    pub session: Option<&'a str>,
}

/// What STS's three words come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StsWords<'a> {
    Named(Principal<'a>),
    /// A caller of an account that no pattern can name.
    Unnamed {
        partition: &'a str,
        account: &'a str,
    },
    /// They contradict each other, or are no ARN.
    Senseless,
}

impl<'a> StsWords<'a> {
    pub(super) fn read(arn: &'a str, account: &'a str, user_id: &'a str) -> Self {
        // Paths of users may hold all from `!` to DEL (IAM's API, `CreateUser`).
        let is_text = |byte: u8| (b'!'..=0x7f).contains(&byte);
        let whole = parts(arn).filter(|_| arn.len() <= ARN_LIMIT_BYTES && arn.bytes().all(is_text));
        let Some([partition, service, _, owner, resource]) = whole else {
            return StsWords::Senseless;
        };
        if owner != account || !is_account(account) || resource.is_empty() {
            return StsWords::Senseless;
        }
        let kind = resource.split('/').next().unwrap_or(resource);
        match Principal::read(arn, account, user_id) {
            Some(principal) => StsWords::Named(principal),
            // STS itself says so of none of these.
            None if partition.is_empty() || (service, kind) == ("iam", "role") => {
                StsWords::Senseless
            }
            None if Principal::is_nameable(service, resource) => StsWords::Senseless,
            None => StsWords::Unnamed { partition, account },
        }
    }
}

impl<'a> Principal<'a> {
    /// Whether a pattern could name it, if the other words agreed.
    fn is_nameable(service: &str, resource: &str) -> bool {
        match (service, resource.split_once('/')) {
            ("sts", Some(("assumed-role", rest))) => rest
                .split_once('/')
                .is_some_and(|(role, session)| is_name(role) && is_name(session)),
            ("iam", Some(("user", name))) => is_user(name),
            ("iam", None) => resource == "root",
            ("sts", Some(("federated-user", name))) => is_name(name),
            _ => false,
        }
    }

    /// `None`: it has no name, or the words contradict each other.
    fn read(arn: &'a str, account: &'a str, user_id: &'a str) -> Option<Self> {
        let [partition, service, region, _, resource] = parts(arn)?;
        if !region.is_empty() {
            return None;
        }
        let named = |kind, resource: &str, session, unique_id| {
            is_unique_id(unique_id).then(|| Principal {
                kind,
                partition,
                account,
                canonical: format!("arn:{partition}:iam::{account}:{resource}"),
                unique_id,
                session,
            })
        };
        match (service, resource.split_once('/')) {
            ("sts", Some(("assumed-role", rest))) => {
                let (role, session) = rest.split_once('/')?;
                let (unique_id, same) = user_id.split_once(':')?;
                let is_sound = is_name(role) && is_name(session) && same == session;
                let resource = format!("role/{role}");
                is_sound.then(|| named(PrincipalKind::Role, &resource, Some(session), unique_id))?
            }
            ("iam", Some(("user", name))) => {
                is_user(name).then(|| named(PrincipalKind::User, resource, None, user_id))?
            }
            ("iam", None) if resource == "root" && user_id == account => Some(Principal {
                kind: PrincipalKind::Root,
                partition,
                account,
                canonical: arn.to_owned(),
                unique_id: user_id,
                session: None,
            }),
            ("sts", Some(("federated-user", name))) => {
                let (unique_id, same) = user_id.split_once(':')?;
                (is_name(name) && same == name && unique_id == account).then(|| Principal {
                    kind: PrincipalKind::FederatedUser,
                    partition,
                    account,
                    canonical: arn.to_owned(),
                    unique_id,
                    session: Some(name),
                })
            }
            _ => None,
        }
    }
}

/// Why a text is no pattern of callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArnPatternFault {
    #[error("an ARN has six parts, parted by `:`")]
    Parts,
    #[error("partition and account are written in full, without wildcards")]
    Wildcard,
    #[error("a session's ARN changes with each session: a role is meant by its own")]
    Session,
    #[error("this is the ARN of no role, user or account")]
    Service,
    #[error("a role is compared without its path, which STS does not tell")]
    RolePath,
    #[error("`**` crosses parts of a name, and no part of an ARN may be left open like that")]
    Crossing,
    #[error("the root user and federated users must be named in full")]
    Named,
}

impl ArnPatternFault {
    /// What to write instead.
    pub(crate) fn hint(self) -> &'static str {
        match self {
            ArnPatternFault::Parts | ArnPatternFault::Service => {
                "write `arn:aws:iam::123456789012:role/checkout-*`"
            }
            ArnPatternFault::Wildcard => {
                "one subject for each account: `arn:aws:iam::123456789012:…`"
            }
            ArnPatternFault::Session => {
                "write `arn:aws:iam::123456789012:role/NAME`; a session's name stands in `session`"
            }
            ArnPatternFault::RolePath => "write `role/NAME`, without the path between",
            ArnPatternFault::Crossing => "write `*`, which stays within one part",
            ArnPatternFault::Named => "write the name of each",
        }
    }
}

/// What is literal in a pattern of callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ArnPattern<'a> {
    pub partition: &'a str,
    pub account: &'a str,
}

impl<'a> ArnPattern<'a> {
    /// Reads what a policy says: `arn:aws:iam::123456789012:role/checkout-*`.
    pub(crate) fn read(text: &'a str) -> Result<Self, ArnPatternFault> {
        let [partition, service, region, account, resource] =
            parts(text).ok_or(ArnPatternFault::Parts)?;
        if resource.contains(':') {
            return Err(ArnPatternFault::Parts);
        }
        if partition.contains('*') || !is_account(account) {
            return Err(ArnPatternFault::Wildcard);
        }
        if resource.contains("**") {
            return Err(ArnPatternFault::Crossing);
        }
        let (kind, name) = resource.split_once('/').unwrap_or((resource, ""));
        match (service, kind, name) {
            ("sts", "assumed-role", _) => return Err(ArnPatternFault::Session),
            ("sts", "federated-user", name) if !name.is_empty() => {
                if name.contains('*') {
                    return Err(ArnPatternFault::Named);
                }
            }
            ("iam", "role", name) if !name.is_empty() => {
                if name.contains('/') {
                    return Err(ArnPatternFault::RolePath);
                }
            }
            ("iam", "user", name) if !name.is_empty() => {}
            ("iam", "root", _) if resource == "root" => {}
            _ => return Err(ArnPatternFault::Service),
        }
        if !region.is_empty() {
            return Err(ArnPatternFault::Service);
        }
        Ok(ArnPattern { partition, account })
    }
}

/// Partition, service, region, account and resource, which alone may have a colon.
fn parts(arn: &str) -> Option<[&str; 5]> {
    let mut parts = arn.splitn(6, ':');
    if parts.next() != Some("arn") {
        return None;
    }
    Some([
        parts.next()?,
        parts.next()?,
        parts.next()?,
        parts.next()?,
        parts.next()?,
    ])
}

/// A user's name behind its path. A pattern parts the path by `/`, and `*` stays within a part.
fn is_user(text: &str) -> bool {
    let is_plain = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b':')
    };
    text.split('/').all(is_plain) && text.rsplit('/').next().is_some_and(is_name)
}

/// Twelve digits.
pub(crate) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What IAM allows in names of roles, users and sessions.
fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte))
}

fn is_unique_id(text: &str) -> bool {
    (16..=128).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}
