"""The OpenTelemetry SDK for Python before the gateway, with tokens of npm's oidc-provider.

Scenario of all: a workload holds a token (or a certificate) and no credential of the backend. Guarantees: what
its exporter sends arrives whole at the backend with the project's credential and nothing of the caller's, and
what may not pass reaches nobody.
"""

import json
import unittest

import grpc
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcTraces
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpTraces
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import settings
import world as worlds

WORLD = worlds.shared()
RESOURCE = Resource.create({"service.name": "checkout"})
MESSAGES = {"traces": ExportTraceServiceRequest, "metrics": ExportMetricsServiceRequest, "logs": ExportLogsServiceRequest}
HTTP = {"traces": HttpTraces, "metrics": HttpMetrics, "logs": HttpLogs}
GRPC = {"traces": GrpcTraces, "metrics": GrpcMetrics, "logs": GrpcLogs}


def spans(name, resource=RESOURCE):
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    provider.get_tracer("interop").start_span(name).end()
    return memory.get_finished_spans()


def metrics(name):
    reader = InMemoryMetricReader()
    MeterProvider(metric_readers=[reader], resource=RESOURCE).get_meter("interop").create_counter(name).add(1)
    return reader.get_metrics_data()


def logs(name):
    memory = InMemoryLogRecordExporter()
    provider = LoggerProvider(resource=RESOURCE)
    provider.add_log_record_processor(SimpleLogRecordProcessor(memory))
    provider.get_logger("interop").emit(body=name, event_name=name)
    return memory.get_finished_logs()


MAKE = {"traces": spans, "metrics": metrics, "logs": logs}


