"""A disk that is really full beneath the trail, and has room again.

Scenario: the trail lies on a file system of 256 KiB in memory; callers call until the gateway refuses them, then the file system
grows. Guarantees: no call is answered as usual whose record is not in the trail; afterwards calls pass again, the trail is as it was
sealed over its whole length, and the tree never became smaller.
"""

import json
import os
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

import test_sumdb as trails

LIGHTKEEPER = os.environ["LIGHTKEEPER"]
PATIENCE = 60  # seconds


class FullDisk(unittest.TestCase):
    def test_full_and_back(self):
        if os.geteuid() != 0:
            self.skipTest("a file system is mounted by root alone")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            place = folder / "trail"
            place.mkdir()
            mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], capture_output=True, text=True)
            if mounted.returncode:
                self.skipTest(f"no file system can be mounted here: {mounted.stderr.strip()}")
            try:
                self.fill(folder, place)
            finally:
                subprocess.run(["umount", "--lazy", place], check=True)

    def fill(self, folder, place):
        trails.first_configuration(folder)
        file = folder / "lightkeeper.yaml"
        file.write_text(file.read_text().replace("file: audit.jsonl", "file: trail/audit.jsonl"))
        command = [LIGHTKEEPER, "serve", "--config", file]
        gateway = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        self.addCleanup(gateway.kill)
        address = None
        for line in gateway.stderr:
            told = json.loads(line)
            if told.get("message") == "listening" and told.get("listener") == "plain":
                address = told["address"]
            if told.get("message") == "admin listening":
                break
        threading.Thread(target=gateway.stderr.read, daemon=True).start()
        answered, sizes = [], [0]

        def asked():
            try:
                urllib.request.urlopen(f"http://{address}/.lightkeeper/whoami", timeout=20)
            except urllib.error.HTTPError as refused:
                if refused.code == 401:
                    answered.append(refused.headers["lightkeeper-request-id"])
                notes = (place / "audit.jsonl.checkpoints").read_text().split("\n\n")
                sizes.extend(int(note.splitlines()[-2]) for note in notes[-2:-1] if len(note.splitlines()) > 2)
                return refused.code
            raise AssertionError("an answer without a credential")

        def until(status, times):
            deadline, seen = time.monotonic() + PATIENCE, 0
            while seen < times:
                self.assertLess(time.monotonic(), deadline, f"{status} never came")
                code = asked()
                self.assertIn(code, (401, 503))
                seen += code == status

        until(503, 30)
        full = len((place / "audit.jsonl").read_bytes())
        free = os.statvfs(place).f_bavail
        self.assertEqual(free, 0, "the file system is not full")
        subprocess.run(["mount", "-o", "remount,size=4m", place], check=True)
        until(401, 100)
        gateway.terminate()
        self.assertEqual(gateway.wait(timeout=40), 0)
        lines = (place / "audit.jsonl").read_text().splitlines()
        self.assertGreater(len("\n".join(lines)), full)
        told = {json.loads(line)["request_id"] for line in lines}
        self.assertEqual([one for one in answered if one not in told], [])
        self.assertEqual(sizes, sorted(sizes), "the tree became smaller")
        verified = subprocess.run([LIGHTKEEPER, "audit", "verify", "--config", file, "--output", "json"], capture_output=True, text=True)
        self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)
        verified = json.loads(verified.stdout)
        self.assertEqual((verified["unsealed"], verified["records"]), (0, len(lines)))
