"""A gateway where people log in, the provider that knows them (`people.mjs`), and people: with a browser, with a shell.

The browser keeps cookies, follows redirects and fills in forms; it runs no scripts.
"""

import base64
import json
import os
import re
import secrets
import subprocess
import urllib.parse
import urllib.request
from html.parser import HTMLParser

import requests

import settings
import world as worlds

PLACE = "/.lightkeeper"
SESSION, LOGIN = "__Host-lightkeeper-session", "__Host-lightkeeper-login"


class Forms(HTMLParser):
    """The forms of a page, in order: `action`, `method`, `fields`."""

    def __init__(self, page):
        super().__init__()
        self.forms = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "form":
            form = {"action": given.get("action", ""), "method": given.get("method", "get").lower(), "fields": {}}
            self.forms.append(form)
        elif tag == "input" and given.get("name") and self.forms:
            self.forms[-1]["fields"][given["name"]] = given.get("value") or ""


class Browser:
    """One browser: `answer` is what it shows."""

    def __init__(self, ca):
        self.client, self.answer, self.seen = requests.Session(), None, []
        self.client.verify, self.client.trust_env = str(ca), False

    def go(self, url, **options):
        return self.take("GET", url, **options)

    def take(self, method, url, **options):
        self.answer = self.client.request(method, url, timeout=20, **options)
        self.seen += [*self.answer.history, self.answer]
        return self.answer

    def forms(self):
        return Forms(self.answer.text).forms

    def walk(self, provider):
        """Follows redirects among the provider's pages; the address that leads away from them, not asked for yet."""
        while self.answer.is_redirect:
            target = urllib.parse.urljoin(self.answer.url, self.answer.headers["location"])
            if not target.startswith(provider):
                return target
            self.go(target, allow_redirects=False)
        return None

    def submit(self, form, follow=True, **fields):
        """Sends a form as browsers do, with the page's origin."""
        here = urllib.parse.urlsplit(self.answer.url)
        headers = {"origin": f"{here.scheme}://{here.netloc}"}
        data = {**form["fields"], **fields}
        url = urllib.parse.urljoin(self.answer.url, form["action"])
        where = "data" if form["method"] == "post" else "params"
        return self.take(form["method"].upper(), url, headers=headers, allow_redirects=follow, **{where: data})

    def convince(self, provider, person, follow=True):
        """Says who it is and consents, for as long as the provider's pages ask; where that leads to.

        Without `follow` it stops there, before that address is asked for.
        """
        for _ in range(5):
            forms = [form for form in self.forms() if form["method"] == "post"]
            if not self.answer.url.startswith(provider) or not forms:
                return self.answer.url
            is_login = "login" in forms[0]["fields"]
            self.submit(forms[0], follow, **({"login": person, "password": "any"} if is_login else {}))
            target = None if follow else self.walk(provider)
            if target:
                return target
        raise AssertionError(f"the provider asks on and on: {self.answer.text[:2000]}")

    def cookie(self, name):
        return next((cookie for cookie in self.client.cookies if cookie.name == name), None)


