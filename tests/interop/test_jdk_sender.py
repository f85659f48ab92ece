"""OpenTelemetry Java with the sender over the JDK's own HTTP client, over HTTP/1.1, TLS and with gzip.

Scenario: a Java workload of `checkout` exports traces, metrics and logs, each three times over the same client. The JDK's
client asks for h2c on every plaintext connection (`Upgrade: h2c`, RFC 9110 section 7.8). Guarantees: every exporter is told of
success, and each item arrives at the backend once, in its project, without the headers of the upgrade.
"""

import os
import subprocess
import unittest

import relay
import settings
import stamps
import world as worlds

WORLD = worlds.shared()
ABSENT = os.environ.get("JDK_SENDER_ABSENT")
EXPORTS = 3  # of each signal, as the driver has it


@unittest.skipIf(ABSENT, ABSENT)
class JdkSender(unittest.TestCase):
    maxDiff = None

    def check(self, endpoint, prefix, compression="none", ca="-"):
        token = WORLD.token("collector")
        command = ["java", "-cp", os.environ["JDK_SENDER"], "JdkSender", endpoint, token, "checkout", compression, ca, prefix]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=180)
        lines = [line.split() for line in done.stdout.splitlines()]
        names = [f"{prefix}{at}." for at in range(EXPORTS)]
        told = sorted((signal, name, said) for signal, name, said in lines)
        self.assertEqual(told, sorted((s, n, "true") for s in stamps.MESSAGES for n in names), done.stderr[-3000:])
        for name in names:
            arrived = WORLD.named(name)
            self.assertEqual(sorted(request["path"] for request in arrived), [f"/v1/{s}" for s in sorted(stamps.MESSAGES)])
            for request in arrived:
                self.assertEqual(request["project"], "checkout-prod")
                headers = request["headers"]
                self.assertEqual(headers["lightstep-access-token"], settings.ACCESS_TOKENS["checkout-prod"])
                self.assertFalse({"upgrade", "http2-settings", "authorization"} & headers.keys())

    def test_plaintext_with_an_upgrade_to_h2c(self):
        between = relay.Relay(WORLD.plain)
        self.addCleanup(between.stop)
        self.check(f"http://127.0.0.1:{between.port}", "jdk-plain-")
        asked = [begun for begun in between.beginnings if b"\r\nupgrade: h2c\r\n" in begun.lower()]
        self.assertTrue(asked, "the JDK's client asked for no upgrade")

    def test_plaintext_and_gzip(self):
        self.check(f"http://127.0.0.1:{WORLD.plain}", "jdk-gzip-", "gzip")

    def test_tls(self):
        self.check(f"https://localhost:{WORLD.tls}", "jdk-tls-", "gzip", WORLD.ca)
