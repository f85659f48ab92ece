"""Keycloak as an issuer: its tokens, what it says of them when it is asked, tokens bound to a key, and the end of a session.

Scenario: Keycloak gives a service account a token whose groups stand in `/realm_access/roles`, and a client without the scope
`basic` one that has no `sub`: `claims.subject: [sub, azp]`. Gateways ask it about each token, by a secret and by a key; a client
binds its token to a key (RFC 9449); a person logs in, and an administrator ends the session. Guarantees: each
identifies its holder, exports by its groups, and nothing else; a revoked token is refused, a bound one is worth nothing alone, and
the session is over once Keycloak has told so.
"""

import base64
import json
import os
import secrets
import subprocess
import unittest
import zipfile

import console as consoles
import providers
import requests
import world as worlds
from clients import Client

WORLD = worlds.shared()
KEYCLOAK = os.environ.get("KEYCLOAK_ABSENT")
START = 300  # seconds that Keycloak may take on a busy machine; some 15 on an idle one
SUBJECTS = [{"issuer": "keycloak", "group": "reporters"}, {"issuer": "keycloak", "subject": "deploy"}]
CLAIMS = {"subject": ["sub", "azp"], "groups": "/realm_access/roles"}
ADMINISTRATOR = {"KC_BOOTSTRAP_ADMIN_USERNAME": "root", "KC_BOOTSTRAP_ADMIN_PASSWORD": "root-secret"}


def public_jwk(key, name):
    """The JWK of a P-256 key in a file: its point ends the DER of its public half (RFC 5480 section 2)."""
    command = ["openssl", "pkey", "-in", key, "-pubout", "-outform", "DER"]
    point = subprocess.run(command, check=True, capture_output=True).stdout[-64:]
    x, y = (base64.urlsafe_b64encode(half).decode().rstrip("=") for half in (point[:32], point[32:]))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": name, "use": "sig", "alg": "ES256"}


class Gateway(providers.Gateway):
    """A gateway whose TLS listener knows its own name, at `url`; `web`: with a login."""

    def __init__(self, name, web=False, **more):
        self.web = web
        given = {"audiences": ["lightkeeper"], "claims": CLAIMS, **more}
        super().__init__(name, "keycloak", SUBJECTS, **given)

    def configure(self, world, config, ports, file):
        self.url = f"https://localhost:{ports['tls']}"
        config["listeners"][1]["public_url"] = self.url
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        self.environment = {"KEEPER_SECRET": "keeper-secret", "WEB_SECRET": "web-secret", "SESSION_KEY": key}
        if self.web:
            client = {"client_id": "web", "client_secret": {"env": "WEB_SECRET"}}
            config["web"] = {"login": {"issuer": "keycloak", "scopes": ["openid"], **client}}
            config["vault"]["session_keys"] = [{"env": "SESSION_KEY"}]
        super().configure(world, config, ports, file)

    def reasons(self):
        """Why it refused, for the log of a failure."""
        return [one["reason"] for one in self.records() if one.get("status", 200) != 200]


