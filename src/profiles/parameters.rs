//! What differs from one customer of a backend to another: `{site}` in addresses, paths and headers.
//!
//! What it does: reads a profile's `parameters`, holds that each has a use, and fills in what the configuration says in `with`.
//! What it refuses to know: where the values come from. Invariants: a profile that is served has no place left open; a value
//! cannot change which domain, which segment of a path or which header it stands in: what a profile does not list is one label
//! of a host, or a piece of one, with text of the profile's behind it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fault::{PlacedFault, ProfileFault};
use super::raw::RawParameter;
use super::{Addresses, Profile};
use crate::document::{Entries, Spanned};

/// Names that templates have already.
const TAKEN: [&str; 6] = ["token", "project", "app", "signal", "b64", "minor"];
/// Longer than any region, tenant or data set.
const VALUE_BYTES: usize = 253;
/// Of a label of a host name (RFC 1035 section 2.3.4).
const LABEL_BYTES: usize = 63;

/// One that the configuration may or must give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileParameter {
    pub name: String,
    /// For people; may be empty.
    pub about: String,
    pub default: Option<String>,
    /// All that it may be; none: anything that can stand where it is used.
    pub values: Vec<String>,
    used: Used,
    /// Whether it may be nothing but its `values`.
    is_listed: bool,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Used {
    in_address: bool,
    in_host: bool,
    in_path: bool,
    in_header: bool,
}

/// Why values do not fill a profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterFault {
    #[error("profile `{profile}` has no parameter `{name}`")]
    Unknown { profile: String, name: String },
    #[error("profile `{profile}` needs its parameter `{name}`")]
    Missing {
        profile: String,
        name: String,
        about: String,
        values: Vec<String>,
    },
    #[error("parameter `{name}` cannot be this: {why}")]
    Value {
        name: String,
        why: &'static str,
        values: Vec<String>,
    },
}

impl ParameterFault {
    /// Which parameter.
    pub fn name(&self) -> &str {
        match self {
            ParameterFault::Unknown { name, .. }
            | ParameterFault::Missing { name, .. }
            | ParameterFault::Value { name, .. } => name,
        }
    }

    /// Whether it speaks of a value that is given; if not, of one that is not.
    pub fn is_of_a_value(&self) -> bool {
        !matches!(self, ParameterFault::Missing { .. })
    }

    /// What to write instead.
    pub fn hint(&self) -> String {
        let one_of = |values: &[String]| {
            let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
            values.join(", ")
        };
        match self {
            ParameterFault::Unknown { .. } => "remove it".to_owned(),
            ParameterFault::Missing {
                name,
                about,
                values,
                ..
            } => {
                let example = values.first().map_or("…", String::as_str);
                let mut hint = format!("add `with: {{ {name}: {example} }}`");
                if !about.is_empty() {
                    hint.push_str(&format!(", {about}"));
                }
                if values.len() > 1 {
                    hint.push_str(&format!("; one of {}", one_of(values)));
                }
                hint
            }
            ParameterFault::Value { values, .. } if values.is_empty() => {
                "write what the backend calls it, without the rest of the address".to_owned()
            }
            ParameterFault::Value { values, .. } => format!("one of {}", one_of(values)),
        }
    }
}

impl Profile {
    /// What the configuration may or must say in `with`.
    pub fn parameters(&self) -> &[ProfileParameter] {
        &self.parameters
    }

    /// The profile with these values in its parameters' places, and defaults where none is given.
    pub fn filled(
        self: &Arc<Self>,
        given: &[(&str, &str)],
    ) -> Result<Arc<Profile>, Vec<ParameterFault>> {
        let mut faults: Vec<ParameterFault> = Vec::new();
        let is_known = |name: &str| self.parameters.iter().any(|known| known.name == name);
        for (name, _) in given.iter().filter(|(name, _)| !is_known(name)) {
            faults.push(ParameterFault::Unknown {
                profile: self.name.clone(),
                name: (*name).to_owned(),
            });
        }
        let mut values: Vec<(&str, &str)> = Vec::with_capacity(self.parameters.len());
        for parameter in &self.parameters {
            let own = given.iter().find(|(name, _)| *name == parameter.name);
            let own = own.map(|(_, value)| *value);
            let Some(value) = own.or(parameter.default.as_deref()) else {
                faults.push(ParameterFault::Missing {
                    profile: self.name.clone(),
                    name: parameter.name.clone(),
                    about: parameter.about.clone(),
                    values: parameter.values.clone(),
                });
                continue;
            };
            match parameter.refuses(value) {
                Some(why) => faults.push(ParameterFault::Value {
                    name: parameter.name.clone(),
                    why,
                    values: parameter.values.clone(),
                }),
                None => values.push((&parameter.name, value)),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        if values.is_empty() {
            return Ok(self.clone());
        }
        let value = |name: &str| {
            let mut known = values.iter().filter(|(known, _)| *known == name);
            known.next().map(|(_, value)| *value)
        };
        let mut profile = (**self).clone();
        for address in profile.addresses.each() {
            for (name, value) in &values {
                *address = address.replace(&format!("{{{name}}}"), value);
            }
        }
        for form in &mut profile.exports {
            form.fill(&value);
        }
        Ok(Arc::new(profile))
    }
}

impl ProfileParameter {
    /// Why this is none of its values.
    fn refuses(&self, value: &str) -> Option<&'static str> {
        let is_one = !self.is_listed || self.values.iter().any(|known| known == value);
        let unlisted = (!is_one).then_some("it is another word");
        self.misfits(value).or(unlisted)
    }

    /// Why this value cannot stand where the parameter is used.
    fn misfits(&self, value: &str) -> Option<&'static str> {
        let printable = |byte: u8| (b' '..=b'~').contains(&byte);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if value.is_empty() || value.len() > VALUE_BYTES {
            return Some("it has 1 to 253 characters");
        }
        if !value.bytes().all(printable) || value.trim() != value {
            return Some("it is not printable ASCII, or begins or ends with a space");
        }
        let has_edge = value.starts_with(['.', '-']) || value.ends_with(['.', '-']);
        if self.used.in_address && (!value.bytes().all(plain) || has_edge || value.contains("..")) {
            return Some("a host name cannot have it");
        }
        // Values that are listed are the profile's own words.
        let is_label = value.len() <= LABEL_BYTES && !value.contains('.');
        if self.used.in_host && !self.is_listed && !is_label {
            return Some("one label of a host name cannot have it");
        }
        if self.used.in_path && (value.contains(['/', '\\']) || matches!(value, "." | "..")) {
            return Some("a segment of a path cannot have it");
        }
        None
    }
}

