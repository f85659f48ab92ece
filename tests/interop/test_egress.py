"""tinyproxy between the gateway and everything that it calls.

Scenario of all: the backend (plain and over TLS) and the provider can only be reached through a proxy that wants a password.
Guarantees: exports, queries and keys pass in tunnels; what the proxy refuses is told apart, and told to come again.
"""

import json
import os
import unittest
import urllib.error
import urllib.request

import world as worlds

ABSENT = os.environ.get("TINYPROXY_ABSENT")
PASSWORD = "password-of-the-proxy-31ce"
CONFIG = """
Port {port}
Listen 127.0.0.1
MaxClients 100
LogLevel Connect
BasicAuth gateway {password}
ConnectPort {issuer}
ConnectPort {backend}
"""


class Behind(worlds.Gateway):
    """A gateway whose environment names the proxy, or whose configuration does."""

    def __init__(self, world, name, upstream, egress, environment):
        self.egress, self.environment = egress, environment
        super().__init__(world, name, upstream)

    def configure(self, world, config, ports, file):
        config["egress"] = self.egress
        file.write_text(json.dumps(config, indent=1))


@unittest.skipIf(ABSENT, ABSENT)
class Egress(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = worlds.shared()
        cls.port, cls.backend, cls.closed = worlds.free_ports(3)
        cls.captures = cls.world.directory / "egress-captures.jsonl"
        cls.world.emulator("egress-emulator", cls.backend, cls.captures)
        config = cls.world.directory / "tinyproxy.conf"
        issuer = cls.world.issuer.rsplit(":", 1)[1]
        config.write_text(CONFIG.format(port=cls.port, password=PASSWORD, issuer=issuer, backend=cls.backend))
        cls.proxy = cls.world.spawn("tinyproxy", [os.environ["TINYPROXY"], "-d", "-c", config], cls.port)
        credentials = {"url": f"http://127.0.0.1:{cls.port}", "credentials": {"env": "PROXY"}}
        cls.variables = {"PROXY": f"gateway:{PASSWORD}"}
        cls.gateway = Behind(cls.world, "egress", cls.backend, {"proxy": credentials}, cls.variables)

    def call(self, gateway, path, token, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{gateway.plain}{path}", body)
        request.add_header("authorization", f"Bearer {token}")
        request.add_header("content-type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.headers["lightkeeper-request-id"]
        except urllib.error.HTTPError as error:
            return error.code, error.headers["lightkeeper-request-id"]

    def export(self, gateway):
        attribute = {"key": "service.name", "value": {"stringValue": "checkout"}}
        span = {"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": "egress"}
        spans = {"resource": {"attributes": [attribute]}, "scopeSpans": [{"spans": [span]}]}
        body = json.dumps({"resourceSpans": [spans]}).encode()
        return self.call(gateway, "/v1/traces", self.world.token("collector"), body)

    def record(self, gateway, request_id):
        find = lambda: [record for record in gateway.records() if record.get("request_id") == request_id]
        return worlds.eventually("the record", find)[0]

    def test_exports_queries_and_keys_pass(self):
        before = len(worlds.lines_of(self.captures))
        self.assertEqual(self.export(self.gateway)[0], 200)
        query = self.call(self.gateway, "/public/v0.2/acme/projects", self.world.token("analyst"))
        self.assertEqual(query[0], 200)
        worlds.eventually("both at the backend", lambda: len(worlds.lines_of(self.captures)) >= before + 2)
        log = self.proxy.text()
        for place in (f"127.0.0.1:{self.backend}", self.world.issuer.removeprefix("https://")):
            self.assertIn(f"CONNECT {place} HTTP/1.1", log)
        # Not even in plain `http` is anything asked but a tunnel.
        self.assertNotIn("POST", log)
        self.assertNotIn("GET", log)
        self.assertNotIn(PASSWORD, self.gateway.written())

    def test_what_it_refuses_is_told_apart(self):
        unreachable = {"PROXY": f"gateway:{PASSWORD}"}
        for name, port, variables, status in [
            # tinyproxy says 401 to a wrong password, and 407 to none.
            ("egress-password", self.backend, {"PROXY": "gateway:wrong"}, 401),
            ("egress-port", self.closed, unreachable, 403),
        ]:
            url = {"url": f"http://127.0.0.1:{self.port}", "credentials": {"env": "PROXY"}}
            # The provider goes straight, so that callers can be known.
            egress = {"proxy": url, "no_proxy": ["localhost"]}
            gateway = Behind(self.world, name, port, egress, variables)
            answered, request_id = self.export(gateway)
            record = self.record(gateway, request_id)
            self.assertEqual((answered, record["reason"]), (502, "upstream_proxy_refused"), name)
            self.assertIn(f"the proxy answered {status}", record["detail"])
            gateway.process.stop()

    def test_the_environment_leaves_loopback_alone(self):
        named = f"http://gateway:wrong@127.0.0.1:{self.port}"
        variables = {"HTTPS_PROXY": named, "http_proxy": named, "ALL_PROXY": named}
        gateway = Behind(self.world, "egress-environment", self.backend, {}, variables)
        self.assertEqual(self.export(gateway)[0], 200)
        self.assertNotIn("wrong", gateway.written())
        gateway.process.stop()