@unittest.skipIf(KEYCLOAK, KEYCLOAK)
class Keycloak(providers.Provider, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with zipfile.ZipFile(os.environ["KEYCLOAK"]) as archive:
            archive.extractall(WORLD.directory)
        (home,) = WORLD.directory.glob("keycloak-*/")
        (home / "data/import").mkdir(parents=True)
        (home / "data/import/realm.json").write_text(json.dumps(cls.realm()))
        port, plain = worlds.free_ports(2)
        options = {
            "db": "dev-mem",
            "hostname": f"https://localhost:{port}",
            "http-host": "127.0.0.1",
            "http-port": plain,
            "https-port": port,
            "https-certificate-file": WORLD.certs / "server.pem",
            "https-certificate-key-file": WORLD.certs / "server.key",
            "truststore-paths": WORLD.ca,
        }
        command = ["sh", home / "bin/kc.sh", "start-dev", "--import-realm", *(f"--{k}={v}" for k, v in options.items())]
        cls.process = WORLD.spawn("keycloak", command, env={"JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1", **ADMINISTRATOR})
        cls.process.listens(port, START)
        cls.server = f"https://localhost:{port}"
        cls.url = f"{cls.server}/realms/acme"
        worlds.eventually("the realm", cls.has_begun, cls.process.text, START)
        cls.gateway = Gateway("keycloak-gateway", issuer=cls.url)

    @classmethod
    def realm(cls):
        """The realm of the file, whose client `by-key` has the key of this run's server."""
        realm = json.loads((worlds.HERE / "keycloak/realm.json").read_text())
        (by_key,) = [one for one in realm["clients"] if one["clientId"] == "by-key"]
        keys = {"keys": [public_jwk(WORLD.certs / "server.key", "by-key-1")]}
        by_key["attributes"] |= {"use.jwks.string": "true", "jwks.string": json.dumps(keys)}
        return realm

    @classmethod
    def has_begun(cls):
        try:
            return requests.get(cls.url, verify=str(WORLD.ca), timeout=20).status_code == 200
        except requests.RequestException:
            return False

    def token(self, client, **form):
        form = {"grant_type": "client_credentials", "client_id": client, "client_secret": f"{client}-secret", **form}
        return self.post(f"{self.url}/protocol/openid-connect/token", form)["access_token"]

    def post(self, url, form, **more):
        answer = requests.post(url, form, verify=str(WORLD.ca), timeout=30, **more)
        self.assertLess(answer.status_code, 300, answer.text)
        return answer.json() if answer.content else None

    def test_realm_roles_are_groups(self):
        token = self.token("agent")
        said = providers.claims(token)
        self.assertEqual(said["realm_access"]["roles"], ["reporters"])
        status, me = self.whoami(self.gateway, token)
        self.assertEqual((status, me["subject"], me["groups"]), (200, said["sub"], ["reporters"]))
        self.assertEqual(self.export(self.gateway, token, "keycloak-agent"), (200, 1))
        self.assertEqual(self.export(self.gateway, token, "keycloak-elsewhere", "payments"), (403, 0))
        self.assertEqual(self.export(self.gateway, self.token("visitor"), "keycloak-visitor"), (403, 0))

    def test_a_token_without_a_subject(self):
        token = self.token("deploy", grant_type="password", username="release", password="release-secret")
        said = providers.claims(token)
        self.assertEqual((said.get("sub"), said["azp"]), (None, "deploy"))
        status, me = self.whoami(self.gateway, token)
        self.assertEqual((status, me["subject"]), (200, "deploy"))
        self.assertEqual(self.export(self.gateway, token, "keycloak-deploy"), (200, 1))

    def test_introspection(self):
        """RFC 7662 with `always: on`, by a secret and by a key (RFC 7523): what Keycloak revokes ends before it expires.

        It tells about a token only to a client that is in its `aud`.
        """
        by_secret = {"client_id": "lightkeeper", "client_secret": {"env": "KEEPER_SECRET"}}
        key = {"key": str(WORLD.certs / "server.key"), "key_id": "by-key-1", "algorithm": "ES256"}
        by_key = {"client_id": "by-key", "private_key_jwt": key}
        url = f"{self.url}/protocol/openid-connect/token/introspect"
        for name, given in (("keycloak-asked", by_secret), ("keycloak-asked-by-key", by_key)):
            with self.subTest(name):
                asked = {"url": url, "always": True, "cache": "1s", **given}
                gateway = Gateway(name, issuer=self.url, introspection=asked)
                token = self.token("agent")
                self.assertEqual(self.whoami(gateway, token)[0], 200, gateway.reasons())
                self.assertEqual(self.export(gateway, token, name), (200, 1))
                revoked = {"token": token, "client_id": "agent", "client_secret": "agent-secret"}
                self.post(f"{self.url}/protocol/openid-connect/revoke", revoked)
                late = lambda gateway=gateway, token=token: self.export(gateway, token, "late")[0] == 401
                worlds.eventually("the revoked token is refused", late)
                # Without asking, its signature is all that counts.
                self.assertEqual(self.whoami(self.gateway, token)[0], 200)

    def test_tokens_bound_to_a_key(self):
        """RFC 9449: oauth4webapi gets through with the gateway's nonce; the token is nothing without its proof."""
        env = {name: value for name, value in os.environ.items() if name != "NODE_OPTIONS"}
        env["NODE_EXTRA_CA_CERTS"] = str(WORLD.ca)
        self.assertEqual(self.whoami(self.gateway, self.token("agent"))[0], 200)
        command = ["node", worlds.HERE / "possession.mjs", self.url, self.gateway.url, "", WORLD.ca]
        client = Client(command, WORLD.directory, env)
        try:
            body = worlds.plain_export("checkout", "keycloak-bound").decode()
            asked = {"client": "bound", "method": "POST", "path": "/v1/traces", "body": body, "type": "application/json"}
            told = client.ask(order="call", **asked)
            self.assertNotIn("error", told, (told, self.gateway.reasons()))
            self.assertEqual(told["kind"].lower(), "dpop", told)
            self.assertEqual(told["results"], [{"status": 200, "retried": True}, {"status": 200, "retried": False}])
            self.assertEqual(told["stolen"], [401, 401])
        finally:
            client.stop()

    def test_back_channel_logout(self):
        """A person's session ends when an administrator of Keycloak ends it."""
        gateway = Gateway("keycloak-web", web=True, issuer=self.url, tokens="any", audiences=["lightkeeper", "web"])
        first = lambda: requests.get(f"{gateway.url}/.lightkeeper/login", verify=str(WORLD.ca), allow_redirects=False, timeout=20)
        worlds.eventually("a login", lambda: first().status_code == 303)
        admin = self.administrator()
        (client,) = self.administered(admin, "GET", "clients?clientId=web")
        client["redirectUris"] = [f"{gateway.url}/.lightkeeper/callback"]
        client["attributes"]["backchannel.logout.url"] = f"{gateway.url}/.lightkeeper/backchannel-logout"
        self.administered(admin, "PUT", f"clients/{client['id']}", client)

        browser = consoles.Browser(WORLD.ca)
        browser.go(f"{gateway.url}/.lightkeeper/")
        browser.submit(browser.forms()[0], username="release", password="release-secret")
        whoami = lambda: browser.client.get(f"{gateway.url}/.lightkeeper/whoami", timeout=20)
        self.assertEqual(whoami().status_code, 200, browser.answer.text[:2000])
        self.assertEqual(whoami().json()["issuer"], "keycloak")

        (user,) = self.administered(admin, "GET", "users?username=release")
        self.administered(admin, "POST", f"users/{user['id']}/logout")
        worlds.eventually("the session is over", lambda: whoami().status_code == 401, gateway.process.text)
        ended = [one for one in gateway.records() if one["event"] == "proof_ended"]
        self.assertEqual({one["reason"] for one in ended}, {"revoked_by_logout"})

    def administrator(self):
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "root", "password": "root-secret"}
        return self.post(f"{self.server}/realms/master/protocol/openid-connect/token", form)["access_token"]

    def administered(self, token, method, path, body=None):
        headers = {"authorization": f"Bearer {token}"}
        url = f"{self.server}/admin/realms/acme/{path}"
        answer = requests.request(method, url, json=body, headers=headers, verify=str(WORLD.ca), timeout=30)
        self.assertLess(answer.status_code, 300, answer.text)
        return answer.json() if answer.content else None


if __name__ == "__main__":
    unittest.main()
