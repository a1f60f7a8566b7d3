//! Subscriptions: what a shard could not decide alone, and their end.

use std::rc::Rc;

use bytes::Bytes;
use protocol::ddp;
use tokio::time::Instant;

use super::{core::Core, judge::Verdict};
use crate::{
    link::{Answer, Caller, Ticket, ToShard},
    metrics,
    place::Sub,
    state::people::Behind,
    streams::{
        question::Question,
        request::{Needs, Request, Subscribed},
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
        let started = Instant::now();
        let outcome = self.decide(&caller, sub, &name, &params).await;
        if outcome.is_ok() {
            metrics::subscribed(&name, started.elapsed());
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
        let request = Request::parse(name, params)?;
        match request.needs(caller.user_id()) {
            Needs::Nothing => {}
            Needs::Refusal => return Err(ddp::Error::not_allowed()),
            Needs::Rooms => self.follow_rooms(caller, sub).await?,
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
                self.wake.rejudge.notify_one();
                Ok(())
            }
            Verdict::Unknown if holds => {
                self.end(sub);
                Err(ddp::Error::internal())
            }
            _ => {
                self.end(sub);
                Err(ddp::Error::not_allowed())
            }
        }
    }

    /// Follows the rooms of the caller.
    async fn follow_rooms(self: &Rc<Self>, caller: &Caller, sub: Sub) -> Result<(), ddp::Error> {
        let user = caller.user_id().ok_or_else(ddp::Error::not_allowed)?;
        if !self
            .state
            .people
            .borrow_mut()
            .stand(sub, Behind::Rooms(user.clone()))
        {
            return Err(ddp::Error::not_allowed());
        }
        self.state.rooms.borrow_mut().begin(user);
        let load = Load { core: self, user };
        let rooms = self.upstream.rooms_of_user(user).await;
        let outcome = rooms.map(|rooms| load.done(rooms));
        if let Err(Unknown) = outcome {
            self.end(sub);
            return Err(ddp::Error::internal());
        }
        Ok(())
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
            Behind::Rooms(user) => self.state.rooms.borrow_mut().unsubscribed(&user),
        }
    }
}

/// The reading of a user's rooms; counted as over when dropped, too.
struct Load<'a> {
    core: &'a Core,
    user: &'a std::sync::Arc<str>,
}

impl Load<'_> {
    fn done(self, rooms: Vec<String>) {
        self.core.state.rooms.borrow_mut().loaded(self.user, rooms);
        std::mem::forget(self);
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.core
            .state
            .rooms
            .borrow_mut()
            .loaded(self.user, Vec::new());
    }
}
