"""The legacy Lightstep tracers for Python and Node.js, with what they can hold: one string, an access token.

Scenario: a service of `checkout` still has a legacy tracer. In place of the project's access token it holds a
client token, or a JWT of the provider. Guarantees: its reports arrive in the project with the project's token
in every place where the tracer had put its own, and nowhere its own; a final refusal makes it drop its spans,
an outage makes it keep and resend them; nobody behind the gateway can switch it off.
"""

import base64
import itertools
import json
import os
import unittest

import settings
import world as worlds
from clients import Client

WORLD = worlds.shared()
PATHS = {
    ("python", "proto"): "/api/v2/reports",
    ("python", "thrift"): "/_rpc/v1/reports/binary",
    ("node", "proto"): "/api/v2/reports",
    ("node", "thrift"): "/api/v0/reports",
}
TOKEN = settings.ACCESS_TOKENS["checkout-prod"]
NUMBERS = itertools.count()
# What a Python tracer holds after the first, second and third refused flush of one span each.
KEPT_AFTER_REFUSALS = [("proto", [0, 0, 0]), ("thrift", [1, 2, 3])]


class Tracers(unittest.TestCase):
    """Starts the two languages' clients; each test starts tracers in them."""

    @classmethod
    def setUpClass(cls):
        python = worlds.HERE / ".venv-legacy/bin/python"
        env = {name: value for name, value in os.environ.items() if name not in ("NODE_OPTIONS", "PYTHONPATH")}
        cls.clients = {
            "python": Client([python, worlds.HERE / "legacy.py"], WORLD.directory, env),
            "node": Client(["node", worlds.HERE / "node_legacy.mjs"], WORLD.directory, env),
        }

    @classmethod
    def tearDownClass(cls):
        for client in cls.clients.values():
            client.stop()

    def tracer(self, language, transport, token, port, component="checkout", **more):
        """A new tracer; returns the function that gives it orders."""
        number = f"tracer-{next(NUMBERS)}"
        client = self.clients[language]

        def order(order, **options):
            return client.ask(order=order, tracer=number, **options)

        self.assertEqual(order("start", transport=transport, port=port, token=token, component=component, **more), {})
        return order

    def reports(self, requests, language, transport):
        """The requests of one kind that hold spans, each as (request, report)."""
        path, decoded = PATHS[language, transport], []
        for request in (r for r in requests if r["path"] == path):
            body = worlds.body_of(request)
            if path == "/api/v0/reports":
                report = json.loads(body)
                tags = {pair["Key"]: pair["Value"] for pair in report["runtime"]["attrs"]}
                tags.setdefault("lightstep.component_name", report["runtime"]["group_name"])
                spans = [span["span_name"] for span in report["span_records"]]
                report = {"token": TOKEN, "tags": tags, "spans": spans}  # it has none in its body
            else:
                text = base64.b64encode(body).decode()
                report = self.clients[language].ask(order="decode", transport=transport, body=text)
            if report["spans"]:
                decoded.append((request, report))
        return decoded

    def tokens(self):
        """What a tracer can hold, by name."""
        return {"client-token": WORLD.client_token, "jwt": WORLD.token("legacy")}


class Reports(Tracers):
    def test_the_token_is_replaced_in_every_place(self):
        """Each tracer, each transport, each kind of token: three spans, one report in the right project."""
        for (language, transport), (kind, token) in itertools.product(PATHS, self.tokens().items()):
            with self.subTest(language=language, transport=transport, token=kind):
                names = [f"{language}-{transport}-{kind}-{number}" for number in range(3)]
                order = self.tracer(language, transport, token, WORLD.plain)
                order("span", names=names)
                flushed = order("flush")
                self.assertEqual((flushed["kept"], flushed.get("error")), (0, None), flushed)
                found = self.reports(WORLD.captured(), language, transport)
                found = [(request, report) for request, report in found if set(names) & set(report["spans"])]
                self.assertEqual(len(found), 1, found)
                request, report = found[0]
                self.assertEqual(report["spans"], names)
                self.assertEqual(report["token"], TOKEN)
                self.assertEqual(report["tags"]["lightstep.component_name"], "checkout")
                self.assertEqual(request["headers"]["lightstep-access-token"], TOKEN)
                self.assertEqual(request["project"], "checkout-prod")
                everything = json.dumps(request).encode() + base64.b64decode(request["body_base64"])
                everything += worlds.body_of(request)
                for part in [token, *token.split(".")]:
                    self.assertNotIn(part.encode(), everything)

    def test_node_json_without_gzip(self):
        order = self.tracer("node", "thrift", WORLD.client_token, WORLD.plain, gzip=False)
        order("span", names=["node-json-plain"])
        self.assertEqual(order("flush"), {"error": None, "kept": 0})
        found = self.reports(WORLD.captured(), "node", "thrift")
        (request,) = [request for request, report in found if report["spans"] == ["node-json-plain"]]
        self.assertNotIn("content-encoding", request["headers"])

    def test_a_final_refusal_lets_python_drop_its_spans(self):
        """Wrong service, wrong token: no growth over several flushes, still switched on, nothing upstream.

        The Thrift transport takes every status but 200 for an outage, whatever stands in the body, and keeps as
        many spans as it was told to (1,000 by default).
        """
        cases = {
            "another app's service": (WORLD.client_token, "agent"),
            "no token of ours": (TOKEN, "checkout"),
            "a revoked client token": ("lk_" + "A" * 43, "checkout"),
        }
        for (transport, kept), (kind, (token, component)) in itertools.product(KEPT_AFTER_REFUSALS, cases.items()):
            with self.subTest(transport=transport, refused=kind):
                order = self.tracer("python", transport, token, WORLD.plain, component)
                for number in range(3):
                    order("span", names=[f"refused-python-{number}"])
                    flushed = order("flush")
                    self.assertEqual((flushed["kept"], flushed["disabled"]), (kept[number], False), flushed)
        for transport in ("proto", "thrift"):
            found = self.reports(WORLD.captured(), "python", transport)
            self.assertEqual([report for _, report in found if "refused-python" in str(report["spans"])], [])

    def test_a_final_refusal_is_an_error_to_node(self):
        for transport in ("proto", "thrift"):
            with self.subTest(transport):
                order = self.tracer("node", transport, WORLD.client_token, WORLD.plain, "agent")
                order("span", names=["refused-node"])
                self.assertIn("status code=403", order("flush")["error"])
                found = self.reports(WORLD.captured(), "node", transport)
                self.assertEqual([report for _, report in found if "refused-node" in str(report["spans"])], [])


