//! From a written subject to a checked one.
//!
//! What it does: reads patterns, and finds subjects that match no caller, all callers by mistake, or a caller that cannot exist.
//! What it refuses to know: the rest of the binding. Invariant: groups, subjects and claims are never compared without
//! an issuer, because two issuers' groups are different groups.

use std::path::Path;
use std::sync::Arc;

use super::check::{CertificateAuthority, Checker, PolicySurroundings, TrustDomainIssuer};
use super::raw::{RawClaimValue, RawSubject};
use super::subject::{ClaimValue, IssuerName, Subject};
use crate::apps::Glob;
use crate::document::{Spanned, name, names, nearest, path as whole};
use crate::identify::{
    CLIENT_CERTIFICATES as MTLS, CLIENT_TOKENS, ClaimPath, is_trust_domain, trust_domain_of,
};

/// What subjects of CI jobs begin with, and which of them a `*` at their end misses.
const CI_SUBJECTS: [(&str, &str); 2] = [
    ("repo:", "jobs on a branch or tag (`…:ref:refs/heads/main`)"),
    (
        "project_path:",
        "jobs on a branch or tag with a slash in its name (`…:ref:feature/x`)",
    ),
];

impl Checker<'_> {
    /// Checks one subject. `None`: it was reported.
    pub(crate) fn subject(&mut self, raw: &Spanned<RawSubject>) -> Option<Subject> {
        let before = self.errors();
        let RawSubject {
            any,
            issuer,
            subject,
            group,
            claims,
            spiffe,
            dns,
            x509_subject,
            aws,
            unique_id,
            session,
        } = &raw.value;
        let of_token = subject.is_some() || group.is_some() || !claims.0.is_empty();
        let of_aws = aws.is_some() || unique_id.is_some() || session.is_some();
        let of_certificate = spiffe.is_some() || dns.is_some() || x509_subject.is_some();
        match any {
            Some(any) if !any.value => {
                self.error(any, "`any: false` names no caller")
                    .hint("leave it out");
            }
            Some(any) if of_token || of_certificate || of_aws || issuer.is_some() => {
                self.error(any, "`any: true` already names everybody")
                    .hint("leave it out, or leave the rest out");
            }
            None if !of_token && !of_certificate && !of_aws && issuer.is_none() => {
                self.error(raw, "this subject names no caller")
                    .hint("for everybody who is identified, write `any: true`");
            }
            _ => {}
        }
        if of_token && issuer.is_none() {
            self.error(
                raw,
                "`subject`, `group` and `claims` need an `issuer`: two issuers' groups are different groups",
            )
            .hint("add `issuer:` to this subject");
        }
        let checked = Subject {
            any: any.is_some(),
            issuer: issuer.as_ref().and_then(|issuer| self.issuer(issuer)),
            subject: subject.as_ref().and_then(|subject| self.glob(subject, '/')),
            group: group.as_ref().map(|group| self.exact(group, "groups")),
            claims: claims
                .0
                .iter()
                .filter_map(|(path, value)| self.claim(path, value))
                .collect(),
            spiffe: spiffe.as_ref().and_then(|spiffe| self.spiffe(spiffe)),
            dns: dns.as_ref().and_then(|dns| self.glob(&lower(dns), '.')),
            x509_subject: x509_subject
                .as_ref()
                .map(|subject| self.exact(subject, "subject names")),
            aws: aws.as_ref().and_then(|aws| self.aws(aws)),
            unique_id: unique_id.as_ref().map(|id| self.exact(id, "unique IDs")),
            session: session.as_ref().and_then(|session| self.glob(session, '/')),
        };
        self.beside_aws(raw, &checked);
        if checked.issuer == Some(IssuerName::ClientTokens)
            && (group.is_some() || !claims.0.is_empty())
        {
            self.error(
                raw,
                "this subject can never match: a client token has neither groups nor claims",
            )
            .hint("name the token by its `subject`");
        }
        let by_certificate = matches!(
            checked.issuer,
            Some(IssuerName::Mtls | IssuerName::Authority(_))
        );
        if by_certificate && (group.is_some() || !claims.0.is_empty()) {
            self.error(
                raw,
                "this subject can never match: a certificate has neither groups nor claims",
            )
            .hint("name the OIDC issuer of the groups or claims");
        }
        if group.is_some() && own_trust_domain(&self.around, &checked).is_some() {
            self.error(
                raw,
                "this subject can never match: a JWT-SVID has no groups",
            )
            .hint("name the workload by `spiffe`, or its `claims`");
        }
        if let (Some(IssuerName::Oidc(_)), Some(pattern)) = (&checked.issuer, subject) {
            self.stops_at_slash(pattern);
        }
        self.speaks_for(raw, &checked);
        (self.errors() == before).then_some(checked)
    }

    /// Compares a subject with what its issuer, or the authorities for client certificates, may speak for.
    fn speaks_for(&mut self, raw: &Spanned<RawSubject>, checked: &Subject) {
        let known = self.around.authorities;
        let RawSubject {
            subject,
            spiffe,
            x509_subject,
            ..
        } = &raw.value;
        if let Some(spiffe) = spiffe {
            let domain = trust_domain_of(&spiffe.value).unwrap_or_default();
            let speaks =
                |one: &CertificateAuthority| one.trust_domains.iter().any(|ours| ours == domain);
            let own = own_trust_domain(&self.around, checked);
            match (&checked.issuer, own) {
                (Some(IssuerName::Authority(authority)), _) => {
                    let theirs = known.iter().find(|one| one.name == **authority);
                    if let Some(theirs) = theirs.filter(|theirs| !speaks(theirs)) {
                        let hint = match theirs.trust_domains.as_slice() {
                            [] => "it has no `trust_domains`".to_owned(),
                            domains => format!(
                                "its `trust_domains`: {}",
                                names(domains.iter().map(String::as_str))
                            ),
                        };
                        self.another_domain(spiffe, &theirs.name, hint);
                    }
                }
                (_, Some(theirs)) if theirs.trust_domain != domain => {
                    let hint = format!("its `trust_domain`: {}", name(&theirs.trust_domain));
                    self.another_domain(spiffe, &theirs.name, hint);
                }
                (_, Some(_)) => {}
                // Without an issuer, the ID of a JWT-SVID counts as well as a certificate's.
                (None, None)
                    if self
                        .around
                        .trust_domains
                        .iter()
                        .any(|one| one.trust_domain == domain) => {}
                _ if !known.is_empty() && !known.iter().any(speaks) => {
                    let message = format!(
                        "this matches no caller: no `client_ca` speaks for the trust domain {}",
                        name(domain)
                    );
                    self.warning(spiffe, message).hint(
                        "add it to the `trust_domains` of the authority that issues such IDs",
                    );
                }
                _ => {}
            }
        }
        let named = matches!(checked.issuer, Some(IssuerName::Authority(_)));
        if known.len() < 2 || named {
            return;
        }
        // A distinguished name has no part that says whose it is.
        let hint = format!(
            "name the authority: `issuer` is one of {}",
            names(known.iter().map(|one| one.name.as_str()))
        );
        if let Some(written) = x509_subject {
            let message = "`x509_subject` needs the authority as `issuer`: each of several writes what it likes";
            self.error(written, message).hint(hint);
        } else if let Some(written) = subject
            .as_ref()
            .filter(|_| checked.issuer == Some(IssuerName::Mtls))
            && !written.value.starts_with("spiffe://")
        {
            let message = "this `subject` needs the authority as `issuer`: each of several writes what it likes";
            self.error(written, message).hint(hint);
        }
    }

    fn another_domain(&mut self, spiffe: &Spanned<String>, issuer: &str, hint: String) {
        let domain = trust_domain_of(&spiffe.value).unwrap_or_default();
        let message = format!(
            "this subject can never match: {} does not speak for the trust domain {}",
            name(issuer),
            name(domain)
        );
        self.error(spiffe, message).hint(hint);
    }

    fn issuer(&mut self, issuer: &Spanned<String>) -> Option<IssuerName> {
        if issuer.value == MTLS {
            return Some(IssuerName::Mtls);
        }
        if issuer.value == CLIENT_TOKENS {
            return Some(IssuerName::ClientTokens);
        }
        if self.around.issuers.contains(&issuer.value) {
            return Some(IssuerName::Oidc(Arc::from(issuer.value.as_str())));
        }
        if self
            .around
            .authorities
            .iter()
            .any(|authority| authority.name == issuer.value)
        {
            return Some(IssuerName::Authority(Arc::from(issuer.value.as_str())));
        }
        let issuers = self.around.issuers.iter().map(String::as_str);
        let authorities = self
            .around
            .authorities
            .iter()
            .map(|authority| authority.name.as_str());
        let known: Vec<&str> = issuers
            .chain(authorities)
            .chain([MTLS, CLIENT_TOKENS])
            .collect();
        let hint = match nearest(&issuer.value, known.iter().copied()) {
            Some(word) => format!("did you mean {}?", name(word)),
            None => format!("the configuration has {}", names(known)),
        };
        self.error(
            issuer,
            format!("there is no issuer {}", name(&issuer.value)),
        )
        .hint(hint);
        None
    }

    /// A claim and what it must say.
    fn claim(
        &mut self,
        written: &Spanned<String>,
        value: &Spanned<RawClaimValue>,
    ) -> Option<(ClaimPath, ClaimValue)> {
        let path = match ClaimPath::parse(&written.value) {
            Ok(path) => path,
            Err(fault) => {
                self.error(
                    written,
                    format!("the claim {} {fault}", name(&written.value)),
                )
                .hint(fault.hint());
                return None;
            }
        };
        if let Some((message, hint)) = path.doubtful() {
            self.warning(written, format!("{} {message}", name(&written.value)))
                .hint(hint);
        }
        let value = match &value.value {
            RawClaimValue::Is(text) => {
                let text = Spanned::new(text.clone(), value.line(), value.column());
                ClaimValue::Is(self.exact(&text, "claims"))
            }
            RawClaimValue::Like(pattern) => ClaimValue::Like(self.glob(pattern, '/')?),
        };
        Some((path, value))
    }

    /// Warns of a pattern that is written as cloud providers have it, where `*` crosses slashes: here it matches no job on a
    /// branch or tag, whose name is a path (`refs/heads/main`).
    fn stops_at_slash(&mut self, pattern: &Spanned<String>) {
        let written = pattern.value.as_str();
        let Some((stem, missed)) = CI_SUBJECTS.iter().find_map(|(prefix, missed)| {
            let stem = written
                .strip_suffix('*')
                .filter(|stem| stem.starts_with(prefix) && !stem.ends_with('*'))?;
            let rest = stem.strip_prefix(prefix)?;
            // The pattern ends before what tells jobs of one repository apart, or right after it.
            let all = rest
                .strip_suffix(':')
                .is_some_and(|repository| !repository.contains(':'));
            let several = rest.contains('/') && !rest.contains(':');
            let reference = rest.ends_with(":ref:");
            (all || several || reference).then_some((stem, missed))
        }) else {
            return;
        };
        let message = format!("`*` ends at a slash, so that this does not match {missed}");
        self.warning(pattern, message)
            .hint(format!("write {}", whole(Path::new(&format!("{stem}**")))));
    }

    /// A value that is compared as it is. A `*` in it is a letter, which is probably not what was meant.
    fn exact(&mut self, value: &Spanned<String>, what: &str) -> String {
        if value.value.is_empty() {
            self.error(value, format!("{what} are never empty"));
        } else if value.value.contains('*') {
            let finding = self.warning(
                value,
                format!("{what} are compared exactly: `*` is no wildcard here"),
            );
            if what == "claims" {
                finding.hint("for a pattern, write `{ like: … }` instead of the value");
            }
        }
        value.value.clone()
    }

    /// A SPIFFE ID pattern (SPIFFE-ID sections 2.1 and 2.2). A wildcard in the trust domain would trust
    /// every owner of a name that fits.
    fn spiffe(&mut self, pattern: &Spanned<String>) -> Option<Glob> {
        let Some(domain) = trust_domain_of(&pattern.value) else {
            let hint = match pattern
                .value
                .get(..7)
                .is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe:"))
            {
                true => {
                    "the scheme is in lower case and followed by two slashes: `spiffe://trust-domain/path`"
                }
                false => "write `spiffe://trust-domain/path`",
            };
            self.error(pattern, "a SPIFFE ID begins with `spiffe://`")
                .hint(hint);
            return None;
        };
        if !is_trust_domain(domain) {
            self.error(
                pattern,
                "a trust domain is written in full, of `a-z 0-9 . - _`, without wildcards",
            );
            return None;
        }
        let path = pattern
            .value
            .get("spiffe://".len() + domain.len()..)
            .unwrap_or_default();
        if let Some((message, hint)) = unmatched_path(domain, path) {
            self.error(pattern, format!("this pattern can never match: {message}"))
                .hint(hint);
            return None;
        }
        self.glob(pattern, '/')
    }

    /// A pattern whose segments are parted by `separator`.
    pub(crate) fn glob(&mut self, pattern: &Spanned<String>, separator: char) -> Option<Glob> {
        match Glob::parse(&pattern.value, separator) {
            Ok(glob) => Some(glob),
            Err(fault) => {
                self.error(pattern, fault.to_string());
                None
            }
        }
    }
}

