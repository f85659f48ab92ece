//! The checked settings of queries. `config` builds them; nothing here asks.

use std::time::Duration;

use crate::profiles::UiBase;

/// `query:` of the configuration, and `upstreams.query.ui`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuerySettings {
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
        QuerySettings { parallel_projects: 8, deadline: Duration::from_secs(20), ui: UiBase::Profile }
    }
}
