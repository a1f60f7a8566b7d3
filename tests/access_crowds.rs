//! Many people at once: what happens to some must not reach or stall the others.

use harness::{Client, Line, Product, Satellites, User, Workspace};
use serde_json::json;

/// As many as the contract names (issue of the access rules): more than any batch of the product.
const MEMBERS: usize = 500;

#[test]
fn a_mass_removal_ends_five_hundred_and_serves_the_others_all_along() {
    let binary = env!("CARGO_BIN_EXE_ddp-edge");
    let limits = [("DDP_EDGE_RATE_LIMITS", "false")];
    let product = Product::start(binary, Line::Late7, Satellites::Theirs, &limits);
    let stays = product.user(&["user"]);
    let rid = product.room("p", &[&stays]);
    let leavers: Vec<User> = (0..MEMBERS)
        .map(|_| {
            let user = product.user(&["user"]);
            product.ask(&json!({"cmd": "addMember", "rid": rid, "username": user.username}));
            user
        })
        .collect();
    let mut reader = product.open(&stays);
    reader.stream("room-messages", &rid).expect("a member");
    let mut sockets: Vec<Client> = leavers.iter().map(|user| product.open(user)).collect();
    for socket in &mut sockets {
        socket.stream("room-messages", &rid).expect("a member");
    }
    let usernames: Vec<&String> = leavers.iter().map(|user| &user.username).collect();
    product.ask(&json!({"cmd": "removeMembers", "rid": rid, "usernames": usernames}));
    // Behind five hundred removals.
    product.assert_flows(
        &mut reader,
        "room-messages",
        &rid,
        &Workspace::message_in(&rid),
    );
    reader.settle();
    for socket in &mut sockets {
        product.assert_silent(socket, "room-messages", &rid, &Workspace::message_in(&rid));
        let error = socket.stream("room-messages", &rid).expect_err("outside");
        assert_eq!(error["error"], "not-allowed");
    }
}
