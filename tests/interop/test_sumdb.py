"""The library of the Go checksum database, which verifies a trail by the program that stands in docs/audit.md, and Tessera's `fsck`.

Scenario: a gateway with an audit key takes calls, and ends. Guarantees: the page's own program, which knows nothing of
Lightkeeper, finds trail, checkpoints and the proof of one call as they were sealed; with a byte of any of them changed it does not.
"""

import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import unittest
import urllib.error
import urllib.request
from pathlib import Path

import world as worlds

LIGHTKEEPER = os.environ["LIGHTKEEPER"]
KEY = "5d" * 32
README = (worlds.HERE / "../../README.md").read_text()


def first_configuration(folder):
    """The files that the README writes, with an audit key."""
    for name in ["lightkeeper.yaml", "policy.yaml"]:
        text = README.split(f"cat > {name} <<'EOF'\n")[1].split("\nEOF\n")[0]
        (folder / name).write_text(text)
    (folder / "secrets").mkdir()
    for name in ["checkout-prod", "payments-prod", "read-key"]:
        (folder / "secrets" / name).write_text(f"token-{name}")
    (folder / "audit-key").write_text(KEY)
    config = (folder / "lightkeeper.yaml").read_text()
    config = re.sub(r"127\.0\.0\.1:(4318|8443|9464)", "127.0.0.1:0", config)
    config = config.replace("vault:\n", "vault:\n  audit_keys: [{ file: audit-key }]\n")
    config = config.replace(
        "audit: { file: audit.jsonl }",
        "audit: { file: audit.jsonl, name: trail, instance: gw-1, every: { records: 20, time: 100ms } }",
    )
    (folder / "lightkeeper.yaml").write_text(config)
    subprocess.run([LIGHTKEEPER, "certs", folder / "certs"], check=True, capture_output=True)


class Sumdb(unittest.TestCase):
    def trail(self, folder):
        """Serves fifty calls; the request id of one."""
        first_configuration(folder)
        return self.served(folder, 50)

    def served(self, folder, calls):
        command = [LIGHTKEEPER, "serve", "--config", folder / "lightkeeper.yaml"]
        gateway = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        self.addCleanup(gateway.kill)
        address = None
        for line in gateway.stderr:
            told = json.loads(line)
            if told.get("message") == "listening" and told.get("listener") == "plain":
                address = told["address"]
            if told.get("message") == "admin listening":
                break
        threading.Thread(target=gateway.stderr.read, daemon=True).start()  # a full pipe would hold it up
        identity = None
        for number in range(calls):
            try:
                urllib.request.urlopen(f"http://{address}/.lightkeeper/whoami", timeout=10)
            except urllib.error.HTTPError as refused:
                self.assertEqual(refused.code, 401)
                if number == 23:
                    identity = refused.headers["lightkeeper-request-id"]
        gateway.send_signal(signal.SIGTERM)
        self.assertEqual(gateway.wait(timeout=30), 0)
        return identity

    def test_tiles_are_walked(self):
        """Scenario: some hundred records are written as tiles, and Tessera's `fsck` walks them; then a byte of one file is another.
        Guarantees: the walk is well, over full and partial tiles; with a byte changed it is not."""
        if "FSCK" not in os.environ:
            self.skipTest(os.environ.get("FSCK_ABSENT", "no fsck"))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            first_configuration(folder)
            self.served(folder, 600)
            config = ["--config", folder / "lightkeeper.yaml"]
            key = subprocess.run([LIGHTKEEPER, "audit", "key", *config], check=True, capture_output=True, text=True).stdout
            (folder / "key").write_text(key)
            tiles = folder / "tiles"
            told = subprocess.run([LIGHTKEEPER, "audit", "export", "--tiles", tiles, *config], capture_output=True, text=True)
            self.assertEqual(told.returncode, 0, told.stderr)
            command = [os.environ["FSCK"], f"--storage_url=file://{tiles}/", f"--public_key={folder / 'key'}", "--ui=false", "--logtostderr", "-v=1"]

            def walked():
                try:
                    done = subprocess.run(command, capture_output=True, text=True, timeout=10)
                except subprocess.TimeoutExpired:  # it waits for its other workers where one has failed
                    return False, "not at its end"
                return "fsck failed" not in done.stderr and done.returncode == 0, done.stderr

            well, said = walked()
            self.assertTrue(well, said)
            self.assertIn("Completed ranges", said)
            files = sorted(file for file in tiles.rglob("*") if file.is_file())
            names = [str(file.relative_to(tiles)) for file in files]
            for start in ("tile/0/000", "tile/0/002.p/", "tile/1/000.p/", "tile/entries/000", "tile/entries/002.p/", "checkpoint"):
                self.assertTrue(any(name.startswith(start) for name in names), names)
            for file in files:
                whole = file.read_bytes()
                for at in (len(whole) // 2,):
                    file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
                    with self.subTest(file=str(file.relative_to(tiles)), at=at):
                        self.assertFalse(walked()[0])
                file.write_bytes(whole)

    def test_the_pages_program(self):
        if "SUMDB" not in os.environ:
            self.skipTest(os.environ.get("SUMDB_ABSENT", "no sumdb"))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            identity = self.trail(folder)

            def audit(*arguments):
                done = subprocess.run([LIGHTKEEPER, "audit", *arguments], capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stderr)
                return done.stdout.strip()

            key = audit("key", "--config", folder / "lightkeeper.yaml")
            audit("prove", identity, "--key", key, "--directory", folder, folder / "audit.jsonl")
            names = ["audit.jsonl", "audit.jsonl.checkpoints", f"{identity}.json", f"{identity}.tlog-proof"]
            files = [folder / name for name in names]

            def verified():
                return subprocess.run([os.environ["SUMDB"], key, *files], capture_output=True, text=True)

            told = verified()
            self.assertEqual(told.returncode, 0, told.stderr)
            records = len((folder / "audit.jsonl").read_text().splitlines())
            self.assertGreater(records, 50)
            self.assertIn(f"{records} of {records} records are as they were sealed", told.stdout)
            self.assertIn("is proven", told.stdout)
            for file in files:
                whole = file.read_bytes()
                for at in range(40, len(whole) - 1, max(1, len(whole) // 25)):
                    # The last sign of a base64 text holds bits that count for nothing.
                    if whole[at : at + 1] == b"\n" or whole[at + 1 : at + 2] == b"=":
                        continue
                    file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
                    with self.subTest(file=file.name, at=at):
                        self.assertNotEqual(verified().returncode, 0)
                file.write_bytes(whole)
