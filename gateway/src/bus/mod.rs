//! The bus thread: takes what arrives from the backplane and from the shards, decides, and is the only writer of the
//! shards' mailboxes after accept.
//!
//! Everything here runs on one thread in one local future. What has to wait (a call, a read on the `work` runtime) is
//! a local task that holds the [`Core`]; nothing borrowed crosses an await. Of those there is at most one per session
//! that asks, and a few that belong to the thread.

mod complaints;
pub(crate) mod connections;
pub(crate) mod lifecycle;
pub(crate) mod outgoing;

use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use backplane::{Bus, Incoming, Service};
use futures_util::future::{FutureExt as _, LocalBoxFuture};
use protocol::ddp;
use store::Store;
use tokio::{
    runtime,
    sync::{Notify, Semaphore},
    task::LocalSet,
};
use tokio_util::sync::CancellationToken;

use self::{
    complaints::Complaints,
    connections::{Connections, Key},
    lifecycle::Instance,
    outgoing::Outgoing,
};
use crate::{
    access::{self, Access, Subject, Unknown},
    config::Config,
    gaps::{self, Gaps},
    limiter::Limiter,
    link::{Answer, Caller, Effect, Scope, Subscribed, Ticket, ToBus, ToShard},
    mailbox::Mailbox,
    methods::{self, Logins},
    metrics,
    readiness::Readiness,
    streams::{
        self, events,
        publications::{self, Mirrors},
        relay::Relays,
        rooms_changed::{self, RoomsChanged},
        table::{Read, RoomRule},
        translate::{self, Translator},
    },
    topic::Topic,
    topics::Interest,
};

/// The name of our service on the bus, the original's.
const SERVICE: &str = "streamer";

/// What detached work may take after the end of the loop: `presence.removeConnection` of the last sockets.
const LINGER: Duration = Duration::from_secs(2);

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

/// Everything the bus thread owns, shared by its local tasks.
pub(crate) struct Core {
    pub(crate) config: Arc<Config>,
    pub(crate) bus: Bus,
    pub(crate) interest: Arc<Interest>,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) readiness: Readiness,
    pub(crate) outgoing: RefCell<Outgoing>,
    pub(crate) connections: RefCell<Connections>,
    pub(crate) access: Access,
    pub(crate) logins: Logins,
    pub(crate) translator: RefCell<Translator>,
    pub(crate) rooms_changed: RefCell<RoomsChanged>,
    /// `notify-user/rooms-changed`, the second half of such topics.
    pub(crate) rooms_changed_event: Arc<str>,
    pub(crate) relays: RefCell<Relays>,
    pub(crate) mirrors: RefCell<Mirrors>,
    /// Wakes the filling of the mirrors.
    pub(crate) refill: Notify,
    pub(crate) gaps: RefCell<Gaps>,
    /// A gap was noted, or the bus has settled.
    pub(crate) gap_noted: Notify,
    pub(crate) instance: Instance,
    /// Reads of `users` documents under way.
    pub(crate) documents: Semaphore,
    pub(crate) complaints: Complaints,
    /// Scratch for event names.
    pub(crate) key: RefCell<String>,
    store: Store,
    work: runtime::Handle,
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
        inbox: to_bus,
        shutdown,
        ..
    } = &parts;
    let (to_bus, shutdown) = (to_bus.clone(), shutdown.clone());
    let core = Rc::new(Core::new(parts));
    let mut inbox = core.bus.announce(Service {
        name: SERVICE,
        actions: Vec::new(),
        events: events::announced(),
    });
    let until_shutdown = |work: LocalBoxFuture<'static, ()>| {
        let shutdown = shutdown.clone();
        core.spawn(async move {
            let _ = shutdown.run_until_cancelled(work).await;
        });
    };
    until_shutdown(publications::run(core.clone()).boxed_local());
    until_shutdown(access::rejudge::run(core.clone()).boxed_local());
    until_shutdown(access::sweep::run(core.clone()).boxed_local());
    until_shutdown(gaps::run(core.clone()).boxed_local());
    until_shutdown(lifecycle::run_instance(core.clone()).boxed_local());
    until_shutdown(lifecycle::watch_state(core.clone()).boxed_local());
    until_shutdown(crate::limiter::load(core.clone()).boxed_local());

    let (mut incoming, mut calls) = (Vec::new(), Vec::new());
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            // Both only move what waits into their vector: nothing is lost when the other one is first.
            () = inbox.recv_batch(&mut incoming) => {
                for incoming in incoming.drain(..) {
                    core.handle_incoming(incoming);
                }
            }
            () = to_bus.wait() => {
                to_bus.take(&mut calls);
                for call in calls.drain(..) {
                    core.handle_call(call);
                }
            }
        }
        core.flush();
    }
    // The shards have ended before: what they said last is here.
    to_bus.take(&mut calls);
    for call in calls.drain(..) {
        core.handle_call(call);
    }
    core.flush();
    lifecycle::leave(&core).await;
}

