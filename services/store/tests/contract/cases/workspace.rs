use store::bson::{Bson, doc};
use store::{Collection, Conference, ErrorKind, Permission, Role, Store};

pub(crate) async fn a_setting_has_a_value_or_none(store: &Store) {
    let expiration =
        doc! { "_id": "Accounts_LoginExpiration", "type": "int", "value": 90, "public": false };
    store.insert_setting(expiration.clone()).await.unwrap();
    store
        .insert_setting(doc! { "_id": "Without" })
        .await
        .unwrap();
    assert_eq!(
        store.setting("Accounts_LoginExpiration").await.unwrap(),
        Some(Bson::Int32(90))
    );
    assert_eq!(store.setting("Without").await.unwrap(), None);
    assert_eq!(store.setting("Unknown").await.unwrap(), None);
    assert_eq!(
        store.insert_setting(expiration).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    assert!(
        store
            .set_setting("Accounts_LoginExpiration", Bson::Double(0.5))
            .await
            .unwrap()
    );
    assert_eq!(
        store.setting("Accounts_LoginExpiration").await.unwrap(),
        Some(Bson::Double(0.5))
    );
    let ids = ["Accounts_LoginExpiration", "Without", "Unknown"].map(str::to_owned);
    let values = store.setting_values(&ids).await.unwrap();
    assert_eq!(values.len(), 1, "{values:?}");
    assert_eq!(values["Accounts_LoginExpiration"], Bson::Double(0.5));
    let settings = store.settings().await.unwrap();
    assert_eq!(settings.len(), 2);
    assert!(
        settings
            .iter()
            .any(|setting| setting.get_str("type").ok() == Some("int"))
    );
}

pub(crate) async fn a_setting_that_does_not_exist_cannot_be_set(store: &Store) {
    assert!(
        !store
            .set_setting("Unknown", Bson::Boolean(true))
            .await
            .unwrap()
    );
    assert_eq!(store.settings().await.unwrap(), []);
}

pub(crate) async fn permissions_and_roles_are_listed(store: &Store) {
    store
        .insert_permission(doc! { "_id": "view-c-room", "roles": ["admin", "user"] })
        .await
        .unwrap();
    store
        .insert_permission(doc! { "_id": "nobody" })
        .await
        .unwrap();
    let mut permissions = store.permissions().await.unwrap();
    permissions.sort_by(|a, b| a.id.cmp(&b.id));
    let permission = |id: &str, roles: &[&str]| Permission {
        id: id.into(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
    };
    assert_eq!(
        permissions,
        [
            permission("nobody", &[]),
            permission("view-c-room", &["admin", "user"])
        ]
    );

    let auditor =
        doc! { "_id": "auditor", "name": "Auditor", "scope": "Users", "description": "Reads logs" };
    store.insert_role(auditor).await.unwrap();
    let auditor = Role {
        id: "auditor".into(),
        scope: "Users".into(),
        description: "Reads logs".into(),
    };
    assert_eq!(store.roles().await.unwrap(), [auditor]);
}

pub(crate) async fn roles_are_found_by_their_ids(store: &Store) {
    for (id, scope) in [("a", "Users"), ("b", "Subscriptions"), ("c", "Users")] {
        let role = doc! { "_id": id, "name": id, "scope": scope };
        store.insert_role(role).await.unwrap();
    }
    let ids = ["b", "none", "a"].map(str::to_owned);
    let mut found = store.roles_by_ids(&ids).await.unwrap();
    found.sort_by(|a, b| a.id.cmp(&b.id));
    let role = |id: &str, scope: &str| Role {
        id: id.into(),
        scope: scope.into(),
        description: String::new(),
    };
    assert_eq!(found, [role("a", "Users"), role("b", "Subscriptions")]);
    assert_eq!(store.roles_by_ids(&[]).await.unwrap(), []);
}

pub(crate) async fn teams_know_their_kind_and_members(store: &Store) {
    store
        .insert_team(doc! { "_id": "open", "type": 0, "roomId": "r0" })
        .await
        .unwrap();
    store
        .insert_team(doc! { "_id": "closed", "type": 1, "roomId": "r1" })
        .await
        .unwrap();
    store.insert_team(doc! { "_id": "broken" }).await.unwrap();
    for (team, kind) in [
        ("open", Some(0)),
        ("closed", Some(1)),
        ("broken", Some(1)),
        ("none", None),
    ] {
        assert_eq!(store.team_kind(team).await.unwrap(), kind, "{team}");
    }
    store
        .insert_team_member(doc! { "teamId": "open", "userId": "u1", "roles": ["member"] })
        .await
        .unwrap();
    assert!(store.is_team_member("open", "u1").await.unwrap());
    assert!(!store.is_team_member("closed", "u1").await.unwrap());
    assert!(!store.is_team_member("open", "u2").await.unwrap());
}

pub(crate) async fn without_a_monolith_there_is_no_version(store: &Store) {
    assert_eq!(store.server_version().await.unwrap(), None);
}

pub(crate) async fn a_conference_names_its_rooms_and_who_has_joined(store: &Store) {
    let call = doc! {
        "_id": "call", "rid": "r1", "discussionRid": "r2", "status": 1,
        "users": [{ "_id": "u1", "username": "bob" }, { "_id": 5 }, "odd"],
    };
    for document in [call, doc! { "_id": "bare", "users": null }] {
        let inserted = store.insert_document(Collection::Conferences, document);
        inserted.await.unwrap();
    }
    let expected = Conference {
        id: "call".into(),
        room: Some("r1".into()),
        discussion: Some("r2".into()),
        users: vec!["u1".into()],
    };
    assert_eq!(store.conference("call").await.unwrap(), Some(expected));
    let bare = store.conference("bare").await.unwrap().unwrap();
    assert_eq!((bare.room, bare.users), (None, Vec::new()));
    assert_eq!(store.conference("missing").await.unwrap(), None);
}
