//! How we reach the other processes: one narrow [`Bus`], over Moleculer v4 on NATS or inside one process.
//!
//! ```text
//!   roles ── call, broadcast ──▶ Bus ── Outgoing ──▶ nats::Driver ──▶ NATS      (in process: no right half)
//!   roles ◀── Inbox, answers ─── Core ◀── packets ── nats::Driver ◀── NATS
//! ```
//!
//! What it promises (backplane.md 5.12, design.md 4):
//!
//! - A message is delivered at most once. Events of one node to one node keep their order; nothing else does.
//! - Nothing is queued for later: while the bus is away, calls fail at once and events are dropped.
//! - A call always ends: with a result, an error, or its deadline.
//! - What may have been missed is reported as a [`Gap`], to every inbox.
//! - Values cross as raw JSON (EJSON text), byte for byte.

mod announcing;
mod answer;
mod bus;
mod calling;
mod calls;
mod complaints;
mod config;
mod core;
mod emission;
mod error;
mod fault;
mod handled;
mod inbox;
mod incoming;
mod measured;
mod meters;
mod nats;
mod outgoing;
mod owed;
mod registry;
mod reply;
mod spans;
mod stats;
mod uplink;
mod waiting;

pub use bus::{Bus, Status};
pub use calls::{CallOptions, Context};
pub use complaints::Complaints;
pub use config::Config;
pub use core::Service;
pub use error::{Code, Error, ErrorKind, MeteorError, RemoteError, ServiceError};
pub use handled::Handled;
pub use inbox::Inbox;
pub use incoming::{Event, Gap, GapCause, GapScope, Incoming, Request};
pub use meters::{Labels, Meters, Text};
pub use nats::{Access, AccessPart, Driver, Examination, Found, Server, examine};
pub use registry::{NodeInfo, Offered, Strategy};
pub use spans::Span;
pub use stats::Stats;
