"""Backends' own servers behind the gateway, by the profiles that are built in.

Scenario: a workload exports in protobuf, in JSON and over gRPC, to a gateway before a real server of VictoriaLogs,
VictoriaMetrics, VictoriaTraces, Prometheus, Jaeger or Phoenix. Guarantee: the server has each item once, with the verified sender's stamp, whatever form it was sent in.
"""

import base64
import json
import os
import time
import unittest
import urllib.parse
import urllib.request
import uuid

import grpc
import settings
import stamps
import world as worlds
from google.protobuf import json_format

WORLD = worlds.shared()
FORMS = ("protobuf", "json", "grpc")
SERVICES = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}


def export(signal, name):
    """An export of one item of now."""
    now = str(time.time_ns())
    span = {"name": name, "traceId": uuid.uuid4().hex, "spanId": uuid.uuid4().hex[:16], "startTimeUnixNano": now, "endTimeUnixNano": now}
    item = {
        "traces": {"scopeSpans": [{"spans": [span]}]},
        "metrics": {"scopeMetrics": [{"metrics": [{"name": name, "gauge": {"dataPoints": [{"asInt": "7", "timeUnixNano": now}]}}]}]},
        "logs": {"scopeLogs": [{"logRecords": [{"body": {"stringValue": name}, "timeUnixNano": now, "severityNumber": 9}]}]},
    }[signal]
    service = {"key": "service.name", "value": {"stringValue": "checkout"}}
    return {stamps.GROUPS[signal][0]: [{"resource": {"attributes": [service]}, **item}]}


def in_base64(document):
    """The same as protobuf's own JSON has it: ids in base64, where OTLP has hexadecimal."""
    if isinstance(document, list):
        return [in_base64(one) for one in document]
    if not isinstance(document, dict):
        return document
    coded = lambda name, value: base64.b64encode(bytes.fromhex(value)).decode() if name in ("traceId", "spanId") else in_base64(value)
    return {name: coded(name, value) for name, value in document.items()}


