//! From a path to the operation that it asks for.
//!
//! What it does: matches decoded query segments, OTLP/HTTP paths and gRPC methods against the profile's rows.
//! What it refuses to know: how a path was decoded, and whether anybody may ask. Invariants: at most one row matches
//! (the loader refuses a table where two could); nothing is allocated but the result.

use http::Method;

use super::{LegacyReport, OperationId, Profile, Segment};
use crate::lightstep::Format;
use crate::otlp::Signal;

/// What a query path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryMatch {
    pub operation: OperationId,
    /// The decoded `{project}`, if the template has one.
    pub project: Option<String>,
    /// The decoded further placeholders, in the template's order.
    pub parameters: Vec<String>,
}

/// The rows of one method and number of segments.
#[derive(Clone, Debug)]
pub(super) struct RowBucket {
    pub method: Method,
    pub segments: usize,
    /// Which segment tells most of the rows apart: its place, and each row's literal there (`None`: a placeholder).
    pub(crate) pivot: usize,
    pub rows: Vec<(Option<String>, OperationId)>,
}

impl Profile {
    /// Finds the operation of the query API. `segments` are the decoded path segments after
    /// `{query_prefix}/{organization}`.
    pub fn match_query(&self, method: &Method, segments: &[&str]) -> Option<QueryMatch> {
        let bucket = self
            .buckets
            .iter()
            .find(|bucket| bucket.segments == segments.len() && bucket.method == *method)?;
        let pivot = segments.get(bucket.pivot)?;
        let operation = bucket
            .rows
            .iter()
            .filter(|(literal, _)| literal.as_deref().is_none_or(|literal| literal == *pivot))
            .filter_map(|(_, id)| self.operations.get(usize::from(id.0)))
            .find(|operation| fits(&operation.segments, segments))?;
        let mut project = None;
        let mut parameters = Vec::new();
        for (template, segment) in operation.segments.iter().zip(segments) {
            match template {
                Segment::Literal(_) => {}
                Segment::Project => project = Some((*segment).to_owned()),
                Segment::Parameter => parameters.push((*segment).to_owned()),
            }
        }
        Some(QueryMatch {
            operation: operation.id,
            project,
            parameters,
        })
    }

