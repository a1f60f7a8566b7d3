//! From an event to the inboxes and nodes that listen.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use bytes::Bytes;
use bytestring::ByteString;
use protocol::moleculer::{Emission, Kind, Version, encode};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    answer::empty_object,
    bus::Bus,
    calling::json_array,
    error::ErrorKind,
    handled::Arrivals,
    incoming::{Event, Incoming},
    spans::Span,
    waiting::Waiting,
};

impl Bus {
    /// Sends an event (raw JSON array) once to every node that lists it, and to our own inboxes.
    pub fn broadcast(&self, event: &str, args: &str) {
        self.broadcast_to(event, args, &[]);
    }

    /// As `broadcast`, to services of these names only (none named: to all).
    pub fn broadcast_to(&self, event: &str, args: &str, groups: &[&str]) {
        // What could not be sent has been counted; the listeners are told of a lost connection by their own bus.
        let _ = self.send_to_all(event, args, groups, empty_object(), |_| true);
    }

    /// As `broadcast`, with what receivers find in [`Event::meta`] (a raw JSON object), for an emitter that sends again
    /// what could not be sent.
    ///
    /// # Errors
    /// `Disconnected` or `TooLarge`: at least one node has not been sent to.
    pub fn broadcast_with_meta(
        &self,
        event: &str,
        args: &str,
        meta: &RawValue,
    ) -> Result<(), ErrorKind> {
        self.send_to_all(event, args, &[], meta, |_| true)
    }

    /// As `broadcast`, but not to our own inbox of the service that relays: it knows what it says. Recognised by role and
    /// not by node, which other roles may share.
    pub fn relay(&self, event: &str, args: &str, from: &str) {
        let _ = self.send_to_all(event, args, &[], empty_object(), |service| service != from);
    }

    fn send_to_all(
        &self,
        event: &str,
        args: &str,
        groups: &[&str],
        meta: &RawValue,
        is_meant: impl Fn(&str) -> bool,
    ) -> Result<(), ErrorKind> {
        let Some(data) = self.event_args(event, args) else {
            return Ok(());
        };
        let carried = Span::current_carried_by(meta);
        let meta = carried.as_deref().unwrap_or(meta);
        let (listeners, nodes) = {
            let core = self.core();
            (
                core.listeners(),
                core.registry.nodes_listening(event, groups),
            )
        };
        if let Some((name, inboxes)) = listeners.get_key_value(event) {
            let meant = inboxes.iter().filter(|(service, _)| {
                is_meant(service) && (groups.is_empty() || groups.contains(service))
            });
            self.send_locally(name, args, meta, meant);
        }
        let named = groups.join(",");
        let labels = [("event", event), ("groups", &*named)];
        let names = [
            "moleculer_event_broadcast_total",
            "moleculer_event_broadcast_local_total",
        ];
        // As peers: the label is left out where nobody is named.
        self.meters()
            .add_each(&names, &labels[..1 + usize::from(!groups.is_empty())], 1.0);
        let request_id = Uuid::new_v4().to_string();
        let dispatch = Dispatch {
            event,
            data,
            groups,
            broadcast: true,
            meta,
            request_id: &request_id,
        };
        let mut outcome = Ok(());
        for node in nodes {
            // One that could not be sent to keeps none of the others waiting.
            let sent = self.send_event(&node, &dispatch);
            outcome = outcome.and(sent);
        }
        outcome
    }

    /// Sends an event to one node of every service that lists it, to this node if it can.
    pub fn emit(&self, event: &str, args: &str) {
        let Some(data) = self.event_args(event, args) else {
            return;
        };
        self.meters()
            .add("moleculer_event_emit_total", &[("event", event)], 1.0);
        let (listeners, groups) = {
            let core = self.core();
            (core.listeners(), core.registry.groups_listening(event))
        };
        let local = listeners.get_key_value(event);
        let is_ours = |group: &str| {
            local.is_some_and(|(_, inboxes)| inboxes.iter().any(|(service, _)| *service == group))
        };
        if let Some((name, inboxes)) = local {
            self.send_locally(name, args, empty_object(), inboxes.iter());
        }
        let mut by_node: BTreeMap<Arc<str>, Vec<Arc<str>>> = BTreeMap::new();
        // Any node of a group will do.
        let turn = Uuid::new_v4().as_u128() as usize;
        for (group, nodes) in groups {
            if let Some(node) = nodes
                .get(turn % nodes.len().max(1))
                .filter(|_| !is_ours(&group))
            {
                by_node.entry(node.clone()).or_default().push(group);
            }
        }
        let request_id = Uuid::new_v4().to_string();
        for (node, groups) in by_node {
            let groups: Vec<&str> = groups.iter().map(|group| &**group).collect();
            let dispatch = Dispatch {
                event,
                data,
                groups: &groups,
                broadcast: false,
                meta: empty_object(),
                request_id: &request_id,
            };
            let _ = self.send_event(&node, &dispatch);
        }
    }

    /// Checked args, which are spliced into packets; an event with other args is not sent.
    fn event_args<'a>(&self, event: &str, args: &'a str) -> Option<&'a RawValue> {
        let data = json_array(args);
        if data.is_none() {
            tracing::error!(event, "the args of an event are no JSON array");
        }
        data
    }

    fn send_locally<'a>(
        &self,
        name: &'static str,
        args: &str,
        meta: &RawValue,
        inboxes: impl Iterator<Item = &'a (&'static str, Arc<Waiting>)>,
    ) {
        let now = Instant::now();
        let args = ByteString::from(args);
        let meta = Bytes::copy_from_slice(meta.get().as_bytes());
        for (service, waiting) in inboxes {
            let mut arrivals = Arrivals::new(self.meters(), self.uplink(), now);
            let event = Event {
                name,
                args: args.clone(),
                sender: self.id(),
                from_us: true,
                meta: meta.clone(),
                received: now,
                handled: arrivals.add(name, service, None, &meta),
            };
            arrivals.begin();
            self.fill(waiting, [Incoming::Event(event)], now);
        }
    }

    fn send_event(&self, node: &str, dispatch: &Dispatch<'_>) -> Result<(), ErrorKind> {
        let payload = encode(&Emission {
            id: &Uuid::new_v4().to_string(),
            event: dispatch.event,
            data: dispatch.data,
            groups: dispatch.groups,
            broadcast: dispatch.broadcast,
            meta: dispatch.meta,
            level: 1,
            tracing: None,
            parent_id: None,
            request_id: Some(dispatch.request_id),
            caller: None,
            need_ack: None,
            ver: Version,
            sender: self.node_id(),
        });
        let outcome = self.uplink().send(Kind::Event, Some(node), payload);
        if outcome == Err(ErrorKind::TooLarge) {
            let event = dispatch.event;
            tracing::error!(event, node, "the event is larger than the bus carries");
        }
        outcome
    }
}

/// One event on its way to several nodes.
struct Dispatch<'a> {
    event: &'a str,
    data: &'a RawValue,
    groups: &'a [&'a str],
    broadcast: bool,
    meta: &'a RawValue,
    request_id: &'a str,
}
