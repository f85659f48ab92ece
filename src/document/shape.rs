//! What a place in a file may hold, as a JSON schema says it.
//!
//! What it does: reads the part of JSON Schema 2020-12 that `schemars` writes for our types: references,
//! alternatives, kinds, words, keys, items and bounds. What it refuses to know: the text being checked.
//! Invariant: references are followed a bounded number of times; a keyword that is not known here allows
//! everything, because the typed reading that follows has the last word.

use serde_json::{Map, Value};

/// How many references and nested alternatives are followed at one place.
const FOLLOW_LIMIT: usize = 16;

/// Our own keyword: what to advise when something else stands here.
const HINT: &str = "x-hint";

/// The kinds a node can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Integer,
    Number,
    Text,
    List,
    Mapping,
}

impl Kind {
    fn of_type(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Kind::Null,
            "boolean" => Kind::Boolean,
            "integer" => Kind::Integer,
            "number" => Kind::Number,
            "string" => Kind::Text,
            "array" => Kind::List,
            "object" => Kind::Mapping,
            _ => return None,
        })
    }

    /// As messages call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Null => "nothing",
            Kind::Boolean => "`true` or `false`",
            Kind::Integer => "a whole number",
            Kind::Number => "a number",
            Kind::Text => "text",
            Kind::List => "a list",
            Kind::Mapping => "a mapping",
        }
    }
}

/// A schema together with the definitions that it may refer to.
#[derive(Clone, Copy)]
pub(crate) struct Definitions<'a>(Option<&'a Map<String, Value>>);

impl<'a> Definitions<'a> {
    pub(crate) fn of(root: &'a Value) -> Self {
        Definitions(root.get("$defs").and_then(Value::as_object))
    }

    /// The alternatives of a schema, references followed, nested ones laid flat. A schema that allows
    /// everything yields none.
    pub(crate) fn alternatives(self, schema: &'a Value) -> Vec<Shape<'a>> {
        let mut shapes = Vec::new();
        self.collect(schema, FOLLOW_LIMIT, None, &mut shapes);
        if shapes.iter().any(|shape| shape.is_anything()) {
            Vec::new()
        } else {
            shapes
        }
    }

    fn collect(
        self,
        schema: &'a Value,
        left: usize,
        outer: Option<&'a str>,
        shapes: &mut Vec<Shape<'a>>,
    ) {
        let Some(object) = schema.as_object() else {
            if schema.as_bool() != Some(false) {
                shapes.push(Shape {
                    keywords: None,
                    hint: None,
                });
            }
            return;
        };
        // The hint of an enum stands beside its alternatives and serves them all.
        let hint = object.get(HINT).and_then(Value::as_str).or(outer);
        if left == 0 {
            shapes.push(Shape {
                keywords: None,
                hint: None,
            });
        } else if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
            let target = reference
                .strip_prefix("#/$defs/")
                .and_then(|name| self.0.and_then(|all| all.get(name)));
            match target {
                Some(target) => self.collect(target, left - 1, hint, shapes),
                None => shapes.push(Shape {
                    keywords: None,
                    hint: None,
                }),
            }
        } else if let Some(choices) = ["oneOf", "anyOf"]
            .iter()
            .find_map(|word| object.get(*word)?.as_array())
        {
            for choice in choices {
                self.collect(choice, left - 1, hint, shapes);
            }
        } else {
            shapes.push(Shape {
                keywords: Some(object),
                hint,
            });
        }
    }
}

/// One alternative of what a place may hold.
#[derive(Clone, Copy)]
pub(crate) struct Shape<'a> {
    /// `None`: anything.
    keywords: Option<&'a Map<String, Value>>,
    /// What to advise when something else stands here.
    pub hint: Option<&'a str>,
}

