//! `lightkeeper.yaml`: a folder of files and what is said about each.
//!
//! Each `tests/config/NAME.yaml` is checked without touching other files, each `tests/config/files/NAME.yaml`
//! together with the files that it names, in a folder filled by `furnish`; `NAME.expected` beside it holds
//! what is said. `LIGHTKEEPER_BLESS=1 cargo test --test integration config::` writes the expectations anew, to be read
//! before they are committed.

mod everything;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lightkeeper::apps::{AppPath, BackendId, BackendNames};
use lightkeeper::authorize::BackendUse;
use lightkeeper::clock::UnixMillis;
use lightkeeper::config::{self, Checked};
use lightkeeper::document::Diagnostic;
use lightkeeper::forward::UpstreamSettings;
use lightkeeper::limits::Limits;
use lightkeeper::transform::IngestSettings;
use testkit::golden;

use crate::folder::Folder;

/// What every case puts where a secret may stand.
const CANARY: &str = "canary-7f3a";

fn root() -> &'static Path {
    testkit::top()
}

/// The YAML files of a folder, by name.
fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no cases in {}", folder.display());
    files
}

fn rendered((checked, found): &(Option<Checked>, Vec<Diagnostic>)) -> String {
    let mut lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    lines.push(
        if checked.is_some() {
            "accepted"
        } else {
            "refused"
        }
        .to_owned(),
    );
    lines.join("\n") + "\n"
}

