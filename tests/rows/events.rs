//! What every event of the backplane becomes on the streams, byte by byte (streams.md 8.1 and 12).

use std::{thread, time::Duration};

use harness::Client;
use serde_json::{Value, json};

use crate::cast::{Caller, Cast, Stage};

/// One row: an event with its arguments becomes these publications, in raw and SockJS framing, and no others for whoever
/// follows them. `<any>` stands for what the gateway makes up.
macro_rules! events {
    (beside all services; $($rows:tt)+) => {
        events! { Newest; $($rows)+ }
        mod in_one_process {
            use super::*;
            events! { All; $($rows)+ }
        }
    };
    ($stage:ident; $($(#[$open:meta])? $name:ident: $event:literal $args:literal => [$($stream:literal $key:literal $told:literal),*];)+) => {
        $(#[test] $(#[$open])? fn $name() {
            let told: &[Told] = &[$(Told { stream: $stream, key: $key, args: $told }),*];
            Stage::$stage.play(|cast| check(cast, $event, $args, told));
        })+
    };
}

/// One publication.
struct Told {
    stream: &'static str,
    key: &'static str,
    args: &'static str,
}

events! { beside all services;
    license_sync: "license.sync" r#"[]"# => ["notify-all" "license" r#"[]"#];
    license_actions: "license.actions" r#"[{"preventAction":true}]"# => ["notify-all" "license" r#"[]"#];
    abac_config: "abac.config.changed" r#"[]"# => ["notify-logged" "abac-config-changed" r#"[]"#];
    emoji_deleted: "emoji.deleteCustom" r#"[{"name":"e","_id":"1"}]"# => ["notify-logged" "deleteEmojiCustom" r#"[{"emojiData":{"name":"e","_id":"1"}}]"#];
    emoji_updated: "emoji.updateCustom" r#"[{"name":"e","_id":"1"}]"# => ["notify-logged" "updateEmojiCustom" r#"[{"emojiData":{"name":"e","_id":"1"}}]"#];
    ephemeral_message: "notify.ephemeralMessage" r#"["<self>","<private>",{"msg":"only you"}]"# => ["notify-user" "<self>/message" r#"[{"groupable":false,"u":{"_id":"rocket.cat","username":"rocket.cat"},"private":true,"_id":"<any>","rid":"<private>","ts":{"$date":<any>},"_updatedAt":{"$date":<any>},"msg":"only you"}]"#];
    permission_changed: "permission.changed" r#"[{"clientAction":"updated","data":{"_id":"p","roles":["x"],"level":"settings"}}]"# => ["notify-logged" "permissions-changed" r#"["updated",{"_id":"p","roles":["x"],"level":"settings"}]"#];
    permission_removed: "permission.changed" r#"[{"clientAction":"removed","data":{"_id":"p","roles":[]}}]"# => ["notify-logged" "permissions-changed" r#"["removed",{"_id":"p","roles":[]}]"#];
    room_avatar: "room.avatarUpdate" r#"[{"_id":"<private>","avatarETag":"e"}]"# => ["notify-logged" "updateAvatar" r#"[{"rid":"<private>","etag":"e"}]"#];
    room_avatar_reset: "room.avatarUpdate" r#"[{"_id":"<private>"}]"# => ["notify-logged" "updateAvatar" r#"[{"rid":"<private>"}]"#];
    user_avatar: "user.avatarUpdate" r#"[{"username":"u","avatarETag":"e"}]"# => ["notify-logged" "updateAvatar" r#"[{"username":"u","etag":"e"}]"#];
    user_deleted: "user.deleted" r#"[{"_id":"gone"},{"messageErasureType":"Delete"}]"# => ["notify-logged" "Users:Deleted" r#"[{"userId":"gone","messageErasureType":"Delete"}]"#];
    user_unlinked: "user.deleted" r#"[{"_id":"gone"},{"messageErasureType":"Unlink","replaceByUser":{"_id":"r","username":"r","alias":"R"}}]"# => ["notify-logged" "Users:Deleted" r#"[{"userId":"gone","messageErasureType":"Unlink","replaceByUser":{"_id":"r","username":"r","alias":"R"}}]"#];
    custom_status_deleted: "user.deleteCustomStatus" r#"[{"_id":"s","name":"n"}]"# => ["notify-logged" "deleteCustomUserStatus" r#"[{"userStatusData":{"_id":"s","name":"n"}}]"#];
    custom_status_updated: "user.updateCustomStatus" r#"[{"_id":"s","name":"n"}]"# => ["notify-logged" "updateCustomUserStatus" r#"[{"userStatusData":{"_id":"s","name":"n"}}]"#];
    name_changed: "user.nameChanged" r#"[{"_id":"u","name":"N","username":"n"}]"# => ["notify-logged" "Users:NameChanged" r#"[{"_id":"u","name":"N","username":"n"}]"#];
    role_update: "user.roleUpdate" r#"[{"type":"added","_id":"owner","u":{"_id":"u","username":"u"},"scope":"r"}]"# => ["notify-logged" "roles-change" r#"[{"type":"added","_id":"owner","u":{"_id":"u","username":"u"},"scope":"r"}]"#];
    user_video_conference: "user.video-conference" r#"[{"userId":"<self>","action":"call","params":{"callId":"c","uid":"u","rid":"r"}}]"# => ["notify-user" "<self>/video-conference" r#"[{"action":"call","params":{"callId":"c","uid":"u","rid":"r"}}]"#];
    media_signal: "user.media-signal" r#"[{"userId":"<self>","signal":{"type":"new","callId":"c"}}]"# => ["notify-user" "<self>/media-signal" r#"[{"type":"new","callId":"c"}]"#];
    room_video_conference: "room.video-conference" r#"[{"rid":"<private>","callId":"c7"}]"# => ["notify-room" "<private>/c7" r#"[]"#, "notify-room" "<private>/videoconf" r#"["c7"]"#];
    conference_updated: "video-conference.updated" r#"[{"callId":"<call>"}]"# => ["video-conference" "<call>/updated" r#"[]"#];
    typing: "user.activity" r#"[{"isTyping":true,"roomId":"<private>","user":"somebody"}]"# => ["notify-room" "<private>/user-activity" r#"["somebody",["user-typing"]]"#];
    no_more_typing: "user.activity" r#"[{"isTyping":false,"roomId":"<private>","user":"somebody"}]"# => ["notify-room" "<private>/user-activity" r#"["somebody",[]]"#];
    typing_by_the_old_name: "user.typing" r#"[{"isTyping":true,"roomId":"<private>","user":{"_id":"u","username":"somebody"}}]"# => ["notify-room" "<private>/user-activity" r#"["somebody",["user-typing"]]"#, "notify-room" "<private>/typing" r#"["somebody",true]"#];
    message: "watch.messages" r#"[{"message":{"_id":"m","rid":"<private>","msg":"\"q\" \\ é","ts":{"$date":1700000000123},"u":{"_id":"x"},"n":1.5,"z":null}}]"# => ["room-messages" "<private>" r#"[{"_id":"m","rid":"<private>","msg":"\"q\" \\ é","ts":{"$date":1700000000123},"u":{"_id":"x"},"n":1.5,"z":null}]"#];
    message_of_a_public_room: "watch.messages" r#"[{"message":{"_id":"m","rid":"<public>","msg":"x"}}]"# => ["room-messages" "<public>" r#"[{"_id":"m","rid":"<public>","msg":"x"}]"#];
    message_without_a_room: "watch.messages" r#"[{"message":{"_id":"m","msg":"x"}}]"# => [];
    message_for_who_follows_all: "watch.messages" r#"[{"message":{"_id":"m","rid":"<private>","msg":"x"}}]"# => ["room-messages" "__my_messages__" r#"[{"_id":"m","rid":"<private>","msg":"x"},{"roomParticipant":true,"roomType":"p","roomName":"<any>"}]"#];
    direct_message_for_who_follows_all: "watch.messages" r#"[{"message":{"_id":"m","rid":"<direct>","msg":"x"}}]"# => ["room-messages" "__my_messages__" r#"[{"_id":"m","rid":"<direct>","msg":"x"},{"roomParticipant":true,"roomType":"d"}]"#];
    messages_read: "notify.messagesRead" r#"[{"rid":"<private>","until":{"$date":5},"tmid":"t"}]"# => ["notify-room" "<private>/messagesRead" r#"[{"tmid":"t","until":{"$date":5}}]"#];
    subscription_updated: "watch.subscriptions" r#"[{"clientAction":"updated","subscription":{"_id":"s","rid":"elsewhere","unread":3,"u":{"_id":"<self>"}}}]"# => ["notify-user" "<self>/subscriptions-changed" r#"["updated",{"_id":"s","rid":"elsewhere","unread":3,"u":{"_id":"<self>"}}]"#];
    subscription_removed: "watch.subscriptions" r#"[{"clientAction":"removed","subscription":{"_id":"s","u":{"_id":"<self>"},"rid":"elsewhere","t":"p"}}]"# => ["notify-user" "<self>/subscriptions-changed" r#"["removed",{"_id":"s","u":{"_id":"<self>"},"rid":"elsewhere","t":"p"}]"#];
    subscription_of_nobody: "watch.subscriptions" r#"[{"clientAction":"updated","subscription":{"_id":"s","rid":"elsewhere"}}]"# => [];
    role_changed: "watch.roles" r#"[{"clientAction":"changed","role":{"_id":"r","name":"R"}}]"# => ["roles" "roles" r#"[{"type":"changed","_id":"r","name":"R"}]"#];
    role_removed: "watch.roles" r#"[{"clientAction":"removed","role":{"_id":"r","name":"R"}}]"# => ["roles" "roles" r#"[{"type":"removed","_id":"r","name":"R"}]"#];
    room_data: "watch.rooms" r#"[{"clientAction":"updated","room":{"_id":"<private>","t":"p","topic":"z"}}]"# => ["room-data" "<private>" r#"[{"_id":"<private>","t":"p","topic":"z"}]"#];
    user_updated: "watch.users" r#"[{"clientAction":"updated","id":"<self>","diff":{"bio":"y"},"unset":{"nickname":1}}]"# => ["notify-user" "<self>/userData" r#"[{"id":"<self>","diff":{"bio":"y"},"unset":{"nickname":1},"type":"updated"}]"#];
    user_inserted: "watch.users" r#"[{"clientAction":"inserted","id":"<self>","data":{"_id":"<self>","bio":"y"}}]"# => ["notify-user" "<self>/userData" r#"[{"id":"<self>","data":{"_id":"<self>","bio":"y"},"type":"inserted"}]"#];
    user_changed_in_no_known_way: "watch.users" r#"[{"clientAction":"renamed","id":"<self>","diff":{"bio":"y"}}]"# => [];
    history_updated: "watch.integrationHistory" r#"[{"clientAction":"updated","id":"h","data":{"_id":"h","integration":{"_id":"i"}},"diff":{"finished":true}}]"# => ["integrationHistory" "i" r#"[{"id":"h","diff":{"finished":true},"type":"updated"}]"#];
    history_inserted: "watch.integrationHistory" r#"[{"clientAction":"inserted","id":"h","data":{"_id":"h","integration":{"_id":"i"}}}]"# => ["integrationHistory" "i" r#"[{"data":{"_id":"h","integration":{"_id":"i"}},"type":"inserted"}]"#];
    history_of_nothing: "watch.integrationHistory" r#"[{"clientAction":"inserted","id":"h","data":{"_id":"h"}}]"# => [];
    department_agent: "watch.livechatDepartmentAgents" r#"[{"clientAction":"inserted","id":"d","data":{"_id":"d","agentId":"<self>","departmentId":"x"}}]"# => ["notify-user" "<self>/departmentAgentData" r#"[{"action":"inserted","_id":"d","agentId":"<self>","departmentId":"x"}]"#];
    priority: "watch.priorities" r#"[{"clientAction":"updated","id":"p","diff":{"name":"high"}}]"# => ["notify-logged" "omnichannel.priority-changed" r#"[{"id":"p","clientAction":"updated","name":"high"}]"#];
    banner_for_one: "banner.user" r#"["<self>",{"_id":"b"}]"# => ["notify-user" "<self>/banners" r#"[{"_id":"b"}]"#];
    banner_new: "banner.new" r#"["b"]"# => ["notify-logged" "new-banner" r#"[{"bannerId":"b"}]"#, "notify-logged" "banner-changed" r#"[{"bannerId":"b"}]"#];
    banner_enabled: "banner.enabled" r#"["b"]"# => ["notify-logged" "banner-changed" r#"[{"bannerId":"b"}]"#];
    banner_disabled: "banner.disabled" r#"["b"]"# => ["notify-logged" "banner-changed" r#"[{"bannerId":"b"}]"#];
    voip_event: "voip.events" r#"["<self>",{"event":"x"}]"# => ["notify-user" "<self>/voip.events" r#"[{"event":"x"}]"#];
    connector_status: "connector.statuschanged" r#"[true]"# => ["notify-logged" "voip.statuschanged" r#"[true]"#];
    caller_hangup: "call.callerhangup" r#"["<self>",{"roomId":"r"}]"# => ["notify-user" "<self>/call.hangup" r#"[{"roomId":"r"}]"#];
    desktop: "notify.desktop" r#"["<self>",{"title":"t","payload":{"_id":"m"}}]"# => ["notify-user" "<self>/notification" r#"[{"title":"t","payload":{"_id":"m"}}]"#];
    ui_interaction: "notify.uiInteraction" r#"["<self>",{"type":"modal.open"}]"# => ["notify-user" "<self>/uiInteraction" r#"[{"type":"modal.open"}]"#];
    invites: "notify.updateInvites" r#"["<self>",{"invite":{"_id":"i"}}]"# => ["notify-user" "<self>/updateInvites" r#"[{"invite":{"_id":"i"}}]"#];
    webdav: "notify.webdav" r#"["<self>",{"type":"changed","account":{"_id":"a"}}]"# => ["notify-user" "<self>/webdav" r#"[{"type":"changed","account":{"_id":"a"}}]"#];
    calendar: "notify.calendar" r#"["<self>",{"title":"t"}]"# => ["notify-user" "<self>/calendar" r#"[{"title":"t"}]"#];
    key_request: "notify.e2e.keyRequest" r#"["<private>","k"]"# => ["notify-room" "<private>/e2e.keyRequest" r#"["k"]"#];
    deletion: "notify.deleteMessage" r#"["<private>",{"_id":"m"}]"# => ["notify-room" "<private>/deleteMessage" r#"[{"_id":"m"}]"#];
    deletions: "notify.deleteMessageBulk" r#"["<private>",{"rid":"<private>","excludePinned":false,"ignoreDiscussion":true,"ts":{"$gt":{"$date":1}},"users":[]}]"# => ["notify-room" "<private>/deleteMessageBulk" r#"[{"rid":"<private>","excludePinned":false,"ignoreDiscussion":true,"ts":{"$gt":{"$date":1}},"users":[]}]"#];
    imported: "notify.importedMessages" r#"[{"roomIds":["<private>","<public>"]}]"# => ["notify-room" "<private>/messagesImported" r#"[null]"#, "notify-room" "<public>/messagesImported" r#"[null]"#];
    sound_deleted: "notify.deleteCustomSound" r#"[{"soundData":{"_id":"s"}}]"# => ["notify-all" "deleteCustomSound" r#"[{"soundData":{"_id":"s"}}]"#, "notify-all" "public-info" r#"[["deleteCustomSound",[{"soundData":{"_id":"s"}}]]]"#];
    sound_updated: "notify.updateCustomSound" r#"[{"soundData":{"_id":"s"}}]"# => ["notify-all" "updateCustomSound" r#"[{"soundData":{"_id":"s"}}]"#, "notify-all" "public-info" r#"[["updateCustomSound",[{"soundData":{"_id":"s"}}]]]"#];
    agent_status: "omnichannel.room" r#"["<visit>",{"type":"agentStatus","status":"away"}]"# => ["livechat-room" "<visit>" r#"[{"type":"agentStatus","status":"away"}]"#];
    queue_data: "omnichannel.room" r#"["<visit>",{"type":"queueData","data":{"spot":1}}]"# => ["livechat-room" "<visit>" r#"[{"type":"queueData","data":{"spot":1}}]"#];
    agent_data: "omnichannel.room" r#"["<visit>",{"type":"agentData"}]"# => ["livechat-room" "<visit>" r#"[{"type":"agentData"}]"#];
    visitor_data: "omnichannel.room" r#"["<visit>",{"type":"visitorData","visitor":{"_id":"v"}}]"# => ["livechat-room" "<visit>" r#"[{"type":"visitorData","visitor":{"_id":"v"}}]"#];
    app_added: "apps.added" r#"["a"]"# => ["apps" "app/added" r#"["a"]"#, "apps" "apps" r#"[["app/added",["a"]]]"#];
    app_removed: "apps.removed" r#"["a"]"# => ["apps" "app/removed" r#"["a"]"#, "apps" "apps" r#"[["app/removed",["a"]]]"#];
    app_updated: "apps.updated" r#"["a"]"# => ["apps" "app/updated" r#"["a"]"#, "apps" "apps" r#"[["app/updated",["a"]]]"#];
    app_status: "apps.statusUpdate" r#"["a","enabled"]"# => ["apps" "app/statusUpdate" r#"[{"appId":"a","status":"enabled"}]"#, "apps" "apps" r#"[["app/statusUpdate",[{"appId":"a","status":"enabled"}]]]"#];
    app_setting: "apps.settingUpdated" r#"["a",{"id":"s"}]"# => ["apps" "app/settingUpdated" r#"[{"appId":"a","setting":{"id":"s"}}]"#, "apps" "apps" r#"[["app/settingUpdated",[{"appId":"a","setting":{"id":"s"}}]]]"#];
    command_added: "command.added" r#"["c"]"# => ["apps" "command/added" r#"["c"]"#, "apps" "apps" r#"[["command/added",["c"]]]"#];
    command_disabled: "command.disabled" r#"["c"]"# => ["apps" "command/disabled" r#"["c"]"#, "apps" "apps" r#"[["command/disabled",["c"]]]"#];
    command_updated: "command.updated" r#"["c"]"# => ["apps" "command/updated" r#"["c"]"#, "apps" "apps" r#"[["command/updated",["c"]]]"#];
    command_removed: "command.removed" r#"["c"]"# => ["apps" "command/removed" r#"["c"]"#, "apps" "apps" r#"[["command/removed",["c"]]]"#];
    actions_changed: "actions.changed" r#"[]"# => ["apps" "actions/changed" r#"[]"#, "apps" "apps" r#"[["actions/changed",[]]]"#];
    setting_private: "watch.settings" r#"[{"clientAction":"updated","setting":{"_id":"s","type":"string","value":"v","public":false}}]"# => ["notify-logged" "private-settings-changed" r#"["updated",{"_id":"s","value":"v"}]"#];
    setting_public: "watch.settings" r#"[{"clientAction":"updated","setting":{"_id":"s","type":"color","editor":"color","value":"red","public":true,"requiredOnWizard":true}}]"# => ["notify-all" "public-settings-changed" r#"["updated",{"_id":"s","value":"red","editor":"color","requiredOnWizard":true}]"#, "notify-all" "public-info" r#"[["public-settings-changed",["updated",{"_id":"s","value":"red","editor":"color","requiredOnWizard":true}]]]"#, "notify-logged" "private-settings-changed" r#"["updated",{"_id":"s","value":"red","editor":"color","requiredOnWizard":true}]"#];
    setting_hidden: "watch.settings" r#"[{"clientAction":"updated","setting":{"_id":"s","value":"v","public":true,"hidden":true}}]"# => [];
    setting_enterprise: "watch.settings" r#"[{"clientAction":"updated","setting":{"_id":"s","value":"paid","invalidValue":"free","enterprise":true,"public":false}}]"# => ["notify-logged" "private-settings-changed" r#"["updated",{"_id":"s","value":"paid","enterprise":true}]"#];
    relay_as_a_list: "stream" r#"[["notify-user","<self>/e2ekeyRequest",["r","k"]]]"# => ["notify-user" "<self>/e2ekeyRequest" r#"["r","k"]"#];
    relay_as_an_object: "stream" r#"[{"stream":"canned-responses","eventName":"canned-responses","args":[{"type":"changed","_id":"c"}],"origin":"o"}]"# => ["canned-responses" "canned-responses" r#"[{"type":"changed","_id":"c"}]"#];
    relay_of_an_import: "stream" r#"[["importers","progress",[{"rate":5}]]]"# => ["importers" "progress" r#"[{"rate":5}]"#];
    otr_message_until_7: "otrMessage" r#"[{"roomId":"<direct>","message":{"_id":"m"},"user":{"_id":"u"},"room":{"_id":"r"}}]"# => ["room-messages" "<direct>" r#"[{"_id":"m"},{"_id":"u"},{"_id":"r"}]"#];
    otr_acknowledged_until_7: "otrAckUpdate" r#"[{"roomId":"<direct>","acknowledgeMessage":{"_id":"a"}}]"# => ["room-messages" "<direct>" r#"[{"_id":"a"}]"#];
    status: "presence.status" r#"[{"user":{"_id":"<self>","username":"<username>","status":"busy","statusText":"lunch","name":"N","roles":["user"]},"previousStatus":"online"}]"# => ["notify-user" "<self>/userData" r#"[{"type":"updated","id":"<self>","diff":{"status":"busy","statusText":"lunch"},"unset":{}}]"#, "notify-logged" "user-status" r#"[["<self>","<username>",3,"lunch","N",["user"]]]"#];
    status_with_an_empty_text: "presence.status" r#"[{"user":{"_id":"<self>","username":"<username>","status":"away","statusText":""}}]"# => ["notify-user" "<self>/userData" r#"[{"type":"updated","id":"<self>","diff":{"status":"away"},"unset":{"statusText":1}}]"#, "notify-logged" "user-status" r#"[["<self>","<username>",2,"",null,null]]"#];
    status_with_a_null_text: "presence.status" r#"[{"user":{"_id":"<self>","username":"<username>","status":"online","statusText":null}}]"# => ["notify-user" "<self>/userData" r#"[{"type":"updated","id":"<self>","diff":{"status":"online"},"unset":{"statusText":1}}]"#, "notify-logged" "user-status" r#"[["<self>","<username>",1,null,null,null]]"#];
    status_without_a_text: "presence.status" r#"[{"user":{"_id":"<self>","username":"<username>","status":"disabled"}}]"# => ["notify-user" "<self>/userData" r#"[{"type":"updated","id":"<self>","diff":{"status":"disabled"},"unset":{"statusText":1}}]"#, "notify-logged" "user-status" r#"[["<self>","<username>",0,null,null,null]]"#];
    status_with_its_source: "presence.status" r#"[{"user":{"_id":"<self>","username":"<username>","status":"busy","statusText":"t","statusSource":"manual","statusExpiresAt":{"$date":9}}}]"# => ["notify-user" "<self>/userData" r#"[{"type":"updated","id":"<self>","diff":{"status":"busy","statusText":"t","statusSource":"manual","statusExpiresAt":{"$date":9}},"unset":{}}]"#, "notify-logged" "user-status" r#"[["<self>","<username>",3,"t",null,null,"manual",{"$date":9}]]"#];
    status_under_restrictions: "presence.status" r#"[{"user":{"_id":"<self>","username":"<username>","status":"online","statusText":"t"},"hasVisibilityRestrictions":true}]"# => ["notify-user" "<self>/userData" r#"[{"type":"updated","id":"<self>","diff":{"status":"online","statusText":"t"},"unset":{}}]"#];
    status_without_a_name: "presence.status" r#"[{"user":{"_id":"<self>","username":"","status":"online"}}]"# => [];
    status_missing: "presence.status" r#"[{"user":{"_id":"<self>","username":"<username>"}}]"# => [];
    inquiry_for_all: "watch.inquiries" r#"[{"clientAction":"inserted","inquiry":{"_id":"i","status":"queued"}}]"# => ["livechat-inquiry-queue-observer" "i" r#"[{"_id":"i","status":"queued","clientAction":"inserted"}]"#, "livechat-inquiry-queue-observer" "public" r#"[{"type":"added","_id":"i","status":"queued"}]"#];
    inquiry_for_a_department: "watch.inquiries" r#"[{"clientAction":"updated","inquiry":{"_id":"i","department":"d"},"diff":{"department":"d"}}]"# => ["livechat-inquiry-queue-observer" "i" r#"[{"_id":"i","department":"d","clientAction":"updated"}]"#, "livechat-inquiry-queue-observer" "department/d" r#"[{"type":"changed","_id":"i","department":"d"}]"#];
    inquiry_for_an_agent: "watch.inquiries" r#"[{"clientAction":"inserted","inquiry":{"_id":"i","defaultAgent":{"agentId":"a"}}}]"# => ["livechat-inquiry-queue-observer" "i" r#"[{"_id":"i","defaultAgent":{"agentId":"a"},"clientAction":"inserted"}]"#, "livechat-inquiry-queue-observer" "agent/a" r#"[{"type":"added","_id":"i","defaultAgent":{"agentId":"a"}}]"#];
    inquiry_locked: "watch.inquiries" r#"[{"clientAction":"updated","inquiry":{"_id":"i"},"diff":{"lockedAt":{"$date":1},"locked":true,"_updatedAt":{"$date":1}}}]"# => ["livechat-inquiry-queue-observer" "i" r#"[{"_id":"i","clientAction":"updated"}]"#];
    inquiry_removed: "watch.inquiries" r#"[{"clientAction":"removed","inquiry":{"_id":"i","status":"taken"}}]"# => ["livechat-inquiry-queue-observer" "i" r#"[{"_id":"i","clientAction":"removed"}]"#, "livechat-inquiry-queue-observer" "public" r#"[{"type":"removed","_id":"i","status":"taken"}]"#];
}

mod on_7_0 {
    use super::*;

    events! { Old;
        inquiry_with_a_default_agent: "watch.inquiries" r#"[{"clientAction":"inserted","inquiry":{"_id":"i","defaultAgent":{"agentId":"a"}}}]"# => ["livechat-inquiry-queue-observer" "i" r#"[{"_id":"i","defaultAgent":{"agentId":"a"},"clientAction":"inserted"}]"#, "livechat-inquiry-queue-observer" "public" r#"[{"type":"added","_id":"i","defaultAgent":{"agentId":"a"}}]"#];
        inquiry_for_a_department: "watch.inquiries" r#"[{"clientAction":"inserted","inquiry":{"_id":"i","department":"d"}}]"# => ["livechat-inquiry-queue-observer" "department/d" r#"[{"type":"added","_id":"i","department":"d"}]"#];
        inquiry_that_leaves_the_public_queue: "watch.inquiries" r#"[{"clientAction":"updated","inquiry":{"_id":"i","department":"d"},"diff":{"status":"taken"}}]"# => ["livechat-inquiry-queue-observer" "department/d" r#"[{"type":"changed","_id":"i","department":"d"}]"#, "livechat-inquiry-queue-observer" "public" r#"[{"type":"changed","_id":"i","department":"d"}]"#];
        inquiry_that_is_given_a_department: "watch.inquiries" r#"[{"clientAction":"updated","inquiry":{"_id":"i","department":"d"},"diff":{"department":"d"}}]"# => ["livechat-inquiry-queue-observer" "department/d" r#"[{"type":"changed","_id":"i","department":"d"}]"#];
        inquiry_removed_from_a_department: "watch.inquiries" r#"[{"clientAction":"removed","inquiry":{"_id":"i","department":"d"}}]"# => ["livechat-inquiry-queue-observer" "department/d" r#"[{"type":"removed","_id":"i","department":"d"}]"#];
        otr_message: "otrMessage" r#"[{"roomId":"<direct>","message":{"_id":"m"},"user":{"_id":"u"},"room":{"_id":"r"}}]"# => ["room-messages" "<direct>" r#"[{"_id":"m"},{"_id":"u"},{"_id":"r"}]"#];
        relay_as_a_list: "stream" r#"[["notify-room","<public>/videoconf",["c"]]]"# => ["notify-room" "<public>/videoconf" r#"["c"]"#];
    }
}

/// Who may read what a row says.
fn reader(stream: &str, key: &str) -> Caller {
    match (stream, key) {
        ("livechat-room", _) => Caller::Guest,
        ("livechat-inquiry-queue-observer" | "canned-responses", _) => Caller::Agent,
        ("notify-logged", "private-settings-changed") | ("integrationHistory", _) => Caller::Admin,
        _ => Caller::Member,
    }
}

/// Readers follow everything that the row names on any of its streams, and get exactly what the row says.
fn check(cast: &Cast, event: &str, args: &str, told: &[Told]) {
    // Ids of a row are those of the member, whoever reads.
    let fill = |text: &str| cast.fill(text, Caller::Member);
    let mut callers = vec![Caller::Member];
    for told in told {
        let caller = reader(told.stream, told.key);
        if !callers.contains(&caller) {
            callers.push(caller);
        }
    }
    let mut readers: Vec<(Caller, Client)> = callers
        .into_iter()
        .flat_map(|caller| cast.sockets(caller).map(|client| (caller, client)))
        .collect();
    for (caller, client) in &mut readers {
        let extra = cast.extra(*caller);
        for told in told {
            if reader(told.stream, told.key) == *caller {
                let key = fill(told.key);
                let answer = client.stream_with(told.stream, &key, &extra);
                answer.unwrap_or_else(|error| panic!("{} {key}: {error}", told.stream));
            }
        }
        if *caller == Caller::Member {
            bystander(cast, client, told);
        }
        client.take_texts();
    }
    cast.product.broadcast_text(event, &fill(args));
    for (caller, client) in &mut readers {
        let mut expected: Vec<String> = told
            .iter()
            .filter(|told| reader(told.stream, told.key) == *caller)
            .map(|told| frame(told.stream, &fill(told.key), &fill(told.args)))
            .collect();
        let mut got = arrived(cast, client, expected.len());
        expected.sort_unstable();
        got.sort_unstable();
        let same = got.len() == expected.len()
            && got
                .iter()
                .zip(&expected)
                .all(|(got, expected)| matches(got, expected));
        assert!(
            same,
            "{event} {args}\nbecame   {got:#?}\ninstead of {expected:#?}"
        );
    }
}

/// Follows what the event might become by mistake.
fn bystander(cast: &Cast, client: &mut Client, told: &[Told]) {
    for (stream, key) in [
        ("notify-user", "<self>/userData"),
        ("notify-user", "<self>/subscriptions-changed"),
        ("notify-logged", "user-status"),
        ("notify-all", "public-settings-changed"),
        ("room-messages", "<private>"),
        ("notify-room", "<private>/user-activity"),
    ] {
        let named = told
            .iter()
            .any(|told| (told.stream, told.key) == (stream, key));
        let mixed = told.iter().any(|told| told.key == "__my_messages__");
        if !named && !mixed {
            let key = cast.fill(key, Caller::Member);
            // Whether it is open to him another table says.
            let _ = client.stream(stream, &key);
        }
    }
}

/// The events that have come when one behind them has come; some are looked up first, so more than once.
fn arrived(cast: &Cast, client: &mut Client, expected: usize) -> Vec<String> {
    let mut got = Vec::new();
    for _ in 0..ROUNDS {
        cast.product.settle(client);
        let texts = client.take_texts();
        let told = texts.into_iter().filter(|text| !text.contains("sentinel-"));
        got.extend(told);
        if got.len() >= expected {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    got
}

fn frame(stream: &str, key: &str, args: &str) -> String {
    let key: Value = json!(key);
    format!(
        r#"{{"msg":"changed","collection":"stream-{stream}","id":"id","fields":{{"eventName":{key},"args":{args}}}}}"#
    )
}

/// Whether a text is the expected one, in which `<any>` stands for a few characters.
fn matches(got: &str, expected: &str) -> bool {
    let mut parts = expected.split("<any>");
    let Some(mut rest) = got.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    for part in parts {
        match rest.find(part) {
            Some(at) if (1..=ANY_MAX).contains(&at) => rest = &rest[at + part.len()..],
            _ => return false,
        }
    }
    rest.is_empty()
}

/// How often an event is waited for behind its sentinel.
const ROUNDS: usize = 40;
/// The longest text that `<any>` stands for.
const ANY_MAX: usize = 40;
