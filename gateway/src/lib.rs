//! The DDP/SockJS front door: sockets, sessions, streams.

pub mod config;
