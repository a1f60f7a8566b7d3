//! Every backplane event that means something here, as data (streams.md 8.1): what happens before its publications, the
//! publications in the language of [`super::template`], and what happens after.
//!
//! What this table does not name is not announced, and what it names is all that is done: the reactions are an enum with
//! one exhaustive `match` (`handlers/event.rs`).

use super::table::Stream::{self, *};

/// One event.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) name: &'static str,
    /// What happens before its publications: nobody who loses a room gets the event that says so.
    pub(crate) first: &'static [Reaction],
    /// In this order, independent of each other.
    pub(crate) publications: &'static [Say],
    pub(crate) last: &'static [Reaction],
}

/// One publication of an event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Say {
    pub(crate) when: When,
    pub(crate) stream: Stream,
    /// The event name on the stream; nothing is said if a part of it is missing.
    pub(crate) key: &'static str,
    /// The argument list.
    pub(crate) args: &'static str,
}

/// On which arguments something is said.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    Always,
    /// The value at this path is exactly this JSON text.
    Is(&'static str, &'static str),
    /// It is anything else, or missing.
    Not(&'static str, &'static str),
}

/// What an event does besides its publications, or instead of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// Somebody joined or left a room: access, and what those hear who follow their rooms.
    Membership,
    /// What access to a room rests on may have changed; and who follows it hears of it. Waits behind a look-up of the room.
    Room,
    /// A user was changed: roles, tokens.
    User,
    /// A user was removed or deactivated: behind the word that says so.
    UserGone,
    /// A user has a role more or less.
    RoleGranted,
    /// The departments of an omnichannel agent.
    Agent,
    /// Roles, permissions or the licence: every verdict may be another one now.
    Everybody,
    /// What depends on a setting.
    Setting,
    /// Who takes part in a conference.
    Conference,
    /// A token may be gone.
    Logout,
    ForceLogout,
    Relay,
    PublishSetting,
    PresenceStatus,
    /// Who may see whose presence.
    Visibility,
    EphemeralMessage,
    ImportedMessages,
    MyMessages,
    Inquiry,
    LoginService,
    ClientVersion,
}
use Reaction::*;

impl Reaction {
    /// Only finds out who shall hear of it: what is passed on is looked at then.
    pub(crate) fn is_passed_on(self) -> bool {
        matches!(self, Relay | MyMessages)
    }
}

const fn on(name: &'static str) -> Event {
    Event {
        name,
        first: &[],
        publications: &[],
        last: &[],
    }
}

impl Event {
    const fn first(self, first: &'static [Reaction]) -> Self {
        Self { first, ..self }
    }

    const fn publish(self, publications: &'static [Say]) -> Self {
        Self {
            publications,
            ..self
        }
    }

    const fn last(self, last: &'static [Reaction]) -> Self {
        Self { last, ..self }
    }
}

const fn say(stream: Stream, key: &'static str, args: &'static str) -> Say {
    Say {
        when: When::Always,
        stream,
        key,
        args,
    }
}

impl Say {
    const fn is(self, path: &'static str, value: &'static str) -> Self {
        Self {
            when: When::Is(path, value),
            ..self
        }
    }

    const fn not(self, path: &'static str, value: &'static str) -> Self {
        Self {
            when: When::Not(path, value),
            ..self
        }
    }
}

