"""Dex and Keycloak as issuers: tokens as they sign them, with the settings that their shapes need.

Scenario: a gateway trusts both. Dex logs a person in by its code flow; its token carries `at_hash`, as only ID tokens
should, and is taken by `tokens: any`. Keycloak gives a service account a token whose groups stand in
`/realm_access/roles`, and a client without the scope `basic` one that has no `sub`: `claims.subject: [sub, azp]`.
Guarantees: each identifies its holder, exports by its groups, and nothing else; without the setting the token is refused.
"""

import base64
import json
import os
import shutil
import unittest
import urllib.parse
import zipfile
from pathlib import Path

import requests
import settings
import world as worlds

WORLD = worlds.shared()
DEX, KEYCLOAK = os.environ.get("DEX_ABSENT"), os.environ.get("KEYCLOAK_ABSENT")
START = 300  # seconds that Keycloak may take on a busy machine; some 15 on an idle one
BINDINGS = {
    "dex": [{"issuer": "dex", "group": "authors"}],
    "keycloak": [{"issuer": "keycloak", "group": "reporters"}, {"issuer": "keycloak", "subject": "deploy"}],
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


@unittest.skipIf(KEYCLOAK, KEYCLOAK)
class Keycloak(Provider):
    @classmethod
    def setUpClass(cls):
        with zipfile.ZipFile(os.environ["KEYCLOAK"]) as archive:
            archive.extractall(WORLD.directory)
        (home,) = WORLD.directory.glob("keycloak-*/")
        (home / "data/import").mkdir(parents=True)
        shutil.copy(worlds.HERE / "keycloak/realm.json", home / "data/import/realm.json")
        port, plain = worlds.free_ports(2)
        options = {
            "db": "dev-mem",
            "hostname": f"https://localhost:{port}",
            "http-host": "127.0.0.1",
            "http-port": plain,
            "https-port": port,
            "https-certificate-file": WORLD.certs / "server.pem",
            "https-certificate-key-file": WORLD.certs / "server.key",
        }
        command = ["sh", home / "bin/kc.sh", "start-dev", "--import-realm", *(f"--{k}={v}" for k, v in options.items())]
        process = WORLD.spawn("keycloak", command, env={"JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1"})
        process.listens(port, START)
        cls.url = f"https://localhost:{port}/realms/acme"
        worlds.eventually("the realm", cls.has_begun, process.text, START)
        cls.gateway = Gateway(
            "keycloak-gateway",
            "keycloak",
            issuer=cls.url,
            audiences=["lightkeeper"],
            claims={"subject": ["sub", "azp"], "groups": "/realm_access/roles"},
        )

    @classmethod
    def has_begun(cls):
        try:
            return requests.get(cls.url, verify=str(WORLD.ca), timeout=20).status_code == 200
        except requests.RequestException:
            return False

    def token(self, client, **form):
        form = {"grant_type": "client_credentials", "client_id": client, "client_secret": f"{client}-secret", **form}
        answer = requests.post(f"{self.url}/protocol/openid-connect/token", form, verify=str(WORLD.ca), timeout=30)
        self.assertEqual(answer.status_code, 200, answer.text)
        return answer.json()["access_token"]

    def test_realm_roles_are_groups(self):
        token = self.token("agent")
        said = claims(token)
        self.assertEqual(said["realm_access"]["roles"], ["reporters"])
        status, me = self.whoami(self.gateway, token)
        self.assertEqual((status, me["subject"], me["groups"]), (200, said["sub"], ["reporters"]))
        self.assertEqual(self.export(self.gateway, token, "keycloak-agent"), (200, 1))
        self.assertEqual(self.export(self.gateway, token, "keycloak-elsewhere", "payments"), (403, 0))
        self.assertEqual(self.export(self.gateway, self.token("visitor"), "keycloak-visitor"), (403, 0))

    def test_a_token_without_a_subject(self):
        token = self.token("deploy", grant_type="password", username="release", password="release-secret")
        said = claims(token)
        self.assertEqual((said.get("sub"), said["azp"]), (None, "deploy"))
        status, me = self.whoami(self.gateway, token)
        self.assertEqual((status, me["subject"]), (200, "deploy"))
        self.assertEqual(self.export(self.gateway, token, "keycloak-deploy"), (200, 1))
