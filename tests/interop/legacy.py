"""The legacy Lightstep tracer for Python, which needs an environment of its own; see `clients.py`.

Orders: `start` a tracer (transport proto or thrift), `span`s by name, `flush` (also says how many spans are still
kept and whether the tracer has been switched off), `decode` a report with the tracer's own classes, `end`.
"""

import base64
import json
import sys
import warnings

warnings.simplefilter("ignore")

import lightstep  # noqa: E402
from lightstep.collector_pb2 import ReportRequest  # noqa: E402
from lightstep.crouton import ReportingService  # noqa: E402
from thrift.protocol.TBinaryProtocol import TBinaryProtocol  # noqa: E402
from thrift.transport.TTransport import TMemoryBuffer  # noqa: E402

TRACERS = {}


def start(tracer, transport, port, token, component, host="127.0.0.1", encryption="none"):
    thrift = transport == "thrift"
    made = lightstep.Tracer(
        component_name=component,
        access_token=token,
        collector_host=host,
        collector_port=port,
        collector_encryption=encryption,
        use_thrift=thrift,
        use_http=not thrift,
        timeout_seconds=10,
    )
    made.recorder._flush_periodically = lambda: None  # flushes are ordered, not timed
    TRACERS[tracer] = made
    return {}


def span(tracer, names):
    for name in names:
        TRACERS[tracer].start_span(name, tags={"interop": name}).finish()
    return {}


def flush(tracer):
    recorder = TRACERS[tracer].recorder
    sent = recorder.flush()
    kept = recorder._span_records
    return {"sent": sent, "kept": len(kept), "disabled": recorder._disabled_runtime}


def end(tracer):
    TRACERS.pop(tracer).recorder.shutdown(flush=False)
    return {}


def decode(transport, body):
    body = base64.b64decode(body)
    if transport == "proto":
        report = ReportRequest.FromString(body)
        tags = {tag.key: tag.string_value for tag in report.reporter.tags}
        spans = [span.operation_name for span in report.spans]
        return {"token": report.auth.access_token, "tags": tags, "spans": spans}
    protocol = TBinaryProtocol(TMemoryBuffer(body))
    name, _, _ = protocol.readMessageBegin()
    call = ReportingService.Report_args()
    call.read(protocol)
    protocol.readMessageEnd()
    tags = {tag.Key: tag.Value for tag in call.request.runtime.attrs}
    spans = [span.span_name for span in call.request.span_records or []]
    return {"name": name, "token": call.auth.access_token, "tags": tags, "spans": spans}


ORDERS = {"start": start, "span": span, "flush": flush, "end": end, "decode": decode}
for line in sys.stdin:
    order = json.loads(line)
    try:
        answer = ORDERS[order.pop("order")](**order)
    except Exception as error:  # the asking test shows it
        answer = {"error": repr(error)}
    print(json.dumps(answer), flush=True)
