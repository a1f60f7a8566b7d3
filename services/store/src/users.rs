//! Users and how they prove who they are.

use bson::{Bson, DateTime, Document, RawBsonRef, RawDocument, doc};

use crate::collection::Collection;
use crate::edit::{Edit, Update};
use crate::fields::USER_DOCUMENT_FIELDS;
use crate::lookup::Lookup;
use crate::{Error, Store, ejson};

/// What rules and presence need to know of a user.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct User {
    /// `_id`.
    pub id: String,
    /// Login name; absent until registration is complete.
    pub username: Option<String>,
    /// Display name.
    pub name: Option<String>,
    /// `type`: `user`, `bot`, `app`, ...
    pub kind: Option<String>,
    /// `false` only if deactivated: a missing field counts as active.
    pub active: bool,
    /// Workspace roles.
    pub roles: Vec<String>,
    /// What others see: `online`, `away`, `busy`, `offline`.
    pub status: Option<String>,
    /// What the user chose.
    pub status_default: Option<String>,
    /// Free text beside the status.
    pub status_text: Option<String>,
    /// What the connections alone say.
    pub status_connection: Option<String>,
}

/// A login token as it is kept: only its hash (services.md 2.3).
#[derive(Clone, Debug, PartialEq)]
pub struct LoginToken {
    /// Base64 of the SHA-256 of the clear token.
    pub hashed: String,
    /// When it was issued, in ms since 1970; personal access tokens have none and do not expire. A value that is no
    /// date counts as 1970, so that the token is expired.
    pub when: Option<i64>,
    /// `type`: `personalAccessToken`, or absent.
    pub kind: Option<String>,
}

/// Whose token it is.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenOwner {
    /// The user's `_id`.
    pub user: String,
    /// As [`User::active`].
    pub active: bool,
    /// The token that was looked for.
    pub token: LoginToken,
}

/// What a password login is checked against.
#[derive(Clone, Debug, PartialEq)]
pub struct PasswordHash {
    /// The user's `_id`.
    pub user: String,
    /// As [`User::active`].
    pub active: bool,
    /// bcrypt of the lower-case hex SHA-256 of the password.
    pub bcrypt: String,
    /// Whether a second factor (TOTP or e-mail) is switched on.
    pub has_second_factor: bool,
}

impl Store {
    /// Who holds the login token with this hash (services.md 2.3); reads one token, not all of the user's.
    pub async fn user_by_token_hash(&self, hashed: &str) -> Result<Option<TokenOwner>, Error> {
        let _ = hashed;
        todo!()
    }

    /// The user with this id.
    pub async fn user(&self, id: &str) -> Result<Option<User>, Error> {
        let _ = id;
        todo!()
    }

    /// The user with exactly this username, case-sensitive.
    pub async fn user_by_username(&self, username: &str) -> Result<Option<User>, Error> {
        let _ = username;
        todo!()
    }

    /// Every user, in no particular order; for workspaces known to be small.
    pub async fn users(&self) -> Result<Vec<User>, Error> {
        todo!()
    }

    /// The users that have one of these roles, by username (services.md 3.12).
    pub async fn users_with_roles(&self, roles: &[String]) -> Result<Vec<User>, Error> {
        let _ = roles;
        todo!()
    }

    /// The password hash of the user with exactly this username; `None` too if there is no password.
    pub async fn password_hash(&self, username: &str) -> Result<Option<PasswordHash>, Error> {
        let _ = username;
        todo!()
    }

    /// The user's own document as clients get it after login (streams.md 6.3), as EJSON object text with `_id`.
    pub async fn user_document(&self, id: &str) -> Result<Option<String>, Error> {
        let _ = id;
        todo!()
    }

    /// The user's login tokens as stored, for the `diff` of `watch.users`.
    pub async fn login_tokens(&self, user: &str) -> Result<Vec<Document>, Error> {
        let _ = user;
        todo!()
    }

    /// For each (user id, token hash) whether that user still holds that token and is not deactivated.
    pub async fn has_login_token(&self, pairs: &[(&str, &str)]) -> Result<Vec<bool>, Error> {
        let _ = pairs;
        todo!()
    }

    /// Adds a login token; whether the user exists.
    pub async fn push_login_token(&self, user: &str, token: &LoginToken) -> Result<bool, Error> {
        let _ = (user, token);
        todo!()
    }

    /// Removes a login token; whether the user held it.
    pub async fn pull_login_token(&self, user: &str, hashed: &str) -> Result<bool, Error> {
        let _ = (user, hashed);
        todo!()
    }

    /// Writes presence fields of a user without moving `_updatedAt` (services.md 4.5); whether anything changed.
    pub async fn set_user_status(&self, user: &str, update: Update) -> Result<bool, Error> {
        let _ = (user, update);
        todo!()
    }

    /// Adds a user and returns the `_id`, made up if the document has none.
    pub async fn insert_user(&self, document: Document) -> Result<String, Error> {
        self.insert(Collection::Users, document).await
    }

    /// Changes a user; whether it exists.
    pub async fn update_user(&self, id: &str, update: Update) -> Result<bool, Error> {
        let _ = (id, update);
        todo!()
    }
}
