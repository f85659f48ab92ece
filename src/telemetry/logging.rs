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
    let filter = EnvFilter::new(filter(level));
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

/// Which lines are shown. `pingora_core::apps` has one line, which any client makes that ends its connection within the
/// HTTP/2 handshake.
fn filter(level: &str) -> String {
    format!(
        "{level},pingora_core=error,pingora_core::apps=off,pingora_proxy=off,pingora_pool=error,\
         h2=error,hyper=error,hyper_util=error,rustls=error"
    )
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::EnvFilter;
    use tracing_subscriber::layer::SubscriberExt as _;

    /// Scenario: lines of ours, of the framework, and what it says of a client that leaves within the HTTP/2 handshake.
    /// Guarantees: the first two are shown by their levels, the last never: clients do not fill the log.
    #[test]
    fn clients_make_no_lines_of_the_framework() {
        for level in ["error", "info", "debug"] {
            let filter = EnvFilter::new(super::filter(level));
            let subscriber = tracing_subscriber::registry().with(filter);
            tracing::subscriber::with_default(subscriber, || {
                let shown = [
                    tracing::enabled!(target: "lightkeeper", tracing::Level::ERROR),
                    tracing::enabled!(target: "pingora_core::server", tracing::Level::ERROR),
                    tracing::enabled!(target: "pingora_core::server", tracing::Level::WARN),
                    tracing::enabled!(target: "pingora_core::apps", tracing::Level::ERROR),
                ];
                assert_eq!(shown, [true, true, false, false], "{level}");
            });
        }
    }
}
