//! What all parts of presence share.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use backplane::{Bus, CallOptions, Code, Context, ErrorKind, MeteorError, ServiceError};
use serde_json::{Map, Value, json};
use store::{Status, StatusOwner, Store};
use tokio::sync::{Notify, SetOnce, mpsc};

use super::{
    cap::Cap,
    command::{Command, SERVICE},
    config::{Config, Mode},
    doubt::Doubt,
    engine::is_told,
    metrics,
    news::{CLAIMS, DISABLED, DOUBTFUL, News},
    queue::Queue,
    swept::Swept,
    vanished::Vanished,
};
use crate::answers::{is_yes, passed_on};

/// One presence service.
pub(super) struct Presence {
    pub(super) bus: Bus,
    pub(super) store: Store,
    pub(super) config: Config,
    /// The rules of 8.6 apply; never taken back.
    engine: AtomicBool,
    /// Set when the workspace was looked at: until then it is not known whose rules apply.
    pub(super) rules: SetOnce<()>,
    queue: Mutex<Queue>,
    /// Something was queued.
    pub(super) filled: Notify,
    swept: Mutex<Swept>,
    doubt: Mutex<Doubt>,
    vanished: Mutex<Vanished>,
    cap: Mutex<Cap>,
    /// Nodes that keep their entries fresh: what they do not touch is dead.
    refreshing: Mutex<HashSet<String>>,
    /// To whoever keeps house.
    pub(super) house: mpsc::Sender<News>,
}

impl Presence {
    pub(super) fn new(bus: Bus, store: Store, config: Config, house: mpsc::Sender<News>) -> Self {
        let vanished = Vanished::new(
            config.heartbeat_timeout,
            config.instances_expire,
            Instant::now(),
        );
        Self {
            bus,
            store,
            config,
            engine: (config.mode == Mode::Engine).into(),
            rules: SetOnce::new(),
            queue: Mutex::default(),
            filled: Notify::new(),
            swept: Mutex::default(),
            doubt: Mutex::default(),
            vanished: Mutex::new(vanished),
            cap: Mutex::new(Cap::new(config.connections_max)),
            refreshing: Mutex::default(),
            house,
        }
    }

    /// Writes the setting that tells administrators, and every instance, that nobody is told anything. The newest line has
    /// an action for it, whose write everybody hears of; any other takes it from the database.
    pub(super) async fn write_disabled(&self, disabled: bool) -> Result<(), store::Error> {
        let params = json!([DISABLED, disabled]).to_string();
        let options = CallOptions {
            timeout: Some(SETTING_WITHIN),
            ..CallOptions::default()
        };
        match self.bus.call("settings.set", &params, options).await {
            Ok(_) => Ok(()),
            Err(error) => {
                if error.kind != ErrorKind::NotFound {
                    tracing::warn!(%error, "the workspace does not take a setting; it is written to the database");
                }
                let value = disabled.into();
                self.store.set_setting(DISABLED, value).await.map(drop)
            }
        }
    }

    /// Whether this line has people without presence, whom one must ask for before they choose a status (services.md 4.6).
    pub(super) fn asks_visibility(&self) -> bool {
        self.bus.has_service("status-visibility") && self.cap().is_licensed("unlimited-presence")
    }