impl Addresses {
    /// Where exports go if the configuration does not say; `None`: the address is a mere hint, or has places left open.
    pub fn usual_ingest(&self) -> Option<&str> {
        usual(&self.ingest)
    }

    /// Whether where exports go is for the configuration to say: the profile's own address stands for any.
    pub fn is_hint(&self) -> bool {
        is_example(host(&self.ingest))
    }

    /// Where gRPC goes, if elsewhere than `ingest`.
    pub fn usual_grpc(&self) -> Option<&str> {
        usual(&self.grpc)
    }

    fn each(&mut self) -> [&mut String; 3] {
        [&mut self.ingest, &mut self.grpc, &mut self.query]
    }
}

fn usual(address: &str) -> Option<&str> {
    let host = host(address);
    (!is_example(host) && !host.is_empty() && !address.contains('{')).then_some(address)
}

/// Whether a host is reserved for documentation (RFC 2606 section 2).
fn is_example(host: &str) -> bool {
    host == "example" || host.ends_with(".example")
}

/// The parameters' names, by which templates are read.
pub(super) fn names(raw: &Entries<RawParameter>) -> BTreeSet<String> {
    raw.0.iter().map(|(name, _)| name.value.clone()).collect()
}

/// An address with parameters in braces.
pub(super) fn address(
    at: Spanned<String>,
    parameters: &Entries<RawParameter>,
) -> Result<String, PlacedFault> {
    let mut text = at.value.clone();
    for name in names(parameters) {
        text = text.replace(&format!("{{{name}}}"), "p");
    }
    let rest = ["https://", "http://"]
        .into_iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]".contains(&byte);
    let is_sound = rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with(['/', ':']) && rest.bytes().all(plain)
    });
    if !is_sound {
        return Err(ProfileFault::Address(at.value.clone()).at(&at));
    }
    for (name, raw) in &parameters.0 {
        if let Some(fault) = of_host(&at.value, &name.value, !raw.values.is_empty()) {
            return Err(fault.at(&at));
        }
    }
    Ok(at.value)
}

/// The host of an address.
fn host(address: &str) -> &str {
    let (_, rest) = address.split_once("://").unwrap_or(("", address));
    let host = rest.split(['/', ':']).next().unwrap_or(rest);
    host.trim_end_matches('.')
}

/// What lets a parameter choose the domain of a host: it stands directly behind it (`a.io{x}`), or ends it and may be anything.
fn of_host(address: &str, name: &str, is_listed: bool) -> Option<ProfileFault> {
    let before = host(address).strip_suffix(&format!("{{{name}}}"))?;
    if !(before.is_empty() || before.ends_with('.')) {
        return Some(ProfileFault::BehindHost(name.to_owned()));
    }
    (!is_listed).then(|| ProfileFault::HostOpen(name.to_owned()))
}

/// Takes the parameters into the profile, whose addresses and exports are there already.
pub(super) fn read(
    profile: &mut Profile,
    raw: Entries<RawParameter>,
    found: &mut Vec<PlacedFault>,
) {
    for (at, raw) in raw {
        let name = at.value.clone();
        let first = name
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_lowercase());
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if !first || !name.bytes().all(known) || name.len() > 32 || TAKEN.contains(&name.as_str()) {
            found.push(ProfileFault::ParameterName(name).at(&at));
            continue;
        }
        let hole = format!("{{{name}}}");
        let addresses = profile.addresses.each();
        let used = Used {
            in_address: addresses.iter().any(|one| one.contains(&hole)),
            in_host: addresses.iter().any(|one| host(one).contains(&hole)),
            in_path: profile.exports.iter().any(|form| form.path_holds(&name)),
            in_header: profile.exports.iter().any(|form| form.header_holds(&name)),
        };
        if used == Used::default() {
            found.push(ProfileFault::ParameterUnused(name).at(&at));
            continue;
        }
        let mut parameter = ProfileParameter {
            name,
            about: raw.about.unwrap_or_default(),
            default: None,
            values: Vec::new(),
            used,
            is_listed: !raw.values.is_empty(),
        };
        for value in raw.values {
            match parameter.misfits(&value.value) {
                Some(why) => found.push(ProfileFault::ParameterValue(why).at(&value)),
                None => parameter.values.push(value.value),
            }
        }
        if let Some(value) = raw.default {
            match parameter.refuses(&value.value) {
                Some(why) => found.push(ProfileFault::ParameterValue(why).at(&value)),
                None => parameter.default = Some(value.value),
            }
        }
        profile.parameters.push(parameter);
    }
}
