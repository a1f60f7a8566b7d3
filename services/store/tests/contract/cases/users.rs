use store::bson::{Bson, DateTime, Document, doc};
use store::{ErrorKind, LoginToken, PasswordHash, Store, Update, User};

use super::parsed;

const HASH: &str = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";

fn vera() -> Document {
    doc! {
        "_id": "u7RkQm2dXa9", "username": "vera", "name": "Vera Lind", "type": "user", "active": true,
        "roles": ["user", "auditor"],
        "services": {
            "password": { "bcrypt": "$2b$10$N9qo8uLOickgx2ZMRZoMye9ziAGq7vck5tvJgDvwdigaC3VYxmYaC" },
            "resume": { "loginTokens": [
                { "when": DateTime::from_millis(1_768_032_000_000), "hashedToken": HASH },
                { "type": "personalAccessToken", "name": "ci", "hashedToken": "dziiPOFiZ4ih7EzFTKdSPipczBUttZvMzyL3tN8dnt4=" },
            ] },
        },
        "status": "busy", "statusConnection": "online", "statusDefault": "busy", "statusText": "on call",
        "_updatedAt": DateTime::from_millis(1_768_036_320_000),
    }
}

fn token(hashed: &str) -> LoginToken {
    LoginToken {
        hashed: hashed.into(),
        when: Some(1_000),
        kind: None,
    }
}

async fn updated_at(store: &Store, user: &str) -> Bson {
    parsed(&store.user_document(user).await.unwrap().unwrap())["_updatedAt"].clone()
}

pub(crate) async fn a_token_hash_leads_to_its_owner(store: &Store) {
    store.insert_user(vera()).await.unwrap();
    let owner = store.user_by_token_hash(HASH).await.unwrap().unwrap();
    assert_eq!((owner.user.as_str(), owner.active), ("u7RkQm2dXa9", true));
    assert_eq!(
        owner.token,
        LoginToken {
            hashed: HASH.into(),
            when: Some(1_768_032_000_000),
            kind: None
        }
    );

    let personal = "dziiPOFiZ4ih7EzFTKdSPipczBUttZvMzyL3tN8dnt4=";
    let owner = store.user_by_token_hash(personal).await.unwrap().unwrap();
    let kind = Some("personalAccessToken".into());
    assert_eq!(
        owner.token,
        LoginToken {
            hashed: personal.into(),
            when: None,
            kind
        }
    );
}

pub(crate) async fn many_token_hashes_lead_to_their_owners_at_once(store: &Store) {
    let personal = "dziiPOFiZ4ih7EzFTKdSPipczBUttZvMzyL3tN8dnt4=";
    store.insert_user(vera()).await.unwrap();
    let tokens = vec![
        doc! { "hashedToken": "theirs", "when": DateTime::from_millis(7), "bypassTwoFactor": true },
        doc! { "hashedToken": "not asked for" },
    ];
    let other = doc! { "_id": "other", "username": "other", "active": false, "services": { "resume": { "loginTokens": tokens } } };
    store.insert_user(other).await.unwrap();
    let nobody = doc! { "_id": "", "username": "odd", "services": { "resume": { "loginTokens": [{ "hashedToken": "odd" }] } } };
    store.insert_user(nobody).await.unwrap();

    let hashes = [personal, "nobody's", "odd", "theirs", HASH].map(str::to_owned);
    let mut owners = store.token_owners(&hashes).await.unwrap();
    for hashed in [HASH, personal, "theirs"] {
        // As if it had been asked for alone.
        let alone = store.user_by_token_hash(hashed).await.unwrap();
        assert!(alone.is_some());
        assert_eq!(owners.remove(hashed), alone, "{hashed}");
    }
    assert_eq!(owners.len(), 0);
    assert_eq!(store.token_owners(&[]).await.unwrap().len(), 0);
}

pub(crate) async fn an_unknown_token_hash_has_no_owner(store: &Store) {
    store.insert_user(vera()).await.unwrap();
    assert_eq!(store.user_by_token_hash("").await.unwrap(), None);
    assert_eq!(store.user_by_token_hash(&HASH[1..]).await.unwrap(), None);
    assert_eq!(store.user_by_token_hash("vera").await.unwrap(), None);
}

