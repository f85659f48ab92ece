//! The tree's page.
//!
//! What it does: lays the visitor's whole view out as rows, with live numbers, and narrows it to what is looked for. What it
//! refuses to know: single apps' details. Invariant: the filter looks at nothing that is not shown.

use super::Viewer;
use crate::view::{TreeRow, TreeView};

/// The visitor's tree.
pub(crate) fn tree(sight: &Viewer<'_>, filter: Option<&str>) -> TreeView {
    let filter = filter.map(str::trim).filter(|filter| !filter.is_empty());
    let kept = kept(sight, filter);
    let rows = sight
        .rows
        .iter()
        .enumerate()
        .zip(kept)
        .filter(|(_, kept)| *kept)
        .map(|((place, row), _)| TreeRow {
            app: row.app.to_string(),
            name: sight.name(&row.app),
            depth: row.depth,
            project: row.project.as_deref().map(str::to_owned),
            owners: row.owners.clone(),
            // As the tree answers it: to send, or to change what is there.
            can_write: row.holds("ingest.*") || row.holds("query.*.write"),
            can_read: row.holds("query.*.read"),
            can_audit: sight.may_audit(&row.app),
            live: sight.live(place),
            firing: sight.firing(place),
        })
        .collect();
    TreeView {
        filter: filter.map(str::to_owned),
        rows,
        alert_errors: Vec::new(),
    }
}

/// Which rows fit, or lead to one that does.
fn kept(sight: &Viewer<'_>, filter: Option<&str>) -> Vec<bool> {
    let Some(filter) = filter.map(str::to_lowercase) else {
        return vec![true; sight.rows.len()];
    };
    let mut kept = vec![false; sight.rows.len()];
    // From the last row to the first: whatever comes next beneath a row has been looked at.
    let mut wanted_depth = 0;
    for (row, kept) in sight.rows.iter().zip(&mut kept).rev() {
        let fits = |text: &str| text.to_lowercase().contains(&filter);
        let hit = fits(row.app.as_str()) || row.owners.iter().any(|owner| fits(owner));
        *kept = hit || row.depth < wanted_depth;
        if *kept {
            wanted_depth = row.depth;
        }
    }
    kept
}
