//! The stream-hub while MongoDB is slow to keep how far it has come.

use std::time::Duration;

use backplane::{Inbox, Incoming, Service};
use services::stream_hub;
use store::bson::{DateTime, doc};

use crate::place::Place;

const CHECKPOINT: &str = "update rocketchat_rs_stream_hub";

#[tokio::test]
async fn a_change_does_not_wait_for_the_checkpoint_of_the_one_before() {
    // No deadline ends the wait for a checkpoint before this test is over.
    let place = Place::start_patient(Duration::from_secs(600)).await;
    let mut inbox = place.bus.announce(Service {
        name: "streamer",
        actions: vec![],
        events: vec!["watch.messages"],
    });
    let config = stream_hub::Config {
        disable_watchers: Some(false),
        ..stream_hub::Config::default()
    };
    let health = stream_hub::Health::new();
    let (bus, store, stop) = (place.bus.clone(), place.store.clone(), place.stop.clone());
    tokio::spawn(stream_hub::run(bus, store, config, health.clone(), stop));
    while health.report().state != "leader" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The second of them is heard when the first checkpoint of all is written, which alone is waited for.
    for id in ["a", "b"] {
        say(&place, id, &mut inbox).await;
    }
    place.log.take();
    place.held.send_replace(Some(CHECKPOINT));
    say(&place, "c", &mut inbox).await;
    until_asked(&place, CHECKPOINT).await;
    say(&place, "d", &mut inbox).await;
    place.held.send_replace(None);
    until_asked(&place, CHECKPOINT).await;
    place.stop.cancel();
}

/// Writes a message and waits for its event.
async fn say(place: &Place, id: &str, inbox: &mut Inbox) {
    let message = doc! { "_id": id, "rid": "r", "msg": "x", "ts": DateTime::now() };
    place.direct.insert_message(message).await.unwrap();
    let heard = async {
        loop {
            if let Incoming::Event(event) = inbox.recv().await
                && event.args.contains(&format!("\"_id\":\"{id}\""))
            {
                return;
            }
        }
    };
    let heard = tokio::time::timeout(Duration::from_secs(300), heard).await;
    assert!(heard.is_ok(), "{id} is never heard");
}

async fn until_asked(place: &Place, command: &str) {
    while !place.log.take().iter().any(|sent| sent == command) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
