//! Users who are watched.

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
async fn who_is_not_logged_in_watches_nobody() {
    let mut stage = Stage::new(1, world());
    let place = stage.open();
    let answer = watch(&mut stage, place, r#"["u1"]"#).await;
    assert_eq!(answer, Some(Answered::Refused(ddp::Error::not_allowed())));
}
