//! What each project received of an export that the gateway read, and who it says sent it.
//!
//! What it does: compares what the emulator decoded with what the story says, resource by resource, and the
//! stamps in it with the call's record. What it refuses to know: how the gateway takes an export apart.
//! Invariants: every resource carries each stamp once, with the verified sender's value, and nothing else of
//! the gateway's namespace at any level; the only access token in it is the project's own.

use serde_json::Value;

use super::narrator::{Lent, Narrator, Step, credential_headers, text, whose};
use testkit::emulator::{Captured, Export, ExportedResource, Level};
use testkit::formats::Carrier;

/// The namespace that only the gateway may write.
const RESERVED: &str = "lightkeeper.";
const APP: &str = "lightkeeper.app";

/// What one project must receive.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub project: &'static str,
    pub resources: Vec<Expected>,
}

/// One resource: a service, its items, and the app that it is stamped with.
#[derive(Clone, Debug)]
pub struct Expected {
    service: &'static str,
    items: u64,
    app: &'static str,
}

impl Delivery {
    pub fn to(project: &'static str) -> Self {
        Delivery {
            project,
            resources: Vec::new(),
        }
    }

    pub fn of(mut self, service: &'static str, items: u64, app: &'static str) -> Self {
        self.resources.push(Expected {
            service,
            items,
            app,
        });
        self
    }
}

impl Narrator<'_> {
    /// Prints what each project received and compares it.
    pub fn delivered(
        &mut self,
        step: &Step,
        requests: &[Captured],
        exports: &[Export],
        record: &Value,
    ) {
        let deliveries = &step.expected.deliveries;
        if requests.len() != deliveries.len() || exports.len() != deliveries.len() {
            let (requests, exports) = (requests.len(), exports.len());
            let wanted = deliveries.len();
            self.differs(format!(
                "the backend received {requests} requests and took {exports}, not {wanted}"
            ));
        }
        for delivery in deliveries {
            let of = |project: &Option<String>| project.as_deref() == Some(delivery.project);
            let request = requests.iter().find(|request| of(&request.project));
            let export = exports
                .iter()
                .find(|export| export.project == delivery.project);
            let (Some(request), Some(export)) = (request, export) else {
                self.differs(format!("{} received nothing", delivery.project));
                continue;
            };
            let what = export.resources.iter().map(|resource| {
                let service = resource.service.as_deref().unwrap_or("(no service)");
                format!("{service} ({})", resource.items)
            });
            let what = what.collect::<Vec<_>>().join(", ");
            let Captured { method, path, .. } = request;
            self.line(
                "backend",
                &format!("received {method} {path} for {}: {what}", delivery.project),
            );
            self.lent(delivery, request, export);
            match step
                .shown
                .iter()
                .any(|secret| request.contains(secret.as_bytes()))
            {
                true => self.differs("the caller's own credential went upstream".to_owned()),
                false if step.shown.is_empty() => {}
                false => self.line("", "the caller's own credential: absent from head and body"),
            }
            self.stamped(delivery, export, record);
        }
        let by: Vec<String> = stamps(record)
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        self.line("stamped", &format!("all with {}", by.join(", ")));
    }

    /// The project's token, in the head and wherever else the format puts it; the emulator takes no other.
    fn lent(&mut self, delivery: &Delivery, request: &Captured, export: &Export) {
        let mut lent = 0;
        let mut others = 0;
        for (name, value) in credential_headers(request) {
            let (told, whose) = whose(&value);
            self.line("", &format!("{name}: {told}"));
            match whose == Some(Lent::AccessToken(delivery.project)) {
                true => lent += 1,
                false => others += 1,
            }
        }
        if lent != 1 || others != 0 {
            self.differs(format!(
                "{} should have got its own access token and nothing else",
                delivery.project
            ));
        }
        if export
            .legacy
            .as_ref()
            .is_some_and(|legacy| legacy.carriers.contains(&Carrier::Body))
        {
            self.line(
                "",
                &format!(
                    "the report's own `access_token`: {}'s as well",
                    delivery.project
                ),
            );
        }
    }

    fn stamped(&mut self, delivery: &Delivery, export: &Export, record: &Value) {
        let found: Vec<(Option<&str>, u64)> = export
            .resources
            .iter()
            .map(|resource| (resource.service.as_deref(), resource.items))
            .collect();
        let wanted: Vec<(Option<&str>, u64)> = delivery
            .resources
            .iter()
            .map(|expected| (Some(expected.service), expected.items))
            .collect();
        if found != wanted {
            self.differs(format!(
                "{} received {found:?}, not {wanted:?}",
                delivery.project
            ));
        }
        for (resource, expected) in export.resources.iter().zip(&delivery.resources) {
            self.line(
                "stamped",
                &format!("{}: {APP}={}", expected.service, expected.app),
            );
            let stamps = stamps(record);
            for (name, value) in stamps
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .chain([(APP, expected.app)])
            {
                let values = resource.values(name);
                if values != [value] {
                    self.differs(format!(
                        "`{name}` of {} is {values:?}, not once `{value}`",
                        expected.service
                    ));
                }
            }
            if reserved(resource) != stamps.len() + 1 {
                self.differs(format!(
                    "{} carries other attributes of `{RESERVED}*`",
                    expected.service
                ));
            }
        }
        let inside = export
            .named(RESERVED)
            .into_iter()
            .filter(|(level, _)| *level != Level::Resource);
        let inside: Vec<_> = inside.collect();
        if !inside.is_empty() {
            self.differs(format!("below the resource stand {inside:?}"));
        }
    }
}

/// Who sent it, as the gateway's record has it.
fn stamps(record: &Value) -> [(&'static str, String); 3] {
    let absent = Value::Null;
    let who = record.get("identity").unwrap_or(&absent);
    [
        ("lightkeeper.identity", text(who, "subject").to_owned()),
        (
            "lightkeeper.identity.issuer",
            text(who, "issuer").to_owned(),
        ),
        (
            "lightkeeper.identity.method",
            text(who, "method").to_owned(),
        ),
    ]
}

fn reserved(resource: &ExportedResource) -> usize {
    resource
        .attributes
        .iter()
        .filter(|(name, _)| name.starts_with(RESERVED))
        .count()
}
