//! What an operator orders, and what shards say to it.

use std::{net::IpAddr, sync::Arc, time::Duration};

use ipnet::IpNet;

/// Which clients are meant: those that meet every condition that is there.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Logged in as this user id.
    pub user: Option<String>,
    /// The client's address, as `X-Forwarded-For` and its settings tell.
    pub address: Option<IpNet>,
    /// With a subscription to this room id.
    pub room: Option<String>,
}

impl Filter {
    /// Whether it means everybody.
    pub fn is_empty(&self) -> bool {
        self.user.is_none() && self.address.is_none() && self.room.is_none()
    }
}

/// One client, as an operator sees it.
#[derive(Clone, Debug)]
pub struct Client {
    /// As broadcasts name it.
    pub connection: String,
    pub user: Option<Arc<str>>,
    pub address: Option<IpAddr>,
    pub shard: u16,
    pub subscriptions: usize,
    /// Bytes that wait for it.
    pub waiting: usize,
}

/// What a gateway is told to do with the clients that a filter means.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// Count them, and show so many of them.
    List { limit: usize },
    /// Close their connections.
    Kick,
    /// Close so many of them, whichever, spread over this time: other nodes shall have them.
    Shed { count: usize, over: Duration },
}

/// What a shard says to an order: how many clients it concerned, and some of them.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) count: usize,
    pub(crate) clients: Vec<Client>,
}