    /// # Errors
    /// This user has no presence, or nobody says whether they have.
    pub(super) async fn must_have_presence(
        &self,
        user: &str,
        context: &Context,
    ) -> Result<(), ServiceError> {
        let options = CallOptions {
            context: Some(context.clone()),
            ..CallOptions::default()
        };
        let action = "status-visibility.isPresenceDisabledFor";
        let params = json!([user]).to_string();
        let answer = self.bus.call(action, &params, options);
        if !is_yes(answer.await.map_err(passed_on)?.as_ref()) {
            return Ok(());
        }
        Err(ServiceError::Meteor(MeteorError {
            error: Code::Text("error-presence-disabled".to_owned()),
            reason: Some("Presence is disabled for this user".to_owned()),
            details: Some(r#"{"method":"setStatus"}"#.into()),
        }))
    }

    pub(super) fn push(&self, user: Arc<str>, command: Command) {
        self.queue().push(user, command);
        self.filled.notify_one();
    }

    /// Tells the others, if it shows and the limit of connections allows it.
    pub(super) fn tell(&self, owner: &StatusOwner, after: &Status) {
        if let Some(expires) = after.claim.expires
            && owner.status.claim.expires != Some(expires)
        {
            // Full: it looks every minute anyway.
            let _ = self.house.try_send(News::Expires(expires));
        }
        if is_told(&owner.status, after) && self.cap().tells() {
            metrics::told();
            let event = told(owner, after).to_string();
            self.bus.broadcast("presence.status", &event);
        }
    }

    /// Our place among the presence services of the network; `None` before we are one of them.
    pub(super) fn rank(&self) -> Option<u32> {
        let nodes = self.bus.nodes();
        let serves = |node: &&backplane::NodeInfo| {
            node.available && node.services.iter().any(|name| **name == *SERVICE)
        };
        let us = nodes.iter().filter(serves).find(|node| node.local)?;
        let before = nodes.iter().filter(serves).filter(|node| node.id < us.id);
        Some(u32::try_from(before.count()).unwrap_or(u32::MAX))
    }

    /// The nodes that are on the network now.
    pub(super) fn nodes(&self) -> HashSet<Arc<str>> {
        let nodes = self.bus.nodes().into_iter();
        nodes
            .filter(|node| node.available)
            .map(|node| node.id)
            .collect()
    }

    /// The nodes of ours that are on the network now: they tell again what was not taken.
    pub(super) fn insistent_nodes(&self) -> HashSet<Arc<str>> {
        let nodes = self.bus.nodes().into_iter();
        nodes
            .filter(|node| node.available && node.is_ours())
            .map(|node| node.id)
            .collect()
    }

    pub(super) fn is_engine(&self) -> bool {
        self.engine.load(Relaxed)
    }

    pub(super) fn knows_rules(&self) -> bool {
        self.config.mode != Mode::Auto || self.is_engine() || self.rules.initialized()
    }

    pub(super) fn use_engine(&self, why: &str) {
        if !self.engine.swap(true, Relaxed) {
            tracing::info!(why, "presence follows the rules of 8.6 from now on");
            self.tell_rules();
            // Claims may have expired meanwhile. Full: it looks every minute anyway.
            let _ = self.house.try_send(News::Expires(0));
        }
    }

    /// Says to the other presence services of ours that the rules of 8.6 apply: the claim or the node that showed it may
    /// have reached this one only.
    pub(super) fn tell_rules(&self) {
        self.bus.broadcast(CLAIMS, "[true]");
    }

    /// Asks the other presence services of ours which of these connections, made here late, have ended meanwhile.
    pub(super) fn ask_about(&self, made: &[(Arc<str>, String)]) {
        for part in made.chunks(ASKED_AT_ONCE) {
            let pairs: Vec<_> = part
                .iter()
                .map(|(user, session)| json!([&**user, session]))
                .collect();
            self.bus.broadcast(DOUBTFUL, &json!([pairs]).to_string());
        }
    }

    /// The nodes that have sent a heartbeat for an entry of theirs.
    pub(super) fn refreshing(&self) -> HashSet<String> {
        lock(&self.refreshing).clone()
    }

    /// These nodes have sent a heartbeat for an entry.
    pub(super) fn add_refreshing(&self, nodes: impl Iterator<Item = String>) {
        let mut refreshing = lock(&self.refreshing);
        if refreshing.len() < NODES_MAX {
            refreshing.extend(nodes);
        }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    pub(super) fn swept(&self) -> MutexGuard<'_, Swept> {
        lock(&self.swept)
    }

    pub(super) fn doubt(&self) -> MutexGuard<'_, Doubt> {
        lock(&self.doubt)
    }

    pub(super) fn vanished(&self) -> MutexGuard<'_, Vanished> {
        lock(&self.vanished)
    }

    pub(super) fn cap(&self) -> MutexGuard<'_, Cap> {
        lock(&self.cap)
    }
}

/// What `presence.status` carries: these fields and no others, what is missing left out (services.md 4.7).
fn told(owner: &StatusOwner, after: &Status) -> Value {
    let claim = &after.claim;
    let expires = claim.expires.map(|expires| json!({ "$date": expires }));
    let fields = [
        ("_id", Some(json!(owner.id))),
        ("username", owner.username.as_ref().map(|name| json!(name))),
        ("name", owner.name.as_ref().map(|name| json!(name))),
        ("status", after.shown.as_ref().map(|status| json!(status))),
        ("statusText", claim.text.as_ref().map(|text| json!(text))),
        ("statusSource", claim.source.as_ref().map(|it| json!(it))),
        ("statusExpiresAt", expires),
        ("roles", owner.roles.as_ref().map(|roles| json!(roles))),
    ];
    let fields = fields.into_iter();
    let user: Map<String, Value> = fields
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect();
    let mut event = Map::from_iter([("user".to_owned(), user.into())]);
    if let Some(previous) = &owner.status.shown {
        event.insert("previousStatus".to_owned(), json!(previous));
    }
    json!([event])
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long the workspace may take to write a setting: the house stands still meanwhile.
const SETTING_WITHIN: Duration = Duration::from_secs(5);
/// Connections in one question.
const ASKED_AT_ONCE: usize = 500;
/// Nodes remembered: ids are made anew with every start.
const NODES_MAX: usize = 100_000;
