//! `login` (gateway.md 3.2): judged by the accounts service, at a bounded rate, one question per token at a time.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use backplane::{CallOptions, ErrorKind};
use bytes::Bytes;
use futures_util::future::{FutureExt as _, LocalBoxFuture, Shared};
use hashbrown::{HashMap, HashSet};
use protocol::{
    close::CloseReason,
    ddp::{self, ejson, encode},
};

use super::{Outcome, client_error};
use crate::{
    access::{changes, quoted},
    bus::{Core, lifecycle},
    link::{Caller, Effect, Ticket, User},
    metrics,
};

/// Longest wait for a turn; who would wait longer is asked to come back.
const WAIT_MAX: Duration = Duration::from_secs(15);

/// Logins that may start at once after a quiet time.
const BURST: Duration = Duration::from_millis(100);

/// So many users are told apart; when more were heard of, each login is looked at.
const HEARD_OF_MAX: usize = 10_000;

/// Longest resume token; real ones have 43 characters, personal access tokens the same.
const TOKEN_BYTES_MAX: usize = 1_024;

/// Logins under way.
#[derive(Default)]
pub(crate) struct Logins {
    /// By params: many tabs of one browser come back with one token.
    running: RefCell<HashMap<String, Shared<LocalBoxFuture<'static, Verdict>>>>,
    next: RefCell<Option<Instant>>,
    /// Of whom something was heard meanwhile that may end a login.
    heard_of: RefCell<HashSet<Arc<str>>>,
}

/// What came out of one question.
#[derive(Clone, Debug)]
enum Verdict {
    Accepted(Arc<Accepted>),
    /// With this error; the client forgets its token.
    Refused(ddp::Error),
    /// Nobody can tell now: the client must keep its token and come back.
    Unknown,
}

#[derive(Debug)]
struct Accepted {
    user: Arc<User>,
    result: Bytes,
}

/// Judges a login and enters it.
pub(super) async fn login(
    core: &Rc<Core>,
    ticket: Ticket,
    caller: &Caller,
    params: &str,
) -> (Outcome, Effect) {
    let started = Instant::now();
    let Some(request) = request(params, core.config.password_login) else {
        metrics::login("refused", started.elapsed());
        return (Err(unusable(core.config.password_login)), Effect::Nothing);
    };
    let verdict = if core
        .logins
        .wait_for_turn(core.config.logins_per_second)
        .await
    {
        ask(core, request).await
    } else {
        Verdict::Unknown
    };
    match verdict {
        Verdict::Accepted(accepted) => {
            metrics::login("accepted", started.elapsed());
            // Of a socket that is gone the answer is dropped.
            lifecycle::logged_in(core, ticket, caller, &accepted.user);
            if core.logins.was_heard_of(&accepted.user.id) {
                changes::look_again(core, accepted.user.id.clone());
            }
            (
                Ok(Some(accepted.result.clone())),
                Effect::LoggedIn(accepted.user.clone()),
            )
        }
        Verdict::Refused(error) => {
            metrics::login("refused", started.elapsed());
            (Err(error), Effect::Nothing)
        }
        Verdict::Unknown => {
            metrics::login("unknown", started.elapsed());
            (
                Err(ddp::Error::internal()),
                Effect::Close(CloseReason::TryAgain),
            )
        }
    }
}

/// The params for the accounts service, made of nothing but strings; `None` if there is nothing usable.
fn request(params: &str, passwords: bool) -> Option<String> {
    let first = ejson::elements(params).next()?;
    let text = |object, name| {
        ejson::field(object, name)
            .and_then(ejson::string)
            .filter(|text| text.len() <= TOKEN_BYTES_MAX)
    };
    if let Some(token) = text(first, "resume") {
        return Some(format!("[{{\"resume\":{}}}]", quoted(&token)));
    }
    if !passwords {
        return None;
    }
    let user = ejson::field(first, "user")?;
    let (name, value) = match text(user, "username") {
        Some(username) => ("username", username),
        None => ("email", text(user, "email")?),
    };
    let password = ejson::field(first, "password")?;
    let password = match ejson::string(password) {
        Some(plain) if plain.len() <= TOKEN_BYTES_MAX => quoted(&plain),
        Some(_) => return None,
        None => format!(
            "{{\"digest\":{},\"algorithm\":{}}}",
            quoted(&text(password, "digest")?),
            quoted(&text(password, "algorithm")?)
        ),
    };
    Some(format!(
        "[{{\"user\":{{\"{name}\":{}}},\"password\":{password}}}]",
        quoted(&value)
    ))
}

fn unusable(passwords: bool) -> ddp::Error {
    ddp::Error::forbidden(if passwords {
        "Log in with a resume token or with username and password"
    } else {
        "Log in with a resume token: password logins are off here"
    })
}

