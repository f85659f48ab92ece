//! Tables of what the profile matches and what it must not.
//!
//! What it does: compares the built-in profile with a transcription of the published API made by hand.
//! What it refuses to know: the profile's own file, except to break copies of it.

use std::path::Path;

use super::*;

fn lightstep() -> Profile {
    Profile::load(Path::new("profile.yaml"), include_str!("lightstep.yaml")).unwrap()
}

/// What is said of a text that is no profile.
fn mistakes(text: &str) -> String {
    let found = Profile::load(Path::new("profile.yaml"), text).unwrap_err();
    found
        .iter()
        .map(|one| format!("{one}\n"))
        .collect::<String>()
}

#[test]
fn the_built_in_profile_parses_and_is_the_one_handed_out() {
    let profile = lightstep();
    assert_eq!(
        Profile::lightstep().operations().len(),
        profile.operations().len()
    );
    assert!(
        profile
            .operations()
            .iter()
            .enumerate()
            .all(|(place, row)| usize::from(row.id.0) == place)
    );
    assert_eq!(
        profile.access_token_header.as_ref().unwrap(),
        "lightstep-access-token"
    );
    assert_eq!(
        (
            profile.api_key_header.as_str(),
            profile.api_key_scheme.as_deref()
        ),
        ("authorization", Some("bearer"))
    );
}

/// The published table of the API, transcribed by hand: path (`P` is a project), then method and what it does: `r`ead,
/// `w`rite, `s`ensitive read with a reader's key, `a`dministration.
const PUBLISHED: &str = "
/test                               GET:r POST:w           test
/projects                           GET:r POST:a           projects
P                                   GET:r DELETE:a         projects
P/access_tokens                     GET:a POST:a           access_tokens
P/reporting-status                  GET:r                  reporting_status
P/directory/services                GET:r                  services
P/streams                           GET:r POST:w           streams
P/streams/{id}                      GET:r PATCH:w DELETE:w streams
P/streams/{id}/conditions           GET:r                  streams
P/streams/{id}/timeseries           GET:r                  streams
P/conditions                        GET:r POST:w           conditions
P/conditions/{id}                   GET:r PATCH:w DELETE:w conditions
P/conditions/{id}/status            GET:r                  conditions
P/alerting_rules                    GET:r POST:w           alerting_rules
P/alerting_rules/{id}               GET:r DELETE:w         alerting_rules
P/dashboards                        GET:r POST:w           dashboards
P/dashboards/{id}                   GET:r PATCH:w DELETE:w dashboards
P/dashboard/{id}                    DELETE:w               dashboards
P/metric_dashboards                 GET:r POST:w           dashboards
P/metric_dashboards/{id}            GET:r PUT:w DELETE:w   dashboards
P/metric_alerts                     GET:r POST:w           metric_alerts
P/metric_alerts/{id}                GET:r PUT:w DELETE:w   metric_alerts
P/destinations                      GET:s POST:w           destinations
P/destinations/{id}                 GET:s DELETE:w         destinations
P/snooze_rules                      GET:r POST:w           snooze_rules
P/snooze_rules/{id}                 GET:r PUT:w DELETE:w   snooze_rules
P/snooze_rules_validate             POST:r                 snooze_rules
P/event_queries                     GET:r POST:w           event_queries
P/event_queries/{id}                GET:r PUT:w DELETE:w   event_queries
P/inferred_service_rules            POST:w                 inferred_service_rules
P/inferred_service_rules/{id}       GET:r PUT:w DELETE:w   inferred_service_rules
P/query_translation                 POST:r                 query_translation
P/telemetry/query_timeseries        POST:r                 telemetry
P/telemetry/attributes              POST:r                 telemetry
P/stored-traces                     GET:r                  stored_traces
P/snapshots                         GET:r POST:w           snapshots
P/snapshots/{id}                    GET:r                  snapshots
P/snapshots/{id}/service-diagram    GET:r                  snapshots
P/wf_links                          GET:r POST:w           workflow_links
P/wf_links/{id}                     GET:r PATCH:w DELETE:w workflow_links
P/notebooks                         POST:w                 notebooks
/role-binding                       GET:a POST:a           roles
/saml-group-mappings                GET:a POST:a           roles
/users                              POST:a                 users
/Users                              POST:a                 users
";

