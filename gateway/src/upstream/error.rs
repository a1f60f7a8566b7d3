//! Why a call has no result, and what its client is told.

use backplane::{Code, ErrorKind};
use protocol::ddp;

/// Why a call has no result.
#[derive(Debug)]
pub(crate) enum CallError {
    /// So much is under way that this call was not begun.
    TooMuch,
    Failed(backplane::Error),
}

impl CallError {
    /// Whether the callee threw this on purpose.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Failed(error) if matches!(&error.kind, ErrorKind::Refused(remote) if remote.meteor().is_some()))
    }

    /// What a client is told: the true code of a Meteor error (gateway.md 3.6), 500 for nearly everything else.
    pub(crate) fn to_client(&self) -> ddp::Error {
        let error = match self {
            Self::TooMuch => {
                return ddp::Error::new(
                    "error-too-many-calls",
                    Some("Too many calls are under way".into()),
                );
            }
            Self::Failed(error) => error,
        };
        if matches!(error.kind, ErrorKind::TooLarge) {
            let reason = "The call is larger than the workspace's bus takes";
            return ddp::Error::new("error-too-large", Some(reason.into()));
        }
        let ErrorKind::Refused(remote) = &error.kind else {
            return ddp::Error::internal();
        };
        let Some(thrown) = remote.meteor() else {
            return ddp::Error::internal();
        };
        let is_number = matches!(thrown.error, Code::Number(_));
        ddp::Error {
            is_client_safe: remote.is_client_safe != Some(false),
            ..ddp::Error::recovered(
                &thrown.error.to_string(),
                is_number,
                thrown.reason,
                thrown.details,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use backplane::RemoteError;

    use super::*;

    #[test]
    fn an_error_that_is_not_meant_for_clients_stays_one() {
        for (told, expected) in [(Some(false), false), (Some(true), true), (None, true)] {
            let remote = RemoteError {
                message: "No [403]".into(),
                error_type: Some("Meteor.Error".into()),
                is_client_safe: told,
                ..RemoteError::default()
            };
            let kind = ErrorKind::Refused(Box::new(remote));
            let error = CallError::Failed(backplane::Error::new(kind, "a")).to_client();
            assert_eq!(error.is_client_safe, expected, "{told:?}");
        }
    }
}
