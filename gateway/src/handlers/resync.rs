//! Answers gaps: closes the clients that may have missed something (design.md 3.8).

use std::{rc::Rc, time::Duration};

use super::core::{Core, now};
use crate::{
    metrics,
    place::Place,
    state::gaps::{Due, MAILBOX, Scope},
};

/// Answers gaps for as long as the bus thread runs.
pub(crate) async fn run(core: Rc<Core>) {
    let wait = core.config.resync_wait;
    loop {
        let over = core.resync_over(core.state.people.borrow().len());
        let (due, next) = core.state.gaps.borrow_mut().poll(now(), wait, over);
        core.resync(due, over);
        let standing = core.state.gaps.borrow().standing(now());
        core.readiness
            .set_resync(standing.running, standing.waiting);
        metrics::resync_state(standing.running.is_some(), standing.waiting.is_some());
        match next {
            Some(next) => {
                let _ = tokio::time::timeout_at(next.into(), core.wake.gap.notified()).await;
            }
            None => core.wake.gap.notified().await,
        }
    }
}

impl Core {
    /// The time over which so many are closed: they come back, and no faster than logins are let in.
    fn resync_over(&self, sockets: usize) -> Duration {
        let rate = f64::from(self.config.logins_per_second.max(1));
        let logins = Duration::from_secs_f64(sockets as f64 / rate);
        self.config.resync_over.max(logins)
    }

    fn resync(&self, due: Due, over: Duration) {
        let all = self.state.post.borrow().all();
        let shards = due.everybody.map_or(due.shards, |_| all);
        if shards != 0 {
            let cause = due.everybody.unwrap_or(MAILBOX);
            let (count, seconds) = (shards.count_ones(), over.as_secs());
            tracing::warn!(
                cause,
                shards = count,
                seconds,
                "closing sockets that may have missed something"
            );
            metrics::resync("all", cause);
            self.with_post(|post| post.resync_all(shards, over));
        }
        for (scope, cause) in due.scopes {
            metrics::resync("scope", cause);
            let places = self.concerned(&scope);
            let over = self.resync_over(places.len());
            self.with_post(|post| post.resync(&places, over));
        }
    }

    fn concerned(&self, scope: &Scope) -> Vec<Place> {
        match scope {
            // Noted for itself.
            Scope::All => Vec::new(),
            Scope::User(user) => self.state.people.borrow().of_user(user).to_vec(),
            Scope::Room(room) => self.state.grants.borrow().followers(room),
            Scope::Followers(room) => {
                let users = self.state.rooms.borrow_mut().followers(room);
                let people = self.state.people.borrow();
                let users = users.unwrap_or_default();
                let places = users.iter().flat_map(|user| people.of_user(user));
                places.copied().collect()
            }
        }
    }

    /// Events may have been missed: facts, mirrors, limits and verdicts live on them.
    pub(crate) fn forget(self: &Rc<Self>) {
        self.state.known.forget_all();
        self.state.rooms.borrow_mut().doubt();
        self.state.my_messages.borrow_mut().rooms.doubt();
        self.everybody_changed();
        self.wake.refill.notify_one();
        self.wake.limits.notify_one();
        self.state.scopes.borrow_mut().touch_all();
        self.wake.scopes.notify_one();
    }
}
