"""SPIRE's server and agent around the gateway: its own certificate, and workloads by certificates and tokens.

Scenario: an agent gives the gateway its certificate, for a listener and for an upstream, and the trust domain's bundle; a workload
fetches an X.509-SVID and a JWT-SVID from the same agent and exports. Another gateway has the bundle from the server's endpoint. Then the
certificate is renewed, the agent is ended, and is back. Guarantees: the workload is who the agent says; the upstream sees the
gateway's ID; renewal needs no restart; without the agent the last certificate serves, and the trail says so until it is back.
"""

import json
import os
import socket
import ssl
import subprocess
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests
import settings
import world as worlds

WORLD = worlds.shared()
ABSENT = os.environ.get("SPIRE_ABSENT")
DOMAIN = "interop.example"
OURS, COLLECTOR = f"spiffe://{DOMAIN}/gateway", f"spiffe://{DOMAIN}/collector"
# Seconds that the gateway's certificate lasts; the agent renews it after half of them.
LIFE = 60
SERVER = """
server {{
  bind_address = "127.0.0.1"
  bind_port = "{port}"
  socket_path = "{folder}/server.sock"
  trust_domain = "{domain}"
  data_dir = "{folder}/server"
  log_level = "INFO"
  federation {{
    bundle_endpoint {{
      address = "127.0.0.1"
      port = {endpoint}
      profile "https_web" {{
        serving_cert_file = {{ cert_file_path = "{certs}/server.pem" key_file_path = "{certs}/server.key" file_sync_interval = "1h" }}
      }}
    }}
  }}
}}
plugins {{
  DataStore "sql" {{ plugin_data {{ database_type = "sqlite3" connection_string = "{folder}/server/data.sqlite3" }} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "memory" {{ plugin_data {{}} }}
}}
"""
AGENT = """
agent {{
  data_dir = "{folder}/agent"
  log_level = "INFO"
  server_address = "127.0.0.1"
  server_port = "{port}"
  socket_path = "{folder}/agent.sock"
  trust_bundle_path = "{folder}/bundle.pem"
  trust_domain = "{domain}"
}}
plugins {{
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "disk" {{ plugin_data {{ directory = "{folder}/agent" }} }}
  WorkloadAttestor "unix" {{ plugin_data {{ discover_workload_path = true }} }}
}}
"""


class Upstream(BaseHTTPRequestHandler):
    """A backend that takes only whom the trust domain knows."""

    seen = []

    def do_POST(self):
        names = self.connection.getpeercert()["subjectAltName"]
        body = self.rfile.read(int(self.headers["content-length"]))
        self.seen.append((dict(names).get("URI"), body))
        self.send_response(200)
        self.send_header("content-type", self.headers["content-type"])
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        """Tells nothing."""


