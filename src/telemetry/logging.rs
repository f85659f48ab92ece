//! Log lines.
//!
//! What it does: starts them, on standard error. What it refuses to know: who writes one. Invariant: the framework's own lines,
//! which hold raw heads, are never shown.

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Text,
}

/// Starts logging to standard error; `level` is one of `error`, `warn`, `info`, `debug`. A second start
/// is ignored, so that tests may run several gateways.
///
/// The framework's own lines below `warn` are never shown: at `debug` it prints raw heads, credentials
/// included.
pub fn start_logging(format: LogFormat, level: &str) {
    use tracing_subscriber::EnvFilter;
    let level = match level {
        "error" | "warn" | "debug" => level,
        _ => "info",
    };
    let filter = EnvFilter::new(format!(
        "{level},pingora_core=error,pingora_proxy=off,pingora_pool=error,h2=error,hyper=error,hyper_util=error,rustls=error"
    ));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    // A logger that is set already stays.
    let _ = match format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_ansi(false).try_init(),
    };
}
