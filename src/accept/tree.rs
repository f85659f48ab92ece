//! Questions to a part of the tree: `/apps/{app path}/-/{resource}`.
//!
//! What it does: finds the resource behind an addressed path. What it refuses to know: who asks, and which projects
//! there are. Invariant: a query key that the resource does not know is refused, as it is for one project.

use http::Method;

use super::Fault;
use super::call::{RequestKind, TreeRequest};
use crate::apps::AppPath;
use crate::profiles::{Profile, QueryKey};

/// The question, or none if nothing of the tree has this name and method.
pub(super) fn ask(
    method: &Method,
    profile: &Profile,
    app: Option<AppPath>,
    rest: &[&str],
    query: &[(String, String)],
) -> Result<Option<RequestKind>, Fault> {
    let (Some(app), [name]) = (app, rest) else {
        return Ok(None);
    };
    let Some(resource) = profile.tree_resource(method, name) else {
        return Ok(None);
    };
    check_keys(query, profile.tree_query_keys(resource))?;
    Ok(Some(RequestKind::Tree(TreeRequest {
        app,
        resource: resource.name.clone(),
        query: query.to_vec(),
    })))
}

/// Every key is one of the known ones, and stands once unless it may repeat.
pub(super) fn check_keys(query: &[(String, String)], known: &[QueryKey]) -> Result<(), Fault> {
    for (index, (key, _)) in query.iter().enumerate() {
        let known = known
            .iter()
            .find(|known| known.name == *key)
            .ok_or(Fault::Query)?;
        if !known.repeats && query.iter().take(index).any(|(earlier, _)| earlier == key) {
            return Err(Fault::Query);
        }
    }
    Ok(())
}
