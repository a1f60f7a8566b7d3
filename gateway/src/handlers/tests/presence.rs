//! What presence is told although it was away, or did not answer.

use super::*;

fn world() -> World {
    World {
        tokens: [("t".to_owned(), "bob".to_owned())].into(),
        ..World::default()
    }
}

/// What presence was told of a client, in order.
fn told(stage: &Stage, place: Place) -> Vec<String> {
    let id = &stage.clients[&place].connection.id;
    let calls = stage.script.called.borrow();
    let calls = calls
        .iter()
        .filter(|(action, params)| action.starts_with("presence.") && params.contains(&**id));
    calls
        .map(|(action, _)| action.trim_start_matches("presence.").to_owned())
        .collect()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn presence_hears_of_everybody_when_it_has_come_back() {
    let mut stage = Stage::new(1, world());
    let away = [
        "presence.newConnection",
        "presence.setConnectionStatus",
        "presence.removeConnection",
    ];
    stage.script.missing.borrow_mut().extend(away);
    let stays = stage.open();
    let goes = stage.open();
    for place in [stays, goes] {
        stage.log_in(place, "t");
    }
    stage.pass(Duration::from_secs(1)).await;
    for status in [
        "UserPresence:away",
        "UserPresence:online",
        "UserPresence:away",
    ] {
        let number = stage.method(stays, status, "[]");
        stage.pass(Duration::from_millis(50)).await;
        assert!(
            stage.answered(stays, number).is_some(),
            "nobody waits for presence"
        );
    }
    stage.close(goes);
    stage.pass_quietly(Duration::from_secs(3_600)).await;
    stage.script.missing.borrow_mut().clear();
    stage.script.called.borrow_mut().clear();
    stage.core.wake.offers.notify_waiters();
    stage.pass(Duration::from_secs(1)).await;
    assert_eq!(
        told(&stage, stays),
        ["newConnection", "setConnectionStatus"]
    );
    assert!(
        stage
            .script
            .called
            .borrow()
            .iter()
            .any(|(_, params)| params.contains("away"))
    );
    assert_eq!(told(&stage, goes), ["removeConnection"]);
    stage.close(stays);
    stage.pass(Duration::from_secs(1)).await;
    stage.assert_empty();
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_call_that_timed_out_is_told_again_before_what_came_after_it() {
    let mut stage = Stage::new(1, world());
    let place = stage.open();
    stage.log_in(place, "t");
    stage.pass(Duration::from_millis(100)).await;
    stage.script.failing.set(1_000);
    stage.script.called.borrow_mut().clear();
    stage.method(place, "UserPresence:away", "[]");
    stage.pass(Duration::from_millis(100)).await;
    stage.close(place);
    stage.pass(Duration::from_secs(5)).await;
    stage.script.failing.set(0);
    stage.pass_quietly(Duration::from_secs(60)).await;
    let told = told(&stage, place);
    assert_eq!(told[0], "setConnectionStatus");
    assert!(told.len() > 2, "{told:?}");
    assert!(
        told[1..].iter().all(|word| word == "removeConnection"),
        "{told:?}"
    );
    stage.assert_empty();
}
