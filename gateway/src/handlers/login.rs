//! `login` (gateway.md 3.2): judged by the accounts service, at a bounded rate; one question at a time for each resume token.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use protocol::{
    close::CloseReason,
    ddp::{
        self, ejson,
        encode::{self, quoted},
    },
};

use super::core::{Core, now};
use crate::{
    address,
    link::{Caller, Effect, User},
    metrics,
    state::logins::{Accepted, UnderWay, Verdict, WAIT_MAX},
    turns::Turn,
};

/// A login waits so long for somebody who offers to judge it.
const SERVICE_WITHIN: Duration = Duration::from_secs(10);

const ACTION: &str = "accounts.login";

/// What the accounts service is asked.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    /// Has one answer, however often it is asked: many tabs of one browser come back with one token.
    Resume(String),
    /// Somebody's name and the params. Makes a new token each time: two who ask at once must not share it.
    Password { name: String, params: String },
}

impl Request {
    /// A number that tells apart who logs in, as far as that is known before it is judged.
    fn who(&self) -> u64 {
        let (Self::Resume(who) | Self::Password { name: who, .. }) = self;
        let mut hasher = DefaultHasher::new();
        who.hash(&mut hasher);
        hasher.finish()
    }
}

/// Judges a login and enters it.
pub(super) async fn login(
    core: &Rc<Core>,
    caller: &Caller,
    params: &str,
) -> (Result<Option<Bytes>, ddp::Error>, Effect) {
    let started = now();
    // Until the login is entered: what is heard of its user meanwhile may end it.
    let under_way = Entered::begin(core);
    let passwords = core.config.password_login;
    let verdict = match request(params, passwords, core.config.limits.token_bytes) {
        Some(request) => core.judge_login(caller, request).await,
        None => Verdict::Refused(unusable(passwords)),
    };
    let verdict = match verdict {
        Verdict::Accepted(accepted) if core.has_too_many(caller, &accepted.user.id) => {
            metrics::refused("user_full");
            Verdict::Unknown
        }
        verdict => verdict,
    };
    let (label, outcome) = match verdict {
        Verdict::Accepted(accepted) => {
            // Of a client that is gone the answer is dropped.
            core.logged_in(caller, &accepted.user);
            let id = &accepted.user.id;
            if core.state.logins.borrow().was_heard_of(under_way.login, id) {
                core.look_again(id);
            }
            let outcome = Ok(Some(accepted.result.clone()));
            let then = Effect::LoggedIn(accepted.user.clone());
            ("accepted", (outcome, then))
        }
        Verdict::Refused(error) => ("refused", (Err(error), Effect::Nothing)),
        Verdict::Unknown => {
            let then = Effect::Close(CloseReason::TryAgain);
            ("unknown", (Err(ddp::Error::internal()), then))
        }
    };
    metrics::login(label, now() - started);
    outcome
}

impl Core {
    async fn judge_login(self: &Rc<Self>, caller: &Caller, request: Request) -> Verdict {
        if self.state.lanes.borrow().is_full(caller.place()) {
            return Verdict::Unknown;
        }
        if !self.has_turn(caller, request.who()).await {
            metrics::refused("login_rate");
            return Verdict::Unknown;
        }
        let _ = tokio::time::timeout(SERVICE_WITHIN, self.until_offered(ACTION)).await;
        match request {
            Request::Resume(params) => {
                let core = self.clone();
                self.flights
                    .logins
                    .ask(params.clone(), || async move {
                        core.ask_accounts(&params).await
                    })
                    .await
            }
            Request::Password { params, .. } => self.ask_accounts(&params).await,
        }
    }

    /// Whether this user has as many connections as he may, this one not among them.
    fn has_too_many(&self, caller: &Caller, user: &str) -> bool {
        let people = self.state.people.borrow();
        self.config.knows_addresses()
            && people.of_user(user).len() >= self.config.connections_per_user
            && !people.is_logged_in(caller.place(), user)
    }

