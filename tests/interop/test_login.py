"""People log in with npm's oidc-provider: in a browser without scripts, and with the command line.

Guarantees: the provider's own pages lead back to the page that was asked for; a session is one cookie that only the
gateway can read; a login belongs to the browser that began it; logging out ends the session here and at the provider;
without the provider sessions live on. The command line's tokens are renewed silently, rotated and withdrawn.
"""

import base64
import json
import os
import stat
import time
import unittest
import urllib.parse

import console as consoles
import requests
import settings
import world as worlds
from console import LOGIN, PLACE, SESSION

WORLD = worlds.shared()
CONSOLE = consoles.shared()
HOME = f"{CONSOLE.url}{PLACE}/"


def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


class Browsers(unittest.TestCase):
    def whoami(self, cookie, url=CONSOLE.url):
        """What the gateway says to a bare cookie: status and body."""
        headers = {"cookie": f"{SESSION}={cookie}"}
        options = {"headers": headers, "verify": str(WORLD.ca), "allow_redirects": False, "timeout": 20}
        answer = requests.get(f"{url}{PLACE}/whoami", **options)
        return answer.status_code, answer.json()

    def test_login_and_logout(self):
        """Login, consent, session, whoami, logout with the provider's confirmation, and the kept cookie is dead."""
        browser = CONSOLE.visitor("ann", "/apps/shop/checkout")
        self.assertEqual(browser.answer.url, f"{CONSOLE.url}{PLACE}/apps/shop/checkout")
        self.assertIn("Ann Shop", browser.answer.text)
        given = next(a for a in browser.seen if f"{SESSION}=" in a.headers.get("set-cookie", ""))
        line = next(l for l in given.raw.headers.getlist("set-cookie") if l.startswith(f"{SESSION}="))
        flags = {part.strip().lower() for part in line.split(";")[1:]}
        self.assertLessEqual({"secure", "httponly", "path=/", "samesite=lax"}, flags)
        self.assertFalse([flag for flag in flags if flag.startswith("domain")])
        self.assertEqual(given.headers["cache-control"], "no-store")
        self.assertIsNone(browser.cookie(LOGIN), "a login's cookie is used once")

        value = browser.cookie(SESSION).value
        for secret in (settings.CONSOLE_SECRET, "ann@acme.example", "shop-developers"):
            self.assertNotIn(secret, value)
        status, me = self.whoami(value)
        self.assertEqual((status, me["subject"], me["method"], me["groups"]), (200, "ann", "session", ["shop-developers"]))

        # A cookie with a token beside it, and a logout without the page's proof, are refused.
        both = {"authorization": f"Bearer {WORLD.token('analyst')}"}
        self.assertIn(browser.go(f"{CONSOLE.url}{PLACE}/whoami", headers=both).status_code, (400, 401))
        self.assertEqual(browser.take("POST", f"{HOME}logout", headers={"origin": CONSOLE.url}).status_code, 403)
        self.assertEqual(browser.take("POST", f"{HOME}logout", headers={"origin": CONSOLE.provider}).status_code, 403)
        self.assertEqual(self.whoami(value)[0], 200)

        browser.go(HOME)
        (logout,) = [form for form in browser.forms() if form["action"] == f"{PLACE}/logout"]
        browser.submit(logout)
        self.assertTrue(browser.answer.url.startswith(CONSOLE.provider), browser.answer.url)
        browser.submit(browser.forms()[0], logout="yes")
        self.assertEqual(browser.answer.url, f"{HOME}signed-out")
        self.assertIn("You are logged out", browser.answer.text)
        self.assertIsNone(browser.cookie(SESSION))
        self.assertEqual(self.whoami(value)[0], 401)
        # The provider has forgotten as well: it asks who it is.
        browser.go(HOME)
        self.assertIn("login", browser.forms()[0]["fields"])
        written = CONSOLE.written()
        for secret in (value, settings.CONSOLE_SECRET):
            self.assertNotIn(secret, written)

    def test_the_provider_ends_a_session(self):
        """Logout at the provider's own page: its back-channel logout ends the session here, and no other."""
        browser, phone = CONSOLE.visitor("sam"), CONSOLE.visitor("sam")
        ended, other = (one.cookie(SESSION).value for one in (browser, phone))
        self.assertEqual([self.whoami(value)[0] for value in (ended, other)], [200, 200])
        browser.go(f"{CONSOLE.provider}/session/end")
        browser.submit(browser.forms()[0], logout="yes")
        worlds.eventually("the session's end", lambda: self.whoami(ended)[0] == 401, CONSOLE.people.text)
        self.assertEqual(self.whoami(other)[0], 200)
        told = lambda: {"revoked_by_logout", "proof_revoked"} <= {record["reason"] for record in CONSOLE.records()}
        worlds.eventually("the records of both", told)

    def begun(self, person):
        """A browser that comes from the provider with an answer, and the address it is sent to with it."""
        browser = consoles.Browser(WORLD.ca)
        browser.go(HOME)
        answer = browser.convince(CONSOLE.provider, person, follow=False)
        self.assertTrue(answer.startswith(f"{HOME}callback?"), answer)
        return browser, answer

    def test_two_logins_swapped(self):
        """Each of two browsers comes back with the other's answer, and stays outside."""
        (ann, anns), (sam, sams) = self.begun("ann"), self.begun("sam")
        for browser, answer in ((ann, sams), (sam, anns)):
            refused = browser.go(answer, allow_redirects=False)
            self.assertEqual(refused.status_code, 400, refused.text)
            self.assertIsNone(browser.cookie(SESSION))

    def test_an_answer_is_used_once_and_by_its_browser(self):
        browser, answer = self.begun("ann")
        stranger = consoles.Browser(WORLD.ca)
        self.assertEqual(stranger.go(answer, allow_redirects=False).status_code, 400)
        self.assertIsNone(stranger.cookie(SESSION))
        copy = {"cookie": f"{LOGIN}={browser.cookie(LOGIN).value}"}
        self.assertEqual(browser.go(answer).url, HOME)
        self.assertIsNotNone(browser.cookie(SESSION))
        replayed = requests.get(answer, headers=copy, verify=str(WORLD.ca), allow_redirects=False, timeout=20)
        self.assertEqual(replayed.status_code, 400, replayed.text)
        self.assertNotIn(SESSION, replayed.headers.get("set-cookie", ""))

    def test_nothing_of_the_tree_without_a_group(self):
        browser = CONSOLE.visitor("eve")
        self.assertEqual(browser.answer.status_code, 200)
        for name in ("checkout", "payments", "platform"):
            self.assertNotIn(name, browser.answer.text)

    def test_without_the_provider(self):
        """Groups from userinfo; then the provider is gone: the session lives, a login shows what is the matter."""
        console = consoles.Console(WORLD, "orphan", "userinfo")
        browser = console.visitor("sam")
        value = browser.cookie(SESSION).value
        self.assertEqual(self.whoami(value, console.url)[1]["groups"], ["sre"])
        console.people.stop()
        self.assertEqual(self.whoami(value, console.url)[0], 200)
        self.assertIn("platform", browser.go(f"{console.url}{PLACE}/").text)

        def refused():
            answer = requests.get(f"{console.url}{PLACE}/callback?code=c&state=s", verify=str(WORLD.ca), timeout=20)
            return answer.status_code == 400

        self.assertTrue(refused(), "a callback that nobody began is no outage")
        # What is known of the provider may be used for a while; nobody gets in with it.
        stranger = consoles.Browser(WORLD.ca)
        page = stranger.go(f"{console.url}{PLACE}/login", allow_redirects=False, headers={"accept": "text/html"})
        if page.status_code == 303:
            state = urllib.parse.parse_qs(urllib.parse.urlsplit(page.headers["location"]).query)["state"][0]
            query = urllib.parse.urlencode({"code": "c", "state": state, "iss": console.provider})
            page = stranger.go(f"{console.url}{PLACE}/callback?{query}", headers={"accept": "text/html"})
        self.assertEqual(page.status_code, 503, page.text)
        self.assertIn("text/html", page.headers["content-type"])
        self.assertIn("The identity provider does not answer", page.text)
        self.assertIsNone(stranger.cookie(SESSION))