/// Scenario: every operation of the published table is asked for. Guarantees that each is a row with the right
/// permission, scope and key, that there is no other, and that its path survives matching and rebuilding.
#[test]
fn each_published_operation_is_a_row_and_no_other_is() {
    let profile = lightstep();
    let mut seen = Signal::ALL.len();
    for line in PUBLISHED.lines().filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let template = words[0].replacen(
            'P',
            "/projects/{project}",
            usize::from(words[0].starts_with('P')),
        );
        let resource = words[words.len() - 1];
        for word in &words[1..words.len() - 1] {
            let (method, level) = word.split_once(':').unwrap();
            let concrete = template.replace("{project}", "a b").replace("{id}", "é");
            let segments: Vec<&str> = concrete.split('/').skip(1).collect();
            let found =
                profile.match_query(&Method::from_bytes(method.as_bytes()).unwrap(), &segments);
            let found = found.unwrap_or_else(|| panic!("{method} {template} is no row"));
            let row = profile.operation(found.operation);
            assert_eq!(
                (row.method.as_str(), row.template.as_str()),
                (method, template.as_str())
            );
            let (verb, credential, sensitive) = match level {
                "r" => ("read", Credential::Read, false),
                "w" => ("write", Credential::Write, false),
                "s" => ("read", Credential::Read, true),
                _ => (
                    if method == "GET" { "read" } else { "write" },
                    Credential::Admin,
                    true,
                ),
            };
            assert_eq!(row.permission, format!("query.{resource}.{verb}"), "{line}");
            assert_eq!(
                (row.credential, row.sensitive),
                (credential, sensitive),
                "{line}"
            );
            let scope = match (template.as_str(), method) {
                ("/projects", "GET") => Scope::Projects,
                ("/projects/{project}", "DELETE") => Scope::Organization,
                _ if template.contains("{project}") => Scope::Project,
                _ => Scope::Organization,
            };
            assert_eq!(row.scope, scope, "{line}");
            let path = row.path(found.project.as_deref(), &found.parameters);
            assert_eq!(
                path,
                template
                    .replace("{project}", "a%20b")
                    .replace("{id}", "%C3%A9")
            );
            seen += 1;
        }
    }
    assert_eq!(
        profile.operations().len(),
        seen,
        "a row that the published table does not have"
    );
}

#[test]
fn what_no_row_names_is_not_matched() {
    let profile = lightstep();
    for (method, path) in [
        ("GET", ""),
        ("GET", "project"),
        ("GET", "Projects"),
        ("GET", "projects|"),
        ("GET", "projects|.."),
        ("GET", "projects|."),
        ("GET", "projects|a/b"),
        ("GET", "projects|a\\b"),
        ("GET", "projects|a\u{0}"),
        ("GET", "projects|p|Streams"),
        ("GET", "projects|p|streams|"),
        ("GET", "projects|p|streams|..|conditions"),
        ("HEAD", "projects"),
        ("OPTIONS", "projects"),
        ("PUT", "projects|p"),
        ("DELETE", "projects"),
        ("GET", "projects|p|dashboard|1"),
        ("PATCH", "projects|p|metric_dashboards|1"),
        ("GET", "projects|p|inferred_service_rules"),
        ("GET", "projects|p|telemetry|attributes"),
        ("GET", "users"),
        ("POST", "USERS"),
        ("DELETE", "role-binding"),
    ] {
        let segments: Vec<&str> = path.split('|').collect();
        let found = profile.match_query(&Method::from_bytes(method.as_bytes()).unwrap(), &segments);
        assert_eq!(found, None, "{method} {path}");
    }
    assert_eq!(profile.match_query(&Method::GET, &[]), None);
}

