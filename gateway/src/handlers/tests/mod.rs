//! The real state and the real handlers on a stage: shards that are naive sets, a far side that is a script, and time that
//! passes only when nothing else is left to do.

mod access;
mod conferences;
mod guests;
mod joins;
mod lines;
mod logins;
mod mirrors;
mod model;
mod my_messages;
mod odd;
mod owned;
mod presence;
mod watched;
mod writes;

use std::{net::IpAddr, rc::Rc, sync::Arc, time::Duration};

use backplane::{Event, Handled};
use bytes::Bytes;
use hashbrown::HashMap;
use protocol::{
    ddp::{self, ejson::is_json},
    session::SubKey,
};

use crate::{
    config::Config,
    handlers::core::{Core, now},
    limiter::{Limiter, RateLimits},
    link::{Answer, Caller, Connection, Effect, Ticket, ToShard, User},
    mailbox::Mailbox,
    place::{Place, Sub},
    publication::{Body, To},
    readiness::Readiness,
    state::{State, post::Post},
    streams::{request::Subject, scope::Hidden, table::Stream, topic::Topic},
    topics::{Interest, TopicTable},
    upstream::{
        Upstream,
        script::{Script, World},
    },
};

/// The bus thread without its loop, and one naive shard.
struct Stage {
    core: Rc<Core>,
    script: Rc<Script>,
    mailbox: Arc<Mailbox<ToShard>>,
    table: TopicTable,
    clients: HashMap<Place, Client>,
    generation: u32,
    /// Last part of the address of those who come next.
    from: u8,
}

/// A client as its shard would see it.
struct Client {
    connection: Arc<Connection>,
    user: Option<Arc<User>>,
    live: HashMap<SubKey, Vec<Topic>>,
    /// Answers to calls that ended, by their numbers.
    answers: HashMap<u32, Answered>,
    got: Vec<(Topic, String)>,
    calls: u32,
    subs: u32,
    closed: bool,
    hidden: Hidden,
}

#[derive(Debug, PartialEq)]
enum Answered {
    Ready,
    Refused(ddp::Error),
    Result(Result<Option<Bytes>, ddp::Error>),
}

impl Stage {
    /// A stage on which everything goes on by itself that does so on the bus thread.
    fn new(seed: u64, world: World) -> Self {
        Self::with(seed, world, |_| {})
    }

    fn with(seed: u64, world: World, change: impl FnOnce(&mut Config)) -> Self {
        let script = Script::new(seed, world);
        let mailbox = Arc::new(Mailbox::new(1 << 30));
        let interest = Arc::new(Interest::default());
        let mut config = Config {
            logins_per_second: 1_000_000,
            ..Config::default()
        };
        change(&mut config);
        let core = Rc::new(Core::new(
            State::new(
                Post::new(vec![mailbox.clone()]),
                "process".into(),
                config.logins_per_second,
                now(),
            ),
            Upstream::scripted(script.clone()),
            Arc::new(config),
            interest.clone(),
            Arc::new(Limiter::new(RateLimits::Off, false, now())),
            Readiness::default(),
        ));
        tokio::task::spawn_local(super::rejudge::run(core.clone()));
        tokio::task::spawn_local(super::presence::tell_again(core.clone()));
        tokio::task::spawn_local(super::resync::run(core.clone()));
        tokio::task::spawn_local(super::sweep::run(core.clone()));
        tokio::task::spawn_local(super::line::run(core.clone()));
        tokio::task::spawn_local(super::scopes::run(core.clone()));
        tokio::task::spawn_local(super::login::let_in(core.clone()));
        Self {
            core,
            script,
            mailbox,
            table: TopicTable::new(0, interest),
            clients: HashMap::new(),
            generation: 0,
            from: 9,
        }
    }

