"""AWS's own command line and library sign for the gateway; a double of STS says who signed.

Scenario of all: a workload has the credentials of an IAM role or user, and nothing else. Guarantees: what `aws eks get-token` prints
and what botocore signs is the role, over HTTP and gRPC, in either header; what was signed for a cluster, by a stranger or with other
keys is refused; AWS is asked once for a proof, with nothing of the caller's but what it signed.
"""

import base64
import json
import os
import subprocess
import sys
import unittest
import urllib.error
import urllib.request
from pathlib import Path

import botocore.session
import grpc
from botocore.credentials import Credentials
from botocore.signers import RequestSigner
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExportResult

import settings
import sts as sts_double
import test_python_sdk as sdk
import world as worlds

AUDIENCE, ACCOUNT, STRANGER = "lightkeeper:gateway.acme.example", "123456789012", "210987654321"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/checkout-lambda"


def caller(account, kind, name, session):
    """A caller of AWS: its access key, and what STS knows of it."""
    key = f"{kind}{account}{name.upper()}".replace("-", "")
    token = "IQoJb3JpZ2luX2VjE/+abc==" * 20 if session else None
    if session:
        arn, user = f"arn:aws:sts::{account}:assumed-role/{name}/{session}", f"AROA{account}EXAMPLE:{session}"
    else:
        arn, user = f"arn:aws:iam::{account}:user/{name}", f"AIDA{account}EXAMPLE"
    return key, (f"secret/of+{name}", token, account, arn, user)


LAMBDA = caller(ACCOUNT, "ASIA", "checkout-lambda", "i-0abc")
USER = caller(ACCOUNT, "AKIA", "ada", None)
OTHER = caller(STRANGER, "ASIA", "checkout-lambda", "i-0abc")


class AwsGateway(worlds.Gateway):
    """A gateway that knows the callers of one account."""

    def __init__(self, world, name, upstream, sts):
        self.sts = sts
        super().__init__(world, name, upstream)

    def configure(self, world, config, ports, file):
        place = {"connect": f"127.0.0.1:{self.sts.port}", "ca": str(self.sts.certificate)}
        regions = ["eu-west-1", "us-east-1"]
        config["aws"] = [{"name": "aws", "audience": AUDIENCE, "accounts": [ACCOUNT], "regions": regions, **place}]
        roles = {"aws": f"arn:aws:iam::{ACCOUNT}:role/checkout-*", "session": "i-*"}
        binding = {"name": "roles", "subjects": [roles], "permissions": ["ingest.*"], "apps": ["shop/checkout"]}
        policy = {**settings.POLICY, "bindings": [*settings.POLICY["bindings"], binding]}
        config["policy"] = "aws-policy.yaml"
        (self.directory / "aws-policy.yaml").write_text(json.dumps(policy, indent=1))
        file.write_text(json.dumps(config, indent=1))


def command_line(who, audience, region="eu-west-1"):
    """The token that AWS's command line prints for a cluster of this name."""
    key, (secret, session, *_) = who
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_EC2_METADATA_DISABLED": "true"}
    environment |= {"AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere", "AWS_STS_REGIONAL_ENDPOINTS": "regional"}
    if session:
        environment["AWS_SESSION_TOKEN"] = session
    aws = Path(sys.executable).parent / "aws"
    command = [sys.executable, aws, "eks", "get-token", "--region", region, "--cluster-name", audience]
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60).stdout
    return json.loads(printed)["status"]["token"]


def library(who, audience, region="eu-west-1"):
    """The same by botocore alone. It lives longer than the command line's, so that no two of one second are the same."""
    key, (secret, session, *_) = who
    service = botocore.session.get_session().get_service_model("sts").service_id
    events = botocore.session.get_session().get_component("event_emitter")
    signer = RequestSigner(service, region, "sts", "v4", Credentials(key, secret, session), events)
    url = f"https://sts.{region}.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15"
    request = {"method": "GET", "url": url, "body": {}, "headers": {"x-k8s-aws-id": audience}, "context": {}}
    signed = signer.generate_presigned_url(request, region_name=region, expires_in=120, operation_name="")
    return "k8s-aws-v1." + base64.urlsafe_b64encode(signed.encode()).decode().rstrip("=")


