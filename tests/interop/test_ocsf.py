"""The schema of OCSF 1.8, as the package ocsf-json-schema has it, before what `audit export --ocsf` prints.

Scenario: the trail of the world's gateway, in which people and workloads were let in and refused; then a trail with a record for every
event and every reason that docs/reason-codes.md names. Guarantees: each event has the form of its class, in which nothing is deprecated;
every class that a SIEM's rules go by is there, and each record is one event.
"""

import json
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

import world as worlds
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

LIGHTKEEPER = os.environ["LIGHTKEEPER"]
SCHEMA = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.8.0"))
CLASSES = {
    2004: "detection_finding",
    3002: "authentication",
    4001: "network_activity",
    4002: "http_activity",
    6002: "application_lifecycle",
    6003: "api_activity",
}
DOCUMENT = (worlds.HERE / "../../docs/reason-codes.md").read_text()


def exported(file):
    done = subprocess.run([LIGHTKEEPER, "audit", "export", "--ocsf", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def every_record():
    """One record for each row of the page: of reasons a call's, of events its own."""
    base = {"time": "2026-11-30T08:00:00.123Z", "policy_version": "0123456789abcdef", "bindings": [], "items": None}
    base |= {"bytes_in": 10, "bytes_out": 20, "duration_us": 30}
    head = {"listener": "plain", "client_address": "192.0.2.7", "http_method": "POST", "path": "/v1/traces"}
    who = {"identity": {"method": "oidc", "issuer": "okta", "subject": "ann", "facts": {"groups": ["sre"]}}}
    where = {"operation": "ingest.traces", "app": "shop/checkout", "project": "checkout-prod", "bindings": ["sre"]}
    rows = re.findall(r"^\| `([a-z0-9_]+)` \| (`[a-z_]+`|[^|]*) \|", DOCUMENT, re.MULTILINE)
    for code, second in rows:
        event = re.fullmatch(r"`([a-z_]+)`", second)
        if event:
            yield base | {"event": event[1], "reason": code, "detail": "told"}
            yield base | head | {"event": event[1], "reason": code}
            continue
        status = re.match(r"\d+", second)
        told = {"event": "call", "reason": code, "status": int(status[0]) if status else 200, "decision": "deny" if code != "ok" else "allow"}
        yield base | head | told
        yield base | head | who | where | told
        yield base | head | who | told | {"http_method": "GET", "operation": "query.streams.read", "certificate": {"ca": "x", "sha256": "00"}}
        yield base | told


class Ocsf(unittest.TestCase):
    def check(self, records, events):
        self.assertEqual(len(records), len(events))
        validators = {}
        for record, event in zip(records, events):
            uid = event["class_uid"]
            self.assertIn(uid, CLASSES, event)
            if uid not in validators:
                self.assertEqual(SCHEMA.lookup_class_name_from_uid(class_uid=uid), CLASSES[uid])
                schema = SCHEMA.get_class_schema(class_name=CLASSES[uid], profiles=[])
                self.assertFalse(schema.get("deprecated"), CLASSES[uid])
                validators[uid] = schema, Draft202012Validator(schema)
            schema, validator = validators[uid]
            wrong = [f"{list(error.absolute_path)}: {error.message[:300]}" for error in validator.iter_errors(event)]
            self.assertEqual(wrong, [], f"{record}\n{event}")
            old = [key for key in event if schema["properties"][key].get("deprecated")]
            self.assertEqual(old, [], event)
            self.assertEqual(event["metadata"]["sequence"], record["seq"])
            self.assertEqual(event["type_uid"], uid * 100 + event["activity_id"])
        return {CLASSES[uid] for uid in validators}

    def test_a_gateways_trail(self):
        world = worlds.shared()
        for path, token in [("/.lightkeeper/whoami", world.token("collector")), ("/.lightkeeper/whoami", None), ("/nothing", None)]:
            world.get(path, token)
        world.get("/.lightkeeper/whoami", "no.token.here")
        copy = world.directory / "ocsf.jsonl"
        records = worlds.eventually("four calls", lambda: len(found := world.gateway.records()) > 4 and found)
        copy.write_text("".join(json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n" for record in records))
        classes = self.check(records, exported(copy))
        self.assertLessEqual({"api_activity", "authentication", "application_lifecycle"}, classes)

    def test_every_kind_of_record(self):
        records = [{"seq": seq, "request_id": f"{seq:032x}", **record} for seq, record in enumerate(every_record())]
        self.assertGreater(len(records), 400)
        with tempfile.TemporaryDirectory() as name:
            file = Path(name) / "audit.jsonl"
            file.write_text("".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records))
            self.assertEqual(self.check(records, exported(file)), set(CLASSES.values()))
