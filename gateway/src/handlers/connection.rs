//! Clients come and go: what the workspace hears of it (gateway.md 1.8), and what is given back.

use std::{rc::Rc, sync::Arc};

use protocol::ddp::encode::quoted;

use super::core::Core;
use crate::{
    link::{Caller, Connection, ToShard, User},
    streams::connection::{login, logout, object},
};

impl Core {
    /// A websocket is open.
    pub(crate) fn opened(&self, connection: &Arc<Connection>) {
        self.state.people.borrow_mut().open(connection);
        self.state.instance.borrow_mut().changed = true;
        let args = format!("[{}]", object(connection, None, None));
        self.upstream.broadcast("socket.connected", &args);
    }

    /// It is gone, and with it everything that runs or stands for it.
    pub(crate) fn closed(self: &Rc<Self>, connection: &Arc<Connection>) {
        let place = connection.place;
        self.work.end(place);
        let gone = self
            .state
            .people
            .borrow_mut()
            .close(place)
            .unwrap_or_default();
        self.state.instance.borrow_mut().changed = true;
        for (sub, behind) in gone.behind {
            self.release((place, sub), behind);
        }
        let guest = gone.guest_token.as_deref();
        let args = format!("[{}]", object(connection, gone.user.as_deref(), guest));
        self.upstream.broadcast("socket.disconnected", &args);
        if let Some(user) = &gone.user {
            self.tell_removed(connection, user);
        }
        if let Some(token) = gone.guest_token {
            let core = self.clone();
            let params = format!("[{},\"offline\"]", quoted(&token));
            tokio::task::spawn_local(async move {
                let told = core
                    .upstream
                    .call("meteor.notifyGuestStatusChanged", &params);
                if let Err(error) = told.await {
                    core.upstream.complain("a guest's end was not told", &error);
                }
            });
        }
    }

    /// Somebody has logged in: everything that follows the answer, in the order of the original. Nothing if the client is
    /// gone.
    pub(crate) fn logged_in(self: &Rc<Self>, caller: &Caller, user: &Arc<User>) {
        let place = caller.place();
        let Some(before) = self.state.people.borrow_mut().log_in(place, user) else {
            return;
        };
        if let Some(before) = before.filter(|before| before.id != user.id) {
            self.tell_removed(&caller.connection, &before);
        }
        self.hand_over(place, &user.id);
        let watched = self.state.people.borrow_mut().watch_as(place, &user.id);
        if let Some((sub, before)) = watched {
            self.watch_as((place, sub), &before, &user.id);
        }
        self.state.instance.borrow_mut().changed = true;
        self.tell_new(caller, user);
    }

    /// Subscriptions made before a login stay, if the rules allow them to the user there is now.
    fn hand_over(&self, place: crate::place::Place, user: &Arc<str>) {
        let (mut people, mut grants) = (
            self.state.people.borrow_mut(),
            self.state.grants.borrow_mut(),
        );
        let mut moved = Vec::new();
        for (sub, grant) in people.grants(place) {
            let Some(question) = grants.question(grant) else {
                continue;
            };
            if question.user.as_ref() == Some(user) {
                continue;
            }
            let mut question = question.clone();
            question.user = Some(user.clone());
            let theirs = grants.enter((place, sub), question);
            grants.leave(grant, (place, sub));
            people.move_to((place, sub), theirs);
            if !grants.is_allowed(theirs) {
                moved.push(theirs);
            }
        }
        drop((people, grants));
        self.touched(moved);
    }

    /// A login goes on behind `presence.newConnection`: the user's document, then everybody hears of it.
    pub(crate) async fn welcome(self: &Rc<Self>, caller: &Caller, user: &Arc<User>) {
        let place = caller.place();
        if !self.state.people.borrow().is_logged_in(place, &user.id) {
            return;
        }
        if let Ok(Some(fields)) = self.own_document(&user.id).await {
            let added = protocol::ddp::encode::added("users", &user.id, &fields);
            let messages = vec![added];
            let documents = ToShard::Documents { place, messages };
            self.with_post(|post| post.post(place.shard, documents));
        }
        let guest = self.guest_token(caller);
        let args = login(&caller.connection, user, guest.as_deref());
        self.upstream.broadcast("accounts.login", &args);
    }

    fn guest_token(&self, caller: &Caller) -> Option<Box<str>> {
        let people = self.state.people.borrow();
        people.get(caller.place())?.guest_token.clone()
    }

    /// Somebody has logged out, logged in before or not.
    pub(crate) fn logged_out(self: &Rc<Self>, caller: &Caller) {
        let user = self.state.people.borrow_mut().log_out(caller.place());
        // Of a client that has gone meanwhile presence has been told.
        let told = user.as_deref().or(caller.user.as_deref());
        let guest = self.guest_token(caller);
        let args = logout(&caller.connection, told, guest.as_deref());
        self.upstream.broadcast("accounts.logout", &args);
        self.state.instance.borrow_mut().changed = true;
        if let Some(user) = &user {
            self.tell_removed(&caller.connection, user);
        }
    }
}
