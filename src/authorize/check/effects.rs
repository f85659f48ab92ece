//! What a policy says without effect.
//!
//! What it does: warns of it. What it refuses to know: how a binding is read. Invariant: a policy is accepted with it.

use super::Checker;
use crate::apps::{NodeId, Tree};
use crate::authorize::Scopes;
use crate::authorize::binding::{Binding, Effect};
use crate::authorize::raw::RawBinding;
use crate::document::{Spanned, name};

impl Checker<'_> {
    /// Warns of keys about exports in a binding that lets no caller export.
    pub(super) fn without_exports(&mut self, raw: &RawBinding, binding: &Binding, scopes: &Scopes) {
        let exports = !binding.permissions.intersection(scopes.app).is_empty();
        if (exports && binding.effect == Effect::Allow) || binding.permissions.is_empty() {
            return;
        }
        let unknown_services = raw
            .unknown_services
            .as_ref()
            .map(|given| (given.as_ref().map(|_| ()), "unknown_services"));
        let default_app = raw
            .default_app
            .as_ref()
            .map(|given| (given.as_ref().map(|_| ()), "default_app"));
        let quota = raw
            .quota
            .as_ref()
            .map(|given| (given.as_ref().map(|_| ()), "quota"));
        for (place, key) in [unknown_services, default_app, quota].into_iter().flatten() {
            self.warning(
                &place,
                format!(
                    "`{key}` has no effect: binding {} lets no caller export",
                    name(&binding.name)
                ),
            )
            .hint("leave it out, or give the binding `ingest` permissions");
        }
    }

    /// Warns of each place where nothing that the binding holds can have an effect.
    pub(super) fn idle(
        &mut self,
        binding: &Binding,
        nodes: &[(&Spanned<String>, NodeId)],
        tree: &Tree,
        scopes: &Scopes,
    ) {
        for (written, node) in nodes {
            let effective = tree
                .interval(*node)
                .filter_map(|number| tree.at(number))
                .any(|node| {
                    !scopes
                        .at(tree, node)
                        .intersection(binding.permissions)
                        .is_empty()
                });
            if effective {
                continue;
            }
            let finding = self.warning(
                *written,
                format!(
                    "binding {} can have no effect at {}",
                    name(&binding.name),
                    name(&written.value)
                ),
            );
            let queries = scopes.project.union(scopes.app);
            if binding.permissions.intersection(queries).is_empty() {
                finding.hint("what concerns the whole organization is asked at `/`");
            } else if binding.permissions.intersection(scopes.project).is_empty() {
                finding.hint("no app there has a project to write to");
            } else {
                finding.hint(
                    "queries are asked at a project's home, and no project has its home there",
                );
            }
        }
    }

    /// Warns of subtrees that no allow reaches, and, in a policy about queries, of projects at whose home none is bound.
    pub(super) fn unreached(
        &mut self,
        tree: &Tree,
        bindings: &[Binding],
        places: &[Spanned<NodeId>],
        scopes: &Scopes,
    ) {
        let allows = || {
            bindings
                .iter()
                .filter(|binding| binding.effect == Effect::Allow)
        };
        let queries =
            allows().any(|binding| !binding.permissions.intersection(scopes.project).is_empty());
        let mut reached = vec![false; tree.nodes().count()];
        for interval in allows().flat_map(|binding| binding.places.intervals()) {
            let interval = interval.start as usize..interval.end as usize;
            reached
                .get_mut(interval)
                .into_iter()
                .flatten()
                .for_each(|node| *node = true);
        }
        let barren = |node: NodeId| {
            let interval = tree.interval(node);
            reached
                .get(interval.start as usize..interval.end as usize)
                .is_some_and(|nodes| !nodes.contains(&true))
        };
        for place in places {
            let Some(node) = tree.node(place.value) else {
                continue;
            };
            let path = name(node.path.as_str());
            if barren(place.value) {
                if node
                    .parent
                    .is_none_or(|parent| parent == NodeId::ROOT || !barren(parent))
                {
                    self.warning(
                        place,
                        format!("no binding reaches app {path}: no caller may use it"),
                    )
                    .hint("bind a caller to it, or to an app above it");
                }
                continue;
            }
            let here = reached.get(place.value.number() as usize) == Some(&true);
            if let (true, false, Some(project)) = (queries, here, node.declared_project()) {
                let project = name(project);
                self.warning(
                    place,
                    format!("no binding reaches app {path} itself: no caller may query {project}"),
                )
                .hint("bindings beneath a project's home do not permit queries on the project");
            }
        }
    }
}
