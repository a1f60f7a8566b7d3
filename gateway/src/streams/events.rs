//! Every backplane event that becomes publications, as data (streams.md 8.1), in the language of [`super::template`].
//! Adding an event that needs no code is adding a row.
//!
//! Rows apply in order and independently. What needs more than a row (look-ups, relays, loops) is in
//! [`super::translate`].

/// One publication of one event.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) event: &'static str,
    pub(crate) when: When,
    /// Stream without `stream-`.
    pub(crate) stream: &'static str,
    /// The event name on the stream; the row is skipped if a part of it is missing.
    pub(crate) key: &'static str,
    /// The argument list.
    pub(crate) args: &'static str,
}

/// On which arguments a row applies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    Always,
    /// The value at this path is exactly this JSON text.
    Is(&'static str, &'static str),
    /// It is anything else, or missing.
    Not(&'static str, &'static str),
}
use When::{Always, Is, Not};

const fn row(
    event: &'static str,
    when: When,
    stream: &'static str,
    key: &'static str,
    args: &'static str,
) -> Row {
    Row {
        event,
        when,
        stream,
        key,
        args,
    }
}

/// The table.
#[rustfmt::skip]
pub(crate) static ROWS: &[Row] = &[
    row("license.sync", Always, "notify-all", "license", "[]"),
    row("license.actions", Always, "notify-all", "license", "[]"),
    row("abac.config.changed", Always, "notify-logged", "abac-config-changed", "[]"),
    row("emoji.deleteCustom", Always, "notify-logged", "deleteEmojiCustom", r#"[{"emojiData":<0>}]"#),
    row("emoji.updateCustom", Always, "notify-logged", "updateEmojiCustom", r#"[{"emojiData":<0>}]"#),
    row("user.forceLogout", Always, "notify-user", "<0>/force_logout", "[<?1>]"),
    row("permission.changed", Always, "notify-logged", "permissions-changed", "[<0.clientAction>,<0.data>]"),
    row("room.avatarUpdate", Always, "notify-logged", "updateAvatar", "[{<rid:0._id><etag:0.avatarETag>}]"),
    row("user.avatarUpdate", Always, "notify-logged", "updateAvatar", "[{<username:0.username><etag:0.avatarETag>}]"),
    row("user.deleted", Always, "notify-logged", "Users:Deleted", "[{<userId:0._id><*1>}]"),
    row("user.deleteCustomStatus", Always, "notify-logged", "deleteCustomUserStatus", r#"[{"userStatusData":<0>}]"#),
    row("user.updateCustomStatus", Always, "notify-logged", "updateCustomUserStatus", r#"[{"userStatusData":<0>}]"#),
    row("user.nameChanged", Always, "notify-logged", "Users:NameChanged", "[<0>]"),
    row("user.roleUpdate", Always, "notify-logged", "roles-change", "[<0>]"),
    row("user.video-conference", Always, "notify-user", "<0.userId>/video-conference", "[{<action:0.action><params:0.params>}]"),
    row("user.media-signal", Always, "notify-user", "<0.userId>/media-signal", "[<0.signal>]"),
    row("room.video-conference", Always, "notify-room", "<0.rid>/<0.callId>", "[]"),
    row("room.video-conference", Always, "notify-room", "<0.rid>/videoconf", "[<0.callId>]"),
    row("user.activity", Is("0.isTyping", "true"), "notify-room", "<0.roomId>/user-activity", r#"[<0.user>,["user-typing"]]"#),
    row("user.activity", Not("0.isTyping", "true"), "notify-room", "<0.roomId>/user-activity", "[<0.user>,[]]"),
    row("watch.messages", Always, "room-messages", "<0.message.rid>", "[<0.message>]"),
    row("notify.messagesRead", Always, "notify-room", "<0.rid>/messagesRead", "[{<tmid:0.tmid><until:0.until>}]"),
    row("watch.subscriptions", Always, "notify-user", "<0.subscription.u._id>/subscriptions-changed", "[<0.clientAction>,<0.subscription>]"),
    row("watch.roles", Always, "roles", "roles", "[{<type:0.clientAction><*0.role>}]"),
    row("watch.rooms", Always, "room-data", "<0.room._id>", "[<0.room>]"),
    row("watch.users", Is("0.clientAction", "\"updated\""), "notify-user", "<0.id>/userData", "[{<id:0.id><diff:0.diff><unset:0.unset><type:0.clientAction>}]"),
    row("watch.users", Is("0.clientAction", "\"changed\""), "notify-user", "<0.id>/userData", "[{<id:0.id><diff:0.diff><unset:0.unset><type:0.clientAction>}]"),
    row("watch.users", Is("0.clientAction", "\"inserted\""), "notify-user", "<0.id>/userData", "[{<id:0.id><data:0.data><type:0.clientAction>}]"),
    row("watch.users", Is("0.clientAction", "\"removed\""), "notify-user", "<0.id>/userData", "[{<id:0.id><type:0.clientAction>}]"),
    row("watch.integrationHistory", Is("0.clientAction", "\"updated\""), "integrationHistory", "<0.data.integration._id>", "[{<id:0.id><diff:0.diff><type:0.clientAction>}]"),
    row("watch.integrationHistory", Is("0.clientAction", "\"inserted\""), "integrationHistory", "<0.data.integration._id>", "[{<data:0.data><type:0.clientAction>}]"),
    row("watch.livechatDepartmentAgents", Always, "notify-user", "<0.data.agentId>/departmentAgentData", "[{<action:0.clientAction><*0.data>}]"),
    row("watch.priorities", Always, "notify-logged", "omnichannel.priority-changed", "[{<id:0.id><clientAction:0.clientAction><name:0.diff.name>}]"),
    row("banner.user", Always, "notify-user", "<0>/banners", "[<1>]"),
    row("banner.new", Always, "notify-logged", "new-banner", r#"[{"bannerId":<0>}]"#),
    row("banner.new", Always, "notify-logged", "banner-changed", r#"[{"bannerId":<0>}]"#),
    row("banner.enabled", Always, "notify-logged", "banner-changed", r#"[{"bannerId":<0>}]"#),
    row("banner.disabled", Always, "notify-logged", "banner-changed", r#"[{"bannerId":<0>}]"#),
    row("voip.events", Always, "notify-user", "<0>/voip.events", "[<1>]"),
    row("connector.statuschanged", Always, "notify-logged", "voip.statuschanged", "[<0>]"),
    row("call.callerhangup", Always, "notify-user", "<0>/call.hangup", "[<1>]"),
    row("notify.desktop", Always, "notify-user", "<0>/notification", "[<1>]"),
    row("notify.uiInteraction", Always, "notify-user", "<0>/uiInteraction", "[<1>]"),
    row("notify.updateInvites", Always, "notify-user", "<0>/updateInvites", "[<1>]"),
    row("notify.webdav", Always, "notify-user", "<0>/webdav", "[<1>]"),
    row("notify.calendar", Always, "notify-user", "<0>/calendar", "[<1>]"),
    row("notify.e2e.keyRequest", Always, "notify-room", "<0>/e2e.keyRequest", "[<1>]"),
    row("notify.deleteMessage", Always, "notify-room", "<0>/deleteMessage", "[<1>]"),
    row("notify.deleteMessageBulk", Always, "notify-room", "<0>/deleteMessageBulk", "[<1>]"),
    row("notify.deleteCustomSound", Always, "notify-all", "deleteCustomSound", "[<0>]"),
    row("notify.deleteCustomSound", Always, "notify-all", "public-info", r#"[["deleteCustomSound",[<0>]]]"#),
    row("notify.updateCustomSound", Always, "notify-all", "updateCustomSound", "[<0>]"),
    row("notify.updateCustomSound", Always, "notify-all", "public-info", r#"[["updateCustomSound",[<0>]]]"#),
    row("omnichannel.room", Always, "livechat-room", "<0>", "[<1>]"),
    row("apps.added", Always, "apps", "app/added", "[<0>]"),
    row("apps.added", Always, "apps", "apps", r#"[["app/added",[<0>]]]"#),
    row("apps.removed", Always, "apps", "app/removed", "[<0>]"),
    row("apps.removed", Always, "apps", "apps", r#"[["app/removed",[<0>]]]"#),
    row("apps.updated", Always, "apps", "app/updated", "[<0>]"),
    row("apps.updated", Always, "apps", "apps", r#"[["app/updated",[<0>]]]"#),
    row("apps.statusUpdate", Always, "apps", "app/statusUpdate", r#"[{"appId":<0>,"status":<1>}]"#),
    row("apps.statusUpdate", Always, "apps", "apps", r#"[["app/statusUpdate",[{"appId":<0>,"status":<1>}]]]"#),
    row("apps.settingUpdated", Always, "apps", "app/settingUpdated", r#"[{"appId":<0>,"setting":<1>}]"#),
    row("apps.settingUpdated", Always, "apps", "apps", r#"[["app/settingUpdated",[{"appId":<0>,"setting":<1>}]]]"#),
    row("command.added", Always, "apps", "command/added", "[<0>]"),
    row("command.added", Always, "apps", "apps", r#"[["command/added",[<0>]]]"#),
    row("command.disabled", Always, "apps", "command/disabled", "[<0>]"),
    row("command.disabled", Always, "apps", "apps", r#"[["command/disabled",[<0>]]]"#),
    row("command.updated", Always, "apps", "command/updated", "[<0>]"),
    row("command.updated", Always, "apps", "apps", r#"[["command/updated",[<0>]]]"#),
    row("command.removed", Always, "apps", "command/removed", "[<0>]"),
    row("command.removed", Always, "apps", "apps", r#"[["command/removed",[<0>]]]"#),
    row("actions.changed", Always, "apps", "actions/changed", "[]"),
    row("actions.changed", Always, "apps", "apps", r#"[["actions/changed",[]]]"#),
];

/// Events that need code besides (or instead of) rows.
pub(crate) static WITH_CODE: &[&str] = &[
    "stream",
    "watch.rooms",
    "watch.subscriptions",
    "watch.users",
    "watch.roles",
    "watch.settings",
    "permission.changed",
    "presence.status",
    "user.forceLogout",
    "accounts.logout",
    "notify.ephemeralMessage",
    "notify.importedMessages",
    "watch.loginServiceConfiguration",
    "meteor.clientVersionUpdated",
];

/// The events to announce: all that the tables name, each once.
pub(crate) fn announced() -> Vec<&'static str> {
    let mut names: Vec<&'static str> = ROWS
        .iter()
        .map(|row| row.event)
        .chain(WITH_CODE.iter().copied())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}
