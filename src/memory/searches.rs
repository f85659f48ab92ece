//! The searches of the audit trail that run now.
//!
//! What it does: gives a place to one search of a viewer at a time, and to few of all. What it refuses to know: what is looked for.
//! Invariant: a place is held until its search has ended, also where its viewer has gone.

use std::sync::Arc;

use super::recent::Caller;
use crate::lock::Mutex;

/// Searches at once: each keeps a disk and a processor busy.
const SEARCHES_LIMIT: usize = 2;

/// Who searches.
#[derive(Default)]
pub(crate) struct TrailSearches(Mutex<Vec<Caller>>);

/// Why no search can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SearchBusy {
    /// The viewer's own last one still runs.
    Own,
    Others,
}

/// The place of a search.
pub(crate) struct SearchPlace {
    searches: Arc<TrailSearches>,
    who: Caller,
}

impl TrailSearches {
    pub(crate) fn begin(self: &Arc<Self>, who: Caller) -> Result<SearchPlace, SearchBusy> {
        let mut running = self.0.lock();
        if running.contains(&who) {
            return Err(SearchBusy::Own);
        }
        if running.len() >= SEARCHES_LIMIT {
            return Err(SearchBusy::Others);
        }
        running.push(who.clone());
        drop(running);
        Ok(SearchPlace {
            searches: self.clone(),
            who,
        })
    }
}

impl Drop for SearchPlace {
    fn drop(&mut self) {
        self.searches
            .0
            .lock()
            .retain(|running| *running != self.who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_viewer_searches_once_and_few_at_all() {
        let searches = Arc::new(TrailSearches::default());
        let who = |subject: &str| Caller::named("okta", subject);
        let ann = searches.begin(who("ann")).unwrap();
        assert_eq!(searches.begin(who("ann")).err(), Some(SearchBusy::Own));
        let ben = searches.begin(who("ben")).unwrap();
        assert_eq!(searches.begin(who("eve")).err(), Some(SearchBusy::Others));
        drop(ann);
        let eve = searches.begin(who("eve")).unwrap();
        assert_eq!(searches.begin(who("ben")).err(), Some(SearchBusy::Own));
        drop((ben, eve));
        assert!(searches.0.lock().is_empty());
    }
}