#[test]
fn the_query_apis_paths_are_told_by_their_prefix() {
    let profile = lightstep();
    for (words, expected) in [
        (
            &["public", "v0.2", "acme", "projects"][..],
            Some(("acme", &["projects"][..])),
        ),
        (&["public", "v0.2", "acme"], Some(("acme", &[]))),
        (&["public", "v0.2"], None),
        (&["public", "v0.3", "acme"], None),
        (&["Public", "v0.2", "acme"], None),
        (&["x", "public", "v0.2", "acme"], None),
        (&[], None),
    ] {
        assert_eq!(profile.query_path(words), expected, "{words:?}");
    }
    assert_eq!(profile.query_root(), "public");
    for (path, expected) in [
        (Signal::Logs.grpc_path(), true),
        (
            "/opentelemetry.proto.collector.profiles.v1.ProfilesService/Export",
            true,
        ),
        ("/lightstep.collector.CollectorService/Report", true),
        ("/v1/traces", false),
        ("/.lightkeeper/apps", false),
        ("", false),
    ] {
        assert_eq!(profile.is_grpc_method(path), expected, "{path}");
    }
    for (name, expected) in [
        ("x-lightstep-org", true),
        ("lightstep-access-token", true),
        ("x-other", false),
    ] {
        assert_eq!(profile.reads_header(name), expected, "{name}");
    }
}

#[test]
fn exports_are_found_by_their_paths_and_no_others() {
    let profile = lightstep();
    for (path, expected) in [
        ("/v1/traces", Some((Signal::Traces, "/v1/traces"))),
        ("/v1/metrics", Some((Signal::Metrics, "/v1/metrics"))),
        ("/v1/logs", Some((Signal::Logs, "/v1/logs"))),
        (
            "/traces/otlp/v0.9",
            Some((Signal::Traces, "/traces/otlp/v0.9")),
        ),
        (
            "/traces/otlp/v0.10",
            Some((Signal::Traces, "/traces/otlp/v0.10")),
        ),
        (
            "/metrics/otlp/v0.5",
            Some((Signal::Metrics, "/metrics/otlp/v0.5")),
        ),
        (
            "/api/v2/otel/trace",
            Some((Signal::Traces, "/api/v2/otel/trace")),
        ),
        ("/logs/otlp/v0.9", None),
        ("/traces/otlp/v0.", None),
        ("/traces/otlp/v0.100", None),
        ("/traces/otlp/v0.09", None),
        ("/traces/otlp/v0.+9", None),
        ("/traces/otlp/v0.9/", None),
        ("/v1/traces/", None),
        ("/V1/traces", None),
        ("/v1/traces?x", None),
        ("/v1/profiles", None),
        ("v1/traces", None),
        ("", None),
    ] {
        let found = profile.match_ingest(path);
        let plain = found
            .as_ref()
            .map(|(_, signal, path)| (*signal, path.as_str()));
        assert_eq!(plain, expected, "{path}");
        if let Some((operation, signal, _)) = found {
            assert_eq!(
                profile.operation(operation).permission,
                format!("ingest.{}", signal.name())
            );
        }
    }
    for signal in Signal::ALL {
        let (operation, found) = profile.match_grpc(signal.grpc_path()).unwrap();
        assert_eq!(
            (found, &profile.operation(operation).template),
            (signal, &format!("OTLP {}", signal.name()))
        );
    }
    assert_eq!(
        profile.match_grpc("/opentelemetry.proto.collector.trace.v1.TraceService/export"),
        None
    );
}

