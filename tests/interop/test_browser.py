"""Chromium before the console: login → tree → filter → app → explain → refused → decisions → logout.

Guarantees, in light and dark, on a desk and a phone, with scripts and without: no page has a fault that axe-core knows
of, is wider than its window, asks another site for anything or complains in the browser's console; cookies are what
`__Host-` promises; after the logout none is left, and a kept copy is dead. Pictures of all pages: INTEROP_KEEP keeps them.
"""

import itertools
import json
import os
import subprocess
import unittest

import console as consoles
import requests
import world as worlds

WORLD = worlds.shared()
CONSOLE = consoles.shared()
PAGES = ["tree", "app", "explain", "explained", "refused", "signed-out"]


class Pages(unittest.TestCase):
    def visit(self, user, scheme, width, scripts):
        """What browser.mjs tells, by page."""
        pictures = WORLD.directory / "pictures" / f"{user}-{scheme}-{width}-{'scripts' if scripts else 'bare'}"
        plan = {"gateway": CONSOLE.url, "user": user, "pictures": str(pictures)}
        plan |= {"scheme": scheme, "width": width, "scripts": scripts}
        for service in ("checkout", "payments"):  # so that there are rates of the last minute
            self.assertEqual(CONSOLE.export("cluster", service, 40), 200)
        env = {name: value for name, value in os.environ.items() if name != "NODE_OPTIONS"}
        command = ["node", worlds.HERE / "browser.mjs", json.dumps(plan)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
        if done.returncode == 3:
            self.skipTest(done.stderr.strip())
        told = {line["page"]: line for line in map(json.loads, done.stdout.splitlines())}
        self.assertEqual(done.returncode, 0, f"{told.get('failed')}\n{done.stderr[-2000:]}")
        return told

    def check(self, told, pages):
        for name in pages:
            page = told[name]
            with self.subTest(page=name):
                self.assertEqual(page["violations"], [])
                self.assertFalse(page["overflows"], "wider than its window")
                self.assertEqual((page["foreign"], page["errors"]), ([], []))
        (cookie,) = told["cookies"]["cookies"]
        flags = {"name": consoles.SESSION, "httpOnly": True, "secure": True, "sameSite": "Lax", "path": "/"}
        self.assertEqual(cookie, flags)
        self.assertEqual((told["end"]["left"], told["end"]["kept"]), ([], 401))

    def test_a_developer(self):
        for scheme, width, scripts in itertools.product(("light", "dark"), (1280, 360), (True, False)):
            with self.subTest(scheme=scheme, width=width, scripts=scripts):
                told = self.visit("ann", scheme, width, scripts)
                self.check(told, PAGES + ["filtered"])
                for words in ("checkout", "write", "shop-leads@acme.example"):
                    self.assertIn(words, told["tree"]["text"])
                self.assertNotIn("platform", told["tree"]["text"])
                self.assertIn("checkout", told["filtered"]["text"])
                self.assertNotIn("payments-prod", told["filtered"]["text"])
                for words in ("shop-developers", "checkout-prod", "OTEL_EXPORTER_OTLP_ENDPOINT", "Terraform", "Grafana", "carts are slow"):
                    self.assertIn(words, told["app"]["text"])
                self.assertIn("would be refused", told["explained"]["text"])
                self.assertNotIn("decisions", told)

    def test_who_may_see_decisions(self):
        url = f"{CONSOLE.url}/public/v0.2/acme/projects/checkout-prod/streams"
        headers = {"authorization": f"Bearer {WORLD.token('analyst')}"}
        self.assertEqual(requests.post(url, json={}, headers=headers, verify=str(WORLD.ca), timeout=20).status_code, 403)
        told = self.visit("sam", "light", 1280, True)
        self.check(told, PAGES + ["decisions", "searched"])
        self.assertIn("platform", told["tree"]["text"])
        for words in ("analyst", "not_permitted", "POST /public/v0.2/acme/projects/checkout-prod/streams"):
            self.assertIn(words, told["decisions"]["text"])
            self.assertIn(words, told["searched"]["text"])
        self.assertIn("That is all that could fit.", told["searched"]["text"])
        told = self.visit("sam", "dark", 360, True)
        self.check(told, PAGES + ["decisions", "searched"])
