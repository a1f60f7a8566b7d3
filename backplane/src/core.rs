//! What all handles of one bus share, under one lock that is never held across an await.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use crate::{
    calls::Calls,
    config::Config,
    incoming::{Gap, GapCause, GapScope, Incoming},
    registry::{Change, NodeInfo, Registry},
    waiting::Waiting,
};

/// The state of one node: who else is there, what it offers itself, who waits for what.
pub(crate) struct Core {
    pub(crate) registry: Registry,
    pub(crate) calls: Calls,
    locals: Vec<Local>,
    /// Local inboxes by event; swapped as a whole so that a batch of events holds no lock.
    listeners: Arc<Listeners>,
    pub(crate) is_connected: bool,
    pub(crate) was_connected: bool,
    /// The dependencies have been met once: our services are no secret any more.
    pub(crate) is_announced: bool,
    /// We have said good-bye: nothing is announced any more.
    pub(crate) has_left: bool,
    /// Grows with every announcement.
    pub(crate) seq: u64,
    /// Counts calls that this node and others could answer.
    turn: usize,
    /// Peers that have not answered our ping since the reconnect.
    unsettled: HashSet<Arc<str>>,
    is_settled: bool,
}

/// A service as it is announced; lists of full names.
#[derive(Clone, Debug)]
pub struct Service {
    pub name: &'static str,
    /// `service.method`.
    pub actions: Vec<&'static str>,
    pub events: Vec<&'static str>,
}

/// A service of this node.
pub(crate) struct Local {
    pub(crate) service: Service,
    pub(crate) waiting: Arc<Waiting>,
}

/// Service name and inbox of those who listen, by event name.
pub(crate) type Listeners = HashMap<&'static str, Vec<(&'static str, Arc<Waiting>)>>;

impl Core {
    pub(crate) fn new(config: &Config, seq: u64) -> Self {
        Self {
            registry: Registry::new(config.heartbeat_timeout, config.strategy),
            calls: Calls::default(),
            locals: Vec::new(),
            listeners: Arc::default(),
            is_connected: false,
            was_connected: false,
            is_announced: false,
            has_left: false,
            seq,
            turn: 0,
            unsettled: HashSet::new(),
            is_settled: true,
        }
    }

    /// Adds a service of this node.
    pub(crate) fn add(&mut self, service: Service, waiting: Arc<Waiting>, now: Instant) {
        if self.is_connected {
            waiting.push([Incoming::Up], now);
        }
        self.locals.push(Local { service, waiting });
        self.index();
    }

    /// Removes the services that fulfil a condition; false if there were none.
    pub(crate) fn remove(&mut self, is_meant: impl Fn(&Local) -> bool) -> bool {
        let removed: Vec<_> = self
            .locals
            .extract_if(.., |local| is_meant(local))
            .collect();
        for local in &removed {
            local.waiting.close();
        }
        self.index();
        !removed.is_empty()
    }

    pub(crate) fn locals(&self) -> &[Local] {
        &self.locals
    }

    pub(crate) fn listeners(&self) -> Arc<Listeners> {
        self.listeners.clone()
    }

    /// The local service that offers an action, and the action's own name.
    pub(crate) fn local_action(&self, action: &str) -> Option<(&Local, &'static str)> {
        self.locals.iter().find_map(|local| {
            let name = local.service.actions.iter().find(|name| **name == action)?;
            Some((local, *name))
        })
    }

    /// Whether a local service answers a call: always if local ones are preferred, else in turn with the other nodes.
    pub(crate) fn is_our_turn(&mut self, action: &str, prefer_local: bool) -> bool {
        if self.local_action(action).is_none() {
            return false;
        }
        self.turn = self.turn.wrapping_add(1);
        prefer_local || self.turn.is_multiple_of(self.registry.offering(action) + 1)
    }

    pub(crate) fn has_service(&self, name: &str) -> bool {
        self.locals.iter().any(|local| local.service.name == name)
            || self.registry.has_service(name)
    }

