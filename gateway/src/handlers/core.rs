//! What every handler works with: the state, the door out, and what this thread shares with the others.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Instant};

use bytes::Bytes;
use protocol::ddp;
use tokio::sync::{Notify, Semaphore};

use super::work::Work;
use crate::{
    config::Config,
    limiter::Limiter,
    link::{Answer, Effect, Ticket, ToShard},
    metrics,
    readiness::Readiness,
    state::{
        State,
        gaps::{MAILBOX, Scope},
        grants::{GrantId, GroundRef, Stamp},
        known::Asked,
        logins::Verdict,
        post::Post,
        scopes,
    },
    streams::{plan::Plans, scope::Hidden},
    topics::Interest,
    upstream::{Unknown, Upstream, documents::Documents, flights::Flights},
};

pub(crate) struct Core {
    pub(crate) state: State,
    pub(crate) upstream: Upstream,
    pub(crate) plans: Plans,
    pub(crate) config: Arc<Config>,
    pub(crate) interest: Arc<Interest>,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) readiness: Readiness,
    pub(crate) work: Rc<Work>,
    pub(crate) flights: Questions,
    pub(crate) wake: Wake,
    /// Rooms that may be read now for who has joined them.
    pub(crate) room_readings: Semaphore,
    /// Who waits for his `users` document.
    pub(crate) documents: Documents,
    /// Scratch for event names.
    pub(crate) key: RefCell<String>,
}

/// Questions that many wait for.
#[derive(Default)]
pub(crate) struct Questions {
    pub(crate) verdicts: Flights<(GrantId, Stamp), Result<bool, Unknown>>,
    pub(crate) rooms: FactFlights<Option<Arc<store::Room>>>,
    pub(crate) users: FactFlights<Option<Arc<store::User>>>,
    pub(crate) settings: FactFlights<bool>,
    pub(crate) logins: Flights<String, Verdict>,
    pub(crate) scopes: Flights<(Arc<str>, scopes::Stamp), Result<Hidden, Unknown>>,
}

/// Questions about one kind of fact.
pub(crate) type FactFlights<V> = Flights<(Arc<str>, Asked), Result<V, Unknown>>;

/// What wakes the handlers that go on for ever.
#[derive(Default)]
pub(crate) struct Wake {
    /// The mirrors must be filled again.
    pub(crate) refill: Notify,
    /// A gap was noted, or the bus has settled.
    pub(crate) gap: Notify,
    /// A grant was touched.
    pub(crate) rejudge: Notify,
    /// Settings may have changed unheard.
    pub(crate) limits: Notify,
    /// Who may see whom may have changed.
    pub(crate) scopes: Notify,
    /// A login waits for its turn.
    pub(crate) login: Notify,
    /// A lane of presence rests.
    pub(crate) resting: Notify,
    /// Another node offers something.
    pub(crate) offers: Notify,
}

impl Core {
    pub(crate) fn new(
        state: State,
        upstream: Upstream,
        config: Arc<Config>,
        interest: Arc<Interest>,
        limiter: Arc<Limiter>,
        readiness: Readiness,
    ) -> Self {
        Self {
            state,
            upstream,
            plans: Plans::new(),
            config,
            interest,
            limiter,
            readiness,
            work: Rc::default(),
            flights: Questions::default(),
            wake: Wake::default(),
            room_readings: Semaphore::new(ROOMS_AT_ONCE),
            documents: Documents::default(),
            key: RefCell::default(),
        }
    }

    /// Answers a method.
    pub(crate) fn answer(
        &self,
        ticket: Ticket,
        outcome: Result<Option<Bytes>, ddp::Error>,
        then: Effect,
    ) {
        let answer = ToShard::Answer(ticket, Answer::Method { outcome, then });
        self.post(ticket, answer);
    }

    /// Sends one message to the shard of a call.
    pub(crate) fn post(&self, ticket: Ticket, message: ToShard) {
        self.with_post(|post| post.post(ticket.place.shard, message));
    }

    /// Posts something. A mailbox that refused a batch meanwhile is a gap at once: nobody may come by to flush for long.
    pub(crate) fn with_post<T>(&self, say: impl FnOnce(&mut Post) -> T) -> T {
        let (said, overflowed) = {
            let mut post = self.state.post.borrow_mut();
            (say(&mut post), post.take_overflowed())
        };
        if overflowed != 0 {
            metrics::gap(MAILBOX);
            self.state.gaps.borrow_mut().note_shards(overflowed);
            self.wake.gap.notify_one();
        }
        said
    }

    /// Notes that something may have been missed since then.
    pub(crate) fn gap(&self, cause: &'static str, scope: Scope, since: Instant) {
        metrics::gap(cause);
        let mut gaps = self.state.gaps.borrow_mut();
        gaps.note(cause, scope, since, now());
        self.wake.gap.notify_one();
    }

    /// Notes that the bus was away since then, or that we stood still.
    pub(crate) fn outage(&self, cause: &'static str, since: Instant) {
        metrics::gap(cause);
        let mut gaps = self.state.gaps.borrow_mut();
        gaps.note_outage(cause, since, now());
        self.wake.gap.notify_one();
    }

    /// An event has spoken of this; what rests on it.
    pub(crate) fn heard_of(&self, ground: GroundRef<'_>) -> Vec<GrantId> {
        self.state.recent.borrow_mut().hear(ground, now());
        self.state.grants.borrow().dependents(ground)
    }

    /// Grants were touched by an event: they are judged again.
    pub(crate) fn touched(&self, grants: impl IntoIterator<Item = GrantId>) {
        let mut rejudge = self.state.rejudge.borrow_mut();
        let mut owner = self.state.grants.borrow_mut();
        rejudge.touched(grants.into_iter().inspect(|id| owner.touch(*id)), now());
        self.wake.rejudge.notify_one();
    }

    /// Passes the batch of publications on.
    pub(crate) fn flush(&self) {
        self.with_post(Post::flush);
    }
}

/// Rooms that are read at the same time: what waits in the database's driver waits by its deadline, and a mass join would be a
/// gap instead of a while.
const ROOMS_AT_ONCE: usize = 32;

/// The time by the runtime's clock, which tests can stop.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
