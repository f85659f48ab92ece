//! A first configuration, from its questions to a check. What it refuses to know: what a profile says.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use lightkeeper::profiles::Profile;

use super::*;

/// What `init` is told of a backend.
fn arguments(profile: &Profile, folder: &Path) -> Vec<String> {
    let mut arguments = vec!["init", "--backend", &profile.name];
    arguments.extend(["--issuer", "https://idp.acme.example"]);
    arguments.extend(["--app", "shop=shop-prod"]);
    arguments.extend(["--app", "shop/checkout=checkout-prod"]);
    arguments.extend(["--subject", "system:serviceaccount:checkout:*"]);
    if profile.addresses.is_hint() {
        arguments.extend(["--url", "https://telemetry.acme.example"]);
    }
    if profile.has_query() {
        arguments.extend(["--organization", "acme"]);
    }
    let mut arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    let wanted = profile.parameters().iter();
    for parameter in wanted.filter(|parameter| parameter.default.is_none()) {
        arguments.extend(["--with".to_owned(), format!("{}=word1", parameter.name)]);
    }
    arguments.extend(["--output".to_owned(), folder.display().to_string()]);
    arguments
}

fn run_all(arguments: &[String]) -> program::Ended {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(&arguments)
}

/// Scenario: a newcomer writes a first configuration for each built-in profile. Guarantees: it is checked without its secrets at
/// once, and with them as soon as they are in their files; those are for their owner alone; what is printed says which they are.
#[test]
fn a_first_configuration_is_accepted_for_each_profile() {
    for profile in Profile::built_in() {
        let (folder, name) = (Folder::new(), &profile.name);
        let made = run_all(&arguments(profile, folder.path()));
        assert_eq!(
            (made.status, made.err.as_str()),
            (0, ""),
            "{name}: {}",
            made.out
        );
        let config = folder.at("lightkeeper.yaml");
        let skipped = run(&["check", "--skip-files", "--config", &config]);
        assert_eq!((skipped.status, skipped.err.as_str()), (0, ""), "{name}");
        let secrets = std::fs::read_dir(folder.join("secrets")).unwrap();
        let secrets: Vec<_> = secrets.map(|entry| entry.unwrap().path()).collect();
        let empty = run(&["check", "--config", &config]);
        assert_eq!(
            empty.status,
            i32::from(!secrets.is_empty()),
            "{name}: {}",
            empty.err
        );
        for secret in &secrets {
            let mode = secret.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{name}");
            assert!(
                made.out.contains(&secret.display().to_string()),
                "{name}: {}",
                made.out
            );
            std::fs::write(secret, "a-secret-9c1d").unwrap();
        }
        let filled = run(&["check", "--config", &config]);
        assert_eq!((filled.status, filled.err.as_str()), (0, ""), "{name}");
        let json = run(&["check", "--config", &config, "--output", "json"]).json();
        assert_eq!(json["has_query_api"], profile.has_query(), "{name}");
        std::fs::write(folder.join("policy.yaml"), "version: 2").unwrap();
        let json = run(&["check", "--config", &config, "--output", "json"]).json();
        assert_eq!(json["has_query_api"], serde_json::Value::Null, "{name}");
        assert!(made.out.contains(&format!("docs/backends/{name}.md")) || secrets.is_empty());
        assert!(
            repository()
                .join(format!("docs/backends/{name}.md"))
                .is_file(),
            "{name}"
        );
    }
}

/// Scenario: `init` in a folder that has files already. Guarantees: nothing is overwritten unless it is forced, and a secret
/// never.
#[test]
fn what_is_there_stays() {
    let folder = Folder::new();
    let arguments = arguments(&Profile::standard(), folder.path());
    std::fs::write(folder.join("policy.yaml"), "mine").unwrap();
    let refused = run_all(&arguments);
    assert_eq!(refused.status, 1);
    assert!(
        refused.err.contains("policy.yaml` is there already"),
        "{}",
        refused.err
    );
    assert!(!folder.join("lightkeeper.yaml").exists() && !folder.join("secrets").exists());
    std::fs::create_dir(folder.join("secrets")).unwrap();
    std::fs::write(folder.join("secrets/checkout-prod"), "kept-2b77").unwrap();
    let forced = run_all(&[arguments, vec!["--force".to_owned()]].concat());
    assert_eq!(forced.status, 0, "{}", forced.err);
    let kept = std::fs::read_to_string(folder.join("secrets/checkout-prod")).unwrap();
    assert_eq!(kept, "kept-2b77");
    assert!(
        std::fs::read_to_string(folder.join("policy.yaml"))
            .unwrap()
            .contains("checkout-prod")
    );
}

