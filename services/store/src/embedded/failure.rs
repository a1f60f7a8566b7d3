//! The errors of redb as ours.

use crate::{Error, ErrorKind};

/// What redb reports while the database is open: the disk, or a file that something else has changed.
pub(super) fn failed(error: impl Into<redb::Error>) -> Error {
    let error = error.into();
    let kind = match error {
        redb::Error::Corrupted(_) => ErrorKind::Corrupt,
        _ => ErrorKind::Io,
    };
    Error::because(kind, format!("the embedded database ({error})"), error)
}
