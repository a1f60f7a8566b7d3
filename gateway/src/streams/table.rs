//! Every stream of the workspace as data: who may read it, who may write to it, what an event name addresses
//! (streams.md 7.3, anonymous access as decided in design.md 6).

use std::sync::Arc;

use protocol::outbox::Class;

use crate::topic::Topic;

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Without the `stream-` that publication and method carry.
    pub(crate) name: &'static str,
    pub(crate) addressed: Addressed,
    /// The rule where `keys` has none.
    pub(crate) read: Read,
    /// Rules of exact event names.
    pub(crate) keys: &'static [(&'static str, Read)],
    pub(crate) write: Write,
    /// Events (the part after the `/`) that a slow client may miss.
    pub(crate) sheddable: &'static [&'static str],
}

/// What the part of an event name before the first `/` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addressed {
    Nothing,
    Room,
    User,
}

/// Who may subscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// Everybody, without a login too.
    All,
    Never,
    Logged,
    /// The user whom the event name addresses.
    Owner,
    /// A user with at least one of these permissions.
    Permission(&'static [&'static str]),
    /// The same while this setting is on.
    Setting(&'static str, &'static [&'static str]),
    Room(RoomRule),
}

/// What it takes to follow a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RoomRule {
    /// `authorization.canReadRoom`, without a login too.
    Read,
    /// A user, and `authorization.canAccessRoom`.
    Access,
    /// `extraData.token` is the livechat room's; without a token as `Access`.
    AccessOrToken,
    /// `extraData.visitorToken` is the livechat room's.
    VisitorToken,
}

/// Which writes of clients (`stream-<name>` methods) are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Never,
    /// `<rid>/user-activity` by those who are in the room, under their own name.
    Activity,
    /// `<uid>/video-conference` and `<uid>/media-calls`, as the services behind them decide.
    Signals,
    /// `<rid>/video-conference` and `<rid>/userData`, passed on to every other member.
    Members,
}

const fn row(name: &'static str, addressed: Addressed, read: Read) -> Stream {
    Stream {
        name,
        addressed,
        read,
        keys: &[],
        write: Write::Never,
        sheddable: &[],
    }
}

/// All streams; a name that is not here is an unknown publication.
pub(crate) static STREAMS: &[Stream] = &[
    row("notify-all", Addressed::Nothing, Read::All),
    Stream {
        keys: &[(
            "private-settings-changed",
            Read::Permission(&[
                "view-privileged-setting",
                "edit-privileged-setting",
                "manage-selected-settings",
            ]),
        )],
        sheddable: &["user-status"],
        ..row("notify-logged", Addressed::Nothing, Read::Logged)
    },
    Stream {
        write: Write::Signals,
        ..row("notify-user", Addressed::User, Read::Owner)
    },
    Stream {
        write: Write::Activity,
        sheddable: &["user-activity", "typing"],
        ..row(
            "notify-room",
            Addressed::Room,
            Read::Room(RoomRule::AccessOrToken),
        )
    },
    Stream {
        write: Write::Members,
        ..row("notify-room-users", Addressed::Room, Read::Never)
    },
    Stream {
        // Follows every room of a user; not offered yet.
        keys: &[("__my_messages__", Read::Never)],
        ..row("room-messages", Addressed::Room, Read::Room(RoomRule::Read))
    },
    row("room-data", Addressed::Room, Read::Room(RoomRule::Access)),
    row("roles", Addressed::Nothing, Read::Logged),
    row("importers", Addressed::Nothing, Read::Logged),
    row("apps", Addressed::Nothing, Read::Logged),
    row(
        "canned-responses",
        Addressed::Nothing,
        Read::Setting("Canned_Responses_Enable", &["view-canned-responses"]),
    ),
    row(
        "integrationHistory",
        Addressed::Nothing,
        Read::Permission(&[
            "manage-outgoing-integrations",
            "manage-own-outgoing-integrations",
        ]),
    ),
    row(
        "livechat-room",
        Addressed::Room,
        Read::Room(RoomRule::VisitorToken),
    ),
    row(
        "livechat-inquiry-queue-observer",
        Addressed::Nothing,
        Read::Permission(&["view-l-room"]),
    ),
    row(
        "stdout",
        Addressed::Nothing,
        Read::Permission(&["view-logs"]),
    ),
    // Not offered yet: these need their own indexes.
    row("user-presence", Addressed::Nothing, Read::Never),
    row("video-conference", Addressed::Nothing, Read::Never),
    // Nobody may read these from outside.
    row("apps-engine", Addressed::Nothing, Read::Never),
    row("local", Addressed::Nothing, Read::Never),
];

/// The row of a stream, by its name without `stream-`.
pub(crate) fn stream(name: &str) -> Option<&'static Stream> {
    STREAMS.iter().find(|stream| stream.name == name)
}

impl Stream {
    /// The rule for this event name.
    pub(crate) fn rule(&self, event: &str) -> Read {
        let key = self.keys.iter().find(|(key, _)| *key == event);
        key.map_or(self.read, |(_, rule)| *rule)
    }

    /// Who is addressed by this event name, and the rest of it.
    pub(crate) fn split<'a>(&self, event: &'a str) -> (&'a str, Option<&'a str>) {
        match event.split_once('/') {
            Some((id, rest)) => (id, Some(rest)),
            None => (event, None),
        }
    }

    /// The topic under which the subscribers of this event name stand.
    pub(crate) fn topic(&self, event: &str) -> Topic {
        let (id, rest) = self.split(event);
        let what = || match rest {
            Some(rest) => Arc::from(format!("{}/{rest}", self.name)),
            None => Arc::from(self.name),
        };
        match self.addressed {
            Addressed::Nothing => Topic::Global(self.name.into(), event.into()),
            Addressed::Room => Topic::Room(id.into(), what()),
            Addressed::User => Topic::User(id.into(), what()),
        }
    }

    /// Whether a slow client may miss this event.
    pub(crate) fn class(&self, event: &str) -> Class {
        let what = self.split(event).1.unwrap_or(event);
        if self.sheddable.contains(&what) {
            Class::Sheddable
        } else {
            Class::Data
        }
    }
}
