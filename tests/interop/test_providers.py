"""Dex as an issuer: tokens as it signs them, with the settings that their shape needs.

Scenario: Dex logs a person in by its code flow; its token carries `at_hash`, as only ID tokens
should, and is taken by `tokens: any`.
Guarantees: it identifies its holder, exports by its groups, and nothing else; without the setting the token is refused.
"""

import os
import unittest
import urllib.parse
from pathlib import Path

import providers
import requests
import world as worlds

WORLD = worlds.shared()
DEX = os.environ.get("DEX_ABSENT")
AUTHORS = [{"issuer": "dex", "group": "authors"}]


@unittest.skipIf(DEX, DEX)
class Dex(providers.Provider, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        (port,) = worlds.free_ports(1)
        folder = Path(os.environ["DEX"])
        cls.url = f"https://localhost:{port}/dex"
        keys = [WORLD.certs / "server.pem", WORLD.certs / "server.key"]
        WORLD.spawn("dex", [folder / "dex", f"localhost:{port}", *keys, folder / "web"], port)

    def login(self):
        """The ID token of the connector's one person, by the code flow."""
        client = requests.Session()
        client.verify, client.trust_env = str(WORLD.ca), False
        back = "http://127.0.0.1/callback"
        asked = {"client_id": "lightkeeper", "redirect_uri": back, "response_type": "code", "state": "s"}
        target = f"{self.url}/auth?" + urllib.parse.urlencode({**asked, "scope": "openid email groups profile"})
        for _ in range(10):
            answer = client.get(target, allow_redirects=False, timeout=20)
            target = urllib.parse.urljoin(target, answer.headers["location"])
            if target.startswith(back):
                break
        code = urllib.parse.parse_qs(urllib.parse.urlsplit(target).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back}
        answer = client.post(f"{self.url}/token", form, auth=("lightkeeper", "lightkeeper-secret"), timeout=20)
        return answer.json()["id_token"]

    def test_a_token_with_at_hash(self):
        token = self.login()
        said = providers.claims(token)
        self.assertIn("at_hash", said)
        taken = providers.Gateway("dex-any", "dex", AUTHORS, issuer=self.url, audiences=["lightkeeper"], tokens="any")
        status, me = self.whoami(taken, token)
        self.assertEqual((status, me["subject"], me["groups"]), (200, said["sub"], ["authors"]))
        self.assertEqual(self.export(taken, token, "dex-export"), (200, 1))
        self.assertEqual(self.export(taken, token, "dex-elsewhere", "payments"), (403, 0))
        # Without the setting it counts as an ID token.
        refused = providers.Gateway("dex-access", "dex", AUTHORS, issuer=self.url, audiences=["lightkeeper"])
        self.assertEqual(self.whoami(refused, token)[0], 401)
        self.assertEqual(self.export(refused, token, "dex-refused"), (401, 0))