pub(crate) async fn a_token_is_as_old_as_its_date_number_or_text(store: &Store) {
    let when = |when: Bson, hashed: &str| doc! { "when": when, "hashedToken": hashed };
    let tokens = vec![
        when(Bson::Double(1_000.0), "double"),
        when(Bson::Int64(2_000), "int"),
        when(Bson::String("1970-01-01T00:00:03Z".into()), "text"),
        when(Bson::String("Thu, 01 Jan 1970 00:00:04 GMT".into()), "mail"),
        when(Bson::String("1970-01-01 00:01".into()), "blank"),
        when(Bson::String("a while ago".into()), "nonsense"),
        when(Bson::Double(f64::NAN), "nan"),
        when(Bson::Boolean(true), "boolean"),
        when(doc! { "$date": 7 }.into(), "object"),
    ];
    store
        .insert_user(doc! { "services": { "resume": { "loginTokens": tokens } } })
        .await
        .unwrap();
    for (hashed, ms) in [
        ("double", 1_000),
        ("int", 2_000),
        ("text", 3_000),
        ("mail", 4_000),
        ("blank", 60_000),
        ("nonsense", 0),
        ("nan", 0),
        ("boolean", 0),
        ("object", 0),
    ] {
        let owner = store.user_by_token_hash(hashed).await.unwrap().unwrap();
        assert_eq!(owner.token.when, Some(ms), "{hashed}");
    }
}

pub(crate) async fn only_a_false_active_deactivates(store: &Store) {
    for (id, active, expected) in [
        ("a", None, true),
        ("b", Some(Bson::Null), true),
        ("c", Some(true.into()), true),
        ("d", Some(false.into()), false),
    ] {
        let mut user = doc! { "_id": id, "username": id, "services": { "resume": { "loginTokens": [{ "hashedToken": id }] } } };
        if let Some(active) = active {
            user.insert("active", active);
        }
        store.insert_user(user).await.unwrap();
        assert_eq!(
            store.user(id).await.unwrap().unwrap().active,
            expected,
            "{id}"
        );
        assert_eq!(
            store.user_by_token_hash(id).await.unwrap().unwrap().active,
            expected,
            "{id}"
        );
        assert_eq!(
            store.has_login_token(&[(id, id)]).await.unwrap(),
            [expected],
            "{id}"
        );
    }
}

pub(crate) async fn somebody_without_a_usable_id_is_nobody(store: &Store) {
    let services = doc! {
        "resume": { "loginTokens": [{ "hashedToken": HASH }] },
        "password": { "bcrypt": "$2b$10$N9qo8uLOickgx2ZMRZoMye9ziAGq7vck5tvJgDvwdigaC3VYxmYaC" },
    };
    let user = doc! { "_id": "", "username": "odd", "services": services };
    store.insert_user(user).await.unwrap();
    assert_eq!(store.user_by_token_hash(HASH).await.unwrap(), None);
    assert_eq!(store.password_hash("odd").await.unwrap(), None);
}

pub(crate) async fn roles_of_an_odd_type_are_none(store: &Store) {
    for (id, roles, expected) in [
        ("a", Some(Bson::Null), vec![]),
        ("b", Some("admin".into()), vec![]),
        (
            "c",
            Some(Bson::Array(vec![1.into(), "user".into()])),
            vec!["user".to_owned()],
        ),
        ("d", None, vec![]),
    ] {
        let mut user = doc! { "_id": id, "username": id };
        user.extend(roles.map(|roles| ("roles".to_owned(), roles)));
        store.insert_user(user).await.unwrap();
        let found = store.roles_of_users(&[id.to_owned()]).await.unwrap();
        assert_eq!(found[id], expected, "{id}");
    }
    let ids = ["c", "nobody", "a"].map(str::to_owned);
    let found = store.roles_of_users(&ids).await.unwrap();
    assert_eq!(found.len(), 2, "who is not there is left out");
    assert_eq!(found["c"], ["user"]);
}

