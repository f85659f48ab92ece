"""Exports that are put from JSON into protobuf and back, judged by others who do the same.

Scenario: a workload sends what OTLP can say, made by chance, to two apps: the backend of the one takes protobuf alone, that of the
other JSON alone. Guarantee: what arrives says to OpenTelemetry's Collector (pdata) and to protobuf's own library what was sent,
with the verified sender's stamp and nothing else; where readers differ, the tables say how and why.
"""

import http.client
import json
import os
import random
import unittest
import urllib.request

import any_export
import oracles
import settings
import stamps
import world as worlds
from google.protobuf.message import DecodeError

WORLD = worlds.shared()
PDATA_ABSENT = os.environ.get("PDATA_ABSENT")
SEED = int(os.environ.get("INTEROP_SEED", "20261130"))
# Of each signal, with each oracle, each way.
EXPORTS = 150
MEDIA_TYPES = {"json": "application/json", "protobuf": "application/x-protobuf"}
PROJECTS = {"protobuf": "checkout-prod", "json": "payments-prod"}  # by what their backends take
STAMPS = 4
UNKNOWN_NAMES = [b'"keyStrindex"', b'"key_strindex"']


def spans(fields):
    return '{"resourceSpans":[{"scopeSpans":[{"spans":[{%s}]}]}]}' % fields


def value(text):
    return spans('"attributes":[{"key":"a","value":%s}]' % text)


LIBRARY = '{"resourceSpans":[{"instrumentationLibrarySpans":[{"spans":[{"name":"a"}]}]}]}'
STRICT = "what one reader takes another does not, so that the gateway and the backend might judge different exports"
MAPPING = "the JSON mapping of protobuf lets writers do so; pdata is stricter"
NOT_EXPORTED = "fields of profiles, which an export must not have: dropped, and counted"
# JSON on which readers do not agree: what it is here, what to pdata, what to protobuf's library, and why. Here it is `taken` or `refused`;
# an oracle reads the `same` as what arrives, or `other` than that, or what is refused here (`takes`), or
# `refuses` it, or what arrives (`refuses the other`).
JSON_DIVERGENCES = [
    ("a member twice", spans('"name":"a","name":"b"'), "refused", "takes", "takes", STRICT),
    ("a member by both names", spans('"traceState":"a","trace_state":"b"'), "refused", "takes", "takes", STRICT),
    ("a name in another case", spans('"Name":"a"'), "refused", "takes", "refuses", STRICT),
    ("a name in another spelling", spans('"TraceState":"a"'), "refused", "takes", "refuses", STRICT),
    ("two members of a oneof", value('{"stringValue":"a","intValue":"1"}'), "refused", "takes", "refuses", STRICT),
    ("null in an array", spans('"attributes":[null]'), "refused", "takes", "refuses", STRICT),
    ("another word for infinity", value('{"doubleValue":"inf"}'), "refused", "takes", "takes", STRICT),
    ("something behind the end", spans('"name":"a"') + "{}", "refused", "takes", "refuses", STRICT),
    ("a byte order mark", "\ufeff" + spans('"name":"a"'), "refused", "refuses", "takes", STRICT),
    ("a number of an enumeration as a text", spans('"kind":"2"'), "taken", "refuses", "same", MAPPING),
    ("the URL's alphabet of base64", value('{"bytesValue":"-_8"}'), "taken", "refuses", "same", MAPPING),
    ("base64 without padding", value('{"bytesValue":"AQ"}'), "taken", "refuses", "same", MAPPING),
    ("a whole number with a fraction of 0", value('{"intValue":3.0}'), "taken", "refuses", "same", MAPPING),
    ("a whole number with an exponent", value('{"intValue":3e2}'), "taken", "refuses", "same", MAPPING),
    ("the same, beyond doubles", value('{"intValue":9007199254740993.0}'), "taken", "refuses", "other", "Python rounds it, which loses one"),
    ("an identifier of another length", spans('"traceId":"0102"'), "taken", "refuses", "same", "the backend judges it"),
    ("the first half of a surrogate pair", spans('"name":"\\ud83d"'), "taken", "same", "refuses", "U+FFFD, as Go's and Java's readers have it"),
    ("the second", spans('"name":"a\\udc00b"'), "taken", "same", "refuses", "likewise"),
    ("a member that is not known", spans('"name":"a","x":{"y":[1]}'), "taken", "same", "refuses", "dropped, and counted"),
    ("a place in the string table", value('{"stringValueStrindex":1}'), "taken", "other", "other", NOT_EXPORTED),
    ("a key's place in it", spans('"attributes":[{"key":"a","keyStrindex":1}]'), "taken", "other", "other", NOT_EXPORTED),
    ("libraries, from before 0.15", LIBRARY, "taken", "other", "refuses", "carried on; the others have no such field any more"),
]
# JSON on which all agree, though a writer may do it otherwise.
JSON_LIKENESSES = [
    ("a name of an enumeration", spans('"kind":"SPAN_KIND_SERVER"'), "taken"),
    ("null in a oneof", value('{"stringValue":null,"intValue":"1"}'), "taken"),
    ("null members", spans('"name":null,"attributes":null,"status":null'), "taken"),
    ("64 bits as a number", value('{"intValue":-12}'), "taken"),
    ("32 bits as a text", spans('"flags":"3"'), "taken"),
    ("a double as a text", value('{"doubleValue":"-1.5e3"}'), "taken"),
    ("values deep in each other", value('{"arrayValue":{"values":[' * 40 + "{}" + "]}}" * 40), "taken"),
    ("a name that no enumeration has", spans('"kind":"SPAN_KIND_X"'), "refused"),
    ("an identifier that is not hexadecimal", spans('"traceId":"zz"'), "refused"),
    ("more than 63 bits and a sign", value('{"intValue":"9223372036854775808"}'), "refused"),
    ("less than 0 where no sign is", spans('"startTimeUnixNano":"-1"'), "refused"),
    ("more than 32 bits", spans('"flags":4294967296'), "refused"),
    ("more than a double", value('{"doubleValue":1e999}'), "refused"),
    ("NaN without quotes", value('{"doubleValue":NaN}'), "refused"),
    ("a truth as a text", value('{"boolValue":"true"}'), "refused"),
    ("a text as a number", spans('"name":1'), "refused"),
    ("a comma too many", spans('"name":"a",'), "refused"),
    ("a zero too many", spans('"flags":01'), "refused"),
    ("a comment", spans('"name":"a"/**/'), "refused"),
    ("a control character", spans('"name":"\x01"'), "refused"),
]


