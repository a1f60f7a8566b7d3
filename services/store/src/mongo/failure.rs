//! The driver's errors as ours. What a server says may quote documents, so that only its codes are passed on.

use mongodb::error::{Error as DriverError, ErrorKind as DriverErrorKind, WriteFailure};

use crate::{Error, ErrorKind};

/// The server's error code, if it was the server that refused.
pub(super) fn code(error: &DriverError) -> Option<i32> {
    match error.kind.as_ref() {
        DriverErrorKind::Command(command) => Some(command.code),
        DriverErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        DriverErrorKind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        _ => None,
    }
}

pub(super) fn error(error: &DriverError) -> Error {
    if let Some(code) = code(error) {
        return of_code(code);
    }
    let kind = match error.kind.as_ref() {
        DriverErrorKind::ServerSelection { .. }
        | DriverErrorKind::Io(_)
        | DriverErrorKind::ConnectionPoolCleared { .. }
        | DriverErrorKind::DnsResolve { .. }
        | DriverErrorKind::Shutdown => ErrorKind::Unavailable,
        DriverErrorKind::InvalidArgument { .. }
        | DriverErrorKind::InvalidTlsConfig { .. }
        | DriverErrorKind::BsonSerialization(_) => ErrorKind::Invalid,
        DriverErrorKind::BsonDeserialization(_)
        | DriverErrorKind::Bson(_)
        | DriverErrorKind::InvalidResponse { .. } => ErrorKind::Corrupt,
        _ => ErrorKind::Refused,
    };
    // `kind` alone: the driver's own Display adds the server's whole answer.
    Error::new(kind, format!("MongoDB ({})", error.kind))
}

/// The error that a server's code stands for.
pub(super) fn of_code(code: i32) -> Error {
    let kind = match code {
        11000 | 11001 => ErrorKind::Conflict,
        // MaxTimeMSExpired, ExceededTimeLimit, WriteConcernFailed (its timeout).
        50 | 262 | 64 => ErrorKind::Timeout,
        // No primary now: HostUnreachable, HostNotFound, NetworkTimeout, ShutdownInProgress, PrimarySteppedDown,
        // NotWritablePrimary, InterruptedAtShutdown, InterruptedDueToReplStateChange, NotPrimaryNoSecondaryOk,
        // NotPrimaryOrSecondary.
        6 | 7 | 89 | 91 | 189 | 10107 | 11600 | 11602 | 13435 | 13436 => ErrorKind::Unavailable,
        // TypeMismatch, PathNotViable, ConflictingUpdateOperators, ImmutableField, BSONObjectTooLarge.
        14 | 28 | 40 | 66 | 10334 => ErrorKind::Invalid,
        // CappedPositionLost, InvalidResumeToken, ChangeStreamFatalError, ChangeStreamHistoryLost.
        136 | 260 | 280 | 286 => ErrorKind::HistoryLost,
        // "The $changeStream stage is only supported on replica sets".
        40573 => ErrorKind::Unsupported,
        _ => ErrorKind::Refused,
    };
    Error::new(kind, format!("MongoDB, code {code}"))
}
