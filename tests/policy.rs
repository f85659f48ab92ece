//! The policy as a reader sees it: a matrix of decisions, the diagnostics of broken files, the shipped examples, and
//! properties that hold for every policy. `LIGHTKEEPER_BLESS=1 cargo test --test integration policy::` writes the
//! expectations anew, to be read as a diff.

mod assign;
mod client_tokens;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lightkeeper::apps::{AppPath, BackendNames};
use lightkeeper::authorize::{
    AwsAccounts, Effect, Policy, PolicySurroundings, Target, Verdict, policy_schema,
};
use lightkeeper::clock::UnixMillis;
use lightkeeper::document::Diagnostic;
use lightkeeper::identify::{CLIENT_TOKENS, CertificateFacts, Doubts, Facts, Method};
use lightkeeper::profiles::{OperationId, Profile, Scope};
use lightkeeper::reason::Reason;
use proptest::prelude::*;
use testkit::golden;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// 2026-06-01T00:00:00Z
const NOW: UnixMillis = UnixMillis(1_780_272_000_000);

fn root() -> PathBuf {
    testkit::top().to_owned()
}

fn load(file: &str, text: &str) -> (Option<Policy>, Vec<Diagnostic>) {
    load_beside(file, text, &[], &[])
}

/// The same, where the configuration has these issuers besides, and these accounts of AWS.
fn load_beside(
    file: &str,
    text: &str,
    more: &[&str],
    aws: &[AwsAccounts],
) -> (Option<Policy>, Vec<Diagnostic>) {
    let issuers: Vec<String> = ["okta", "cluster-a", "github"]
        .iter()
        .chain(more)
        .map(|&name| name.to_owned())
        .collect();
    let profile = Profile::lightstep();
    let destinations = ["oncall", "pager"].map(str::to_owned);
    let backends = BackendNames::new(["lightstep", "honey", "tempo"].map(Arc::from));
    let around = PolicySurroundings {
        profile: &profile,
        organization: "acme",
        issuers: &issuers,
        trust_domains: &[],
        authorities: &[],
        aws,
        destinations: &destinations,
        backends: &backends,
        now: NOW,
    };
    Policy::load(Path::new(file), text, &around)
}

fn load_sound(text: &str) -> Policy {
    let (policy, found) = load("policy.yaml", text);
    policy.unwrap_or_else(|| panic!("{}", render(&found)))
}

/// Compares a committed text with what is found now.
fn expect(path: &Path, found: &str) {
    golden::check(path, found).unwrap_or_else(|difference| panic!("{difference}"));
}

fn render(found: &[Diagnostic]) -> String {
    found.iter().map(|each| format!("{each}\n")).collect()
}

/// `mtls spiffe=… dns=… x509=…`, `oidc issuer=… subject=… groups=a,b claim:name=a,b` or `token subject=… binding=…`.
fn facts(text: &str) -> Facts {
    let mut words = text.split_whitespace();
    let method = match words.next() {
        Some("mtls") => Method::Mtls,
        Some("token") => Method::ClientToken,
        _ => Method::Oidc,
    };
    let mut facts = Facts {
        method,
        issuer: Arc::from(if method == Method::ClientToken {
            CLIENT_TOKENS
        } else {
            "mtls"
        }),
        subject: Arc::from("nobody"),
        subject_claim: None,
        groups: Vec::new(),
        claims: serde_json::Map::new(),
        certificate: None,
        attributes: Vec::new(),
        client_binding: None,
        aws: None,
        doubts: Doubts::default(),
        expires_unix_seconds: i64::MAX,
    };
    let mut certificate = CertificateFacts {
        ca: Arc::from("mtls"),
        spiffe: None,
        dns: Vec::new(),
        subject: "CN=leaf".to_owned(),
        fingerprint: String::new(),
        serial: String::new(),
        key: String::new(),
        not_before: 0,
        not_after: i64::MAX,
    };
    let mut presented = method == Method::Mtls;
    for word in words {
        let (key, value) = word.split_once('=').unwrap();
        let list = || value.split(',').map(str::to_owned).collect::<Vec<_>>();
        match key {
            "issuer" => facts.issuer = Arc::from(value),
            "subject" => facts.subject = Arc::from(value),
            "binding" => facts.client_binding = Some(Arc::from(value)),
            "groups" => facts.groups = list(),
            "spiffe" => (certificate.spiffe, presented) = (Some(value.to_owned()), true),
            "dns" => (certificate.dns, presented) = (list(), true),
            "x509" => (certificate.subject, presented) = (value.to_owned(), true),
            _ => {
                let value = if value.contains(',') {
                    list().into()
                } else {
                    value.into()
                };
                facts
                    .claims
                    .insert(key.strip_prefix("claim:").unwrap().to_owned(), value);
            }
        }
    }
    if presented {
        if method == Method::Mtls {
            let shown = certificate
                .spiffe
                .as_ref()
                .or(certificate.dns.first())
                .unwrap_or(&certificate.subject);
            facts.subject = Arc::from(shown.as_str());
        }
        facts.certificate = Some(Arc::new(certificate));
    }
    facts
}

