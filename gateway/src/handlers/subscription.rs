//! Subscriptions: what a shard could not decide alone, and their end.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use backplane::Span;
use bytes::Bytes;
use protocol::ddp;

use super::{
    core::{Core, now},
    judge::Verdict,
};
use crate::{
    link::{Answer, Caller, Ticket, ToShard},
    metrics,
    place::Sub,
    publication::UserEvent,
    state::{
        grants::GrantId,
        people::Behind,
        rejudge::ONCE_MORE,
        rooms::{Load, Rooms},
    },
    streams::{
        question::Question,
        request::{Needs, Request, Subscribed},
        table::Stream,
        topic::Topic,
    },
    upstream::Unknown,
};

impl Core {
    /// Decides about a subscription and answers it.
    pub(crate) async fn subscribe(
        self: &Rc<Self>,
        ticket: Ticket,
        caller: Caller,
        sub: Sub,
        name: String,
        params: Bytes,
    ) {
        let started = now();
        let outcome = self.decide(&caller, sub, &name, &params).await;
        match &outcome {
            Ok(_) => metrics::subscribed(&name, now() - started),
            Err(error) => Span::current_failed(&error.error),
        }
        let answer = Answer::Subscription { outcome };
        self.post(ticket, ToShard::Answer(ticket, answer));
    }

    async fn decide(
        self: &Rc<Self>,
        caller: &Caller,
        sub: Sub,
        name: &str,
        params: &Bytes,
    ) -> Result<Subscribed, ddp::Error> {
        let request = Request::parse(name, params, &self.config.limits)?;
        match request.needs(caller.user_id()) {
            Needs::Nothing => {}
            Needs::Watch => {
                let hidden = self.begin_to_watch(caller, sub).await?;
                return Ok(request.watching(hidden));
            }
            Needs::Refusal => return Err(ddp::Error::not_allowed()),
            Needs::Rooms => self.follow_rooms(caller, sub, Behind::Rooms).await?,
            Needs::MyMessages => {
                self.follow_rooms(caller, sub, Behind::MyMessages).await?;
                let user = caller.user_id().ok_or_else(ddp::Error::not_allowed)?;
                let mut key = String::new();
                UserEvent::MyMessages.key(user, &mut key);
                let topic = Topic::new(Stream::NotifyUser, &key);
                return Ok(request.subscribed_under(Some(topic)));
            }
            Needs::Records => {
                let documents = self.state.mirrors.borrow().documents(request.stream);
                return Ok(Subscribed {
                    documents,
                    ..request.subscribed()
                });
            }
            Needs::Verdict(question) => self.admit(sub, question).await?,
        }
        Ok(request.subscribed())
    }

    /// Asks, and leaves a grant if the answer is yes. The grant is entered before the question, so that events find it.
    async fn admit(self: &Rc<Self>, sub: Sub, question: Question) -> Result<(), ddp::Error> {
        let grant = {
            let mut people = self.state.people.borrow_mut();
            if !people.is_open(sub.0) {
                return Err(ddp::Error::not_allowed());
            }
            let grant = self.state.grants.borrow_mut().enter(sub, question);
            people.stand(sub, Behind::Grant(grant));
            grant
        };
        let asked = now();
        let is_allowed = self.state.grants.borrow().is_allowed(grant);
        let verdict = if is_allowed {
            Verdict::Yes
        } else {
            self.verdict(grant).await
        };
        // It may have been revoked for this user while others hold on to the grant.
        let holds = self.state.grants.borrow().holds(grant, sub);
        match verdict {
            Verdict::Yes if holds => {
                self.doubt(grant, asked);
                Ok(())
            }
            Verdict::Unknown | Verdict::Moved if holds => {
                self.end(sub);
                Err(ddp::Error::internal())
            }
            _ => {
                self.end(sub);
                Err(ddp::Error::not_allowed())
            }
        }
    }

    /// Something was heard of what a fresh verdict rests on: whoever gave it may not have heard that yet.
    pub(crate) fn doubt(&self, grant: GrantId, asked: Instant) {
        let (grants, recent) = (self.state.grants.borrow(), self.state.recent.borrow());
        let now = now();
        let mut grounds = grants.grounds(grant).into_iter();
        // Counted from the question: a slow answer may be by what was true when it came.
        let within = ONCE_MORE + (now - asked);
        if grounds.any(|ground| recent.is_fresh(ground.borrow(), within, now)) {
            self.state.rejudge.borrow_mut().doubted(grant, now);
        }
        self.wake.rejudge.notify_one();
    }

    /// Follows the rooms of the caller.
    async fn follow_rooms(
        self: &Rc<Self>,
        caller: &Caller,
        sub: Sub,
        behind: fn(Arc<str>) -> Behind,
    ) -> Result<(), ddp::Error> {
        let user = caller.user_id().ok_or_else(ddp::Error::not_allowed)?;
        let behind = behind(user.clone());
        let stands = self.state.people.borrow_mut().stand(sub, behind.clone());
        if !stands {
            return Err(ddp::Error::not_allowed());
        }
        // Who comes and goes all the time, or follows them already, costs no reading.
        let Some(load) = self.index(&behind, |index| index.begin(user)) else {
            return Ok(());
        };
        let mut reading = Reading {
            core: self,
            user,
            load,
            behind,
            rooms: None,
        };
        match self.upstream.rooms_of_user(user).await {
            Ok(rooms) => {
                reading.rooms = Some(rooms);
                Ok(())
            }
            Err(Unknown) => {
                self.end(sub);
                Err(ddp::Error::internal())
            }
        }
    }

    /// A subscription is over, whoever ended it: what stood behind it goes. Nothing where nothing did.
    pub(crate) fn end(&self, sub: Sub) {
        let behind = self.state.people.borrow_mut().end(sub);
        if let Some(behind) = behind {
            self.release(sub, behind);
        }
    }

    /// Gives back what a subscription stood on.
    pub(crate) fn release(&self, sub: Sub, behind: Behind) {
        match behind {
            Behind::Grant(grant) => self.state.grants.borrow_mut().leave(grant, sub),
            Behind::Rooms(user) => self.state.rooms.borrow_mut().unsubscribed(&user, now()),
            Behind::MyMessages(user) => {
                let grants = self
                    .state
                    .my_messages
                    .borrow_mut()
                    .unsubscribed(&user, now());
                self.forget_verdicts(grants);
            }
            Behind::Watch(viewer) => self.state.scopes.borrow_mut().leave(&viewer, sub.0),
        }
    }

    /// Forgets the rooms of those who have not come back for so long.
    pub(crate) fn forget_idle(&self, after: Duration) {
        let Some(until) = now().checked_sub(after) else {
            return;
        };
        self.state.rooms.borrow_mut().forget_idle(until);
        self.state.my_messages.borrow_mut().rooms.forget_idle(until);
    }

    /// The index of rooms in which such a subscription stands.
    fn index<T>(&self, behind: &Behind, change: impl FnOnce(&mut Rooms) -> T) -> T {
        match behind {
            Behind::MyMessages(_) => change(&mut self.state.my_messages.borrow_mut().rooms),
            _ => change(&mut self.state.rooms.borrow_mut()),
        }
    }
}

/// The reading of a user's rooms; over when dropped, whatever came out.
struct Reading<'a> {
    core: &'a Core,
    user: &'a Arc<str>,
    behind: Behind,
    load: Load,
    rooms: Option<Vec<String>>,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let rooms = self.rooms.take();
        let (user, load) = (self.user, self.load);
        self.core
            .index(&self.behind, |index| index.loaded(user, load, rooms));
    }
}
