//! Where a claim stands in a claim set: its name, or a JSON Pointer (RFC 6901) to a member further in.
//!
//! What it does: reads what the configuration and policies write, finds the claim, and copies or moves one from claim set to
//! claim set. What it refuses to know: what the claim is for. Invariants: a name without a leading `/` is one member's name,
//! whatever dots it has; a pointer that meets a value it cannot enter says so, and does not call the claim absent.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::json::DEPTH_LIMIT_LEVELS;
use crate::document;

/// Where a claim stands. Ordered and compared by its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimPath {
    text: Arc<str>,
    /// The member at the top of the claim set.
    top: Arc<str>,
    /// The reference tokens after it, unescaped.
    inner: Vec<String>,
}

/// Why a text names no claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimPathFault {
    #[error("must not be empty")]
    Empty,
    /// RFC 6901 section 3.
    #[error("is no JSON Pointer: a `~` is not followed by `0` or `1`")]
    Escape,
    #[error("can never be found: tokens that are nested so deeply are refused")]
    TooDeep,
}

impl ClaimPathFault {
    /// What to write instead.
    pub(crate) fn hint(self) -> &'static str {
        match self {
            ClaimPathFault::Empty => {
                "write the claim's name, or a JSON Pointer such as `/realm_access/roles`"
            }
            ClaimPathFault::Escape => {
                "in a JSON Pointer (RFC 6901), `~` is written `~0`, and a `/` within a name `~1`"
            }
            ClaimPathFault::TooDeep => {
                "the pointer has more steps than the claims of a token may be nested"
            }
        }
    }
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum FoundClaim<'c> {
    Value(&'c Value),
    /// The member, or one on the way, is not there.
    Nothing,
    /// A value on the way is neither an object nor a list with such an item, so that what was meant cannot be told.
    WrongType,
}

impl ClaimPath {
    pub fn parse(text: &str) -> Result<ClaimPath, ClaimPathFault> {
        if text.is_empty() {
            return Err(ClaimPathFault::Empty);
        }
        let Some(pointer) = text.strip_prefix('/') else {
            return Ok(ClaimPath {
                text: text.into(),
                top: text.into(),
                inner: Vec::new(),
            });
        };
        let mut steps = pointer
            .split('/')
            .map(unescaped)
            .collect::<Option<Vec<_>>>()
            .ok_or(ClaimPathFault::Escape)?;
        if steps.len() > usize::from(DEPTH_LIMIT_LEVELS) {
            return Err(ClaimPathFault::TooDeep);
        }
        let inner = steps.split_off(1);
        Ok(ClaimPath {
            text: text.into(),
            top: steps.concat().into(),
            inner,
        })
    }

