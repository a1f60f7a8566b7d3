//! The publications that are no streams: login services and client versions (streams.md 6.1, 6.2).
//!
//! Both are mirrors of what the monolith has: filled when it appears, filled again when it or the bus comes back, moved
//! on by events in between. Values are never made up: a changed version makes every web client reload.

use std::{
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use backplane::CallOptions;
use bytes::Bytes;
use protocol::{
    ddp::{ejson, encode},
    outbox::Class,
};

use super::raw;
use crate::{
    bus::Core,
    link::Subscribed,
    publication::{Body, Publication},
    topic::Topic,
};

/// Publications answered from mirrors.
pub(crate) const NAMES: [&str; 2] = [LOGIN_SERVICES.name, CLIENT_VERSIONS.name];

const LOGIN_SERVICES: Source = Source {
    name: "meteor.loginServiceConfiguration",
    collection: "meteor_accounts_loginServiceConfiguration",
    action: "meteor.getLoginServiceConfiguration",
};

const CLIENT_VERSIONS: Source = Source {
    name: "meteor_autoupdate_clientVersions",
    collection: "meteor_autoupdate_clientVersions",
    action: "meteor.getAutoUpdateClientVersions",
};

/// Documents of one mirror; a monolith has about ten.
const DOCUMENTS_MAX: usize = 1_000;

/// Pause before a failed fill is tried again.
const RETRY: Duration = Duration::from_secs(2);

struct Source {
    name: &'static str,
    collection: &'static str,
    action: &'static str,
}

/// What the monolith told: by id, the fields as raw JSON objects.
#[derive(Default)]
pub(crate) struct Mirrors {
    login_services: BTreeMap<String, String>,
    client_versions: BTreeMap<String, String>,
}

impl Mirrors {
    /// The answer to a subscription: everything that is there, then whatever comes.
    pub(crate) fn subscribed(&self, name: &str) -> Subscribed {
        let (source, documents) = if name == LOGIN_SERVICES.name {
            (&LOGIN_SERVICES, &self.login_services)
        } else {
            (&CLIENT_VERSIONS, &self.client_versions)
        };
        Subscribed {
            topics: vec![source.topic()],
            documents: documents
                .iter()
                .map(|(id, fields)| encode::added(source.collection, id, fields))
                .collect(),
        }
    }
}

impl Source {
    fn topic(&self) -> Topic {
        Topic::Global(self.name.into(), Arc::from(""))
    }

    fn documents<'a>(&self, mirrors: &'a mut Mirrors) -> &'a mut BTreeMap<String, String> {
        if self.name == LOGIN_SERVICES.name {
            &mut mirrors.login_services
        } else {
            &mut mirrors.client_versions
        }
    }
}

/// Keeps both mirrors filled for as long as the bus thread runs.
pub(crate) async fn run(core: Rc<Core>) {
    loop {
        while !(fill(&core, &LOGIN_SERVICES).await & fill(&core, &CLIENT_VERSIONS).await) {
            tokio::time::sleep(RETRY).await;
        }
        core.refill.notified().await;
    }
}

/// Asks for the whole of one mirror and publishes what is new; whether there was an answer.
async fn fill(core: &Rc<Core>, source: &'static Source) -> bool {
    let Ok(Some(answer)) = core
        .bus
        .call(source.action, "[]", CallOptions::default())
        .await
    else {
        return false;
    };
    let Ok(answer) = std::str::from_utf8(&answer) else {
        return false;
    };
    let mut told = BTreeMap::new();
    if source.name == LOGIN_SERVICES.name {
        for record in ejson::elements(answer).take(DOCUMENTS_MAX) {
            if let Some(id) = ejson::field(record, "_id").and_then(ejson::string) {
                told.insert(id.into_owned(), record.to_owned());
            }
        }
    } else {
        for (id, record) in ejson::fields(answer).take(DOCUMENTS_MAX) {
            told.insert(id.into_owned(), without_id(record));
        }
    }
    let known = source.documents(&mut core.mirrors.borrow_mut()).clone();
    for id in known.keys().filter(|id| !told.contains_key(*id)) {
        put(core, source, id, None);
    }
    for (id, fields) in told {
        put(core, source, &id, Some(fields));
    }
    core.outgoing.borrow_mut().flush();
    true
}

/// `watch.loginServiceConfiguration {clientAction, id, data?}`.
pub(crate) fn login_service_changed(core: &Core, args: &str) {
    let Some(id) = raw::at(args, 0, &["id"]).and_then(ejson::string) else {
        return;
    };
    let removed = raw::at(args, 0, &["clientAction"]) == Some("\"removed\"");
    match raw::at(args, 0, &["data"]) {
        Some(data) if !removed && data.starts_with('{') => {
            put(core, &LOGIN_SERVICES, &id, Some(data.to_owned()))
        }
        _ if removed => put(core, &LOGIN_SERVICES, &id, None),
        // A change without the record: ask for all of it.
        _ => core.refill.notify_one(),
    }
}

/// `meteor.clientVersionUpdated`.
pub(crate) fn client_version_changed(core: &Core, args: &str) {
    if let Some(record) = raw::at(args, 0, &[])
        && let Some(id) = ejson::field(record, "_id").and_then(ejson::string)
    {
        put(core, &CLIENT_VERSIONS, &id, Some(without_id(record)));
    }
}

/// Enters one document (`None`: it is gone) and publishes that if it is news.
fn put(core: &Core, source: &'static Source, id: &str, fields: Option<String>) {
    let mut mirrors = core.mirrors.borrow_mut();
    let documents = source.documents(&mut mirrors);
    let message = match fields {
        None if documents.remove(id).is_some() => encode::removed(source.collection, id),
        None => return,
        Some(fields) if documents.get(id) == Some(&fields) => return,
        Some(_) if documents.len() >= DOCUMENTS_MAX && !documents.contains_key(id) => return,
        Some(fields) => {
            let message = if documents.contains_key(id) {
                encode::changed(source.collection, id, &fields)
            } else {
                encode::added(source.collection, id, &fields)
            };
            documents.insert(id.to_owned(), fields);
            message
        }
    };
    let topic = source.topic();
    let shards = core.interest.shards(&topic);
    if shards != 0 {
        core.outgoing.borrow_mut().publish(
            shards,
            Publication {
                topic,
                body: Body::Message(Bytes::from(message)),
                exclude: None,
                class: Class::Data,
                received: Instant::now(),
                raw: Default::default(),
                sockjs: Default::default(),
            },
        );
    }
}

/// The record as fields of a document: its id stands elsewhere.
fn without_id(record: &str) -> String {
    let mut fields = String::with_capacity(record.len());
    for (name, value) in ejson::fields(record).filter(|(name, _)| name != "_id") {
        fields.push(if fields.is_empty() { '{' } else { ',' });
        encode::push_string(&mut fields, &name);
        fields.push(':');
        fields.push_str(value);
    }
    if fields.is_empty() {
        fields.push('{');
    }
    fields.push('}');
    fields
}
