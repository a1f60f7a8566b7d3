//! The way back of a request's answer: to a caller on this node, or to the answers that are owed to others.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    answer::remote_error,
    calls::Outcome,
    error::{ErrorKind, ServiceError},
    measured::Measured,
    owed::Owed,
};

/// Answers exactly once: dropped unanswered it answers an error.
pub(crate) struct Reply(Option<(To, Measured)>);

enum To {
    Local(oneshot::Sender<Outcome>),
    Remote(Arc<Owed>, u64),
}

impl Reply {
    pub(crate) fn local(answer: oneshot::Sender<Outcome>, measured: Measured) -> Self {
        Self(Some((To::Local(answer), measured)))
    }

    pub(crate) fn remote(owed: Arc<Owed>, key: u64, measured: Measured) -> Self {
        Self(Some((To::Remote(owed, key), measured)))
    }

    pub(crate) fn send(&mut self, outcome: Result<Option<Bytes>, ServiceError>) {
        fn refused(error: &ServiceError) -> ErrorKind {
            ErrorKind::Refused(Box::new(remote_error(error)))
        }
        let Some((to, measured)) = self.0.take() else {
            return;
        };
        if let Err(error) = &outcome {
            measured.failed(&refused(error));
        }
        match to {
            // Nobody waits any more if this fails.
            To::Local(answer) => drop(answer.send(outcome.map_err(|error| refused(&error)))),
            To::Remote(owed, key) => owed.answer(key, &outcome),
        }
    }

    /// Whether the caller still waits.
    pub(crate) fn is_awaited(&self) -> bool {
        match &self.0 {
            None => false,
            Some((To::Local(answer), _)) => !answer.is_closed(),
            Some((To::Remote(owed, key), _)) => owed.is_open(*key),
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
