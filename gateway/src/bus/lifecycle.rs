//! What the workspace hears of our connections (gateway.md 1.8, services.md 6): broadcasts, presence, the `instances`
//! document. Nothing here makes a client wait.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use backplane::CallOptions;
use protocol::ddp::encode;
use store::bson::doc;
use uuid::Uuid;

use super::{Core, connections::Key};
use crate::{
    access::quoted,
    link::{Caller, Connection, Ticket, ToShard, User},
    metrics,
};

/// The number of connections is written with every third update at most.
const COUNT_EVERY: u32 = 3;

/// Interval in which readiness is compared with the bus.
const STATE_EVERY: Duration = Duration::from_millis(250);

/// `users` documents read at the same time. In a login storm more would only wait in the database, each with a driver's
/// large future around it, and nobody waits for this document.
pub(crate) const DOCUMENTS_AT_ONCE: usize = 32;

/// This process in the `instances` collection.
pub(crate) struct Instance {
    id: String,
    node: String,
    /// The number of connections has changed since it was written.
    changed: Cell<bool>,
}

impl Instance {
    pub(crate) fn new(node: &str) -> Self {
        Self {
            id: Uuid::new_v4().to_string(),
            node: node.to_owned(),
            changed: Cell::new(true),
        }
    }
}

/// A websocket is open.
pub(crate) fn opened(core: &Core, connection: &Arc<Connection>) {
    core.connections.borrow_mut().open(Key::from(&**connection));
    core.instance.changed.set(true);
    core.bus.broadcast(
        "socket.connected",
        &format!("[{}]", object(connection, None)),
    );
}

/// It is gone.
pub(crate) fn closed(core: &Rc<Core>, caller: &Caller) {
    let key = Key::from(caller);
    core.access.grants.borrow_mut().close(key);
    let open = core.connections.borrow_mut().close(key);
    core.instance.changed.set(true);
    let user = open.as_ref().and_then(|open| open.user.as_deref());
    core.bus.broadcast(
        "socket.disconnected",
        &format!("[{}]", object(&caller.connection, user)),
    );
    let Some(open) = open else { return };
    for user in &open.follows {
        core.rooms_changed.borrow_mut().unsubscribed(user);
    }
    if let Some(user) = &open.user
        && open.announcing == 0
    {
        presence(core, "presence.removeConnection", user, &caller.connection);
    }
    if let Some(token) = open.guest_token {
        let core_ = core.clone();
        core.spawn(async move {
            let params = format!("[{},\"offline\"]", quoted(&token));
            let _ = core_
                .bus
                .call(
                    "meteor.notifyGuestStatusChanged",
                    &params,
                    CallOptions::default(),
                )
                .await;
        });
    }
}

/// Somebody has logged in: everything that follows the answer, in the order of the original. Nothing if the socket is
/// gone.
pub(crate) fn logged_in(core: &Rc<Core>, ticket: Ticket, caller: &Caller, user: &Arc<User>) {
    let key = Key::from(caller);
    let before = {
        let mut connections = core.connections.borrow_mut();
        let Some(before) = connections.log_in(key, user) else {
            return;
        };
        if let Some(open) = connections.get_mut(key) {
            open.announcing += 1;
        }
        before
    };
    if let Some(before) = before.filter(|before| before.id != user.id) {
        presence(
            core,
            "presence.removeConnection",
            &before,
            &caller.connection,
        );
    }
    // Subscriptions made before stay, if the rules allow them to the user there is now.
    let moved = core.access.grants.borrow_mut().change_user(key, &user.id);
    core.access.rejudge.soon(moved);
    core.instance.changed.set(true);
    let (core, connection, user) = (core.clone(), caller.connection.clone(), user.clone());
    core.clone().spawn(async move {
        let params = presence_params(&core, &user, &connection);
        let announced = core
            .bus
            .call("presence.newConnection", &params, CallOptions::default())
            .await;
        if let Err(error) = announced {
            core.complaints
                .warn("presence does not know of a connection", &error);
        }
        let still_there = {
            let mut connections = core.connections.borrow_mut();
            if let Some(open) = connections.get_mut(key) {
                open.announcing -= 1;
            }
            connections.is_logged_in(key, &user.id)
        };
        if !still_there {
            presence(&core, "presence.removeConnection", &user, &connection);
            return;
        }
        let id = user.id.clone();
        let document = {
            let _turn = core.documents.acquire().await;
            core.ask_store(|store| async move { store.user_document(&id).await })
                .await
        };
        if let Ok(Some(fields)) = document {
            let messages = vec![encode::added("users", &user.id, &fields)];
            core.outgoing
                .borrow_mut()
                .post(ticket.shard, ToShard::Documents { ticket, messages });
        }
        let login = format!(
            "[{{\"userId\":{},\"connection\":{}}}]",
            quoted(&user.id),
            object(&connection, Some(&user))
        );
        core.bus.broadcast("accounts.login", &login);
    });
}

