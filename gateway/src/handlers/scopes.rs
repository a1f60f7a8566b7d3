//! Whose presence a viewer must not see (streams.md 5.4): asked when he begins to watch, again when somebody says that it has
//! changed, and slowly as the backstop. Unknown means no.

use std::{rc::Rc, sync::Arc, time::Duration};

use backplane::NodeInfo;
use futures_util::stream::{self, StreamExt as _};
use hashbrown::HashMap;
use protocol::ddp::{ejson, encode::quoted};
use tokio::time::Instant;

use super::core::Core;
use crate::{
    link::Caller,
    metrics,
    place::Sub,
    state::{people::Behind, scopes::Known},
    streams::{
        presence_status::PresenceStatus,
        scope::{Hidden, Scope},
        table::Stream,
        topic::TopicRef,
        watch::Status,
    },
    upstream::Unknown,
};

const SERVICE: &str = "status-visibility";
const ACTION: &str = "status-visibility.getHiddenFrom";

/// Viewers asked about at the same time.
const AT_ONCE: usize = 32;

/// A question is asked again when something happened meanwhile; this often at most.
const ASKED_MAX: usize = 8;

/// Users read at once when their visibility has changed.
const USERS_AT_ONCE: usize = 500;

/// Users of one event of whom nothing is told until everybody's scope is known.
const TARGETS_MAX: usize = 10_000;

/// Rounds that are begun anew because something happened meanwhile.
const ROUNDS_MAX: usize = 8;

/// Pause before viewers are asked about again about whom nothing could be had.
const RETRY: Duration = Duration::from_secs(2);

/// Everybody is asked about again within this time, whatever was heard.
const EVERY: Duration = Duration::from_secs(240);

/// In so many parts: one answer says nothing of another viewer, and thousands must not be asked about at once.
const PARTS: u32 = 48;

/// Keeps all scopes true for as long as the bus thread runs.
pub(crate) async fn run(core: Rc<Core>) {
    let mut parts = (0..PARTS).cycle();
    let mut at = Instant::now() + EVERY / PARTS;
    loop {
        let is_settled = core.settle().await;
        let until = if is_settled {
            at
        } else {
            at.min(Instant::now() + RETRY)
        };
        // News or not, what follows is the same.
        let _ = tokio::time::timeout_at(until, core.wake.scopes.notified()).await;
        if Instant::now() >= at
            && let Some(part) = parts.next()
        {
            core.state.scopes.borrow_mut().touch_part(part, PARTS);
            at = Instant::now() + EVERY / PARTS;
        }
    }
}

impl Core {
    /// The first subscription of a client that watches users: what it must not see.
    pub(crate) async fn begin_to_watch(
        self: &Rc<Self>,
        caller: &Caller,
        sub: Sub,
    ) -> Result<Hidden, protocol::ddp::Error> {
        let not_allowed = protocol::ddp::Error::not_allowed;
        let viewer = caller.user_id().ok_or_else(not_allowed)?;
        let behind = Behind::Watch(viewer.clone());
        if !self.state.people.borrow_mut().stand(sub, behind) {
            return Err(not_allowed());
        }
        self.state.scopes.borrow_mut().enter(viewer, sub.0);
        self.hidden_from(viewer).await.map_err(|Unknown| {
            self.end(sub);
            protocol::ddp::Error::internal()
        })
    }

    /// Somebody else is logged in on a client that watches: nobody is shown until it is known whom he may see.
    pub(crate) fn watch_as(&self, sub: Sub, before: &str, viewer: &Arc<str>) {
        let mut scopes = self.state.scopes.borrow_mut();
        scopes.leave(before, sub.0);
        scopes.enter_blind(viewer, sub.0);
        drop(scopes);
        let nobody = Some(Arc::new(Scope::Everybody));
        self.with_post(|post| post.scope(&[sub.0], &nobody));
        self.wake.scopes.notify_one();
    }

    /// `presence.invalidateVisibility {targets?, viewers?}`.
    pub(crate) fn visibility_changed(&self, args: &str) {
        let list = |name| ejson::at(args, 0, &[name]).filter(|list| list.starts_with('['));
        let ids = |list| ejson::elements(list).filter_map(ejson::string);
        let mut scopes = self.state.scopes.borrow_mut();
        // Who cannot be read may be anybody.
        let viewers = list("viewers").filter(|list| {
            let mut viewers = ejson::elements(list);
            viewers.all(|viewer| ejson::string(viewer).is_some())
        });
        match viewers {
            Some(viewers) => ids(viewers).for_each(|viewer| scopes.touch(&viewer)),
            None => scopes.touch_all(),
        }
        let targets = list("targets").into_iter().flat_map(ids);
        let is_watched = |user: &str| {
            let topic = TopicRef {
                stream: Stream::UserPresence,
                event: user,
            };
            self.interest.shards(topic) != 0
        };
        let mut watched = targets.filter(|user| is_watched(user));
        watched
            .by_ref()
            .take(TARGETS_MAX)
            .for_each(|user| scopes.settle(&user));
        if watched.next().is_some() {
            metrics::cut("visibility");
        }
        self.wake.scopes.notify_one();
    }

