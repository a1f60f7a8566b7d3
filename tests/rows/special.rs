//! Rows that are more than one event and its publications: documents that are no stream events (streams.md 6), the list of a
//! user's rooms (5.3), and events after which the socket ends (3.4 of gateway.md).

use harness::{Client, eventually};
use serde_json::{Value, json};

use crate::cast::{Caller, Cast, Stage};

/// What has come about one document of a publication, without its name.
fn document(client: &mut Client, collection: &str, id: &str) -> Value {
    let mut message = client.wait_for(id, |message| {
        message["collection"] == collection && message["id"] == id
    });
    json!([message["msg"].take(), message["fields"].take()])
}

#[test]
fn login_services_come_and_go() {
    const NAME: &str = "meteor.loginServiceConfiguration";
    const COLLECTION: &str = "meteor_accounts_loginServiceConfiguration";
    Stage::newest(|cast| {
        for (number, mut client) in cast.sockets(Caller::Anonymous).into_iter().enumerate() {
            client.subscribe(NAME, &json!([])).expect("for everybody");
            let id = format!("service-{number}");
            let tell = |action: &str, data: Value| {
                let change = json!({"clientAction": action, "id": id, "data": data});
                cast.product
                    .broadcast("watch.loginServiceConfiguration", &json!([change]));
            };
            let whole = json!({"_id": id, "service": "gitlab", "clientId": "x"});
            tell("inserted", whole.clone());
            assert_eq!(
                document(&mut client, COLLECTION, &id),
                json!(["added", whole])
            );
            let whole = json!({"_id": id, "service": "gitlab", "clientId": "y"});
            tell("changed", whole.clone());
            assert_eq!(
                document(&mut client, COLLECTION, &id),
                json!(["changed", whole])
            );
            tell("removed", Value::Null);
            assert_eq!(document(&mut client, COLLECTION, &id)[0], "removed");
        }
    });
}

#[test]
fn client_versions_change_and_new_ones_are_added() {
    const COLLECTION: &str = "meteor_autoupdate_clientVersions";
    Stage::newest(|cast| {
        for (number, mut client) in cast.sockets(Caller::Anonymous).into_iter().enumerate() {
            client
                .subscribe(COLLECTION, &json!(["an-app"]))
                .expect("for everybody");
            let tell = |id: &str, version: &str| {
                let whole = json!({"_id": id, "version": version, "versionRefreshable": "r", "versionNonRefreshable": version});
                cast.product
                    .broadcast("meteor.clientVersionUpdated", &json!([whole]));
                json!({"version": version, "versionRefreshable": "r", "versionNonRefreshable": version})
            };
            document(&mut client, COLLECTION, "web.browser");
            let fields = tell("web.browser", &format!("v{number}"));
            assert_eq!(
                document(&mut client, COLLECTION, "web.browser"),
                json!(["changed", fields])
            );
            let id = format!("web.number{number}");
            let fields = tell(&id, "v1");
            assert_eq!(
                document(&mut client, COLLECTION, &id),
                json!(["added", fields])
            );
        }
    });
}

/// Subscribes to the list of one's rooms; it is filled behind `ready`.
fn follow_rooms(cast: &Cast, client: &mut Client) -> String {
    let event = cast.fill("<self>/rooms-changed", Caller::Member);
    client.stream("notify-user", &event).expect("himself");
    eventually("his rooms are known", || {
        cast.product.ask(&change(cast, "<direct>"));
        cast.product.settle(client);
        (!client.take_events("notify-user", &event).is_empty()).then_some(())
    });
    event
}

fn change(cast: &Cast, room: &str) -> Value {
    let room = json!({"_id": cast.fill(room, Caller::Member), "t": "p", "topic": "t"});
    let change = json!({"clientAction": "updated", "room": room});
    json!({"cmd": "broadcast", "event": "watch.rooms", "args": [change]})
}

#[test]
fn changes_of_ones_rooms_are_told_and_no_others() {
    Stage::newest(|cast| {
        for mut client in cast.sockets(Caller::Member) {
            let event = follow_rooms(cast, &mut client);
            client.take_texts();
            let args =
                r#"[{"clientAction":"updated","room":{"_id":"<private>","topic":"t","t":"p"}}]"#;
            let filled = cast.fill(args, Caller::Member);
            cast.product.broadcast_text("watch.rooms", &filled);
            cast.product.settle(&mut client);
            let texts = client.take_texts();
            let own: Vec<_> = texts
                .iter()
                .filter(|text| text.contains("rooms-changed"))
                .collect();
            let expected = cast.fill(
                r#"{"msg":"changed","collection":"stream-notify-user","id":"id","fields":{"eventName":"<member>/rooms-changed","args":["updated",{"_id":"<private>","topic":"t","t":"p"}]}}"#,
                Caller::Member,
            );
            assert_eq!(own, [&expected]);
            cast.product.assert_silent(
                &mut client,
                "notify-user",
                &event,
                &change(cast, "<visit>"),
            );
        }
    });
}

#[test]
fn a_room_that_one_joins_is_told_as_it_is_stored_but_for_what_is_private() {
    Stage::newest(|cast| {
        let member = cast.user(Caller::Member).expect("a user");
        for mut client in cast.sockets(Caller::Member) {
            let event = follow_rooms(cast, &mut client);
            let hidden = json!({"services": {"secret": "x"}, "topic": "t"});
            let rid = cast.product.room_with("p", &[], &hidden);
            let add = json!({"cmd": "addMember", "rid": rid, "username": member.username});
            cast.product.ask(&add);
            let told = client.wait_for("the new room", |message| {
                let fields = &message["fields"];
                fields["eventName"] == event && fields["args"][0] == "inserted"
            });
            let room = &told["fields"]["args"][1];
            assert_eq!(room["_id"], rid.as_str());
            assert_eq!(room["topic"], "t");
            assert!(room.get("services").is_none(), "{room}");
            let remove = json!({"cmd": "removeMember", "rid": rid, "username": member.username});
            cast.product.ask(&remove);
        }
    });
}

/// The newest line names a session or none, older ones have no word for it.
#[test]
fn a_forced_logout_is_told_with_the_session_that_it_means() {
    Stage::newest(|cast| {
        let user = cast.product.user(&["user"]);
        let event = format!("{}/force_logout", user.id);
        for (args, expected) in [
            (
                json!([user.id, "no-such-session"]),
                json!(["no-such-session"]),
            ),
            (json!([user.id, null]), json!([null])),
            (json!([user.id]), json!([])),
        ] {
            let mut client = cast.product.open(&user);
            client.stream("notify-user", &event).expect("himself");
            cast.product.broadcast("user.forceLogout", &args);
            assert_eq!(client.event("notify-user", &event), expected);
        }
    });
}

#[test]
fn a_removed_user_is_told_before_his_sockets_close() {
    Stage::newest(|cast| {
        let user = cast.product.user(&["user"]);
        let event = format!("{}/userData", user.id);
        let mut client = cast.product.open(&user);
        client.stream("notify-user", &event).expect("himself");
        let change = json!({"clientAction": "removed", "id": user.id});
        cast.product.broadcast("watch.users", &json!([change]));
        client.wait_for("the removal", |message| {
            message["fields"]["eventName"] == event
                && message["fields"]["args"] == json!([{"id": user.id, "type": "removed"}])
        });
        assert_eq!(client.closed().code, Some(1008));
    });
}
