//! The way back of a request's answer: to a caller on this node, or to the answers that are owed to others.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    answer::remote_error,
    calls::Outcome,
    error::{ErrorKind, ServiceError},
    owed::Owed,
};

/// Answers exactly once: dropped unanswered it answers an error.
pub(crate) struct Reply(Option<To>);

enum To {
    Local(oneshot::Sender<Outcome>),
    Remote(Arc<Owed>, u64),
}

impl Reply {
    pub(crate) fn local(answer: oneshot::Sender<Outcome>) -> Self {
        Self(Some(To::Local(answer)))
    }

    pub(crate) fn remote(owed: Arc<Owed>, key: u64) -> Self {
        Self(Some(To::Remote(owed, key)))
    }

    pub(crate) fn send(&mut self, outcome: Result<Option<Bytes>, ServiceError>) {
        match self.0.take() {
            None => {}
            Some(To::Local(answer)) => {
                // Nobody waits any more if this fails.
                let _ = answer.send(
                    outcome.map_err(|error| ErrorKind::Refused(Box::new(remote_error(&error)))),
                );
            }
            Some(To::Remote(owed, key)) => owed.answer(key, &outcome),
        }
    }

    /// Whether the caller still waits.
    pub(crate) fn is_awaited(&self) -> bool {
        match &self.0 {
            None => false,
            Some(To::Local(answer)) => !answer.is_closed(),
            Some(To::Remote(owed, key)) => owed.is_open(*key),
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if self.0.is_some() {
            self.send(Err(ServiceError::plain(
                "Error",
                "the request was dropped without an answer",
            )));
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}
