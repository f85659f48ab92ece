//! The emulated organization: its projects and what is in them.
//!
//! What it does: keeps objects in memory, by project and collection, and starts with a small sample.
//! What it refuses to know: paths, permissions, links. Invariants: ids are counted, so that a test can
//! name them; a collection is bounded.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The projects at the start.
pub const PROJECTS: [&str; 4] = [
    "shop-prod",
    "checkout-prod",
    "payments-prod",
    "platform-prod",
];
/// Objects in one collection, projects, users.
const OBJECTS: usize = 1000;

/// A kind of object: the word in paths and the `type` member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Collection {
    pub path: &'static str,
    pub kind: &'static str,
}

macro_rules! collections {
    ($($name:ident $path:literal $kind:literal),* $(,)?) => {
        $(pub const $name: Collection = Collection { path: $path, kind: $kind };)*
    };
}

collections! {
    STREAMS "streams" "stream",
    CONDITIONS "conditions" "condition",
    ALERTING_RULES "alerting_rules" "alerting_rule",
    DASHBOARDS "dashboards" "dashboard",
    METRIC_DASHBOARDS "metric_dashboards" "metric_dashboard",
    METRIC_ALERTS "metric_alerts" "metric_alert",
    DESTINATIONS "destinations" "destination",
    SNOOZE_RULES "snooze_rules" "snooze_rule",
    EVENT_QUERIES "event_queries" "event_query",
    INFERRED_SERVICE_RULES "inferred_service_rules" "inferred_service_rule",
    SNAPSHOTS "snapshots" "snapshot",
    WF_LINKS "wf_links" "workflow_link",
    NOTEBOOKS "notebooks" "notebook",
}

/// All that the organization has.
#[derive(Default)]
pub(super) struct Organization {
    pub projects: BTreeMap<String, Project>,
    pub users: Vec<Value>,
    /// By role and project (empty: the organization).
    pub role_bindings: BTreeMap<(String, String), Vec<Value>>,
    pub saml_mappings: Vec<Value>,
    created: u64,
}

/// One project.
#[derive(Default)]
pub(super) struct Project {
    pub services: Vec<String>,
    collections: BTreeMap<Collection, Vec<Value>>,
    /// Snapshots whose diagram was asked for once: the second answer has it.
    pub diagrams: Vec<String>,
}

impl Organization {
    /// Four projects and `more`, each with a few objects of most kinds.
    pub fn sample(more: &[String]) -> Self {
        let mut organization = Organization::default();
        for project in PROJECTS.into_iter().chain(more.iter().map(String::as_str)) {
            organization
                .projects
                .insert(project.to_owned(), Project::default());
            organization.furnish(project);
        }
        organization
            .users
            .push(json!({ "userName": "sam@acme.example" }));
        let admins = vec![json!("sam@acme.example")];
        organization
            .role_bindings
            .insert(("Organization Admin".to_owned(), String::new()), admins);
        organization.saml_mappings.push(json!({
            "saml-attribute-key": "groups", "saml-attribute-value": "sre",
            "organization-role": "Organization Editor", "project-roles": {},
        }));
        organization
    }

