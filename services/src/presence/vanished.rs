//! Which nodes exist nowhere any more: neither on the network nor, by a document that moves, in `instances`. Pure.
//!
//! One look never tells: the network may be slow to answer, and then every live node would be swept. A node must have been
//! missing for a grace in which the network was stable all the time.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use store::InstanceSeen;

/// What is remembered from one look to the next.
pub(super) struct Vanished {
    grace: Duration,
    /// An instance whose document has not moved for so long is dead.
    instances_expire: Duration,
    stable_since: Instant,
    /// Since when a node is missing.
    missing: HashMap<String, Instant>,
    /// `_updatedAt` of an instance, and since when it has been that.
    instances: HashMap<String, (i64, Instant)>,
}

impl Vanished {
    pub(super) fn new(grace: Duration, instances_expire: Duration, now: Instant) -> Self {
        Self {
            grace,
            instances_expire,
            stable_since: now,
            missing: HashMap::new(),
            instances: HashMap::new(),
        }
    }

    /// The network was away, or we were: nobody's absence counts.
    pub(super) fn unsettle(&mut self, now: Instant) {
        self.stable_since = self.stable_since.max(now);
        self.missing.clear();
        for (_, since) in self.instances.values_mut() {
            *since = now;
        }
    }

    /// Since when everybody has heard everybody.
    pub(super) fn stable_since(&self) -> Instant {
        self.stable_since
    }

    /// The instances that are alive. No clock is compared with the database's: whether a document moves is seen.
    pub(super) fn living<'a>(
        &mut self,
        seen: &'a [InstanceSeen],
        now: Instant,
    ) -> Vec<&'a InstanceSeen> {
        self.instances
            .retain(|id, _| seen.iter().any(|instance| instance.id == *id));
        let is_alive = |instance: &&InstanceSeen| {
            let known = self
                .instances
                .entry(instance.id.clone())
                .or_insert((instance.updated, now));
            if known.0 != instance.updated {
                *known = (instance.updated, now);
            }
            now.duration_since(known.1) < self.instances_expire
        };
        seen.iter().filter(is_alive).collect()
    }

    /// Those of the nodes that are missing now which may be swept.
    pub(super) fn settled(&mut self, missing: HashSet<String>, now: Instant) -> HashSet<String> {
        self.missing.retain(|node, _| missing.contains(node));
        for node in missing {
            self.missing.entry(node).or_insert(now);
        }
        if now.duration_since(self.stable_since) < self.grace {
            return HashSet::new();
        }
        let grace = self.grace;
        let settled = self
            .missing
            .iter()
            .filter(|(_, since)| now.duration_since(**since) >= grace);
        settled.map(|(node, _)| node.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(30);
    const EXPIRE: Duration = Duration::from_secs(60);

    fn set(nodes: &[&str]) -> HashSet<String> {
        nodes.iter().map(|node| (*node).to_owned()).collect()
    }

    fn instance(updated: i64) -> InstanceSeen {
        InstanceSeen {
            id: "i".into(),
            node: None,
            sockets: 0,
            updated,
        }
    }

    #[test]
    fn a_node_is_swept_after_the_grace_and_not_if_it_was_back_meanwhile() {
        let start = Instant::now();
        let mut vanished = Vanished::new(GRACE, EXPIRE, start);
        assert_eq!(vanished.settled(set(&["a", "b"]), start), set(&[]));
        assert_eq!(vanished.settled(set(&["a"]), start + GRACE / 2), set(&[]));
        assert_eq!(
            vanished.settled(set(&["a", "b"]), start + GRACE),
            set(&["a"])
        );
        let later = start + GRACE * 2;
        assert_eq!(vanished.settled(set(&["b"]), later), set(&["b"]));
    }

    #[test]
    fn nobody_is_swept_while_the_network_is_young() {
        let start = Instant::now();
        let mut vanished = Vanished::new(GRACE, EXPIRE, start);
        vanished.settled(set(&["a"]), start);
        vanished.unsettle(start + GRACE);
        let late = start + GRACE + GRACE / 2;
        assert_eq!(vanished.settled(set(&["a"]), late), set(&[]));
        assert_eq!(vanished.settled(set(&["a"]), late + GRACE), set(&["a"]));
    }

    #[test]
    fn an_instance_lives_while_its_document_moves_whatever_the_clocks_say() {
        let start = Instant::now();
        let mut vanished = Vanished::new(GRACE, EXPIRE, start);
        for (passed, updated, lives) in [
            (0, 5, true),
            (59, 5, true),
            (60, 5, false),
            (61, 4, true),
            (120, 4, true),
            (121, 4, false),
        ] {
            let seen = [instance(updated)];
            let living = vanished.living(&seen, start + Duration::from_secs(passed));
            assert_eq!(living.len() == 1, lives, "after {passed} s");
        }
    }
}
