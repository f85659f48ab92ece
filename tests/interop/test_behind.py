"""nginx and HAProxy from Debian before the gateway, as ingress controllers and load balancers set them up.

Scenario: clients reach the gateway through nginx (its default HTTP/1.0, HTTP/1.1, the snippet for WebSockets, gRPC) and
through HAProxy (PROXY protocol v1 and v2, TLS passed through, checks by connection and over HTTP), and come from an
address of their own. Guarantees: exports arrive once; what cannot be served is refused with words that name the
setting; the record names the client's address where the listener names the proxy's network, and the proxy's elsewhere;
checks leave no record.
"""

import http.client
import json
import os
import unittest
import urllib.request
from pathlib import Path

import grpc
import settings
import stamps
import world as worlds

WORLD = worlds.shared()
ABSENT = os.environ.get("PROXIES_ABSENT")
CLIENT = "127.0.0.9"  # the address that the proxies see; they themselves come from 127.0.0.1
PROXY = ["127.0.0.1/32"]
TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

NGINX = """
daemon off;
worker_processes 1;
error_log stderr warn;
pid nginx.pid;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  server {{ # nothing but proxy_pass
    listen 127.0.0.1:{default};
    location / {{ proxy_pass http://127.0.0.1:{plain}; }}
  }}
  server {{ # as its manual says for connections that are kept
    listen 127.0.0.1:{kept};
    location / {{
      proxy_pass http://127.0.0.1:{plain};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }}
  }}
  server {{ # the snippet for WebSockets that many copy
    listen 127.0.0.1:{snippet};
    location / {{
      proxy_pass http://127.0.0.1:{plain};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
    }}
  }}
  server {{
    listen 127.0.0.1:{forwarded};
    location / {{
      proxy_pass http://127.0.0.1:{believing};
      proxy_http_version 1.1;
    }}
  }}
  server {{
    listen 127.0.0.1:{grpc} http2;
    location / {{ grpc_pass grpc://127.0.0.1:{plain}; }}
  }}
}}
"""

HAPROXY = """
defaults
  mode tcp
  timeout connect 10s
  timeout client 30s
  timeout server 30s
  timeout check 10s
  retries 3
listen first
  bind 127.0.0.1:{v1}
  server gateway 127.0.0.1:{proxied} send-proxy check check-send-proxy inter 200ms
listen second
  bind 127.0.0.1:{v2}
  server gateway 127.0.0.1:{proxied} send-proxy-v2 check check-send-proxy inter 200ms
listen passed
  bind 127.0.0.1:{passed}
  server gateway 127.0.0.1:{secure} send-proxy-v2 check check-send-proxy inter 200ms
listen asked
  mode http
  bind 127.0.0.1:{asked}
  option forwardfor
  option httpchk
  http-check send meth GET uri /healthz ver HTTP/1.1 hdr Host gateway
  http-check expect status 200
  server gateway 127.0.0.1:{believing} check inter 200ms
listen touched
  mode http
  bind 127.0.0.1:{touched}
  server gateway 127.0.0.1:{plain} check inter 200ms
"""


class Gateway(worlds.Gateway):
    """A gateway with listeners of its own for what the proxies say of their clients."""

    def __init__(self):
        (port,) = worlds.free_ports(1)
        self.captures = WORLD.directory / "behind.captures.jsonl"
        WORLD.emulator("behind.emulator", port, self.captures)
        super().__init__(WORLD, "behind", port)

    def configure(self, world, config, ports, file):
        self.proxied, self.secure, self.believing = worlds.free_ports(3)
        tls = config["listeners"][1]["tls"]
        config["listeners"] += [
            {"name": "proxied", "address": f"127.0.0.1:{self.proxied}", "proxy_protocol": {"from": PROXY}},
            {"name": "secure", "address": f"127.0.0.1:{self.secure}", "proxy_protocol": {"from": PROXY}, "tls": tls},
            {
                "name": "believing",
                "address": f"127.0.0.1:{self.believing}",
                "forwarded": {"from": PROXY, "header": "x-forwarded-for"},
                "health": {"path": "/healthz"},
            },
        ]
        file.write_text(json.dumps(config, indent=1))


