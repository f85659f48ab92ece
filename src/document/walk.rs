//! The walk of a tree beside its schema, which finds all structural mistakes at once.
//!
//! What it does: unknown, duplicate and missing keys, wrong kinds, unknown words, numbers out of bounds,
//! lists that are too short. What it refuses to know: what any key means, except whether a secret may
//! stand beneath it. Invariants: a scalar's text is repeated only where a closed list of words was
//! expected, and nothing at all is repeated beneath a key that may hold a secret; the number of findings
//! is bounded.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::path::Path;

use super::diagnostic::{Diagnostic, name, names};
use super::shape::{Definitions, Kind, Shape};
use super::suggest::nearest;
use super::tree::{Entry, Node, Place, Value};

/// The most findings that are reported of one file; a reader mends the first ones and asks again.
pub(crate) const FINDING_LIMIT: usize = 100;

/// The most known keys or words that a hint lists.
const LISTED_LIMIT: usize = 24;

/// Finds every structural mistake of `tree`, in the file's order.
pub(crate) fn check(file: &Path, tree: &Node, schema: &serde_json::Value) -> Vec<Diagnostic> {
    let mut walk = SchemaCheck {
        file,
        definitions: Definitions::of(schema),
        found: Vec::new(),
    };
    walk.node(tree, schema, &NodePath::Root);
    let mut found = walk.found;
    found.sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
    if found.len() > FINDING_LIMIT {
        let more = found.len() - FINDING_LIMIT;
        found.truncate(FINDING_LIMIT);
        found.push(Diagnostic::error(
            file,
            0,
            0,
            format!("{more} more mistakes are not shown"),
        ));
    }
    found
}

/// The way from the root to a node.
enum NodePath<'a> {
    Root,
    /// `known`: the key is one that the schema names, and so no secret.
    Key {
        parent: &'a NodePath<'a>,
        key: &'a str,
        known: bool,
    },
    Index(&'a NodePath<'a>, usize),
}

impl NodePath<'_> {
    /// Whether a secret may stand at this place or beneath it.
    fn is_secret(&self) -> bool {
        match self {
            NodePath::Root => false,
            NodePath::Index(parent, _) => parent.is_secret(),
            NodePath::Key { parent, key, .. } => parent.is_secret() || names_a_secret(key),
        }
    }

    /// ` in …`, or nothing at the root.
    fn inside(&self) -> String {
        match self {
            NodePath::Root => String::new(),
            _ => format!(" in {}", name(&self.to_string())),
        }
    }

    /// What a message calls this place.
    fn subject(&self) -> String {
        match self {
            NodePath::Root => "the file".to_owned(),
            _ => name(&self.to_string()),
        }
    }
}

impl Display for NodePath<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            NodePath::Root => Ok(()),
            NodePath::Key {
                parent: NodePath::Root,
                key,
                ..
            } => formatter.write_str(key),
            NodePath::Key { parent, key, known } => {
                write!(
                    formatter,
                    "{parent}.{}",
                    if *known || !parent.is_secret() {
                        key
                    } else {
                        "…"
                    }
                )
            }
            NodePath::Index(parent, index) => write!(formatter, "{parent}[{index}]"),
        }
    }
}

/// Keys beneath which a secret may stand, or be pasted by mistake.
fn names_a_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    [
        "token",
        "secret",
        "password",
        "passphrase",
        "credential",
        "bearer",
        "authorization",
    ]
    .iter()
    .any(|word| key.contains(word))
        || key == "key"
        || key == "keys"
        || key.ends_with("_key")
        || key.ends_with("_keys")
        || key.ends_with("-key")
        || key.ends_with("apikey")
}

struct SchemaCheck<'a> {
    file: &'a Path,
    definitions: Definitions<'a>,
    found: Vec<Diagnostic>,
}

impl<'a> SchemaCheck<'a> {
    fn report(&mut self, place: Place, message: String, hint: Option<String>) {
        let mut diagnostic = Diagnostic::error(self.file, place.line, place.column, message);
        diagnostic.hint = hint;
        self.found.push(diagnostic);
    }

    /// Runs a part of the walk aside and hands back what it found.
    fn aside(&mut self, part: impl FnOnce(&mut Self)) -> Vec<Diagnostic> {
        let before = std::mem::take(&mut self.found);
        part(self);
        std::mem::replace(&mut self.found, before)
    }

