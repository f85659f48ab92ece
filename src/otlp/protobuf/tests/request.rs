//! The oracle: an export request as prost decodes it, and the rules of rewriting carried out on that.
//!
//! What it refuses to know: the bytes, and the code under test.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::ResourceLogs;
use opentelemetry_proto::tonic::metrics::v1::{Exemplar, Metric, ResourceMetrics, metric::Data};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::{DecodeError, Message as _};

use crate::otlp::{Found, RESERVED, Signal};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Request {
    Traces(ExportTraceServiceRequest),
    Metrics(ExportMetricsServiceRequest),
    Logs(ExportLogsServiceRequest),
}

/// Runs the same expression on the list of groups, of whichever signal.
macro_rules! groups {
    ($request:expr, $groups:ident => $body:expr) => {
        match $request {
            Request::Traces(request) => {
                let $groups = &mut request.resource_spans;
                $body
            }
            Request::Metrics(request) => {
                let $groups = &mut request.resource_metrics;
                $body
            }
            Request::Logs(request) => {
                let $groups = &mut request.resource_logs;
                $body
            }
        }
    };
}

impl Request {
    pub(crate) fn decode(signal: Signal, bytes: &[u8]) -> Result<Request, DecodeError> {
        Ok(match signal {
            Signal::Traces => Request::Traces(ExportTraceServiceRequest::decode(bytes)?),
            Signal::Metrics => Request::Metrics(ExportMetricsServiceRequest::decode(bytes)?),
            Signal::Logs => Request::Logs(ExportLogsServiceRequest::decode(bytes)?),
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Request::Traces(request) => request.encode_to_vec(),
            Request::Metrics(request) => request.encode_to_vec(),
            Request::Logs(request) => request.encode_to_vec(),
        }
    }

    pub(crate) fn signal(&self) -> Signal {
        match self {
            Request::Traces(_) => Signal::Traces,
            Request::Metrics(_) => Signal::Metrics,
            Request::Logs(_) => Signal::Logs,
        }
    }

    /// Items of each group.
    pub(crate) fn items(&self) -> Vec<u64> {
        let count = match self {
            Request::Traces(request) => {
                request.resource_spans.iter().map(spans).collect::<Vec<_>>()
            }
            Request::Metrics(request) => request.resource_metrics.iter().map(points).collect(),
            Request::Logs(request) => request.resource_logs.iter().map(records).collect(),
        };
        count.into_iter().map(|count| count as u64).collect()
    }

    pub(crate) fn resources(&mut self) -> Vec<&mut Option<Resource>> {
        groups!(self, groups => groups.iter_mut().map(|group| &mut group.resource).collect())
    }

    /// Takes the reserved attributes away, and says how many they were.
    pub(crate) fn strip(&mut self) -> u64 {
        let mut removed = 0;
        self.each_attributes(&mut |attributes| {
            let before = attributes.len();
            attributes.retain(|pair| !pair.key.starts_with(RESERVED));
            removed += (before - attributes.len()) as u64;
        });
        removed
    }

    /// The chosen groups with their stamps, of a request that has been stripped.
    pub(crate) fn select(&self, chosen: &[(usize, &[(&str, &str)])]) -> Request {
        let mut selected = self.clone();
        groups!(&mut selected, groups => {
            *groups = chosen.iter().map(|(group, _)| groups[*group].clone()).collect();
        });
        for (resource, (_, attributes)) in selected.resources().into_iter().zip(chosen) {
            if !attributes.is_empty() {
                let own = &mut resource.get_or_insert_default().attributes;
                own.retain(|pair| !attributes.iter().any(|(name, _)| *name == pair.key));
                own.extend(attributes.iter().map(|(name, value)| text(name, value)));
            }
        }
        selected
    }

    /// What the resource of this group says, by the rules of reading.
    pub(crate) fn attribute(&mut self, group: usize, name: &str) -> Found<'static> {
        let resources = self.resources();
        let attributes = resources[group]
            .iter()
            .flat_map(|resource| &resource.attributes);
        let said: Vec<Option<String>> = attributes
            .filter(|pair| pair.key == name)
            .map(
                |pair| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
                    Some(any_value::Value::StringValue(text)) => Some(text.clone()),
                    _ => None,
                },
            )
            .collect();
        match said.as_slice() {
            [] => Found::Absent,
            [None] => Found::Other,
            [Some(first), rest @ ..] if rest.iter().all(|text| text.as_ref() == Some(first)) => {
                Found::Text(first.clone().into())
            }
            _ => Found::Ambiguous,
        }
    }

    fn each_attributes(&mut self, visit: &mut dyn FnMut(&mut Vec<KeyValue>)) {
        for resource in self.resources().into_iter().flatten() {
            visit(&mut resource.attributes);
        }
        match self {
            Request::Traces(request) => {
                for scoped in request
                    .resource_spans
                    .iter_mut()
                    .flat_map(|group| &mut group.scope_spans)
                {
                    each_of_scope(&mut scoped.scope, visit);
                    scoped
                        .spans
                        .iter_mut()
                        .for_each(|span| each_of_span(span, visit));
                }
            }
            Request::Metrics(request) => {
                for scoped in request
                    .resource_metrics
                    .iter_mut()
                    .flat_map(|group| &mut group.scope_metrics)
                {
                    each_of_scope(&mut scoped.scope, visit);
                    scoped
                        .metrics
                        .iter_mut()
                        .for_each(|metric| each_of_metric(metric, visit));
                }
            }
            Request::Logs(request) => {
                for scoped in request
                    .resource_logs
                    .iter_mut()
                    .flat_map(|group| &mut group.scope_logs)
                {
                    each_of_scope(&mut scoped.scope, visit);
                    scoped
                        .log_records
                        .iter_mut()
                        .for_each(|record| visit(&mut record.attributes));
                }
            }
        }
    }
}