@unittest.skipIf(ABSENT, ABSENT)
class Behind(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.gateway, cls.token = Gateway(), WORLD.token("collector")
        names = ("default", "kept", "snippet", "forwarded", "grpc", "v1", "v2", "passed", "asked", "touched")
        cls.ports = dict(zip(names, worlds.free_ports(len(names))))
        listeners = {name: getattr(cls.gateway, name) for name in ("plain", "proxied", "secure", "believing")}
        home = WORLD.directory / "proxies"
        home.mkdir()
        (home / "nginx.conf").write_text(NGINX.format(**cls.ports, **listeners))
        (home / "haproxy.cfg").write_text(HAPROXY.format(**cls.ports, **listeners))
        root = Path(os.environ["PROXIES"])
        (libraries,) = root.glob("usr/lib/*-linux-gnu")
        env = {"LD_LIBRARY_PATH": str(libraries)}
        nginx = [root / "usr/sbin/nginx", "-p", home, "-c", home / "nginx.conf", "-e", "stderr"]
        cls.nginx = WORLD.spawn("nginx", nginx, cls.ports["kept"], env)
        haproxy = [root / "usr/sbin/haproxy", "-db", "-f", home / "haproxy.cfg"]
        cls.haproxy = WORLD.spawn("haproxy", haproxy, cls.ports["v2"], env)

    def export(self, port, name, tls=False, headers=()):
        """Status, headers and text of an export from the client's address; how often the backend has it."""
        if tls:
            client = http.client.HTTPSConnection("localhost", port, timeout=20, source_address=(CLIENT, 0), context=WORLD.trust)
        else:
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=20, source_address=(CLIENT, 0))
        head = {"authorization": f"Bearer {self.token}", "content-type": "application/json", **dict(headers)}
        client.request("POST", "/v1/traces", worlds.plain_export("checkout", name), head)
        answer = client.getresponse()
        text = answer.read().decode(errors="replace")
        client.close()
        found = [r for r in worlds.lines_of(self.gateway.captures) if name.encode() in worlds.body_of(r)]
        for request in found:
            self.assertFalse({"upgrade", "x-forwarded-for", "authorization"} & request["headers"].keys())
        return answer.status, answer.headers, text, len(found)

    def record(self, headers):
        number = headers["lightkeeper-request-id"]
        found = lambda: [r for r in self.gateway.records() if r.get("request_id") == number]
        (record,) = worlds.eventually("the record", found)
        return record

    def accepted(self, port, name, address, **more):
        status, headers, text, count = self.export(port, name, **more)
        self.assertEqual((status, count), (200, 1), text)
        self.assertEqual(self.record(headers)["client_address"].rsplit(":", 1)[0], address)

    def test_nginx_over_http_1_1(self):
        self.accepted(self.ports["kept"], "nginx-kept", "127.0.0.1")

    def test_nginx_with_the_snippet_for_websockets(self):
        self.accepted(self.ports["snippet"], "nginx-snippet", "127.0.0.1")
        self.accepted(self.ports["snippet"], "nginx-upgrade", "127.0.0.1", headers={"upgrade": "websocket"})

    def test_nginx_over_its_default_http_1_0(self):
        """Nothing arrives, and the refusal says what to set."""
        status, _, text, count = self.export(self.ports["default"], "nginx-default")
        self.assertEqual((status, count), (505, 0), text)
        self.assertIn("proxy_http_version 1.1", text)

    def test_nginx_over_grpc(self):
        body = stamps.MESSAGES["traces"]()
        group = body.resource_spans.add()
        group.resource.attributes.add(key="service.name").value.string_value = "checkout"
        group.scope_spans.add().spans.add(name="nginx-grpc", trace_id=b"t" * 16, span_id=b"s" * 8)
        with grpc.insecure_channel(f"127.0.0.1:{self.ports['grpc']}") as channel:
            metadata = (("authorization", f"Bearer {self.token}"),)
            told = channel.unary_unary(TRACES)(body.SerializeToString(), metadata=metadata, timeout=20)
        self.assertEqual(told, b"")
        found = [r for r in worlds.lines_of(self.gateway.captures) if b"nginx-grpc" in worlds.body_of(r, r["path"] == TRACES)]
        self.assertEqual(len(found), 1)
        self.assertEqual(found[0]["headers"]["lightstep-access-token"], settings.ACCESS_TOKENS["checkout-prod"])

    def test_nginx_tells_of_its_client(self):
        self.accepted(self.ports["forwarded"], "nginx-forwarded", CLIENT)
        # What the client claimed stands before what nginx adds.
        forged = {"x-forwarded-for": "203.0.113.7"}
        self.accepted(self.ports["forwarded"], "nginx-forged", CLIENT, headers=forged)

    def test_a_client_tells_of_itself(self):
        """From a network that the listener does not name, the header is nothing."""
        forged = {"x-forwarded-for": "203.0.113.7"}
        self.accepted(self.gateway.believing, "forged-alone", CLIENT, headers=forged)

    def test_haproxy_with_the_proxy_protocol(self):
        self.accepted(self.ports["v1"], "haproxy-v1", CLIENT)
        self.accepted(self.ports["v2"], "haproxy-v2", CLIENT)
        self.accepted(self.ports["passed"], "haproxy-tls", CLIENT, tls=True)

    def test_haproxy_over_http(self):
        self.accepted(self.ports["asked"], "haproxy-http", CLIENT)
        self.accepted(self.ports["touched"], "haproxy-touched", "127.0.0.1")

    def test_checks_leave_no_record(self):
        """HAProxy's checks of a path are counted, and all records are of calls that a test made.

        Its checks by a connection alone reset it before the handshake of TCP ends: the gateway sees none of them.
        """

        def counted(name):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.gateway.admin}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
            return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"lightkeeper_{name}_total"))

        worlds.eventually("three checks", lambda: counted("health_checks") >= 3)
        records = self.gateway.records()
        self.assertLessEqual({record["event"] for record in records}, {"start", "call"})
        self.assertNotIn("/healthz", {record["path"] for record in records if record["event"] == "call"})