    /// Makes something else true.
    fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.script.world.borrow_mut())
    }

    fn open(&mut self) -> Place {
        self.generation += 1;
        let slots = self.clients.iter().filter(|(_, client)| !client.closed);
        let taken: Vec<_> = slots.map(|(place, _)| place.slot).collect();
        let place = Place {
            shard: 0,
            slot: (0..).find(|slot| !taken.contains(slot)).unwrap(),
            generation: self.generation,
        };
        let connection = Arc::new(Connection {
            id: format!("c{}", self.generation),
            instance: "i".into(),
            address: None,
            source: IpAddr::from([203, 0, 113, self.from]),
            headers: "{}".into(),
            place,
        });
        self.core.opened(&connection);
        let client = Client {
            connection,
            user: None,
            live: HashMap::new(),
            answers: HashMap::new(),
            got: Vec::new(),
            calls: 0,
            subs: 0,
            closed: false,
            hidden: None,
        };
        self.clients.insert(place, client);
        place
    }

    fn close(&mut self, place: Place) {
        let client = self.clients.get_mut(&place).unwrap();
        if std::mem::replace(&mut client.closed, true) {
            return;
        }
        let connection = client.connection.clone();
        client.live.clear();
        self.core.closed(&connection);
    }

    fn ticket(&mut self, place: Place) -> (Ticket, Caller) {
        let client = self.clients.get_mut(&place).unwrap();
        client.calls += 1;
        let ticket = Ticket {
            place,
            seq: client.calls,
        };
        let caller = Caller {
            connection: client.connection.clone(),
            user: client.user.clone(),
        };
        (ticket, caller)
    }

    /// Begins a method; the number of its answer.
    fn method(&mut self, place: Place, name: &str, params: &str) -> u32 {
        let (ticket, caller) = self.ticket(place);
        let (core, name) = (self.core.clone(), name.to_owned());
        let params = Bytes::from(params.to_owned());
        let work = async move { core.method(ticket, caller, name, params).await };
        self.core.work.run(place, work);
        ticket.seq
    }

    /// Begins a subscription; the number of its answer.
    fn subscribe(&mut self, place: Place, name: &str, params: &str) -> (u32, Sub) {
        let (ticket, caller) = self.ticket(place);
        let client = self.clients.get_mut(&place).unwrap();
        client.subs += 1;
        // The answer says nothing of the key: a client asks one thing at a time.
        let sub = (place, SubKey(ticket.seq));
        let (core, name) = (self.core.clone(), name.to_owned());
        let params = Bytes::from(params.to_owned());
        let work = async move { core.subscribe(ticket, caller, sub, name, params).await };
        self.core.work.run(place, work);
        (ticket.seq, sub)
    }

    fn unsubscribe(&mut self, (place, sub): Sub) {
        let client = self.clients.get_mut(&place).unwrap();
        if client.live.remove(&sub).is_some() {
            self.core.end((place, sub));
        }
    }

    fn event(&self, name: &'static str, args: String) {
        self.core.event(Event {
            name,
            args: args.into(),
            sender: "peer".into(),
            from_us: false,
            meta: Bytes::from_static(b"{}"),
            received: now(),
            handled: Handled::default(),
        });
        self.core.flush();
    }

    /// Lets time pass, with everything that happens meanwhile.
    async fn pass(&mut self, time: Duration) {
        self.pass_in(time, Duration::from_millis(5)).await;
    }

    /// The same, looking at the mailbox more seldom.
    async fn pass_quietly(&mut self, time: Duration) {
        self.pass_in(time, Duration::from_millis(500)).await;
    }

    async fn pass_in(&mut self, time: Duration, step: Duration) {
        let until = tokio::time::Instant::now() + time;
        loop {
            self.take();
            if tokio::time::Instant::now() >= until {
                break;
            }
            let step = until.min(tokio::time::Instant::now() + step);
            tokio::time::sleep_until(step).await;
        }
    }

    fn publish(&mut self, to: &To, body: &Body) {
        let shown = format!("{body:?}");
        assert!(is_json(body.text()), "{shown}");
        match to {
            To::Topic(topic) => self.deliver(topic, &shown),
            To::Users { users, event } => users.iter().for_each(|user| {
                let mut key = String::new();
                event.key(user, &mut key);
                self.deliver(&Topic::new(Stream::NotifyUser, &key), &shown);
            }),
        }
    }

    /// Takes what was posted to the shard.
    fn take(&mut self) {
        self.core.flush();
        let mut batch = Vec::new();
        self.mailbox.take(&mut batch);
        for message in batch {
            match message {
                ToShard::Answer(ticket, answer) => self.answer(ticket, answer),
                ToShard::Publish(batch) => {
                    for publication in batch.iter() {
                        for body in publication.bodies() {
                            self.publish(&publication.to, body);
                        }
                    }
                }
                ToShard::Documents { .. } => {}
                ToShard::Revoke { subs, .. } => {
                    for (place, sub) in subs {
                        let client = self.clients.get_mut(&place).unwrap();
                        if client.live.remove(&sub).is_some() {
                            self.core.end((place, sub));
                        }
                    }
                }
                ToShard::Scope { places, hidden } => {
                    for place in places {
                        let client = self.clients.get_mut(&place).unwrap();
                        client.hidden.clone_from(&hidden);
                    }
                }
                ToShard::Close { places, .. } => {
                    places.into_iter().for_each(|place| self.close(place));
                }
                ToShard::Resync { places, .. } => {
                    let all = || self.clients.keys().copied().collect();
                    let places: Vec<_> = places.unwrap_or_else(all);
                    places.into_iter().for_each(|place| self.close(place));
                }
                ToShard::Drain { .. } | ToShard::Admin { .. } | ToShard::Stop => {}
            }
        }
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer) {
        let client = self.clients.get_mut(&ticket.place).unwrap();
        if client.closed {
            return;
        }
        let answered = match answer {
            Answer::Subscription {
                outcome: Ok(subscribed),
            } => {
                let sub = SubKey(ticket.seq);
                let topics = match subscribed.to {
                    Subject::Topic(topic) => vec![topic],
                    Subject::Users(lists, hidden) => {
                        client.hidden = hidden;
                        let topic = |user: &String| Topic::new(Stream::UserPresence, user);
                        lists.added.iter().map(topic).collect()
                    }
                };
                // Interest that is left over is harmless here: who gets what is told by `live` alone.
                for topic in &topics {
                    self.table.subscribe(topic.borrow(), ticket.place.slot);
                }
                client.live.insert(sub, topics);
                Answered::Ready
            }
            Answer::Subscription {
                outcome: Err(error),
            } => Answered::Refused(error),
            Answer::Method { outcome, then } => {
                match then {
                    Effect::LoggedIn(user) => client.user = Some(user),
                    Effect::Close(_) => self.close(ticket.place),
                    Effect::Nothing => {}
                }
                Answered::Result(outcome)
            }
        };
        let client = self.clients.get_mut(&ticket.place).unwrap();
        client.answers.insert(ticket.seq, answered);
    }

    fn deliver(&mut self, topic: &Topic, body: &str) {
        for client in self.clients.values_mut() {
            let hides = client.hidden.as_ref().is_some_and(|hidden| {
                topic.stream == Stream::UserPresence && hidden.hides(&topic.event)
            });
            if !hides && client.live.values().flatten().any(|live| live == topic) {
                client.got.push((topic.clone(), body.to_owned()));
            }
        }
    }

    fn log_in(&mut self, place: Place, token: &str) -> u32 {
        self.method(place, "login", &format!(r#"[{{"resume":"{token}"}}]"#))
    }

    fn answered(&self, place: Place, number: u32) -> Option<&Answered> {
        self.clients[&place].answers.get(&number)
    }

    fn is_live(&self, (place, sub): Sub) -> bool {
        self.clients[&place].live.contains_key(&sub)
    }

    /// Nothing is left of anybody.
    fn assert_empty(&self) {
        let state = &self.core.state;
        assert_eq!(state.people.borrow().len(), 0);
        assert!(state.grants.borrow().is_clean(), "grants are left");
        self.core.forget_idle(Duration::ZERO);
        assert!(state.rooms.borrow().is_empty(), "followed rooms are left");
        assert!(state.my_messages.borrow().is_empty(), "readers are left");
        assert!(state.scopes.borrow().is_empty(), "viewers are left");
        assert!(state.joins.borrow().is_empty(), "joins are left");
        assert!(state.lanes.borrow().is_empty(), "lanes are left");
        assert!(state.looks.borrow().is_empty(), "looks are left");
        assert_eq!(
            state.rejudge.borrow().len(),
            0,
            "grants wait for a judgement"
        );
        assert_eq!(self.core.work.len(), 0, "work is left");
        let flights = &self.core.flights;
        assert_eq!(
            flights.verdicts.len() + flights.rooms.len() + flights.users.len(),
            0
        );
        let rest = flights.settings.len() + flights.logins.len() + flights.scopes.len();
        assert_eq!(rest, 0);
    }
}
