"""What the tests of providers share: a gateway that knows one more issuer, and what is asked of it."""

import base64
import json

import requests
import settings
import world as worlds

WORLD = worlds.shared()


class Gateway(worlds.Gateway):
    """A gateway with one more issuer, whose `subjects` export for `checkout`; `more`: the issuer's settings."""

    def __init__(self, name, provider, subjects, **more):
        self.provider, self.subjects, self.more = provider, subjects, more
        (port,) = worlds.free_ports(1)
        self.captures = WORLD.directory / f"{name}.captures.jsonl"
        WORLD.emulator(f"{name}.emulator", port, self.captures)
        super().__init__(WORLD, name, port)

    def configure(self, world, config, ports, file):
        config["issuers"].append({"name": self.provider, "ca": str(world.ca), **self.more})
        binding = {
            "name": self.provider,
            "subjects": self.subjects,
            "permissions": ["ingest.*"],
            "apps": ["shop/checkout"],
        }
        policy = {**settings.POLICY, "bindings": [*settings.POLICY["bindings"], binding]}
        config["policy"] = f"{self.name}.policy.yaml"
        (self.directory / config["policy"]).write_text(json.dumps(policy, indent=1))
        file.write_text(json.dumps(config, indent=1))


def claims(token):
    return json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))


class Provider:
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
