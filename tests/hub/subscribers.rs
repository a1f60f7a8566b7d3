//! What clients of a gateway hear while the hubs behind it die.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use harness::{Client, Gateway, MongoServer, Workspace, eventually, http::get};
use serde_json::{Value, json};
use store::{MongoConfig, Store, Update, bson::doc};
use tokio::runtime::Runtime;

use super::{BINARY, HEARTBEATS, SHORT_LOG, secantus};

fn store(workspace: &Workspace, runtime: &Runtime) -> Store {
    let config = MongoConfig {
        url: workspace.mongo_url(),
        ..MongoConfig::default()
    };
    runtime.block_on(Store::mongo(config)).expect("a store")
}

fn hub(workspace: &Workspace) -> Gateway {
    let mut hub = workspace.role(BINARY, "stream-hub", &[("DISABLE_DB_WATCHERS", "no")]);
    hub.edge.wait_for_ok(hub.port, "/readyz");
    hub
}

fn leads(hub: &Gateway) -> bool {
    let body = get(hub.port, "/readyz").body;
    let body: Value = serde_json::from_str(&body).expect("JSON");
    body["hub"] == "leader"
}

/// Members of one room who follow it, with the room.
fn followers(workspace: &Workspace, gateway: &Gateway, count: usize) -> (String, Vec<Client>) {
    let reader = workspace.user(&["user"]);
    let rid = workspace.room("p", &[&reader]);
    let clients = (0..count).map(|_| {
        let mut client = Client::open(gateway.port);
        client.login(&reader.token);
        client.stream("room-messages", &rid).expect("a member");
        client
    });
    let clients = clients.collect();
    (rid, clients)
}

/// Writes `w0`, `w1`, ... and edits every third one, until it is told to stop; then `last`. How many there are.
async fn write(store: Store, rid: String, is_over: Arc<AtomicBool>) -> usize {
    let mut count = 0;
    while !is_over.load(Relaxed) {
        let id = format!("w{count}");
        let message = doc! { "_id": &id, "rid": &rid, "msg": "first" };
        store.insert_message(message).await.expect("it is taken");
        if count % 3 == 0 {
            let edit = Update::set(doc! { "msg": "edited" });
            store.update_message(&id, edit).await.expect("it is taken");
        }
        count += 1;
    }
    let last = doc! { "_id": "last", "rid": &rid, "msg": "first" };
    store.insert_message(last).await.expect("it is taken");
    count
}

#[test]
fn who_follows_a_room_hears_every_change_once_although_the_hub_at_work_is_killed() {
    let workspace = Workspace::start_on(MongoServer::start_own(&[]), &HEARTBEATS);
    let gateway = workspace.gateway(BINARY, &[]);
    let (rid, mut clients) = followers(&workspace, &gateway, 5);
    let runtime = Runtime::new().expect("a runtime");
    let store = store(&workspace, &runtime);
    let mut hubs = [hub(&workspace), hub(&workspace)];
    let first = eventually("a leader", || hubs.iter().position(leads));
    // The first hub of all begins with what is written from then on.
    eventually("it works", || {
        let probe = store.insert_message(doc! { "rid": &rid, "msg": "x" });
        runtime.block_on(probe).expect("it is taken");
        (hubs[first].metric("ddp_edge_hub_changes_total", &[]) > 0.0).then_some(())
    });
    let is_over = Arc::new(AtomicBool::new(false));
    let writing = runtime.spawn(write(store, rid.clone(), is_over.clone()));
    // How often each has been heard of, by its id.
    let mut heard = vec![BTreeMap::<String, usize>::new(); clients.len()];
    let mut hear = |clients: &mut Vec<Client>, until: &dyn Fn(&str, usize) -> bool| {
        for (client, heard) in clients.iter_mut().zip(&mut heard) {
            for number in 0.. {
                let mut message = client.event("room-messages", &rid);
                let id = message[0]["_id"].take();
                let id = id.as_str().expect("an id");
                *heard.entry(id.to_owned()).or_default() += 1;
                if until(id, number) {
                    break;
                }
            }
        }
    };
    hear(&mut clients, &|_, number| number == 50);
    hubs[first].edge.kill9();
    let other = &hubs[1 - first];
    eventually("the other one works", || leads(other).then_some(()));
    hear(&mut clients, &|_, number| number == 50);
    is_over.store(true, Relaxed);
    let count = runtime.block_on(writing).expect("the writer ends");
    hear(&mut clients, &|id, _| id == "last");
    for heard in &heard {
        for number in 0..count {
            let changes = if number % 3 == 0 { 2 } else { 1 };
            let times = heard.get(&format!("w{number}"));
            assert_eq!(times, Some(&changes), "w{number} of {count}");
        }
    }
    // Nothing comes behind it either, and nobody was sent away.
    for client in &mut clients {
        workspace.settle(client);
        assert!(client.take_events("room-messages", &rid).is_empty());
    }
    assert_eq!(
        gateway.metric("ddp_edge_gaps_total", &[("cause", "hub_gap")]),
        0.0
    );
    let again = gateway.metric("ddp_edge_hub_dropped_total", &[]);
    println!("{count} messages, {again} events dropped");
}

#[test]
fn who_follows_anything_is_sent_to_resync_when_a_hub_has_lost_history() {
    let Some(mongo) = secantus(&SHORT_LOG) else {
        return;
    };
    let workspace = Workspace::start_on(mongo, &HEARTBEATS);
    let gateway = workspace.gateway(BINARY, &[]);
    let (rid, mut clients) = followers(&workspace, &gateway, 3);
    let runtime = Runtime::new().expect("a runtime");
    let store = store(&workspace, &runtime);
    let insert = |id: String| {
        let message = doc! { "_id": id, "rid": &rid, "msg": "x" };
        let inserted = runtime.block_on(store.insert_message(message));
        inserted.expect("it is taken");
    };
    let mut worker = hub(&workspace);
    eventually("it leads", || leads(&worker).then_some(()));
    let mut probes = 0;
    eventually("it works", || {
        insert(format!("before-{probes}"));
        probes += 1;
        (worker.metric("ddp_edge_hub_changes_total", &[]) > 0.0).then_some(())
    });
    for client in &mut clients {
        client.event("room-messages", &rid);
    }
    let gaps = || gateway.metric("ddp_edge_gaps_total", &[("cause", "hub_gap")]);
    let mut round = 0;
    while gaps() == 0.0 {
        worker.edge.kill9();
        for number in 0..500 {
            insert(format!("{round}-{number}"));
        }
        worker = hub(&workspace);
        eventually("it leads", || leads(&worker).then_some(()));
        insert(format!("{round}-after"));
        // Behind what it has lost, if it has.
        eventually("it works", || {
            (worker.metric("ddp_edge_hub_changes_total", &[]) > 0.0).then_some(())
        });
        round += 1;
        assert!(round < 20, "history is never lost");
    }
    for client in &mut clients {
        let end = client.closed();
        assert_eq!((end.code, end.reason.as_str()), (Some(1012), "RESYNC"));
    }
    let labels = [("scope", "all"), ("cause", "hub_gap")];
    assert_eq!(gateway.metric("ddp_edge_resyncs_total", &labels), 1.0);
    // Whoever comes back hears what is new.
    let (rid, mut clients) = followers(&workspace, &gateway, 1);
    workspace.ask(&json!({"cmd": "burst", "count": 1, "rid": rid}));
    assert_eq!(clients[0].event("room-messages", &rid)[0]["_id"], "burst-0");
}