class CommandLine(unittest.TestCase):
    def run_well(self, shell, *words):
        status, out, err = shell.run(*words)
        self.assertEqual(status, 0, f"{words}: {out}{err}")
        return out

    def test_with_a_browser(self):
        """Login on the provider's pages; every command; silent renewal with rotation; the old token is dead."""
        shell = CONSOLE.shell("ann")
        told = shell.log_in("ann")
        self.assertIn(f"logged in at {CONSOLE.url} as ", told)
        self.assertEqual(stat.S_IMODE(os.stat(shell.file).st_mode), 0o600)
        self.assertTrue(shell.last.url.startswith("http://127.0.0.1:"), shell.last.url)
        kept = shell.kept()
        for secret in (kept["access_token"], kept["refresh_token"]):
            self.assertNotIn(secret, told)
            self.assertNotIn(secret, shell.last.text)

        me = json.loads(self.run_well(shell, "whoami", "--output", "json"))
        self.assertEqual((me["subject"], me["method"], me["groups"]), ("ann", "oidc", ["shop-developers"]))
        apps = self.run_well(shell, "apps")
        for line in ("rw    shop", "rw      checkout", "rw      payments"):
            self.assertIn(line, apps)
        self.assertNotIn("platform", apps)
        self.assertEqual(shell.run("apps", "platform")[0], 3)
        services = json.loads(self.run_well(shell, "services", "shop", "--output", "json"))
        self.assertFalse(services["partial"], services)
        alerts = json.loads(self.run_well(shell, "alerts", "shop", "--output", "json"))
        self.assertEqual((alerts["partial"], alerts["errors"]), (False, []))
        alerts = self.run_well(shell, "alerts", "shop")
        self.assertRegex(alerts, r"carts are slow +firing")

        first = self.run_well(shell, "token").strip()
        ends = claims(first)["exp"]
        worlds.eventually("the access token to end", lambda: time.time() > ends + 2)
        self.assertEqual(WORLD.get(f"{PLACE}/whoami", first, CONSOLE.tls)[0], 401)
        before = shell.kept()["refresh_token"]
        second = self.run_well(shell, "token").strip()
        self.assertNotEqual(first, second)
        self.assertEqual(WORLD.get(f"{PLACE}/whoami", second, CONSOLE.tls)[0], 200)
        self.assertNotEqual(shell.kept()["refresh_token"], before)
        self.assertEqual(self.refresh(before), 400)

    def refresh(self, token):
        """What the provider says to a refresh token."""
        form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": "lightkeeper-cli"}
        return requests.post(f"{CONSOLE.provider}/token", data=form, verify=str(WORLD.ca), timeout=20).status_code

    def test_with_a_code_on_another_machine(self):
        """Device flow, approved on the provider's device page; logging out withdraws the tokens."""
        shell = CONSOLE.shell("sam")
        told = shell.log_in("sam", device=True)
        self.assertIn(f"logged in at {CONSOLE.url} as ", told)
        self.assertIn("platform", self.run_well(shell, "apps"))
        kept = shell.kept()
        self.assertIn("logged out", shell.run("logout")[2])
        self.assertEqual(self.refresh(kept["refresh_token"]), 400)
        status, _, err = shell.run("whoami")
        self.assertNotEqual(status, 0)
        self.assertIn("log in", err)
        for secret in (kept["access_token"], kept["refresh_token"]):
            self.assertNotIn(secret, shell.file.read_text())
            self.assertNotIn(secret, CONSOLE.written())
