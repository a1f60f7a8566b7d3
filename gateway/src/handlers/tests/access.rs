//! Rights that are lost, and rights that come, one by one.

use store::Room;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn room(id: &str, kind: &str, parent: Option<&str>) -> (String, Room) {
    let room = Room {
        id: id.into(),
        kind: kind.into(),
        parent: parent.map(str::to_owned),
        ..Room::default()
    };
    (id.to_owned(), room)
}

/// Bob with the token `t`, a private room `p`, a public one `c`, and a discussion `d` of `p`.
pub(super) fn world() -> World {
    World {
        rooms: HashMap::from([
            room("p", "p", None),
            room("c", "c", None),
            room("d", "p", Some("p")),
        ]),
        members: [("p".to_owned(), "bob".to_owned())].into(),
        tokens: [("t".to_owned(), "bob".to_owned())].into(),
        ..World::default()
    }
}

pub(super) async fn bob(stage: &mut Stage) -> Place {
    let place = stage.open();
    let login = stage.log_in(place, "t");
    stage.pass(SECOND).await;
    assert!(matches!(
        stage.answered(place, login),
        Some(Answered::Result(Ok(_)))
    ));
    place
}

async fn follow(stage: &mut Stage, place: Place, room: &str) -> (Sub, bool) {
    let (number, sub) = stage.subscribe(place, "stream-room-messages", &format!(r#"["{room}"]"#));
    stage.pass(SECOND).await;
    let ready = stage.answered(place, number) == Some(&Answered::Ready);
    (sub, ready)
}

pub(super) fn membership(action: &str, room: &str, more: &str) -> String {
    format!(
        r#"[{{"clientAction":"{action}","subscription":{{"_id":"s","rid":"{room}","u":{{"_id":"bob"}}{more}}}}}]"#
    )
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_leaves_the_parent_loses_the_discussion_and_does_not_get_it_back() {
    let mut stage = Stage::new(1, world());
    let place = bob(&mut stage).await;
    let (sub, ready) = follow(&mut stage, place, "d").await;
    assert!(ready);
    stage.unsubscribe(sub);
    stage.script.world.borrow_mut().members.clear();
    stage.event("watch.subscriptions", membership("removed", "p", ""));
    assert!(!follow(&mut stage, place, "d").await.1);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_event_that_comes_before_its_fact_is_judged_once_more() {
    let mut stage = Stage::new(1, world());
    let place = bob(&mut stage).await;
    let (sub, ready) = follow(&mut stage, place, "d").await;
    assert!(ready);
    stage.event("watch.subscriptions", membership("removed", "p", ""));
    stage.pass(SECOND).await;
    assert!(stage.is_live(sub), "by what is true for the others");
    stage.script.world.borrow_mut().members.clear();
    stage.pass(2 * SECOND).await;
    assert!(!stage.is_live(sub));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_invitation_is_no_membership_and_acceptance_counts_at_once() {
    let mut stage = Stage::new(1, world());
    let place = bob(&mut stage).await;
    let (sub, _) = follow(&mut stage, place, "p").await;
    stage.event(
        "watch.subscriptions",
        membership("updated", "p", r#","status":"BANNED""#),
    );
    stage.take();
    assert!(!stage.is_live(sub));
    stage.script.world.borrow_mut().members.clear();
    assert!(!follow(&mut stage, place, "p").await.1);
    stage
        .script
        .world
        .borrow_mut()
        .members
        .insert(("p".into(), "bob".into()));
    assert!(follow(&mut stage, place, "p").await.1);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_was_asked_for_before_it_existed_is_there_with_its_event() {
    let mut stage = Stage::new(1, world());
    let place = bob(&mut stage).await;
    assert!(!follow(&mut stage, place, "new").await.1);
    let (id, new) = room("new", "c", None);
    stage.script.world.borrow_mut().rooms.insert(id, new);
    stage.event(
        "watch.rooms",
        r#"[{"clientAction":"inserted","room":{"_id":"new","t":"c"}}]"#.into(),
    );
    assert!(follow(&mut stage, place, "new").await.1);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_parent_that_turns_private_takes_its_discussions_along() {
    let mut world = world();
    world.rooms.insert("x".into(), room("x", "p", Some("c")).1);
    let mut stage = Stage::new(1, world);
    let place = bob(&mut stage).await;
    let (sub, ready) = follow(&mut stage, place, "x").await;
    assert!(ready);
    // Messages in the parent change nothing.
    stage.event(
        "watch.rooms",
        r#"[{"clientAction":"updated","room":{"_id":"c","t":"c","msgs":5}}]"#.into(),
    );
    stage.pass(5 * SECOND).await;
    assert!(stage.is_live(sub));
    stage.script.world.borrow_mut().set_kind("c", "p");
    stage.event(
        "watch.rooms",
        r#"[{"clientAction":"updated","room":{"_id":"c","t":"p"}}]"#.into(),
    );
    stage.pass(SECOND).await;
    assert!(!stage.is_live(sub));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn anonymous_readers_lose_what_a_setting_gave_them() {
    let mut world = world();
    world
        .settings
        .insert("Accounts_AllowAnonymousRead".into(), true);
    let mut stage = Stage::new(1, world);
    let place = stage.open();
    let (sub, ready) = follow(&mut stage, place, "c").await;
    assert!(ready);
    stage.script.world.borrow_mut().settings.clear();
    let args = r#"[{"clientAction":"updated","setting":{"_id":"Accounts_AllowAnonymousRead","value":false}}]"#;
    stage.event("watch.settings", args.into());
    stage.pass(SECOND).await;
    assert!(!stage.is_live(sub));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_role_that_was_lost_stays_lost_across_a_reconnect() {
    let mut world = world();
    let permission = ("bob".to_owned(), "view-privileged-setting".to_owned());
    world.permissions.insert(permission.clone());
    let mut stage = Stage::new(1, world);
    let place = bob(&mut stage).await;
    let sub = |stage: &mut Stage, place| {
        stage
            .subscribe(
                place,
                "stream-notify-logged",
                r#"["private-settings-changed"]"#,
            )
            .0
    };
    let number = sub(&mut stage, place);
    stage.pass(SECOND).await;
    assert_eq!(stage.answered(place, number), Some(&Answered::Ready));
    stage.close(place);
    stage.script.world.borrow_mut().permissions.clear();
    let args = r#"[{"clientAction":"updated","id":"bob","diff":{"roles":["user"]},"unset":{}}]"#;
    stage.event("watch.users", args.into());
    let place = bob(&mut stage).await;
    let number = sub(&mut stage, place);
    stage.pass(SECOND).await;
    let refused = Answered::Refused(ddp::Error::not_allowed());
    assert_eq!(stage.answered(place, number), Some(&refused));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_right_that_no_event_took_away_is_found_within_five_minutes() {
    let mut stage = Stage::new(1, world());
    let place = bob(&mut stage).await;
    let (sub, _) = follow(&mut stage, place, "p").await;
    stage.script.world.borrow_mut().members.clear();
    stage.pass(300 * SECOND).await;
    assert!(!stage.is_live(sub));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn lines_without_can_read_room_are_asked_what_they_offer() {
    let mut stage = Stage::new(1, world());
    stage
        .script
        .missing
        .borrow_mut()
        .insert("authorization.canReadRoom");
    let place = bob(&mut stage).await;
    assert!(follow(&mut stage, place, "p").await.1);
    stage.script.world.borrow_mut().members.clear();
    let (_, ready) = follow(&mut stage, place, "d").await;
    assert!(!ready);
    let called = stage.script.called.borrow();
    assert!(
        called
            .iter()
            .all(|(action, _)| action != "authorization.canReadRoom")
    );
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn one_of_two_guests_loses_his_own_subscription_only() {
    let mut world = world();
    let (_, mut chat) = room("l", "l", None);
    chat.visitor_token = Some("right".into());
    world.rooms.insert("l".into(), chat);
    let mut stage = Stage::new(1, world);
    let guest = stage.open();
    let params = |token: &str| format!(r#"["l",{{"args":[{{"visitorToken":"{token}"}}]}}]"#);
    let (_, sub) = stage.subscribe(guest, "stream-livechat-room", &params("right"));
    let other = stage.open();
    let (number, _) = stage.subscribe(other, "stream-livechat-room", &params("wrong"));
    stage.pass(SECOND).await;
    assert!(stage.is_live(sub));
    let refused = Answered::Refused(ddp::Error::not_allowed());
    assert_eq!(stage.answered(other, number), Some(&refused));
    let everybody = stage.open();
    let (_, all) = stage.subscribe(everybody, "stream-notify-all", r#"["license"]"#);
    stage
        .script
        .world
        .borrow_mut()
        .rooms
        .get_mut("l")
        .unwrap()
        .visitor_token = None;
    stage.event(
        "watch.rooms",
        r#"[{"clientAction":"updated","room":{"_id":"l","t":"l"}}]"#.into(),
    );
    stage.pass(SECOND).await;
    assert!(!stage.is_live(sub));
    assert!(stage.is_live(all));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_busy_room_can_be_followed() {
    let mut stage = Stage::new(1, world());
    let place = bob(&mut stage).await;
    stage.script.slowness.set(2_000);
    let (number, _) = stage.subscribe(place, "stream-room-messages", r#"["p"]"#);
    for _ in 0..400 {
        stage.event("watch.subscriptions", membership("updated", "p", ""));
        stage.pass(Duration::from_millis(50)).await;
    }
    assert_eq!(stage.answered(place, number), Some(&Answered::Ready));
    let called = stage.script.called.borrow();
    let asked = called
        .iter()
        .filter(|(action, _)| action == "authorization.canReadRoom");
    assert!(asked.count() <= 2);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_team_that_turned_private_is_doubted_by_who_comes_next() {
    let mut world = world();
    world.rooms.get_mut("c").unwrap().team = Some("t1".into());
    let mut stage = Stage::new(1, world);
    let place = bob(&mut stage).await;
    let args =
        r#"[{"clientAction":"updated","room":{"_id":"m","t":"p","teamId":"t1","teamMain":true}}]"#;
    // Somebody follows a room of the team already.
    let (first, _) = follow(&mut stage, place, "c").await;
    stage.event("watch.rooms", args.into());
    stage.unsubscribe(first);
    let (sub, ready) = follow(&mut stage, place, "c").await;
    assert!(ready, "by what authorization has heard");
    stage.script.world.borrow_mut().set_kind("c", "p");
    stage.pass(3 * SECOND).await;
    assert!(!stage.is_live(sub));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn of_a_room_with_attributes_only_its_id_is_passed_on() {
    let mut world = world();
    world.rooms.get_mut("p").unwrap().has_abac = true;
    let mut stage = Stage::new(1, world);
    let place = bob(&mut stage).await;
    for (stream, event) in [
        ("room-messages", "p"),
        ("notify-room", "p/deleteMessage"),
        ("room-data", "p"),
    ] {
        let params = format!(r#"["{event}",false]"#);
        let (number, _) = stage.subscribe(place, &format!("stream-{stream}"), &params);
        stage.pass(SECOND).await;
        assert_eq!(
            stage.answered(place, number),
            Some(&Answered::Ready),
            "{stream}"
        );
    }
    let called = stage.script.called.borrow();
    let asked = called
        .iter()
        .filter(|(action, _)| action.starts_with("authorization."));
    for (action, params) in asked {
        assert_eq!(action, "authorization.canAccessRoomId");
        assert_eq!(params, r#"["p","bob"]"#);
    }
}

/// Everything is asked again when it may have been missed, limits too.
#[tokio::test(flavor = "local", start_paused = true)]
async fn the_limits_of_the_workspace_are_read_again_after_a_gap() {
    let mut stage = Stage::new(1, world());
    tokio::task::spawn_local(crate::handlers::settings::keep_limits(stage.core.clone()));
    stage.pass(SECOND).await;
    let read = |stage: &Stage| stage.script.world.borrow().settings_read.get();
    let before = read(&stage);
    assert!(before > 0);
    stage.pass(SECOND).await;
    assert_eq!(read(&stage), before);
    stage.core.forget();
    stage.pass(SECOND).await;
    assert_eq!(read(&stage), 2 * before);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_asks_while_permissions_change_all_the_time_is_not_refused() {
    const STEP: Duration = Duration::from_millis(5);
    let mut stage = Stage::new(1, world());
    let place = bob(&mut stage).await;
    stage.script.slowness.set(100);
    let asked: Vec<_> = ["p", "c", "d"]
        .map(|room| stage.subscribe(place, "stream-room-messages", &format!(r#"["{room}"]"#)))
        .into();
    // As when a monolith starts, for a second.
    for _ in 0..200 {
        stage.event(
            "permission.changed",
            r#"[{"clientAction":"updated","data":{}}]"#.into(),
        );
        stage.pass(STEP).await;
    }
    for (number, _) in &asked {
        assert_eq!(stage.answered(place, *number), Some(&Answered::Ready));
    }
    // What the last of them said counts.
    stage.script.world.borrow_mut().members.clear();
    stage.event(
        "permission.changed",
        r#"[{"clientAction":"updated","data":{}}]"#.into(),
    );
    stage.pass(SECOND).await;
    assert!(!stage.is_live(asked[0].1) && !stage.is_live(asked[2].1));
    assert!(stage.is_live(asked[1].1));
}
