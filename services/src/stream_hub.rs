//! Database changes to events (services.md 5), so that neither the monolith nor the gateways watch the database.
//!
//! ```text
//!   change streams (MongoDB) ── leader, pump ─┐           ┌─ rules: a change ─▶ what to read, or events      pure
//!                                             ├─▶ reads ──┴─▶ send ─▶ bus
//!   feed (embedded store) ────── embedded ────┘      what the rules ask for, a batch at a time
//! ```
//!
//! On MongoDB any number of hubs may run: one holds the `lease` and works, the others wait. Events are sent in
//! the order of the server's log, at least once: a hub that takes over begins at the last checkpoint, which is written
//! only after what lies before it has been given to the bus.
//!
//! Every event of the MongoDB feed says in its `meta` where it comes from, so that receivers can drop what they have had:
//!
//! - `{"hub":{"term":7,"token":"8266..","n":0}}`: term of the sending hub; the change's resume token, the same whichever
//!   hub sends it; the number of the event among those of that change. The same `(token, n)` again is a duplicate. So is
//!   whatever has a smaller `term` than an event that was heard a second ago or earlier: it comes from a hub that was
//!   frozen and does not know yet that it was replaced. (Sooner it may still be the last that a hub has sent before it
//!   handed over, on its way through another connection.)
//! - `{"hub":{"term":7,"gap":"5f0c.."}}`: changes were missed for good. One such event comes per setting, permission and
//!   role, all with the same `gap` (a UUID); a receiver that knows more than those reads everything again, once per `gap`.

mod embedded;
mod health;
mod leader;
mod lease;
mod metrics;
mod plan;
mod progress;
mod pump;
mod reach;
mod reads;
mod rules;
mod send;

use backplane::{Bus, Service};
use store::Store;
use tokio_util::sync::CancellationToken;

pub use health::{Health, Report};
pub use plan::Config;

/// Announces the store's changes until the shutdown.
pub async fn run(
    bus: Bus,
    store: Store,
    config: Config,
    health: Health,
    shutdown: CancellationToken,
) {
    metrics::describe();
    let inbox = bus.announce(Service {
        name: plan::SERVICE,
        actions: vec![],
        events: vec![],
    });
    match store.changes(None) {
        Ok(feed) => embedded::run(&bus, &store, feed, &shutdown).await,
        // A feed is what only the embedded store has.
        Err(_) => leader::run(&bus, &store, config, inbox, &health, &shutdown).await,
    }
    bus.withdraw(plan::SERVICE);
}
