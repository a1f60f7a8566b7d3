//! Events whose arguments are not what their name promises: for every row of the event table, and every place in its
//! arguments, everything that JSON can say there instead. Nobody hears of what is somebody else's, and nobody who has a right
//! loses it for good. A new row of the table is covered by itself, once it has a sample.

use serde_json::Value;

use super::*;
use crate::{
    streams::samples::{addressed, samples},
    upstream::script::{some_room, some_user},
};

/// What is no JSON, and closes every bracket that it opens: a packet with it can be told apart from the next one.
const BROKEN: [&str; 7] = [
    "tru", "5 5", "[1,]", r#"{"a"}"#, "{5:5}", r#""\x""#, "\"\n\"",
];

/// What may stand anywhere instead of what is expected, as text.
fn odd_values() -> Vec<String> {
    let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
    let long = format!("\"{}\"", "x".repeat(5_000));
    let odd = [
        "5",
        "-0.0",
        "1e999",
        "\"5\"",
        "null",
        "true",
        "false",
        "\"\"",
        "\"true\"",
        "[]",
        "{}",
        "[5]",
        "[null]",
        r#""\ud800""#,
        r#"["\udc00"]"#,
        r#"{"":{}}"#,
        r#"{"_id":5}"#,
        r#"{"__proto__":{"_id":"u1"}}"#,
        r#""\u0000/""#,
        r#""/""#,
        r#""nobody""#,
    ];
    odd.into_iter()
        .chain(BROKEN)
        .map(Into::into)
        .chain([deep, long])
        .collect()
}

/// Stands for the odd value while the rest is written.
const HERE: &str = "@here@";

/// These arguments with everything odd at every place, and what is odd as a whole.
fn mutations(args: &str) -> Vec<String> {
    let odd = odd_values();
    let whole: Value = serde_json::from_str(args).expect("a sample is JSON");
    let mut all: Vec<String> = odd.iter().map(|odd| format!("[{odd}]")).collect();
    all.extend(["[]".into(), format!("[{args}]"), "[[],[],[],{}]".into()]);
    for pointer in pointers(&whole, String::new()) {
        let mut marked = whole.clone();
        let before = std::mem::replace(
            marked.pointer_mut(&pointer).expect("it is there"),
            HERE.into(),
        );
        let marked = marked.to_string();
        let put = |odd: &str| marked.replace(&format!("\"{HERE}\""), odd);
        all.extend(odd.iter().map(|odd| put(odd)));
        all.push(put(&format!("[{before}]")));
        let (parent, name) = pointer.rsplit_once('/').expect("it begins with one");
        if whole.pointer(parent).is_some_and(Value::is_object) {
            // The same name twice, the odd value first and last.
            for odd in ["5", "null", r#""nobody""#] {
                all.push(put(&format!("{odd},\"{name}\":{before}")));
                all.push(put(&format!("{before},\"{name}\":{odd}")));
            }
            let mut missing = whole.clone();
            let object = missing.pointer_mut(parent).and_then(Value::as_object_mut);
            object.expect("it is one").remove(name);
            all.push(missing.to_string());
        }
    }
    all
}

fn pointers(value: &Value, at: String) -> Vec<String> {
    let mut all = Vec::new();
    let mut inside = |name: &str, value: &Value| {
        let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        all.push(at.clone());
        all.extend(pointers(value, at));
    };
    match value {
        Value::Array(list) => list
            .iter()
            .enumerate()
            .for_each(|(index, value)| inside(&index.to_string(), value)),
        Value::Object(members) => members.iter().for_each(|(name, value)| inside(name, value)),
        _ => {}
    }
    all
}

fn world() -> World {
    let users = ["u1", "u2"];
    let rooms = [("r1", "p"), ("r2", "p"), ("r3", "c")];
    World {
        rooms: rooms.map(|(id, kind)| some_room(id, kind)).into(),
        users: users.map(some_user).into(),
        tokens: users
            .into_iter()
            .map(|user| (format!("t-{user}"), user.to_owned()))
            .collect(),
        members: [("r1".into(), "u1".into()), ("r2".into(), "u2".into())].into(),
        ..World::default()
    }
}

