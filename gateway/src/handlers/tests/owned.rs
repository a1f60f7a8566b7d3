//! What runs for a client ends with it.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "local", start_paused = true)]
async fn calls_and_judgements_end_with_the_last_client() {
    let mut stage = Stage::new(1, World::default());
    stage.script.slowness.set(60_000);
    let places: Vec<_> = (0..50).map(|_| stage.open()).collect();
    for (number, place) in places.iter().enumerate() {
        if number % 2 == 0 {
            stage.method(*place, "slow", "[1]");
        } else {
            stage.subscribe(*place, "stream-room-messages", r#"["r"]"#);
        }
    }
    stage.pass(Duration::from_millis(10)).await;
    assert_eq!(stage.core.work.len(), 50);
    for place in places {
        stage.close(place);
    }
    tokio::task::yield_now().await;
    stage.assert_empty();
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nothing_that_presence_is_told_overtakes_the_new_connection() {
    let world = World {
        tokens: [("t".to_owned(), "bob".to_owned())].into(),
        ..World::default()
    };
    let mut stage = Stage::new(1, world);
    stage.script.slowness.set(500);
    let place = stage.open();
    stage.log_in(place, "t");
    stage.pass(2 * SECOND).await;
    let told = |stage: &Stage| -> Vec<String> {
        let called = stage.script.called.borrow();
        let presence = called
            .iter()
            .filter(|(action, _)| action.starts_with("presence."));
        presence.map(|(action, _)| action.clone()).collect()
    };
    let before = told(&stage).len();
    assert_eq!(before, 1);
    // A second life, in one burst.
    stage.close(place);
    let place = stage.open();
    stage.log_in(place, "t");
    stage.pass(Duration::from_millis(600)).await;
    let away = stage.method(place, "UserPresence:away", "[]");
    stage.pass(2 * SECOND).await;
    assert!(stage.answered(place, away).is_some());
    stage.close(place);
    stage.pass(2 * SECOND).await;
    let expected = [
        "presence.newConnection",
        "presence.removeConnection",
        "presence.newConnection",
        "presence.setConnectionStatus",
        "presence.removeConnection",
    ];
    assert_eq!(told(&stage), expected);
    stage.assert_empty();
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn two_password_logins_at_once_are_two_questions() {
    let mut stage = Stage::with(1, World::default(), |config| config.password_login = true);
    stage.script.slowness.set(500);
    let login = r#"[{"user":{"username":"bob"},"password":"p"}]"#;
    for _ in 0..2 {
        let place = stage.open();
        stage.method(place, "login", login);
    }
    stage.pass(SECOND).await;
    let called = stage.script.called.borrow();
    let logins = called
        .iter()
        .filter(|(action, _)| action == "accounts.login");
    assert_eq!(logins.count(), 2);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_sign_of_life_is_passed_on_where_presence_wants_to_hear_of_it() {
    const UPDATE: &str = "presence.updateConnection";
    for is_offered in [true, false] {
        let world = World {
            tokens: [("t".to_owned(), "bob".to_owned())].into(),
            ..World::default()
        };
        let mut stage = Stage::new(1, world);
        if !is_offered {
            stage.script.missing.borrow_mut().insert(UPDATE);
        }
        let place = stage.open();
        let (_, anonymous) = stage.ticket(place);
        stage.core.activity(&anonymous);
        stage.log_in(place, "t");
        stage.pass(SECOND).await;
        let (_, caller) = stage.ticket(place);
        stage.core.activity(&caller);
        stage.pass(SECOND).await;
        let called = stage.script.called.borrow();
        let updates: Vec<_> = called
            .iter()
            .filter(|(action, _)| action == UPDATE)
            .collect();
        assert_eq!(updates.len(), usize::from(is_offered));
        if let [(_, params)] = &updates[..] {
            assert_eq!(params, r#"["bob","c1"]"#);
        }
    }
}
