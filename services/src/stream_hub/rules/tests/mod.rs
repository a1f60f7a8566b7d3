//! Every rule, as a table: a change, what is known beside it, and what comes of it — the events in their order, or the
//! question that must be answered first.

use std::collections::HashMap;

use store::{
    ChangeKind,
    bson::{Bson, Document, doc},
    ejson,
};

use super::case::{HIDDEN_MESSAGES, REAL_NAMES};
use super::*;
use ChangeKind::{Inserted, Removed, Replaced};
use Collection as C;

/// Nothing but the change: what a change stream gives.
fn bare(_: &Change) -> Known {
    Known::default()
}

/// The look-up has found nothing.
fn gone(_: &Change) -> Known {
    Known {
        current: Some(None),
        trash: Some(None),
        ..Known::default()
    }
}

fn updated(diff: Document, unset: &[&str], truncated: &[&str]) -> ChangeKind {
    let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
    ChangeKind::Updated {
        diff,
        unset: owned(unset),
        truncated: owned(truncated),
    }
}

fn set(diff: Document) -> ChangeKind {
    updated(diff, &[], &[])
}

/// The change of document `x`. `document` is what a look-up (or the trash) has; inserted and replaced documents come
/// with the change itself.
struct Case<'a> {
    name: &'a str,
    collection: Collection,
    kind: ChangeKind,
    document: Document,
    /// What is known besides.
    known: fn(&Change) -> Known,
    facts: Facts,
    expected: &'a [&'a str],
}

fn case<'a>(
    name: &'a str,
    collection: Collection,
    kind: ChangeKind,
    document: Document,
    expected: &'a [&'a str],
) -> Case<'a> {
    Case {
        name,
        collection,
        kind,
        document,
        known: Known::of_feed,
        facts: Facts::default(),
        expected,
    }
}

impl Case<'_> {
    fn outcome(&self) -> Vec<String> {
        let mut change = Change {
            collection: self.collection,
            id: "x".into(),
            kind: self.kind.clone(),
            document: Some(self.document.clone()),
        };
        let known = (self.known)(&change);
        if !matches!(change.kind, Inserted | Replaced) {
            change.document = None;
        }
        match judge(&change, &known, &self.facts) {
            Ok(events) => events
                .iter()
                .map(|one| format!("{} {}", one.event, ejson::to_text(&one.payload)))
                .collect(),
            Err(ask) => vec![format!("{ask:?}")],
        }
    }
}

