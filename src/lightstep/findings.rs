//! What a report says of itself.
//!
//! What it does: gathers tokens, service names and counts while a format's file walks a body. What it
//! refuses to know: formats. Invariants: only the first token and the first few names are kept, the others are
//! compared, so that memory does not grow with their number; a kept token is wiped when dropped and shown
//! by no `Debug`.

use zeroize::Zeroizing;

use crate::otlp::RESERVED;

/// Names of tags whose value is a token: Zipkin's and Datadog's way, and Jaeger's.
pub(crate) const CARRIERS: [&str; 2] = ["lightstep.access_token", "access_token"];

/// The tag that names the service.
pub(crate) const COMPONENT_NAME: &str = "lightstep.component_name";

/// How many different services the items of one report may name.
const SERVICES_LIMIT: usize = 64;

/// The token in a report's body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    None,
    One(&'a [u8]),
    /// Two different ones.
    Conflict,
}

/// The service that a report is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service<'a> {
    Absent,
    Name(&'a str),
    /// Items, or the sender and its items, name these services, each once.
    Several(&'a [String]),
    /// Different names of one thing, one in a form that two readers may read differently, or more names than are
    /// looked at.
    Ambiguous,
}

#[derive(Default)]
pub(super) struct Findings {
    token: Option<Zeroizing<Vec<u8>>>,
    token_conflict: bool,
    /// Of the sender.
    sender: Option<String>,
    /// All different names, the sender's among them; none is empty.
    services: Vec<String>,
    service_ambiguous: bool,
    /// Spans, points or log lines.
    pub items: u64,
    /// Resources in Firehose's exports.
    pub groups: u64,
    /// The most attributes that one of them has.
    pub(crate) most_attributes: usize,
    /// Reserved tags that will be removed.
    pub forged: u64,
    /// Firehose's `requestId`.
    pub request_id: Option<String>,
}

impl Findings {
    /// A token was found. An empty one is none.
    pub(crate) fn note_token(&mut self, token: &[u8]) {
        match &self.token {
            _ if token.is_empty() => {}
            None => self.token = Some(Zeroizing::new(token.to_vec())),
            Some(known) => self.token_conflict |= known.as_slice() != token,
        }
    }

    /// The sender's name was found, in one of the places where it may stand. An empty one is a name, too: some reader
    /// may take it, and another the one beside it.
    pub(crate) fn note_service(&mut self, name: &str) {
        match &self.sender {
            None => {
                self.sender = Some(name.to_owned());
                self.note_item_service(name);
            }
            Some(known) => self.service_ambiguous |= known != name,
        }
    }

    /// The names that one item gives its service.
    pub(crate) fn note_names(&mut self, names: &Names) {
        match names {
            Names::None => {}
            Names::One(name) => self.note_item_service(name),
            Names::Unclear => self.note_unclear_service(),
        }
    }

    /// The name of one item's service was found. An empty one is none.
    pub(crate) fn note_item_service(&mut self, name: &str) {
        if name.is_empty() || self.services.iter().any(|known| known == name) {
            return;
        }
        if self.services.len() < SERVICES_LIMIT {
            self.services.push(name.to_owned());
        } else {
            self.service_ambiguous = true;
        }
    }

    /// A name was found that is not a string, or not surely one.
    pub(crate) fn note_unclear_service(&mut self) {
        self.service_ambiguous = true;
    }

    pub(crate) fn token(&self) -> Token<'_> {
        match &self.token {
            None => Token::None,
            Some(_) if self.token_conflict => Token::Conflict,
            Some(token) => Token::One(token),
        }
    }

    pub(crate) fn service(&self) -> Service<'_> {
        match self.services.as_slice() {
            _ if self.service_ambiguous => Service::Ambiguous,
            [] => Service::Absent,
            [name] => Service::Name(name),
            names => Service::Several(names),
        }
    }
}

/// The names that one thing gives its service, wherever they may stand in it. Readers differ in where they look first,
/// and in whether an empty name counts: names that do not agree settle nothing, as in OTLP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Names {
    #[default]
    None,
    One(String),
    /// Two that differ, or one that is no text.
    Unclear,
}

impl Names {
    /// One more was found; `None` is one that is no text.
    pub(crate) fn add(&mut self, name: Option<&str>) {
        *self = match (std::mem::take(self), name) {
            (Names::None, Some(name)) => Names::One(name.to_owned()),
            (Names::One(known), Some(name)) if known == name => Names::One(known),
            _ => Names::Unclear,
        };
    }
}

/// What is done with a tag of this name; the later ones outweigh the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TagKind {
    Plain,
    /// Names the service.
    ComponentName,
    /// Only we write such; it never goes out.
    Reserved,
    /// Its value is a token; it never goes out.
    Carrier,
}

impl TagKind {
    pub(crate) fn of(name: &[u8]) -> TagKind {
        if CARRIERS.iter().any(|carrier| carrier.as_bytes() == name) {
            TagKind::Carrier
        } else if name.starts_with(RESERVED.as_bytes()) {
            TagKind::Reserved
        } else if name == COMPONENT_NAME.as_bytes() {
            TagKind::ComponentName
        } else {
            TagKind::Plain
        }
    }
}
