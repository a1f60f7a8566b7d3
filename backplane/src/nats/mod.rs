//! Moleculer v4 over NATS: the only lines that name async-nats.

use tokio_util::sync::CancellationToken;

/// The NATS side of a [`Bus`](crate::Bus) as a future: spawn `run` on the runtime that shall own the connection.
pub struct Driver {}

impl Driver {
    /// Connects, reconnects and serves until `shutdown` is cancelled or [`Bus::leave`](crate::Bus::leave) was called.
    pub async fn run(self, shutdown: CancellationToken) {
        let _ = shutdown;
        todo!()
    }
}
