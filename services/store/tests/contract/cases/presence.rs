use store::bson::doc;
use store::{Connection, ConnectionEdit, Instance, Store, UserConnections};

use super::sorted;

/// (session, node, status) of each connection.
async fn listed(store: &Store, user: &str) -> Vec<(String, String, String)> {
    let connections = store.connections(user).await.unwrap();
    connections
        .into_iter()
        .map(
            |Connection {
                 id, node, status, ..
             }| (id, node, status.unwrap_or_default()),
        )
        .collect()
}

fn connection(session: &str, node: &str, status: &str) -> (String, String, String) {
    (session.into(), node.into(), status.into())
}

fn put(session: &str, node: &str, status: &str) -> ConnectionEdit {
    ConnectionEdit::Put {
        session: session.into(),
        node: node.into(),
        status: status.into(),
    }
}

fn remove(session: &str) -> ConnectionEdit {
    ConnectionEdit::Remove(session.into())
}

fn touch(session: &str) -> ConnectionEdit {
    ConnectionEdit::Touch(session.into())
}

async fn edit(store: &Store, user: &str, edits: &[ConnectionEdit]) {
    store
        .edit_connections(vec![(user.into(), edits.to_vec())])
        .await
        .unwrap();
}

pub(crate) async fn a_connection_is_listed_until_it_is_removed(store: &Store) {
    assert_eq!(listed(store, "u").await, []);
    edit(store, "u", &[put("s1", "n1", "online")]).await;
    edit(store, "u", &[put("s2", "n2", "away")]).await;
    let both = [
        connection("s1", "n1", "online"),
        connection("s2", "n2", "away"),
    ];
    assert_eq!(listed(store, "u").await, both);
    let times = store.connections("u").await.unwrap();
    assert!(times.iter().all(|it| it.touched > 0 && it.created > 0));
    edit(store, "u", &[remove("s1")]).await;
    edit(store, "u", &[remove("s1")]).await;
    edit(store, "other", &[remove("s2")]).await;
    assert_eq!(listed(store, "u").await, both[1..]);
}

pub(crate) async fn a_second_login_on_a_session_leaves_one_entry(store: &Store) {
    edit(store, "u", &[put("s1", "n1", "away")]).await;
    let made = store.connections("u").await.unwrap()[0].created;
    edit(store, "u", &[put("s2", "n1", "away")]).await;
    edit(store, "u", &[put("s1", "n3", "online")]).await;
    assert_eq!(
        listed(store, "u").await,
        [
            connection("s2", "n1", "away"),
            connection("s1", "n3", "online")
        ]
    );
    assert_eq!(store.connections("u").await.unwrap()[1].created, made);
}

pub(crate) async fn edits_of_one_user_happen_in_their_order(store: &Store) {
    let away = ConnectionEdit::SetStatus {
        session: "s1".into(),
        status: "away".into(),
    };
    let edits = [
        put("s1", "n1", "online"),
        away,
        put("s2", "n1", "online"),
        remove("s2"),
        remove("s3"),
        put("s3", "n1", "online"),
    ];
    let others = vec![
        ("u".to_owned(), edits.to_vec()),
        ("v".to_owned(), vec![put("s4", "n1", "online")]),
    ];
    store.edit_connections(others).await.unwrap();
    let after = [
        connection("s1", "n1", "away"),
        connection("s3", "n1", "online"),
    ];
    assert_eq!(listed(store, "u").await, after);
    assert_eq!(listed(store, "v").await, [connection("s4", "n1", "online")]);
}

pub(crate) async fn ids_that_look_like_expressions_are_plain_text(store: &Store) {
    edit(store, "$u", &[put("$id", "$$NOW", "online")]).await;
    edit(store, "$u", &[put("$id", "$$NOW", "$away"), touch("$id")]).await;
    assert_eq!(
        listed(store, "$u").await,
        [connection("$id", "$$NOW", "$away")]
    );
}

