//! What bodies name, however it is written. What it refuses to know: whether it may be named.

use super::*;

fn read(body: &str) -> Result<Vec<String>, NamedFault> {
    let members = ["project-name".to_owned(), "project-roles".to_owned()];
    let naming = Naming {
        prefix: "/public/v0.2",
        organization: "acme",
        members: &members,
    };
    let told = |reference: &Reference| match reference {
        Reference::Project(name) => format!("project {name}"),
        Reference::Path {
            segments,
            is_relation: false,
        } => format!("path {}", segments.join("/")),
        Reference::Path {
            segments,
            is_relation: true,
        } => format!("relation {}", segments.join("/")),
        Reference::Unclear => "unclear".to_owned(),
    };
    Ok(named(body.as_bytes(), naming)?.iter().map(told).collect())
}

/// Guarantees: body by body, what it names, however it is written.
#[test]
fn bodies_name_projects() {
    for (body, expected) in [
        ("", vec![]),
        (
            r#"{"data":{"attributes":{"name":"pay","query":"service IN (\"pay\")","n":1.5,"b":[true,null]}}}"#,
            vec![],
        ),
        // What the profile lists.
        (
            r#"{"data":{"role-name":"Editor","project-name":"pay"}}"#,
            vec!["project pay"],
        ),
        (
            r#"{"data":{"Project_Name":"pay","project-name":""}}"#,
            vec!["project pay"],
        ),
        (
            r#"{"data":{"project-name":"shop","project-name":"pay"}}"#,
            vec!["project pay", "project shop"],
        ),
        (
            r#"{"data":{"mappings":[{"project-roles":{"pay":"Editor"}}]}}"#,
            vec!["project pay"],
        ),
        (
            r#"{"data":{"project-name":{"data":{"id":"pay","type":"project"}}}}"#,
            vec!["project pay"],
        ),
        (r#"{"data":{"project":"pay"}}"#, vec![]),
        // Relations.
        (
            r#"{"data":{"relationships":{"project":{"data":{"id":"pay","type":"project"}}}}}"#,
            vec!["project pay"],
        ),
        (
            r#"{"data":{"relationships":{"home":{"data":{"id":"pay","type":"Project"}}}}}"#,
            vec!["project pay"],
        ),
        (
            r#"{"data":{"Relation\u017fhips":{"project_id":"pay"}}}"#,
            vec!["project pay"],
        ),
        (
            r#"{"data":{"relationships":{"condition":{"data":{"id":"7","type":"condition"}}}}}"#,
            vec![],
        ),
        (
            r#"{"data":{"relationships":{"condition":{"links":{"related":"/public/v0.2/acme/projects/pay/conditions/7"}}}}}"#,
            vec!["relation projects/pay/conditions/7"],
        ),
        (
            r#"{"data":{"relationships":{"condition":{"related":"acme/projects/pay/conditions/7"}}}}"#,
            vec!["relation projects/pay/conditions/7"],
        ),
        // Any text.
        (
            r#"{"a":"see https://api.x/public/v0.2/acme/projects/p%61y%20x?y=1."}"#,
            vec!["path projects/pay x"],
        ),
        (
            r#"{"a":"\/public\/v0.2\/acme\/projects\/pay"}"#,
            vec!["path projects/pay"],
        ),
        (
            r#"{"a":"/public/v0.2/\u0061cme/projects/pay"}"#,
            vec!["path projects/pay"],
        ),
        (
            r#"{"/public/v0.2/acme/projects/pay":1}"#,
            vec!["path projects/pay"],
        ),
        (
            r#"["(/public/v0.2/acme/projects/pay), /PUBLIC/V0.2/acme/Projects/shop!"]"#,
            vec!["path Projects/shop", "path projects/pay"],
        ),
        (
            r#"{"a":"%2Fpublic%2Fv0.2%2Facme%2Fprojects%2Fpay"}"#,
            vec!["path projects/pay"],
        ),
        (
            r#"{"a":"%252Fpublic%252Fv0.2%252Facme%252Fprojects%252Fpay"}"#,
            vec!["path projects/pay"],
        ),
        (
            r#"{"a":"https://x/public/./v0.2//acme/projects/pay"}"#,
            vec!["path projects/pay"],
        ),
        (
            r#"{"a":"/public/x/../v0.2/acme/projects/pay"}"#,
            vec!["path projects/pay"],
        ),
        (
            r#"{"a":"\\public\\v0.2\\acme\\projects\\pay"}"#,
            vec!["path projects/pay"],
        ),
        (
            r#"{"a":"/public/v0.2/acme/projects/shop/../pay"}"#,
            vec!["path projects/pay", "unclear"],
        ),
        (
            r#"{"a":"/public/v0.2/acme/projects/shop%2F..%2Fpay"}"#,
            vec!["path projects/pay", "unclear"],
        ),
        // What is there as it is hides nothing that is there in another way.
        (
            r#"{"a":"https://x/projects/../public/./v0.2/acme/projects/pay"}"#,
            vec!["path projects/pay"],
        ),
        (
            r#"{"a":"/projects/../projects/../%2Fpublic%2F.%2Fv0%2E2%2Facme%2Fprojects%2Fpay"}"#,
            vec!["path projects/pay"],
        ),
        (
            r#"{"a":"/public/v0.2/acme/projects/shop, /public/v0.20/../public//v0.2/acme/projects/pay"}"#,
            vec!["path projects/pay", "path projects/shop"],
        ),
        // A document within a text.
        (
            r#"{"a":"{\"b\":\"\\u002fpublic\\u002Fv0.2\\/acme\\/projects\\u002fp\\u0061y\"}"}"#,
            vec!["path projects/pay"],
        ),
        // An address within an address, and escapes that are part of a name.
        (
            r#"{"a":"https://x/?next=https%3A%2F%2Fy%2Fpublic%2Fv0.2%2Facme%2Fprojects%2Fa%2520b%3Fc%3Dd"}"#,
            vec!["path projects/a b"],
        ),
        (
            r#"{"a":"//x/public/v0.2/acme/projects/a%20b/streams, 100%, \\ and \\u00e9"}"#,
            vec!["path projects/a b/streams"],
        ),
        (
            r#"{"a":"/public/v0.2/rival/projects/shop"}"#,
            vec!["unclear"],
        ),
        (
            r#"{"a":"/public/v0.2/acme/projects and /public/v0.20/rival, /public/v0.2/{organization}"}"#,
            vec![],
        ),
        (r#"{"a":"https://code.example/acme/projects/5"}"#, vec![]),
    ] {
        assert_eq!(
            read(body),
            Ok(expected.into_iter().map(str::to_owned).collect()),
            "{body}"
        );
    }
    for body in [
        "{",
        "{}{}",
        "{} x",
        "nonsense",
        "\u{feff}{}",
        r#"{"a":"\ud800"}"#,
    ] {
        assert_eq!(read(body), Err(NamedFault::Malformed), "{body}");
    }
    // One link of 65,536 prefixes, none of which is a path or all of which are.
    for each in [
        "/public/v0.2x",
        "/public/v0.2/acme/x",
        "xprojects/",
        "/projects/a/",
    ] {
        let long = each.repeat(1 << 16);
        let found = read(&format!(r#"{{"relationships":{{"a":"{long}"}}}}"#)).unwrap();
        assert_eq!(
            found.is_empty(),
            each.contains('x') && !each.contains("acme"),
            "{each}"
        );
    }
    let many: Vec<String> = (0..300)
        .map(|number| format!("\"/public/v0.2/acme/projects/{number}\""))
        .collect();
    assert_eq!(
        read(&format!("[{}]", many.join(","))),
        Err(NamedFault::TooMany)
    );
}