/// Scenario: projects whose names are those of other files, differ in case alone, are very long, or hold what YAML does not
/// print. Guarantees: each has a file of its own, and what is written is accepted.
#[test]
fn each_secret_has_a_file_of_its_own() {
    let folder = Folder::new();
    let long = format!("{}-\u{1f4e6}", "ä".repeat(120));
    let names = [
        "api-key-read",
        "api-key+read",
        "Shop",
        "shop",
        "%53hop",
        "a\u{feff}b",
        "\"',:#{",
        "x'&*!|>-",
        &long,
        &long.replace('-', "+"),
    ];
    let mut arguments = arguments(&Profile::named("lightstep").unwrap(), folder.path());
    for (number, name) in names.iter().enumerate() {
        arguments.extend(["--app".to_owned(), format!("more/of{number}={name}")]);
    }
    let made = run_all(&arguments);
    assert_eq!((made.status, made.err.as_str()), (0, ""), "{}", made.out);
    let entries = std::fs::read_dir(folder.join("secrets")).unwrap();
    let files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    // Those of the arguments are two more, and there is the key.
    assert_eq!(files.len(), names.len() + 3, "{files:?}");
    let mut folded: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string().to_lowercase())
        .collect();
    folded.sort();
    folded.dedup();
    assert_eq!(folded.len(), files.len(), "{folded:?}");
    for file in &files {
        std::fs::write(file, "a-secret-9c1d").unwrap();
    }
    let checked = run(&["check", "--config", &folder.at("lightkeeper.yaml")]);
    assert_eq!((checked.status, checked.err.as_str()), (0, ""));
}

/// Scenario: an answer holds characters that end a line, or that YAML does not print; others could not be served. Guarantees:
/// what `check` would not accept is said, and nothing is written; the rest is written so that it is read again as it was said.
#[test]
fn nothing_is_written_that_check_would_refuse() {
    let odd = "a\u{7f}b\u{85}c\u{2028}d\u{1}e\"f\\g\nh\u{ffff}";
    let unprinted = "a\u{feff}b\u{2028}c\u{ffff}d\"e\\f";
    for (argument, value, is_taken) in [
        ("--subject", unprinted, true),
        ("--subject", odd, false),
        ("--audience", odd, true),
        ("--issuer", odd, false),
        ("--organization", odd, false),
        ("--url", odd, false),
        ("--url", "", false),
        ("--audience", "", false),
    ] {
        let folder = Folder::new();
        let mut arguments = arguments(&Profile::named("lightstep").unwrap(), folder.path());
        match arguments.iter().position(|one| one == argument) {
            Some(place) => arguments[place + 1] = value.to_owned(),
            None => arguments.extend([argument.to_owned(), value.to_owned()]),
        }
        let made = run_all(&arguments);
        let what = format!("{argument} {value:?}: {}", made.err);
        assert_eq!(made.status == 0, is_taken, "{what}");
        let is_there = |name: &str| folder.join(name).exists();
        let written = ["lightkeeper.yaml", "policy.yaml", "secrets"].map(is_there);
        assert_eq!(written, [is_taken; 3], "{what}");
        assert!(
            is_taken || made.err.contains("nothing was written"),
            "{what}"
        );
        if is_taken {
            let checked = run(&[
                "check",
                "--skip-files",
                "--config",
                &folder.at("lightkeeper.yaml"),
            ]);
            assert_eq!(checked.status, 0, "{what}: {}", checked.err);
        }
    }
}

