"""The processes that the interoperability tests talk to: issuer, emulator, gateway; and what they wrote.

Everything listens on loopback, in a directory that is thrown away; only processes started here are ended.
The certificates are those of `lightkeeper certs`; the issuer is npm's oidc-provider.
"""

import base64
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESOURCES = [f"urn:lightkeeper:{name}" for name in ("rs256", "ps384", "es256", "eddsa")]
PROJECTS = ["shop-prod", "checkout-prod", "payments-prod", "platform-prod"]
# The credentials with which the emulator starts.
ACCESS_TOKENS = {project: f"ingest-token-of-{project}-5f1d" for project in PROJECTS}
READ_KEY, WRITE_KEY = "api-key-viewer-83ac", "api-key-editor-c40e"
# Whom `collector.pem` of `lightkeeper certs` names.
COLLECTOR = "spiffe://prod.acme.example/ns/checkout/sa/collector"
PATIENCE = 30  # seconds until something that should happen has not


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def eventually(what, probe):
    """The first true value of `probe`, or a failure that says what was waited for."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        value = probe()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {PATIENCE} s for {what}")


class Process:
    def __init__(self, name, command, directory, env=None):
        self.name, self.path = name, Path(directory) / f"{name}.log"
        self.log = open(self.path, "wb")
        self.child = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.PIPE,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env={**os.environ, **(env or {})},
        )

    def text(self):
        return self.path.read_text(errors="replace")

    def listens(self, port):
        def probe():
            if self.child.poll() is not None:
                raise AssertionError(f"{self.name} exited with {self.child.returncode}:\n{self.text()[-3000:]}")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return True
            except OSError:
                return False

        eventually(f"{self.name} to listen", probe)

    def stop(self):
        if self.child.poll() is None:
            self.child.stdin.close()
            self.child.terminate()
            try:
                self.child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self.log.close()


class World:
    """One issuer, one emulator, one gateway with a plaintext, a TLS and an mTLS listener."""

    def __init__(self, binary):
        self.binary = Path(binary).resolve()
        self.directory = Path(tempfile.mkdtemp(prefix="interop-"))
        self.processes = []
        self.certs = self.directory / "certs"
        ports = free_ports(6)
        self.issuer_port, self.emulator_port, self.plain, self.tls, self.mtls, self.admin = ports
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def spawn(self, name, command, port, env=None):
        process = Process(name, command, self.directory, env)
        self.processes.append(process)
        process.listens(port)
        return process

    def start(self):
        subprocess.run([self.binary, "certs", self.certs], check=True, capture_output=True)
        self.ca, server, key = (self.certs / name for name in ("ca.pem", "server.pem", "server.key"))
        self.client_certificate, self.client_key = self.certs / "collector.pem", self.certs / "collector.key"
        self.trust = ssl.create_default_context(cafile=str(self.ca))

        self.issuer = f"https://localhost:{self.issuer_port}"
        self.spawn("issuer", ["node", HERE / "issuer.mjs", self.issuer_port, server, key], self.issuer_port)

        self.captures = self.directory / "captures.jsonl"
        self.captures.touch()
        emulator = [self.binary, "emulator", "--listen", f"127.0.0.1:{self.emulator_port}", "--captures", self.captures]
        self.spawn("emulator", emulator, self.emulator_port)

        # JSON is YAML; the files are in the shapes of the shipped examples.
        tls = {"certificate": str(server), "key": str(key)}
        mtls = {**tls, "client_ca": str(self.ca), "client_certificate": "required"}
        backend = {"profile": "lightstep", "url": f"http://127.0.0.1:{self.emulator_port}"}
        config = {
            "organization": "acme",
            "listeners": [
                {"name": "plain", "address": f"127.0.0.1:{self.plain}"},
                {"name": "tls", "address": f"127.0.0.1:{self.tls}", "tls": tls},
                {"name": "mtls", "address": f"127.0.0.1:{self.mtls}", "tls": mtls},
            ],
            "admin": {"address": f"127.0.0.1:{self.admin}"},
            "issuers": [
                {
                    "name": "provider",
                    "issuer": self.issuer,
                    "audiences": RESOURCES,
                    "ca": str(self.ca),
                    "leeway": "1s",
                }
            ],
            "upstreams": {"ingest": backend, "query": backend},
            "vault": {
                "projects": {
                    project: {"access_token": [{"env": f"TOKEN_{number}"}]} for number, project in enumerate(PROJECTS)
                },
                "api_keys": {"read": {"env": "READ_KEY"}, "write": {"env": "WRITE_KEY"}},
            },
            "policy": "policy.yaml",
            "audit": {"file": "audit.jsonl"},
        }
        policy = {
            "version": 1,
            "apps": {
                "shop": {
                    "project": "shop-prod",
                    "apps": {
                        "checkout": {"project": "checkout-prod", "services": ["checkout"]},
                        "payments": {"project": "payments-prod", "services": ["payments"]},
                    },
                },
                "platform": {"project": "platform-prod"},
            },
            "bindings": [
                {
                    "name": "collectors",
                    "subjects": [
                        {"issuer": "provider", "group": "collectors"},
                        {"issuer": "provider", "subject": "short-lived"},
                        {"spiffe": COLLECTOR},
                    ],
                    "permissions": ["ingest.*"],
                    "apps": ["shop/checkout"],
                },
                {
                    "name": "analysts",
                    "subjects": [{"issuer": "provider", "subject": "analyst"}],
                    "permissions": ["query.*.read", "ingest.*"],
                    "apps": ["/"],
                },
            ],
        }
        (self.directory / "lightkeeper.yaml").write_text(json.dumps(config, indent=1))
        (self.directory / "policy.yaml").write_text(json.dumps(policy, indent=1))
        env = {f"TOKEN_{number}": ACCESS_TOKENS[project] for number, project in enumerate(PROJECTS)}
        env |= {"READ_KEY": READ_KEY, "WRITE_KEY": WRITE_KEY}
        serve = [self.binary, "serve", "--config", self.directory / "lightkeeper.yaml"]
        self.gateway = self.spawn("gateway", serve, self.plain, env)
        eventually("readiness", lambda: self.admin_status("/readyz") == 200)
        # The gateway is ready without its issuers; callers of one whose keys are still fetched get 503.
        token = self.token("collector")
        eventually("the provider's keys", lambda: self.get("/.lightkeeper/whoami", token)[0] == 200)

    def admin_status(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def token(self, client, resource=RESOURCES[0]):
        """An access token from the provider, by its own client credentials grant."""
        form = {"grant_type": "client_credentials", "scope": "telemetry", "resource": resource}
        request = urllib.request.Request(f"{self.issuer}/token", urllib.parse.urlencode(form).encode())
        basic = base64.b64encode(f"{client}:{client}-secret".encode()).decode()
        request.add_header("authorization", f"Basic {basic}")
        with urllib.request.urlopen(request, context=self.trust, timeout=10) as answer:
            return json.load(answer)["access_token"]

    def get(self, path, token=None):
        """Status, headers and body of a GET to the TLS listener."""
        request = urllib.request.Request(f"https://localhost:{self.tls}{path}")
        if token:
            request.add_header("authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, context=self.trust, timeout=10) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def captured(self):
        """What the emulator has received so far; a line that is still being written is left out."""
        lines = self.captures.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def records(self):
        """The audit records so far."""
        file = self.directory / "audit.jsonl"
        lines = file.read_text().split("\n")[:-1] if file.exists() else []
        return [json.loads(line) for line in lines]

    def written(self):
        """Every byte that the gateway left behind: its log, its records."""
        return self.gateway.text() + "\n".join(map(json.dumps, self.records()))

    def stop(self):
        for process in reversed(self.processes):
            process.stop()
        keep = os.environ.get("INTEROP_KEEP")
        if keep:
            print(f"kept {self.directory}")
        else:
            shutil.rmtree(self.directory, ignore_errors=True)


def versions():
    """What the tests ran with, for the log."""
    def ask(*command):
        try:
            return re.sub(r"\s+", " ", subprocess.run(command, capture_output=True, text=True).stdout.strip())
        except OSError:
            return "absent"

    provider = HERE / "node_modules/oidc-provider/package.json"
    number = json.loads(provider.read_text())["version"] if provider.exists() else "absent"
    return f"node {ask('node', '--version')}, oidc-provider {number}"
