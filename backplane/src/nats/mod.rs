//! Moleculer v4 over NATS: the only lines that name async-nats.

use std::future::Future;

/// The NATS side of a [`Bus`](crate::Bus) as a future: spawn `run` on the runtime that shall own the connection.
pub struct Driver {}

impl Driver {
    /// Connects, reconnects and serves until `shutdown` is done or [`Bus::leave`](crate::Bus::leave) was called.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let _ = shutdown;
        todo!()
    }
}
