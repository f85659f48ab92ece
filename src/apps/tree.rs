//! The tree itself: nodes numbered in pre-order, so that a subtree is an interval.
//!
//! What it does: is planted node by node, then answers containment, projects and homes. What it refuses to know: the
//! file it was read from, and who may do what. Invariants: the root is node 0 and has no project; a node's interval
//! holds exactly itself and all beneath it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{AlsoTerm, AppPath, BackendId, BackendTerm, BackendTerms, Glob};
use crate::clock::UnixMillis;
use crate::limits::Quota;

/// How many attributes may be written on an app's resources.
pub(crate) const ATTRIBUTE_LIMIT: usize = 32;

/// A node's pre-order number; the root is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

impl NodeId {
    pub(crate) const ROOT: NodeId = NodeId(0);

    /// The number, for intervals.
    pub(crate) fn number(self) -> u32 {
        self.0
    }
}

/// One app.
#[derive(Clone, Debug)]
pub struct Node {
    pub path: AppPath,
    pub(crate) parent: Option<NodeId>,
    /// People to ask, as written.
    pub owners: Vec<String>,
    /// Service names that mark an export as this app's.
    pub services: Vec<Glob>,
    /// Further resource attributes that mark it (`match:`): name and pattern.
    pub marks: Vec<(String, Glob)>,
    /// What is written on this app's resources, by name, sorted: its own, and what it inherits and does not override.
    pub attributes: Vec<(String, String)>,
    /// What this app and all beneath it may send together.
    pub(crate) quota: Option<Quota>,
    /// Where this app's alerts go, by the operator's names: its own list, or else its nearest ancestor's that has one.
    pub destinations: Vec<String>,
    /// At which backend its data is: its own word, then what is above.
    pub(crate) backends: BackendTerms,
    /// Which other backends get its data too: its own list, or else its nearest ancestor's that has one.
    pub also: Vec<AlsoTerm>,
    /// The project declared here.
    declared: Option<Arc<str>>,
    /// The project declared here or at the nearest ancestor.
    project: Option<Arc<str>>,
    /// One past the last node beneath.
    end: u32,
}

impl Node {
    fn new(path: AppPath, parent: Option<NodeId>, project: Option<Arc<str>>) -> Self {
        Node {
            path,
            parent,
            owners: Vec::new(),
            services: Vec::new(),
            marks: Vec::new(),
            attributes: Vec::new(),
            quota: None,
            destinations: Vec::new(),
            backends: BackendTerms::default(),
            also: Vec::new(),
            declared: None,
            project,
            end: 0,
        }
    }

    /// The project whose home this is.
    pub fn declared_project(&self) -> Option<&Arc<str>> {
        self.declared.as_ref()
    }
}

/// Why a node cannot be planted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TreeFault {
    /// Not 1 to 63 of `a-z 0-9 - _ .` beginning with a letter or digit.
    #[error("an app's name is not well-formed")]
    Segment,
    #[error("an app's path has more than {} bytes", AppPath::LIMIT_BYTES)]
    TooDeep,
    /// A sibling has this name.
    #[error("an app of this name is there already")]
    Taken,
    #[error("the project has its home at `{0}` already")]
    TwoHomes(AppPath),
    /// An empty name, or one that no path segment can carry.
    #[error("a project's name is not well-formed")]
    Project,
    #[error(
        "an app has at most {} attributes, inherited ones included",
        ATTRIBUTE_LIMIT
    )]
    Attributes,
    /// More nodes than numbers.
    #[error("there are too many apps")]
    TooMany,
}

/// What is written about one app.
#[derive(Clone, Debug, Default)]
pub(crate) struct Description {
    pub owners: Vec<String>,
    pub services: Vec<Glob>,
    pub marks: Vec<(String, Glob)>,
    /// Its own attributes, without inherited ones.
    pub attributes: Vec<(String, String)>,
    pub quota: Option<Quota>,
    /// `None`: as above it.
    pub destinations: Option<Vec<String>>,
    /// `None`: as above it.
    pub backend: Option<BackendTerm>,
    /// `None`: as above it.
    pub also: Option<Vec<AlsoTerm>>,
}

/// A tree that is growing: `enter` a node, describe it, enter and leave its children, `leave` it.
#[derive(Debug)]
pub(crate) struct Planting {
    nodes: Vec<Node>,
    open: Vec<NodeId>,
    homes: ahash::HashMap<Arc<str>, NodeId>,
    paths: ahash::HashMap<AppPath, NodeId>,
}

impl Default for Planting {
    fn default() -> Self {
        let root = AppPath::root();
        Planting {
            nodes: vec![Node::new(root.clone(), None, None)],
            open: vec![NodeId::ROOT],
            homes: ahash::HashMap::default(),
            paths: [(root, NodeId::ROOT)].into_iter().collect(),
        }
    }
}

