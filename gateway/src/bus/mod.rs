//! The bus thread's loop: takes from the bus and from the shards, lets the handlers do the rest, passes on what they say.
//!
//! Everything that waits is a local task that holds the [`Core`]; nothing borrowed crosses an await. What runs for a client
//! ends with it, and the tasks that go on for ever end with the thread.

mod moderation;

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use backplane::{Bus, GapCause, Incoming, Service, Span};
use futures_util::future::{FutureExt as _, LocalBoxFuture};
use store::Store;
use tokio::{runtime, task::LocalSet};
use tokio_util::sync::CancellationToken;

use self::moderation::Moderation;
use crate::{
    config::Config,
    handlers::{
        core::{Core, now},
        instance, line, login, mirrors, presence, rejudge, resync, scopes, settings, sweep,
    },
    limiter::Limiter,
    link::{ToBus, ToShard},
    mailbox::Mailbox,
    metrics,
    readiness::Readiness,
    state::{State, gaps::Scope, post::Post, rooms::LINGER as LINGER_OF_ROOMS},
    streams::plan::announced,
    topics::Interest,
    upstream::{MONOLITH, SERVICE, Upstream},
};

/// What detached work may take after the end of the loop: `presence.removeConnection` of the last sockets.
const LINGER: Duration = Duration::from_secs(2);

/// Interval in which readiness is compared with the bus.
const STATE_EVERY: Duration = Duration::from_millis(250);

/// What the bus thread is built from.
pub(crate) struct Parts {
    pub(crate) config: Arc<Config>,
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    /// The runtime that owns the store's connections.
    pub(crate) work: runtime::Handle,
    /// One per shard, in their order.
    pub(crate) mailboxes: Vec<Arc<Mailbox<ToShard>>>,
    /// What the shards send here.
    pub(crate) inbox: Arc<Mailbox<ToBus>>,
    pub(crate) interest: Arc<Interest>,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) readiness: Readiness,
    /// Ends the loop; the sockets have been closed before.
    pub(crate) shutdown: CancellationToken,
}

/// Runs the bus thread until the shutdown, then until its detached work is done.
pub(crate) async fn run(parts: Parts) {
    let tasks = LocalSet::new();
    tasks.run_until(drive(parts)).await;
    // Mostly `presence.removeConnection` of the last sockets; what is late is dropped.
    let _ = tokio::time::timeout(LINGER, tasks).await;
}

async fn drive(parts: Parts) {
    let Parts {
        config,
        bus,
        store,
        work,
        mailboxes,
        inbox: to_bus,
        interest,
        limiter,
        readiness,
        shutdown,
    } = parts;
    let upstream = Upstream::new(bus.clone(), store, work, readiness.clone());
    let process = uuid::Uuid::new_v4().to_string();
    let state = State::new(
        Post::new(mailboxes),
        process,
        config.logins_per_second,
        now(),
    );
    let core = Core::new(state, upstream, config, interest, limiter, readiness);
    let core = Rc::new(core);
    let mut inbox = bus.announce(Service {
        name: SERVICE,
        actions: Vec::new(),
        events: announced().collect(),
    });
    // Who was there before us is not announced.
    core.nodes_changed();
    let until_shutdown = |work: LocalBoxFuture<'static, ()>| {
        let shutdown = shutdown.clone();
        tokio::task::spawn_local(async move {
            let _ = shutdown.run_until_cancelled(work).await;
        });
    };
    until_shutdown(mirrors::run(core.clone()).boxed_local());
    until_shutdown(line::run(core.clone()).boxed_local());
    until_shutdown(scopes::run(core.clone()).boxed_local());
    until_shutdown(login::let_in(core.clone()).boxed_local());
    until_shutdown(presence::tell_again(core.clone()).boxed_local());
    until_shutdown(rejudge::run(core.clone()).boxed_local());
    until_shutdown(sweep::run(core.clone()).boxed_local());
    until_shutdown(resync::run(core.clone()).boxed_local());
    until_shutdown(instance::run(core.clone()).boxed_local());
    until_shutdown(instance::listen_to_store(core.clone()).boxed_local());
    until_shutdown(instance::measure(core.clone()).boxed_local());
    until_shutdown(settings::keep_limits(core.clone()).boxed_local());
    until_shutdown(watch(core.clone(), bus.clone()).boxed_local());

    let (mut incoming, mut calls) = (Vec::new(), Vec::new());
    let mut moderation = Moderation::new(Instant::now());
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            // Both only move what waits into their vector: nothing is lost when the other one is first.
            () = inbox.recv_batch(&mut incoming) => {}
            () = to_bus.wait() => to_bus.take(&mut calls),
        }
        let (taken, events) = (Instant::now(), incoming.len());
        for incoming in incoming.drain(..) {
            core.incoming(incoming);
        }
        for call in calls.drain(..) {
            core.call_of_shard(call);
        }
        core.flush();
        // The thread and all that runs on it: what arrives meanwhile waits in its socket, and no shard lives here.
        let pause = moderation.pause(events, taken, Instant::now());
        if !pause.is_zero() {
            metrics::paused();
            std::thread::sleep(pause);
        }
    }
    // The shards have ended before: what they said last is here.
    to_bus.take(&mut calls);
    for call in calls.drain(..) {
        core.call_of_shard(call);
    }
    core.flush();
    instance::leave(&core).await;
    bus.withdraw(SERVICE);
}

