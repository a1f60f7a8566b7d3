//! What real clients do on a fresh socket, each in one burst without waiting (gateway.md 4): everything is answered in its
//! order, under the id that it was asked with, and nothing is refused that the client needs.

use harness::Client;
use serde_json::{Value, json};

use crate::cast::{Caller, Caller::*, Cast, Stage};

/// A kind of client.
struct Profile {
    caller: Caller,
    /// Publication and event name; before the login where there is one.
    before: &'static [(&'static str, &'static str)],
    after: &'static [(&'static str, &'static str)],
    /// How it writes what stands behind an event's name.
    options: fn(&Cast, Caller) -> Value,
}

/// Sockets in both framings.
const PATHS: [&str; 2] = ["/websocket", "/sockjs/123/abcdefgh/websocket"];

const WEB: Profile = Profile {
    caller: Member,
    before: &[
        ("meteor.loginServiceConfiguration", ""),
        ("meteor_autoupdate_clientVersions", ""),
        ("stream-notify-all", "public-settings-changed"),
    ],
    after: &[
        ("stream-notify-logged", "deleteCustomSound"),
        ("stream-notify-logged", "updateCustomSound"),
        ("stream-notify-logged", "updateEmojiCustom"),
        ("stream-notify-logged", "deleteEmojiCustom"),
        ("stream-notify-logged", "deleteCustomUserStatus"),
        ("stream-notify-logged", "updateCustomUserStatus"),
        ("stream-notify-logged", "banner-changed"),
        ("stream-notify-logged", "updateAvatar"),
        ("stream-notify-logged", "Users:NameChanged"),
        ("stream-notify-logged", "Users:Deleted"),
        ("stream-notify-logged", "roles-change"),
        ("stream-notify-logged", "voip.statuschanged"),
        ("stream-notify-logged", "permissions-changed"),
        ("stream-notify-user", "<self>/uiInteraction"),
        ("stream-notify-user", "<self>/video-conference"),
        ("stream-notify-user", "<self>/force_logout"),
        ("stream-notify-user", "<self>/message"),
        ("stream-notify-user", "<self>/subscriptions-changed"),
        ("stream-notify-user", "<self>/notification"),
        ("stream-notify-user", "<self>/otr"),
        ("stream-notify-user", "<self>/rooms-changed"),
        ("stream-notify-user", "<self>/webrtc"),
        ("stream-notify-user", "<self>/userData"),
        ("stream-apps", "app/added"),
        ("stream-apps", "app/removed"),
        ("stream-apps", "app/updated"),
        ("stream-apps", "app/settingUpdated"),
        ("stream-apps", "command/added"),
        ("stream-apps", "command/disabled"),
        ("stream-apps", "command/updated"),
        ("stream-apps", "command/removed"),
        ("stream-apps", "actions/changed"),
        ("stream-roles", "roles"),
        ("stream-user-presence", ""),
        ("stream-room-messages", "<private>"),
        ("stream-notify-room", "<private>/user-activity"),
        ("stream-notify-room", "<private>/deleteMessage"),
        ("stream-notify-room", "<private>/deleteMessageBulk"),
        ("stream-room-data", "<private>"),
    ],
    options: |_, _| json!({"useCollection": false, "args": []}),
};

const MOBILE: Profile = Profile {
    caller: Member,
    before: &[],
    after: &[
        ("stream-notify-all", "public-settings-changed"),
        ("stream-notify-logged", "updateAvatar"),
        ("stream-notify-logged", "Users:NameChanged"),
        ("stream-notify-logged", "permissions-changed"),
        ("stream-roles", "roles"),
        ("stream-notify-user", "<self>/message"),
        ("stream-notify-user", "<self>/otr"),
        ("stream-notify-user", "<self>/webrtc"),
        ("stream-notify-user", "<self>/notification"),
        ("stream-notify-user", "<self>/rooms-changed"),
        ("stream-notify-user", "<self>/subscriptions-changed"),
        ("stream-notify-user", "<self>/uiInteraction"),
        ("stream-notify-user", "<self>/e2ekeyRequest"),
        ("stream-notify-user", "<self>/userData"),
        ("stream-notify-user", "<self>/video-conference"),
        ("stream-notify-user", "<self>/media-signal"),
        ("stream-notify-user", "<self>/media-calls"),
        ("stream-user-presence", ""),
        ("stream-room-messages", "<private>"),
        ("stream-notify-room", "<private>/user-activity"),
        ("stream-notify-room", "<private>/deleteMessage"),
        ("stream-notify-room", "<private>/deleteMessageBulk"),
        ("stream-notify-room", "<private>/messagesRead"),
    ],
    // It repeats the room's id, or says `false`: neither is a token.
    options: |cast, caller| json!({"useCollection": false, "args": [cast.fill("<private>", caller), false]}),
};

const VISITOR: Profile = Profile {
    caller: Guest,
    before: &[
        ("stream-room-messages", "<visit>"),
        ("stream-notify-room", "<visit>/user-activity"),
        ("stream-notify-room", "<visit>/deleteMessage"),
        ("stream-livechat-room", "<visit>"),
        ("stream-livechat-room", "<visit>"),
    ],
    after: &[],
    options: |cast, caller| json!({"useCollection": false, "args": cast.extra(caller)}),
};