    /// The claim of this very name.
    #[cfg(test)]
    pub(super) fn name(name: &str) -> ClaimPath {
        ClaimPath {
            text: name.into(),
            top: name.into(),
            inner: Vec::new(),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The claim at the top of the claim set in which this one stands.
    pub(super) fn top(&self) -> &str {
        &self.top
    }

    /// Whether this is the claim of that name at the top of the claim set.
    pub(super) fn is(&self, name: &str) -> bool {
        self.inner.is_empty() && *self.top == *name
    }

    /// What stands there, where a policy compares it: what cannot be told is no match.
    pub fn get<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        match self.find(claims) {
            FoundClaim::Value(value) => Some(value),
            FoundClaim::Nothing | FoundClaim::WrongType => None,
        }
    }

    /// Whether something stands there, or on the way, that is neither a text nor a list of texts nor a plain value, so that
    /// it cannot be told what is held: it could be the text that a policy denies.
    pub(super) fn is_unreadable(&self, claims: &Map<String, Value>) -> bool {
        match self.find(claims) {
            FoundClaim::WrongType | FoundClaim::Value(Value::Object(_)) => true,
            FoundClaim::Value(Value::Array(items)) => {
                items.iter().any(|item| item.is_object() || item.is_array())
            }
            FoundClaim::Value(_) | FoundClaim::Nothing => false,
        }
    }

    pub(super) fn find<'c>(&self, claims: &'c Map<String, Value>) -> FoundClaim<'c> {
        let Some(mut value) = claims.get(&*self.top) else {
            return FoundClaim::Nothing;
        };
        for step in &self.inner {
            let next = match value {
                Value::Object(members) => members.get(step),
                Value::Array(items) => match index(step) {
                    Some(index) => items.get(index),
                    None => return FoundClaim::WrongType,
                },
                _ => return FoundClaim::WrongType,
            };
            match next {
                Some(next) => value = next,
                None => return FoundClaim::Nothing,
            }
        }
        FoundClaim::Value(value)
    }

    /// Copies the claim, with nothing beside it but the lists on the way, whose items are found by their places. Where a
    /// value of another type stands in the way, `true` stands for it, so that the copy cannot be told, either.
    pub(super) fn copy(&self, from: &Map<String, Value>, into: &mut Map<String, Value>) {
        let found = self.find(from);
        if let (Some(value), true) = (from.get(&*self.top), found != FoundClaim::Nothing) {
            copy(
                &self.inner,
                value,
                found == FoundClaim::WrongType,
                into.entry(&*self.top).or_insert(Value::Null),
            );
        }
    }

    /// Takes the claim out. An item of a list leaves `null` behind.
    pub(super) fn take(&self, claims: &mut Map<String, Value>) -> Option<Value> {
        let Some((last, way)) = self.inner.split_last() else {
            return claims.remove(&*self.top);
        };
        let mut value = claims.get_mut(&*self.top)?;
        for step in way {
            value = match value {
                Value::Object(members) => members.get_mut(step)?,
                Value::Array(items) => items.get_mut(index(step)?)?,
                _ => return None,
            };
        }
        match value {
            Value::Object(members) => members.remove(last),
            Value::Array(items) => items.get_mut(index(last)?).map(Value::take),
            _ => None,
        }
    }

    /// Puts the claim there; objects on the way are made. False if a value of another type stands in the way.
    pub(crate) fn put(&self, claims: &mut Map<String, Value>, value: Value) -> bool {
        let mut place = claims.entry(&*self.top).or_insert(Value::Null);
        for step in &self.inner {
            if place.is_null() {
                *place = Value::Object(Map::new());
            }
            place = match place {
                Value::Object(members) => members.entry(step).or_insert(Value::Null),
                Value::Array(items) => match index(step).and_then(|index| items.get_mut(index)) {
                    Some(item) => item,
                    None => return false,
                },
                _ => return false,
            };
        }
        *place = value;
        true
    }

    /// What is said of a path that is probably not what was meant, and what to write instead.
    pub(crate) fn doubtful(&self) -> Option<(&'static str, String)> {
        let text: &str = &self.text;
        if text.starts_with('/') {
            let empty = self.top.is_empty() || self.inner.iter().any(String::is_empty);
            let message = "leads through a member whose name is empty";
            return empty.then(|| (message, "leave out the slash that is too much".to_owned()));
        }
        if let Some(pointer) = text
            .strip_prefix('#')
            .filter(|pointer| pointer.starts_with('/'))
        {
            return Some((
                "is one claim's name: a JSON Pointer begins with `/`",
                format!("write {}", document::name(pointer)),
            ));
        }
        // A name with a slash or a colon is a URI, or like one (OpenID Connect Core section 5.1.2).
        if !text.contains('.') || text.contains(['/', ':']) {
            return None;
        }
        let steps = text
            .trim_start_matches("$.")
            .split('.')
            .map(|step| format!("/{}", step.replace('~', "~0")));
        let pointer = document::name(&steps.collect::<String>());
        let hint = format!("for a claim within another, write the JSON Pointer {pointer}");
        Some((
            "is one claim's name: its dots do not lead into other claims",
            hint,
        ))
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// A reference token without its escapes (RFC 6901 section 4); `None`: a `~` that escapes nothing.
fn unescaped(token: &str) -> Option<String> {
    let mut plain = String::with_capacity(token.len());
    let mut characters = token.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '~' => match characters.next() {
                Some('0') => '~',
                Some('1') => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(plain)
}

/// An array index: digits without leading zeros (RFC 6901 section 4).
fn index(token: &str) -> Option<usize> {
    let canonical = token == "0" || !token.starts_with('0');
    (canonical && !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| token.parse().ok())?
}

fn copy(steps: &[String], from: &Value, is_blocked: bool, into: &mut Value) {
    match (steps.split_first(), from) {
        (Some((step, rest)), Value::Object(members)) => {
            let Some(inner) = members.get(step) else {
                return;
            };
            if !into.is_object() {
                *into = Value::Object(Map::new());
            }
            if let Value::Object(kept) = into {
                copy(
                    rest,
                    inner,
                    is_blocked,
                    kept.entry(step).or_insert(Value::Null),
                );
            }
        }
        // What another path has copied from here blocks this one as well.
        (Some(_), _) if is_blocked && !into.is_null() => {}
        (Some(_), _) if is_blocked => *into = Value::Bool(true),
        _ => *into = from.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Scenario: the example document of RFC 6901 section 5 and names as configurations have them. Guarantees: each text finds
    /// its claim, is told from one that cannot be told, or is refused.
    #[test]
    fn a_path_finds_one_claim_or_says_why_not() {
        let document = json!({
            "foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8,
            "realm_access": {"roles": ["a"], "": 9}, "realm_access.roles": "dotted", "kubernetes.io": {"namespace": "shop"},
            "https://sts.amazonaws.com/": {"aws_account": "12"}, "null": null, "deep": {"list": [{"x": 1}]},
        });
        let claims = document.as_object().unwrap();
        let found = |value: Value| Ok(Some(value));
        for (text, expected) in [
            ("/foo", found(json!(["bar", "baz"]))),
            ("/foo/0", found(json!("bar"))),
            ("/foo/1", found(json!("baz"))),
            ("/foo/2", Ok(None)),
            ("/foo/00", Err("wrong type")),
            ("/foo/-", Err("wrong type")),
            ("/foo/+1", Err("wrong type")),
            ("/foo/18446744073709551616", Err("wrong type")),
            ("/", found(json!(0))),
            ("/a~1b", found(json!(1))),
            ("/c%d", found(json!(2))),
            ("/e^f", found(json!(3))),
            ("/g|h", found(json!(4))),
            ("/i\\j", found(json!(5))),
            ("/k\"l", found(json!(6))),
            ("/ ", found(json!(7))),
            ("/m~0n", found(json!(8))),
            ("/m~01n", Ok(None)),
            ("/realm_access/roles", found(json!(["a"]))),
            ("/realm_access/", found(json!(9))),
            ("/realm_access/roles/0/x", Err("wrong type")),
            ("/realm_access/other", Ok(None)),
            ("realm_access.roles", found(json!("dotted"))),
            ("/realm_access.roles", found(json!("dotted"))),
            ("realm_access/roles", Ok(None)),
            ("/kubernetes.io/namespace", found(json!("shop"))),
            (
                "/https:~1~1sts.amazonaws.com~1/aws_account",
                found(json!("12")),
            ),
            (
                "https://sts.amazonaws.com/",
                found(json!({"aws_account": "12"})),
            ),
            ("/deep/list/0/x", found(json!(1))),
            ("/null", found(json!(null))),
            ("/null/a", Err("wrong type")),
            ("/nowhere/a", Ok(None)),
            ("", Err("empty")),
            ("/a~", Err("escape")),
            ("/a~2b", Err("escape")),
            ("/~/a", Err("escape")),
            ("a~2b", Ok(None)),
            ("/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16", Ok(None)),
            ("/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17", Err("deep")),
        ] {
            let said = match ClaimPath::parse(text) {
                Err(ClaimPathFault::Empty) => Err("empty"),
                Err(ClaimPathFault::Escape) => Err("escape"),
                Err(ClaimPathFault::TooDeep) => Err("deep"),
                Ok(path) => match path.find(claims) {
                    FoundClaim::Value(value) => Ok(Some(value.clone())),
                    FoundClaim::Nothing => Ok(None),
                    FoundClaim::WrongType => Err("wrong type"),
                },
            };
            assert_eq!(said, expected, "{text}");
        }
    }

    /// Scenario: claims are copied and moved. Guarantees: each is found in its new place, and nothing comes along that was
    /// not named.
    #[test]
    fn a_claim_is_copied_and_moved_alone() {
        let from = json!({"a": {"b": {"c": "1", "secret": "x"}, "d": ["p", {"e": "q"}]}, "n": "2", "wrong": "text"});
        let from = from.as_object().unwrap();
        let path = |text: &str| ClaimPath::parse(text).unwrap();
        let mut kept = Map::new();
        for text in ["/a/b/c", "/a/d/1/e", "/wrong/x", "/a/none", "n"] {
            path(text).copy(from, &mut kept);
        }
        assert_eq!(
            Value::Object(kept.clone()),
            json!({"a": {"b": {"c": "1"}, "d": ["p", {"e": "q"}]}, "n": "2", "wrong": true})
        );
        assert_eq!(path("/a/d/1/e").find(&kept), path("/a/d/1/e").find(from));
        assert_eq!(path("/wrong/x").find(&kept), FoundClaim::WrongType);
        path("a").copy(from, &mut kept);
        path("/a/b/c").copy(from, &mut kept);
        assert_eq!(kept.get("a"), from.get("a"), "the whole and a part of it");

        let mut said = from.clone();
        assert_eq!(path("/a/b/c").take(&mut said), Some(json!("1")));
        assert_eq!(path("/a/d/0").take(&mut said), Some(json!("p")));
        assert_eq!(path("/wrong/x").take(&mut said), None);
        assert_eq!(path("/nowhere/x").take(&mut said), None);
        assert_eq!(
            said["a"],
            json!({"b": {"secret": "x"}, "d": [null, {"e": "q"}]})
        );
        for (text, placed) in [
            ("/a/b/c", true),
            ("/new/x/y", true),
            ("/a/d/0", true),
            ("/a/d/7", false),
            ("/n/x", false),
        ] {
            assert_eq!(path(text).put(&mut said, json!("put")), placed, "{text}");
            assert_eq!(
                path(text).get(&said) == Some(&json!("put")),
                placed,
                "{text}"
            );
        }
    }

    #[test]
    fn what_was_probably_not_meant_is_said() {
        for (text, expected) in [
            ("groups", None),
            ("realm_access.roles", Some("`/realm_access/roles`")),
            ("$.realm_access.roles", Some("`/realm_access/roles`")),
            ("#/realm_access/roles", Some("`/realm_access/roles`")),
            ("a.b~c", Some("`/a/b~0c`")),
            ("/realm_access/roles/", Some("slash")),
            ("//a", Some("slash")),
            ("/", Some("slash")),
            ("/kubernetes.io/namespace", None),
            ("https://acme.example/roles", None),
            ("urn:acme.example:roles", None),
            ("acme.example/roles", None),
        ] {
            let said = ClaimPath::parse(text).unwrap().doubtful();
            match expected {
                None => assert_eq!(said, None, "{text}"),
                Some(part) => assert!(said.unwrap().1.contains(part), "{text}"),
            }
        }
    }
}
