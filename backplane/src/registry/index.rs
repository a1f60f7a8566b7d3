//! Who offers what, by name: a call or an event does not look at every node.

use std::{collections::HashMap, sync::Arc};

use super::offers::{Offered, Offers, matches};

/// What the available nodes offer.
#[derive(Default)]
pub(super) struct Index {
    /// Nodes by the name of a service.
    pub(super) services: HashMap<Arc<str>, Vec<Arc<str>>>,
    /// Nodes by full action name, and whose turn it is.
    pub(super) actions: HashMap<String, Endpoints>,
    /// Listeners by event name.
    pub(super) events: HashMap<String, Vec<Listener>>,
    /// Listeners whose event name is a pattern.
    patterns: Vec<(String, Listener)>,
}

#[derive(Default)]
pub(super) struct Endpoints {
    pub(super) nodes: Vec<Arc<str>>,
    pub(super) turn: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) node: Arc<str>,
    pub(super) group: Arc<str>,
}

impl Index {
    /// Enters what a node offers; how often that was more than is remembered.
    pub(super) fn enter(&mut self, id: &Arc<str>, offers: &Offers) -> u64 {
        for service in offers.services.iter().cloned() {
            self.services.entry(service).or_default().push(id.clone());
        }
        for action in &offers.actions {
            let endpoints = self.actions.entry(action.clone()).or_default();
            endpoints.nodes.push(id.clone());
        }
        let mut cut = 0;
        for (event, group) in &offers.events {
            let listener = Listener {
                node: id.clone(),
                group: group.clone(),
            };
            if !event.contains('*') {
                self.events.entry(event.clone()).or_default().push(listener);
            } else if self.patterns.len() < PATTERNS_MAX {
                self.patterns.push((event.clone(), listener));
            } else {
                cut += 1;
            }
        }
        cut
    }

    /// Removes a node and what it offered.
    pub(super) fn leave(&mut self, id: &str, offers: &Offers) {
        for service in &offers.services {
            if let Some(nodes) = self.services.get_mut(service) {
                nodes.retain(|node| &**node != id);
                if nodes.is_empty() {
                    self.services.remove(service);
                }
            }
        }
        for action in &offers.actions {
            if let Some(endpoints) = self.actions.get_mut(action) {
                endpoints.nodes.retain(|node| &**node != id);
                if endpoints.nodes.is_empty() {
                    self.actions.remove(action);
                }
            }
        }
        // Once for each name, however many groups it stands in.
        for event in offers.events.chunk_by(|(a, _), (b, _)| a == b) {
            let event = &event[0].0;
            if let Some(listeners) = self.events.get_mut(event) {
                listeners.retain(|listener| &*listener.node != id);
                if listeners.is_empty() {
                    self.events.remove(event);
                }
            }
        }
        self.patterns.retain(|(_, listener)| &*listener.node != id);
    }

    pub(super) fn listeners<'a>(&'a self, event: &'a str) -> impl Iterator<Item = &'a Listener> {
        let by_pattern = self
            .patterns
            .iter()
            .filter(move |(pattern, _)| matches(pattern, event));
        self.events
            .get(event)
            .into_iter()
            .flatten()
            .chain(by_pattern.map(|(_, listener)| listener))
    }

    /// How many nodes offer each thing.
    pub(super) fn offered(&self) -> Offered {
        let mut offered = Offered::default();
        for (service, nodes) in &self.services {
            offered.services.insert(service.to_string(), nodes.len());
        }
        for (action, endpoints) in &self.actions {
            offered
                .actions
                .insert(action.clone(), endpoints.nodes.len());
        }
        for (event, listeners) in &self.events {
            offered.events.insert(event.clone(), listeners.len());
        }
        offered
    }
}

/// Every broadcast is compared with every pattern; Rocket.Chat announces none.
pub(super) const PATTERNS_MAX: usize = 1_000;
