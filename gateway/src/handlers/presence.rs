//! What presence is told of each client, in its lane, and the methods that go there (gateway.md 3.1).

use std::{rc::Rc, sync::Arc};

use bytes::Bytes;
use protocol::ddp::{self, ejson, encode::quoted};

use tokio::sync::Semaphore;

use super::core::{Core, now};
use crate::{
    link::{Caller, Connection, Effect, Ticket, User},
    metrics,
    place::Place,
    state::lanes::{Entered, NEW, REMOVED, STATUS, Then, Word},
};

/// Lanes that are driven again at the same time: a presence that has come back must survive it.
const AGAIN_AT_ONCE: usize = 64;

/// Drives lanes again that have rested, for as long as the bus thread runs.
pub(crate) async fn tell_again(core: Rc<Core>) {
    let permits = Arc::new(Semaphore::new(AGAIN_AT_ONCE));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        let rested = core.state.lanes.borrow_mut().rested(now());
        match rested {
            None => core.wake.resting.notified().await,
            Some(Err(until)) => tokio::time::sleep_until(until.into()).await,
            Some(Ok(place)) => {
                core.until_offered(NEW).await;
                let core = core.clone();
                tokio::task::spawn_local(async move {
                    core.drive(place).await;
                    drop(permit);
                });
            }
        }
    }
}

impl Core {
    /// A login, with everything that follows it.
    pub(crate) fn tell_new(self: &Rc<Self>, caller: &Caller, user: &Arc<User>) {
        let params = self.presence_params(&caller.connection, user);
        let then = Then::Welcome(caller.clone(), user.clone());
        self.tell(&caller.connection, NEW, params, then);
    }

    /// A user has no connection here any more.
    pub(crate) fn tell_removed(self: &Rc<Self>, connection: &Arc<Connection>, user: &User) {
        let params = self.presence_params(connection, user);
        self.tell(connection, REMOVED, params, Then::Nothing);
    }

    /// A client has shown a sign of life.
    pub(crate) fn activity(self: &Rc<Self>, caller: &Caller) {
        const UPDATE: &str = "presence.updateConnection";
        let busy = self.state.lanes.borrow().is_busy(caller.place());
        // Older presence services do not have it.
        if let Some(user) = &caller.user
            && !busy
            && self.upstream.offers(UPDATE)
        {
            let params = format!("[{},{}]", quoted(&user.id), quoted(&caller.connection.id));
            self.tell(&caller.connection, UPDATE, params, Then::Nothing);
        }
    }

    /// `UserPresence:online` and `UserPresence:away`.
    pub(crate) fn connection_status(
        self: &Rc<Self>,
        ticket: Ticket,
        caller: &Caller,
        status: &str,
    ) {
        let Some(user) = &caller.user else {
            return self.answer(ticket, Ok(None), Effect::Nothing);
        };
        let (user, id) = (quoted(&user.id), quoted(&caller.connection.id));
        let params = format!("[{user},\"{status}\",{id}]");
        self.tell(&caller.connection, STATUS, params, Then::Answer(ticket));
    }

    /// `setUserStatus` and its older form with the status alone: takes so many of the params.
    pub(crate) fn user_status(
        self: &Rc<Self>,
        ticket: Ticket,
        caller: &Caller,
        params: &str,
        count: usize,
    ) {
        let Some(user) = &caller.user else {
            return self.answer(ticket, Ok(None), Effect::Nothing);
        };
        let mut told = format!("[{}", quoted(&user.id));
        for param in ejson::elements(params).take(count) {
            // A word and a text: nothing else of a client may get near the database.
            if param != "null" && !param.starts_with('"') {
                let error = ddp::Error::bad_request("Match failed");
                return self.answer(ticket, Err(error), Effect::Nothing);
            }
            told.push(',');
            told.push_str(param);
        }
        told.push(']');
        self.tell(
            &caller.connection,
            "presence.setStatus",
            told,
            Then::Answer(ticket),
        );
    }

    fn presence_params(&self, connection: &Connection, user: &User) -> String {
        format!(
            "[{},{},{}]",
            quoted(&user.id),
            quoted(&connection.id),
            quoted(self.upstream.node_id())
        )
    }

    fn tell(
        self: &Rc<Self>,
        connection: &Arc<Connection>,
        action: &'static str,
        params: String,
        then: Then,
    ) {
        let place = connection.place;
        let word = Word {
            action,
            params,
            then,
        };
        let entered = self.state.lanes.borrow_mut().push(place, word);
        match entered {
            Entered::Begins => {
                let core = self.clone();
                tokio::task::spawn_local(async move { core.drive(place).await });
            }
            Entered::Waits => {}
            Entered::Rests(then) => self.go_on(then, Err(ddp::Error::internal())),
        }
    }

    /// Says one word of a lane after the other, until it is empty or rests.
    async fn drive(self: &Rc<Self>, place: Place) {
        loop {
            let word = self.state.lanes.borrow_mut().next(place);
            let Some(word) = word else { return };
            if !self.say(place, word).await {
                return;
            }
        }
    }

    /// Says one word; whether the lane may go on.
    async fn say(self: &Rc<Self>, place: Place, mut word: Word) -> bool {
        let outcome = self.upstream.call(word.action, &word.params).await;
        let failure = outcome.as_ref().err().filter(|error| !error.is_refusal());
        if let Some(error) = failure {
            self.upstream.complain("presence was not told", error);
        }
        let has_failed = failure.is_some();
        let then = std::mem::replace(&mut word.then, Then::Nothing);
        self.go_on(then, outcome.map_err(|error| error.to_client()));
        if !has_failed {
            self.state.lanes.borrow_mut().taken(place);
            return true;
        }
        let is_missed = word.is_told_again();
        let rests = self.state.lanes.borrow_mut().rest(place, word, now());
        match rests {
            Ok(thens) => {
                self.wake.resting.notify_one();
                for then in thens {
                    self.go_on(then, Err(ddp::Error::internal()));
                }
                false
            }
            Err(_) => {
                if is_missed {
                    metrics::presence_given_up();
                }
                true
            }
        }
    }

    /// What follows a word, whatever became of it.
    fn go_on(self: &Rc<Self>, then: Then, outcome: Result<Option<Bytes>, ddp::Error>) {
        match then {
            Then::Nothing => {}
            Then::Answer(ticket) => self.answer(ticket, outcome, Effect::Nothing),
            // The lane does not wait for a document.
            Then::Welcome(caller, user) => {
                let core = self.clone();
                tokio::task::spawn_local(async move { core.welcome(&caller, &user).await });
            }
        }
    }
}
