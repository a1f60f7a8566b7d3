//! Which documents an operation is about, in a form that both stores find by an index.

use bson::DateTime;

use crate::collection::Collection;

/// Names documents of one collection. In MongoDB every variant but `All` and `RoomByName` has an index behind it
/// (`tests/contract/` asks `explain`).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lookup<'a> {
    All(Collection),
    Id(Collection, &'a str),
    Ids(Collection, &'a [String]),
    UserByTokenHash(&'a str),
    /// Users that hold one of these token hashes.
    UsersByTokenHashes(&'a [&'a str]),
    /// The user with this id, if they hold the token with this hash (or legacy clear text).
    UserWithToken {
        user: &'a str,
        hashed: &'a str,
    },
    UserByUsername(&'a str),
    /// Users that have one of these roles, by username.
    UsersWithRoles(&'a [String]),
    RoomByName(&'a str),
    SubscriptionOf {
        room: &'a str,
        user: &'a str,
    },
    SubscriptionsOfUser(&'a str),
    /// Those of a user in one of these rooms.
    SubscriptionsOfUserIn {
        user: &'a str,
        rooms: &'a [String],
    },
    SubscriptionsOfRoom {
        room: &'a str,
        limit: Option<u32>,
    },
    SubscriptionsOfRoomExcept {
        room: &'a str,
        user: &'a str,
    },
    TeamMember {
        team: &'a str,
        user: &'a str,
    },
    /// Shown messages of a room before a time, if one is given, newest first.
    MessagesBefore {
        room: &'a str,
        before: Option<DateTime>,
        limit: u32,
    },
    /// Shown messages of a room after a time, oldest first.
    MessagesAfter {
        room: &'a str,
        after: DateTime,
        limit: u32,
    },
    SessionsOfNode(&'a str),
    /// Users with a connection that was last touched at this time or before.
    SessionsUntouchedSince(DateTime),
    /// Users with a connection, whose ids come behind this one, in their order.
    SessionsBehind {
        after: &'a str,
        limit: u32,
    },
    /// Users whose `statusConnection` is not `offline`, whose ids come behind this one, in their order.
    UsersThoughtConnected {
        after: &'a str,
        limit: u32,
    },
    /// Users with a `statusExpiresAt`, the earliest first.
    ExpiringStatuses {
        limit: u32,
    },
    /// Users with a connection whose node is not listed, or that names none.
    SessionsOfNodesExcept(&'a [String]),
    NewestStatistics,
}

impl Lookup<'_> {
    pub(crate) fn collection(&self) -> Collection {
        match self {
            Self::All(collection) | Self::Id(collection, _) | Self::Ids(collection, _) => {
                *collection
            }
            Self::UserByTokenHash(_)
            | Self::UsersByTokenHashes(_)
            | Self::UserWithToken { .. }
            | Self::UserByUsername(_)
            | Self::UsersWithRoles(_)
            | Self::UsersThoughtConnected { .. }
            | Self::ExpiringStatuses { .. } => Collection::Users,
            Self::RoomByName(_) => Collection::Rooms,
            Self::SubscriptionOf { .. }
            | Self::SubscriptionsOfUser(_)
            | Self::SubscriptionsOfUserIn { .. }
            | Self::SubscriptionsOfRoom { .. }
            | Self::SubscriptionsOfRoomExcept { .. } => Collection::Subscriptions,
            Self::TeamMember { .. } => Collection::TeamMembers,
            Self::MessagesBefore { .. } | Self::MessagesAfter { .. } => Collection::Messages,
            Self::SessionsOfNode(_)
            | Self::SessionsUntouchedSince(_)
            | Self::SessionsBehind { .. }
            | Self::SessionsOfNodesExcept(_) => Collection::Sessions,
            Self::NewestStatistics => Collection::Statistics,
        }
    }

    /// Whether an edit is meant for every document found rather than for one.
    pub(crate) fn is_about_many(&self) -> bool {
        matches!(
            self,
            Self::SubscriptionsOfRoomExcept { .. } | Self::SessionsOfNodesExcept(_)
        )
    }
}

/// What `statusConnection` says of somebody who is connected.
pub(crate) const CONNECTED: [&str; 3] = ["online", "away", "busy"];
