//! What can be asked of a part of the tree, and links into the backend's own pages.
//!
//! What it does: reads the profile's `tree:` and `ui:` tables, and makes links of their templates. What it refuses to
//! know: how answers are merged, and whether a link leads anywhere. Invariants: every row asks an operation of the
//! table that has the scope of a project; a value in a link is percent-encoded; a link without one of its values is
//! none.

use std::collections::BTreeMap;

use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;

use super::fault::{PlacedFault, ProfileFault};
use super::{OperationId, Profile, QueryKey, Scope};
use crate::document::Spanned;
use crate::percent;

/// Something that can be asked of every project in a part of the tree.
#[derive(Clone, Debug)]
pub struct TreeResource {
    /// As it stands in the path.
    pub name: String,
    pub method: Method,
    pub shape: TreeShape,
    /// What each project is asked; at least one.
    pub sources: Vec<TreeSource>,
    /// What records and metrics call it: the source's permission, or of several `query.{name}.read`.
    pub label: String,
}

/// How projects' answers are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TreeShape {
    /// Items after items.
    List,
    /// Items with their state and links to what may explain it.
    Alerts,
    /// Series after series, with labels that say where each is from.
    Series,
}

/// One question to one project. Places are JSON pointers (RFC 6901).
#[derive(Clone, Debug)]
pub struct TreeSource {
    /// The resource that it is by itself.
    pub(crate) resource: String,
    pub(crate) operation: OperationId,
    /// Where the items lie in the answer.
    pub(crate) items: String,
    /// Where an item has its id and its name.
    pub(crate) id: String,
    pub(crate) name: String,
    /// The backend's page of an item.
    pub(crate) page: Option<UiPage>,
    pub(crate) state: Option<StateSource>,
}

/// Where an alert's state is found.
#[derive(Clone, Debug)]
pub(crate) struct StateSource {
    /// The operation that tells it, with the item's id; absent: the item itself.
    pub operation: Option<OperationId>,
    pub at: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// What the backend's words for a state are called here; others stay as they are.
    pub says: BTreeMap<String, String>,
}

/// A kind of page of the backend's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UiPage {
    Services,
    Service,
    Stream,
    Dashboards,
    Dashboard,
    Alerts,
    Alert,
    /// Traces around a time.
    Explorer,
}

/// Where links into the backend's own pages begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UiBase {
    /// Where the profile says.
    #[default]
    Profile,
    /// There are no such links.
    Off,
    /// Here; without a trailing slash.
    At(String),
}

/// Links into the backend's own pages.
#[derive(Clone, Debug, Default)]
pub struct Ui {
    /// `None`: there are none.
    base: Option<String>,
    pages: Vec<(UiPage, String)>,
    /// How much is shown before and after a time, in milliseconds.
    around_ms: i64,
}

/// What a link is to. What a template does not ask for is not used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UiSpot<'a> {
    pub project: &'a str,
    pub id: Option<&'a str>,
    pub name: Option<&'a str>,
    /// From and to, Unix milliseconds.
    pub window: Option<(i64, i64)>,
}

impl Ui {
    pub(crate) fn new(profile: &Profile, base: &UiBase) -> Self {
        let base = match base {
            UiBase::Profile => Some(profile.ui_base.clone()),
            UiBase::Off => None,
            UiBase::At(base) => Some(base.clone()),
        };
        Ui {
            base: base.filter(|base| !base.is_empty()),
            pages: profile.ui_pages.clone(),
            around_ms: profile.ui_around_ms,
        }
    }

    /// What to show of what happened at a time; where none is known, as much of what came before now. Unix milliseconds.
    pub(crate) fn window(&self, at: Option<i64>, now: i64) -> (i64, i64) {
        match at {
            Some(at) => (
                at.saturating_sub(self.around_ms),
                at.saturating_add(self.around_ms),
            ),
            None => (now.saturating_sub(self.around_ms.saturating_mul(2)), now),
        }
    }

    /// An absolute link; `None` if there are no links, no such page, or a value that it needs is not there.
    pub(crate) fn link(&self, page: UiPage, spot: &UiSpot<'_>) -> Option<String> {
        let base = self.base.as_ref()?;
        let (_, template) = self.pages.iter().find(|(known, _)| *known == page)?;
        let mut link = base.clone();
        for (place, piece) in template.split(['{', '}']).enumerate() {
            if place % 2 == 0 {
                link.push_str(piece);
                continue;
            }
            // The backend's pages count in microseconds.
            let micros = |millis: i64| millis.saturating_mul(1000).to_string();
            match piece {
                "project" => link.extend(percent::encode(spot.project)),
                "id" => link.extend(percent::encode(spot.id?)),
                "name" => link.extend(percent::encode(spot.name?)),
                "from" => link.push_str(&micros(spot.window?.0)),
                _ => link.push_str(&micros(spot.window?.1)),
            }
        }
        Some(link)
    }
}

