//! What one node offers, as the index needs it.

use std::{collections::BTreeMap, sync::Arc};

use protocol::moleculer::ServiceEntry;

/// Names on the network, and how many nodes (of an event: how many listeners) stand behind each.
#[derive(Clone, Debug, Default)]
pub struct Offered {
    pub services: BTreeMap<String, usize>,
    pub actions: BTreeMap<String, usize>,
    pub events: BTreeMap<String, usize>,
}

/// The services of a node, their callable actions and their events, each in order and once.
#[derive(Default, PartialEq)]
pub(super) struct Offers {
    pub(super) services: Vec<Arc<str>>,
    pub(super) actions: Vec<String>,
    /// Event name and group, by name.
    pub(super) events: Vec<(String, Arc<str>)>,
    /// What it costs to remember them, roughly.
    pub(super) bytes: usize,
}

impl Offers {
    /// Entries without a name are of no use; `$`-events are local to every node. Stops, and says so, before it costs more
    /// than `room`.
    pub(super) fn of(services: Vec<ServiceEntry>, room: usize) -> (Self, bool) {
        let mut offers = Self::default();
        let is_whole = services
            .into_iter()
            .all(|service| offers.add(service, room).is_some());
        offers.services.sort_unstable();
        offers.services.dedup();
        offers.actions.sort_unstable();
        offers.actions.dedup();
        offers.events.sort_unstable();
        offers.events.dedup();
        let listed = offers.events.len();
        let mut groups = 1;
        offers.events.dedup_by(|(event, _), (before, _)| {
            groups = if event == before { groups + 1 } else { 1 };
            groups > EVENT_GROUPS_MAX
        });
        let is_whole = is_whole && offers.events.len() == listed;
        (offers, !is_whole)
    }

    /// What of its cost is paid from what all share.
    pub(super) fn beyond_its_share(&self) -> usize {
        self.bytes.saturating_sub(NODE_OFFERS_BYTES)
    }

    /// `None` where the room ends.
    fn add(&mut self, service: ServiceEntry, room: usize) -> Option<()> {
        let Some(name) = service.name() else {
            return Some(());
        };
        let service_group: Arc<str> = name.into();
        if name != "$node" {
            self.pay(name, room)?;
            self.services.push(service_group.clone());
        }
        for event in service.events {
            let Some(name) = event.name.filter(|name| !name.starts_with('$')) else {
                continue;
            };
            self.pay(&name, room)?;
            let group = match event.group {
                Some(group) => {
                    self.pay(&group, room)?;
                    group.into()
                }
                None => service_group.clone(),
            };
            self.events.push((name, group));
        }
        for action in service
            .actions
            .into_iter()
            .filter(|action| action.is_public())
        {
            if let Some(name) = action.name {
                self.pay(&name, room)?;
                self.actions.push(name);
            }
        }
        Some(())
    }

    fn pay(&mut self, name: &str, room: usize) -> Option<()> {
        let bytes = self.bytes + NAME_OVERHEAD + name.len();
        (bytes <= room).then(|| self.bytes = bytes)
    }
}

/// Event patterns (backplane.md 5.5): `*` is one token, `**` the rest.
pub(super) fn matches(pattern: &str, event: &str) -> bool {
    let mut tokens = event.split('.');
    for part in pattern.split('.') {
        match (part, tokens.next()) {
            ("**", Some(_)) => return true,
            ("*", Some(_)) => {}
            (part, Some(token)) if part == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// A monolith offers some 60 kB: so much is remembered of everybody, whatever others offer.
pub(super) const NODE_OFFERS_BYTES: usize = 128 << 10;
/// Groups in which one node hears an event: one for each of its services that listens to it. Whoever says something to all
/// looks at each.
const EVENT_GROUPS_MAX: usize = 64;
/// What a name costs besides its text: it stands in the node and in the index.
const NAME_OVERHEAD: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_token_by_token() {
        for (pattern, event, expected) in [
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.**", "a.b.c", true),
            ("a.**", "a", false),
            ("**", "a", true),
            ("*", "a.b", false),
        ] {
            assert_eq!(matches(pattern, event), expected, "{pattern} {event}");
        }
    }
}
