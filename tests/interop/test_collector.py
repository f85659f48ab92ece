"""A real OpenTelemetry Collector as the one sender of a cluster.

Scenario: one Collector, built with OpenTelemetry's own builder, batches the telemetry of several services and
sends it to the gateway with its own token. Guarantees: each service's part arrives in its own project under the
verified sender's stamp, what others may not write is told to it as a partial success; and when the backend is
refusing, killed or away, its retry queue and the gateway together lose nothing and double nothing.
"""

import collections
import os
import threading
import time
import unittest
import urllib.request
import uuid

import settings
import stamps
import world as worlds
from google.protobuf import json_format

WORLD = worlds.shared()
PROJECT = {"checkout": "checkout-prod", "payments": "payments-prod", "agent": "platform-prod"}
ABSENT = os.environ.get("OTELCOL_ABSENT")
SPANS, EXPORTS, SECONDS = 2000, 40, 2.0  # of the load


def attribute(key, value):
    return {"key": key, "value": {"stringValue": value}}


def export(signal, services, name):
    """An export with one item of each service."""
    item = {
        "traces": {"scopeSpans": [{"spans": [{"name": name}]}]},
        "metrics": {"scopeMetrics": [{"metrics": [{"name": name, "gauge": {"dataPoints": [{"asInt": "1"}]}}]}]},
        "logs": {"scopeLogs": [{"logRecords": [{"body": {"stringValue": name}}]}]},
    }[signal]
    groups = [{"resource": {"attributes": [attribute("service.name", service)]}, **item} for service in services]
    message = stamps.MESSAGES[signal]()
    json_format.ParseDict({stamps.GROUPS[signal][0]: groups}, message)
    return message.SerializeToString()


def spans_of(number, count, services=("checkout", "payments")):
    """An export of `count` spans with ids of their own, the services by turns."""
    message = stamps.MESSAGES["traces"]()
    for at, service in enumerate(services):
        group = message.resource_spans.add()
        json_format.ParseDict({"attributes": [attribute("service.name", service)]}, group.resource)
        scope = group.scope_spans.add()
        for one in range(at, count, len(services)):
            scope.spans.add(name="load", trace_id=uuid.uuid4().bytes, span_id=(number * count + one + 1).to_bytes(8, "big"))
    return message.SerializeToString()


def post(port, signal, body):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/{signal}", body)
    request.add_header("content-type", "application/x-protobuf")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def arrived(captures):
    """Each span's id and how often a file of captures holds it, by project."""
    by_project = collections.defaultdict(collections.Counter)
    for request in worlds.lines_of(captures):
        body = worlds.body_of(request, request["path"].startswith("/opentelemetry"))
        by_project[request["project"]].update(stamps.spans([body]))
    return by_project


@unittest.skipIf(ABSENT, ABSENT)
class Cluster(unittest.TestCase):
    """The gateway before the emulator; all four of the Collector's exporters, each signal."""

    @classmethod
    def setUpClass(cls):
        cls.collector, ports = WORLD.collector("collector", WORLD.tls)
        cls.receivers = {exporter: ports[exporter] for exporter in worlds.EXPORTERS}

    @classmethod
    def tearDownClass(cls):
        cls.collector.stop()

    def received(self, names):
        """For each name of an item: the captured requests with it, as (project, path, headers, groups)."""
        found = collections.defaultdict(list)
        for request in WORLD.captured():
            framed = request["path"].startswith("/opentelemetry")
            signal = next((s for s in stamps.MESSAGES if s.removesuffix("s") in request["path"].lower()), None)
            body = worlds.body_of(request, framed) if signal else b""
            for name in names:
                if name.encode() in body and request["headers"].get("content-type") != "application/json":
                    found[name].append((request, stamps.groups(signal, body)))
        return found

    def test_one_batch_is_split_over_two_projects(self):
        names = {}
        for exporter, port in self.receivers.items():
            for signal in stamps.MESSAGES:
                names[f"split-{exporter}-{signal}."] = (exporter, signal)
                post(port, signal, export(signal, ["checkout", "payments"], f"split-{exporter}-{signal}."))
        complete = lambda: all(len(parts) >= 2 for parts in map(self.received(names).__getitem__, names))
        worlds.eventually("two parts of each export", complete)
        received = self.received(names)
        for name, (exporter, signal) in names.items():
            with self.subTest(exporter=exporter, signal=signal):
                self.assertEqual(len(received[name]), 2)
                for request, groups in received[name]:
                    (group,) = groups
                    self.check_part(request, group, exporter)
                projects = {request["project"] for request, _ in received[name]}
                self.assertEqual(projects, {"checkout-prod", "payments-prod"})

    def check_part(self, request, group, exporter):
        headers, resource = request["headers"], stamps.values(group.resource)
        service = resource["service.name"]
        self.assertEqual(request["project"], PROJECT[service])
        self.assertEqual(headers["lightstep-access-token"], settings.ACCESS_TOKENS[PROJECT[service]])
        self.assertNotIn("authorization", headers)
        coding = headers["grpc-encoding" if exporter.startswith("grpc") else "content-encoding"]
        self.assertEqual(coding, exporter.split("-")[1])
        stamp = stamps.of(f"shop/{service}", "cluster")
        self.assertLessEqual(stamp.items(), resource.items())
        self.assertEqual(resource["k8s.cluster.name"], "prod-1")
        keys = [attribute.key for attribute in group.resource.attributes]
        self.assertEqual(len(keys), len(set(keys)), keys)
        taken = stamps.unstamped(group)
        self.assertEqual(len(taken), len(stamp), taken)

    def test_a_service_of_another_app_is_rejected_and_told(self):
        """The other parts arrive once; the Collector hears of a partial success and does not retry."""
        for exporter, port in self.receivers.items():
            with self.subTest(exporter):
                name = f"foreign-{exporter}."
                before = self.collector.text().count("artial success")
                post(port, "traces", export("traces", ["checkout", "agent", "payments"], name))
                told = lambda: self.collector.text().count("artial success") > before
                worlds.eventually("the Collector's word of a partial success", told)
                self.assertIn("agent", self.collector.text().split("artial success")[-1])
                projects = sorted(request["project"] for request, _ in self.received([name])[name])
                self.assertEqual(projects, ["checkout-prod", "payments-prod"])

    def test_nothing_permitted_is_dropped_at_once(self):
        """All parts refused: 403, which the Collector does not retry."""
        post(self.receivers["http-gzip"], "traces", export("traces", ["agent"], "nothing-permitted"))
        worlds.eventually("the Collector's word of a drop", lambda: "not retryable" in self.collector.text())
        self.assertEqual(self.received(["nothing-permitted"])["nothing-permitted"], [])


