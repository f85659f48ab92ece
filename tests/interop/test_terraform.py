"""Lightstep's own Terraform client, and scripts that know the old API, before the gateway.

Scenario: tools that know a base URL and a key. Guarantees: through `lightkeeper connect` (with the key that it printed) and
directly (a token for the key) every resource is made, read, changed and removed as at the backend, in the developer's
own projects and in no other; what the tool sent for a key reaches nobody.
"""

import json
import os
import re
import subprocess
import unittest

import console as consoles
import requests
import settings
import world as worlds

WORLD = worlds.shared()
CONSOLE = consoles.shared()
FOREIGN = "list a foreign project's streams"


class Connected(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shell = CONSOLE.shell("tim")
        cls.shell.log_in("tim")
        command = [WORLD.binary, "connect", "--listen", "127.0.0.1:0"]
        cls.connect = WORLD.spawn("connect", command, None, {"LIGHTKEEPER_CREDENTIALS": str(cls.shell.file)})
        find = lambda: re.search(r"Listening on (http://127\.0\.0\.1:\d+)", cls.connect.text())
        cls.base = worlds.eventually("connect to listen", find, cls.connect.text)[1]
        find = lambda: re.search(r"LIGHTSTEP_API_KEY=(\S+)\n", cls.connect.text())
        cls.key = worlds.eventually("connect to tell its key", find, cls.connect.text)[1]

    @classmethod
    def tearDownClass(cls):
        cls.connect.stop()

    def captured(self, before):
        return worlds.lines_of(CONSOLE.captures)[before:]


class Terraform(Connected):
    def drive(self, base, key):
        """The steps that the client made, each with its error; what the backend was asked meanwhile."""
        if "TERRAFORM_DRIVER" not in os.environ:
            self.skipTest(os.environ.get("TERRAFORM_ABSENT", "no Terraform client"))
        before = len(worlds.lines_of(CONSOLE.captures))
        command = [os.environ["TERRAFORM_DRIVER"], base, "acme", "checkout-prod", "platform-prod"]
        env = {**os.environ, "LIGHTSTEP_KEY": key, "SSL_CERT_FILE": str(WORLD.ca)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        steps = {step["step"]: step["error"] for step in map(json.loads, done.stdout.splitlines())}
        return steps, self.captured(before)

    def check(self, steps, captured, key):
        self.assertIn("403", steps.pop(FOREIGN))
        self.assertEqual({step: error for step, error in steps.items() if error}, {})
        for step in ("stream", "condition", "dashboard", "destination", "unified dashboard", "alert"):
            self.assertLessEqual({f"create {step}", f"read {step}", f"delete {step}"}, set(steps))
        self.assertGreaterEqual(len(captured), len(steps))
        text = json.dumps(captured)
        self.assertNotIn(key, text)
        self.assertNotIn("/projects/platform-prod", text)

    def test_through_connect(self):
        steps, captured = self.drive(self.base, self.key)
        self.check(steps, captured, self.key)

    def test_with_a_token_for_the_key(self):
        token = self.shell.run("token")[1].strip()
        steps, captured = self.drive(CONSOLE.url, token)
        self.check(steps, captured, token)


class OldShapes(Connected):
    """Scripts of before: the key alone in `authorization`, or after a word."""

    def keys(self):
        return {"bare": self.key, "Bearer": f"Bearer {self.key}", "bearer": f"bearer {self.key}"}

    def ask(self, method, path, key=None, body=None):
        headers = {"authorization": key} if key else {}
        with requests.Session() as client:
            client.trust_env = False
            return client.request(method, f"{self.base}/public/v0.2/acme{path}", headers=headers, json=body, timeout=20)

    def test_reads_and_writes(self):
        """A stream's life with each shape of key; the backend sees the vault's keys and never the script's."""
        for name, key in self.keys().items():
            with self.subTest(name):
                before = len(worlds.lines_of(CONSOLE.captures))
                streams = "/projects/checkout-prod/streams"
                body = {"data": {"type": "stream", "attributes": {"name": f"old-{name}", "query": 'service IN ("cart")'}}}
                made = self.ask("POST", streams, key, body)
                self.assertIn(made.status_code, (200, 201), made.text)
                number = made.json()["data"]["id"]
                body["data"]["attributes"]["name"] = f"old-{name}-renamed"
                self.assertEqual(self.ask("PATCH", f"{streams}/{number}", key, body).status_code, 200)
                read = self.ask("GET", f"{streams}/{number}", key).json()
                self.assertEqual(read["data"]["attributes"]["name"], f"old-{name}-renamed")
                listed = [stream["id"] for stream in self.ask("GET", streams, key).json()["data"]]
                self.assertIn(number, listed)
                self.assertIn(self.ask("DELETE", f"{streams}/{number}", key).status_code, (200, 204))
                self.assertEqual(self.ask("GET", f"{streams}/{number}", key).status_code, 404)
                text = json.dumps(self.captured(before))
                self.assertNotIn(self.key, text)

    def test_only_the_own_part(self):
        before = len(worlds.lines_of(CONSOLE.captures))
        for method in ("GET", "POST"):
            refused = self.ask(method, "/projects/platform-prod/streams", self.key, {} if method == "POST" else None)
            self.assertEqual(refused.status_code, 403, refused.text)
        self.assertEqual(self.captured(before), [])
        for key in (None, "some-old-key", "Bearer some-old-key"):
            self.assertEqual(self.ask("GET", "/projects", key).status_code, 401)
        self.assertEqual(self.captured(before), [])
        listed = self.ask("GET", "/projects", self.key)
        self.assertEqual(listed.status_code, 200, listed.text)
        names = {project["id"] for project in listed.json()["data"]}
        self.assertIn("checkout-prod", names)
        self.assertNotIn("platform-prod", names)

    def test_the_bare_token_straight_at_the_gateway(self):
        """Old clients put the key in `authorization` without a scheme; a developer's token is one."""
        token = self.shell.run("token")[1].strip()
        url = f"{CONSOLE.url}/public/v0.2/acme/projects/checkout-prod/streams"
        for value in (token, f"Bearer {token}", f"bearer {token}"):
            answer = requests.get(url, headers={"authorization": value}, verify=str(WORLD.ca), timeout=20)
            self.assertEqual(answer.status_code, 200, answer.text)
        for value in ("some-old-key", settings.READ_KEY, f"Bearer {settings.WRITE_KEY}"):
            answer = requests.get(url, headers={"authorization": value}, verify=str(WORLD.ca), timeout=20)
            self.assertEqual(answer.status_code, 401, answer.text)
