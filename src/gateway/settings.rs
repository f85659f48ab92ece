//! The checked settings of queries. `config` builds them; nothing here parses files.

use std::sync::Arc;
use std::time::Duration;

use crate::limits::Rate;
use crate::profiles::UiBase;

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