    fn node(&mut self, node: &Node, schema: &'a serde_json::Value, trail: &NodePath<'_>) {
        if matches!(node.value, Value::Broken) {
            return;
        }
        let shapes = self.definitions.alternatives(schema);
        if shapes.is_empty() {
            return self.anything(node, trail);
        }
        let fitting: Vec<Shape<'a>> = shapes
            .iter()
            .copied()
            .filter(|shape| shape.kinds().iter().any(|kind| fits(&node.value, *kind)))
            .collect();
        if fitting.is_empty() {
            return self.wrong_kind(node, &shapes, trail);
        }
        match &node.value {
            Value::Null | Value::Broken => {}
            Value::Scalar { text, .. } => self.scalar(node.place, text, &fitting, trail),
            Value::List(items) => self.fewest(&fitting, |walk, shape| {
                walk.list(node.place, items, shape, trail)
            }),
            Value::Mapping(entries) => {
                let tags: Option<Vec<&str>> = fitting.iter().map(|shape| shape.tag()).collect();
                match tags {
                    Some(tags) if fitting.len() > 1 => {
                        self.tagged(node.place, entries, &fitting, &tags, trail)
                    }
                    _ => self.fewest(&fitting, |walk, shape| {
                        walk.mapping(node.place, entries, shape, trail)
                    }),
                }
            }
        }
    }

    /// Checks against the alternative that finds least fault.
    fn fewest(&mut self, shapes: &[Shape<'a>], check: impl Fn(&mut Self, Shape<'a>)) {
        let best = shapes
            .iter()
            .map(|shape| self.aside(|walk| check(walk, *shape)))
            .min_by_key(Vec::len);
        self.found.extend(best.unwrap_or_default());
    }

