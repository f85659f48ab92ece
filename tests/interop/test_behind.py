"""nginx from Debian before the gateway, as ingress controllers set it up.

Scenario: clients reach the gateway through nginx: by its default HTTP/1.0, HTTP/1.1, the snippet for WebSockets, gRPC.
Guarantees: exports arrive once, without the headers of an upgrade; what cannot be served is refused with words that name
the setting.
"""

import http.client
import os
import unittest
from pathlib import Path

import grpc
import settings
import stamps
import world as worlds

WORLD = worlds.shared()
ABSENT = os.environ.get("PROXIES_ABSENT")
CLIENT = "127.0.0.9"  # the address that the proxies see; nginx itself comes from 127.0.0.1
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
    listen 127.0.0.1:{grpc} http2;
    location / {{ grpc_pass grpc://127.0.0.1:{plain}; }}
  }}
}}
"""


class Gateway(worlds.Gateway):
    """A gateway of its own, whose records are of calls through the proxies."""

    def __init__(self):
        (port,) = worlds.free_ports(1)
        self.captures = WORLD.directory / "behind.captures.jsonl"
        WORLD.emulator("behind.emulator", port, self.captures)
        super().__init__(WORLD, "behind", port)


@unittest.skipIf(ABSENT, ABSENT)
class Behind(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.gateway, cls.token = Gateway(), WORLD.token("collector")
        names = ("default", "kept", "snippet", "grpc")
        cls.ports = dict(zip(names, worlds.free_ports(len(names))))
        home = WORLD.directory / "proxies"
        home.mkdir()
        (home / "nginx.conf").write_text(NGINX.format(**cls.ports, plain=cls.gateway.plain))
        root = Path(os.environ["PROXIES"])
        (libraries,) = root.glob("usr/lib/*-linux-gnu")
        env = {"LD_LIBRARY_PATH": str(libraries)}
        nginx = [root / "usr/sbin/nginx", "-p", home, "-c", home / "nginx.conf", "-e", "stderr"]
        cls.nginx = WORLD.spawn("nginx", nginx, cls.ports["kept"], env)

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