fn operation(permission: &str, scope: Scope) -> OperationId {
    let profile = Profile::lightstep();
    let row = profile
        .operations()
        .iter()
        .find(|row| row.permission == permission && row.scope == scope);
    row.unwrap_or_else(|| panic!("no operation needs {permission} at {scope:?}"))
        .id
}

fn decide(policy: &Policy, who: &Facts, permission: &str, place: &str, now: UnixMillis) -> Verdict {
    let (kind, name) = place.split_once(' ').unwrap_or((place, ""));
    let app = AppPath::parse(name);
    let (scope, target) = match kind {
        "any" => (Scope::App, Target::App(None)),
        "app" => (Scope::App, Target::App(app.as_ref())),
        "project" => (Scope::Project, Target::Project(name)),
        "projects" => (Scope::Projects, Target::Projects),
        _ => (Scope::Organization, Target::Organization),
    };
    policy.evaluate(who, operation(permission, scope), target, now)
}

fn cell(verdict: &Verdict) -> &'static str {
    match verdict.reason {
        None => "yes",
        Some(Reason::NotPermitted) => "-",
        Some(Reason::DeniedByBinding) => "DENY",
        Some(Reason::SensitiveNotNamed) => "name",
        Some(Reason::OutsideTimeWindow) => "late",
        Some(Reason::AppAmbiguous) => "which",
        Some(Reason::NoWritableApp) => "none",
        Some(Reason::AppUnknown | Reason::ProjectUnknown) => "?",
        Some(other) => other.code(),
    }
}

/// Scenario: every identity of the matrix asks for everything in it. Guarantees that the committed table says what the
/// gateway decides.
#[test]
fn the_matrix_says_what_is_decided() {
    let path = root().join("tests/policy/matrix.txt");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut policy = None;
    let mut now = NOW;
    let mut identities: BTreeMap<char, Facts> = BTreeMap::new();
    let mut columns: Vec<char> = Vec::new();
    let mut decided = String::new();
    let mut cells = 0;
    for line in text.lines() {
        let mut evaluated = line.to_owned();
        let fields: Vec<&str> = line
            .split("  ")
            .map(str::trim)
            .filter(|field| !field.is_empty())
            .collect();
        match fields.as_slice() {
            [] => {}
            [comment, ..] if comment.starts_with('#') => {}
            ["policy", file] => {
                policy = Some(load_sound(
                    &std::fs::read_to_string(root().join(file)).unwrap(),
                ))
            }
            ["now", time] => {
                let time = OffsetDateTime::parse(time, &Rfc3339).unwrap();
                now = UnixMillis(time.unix_timestamp() * 1000);
            }
            ["what", "where", letters @ ..] => {
                columns = letters
                    .iter()
                    .filter_map(|each| each.chars().next())
                    .collect()
            }
            [permission, place, ..] if permission.contains('.') => {
                evaluated = format!("{permission:<27}{place:<23}");
                for letter in &columns {
                    let verdict = decide(
                        policy.as_ref().unwrap(),
                        &identities[letter],
                        permission,
                        place,
                        now,
                    );
                    assert_eq!(verdict.allowed, verdict.reason.is_none());
                    evaluated.push_str(&format!("{:<6}", cell(&verdict)));
                    cells += 1;
                }
                evaluated.truncate(evaluated.trim_end().len());
            }
            [letter, _, proven] => {
                identities.insert(letter.chars().next().unwrap(), facts(proven));
            }
            other => panic!("unreadable line: {other:?}"),
        }
        decided.push_str(&evaluated);
        decided.push('\n');
    }
    assert!(cells > 400, "the table has lost its rows");
    expect(&path, &decided);
}

