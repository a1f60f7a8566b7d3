//! Why a call failed, and how errors of handlers cross the bus in both directions.

use std::fmt;

use bytes::Bytes;

/// A call that has no result, or a message that could not be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    pub kind: ErrorKind,
    /// What was called.
    pub action: String,
}

impl Error {
    pub fn new(kind: ErrorKind, action: &str) -> Self {
        Self {
            kind,
            action: action.to_owned(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match &self.kind {
            ErrorKind::Timeout => "no answer in time",
            ErrorKind::Skipped => "no time was left for it",
            ErrorKind::NotFound => "no node offers this action",
            ErrorKind::Unavailable => "the node was lost before it answered",
            ErrorKind::Refused(remote) => {
                return write!(f, "{}: refused by {}", self.action, remote.name);
            }
            ErrorKind::Disconnected => "not connected to the bus",
            ErrorKind::Malformed => "the answer makes no sense",
            ErrorKind::TooLarge => "larger than the bus carries",
            ErrorKind::TooDeep => "called through too many levels",
        };
        write!(f, "{}: {what}", self.action)
    }
}

impl std::error::Error for Error {}

/// What went wrong, and whose fault it was.
#[derive(Clone, Debug, PartialEq)]
pub enum ErrorKind {
    /// The deadline passed; the handler may still be at work.
    Timeout,
    /// The request in whose handling it was made has no time left; nothing was sent.
    Skipped,
    /// No available node (or not the named one) offers the action; nothing was sent.
    NotFound,
    /// The node went away while the call was under way.
    Unavailable,
    /// The handler answered with an error.
    Refused(Box<RemoteError>),
    /// There is no connection to the bus now, or it was lost while the call was under way.
    Disconnected,
    /// The answer is no usable response packet, or our params are no JSON array.
    Malformed,
    /// The packet would exceed what the bus carries (`max_payload`) or what may wait to be sent.
    TooLarge,
    /// The call would be nested deeper than 100 levels (backplane.md 5.3, `level`).
    TooDeep,
}

/// The error object of a response (backplane.md 5.6).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RemoteError {
    /// Class name, such as `Error`, `TypeError`, `ServiceNotFoundError`.
    pub name: String,
    pub message: String,
    /// Moleculer's code (`404`, `MAX_PAYLOAD_EXCEEDED`); never the code of a Meteor error.
    pub code: Option<String>,
    /// Moleculer's `type`, such as `SERVICE_NOT_FOUND`.
    pub kind: Option<String>,
    /// Whether it says that clients may see it; `None` where it says nothing.
    pub is_client_safe: Option<bool>,
    /// `Meteor.Error` for Meteor errors.
    pub error_type: Option<String>,
    pub reason: Option<String>,
    /// Raw JSON.
    pub details: Option<Bytes>,
}

impl RemoteError {
    /// The Meteor error as it was thrown: the code stands in brackets behind the reason, or else in the last `[..]` of the
    /// message (gateway.md 3.6). `None` unless `errorType` says that this is a Meteor error.
    pub fn meteor(&self) -> Option<MeteorError> {
        if self.error_type.as_deref() != Some("Meteor.Error") {
            return None;
        }
        let behind_reason = |text: &str| {
            let code = text.strip_prefix(self.reason.as_deref()?)?;
            let code = code.strip_prefix(" [")?.strip_suffix(']')?;
            is_balanced(code).then(|| code.to_owned())
        };
        // A peer takes the whole message for the code, so that every hop on the way has wrapped it once more.
        let mut code = behind_reason(&self.message);
        while let Some(inner) = code.as_deref().and_then(behind_reason) {
            code = Some(inner);
        }
        let code = code.unwrap_or_else(|| last_brackets(&self.message).to_owned());
        Some(MeteorError {
            error: Code::from_text(&code),
            reason: self.reason.clone(),
            details: self.details.clone(),
        })
    }
}

/// What stands in the last brackets of a text that ends with them, else all of it.
fn last_brackets(text: &str) -> &str {
    let inside = text.trim_end_matches(']');
    match inside.rfind('[') {
        Some(at) if inside.len() < text.len() => &inside[at + 1..],
        _ => text,
    }
}

/// Whether no bracket closes that has not opened.
fn is_balanced(text: &str) -> bool {
    let mut open = 0_usize;
    text.bytes().all(|byte| match byte {
        b'[' => {
            open += 1;
            true
        }
        b']' => open.checked_sub(1).map(|less| open = less).is_some(),
        _ => true,
    })
}

/// A `Meteor.Error`, the same in both directions.
#[derive(Clone, Debug, PartialEq)]
pub struct MeteorError {
    pub error: Code,
    pub reason: Option<String>,
    /// Raw JSON.
    pub details: Option<Bytes>,
}

impl MeteorError {
    /// What Meteor shows: `reason [code]`, or `[code]` without a reason.
    pub fn message(&self) -> String {
        match &self.reason {
            Some(reason) => format!("{reason} [{}]", self.error),
            None => format!("[{}]", self.error),
        }
    }
}

/// The `error` member of a Meteor error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    Number(i64),
    Text(String),
}

