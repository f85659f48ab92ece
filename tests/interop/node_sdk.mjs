// The OpenTelemetry SDK for Node.js, one export per line of standard input.
//
//   node node_sdk.mjs CA
//
// A line is { signal, encoding: json | protobuf | grpc, endpoint, headers, gzip, name }; the answer is one
// line { code, error }: the exporter's own ExportResult (0 is success). It ends with its input.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Agent } from 'node:https';
import { createInterface } from 'node:readline';
import { credentials, Metadata } from '@grpc/grpc-js';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { InMemoryLogRecordExporter, LoggerProvider, SimpleLogRecordProcessor } from '@opentelemetry/sdk-logs';
import { AggregationTemporality, InMemoryMetricExporter, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';

const require = createRequire(import.meta.url);
const ca = readFileSync(process.argv[2]);
const EXPORTERS = { traces: ['trace', 'OTLPTraceExporter'], metrics: ['metrics', 'OTLPMetricExporter'], logs: ['logs', 'OTLPLogExporter'] };
const PACKAGES = { json: 'http', protobuf: 'proto', grpc: 'grpc' };
const resource = resourceFromAttributes({ 'service.name': 'checkout' });

const made = {
  traces: async (name) => {
    const memory = new InMemorySpanExporter();
    const provider = new TracerProvider({ resource, spanProcessors: [new SimpleSpanProcessor({ exporter: memory })] });
    provider.getTracer('interop').startSpan(name).end();
    await provider.forceFlush();
    return memory.getFinishedSpans();
  },
  metrics: async (name) => {
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    const reader = new PeriodicExportingMetricReader({ exporter });
    const provider = new MeterProvider({ resource, readers: [reader] });
    provider.getMeter('interop').createCounter(name).add(1);
    await reader.forceFlush();
    const [first] = exporter.getMetrics();
    await provider.shutdown();
    return first;
  },
  logs: async (name) => {
    const memory = new InMemoryLogRecordExporter();
    const provider = new LoggerProvider({ resource, processors: [new SimpleLogRecordProcessor({ exporter: memory })] });
    provider.getLogger('interop').emit({ body: name });
    await provider.forceFlush();
    return memory.getFinishedLogRecords();
  },
};

function exporter({ signal, encoding, endpoint, headers, gzip }) {
  const [name, type] = EXPORTERS[signal];
  const Exporter = require(`@opentelemetry/exporter-${name}-otlp-${PACKAGES[encoding]}`)[type];
  const common = { timeoutMillis: 5000, compression: gzip ? 'gzip' : 'none' };
  if (encoding === 'grpc') {
    const metadata = new Metadata();
    Object.entries(headers).forEach(([key, value]) => metadata.set(key, value));
    return new Exporter({ ...common, url: endpoint, metadata, credentials: credentials.createSsl(ca) });
  }
  const url = `${endpoint}/v1/${signal}`;
  return new Exporter({ ...common, url, headers, httpAgentOptions: () => new Agent({ ca, keepAlive: false }) });
}

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  const items = await made[order.signal](order.name);
  const sender = exporter(order);
  const result = await new Promise((done) => sender.export(items, done));
  await sender.shutdown();
  console.log(JSON.stringify({ code: result.code, error: result.error && String(result.error) }));
}
process.exit(0);