/// The ways in that are older than OpenTelemetry, transcribed by hand: path, format, signal, upstream, token, types.
const LEGACY: &str = "
/api/v2/reports          reports       traces  Collector Header      application/octet-stream application/x-protobuf application/protobuf
/api/v2/reports          reports_json  traces  Collector Header      application/json
/api/v0/reports          thrift_json   traces  Collector Header      application/json
/_rpc/v1/reports/binary  thrift_binary traces  Collector Header      application/x-thrift application/vnd.apache.thrift.binary
/metrics                 metrics       metrics Ingest    Header      application/octet-stream application/x-protobuf application/protobuf
/api/v2/spans            zipkin        traces  Collector Header      application/json
/_bulk                   bulk          logs    Logs      Password    application/json application/x-ndjson
/cwstream                firehose      metrics Ingest    FirehoseKey application/json
";

#[test]
fn legacy_reports_are_found_by_their_paths_and_no_others() {
    let profile = lightstep();
    let lines: Vec<&str> = LEGACY.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(profile.legacy_reports().len(), lines.len());
    for (line, row) in lines.iter().zip(profile.legacy_reports()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let told = format!(
            "{} {} {:?} {:?}",
            row.format.name(),
            row.signal.name(),
            row.host,
            row.token
        );
        assert_eq!((row.path.as_str(), told), (words[0], words[1..5].join(" ")));
        assert_eq!(row.types, words[5..]);
        assert_eq!(
            profile.operation(row.operation).permission,
            format!("ingest.{}", words[2])
        );
        assert!(
            profile
                .legacy(words[0])
                .any(|found| found.format == row.format)
        );
    }
    for path in [
        "/api/v2/report",
        "/api/v2/reports/",
        "/API/v2/reports",
        "/v1/traces",
        "_bulk",
        "",
    ] {
        assert_eq!(profile.legacy(path).count(), 0, "{path}");
    }
    let grpc = profile
        .legacy_grpc("/lightstep.collector.CollectorService/Report")
        .unwrap();
    assert_eq!(
        (grpc.format.name(), grpc.host),
        ("reports", Host::Collector)
    );
    assert!(
        profile
            .legacy_grpc("/lightstep.collector.CollectorService/report")
            .is_none()
    );
    for (segments, expected) in [
        (&["_rpc", "v1", "reports", "uri_encoded"][..], true),
        (&["_rpc", "v1", "reports", "binary"], false),
        (&["_rpc", "v1", "reports"], false),
        (&["x", "_rpc", "v1", "reports", "uri_encoded"], false),
        (&[], false),
    ] {
        assert_eq!(
            profile.takes_token_in_url(segments),
            expected,
            "{segments:?}"
        );
    }
}

#[test]
fn a_path_is_rebuilt_only_from_all_of_its_values() {
    let profile = lightstep();
    let found = profile
        .match_query(&Method::GET, &["projects", "p", "streams", "1"])
        .unwrap();
    let row = profile.operation(found.operation);
    let id = |text: &str| vec![text.to_owned()];
    for (project, parameters, expected) in [
        (Some("p"), id("1"), "/projects/p/streams/1"),
        (
            Some("a;b?c#d%2f"),
            id("~_-.x"),
            "/projects/a%3Bb%3Fc%23d%252f/streams/~_-.x",
        ),
        (None, id("1"), ""),
        (Some(".."), id("1"), ""),
        (Some("p"), id(""), ""),
        (Some("p"), Vec::new(), ""),
        (Some("p"), vec!["1".to_owned(), "2".to_owned()], ""),
    ] {
        assert_eq!(row.path(project, &parameters), expected);
    }
}

#[test]
fn sensitive_permissions_are_the_ones_of_the_design() {
    let profile = lightstep();
    let sensitive: Vec<&str> = profile
        .permissions()
        .iter()
        .filter(|permission| profile.is_sensitive(permission))
        .map(String::as_str)
        .collect();
    assert_eq!(
        sensitive,
        [
            "gateway.audit.read",
            "query.access_tokens.read",
            "query.access_tokens.write",
            "query.destinations.read",
            "query.projects.write",
            "query.roles.read",
            "query.roles.write",
            "query.users.write",
        ]
    );
    assert!(
        profile.is_sensitive("query.unheard.read"),
        "what is unknown is treated with most care"
    );
}