def field(number, content, wire_type=2):
    """A short field of protobuf: its tag in one or two bytes, and its content."""
    tag = number << 3 | wire_type
    tag = bytes([tag]) if tag < 128 else bytes([tag & 127 | 128, tag >> 7])
    return tag + (bytes([len(content)]) if wire_type == 2 else b"") + content


def span(*fields):
    return field(1, field(2, field(2, b"".join(fields))))


def attribute(value):
    return span(field(9, field(1, b"a") + field(2, value)))


NAME = field(5, b"a")
# The same of protobuf.
PROTOBUF_DIVERGENCES = [
    ("a text that is not UTF-8", span(field(5, b"\xff")), "refused", "takes", "refuses", STRICT),
    ("a known field of another wire type", span(NAME, field(4, b"\x01", 0)), "refused", "refuses", "takes", STRICT),
    ("an identifier of another length", span(field(1, b"abc")), "taken", "refuses", "same", "the backend judges it"),
    ("a place in the string table", attribute(field(8, b"\x01", 0)), "taken", "other", "other", NOT_EXPORTED),
    ("libraries, from before 0.15", field(1, field(1000, field(2, NAME))), "taken", "other", "refuses the other", "carried on; pdata reads them in protobuf alone"),
]
PROTOBUF_LIKENESSES = [
    ("fields that are not known", span(NAME, field(99, b"x"), field(98, b"\x01", 0)), "taken"),
    ("a field twice", span(NAME, field(5, b"b")), "taken"),
    ("two members of a oneof", attribute(field(1, b"a") + field(3, b"\x05", 0)), "taken"),
    ("a message in parts", span(field(15, field(2, b"m")), NAME, field(15, field(3, b"\x02", 0))), "taken"),
    ("a truth of 2", attribute(field(2, b"\x02", 0)), "taken"),
    ("a varint that is longer than it need be", span(field(6, b"\x82\x80\x00", 0)), "taken"),
    ("an enumeration below 0", span(field(6, b"\xff" * 9 + b"\x01", 0)), "taken"),
    ("a field that ends beyond its message", field(1, b"\x12\x05"), "refused"),
    ("a field of number 0", span(NAME, field(0, b"")), "refused"),
]


