//! One thread's share of the clients.

pub(crate) mod mailbox;
