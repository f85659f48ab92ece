//! Which projects a part of the tree has.
//!
//! What it does: lists the projects at and beneath an app. What it refuses to know: who may ask them.

use std::sync::Arc;

use super::Origin;
use crate::apps::{AppPath, NodeId, Tree};
use crate::reason::Reason;

/// The projects at and beneath an app, in the tree's order: its own or its nearest ancestor's first.
pub(crate) fn origins(tree: &Tree, app: &AppPath) -> Result<Vec<Origin>, Reason> {
    let node = tree.find(app).ok_or(Reason::AppUnknown)?;
    let above = tree
        .project_of(node)
        .and_then(|project| Some((tree.home(project)?, project)));
    let above = above.filter(|(home, _)| !tree.contains(node, *home));
    let beneath = tree.homes().filter(|(home, _)| tree.contains(node, *home));
    let origin = |(home, project): (NodeId, &Arc<str>)| {
        Some(Origin {
            app: tree.node(home)?.path.clone(),
            project: project.clone(),
        })
    };
    Ok(above
        .into_iter()
        .chain(beneath)
        .filter_map(origin)
        .collect())
}
