"""A stamped export, judged by the Python SDK's own decoder.

Scenario: exports of every signal with forged origins at every level and with fields that no decoder knows, sent
as they are over HTTP and gRPC, plain and gzipped. Guarantee: what the backend received decodes to exactly what
the sender sent, less its forgeries, plus the verified sender's stamp on every resource.
"""

import gzip
import json
import unittest
import urllib.request

import grpc
import stamps
import world as worlds

WORLD = worlds.shared()
# Fields 2000 to 2003 of four wire types, which no message of OTLP has or had.
UNKNOWN = bytes.fromhex("807d 96 01") + bytes.fromhex("897d 0102030405060708") + bytes.fromhex("927d 03 616263")
UNKNOWN += bytes.fromhex("9d7d 01020304")
FORGED = [
    {"key": "lightkeeper.identity", "value": {"stringValue": "the-president"}},
    {"key": "lightkeeper.app", "value": {"intValue": "7"}},
    {"key": "lightkeeper.anything", "value": {"arrayValue": {"values": [{"boolValue": True}]}}},
]
KEPT = [
    {"key": "http.route", "value": {"stringValue": "/ä/ü"}},
    {"key": "lightkeeper", "value": {"stringValue": "not in the reserved namespace"}},
    {"key": "nested", "value": {"kvlistValue": {"values": [{"key": "deep", "value": {"bytesValue": "AP8="}}]}}},
]
MIXED = [KEPT[0], FORGED[0], KEPT[1], FORGED[1], KEPT[2], FORGED[2]]
TIMES = {"startTimeUnixNano": "1763800000000000000", "timeUnixNano": "1763800000000000001"}
IDS = {"traceId": "AAECAwQFBgcICQoLDA0ODw==", "spanId": "AAECAwQFBgc="}


def point(**more):
    exemplar = {"filteredAttributes": MIXED, "asDouble": 2.5, **IDS, "timeUnixNano": TIMES["timeUnixNano"]}
    return {"dataPoints": [{"attributes": MIXED, "exemplars": [exemplar], **TIMES, **more}]}


def items(signal, name):
    """One scope's items of a signal."""
    if signal == "traces":
        event = {"name": "event", "attributes": MIXED}
        span = {"name": name, **IDS, "attributes": MIXED, "events": [event], "links": [{**IDS, "attributes": MIXED}]}
        return {"spans": [span, {"name": name}]}
    if signal == "logs":
        return {"logRecords": [{"body": {"stringValue": name}, "attributes": MIXED, **IDS}]}
    summary = {"dataPoints": [{"attributes": MIXED, "count": "3", "sum": 1.5}]}
    metrics = [
        {"gauge": point(asInt="-3")},
        {"sum": {**point(asDouble=0.5), "isMonotonic": True, "aggregationTemporality": 2}},
        {"histogram": point(count="2", bucketCounts=["1", "1"], explicitBounds=[0.0])},
        {"exponentialHistogram": point(count="2", scale=-4, positive={"bucketCounts": ["1"]})},
        {"summary": summary},
    ]
    return {"metrics": [{"name": name, **metric} for metric in metrics]}


def export(signal, name):
    """An export of two resources as bytes, with forgeries and unknown fields at every level."""
    from google.protobuf import json_format

    scope = {"name": "interop", "attributes": MIXED}
    scopes = "scope" + stamps.GROUPS[signal][0].removeprefix("resource")
    service = {"key": "service.name", "value": {"stringValue": "checkout"}}
    group = {
        "resource": {"attributes": [*MIXED, service], "droppedAttributesCount": 3},
        scopes: [{"scope": scope, "schemaUrl": "https://opentelemetry.io/schemas/1.38.0", **items(signal, name)}],
    }
    message = stamps.MESSAGES[signal]()
    json_format.ParseDict({stamps.GROUPS[signal][0]: [group, group]}, message)
    sprinkle(message)
    return message.SerializeToString()


