//! A small, well-behaved Moleculer v4 node: what the floor server and the stand-in backend have in common.
//!
//! It makes the twelve subscriptions, announces itself, beats its heart, answers DISCOVER and PING and keeps a list of
//! its peers' events; requests and events are left to its owner.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::nats::{Message, Nats};
use crate::sys::Epoll;

const HEARTBEAT: Duration = Duration::from_secs(5);

/// The subscription of events, by which the owner tells them apart.
pub(crate) const EVENT: u32 = 1;
/// The subscription of requests.
pub(crate) const REQUEST: u32 = 2;
const RESPONSE: u32 = 3;
const DISCOVER: u32 = 4;
const DISCOVER_ME: u32 = 5;
const INFO: u32 = 6;
const INFO_ME: u32 = 7;
const DISCONNECT: u32 = 8;
const HEARTBEATS: u32 = 9;
const PING: u32 = 10;
const PING_ME: u32 = 11;
const PONG_ME: u32 = 12;

/// Our own identity and what we know of the peers.
pub(crate) struct Node {
    pub(crate) id: String,
    services: Value,
    instance: String,
    beat_at: Instant,
    peers: Vec<Peer>,
}

/// Another node and the events it lists.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) id: String,
    pub(crate) events: Vec<String>,
}

/// The fields of every packet that this node looks at.
#[derive(Deserialize)]
struct Packet {
    sender: String,
    #[serde(default)]
    services: Vec<Service>,
    #[serde(default)]
    time: Value,
    #[serde(default)]
    id: Value,
}

/// INFO's entry of a service, as far as a peer sends by it: what it lists besides is skipped, because strangers may list a lot.
#[derive(Deserialize)]
struct Service {
    #[serde(default)]
    events: Events,
}

/// Listed by name, or one after the other.
#[derive(Deserialize)]
#[serde(untagged)]
enum Events {
    Named(HashMap<String, Event>),
    Listed(Vec<Event>),
}

impl Default for Events {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

#[derive(Deserialize)]
struct Event {
    name: Option<String>,
}

impl Node {
    /// Subscribes, asks who is there and announces `services` (INFO's list); `nats` still has to be flushed.
    pub(crate) fn join(nats: &mut Nats, name: &str, services: Value) -> Self {
        let now = unix_nanos();
        let node = Self {
            id: format!("{name}-{}-{now}", std::process::id()),
            services,
            instance: format!("{name}-instance-{now}"),
            beat_at: Instant::now() + HEARTBEAT,
            peers: Vec::new(),
        };
        let id = &node.id;
        for (subject, sid) in [
            (format!("MOL.EVENT.{id}"), EVENT),
            (format!("MOL.REQ.{id}"), REQUEST),
            (format!("MOL.RES.{id}"), RESPONSE),
            ("MOL.DISCOVER".to_owned(), DISCOVER),
            (format!("MOL.DISCOVER.{id}"), DISCOVER_ME),
            ("MOL.INFO".to_owned(), INFO),
            (format!("MOL.INFO.{id}"), INFO_ME),
            ("MOL.DISCONNECT".to_owned(), DISCONNECT),
            ("MOL.HEARTBEAT".to_owned(), HEARTBEATS),
            ("MOL.PING".to_owned(), PING),
            (format!("MOL.PING.{id}"), PING_ME),
            (format!("MOL.PONG.{id}"), PONG_ME),
        ] {
            nats.subscribe(&subject, sid);
        }
        node.send(nats, "MOL.DISCOVER", json!({}));
        node.send(nats, "MOL.INFO", node.info());
        node.send(nats, "MOL.HEARTBEAT", json!({ "cpu": 0 }));
        node
    }

    /// Peers that list `event`.
    pub(crate) fn listeners<'a>(&'a self, event: &'a str) -> impl Iterator<Item = &'a Peer> {
        self.peers
            .iter()
            .filter(move |peer| peer.events.iter().any(|name| name == event))
    }

    /// Beats the heart if it is time.
    pub(crate) fn handle_timeout(&mut self, nats: &mut Nats, now: Instant) {
        if now >= self.beat_at {
            self.beat_at = now + HEARTBEAT;
            self.send(nats, "MOL.HEARTBEAT", json!({ "cpu": 0 }));
        }
    }