impl Core {
    fn new(parts: Parts) -> Self {
        Self {
            config: parts.config,
            outgoing: RefCell::new(Outgoing::new(parts.mailboxes)),
            interest: parts.interest,
            limiter: parts.limiter,
            readiness: parts.readiness,
            connections: RefCell::default(),
            access: Access::new(),
            logins: Logins::default(),
            translator: RefCell::new(Translator::new()),
            rooms_changed: RefCell::default(),
            rooms_changed_event: Arc::from(format!("notify-user/{}", rooms_changed::EVENT)),
            relays: RefCell::default(),
            mirrors: RefCell::default(),
            refill: Notify::new(),
            gaps: RefCell::default(),
            gap_noted: Notify::new(),
            instance: Instance::new(parts.bus.node_id()),
            documents: Semaphore::new(lifecycle::DOCUMENTS_AT_ONCE),
            complaints: Complaints::default(),
            key: RefCell::default(),
            bus: parts.bus,
            store: parts.store,
            work: parts.work,
        }
    }

    /// Starts detached work on this thread; it ends with the thread at the latest.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(work);
    }

    /// Asks the store on the `work` runtime; the question goes on there even if nobody waits any more, because drivers
    /// do not like to be interrupted.
    pub(crate) async fn ask_store<T, F>(
        &self,
        question: impl FnOnce(Store) -> F,
    ) -> Result<T, Unknown>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, store::Error>> + Send + 'static,
    {
        match self.work.spawn(question(self.store.clone())).await {
            Ok(Ok(answer)) => {
                self.readiness.set_store(true);
                Ok(answer)
            }
            Ok(Err(error)) => {
                // A database that is silent is as little use as one that refuses.
                use store::ErrorKind::{Timeout, Unavailable};
                if matches!(error.kind(), Unavailable | Timeout) {
                    self.readiness.set_store(false);
                }
                self.complaints.warn("the store did not answer", &error);
                Err(Unknown)
            }
            Err(_) => Err(Unknown),
        }
    }

    /// Answers a method.
    pub(crate) fn answer(
        &self,
        ticket: Ticket,
        outcome: Result<Option<bytes::Bytes>, ddp::Error>,
        then: Effect,
    ) {
        let answer = ToShard::Answer(ticket, Answer::Method { outcome, then });
        self.outgoing.borrow_mut().post(ticket.shard, answer);
    }

    /// Notes that something may have been missed.
    pub(crate) fn gap(&self, cause: &'static str, scope: Scope) {
        self.gaps.borrow_mut().note(cause, scope, Instant::now());
        self.gap_noted.notify_one();
    }

    fn flush(&self) {
        let overflowed = {
            let mut outgoing = self.outgoing.borrow_mut();
            outgoing.flush();
            outgoing.take_overflowed()
        };
        if overflowed != 0 {
            self.gaps.borrow_mut().note_shards("mailbox", overflowed);
            self.gap_noted.notify_one();
        }
    }

    fn handle_incoming(self: &Rc<Self>, incoming: Incoming) {
        match incoming {
            Incoming::Event(event) => translate::handle(self, event),
            // Dropped unanswered, which answers an error: nothing is offered.
            Incoming::Request(_) => {}
            Incoming::Up => self.readiness.set_bus(true),
            Incoming::Down => self.readiness.set_bus(false),
            Incoming::NodeUp(node) | Incoming::NodeOffers(node) => {
                if node.services.iter().any(|service| service == "meteor") {
                    self.refill.notify_one();
                }
            }
            Incoming::NodeDown { .. } => {}
            Incoming::Gap(gap) => {
                tracing::warn!(cause = gap.cause.label(), scope = ?gap.scope, "events may have been missed");
                self.gaps.borrow_mut().note_bus(&gap, Instant::now());
                self.gap_noted.notify_one();
                // Mirrors and caches live on events too. Grants need no judgement: their sockets are closed.
                self.refill.notify_one();
                self.access.forget_all();
            }
            Incoming::Settled => {
                // Whoever asks from now on does not wait for a question that was asked while nobody heard it.
                self.access.forget_all();
                self.gaps.borrow_mut().settled();
                self.gap_noted.notify_one();
            }
        }
    }

    fn handle_call(self: &Rc<Self>, call: ToBus) {
        match call {
            ToBus::Opened(connection) => lifecycle::opened(self, &connection),
            ToBus::Closed(caller) => lifecycle::closed(self, &caller),
            ToBus::Stalled { since } => {
                let lag_ms = since.elapsed().as_millis();
                tracing::error!(lag_ms, "the bus thread stood still");
                self.gap("stall", Scope::All);
            }
            ToBus::Activity(caller) => lifecycle::activity(self, &caller),
            ToBus::Method {
                ticket,
                caller,
                name,
                params,
            } => {
                let core = self.clone();
                self.spawn(
                    async move { methods::handle(&core, ticket, caller, name, params).await },
                );
            }
            ToBus::Subscribe {
                ticket,
                caller,
                name,
                params,
            } => {
                let core = self.clone();
                self.spawn(async move {
                    let started = Instant::now();
                    let outcome = subscribe(&core, &caller, &name, &params).await;
                    if outcome.is_ok() {
                        metrics::subscribed(&name, started.elapsed());
                    }
                    let answer = ToShard::Answer(ticket, Answer::Subscription { outcome });
                    core.outgoing.borrow_mut().post(ticket.shard, answer);
                });
            }
            ToBus::Unsubscribed { caller, topics } => {
                for topic in &topics {
                    self.unsubscribed(&caller, topic);
                }
            }
        }
    }

    /// The grant behind a topic goes.
    fn unsubscribed(&self, caller: &Caller, topic: &Topic) {
        let key = Key::from(caller);
        let (subject, stream, event) = match topic {
            Topic::User(user, what) => {
                if *what == self.rooms_changed_event
                    && self.connections.borrow_mut().unfollow(key, user)
                {
                    self.rooms_changed.borrow_mut().unsubscribed(user);
                }
                return;
            }
            Topic::Room(room, what) => {
                let stream = what.split('/').next().unwrap_or(what);
                (
                    Subject::Room(room.clone()),
                    stream.to_owned(),
                    String::new(),
                )
            }
            Topic::Global(stream, event) => (
                Subject::Topic(topic.clone()),
                stream.to_string(),
                event.to_string(),
            ),
        };
        if let Some(stream) = streams::table::stream(&stream) {
            self.access
                .grants
                .borrow_mut()
                .leave(key, &subject, stream.rule(&event));
        }
    }
}

