//! Driving sessions: one input or command, then everything that follows from it.

use std::{rc::Rc, sync::Arc, time::Instant};

use bytes::Bytes;
use protocol::{
    close::CloseReason,
    ddp,
    session::{Event, Session, SubKey, make_room},
};

use super::{
    Shard,
    entry::{Entry, Queued, Running},
    now,
};
use crate::{
    limiter::Call,
    link::{Answer, Effect, Ticket, ToBus, User},
    metrics, panics,
    place::Place,
    streams::request::{Needs, Request, Subject, Subscribed},
};

impl Shard {
    /// Gives one input or command to a session and does what follows from it; ends the connection where that says so.
    pub(crate) fn step(
        self: &Rc<Self>,
        entry: &Rc<Entry>,
        input: impl FnOnce(&mut Session) -> Result<(), CloseReason>,
    ) {
        if !entry.is_open() {
            return;
        }
        let outcome = panics::contained(|| self.drive(entry, input, now()));
        let outcome = outcome.unwrap_or_else(|| {
            metrics::session_panicked();
            Err(CloseReason::Internal)
        });
        if let Err(reason) = outcome {
            self.close(entry, reason);
        }
    }

    /// The contract of a session: after one input drain its events and its frames.
    fn drive(
        &self,
        entry: &Rc<Entry>,
        input: impl FnOnce(&mut Session) -> Result<(), CloseReason>,
        now: Instant,
    ) -> Result<(), CloseReason> {
        let mut session = entry.session.borrow_mut();
        let mut outcome = input(&mut session);
        loop {
            if outcome.is_err() {
                // What waits behind a logout must not be done any more.
                session.close();
            }
            let Some(event) = session.poll_event() else {
                break;
            };
            if let Err(reason) = self.event(entry, &mut session, event, now) {
                outcome = Err(reason);
            }
        }
        let mut outbox = entry.outbox.borrow_mut();
        // Answers always fit; but who is over the bound and asks for more does not read.
        let was_over = outbox.is_over();
        let mut slow = false;
        while session.poll_frame(&mut outbox, now) {
            slow = was_over;
        }
        if !outbox.is_empty() {
            self.mark(entry, Queued::Urgent);
        }
        drop(outbox);
        if outcome.is_ok() {
            self.schedule(entry, session.poll_timeout());
        }
        if slow {
            Err(CloseReason::SlowConsumer)
        } else {
            outcome
        }
    }

    fn event(
        &self,
        entry: &Rc<Entry>,
        session: &mut Session,
        event: Event,
        now: Instant,
    ) -> Result<(), CloseReason> {
        match event {
            Event::Connected {
                has_session,
                has_count,
            } => metrics::connected(has_session, has_count),
            Event::Method { name, params } => {
                if let Err(error) = self.admit(entry, Call::Method, &name, now) {
                    // Clients throw their token away on any error of `login {resume}`.
                    if name == "login" {
                        return Err(CloseReason::TryAgain);
                    }
                    session.method_result(Err(error));
                    return Ok(());
                }
                let running = match &*name {
                    "logout" => Running::Logout,
                    _ => Running::Method,
                };
                let ticket = self.ticket(entry, running);
                self.shared.to_bus.post(
                    ToBus::Method {
                        ticket,
                        caller: entry.caller(),
                        name,
                        params,
                    },
                    0,
                );
            }
            Event::Subscribe { sub, name, params } => {
                if let Err(error) = self.admit(entry, Call::Subscription, &name, now) {
                    session.subscription_failed(Some(&error));
                    return Ok(());
                }
                let caller = entry.caller();
                let request = match Request::parse(&name, &params, &self.limits) {
                    Ok(request) => request,
                    Err(error) => {
                        if error == ddp::Error::invalid_event_name() {
                            metrics::subscription_refused("name");
                        }
                        session.subscription_failed(Some(&error));
                        return Ok(());
                    }
                };
                if let Some(what) = request.cut {
                    metrics::cut(what);
                }
                if caller.user.is_none()
                    && request.event.len() > self.limits.name_bytes_before_login
                {
                    metrics::subscription_refused("name");
                    session.subscription_failed(Some(&ddp::Error::invalid_event_name()));
                    return Ok(());
                }
                match request.needs(caller.user_id()) {
                    Needs::Nothing => {
                        metrics::subscribed(&name, super::now() - now);
                        self.subscribed(entry, session, sub, request.subscribed());
                    }
                    Needs::Refusal => {
                        session.subscription_failed(Some(&ddp::Error::not_allowed()));
                    }
                    // What the caller may see is known since the first one.
                    Needs::Watch if entry.watching.borrow().is_some() => {
                        self.subscribed(entry, session, sub, request.subscribed());
                    }
                    // The bus thread finds out.
                    Needs::Watch
                    | Needs::MyMessages
                    | Needs::Rooms
                    | Needs::Records
                    | Needs::Verdict(_) => {
                        let ticket = self.ticket(entry, Running::Subscription(sub));
                        self.shared.to_bus.post(
                            ToBus::Subscribe {
                                ticket,
                                caller,
                                sub,
                                name,
                                params,
                            },
                            0,
                        );
                    }
                }
            }
            Event::Unsubscribe { sub } => {
                self.unsubscribe(entry, sub);
            }
            Event::Refused { limit } => metrics::subscription_refused(limit),
            Event::Activity => {
                if entry.user.borrow().is_some() {
                    self.shared.to_bus.post(ToBus::Activity(entry.caller()), 0);
                }
            }
        }
        Ok(())
    }

