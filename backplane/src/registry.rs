//! Who is on the network and offers what; time comes in as an argument.

mod balance;
mod index;
mod node;
mod offers;
mod pace;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use protocol::moleculer::Info;
use uuid::Uuid;

pub use balance::Strategy;
use index::{Endpoints, Index};
pub(crate) use node::Change;
use node::Node;
pub use node::NodeInfo;
pub use offers::Offered;
use offers::{NODE_OFFERS_BYTES, Offers};
use pace::{ASKED_PER_SECOND_MAX, Pace, TOLD_PER_SECOND_MAX};

/// The remote nodes and an index of what the available ones offer.
pub(crate) struct Registry {
    heartbeat_timeout: Duration,
    strategy: Strategy,
    nodes: HashMap<Arc<str>, Node>,
    index: Index,
    /// When one returned with whom we had had nothing to do.
    stranger_returned: Option<Instant>,
    /// Strangers asked who they are.
    asked: Pace,
    /// Nodes told who we are because they asked.
    told: Pace,
    /// What the offers of all nodes cost beyond each one's share.
    beyond: usize,
    /// How often a node offered more than is remembered.
    cut: u64,
}

impl Registry {
    pub(crate) fn new(heartbeat_timeout: Duration, strategy: Strategy) -> Self {
        Self {
            heartbeat_timeout,
            strategy,
            nodes: HashMap::new(),
            index: Index::default(),
            stranger_returned: None,
            asked: Pace::default(),
            told: Pace::default(),
            beyond: 0,
            cut: 0,
        }
    }

    /// What a peer says about itself (backplane.md 6.2); a new `instanceID` under a known id is a leave and a join.
    pub(crate) fn handle_info(&mut self, mut info: Info<'_>, now: Instant) -> Vec<Change> {
        info.instance_id
            .take_if(|text| text.len() > NODE_TEXT_BYTES_MAX);
        info.hostname
            .take_if(|text| text.len() > NODE_TEXT_BYTES_MAX);
        let seq = info.seq.unwrap_or(1.0);
        let Some(node) = self.nodes.get_mut(&*info.sender) else {
            return self
                .join(info, seq, now)
                .map(Change::Up)
                .into_iter()
                .collect();
        };
        let is_new_instance = matches!((&node.info.instance, &info.instance_id), (Some(old), Some(new)) if old != new);
        if node.info.available {
            node.heartbeat = now;
            if !is_new_instance {
                if seq <= node.seq {
                    return Vec::new();
                }
                let id = node.info.id.clone();
                let before = self.unlist(&id);
                self.list(&id, info, seq);
                let node = self.nodes.get(&id);
                let changed =
                    node.filter(|node| before.is_some_and(|before| before != node.offers));
                return changed
                    .map(|node| Change::Offers(node.info.clone()))
                    .into_iter()
                    .collect();
            }
        }
        let id = node.info.id.clone();
        let is_same = node.info.instance.is_some() && node.info.instance == info.instance_id;
        // Of strangers one a minute: a thousand invented nodes that come and go must not make everybody resync all the time.
        let is_missed = node.was_lost
            && is_same
            && (node.is_met
                || self
                    .stranger_returned
                    .is_none_or(|last| now >= last + PAUSE));
        if is_missed && !node.is_met {
            self.stranger_returned = Some(now);
        }
        let returned = is_missed.then(|| Change::Returned {
            node: id.clone(),
            since: node.heartbeat,
        });
        let mut changes: Vec<_> = self.take_down(&id, true, now).into_iter().collect();
        if let Some(node) = self.nodes.get_mut(&id) {
            node.offline_since = None;
            node.was_lost = false;
            node.heartbeat = now;
            node.info.available = true;
            if is_new_instance {
                node.sent_to_us = None;
            }
        }
        self.list(&id, info, seq);
        changes.extend(
            self.nodes
                .get(&id)
                .map(|node| Change::Up(node.info.clone())),
        );
        // A gap is told after the node is known to be up again.
        changes.extend(returned);
        changes
    }

