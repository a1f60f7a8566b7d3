//! Answers gaps: closes the clients that may have missed something (design.md 3.8).

use std::{rc::Rc, time::Duration};

use super::core::{Core, now};
use crate::{
    metrics,
    state::gaps::{Due, Scope},
};

/// Answers gaps for as long as the bus thread runs.
pub(crate) async fn run(core: Rc<Core>) {
    let (wait, over) = (core.config.resync_wait, core.config.resync_over);
    loop {
        let (due, next) = core.state.gaps.borrow_mut().poll(now(), wait, over);
        core.resync(due, over);
        match next {
            Some(next) => {
                let _ = tokio::time::timeout_at(next.into(), core.wake.gap.notified()).await;
            }
            None => core.wake.gap.notified().await,
        }
    }
}

impl Core {
    fn resync(&self, due: Due, over: Duration) {
        let mut post = self.state.post.borrow_mut();
        if due.everybody || due.shards != 0 {
            let shards = if due.everybody {
                post.all()
            } else {
                due.shards
            };
            let count = shards.count_ones();
            tracing::warn!(
                shards = count,
                "closing sockets that may have missed something"
            );
            metrics::resync("all");
            post.resync_all(shards, over);
        }
        for scope in due.scopes {
            metrics::resync("scope");
            let places = match &scope {
                Scope::All => continue,
                Scope::User(user) => self.state.people.borrow().of_user(user).to_vec(),
                Scope::Room(room) => self.state.grants.borrow().followers(room),
                Scope::Followers(room) => {
                    let users = self.state.rooms.borrow_mut().followers(room);
                    let people = self.state.people.borrow();
                    let users = users.unwrap_or_default();
                    let places = users.iter().flat_map(|user| people.of_user(user));
                    places.copied().collect()
                }
            };
            post.resync(&places, over);
        }
    }
}
