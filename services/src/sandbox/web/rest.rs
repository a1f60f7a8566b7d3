//! The REST minimum: what `@rocket.chat/sdk` and friends ask before and beside their socket.

use std::collections::HashMap;

use backplane::{CallOptions, ServiceError};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};
use store::User;

use super::{Asked, json, routes};
use crate::{
    accounts::hashed,
    sandbox::{args::Args, workspace::Workspace},
};

/// The server line whose shapes the sandbox has.
const VERSION: &str = "8.0.0";
/// Users named in one presence request.
const PRESENCE_MAX: usize = 1_000;

type Answer = Response<Full<Bytes>>;

impl Workspace {
    pub(super) async fn rest(&self, asked: &Asked<'_>) -> Answer {
        let path = asked.path.strip_prefix("/api/").unwrap_or_default();
        match (asked.method, path) {
            (&Method::GET, "info") => ok(json!({ "version": VERSION, "success": true })),
            (&Method::GET, "v1/info") => {
                ok(json!({ "info": { "version": VERSION }, "version": VERSION, "success": true }))
            }
            (&Method::POST, "v1/login") => self.rest_login(asked).await,
            (&Method::POST, "v1/logout") => self.rest_logout(asked).await,
            (&Method::GET, "v1/me") => match self.caller(asked).await {
                Some(user) => ok(routes::me(&user, true)),
                None => unauthorized(),
            },
            (&Method::GET, "v1/users.presence") => self.rest_presence(asked).await,
            (&Method::GET, "v1/channels.list") => self.rest_channels(asked).await,
            (&Method::POST, _) if path.starts_with("v1/method.callAnon/") => {
                self.rest_method(asked, None).await
            }
            (&Method::POST, _) if path.starts_with("v1/method.call/") => {
                match self.caller(asked).await {
                    Some(user) => self.rest_method(asked, Some(user)).await,
                    None => unauthorized(),
                }
            }
            (verb, path) => match routes::find(verb, path) {
                Some(route) => match self.caller(asked).await {
                    Some(user) => self.follow(route, asked, user).await,
                    None => unauthorized(),
                },
                None if path.starts_with("v1/") => json(
                    StatusCode::NOT_IMPLEMENTED,
                    json!({ "success": false, "error": "not implemented in the sandbox" })
                        .to_string(),
                ),
                None => json(
                    StatusCode::NOT_FOUND,
                    json!({ "success": false, "error": "Invalid API endpoint" }).to_string(),
                ),
            },
        }
    }

    /// Answers one route of the table.
    async fn follow(&self, route: routes::Route, asked: &Asked<'_>, user: User) -> Answer {
        let Some(fields) = fields(asked) else {
            return bad_request("Invalid JSON");
        };
        match route(self, routes::Ask { user, fields }).await {
            Ok(Value::Object(mut answer)) => {
                answer.insert("success".to_owned(), true.into());
                ok(with_plain_dates(Value::Object(answer)))
            }
            Ok(_) => unavailable(),
            Err(error) => {
                let mut object = error_object(&error);
                let body = json!({ "success": false, "error": object["message"].take(), "errorType": object["error"].take() });
                json(StatusCode::BAD_REQUEST, body.to_string())
            }
        }
    }

    /// `{user, password}`, `{username, password}` or `{resume}`; the password plain or as its digest.
    async fn rest_login(&self, asked: &Asked<'_>) -> Answer {
        let Ok(body) = serde_json::from_slice::<Value>(&asked.body) else {
            return bad_request("Invalid JSON");
        };
        let login = match body["resume"].as_str() {
            Some(token) => json!({ "resume": token }),
            None => {
                let name = body["user"].as_str().or_else(|| body["username"].as_str());
                json!({ "user": { "username": name }, "password": body["password"] })
            }
        };
        let answer = self
            .bus
            .call(
                "accounts.login",
                &json!([login]).to_string(),
                CallOptions::default(),
            )
            .await;
        let granted = answer
            .ok()
            .flatten()
            .and_then(|text| serde_json::from_slice::<Value>(&text).ok())
            .unwrap_or_default();
        let (Some(id), Some(token)) = (granted["uid"].as_str(), granted["token"].as_str()) else {
            return json(
                StatusCode::UNAUTHORIZED,
                json!({ "status": "error", "error": "Unauthorized", "message": "Unauthorized" })
                    .to_string(),
            );
        };
        let user = self.store.user(id).await.ok().flatten().unwrap_or_default();
        ok(
            json!({ "status": "success", "data": { "userId": id, "authToken": token, "me": routes::me(&user, false) } }),
        )
    }

    async fn rest_logout(&self, asked: &Asked<'_>) -> Answer {
        let (Some(user), Some(token)) = (self.caller(asked).await, header(asked, "x-auth-token"))
        else {
            return unauthorized();
        };
        let params = json!([{ "userId": user.id, "token": hashed(token) }]).to_string();
        drop(
            self.bus
                .call("accounts.logout", &params, CallOptions::default())
                .await,
        );
        ok(json!({ "status": "success", "data": { "message": "You've been logged out!" } }))
    }

    /// `ids=a,b`: those users; without: everybody.
    async fn rest_presence(&self, asked: &Asked<'_>) -> Answer {
        if self.caller(asked).await.is_none() {
            return unauthorized();
        }
        let query = query(asked.query);
        let ids: Option<Vec<&str>> = query
            .get("ids")
            .map(|ids| ids.split(',').take(PRESENCE_MAX).collect());
        let Ok(users) = self.store.users().await else {
            return unavailable();
        };
        let list: Vec<_> = users
            .iter()
            .filter(|user| ids.as_ref().is_none_or(|ids| ids.contains(&user.id.as_str())))
            .map(|user| {
                json!({ "_id": user.id, "username": user.username, "name": user.name,
                        "status": user.status.as_deref().unwrap_or("offline"), "statusText": user.status_text.as_deref().unwrap_or("") })
            })
            .collect();
        ok(json!({ "users": list, "full": ids.is_none(), "success": true }))
    }