/// The older SDK asks for a collection, with the old word for it.
const BOT: Profile = Profile {
    caller: Member,
    before: &[],
    after: &[("stream-room-messages", "__my_messages__")],
    options: |_, _| json!(true),
};

impl Profile {
    fn params(&self, cast: &Cast, name: &str, event: &str) -> Value {
        match name {
            "stream-user-presence" => {
                json!(["", {"added": [cast.fill("<member>", self.caller)], "removed": []}])
            }
            name if name.starts_with("stream-") => {
                json!([
                    cast.fill(event, self.caller),
                    (self.options)(cast, self.caller)
                ])
            }
            _ => json!([]),
        }
    }

    /// Sends everything at once, again and again under the same ids as the SDK does after a second login.
    fn burst(&self, cast: &Cast, client: &mut Client) {
        let subscribe = |client: &mut Client, from: usize, subs: &[(&str, &str)]| {
            for (at, (name, event)) in subs.iter().enumerate() {
                let params = self.params(cast, name, event);
                let id = format!("s{}", from + at);
                client.send(&json!({"msg": "sub", "id": id, "name": name, "params": params}));
            }
        };
        client.send(&json!({"msg": "connect", "version": "1", "support": ["1", "pre2", "pre1"]}));
        subscribe(client, 0, self.before);
        if let Some(user) = cast.user(self.caller) {
            client.start_call("login", &json!([{"resume": user.token}]));
        }
        subscribe(client, self.before.len(), self.after);
        for at in 0..self.before.len() + self.after.len() {
            let id = format!("s{at}");
            // Whatever comes first must be its answer.
            let answer = client.wait_for("an answer", |message| {
                matches!(message["msg"].as_str(), Some("ready" | "nosub"))
            });
            assert_eq!(answer, json!({"msg": "ready", "subs": [id]}));
        }
    }
}

/// Each in both framings, beside every line and services of ours.
fn each(profile: &Profile, then: impl Fn(&Cast, &mut Client)) {
    for stage in [Stage::Newest, Stage::Own, Stage::Old] {
        stage.play(|cast| {
            for path in PATHS {
                let port = cast.product.gateway.port;
                let mut client = Client::upgrade(port, path, &[]).expect("a websocket");
                profile.burst(cast, &mut client);
                then(cast, &mut client);
            }
        });
    }
}

fn gets_messages_of(cast: &Cast, client: &mut Client, room: &str) {
    let room = cast.fill(room, Member);
    let message = harness::Workspace::message_in(&room);
    cast.product
        .assert_flows(client, "room-messages", &room, &message);
}

#[test]
fn a_web_client_comes_back_in_one_burst() {
    each(&WEB, |cast, client| {
        gets_messages_of(cast, client, "<private>");
        let answer = client.call("UserPresence:away", &json!([]));
        assert!(answer.is_ok(), "{answer:?}");
    });
}

#[test]
fn a_mobile_client_asks_again_under_the_same_ids_after_a_second_login() {
    each(&MOBILE, |cast, client| {
        let user = cast.user(Member).expect("a user");
        client.login(&user.token);
        let params = MOBILE.params(cast, "stream-room-messages", "<private>");
        client.send(
            &json!({"msg": "sub", "id": "s18", "name": "stream-room-messages", "params": params}),
        );
        client.wait_for("ready again", |message| message["subs"][0] == "s18");
        // Once, in spite of that.
        let room = cast.fill("<private>", Member);
        client.take_events("room-messages", &room);
        cast.product.ask(&harness::Workspace::message_in(&room));
        cast.product.settle(client);
        assert_eq!(client.take_events("room-messages", &room).len(), 1);
    });
}

#[test]
fn a_visitor_follows_his_conversation_and_types_in_it() {
    each(&VISITOR, |cast, client| {
        gets_messages_of(cast, client, "<visit>");
        // Where he stands in the queue he asks without his token.
        let room = cast.fill("<visit>", Guest);
        let refused = client.stream("livechat-room", &room).expect_err("no token");
        assert_eq!(refused["error"], "not-allowed");
        let [mut agent, _] = cast.sockets(Agent);
        let event = format!("{room}/user-activity");
        agent.stream("notify-room", &event).expect("his agent");
        let token = cast.fill("<token>", Guest);
        let typing = json!([event, "Guest", ["user-typing"], {"token": token}]);
        assert_eq!(client.call("stream-notify-room", &typing), Ok(Value::Null));
        assert_eq!(agent.event("notify-room", &event)[0], "Guest");
    });
}

#[test]
fn an_old_bot_follows_all_messages_of_its_rooms() {
    each(&BOT, |cast, client| {
        let room = cast.fill("<private>", Member);
        cast.product.ask(&harness::Workspace::message_in(&room));
        // The collection that it has asked for came before it was ready.
        let collection = client.wait_for("its collection", |message| message["msg"] == "added");
        assert_eq!(collection["fields"]["eventName"], "__my_messages__");
        let told = client.event("room-messages", "__my_messages__");
        assert_eq!(told[0]["rid"], room.as_str());
        assert_eq!(told[1]["roomParticipant"], true);
        let username = cast.fill("<username>", Member);
        let typing = json!([
            format!("{room}/user-activity"),
            username,
            ["user-typing"],
            {}
        ]);
        assert_eq!(client.call("stream-notify-room", &typing), Ok(Value::Null));
    });
}