/// Scenario: a script says too little, or what cannot be. Guarantees: it is told what is missing, in the arguments' words, with
/// exit status 2, and nothing is written; a policy without a binding is one, too.
#[test]
fn a_script_is_told_what_is_missing() {
    let folder = Folder::new();
    let output = folder.path().display().to_string();
    let told = |given: &[&str]| run(&[&["init", "--output", &output], given].concat());
    let least = [
        "--issuer",
        "https://idp.acme.example",
        "--app",
        "shop=shop-prod",
    ];
    for (given, expected) in [
        (&[][..], "--backend NAME, --issuer URL, --app PATH=PROJECT"),
        (
            &["--backend", "otlp"],
            "--url URL, --issuer URL, --app PATH=PROJECT",
        ),
        (
            &["--backend", "nothing"],
            "no built-in profile is called so; there are ",
        ),
        (
            &["--app", "/=shop-prod"],
            "write it as `shop/checkout=checkout-prod`",
        ),
        (&["--app", "Shop=shop-prod"], "is not an app's path"),
        (
            &["--app", "shop=shop prod"],
            "1 to 255 bytes without spaces",
        ),
        (&["--with", "region"], "write it as `region=eu1`"),
        (
            &[
                "--backend",
                "logfire",
                "--with",
                "region=us",
                "--with",
                "region=eu",
                "--issuer",
                "https://idp.acme.example",
                "--app",
                "shop=shop-prod",
            ],
            "parameter `region` is given twice",
        ),
        (
            &[
                "--backend",
                "logfire",
                "--issuer",
                "https://idp.acme.example",
                "--app",
                "shop=one",
                "--app",
                "shop=two",
            ],
            "app `shop` is given twice",
        ),
        (
            &[
                "--backend",
                "logfire",
                "--issuer",
                "https://idp.acme.example",
                "--app",
                "shop=one",
                "--app",
                "shop/cart=one",
            ],
            "project `one` is given to two apps",
        ),
    ] {
        let ended = told(given);
        assert_eq!(ended.status, 2, "{given:?}: {}", ended.err);
        assert!(ended.err.contains(expected), "{given:?}: {}", ended.err);
    }
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    let logfire = ["--backend", "logfire", "--with", "region=asia"];
    let refused = told(&[&logfire[..], &least].concat());
    assert_eq!(refused.status, 2);
    assert!(refused.err.contains("one of `us`, `eu`"), "{}", refused.err);
    let otlp = ["--backend", "otlp", "--url", "https://otlp.acme.example"];
    let made = told(&[&otlp[..], &least].concat());
    assert_eq!(made.status, 0, "{}", made.err);
    assert!(made.err.contains("warning: no binding"), "{}", made.err);
    assert!(made.out.contains("who may export"), "{}", made.out);
    let wrong = [
        "--backend",
        "otlp",
        "--url",
        "ftp://otlp.acme.example",
        "--force",
    ];
    let made = told(&[&wrong[..], &least].concat());
    assert_eq!(made.status, 1);
    assert!(made.err.contains("lightkeeper.yaml:"), "{}", made.err);
}

/// Scenario: a person types `init` at a terminal, mistypes the backend, and takes what is offered where it is. Guarantees: what
/// cannot be read is asked again, a default is taken for nothing, and what is written is accepted.
#[cfg(target_os = "linux")]
#[test]
fn a_person_is_asked() {
    let folder = Folder::new();
    let output = folder.at("new");
    let typed = [
        "dash1",
        "dash0",
        "eu-west-1",
        "",
        "https://idp.acme.example",
        "",
        "shop",
        "shop=shop-prod",
        "shop/checkout=checkout-prod",
        "",
        "system:serviceaccount:shop:*",
        "",
    ];
    let arguments = ["init", "--output", &output];
    let desk = crate::developer::desk::Desk::new();
    let (program, _terminal) = desk.start_at_terminal(&arguments, &typed.join("\n"));
    let ended = program.end();
    assert_eq!(ended.status, 0, "{ended:?}");
    let config = folder.join("new/lightkeeper.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    for expected in [
        "with: { \"region\": \"eu-west-1\" }",
        "audiences: [\"lightkeeper\"]",
        "\"checkout-prod\": { access_token:",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let checked = run(&[
        "check",
        "--skip-files",
        "--config",
        &config.display().to_string(),
    ]);
    assert_eq!((checked.status, checked.err.as_str()), (0, ""), "{text}");
}