    /// The public rooms, for the console's list of rooms to join.
    async fn rest_channels(&self, asked: &Asked<'_>) -> Answer {
        if self.caller(asked).await.is_none() {
            return unauthorized();
        }
        let Ok(rooms) = self.store.rooms().await else {
            return unavailable();
        };
        let list: Vec<_> = rooms
            .iter()
            .filter(|room| room.kind == "c")
            .map(|room| json!({ "_id": room.id, "name": room.name, "t": room.kind }))
            .collect();
        ok(json!({ "channels": list, "count": list.len(), "success": true }))
    }

    /// A DDP method over HTTP: the message and the answer are EJSON texts inside JSON.
    async fn rest_method(&self, asked: &Asked<'_>, user: Option<User>) -> Answer {
        let message = serde_json::from_slice::<Value>(&asked.body)
            .ok()
            .and_then(|body| {
                let text = body["message"].as_str()?.to_owned();
                serde_json::from_str::<Value>(&text).ok()
            });
        let Some(message) = message else {
            return bad_request("Invalid message");
        };
        let (Some(method), Some(params)) =
            (message["method"].as_str(), message["params"].as_array())
        else {
            return bad_request("Invalid message");
        };
        let name = asked
            .path
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .replace(':', "/")
            .replace("%3A", "/");
        if name != method {
            return bad_request("The method in the path is another one");
        }
        let head = format!(r#"{{"msg":"result","id":{}"#, message["id"]);
        let (status, text) = match self.call(method, user, Args(params.clone())).await {
            Ok(Some(result)) => (StatusCode::OK, format!(r#"{head},"result":{result}}}"#)),
            Ok(None) => (StatusCode::OK, format!("{head}}}")),
            Err(error) => (
                StatusCode::BAD_REQUEST,
                format!(r#"{head},"error":{}}}"#, error_object(&error)),
            ),
        };
        json(
            status,
            json!({ "message": text, "success": status == StatusCode::OK }).to_string(),
        )
    }

    /// The user of `X-User-Id` and `X-Auth-Token`.
    async fn caller(&self, asked: &Asked<'_>) -> Option<User> {
        let (id, token) = (header(asked, "x-user-id")?, header(asked, "x-auth-token")?);
        self.authenticate(Some(id), Some(&hashed(token)))
            .await
            .ok()
            .flatten()
    }
}

/// The same object that a socket would carry (gateway.md 2.6).
fn error_object(error: &ServiceError) -> Value {
    let ServiceError::Meteor(error) = error else {
        return json!({ "isClientSafe": true, "errorType": "Meteor.Error", "error": 500, "reason": "Internal server error",
                       "message": "Internal server error [500]" });
    };
    let mut object =
        json!({ "isClientSafe": true, "errorType": "Meteor.Error", "message": error.message() });
    object["error"] = match &error.error {
        backplane::Code::Number(number) => (*number).into(),
        backplane::Code::Text(text) => text.as_str().into(),
    };
    if let Some(reason) = &error.reason {
        object["reason"] = reason.as_str().into();
    }
    if let Some(details) = error
        .details
        .as_ref()
        .and_then(|details| serde_json::from_slice(details).ok())
    {
        object["details"] = details;
    }
    object
}

fn header<'a>(asked: &'a Asked<'_>, name: &str) -> Option<&'a str> {
    asked
        .headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .filter(|value| !value.is_empty())
}

/// Over REST a date is a text.
fn with_plain_dates(value: Value) -> Value {
    match value {
        Value::Object(object) => match object.get("$date").and_then(Value::as_i64) {
            Some(ms) => {
                let date = store::bson::DateTime::from_millis(ms).try_to_rfc3339_string();
                date.map_or(Value::Null, Value::from)
            }
            None => {
                let members = object.into_iter();
                let plain = members.map(|(name, value)| (name, with_plain_dates(value)));
                Value::Object(plain.collect())
            }
        },
        Value::Array(list) => Value::Array(list.into_iter().map(with_plain_dates).collect()),
        other => other,
    }
}

/// What a request says: its query, or its JSON body.
fn fields(asked: &Asked<'_>) -> Option<Value> {
    if asked.method == Method::POST {
        let body = serde_json::from_slice::<Value>(&asked.body).ok()?;
        return body.is_object().then_some(body);
    }
    let pairs = form_urlencoded::parse(asked.query.as_bytes());
    let pairs = pairs.map(|(name, value)| (name.into_owned(), value.into_owned().into()));
    Some(Value::Object(pairs.collect()))
}

fn query(text: &str) -> HashMap<&str, &str> {
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .collect()
}

fn ok(body: Value) -> Answer {
    json(StatusCode::OK, body.to_string())
}

fn bad_request(error: &str) -> Answer {
    json(
        StatusCode::BAD_REQUEST,
        json!({ "success": false, "error": error }).to_string(),
    )
}

fn unauthorized() -> Answer {
    json(
        StatusCode::UNAUTHORIZED,
        json!({ "status": "error", "message": "You must be logged in to do this." }).to_string(),
    )
}

fn unavailable() -> Answer {
    json(
        StatusCode::SERVICE_UNAVAILABLE,
        json!({ "success": false, "error": "the database does not answer" }).to_string(),
    )
}
