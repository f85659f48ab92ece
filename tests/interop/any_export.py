"""Exports of all that OTLP can say, by chance: every field of the schema that the Python SDK brings, with values at the edges.

What it does: fills any message by its descriptor, so that a field of a newer schema is filled as soon as the SDK has it. What it
refuses to know: how a message is written. The same seed gives the same exports.
"""

import random
import struct

import stamps
from google.protobuf.descriptor import FieldDescriptor

# Fields that the schema has and that an export must not have: why.
NOT_OF_EXPORTS = {
    "opentelemetry.proto.common.v1.KeyValue.key_strindex": "places in the string table of profiles, which an export has not",
    "opentelemetry.proto.common.v1.AnyValue.string_value_strindex": "likewise",
}
TEXTS = ["", "a", "checkout", "\x00\x01\x1f\x7f", '"\\/\b\f\n\r\t', "ä\u00df\u2028\u2029", "\u65e5\u672c", "\U0001f6d2\U0010ffff", "\ufeff\ufffd\uffff"]
TEXTS += ["<script>&amp;'", "\\u0041\\", "null", "NaN", "x" * 300, "\U0001f600" * 40, "a long text with one\nbreak " * 5]
DOUBLES = [0.0, -0.0, 1.0, -1.5, 0.1, 1 / 3, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1.7976931348623157e308]
DOUBLES += [float("inf"), float("-inf"), float("nan"), 1e15, 1e16, 1e17, 1e21, 123456789012345680.0, 2.0**53, 2.0**63, 1e-5, 1e-7, 9007199254740993e3]
# Bits and least value of whole numbers, by the kinds of protobuf.
WHOLE = {}
for kinds, bits, signed in [
    ((FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_SINT64, FieldDescriptor.TYPE_SFIXED64), 64, True),
    ((FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_FIXED64), 64, False),
    ((FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_SINT32, FieldDescriptor.TYPE_SFIXED32), 32, True),
    ((FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_FIXED32), 32, False),
]:
    for kind in kinds:
        WHOLE[kind] = (bits, signed)
# Identifiers have one length, or are empty.
ID_BYTES = {"trace_id": 16, "span_id": 8, "parent_span_id": 8}
# How deep values lie in values.
DEEP = 4


class AnyExport:
    """Makes exports; `avoided`: full names of further fields that are not filled."""

    def __init__(self, seed, avoided=()):
        self.chance = random.Random(seed)
        self.avoided = {*NOT_OF_EXPORTS, *avoided}
        self.filled = set()

    def export(self, signal):
        """One export. Its first group has something in it: of nothing no backend hears."""
        export = stamps.MESSAGES[signal]()
        groups = getattr(export, stamps.GROUPS[signal][1])
        for _ in range(self.chance.randint(1, 3)):
            self.fill(groups.add(), 0)
        groups[0].resource.attributes.add(key="interop").value.string_value = signal
        return export

    def fill(self, message, depth):
        fields = [field for field in message.DESCRIPTOR.fields if field.full_name not in self.avoided]
        # Of a oneof that says which, one member or none; an optional field is a oneof of its own.
        chosen = {oneof.name: self.chance.choice([*oneof.fields, None]) for oneof in message.DESCRIPTOR.oneofs if len(oneof.fields) > 1}
        if message.DESCRIPTOR.name == "AnyValue" and depth >= DEEP:
            chosen["value"] = message.DESCRIPTOR.fields_by_name["string_value"]
        for field in fields:
            oneof = field.containing_oneof
            if oneof is not None and oneof.name in chosen:
                if chosen[oneof.name] is field:
                    self.field(message, field, depth)
            elif self.chance.random() < 0.7:
                self.field(message, field, depth)

    def field(self, message, field, depth):
        self.filled.add(field.full_name)
        if field.is_repeated:
            into = getattr(message, field.name)
            for _ in range(self.chance.choice([0, 1, 1, 2, 3])):
                if field.message_type:
                    self.fill(into.add(), self.deeper(field, depth))
                else:
                    into.append(self.value(field))
        elif field.message_type:
            inner = getattr(message, field.name)
            inner.SetInParent()
            self.fill(inner, self.deeper(field, depth))
        else:
            setattr(message, field.name, self.value(field))

    @staticmethod
    def deeper(field, depth):
        return depth + (field.message_type.name == "AnyValue")

    def value(self, field):
        if field.enum_type:
            known = [value.number for value in field.enum_type.values]
            return self.chance.choice([*known, 77])
        if field.type in WHOLE:
            bits, signed = WHOLE[field.type]
            least = -(1 << bits - 1) if signed else 0
            most = least + (1 << bits) - 1
            edges = [0, 1, most, most - 1, least, 127, 128, (1 << bits - 2) + 1]
            return self.chance.choice([*edges, self.chance.randint(least, most)])
        if field.type == FieldDescriptor.TYPE_BOOL:
            return self.chance.random() < 0.5
        if field.type == FieldDescriptor.TYPE_DOUBLE:
            return self.chance.choice([*DOUBLES, self.some_double()])
        if field.type == FieldDescriptor.TYPE_STRING:
            return self.chance.choice(TEXTS)
        assert field.type == FieldDescriptor.TYPE_BYTES, field.full_name
        if field.name in ID_BYTES:
            return self.chance.choice([b"", self.chance.randbytes(ID_BYTES[field.name])])
        return self.chance.randbytes(self.chance.choice([0, 1, 2, 3, 4, 62, 255]))

    def some_double(self):
        """Any bits that are a number."""
        while True:
            (double,) = struct.unpack("<d", self.chance.randbytes(8))
            if double == double:
                return double


def schema(descriptor, seen=None):
    """The full names of all fields that a message can hold."""
    seen = set() if seen is None else seen
    for field in descriptor.fields:
        if field.full_name not in seen:
            seen.add(field.full_name)
            if field.message_type:
                schema(field.message_type, seen)
    return seen
