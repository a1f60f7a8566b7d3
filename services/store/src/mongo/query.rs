//! Lookups as MongoDB's filters. `tests/contract/` asks `explain` which index each of them uses.

use bson::{DateTime, Document, doc};

use crate::lookup::Lookup;
use crate::users::LOGIN_TOKENS;

pub(super) struct Query {
    pub(super) filter: Document,
    pub(super) sort: Option<Document>,
    pub(super) limit: Option<i64>,
}

/// The match over all lookups is the table of the queries.
pub(super) fn query(lookup: Lookup<'_>) -> Query {
    let all = |filter| Query {
        filter,
        sort: None,
        limit: None,
    };
    let one = |filter| Query {
        filter,
        sort: None,
        limit: Some(1),
    };
    match lookup {
        Lookup::All(_) => all(doc! {}),
        Lookup::Id(_, id) => one(doc! { "_id": id }),
        Lookup::Ids(_, ids) => all(doc! { "_id": { "$in": ids } }),
        Lookup::UserByTokenHash(hashed) => {
            one(doc! { "services.resume.loginTokens.hashedToken": hashed })
        }
        Lookup::UsersByTokenHashes(hashes) => {
            all(doc! { "services.resume.loginTokens.hashedToken": { "$in": hashes } })
        }
        Lookup::UserWithToken { user, hashed } => one(doc! {
            "_id": user,
            "$or": [
                { "services.resume.loginTokens.hashedToken": hashed },
                { "services.resume.loginTokens.token": hashed },
            ],
        }),
        Lookup::UserByUsername(username) => one(doc! { "username": username }),
        Lookup::UsersWithRoles(roles) => Query {
            filter: doc! { "roles": { "$in": roles } },
            sort: Some(doc! { "username": 1 }),
            limit: None,
        },
        Lookup::RoomByName(name) => one(doc! { "name": name }),
        Lookup::SubscriptionOf { room, user } => one(doc! { "rid": room, "u._id": user }),
        Lookup::SubscriptionsOfUser(user) => all(doc! { "u._id": user }),
        Lookup::SubscriptionsOfRoom(room) => all(doc! { "rid": room }),
        Lookup::SubscriptionsOfRoomExcept { room, user } => {
            all(doc! { "rid": room, "u._id": { "$ne": user } })
        }
        Lookup::TeamMember { team, user } => one(doc! { "teamId": team, "userId": user }),
        Lookup::MessagesBefore {
            room,
            before,
            limit,
        } => Query {
            filter: doc! {
                "rid": room, "_hidden": { "$ne": true }, "ts": { "$lt": DateTime::from_millis(before) },
            },
            sort: Some(doc! { "ts": -1 }),
            limit: Some(limit.into()),
        },
        Lookup::MessagesAfter { room, after, limit } => Query {
            filter: doc! {
                "rid": room, "_hidden": { "$ne": true }, "ts": { "$gt": DateTime::from_millis(after) },
            },
            sort: Some(doc! { "ts": 1 }),
            limit: Some(limit.into()),
        },
        Lookup::ConnectionOf { user, session } => {
            one(doc! { "_id": user, "connections.id": session })
        }
        Lookup::SessionsOfNode(node) => all(doc! { "connections.instanceId": node }),
        Lookup::SessionsOfNodesExcept { live, before } => {
            all(doc! { "connections": { "$elemMatch": lost_connection(live, before) } })
        }
        Lookup::NewestStatistics => Query {
            filter: doc! {},
            sort: Some(doc! { "createdAt": -1 }),
            limit: Some(1),
        },
    }
}

/// What a connection looks like that belongs to none of the live nodes and has not been touched since.
pub(super) fn lost_connection(live: &[String], before: DateTime) -> Document {
    doc! { "instanceId": { "$nin": live }, "_updatedAt": { "$lt": before } }
}

/// Empty asks for whole documents.
pub(super) fn projection(lookup: Lookup<'_>, fields: &[&str]) -> Document {
    let path = |field: &&str| match lookup {
        // The positional form returns the one token that matched instead of all (services.md 2.3).
        Lookup::UserByTokenHash(_) if *field == LOGIN_TOKENS => format!("{LOGIN_TOKENS}.$"),
        _ => (*field).to_owned(),
    };
    fields.iter().map(|field| (path(field), 1.into())).collect()
}
