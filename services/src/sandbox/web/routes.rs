//! REST routes that say the same as a method: the path, the method it stands for, and the shape of its answer.

use std::pin::Pin;

use backplane::ServiceError;
use hyper::Method;
use serde_json::{Value, json};
use store::User;

use crate::{
    errors::unavailable,
    sandbox::{
        args::{Args, match_failed},
        workspace::{Call, Workspace},
    },
};

/// One request of somebody who is logged in.
pub(super) struct Ask {
    pub(super) user: User,
    /// An object: the query, or the body.
    pub(super) fields: Value,
}

type Reply<'a> = Pin<Box<dyn Future<Output = Result<Value, ServiceError>> + Send + 'a>>;
/// Answers with an object, to which `success` is added.
pub(super) type Route = for<'a> fn(&'a Workspace, Ask) -> Reply<'a>;

/// By verb and path behind `/api/v1/`.
const ROUTES: [(&str, &str, Route); 18] = [
    ("POST", "chat.sendMessage", |w, ask| {
        Box::pin(w.rest_send(ask))
    }),
    ("POST", "chat.postMessage", |w, ask| {
        Box::pin(w.rest_post(ask))
    }),
    ("GET", "chat.getMessage", |w, ask| {
        Box::pin(w.rest_message(ask))
    }),
    ("POST", "chat.update", |w, ask| Box::pin(w.rest_update(ask))),
    ("POST", "chat.delete", |w, ask| Box::pin(w.rest_delete(ask))),
    ("GET", "rooms.get", |w, ask| {
        Box::pin(w.rest_changes("rooms/get", ask))
    }),
    ("GET", "subscriptions.get", |w, ask| {
        Box::pin(w.rest_changes("subscriptions/get", ask))
    }),
    ("POST", "im.create", |w, ask| Box::pin(w.rest_im(ask))),
    ("POST", "dm.create", |w, ask| Box::pin(w.rest_im(ask))),
    ("GET", "channels.info", |w, ask| {
        Box::pin(w.rest_room("channel", ask))
    }),
    ("GET", "rooms.info", |w, ask| {
        Box::pin(w.rest_room("room", ask))
    }),
    ("GET", "groups.info", |w, ask| {
        Box::pin(w.rest_room("group", ask))
    }),
    ("POST", "channels.join", |w, ask| Box::pin(w.rest_join(ask))),
    ("POST", "rooms.leave", |w, ask| Box::pin(w.rest_leave(ask))),
    ("GET", "channels.history", |w, ask| {
        Box::pin(w.rest_history(ask))
    }),
    ("GET", "groups.history", |w, ask| {
        Box::pin(w.rest_history(ask))
    }),
    ("GET", "im.history", |w, ask| Box::pin(w.rest_history(ask))),
    ("GET", "users.info", |w, ask| Box::pin(w.rest_user(ask))),
];

/// The route of a path behind `/api/`.
pub(super) fn find(verb: &Method, path: &str) -> Option<Route> {
    let path = path.strip_prefix("v1/")?;
    let mut routes = ROUTES.iter();
    routes
        .find(|(of, at, _)| verb == of && path == *at)
        .map(|(.., route)| *route)
}

impl Workspace {
    async fn rest_send(&self, ask: Ask) -> Result<Value, ServiceError> {
        let message = ask.fields["message"].clone();
        let sent = self.ask("sendMessage", &ask.user, vec![message]).await?;
        Ok(json!({ "message": sent }))
    }

    /// `{roomId | channel, text}`; a channel is `#name`, `@username`, a name or an id.
    async fn rest_post(&self, ask: Ask) -> Result<Value, ServiceError> {
        let target = ask.text("roomId").or_else(|| ask.text("channel"));
        let target = target.ok_or_else(match_failed)?;
        let rid = match target.strip_prefix('@') {
            Some(username) => {
                let made = self.ask("createDirectMessage", &ask.user, vec![username.into()]);
                made.await?["rid"].clone()
            }
            None => json!(self.room_called(&ask.user, target).await?),
        };
        let message = json!({ "rid": rid, "msg": ask.fields["text"], "tmid": ask.fields["tmid"] });
        let sent = self.ask("sendMessage", &ask.user, vec![message]).await?;
        Ok(json!({ "ts": sent["ts"]["$date"], "channel": target, "message": sent }))
    }

    async fn rest_message(&self, ask: Ask) -> Result<Value, ServiceError> {
        let id = ask.fields["msgId"].clone();
        let message = self.ask("getSingleMessage", &ask.user, vec![id]).await?;
        Ok(json!({ "message": message }))
    }

    async fn rest_update(&self, ask: Ask) -> Result<Value, ServiceError> {
        let change = json!({ "_id": ask.fields["msgId"], "rid": ask.fields["roomId"], "msg": ask.fields["text"] });
        self.ask("updateMessage", &ask.user, vec![change]).await?;
        self.rest_message(ask).await
    }

