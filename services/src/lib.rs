//! The satellites: light services on the bus. Each is one `run(bus, store, config, shutdown)`, its requests are read
//! into strict types first, and its rules are plain functions. They never import the gateway; they meet on the bus.

pub mod accounts;
mod answers;
pub mod authorization;
mod errors;
mod gather;
mod json;
mod known;
pub mod license;
mod params;
pub mod presence;
pub mod sandbox;
mod serve;
mod settings;
pub mod stream_hub;

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the epoch.
fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