/// Keeps readiness and metrics true to the bus.
async fn watch(core: Rc<Core>, bus: Bus) {
    loop {
        let status = bus.status();
        core.readiness.set_bus(status.connected);
        core.readiness.set_announced(status.announced);
        core.readiness.set_monolith(bus.has_service(MONOLITH));
        core.forget_idle(LINGER_OF_ROOMS);
        tokio::time::sleep(STATE_EVERY).await;
    }
}

impl Core {
    pub(crate) fn incoming(self: &Rc<Self>, incoming: Incoming) {
        match incoming {
            Incoming::Event(event) => self.event(event),
            // Dropped unanswered, which answers an error: nothing is offered.
            Incoming::Request(_) => {}
            Incoming::Up => self.readiness.set_bus(true),
            Incoming::Down => self.readiness.set_bus(false),
            Incoming::NodeUp(node) | Incoming::NodeOffers(node) => {
                self.wake.offers.notify_waiters();
                self.nodes_changed();
                self.visibility_offered(&node);
                if node.services.iter().any(|service| **service == *MONOLITH) {
                    self.wake.refill.notify_one();
                }
            }
            Incoming::NodeDown { .. } => self.nodes_changed(),
            Incoming::Gap(gap) => {
                tracing::warn!(cause = gap.cause.label(), scope = ?gap.scope, "events may have been missed");
                // Whatever its scope on the bus: any socket may listen to any emitter.
                if gap.cause == GapCause::ConnectionLost {
                    self.outage(gap.cause.label(), gap.since);
                } else {
                    self.gap(gap.cause.label(), Scope::All, gap.since);
                }
                self.forget();
            }
            Incoming::Settled => {
                // Whoever asks from now on does not wait for a question that was asked while nobody heard it.
                self.forget();
                self.state.gaps.borrow_mut().settled();
                self.wake.gap.notify_one();
            }
        }
    }

    pub(crate) fn call_of_shard(self: &Rc<Self>, call: ToBus) {
        match call {
            ToBus::Opened(connection) => self.opened(&connection),
            ToBus::Closed(connection) => self.closed(&connection),
            ToBus::Stalled { since } => {
                let lag_ms = since.elapsed().as_millis();
                tracing::error!(lag_ms, "the bus thread stood still");
                self.outage("stall", since);
            }
            ToBus::Activity(caller) => self.activity(&caller),
            ToBus::Method {
                ticket,
                caller,
                name,
                params,
            } => {
                let core = self.clone();
                let span = Span::of_client("method", &name);
                self.work.run(ticket.place, async move {
                    span.around(core.method(ticket, caller, name, params)).await;
                });
            }
            ToBus::Subscribe {
                ticket,
                caller,
                sub,
                name,
                params,
            } => {
                let core = self.clone();
                let sub = (ticket.place, sub);
                let span = Span::of_client("subscription", &name);
                self.work.run(ticket.place, async move {
                    span.around(core.subscribe(ticket, caller, sub, name, params))
                        .await;
                });
            }
            ToBus::Unsubscribed(sub) => self.end(sub),
        }
    }
}