class Aws(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = worlds.shared()
        cls.sts = sts_double.Sts(cls.world.directory, dict([LAMBDA, USER, OTHER]))
        (port,) = worlds.free_ports(1)
        cls.captures = cls.world.directory / "aws-captures.jsonl"
        cls.world.emulator("aws-emulator", port, cls.captures)
        cls.gateway = AwsGateway(cls.world, "aws", port, cls.sts)

    @classmethod
    def tearDownClass(cls):
        cls.sts.stop()

    def export(self, token, header="authorization"):
        """Status and record of an export of one span."""
        body = worlds.plain_export("checkout", "aws")
        request = urllib.request.Request(f"http://127.0.0.1:{self.gateway.plain}/v1/traces", body)
        request.add_header(header, f"Bearer {token}" if header == "authorization" else token)
        request.add_header("content-type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                status, request_id = answer.status, answer.headers["lightkeeper-request-id"]
        except urllib.error.HTTPError as error:
            status, request_id = error.code, error.headers["lightkeeper-request-id"]
        find = lambda: [record for record in self.gateway.records() if record.get("request_id") == request_id]
        return status, worlds.eventually("the record", find)[0]

    def test_what_aws_signs_is_the_role(self):
        for sign in (command_line, library):
            for region in ("eu-west-1", "us-east-1"):
                token = sign(LAMBDA, AUDIENCE, region)
                self.assertTrue(token.startswith("k8s-aws-v1."))
                before = len(self.sts.calls)
                for header in ("authorization", "lightstep-access-token"):
                    with self.subTest(sign=sign.__name__, region=region, header=header):
                        status, record = self.export(token, header)
                        self.assertEqual((status, record["reason"]), (200, "ok"), record)
                        identity = dict(record["identity"])
                        self.assertEqual(identity.pop("aws")["account"], ROLE.split(":")[4])
                        self.assertEqual(identity, {"method": "aws", "issuer": "aws", "subject": ROLE})
                        self.assertEqual((record["app"], record["bindings"]), ("shop/checkout", ["roles"]))
                asked = self.sts.calls[before:]
                self.assertEqual(len(asked), 1, asked)
                path, headers, status = asked[0]
                names = sorted(name.lower() for name in headers)
                self.assertEqual(names, ["accept", "host", "user-agent", "x-k8s-aws-id"])
                self.assertEqual((status, headers["x-k8s-aws-id"]), (200, AUDIENCE))
        written = self.gateway.written()
        self.assertNotIn("k8s-aws-v1", written)
        self.assertNotIn(LAMBDA[0], written)
        self.assertNotIn("k8s-aws-v1", self.captures.read_text())

    def test_over_grpc(self):
        token = library(LAMBDA, AUDIENCE)
        exporter = OTLPSpanExporter(
            endpoint=f"127.0.0.1:{self.gateway.plain}",
            insecure=True,
            compression=grpc.Compression.NoCompression,
            headers=(("authorization", f"Bearer {token}"),),
            timeout=20,
        )
        self.assertEqual(exporter.export(sdk.spans("aws-grpc")), SpanExportResult.SUCCESS)
        exporter.shutdown()

    def test_what_is_not_for_us_is_refused(self):
        thief = (LAMBDA[0], ("guessed", *LAMBDA[1][1:]))
        for token, expected in [
            (command_line(LAMBDA, "prod-cluster"), (401, "aws_refused")),
            (command_line(LAMBDA, "lightkeeper:other.acme.example"), (401, "aws_refused")),
            (library(thief, AUDIENCE), (401, "aws_refused")),
            (command_line(LAMBDA, AUDIENCE, "eu-central-1"), (401, "aws_host_unknown")),
            (library(OTHER, AUDIENCE), (403, "aws_account_unknown")),
            (command_line(USER, AUDIENCE), (403, "no_writable_app")),
            (library(LAMBDA, AUDIENCE)[:-1], (401, "aws_proof_malformed")),
        ]:
            with self.subTest(expected=expected):
                status, record = self.export(token)
                self.assertEqual((status, record["reason"]), expected, record)


if __name__ == "__main__":
    unittest.main()
