//! What one run measures.

use std::iter::Sum;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::backend::Names;
use crate::process;
use crate::scenario::{EXTRAS, Interest, Scenario};
use crate::target::Target;
use crate::topics;

/// What to run against which server.
pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    /// How the report calls the server.
    pub(crate) server: String,
    /// Where clients connect, in turn; at least one.
    pub(crate) targets: Vec<Target>,
    /// Where the stand-in backend joins; without it the swarm only connects and listens.
    pub(crate) nats: Option<SocketAddr>,
    pub(crate) names: Names,
    /// Services that the backend leaves to others.
    pub(crate) unplayed: Vec<String>,
    /// Clients share this many users.
    pub(crate) users: usize,
    /// The servers' processes, for CPU time and memory; none if they are not known.
    pub(crate) pids: Vec<u32>,
}

impl Plan {
    /// Streams and parameters of client `number`: first those of its topics, then the extra ones.
    pub(crate) fn subscriptions(&self, number: usize) -> Vec<(String, Value)> {
        let Self {
            scenario,
            names,
            users,
            ..
        } = self;
        let user = names.user(number % users);
        let topics = topics::topics_of(scenario.interest, number, *users);
        let typing: Vec<_> = topics
            .iter()
            .filter(|_| scenario.typing_per_event > 0)
            .map(|&room| ("stream-notify-room", topics::typing_event(names, room)))
            .collect();
        let topics = topics
            .into_iter()
            .map(|topic| topics::stream_and_event(scenario.interest, names, topic));
        let extras = EXTRAS[..scenario.extra_subscriptions].iter();
        let extras = extras.map(|(stream, key)| (*stream, key.replace("{}", &user)));
        let one_each = |(stream, key): (&str, String)| {
            (
                stream.to_owned(),
                json!([key, {"useCollection":false,"args":[]}]),
            )
        };
        if let Interest::Watched { .. } = scenario.interest {
            let watched: Vec<_> = topics.map(|(_, user)| user).collect();
            let all = (
                "stream-user-presence".to_owned(),
                json!(["", {"added": watched}]),
            );
            return [all].into_iter().chain(extras.map(one_each)).collect();
        }
        topics.chain(typing).chain(extras).map(one_each).collect()
    }

    pub(crate) fn cpu_time(&self) -> Result<Option<Duration>> {
        self.sum(process::cpu_time)
    }

    pub(crate) fn cpu_since(&self, before: Option<Duration>) -> Result<Option<Duration>> {
        let now = self.cpu_time()?;
        Ok(now
            .zip(before)
            .map(|(now, before)| now.saturating_sub(before)))
    }

    pub(crate) fn rss_bytes(&self) -> Result<Option<u64>> {
        self.sum(process::rss_bytes)
    }

    /// `None` if no process is known.
    fn sum<T: Sum>(&self, read: impl Fn(u32) -> Result<T>) -> Result<Option<T>> {
        let known = !self.pids.is_empty();
        let total: T = self.pids.iter().map(|&pid| read(pid)).sum::<Result<_>>()?;
        Ok(known.then_some(total))
    }
}