/// Scenario: files with mistakes. Guarantees that all are found at once, each in its place and with advice.
#[test]
fn each_broken_file_is_answered_with_all_its_mistakes() {
    let mut checked = 0;
    let folder = root().join("tests/policy");
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (policy, found) = load(&name, &std::fs::read_to_string(&path).unwrap());
        expect(&path.with_extension("expected"), &render(&found));
        assert_eq!(
            policy.is_none(),
            found.iter().any(Diagnostic::is_error),
            "{name}"
        );
        checked += 1;
    }
    assert!(checked >= 6, "the files are gone");
}

#[test]
fn each_shipped_example_loads_without_a_finding() {
    for entry in std::fs::read_dir(root().join("policies")).unwrap() {
        let path = entry.unwrap().path();
        let aws = AwsAccounts {
            name: "aws".to_owned(),
            partition: "aws".to_owned(),
            accounts: vec!["123456789012".to_owned()],
        };
        let (policy, found) = load_beside(
            path.to_str().unwrap(),
            &std::fs::read_to_string(&path).unwrap(),
            &["aws", "aws-web"],
            &[aws],
        );
        assert_eq!(render(&found), "", "{}", path.display());
        let policy = policy.unwrap();
        assert_eq!(policy.version().len(), 16);
        assert!(
            policy
                .projects()
                .iter()
                .all(|project| project.line() > 1 && policy.tree().home(&project.value).is_some())
        );
    }
    assert_eq!(policy_schema()["title"], "Lightkeeper policy");
}

/// Scenario: a subtree names backends, some for a time. Guarantees that the nearest word in force decides, that another backend
/// is never the app's own, and that every use has its place.
#[test]
fn an_app_has_one_backend_at_any_time() {
    let policy = load_sound(
        "version: 1
apps:
  shop:
    project: shop-prod
    backend: { name: honey, from: 2026-06-01T00:00:00Z }
    also: [{ backend: tempo, mode: require }, { backend: lightstep, mode: mirror }]
    apps:
      web: { backend: { name: tempo, from: 2026-06-01T00:00:01Z, until: 2026-06-01T00:00:02Z } }
      old: { backend: lightstep, also: [] }
  bare: { project: bare-prod }
bindings:
  - { name: all, subjects: [{ any: true }], permissions: [ingest.*], apps: [shop, bare] }
",
    );
    let called = |id| policy.backends().name(id).to_owned();
    for (app, expected) in [
        ("shop", ["lightstep", "honey", "honey", "honey"]),
        ("shop/web", ["lightstep", "honey", "tempo", "honey"]),
        ("shop/old", ["lightstep"; 4]),
        ("bare", ["lightstep"; 4]),
    ] {
        let node = policy.tree().find(&AppPath::parse(app).unwrap()).unwrap();
        let times = [-1, 0, 1000, 2000].map(|offset| UnixMillis(NOW.0 + offset));
        let found = times.map(|now| called(policy.backend_of(node, now)));
        assert_eq!(found, expected, "{app}");
        for now in times {
            let own = policy.backend_of(node, now);
            let legs: Vec<_> = policy.also_of(node, now).collect();
            assert!(legs.iter().all(|leg| leg.backend != own), "{app}");
            let inherits = app.starts_with("shop") && app != "shop/old";
            assert_eq!(!legs.is_empty(), inherits, "{app}");
        }
    }
    let uses = policy.backend_uses();
    let uses: Vec<(&str, String, u64)> = uses
        .iter()
        .map(|one| (&*one.project, called(one.backend), one.line))
        .collect();
    let expected = [
        ("shop-prod", "honey", 5),
        ("shop-prod", "lightstep", 6),
        ("shop-prod", "tempo", 6),
        ("bare-prod", "lightstep", 10),
    ];
    assert_eq!(
        uses,
        expected.map(|(project, backend, line)| (project, backend.to_owned(), line))
    );
}

