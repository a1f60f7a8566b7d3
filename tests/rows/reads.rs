//! Who may read what (streams.md 7.3; anonymous access as design.md 6 says). Whoever may gets the data, nobody else does.

use serde_json::json;

use crate::cast::{Caller, Caller::*, Cast, Stage};

/// One row: these callers may subscribe to these events of a stream, all others are refused.
macro_rules! reads {
    ($($name:ident: $stream:literal [$($event:literal),+] => $allowed:expr;)+) => {
        mod theirs {
            use super::*;
            $(#[test] fn $name() { Stage::Newest.play(|cast| check(cast, $stream, &[$($event),+], $allowed)); })+
        }
        mod ours {
            use super::*;
            $(#[test] fn $name() { Stage::Own.play(|cast| check(cast, $stream, &[$($event),+], $allowed)); })+
        }
        mod in_one_process {
            use super::*;
            $(#[test] fn $name() { Stage::All.play(|cast| check(cast, $stream, &[$($event),+], $allowed)); })+
        }
        mod on_7_0 {
            use super::*;
            $(#[test] fn $name() { Stage::Old.play(|cast| check(cast, $stream, &[$($event),+], $allowed)); })+
        }
    };
}

const ALL: &[Caller] = &Caller::ALL;
const LOGGED: &[Caller] = &[Outsider, Stranger, Member, Agent, Admin];
/// Those with the ordinary role.
const USERS: &[Caller] = &[Stranger, Member, Agent, Admin];
const NOBODY: &[Caller] = &[];

reads! {
    notify_all_is_for_everybody: "notify-all" ["public-settings-changed", "public-info", "license", "deleteCustomSound", "updateCustomSound"] => ALL;
    no_event_name_is_special: "notify-all" ["toString", "__proto__", "a/b/c", "\u{1f600} of free text"] => ALL;
    notify_logged_needs_a_login: "notify-logged" ["updateAvatar", "Users:NameChanged", "Users:Deleted", "user-status", "roles-change", "permissions-changed", "constructor"] => LOGGED;
    private_settings_need_a_permission: "notify-logged" ["private-settings-changed"] => &[Admin];
    notify_user_is_for_the_user: "notify-user" ["<self>/message", "<self>/rooms-changed-of-a-kind", "<self>/force_logout", "<self>/userData", "<self>/webrtc", "<self>/otr", "<self>/anything"] => LOGGED;
    notify_user_is_for_no_one_else: "notify-user" ["<other>/message", "<other>/otr", "<other>/webrtc", "message", "/message"] => NOBODY;
    notify_room_of_a_private_room: "notify-room" ["<private>/user-activity", "<private>/deleteMessage", "<private>/deleteMessageBulk", "<private>/messagesRead", "<private>/videoconf", "<private>/webrtc"] => &[Member];
    notify_room_of_a_public_room: "notify-room" ["<public>/user-activity", "<public>/e2e.keyRequest"] => USERS;
    notify_room_of_a_direct_room: "notify-room" ["<direct>/user-activity"] => &[Member];
    notify_room_of_a_discussion: "notify-room" ["<discussion>/messagesImported"] => &[Member];
    notify_room_of_a_conversation: "notify-room" ["<visit>/user-activity", "<visit>/deleteMessage"] => &[Guest, Agent, Admin];
    notify_room_of_no_room: "notify-room" ["<missing>/user-activity", "/user-activity"] => NOBODY;
    notify_room_users_is_for_nobody: "notify-room-users" ["<private>/userData", "<private>/video-conference"] => NOBODY;
    messages_of_a_private_room: "room-messages" ["<private>"] => &[Member];
    messages_of_a_public_room: "room-messages" ["<public>"] => USERS;
    messages_of_a_direct_room: "room-messages" ["<direct>"] => &[Member];
    messages_of_a_discussion: "room-messages" ["<discussion>"] => &[Member];
    messages_of_a_conversation: "room-messages" ["<visit>"] => &[Guest, Agent, Admin];
    messages_of_no_room: "room-messages" ["<missing>", "<public>/", "<visit>/x", "<private>/messages"] => NOBODY;
    data_of_a_private_room: "room-data" ["<private>"] => &[Member];
    data_of_a_public_room: "room-data" ["<public>"] => USERS;
    data_of_a_conversation: "room-data" ["<visit>"] => &[Agent, Admin];
    data_of_no_room: "room-data" ["<missing>", "<public>/", "<private>/x"] => NOBODY;
    roles_need_a_login: "roles" ["roles"] => LOGGED;
    importers_need_a_login: "importers" ["progress"] => LOGGED;
    apps_need_a_login: "apps" ["apps", "app/added", "app/statusUpdate", "command/removed", "actions/changed"] => LOGGED;
    canned_responses_need_a_permission: "canned-responses" ["canned-responses"] => &[Agent, Admin];
    integration_history_needs_a_permission: "integrationHistory" ["an-integration"] => &[Admin];
    a_conversation_is_for_its_guest: "livechat-room" ["<visit>"] => &[Guest];
    no_other_room_is_a_conversation: "livechat-room" ["<private>", "<public>", "<missing>", "<visit>/x"] => NOBODY;
    inquiries_need_a_permission: "livechat-inquiry-queue-observer" ["public", "department/d", "agent/a", "an-inquiry"] => &[Agent, Admin];
    the_log_needs_a_permission: "stdout" ["stdout"] => &[Admin];
    apps_engine_is_for_nobody: "apps-engine" ["apps", "app/added"] => NOBODY;
    local_is_for_nobody: "local" ["anything"] => NOBODY;
}

/// Conferences exist on the newest line only.
mod conferences {
    use super::*;

    #[test]
    fn a_conference_is_for_those_of_its_room() {
        for stage in [Stage::Newest, Stage::Own] {
            stage.play(|cast| check(cast, "video-conference", &["<call>/updated"], &[Member]));
        }
    }

    #[test]
    fn no_conference_is_for_nobody() {
        let events = ["missing/updated", "missing", "/updated"];
        Stage::Newest.play(|cast| check(cast, "video-conference", &events, NOBODY));
    }
}

/// `__my_messages__` needs a login, whatever the original says.
#[test]
fn all_messages_need_a_login() {
    Stage::newest(|cast| {
        for caller in Caller::ALL {
            for mut client in cast.sockets(caller) {
                let answer = client.stream("room-messages", "__my_messages__");
                assert_eq!(
                    answer.is_ok(),
                    LOGGED.contains(&caller),
                    "{caller:?}: {answer:?}"
                );
            }
        }
    });
}

#[test]
fn an_unknown_stream_is_an_unknown_publication() {
    Stage::newest(|cast| {
        for caller in Caller::ALL {
            for mut client in cast.sockets(caller) {
                let error = client.stream("no-such", "x").expect_err("unknown");
                assert_eq!(error["error"], 404, "{error}");
            }
        }
    });
}

fn check(cast: &Cast, stream: &str, events: &[&str], allowed: &[Caller]) {
    for caller in Caller::ALL {
        let may = allowed.contains(&caller);
        for mut client in cast.sockets(caller) {
            for event in events {
                let event = cast.fill(event, caller);
                match client.stream_with(stream, &event, &cast.extra(caller)) {
                    Ok(_) => assert!(may, "{caller:?} may read {stream} {event}"),
                    Err(error) => {
                        assert!(!may, "{caller:?} may not read {stream} {event}: {error}");
                        assert_eq!(error["error"], "not-allowed", "{caller:?} {stream} {event}");
                    }
                }
                let said = json!({"cmd": "relay", "stream": stream, "event": event, "args": [1]});
                if may {
                    cast.product
                        .assert_flows(&mut client, stream, &event, &said);
                } else {
                    cast.product
                        .assert_silent(&mut client, stream, &event, &said);
                }
            }
        }
    }
}