    fn furnish(&mut self, name: &str) {
        let services: &[&str] = match name {
            "shop-prod" => &["frontend", "cart"],
            "checkout-prod" => &["checkout", "checkout-worker"],
            "payments-prod" => &["payments", "ledger-core"],
            "platform-prod" => &["ingress", "dns"],
            other => &[other],
        };
        if let Some(project) = self.projects.get_mut(name) {
            project.services = services
                .iter()
                .map(|service| (*service).to_owned())
                .collect();
        }
        let short = name.trim_end_matches("-prod");
        // Ids are counted over the whole organization, in this order: `stream-1` is the shop's.
        let mut add = |collection, attributes: Value, relationships: Value| {
            let object = json!({ "attributes": attributes, "relationships": relationships });
            self.create(name, collection, object)
                .and_then(|object| Some(object.get("id")?.as_str()?.to_owned()))
        };
        let mut stream = None;
        for service in services {
            let query = format!("service IN (\"{service}\")");
            stream = add(
                STREAMS,
                json!({ "name": format!("{service} traffic"), "query": query, "custom_data": {} }),
                json!({}),
            );
        }
        let stream = json!({ "stream": { "data": { "type": "stream", "id": stream } } });
        let expression = "err > 5%";
        let attributes =
            json!({ "name": "errors", "expression": expression, "eval-window-ms": 300_000 });
        let condition = add(CONDITIONS, attributes, stream);
        let hook = format!("https://hooks.acme.example/{short}");
        let secret = format!("Bearer webhook-secret-of-{name}");
        let attributes = json!({
            "name": "incident hook", "destination_type": "webhook", "url": hook,
            "template": "", "custom_headers": { "Authorization": secret },
        });
        let destination = add(DESTINATIONS, attributes, json!({}));
        let key = format!("pagerduty-key-of-{name}");
        add(
            DESTINATIONS,
            json!({ "name": "on call", "destination_type": "pagerduty", "integration_key": key }),
            json!({}),
        );
        let ends = json!({
            "condition": { "data": { "type": "condition", "id": condition } },
            "destination": { "data": { "type": "destination", "id": destination } },
        });
        add(
            ALERTING_RULES,
            json!({ "update-interval-ms": 60_000 }),
            ends,
        );
        add(
            DASHBOARDS,
            json!({ "name": format!("{short} streams"), "streams": [] }),
            json!({}),
        );
        let attributes = json!({ "name": format!("{short} overview"), "description": "", "groups": [], "charts": [] });
        add(METRIC_DASHBOARDS, attributes, json!({}));
        let attributes = json!({
            "name": format!("{short} latency"), "condition_type": "metric",
            "expression": { "operand": "above", "thresholds": { "critical": 5 } }, "metric-queries": [],
        });
        add(METRIC_ALERTS, attributes, json!({}));
        add(
            SNOOZE_RULES,
            json!({ "title": "maintenance", "scope": {}, "schedule": {} }),
            json!({}),
        );
        add(
            EVENT_QUERIES,
            json!({ "name": "deploys", "query_string": "deploy", "type": "deploy" }),
            json!({}),
        );
        let rule =
            json!({ "name": "databases", "attribute-filters": [], "group-by-keys": ["db.name"] });
        add(INFERRED_SERVICE_RULES, rule, json!({}));
        let query = json!({ "query": format!("service in (\"{short}\")") });
        add(SNAPSHOTS, query, json!({}));
        add(
            WF_LINKS,
            json!({ "name": "runbook", "url": format!("https://wiki.acme.example/{short}") }),
            json!({}),
        );
    }

    /// Adds an object with a new id; `None` when the project is unknown or the collection full.
    pub fn create(
        &mut self,
        project: &str,
        collection: Collection,
        mut object: Value,
    ) -> Option<Value> {
        let objects = self
            .projects
            .get_mut(project)?
            .collections
            .entry(collection)
            .or_default();
        if objects.len() >= OBJECTS {
            return None;
        }
        self.created += 1;
        let members = object.as_object_mut()?;
        members.insert(
            "id".into(),
            format!("{}-{}", collection.kind, self.created).into(),
        );
        members
            .entry("type")
            .or_insert_with(|| collection.kind.into());
        objects.push(object.clone());
        Some(object)
    }

    pub fn add_project(&mut self, name: &str) -> bool {
        let room = self.projects.len() < OBJECTS && !self.projects.contains_key(name);
        if room {
            self.projects.insert(name.to_owned(), Project::default());
        }
        room
    }

    pub fn add_user(&mut self, user: Value) -> bool {
        let name = |user: &Value| {
            user.get("userName")
                .or(user.pointer("/data/attributes/email"))
                .cloned()
        };
        let room = self.users.len() < OBJECTS
            && !self.users.iter().any(|known| name(known) == name(&user));
        if room {
            self.users.push(user);
        }
        room
    }
}

impl Project {
    pub fn list(&self, collection: Collection) -> &[Value] {
        self.collections
            .get(&collection)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    pub fn object(&self, collection: Collection, id: &str) -> Option<&Value> {
        self.list(collection)
            .iter()
            .find(|object| object.get("id").is_some_and(|known| known == id))
    }

    pub fn object_mut(&mut self, collection: Collection, id: &str) -> Option<&mut Value> {
        let objects = self.collections.get_mut(&collection)?;
        objects
            .iter_mut()
            .find(|object| object.get("id").is_some_and(|known| known == id))
    }

    /// Whether there was such an object.
    pub fn delete(&mut self, collection: Collection, id: &str) -> bool {
        let Some(objects) = self.collections.get_mut(&collection) else {
            return false;
        };
        let before = objects.len();
        objects.retain(|object| object.get("id").is_none_or(|known| known != id));
        objects.len() < before
    }
}
