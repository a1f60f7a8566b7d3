//! From an event to the inboxes and nodes that listen.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use bytes::Bytes;
use protocol::moleculer::{Emission, Kind, Version, encode};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    answer::empty_object,
    bus::Bus,
    calling::json_array,
    error::ErrorKind,
    incoming::{Event, Incoming},
    waiting::Waiting,
};

impl Bus {
    /// Sends an event (raw JSON array) once to every node that lists it, and to our own inboxes.
    pub fn broadcast(&self, event: &str, args: &str) {
        self.broadcast_to(event, args, &[]);
    }

    /// As `broadcast`, to services of these names only (none named: to all).
    pub fn broadcast_to(&self, event: &str, args: &str, groups: &[&str]) {
        self.send_to_all(event, args, groups, |_| true);
    }

    /// As `broadcast`, but not to our own inbox of the service that relays: it knows what it says. Recognised by role and
    /// not by node, which other roles may share.
    pub fn relay(&self, event: &str, args: &str, from: &str) {
        self.send_to_all(event, args, &[], |service| service != from);
    }

    fn send_to_all(
        &self,
        event: &str,
        args: &str,
        groups: &[&str],
        is_meant: impl Fn(&str) -> bool,
    ) {
        let Some(data) = self.event_args(event, args) else {
            return;
        };
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
            self.send_locally(name, args, meant.map(|(_, waiting)| waiting));
        }
        let named = groups.join(",");
        let labels = [("event", event), ("groups", &*named)];
        self.meters()
            .add("moleculer_event_broadcast_total", &labels, 1.0);
        self.meters()
            .add("moleculer_event_broadcast_local_total", &labels, 1.0);
        let request_id = Uuid::new_v4().to_string();
        for node in nodes {
            self.send_event(&node, event, data, groups, true, &request_id);
        }
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
            self.send_locally(name, args, inboxes.iter().map(|(_, waiting)| waiting));
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
            self.send_event(&node, event, data, &groups, false, &request_id);
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
        inboxes: impl Iterator<Item = &'a Arc<Waiting>>,
    ) {
        let now = Instant::now();
        let event = Event {
            name,
            args: Bytes::copy_from_slice(args.as_bytes()),
            sender: self.id(),
            from_us: true,
            meta: Bytes::from_static(b"{}"),
            received: now,
        };
        for waiting in inboxes {
            self.fill(waiting, [Incoming::Event(event.clone())], now);
        }
    }

    fn send_event(
        &self,
        node: &str,
        event: &str,
        data: &RawValue,
        groups: &[&str],
        broadcast: bool,
        request_id: &str,
    ) {
        let payload = encode(&Emission {
            id: &Uuid::new_v4().to_string(),
            event,
            data,
            groups,
            broadcast,
            meta: empty_object(),
            level: 1,
            tracing: None,
            parent_id: None,
            request_id: Some(request_id),
            caller: None,
            need_ack: None,
            ver: Version,
            sender: self.node_id(),
        });
        if self.uplink().send(Kind::Event, Some(node), payload) == Err(ErrorKind::TooLarge) {
            tracing::error!(event, node, "the event is larger than the bus carries");
        }
    }
}
