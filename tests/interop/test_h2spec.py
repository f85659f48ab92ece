"""h2spec, which sends what HTTP/2 servers must refuse, before the gateway's plaintext and TLS listeners.

Scenario: the 145 cases of h2spec 2.2.1 (RFC 7540, RFC 7541). Guarantees: all hold but those that `h2spec/accepted.json`
names, each with its reason.
"""

import json
import os
import subprocess
import unittest
import xml.etree.ElementTree as xml

import world as worlds

WORLD = worlds.shared()
ACCEPTED = json.loads((worlds.HERE / "h2spec/accepted.json").read_text())
CASES = 145


class H2Spec(unittest.TestCase):
    def judged(self, transport, port, *arguments):
        if "H2SPEC" not in os.environ:
            self.skipTest(os.environ.get("H2SPEC_ABSENT", "no h2spec"))
        report = WORLD.directory / f"h2spec-{transport}.xml"
        command = [os.environ["H2SPEC"], "-h", "localhost", "-p", str(port), "-o", "5", "-j", str(report), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        cases = xml.parse(report).getroot().findall("testsuite/testcase")
        self.assertEqual(len(cases), CASES, done.stdout[-2000:])
        failed = {f"{case.get('package')}: {case.get('classname')}" for case in cases if len(case)}
        accepted = {case["case"] for case in ACCEPTED if transport in case["transports"]}
        self.assertEqual(failed - accepted, set(), done.stdout[-8000:])
        # What h2spec leaves behind is the gateway's to survive.
        self.assertEqual(WORLD.get("/.lightkeeper/whoami", WORLD.token("collector"))[0], 200)

    def test_plaintext(self):
        self.judged("plaintext", WORLD.plain)

    def test_tls(self):
        self.judged("tls", WORLD.tls, "-t", "-k")
