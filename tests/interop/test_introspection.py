"""Opaque tokens of an authorization server that others wrote (npm oidc-provider): RFC 7662, 9701, 7523 and 8705.

Scenario: the provider's tokens for one resource are opaque. Four gateways ask about them: by a secret, by an assertion or a
certificate that the provider verifies, and for signed answers. Guarantees: the client is identified and exports; a token that is revoked
(RFC 7009) is refused once the answer is no longer remembered; a JWT of another resource and a made-up token are no such tokens.
"""

import json
import unittest

import requests
import world as worlds

WORLD = worlds.shared()
OPAQUE = "urn:lightkeeper:opaque"


class Gateway(worlds.Gateway):
    """A gateway whose only issuer has these settings beside."""

    def __init__(self, name, introspection):
        self.introspection = introspection
        (port,) = worlds.free_ports(1)
        self.captures = WORLD.directory / f"{name}.captures.jsonl"
        WORLD.emulator(f"{name}.emulator", port, self.captures)
        super().__init__(WORLD, name, port)

    def configure(self, world, config, ports, file):
        (issuer,) = config["issuers"]
        issuer["audiences"] = [*issuer["audiences"], OPAQUE]
        issuer["claims"] = {"subject": ["sub", "client_id"]}
        issuer["introspection"] = {"url": f"{world.issuer}/token/introspection", "cache": "1s", **self.introspection}
        file.write_text(json.dumps(config, indent=1))


class Introspection(unittest.TestCase):
    def gateways(self):
        secret = WORLD.directory / "introspection.secret"
        secret.write_text("{}-secret".format("reader"))
        secret.chmod(0o600)
        by_secret = {"client_id": "analyst", "client_secret": {"env": "ANALYST_SECRET"}}
        signed = {"client_id": "reader", "client_secret": {"file": str(secret)}, "signed": True}
        key = {"key": str(WORLD.certs / "server.key"), "key_id": "keeper-1"}
        by_key = {"client_id": "keeper", "private_key_jwt": key}
        by_certificate = {"client_id": "shower", "mtls": self.certificate("collector")}
        kinds = {"asks": by_secret, "asks-signed": signed, "asks-by-key": by_key, "asks-by-certificate": by_certificate}
        for name, given in kinds.items():
            yield name, Gateway(name, given)

    def certificate(self, name):
        return {"certificate": str(WORLD.certs / f"{name}.pem"), "key": str(WORLD.certs / f"{name}.key")}

    def export(self, gateway, token, name):
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        url, body = f"https://localhost:{gateway.tls}/v1/traces", worlds.plain_export("checkout", name)
        return requests.post(url, body, headers=headers, verify=str(WORLD.ca), timeout=20).status_code

    def revoke(self, token):
        auth = ("collector", "collector-secret")
        answer = requests.post(f"{WORLD.issuer}/token/revocation", {"token": token}, auth=auth, verify=str(WORLD.ca), timeout=20)
        self.assertEqual(answer.status_code, 200, answer.text)

    def test_opaque_tokens(self):
        Gateway.environment = {"ANALYST_SECRET": "analyst-secret"}
        for name, gateway in self.gateways():
            with self.subTest(name):
                token = WORLD.token("collector", OPAQUE)
                self.assertEqual(token.count("."), 0, "the token is opaque")
                status, _, body = WORLD.get("/.lightkeeper/whoami", token, gateway.tls)
                me = json.loads(body)
                self.assertEqual((status, me["subject"], me["groups"]), (200, "collector", ["collectors"]), me)
                self.assertEqual(self.export(gateway, token, f"{name}-export"), 200)
                found = [r for r in worlds.lines_of(gateway.captures) if f"{name}-export".encode() in worlds.body_of(r)]
                self.assertEqual([r["project"] for r in found], ["checkout-prod"])
                self.assertEqual(self.export(gateway, WORLD.token("stranger", OPAQUE), f"{name}-stranger"), 403)
                self.assertEqual(self.export(gateway, WORLD.token("collector"), f"{name}-jwt"), 200)
                self.assertEqual(self.export(gateway, "made-up-by-nobody", f"{name}-made-up"), 401)
                self.revoke(token)
                worlds.eventually("the revoked token is refused", lambda: self.export(gateway, token, "late") == 401)

    def test_a_certificate_of_another(self):
        """The provider refuses the gateway, which is no fault of the caller's."""
        gateway = Gateway("asks-as-another", {"client_id": "shower", "mtls": self.certificate("server")})
        self.assertEqual(self.export(gateway, WORLD.token("collector", OPAQUE), "not asked"), 503)
        self.assertEqual(worlds.lines_of(gateway.captures), [])


if __name__ == "__main__":
    unittest.main()
