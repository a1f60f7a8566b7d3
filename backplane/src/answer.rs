//! A request's answer as a RES packet, and how errors look in it.

use bytes::Bytes;
use protocol::moleculer::{ErrorObject, Kind, RemoteCode, Response, Version, encode};
use serde_json::value::RawValue;

use crate::{
    error::{RemoteError, ServiceError},
    fault::Fault,
    uplink::Uplink,
};

/// Where an answer goes.
pub(crate) struct Address {
    pub(crate) node: String,
    /// Of the request.
    pub(crate) id: String,
    /// Of the request, and given back.
    pub(crate) meta: Bytes,
}

impl Address {
    /// Bytes of what is remembered.
    pub(crate) fn len(&self) -> usize {
        self.node.len() + self.id.len() + self.meta.len()
    }
}

/// Answers what a handler said; a result that the bus cannot carry becomes an error (backplane.md 5.11).
pub(crate) fn respond(
    uplink: &Uplink,
    to: &Address,
    outcome: &Result<Option<Bytes>, ServiceError>,
    action: &str,
) {
    let refused = |error: &ServiceError| {
        let data = fault(error).map(|fault| fault.data(action, named(fault, uplink, to)));
        let object = ErrorObject {
            data: data.as_deref(),
            ..error_object(error, uplink.node_id())
        };
        send(uplink, to, Err(object));
    };
    match outcome {
        Ok(None) => send(uplink, to, Ok(None)),
        Ok(Some(data)) => match serde_json::from_slice::<&RawValue>(data) {
            Ok(data) => send(uplink, to, Ok(Some(data))),
            Err(_) => {
                refused(&ServiceError::plain("Error", "the result is no JSON"));
            }
        },
        Err(error) => refused(error),
    }
}

/// Answers with an error of Moleculer's own.
pub(crate) fn refuse(uplink: &Uplink, to: &Address, fault: Fault, action: &str) {
    let node = named(fault, uplink, to);
    let data = fault.data(action, node);
    let error = ErrorObject {
        name: Some(fault.name().into()),
        message: Some(fault.message(action, node).into()),
        node_id: Some((&**uplink.node_id()).into()),
        code: Some(RemoteCode::Number(fault.code())),
        kind: Some(fault.kind().into()),
        retryable: Some(fault.is_retryable()),
        data: Some(&data),
        ..ErrorObject::default()
    };
    send(uplink, to, Err(error));
}

/// The node that an error names, as the original: of a request that took too long it is the caller.
fn named<'a>(fault: Fault, uplink: &'a Uplink, to: &'a Address) -> &'a str {
    match fault {
        Fault::TimedOut => &to.node,
        _ => uplink.node_id(),
    }
}

fn send(uplink: &Uplink, to: &Address, outcome: Result<Option<&RawValue>, ErrorObject<'_>>) {
    let meta = serde_json::from_slice(&to.meta).unwrap_or_else(|_| empty_object());
    let packet = |meta, outcome| {
        let (data, error) = match outcome {
            Ok(data) => (data, None),
            Err(error) => (Some(RawValue::NULL), Some(error)),
        };
        encode(&Response {
            id: (&*to.id).into(),
            meta: Some(meta),
            success: error.is_none(),
            data,
            error,
            stream: None,
            ver: Version,
            sender: (&**uplink.node_id()).into(),
        })
    };
    let mut payload = packet(meta, outcome);
    if payload.len() > uplink.payload_max() {
        let error = ErrorObject {
            name: Some("NatsError".into()),
            message: Some(TOO_LARGE.into()),
            node_id: Some((&**uplink.node_id()).into()),
            code: Some(RemoteCode::Text(TOO_LARGE.to_owned())),
            ..ErrorObject::default()
        };
        payload = packet(empty_object(), Err(error));
    }
    // Disconnected: the caller has given up.
    let _ = uplink.send(Kind::Response, Some(&to.node), payload);
}

/// `{}`
pub(crate) fn empty_object() -> &'static RawValue {
    serde_json::from_str("{}").expect("this is JSON")
}

/// The original's shape for a Meteor error; any other crosses as name and message.
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
            code: fault(error).map(|fault| RemoteCode::Number(fault.code())),
            kind: fault(error).map(|fault| fault.kind().into()),
            retryable: fault(error).map(Fault::is_retryable),
            ..ErrorObject::default()
        },
    }
}

/// Whether a handler answers with one of Moleculer's own errors.
fn fault(error: &ServiceError) -> Option<Fault> {
    match error {
        ServiceError::Plain { name, .. } => Fault::named(name),
        ServiceError::Meteor(_) => None,
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
        is_client_safe: error.is_client_safe,
        error_type: text(&error.error_type),
        reason: text(&error.reason),
        details: error
            .details
            .map(|details| Bytes::copy_from_slice(details.get().as_bytes())),
    }
}

/// What a caller on this node sees of a handler's error.
pub(crate) fn remote_error(error: &ServiceError) -> RemoteError {
    received(&error_object(error, ""))
}

/// Message and code of the error that takes the place of an oversized answer.
const TOO_LARGE: &str = "MAX_PAYLOAD_EXCEEDED";