    /// Of the decoded segments of a path of the query API, the organization and what follows it.
    pub(crate) fn query_path<'s, 'w>(
        &self,
        segments: &'s [&'w str],
    ) -> Option<(&'w str, &'s [&'w str])> {
        if !self.has_query {
            return None;
        }
        let mut rest = segments;
        for known in self.query_prefix.split('/').skip(1) {
            let (first, after) = rest.split_first()?;
            rest = (*first == known).then_some(after)?;
        }
        rest.split_first()
            .map(|(organization, rest)| (*organization, rest))
    }

    /// The first segment of the query API's paths: `public`.
    pub fn query_root(&self) -> &str {
        self.query_prefix.split('/').nth(1).unwrap_or_default()
    }

    /// Whether a path, as it came, looks like one of the query API, of whatever version.
    pub(crate) fn looks_like_query(&self, path: &str) -> bool {
        let rest = path
            .strip_prefix('/')
            .and_then(|rest| rest.strip_prefix(self.query_root()));
        self.has_query && rest.is_some_and(|rest| rest.starts_with('/'))
    }

    /// Whether a path, as it came, looks like one that takes OTLP over HTTP.
    pub(crate) fn looks_like_export(&self, path: &str) -> bool {
        self.ingest.iter().any(|row| {
            if row.minor {
                path.contains(&row.path)
            } else {
                path.ends_with(&row.path)
            }
        })
    }

    /// The format of what is sent to the path `/{inner}`, by whether it is JSON.
    pub(crate) fn legacy_format(&self, inner: &str, json: bool) -> Option<Format> {
        let is_json = |row: &LegacyReport| row.types.iter().any(|known| known.ends_with("json"));
        let mut rows = self
            .legacy
            .iter()
            .filter(|row| row.path.strip_prefix('/') == Some(inner));
        let first = rows.next()?;
        let fitting = std::iter::once(first)
            .chain(rows)
            .find(|row| is_json(row) == json);
        Some(fitting.unwrap_or(first).format)
    }

    /// Whether the backend reads a header of this name, lower case.
    pub(crate) fn reads_header(&self, name: &str) -> bool {
        let optional = [&self.access_token_header, &self.tenant_header];
        let known = optional.into_iter().flatten();
        known
            .chain([&self.api_key_header])
            .any(|known| *known == name)
    }

    /// Whether a path is a method of a gRPC service of the first package of one that is known, known itself or not.
    pub(crate) fn is_grpc_method(&self, path: &str) -> bool {
        let rows = self
            .grpc
            .iter()
            .map(|(path, ..)| path)
            .chain(self.legacy_grpc.iter().map(|row| &row.path));
        rows.filter_map(|known| known.split_inclusive('.').next())
            .any(|package| path.starts_with(package))
    }

    /// Finds the export that an OTLP/HTTP path stands for, and the path to ask of the backend, rebuilt from the table.
    pub fn match_ingest(&self, path: &str) -> Option<(OperationId, Signal, String)> {
        let of_row = self.ingest.iter().find_map(|row| {
            let rest = path.strip_prefix(row.path.as_str())?;
            if !row.minor {
                return rest
                    .is_empty()
                    .then(|| (row.operation, row.signal, row.path.clone()));
            }
            let minor = minor_version(rest)?;
            Some((row.operation, row.signal, format!("{}{minor}", row.path)))
        });
        of_row.or_else(|| {
            let (operation, signal) = self.of_standard_path(path, false)?;
            Some((operation, signal, path.to_owned()))
        })
    }

    /// The row of the same legacy report, told by its path and format.
    pub(crate) fn same_report(
        &self,
        grpc: bool,
        path: &str,
        format: Format,
    ) -> Option<&LegacyReport> {
        let rows = if grpc {
            &self.legacy_grpc
        } else {
            &self.legacy
        };
        rows.iter()
            .find(|row| row.path == path && row.format == format)
    }

    /// Finds the export that a gRPC method (`/package.Service/Method`) stands for.
    pub fn match_grpc(&self, path: &str) -> Option<(OperationId, Signal)> {
        self.grpc
            .iter()
            .find(|(known, ..)| known == path)
            .map(|(_, operation, signal)| (*operation, *signal))
            .or_else(|| self.of_standard_path(path, true))
    }

    /// The forms in which legacy reports come to an HTTP path; none for a path that takes none.
    pub(crate) fn legacy(&self, path: &str) -> impl Iterator<Item = &LegacyReport> {
        self.legacy.iter().filter(move |row| row.path == path)
    }

    /// The legacy report that a gRPC method takes.
    pub(crate) fn legacy_grpc(&self, path: &str) -> Option<&LegacyReport> {
        self.legacy_grpc.iter().find(|row| row.path == path)
    }

    /// All of them.
    pub fn legacy_reports(&self) -> &[LegacyReport] {
        &self.legacy
    }

    /// Whether clients of the path of these segments put their token into its query.
    pub(crate) fn takes_token_in_url(&self, segments: &[&str]) -> bool {
        self.token_in_url
            .iter()
            .any(|known| known.split('/').skip(1).eq(segments.iter().copied()))
    }
}

/// One or two digits without a leading zero, so that a version has one spelling.
pub(super) fn minor_version(text: &str) -> Option<u8> {
    let plain = (1..=2).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

fn fits(template: &[Segment], segments: &[&str]) -> bool {
    template.len() == segments.len()
        && template
            .iter()
            .zip(segments)
            .all(|(template, segment)| match template {
                Segment::Literal(literal) => literal == segment,
                Segment::Project | Segment::Parameter => is_value(segment),
            })
}

/// Whether text may stand for a placeholder. What could become another segment or none when the backend decodes or
/// normalises the path (RFC 3986 section 5.2.4) may not: such a value would leave the project that was decided on.
pub(super) fn is_value(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && !text
            .chars()
            .any(|each| matches!(each, '/' | '\\') || each.is_control())
}

/// Whether some path fits both templates.
pub(super) fn overlap(one: &[Segment], other: &[Segment]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|pair| match pair {
            (Segment::Literal(one), Segment::Literal(other)) => one == other,
            _ => true,
        })
}