impl Planting {
    /// Adds a child to the open node and opens it.
    pub(crate) fn enter(&mut self, segment: &str) -> Result<NodeId, TreeFault> {
        let parent = self.open.last().copied().unwrap_or(NodeId::ROOT);
        let above = self
            .nodes
            .get(parent.0 as usize)
            .ok_or(TreeFault::TooMany)?;
        let path = above.path.child(segment).ok_or(TreeFault::Segment)?;
        if AppPath::parse(path.as_str()).is_none() {
            return Err(TreeFault::TooDeep);
        }
        if self.paths.contains_key(&path) {
            return Err(TreeFault::Taken);
        }
        let node = NodeId(u32::try_from(self.nodes.len()).map_err(|_| TreeFault::TooMany)?);
        let project = above.project.clone();
        self.paths.insert(path.clone(), node);
        self.nodes.push(Node::new(path, Some(parent), project));
        self.open.push(node);
        Ok(node)
    }

    /// Makes the open node the home of a project. Call it before entering children, who inherit it.
    pub(crate) fn declare(&mut self, project: &str) -> Result<(), TreeFault> {
        if project.is_empty()
            || matches!(project, "." | "..")
            || project
                .chars()
                .any(|each| matches!(each, '/' | '\\') || each.is_control())
        {
            return Err(TreeFault::Project);
        }
        if let Some(home) = self
            .homes
            .get(project)
            .and_then(|home| self.nodes.get(home.0 as usize))
        {
            return Err(TreeFault::TwoHomes(home.path.clone()));
        }
        let Some(node) = self
            .open
            .last()
            .copied()
            .filter(|node| *node != NodeId::ROOT)
        else {
            return Err(TreeFault::Project);
        };
        let name: Arc<str> = project.into();
        self.homes.insert(name.clone(), node);
        if let Some(node) = self.nodes.get_mut(node.0 as usize) {
            node.declared = Some(name.clone());
            node.project = Some(name);
        }
        Ok(())
    }

    /// Describes the open node. Call it before entering children, who inherit attributes.
    pub(crate) fn describe(&mut self, description: Description) -> Result<(), TreeFault> {
        let Description {
            owners,
            services,
            marks,
            attributes,
            quota,
            destinations,
            backend,
            also,
        } = description;
        let open = self.open.last().map_or(0, |node| node.0 as usize);
        let above = self
            .nodes
            .get(open)
            .and_then(|node| self.nodes.get(node.parent?.0 as usize));
        let mut whole: BTreeMap<String, String> = above
            .map(|above| above.attributes.iter().cloned().collect())
            .unwrap_or_default();
        let destinations = destinations
            .or_else(|| Some(above?.destinations.clone()))
            .unwrap_or_default();
        let backends = match above {
            Some(above) => BackendTerms::over(backend, &above.backends),
            None => BackendTerms::over(backend, &BackendTerms::default()),
        };
        let also = also
            .or_else(|| Some(above?.also.clone()))
            .unwrap_or_default();
        whole.extend(attributes);
        if whole.len() > ATTRIBUTE_LIMIT {
            return Err(TreeFault::Attributes);
        }
        if let Some(node) = self.nodes.get_mut(open) {
            (node.owners, node.services, node.marks, node.quota) = (owners, services, marks, quota);
            node.destinations = destinations;
            (node.backends, node.also) = (backends, also);
            node.attributes = whole.into_iter().collect();
        }
        Ok(())
    }

    /// The open node.
    pub(crate) fn open(&self) -> Option<&Node> {
        self.nodes.get(self.open.last()?.0 as usize)
    }

    /// Closes the open node: all that lies beneath it has been entered.
    pub(crate) fn leave(&mut self) {
        let end = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        if let Some(node) = self
            .open
            .pop()
            .and_then(|node| self.nodes.get_mut(node.0 as usize))
        {
            node.end = end;
        }
    }

    /// The grown tree; nodes still open are closed.
    pub(crate) fn finish(mut self) -> Tree {
        while !self.open.is_empty() {
            self.leave();
        }
        Tree {
            nodes: self.nodes,
            homes: self.homes,
            paths: self.paths,
        }
    }
}

/// The whole organization.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    homes: ahash::HashMap<Arc<str>, NodeId>,
    paths: ahash::HashMap<AppPath, NodeId>,
}

impl Tree {
    /// The node at a path.
    pub fn find(&self, path: &AppPath) -> Option<NodeId> {
        self.paths.get(path).copied()
    }

    /// A node that this tree numbered.
    pub fn node(&self, node: NodeId) -> Option<&Node> {
        self.nodes.get(node.0 as usize)
    }

    /// The node with this pre-order number.
    pub(crate) fn at(&self, number: u32) -> Option<NodeId> {
        ((number as usize) < self.nodes.len()).then_some(NodeId(number))
    }

