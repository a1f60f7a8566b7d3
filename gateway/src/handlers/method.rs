//! Methods: the few that end here (gateway.md 3.1), everything else is forwarded to the monolith (3.5).

use std::rc::Rc;

use backplane::Span;
use bytes::Bytes;
use protocol::{
    close::CloseReason,
    ddp::{self, ejson, encode::quoted},
};
use tokio::time::Instant;

use super::{core::Core, login};
use crate::{
    link::{Caller, Effect, Ticket},
    metrics,
    streams::table::Stream,
    upstream::CallError,
};

/// What becomes of a method.
#[derive(Clone, Copy, Debug)]
enum Method {
    Login,
    Logout,
    /// Sets a status; so many of the first params count.
    Status(usize),
    Online,
    Away,
    Guest,
    Write(Stream),
    Forwarded,
}

/// Those that end here, besides the writes to streams.
const OWN: &[(&str, Method)] = &[
    ("login", Method::Login),
    ("logout", Method::Logout),
    ("UserPresence:setDefaultStatus", Method::Status(1)),
    ("setUserStatus", Method::Status(2)),
    ("UserPresence:online", Method::Online),
    ("UserPresence:away", Method::Away),
    ("livechat:setUpConnection", Method::Guest),
];

impl Method {
    fn named(name: &str) -> Self {
        if let Some((_, own)) = OWN.iter().find(|(own, _)| *own == name) {
            return *own;
        }
        match name.strip_prefix("stream-").and_then(Stream::named) {
            Some(stream) => Self::Write(stream),
            None => Self::Forwarded,
        }
    }
}

/// The names of those.
#[cfg(test)]
pub(crate) fn own_methods() -> impl Iterator<Item = &'static str> {
    OWN.iter().map(|(name, _)| *name)
}

/// What a method ends with: its result, raw JSON.
type Outcome = Result<Option<Bytes>, ddp::Error>;

impl Core {
    /// Runs one method and answers it, or leaves the answer to the client's lane to presence.
    pub(crate) async fn method(
        self: &Rc<Self>,
        ticket: Ticket,
        caller: Caller,
        name: String,
        params: Bytes,
    ) {
        let started = Instant::now();
        // The session passes on nothing but JSON text.
        let params = std::str::from_utf8(&params).unwrap_or("[]");
        let (outcome, then) = match Method::named(&name) {
            Method::Login => login::login(self, &caller, params).await,
            Method::Logout => self.logout(&caller).await,
            Method::Status(args) => return self.user_status(ticket, &caller, params, args),
            Method::Online => return self.connection_status(ticket, &caller, "online"),
            Method::Away => return self.connection_status(ticket, &caller, "away"),
            Method::Guest => (self.guest(&caller, params), Effect::Nothing),
            Method::Write(stream) => {
                let outcome = self.write(&caller, stream, params).await;
                (outcome.map(|()| None), Effect::Nothing)
            }
            Method::Forwarded => (self.forward(&caller, &name, params).await, Effect::Nothing),
        };
        if let Err(error) = &outcome {
            Span::current_failed(&error.error);
        }
        metrics::method(outcome.is_ok(), started.elapsed());
        self.answer(ticket, outcome, then);
    }

    /// `logout`: the token goes first, so that a reconnect with it fails; then the connection.
    async fn logout(self: &Rc<Self>, caller: &Caller) -> (Outcome, Effect) {
        if let Some(user) = &caller.user {
            // The loss of the token is announced before the call is answered, and must not close this client.
            let leaving = |leaving| {
                let mut people = self.state.people.borrow_mut();
                if let Some(person) = people.get_mut(caller.place()) {
                    person.leaving = leaving;
                }
            };
            let (id, token) = (quoted(&user.id), quoted(&user.hashed_token));
            let params = format!("[{{\"userId\":{id},\"token\":{token}}}]");
            leaving(true);
            // To its end even if the client goes meanwhile: others stand on the same token, and must hear of it.
            let (core, caller) = (self.clone(), caller.clone());
            let taking_back = tokio::task::spawn_local(async move {
                let outcome = core.upstream.call("accounts.logout", &params).await;
                core.told(outcome).map(|_| core.logged_out(&caller))
            });
            if let Ok(Err(error)) = taking_back.await {
                leaving(false);
                return (Err(error), Effect::Nothing);
            }
        } else {
            self.logged_out(caller);
        }
        (Ok(None), Effect::Close(CloseReason::LoggedOut))
    }

    /// `livechat:setUpConnection`: the first token counts.
    fn guest(&self, caller: &Caller, params: &str) -> Outcome {
        let token = ejson::elements(params)
            .next()
            .and_then(|param| ejson::field(param, "token"));
        match token.and_then(ejson::string) {
            Some(token) if token.len() <= self.config.limits.token_bytes => {
                let mut people = self.state.people.borrow_mut();
                if let Some(person) = people.get_mut(caller.place()) {
                    person.guest_token.get_or_insert_with(|| token.into());
                }
                Ok(None)
            }
            _ => Ok(Some(Bytes::from_static(b"{}"))),
        }
    }

    /// Everything else is a method of the monolith; `result` is cut out of its answer.
    async fn forward(&self, caller: &Caller, name: &str, params: &str) -> Outcome {
        let (user, token) = match &caller.user {
            Some(user) => (quoted(&user.id), quoted(&user.hashed_token)),
            None => ("null".to_owned(), "null".to_owned()),
        };
        let call_params = format!("[{user},{token},{},{params}]", quoted(name));
        let action = "meteor.callMethodWithToken";
        let outcome = self.upstream.call_for_client(action, &call_params).await;
        let Some(answer) = self.told(outcome)? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&answer).map_err(|_| ddp::Error::internal())?;
        Ok(ejson::field(text, "result").map(|result| answer.slice_ref(result.as_bytes())))
    }

    /// What came out of a call, with the error that the client gets.
    fn told(&self, outcome: Result<Option<Bytes>, CallError>) -> Outcome {
        outcome.map_err(|error| {
            if !error.is_refusal() {
                self.upstream.complain("a call failed", &error);
            }
            error.to_client()
        })
    }
}