impl Profile {
    /// Where the backend's own pages are.
    pub(crate) fn ui_base(&self) -> &str {
        &self.ui_base
    }

    /// What can be asked of a part of the tree, in the table's order.
    pub fn tree(&self) -> &[TreeResource] {
        &self.tree
    }

    /// The resource of this name, if it is asked with this method.
    pub(crate) fn tree_resource(&self, method: &Method, name: &str) -> Option<&TreeResource> {
        self.tree
            .iter()
            .find(|resource| resource.name == name && resource.method == *method)
    }

    /// The query parameters that a resource takes: its operation's. What asks several operations takes none.
    pub(crate) fn tree_query_keys(&self, resource: &TreeResource) -> &[QueryKey] {
        match resource.sources.as_slice() {
            [only] => &self.operation(only.operation).query_keys,
            _ => &[],
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Ui")]
pub(super) struct RawUi {
    /// Where the pages are.
    base: String,
    /// How much is shown before and after a time.
    #[schemars(range(min = 1))]
    around_minutes: u16,
    pages: Vec<RawPage>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Page")]
struct RawPage {
    page: UiPage,
    /// Placeholders: `{project}`, `{id}`, `{name}`, `{from}`, `{to}`.
    path: Spanned<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Tree")]
pub(super) struct RawTree {
    /// As it stands in the path `/apps/{app}/-/{resource}`.
    resource: Spanned<String>,
    #[serde(default)]
    method: RawAsked,
    /// The operation that each project is asked.
    #[serde(default)]
    path: Option<Spanned<String>>,
    #[serde(default)]
    items: String,
    #[serde(default = "id")]
    id: String,
    #[serde(default = "name")]
    name: String,
    #[serde(default)]
    page: Option<UiPage>,
    #[serde(default)]
    state: Option<RawState>,
    #[serde(default)]
    shape: RawShape,
    /// The rows that are asked together, instead of `path`.
    #[serde(default)]
    of: Vec<Spanned<String>>,
}

#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schemars(rename = "Asked")]
enum RawAsked {
    #[default]
    Get,
    Post,
}

#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Shape")]
enum RawShape {
    #[default]
    List,
    Alerts,
    Series,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "State")]
struct RawState {
    #[serde(default)]
    path: Option<Spanned<String>>,
    at: String,
    since: String,
    #[serde(default)]
    says: BTreeMap<String, String>,
}

fn id() -> String {
    "/id".to_owned()
}

fn name() -> String {
    "/attributes/name".to_owned()
}

/// Takes the two tables into the profile, whose operations are there already.
pub(super) fn furnish(
    profile: &mut Profile,
    ui: Option<RawUi>,
    rows: Vec<RawTree>,
    found: &mut Vec<PlacedFault>,
) {
    if let Some(ui) = ui {
        links(profile, ui, found);
    }
    let mut table: Vec<TreeResource> = Vec::with_capacity(rows.len());
    for row in rows {
        if table.iter().any(|known| known.name == row.resource.value) {
            found.push(ProfileFault::RowTwice(row.resource.value.clone()).at(&row.resource));
            continue;
        }
        match resource(profile, &table, row) {
            Ok(resource) => table.push(resource),
            Err(fault) => found.push(fault),
        }
    }
    profile.tree = table;
}

fn links(profile: &mut Profile, ui: RawUi, found: &mut Vec<PlacedFault>) {
    for page in &ui.pages {
        let known = ["project", "id", "name", "from", "to"];
        let path = &page.path.value;
        let mut holes = path.split(['{', '}']).skip(1).step_by(2);
        if !path.starts_with('/') || !holes.all(|hole| known.contains(&hole)) {
            found.push(ProfileFault::Link(path.clone()).at(&page.path));
        }
    }
    profile.ui_base = ui.base;
    profile.ui_around_ms = i64::from(ui.around_minutes) * 60_000;
    profile.ui_pages = ui
        .pages
        .into_iter()
        .map(|page| (page.page, page.path.value))
        .collect();
}

fn resource(
    profile: &Profile,
    earlier: &[TreeResource],
    row: RawTree,
) -> Result<TreeResource, PlacedFault> {
    let method = match row.method {
        RawAsked::Get => Method::GET,
        RawAsked::Post => Method::POST,
    };
    let shape = match row.shape {
        RawShape::List => TreeShape::List,
        RawShape::Alerts => TreeShape::Alerts,
        RawShape::Series => TreeShape::Series,
    };
    let name = row.resource.value.clone();
    if !row.of.is_empty() {
        let of = |of: &Spanned<String>| {
            let found = earlier
                .iter()
                .find(|known| known.name == of.value && known.method == method);
            found.map(|known| known.sources.clone()).ok_or_else(|| {
                ProfileFault::NoRow {
                    resource: name.clone(),
                    name: of.value.clone(),
                }
                .at(of)
            })
        };
        let sources = row
            .of
            .iter()
            .map(of)
            .collect::<Result<Vec<_>, _>>()?
            .concat();
        let label = format!("query.{name}.read");
        return Ok(TreeResource {
            name,
            method,
            shape,
            sources,
            label,
        });
    }
    let Some(path) = &row.path else {
        return Err(ProfileFault::NothingAsked(name).at(&row.resource));
    };
    let operation = operation(profile, &method, path)?;
    let state = row.state.map(|state| {
        let asked = state
            .path
            .map(|path| self::operation(profile, &Method::GET, &path))
            .transpose();
        asked.map(|operation| StateSource {
            operation,
            at: state.at,
            since: state.since,
            says: state.says,
        })
    });
    let source = TreeSource {
        resource: name.clone(),
        operation,
        items: row.items,
        id: row.id,
        name: row.name,
        page: row.page,
        state: state.transpose()?,
    };
    let label = profile.operation(operation).permission.clone();
    Ok(TreeResource {
        name,
        method,
        shape,
        sources: vec![source],
        label,
    })
}

fn operation(
    profile: &Profile,
    method: &Method,
    template: &Spanned<String>,
) -> Result<OperationId, PlacedFault> {
    let mut rows = profile.operations.iter();
    let row = rows.find(|row| {
        row.method == *method && row.template == template.value && row.scope == Scope::Project
    });
    row.map(|row| row.id).ok_or_else(|| {
        ProfileFault::NoOperation {
            method: method.clone(),
            template: template.value.clone(),
        }
        .at(template)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_has_all_its_values_or_is_none() {
        let profile = Profile::lightstep();
        let ui = Ui::new(&profile, &UiBase::At("https://ui".to_owned()));
        let spot = UiSpot {
            project: "a b",
            id: Some("x/y"),
            name: Some("é"),
            window: Some((1, 2)),
        };
        for (page, spot, expected) in [
            (UiPage::Stream, spot, Some("https://ui/a%20b/stream/x%2Fy")),
            (UiPage::Stream, UiSpot { id: None, ..spot }, None),
            (
                UiPage::Service,
                spot,
                Some("https://ui/a%20b/service-directory/%C3%A9/deployments"),
            ),
            (
                UiPage::Explorer,
                spot,
                Some("https://ui/a%20b/explorer?start_micros=1000&end_micros=2000"),
            ),
            (
                UiPage::Explorer,
                UiSpot {
                    window: None,
                    ..spot
                },
                None,
            ),
        ] {
            assert_eq!(ui.link(page, &spot).as_deref(), expected, "{page:?}");
        }
        assert_eq!(
            Ui::new(&profile, &UiBase::Off).link(UiPage::Stream, &spot),
            None
        );
        let own = Ui::new(&profile, &UiBase::Profile).link(UiPage::Dashboards, &spot);
        assert_eq!(
            own.as_deref(),
            Some("https://app.lightstep.com/a%20b/dashboards")
        );
    }

    #[test]
    fn a_window_is_as_long_with_a_time_as_without_one() {
        let ui = Ui::new(&Profile::lightstep(), &UiBase::Profile);
        let half_hour = 30 * 60_000;
        for (at, now, expected) in [
            (Some(half_hour), 7, (0, 2 * half_hour)),
            (None, 2 * half_hour, (0, 2 * half_hour)),
            (Some(i64::MAX), 7, (i64::MAX - half_hour, i64::MAX)),
            (Some(i64::MIN), 7, (i64::MIN, i64::MIN + half_hour)),
            (None, i64::MIN, (i64::MIN, i64::MIN)),
        ] {
            assert_eq!(ui.window(at, now), expected, "{at:?} {now}");
        }
    }

    #[test]
    fn every_row_asks_operations_of_projects() {
        let profile = Profile::lightstep();
        assert!(profile.tree().len() >= 15);
        for resource in profile.tree() {
            for source in &resource.sources {
                let operation = profile.operation(source.operation);
                assert_eq!(
                    (operation.scope, &operation.method),
                    (Scope::Project, &resource.method)
                );
                assert!(operation.permission.ends_with(".read"), "{}", resource.name);
            }
        }
    }
}