    /// Handles a packet of the life cycle; bad ones are ignored, as peers do.
    pub(crate) fn handle_packet(&mut self, nats: &mut Nats, sid: u32, payload: &[u8]) {
        let Ok(packet) = serde_json::from_slice::<Packet>(payload) else {
            return;
        };
        let sender = packet.sender;
        if sender == self.id {
            return;
        }
        match sid {
            DISCOVER | DISCOVER_ME => self.send(nats, &format!("MOL.INFO.{sender}"), self.info()),
            INFO | INFO_ME => {
                let events = packet.services.into_iter().flat_map(event_names).collect();
                self.peers.retain(|peer| peer.id != sender);
                self.peers.push(Peer { id: sender, events });
            }
            HEARTBEATS if self.peers.iter().all(|peer| peer.id != sender) => {
                self.send(nats, &format!("MOL.DISCOVER.{sender}"), json!({}));
            }
            DISCONNECT => self.peers.retain(|peer| peer.id != sender),
            PING | PING_ME => {
                let arrived = unix_nanos() / 1_000_000;
                let pong = json!({ "time": packet.time, "id": packet.id, "arrived": arrived });
                self.send(nats, &format!("MOL.PONG.{sender}"), pong);
            }
            _ => {}
        }
    }

    /// Says goodbye, so that peers forget us at once.
    pub(crate) fn leave(&self, nats: &mut Nats, epoll: &Epoll) -> Result<()> {
        self.send(nats, "MOL.DISCONNECT", json!({}));
        nats.flush(epoll)
    }

    /// Queues `packet`, an object, with version and sender added.
    pub(crate) fn send(&self, nats: &mut Nats, subject: &str, mut packet: Value) {
        packet["ver"] = "4".into();
        packet["sender"] = self.id.as_str().into();
        nats.publish(subject, packet.to_string().as_bytes());
    }

    fn info(&self) -> Value {
        info(&self.services, &self.instance)
    }
}

/// What INFO says of a process (`instance` is new at each start) with these services.
pub(crate) fn info(services: &Value, instance: &str) -> Value {
    json!({
        "services": services, "ipList": ["127.0.0.1"], "hostname": "loadtest", "seq": 1,
        "client": { "type": "rust", "version": "0", "langVersion": "0" },
        "config": {}, "metadata": {}, "instanceID": instance,
    })
}

/// INFO's entry of a service with these actions (short names) and events.
pub(crate) fn service(name: &str, actions: &[&str], events: &[&str]) -> Value {
    let actions: serde_json::Map<_, _> = actions
        .iter()
        .map(|action| {
            let full = format!("{name}.{action}");
            (full.clone(), json!({ "rawName": action, "name": full }))
        })
        .collect();
    let events: serde_json::Map<_, _> = events
        .iter()
        .map(|event| ((*event).to_owned(), json!({ "name": event })))
        .collect();
    json!({
        "name": name, "fullName": name, "settings": {}, "metadata": {}, "actions": actions, "events": events,
    })
}

/// Nanoseconds since 1970: a clock that all processes of one machine share.
pub(crate) fn unix_nanos() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    since.as_nanos().try_into().unwrap_or(u64::MAX)
}

/// Whether `Node` handles the message itself; requests, responses and events are its owner's.
pub(crate) fn is_life_cycle(message: &Message<'_>) -> bool {
    message.sid > RESPONSE
}

fn event_names(service: Service) -> Vec<String> {
    let events: Vec<Event> = match service.events {
        Events::Named(events) => events.into_values().collect(),
        Events::Listed(events) => events,
    };
    events.into_iter().filter_map(|event| event.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_info_service_lists_the_names_that_a_peer_reads() {
        let entry = service("streamer", &[], &["watch.messages", "notify.desktop"]);
        let read = |entry: Value| event_names(serde_json::from_value(entry).unwrap());
        let mut names = read(entry);
        names.sort();
        assert_eq!(names, ["notify.desktop", "watch.messages"]);
        assert_eq!(
            read(json!({ "actions": 5, "events": [{ "name": "stream" }] })),
            ["stream"]
        );
        assert_eq!(
            service("license", &["hasModule"], &[])["actions"]["license.hasModule"]["rawName"],
            "hasModule"
        );
    }
}
