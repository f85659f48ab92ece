"""Proof of possession (RFC 9449) with software that others wrote: npm's oidc-provider binds tokens, oauth4webapi, dpop and
grpc-js show them, and oauth4webapi judges the same requests as a resource server of its own.

Guarantees: clients get through with the nonces of provider and gateway, over HTTP and gRPC; the gateway and the other
resource server say the same of each request; a login of the command line is bound, renewed, and worth nothing without its key.
"""

import json
import os
import stat
import unittest

import console as consoles
import requests
import settings
import world as worlds
from clients import Client

WORLD = worlds.shared()


class Named(worlds.Gateway):
    """A gateway whose TLS listener knows its own name."""

    def configure(self, world, config, ports, file):
        config["listeners"][1]["public_url"] = f"https://localhost:{ports['tls']}"
        file.write_text(json.dumps(config, indent=1))


class Possession(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        (port,) = worlds.free_ports(1)
        cls.captures = WORLD.directory / "possession.jsonl"
        WORLD.emulator("possession-emulator", port, cls.captures)
        cls.gateway = Named(WORLD, "possession", port)
        cls.url = f"https://localhost:{cls.gateway.tls}"
        env = {name: value for name, value in os.environ.items() if name != "NODE_OPTIONS"}
        env["NODE_EXTRA_CA_CERTS"] = str(WORLD.ca)
        command = ["node", worlds.HERE / "possession.mjs", WORLD.issuer, cls.url, settings.RESOURCES[0], WORLD.ca]
        cls.client = Client(command, WORLD.directory, env)

    @classmethod
    def tearDownClass(cls):
        cls.client.stop()

    def ask(self, **order):
        answer = self.client.ask(**order)
        self.assertNotIn("error", answer, answer)
        return answer

    def test_clients_get_through(self):
        """oauth4webapi: the first call is repeated with the gateway's nonce, the next one has it already."""
        for method, path, kind, client in [
            ("GET", "/public/v0.2/acme/projects/shop-prod/streams", None, "analyst"),
            ("GET", "/.lightkeeper/whoami", None, "collector"),
            ("POST", "/v1/traces", "application/json", "collector"),
            ("POST", "/apps/shop/checkout/-/v1/traces", "application/json", "collector"),
        ]:
            body = worlds.plain_export("checkout", "possessed").decode() if method == "POST" else None
            told = self.ask(order="call", client=client, method=method, path=path, body=body, type=kind)
            self.assertEqual(told["kind"].lower(), "dpop", told)
            self.assertTrue(told["asked"], "the provider demanded its nonce")
            expected = [{"status": 200, "retried": True}, {"status": 200, "retried": False}]
            self.assertEqual(told["results"], expected, path)
        for request in worlds.lines_of(self.captures):
            self.assertNotIn("dpop", json.dumps(request).lower())

    def test_over_grpc(self):
        """grpc-js: UNAUTHENTICATED with the nonce as metadata, then OK."""
        told = self.ask(order="overGrpc")
        self.assertEqual((told["refused"], told["taken"]), (16, 0), told)
        self.assertIn('DPoP error="use_dpop_nonce"', told["challenge"])

    def test_same_request_same_verdict(self):
        """The gateway and oauth4webapi's resource server, on good and bad proofs."""
        variants = self.ask(order="variants")["variants"]
        self.assertGreater(len(variants), 20)
        taken = []
        for variant in variants:
            told = self.ask(order="compare", variant=variant)
            self.assertEqual(told["ours"], told["theirs"], f"{variant}: {told}")
            taken += [variant] if told["ours"] else []
        self.assertEqual(taken, ["good", "a query in htu", "a host in capitals"])
        for kind in ("unbound", "for another"):
            told = self.ask(order="compareToken", kind=kind)
            self.assertEqual((told["ours"], told["theirs"]), (False, False), f"{kind}: {told}")

    def test_metadata(self):
        """RFC 9728: the challenge leads to it, and it names the provider."""
        verify = str(WORLD.ca)
        refused = requests.get(f"{self.url}/.lightkeeper/whoami", verify=verify, timeout=20)
        self.assertEqual(refused.status_code, 401)
        place = f"{self.url}/.well-known/oauth-protected-resource"
        self.assertIn(f'resource_metadata="{place}"', refused.headers["www-authenticate"])
        document = requests.get(place, verify=verify, timeout=20).json()
        self.assertEqual((document["resource"], document["authorization_servers"]), (self.url, [WORLD.issuer]))


class CommandLine(unittest.TestCase):
    def test_a_bound_login(self):
        """The provider's pages, commands, renewal with the key; the tokens alone are refused by gateway and provider."""
        console = consoles.shared()
        shell = console.shell("dpop")
        earlier = set(shell.file.parent.glob("*.key"))
        told = shell.log_in("ann", more=["--dpop"])
        self.assertIn("bound to a key", told)
        (key,) = set(shell.file.parent.glob("*.key")) - earlier
        self.assertEqual(stat.S_IMODE(key.stat().st_mode), 0o600)
        kept = shell.kept()
        # Ann's tokens live for seconds: each command renews them.
        for _ in range(2):
            status, out, err = shell.run("whoami", "--output", "json")
            self.assertEqual(status, 0, out + err)
            self.assertEqual(json.loads(out)["subject"], "ann")
        self.assertNotEqual(shell.kept()["refresh_token"], kept["refresh_token"])
        token = shell.kept()
        for scheme in ("Bearer", "DPoP"):
            headers = {"authorization": f"{scheme} {token['access_token']}"}
            stolen = requests.get(f"{console.url}/.lightkeeper/whoami", headers=headers, verify=str(WORLD.ca), timeout=20)
            self.assertEqual(stolen.status_code, 401, scheme)
        form = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"], "client_id": "lightkeeper-cli"}
        stolen = requests.post(f"{console.provider}/token", data=form, verify=str(WORLD.ca), timeout=20)
        self.assertEqual(stolen.status_code, 400, stolen.text)
