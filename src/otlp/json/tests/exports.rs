//! Exports as other software might write them: any fields, in any order and spelling.
//!
//! It knows what may stand where, and refuses to know what becomes of it.

use proptest::prelude::*;

use super::oracle::original;
use crate::otlp::Signal;

/// A document whose members keep their order, and whose scalars keep their spelling.
#[derive(Clone, Debug)]
enum Tree {
    Scalar(&'static str),
    Text(String),
    Array(Vec<Tree>),
    Object(Vec<(&'static str, Tree)>),
}

/// Renders a tree: blanks anywhere, escapes in any string, either name of a field, any order of members.
struct Pen {
    chance: u64,
    /// How much of that there is: 0 for none.
    wild: u64,
    text: String,
}

impl Pen {
    fn one_in(&mut self, times: u64) -> bool {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.wild > 0 && self.chance.is_multiple_of(times)
    }

    fn token(&mut self, token: &str) {
        for blank in [" ", "\n\t", "\r\n"] {
            if self.one_in(12) {
                self.text.push_str(blank);
            }
        }
        self.text.push_str(token);
    }

    fn string(&mut self, text: &str) {
        let mut quoted = String::from("\"");
        for character in text.chars() {
            if self.wild > 1 && self.one_in(10) {
                let mut units = [0; 2];
                character
                    .encode_utf16(&mut units)
                    .iter()
                    .for_each(|unit| quoted.push_str(&format!("\\u{unit:04X}")));
            } else {
                let alone = serde_json::to_string(&character).unwrap();
                quoted.push_str(alone.get(1..alone.len() - 1).unwrap());
            }
        }
        quoted.push('"');
        self.token(&quoted);
    }

    fn tree(&mut self, tree: &Tree) {
        match tree {
            Tree::Scalar(text) => self.token(text),
            Tree::Text(text) => self.string(text),
            Tree::Array(elements) => {
                self.token("[");
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        self.token(",");
                    }
                    self.tree(element);
                }
                self.token("]");
            }
            Tree::Object(members) => {
                self.token("{");
                let turn = if self.one_in(2) { members.len() / 2 } else { 0 };
                for (index, (name, member)) in members
                    .iter()
                    .cycle()
                    .skip(turn)
                    .take(members.len())
                    .enumerate()
                {
                    if index > 0 {
                        self.token(",");
                    }
                    let name = if self.one_in(3) {
                        original(name)
                    } else {
                        (*name).to_owned()
                    };
                    self.string(&name);
                    self.token(":");
                    self.tree(member);
                }
                self.token("}");
            }
        }
    }
}

fn object(members: Vec<(&'static str, Option<Tree>)>) -> Tree {
    Tree::Object(
        members
            .into_iter()
            .filter_map(|(name, member)| Some((name, member?)))
            .collect(),
    )
}

/// Absent, null or there.
fn perhaps(inner: impl Strategy<Value = Tree> + 'static) -> BoxedStrategy<Option<Tree>> {
    let there = inner.prop_map(Some);
    prop_oneof![1 => Just(None), 1 => Just(Some(Tree::Scalar("null"))), 6 => there].boxed()
}

fn array(inner: impl Strategy<Value = Tree> + 'static, most: usize) -> BoxedStrategy<Option<Tree>> {
    perhaps(proptest::collection::vec(inner, 0..=most).prop_map(Tree::Array))
}

/// What no table knows, and must stay as it is: numbers of any spelling, names that mean something elsewhere.
fn unknown() -> BoxedStrategy<Option<Tree>> {
    let scalar = proptest::sample::select(vec![
        "1.50",
        "-0",
        "1e2",
        "true",
        "\"\\/\"",
        "12345678901234567890",
    ]);
    let nested = Tree::Object(vec![(
        "attributes",
        Tree::Array(vec![plain("lightkeeper.app", "inner")]),
    )]);
    prop_oneof![4 => Just(None), 1 => scalar.prop_map(|scalar| Some(Tree::Scalar(scalar))), 1 => Just(Some(nested))]
        .boxed()
}

fn plain(key: &str, value: &str) -> Tree {
    let value = Tree::Object(vec![("stringValue", Tree::Text(value.to_owned()))]);
    Tree::Object(vec![("key", Tree::Text(key.to_owned())), ("value", value)])
}

fn attribute() -> BoxedStrategy<Tree> {
    let keys = vec![
        "service.name",
        "host",
        "k8s.\"pod\"",
        "lightkeeper.app",
        "lightkeeper.identity",
        "lightkeeper.",
        "lightkeeper",
        "Lightkeeper.app",
        "x.lightkeeper.app",
        "owner",
        "",
        "tab\t",
        "große",
    ];
    let text = |text: &str| Tree::Text(text.to_owned());
    let values = vec![
        object(vec![("stringValue", Some(text("checkout")))]),
        object(vec![("stringValue", Some(text("checkout")))]),
        object(vec![(
            "stringValue",
            Some(text("a \"b\" \\ lightkeeper.x 😀")),
        )]),
        object(vec![("intValue", Some(text("-9223372036854775808")))]),
        object(vec![
            ("stringValue", Some(text("one"))),
            ("boolValue", Some(Tree::Scalar("true"))),
        ]),
        object(vec![
            ("stringValue", Some(text("one"))),
            ("boolValue", Some(Tree::Scalar("null"))),
        ]),
        object(vec![("stringValue", Some(Tree::Scalar("7")))]),
        object(vec![(
            "kvlistValue",
            Some(Tree::Object(vec![(
                "values",
                Tree::Array(vec![plain("lightkeeper.app", "v")]),
            )])),
        )]),
        object(vec![]),
        Tree::Scalar("null"),
        Tree::Scalar("\"bare\""),
    ];
    let key = prop_oneof![9 => proptest::sample::select(keys).prop_map(Some), 1 => Just(None)];
    (key, proptest::sample::select(values), any::<bool>())
        .prop_map(move |(key, value, has_value)| {
            let key = key.map(|key| Tree::Text(key.to_owned()));
            object(vec![("key", key), ("value", has_value.then_some(value))])
        })
        .boxed()
}

fn attributes() -> BoxedStrategy<Option<Tree>> {
    array(attribute(), 4)
}

fn with_attributes(name: &'static str) -> BoxedStrategy<Tree> {
    (attributes(), unknown())
        .prop_map(move |(a, u)| object(vec![("unknown", u), (name, a)]))
        .boxed()
}

fn item(signal: Signal) -> BoxedStrategy<Tree> {
    match signal {
        Signal::Logs => with_attributes("attributes"),
        Signal::Traces => {
            let (event, link) = (with_attributes("attributes"), with_attributes("attributes"));
            (attributes(), array(event, 2), array(link, 2), unknown())
                .prop_map(|(a, e, l, u)| {
                    let id = Some(Tree::Scalar("\"5b8efff798038103d269b633813fc60c\""));
                    object(vec![
                        ("traceId", id),
                        ("events", e),
                        ("attributes", a),
                        ("unknown", u),
                        ("links", l),
                    ])
                })
                .boxed()
        }
        Signal::Metrics => {
            let kinds = vec![
                "gauge",
                "sum",
                "histogram",
                "exponentialHistogram",
                "summary",
            ];
            let exemplars = array(with_attributes("filteredAttributes"), 2);
            let point = (attributes(), exemplars)
                .prop_map(|(a, e)| object(vec![("exemplars", e), ("attributes", a)]));
            (
                proptest::sample::select(kinds),
                array(point, 3),
                attributes(),
                unknown(),
                any::<bool>(),
            )
                .prop_map(|(kind, points, metadata, u, has_data)| {
                    // A summary has no exemplars; the oracle does not look for any.
                    let kind = if kind == "summary" && format!("{points:?}").contains("exemplars") {
                        "sum"
                    } else {
                        kind
                    };
                    let data = object(vec![
                        ("dataPoints", points),
                        ("isMonotonic", Some(Tree::Scalar("true"))),
                    ]);
                    object(vec![
                        ("unknown", u),
                        (kind, has_data.then_some(data)),
                        ("metadata", metadata),
                    ])
                })
                .boxed()
        }
    }
}

fn export(signal: Signal) -> BoxedStrategy<Tree> {
    let (groups, scopes, items) = match signal {
        Signal::Traces => ("resourceSpans", "scopeSpans", "spans"),
        Signal::Metrics => ("resourceMetrics", "scopeMetrics", "metrics"),
        Signal::Logs => ("resourceLogs", "scopeLogs", "logRecords"),
    };
    let scope = perhaps(with_attributes("attributes"));
    let scoped = (scope, array(item(signal), 3), unknown()).prop_map(move |(scope, array, u)| {
        object(vec![("scope", scope), ("unknown", u), (items, array)])
    });
    let resource = perhaps(with_attributes("attributes"));
    let group = (resource, array(scoped, 2), unknown(), unknown()).prop_map(
        move |(resource, array, u, v)| {
            object(vec![
                ("unknown", u),
                ("resource", resource),
                (scopes, array),
                ("schema", v),
            ])
        },
    );
    (array(group, 4), unknown())
        .prop_map(move |(array, u)| object(vec![(groups, array), ("unknown", u)]))
        .boxed()
}

pub(super) fn any_text() -> impl Strategy<Value = (Signal, String)> {
    let signal = proptest::sample::select(Signal::ALL.to_vec());
    let tree = signal.prop_flat_map(|signal| export(signal).prop_map(move |tree| (signal, tree)));
    (tree, 1_u64.., 0_u64..3).prop_map(|((signal, tree), chance, wild)| {
        let mut pen = Pen {
            chance,
            wild,
            text: String::new(),
        };
        pen.tree(&tree);
        (signal, pen.text)
    })
}
