"""What the gateways of the interoperability tests are given: configuration and policy, as plain values.

JSON is YAML; the values are in the shapes of the shipped examples.
"""

# The credentials with which the emulator starts.
PROJECTS = ["shop-prod", "checkout-prod", "payments-prod", "platform-prod"]
ACCESS_TOKENS = {project: f"ingest-token-of-{project}-5f1d" for project in PROJECTS}
READ_KEY, WRITE_KEY = "api-key-viewer-83ac", "api-key-editor-c40e"
ENVIRONMENT = {f"TOKEN_{number}": ACCESS_TOKENS[project] for number, project in enumerate(PROJECTS)}
ENVIRONMENT |= {"READ_KEY": READ_KEY, "WRITE_KEY": WRITE_KEY}
RESOURCES = [f"urn:lightkeeper:{name}" for name in ("rs256", "ps384", "es256", "eddsa")]
# Whom `collector.pem` of `lightkeeper certs` names.
COLLECTOR = "spiffe://prod.acme.example/ns/checkout/sa/collector"

POLICY = {
    "version": 1,
    "apps": {
        "shop": {
            "project": "shop-prod",
            "apps": {
                "checkout": {"project": "checkout-prod", "services": ["checkout"]},
                "payments": {"project": "payments-prod", "services": ["payments"]},
            },
        },
        "platform": {"project": "platform-prod", "services": ["agent"]},
    },
    "bindings": [
        {
            "name": "collectors",
            "subjects": [
                {"issuer": "provider", "group": "collectors"},
                {"issuer": "provider", "subject": "short-lived"},
                {"spiffe": COLLECTOR},
            ],
            "permissions": ["ingest.*"],
            "apps": ["shop/checkout"],
        },
        {
            "name": "clusters",
            "subjects": [{"issuer": "provider", "subject": "cluster"}],
            "permissions": ["ingest.*"],
            "apps": ["shop"],
        },
        {
            "name": "legacy-tracers",
            "subjects": [{"issuer": "provider", "subject": "legacy"}, {"issuer": "provider", "subject": "hammer"}],
            "permissions": ["ingest.*"],
            "apps": ["shop/checkout"],
        },
        {
            "name": "analysts",
            "subjects": [{"issuer": "provider", "subject": "analyst"}],
            "permissions": ["query.*.read", "ingest.*"],
            "apps": ["/"],
        },
    ],
}

# What people may do, whom `people.mjs` knows.
PEOPLE = [
    {
        "name": "shop-developers",
        "subjects": [{"issuer": "people", "group": "shop-developers"}],
        # Destinations hold secrets: a pattern does not read them.
        "permissions": ["query.*.read", "query.*.write", "query.destinations.read", "ingest.*"],
        "apps": ["shop"],
    },
    {
        "name": "sre",
        "subjects": [{"issuer": "people", "group": "sre"}],
        "permissions": ["query.*.read", "gateway.audit.read"],
        "apps": ["/"],
    },
]
CONSOLE_SECRET = "console-secret-of-the-tests"


def console(config, ports, ca, people, groups="id_token"):
    """The gateway's configuration `config`, and a login with the provider `people`."""
    config["listeners"][1]["public_url"] = f"https://localhost:{ports['tls']}"
    # The command line's tokens are for the gateway's own address (RFC 8707).
    audiences = [config["listeners"][1]["public_url"]]
    config["issuers"].append({"name": "people", "issuer": people, "audiences": audiences, "ca": str(ca), "leeway": "1s"})
    config["web"] = {
        "login": {
            "issuer": "people",
            "client_id": "lightkeeper-web",
            "client_secret": {"env": "CONSOLE_SECRET"},
            "scopes": ["openid", "profile", "email", "groups"],
            "groups": groups,
            "cli": {"client_id": "lightkeeper-cli"},
        }
    }
    config["vault"]["session_keys"] = [{"env": "SESSION_KEY"}]
    # Browsers without patience, and Terraform's, ask more than a person.
    config["query"] = {"rates": {"general": "10000/s"}}
    apps = {**POLICY["apps"], "shop": {**POLICY["apps"]["shop"], "owners": ["shop-leads@acme.example"]}}
    return config, {**POLICY, "apps": apps, "bindings": [*POLICY["bindings"], *PEOPLE]}


def gateway(name, ports, certs, issuer, upstream, client_tokens):
    """The configuration of one gateway; `ports` are those of its listeners and `admin`."""
    tls = {"certificate": str(certs / "server.pem"), "key": str(certs / "server.key")}
    workloads = {"name": "workloads", "file": str(certs / "ca.pem"), "trust_domains": ["prod.acme.example"]}
    mtls = {**tls, "client_ca": [workloads], "client_certificate": "required"}
    backend = {"profile": "lightstep", "url": upstream}
    return {
        "organization": "acme",
        "listeners": [
            {"name": "plain", "address": f"127.0.0.1:{ports['plain']}"},
            {"name": "tls", "address": f"127.0.0.1:{ports['tls']}", "tls": tls},
            {"name": "mtls", "address": f"127.0.0.1:{ports['mtls']}", "tls": mtls},
        ],
        "admin": {"address": f"127.0.0.1:{ports['admin']}"},
        "issuers": [
            {
                "name": "provider",
                "issuer": issuer,
                "audiences": RESOURCES,
                "ca": str(certs / "ca.pem"),
                "leeway": "1s",
            }
        ],
        "client_tokens": client_tokens,
        "upstreams": {"ingest": backend, "query": backend},
        "vault": {
            "projects": {
                project: {"access_token": [{"env": f"TOKEN_{number}"}]} for number, project in enumerate(PROJECTS)
            },
            "api_keys": {"read": {"env": "READ_KEY"}, "write": {"env": "WRITE_KEY"}},
        },
        "policy": "policy.yaml",
        "audit": {"file": f"{name}.audit.jsonl"},
    }
