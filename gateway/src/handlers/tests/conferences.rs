//! Conferences of the newest line.

use store::Conference;

use super::{access::bob, *};

const SECOND: Duration = Duration::from_secs(1);

fn world() -> World {
    let room = |id: &str| {
        let room = store::Room {
            id: id.into(),
            kind: "p".into(),
            ..store::Room::default()
        };
        (id.to_owned(), room)
    };
    let call = Conference {
        id: "c1".into(),
        room: Some("r1".into()),
        discussion: Some("r2".into()),
        users: Vec::new(),
    };
    World {
        tokens: [("t".to_owned(), "bob".to_owned())].into(),
        rooms: [room("r1"), room("r2")].into(),
        conferences: [("c1".to_owned(), call)].into(),
        ..World::default()
    }
}

fn join(stage: &Stage, room: &str, user: &str) {
    let member = (room.to_owned(), user.to_owned());
    stage.script.world.borrow_mut().members.insert(member);
}

fn have_joined(stage: &Stage, users: Vec<String>) {
    let mut world = stage.script.world.borrow_mut();
    world.conferences.get_mut("c1").unwrap().users = users;
}

async fn follow(stage: &mut Stage, place: Place) -> (Sub, bool) {
    let (number, sub) = stage.subscribe(place, "stream-video-conference", r#"["c1/updated"]"#);
    stage.pass(SECOND).await;
    (sub, stage.answered(place, number) == Some(&Answered::Ready))
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_may_access_its_room_or_its_discussion_or_has_joined_follows_a_conference() {
    for room in ["r1", "r2"] {
        let mut stage = Stage::new(1, world());
        let place = bob(&mut stage).await;
        assert!(!follow(&mut stage, place).await.1);
        join(&stage, room, "bob");
        assert!(follow(&mut stage, place).await.1, "{room}");
    }
    let mut stage = Stage::new(1, world());
    let place = bob(&mut stage).await;
    have_joined(&stage, vec!["bob".into()]);
    assert!(follow(&mut stage, place).await.1);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_loses_the_room_of_a_conference_loses_the_conference() {
    let mut stage = Stage::new(1, world());
    let place = bob(&mut stage).await;
    join(&stage, "r2", "bob");
    let (sub, is_live) = follow(&mut stage, place).await;
    assert!(is_live);
    stage.script.world.borrow_mut().members.clear();
    let gone =
        r#"[{"clientAction":"removed","subscription":{"_id":"s","rid":"r2","u":{"_id":"bob"}}}]"#;
    stage.event("watch.subscriptions", gone.into());
    stage.pass(SECOND).await;
    assert!(!stage.is_live(sub));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_leaves_a_conference_in_a_foreign_room_follows_it_no_more() {
    let mut stage = Stage::new(1, world());
    let place = bob(&mut stage).await;
    have_joined(&stage, vec!["bob".into()]);
    let (sub, is_live) = follow(&mut stage, place).await;
    assert!(is_live);
    have_joined(&stage, Vec::new());
    stage.event("video-conference.updated", r#"[{"callId":"c1"}]"#.into());
    stage.pass(SECOND).await;
    assert!(!stage.is_live(sub));
    stage.close(place);
    // It would have been judged once more.
    stage.pass(5 * SECOND).await;
    stage.assert_empty();
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn lines_without_conferences_are_not_asked_about_them() {
    let mut stage = Stage::new(1, world());
    let action = "authorization.canAccessConference";
    stage.script.missing.borrow_mut().insert(action);
    let place = bob(&mut stage).await;
    join(&stage, "r1", "bob");
    assert!(!follow(&mut stage, place).await.1);
    let called = stage.script.called.borrow();
    assert!(called.iter().all(|(called, _)| called != action));
}
