// The legacy Lightstep tracer for Node.js; see `clients.py`.
//
// Orders: `start` a tracer (transport proto or thrift), `span`s by name, `flush` (answers with the tracer's own
// error and how many spans it keeps), `decode` a protobuf report with the tracer's own classes.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const require = createRequire(import.meta.url);
const lightstep = require('lightstep-tracer');
const { ReportRequest } = require('lightstep-tracer/lib/imp/generated_proto/collector_pb.js');
const tracers = {};

const ORDERS = {
  start: ({ tracer, transport, port, token, component, gzip = true }) => {
    tracers[tracer] = new lightstep.Tracer({
      access_token: token,
      component_name: component,
      collector_host: '127.0.0.1',
      collector_port: port,
      collector_encryption: 'none',
      transport,
      gzip_json_requests: gzip,
      disable_reporting_loop: true,
      disable_report_on_exit: true,
      verbosity: 0,
    });
    return {};
  },
  span: ({ tracer, names }) => {
    names.forEach((name) => tracers[tracer].startSpan(name, { tags: { interop: name } }).finish());
    return {};
  },
  flush: async ({ tracer }) => {
    const error = await new Promise((done) => tracers[tracer].flush(done));
    return { error: error ? String(error.message ?? error) : null, kept: tracers[tracer]._spanRecords.length };
  },
  decode: ({ body }) => {
    const report = ReportRequest.deserializeBinary(Buffer.from(body, 'base64')).toObject();
    const tags = Object.fromEntries(report.reporter.tagsList.map((tag) => [tag.key, tag.stringValue]));
    return { token: report.auth.accessToken, tags, spans: report.spansList.map((span) => span.operationName) };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { order, ...rest } = JSON.parse(line);
  let answer;
  try {
    answer = await ORDERS[order](rest);
  } catch (error) {
    answer = { thrown: String(error) };
  }
  console.log(JSON.stringify(answer));
}
process.exit(0);