/// Scenario: what marks an app. Guarantees that it is kept as written.
#[test]
fn an_app_keeps_its_owners_services_and_marks() {
    let policy = load_sound(&std::fs::read_to_string(root().join("policies/policy.yaml")).unwrap());
    let node = |path: &str| {
        policy
            .tree()
            .node(policy.tree().find(&AppPath::parse(path).unwrap()).unwrap())
            .unwrap()
    };
    let payments = node("shop/payments");
    assert_eq!(node("shop").owners, ["shop-leads@acme.example"]);
    for (service, expected) in [
        ("payments", true),
        ("ledger-2", true),
        ("ledger", false),
        ("checkout", false),
    ] {
        assert_eq!(
            payments.services.iter().any(|glob| glob.matches(service)),
            expected,
            "{service}"
        );
    }
    let search = node("shop/search");
    let marks: Vec<(&str, &str)> = search
        .marks
        .iter()
        .map(|(name, glob)| (name.as_str(), glob.as_str()))
        .collect();
    assert_eq!(marks, [("k8s.namespace.name", "search")]);
}

/// Scenario: the subjects that a table can hardly show. Guarantees how fields of one subject combine.
#[test]
fn everything_that_a_subject_names_must_hold() {
    for (subject, who, expected) in [
        ("any: true", "oidc issuer=okta", true),
        ("any: true", "mtls dns=a.b", true),
        ("issuer: okta", "oidc issuer=okta subject=x", true),
        ("issuer: okta", "oidc issuer=github subject=x", false),
        ("issuer: okta", "mtls spiffe=spiffe://td/a", false),
        ("issuer: mtls", "mtls spiffe=spiffe://td/a", true),
        ("issuer: mtls", "oidc issuer=mtls subject=x", false),
        (
            "issuer: mtls, subject: \"spiffe://td/*\"",
            "mtls spiffe=spiffe://td/a",
            true,
        ),
        ("issuer: mtls, subject: \"a.*\"", "mtls dns=a.b", true),
        (
            "issuer: okta, subject: ann, group: dev",
            "oidc issuer=okta subject=ann groups=dev",
            true,
        ),
        (
            "issuer: okta, subject: ann, group: dev",
            "oidc issuer=okta subject=ann groups=ops",
            false,
        ),
        (
            "issuer: okta, subject: ann, group: dev",
            "oidc issuer=okta subject=bo groups=dev",
            false,
        ),
        (
            "issuer: okta, group: dev",
            "oidc issuer=okta groups=developers",
            false,
        ),
        (
            "issuer: okta, group: dev",
            "oidc issuer=okta groups=DEV",
            false,
        ),
        (
            "issuer: okta, claims: { a: x }",
            "oidc issuer=okta claim:a=x",
            true,
        ),
        (
            "issuer: okta, claims: { a: x }",
            "oidc issuer=okta claim:a=y,x",
            true,
        ),
        (
            "issuer: okta, claims: { a: x }",
            "oidc issuer=okta claim:a=xx",
            false,
        ),
        (
            "issuer: okta, claims: { a: x, b: z }",
            "oidc issuer=okta claim:a=x",
            false,
        ),
        (
            "issuer: okta, claims: { a: x, b: z }",
            "oidc issuer=okta claim:a=x claim:b=z",
            true,
        ),
        (
            "spiffe: \"spiffe://td/**\"",
            "mtls spiffe=spiffe://td/a/b",
            true,
        ),
        (
            "spiffe: \"spiffe://td/*\"",
            "mtls spiffe=spiffe://td/a/b",
            false,
        ),
        (
            "spiffe: \"spiffe://td/*\"",
            "mtls spiffe=spiffe://td2/a",
            false,
        ),
        ("spiffe: \"spiffe://td/*\"", "mtls dns=spiffe", false),
        // The token decides: a certificate that came along speaks only where the issuer is named too.
        (
            "spiffe: \"spiffe://td/*\"",
            "oidc issuer=okta spiffe=spiffe://td/a",
            false,
        ),
        (
            "issuer: okta, spiffe: \"spiffe://td/*\"",
            "oidc issuer=okta spiffe=spiffe://td/a",
            true,
        ),
        (
            "issuer: okta, spiffe: \"spiffe://td/*\"",
            "oidc issuer=okta",
            false,
        ),
        (
            "issuer: okta, spiffe: \"spiffe://td/*\"",
            "mtls spiffe=spiffe://td/a",
            false,
        ),
        (
            "issuer: mtls, spiffe: \"spiffe://td/*\"",
            "oidc issuer=okta spiffe=spiffe://td/a",
            false,
        ),
        (
            "dns: \"*.acme.example\"",
            "mtls dns=x.example,a.ACME.example",
            true,
        ),
        ("dns: \"*.Acme.example\"", "mtls dns=a.acme.example", true),
        (
            "dns: \"*.acme.example\"",
            "mtls dns=a.b.acme.example",
            false,
        ),
        (
            "dns: \"**.acme.example\"",
            "mtls dns=a.b.acme.example",
            true,
        ),
        ("dns: a.acme.example", "mtls dns=A.acme.example", true),
        ("x509_subject: CN=leaf", "mtls dns=a", true),
        ("x509_subject: CN=leaf", "mtls x509=CN=leaf2", false),
        ("dns: a, x509_subject: CN=leaf", "mtls dns=b", false),
        // The token of ours was issued for the binding `b`, or is named as a subject.
        ("issuer: okta", "token subject=ci binding=b", true),
        ("issuer: okta", "token subject=ci binding=other", false),
        ("issuer: okta, group: dev", "token subject=ci", false),
        // It may do what its own binding says: `any: true` adds nothing.
        ("any: true", "token subject=ci", false),
        ("any: true", "token subject=ci binding=other", false),
        ("any: true", "token subject=ci binding=b", true),
        (
            "issuer: client_tokens",
            "token subject=ci binding=other",
            true,
        ),
        (
            "issuer: client_tokens, subject: ci",
            "token subject=ci binding=other",
            true,
        ),
        (
            "issuer: client_tokens, subject: \"ci-*\"",
            "token subject=ci-1",
            true,
        ),
        (
            "issuer: client_tokens, subject: ci",
            "token subject=cd",
            false,
        ),
        (
            "issuer: client_tokens",
            "oidc issuer=client_tokens subject=ci",
            false,
        ),
        ("issuer: client_tokens", "mtls dns=a", false),
        ("issuer: mtls", "token subject=ci", false),
        (
            "spiffe: \"spiffe://td/*\"",
            "token subject=ci spiffe=spiffe://td/a",
            false,
        ),
        // Only a client token is bound by name.
        (
            "issuer: okta",
            "oidc issuer=github subject=x binding=b",
            false,
        ),
        ("issuer: okta", "mtls dns=a binding=b", false),
    ] {
        let policy = load_sound(&format!(
            "version: 1\napps: {{ a: {{ project: p }} }}\nbindings:\n  - {{ name: b, subjects: [{{ {subject} }}], \
             permissions: [ingest.*], apps: [a] }}\n"
        ));
        let verdict = decide(&policy, &facts(who), "ingest.logs", "app a", NOW);
        assert_eq!(verdict.allowed, expected, "{{ {subject} }} / {who}");
    }
}