    /// All nodes in pre-order, parents before children; the root first.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        (0..).map(NodeId).zip(&self.nodes)
    }

    /// The nodes at and beneath `node`, as pre-order numbers.
    pub(crate) fn interval(&self, node: NodeId) -> std::ops::Range<u32> {
        self.node(node).map_or(0..0, |found| node.0..found.end)
    }

    /// Whether `node` is `ancestor` or lies beneath it.
    pub(crate) fn contains(&self, ancestor: NodeId, node: NodeId) -> bool {
        self.interval(ancestor).contains(&node.0)
    }

    /// The project that the node writes to: its own or its nearest ancestor's.
    pub(crate) fn project_of(&self, node: NodeId) -> Option<&Arc<str>> {
        self.node(node)?.project.as_ref()
    }

    /// The backend of the node's data at this time; `None`: the default one.
    pub(crate) fn backend_of(&self, node: NodeId, now: UnixMillis) -> Option<BackendId> {
        self.node(node)?.backends.at(now)
    }

    /// The one node that declares the project.
    pub fn home(&self, project: &str) -> Option<NodeId> {
        self.homes.get(project).copied()
    }

    /// The homes in pre-order, each with its project.
    pub(crate) fn homes(&self) -> impl Iterator<Item = (NodeId, &Arc<str>)> {
        self.nodes()
            .filter_map(|(id, node)| Some((id, node.declared.as_ref()?)))
    }

    /// The children of a node, in the order of the file.
    pub(crate) fn children(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        let mut interval = self.interval(node);
        interval.next();
        std::iter::from_fn(move || {
            let child = NodeId(interval.next()?);
            interval.start = self.interval(child).end;
            Some(child)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> AppPath {
        AppPath::parse(text).unwrap()
    }

    /// Plants sorted paths; a path's parent need not be given.
    fn plant(paths: &std::collections::BTreeSet<Vec<String>>) -> Tree {
        let mut planting = Planting::default();
        let mut open: Vec<String> = Vec::new();
        for path in paths {
            let shared = open
                .iter()
                .zip(path)
                .take_while(|(one, other)| one == other)
                .count();
            for _ in shared..open.len() {
                planting.leave();
            }
            open.truncate(shared);
            for segment in &path[shared..] {
                planting.enter(segment).unwrap();
                open.push(segment.clone());
            }
        }
        planting.finish()
    }

    #[test]
    fn a_node_writes_to_its_nearest_project_which_has_one_home() {
        let mut planting = Planting::default();
        planting.enter("shop").unwrap();
        planting.declare("shop-prod").unwrap();
        planting.enter("checkout").unwrap();
        planting.declare("checkout-prod").unwrap();
        planting.enter("web").unwrap();
        assert_eq!(
            planting.declare("shop-prod"),
            Err(TreeFault::TwoHomes(path("shop")))
        );
        planting.leave();
        planting.leave();
        planting.enter("search").unwrap();
        planting.leave();
        assert_eq!(planting.enter("search"), Err(TreeFault::Taken));
        assert_eq!(planting.enter("Search"), Err(TreeFault::Segment));
        for name in ["", ".", "..", "a/b", "a\\b", "a\n"] {
            assert_eq!(planting.declare(name), Err(TreeFault::Project), "{name:?}");
        }
        planting.leave();
        planting.enter("bare").unwrap();
        let tree = planting.finish();
        for (app, project) in [
            ("/", None),
            ("shop", Some("shop-prod")),
            ("shop/checkout", Some("checkout-prod")),
            ("shop/checkout/web", Some("checkout-prod")),
            ("shop/search", Some("shop-prod")),
            ("bare", None),
        ] {
            let node = tree.find(&path(app)).unwrap();
            assert_eq!(tree.project_of(node).map(|name| &**name), project, "{app}");
        }
        assert_eq!(tree.home("shop-prod"), tree.find(&path("shop")));
        assert_eq!(tree.home("none"), None);
        let children: Vec<&str> = tree
            .children(tree.find(&path("shop")).unwrap())
            .map(|id| tree.node(id).unwrap().path.as_str())
            .collect();
        assert_eq!(children, ["shop/checkout", "shop/search"]);
    }

    #[test]
    fn a_path_may_not_grow_beyond_its_limit() {
        let mut planting = Planting::default();
        for _ in 0..8 {
            planting.enter(&"a".repeat(63)).unwrap();
        }
        assert_eq!(planting.enter("b"), Err(TreeFault::TooDeep));
    }

    proptest! {
        #[test]
        fn containment_is_the_prefix_of_segments(
            paths in proptest::collection::btree_set(proptest::collection::vec("[ab][.-]?", 1..4), 1..12)
        ) {
            let tree = plant(&paths);
            for (above, one) in tree.nodes() {
                for (below, other) in tree.nodes() {
                    let segments = |path: &AppPath| -> Vec<String> {
                        path.as_str().split('/').filter(|text| !text.is_empty()).map(str::to_owned).collect()
                    };
                    let expected = segments(&other.path).starts_with(&segments(&one.path));
                    prop_assert_eq!(tree.contains(above, below), expected);
                    prop_assert_eq!(one.path.contains(&other.path), expected);
                }
            }
        }
    }
}