fn check(cases: Vec<Case<'_>>) {
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let outcome = case.outcome();
            (outcome != case.expected).then(|| {
                let expected = case.expected.join("\n  ");
                format!(
                    "{}:\n  {}\nnot\n  {expected}",
                    case.name,
                    outcome.join("\n  ")
                )
            })
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const SILENT: &[&str] = &[];

#[test]
fn messages() {
    let facts = Facts::read(&[
        doc! { "_id": HIDDEN_MESSAGES, "value": ["uj"] },
        doc! { "_id": REAL_NAMES, "value": true },
    ]);
    let hiding = Facts {
        use_real_names: false,
        ..facts.clone()
    };
    let plain = doc! { "_id": "x", "rid": "r", "msg": "hi" };
    let writer =
        doc! { "_id": "x", "u": { "_id": "a" }, "mentions": [{ "_id": "b" }, { "_id": "all" }] };
    let named = |_: &Change| Known {
        names: Some(HashMap::from([
            ("a".into(), "Ann".into()),
            ("b".into(), "Bob".into()),
        ])),
        ..Known::default()
    };
    check(vec![
        case(
            "new",
            C::Messages,
            Inserted,
            plain.clone(),
            &[
                r#"watch.messages {"clientAction":"inserted","message":{"_id":"x","rid":"r","msg":"hi"}}"#,
            ],
        ),
        case(
            "edited: read as it is now",
            C::Messages,
            set(doc! { "msg": "hi" }),
            plain.clone(),
            &[
                r#"watch.messages {"clientAction":"updated","message":{"_id":"x","rid":"r","msg":"hi"}}"#,
            ],
        ),
        Case {
            known: bare,
            ..case(
                "edited",
                C::Messages,
                set(doc! { "msg": "hi" }),
                plain.clone(),
                &["Current([])"],
            )
        },
        Case {
            known: gone,
            ..case(
                "edited and gone",
                C::Messages,
                set(doc! { "msg": "hi" }),
                plain.clone(),
                SILENT,
            )
        },
        case(
            "replaced",
            C::Messages,
            Replaced,
            plain.clone(),
            &[
                r#"watch.messages {"clientAction":"updated","message":{"_id":"x","rid":"r","msg":"hi"}}"#,
            ],
        ),
        case("removed", C::Messages, Removed, plain, SILENT),
        case(
            "hidden",
            C::Messages,
            Inserted,
            doc! { "_id": "x", "_hidden": true },
            SILENT,
        ),
        case(
            "imported",
            C::Messages,
            Inserted,
            doc! { "_id": "x", "imported": "zip" },
            SILENT,
        ),
        case(
            "not hidden",
            C::Messages,
            Inserted,
            doc! { "_id": "x", "_hidden": false, "imported": 0 },
            &[
                r#"watch.messages {"clientAction":"inserted","message":{"_id":"x","_hidden":false,"imported":0}}"#,
            ],
        ),
        Case {
            facts: hiding.clone(),
            ..case(
                "of a hidden kind",
                C::Messages,
                Inserted,
                doc! { "_id": "x", "t": "uj" },
                SILENT,
            )
        },
        Case {
            facts: hiding,
            ..case(
                "of another kind",
                C::Messages,
                Inserted,
                doc! { "_id": "x", "t": "ul" },
                &[r#"watch.messages {"clientAction":"inserted","message":{"_id":"x","t":"ul"}}"#],
            )
        },
        Case {
            facts: facts.clone(),
            known: bare,
            ..case(
                "real names",
                C::Messages,
                Inserted,
                writer.clone(),
                &[r#"Names({"a", "all", "b"})"#],
            )
        },
        Case {
            facts: facts.clone(),
            known: named,
            ..case(
                "with real names",
                C::Messages,
                Inserted,
                writer,
                &[
                    r#"watch.messages {"clientAction":"inserted","message":{"_id":"x","u":{"_id":"a","name":"Ann"},"mentions":[{"_id":"b","name":"Bob"},{"_id":"all"}]}}"#,
                ],
            )
        },
        Case {
            facts,
            ..case(
                "of nobody",
                C::Messages,
                Inserted,
                doc! { "_id": "x", "mentions": [] },
                &[
                    r#"watch.messages {"clientAction":"inserted","message":{"_id":"x","mentions":[]}}"#,
                ],
            )
        },
    ]);
}

#[test]
fn real_names_are_shown_where_the_setting_is_on_and_nothing_like_it() {
    for (value, shows) in [
        (Bson::Boolean(true), true),
        (Bson::Boolean(false), false),
        ("false".into(), false),
        ("true".into(), false),
        (Bson::Int32(1), false),
        (Bson::Null, false),
    ] {
        let facts = Facts::read(&[doc! { "_id": REAL_NAMES, "value": value.clone() }]);
        assert_eq!(facts.use_real_names, shows, "{value}");
    }
}

#[test]
fn rooms() {
    let room = doc! { "_id": "x", "t": "c", "topic": "y", "joinCode": "secret" };
    let asks = format!("{:?}", Ask::Current(store::ROOM_FIELDS));
    let asks: &[&str] = &[&asks];
    check(vec![
        case(
            "new: its join code stays",
            C::Rooms,
            Inserted,
            room.clone(),
            &[r#"watch.rooms {"clientAction":"inserted","room":{"_id":"x","t":"c","topic":"y"}}"#],
        ),
        case(
            "a public field",
            C::Rooms,
            set(doc! { "topic": "y" }),
            room.clone(),
            &[r#"watch.rooms {"clientAction":"updated","room":{"_id":"x","t":"c","topic":"y"}}"#],
        ),
        case(
            "inside a public field",
            C::Rooms,
            set(doc! { "u.username": "z" }),
            doc! { "_id": "x", "u": { "username": "z" } },
            &[r#"watch.rooms {"clientAction":"updated","room":{"_id":"x","u":{"username":"z"}}}"#],
        ),
        case(
            "a public field is gone",
            C::Rooms,
            updated(doc! {}, &["announcement"], &[]),
            room.clone(),
            &[r#"watch.rooms {"clientAction":"updated","room":{"_id":"x","t":"c","topic":"y"}}"#],
        ),
        case(
            "a private field",
            C::Rooms,
            set(doc! { "joinCode": "other" }),
            room.clone(),
            SILENT,
        ),
        case(
            "a public array became shorter",
            C::Rooms,
            updated(doc! {}, &[], &["muted"]),
            room.clone(),
            &[r#"watch.rooms {"clientAction":"updated","room":{"_id":"x","t":"c","topic":"y"}}"#],
        ),
        Case {
            known: bare,
            ..case(
                "read",
                C::Rooms,
                set(doc! { "topic": "y" }),
                room.clone(),
                asks,
            )
        },
        Case {
            known: gone,
            ..case(
                "gone by now",
                C::Rooms,
                set(doc! { "topic": "y" }),
                room.clone(),
                SILENT,
            )
        },
        case(
            "replaced",
            C::Rooms,
            Replaced,
            room.clone(),
            &[r#"watch.rooms {"clientAction":"updated","room":{"_id":"x","t":"c","topic":"y"}}"#],
        ),
        Case {
            known: bare,
            ..case(
                "removed: nothing is read",
                C::Rooms,
                Removed,
                room,
                &[r#"watch.rooms {"clientAction":"removed","room":{"_id":"x"}}"#],
            )
        },
    ]);
}

#[test]
fn subscriptions() {
    let subscription = doc! { "_id": "x", "rid": "r", "u": { "_id": "u" }, "t": "p", "internal": 1,
    "_deletedAt": 1, "__collection__": "subscription" };
    check(vec![
        case(
            "new: as it is",
            C::Subscriptions,
            Inserted,
            doc! { "_id": "x", "rid": "r", "internal": 1 },
            &[
                r#"watch.subscriptions {"clientAction":"inserted","subscription":{"_id":"x","rid":"r","internal":1}}"#,
            ],
        ),
        case(
            "a public field",
            C::Subscriptions,
            set(doc! { "unread": 1 }),
            subscription.clone(),
            &[
                r#"watch.subscriptions {"clientAction":"updated","subscription":{"_id":"x","rid":"r","u":{"_id":"u"},"t":"p"}}"#,
            ],
        ),
        case(
            "a private field",
            C::Subscriptions,
            set(doc! { "internal": 1 }),
            subscription.clone(),
            SILENT,
        ),
        case(
            "the id alone is none",
            C::Subscriptions,
            set(doc! { "_id": "x" }),
            subscription.clone(),
            SILENT,
        ),
        case(
            "removed: who and where",
            C::Subscriptions,
            Removed,
            subscription.clone(),
            &[
                r#"watch.subscriptions {"clientAction":"removed","subscription":{"_id":"x","rid":"r","u":{"_id":"u"}}}"#,
            ],
        ),
        Case {
            known: bare,
            ..case(
                "removed",
                C::Subscriptions,
                Removed,
                subscription.clone(),
                &["Trash"],
            )
        },
        Case {
            known: gone,
            ..case(
                "removed without a trace",
                C::Subscriptions,
                Removed,
                subscription,
                &[r#"watch.subscriptions {"clientAction":"removed","subscription":{"_id":"x"}}"#],
            )
        },
    ]);
}

#[test]
fn users() {
    let tokens = "services.resume.loginTokens";
    let user = doc! { "_id": "x", "name": "X", "services": { "resume": { "loginTokens": [{ "hashedToken": "h" }] } } };
    check(vec![
        case(
            "new",
            C::Users,
            Inserted,
            doc! { "_id": "x", "name": "X" },
            &[r#"watch.users {"clientAction":"inserted","id":"x","data":{"_id":"x","name":"X"}}"#],
        ),
        Case {
            known: bare,
            ..case(
                "updated: nothing is read",
                C::Users,
                updated(doc! { "name": "X" }, &["bio"], &[]),
                user.clone(),
                &[
                    r#"watch.users {"clientAction":"updated","id":"x","diff":{"name":"X"},"unset":{"bio":1}}"#,
                ],
            )
        },
        Case {
            known: bare,
            ..case(
                "only a time stamp",
                C::Users,
                set(doc! { "_updatedAt": 1 }),
                user.clone(),
                &[
                    r#"watch.users {"clientAction":"updated","id":"x","diff":{"_updatedAt":1},"unset":{}}"#,
                ],
            )
        },
        case(
            "an array inside of another became shorter",
            C::Users,
            updated(doc! { "emails.0.tags.0": "a" }, &[], &["emails.0.tags"]),
            doc! { "_id": "x", "emails": [{ "tags": ["a"] }] },
            &[
                r#"watch.users {"clientAction":"updated","id":"x","diff":{"emails.0.tags":["a"]},"unset":{}}"#,
            ],
        ),
        case(
            "only the number of chats",
            C::Users,
            set(doc! { "livechatCount": 3 }),
            user.clone(),
            SILENT,
        ),
        case(
            "the number of chats and more",
            C::Users,
            set(doc! { "livechatCount": 3, "name": "X" }),
            user.clone(),
            &[
                r#"watch.users {"clientAction":"updated","id":"x","diff":{"livechatCount":3,"name":"X"},"unset":{}}"#,
            ],
        ),
        case(
            "a token is gone: the whole array under its path",
            C::Users,
            set(doc! { tokens: [{ "hashedToken": "h" }] }),
            user.clone(),
            &[
                r#"watch.users {"clientAction":"updated","id":"x","diff":{"services.resume.loginTokens":[{"hashedToken":"h"}]},"unset":{}}"#,
            ],
        ),
        Case {
            known: bare,
            ..case(
                "said as a cut",
                C::Users,
                updated(
                    doc! { "services.resume.loginTokens.0": { "hashedToken": "h" } },
                    &[],
                    &[tokens],
                ),
                user.clone(),
                &["Current([])"],
            )
        },
        case(
            "said as a cut, read",
            C::Users,
            updated(
                doc! { "services.resume.loginTokens.0": { "hashedToken": "h" }, "name": "X" },
                &[],
                &[tokens],
            ),
            user.clone(),
            &[
                r#"watch.users {"clientAction":"updated","id":"x","diff":{"name":"X","services.resume.loginTokens":[{"hashedToken":"h"}]},"unset":{}}"#,
            ],
        ),
        Case {
            known: gone,
            ..case(
                "cut, and gone by now",
                C::Users,
                updated(doc! { "name": "X" }, &[], &[tokens]),
                user.clone(),
                &[
                    r#"watch.users {"clientAction":"updated","id":"x","diff":{"name":"X"},"unset":{}}"#,
                ],
            )
        },
        case(
            "replaced",
            C::Users,
            Replaced,
            user.clone(),
            &[
                r#"watch.users {"clientAction":"updated","id":"x","diff":{"name":"X","services.resume.loginTokens":[{"hashedToken":"h"}]},"unset":{}}"#,
            ],
        ),
        Case {
            known: bare,
            ..case(
                "removed",
                C::Users,
                Removed,
                user,
                &[r#"watch.users {"clientAction":"removed","id":"x"}"#],
            )
        },
    ]);
}

#[test]
fn instances() {
    let instance = doc! { "_id": "x", "extraInformation": { "conns": 7 } };
    check(vec![
        case(
            "new",
            C::Instances,
            Inserted,
            instance.clone(),
            &[
                r#"watch.instanceStatus {"clientAction":"inserted","id":"x","data":{"_id":"x","extraInformation":{"conns":7}}}"#,
            ],
        ),
        Case {
            known: bare,
            ..case(
                "a heartbeat",
                C::Instances,
                set(doc! { "_updatedAt": 1 }),
                instance.clone(),
                &[
                    r#"watch.instanceStatus {"clientAction":"updated","id":"x","diff":{"_updatedAt":1}}"#,
                ],
            )
        },
        Case {
            known: bare,
            ..case(
                "connections",
                C::Instances,
                set(doc! { "extraInformation.conns": 7 }),
                instance.clone(),
                &[
                    r#"watch.instanceStatus {"clientAction":"updated","id":"x","diff":{"extraInformation.conns":7}}"#,
                ],
            )
        },
        Case {
            known: bare,
            ..case(
                "removed",
                C::Instances,
                Removed,
                instance,
                &[r#"watch.instanceStatus {"clientAction":"removed","id":"x","data":{"_id":"x"}}"#],
            )
        },
    ]);
}

#[test]
fn settings_permissions_and_roles() {
    let setting = doc! { "_id": "x", "value": 1, "_deletedAt": 1, "__collection__": "settings" };
    let permission = doc! { "_id": "x", "roles": ["admin"] };
    let of_setting = doc! { "_id": "x", "roles": [], "level": "settings", "settingId": "s" };
    let with = |setting: Option<Document>| {
        move |change: &Change| Known {
            setting: Some(setting.clone()),
            ..Known::of_feed(change)
        }
    };
    let shown = with(Some(doc! { "_id": "s", "value": 1 }));
    let hidden = with(Some(doc! { "_id": "s", "hidden": true }));
    let changed = |known: &dyn Fn(&Change) -> Known| {
        let change = Change {
            collection: C::Permissions,
            id: "x".into(),
            kind: set(doc! { "roles": [] }),
            document: Some(of_setting.clone()),
        };
        let events = judge(&change, &known(&change), &Facts::default());
        events.map(|events| events.iter().map(|one| one.event).collect::<Vec<_>>())
    };
    assert_eq!(
        changed(&shown),
        Ok(vec!["permission.changed", "watch.settings"])
    );
    assert_eq!(changed(&hidden), Ok(vec!["permission.changed"]));
    assert_eq!(changed(&with(None)), Ok(vec!["permission.changed"]));
    check(vec![
        case(
            "a new setting",
            C::Settings,
            Inserted,
            doc! { "_id": "x", "value": 1 },
            &[r#"watch.settings {"clientAction":"inserted","setting":{"_id":"x","value":1}}"#],
        ),
        case(
            "a setting",
            C::Settings,
            set(doc! { "value": 1, "_updatedAt": 1 }),
            doc! { "_id": "x", "value": 1 },
            &[r#"watch.settings {"clientAction":"updated","setting":{"_id":"x","value":1}}"#],
        ),
        Case {
            known: bare,
            ..case(
                "only its time stamp",
                C::Settings,
                set(doc! { "_updatedAt": 1 }),
                setting.clone(),
                SILENT,
            )
        },
        Case {
            known: gone,
            ..case(
                "gone by now",
                C::Settings,
                set(doc! { "value": 1 }),
                setting.clone(),
                SILENT,
            )
        },
        case(
            "a removed setting, from the trash",
            C::Settings,
            Removed,
            setting.clone(),
            &[r#"watch.settings {"clientAction":"removed","setting":{"_id":"x","value":1}}"#],
        ),
        Case {
            known: gone,
            ..case(
                "removed without a trace",
                C::Settings,
                Removed,
                setting,
                SILENT,
            )
        },
        case(
            "a permission",
            C::Permissions,
            set(doc! { "roles": ["admin"] }),
            permission.clone(),
            &[
                r#"permission.changed {"clientAction":"updated","data":{"_id":"x","roles":["admin"]}}"#,
            ],
        ),
        Case {
            known: bare,
            ..case(
                "only its time stamp",
                C::Permissions,
                set(doc! { "_updatedAt": 1 }),
                permission.clone(),
                SILENT,
            )
        },
        case(
            "a permission of a setting",
            C::Permissions,
            set(doc! { "roles": [] }),
            of_setting.clone(),
            &[r#"Setting("s")"#],
        ),
        Case {
            known: bare,
            ..case(
                "a removed permission is nobody's",
                C::Permissions,
                Removed,
                permission,
                &[r#"permission.changed {"clientAction":"removed","data":{"_id":"x","roles":[]}}"#],
            )
        },
        case(
            "a new role",
            C::Roles,
            Inserted,
            doc! { "_id": "x", "name": "X" },
            &[r#"watch.roles {"clientAction":"changed","role":{"_id":"x","name":"X"}}"#],
        ),
        case(
            "a role",
            C::Roles,
            set(doc! { "name": "X" }),
            doc! { "_id": "x", "name": "X" },
            &[r#"watch.roles {"clientAction":"changed","role":{"_id":"x","name":"X"}}"#],
        ),
        Case {
            known: bare,
            ..case(
                "only its time stamp",
                C::Roles,
                set(doc! { "_updatedAt": 1 }),
                doc! {},
                SILENT,
            )
        },
        Case {
            known: bare,
            ..case(
                "a removed role",
                C::Roles,
                Removed,
                doc! {},
                &[r#"watch.roles {"clientAction":"removed","role":{"_id":"x","name":"x"}}"#],
            )
        },
    ]);
}

#[test]
fn login_services() {
    let service = doc! { "_id": "x", "service": "github", "secret": "s", "clientId": "c" };
    check(vec![
        case(
            "new, without its secret",
            C::LoginServices,
            Inserted,
            service.clone(),
            &[
                r#"watch.loginServiceConfiguration {"clientAction":"inserted","id":"x","data":{"_id":"x","service":"github","clientId":"c"}}"#,
            ],
        ),
        case(
            "its secret changed",
            C::LoginServices,
            set(doc! { "secret": "s" }),
            service.clone(),
            &[
                r#"watch.loginServiceConfiguration {"clientAction":"updated","id":"x","data":{"_id":"x","service":"github","clientId":"c"}}"#,
            ],
        ),
        Case {
            known: gone,
            ..case(
                "gone by now",
                C::LoginServices,
                set(doc! { "secret": "s" }),
                service.clone(),
                SILENT,
            )
        },
        Case {
            known: bare,
            ..case(
                "removed",
                C::LoginServices,
                Removed,
                service,
                &[r#"watch.loginServiceConfiguration {"clientAction":"removed","id":"x"}"#],
            )
        },
    ]);
}

#[test]
fn livechat() {
    let inquiry =
        doc! { "_id": "x", "rid": "r", "_deletedAt": 1, "__collection__": "livechat_inquiry" };
    let agent = doc! { "_id": "x", "agentId": "a", "departmentId": "d", "count": 1 };
    check(vec![
        case(
            "a new inquiry",
            C::Inquiries,
            Inserted,
            doc! { "_id": "x", "rid": "r" },
            &[r#"watch.inquiries {"clientAction":"inserted","inquiry":{"_id":"x","rid":"r"}}"#],
        ),
        case(
            "an inquiry",
            C::Inquiries,
            set(doc! { "status": "taken" }),
            doc! { "_id": "x", "status": "taken" },
            &[
                r#"watch.inquiries {"clientAction":"updated","inquiry":{"_id":"x","status":"taken"},"diff":{"status":"taken"}}"#,
            ],
        ),
        case(
            "a removed inquiry, from the trash",
            C::Inquiries,
            Removed,
            inquiry.clone(),
            &[r#"watch.inquiries {"clientAction":"removed","inquiry":{"_id":"x","rid":"r"}}"#],
        ),
        Case {
            known: gone,
            ..case(
                "removed without a trace",
                C::Inquiries,
                Removed,
                inquiry,
                SILENT,
            )
        },
        case(
            "a new agent",
            C::DepartmentAgents,
            Inserted,
            agent.clone(),
            &[
                r#"watch.livechatDepartmentAgents {"clientAction":"inserted","id":"x","data":{"_id":"x","agentId":"a","departmentId":"d"}}"#,
            ],
        ),
        case(
            "an agent",
            C::DepartmentAgents,
            set(doc! { "count": 1 }),
            agent.clone(),
            &[
                r#"watch.livechatDepartmentAgents {"clientAction":"updated","id":"x","data":{"_id":"x","agentId":"a","departmentId":"d"},"diff":{"count":1}}"#,
            ],
        ),
        Case {
            known: bare,
            ..case(
                "read in part",
                C::DepartmentAgents,
                set(doc! { "count": 1 }),
                agent.clone(),
                &[r#"Current(["agentId", "departmentId"])"#],
            )
        },
        case(
            "a removed agent",
            C::DepartmentAgents,
            Removed,
            agent.clone(),
            &[
                r#"watch.livechatDepartmentAgents {"clientAction":"removed","id":"x","data":{"_id":"x","agentId":"a","departmentId":"d"}}"#,
            ],
        ),
        Case {
            known: gone,
            ..case(
                "removed without a trace",
                C::DepartmentAgents,
                Removed,
                agent,
                SILENT,
            )
        },
        case(
            "a new priority",
            C::Priorities,
            Inserted,
            doc! { "_id": "x", "name": "n" },
            SILENT,
        ),
        case(
            "a new name of one",
            C::Priorities,
            set(doc! { "name": "n" }),
            doc! { "_id": "x", "name": "n" },
            &[
                r#"watch.priorities {"clientAction":"updated","id":"x","data":{"_id":"x","name":"n"},"diff":{"name":"n"}}"#,
            ],
        ),
        case(
            "its name is gone",
            C::Priorities,
            updated(doc! { "dirty": false }, &["name"], &[]),
            doc! { "_id": "x", "dirty": false },
            &[
                r#"watch.priorities {"clientAction":"updated","id":"x","data":{"_id":"x","dirty":false},"diff":{"dirty":false}}"#,
            ],
        ),
        case(
            "anything else of it",
            C::Priorities,
            set(doc! { "dirty": true }),
            doc! { "_id": "x" },
            SILENT,
        ),
        case(
            "removed",
            C::Priorities,
            Removed,
            doc! { "_id": "x" },
            SILENT,
        ),
        case(
            "a contact's status",
            C::PbxEvents,
            Inserted,
            doc! { "_id": "x", "event": "ContactStatus" },
            &[
                r#"watch.pbxevents {"clientAction":"inserted","id":"x","data":{"_id":"x","event":"ContactStatus"}}"#,
            ],
        ),
        case(
            "the end of a call",
            C::PbxEvents,
            Inserted,
            doc! { "_id": "x", "event": "Hangup" },
            &[
                r#"watch.pbxevents {"clientAction":"inserted","id":"x","data":{"_id":"x","event":"Hangup"}}"#,
            ],
        ),
        case(
            "another event",
            C::PbxEvents,
            Inserted,
            doc! { "_id": "x", "event": "Join" },
            SILENT,
        ),
        case(
            "updated",
            C::PbxEvents,
            set(doc! { "event": "Hangup" }),
            doc! { "_id": "x", "event": "Hangup" },
            SILENT,
        ),
    ]);
}

#[test]
fn integrations_and_mailboxes() {
    let entry = doc! { "_id": "x", "integration": { "_id": "i", "token": "t" }, "data": 1 };
    let whole = doc! { "_id": "x", "name": "n" };
    check(vec![
        case(
            "a new entry",
            C::IntegrationHistory,
            Inserted,
            doc! { "_id": "x", "data": 1 },
            &[
                r#"watch.integrationHistory {"clientAction":"inserted","id":"x","data":{"_id":"x","data":1}}"#,
            ],
        ),
        case(
            "an entry: only whose it is",
            C::IntegrationHistory,
            set(doc! { "data": 1 }),
            entry.clone(),
            &[
                r#"watch.integrationHistory {"clientAction":"updated","id":"x","data":{"_id":"x","integration":{"_id":"i"}},"diff":{"data":1}}"#,
            ],
        ),
        case(
            "nobody's entry",
            C::IntegrationHistory,
            set(doc! { "data": 1 }),
            doc! { "_id": "x" },
            SILENT,
        ),
        Case {
            known: bare,
            ..case(
                "read in part",
                C::IntegrationHistory,
                set(doc! { "data": 1 }),
                entry.clone(),
                &[r#"Current(["integration._id"])"#],
            )
        },
        case("removed", C::IntegrationHistory, Removed, entry, SILENT),
        case(
            "a new integration",
            C::Integrations,
            Inserted,
            whole.clone(),
            &[
                r#"watch.integrations {"clientAction":"inserted","id":"x","data":{"_id":"x","name":"n"}}"#,
            ],
        ),
        case(
            "an integration",
            C::Integrations,
            set(doc! { "name": "n" }),
            whole.clone(),
            &[
                r#"watch.integrations {"clientAction":"updated","id":"x","data":{"_id":"x","name":"n"}}"#,
            ],
        ),
        Case {
            known: gone,
            ..case(
                "gone by now",
                C::Integrations,
                set(doc! { "name": "n" }),
                whole.clone(),
                SILENT,
            )
        },
        Case {
            known: bare,
            ..case(
                "removed",
                C::Integrations,
                Removed,
                whole.clone(),
                &[r#"watch.integrations {"clientAction":"removed","id":"x","data":{"_id":"x"}}"#],
            )
        },
        case(
            "a mailbox",
            C::EmailInbox,
            set(doc! { "name": "n" }),
            whole.clone(),
            &[
                r#"watch.emailInbox {"clientAction":"updated","id":"x","data":{"_id":"x","name":"n"}}"#,
            ],
        ),
        Case {
            known: bare,
            ..case(
                "a removed mailbox",
                C::EmailInbox,
                Removed,
                whole,
                &[r#"watch.emailInbox {"clientAction":"removed","id":"x","data":{"_id":"x"}}"#],
            )
        },
    ]);
}

#[test]
fn what_nobody_follows_is_silent() {
    for collection in [C::Teams, C::TeamMembers, C::Sessions, C::Statistics] {
        check(vec![case(
            "any",
            collection,
            Inserted,
            doc! { "_id": "x" },
            SILENT,
        )]);
    }
}