class PythonSdk(unittest.TestCase):
    def setUp(self):
        self.name = self.id().rsplit(".", 1)[1]
        self.before = len(WORLD.captured())

    def http(self, signal, token, base=None, **options):
        """Exports one item over HTTP and returns the result's name."""
        options.setdefault("certificate_file", str(WORLD.ca))
        headers = {"authorization": f"Bearer {token}"} if token else {}
        headers |= options.pop("extra", {})
        endpoint = f"{base or f'https://localhost:{WORLD.tls}'}/v1/{signal}"
        exporter = HTTP[signal](endpoint=endpoint, headers=headers, timeout=5, **options)
        return exporter.export(MAKE[signal](self.name)).name

    def grpc(self, signal, token, port=None, chain=(None, None), **options):
        """Exports one item over gRPC with TLS and returns the result's name."""
        key, certificate = (path.read_bytes() if path else None for path in chain)
        credentials = grpc.ssl_channel_credentials(WORLD.ca.read_bytes(), key, certificate)
        headers = (("authorization", f"Bearer {token}"),) if token else ()
        endpoint = f"localhost:{port or WORLD.tls}"
        exporter = GRPC[signal](endpoint=endpoint, credentials=credentials, headers=headers, timeout=5, **options)
        try:
            return exporter.export(MAKE[signal](self.name)).name
        finally:
            exporter.shutdown()

    def arrived(self, count=1):
        """What the backend received since the test began; exactly `count` requests."""
        worlds.eventually(f"{count} requests upstream", lambda: len(WORLD.captured()) >= self.before + count)
        new = WORLD.captured()[self.before :]
        self.assertEqual(len(new), count, new)
        return new

    def nothing_arrived(self):
        """Nothing went upstream: a permitted export made afterwards is the only one there."""
        self.before = len(WORLD.captured())
        self.assertEqual(self.http("traces", WORLD.token("collector")), "SUCCESS")
        self.arrived(1)

    def check_export(self, request, signal, token, project="checkout-prod", framed=False):
        """The project's credential and nothing of the caller's; the body is the export that was made."""
        headers = {name.lower(): value for name, value in request["headers"].items()}
        self.assertEqual(headers["lightstep-access-token"], settings.ACCESS_TOKENS[project])
        self.assertNotIn("authorization", headers)
        self.assertEqual(request["project"], project)
        if token:
            self.assertNotIn(token, json.dumps(request))
        body = worlds.body_of(request, framed)
        message = MESSAGES[signal].FromString(body)
        self.assertIn(self.name, str(message))
        self.assertIn("checkout", str(message))

    def test_http_each_signal(self):
        token = WORLD.token("collector")
        for signal in HTTP:
            with self.subTest(signal):
                self.before = len(WORLD.captured())
                self.assertEqual(self.http(signal, token), "SUCCESS")
                (request,) = self.arrived()
                self.assertEqual((request["method"], request["path"]), ("POST", f"/v1/{signal}"))
                self.check_export(request, signal, token)

    def test_http_gzip_is_passed_through(self):
        token = WORLD.token("collector")
        self.assertEqual(self.http("traces", token, compression=Compression.Gzip), "SUCCESS")
        (request,) = self.arrived()
        self.assertEqual(request["headers"]["content-encoding"], "gzip")
        self.check_export(request, "traces", token)

    def test_http_plaintext_listener(self):
        token = WORLD.token("collector")
        self.assertEqual(self.http("traces", token, base=f"http://localhost:{WORLD.plain}"), "SUCCESS")
        self.check_export(self.arrived()[0], "traces", token)

    def test_http_app_in_the_url(self):
        """A caller with several apps names one by its endpoint alone."""
        token = WORLD.token("analyst")
        base = f"https://localhost:{WORLD.tls}/apps/shop/payments/-"
        self.assertEqual(self.http("traces", token, base=base), "SUCCESS")
        (request,) = self.arrived()
        self.assertEqual(request["path"], "/v1/traces")
        self.check_export(request, "traces", token, project="payments-prod")

    def test_http_token_in_the_lightstep_header(self):
        """An SDK that can only set a Lightstep token sends its JWT there; ours replaces it."""
        token = WORLD.token("collector")
        self.assertEqual(self.http("traces", None, extra={"lightstep-access-token": token}), "SUCCESS")
        self.check_export(self.arrived()[0], "traces", token)

    def test_grpc_each_signal(self):
        token = WORLD.token("collector")
        for signal in GRPC:
            with self.subTest(signal):
                self.before = len(WORLD.captured())
                self.assertEqual(self.grpc(signal, token), "SUCCESS")
                self.check_export(self.arrived()[0], signal, token, framed=True)

    def test_grpc_gzip_is_passed_through(self):
        token = WORLD.token("collector")
        self.assertEqual(self.grpc("traces", token, compression=grpc.Compression.Gzip), "SUCCESS")
        self.check_export(self.arrived()[0], "traces", token, framed=True)

    def test_grpc_plaintext_listener(self):
        token = WORLD.token("collector")
        headers = (("authorization", f"Bearer {token}"),)
        exporter = GrpcTraces(endpoint=f"localhost:{WORLD.plain}", insecure=True, headers=headers, timeout=5)
        self.assertEqual(exporter.export(spans(self.name)).name, "SUCCESS")
        exporter.shutdown()
        self.check_export(self.arrived()[0], "traces", token, framed=True)

    def test_mtls_http(self):
        chain = {"client_certificate_file": str(WORLD.client_certificate), "client_key_file": str(WORLD.client_key)}
        self.assertEqual(self.http("traces", None, base=f"https://localhost:{WORLD.mtls}", **chain), "SUCCESS")
        self.check_export(self.arrived()[0], "traces", None)

    def test_mtls_grpc(self):
        chain = (WORLD.client_key, WORLD.client_certificate)
        self.assertEqual(self.grpc("traces", None, port=WORLD.mtls, chain=chain), "SUCCESS")
        self.check_export(self.arrived()[0], "traces", None, framed=True)

    def test_mtls_without_a_certificate_is_no_connection(self):
        token = WORLD.token("collector")
        self.assertEqual(self.http("traces", token, base=f"https://localhost:{WORLD.mtls}"), "FAILURE")
        self.nothing_arrived()

    def test_each_algorithm_of_the_provider(self):
        for resource in settings.RESOURCES:
            with self.subTest(resource):
                token = WORLD.token("collector", resource)
                self.assertEqual(self.http("traces", token), "SUCCESS")

    def test_refusals_reach_nobody(self):
        """No token, one for another service, one with a changed signature, one that no binding names."""
        good = WORLD.token("collector")
        head, payload, signature = good.split(".")
        changed = f"{head}.{payload}.{('A' if signature[0] != 'A' else 'B') + signature[1:]}"
        refused = {
            "none": (None, 401),
            "another audience": (WORLD.token("collector", "urn:another-service"), 401),
            "changed signature": (changed, 401),
            "not bound": (WORLD.token("stranger"), 403),
        }
        for name, (token, status) in refused.items():
            with self.subTest(name):
                self.assertEqual(self.http("traces", token), "FAILURE")
                self.assertEqual(self.grpc("traces", token), "FAILURE")
                path = "/public/v0.2/acme/projects/checkout-prod/streams"
                self.assertEqual(WORLD.get(path, token)[0], status)
        self.nothing_arrived()

    def test_who_keeps_failing_is_told_to_wait(self):
        """After 64 exports of another app's service; others at the same address are served as before."""
        token = WORLD.token("hammer")
        exporter = HttpTraces(
            endpoint=f"http://localhost:{WORLD.plain}/v1/traces",
            headers={"authorization": f"Bearer {token}"},
            timeout=0.5,  # it would come again when it is told to wait
        )
        batch = spans(self.name, Resource.create({"service.name": "agent"}))
        for _ in range(66):
            self.assertEqual(exporter.export(batch).name, "FAILURE")
        exporter.shutdown()
        mine = lambda: [r for r in WORLD.gateway.records() if (r.get("identity") or {}).get("subject") == "hammer"]
        worlds.eventually("66 records", lambda: len(mine()) >= 66)
        told = [(r["status"], r["reason"]) for r in mine()]
        self.assertEqual(told[:64], [(403, "service_foreign")] * 64)
        self.assertEqual(told[-1], (429, "penalty"), told[64:])
        self.nothing_arrived()

    def test_a_token_ends_with_its_lifetime(self):
        """The provider's token lives a second; the cache of verified tokens does not prolong it."""
        token = WORLD.token("short-lived")
        worlds.eventually("the token's end", lambda: WORLD.get("/.lightkeeper/whoami", token)[0] == 401)

    def test_whoami_says_who_the_provider_says(self):
        status, _, body = WORLD.get("/.lightkeeper/whoami", WORLD.token("collector"))
        self.assertEqual(status, 200)
        self.assertIn(b"collector", body)

    def test_a_query_carries_the_read_key(self):
        token = WORLD.token("analyst")
        status, headers, body = WORLD.get("/public/v0.2/acme/projects/checkout-prod/streams", token)
        self.assertEqual(status, 200, body)
        self.assertIn("data", json.loads(body))
        self.assertTrue(headers["lightkeeper-request-id"])
        (request,) = self.arrived()
        self.assertEqual(request["path"], "/public/v0.2/acme/projects/checkout-prod/streams")
        self.assertEqual(request["headers"]["authorization"].lower(), f"bearer {settings.READ_KEY}")
        self.assertNotIn(token, json.dumps(request))

    def test_nothing_written_holds_a_secret(self):
        """After an export and a query: no token of the caller's, none of ours, in logs and records."""
        token = WORLD.token("collector")
        self.assertEqual(self.http("traces", token), "SUCCESS")
        worlds.eventually("the record", lambda: any(r.get("operation") == "ingest.traces" for r in WORLD.gateway.records()))
        written = WORLD.gateway.written()
        for secret in [token, token.split(".")[2], settings.READ_KEY, settings.WRITE_KEY, *settings.ACCESS_TOKENS.values()]:
            self.assertNotIn(secret, written)
