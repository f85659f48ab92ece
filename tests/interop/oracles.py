"""Others' word on an export in JSON and in protobuf: OpenTelemetry's Collector (pdata), and protobuf's own Python library.

What it does: each oracle writes an export as JSON, and reads both as a message. What it refuses to know: the gateway. Protobuf's
JSON is not quite that of OTLP, which has identifiers in hexadecimal and enumerations as numbers (OTLP specification, "JSON
Protobuf Encoding"): that is put right here, and nothing else is.
"""

import base64
import json
import os
import subprocess

import stamps
from google.protobuf import json_format, text_format
from google.protobuf.message import DecodeError
IDS = {"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"}


class Refused(Exception):
    """An oracle does not take a message."""


def with_ids(document, coded):
    """A JSON document with all its identifiers coded anew."""
    if isinstance(document, list):
        return [with_ids(one, coded) for one in document]
    if not isinstance(document, dict):
        return document
    return {name: coded(value) if name in IDS else with_ids(value, coded) for name, value in document.items()}


class ProtobufJson:
    """Protobuf's Python library. What the JSON mapping leaves free changes from one export to the next."""

    name = "google.protobuf.json_format"

    def __init__(self, chance):
        self.chance = chance

    def to_json(self, signal, message):
        some = lambda: self.chance.random() < 0.5
        document = json_format.MessageToDict(
            message,
            use_integers_for_enums=True,
            preserving_proto_field_name=some(),
            always_print_fields_with_no_presence=some(),
        )
        in_case = str.upper if some() else str.lower
        document = with_ids(document, lambda text: in_case(base64.b64decode(text).hex()))
        return json.dumps(document, ensure_ascii=some(), indent=1 if some() else None, sort_keys=some()).encode()

    def read_json(self, signal, text):
        try:
            document = with_ids(json.loads(text), lambda text: base64.b64encode(bytes.fromhex(text)).decode())
            return json_format.ParseDict(document, stamps.MESSAGES[signal]())
        except (ValueError, json_format.ParseError) as error:
            raise Refused(error) from error

    def read_protobuf(self, signal, message):
        try:
            return stamps.MESSAGES[signal].FromString(message)
        except DecodeError as error:
            raise Refused(error) from error


class Pdata:
    """The Collector's library, in a process of its own (pdata/main.go)."""

    name = "pdata"

    def __init__(self, binary=None):
        self.process = subprocess.Popen([binary or os.environ["PDATA"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def cross(self, signal, read_as, write_as, message):
        line = f"{signal} {read_as} {write_as} {base64.b64encode(message).decode()}\n"
        self.process.stdin.write(line.encode())
        self.process.stdin.flush()
        told = self.process.stdout.readline().decode(errors="replace").rstrip("\n")
        if told.startswith("!"):
            raise Refused(told[2:])
        return base64.b64decode(told)

    def to_json(self, signal, message):
        return self.cross(signal, "protobuf", "json", message.SerializeToString())

    def read_json(self, signal, text):
        return stamps.MESSAGES[signal].FromString(self.cross(signal, "json", "protobuf", text))

    def read_protobuf(self, signal, message):
        """It has no absent messages where others have them."""
        return stamps.MESSAGES[signal].FromString(self.cross(signal, "protobuf", "protobuf", message))

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)
        self.process.stdout.close()


def shown(message):
    """All that a message says, presence included, in lines that can be compared: NaN is NaN, and -0 is not 0."""
    return text_format.MessageToString(message).splitlines()
