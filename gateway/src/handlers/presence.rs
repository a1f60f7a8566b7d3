//! What presence is told of each client, in its lane, and the methods that go there (gateway.md 3.1).

use std::{rc::Rc, sync::Arc};

use protocol::ddp::{self, ejson, encode::quoted};

use super::core::Core;
use crate::{
    link::{Caller, Connection, Effect, Ticket, User},
    state::lanes::{Then, Word},
};

impl Core {
    /// A login, with everything that follows it.
    pub(crate) fn tell_new(self: &Rc<Self>, caller: &Caller, user: &Arc<User>) {
        let params = self.presence_params(&caller.connection, user);
        let then = Then::Welcome(caller.clone(), user.clone());
        self.tell(&caller.connection, "presence.newConnection", params, then);
    }

    /// A user has no connection here any more.
    pub(crate) fn tell_removed(self: &Rc<Self>, connection: &Arc<Connection>, user: &User) {
        let params = self.presence_params(connection, user);
        self.tell(
            connection,
            "presence.removeConnection",
            params,
            Then::Nothing,
        );
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
        let then = Then::Answer(ticket);
        self.tell(
            &caller.connection,
            "presence.setConnectionStatus",
            params,
            then,
        );
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
        if self.state.lanes.borrow_mut().push(place, word) {
            let core = self.clone();
            tokio::task::spawn_local(async move {
                loop {
                    let word = core.state.lanes.borrow_mut().next(place);
                    let Some(word) = word else { break };
                    core.say(word).await;
                }
            });
        }
    }

    async fn say(self: &Rc<Self>, word: Word) {
        let outcome = self.upstream.call(word.action, &word.params).await;
        if let Err(error) = &outcome
            && !error.is_refusal()
        {
            self.upstream.complain("presence was not told", error);
        }
        match word.then {
            Then::Nothing => {}
            Then::Answer(ticket) => {
                let outcome = outcome.map_err(|error| error.to_client());
                self.answer(ticket, outcome, Effect::Nothing);
            }
            // The lane does not wait for a document.
            Then::Welcome(caller, user) => {
                let core = self.clone();
                tokio::task::spawn_local(async move { core.welcome(&caller, &user).await });
            }
        }
    }
}