    async fn rest_delete(&self, ask: Ask) -> Result<Value, ServiceError> {
        let id = ask.fields["msgId"].clone();
        let message = json!({ "_id": id });
        let deleted = self.ask("deleteMessage", &ask.user, vec![message]);
        deleted.await?;
        Ok(json!({ "_id": id, "ts": crate::now_ms(), "message": { "_id": id } }))
    }

    /// Everything counts as updated, since whenever.
    async fn rest_changes(&self, method: &str, ask: Ask) -> Result<Value, ServiceError> {
        self.ask(method, &ask.user, vec![json!({ "$date": 0 })])
            .await
    }

    /// `{username}`, or `usernames` with one name in it.
    async fn rest_im(&self, ask: Ask) -> Result<Value, ServiceError> {
        let name = ask.text("username").or_else(|| ask.text("usernames"));
        let name = name.ok_or_else(match_failed)?;
        let mut room = self
            .ask("createDirectMessage", &ask.user, vec![name.into()])
            .await?;
        room["_id"] = room["rid"].clone();
        Ok(json!({ "room": room }))
    }

    /// `roomId` or `roomName`.
    async fn rest_room(&self, key: &str, ask: Ask) -> Result<Value, ServiceError> {
        let rid = self.room_called(&ask.user, ask.room()?).await?;
        let room = self.ask("getRoomById", &ask.user, vec![rid.into()]).await?;
        Ok(json!({ key: room }))
    }

    async fn rest_join(&self, ask: Ask) -> Result<Value, ServiceError> {
        let rid = self.room_called(&ask.user, ask.room()?).await?;
        let args = vec![json!(rid)];
        self.ask("joinRoom", &ask.user, args).await?;
        self.rest_room("channel", ask).await
    }

    async fn rest_leave(&self, ask: Ask) -> Result<Value, ServiceError> {
        let rid = self.room_called(&ask.user, ask.room()?).await?;
        self.ask("leaveRoom", &ask.user, vec![rid.into()]).await?;
        Ok(json!({}))
    }

    /// `roomId` or `roomName`, `count`: the newest first.
    async fn rest_history(&self, ask: Ask) -> Result<Value, ServiceError> {
        let rid = self.room_called(&ask.user, ask.room()?).await?;
        let count = ask.text("count").map(|count| count.parse::<u32>());
        let count = count.transpose().map_err(|_| match_failed())?;
        let args = vec![rid.into(), Value::Null, json!(count)];
        let history = self.ask("loadHistory", &ask.user, args).await?;
        Ok(json!({ "messages": history["messages"] }))
    }

    /// `userId` or `username`.
    async fn rest_user(&self, ask: Ask) -> Result<Value, ServiceError> {
        let user = match (ask.text("userId"), ask.text("username")) {
            (Some(id), _) => self.store.user(id).await,
            (None, Some(name)) => self.store.user_by_username(name).await,
            (None, None) => return Err(match_failed()),
        };
        let unknown = || {
            Call {
                method: "users.info",
                user: ask.user.clone(),
                args: Args(Vec::new()),
            }
            .error(
                "error-invalid-user",
                "The required \"userId\" or \"username\" param provided does not match any users",
            )
        };
        let user = user.map_err(unavailable)?.ok_or_else(unknown)?;
        Ok(json!({ "user": me(&user, false) }))
    }

    async fn room_called(&self, user: &User, target: &str) -> Result<String, ServiceError> {
        let rid = self
            .ask("getRoomIdByNameOrId", user, vec![target.into()])
            .await?;
        Ok(rid.as_str().unwrap_or_default().to_owned())
    }

    /// A method's result.
    async fn ask(
        &self,
        method: &str,
        user: &User,
        args: Vec<Value>,
    ) -> Result<Value, ServiceError> {
        let result = self.call(method, Some(user.clone()), Args(args)).await?;
        let result = result.map(|text| serde_json::from_str(&text).unwrap_or_default());
        Ok(result.unwrap_or_default())
    }
}

impl Ask {
    /// A field's text, unless it is empty.
    fn text(&self, name: &str) -> Option<&str> {
        let text = self.fields[name].as_str();
        text.filter(|text| !text.is_empty())
    }

    fn room(&self) -> Result<&str, ServiceError> {
        self.text("roomId")
            .or_else(|| self.text("roomName"))
            .ok_or_else(match_failed)
    }
}

/// A user as REST shows one; `success` says whether this is an answer of its own.
pub(super) fn me(user: &User, success: bool) -> Value {
    let mut me = json!({ "_id": user.id, "username": user.username, "name": user.name, "active": user.active, "roles": user.roles,
                         "status": user.status, "statusConnection": user.status_connection, "statusDefault": user.status_default });
    if success {
        me["success"] = true.into();
    }
    me
}
