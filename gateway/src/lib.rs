//! The DDP/SockJS front door: sockets, sessions, streams.

pub mod config;
mod link;
mod shard;
mod topics;
