//! Logins beside a flood of them.

use super::*;

#[tokio::test(flavor = "local", start_paused = true)]
async fn documents_of_many_who_come_together_are_read_together() {
    let user = |number: usize| store::User {
        id: format!("u{number}"),
        ..store::User::default()
    };
    let users = (0..240).map(|number| (format!("u{number}"), user(number)));
    let world = World {
        users: users.collect(),
        ..World::default()
    };
    let stage = Stage::new(1, world);
    stage.script.slowness.set(100);
    let ask = |number: usize| {
        let core = stage.core.clone();
        let id = Arc::from(format!("u{number}"));
        tokio::task::spawn_local(async move { core.own_document(&id).await })
    };
    let first = ask(0);
    tokio::task::yield_now().await;
    let others: Vec<_> = (1..250).map(ask).collect();
    tokio::task::yield_now().await;
    others[9].abort();
    assert_eq!(first.await.unwrap(), Ok(Some(r#"{"_id":"u0"}"#.into())));
    for (number, other) in (1..250).zip(others).filter(|(number, _)| *number != 10) {
        let found = (number < 240).then(|| format!(r#"{{"_id":"u{number}"}}"#));
        assert_eq!(other.await.unwrap(), Ok(found));
    }
    let read = stage.script.world.borrow().documents_read.borrow().clone();
    assert_eq!(read, [1, 100, 100, 48]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_user_has_so_many_connections_and_the_next_is_asked_to_come_back() {
    let world = World {
        tokens: [("t".to_owned(), "bob".to_owned())].into(),
        ..World::default()
    };
    let mut stage = Stage::with(1, world, |config| {
        config.forwarded_count = 1;
        config.connections_per_user = 2;
    });
    let places = [(); 3].map(|()| {
        let place = stage.open();
        stage.log_in(place, "t");
        place
    });
    stage.pass(Duration::from_secs(1)).await;
    assert_eq!(
        places.map(|place| stage.clients[&place].closed),
        [false, false, true]
    );
    stage.close(places[0]);
    let next = stage.open();
    stage.log_in(next, "t");
    stage.pass(Duration::from_secs(1)).await;
    assert!(!stage.clients[&next].closed);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn an_honest_login_does_not_wait_behind_made_up_tokens_of_another_address() {
    let world = World {
        tokens: [("t".to_owned(), "bob".to_owned())].into(),
        ..World::default()
    };
    let mut stage = Stage::with(1, world, |config| config.logins_per_second = 10);
    for number in 0..200 {
        let place = stage.open();
        stage.log_in(place, &format!("made-up-{number}"));
    }
    stage.pass(Duration::from_millis(5)).await;
    stage.from = 10;
    let bob = stage.open();
    let login = stage.log_in(bob, "t");
    stage.pass(Duration::from_millis(500)).await;
    assert!(
        matches!(
            stage.answered(bob, login),
            Some(Answered::Result(Ok(Some(_))))
        ),
        "{:?}",
        stage.answered(bob, login)
    );
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_login_waits_for_somebody_who_judges_it_but_not_for_ever() {
    let world = World {
        tokens: [("t".to_owned(), "bob".to_owned())].into(),
        ..World::default()
    };
    let mut stage = Stage::new(1, world);
    stage.script.missing.borrow_mut().insert("accounts.login");
    let (patient, late) = (stage.open(), stage.open());
    let login = stage.log_in(patient, "t");
    stage.pass(Duration::from_secs(9)).await;
    assert_eq!(stage.answered(patient, login), None);
    stage.script.missing.borrow_mut().clear();
    stage.core.wake.offers.notify_waiters();
    stage.pass(Duration::from_secs(1)).await;
    let answer = stage.answered(patient, login);
    assert!(
        matches!(answer, Some(Answered::Result(Ok(_)))),
        "{answer:?}"
    );
    stage.script.missing.borrow_mut().insert("accounts.login");
    stage.log_in(late, "t");
    stage.pass(Duration::from_secs(9)).await;
    assert!(!stage.clients[&late].closed);
    stage.pass(Duration::from_secs(2)).await;
    assert!(stage.clients[&late].closed, "it is asked to try again");
}
