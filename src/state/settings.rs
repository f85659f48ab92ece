//! The checked settings of backends, queries and alerts. `config` builds them; nothing here parses files.

use std::sync::Arc;
use std::time::Duration;

use crate::forward::{DestinationSettings, UpstreamSettings};
use crate::limits::Rate;
use crate::profiles::{AlertLayout, Profile, UiBase};

/// One backend, by `upstreams` or one of `backends` of the configuration.
#[derive(Clone, Debug)]
pub struct BackendSettings {
    pub name: Arc<str>,
    /// What is known of its kind, with the values of its parameters.
    pub profile: Arc<Profile>,
    pub upstreams: Upstreams,
}

/// A backend's endpoints. `ingest` is there if any listener serves it; likewise `query` of the backend that is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstreams {
    pub ingest: Option<UpstreamSettings>,
    /// Exports over gRPC; absent: they go where others go.
    pub grpc: Option<UpstreamSettings>,
    pub query: Option<UpstreamSettings>,
    /// Legacy tracers' reports and log ingest; absent: they go where exports go.
    pub collector: Option<UpstreamSettings>,
    pub logs: Option<UpstreamSettings>,
}

/// `query:` of the configuration, and `upstreams.query.ui`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuerySettings {
    /// `coalesce`: whether identical reads that are asked at one time are asked of the backend once. On.
    pub coalesce: bool,
    /// `cache`: how long an answer may serve again, at most 60 s. None: each question is asked.
    pub cache: Option<Duration>,
    /// `rates`: instead of the profile's, by class.
    pub rates: Vec<(Arc<str>, Rate)>,
    /// `parallel`: projects asked at once for one question to a part of the tree, from 1 to 64. 8: each takes a
    /// connection, and the backend's limits are the whole organization's.
    pub parallel_projects: usize,
    /// `deadline`: after it, projects that have not answered are told as late. 20 s: what a person waits.
    pub deadline: Duration,
    /// `ui`: where links into the backend's own pages point. The profile's base.
    pub ui: UiBase,
}

impl Default for QuerySettings {
    fn default() -> Self {
        QuerySettings {
            coalesce: true,
            cache: None,
            rates: Vec::new(),
            parallel_projects: 8,
            deadline: Duration::from_secs(20),
            ui: UiBase::Profile,
        }
    }
}

/// `alerts:` of the configuration, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertSettings {
    /// Each name once.
    pub destinations: Vec<DestinationSettings>,
    /// From `1m` to `1h`.
    pub replay_window: Duration,
    pub fields: AlertFieldSettings,
}

/// JSON pointers; `None`: the profile's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertFieldSettings {
    pub id: Option<String>,
    pub name: Option<String>,
    pub state: Option<String>,
    pub time: Option<String>,
}

impl Default for AlertSettings {
    fn default() -> Self {
        AlertSettings {
            destinations: Vec::new(),
            // A webhook that is tried again comes within minutes.
            replay_window: Duration::from_secs(600),
            fields: AlertFieldSettings::default(),
        }
    }
}

impl AlertFieldSettings {
    /// The profile's layout, with the operator's pointers instead of its own.
    pub(crate) fn over(&self, profile: &AlertLayout) -> AlertLayout {
        let mut layout = profile.clone();
        for (given, pointers) in [
            (&self.id, &mut layout.id),
            (&self.name, &mut layout.name),
            (&self.state, &mut layout.state),
            (&self.time, &mut layout.time),
        ] {
            if let Some(pointer) = given {
                *pointers = vec![pointer.clone()];
            }
        }
        layout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_of_the_operators_stands_in_for_the_profiles() {
        let given = AlertFieldSettings {
            id: Some("/a/0/b".to_owned()),
            ..AlertFieldSettings::default()
        };
        let (id, name) = (vec!["/id".to_owned()], vec!["/name".to_owned()]);
        let layout = given.over(&AlertLayout {
            id,
            name: name.clone(),
            ..AlertLayout::default()
        });
        assert_eq!((layout.id, layout.name), (vec!["/a/0/b".to_owned()], name));
    }
}
