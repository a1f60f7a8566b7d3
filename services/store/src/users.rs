//! Users and how they prove who they are.

use std::collections::{HashMap, HashSet};

use bson::{DateTime, Document, RawBsonRef, RawDocument};

use crate::attributes::{ATTRIBUTES, Attributes};
use crate::collection::Collection;
use crate::edit::{Edit, Update};
use crate::fields::{LOGIN_TOKENS, USER_DOCUMENT_FIELDS, login_tokens};
use crate::lookup::Lookup;
use crate::{Error, Store, date, ejson, raw};

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
    /// Who holds the login token with this hash.
    pub async fn user_by_token_hash(&self, hashed: &str) -> Result<Option<TokenOwner>, Error> {
        let mut owners = self.token_owners(&[hashed.to_owned()]).await?;
        Ok(owners.remove(hashed))
    }

    /// Who holds the login tokens with these hashes (services.md 2.3), by hash. For one of them a single token is read, for
    /// several what identifies all tokens of their holders.
    pub async fn token_owners(
        &self,
        hashes: &[String],
    ) -> Result<HashMap<String, TokenOwner>, Error> {
        let users = match hashes {
            [hashed] => {
                self.find(Lookup::UserByTokenHash(hashed), &["active", LOGIN_TOKENS])
                    .await?
            }
            hashes => {
                let hashes: Vec<&str> = hashes.iter().map(String::as_str).collect();
                self.find(Lookup::UsersByTokenHashes(&hashes), TOKEN_FIELDS)
                    .await?
            }
        };
        let wanted: HashSet<&str> = hashes.iter().map(String::as_str).collect();
        let mut owners = HashMap::new();
        for user in &users {
            // Somebody without a usable id is nobody.
            let Some(id) = raw::name(user, "_id") else {
                continue;
            };
            for token in login_tokens(user) {
                let Ok(hashed) = token.get_str("hashedToken") else {
                    continue;
                };
                if wanted.contains(hashed) {
                    let owner = || TokenOwner {
                        user: id.clone(),
                        active: is_active(user),
                        token: LoginToken {
                            hashed: hashed.into(),
                            when: token.get("when").ok().flatten().map(issued),
                            kind: raw::text(token, "type"),
                        },
                    };
                    owners.entry(hashed.to_owned()).or_insert_with(owner);
                }
            }
        }
        Ok(owners)
    }

    /// The user with this id.
    pub async fn user(&self, id: &str) -> Result<Option<User>, Error> {
        Ok(self
            .find_one(Lookup::Id(Collection::Users, id), USER_FIELDS)
            .await?
            .map(|user| User::of(&user)))
    }

    /// The roles of those of these users that exist, by id.
    pub async fn roles_of_users(
        &self,
        ids: &[String],
    ) -> Result<HashMap<String, Vec<String>>, Error> {
        let lookup = Lookup::Ids(Collection::Users, ids);
        let users = self.find(lookup, &["roles"]).await?;
        Ok(users
            .iter()
            .filter_map(|user| Some((raw::text(user, "_id")?, raw::texts(user, "roles"))))
            .collect())
    }

    /// The attributes of a user; `None` if there is no such user.
    pub async fn user_attributes(&self, id: &str) -> Result<Option<Attributes>, Error> {
        let user = self
            .find_one(Lookup::Id(Collection::Users, id), &[ATTRIBUTES])
            .await?;
        Ok(user.map(|user| Attributes::of(&user)))
    }

    /// The user with exactly this username, case-sensitive.
    pub async fn user_by_username(&self, username: &str) -> Result<Option<User>, Error> {
        Ok(self
            .find_one(Lookup::UserByUsername(username), USER_FIELDS)
            .await?
            .map(|user| User::of(&user)))
    }

    /// Every user, in no particular order; for workspaces known to be small.
    pub async fn users(&self) -> Result<Vec<User>, Error> {
        let users = self
            .find(Lookup::All(Collection::Users), USER_FIELDS)
            .await?;
        Ok(users.iter().map(|user| User::of(user)).collect())
    }

    /// The users that have one of these roles, by username (services.md 3.12).
    pub async fn users_with_roles(&self, roles: &[String]) -> Result<Vec<User>, Error> {
        let users = self
            .find(Lookup::UsersWithRoles(roles), USER_FIELDS)
            .await?;
        Ok(users.iter().map(|user| User::of(user)).collect())
    }

    /// The password hash of the user with exactly this username; `None` too if there is no password.
    pub async fn password_hash(&self, username: &str) -> Result<Option<PasswordHash>, Error> {
        let fields = &[
            "active",
            "services.password.bcrypt",
            "services.totp.enabled",
            "services.email2fa.enabled",
        ];
        let Some(user) = self
            .find_one(Lookup::UserByUsername(username), fields)
            .await?
        else {
            return Ok(None);
        };
        let service = |name| user.get_document("services").ok()?.get_document(name).ok();
        let is_enabled = |name| {
            service(name).is_some_and(|service| service.get_bool("enabled").unwrap_or(false))
        };
        Ok(service("password")
            .and_then(|password| raw::text(password, "bcrypt"))
            .zip(raw::name(&user, "_id"))
            .map(|(bcrypt, id)| PasswordHash {
                user: id,
                active: is_active(&user),
                bcrypt,
                has_second_factor: is_enabled("totp") || is_enabled("email2fa"),
            }))
    }

    /// The user's own document as clients get it after login (streams.md 6.3), as EJSON object text with `_id`.
    pub async fn user_document(&self, id: &str) -> Result<Option<String>, Error> {
        let mut documents = self.user_documents(&[id.to_owned()]).await?;
        Ok(documents.pop().flatten())
    }

    /// As [`Self::user_document`] for each of these ids, in one read for each hundred.
    pub async fn user_documents(&self, ids: &[String]) -> Result<Vec<Option<String>>, Error> {
        let mut documents = Vec::with_capacity(ids.len());
        for ids in ids.chunks(DOCUMENT_CHUNK) {
            let lookup = Lookup::Ids(Collection::Users, ids);
            let mut texts = HashMap::new();
            for user in self.find(lookup, USER_DOCUMENT_FIELDS).await? {
                if let Some(id) = raw::text(&user, "_id") {
                    texts.insert(id, ejson::raw_to_text(&user)?);
                }
            }
            documents.extend(ids.iter().map(|id| texts.get(id).cloned()));
        }
        Ok(documents)
    }

    /// The user's login tokens as stored, for the `diff` of `watch.users`.
    pub async fn login_tokens(&self, user: &str) -> Result<Vec<Document>, Error> {
        let user = self
            .find_one(Lookup::Id(Collection::Users, user), &[LOGIN_TOKENS])
            .await?;
        user.iter()
            .flat_map(|user| login_tokens(user))
            .map(raw::document)
            .collect()
    }

    /// For each (user id, token hash) whether that user still holds that token and is not deactivated.
    pub async fn has_login_token(&self, pairs: &[(&str, &str)]) -> Result<Vec<bool>, Error> {
        let fields = &["active", LOGIN_TOKEN_HASHES];
        let mut users = Vec::new();
        for pairs in pairs.chunks(LOOKUP_CHUNK) {
            let hashes: Vec<&str> = pairs.iter().map(|(_, hashed)| *hashed).collect();
            users.extend(
                self.find(Lookup::UsersByTokenHashes(&hashes), fields)
                    .await?,
            );
        }
        let mut held: HashSet<(&str, &str)> = HashSet::new();
        for user in users.iter().filter(|user| is_active(user)) {
            let Ok(id) = user.get_str("_id") else {
                continue;
            };
            let hashes = login_tokens(user).filter_map(|token| token.get_str("hashedToken").ok());
            held.extend(hashes.map(|hashed| (id, hashed)));
        }
        Ok(pairs.iter().map(|pair| held.contains(pair)).collect())
    }

    /// Adds a login token; whether the user exists.
    pub async fn push_login_token(&self, user: &str, token: &LoginToken) -> Result<bool, Error> {
        let mut document = Document::new();
        if let Some(when) = token.when {
            document.insert("when", DateTime::from_millis(when));
        }
        document.insert("hashedToken", &token.hashed);
        if let Some(kind) = &token.kind {
            document.insert("type", kind);
        }
        let edited = self
            .edit(
                Lookup::Id(Collection::Users, user),
                Edit::PushLoginToken(document),
            )
            .await?;
        Ok(edited.found > 0)
    }

    /// Removes a login token; whether the user held it.
    pub async fn pull_login_token(&self, user: &str, hashed: &str) -> Result<bool, Error> {
        let edited = self
            .edit(
                Lookup::UserWithToken { user, hashed },
                Edit::PullLoginToken(hashed.into()),
            )
            .await?;
        Ok(edited.found > 0)
    }

    /// Writes presence fields of a user without moving `_updatedAt` (services.md 4.5); whether anything changed.
    pub async fn set_user_status(&self, user: &str, update: Update) -> Result<bool, Error> {
        let edited = self
            .edit(Lookup::Id(Collection::Users, user), Edit::RawFields(update))
            .await?;
        Ok(edited.changed > 0)
    }

    /// Adds a user and returns the `_id`, made up if the document has none. A username or a token hash that somebody
    /// has already is a conflict.
    pub async fn insert_user(&self, document: Document) -> Result<String, Error> {
        self.insert(Collection::Users, document).await
    }

    /// Changes a user; whether it exists.
    pub async fn update_user(&self, id: &str, update: Update) -> Result<bool, Error> {
        let edited = self
            .edit(Lookup::Id(Collection::Users, id), Edit::Fields(update))
            .await?;
        Ok(edited.found > 0)
    }
}

