//! The Node process that plays the monolith for the tests of the gateway.

use harness::{MongoServer, NatsServer, NodeProcess};
use serde_json::{Value, json};

#[test]
fn the_monolith_judges_rooms_and_tokens_from_its_database() {
    let (nats, mongo) = (NatsServer::start(), MongoServer::start());
    let url = mongo.url("monolith_judges");
    let environment = [("TRANSPORTER", nats.url()), ("MONGO_URL", url)];
    let environment = environment
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let mut monolith = NodeProcess::start("monolith.js", &["--seed"], &environment);

    let (alice, carol, dave) = (
        "aliceaaaaaaaaaaaa",
        "carolcccccccccccc",
        "daveddddddddddddd",
    );
    let mut check = |action: &str, params: Value, expected: Value| {
        let answer = monolith.ask(&json!({ "cmd": "call", "action": action, "params": params }));
        assert_eq!(answer["result"], expected, "{action} {params}: {answer}");
    };
    check(
        "authorization.canAccessRoomId",
        json!(["secret", alice]),
        json!(true),
    );
    check(
        "authorization.canAccessRoomId",
        json!(["secret", carol]),
        json!(false),
    );
    check(
        "authorization.canAccessRoomId",
        json!(["talk", alice]),
        json!(true),
    );
    check(
        "authorization.canAccessRoomId",
        json!(["talk", carol]),
        json!(false),
    );
    check(
        "authorization.canAccessRoomId",
        json!(["GENERAL", dave]),
        json!(false),
    );
    check(
        "authorization.canReadRoom",
        json!([{ "_id": "lounge", "t": "c" }, { "_id": alice }]),
        json!(true),
    );
    check(
        "authorization.canReadRoom",
        json!([{ "_id": "lounge", "t": "c" }, null]),
        json!(false),
    );
    check(
        "accounts.login",
        json!([{ "resume": "no such token" }]),
        json!(false),
    );

    let expired =
        monolith.ask(&json!({ "cmd": "call", "action": "accounts.login", "params": [{ "resume": "expired-token-of-alice" }] }));
    assert_eq!(
        expired["error"],
        "Your session has expired. Please log in again. [403]"
    );
    monolith.send(&json!({ "cmd": "stop" }));
    assert_eq!(monolith.wait_for_end(), 0);
}