/// Scenario: one binding, and a clock that passes its time. Guarantees when it counts.
#[test]
fn a_binding_counts_only_in_its_time() {
    let text = |effect: &str| {
        format!(
            "version: 1\napps: {{ a: {{ project: p }} }}\nbindings:\n  - {{ name: always, subjects: [{{ any: true }}], \
             permissions: [ingest.logs], apps: [a] }}\n  - {{ name: timed, effect: {effect}, subjects: [{{ any: true }}], \
             permissions: [ingest.*], apps: [a], from: 2026-06-01T00:00:00Z, until: 2026-06-01T02:00:00+01:00 }}\n"
        )
    };
    let who = facts("oidc issuer=okta");
    let logs = operation("ingest.logs", Scope::App);
    let traces = operation("ingest.traces", Scope::App);
    let app = AppPath::parse("a").unwrap();
    let hour = 3_600_000;
    for (offset, allowed) in [(-1, false), (0, true), (hour - 1, true), (hour, false)] {
        let now = UnixMillis(NOW.0 + offset);
        let allowing =
            load_sound(&text("allow")).evaluate(&who, traces, Target::App(Some(&app)), now);
        let reason = (!allowed).then_some(Reason::OutsideTimeWindow);
        assert_eq!(
            (allowing.allowed, allowing.reason),
            (allowed, reason),
            "{offset}"
        );
        let denying = load_sound(&text("deny")).evaluate(&who, logs, Target::App(Some(&app)), now);
        assert_eq!(denying.allowed, !allowed, "{offset}");
    }
}