def send(gateway, signal, document, form):
    """Exports a document in a form; an error is raised."""
    token = WORLD.token("collector")
    message = json_format.ParseDict(in_base64(document), stamps.MESSAGES[signal]()).SerializeToString()
    if form == "grpc":
        with grpc.insecure_channel(f"127.0.0.1:{gateway.plain}") as channel:
            channel.unary_unary(SERVICES[signal])(message, timeout=20, metadata=[("authorization", f"Bearer {token}")])
        return
    body = json.dumps(document).encode() if form == "json" else message
    request = urllib.request.Request(f"http://127.0.0.1:{gateway.plain}/v1/{signal}", body)
    request.add_header("content-type", "application/json" if form == "json" else "application/x-protobuf")
    request.add_header("authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 200


def lines(port, path, **query):
    """The JSON lines of a server's answer."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}?{urllib.parse.urlencode(query)}", timeout=20) as answer:
        return [json.loads(line) for line in answer.read().decode().splitlines() if line]


def jaeger_spans(answer):
    """The resource of each span in an answer of Jaeger's query API."""
    told = []
    for trace in answer["data"] or []:
        for span in trace["spans"]:
            process = trace["processes"][span["processID"]]
            tags = {tag["key"]: tag["value"] for tag in process["tags"]}
            told.append({"service.name": process["serviceName"], **tags})
    return told


class Before(worlds.Gateway):
    """A gateway before one backend of a built-in profile. `others`: its addresses besides."""

    def __init__(self, world, name, upstream, others):
        self.others = others
        super().__init__(world, name, upstream)

    def configure(self, world, config, ports, file):
        profile = self.name.removeprefix("before-")
        backend = {"profile": profile, "ingest": {"url": config.pop("upstreams")["ingest"]["url"]}, **self.others}
        config["backends"] = {profile: backend}
        config["policy"] = f"{self.name}.policy.yaml"
        bindings = [one for one in settings.POLICY["bindings"] if one["permissions"] == ["ingest.*"]]
        policy = {**settings.POLICY, "bindings": bindings}
        (self.directory / config["policy"]).write_text(json.dumps(policy, indent=1))
        file.write_text(json.dumps(config, indent=1))


class Server:
    """What the tests of a server share."""

    # What an item says there of its service and its sender.
    expected = {"service.name": "checkout", "lightkeeper.app": "shop/checkout"}

    forms, others = FORMS, {}

    def setUp(self):
        (self.port,) = worlds.free_ports(1)
        address, data = f"127.0.0.1:{self.port}", WORLD.directory / self.profile
        command = [os.environ[self.binary], *self.options(address, data)]
        self.process = WORLD.spawn(self.profile, command, self.port, self.environment(data))
        self.gateway = Before(WORLD, f"before-{self.profile}", self.port, self.others)

    def options(self, address, data):
        return [f"-httpListenAddr={address}", f"-storageDataPath={data}"]

    def environment(self, data):
        return None

    def tearDown(self):
        self.gateway.process.stop()
        self.process.stop()

    def test_every_form_arrives_once(self):
        for form in self.forms:
            name = f"interop_{form}_{time.time_ns()}"
            send(self.gateway, self.signal, export(self.signal, name), form)
            (found,) = worlds.eventually(f"{name} at {self.profile}", lambda name=name: self.found(name))
            told = {name: found.get(name) for name in self.expected}
            self.assertEqual(told, self.expected, form)


VICTORIA_LOGS_ABSENT = os.environ.get("VICTORIA_LOGS_ABSENT")
VICTORIA_METRICS_ABSENT = os.environ.get("VICTORIA_METRICS_ABSENT")


@unittest.skipIf(VICTORIA_LOGS_ABSENT, VICTORIA_LOGS_ABSENT)
class VictoriaLogs(Server, unittest.TestCase):
    profile, binary, signal = "victoria-logs", "VICTORIA_LOGS", "logs"

    def found(self, name):
        return lines(self.port, "/select/logsql/query", query=f'"{name}"')


@unittest.skipIf(VICTORIA_METRICS_ABSENT, VICTORIA_METRICS_ABSENT)
class VictoriaMetrics(Server, unittest.TestCase):
    profile, binary, signal = "victoria-metrics", "VICTORIA_METRICS", "metrics"

    def found(self, name):
        series = lines(self.port, "/api/v1/export", **{"match[]": f'{{__name__="{name}"}}'})
        assert all(one["values"] == [7] for one in series)
        return [one["metric"] for one in series]


VICTORIA_TRACES_ABSENT = os.environ.get("VICTORIA_TRACES_ABSENT")


@unittest.skipIf(VICTORIA_TRACES_ABSENT, VICTORIA_TRACES_ABSENT)
class VictoriaTraces(Server, unittest.TestCase):
    """Written by its documentation: the server could not be had yet."""

    profile, binary, signal = "victoria-traces", "VICTORIA_TRACES", "traces"
    # It takes protobuf alone; gRPC is sent on as HTTP.
    forms = ("protobuf", "grpc")

    def found(self, name):
        """By the query API of Jaeger that it has."""
        (answer,) = lines(self.port, "/select/jaeger/api/traces", service="checkout", operation=name, lookback="1h")
        return jaeger_spans(answer)


PROMETHEUS_ABSENT = os.environ.get("PROMETHEUS_ABSENT")


@unittest.skipIf(PROMETHEUS_ABSENT, PROMETHEUS_ABSENT)
class Prometheus(Server, unittest.TestCase):
    profile, binary, signal = "prometheus", "PROMETHEUS", "metrics"
    # Of resources, it keeps the service alone, as the job; the rest stands in `target_info`.
    expected = {"job": "checkout"}

    def options(self, address, data):
        file = WORLD.directory / "prometheus.yml"
        file.write_text("global: {}\n")
        options = [f"--config.file={file}", f"--storage.tsdb.path={data}", f"--web.listen-address={address}"]
        return [*options, "--web.enable-otlp-receiver"]

    def found(self, name):
        (answer,) = lines(self.port, "/api/v1/query", query=name)
        return [one["metric"] for one in answer["data"]["result"] if one["value"][1] == "7"]


JAEGER_ABSENT = os.environ.get("JAEGER_ABSENT")


@unittest.skipIf(JAEGER_ABSENT, JAEGER_ABSENT)
class Jaeger(Server, unittest.TestCase):
    profile, binary, signal = "jaeger", "JAEGER", "traces"

    def options(self, address, data):
        self.queries, grpc = worlds.free_ports(2)
        receivers = {"otlp": {"protocols": {"http": {"endpoint": address}}}}
        query = {"storage": {"traces": "kept"}, "http": {"endpoint": f"127.0.0.1:{self.queries}"}, "grpc": {"endpoint": f"127.0.0.1:{grpc}"}}
        config = {
            "service": {
                "extensions": ["jaeger_storage", "jaeger_query"],
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
                "telemetry": {"metrics": {"level": "none"}},
            },
            "extensions": {"jaeger_storage": {"backends": {"kept": {"memory": {"max_traces": 1000}}}}, "jaeger_query": query},
            "receivers": receivers,
            "exporters": {"jaeger_storage_exporter": {"trace_storage": "kept"}},
        }
        file = WORLD.directory / "jaeger.yaml"
        file.write_text(json.dumps(config))
        return ["--config", file]

    def found(self, name):
        (answer,) = lines(self.queries, "/api/traces", service="checkout", operation=name, lookback="1h")
        return jaeger_spans(answer)


PHOENIX_ABSENT = os.environ.get("PHOENIX_ABSENT")


@unittest.skipIf(PHOENIX_ABSENT, PHOENIX_ABSENT)
class Phoenix(Server, unittest.TestCase):
    profile, binary, signal = "otlp", "PHOENIX", "traces"
    # It answers JSON with 415: who sends it needs a profile of their own that takes protobuf alone.
    forms = ("protobuf", "grpc")
    # Of resources, it keeps nothing but the project's name.
    expected = {"status_code": "UNSET"}

    def options(self, address, data):
        return ["serve"]

    def environment(self, data):
        (grpc,) = worlds.free_ports(1)
        self.others = {"grpc": {"url": f"http://127.0.0.1:{grpc}"}}
        told = {"HOST": "127.0.0.1", "PORT": str(self.port), "GRPC_PORT": str(grpc), "WORKING_DIR": str(data), "TELEMETRY_ENABLED": "false"}
        return {**os.environ, **{f"PHOENIX_{name}": value for name, value in told.items()}}

    def found(self, name):
        (answer,) = lines(self.port, "/v1/projects/default/spans", name=name)
        return answer["data"]
