//! What callers ask for, read into strict types.

use std::{sync::Arc, time::Instant};

use backplane::ServiceError;
use serde_json::Value;
use store::{Claim, Status};
use tokio::sync::{mpsc, oneshot};

use super::{engine::Input, merge::WORDS};
use crate::{
    errors::{meteor, plain},
    params::Params,
    serve::{Call, Outcome},
};

/// One thing to do for one user.
pub(super) struct Command {
    pub(super) action: Action,
    /// When it was asked for.
    pub(super) asked: Instant,
    /// When the caller gives up.
    pub(super) deadline: Option<Instant>,
    pub(super) reply: Option<oneshot::Sender<Outcome>>,
    /// Dropped with the command: tells whoever waits for several that one of them is over.
    pub(super) _part: Option<mpsc::Sender<()>>,
}

/// What is to be done for a user.
#[derive(Debug)]
pub(super) enum Action {
    /// A socket has logged in.
    Put { session: String, node: String },
    /// A socket is gone or has logged out.
    Remove { session: String, node: String },
    /// A heartbeat of a socket, from the node that holds it.
    Touch { session: String, sender: Arc<str> },
    /// A socket's owner is away, or back.
    SetStatus {
        session: String,
        status: &'static str,
    },
    /// Entries that nobody owns any more, each as it was last touched; one touched since then stays.
    Sweep { entries: Vec<(String, i64)> },
    /// A write of the status was not acknowledged: it may have happened, and then nobody was told. This is what others know.
    Untold(Box<Status>),
    /// A look at the status, or a claim on it.
    Status {
        input: Input,
        /// Somebody chose to be invisible, which the workspace may forbid.
        hides: bool,
    },
}

/// What a call is about.
pub(super) enum Asked {
    /// Without a user or a session there is nothing to keep, as in the original.
    Nothing,
    User(Arc<str>, Action),
    /// Entries of this node, or of every node that exists nowhere.
    RemoveLost(Option<String>),
    ToggleBroadcast(bool),
    ConnectionCount,
    PeakConnections {
        reset: bool,
    },
    ResetPeak,
    /// A claim of a newer server, where claims are switched off, or one on nobody's status: `false`.
    NotDone,
}

impl Action {
    /// Whether it is somebody's wish what the status be, not news of a connection.
    pub(super) fn chooses(&self) -> bool {
        use Input::{Choose, Clear, End, Set};
        match self {
            Self::Status { input, .. } => matches!(input, Choose { .. } | Set(_) | End(_) | Clear),
            _ => false,
        }
    }
}

impl Command {
    /// Nobody waits for it.
    pub(super) fn silent(action: Action) -> Self {
        Self {
            action,
            asked: Instant::now(),
            deadline: None,
            reply: None,
            _part: None,
        }
    }

