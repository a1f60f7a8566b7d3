//! What presence does by itself: lost nodes, sweeps, the reaper, expiry, a look at the truth, the limit of connections,
//! indexes. One thing at a time; what fails is done again. Where there are several presence services, the others give the
//! first a moment, and find nothing left to do.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use backplane::CallOptions;
use store::Error;
use tokio::{sync::mpsc, time::sleep_until};

use super::{
    cap,
    command::{Action, Command, OFFERS_CLAIMS, status},
    config::Mode,
    engine::Input,
    news::{DISABLED, News, TROUBLESHOOT},
    reaper::Reaper,
    shared::Presence,
};
use crate::now_ms;

/// What is due when.
pub(super) struct House {
    presence: Arc<Presence>,
    news: mpsc::Receiver<News>,
    lost: Vec<Lost>,
    due: [(Chore, Instant); 7],
    reaper: Reaper,
    /// The node of an instance, where its document told.
    instances: HashMap<String, String>,
    /// When the licence was asked for last.
    licence_known: Option<Instant>,
    /// The licence was asked for, or nobody has one to ask for: until then nobody knows whether there is a limit.
    may_limit: bool,
    has_reset: bool,
}

/// A node whose connections are to be swept.
struct Lost {
    node: Arc<str>,
    instance: Option<String>,
    at: i64,
    due: Instant,
}

#[derive(Clone, Copy, PartialEq)]
enum Chore {
    Indexes,
    Mode,
    Limit,
    Sweep,
    Reap,
    Expire,
    Audit,
}

impl House {
    pub(super) fn new(presence: Arc<Presence>, news: mpsc::Receiver<News>) -> Self {
        let now = Instant::now();
        let due = [
            Chore::Mode,
            Chore::Indexes,
            Chore::Limit,
            Chore::Expire,
            Chore::Sweep,
            Chore::Audit,
            Chore::Reap,
        ];
        Self {
            presence,
            news,
            lost: Vec::new(),
            due: due.map(|chore| (chore, now)),
            reaper: Reaper::default(),
            instances: HashMap::new(),
            licence_known: None,
            may_limit: false,
            has_reset: false,
        }
    }

    /// Keeps house for ever.
    pub(super) async fn run(mut self) {
        loop {
            let lost = self.lost.iter().map(|lost| lost.due).min();
            let (next, chore) = self.earliest();
            let wake = lost.map_or(next, |lost| lost.min(next));
            tokio::select! {
                biased;
                Some(news) = self.news.recv() => {
                    if let Err(error) = self.hear(news).await {
                        tracing::warn!(%error, "presence could not follow what it heard");
                    }
                }
                () = sleep_until(wake.into()) => {
                    if lost.is_some_and(|due| due <= Instant::now()) {
                        self.sweep_lost().await;
                    } else {
                        self.does(chore).await;
                    }
                }
            }
        }
    }

    fn earliest(&self) -> (Instant, Chore) {
        let due = self.due.iter().map(|(chore, due)| (*due, *chore));
        due.min_by_key(|(due, _)| *due).expect("there are chores")
    }

    async fn hear(&mut self, news: News) -> Result<(), Error> {
        match news {
            News::Lost {
                node,
                instance,
                at,
                served,
            } => {
                self.lose(node, instance, at);
                if served {
                    let due = Instant::now() + self.patience();
                    self.bring_forward(Chore::Audit, due);
                    self.bring_forward(Chore::Expire, due);
                }
            }
            News::Unsettled => {
                // What was said meanwhile nobody has heard.
                self.licence_known = None;
                self.bring_forward(Chore::Limit, Instant::now());
            }
            News::InstanceRemoved(id) => {
                self.presence.cap().forget(&id);
                // Its document may be gone while the process is not: then the network knows.
                let node = self.instances.remove(&id);
                for node in node.into_iter().chain([id]) {
                    self.lose(node.into(), None, i64::MAX);
                }
            }
            News::Count(id, sockets) => {
                self.presence.cap().count(&id, sockets, Instant::now());
                self.enforce().await?;
            }
            News::Licence(module, valid) => {
                self.presence.cap().set_licensed(&module, valid);
                self.enforce().await?;
            }
            News::Settings => self.follow_settings().await?,
            News::Joined => {
                self.find_mode().await?;
            }
            News::Claims if self.presence.config.mode == Mode::Auto => {
                self.presence
                    .use_engine("another presence service of ours does");
            }
            News::Claims => {}
            News::Doubtful(made) => {
                for (user, session) in made {
                    let user: Arc<str> = user.into();
                    if self.presence.doubt().has_ended(&user, &session) {
                        let node = String::new();
                        let again = Command::silent(Action::Remove { session, node });
                        self.presence.push(user, again);
                    }
                }
            }
            News::Expires(at) => {
                let wait = u64::try_from(at - now_ms()).unwrap_or(0).saturating_add(1);
                let due = Instant::now() + Duration::from_millis(wait).min(EXPIRE_EVERY);
                self.bring_forward(Chore::Expire, due);
            }
        }
        Ok(())
    }