/// The issuer of JWT-SVIDs that a subject names.
fn own_trust_domain<'a>(
    around: &PolicySurroundings<'a>,
    subject: &Subject,
) -> Option<&'a TrustDomainIssuer> {
    let Some(IssuerName::Oidc(issuer)) = &subject.issuer else {
        return None;
    };
    around.trust_domains.iter().find(|one| one.name == **issuer)
}

/// Why no workload's ID has a path that fits this pattern, and what to write instead (SPIFFE-ID section 2.2; X.509-SVID section
/// 5.2).
fn unmatched_path(domain: &str, path: &str) -> Option<(&'static str, String)> {
    let Some(path) = path.strip_prefix('/') else {
        let hint = format!("for all workloads of the trust domain, write `spiffe://{domain}/**`");
        return Some(("a trust domain's own ID names no workload", hint));
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte);
    path.split('/').find_map(|segment| match segment {
        "" => Some((
            "no segment of a SPIFFE ID is empty",
            "leave out the slash that is too much".to_owned(),
        )),
        "." | ".." => Some((
            "no segment of a SPIFFE ID is `.` or `..`",
            "write the path that is meant".to_owned(),
        )),
        _ if segment.bytes().all(allowed) => None,
        _ => Some((
            "a segment of a SPIFFE ID has only `a-z A-Z 0-9 . - _`",
            "nothing is percent-encoded there; `*` stands for what is not known".to_owned(),
        )),
    })
}

fn lower(text: &Spanned<String>) -> Spanned<String> {
    Spanned::new(text.value.to_ascii_lowercase(), text.line(), text.column())
}