#[test]
fn a_table_that_could_mean_two_things_is_refused() {
    let text = include_str!("lightstep.yaml");
    let row = |row: &str| format!("{text}\n  - {{ {row}, key: read, response: item }}\n");
    for (broken, word) in [
        (
            row(
                "method: GET, path: \"/projects/{other}\", permission: query.x.read, scope: organization",
            ),
            "could match",
        ),
        (
            row("method: GET, path: /x, permission: query.streams.read, scope: project"),
            "names none",
        ),
        (
            row("method: GET, path: /x, permission: query.users.write, scope: organization"),
            "sensitive in one row",
        ),
        (
            row("method: GET, path: x, permission: query.x.read, scope: organization"),
            "begin with a slash",
        ),
        (
            row("method: GET, path: /x/../y, permission: query.x.read, scope: organization"),
            "no path can have",
        ),
        (
            row("method: GET, path: /x, permission: query.*.read, scope: organization"),
            "no permission's name",
        ),
        (
            row("method: HEAD, path: /x, permission: query.x.read, scope: organization"),
            "HEAD",
        ),
        (
            row("method: GET, path: /x, permission: query.x.read, scope: organization, extra: 1"),
            "extra",
        ),
    ] {
        let fault = mistakes(&broken);
        assert!(fault.contains(word), "{word}: {fault}");
    }
    for (from, to, word) in [
        (
            "prefix: /public/v0.2",
            "prefix: public/v0.2",
            "begin with a slash",
        ),
        (
            "prefix: /public/v0.2",
            "prefix: /public/",
            "no path can have",
        ),
        (
            "prefix: /public/v0.2",
            "prefix: \"/public/{version}\"",
            "no prefix",
        ),
        (
            "tenant_header: x-lightstep-org",
            "tenant_header: \"x org\"",
            "no header name",
        ),
        (
            "https://ingest.lightstep.com",
            "ingest.lightstep.com",
            "no address",
        ),
    ] {
        let fault = mistakes(&text.replacen(from, to, 1));
        assert!(fault.contains(word), "{word}: {fault}");
    }
    let broken = text.replacen("around_minutes: 30", "around_minutes: 0", 1);
    assert!(mistakes(&broken).contains("around_minutes"));
    let legacy =
        |row: &str| text.replacen("  legacy:\n", &format!("  legacy:\n    - {{ {row} }}\n"), 1);
    for (row, word) in [
        (
            "path: /x, format: bulk, signal: logs, upstream: logs",
            "no media type",
        ),
        (
            "path: /_bulk, format: zipkin, signal: logs, upstream: logs, types: [application/JSON]",
            "no media type",
        ),
        (
            "path: /x, format: arrow, signal: logs, upstream: logs, types: [a/b]",
            "unknown word `arrow`",
        ),
        (
            "path: /v1/logs, format: bulk, signal: logs, upstream: logs, types: [a/b]",
            "an export's path",
        ),
        (
            "path: /x, format: bulk, signal: logs, upstream: query, types: [a/b]",
            "query",
        ),
        (
            "path: /x, format: bulk, signal: logs, upstream: logs, token: url, types: [a/b]",
            "unknown word",
        ),
    ] {
        let fault = mistakes(&legacy(row));
        assert!(fault.contains(word), "{word}: {fault}");
    }
}

#[test]
fn an_unknown_id_names_a_permission_that_nobody_holds() {
    let profile = lightstep();
    let nobody = profile.operation(OperationId(u16::MAX));
    assert_eq!(profile.permission(&nobody.permission), None);
    assert!(nobody.sensitive);
}

mod vendor;
