//! Judges grants again after something that decided about them has changed.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, time::Duration};

use futures_util::{StreamExt as _, stream};
use hashbrown::HashSet;
use tokio::sync::Notify;

use super::{
    Unknown,
    grants::{Asker, Subject},
    judge,
};
use crate::{
    bus::Core,
    link::{Ended, Revocation, ToShard},
    metrics,
    streams::table::{Read, RoomRule},
    topic::Topic,
};

/// Grants judged at the same time.
const AT_ONCE: usize = 64;

/// A change of roles or permissions concerns every grant: no more than this many a second, so that the authorization
/// service survives it.
const BULK_PER_SECOND: usize = 640;

/// A grant that is not clearly allowed is asked about this often, then it ends.
const ATTEMPTS_MAX: u32 = 3;

/// Grants that wait for a new judgement.
#[derive(Default)]
pub(crate) struct Rejudge {
    urgent: RefCell<VecDeque<(Subject, Asker)>>,
    bulk: RefCell<VecDeque<(Subject, Asker)>>,
    queued: RefCell<HashSet<(Subject, Asker)>>,
    wake: Notify,
}

impl Rejudge {
    /// Judges these as fast as the services answer: one room, one user.
    pub(crate) fn soon(&self, grants: impl IntoIterator<Item = (Subject, Asker)>) {
        self.push(&self.urgent, grants);
    }

    /// Judges these at a bounded rate: everybody.
    pub(crate) fn eventually(&self, grants: impl IntoIterator<Item = (Subject, Asker)>) {
        self.push(&self.bulk, grants);
    }

    fn push(
        &self,
        queue: &RefCell<VecDeque<(Subject, Asker)>>,
        grants: impl IntoIterator<Item = (Subject, Asker)>,
    ) {
        let mut queued = self.queued.borrow_mut();
        // A grant that waits in the slow queue may enter the fast one too; it is judged twice at worst.
        let fresh = grants
            .into_iter()
            .filter(|grant| queued.insert(grant.clone()) || std::ptr::eq(queue, &self.urgent));
        queue.borrow_mut().extend(fresh);
        self.wake.notify_one();
    }

    fn take(&self) -> (Vec<(Subject, Asker)>, bool) {
        let urgent: Vec<_> = {
            let mut urgent = self.urgent.borrow_mut();
            let count = urgent.len().min(AT_ONCE * 4);
            urgent.drain(..count).collect()
        };
        let is_bulk = urgent.is_empty();
        let taken = if is_bulk {
            let mut bulk = self.bulk.borrow_mut();
            let count = bulk.len().min(AT_ONCE);
            bulk.drain(..count).collect()
        } else {
            urgent
        };
        let mut queued = self.queued.borrow_mut();
        for grant in &taken {
            queued.remove(grant);
        }
        (taken, is_bulk)
    }
}

/// Works the queues off, for as long as the bus thread runs.
pub(crate) async fn run(core: Rc<Core>) {
    loop {
        let (grants, is_bulk) = core.access.rejudge.take();
        if grants.is_empty() {
            core.access.rejudge.wake.notified().await;
            continue;
        }
        let count = grants.len();
        stream::iter(grants)
            .for_each_concurrent(AT_ONCE, |(subject, asker)| {
                let core = core.clone();
                async move { judge_again(&core, &subject, &asker).await }
            })
            .await;
        if is_bulk {
            let pause = Duration::from_secs(1) * u32::try_from(count).unwrap_or(u32::MAX)
                / u32::try_from(BULK_PER_SECOND).unwrap_or(u32::MAX);
            // Urgent grants do not wait for the pause of the others.
            let wake = core.access.rejudge.wake.notified();
            let _ = tokio::time::timeout(pause, wake).await;
        }
    }
}

async fn judge_again(core: &Rc<Core>, subject: &Subject, asker: &Asker) {
    let rules = core.access.grants.borrow().rules(subject, asker);
    let mut lost = Vec::new();
    for rule in rules {
        if !holds(core, subject, asker, rule).await {
            lost.push(rule);
        }
    }
    if !lost.is_empty() {
        revoke(core, subject, asker, &lost);
    }
}

/// Whether a rule still allows it; a no that was overtaken by a change is asked about again, and so is what cannot be
/// known.
async fn holds(core: &Rc<Core>, subject: &Subject, asker: &Asker, rule: Read) -> bool {
    for attempt in 1..=ATTEMPTS_MAX {
        let before = core.access.grants.borrow().stamp(subject, asker);
        match judge(core, subject, asker, rule).await {
            Ok(true) => return true,
            Ok(false) if before == core.access.grants.borrow().stamp(subject, asker) => {
                return false;
            }
            Ok(false) => {}
            Err(Unknown) => tokio::time::sleep(Duration::from_millis(200) * attempt).await,
        }
    }
    false
}

/// Ends the subscriptions that stood on these rules and tells their clients.
fn revoke(core: &Core, subject: &Subject, asker: &Asker, lost: &[Read]) {
    core.access
        .grants
        .borrow_mut()
        .revoke(subject, asker, |rule| lost.contains(&rule));
    let ended = match subject {
        Subject::Topic(topic) => vec![Ended::Topic(topic.clone())],
        // Who may not access a room may not read it either; everything about it ends.
        Subject::Room(room)
            if lost.iter().any(|rule| {
                matches!(rule, Read::Room(RoomRule::Access | RoomRule::AccessOrToken))
            }) =>
        {
            vec![Ended::Room(room.clone())]
        }
        Subject::Room(room) => lost
            .iter()
            .filter_map(|rule| match rule {
                Read::Room(RoomRule::Read) => Some("room-messages"),
                Read::Room(RoomRule::VisitorToken) => Some("livechat-room"),
                _ => None,
            })
            .map(|stream| Ended::Topic(Topic::Room(room.clone(), stream.into())))
            .collect(),
    };
    let mut outgoing = core.outgoing.borrow_mut();
    let shards = match &asker.user {
        Some(user) => core.connections.borrow().shards(user),
        None => outgoing.all(),
    };
    for ended in ended {
        metrics::revoked("rule");
        outgoing.post_each(shards, || {
            ToShard::Revoke(Revocation {
                user: asker.user.clone(),
                ended: ended.clone(),
                silently: false,
            })
        });
    }
}
