"""Software that others wrote as receivers of the audit trail, and as its witness.

Scenario: a gateway's trail goes to the OpenTelemetry Collector, to rsyslog and to syslog-ng over TLS, and to litewitness; each of the
receivers is away for a while. Guarantees: each receiver has every line of the trail byte for byte, and every checkpoint; the
witness countersigns what grew, and `audit verify --witness` finds it so.
"""

import glob
import http.server
import json
import os
import signal
import sqlite3
import subprocess
import tempfile
import threading
import unittest
import urllib.error
import urllib.request
from pathlib import Path

import world as worlds
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from test_sumdb import LIGHTKEEPER, first_configuration

SYSLOG = os.environ.get("SYSLOG")
ABSENT = os.environ.get("SYSLOG_ABSENT", "no SYSLOG")


class Receiver:
    """A process that can be ended and begun again on its port."""

    def __init__(self, folder, name, command, env, port):
        self.folder, self.name, self.command, self.env, self.port = folder, name, command, env, port
        self.turn, self.process = 0, None

    def start(self):
        self.turn += 1
        name = f"{self.name}-{self.turn}"
        self.process = worlds.Process(name, self.command, self.folder, self.env)
        self.process.listens(self.port)

    def stop(self):
        if self.process:
            self.process.stop()


class Trail(unittest.TestCase):
    def setUp(self):
        held = tempfile.TemporaryDirectory()
        self.addCleanup(held.cleanup)
        self.folder = Path(held.name)
        first_configuration(self.folder)

    def serve(self, members):
        """Starts a gateway whose `audit` has these members besides."""
        config = self.folder / "lightkeeper.yaml"
        lines = config.read_text().splitlines()
        at = next(i for i, line in enumerate(lines) if line.startswith("audit: {"))
        lines[at] = lines[at].rstrip(" }") + " }, " + members + " }"
        config.write_text("\n".join(lines) + "\n")
        command = [LIGHTKEEPER, "serve", "--config", config]
        gateway = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        self.addCleanup(gateway.kill)
        told = []
        for line in gateway.stderr:
            told.append(line)
            said = json.loads(line) if line.startswith("{") else {}
            if said.get("message") == "listening" and said.get("listener") == "plain":
                self.address = said["address"]
            if said.get("message") == "admin listening":
                self.admin = said["address"]
                break
        else:
            self.fail("".join(told))
        # Its log is read on, so that it never waits for a reader.
        threading.Thread(target=gateway.stderr.read, daemon=True).start()
        self.gateway = gateway

    def calls(self, count):
        for _ in range(count):
            with self.assertRaises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"http://{self.address}/.lightkeeper/whoami", timeout=10)
            self.assertEqual(refused.exception.code, 401)

    def stop(self):
        self.gateway.send_signal(signal.SIGTERM)
        self.assertEqual(self.gateway.wait(timeout=60), 0)

    def trail(self):
        return (self.folder / "audit.jsonl").read_text().splitlines()

    def notes(self):
        text = (self.folder / "audit.jsonl.checkpoints").read_text()
        parts, note = [], []
        for line in text.splitlines(keepends=True):
            if note and note[-1].startswith("—") and not line.startswith("—"):
                parts.append("".join(note))
                note = []
            note.append(line)
        return parts + ["".join(note)]

    def check(self, receiver, lines):
        """The receiver is there, away, and there again while calls come; in the end it has all. `lines`: what it has."""
        receiver.start()
        self.addCleanup(receiver.stop)
        self.calls(30)
        have = lambda: set(self.trail()) <= set(lines())
        worlds.eventually("the first records", have, lambda: "\n".join(lines()[-3:]))
        receiver.stop()
        self.calls(30)
        receiver.start()
        worlds.eventually("the records that waited", have, lambda: receiver.process.text()[-2000:])
        self.calls(5)
        self.stop()
        worlds.eventually("the last records", have)
        records = [line for line in lines() if line.startswith('{"seq":')]
        self.assertEqual(set(records), set(self.trail()))
        return records