def sprinkle(message):
    """Adds fields that its decoder does not know to a message and to all messages in it.

    Not to the name of a service, by which an app is found: one that is not plain is refused.
    """
    if getattr(message, "key", None) == "service.name":
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                sprinkle(inner)
    message.MergeFromString(UNKNOWN)


class Stamp(unittest.TestCase):
    maxDiff = None

    def check(self, signal, sent, name, framed=False):
        """What was captured under `name` is what was sent, edited by the SDK's own decoder and encoder."""
        named = [r for r in WORLD.captured() if name.encode() in worlds.body_of(r, r["path"].startswith("/open"))]
        self.assertEqual(len(named), 1)
        received = stamps.MESSAGES[signal].FromString(worlds.body_of(named[0], framed))
        expected = stamps.MESSAGES[signal].FromString(sent)
        self.assertGreater(len(stamps.unstamped(expected)), 15)
        stamp = stamps.of("shop/checkout", "collector")
        for group in getattr(received, stamps.GROUPS[signal][1]):
            found = {a.key: a.value.string_value for a in group.resource.attributes}
            self.assertEqual({key: found.get(key) for key in stamp}, stamp)
        taken = stamps.unstamped(received)
        self.assertEqual(len(taken), 2 * len(stamp), taken)
        self.assertEqual(str(received), str(expected))
        # The text shows no unknown fields; the bytes have them.
        self.assertEqual(received.SerializeToString().hex(), expected.SerializeToString().hex())
        self.assertGreater(received.SerializeToString().count(UNKNOWN), 10)
        return named[0]

    def test_http(self):
        token = WORLD.token("collector")
        for signal in stamps.MESSAGES:
            for coding in ("identity", "gzip"):
                with self.subTest(signal=signal, coding=coding):
                    name = f"stamp-http-{signal}-{coding}"
                    sent = export(signal, name)
                    body = gzip.compress(sent) if coding == "gzip" else sent
                    request = urllib.request.Request(f"http://127.0.0.1:{WORLD.plain}/v1/{signal}", body)
                    request.add_header("authorization", f"Bearer {token}")
                    request.add_header("content-type", "application/x-protobuf")
                    if coding == "gzip":
                        request.add_header("content-encoding", "gzip")
                    with urllib.request.urlopen(request, timeout=10) as answer:
                        self.assertEqual((answer.status, answer.read()), (200, b""))
                    captured = self.check(signal, sent, name)
                    self.assertEqual(captured["headers"].get("content-encoding", "identity"), coding)

    def test_grpc(self):
        metadata = (("authorization", f"Bearer {WORLD.token('collector')}"),)
        for signal in stamps.MESSAGES:
            for coding in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
                with self.subTest(signal=signal, coding=coding.name):
                    name = f"stamp-grpc-{signal}-{coding.name}"
                    sent = export(signal, name)
                    kind = signal.removesuffix("s").capitalize() if signal == "traces" else signal.capitalize()
                    path = f"/opentelemetry.proto.collector.{kind.lower()}.v1.{kind}Service/Export"
                    with grpc.insecure_channel(f"127.0.0.1:{WORLD.plain}", compression=coding) as channel:
                        self.assertEqual(channel.unary_unary(path)(sent, metadata=metadata, timeout=10), b"")
                    self.check(signal, sent, name, framed=True)

    def test_the_record_counts_what_passed(self):
        """The audit record of an export says how many items were accepted."""
        sent = export("traces", "stamp-counted")
        with grpc.insecure_channel(f"127.0.0.1:{WORLD.plain}") as channel:
            path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
            call = channel.unary_unary(path).with_call
            metadata = (("authorization", f"Bearer {WORLD.token('collector')}"),)
            _, outcome = call(sent, metadata=metadata, timeout=10)
        heads = dict(outcome.initial_metadata())
        number = heads["lightkeeper-request-id"]
        found = lambda: [r for r in WORLD.gateway.records() if r.get("request_id") == number]
        (record,) = worlds.eventually("the record", found)
        self.assertEqual(record["items"], {"accepted": 4, "rejected": 0}, json.dumps(record))
