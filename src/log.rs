//! Structured logs: JSON when nobody reads along, text on a terminal. No token, password, cookie or payload at any level.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts logging to standard error; `RUST_LOG` refines the level.
pub(crate) fn start(level: &str) {
    let filter = std::env::var("RUST_LOG")
        .ok()
        .and_then(|rules| EnvFilter::try_new(rules).ok())
        .unwrap_or_else(|| {
            // The drivers repeat what ours say better; the NATS client logs every loss as an error.
            EnvFilter::new(format!("{level},async_nats=off,mongodb=warn,hyper=warn"))
        });
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.with_target(false).init();
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .init();
    }
}