/// Decides about a subscription that a shard could not decide alone.
async fn subscribe(
    core: &Rc<Core>,
    caller: &Caller,
    name: &str,
    params: &bytes::Bytes,
) -> Result<Subscribed, ddp::Error> {
    if publications::NAMES.contains(&name) {
        return Ok(core.mirrors.borrow().subscribed(name));
    }
    let request = streams::Request::parse(name, params)?;
    let rule = request.stream.rule(&request.event);
    match rule {
        Read::Owner => {
            let user = caller.user.as_ref().ok_or_else(ddp::Error::not_allowed)?;
            if request.addressee() != Some(&*user.id) {
                return Err(ddp::Error::not_allowed());
            }
            let followed = rooms_changed::subscribe(core, &user.id).await;
            followed.map_err(|Unknown| ddp::Error::internal())?;
            if !core
                .connections
                .borrow_mut()
                .follow(Key::from(caller), &user.id)
            {
                core.rooms_changed.borrow_mut().unsubscribed(&user.id);
            }
        }
        Read::Room(room_rule) => {
            let room = request.addressee().unwrap_or_default().into();
            let extra = request.extra.as_deref();
            let extra = extra.filter(|_| room_rule != RoomRule::Access);
            access::admit(core, caller, Subject::Room(room), rule, extra).await?;
        }
        _ => {
            let topic = request.stream.topic(&request.event);
            access::admit(core, caller, Subject::Topic(topic), rule, None).await?;
        }
    }
    Ok(request.subscribed())
}