impl<'a> Shape<'a> {
    fn get(self, word: &str) -> Option<&'a Value> {
        self.keywords?.get(word)
    }

    fn is_anything(self) -> bool {
        self.kinds().is_empty()
    }

    /// The kinds that it allows; empty: all.
    pub(crate) fn kinds(self) -> Vec<Kind> {
        match self.get("type") {
            Some(Value::String(one)) => Kind::of_type(one).into_iter().collect(),
            Some(Value::Array(several)) => several
                .iter()
                .filter_map(|one| one.as_str().and_then(Kind::of_type))
                .collect(),
            _ if self.get("const").is_some_and(Value::is_string) || self.get("enum").is_some() => {
                vec![Kind::Text]
            }
            _ if self.get("properties").is_some() => vec![Kind::Mapping],
            _ => Vec::new(),
        }
    }

    /// The only words that it allows, if it is about words.
    pub(crate) fn words(self) -> Option<Vec<&'a str>> {
        if let Some(word) = self.get("const").and_then(Value::as_str) {
            return Some(vec![word]);
        }
        Some(
            self.get("enum")?
                .as_array()?
                .iter()
                .filter_map(Value::as_str)
                .collect(),
        )
    }

    /// The value schema of a key; `None`: the key is unknown.
    pub(crate) fn property(self, key: &str) -> Option<&'a Value> {
        if let Some(schema) = self.get("properties").and_then(|all| all.get(key)) {
            return Some(schema);
        }
        match self.get("additionalProperties") {
            Some(Value::Bool(false)) => None,
            Some(schema) => Some(schema),
            None => {
                match self
                    .get("patternProperties")
                    .and_then(Value::as_object)
                    .and_then(|all| all.values().next())
                {
                    Some(schema) => Some(schema),
                    // A mapping that names its keys knows only those.
                    None if self.get("properties").is_some() => None,
                    None => Some(&Value::Bool(true)),
                }
            }
        }
    }

    pub(crate) fn keys(self) -> Vec<&'a str> {
        let keys = self.get("properties").and_then(Value::as_object);
        keys.map(|keys| keys.keys().map(String::as_str).collect())
            .unwrap_or_default()
    }

    pub(crate) fn required(self) -> Vec<&'a str> {
        let keys = self.get("required").and_then(Value::as_array);
        keys.map(|keys| keys.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default()
    }

    /// `{ name: … }`: a mapping with exactly one key, which says which alternative it is.
    pub(crate) fn tag(self) -> Option<&'a str> {
        match (self.keys().as_slice(), self.required().as_slice()) {
            ([key], [required]) if key == required && self.property("").is_none() => Some(key),
            _ => None,
        }
    }

    pub(crate) fn items(self) -> &'a Value {
        self.get("items").unwrap_or(&Value::Bool(true))
    }

    pub(crate) fn minimum_items(self) -> u64 {
        self.get("minItems").and_then(Value::as_u64).unwrap_or(0)
    }

    pub(crate) fn minimum_length(self) -> u64 {
        self.get("minLength").and_then(Value::as_u64).unwrap_or(0)
    }

    /// The bounds of an integer, from its keywords and from the width that `format` names.
    pub(crate) fn bounds(self) -> (i128, i128) {
        let (least, most) = match self.get("format").and_then(Value::as_str) {
            Some("uint8") => (0, i128::from(u8::MAX)),
            Some("uint16") => (0, i128::from(u16::MAX)),
            Some("uint32") => (0, i128::from(u32::MAX)),
            Some("uint64" | "uint") => (0, i128::from(u64::MAX)),
            Some("int8") => (i128::from(i8::MIN), i128::from(i8::MAX)),
            Some("int16") => (i128::from(i16::MIN), i128::from(i16::MAX)),
            Some("int32") => (i128::from(i32::MIN), i128::from(i32::MAX)),
            _ => (i128::from(i64::MIN), i128::from(u64::MAX)),
        };
        let bound = |word: &str| {
            let value = self.get(word)?;
            value
                .as_i64()
                .map(i128::from)
                .or_else(|| value.as_u64().map(i128::from))
        };
        (
            bound("minimum").map_or(least, |given| given.max(least)),
            bound("maximum").map_or(most, |given| given.min(most)),
        )
    }
}
