//! Sets of permissions, and the patterns that policies write for them.
//!
//! What it does: expands `query.*.read` over the profile's permissions, once, into bits.
//! What it refuses to know: who holds them. Invariant: a wildcard never puts a sensitive permission into what an allow
//! grants; into what a deny takes away it does, because that is the safe side.

use crate::profiles::{PermissionId, Profile};

/// How many permissions a profile may have.
pub(crate) const PERMISSION_LIMIT: usize = 256;

/// Some of a profile's permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct PermissionSet([u64; PERMISSION_LIMIT / 64]);

impl PermissionSet {
    pub(crate) fn insert(&mut self, id: PermissionId) {
        if let Some(word) = self.0.get_mut(usize::from(id.0) / 64) {
            *word |= 1 << (id.0 % 64);
        }
    }

    pub(crate) fn contains(&self, id: PermissionId) -> bool {
        self.0
            .get(usize::from(id.0) / 64)
            .is_some_and(|word| word >> (id.0 % 64) & 1 == 1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    #[must_use]
    pub(crate) fn union(self, other: Self) -> Self {
        self.each(other, |one, other| one | other)
    }

    #[must_use]
    pub(crate) fn intersection(self, other: Self) -> Self {
        self.each(other, |one, other| one & other)
    }

    #[must_use]
    pub(crate) fn without(self, other: Self) -> Self {
        self.each(other, |one, other| one & !other)
    }

    fn each(mut self, other: Self, join: impl Fn(u64, u64) -> u64) -> Self {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word = join(*word, other);
        }
        self
    }
}

/// What one written permission stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expansion {
    /// Matched without touching a sensitive one by wildcard.
    pub plain: PermissionSet,
    /// Named letter by letter.
    pub full: PermissionSet,
    /// Sensitive ones that a wildcard matches.
    pub(crate) withheld: PermissionSet,
}

impl Expansion {
    /// Expands `ingest.traces`, `ingest.*` or `query.*.read`: words parted by dots, each literal or `*` for exactly one
    /// word. `None`: it stands for nothing.
    pub(crate) fn of(pattern: &str, profile: &Profile) -> Option<Expansion> {
        let mut expansion = Expansion::default();
        if let Some(id) = profile.permission(pattern) {
            expansion.plain.insert(id);
            expansion.full.insert(id);
            return Some(expansion);
        }
        let mut found = false;
        for (place, permission) in profile.permissions().iter().enumerate() {
            let Ok(id) = u16::try_from(place).map(PermissionId) else {
                break;
            };
            if !fits(pattern, permission) {
                continue;
            }
            found = true;
            if profile.is_sensitive(permission) {
                expansion.withheld.insert(id);
            } else {
                expansion.plain.insert(id);
            }
        }
        found.then_some(expansion)
    }

    #[must_use]
    pub(crate) fn union(self, other: Self) -> Self {
        Expansion {
            plain: self.plain.union(other.plain),
            full: self.full.union(other.full),
            withheld: self.withheld.union(other.withheld),
        }
    }
}

pub(super) fn fits(pattern: &str, permission: &str) -> bool {
    pattern.split('.').count() == permission.split('.').count()
        && pattern
            .split('.')
            .zip(permission.split('.'))
            .all(|(pattern, word)| pattern == "*" || pattern == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_one_word_and_grants_nothing_sensitive() {
        let profile = Profile::lightstep();
        for (pattern, plain, withheld) in [
            ("ingest.traces", Some(&["ingest.traces"][..]), &[][..]),
            (
                "ingest.*",
                Some(&["ingest.logs", "ingest.metrics", "ingest.traces"]),
                &[],
            ),
            (
                "query.streams.*",
                Some(&["query.streams.read", "query.streams.write"]),
                &[],
            ),
            (
                "query.projects.*",
                Some(&["query.projects.read"]),
                &["query.projects.write"],
            ),
            ("query.users.write", Some(&["query.users.write"]), &[]),
            ("query.users.*", Some(&[]), &["query.users.write"]),
            ("gateway.audit.read", Some(&["gateway.audit.read"]), &[]),
            ("gateway.*.read", Some(&[]), &["gateway.audit.read"]),
            ("query.*", None, &[]),
            ("*", None, &[]),
            ("query.str*.read", None, &[]),
            ("query.streams.", None, &[]),
            ("", None, &[]),
        ] {
            let names = |set: PermissionSet| -> Vec<&str> {
                let all = profile.permissions().iter().enumerate();
                all.filter(|(place, _)| set.contains(PermissionId(*place as u16)))
                    .map(|(_, name)| name.as_str())
                    .collect()
            };
            let expansion = Expansion::of(pattern, &profile);
            assert_eq!(
                expansion.map(|expansion| names(expansion.plain)),
                plain.map(<[&str]>::to_vec),
                "{pattern}"
            );
            assert_eq!(
                expansion
                    .map(|expansion| names(expansion.withheld))
                    .unwrap_or_default(),
                withheld,
                "{pattern}"
            );
        }
        assert!(profile.permissions().len() <= PERMISSION_LIMIT);
        let wide = Expansion::of("query.*.write", &profile).unwrap();
        assert_eq!(
            wide.plain.intersection(wide.withheld),
            PermissionSet::default()
        );
    }
}