/// One random binding: effect, subject, permission and app, each a place in its pool.
type Draw = (bool, usize, usize, usize);

const SUBJECTS: [&str; 14] = [
    "any: true",
    "issuer: okta",
    "issuer: okta, group: dev",
    "issuer: okta, subject: ann",
    "issuer: okta, subject: \"a*\"",
    "issuer: okta, subject: \"an*\"",
    "issuer: okta, subject: \"**\"",
    "issuer: okta, claims: { c: x }",
    "issuer: okta, spiffe: \"spiffe://td/*\"",
    "issuer: github, group: dev",
    "spiffe: \"spiffe://td/**\"",
    "spiffe: \"spiffe://td/a\"",
    "dns: \"*.example\"",
    "dns: a.example, x509_subject: CN=leaf",
];
const PERMISSIONS: [&str; 8] = [
    "ingest.*",
    "ingest.logs",
    "query.*.read",
    "query.*.write",
    "query.streams.*",
    "query.projects.write",
    "query.destinations.read",
    "query.*.*",
];
const APPS: [&str; 6] = ["/", "a", "a/b", "a/b/c", "d", "d/e"];
const CALLERS: [&str; 10] = [
    "oidc issuer=okta subject=ann groups=dev",
    "oidc issuer=okta subject=andy claim:c=x,y",
    "oidc issuer=okta subject=bo groups=ops claim:c=y",
    "oidc issuer=okta subject=a/b spiffe=spiffe://td/a",
    "oidc issuer=github subject=ann groups=dev",
    "mtls spiffe=spiffe://td/a",
    "mtls spiffe=spiffe://td/a/b",
    "mtls dns=a.example,b",
    "mtls dns=b x509=CN=other",
    "token subject=ci binding=b0",
];
const ASKS: [(&str, &str); 16] = [
    ("ingest.logs", "any app"),
    ("ingest.logs", "app a"),
    ("ingest.traces", "app a/b/c"),
    ("ingest.logs", "app d"),
    ("ingest.logs", "app d/e"),
    ("ingest.logs", "app /"),
    ("query.streams.read", "project pa"),
    ("query.streams.write", "project pb"),
    ("query.destinations.read", "project pb"),
    ("query.destinations.read", "project pe"),
    ("query.projects.read", "project none"),
    ("query.projects.read", "projects"),
    ("query.projects.write", "organization"),
    ("query.test.read", "organization"),
    ("query.users.write", "organization"),
    ("ingest.metrics", "any app"),
];

