//! Why an operation failed, in a form that callers match and operators read.

use std::fmt;
use std::sync::Arc;

/// A failed operation: what kind of failure, one line about it, and its cause.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// What a caller can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The database cannot be reached now, or is full of our own waiting operations; try again later.
    Unavailable,
    /// No answer within the deadline; a write may or may not have happened.
    Timeout,
    /// A document with this `_id`, username, token, or room and user is already there; nothing was written.
    Conflict,
    /// What was read is not what this store writes.
    Corrupt,
    /// The disk refused.
    Io,
    /// The data folder or file belongs to something else; nothing was written.
    Foreign,
    /// The data folder was written by a newer version; nothing was written.
    NewerFormat,
    /// Another process has the data folder open.
    Locked,
    /// The configuration or an argument cannot be used.
    Invalid,
    /// The changes asked for are no longer kept: read everything again.
    HistoryLost,
    /// A change is larger than the database can tell.
    TooLarge,
    /// This store does not offer the operation.
    Unsupported,
    /// The database answered with an error that fits none of the above.
    Refused,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn because(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self {
            kind,
            message: message.into(),
            source: Some(Arc::new(source)),
        }
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ErrorKind::Unavailable => "database unavailable",
            ErrorKind::Timeout => "no answer within the deadline",
            ErrorKind::Conflict => "already there",
            ErrorKind::Corrupt => "unreadable data",
            ErrorKind::Io => "cannot read or write",
            ErrorKind::Foreign => "not a ddp-edge data folder",
            ErrorKind::NewerFormat => "written by a newer version",
            ErrorKind::Locked => "in use by another process",
            ErrorKind::Invalid => "unusable value",
            ErrorKind::HistoryLost => "changes no longer kept",
            ErrorKind::TooLarge => "too large to be told",
            ErrorKind::Unsupported => "not offered by this store",
            ErrorKind::Refused => "refused by the database",
        };
        write!(f, "{what}: {}", self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
