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

#[cfg(test)]
mod tests {
    use backplane::{Incoming, Service};

    use super::*;

    #[tokio::test]
    async fn a_relay_of_ours_reaches_our_neighbours_and_never_ourselves() {
        let bus = Bus::in_process("node".into());
        let announce = |name| {
            bus.announce(Service {
                name,
                actions: Vec::new(),
                events: vec!["stream"],
            })
        };
        let (mut ours, mut theirs) = (announce(SERVICE), announce("hub"));
        let store = Store::embedded(None).unwrap();
        let work = runtime::Handle::current();
        let upstream = Upstream::new(bus.clone(), store, work, Readiness::default());
        upstream.relay("stream", r#"[["notify-all","x",[]]]"#);
        // Behind it, and for everybody: what came before has been delivered.
        bus.broadcast("stream", "[1]");
        let heard = async |inbox: &mut backplane::Inbox| {
            let mut heard = Vec::new();
            while heard.last().is_none_or(|last| last != "[1]") {
                let mut batch = Vec::new();
                inbox.recv_batch(&mut batch).await;
                heard.extend(batch.into_iter().filter_map(|incoming| match incoming {
                    Incoming::Event(event) => Some(String::from_utf8(event.args.to_vec()).unwrap()),
                    _ => None,
                }));
            }
            heard.len()
        };
        assert_eq!(heard(&mut theirs).await, 2);
        assert_eq!(heard(&mut ours).await, 1);
    }
}
