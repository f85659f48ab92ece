//! Text in, exact diagnostics out. They see what a user of the module sees, and no more.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::*;

/// Every form that our files use.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the structure of some fields is looked at")]
struct Sample {
    name: Spanned<String>,
    #[serde(default)]
    count: Option<u16>,
    #[serde(default)]
    ratio: Option<f64>,
    #[serde(default)]
    on: Option<bool>,
    #[serde(default)]
    #[schemars(length(min = 1))]
    audiences: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    mode: Option<Mode>,
    #[serde(default)]
    token: Option<Reference>,
    #[serde(default)]
    tokens: Vec<Reference>,
    #[serde(default)]
    nodes: Entries<Leaf>,
    #[serde(default)]
    free: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the structure of some fields is looked at")]
struct Leaf {
    #[serde(default)]
    service: Option<String>,
    #[serde(default)]
    nodes: Entries<Leaf>,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// A documented word becomes a `const` in the schema.
    Refuse,
    Continue,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schemars(extend("x-hint" = "write a reference"))]
enum Reference {
    File(String),
    Env(String),
}

fn rendered(text: &str) -> String {
    match load::<Sample>(Path::new("a.yaml"), text) {
        Ok(_) => "ok".to_owned(),
        Err(found) => found
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

/// Guarantees: each structural mistake is found, all of them together, in the place where it stands.
#[test]
fn every_structural_mistake_has_its_words_and_place() {
    let table: &[(&str, &str)] = &[
        ("name: x", "ok"),
        (
            "name: 12\ncount: 65535\nratio: 1\non: off\nmode: refuse\n",
            "ok",
        ),
        (
            "name: x\ntoken: { file: a }\ntokens: [{ env: B }, { file: c }]\n",
            "ok",
        ),
        (
            "name: x\nnodes: { a: {}, b: { nodes: { c: { service: d } } } }\nfree: { a: [1, { b: ~ }] }",
            "ok",
        ),
        ("", "a.yaml:1:1: error: missing key `name`"),
        ("# nothing\n---\n", "a.yaml:2:4: error: missing key `name`"),
        (
            "[]",
            "a.yaml:1:1: error: the file must be a mapping, but is a list",
        ),
        (
            "name:",
            "a.yaml:1:5: error: `name` must be text, but is empty",
        ),
        (
            "name: x\nnmae: y\nzzz: 1\nCount: 2",
            "a.yaml:2:1: error: unknown key `nmae`\n  hint: did you mean `name`?\n\
             a.yaml:3:1: error: unknown key `zzz`\n  hint: known keys: `audiences`, `count`, `free`, `mode`, `name`, `nodes`, `on`, `ratio`, `token`, `tokens`\n\
             a.yaml:4:1: error: unknown key `Count`\n  hint: did you mean `count`?",
        ),
        (
            "name: x\nname: y",
            "a.yaml:2:1: error: duplicate key `name`\n  hint: it stands first on line 1",
        ),
        (
            "name: x\nfree:\n  a: { b: 1, b: 2 }",
            "a.yaml:3:14: error: duplicate key `b` in `free.a`\n  hint: it stands first on line 3",
        ),
        (
            "name: x\ncount: many",
            "a.yaml:2:8: error: `count` must be a whole number, but is text",
        ),
        (
            "name: x\ncount: \"1\"",
            "a.yaml:2:8: error: `count` must be a whole number, but is text",
        ),
        (
            "name: x\ncount: 65536",
            "a.yaml:2:8: error: `count` must be from 0 to 65535",
        ),
        (
            "name: x\non: 1",
            "a.yaml:2:5: error: `on` must be `true` or `false`, but is a number",
        ),
        (
            "name: x\naudiences: y",
            "a.yaml:2:12: error: `audiences` must be a list, but is text",
        ),
        (
            "name: x\naudiences: []",
            "a.yaml:2:12: error: `audiences` needs at least 1 entry",
        ),
        (
            "name: x\naudiences: [a, {}]",
            "a.yaml:2:16: error: `audiences[1]` must be text, but is a mapping",
        ),
        (
            "name: x\nmode: refused",
            "a.yaml:2:7: error: unknown word `refused` for `mode`\n  hint: did you mean `refuse`?",
        ),
        (
            "name: x\nmode: 7",
            "a.yaml:2:7: error: unknown word `7` for `mode`\n  hint: one of `continue`, `refuse`",
        ),
        (
            "name: x\nnodes:\n  a:\n    nodes:\n      b: { servise: c }",
            "a.yaml:5:12: error: unknown key `servise` in `nodes.a.nodes.b`\n  hint: did you mean `service`?",
        ),
        (
            "name: x\ntoken: {}\ntokens: [{ file: a, env: b }]",
            "a.yaml:2:8: error: `token` needs exactly one of `file`, `env`\n  hint: write a reference\n\
             a.yaml:3:10: error: `tokens[0]` needs exactly one of `file`, `env`\n  hint: write a reference",
        ),
        (
            "name: x\ntoken: b",
            "a.yaml:2:8: error: `token` must be a mapping, but is text\n  hint: write a reference",
        ),
        (
            "name: x\ntoken: { value: b }",
            "a.yaml:2:10: error: unknown key in `token`\n  hint: write a reference",
        ),
        (
            "name: x\ntoken: { file: [] }",
            "a.yaml:2:16: error: `token.file` must be text, but is a list",
        ),
        (
            "name: x\ntoken: { flie: a }",
            "a.yaml:2:10: error: unknown key in `token`\n  hint: did you mean `file`?",
        ),
        (
            "count: x\nmode: []\nnme: 3",
            "a.yaml:1:1: error: missing key `name`\n\
             a.yaml:1:8: error: `count` must be a whole number, but is text\n\
             a.yaml:2:7: error: `mode` must be text, but is a list\n  hint: one of `continue`, `refuse`\n\
             a.yaml:3:1: error: unknown key `nme`\n  hint: did you mean `name`?",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(rendered(text), *expected, "\n--- of ---\n{text}");
    }
}

/// Guarantees: what YAML offers beyond plain data is refused by name.
#[test]
fn yaml_beyond_plain_data_is_refused() {
    let table: &[(&str, &str)] = &[
        (
            "name: &a x\nfree: { b: *a }",
            "a.yaml:2:12: error: a YAML alias (`*…`) is not read\n  hint: write the value out, or quote it if it is text",
        ),
        (
            "name: *nothing",
            "a.yaml:1:7: error: a YAML alias (`*…`) is not read\n  hint: write the value out, or quote it if it is text",
        ),
        (
            "name: !secret x",
            "a.yaml:1:15: error: a YAML tag (`!…`) is not read\n  hint: remove the tag",
        ),
        (
            "<<: { a: 1 }",
            "a.yaml:1:1: error: a YAML merge key (`<<`) is not read\n  hint: write the merged keys out",
        ),
        (
            "? [a]\n: b",
            "a.yaml:1:3: error: a key must be text that is not empty\n  hint: quote the key",
        ),
        (
            "%YAML 1.2\n---\nname: x",
            "a.yaml:1:1: error: a YAML directive (`%…`) is not read",
        ),
        (
            "name: x\n---\nname: y",
            "a.yaml:3:1: error: only one document may stand in a file",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(rendered(text), *expected, "\n--- of ---\n{text}");
    }
}

/// Guarantees: size, depth and breadth are bounded, and a hostile file is an error, never a crash.
#[test]
fn hostile_sizes_are_refused() {
    let deep_flow = format!("name: {}", "[".repeat(100_000));
    assert!(
        rendered(&deep_flow).contains("nested deeper than 64 levels"),
        "{}",
        rendered(&deep_flow)
    );
    let deep_block: String = (0..200)
        .map(|level| format!("{}a:\n", " ".repeat(level)))
        .collect();
    assert!(
        rendered(&deep_block).contains("nested deeper than 64 levels"),
        "{}",
        rendered(&deep_block)
    );
    let nested_free = format!("name: x\nfree: {}{}", "{ a: ".repeat(60), "}".repeat(60));
    assert_eq!(rendered(&nested_free), "ok");
    assert!(rendered(&"#".repeat((4 << 20) + 1)).contains("larger than 4 MiB"));
    assert!(
        rendered(&format!("name: x\naudiences: [{}]", "a,".repeat(250_001)))
            .contains("more than 250000 values")
    );
    let many: String = (0..300)
        .map(|index| format!("unknown{index}: 1\n"))
        .collect();
    assert!(
        rendered(&format!("name: x\n{many}"))
            .ends_with("a.yaml: error: 200 more mistakes are not shown")
    );
}

/// Guarantees: wherever a secret is pasted by mistake, no diagnostic repeats it.
#[test]
fn a_misplaced_secret_is_never_repeated() {
    let canary = "canary-7f3a";
    for text in [
        "token: CANARY",
        "token: [CANARY]",
        "token: { CANARY: x }",
        "token: { CANARY }",
        "token: { file: [CANARY] }",
        "token: { CANARY: 1, CANARY: 2 }",
        "tokens: [CANARY, { CANARY: { CANARY: 1 } }]",
        "count: CANARY",
        "ratio: CANARY",
        "on: CANARY",
        "audiences: CANARY",
        "nodes: CANARY",
        "name: \"CANARY\n  : :\n x",
        "name: 'CANARY' CANARY",
        "name: *CANARY",
        "name: &CANARY",
        "name: !CANARY x",
        "? { CANARY: x }\n: y",
        "name: x\n  CANARY: y",
        "- CANARY",
    ] {
        let text = text.replace("CANARY", canary);
        let answer = rendered(&text);
        assert!(
            !answer.contains(canary) && answer != "ok",
            "{text}\n{answer}"
        );
    }
}

/// Guarantees: places reach the later checks, for values and for the keys of a free mapping.
#[test]
fn values_and_keys_know_their_places() {
    let text = "name: x\naudiences:\n  - a\n  - é\nnodes:\n  one: {}\n  two: { service: s }\nmode: continue\n";
    let sample: Sample = load(Path::new("a.yaml"), text).unwrap();
    assert_eq!(
        (
            sample.name.value.as_str(),
            sample.name.line(),
            sample.name.column()
        ),
        ("x", 1, 7)
    );
    let audiences = sample.audiences.unwrap();
    assert_eq!(
        (
            audiences[1].value.as_str(),
            audiences[1].line(),
            audiences[1].column()
        ),
        ("é", 4, 5)
    );
    let keys: Vec<_> = sample
        .nodes
        .into_iter()
        .map(|(key, _)| (key.value.clone(), key.line(), key.column()))
        .collect();
    assert_eq!(keys, [("one".to_owned(), 6, 3), ("two".to_owned(), 7, 3)]);
    assert_eq!(sample.mode, Some(Mode::Continue));
    assert_eq!((sample.ratio, sample.on, sample.token), (None, None, None));
}