/// A client of this user that follows all that is addressed to him, his room, and his own presence.
async fn client(stage: &mut Stage, user: &str, room: &str) -> (Place, Vec<Sub>) {
    let place = stage.open();
    stage.log_in(place, &format!("t-{user}"));
    stage.pass(Duration::from_secs(1)).await;
    let mut subs = Vec::new();
    let mut params: Vec<_> = addressed(user, room)
        .into_iter()
        .map(|(stream, event)| (stream, format!("[{event:?}]")))
        .collect();
    params.push((
        Stream::UserPresence,
        format!(r#"["",{{"added":["{user}"]}}]"#),
    ));
    for (stream, params) in params {
        let name = format!("stream-{}", stream.name());
        subs.push(stage.subscribe(place, &name, &params).1);
        stage.pass(Duration::from_millis(50)).await;
        assert!(
            stage.is_live(subs[subs.len() - 1]),
            "{user} {name} {params}"
        );
    }
    (place, subs)
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn whatever_is_wrong_with_an_event_nobody_else_hears_of_it_or_loses_anything() {
    for (event, args, _) in samples() {
        let mut stage = Stage::new(1, world());
        let (bystander, subs) = client(&mut stage, "u2", "r2").await;
        let (_, _) = client(&mut stage, "u1", "r1").await;
        for args in mutations(args) {
            stage.event(event, args.clone());
            stage.take();
            let got = &stage.clients[&bystander].got;
            assert!(
                got.is_empty(),
                "{event} {}: {got:?}",
                &args[..args.len().min(300)]
            );
        }
        // What was only doubted was asked for again.
        stage.pass_quietly(Duration::from_secs(10)).await;
        assert!(!stage.clients[&bystander].closed, "{event}");
        for sub in subs {
            assert!(stage.is_live(sub), "{event} ends {sub:?}");
        }
        let got = &stage.clients[&bystander].got;
        assert!(got.is_empty(), "{event}: {got:?}");
        stage.event(
            "watch.messages",
            r#"[{"message":{"_id":"m","rid":"r2"}}]"#.into(),
        );
        stage.pass(Duration::from_secs(1)).await;
        assert_eq!(
            stage.clients[&bystander].got.len(),
            2,
            "{event}: he and __my_messages__"
        );
    }
}

/// What a flag that must be absent or false to let something be told may be instead.
const MAYBE: [&str; 6] = ["true", "\"true\"", "1", "{}", "[]", "\"\""];

/// What was told on a stream that everybody hears, to somebody who hears it.
async fn heard(stage: &mut Stage, place: Place, event: &'static str, args: String) -> usize {
    stage.event(event, args);
    stage.pass(Duration::from_secs(1)).await;
    std::mem::take(&mut stage.clients.get_mut(&place).unwrap().got).len()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_may_be_hidden_is_told_to_nobody() {
    let mut stage = Stage::new(1, world());
    stage.change(|world| {
        let permission = ("u2".into(), "view-privileged-setting".into());
        world.permissions.insert(permission);
    });
    let (place, _) = client(&mut stage, "u2", "r2").await;
    for (name, event) in [
        ("stream-notify-logged", "user-status"),
        ("stream-notify-logged", "private-settings-changed"),
        ("stream-notify-all", "public-settings-changed"),
    ] {
        let (number, _) = stage.subscribe(place, name, &format!("[{event:?}]"));
        stage.pass(Duration::from_secs(1)).await;
        assert_eq!(
            stage.answered(place, number),
            Some(&Answered::Ready),
            "{event}"
        );
    }
    let status = |more: &str| {
        format!(r#"[{{"user":{{"_id":"u1","username":"bob","status":"busy"}}{more}}}]"#)
    };
    let setting = |more: &str| {
        format!(
            r#"[{{"clientAction":"updated","setting":{{"_id":"s","value":"secret","public":true{more}}}}}]"#
        )
    };
    for told in [
        "",
        r#","hasVisibilityRestrictions":false"#,
        r#","hasVisibilityRestrictions":null"#,
    ] {
        assert_eq!(
            heard(&mut stage, place, "presence.status", status(told)).await,
            1,
            "{told}"
        );
    }
    for told in ["", r#","hidden":false"#, r#","hidden":null"#] {
        assert_eq!(
            heard(&mut stage, place, "watch.settings", setting(told)).await,
            2,
            "{told}"
        );
    }
    // Who judges the licence says that there is none.
    stage
        .script
        .missing
        .borrow_mut()
        .insert("ee-settings.changeSettingValue");
    for maybe in MAYBE {
        let restricted = format!(r#","hasVisibilityRestrictions":{maybe}"#);
        assert_eq!(
            heard(&mut stage, place, "presence.status", status(&restricted)).await,
            0,
            "{restricted}"
        );
        let hidden = format!(r#","hidden":{maybe}"#);
        assert_eq!(
            heard(&mut stage, place, "watch.settings", setting(&hidden)).await,
            0,
            "{hidden}"
        );
        let args = setting(&format!(r#","enterprise":{maybe}"#));
        stage.event("watch.settings", args);
        stage.pass(Duration::from_secs(1)).await;
        let got = std::mem::take(&mut stage.clients.get_mut(&place).unwrap().got);
        assert_eq!(got.len(), 2);
        assert!(
            got.iter().all(|(_, text)| !text.contains("secret")),
            "{maybe}: {got:?}"
        );
    }
}

/// An event that says less than it should of what it has changed is asked about, not passed over.
#[tokio::test(flavor = "local", start_paused = true)]
async fn an_event_that_does_not_say_whom_it_changes_lets_nobody_keep_what_he_has_lost() {
    const PERMISSION: &str = "view-privileged-setting";
    let lost = [
        ("user.roleUpdate", r#"[{"type":"removed","_id":"admin"}]"#),
        (
            "user.roleUpdate",
            r#"[{"type":"removed","_id":"admin","u":{"_id":5}}]"#,
        ),
        (
            "watch.users",
            r#"[{"clientAction":"updated","id":"u2","diff":null}]"#,
        ),
        (
            "watch.users",
            r#"[{"clientAction":"updated","id":"u2","diff":"roles"}]"#,
        ),
    ];
    for (event, args) in lost {
        let mut stage = Stage::new(1, world());
        let permission = ("u2".to_owned(), PERMISSION.to_owned());
        stage.change(|world| world.permissions.insert(permission.clone()));
        let (place, _) = client(&mut stage, "u2", "r2").await;
        let (_, sub) = stage.subscribe(
            place,
            "stream-notify-logged",
            r#"["private-settings-changed"]"#,
        );
        stage.pass(Duration::from_secs(10)).await;
        assert!(stage.is_live(sub));
        stage.change(|world| world.permissions.remove(&permission));
        stage.event(event, args.into());
        stage.pass(Duration::from_secs(5)).await;
        assert!(!stage.is_live(sub), "{event} {args}");
    }
    let gone = [
        r#"[{"clientAction":"updated","id":"u2","diff":{"active":null}}]"#,
        r#"[{"clientAction":"updated","id":"u2","diff":{"active":"false"}}]"#,
        r#"[{"clientAction":"updated","id":"u2","diff":{},"unset":{"active":1}}]"#,
        r#"[{"clientAction":"updated","id":"u2","diff":[]}]"#,
    ];
    for args in gone {
        let mut stage = Stage::new(1, world());
        let (place, _) = client(&mut stage, "u2", "r2").await;
        stage.change(|world| world.users.get_mut("u2").unwrap().active = false);
        stage.event("watch.users", args.into());
        stage.pass(Duration::from_secs(5)).await;
        assert!(stage.clients[&place].closed, "{args}");
    }
    for viewers in ["[5]", r#"["u2",null]"#, "{}", "null"] {
        let mut stage = Stage::new(1, world());
        let (place, _) = client(&mut stage, "u2", "r2").await;
        stage.change(|world| world.hidden.insert("u2".into(), vec!["u7".into()]));
        stage.event(
            "presence.invalidateVisibility",
            format!(r#"[{{"viewers":{viewers}}}]"#),
        );
        stage.pass(Duration::from_secs(5)).await;
        let hidden = stage.clients[&place].hidden.clone();
        assert!(hidden.is_some_and(|hidden| hidden.hides("u7")), "{viewers}");
    }
}
