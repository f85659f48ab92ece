"""Envoy as a mesh's proxy before the gateway, with authorities that are no hosts.

Scenario: Envoy serves a page and tells of it by its own OpenTelemetry tracer and access log over gRPC, where it puts its
cluster's name into `:authority`; and it passes a workload's exports on: over gRPC under a mesh's name for the service, which is no host, and over HTTP/1.1
under its cluster's. Guarantees: what is exported arrives once, in its project, under the sender's stamp: on ingest the authority
decides nothing (RFC 9113 section 8.3.1 leaves it to the server).
"""

import json
import os
import unittest
import urllib.request

import grpc
import stamps
import world as worlds

WORLD = worlds.shared()
ABSENT = os.environ.get("ENVOY_ABSENT")
CLUSTERS = {"otel_collector": "http2_protocol_options", "otel_collector_http": "http_protocol_options"}
MESH = "outbound|4317||otel.obs.svc.cluster.local"
REQUESTS = 6  # more than the five spans at which Envoy's tracer sends
TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def typed(name, **fields):
    return {"@type": f"type.googleapis.com/envoy.{name}", **fields}


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster(name, protocol, port):
    options = typed("extensions.upstreams.http.v3.HttpProtocolOptions", explicit_http_config={protocol: {}})
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]
    return {
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
    }


def listener(name, port, routes, **more):
    manager = typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name,
        codec_type="AUTO",
        http_filters=[
            {"name": "envoy.filters.http.router", "typed_config": typed("extensions.filters.http.router.v3.Router")}
        ],
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        **more,
    )
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"name": name, "address": address(port), "filter_chains": [chain]}


def configuration(told, grpc_port, http_port, gateway, token):
    """Envoy's own telemetry on the port `told`; exports are passed on from the other two."""
    service = {
        "envoy_grpc": {"cluster_name": "otel_collector"},
        "initial_metadata": [{"key": "authorization", "value": f"Bearer {token}"}],
        "timeout": "10s",
    }
    tracer = typed("config.trace.v3.OpenTelemetryConfig", grpc_service=service, service_name="checkout")
    checkout = {"values": [{"key": "service.name", "value": {"string_value": "checkout"}}]}
    log = typed(
        "extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig",
        common_config={
            "log_name": "envoy",
            "grpc_service": service,
            "transport_api_version": "V3",
            "buffer_flush_interval": "0.2s",
        },
        resource_attributes=checkout,
        body={"string_value": "envoy-log-%REQ(:PATH)%."},
    )
    page = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "ok"}}}

    def mesh(to, name):
        return {"match": {"prefix": "/"}, "route": {"cluster": to, "host_rewrite_literal": name}}

    return {
        "static_resources": {
            "listeners": [
                listener(
                    "page",
                    told,
                    [page],
                    tracing={
                        "provider": {"name": "envoy.tracers.opentelemetry", "typed_config": tracer},
                        "random_sampling": {"value": 100},
                        "spawn_upstream_span": False,
                    },
                    access_log=[{"name": "envoy.access_loggers.open_telemetry", "typed_config": log}],
                ),
                listener("grpc", grpc_port, [mesh("otel_collector", MESH)]),
                listener("http", http_port, [mesh("otel_collector_http", "otel_collector_http")]),
            ],
            "clusters": [cluster(name, protocol, gateway) for name, protocol in CLUSTERS.items()],
        },
        "layered_runtime": {
            "layers": [{"name": "quick", "static_layer": {"tracing.opentelemetry.flush_interval_ms": 200}}]
        },
    }


@unittest.skipIf(ABSENT, ABSENT)
class Mesh(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.token = WORLD.token("collector")
        cls.page, cls.grpc, cls.http = worlds.free_ports(3)
        file = WORLD.directory / "envoy.json"
        file.write_text(json.dumps(configuration(cls.page, cls.grpc, cls.http, WORLD.plain, cls.token)))
        options = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]
        process = WORLD.spawn("envoy", [os.environ["ENVOY"], "--config-path", file, *options])
        for port in (cls.page, cls.grpc, cls.http):
            process.listens(port)
        cls.process = process

    def check(self, requests, path):
        """Each of the captured requests went to its project under the sender's stamp."""
        for request in requests:
            self.assertEqual((request["project"], request["path"]), ("checkout-prod", path))
            self.assertNotIn("authorization", request["headers"])
            signal = "logs" if "logs" in path else "traces"
            for resource in stamps.resources(signal, worlds.body_of(request, path.startswith("/opentelemetry"))):
                self.assertLessEqual(stamps.of("shop/checkout", "collector").items(), stamps.values(resource).items())

    def test_envoys_own_telemetry(self):
        for at in range(REQUESTS):
            url = f"http://127.0.0.1:{self.page}/envoy-page-{at}."
            with urllib.request.urlopen(url, timeout=10) as answer:
                self.assertEqual(answer.status, 200)
        logs = TRACES.replace(".trace.", ".logs.").replace("TraceService", "LogsService")
        for path, name in ((TRACES, "/envoy-page-"), (logs, "envoy-log-/envoy-page-")):
            told = lambda: [r for r in WORLD.named(name) if r["path"] == path]
            bodies = lambda: b"".join(worlds.body_of(r, True) for r in told())
            complete = lambda: all(f"{name}{at}.".encode() in bodies() for at in range(REQUESTS))
            worlds.eventually(f"Envoy's {path}", complete, lambda: f":\n{self.process.text()[-2000:]}")
            self.check(told(), path)

    def test_grpc_through_a_mesh(self):
        body = stamps.MESSAGES["traces"]()
        group = body.resource_spans.add()
        group.resource.attributes.add(key="service.name").value.string_value = "checkout"
        group.scope_spans.add().spans.add(name="mesh-grpc", trace_id=b"t" * 16, span_id=b"s" * 8)
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc}") as channel:
            metadata = (("authorization", f"Bearer {self.token}"),)
            told = channel.unary_unary(TRACES)(body.SerializeToString(), metadata=metadata, timeout=20)
        self.assertEqual(told, b"")
        arrived = WORLD.named("mesh-grpc")
        self.assertEqual(len(arrived), 1)
        self.check(arrived, TRACES)

    def test_http_through_a_mesh(self):
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        url = f"http://127.0.0.1:{self.http}/v1/traces"
        request = urllib.request.Request(url, worlds.plain_export("checkout", "mesh-http"), headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            self.assertEqual(answer.status, 200)
        (arrived,) = WORLD.named("mesh-http")
        self.assertEqual((arrived["project"], arrived["path"]), ("checkout-prod", "/v1/traces"))
