//! Methods: the few that end here (gateway.md 3.1), everything else is forwarded to the monolith (3.5).

mod login;
mod write;

use std::{rc::Rc, time::Instant};

use backplane::{CallOptions, Code, ErrorKind};
use bytes::Bytes;
use protocol::{
    close::CloseReason,
    ddp::{self, ejson},
};

pub(crate) use self::login::Logins;
use crate::{
    access::quoted,
    bus::{Core, connections::Key, lifecycle},
    link::{Caller, Effect, Ticket},
    metrics,
};

/// What a method ends with: its result, raw JSON.
type Outcome = Result<Option<Bytes>, ddp::Error>;

/// Runs one method and answers it.
pub(crate) async fn handle(
    core: &Rc<Core>,
    ticket: Ticket,
    caller: Caller,
    name: String,
    params: Bytes,
) {
    let started = Instant::now();
    // The session passes on nothing but JSON text.
    let params = std::str::from_utf8(&params).unwrap_or("[]");
    let (outcome, then) = match &*name {
        "login" => login::login(core, ticket, &caller, params).await,
        "logout" => logout(core, &caller).await,
        "UserPresence:setDefaultStatus" => {
            (set_status(core, &caller, params, 1).await, Effect::Nothing)
        }
        "setUserStatus" => (set_status(core, &caller, params, 2).await, Effect::Nothing),
        "UserPresence:online" => (
            connection_status(core, &caller, "online").await,
            Effect::Nothing,
        ),
        "UserPresence:away" => (
            connection_status(core, &caller, "away").await,
            Effect::Nothing,
        ),
        "livechat:setUpConnection" => (guest(core, &caller, params), Effect::Nothing),
        name => match name
            .strip_prefix("stream-")
            .and_then(crate::streams::table::stream)
        {
            Some(stream) => {
                write::write(core, &caller, stream, params).await;
                (Ok(None), Effect::Nothing)
            }
            None => (forward(core, &caller, name, params).await, Effect::Nothing),
        },
    };
    metrics::method(outcome.is_ok(), started.elapsed());
    core.answer(ticket, outcome, then);
}

/// `logout`: the token goes first, so that a reconnect with it fails; then the connection.
async fn logout(core: &Rc<Core>, caller: &Caller) -> (Outcome, Effect) {
    if let Some(user) = &caller.user {
        // The loss of the token is announced before the call is answered, and must not close this socket.
        let leaving = |leaving| {
            if let Some(open) = core.connections.borrow_mut().get_mut(Key::from(caller)) {
                open.leaving = leaving;
            }
        };
        let params = format!(
            "[{{\"userId\":{},\"token\":{}}}]",
            quoted(&user.id),
            quoted(&user.hashed_token)
        );
        leaving(true);
        if let Err(error) = call(core, "accounts.logout", &params).await {
            leaving(false);
            return (Err(error), Effect::Nothing);
        }
    }
    lifecycle::logged_out(core, caller);
    (Ok(None), Effect::Close(CloseReason::LoggedOut))
}

/// `setUserStatus` and its older form with the status alone: takes this many of the params.
async fn set_status(core: &Rc<Core>, caller: &Caller, params: &str, count: usize) -> Outcome {
    let Some(user) = &caller.user else {
        return Ok(None);
    };
    let mut call_params = format!("[{}", quoted(&user.id));
    for param in ejson::elements(params).take(count) {
        // A word and a text: nothing else of a client may get near the database.
        if param != "null" && ejson::string(param).is_none() {
            return Err(ddp::Error::bad_request("Match failed"));
        }
        call_params.push(',');
        call_params.push_str(param);
    }
    call_params.push(']');
    call(core, "presence.setStatus", &call_params).await
}

async fn connection_status(core: &Rc<Core>, caller: &Caller, status: &str) -> Outcome {
    let Some(user) = &caller.user else {
        return Ok(None);
    };
    let params = format!(
        "[{},\"{status}\",{}]",
        quoted(&user.id),
        quoted(&caller.connection.id)
    );
    call(core, "presence.setConnectionStatus", &params).await
}

/// `livechat:setUpConnection`: the first token counts.
fn guest(core: &Core, caller: &Caller, params: &str) -> Outcome {
    let token = ejson::elements(params)
        .next()
        .and_then(|param| ejson::field(param, "token"));
    match token.and_then(ejson::string) {
        Some(token) if token.len() <= crate::streams::EVENT_BYTES_MAX => {
            if let Some(open) = core.connections.borrow_mut().get_mut(Key::from(caller)) {
                open.guest_token.get_or_insert_with(|| token.into_owned());
            }
            Ok(None)
        }
        _ => Ok(Some(Bytes::from_static(b"{}"))),
    }
}

/// Everything else is a method of the monolith; `result` is cut out of its answer.
async fn forward(core: &Rc<Core>, caller: &Caller, name: &str, params: &str) -> Outcome {
    let (user, token) = match &caller.user {
        Some(user) => (quoted(&user.id), quoted(&user.hashed_token)),
        None => ("null".to_owned(), "null".to_owned()),
    };
    let call_params = format!("[{user},{token},{},{params}]", quoted(name));
    let Some(answer) = call(core, "meteor.callMethodWithToken", &call_params).await? else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&answer).map_err(|_| ddp::Error::internal())?;
    Ok(ejson::field(text, "result").map(|result| answer.slice_ref(result.as_bytes())))
}

/// One call on behalf of a client, with the error that the client gets.
async fn call(core: &Core, action: &str, params: &str) -> Outcome {
    core.bus
        .call(action, params, CallOptions::default())
        .await
        .map_err(|error| {
            if !matches!(error.kind, ErrorKind::Refused(_)) {
                core.complaints.warn("a call failed", &error);
            }
            client_error(&error)
        })
}

/// The true code of a Meteor error (gateway.md 3.6); 500 for everything else.
fn client_error(error: &backplane::Error) -> ddp::Error {
    let ErrorKind::Refused(remote) = &error.kind else {
        return ddp::Error::internal();
    };
    match remote.meteor() {
        Some(thrown) => {
            let is_number = matches!(thrown.error, Code::Number(_));
            ddp::Error::recovered(
                &thrown.error.to_string(),
                is_number,
                thrown.reason,
                thrown.details,
            )
        }
        None => ddp::Error::internal(),
    }
}