class Outages(Tracers):
    """A gateway of its own, before a backend that is away, refuses, and wants to switch tracers off."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        (cls.port,) = worlds.free_ports(1)
        cls.gateway = worlds.Gateway(WORLD, "outages", cls.port)

    def setUp(self):
        self.name = self.id().rsplit(".", 1)[1]
        self.captures = WORLD.directory / f"{self.name}.captures.jsonl"

    def backend(self):
        backend = WORLD.backend(f"{self.name}.backend", self.port, self.captures)
        self.addCleanup(backend.stop)
        return backend

    def spans(self, language, transport):
        found = self.reports(worlds.lines_of(self.captures), language, transport)
        return [name for _, report in found for name in report["spans"]]

    def names(self, key, count):
        """Names of spans that no other tracer has."""
        return [f"{self.name}-{'-'.join(key)}-{number}" for number in range(count)]

    def check_arrived(self, key, names):
        """Each once, in this order or another."""
        ours = [name for name in self.spans(*key) if name.startswith("-".join([self.name, *key]))]
        self.assertCountEqual(ours, names)

    def test_an_outage_lets_tracers_keep_and_resend(self):
        """Spans of three flushes while the backend is away; each arrives once when it is back."""
        orders = {key: self.tracer(*key, WORLD.client_token, self.gateway.plain) for key in PATHS}
        for number in range(3):
            for key, order in orders.items():
                order("span", names=self.names(key, 3)[number : number + 1])
                self.assertEqual(order("flush")["kept"], number + 1, key)
        self.backend()
        for key, order in orders.items():
            with self.subTest(key):
                # The gateway may not see at once that it is back.
                worlds.eventually("an empty buffer", lambda: order("flush")["kept"] == 0)
                self.check_arrived(key, self.names(key, 3))

    def test_our_credential_refused_upstream_is_no_reason_to_drop(self):
        """A 401 to the project's own token is our fault, so the tracer keeps its spans."""
        backend = self.backend()
        for key in PATHS:
            with self.subTest(key):
                backend.order("refuse checkout-prod 401 2", answered=True)
                order = self.tracer(*key, WORLD.client_token, self.gateway.plain)
                order("span", names=self.names(key, 1))
                self.assertEqual(order("flush")["kept"], 1)
                worlds.eventually("an empty buffer", lambda: order("flush")["kept"] == 0)
                self.check_arrived(key, self.names(key, 1))

    def test_nobody_upstream_switches_a_tracer_off(self):
        """The backend's answers carry `disable`, which a Python tracer without the gateway obeys."""
        self.backend().order("disable", answered=True)
        for transport in ("proto", "thrift"):
            unprotected = self.tracer("python", transport, TOKEN, self.port)
            unprotected("span", names=["unprotected"])
            self.assertTrue(unprotected("flush")["disabled"])
        for key in PATHS:
            with self.subTest(key):
                order = self.tracer(*key, WORLD.client_token, self.gateway.plain)
                for name in self.names(key, 3):
                    order("span", names=[name])
                    flushed = order("flush")
                    self.assertFalse(flushed.get("disabled"), flushed)
                    self.assertEqual(flushed["kept"], 0)
                self.check_arrived(key, self.names(key, 3))
