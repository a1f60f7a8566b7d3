//! Lookups as MongoDB's filters. `tests/contract/` asks `explain` which index each of them uses.

use bson::{DateTime, Document, doc};

use crate::fields::LOGIN_TOKENS;
use crate::lookup::{CONNECTED, Lookup};

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
        Lookup::SubscriptionsOfUserIn { user, rooms } => {
            all(doc! { "rid": { "$in": rooms }, "u._id": user })
        }
        Lookup::SubscriptionsOfRoom { room, limit } => Query {
            filter: doc! { "rid": room },
            sort: None,
            limit: limit.map(i64::from),
        },
        Lookup::SubscriptionsOfRoomExcept { room, user } => {
            all(doc! { "rid": room, "u._id": { "$ne": user } })
        }
        Lookup::TeamMember { team, user } => one(doc! { "teamId": team, "userId": user }),
        Lookup::MessagesBefore {
            room,
            before,
            limit,
        } => {
            let mut filter = doc! { "rid": room, "_hidden": { "$ne": true } };
            if let Some(before) = before {
                filter.insert("ts", doc! { "$lt": before });
            }
            Query {
                filter,
                sort: Some(doc! { "ts": -1 }),
                limit: Some(limit.into()),
            }
        }
        Lookup::MessagesAfter { room, after, limit } => Query {
            filter: doc! { "rid": room, "_hidden": { "$ne": true }, "ts": { "$gt": after } },
            sort: Some(doc! { "ts": 1 }),
            limit: Some(limit.into()),
        },
        Lookup::SessionsUntouchedSince(since) => {
            all(doc! { "connections._updatedAt": { "$lte": since } })
        }
        Lookup::SessionsBehind { after, limit } => Query {
            filter: doc! { "_id": { "$gt": after }, "connections.id": { "$exists": true } },
            sort: Some(doc! { "_id": 1 }),
            limit: Some(limit.into()),
        },
        Lookup::UsersThoughtConnected { after, limit } => Query {
            filter: doc! {
                "_id": { "$gt": after },
                "statusConnection": { "$in": CONNECTED.as_slice() },
            },
            sort: Some(doc! { "_id": 1 }),
            limit: Some(limit.into()),
        },
        // A comparison with a date finds dates only, and lets the partial index of newer servers serve.
        Lookup::ExpiringStatuses { limit } => Query {
            filter: doc! { "statusExpiresAt": { "$gt": DateTime::from_millis(0) } },
            sort: Some(doc! { "statusExpiresAt": 1 }),
            limit: Some(limit.into()),
        },
        Lookup::SessionsOfNode(node) => all(doc! { "connections.instanceId": node }),
        Lookup::SessionsOfNodesExcept(live) => {
            all(doc! { "connections": { "$elemMatch": lost_connection(live) } })
        }
        Lookup::NewestStatistics => Query {
            filter: doc! {},
            sort: Some(doc! { "createdAt": -1 }),
            limit: Some(1),
        },
    }
}

