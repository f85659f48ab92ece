//! `audit query`: the records that match.
//!
//! What it does: prints lines, as they stand, that all given conditions hold of. What it refuses to know: seals. Invariant: one line
//! is held at a time.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Args;

use super::TrailArguments;
use super::fault::AuditFault;
use super::walk::{in_order, walk};
use crate::audit::{NoMoment, RecordConditions, RecordFilter};

#[derive(Debug, Args)]
pub struct TrailQueryArguments {
    #[command(flatten)]
    pub(crate) matching: MatchArguments,
    /// Print so many at most.
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) trail: TrailArguments,
}

/// Conditions on records; all that are given must hold.
#[derive(Debug, Default, Args)]
pub(crate) struct MatchArguments {
    #[arg(long, value_name = "ID")]
    pub(crate) request_id: Option<String>,
    /// `call`, or another event.
    #[arg(long)]
    pub(crate) event: Option<String>,
    /// Of the identity.
    #[arg(long)]
    pub(crate) subject: Option<String>,
    /// Of the identity.
    #[arg(long)]
    pub(crate) issuer: Option<String>,
    /// This app, and all beneath it; of an export to several apps, one of them.
    #[arg(long)]
    pub(crate) app: Option<String>,
    #[arg(long)]
    pub(crate) project: Option<String>,
    /// `ingest.traces`, …
    #[arg(long)]
    pub(crate) operation: Option<String>,
    /// `allow` or `deny`.
    #[arg(long)]
    pub(crate) decision: Option<String>,
    #[arg(long)]
    pub(crate) reason: Option<String>,
    #[arg(long)]
    pub(crate) status: Option<u64>,
    /// With or without its port.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) client_address: Option<String>,
    /// Not before this time, RFC 3339, or a day in UTC.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Before this time, RFC 3339, or a day in UTC.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

impl MatchArguments {
    /// The conditions, made ready.
    pub(super) fn filter(&self) -> Result<RecordFilter, NoMoment> {
        RecordFilter::new(&RecordConditions {
            request_id: self.request_id.clone(),
            event: self.event.clone(),
            subject: self.subject.clone(),
            issuer: self.issuer.clone(),
            app: self.app.clone(),
            project: self.project.clone(),
            operation: self.operation.clone(),
            decision: self.decision.clone(),
            reason: self.reason.clone(),
            client_address: self.client_address.clone(),
            status: self.status,
            since: self.since.clone(),
            until: self.until.clone(),
        })
    }
}

pub(super) fn query(arguments: &TrailQueryArguments) -> Result<ExitCode, AuditFault> {
    let filter = arguments.matching.filter()?;
    let files = in_order(&arguments.trail)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let limit = arguments.limit.unwrap_or(u64::MAX);
    let mut found = 0u64;
    walk(&files, arguments.trail.quiet, |_, line| {
        if found >= limit {
            return Ok(ControlFlow::Break(()));
        }
        if filter.find(line.text).is_some() {
            found += 1;
            out.write_all(line.text)
                .and_then(|()| out.write_all(b"\n"))
                .map_err(AuditFault::Output)?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    out.flush().map_err(AuditFault::Output)?;
    Ok(ExitCode::SUCCESS)
}
