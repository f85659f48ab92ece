"""The processes that the interoperability tests talk to: issuer, emulator, gateway; and what they wrote.

Everything listens on loopback, in a directory that is thrown away; only processes started here are ended.
The certificates are those of `lightkeeper certs`; the issuer is npm's oidc-provider.
"""

import base64
import gzip
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import settings
import zstandard

HERE = Path(__file__).resolve().parent
SHARED = []  # the one world of a run, once it stands
EXPORTERS = ["http-gzip", "http-zstd", "grpc-gzip", "grpc-zstd"]  # of collector/config.yaml
DECODERS = {"identity": bytes, "gzip": gzip.decompress, "zstd": lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body)}
PATIENCE = 120  # seconds until something that should happen has not


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def eventually(what, probe, evidence=lambda: "", patience=PATIENCE):
    """The first true value of `probe`, or a failure that says what was waited for and shows evidence."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        value = probe()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {patience} s for {what}{evidence()}")


def lines_of(file):
    """The JSON lines of a file; one that is still being written is left out."""
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    return [json.loads(line) for line in lines]


def body_of(request, framed=False):
    """The body of a captured request, its coding undone; `framed`: the one message of a gRPC call."""
    body, headers = base64.b64decode(request["body_base64"]), request["headers"]
    coding = headers.get("content-encoding", "identity")
    if framed:
        length = int.from_bytes(body[1:5], "big")
        assert length == len(body) - 5, "more or less than one message"
        coding, body = headers.get("grpc-encoding", "identity") if body[0] else "identity", body[5:]
    return DECODERS[coding](body)


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

    def order(self, line, answered=False):
        """Gives a line to the process; `answered`: waits until it has answered with one of its own."""
        before = self.text().count("\n")
        self.child.stdin.write(f"{line}\n".encode())
        self.child.stdin.flush()
        if answered:
            eventually(f"an answer to {line}", lambda: self.text().count("\n") > before)

    def listens(self, port, patience=PATIENCE):
        def probe():
            if self.child.poll() is not None:
                raise AssertionError(f"{self.name} exited with {self.child.returncode}:\n{self.text()[-3000:]}")
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1) as one:
                    # While nothing listens, a connection may get the very port that it goes to, and meet itself.
                    return one.getsockname() != one.getpeername()
            except OSError:
                return False

        eventually(f"{self.name} to listen", probe, lambda: f":\n{self.text()[-3000:]}", patience)

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


def plain_export(service, name):
    """The body of an export of one span, in JSON."""
    span = {"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": name}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}).encode()


class Gateway:
    """One gateway with a plaintext, a TLS and an mTLS listener, before one upstream port."""

    def __init__(self, world, name, upstream):
        self.directory, self.name = world.directory, name
        listeners = ("plain", "tls", "mtls", "admin")
        ports = dict(zip(listeners, free_ports(len(listeners))))
        self.plain, self.tls, self.mtls, self.admin = (ports[name] for name in listeners)
        url = f"http://127.0.0.1:{upstream}"
        config = settings.gateway(name, ports, world.certs, world.issuer, url, world.client_tokens)
        file = self.directory / f"{name}.yaml"
        file.write_text(json.dumps(config, indent=1))
        (self.directory / "policy.yaml").write_text(json.dumps(settings.POLICY, indent=1))
        self.configure(world, config, ports, file)
        serve = [world.binary, "serve", "--config", file]
        self.process = world.spawn(name, serve, self.plain, {**settings.ENVIRONMENT, **self.environment})
        eventually("readiness", lambda: self.admin_status("/readyz") == 200)
        # The gateway is ready without its issuers; callers of one whose keys are still fetched get 503.
        token = world.token("collector")
        eventually("the provider's keys", lambda: world.get("/.lightkeeper/whoami", token, self.tls)[0] == 200)

    environment = {}

    def configure(self, world, config, ports, file):
        """For kinds of gateways that need more than `config`."""

    def admin_status(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def records(self):
        """The audit records so far."""
        return lines_of(self.directory / f"{self.name}.audit.jsonl")

    def written(self):
        """Every byte that the gateway left behind: its log, its records."""
        return self.process.text() + "\n".join(map(json.dumps, self.records()))


class World:
    """One issuer, one emulator and the gateway before it; what else a test needs is started on demand."""

    def __init__(self, binary):
        self.binary = Path(binary).resolve()
        self.directory = Path(tempfile.mkdtemp(prefix="interop-"))
        self.processes = []
        self.certs = self.directory / "certs"
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def spawn(self, name, command, port=None, env=None):
        process = Process(name, command, self.directory, env)
        self.processes.append(process)
        if port:
            process.listens(port)
        return process

    def start(self):
        subprocess.run([self.binary, "certs", self.certs], check=True, capture_output=True)
        self.ca, server, key = (self.certs / name for name in ("ca.pem", "server.pem", "server.key"))
        self.client_certificate, self.client_key = self.certs / "collector.pem", self.certs / "collector.key"
        self.trust = ssl.create_default_context(cafile=str(self.ca))

        (port,) = free_ports(1)
        self.issuer = f"https://localhost:{port}"
        self.spawn("issuer", ["node", HERE / "issuer.mjs", port, server, key, self.ca], port)

        self.captures = self.directory / "captures.jsonl"
        (port,) = free_ports(1)
        self.emulator("emulator", port, self.captures)
        self.client_token, digest = self.issue("legacy-tracer", "legacy-tracers")
        self.client_tokens = [{"name": "legacy-tracer", "hash": digest, "binding": "legacy-tracers"}]
        self.gateway = Gateway(self, "gateway", port)
        self.plain, self.tls, self.mtls = self.gateway.plain, self.gateway.tls, self.gateway.mtls

    def emulator(self, name, port, captures):
        captures.touch()
        command = [self.binary, "emulator", "--listen", f"127.0.0.1:{port}", "--captures", captures]
        return self.spawn(name, command, port)

    def backend(self, name, port, captures):
        captures.touch()
        tokens = json.dumps({token: project for project, token in settings.ACCESS_TOKENS.items()})
        return self.spawn(name, [sys.executable, HERE / "backend.py", port, captures, tokens], port)

    def collector(self, name, port_of_gateway, client="cluster"):
        """A Collector that sends to a gateway; returns the process and its ports: receivers' by exporter, `metrics`."""
        ports = dict(zip([*EXPORTERS, "metrics"], free_ports(len(EXPORTERS) + 1)))
        token = self.directory / f"{name}.token"
        token.write_text(self.token(client))
        env = {exporter.upper().replace("-", "_"): str(port) for exporter, port in ports.items()}
        env |= {"GATEWAY": str(port_of_gateway), "CA_FILE": str(self.ca), "TOKEN_FILE": str(token)}
        command = [os.environ["OTELCOL"], "--config", f"file:{HERE / 'collector/config.yaml'}"]
        process = self.spawn(name, command, None, env)
        for port in ports.values():
            process.listens(port)
        return process, ports

    def issue(self, name, binding):
        """A new client token and its digest, as the command line gives them."""
        command = [self.binary, "token", "issue", "--name", name, "--binding", binding]
        told = subprocess.run(command, check=True, capture_output=True, text=True)
        told = told.stdout + told.stderr
        return re.search(r"\blk_[\w-]+", told)[0], re.search(r"sha256:[0-9a-f]{64}", told)[0]

    def token(self, client, resource=settings.RESOURCES[0]):
        """An access token from the provider, by its own client credentials grant."""
        form = {"grant_type": "client_credentials", "scope": "telemetry", "resource": resource}
        request = urllib.request.Request(f"{self.issuer}/token", urllib.parse.urlencode(form).encode())
        basic = base64.b64encode(f"{client}:{client}-secret".encode()).decode()
        request.add_header("authorization", f"Basic {basic}")
        with urllib.request.urlopen(request, context=self.trust, timeout=10) as answer:
            return json.load(answer)["access_token"]

    def get(self, path, token=None, port=None):
        """Status, headers and body of a GET to a TLS listener."""
        request = urllib.request.Request(f"https://localhost:{port or self.tls}{path}")
        if token:
            request.add_header("authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, context=self.trust, timeout=10) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def captured(self):
        """What the emulator has received so far."""
        return lines_of(self.captures)

    def named(self, name):
        """The captured requests in whose body `name` stands."""
        text = name.encode()
        return [r for r in self.captured() if text in body_of(r, r["path"].startswith("/opentelemetry"))]

    def stop(self):
        for process in reversed(self.processes):
            process.stop()
        keep = os.environ.get("INTEROP_KEEP")
        if keep:
            print(f"kept {self.directory}")
        else:
            shutil.rmtree(self.directory, ignore_errors=True)


def shared():
    """The world of this run; started when it is first asked for."""
    if not SHARED:
        SHARED.append(World(os.environ["LIGHTKEEPER"]))
    return SHARED[0]


def versions():
    """What the tests ran with, for the log."""

    def ask(*command):
        try:
            return re.sub(r"\s+", " ", subprocess.run(command, capture_output=True, text=True).stdout.strip())
        except OSError:
            return "absent"

    packages = json.loads((HERE / "package.json").read_text())["dependencies"]
    parts = [f"{name} {packages[name]}" for name in ("oidc-provider", "@opentelemetry/sdk-trace", "lightstep-tracer")]
    collector = ask(os.environ["OTELCOL"], "--version") if "OTELCOL" in os.environ else "no Collector"
    return ", ".join([f"Python {sys.version.split()[0]}", f"node {ask('node', '--version')}", *parts, collector])