    /// Asks about everybody of whom nothing is known, then tells of the users whose visibility has changed; `false` if
    /// something could not be had.
    async fn settle(self: &Rc<Self>) -> bool {
        for round in 1..=ROUNDS_MAX {
            let unknown = self.state.scopes.borrow().unknown();
            let asked = stream::iter(unknown)
                .map(|viewer| async move { self.hidden_from(&viewer).await.is_ok() })
                .buffer_unordered(AT_ONCE)
                .collect::<Vec<_>>();
            let could_ask = !asked.await.contains(&false);
            let targets = self.state.scopes.borrow().targets();
            let stored = self.presence_of(&targets).await;
            let are_known = self.state.scopes.borrow().are_known();
            if are_known || !could_ask || round == ROUNDS_MAX {
                let could_read = stored.is_ok();
                self.tell_settled(&targets, stored);
                return are_known && could_read;
            }
        }
        false
    }

    async fn presence_of(&self, users: &[Arc<str>]) -> Result<HashMap<Arc<str>, Status>, Unknown> {
        let mut all = HashMap::new();
        for users in users.chunks(USERS_AT_ONCE) {
            let ids = users.iter().map(|user| user.to_string()).collect();
            for args in self.upstream.presence_of(ids).await? {
                let status = PresenceStatus::parse(&args).map(|status| Status::of(&status));
                all.extend(status.map(|status| (status.user.clone(), status)));
            }
        }
        Ok(all)
    }

    /// Tells of these users: what was heard of each meanwhile, else what is stored; who has no name is not told of.
    fn tell_settled(
        self: &Rc<Self>,
        users: &[Arc<str>],
        mut stored: Result<HashMap<Arc<str>, Status>, Unknown>,
    ) {
        let (heard, news) = self.state.scopes.borrow_mut().end(users);
        for news in news {
            self.with_post(|post| post.scope(&news.places, &news.hidden));
        }
        for (user, heard) in users.iter().zip(heard) {
            match (heard, &mut stored) {
                (Some(status), _) => self.tell_watched_soon(status),
                (None, Ok(stored)) => {
                    if let Some(status) = stored.remove(user) {
                        self.tell_watched_soon(status);
                    }
                }
                (None, Err(Unknown)) => self.state.scopes.borrow_mut().owe(user),
            }
        }
        self.flush();
    }

    /// What this viewer must not see.
    async fn hidden_from(self: &Rc<Self>, viewer: &Arc<str>) -> Result<Hidden, Unknown> {
        for _ in 0..ASKED_MAX {
            let stamp = match self.state.scopes.borrow().get(viewer) {
                Known::Yes(hidden) => return Ok(hidden),
                Known::No(stamp) => stamp,
                // Nobody needs to know any more.
                Known::Gone => return Ok(Some(Arc::new(Scope::Everybody))),
            };
            let (core, asked) = (self.clone(), viewer.clone());
            let question = || async move { core.ask_hidden_from(&asked).await };
            let key = (viewer.clone(), stamp);
            let hidden = self.flights.scopes.ask(key, question).await?;
            let mut scopes = self.state.scopes.borrow_mut();
            if let Some(news) = scopes.learn(viewer, stamp, hidden) {
                self.with_post(|post| post.scope(&news.places, &news.hidden));
            }
        }
        Err(Unknown)
    }

    async fn ask_hidden_from(&self, viewer: &str) -> Result<Hidden, Unknown> {
        // Most lines have no such service; one that had it has it still.
        if !self.upstream.offers(ACTION) {
            let exist = self.state.scopes.borrow().exist;
            return if exist { Err(Unknown) } else { Ok(None) };
        }
        self.state.scopes.borrow_mut().exist = true;
        let params = format!("[{}]", quoted(viewer));
        let answer = self.upstream.ask(ACTION, &params).await?;
        let hidden = Scope::read(&answer).ok_or(Unknown)?;
        if matches!(hidden.as_deref(), Some(Scope::Everybody)) {
            metrics::cut("hidden");
        }
        Ok(hidden)
    }

    /// A node has come: if it is the first that can say who is hidden, everybody who watches is asked about. One that cannot
    /// changes nothing: nodes may come and go all the time, and thousands may watch.
    pub(crate) fn visibility_offered(&self, node: &NodeInfo) {
        if !node.services.iter().any(|service| &**service == SERVICE) {
            return;
        }
        let mut scopes = self.state.scopes.borrow_mut();
        if !scopes.exist && self.upstream.offers(ACTION) {
            scopes.exist = true;
            scopes.touch_all();
        }
        self.wake.scopes.notify_one();
    }
}
