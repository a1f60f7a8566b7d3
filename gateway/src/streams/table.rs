//! Everything that can be subscribed, as data: who may read it, who may write to it, what an event name addresses
//! (streams.md 6, 7.3; anonymous access as decided in design.md 6).

use protocol::outbox::Class;

/// A stream, or a publication of records; what a subscription's name is parsed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Stream {
    NotifyAll,
    NotifyLogged,
    NotifyUser,
    NotifyRoom,
    NotifyRoomUsers,
    RoomMessages,
    RoomData,
    Roles,
    Importers,
    Apps,
    CannedResponses,
    IntegrationHistory,
    LivechatRoom,
    LivechatInquiryQueue,
    Stdout,
    UserPresence,
    VideoConference,
    AppsEngine,
    Local,
    LoginServices,
    ClientVersions,
}

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) stream: Stream,
    /// The publication's name; of a stream without the `stream-` that publication and method carry.
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

/// What an event name says besides what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addressed {
    Nothing,
    /// All of it is a room's id.
    Room,
    /// The part before the first `/` is.
    InRoom,
    /// That part is a user's id.
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
    /// A user who may follow the conference that the event name begins with.
    Conference,
    /// A user, who gets what he may read at that time.
    MyMessages,
    /// A user; the subscription names whom it watches.
    Watch,
    /// Everybody gets the records that are there, then what changes: no stream.
    Records,
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
    /// `<uid>/video-conference` and `<uid>/media-calls`, as the services behind them decide, and `<uid>/otr`.
    Signals,
    /// `<rid>/video-conference` and `<rid>/userData`, passed on to every other member.
    Members,
}

const fn row(stream: Stream, name: &'static str, addressed: Addressed, read: Read) -> Row {
    Row {
        stream,
        name,
        addressed,
        read,
        keys: &[],
        write: Write::Never,
        sheddable: &[],
    }
}

/// By [`Stream`]; a name that is not here is an unknown publication.
pub(crate) static ROWS: &[Row] = &[
    row(
        Stream::NotifyAll,
        "notify-all",
        Addressed::Nothing,
        Read::All,
    ),
    Row {
        keys: &[(
            "private-settings-changed",
            Read::Permission(&[
                "view-privileged-setting",
                "edit-privileged-setting",
                "manage-selected-settings",
            ]),
        )],
        sheddable: &["user-status"],
        ..row(
            Stream::NotifyLogged,
            "notify-logged",
            Addressed::Nothing,
            Read::Logged,
        )
    },
    Row {
        write: Write::Signals,
        ..row(
            Stream::NotifyUser,
            "notify-user",
            Addressed::User,
            Read::Owner,
        )
    },
    Row {
        write: Write::Activity,
        sheddable: &["user-activity", "typing"],
        ..row(
            Stream::NotifyRoom,
            "notify-room",
            Addressed::InRoom,
            Read::Room(RoomRule::AccessOrToken),
        )
    },
    Row {
        write: Write::Members,
        ..row(
            Stream::NotifyRoomUsers,
            "notify-room-users",
            Addressed::InRoom,
            Read::Never,
        )
    },
    Row {
        keys: &[("__my_messages__", Read::MyMessages)],
        ..row(
            Stream::RoomMessages,
            "room-messages",
            Addressed::Room,
            Read::Room(RoomRule::Read),
        )
    },
    row(
        Stream::RoomData,
        "room-data",
        Addressed::Room,
        Read::Room(RoomRule::Access),
    ),
    row(Stream::Roles, "roles", Addressed::Nothing, Read::Logged),
    row(
        Stream::Importers,
        "importers",
        Addressed::Nothing,
        Read::Logged,
    ),
    row(Stream::Apps, "apps", Addressed::Nothing, Read::Logged),
    row(
        Stream::CannedResponses,
        "canned-responses",
        Addressed::Nothing,
        Read::Setting("Canned_Responses_Enable", &["view-canned-responses"]),
    ),
    row(
        Stream::IntegrationHistory,
        "integrationHistory",
        Addressed::Nothing,
        Read::Permission(&[
            "manage-outgoing-integrations",
            "manage-own-outgoing-integrations",
        ]),
    ),
    row(
        Stream::LivechatRoom,
        "livechat-room",
        Addressed::Room,
        Read::Room(RoomRule::VisitorToken),
    ),
    row(
        Stream::LivechatInquiryQueue,
        "livechat-inquiry-queue-observer",
        Addressed::Nothing,
        Read::Permission(&["view-l-room"]),
    ),
    row(
        Stream::Stdout,
        "stdout",
        Addressed::Nothing,
        Read::Permission(&["view-logs"]),
    ),
    row(
        Stream::UserPresence,
        "user-presence",
        Addressed::Nothing,
        Read::Watch,
    ),
    row(
        Stream::VideoConference,
        "video-conference",
        Addressed::Nothing,
        Read::Conference,
    ),
    // Nobody may read these from outside.
    row(
        Stream::AppsEngine,
        "apps-engine",
        Addressed::Nothing,
        Read::Never,
    ),
    row(Stream::Local, "local", Addressed::Nothing, Read::Never),
    row(
        Stream::LoginServices,
        "meteor.loginServiceConfiguration",
        Addressed::Nothing,
        Read::Records,
    ),
    row(
        Stream::ClientVersions,
        "meteor_autoupdate_clientVersions",
        Addressed::Nothing,
        Read::Records,
    ),
];

impl Stream {
    /// What a publication's name means.
    pub(crate) fn of_publication(name: &str) -> Option<Self> {
        match name.strip_prefix("stream-") {
            Some(name) => Self::named(name),
            None => ROWS
                .iter()
                .find(|row| row.name == name && row.read == Read::Records)
                .map(|row| row.stream),
        }
    }

    /// The stream of this name without `stream-`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        ROWS.iter()
            .find(|row| row.name == name && row.read != Read::Records)
            .map(|row| row.stream)
    }

    pub(crate) fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    pub(crate) fn name(self) -> &'static str {
        self.row().name
    }

    /// The rule for this event name.
    pub(crate) fn rule(self, event: &str) -> Read {
        let row = self.row();
        let key = row.keys.iter().find(|(key, _)| *key == event);
        key.map_or(row.read, |(_, rule)| *rule)
    }

    /// Who is addressed by this event name, and the rest of it.
    pub(crate) fn split(self, event: &str) -> (&str, Option<&str>) {
        match event.split_once('/') {
            Some((id, rest)) if self.row().addressed != Addressed::Room => (id, Some(rest)),
            _ => (event, None),
        }
    }

    /// Whether a slow client may miss this event.
    pub(crate) fn class(self, event: &str) -> Class {
        let sheddable = self.row().sheddable;
        if sheddable.is_empty() {
            return Class::Data;
        }
        let what = self.split(event).1.unwrap_or(event);
        if sheddable.contains(&what) {
            Class::Sheddable
        } else {
            Class::Data
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_stands_in_its_own_row() {
        for (at, row) in ROWS.iter().enumerate() {
            assert_eq!(row.stream as usize, at, "{}", row.name);
        }
        assert_eq!(ROWS.len(), Stream::ClientVersions as usize + 1);
    }
}
