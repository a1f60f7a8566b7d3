//! From a call to its answer: which service or node is asked, and how the wait ends.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use protocol::moleculer::{Kind, Request as RequestPacket, Version, encode};
use serde_json::value::RawValue;
use tokio::{sync::oneshot, time::timeout};
use uuid::Uuid;

use crate::{
    bus::Bus,
    calls::{CallOptions, Context, Outcome, Outline},
    error::{Error, ErrorKind},
    incoming::{Incoming, Request},
    measured::{Measured, Side},
    reply::Reply,
    waiting::Waiting,
};

impl Bus {
    /// Calls one action with a raw JSON array; the result is raw JSON, `None` where there is no `data`.
    ///
    /// # Errors
    /// At once while disconnected; a lost node, a lost connection and a dropped request are errors too, never a hang.
    pub async fn call(
        &self,
        action: &str,
        params: &str,
        options: CallOptions,
    ) -> Result<Option<Bytes>, Error> {
        self.try_call(action, params, options)
            .await
            .map_err(|kind| Error::new(kind, action))
    }

    async fn try_call(&self, action: &str, params: &str, options: CallOptions) -> Outcome {
        let params = json_array(params).ok_or(ErrorKind::Malformed)?;
        let node = options.node.clone();
        let id = Uuid::new_v4().to_string();
        let mut outline = Outline::new(id, options, self.config().request_timeout, Instant::now())?;
        let (patience, caller, level) = (outline.timeout, outline.caller, outline.level);
        // Ends with this future, whichever way it ends.
        let _forgotten = Forgotten {
            bus: self,
            id: outline.id.clone(),
        };
        let mut measured = None;
        let answer = match self.route(action, node.as_deref(), &outline.id)? {
            Route::Local(service, action, waiting) => {
                let (answer, receiver) = oneshot::channel();
                let now = Instant::now();
                let measured = Measured::begin(
                    self.meters(),
                    Side::Here,
                    action,
                    caller,
                    level,
                    &mut outline.meta,
                );
                let request = Request {
                    action,
                    params: Bytes::copy_from_slice(params.get().as_bytes()),
                    sender: self.id(),
                    context: Context {
                        id: outline.id,
                        request_id: outline.request_id,
                        level: outline.level,
                        service,
                        deadline: now.checked_add(patience),
                        meta: outline.meta,
                    },
                    reply: Reply::local(answer, measured),
                };
                self.fill(&waiting, [Incoming::Request(Box::new(request))], now);
                receiver
            }
            Route::Node(node, receiver) => {
                let elsewhere = Measured::begin(
                    self.meters(),
                    Side::Elsewhere,
                    action,
                    caller,
                    level,
                    &mut outline.meta,
                );
                let payload = encode(&RequestPacket {
                    id: outline.id.as_str().into(),
                    action: action.into(),
                    params: Some(params),
                    meta: serde_json::from_slice(&outline.meta).ok(),
                    timeout: Some(outline.timeout.as_secs_f64() * 1e3),
                    level: Some(outline.level.into()),
                    tracing: None,
                    parent_id: outline.parent_id,
                    request_id: Some(outline.request_id),
                    caller: caller.map(str::to_owned),
                    stream: Some(false),
                    seq: None,
                    ver: Version,
                    sender: self.node_id().into(),
                });
                if let Err(error) = self.uplink().send(Kind::Request, Some(&node), payload) {
                    elsewhere.failed(&error);
                    return Err(error);
                }
                measured = Some(elsewhere);
                receiver
            }
        };
        let outcome = match timeout(patience, answer).await {
            Ok(outcome) => outcome.unwrap_or(Err(ErrorKind::Disconnected)),
            Err(_) => Err(ErrorKind::Timeout),
        };
        if let (Some(measured), Err(error)) = (measured, &outcome) {
            measured.failed(error);
        }
        outcome
    }

    /// Where a call goes; the answer of another node is expected from here on.
    fn route(&self, action: &str, node: Option<&str>, id: &str) -> Result<Route, ErrorKind> {
        let mut core = self.core();
        let is_local_meant = node.is_none_or(|node| node == self.node_id());
        let next = match node {
            Some(node) => core.registry.this_node(action, node),
            None if core.is_our_turn(action, self.config().prefer_local) => None,
            None => core.registry.next_node(action),
        };
        match (next, core.local_action(action)) {
            (None, Some((local, action))) if is_local_meant => Ok(Route::Local(
                local.service.name,
                action,
                local.waiting.clone(),
            )),
            _ if !core.is_connected => Err(ErrorKind::Disconnected),
            (Some(node), _) => {
                let answer = core.calls.begin(id.to_owned(), node.clone());
                Ok(Route::Node(node, answer))
            }
            (None, _) => Err(ErrorKind::NotFound),
        }
    }
}

enum Route {
    /// Service, action, inbox.
    Local(&'static str, &'static str, Arc<Waiting>),
    Node(Arc<str>, oneshot::Receiver<Outcome>),
}

/// Takes a call out of the table when its caller gives up.
struct Forgotten<'a> {
    bus: &'a Bus,
    id: String,
}

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        self.bus.core().calls.forget(&self.id);
    }
}

/// The text as raw JSON, if it is one array.
pub(crate) fn json_array(text: &str) -> Option<&RawValue> {
    serde_json::from_str::<&RawValue>(text)
        .ok()
        .filter(|raw| raw.get().starts_with('['))
}
