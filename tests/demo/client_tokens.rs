//! A client token from its issue to its use. What it refuses to know: how its digest is made.

use super::*;

/// Scenario: a client token is issued, its line pasted, and the token shown to `explain`. Guarantees: the token stands
/// alone on standard output, the line is accepted as printed, and the token may what its binding may; with the line
/// gone it identifies no caller; a line for a binding that does not exist is a mistake.
#[test]
fn a_client_token_is_issued_once() {
    let folder = Folder::new();
    first_configuration(folder.path());
    let config = folder.at("lightkeeper.yaml");
    // A name that YAML would not take for text if it were not quoted.
    let issue = [
        "token",
        "issue",
        "--name",
        "off",
        "--binding",
        "checkout-pods",
    ];
    let made = run(&[&issue[..], &["--until", "2100-01-01T00:00:00Z"]].concat());
    assert_eq!(made.status, 0, "{}", made.err);
    let token = made.out.trim_end();
    assert_eq!((token.len(), made.out.lines().count()), (32, 1));
    assert!(
        token.starts_with("lk_") && !made.err.contains(token),
        "{}",
        made.err
    );
    let line = made
        .err
        .lines()
        .find(|line| line.trim_start().starts_with("- {"))
        .unwrap();
    assert!(
        line.contains("sha256:") && line.contains("2100-01-01"),
        "{line}"
    );

    folder.replace(
        "lightkeeper.yaml",
        "upstreams:",
        &format!("client_tokens:\n{line}\nupstreams:"),
    );
    let checked = run(&["check", "--config", &config]);
    assert_eq!(
        (checked.status, checked.err.as_str()),
        (0, ""),
        "{}",
        checked.out
    );
    std::fs::write(folder.at("token"), &made.out).unwrap();
    let explain = |path: &str| {
        run(&[
            "explain",
            "--config",
            &config,
            "--token-file",
            &folder.at("token"),
            "POST",
            path,
        ])
    };
    let allowed = explain("/v1/traces");
    assert_eq!(allowed.status, 0, "{}{}", allowed.out, allowed.err);
    for words in [
        "method: client_token",
        "issuer: client_tokens",
        "subject: off",
        "checkout-pods",
    ] {
        assert!(
            allowed.out.contains(words),
            "`{words}` is missing:\n{}",
            allowed.out
        );
    }
    assert!(!allowed.out.contains(token), "{}", allowed.out);
    let denied = explain("/apps/shop/payments/-/v1/traces");
    assert!(
        denied.status == 3 && denied.out.contains("reason: not_permitted"),
        "{}",
        denied.out
    );

    folder.replace(
        "lightkeeper.yaml",
        "binding: \"checkout-pods\"",
        "binding: \"checkout-pod\"",
    );
    let bad = run(&["check", "--config", &config]);
    assert_eq!(bad.status, 1, "{}", bad.err);
    assert!(
        bad.err
            .contains("error: the policy has no binding `checkout-pod`"),
        "{}",
        bad.err
    );
    folder.replace(
        "lightkeeper.yaml",
        line.replace("checkout-pods", "checkout-pod").as_str(),
        "",
    );
    let unknown = explain("/v1/traces");
    assert!(
        unknown.status == 3 && unknown.out.contains("reason: client_token_unknown"),
        "{}",
        unknown.out
    );

    let json = run(&[&issue[..], &["--output", "json"]].concat());
    assert_eq!((json.status, json.err.as_str()), (0, ""));
    let json = json.json();
    assert!(
        json["line"]
            .as_str()
            .unwrap()
            .contains(json["hash"].as_str().unwrap()),
        "{json}"
    );
    assert!(
        json["token"].as_str().unwrap() != token && json["until"].is_null(),
        "{json}"
    );
    for wrong in [
        &["--name", "a b", "--binding", "b"][..],
        &["--name", "a", "--binding", ""],
        &["--name", "a"],
        &[
            "--name",
            "a",
            "--binding",
            "b",
            "--until",
            "2020-01-01T00:00:00Z",
        ],
        &["--name", "a", "--binding", "b", "--until", "tomorrow"],
    ] {
        let refused = run(&[&["token", "issue"], wrong].concat());
        assert_eq!(
            (refused.status, refused.out.as_str()),
            (2, ""),
            "{wrong:?}: {}",
            refused.err
        );
    }
}
