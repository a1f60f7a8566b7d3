use store::bson::doc;
use store::{Connection, Instance, Store};

use super::sorted;

/// (session, node, status) of each connection.
async fn listed(store: &Store, user: &str) -> Vec<(String, String, String)> {
    let connections = store.connections(user).await.unwrap();
    connections
        .into_iter()
        .map(
            |Connection {
                 id, node, status, ..
             }| (id, node, status),
        )
        .collect()
}

fn connection(session: &str, node: &str, status: &str) -> (String, String, String) {
    (session.into(), node.into(), status.into())
}

pub(crate) async fn a_connection_is_listed_until_it_is_removed(store: &Store) {
    assert_eq!(listed(store, "u").await, []);
    store
        .add_connection("u", "s1", "n1", "online")
        .await
        .unwrap();
    store.add_connection("u", "s2", "n2", "away").await.unwrap();
    let both = [
        connection("s1", "n1", "online"),
        connection("s2", "n2", "away"),
    ];
    assert_eq!(listed(store, "u").await, both);
    assert!(
        store
            .connections("u")
            .await
            .unwrap()
            .iter()
            .all(|connection| connection.touched > 0)
    );
    assert!(store.remove_connection("u", "s1").await.unwrap());
    assert!(!store.remove_connection("u", "s1").await.unwrap());
    assert!(!store.remove_connection("other", "s2").await.unwrap());
    assert_eq!(listed(store, "u").await, both[1..]);
}

pub(crate) async fn a_second_login_on_a_session_leaves_one_entry(store: &Store) {
    store.add_connection("u", "s1", "n1", "away").await.unwrap();
    store.add_connection("u", "s2", "n1", "away").await.unwrap();
    store
        .add_connection("u", "s1", "n3", "online")
        .await
        .unwrap();
    assert_eq!(
        listed(store, "u").await,
        [
            connection("s2", "n1", "away"),
            connection("s1", "n3", "online")
        ]
    );
}

pub(crate) async fn ids_that_look_like_expressions_are_plain_text(store: &Store) {
    store
        .add_connection("$u", "$id", "$$NOW", "online")
        .await
        .unwrap();
    store
        .add_connection("$u", "$id", "$$NOW", "away")
        .await
        .unwrap();
    assert_eq!(
        listed(store, "$u").await,
        [connection("$id", "$$NOW", "away")]
    );
}

pub(crate) async fn a_status_is_set_on_one_connection(store: &Store) {
    store
        .add_connection("u", "s1", "n1", "online")
        .await
        .unwrap();
    store
        .add_connection("u", "s2", "n1", "online")
        .await
        .unwrap();
    assert!(
        store
            .set_connection_status("u", "s2", "away")
            .await
            .unwrap()
    );
    assert!(
        !store
            .set_connection_status("u", "s3", "away")
            .await
            .unwrap()
    );
    assert!(
        !store
            .set_connection_status("other", "s2", "away")
            .await
            .unwrap()
    );
    assert_eq!(
        listed(store, "u").await,
        [
            connection("s1", "n1", "online"),
            connection("s2", "n1", "away")
        ]
    );
}

pub(crate) async fn a_touch_tells_whether_the_connection_exists(store: &Store) {
    store
        .add_connection("u", "s1", "n1", "online")
        .await
        .unwrap();
    let before = store.connections("u").await.unwrap()[0].touched;
    assert!(store.touch_connection("u", "s1").await.unwrap());
    assert!(store.connections("u").await.unwrap()[0].touched >= before);
    assert!(!store.touch_connection("u", "s2").await.unwrap());
    assert!(!store.touch_connection("other", "s1").await.unwrap());
    assert_eq!(listed(store, "other").await, []);
}

pub(crate) async fn a_lost_node_takes_its_connections_with_it(store: &Store) {
    for (user, session, node) in [
        ("a", "s1", "n1"),
        ("a", "s2", "n2"),
        ("b", "s3", "n1"),
        ("c", "s4", "n2"),
    ] {
        store
            .add_connection(user, session, node, "online")
            .await
            .unwrap();
    }
    assert_eq!(sorted(store.remove_node("n1").await.unwrap()), ["a", "b"]);
    assert_eq!(store.remove_node("n1").await.unwrap(), Vec::<String>::new());
    assert_eq!(listed(store, "a").await, [connection("s2", "n2", "online")]);
    assert_eq!(listed(store, "b").await, []);
    assert_eq!(listed(store, "c").await, [connection("s4", "n2", "online")]);
}

pub(crate) async fn live_nodes_and_fresh_connections_survive_the_sweep(store: &Store) {
    for (user, session, node) in [
        ("a", "s1", "live"),
        ("a", "s2", "dead"),
        ("b", "s3", "live"),
    ] {
        store
            .add_connection(user, session, node, "online")
            .await
            .unwrap();
    }
    let live = ["live".to_owned()];
    // Nothing was last touched before 1970.
    assert_eq!(
        store.remove_nodes_except(&live, 0).await.unwrap(),
        Vec::<String>::new()
    );
    let future = 32_503_680_000_000;
    assert_eq!(
        store.remove_nodes_except(&live, future).await.unwrap(),
        ["a"]
    );
    assert_eq!(
        listed(store, "a").await,
        [connection("s1", "live", "online")]
    );
    assert_eq!(
        listed(store, "b").await,
        [connection("s3", "live", "online")]
    );
}

pub(crate) async fn an_instance_is_known_until_it_is_removed(store: &Store) {
    let instance = Instance {
        id: "i1".into(),
        name: "ddp-streamer".into(),
        pid: 1,
        extra: doc! { "nodeId": "n1" },
    };
    assert!(!store.instance_ping("i1").await.unwrap());
    assert!(!store.instance_connections("i1", 3).await.unwrap());
    store.register_instance(&instance).await.unwrap();
    store.register_instance(&instance).await.unwrap();
    assert!(store.instance_ping("i1").await.unwrap());
    assert!(store.instance_connections("i1", 3).await.unwrap());
    assert!(store.remove_instance("i1").await.unwrap());
    assert!(!store.remove_instance("i1").await.unwrap());
    assert!(!store.instance_ping("i1").await.unwrap());
}
