//! Look-ups that come together are read together, and are as true as if each had been read alone.

use std::sync::Arc;

use serde_json::{Value, json};
use store::{Update, bson::doc};
use tokio::task::{JoinHandle, JoinSet};

use crate::place::{HASHED, Place};

fn asking(place: &Arc<Place>, action: &'static str, params: Value) -> JoinHandle<Value> {
    let place = place.clone();
    tokio::spawn(async move { place.ask(action, &params).await })
}

#[tokio::test]
async fn questions_that_come_at_once_share_their_reads() {
    const MANY: u32 = 300;
    let place = Place::start().await;
    place.fill().await;
    for number in 0..MANY {
        let (name, tokens) = (
            format!("u{number}"),
            [format!("t{number}")].map(services_hash),
        );
        let tokens = tokens.map(|hashed| doc! { "hashedToken": hashed }).to_vec();
        let services = doc! { "resume": { "loginTokens": tokens } };
        let user =
            doc! { "_id": &name, "username": &name, "roles": ["user"], "services": services };
        place.direct.insert_user(user).await.unwrap();
    }
    place.serve().await;
    let place = Arc::new(place);
    for (action, params, expected) in [
        (
            "accounts.login",
            (|number| json!([{ "resume": format!("t{number}") }])) as fn(u32) -> Value,
            (|number, answer| answer["uid"] == json!(format!("u{number}")))
                as fn(u32, Value) -> bool,
        ),
        (
            "authorization.hasPermission",
            |number| json!([format!("u{number}"), "view-p-room"]),
            |_, answer| answer == json!(true),
        ),
        (
            "authorization.canAccessRoom",
            |number| json!([{ "_id": "c1", "t": "c" }, { "_id": format!("u{number}") }]),
            |_, answer| answer == json!(true),
        ),
        // Anonymous.
        (
            "authorization.canAccessRoom",
            |_| json!([{ "_id": "c1", "t": "c" }]),
            |_, answer| answer == json!(false),
        ),
    ] {
        place.log.take();
        let mut asked = JoinSet::new();
        for number in 0..MANY {
            let (place, params) = (place.clone(), params(number));
            asked.spawn(async move { (number, place.ask(action, &params).await) });
        }
        while let Some(answered) = asked.join_next().await {
            let (number, answer) = answered.unwrap();
            assert!(expected(number, answer), "{action} {number}");
        }
        let commands = place.log.take();
        assert!(
            commands.len() < 40,
            "{action}: {} for {MANY}",
            commands.len()
        );
    }
    place.stop.cancel();
}

/// The first question's read has seen the old state when that changes; the second is asked after the change.
#[tokio::test]
async fn what_was_taken_away_before_a_question_is_never_part_of_its_answer() {
    let place = Arc::new(Place::start().await);
    place.fill().await;
    place.serve().await;

    let (login, bob) = (json!([{ "resume": "abc" }]), json!({ "_id": "bob" }));
    let public = json!([{ "_id": "c1", "t": "c" }, bob]);
    for (action, params, read) in [
        ("authorization.canAccessRoom", public, "find users"),
        (
            "authorization.canAccessRoomId",
            json!(["c1", "bob"]),
            "find rocketchat_room",
        ),
        ("accounts.login", login, "find users"),
    ] {
        let closed = place.gate.write().await;
        place.log.take();
        let before = asking(&place, action, params.clone());
        while !place.log.take().iter().any(|command| command == read) {
            tokio::task::yield_now().await;
        }
        match action {
            "accounts.login" => {
                let pulled = place.direct.pull_login_token("bob", HASHED).await;
                assert!(pulled.unwrap());
            }
            "authorization.canAccessRoomId" => {
                let private = Update::set(doc! { "t": "p" });
                assert!(place.direct.update_room("c1", private).await.unwrap());
            }
            _ => {
                let nothing = Update::set(doc! { "roles": [] });
                assert!(place.direct.update_user("bob", nothing).await.unwrap());
            }
        }
        let after = asking(&place, action, params);
        drop(closed);
        // Either answer was true while it was asked.
        before.await.unwrap();
        assert_eq!(after.await.unwrap(), json!(false), "{action}");
        let user = Update::set(doc! { "roles": ["user"] });
        place.direct.update_user("bob", user).await.unwrap();
    }
    place.stop.cancel();
}

/// As `services.resume.loginTokens` has it.
fn services_hash(token: String) -> String {
    use base64::Engine as _;
    use sha2::Digest as _;
    base64::prelude::BASE64_STANDARD.encode(sha2::Sha256::digest(token))
}
