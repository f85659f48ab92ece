//! What clients may ask where there are several backends.
//!
//! What it does: adds to one profile the ways in that others know. What it refuses to know: which backend an app's data goes
//! to. Invariants: a path that two profiles know means what the first of them says; nothing but ways in is added, so that a
//! row's number means the same in both; where all backends are of one kind, the front is their profile itself.

use std::sync::Arc;

use super::Profile;

impl Profile {
    /// This profile, and what the others take besides.
    pub(crate) fn front<'p>(
        base: &Arc<Profile>,
        others: impl IntoIterator<Item = &'p Arc<Profile>>,
    ) -> Arc<Profile> {
        let mut known = vec![base.name.as_str()];
        let mut front: Option<Profile> = None;
        for other in others {
            if known.contains(&other.name.as_str()) {
                continue;
            }
            known.push(&other.name);
            front.get_or_insert_with(|| Profile::clone(base)).add(other);
        }
        front.map_or_else(|| base.clone(), Arc::new)
    }

    fn add(&mut self, other: &Profile) {
        // Exports are the first rows of every table, so that their numbers are the same in all.
        for row in &other.ingest {
            let is_known = self
                .ingest
                .iter()
                .any(|known| (&known.path, known.minor) == (&row.path, row.minor));
            let is_legacy = self.legacy.iter().any(|known| known.path == row.path);
            if !is_known && !is_legacy {
                self.ingest.push(row.clone());
            }
        }
        for row in &other.grpc {
            if self.grpc.iter().all(|known| known.0 != row.0) {
                self.grpc.push(row.clone());
            }
        }
        let taken: Vec<String> = self.legacy.iter().map(|row| row.path.clone()).collect();
        for row in &other.legacy {
            if !taken.contains(&row.path) && self.match_ingest(&row.path).is_none() {
                self.legacy.push(row.clone());
            }
        }
        for row in &other.legacy_grpc {
            if self.legacy_grpc.iter().all(|known| known.path != row.path) {
                self.legacy_grpc.push(row.clone());
            }
        }
        for path in &other.token_in_url {
            if !self.token_in_url.contains(path) && self.match_ingest(path).is_none() {
                self.token_in_url.push(path.clone());
            }
        }
        for (form, others) in self.exports.iter_mut().zip(&other.exports) {
            form.accepts = form.accepts.or(others.accepts);
        }
        if self.access_token_header.is_none() {
            self.access_token_header
                .clone_from(&other.access_token_header);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::Signal;

    #[test]
    fn the_front_takes_what_any_backend_takes_and_keeps_its_rows() {
        let otlp = Profile::named("otlp").unwrap();
        let lightstep = Profile::lightstep();
        let same = Profile::front(&lightstep, [&lightstep, &lightstep]);
        assert!(Arc::ptr_eq(&same, &lightstep));
        let front = Profile::front(&lightstep, [&otlp, &lightstep, &otlp]);
        assert_eq!(front.operations().len(), lightstep.operations().len());
        assert_eq!(front.permissions(), lightstep.permissions());
        for path in ["/traces/otlp/v0.9", "/v1/traces", "/v1/metrics", "/v1/logs"] {
            let of_each = [&lightstep, &otlp].map(|one| one.match_ingest(path));
            let found = front.match_ingest(path);
            assert!(found.is_some() && of_each.contains(&found), "{path}");
        }
        let other = Profile::front(&otlp, [&lightstep]);
        assert_eq!(
            other.legacy_reports().len(),
            lightstep.legacy_reports().len()
        );
        assert_eq!(other.access_token_header, lightstep.access_token_header);
        assert!(!other.has_query());
        let ids = |profile: &Profile| {
            let (operation, ..) = profile.match_ingest("/v1/logs")?;
            Some(operation)
        };
        assert_eq!(ids(&other), ids(&front));
        let first = Signal::ALL.map(|signal| format!("ingest.{}", signal.name()));
        for (row, permission) in other.operations().iter().zip(first) {
            assert_eq!(row.permission, permission);
        }
    }
}
