//! The demo workspace: a handful of people and rooms, made once in an empty store.

use sha2::{Digest as _, Sha256};
use store::{
    Error, Store, User,
    bson::{Bson, Document, doc},
};

use super::rooms::{direct_room_id, room, subscription};

/// A person of the demo; the password is the name.
pub(super) struct Demo {
    pub(super) id: &'static str,
    pub(super) username: &'static str,
    name: &'static str,
    roles: &'static [&'static str],
}

const fn demo(
    id: &'static str,
    username: &'static str,
    name: &'static str,
    roles: &'static [&'static str],
) -> Demo {
    Demo {
        id,
        username,
        name,
        roles,
    }
}

pub(super) const USERS: [Demo; 4] = [
    demo("demo-alice", "alice", "Alice Ashford", &["user", "admin"]),
    demo("demo-bob", "bob", "Bob Baker", &["user"]),
    demo("demo-carol", "carol", "Carol Castle", &["user"]),
    demo("demo-dave", "dave", "Dave Dunn", &["user"]),
];

/// id, kind, name, members by index into `USERS`; the first one owns it.
const ROOMS: [(&str, &str, &str, &[usize]); 3] = [
    ("GENERAL", "c", "general", &[0, 1, 2, 3]),
    ("demo-random", "c", "random", &[1, 0]),
    ("demo-secret", "p", "secret-plans", &[0, 1]),
];

/// Permission and roles, as far as anything here asks.
const PERMISSIONS: [(&str, &[&str]); 15] = [
    ("view-c-room", &["admin", "user", "bot", "anonymous"]),
    ("view-p-room", &["admin", "user", "guest"]),
    ("view-d-room", &["admin", "user", "guest"]),
    ("view-joined-room", &["admin", "user", "guest", "bot"]),
    ("preview-c-room", &["admin", "user", "anonymous"]),
    ("create-c", &["admin", "user", "bot"]),
    ("create-p", &["admin", "user", "bot"]),
    ("create-d", &["admin", "user", "bot"]),
    ("add-user-to-joined-room", &["admin", "owner", "moderator"]),
    ("remove-user", &["admin", "owner", "moderator"]),
    ("delete-message", &["admin", "owner", "moderator"]),
    ("view-privileged-setting", &["admin"]),
    ("edit-privileged-setting", &["admin"]),
    ("manage-selected-settings", &["admin"]),
    ("view-logs", &["admin"]),
];

const ROLES: [(&str, &str); 7] = [
    ("admin", "Users"),
    ("user", "Users"),
    ("bot", "Users"),
    ("guest", "Users"),
    ("anonymous", "Users"),
    ("owner", "Subscriptions"),
    ("moderator", "Subscriptions"),
];

/// The demo passwords protect nothing: the cheapest cost keeps the first start under a second.
const BCRYPT_COST: u32 = 4;

/// Fills the store unless it holds users already. Users come last, so that a fill that was cut short is done again.
///
/// # Errors
/// The store refused a write.
pub(super) async fn fill(store: &Store) -> Result<(), Error> {
    if store.user(USERS[USERS.len() - 1].id).await?.is_some() {
        return Ok(());
    }
    for (id, roles) in PERMISSIONS {
        ignore_present(
            store
                .insert_permission(doc! { "_id": id, "roles": texts(roles) })
                .await,
        )?;
    }
    for (id, scope) in ROLES {
        ignore_present(store.insert_role(doc! { "_id": id, "name": id, "scope": scope, "description": "", "protected": true }).await)?;
    }
    for setting in settings() {
        ignore_present(store.insert_setting(setting).await)?;
    }
    for (id, kind, name, members) in ROOMS {
        let mut document = room(
            kind,
            Some(name),
            Some(&person(&USERS[members[0]])),
            members.len(),
        );
        document.insert("_id", id);
        if id == "GENERAL" {
            document.insert("default", true);
        }
        ignore_present(store.insert_room(document).await)?;
        for (position, member) in members.iter().enumerate() {
            let roles: &[&str] = if position == 0 { &["owner"] } else { &[] };
            ignore_present(
                store
                    .insert_subscription(subscription(
                        id,
                        kind,
                        Some(name),
                        &person(&USERS[*member]),
                        roles,
                    ))
                    .await,
            )?;
        }
    }
    direct(store, &USERS[0], &USERS[1]).await?;
    for user in &USERS {
        ignore_present(store.insert_user(account(user)).await)?;
    }
    Ok(())
}

/// A fill that was cut short left some of it behind.
fn ignore_present(inserted: Result<String, Error>) -> Result<(), Error> {
    match inserted {
        Err(error) if error.kind() == store::ErrorKind::Conflict => Ok(()),
        other => other.map(|_| ()),
    }
}

async fn direct(store: &Store, a: &Demo, b: &Demo) -> Result<(), Error> {
    let id = direct_room_id(a.id, b.id);
    let mut document = room("d", None, None, 2);
    document.insert("_id", &id);
    document.insert("uids", texts(&[a.id, b.id]));
    document.insert("usernames", texts(&[a.username, b.username]));
    ignore_present(store.insert_room(document).await)?;
    for (user, peer) in [(a, b), (b, a)] {
        ignore_present(
            store
                .insert_subscription(subscription(
                    &id,
                    "d",
                    Some(peer.username),
                    &person(user),
                    &[],
                ))
                .await,
        )?;
    }
    Ok(())
}

fn person(demo: &Demo) -> User {
    User {
        id: demo.id.to_owned(),
        username: Some(demo.username.to_owned()),
        name: Some(demo.name.to_owned()),
        ..User::default()
    }
}

fn account(demo: &Demo) -> Document {
    let digest: String = Sha256::digest(demo.username)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let bcrypt = bcrypt::hash(digest, BCRYPT_COST).expect("the cost is within what bcrypt takes");
    doc! {
        "_id": demo.id,
        "username": demo.username,
        "name": demo.name,
        "type": "user",
        "active": true,
        "roles": texts(demo.roles),
        "status": "offline",
        "statusConnection": "offline",
        "statusDefault": "online",
        "emails": [{ "address": format!("{}@example.org", demo.username), "verified": true }],
        "services": { "password": { "bcrypt": bcrypt }, "resume": { "loginTokens": [] } },
    }
}

fn settings() -> Vec<Document> {
    [
        ("Accounts_LoginExpiration", Bson::Int32(90), false),
        ("Accounts_AllowAnonymousRead", Bson::Boolean(false), true),
        ("Site_Name", Bson::from("ddp-edge sandbox"), true),
        ("UI_Use_Real_Name", Bson::Boolean(false), true),
        ("Message_MaxAllowedSize", Bson::Int32(5_000), true),
        ("Message_AllowEditing", Bson::Boolean(true), true),
        ("Message_AllowDeleting", Bson::Boolean(true), true),
        ("Presence_broadcast_disabled", Bson::Boolean(false), true),
    ]
    .into_iter()
    .map(|(id, value, public)| doc! { "_id": id, "value": value, "public": public, "hidden": false, "blocked": false })
    .collect()
}

fn texts(list: &[&str]) -> Vec<Bson> {
    list.iter().copied().map(Bson::from).collect()
}