async fn ask(core: &Rc<Core>, request: String) -> Verdict {
    let running = core.logins.running.borrow().get(&request).cloned();
    if let Some(running) = running {
        return running.await;
    }
    let (core_, params) = (core.clone(), request.clone());
    let question = async move {
        let answer = core_
            .bus
            .call("accounts.login", &params, CallOptions::default())
            .await;
        core_.logins.running.borrow_mut().remove(&params);
        match answer {
            Ok(Some(answer)) if *answer == *b"false" => Verdict::Refused(ddp::Error::logged_out()),
            Ok(Some(answer)) => accepted(&answer).map_or(Verdict::Unknown, |accepted| {
                Verdict::Accepted(Arc::new(accepted))
            }),
            Ok(None) => Verdict::Unknown,
            // Only what the service threw on purpose is a refusal.
            Err(error) => match &error.kind {
                ErrorKind::Refused(remote) if remote.meteor().is_some() => {
                    Verdict::Refused(client_error(&error))
                }
                _ => {
                    core_.complaints.warn("a login cannot be judged", &error);
                    Verdict::Unknown
                }
            },
        }
    };
    let question = question.boxed_local().shared();
    core.logins.begin(request, question.clone());
    question.await
}

/// `{uid, token, hashedToken, type, tokenExpires?}`.
fn accepted(answer: &[u8]) -> Option<Accepted> {
    let answer = std::str::from_utf8(answer).ok()?;
    let text = |name| {
        ejson::field(answer, name)
            .and_then(ejson::string)
            .filter(|text| !text.is_empty())
    };
    let (id, token, hashed_token) = (text("uid")?, text("token")?, text("hashedToken")?);
    let mut result = String::from("{\"id\":");
    encode::push_string(&mut result, &id);
    result.push_str(",\"token\":");
    encode::push_string(&mut result, &token);
    for name in ["tokenExpires", "type"] {
        if let Some(value) = ejson::field(answer, name).filter(|value| *value != "null") {
            result.push_str(&format!(",\"{name}\":{value}"));
        }
    }
    result.push('}');
    Some(Accepted {
        user: Arc::new(User {
            id: Arc::from(&*id),
            hashed_token: hashed_token.into_owned(),
        }),
        result: Bytes::from(result),
    })
}

impl Logins {
    fn begin(&self, request: String, question: Shared<LocalBoxFuture<'static, Verdict>>) {
        let mut running = self.running.borrow_mut();
        if running.is_empty() {
            self.heard_of.take();
        }
        running.insert(request, question);
    }

    /// Something has happened to a user that may end logins: those under way are judged by what was before.
    pub(crate) fn hear_of(&self, user: &Arc<str>) {
        let mut heard_of = self.heard_of.borrow_mut();
        if !self.running.borrow().is_empty() && heard_of.len() < HEARD_OF_MAX {
            heard_of.insert(user.clone());
        }
    }

    fn was_heard_of(&self, user: &str) -> bool {
        let heard_of = self.heard_of.borrow();
        heard_of.len() == HEARD_OF_MAX || heard_of.contains(user)
    }

    /// Waits until another login may pass; `false` if that would take too long.
    async fn wait_for_turn(&self, per_second: u32) -> bool {
        let now = Instant::now();
        let turn = {
            let mut next = self.next.borrow_mut();
            let earliest = now.checked_sub(BURST).unwrap_or(now);
            let turn = next.map_or(earliest, |next| next.max(earliest));
            if turn.saturating_duration_since(now) > WAIT_MAX {
                return false;
            }
            *next = Some(turn + Duration::from_secs(1) / per_second.max(1));
            turn
        };
        tokio::time::sleep_until(turn.into()).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_strings_reach_the_accounts_service() {
        let check = |params, passwords, expected: Option<&str>| {
            assert_eq!(request(params, passwords).as_deref(), expected, "{params}");
        };
        check(
            r#"[{"resume":"t","x":1}]"#,
            false,
            Some(r#"[{"resume":"t"}]"#),
        );
        check(r#"[{"resume":{"$ne":1}}]"#, true, None);
        check("[]", true, None);
        let password =
            r#"[{"user":{"username":"bob"},"password":{"digest":"d","algorithm":"sha-256"}}]"#;
        check(password, false, None);
        check(password, true, Some(password));
        check(
            r#"[{"user":{"username":{"$gt":""}},"password":"x"}]"#,
            true,
            None,
        );
    }

    #[test]
    fn an_answer_without_a_user_is_no_login() {
        assert!(accepted(b"{}").is_none());
        assert!(accepted(br#"{"uid":"u1","token":"t","hashedToken":""}"#).is_none());
        let whole = br#"{"uid":"u1","token":"t","hashedToken":"h","tokenExpires":{"$date":1},"type":"resume"}"#;
        let accepted = accepted(whole).unwrap();
        assert_eq!(
            accepted.result,
            r#"{"id":"u1","token":"t","tokenExpires":{"$date":1},"type":"resume"}"#
        );
        assert_eq!(accepted.user.hashed_token, "h");
    }
}