/// What a connection looks like that belongs to none of the live nodes.
pub(super) fn lost_connection(live: &[String]) -> Document {
    doc! { "instanceId": { "$nin": live } }
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

#[cfg(test)]
mod tests {
    use bson::Bson;
    use harness::MongoServer;
    use mongodb::{Client, Database, IndexModel};

    use super::*;
    use crate::collection::Collection;

    /// What the monolith, its accounts package and `create_indexes` have put there.
    fn indexes() -> Vec<(Collection, Document)> {
        vec![
            (
                Collection::Users,
                doc! { "services.resume.loginTokens.hashedToken": 1 },
            ),
            (Collection::Users, doc! { "username": 1 }),
            (Collection::Users, doc! { "roles": 1 }),
            (Collection::Users, doc! { "statusConnection": 1 }),
            (Collection::Users, doc! { "statusExpiresAt": 1 }),
            (Collection::Rooms, doc! { "name": 1 }),
            (Collection::Subscriptions, doc! { "rid": 1, "u._id": 1 }),
            (Collection::Subscriptions, doc! { "u._id": 1 }),
            (
                Collection::Messages,
                doc! { "rid": 1, "ts": 1, "_updatedAt": 1 },
            ),
            (Collection::TeamMembers, doc! { "teamId": 1, "userId": 1 }),
            (Collection::Sessions, doc! { "connections.instanceId": 1 }),
            (Collection::Sessions, doc! { "connections._updatedAt": 1 }),
        ]
    }

    /// Whose answer counts. SecantusDB's `explain` names an index only if the whole filter is answered by it.
    #[derive(PartialEq)]
    enum Planner {
        Any,
        Mongod,
    }

    #[tokio::test]
    async fn every_lookup_goes_through_an_index() {
        let server = tokio::task::spawn_blocking(MongoServer::start)
            .await
            .unwrap();
        let name = format!("store_explain_{}", std::process::id());
        let database = Client::with_uri_str(server.url(&name))
            .await
            .unwrap()
            .database(&name);
        for (collection, keys) in indexes() {
            let index = IndexModel::builder().keys(keys).build();
            database
                .collection::<Document>(collection.name())
                .create_index(index)
                .await
                .unwrap();
        }
        let (ids, hashes, now) = (
            ["a".to_owned(), "b".to_owned()],
            ["h", "i"],
            DateTime::from_millis(0),
        );
        let (room, user) = ("r", "u");
        let mut scanned = Vec::new();
        for (lookup, planner) in [
            (Lookup::Id(Collection::Rooms, "a"), Planner::Any),
            (Lookup::Ids(Collection::Rooms, &ids), Planner::Any),
            (Lookup::UserByTokenHash("h"), Planner::Any),
            (Lookup::UsersByTokenHashes(&hashes), Planner::Any),
            (Lookup::UserWithToken { user, hashed: "h" }, Planner::Mongod),
            (Lookup::UserByUsername("u"), Planner::Any),
            (Lookup::UsersWithRoles(&ids), Planner::Any),
            (Lookup::RoomByName("r"), Planner::Any),
            (Lookup::SubscriptionOf { room, user }, Planner::Any),
            (Lookup::SubscriptionsOfUser(user), Planner::Any),
            (
                Lookup::SubscriptionsOfUserIn { user, rooms: &ids },
                Planner::Mongod,
            ),
            (
                Lookup::SubscriptionsOfRoom { room, limit: None },
                Planner::Any,
            ),
            (
                Lookup::SubscriptionsOfRoomExcept { room, user },
                Planner::Mongod,
            ),
            (Lookup::TeamMember { team: "t", user }, Planner::Any),
            (
                Lookup::MessagesBefore {
                    room,
                    before: Some(now),
                    limit: 50,
                },
                Planner::Mongod,
            ),
            (
                Lookup::MessagesBefore {
                    room,
                    before: None,
                    limit: 50,
                },
                Planner::Mongod,
            ),
            (
                Lookup::MessagesAfter {
                    room,
                    after: now,
                    limit: 50,
                },
                Planner::Mongod,
            ),
            (Lookup::SessionsUntouchedSince(now), Planner::Any),
            (
                Lookup::SessionsBehind {
                    after: "a",
                    limit: 50,
                },
                Planner::Mongod,
            ),
            (
                Lookup::UsersThoughtConnected {
                    after: "a",
                    limit: 50,
                },
                Planner::Mongod,
            ),
            (Lookup::ExpiringStatuses { limit: 50 }, Planner::Any),
            (Lookup::SessionsOfNode("n"), Planner::Any),
            (Lookup::SessionsOfNodesExcept(&ids), Planner::Mongod),
        ] {
            if planner == Planner::Mongod && !server.is_mongod() {
                harness::unverified_on_mongod(&format!("the index behind {lookup:?}"));
                continue;
            }
            let plan = winning_plan(&database, lookup).await;
            // IXSCAN, and EXPRESS_IXSCAN, IDHACK, EXPRESS_CLUSTERED_IXSCAN of newer servers.
            if plan.contains("COLLSCAN") || !(plan.contains("IXSCAN") || plan.contains("IDHACK")) {
                scanned.push(format!("{lookup:?}: {plan}"));
            }
        }
        database.drop().await.unwrap();
        assert!(scanned.is_empty(), "{}", scanned.join("\n"));
    }

    async fn winning_plan(database: &Database, lookup: Lookup<'_>) -> String {
        let query = query(lookup);
        let mut find = doc! { "find": lookup.collection().name(), "filter": query.filter };
        if let Some(sort) = query.sort {
            find.insert("sort", sort);
        }
        let explained = database
            .run_command(doc! { "explain": find })
            .await
            .unwrap();
        let plan = explained
            .get_document("queryPlanner")
            .unwrap()
            .get("winningPlan")
            .unwrap();
        Bson::to_string(plan)
    }
}
