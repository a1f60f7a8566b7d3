//! What clients see of a feed that has lost history: the embedded store, hub and gateway in one process.

use std::{sync::mpsc, thread, time::Duration};

use backplane::Bus;
use gateway::Gateway;
use harness::Client;
use store::{Store, bson::doc};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

#[test]
fn who_follows_anything_is_sent_to_resync_when_the_embedded_feed_has_lost_history() {
    let runtime = Runtime::new().expect("a runtime");
    let store = Store::embedded(None).expect("an empty store");
    let bus = Bus::in_process("all".into());
    let config = gateway::Config {
        port: 0,
        bind: Some([127, 0, 0, 1].into()),
        shards: 1,
        resync_over: Duration::from_millis(100),
        resync_wait: Duration::from_millis(100),
        drain_within: Duration::from_secs(2),
        ..gateway::Config::default()
    };
    let gateway = Gateway::start(config, bus.clone(), None, store.clone(), None);
    let gateway = runtime.block_on(gateway).expect("a free port");
    // A thread that runs the hub and can be made to stand still.
    let (stand_still, until) = mpsc::sync_channel::<mpsc::Receiver<()>>(0);
    let shutdown = CancellationToken::new();
    let hub = {
        let (store, shutdown) = (store.clone(), shutdown.clone());
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let config = services::stream_hub::Config::default();
                let health = services::stream_hub::Health::new();
                let work = services::stream_hub::run(bus, store, config, health, shutdown);
                let mut work = std::pin::pin!(work);
                loop {
                    let pause = tokio::time::sleep(Duration::from_millis(5));
                    tokio::select! {
                        () = &mut work => return,
                        () = pause => {}
                    }
                    if let Ok(until) = until.try_recv() {
                        // Ends when the sender is gone.
                        let _ = until.recv();
                    }
                }
            });
        })
    };
    let insert = |id: &str, value: &str| {
        let setting = doc! { "_id": id, "public": true, "value": value };
        let inserted = runtime.block_on(store.insert_setting(setting));
        inserted.expect("it is taken");
    };

    let mut client = Client::open(gateway.local_addr().port());
    let (stream, event) = ("notify-all", "public-settings-changed");
    client.stream(stream, event).expect("everybody may");
    insert("before", "x");
    assert_eq!(client.event(stream, event)[1]["_id"], "before");

    let (go_on, wait) = mpsc::sync_channel(0);
    // Taken: it stands still.
    stand_still.send(wait).expect("the hub runs");
    // More than the 16 MiB that the feed keeps.
    let large = "x".repeat(1 << 20);
    for number in 0..18 {
        insert(&format!("lost-{number}"), &large);
    }
    drop(go_on);
    let end = client.closed();
    assert_eq!((end.code, end.reason.as_str()), (Some(1012), "RESYNC"));

    // Back again, it hears what happens from now on.
    let mut client = Client::open(gateway.local_addr().port());
    client.stream(stream, event).expect("everybody may");
    insert("after", "x");
    while client.event(stream, event)[1]["_id"] != "after" {}
    shutdown.cancel();
    hub.join().expect("it ends");
    client.close();
    runtime.block_on(gateway.drain());
}