    /// The rate limits of the workspace, before anything else is looked at.
    fn admit(&self, entry: &Entry, call: Call, name: &str, now: Instant) -> Result<(), ddp::Error> {
        let checked = self.shared.limiter.check(&entry.caller(), call, name, now);
        checked.map_err(ddp::Error::too_many_requests)
    }

    fn ticket(&self, entry: &Entry, running: Running) -> Ticket {
        entry.calls.set(entry.calls.get().wrapping_add(1));
        entry.running.set(Some(running));
        Ticket {
            place: entry.connection.place,
            seq: entry.calls.get(),
        }
    }

    /// Makes a subscription live: in the topic table before its `ready` is written, so that nothing is lost between.
    fn subscribed(
        &self,
        entry: &Entry,
        session: &mut Session,
        sub: SubKey,
        subscribed: Subscribed,
    ) {
        let topic = match subscribed.to {
            Subject::Topic(topic) => topic,
            Subject::Users(lists, hidden) => {
                return self.watch(entry, session, sub, lists, hidden);
            }
        };
        let topic = self
            .topics
            .borrow_mut()
            .subscribe(topic.borrow(), entry.slot());
        let mut own = entry.topics.borrow_mut();
        make_room(&mut own);
        own.push((sub, topic));
        for message in subscribed.documents {
            session.document(message);
        }
        session.subscription_ready();
    }

    /// Takes a subscription's topic out of the table (it stays while another subscription of this client has it) and tells
    /// the bus thread; `false` if the subscription was over already.
    pub(crate) fn unsubscribe(&self, entry: &Entry, sub: SubKey) -> bool {
        let mut own = entry.topics.borrow_mut();
        if let Some(at) = own.iter().position(|(key, _)| *key == sub) {
            let (_, topic) = own.remove(at);
            if !own.iter().any(|(_, other)| *other == topic) {
                self.topics.borrow_mut().unsubscribe(topic, entry.slot());
            }
        } else if !self.unwatch(entry, sub) {
            return false;
        }
        let sub = (entry.connection.place, sub);
        self.shared.to_bus.post(ToBus::Unsubscribed(sub), 0);
        true
    }

    /// Brings the bus thread's answer to the call that waits for it; an answer to anything else is dropped.
    pub(crate) fn answer(self: &Rc<Self>, ticket: Ticket, answer: Answer) {
        let Some(entry) = self.entry(ticket.place) else {
            return;
        };
        if !entry.is_open() || entry.calls.get() != ticket.seq {
            return;
        }
        match (answer, entry.running.take()) {
            (Answer::Method { outcome, then }, Some(Running::Method | Running::Logout)) => {
                self.finish_method(&entry, outcome, then)
            }
            (Answer::Subscription { outcome }, Some(Running::Subscription(sub))) => {
                self.step(&entry, |session| {
                    match outcome {
                        Ok(subscribed) => self.subscribed(&entry, session, sub, subscribed),
                        Err(error) => session.subscription_failed(Some(&error)),
                    }
                    Ok(())
                })
            }
            // Kinds that do not fit would be a bug of ours; the call stays running until its own answer comes.
            (_, running) => entry.running.set(running),
        }
    }

    fn finish_method(
        self: &Rc<Self>,
        entry: &Rc<Entry>,
        outcome: Result<Option<Bytes>, ddp::Error>,
        then: Effect,
    ) {
        match then {
            Effect::Nothing => self.step(entry, |session| {
                session.method_result(outcome);
                Ok(())
            }),
            Effect::LoggedIn(user) => {
                let id = user.id.clone();
                self.log_in(entry, user);
                self.step(entry, |session| {
                    session.logged_in(now());
                    session.method_result(outcome);
                    Ok(())
                });
                self.end_strangers(entry, &id);
            }
            // Clients throw their token away on any error of `login {resume}`: better none at all.
            Effect::Close(reason @ CloseReason::TryAgain) if outcome.is_err() => {
                self.close(entry, reason)
            }
            Effect::Close(reason) => self.step(entry, |session| {
                session.method_result(outcome);
                Err(reason)
            }),
        }
    }

    /// A second login on the same socket replaces the first.
    fn log_in(&self, entry: &Entry, user: Arc<User>) {
        self.log_out(entry);
        *entry.user.borrow_mut() = Some(user);
        if let Some(transport) = &mut *entry.transport.borrow_mut() {
            transport.seat.logged_in();
        }
        metrics::logged_in();
    }

    /// Nobody is logged in on this client any more.
    pub(crate) fn log_out(&self, entry: &Entry) {
        if entry.user.borrow_mut().take().is_some() {
            metrics::logged_out();
        }
    }

    /// Sends documents that belong to no queue: the `users` document after a login.
    pub(crate) fn documents(self: &Rc<Self>, place: Place, messages: Vec<String>) {
        let Some(entry) = self.entry(place) else {
            return;
        };
        self.step(&entry, |session| {
            messages
                .into_iter()
                .for_each(|message| session.document(message));
            Ok(())
        });
    }
}