    /// Says something to every inbox.
    pub(crate) fn tell(&self, what: impl Fn() -> Incoming, now: Instant) {
        for local in &self.locals {
            local.waiting.push([what()], now);
        }
    }

    /// Tells the inboxes how the network changed, and ends the calls to whoever is gone.
    pub(crate) fn apply(&mut self, changes: impl IntoIterator<Item = Change>, now: Instant) {
        for change in changes {
            match change {
                Change::Up(node) => self.tell(|| Incoming::NodeUp(node.clone()), now),
                Change::Offers(node) => self.tell(|| Incoming::NodeOffers(node.clone()), now),
                Change::Down { node, unexpected } => {
                    self.calls.fail_node(&node.id);
                    self.settle(&node.id, now);
                    self.tell(
                        || Incoming::NodeDown {
                            node: node.clone(),
                            unexpected,
                        },
                        now,
                    );
                }
                Change::Returned { node, since } => {
                    self.tell_gap(since, GapScope::Node(node), GapCause::PeerReturned, now);
                }
            }
        }
    }

    pub(crate) fn tell_gap(&self, since: Instant, scope: GapScope, cause: GapCause, now: Instant) {
        tracing::warn!(cause = cause.label(), ?scope, "events may have been missed");
        self.tell(
            || {
                Incoming::Gap(Gap {
                    since,
                    scope: scope.clone(),
                    cause,
                })
            },
            now,
        );
    }

    /// Starts to wait for a pong of every available peer. Where none is known, time alone will settle the bus.
    pub(crate) fn unsettle(&mut self) {
        let peers = self
            .registry
            .nodes()
            .filter(|node| node.available)
            .map(|node| node.id.clone());
        self.unsettled = peers.collect();
        self.is_settled = false;
    }

    /// The peers whose pong is awaited.
    pub(crate) fn unsettled(&self) -> Vec<Arc<str>> {
        self.unsettled.iter().cloned().collect()
    }

    /// A peer has answered or is gone; the last one settles the bus.
    pub(crate) fn settle(&mut self, node: &str, now: Instant) {
        if self.unsettled.remove(node) && self.unsettled.is_empty() {
            self.settle_all(now);
        }
    }

    /// Time is up for those who have not answered.
    pub(crate) fn settle_all(&mut self, now: Instant) {
        self.unsettled.clear();
        if !std::mem::replace(&mut self.is_settled, true) {
            self.tell(|| Incoming::Settled, now);
        }
    }

    /// The known peers.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &NodeInfo> {
        self.registry.nodes()
    }

    fn index(&mut self) {
        let mut listeners = Listeners::new();
        for Local { service, waiting } in &self.locals {
            for event in &service.events {
                listeners
                    .entry(*event)
                    .or_default()
                    .push((service.name, waiting.clone()));
            }
        }
        self.listeners = Arc::new(listeners);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_service_is_preferred_or_takes_its_turn() {
        let now = Instant::now();
        let mut core = Core::new(&Config::default(), 1);
        assert!(!core.is_our_turn("s.x", true), "nobody offers it here");
        let service = Service {
            name: "s",
            actions: vec!["s.x"],
            events: vec![],
        };
        core.add(service, Arc::new(Waiting::new(1)), now);
        assert!(core.is_our_turn("s.x", false), "nobody offers it elsewhere");
        for node in ["a", "b"] {
            let packet = format!(
                r#"{{"services":[{{"name":"s","actions":[{{"name":"s.x"}}]}}],"ver":"4","sender":"{node}"}}"#
            );
            let info = protocol::moleculer::decode(packet.as_bytes()).unwrap();
            core.registry.handle_info(info, now);
        }
        assert!((0..6).all(|_| core.is_our_turn("s.x", true)));
        assert_eq!((0..6).filter(|_| core.is_our_turn("s.x", false)).count(), 2);
    }
}
