//! The few ways in which a service answers "no".

use backplane::{Code, Complaints, MeteorError, ServiceError};

/// A Meteor error with a text code, which clients may see.
pub(crate) fn meteor(code: &str, reason: &str) -> ServiceError {
    ServiceError::Meteor(MeteorError {
        error: Code::Text(code.to_owned()),
        reason: Some(reason.to_owned()),
        details: None,
    })
}

/// A Meteor error 403.
pub(crate) fn forbidden(reason: &str) -> ServiceError {
    ServiceError::Meteor(MeteorError {
        error: Code::Number(403),
        reason: Some(reason.to_owned()),
        details: None,
    })
}

/// Any other error; clients see `Internal server error`.
pub(crate) fn plain(message: &str) -> ServiceError {
    ServiceError::Plain {
        name: "Error".to_owned(),
        message: message.to_owned(),
    }
}

/// A parameter is missing or of the wrong type.
pub(crate) fn invalid_param() -> ServiceError {
    plain("invalid-param")
}

/// What fails with every question while a server is away.
pub(crate) static COMPLAINTS: Complaints = Complaints::new();

/// The store did not answer. Unknown means no, but never "no such user": callers tell the two apart.
pub(crate) fn unavailable(error: store::Error) -> ServiceError {
    COMPLAINTS.warn("the store did not answer", &error);
    plain("the database does not answer")
}
