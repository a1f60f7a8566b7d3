//! Roles and permissions: a lost one ends what it opened, whoever remembers it (design.md 3.9).

use harness::{Client, Line, Product, Satellites, Workspace, eventually, on_each_product};
use serde_json::{Value, json};

on_each_product!(
    Line::Late7, &[];
    (Theirs theirs, Remembering remembering, Ours ours, All all);
    (
        a_lost_role_survives_a_reconnect,
        a_lost_role_ends_what_it_opened_within_the_second_in_which_it_was_asked_for,
        a_lost_permission_ends_what_it_opened_and_stays_lost,
        a_permission_that_nobody_has_any_more_leaves_no_reader,
        a_new_role_opens_what_was_refused_before,
        a_lost_role_in_the_database_alone_is_found_when_the_user_is_announced_without_a_diff,
    )
);

/// Only those who may see private settings get this.
const SETTINGS: (&str, &str) = ("notify-logged", "private-settings-changed");

fn secret_setting() -> Value {
    let setting = json!({"_id": "SMTP_Password", "value": "secret"});
    let change = json!({"clientAction": "updated", "setting": setting});
    json!({"cmd": "broadcast", "event": "watch.settings", "args": [change]})
}

fn set_roles(workspace: &Workspace, username: &str, roles: &[&str]) {
    workspace.ask(&json!({"cmd": "setUser", "username": username, "set": {"roles": roles}}));
}

fn set_permission(workspace: &Workspace, permission: &str, roles: &[&str]) {
    workspace.ask(&json!({"cmd": "setPermission", "permission": permission, "roles": roles}));
}

fn a_lost_role_survives_a_reconnect(product: &Product) {
    let user = product.user(&["user", "admin"]);
    let (stream, event) = SETTINGS;
    let mut before = product.open(&user);
    before.stream(stream, event).expect("an admin");
    product.assert_flows(&mut before, stream, event, &secret_setting());
    product.close(before, &user);
    let mut witness = Client::open(product.gateway.port);
    set_roles(product, &user.username, &["user"]);
    // What happens to a user without a socket is heard all the same.
    product.settle(&mut witness);
    let mut after = product.open(&user);
    product.assert_closed(&mut after, stream, event, &secret_setting());
}

fn a_lost_role_ends_what_it_opened_within_the_second_in_which_it_was_asked_for(product: &Product) {
    let user = product.user(&["user", "admin"]);
    let (stream, event) = SETTINGS;
    let mut client = product.open(&user);
    // The authorization service has just looked at his roles.
    let id = client.stream(stream, event).expect("an admin");
    set_roles(product, &user.username, &["user"]);
    product.assert_ends(&mut client, stream, event, &secret_setting());
    assert!(client.has(|message| message["msg"] == "nosub" && message["id"] == id));
}

fn a_lost_permission_ends_what_it_opened_and_stays_lost(product: &Product) {
    let role = format!("role-{}", product.user(&["user"]).id);
    let user = product.user(&[&role]);
    let rid = product.room("p", &[&user]);
    let all = ["admin", "user", "guest", &role];
    set_permission(product, "view-p-room", &all);
    let mut client = product.open(&user);
    eventually("the permission counts", || {
        client.stream("room-messages", &rid).ok()
    });
    set_permission(product, "view-p-room", &all[..3]);
    let message = Workspace::message_in(&rid);
    product.assert_ends(&mut client, "room-messages", &rid, &message);
    product.assert_closed(&mut client, "room-messages", &rid, &message);
}

fn a_permission_that_nobody_has_any_more_leaves_no_reader(product: &Product) {
    let user = product.user(&["user", "livechat-agent"]);
    let (stream, event) = ("livechat-inquiry-queue-observer", "public");
    let mut client = product.open(&user);
    client.stream(stream, event).expect("an agent");
    product.ask(&json!({
        "cmd": "write", "collection": "rocketchat_permissions", "filter": {"_id": "view-l-room"},
        "update": {"$set": {"roles": []}}
    }));
    let change = json!({"clientAction": "removed", "data": {"_id": "view-l-room", "roles": []}});
    product.broadcast("permission.changed", &json!([change]));
    let relay =
        json!({"cmd": "relay", "stream": stream, "event": event, "args": [{"type": "added"}]});
    product.assert_ends(&mut client, stream, event, &relay);
    set_permission(product, "view-l-room", &["admin", "livechat-agent"]);
}

fn a_new_role_opens_what_was_refused_before(product: &Product) {
    let user = product.user(&["user"]);
    let (stream, event) = SETTINGS;
    let mut client = product.open(&user);
    client.stream(stream, event).expect_err("no admin");
    set_roles(product, &user.username, &["user", "admin"]);
    product.settle(&mut client);
    let params = json!([user.id, "view-privileged-setting"]);
    let question =
        json!({"cmd": "call", "action": "authorization.hasPermission", "params": params});
    eventually("the authorization service knows of it", || {
        (product.ask(&question)["result"] == true).then_some(())
    });
    client.stream(stream, event).expect("an admin by now");
}

fn a_lost_role_in_the_database_alone_is_found_when_the_user_is_announced_without_a_diff(
    product: &Product,
) {
    let user = product.user(&["user", "admin"]);
    let (stream, event) = SETTINGS;
    let mut client = product.open(&user);
    client.stream(stream, event).expect("an admin");
    let roles = json!({"roles": ["user"]});
    product.ask(&json!({"cmd": "setUser", "username": user.username, "set": roles, "diff": false}));
    product.assert_ends(&mut client, stream, event, &secret_setting());
}

/// Both hear of it, one after the other.
#[test]
fn a_changed_permission_that_reaches_the_gateway_first_is_acted_on_all_the_same() {
    let binary = env!("CARGO_BIN_EXE_ddp-edge");
    let product = Product::start(binary, Line::Late7, Satellites::Ours, &[]);
    let user = product.user(&["user"]);
    let permission = "view-privileged-setting";
    set_permission(&product, permission, &["admin", "user"]);
    let mut client = product.open(&user);
    let (stream, event) = SETTINGS;
    eventually("the permission counts", || {
        client.stream(stream, event).ok()
    });
    product.ask(&json!({
        "cmd": "write", "collection": "rocketchat_permissions", "filter": {"_id": permission},
        "update": {"$set": {"roles": ["admin"]}}
    }));
    let change =
        json!({"clientAction": "updated", "data": {"_id": permission, "roles": ["admin"]}});
    let tell = |node: &str| {
        product.ask(
            &json!({"cmd": "tell", "node": node, "event": "permission.changed", "args": [change]}),
        );
    };
    tell(&product.gateway.node);
    // By now it has asked again, and got the old answer.
    product.settle(&mut client);
    tell(product.node_of("authorization"));
    product.assert_ends(&mut client, stream, event, &secret_setting());
}