fn policy_of(draws: &[Draw]) -> Policy {
    let mut text =
        "version: 1\napps:\n  a: { project: pa, apps: { b: { project: pb, apps: { c: {} } } } }\n  d: { apps: { \
                    e: { project: pe } } }\nbindings:\n"
            .to_owned();
    for (place, (deny, subject, permission, app)) in draws.iter().enumerate() {
        text.push_str(&format!(
            "  - {{ name: b{place}, effect: {}, subjects: [{{ {} }}], permissions: [\"{}\"], apps: [{}] }}\n",
            if *deny { "deny" } else { "allow" },
            SUBJECTS[*subject],
            PERMISSIONS[*permission],
            APPS[*app],
        ));
    }
    if draws.is_empty() {
        text.push_str("  []\n");
    }
    load_sound(&text)
}

/// Whether every allow among what is considered, less every deny, permits: the definition, told from the full trace.
fn permitted(verdict: &Verdict) -> bool {
    let holds = |effect: Effect| {
        let mut all = verdict.trace.iter();
        all.any(|each| each.effect == effect && each.permission && each.place && each.in_force)
    };
    holds(Effect::Allow) && !holds(Effect::Deny)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The index of subjects finds what looking at every subject finds.
    #[test]
    fn the_index_agrees_with_looking_at_every_binding(
        draws in proptest::collection::vec((any::<bool>(), 0..SUBJECTS.len(), 0..PERMISSIONS.len(), 0..APPS.len()), 0..8)
    ) {
        let policy = policy_of(&draws);
        for who in CALLERS {
            for (permission, place) in ASKS {
                let verdict = decide(&policy, &facts(who), permission, place, NOW);
                let decided_at_a_node = verdict.app.is_some() && !["any app", "projects"].contains(&place);
                if decided_at_a_node && verdict.reason != Some(Reason::AppWithoutProject) {
                    prop_assert_eq!(verdict.allowed, permitted(&verdict), "{} {} {}", who, permission, place);
                }
            }
        }
    }

    /// Whatever is added as a deny, nothing becomes allowed that was not, no project visible, and no app writable.
    #[test]
    fn an_added_deny_never_grants(
        draws in proptest::collection::vec((any::<bool>(), 0..SUBJECTS.len(), 0..PERMISSIONS.len(), 0..APPS.len()), 0..6),
        (subject, permission, app) in (0..SUBJECTS.len(), 0..PERMISSIONS.len(), 0..APPS.len())
    ) {
        let before = policy_of(&draws);
        let mut more = draws.clone();
        more.push((true, subject, permission, app));
        let after = policy_of(&more);
        for who in CALLERS {
            for (permission, place) in ASKS {
                let earlier = decide(&before, &facts(who), permission, place, NOW);
                let later = decide(&after, &facts(who), permission, place, NOW);
                // A deny may leave one writable app out of several; which that is was writable before.
                let asked = later.app.as_ref().map(|app| format!("app {app}")).filter(|_| place == "any app");
                let earlier = match &asked {
                    Some(app) => decide(&before, &facts(who), permission, app, NOW),
                    None => earlier,
                };
                prop_assert!(earlier.allowed || !later.allowed, "{} {} {}", who, permission, place);
                prop_assert!(later.visible_projects.iter().all(|project| earlier.visible_projects.contains(project)));
            }
        }
    }
}