pub(crate) async fn a_username_is_matched_exactly(store: &Store) {
    store.insert_user(vera()).await.unwrap();
    let vera = User {
        id: "u7RkQm2dXa9".into(),
        username: Some("vera".into()),
        name: Some("Vera Lind".into()),
        kind: Some("user".into()),
        active: true,
        roles: vec!["user".into(), "auditor".into()],
        status: Some("busy".into()),
        status_default: Some("busy".into()),
        status_text: Some("on call".into()),
        status_connection: Some("online".into()),
    };
    assert_eq!(
        store.user_by_username("vera").await.unwrap(),
        Some(vera.clone())
    );
    assert_eq!(store.user("u7RkQm2dXa9").await.unwrap(), Some(vera.clone()));
    assert_eq!(store.users().await.unwrap(), [vera]);
    for name in ["Vera", "ver", "vera ", ""] {
        assert_eq!(store.user_by_username(name).await.unwrap(), None, "{name}");
    }
    assert_eq!(store.user("vera").await.unwrap(), None);
}

pub(crate) async fn a_taken_username_is_a_conflict_and_writes_nothing(store: &Store) {
    store.insert_user(vera()).await.unwrap();
    let double = doc! { "_id": "double", "username": "vera" };
    assert_eq!(
        store.insert_user(double).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    assert_eq!(store.user("double").await.unwrap(), None);
    let thief = doc! { "_id": "thief", "services": { "resume": { "loginTokens": [{ "hashedToken": HASH }] } } };
    assert_eq!(
        store.insert_user(thief).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    assert_eq!(
        store.user_by_token_hash(HASH).await.unwrap().unwrap().user,
        "u7RkQm2dXa9"
    );
}

pub(crate) async fn a_taken_id_is_a_conflict(store: &Store) {
    store.insert_user(vera()).await.unwrap();
    let again = doc! { "_id": "u7RkQm2dXa9", "username": "other" };
    assert_eq!(
        store.insert_user(again).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    assert_eq!(store.user_by_username("other").await.unwrap(), None);
    let odd = doc! { "_id": 7 };
    assert_eq!(
        store.insert_user(odd).await.unwrap_err().kind(),
        ErrorKind::Invalid
    );
}

pub(crate) async fn a_pushed_token_is_found_until_it_is_pulled(store: &Store) {
    store
        .insert_user(doc! { "_id": "u", "username": "u", "_updatedAt": DateTime::from_millis(1) })
        .await
        .unwrap();
    assert!(store.push_login_token("u", &token("h")).await.unwrap());
    assert_eq!(
        store.user_by_token_hash("h").await.unwrap().unwrap().token,
        token("h")
    );
    assert_ne!(
        updated_at(store, "u").await,
        Bson::DateTime(DateTime::from_millis(1))
    );

    assert!(store.pull_login_token("u", "h").await.unwrap());
    assert_eq!(store.user_by_token_hash("h").await.unwrap(), None);
    assert!(!store.pull_login_token("u", "h").await.unwrap());
    assert!(!store.pull_login_token("nobody", "h").await.unwrap());
    assert!(!store.push_login_token("nobody", &token("h")).await.unwrap());
}

pub(crate) async fn pulling_a_token_leaves_the_others(store: &Store) {
    store.insert_user(vera()).await.unwrap();
    assert!(store.pull_login_token("u7RkQm2dXa9", HASH).await.unwrap());
    let left = store.login_tokens("u7RkQm2dXa9").await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].get_str("name").ok(), Some("ci"));
    assert_eq!(
        store.login_tokens("nobody").await.unwrap(),
        Vec::<Document>::new()
    );

    let legacy =
        doc! { "_id": "old", "services": { "resume": { "loginTokens": [{ "token": "clear" }] } } };
    store.insert_user(legacy).await.unwrap();
    assert!(store.pull_login_token("old", "clear").await.unwrap());
}

pub(crate) async fn held_tokens_are_told_from_lost_ones(store: &Store) {
    for user in ["a", "b"] {
        store
            .insert_user(doc! { "_id": user, "username": user })
            .await
            .unwrap();
        store
            .push_login_token(user, &token(&format!("{user}1")))
            .await
            .unwrap();
        store
            .push_login_token(user, &token(&format!("{user}2")))
            .await
            .unwrap();
    }
    let pairs = [
        ("a", "a1"),
        ("a", "b1"),
        ("b", "b2"),
        ("b", "gone"),
        ("nobody", "a2"),
    ];
    assert_eq!(
        store.has_login_token(&pairs).await.unwrap(),
        [true, false, true, false, false]
    );
    assert_eq!(
        store.has_login_token(&[]).await.unwrap(),
        Vec::<bool>::new()
    );
}

pub(crate) async fn a_password_hash_comes_with_what_the_login_must_know(store: &Store) {
    store.insert_user(vera()).await.unwrap();
    let plain = PasswordHash {
        user: "u7RkQm2dXa9".into(),
        active: true,
        bcrypt: "$2b$10$N9qo8uLOickgx2ZMRZoMye9ziAGq7vck5tvJgDvwdigaC3VYxmYaC".into(),
        has_second_factor: false,
    };
    assert_eq!(
        store.password_hash("vera").await.unwrap(),
        Some(plain.clone())
    );
    for factor in ["totp", "email2fa"] {
        let on = Update::set(doc! { format!("services.{factor}.enabled"): true });
        let off =
            Update::set(doc! { format!("services.{factor}.enabled"): false, "active": false });
        store.update_user("u7RkQm2dXa9", on).await.unwrap();
        assert!(
            store
                .password_hash("vera")
                .await
                .unwrap()
                .unwrap()
                .has_second_factor,
            "{factor}"
        );
        store.update_user("u7RkQm2dXa9", off).await.unwrap();
        let expected = PasswordHash {
            active: false,
            ..plain.clone()
        };
        assert_eq!(
            store.password_hash("vera").await.unwrap(),
            Some(expected),
            "{factor}"
        );
    }
    store
        .insert_user(doc! { "username": "without" })
        .await
        .unwrap();
    assert_eq!(store.password_hash("without").await.unwrap(), None);
    assert_eq!(store.password_hash("nobody").await.unwrap(), None);
}

pub(crate) async fn the_own_document_holds_only_what_its_user_may_see(store: &Store) {
    let mut user = vera();
    user.insert("secret", "x");
    user.get_document_mut("services")
        .unwrap()
        .insert("totp", doc! { "enabled": true, "secret": "x" });
    store.insert_user(user).await.unwrap();
    let text = store.user_document("u7RkQm2dXa9").await.unwrap().unwrap();
    let expected = doc! {
        "_id": "u7RkQm2dXa9", "username": "vera", "name": "Vera Lind", "active": true,
        "roles": ["user", "auditor"],
        "services": { "totp": { "enabled": true } },
        "status": "busy", "statusConnection": "online", "statusDefault": "busy", "statusText": "on call",
        "_updatedAt": DateTime::from_millis(1_768_036_320_000),
    };
    assert_eq!(parsed(&text), expected);
    assert_eq!(store.user_document("nobody").await.unwrap(), None);
}

pub(crate) async fn own_documents_come_in_the_order_in_which_they_are_asked_for(store: &Store) {
    let mut ids: Vec<String> = (0..250).map(|user| format!("u{user}")).collect();
    for id in ids.iter().filter(|id| !id.ends_with('7')) {
        let user = doc! { "_id": id, "username": format!("name-{id}") };
        store.insert_user(user).await.unwrap();
    }
    ids.reverse();
    ids.insert(120, "u3".into());
    let documents = store.user_documents(&ids).await.unwrap();
    assert_eq!(documents.len(), ids.len());
    for (id, document) in ids.iter().zip(documents) {
        let found = document.map(|text| parsed(&text)["username"].clone());
        let expected = (!id.ends_with('7')).then(|| format!("name-{id}").into());
        assert_eq!(found, expected, "{id}");
    }
}

pub(crate) async fn presence_fields_leave_the_time_of_change_alone(store: &Store) {
    store.insert_user(vera()).await.unwrap();
    let away = Update::set(doc! { "status": "away", "statusConnection": "away" });
    assert!(
        store
            .set_user_status("u7RkQm2dXa9", away.clone())
            .await
            .unwrap()
    );
    assert!(
        !store
            .set_user_status("u7RkQm2dXa9", away.clone())
            .await
            .unwrap(),
        "the second time nothing changes"
    );
    assert!(!store.set_user_status("nobody", away).await.unwrap());
    assert_eq!(
        store
            .user("u7RkQm2dXa9")
            .await
            .unwrap()
            .unwrap()
            .status
            .as_deref(),
        Some("away")
    );
    let unmoved = Bson::DateTime(DateTime::from_millis(1_768_036_320_000));
    assert_eq!(updated_at(store, "u7RkQm2dXa9").await, unmoved);
}

pub(crate) async fn users_are_found_by_role_in_order_of_their_names(store: &Store) {
    for (name, roles) in [
        ("c", vec!["x"]),
        ("a", vec!["y", "z"]),
        ("b", vec!["z"]),
        ("d", vec![]),
    ] {
        store
            .insert_user(doc! { "username": name, "roles": roles })
            .await
            .unwrap();
    }
    let found = store
        .users_with_roles(&["x".into(), "y".into()])
        .await
        .unwrap();
    let names: Vec<_> = found
        .iter()
        .map(|user| user.username.as_deref().unwrap())
        .collect();
    assert_eq!(names, ["a", "c"]);
    assert_eq!(store.users_with_roles(&[]).await.unwrap(), []);
}

pub(crate) async fn an_update_sets_removes_and_adds(store: &Store) {
    let user = doc! {
        "_id": "u", "username": "u", "bio": "x", "settings": { "a": 1, "b": 2 }, "_updatedAt": DateTime::from_millis(1),
    };
    store.insert_user(user).await.unwrap();
    let update = Update {
        set: doc! { "name": "U", "settings.c.d": "deep" },
        unset: vec!["bio".into(), "settings.a".into(), "never.there".into()],
        increment: vec![("settings.b".into(), 40), ("utcOffset".into(), -2)],
    };
    assert!(store.update_user("u", update).await.unwrap());
    let mut after = parsed(&store.user_document("u").await.unwrap().unwrap());
    let moved = after.remove("_updatedAt").unwrap();
    assert_ne!(moved, Bson::DateTime(DateTime::from_millis(1)));
    let settings = after.remove("settings").unwrap();
    assert_eq!(
        settings,
        Bson::Document(doc! { "b": 42, "c": { "d": "deep" } })
    );
    assert_eq!(
        after,
        doc! { "_id": "u", "username": "u", "name": "U", "utcOffset": -2 }
    );
}

pub(crate) async fn an_update_of_nobody_says_so(store: &Store) {
    assert!(
        !store
            .update_user("nobody", Update::set(doc! { "name": "x" }))
            .await
            .unwrap()
    );
    assert_eq!(store.user("nobody").await.unwrap(), None);
}

pub(crate) async fn a_path_through_a_text_is_refused(store: &Store) {
    store.insert_user(vera()).await.unwrap();
    let update = Update::set(doc! { "name.first": "Vera" });
    assert_eq!(
        store
            .update_user("u7RkQm2dXa9", update)
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::Invalid
    );
    let update = Update {
        increment: vec![("name".into(), 1)],
        ..Update::default()
    };
    assert_eq!(
        store
            .update_user("u7RkQm2dXa9", update)
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::Invalid
    );
    let name = store.user("u7RkQm2dXa9").await.unwrap().unwrap().name;
    assert_eq!(name.as_deref(), Some("Vera Lind"));
}

pub(crate) async fn an_id_never_changes(store: &Store) {
    store.insert_user(vera()).await.unwrap();
    for update in [
        Update::set(doc! { "_id": "other" }),
        Update {
            unset: vec!["_id".into()],
            ..Update::default()
        },
    ] {
        let refused = store.update_user("u7RkQm2dXa9", update).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    }
    assert_eq!(store.user("other").await.unwrap(), None);
    assert!(store.user("u7RkQm2dXa9").await.unwrap().is_some());
}