/// The table.
#[rustfmt::skip]
pub(crate) static EVENTS: &[Event] = &[
    on("license.sync").first(&[Everybody]).publish(&[say(NotifyAll, "license", "[]")]),
    on("license.actions").first(&[Everybody]).publish(&[say(NotifyAll, "license", "[]")]),
    on("abac.config.changed").first(&[Everybody]).publish(&[say(NotifyLogged, "abac-config-changed", "[]")]),
    on("emoji.deleteCustom").publish(&[say(NotifyLogged, "deleteEmojiCustom", r#"[{"emojiData":<0>}]"#)]),
    on("emoji.updateCustom").publish(&[say(NotifyLogged, "updateEmojiCustom", r#"[{"emojiData":<0>}]"#)]),
    on("user.forceLogout").publish(&[say(NotifyUser, "<0>/force_logout", "[<?1>]")]).last(&[ForceLogout]),
    on("permission.changed").first(&[Everybody]).publish(&[say(NotifyLogged, "permissions-changed", "[<0.clientAction>,<0.data>]")]),
    on("room.avatarUpdate").publish(&[say(NotifyLogged, "updateAvatar", "[{<rid:0._id><etag:0.avatarETag>}]")]),
    on("user.avatarUpdate").publish(&[say(NotifyLogged, "updateAvatar", "[{<username:0.username><etag:0.avatarETag>}]")]),
    on("user.deleted").publish(&[say(NotifyLogged, "Users:Deleted", "[{<userId:0._id><*1>}]")]),
    on("user.deleteCustomStatus").publish(&[say(NotifyLogged, "deleteCustomUserStatus", r#"[{"userStatusData":<0>}]"#)]),
    on("user.updateCustomStatus").publish(&[say(NotifyLogged, "updateCustomUserStatus", r#"[{"userStatusData":<0>}]"#)]),
    on("user.nameChanged").publish(&[say(NotifyLogged, "Users:NameChanged", "[<0>]")]),
    on("user.roleUpdate").first(&[RoleGranted]).publish(&[say(NotifyLogged, "roles-change", "[<0>]")]),
    on("user.video-conference").publish(&[say(NotifyUser, "<0.userId>/video-conference", "[{<action:0.action><params:0.params>}]")]),
    on("user.media-signal").publish(&[say(NotifyUser, "<0.userId>/media-signal", "[<0.signal>]")]),
    on("room.video-conference").publish(&[
        say(NotifyRoom, "<0.rid>/<0.callId>", "[]"),
        say(NotifyRoom, "<0.rid>/videoconf", "[<0.callId>]"),
    ]),
    on("video-conference.updated").first(&[Conference]).publish(&[say(VideoConference, "<0.callId>/updated", "[]")]),
    on("user.activity").publish(&[
        say(NotifyRoom, "<0.roomId>/user-activity", r#"[<0.user>,["user-typing"]]"#).is("0.isTyping", "true"),
        say(NotifyRoom, "<0.roomId>/user-activity", "[<0.user>,[]]").not("0.isTyping", "true"),
    ]),
    // The old name; the user is an object there, and clients of that time follow `typing`.
    on("user.typing").publish(&[
        say(NotifyRoom, "<0.roomId>/user-activity", r#"[<0.user.username>,["user-typing"]]"#).is("0.isTyping", "true"),
        say(NotifyRoom, "<0.roomId>/user-activity", "[<0.user.username>,[]]").not("0.isTyping", "true"),
        say(NotifyRoom, "<0.roomId>/typing", "[<0.user.username>,<0.isTyping>]"),
    ]),
    on("watch.messages").first(&[MyMessages]).publish(&[say(RoomMessages, "<0.message.rid>", "[<0.message>]")]),
    // Until 7.x.
    on("otrMessage").publish(&[say(RoomMessages, "<0.roomId>", "[<0.message>,<0.user>,<0.room>]")]),
    on("otrAckUpdate").publish(&[say(RoomMessages, "<0.roomId>", "[<0.acknowledgeMessage>]")]),
    on("notify.messagesRead").publish(&[say(NotifyRoom, "<0.rid>/messagesRead", "[{<tmid:0.tmid><until:0.until>}]")]),
    on("watch.subscriptions").first(&[Membership]).publish(&[say(NotifyUser, "<0.subscription.u._id>/subscriptions-changed", "[<0.clientAction>,<0.subscription>]")]),
    on("watch.roles").first(&[Everybody]).publish(&[say(Roles, "roles", "[{<type:0.clientAction><*0.role>}]")]),
    on("watch.rooms").first(&[Room]).publish(&[say(RoomData, "<0.room._id>", "[<0.room>]")]),
    on("watch.users").first(&[User]).publish(&[
        say(NotifyUser, "<0.id>/userData", "[{<id:0.id><diff:0.diff><unset:0.unset><type:0.clientAction>}]").is("0.clientAction", "\"updated\""),
        say(NotifyUser, "<0.id>/userData", "[{<id:0.id><diff:0.diff><unset:0.unset><type:0.clientAction>}]").is("0.clientAction", "\"changed\""),
        say(NotifyUser, "<0.id>/userData", "[{<id:0.id><data:0.data><type:0.clientAction>}]").is("0.clientAction", "\"inserted\""),
        say(NotifyUser, "<0.id>/userData", "[{<id:0.id><type:0.clientAction>}]").is("0.clientAction", "\"removed\""),
    ]).last(&[UserGone]),
    on("watch.integrationHistory").publish(&[
        say(IntegrationHistory, "<0.data.integration._id>", "[{<id:0.id><diff:0.diff><type:0.clientAction>}]").is("0.clientAction", "\"updated\""),
        say(IntegrationHistory, "<0.data.integration._id>", "[{<data:0.data><type:0.clientAction>}]").is("0.clientAction", "\"inserted\""),
    ]),
    on("watch.livechatDepartmentAgents").first(&[Agent]).publish(&[say(NotifyUser, "<0.data.agentId>/departmentAgentData", "[{<action:0.clientAction><*0.data>}]")]),
    on("watch.priorities").publish(&[say(NotifyLogged, "omnichannel.priority-changed", "[{<id:0.id><clientAction:0.clientAction><name:0.diff.name>}]")]),
    on("banner.user").publish(&[say(NotifyUser, "<0>/banners", "[<1>]")]),
    on("banner.new").publish(&[
        say(NotifyLogged, "new-banner", r#"[{"bannerId":<0>}]"#),
        say(NotifyLogged, "banner-changed", r#"[{"bannerId":<0>}]"#),
    ]),
    on("banner.enabled").publish(&[say(NotifyLogged, "banner-changed", r#"[{"bannerId":<0>}]"#)]),
    on("banner.disabled").publish(&[say(NotifyLogged, "banner-changed", r#"[{"bannerId":<0>}]"#)]),
    on("voip.events").publish(&[say(NotifyUser, "<0>/voip.events", "[<1>]")]),
    on("connector.statuschanged").publish(&[say(NotifyLogged, "voip.statuschanged", "[<0>]")]),
    on("call.callerhangup").publish(&[say(NotifyUser, "<0>/call.hangup", "[<1>]")]),
    on("notify.desktop").publish(&[say(NotifyUser, "<0>/notification", "[<1>]")]),
    on("notify.uiInteraction").publish(&[say(NotifyUser, "<0>/uiInteraction", "[<1>]")]),
    on("notify.updateInvites").publish(&[say(NotifyUser, "<0>/updateInvites", "[<1>]")]),
    on("notify.webdav").publish(&[say(NotifyUser, "<0>/webdav", "[<1>]")]),
    on("notify.calendar").publish(&[say(NotifyUser, "<0>/calendar", "[<1>]")]),
    on("notify.e2e.keyRequest").publish(&[say(NotifyRoom, "<0>/e2e.keyRequest", "[<1>]")]),
    on("notify.deleteMessage").publish(&[say(NotifyRoom, "<0>/deleteMessage", "[<1>]")]),
    on("notify.deleteMessageBulk").publish(&[say(NotifyRoom, "<0>/deleteMessageBulk", "[<1>]")]),
    on("notify.deleteCustomSound").publish(&[
        say(NotifyAll, "deleteCustomSound", "[<0>]"),
        say(NotifyAll, "public-info", r#"[["deleteCustomSound",[<0>]]]"#),
    ]),
    on("notify.updateCustomSound").publish(&[
        say(NotifyAll, "updateCustomSound", "[<0>]"),
        say(NotifyAll, "public-info", r#"[["updateCustomSound",[<0>]]]"#),
    ]),
    on("omnichannel.room").publish(&[say(LivechatRoom, "<0>", "[<1>]")]),
    on("apps.added").publish(&[
        say(Apps, "app/added", "[<0>]"),
        say(Apps, "apps", r#"[["app/added",[<0>]]]"#),
    ]),
    on("apps.removed").publish(&[
        say(Apps, "app/removed", "[<0>]"),
        say(Apps, "apps", r#"[["app/removed",[<0>]]]"#),
    ]),
    on("apps.updated").publish(&[
        say(Apps, "app/updated", "[<0>]"),
        say(Apps, "apps", r#"[["app/updated",[<0>]]]"#),
    ]),
    on("apps.statusUpdate").publish(&[
        say(Apps, "app/statusUpdate", r#"[{"appId":<0>,"status":<1>}]"#),
        say(Apps, "apps", r#"[["app/statusUpdate",[{"appId":<0>,"status":<1>}]]]"#),
    ]),
    on("apps.settingUpdated").publish(&[
        say(Apps, "app/settingUpdated", r#"[{"appId":<0>,"setting":<1>}]"#),
        say(Apps, "apps", r#"[["app/settingUpdated",[{"appId":<0>,"setting":<1>}]]]"#),
    ]),
    on("command.added").publish(&[
        say(Apps, "command/added", "[<0>]"),
        say(Apps, "apps", r#"[["command/added",[<0>]]]"#),
    ]),
    on("command.disabled").publish(&[
        say(Apps, "command/disabled", "[<0>]"),
        say(Apps, "apps", r#"[["command/disabled",[<0>]]]"#),
    ]),
    on("command.updated").publish(&[
        say(Apps, "command/updated", "[<0>]"),
        say(Apps, "apps", r#"[["command/updated",[<0>]]]"#),
    ]),
    on("command.removed").publish(&[
        say(Apps, "command/removed", "[<0>]"),
        say(Apps, "apps", r#"[["command/removed",[<0>]]]"#),
    ]),
    on("actions.changed").publish(&[
        say(Apps, "actions/changed", "[]"),
        say(Apps, "apps", r#"[["actions/changed",[]]]"#),
    ]),
    on("license.module").first(&[Everybody]),
    on("authorization.guestPermissions").first(&[Everybody]),
    on("accounts.logout").first(&[Logout]),
    on("stream").first(&[Relay]),
    on("watch.settings").first(&[Setting, PublishSetting]),
    on("presence.status").first(&[PresenceStatus]),
    on("presence.invalidateVisibility").first(&[Visibility]),
    on("notify.ephemeralMessage").first(&[EphemeralMessage]),
    on("notify.importedMessages").first(&[ImportedMessages]),
    on("watch.inquiries").first(&[Inquiry]),
    on("watch.loginServiceConfiguration").first(&[LoginService]),
    on("meteor.clientVersionUpdated").first(&[ClientVersion]),
];