pub(crate) fn text(name: &str, value: &str) -> KeyValue {
    let value = AnyValue {
        value: Some(any_value::Value::StringValue(value.to_owned())),
    };
    KeyValue {
        key: name.to_owned(),
        value: Some(value),
        ..KeyValue::default()
    }
}

fn spans(group: &ResourceSpans) -> usize {
    group
        .scope_spans
        .iter()
        .map(|scoped| scoped.spans.len())
        .sum()
}

fn records(group: &ResourceLogs) -> usize {
    group
        .scope_logs
        .iter()
        .map(|scoped| scoped.log_records.len())
        .sum()
}

fn points(group: &ResourceMetrics) -> usize {
    let metrics = group
        .scope_metrics
        .iter()
        .flat_map(|scoped| &scoped.metrics);
    let data = metrics.filter_map(|metric| metric.data.as_ref());
    data.map(|data| match data {
        Data::Gauge(data) => data.data_points.len(),
        Data::Sum(data) => data.data_points.len(),
        Data::Histogram(data) => data.data_points.len(),
        Data::ExponentialHistogram(data) => data.data_points.len(),
        Data::Summary(data) => data.data_points.len(),
    })
    .sum()
}

fn each_of_scope(
    scope: &mut Option<InstrumentationScope>,
    visit: &mut dyn FnMut(&mut Vec<KeyValue>),
) {
    scope
        .iter_mut()
        .for_each(|scope| visit(&mut scope.attributes));
}

fn each_of_span(span: &mut Span, visit: &mut dyn FnMut(&mut Vec<KeyValue>)) {
    visit(&mut span.attributes);
    span.events
        .iter_mut()
        .for_each(|event| visit(&mut event.attributes));
    span.links
        .iter_mut()
        .for_each(|link| visit(&mut link.attributes));
}

fn each_of_metric(metric: &mut Metric, visit: &mut dyn FnMut(&mut Vec<KeyValue>)) {
    let exemplars = |exemplars: &mut Vec<Exemplar>, visit: &mut dyn FnMut(&mut Vec<KeyValue>)| {
        exemplars
            .iter_mut()
            .for_each(|exemplar| visit(&mut exemplar.filtered_attributes));
    };
    visit(&mut metric.metadata);
    match &mut metric.data {
        None => {}
        Some(Data::Gauge(opentelemetry_proto::tonic::metrics::v1::Gauge { data_points }))
        | Some(Data::Sum(opentelemetry_proto::tonic::metrics::v1::Sum { data_points, .. })) => {
            for point in data_points {
                visit(&mut point.attributes);
                exemplars(&mut point.exemplars, visit);
            }
        }
        Some(Data::Histogram(data)) => {
            for point in &mut data.data_points {
                visit(&mut point.attributes);
                exemplars(&mut point.exemplars, visit);
            }
        }
        Some(Data::ExponentialHistogram(data)) => {
            for point in &mut data.data_points {
                visit(&mut point.attributes);
                exemplars(&mut point.exemplars, visit);
            }
        }
        Some(Data::Summary(data)) => data
            .data_points
            .iter_mut()
            .for_each(|point| visit(&mut point.attributes)),
    }
}
