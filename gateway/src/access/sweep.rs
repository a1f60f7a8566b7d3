//! Compares who is logged in with the store, because not every logout is announced (design.md 3.9).

use std::{rc::Rc, sync::Arc};

use hashbrown::HashSet;

use super::Unknown;
use crate::{bus::Core, link::ToShard, metrics};
use protocol::close::CloseReason;

/// Logins compared in one read.
const CHUNK: usize = 500;

/// Sweeps for as long as the bus thread runs.
pub(crate) async fn run(core: Rc<Core>) {
    loop {
        tokio::time::sleep(core.config.sweep_every).await;
        let logins = core.connections.borrow().logins();
        if check(&core, logins).await == Err(Unknown) {
            tracing::warn!("the sweep of logins could not read the store");
        }
    }
}

/// Looks whether one user's tokens still exist.
pub(crate) async fn check_user(core: &Rc<Core>, user: &Arc<str>) -> Result<(), Unknown> {
    let tokens = core.connections.borrow().tokens(user);
    check(
        core,
        tokens
            .into_iter()
            .map(|token| (user.clone(), token))
            .collect(),
    )
    .await
}

async fn check(core: &Rc<Core>, logins: HashSet<(Arc<str>, String)>) -> Result<(), Unknown> {
    let logins: Vec<_> = logins.into_iter().collect();
    for chunk in logins.chunks(CHUNK) {
        let asked = chunk.to_vec();
        let held = core
            .ask_store(|store| async move {
                let pairs: Vec<(&str, &str)> = asked
                    .iter()
                    .map(|(user, token)| (&**user, token.as_str()))
                    .collect();
                store.has_login_token(&pairs).await
            })
            .await?;
        for ((user, token), held) in chunk.iter().zip(held) {
            // The end of the logout looks at the other sockets with this token.
            if !held && !core.connections.borrow().is_leaving(user, token) {
                close_logins(core, user, Some(token));
            }
        }
    }
    Ok(())
}

/// Closes the sockets of a user (those with one token), after what is queued: the next `login` gets its refusal.
pub(crate) fn close_logins(core: &Core, user: &Arc<str>, hashed_token: Option<&String>) {
    metrics::revoked("login");
    let shards = core.connections.borrow().shards(user);
    core.outgoing
        .borrow_mut()
        .post_each(shards, || ToShard::CloseUser {
            user: user.clone(),
            connection: None,
            hashed_token: hashed_token.cloned(),
            reason: CloseReason::Revoked,
        });
}
