//! Lightstep's own report formats, from before OpenTelemetry.
//!
//! What it does: reads tokens, service names and counts out of legacy reports, and writes them anew.
//! What it refuses to know: who calls, what they may, where a report goes. Invariant: no byte of a token
//! that came in goes out.
