use super::*;
use crate::streams::{events::Reaction, table::Stream};

/// An event, its arguments, and what it becomes: stream, event name, arguments.
pub(crate) struct Case(
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) &'static [(Stream, &'static str, &'static str)],
);

#[rustfmt::skip]
pub(crate) const CASES: &[Case] = &[
    Case("license.sync", "[]", &[(Stream::NotifyAll, "license", "[]")]),
    Case("license.actions", r#"[{"maxUsers":true}]"#, &[(Stream::NotifyAll, "license", "[]")]),
    Case("abac.config.changed", "[]", &[(Stream::NotifyLogged, "abac-config-changed", "[]")]),
    Case("emoji.deleteCustom", r#"[{"name":"e"}]"#, &[(Stream::NotifyLogged, "deleteEmojiCustom", r#"[{"emojiData":{"name":"e"}}]"#)]),
    Case("emoji.updateCustom", r#"[{"name":"e"}]"#, &[(Stream::NotifyLogged, "updateEmojiCustom", r#"[{"emojiData":{"name":"e"}}]"#)]),
    Case("user.forceLogout", r#"["u1"]"#, &[(Stream::NotifyUser, "u1/force_logout", "[]")]),
    Case("user.forceLogout", r#"["u1","s1"]"#, &[(Stream::NotifyUser, "u1/force_logout", r#"["s1"]"#)]),
    Case("user.forceLogout", r#"["u1",null]"#, &[(Stream::NotifyUser, "u1/force_logout", "[null]")]),
    Case("permission.changed", r#"[{"clientAction":"changed","data":{"_id":"p","roles":["user"]}}]"#, &[(Stream::NotifyLogged, "permissions-changed", r#"["changed",{"_id":"p","roles":["user"]}]"#)]),
    Case("room.avatarUpdate", r#"[{"_id":"r1","avatarETag":"e","x":1}]"#, &[(Stream::NotifyLogged, "updateAvatar", r#"[{"rid":"r1","etag":"e"}]"#)]),
    Case("user.avatarUpdate", r#"[{"username":"bob","avatarETag":"e"}]"#, &[(Stream::NotifyLogged, "updateAvatar", r#"[{"username":"bob","etag":"e"}]"#)]),
    Case("user.deleted", r#"[{"_id":"u1"},{"messageErasureType":"Delete"}]"#, &[(Stream::NotifyLogged, "Users:Deleted", r#"[{"userId":"u1","messageErasureType":"Delete"}]"#)]),
    Case("user.deleteCustomStatus", r#"[{"_id":"s"}]"#, &[(Stream::NotifyLogged, "deleteCustomUserStatus", r#"[{"userStatusData":{"_id":"s"}}]"#)]),
    Case("user.updateCustomStatus", r#"[{"_id":"s"}]"#, &[(Stream::NotifyLogged, "updateCustomUserStatus", r#"[{"userStatusData":{"_id":"s"}}]"#)]),
    Case("user.nameChanged", r#"[{"_id":"u1","name":"B"}]"#, &[(Stream::NotifyLogged, "Users:NameChanged", r#"[{"_id":"u1","name":"B"}]"#)]),
    Case("user.roleUpdate", r#"[{"type":"added","_id":"admin"}]"#, &[(Stream::NotifyLogged, "roles-change", r#"[{"type":"added","_id":"admin"}]"#)]),
    Case("user.video-conference", r#"[{"userId":"u1","action":"call","params":{"rid":"r"}}]"#, &[(Stream::NotifyUser, "u1/video-conference", r#"[{"action":"call","params":{"rid":"r"}}]"#)]),
    Case("user.media-signal", r#"[{"userId":"u1","signal":{"a":1}}]"#, &[(Stream::NotifyUser, "u1/media-signal", r#"[{"a":1}]"#)]),
    Case("room.video-conference", r#"[{"rid":"r1","callId":"c1"}]"#, &[(Stream::NotifyRoom, "r1/c1", "[]"), (Stream::NotifyRoom, "r1/videoconf", r#"["c1"]"#)]),
    Case("video-conference.updated", r#"[{"callId":"c1"}]"#, &[(Stream::VideoConference, "c1/updated", "[]")]),
    Case("user.activity", r#"[{"user":"bob","isTyping":true,"roomId":"r1"}]"#, &[(Stream::NotifyRoom, "r1/user-activity", r#"["bob",["user-typing"]]"#)]),
    Case("user.activity", r#"[{"user":"bob","isTyping":false,"roomId":"r1"}]"#, &[(Stream::NotifyRoom, "r1/user-activity", r#"["bob",[]]"#)]),
    Case("user.typing", r#"[{"user":{"_id":"u","username":"bob"},"isTyping":false,"roomId":"r1"}]"#, &[(Stream::NotifyRoom, "r1/user-activity", r#"["bob",[]]"#), (Stream::NotifyRoom, "r1/typing", r#"["bob",false]"#)]),
    Case("watch.messages", r#"[{"message":{"_id":"m","rid":"r1","ts":{"$date":1}}}]"#, &[(Stream::RoomMessages, "r1", r#"[{"_id":"m","rid":"r1","ts":{"$date":1}}]"#)]),
    Case("watch.messages", r#"[{"message":{"_id":"m"}}]"#, &[]),
    Case("otrMessage", r#"[{"roomId":"r1","message":{"_id":"m"},"user":{"_id":"u"},"room":{"_id":"r1"}}]"#, &[(Stream::RoomMessages, "r1", r#"[{"_id":"m"},{"_id":"u"},{"_id":"r1"}]"#)]),
    Case("otrAckUpdate", r#"[{"roomId":"r1","acknowledgeMessage":{"_id":"a"}}]"#, &[(Stream::RoomMessages, "r1", r#"[{"_id":"a"}]"#)]),
    Case("notify.messagesRead", r#"[{"rid":"r1","until":{"$date":1}}]"#, &[(Stream::NotifyRoom, "r1/messagesRead", r#"[{"until":{"$date":1}}]"#)]),
    Case("watch.subscriptions", r#"[{"clientAction":"updated","subscription":{"_id":"s","rid":"r1","u":{"_id":"u1"}}}]"#, &[(Stream::NotifyUser, "u1/subscriptions-changed", r#"["updated",{"_id":"s","rid":"r1","u":{"_id":"u1"}}]"#)]),
    Case("watch.subscriptions", r#"[{"clientAction":"removed","subscription":{"_id":"s"}}]"#, &[]),
    Case("watch.roles", r#"[{"clientAction":"changed","role":{"_id":"a","name":"A"}}]"#, &[(Stream::Roles, "roles", r#"[{"type":"changed","_id":"a","name":"A"}]"#)]),
    Case("watch.rooms", r#"[{"clientAction":"updated","room":{"_id":"r1","t":"c"}}]"#, &[(Stream::RoomData, "r1", r#"[{"_id":"r1","t":"c"}]"#)]),
    Case("watch.users", r#"[{"clientAction":"updated","id":"u1","diff":{"name":"B"},"unset":{"bio":1},"data":{"secret":1}}]"#, &[(Stream::NotifyUser, "u1/userData", r#"[{"id":"u1","diff":{"name":"B"},"unset":{"bio":1},"type":"updated"}]"#)]),
    Case("watch.users", r#"[{"clientAction":"changed","id":"u1","diff":{}}]"#, &[(Stream::NotifyUser, "u1/userData", r#"[{"id":"u1","diff":{},"type":"changed"}]"#)]),
    Case("watch.users", r#"[{"clientAction":"inserted","id":"u1","data":{"_id":"u1"}}]"#, &[(Stream::NotifyUser, "u1/userData", r#"[{"id":"u1","data":{"_id":"u1"},"type":"inserted"}]"#)]),
    Case("watch.users", r#"[{"clientAction":"removed","id":"u1"}]"#, &[(Stream::NotifyUser, "u1/userData", r#"[{"id":"u1","type":"removed"}]"#)]),
    Case("watch.integrationHistory", r#"[{"clientAction":"updated","id":"h","data":{"integration":{"_id":"i"}},"diff":{"x":1}}]"#, &[(Stream::IntegrationHistory, "i", r#"[{"id":"h","diff":{"x":1},"type":"updated"}]"#)]),
    Case("watch.integrationHistory", r#"[{"clientAction":"inserted","id":"h","data":{"integration":{"_id":"i"}}}]"#, &[(Stream::IntegrationHistory, "i", r#"[{"data":{"integration":{"_id":"i"}},"type":"inserted"}]"#)]),
    Case("watch.livechatDepartmentAgents", r#"[{"clientAction":"inserted","id":"x","data":{"agentId":"u1"}}]"#, &[(Stream::NotifyUser, "u1/departmentAgentData", r#"[{"action":"inserted","agentId":"u1"}]"#)]),
    Case("watch.priorities", r#"[{"clientAction":"updated","id":"p","diff":{"name":"N"}}]"#, &[(Stream::NotifyLogged, "omnichannel.priority-changed", r#"[{"id":"p","clientAction":"updated","name":"N"}]"#)]),
    Case("banner.user", r#"["u1",{"_id":"b"}]"#, &[(Stream::NotifyUser, "u1/banners", r#"[{"_id":"b"}]"#)]),
    Case("banner.new", r#"["b"]"#, &[(Stream::NotifyLogged, "new-banner", r#"[{"bannerId":"b"}]"#), (Stream::NotifyLogged, "banner-changed", r#"[{"bannerId":"b"}]"#)]),
    Case("banner.enabled", r#"["b"]"#, &[(Stream::NotifyLogged, "banner-changed", r#"[{"bannerId":"b"}]"#)]),
    Case("banner.disabled", r#"["b"]"#, &[(Stream::NotifyLogged, "banner-changed", r#"[{"bannerId":"b"}]"#)]),
    Case("voip.events", r#"["u1",{"a":1}]"#, &[(Stream::NotifyUser, "u1/voip.events", r#"[{"a":1}]"#)]),
    Case("connector.statuschanged", "[true]", &[(Stream::NotifyLogged, "voip.statuschanged", "[true]")]),
    Case("call.callerhangup", r#"["u1",{"roomId":"r"}]"#, &[(Stream::NotifyUser, "u1/call.hangup", r#"[{"roomId":"r"}]"#)]),
    Case("notify.desktop", r#"["u1",{"title":"t"}]"#, &[(Stream::NotifyUser, "u1/notification", r#"[{"title":"t"}]"#)]),
    Case("notify.uiInteraction", r#"["u1",{"a":1}]"#, &[(Stream::NotifyUser, "u1/uiInteraction", r#"[{"a":1}]"#)]),
    Case("notify.updateInvites", r#"["u1",{"invite":1}]"#, &[(Stream::NotifyUser, "u1/updateInvites", r#"[{"invite":1}]"#)]),
    Case("notify.webdav", r#"["u1",{"type":"changed","account":{}}]"#, &[(Stream::NotifyUser, "u1/webdav", r#"[{"type":"changed","account":{}}]"#)]),
    Case("notify.calendar", r#"["u1",{"a":1}]"#, &[(Stream::NotifyUser, "u1/calendar", r#"[{"a":1}]"#)]),
    Case("notify.e2e.keyRequest", r#"["r1","k"]"#, &[(Stream::NotifyRoom, "r1/e2e.keyRequest", r#"["k"]"#)]),
    Case("notify.deleteMessage", r#"["r1",{"_id":"m"}]"#, &[(Stream::NotifyRoom, "r1/deleteMessage", r#"[{"_id":"m"}]"#)]),
    Case("notify.deleteMessageBulk", r#"["r1",{"rid":"r1","ts":{"$gt":{"$date":1}}}]"#, &[(Stream::NotifyRoom, "r1/deleteMessageBulk", r#"[{"rid":"r1","ts":{"$gt":{"$date":1}}}]"#)]),
    Case("notify.deleteCustomSound", r#"[{"a":1}]"#, &[(Stream::NotifyAll, "deleteCustomSound", r#"[{"a":1}]"#), (Stream::NotifyAll, "public-info", r#"[["deleteCustomSound",[{"a":1}]]]"#)]),
    Case("notify.updateCustomSound", r#"[{"a":1}]"#, &[(Stream::NotifyAll, "updateCustomSound", r#"[{"a":1}]"#), (Stream::NotifyAll, "public-info", r#"[["updateCustomSound",[{"a":1}]]]"#)]),
    Case("omnichannel.room", r#"["r1",{"type":"queueData"}]"#, &[(Stream::LivechatRoom, "r1", r#"[{"type":"queueData"}]"#)]),
    Case("apps.added", r#"["a"]"#, &[(Stream::Apps, "app/added", r#"["a"]"#), (Stream::Apps, "apps", r#"[["app/added",["a"]]]"#)]),
    Case("apps.removed", r#"["a"]"#, &[(Stream::Apps, "app/removed", r#"["a"]"#), (Stream::Apps, "apps", r#"[["app/removed",["a"]]]"#)]),
    Case("apps.updated", r#"["a","origin"]"#, &[(Stream::Apps, "app/updated", r#"["a"]"#), (Stream::Apps, "apps", r#"[["app/updated",["a"]]]"#)]),
    Case("apps.statusUpdate", r#"["a","on"]"#, &[(Stream::Apps, "app/statusUpdate", r#"[{"appId":"a","status":"on"}]"#), (Stream::Apps, "apps", r#"[["app/statusUpdate",[{"appId":"a","status":"on"}]]]"#)]),
    Case("apps.settingUpdated", r#"["a",{"id":"s"}]"#, &[(Stream::Apps, "app/settingUpdated", r#"[{"appId":"a","setting":{"id":"s"}}]"#), (Stream::Apps, "apps", r#"[["app/settingUpdated",[{"appId":"a","setting":{"id":"s"}}]]]"#)]),
    Case("command.added", r#"["c"]"#, &[(Stream::Apps, "command/added", r#"["c"]"#), (Stream::Apps, "apps", r#"[["command/added",["c"]]]"#)]),
    Case("command.disabled", r#"["c"]"#, &[(Stream::Apps, "command/disabled", r#"["c"]"#), (Stream::Apps, "apps", r#"[["command/disabled",["c"]]]"#)]),
    Case("command.updated", r#"["c"]"#, &[(Stream::Apps, "command/updated", r#"["c"]"#), (Stream::Apps, "apps", r#"[["command/updated",["c"]]]"#)]),
    Case("command.removed", r#"["c"]"#, &[(Stream::Apps, "command/removed", r#"["c"]"#), (Stream::Apps, "apps", r#"[["command/removed",["c"]]]"#)]),
    Case("actions.changed", "[]", &[(Stream::Apps, "actions/changed", "[]"), (Stream::Apps, "apps", r#"[["actions/changed",[]]]"#)]),
];

#[test]
fn every_event_says_what_the_contract_says() {
    let plans = Plans::new();
    for Case(event, args, expected) in CASES {
        let mut found = Vec::new();
        let plan = plans.get(event).unwrap();
        plan.say(args, &mut String::new(), |topic, template| {
            found.push((topic.stream, topic.event.to_owned(), template.args(args)));
        });
        let found: Vec<_> = found
            .iter()
            .map(|(stream, key, args)| (*stream, &**key, &**args))
            .collect();
        assert_eq!(found, *expected, "{event} {args}");
        for (_, _, args) in found {
            serde_json::from_str::<serde_json::Value>(args).unwrap();
        }
    }
}

#[test]
fn nothing_is_told_of_what_is_not_there() {
    let plans = Plans::new();
    for (event, args) in [
        ("permission.changed", "[]"),
        ("room.avatarUpdate", "[null]"),
        ("user.avatarUpdate", "[]"),
        ("user.deleted", r#"[null,{"messageErasureType":"Delete"}]"#),
        ("watch.roles", "[]"),
        ("watch.priorities", "[null]"),
        ("watch.rooms", "[]"),
        ("user.activity", "[null]"),
    ] {
        let plan = plans.get(event).unwrap();
        plan.say(args, &mut String::new(), |topic, _| {
            panic!("{event} {args} becomes {topic:?}")
        });
    }
}

#[test]
fn every_publication_has_a_case() {
    for event in EVENTS {
        for said in event.publications {
            let covered = CASES.iter().any(|Case(name, _, outputs)| {
                *name == event.name && outputs.iter().any(|(stream, _, _)| *stream == said.stream)
            });
            assert!(covered, "{}", event.name);
        }
    }
}

/// What backplane.md 9.1 to 9.4 and 9.6 give the service to hear, and streams.md 12 besides.
#[rustfmt::skip]
const HEARD: &[&str] = &[
    "stream", "watch.messages", "watch.rooms", "watch.subscriptions", "watch.users", "watch.settings", "watch.roles",
    "permission.changed", "watch.inquiries", "watch.livechatDepartmentAgents", "watch.loginServiceConfiguration",
    "watch.integrationHistory", "watch.priorities", "presence.status", "presence.invalidateVisibility", "user.forceLogout",
    "meteor.clientVersionUpdated", "license.sync", "license.actions", "abac.config.changed", "notify.desktop",
    "notify.uiInteraction", "notify.updateInvites", "notify.ephemeralMessage", "notify.webdav", "notify.e2e.keyRequest",
    "notify.deleteMessage", "notify.deleteMessageBulk", "notify.deleteCustomSound", "notify.updateCustomSound",
    "notify.calendar", "notify.messagesRead", "notify.importedMessages", "emoji.deleteCustom", "emoji.updateCustom",
    "room.avatarUpdate", "user.avatarUpdate", "user.deleted", "user.nameChanged", "user.roleUpdate",
    "user.updateCustomStatus", "user.deleteCustomStatus", "user.activity", "user.typing", "user.video-conference",
    "user.media-signal", "room.video-conference", "video-conference.updated", "banner.new", "banner.enabled",
    "banner.disabled", "banner.user", "omnichannel.room", "connector.statuschanged", "call.callerhangup", "voip.events",
    "apps.added", "apps.removed", "apps.updated", "apps.statusUpdate", "apps.settingUpdated", "command.added",
    "command.disabled", "command.updated", "command.removed", "actions.changed", "otrMessage", "otrAckUpdate",
];

/// What the original does not hear there: access and logins rest on it here.
const HEARD_BESIDES: &[&str] = &[
    "license.module",
    "authorization.guestPermissions",
    "accounts.logout",
];

#[test]
fn what_is_announced_is_what_the_contract_lists_and_what_access_rests_on() {
    let mut expected = [HEARD, HEARD_BESIDES].concat();
    let mut found: Vec<_> = announced().collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn an_event_stands_once_and_does_something() {
    let mut names: Vec<_> = announced().collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    for event in EVENTS {
        let does = event.first.len() + event.publications.len() + event.last.len();
        assert!(does > 0, "{}", event.name);
    }
}

/// The compiler holds that every reaction is handled; this, that every one is asked for.
#[test]
fn every_reaction_is_used() {
    use Reaction::*;
    let all = [
        Membership,
        Room,
        User,
        UserGone,
        RoleGranted,
        Agent,
        Everybody,
        Setting,
        Conference,
        Logout,
        ForceLogout,
        Relay,
        PublishSetting,
        PresenceStatus,
        Visibility,
        EphemeralMessage,
        ImportedMessages,
        MyMessages,
        Inquiry,
        LoginService,
        ClientVersion,
    ];
    assert_eq!(all.len(), ClientVersion as usize + 1);
    for reaction in all {
        let used = EVENTS
            .iter()
            .any(|event| event.first.contains(&reaction) || event.last.contains(&reaction));
        assert!(used, "{reaction:?}");
    }
}