    fn wrong_kind(&mut self, node: &Node, shapes: &[Shape<'a>], trail: &NodePath<'_>) {
        let mut kinds: Vec<Kind> = shapes.iter().flat_map(|shape| shape.kinds()).collect();
        kinds.retain(|kind| *kind != Kind::Null);
        kinds.sort_unstable();
        kinds.dedup();
        let expected: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        let words: Vec<&str> = shapes
            .iter()
            .filter_map(|shape| shape.words())
            .flatten()
            .collect();
        let hint = shapes
            .iter()
            .find_map(|shape| shape.hint)
            .map(str::to_owned);
        let hint = hint.or_else(|| {
            (!words.is_empty())
                .then(|| format!("one of {}", names(words.iter().copied().take(LISTED_LIMIT))))
        });
        let message = format!(
            "{} must be {}, but is {}",
            trail.subject(),
            expected.join(" or "),
            found(&node.value)
        );
        self.report(node.place, message, hint);
    }

    fn scalar(&mut self, place: Place, text: &str, shapes: &[Shape<'a>], trail: &NodePath<'_>) {
        let words: Vec<&str> = shapes
            .iter()
            .filter_map(|shape| shape.words())
            .flatten()
            .collect();
        if words.contains(&text) {
            return;
        }
        let free: Vec<Shape<'a>> = shapes
            .iter()
            .copied()
            .filter(|shape| shape.words().is_none())
            .collect();
        if !free.is_empty() {
            return self.fewest(&free, |walk, shape| {
                walk.free_scalar(place, text, shape, trail)
            });
        }
        let message = match trail.is_secret() {
            true => format!("unknown word for {}", trail.subject()),
            false => format!("unknown word {} for {}", name(text), trail.subject()),
        };
        self.report(place, message, Some(advice(text, &words, "one of")));
    }

    fn free_scalar(&mut self, place: Place, text: &str, shape: Shape<'a>, trail: &NodePath<'_>) {
        let kinds = shape.kinds();
        if kinds.contains(&Kind::Text) {
            if (text.chars().count() as u64) < shape.minimum_length() {
                let message = format!("{} must not be empty", trail.subject());
                self.report(place, message, shape.hint.map(str::to_owned));
            }
        } else if kinds.contains(&Kind::Integer) {
            let (least, most) = shape.bounds();
            if !text
                .parse::<i128>()
                .is_ok_and(|number| (least..=most).contains(&number))
            {
                self.report(
                    place,
                    format!("{} must be from {least} to {most}", trail.subject()),
                    None,
                );
            }
        }
    }

    fn list(&mut self, place: Place, items: &[Node], shape: Shape<'a>, trail: &NodePath<'_>) {
        let least = shape.minimum_items();
        if (items.len() as u64) < least {
            let message = format!(
                "{} needs at least {least} {}",
                trail.subject(),
                if least == 1 { "entry" } else { "entries" }
            );
            self.report(place, message, shape.hint.map(str::to_owned));
        }
        for (index, item) in items.iter().enumerate() {
            self.node(item, shape.items(), &NodePath::Index(trail, index));
        }
    }

    fn mapping(&mut self, place: Place, entries: &[Entry], shape: Shape<'a>, trail: &NodePath<'_>) {
        let seen = self.unique(entries, trail);
        let keys = shape.keys();
        for entry in seen.values() {
            let known = keys.contains(&entry.key.as_str());
            match shape.property(&entry.key) {
                Some(schema) => self.node(
                    &entry.value,
                    schema,
                    &NodePath::Key {
                        parent: trail,
                        key: &entry.key,
                        known,
                    },
                ),
                None => self.unknown_key(entry, &keys, shape.hint, trail),
            }
        }
        for key in shape.required() {
            if !seen.contains_key(key) {
                let message = format!("missing key {}{}", name(key), trail.inside());
                self.report(place, message, shape.hint.map(str::to_owned));
            }
        }
    }

    /// A mapping whose single key says which alternative it is.
    fn tagged(
        &mut self,
        place: Place,
        entries: &[Entry],
        shapes: &[Shape<'a>],
        tags: &[&'a str],
        trail: &NodePath<'_>,
    ) {
        let seen = self.unique(entries, trail);
        let hint = shapes.iter().find_map(|shape| shape.hint);
        let mut chosen = 0;
        for entry in seen.values() {
            let key = entry.key.as_str();
            let Some(shape) = shapes.iter().find(|shape| shape.tag() == Some(key)) else {
                self.unknown_key(entry, tags, hint, trail);
                continue;
            };
            chosen += 1;
            if let Some(schema) = shape.property(key) {
                self.node(
                    &entry.value,
                    schema,
                    &NodePath::Key {
                        parent: trail,
                        key,
                        known: true,
                    },
                );
            }
        }
        if chosen != 1 && (chosen > 1 || seen.is_empty()) {
            let message = format!(
                "{} needs exactly one of {}",
                trail.subject(),
                names(tags.iter().copied())
            );
            self.report(place, message, hint.map(str::to_owned));
        }
    }

    /// The entries by key; a repeated key is reported and its later values are left out.
    fn unique<'n>(
        &mut self,
        entries: &'n [Entry],
        trail: &NodePath<'_>,
    ) -> BTreeMap<&'n str, &'n Entry> {
        let mut seen: BTreeMap<&str, &Entry> = BTreeMap::new();
        for entry in entries {
            match seen.get(entry.key.as_str()) {
                None => drop(seen.insert(&entry.key, entry)),
                Some(first) => {
                    let key = if trail.is_secret() {
                        String::new()
                    } else {
                        format!(" {}", name(&entry.key))
                    };
                    let hint = format!("it stands first on line {}", first.place.line);
                    self.report(
                        entry.place,
                        format!("duplicate key{key}{}", trail.inside()),
                        Some(hint),
                    );
                }
            }
        }
        seen
    }

    fn unknown_key(
        &mut self,
        entry: &Entry,
        known: &[&str],
        hint: Option<&str>,
        trail: &NodePath<'_>,
    ) {
        let message = match trail.is_secret() {
            true => format!("unknown key{}", trail.inside()),
            false => format!("unknown key {}{}", name(&entry.key), trail.inside()),
        };
        let advice = match hint {
            Some(hint) if nearest(&entry.key, known.iter().copied()).is_none() => hint.to_owned(),
            _ => advice(&entry.key, known, "known keys:"),
        };
        self.report(entry.place, message, Some(advice));
    }

    /// A place where everything is allowed, except the same key twice.
    fn anything(&mut self, node: &Node, trail: &NodePath<'_>) {
        match &node.value {
            Value::Null | Value::Scalar { .. } | Value::Broken => {}
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.anything(item, &NodePath::Index(trail, index));
                }
            }
            Value::Mapping(entries) => {
                for entry in self.unique(entries, trail).values() {
                    self.anything(
                        &entry.value,
                        &NodePath::Key {
                            parent: trail,
                            key: &entry.key,
                            known: false,
                        },
                    );
                }
            }
        }
    }
}

/// `did you mean …`, or else the list of what is known.
fn advice(given: &str, known: &[&str], before_list: &str) -> String {
    match nearest(given, known.iter().copied()) {
        Some(word) => format!("did you mean {}?", name(word)),
        None if known.is_empty() => "remove it".to_owned(),
        None if known.len() > LISTED_LIMIT => {
            format!(
                "{before_list} {}, …",
                names(known.iter().copied().take(LISTED_LIMIT))
            )
        }
        None => format!("{before_list} {}", names(known.iter().copied())),
    }
}

/// Whether a node can be read as a kind. The spellings of a boolean are those of the typed reader.
fn fits(value: &Value, kind: Kind) -> bool {
    match (value, kind) {
        (Value::Null, Kind::Null)
        | (Value::List(_), Kind::List)
        | (Value::Mapping(_), Kind::Mapping) => true,
        (Value::Scalar { .. }, Kind::Text) => true,
        (Value::Scalar { text, plain: true }, Kind::Boolean) => is_boolean(text),
        (Value::Scalar { text, plain: true }, Kind::Integer) => text.parse::<i128>().is_ok(),
        (Value::Scalar { text, plain: true }, Kind::Number) => {
            text.parse::<f64>().is_ok_and(f64::is_finite)
        }
        _ => false,
    }
}

fn is_boolean(text: &str) -> bool {
    ["true", "false", "yes", "no", "on", "off"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word))
}

/// What messages call that which was found; never the thing itself.
fn found(value: &Value) -> &'static str {
    match value {
        Value::Null | Value::Broken => "empty",
        Value::List(_) => "a list",
        Value::Mapping(_) => "a mapping",
        Value::Scalar { text, plain: true } if text.parse::<f64>().is_ok() => "a number",
        Value::Scalar { text, plain: true } if is_boolean(text) => "`true` or `false`",
        Value::Scalar { .. } => "text",
    }
}
