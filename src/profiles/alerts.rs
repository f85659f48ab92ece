//! How a backend's alerts are laid out.
//!
//! What it does: finds in a message what it says of itself, by pointers that are data, and puts the backend's words for
//! states into ours. What it refuses to know: who sent a message. Invariant: a message that says nothing of what is
//! looked for is no mistake: backends let people write their own templates.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// Where a message says what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertLayout {
    /// JSON pointers (RFC 6901) of each; the first that leads to a text or number counts.
    pub id: Vec<String>,
    pub name: Vec<String>,
    pub state: Vec<String>,
    pub time: Vec<String>,
    /// Our word for a state, and the backend's, lower case.
    pub states: BTreeMap<String, Vec<String>>,
}

impl AlertLayout {
    /// The first text or number at one of these places.
    pub fn find<'m>(pointers: &[String], message: &'m Value) -> Option<&'m Value> {
        pointers
            .iter()
            .filter_map(|pointer| message.pointer(pointer))
            .find(|value| value.is_number() || value.as_str().is_some_and(|text| !text.trim().is_empty()))
    }

    /// Our word for a state; the backend's own where there is none.
    pub fn state<'w>(&'w self, word: &'w str) -> &'w str {
        let plain = word.trim().to_lowercase().replace([' ', '-'], "_");
        self.states.iter().find(|(_, words)| words.contains(&plain)).map_or(word, |(ours, _)| ours.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Profile;
    use super::*;
    use serde_json::json;

    #[test]
    fn messages_are_read_where_the_profile_says() {
        let layout = &Profile::lightstep().alerts;
        for (message, name, state) in [
            (json!({"name": "latency", "state": "Critical"}), Some("latency"), Some("firing")),
            (json!({"alert": {"name": "a"}, "status": "RESOLVED"}), Some("a"), Some("ok")),
            (json!({"title": "t", "state": "No data"}), Some("t"), Some("no_data")),
            (json!({"name": " ", "title": "t", "state": "odd"}), Some("t"), Some("odd")),
            (json!({"name": {"a": 1}, "state": []}), None, None),
            (json!({}), None, None),
        ] {
            let text = |pointers: &[String]| AlertLayout::find(pointers, &message).and_then(Value::as_str);
            assert_eq!(text(&layout.name), name, "{message}");
            assert_eq!(text(&layout.state).map(|word| layout.state(word)), state, "{message}");
        }
    }
}
