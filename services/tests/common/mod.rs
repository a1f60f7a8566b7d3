//! The satellites on an in-process bus and an embedded store, and stand-ins for what belongs to the monolith.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use backplane::{Bus, CallOptions, Code, ErrorKind, Incoming, Service};
use serde_json::{Value, json};
use services::{accounts, authorization, presence};
use store::{Store, bson::Document};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) struct World {
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    _stop: DropGuard,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(
            accounts::Config::default(),
            authorization::Config::default(),
        )
        .await
    }

    pub(crate) async fn start_with(logins: accounts::Config, rules: authorization::Config) -> Self {
        Self::start_on(Store::embedded(None).unwrap(), logins, rules).await
    }

    pub(crate) async fn start_on(
        store: Store,
        logins: accounts::Config,
        rules: authorization::Config,
    ) -> Self {
        // Before anybody writes: SecantusDB stands still for ever when an index and the first document make one collection at
        // the same time.
        let expire = presence::Config::default().instances_expire;
        store.create_indexes(expire).await.unwrap();
        let (bus, stop) = (Bus::in_process("node".into()), CancellationToken::new());
        let parts = || (bus.clone(), store.clone(), stop.clone());
        let (b, s, t) = parts();
        tokio::spawn(accounts::run(b, s, logins, t));
        let (b, s, t) = parts();
        tokio::spawn(authorization::run(b, s, rules, t));
        let (b, s, t) = parts();
        tokio::spawn(presence::run(b, s, presence::Config::default(), t));
        while !["accounts", "authorization", "presence"]
            .iter()
            .all(|name| bus.has_service(name))
        {
            tokio::task::yield_now().await;
        }
        Self {
            bus,
            store,
            _stop: stop.drop_guard(),
        }
    }

    /// The answer as JSON (`null` for none), or what the error says: its Meteor code, else its message.
    pub(crate) async fn ask(&self, action: &str, params: &Value) -> Result<Value, String> {
        let options = CallOptions {
            // A test may have let a minute pass at once.
            timeout: Some(Duration::from_secs(600)),
            ..CallOptions::default()
        };
        let answer = self.bus.call(action, &params.to_string(), options).await;
        match answer {
            Ok(None) => Ok(Value::Null),
            Ok(Some(answer)) => Ok(serde_json::from_slice(&answer).unwrap()),
            Err(error) => Err(match error.kind {
                ErrorKind::Refused(remote) => match remote.meteor() {
                    Some(meteor) => match meteor.error {
                        Code::Number(number) => number.to_string(),
                        Code::Text(text) => text,
                    },
                    None => remote.message,
                },
                other => format!("{other:?}"),
            }),
        }
    }

    /// Asks authorization a question with yes and no.
    pub(crate) async fn may(&self, action: &str, params: Value) -> Result<bool, String> {
        let action = format!("authorization.{action}");
        let answer = self.ask(&action, &params).await?;
        Ok(answer
            .as_bool()
            .unwrap_or_else(|| panic!("{action} answers {answer}")))
    }

    /// Fills the database; the name before each document says where it goes.
    pub(crate) async fn insert(&self, documents: Vec<(&str, Document)>) {
        let has_permissions = documents.iter().any(|(to, _)| *to == "permission");
        for (collection, document) in documents {
            match collection {
                "user" => self.store.insert_user(document).await,
                "room" => self.store.insert_room(document).await,
                "subscription" => self.store.insert_subscription(document).await,
                "permission" => self.store.insert_permission(document).await,
                "role" => self.store.insert_role(document).await,
                "setting" => self.store.insert_setting(document).await,
                "team" => self.store.insert_team(document).await,
                "member" => self.store.insert_team_member(document).await,
                other => panic!("no such collection: {other}"),
            }
            .unwrap();
        }
        if has_permissions {
            // Nobody has said so.
            self.announce("watch.roles", json!([{ "clientAction": "changed" }]))
                .await;
        }
    }

    /// Offers a service that answers as it is told and notes what it was asked.
    pub(crate) fn offer(&self, name: &'static str, actions: &[&'static str]) -> StandIn {
        let mut inbox = self.bus.announce(Service {
            name,
            actions: actions.to_vec(),
            events: vec![],
        });
        let stand_in = StandIn::default();
        let state = stand_in.clone();
        tokio::spawn(async move {
            loop {
                let Incoming::Request(request) = inbox.recv().await else {
                    continue;
                };
                let params = serde_json::from_slice(&request.params).unwrap();
                state
                    .0
                    .lock()
                    .unwrap()
                    .asked
                    .push((request.action.to_owned(), params));
                let answer = state.state().answers.get(request.action).cloned();
                request.respond(match answer {
                    Some(Ok(value)) => Ok(Some(value.to_string().into())),
                    Some(Err(message)) => Err(backplane::ServiceError::Plain {
                        name: "Error".into(),
                        message,
                    }),
                    None => Ok(None),
                });
            }
        });
        stand_in
    }

    /// Lets everything be due that happens every minute.
    pub(crate) async fn after_a_minute(&self) {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(61)).await;
        tokio::time::resume();
    }

    /// Sends an event, and waits until those who hear it have: they take what comes in order.
    pub(crate) async fn announce(&self, event: &str, args: Value) {
        self.bus.broadcast(event, &args.to_string());
        for action in ["authorization.canAccessRoomIds", "accounts.login"] {
            let _ = self.ask(action, &json!([])).await;
        }
    }
}

/// A service of the monolith.
#[derive(Clone, Default)]
pub(crate) struct StandIn(Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    answers: std::collections::HashMap<String, Result<Value, String>>,
    asked: Vec<(String, Value)>,
}

impl StandIn {
    pub(crate) fn answers(&self, action: &str, answer: Result<Value, &str>) {
        let answer = answer.map_err(str::to_owned);
        self.state().answers.insert(action.to_owned(), answer);
    }

    /// What it was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.state().asked)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}