    /// False if the peer is unknown or thought to be gone: it wants a DISCOVER.
    pub(crate) fn handle_heartbeat(
        &mut self,
        sender: &str,
        cpu: Option<f64>,
        now: Instant,
    ) -> bool {
        match self.nodes.get_mut(sender) {
            Some(node) if node.info.available => {
                node.heartbeat = now;
                node.cpu = cpu;
                true
            }
            _ => false,
        }
    }

    /// Whether one more stranger may be asked who it is: invented senders must not make us shout.
    pub(crate) fn may_ask(&mut self, now: Instant) -> bool {
        self.asked.is_within(ASKED_PER_SECOND_MAX, now)
    }

    /// Whether one more node is told who we are: the answer is a hundred times as long as the question. Who was not asks
    /// again when he hears our heart.
    pub(crate) fn may_tell(&mut self, now: Instant) -> bool {
        self.told.is_within(TOLD_PER_SECOND_MAX, now)
    }

    /// A polite leave.
    pub(crate) fn handle_disconnect(&mut self, sender: &str, now: Instant) -> Option<Change> {
        self.take_down(sender, false, now)
    }

    /// Drops peers that fell silent and forgets those that are gone for long; to be called about once a second.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<Change> {
        let silent: Vec<Arc<str>> = self
            .nodes
            .values()
            .filter(|node| {
                node.info.available && now.duration_since(node.heartbeat) > self.heartbeat_timeout
            })
            .map(|node| node.info.id.clone())
            .collect();
        self.nodes.retain(|_, node| {
            node.offline_since
                .is_none_or(|since| now.duration_since(since) < FORGET_AFTER)
        });
        silent
            .iter()
            .filter_map(|id| self.take_down(id, true, now))
            .collect()
    }

    /// Restarts the clocks of all peers: it was us who heard nothing.
    pub(crate) fn excuse_silence(&mut self, now: Instant) {
        for node in self.nodes.values_mut() {
            node.heartbeat = now;
        }
    }

    /// The peer sent an event or a request to this node, so it knows us.
    pub(crate) fn sent_to_us(&mut self, sender: &str, now: Instant) {
        if let Some(node) = self.nodes.get_mut(sender) {
            node.sent_to_us = Some(now);
            node.is_met = true;
        }
    }

    /// A peer asked this node alone who it is. If it had sent to us before, it has forgotten us in between: the time
    /// from which on its events may be missing. At most once per node and minute, so that a hostile node cannot make
    /// everybody resync all the time.
    pub(crate) fn handle_targeted_discover(
        &mut self,
        sender: &str,
        now: Instant,
    ) -> Option<Instant> {
        let node = self.nodes.get_mut(sender)?;
        let since = node.sent_to_us?;
        if node
            .forgot_us
            .is_some_and(|last| now.duration_since(last) < PAUSE)
        {
            return None;
        }
        node.sent_to_us = None;
        node.forgot_us = Some(now);
        Some(since)
    }

    /// One of the nodes that offer an action.
    pub(crate) fn next_node(&mut self, action: &str) -> Option<Arc<str>> {
        let endpoints = self.index.actions.get_mut(action)?;
        let random = match self.strategy {
            Strategy::RoundRobin => 0,
            _ => Uuid::new_v4().as_u128() as usize,
        };
        let nodes = &self.nodes;
        let load = |node: &str| match self.strategy {
            Strategy::CpuUsage => nodes.get(node)?.cpu,
            _ => nodes
                .get(node)?
                .latency
                .map(|latency| latency.as_secs_f64()),
        };
        let Endpoints { nodes, turn } = endpoints;
        let chosen = self.strategy.choose(nodes, turn, random, load).cloned()?;
        if let Some(node) = self.nodes.get_mut(&chosen) {
            node.is_met = true;
        }
        Some(chosen)
    }

    /// The available nodes, which are to be pinged now.
    pub(crate) fn ping(&mut self, now: Instant) -> Vec<Arc<str>> {
        let available = self.nodes.values_mut().filter(|node| node.info.available);
        available
            .map(|node| {
                node.pinged = Some(now);
                node.info.id.clone()
            })
            .collect()
    }

    /// A node answers a ping.
    pub(crate) fn handle_pong(&mut self, sender: &str, now: Instant) {
        if let Some(node) = self.nodes.get_mut(sender)
            && let Some(pinged) = node.pinged.take()
        {
            node.latency = Some(now.duration_since(pinged));
        }
    }

    /// How long available nodes took to answer.
    pub(crate) fn distances(&self) -> impl Iterator<Item = (Arc<str>, Duration)> {
        let available = self.nodes.values().filter(|node| node.info.available);
        available.filter_map(|node| Some((node.info.id.clone(), node.latency?)))
    }

    /// How many available nodes offer an action.
    pub(crate) fn offering(&self, action: &str) -> usize {
        let endpoints = self.index.actions.get(action);
        endpoints.map_or(0, |endpoints| endpoints.nodes.len())
    }

    /// Whether an available node that is none of ours offers an action.
    pub(crate) fn others_offer(&self, action: &str) -> bool {
        let endpoints = self.index.actions.get(action);
        let mut nodes = endpoints.iter().flat_map(|endpoints| &endpoints.nodes);
        nodes.any(|id| !self.nodes.get(id).is_some_and(|node| node.info.is_ours()))
    }

    /// The named node, if it is available and offers the action.
    pub(crate) fn this_node(&self, action: &str, node: &str) -> Option<Arc<str>> {
        let endpoints = self.index.actions.get(action)?;
        endpoints.nodes.iter().find(|id| &***id == node).cloned()
    }

    /// Every available node that lists the event in one of these groups (none named: in any), once.
    pub(crate) fn nodes_listening(&self, event: &str, groups: &[&str]) -> Vec<Arc<str>> {
        let mut nodes: Vec<Arc<str>> = self
            .index
            .listeners(event)
            .filter(|listener| groups.is_empty() || groups.contains(&&*listener.group))
            .map(|listener| listener.node.clone())
            .collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// The nodes that may take a balanced event, by group.
    pub(crate) fn groups_listening(&self, event: &str) -> BTreeMap<Arc<str>, Vec<Arc<str>>> {
        let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for listener in self.index.listeners(event) {
            groups
                .entry(listener.group.clone())
                .or_default()
                .push(listener.node.clone());
        }
        groups
    }

    /// Whether an available node offers a service of this name.
    pub(crate) fn has_service(&self, name: &str) -> bool {
        self.index.services.contains_key(name)
    }

    /// The available nodes that offer a service of this name.
    pub(crate) fn nodes_with(&self, name: &str) -> &[Arc<str>] {
        self.index.services.get(name).map_or(&[], Vec::as_slice)
    }

    /// Everybody who is known.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.values().map(|node| &node.info)
    }

    /// How many nodes are known, and how many of them are available.
    pub(crate) fn count(&self) -> (usize, usize) {
        let available = self.nodes.values().filter(|node| node.info.available);
        (self.nodes.len(), available.count())
    }

    /// What the available nodes offer.
    pub(crate) fn offered(&self) -> Offered {
        self.index.offered()
    }

    /// How often a node offered more than is remembered.
    pub(crate) fn cut(&self) -> u64 {
        self.cut
    }

    /// The shared id of a known node.
    pub(crate) fn id(&self, node: &str) -> Option<Arc<str>> {
        self.nodes.get_key_value(node).map(|(id, _)| id.clone())
    }

    /// Takes in a node that was unknown, in the place of one that is gone if need be; `None` when there are too many.
    fn join(&mut self, info: Info<'_>, seq: f64, now: Instant) -> Option<NodeInfo> {
        if self.nodes.len() >= NODES_MAX && !self.forget_gone() {
            self.cut += 1;
            return None;
        }
        let id: Arc<str> = info.sender.as_ref().into();
        let node = Node::new(id.clone(), seq, now);
        self.nodes.insert(id.clone(), node);
        self.list(&id, info, seq);
        self.nodes.get(&id).map(|node| node.info.clone())
    }

    /// Forgets the node that is gone for longest; before those that were lost, whose return is a gap, those that left.
    fn forget_gone(&mut self) -> bool {
        let gone = self.nodes.iter();
        let gone = gone.filter_map(|(id, node)| Some((node.was_lost, node.offline_since?, id)));
        let Some((_, _, id)) = gone.min() else {
            return false;
        };
        let id = id.clone();
        self.nodes.remove(&id).is_some()
    }

    fn take_down(&mut self, id: &str, unexpected: bool, now: Instant) -> Option<Change> {
        let node = self.nodes.get_mut(id).filter(|node| node.info.available)?;
        let before = node.info.clone();
        node.info.available = false;
        node.offline_since = Some(now);
        node.was_lost = unexpected;
        node.seq += 1.0;
        self.unlist(id);
        Some(Change::Down {
            node: NodeInfo {
                available: false,
                ..before
            },
            unexpected,
        })
    }

    /// Reads the list of services into the node and the index.
    fn list(&mut self, id: &Arc<str>, info: Info<'_>, seq: f64) {
        let Some(node) = self.nodes.get_mut(id) else {
            return;
        };
        node.seq = seq;
        node.info.client = info.client();
        node.info.instance = info.instance_id.or_else(|| node.info.instance.take());
        node.info.hostname = info.hostname;
        // Whatever others offer: who comes when invented nodes have taken all the room is known like everybody else.
        let room = NODE_OFFERS_BYTES + (OFFERS_BYTES_MAX - self.beyond);
        let services = info.services.unwrap_or_default();
        let (offers, is_cut) = Offers::of(services, room.min(NODE_OFFERS_BYTES_MAX));
        if is_cut {
            self.cut += 1;
            if self.cut.is_power_of_two() {
                let count = self.cut;
                tracing::warn!(node = &**id, count, "a node offers more than is remembered");
            }
        }
        node.info.services = offers.services.as_slice().into();
        self.beyond += offers.beyond_its_share();
        node.offers = offers;
        self.cut += self.index.enter(id, &node.offers);
    }

    /// Removes the node from the index, and what it offered from the node.
    fn unlist(&mut self, id: &str) -> Option<Offers> {
        let node = self.nodes.get_mut(id)?;
        node.info.services = Arc::default();
        let offers = std::mem::take(&mut node.offers);
        self.beyond -= offers.beyond_its_share();
        self.index.leave(id, &offers);
        Some(offers)
    }
}