    /// Whether the caller has given up.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

/// Whether it means something else before 8.6 and from there on.
pub(super) fn depends_on_rules(action: &str) -> bool {
    matches!(
        action.strip_prefix("presence."),
        Some("setStatus" | "setActiveState" | "endActiveState" | "clearActiveState")
    )
}

/// Reads a call; `engine`: claims as from 8.6 on. `now` in ms since 1970.
pub(super) fn read(call: &Call, engine: bool, now: i64) -> Result<Asked, ServiceError> {
    let params = &call.params;
    for id in (0..3).filter_map(|index| params.text(index)) {
        if id.len() > TEXT_BYTES_MAX {
            return Err(plain("a parameter is too long"));
        }
    }
    let (first, second) = (params.text(0), params.text(1));
    let name = call.action.strip_prefix("presence.");
    let (user, action) = match (name.unwrap_or_default(), first, second) {
        ("removeLostConnections", node, _) => {
            return Ok(Asked::RemoveLost(node.map(str::to_owned)));
        }
        ("toggleBroadcast", ..) => return Ok(Asked::ToggleBroadcast(is_true(params, 0))),
        ("getConnectionCount", ..) => return Ok(Asked::ConnectionCount),
        ("getPeakConnections", ..) => {
            let reset = is_true(params, 0);
            return Ok(Asked::PeakConnections { reset });
        }
        ("resetPeakConnections", ..) => return Ok(Asked::ResetPeak),
        ("newConnection", Some(user), Some(session)) => {
            let node = params.text(2).unwrap_or(&call.sender).to_owned();
            let session = session.to_owned();
            (user, Action::Put { session, node })
        }
        ("removeConnection", Some(user), Some(session)) => {
            let (session, node) = (session.to_owned(), call.sender.to_string());
            (user, Action::Remove { session, node })
        }
        ("updateConnection", Some(user), Some(session)) => {
            let (session, sender) = (session.to_owned(), call.sender.clone());
            (user, Action::Touch { session, sender })
        }
        ("setConnectionStatus", Some(user), Some(status)) => {
            let status = known(status)?;
            let session = params.text(2).unwrap_or_default().to_owned();
            (user, Action::SetStatus { session, status })
        }
        ("setStatus", Some(user), status) => (user, set_status(params, status, engine, now)?),
        ("setActiveState" | "endActiveState" | "clearActiveState", _, _) if !engine => {
            return Ok(Asked::NotDone);
        }
        ("setActiveState", Some(user), _) => {
            let input = Input::Set(claim(params.get(1), now)?);
            let hides = false;
            (user, Action::Status { input, hides })
        }
        ("endActiveState", Some(user), id) => {
            let input = Input::End(id.map(str::to_owned));
            (user, status(input))
        }
        ("clearActiveState", Some(user), _) => (user, status(Input::Clear)),
        (
            "setStatus"
            | "setActiveState"
            | "endActiveState"
            | "clearActiveState"
            | "setConnectionStatus",
            ..,
        ) => return Ok(Asked::NotDone),
        ("updateUserPresence", Some(user), _) => (user, status(Input::Recompute)),
        _ => return Ok(Asked::Nothing),
    };
    Ok(Asked::User(user.into(), action))
}

pub(super) fn status(input: Input) -> Action {
    let hides = false;
    Action::Status { input, hides }
}

fn set_status(
    params: &Params,
    word: Option<&str>,
    engine: bool,
    now: i64,
) -> Result<Action, ServiceError> {
    let word = word.map(known).transpose()?;
    let text = params.get(2).and_then(Value::as_str).map(shortened);
    let hides = word == Some("offline");
    let input = if !engine {
        let default = word;
        Input::Choose { default, text }
    } else {
        let word = word.ok_or_else(invalid_status)?;
        let expires = expiry(params.get(3), now)?;
        if word == "online" && text.as_deref().unwrap_or_default().is_empty() {
            Input::Clear
        } else {
            Input::Set(Claim {
                default: Some(word.to_owned()),
                text,
                source: Some("manual".to_owned()),
                expires,
                id: None,
            })
        }
    };
    Ok(Action::Status { input, hides })
}

/// The second parameter of `setActiveState`.
fn claim(given: Option<&Value>, now: i64) -> Result<Claim, ServiceError> {
    let member = |name: &str| given.and_then(|given| given.get(name));
    let text = |name: &str| member(name).and_then(Value::as_str);
    let source = text("statusSource").filter(|source| SOURCES.contains(source));
    let id = text("statusId").filter(|id| !id.is_empty());
    if id.is_some_and(|id| id.len() > TEXT_BYTES_MAX) {
        return Err(plain("statusId is too long"));
    }
    Ok(Claim {
        default: Some(known(text("statusDefault").unwrap_or_default())?.to_owned()),
        text: text("statusText").map(shortened),
        source: Some(source.ok_or_else(invalid_status)?.to_owned()),
        expires: expiry(member("statusExpiresAt"), now)?,
        id: id.map(str::to_owned),
    })
}

/// EJSON's `{"$date": ms}`, behind `now`; `null` and nothing are no expiry.
fn expiry(given: Option<&Value>, now: i64) -> Result<Option<i64>, ServiceError> {
    let Some(given) = given.filter(|given| !given.is_null()) else {
        return Ok(None);
    };
    let date = given.get("$date").and_then(Value::as_i64);
    match date.filter(|date| *date > now) {
        Some(date) => Ok(Some(date)),
        None => Err(plain("statusExpiresAt must be a future date")),
    }
}

/// Only the four words are statuses: any other text of a client stays out of the database.
fn known(status: &str) -> Result<&'static str, ServiceError> {
    WORDS
        .into_iter()
        .find(|known| *known == status)
        .ok_or_else(invalid_status)
}

fn invalid_status() -> ServiceError {
    meteor("error-invalid-status", "Invalid status")
}

fn shortened(text: &str) -> String {
    text.trim().chars().take(TEXT_MAX).collect()
}

fn is_true(params: &Params, index: usize) -> bool {
    params.get(index).and_then(Value::as_bool).unwrap_or(false)
}

