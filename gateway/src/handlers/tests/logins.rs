//! Logins beside a flood of them.

use super::*;

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