    fn lose(&mut self, node: Arc<str>, instance: Option<String>, at: i64) {
        let due = Instant::now() + self.patience();
        self.lost.push(Lost {
            node,
            instance,
            at,
            due,
        });
    }

    /// What this service lets the others be ahead.
    fn patience(&self) -> Duration {
        let rank = self.presence.rank().unwrap_or(0);
        HEAD_START * rank.min(30)
    }

    async fn sweep_lost(&mut self) {
        let now = Instant::now();
        let due: Vec<Lost> = self.lost.extract_if(.., |lost| lost.due <= now).collect();
        for mut lost in due {
            if let Err(error) = self.sweep_one(&lost).await {
                tracing::warn!(%error, node = %lost.node, "the connections of a lost node will be removed later");
                lost.due = Instant::now() + RETRY;
                self.lost.push(lost);
            }
        }
    }

    async fn sweep_one(&self, lost: &Lost) -> Result<(), Error> {
        let nodes = self.presence.bus.nodes();
        let back = nodes
            .iter()
            .find(|node| node.available && node.id == lost.node);
        let made_before = match back {
            None => i64::MAX,
            Some(back) if back.instance == lost.instance || lost.at == i64::MAX => return Ok(()),
            // Another process under the old name: only what the old one has left behind.
            Some(_) => lost.at,
        };
        let swept = self.presence.sweep_node(&lost.node, made_before).await?;
        tracing::info!(node = %lost.node, users = swept.len(), "the connections of a lost node are removed");
        Ok(())
    }

    async fn does(&mut self, chore: Chore) {
        let bus = self.presence.bus.status();
        // An event goes to the nodes that are known, and at the very start none is.
        let is_told = bus.connected && bus.announced;
        let done = match chore {
            // What changes while nobody hears of it would never be told.
            Chore::Sweep | Chore::Reap | Chore::Expire | Chore::Audit if !is_told => Ok(RETRY),
            Chore::Indexes => self.make_indexes().await,
            Chore::Mode => self.find_mode().await,
            Chore::Limit => self.count().await,
            Chore::Sweep => self.sweep_vanished().await,
            Chore::Reap => self.reap().await,
            Chore::Expire => self.expire().await,
            Chore::Audit => self.audit().await,
        };
        let pause = done.unwrap_or_else(|error| {
            tracing::warn!(%error, "presence could not keep house; it tries again");
            RETRY
        });
        let next = Instant::now() + pause;
        for (known, due) in &mut self.due {
            if *known == chore {
                *due = next;
            }
        }
    }

    fn bring_forward(&mut self, chore: Chore, to: Instant) {
        for (known, due) in &mut self.due {
            if *known == chore {
                *due = (*due).min(to);
            }
        }
    }

    async fn make_indexes(&self) -> Result<Duration, Error> {
        let config = &self.presence.config;
        if config.create_indexes {
            let made = self.presence.store.create_indexes(config.instances_expire);
            made.await?;
        }
        Ok(NEVER)
    }

    async fn find_mode(&self) -> Result<Duration, Error> {
        let presence = &self.presence;
        if presence.is_engine() {
            presence.tell_rules();
        } else if presence.config.mode == Mode::Legacy {
            return Ok(NEVER);
        } else if presence.bus.others_offer(OFFERS_CLAIMS) {
            // One of ours offers them whatever its rules.
            presence.use_engine("another presence service follows them");
        } else if let Some(version) = presence.store.server_version().await?
            && is_8_6(&version)
        {
            presence.use_engine("the server's version has them");
        }
        // Whoever was faster has said the same.
        let _ = presence.rules.set(());
        Ok(MODE_EVERY)
    }

    /// Counts the sockets of the living instances, and keeps what the limit says.
    async fn count(&mut self) -> Result<Duration, Error> {
        let seen = self.presence.store.instances().await?;
        self.instances = seen
            .iter()
            .filter_map(|instance| Some((instance.id.clone(), instance.node.clone()?)))
            .collect();
        let now = Instant::now();
        let living = self.presence.vanished().living(&seen, now);
        let counts = living.iter().map(|it| (it.id.clone(), it.sockets));
        self.presence.cap().count_all(counts, now);
        self.follow_settings().await?;
        if !self.presence.bus.status().announced {
            // Whoever has the licence was not seen yet.
            return Ok(RETRY);
        }
        let is_known = self
            .licence_known
            .is_some_and(|at| at.elapsed() < LICENCE_EVERY);
        if !is_known && self.presence.bus.has_service("license") {
            self.licence_known = self.ask_licence().await.then(Instant::now);
        }
        self.may_limit = true;
        self.enforce().await?;
        if !self.has_reset {
            // A start forgets what an earlier one found, unless it still holds.
            let exceeded = self.presence.cap().is_exceeded();
            if !exceeded && !self.presence.cap().tells() {
                self.presence.cap().set_disabled(false);
                self.presence.write_disabled(false).await?;
            }
            self.has_reset = true;
        }
        Ok(COUNT_EVERY)
    }

