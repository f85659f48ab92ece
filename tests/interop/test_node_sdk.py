"""The OpenTelemetry SDK for Node.js before the gateway: JSON, protobuf and gRPC, each signal.

Scenario: a workload of `checkout` exports one item with each of the SDK's nine exporters. Guarantees: the
exporter is told of success, the backend receives the item with the project's credential and the verified
sender's stamp, and nothing of the caller's token; a refusal reaches the exporter as an error, and nobody else.
"""

import base64
import json
import os
import unittest

import settings
import stamps
import world as worlds
from clients import Client

WORLD = worlds.shared()
PATHS = {
    signal: f"/opentelemetry.proto.collector.{kind.lower()}.v1.{kind}Service/Export"
    for signal, kind in {"traces": "Trace", "metrics": "Metrics", "logs": "Logs"}.items()
}


class NodeSdk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        env = {name: value for name, value in os.environ.items() if name != "NODE_OPTIONS"}
        cls.sdk = Client(["node", worlds.HERE / "node_sdk.mjs", WORLD.ca], WORLD.directory, env)

    @classmethod
    def tearDownClass(cls):
        cls.sdk.stop()

    def export(self, signal, encoding, token, name, **options):
        headers = {"authorization": f"Bearer {token}"}
        endpoint = f"https://localhost:{WORLD.tls}"
        order = {"signal": signal, "encoding": encoding, "endpoint": endpoint, "headers": headers, "name": name}
        return self.sdk.ask(**order, **options)

    def check(self, name, signal, encoding, token):
        """The one request that holds `name`: whose project, under which stamp, with whose credential."""
        framed = encoding == "grpc"
        new = [r for r in WORLD.captured() if name.encode() in worlds.body_of(r, r["path"] in PATHS.values())]
        self.assertEqual(len(new), 1, new)
        (request,) = new
        self.assertEqual(request["path"], PATHS[signal] if framed else f"/v1/{signal}")
        self.assertEqual(request["project"], "checkout-prod")
        self.assertEqual(request["headers"]["lightstep-access-token"], settings.ACCESS_TOKENS["checkout-prod"])
        self.assertNotIn("authorization", request["headers"])
        body = worlds.body_of(request, framed)
        for part in token.split("."):
            self.assertNotIn(part.encode(), base64.b64decode(request["body_base64"]) + body)
        if encoding == "json":
            (group,) = json.loads(body)[stamps.GROUPS[signal][0]]
            attributes = {a["key"]: a["value"].get("stringValue") for a in group["resource"]["attributes"]}
        else:
            (resource,) = stamps.resources(signal, body)
            attributes = stamps.values(resource)
        self.assertEqual(attributes["service.name"], "checkout")
        self.assertLessEqual(stamps.of("shop/checkout", "collector").items(), attributes.items())

    def test_each_signal_and_encoding(self):
        token = WORLD.token("collector")
        for signal in PATHS:
            for encoding in ("json", "protobuf", "grpc"):
                with self.subTest(signal=signal, encoding=encoding):
                    name = f"node-{signal}-{encoding}"
                    self.assertEqual(self.export(signal, encoding, token, name), {"code": 0})
                    self.check(name, signal, encoding, token)

    def test_gzip(self):
        token = WORLD.token("collector")
        for encoding in ("json", "protobuf", "grpc"):
            with self.subTest(encoding):
                name = f"node-gzip-{encoding}"
                self.assertEqual(self.export("traces", encoding, token, name, gzip=True), {"code": 0})
                self.check(name, "traces", encoding, token)

    def test_a_refusal_is_an_error_and_reaches_nobody(self):
        token = WORLD.token("stranger")
        for encoding in ("json", "protobuf", "grpc"):
            with self.subTest(encoding):
                answer = self.export("traces", encoding, token, "node-refused")
                self.assertEqual(answer["code"], 1, answer)
        self.assertNotIn(b"node-refused", b"".join(base64.b64decode(r["body_base64"]) for r in WORLD.captured()))