/// Somebody has logged out, logged in before or not.
pub(crate) fn logged_out(core: &Rc<Core>, caller: &Caller) {
    let key = Key::from(caller);
    let (user, announcing) = {
        let mut connections = core.connections.borrow_mut();
        let user = connections.log_out(key);
        (
            user,
            connections
                .get_mut(key)
                .is_some_and(|open| open.announcing > 0),
        )
    };
    let id = user.as_ref().map_or_else(String::new, |user| {
        format!("\"userId\":{},", quoted(&user.id))
    });
    let connection = object(&caller.connection, user.as_deref());
    core.bus.broadcast(
        "accounts.logout",
        &format!("[{{{id}\"connection\":{connection}}}]"),
    );
    core.instance.changed.set(true);
    if let Some(user) = user.filter(|_| !announcing) {
        presence(core, "presence.removeConnection", &user, &caller.connection);
    }
}

/// A message arrived from a client that is logged in.
pub(crate) fn activity(core: &Rc<Core>, caller: &Caller) {
    if let Some(user) = &caller.user {
        let params = format!("[{},{}]", quoted(&user.id), quoted(&caller.connection.id));
        let core_ = core.clone();
        core.spawn(async move {
            // Older presence services do not have it.
            let _ = core_
                .bus
                .call("presence.updateConnection", &params, CallOptions::default())
                .await;
        });
    }
}

fn presence(core: &Rc<Core>, action: &'static str, user: &User, connection: &Connection) {
    let params = presence_params(core, user, connection);
    let core_ = core.clone();
    core.spawn(async move {
        if let Err(error) = core_
            .bus
            .call(action, &params, CallOptions::default())
            .await
        {
            core_.complaints.warn("presence was not told", &error);
        }
    });
}

fn presence_params(core: &Core, user: &User, connection: &Connection) -> String {
    format!(
        "[{},{},{}]",
        quoted(&user.id),
        quoted(&connection.id),
        quoted(core.bus.node_id())
    )
}

/// The connection object of the broadcasts.
fn object(connection: &Connection, user: Option<&User>) -> String {
    let mut text = format!(
        "{{\"id\":{},\"instanceId\":{}",
        quoted(&connection.id),
        quoted(&connection.instance)
    );
    if let Some(address) = connection.address {
        text.push_str(&format!(
            ",\"clientAddress\":\"{}\"",
            address.to_canonical()
        ));
    }
    text.push_str(",\"httpHeaders\":");
    text.push_str(&connection.headers);
    if let Some(user) = user {
        text.push_str(&format!(",\"loginToken\":{}", quoted(&user.hashed_token)));
    }
    text.push('}');
    text
}

/// Keeps our document in `instances`, for as long as the bus thread runs.
pub(crate) async fn run_instance(core: Rc<Core>) {
    let instance = store::Instance {
        id: core.instance.id.clone(),
        name: "ddp-streamer".to_owned(),
        pid: std::process::id(),
        extra: doc! { "nodeId": &core.instance.node },
    };
    let mut known = false;
    let mut turn = 0_u32;
    loop {
        if !known {
            let instance = instance.clone();
            known = core
                .ask_store(|store| async move { store.register_instance(&instance).await })
                .await
                .is_ok();
            core.instance.changed.set(true);
        } else {
            let id = core.instance.id.clone();
            let ping = core
                .ask_store(|store| async move { store.instance_ping(&id).await })
                .await;
            known = ping != Ok(false);
        }
        if known && turn.is_multiple_of(COUNT_EVERY) && core.instance.changed.replace(false) {
            let (id, sockets) = (core.instance.id.clone(), core.connections.borrow().len());
            let sockets = u32::try_from(sockets).unwrap_or(u32::MAX);
            let _ = core
                .ask_store(|store| async move { store.instance_connections(&id, sockets).await })
                .await;
        }
        turn = turn.wrapping_add(1);
        tokio::time::sleep(core.config.instance_ping).await;
    }
}

/// Keeps readiness true to the bus.
pub(crate) async fn watch_state(core: Rc<Core>) {
    loop {
        let status = core.bus.status();
        core.readiness.set_bus(status.connected);
        core.readiness.set_announced(status.announced);
        core.readiness.set_monolith(core.bus.has_service("meteor"));
        let (known, online) = core.bus.node_count();
        metrics::bus(&core.bus.stats(), known, online);
        metrics::grants(core.access.grants.borrow().len());
        tokio::time::sleep(STATE_EVERY).await;
    }
}

/// Takes our document back, after the sockets are gone.
pub(crate) async fn leave(core: &Rc<Core>) {
    let id = core.instance.id.clone();
    let _ = core
        .ask_store(|store| async move { store.remove_instance(&id).await })
        .await;
    core.bus.withdraw(super::SERVICE);
}
