//! What the events of the table say, for tests: at least one sample of each. They speak of the user `u1` and the room `r1`.

use super::{
    events::EVENTS,
    plan::tests::{CASES, Case},
    table::Stream,
};

/// Events without publications, and what those with reactions say to them.
#[rustfmt::skip]
const SAMPLES: &[(&str, &str)] = &[
    ("license.module", r#"[{"module":"m","valid":true}]"#),
    ("authorization.guestPermissions", r#"[["view-d-room"]]"#),
    ("accounts.logout", r#"[{"userId":"u1","connection":{"id":"c"}}]"#),
    ("stream", r#"[["notify-room","r1/user-activity",["bob",["user-typing"]]]]"#),
    ("stream", r#"[{"stream":"notify-user","eventName":"u1/notification","args":[1],"origin":"other"}]"#),
    ("stream", r#"[["user-presence","u1",[["bob",1]]]]"#),
    ("watch.settings", r#"[{"clientAction":"updated","setting":{"_id":"Site_Name","value":"x","public":false,"enterprise":true,"invalidValue":"","hidden":false}}]"#),
    ("presence.status", r#"[{"user":{"_id":"u1","username":"u1","status":"away","statusText":"x","statusSource":"manual","name":"B","roles":["user"]},"hasVisibilityRestrictions":true}]"#),
    ("presence.invalidateVisibility", r#"[{"targets":["u1"],"viewers":["u1"]}]"#),
    ("notify.ephemeralMessage", r#"["u1","r1",{"msg":"m","_id":"x"}]"#),
    ("notify.importedMessages", r#"[{"roomIds":["r1"]}]"#),
    ("watch.inquiries", r#"[{"clientAction":"updated","inquiry":{"_id":"r1","department":"r1","defaultAgent":{"agentId":"u1"}},"diff":{"department":"r1"}}]"#),
    ("watch.loginServiceConfiguration", r#"[{"clientAction":"changed","id":"s","data":{"_id":"s","service":"x"}}]"#),
    ("meteor.clientVersionUpdated", r#"[{"_id":"web.browser","version":"a","assets":[]}]"#),
    ("watch.users", r#"[{"clientAction":"updated","id":"u1","diff":{"active":false,"roles":["user"],"services.resume.loginTokens":[]},"unset":{"x":1}}]"#),
    ("watch.subscriptions", r#"[{"clientAction":"inserted","subscription":{"_id":"s","rid":"r1","status":"INVITED","u":{"_id":"u1"}}}]"#),
    ("watch.rooms", r#"[{"clientAction":"updated","room":{"_id":"r1","t":"p","teamId":"t","teamMain":true,"prid":"r3","v":{"token":"g"},"abacAttributes":[{"key":"k"}],"servedBy":{"_id":"u1"}}}]"#),
    ("watch.messages", r#"[{"message":{"_id":"m","rid":"r1","u":{"_id":"u1"}}}]"#),
    ("user.roleUpdate", r#"[{"type":"removed","_id":"admin","u":{"_id":"u1","username":"u1"}}]"#),
];

/// Name, arguments, and the publications that the table makes of them.
pub(crate) fn samples() -> impl Iterator<Item = (&'static str, &'static str, &'static [Published])>
{
    let cases = CASES
        .iter()
        .map(|Case(event, args, published)| (*event, *args, *published));
    cases.chain(SAMPLES.iter().map(|(event, args)| (*event, *args, &[][..])))
}

/// Stream, event name, arguments.
type Published = (Stream, &'static str, &'static str);

/// Everything of the table that is addressed to somebody, asked for as this user and for this room.
pub(crate) fn addressed(user: &str, room: &str) -> Vec<(Stream, String)> {
    let mut all = vec![
        (Stream::NotifyUser, format!("{user}/rooms-changed")),
        (Stream::NotifyUser, format!("{user}/message")),
        (Stream::NotifyRoom, format!("{room}/messagesImported")),
        (Stream::RoomMessages, "__my_messages__".into()),
    ];
    for said in EVENTS.iter().flat_map(|event| event.publications) {
        let id = match said.stream {
            Stream::NotifyUser => user,
            Stream::NotifyRoom | Stream::RoomMessages | Stream::RoomData => room,
            _ => continue,
        };
        let rest = said
            .key
            .split_once('/')
            .map_or(String::new(), |(_, rest)| format!("/{rest}"));
        if !rest.contains('<') && !all.contains(&(said.stream, format!("{id}{rest}"))) {
            all.push((said.stream, format!("{id}{rest}")));
        }
    }
    all
}

#[test]
fn every_event_has_a_sample() {
    for event in EVENTS {
        assert!(
            samples().any(|(name, ..)| name == event.name),
            "{} has none",
            event.name
        );
    }
}
