//! Structured logs: JSON when nobody reads along, text on a terminal. No token, password, cookie or payload at any level.

use std::io::IsTerminal as _;

use tracing::{Level, Metadata};
use tracing_subscriber::{EnvFilter, Layer as _, filter::filter_fn, fmt, prelude::*, registry};

/// Starts logging to standard error; `RUST_LOG` refines the level of our own crates.
pub(crate) fn start(level: &str) {
    let filter = std::env::var("RUST_LOG")
        .ok()
        .and_then(|rules| EnvFilter::try_new(rules).ok())
        .unwrap_or_else(|| {
            // The drivers repeat what ours say better; the NATS client logs every loss as an error.
            EnvFilter::new(format!("{level},async_nats=off,mongodb=warn,hyper=warn"))
        });
    let (text, json) = if std::io::stderr().is_terminal() {
        let text = fmt::layer().with_writer(std::io::stderr).with_target(false);
        (Some(text), None)
    } else {
        let json = fmt::layer().with_writer(std::io::stderr).json();
        let json = json
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false);
        (None, Some(json))
    };
    let logs = text
        .map(|text| text.boxed())
        .or_else(|| json.map(|json| json.boxed()));
    registry()
        .with(filter)
        .with(logs.with_filter(filter_fn(may_speak)))
        .init();
}

/// Others say more than they should from `info` on (the NATS client its password): whatever `RUST_LOG` asks for, they may
/// only warn.
fn may_speak(event: &Metadata<'_>) -> bool {
    let name = event.target().split("::").next().unwrap_or_default();
    OURS.contains(&name) || *event.level() <= Level::WARN
}

/// The crates that keep secrets out of their logs.
const OURS: [&str; 6] = [
    "ddp_edge",
    "gateway",
    "backplane",
    "protocol",
    "store",
    "services",
];