class Gateway(worlds.Gateway):
    """A gateway that knows the trust domain by this bundle; `own`: the socket of its own certificate."""

    def __init__(self, name, upstream, bundle, own=None):
        self.bundle, self.own, self.url = bundle, own, upstream
        super().__init__(WORLD, name, 1)

    def configure(self, world, config, ports, file):
        certs = {"certificate": str(world.certs / "server.pem"), "key": str(world.certs / "server.key")}
        mesh = {"name": "workloads", "trust_domains": [DOMAIN], "bundle": self.bundle}
        own = {"workload_api": self.own} if self.own else certs
        config["listeners"][2]["tls"] = {**own, "client_ca": [mesh], "client_certificate": "optional"}
        spiffe = {"trust_domain": DOMAIN, "bundle": self.bundle}
        config["issuers"].append({"name": "mesh", "spiffe": spiffe, "audiences": ["lightkeeper"]})
        ingest = {"profile": "lightstep", "url": self.url, "ca": str(world.ca)}
        config["upstreams"]["ingest"] = {**ingest, "client": {"workload_api": self.own}} if self.own else ingest
        bound = {"name": "mesh", "subjects": [{"spiffe": COLLECTOR}], "permissions": ["ingest.*"], "apps": ["shop/checkout"]}
        bindings = [one for one in settings.POLICY["bindings"] if {"spiffe": settings.COLLECTOR} not in one["subjects"]]
        config["policy"] = f"{self.name}.policy.yaml"
        (self.directory / config["policy"]).write_text(json.dumps({**settings.POLICY, "bindings": [*bindings, bound]}))
        file.write_text(json.dumps(config, indent=1))

    def shown(self):
        """The certificate that the listener shows now, if it shows one."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with socket.create_connection(("127.0.0.1", self.mtls), timeout=5) as wire:
                with context.wrap_socket(wire, server_hostname="localhost") as tls:
                    return tls.getpeercert(binary_form=True)
        except OSError:
            return None

    def events(self, name):
        return [one for one in self.records() if one["event"] == name and OURS_AT in one["detail"]]


OURS_AT = "certificate of ours"


@unittest.skipIf(ABSENT, ABSENT)
class Spire(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.binaries, cls.folder = Path(os.environ["SPIRE"]), WORLD.directory / "spire"
        (cls.folder / "server").mkdir(parents=True)
        (cls.folder / "agent").mkdir()
        port, endpoint, upstream = worlds.free_ports(3)
        told = {"port": port, "endpoint": endpoint, "folder": cls.folder, "domain": DOMAIN, "certs": WORLD.certs}
        for name, text in (("server", SERVER), ("agent", AGENT)):
            (cls.folder / f"{name}.conf").write_text(text.format(**told))
        WORLD.spawn("spire-server", [cls.binaries / "spire-server", "run", "-config", cls.folder / "server.conf"], port)
        cls.bundle = cls.folder / "bundle.pem"
        cls.bundle.write_text(worlds.eventually("SPIRE's bundle", lambda: cls.server("bundle", "show")))
        token = cls.server("token", "generate", "-spiffeID", f"spiffe://{DOMAIN}/agent").split()[-1]
        for who, life, binary in ((OURS, LIFE, WORLD.binary), (COLLECTOR, 3600, cls.binaries / "spire-agent")):
            chosen = ["-selector", f"unix:uid:{os.getuid()}", "-selector", f"unix:path:{binary.resolve()}"]
            parent = ["-parentID", f"spiffe://{DOMAIN}/agent", "-spiffeID", who, "-dns", "localhost"]
            assert cls.server("entry", "create", *parent, *chosen, "-x509SVIDTTL", str(life)), "the entry is refused"
        cls.start_agent("-joinToken", token)
        worlds.eventually("the workload's certificate", cls.fetch_certificate)
        cls.start_upstream(upstream)
        url, agent = f"https://localhost:{upstream}", f"unix://{cls.folder}/agent.sock"
        cls.gateway = Gateway("spire-gateway", url, {"workload_api": agent}, agent)
        cls.by_url = Gateway("spire-by-url", url, {"url": f"https://localhost:{endpoint}/", "ca": str(WORLD.ca)}, agent)

    @classmethod
    def tearDownClass(cls):
        cls.upstream.shutdown()
        cls.upstream.server_close()

    @classmethod
    def start_upstream(cls, port):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(cls.bundle))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(WORLD.certs / "server.pem", WORLD.certs / "server.key")
        cls.upstream = ThreadingHTTPServer(("127.0.0.1", port), Upstream)
        cls.upstream.socket = context.wrap_socket(cls.upstream.socket, server_side=True)
        threading.Thread(target=cls.upstream.serve_forever, daemon=True).start()

    @classmethod
    def server(cls, *words):
        """What the server's command line says, or nothing if it fails."""
        command = [cls.binaries / "spire-server", *words, "-socketPath", cls.folder / "server.sock"]
        told = subprocess.run(command, capture_output=True, text=True)
        return told.stdout if told.returncode == 0 else None

    @classmethod
    def start_agent(cls, *words):
        command = [cls.binaries / "spire-agent", "run", "-config", cls.folder / "agent.conf", *words]
        cls.agent = WORLD.spawn("spire-agent", command)

    @classmethod
    def fetch(cls, *words):
        """What the agent gives to a workload, or nothing."""
        command = [cls.binaries / "spire-agent", "api", "fetch", *words, "-socketPath", cls.folder / "agent.sock"]
        told = subprocess.run(command, capture_output=True, text=True)
        return told.stdout if told.returncode == 0 else None

    @classmethod
    def fetch_certificate(cls):
        return cls.fetch("x509", "-write", str(cls.folder))

    def token(self, audience="lightkeeper"):
        told = json.loads(self.fetch("jwt", "-audience", audience, "-output", "json"))
        return told[0]["svids"][0]["svid"]

    def export(self, gateway, name, token=None, certificate=False, port=None, verify=None):
        headers = {"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}
        cert = (self.folder / "svid.0.pem", self.folder / "svid.0.key") if certificate else None
        url = f"https://localhost:{port or gateway.mtls}/v1/traces"
        given = {"cert": tuple(map(str, cert)) if cert else None, "verify": str(verify or self.bundle), "timeout": 20}
        return requests.post(url, worlds.plain_export("checkout", name), headers=headers, **given).status_code

    def arrived(self, name):
        return [who for who, body in Upstream.seen if name.encode() in body]

    def test_certificates_both_ways(self):
        """The listener's by the agent's authority, the workload's by its bundle, the upstream's client by its ID."""
        for gateway in (self.gateway, self.by_url):
            name = f"{gateway.name}-x509"
            self.assertEqual(self.export(gateway, name, certificate=True), 200)
            self.assertEqual(self.arrived(name), [OURS])
            told = lambda: [one for one in gateway.records() if one.get("identity", {}).get("subject") == COLLECTOR]
            record = worlds.eventually("the record", told)[0]
            self.assertEqual((record["identity"]["method"], record["bindings"]), ("mtls", ["mesh"]))
            self.assertEqual(self.export(gateway, "no certificate"), 401)

    def test_tokens(self):
        """A JWT-SVID counts for its audience alone, by the agent's bundle and by the endpoint's."""
        for gateway in (self.gateway, self.by_url):
            name = f"{gateway.name}-jwt"
            plain = {"port": gateway.tls, "verify": WORLD.ca}
            self.assertEqual(self.export(gateway, name, self.token(), **plain), 200)
            self.assertEqual(self.arrived(name), [OURS])
            self.assertEqual(self.export(gateway, "elsewhere", self.token("another"), **plain), 401)

    def test_renewal_and_an_agent_that_goes(self):
        """In this order: each step begins with what the one before left."""
        first = self.gateway.shown()
        self.assertIsNotNone(first)
        renewed = lambda before: self.gateway.shown() not in (None, before)
        worlds.eventually("another certificate", lambda: renewed(first), self.gateway.process.text)
        self.assertEqual(self.export(self.gateway, "renewed", certificate=True), 200)

        last = self.gateway.shown()
        self.agent.stop()
        worlds.eventually("the loss in the trail", lambda: self.gateway.events("source_lost"))
        self.assertIn("workload_api_unreachable", self.gateway.events("source_lost")[0]["detail"])
        self.assertEqual(self.gateway.shown(), last)
        self.assertEqual(self.export(self.gateway, "without the agent", certificate=True), 200)
        self.assertIn("the Workload API gives nothing new", self.gateway.process.text())

        self.start_agent()
        worlds.eventually("the agent's return in the trail", lambda: self.gateway.events("source_returned"), self.agent.text)
        worlds.eventually("a certificate of the agent that is back", lambda: renewed(last), self.gateway.process.text)
        self.assertEqual(self.export(self.gateway, "back", certificate=True), 200)
        self.assertNotIn("PRIVATE KEY", self.gateway.written())


if __name__ == "__main__":
    unittest.main()
