//! Subjects that name AWS's roles and users.
//!
//! What it does: checks the patterns of ARNs in subjects against the accounts that the configuration has. What it refuses to
//! know: how AWS is asked, and the rest of the binding. Invariants: partition and account are literal and configured; what a
//! caller chooses, the name of a session, counts only beside what AWS says of it.

use super::check::Checker;
use super::raw::RawSubject;
use super::subject::{IssuerName, Subject};
use crate::apps::Glob;
use crate::document::{Spanned, name, names};
use crate::identify::ArnPattern;

const HINT: &str = "write `arn:aws:iam::123456789012:role/checkout-*`";

impl Checker<'_> {
    /// The pattern of a caller's canonical ARN.
    pub(super) fn aws(&mut self, pattern: &Spanned<String>) -> Option<Glob> {
        let read = match ArnPattern::read(&pattern.value) {
            Ok(read) => read,
            Err(fault) => {
                self.error(pattern, fault.to_string()).hint(fault.hint());
                return None;
            }
        };
        let known = self.around.aws;
        let is_known = known.iter().any(|one| {
            one.partition == read.partition
                && one.accounts.iter().any(|account| account == read.account)
        });
        if !is_known {
            let accounts = known.iter().flat_map(|one| &one.accounts);
            let hint = match known.is_empty() {
                true => "the configuration has no `aws`".to_owned(),
                false => format!(
                    "the configuration has {}; add it to `accounts` of `aws`",
                    names(accounts.map(String::as_str))
                ),
            };
            let message = format!(
                "this subject can never match: no `aws` has the account {} of the partition {}",
                name(read.account),
                name(read.partition)
            );
            self.error(pattern, message).hint(hint);
            return None;
        }
        self.glob(pattern, '/')
    }

    /// What `aws`, `unique_id` and `session` may stand beside.
    pub(super) fn beside_aws(&mut self, raw: &Spanned<RawSubject>, checked: &Subject) {
        let RawSubject {
            aws,
            unique_id,
            session,
            group,
            claims,
            ..
        } = &raw.value;
        let aws_issuer = match &checked.issuer {
            Some(IssuerName::Oidc(issuer)) => {
                self.around.aws.iter().find(|one| one.name == **issuer)
            }
            _ => None,
        };
        for (at, key) in [(unique_id, "unique_id"), (session, "session")] {
            if let Some(at) = at
                && aws.is_none()
            {
                let message = format!("`{key}` needs `aws` beside it: it says nothing alone");
                self.error(at, message).hint(HINT);
            }
        }
        if let Some(aws) = aws
            && checked.issuer.is_some()
            && aws_issuer.is_none()
        {
            let message = "this subject can never match: its issuer knows no callers of AWS";
            self.error(aws, message)
                .hint("leave `issuer` out, or name one of the configuration's `aws`");
        }
        let is_of_aws = aws.is_some() || aws_issuer.is_some();
        if is_of_aws && (group.is_some() || !claims.0.is_empty()) {
            let message =
                "this subject can never match: a caller of AWS has neither groups nor claims";
            self.error(raw, message)
                .hint("name the role by `aws`, its session by `session`");
        }
    }
}
