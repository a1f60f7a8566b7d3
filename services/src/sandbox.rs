//! A small demo workspace on the embedded store, behind the same `meteor.callMethodWithToken` as the real monolith.
//! It shows the gateway; it does not rebuild Rocket.Chat. Writes go through the store, so that stream-hub, not the
//! method, makes the `watch.*` events: the real data path.

mod args;
mod members;
mod messages;
mod rooms;
mod seed;
mod settings;
mod web;
mod workspace;

use std::sync::Arc;

use backplane::{Bus, Service};
use store::{Store, Update, bson::doc};
use tokio_util::sync::CancellationToken;

pub use self::web::{Web, web};
use self::workspace::Workspace;
use crate::serve::serve;

/// Methods run at the same time; more wait on the bus.
const CONCURRENT: usize = 64;

/// Makes the store ready before anybody connects: fills an empty one, and forgets the sockets of an earlier process,
/// whether that could say goodbye or not.
///
/// # Errors
/// The store refused a read or a write.
pub async fn prepare(store: &Store) -> Result<(), store::Error> {
    seed::fill(store).await?;
    for user in store.remove_nodes_except(&[]).await? {
        let offline = doc! { "status": "offline", "statusConnection": "offline" };
        store.set_user_status(&user, Update::set(offline)).await?;
    }
    Ok(())
}

/// Serves `meteor` until the shutdown, from a store that was [prepared](prepare).
pub async fn run(bus: Bus, store: Store, shutdown: CancellationToken) {
    let inbox = bus.announce(Service {
        name: "meteor",
        actions: vec![
            "meteor.callMethodWithToken",
            "meteor.getAutoUpdateClientVersions",
            "meteor.getLoginServiceConfiguration",
        ],
        events: vec![],
    });
    let workspace = Arc::new(Workspace::new(bus, store));
    serve(workspace, inbox, "meteor", CONCURRENT, &shutdown).await;
}

/// What a newcomer reads in the terminal.
#[must_use]
pub fn welcome(port: u16, data: &str) -> String {
    let users: Vec<_> = seed::USERS
        .iter()
        .map(|user| format!("{0}/{0}", user.username))
        .collect();
    format!(
        "\n  ddp-edge sandbox: gateway, accounts, authorization, presence, stream-hub and a demo workspace, {data}\n\n  \
         Open           http://localhost:{port}/ in two tabs, log in as two people, and write.\n  \
         Demo logins    {} (name/password)\n  \
         DDP clients    ws://localhost:{port}/websocket, SockJS at http://localhost:{port}/sockjs\n  \
         Health         http://localhost:{port}/readyz\n  \
         Stop           Ctrl-C; on real servers: ddp-edge gateway --help\n",
        users.join("  ")
    )
}