class Shell:
    """Somebody's command line with a file of tokens of its own."""

    def __init__(self, console, name):
        self.console, self.file = console, console.directory / f"{name}.credentials.json"
        self.binary = console.world.binary
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("LIGHTKEEPER_")}
        self.env |= {"LIGHTKEEPER_CREDENTIALS": str(self.file), "HOME": str(console.directory)}

    def run(self, *words):
        """Exit status, standard output and standard error."""
        done = subprocess.run([self.binary, *words], env=self.env, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def kept(self):
        (entry,) = json.loads(self.file.read_text())["gateways"].values()
        return entry

    def log_in(self, person, device=False, more=()):
        """`lightkeeper login`, approved on the provider's pages; what it printed to standard error."""
        command = ["login", "--gateway", self.console.url, "--ca", self.console.world.ca]
        command += ["--device" if device else "--no-browser", *more]
        log = self.file.with_suffix(".login.log")
        with open(log, "wb") as out:
            child = subprocess.Popen([self.binary, *command], env=self.env, stdout=out, stderr=out)
        try:
            pattern = r"^  (https://\S+)\n  (\S+)\n" if device else r"^  (https://\S+)\n"
            told = lambda: re.search(pattern, log.read_text(), re.M) or child.poll()
            found = worlds.eventually("an address to log in at", told, lambda: f": {log.read_text()}")
            assert isinstance(found, re.Match), log.read_text()
            browser = Browser(self.console.world.ca)
            browser.go(found[1])
            if device:
                browser.submit(browser.forms()[0], user_code=found[2])
                browser.submit(browser.forms()[0])
            browser.convince(self.console.provider, person)
            self.last = browser.answer
            status = child.wait(timeout=60)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        assert status == 0, log.read_text()
        return log.read_text()


class Console(worlds.Gateway):
    """A gateway with a login, before a backend of its own."""

    def __init__(self, world, name="console", groups="id_token"):
        self.world, self.groups = world, groups
        (port,) = worlds.free_ports(1)
        self.backend = f"http://127.0.0.1:{port}"
        self.captures = world.directory / f"{name}.captures.jsonl"
        world.emulator(f"{name}.emulator", port, self.captures)
        super().__init__(world, name, port)
        # The provider's metadata may come after the gateway's readiness.
        worlds.eventually("a login", lambda: self.first_step().status_code == 303)

    def configure(self, world, config, ports, file):
        self.url = f"https://localhost:{ports['tls']}"
        (port,) = worlds.free_ports(1)
        self.provider = f"https://localhost:{port}"
        keys = [world.certs / "server.pem", world.certs / "server.key"]
        command = ["node", worlds.HERE / "people.mjs", port, *keys, self.url]
        self.people = world.spawn(f"{self.name}.people", command, port, {"NODE_EXTRA_CA_CERTS": str(world.ca)})
        config, policy = settings.console(config, ports, world.ca, self.provider, self.groups)
        config["policy"] = f"{self.name}.policy.yaml"
        (self.directory / config["policy"]).write_text(json.dumps(policy, indent=1))
        file.write_text(json.dumps(config, indent=1))
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        self.environment = {"CONSOLE_SECRET": settings.CONSOLE_SECRET, "SESSION_KEY": key}

    def first_step(self):
        return requests.get(f"{self.url}{PLACE}/login", verify=str(self.world.ca), allow_redirects=False, timeout=20)

    def visitor(self, person, path="/"):
        """A browser in which `person` has logged in on the way to `path`."""
        browser = Browser(self.world.ca)
        browser.go(f"{self.url}{PLACE}{path}")
        browser.convince(self.provider, person)
        return browser

    def shell(self, name):
        return Shell(self, name)

    def export(self, client, service, count=1):
        """Spans of a workload, so that pages have something to show."""
        spans = [{"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": "work"}] * count
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
        body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}
        headers = {"authorization": f"Bearer {self.world.token(client)}"}
        url = f"{self.url}/v1/traces"
        return requests.post(url, json=body, headers=headers, verify=str(self.world.ca), timeout=20).status_code


    def fire(self, project, name):
        """An alert at the backend, which fires."""
        data = {"type": "metric_alert", "attributes": {"name": name, "type": "metric_alert", "state": "firing"}}
        url = f"{self.backend}/public/v0.2/acme/projects/{project}/metric_alerts"
        headers = {"authorization": f"Bearer {settings.WRITE_KEY}"}
        answer = requests.post(url, json={"data": data}, headers=headers, timeout=20)
        assert answer.status_code in (200, 201), answer.text


CONSOLES = {}


def shared():
    """The console of this run; started when it is first asked for."""
    world = worlds.shared()
    if "shared" not in CONSOLES:
        CONSOLES["shared"] = Console(world)
        for client, service in [("collector", "checkout"), ("cluster", "payments"), ("cluster", "checkout")]:
            assert CONSOLES["shared"].export(client, service, 40) == 200
        assert CONSOLES["shared"].export("collector", "agent") == 403
        CONSOLES["shared"].fire("checkout-prod", "carts are slow")
    return CONSOLES["shared"]
