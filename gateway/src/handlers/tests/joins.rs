//! Many who join one room, and events of stream-hubs that come twice.

use store::Room;

use super::*;

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_rooms_of_a_mass_join_are_read_a_few_at_a_time_and_all_of_them() {
    const ROOMS: usize = 500;
    let rooms = (0..ROOMS).map(|number| {
        let room = Room {
            id: format!("r{number}"),
            kind: "p".into(),
            ..Room::default()
        };
        (room.id.clone(), room)
    });
    let world = World {
        rooms: rooms.collect(),
        tokens: [("t".to_owned(), "bob".to_owned())].into(),
        ..World::default()
    };
    let mut stage = Stage::new(1, world);
    let place = stage.open();
    stage.log_in(place, "t");
    stage.pass(Duration::from_secs(1)).await;
    stage.subscribe(place, "stream-notify-user", r#"["bob/rooms-changed"]"#);
    stage.pass(Duration::from_secs(1)).await;
    stage.script.slowness.set(100);
    for number in 0..ROOMS {
        let args = format!(
            r#"[{{"clientAction":"inserted","subscription":{{"_id":"s","rid":"r{number}","u":{{"_id":"bob"}}}}}}]"#
        );
        stage.event("watch.subscriptions", args);
    }
    stage.pass(Duration::from_secs(10)).await;
    let most = stage.script.reading_most.get();
    assert!((2..50).contains(&most), "{most} at once");
    assert_eq!(stage.clients[&place].got.len(), ROOMS);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_mass_add_closes_nobody_and_everybody_hears_of_the_room_first() {
    let users: Vec<String> = (0..100).map(|number| format!("u{number}")).collect();
    let room = Room {
        id: "r".into(),
        kind: "p".into(),
        ..Room::default()
    };
    let world = World {
        rooms: [("r".to_owned(), room)].into(),
        tokens: users
            .iter()
            .map(|user| (user.clone(), user.clone()))
            .collect(),
        ..World::default()
    };
    let mut stage = Stage::with(1, world, |config| config.hold_events = 64);
    let places: Vec<_> = users
        .iter()
        .map(|user| {
            let place = stage.open();
            stage.log_in(place, user);
            place
        })
        .collect();
    stage.pass(Duration::from_secs(1)).await;
    for (place, user) in places.iter().zip(&users) {
        let params = format!(r#"["{user}/rooms-changed"]"#);
        stage.subscribe(*place, "stream-notify-user", &params);
    }
    stage.pass(Duration::from_secs(1)).await;
    stage.script.slowness.set(100);
    // More words about the room than may wait: there is no end of readings in which all of them could.
    for user in &users {
        let member = ("r".to_owned(), user.clone());
        stage.script.world.borrow_mut().members.insert(member);
        let args = format!(
            r#"[{{"clientAction":"inserted","subscription":{{"_id":"s","rid":"r","u":{{"_id":"{user}"}}}}}}]"#
        );
        stage.event("watch.subscriptions", args);
        stage.event(
            "watch.rooms",
            r#"[{"clientAction":"updated","room":{"_id":"r","t":"p"}}]"#.into(),
        );
        stage.pass(Duration::from_millis(7)).await;
    }
    stage.pass(Duration::from_secs(5)).await;
    for place in &places {
        let client = &stage.clients[place];
        assert!(!client.closed);
        let inserted = client
            .got
            .iter()
            .filter(|(_, body)| body.contains("inserted"));
        assert_eq!(inserted.count(), 1);
    }
    places.into_iter().for_each(|place| stage.close(place));
    stage.pass(Duration::from_secs(5)).await;
    stage.assert_empty();
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_another_hub_says_again_is_not_said_again_and_its_gap_is_one_resync() {
    let world = World {
        tokens: [("t".to_owned(), "bob".to_owned())].into(),
        ..World::default()
    };
    let mut stage = Stage::new(1, world);
    let come = async |stage: &mut Stage| {
        let place = stage.open();
        stage.log_in(place, "t");
        stage.pass(Duration::from_millis(100)).await;
        stage.subscribe(
            place,
            "stream-notify-user",
            r#"["bob/subscriptions-changed"]"#,
        );
        stage.pass(Duration::from_millis(100)).await;
        place
    };
    let hear = |stage: &Stage, meta: &str| {
        stage.core.event(Event {
            name: "watch.subscriptions",
            args: r#"[{"clientAction":"updated","subscription":{"rid":"r","u":{"_id":"bob"}}}]"#
                .into(),
            sender: "hub".into(),
            from_us: false,
            meta: Bytes::copy_from_slice(meta.as_bytes()),
            received: now(),
            handled: Handled::default(),
        });
    };
    let place = come(&mut stage).await;
    for term in [1, 2] {
        for n in [0, 1] {
            hear(
                &stage,
                &format!(r#"{{"hub":{{"term":{term},"token":"82","n":{n}}}}}"#),
            );
        }
    }
    stage.pass(Duration::from_secs(1)).await;
    assert_eq!(stage.clients[&place].got.len(), 2);
    hear(&stage, r#"{"hub":{"term":1,"token":"83","n":0}}"#);
    stage.pass(Duration::from_secs(1)).await;
    assert_eq!(stage.clients[&place].got.len(), 2, "its hub was replaced");
    let gap = r#"{"hub":{"term":2,"gap":"g"}}"#;
    hear(&stage, gap);
    stage.pass(Duration::from_secs(1)).await;
    assert!(stage.clients[&place].closed);
    // The others of the same gap.
    let place = come(&mut stage).await;
    hear(&stage, gap);
    stage.pass(Duration::from_secs(60)).await;
    assert!(!stage.clients[&place].closed);
    assert_eq!(stage.clients[&place].got.len(), 1);
}
