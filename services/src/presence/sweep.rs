//! Taking away connections whose owner is gone. Entries are swept as they were read, so that one that somebody has touched
//! or made since then stays; and through the users' queues, so that a sweep has its place among the other commands, is
//! tried again until it is done, and is followed by a look at the status.

use std::{collections::HashSet, sync::Arc, time::Instant};

use store::{Connection, Error, UserConnections};
use tokio::sync::mpsc;

use super::{
    command::{Action, Command},
    metrics,
    shared::Presence,
};

impl Presence {
    /// Sweeps the connections of one node that were made before `created` (ms since 1970); the users that had one.
    pub(super) async fn sweep_node(&self, node: &str, created: i64) -> Result<Vec<String>, Error> {
        let found = self.store.connections_on(node).await?;
        let is_meant = |_: &str, entry: &Connection| entry.node == node && entry.created < created;
        Ok(self.sweep(found, "node", is_meant).await)
    }

    /// Sweeps the connections of nodes that have been nowhere for the grace; the users that had one.
    pub(super) async fn sweep_vanished(&self) -> Result<Vec<String>, Error> {
        let instances = self.store.instances().await?;
        let nodes = self.nodes();
        let mut known: HashSet<String> = nodes.iter().map(ToString::to_string).collect();
        {
            let mut vanished = self.vanished();
            for instance in vanished.living(&instances, Instant::now()) {
                // Where a document names its node, the network knows better whether that is alive.
                if instance
                    .node
                    .as_deref()
                    .is_none_or(|node| nodes.contains(node))
                {
                    known.insert(instance.id.clone());
                }
            }
        }
        let listed: Vec<String> = known.iter().cloned().collect();
        let found = self.store.connections_elsewhere(&listed).await?;
        let entries = found.iter().flat_map(|found| &found.connections);
        let missing = entries.filter(|entry| !known.contains(&entry.node));
        let missing = missing.map(|entry| entry.node.clone()).collect();
        let settled = self.vanished().settled(missing, Instant::now());
        let is_meant = |_: &str, entry: &Connection| settled.contains(&entry.node);
        Ok(self.sweep(found, "vanished", is_meant).await)
    }

    /// Sweeps those entries and waits until that is done; the users that had one.
    pub(super) async fn sweep(
        &self,
        found: Vec<UserConnections>,
        reason: &'static str,
        is_meant: impl Fn(&str, &Connection) -> bool,
    ) -> Vec<String> {
        let mut users = Vec::new();
        let mut commands = Vec::new();
        for UserConnections {
            user, connections, ..
        } in found
        {
            let meant = connections.into_iter();
            let meant = meant.filter(|entry| is_meant(&user, entry));
            let entries: Vec<_> = meant.map(|entry| (entry.id, entry.touched)).collect();
            if !entries.is_empty() {
                metrics::swept(reason, entries.len());
                commands.push((Arc::from(user.as_str()), Action::Sweep { entries }));
                users.push(user);
            }
        }
        self.carry_out(commands).await;
        users
    }

    /// Queues commands, some at a time, and waits until all of them are done.
    pub(super) async fn carry_out(&self, commands: Vec<(Arc<str>, Action)>) {
        let mut commands = commands.into_iter().peekable();
        while commands.peek().is_some() {
            let (part, mut done) = mpsc::channel(1);
            for (user, action) in commands.by_ref().take(AT_ONCE) {
                let command = Command {
                    _part: Some(part.clone()),
                    ..Command::silent(action)
                };
                self.push(user, command);
            }
            drop(part);
            // Ends when the last of them is dropped.
            done.recv().await;
        }
    }
}

/// Leaves room for what callers ask meanwhile.
const AT_ONCE: usize = 2_000;