@unittest.skipUnless(SYSLOG, ABSENT)
class Syslog(Trail):
    def certificates(self):
        certs = self.folder / "certs"
        return certs / "ca.pem", certs / "server.pem", certs / "server.key"

    def sink(self, port):
        self.serve(f'sinks: [{{ syslog: {{ address: "localhost:{port}", ca: certs/ca.pem }} }}]')

    def told(self, name):
        file = self.folder / name
        return file.read_text().splitlines() if file.exists() else []

    def lines(self):
        """Messages by what stands behind their structured data, as it came."""
        return [line.split("|", 1)[1] for line in self.told("messages") if "|" in line]

    def seal(self, name, receiver):
        (port,) = worlds.free_ports(1)
        self.sink(port)
        records = self.check(receiver(port), self.lines)
        self.assertGreater(len(records), 65)
        notes = [json.loads(line)["note"] for line in self.lines() if line.startswith('{"event":"checkpoint"')]
        self.assertLessEqual(set(self.notes()), set(notes), name)
        heads = [line.split("|", 1)[0] for line in self.told("messages")]
        for head in heads:
            self.assertRegex(head, r'^(109|110) lightkeeper \S+ \[lightkeeper@32473 (seq|size)="\d+"')

    def test_rsyslog(self):
        ca, certificate, key = self.certificates()
        root = Path(SYSLOG) / "rsyslog"
        (library,) = glob.glob(f"{root}/usr/lib/*-linux-gnu")

        def receiver(port):
            config = self.folder / "rsyslog.conf"
            config.write_text(f"""
global(workDirectory="{self.folder}" maxMessageSize="128k" parser.escapeControlCharactersOnReceive="off"
  defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{ca}"
  defaultNetstreamDriverCertFile="{certificate}" defaultNetstreamDriverKeyFile="{key}")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
template(name="whole" type="string" string="%pri% %app-name% %msgid% %structured-data%|%msg%\\n")
ruleset(name="audit") {{ action(type="omfile" file="{self.folder}/messages" template="whole" asyncWriting="off") }}
input(type="imtcp" address="127.0.0.1" port="{port}" ruleset="audit" supportOctetCountedFraming="on")
""")
            command = [root / "usr/sbin/rsyslogd", "-n", "-f", config, "-i", self.folder / "rsyslog.pid", "-M", f"{library}/rsyslog"]
            env = {"LD_LIBRARY_PATH": f"{library}:{library.replace('/usr/lib/', '/lib/')}"}
            return Receiver(self.folder, "rsyslog", command, env, port)

        self.seal("rsyslog", receiver)

    def test_syslog_ng(self):
        ca, certificate, key = self.certificates()
        root = Path(SYSLOG) / "syslog-ng"
        (library,) = glob.glob(f"{root}/usr/lib/*-linux-gnu")

        def receiver(port):
            config = self.folder / "syslog-ng.conf"
            config.write_text(f"""@version: 3.38
options {{ log-msg-size(131072); stats-freq(0); }};
source s {{ syslog(ip("127.0.0.1") port({port}) transport("tls") tls(key-file("{key}") cert-file("{certificate}") ca-file("{ca}") peer-verify(optional-untrusted))); }};
destination d {{ file("{self.folder}/messages" template("$PRI $PROGRAM $MSGID $SDATA|$MSG\\n") flush-lines(1)); }};
log {{ source(s); destination(d); }};
""")
            own = [f"--{name}={self.folder}/syslog-ng.{name}" for name in ("persist-file", "pidfile", "control")]
            modules = f"--module-path={root}/usr/lib/syslog-ng/3.38"
            command = [root / "usr/sbin/syslog-ng", "-F", "--no-caps", "-f", config, modules, *own]
            paths = [library, library.replace("/usr/lib/", "/lib/"), f"{root}/usr/lib/syslog-ng"]
            return Receiver(self.folder, "syslog-ng", command, {"LD_LIBRARY_PATH": ":".join(paths)}, port)

        self.seal("syslog-ng", receiver)