/// How a user chooses a status.
pub(super) const CHOOSES: &str = "presence.setStatus";
/// The name of the service.
pub(super) const SERVICE: &str = "presence";
/// Who offers this follows the rules of 8.6.
pub(super) const OFFERS_CLAIMS: &str = "presence.setActiveState";
const SOURCES: [&str; 3] = ["internal", "manual", "external"];
/// Characters of a status text.
const TEXT_MAX: usize = 120;
/// Bytes of a user id, a session id, a node id: the longest that a gateway lets through. A text is longer at most by what
/// is cut off.
const TEXT_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_000;

    fn ask(action: &'static str, params: Value, engine: bool) -> Result<Asked, String> {
        let call = Call {
            action,
            params: Params::parse(params.to_string().as_bytes()).map_err(|_| "params")?,
            sender: "caller".into(),
            context: backplane::Context {
                id: String::new(),
                request_id: String::new(),
                level: 1,
                service: "presence",
                deadline: None,
                meta: bytes::Bytes::new(),
            },
        };
        read(&call, engine, NOW).map_err(|error| match error {
            ServiceError::Plain { message, .. } => message,
            ServiceError::Meteor(meteor) => meteor.error.to_string(),
        })
    }

    fn input(action: &'static str, params: Value, engine: bool) -> Result<Input, String> {
        match ask(action, params, engine)? {
            Asked::User(_, Action::Status { input, .. }) => Ok(input),
            _ => Err("another kind".to_owned()),
        }
    }

    fn manual(default: &str, text: Option<&str>, expires: Option<i64>) -> Input {
        Input::Set(Claim {
            default: Some(default.into()),
            text: text.map(Into::into),
            source: Some("manual".into()),
            expires,
            id: None,
        })
    }

    #[test]
    fn a_choice_is_a_claim_from_8_6_on_and_plain_fields_before() {
        let set = |params, engine| input("presence.setStatus", params, engine);
        let choose = |default, text: Option<&str>| Input::Choose {
            default,
            text: text.map(Into::into),
        };
        for (params, old, new) in [
            (
                json!(["u", "online"]),
                choose(Some("online"), None),
                Input::Clear,
            ),
            (
                json!(["u", "online", " "]),
                choose(Some("online"), Some("")),
                Input::Clear,
            ),
            (
                json!(["u", "online", "x"]),
                choose(Some("online"), Some("x")),
                manual("online", Some("x"), None),
            ),
            (
                json!(["u", "busy", null]),
                choose(Some("busy"), None),
                manual("busy", None, None),
            ),
            (
                json!(["u", "away", "x", { "$date": 2_000 }]),
                choose(Some("away"), Some("x")),
                manual("away", Some("x"), Some(2_000)),
            ),
        ] {
            assert_eq!(set(params.clone(), false), Ok(old), "{params}");
            assert_eq!(set(params.clone(), true), Ok(new), "{params}");
        }
        assert_eq!(
            set(json!(["u", null, "x"]), false),
            Ok(choose(None, Some("x")))
        );
        for engine in [false, true] {
            assert_eq!(
                set(json!(["u", "gone"]), engine),
                Err("error-invalid-status".into())
            );
        }
        let long = json!(["u", "busy", format!(" {}", "ä".repeat(200))]);
        assert_eq!(
            set(long, true),
            Ok(manual("busy", Some(&"ä".repeat(120)), None))
        );
    }

    #[test]
    fn e11_an_expiry_is_a_date_in_the_future() {
        let past = Err("statusExpiresAt must be a future date".to_owned());
        for expiry in [
            json!({ "$date": NOW }),
            json!("2040-01-01"),
            json!(5_000),
            json!({}),
        ] {
            let state = json!({ "statusDefault": "busy", "statusSource": "internal", "statusExpiresAt": expiry });
            assert_eq!(
                input("presence.setActiveState", json!(["u", state]), true),
                past
            );
        }
        let state = json!({ "statusDefault": "busy", "statusSource": "internal", "statusExpiresAt": null, "statusId": "c" });
        let Ok(Input::Set(claim)) = input("presence.setActiveState", json!(["u", state]), true)
        else {
            panic!("a claim");
        };
        assert_eq!((claim.expires, claim.id.as_deref()), (None, Some("c")));
    }

    #[test]
    fn unknown_words_and_sources_are_refused() {
        for state in [
            json!({ "statusDefault": "gone", "statusSource": "internal" }),
            json!({ "statusDefault": "busy", "statusSource": "boss" }),
            json!({ "statusDefault": "busy" }),
            json!(null),
        ] {
            let refused = input("presence.setActiveState", json!(["u", state]), true);
            assert_eq!(refused, Err("error-invalid-status".into()));
        }
        let wrong = ask(
            "presence.setConnectionStatus",
            json!(["u", "gone", "s"]),
            false,
        );
        assert_eq!(wrong.err().as_deref(), Some("error-invalid-status"));
        let long = ask(
            "presence.newConnection",
            json!(["u".repeat(1_025), "s", "n"]),
            false,
        );
        assert_eq!(long.err().as_deref(), Some("a parameter is too long"));
    }

    #[test]
    fn nobody_and_nothing_are_no_errors() {
        for (action, params) in [
            ("presence.newConnection", json!([])),
            ("presence.newConnection", json!(["u", null, "n"])),
            ("presence.removeConnection", json!([{ "$ne": "" }, "s"])),
            ("presence.unheard", json!(["u"])),
        ] {
            assert!(
                matches!(ask(action, params, true), Ok(Asked::Nothing)),
                "{action}"
            );
        }
        for (action, params, engine) in [
            ("presence.setStatus", json!([null, "busy"]), false),
            ("presence.setStatus", json!([]), true),
            ("presence.setActiveState", json!([null, {}]), true),
            ("presence.endActiveState", json!([]), true),
            ("presence.endActiveState", json!(["u"]), false),
            ("presence.clearActiveState", json!([""]), true),
            (
                "presence.setConnectionStatus",
                json!([null, "away", "s"]),
                true,
            ),
        ] {
            let asked = ask(action, params, engine);
            assert!(matches!(asked, Ok(Asked::NotDone)), "{action}");
        }
    }
}
