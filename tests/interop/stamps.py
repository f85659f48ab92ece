"""What a stamped export must be, told by the Python SDK's own decoder: decode, edit, compare.

The reserved attributes are taken out at every level; those of the verified sender stand on each resource.
"""

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

RESERVED = "lightkeeper."
MESSAGES = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
# The names of an export's resource groups, in JSON and in protobuf.
GROUPS = {
    "traces": ("resourceSpans", "resource_spans"),
    "metrics": ("resourceMetrics", "resource_metrics"),
    "logs": ("resourceLogs", "resource_logs"),
}


def of(app, subject, issuer="provider", method="oidc"):
    """The stamp of a sender in an app."""
    names = ("app", "identity", "identity.issuer", "identity.method")
    return {f"{RESERVED}{name}": value for name, value in zip(names, (app, subject, issuer, method))}


def groups(signal, body):
    return getattr(MESSAGES[signal].FromString(body), GROUPS[signal][1])


def resources(signal, body):
    return [group.resource for group in groups(signal, body)]


def values(resource):
    """The attributes of a resource that are strings."""
    return {a.key: a.value.string_value for a in resource.attributes if a.value.HasField("string_value")}


def unstamped(message):
    """Takes the reserved attributes out of a message and of all messages in it; returns what it took.

    Lists of KeyValue that are named `attributes` (or an exemplar's `filtered_attributes`) are meant, not what
    stands in an attribute's value.
    """
    taken = []
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type is KeyValue.DESCRIPTOR:
            if field.name.endswith("attributes"):
                taken += [a for a in value if a.key.startswith(RESERVED)]
                kept = [a for a in value if not a.key.startswith(RESERVED)]
                del value[:]
                value.extend(kept)
            continue
        for inner in value if field.is_repeated else [value]:
            taken += unstamped(inner)
    return taken


def spans(bodies):
    """The ids of all spans of several trace exports, as often as they stand there."""
    return [
        span.span_id
        for body in bodies
        for group in groups("traces", body)
        for scope in group.scope_spans
        for span in scope.spans
    ]
