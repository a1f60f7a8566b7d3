//! What the bus thread allocates: for an event that nobody wants next to nothing, for an idle client so many bytes. Counted by the
//! allocator, of this thread alone.

use std::{sync::Arc, time::Instant};

use allocation_counter::measure;
use backplane::{Event, Handled};
use bytes::Bytes;
use bytestring::ByteString;
use gateway::bench::{BusThread, Client};

const CLIENTS: u32 = 16_384;

/// Live bytes of one client on the bus thread, with a login and a room: at most. `benches/README.md` has the parts.
const CLIENT_BYTES_MAX: i64 = 500;

/// Of an event that is looked into, whoever hears of it, is asked whether it is JSON, and that remembers how deep it is.
const NESTING_BYTES_MAX: u64 = 64;

/// Name and arguments.
const EVENTS: [(&str, &str); 18] = [
    (
        "watch.messages",
        r#"[{"clientAction":"inserted","message":{"_id":"m","rid":"r","msg":"x","u":{"_id":"u"}}}]"#,
    ),
    (
        "watch.rooms",
        r#"[{"clientAction":"updated","room":{"_id":"r","t":"p","teamId":"t","prid":"q"}}]"#,
    ),
    (
        "watch.rooms",
        r#"[{"clientAction":"updated","room":{"_id":"r","t":"p","teamId":"t","teamMain":true}}]"#,
    ),
    (
        "watch.subscriptions",
        r#"[{"clientAction":"updated","subscription":{"_id":"s","rid":"r","u":{"_id":"u"},"unread":1}}]"#,
    ),
    (
        "watch.subscriptions",
        r#"[{"clientAction":"removed","subscription":{"_id":"s","rid":"r","u":{"_id":"u"}}}]"#,
    ),
    (
        "watch.users",
        r#"[{"clientAction":"updated","id":"u","diff":{"status":"away","roles":["user"]},"unset":{}}]"#,
    ),
    ("watch.users", r#"[{"clientAction":"updated","id":"u"}]"#),
    (
        "user.roleUpdate",
        r#"[{"type":"added","_id":"admin","u":{"_id":"u"}}]"#,
    ),
    (
        "user.activity",
        r#"[{"user":"bob","isTyping":true,"roomId":"r"}]"#,
    ),
    (
        "presence.status",
        r#"[{"user":{"_id":"u","username":"bob","status":"away","statusText":"x","name":"Bob"}}]"#,
    ),
    (
        "stream",
        r#"[["notify-room","r/user-activity",["bob",["user-typing"]]]]"#,
    ),
    (
        "stream",
        r#"[{"stream":"notify-room","eventName":"r/user-activity","args":["bob",[]],"origin":"o"}]"#,
    ),
    ("notify.ephemeralMessage", r#"["u","r",{"msg":"only you"}]"#),
    ("notify.importedMessages", r#"[{"roomIds":["r","q"]}]"#),
    (
        "watch.inquiries",
        r#"[{"clientAction":"updated","inquiry":{"_id":"i","department":"d","defaultAgent":{"agentId":"a"}},"diff":{"status":"taken"}}]"#,
    ),
    (
        "watch.livechatDepartmentAgents",
        r#"[{"clientAction":"updated","data":{"agentId":"a"}}]"#,
    ),
    ("notify.desktop", r#"["u",{"title":"x"}]"#),
    ("accounts.logout", r#"[{"userId":"u","connection":{}}]"#),
];

#[test]
fn an_event_that_nobody_wants_allocates_next_to_nothing_and_an_idle_client_so_much() {
    let bus = BusThread::new();
    let event = |(name, args): (&'static str, &'static str)| Event {
        name,
        args: ByteString::from_static(args),
        sender: Arc::from("peer"),
        from_us: false,
        meta: Bytes::from_static(b"{}"),
        received: Instant::now(),
        handled: Handled::default(),
    };
    // Scratch grows once.
    EVENTS.iter().for_each(|of| bus.hear(event(*of)));
    for of in EVENTS {
        let event = event(of);
        let counted = measure(|| bus.hear(event));
        let is_passed_on = ["watch.messages", "stream", "notify.desktop"].contains(&of.0);
        let bytes_max = if is_passed_on { 0 } else { NESTING_BYTES_MAX };
        assert!(counted.bytes_total <= bytes_max, "{of:?}: {counted:?}");
    }

    let clients: Vec<_> = (0..CLIENTS).map(Client::new).collect();
    let entered = measure(|| clients.iter().for_each(|client| bus.enter(client)));
    let each = entered.bytes_current / i64::from(CLIENTS);
    println!("{each} bytes for each idle client on the bus thread");
    assert!(each <= CLIENT_BYTES_MAX, "{each}");
    let gone = measure(|| clients.iter().for_each(|client| bus.leave(client)));
    let left = entered.bytes_current + gone.bytes_current;
    assert!(
        left < 65_536,
        "{left} bytes are left of those who have gone"
    );
}