/// The largest networks have some hundreds of nodes; this bounds what invented ones can cost.
const NODES_MAX: usize = 500;
/// Names of hosts and of process starts are a fraction of this; longer ones are left out.
const NODE_TEXT_BYTES_MAX: usize = 512;
/// What one node, and what all together beyond their shares, can make us remember.
const NODE_OFFERS_BYTES_MAX: usize = 1 << 20;
const OFFERS_BYTES_MAX: usize = 16 << 20;
/// As peers do (backplane.md 6.3).
const FORGET_AFTER: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::{index::PATTERNS_MAX, *};

    const TIMEOUT: Duration = Duration::from_secs(30);

    /// A registry and a clock that only moves by hand.
    struct Net {
        registry: Registry,
        now: Instant,
    }

    impl Net {
        fn new() -> Self {
            Self {
                registry: Registry::new(TIMEOUT, Strategy::RoundRobin),
                now: Instant::now(),
            }
        }

        fn after(&mut self, seconds: u64) -> &mut Self {
            self.now += Duration::from_secs(seconds);
            self
        }

        /// INFO of a node whose one service has these actions and listens to `e`.
        fn info(&mut self, sender: &str, instance: &str, seq: u64, actions: &[&str]) -> String {
            let actions: Vec<String> = actions
                .iter()
                .map(|name| format!(r#""{name}":{{"name":"{name}"}}"#))
                .collect();
            let packet = format!(
                r#"{{"services":[{{"name":"s","actions":{{{}}},"events":{{"e":{{"name":"e"}}}}}}],"instanceID":"{instance}","seq":{seq},"ver":"4","sender":"{sender}"}}"#,
                actions.join(",")
            );
            let changes = self.registry.handle_info(
                protocol::moleculer::decode(packet.as_bytes()).unwrap(),
                self.now,
            );
            told(&changes)
        }

        fn timeout(&mut self) -> String {
            told(&self.registry.handle_timeout(self.now))
        }
    }

    fn told(changes: &[Change]) -> String {
        let words: Vec<String> = changes
            .iter()
            .map(|change| match change {
                Change::Up(node) => format!("+{}", node.id),
                Change::Offers(node) => format!("={}", node.id),
                Change::Down {
                    node,
                    unexpected: true,
                } => format!("!{}", node.id),
                Change::Down { node, .. } => format!("-{}", node.id),
                Change::Returned { node, .. } => format!("~{node}"),
            })
            .collect();
        words.join(" ")
    }

    #[test]
    fn calls_go_round_the_nodes_that_offer_the_action() {
        let mut net = Net::new();
        assert_eq!(net.info("a", "1", 1, &["s.x"]), "+a");
        assert_eq!(net.info("b", "1", 1, &["s.x", "s.y"]), "+b");
        let order: Vec<_> = (0..4)
            .map(|_| net.registry.next_node("s.x").unwrap())
            .collect();
        assert_eq!(
            order.iter().map(|id| &**id).collect::<Vec<_>>(),
            ["a", "b", "a", "b"]
        );
        assert_eq!(net.registry.this_node("s.y", "a"), None);
        assert_eq!(net.registry.this_node("s.y", "b").as_deref(), Some("b"));
        assert_eq!(net.registry.next_node("s.z"), None);
    }

    #[test]
    fn the_least_busy_and_the_nearest_node_are_known_from_heartbeats_and_pongs() {
        for strategy in [Strategy::CpuUsage, Strategy::Latency] {
            let mut net = Net::new();
            net.registry.strategy = strategy;
            for (node, cpu) in [("a", 80.0), ("b", 10.0), ("c", 40.0)] {
                net.info(node, "1", 1, &["s.x"]);
                net.registry.handle_heartbeat(node, Some(cpu), net.now);
            }
            assert_eq!(net.registry.ping(net.now).len(), 3);
            for node in ["b", "a", "c"] {
                net.after(1);
                net.registry.handle_pong(node, net.now);
            }
            let mut chosen = (0..20).map(|_| net.registry.next_node("s.x"));
            assert!(
                chosen.all(|node| node.as_deref() == Some("b")),
                "{strategy:?}"
            );
        }
    }

    #[test]
    fn a_list_of_services_counts_only_with_a_greater_seq() {
        let mut net = Net::new();
        net.info("a", "1", 2, &["s.x"]);
        assert_eq!(net.info("a", "1", 2, &["s.x", "s.y"]), "");
        assert_eq!(net.registry.next_node("s.y"), None);
        assert_eq!(net.info("a", "1", 3, &["s.y"]), "=a");
        assert_eq!(net.info("a", "1", 4, &["s.y"]), "", "nothing is new");
        assert!(net.registry.next_node("s.y").is_some() && net.registry.next_node("s.x").is_none());
    }

    #[test]
    fn nodes_that_are_gone_keep_no_place_from_those_that_come() {
        let mut net = Net::new();
        net.info("lost", "1", 1, &[]);
        net.after(40).timeout();
        for node in 1..NODES_MAX {
            net.info(&format!("odd-{node}"), "1", 1, &[]);
        }
        assert_eq!(net.info("monolith", "1", 1, &["s.x"]), "+monolith");
        net.info("odd-1", "1", 1, &[]);
        assert_eq!(
            net.info("one-too-many", "1", 1, &[]),
            "",
            "all of them are there"
        );
        net.registry.handle_disconnect("odd-2", net.now);
        assert_eq!(net.info("another", "1", 1, &["s.y"]), "+another");
        assert!(net.registry.next_node("s.y").is_some());
        assert_eq!(net.registry.nodes.len(), NODES_MAX);
    }

    #[test]
    fn what_a_node_and_all_together_can_make_us_remember_is_bounded() {
        let mut net = Net::new();
        let long = "x".repeat(1_000);
        for node in 0..50 {
            let names: Vec<_> = (0..2_000)
                .map(|number| format!("{number}.{long}"))
                .collect();
            let names: Vec<_> = names.iter().map(|name| &**name).collect();
            net.info(&format!("odd-{node}"), "1", 1, &names);
            let offers = &net.registry.nodes[&*format!("odd-{node}")].offers;
            assert!(offers.bytes <= NODE_OFFERS_BYTES_MAX && offers.actions.len() < 1_000);
        }
        assert!(net.registry.beyond <= OFFERS_BYTES_MAX);
        assert_eq!((net.registry.cut(), net.registry.count()), (50, (50, 50)));
        let names: Vec<_> = (0..600).map(|number| format!("s.{number}")).collect();
        let names: Vec<_> = names.iter().map(|name| &**name).collect();
        net.info("monolith", "1", 1, &names);
        assert!(
            names.iter().all(|name| net.registry.offering(name) == 1),
            "who comes last is known like everybody else"
        );
        assert_eq!(net.registry.cut(), 50);
        for node in 0..50 {
            net.registry
                .handle_disconnect(&format!("odd-{node}"), net.now);
        }
        net.registry.handle_disconnect("monolith", net.now);
        assert_eq!((net.registry.beyond, net.registry.count()), (0, (51, 0)));
        assert!(net.registry.index.services.is_empty() && net.registry.index.actions.is_empty());
        net.info("a", "1", 1, &["s.x"]);
        assert!(
            net.registry.next_node("s.x").is_some(),
            "there is room again"
        );
    }

    #[test]
    fn what_only_nodes_of_ours_offer_others_do_not() {
        let mut net = Net::new();
        let packet = r#"{"services":[{"name":"s","actions":{"s.x":{"name":"s.x"}}}],"client":{"type":"rust","version":"1"},
            "instanceID":"1","seq":1,"ver":"4","sender":"ours"}"#;
        let info = protocol::moleculer::decode(packet.as_bytes()).unwrap();
        net.registry.handle_info(info, net.now);
        assert!(net.registry.offering("s.x") == 1 && !net.registry.others_offer("s.x"));
        net.info("theirs", "1", 1, &["s.x"]);
        assert!(net.registry.others_offer("s.x"));
        net.registry.handle_disconnect("theirs", net.now);
        assert!(!net.registry.others_offer("s.x"));
    }

    #[test]
    fn a_name_said_over_and_over_counts_once_and_in_so_many_groups() {
        let mut net = Net::new();
        let events: Vec<_> = (0..2_000)
            .map(|number| format!(r#"{{"name":"e","group":"g{}"}}"#, number / 2))
            .collect();
        let action = r#"{"name":"s.x"}"#;
        let service = format!(
            r#"{{"name":"s","actions":[{action},{action}],"events":[{}]}}"#,
            events.join(",")
        );
        for node in 0..3 {
            let packet =
                format!(r#"{{"services":[{service},{service}],"ver":"4","sender":"odd-{node}"}}"#);
            let info = protocol::moleculer::decode(packet.as_bytes()).unwrap();
            net.registry.handle_info(info, net.now);
        }
        assert_eq!(net.registry.groups_listening("e").len(), 64);
        assert_eq!(net.registry.nodes_listening("e", &[]).len(), 3);
        assert_eq!(net.registry.index.events["e"].len(), 3 * 64);
        assert_eq!(net.registry.offering("s.x"), 3);
        assert_eq!(net.registry.nodes_with("s").len(), 3);
        let offered = net.registry.offered();
        assert_eq!((offered.services["s"], offered.actions["s.x"]), (3, 3));
        assert_eq!(net.registry.cut(), 3);
    }

    #[test]
    fn texts_that_no_node_has_are_not_remembered() {
        let mut net = Net::new();
        let long = "x".repeat(NODE_TEXT_BYTES_MAX + 1);
        assert_eq!(net.info("a", &long, 1, &["s.x"]), "+a");
        assert_eq!(net.registry.nodes["a"].info.instance, None);
        assert!(net.registry.next_node("s.x").is_some());
    }

    #[test]
    fn a_new_instance_under_an_old_id_is_a_leave_and_a_join() {
        let mut net = Net::new();
        net.info("a", "1", 9, &["s.x"]);
        assert_eq!(net.info("a", "2", 1, &["s.y"]), "!a +a");
        assert!(net.registry.next_node("s.y").is_some() && net.registry.next_node("s.x").is_none());
        // Its clock starts anew.
        net.after(29);
        assert_eq!(net.timeout(), "");
    }

    #[test]
    fn a_silent_node_is_lost_and_its_return_as_the_same_process_is_a_gap() {
        let mut net = Net::new();
        net.info("a", "1", 1, &["s.x"]);
        net.registry.sent_to_us("a", net.now);
        net.after(20);
        assert!(net.registry.handle_heartbeat("a", None, net.now));
        net.after(30);
        assert_eq!(net.timeout(), "");
        net.after(1);
        assert_eq!(net.timeout(), "!a");
        assert!(!net.registry.has_service("s") && net.registry.next_node("s.x").is_none());
        assert!(
            !net.registry.handle_heartbeat("a", None, net.now),
            "a lost node wants a DISCOVER"
        );
        assert_eq!(net.info("a", "1", 1, &["s.x"]), "+a ~a");
        assert!(net.registry.has_service("s"));
    }

    #[test]
    fn of_strangers_one_return_a_minute_is_a_gap() {
        let mut net = Net::new();
        let strangers = ["a", "b", "c"];
        let come_again = |net: &mut Net| {
            let told: Vec<_> = strangers
                .iter()
                .map(|id| net.info(id, "1", 1, &["s.x"]))
                .collect();
            net.after(31).timeout();
            told.join(" ")
        };
        assert_eq!(come_again(&mut net), "+a +b +c");
        assert_eq!(come_again(&mut net), "+a ~a +b +c");
        assert_eq!(come_again(&mut net), "+a +b +c");
        assert_eq!(come_again(&mut net), "+a ~a +b +c");
        // Whom we have heard and whom we have called we know.
        net.info("b", "1", 1, &["s.x"]);
        net.info("c", "1", 1, &["s.x"]);
        net.registry.sent_to_us("b", net.now);
        assert_eq!(net.registry.next_node("s.x").as_deref(), Some("b"));
        assert_eq!(net.registry.next_node("s.x").as_deref(), Some("c"));
        net.after(31).timeout();
        assert_eq!(come_again(&mut net), "+a ~a +b ~b +c ~c");
    }

    #[test]
    fn neither_a_polite_leave_nor_a_new_process_is_a_gap() {
        let mut net = Net::new();
        net.info("a", "1", 1, &[]);
        assert_eq!(
            told(net.registry.handle_disconnect("a", net.now).as_slice()),
            "-a"
        );
        assert_eq!(net.registry.handle_disconnect("a", net.now), None);
        assert_eq!(net.info("a", "1", 1, &[]), "+a");
        net.after(31);
        assert_eq!(net.timeout(), "!a");
        assert_eq!(net.info("a", "2", 1, &[]), "+a");
    }

    #[test]
    fn a_node_that_is_gone_is_forgotten_after_ten_minutes() {
        let mut net = Net::new();
        net.info("a", "1", 1, &[]);
        net.registry.handle_disconnect("a", net.now);
        net.after(599).timeout();
        assert_eq!(net.registry.nodes().count(), 1);
        net.after(1).timeout();
        assert_eq!(net.registry.nodes().count(), 0);
    }

    #[test]
    fn silence_during_our_own_outage_loses_nobody() {
        let mut net = Net::new();
        net.info("a", "1", 1, &[]);
        net.after(100);
        net.registry.excuse_silence(net.now);
        assert_eq!(net.timeout(), "");
    }

    #[test]
    fn being_forgotten_is_noticed_once_a_minute_and_only_of_nodes_that_had_sent_to_us() {
        let mut net = Net::new();
        net.info("a", "1", 1, &[]);
        assert_eq!(net.registry.handle_targeted_discover("a", net.now), None);
        let sent = net.now;
        net.registry.sent_to_us("a", sent);
        net.after(5);
        assert_eq!(
            net.registry.handle_targeted_discover("a", net.now),
            Some(sent)
        );
        net.registry.sent_to_us("a", net.now);
        net.after(59);
        assert_eq!(net.registry.handle_targeted_discover("a", net.now), None);
        net.after(1);
        assert!(
            net.registry
                .handle_targeted_discover("a", net.now)
                .is_some()
        );
        assert_eq!(
            net.registry.handle_targeted_discover("stranger", net.now),
            None
        );
    }

    #[test]
    fn a_new_process_cannot_have_forgotten_us_but_one_that_returned_can() {
        let mut net = Net::new();
        net.info("a", "1", 1, &[]);
        net.registry.sent_to_us("a", net.now);
        net.after(31).timeout();
        net.info("a", "1", 1, &[]);
        assert!(
            net.registry
                .handle_targeted_discover("a", net.now)
                .is_some()
        );
        net.registry.sent_to_us("a", net.now);
        net.info("a", "2", 1, &[]);
        net.after(60);
        assert_eq!(net.registry.handle_targeted_discover("a", net.now), None);
    }

    #[test]
    fn a_node_gets_an_event_once_and_only_for_the_named_groups() {
        let mut net = Net::new();
        let packet = br#"{"services":[{"name":"p","events":{"1":{"name":"x"},"2":{"name":"$node.connected"}}},
            {"name":"q","events":[{"name":"x"},{"name":"y.*","group":"g"}]}],"ver":"4","sender":"a"}"#;
        net.registry
            .handle_info(protocol::moleculer::decode(packet).unwrap(), net.now);
        assert_eq!(net.registry.nodes_listening("x", &[]).len(), 1);
        assert_eq!(net.registry.nodes_listening("x", &["q", "z"]).len(), 1);
        assert!(net.registry.nodes_listening("x", &["z"]).is_empty());
        assert!(
            net.registry
                .nodes_listening("$node.connected", &[])
                .is_empty()
        );
        assert_eq!(net.registry.nodes_listening("y.1", &["g"]).len(), 1);
        assert_eq!(net.registry.groups_listening("x").len(), 2);
    }

    #[test]
    fn patterns_beyond_what_is_looked_at_are_counted() {
        let mut net = Net::new();
        let events: Vec<_> = (0..=PATTERNS_MAX)
            .map(|number| format!(r#""e{number}.*":{{"name":"e{number}.*"}}"#))
            .collect();
        let packet = format!(
            r#"{{"services":[{{"name":"s","actions":{{}},"events":{{{}}}}}],"instanceID":"i","seq":1,"ver":"4","sender":"odd"}}"#,
            events.join(",")
        );
        let info = protocol::moleculer::decode(packet.as_bytes()).unwrap();
        net.registry.handle_info(info, net.now);
        assert_eq!(net.registry.cut(), 1);
    }
}
