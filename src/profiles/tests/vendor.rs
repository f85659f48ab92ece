//! Parameters, bounds, answers and backends without a credential, in a profile of a made-up vendor.
//!
//! What it does: fills it in, and breaks copies of it. What it refuses to know: how an export is sent.

use std::path::Path;

use super::super::*;
use super::mistakes;

/// A profile with everything that a vendor may want.
const VENDOR: &str = r#"name: vendor
parameters:
  region: { about: the region, default: us1, values: [us1, eu1] }
  tenant: { about: the tenant's name }
addresses: { ingest: "https://{tenant}.ingest.{region}.example.com", grpc: "https://grpc.{region}.example.com:4317" }
ingest:
  base: "/api/{tenant}"
  headers: { x-key: "{token}", x-auth: "Basic {b64:{tenant}:{token}}", x-region: "{region}" }
  answers: { success: [200, 202], too_large: [413, 400], grpc: { too_large: [INVALID_ARGUMENT] } }
  signals:
    traces: { path: "/of/{tenant}/{signal}", max_bytes: 3.2MB, max_items: 1000 }
  http:
    - { path: /v1/traces, signal: traces, max_unpacked: 4MiB }
    - { path: /v2/traces, signal: traces, max_unpacked: 5MB }
    - { path: /v1/logs, signal: logs, max_bytes: 1000 }
  grpc:
    - { path: /opentelemetry.proto.collector.trace.v1.TraceService/Export, signal: traces, max_bytes: 1MB }
query: off
alerts: off
ui: off
tree: off
"#;

fn vendor(text: &str) -> Result<Arc<Profile>, String> {
    let read = Profile::load(Path::new("vendor.yaml"), text);
    read.map(Arc::new).map_err(|_| mistakes(text))
}

#[test]
fn parameters_are_filled_in_everywhere() {
    let profile = vendor(VENDOR).unwrap();
    assert_eq!(profile.addresses.usual_ingest(), None);
    let values = ExportValues {
        token: b"secret",
        project: "p",
        app: "a",
        signal: Signal::Traces,
    };
    for (given, ingest, grpc, base, headers) in [
        (
            &[("tenant", "acme")][..],
            "https://acme.ingest.us1.example.com",
            "https://grpc.us1.example.com:4317",
            "/api/acme",
            ["Basic YWNtZTpzZWNyZXQ=", "secret", "us1"],
        ),
        (
            &[("region", "eu1"), ("tenant", "a-b_c")],
            "https://a-b_c.ingest.eu1.example.com",
            "https://grpc.eu1.example.com:4317",
            "/api/a-b_c",
            ["Basic YS1iX2M6c2VjcmV0", "secret", "eu1"],
        ),
    ] {
        let filled = profile.filled(given).unwrap();
        assert_eq!(filled.addresses.usual_ingest(), Some(ingest));
        assert_eq!(filled.addresses.usual_grpc(), Some(grpc));
        let form = filled.exports(Signal::Traces);
        let (found, path) = form.target(&values);
        let tenant = base.rsplit('/').next().unwrap();
        assert_eq!(
            (found.as_str(), path),
            (base, Some(format!("/of/{tenant}/traces")))
        );
        let found = form.headers(&values).unwrap();
        let found: Vec<&str> = found
            .iter()
            .map(|(_, value)| value.to_str().unwrap())
            .collect();
        assert_eq!(found, headers);
    }
}

#[test]
fn values_that_do_not_fit_are_told_with_what_to_write() {
    let profile = vendor(VENDOR).unwrap();
    for (given, told, hint) in [
        (
            &[][..],
            "profile `vendor` needs its parameter `tenant`",
            "add `with: { tenant: … }`, the tenant's name",
        ),
        (
            &[("tenant", "a"), ("site", "x")],
            "profile `vendor` has no parameter `site`",
            "remove it",
        ),
        (
            &[("tenant", "a"), ("region", "mars")],
            "parameter `region` cannot be this: it is another word",
            "one of `us1`, `eu1`",
        ),
        (
            &[("tenant", "a/b")],
            "parameter `tenant` cannot be this: a host name cannot have it",
            "write what the backend calls it",
        ),
        (
            &[("tenant", "a@evil")],
            "a host name cannot have it",
            "write",
        ),
        (&[("tenant", "..")], "a host name cannot have it", "write"),
        (&[("tenant", "a:1")], "a host name cannot have it", "write"),
        (&[("tenant", "a?b")], "a host name cannot have it", "write"),
        (&[("tenant", "a b")], "a host name cannot have it", "write"),
        (
            &[("tenant", "a.evil.test")],
            "one label of a host name cannot have it",
            "write",
        ),
        (&[("tenant", "")], "1 to 253 characters", "write"),
        (&[("tenant", "a\r\nb: c")], "printable ASCII", "write"),
        (&[("tenant", "é")], "printable ASCII", "write"),
        (
            &[("tenant", "{region}")],
            "a host name cannot have it",
            "write",
        ),
    ] {
        let faults = profile.filled(given).unwrap_err();
        assert_eq!(faults.len(), 1, "{given:?}: {faults:?}");
        assert!(
            faults[0].to_string().contains(told),
            "{given:?}: {}",
            faults[0]
        );
        assert!(
            faults[0].hint().contains(hint),
            "{given:?}: {}",
            faults[0].hint()
        );
    }
    // A value of a header alone may be whatever a header may be.
    let text = VENDOR
        .replace("{tenant}.ingest.", "")
        .replace("/api/{tenant}", "/api")
        .replace("/of/{tenant}/", "/of/");
    let profile = vendor(&text).unwrap();
    assert!(profile.filled(&[("tenant", "my data: set/1")]).is_ok());
    assert!(profile.filled(&[("tenant", " x")]).is_err());
}

#[test]
fn bounds_are_of_signals_and_ways() {
    let profile = vendor(VENDOR).unwrap();
    let bounds = |packed_bytes, unpacked_bytes, items| Bounds {
        packed_bytes,
        unpacked_bytes,
        items,
    };
    let none = u64::MAX;
    for (signal, grpc, expected) in [
        (Signal::Traces, false, bounds(3_200_000, 4 << 20, 1000)),
        (Signal::Traces, true, bounds(1_000_000, none, 1000)),
        (Signal::Logs, false, bounds(1000, none, none)),
        (Signal::Logs, true, Bounds::NONE),
        (Signal::Metrics, false, Bounds::NONE),
    ] {
        assert_eq!(profile.bounds(signal, grpc), expected, "{signal:?} {grpc}");
    }
}

/// Scenario: one mistake at a time in a profile that is sound. Guarantees: it is told in its place, by line and column.
#[test]
fn each_mistake_is_told_in_its_place() {
    for (from, to, told) in [
        (
            "default: us1",
            "default: mars",
            "3:41: error: the parameter cannot be this: it is another word",
        ),
        (
            "values: [us1, eu1]",
            "values: [us1, \"e/1\"]",
            "3:60: error: the parameter cannot be this: a host name",
        ),
        (
            "  region:",
            "  Region:",
            "3:3: error: `Region` is no name of a parameter",
        ),
        (
            "  region:",
            "  token:",
            "3:3: error: `token` is no name of a parameter",
        ),
        (
            "  tenant: { about: the tenant's name }",
            "  tenant: {}\n  unused: {}",
            "5:3: error: parameter `unused` stands in no address, path or header",
        ),
        (
            "ingest.{region}",
            "ingest.{regio}",
            "5:22: error: `https://{tenant}.ingest.{regio}.example.com` is no address",
        ),
        (
            "ingest.{region}.example.com",
            "ingest.example.com{region}",
            "5:22: error: parameter `region` stands directly behind a host",
        ),
        (
            "https://{tenant}.ingest.{region}.example.com",
            "https://{tenant}.example-{region}:443/x",
            "5:22: error: parameter `region` stands directly behind a host",
        ),
        (
            "https://{tenant}.ingest.{region}.example.com",
            "https://ingest.{tenant}",
            "5:22: error: parameter `tenant` ends a host",
        ),
        (
            "grpc.{region}.example.com:4317",
            "{tenant}.:4317",
            "error: parameter `tenant` ends a host",
        ),
        ("https://{tenant}", "ftp://{tenant}", "is no address"),
        ("https://grpc.", "https://user@grpc.", "is no address"),
        (
            "x-region: \"{region}\"",
            "x-region: \"{regio}\"",
            "8:82: error: this text is no template",
        ),
        (
            "base: \"/api/{tenant}\"",
            "base: \"/api/{nant}\"",
            "7:9: error: this text is no template",
        ),
        (
            "[413, 400]",
            "[413, 200]",
            "9:52: error: this answer has two meanings",
        ),
        (
            "[413, 400]",
            "[413, 302]",
            "9:52: error: 302 is no status of an answer to an export",
        ),
        ("[INVALID_ARGUMENT]", "[OK]", "9:78: error: unknown word"),
        (
            "[INVALID_ARGUMENT]",
            "[ABORTED], again: [ABORTED]",
            "9:96: error: this answer has two meanings",
        ),
        ("max_bytes: 3.2MB", "max_bytes: 3.2M", "11:57: error:"),
        (
            "max_bytes: 3.2MB",
            "max_bytes: 0MB",
            "11:57: error: a bound is more than nothing",
        ),
        (
            "max_items: 1000",
            "max_items: 0",
            "11:75: error: a bound is more than nothing",
        ),
        ("max_items: 1000", "max_items: -1", "11:75: error:"),
        (
            "ingest:\n",
            "ingest:\n  credential: none\n",
            "7:15: error: the backend wants no credential, but a header of traces holds one",
        ),
        (
            "ingest:\n",
            "ingest:\n  credential: some\n",
            "7:15: error: unknown word for `ingest.credential`",
        ),
        ("tree: off", "tree: on", "21:7: error:"),
        (
            "tree: off",
            "tree: [{ resource: x }]",
            "21:20: error: `x` asks nothing",
        ),
    ] {
        let text = VENDOR.replacen(from, to, 1);
        assert_ne!(text, VENDOR, "{from}");
        let fault = vendor(&text).unwrap_err();
        assert!(fault.contains(told), "{to}: {fault}");
    }
    // What is listed may end a host, and what stands behind it cannot lead elsewhere.
    for (from, to) in [
        ("grpc.{region}.example.com:4317", "grpc.{region}:4317"),
        ("us1, values: [us1, eu1]", "us1.test, values: [us1.test]"),
        ("ingest.{region}.example.com", "example.com/{region}"),
        ("https://{tenant}.", "https://t-{tenant}."),
    ] {
        let text = VENDOR.replacen(from, to, 1);
        assert_ne!(text, VENDOR, "{from}");
        assert!(vendor(&text).is_ok(), "{to}");
    }
    let open = VENDOR
        .replace(
            "x-key: \"{token}\", x-auth: \"Basic {b64:{tenant}:{token}}\", ",
            "",
        )
        .replace("ingest:\n", "ingest:\n  credential: none\n");
    let profile = vendor(&open).unwrap();
    assert!(!profile.wants_credential && vendor(VENDOR).unwrap().wants_credential);
    let reports = open.replace("  grpc:\n", "  legacy: [{ path: /x, format: bulk, signal: logs, upstream: logs, types: [a/b] }]\n  grpc:\n");
    assert!(
        vendor(&reports)
            .unwrap_err()
            .contains("7:15: error: reports carry a credential")
    );
    let example = open.replace("example.com", "example");
    let filled = vendor(&example)
        .unwrap()
        .filled(&[("tenant", "a")])
        .unwrap();
    assert_eq!(
        (
            filled.addresses.usual_ingest(),
            filled.addresses.usual_grpc()
        ),
        (None, None)
    );
}
