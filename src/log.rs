//! Structured logs: JSON when nobody reads along, text on a terminal. No token, password, cookie or payload at any level.

use std::{
    io::IsTerminal as _,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::Metadata;
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, filter::filter_fn, fmt, prelude::*, registry, reload,
};

/// The level while the process runs; cheap to clone.
#[derive(Clone)]
pub(crate) struct Level {
    filter: reload::Handle<EnvFilter, Registry>,
    now: Arc<Mutex<String>>,
}

impl Level {
    /// What is written now: a level, or the rules of `RUST_LOG`.
    pub(crate) fn now(&self) -> String {
        let now = self.now.lock();
        now.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes from now on at this level; `false` if it is none.
    pub(crate) fn set(&self, level: &str) -> bool {
        let known = LEVELS.contains(&level);
        if known && self.filter.reload(filter(level)).is_ok() {
            *self.now.lock().unwrap_or_else(PoisonError::into_inner) = level.to_owned();
        }
        known
    }
}

/// Starts logging to standard error; `RUST_LOG` refines the level of our own crates.
pub(crate) fn start(level: &str) -> Level {
    let rules = std::env::var("RUST_LOG").ok().and_then(|rules| {
        let filter = EnvFilter::try_new(&rules).ok()?;
        Some((rules, filter))
    });
    let (now, filter) = rules.unwrap_or_else(|| (level.to_owned(), filter(level)));
    let (filter, handle) = reload::Layer::new(filter);
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
    Level {
        filter: handle,
        now: Arc::new(Mutex::new(now)),
    }
}

/// The drivers repeat what ours say better; the NATS client logs every loss as an error.
fn filter(level: &str) -> EnvFilter {
    EnvFilter::new(format!("{level},async_nats=off,mongodb=warn,hyper=warn"))
}

/// Others say more than they should from `info` on (the NATS client its password): whatever `RUST_LOG` asks for, they may
/// only warn.
fn may_speak(event: &Metadata<'_>) -> bool {
    let name = event.target().split("::").next().unwrap_or_default();
    OURS.contains(&name) || *event.level() <= tracing::Level::WARN
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
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