impl User {
    fn of(document: &RawDocument) -> Self {
        Self {
            id: raw::text(document, "_id").unwrap_or_default(),
            username: raw::text(document, "username"),
            name: raw::text(document, "name"),
            kind: raw::text(document, "type"),
            active: is_active(document),
            roles: raw::texts(document, "roles"),
            status: raw::text(document, "status"),
            status_default: raw::text(document, "statusDefault"),
            status_text: raw::text(document, "statusText"),
            status_connection: raw::text(document, "statusConnection"),
        }
    }
}

const LOGIN_TOKEN_HASHES: &str = "services.resume.loginTokens.hashedToken";

/// What a token is judged by, without the rest that a user has.
const TOKEN_FIELDS: &[&str] = &[
    "active",
    LOGIN_TOKEN_HASHES,
    "services.resume.loginTokens.when",
    "services.resume.loginTokens.type",
];

const USER_FIELDS: &[&str] = &[
    "username",
    "name",
    "type",
    "active",
    "roles",
    "status",
    "statusDefault",
    "statusText",
    "statusConnection",
];

/// How many documents one query asks for: MongoDB sends so many (and one more) without being asked again.
const DOCUMENT_CHUNK: usize = 100;

/// How many token hashes one query asks for: a sweep over 10,000 sockets stays ten small queries.
const LOOKUP_CHUNK: usize = 1_000;

fn is_active(user: &RawDocument) -> bool {
    !matches!(user.get("active"), Ok(Some(RawBsonRef::Boolean(false))))
}

/// When a token was issued, in ms: a date, or in very old data a number or a text, as JavaScript's `Date` reads them.
fn issued(when: RawBsonRef<'_>) -> i64 {
    let ms = match when {
        RawBsonRef::DateTime(date) => Some(date.timestamp_millis()),
        RawBsonRef::Int32(ms) => Some(ms.into()),
        RawBsonRef::Int64(ms) => Some(ms),
        RawBsonRef::Double(ms) if ms.is_finite() => Some(ms as i64),
        RawBsonRef::String(text) => date::parse(text),
        _ => None,
    };
    ms.filter(|ms| ms.abs() <= date::MAX_MS).unwrap_or(0)
}
