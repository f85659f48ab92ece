import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.exporter.otlp.http.logs.OtlpHttpLogRecordExporter;
import io.opentelemetry.exporter.otlp.http.metrics.OtlpHttpMetricExporter;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.sdk.common.CompletableResultCode;
import io.opentelemetry.sdk.logs.SdkLoggerProvider;
import io.opentelemetry.sdk.logs.data.LogRecordData;
import io.opentelemetry.sdk.logs.export.LogRecordExporter;
import io.opentelemetry.sdk.logs.export.SimpleLogRecordProcessor;
import io.opentelemetry.sdk.metrics.SdkMeterProvider;
import io.opentelemetry.sdk.metrics.data.AggregationTemporality;
import io.opentelemetry.sdk.metrics.data.MetricData;
import io.opentelemetry.sdk.metrics.InstrumentType;
import io.opentelemetry.sdk.metrics.export.MetricExporter;
import io.opentelemetry.sdk.metrics.export.PeriodicMetricReader;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.data.SpanData;
import io.opentelemetry.sdk.trace.export.SimpleSpanProcessor;
import io.opentelemetry.sdk.trace.export.SpanExporter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.concurrent.TimeUnit;

/**
 * Sends one item of each signal, several times over the same client, with OpenTelemetry's exporter over the JDK's own
 * HTTP client, and prints `SIGNAL NAME true|false`: what the exporter says became of it.
 *
 * <p>java JdkSender ENDPOINT TOKEN SERVICE COMPRESSION CA|- PREFIX
 */
public final class JdkSender {
  static final int EXPORTS = 3;
  static String name;

  static CompletableResultCode told(String signal, CompletableResultCode result) {
    result.join(20, TimeUnit.SECONDS);
    System.out.println(signal + " " + name + " " + result.isSuccess());
    return result;
  }

  public static void main(String[] args) throws Exception {
    String endpoint = args[0], authorization = "Bearer " + args[1], service = args[2], compression = args[3];
    var spans = OtlpHttpSpanExporter.builder().setEndpoint(endpoint + "/v1/traces");
    var metrics = OtlpHttpMetricExporter.builder().setEndpoint(endpoint + "/v1/metrics");
    var logs = OtlpHttpLogRecordExporter.builder().setEndpoint(endpoint + "/v1/logs");
    spans.addHeader("Authorization", authorization).setCompression(compression);
    metrics.addHeader("Authorization", authorization).setCompression(compression);
    logs.addHeader("Authorization", authorization).setCompression(compression);
    if (!args[4].equals("-")) {
      byte[] ca = Files.readAllBytes(Path.of(args[4]));
      spans.setTrustedCertificates(ca);
      metrics.setTrustedCertificates(ca);
      logs.setTrustedCertificates(ca);
    }
    var resource = Resource.create(Attributes.of(AttributeKey.stringKey("service.name"), service));
    var tracers =
        SdkTracerProvider.builder()
            .setResource(resource)
            .addSpanProcessor(SimpleSpanProcessor.create(new Spans(spans.build())))
            .build();
    var reader = PeriodicMetricReader.builder(new Metrics(metrics.build()));
    var meters = SdkMeterProvider.builder().setResource(resource).registerMetricReader(reader.build()).build();
    var loggers =
        SdkLoggerProvider.builder()
            .setResource(resource)
            .addLogRecordProcessor(SimpleLogRecordProcessor.create(new Logs(logs.build())))
            .build();
    for (int at = 0; at < EXPORTS; at++) {
      name = args[5] + at + ".";
      tracers.get("interop").spanBuilder(name).startSpan().end();
      tracers.forceFlush().join(30, TimeUnit.SECONDS);
      meters.get("interop").counterBuilder(name).build().add(1);
      meters.forceFlush().join(30, TimeUnit.SECONDS);
      loggers.get("interop").logRecordBuilder().setBody(name).emit();
      loggers.forceFlush().join(30, TimeUnit.SECONDS);
    }
    System.exit(0); // the client's threads would go on
  }

  record Spans(SpanExporter inner) implements SpanExporter {
    public CompletableResultCode export(Collection<SpanData> items) {
      return told("traces", inner.export(items));
    }

    public CompletableResultCode flush() {
      return inner.flush();
    }

    public CompletableResultCode shutdown() {
      return inner.shutdown();
    }
  }

  record Metrics(MetricExporter inner) implements MetricExporter {
    public AggregationTemporality getAggregationTemporality(InstrumentType type) {
      return AggregationTemporality.DELTA;
    }

    public CompletableResultCode export(Collection<MetricData> items) {
      return told("metrics", inner.export(items));
    }

    public CompletableResultCode flush() {
      return inner.flush();
    }

    public CompletableResultCode shutdown() {
      return inner.shutdown();
    }
  }

  record Logs(LogRecordExporter inner) implements LogRecordExporter {
    public CompletableResultCode export(Collection<LogRecordData> items) {
      return told("logs", inner.export(items));
    }

    public CompletableResultCode flush() {
      return inner.flush();
    }

    public CompletableResultCode shutdown() {
      return inner.shutdown();
    }
  }
}
