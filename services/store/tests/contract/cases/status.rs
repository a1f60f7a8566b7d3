use store::bson::{Bson, DateTime, doc};
use store::{Claim, Status, StatusOwner, StatusWrite, Store};

async fn owner(store: &Store, id: &str) -> StatusOwner {
    let found = store.status_owners(&[id.to_owned()]).await.unwrap();
    found.into_iter().next().unwrap()
}

fn write(owner: StatusOwner, after: Status, stamped: bool) -> StatusWrite {
    StatusWrite {
        owner,
        after,
        stamped,
    }
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn claim(default: &str, source: &str, expires: Option<i64>) -> Claim {
    Claim {
        default: text(default),
        text: text("x"),
        source: text(source),
        expires,
        id: text("c1"),
    }
}

/// Another writer's document: what is not ours, odd types, and a stash with a field that we do not know.
async fn insert(store: &Store, id: &str) {
    let stash = doc! { "statusDefault": "away", "statusText": "", "statusSource": "manual", "statusExpiresAt": Bson::Null, "more": 1 };
    let user = doc! {
        "_id": id, "username": id, "type": "user", "roles": ["user"], "active": true,
        "status": "busy", "statusConnection": "online", "statusDefault": "busy", "statusText": 7,
        "statusSource": "internal", "statusId": "c1", "previousState": stash,
        "services": { "password": { "bcrypt": "secret" } }, "_updatedAt": DateTime::from_millis(5),
    };
    store.insert_user(user).await.unwrap();
}

pub(crate) async fn presence_fields_come_as_they_are_stored(store: &Store) {
    insert(store, "u").await;
    store
        .insert_user(doc! { "_id": "bare", "username": "bare" })
        .await
        .unwrap();
    let found = owner(store, "u").await;
    assert_eq!(found.roles, Some(vec!["user".to_owned()]));
    assert_eq!(found.kind, text("user"));
    let previous = Claim {
        default: text("away"),
        text: text(""),
        source: text("manual"),
        ..Claim::default()
    };
    let status = Status {
        shown: text("busy"),
        connection: text("online"),
        claim: Claim {
            default: text("busy"),
            source: text("internal"),
            id: text("c1"),
            ..Claim::default()
        },
        previous: Some(previous),
    };
    assert_eq!(found.status, status);
    let bare = owner(store, "bare").await;
    assert_eq!((bare.roles, bare.status), (None, Status::default()));
    assert!(
        store
            .status_owners(&["nobody".to_owned()])
            .await
            .unwrap()
            .is_empty()
    );
}

pub(crate) async fn a_status_is_written_field_by_field_and_read_back(store: &Store) {
    insert(store, "u").await;
    let after = Status {
        shown: text("away"),
        connection: None,
        claim: claim("away", "external", Some(9_000_000_000_000)),
        previous: Some(claim("busy", "internal", None)),
    };
    for (stamped, moves) in [(false, false), (true, true)] {
        let before = owner(store, "u").await;
        let was = store.user_document("u").await.unwrap().unwrap();
        let mut after = after.clone();
        after.claim.id = text(if stamped { "c2" } else { "c3" });
        let written = store
            .write_statuses(&[write(before, after.clone(), stamped)])
            .await
            .unwrap();
        assert_eq!(written, [true]);
        assert_eq!(owner(store, "u").await.status, after);
        let is = store.user_document("u").await.unwrap().unwrap();
        let stamp = |document: &str| document.split("_updatedAt").nth(1).unwrap().to_owned();
        assert_eq!(stamp(&was) != stamp(&is), moves);
    }
    let nothing = Status {
        shown: text("offline"),
        ..Status::default()
    };
    let before = owner(store, "u").await;
    store
        .write_statuses(&[write(before, nothing.clone(), false)])
        .await
        .unwrap();
    assert_eq!(owner(store, "u").await.status, nothing);
    assert!(store.expiring_statuses(10).await.unwrap().is_empty());
}

pub(crate) async fn a_status_that_changed_since_it_was_read_is_left_alone(store: &Store) {
    for id in ["u", "v"] {
        insert(store, id).await;
    }
    let (first, second, other) = (
        owner(store, "u").await,
        owner(store, "u").await,
        owner(store, "v").await,
    );
    let change = |owner: StatusOwner, shown: &str| {
        let mut after = owner.status.clone();
        after.shown = text(shown);
        write(owner, after, false)
    };
    // Of somebody who is not there, nothing is made.
    let mut nobody = first.clone();
    nobody.id = "nobody".to_owned();
    let writes = [
        change(first, "away"),
        change(second.clone(), "offline"),
        change(nobody, "online"),
        change(other, "online"),
    ];
    let written = store.write_statuses(&writes).await.unwrap();
    assert_eq!(written, [true, false, false, true]);
    assert!(store.user_document("nobody").await.unwrap().is_none());
    let late = store.write_statuses(&[change(second, "offline")]).await;
    assert_eq!(late.unwrap(), [false]);
    assert_eq!(owner(store, "u").await.status.shown, text("away"));
    assert_eq!(owner(store, "v").await.status.shown, text("online"));
    // A field that is missing is as it was while it is missing.
    let bare = doc! { "_id": "bare", "username": "bare" };
    store.insert_user(bare).await.unwrap();
    let (first, second) = (owner(store, "bare").await, owner(store, "bare").await);
    for (change, is_written) in [
        (change(first, "online"), true),
        (change(second, "away"), false),
    ] {
        let written = store.write_statuses(&[change]).await.unwrap();
        assert_eq!(written, [is_written]);
    }
}

pub(crate) async fn who_is_thought_connected_is_listed_in_pages(store: &Store) {
    for (id, connection) in [
        ("a", "online"),
        ("b", "away"),
        ("c", "offline"),
        ("d", "busy"),
    ] {
        let user = doc! { "_id": id, "username": id, "statusConnection": connection };
        store.insert_user(user).await.unwrap();
    }
    assert_eq!(
        store.users_thought_connected("", 2).await.unwrap(),
        ["a", "b"]
    );
    assert_eq!(store.users_thought_connected("b", 2).await.unwrap(), ["d"]);
}

pub(crate) async fn expiring_statuses_come_in_order_of_their_time(store: &Store) {
    for (id, expires) in [
        ("late", Bson::DateTime(DateTime::from_millis(30))),
        ("early", Bson::DateTime(DateTime::from_millis(20))),
        ("no-date", Bson::Null),
        ("text", "soon".into()),
    ] {
        let user = doc! { "_id": id, "username": id, "statusExpiresAt": expires };
        store.insert_user(user).await.unwrap();
    }
    let found = store.expiring_statuses(10).await.unwrap();
    assert_eq!(found, [("early".to_owned(), 20), ("late".to_owned(), 30)]);
    assert_eq!(store.expiring_statuses(1).await.unwrap().len(), 1);
}
