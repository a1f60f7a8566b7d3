//! What one client can have passed on to others.

use std::cell::Cell;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A room of so many members, Bob with the token `t` among them.
fn world(members: usize) -> World {
    let others = (1..members).map(|number| ("r".to_owned(), format!("u{number}")));
    World {
        members: others.chain([("r".to_owned(), "bob".to_owned())]).collect(),
        tokens: [("t".to_owned(), "bob".to_owned())].into(),
        ..World::default()
    }
}

async fn bob(stage: &mut Stage) -> Place {
    let place = stage.open();
    stage.log_in(place, "t");
    stage.pass(SECOND).await;
    stage.script.said.borrow_mut().clear();
    place
}

fn tell(stage: &mut Stage, place: Place, bytes: usize) -> u32 {
    let params = format!(r#"["r/userData","{}"]"#, "x".repeat(bytes));
    stage.method(place, "stream-notify-room-users", &params)
}

fn error_of(stage: &Stage, place: Place, number: u32) -> Option<String> {
    match stage.answered(place, number) {
        Some(Answered::Result(Ok(None))) => None,
        Some(Answered::Result(Err(error))) => Some(error.message()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_large_write_reaches_nobody_and_is_answered_with_an_error() {
    let mut stage = Stage::new(1, world(1_000));
    let place = bob(&mut stage).await;
    let number = tell(&mut stage, place, 70_000);
    stage.pass(SECOND).await;
    let error = error_of(&stage, place, number).unwrap();
    assert!(error.ends_with("[error-too-large]"), "{error}");
    assert!(stage.script.said.borrow().is_empty());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_is_passed_on_is_charged_to_the_writer_for_every_member() {
    const BYTES: usize = 4_000;
    let mut stage = Stage::new(1, world(1_000));
    let place = bob(&mut stage).await;
    let first = tell(&mut stage, place, BYTES);
    stage.pass(SECOND).await;
    assert_eq!(error_of(&stage, place, first), None);
    assert_eq!(stage.script.said.borrow().len(), 999);
    // From another connection it is the same user.
    let other = stage.open();
    stage.log_in(other, "t");
    stage.pass(SECOND).await;
    let second = tell(&mut stage, other, BYTES);
    stage.pass(SECOND).await;
    let error = error_of(&stage, other, second).unwrap();
    assert!(error.ends_with("[too-many-requests]"), "{error}");
    let relays = |stage: &Stage| {
        let said = stage.script.said.borrow();
        said.iter().filter(|(event, _)| event == "stream").count()
    };
    assert_eq!(relays(&stage), 999, "nothing of it was passed on");
    stage.pass(20 * SECOND).await;
    let third = tell(&mut stage, other, BYTES);
    stage.pass(SECOND).await;
    assert_eq!(error_of(&stage, other, third), None);
    assert_eq!(relays(&stage), 2 * 999);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_says_little_to_many_pays_for_what_carries_it() {
    let mut stage = Stage::new(1, world(1_000));
    let place = bob(&mut stage).await;
    let mut numbers = Vec::new();
    for _ in 0..17 {
        numbers.push(tell(&mut stage, place, 1));
        // No time passes in which something would come back.
        while stage.core.work.len() > 0 {
            tokio::task::yield_now().await;
        }
    }
    stage.take();
    let errors = numbers
        .iter()
        .filter_map(|number| error_of(&stage, place, *number));
    let errors: Vec<_> = errors.collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].ends_with("[too-many-requests]"), "{errors:?}");
    assert_eq!(stage.script.said.borrow().len(), 16 * 999);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_word_to_many_members_is_one_publication_and_lets_others_in_between_its_relays() {
    let mut stage = Stage::new(1, world(1_000));
    let place = bob(&mut stage).await;
    stage.take();
    let portion = Rc::new(Cell::new(0));
    let watcher = tokio::task::spawn_local({
        let (script, portion) = (stage.script.clone(), portion.clone());
        async move {
            let mut before = 0;
            loop {
                let said = script.said.borrow().len();
                portion.set(portion.get().max(said - before));
                before = said;
                tokio::task::yield_now().await;
            }
        }
    });
    tell(&mut stage, place, 10);
    while stage.core.work.len() > 0 {
        tokio::task::yield_now().await;
    }
    watcher.abort();
    assert_eq!(stage.script.said.borrow().len(), 999);
    assert!((1..=64).contains(&portion.get()), "{}", portion.get());
    stage.core.flush();
    let mut batch = Vec::new();
    stage.mailbox.take(&mut batch);
    let published = batch.iter().filter_map(|message| match message {
        ToShard::Publish(batch) => Some(batch.len()),
        _ => None,
    });
    assert_eq!(published.sum::<usize>(), 1);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_room_of_many_thousands_is_not_read_whole_and_not_for_nothing() {
    let mut stage = Stage::new(1, world(5_000));
    let place = bob(&mut stage).await;
    let mut numbers = vec![tell(&mut stage, place, 1)];
    stage.pass(SECOND).await;
    let read = |stage: &Stage| stage.script.world.borrow().members_read.take();
    assert_eq!(read(&stage), 1_002);
    assert_eq!(stage.script.said.borrow().len(), 1_000);
    for _ in 0..2_000 {
        numbers.push(tell(&mut stage, place, 1));
        // No time passes in which something would come back.
        while stage.core.work.len() > 0 {
            tokio::task::yield_now().await;
        }
    }
    assert!(read(&stage) <= 64 * 1_002);
    stage.take();
    let errors = numbers
        .iter()
        .filter_map(|number| error_of(&stage, place, *number));
    assert!(errors.count() > 1_900);
}
