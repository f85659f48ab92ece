//! The one line that a call leaves in the log.
//!
//! What it does: says of a record what an operator looks for. What it refuses to know: where the record goes besides.
//! Invariant: nothing is in a line that is not in the record.

use crate::audit::Record;
use crate::reason::Reason;

/// One event of the given level: the level of an event is fixed where it stands.
macro_rules! write_line {
    ($level:ident, $record:expr) => {{
        let record = $record;
        tracing::event!(
            tracing::Level::$level,
            request_id = record.request_id,
            decision = record.decision,
            reason = record.reason.code(),
            detail = record.detail.as_deref(),
            status = record.status,
            grpc_status = record.grpc_status,
            method = record.http_method.as_deref(),
            path = record.path.as_deref(),
            operation = record.operation.as_deref(),
            app = record.app.as_deref(),
            subject = record.identity.as_ref().map(|who| &*who.subject),
            issuer = record.identity.as_ref().map(|who| &*who.issuer),
            client = record.client_address,
            duration_us = record.duration_us,
            "call"
        );
    }};
}

/// The one line that a call leaves in the log: what went well at `debug`, because the audit trail has it
/// anyway and a line costs as much as the decision; what did not at `info`.
pub(crate) fn log(record: &Record) {
    if record.reason == Reason::Ok {
        if tracing::enabled!(tracing::Level::DEBUG) {
            write_line!(DEBUG, record);
        }
    } else if tracing::enabled!(tracing::Level::INFO) {
        write_line!(INFO, record);
    }
}

/// The line of what was refused before a request existed.
pub(crate) fn log_event(record: &Record) {
    tracing::info!(
        listener = record.listener,
        reason = record.reason.code(),
        detail = record.detail.as_deref(),
        peer = record.client_address,
        "{}",
        record.event
    );
}
