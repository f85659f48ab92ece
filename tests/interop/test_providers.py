"""Dex as an issuer: tokens as it signs them, with the settings that their shape needs.

Scenario: Dex logs a person in by its code flow; its token carries `at_hash`, as only ID tokens should, and is taken by
`tokens: any`. Guarantees: it identifies its holder, exports by its groups, and nothing else; without the setting it is
refused.
"""

import base64
import json
import os
import unittest
import urllib.parse
from pathlib import Path

import requests
import settings
import world as worlds

WORLD = worlds.shared()
DEX = os.environ.get("DEX_ABSENT")
BINDINGS = {
    "dex": [{"issuer": "dex", "group": "authors"}],
}


class Gateway(worlds.Gateway):
    """A gateway with one more issuer, whose bindings export for `checkout`; `more`: the issuer's settings."""

    def __init__(self, name, provider, **more):
        self.provider, self.more = provider, more
        (port,) = worlds.free_ports(1)
        self.captures = WORLD.directory / f"{name}.captures.jsonl"
        WORLD.emulator(f"{name}.emulator", port, self.captures)
        super().__init__(WORLD, name, port)

    def configure(self, world, config, ports, file):
        config["issuers"].append({"name": self.provider, "ca": str(world.ca), **self.more})
        binding = {
            "name": self.provider,
            "subjects": BINDINGS[self.provider],
            "permissions": ["ingest.*"],
            "apps": ["shop/checkout"],
        }
        policy = {**settings.POLICY, "bindings": [*settings.POLICY["bindings"], binding]}
        config["policy"] = f"{self.name}.policy.yaml"
        (self.directory / config["policy"]).write_text(json.dumps(policy, indent=1))
        file.write_text(json.dumps(config, indent=1))


def claims(token):
    return json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))


class Provider(unittest.TestCase):
    def whoami(self, gateway, token):
        """The gateway's answer about a token's holder, once it has the provider's keys."""
        told = {}

        def asked():
            told["status"], _, told["body"] = WORLD.get("/.lightkeeper/whoami", token, gateway.tls)
            return told["status"] != 503

        worlds.eventually("the provider's keys", asked)
        return told["status"], json.loads(told["body"])

    def export(self, gateway, token, name, service="checkout"):
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        url, body = f"https://localhost:{gateway.tls}/v1/traces", worlds.plain_export(service, name)
        status = requests.post(url, body, headers=headers, verify=str(WORLD.ca), timeout=20).status_code
        found = [r for r in worlds.lines_of(gateway.captures) if name.encode() in worlds.body_of(r)]
        for request in found:
            self.assertEqual(request["project"], "checkout-prod")
            self.assertNotIn("authorization", request["headers"])
        return status, len(found)


@unittest.skipIf(DEX, DEX)
class Dex(Provider):
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
        said = claims(token)
        self.assertIn("at_hash", said)
        taken = Gateway("dex-any", "dex", issuer=self.url, audiences=["lightkeeper"], tokens="any")
        status, me = self.whoami(taken, token)
        self.assertEqual((status, me["subject"], me["groups"]), (200, said["sub"], ["authors"]))
        self.assertEqual(self.export(taken, token, "dex-export"), (200, 1))
        self.assertEqual(self.export(taken, token, "dex-elsewhere", "payments"), (403, 0))
        # Without the setting it counts as an ID token.
        refused = Gateway("dex-access", "dex", issuer=self.url, audiences=["lightkeeper"])
        self.assertEqual(self.whoami(refused, token)[0], 401)
        self.assertEqual(self.export(refused, token, "dex-refused"), (401, 0))