@unittest.skipUnless("OTELCOL" in os.environ, os.environ.get("OTELCOL_ABSENT", "no OTELCOL"))
class Collector(Trail):
    def test_the_collector(self):
        bodies, held = [], threading.Lock()

        class Reader(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                with held:
                    bodies.append(body)
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        reader = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Reader)
        self.addCleanup(reader.shutdown)
        threading.Thread(target=reader.serve_forever, daemon=True).start()

        def records():
            with held:
                exports = [ExportLogsServiceRequest.FromString(body) for body in bodies]
            groups = [group for export in exports for group in export.resource_logs]
            return [record for group in groups for scope in group.scope_logs for record in scope.log_records]

        (port,) = worlds.free_ports(1)
        self.serve(f'sinks: [{{ otlp: {{ url: "http://127.0.0.1:{port}" }} }}]')
        command = [os.environ["OTELCOL"], "--config", f"file:{worlds.HERE / 'collector/logs.yaml'}"]
        env = {"RECEIVER": str(port), "READER": str(reader.server_address[1])}
        receiver = Receiver(self.folder, "collector", command, env, port)
        self.check(receiver, lambda: [record.body.string_value for record in records()])
        for record in records():
            line = record.body.string_value
            values = {pair.key: pair.value for pair in record.attributes}
            if record.event_name == "lightkeeper.audit.checkpoint":
                self.assertIn(line, self.notes())
                continue
            told = json.loads(line)
            self.assertEqual(record.event_name, f"lightkeeper.audit.{told['event']}")
            self.assertEqual(values["lightkeeper.audit.seq"].int_value, told["seq"])
            self.assertEqual(values["lightkeeper.audit.request_id"].string_value, told["request_id"])


@unittest.skipUnless("LITEWITNESS" in os.environ, os.environ.get("LITEWITNESS_ABSENT", "no LITEWITNESS"))
class Witness(Trail):
    def test_litewitness(self):
        agent = self.folder / "agent.sock"
        key = self.folder / "witness-key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        holder = worlds.Process("ssh-agent", ["ssh-agent", "-D", "-a", agent], self.folder)
        self.addCleanup(holder.stop)
        worlds.eventually("the agent", agent.exists)
        subprocess.run(["ssh-add", "-q", key], check=True, env={**os.environ, "SSH_AUTH_SOCK": str(agent)})
        printed = subprocess.run(["ssh-keygen", "-lf", f"{key}.pub"], check=True, capture_output=True, text=True)
        fingerprint = printed.stdout.split()[1]
        (port,) = worlds.free_ports(1)
        address, base = f"127.0.0.1:{port}", self.folder / "witness.db"
        command = [os.environ["LITEWITNESS"], "-listen", address, "-db", base, "-ssh-agent", agent]
        command += ["-name", "witness.example/one", "-key", fingerprint]
        witness = Receiver(self.folder, "litewitness", command, {}, port)
        witness.start()
        self.addCleanup(witness.stop)
        (vkey,) = [word.split("=", 1)[1] for word in witness.process.text().split() if word.startswith("vkey=")]
        log = subprocess.run(
            [LIGHTKEEPER, "audit", "key", "--config", self.folder / "lightkeeper.yaml"], check=True, capture_output=True, text=True
        ).stdout.strip()
        origin = log.split("+")[0]
        with sqlite3.connect(base) as known:
            empty = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
            known.execute("INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)", (origin, empty))
            known.execute("INSERT INTO key (origin, key) VALUES (?, ?)", (origin, log))
        known.close()
        self.serve(f'witnesses: [{{ url: "http://{address}", key: "{vkey}" }}]')

        def shown():
            try:
                return urllib.request.urlopen(f"http://{self.admin}/audit/checkpoint", timeout=10).read().decode()
            except urllib.error.HTTPError:
                return ""

        signed = lambda least: "witness.example/one" in shown() and int(shown().split("\n")[1]) >= least
        self.calls(30)
        worlds.eventually("a countersigned checkpoint", lambda: signed(30), lambda: witness.process.text()[-2000:])
        witness.stop()
        self.calls(50)
        witness.start()
        worlds.eventually("a checkpoint over what it missed", lambda: signed(80), lambda: witness.process.text()[-2000:])
        self.stop()
        verify = [LIGHTKEEPER, "audit", "verify", "--quiet", "--key", log, "--witness", vkey, self.folder / "audit.jsonl"]
        verified = subprocess.run(verify, capture_output=True, text=True)
        self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)
        self.assertIn("`witness.example/one` saw the first", verified.stdout)
        # The trail and its own checkpoints are set back together: only the witness knows.
        lines, notes = self.trail(), self.notes()
        size = int(notes[0].split("\n")[1])
        (self.folder / "audit.jsonl").write_text("".join(f"{line}\n" for line in lines[:size]))
        (self.folder / "audit.jsonl.checkpoints").write_text(notes[0])
        without = [word for word in verify if word not in ("--witness", vkey)]
        self.assertEqual(subprocess.run(without, capture_output=True).returncode, 0)
        verified = subprocess.run(verify, capture_output=True, text=True)
        self.assertEqual(verified.returncode, 1, verified.stdout)
        self.assertIn("the log was set back", verified.stdout)