@unittest.skipIf(ABSENT, ABSENT)
class RetryQueue(unittest.TestCase):
    """A gateway and a Collector of their own, before backends that refuse and die."""

    @classmethod
    def setUpClass(cls):
        (cls.port,) = worlds.free_ports(1)
        cls.gateway = worlds.Gateway(WORLD, "retries", cls.port)

    def setUp(self):
        self.name = self.id().rsplit(".", 1)[1]
        self.captures = WORLD.directory / f"{self.name}.captures.jsonl"
        self.collector, self.ports = WORLD.collector(f"{self.name}.collector", self.gateway.tls)
        self.addCleanup(self.collector.stop)
        self.backends = 0
        self.records = len(self.gateway.records())

    def backend(self, start=WORLD.backend):
        """A backend on the gateway's upstream port; the captures of several go to one file."""
        self.backends += 1
        backend = start(f"{self.name}.backend-{self.backends}", self.port, self.captures)
        self.addCleanup(backend.stop)
        return backend

    def load(self, port, spans=SPANS, exports=EXPORTS, seconds=SECONDS, first=0, at=None):
        """Sends spans with unique ids, evenly over some seconds; `at` maps an export's number to what happens."""
        begin = time.monotonic()
        for number in range(exports):
            if at and number in at:
                at[number]()
            pause = begin + number * seconds / exports - time.monotonic()
            threading.Event().wait(max(pause, 0))
            post(port, "traces", spans_of(first + number, spans // exports))

    def told(self, metric):
        """The sum of one of the exporters' counters, as the Collector itself counts."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['metrics']}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"otelcol_exporter_{metric}"))

    def check_exactly_once(self, spans=SPANS):
        """After retries, the Collector was told of the success of every span; each is there, once, in its project."""
        worlds.eventually(f"the Collector to have sent {spans} spans", lambda: self.told("sent_spans") >= spans)
        self.assertEqual((self.told("sent_spans"), self.told("send_failed_spans")), (spans, 0))
        statuses = [record.get("status") for record in self.gateway.records()[self.records :]]
        self.assertTrue([status for status in statuses if status in (502, 503)], "nothing was ever refused")
        by_project = arrived(self.captures)
        half = {"checkout-prod": spans // 2, "payments-prod": spans // 2}
        self.assertEqual({name: len(ids) for name, ids in by_project.items()}, half)
        doubled = {project: [i.hex() for i, times in ids.items() if times > 1] for project, ids in by_project.items()}
        self.assertEqual(doubled, {"checkout-prod": [], "payments-prod": []})

    def test_a_backend_killed_and_restarted_under_load(self):
        """Killed between two requests that it answers, away for a third of the load, started again."""
        first = self.backend()

        def die():
            first.order("die")
            self.assertEqual(first.child.wait(timeout=10), -9)

        self.load(self.ports["http-gzip"], at={EXPORTS // 3: die, EXPORTS * 2 // 3: self.backend})
        self.check_exactly_once()

    def test_one_project_of_a_batch_refuses_for_a_while(self):
        """The parts of the other project are remembered over the Collector's retries of whole batches."""
        self.backend().order("refuse checkout-prod 503 8", answered=True)
        self.load(self.ports["http-zstd"], spans=400, exports=8, seconds=0.4)
        self.check_exactly_once(400)

    def test_the_emulator_killed_over_grpc(self):
        """Killed for good once it has taken the first spans; the rest is sent into its absence."""
        first = self.backend(WORLD.emulator)
        self.load(self.ports["grpc-zstd"], spans=200, exports=4, seconds=0.2)
        worlds.eventually("the first spans", lambda: sum(map(len, arrived(self.captures).values())) == 200)
        first.child.kill()
        first.child.wait(timeout=10)
        restart = {12: lambda: self.backend(WORLD.emulator)}
        self.load(self.ports["grpc-zstd"], spans=800, exports=16, seconds=0.8, first=4, at=restart)
        self.check_exactly_once(1000)
