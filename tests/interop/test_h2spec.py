"""h2spec, which sends what HTTP/2 servers must refuse, before the gateway's plaintext and TLS listeners.

Scenario: the 145 cases of h2spec 2.2.1 (RFC 7540, RFC 7541). Guarantees: all hold but those that `h2spec/accepted.json`
names, each with its reason. h2spec writes frame by frame, and a request that is refused at its head is answered before
the wrong frame is sent: a relay passes the frames of a case on in one piece, so that the verdict is on the frames and
not on who was faster. A case that fails is judged once more alone.
"""

import json
import os
import subprocess
import unittest
import xml.etree.ElementTree as xml
from collections import Counter

import relay
import world as worlds

WORLD = worlds.shared()
ACCEPTED = json.loads((worlds.HERE / "h2spec/accepted.json").read_text())
CASES = 145


class H2Spec(unittest.TestCase):
    def judged(self, transport, port, *arguments):
        if "H2SPEC" not in os.environ:
            self.skipTest(os.environ.get("H2SPEC_ABSENT", "no h2spec"))
        between = relay.Relay(port)
        self.addCleanup(between.stop)
        report = WORLD.directory / f"h2spec-{transport}.xml"

        def verdicts(*chosen):
            """Each case that ran: its number within its section (`http2/8.1/1`), its words, whether it failed."""
            command = [os.environ["H2SPEC"], "-h", "localhost", "-p", str(between.port), "-o", "5", *arguments]
            report.unlink(missing_ok=True)
            done = subprocess.run([*command, "-j", str(report), *chosen], capture_output=True, text=True, timeout=600)
            numbers, told = Counter(), []
            for case in xml.parse(report).getroot().findall("testsuite/testcase"):
                section = case.get("package")
                numbers[section] += 1
                ran = case.find("skipped") is None
                words = f"{section}: {case.get('classname')}"
                told.append((f"{section}/{numbers[section]}", words, ran and len(case) > 0))
            return told, done.stdout

        told, printed = verdicts()
        self.assertEqual(len(told), CASES, printed[-2000:])
        accepted = {case["case"] for case in ACCEPTED if transport in case["transports"]}
        for number, words, failed in told:
            if failed and words not in accepted:
                alone, printed = verdicts(number)
                with self.subTest(number):
                    self.assertEqual([case[1:] for case in alone], [(words, False)], printed[-4000:])
        # What h2spec leaves behind is the gateway's to survive.
        self.assertEqual(WORLD.get("/.lightkeeper/whoami", WORLD.token("collector"))[0], 200)

    def test_plaintext(self):
        self.judged("plaintext", WORLD.plain)

    def test_tls(self):
        self.judged("tls", WORLD.tls, "-t", "-k")
