//! Who is online (services.md 4): keeps the connections of every user, merges them into one status, tells the others.
//!
//! ```text
//!   calls ── command ──▶ queue ──▶ worker ── play, engine ──▶ round ──▶ database, presence.status
//!                          ▲
//!   lost nodes, reaper, expiry, audit (house)
//! ```
//!
//! What came off the bus first reaches the database first, per user. The rules (`engine`, `merge`, `pace`, `play`,
//! `queue`, `swept`, `doubt`, `vanished`, `reaper`, `cap`) are pure; `round`, `house` and `sweep` move their bytes and time.

mod cap;
mod command;
mod config;
mod doubt;
mod engine;
mod house;
mod merge;
mod metrics;
mod news;
mod pace;
mod play;
mod queue;
mod reaper;
mod round;
mod shared;
mod sweep;
mod swept;
mod vanished;
mod worker;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use backplane::{Bus, Incoming, Service, ServiceError};
use bytes::Bytes;
use serde_json::json;
use store::Store;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

pub use self::config::{Config, Mode};
use self::{
    command::{Action, Asked, CHOOSES, Command, OFFERS_CLAIMS, SERVICE},
    house::House,
    news::{CLAIMS, DOUBTFUL, News},
    shared::Presence,
};
use crate::{
    errors::{plain, unavailable},
    now_ms,
    serve::{Call, Handler, Outcome, serve},
};

/// Serves `presence` until the shutdown.
pub async fn run(bus: Bus, store: Store, config: Config, shutdown: CancellationToken) {
    metrics::describe();
    let inbox = bus.announce(Service {
        name: SERVICE,
        actions: vec![
            "presence.newConnection",
            "presence.removeConnection",
            "presence.updateConnection",
            "presence.removeLostConnections",
            CHOOSES,
            "presence.setConnectionStatus",
            "presence.updateUserPresence",
            OFFERS_CLAIMS,
            "presence.endActiveState",
            "presence.clearActiveState",
            "presence.toggleBroadcast",
            "presence.getConnectionCount",
            "presence.getPeakConnections",
            "presence.resetPeakConnections",
        ],
        events: vec![
            "watch.instanceStatus",
            "license.module",
            "watch.settings",
            CLAIMS,
            DOUBTFUL,
        ],
    });
    let (house, news) = mpsc::channel(NEWS_MAX);
    let presence = Arc::new(Presence::new(bus, store, config, house));
    let ended = CancellationToken::new();
    let worker = tokio::spawn(worker::run(presence.clone(), ended.clone()));
    let house = tokio::spawn({
        let (house, shutdown) = (House::new(presence.clone(), news), shutdown.clone());
        async move { shutdown.run_until_cancelled(house.run()).await }
    });
    serve(presence, inbox, SERVICE, CONCURRENT, &shutdown).await;
    // What was taken from the bus still reaches the database, if that answers.
    ended.cancel();
    let _ = timeout(END_WITHIN, worker).await;
    let _ = house.await;
}

impl Handler for Presence {
    fn handle_call(self: Arc<Self>, call: Call) -> impl Future<Output = Outcome> + Send + 'static {
        let deadline = call.context.deadline;
        if call.action == OFFERS_CLAIMS && self.config.mode == Mode::Auto {
            self.use_engine("somebody claims a status");
        }
        let waits = !self.knows_rules() && command::depends_on_rules(call.action);
        let asked = command::read(&call, self.is_engine(), now_ms());
        let must_ask = call.action == CHOOSES && self.asks_visibility();
        let asked = asked.map(|asked| match asked {
            // By the rules before 8.6 a choice would end a claim for good, and nothing would end one.
            _ if waits => Begun::Waits,
            // Queued now, before anything is spawned: this is what keeps the order of arrival. (A choice is no news of a
            // connection: it may wait for its permission.)
            Asked::User(user, action) if !must_ask => {
                Begun::Queued(self.begin(user, action, deadline))
            }
            asked => Begun::Asked(asked),
        });
        async move {
            let asked = match asked? {
                Begun::Queued(answer) => return answer.await.unwrap_or_else(|_| Err(ends())),
                Begun::Asked(asked) => asked,
                Begun::Waits => {
                    self.rules.wait().await;
                    command::read(&call, self.is_engine(), now_ms())?
                }
            };
            let Asked::User(user, action) = asked else {
                return self.answer(asked).await;
            };
            if call.action == CHOOSES && self.asks_visibility() {
                self.must_have_presence(&user, &call.context).await?;
            }
            let answer = self.begin(user, action, deadline);
            answer.await.unwrap_or_else(|_| Err(ends()))
        }
    }

    fn handle_news(self: Arc<Self>, news: Incoming) -> impl Future<Output = ()> + Send + 'static {
        if let Some(news) = News::of(news) {
            if let News::Unsettled = news {
                // At once: what was asked before this may be carried out before the house hears of it.
                self.vanished().unsettle(Instant::now());
            }
            if let News::Lost { served: true, .. } = news {
                self.doubt().beside_others();
            }
            if self.house.try_send(news).is_err() {
                metrics::unheard();
            }
        }
        std::future::ready(())
    }
}

/// A call that has begun.
enum Begun {
    Queued(oneshot::Receiver<Outcome>),
    Asked(Asked),
    /// Until it is known whose rules apply.
    Waits,
}

fn ends() -> ServiceError {
    plain("the service ends")
}

impl Presence {
    /// Queues what is to be done for a user.
    fn begin(
        &self,
        user: Arc<str>,
        action: Action,
        deadline: Option<Instant>,
    ) -> oneshot::Receiver<Outcome> {
        let (reply, answer) = oneshot::channel();
        let command = Command {
            action,
            asked: Instant::now(),
            deadline,
            reply: Some(reply),
            _part: None,
        };
        self.push(user, command);
        answer
    }

    async fn answer(&self, asked: Asked) -> Outcome {
        let answer = match asked {
            Asked::Nothing | Asked::User(..) => return Ok(None),
            Asked::NotDone => json!(false),
            Asked::RemoveLost(Some(node)) => {
                json!(
                    self.sweep_node(&node, i64::MAX)
                        .await
                        .map_err(unavailable)?
                )
            }
            Asked::RemoveLost(None) => json!(self.sweep_vanished().await.map_err(unavailable)?),
            Asked::ConnectionCount => {
                let cap = self.cap();
                json!({ "current": cap.current(), "max": cap.max() })
            }
            Asked::PeakConnections { reset } => json!(self.cap().peak(reset)),
            Asked::ResetPeak => {
                self.cap().peak(true);
                return Ok(None);
            }
            Asked::ToggleBroadcast(enable) => {
                self.toggle_broadcast(enable).await?;
                return Ok(None);
            }
        };
        Ok(Some(Bytes::from(answer.to_string())))
    }

    async fn toggle_broadcast(&self, enable: bool) -> Result<(), ServiceError> {
        let toggled = self.cap().toggle(enable);
        let Ok(writes) = toggled else {
            return Err(plain(
                "Cannot enable broadcast when there are more than 200 connections",
            ));
        };
        if writes {
            self.write_disabled(false).await.map_err(unavailable)?;
        }
        Ok(())
    }
}

/// Requests that wait for their answer at the same time; `serve` bounds their bytes.
const CONCURRENT: usize = 1 << 16;
/// News of the network that may wait while a sweep is under way.
const NEWS_MAX: usize = 1_024;
/// How long a shutdown waits for the last writes.
const END_WITHIN: Duration = Duration::from_secs(2);
