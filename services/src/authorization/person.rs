//! Somebody who is asked about.

use std::collections::HashMap;

use backplane::ServiceError;
use store::Store;
use tokio::sync::OnceCell;

use super::reads::Reads;
use crate::errors::{plain, unavailable};

/// What one question needs to know about one user: each thing is read once, when it is first needed. Nothing of it
/// outlives the question: a role or a membership that is remembered is one that somebody keeps after losing it, for as
/// long as the news takes to reach this process.
pub(super) struct Person<'a> {
    store: &'a Store,
    reads: &'a Reads,
    pub(super) id: &'a str,
    /// `None` inside: there is no such user.
    roles: OnceCell<Option<Vec<String>>>,
    /// What was read ahead: whether they are a member of a room.
    joined: HashMap<String, bool>,
}

impl<'a> Person<'a> {
    pub(super) fn new(store: &'a Store, reads: &'a Reads, id: &'a str) -> Self {
        Self {
            store,
            reads,
            id,
            roles: OnceCell::new(),
            joined: HashMap::new(),
        }
    }

    /// Their own roles; unknown users have none.
    pub(super) async fn roles(&self) -> Result<&[String], ServiceError> {
        let roles = self.user().await?;
        Ok(roles.as_deref().unwrap_or_default())
    }

    /// # Errors
    /// There is no such user.
    pub(super) async fn must_exist(&self) -> Result<(), ServiceError> {
        match self.user().await? {
            Some(_) => Ok(()),
            None => Err(plain("User not found")),
        }
    }

    pub(super) async fn is_member(&self, room: &str) -> Result<bool, ServiceError> {
        if let Some(joined) = self.joined.get(room) {
            return Ok(*joined);
        }
        let subscription = self.store.subscription(room, self.id).await;
        Ok(subscription.map_err(unavailable)?.is_some())
    }

    /// Takes over what was read ahead.
    pub(super) fn is_known_to_be_member(&mut self, room: &str, joined: bool) {
        self.joined.insert(room.to_owned(), joined);
    }

    async fn user(&self) -> Result<&Option<Vec<String>>, ServiceError> {
        let read = || self.reads.roles(self.id);
        self.roles.get_or_try_init(read).await
    }
}
