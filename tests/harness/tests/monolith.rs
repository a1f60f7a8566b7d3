//! The Node process that plays the monolith for the tests of the gateway.

use harness::{MongoServer, NatsServer, NodeProcess};
use serde_json::{Value, json};

#[test]
fn each_line_offers_its_own_actions_and_no_others() {
    let (nats, mongo) = (NatsServer::start(), MongoServer::start());
    // By line: canReadRoom, canAccessRoomIds, updateConnection.
    for (line, offered) in [
        ("5.0", [false, false, false]),
        ("6.14", [false, false, false]),
        ("7.x-late", [true, false, false]),
        ("8.x", [true, true, true]),
    ] {
        let (transporter, url) = (nats.url(), mongo.url("monolith_lines"));
        let environment = [("TRANSPORTER", transporter.as_str()), ("MONGO_URL", &url)];
        let arguments = ["--seed", "--line", line];
        let mut monolith = NodeProcess::start("monolith.js", &arguments, &environment);
        let actions = [
            "authorization.canReadRoom",
            "authorization.canAccessRoomIds",
            "presence.updateConnection",
        ];
        for (action, offered) in actions.iter().zip(offered) {
            let call = json!({"cmd": "call", "action": action, "params": [null, null]});
            let error = monolith.ask(&call)["error"].to_string();
            assert_eq!(
                !error.contains("is not found"),
                offered,
                "{line} {action}: {error}"
            );
        }
        // What every line has.
        let call = json!({"cmd": "call", "action": "authorization.canAccessRoomId", "params": ["GENERAL", "bobbbbbbbbbbbbbbb"]});
        assert_eq!(monolith.ask(&call)["result"], true);
        monolith.send(&json!({"cmd": "stop"}));
        monolith.wait_for_end();
    }
}

#[test]
fn a_monolith_with_memory_keeps_what_the_original_keeps() {
    let (nats, mongo) = (NatsServer::start(), MongoServer::start());
    let (transporter, url) = (nats.url(), mongo.url("monolith_memory"));
    let environment = [("TRANSPORTER", transporter.as_str()), ("MONGO_URL", &url)];
    let mut monolith = NodeProcess::start("monolith.js", &["--seed", "--memory"], &environment);
    let question = json!({
        "cmd": "call", "action": "authorization.hasPermission", "params": ["bobbbbbbbbbbbbbbb", "view-c-room"]
    });
    assert_eq!(monolith.ask(&question)["result"], true);
    monolith.ask(&json!({
        "cmd": "write", "collection": "rocketchat_permissions", "filter": {"_id": "view-c-room"},
        "update": {"$set": {"roles": []}}
    }));
    assert_eq!(
        monolith.ask(&question)["result"],
        true,
        "no event has told it"
    );
    monolith.ask(&json!({"cmd": "setPermission", "permission": "view-c-room", "roles": []}));
    assert_eq!(monolith.ask(&question)["result"], false);
}

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
