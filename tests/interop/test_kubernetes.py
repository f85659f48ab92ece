"""A cluster's own API server as the issuer of service-account tokens, and as who reviews them.

Scenario: kube-apiserver and etcd, without nodes; a pod's token, bound to the pod, exports through a gateway with `review: on`, whose
own service account may ask for reviews; then the pod is deleted, and in the end the server is gone. Guarantees: the token identifies its service account by the
server's keys; one for another audience does not; the token of a pod that is gone is refused, long before it expires.
"""

import json
import os
import unittest
from pathlib import Path

import requests
import settings
import world as worlds

WORLD = worlds.shared()
ABSENT = os.environ.get("KUBERNETES_ABSENT")
SUBJECT = "system:serviceaccount:default:collector"


class Gateway(worlds.Gateway):
    """A gateway in the cluster whose API server listens on `server`; `folder`: its pod's files; `review`: as in its settings."""

    def __init__(self, name, server, folder, review):
        self.server, self.folder, self.review = server, folder, review
        (port,) = worlds.free_ports(1)
        self.captures = WORLD.directory / f"{name}.captures.jsonl"
        WORLD.emulator(f"{name}.emulator", port, self.captures)
        super().__init__(WORLD, name, port)

    def configure(self, world, config, ports, file):
        cluster = {"name": "cluster", "issuer": f"kubernetes://localhost:{self.server}", "audiences": ["lightkeeper"]}
        config["issuers"].append({**cluster, "review": self.review, "kubernetes": {"folder": str(self.folder)}})
        subjects = [{"issuer": "cluster", "subject": SUBJECT}]
        bound = {"name": "pods", "subjects": subjects, "permissions": ["ingest.*"], "apps": ["shop/checkout"]}
        config["policy"] = f"{self.name}.policy.yaml"
        policy = {**settings.POLICY, "bindings": [*settings.POLICY["bindings"], bound]}
        (self.directory / config["policy"]).write_text(json.dumps(policy))
        file.write_text(json.dumps(config, indent=1))


@unittest.skipIf(ABSENT, ABSENT)
class Cluster(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        binaries, folder = Path(os.environ["KUBERNETES"]), WORLD.directory / "kubernetes"
        folder.mkdir()
        data, peers, cls.port = worlds.free_ports(3)
        etcd = {
            "data-dir": folder / "etcd",
            "listen-client-urls": f"http://127.0.0.1:{data}",
            "advertise-client-urls": f"http://127.0.0.1:{data}",
            "listen-peer-urls": f"http://127.0.0.1:{peers}",
        }
        (program,) = [one for one in ("etcd", "v3", "server") if (binaries / one).exists()]
        WORLD.spawn("etcd", [binaries / program, *(f"--{k}={v}" for k, v in etcd.items())], data)
        tokens = folder / "tokens.csv"
        tokens.write_text('root-token,root,1,"system:masters"\n')
        options = {
            "etcd-servers": f"http://127.0.0.1:{data}",
            "bind-address": "127.0.0.1",
            "secure-port": cls.port,
            "cert-dir": folder,
            "tls-cert-file": WORLD.certs / "server.pem",
            "tls-private-key-file": WORLD.certs / "server.key",
            "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
            "service-account-key-file": WORLD.certs / "server.pem",
            "service-account-signing-key-file": WORLD.certs / "server.key",
            "service-cluster-ip-range": "10.0.0.0/24",
            "authorization-mode": "RBAC",
            "token-auth-file": tokens,
        }
        process = WORLD.spawn("kube-apiserver", [binaries / "kube-apiserver", *(f"--{k}={v}" for k, v in options.items())], cls.port)
        ready = lambda: cls.ask("GET", "/readyz", raw=True).status_code == 200
        worlds.eventually("the API server", ready, process.text)
        core = "/api/v1/namespaces/default"
        for name in ("collector", "gateway"):
            cls.ask("POST", f"{core}/serviceaccounts", {"metadata": {"name": name}})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"}
        account = [{"kind": "ServiceAccount", "name": "gateway", "namespace": "default"}]
        binding = {"metadata": {"name": "gateway"}, "roleRef": role, "subjects": account}
        cls.ask("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
        pod = folder / "pod"
        pod.mkdir()
        (pod / "token").write_text(cls.token("gateway"))
        (pod / "ca.crt").write_text(WORLD.ca.read_text())
        cls.core, cls.server = core, process
        cls.gateway, cls.lenient = (Gateway(f"in-cluster-{review}", cls.port, pod, review) for review in ("on", "prefer"))

    @classmethod
    def ask(cls, method, path, body=None, raw=False):
        """The API server's answer to its administrator."""
        headers = {"authorization": "Bearer root-token"}
        url = f"https://localhost:{cls.port}{path}"
        answer = requests.request(method, url, json=body, headers=headers, verify=str(WORLD.ca), timeout=20)
        if raw:
            return answer
        assert answer.status_code < 300, f"{path}: {answer.text}"
        return answer.json()

    @classmethod
    def token(cls, account, audiences=None, pod=None):
        wanted = {"expirationSeconds": 3600}
        if audiences:
            wanted["audiences"] = audiences
        if pod:
            wanted["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": pod["name"], "uid": pod["uid"]}
        path = f"/api/v1/namespaces/default/serviceaccounts/{account}/token"
        return cls.ask("POST", path, {"spec": wanted})["status"]["token"]

    def export(self, token, name, gateway=None):
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        url, body = f"https://localhost:{(gateway or self.gateway).tls}/v1/traces", worlds.plain_export("checkout", name)
        return requests.post(url, body, headers=headers, verify=str(WORLD.ca), timeout=20).status_code

    def test_a_pods_token(self):
        container = {"name": "a", "image": "none"}
        spec = {"serviceAccountName": "collector", "containers": [container]}
        pod = self.ask("POST", f"{self.core}/pods", {"metadata": {"name": "collector-1"}, "spec": spec})["metadata"]
        token = self.token("collector", ["lightkeeper"], pod)
        worlds.eventually("the cluster's keys", lambda: self.export(token, "keys") != 503)
        self.assertEqual(self.export(token, "a pod"), 200)
        status, _, body = WORLD.get("/.lightkeeper/whoami", token, self.gateway.tls)
        self.assertEqual((status, json.loads(body)["subject"]), (200, SUBJECT))
        self.assertEqual(self.export(self.token("collector", ["another"], pod), "elsewhere"), 401)
        self.assertEqual(self.export(self.token("gateway", ["lightkeeper"]), "not bound"), 403)
        self.ask("DELETE", f"{self.core}/pods/collector-1", {"gracePeriodSeconds": 0})
        worlds.eventually("the token ends with its pod", lambda: self.export(token, "late") == 401, patience=60)

    def test_an_api_server_that_goes(self):
        """Runs last: what is not reviewed counts with `prefer` alone, and with `on` is no fault of the pod's."""
        token = self.token("collector", ["lightkeeper"])
        for gateway in (self.gateway, self.lenient):
            known = lambda gateway=gateway: self.export(self.token("gateway", ["lightkeeper"]), "keys", gateway) == 403
            worlds.eventually("the cluster's keys", known)
        self.server.stop()
        self.assertEqual(self.export(token, "unreviewed"), 503)
        self.assertEqual(self.export(token, "unreviewed", self.lenient), 200)


if __name__ == "__main__":
    unittest.main()