    async fn ask_licence(&self) -> bool {
        let mut is_known = true;
        for module in cap::MODULES {
            let params = serde_json::json!([module]).to_string();
            let asked =
                self.presence
                    .bus
                    .call("license.hasModule", &params, CallOptions::default());
            match asked.await {
                Ok(answer) => {
                    let valid = answer.is_some_and(|answer| answer == "true");
                    self.presence.cap().set_licensed(module, valid);
                }
                Err(_) => is_known = false,
            }
        }
        is_known
    }

    async fn enforce(&self) -> Result<(), Error> {
        if !self.may_limit {
            return Ok(());
        }
        let verdict = self.presence.cap().verdict();
        if let Some(disabled) = verdict {
            tracing::warn!(
                disabled,
                limit = self.presence.cap().max(),
                "the limit of connections without a licence decides whether presence is told"
            );
            self.presence.write_disabled(disabled).await?;
        }
        Ok(())
    }

    async fn follow_settings(&self) -> Result<(), Error> {
        let is_true = |value: Option<store::bson::Bson>| value.and_then(|value| value.as_bool());
        let store = &self.presence.store;
        if let Some(disabled) = is_true(store.setting(DISABLED).await?) {
            self.presence.cap().set_disabled(disabled);
        }
        if let Some(muted) = is_true(store.setting(TROUBLESHOOT).await?) {
            self.presence.cap().set_muted(muted);
        }
        Ok(())
    }

    async fn sweep_vanished(&self) -> Result<Duration, Error> {
        let every = self.presence.config.heartbeat_timeout;
        self.presence.sweep_vanished().await?;
        Ok(every)
    }

    /// Entries that their owner, who refreshes others, has not touched for five minutes.
    async fn reap(&mut self) -> Result<Duration, Error> {
        let since = now_ms() - STALE_MS;
        let found = self.presence.store.connections_untouched(since).await?;
        let refreshing = self.presence.refreshing();
        let stale = self.reaper.look(&found, since, &refreshing);
        let swept = self.presence.sweep(found, "untouched", |user, entry| {
            stale.contains(&(user.to_owned(), entry.id.clone()))
        });
        swept.await;
        Ok(REAP_EVERY)
    }

    async fn expire(&self) -> Result<Duration, Error> {
        if !self.presence.is_engine() {
            return Ok(EXPIRE_EVERY);
        }
        let patience = self.patience();
        let expiring = self.presence.store.expiring_statuses(PAGE).await?;
        let behind = i64::try_from(patience.as_millis()).unwrap_or(i64::MAX);
        let now = now_ms() - behind;
        let over = expiring.iter().filter(|(_, at)| *at < now);
        let commands: Vec<_> = over
            .map(|(user, _)| (Arc::from(user.as_str()), status(Input::Expire)))
            .collect();
        let are_more = commands.len() == PAGE as usize;
        self.presence.carry_out(commands).await;
        if are_more {
            return Ok(Duration::ZERO);
        }
        let next = expiring.iter().map(|(_, at)| *at).find(|at| *at >= now);
        let wait = next.map_or(u64::MAX, |at| {
            u64::try_from(at - now).unwrap_or(0).saturating_add(1)
        });
        Ok(Duration::from_millis(wait).min(EXPIRE_EVERY))
    }

    /// Looks at everybody who is thought to be connected, and everybody who is: a process that ended between two steps
    /// has left them apart. Every service does, because the first of them may be one of the original's, which never looks.
    async fn audit(&self) -> Result<Duration, Error> {
        for thought in [true, false] {
            let mut after = String::new();
            loop {
                let store = &self.presence.store;
                let users = if thought {
                    store.users_thought_connected(&after, PAGE).await?
                } else {
                    store.connected_users(&after, PAGE).await?
                };
                let Some(last) = users.last() else { break };
                after.clone_from(last);
                let commands: Vec<(Arc<str>, Action)> = users
                    .iter()
                    .map(|user| (Arc::from(user.as_str()), status(Input::Audit)))
                    .collect();
                self.presence.carry_out(commands).await;
            }
        }
        Ok(AUDIT_EVERY + self.patience())
    }
}

/// Whether a server of this version knows claims.
fn is_8_6(version: &str) -> bool {
    let mut parts = version
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    version >= (8, 6)
}

/// What the first of several presence services has before the next one looks.
const HEAD_START: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_secs(1);
const MODE_EVERY: Duration = Duration::from_secs(10);
const COUNT_EVERY: Duration = Duration::from_secs(10);
/// An event that says what has changed may be missed.
const LICENCE_EVERY: Duration = Duration::from_secs(60);
const REAP_EVERY: Duration = Duration::from_secs(60);
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
const AUDIT_EVERY: Duration = Duration::from_secs(600);
const NEVER: Duration = Duration::from_secs(365 * 86_400);
/// A live socket is touched every 30 s (services.md 4.10).
const STALE_MS: i64 = 300_000;
const PAGE: u32 = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_known_from_8_6_on() {
        for (version, knows) in [
            ("8.6.0", true),
            ("8.6.0-rc.1", true),
            ("8.10.2", true),
            ("9.0.0-develop", true),
            ("8.5.9", false),
            ("7.13.0", false),
            ("develop", false),
            ("", false),
        ] {
            assert_eq!(is_8_6(version), knows, "{version}");
        }
    }
}
