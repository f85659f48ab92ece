//! The shapes of good answers.
//!
//! What it does: holds the top of an answer against what its operation declares, and reduces what is the organization's
//! to known members. What it refuses to know: links, secrets, statuses. Invariants: strict at the top, where an unknown
//! member or another kind of value is refused; lenient inside, because the backend's objects are not strict JSON:API; a
//! member that stands twice is refused at the top, where two readers could choose differently.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::AnswerFault;
use super::boundary::is_project_name;
use super::secrets;
use crate::profiles::ResponseRule;

/// What stands at the top.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Top<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow, default, rename = "links")]
    _links: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "meta")]
    _meta: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "included")]
    _included: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "jsonapi")]
    _jsonapi: Option<&'a RawValue>,
}

/// One member that must be there; others may be.
#[derive(Deserialize)]
struct ItemsAnswer<'a> {
    #[serde(borrow)]
    items: &'a RawValue,
}

#[derive(Deserialize)]
struct ReportAnswer<'a> {
    #[serde(borrow)]
    status: &'a RawValue,
}

#[derive(Deserialize)]
struct Queries<'a> {
    #[serde(borrow)]
    queries: &'a RawValue,
}

/// Holds a document against a shape. `Some`: what is left of it; `None`: it stays as it is.
pub(crate) fn narrow(
    text: &str,
    rule: ResponseRule,
    visible: &[Arc<str>],
    may_see_secrets: bool,
) -> Result<Option<String>, AnswerFault> {
    if rule == ResponseRule::User {
        return user(text).map(Some);
    }
    // A document without members says nothing that could leak.
    if read::<Map<String, Value>>(text).is_ok_and(|members| members.is_empty()) {
        return Ok(None);
    }
    let top: Top<'_> = read(text)?;
    let data = top.data.get();
    match rule {
        ResponseRule::Empty | ResponseRule::Text | ResponseRule::User => Err(AnswerFault::Shape),
        ResponseRule::List | ResponseRule::Item => one_or_list(data).map(|()| None),
        ResponseRule::Items => objects(read::<ItemsAnswer<'_>>(data)?.items.get()).map(|_| None),
        ResponseRule::Report => objects(read::<ReportAnswer<'_>>(data)?.status.get()).map(|_| None),
        ResponseRule::Queries => objects(read::<Queries<'_>>(data)?.queries.get()).map(|_| None),
        ResponseRule::Attributes => {
            object(data)?;
            let lists: std::collections::BTreeMap<String, &RawValue> = read(data)?;
            lists
                .values()
                .try_for_each(|list| objects(list.get()).map(drop))?;
            Ok(None)
        }
        ResponseRule::Project => {
            object(data)?;
            Ok(Some(format!(r#"{{"data":{}}}"#, project(data)?.1)))
        }
        ResponseRule::Projects => {
            let entries = objects(data)?.into_iter().map(|entry| project(entry.get()));
            let entries = entries.collect::<Result<Vec<_>, _>>()?.into_iter();
            let kept = entries.filter(|(name, _)| visible.iter().any(|known| **known == **name));
            let kept: Vec<String> = kept.map(|(_, entry)| entry).collect();
            Ok(Some(format!(r#"{{"data":[{}]}}"#, kept.join(","))))
        }
        ResponseRule::AccessTokens => {
            one_or_list(data)?;
            if may_see_secrets {
                return Ok(None);
            }
            let shown = match read::<Value>(data)? {
                Value::Array(entries) => Value::Array(entries.iter().map(secrets::token).collect()),
                entry => secrets::token(&entry),
            };
            Ok(Some(json!({ "data": shown }).to_string()))
        }
        ResponseRule::Destinations => one_or_list(data).map(|()| None),
        ResponseRule::RoleBinding => {
            one_or_list(data)?;
            let shown = match read::<Value>(data)? {
                Value::Array(entries) => entries
                    .iter()
                    .filter_map(|entry| role_binding(entry, visible))
                    .collect(),
                entry => role_binding(&entry, visible).unwrap_or(Value::Null),
            };
            Ok(Some(json!({ "data": shown }).to_string()))
        }
        ResponseRule::SamlMappings => saml_mappings(data, visible).map(Some),
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, AnswerFault> {
    serde_json::from_str(text).map_err(|_| AnswerFault::Shape)
}

fn object(text: &str) -> Result<(), AnswerFault> {
    if text.starts_with('{') {
        Ok(())
    } else {
        Err(AnswerFault::Shape)
    }
}

/// A list of objects; `null` is how some servers write an empty one.
fn objects(text: &str) -> Result<Vec<&RawValue>, AnswerFault> {
    let entries = read::<Option<Vec<&RawValue>>>(text)?.unwrap_or_default();
    entries.iter().try_for_each(|entry| object(entry.get()))?;
    Ok(entries)
}

fn one_or_list(text: &str) -> Result<(), AnswerFault> {
    object(text).or_else(|_| objects(text).map(drop))
}

fn kept(from: &Value, names: &[&str]) -> Map<String, Value> {
    let members = names
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), from.get(*name)?.clone())));
    members.collect()
}

/// A project's name, and of it what is known; as the backend wrote it if that is all.
fn project(text: &str) -> Result<(String, String), AnswerFault> {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    let name = read::<Named>(text)?.id;
    let whole: Value = read(text)?;
    let mut shown = kept(&whole, &["id", "type", "name", "links", "relationships"]);
    if let Some(attributes) = whole.get("attributes") {
        shown.insert(
            "attributes".to_owned(),
            Value::Object(kept(attributes, &["name", "description"])),
        );
    }
    let shown = Value::Object(shown);
    Ok((
        name,
        if shown == whole {
            text.to_owned()
        } else {
            shown.to_string()
        },
    ))
}

/// Whether all projects that members of this object name may be seen; the empty name is the organization's.
fn may_be_seen(entry: &Value, visible: &[Arc<str>]) -> bool {
    let Some(members) = entry.as_object() else {
        return true;
    };
    members.iter().all(|(name, member)| match member {
        Value::String(project) if is_project_name(name) => {
            project.is_empty() || visible.iter().any(|known| **known == **project)
        }
        Value::Object(_) if is_project_name(name) => {
            let id = member
                .pointer("/data/id")
                .or_else(|| member.get("id"))
                .or_else(|| member.get("name"));
            id.and_then(Value::as_str)
                .is_some_and(|project| visible.iter().any(|known| **known == *project))
        }
        Value::Object(_) if ["attributes", "relationships"].contains(&name.as_str()) => {
            may_be_seen(member, visible)
        }
        _ => true,
    })
}

fn role_binding(entry: &Value, visible: &[Arc<str>]) -> Option<Value> {
    const KNOWN: [&str; 5] = [
        "role-name",
        "role_name",
        "project-name",
        "project_name",
        "project",
    ];
    let part = |from: &Value| {
        let mut shown = kept(from, &KNOWN);
        if let Some(Value::Array(users)) = from.get("users") {
            let users = users.iter().filter_map(|user| match user {
                Value::String(_) => Some(user.clone()),
                Value::Object(_) => {
                    Some(Value::Object(kept(user, &["id", "type", "email", "name"])))
                }
                _ => None,
            });
            shown.insert("users".to_owned(), users.collect());
        }
        shown
    };
    if !may_be_seen(entry, visible) {
        return None;
    }
    let mut shown = kept(entry, &["id", "type"]);
    shown.extend(part(entry));
    if let Some(attributes) = entry.get("attributes") {
        shown.insert("attributes".to_owned(), Value::Object(part(attributes)));
    }
    Some(Value::Object(shown))
}

fn saml_mappings(data: &str, visible: &[Arc<str>]) -> Result<String, AnswerFault> {
    object(data)?;
    let data: Value = read(data)?;
    let Some(Value::Array(mappings)) = data.pointer("/attributes/mappings") else {
        return Err(AnswerFault::Shape);
    };
    if mappings.iter().any(|mapping| !mapping.is_object()) {
        return Err(AnswerFault::Shape);
    }
    let mapping = |mapping: &Value| {
        let mut shown = kept(
            mapping,
            &[
                "saml-attribute-key",
                "saml-attribute-value",
                "organization-role",
            ],
        );
        if let Some(Value::Object(roles)) = mapping.get("project-roles") {
            let roles = roles
                .iter()
                .filter(|(project, _)| visible.iter().any(|known| **known == ***project));
            let roles = roles
                .map(|(project, role)| (project.clone(), role.clone()))
                .collect();
            shown.insert("project-roles".to_owned(), Value::Object(roles));
        }
        Value::Object(shown)
    };
    let mut shown = kept(&data, &["id", "type"]);
    let mappings: Vec<Value> = mappings.iter().map(mapping).collect();
    shown.insert("attributes".to_owned(), json!({ "mappings": mappings }));
    Ok(json!({ "data": shown }).to_string())
}

/// Of a user what was asked to be made of it; neither a password nor a link to set one.
fn user(text: &str) -> Result<String, AnswerFault> {
    const KNOWN: [&str; 10] = [
        "schemas",
        "id",
        "type",
        "userName",
        "name",
        "displayName",
        "email",
        "emails",
        "active",
        "role",
    ];
    object(text)?;
    let whole: Value = read(text)?;
    let part = |from: &Value| {
        let mut shown = kept(from, &KNOWN);
        if let Some(attributes) = from
            .get("attributes")
            .filter(|attributes| attributes.is_object())
        {
            shown.insert(
                "attributes".to_owned(),
                Value::Object(kept(attributes, &KNOWN)),
            );
        }
        shown
    };
    let shown = match whole.get("data") {
        Some(data @ Value::Object(_)) => json!({ "data": part(data) }),
        Some(_) => return Err(AnswerFault::Shape),
        None => Value::Object(part(&whole)),
    };
    if shown.as_object().is_none_or(Map::is_empty) {
        return Err(AnswerFault::Shape);
    }
    Ok(shown.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees: shape by shape, what is refused, what stays, and what is left.
    #[test]
    fn answers_are_held_against_their_shape() {
        use ResponseRule::*;
        let stays = Ok(None);
        let shape = Err(AnswerFault::Shape);
        let left = |text: &str| Ok(Some(text.to_owned()));
        type Outcome = Result<Option<String>, AnswerFault>;
        let cases: &[(ResponseRule, &str, Outcome)] = &[
            (
                List,
                r#"{"data":[{}],"links":{},"meta":{},"included":[]}"#,
                stays.clone(),
            ),
            (List, r#"{"data":null}"#, stays.clone()),
            (List, r#"{"data":{}}"#, stays.clone()),
            (List, r#"{"data":[1]}"#, shape.clone()),
            (List, r#"{"data":[],"projects":[]}"#, shape.clone()),
            (List, r#"{"data":[],"data":[{}]}"#, shape.clone()),
            (List, r#"{"d\u0061ta":[],"data":[{}]}"#, shape.clone()),
            (List, r#"[]"#, shape.clone()),
            (
                Item,
                r#"{"data":{"anything":[1,{"deep":true}]}}"#,
                stays.clone(),
            ),
            (Item, r#"{"data":null}"#, stays.clone()),
            (Item, r#"{"data":[]}"#, stays.clone()),
            (Item, r#""text""#, shape.clone()),
            (Items, r#"{"data":{"items":[{}],"total":1}}"#, stays.clone()),
            (Items, r#"{"data":[{}]}"#, shape.clone()),
            (Report, r#"{"data":{"status":[{}]}}"#, stays.clone()),
            (Report, r#"{"data":{"status":{}}}"#, shape.clone()),
            (Queries, r#"{"data":{"queries":[{}]}}"#, stays.clone()),
            (
                Attributes,
                r#"{"data":{"service":[{"value":"a"}],"host":null}}"#,
                stays.clone(),
            ),
            (Attributes, r#"{"data":{"service":"a"}}"#, shape.clone()),
            (
                Project,
                r#"{"data":{"id":"shop","n":1}}"#,
                left(r#"{"data":{"id":"shop"}}"#),
            ),
            (
                Projects,
                r#"{"data":[{"id": "shop"},{"id":"pay"}],"meta":{}}"#,
                left(r#"{"data":[{"id": "shop"}]}"#),
            ),
            (
                Projects,
                r#"{"data":[{"id":"shop","id":"pay"}]}"#,
                shape.clone(),
            ),
            (Projects, r#"{"data":[{"name":"shop"}]}"#, shape.clone()),
            (
                RoleBinding,
                r#"{"data":[{"project-name":"pay"},{"project":""}]}"#,
                left(r#"{"data":[{"project":""}]}"#),
            ),
            (
                RoleBinding,
                r#"{"data":{"role-name":"r","users":["u",{"email":"e","token":"t"},7],"secret":1}}"#,
                left(r#"{"data":{"role-name":"r","users":["u",{"email":"e"}]}}"#),
            ),
            (
                RoleBinding,
                r#"{"data":{"relationships":{"project":{"data":{"id":"pay"}}}}}"#,
                left(r#"{"data":null}"#),
            ),
            (
                SamlMappings,
                r#"{"data":{"attributes":{"mappings":[{"organization-role":"o","x":1,"project-roles":{"pay":"e","shop":"v"}}]}}}"#,
                left(
                    r#"{"data":{"attributes":{"mappings":[{"organization-role":"o","project-roles":{"shop":"v"}}]}}}"#,
                ),
            ),
            (SamlMappings, r#"{"data":{"attributes":{}}}"#, shape.clone()),
            (
                User,
                r#"{"userName":"u","password":"p"}"#,
                left(r#"{"userName":"u"}"#),
            ),
            (
                User,
                r#"{"data":{"id":"u","token":"p"}}"#,
                left(r#"{"data":{"id":"u"}}"#),
            ),
            (User, r#"{"token":"p"}"#, shape.clone()),
            (User, r#"{"data":[]}"#, shape.clone()),
            (
                AccessTokens,
                r#"{"data":{"id":"t"}}"#,
                left(r#"{"data":{"id":"[redacted]"}}"#),
            ),
            (AccessTokens, r#"{"data":"t"}"#, shape.clone()),
            (Destinations, r#"{"data":[{}]}"#, stays.clone()),
            (Destinations, r#"{"data":"t"}"#, shape),
        ];
        for (rule, text, expected) in cases {
            assert_eq!(
                narrow(text, *rule, &["shop".into()], false),
                *expected,
                "{rule:?} {text}"
            );
        }
        assert_eq!(
            narrow(r#"{"data":[{"id":"t"}]}"#, AccessTokens, &[], true),
            stays
        );
    }
}