class TwoEncodings(worlds.Gateway):
    """A gateway before a backend that takes protobuf alone, and one that takes JSON alone."""

    def configure(self, world, config, ports, file):
        config["profiles"], config["backends"], apps, projects = [], {}, {}, {}
        for encoding, project in PROJECTS.items():
            paths = [{"path": f"/v1/{signal}", "signal": signal} for signal in stamps.MESSAGES]
            ingest = {
                "headers": {"lightstep-access-token": "{token}"},
                "accepts": {"protocols": ["http"], "encodings": [encoding], "compressions": ["identity"]},
                "http": paths,
            }
            addresses = {"ingest": "https://only.example"}
            profile = {"name": f"only-{encoding}", "addresses": addresses, "ingest": ingest, "query": "off"}
            config["profiles"].append(f"only-{encoding}.yaml")
            (self.directory / config["profiles"][-1]).write_text(json.dumps(profile))
            url = f"http://127.0.0.1:{world.backend_ports[encoding]}"
            config["backends"][encoding] = {"profile": profile["name"], "ingest": {"url": url}}
            apps[encoding] = {"project": project, "backend": encoding}
            token = {"env": f"TOKEN_{settings.PROJECTS.index(project)}"}
            projects[project] = {"backends": {encoding: {"access_token": [token]}}}
        config |= {"default_backend": "protobuf", "vault": {"projects": projects}, "policy": f"{self.name}.policy.yaml"}
        for unused in ("upstreams", "client_tokens"):
            del config[unused]
        for listener in config["listeners"]:
            listener["serves"] = ["ingest", "web"]
        senders = {"name": "collectors", "subjects": [{"issuer": "provider", "group": "collectors"}]}
        bindings = [{**senders, "permissions": ["ingest.*"], "apps": list(apps)}]
        policy = {"version": 1, "apps": apps, "bindings": bindings}
        (self.directory / config["policy"]).write_text(json.dumps(policy, indent=1))
        file.write_text(json.dumps(config, indent=1))


class Route:
    """From exports in one encoding to the backend that takes the other."""

    def __init__(self, gateway, captures, sent, taken):
        self.gateway, self.captures, self.sent, self.taken = gateway, captures, sent, taken
        self.seen = 0

    def send(self, signal, bodies):
        """The status of each export."""
        head = {"content-type": MEDIA_TYPES[self.sent], "authorization": f"Bearer {WORLD.token('collector')}"}
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.plain, timeout=30)
        statuses = []
        for body in bodies:
            connection.request("POST", f"/apps/{self.taken}/-/v1/{signal}", body, head)
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
        connection.close()
        return statuses

    def arrived(self):
        """The bodies that arrived since it was asked last; each was noted before it was answered."""
        requests = worlds.lines_of(self.captures)[self.seen :]
        self.seen += len(requests)
        for request in requests:
            assert request["headers"]["content-type"] == MEDIA_TYPES[self.taken], request
            assert request["project"] == PROJECTS[self.taken], request
        return [worlds.body_of(request) for request in requests]


def without_stamps(signal, message, stamped=True):
    """The message without what the gateway adds; a resource that is only there to be stamped goes, too."""
    groups = getattr(message, stamps.GROUPS[signal][1])
    taken = stamps.unstamped(message)
    assert len(taken) == (STAMPS * len(groups) if stamped else 0), taken
    for group in groups:
        if group.HasField("resource") and not group.resource.ByteSize():
            group.ClearField("resource")
    return message


def read(oracle, encoding, signal, body):
    return getattr(oracle, f"read_{encoding}")(signal, body)


def word(route, oracle, sent, arrived):
    """What an oracle says of a message, in the words of the tables."""
    try:
        expected = without_stamps("traces", read(oracle, route.sent, "traces", sent), stamped=False)
    except oracles.Refused:
        return "refuses"
    except DecodeError:
        return "takes"  # and passes on what Python does not read
    if not arrived:
        return "takes"
    try:
        said = without_stamps("traces", read(oracle, route.taken, "traces", arrived[0]))
    except oracles.Refused:
        return "refuses the other"
    return "same" if oracles.shown(said) == oracles.shown(expected) else "other"


def as_protobuf(_, export):
    return export.SerializeToString()


def alike(row):
    """A row on which all agree, as one of a table of divergences."""
    what, sent, here = row
    word = "same" if here == "taken" else "refuses"
    return (what, sent, here, word, word, "")


