//! What the wire means: websocket frames, SockJS framing, DDP messages, one client's session, what waits for a client,
//! and the packets of the backplane. No IO, no clock, no randomness, no logging: bytes, times and ids are arguments.
//!
//! ```text
//! bytes ─▶ ws::Decoder ─▶ sockjs::decode_batch ─▶ ddp ─▶ session ─▶ events for the driver
//! bytes ◀─ outbox ◀────── sockjs::Framing::frame ◀ ddp ◀─ session ◀─ answers of the driver
//! ```
//!
//! Every size that a peer decides is bounded by [`limits::Limits`]; whatever ends a connection is a
//! [`close::CloseReason`].

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used))]

pub mod close;
pub mod ddp;
pub mod limits;
pub mod moleculer;
pub mod outbox;
pub mod session;
pub mod sockjs;
pub mod ws;
