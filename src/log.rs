//! Structured logs: JSON for collectors, text for people. No token, password, cookie or payload at any level.

use std::{
    io::IsTerminal as _,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::Metadata;
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry,
    filter::{LevelFilter, filter_fn},
    fmt,
    prelude::*,
    registry, reload,
};

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For collectors.
    Json,
}

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
pub(crate) fn start(level: &str, format: Format) -> Level {
    let rules = std::env::var("RUST_LOG").ok();
    let rules = rules.filter(|rules| !rules.trim().is_empty());
    let mistake = rules.as_deref().and_then(mistake);
    let rules = rules.filter(|_| mistake.is_none()).and_then(|rules| {
        let filter = EnvFilter::try_new(&rules).ok()?;
        Some((rules, filter))
    });
    let (now, filter) = rules.unwrap_or_else(|| (level.to_owned(), filter(level)));
    let (filter, handle) = reload::Layer::new(filter);
    let (text, json) = match format {
        Format::Text => {
            let text = fmt::layer().with_writer(std::io::stderr).with_target(false);
            (Some(text.with_ansi(std::io::stderr().is_terminal())), None)
        }
        Format::Json => {
            let json = fmt::layer().with_writer(std::io::stderr).json();
            let json = json
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false);
            (None, Some(json))
        }
    };
    let logs = text
        .map(|text| text.boxed())
        .or_else(|| json.map(|json| json.boxed()));
    registry()
        .with(filter)
        .with(logs.with_filter(filter_fn(may_speak)))
        .init();
    if let Some(mistake) = mistake {
        tracing::warn!("RUST_LOG is passed over: {mistake}");
    }
    Level {
        filter: handle,
        now: Arc::new(Mutex::new(now)),
    }
}

/// The drivers repeat what ours say better; the NATS client logs every loss as an error.
fn filter(level: &str) -> EnvFilter {
    EnvFilter::new(format!("{level},async_nats=off,mongodb=warn,hyper=warn"))
}

/// What is wrong with the rules. A single word that is no level would be read as the name of a crate, and silence all.
fn mistake(rules: &str) -> Option<String> {
    if let Err(error) = EnvFilter::try_new(rules) {
        return Some(error.to_string());
    }
    let words = rules.split(',').map(str::trim);
    let mut words = words.filter(|word| !word.is_empty() && !word.contains(['=', '[', ':']));
    let unknown =
        words.find(|word| word.parse::<LevelFilter>().is_err() && !OURS.contains(word))?;
    Some(format!(
        "`{unknown}` is neither a level nor a crate of ours"
    ))
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

#[cfg(test)]
mod tests {
    use super::mistake;

    #[test]
    fn rules_that_would_silence_everything_are_mistakes() {
        for good in [
            "debug",
            "gateway=trace,warn",
            "ddp_edge",
            "hyper=info",
            "OFF",
        ] {
            assert_eq!(mistake(good), None, "{good}");
        }
        for bad in ["inof", "debug,loud", "gateway=loud"] {
            assert!(mistake(bad).is_some(), "{bad}");
        }
    }
}