pub(crate) async fn a_status_is_set_on_one_connection(store: &Store) {
    edit(
        store,
        "u",
        &[put("s1", "n1", "online"), put("s2", "n1", "online")],
    )
    .await;
    for (user, session) in [("u", "s2"), ("u", "s3"), ("other", "s2")] {
        let away = ConnectionEdit::SetStatus {
            session: session.into(),
            status: "away".into(),
        };
        edit(store, user, &[away]).await;
    }
    assert_eq!(
        listed(store, "u").await,
        [
            connection("s1", "n1", "online"),
            connection("s2", "n1", "away")
        ]
    );
    assert_eq!(listed(store, "other").await, []);
}

pub(crate) async fn a_touch_never_makes_an_entry_or_a_document(store: &Store) {
    edit(store, "u", &[put("s1", "n1", "online")]).await;
    let before = store.connections("u").await.unwrap()[0].touched;
    edit(store, "u", &[touch("s1"), touch("s2")]).await;
    edit(store, "other", &[touch("s1")]).await;
    assert!(store.connections("u").await.unwrap()[0].touched >= before);
    assert_eq!(listed(store, "u").await, [connection("s1", "n1", "online")]);
    assert_eq!(
        store.connected_users("", 10).await.unwrap(),
        ["u"],
        "nobody else has a document"
    );
}

pub(crate) async fn an_entry_touched_since_it_was_read_is_not_swept(store: &Store) {
    edit(
        store,
        "u",
        &[put("s1", "n1", "online"), put("s2", "n1", "online")],
    )
    .await;
    let read = store.connections("u").await.unwrap();
    let untouched = |since| ConnectionEdit::RemoveUntouched {
        session: "s1".into(),
        since,
    };
    edit(store, "u", &[untouched(read[0].touched - 1)]).await;
    assert_eq!(listed(store, "u").await.len(), 2);
    edit(store, "u", &[untouched(read[0].touched)]).await;
    assert_eq!(listed(store, "u").await, [connection("s2", "n1", "online")]);
}

pub(crate) async fn connections_are_found_by_node_and_by_age(store: &Store) {
    for (user, session, node) in [
        ("a", "s1", "n1"),
        ("a", "s2", "n2"),
        ("b", "s3", "n1"),
        ("c", "s4", "n2"),
    ] {
        edit(store, user, &[put(session, node, "online")]).await;
    }
    edit(store, "d", &[put("s5", "n1", "online"), remove("s5")]).await;
    let users =
        |found: Vec<UserConnections>| sorted(found.into_iter().map(|found| found.user).collect());
    assert_eq!(users(store.connections_on("n1").await.unwrap()), ["a", "b"]);
    let live = ["n1".to_owned()];
    assert_eq!(
        users(store.connections_elsewhere(&live).await.unwrap()),
        ["a", "c"]
    );
    let now = store.connections("c").await.unwrap()[0].touched;
    let untouched = store.connections_untouched(now).await.unwrap();
    assert_eq!(users(untouched), ["a", "b", "c"]);
    assert_eq!(store.connections_untouched(1).await.unwrap(), []);
    assert_eq!(store.connected_users("", 2).await.unwrap(), ["a", "b"]);
    assert_eq!(store.connected_users("b", 2).await.unwrap(), ["c"]);
}

pub(crate) async fn live_nodes_survive_the_sweep(store: &Store) {
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
    for expected in [&["a"][..], &[]] {
        let users = store.remove_nodes_except(&live).await.unwrap();
        assert_eq!(users, expected);
    }
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
    let [seen] = &store.instances().await.unwrap()[..] else {
        panic!("one instance");
    };
    assert_eq!((seen.id.as_str(), seen.sockets), ("i1", 3));
    assert_eq!(seen.node.as_deref(), Some("n1"));
    assert!(seen.updated > 0);
    assert!(store.remove_instance("i1").await.unwrap());
    assert!(!store.remove_instance("i1").await.unwrap());
    assert!(!store.instance_ping("i1").await.unwrap());
}
