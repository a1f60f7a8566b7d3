//! The way back of a request's answer: to a caller on this node, or as a RES packet.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use protocol::moleculer::{ErrorObject, Kind, RemoteCode, Response, Version, encode};
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::{
    calls::Outcome,
    error::{ErrorKind, RemoteError, ServiceError},
    uplink::Uplink,
};

/// Answers exactly once: dropped unanswered it answers an error.
pub(crate) struct Reply(Option<To>);

enum To {
    Local(oneshot::Sender<Outcome>),
    Remote {
        uplink: Arc<Uplink>,
        node: String,
        id: String,
        meta: Bytes,
    },
}

impl Reply {
    pub(crate) fn local(answer: oneshot::Sender<Outcome>) -> Self {
        Self(Some(To::Local(answer)))
    }

    pub(crate) fn remote(uplink: Arc<Uplink>, node: String, id: String, meta: Bytes) -> Self {
        Self(Some(To::Remote {
            uplink,
            node,
            id,
            meta,
        }))
    }

    pub(crate) fn send(&mut self, outcome: Result<Option<Bytes>, ServiceError>) {
        match self.0.take() {
            None => {}
            Some(To::Local(answer)) => {
                // Nobody waits any more if this fails.
                let _ = answer.send(
                    outcome.map_err(|error| ErrorKind::Refused(Box::new(remote_error(error)))),
                );
            }
            Some(To::Remote {
                uplink,
                node,
                id,
                meta,
            }) => respond(&uplink, &node, &id, &meta, outcome),
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

/// Sends RES; a result that the bus cannot carry becomes an error (backplane.md 5.11).
pub(crate) fn respond(
    uplink: &Uplink,
    node: &str,
    id: &str,
    meta: &[u8],
    outcome: Result<Option<Bytes>, ServiceError>,
) {
    let data = match &outcome {
        Ok(Some(data)) => match serde_json::from_slice::<&RawValue>(data) {
            Ok(data) => Some(data),
            Err(_) => {
                return respond(
                    uplink,
                    node,
                    id,
                    meta,
                    Err(ServiceError::plain("Error", "the result is no JSON")),
                );
            }
        },
        Ok(None) => None,
        Err(_) => Some(RawValue::NULL),
    };
    let error = outcome
        .as_ref()
        .err()
        .map(|error| error_object(error, uplink.node_id()));
    let payload = encode(&Response {
        id: id.into(),
        meta: Some(serde_json::from_slice(meta).unwrap_or_else(|_| empty_object())),
        success: error.is_none(),
        data,
        error,
        stream: None,
        ver: Version,
        sender: (&**uplink.node_id()).into(),
    });
    if payload.len() <= uplink.payload_max() {
        // Disconnected: the caller has given up.
        let _ = uplink.send(Kind::Response, Some(node), payload);
    } else if !matches!(&outcome, Err(ServiceError::Plain { name, .. }) if name == TOO_LARGE.0) {
        respond(
            uplink,
            node,
            id,
            b"{}",
            Err(ServiceError::plain(TOO_LARGE.0, TOO_LARGE.1)),
        );
    }
}

/// `{}`
pub(crate) fn empty_object() -> &'static RawValue {
    serde_json::from_str("{}").expect("this is JSON")
}

/// The original's shape for a Meteor error; Moleculer's own members for its own errors.
fn error_object<'a>(error: &'a ServiceError, node_id: &'a str) -> ErrorObject<'a> {
    let node_id = Some(node_id.into());
    match error {
        ServiceError::Meteor(meteor) => ErrorObject {
            name: Some("Error".into()),
            message: Some(meteor.message().into()),
            node_id,
            is_client_safe: Some(true),
            error_type: Some("Meteor.Error".into()),
            reason: meteor.reason.as_deref().map(Into::into),
            details: meteor
                .details
                .as_ref()
                .and_then(|details| serde_json::from_slice(details).ok()),
            ..ErrorObject::default()
        },
        ServiceError::Plain { name, message } => ErrorObject {
            name: Some(name.into()),
            message: Some(message.into()),
            node_id,
            code: match name.as_str() {
                "ServiceNotFoundError" => Some(RemoteCode::Number(404.0)),
                name if name == TOO_LARGE.0 => Some(RemoteCode::Text(TOO_LARGE.1.to_owned())),
                _ => None,
            },
            kind: (name == "ServiceNotFoundError").then_some("SERVICE_NOT_FOUND".into()),
            retryable: (name == "ServiceNotFoundError").then_some(true),
            ..ErrorObject::default()
        },
    }
}

/// What the caller sees of an error: the same whether it crossed a network or not.
pub(crate) fn received(error: &ErrorObject<'_>) -> RemoteError {
    let text = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().map(str::to_owned);
    RemoteError {
        name: text(&error.name).unwrap_or_else(|| "Error".to_owned()),
        message: text(&error.message).unwrap_or_default(),
        code: error.code.as_ref().map(ToString::to_string),
        kind: text(&error.kind),
        is_client_safe: error.is_client_safe.unwrap_or(false),
        error_type: text(&error.error_type),
        reason: text(&error.reason),
        details: error
            .details
            .map(|details| Bytes::copy_from_slice(details.get().as_bytes())),
    }
}

fn remote_error(error: ServiceError) -> RemoteError {
    received(&error_object(&error, ""))
}

/// Name, and message and code, of the error that takes the place of an oversized result.
const TOO_LARGE: (&str, &str) = ("NatsError", "MAX_PAYLOAD_EXCEEDED");