/// Scenario: a file with mistakes of one kind. Guarantees: all of them are named in their places, with the
/// committed words; nothing that may be a secret is repeated.
#[test]
fn each_file_is_answered_as_expected() {
    let mut failures = Vec::new();
    for case in yaml_files(&root().join("tests/config")) {
        let text = std::fs::read_to_string(&case).unwrap();
        let said = rendered(&config::parse(Path::new("lightkeeper.yaml"), &text));
        assert!(
            !said.contains(CANARY),
            "{}: a secret is repeated:\n{said}",
            case.display()
        );
        failures.extend(golden::check(&case.with_extension("expected"), &said).err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Scenario: the configuration is sound, the files that it names are not. Guarantees: each fault is named
/// where the configuration names the file, without any content of it.
#[test]
fn each_named_file_is_answered_as_expected() {
    let folder = Folder::new();
    furnish(folder.path());
    let mut failures = Vec::new();
    for case in yaml_files(&root().join("tests/config/files")) {
        let copy = folder.join("lightkeeper.yaml");
        std::fs::copy(&case, &copy).unwrap();
        let said =
            rendered(&config::load(&copy)).replace(&format!("{}/", folder.path().display()), "");
        assert!(
            !said.to_lowercase().contains(CANARY),
            "{}: a secret is repeated:\n{said}",
            case.display()
        );
        failures.extend(golden::check(&case.with_extension("expected"), &said).err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Scenario: the configuration itself is not there. Guarantees: it is said, without a place in it.
#[test]
fn a_configuration_that_cannot_be_read_is_an_error() {
    let (checked, found) = config::load(Path::new("nowhere/lightkeeper.yaml"));
    assert!(checked.is_none());
    let said: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        ["nowhere/lightkeeper.yaml: error: the configuration cannot be read: entity not found"]
    );
}

/// Scenario: what we ship as examples. Guarantees: each is accepted without even a warning.
#[test]
fn every_shipped_example_is_accepted() {
    for example in yaml_files(&root().join("deploy/examples")) {
        let text = std::fs::read_to_string(&example).unwrap();
        assert_eq!(
            rendered(&config::parse(&example, &text)),
            "accepted\n",
            "{}",
            example.display()
        );
    }
}

/// Scenario: the commented example spells the defaults out. Guarantees: what it calls the default is.
#[test]
fn the_examples_defaults_are_the_defaults() {
    let path = root().join("deploy/examples/lightkeeper.yaml");
    let (checked, _) = config::parse(&path, &std::fs::read_to_string(&path).unwrap());
    let example = checked.unwrap();
    let (bare, _) = config::parse(
        Path::new("lightkeeper.yaml"),
        include_str!("config/smallest.yaml"),
    );
    let bare = bare.unwrap();
    assert_eq!(example.limits, Limits::default());
    assert_eq!(bare.limits, Limits::default());
    assert_eq!(
        (&example.ingest, &bare.ingest),
        (&IngestSettings::default(), &IngestSettings::default())
    );
    assert_eq!((example.admin, example.log), (bare.admin, bare.log));
    assert_eq!(example.audit.on_failure, bare.audit.on_failure);
    assert_eq!(example.audit.queue_records, bare.audit.queue_records);
    let (explicit, implied) = (&example.issuers[0], &bare.issuers[0]);
    assert_eq!(explicit.types, implied.types);
    assert_eq!(
        (&explicit.subject_claims, &explicit.groups_claim),
        (&implied.subject_claims, &implied.groups_claim)
    );
    assert_eq!(
        (explicit.leeway, explicit.refresh, explicit.stale_keys),
        (implied.leeway, implied.refresh, implied.stale_keys)
    );
    let timeouts = |upstream: &Option<UpstreamSettings>| {
        upstream.as_ref().map(|it| {
            (
                it.connect_timeout,
                it.read_timeout,
                it.write_timeout,
                it.idle_timeout,
            )
        })
    };
    assert_eq!(
        timeouts(&example.backends[0].upstreams.ingest),
        timeouts(&bare.backends[0].upstreams.ingest)
    );
    assert_eq!(
        timeouts(&example.backends[0].upstreams.query).map(|it| it.1),
        Some(Duration::from_secs(60))
    );
}

/// Scenario: the certificates that a configuration names, long before their end, shortly before, and after it.
/// Guarantees: a warning in the place of each, which says when; none while there is time.
#[test]
fn certificates_that_end_are_told() {
    let folder = Folder::new();
    furnish(folder.path());
    let path = folder.join("lightkeeper.yaml");
    std::fs::copy(root().join("tests/config/files/sound.yaml"), &path).unwrap();
    let (checked, found) = config::load(&path);
    let checked = checked.unwrap_or_else(|| panic!("{found:?}"));
    // What certificates have whose maker says nothing of their end.
    let end = rcgen::date_time_ymd(4096, 1, 1).unix_timestamp();
    const DAY: i64 = 24 * 3600;
    for (now, words) in [
        (end - 31 * DAY, None),
        (end - 29 * DAY, Some("in date for few days")),
        (end, Some("in date for few days")),
        (end + 1, Some("out of date")),
    ] {
        let said: Vec<String> = checked
            .check_dates(UnixMillis(now * 1000))
            .iter()
            .map(|one| one.to_string())
            .collect();
        let Some(words) = words else {
            assert!(said.is_empty(), "{said:?}");
            continue;
        };
        for subject in [
            "listeners[0].tls.certificate",
            "listeners[0].tls.client_ca",
            "upstreams.ingest.ca",
            "upstreams.ingest.client.certificate",
        ] {
            let one = said
                .iter()
                .find(|one| one.contains(&format!("warning: `{subject}`")))
                .unwrap();
            assert!(
                one.contains(words) && one.contains("4096-01-01T00:00:00"),
                "{one}"
            );
        }
        assert_eq!(said.len(), 4, "{said:?}");
    }
}

/// Scenario: the short form of `client_ca`, with a certificate that names its trust domain and with one that does not, and
/// policies that name trust domains and that do not, beside an issuer of JWT-SVIDs for one.
/// Guarantees: the authority is bound to what can be inferred, and a warning says to what, and how to say it; the list
/// form is bound to what it says, without a word.
#[test]
fn the_short_form_of_client_ca_binds_what_can_be_inferred() {
    let folder = Folder::new();
    furnish(folder.path());
    let path = folder.join("lightkeeper.yaml");
    let sound = std::fs::read_to_string(root().join("tests/config/files/sound.yaml")).unwrap();
    let list = "client_ca: [{ name: prod, file: ca.pem, trust_domains: [said.example] }]";
    for (client_ca, named, bound, warning) in [
        (
            "client_ca: ca.pem",
            vec!["a.example", "b.example"],
            vec!["a.example", "b.example"],
            "the policy names: `a.example`, `b.example`;",
        ),
        (
            "client_ca: ca.pem",
            vec![],
            vec![],
            "speaks for no SPIFFE trust domain",
        ),
        (
            "client_ca: named-ca.pem",
            vec!["a.example"],
            vec!["own.example"],
            "its certificate names: `own.example`;",
        ),
        // An issuer of JWT-SVIDs speaks for it; that a policy names it says nothing of certificates.
        (
            "client_ca: ca.pem",
            vec!["a.example", "mesh.example"],
            vec!["a.example"],
            "the policy names: `a.example`;",
        ),
        (
            "client_ca: ca.pem",
            vec!["mesh.example"],
            vec![],
            "`issuers` has those that the policy names: `mesh.example`",
        ),
        (
            "client_ca: named-ca.pem",
            vec!["mesh.example"],
            vec!["own.example"],
            "its certificate names: `own.example`;",
        ),
        (list, vec!["a.example"], vec!["said.example"], ""),
    ] {
        let text = sound.replace("client_ca: ca.pem, client_crl: clients.crl", client_ca);
        assert_ne!(text, sound);
        let text = text.replace(
            "issuers: [{",
            "issuers: [{ name: mesh, spiffe: { trust_domain: mesh.example, bundle: { file: bundle.json } }, audiences: [a] }, {",
        );
        std::fs::write(&path, text).unwrap();
        let (checked, found) = config::load(&path);
        let mut checked = checked.unwrap_or_else(|| panic!("{found:?}"));
        let said = checked.infer_trust_domains(&named);
        let clients = checked.listeners[0]
            .tls
            .as_ref()
            .unwrap()
            .clients
            .as_ref()
            .unwrap();
        assert_eq!(clients.authorities[0].trust_domains, bound, "{client_ca}");
        assert_eq!(said.len(), usize::from(!warning.is_empty()), "{said:?}");
        if let [one] = said.as_slice() {
            let one = one.to_string();
            assert!(
                one.contains(warning)
                    && one.contains("warning:")
                    && one.contains("client_ca: [{ name:"),
                "{one}"
            );
            assert!(
                one.starts_with(&format!("{}:", path.display())) && !one.contains(":0:"),
                "{one}"
            );
        }
    }
}

/// Scenario: the policy's projects against the vault's. Guarantees: a project without a token is an error
/// where the policy declares it; one that is declared nowhere is a warning where the vault names it.
#[test]
fn projects_of_policy_and_vault_are_compared() {
    let text = format!(
        "{}vault:\n  projects:\n    shop: {{ access_token: [{{ env: A }}] }}\n    idle: {{ access_token: [{{ env: B }}] }}\n    keys-only: {{ api_key: {{ read: {{ env: C }} }} }}\n",
        include_str!("config/smallest.yaml")
    );
    let (checked, _) = config::parse(Path::new("lightkeeper.yaml"), &text);
    let policy = Path::new("policy.yaml");
    let declared = [("shop", 3), ("lost", 4), ("keys-only", 5)].map(|(project, line)| BackendUse {
        project: project.into(),
        backend: BackendId::default(),
        line,
        column: 5,
    });
    let said: Vec<String> = checked
        .unwrap()
        .check_projects(policy, &declared)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        said,
        [
            "policy.yaml:4:5: error: project `lost` has no access token, so that nothing can be sent to it\n  hint: add `vault.projects.lost.access_token` to `lightkeeper.yaml`",
            "policy.yaml:5:5: error: project `keys-only` has no access token, so that nothing can be sent to it\n  hint: add `vault.projects.keys-only.access_token` to `lightkeeper.yaml`",
            "lightkeeper.yaml:10:5: warning: project `idle` is not declared by any app of the policy\n  hint: its credentials are never used: declare it, or remove it here",
        ]
    );
}

/// Scenario: client tokens against the policy's bindings and the clock. Guarantees: one for a binding that does not
/// exist is an error in its place, one that is over a warning, from its very second on.
#[test]
fn client_tokens_are_compared_with_policy_and_clock() {
    let line = |name: &str, digit: u8, more: &str| {
        format!("  - {{ name: {name}, hash: \"sha256:{digit:064}\", {more} }}\n")
    };
    let text = format!(
        "{}client_tokens:\n{}{}{}",
        include_str!("config/smallest.yaml"),
        line("sound", 1, "binding: checkout-pods"),
        line("lost", 2, "binding: checkout-pod"),
        line("over", 3, "binding: sre, until: 2027-01-01T00:00:00Z"),
    );
    let (checked, _) = config::parse(Path::new("lightkeeper.yaml"), &text);
    let checked = checked.unwrap();
    let said = |bindings: &[&str], second: i64| -> Vec<String> {
        let found = checked.check_client_tokens(bindings, UnixMillis(second * 1000 + 999));
        found.iter().map(ToString::to_string).collect()
    };
    let until = 1_798_761_600;
    assert_eq!(
        said(&["checkout-pods", "checkout-pod", "sre"], until - 1),
        [""; 0]
    );
    assert_eq!(
        said(&["checkout-pods", "sre"], until),
        [
            "lightkeeper.yaml:9:109: error: the policy has no binding `checkout-pod`\n  hint: did you mean `checkout-pods`?",
            "lightkeeper.yaml:10:121: warning: client token `over` is over: it is refused\n  hint: remove the line, or move `until`",
        ]
    );
    assert!(said(&[], 0)[0].ends_with("hint: the policy has no bindings"));
    assert!(said(&["x"], 0)[0].ends_with("hint: the policy has `x`"));
}

/// Scenario: webhook secrets against the policy's apps. Guarantees: one of an app that does not exist is an error in its
/// place.
#[test]
fn webhooks_are_compared_with_the_policys_apps() {
    let text = format!(
        "{}vault:\n  webhooks:\n    shop: [{{ env: A }}]\n    shop/chekout: [{{ env: B }}]\n    \"/\": [{{ env: C }}]\n",
        include_str!("config/smallest.yaml")
    );
    let (checked, _) = config::parse(Path::new("lightkeeper.yaml"), &text);
    let apps = ["/", "shop", "shop/checkout"].map(|path| AppPath::parse(path).unwrap());
    let said: Vec<String> = checked
        .unwrap()
        .check_webhooks(&apps)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        said,
        [
            "lightkeeper.yaml:10:5: error: the policy has no app `shop/chekout`\n  hint: did you mean `shop/checkout`?"
        ]
    );
}

/// Scenario: a policy sends data to backends for which the vault has no token, and to one of several not at all. Guarantees: each
/// is told where it stands, with the key to add.
#[test]
fn a_policy_is_held_against_the_backends_credentials() {
    let (checked, found) = config::parse(
        Path::new("lightkeeper.yaml"),
        "organization: acme
policy: policy.yaml
issuers: [{ name: idp, issuer: https://idp.example, audiences: [lightkeeper] }]
listeners: [{ name: a, address: 127.0.0.1:0, serves: [ingest] }]
backends:
  main: { profile: otlp, ingest: { url: https://main.example } }
  other: { profile: otlp, ingest: { url: https://other.example } }
  spare: { profile: otlp, ingest: { url: https://spare.example } }
default_backend: main
vault:
  projects:
    shop: { backends: { other: { access_token: [{ env: THERE }] } } }
    gone: { access_token: [{ env: GONE }] }
",
    );
    assert_eq!(found, []);
    let names = ["main", "other", "spare"];
    let uses = [
        ("shop", 0, 3),
        ("shop", 1, 4),
        ("cart", 1, 7),
        ("cart", 0, 6),
    ]
    .map(|(project, backend, line)| BackendUse {
        project: project.into(),
        backend: BackendNames::new(names.map(Arc::from))
            .find(names[backend])
            .unwrap(),
        line,
        column: 5,
    });
    let said: Vec<String> = checked
        .unwrap()
        .check_projects(Path::new("policy.yaml"), &uses)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        said,
        [
            "policy.yaml:3:5: error: project `shop` has no access token, so that nothing can be sent to it\n  hint: add \
             `vault.projects.shop.access_token` to `lightkeeper.yaml`",
            "policy.yaml:7:5: error: project `cart` has no access token for backend `other`, so that nothing can be sent to it \
             there\n  hint: add `vault.projects.cart.backends.other.access_token` to `lightkeeper.yaml`",
            "policy.yaml:6:5: error: project `cart` has no access token, so that nothing can be sent to it\n  hint: add \
             `vault.projects.cart.access_token` to `lightkeeper.yaml`",
            "lightkeeper.yaml:13:5: warning: project `gone` is not declared by any app of the policy\n  hint: its credentials \
             are never used: declare it, or remove it here",
            "lightkeeper.yaml:8:3: warning: no app's data goes to backend `spare`\n  hint: name it by `backend` or `also` at an \
             app of the policy, or remove it",
        ]
    );
}

/// Guarantees: the schema that editors get names every key of the file, says what each is for, and refuses
/// unknown ones.
#[test]
fn the_schema_describes_every_key() {
    let schema = config::config_schema();
    let mut described = 0;
    let definitions = schema["$defs"]
        .as_object()
        .unwrap()
        .values()
        .chain([&schema]);
    for definition in definitions.filter(|definition| definition["properties"].is_object()) {
        assert_eq!(definition["additionalProperties"], false, "{definition}");
        for (key, property) in definition["properties"].as_object().unwrap() {
            assert!(
                property["description"].is_string(),
                "`{key}` has no description: {property}"
            );
            described += 1;
        }
    }
    assert!(described > 70, "only {described} keys");
}

/// Scenario: an editor shows the name of what stands at the cursor. Guarantees: names are the files' own words, not those of the
/// types that read them.
#[test]
fn schemas_have_no_internal_names() {
    for schema in [
        config::config_schema(),
        lightkeeper::authorize::policy_schema(),
        lightkeeper::profiles::profile_schema(),
    ] {
        let names: Vec<&String> = schema["$defs"].as_object().unwrap().keys().collect();
        assert!(names.len() > 5, "{names:?}");
        let internal: Vec<_> = names
            .iter()
            .filter(|name| name.contains("Raw") || name.contains('_'))
            .collect();
        assert!(internal.is_empty(), "{internal:?}");
        assert!(
            !schema.to_string().contains("Raw"),
            "a description or title has an internal name: {schema}"
        );
    }
}

/// Fills a folder with sound and unsound files.
fn furnish(folder: &Path) {
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let shipped = std::fs::read_to_string(root().join("src/profiles/lightstep.yaml")).unwrap();
    let renamed = shipped.replacen("name: lightstep", "name: acme-cloud", 1);
    write("profile.yaml", &renamed);
    write("profile-again.yaml", &renamed);
    let outgoing = r#"name: outgoing
addresses: { ingest: https://ingest.example }
ingest:
  base: "/insert/{token}"
  headers: { Host: other, lightkeeper-app: "{app}", x-key: "{tokn}", x-two: "a\r\nb: c" }
  accepts: { compressions: [zstd] }
  signals:
    logs: { path: "v1/logs?key={b64:{token}}", headers: { authorization: "Bearer {token}" } }
  http: [{ path: /v1/traces, signal: traces }]
operations: [{ method: GET, path: /x, permission: query.x.read, scope: organization, key: read, response: item }]
query: off
"#;
    write("profile-outgoing.yaml", outgoing);
    let vendor = r#"name: vendor
parameters: { tenant: { about: the tenant's name }, region: { default: us1, values: [us1, eu1] } }
addresses: { ingest: "https://{tenant}.{region}.vendor.test", grpc: "https://grpc.{region}.vendor.test:4317" }
ingest:
  credential: none
  headers: { x-tenant: "{tenant}" }
  http: [{ path: /v1/traces, signal: traces }]
  grpc: [{ path: /opentelemetry.proto.collector.trace.v1.TraceService/Export, signal: traces }]
query: off
"#;
    write("profile-vendor.yaml", vendor);
    let word = outgoing.replacen("query: off", "query: on", 1);
    write("profile-query.yaml", &word);
    write("profile-shipped.yaml", &shipped);
    let mistakes = renamed
        .replacen("prefix: /public/v0.2", "prefix: public", 1)
        .replacen("general: 100/s", "general: often", 1)
        .replacen("{ header: authorization,", "{ headr: authorization,", 1);
    write("profile-form.yaml", &mistakes);
    write(
        "profile-rows.yaml",
        &mistakes.replacen("headr:", "header:", 1),
    );
    std::fs::write(folder.join("profile-bytes.yaml"), b"name: \xff").unwrap();
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.key_usages = vec![
        rcgen::KeyUsagePurpose::KeyCertSign,
        rcgen::KeyUsagePurpose::CrlSign,
    ];
    let ca = parameters.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(parameters, &ca_key);
    let server_key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let list = rcgen::CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2026, 1, 1),
        next_update: rcgen::date_time_ymd(2036, 1, 1),
        crl_number: rcgen::SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    write("ca.pem", &ca.pem());
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.subject_alt_names = vec![rcgen::SanType::URI(
        "spiffe://own.example".try_into().unwrap(),
    )];
    let named = parameters
        .self_signed(&rcgen::KeyPair::generate().unwrap())
        .unwrap()
        .pem();
    write("two-ca.pem", &(ca.pem() + &named));
    write("named-ca.pem", &named);
    write(
        "server.pem",
        &server.signed_by(&server_key, &issuer).unwrap().pem(),
    );
    write("server.key", &server_key.serialize_pem());
    write(
        "other.key",
        &rcgen::KeyPair::generate().unwrap().serialize_pem(),
    );
    write(
        "clients.crl",
        &list.signed_by(&issuer).unwrap().pem().unwrap(),
    );
    write(
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\ncanary-7f3a!\n-----END CERTIFICATE-----\n",
    );
    write(
        "not-der.pem",
        "-----BEGIN CERTIFICATE-----\nY2FuYXJ5\n-----END CERTIFICATE-----\n",
    );
    write(
        "not-der.crl",
        "-----BEGIN X509 CRL-----\nY2FuYXJ5\n-----END X509 CRL-----\n",
    );
    write(
        "jwks.json",
        r#"{ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": "AA", "d": null, "k": null }] }"#,
    );
    write(
        "bundle.json",
        r#"{ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "a", "use": "jwt-svid" }] }"#,
    );
    write(
        "leaf-bundle.json",
        r#"{ "keys": [{ "kty": "EC", "use": "x509-svid", "x5c": ["Y2FuYXJ5"] }] }"#,
    );
    write(
        "private.json",
        r#"{ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "canary-7f3a" }] }"#,
    );
    write("empty-set.json", r#"{ "keys": [] }"#);
    write("object.json", r#"{ "canary-7f3a": 1 }"#);
    write("garbage", "canary-7f3a");
    write("token", "a-token\n");
    write(
        "session-key",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
    );
    write("short-key", "canary7f3acanary7f3a\n");
    write("empty", "");
    write("webhook", "canary-7f3a-canary-7f3a\n");
    write("another-webhook", "canary-7f3a-canary-7f3b\n");
    write("url", "https://hooks.example/canary-7f3a?key=canary-7f3a\n");
    write("two-words", "canary-7f3a canary-7f3a");
    write("large", &"canary-7f3a".repeat(10_000));
    write("policy.yaml", "version: 1\n");
    // Whatever user and mask the test runs under, the modes are as they are set here.
    use std::os::unix::fs::PermissionsExt as _;
    let allow = |name: &str, mode: u32| {
        std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    allow("", 0o755);
    for entry in std::fs::read_dir(folder).unwrap() {
        allow(entry.unwrap().file_name().to_str().unwrap(), 0o600);
    }
    for (name, mode) in [
        ("open", 0o644),
        ("of-the-group", 0o640),
        ("writable", 0o620),
        ("writable-by-all", 0o606),
    ] {
        for (kind, text) in [
            ("token", "a-token\n"),
            ("key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"),
            ("webhook", "canary-7f3a-canary-7f3a\n"),
        ] {
            write(&format!("{kind}-{name}"), text);
            allow(&format!("{kind}-{name}"), mode);
        }
    }
    write("server-open.key", &server_key.serialize_pem());
    allow("server-open.key", 0o644);
    std::fs::create_dir_all(folder.join("folder")).unwrap();
}
