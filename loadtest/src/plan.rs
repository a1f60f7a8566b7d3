//! What one run measures.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use crate::backend::Names;
use crate::process;
use crate::scenario::{EXTRAS, Scenario};
use crate::target::Target;
use crate::topics;

/// What to run against which server.
pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    /// How the report calls the server.
    pub(crate) server: String,
    pub(crate) target: Target,
    /// Where the stand-in backend joins; without it the swarm only connects and listens.
    pub(crate) nats: Option<SocketAddr>,
    pub(crate) names: Names,
    /// Clients share this many users.
    pub(crate) users: usize,
    /// The server's process, for CPU time and memory.
    pub(crate) pid: Option<u32>,
}

impl Plan {
    /// Streams and keys of client `number`: first those of its topics, then the extra ones.
    pub(crate) fn subscriptions(&self, number: usize) -> Vec<(String, String)> {
        let Self {
            scenario,
            names,
            users,
            ..
        } = self;
        let user = format!("{}{}", names.user_prefix, number % users);
        let topics = topics::topics_of(scenario.interest, number, *users)
            .into_iter()
            .map(|topic| {
                let (stream, event) = topics::stream_and_event(scenario.interest, names, topic);
                (stream.to_owned(), event)
            });
        let extras = EXTRAS[..scenario.extra_subscriptions].iter();
        topics
            .chain(extras.map(|(stream, key)| ((*stream).to_owned(), key.replace("{}", &user))))
            .collect()
    }

    pub(crate) fn cpu_time(&self) -> Result<Option<Duration>> {
        self.pid.map(process::cpu_time).transpose()
    }

    pub(crate) fn cpu_since(&self, before: Option<Duration>) -> Result<Option<Duration>> {
        let now = self.cpu_time()?;
        Ok(now
            .zip(before)
            .map(|(now, before)| now.saturating_sub(before)))
    }

    pub(crate) fn rss_bytes(&self) -> Result<Option<u64>> {
        self.pid.map(process::rss_bytes).transpose()
    }
}