class Transcoding(unittest.TestCase):
    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        WORLD.backend_ports = dict(zip(PROJECTS, worlds.free_ports(len(PROJECTS))))
        captures = {encoding: WORLD.directory / f"only-{encoding}.captures.jsonl" for encoding in PROJECTS}
        cls.processes = []
        for encoding, port in WORLD.backend_ports.items():
            cls.processes.append(WORLD.backend(f"only-{encoding}", port, captures[encoding]))
        cls.gateway = TwoEncodings(WORLD, "two-encodings", None)
        cls.processes.append(cls.gateway.process)
        cls.to_protobuf = Route(cls.gateway, captures["protobuf"], "json", "protobuf")
        cls.to_json = Route(cls.gateway, captures["json"], "protobuf", "json")

    @classmethod
    def tearDownClass(cls):
        for process in reversed(cls.processes):
            process.stop()

    def oracle(self, kind):
        oracle = kind()
        self.addCleanup(oracle.close)
        return oracle

    def exports(self, signal):
        made = any_export.AnyExport(f"{SEED} {signal}")
        return [made.export(signal) for _ in range(EXPORTS)]

    def check(self, route, oracle, write):
        """Sends exports that `write` writes; what arrives is to the oracle what it was before."""
        for signal in stamps.MESSAGES:
            exports = self.exports(signal)
            sent = [write(signal, export) for export in exports]
            # Some writers say of a field that no export has that it is 0.
            unknown = self.unknown() + sum(body.count(name) for body in sent for name in UNKNOWN_NAMES)
            self.assertEqual(set(route.send(signal, sent)), {200})
            arrived = route.arrived()
            self.assertEqual(len(arrived), EXPORTS)
            for number, (export, before, after) in enumerate(zip(exports, sent, arrived)):
                with self.subTest(seed=SEED, signal=signal, number=number, oracle=oracle.name):
                    expected = oracle.read_protobuf(signal, export.SerializeToString())
                    expected = without_stamps(signal, expected, stamped=False)
                    said = without_stamps(signal, read(oracle, route.taken, signal, after))
                    self.assertEqual(oracles.shown(said), oracles.shown(expected), (before, after))
            self.assertEqual(self.unknown(), unknown)

    def unknown(self):
        """How many fields and members the gateway did not know."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.gateway.admin}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        (count,) = [line.split()[1] for line in lines if line.startswith("lightkeeper_unknown_fields_dropped_total")]
        return int(count)

    @unittest.skipIf(PDATA_ABSENT, PDATA_ABSENT)
    def test_json_of_the_collector_arrives_in_protobuf(self):
        oracle = self.oracle(oracles.Pdata)
        self.check(self.to_protobuf, oracle, oracle.to_json)

    @unittest.skipIf(PDATA_ABSENT, PDATA_ABSENT)
    def test_protobuf_arrives_in_json_that_the_collector_reads(self):
        self.check(self.to_json, self.oracle(oracles.Pdata), as_protobuf)

    def test_json_of_protobufs_library_arrives_in_protobuf(self):
        oracle = oracles.ProtobufJson(random.Random(SEED))
        self.check(self.to_protobuf, oracle, oracle.to_json)

    def test_protobuf_arrives_in_json_that_protobufs_library_reads(self):
        self.check(self.to_json, oracles.ProtobufJson(random.Random(SEED)), as_protobuf)

    def test_the_exports_hold_every_field(self):
        """The other tests say something of each field: none but those that no export has is never filled."""
        filled, known = set(), set()
        for signal, kind in stamps.MESSAGES.items():
            made = any_export.AnyExport(f"{SEED} {signal}")
            for _ in range(EXPORTS):
                made.export(signal)
            groups = kind.DESCRIPTOR.fields_by_name[stamps.GROUPS[signal][1]]
            filled |= made.filled
            known |= any_export.schema(groups.message_type)
        self.assertEqual(known - filled, set(any_export.NOT_OF_EXPORTS))



    def test_where_readers_of_json_differ(self):
        rows = [*JSON_DIVERGENCES, *map(alike, JSON_LIKENESSES)]
        self.check_rows(self.to_protobuf, [(what, text.encode(), *words) for what, text, *words in rows])

    def test_where_readers_of_protobuf_differ(self):
        self.check_rows(self.to_json, [*PROTOBUF_DIVERGENCES, *map(alike, PROTOBUF_LIKENESSES)])

    def check_rows(self, route, rows):
        """Each message is taken or refused here, and to the oracles what the table says."""
        others = [(4, oracles.ProtobufJson(random.Random(SEED)))]
        if not PDATA_ABSENT:
            others.append((3, self.oracle(oracles.Pdata)))
        for row in rows:
            what, sent, here = row[:3]
            (status,) = route.send("traces", [sent])
            arrived = route.arrived()
            with self.subTest(what):
                self.assertEqual({200: "taken", 400: "refused"}.get(status), here)
                self.assertEqual(len(arrived), int(status == 200))
                for place, oracle in others:
                    self.assertEqual(word(route, oracle, sent, arrived), row[place], oracle.name)
