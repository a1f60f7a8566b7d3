//! What an operator may ask and order of a running gateway.

pub(crate) mod order;

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::{sync::oneshot, time::timeout};

use self::order::{Order, Report};
use crate::{link::ToShard, shared::Shared};

pub use self::order::{Client, Filter};

/// A shard that does not answer in this time stands still: what it would say is left out.
const PATIENCE: Duration = Duration::from_secs(5);

/// An operator's hand on a running gateway; cheap to clone.
#[derive(Clone)]
pub struct Admin {
    shared: Arc<Shared>,
}

impl Admin {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// How many clients the filter means, and at most `limit` of them.
    pub async fn connections(&self, filter: &Filter, limit: usize) -> (usize, Vec<Client>) {
        let shards = self.shared.mailboxes.len();
        let reports = self.tell(filter, vec![Order::List { limit }; shards]).await;
        let count = reports.iter().map(|report| report.count).sum();
        let mut clients: Vec<_> = reports
            .into_iter()
            .flat_map(|report| report.clients)
            .collect();
        clients.truncate(limit);
        (count, clients)
    }

    /// Closes the connections of those whom the filter means; how many there were. They may come back.
    pub async fn kick(&self, filter: &Filter) -> usize {
        let shards = self.shared.mailboxes.len();
        let reports = self.tell(filter, vec![Order::Kick; shards]).await;
        let count = reports.iter().map(|report| report.count).sum();
        tracing::info!(count, "an operator has ended connections");
        count
    }

    /// Closes connections until `keep` are left, spread over the resync time; how many those are.
    pub async fn shed(&self, keep: usize) -> usize {
        let everybody = Filter::default();
        let shards = self.shared.mailboxes.len();
        let reports = self
            .tell(&everybody, vec![Order::List { limit: 0 }; shards])
            .await;
        let counts: Vec<_> = reports.iter().map(|report| report.count).collect();
        let over = self.shared.config.resync_over;
        let orders = shares(&counts, keep)
            .into_iter()
            .map(|count| Order::Shed { count, over })
            .collect();
        let reports = self.tell(&everybody, orders).await;
        let count = reports.iter().map(|report| report.count).sum();
        tracing::info!(count, keep, "an operator sheds connections");
        count
    }

    /// Open websockets now.
    pub fn websockets(&self) -> usize {
        self.shared.admission.websockets()
    }

    /// Gives each shard its order; their reports, in the order of the shards.
    async fn tell(&self, filter: &Filter, orders: Vec<Order>) -> Vec<Report> {
        let answers = self
            .shared
            .mailboxes
            .iter()
            .zip(orders)
            .map(|(mailbox, order)| {
                let (reply, report) = oneshot::channel();
                let filter = filter.clone();
                mailbox.post(
                    ToShard::Admin {
                        filter,
                        order,
                        reply,
                    },
                    0,
                );
                timeout(PATIENCE, report)
            });
        let reports = join_all(answers).await;
        let known = reports.into_iter().map(|report| report.ok()?.ok());
        known.map(Option::unwrap_or_default).collect()
    }
}

/// How many each shard closes so that `keep` are left of all, as evenly as they are spread.
fn shares(counts: &[usize], keep: usize) -> Vec<usize> {
    let all: usize = counts.iter().sum();
    let mut excess = all.saturating_sub(keep);
    let mut rest = all;
    counts
        .iter()
        .map(|&count| {
            // What is left to close, by what is left to close it from: sums to the excess exactly.
            let share = (count * excess).checked_div(rest).unwrap_or(0);
            let share = if rest == count { excess } else { share };
            excess -= share;
            rest -= count;
            share
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shards_close_sums_up_and_is_spread_as_their_clients_are() {
        assert_eq!(shares(&[10, 10], 10), [5, 5]);
        assert_eq!(shares(&[9, 1], 5), [4, 1]);
        assert_eq!(shares(&[3, 3, 3], 8), [0, 0, 1]);
        assert_eq!(shares(&[5, 5], 100), [0, 0]);
        assert_eq!(shares(&[0, 0], 0), [0, 0]);
        assert_eq!(shares(&[4, 0, 6], 0), [4, 0, 6]);
    }
}