    /// Waits for the turn of a login by this user from the caller's address; `false`: too many wait.
    async fn has_turn(&self, caller: &Caller, user: u64) -> bool {
        let group = address::group(caller.connection.source);
        let turn = self.state.logins.borrow_mut().turns.ask(group, user, now());
        match turn {
            Turn::Now => true,
            Turn::Refused => false,
            Turn::Wait(told) => {
                self.wake.login.notify_one();
                matches!(tokio::time::timeout(WAIT_MAX, told).await, Ok(Ok(())))
            }
        }
    }

    /// Waits until somebody offers this action.
    pub(crate) async fn until_offered(&self, action: &str) {
        loop {
            let mut news = std::pin::pin!(self.wake.offers.notified());
            // Also what is said between the question and the wait is heard.
            news.as_mut().enable();
            if self.upstream.offers(action) {
                return;
            }
            news.await;
        }
    }

    async fn ask_accounts(&self, params: &str) -> Verdict {
        match self.upstream.call(ACTION, params).await {
            Ok(Some(answer)) if *answer == *b"false" => Verdict::Refused(ddp::Error::logged_out()),
            Ok(Some(answer)) => accepted(&answer).map_or(Verdict::Unknown, |accepted| {
                Verdict::Accepted(Arc::new(accepted))
            }),
            Ok(None) => Verdict::Unknown,
            // Only what the service threw on purpose is a refusal.
            Err(error) if error.is_refusal() => Verdict::Refused(error.to_client()),
            Err(error) => {
                self.upstream.complain("a login cannot be judged", &error);
                Verdict::Unknown
            }
        }
    }
}

/// Gives logins their turns for as long as the bus thread runs.
pub(crate) async fn let_in(core: Rc<Core>) {
    loop {
        let next = core.state.logins.borrow_mut().turns.serve(now());
        match next {
            Some(next) => tokio::time::sleep_until(next.into()).await,
            None => core.wake.login.notified().await,
        }
    }
}

/// A login; over when dropped.
struct Entered<'a> {
    core: &'a Core,
    login: UnderWay,
}

impl<'a> Entered<'a> {
    fn begin(core: &'a Core) -> Self {
        let login = core.state.logins.borrow_mut().begin();
        Self { core, login }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.core.state.logins.borrow_mut().end(self.login);
    }
}

/// The params for the accounts service, made of nothing but strings; `None` if there is nothing usable.
fn request(params: &str, passwords: bool, bytes_max: usize) -> Option<Request> {
    let first = ejson::elements(params).next()?;
    let text = |object, name| {
        ejson::field(object, name)
            .and_then(ejson::string)
            .filter(|text| text.len() <= bytes_max)
    };
    if let Some(token) = text(first, "resume") {
        return Some(Request::Resume(format!(
            "[{{\"resume\":{}}}]",
            quoted(&token)
        )));
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
        Some(plain) if plain.len() <= bytes_max => quoted(&plain),
        Some(_) => return None,
        None => format!(
            "{{\"digest\":{},\"algorithm\":{}}}",
            quoted(&text(password, "digest")?),
            quoted(&text(password, "algorithm")?)
        ),
    };
    let params = format!(
        "[{{\"user\":{{\"{name}\":{}}},\"password\":{password}}}]",
        quoted(&value)
    );
    Some(Request::Password {
        name: value.into_owned(),
        params,
    })
}

fn unusable(passwords: bool) -> ddp::Error {
    ddp::Error::forbidden(if passwords {
        "Log in with a resume token or with username and password"
    } else {
        "Log in with a resume token: password logins are off here"
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_strings_reach_the_accounts_service() {
        let check = |params, passwords, expected: Option<&str>| {
            let request = request(params, passwords, 1_024).map(|request| match request {
                Request::Resume(params) | Request::Password { params, .. } => params,
            });
            assert_eq!(request.as_deref(), expected, "{params}");
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
