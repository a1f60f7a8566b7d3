//! Users who are watched.

use backplane::{Incoming, NodeInfo};

use super::{access::bob, *};

const SECOND: Duration = Duration::from_secs(1);

fn world() -> World {
    World {
        tokens: [("t".to_owned(), "bob".to_owned())].into(),
        ..World::default()
    }
}

fn status(user: &str, status: &str) -> String {
    format!(r#"[{{"user":{{"_id":"{user}","username":"{user}","status":"{status}"}}}}]"#)
}

async fn watch(stage: &mut Stage, place: Place, users: &str) -> Option<Answered> {
    let params = format!(r#"["",{{"added":{users}}}]"#);
    let (number, _) = stage.subscribe(place, "stream-user-presence", &params);
    stage.pass(SECOND).await;
    let client = stage.clients.get_mut(&place).unwrap();
    client.answers.remove(&number)
}

/// What was told of users, as `name code`, since the last question.
fn told(stage: &mut Stage, place: Place) -> Vec<String> {
    stage.take();
    let got = std::mem::take(&mut stage.clients.get_mut(&place).unwrap().got);
    let tuple = |(_, text): (Topic, String)| {
        let (_, rest) = text.split_once(r#"args\":[[\""#).unwrap();
        let (tuple, _) = rest.split_once(']').unwrap();
        tuple.replace(r#"\","#, " ").replace(",null", "")
    };
    got.into_iter().map(tuple).collect()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn in_a_storm_the_first_and_the_last_status_of_each_window_are_told() {
    let mut stage = Stage::new(1, world());
    let place = bob(&mut stage).await;
    assert_eq!(
        watch(&mut stage, place, r#"["u1","u2"]"#).await,
        Some(Answered::Ready)
    );
    for _ in 0..100 {
        for word in ["online", "away", "busy"] {
            stage.event("presence.status", status("u1", word));
        }
    }
    stage.event("presence.status", status("u2", "online"));
    stage.event("presence.status", status("stranger", "online"));
    assert_eq!(told(&mut stage, place), ["u1 1", "u2 1"]);
    stage.pass(SECOND).await;
    assert_eq!(told(&mut stage, place), ["u1 3"]);
    assert!(stage.core.state.flaps.borrow().is_empty());
    stage.event("presence.status", status("u1", "offline"));
    assert_eq!(told(&mut stage, place), ["u1 0"], "the storm is over");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_others_emit_on_the_stream_goes_past_nobody_who_may_not_see() {
    let mut stage = Stage::new(1, world());
    let place = bob(&mut stage).await;
    watch(&mut stage, place, r#"["u1"]"#).await;
    for relay in [
        r#"[["user-presence","u1",[["u1",1,null]]]]"#,
        r#"[{"stream":"user-presence","eventName":"u1","args":[["u1",1,null]]}]"#,
    ] {
        stage.event("stream", relay.into());
    }
    stage.take();
    assert!(stage.clients[&place].got.is_empty());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_is_not_logged_in_watches_nobody() {
    let mut stage = Stage::new(1, world());
    let place = stage.open();
    let answer = watch(&mut stage, place, r#"["u1"]"#).await;
    assert_eq!(answer, Some(Answered::Refused(ddp::Error::not_allowed())));
}

/// Hides these users from bob, and says so.
fn hide(stage: &Stage, users: &[&str], targets: &str) {
    let hidden = users.iter().map(|user| (*user).to_owned()).collect();
    stage
        .script
        .world
        .borrow_mut()
        .hidden
        .insert("bob".into(), hidden);
    let args = format!(r#"[{{"targets":{targets},"viewers":["bob"]}}]"#);
    stage.event("presence.invalidateVisibility", args);
}

fn with_users() -> World {
    let user = |id: &str| {
        let user = store::User {
            id: id.into(),
            ..store::User::default()
        };
        (id.to_owned(), user)
    };
    World {
        users: [user("u1"), user("u2")].into(),
        hidden: [("bob".to_owned(), vec!["u1".to_owned()])].into(),
        ..world()
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_user_who_is_hidden_from_a_viewer_is_told_to_him_when_he_is_shown_again() {
    let mut stage = Stage::new(1, with_users());
    let place = bob(&mut stage).await;
    watch(&mut stage, place, r#"["u1","u2"]"#).await;
    let say = |stage: &Stage, word: &str| {
        stage.event("presence.status", status("u1", word));
        stage.event("presence.status", status("u2", word));
    };
    say(&stage, "away");
    assert_eq!(told(&mut stage, place), ["u2 2"]);
    stage.pass(SECOND).await;
    hide(&stage, &[], r#"["u1"]"#);
    stage.pass(SECOND).await;
    assert_eq!(told(&mut stage, place), ["u1 1"], "as stored");
    hide(&stage, &["u2"], r#"["u2"]"#);
    // What is said while it is found out who may hear it waits.
    say(&stage, "busy");
    stage.pass(SECOND).await;
    assert_eq!(told(&mut stage, place), ["u1 3"]);
    stage.close(place);
    stage.pass(SECOND).await;
    stage.assert_empty();
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn whoever_cannot_be_judged_does_not_begin_to_watch() {
    let mut stage = Stage::new(1, with_users());
    let place = bob(&mut stage).await;
    stage.script.failing.set(1_000);
    let answer = watch(&mut stage, place, r#"["u1"]"#).await;
    assert_eq!(answer, Some(Answered::Refused(ddp::Error::internal())));
    stage.script.failing.set(0);
    let answer = watch(&mut stage, place, r#"["u1"]"#).await;
    assert_eq!(answer, Some(Answered::Ready));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn while_nobody_can_say_who_sees_a_user_he_is_hidden_and_told_later() {
    let mut stage = Stage::new(1, with_users());
    let place = bob(&mut stage).await;
    watch(&mut stage, place, r#"["u1","u2"]"#).await;
    stage.script.failing.set(1_000);
    hide(&stage, &["u1"], r#"["u2"]"#);
    stage.pass(SECOND).await;
    stage.event("presence.status", status("u2", "busy"));
    stage.pass(SECOND).await;
    assert!(told(&mut stage, place).is_empty());
    stage.script.failing.set(0);
    stage.pass(5 * SECOND).await;
    assert_eq!(told(&mut stage, place), ["u2 1"]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn lines_without_the_service_are_not_asked_until_somebody_offers_it() {
    const ACTION: &str = "status-visibility.getHiddenFrom";
    let mut stage = Stage::new(1, with_users());
    stage.script.missing.borrow_mut().insert(ACTION);
    let place = bob(&mut stage).await;
    watch(&mut stage, place, r#"["u1"]"#).await;
    stage.event("presence.status", status("u1", "busy"));
    assert_eq!(told(&mut stage, place), ["u1 3"]);
    let is_asked = |stage: &Stage| {
        let called = stage.script.called.borrow();
        called.iter().any(|(action, _)| action == ACTION)
    };
    assert!(!is_asked(&stage));
    stage.script.missing.borrow_mut().clear();
    let offer = |stage: &Stage, service: &str| {
        stage.core.incoming(Incoming::NodeOffers(NodeInfo {
            id: "node".into(),
            instance: None,
            hostname: None,
            client: None,
            local: false,
            available: true,
            services: [service.into()].into(),
        }));
    };
    // Somebody else's news are none.
    offer(&stage, "something-else");
    stage.pass(SECOND).await;
    assert!(!is_asked(&stage));
    offer(&stage, "status-visibility");
    stage.pass(SECOND).await;
    assert!(is_asked(&stage));
    stage.event("presence.status", status("u1", "away"));
    stage.pass(SECOND).await;
    assert!(told(&mut stage, place).is_empty());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_client_that_watches_sees_what_the_user_may_see_who_logs_in_there() {
    let mut world = with_users();
    world.tokens.insert("e".into(), "eve".into());
    let mut stage = Stage::new(1, world);
    let place = stage.open();
    stage.log_in(place, "e");
    stage.pass(SECOND).await;
    watch(&mut stage, place, r#"["u1"]"#).await;
    stage.event("presence.status", status("u1", "busy"));
    assert_eq!(told(&mut stage, place), ["u1 3"]);
    stage.log_in(place, "t");
    stage.pass(SECOND).await;
    stage.event("presence.status", status("u1", "away"));
    stage.pass(SECOND).await;
    assert!(told(&mut stage, place).is_empty());
    // And back: what she may see is known, and news for this client all the same.
    stage.log_in(place, "e");
    stage.pass(SECOND).await;
    stage.event("presence.status", status("u1", "online"));
    stage.pass(SECOND).await;
    assert_eq!(told(&mut stage, place), ["u1 1"]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn thousands_of_viewers_are_asked_about_again_in_four_minutes_and_not_at_once() {
    const VIEWERS: usize = 2_000;
    const STEP: Duration = Duration::from_secs(5);
    let mut stage = Stage::new(1, world());
    let place = stage.open();
    let viewers: Vec<Arc<str>> = (0..VIEWERS)
        .map(|viewer| format!("v{viewer}").into())
        .collect();
    for viewer in &viewers {
        stage.core.state.scopes.borrow_mut().enter(viewer, place);
    }
    stage.core.wake.scopes.notify_one();
    stage.pass_quietly(STEP).await;
    let mut asked: HashMap<String, usize> = HashMap::new();
    for _ in 0..48 {
        stage.script.called.borrow_mut().clear();
        stage.pass_quietly(STEP).await;
        let called = stage.script.called.borrow();
        let questions: Vec<_> = called
            .iter()
            .filter(|(action, _)| action == "status-visibility.getHiddenFrom")
            .collect();
        assert!(
            questions.len() < VIEWERS / 10,
            "{} at once",
            questions.len()
        );
        for (_, viewer) in questions {
            *asked.entry(viewer.clone()).or_default() += 1;
        }
    }
    assert_eq!(asked.len(), VIEWERS);
    assert!(asked.values().all(|times| *times <= 2));
    for viewer in &viewers {
        stage.core.state.scopes.borrow_mut().leave(viewer, place);
    }
}
