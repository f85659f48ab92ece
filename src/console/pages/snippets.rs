//! Copy-ready settings.
//!
//! What it does: writes what an SDK, a Collector, a shell, Terraform and Grafana need to reach one app through us. What it
//! refuses to know: secrets; a token is always a command that fetches one. Invariants: a snippet is there only for who may
//! do what it does; what it is filled with cannot end a quotation.

use super::Viewer;
use crate::authorize::NodeView;
use crate::percent;
use crate::profiles::Scope;
use crate::view::Snippet;
use http::Method;

/// Where `lightkeeper connect` listens.
const LOCAL: &str = "127.0.0.1:9411";

/// What the visitor can begin with at this app.
pub(crate) fn snippets(sight: &Viewer<'_>, row: &NodeView) -> Vec<Snippet> {
    let ours = sight.ours;
    let mut snippets = Vec::new();
    let mut add = |title: &str, text: String| {
        snippets.push(Snippet {
            title: title.to_owned(),
            text,
        })
    };
    if row.holds("ingest.*") {
        add("OpenTelemetry SDK", sdk(sight, row));
        add("OpenTelemetry Collector", collector(sight, row));
    }
    let organization = encoded(&sight.snapshot.organization);
    let base = format!("{}/{organization}", sight.snapshot.profile.query_prefix);
    // A query needs the project's home.
    if let Some(project) = row
        .project
        .as_deref()
        .filter(|_| row.is_home && row.holds("query.*.*"))
    {
        let path = format!("{base}/projects/{}", encoded(project));
        if let Some(rest) = readable(sight, row) {
            add(
                "curl",
                format!(
                    "lightkeeper login --gateway {ours}\ncurl -H \"Authorization: Bearer $(lightkeeper token)\" \\\n  '{ours}{path}{rest}'\n"
                ),
            );
        }
        add("Terraform", terraform(sight));
        if row.holds("query.telemetry.read") || row.holds("query.streams.read") {
            add(
                "Grafana",
                format!(
                    "# lightkeeper connect --gateway {ours} --listen {LOCAL} --key-file ~/.config/lightkeeper/connect-key\n# LIGHTKEEPER_KEY for Grafana: what is in that file\napiVersion: 1\ndatasources:\n  - name: {}\n    type: yesoreyeram-infinity-datasource\n    access: proxy\n    url: http://{LOCAL}{path}\n    jsonData: {{ auth_method: bearerToken, allowedHosts: [\"http://{LOCAL}\"] }}\n    secureJsonData: {{ bearerToken: $LIGHTKEEPER_KEY }}\n",
                    quoted(project)
                ),
            );
        }
    }
    snippets
}

fn endpoint(sight: &Viewer<'_>, row: &NodeView) -> String {
    format!("{}/apps/{}/-", sight.ours, row.app)
}

fn sdk(sight: &Viewer<'_>, row: &NodeView) -> String {
    let tree = sight.snapshot.policy.tree();
    let node = tree.find(&row.app).and_then(|node| tree.node(node));
    let service = node.and_then(|node| node.services.iter().find(|service| service.is_literal()));
    let service = service.map_or_else(|| row.app.name(), |service| service.as_str());
    format!(
        "export OTEL_SERVICE_NAME={}\nexport OTEL_EXPORTER_OTLP_ENDPOINT='{}'\nexport OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\nexport OTEL_EXPORTER_OTLP_HEADERS=\"authorization=Bearer%20$(lightkeeper token)\"\n",
        shell(service),
        endpoint(sight, row)
    )
}

fn collector(sight: &Viewer<'_>, row: &NodeView) -> String {
    format!(
        "extensions:\n  bearertokenauth:\n    filename: /var/run/secrets/lightkeeper/token\nexporters:\n  otlphttp/lightkeeper:\n    endpoint: {}\n    compression: gzip\n    auth: {{ authenticator: bearertokenauth }}\nservice:\n  extensions: [bearertokenauth]\n",
        quoted(&endpoint(sight, row))
    )
}

fn terraform(sight: &Viewer<'_>) -> String {
    format!(
        "# export LIGHTSTEP_API_URL='{}'\n# export LIGHTSTEP_API_KEY=\"$(lightkeeper token)\"\nterraform {{\n  required_providers {{\n    lightstep = {{ source = \"lightstep/lightstep\" }}\n  }}\n}}\nprovider \"lightstep\" {{\n  organization = {}\n}}\n",
        sight.ours,
        quoted(&sight.snapshot.organization)
            .replace("${", "$${")
            .replace("%{", "%%{")
    )
}

/// The rest of the path of something in the project that the visitor may read.
fn readable(sight: &Viewer<'_>, row: &NodeView) -> Option<String> {
    let wanted = |name: &str| name != "/access_tokens";
    let found = sight
        .snapshot
        .profile
        .operations()
        .iter()
        .filter(|operation| {
            operation.method == Method::GET
                && operation.scope == Scope::Project
                && row.holds(&operation.permission)
        });
    let mut rests: Vec<&str> = found
        .filter_map(|operation| operation.template.strip_prefix("/projects/{project}"))
        .filter(|rest| !rest.contains('{') && wanted(rest))
        .collect();
    // Streams first: they are what most begin with.
    rests.sort_by_key(|rest| *rest != "/streams");
    rests.first().map(|rest| (*rest).to_owned())
}

fn encoded(value: &str) -> String {
    percent::encode(value).to_string()
}

/// In double quotes, as YAML, JSON and HCL read them.
fn quoted(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

/// One word for a shell.
fn shell(value: &str) -> String {
    if value
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
        && !value.is_empty()
    {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', "'\\''"))
}
