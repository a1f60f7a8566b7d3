//! An operator's orders, carried out on this shard's clients.

use std::rc::Rc;

use super::{Shard, entry::Entry};
use crate::{
    admin::order::{Client, Filter, Order, Report},
    streams::topic::Audience,
};
use protocol::close::CloseReason;

impl Shard {
    /// Does what an operator wants, and says how many clients it concerned.
    pub(super) fn carry_out(&self, filter: &Filter, order: &Order) -> Report {
        let meant: Vec<_> = self
            .all()
            .into_iter()
            .filter(|entry| entry.is_open() && self.meets(entry, filter))
            .collect();
        match *order {
            Order::List { limit } => Report {
                count: meant.len(),
                clients: meant
                    .iter()
                    .take(limit)
                    .map(|entry| self.show(entry))
                    .collect(),
            },
            Order::Kick => {
                for entry in &meant {
                    self.close(entry, CloseReason::Kicked);
                }
                Report {
                    count: meant.len(),
                    clients: Vec::new(),
                }
            }
            Order::Shed { count, over } => {
                // Who goes anyway is not counted twice.
                let staying = meant.into_iter().filter(|entry| entry.close_at().is_none());
                let going: Vec<_> = staying.take(count).collect();
                let count = going.len();
                self.close_over(going, CloseReason::Shed, over);
                Report {
                    count,
                    clients: Vec::new(),
                }
            }
        }
    }

    fn meets(&self, entry: &Entry, filter: &Filter) -> bool {
        let is_user = |user: &String| {
            let there = entry.user.borrow();
            there.as_ref().is_some_and(|there| *there.id == **user)
        };
        let has_room = |room: &String| {
            let table = self.topics.borrow();
            let topics = entry.topics.borrow();
            topics
                .iter()
                .any(|(_, id)| table.audience(*id) == Audience::Room(room))
        };
        let is_at = |net: &ipnet::IpNet| {
            let address = entry.connection.address;
            address.is_some_and(|address| net.contains(&address))
        };
        filter.user.as_ref().is_none_or(is_user)
            && filter.address.as_ref().is_none_or(is_at)
            && filter.room.as_ref().is_none_or(has_room)
    }

    fn show(&self, entry: &Rc<Entry>) -> Client {
        let user = entry.user.borrow();
        Client {
            connection: entry.connection.id.clone(),
            user: user.as_ref().map(|user| user.id.clone()),
            address: entry.connection.address,
            shard: self.index,
            subscriptions: entry.topics.borrow().len(),
            waiting: entry.outbox.borrow().bytes(),
        }
    }
}