impl Code {
    /// All digits are a number, whose type is lost on the bus, unless no number is written like that.
    fn from_text(text: &str) -> Self {
        match text.parse::<i64>() {
            Ok(number) if number >= 0 && number.to_string() == text => Self::Number(number),
            _ => Self::Text(text.to_owned()),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// What a handler answers when it has no result.
#[derive(Clone, Debug, PartialEq)]
pub enum ServiceError {
    /// Crosses as the original's shape (`errorType` `Meteor.Error`).
    Meteor(MeteorError),
    /// Any other error: class name and message. Under a name of Moleculer's own it crosses as peers send it.
    Plain { name: String, message: String },
}

impl ServiceError {
    /// Any error but a Meteor error.
    pub(crate) fn plain(name: &str, message: &str) -> Self {
        Self::Plain {
            name: name.to_owned(),
            message: message.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_a_meteor_error_is_what_stands_in_the_last_brackets() {
        for (message, code) in [
            (
                "Invalid user [error-invalid-user]",
                Code::Text("error-invalid-user".to_owned()),
            ),
            ("You have been logged out [403]", Code::Number(403)),
            ("[totp-required]", Code::Text("totp-required".to_owned())),
            ("odd [one] [two]", Code::Text("two".to_owned())),
            ("no code", Code::Text("no code".to_owned())),
            (
                "big [99999999999999999999]",
                Code::Text("99999999999999999999".to_owned()),
            ),
            ("[-1]", Code::Text("-1".to_owned())),
            ("[007]", Code::Text("007".to_owned())),
            ("Bad [one] [error-x]", Code::Text("error-x".to_owned())),
            ("Bad [x[y]]", Code::Text("x[y]".to_owned())),
            // Through two peers and three.
            ("Bad [Bad [error-x]]", Code::Text("error-x".to_owned())),
            ("Bad [Bad [Bad [403]]]", Code::Number(403)),
            ("[[error-x]]", Code::Text("error-x".to_owned())),
        ] {
            let reason = message.strip_prefix("Bad").map(|_| "Bad".to_owned());
            let remote = RemoteError {
                message: message.to_owned(),
                reason,
                error_type: Some("Meteor.Error".to_owned()),
                ..RemoteError::default()
            };
            assert_eq!(remote.meteor().unwrap().error, code, "{message}");
        }
        assert_eq!(RemoteError::default().meteor(), None);
    }

    #[test]
    fn a_meteor_error_keeps_its_message() {
        let error = |reason: Option<&str>| MeteorError {
            error: Code::Number(403),
            reason: reason.map(str::to_owned),
            details: None,
        };
        assert_eq!(
            error(Some("You have been logged out")).message(),
            "You have been logged out [403]"
        );
        assert_eq!(error(None).message(), "[403]");
    }
}
